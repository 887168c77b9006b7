mod arguments;
mod source;

use std::fmt;
use std::time::Duration;

use snowshoe_codec::method::{exchange, queue};
use snowshoe_codec::{FieldTable, Method, ShortString, TableError, ToField, TooLong};

pub(crate) use self::arguments::UNLIMITED_DELIVERIES;
pub use self::arguments::{DeliveryLimit, LeaderLocator, RetryOn};
pub(crate) use self::source::{Declaration, Source};
pub use self::source::{IntoExchange, IntoQueue};
use crate::error::{Error, reply_to};
use crate::message::millis;
use crate::name::Name;

/// Something that [`Client::declare`](crate::Client::declare) declares: a [`Queue`], an
/// [`Exchange`] or a [`Binding`].
pub trait Declare: sealed::Sealed {
    /// What the broker tells of it.
    type Declared;

    #[doc(hidden)]
    fn into_declaration(self) -> Result<Declaration, Error>;

    #[doc(hidden)]
    fn declared(reply: Method) -> Result<Self::Declared, Error>;
}

mod sealed {
    pub trait Sealed {}
    impl Sealed for super::Queue {}
    impl Sealed for super::Exchange {}
    impl Sealed for super::Binding {}
}

/// The first thing that was wrong with an entity under construction; told when it is declared.
#[derive(Clone, Debug, Default, PartialEq)]
struct Faults(Option<Fault>);

#[derive(Clone, Debug, PartialEq)]
enum Fault {
    Name(TooLong),
    NoQueueName,
    NotUtf8(ShortString),
    Argument(TableError),
}

impl Faults {
    /// A routing key, which can be any bytes.
    fn key(&mut self, key: impl Name) -> ShortString {
        key.into_short_string().unwrap_or_else(|error| {
            self.0.get_or_insert(Fault::Name(error));
            ShortString::EMPTY
        })
    }

    /// The name of something.
    fn name(&mut self, name: impl Name) -> ShortString {
        let name = self.key(name);
        if name.as_str().is_none() {
            self.0.get_or_insert(Fault::NotUtf8(name.clone()));
        }
        name
    }

    /// The name of a queue that is there.
    fn queue_name(&mut self, name: impl Name) -> ShortString {
        let name = self.name(name);
        if name.is_empty() {
            self.0.get_or_insert(Fault::NoQueueName);
        }
        name
    }

    /// An argument is to be what it is without.
    fn remove(&mut self, table: &mut FieldTable, name: &str) {
        if let Err(error) = table.remove(name) {
            self.0.get_or_insert(Fault::Argument(error));
        }
    }

    fn argument(&mut self, table: &mut FieldTable, name: &str, value: impl ToField) {
        if let Err(error) = table.set(name, value) {
            self.0.get_or_insert(Fault::Argument(error));
        }
    }

    /// What is wrong with the name of an exchange.
    fn other(&mut self, error: Error) {
        let fault = match error {
            Error::TooLong(error) => Fault::Name(error),
            Error::NotUtf8(name) => Fault::NotUtf8(name),
            _ => Fault::NoQueueName,
        };
        self.0.get_or_insert(fault);
    }

    fn check(self) -> Result<(), Error> {
        match self.0 {
            None => Ok(()),
            Some(Fault::Name(error)) => Err(error.into()),
            Some(Fault::NoQueueName) => Err(Error::NoQueueName),
            Some(Fault::NotUtf8(name)) => Err(Error::NotUtf8(name)),
            Some(Fault::Argument(error)) => Err(error.into()),
        }
    }
}

/// The name of an exchange or a consumer.
pub(crate) fn entity_name(name: impl Name) -> Result<ShortString, Error> {
    let mut faults = Faults::default();
    let name = faults.name(name);
    faults.check()?;
    Ok(name)
}

/// A name that people are to read, in logs and lists.
pub(crate) fn printable_name(name: impl Name) -> Result<ShortString, Error> {
    let name = name.into_short_string()?;
    let is_printable = |text: &str| !text.is_empty() && !text.contains(char::is_control);
    match name.as_str() {
        Some(text) if is_printable(text) => Ok(name),
        _ => Err(Error::UnfitName(name)),
    }
}

