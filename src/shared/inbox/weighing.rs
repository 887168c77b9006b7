//! What a single delivery takes.

use snowshoe_codec::Delivery;

/// What a delivery takes while it waits.
pub(crate) fn cost(delivery: &Delivery) -> usize {
    size_of::<Delivery>() + delivery.content.buffer_len()
}
