//! What becomes of a message that a queue gave up: `x-death` and the rest as
//! RabbitMQ's `rabbit_dead_letter` writes them.

use std::time::Instant;

use snowshoe_codec::{
    FieldArray, FieldTable, FieldTableRef, FieldValue, PropertiesRef, TableError,
};

use super::manner::Manner;
use super::message::{Message, table_of};
use super::queue::Queue;
use super::vhost::{Dead, DeathReason, VirtualHost};

/// How many messages are dead-lettered before something else has its turn.
const LETTERS: usize = 64;

impl DeathReason {
    fn name(self) -> &'static str {
        match self {
            Self::Expired => "expired",
            Self::Rejected => "rejected",
            Self::MaxLength => "maxlen",
            Self::DeliveryLimit => "delivery_limit",
        }
    }
}

impl VirtualHost {
    /// Publishes what queues gave up to where they want it, up to a number of messages.
    ///
    /// `unix_time` is the time of day, in seconds.
    pub(super) fn bury(&mut self, now: Instant, unix_time: u64) {
        for _ in 0..LETTERS {
            let Some(dead) = self.dead.pop_front() else {
                break;
            };
            if let Some(letter) = self.dead_letter(&dead, unix_time) {
                let targets = self.route(&letter.exchange, &letter);
                for target in targets {
                    let name = self.queue(target).map(|queue| queue.name.clone());
                    // A stream of RabbitMQ 3.10 takes no letters (seen on 3.10.8).
                    let is_stream = self.queue(target).is_some_and(Queue::is_stream);
                    let is_lost = is_stream && self.manner == Manner::RabbitMq310;
                    let goes_round = dead.reason != DeathReason::Rejected
                        && name.is_some_and(|name| died_in(&letter, name.as_bytes()));
                    if !goes_round && !is_lost {
                        // Where its return counted (seen on 4.3.6).
                        let redelivered = dead.queued.returns > 0 && self.manner.is_rabbit_4_3();
                        self.enqueue(now, target, &letter, redelivered);
                    }
                }
            }
        }
    }

    /// The message as it is published again, if its queue wants that.
    fn dead_letter(&self, dead: &Dead, unix_time: u64) -> Option<Message> {
        let queue = self.queue(dead.queue)?;
        let exchange = queue.settings.dead_letter_exchange.clone()?;
        let message = &dead.queued.message;
        let headers = death_headers(
            message,
            queue.name.as_bytes(),
            dead.reason,
            unix_time,
            self.manner,
        );
        let mut letter =
            message.with_headers(&headers.unwrap_or_default(), |properties| PropertiesRef {
                expiration: None,
                ..properties
            });
        letter.exchange = exchange;
        if let Some(key) = &queue.settings.dead_letter_key {
            letter.routing_key = key.clone();
        }
        Some(letter)
    }
}

/// Whether the message came here before and has gone round since without being rejected anywhere.
/// The letter's own first entry is its latest death.
fn died_in(letter: &Message, queue: &[u8]) -> bool {
    let headers = letter.headers();
    let text = |death: FieldTableRef<'_>, key: &str, is: &[u8]| matches!(death.get(key), Ok(Some(FieldValue::LongString(text))) if text == is);
    for death in deaths(headers) {
        if text(death, "reason", b"rejected") {
            return false;
        }
        if text(death, "queue", queue) {
            return true;
        }
    }
    false
}

