use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use snowshoe_codec::method::{Call, basic};
use snowshoe_codec::{Event as CodecEvent, Got, Method, SendError, ShortString};

pub use snowshoe_codec::{Delivery as RawDelivery, Returned};

use crate::client::Handle;
use crate::error::Error;
use crate::message::Message;
use crate::shared::{Answer, Command, RawOperation, lock};
use crate::sync::Mutex;

/// A channel for the protocol as it is: every method that a client may call.
///
/// It is for what the rest of the crate has no words for: basic.get, transactions, consuming and
/// publishing by hand. Nothing on it is recovered: when the channel or the connection ends, every
/// call says so, and you open another. Methods are structs of [`codec::method`](crate::codec::method).
///
/// ```no_run
/// use snowshoe::codec::method::{queue, tx};
///
/// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
/// let mut channel = client.channel().await?;
/// channel.call(tx::Select).await?;
/// channel.publish("", "orders", "in a transaction").await?;
/// channel.call(tx::Commit).await?;
///
/// let orders = queue::Purge { queue: "orders".try_into()?, ..Default::default() };
/// let purged = channel.call(orders).await?.message_count;
/// # Ok(()) }
/// ```
pub struct Channel {
    inbox: Arc<RawInbox>,
    handle: Arc<Handle>,
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").finish_non_exhaustive()
    }
}

/// What came over a [`Channel`] without being asked for.
#[derive(Debug)]
#[non_exhaustive]
pub enum ChannelEvent {
    /// A message for a consumer that was started with basic.consume.
    Delivery(RawDelivery),
    /// A message that could not be routed.
    Returned(Returned),
    /// The broker confirmed or refused what was published.
    Confirm {
        /// The number of the publish, from 1.
        delivery_tag: u64,
        /// Whether it settles all before it, too.
        multiple: bool,
        /// Whether it is an ack; otherwise a nack.
        ack: bool,
    },
    /// The broker ended a consumer.
    ConsumerCancelled {
        /// Which.
        consumer_tag: ShortString,
    },
    /// The broker asked to pause or to go on publishing.
    Flow {
        /// Whether to publish.
        active: bool,
    },
}

impl Channel {
    pub(crate) fn new(inbox: Arc<RawInbox>, handle: Arc<Handle>) -> Self {
        Self { inbox, handle }
    }

    /// Calls a method and waits for its reply. With `nowait` set there is no reply; use
    /// [`send`](Self::send).
    ///
    /// # Errors
    /// The broker refused it, which closes the channel; or the channel is gone; or there is no
    /// reply to wait for.
    ///
    /// # Cancel safety
    /// Once polled, the method is called whether or not the future is dropped.
    pub async fn call<C: Call>(&self, method: C) -> Result<C::Reply, Error> {
        let sent = C::ID;
        if method.nowait() {
            return Err(SendError::NotSendable(sent).into());
        }
        match self.exchange(method.into()).await? {
            RawReply::Method(reply) => reply.try_into().map_err(|_| Error::Timeout(sent)),
            RawReply::Got(_) => Err(Error::Timeout(sent)),
        }
    }

    /// Sends a method that has no reply, such as basic.ack.
    ///
    /// A delivery tag must be one of this channel, settled once: anything else makes the broker
    /// close it. Consumers made by [`Client::consumer`](crate::Client::consumer) see to that.
    ///
    /// # Errors
    /// It cannot be sent, or has a reply that nobody would wait for; or the channel is gone.
    pub async fn send(&self, method: impl Into<Method>) -> Result<(), Error> {
        let method = method.into();
        if !method.id().replies().is_empty() && !method.is_nowait() {
            return Err(SendError::NotSendable(method.id()).into());
        }
        self.ask(|answer| RawOperation::Send { method, answer })
            .await
    }

    /// Publishes a message, with this routing key unless it has its own. After confirm.select the
    /// answer is its number, by which a [`ChannelEvent::Confirm`] will name it.
    ///
    /// # Errors
    /// A name is too long, or the channel is gone.
    pub async fn publish(
        &self,
        exchange: &str,
        routing_key: &str,
        message: impl Into<Message>,
    ) -> Result<Option<u64>, Error> {
        self.publish_as(exchange, routing_key, message.into(), false)
            .await
    }

    /// Publishes a message that is to come back, as a [`ChannelEvent::Returned`], if no queue takes
    /// it.
    ///
    /// # Errors
    /// A name is too long, or the channel is gone.
    pub async fn publish_mandatory(
        &self,
        exchange: &str,
        routing_key: &str,
        message: impl Into<Message>,
    ) -> Result<Option<u64>, Error> {
        self.publish_as(exchange, routing_key, message.into(), true)
            .await
    }