/// The name of a queue that is there: the empty one is none.
pub(crate) fn queue_name(name: impl Name) -> Result<ShortString, Error> {
    let mut faults = Faults::default();
    let name = faults.queue_name(name);
    faults.check()?;
    Ok(name)
}

/// A queue to declare: durable, unless it says otherwise.
///
/// ```
/// use std::time::Duration;
/// use snowshoe::Queue;
///
/// let orders = Queue::new("orders").dead_letter_exchange("failed").message_ttl(Duration::from_secs(3600));
/// let events = Queue::quorum("events");
/// let replies = Queue::server_named();
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "it is declared by Client::declare"]
pub struct Queue {
    declare: queue::Declare,
    /// Those that it is bound to, and that are to be declared before it.
    exchanges: Vec<Exchange>,
    bindings: Vec<Source>,
    faults: Faults,
}

/// What the broker tells of a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct DeclaredQueue {
    /// Its name, which the broker chose if you did not.
    pub name: ShortString,
    /// How many messages it holds that are ready to be delivered.
    pub message_count: u32,
    /// How many consumers it has.
    pub consumer_count: u32,
}

impl Queue {
    /// A durable queue.
    ///
    /// Where the name is empty, the broker chooses one. After a reconnect the queue is looked for under
    /// that, and declared anew only where it is gone; [`Event::QueueRenamed`](crate::Event::QueueRenamed)
    /// tells if it is. For one that ends with its connection there is
    /// [`server_named`](Self::server_named).
    pub fn new(name: impl Name) -> Self {
        let mut faults = Faults::default();
        let queue = faults.name(name);
        Self {
            declare: queue::Declare {
                queue,
                durable: true,
                ..Default::default()
            },
            exchanges: Vec::new(),
            bindings: Vec::new(),
            faults,
        }
    }

    /// A replicated queue (RabbitMQ); LavinMQ makes it a durable one.
    pub fn quorum(name: impl Name) -> Self {
        Self::new(name).argument("x-queue-type", "quorum")
    }

    /// A stream: a log that consumers read from any place on. Consuming wants a prefetch and
    /// acknowledgements, and can be told [where to begin](crate::ConsumerBuilder::stream_offset).
    pub fn stream(name: impl Name) -> Self {
        Self::new(name).argument("x-queue-type", "stream")
    }

    /// A queue of this connection alone, which the broker names and which ends with the connection.
    ///
    /// After a reconnect it is declared again, under another name: bindings and consumers of it
    /// follow, and [`Event::QueueRenamed`](crate::Event::QueueRenamed) tells.
    pub fn server_named() -> Self {
        let declare = queue::Declare {
            exclusive: true,
            auto_delete: true,
            ..Default::default()
        };
        Self {
            declare,
            exchanges: Vec::new(),
            bindings: Vec::new(),
            faults: Faults::default(),
        }
    }

    /// Has it receive what is published to an exchange, with this routing key or what the exchange's type takes
    /// it for. It is bound when it is declared, and the binding is remembered like one that is
    /// [declared](Binding) by itself, which can have arguments, too.
    ///
    /// The exchange is one that is there, by its name, or an [`Exchange`], which is declared before.
    ///
    /// ```no_run
    /// use snowshoe::{Exchange, Queue};
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let mails = Queue::quorum("mails").bind(Exchange::topic("events"), "order.*");
    /// let mut mails = client.consumer(mails.bind("amq.topic", "user.new"))?.start().await?;
    /// # Ok(()) }
    /// ```
    pub fn bind(mut self, exchange: impl IntoExchange, routing_key: impl Name) -> Self {
        let routing_key = self.faults.key(routing_key);
        match exchange.into_exchange() {
            Ok((name, declared)) => {
                self.exchanges.extend(declared);
                self.bindings.push(Source {
                    exchange: name,
                    routing_key,
                });
            }
            Err(error) => self.faults.other(error),
        }
        self
    }