/// The entries of `x-death`, latest first.
fn deaths(headers: FieldTableRef<'_>) -> impl Iterator<Item = FieldTableRef<'_>> {
    let array = headers.get("x-death").ok().flatten();
    let array = array.and_then(FieldValue::as_array);
    let values = array.into_iter().flatten().map_while(Result::ok);
    values.filter_map(FieldValue::as_table)
}

/// The headers with one more death in them. The entries are in the order of their names.
fn death_headers(
    message: &Message,
    queue: &[u8],
    reason: DeathReason,
    unix_time: u64,
    manner: Manner,
) -> Result<FieldTable, TableError> {
    let headers = message.headers();
    let (same, others): (Vec<_>, Vec<_>) = deaths(headers).partition(|death| {
        let is = |key: &str, value: &[u8]| {
            matches!(death.get(key), Ok(Some(FieldValue::LongString(text))) if text == value)
        };
        is("queue", queue) && is("reason", reason.name().as_bytes())
    });
    let again = same.first().map(|death| once_more(*death));
    let latest = match again.filter(|death| fits(death.as_table_ref())) {
        Some(death) => death,
        None => first_death(message, queue, reason, unix_time, manner)?,
    };
    let is_first = !matches!(headers.get("x-death"), Ok(Some(_)));
    // Only a first death is left in the order in which it was written down, before RabbitMQ 4.
    let latest = match is_first || manner.is_rabbit_4() {
        true => latest,
        false => sorted(&latest),
    };
    let mut all = FieldArray::new().with(&latest)?;
    for death in others.into_iter().filter(|death| fits(*death)) {
        all.push(death)?;
    }
    let mut entries: Vec<_> = headers
        .iter()
        .map_while(Result::ok)
        .filter(|(name, _)| name.as_bytes() != b"x-death")
        .collect();
    let (why, exchange) = (reason.name().as_bytes(), message.exchange.as_bytes());
    let first = [
        ("x-first-death-reason", why),
        ("x-first-death-queue", queue),
        ("x-first-death-exchange", exchange),
    ];
    let last = [
        ("x-last-death-reason", why),
        ("x-last-death-queue", queue),
        ("x-last-death-exchange", exchange),
    ];
    let first = first.into_iter().filter(|_| is_first);
    let last = last.into_iter().filter(|_| manner.is_rabbit_4());
    for (name, value) in first.chain(last) {
        entries.retain(|(other, _)| other.as_bytes() != name.as_bytes());
        entries.push((name.try_into()?, FieldValue::LongString(value)));
    }
    entries.push(("x-death".try_into()?, FieldValue::from(&all)));
    entries.sort_by_key(|(name, _)| *name);
    Ok(table_of(entries.into_iter()))
}

/// Whether an entry can be written into `x-death`. One that a client made up need not: left in, it
/// would keep us from noting the deaths by which a circle is seen.
fn fits(death: FieldTableRef<'_>) -> bool {
    let array = FieldArray::new().with(death);
    array.is_ok_and(|array| FieldTable::new().insert("x-death", &array).is_ok())
}

fn sorted(table: &FieldTable) -> FieldTable {
    let mut entries: Vec<_> = table.iter().map_while(Result::ok).collect();
    entries.sort_by_key(|(name, _)| *name);
    table_of(entries.into_iter())
}

/// A death that happened before: only the count goes up.
fn once_more(death: FieldTableRef<'_>) -> FieldTable {
    table_of(
        death
            .iter()
            .map_while(Result::ok)
            .map(|(name, value)| match value.as_i64() {
                Some(count) if name.as_bytes() == b"count" => {
                    (name, FieldValue::I64(count.saturating_add(1)))
                }
                _ => (name, value),
            }),
    )
}

fn first_death(
    message: &Message,
    queue: &[u8],
    reason: DeathReason,
    unix_time: u64,
    manner: Manner,
) -> Result<FieldTable, TableError> {
    let mut keys = FieldArray::new();
    for key in message.routing_keys() {
        keys.push(FieldValue::LongString(key))?;
    }
    let mut death = FieldTable::new();
    let expiration = message.read().expiration;
    let expiration = expiration.map(|text| FieldValue::LongString(text.as_bytes()));
    if let Some(expiration) = expiration.filter(|_| manner.is_rabbit_4()) {
        death.insert("original-expiration", expiration)?;
    }
    death.insert("count", 1_i64)?;
    death.insert("reason", reason.name())?;
    death.insert("queue", FieldValue::LongString(queue))?;
    death.insert("time", FieldValue::Timestamp(unix_time))?;
    let exchange = message.exchange.as_bytes();
    death.insert("exchange", FieldValue::LongString(exchange))?;
    death.insert("routing-keys", &keys)?;
    if let Some(expiration) = expiration.filter(|_| !manner.is_rabbit_4()) {
        death.insert("original-expiration", expiration)?;
    }
    Ok(death)
}
