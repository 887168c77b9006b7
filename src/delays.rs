//! Messages that are published now and are to arrive later.

mod entities;
mod levels;
mod waiting;

use std::time::Duration;

pub(crate) use self::entities::Entities;
use self::levels::Levels;
pub(crate) use self::waiting::{Due, Waiting};
use crate::declare::entity_name;
use crate::error::Error;
use crate::name::Name;

/// Where messages wait that are published now and are to arrive later: in queues, on any broker, or with a broker that
/// can do it by itself.
///
/// [`ProducerBuilder::build_delayed`](crate::ProducerBuilder::build_delayed) takes it, and gives a
/// [`DelayedProducer`](crate::DelayedProducer).
///
/// ```
/// use std::time::Duration;
/// use snowshoe::testing::{BrokerOptions, Server};
/// use snowshoe::{Delays, Queue};
///
/// # snowshoe::block_on(async {
/// # let server = Server::in_memory(BrokerOptions::default());
/// # let (client, driver) = server.client().build();
/// # std::thread::spawn(move || snowshoe::block_on(driver));
/// let a_day = Duration::from_secs(24 * 60 * 60);
/// let delays = Delays::queues("later", a_day).precision(Duration::from_millis(10));
/// let reminders = client.producer(Queue::new("reminders"))?.build_delayed(&delays)?;
///
/// reminders.send_after("second", Duration::from_millis(300)).await?;
/// reminders.send_after("first", Duration::from_millis(50)).await?;
///
/// let mut consumer = client.consumer("reminders")?.start().await?;
/// for expected in ["first", "second"] {
///     let reminder = consumer.next().await.expect("nobody stops the consumer");
///     assert_eq!(reminder.body(), expected.as_bytes());
///     reminder.ack()?;
/// }
/// # Ok::<(), snowshoe::Error>(()) }).unwrap();
/// ```
///
/// # Which
///
/// | | what it takes | where messages wait |
/// |---|---|---|
/// | [`queues`](Self::queues) | any broker | in queues of their own, replicated if you like |
/// | [`by_exchange`](Self::by_exchange) | LavinMQ; RabbitMQ with the plugin `rabbitmq_delayed_message_exchange` | in the exchange; the plugin keeps them on one node |
/// | [`by_queue`](Self::by_queue) | a quorum queue of RabbitMQ 4.4 | in the queue that they are for |
///
/// The client does not choose between them: what a message meets on its way is what you have declared, and the same
/// after a reconnect to another node or release. Where nothing speaks for another, take queues.
///
/// # What is promised
///
/// A message arrives when its delay is over, or some time after that, and not before it, but for what is said of each.
/// The delay begins when the broker has the message: what waits in the producer's buffer through an outage is late by that.
/// A time at which it is to arrive ([`send_at`](crate::DelayedProducer::send_at)) becomes a delay when it is published,
/// by the clock of the client.
///
/// A confirm says that the broker has the message, where it waits, as safely as the kind of that place has it. Nobody is
/// told of what comes after: by then, the queue or exchange that the message is for may be gone, or bound to nothing, and
/// it is dropped, though it was [mandatory](crate::ProducerBuilder::mandatory); that word is about the moment of
/// publishing. What then happens in queues with at-least-once dead-lettering is said at [`quorum`](Self::quorum).
///
/// Messages of one producer with the same delay arrive in their order as a rule, and in another where something goes
/// wrong on the way. What waits cannot be called back.
#[derive(Clone, Debug)]
#[must_use = "it is given to ProducerBuilder::build_delayed"]
pub struct Delays {
    way: Way,
    fault: Option<Error>,
}

#[derive(Clone, Debug, PartialEq)]
enum Way {
    Queues {
        name: String,
        levels: Levels,
        is_replicated: bool,
    },
    Exchange,
    Queue,
}

