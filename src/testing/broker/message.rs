use std::time::{Duration, Instant};

use bytes::Bytes;
use snowshoe_codec::properties::PERSISTENT;
use snowshoe_codec::{
    Content, FieldTable, FieldTableRef, FieldValue, Properties, PropertiesRef, ShortStr,
    ShortString,
};

use super::options::Manner;
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
        let properties = PropertiesRef {
            headers: Some(headers.as_table_ref()),
            ..change(self.read())
        };
        Self {
            properties: properties
                .encode()
                .unwrap_or_else(|_| self.properties.clone()),
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
        if manner == Manner::RabbitMq && !self.is_readable() {
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
    /// How often it was delivered and came back.
    pub(super) returns: u32,
    pub(super) expires_at: Option<Instant>,
}

impl Queued {
    /// A message that a queue did not take.
    pub(super) fn never(message: Message) -> Self {
        Self {
            message,
            place: Place { rank: 0, number: 0 },
            returns: 0,
            expires_at: None,
        }
    }

    /// The message with the number of times it came back, as quorum queues tell it.
    pub(super) fn with_count(&self) -> Message {
        let name = ShortString::from_static("x-delivery-count");
        let headers = self.message.headers();
        let count = (name.as_short_str(), FieldValue::I64(self.returns.into()));
        let others = headers.iter().map_while(Result::ok);
        let others = others.filter(|(other, _)| *other != name.as_short_str());
        let headers = table_of(others.chain([count]));
        self.message.with_headers(&headers, |properties| properties)
    }
}
