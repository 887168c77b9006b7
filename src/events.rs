mod channel;
mod entity;
mod producer_id;
mod queue;

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_lite::Stream;
use snowshoe_codec::{Excess, PeerClose, ShortString};

pub use self::channel::ChannelEvent;
pub use self::entity::{ConsumerId, Entity};
pub use self::producer_id::ProducerId;
pub(crate) use self::queue::EventQueue;
use crate::error::{ConnectionError, Error, SendMessageError};
use crate::outcome::{DropReason, Return};

/// Which of a client's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum ConnectionRole {
    /// For consuming, declaring, and everything but publishing.
    Main,
    /// For publishing. It is opened for the first producer, and has a connection to itself because
    /// a broker that is short of memory stops reading it.
    Publishing,
    /// For one consumer that asked for a connection of its own, or for a requester.
    Dedicated,
}

impl std::fmt::Display for ConnectionRole {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Main => "main",
            Self::Publishing => "publishing",
            Self::Dedicated => "dedicated",
        })
    }
}

/// What happened to a client.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A connection was opened. Recovery begins.
    Connected {
        /// Which.
        role: ConnectionRole,
    },
    /// Channels, topology, consumers and producers are in place: for the first time, or again.
    ///
    /// What is not was told before: by [`Delayed`](Self::Delayed) if it follows, by
    /// [`NotRecovered`](Self::NotRecovered) if it does not.
    Recovered {
        /// Which connection's.
        role: ConnectionRole,
    },
    /// A connection ended, or an attempt to make one failed.
    Disconnected {
        /// Which.
        role: ConnectionRole,
        /// Why.
        cause: ConnectionError,
    },
    /// There will be another attempt to connect.
    Reconnecting {
        /// Which connection.
        role: ConnectionRole,
        /// Its number in a row, from 1.
        attempt: u32,
        /// How long it waits before that.
        delay: Duration,
    },
    /// The client gave up on a connection: the first connect failed, or the limit of attempts was
    /// reached.
    GaveUp {
        /// Which.
        role: ConnectionRole,
        /// Why the last attempt failed.
        cause: ConnectionError,
    },
    /// The broker is short of memory or disk, and takes nothing from a connection until further
    /// notice. Messages wait in their buffers.
    Blocked {
        /// Which connection.
        role: ConnectionRole,
        /// Why, in the broker's words.
        reason: ShortString,
    },
    /// The broker takes messages again.
    Unblocked {
        /// Which connection.
        role: ConnectionRole,
    },
    /// A queue whose name the broker chooses was declared again, and has another name now.
    QueueRenamed {
        /// What it was called before.
        old: ShortString,
        /// What it is called now.
        new: ShortString,
    },
    /// A queue, a consumer or a producer is not back yet, and is tried again: the broker refuses it for a
    /// time, such as a queue that a connection still holds of which the broker does not know that it is
    /// dead, or does not answer ([`Error::Timeout`]), as for a consumer of a quorum queue without a leader, or
    /// there is no channel for it ([`Error::NoFreeChannel`]). What a producer accepts waits in its buffer.
    ///
    /// [`Restored`](Self::Restored) or [`NotRecovered`](Self::NotRecovered) follows, or the end of
    /// the connection, after which everything is told anew.
    Delayed {
        /// What.
        entity: Entity,
        /// Why.
        reason: Error,
    },
    /// What was [`Delayed`](Self::Delayed) is back, or a consumer that was
    /// [cancelled](Self::ConsumerCancelled).
    Restored {
        /// What.
        entity: Entity,
    },
    /// Something that was declared before could not be declared again, or a consumer not be started
    /// again. It is left out until the next reconnect; a consumer ends.
    NotRecovered {
        /// What.
        entity: Entity,
        /// Why.
        reason: Error,
    },
    /// The broker cancelled a consumer: because its queue was deleted, or from RabbitMQ 4.3 on because a delivery
    /// was [unsettled for too long](crate::Queue::consumer_timeout). It is tried again, and
    /// [`Restored`](Self::Restored) once it is back.
    ConsumerCancelled {
        /// The consumer's queue.
        queue: ShortString,
    },
    /// A message for a consumer is longer than [is accepted](crate::ClientBuilder::max_message_size). Its
    /// body was skipped, and its consumer
    /// [decides](crate::ConsumerBuilder::on_oversized) what becomes of it.
    Oversized {
        /// The consumer.
        consumer: ConsumerId,
        /// What was too long.
        excess: Excess,
    },
    /// A producer's messages were confirmed.
    Confirmed {
        /// The producer.
        producer: ProducerId,
        /// How many since the last event of the kind.
        count: u64,
    },
    /// The broker refused a producer's messages.
    Nacked {
        /// The producer.
        producer: ProducerId,
        /// How many since the last event of the kind.
        count: u64,
    },
    /// The broker closed a channel over a message, which is not sent again.
    Rejected {
        /// The producer.
        producer: ProducerId,
        /// What the broker said.
        reason: PeerClose,
    },
    /// The broker returned a message that no queue took.
    Returned {
        /// The producer.
        producer: ProducerId,
        /// The message, and what the broker said.
        returned: Box<Return>,
    },
    /// Messages were given up.
    Dropped {
        /// The producer.
        producer: ProducerId,
        /// Why.
        reason: DropReason,
        /// How many.
        count: u64,
    },
    /// What a producer publishes to could not be declared, which it was [to do](crate::Client::producer): it has
    /// given up the messages that waited for it, and is closed.
    NotDeclared {
        /// The producer.
        producer: ProducerId,
        /// Why.
        error: Error,
    },
    /// A consumer without acknowledgements did not keep up, and there was no room for what came.
    ///
    /// Told once for all that came at once. [`Consumer::dropped`](crate::Consumer::dropped) has the sum;
    /// what may wait is set by [`ConsumerBuilder::capacity_bytes`](crate::ConsumerBuilder::capacity_bytes).
    DeliveriesDropped {
        /// The consumer.
        consumer: ConsumerId,
        /// How many since the last event of the kind.
        count: u64,
    },
    /// A handler of [`Consumer::process`](crate::Consumer::process) has panicked: its message has failed, as by
    /// [`Outcome::retry`](crate::Outcome::retry), and the others go on.
    HandlerPanicked {
        /// The consumer.
        consumer: ConsumerId,
        /// What the panic said.
        message: String,
    },
    /// A reply that a handler of [`Consumer::serve`](crate::Consumer::serve) gave cannot be sent: it is too large, its
    /// properties cannot be written, the broker does not allow it, or has refused responsibility for it for as long as
    /// somebody may have waited. The request is acknowledged; whoever asked hears nothing.
    ReplyFailed {
        /// The consumer of the request.
        consumer: ConsumerId,
        /// Why. A reply that was not even accepted is in it.
        error: SendMessageError,
    },
    /// A delivery is unsettled for so long that the broker is about to take it back: for five sixths of the
    /// [consumer timeout](crate::Queue::consumer_timeout) that the queue was declared with, for 25 minutes where nothing is
    /// known, or for as long as [`ConsumerBuilder::warn_unsettled_after`](crate::ConsumerBuilder::warn_unsettled_after)
    /// says. It is told once for each delivery that is the oldest of its consumer, up to a fifth of that time late. It may
    /// not even have been handed out.
    Overdue {
        /// The consumer.
        consumer: ConsumerId,
        /// For how long it has been unsettled at least.
        unsettled_for: Duration,
    },
    /// A message could not be decoded for a handler of
    /// [`TypedConsumer::process`](crate::typed::TypedConsumer::process), which does not get it.
    /// [`on_undecodable`](crate::typed::TypedConsumer::on_undecodable) says what becomes of it.
    Undecodable {
        /// The consumer.
        consumer: ConsumerId,
        /// Why, in a thousand bytes or less. It can say something of the body.
        reason: String,
    },
    /// The secret that the connection was opened with was replaced.
    SecretUpdated {
        /// Which connection.
        role: ConnectionRole,
    },
    /// Credentials that are good for a time only could not be
    /// [renewed](crate::ClientBuilder::credentials_provider). They are asked for again; once their time is over,
    /// the broker may refuse what is asked of it, or end the connections.
    RenewalFailed {
        /// Why.
        cause: Arc<dyn std::error::Error + Send + Sync>,
        /// How long the client waits before it asks again.
        delay: Duration,
    },
    /// Whoever reads these events is behind, and so many older ones are lost.
    Lagged {
        /// How many.
        missed: u64,
    },
}

