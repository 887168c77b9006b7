use std::fmt;
use std::ops::Deref;

use super::{Decode, DecodeError};
use crate::delivery::{Delivery, Disposition};
use crate::error::SettleError;
use crate::outcome::Settled;
use crate::panics::caught;

/// A message from a queue and the value of its body, or the reason why there is none. It is to be
/// acknowledged or refused either way, as a [`Delivery`] is, and all of which can be asked of it.
///
/// ```no_run
/// # async fn run(mut orders: snowshoe::typed::TypedConsumer<u64>) -> Result<(), snowshoe::Error> {
/// while let Some(order) = orders.next().await {
///     match order.value() {
///         Ok(id) => {
///             println!("order {id} by way of {:?}", order.exchange());
///             order.ack()?;
///         }
///         Err(error) => {
///             eprintln!("no order: {error}");
///             order.nack(false)?; // to the dead letters
///         }
///     }
/// }
/// # Ok(()) }
/// ```
#[must_use = "a delivery that is not settled stays with the broker, and counts against the prefetch"]
pub struct TypedDelivery<T> {
    value: Result<T, DecodeError>,
    delivery: Delivery,
}

impl<T> TypedDelivery<T> {
    pub(super) fn new(delivery: Delivery, decoder: &dyn Decode<T>) -> Self {
        Self {
            value: decoded(&delivery, decoder),
            delivery,
        }
    }

    /// The value of the body.
    ///
    /// # Errors
    /// Why it could not be decoded.
    pub fn value(&self) -> Result<&T, &DecodeError> {
        self.value.as_ref()
    }

    /// The value, or why there is none, and the delivery, which is still to be settled.
    pub fn into_parts(self) -> (Result<T, DecodeError>, Delivery) {
        (self.value, self.delivery)
    }

    /// As [`Delivery::ack`].
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn ack(self) -> Result<Settled, SettleError> {
        self.delivery.ack()
    }

    /// As [`Delivery::ack_all_up_to`]. Those that could not be decoded are among them.
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn ack_all_up_to(self) -> Result<Settled, SettleError> {
        self.delivery.ack_all_up_to()
    }

    /// As [`Delivery::retry`]. What could not be decoded will not be the next time.
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn retry(self) -> Result<Settled, SettleError> {
        self.delivery.retry()
    }

    /// As [`Delivery::release`].
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn release(self) -> Result<Settled, SettleError> {
        self.delivery.release()
    }

    /// As [`Delivery::nack`].
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn nack(self, requeue: bool) -> Result<Settled, SettleError> {
        self.delivery.nack(requeue)
    }

    /// As [`Delivery::reject`].
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn reject(self, requeue: bool) -> Result<Settled, SettleError> {
        self.delivery.reject(requeue)
    }

    /// As [`Delivery::settle_as`].
    ///
    /// # Errors
    /// [`SettleError`]; nothing was sent then.
    pub fn settle_as(self, disposition: Disposition) -> Result<Settled, SettleError> {
        self.delivery.settle_as(disposition)
    }
}

impl<T> Deref for TypedDelivery<T> {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.delivery
    }
}

/// Without the value, and without an error, whose text may tell of the body: they have no place in a log.
impl<T> fmt::Debug for TypedDelivery<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TypedDelivery")
            .field("is_decoded", &self.value.is_ok())
            .field("delivery", &self.delivery)
            .finish_non_exhaustive()
    }
}

/// What the body of a message is.
pub(super) fn decoded<T>(delivery: &Delivery, decoder: &dyn Decode<T>) -> Result<T, DecodeError> {
    let properties = delivery.properties()?;
    // What came over the network must not end a consumer, whatever is made of it.
    caught(|| decoder.decode(delivery.body(), &properties))
        .unwrap_or_else(|said| Err(DecodeError::Panicked(said)))
}
