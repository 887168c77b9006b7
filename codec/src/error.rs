//! What can be wrong with bytes that were received, and with values that are to be sent.

use std::convert::Infallible;

use thiserror::Error;

use crate::{frame::FrameKind, method::MethodId, types::ChannelId};

/// A short string of more than 255 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[error("a short string holds at most 255 bytes, this one has {len}")]
pub struct TooLong {
    /// How many bytes it has.
    pub len: usize,
}

impl From<Infallible> for TooLong {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

/// The stream is no sequence of frames, or one breaks a limit. There is no way to go on behind it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum FrameError {
    /// The first octet of a frame is none of 1, 2, 3 and 8.
    #[error("unknown frame type {kind}: the peer does not speak AMQP 0-9-1, or bytes were lost")]
    UnknownKind {
        /// The octet.
        kind: u8,
    },
    /// A frame announces more bytes than the limit.
    #[error("a {kind} frame of {size} bytes on channel {channel}, where {max} are allowed")]
    TooLarge {
        /// The type of the frame.
        kind: FrameKind,
        /// Its channel.
        channel: ChannelId,
        /// The size of the whole frame.
        size: u64,
        /// The limit that it breaks.
        max: u32,
    },
    /// The octet behind the payload is not 0xCE.
    #[error("a {kind} frame on channel {channel} ends with {found:#04x} instead of 0xce")]
    WrongEnd {
        /// The type of the frame.
        kind: FrameKind,
        /// Its channel.
        channel: ChannelId,
        /// The octet in the place of the frame end.
        found: u8,
    },
    /// A heartbeat belongs to the connection, that is channel 0.
    #[error("a heartbeat on channel {channel}")]
    HeartbeatOnChannel {
        /// The channel.
        channel: ChannelId,
    },
    /// A heartbeat has no payload.
    #[error("a heartbeat with a payload of {size} bytes")]
    HeartbeatWithPayload {
        /// The announced size of the payload.
        size: u32,
    },
}

/// The payload of a method frame is no method that we know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum MethodError {
    /// The payload ends within the class and method ids.
    #[error("a method frame without class and method ids")]
    MissingId,
    /// No method has these ids.
    #[error("unknown method: class {}, method {}", .0.class, .0.method)]
    Unknown(MethodId),
    /// The payload ends before the last argument.
    #[error("the arguments of {0} are cut off")]
    Truncated(MethodId),
    /// The payload goes on behind the last argument.
    #[error("{count} bytes behind the arguments of {method}")]
    TrailingBytes {
        /// The method.
        method: MethodId,
        /// How many bytes too many.
        count: usize,
    },
}

/// A field table or array that cannot be read, or must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum TableError {
    /// An entry goes beyond the end of its table.
    #[error("an entry goes beyond the end of its field table")]
    Truncated,
    /// No type of value has this letter.
    #[error("unknown type of value {:?} in a field table", char::from(*letter))]
    UnknownType {
        /// The letter in front of the value.
        letter: u8,
    },
    /// Tables and arrays are nested deeper than [`MAX_DEPTH`](crate::table::MAX_DEPTH).
    #[error("field tables are nested more than {} deep", crate::table::MAX_DEPTH)]
    TooDeep,
    /// NaN and the infinities: RabbitMQ closes the whole connection over one.
    #[error("a number in a field table is not finite")]
    NotFinite,
    /// The name of an entry is longer than 255 bytes.
    #[error("the name of a field: {0}")]
    Name(#[from] TooLong),
    /// The length of a table or of a value in it has only 32 bits.
    #[error("a field table or a value in it is larger than 4 GiB")]
    TooLarge,
}

/// The properties of a message cannot be read, or must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum PropertiesError {
    /// The values end before the last that the flags announce.
    #[error("the properties are cut off")]
    Truncated,
    /// There are bytes behind the last value that the flags announce.
    #[error("{count} bytes behind the properties")]
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
