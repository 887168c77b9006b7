//! What one broker takes otherwise than the others, by what it says of itself in its greeting.

use std::borrow::Cow;

use snowshoe_codec::method::queue;
use snowshoe_codec::{FieldTable, FieldValue, Method};

use crate::declare::UNLIMITED_DELIVERIES;

const DELIVERY_LIMIT: &str = "x-delivery-limit";

/// How a broker wants to be spoken to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dialect {
    /// Whether no delivery limit is to be told by telling none. RabbitMQ 3 takes -1 for a limit that is
    /// exceeded when a message first comes back (seen on 3.10.8), LavinMQ refuses it (406, seen on 2.9.1).
    leaves_out_unlimited: bool,
    /// Whether a basic.cancel may be for a delivery that was unsettled for too long, and leaves the others of
    /// that consumer where they are. RabbitMQ 4.3 does so for quorum queues; those before end the channel
    /// (seen on 4.3.6, 4.0.5 and 3.10.8).
    pub cancels_over_timeouts: bool,
    /// Whether a message of a quorum queue that is given back before its channel ends (basic.nack) is spared
    /// a count against the delivery limit (seen on RabbitMQ 4.3.6).
    pub spares_what_is_given_back: bool,
}

impl Dialect {
    /// That of the broker with these properties.
    pub fn of(server: &FieldTable) -> Self {
        let text = |name| match server.get(name) {
            Ok(Some(FieldValue::LongString(text))) => String::from_utf8_lossy(text),
            _ => Cow::Borrowed(""),
        };
        let version = text("version");
        let mut numbers = version.split('.').map_while(|it| it.parse::<u32>().ok());
        // One that is not told is taken for one of which nothing is known.
        let version = numbers
            .next()
            .map(|major| (major, numbers.next().unwrap_or(0)));
        let rabbitmq = version.filter(|_| text("product") == "RabbitMQ");
        let is_from = |first| rabbitmq.is_some_and(|version| version >= first);
        Self {
            leaves_out_unlimited: text("product") == "LavinMQ"
                || rabbitmq.is_some_and(|it| it < (4, 0)),
            cancels_over_timeouts: is_from((4, 3)),
            spares_what_is_given_back: is_from((4, 3)),
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
        let limit = declare.arguments.get(DELIVERY_LIMIT).ok().flatten();
        if self.leaves_out_unlimited
            && limit.and_then(FieldValue::as_i64) == Some(UNLIMITED_DELIVERIES)
        {
            // What cannot be read could not be sent either.
            _ = declare.arguments.remove(DELIVERY_LIMIT);
        }
        declare
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(product: &str, version: &str, limit: i64) -> Option<i64> {
        let server = FieldTable::new().with("product", product);
        let server = server.and_then(|it| it.with("version", version)).unwrap();
        let arguments = FieldTable::new()
            .with("x-queue-type", "quorum")
            .and_then(|it| it.with(DELIVERY_LIMIT, limit))
            .unwrap();
        let declare = queue::Declare {
            arguments,
            ..Default::default()
        };
        let Method::QueueDeclare(said) = Dialect::of(&server).say(declare.into()) else {
            panic!("it is another method");
        };
        assert!(said.arguments.get("x-queue-type").unwrap().is_some());
        let limit = said.arguments.get(DELIVERY_LIMIT).unwrap();
        limit.and_then(FieldValue::as_i64)
    }

    #[test]
    fn each_broker_is_told_in_its_own_way_that_there_is_no_limit() {
        for (product, version, expected) in [
            ("RabbitMQ", "3.10.8", None),
            ("RabbitMQ", "3.13.7", None),
            ("RabbitMQ", "4.0.5", Some(UNLIMITED_DELIVERIES)),
            ("RabbitMQ", "4.3.6", Some(UNLIMITED_DELIVERIES)),
            ("RabbitMQ", "10.0", Some(UNLIMITED_DELIVERIES)),
            ("LavinMQ", "2.9.1", None),
            // Of these nothing is known.
            ("RabbitMQ", "", Some(UNLIMITED_DELIVERIES)),
            ("", "3.1", Some(UNLIMITED_DELIVERIES)),
        ] {
            assert_eq!(
                told(product, version, UNLIMITED_DELIVERIES),
                expected,
                "{product} {version}"
            );
            assert_eq!(told(product, version, 3), Some(3), "{product} {version}");
        }
        assert_eq!(Dialect::of(&FieldTable::new()), Dialect::default());
    }

    #[test]
    fn what_began_with_a_version_is_so_from_then_on() {
        for (version, expected) in [
            ("3.13.7", false),
            ("4.2.9", false),
            ("4.3.0", true),
            ("4.10.0", true),
            ("5", true),
            ("4", false),
            ("4.x", false),
            ("x", false),
        ] {
            let server = FieldTable::new().with("product", "RabbitMQ");
            let server = server.and_then(|it| it.with("version", version)).unwrap();
            let dialect = Dialect::of(&server);
            assert_eq!(dialect.cancels_over_timeouts, expected, "{version}");
            assert_eq!(dialect.spares_what_is_given_back, expected, "{version}");
        }
    }
}
