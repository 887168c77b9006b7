mod delayed;
mod undelivered;
mod withdrawing;

use std::fmt;
use std::future::Future;
use std::marker::PhantomData;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use snowshoe_codec::{Properties, ShortString};

pub use self::delayed::DelayedProducer;
use self::sealed::Accepted;
use crate::core::publisher::{Address, Overflow, Publisher, Settlement};
use crate::core::ring::Limits;
use crate::declare::{Declaration, printable_name};
use crate::error::{Error, PublishError, PublishErrorReason, SendMessageError};
use crate::events::ProducerId;
use crate::message::Message;
use crate::name::Name;
use crate::outcome::Unconfirmed;
use crate::settings::BufferPolicy;
use crate::shared::command::Command;
use crate::shared::handle::Handle;
use crate::shared::hook::OnUndelivered;
use crate::shared::outbox::Outbox;

/// Publishes messages to one queue or exchange, through outages.
///
/// Messages are accepted into a bounded buffer, written in order as fast as the connection takes
/// them, and, with a confirming producer, kept until the broker has confirmed them: what was not
/// confirmed when a connection ends is written again on the next one, ahead of all that is newer.
///
/// There are two kinds. A `Producer<Confirm>`, the default, gives a [`Confirmation`] for each
/// message. A `Producer<FireAndForget>` gives nothing and keeps a message only until its last byte
/// was written.
///
/// A program may have as many producers as it likes. Each has a channel of its own while the broker and the
/// URI's `channel_max` allow enough of them; otherwise they share those that there are. Order and confirms
/// are each producer's own even then; what a neighbour's message can do that the broker closes the channel
/// over stands in the [guarantees](crate::guarantees#a-message-that-the-broker-refuses).
///
/// Clones publish to the same buffer. When the last one is dropped, what was accepted is still
/// published, for as long as the driver runs: a program that ends takes its driver along, and with it
/// what is in the buffers. Let the end of `main` wait for [`Client::close`](crate::Client::close), or for
/// [`flushed`](Self::flushed).
///
/// ```no_run
/// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
/// let orders = client.producer("orders")?.build();
/// orders.send("first").await?;             // waits for the broker's confirm
///
/// let confirmation = orders.publish("second").await?; // waits for room in the buffer only
/// confirmation.await?;
/// # Ok(()) }
/// ```
pub struct Producer<M = Confirm> {
    owner: Arc<Owner>,
    mode: PhantomData<M>,
}

/// What the last clone of a producer takes with it.
#[derive(Debug)]
struct Owner {
    outbox: Arc<Outbox>,
    /// Whether publishes wait for room.
    blocks: bool,
    limits: Limits,
    /// Keeps the client going.
    client: Arc<Handle>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.outbox.finish();
    }
}

impl<M> Clone for Producer<M> {
    fn clone(&self) -> Self {
        Self {
            owner: Arc::clone(&self.owner),
            mode: PhantomData,
        }
    }
}

impl<M> fmt::Debug for Producer<M> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Producer")
            .field("id", &self.owner.outbox.id())
            .finish_non_exhaustive()
    }
}

/// The mode of a producer whose messages the broker confirms.
#[derive(Clone, Copy, Debug)]
pub enum Confirm {}

/// The mode of a producer whose messages are forgotten once they are written.
#[derive(Clone, Copy, Debug)]
pub enum FireAndForget {}

/// [`Confirm`] or [`FireAndForget`].
pub trait Mode: sealed::Sealed + Send + Sync + 'static {
    /// What a producer gives for an accepted message.
    type Receipt: Send;
}

impl Mode for Confirm {
    type Receipt = Confirmation;
}

impl Mode for FireAndForget {
    type Receipt = ();
}

mod sealed {
    use std::sync::Arc;

