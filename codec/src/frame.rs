//! Frames: seven bytes of header, a payload, and the octet 0xCE (AMQP 0-9-1 §4.2.3).
//!
//! ```text
//! 0      1         3             7                  size+7 size+8
//! +------+---------+-------------+------------------+------+
//! | type | channel |    size     |     payload      | 0xCE |
//! +------+---------+-------------+------------------+------+
//!  octet   u16       u32           `size` octets      octet
//! ```
//!
//! Where a frame ends is known from its header alone, so [`find`] takes whole frames from the front of
//! whatever has been received, and everything after it works on complete slices.

use std::fmt;

use bytes::{Buf, BufMut};
use thiserror::Error;

use crate::{encode::put_with_length, types::ChannelId};

/// The octet that ends every frame.
pub const FRAME_END: u8 = 0xCE;

/// How many bytes a frame has besides its payload.
pub const FRAME_OVERHEAD: usize = HEADER_LEN + 1;

/// What every peer takes before anything is negotiated (AMQP 0-9-1 §1.2, frame-min-size).
pub const FRAME_MIN_SIZE: u32 = 4096;

/// What a client sends before its first frame (AMQP 0-9-1 §4.2.2).
pub const PROTOCOL_HEADER: [u8; 8] = *b"AMQP\0\0\x09\x01";

/// The only heartbeat there is (AMQP 0-9-1 §4.2.7).
pub const HEARTBEAT: [u8; 8] = [FrameKind::Heartbeat as u8, 0, 0, 0, 0, 0, 0, FRAME_END];

pub(crate) const HEADER_LEN: usize = 7;

/// What the payload of a frame is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FrameKind {
    /// A method with its arguments.
    Method = 1,
    /// A content header: the size of a body and the properties of the message.
    Header = 2,
    /// A part of a body.
    Body = 3,
    /// Nothing: a sign of life.
    Heartbeat = 8,
}

impl TryFrom<u8> for FrameKind {
    type Error = FrameError;

    #[inline]
    fn try_from(kind: u8) -> Result<Self, FrameError> {
        match kind {
            1 => Ok(Self::Method),
            2 => Ok(Self::Header),
            3 => Ok(Self::Body),
            8 => Ok(Self::Heartbeat),
            _ => Err(FrameError::UnknownKind { kind }),
        }
    }
}

impl fmt::Display for FrameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Method => "method",
            Self::Header => "content header",
            Self::Body => "body",
            Self::Heartbeat => "heartbeat",
        })
    }
}

/// The largest frames that are accepted, counted whole: header, payload and end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// For methods and bodies: what was negotiated.
    pub frame_max: u32,
    /// For content headers, which no peer can split. LavinMQ sends them larger than what was negotiated.
    pub header_frame_max: u32,
}

impl Limits {
    fn of(&self, kind: FrameKind) -> u32 {
        match kind {
            FrameKind::Header => self.header_frame_max,
            FrameKind::Method | FrameKind::Body | FrameKind::Heartbeat => self.frame_max,
        }
    }
}

/// The seven bytes in front of a payload.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct FrameHeader {
    /// What the payload is.
    pub kind: FrameKind,
    /// The channel it is for; 0 is the connection.
    pub channel: ChannelId,
    /// The size of the payload.
    pub size: u32,
}

impl FrameHeader {
    /// Reads and judges the header at the front of `input`; `None` until all of it is there.
    ///
    /// What is refused is refused here, before a byte of the payload is waited for or stored.
    #[inline]
    pub fn peek(input: &[u8], limits: &Limits) -> Result<Option<Self>, FrameError> {
        // By hand, since three frames of every message pass here.
        let Some(&[kind, c0, c1, s0, s1, s2, s3]) = input.first_chunk() else {
            return Ok(None);
        };
        let header = Self {
            kind: kind.try_into()?,
            channel: ChannelId(u16::from_be_bytes([c0, c1])),
            size: u32::from_be_bytes([s0, s1, s2, s3]),
        };
        header.judge(limits)?;
        Ok(Some(header))
    }

    /// The header as it stands on the wire, for a payload that is kept and written by itself.
    pub fn to_bytes(self) -> [u8; HEADER_LEN] {
        let [c0, c1] = self.channel.0.to_be_bytes();
        let [s0, s1, s2, s3] = self.size.to_be_bytes();
        [self.kind as u8, c0, c1, s0, s1, s2, s3]
    }