impl Delays {
    /// Messages wait in queues with a time to live, which dead-letter them on, up to this long. It goes with every
    /// broker, and with every exchange and queue.
    ///
    /// For a name `later` there are a queue and an exchange for a second, for 2, 4, 8 and so on, such as
    /// `later.8000ms`, and at the end the exchange `later.due`; for a day these are 17 queues. A message passes
    /// through those whose times make up its delay, from the longest to the shortest, so that none waits for another: 17
    /// seconds are 16 and 1. They are durable, are declared before the producer publishes, are declared again after
    /// a reconnect, and stay. All producers that are given the same name share them, whatever they publish to; those may
    /// have other longest delays. The [kind](Self::quorum) of a name stays what it was: the broker refuses another (406).
    /// Another [precision](Self::precision) makes queues of its own.
    ///
    /// A message keeps its routing key, its properties, and the keys in its headers `CC` and `BCC`, with
    /// these exceptions:
    ///
    /// - It gets headers by which it finds its way, `snowshoe-exchange` and one for each wait, such as
    ///   `snowshoe-wait-8000ms`, and the broker adds to `x-death` wherever it has waited. An `x-death` that the message
    ///   brings along is taken out, for the broker would hold some ways for circles, and drop the message.
    /// - It cannot have an [expiration](crate::Message::expires), which brokers take out on such a way. Publishing it
    ///   fails ([`DelayExpires`](crate::PublishErrorReason::DelayExpires)); the queue that it is for can have a
    ///   [time to live](crate::Queue::message_ttl).
    ///
    /// Whoever deletes one of these queues deletes what waits there, and until it is declared again messages pass it by
    /// and arrive too early. So they may while a classic one is away with its node in a cluster: take
    /// [quorum queues](Self::quorum) there.
    ///
    /// An exchange that messages are for is bound to `later.due`. If somebody deletes it and declares it again, that is
    /// missing until the client reconnects, and what comes due before is dropped; if this client does so, until a new
    /// delayed producer is made.
    ///
    /// The longest delay is 49 days at most. Publishing with a longer one fails
    /// ([`DelayTooLong`](crate::PublishErrorReason::DelayTooLong)).
    pub fn queues(name: impl Name, longest: Duration) -> Self {
        let (name, fault) = match checked(name) {
            Ok(name) => (name, None),
            Err(error) => (String::new(), Some(error)),
        };
        let way = Way::Queues {
            name,
            levels: Levels::up_to(longest),
            is_replicated: false,
        };
        Self { way, fault }
    }

    /// The exchange of the producer delays messages by itself, by their header `x-delay`: LavinMQ, and RabbitMQ with
    /// the plugin `rabbitmq_delayed_message_exchange`. It has to be [declared so](crate::Exchange::delayed); a
    /// producer to a queue, whose exchange is the default one, is refused
    /// ([`Error::NoDelayedExchange`]). An exchange of another type delivers at once.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use snowshoe::{Delays, Exchange};
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let reminders = Exchange::delayed("reminders", "topic");
    /// let reminders = client.exchange_producer(reminders, "order.unpaid")?.build_delayed(&Delays::by_exchange())?;
    /// reminders.send_after("order 17", Duration::from_secs(600)).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// The producer is never [mandatory](crate::ProducerBuilder::mandatory), since the plugin returns what it delays. Its
    /// documentation tells of more limits: messages wait on one node and are lost with it, delays are meant to be hours
    /// rather than days, and the plugin is not developed any more. Delays are up to 49 days here.
    ///
    /// What is said here of LavinMQ and of the plugin is from their documentation; it was not tried.
    pub fn by_exchange() -> Self {
        Self {
            way: Way::Exchange,
            fault: None,
        }
    }

    /// The queue that a message is for keeps it until its time, which its header `x-opt-delivery-time` says in
    /// milliseconds since 1970: a quorum queue of RabbitMQ from 4.4 on. Any other queue delivers at once.
    ///
    /// The time is that of the client's clock when the message is published, so it arrives in time after an outage,
    /// too, and at another time where the clocks of client and broker do not agree.
    ///
    /// 4.4 was not released when this was written, and this was not tried: it is from the announcement.
    pub fn by_queue() -> Self {
        Self {
            way: Way::Queue,
            fault: None,
        }
    }

    /// To what delays are rounded up, a second where nothing is said. Half of it takes one more
    /// [queue](Self::queues). It is a millisecond at least, and parts of one count as one; and it says nothing to brokers
    /// that delay by themselves.
    pub fn precision(mut self, precision: Duration) -> Self {
        if let Way::Queues { levels, .. } = &mut self.way {
            levels.set_precision(precision);
        }
        self
    }

    /// The [queues](Self::queues) are quorum queues, which survive the loss of a node, and hand a message on at
    /// least once (RabbitMQ, from 3.10 on): it stays until the next queue has confirmed it, so a cut between
    /// makes two of it. Without this they are on one node, and what is being handed on when the broker crashes can be
    /// lost. So can be what comes due while it is down, where the queue that it is for is a quorum queue: a classic one that
    /// starts does not wait for it.
    ///
    /// A message for which there is no queue any more stays, too, and is tried again for as long as it takes (by RabbitMQ's
    /// documentation; it was not tried), as does one that its queue refuses, being full. Many of these hold up all that is
    /// due under the same name: give messages for queues that come and go a name of their own.
    ///
    /// From RabbitMQ 4.0 on, quorum queues know priorities: a message can wait longer for others of a
    /// [higher one](crate::Message::priority) that came later.
    pub fn quorum(mut self) -> Self {
        if let Way::Queues { is_replicated, .. } = &mut self.way {
            *is_replicated = true;
        }
        self
    }
}

/// A name that others are made of.
fn checked(name: impl Name) -> Result<String, Error> {
    let name = entity_name(name)?;
    match name.as_str() {
        Some("") => Err(Error::NoQueueName),
        Some(text) => Ok(text.to_owned()),
        None => Err(Error::NotUtf8(name)),
    }
}
