use std::time::Duration;

use snowshoe_codec::{FieldTable, FieldValue, ShortStr, ShortString};

use super::delay::DelayedRetry;
use super::stream::max_age;
use crate::testing::broker::manner::Manner;
use crate::testing::broker::message::TTL_MAX;
use crate::testing::broker::refusal::{Refusal, named};

/// What a queue's arguments come to.
#[derive(Clone, Debug, Default)]
pub(crate) struct Settings {
    pub(crate) kind: Kind,
    pub(crate) message_ttl: Option<Duration>,
    pub(crate) expires: Option<Duration>,
    pub(crate) max_length: Option<u64>,
    pub(crate) max_bytes: Option<u64>,
    pub(crate) overflow: Overflow,
    pub(crate) dead_letter_exchange: Option<ShortString>,
    pub(crate) dead_letter_key: Option<ShortString>,
    pub(crate) max_priority: u8,
    pub(crate) single_active_consumer: bool,
    /// How often a message may come back.
    pub(crate) delivery_limit: Option<i64>,
    /// Whether it is told of a message how often it came back.
    pub(crate) tells_counts: bool,
    /// Which messages that come back wait before they are delivered again.
    pub(crate) delayed_retry: Option<DelayedRetry>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Kind {
    #[default]
    Classic,
    Quorum,
    Stream,
}

impl Kind {
    /// RabbitMQ's name for it.
    fn module(self) -> &'static str {
        match self {
            Self::Classic => "rabbit_classic_queue",
            Self::Quorum => "rabbit_quorum_queue",
            Self::Stream => "rabbit_stream_queue",
        }
    }
}

/// What a full queue does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Overflow {
    #[default]
    DropHead,
    RejectPublish,
    RejectPublishDeadLetter,
}

/// The arguments that must be the same when a queue is declared again, in the order in which
/// they are compared.
pub(crate) fn compared(manner: Manner) -> impl Iterator<Item = &'static str> {
    let delays: &[&str] = if manner.is_rabbit_4_3() { &DELAYS } else { &[] };
    COMPARED.iter().chain(delays.iter().rev()).copied()
}

const COMPARED: [&str; 14] = [
    "x-expires",
    "x-message-ttl",
    "x-dead-letter-exchange",
    "x-dead-letter-routing-key",
    "x-max-length",
    "x-max-length-bytes",
    "x-max-priority",
    "x-overflow",
    "x-single-active-consumer",
    "x-queue-type",
    "x-queue-mode",
    "x-delivery-limit",
    "x-max-age",
    "x-stream-max-segment-size-bytes",
];

/// What others than quorum queues do not know, and no broker before RabbitMQ 4.3.
const DELAYS: [&str; 3] = [
    "x-delayed-retry-max",
    "x-delayed-retry-min",
    "x-delayed-retry-type",
];

impl Settings {
    /// Reads the arguments of a declaration, or says in RabbitMQ's words what is wrong with them.
    pub(crate) fn read(
        virtual_host: &ShortString,
        queue: &ShortString,
        arguments: &FieldTable,
        manner: Manner,
    ) -> Result<Self, Refusal> {
        let reader = Reader {
            queue: named("queue", virtual_host, queue),
            arguments,
            manner,
        };
        let kind = reader.kind()?;
        reader.check_fitting(kind)?;
        reader.check_age()?;
        let settings = Self {
            kind,
            message_ttl: reader.millis("x-message-ttl", 0)?,
            expires: reader.millis("x-expires", 1)?,
            max_length: reader.count("x-max-length")?,
            max_bytes: reader.count("x-max-length-bytes")?,
            overflow: reader.overflow()?,
            dead_letter_exchange: reader.name("x-dead-letter-exchange")?,
            dead_letter_key: reader.text("x-dead-letter-routing-key")?.map(short),
            max_priority: reader.max_priority()?,
            single_active_consumer: reader.flag("x-single-active-consumer")?,
            delivery_limit: reader.delivery_limit(kind)?,
            tells_counts: match manner.is_lavin() {
                true => reader.get("x-delivery-limit").is_some(),
                false => kind == Kind::Quorum,
            },
            delayed_retry: reader.delayed_retry(kind)?,
        };
        if settings.dead_letter_key.is_some() && settings.dead_letter_exchange.is_none() {
            return Err(reader.invalid(
                "x-dead-letter-routing-key",
                "routing_key_but_no_dlx_defined",
            ));
        }
        Ok(settings)
    }
}

struct Reader<'a> {
    queue: String,
    arguments: &'a FieldTable,
    manner: Manner,
}

