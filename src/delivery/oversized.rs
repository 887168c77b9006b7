use std::fmt;

use snowshoe_codec::{Excess, PropertiesError, PropertiesRef, ShortStr};

use super::{Delivery, Disposition};

/// A message from a queue that is longer than is accepted, without its body.
///
/// Its body was not kept, so there is nothing in it to work on; what is to become of it is decided by
/// [`ConsumerBuilder::on_oversized`](crate::ConsumerBuilder::on_oversized).
pub struct OversizedDelivery {
    delivery: Delivery,
    excess: Excess,
}

impl OversizedDelivery {
    /// The delivery, if it is an ordinary one; otherwise what `decide` says becomes of it.
    pub(crate) fn settled_or_ordinary(
        delivery: Delivery,
        decide: impl FnOnce(&Self) -> Disposition,
    ) -> Option<Delivery> {
        let Some(excess) = delivery.content().excess() else {
            return Some(delivery);
        };
        let oversized = Self { delivery, excess };
        let disposition = decide(&oversized);
        // Without acknowledgements there is nothing to settle, and what is stale comes again.
        _ = oversized.delivery.settle_as(disposition);
        None
    }

    /// What was too long, its size and the limit.
    pub fn excess(&self) -> Excess {
        self.excess
    }

    /// The exchange it was published to; empty for the default exchange.
    pub fn exchange(&self) -> ShortStr<'_> {
        self.delivery.exchange()
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> ShortStr<'_> {
        self.delivery.routing_key()
    }

    /// The properties; none where it was they that were [too long](Excess::Header).
    ///
    /// # Errors
    /// Brokers pass on whatever a publisher wrote.
    pub fn properties(&self) -> Result<PropertiesRef<'_>, PropertiesError> {
        self.delivery.properties()
    }

    /// Whether the broker may have delivered it before, to anybody.
    pub fn is_redelivered(&self) -> bool {
        self.delivery.is_redelivered()
    }

    /// The number that the broker gave it on this consumer's channel.
    pub fn delivery_tag(&self) -> u64 {
        self.delivery.delivery_tag()
    }

    /// Whether it comes from a stream, whose messages carry their offset. A stream keeps its messages
    /// whatever becomes of a delivery, and takes no refusal: over one, a broker closes the connection
    /// (540, seen on RabbitMQ 3.10.8).
    pub fn is_from_stream(&self) -> bool {
        let properties = self.properties();
        let headers = properties.ok().and_then(|properties| properties.headers);
        headers.is_some_and(|headers| matches!(headers.get("x-stream-offset"), Ok(Some(_))))
    }

    /// What becomes of it unless somebody decides otherwise.
    pub(crate) fn usual_disposition(&self) -> Disposition {
        if self.is_from_stream() {
            Disposition::Ack
        } else {
            Disposition::Discard
        }
    }
}

impl fmt::Debug for OversizedDelivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OversizedDelivery")
            .field("excess", &self.excess)
            .field("delivery", &self.delivery)
            .finish()
    }
}
