use super::Delivery;
use crate::core::acks::Settle;
use crate::error::SettleError;
use crate::outcome::Settled;

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
        let Some(first) = self.deliveries.first() else {
            return Ok(Settled::Sent);
        };
        let (inbox, epoch) = first.settler.inbox().ok_or(SettleError::NoAck)?;
        let tags = self.deliveries.iter_mut().map(|delivery| {
            delivery.settler.leave();
            delivery.settler.tag()
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
