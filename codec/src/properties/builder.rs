use std::ops::Range;

use bytes::BufMut;

use super::{FIRST_FLAG, PERSISTENT, Properties, PropertiesError, PropertiesRef, TRANSIENT};
use crate::{
    encode::{put_long_str, put_short_str},
    table::{FieldTable, FieldTableRef, ToField},
    types::ShortStr,
};

/// Collects the properties of a message. The first value that cannot be sent is the error of
/// [`build`](Self::build).
///
/// ```
/// use snowshoe_codec::Properties;
///
/// let properties = Properties::builder()
///     .message_id("4711")
///     .header("attempt", 1)
///     .build()?;
///
/// assert!(Properties::builder().expiration("9".repeat(256)).build().is_err());
/// # Ok::<(), snowshoe_codec::PropertiesError>(())
/// ```
#[derive(Clone, Debug, Default)]
#[must_use]
pub struct PropertiesBuilder {
    /// The values in encoded form, in the order in which they were set.
    values: Vec<u8>,
    /// Where in `values` each property is: nowhere, if it is not set.
    places: [Range<usize>; NAMES.len()],
    headers: FieldTable,
    error: Option<PropertiesError>,
}

/// The properties in the order of their flags.
#[derive(Clone, Copy)]
enum Property {
    ContentType,
    ContentEncoding,
    Headers,
    DeliveryMode,
    Priority,
    CorrelationId,
    ReplyTo,
    Expiration,
    MessageId,
    Timestamp,
    Kind,
    UserId,
    AppId,
    ClusterId,
}

const NAMES: [&str; 14] = [
    "content-type",
    "content-encoding",
    "headers",
    "delivery-mode",
    "priority",
    "correlation-id",
    "reply-to",
    "expiration",
    "message-id",
    "timestamp",
    "type",
    "user-id",
    "app-id",
    "cluster-id",
];

impl PropertiesBuilder {
    /// The MIME type of the body.
    pub fn content_type(self, value: impl AsRef<[u8]>) -> Self {
        self.short_str(Property::ContentType, value.as_ref())
    }

    /// The MIME encoding of the body, such as `gzip`.
    pub fn content_encoding(self, value: impl AsRef<[u8]>) -> Self {
        self.short_str(Property::ContentEncoding, value.as_ref())
    }

    /// All headers, in the place of those that there are.
    pub fn headers(mut self, headers: FieldTable) -> Self {
        self.headers = headers;
        self
    }

    /// A header, in the place of the one that there is under this name.
    pub fn header(mut self, name: impl AsRef<[u8]>, value: impl ToField) -> Self {
        if let Err(error) = self.headers.set(name, value) {
            self.error.get_or_insert(error.into());
        }
        self
    }

    /// Has durable queues keep the message on disk.
    pub fn persistent(self) -> Self {
        self.delivery_mode(PERSISTENT)
    }

    /// Has queues keep the message in memory only, where they can.
    pub fn transient(self) -> Self {
        self.delivery_mode(TRANSIENT)
    }

    /// [`TRANSIENT`] or [`PERSISTENT`].
    pub fn delivery_mode(self, mode: u8) -> Self {
        self.set(Property::DeliveryMode, |out| out.put_u8(mode))
    }

    /// The priority in a queue that has priorities.
    pub fn priority(self, priority: u8) -> Self {
        self.set(Property::Priority, |out| out.put_u8(priority))
    }

    /// Which request this is the reply to.
    pub fn correlation_id(self, value: impl AsRef<[u8]>) -> Self {
        self.short_str(Property::CorrelationId, value.as_ref())
    }

    /// The queue that the reply is to go to.
    pub fn reply_to(self, value: impl AsRef<[u8]>) -> Self {
        self.short_str(Property::ReplyTo, value.as_ref())
    }

    /// After how many milliseconds to drop the message, as text.
    pub fn expiration(self, value: impl AsRef<[u8]>) -> Self {
        self.short_str(Property::Expiration, value.as_ref())
    }

