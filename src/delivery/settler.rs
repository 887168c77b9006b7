use std::fmt;
use std::sync::Arc;

use super::Disposition;
use crate::core::Epoch;
use crate::core::acks::Settle;
use crate::error::SettleError;
use crate::outcome::Settled;
use crate::shared::inbox::Inbox;

/// Settles a message apart from it: in another task, or later.
///
/// [`Delivery::split`](super::Delivery::split) gives it. It is what a [`Delivery`](super::Delivery) is without its
/// message: settling is local and immediate, and one that is dropped unsettled leaves the message with the broker
/// until the consumer's channel has ended.
///
/// ```no_run
/// # async fn store(_: &[u8]) {}
/// # async fn run(mut consumer: snowshoe::Consumer) {
/// let (stored, to_settle) = async_channel::bounded::<snowshoe::Settler>(100);
/// std::thread::spawn(move || {
///     // Acknowledges in groups, by the last of each.
///     while let Ok(mut last) = to_settle.recv_blocking() {
///         while let Ok(later) = to_settle.try_recv() {
///             last = later;
///         }
///         last.ack_all_up_to().ok();
///     }
/// });
/// while let Some(delivery) = consumer.next().await {
///     let (message, settler) = delivery.split();
///     store(message.content.body()).await;
///     stored.send(settler).await.ok();
/// }
/// # }
/// ```
#[must_use = "a delivery that is not settled stays with the broker, and counts against the prefetch"]
pub struct Settler {
    /// Where it is settled, unless there is nothing to settle, or not any more.
    inbox: Option<Arc<Inbox>>,
    epoch: Epoch,
    tag: u64,
}

impl Settler {
    pub(super) fn new(epoch: Epoch, tag: u64, inbox: &Arc<Inbox>) -> Self {
        // Without acknowledgements there is nothing to settle.
        let inbox = (!inbox.is_no_ack()).then(|| Arc::clone(inbox));
        Self { inbox, epoch, tag }
    }

    /// Tells the broker that the message is done with; see [`Delivery::ack`](super::Delivery::ack).
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then. That the channel is gone is none, but [`Settled::Stale`].
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

    /// Says that the attempt to handle it has failed; see [`Delivery::retry`](super::Delivery::retry).
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn retry(self) -> Result<Settled, SettleError> {
        self.settle_as(Disposition::Retry)
    }

    /// Gives it back unhandled; see [`Delivery::release`](super::Delivery::release).
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn release(self) -> Result<Settled, SettleError> {
        self.settle_as(Disposition::Release)
    }

    /// Settles the message in this way.
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn settle_as(self, disposition: Disposition) -> Result<Settled, SettleError> {
        self.settle(disposition.into(), false)
    }

    pub(super) fn settle(mut self, settle: Settle, multiple: bool) -> Result<Settled, SettleError> {
        let inbox = self.inbox.take().ok_or(SettleError::NoAck)?;
        inbox.settle(self.epoch, self.tag, settle, multiple, 1)
    }

    /// A claim on the same message, for whoever settles it if its user does not.
    pub(crate) fn claim(&self) -> Option<Claim> {
        Some(Claim {
            inbox: Arc::clone(self.inbox.as_ref()?),
            epoch: self.epoch,
            tag: self.tag,
        })
    }

    /// Where a batch of such is settled, and which epoch it belongs to.
    pub(super) fn inbox(&self) -> Option<(Arc<Inbox>, Epoch)> {
        Some((Arc::clone(self.inbox.as_ref()?), self.epoch))
    }

    /// Whether the queue lets messages wait that failed.
    pub(super) fn delays_retries(&self) -> bool {
        self.inbox.as_ref().is_some_and(|it| it.delays_retries())
    }

    pub(super) fn tag(&self) -> u64 {
        self.tag
    }

    /// Somebody else settles it.
    pub(super) fn leave(&mut self) {
        self.inbox = None;
    }
}

impl fmt::Debug for Settler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settler")
            .field("delivery_tag", &self.tag)
            .finish_non_exhaustive()
    }
}

impl Drop for Settler {
    fn drop(&mut self) {
        if let Some(inbox) = self.inbox.take() {
            inbox.release(self.epoch);
        }
    }
}

/// Settles a message that somebody else has, unless that one does so.
#[derive(Clone, Debug)]
pub(crate) struct Claim {
    inbox: Arc<Inbox>,
    epoch: Epoch,
    tag: u64,
}

impl Claim {
    pub(crate) fn settle(self, disposition: Disposition) {
        // The handler may have settled it by itself, or the connection may be another by now.
        let settle = disposition.into();
        _ = self.inbox.settle(self.epoch, self.tag, settle, false, 0);
    }

    /// Whether it can still be settled: nobody has, and its channel is there.
    pub(crate) fn stands(&self) -> bool {
        self.inbox.is_unsettled(self.epoch, self.tag)
    }
}
