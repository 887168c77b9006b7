//! The properties of a message, as they follow the body size in a content header: two octets of flags and
//! the values that the flags announce (AMQP 0-9-1 §4.2.6.1).
//!
//! They stay in that form. Brokers forward what publishers wrote, so properties that came from outside may
//! be malformed, which is an error of that one message and never of the connection.

mod builder;

use std::fmt;

use bytes::{BufMut, Bytes};
use nom::{
    Parser,
    number::complete::{be_u8, be_u16, be_u64},
};
use thiserror::Error;

pub use self::builder::PropertiesBuilder;
use crate::{
    encode::{put_long_str, put_short_str},
    parse::{long_str, short_str, take},
    table::{FieldTableRef, TableError},
    types::{ShortStr, TooLong},
};

/// The delivery mode of a message that is kept in memory only.
pub const TRANSIENT: u8 = 1;

/// The delivery mode of a message that a durable queue writes to disk.
pub const PERSISTENT: u8 = 2;

/// The properties of a message in encoded form. Cloning is cheap.
///
/// ```
/// use snowshoe_codec::Properties;
///
/// let properties = Properties::builder().persistent().content_type("text/plain").build()?;
/// assert_eq!(properties.decode()?.content_type.unwrap(), "text/plain");
/// # Ok::<(), snowshoe_codec::PropertiesError>(())
/// ```
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Properties {
    encoded: Bytes,
}

impl Properties {
    /// No properties.
    pub const EMPTY: Self = Self {
        encoded: Bytes::from_static(&[0, 0]),
    };

    /// Starts with no properties.
    pub fn builder() -> PropertiesBuilder {
        PropertiesBuilder::default()
    }

    /// Takes properties as they stand on the wire. They are checked when they are read.
    ///
    /// They are kept without copying, and with them the whole of the buffer they are a part of.
    pub const fn from_encoded(encoded: Bytes) -> Self {
        Self { encoded }
    }

    /// Reads the properties.
    pub fn decode(&self) -> Result<PropertiesRef<'_>, PropertiesError> {
        PropertiesRef::decode(&self.encoded)
    }

    /// The properties as they stand on the wire, well-formed or not.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }
}

impl Default for Properties {
    fn default() -> Self {
        Self::EMPTY
    }
}

impl fmt::Debug for Properties {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.decode() {
            Ok(properties) => properties.fmt(f),
            Err(error) => write!(f, "Properties({} bytes, {error})", self.encoded.len()),
        }
    }
}

/// The properties of a message, read from their encoded form or to be brought into it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PropertiesRef<'a> {
    /// The MIME type of the body.
    pub content_type: Option<ShortStr<'a>>,
    /// The MIME encoding of the body, such as `gzip`.
    pub content_encoding: Option<ShortStr<'a>>,
    /// Whatever the application and the exchanges want; read when asked.
    pub headers: Option<FieldTableRef<'a>>,
    /// [`TRANSIENT`] or [`PERSISTENT`].
    pub delivery_mode: Option<u8>,
    /// The priority in a queue that has priorities.
    pub priority: Option<u8>,
    /// Which request this is the reply to.
    pub correlation_id: Option<ShortStr<'a>>,
    /// The queue that the reply is to go to.
    pub reply_to: Option<ShortStr<'a>>,
    /// After how many milliseconds to drop the message, as text.
    pub expiration: Option<ShortStr<'a>>,
    /// The application's name for the message.
    pub message_id: Option<ShortStr<'a>>,
    /// Seconds since 1970.
    pub timestamp: Option<u64>,
    /// The application's type of the message (`type` on the wire).
    pub kind: Option<ShortStr<'a>>,
    /// The user that published it. RabbitMQ refuses any but the connection's own.
    pub user_id: Option<ShortStr<'a>>,
    /// The application that published it.
    pub app_id: Option<ShortStr<'a>>,
    /// Reserved.
    pub cluster_id: Option<ShortStr<'a>>,
}

impl<'a> PropertiesRef<'a> {
    /// Reads all properties but the entries of the headers, which are read when asked.
    pub fn decode(encoded: &'a [u8]) -> Result<Self, PropertiesError> {
        let reader = &mut Reader::new(encoded)?;
        let properties = Self {
            content_type: reader.read(short_str)?,
            content_encoding: reader.read(short_str)?,
            headers: reader.read(long_str)?.map(FieldTableRef::new),
            delivery_mode: reader.read(be_u8)?,
            priority: reader.read(be_u8)?,
            correlation_id: reader.read(short_str)?,
            reply_to: reader.read(short_str)?,
            expiration: reader.read(short_str)?,
            message_id: reader.read(short_str)?,
            timestamp: reader.read(be_u64)?,
            kind: reader.read(short_str)?,
            user_id: reader.read(short_str)?,
            app_id: reader.read(short_str)?,
            cluster_id: reader.read(short_str)?,
        };
        reader.finish()?;
        Ok(properties)
    }

