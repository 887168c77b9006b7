//! How often a message came before.

use snowshoe_codec::Delivery;

use crate::retry::Standing;

/// The headers by which quorum queues tell how often they have delivered a message.
const DELIVERY_COUNT: &str = "x-delivery-count";
const ACQUIRED_COUNT: &str = "x-acquired-count";

/// How many earlier deliveries count against the delivery limit, where the broker counts them.
pub(crate) fn delivery_count(delivery: &Delivery) -> Option<u64> {
    count(delivery, DELIVERY_COUNT)
        .or_else(|| count(delivery, ACQUIRED_COUNT).map(|_| 0)) // RabbitMQ 4.3 leaves out a count of 0.
        .or_else(|| never_before(delivery))
}

/// How many earlier deliveries there were, where the broker counts them.
pub(crate) fn earlier_deliveries(delivery: &Delivery) -> Option<u64> {
    count(delivery, ACQUIRED_COUNT)
        .or_else(|| count(delivery, DELIVERY_COUNT))
        .or_else(|| never_before(delivery))
}

/// How many attempts have failed: those that a copy tells of, and where the queue lets messages wait by itself, those
/// that it has counted since.
pub(crate) fn failed_attempts(delivery: &Delivery, queue_delays_retries: bool) -> u32 {
    let told = Standing::of(&delivery.content).failed;
    let counted = match queue_delays_retries {
        true => delivery_count(delivery).unwrap_or(0),
        false => 0,
    };
    told.saturating_add(u32::try_from(counted).unwrap_or(u32::MAX))
}

fn never_before(delivery: &Delivery) -> Option<u64> {
    (!delivery.redelivered).then_some(0)
}

fn count(delivery: &Delivery, header: &str) -> Option<u64> {
    let headers = delivery.content.properties().ok()?.headers?;
    let count = headers.get(header).ok()??.as_i64()?;
    u64::try_from(count).ok()
}