    async fn publish_as(
        &self,
        exchange: &str,
        routing_key: &str,
        message: Message,
        mandatory: bool,
    ) -> Result<Option<u64>, Error> {
        let exchange = exchange.try_into()?;
        let routing_key = match message.routing_key() {
            Some(own) => own.clone(),
            None => routing_key.try_into()?,
        };
        let publish = |answer| RawOperation::Publish {
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
    /// The broker refused it, or the channel is gone.
    pub async fn get(&self, queue: &str, no_ack: bool) -> Result<Option<Got>, Error> {
        let get = basic::Get {
            queue: queue.try_into()?,
            no_ack,
            ..Default::default()
        };
        match self.exchange(get.into()).await? {
            RawReply::Got(got) => Ok(Some(got)),
            RawReply::Method(_) => Ok(None),
        }
    }

    /// What came over the channel next without being asked for; `None` once the channel is closed.
    ///
    /// What is not taken is kept, without a bound: with basic.consume, set a prefetch by basic.qos.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next_event(&mut self) -> Option<ChannelEvent> {
        std::future::poll_fn(|cx| {
            let mut state = lock(&self.inbox.state);
            if let Some(event) = state.events.pop_front() {
                return Poll::Ready(Some(event));
            }
            if state.closed.is_some() {
                return Poll::Ready(None);
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await
    }

    /// Why the channel is closed, if it is.
    pub fn closed(&self) -> Option<Error> {
        lock(&self.inbox.state).closed.clone()
    }

    async fn exchange(&self, method: Method) -> Result<RawReply, Error> {
        self.ask(|answer| RawOperation::Call { method, answer })
            .await
    }

    async fn ask<T>(
        &self,
        operation: impl FnOnce(Answer<Result<T, Error>>) -> RawOperation,
    ) -> Result<T, Error> {
        let (answer, answered) = async_channel::bounded(1);
        let operation = operation(answer);
        self.handle.shared().command(Command::Raw {
            inbox: Arc::clone(&self.inbox),
            operation,
        });
        match answered.recv().await {
            Ok(result) => result,
            Err(_) => Err(self.closed().unwrap_or(Error::ChannelClosed)),
        }
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        let operation = RawOperation::Close;
        self.handle.shared().command(Command::Raw {
            inbox: Arc::clone(&self.inbox),
            operation,
        });
    }
}

/// The answer to a call on a channel.
#[derive(Debug)]
pub(crate) enum RawReply {
    Method(Method),
    Got(Got),
}

/// What a channel shares with the driver.
pub(crate) struct RawInbox {
    state: Mutex<RawState>,
    /// The driver's key for it.
    place: OnceLock<usize>,
}

#[derive(Default)]
struct RawState {
    events: VecDeque<ChannelEvent>,
    closed: Option<Error>,
    waker: Option<Waker>,
}

impl fmt::Debug for RawInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawInbox")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

impl RawInbox {
    pub(crate) fn new() -> Self {
        Self {
            state: Mutex::default(),
            place: OnceLock::new(),
        }
    }

    pub(crate) fn place(&self) -> Option<usize> {
        self.place.get().copied()
    }

    /// The driver has taken it in; it does so once.
    pub(crate) fn settle_in(&self, key: usize) {
        _ = self.place.set(key);
    }

    pub(crate) fn push(&self, event: CodecEvent) {
        let event = match event {
            CodecEvent::Delivery { delivery, .. } => ChannelEvent::Delivery(delivery),
            CodecEvent::Returned { returned, .. } => ChannelEvent::Returned(returned),
            CodecEvent::Confirm {
                delivery_tag,
                multiple,
                ack,
                ..
            } => ChannelEvent::Confirm {
                delivery_tag,
                multiple,
                ack,
            },
            CodecEvent::ConsumerCancelled { consumer_tag, .. } => {
                ChannelEvent::ConsumerCancelled { consumer_tag }
            }
            CodecEvent::Flow { active, .. } => ChannelEvent::Flow { active },
            _ => return,
        };
        self.change(|state| state.events.push_back(event));
    }

    pub(crate) fn close(&self, error: Error) {
        self.change(|state| _ = state.closed.get_or_insert(error));
    }

    fn change(&self, change: impl FnOnce(&mut RawState)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