    /// A message that was accepted, by its place in the buffer.
    #[derive(Debug)]
    pub struct Accepted<'a> {
        pub(super) outbox: &'a Arc<super::Outbox>,
        pub(super) position: u64,
    }

    pub trait Sealed: Sized {
        const CONFIRMS: bool;

        fn receipt(accepted: Accepted<'_>) -> <Self as super::Mode>::Receipt
        where
            Self: super::Mode;
    }

    impl Sealed for super::Confirm {
        const CONFIRMS: bool = true;

        fn receipt(Accepted { outbox, position }: Accepted<'_>) -> super::Confirmation {
            let outbox = Some(Arc::clone(outbox));
            super::Confirmation { outbox, position }
        }
    }

    impl Sealed for super::FireAndForget {
        const CONFIRMS: bool = false;

        fn receipt(_: Accepted<'_>) {}
    }
}

impl<M: Mode> Producer<M> {
    /// Accepts a message for publishing.
    ///
    /// It waits only while the buffer is full, and only with [`BufferPolicy::Block`]; waiting
    /// publishes get their turn in order. What a connection is doing does not matter. Once in 512
    /// messages to be confirmed, other tasks have their turn first: the driver may be one of them.
    ///
    /// # Errors
    /// [`PublishError`], with the message in it.
    ///
    /// # Cancel safety
    /// Until it completes, nothing was accepted; once it has, dropping anything does not take the
    /// message back.
    pub async fn publish(&self, message: impl Into<Message>) -> Result<M::Receipt, PublishError> {
        let outbox = &self.owner.outbox;
        if outbox.owes_turn() {
            futures_lite::future::yield_now().await;
        }
        match self.try_publish(message) {
            Err(error) if error.reason == PublishErrorReason::BufferFull && self.owner.blocks => {
                let position = outbox.push_in_turn(error.message).await?;
                Ok(self.receipt(position))
            }
            result => result,
        }
    }

    /// Accepts a message for publishing, unless it would have to wait.
    ///
    /// # Errors
    /// [`PublishError`], with the message in it.
    pub fn try_publish(&self, message: impl Into<Message>) -> Result<M::Receipt, PublishError> {
        let outbox = &self.owner.outbox;
        let position = outbox.push(message.into())?;
        Ok(self.receipt(position))
    }

    fn receipt(&self, position: u64) -> M::Receipt {
        let outbox = &self.owner.outbox;
        M::receipt(Accepted { outbox, position })
    }

    /// How many messages are in the buffer: waiting, being written, or awaiting their confirm.
    pub fn buffered(&self) -> usize {
        self.owner.outbox.look(|state| state.publisher.len())
    }

    /// How many bytes they are; see [`Message::size`].
    pub fn buffered_bytes(&self) -> usize {
        self.owner.outbox.look(|state| state.publisher.bytes())
    }

    /// How many messages the buffer can hold.
    pub fn capacity(&self) -> usize {
        self.owner.limits.messages
    }

    /// How many bytes the buffer can hold.
    pub fn capacity_bytes(&self) -> usize {
        self.owner.limits.bytes
    }

    /// What [events](crate::Event) call this producer.
    pub fn id(&self) -> ProducerId {
        self.owner.outbox.id().clone()
    }

    /// Completes when every message that was accepted before this call is settled, whatever is published
    /// after it.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing, and leaves nothing behind.
    pub fn flushed(&self) -> impl Future<Output = ()> + Send + '_ {
        self.owner.outbox.flushed()
    }
}

impl Producer<Confirm> {
    /// Publishes a message and waits until the broker has it.
    ///
    /// # Errors
    /// The message was not accepted, or not acknowledged.
    ///
    /// # Cancel safety
    /// A message that was accepted is published whether or not the future is dropped.
    pub async fn send(&self, message: impl Into<Message>) -> Result<(), SendMessageError> {
        Ok(self.publish(message).await?.await?)
    }
}

/// The broker's word on one message, to be awaited.
///
/// It completes with `Ok` once the broker has taken responsibility for the message, or with how
/// the message ended otherwise. Dropping it changes nothing about the message;
/// [`withdraw`](Self::withdraw) takes it back.
#[must_use = "the message is published either way, but how it ends is told here"]
pub struct Confirmation {
    /// `None` once it has completed.
    outbox: Option<Arc<Outbox>>,
    position: u64,
}

impl fmt::Debug for Confirmation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Confirmation")
            .field("position", &self.position)
            .finish_non_exhaustive()
    }
}

