//! The client itself, and in `builder` how it is set up and started.

mod builder;
mod delete;
mod login;
mod reconnect;
mod watch;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use snowshoe_codec::method::{Call, queue};
use snowshoe_codec::{Method, ShortString};

pub use self::builder::ClientBuilder;
pub use self::delete::{DeleteExchange, DeleteQueue};
pub use self::reconnect::Reconnect;
use self::watch::Observer;
pub use self::watch::StateWatch;
use crate::channel::Channel;
use crate::consumer::ConsumerBuilder;
use crate::declare::{Binding, Declaration, Declare, IntoExchange, IntoQueue, queue_name};
use crate::error::{Error, reply_to};
use crate::events::Events;
use crate::name::Name;
use crate::outcome::CloseReport;
use crate::producer::ProducerBuilder;
use crate::replier::Replier;
use crate::requester::RequesterBuilder;
use crate::runtime::Runtime;
use crate::shared::channel::ChannelInbox;
use crate::shared::command::Command;
use crate::shared::handle::{Handle, Shared};
use crate::shared::place::LinkIndex;
use crate::state::ClientState;

/// A client of an AMQP 0-9-1 broker: the place to get producers, consumers and channels from, and
/// to declare what they use.
///
/// It keeps up to two connections, one for publishing and one for everything else, since a broker
/// that is short of memory stops reading who publishes, and that must not stop acknowledgements;
/// or [one for both](ClientBuilder::single_connection), if you say so.
/// The second is opened when the first producer is made. A [requester](Self::requester) has one to itself. Each comes back by itself when it is cut
/// off, and brings back what was declared, the consumers and the producers.
///
/// Clones are the same client. When the last of them is dropped, and all producers, consumers and
/// channels with it, the client is closed in the background, which takes as long as a
/// [`close`](Self::close) and ends with the process. A program that ends is to wait for a `close` of its
/// own, or what is in the buffers is lost.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
    observer: Arc<Observer>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client")
            .field("name", &self.name())
            .finish_non_exhaustive()
    }
}

impl Client {
    pub(crate) fn over(
        shared: Arc<Shared>,
        name: Option<Arc<str>>,
        clock: Arc<dyn Runtime>,
    ) -> Self {
        Self {
            handle: Arc::new(Handle::new(shared, Arc::clone(&clock))),
            observer: Arc::new(Observer::new(name, clock)),
        }
    }

    /// Connects to a broker, with the driver on a thread of its own: no executor is needed. Where no
    /// feature but `tokio` is on, the driver runs on the runtime that this is called in.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), snowshoe::Error> {
    /// let client = snowshoe::Client::connect("amqp://guest:guest@localhost").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The URI is wrong, or the first connect failed at every host; from then on the client comes
    /// back by itself.
    ///
    /// # Cancel safety
    /// Dropping the future ends the client.
    pub async fn connect(uri: &str) -> Result<Self, Error> {
        Self::builder(uri)?.connect().await
    }

    /// Configures a client.
    ///
    /// # Errors
    /// The URI is wrong.
    pub fn builder(uri: &str) -> Result<ClientBuilder, Error> {
        ClientBuilder::new(uri)
    }

    /// Completes once the client has connected for the first time.
    ///
    /// # Errors
    /// Why the client gave up instead.
    ///
    /// # Cancel safety
    /// Dropping the future changes nothing.
    pub async fn ready(&self) -> Result<(), Error> {
        self.handle.shared().first.told().await.clone()
    }

