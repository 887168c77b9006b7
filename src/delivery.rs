mod batch;
pub(crate) mod counts;
mod disposition;
mod outcome;
mod oversized;
mod settler;

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use snowshoe_codec as codec;
use snowshoe_codec::{PropertiesError, PropertiesRef, ShortStr};

pub use self::batch::Batch;
pub use self::disposition::Disposition;
pub use self::outcome::Outcome;
pub(crate) use self::outcome::What;
pub use self::oversized::OversizedDelivery;
pub(crate) use self::settler::Claim;
pub use self::settler::Settler;
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
    settler: Settler,
}

impl Delivery {
    pub(crate) fn new(delivery: codec::Delivery, epoch: Epoch, inbox: &Arc<Inbox>) -> Self {
        let settler = Settler::new(epoch, delivery.delivery_tag, inbox);
        Self { delivery, settler }
    }

    /// The message, and what settles it, which can go another way: to another task, or away for later.
    pub fn split(self) -> (codec::Delivery, Settler) {
        (self.delivery, self.settler)
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
        counts::delivery_count(&self.delivery)
    }

    /// How many earlier deliveries of this message there were to anybody, where the broker counts them: in
    /// quorum queues (`x-acquired-count` from RabbitMQ 4.3 on, `x-delivery-count` before). `None` where it
    /// does not, and the message was delivered before.
    pub fn earlier_deliveries(&self) -> Option<u64> {
        counts::earlier_deliveries(&self.delivery)
    }

    /// Which attempt at the message this is, from 1 on, where its consumer has a [`Retry`](crate::Retry); without one,
    /// what has failed leaves no trace but [`delivery_count`](Self::delivery_count).
    pub fn attempt(&self) -> u32 {
        let delays = self.settler.delays_retries();
        counts::failed_attempts(&self.delivery, delays).saturating_add(1)
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

    /// Settles the message in this way.
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn settle_as(self, disposition: Disposition) -> Result<Settled, SettleError> {
        self.settle(disposition.into(), false)
    }

    /// The message as it was received.
    pub(crate) fn raw(&self) -> &codec::Delivery {
        &self.delivery
    }

    /// What settles the message where its user does not; `None` where there is nothing to settle.
    pub(crate) fn claim(&self) -> Option<Claim> {
        self.settler.claim()
    }

    fn settle(self, settle: Settle, multiple: bool) -> Result<Settled, SettleError> {
        self.settler.settle(settle, multiple)
    }
}

impl fmt::Debug for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.delivery.fmt(f)
    }
}
