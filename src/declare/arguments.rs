//! What queues of today's brokers can be told, beyond what all of them know.

use std::time::Duration;

use super::{Queue, millis};

/// No delivery limit, as RabbitMQ 4 has it.
pub(crate) const UNLIMITED_DELIVERIES: i64 = -1;

/// How often a message may be delivered and come back.
///
/// ```
/// use snowshoe::{DeliveryLimit, Queue};
///
/// let orders = Queue::quorum("orders").delivery_limit(3).dead_letter_exchange("failed");
/// let payments = Queue::quorum("payments").delivery_limit(DeliveryLimit::Unlimited);
/// # _ = (orders, payments);
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum DeliveryLimit {
    /// A message comes back for ever, and none is given up over it.
    ///
    /// Every broker has a way of its own to say so, and is told it when the queue is declared: RabbitMQ 4
    /// takes -1 for it, where nothing would mean 20; RabbitMQ 3 would take that for "none at all" and give up
    /// each message that comes back, and LavinMQ refuses it, and to those it is said by saying nothing (seen
    /// on RabbitMQ 3.10.8, 4.0.5 and 4.3.6).
    Unlimited,
    /// So many times it may come back; when it does so once more, it is dead-lettered or dropped. With a
    /// limit of 3 it is delivered four times at most.
    Times(u32),
}

impl From<u32> for DeliveryLimit {
    fn from(times: u32) -> Self {
        Self::Times(times)
    }
}

impl DeliveryLimit {
    /// As RabbitMQ 4 has it. What others are told is known once the broker is.
    fn value(self) -> i64 {
        match self {
            Self::Unlimited => UNLIMITED_DELIVERIES,
            Self::Times(times) => times.into(),
        }
    }
}

/// Where the leader of a new quorum queue or stream is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum LeaderLocator {
    /// On the node that the client is connected to.
    ClientLocal,
    /// On a node that leads few, or any.
    Balanced,
}

/// Which messages that come back [wait](Queue::delayed_retry) before they are delivered again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum RetryOn {
    /// Those that [failed](crate::Delivery::retry), and those whose consumer's channel has ended.
    Failed,
    /// Those that were [released](crate::Delivery::release).
    Returned,
    /// All of them.
    All,
}

impl Queue {
    /// How often a message may come back before it is dropped or dead-lettered (`x-delivery-limit`; quorum
    /// queues, and LavinMQ's).
    ///
    /// Where nothing is said it is 20 from RabbitMQ 4.0 on, and before, and on LavinMQ, there is none. What
    /// counts, and how a limit can cost messages that nobody has seen, is told in the
    /// [guarantees](crate::guarantees#what-a-queue-gives-up).
    pub fn delivery_limit(self, limit: impl Into<DeliveryLimit>) -> Self {
        self.argument("x-delivery-limit", limit.into().value())
    }

    /// What is dead-lettered is kept until the queue that it goes to has confirmed it
    /// (`x-dead-letter-strategy: at-least-once`; quorum queues). RabbitMQ does so only where the queue
    /// refuses publishes when it is full, so that [is said](Self::reject_publish), too.
    pub fn dead_letter_at_least_once(self) -> Self {
        self.argument("x-dead-letter-strategy", "at-least-once")
            .reject_publish()
    }

    /// One that the client needs for what its user asks of it.
    pub(crate) fn of_the_client(name: &str, is_replicated: bool) -> Self {
        match is_replicated {
            // Where it dead-letters, it does so at least once.
            true => Self::quorum(name).dead_letter_at_least_once(),
            false => Self::new(name),
        }
    }

    /// Messages that come back wait before they are delivered again: `min` the first time, longer with every
    /// delivery, and no longer than `max` (`x-delayed-retry-type`, `-min`, `-max`; quorum queues from
    /// RabbitMQ 4.3 on, and LavinMQ's from 2.11 on, which delays all that come back, and was not tried).
    /// Others take these for nothing, and deliver at once.
    ///
    /// Parts of a millisecond count as one. More than brokers can measure, about 49 days, is as much as they
    /// can.
    pub fn delayed_retry(self, on: RetryOn, min: Duration, max: Duration) -> Self {
        let on = match on {
            RetryOn::Failed => "failed",
            RetryOn::Returned => "returned",
            RetryOn::All => "all",
        };
        let time = |it| i64::from(millis(it).unwrap_or(u32::MAX).max(1));
        self.argument("x-delayed-retry-type", on)
            .argument("x-delayed-retry-min", time(min))
            .argument("x-delayed-retry-max", time(max.max(min)))
    }

    /// How long a delivery may be unsettled before the broker takes it back (`x-consumer-timeout`). 30 minutes
    /// where nothing is said.
    ///
    /// RabbitMQ 4.3 and later knows it for quorum queues, and refuses it for classic ones (406), which have
    /// none; those before take it for all queues, and end the consumer's channel over it. It is looked at
    /// now and then, so a delivery can take longer. Parts of a millisecond count as one.
    pub fn consumer_timeout(self, timeout: Duration) -> Self {
        self.time("x-consumer-timeout", millis(timeout).map(|it| it.max(1)))
    }

    /// Where its leader is to be when it is declared (`x-queue-leader-locator`; quorum queues and streams).
    pub fn leader_locator(self, locator: LeaderLocator) -> Self {
        let locator = match locator {
            LeaderLocator::ClientLocal => "client-local",
            LeaderLocator::Balanced => "balanced",
        };
        self.argument("x-queue-leader-locator", locator)
    }

    /// On how many nodes it is to be (`x-quorum-initial-group-size`; quorum queues). RabbitMQ refuses 0.
    pub fn initial_group_size(self, nodes: u32) -> Self {
        self.argument("x-quorum-initial-group-size", i64::from(nodes))
    }

    /// How old the messages of a stream may become, by the segment (`x-max-age`).
    ///
    /// Parts of a second count as one.
    pub fn max_age(self, age: Duration) -> Self {
        let seconds = age.as_nanos().div_ceil(1_000_000_000).max(1);
        // RabbitMQ ends the connection over one that it cannot read (541), and that is a large number.
        let seconds = seconds.min(u128::from(u32::MAX));
        self.argument("x-max-age", &*format!("{seconds}s"))
    }

    /// How many bytes a segment of a stream has (`x-stream-max-segment-size-bytes`): what is too old, or
    /// too much, is given up by the segment.
    pub fn max_segment_size(self, bytes: u32) -> Self {
        self.argument("x-stream-max-segment-size-bytes", i64::from(bytes))
    }
}