    /// A producer to a queue, by way of the default exchange.
    ///
    /// A name means the queue as it is. A [`Queue`](crate::Queue) is declared first, and remembered as by
    /// [`declare`](Self::declare): the producer takes messages at once, and they wait in its buffer until the
    /// queue is there. What is not answered, or refused only for now (a queue whose node is down, a disk of LavinMQ's that is
    /// nearly full), is asked again each second, and [`Event::Delayed`](crate::Event::Delayed) tells of it. Where the
    /// broker refuses it otherwise, for instance because it is there with other arguments, the messages resolve as [`NotDeclared`](crate::UnconfirmedReason::NotDeclared),
    /// [`Event::NotDeclared`](crate::Event::NotDeclared) tells of it, and the producer is closed.
    ///
    /// ```no_run
    /// use snowshoe::Queue;
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// client.producer(Queue::quorum("orders"))?.build().send("one bicycle").await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Queue names have 1 to 255 bytes, and what the queue is told has to have a form.
    pub fn producer(&self, queue: impl IntoQueue) -> Result<ProducerBuilder, Error> {
        let (queue, declaration) = queue.into_queue()?;
        if queue.is_empty() {
            return Err(Error::NoQueueName);
        }
        let client = Arc::clone(&self.handle);
        let producer = ProducerBuilder::new(client, ShortString::EMPTY, queue);
        Ok(producer.with_settings().declares(declaration))
    }

    /// A producer to an exchange, with a routing key that each message may override.
    ///
    /// A name means the exchange as it is. An [`Exchange`](crate::Exchange) is declared first, as a queue is by
    /// [`producer`](Self::producer).
    ///
    /// # Errors
    /// Names have at most 255 bytes, and what the exchange is told has to have a form.
    pub fn exchange_producer(
        &self,
        exchange: impl IntoExchange,
        routing_key: impl Name,
    ) -> Result<ProducerBuilder, Error> {
        let (name, declared) = exchange.into_exchange()?;
        let declaration = match declared {
            Some(exchange) => exchange.into_declaration()?,
            None => Declaration::default(),
        };
        let routing_key = routing_key.into_short_string()?;
        let client = Arc::clone(&self.handle);
        let producer = ProducerBuilder::new(client, name, routing_key);
        Ok(producer.with_settings().declares(declaration))
    }

    /// A consumer of a queue.
    ///
    /// A name means the queue as it is. A [`Queue`](crate::Queue) is declared by
    /// [`start`](ConsumerBuilder::start), with its [bindings](crate::Queue::bind), and remembered as by
    /// [`declare`](Self::declare).
    ///
    /// ```no_run
    /// use snowshoe::Queue;
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let orders = client.consumer(Queue::quorum("orders"))?.start().await?;
    /// let events = Queue::server_named().bind("amq.topic", "order.#");
    /// let events = client.consumer(events)?.start().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// Queue names have 1 to 255 bytes, and what the queue is told has to have a form.
    pub fn consumer(&self, queue: impl IntoQueue) -> Result<ConsumerBuilder, Error> {
        let (queue, declaration) = queue.into_queue()?;
        let client = Arc::clone(&self.handle);
        Ok(ConsumerBuilder::new(client, queue, declaration))
    }

    /// Asks others over the broker, and waits for their answers. It has a connection of its own.
    ///
    /// ```no_run
    /// # async fn run(client: snowshoe::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let requester = client.requester().start().await?;
    /// let price = requester.request("prices", "apples").await?;
    /// # Ok(()) }
    /// ```
    pub fn requester(&self) -> RequesterBuilder {
        RequesterBuilder::new(Arc::clone(&self.handle))
    }

    /// Answers requests that are taken otherwise than by [`Consumer::serve`](crate::Consumer::serve).
    pub fn replier(&self) -> Replier {
        Replier::new(Arc::clone(&self.handle))
    }

    /// Declares a [queue](crate::Queue), an [exchange](crate::Exchange) or a
    /// [binding](crate::Binding), and remembers it: after a reconnect it is declared again.
    ///
    /// While there is no connection, it waits for one. A queue that is to be [bound](crate::Queue::bind) is bound
    /// when it is there.
    ///
    /// # Errors
    /// The broker refuses, for instance because it is there already with other arguments. A queue of which a
    /// binding is refused is declared.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, as while there is no connection, it is not declared. After that it
    /// may be, and is remembered if it was. What comes after the first answer, such as bindings, is left out.
    pub async fn declare<D: Declare>(&self, entity: D) -> Result<D::Declared, Error> {
        let declared = self.handle.declare(entity.into_declaration()?).await?;
        // There is always something to declare.
        D::declared(declared.ok_or(Error::Closed)?)
    }