impl Event {
    /// How many bytes are in it that can be of any length.
    fn bytes(&self) -> usize {
        match self {
            Self::Returned { returned, .. } => {
                returned.body.len() + returned.properties.as_bytes().len()
            }
            Self::ReplyFailed {
                error: SendMessageError::NotAccepted(error),
                ..
            } => {
                let properties = error.message.properties.as_ref();
                error.message.body.len() + properties.map_or(0, |it| it.as_bytes().len())
            }
            _ => 0,
        }
    }
}

/// A subscription to a client's [events](Event), which is a [`Stream`] of them, too.
///
/// It holds the last 1,024, and no more of returned messages than comes to 1 MiB, or than one of them
/// has; who falls further behind is told by [`Event::Lagged`].
#[derive(Debug)]
pub struct Events {
    queue: Arc<EventQueue>,
}

impl Stream for Events {
    type Item = Event;

    fn poll_next(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Event>> {
        self.queue.poll_next(cx)
    }
}

impl Events {
    pub(crate) fn new(queue: Arc<EventQueue>) -> Self {
        Self { queue }
    }

    /// The next event; `None` once the client has ended and all were taken.
    ///
    /// # Cancel safety
    /// Dropping the future loses no event.
    pub async fn next(&mut self) -> Option<Event> {
        std::future::poll_fn(|cx| self.queue.poll_next(cx)).await
    }

    /// The next event, if there is one now.
    pub fn try_next(&mut self) -> Option<Event> {
        self.queue.try_next()
    }
}

impl Drop for Events {
    fn drop(&mut self) {
        self.queue.abandon();
    }
}