impl<'a> Reader<'a> {
    fn get(&self, key: &str) -> Option<FieldValue<'a>> {
        self.arguments.get(key).ok().flatten()
    }

    fn invalid(&self, key: &str, why: impl std::fmt::Display) -> Refusal {
        let queue = &self.queue;
        Refusal::precondition(format_args!("invalid arg '{key}' for {queue}: {why}"))
    }

    fn unacceptable(&self, key: &str, value: FieldValue<'_>) -> Refusal {
        self.invalid(
            key,
            format_args!("{{unacceptable_type,{}}}", type_name(value)),
        )
    }

    fn integer(&self, key: &str) -> Result<Option<i64>, Refusal> {
        let Some(value) = self.get(key) else {
            return Ok(None);
        };
        match value.as_i64() {
            Some(integer) => Ok(Some(integer)),
            None => Err(self.invalid(key, not_an_integer(value))),
        }
    }

    fn count(&self, key: &str) -> Result<Option<u64>, Refusal> {
        let Some(value) = self.integer(key)? else {
            return Ok(None);
        };
        match value.try_into() {
            Ok(count) => Ok(Some(count)),
            Err(_) => Err(self.invalid(key, format_args!("{{value_negative,{value}}}"))),
        }
    }

    fn millis(&self, key: &str, least: i64) -> Result<Option<Duration>, Refusal> {
        match self.integer(key)? {
            None => Ok(None),
            Some(0) if least > 0 => Err(self.invalid(key, "{value_zero,0}")),
            Some(value) if value < 0 => {
                Err(self.invalid(key, format_args!("{{value_negative,{value}}}")))
            }
            Some(value) if value > TTL_MAX => {
                Err(self.invalid(key, format_args!("{{value_too_large,{value}}}")))
            }
            Some(value) => Ok(Some(Duration::from_millis(value.unsigned_abs()))),
        }
    }

    fn text(&self, key: &str) -> Result<Option<&'a [u8]>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(FieldValue::LongString(text)) => Ok(Some(text)),
            Some(other) => Err(self.unacceptable(key, other)),
        }
    }

    fn name(&self, key: &str) -> Result<Option<ShortString>, Refusal> {
        match self.get(key) {
            None => Ok(None),
            Some(FieldValue::LongString(text)) => Ok(Some(short(text))),
            Some(other) => Err(Refusal::precondition(format_args!(
                "invalid type '{}' for arg '{key}' in {}",
                type_name(other),
                self.queue
            ))),
        }
    }

    fn flag(&self, key: &str) -> Result<bool, Refusal> {
        match self.get(key) {
            None => Ok(false),
            Some(FieldValue::Bool(flag)) => Ok(flag),
            Some(other) => Err(self.unacceptable(key, other)),
        }
    }

    fn max_priority(&self) -> Result<u8, Refusal> {
        const KEY: &str = "x-max-priority";
        let Some(value) = self.integer(KEY)? else {
            return Ok(0);
        };
        match value.try_into() {
            Ok(priority) => Ok(priority),
            Err(_) if value < 0 => {
                Err(self.invalid(KEY, format_args!("{{value_negative,{value}}}")))
            }
            Err(_) => Err(self.invalid(KEY, format_args!("{{max_value_exceeded,{value}}}"))),
        }
    }

    /// RabbitMQ 4 has a limit where nothing is said, and none where it is negative; 3.10 takes that for
    /// a limit that the first return exceeds, and LavinMQ refuses it.
    fn delivery_limit(&self, kind: Kind) -> Result<Option<i64>, Refusal> {
        const KEY: &str = "x-delivery-limit";
        let limit = self.integer(KEY)?;
        if self.manner.is_lavin() && limit.is_some_and(|limit| limit < 0) {
            let text = format!("{KEY} header less than minimum value 0");
            return Err(Refusal::precondition(text));
        }
        let default = self
            .manner
            .delivery_limit()
            .filter(|_| kind == Kind::Quorum);
        let is_limit = |limit: &i64| *limit >= 0 || !self.manner.is_rabbit_4();
        Ok(limit.or(default).filter(is_limit))
    }

    /// Others than quorum queues of RabbitMQ 4.3 take it for nothing.
    fn delayed_retry(&self, kind: Kind) -> Result<Option<DelayedRetry>, Refusal> {
        if kind != Kind::Quorum || !self.manner.is_rabbit_4_3() {
            return Ok(None);
        }
        let (failed, returned) = match self.text("x-delayed-retry-type")? {
            Some(b"failed") => (true, false),
            Some(b"returned") => (false, true),
            Some(b"all") => (true, true),
            _ => return Ok(None),
        };
        let min = self.millis("x-delayed-retry-min", 1)?;
        let min = min.unwrap_or(Duration::ZERO);
        let max = self.millis("x-delayed-retry-max", 1)?.unwrap_or(min);
        Ok(Some(DelayedRetry {
            failed,
            returned,
            min,
            max,
        }))
    }

    /// Whether there is no argument that this type of queue does not know.
    fn check_fitting(&self, kind: Kind) -> Result<(), Refusal> {
        let unknown: &[&str] = match kind {
            // LavinMQ has but one type of queue beside streams.
            Kind::Classic if self.manner.is_lavin() => return Ok(()),
            Kind::Classic => &["x-delivery-limit", "x-max-age", SEGMENT_SIZE],
            Kind::Quorum => &["x-max-priority", "x-max-age", SEGMENT_SIZE],
            Kind::Stream => &[
                "x-message-ttl",
                "x-expires",
                "x-max-length",
                "x-max-priority",
                "x-overflow",
                "x-delivery-limit",
                "x-single-active-consumer",
                "x-dead-letter-exchange",
                "x-dead-letter-routing-key",
            ],
        };
        let refuses_delays = kind != Kind::Quorum && self.manner.is_rabbit_4_3();
        let delays: &[&str] = if refuses_delays { &DELAYS } else { &[] };
        match delays
            .iter()
            .chain(unknown)
            .find(|key| self.get(key).is_some())
        {
            Some(key) => Err(invalid_for(key, &self.queue, kind)),
            None => Ok(()),
        }
    }

    /// RabbitMQ fails over an age that is none, before 4.3.
    fn check_age(&self) -> Result<(), Refusal> {
        const KEY: &str = "x-max-age";
        match self.text(KEY)? {
            Some(text) if max_age(text).is_none() => Err(if self.manner.is_rabbit_4_3() {
                self.invalid(KEY, "invalid_max_age")
            } else if self.manner.is_lavin() {
                Refusal::precondition(format_args!("{KEY} format invalid"))
            } else {
                Refusal::crash()
            }),
            _ => Ok(()),
        }
    }

    fn overflow(&self) -> Result<Overflow, Refusal> {
        const KEY: &str = "x-overflow";
        match self.text(KEY)? {
            None | Some(b"drop-head") => Ok(Overflow::DropHead),
            Some(b"reject-publish") => Ok(Overflow::RejectPublish),
            Some(b"reject-publish-dlx") => Ok(Overflow::RejectPublishDeadLetter),
            Some(_) => Err(self.invalid(KEY, "invalid_overflow")),
        }
    }

    fn kind(&self) -> Result<Kind, Refusal> {
        const KEY: &str = "x-queue-type";
        match self.text(KEY)? {
            None | Some(b"classic") => Ok(Kind::Classic),
            // LavinMQ takes it, and gives a queue like any other (seen on 2.9.1).
            Some(b"quorum") if self.manner.is_lavin() => Ok(Kind::Classic),
            Some(b"quorum") => Ok(Kind::Quorum),
            Some(b"stream") => Ok(Kind::Stream),
            Some(other) => {
                let other = String::from_utf8_lossy(other);
                let why = format!("\"unsupported queue type '{other}'\"");
                Err(self.invalid(KEY, why))
            }
        }
    }
}

