//! Which broker the one in memory takes after, and what follows from that.

use std::time::Duration;

/// Which broker the one in memory takes after, where brokers differ in what a client has to bear.
///
/// What the releases of RabbitMQ do was seen on each of them, 3.10.8, 4.0.5 and 4.3.6: one table of scenarios is played on them
/// and on the broker in memory, which has to say the same. What LavinMQ does was seen on 2.9.1, or is
/// from its documentation where *(doc)* says so.
///
/// | | 3.10 | 4.0 | 4.3 | LavinMQ |
/// |---|---|---|---|---|
/// | longest message | 128 MiB | 16 MiB | 16 MiB | 128 MiB |
/// | smallest frame that may be tuned: with less the connection is cut after 3 s | 4,096 | 4,096 | 8,192 | 4,096 |
/// | headers of a message | as they were published | sorted by name, one of each | as 4.0 | as they were published |
/// | `x-delivery-limit` of a quorum queue that says nothing | none | 20 | 20 | none |
/// | … of -1 | gives up what comes back once | none | none | 406 |
/// | what counts towards it | whatever comes back | whatever comes back | `basic.reject`, and the end of a channel | whatever comes back *(doc)* |
/// | what tells of it | `x-delivery-count`, at 0 too where it is fetched | `x-delivery-count` from 1 on | that, and `x-acquired-count` for all that came back | as 4.0 *(doc)* |
/// | where it stands when it is given back to a quorum queue | the front, or the end where there is no limit | as 3.10 | the front | its place |
/// | `x-delayed-retry-type`, `-min` and `-max` | nothing | nothing | what comes back to a quorum queue waits before it is delivered again; classic queues refuse them (406) | nothing |
/// | deliveries that nobody acknowledges in time | the channel is closed (406) | the channel is closed (406) | of quorum queues only: they go back, and their consumer is told by `basic.cancel`; its tag is still taken, and once it has settled them it gets more | the channel is closed (406) *(doc)* |
/// | `basic.qos` for a whole channel | counts on the channel | counts on the channel | is one for each consumer | counts on the channel |
/// | dead letters | `x-first-death-…` | `x-last-death-…` too | that, and `redelivered` where they had been delivered | as 3.10 |
/// | an active consumer is cancelled, and holds a message | nobody takes its place in a classic queue before the message comes back | the next gets what is ready | as 4.0 | as 4.0 |
/// | what is mandatory and a full queue refuses | nack | nack | nack | `basic.return`, then nack |
/// | a mandatory direct reply | comes back, though it is delivered | as 3.10 | never comes back | as 3.10 *(not seen)* |
/// | the delivery tag of a direct reply | that of the next delivery, again and again | as 3.10 | one of its own | as 3.10 *(not seen)* |
/// | confirms | single or multiple, each in its order | as 3.10 | as 3.10 | acks are multiple and late, nacks single and at once |
/// | an unknown type of exchange | 503, of the connection | 406 | 406 | as 3.10 |
/// | an exchange of type `x-delayed-message` | as one of an unknown type | as one of an unknown type | as one of an unknown type | holds messages as long as their header `x-delay` says *(doc)* |
/// | a header of an unknown type | 541, of the connection | 541 | 541 | is passed on |
/// | a stream with an `x-max-age` that is none, a reader with such an `x-stream-offset` | 541, of the connection | 541 | 406 | 406 *(doc)* |
/// | what a reader of a stream refuses | 540, of the connection | counts as acknowledged | as 4.0 | comes again, if it is given back *(doc)* |
/// | the offset of a stream's reader | is forgotten | is forgotten | is forgotten | is kept by its consumer tag *(doc)* |
/// | exchanges that are not durable | go in a restart | go in a restart | stay | go in a restart |
/// | low memory or disk | publishers are not read | as 3.10 | as 3.10 | publishes and declarations are refused (406) |
/// | `x-message-deduplication` of an exchange or queue | nothing | nothing | nothing | of the last 128 messages, one with the same header `x-deduplication-header` is dropped, and confirmed *(doc)* |
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Manner {
    /// RabbitMQ 3.10.8.
    RabbitMq310,
    /// RabbitMQ 4.0.5.
    RabbitMq40,
    /// RabbitMQ 4.3.6, the newest. It is what you get where you say nothing.
    #[default]
    RabbitMq43,
    /// LavinMQ 2.9.1.
    LavinMq,
}

/// What is asked of a manner in the broker: each difference has a name.
impl Manner {
    /// What clients are told of the product and its version.
    pub(super) fn product(self) -> (&'static str, &'static str) {
        match self {
            Self::RabbitMq310 => ("RabbitMQ", "3.10.8"),
            Self::RabbitMq40 => ("RabbitMQ", "4.0.5"),
            Self::RabbitMq43 => ("RabbitMQ", "4.3.6"),
            Self::LavinMq => ("LavinMQ", "2.9.1"),
        }
    }

    pub(super) fn is_lavin(self) -> bool {
        self == Self::LavinMq
    }

    /// RabbitMQ 4.0 or later.
    pub(super) fn is_rabbit_4(self) -> bool {
        matches!(self, Self::RabbitMq40) || self.is_rabbit_4_3()
    }

    /// RabbitMQ 4.3 or later.
    pub(super) fn is_rabbit_4_3(self) -> bool {
        self == Self::RabbitMq43
    }

    /// The longest message that is taken, in bytes.
    pub(super) fn max_message_size(self) -> u32 {
        match self.is_rabbit_4() {
            true => 16 << 20,
            false => 128 << 20,
        }
    }

    /// The smallest frames that may be tuned.
    pub(super) fn min_frame_max(self) -> u32 {
        match self.is_rabbit_4_3() {
            true => 8192,
            false => 4096,
        }
    }

    /// How long a client is left in the dark that tuned smaller ones (RabbitMQ: `SILENT_CLOSE_DELAY`).
    pub(super) const SILENCE: Duration = Duration::from_secs(3);

    /// How often a message may come back to a quorum queue that does not say.
    pub(super) fn delivery_limit(self) -> Option<i64> {
        self.is_rabbit_4().then_some(20)
    }

    /// Whether a mandatory direct reply comes back, though it may be delivered: before 4.2 RabbitMQ counts the
    /// queues, which are none.
    pub(super) fn returns_replies(self) -> bool {
        !self.is_rabbit_4_3()
    }

    /// Whether a direct reply takes a delivery tag. Otherwise it goes by that of the next delivery.
    pub(super) fn counts_replies(self) -> bool {
        self.is_rabbit_4_3()
    }

    /// Whether what a client gives back by basic.nack or basic.recover counts towards the limit.
    pub(super) fn counts_nacks(self) -> bool {
        !self.is_rabbit_4_3()
    }
}