    /// The application's name for the message.
    pub fn message_id(self, value: impl AsRef<[u8]>) -> Self {
        self.short_str(Property::MessageId, value.as_ref())
    }

    /// Seconds since 1970.
    pub fn timestamp(self, seconds: u64) -> Self {
        self.set(Property::Timestamp, |out| out.put_u64(seconds))
    }

    /// The application's type of the message (`type` on the wire).
    pub fn kind(self, value: impl AsRef<[u8]>) -> Self {
        self.short_str(Property::Kind, value.as_ref())
    }

    /// The user that publishes it. RabbitMQ refuses any but the connection's own.
    pub fn user_id(self, value: impl AsRef<[u8]>) -> Self {
        self.short_str(Property::UserId, value.as_ref())
    }

    /// The application that publishes it.
    pub fn app_id(self, value: impl AsRef<[u8]>) -> Self {
        self.short_str(Property::AppId, value.as_ref())
    }

    /// Reserved.
    pub fn cluster_id(self, value: impl AsRef<[u8]>) -> Self {
        self.short_str(Property::ClusterId, value.as_ref())
    }

    /// Brings the properties into the form of the wire, or gives the first error.
    pub fn build(mut self) -> Result<Properties, PropertiesError> {
        if let Some(error) = self.error {
            return Err(error);
        }
        let headers = std::mem::take(&mut self.headers);
        if !headers.is_empty() {
            headers.check()?;
            self = self.set(Property::Headers, |out| {
                put_long_str(out, headers.as_bytes());
            });
        }
        let mut flags = 0;
        let mut encoded = Vec::with_capacity(2 + self.values.len());
        encoded.put_u16(flags);
        for (index, place) in self.places.into_iter().enumerate() {
            if !place.is_empty() {
                flags |= FIRST_FLAG >> index;
                encoded.put_slice(&self.values[place]);
            }
        }
        encoded[..2].copy_from_slice(&flags.to_be_bytes());
        Ok(Properties::from_encoded(encoded.into()))
    }

    fn short_str(mut self, property: Property, value: &[u8]) -> Self {
        match ShortStr::new(value) {
            Ok(value) => self.set(property, |out| put_short_str(out, value)),
            Err(source) => {
                let property = NAMES[property as usize];
                self.error
                    .get_or_insert(PropertiesError::TooLong { property, source });
                self
            }
        }
    }

    /// No value takes no bytes, so its place tells whether a property is set.
    fn set(mut self, property: Property, put: impl FnOnce(&mut Vec<u8>)) -> Self {
        let start = self.values.len();
        put(&mut self.values);
        self.places[property as usize] = start..self.values.len();
        self
    }
}

/// Properties that there are, to be changed. Headers that cannot be read are an error when they are built.
impl From<PropertiesRef<'_>> for PropertiesBuilder {
    fn from(properties: PropertiesRef<'_>) -> Self {
        let PropertiesRef {
            content_type,
            content_encoding,
            headers,
            delivery_mode,
            priority,
            correlation_id,
            reply_to,
            expiration,
            message_id,
            timestamp,
            kind,
            user_id,
            app_id,
            cluster_id,
        } = properties;
        let short_strs = [
            (Property::ContentType, content_type),
            (Property::ContentEncoding, content_encoding),
            (Property::CorrelationId, correlation_id),
            (Property::ReplyTo, reply_to),
            (Property::Expiration, expiration),
            (Property::MessageId, message_id),
            (Property::Kind, kind),
            (Property::UserId, user_id),
            (Property::AppId, app_id),
            (Property::ClusterId, cluster_id),
        ];
        let mut builder = Self::default();
        for (property, value) in short_strs {
            if let Some(value) = value {
                builder = builder.short_str(property, value.as_bytes());
            }
        }
        if let Some(mode) = delivery_mode {
            builder = builder.delivery_mode(mode);
        }
        if let Some(priority) = priority {
            builder = builder.priority(priority);
        }
        if let Some(seconds) = timestamp {
            builder = builder.timestamp(seconds);
        }
        builder.headers(headers.map_or_else(FieldTable::new, FieldTableRef::to_owned))
    }
}