/// A name; one that is too long for anything to have it names nothing.
fn short(text: &[u8]) -> ShortString {
    ShortStr::new(text).unwrap_or_default().to_owned()
}

/// What RabbitMQ says about an argument that a type of queue does not know.
pub(crate) fn invalid_for(key: &str, queue: &str, kind: Kind) -> Refusal {
    let kind = kind.module();
    Refusal::precondition(format_args!(
        "invalid arg '{key}' for {queue} of queue type {kind}"
    ))
}

const SEGMENT_SIZE: &str = "x-stream-max-segment-size-bytes";

/// What RabbitMQ says about an argument that is to be an integer.
pub(crate) fn not_an_integer(value: FieldValue<'_>) -> String {
    format!("\"expected integer, got {}\"", type_name(value))
}

/// RabbitMQ's name for the type of a value.
pub(crate) fn type_name(value: FieldValue<'_>) -> &'static str {
    match value {
        FieldValue::Bool(_) => "bool",
        FieldValue::I8(_) => "byte",
        FieldValue::U8(_) => "unsignedbyte",
        FieldValue::I16(_) => "short",
        FieldValue::U16(_) => "unsignedshort",
        FieldValue::I32(_) => "signedint",
        FieldValue::U32(_) => "unsignedint",
        FieldValue::I64(_) => "long",
        FieldValue::F32(_) => "float",
        FieldValue::F64(_) => "double",
        FieldValue::Decimal { .. } => "decimal",
        FieldValue::LongString(_) => "longstr",
        FieldValue::Timestamp(_) => "timestamp",
        FieldValue::Table(_) => "table",
        FieldValue::Array(_) => "array",
        FieldValue::ByteArray(_) => "binary",
        _ => "void",
    }
}
