//! What one broker takes otherwise than the others, by what it says of itself in its greeting.

use snowshoe_codec::method::queue;
use snowshoe_codec::{Connection, FieldValue, Method};

use crate::declare::UNLIMITED_DELIVERIES;

const DELIVERY_LIMIT: &str = "x-delivery-limit";
const DELAYED_RETRY: [&str; 3] = [
    "x-delayed-retry-type",
    "x-delayed-retry-min",
    "x-delayed-retry-max",
];

/// The delivery limit that a queue is to have.
fn limit_of(declare: &queue::Declare) -> Option<i64> {
    let limit = declare.arguments.get(DELIVERY_LIMIT).ok().flatten()?;
    limit.as_i64()
}

/// How a broker wants to be spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Whether no delivery limit is to be told by telling none. RabbitMQ 3 takes -1 for a limit that is
    /// exceeded when a message first comes back (seen on 3.10.8), LavinMQ refuses it (406, seen on 2.9.1).
    leaves_out_unlimited: bool,
    /// Whether it refuses to be told of queues other than quorum queues what those alone know (406, seen on 4.0.5
    /// and 4.3.6).
    is_rabbitmq: bool,
    /// Whether a basic.cancel may be for a delivery that was unsettled for too long, and leaves the others of
    /// that consumer where they are. RabbitMQ 4.3 does so for quorum queues; those before end the channel
    /// (seen on 4.3.6, 4.0.5 and 3.10.8).
    pub cancels_over_timeouts: bool,
    /// Whether a message of a quorum queue that is given back before its channel ends (basic.nack) is spared
    /// a count against the delivery limit (seen on RabbitMQ 4.3.6).
    pub spares_what_is_given_back: bool,
    /// Whether a place in a stream can only be told by its offset or by the time of day. LavinMQ refuses how
    /// long ago it is (406; its documentation).
    pub wants_time_of_day: bool,
    /// Whether a queue that says so lets messages wait that failed: a quorum queue of RabbitMQ from 4.3 on (seen
    /// on 4.3.6), or any of LavinMQ from 2.11 on (its documentation).
    pub delays_retries: DelaysRetries,
}

/// Which queues let messages wait that failed, where they say so.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum DelaysRetries {
    #[default]
    None,
    Quorum,
    All,
}

impl Dialect {
    /// That of the broker at the other end; before its greeting, that of one of which nothing is known.
    pub fn of(connection: &Connection) -> Self {
        let product = connection.peer_properties().get("product").ok().flatten();
        let is_lavinmq = product.and_then(FieldValue::as_str) == Some("LavinMQ");
        let mut dialect = Self::new(is_lavinmq, connection.rabbitmq_release());
        let version = connection.peer_properties().get("version").ok().flatten();
        if is_lavinmq && version.and_then(release) >= Some((2, 11)) {
            dialect.delays_retries = DelaysRetries::All;
        }
        dialect
    }

    fn new(is_lavinmq: bool, rabbitmq: Option<(u32, u32)>) -> Self {
        let is_from = |first| rabbitmq.is_some_and(|release| release >= first);
        Self {
            is_rabbitmq: rabbitmq.is_some(),
            leaves_out_unlimited: is_lavinmq || rabbitmq.is_some_and(|release| release < (4, 0)),
            cancels_over_timeouts: is_from((4, 3)),
            spares_what_is_given_back: is_from((4, 3)),
            wants_time_of_day: is_lavinmq,
            delays_retries: match is_from((4, 3)) {
                true => DelaysRetries::Quorum,
                false => DelaysRetries::None,
            },
        }
    }

    /// The same in the words that this broker takes.
    pub fn say(self, method: Method) -> Method {
        match method {
            Method::QueueDeclare(declare) => self.declare(declare).into(),
            method => method,
        }
    }

    fn declare(self, mut declare: queue::Declare) -> queue::Declare {
        if self.leaves_out_unlimited && limit_of(&declare) == Some(UNLIMITED_DELIVERIES) {
            // What cannot be read could not be sent either.
            _ = declare.arguments.remove(DELIVERY_LIMIT);
        }
        let kind = declare.arguments.get("x-queue-type").ok().flatten();
        let is_quorum = kind.and_then(FieldValue::as_str) == Some("quorum");
        if self.is_rabbitmq && !is_quorum {
            // Other queues let nothing wait, and refuse to be told so.
            for name in DELAYED_RETRY {
                _ = declare.arguments.remove(name);
            }
            if limit_of(&declare) == Some(UNLIMITED_DELIVERIES) {
                _ = declare.arguments.remove(DELIVERY_LIMIT);
            }
        }
        declare
    }
}

/// Major and minor of a version.
fn release(version: FieldValue<'_>) -> Option<(u32, u32)> {
    let mut parts = version.as_str()?.split('.');
    let mut next = || parts.next()?.parse().ok();
    Some((next()?, next()?))
}

#[cfg(test)]
mod tests {
    use snowshoe_codec::FieldTable;

    use super::*;

    fn told(dialect: Dialect, limit: i64) -> Option<i64> {
        let arguments = FieldTable::new()
            .with("x-queue-type", "quorum")
            .and_then(|it| it.with(DELIVERY_LIMIT, limit))
            .unwrap();
        let declare = queue::Declare {
            arguments,
            ..Default::default()
        };
        let Method::QueueDeclare(said) = dialect.say(declare.into()) else {
            panic!("it is another method");
        };
        assert!(said.arguments.get("x-queue-type").unwrap().is_some());
        let limit = said.arguments.get(DELIVERY_LIMIT).unwrap();
        limit.and_then(FieldValue::as_i64)
    }

    #[test]
    fn each_broker_is_told_in_its_own_way_that_there_is_no_limit() {
        for (is_lavinmq, rabbitmq, expected) in [
            (false, Some((3, 10)), None),
            (false, Some((3, 13)), None),
            (false, Some((4, 0)), Some(UNLIMITED_DELIVERIES)),
            (false, Some((10, 0)), Some(UNLIMITED_DELIVERIES)),
            (true, None, None),
            // Of this one nothing is known.
            (false, None, Some(UNLIMITED_DELIVERIES)),
        ] {
            let dialect = Dialect::new(is_lavinmq, rabbitmq);
            assert_eq!(told(dialect, UNLIMITED_DELIVERIES), expected, "{dialect:?}");
            assert_eq!(told(dialect, 3), Some(3), "{dialect:?}");
        }
        assert_eq!(Dialect::new(false, None), Dialect::default());
    }

    #[test]
    fn a_version_is_read_as_far_as_it_is_one() {
        let read = |version: &str| release(FieldValue::LongString(version.as_bytes()));
        assert_eq!(read("2.11.0-beta.1"), Some((2, 11)));
        assert_eq!(read("2.9.1"), Some((2, 9)));
        for other in ["", "2", "two.one", "2.x"] {
            assert_eq!(read(other), None, "{other}");
        }
    }

    #[test]
    fn what_began_with_a_release_is_so_from_then_on() {
        for (release, expected) in [
            ((3, 13), false),
            ((4, 2), false),
            ((4, 3), true),
            ((4, 10), true),
            ((5, 0), true),
        ] {
            let dialect = Dialect::new(false, Some(release));
            assert_eq!(dialect.cancels_over_timeouts, expected, "{release:?}");
            assert_eq!(dialect.spares_what_is_given_back, expected, "{release:?}");
            let delays = dialect.delays_retries == DelaysRetries::Quorum;
            assert_eq!(delays, expected, "{release:?}");
        }
    }
}