    /// Whether it outlives the broker.
    pub fn durable(mut self, durable: bool) -> Self {
        self.declare.durable = durable;
        self
    }

    /// Only this connection may use it, and it ends with the connection: the client's main one, so that a
    /// consumer of it cannot have a
    /// [connection to itself](crate::ConsumerBuilder::dedicated_connection). Producers can publish to it.
    pub fn exclusive(mut self) -> Self {
        self.declare.exclusive = true;
        self
    }

    /// It is deleted when its last consumer goes.
    pub fn auto_delete(mut self) -> Self {
        self.declare.auto_delete = true;
        self
    }

    /// Asks whether it exists, and changes nothing. It is not remembered.
    pub fn passive(mut self) -> Self {
        self.declare.passive = true;
        self
    }

    /// Sets an argument, in the place of one that was set under this name. What cannot be encoded is told
    /// when the queue is declared.
    pub fn argument(mut self, name: &str, value: impl ToField) -> Self {
        self.faults
            .argument(&mut self.declare.arguments, name, value);
        self
    }

    /// Messages are dropped, or dead-lettered, when they have waited this long (`x-message-ttl`).
    ///
    /// Parts of a millisecond count as one. More than brokers can measure, about 49 days, is for ever.
    pub fn message_ttl(self, ttl: Duration) -> Self {
        self.time("x-message-ttl", millis(ttl))
    }

    /// The queue is deleted when nobody has used it for so long (`x-expires`).
    ///
    /// It is a millisecond at least, and parts of one count as one. More than brokers can measure, about
    /// 49 days, is for ever.
    pub fn expires(self, after: Duration) -> Self {
        self.time("x-expires", millis(after).map(|it| it.max(1)))
    }

    /// A time for which there is no end where it is `None`.
    fn time(mut self, name: &str, millis: Option<u32>) -> Self {
        match millis {
            Some(millis) => self.argument(name, i64::from(millis)),
            None => {
                self.faults.remove(&mut self.declare.arguments, name);
                self
            }
        }
    }

    /// How many messages it holds at most (`x-max-length`).
    pub fn max_length(self, messages: u32) -> Self {
        self.argument("x-max-length", i64::from(messages))
    }

    /// How many bytes of bodies it holds at most (`x-max-length-bytes`).
    pub fn max_length_bytes(self, bytes: u32) -> Self {
        self.argument("x-max-length-bytes", i64::from(bytes))
    }

    /// When it is full, publishes are refused instead of the oldest messages dropped
    /// (`x-overflow`).
    pub fn reject_publish(self) -> Self {
        self.argument("x-overflow", "reject-publish")
    }

    /// Where dropped and refused messages go (`x-dead-letter-exchange`).
    pub fn dead_letter_exchange(mut self, exchange: impl Name) -> Self {
        let exchange = self.faults.name(exchange);
        self.argument("x-dead-letter-exchange", &exchange)
    }

    /// The routing key of dead letters, instead of their own (`x-dead-letter-routing-key`).
    pub fn dead_letter_routing_key(mut self, routing_key: impl Name) -> Self {
        let routing_key = self.faults.key(routing_key);
        self.argument("x-dead-letter-routing-key", &routing_key)
    }

    /// Messages have priorities up to this one (`x-max-priority`; classic queues). Quorum queues refuse it (406)
    /// and need none: from RabbitMQ 4.0 on they have two, from 4.3 on 32.
    pub fn max_priority(self, priority: u8) -> Self {
        self.argument("x-max-priority", i32::from(priority))
    }

    /// Only one consumer at a time receives (`x-single-active-consumer`).
    pub fn single_active_consumer(self) -> Self {
        self.argument("x-single-active-consumer", true)
    }
}

impl Declare for Queue {
    type Declared = DeclaredQueue;

    fn into_declaration(self) -> Result<Declaration, Error> {
        Declaration::of_queue(self)
    }

    fn declared(reply: Method) -> Result<DeclaredQueue, Error> {
        let queue::DeclareOk {
            queue,
            message_count,
            consumer_count,
        } = reply_to::<queue::Declare>(reply)?;
        Ok(DeclaredQueue {
            name: queue,
            message_count,
            consumer_count,
        })
    }
}

