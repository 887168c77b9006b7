//! Producers whose messages arrive later.

use std::fmt;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::{Confirm, Mode, Producer, ProducerBuilder};
use crate::delays::{Delays, Due, Entities, Waiting};
use crate::error::{Error, PublishError, SendMessageError};
use crate::events::ProducerId;
use crate::message::Message;

/// Publishes messages now that arrive later, at the queue or exchange of its producer: after a delay, or at a time.
///
/// [`ProducerBuilder::build_delayed`] makes it; what is promised, and what brokers need for it, is told at [`Delays`].
/// The buffer, confirms and outages are as with every [`Producer`]. Clones publish to the same buffer.
///
/// ```no_run
/// use std::time::{Duration, SystemTime};
/// use snowshoe::{Delays, Queue};
///
/// # async fn run(client: snowshoe::Client, midnight: SystemTime) -> Result<(), snowshoe::Error> {
/// let delays = Delays::queues("later", Duration::from_secs(24 * 60 * 60)).quorum();
/// let reminders = client.producer(Queue::quorum("reminders"))?.build_delayed(&delays)?;
///
/// reminders.send_after("pay for the bicycle", Duration::from_secs(600)).await?;
/// reminders.send_at("sleep", midnight).await?;
/// # Ok(()) }
/// ```
pub struct DelayedProducer<M = Confirm> {
    producer: Producer<M>,
    waiting: Arc<Waiting>,
}

impl<M> Clone for DelayedProducer<M> {
    fn clone(&self) -> Self {
        Self {
            producer: self.producer.clone(),
            waiting: Arc::clone(&self.waiting),
        }
    }
}

impl<M> fmt::Debug for DelayedProducer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DelayedProducer")
            .field("id", &self.producer.owner.outbox.id())
            .finish_non_exhaustive()
    }
}

impl<M: Mode> ProducerBuilder<M> {
    /// A producer of messages that arrive later, at what this one would publish to. What the [`Delays`] need at the broker
    /// is declared first, as a [queue](crate::Client::producer) is, and messages wait for that in the buffer.
    ///
    /// # Errors
    /// The name that the delays were given is none, or too long; or the exchange is to delay and is the default one.
    pub fn build_delayed(mut self, delays: &Delays) -> Result<DelayedProducer<M>, Error> {
        let exchange = self.address.exchange.clone();
        let entities = Entities::new(delays, &exchange)?;
        let waiting = Waiting::new(delays, exchange, &self.address.properties);
        if let Some(Entities { entry, steps }) = entities {
            self.address.exchange = entry;
            self.declaration.then.extend(steps);
        }
        if !waiting.can_be_mandatory() {
            self.mandatory = Some(false);
        }
        Ok(DelayedProducer {
            producer: self.build(),
            waiting: Arc::new(waiting),
        })
    }
}

impl<M: Mode> DelayedProducer<M> {
    /// Accepts a message for publishing that is to arrive after this delay, or at once where there is none. It waits for
    /// room as [`Producer::publish`] does, which takes nothing from the delay. A message that is given back later than
    /// that, by a hook, a [withdrawal](crate::Confirmation::withdraw) or a [report](crate::CloseReport), has the headers by
    /// which it would have found its way.
    ///
    /// # Errors
    /// [`PublishError`], with the message in it.
    ///
    /// # Cancel safety
    /// Until it completes, nothing was accepted; once it has, dropping anything does not take the
    /// message back.
    pub async fn publish_after(
        &self,
        message: impl Into<Message>,
        delay: Duration,
    ) -> Result<M::Receipt, PublishError> {
        self.publish(message.into(), Due::After(delay)).await
    }

    /// The same for one that is to arrive at this time, or at once where that is over.
    ///
    /// # Errors
    /// [`PublishError`], with the message in it.
    ///
    /// # Cancel safety
    /// As with [`publish_after`](Self::publish_after).
    pub async fn publish_at(
        &self,
        message: impl Into<Message>,
        time: SystemTime,
    ) -> Result<M::Receipt, PublishError> {
        self.publish(message.into(), Due::At(time)).await
    }

    /// Accepts a message for publishing that is to arrive after this delay, unless it would have to wait for room.
    ///
    /// # Errors
    /// [`PublishError`], with the message in it.
    pub fn try_publish_after(
        &self,
        message: impl Into<Message>,
        delay: Duration,
    ) -> Result<M::Receipt, PublishError> {
        let (message, own) = self.told(message.into(), Due::After(delay))?;
        let result = self.producer.try_publish(message);
        result.map_err(|error| own.put_back(error))
    }

    async fn publish(&self, message: Message, due: Due) -> Result<M::Receipt, PublishError> {
        let (message, own) = self.told(message, due)?;
        let result = self.producer.publish(message).await;
        result.map_err(|error| own.put_back(error))
    }

    /// The message as it goes out, and what it said of itself.
    fn told(&self, mut message: Message, due: Due) -> Result<(Message, Own), PublishError> {
        let own = Own(message.properties.clone());
        // One that has a fault is refused for that.
        if message.check().is_ok() {
            let client = &self.producer.owner.client;
            match (self.waiting).properties(&message, due, || client.time_of_day()) {
                Ok(properties) => message.properties = Some(properties),
                Err(reason) => return Err(PublishError { reason, message }),
            }
        }
        Ok((message, own))
    }

    /// How many messages are in the buffer: waiting, being written, or awaiting their confirm. Those that the broker has,
    /// and that wait there, are not among them.
    pub fn buffered(&self) -> usize {
        self.producer.buffered()
    }

    /// How many bytes they are, with the headers by which they find their way; see [`Message::size`].
    pub fn buffered_bytes(&self) -> usize {
        self.producer.buffered_bytes()
    }

    /// What [events](crate::Event) call this producer.
    pub fn id(&self) -> ProducerId {
        self.producer.id()
    }

    /// Completes when every message that was accepted before this call is settled; see [`Producer::flushed`].
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing, and leaves nothing behind.
    pub fn flushed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.producer.flushed()
    }
}

impl DelayedProducer<Confirm> {
    /// Publishes a message that is to arrive after this delay, and waits until the broker has it, not until it arrives.
    ///
    /// # Errors
    /// The message was not accepted, or not acknowledged.
    ///
    /// # Cancel safety
    /// A message that was accepted is published whether or not the future is dropped.
    pub async fn send_after(
        &self,
        message: impl Into<Message>,
        delay: Duration,
    ) -> Result<(), SendMessageError> {
        Ok(self.publish_after(message, delay).await?.await?)
    }

    /// Publishes a message that is to arrive at this time, and waits until the broker has it.
    ///
    /// # Errors
    /// The message was not accepted, or not acknowledged.
    ///
    /// # Cancel safety
    /// A message that was accepted is published whether or not the future is dropped.
    pub async fn send_at(
        &self,
        message: impl Into<Message>,
        time: SystemTime,
    ) -> Result<(), SendMessageError> {
        Ok(self.publish_at(message, time).await?.await?)
    }
}

/// The properties that a message had before it was told where it waits.
struct Own(Option<snowshoe_codec::Properties>);

impl Own {
    /// Whoever gets a message back gets it as it was.
    fn put_back(self, mut error: PublishError) -> PublishError {
        error.message.properties = self.0;
        error
    }
}