impl Future for Confirmation {
    type Output = Result<(), Unconfirmed>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let Some(outbox) = &self.outbox else {
            panic!("a Confirmation was polled after it had completed");
        };
        match outbox.poll_outcome(self.position, cx.waker()) {
            Some(outcome) => {
                let outcome = outcome.map_err(|error| error.of(outbox.described()));
                self.outbox = None;
                Poll::Ready(outcome)
            }
            None => Poll::Pending,
        }
    }
}

impl Drop for Confirmation {
    fn drop(&mut self) {
        if let Some(outbox) = &self.outbox {
            outbox.unwatch(self.position);
        }
    }
}

/// Sets up a [`Producer`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is built"]
pub struct ProducerBuilder<M = Confirm> {
    client: Arc<Handle>,
    name: Option<ShortString>,
    /// What is to be declared before it publishes.
    declaration: Declaration,
    address: Address,
    mandatory: Option<bool>,
    identifies: bool,
    policy: BufferPolicy,
    limits: Limits,
    max_age: Option<Duration>,
    on_undelivered: Option<OnUndelivered>,
    mode: PhantomData<M>,
}

impl ProducerBuilder<Confirm> {
    pub(crate) fn new(
        client: Arc<Handle>,
        exchange: ShortString,
        routing_key: ShortString,
    ) -> Self {
        // To the default exchange the routing key is a queue, which is meant to exist.
        let mandatory = exchange.is_empty();
        let properties = Properties::builder()
            .persistent()
            .build()
            .expect("a delivery mode is a number, and nothing else can be refused");
        Self {
            client,
            name: None,
            declaration: Declaration::default(),
            address: Address {
                exchange,
                routing_key,
                mandatory,
                properties,
                identifies: None,
            },
            mandatory: None,
            identifies: false,
            policy: BufferPolicy::Block,
            limits: Limits {
                messages: 10_000,
                bytes: 64 << 20,
            },
            max_age: None,
            on_undelivered: None,
            mode: PhantomData,
        }
    }

    /// With what the client's settings say of producers.
    pub(crate) fn with_settings(mut self) -> Self {
        let settings = &self.client.shared().settings.producers;
        // They were checked when the client was built.
        if let Ok(properties) = settings.properties() {
            self.address.properties = properties;
        }
        self.mandatory = settings.mandatory;
        self.policy = settings.policy.unwrap_or(self.policy);
        let (messages, bytes) = (settings.capacity, settings.capacity_bytes);
        if let Some(messages) = messages {
            self = self.capacity(messages);
        }
        if let Some(bytes) = bytes {
            self = self.capacity_bytes(bytes);
        }
        self
    }

    pub(crate) fn declares(mut self, declaration: Declaration) -> Self {
        self.declaration = declaration;
        self
    }

    /// Publishes without confirms: fastest, and messages can be lost with a connection. While the
    /// buffer is full, the oldest give way, unless a [`policy`](Self::policy) is set after this.
    pub fn fire_and_forget(self) -> ProducerBuilder<FireAndForget> {
        let Self {
            client,
            name,
            declaration,
            address,
            mandatory,
            identifies,
            limits,
            max_age,
            on_undelivered,
            ..
        } = self;
        ProducerBuilder {
            client,
            name,
            declaration,
            address,
            mandatory,
            identifies,
            policy: BufferPolicy::DropOldest,
            limits,
            max_age,
            on_undelivered,
            mode: PhantomData,
        }
    }
}

impl<M: Mode> ProducerBuilder<M> {
    /// Names the producer, after what it publishes, for instance. [`ProducerId`] has the name, and so
    /// have the lines in the log that are about it. It need not be unique.
    ///
    /// # Errors
    /// It is longer than 255 bytes, or is no [printable text](Error::UnfitName).
    pub fn name(mut self, name: impl Name) -> Result<Self, Error> {
        self.name = Some(printable_name(name)?);
        Ok(self)
    }

    /// What happens while the buffer is full; [`BufferPolicy::Block`] by default, and
    /// [`BufferPolicy::DropOldest`] without confirms.
    pub fn policy(mut self, policy: BufferPolicy) -> Self {
        self.policy = policy;
        self
    }