/// An exchange to declare: durable, unless it says otherwise.
///
/// ```
/// use snowshoe::Exchange;
///
/// let events = Exchange::topic("events").alternate_exchange("unrouted");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "it is declared by Client::declare"]
pub struct Exchange {
    declare: exchange::Declare,
    faults: Faults,
}

impl Exchange {
    /// A durable exchange of any type the broker knows.
    pub fn new(name: impl Name, kind: &str) -> Self {
        let mut faults = Faults::default();
        let (exchange, kind) = (faults.name(name), faults.name(kind));
        Self {
            declare: exchange::Declare {
                exchange,
                kind,
                durable: true,
                ..Default::default()
            },
            faults,
        }
    }

    /// Routes by equal routing keys.
    pub fn direct(name: impl Name) -> Self {
        Self::new(name, "direct")
    }

    /// Routes to everything that is bound.
    pub fn fanout(name: impl Name) -> Self {
        Self::new(name, "fanout")
    }

    /// Routes by patterns: `*` stands for one word, `#` for any number of them.
    pub fn topic(name: impl Name) -> Self {
        Self::new(name, "topic")
    }

    /// Routes by the headers that a binding's arguments ask for.
    pub fn headers(name: impl Name) -> Self {
        Self::new(name, "headers")
    }

    /// Delays messages for as many milliseconds as their header `x-delay` says, and then routes them as an exchange of
    /// this kind does, such as `topic` (type `x-delayed-message`, `x-delayed-type`): LavinMQ, and RabbitMQ with the plugin
    /// `rabbitmq_delayed_message_exchange`. Others refuse it. [`Delays::by_exchange`](crate::Delays::by_exchange) sets
    /// the header.
    pub fn delayed(name: impl Name, kind: &str) -> Self {
        Self::new(name, "x-delayed-message").argument("x-delayed-type", kind)
    }

    /// Whether it outlives the broker.
    pub fn durable(mut self, durable: bool) -> Self {
        self.declare.durable = durable;
        self
    }

    /// It is deleted when the last thing bound to it is unbound.
    pub fn auto_delete(mut self) -> Self {
        self.declare.auto_delete = true;
        self
    }

    /// Only exchanges publish to it, not clients.
    pub fn internal(mut self) -> Self {
        self.declare.internal = true;
        self
    }

    /// Asks whether it exists, and changes nothing. It is not remembered.
    pub fn passive(mut self) -> Self {
        self.declare.passive = true;
        self
    }

    /// Where messages go that it cannot route (`alternate-exchange`).
    pub fn alternate_exchange(mut self, exchange: impl Name) -> Self {
        let exchange = self.faults.name(exchange);
        self.argument("alternate-exchange", &exchange)
    }

    /// Sets an argument, in the place of one that was set under this name. What cannot be encoded is told
    /// when the exchange is declared.
    pub fn argument(mut self, name: &str, value: impl ToField) -> Self {
        self.faults
            .argument(&mut self.declare.arguments, name, value);
        self
    }
}

impl Exchange {
    fn into_declare(self) -> Result<Method, Error> {
        self.faults.check()?;
        Ok(self.declare.into())
    }
}

impl Declare for Exchange {
    type Declared = ();

    fn into_declaration(self) -> Result<Declaration, Error> {
        Ok(Declaration::of(self.into_declare()?))
    }

    // A call gets no answer but its own, and this one says nothing more than that it was done.
    fn declared(_: Method) -> Result<(), Error> {
        Ok(())
    }
}

/// A binding to declare: messages of an exchange go to a queue, or to another exchange.
///
/// ```
/// use snowshoe::Binding;
///
/// let everything_new = Binding::queue("orders").to_exchange("events").routing_key("order.new.#");
/// let copy = Binding::exchange("archive").to_exchange("events").routing_key("#");
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "it is declared by Client::declare"]
pub struct Binding {
    destination: Destination,
    source: ShortString,
    routing_key: ShortString,
    arguments: FieldTable,
    faults: Faults,
}

