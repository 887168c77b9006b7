use std::time::{Duration, Instant};

use bytes::Bytes;
use snowshoe_codec::properties::PERSISTENT;
use snowshoe_codec::{
    Content, FieldTable, FieldTableRef, FieldValue, Properties, PropertiesRef, ShortStr,
    ShortString,
};

use super::manner::Manner;
use super::refusal::Refusal;

/// A message as it was published. Cloning shares its bytes.
#[derive(Clone, Debug)]
pub(super) struct Message {
    pub(super) exchange: ShortString,
    pub(super) routing_key: ShortString,
    /// Byte for byte as the publisher wrote them, well-formed or not.
    pub(super) properties: Properties,
    pub(super) body: Bytes,
}

impl Message {
    pub(super) fn of(content: &Content) -> Self {
        Self {
            exchange: content.exchange().to_owned(),
            routing_key: content.routing_key().to_owned(),
            properties: Properties::from_encoded(Bytes::copy_from_slice(content.raw_properties())),
            body: content.body_bytes(),
        }
    }

    /// The properties as far as they can be understood: what cannot be read has no effect.
    pub(super) fn read(&self) -> PropertiesRef<'_> {
        self.properties.decode().unwrap_or_default()
    }

    pub(super) fn headers(&self) -> FieldTableRef<'_> {
        let headers = self.read().headers;
        headers.unwrap_or(FieldTableRef::new(&[]))
    }

    /// What it is routed by: its routing key, and those in its headers `CC` and `BCC`.
    pub(super) fn routing_keys(&self) -> Vec<&[u8]> {
        let headers = self.headers();
        let mut keys = vec![self.routing_key.as_bytes()];
        for name in ["CC", "BCC"] {
            let more = headers.get(name).ok().flatten();
            if let Some(more) = more.and_then(FieldValue::as_array) {
                let more = more.iter().map_while(Result::ok);
                keys.extend(more.filter_map(FieldValue::as_bytes));
            }
        }
        keys
    }

    /// The same message as its receivers see it: without the header `BCC`.
    pub(super) fn without_blind_copies(self) -> Self {
        let headers = self.headers();
        if !matches!(headers.get("BCC"), Ok(Some(_))) {
            return self;
        }
        let others = headers.iter().map_while(Result::ok);
        let others = others.filter(|(name, _)| name.as_bytes() != b"BCC");
        let headers = table_of(others);
        self.with_headers(&headers, |properties| properties)
    }

    /// The same message with other headers, and with other properties.
    pub(super) fn with_headers(
        &self,
        headers: &FieldTable,
        change: impl FnOnce(PropertiesRef<'_>) -> PropertiesRef<'_>,
    ) -> Self {
        self.with_properties(|properties| PropertiesRef {
            headers: Some(headers.as_table_ref()),
            ..change(properties)
        })
    }

    /// The same message with one more header, or another value of it. All are in the order of their
    /// names then (RabbitMQ: `rabbit_misc:set_table_value`).
    pub(super) fn with_header(&self, name: &'static str, value: FieldValue<'_>) -> Self {
        let name = ShortString::from_static(name);
        let headers = self.headers().iter().map_while(Result::ok);
        let mut headers: Vec<_> = headers
            .filter(|(other, _)| *other != name.as_short_str())
            .chain([(name.as_short_str(), value)])
            .collect();
        headers.sort_by_key(|(name, _)| *name);
        let headers = table_of(headers.into_iter());
        self.with_headers(&headers, |properties| properties)
    }

    /// The same message with its headers in the order of their names, and the first of each name, as
    /// RabbitMQ 4 hands them on.
    pub(super) fn with_sorted_headers(self) -> Self {
        let headers: Vec<_> = self.headers().iter().map_while(Result::ok).collect();
        if headers.is_sorted_by(|(one, _), (other, _)| one < other) {
            return self;
        }
        let mut sorted = headers;
        sorted.sort_by_key(|(name, _)| *name);
        sorted.dedup_by_key(|(name, _)| *name);
        let sorted = table_of(sorted.into_iter());
        self.with_headers(&sorted, |properties| properties)
    }

    /// The same message with other properties.
    pub(super) fn with_properties<'a>(
        &'a self,
        change: impl FnOnce(PropertiesRef<'a>) -> PropertiesRef<'a>,
    ) -> Self {
        let properties = change(self.read()).encode();
        Self {
            properties: properties.unwrap_or_else(|_| self.properties.clone()),
            ..self.clone()
        }
    }

    pub(super) fn is_persistent(&self) -> bool {
        self.read().delivery_mode == Some(PERSISTENT)
    }

    /// How long it may wait in a queue, by its own word.
    pub(super) fn expiration(&self) -> Option<Duration> {
        let text = self.read().expiration?;
        let millis = text.as_str()?.parse().ok()?;
        Some(Duration::from_millis(millis))
    }

    /// Whether RabbitMQ can read its properties, to the last header.
    fn is_readable(&self) -> bool {
        let is_readable = |table: FieldTableRef<'_>| table.iter().all(|entry| entry.is_ok());
        let properties = self.properties.decode();
        properties.is_ok_and(|properties| properties.headers.is_none_or(is_readable))
    }

    /// Whether a broker takes it from this user.
    pub(super) fn check(&self, user: &str, manner: Manner) -> Result<(), Refusal> {
        if !manner.is_lavin() && !self.is_readable() {
            return Err(Refusal::crash());
        }
        let properties = self.read();
        if let Some(claimed) = properties.user_id
            && claimed.as_bytes() != user.as_bytes()
        {
            return Err(Refusal::precondition(format_args!(
                "user_id property set to '{claimed}' but authenticated user was '{user}'"
            )));
        }
        match properties.expiration {
            Some(text) => check_expiration(&text.to_string_lossy()),
            None => Ok(()),
        }
    }
}

