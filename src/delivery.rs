mod oversized;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use snowshoe_codec as codec;
use snowshoe_codec::{PropertiesError, PropertiesRef, ShortStr};

pub use self::oversized::OversizedDelivery;
use crate::core::Epoch;
use crate::core::acks::Settle;
use crate::error::SettleError;
use crate::outcome::Settled;
use crate::shared::inbox::{Inbox, place_in_stream};

/// A message from a queue, to be acknowledged or refused.
///
/// Settling it is local and immediate; the driver tells the broker, and joins acknowledgements
/// that follow each other into one. Where its channel is gone since, that is [`Settled::Stale`], and
/// nothing is sent: the broker delivers it again. A delivery that is dropped unsettled stays unacknowledged: the
/// broker delivers it again once the consumer's channel has ended.
#[must_use = "a delivery that is not settled stays with the broker, and counts against the prefetch"]
pub struct Delivery {
    delivery: codec::Delivery,
    epoch: Epoch,
    /// Where it is settled, unless there is nothing to settle, or not any more.
    inbox: Option<Arc<Inbox>>,
}

impl Delivery {
    pub(crate) fn new(delivery: codec::Delivery, epoch: Epoch, inbox: &Arc<Inbox>) -> Self {
        // Without acknowledgements there is nothing to settle.
        let inbox = (!inbox.is_no_ack()).then(|| Arc::clone(inbox));
        Self {
            delivery,
            epoch,
            inbox,
        }
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.delivery.content.body()
    }

    /// The body as shared bytes, without a copy. They keep the rest of the delivery, too, which is
    /// in a block with others as long as few are kept: of those that are kept, all take 1 MiB for each
    /// connection, or no more than four times their size.
    pub fn body_bytes(&self) -> Bytes {
        self.delivery.content.body_bytes()
    }

