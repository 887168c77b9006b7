//! Streams: what was published stays, and whoever reads begins where they like.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use snowshoe_codec::{FieldTable, FieldValue, PropertiesRef, ShortString};

use crate::testing::broker::manner::Manner;
use crate::testing::broker::message::{Message, Place, Queued};
use crate::testing::broker::refusal::Refusal;

/// All that was published to a stream.
///
/// Each message is a chunk of its own, so that the last of them is the last message; RabbitMQ puts
/// several into one, as it finds them. Nothing is ever dropped, whatever the limits of the stream.
#[derive(Debug, Default)]
pub(crate) struct Log {
    entries: Vec<Entry>,
    /// Up to where readers had come, by their consumer tags, where the broker keeps it for them.
    kept: BTreeMap<ShortString, u64>,
}

#[derive(Debug)]
struct Entry {
    message: Message,
    since: Instant,
}

/// Where a reader of a stream stands.
#[derive(Clone, Debug)]
pub(crate) struct Cursor {
    /// The offset of the message that comes next.
    next: u64,
    /// What was given back, and comes again before that.
    again: BTreeSet<u64>,
    /// Whether the broker keeps it for the next reader of this name.
    is_kept: bool,
}

/// From where a stream is to be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Start {
    First,
    Last,
    Next,
    Offset(u64),
    /// What is not older.
    Age(Duration),
    /// Where the last reader of this name had come to, or else what comes next.
    Kept,
}

impl Log {
    pub(super) fn push(&mut self, now: Instant, message: Message) {
        self.entries.push(Entry {
            message,
            since: now,
        });
    }

    pub(super) fn messages(&self) -> impl Iterator<Item = Queued> {
        let messages = self.entries.iter().map(|entry| entry.message.clone());
        messages.map(Queued::never)
    }

    /// A reader that begins there.
    pub(crate) fn cursor(&self, now: Instant, start: Start, tag: &ShortString) -> Cursor {
        let end = self.entries.len() as u64;
        let is_younger = |entry: &Entry, age| now.saturating_duration_since(entry.since) <= age;
        let next = match start {
            Start::First => 0,
            Start::Last => end.saturating_sub(1),
            Start::Next => end,
            Start::Offset(offset) => offset,
            Start::Age(age) => self.entries.partition_point(|it| !is_younger(it, age)) as u64,
            Start::Kept => self.kept.get(tag).copied().unwrap_or(end),
        };
        Cursor {
            next,
            again: BTreeSet::new(),
            is_kept: start == Start::Kept,
        }
    }

    /// Whether there is something for a reader.
    pub(super) fn has_more(&self, cursor: &Cursor) -> bool {
        !cursor.again.is_empty() || cursor.next < self.entries.len() as u64
    }

    /// What a reader gets next.
    pub(super) fn read(&self, cursor: &mut Cursor, manner: Manner) -> Option<Queued> {
        let again = cursor.again.pop_first();
        let offset = again.unwrap_or(cursor.next);
        let entry = self.entries.get(usize::try_from(offset).ok()?)?;
        if again.is_none() {
            cursor.next += 1;
        }
        let number = FieldValue::I64(i64::try_from(offset).unwrap_or(i64::MAX));
        let mut message = entry.message.with_header("x-stream-offset", number);
        if manner.is_rabbit_4() && message.read().delivery_mode.is_none() {
            // It knows of each message whether it is durable (seen on 4.0.5 and 4.3.6).
            message = message.with_properties(|properties| PropertiesRef {
                delivery_mode: Some(1),
                ..properties
            });
        }
        Some(Queued {
            redelivered: again.is_some(),
            place: Place {
                rank: 0,
                number: offset,
            },
            ..Queued::never(message)
        })
    }

    /// A reader acknowledged something.
    pub(super) fn keep(&mut self, tag: &ShortString, cursor: &Cursor) {
        if cursor.is_kept {
            self.kept.insert(tag.clone(), cursor.next);
        }
    }
}

impl Cursor {
    /// A message comes again.
    pub(super) fn give_back(&mut self, offset: u64) {
        self.again.insert(offset);
    }
}

impl Start {
    /// Reads what a consumer says of it, `unix_time` being the time of day in seconds.
    pub(crate) fn read(
        arguments: &FieldTable,
        unix_time: u64,
        tag: &ShortString,
        queue: &str,
        manner: Manner,
    ) -> Result<Self, Refusal> {
        const KEY: &str = "x-stream-offset";
        let Some(value) = arguments.get(KEY).ok().flatten() else {
            let has_name = !tag.as_bytes().starts_with(b"amq.ctag-");
            return Ok(match manner.is_lavin() && has_name {
                true => Self::Kept,
                false => Self::Next,
            });
        };
        if let Some(offset) = value.as_i64() {
            // One below all that there are is the first.
            return Ok(Self::Offset(offset.try_into().unwrap_or(0)));
        }
        let age = |text| max_age(text).filter(|_| !manner.is_lavin());
        match value {
            FieldValue::Timestamp(at) => match unix_time.checked_sub(at) {
                Some(age) => Ok(Self::Age(Duration::from_secs(age))),
                None => Ok(Self::Next),
            },
            FieldValue::LongString(b"first") => Ok(Self::First),
            FieldValue::LongString(b"last") => Ok(Self::Last),
            FieldValue::LongString(b"next") => Ok(Self::Next),
            FieldValue::LongString(text) if age(text).is_some() => {
                Ok(age(text).map_or(Self::Next, Self::Age))
            }
            _ if manner.is_lavin() => Err(Refusal::precondition(
                "x-stream-offset must be an integer, a timestamp, 'first', 'next' or 'last'",
            )),
            FieldValue::LongString(text) if manner.is_rabbit_4_3() => {
                let text = String::from_utf8_lossy(text);
                let why = format!("{{invalid_stream_offset_arg,{{longstr,<<\"{text}\">>}}}}");
                Err(Refusal::precondition(format_args!(
                    "invalid arg '{KEY}' for {queue}: {why}"
                )))
            }
            _ => Err(Refusal::crash()),
        }
    }
}

/// A time such as `7D`, if it is one.
pub(super) fn max_age(text: &[u8]) -> Option<Duration> {
    let (unit, number) = text.split_last()?;
    let number: u64 = std::str::from_utf8(number).ok()?.parse().ok()?;
    const DAY: u64 = 24 * 60 * 60;
    let seconds = match unit {
        b'Y' => 365 * DAY,
        b'M' => 30 * DAY,
        b'D' => DAY,
        b'h' => 60 * 60,
        b'm' => 60,
        b's' => 1,
        _ => return None,
    };
    Some(Duration::from_secs(number.saturating_mul(seconds)))
}