/// A table of entries that were read from another, without what cannot be sent.
pub(super) fn table_of<'a>(
    entries: impl Iterator<Item = (ShortStr<'a>, FieldValue<'a>)>,
) -> FieldTable {
    let mut table = FieldTable::new();
    for (name, value) in entries {
        // What is refused here, a number that is not finite, is left out.
        let _ = table.insert(name, value);
    }
    table
}

fn check_expiration(text: &str) -> Result<(), Refusal> {
    let refuse = |why: String| {
        Err(Refusal::precondition(format_args!(
            "invalid expiration '{text}': {why}"
        )))
    };
    let digits = text.len() - text.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    match text.parse::<i64>() {
        Ok(millis) if millis < 0 => refuse(format!("{{value_negative,{millis}}}")),
        Ok(millis) if millis > TTL_MAX => refuse(format!("{{value_too_large,{millis}}}")),
        Ok(_) => Ok(()),
        Err(_) if digits > 0 => refuse(format!("{{leftover_string,\"{}\"}}", &text[digits..])),
        Err(_) => refuse("no_integer".to_owned()),
    }
}

/// The longest time to live: ten years, in milliseconds (RabbitMQ: `check_expiry`).
pub(super) const TTL_MAX: i64 = 10 * 365 * 24 * 60 * 60 * 1000;

/// Where a message stands in its queue: those of a higher priority first, then in the order in which
/// they came. It stands there again when it is put back.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Place {
    /// The highest priority has the lowest number.
    pub(super) rank: u8,
    pub(super) number: u64,
}

/// A message in a queue, or on its way from there to a consumer.
#[derive(Clone, Debug)]
pub(super) struct Queued {
    pub(super) message: Message,
    pub(super) place: Place,
    /// Whether it may have been delivered before.
    pub(super) redelivered: bool,
    /// How often it was delivered and came back, as far as that counts.
    pub(super) returns: u32,
    /// How often it was delivered and came back at all.
    pub(super) acquired: u32,
    pub(super) expires_at: Option<Instant>,
}

impl Queued {
    /// A message that a queue did not take.
    pub(super) fn never(message: Message) -> Self {
        Self {
            message,
            place: Place { rank: 0, number: 0 },
            redelivered: false,
            returns: 0,
            acquired: 0,
            expires_at: None,
        }
    }

    /// The message with the number of times it came back, as quorum queues tell it. RabbitMQ 3.10
    /// says so of one that never did, too, where it is fetched.
    pub(super) fn with_count(&self, manner: Manner, fetched: bool) -> Message {
        let tells_none = manner == Manner::RabbitMq310 && fetched;
        let counts = [
            ("x-acquired-count", self.acquired, manner.is_rabbit_4_3()),
            ("x-delivery-count", self.returns, true),
        ];
        let mut message = self.message.clone();
        for (name, count, is_told) in counts {
            if is_told && (count > 0 || tells_none) {
                message = message.with_header(name, FieldValue::I64(count.into()));
            }
        }
        message
    }
}