    /// The exchange it was published to; empty for the default exchange.
    pub fn exchange(&self) -> ShortStr<'_> {
        self.delivery.content.exchange()
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> ShortStr<'_> {
        self.delivery.content.routing_key()
    }

    /// The properties.
    ///
    /// # Errors
    /// Brokers pass on whatever a publisher wrote. Malformed properties are an error of this
    /// message alone, which can still be settled.
    pub fn properties(&self) -> Result<PropertiesRef<'_>, PropertiesError> {
        self.delivery.content.properties()
    }

    /// Whether the broker may have delivered it before, to anybody.
    pub fn is_redelivered(&self) -> bool {
        self.delivery.redelivered
    }

    /// How many earlier deliveries of this message count against the
    /// [delivery limit](crate::Queue::delivery_limit) of its queue, where the broker counts them: in quorum
    /// queues (the header `x-delivery-count`). `None` where it does not, and the message was delivered
    /// before.
    ///
    /// RabbitMQ counts whatever came back, from 4.3 on only what was [to be tried
    /// again](Self::retry) or came back because a channel ended.
    ///
    /// A message that somebody has published again as it was can bring a header of its former queue along;
    /// only RabbitMQ 4 and quorum queues put it right.
    pub fn delivery_count(&self) -> Option<u64> {
        (self.count(DELIVERY_COUNT))
            .or_else(|| self.count(ACQUIRED_COUNT).map(|_| 0)) // RabbitMQ 4.3 leaves out a count of 0.
            .or_else(|| self.never_before())
    }

    /// How many earlier deliveries of this message there were to anybody, where the broker counts them: in
    /// quorum queues (`x-acquired-count` from RabbitMQ 4.3 on, `x-delivery-count` before). `None` where it
    /// does not, and the message was delivered before.
    pub fn earlier_deliveries(&self) -> Option<u64> {
        (self.count(ACQUIRED_COUNT))
            .or_else(|| self.count(DELIVERY_COUNT))
            .or_else(|| self.never_before())
    }

    fn never_before(&self) -> Option<u64> {
        (!self.is_redelivered()).then_some(0)
    }

    fn count(&self, header: &str) -> Option<u64> {
        let headers = self.properties().ok()?.headers?;
        let count = headers.get(header).ok()??.as_i64()?;
        u64::try_from(count).ok()
    }

    /// Its place in the [stream](crate::Queue::stream) that it comes from, which is the same for every
    /// consumer. `None` for one from any other queue, unless it was published with the header of a stream's.
    pub fn stream_offset(&self) -> Option<u64> {
        place_in_stream(&self.delivery)
    }

    /// The number that the broker gave it. It means something on this consumer's channel only, and
    /// begins again after a reconnect.
    pub fn delivery_tag(&self) -> u64 {
        self.delivery.delivery_tag
    }

    /// The message as the codec has it.
    pub fn content(&self) -> &codec::Content {
        &self.delivery.content
    }

    /// Tells the broker that the message is done with.
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then. That the channel is gone is none, but
    /// [`Settled::Stale`].
    pub fn ack(self) -> Result<Settled, SettleError> {
        self.settle(Settle::Ack, false)
    }

    /// Acknowledges this message and all before it on the same consumer that are not settled yet.
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn ack_all_up_to(self) -> Result<Settled, SettleError> {
        self.settle(Settle::Ack, true)
    }

    /// Says that the attempt to handle it has failed: it goes back to the queue, to be tried again
    /// (basic.reject with requeue).
    ///
    /// In a quorum queue that counts, and beyond its [delivery limit](crate::Queue::delivery_limit) the
    /// message is dead-lettered or dropped. A stream takes nothing back: its message is
    /// [passed over](crate::guarantees#streams), and that is [`Settled::PassedOver`].
    ///
    /// ```no_run
    /// # async fn handle(_: &[u8]) -> Result<(), ()> { Ok(()) }
    /// # async fn run(mut consumer: snowshoe::Consumer) -> Result<(), snowshoe::SettleError> {
    /// while let Some(delivery) = consumer.next().await {
    ///     match handle(delivery.body()).await {
    ///         Ok(()) => delivery.ack()?,
    ///         Err(()) if delivery.delivery_count().is_some_and(|before| before >= 4) => delivery.nack(false)?,
    ///         Err(()) => delivery.retry()?,
    ///     };
    /// }
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn retry(self) -> Result<Settled, SettleError> {
        self.reject(true)
    }

    /// Gives it back unhandled, for anybody to take: nothing is said against it (basic.nack with requeue).
    ///
    /// RabbitMQ 4.3 and later do not count that in quorum queues, so a message can go back for ever; before,
    /// it counts as [`retry`](Self::retry) does. A stream takes nothing back either.
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn release(self) -> Result<Settled, SettleError> {
        self.nack(true)
    }

    /// Sends basic.nack: with `requeue` the message goes back to the queue as by
    /// [`release`](Self::release), otherwise it is dropped or dead-lettered. A stream takes nothing back:
    /// its message is [passed over](crate::guarantees#streams), whichever it is, and that is
    /// [`Settled::PassedOver`].
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn nack(self, requeue: bool) -> Result<Settled, SettleError> {
        self.settle(Settle::Nack { requeue }, false)
    }

    /// Refuses this message and all before it on the same consumer that are not settled yet, as
    /// [`nack`](Self::nack) does.
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn nack_all_up_to(self, requeue: bool) -> Result<Settled, SettleError> {
        self.settle(Settle::Nack { requeue }, true)
    }

    /// Sends basic.reject: with `requeue` the message goes back to the queue as by
    /// [`retry`](Self::retry), otherwise it is dropped or dead-lettered, as by [`nack`](Self::nack).
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn reject(self, requeue: bool) -> Result<Settled, SettleError> {
        self.settle(Settle::Reject { requeue }, false)
    }

    /// Settles the message as a handler decided.
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn settle_as(self, disposition: Disposition) -> Result<Settled, SettleError> {
        self.settle(disposition.into(), false)
    }

    /// A handle that settles the message, without the message; `None` where there is nothing to
    /// settle.
    pub(crate) fn settler(&self) -> Option<Settler> {
        Some(Settler {
            inbox: Arc::clone(self.inbox.as_ref()?),
            epoch: self.epoch,
            tag: self.delivery.delivery_tag,
        })
    }

    fn settle(mut self, settle: Settle, multiple: bool) -> Result<Settled, SettleError> {
        let inbox = self.inbox.take().ok_or(SettleError::NoAck)?;
        inbox.settle(self.epoch, self.delivery.delivery_tag, settle, multiple, 1)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.delivery.fmt(f)
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        if let Some(inbox) = self.inbox.take() {
            inbox.release(self.epoch);
        }
    }
}

/// Settles a message whose [`Delivery`] was given away.
pub(crate) struct Settler {
    inbox: Arc<Inbox>,
    epoch: Epoch,
    tag: u64,
}

impl Settler {
    pub(crate) fn settle(self, disposition: Disposition) {
        // The handler may have settled it by itself, or the connection may be another by now.
        let settle = disposition.into();
        _ = self.inbox.settle(self.epoch, self.tag, settle, false, 0);
    }
}

/// Some messages of one consumer, in order.
#[derive(Debug)]
pub struct Batch {
    deliveries: Vec<Delivery>,
}

