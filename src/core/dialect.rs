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
}

impl Dialect {
    /// That of the broker with these properties.
    pub fn of(server: &FieldTable) -> Self {
        let text = |name| match server.get(name) {
            Ok(Some(FieldValue::LongString(text))) => String::from_utf8_lossy(text),
            _ => Cow::Borrowed(""),
        };
        let major = text("version").split('.').next().map(str::parse::<u32>);
        Self {
            leaves_out_unlimited: match &*text("product") {
                "LavinMQ" => true,
                "RabbitMQ" => major.is_some_and(|major| major.is_ok_and(|major| major < 4)),
                _ => false,
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
}
