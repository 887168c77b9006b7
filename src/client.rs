//! The client itself, and in `builder` how it is set up and started.

mod builder;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use snowshoe_codec::method::{exchange, queue};
use snowshoe_codec::{Method, ShortString, TooLong};

pub use self::builder::ClientBuilder;
use crate::channel::{Channel, RawInbox};
use crate::consumer::ConsumerBuilder;
use crate::error::Error;
use crate::events::Events;
use crate::message::Message;
use crate::producer::ProducerBuilder;
use crate::shared::{Command, Shared};
use crate::topology::Declare;

/// A client of an AMQP 0-9-1 broker: the place to get producers, consumers and channels from, and
/// to declare what they use.
///
/// It keeps up to two connections, one for publishing and one for everything else, since a broker
/// that is short of memory stops reading who publishes, and that must not stop acknowledgements.
/// The second is opened when the first producer is made. Each comes back by itself when it is cut
/// off, and brings back what was declared, the consumers and the producers.
///
/// Clones are the same client. When the last of them is dropped, and all producers, consumers and
/// channels with it, the client is closed in the background.
#[derive(Clone)]
pub struct Client {
    handle: Arc<Handle>,
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").finish_non_exhaustive()
    }
}

/// What keeps a client going; the last one closes it.
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.command(Command::Close {
            within: None,
            answer: None,
        });
    }
}

impl Client {
    pub(crate) fn over(shared: Arc<Shared>) -> Self {
        Self {
            handle: Arc::new(Handle { shared }),
        }
    }