impl Batch {
    pub(crate) fn new(deliveries: Vec<Delivery>) -> Self {
        Self { deliveries }
    }

    /// How many there are; at least one.
    pub fn len(&self) -> usize {
        self.deliveries.len()
    }

    /// Whether there is none, which happens only once all were taken out.
    pub fn is_empty(&self) -> bool {
        self.deliveries.is_empty()
    }

    /// The messages.
    pub fn iter(&self) -> std::slice::Iter<'_, Delivery> {
        self.deliveries.iter()
    }

    /// Acknowledges the messages of the batch, and no others.
    ///
    /// # Errors
    /// [`SettleError`], for the first that could not be settled; the rest is settled all the same. That
    /// the channel is gone is none, but [`Settled::Stale`].
    pub fn ack(self) -> Result<Settled, SettleError> {
        self.settle(Settle::Ack)
    }

    /// Refuses the messages of the batch, and no others, each as [`Delivery::nack`] does.
    ///
    /// # Errors
    /// [`SettleError`], for the first that could not be settled; the rest is settled all the same.
    pub fn nack(self, requeue: bool) -> Result<Settled, SettleError> {
        self.settle(Settle::Nack { requeue })
    }

    /// Says that the attempt to handle the batch has failed, of each message as [`Delivery::retry`] does.
    /// Where one of them is to blame, they all count.
    ///
    /// # Errors
    /// [`SettleError`], for the first that could not be settled; the rest is settled all the same.
    pub fn retry(self) -> Result<Settled, SettleError> {
        self.settle(Settle::Reject { requeue: true })
    }

    /// Gives the messages of the batch back unhandled, each as [`Delivery::release`] does.
    ///
    /// # Errors
    /// [`SettleError`], for the first that could not be settled; the rest is settled all the same.
    pub fn release(self) -> Result<Settled, SettleError> {
        self.nack(true)
    }

    fn settle(mut self, settle: Settle) -> Result<Settled, SettleError> {
        let Some(Delivery { inbox, epoch, .. }) = self.deliveries.first() else {
            return Ok(Settled::Sent);
        };
        let (inbox, epoch) = (inbox.clone().ok_or(SettleError::NoAck)?, *epoch);
        let tags = self.deliveries.iter_mut().map(|delivery| {
            delivery.inbox = None;
            delivery.delivery.delivery_tag
        });
        inbox.settle_each(epoch, tags, settle)
    }
}

impl IntoIterator for Batch {
    type Item = Delivery;
    type IntoIter = std::vec::IntoIter<Delivery>;

    fn into_iter(self) -> Self::IntoIter {
        self.deliveries.into_iter()
    }
}

impl<'a> IntoIterator for &'a Batch {
    type Item = &'a Delivery;
    type IntoIter = std::slice::Iter<'a, Delivery>;

    fn into_iter(self) -> Self::IntoIter {
        self.iter()
    }
}

/// The headers by which quorum queues tell how often they have delivered a message.
const DELIVERY_COUNT: &str = "x-delivery-count";
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// What becomes of a message that a handler has seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disposition {
    /// It is done with. `()` and `Ok(())` mean this.
    Ack,
    /// The attempt has failed: it goes back to the queue, to be tried again, and where the queue has a
    /// [delivery limit](crate::Queue::delivery_limit), that counts. `Err(_)` means this. Of a stream it is
    /// [passed over](crate::guarantees#streams).
    Retry,
    /// It goes back to the queue unhandled, and nothing is said against it: RabbitMQ 4.3 does not count
    /// that. Of a stream it is passed over.
    Release,
    /// It is dropped, or dead-lettered where the queue says so. Of a stream it is passed over.
    Discard,
}

impl From<Disposition> for Settle {
    fn from(disposition: Disposition) -> Self {
        match disposition {
            Disposition::Ack => Self::Ack,
            // RabbitMQ 4.3 counts a basic.reject against the delivery limit, and a basic.nack not.
            Disposition::Retry => Self::Reject { requeue: true },
            Disposition::Release => Self::Nack { requeue: true },
            Disposition::Discard => Self::Nack { requeue: false },
        }
    }
}

impl From<()> for Disposition {
    fn from((): ()) -> Self {
        Self::Ack
    }
}

/// The handler has settled it.
impl From<Settled> for Disposition {
    fn from(_: Settled) -> Self {
        Self::Ack
    }
}

impl<T: Into<Self>, E> From<Result<T, E>> for Disposition {
    fn from(result: Result<T, E>) -> Self {
        result.map_or(Self::Retry, Into::into)
    }
}