    /// Brings the properties into the form of the wire. Refuses headers that a broker would close the
    /// connection over.
    pub fn encode(&self) -> Result<Properties, PropertiesError> {
        if let Some(headers) = self.headers {
            headers.check()?;
        }
        let mut writer = Writer::new();
        writer.write(self.content_type, put_short_str);
        writer.write(self.content_encoding, put_short_str);
        writer.write(self.headers.map(FieldTableRef::as_bytes), put_long_str);
        writer.write(self.delivery_mode, BufMut::put_u8);
        writer.write(self.priority, BufMut::put_u8);
        writer.write(self.correlation_id, put_short_str);
        writer.write(self.reply_to, put_short_str);
        writer.write(self.expiration, put_short_str);
        writer.write(self.message_id, put_short_str);
        writer.write(self.timestamp, BufMut::put_u64);
        writer.write(self.kind, put_short_str);
        writer.write(self.user_id, put_short_str);
        writer.write(self.app_id, put_short_str);
        writer.write(self.cluster_id, put_short_str);
        Ok(writer.finish())
    }
}

/// The flag of the first property. Those of the others follow it downwards.
const FIRST_FLAG: u16 = 1 << 15;

/// A property that does not exist, and the continuation of the flags that no property is there to need.
const RESERVED_FLAGS: u16 = 0b11;

/// Reads values in the order of their flags.
struct Reader<'a> {
    /// The flags that are still to be looked at, the next one highest.
    flags: u16,
    rest: &'a [u8],
}

impl<'a> Reader<'a> {
    fn new(mut encoded: &'a [u8]) -> Result<Self, PropertiesError> {
        let flags = take(&mut encoded, be_u16).ok_or(PropertiesError::Truncated)?;
        if flags & RESERVED_FLAGS != 0 {
            return Err(PropertiesError::ReservedFlags { flags });
        }
        Ok(Self {
            flags,
            rest: encoded,
        })
    }

    fn read<T>(
        &mut self,
        parser: impl Parser<&'a [u8], Output = T, Error = ()>,
    ) -> Result<Option<T>, PropertiesError> {
        let present = self.flags & FIRST_FLAG != 0;
        self.flags <<= 1;
        if !present {
            return Ok(None);
        }
        take(&mut self.rest, parser)
            .map(Some)
            .ok_or(PropertiesError::Truncated)
    }

    fn finish(&self) -> Result<(), PropertiesError> {
        match self.rest.len() {
            0 => Ok(()),
            count => Err(PropertiesError::TrailingBytes { count }),
        }
    }
}

/// Writes values in the order of their flags, and the flags when all values are known.
struct Writer {
    out: Vec<u8>,
    flags: u16,
    next_flag: u16,
}

impl Writer {
    fn new() -> Self {
        Self {
            out: vec![0, 0],
            flags: 0,
            next_flag: FIRST_FLAG,
        }
    }

    fn write<T>(&mut self, value: Option<T>, put: impl FnOnce(&mut Vec<u8>, T)) {
        if let Some(value) = value {
            self.flags |= self.next_flag;
            put(&mut self.out, value);
        }
        self.next_flag >>= 1;
    }

    fn finish(mut self) -> Properties {
        self.out[..2].copy_from_slice(&self.flags.to_be_bytes());
        Properties {
            encoded: self.out.into(),
        }
    }
}

/// The properties of a message cannot be read, or must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum PropertiesError {
    /// The values end before the last that the flags announce.
    #[error("the properties are cut off")]
    Truncated,
    /// There are bytes after the last value that the flags announce.
    #[error("{count} bytes after the properties")]
    TrailingBytes {
        /// How many bytes too many.
        count: usize,
    },
    /// One of the two lowest flags is set: a continuation, or a property that nobody has defined.
    #[error("property flags {flags:#06x}: the two lowest are reserved")]
    ReservedFlags {
        /// All flags.
        flags: u16,
    },
    /// A value is longer than 255 bytes.
    #[error("property {property}: {source}")]
    TooLong {
        /// The name of the property, such as `message-id`.
        property: &'static str,
        /// What it is.
        source: TooLong,
    },
    /// The headers must not be sent as they are.
    #[error("property headers: {0}")]
    Headers(#[from] TableError),
}
