use std::fmt;
use std::sync::Arc;

use snowshoe_codec::method::{Arguments as _, Call, basic};
use snowshoe_codec::{Got, Method, SendError};

use crate::error::{Error, reply_to};
use crate::events::ChannelEvent;
use crate::message::Message;
use crate::name::Name;
use crate::shared::channel::{ChannelInbox, ChannelOperation, ChannelReply};
use crate::shared::command::Command;
use crate::shared::handle::Handle;
use crate::sync::answer::{Answer, answer};

/// A channel for the protocol as it is: every method that a client may call.
///
/// It is for what the rest of the crate has no words for: basic.get, transactions, consuming and
/// publishing by hand. Nothing on it is recovered: when the channel or the connection ends, every
/// call says so, and you open another. What you declare on it is not declared again after a reconnect;
/// what you delete or unbind on it, though [`Client::declare`](crate::Client::declare) declared it, is
/// not either. Methods are structs of [`codec::method`](crate::codec::method).
///
/// ```no_run
/// use snowshoe::codec::method::{queue, tx};
///
/// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
/// let mut channel = client.publishing_channel().await?;
/// channel.call(tx::Select).await?;
/// channel.publish("", "orders", "in a transaction").await?;
/// channel.call(tx::Commit).await?;
///
/// let orders = queue::Purge { queue: "orders".try_into()?, ..Default::default() };
/// let purged = channel.call(orders).await?.message_count;
/// # Ok(()) }
/// ```
pub struct Channel {
    inbox: Arc<ChannelInbox>,
    handle: Arc<Handle>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

impl Channel {
    pub(crate) fn new(inbox: Arc<ChannelInbox>, handle: Arc<Handle>) -> Self {
        Self { inbox, handle }
    }

    /// Calls a method and waits for its reply. With `nowait` set there is no reply; use
    /// [`send`](Self::send).
    ///
    /// # Errors
    /// The broker refused it, which closes the channel; or the channel is gone; or there is no
    /// reply to wait for.
    ///
    /// One that deletes or unbinds waits, and what comes after it on the channel, while another of the
    /// client's connections is declaring the same after a reconnect.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, the method is not called. After that it may be.
    pub async fn call<C: Call>(&self, method: C) -> Result<C::Reply, Error> {
        let sent = C::ID;
        if method.nowait() {
            return Err(SendError::NotSendable(sent).into());
        }
        match self.exchange(method.into()).await? {
            ChannelReply::Method(reply) => reply_to::<C>(reply),
            ChannelReply::Got(_) => Err(Error::UnexpectedReply {
                call: sent,
                reply: basic::GetOk::ID,
            }),
        }
    }

    /// Sends a method that has no reply, such as basic.ack.
    ///
    /// A delivery tag must be one of this channel, settled once: anything else makes the broker
    /// close it. Consumers made by [`Client::consumer`](crate::Client::consumer) see to that.
    ///
    /// # Errors
    /// It cannot be sent, or has a reply that nobody would wait for; or the channel is gone.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, as while the broker reads nothing, the method is not sent. After that
    /// it is.
    pub async fn send(&self, method: impl Into<Method>) -> Result<(), Error> {
        let method = method.into();
        if !method.id().replies().is_empty() && !method.is_nowait() {
            return Err(SendError::NotSendable(method.id()).into());
        }
        self.ask(|answer| ChannelOperation::Send { method, answer })
            .await
    }

    /// Publishes a message, with this routing key unless it has its own. On a
    /// [`Client::channel`](crate::Client::channel), a broker that is short of memory stops all of that
    /// connection over it: there is [`Client::publishing_channel`](crate::Client::publishing_channel). After confirm.select the
    /// answer is its number, by which a [`ChannelEvent::Confirm`] will name it.
    ///
    /// # Errors
    /// A name is too long, a property of the message cannot be sent, or the channel is gone.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, as while the broker reads nothing, the message is not published. After
    /// that it is.
    pub async fn publish(
        &self,
        exchange: impl Name,
        routing_key: impl Name,
        message: impl Into<Message>,
    ) -> Result<Option<u64>, Error> {
        self.publish_as(exchange, routing_key, message.into(), false)
            .await
    }

    /// Publishes a message that is to come back, as a [`ChannelEvent::Returned`], if no queue takes
    /// it.
    ///
    /// # Errors
    /// A name is too long, a property of the message cannot be sent, or the channel is gone.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, as while the broker reads nothing, the message is not published. After
    /// that it is.
    pub async fn publish_mandatory(
        &self,
        exchange: impl Name,
        routing_key: impl Name,
        message: impl Into<Message>,
    ) -> Result<Option<u64>, Error> {
        self.publish_as(exchange, routing_key, message.into(), true)
            .await
    }

    async fn publish_as(
        &self,
        exchange: impl Name,
        routing_key: impl Name,
        message: Message,
        mandatory: bool,
    ) -> Result<Option<u64>, Error> {
        message.check()?;
        let exchange = exchange.into_short_string()?;
        let routing_key = match message.routing_key() {
            Some(own) => own.clone(),
            None => routing_key.into_short_string()?,
        };
        let publish = |answer| ChannelOperation::Publish {
            exchange,
            routing_key,
            mandatory,
            message,
            answer,
        };
        self.ask(publish).await
    }

    /// Fetches one message from a queue; `None` if it is empty.
    ///
    /// # Errors
    /// The broker refused it, or the channel is gone. [`Error::Oversized`] where the message is longer
    /// than [is accepted](crate::ClientBuilder::max_message_size): it is to be settled all the same.
    ///
    /// # Cancel safety
    /// Dropped before it was sent, nothing is fetched. After that a message may have been: with `no_ack`
    /// it is lost, otherwise the broker has it back when the channel is closed.
    pub async fn get(&self, queue: impl Name, no_ack: bool) -> Result<Option<Got>, Error> {
        let get = basic::Get {
            queue: queue.into_short_string()?,
            no_ack,
            ..Default::default()
        };
        match self.exchange(get.into()).await? {
            ChannelReply::Got(got) => Ok(Some(got)),
            ChannelReply::Method(_) => Ok(None),
        }
    }

    /// What came over the channel next without being asked for; `None` once the channel is closed.
    ///
    /// What is not taken is kept, up to 64 MiB: names, properties and bodies, and some 200 bytes for each
    /// event. Over that the channel is closed by [`Error::ChannelOverrun`], what is kept can still be
    /// taken, and the broker has back what was not acknowledged. With basic.consume, set a prefetch by
    /// basic.qos.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next_event(&mut self) -> Option<ChannelEvent> {
        self.inbox.next_event().await
    }

    /// Why the channel is closed, if it is.
    pub fn closed(&self) -> Option<Error> {
        self.inbox.closed()
    }

    async fn exchange(&self, method: Method) -> Result<ChannelReply, Error> {
        self.ask(|answer| ChannelOperation::Call { method, answer })
            .await
    }

    async fn ask<T>(
        &self,
        operation: impl FnOnce(Answer<Result<T, Error>>) -> ChannelOperation,
    ) -> Result<T, Error> {
        let (answer, answered) = answer();
        let operation = operation(answer);
        self.handle.command(Command::Channel {
            inbox: Arc::clone(&self.inbox),
            operation,
        });
        let no_answer = || Err(self.closed().unwrap_or(Error::ChannelClosed));
        answered.await.unwrap_or_else(no_answer)
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let operation = ChannelOperation::Close;
        self.handle.command(Command::Channel {
            inbox: Arc::clone(&self.inbox),
            operation,
        });
    }
}