    #[inline]
    fn judge(self, limits: &Limits) -> Result<(), FrameError> {
        let Self {
            kind,
            channel,
            size,
        } = self;
        if kind == FrameKind::Heartbeat {
            if !channel.is_connection() {
                return Err(FrameError::HeartbeatOnChannel { channel });
            }
            if size != 0 {
                return Err(FrameError::HeartbeatWithPayload { size });
            }
            return Ok(());
        }
        let whole = u64::from(size) + FRAME_OVERHEAD as u64;
        let max = limits.of(kind);
        if whole > u64::from(max) {
            return Err(FrameError::TooLarge {
                kind,
                channel,
                size: whole,
                max,
            });
        }
        Ok(())
    }
}

/// A whole frame in the buffer it was received into.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Frame<'a> {
    /// What the payload is.
    pub kind: FrameKind,
    /// The channel it is for; 0 is the connection.
    pub channel: ChannelId,
    /// The bytes between header and frame end.
    pub payload: &'a [u8],
}

impl Frame<'_> {
    /// How many bytes the whole frame takes, and so where the next one begins.
    pub fn encoded_len(&self) -> usize {
        self.payload.len() + FRAME_OVERHEAD
    }
}

/// Takes the frame at the front of `input`; `None` until all of it is there.
///
/// ```
/// use snowshoe_codec::frame::{self, FrameKind, Limits};
///
/// let limits = Limits { frame_max: 4096, header_frame_max: 4096 };
/// let input = [&frame::HEARTBEAT[..], b"\x03\0\x01"].concat();
///
/// let heartbeat = frame::find(&input, &limits)?.expect("it is whole");
/// assert_eq!(heartbeat.kind, FrameKind::Heartbeat);
/// assert_eq!(frame::find(&input[heartbeat.encoded_len()..], &limits)?, None);
/// # Ok::<(), snowshoe_codec::FrameError>(())
/// ```
#[inline]
pub fn find<'a>(input: &'a [u8], limits: &Limits) -> Result<Option<Frame<'a>>, FrameError> {
    let Some(FrameHeader {
        kind,
        channel,
        size,
    }) = FrameHeader::peek(input, limits)?
    else {
        return Ok(None);
    };
    // The size was judged, so it neither overflows a usize nor asks for more than the limit.
    let Some((payload, [found, ..])) = input[HEADER_LEN..].split_at_checked(size as usize) else {
        return Ok(None);
    };
    match *found {
        FRAME_END => Ok(Some(Frame {
            kind,
            channel,
            payload,
        })),
        found => Err(FrameError::WrongEnd {
            kind,
            channel,
            found,
        }),
    }
}

/// What is still to come of a frame of which nobody wants the rest.
#[derive(Debug)]
pub(crate) struct RestOfFrame {
    pub(crate) kind: FrameKind,
    pub(crate) channel: ChannelId,
    /// How many bytes of its payload are left, before its end.
    pub(crate) payload: u64,
}

impl RestOfFrame {
    /// Drops what there is of it off the front of `input`; whether that was all.
    pub(crate) fn skip(&mut self, input: &mut impl Buf) -> Result<bool, FrameError> {
        let there = input.remaining() as u64;
        let step = self.payload.min(there);
        // No more than there is, so it fits.
        input.advance(step as usize);
        self.payload -= step;
        if self.payload > 0 || !input.has_remaining() {
            return Ok(false);
        }
        match input.get_u8() {
            FRAME_END => Ok(true),
            found => Err(FrameError::WrongEnd {
                kind: self.kind,
                channel: self.channel,
                found,
            }),
        }
    }
}

/// Appends a frame whose payload is what `put_payload` appends.
///
/// ```
/// use snowshoe_codec::{ChannelId, frame::{self, FrameKind}, method::channel};
///
/// let mut out = Vec::new();
/// frame::encode(&mut out, FrameKind::Method, ChannelId(7), |out| channel::CloseOk.encode(out));
/// assert_eq!(out, [1, 0, 7, 0, 0, 0, 4, 0, 20, 0, 41, 0xCE]);
/// # use snowshoe_codec::method::Arguments;
/// ```
///
/// # Panics
///
/// Panics when the payload is larger than 4 GiB.
pub fn encode(
    out: &mut Vec<u8>,
    kind: FrameKind,
    channel: ChannelId,
    put_payload: impl FnOnce(&mut Vec<u8>),
) {
    out.put_u8(kind as u8);
    out.put_u16(channel.0);
    put_with_length(out, put_payload);
    out.put_u8(FRAME_END);
}

/// The stream is no sequence of frames, or one breaks a limit. There is no way to go on after it.
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
    /// The octet after the payload is not 0xCE.
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