    /// Deletes a queue with all its messages, and forgets it; how many messages it held. A queue
    /// that is not there is no error.
    ///
    /// ```no_run
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let messages = client.delete_queue("orders").await?;
    /// client.delete_queue("replies").if_unused().if_empty().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// What is deleted does not rise again: while one of the client's connections is declaring it after
    /// a reconnect, deleting it waits until that is through.
    ///
    /// # Errors
    /// The name is empty, the broker refuses, as it does where a condition is not met
    /// ([`Error::Refused`], 406), and the queue stays as it is; or the connection was lost before its
    /// answer ([`Error::ConnectionLost`]): it may be done or not, and is not done a second time.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, as while there is no connection, it is not done. After that it may be.
    pub fn delete_queue(&self, queue: impl Name) -> DeleteQueue<'_> {
        DeleteQueue::new(self, queue)
    }

    /// Deletes all messages of a queue that are not delivered; how many there were.
    ///
    /// # Errors
    /// The name is empty, the broker refuses, or the connection was lost before its answer
    /// ([`Error::ConnectionLost`]): it may be done or not, and is not done a second time.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, as while there is no connection, it is not done. After that it may be.
    pub async fn purge_queue(&self, queue: impl Name) -> Result<u32, Error> {
        let purge = queue::Purge {
            queue: queue_name(queue)?,
            ..Default::default()
        };
        Ok(self.call(purge).await?.message_count)
    }

    /// Deletes an exchange, and forgets it with its bindings. One that is not there is no error.
    ///
    /// ```no_run
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// client.delete_exchange("orders").if_unused().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The broker refuses, as it does where a condition is not met ([`Error::Refused`], 406), and the
    /// exchange stays as it is; or the connection was lost before its answer
    /// ([`Error::ConnectionLost`]): it may be done or not, and is not done a second time.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, as while there is no connection, it is not done. After that it may be.
    pub fn delete_exchange(&self, exchange: impl Name) -> DeleteExchange<'_> {
        DeleteExchange::new(self, exchange)
    }

    /// Removes a binding, and forgets it.
    ///
    /// # Errors
    /// The broker refuses, or the connection was lost before its answer
    /// ([`Error::ConnectionLost`]): it may be done or not, and is not done a second time.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, as while there is no connection, it is not done. After that it may be.
    pub async fn unbind(&self, binding: Binding) -> Result<(), Error> {
        let method = binding.into_unbind()?;
        self.handle
            .ask(|answer| Command::Call { method, answer })
            .await??;
        Ok(())
    }

    /// A channel for the protocol as it is, on the connection on which this client consumes and declares.
    /// It does not come back after a reconnect, since only you know what was on it.
    ///
    /// To publish, take a [`publishing_channel`](Self::publishing_channel): RabbitMQ stops reading a
    /// connection that publishes while it is short of memory or disk, and all acknowledgements, calls and
    /// deliveries of the client would wait, too.
    ///
    /// It does not wait for the broker: what is sent on it follows channel.open in one flight. Where the broker
    /// does not open it, the first call says so.
    ///
    /// # Errors
    /// All channels are in use, or the connection is lost before it can be asked for.
    pub async fn channel(&self) -> Result<Channel, Error> {
        self.open_channel(LinkIndex::MAIN).await
    }

    /// A channel for the protocol as it is, on the connection on which this client publishes: for
    /// transactions, for instance. Queues that are exclusive to the client cannot be used on it, unless it has
    /// [one for all](ClientBuilder::single_connection).
    ///
    /// ```no_run
    /// use snowshoe::codec::method::tx;
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let channel = client.publishing_channel().await?;
    /// channel.call(tx::Select).await?;
    /// channel.publish("", "orders", "one").await?;
    /// channel.publish("", "invoices", "another").await?;
    /// channel.call(tx::Commit).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// As those of [`channel`](Self::channel).
    pub async fn publishing_channel(&self) -> Result<Channel, Error> {
        self.open_channel(self.handle.shared().publishes_on).await
    }

    async fn open_channel(&self, link: LinkIndex) -> Result<Channel, Error> {
        let inbox = Arc::new(ChannelInbox::new(link));
        let opened = Arc::clone(&inbox);
        // Built before it is open, so that dropping this future closes it.
        let channel = Channel::new(inbox, Arc::clone(&self.handle));
        self.handle
            .ask(|answer| Command::OpenChannel {
                inbox: opened,
                answer,
            })
            .await??;
        Ok(channel)
    }

    /// What happens to the client from now on.
    pub fn events(&self) -> Events {
        self.handle.shared().hub.subscribe()
    }

    /// How the client is doing: which of its connections are up, since when, to what, and otherwise what they
    /// wait for and why.
    ///
    /// It waits for nothing, and can be called from anywhere, such as the handler of a health endpoint:
    /// a short lock, under which nothing else is done. See [`ClientState`] for what to answer there. A state is
    /// never behind the [events](Self::events): whoever has received one finds the state that it told of, or a
    /// newer one.
    ///
    /// ```no_run
    /// # fn respond(code: u16, body: String) {}
    /// # fn run(client: snowshoe::Client) {
    /// let state = client.state();
    /// respond(if state.is_ready() { 200 } else { 503 }, state.to_string());
    /// # }
    /// ```
    pub fn state(&self) -> ClientState {
        self.observer.state(self.handle.shared())
    }

    /// Tells how the client is doing whenever that changes. There can be several of them.
    ///
    /// ```no_run
    /// # async fn run(client: snowshoe::Client) {
    /// let mut watch = client.watch_state();
    /// while let Some(state) = watch.changed().await {
    ///     println!("{state}");
    /// }
    /// # }
    /// ```
    pub fn watch_state(&self) -> StateWatch {
        StateWatch::new(self.handle.shared(), &self.observer)
    }

    /// What the client [was named](ClientBuilder::name).
    pub fn name(&self) -> Option<&str> {
        self.observer.name()
    }

    /// Replaces the secret of the open connections before it expires, for brokers with OAuth;
    /// [`Event::SecretUpdated`](crate::Event::SecretUpdated) follows for each. Give the next
    /// connections the new one through [`ClientBuilder::credentials`]. A
    /// [`credentials_provider`](ClientBuilder::credentials_provider) has that done by itself.
    pub fn update_secret(&self, secret: impl Into<Bytes>, reason: ShortString) {
        self.handle.command(Command::UpdateSecret {
            secret: secret.into(),
            reason,
        });
    }

    /// Closes the client: stops its consumers as their [stop handles](crate::Consumer::stop_handle) do, waits until
    /// handlers of [`process`](crate::Consumer::process) are through, then takes no more messages and calls, waits
    /// until requests are answered and what is in the buffers is settled, lets acknowledgements through, and closes the connections; at the
    /// latest after the close timeout (10 s, or [`ClientBuilder::close_timeout`]). Handlers that still run when only
    /// the time for a goodbye is left, a second or a quarter of the timeout, are dropped, and their messages go back
    /// to the queue.
    ///
    /// The report has everything that was accepted and was not settled when the client ended. A close of a client
    /// that is closed already, has given up on its connection, or whose driver was dropped, is answered
    /// at once, with the same report.
    ///
    /// # Cancel safety
    /// Once polled, the client is closed whether or not the future is dropped.
    pub async fn close(&self) -> CloseReport {
        self.close_by(None).await
    }

    /// Closes the client within this time; see [`close`](Self::close).
    pub async fn close_within(&self, timeout: Duration) -> CloseReport {
        self.close_by(Some(timeout)).await
    }

    async fn close_by(&self, within: Option<Duration>) -> CloseReport {
        // A driver that takes no more commands has ended the client, or is about to.
        self.handle.command(Command::Close { within });
        self.handle.shared().ended.told().await.clone()
    }

    async fn call<C: Call>(&self, call: C) -> Result<C::Reply, Error> {
        let method: Method = call.into();
        reply_to::<C>(
            self.handle
                .ask(|answer| Command::Call { method, answer })
                .await??,
        )
    }
}