/// Where a [`Binding`] leads.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Destination {
    /// To a queue of this name.
    Queue(ShortString),
    /// To an exchange of this name.
    Exchange(ShortString),
}

impl fmt::Display for Destination {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Queue(name) => write!(f, "queue {name:?}"),
            Self::Exchange(name) => write!(f, "exchange {name:?}"),
        }
    }
}

impl Binding {
    /// Lets a queue receive.
    pub fn queue(name: impl Name) -> Self {
        let mut faults = Faults::default();
        let destination = Destination::Queue(faults.queue_name(name));
        Self::new(destination, faults)
    }

    /// Lets an exchange receive.
    pub fn exchange(name: impl Name) -> Self {
        let mut faults = Faults::default();
        let destination = Destination::Exchange(faults.name(name));
        Self::new(destination, faults)
    }

    fn new(destination: Destination, faults: Faults) -> Self {
        let (source, routing_key) = (ShortString::EMPTY, ShortString::EMPTY);
        Self {
            destination,
            source,
            routing_key,
            arguments: FieldTable::new(),
            faults,
        }
    }

    /// The exchange to receive from.
    pub fn to_exchange(mut self, name: impl Name) -> Self {
        self.source = self.faults.name(name);
        self
    }

    /// Which messages, by the exchange's type; empty by default.
    pub fn routing_key(mut self, routing_key: impl Name) -> Self {
        self.routing_key = self.faults.key(routing_key);
        self
    }

    /// Sets an argument, in the place of one that was set under this name. What cannot be encoded is told
    /// when the binding is declared.
    pub fn argument(mut self, name: &str, value: impl ToField) -> Self {
        self.faults.argument(&mut self.arguments, name, value);
        self
    }

    /// One that was declared before.
    pub(crate) fn declared(
        source: ShortString,
        destination: Destination,
        routing_key: ShortString,
        arguments: FieldTable,
    ) -> Self {
        Self {
            destination,
            source,
            routing_key,
            arguments,
            faults: Faults::default(),
        }
    }

    /// Where it leads.
    pub fn destination(&self) -> &Destination {
        &self.destination
    }

    /// The exchange that messages come from.
    pub fn source(&self) -> &ShortString {
        &self.source
    }

    /// Which messages, by the exchange's type.
    pub fn key(&self) -> &ShortString {
        &self.routing_key
    }

    /// Its arguments.
    pub fn arguments(&self) -> &FieldTable {
        &self.arguments
    }

    pub(crate) fn into_bind(self) -> Result<Method, Error> {
        let Self {
            destination,
            source,
            routing_key,
            arguments,
            faults,
        } = self;
        faults.check()?;
        Ok(match destination {
            Destination::Queue(queue) => queue::Bind {
                queue,
                exchange: source,
                routing_key,
                arguments,
                ..Default::default()
            }
            .into(),
            Destination::Exchange(destination) => exchange::Bind {
                destination,
                source,
                routing_key,
                arguments,
                ..Default::default()
            }
            .into(),
        })
    }

    pub(crate) fn into_unbind(self) -> Result<Method, Error> {
        let Self {
            destination,
            source,
            routing_key,
            arguments,
            faults,
        } = self;
        faults.check()?;
        Ok(match destination {
            Destination::Queue(queue) => queue::Unbind {
                ticket: 0,
                queue,
                exchange: source,
                routing_key,
                arguments,
            }
            .into(),
            Destination::Exchange(destination) => exchange::Unbind {
                destination,
                source,
                routing_key,
                arguments,
                ..Default::default()
            }
            .into(),
        })
    }
}

impl fmt::Display for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            destination,
            source,
            routing_key,
            ..
        } = self;
        write!(
            f,
            "{destination} to exchange {source:?} with routing key {routing_key:?}"
        )
    }
}

impl Declare for Binding {
    type Declared = ();

    fn into_declaration(self) -> Result<Declaration, Error> {
        Ok(Declaration::of(self.into_bind()?))
    }

    // As with an exchange.
    fn declared(_: Method) -> Result<(), Error> {
        Ok(())
    }
}
