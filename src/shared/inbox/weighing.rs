//! What a single delivery tells.

use snowshoe_codec::{Delivery, Excess};

/// What a delivery takes while it waits.
pub(crate) fn cost(delivery: &Delivery) -> usize {
    size_of::<Delivery>() + delivery.content.buffer_len()
}

/// Brokers tell the place in a stream with every delivery from it. `None` where that cannot be seen.
pub(super) fn has_place_in_stream(delivery: &Delivery) -> Option<bool> {
    if let Some(Excess::Header { .. }) = delivery.content.excess() {
        return None;
    }
    let headers = delivery.content.properties().ok()?.headers;
    Some(headers.is_some_and(|it| matches!(it.get(OFFSET), Ok(Some(_)))))
}

/// What a place in a stream is called, as an argument and as a header.
pub(super) const OFFSET: &str = "x-stream-offset";
