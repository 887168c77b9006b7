use std::time::{Duration, SystemTime};

use snowshoe_codec::{FieldTable, FieldValue, TableError};

/// A place in a [stream](crate::Queue::stream) at which a consumer
/// [begins](crate::ConsumerBuilder::stream_offset).
///
/// There is none that the broker would close the connection over.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum StreamOffset {
    /// The first message that the stream still has.
    First,
    /// The last chunk: the messages, up to some thousands, that the stream has stored together last.
    Last,
    /// Behind the last message: what is published from now on.
    Next,
    /// The message of this [offset](crate::Delivery::stream_offset), or where the stream has it no longer,
    /// the first that it has. One that the stream has not reached yet is waited for, without the messages
    /// before it.
    Offset(u64),
    /// The first chunk that was stored at this time or later, by the broker's clock. Parts of a second do
    /// not count, and times before 1970 are 1970.
    Timestamp(SystemTime),
    /// The first chunk that was stored so long ago or later, by the broker's clock alone. Parts of a second
    /// count as one, and it is a second at least. LavinMQ, which takes none, is told the
    /// [`Timestamp`](Self::Timestamp) by the clock of this machine.
    Interval(Duration),
}

impl StreamOffset {
    /// Sets the argument by which a consumer says so.
    pub(crate) fn set_in(self, arguments: &mut FieldTable) -> Result<(), TableError> {
        match self {
            Self::First => arguments.set(OFFSET, "first")?,
            Self::Last => arguments.set(OFFSET, "last")?,
            Self::Next => arguments.set(OFFSET, "next")?,
            // A number below 0 would be the first.
            Self::Offset(offset) => {
                arguments.set(OFFSET, i64::try_from(offset).unwrap_or(i64::MAX))?
            }
            Self::Timestamp(time) => {
                let since = time.duration_since(SystemTime::UNIX_EPOCH);
                let seconds = since.unwrap_or_default().as_secs();
                arguments.set(OFFSET, FieldValue::Timestamp(seconds))?
            }
            // RabbitMQ takes Y, M, D, h, m and s, and refuses an interval of 0 (seen on 3.10 and 4.3).
            Self::Interval(interval) => {
                let part = u64::from(interval.subsec_nanos() > 0);
                let seconds = interval.as_secs().saturating_add(part);
                arguments.set(OFFSET, format!("{}s", seconds.max(1)))?
            }
        };
        Ok(())
    }

    /// What an argument says, where it is one that is understood.
    pub(crate) fn of(arguments: &FieldTable) -> Option<Self> {
        let value = arguments.get(OFFSET).ok().flatten()?;
        match value {
            FieldValue::LongString(b"first") => Some(Self::First),
            FieldValue::LongString(b"last") => Some(Self::Last),
            FieldValue::LongString(b"next") => Some(Self::Next),
            FieldValue::LongString(text) => interval(text).map(Self::Interval),
            FieldValue::Timestamp(seconds) => SystemTime::UNIX_EPOCH
                .checked_add(Duration::from_secs(seconds))
                .map(Self::Timestamp),
            // Brokers take one below 0 for the first.
            value => value
                .as_i64()
                .map(|offset| Self::Offset(offset.try_into().unwrap_or(0))),
        }
    }
}

/// A number with a unit, as in `7D`.
fn interval(text: &[u8]) -> Option<Duration> {
    let (unit, number) = text.split_last()?;
    let seconds = match unit {
        b'Y' => 365 * DAY,
        b'M' => 30 * DAY,
        b'D' => DAY,
        b'h' => 3_600,
        b'm' => 60,
        b's' => 1,
        _ => return None,
    };
    let is_number = number.iter().all(u8::is_ascii_digit);
    let number: u64 = str::from_utf8(number).ok()?.parse().ok()?;
    (is_number && number > 0).then(|| Duration::from_secs(number.saturating_mul(seconds)))
}

/// What a place in a stream is called, as an argument of a consumer and as a header of a delivery.
pub(crate) const OFFSET: &str = "x-stream-offset";

const DAY: u64 = 24 * 3_600;

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use super::*;

    fn argument(offset: StreamOffset) -> FieldTable {
        let mut arguments = FieldTable::new();
        offset.set_in(&mut arguments).expect("it is short");
        arguments
    }

    fn said(value: FieldValue<'_>) -> Option<StreamOffset> {
        let arguments = FieldTable::new().with(OFFSET, value);
        StreamOffset::of(&arguments.expect("it is short"))
    }

    #[test]
    fn each_is_what_a_broker_takes_and_is_read_back() {
        let second = Duration::from_secs(1);
        for (offset, value) in [
            (StreamOffset::First, FieldValue::LongString(b"first")),
            (StreamOffset::Last, FieldValue::LongString(b"last")),
            (StreamOffset::Next, FieldValue::LongString(b"next")),
            (StreamOffset::Offset(0), FieldValue::I64(0)),
            (
                StreamOffset::Offset(u64::MAX >> 1),
                FieldValue::I64(i64::MAX),
            ),
            (
                StreamOffset::Timestamp(SystemTime::UNIX_EPOCH + second),
                FieldValue::Timestamp(1),
            ),
            (
                StreamOffset::Interval(second * 90),
                FieldValue::LongString(b"90s"),
            ),
        ] {
            assert_eq!(argument(offset).get(OFFSET), Ok(Some(value)));
            assert_eq!(said(value), Some(offset));
        }
    }

    #[test]
    fn what_a_broker_would_refuse_becomes_the_nearest_that_it_takes() {
        let before = SystemTime::UNIX_EPOCH - Duration::from_secs(1);
        for (offset, value) in [
            (StreamOffset::Offset(u64::MAX), FieldValue::I64(i64::MAX)),
            (StreamOffset::Timestamp(before), FieldValue::Timestamp(0)),
            (
                StreamOffset::Interval(Duration::ZERO),
                FieldValue::LongString(b"1s"),
            ),
            (
                StreamOffset::Interval(Duration::from_millis(1_001)),
                FieldValue::LongString(b"2s"),
            ),
        ] {
            assert_eq!(argument(offset).get(OFFSET), Ok(Some(value)));
        }
        let longest = argument(StreamOffset::Interval(Duration::MAX));
        let longest = longest.get(OFFSET).expect("it is well formed");
        let text = longest.and_then(FieldValue::as_str);
        assert_eq!(text, Some("18446744073709551615s"));
    }

    #[test]
    fn an_argument_is_understood_as_brokers_understand_it() {
        let hours = |hours: u64| Some(StreamOffset::Interval(Duration::from_secs(hours * 3_600)));
        for (text, expected) in [
            ("1h", hours(1)),
            ("60m", hours(1)),
            ("7D", hours(7 * 24)),
            ("2M", hours(60 * 24)),
            ("1Y", hours(365 * 24)),
            ("0s", None),
            ("1H", None),
            ("+1s", None),
            ("s", None),
            ("50", None),
            ("frist", None),
            ("", None),
        ] {
            assert_eq!(
                said(FieldValue::LongString(text.as_bytes())),
                expected,
                "{text}"
            );
        }
        assert_eq!(said(FieldValue::I32(30)), Some(StreamOffset::Offset(30)));
        assert_eq!(said(FieldValue::I64(-1)), Some(StreamOffset::Offset(0)));
        assert_eq!(said(FieldValue::Bool(true)), None);
        assert_eq!(StreamOffset::of(&FieldTable::new()), None);
    }
}