    /// Whether messages that no queue takes are returned, and so resolve as
    /// [`UnconfirmedReason::Returned`](crate::UnconfirmedReason::Returned), instead of being dropped by the broker and confirmed all the
    /// same.
    ///
    /// A direct reply, to the default exchange with a routing key that begins with
    /// `amq.rabbitmq.reply-to.`, is never mandatory: RabbitMQ before 4.2 returns it although it
    /// delivers it.
    ///
    /// By default `true` for a confirming producer to a queue, and `false` otherwise: an exchange
    /// without a queue may be what is wanted.
    pub fn mandatory(mut self, mandatory: bool) -> Self {
        self.mandatory = Some(mandatory);
        self
    }

    /// The properties of messages, as far as they have none of their own; persistent by default. See
    /// [`Message::with_properties`].
    pub fn properties(mut self, properties: Properties) -> Self {
        self.address.properties = properties;
        self
    }

    /// Puts a number into a header of each message (`x-snowshoe-publish`), by which the return of a
    /// mandatory message is told from those of others.
    ///
    /// A broker does not say which publish it returns. Where messages differ in their routing keys,
    /// properties or bodies, that tells them apart. Of those that are alike and under way together,
    /// some of which are returned, each that may be one of them resolves as
    /// [`Returned`](crate::UnconfirmedReason::Returned) with
    /// [`possibly_stored`](Unconfirmed::possibly_stored) unless this is set, or they have a
    /// [`message_id`](crate::PropertiesBuilder::message_id) each. Consumers see the header; encoding
    /// it costs an allocation or two for each message.
    pub fn identify_returns(mut self) -> Self {
        self.identifies = true;
        self
    }

    /// How many messages the buffer holds, at least one; 10,000 by default.
    pub fn capacity(mut self, messages: usize) -> Self {
        self.limits.messages = messages.max(1);
        self
    }

    /// How many bytes the buffer holds; 64 MiB by default. A larger message is never accepted,
    /// and none of 4 GiB.
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.limits.bytes = bytes;
        self
    }

    /// The producer. It takes messages at once, whatever the connection is doing. Where it was given something to
    /// [declare](crate::Client::producer), that is done from now on, and messages wait for it.
    ///
    /// It has a buffer of its own, and is made for many messages: keep it, or clone it. One that is
    /// dropped while there are messages in its buffer takes about a kilobyte beside them until they are
    /// settled, and what bounds those is the number of producers that are made; one with an empty buffer
    /// leaves nothing behind.
    pub fn build(self) -> Producer<M> {
        let Self {
            client,
            name,
            declaration,
            mut address,
            mandatory,
            identifies,
            policy,
            limits,
            max_age,
            on_undelivered,
            ..
        } = self;
        address.mandatory = mandatory.unwrap_or(M::CONFIRMS && address.mandatory);
        let settlement = if M::CONFIRMS {
            Settlement::Confirm
        } else {
            Settlement::Written
        };
        let overflow = match policy {
            BufferPolicy::DropOldest => Overflow::DropOldest,
            BufferPolicy::Block | BufferPolicy::Error => Overflow::Refuse,
        };
        let shared = client.shared();
        let id = ProducerId::new(shared.next_id(), name);
        address.identifies = identifies.then_some(id.number());
        let mut publisher = Publisher::new(address, settlement, overflow, limits);
        if let Some(max_age) = max_age {
            publisher.set_max_age(max_age);
        }
        let is_there = declaration.is_empty();
        if !is_there {
            publisher.hold();
        }
        let signals = (Arc::clone(&shared.doorbell), Arc::clone(&shared.hub));
        let outbox = Outbox::new(id, publisher, M::CONFIRMS, on_undelivered, signals);
        let outbox = Arc::new(outbox);
        let added = Arc::clone(&outbox);
        let add = if is_there {
            Command::AddProducer(added)
        } else {
            Command::DeclareFor(added, declaration)
        };
        if !client.command(add) {
            outbox.with(|state| state.publisher.close());
        }
        let blocks = policy == BufferPolicy::Block;
        let owner = Owner {
            outbox,
            blocks,
            limits,
            client,
        };
        Producer {
            owner: Arc::new(owner),
            mode: PhantomData,
        }
    }
}