    /// Connects to a broker, with drivers on a thread of their own: no executor is needed.
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
        self.handle.shared.first.wait().await.clone()
    }

    /// A producer to a queue, by way of the default exchange.
    ///
    /// # Errors
    /// Queue names have at most 255 bytes.
    pub fn producer(
        &self,
        queue: impl TryInto<ShortString, Error: Into<TooLong>>,
    ) -> Result<ProducerBuilder, Error> {
        let queue = name(queue)?;
        Ok(ProducerBuilder::new(
            Arc::clone(&self.handle),
            ShortString::EMPTY,
            queue,
        ))
    }

    /// A producer to an exchange, with a routing key that each message may override.
    ///
    /// # Errors
    /// Names have at most 255 bytes.
    pub fn exchange_producer(
        &self,
        exchange: impl TryInto<ShortString, Error: Into<TooLong>>,
        routing_key: impl TryInto<ShortString, Error: Into<TooLong>>,
    ) -> Result<ProducerBuilder, Error> {
        let (exchange, routing_key) = (name(exchange)?, name(routing_key)?);
        Ok(ProducerBuilder::new(
            Arc::clone(&self.handle),
            exchange,
            routing_key,
        ))
    }

    /// A consumer of a queue.
    ///
    /// # Errors
    /// Queue names have at most 255 bytes.
    pub fn consumer(
        &self,
        queue: impl TryInto<ShortString, Error: Into<TooLong>>,
    ) -> Result<ConsumerBuilder, Error> {
        Ok(ConsumerBuilder::new(Arc::clone(&self.handle), name(queue)?))
    }

    /// Declares a [queue](crate::Queue), an [exchange](crate::Exchange) or a
    /// [binding](crate::Binding), and remembers it: after a reconnect it is declared again.
    ///
    /// While there is no connection, it waits for one.
    ///
    /// # Errors
    /// The broker refuses, for instance because it is there already with other arguments.
    ///
    /// # Cancel safety
    /// Once polled, it is declared whether or not the future is dropped.
    pub async fn declare<D: Declare>(&self, entity: D) -> Result<D::Declared, Error> {
        let method = entity.into_method()?;
        let reply = self.call(method).await?;
        Ok(D::declared(reply))
    }

    /// Deletes a queue with all its messages, and forgets it; how many messages it held. A queue
    /// that is not there is no error.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn delete_queue(
        &self,
        queue: impl TryInto<ShortString, Error: Into<TooLong>>,
    ) -> Result<u32, Error> {
        let reply = self
            .call(queue::Delete {
                queue: name(queue)?,
                ..Default::default()
            })
            .await?;
        Ok(match reply {
            Method::QueueDeleteOk(ok) => ok.message_count,
            _ => 0,
        })
    }

    /// Deletes all messages of a queue that are not delivered; how many there were.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn purge_queue(
        &self,
        queue: impl TryInto<ShortString, Error: Into<TooLong>>,
    ) -> Result<u32, Error> {
        let reply = self
            .call(queue::Purge {
                queue: name(queue)?,
                ..Default::default()
            })
            .await?;
        Ok(match reply {
            Method::QueuePurgeOk(ok) => ok.message_count,
            _ => 0,
        })
    }

    /// Deletes an exchange, and forgets it with its bindings. One that is not there is no error.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn delete_exchange(
        &self,
        exchange: impl TryInto<ShortString, Error: Into<TooLong>>,
    ) -> Result<(), Error> {
        self.call(exchange::Delete {
            exchange: name(exchange)?,
            ..Default::default()
        })
        .await?;
        Ok(())
    }

    /// Removes a binding, and forgets it.
    ///
    /// # Errors
    /// The broker refuses.
    pub async fn unbind(&self, binding: crate::Binding) -> Result<(), Error> {
        self.call(binding.into_unbind()?).await?;
        Ok(())
    }

    /// A channel for the protocol as it is. It does not come back after a reconnect, since only
    /// you know what was on it.
    ///
    /// # Errors
    /// No channel can be opened.
    pub async fn channel(&self) -> Result<Channel, Error> {
        let inbox = Arc::new(RawInbox::new());
        let opened = Arc::clone(&inbox);
        // Built before it is open, so that dropping this future closes it.
        let channel = Channel::new(inbox, Arc::clone(&self.handle));
        self.ask(|answer| Command::OpenRaw {
            inbox: opened,
            answer,
        })
        .await??;
        Ok(channel)
    }

    /// What happens to the client from now on.
    pub fn events(&self) -> Events {
        self.handle.shared.hub.subscribe()
    }

    /// Replaces the secret of the open connections before it expires, for brokers with OAuth;
    /// [`Event::SecretUpdated`](crate::Event::SecretUpdated) follows for each. Give the next
    /// connections the new one through [`ClientBuilder::credentials`].
    pub fn update_secret(&self, secret: impl Into<Bytes>, reason: ShortString) {
        self.handle.shared.command(Command::UpdateSecret {
            secret: secret.into(),
            reason,
        });
    }

    /// Closes the client: takes no more messages, waits until those in the buffers are settled,
    /// lets acknowledgements through, and closes the connections; at the latest after the close
    /// timeout (10 s, or [`ClientBuilder::close_timeout`]).
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
        // A client that has ended already has nothing left to report.
        self.ask(|answer| Command::Close {
            within,
            answer: Some(answer),
        })
        .await
        .unwrap_or_default()
    }

    async fn call(&self, method: impl Into<Method>) -> Result<Method, Error> {
        let method = method.into();
        self.ask(|answer| Command::Call { method, answer }).await?
    }

    /// Asks the driver, and waits for its answer.
    async fn ask<T>(
        &self,
        command: impl FnOnce(async_channel::Sender<T>) -> Command,
    ) -> Result<T, Error> {
        let (answer, answered) = async_channel::bounded(1);
        self.handle.shared.command(command(answer));
        answered.recv().await.map_err(|_| Error::Closed)
    }
}

fn name(name: impl TryInto<ShortString, Error: Into<TooLong>>) -> Result<ShortString, Error> {
    name.try_into()
        .map_err(|error| Error::TooLong(error.into()))
}

/// What was left when a client was closed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// Messages that were accepted, but not settled by the deadline, oldest first for each
    /// producer. The broker may have some of them.
    pub undelivered: Vec<Message>,
}
