//! How a consumer is set up and started.

mod stream;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use snowshoe_codec::{FieldTable, ShortString, TableError, ToField};

use self::stream::InStream;
use super::retrying::Retrier;
use super::{Consumer, OnOversized};
use crate::core::Epoch;
use crate::core::backlog::{Bounds, Load};
use crate::core::subscription::ConsumerSpec;
use crate::declare::{Declaration, Declare, Queue, entity_name, printable_name};
use crate::delivery::{Disposition, OversizedDelivery};
use crate::error::Error;
use crate::name::Name;
use crate::retry::Retry;
use crate::settings::RetrySettings;
use crate::shared::command::Command;
use crate::shared::handle::{Handle, Shared};
use crate::shared::inbox::Inbox;
use crate::sync::answer::answer;

/// Sets up a [`Consumer`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct ConsumerBuilder {
    client: Arc<Handle>,
    /// What is to be declared before.
    declaration: Declaration,
    spec: ConsumerSpec,
    dedicated: bool,
    concurrency: u16,
    /// Whether that is of this consumer, and not what all have in common.
    is_concurrency_told: bool,
    warns_after: Option<Duration>,
    bounds: Bounds,
    on_oversized: OnOversized,
    /// `None` where nothing was said of it, and the client's settings may.
    retry: Option<Option<Retry>>,
    stream: InStream,
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Arc<Handle>, queue: ShortString, declaration: Declaration) -> Self {
        let shared = client.shared();
        let settings = &shared.settings.consumers;
        let (prefetch, warns_after) = (settings.prefetch, settings.warn_unsettled_after);
        let (messages, bytes) = (settings.capacity, settings.capacity_bytes);
        let concurrency = settings.concurrency;
        let tag = unique_tag("snowshoe", shared);
        let spec = ConsumerSpec {
            queue,
            tag: (tag.try_into()).expect("two numbers are shorter than 255 bytes"),
            prefetch: prefetch.unwrap_or(100),
            no_ack: false,
            exclusive: false,
            no_local: false,
            arguments: FieldTable::new(),
        };
        let builder = Self {
            client,
            declaration,
            spec,
            dedicated: false,
            concurrency: as_prefetch(concurrency.unwrap_or(0)),
            is_concurrency_told: false,
            warns_after,
            retry: None,
            stream: InStream::default(),
            on_oversized: OnOversized(Arc::new(OversizedDelivery::usual_disposition)),
            bounds: Bounds {
                messages: 10_000,
                bytes: 16 << 20,
                prefetch: None,
            },
        };
        let capacity = builder.bounds;
        builder
            .capacity(messages.unwrap_or(capacity.messages))
            .capacity_bytes(bytes.unwrap_or(capacity.bytes))
    }

    /// How many messages the broker may have delivered and not seen acknowledged; 100 by default.
    /// Together with [`capacity_bytes`](Self::capacity_bytes) it bounds what waits in the consumer, too.
    /// 0 means no limit: then [`capacity`](Self::capacity) does so in its place.
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.spec.prefetch = messages;
        if !self.is_concurrency_told {
            // What all consumers have in common does not change what this one is told.
            self.concurrency = 0;
        }
        self
    }

    /// What becomes of messages at which handlers of [`Consumer::process`] failed: how often they are tried again, how
    /// long they wait before, and where they go after the last attempt. What that needs at the broker is declared as
    /// the consumer starts. `None` is for a consumer that is to be without the
    /// [client's](crate::ConsumerSettings::retry).
    pub fn retry(mut self, retry: impl Into<Option<Retry>>) -> Self {
        self.retry = Some(retry.into());
        self
    }

    /// How long a delivery may be unsettled before [`Event::Overdue`](crate::Event::Overdue) and a line in the log warn of
    /// it. Where nothing is said it is five sixths of the [consumer timeout](crate::Queue::consumer_timeout) that this client
    /// has declared the queue with, or else 25 minutes, since RabbitMQ takes it back after 30. What takes longer wants a
    /// longer timeout of its queue, or, on RabbitMQ from 4.3 on, of the consumer
    /// ([argument](Self::argument) `x-consumer-timeout`, in milliseconds).
    pub fn warn_unsettled_after(mut self, time: Duration) -> Self {
        self.warns_after = Some(time);
        self
    }

    /// As many handlers of [`Consumer::process`] are to run at a time: a lower [`prefetch`](Self::prefetch), which would
    /// not let them, is raised to as many, and a line in the log says so. It says nothing of those beyond 65,535.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = as_prefetch(handlers);
        self.is_concurrency_told = true;
        self
    }

    /// Takes messages as acknowledged when they are sent: fastest, and what was on its way is lost
    /// with a connection. So is what there is [no room](Self::capacity_bytes) for.
    pub fn no_ack(mut self) -> Self {
        self.spec.no_ack = true;
        self
    }

    /// How many messages may wait to be taken, where no prefetch bounds them, before the broker is asked
    /// for less; 10,000 by default. Those that are on their way then come on top.
    ///
    /// A connection is read whatever its consumers do, so that no call, acknowledgement, heartbeat or
    /// other consumer waits for one that is behind. What a consumer that is behind is spared has to stay
    /// at the broker: see [the guarantees](crate::guarantees#a-consumer-that-does-not-keep-up).
    pub fn capacity(mut self, messages: usize) -> Self {
        self.bounds.messages = messages.max(1);
        self
    }

    /// How many bytes the messages may take that wait to be taken; 16 MiB by default. Names, properties
    /// and bodies count, and about 80 bytes for each message. Messages that were taken do not count. One
    /// that is larger can wait alone.
    ///
    /// The broker is asked for less when half of it is used, and the other half is for what is on its
    /// way. What is more than that is not kept: it goes back to the queue, and without acknowledgements it
    /// is dropped, which [`Event::DeliveriesDropped`](crate::Event::DeliveriesDropped) tells. Give it more
    /// than what the network holds at a time, its rate times its delay.
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.bounds.bytes = bytes.max(1);
        self
    }

    /// Decides what becomes of a message that is longer than
    /// [is accepted](crate::ClientBuilder::max_message_size). Its body was skipped, so it is never handed
    /// out as a message: whoever worked on it would take it for an empty one.
    ///
    /// By default it is refused ([`Disposition::Discard`]): dead-lettered, or dropped where the queue
    /// has nowhere to dead-letter to; one of a stream, which keeps it, is passed over. Nothing else
    /// ends by itself: back in the queue it would come again at once, and kept unsettled it would take
    /// up the prefetch. [`Event::Oversized`](crate::Event::Oversized) tells of each in any case.
    ///
    /// `decide` is called in the place where the message would have been handed out, by whoever waits
    /// for the next. Without acknowledgements it is called as well, and nothing comes of what it says.
    ///
    /// ```no_run
    /// use snowshoe::Disposition;
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let orders = client.consumer("orders")?.on_oversized(|order| {
    ///     eprintln!("left to others: {}, from {}", order.excess(), order.exchange());
    ///     Disposition::Discard
    /// });
    /// let mut orders = orders.start().await?;
    /// # Ok(()) }
    /// ```
    pub fn on_oversized<F>(mut self, decide: F) -> Self
    where
        F: Fn(&OversizedDelivery) -> Disposition + Send + Sync + 'static,
    {
        self.on_oversized = OnOversized(Arc::new(decide));
        self
    }

    /// Gives the consumer a connection to itself.
    ///
    /// A queue that this client has declared as [exclusive](crate::Queue::exclusive) belongs to another
    /// of its connections, and cannot be consumed like this.
    ///
    /// A connection that cannot be made, or that the broker refuses because there are too many, is tried
    /// again like one that was lost, and [`start`](Self::start) waits for it: give that a time of your own.
    /// [`Event::Disconnected`](crate::Event::Disconnected) tells of each attempt, and why it failed.
    pub fn dedicated_connection(mut self) -> Self {
        self.dedicated = true;
        self
    }

    /// Lets no other consumer have the queue.
    pub fn exclusive(mut self) -> Self {
        self.spec.exclusive = true;
        self
    }

    /// Names the consumer, after what it does, for instance. Its consumer tag begins with the name, and goes
    /// on in a way that is unique everywhere, so that several processes can have the same: the broker's list
    /// of consumers, [`ConsumerId`](crate::ConsumerId) and lines in the log show it.
    ///
    /// ```no_run
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let consumer = client.consumer("orders")?.name("dispatch")?.start().await?; // dispatch-3c59…-7
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// It is no [printable text](Error::UnfitName), or there is no room for it in the 255 bytes of a tag, of
    /// which the rest takes 38 at most.
    pub fn name(mut self, name: impl Name) -> Result<Self, Error> {
        let name = printable_name(name)?;
        let tag = unique_tag(&name.to_string_lossy(), self.client.shared());
        self.spec.tag = tag.try_into()?;
        Ok(self)
    }

    /// Gives the consumer a tag. Tags are unique on a connection; by default, and in the place of an empty
    /// one, one is made up that is unique everywhere, which can [begin with a name](Self::name). While it is
    /// behind, the broker [sees it under others](crate::guarantees#a-consumer-that-does-not-keep-up).
    ///
    /// # Errors
    /// Consumer tags are text of at most 255 bytes.
    pub fn tag(mut self, tag: impl Name) -> Result<Self, Error> {
        let tag = entity_name(tag)?;
        // The broker would make one up, by which nobody here could cancel the consumer.
        if !tag.is_empty() {
            self.spec.tag = tag;
        }
        Ok(self)
    }

    /// Consumers of higher priority are served first (`x-priority`); 0 by default.
    ///
    /// # Errors
    /// None for a number; the signature is that of [`argument`](Self::argument).
    pub fn priority(self, priority: i32) -> Result<Self, TableError> {
        self.argument("x-priority", priority)
    }

    /// Sets an argument, such as `x-cancel-on-ha-failover`, in the place of one that was set under this name.
    ///
    /// # Errors
    /// The name is too long, or the value cannot be encoded.
    pub fn argument(mut self, name: &str, value: impl ToField) -> Result<Self, TableError> {
        self.spec.arguments.set(name, value)?;
        Ok(self)
    }

    /// Starts the consumer, as soon as there is a connection. A [`Queue`](crate::Queue) that it was
    /// [given](crate::Client::consumer) is declared before.
    ///
    /// # Errors
    /// The broker refuses it, or the declaration of its queue, because there is no such queue as a rule, or does not answer
    /// [in time](crate::ClientBuilder::call_timeout); its arguments [do not fit into a frame](Error::Send); or
    /// it asks for a connection to itself for a queue that is [exclusive](Error::ExclusiveQueue) to another.
    /// Once it has started, it comes back whatever happens, unless its arguments do not fit into the smaller
    /// frames of another broker.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the consumer. What was declared stays.
    pub async fn start(self) -> Result<Consumer, Error> {
        let Self {
            client,
            declaration,
            mut spec,
            dedicated,
            concurrency,
            is_concurrency_told: _,
            warns_after,
            mut bounds,
            on_oversized,
            retry,
            stream,
        } = self;
        stream.set_in(&mut spec.arguments)?;
        let is_everyones = retry.is_none();
        let retry = match retry {
            Some(retry) => retry,
            None if declaration.is_temporary() => None,
            None => everyones_retry(&client, &spec)?,
        };
        if let Some(reply) = client.declare(declaration).await? {
            // The broker may have chosen its name.
            spec.queue = Queue::declared(reply)?.name;
        }
        let prefetch = spec.prefetch;
        if (1..concurrency).contains(&prefetch) {
            spec.prefetch = concurrency;
        }
        if spec.prefetch > 0 && !spec.no_ack {
            bounds.prefetch = Some(spec.prefetch);
            bounds.messages = usize::MAX;
        }
        let doorbell = Arc::clone(&client.shared().doorbell);
        let inbox = Inbox::new(&spec, bounds, doorbell);
        let inbox = Arc::new(
            inbox
                .asking_for_offset(stream.ask)
                .warning_after(warns_after),
        );
        let retrier = retry.map(|retry| Retrier::new(retry, &client, &inbox));
        let mut consumer = Consumer {
            inbox: Arc::clone(&inbox),
            batch: VecDeque::new(),
            epoch: Epoch::default(),
            released: Load::default(),
            in_a_row: 0,
            has_stopped: false,
            on_oversized,
            retrier: retrier.transpose()?.map(Arc::new),
            client: Arc::clone(&client),
        };
        let (answer, started) = answer();
        client.command(Command::AddConsumer {
            inbox,
            raised_from: (spec.prefetch != prefetch && !spec.no_ack).then_some(prefetch),
            spec,
            dedicated,
            started: answer,
        });
        started.await.ok_or(Error::Closed)??;
        if is_everyones && consumer.inbox.is_stream() {
            consumer.retrier = None;
        }
        if let Some(retrier) = &consumer.retrier {
            retrier.prepare().await?;
        }
        Ok(consumer)
    }
}

/// The prefetch that lets so many handlers run, or the largest that there is.
fn as_prefetch(handlers: usize) -> u16 {
    u16::try_from(handlers).unwrap_or(u16::MAX)
}

/// What the client's settings say of messages that failed, where the consumer says nothing. What is declared for it
/// stays, so it is not done for a queue that the broker names, nor for one that was declared to go.
fn everyones_retry(client: &Handle, spec: &ConsumerSpec) -> Result<Option<Retry>, Error> {
    let settings = &client.shared().settings.consumers;
    let retry = (settings.retry.as_ref()).filter(|_| !spec.no_ack && !spec.queue.is_empty());
    Ok(retry.map(RetrySettings::to_retry).transpose()?)
}

/// A consumer tag that nobody else has: LavinMQ keys direct replies by it, so it is unique across the world.
fn unique_tag(name: &str, shared: &Shared) -> String {
    format!("{name}-{:016x}-{}", shared.seed, shared.next_id())
}
