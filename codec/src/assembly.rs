//! A message put together: from frames that lie side by side in the input, or a frame at a time.

mod announcement;

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

use bytes::{Buf, Bytes};

pub(crate) use self::announcement::{Announcement, ContentMethod};
use self::announcement::{METHOD_ID_LEN, Purpose, arguments_of};
use crate::content::{
    CONTENT_HEADER_LEN, Content, Delivery, Digest, Excess, Got, Incoming, Note, Oversized,
    Published, Returned, Span,
};
use crate::event::Event;
use crate::frame::{self, FRAME_OVERHEAD, Frame, FrameKind, Limits};
use crate::method::{Arguments, basic};
use crate::types::ChannelId;
use crate::violation::Violation;

/// What was announced, and where the parts of a message lie in a buffer.
pub(crate) struct Layout {
    announcement: Announcement,
    /// Where the arguments begin, from which the places of the others are counted.
    arguments_at: u32,
    properties: Span,
    body: Span,
    excess_at: Option<NonZeroU32>,
    frames_len: u32,
}

impl Layout {
    /// The layout of a message whose frames all stand at the front of `input`, method first, one
    /// after the other and whole. Anything else, malformed or merely incomplete, is `None` and
    /// left to [`Assembly`], which sees a frame at a time and says what is wrong.
    #[inline]
    pub(crate) fn of_whole(
        announcement: Announcement,
        input: &[u8],
        method: &Frame<'_>,
        limits: &Limits,
        max_message: u32,
    ) -> Option<Self> {
        let next = |at: usize, kind: FrameKind| {
            let frame = frame::find(input.get(at..)?, limits).ok()??;
            (frame.kind == kind && frame.channel == method.channel).then_some(frame.payload)
        };
        let header_at = method.encoded_len();
        let payload = next(header_at, FrameKind::Header)?;
        let header = ContentHeader::parse(payload)?;
        if header.class != CLASS || header.body_size > max_message.into() {
            return None;
        }
        let properties_at = header_at + FRAME_HEADER_LEN + CONTENT_HEADER_LEN;
        let header_end = header_at + payload.len() + FRAME_OVERHEAD;
        let (body, frames_len) = if header.body_size == 0 {
            (header_end..header_end, header_end)
        } else {
            let payload = next(header_end, FrameKind::Body)?;
            if payload.len() as u64 != header.body_size {
                return None;
            }
            let at = header_end + FRAME_HEADER_LEN;
            (
                at..at + payload.len(),
                header_end + payload.len() + FRAME_OVERHEAD,
            )
        };
        let arguments_at = FRAME_HEADER_LEN + METHOD_ID_LEN;
        let properties = properties_at..properties_at + header.properties.len();
        Some(Self {
            announcement,
            arguments_at: arguments_at as u32,
            properties: Span::new(&properties, arguments_at),
            body: Span::new(&body, arguments_at),
            excess_at: None,
            frames_len: frames_len as u32,
        })
    }

    /// How long the frames of the message are together.
    pub(crate) fn frames_len(&self) -> usize {
        self.frames_len as usize
    }

    /// What is to be told of the message that lies in `buffer` by this layout.
    #[inline]
    pub(crate) fn event(&self, channel: ChannelId, mut buffer: Bytes) -> Event {
        buffer.advance(self.arguments_at as usize);
        let content = Content {
            buffer,
            exchange: self.announcement.exchange,
            routing_key: self.announcement.routing_key,
            properties: self.properties,
            body: self.body,
            excess_at: self.excess_at,
        };
        match self.announcement.purpose {
            Purpose::Publish {
                mandatory,
                immediate,
            } => Event::Published {
                channel,
                published: Published {
                    mandatory,
                    immediate,
                    content,
                },
            },
            Purpose::Return { code } => Event::Returned {
                channel,
                returned: Returned { code, content },
            },
            Purpose::Deliver {
                delivery_tag,
                redelivered,
            } => Event::Delivery {
                channel,
                delivery: Delivery {
                    delivery_tag,
                    redelivered,
                    content,
                },
            },
            Purpose::GetOk {
                delivery_tag,
                redelivered,
                message_count,
            } => Event::Got {
                channel,
                got: Got {
                    delivery_tag,
                    redelivered,
                    message_count,
                    content,
                },
            },
        }
    }
}

/// A message in the making, a frame at a time.
#[derive(Default)]
pub(crate) enum Assembly {
    /// No message is being received.
    #[default]
    Idle,
    /// The method came; `joined` holds its arguments.
    Header {
        announcement: Announcement,
        joined: Vec<u8>,
    },
    /// The header came; `joined` holds arguments, properties and what there is of the body.
    Body {
        announcement: Announcement,
        joined: Vec<u8>,
        properties: Range<usize>,
        missing: u64,
    },
    /// The message is longer than is accepted. So much of its body is still to be skipped.
    Skipping {
        missing: u64,
        /// Unless it was told before.
        untold: Option<Box<Untold>>,
    },
}

/// A returned message that is too long. To know which of those that were published it is, all of it is
/// looked at.
pub(crate) struct Untold {
    announcement: Announcement,
    /// Its arguments, and behind them what is kept of its properties.
    joined: Vec<u8>,
    arguments_len: usize,
    excess: Excess,
    digest: Digest,
}

impl Assembly {
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// A method that a message follows, by the payload of its frame. The caller made sure that no
    /// message is being received.
    pub(crate) fn begin(&mut self, announcement: Announcement, payload: &[u8]) {
        *self = Self::Header {
            announcement,
            joined: arguments_of(payload).to_vec(),
        };
    }

    /// A content header or a part of a body; the message, if it was the last frame of it.
    pub(crate) fn add(
        &mut self,
        frame: &Frame<'_>,
        max_message: u32,
    ) -> Result<Option<Event>, Violation> {
        match frame.kind {
            FrameKind::Header => self.header(frame, max_message),
            FrameKind::Body => self.body(frame),
            FrameKind::Method | FrameKind::Heartbeat => Err(Violation::unexpected(frame)),
        }
    }

    fn header(&mut self, frame: &Frame<'_>, max_message: u32) -> Result<Option<Event>, Violation> {
        let (announcement, mut joined, header) = self.announced(frame)?;
        let arguments_len = joined.len();
        joined.extend_from_slice(header.properties);
        let missing = header.body_size;
        if missing > max_message.into() {
            let excess = Excess::Body {
                size: missing,
                limit: max_message,
            };
            let untold = Untold::new(announcement, joined, arguments_len, excess);
            return Ok(self.skip(frame.channel, untold));
        }
        *self = Self::Body {
            announcement,
            properties: arguments_len..joined.len(),
            joined,
            missing,
        };
        Ok(self.finish(frame.channel))
    }

    /// A content header of so many bytes, which is more than is accepted. `frame` has no more of it
    /// than what stands in front of the properties.
    pub(crate) fn add_large_header(
        &mut self,
        frame: &Frame<'_>,
        size: u64,
        limit: u32,
    ) -> Result<Option<Event>, Violation> {
        let (announcement, joined, header) = self.announced(frame)?;
        let excess = Excess::Header {
            size,
            limit,
            body_size: header.body_size,
        };
        let arguments_len = joined.len();
        let untold = Untold::new(announcement, joined, arguments_len, excess);
        Ok(self.skip(frame.channel, untold))
    }

    /// What a content header belongs to, and what it says.
    fn announced<'f>(
        &mut self,
        frame: &Frame<'f>,
    ) -> Result<(Announcement, Vec<u8>, ContentHeader<'f>), Violation> {
        let channel = frame.channel;
        let Self::Header {
            announcement,
            joined,
        } = std::mem::take(self)
        else {
            return Err(Violation::unexpected(frame));
        };
        let header = ContentHeader::parse(frame.payload)
            .ok_or(Violation::MalformedContentHeader { channel })?;
        if header.class != CLASS {
            let class = header.class;
            return Err(Violation::ContentClass { channel, class });
        }
        Ok((announcement, joined, header))
    }

    /// Begins to skip a body. What is to be told of its message now.
    fn skip(&mut self, channel: ChannelId, untold: Untold) -> Option<Event> {
        let missing = untold.excess.body_size();
        if untold.announcement.is_return() {
            let untold = Some(Box::new(untold));
            *self = Self::Skipping { missing, untold };
            return self.skipped(channel);
        }
        let event = untold.event(channel, None);
        *self = Self::Skipping {
            missing,
            untold: None,
        };
        self.skipped(channel);
        Some(event)
    }

    /// What is to be told once nothing is missing of what is skipped.
    fn skipped(&mut self, channel: ChannelId) -> Option<Event> {
        match std::mem::take(self) {
            Self::Skipping { missing: 0, untold } => untold.map(|untold| {
                let digest = untold.digest;
                untold.event(channel, Some(digest))
            }),
            unfinished => {
                *self = unfinished;
                None
            }
        }
    }

    fn body(&mut self, frame: &Frame<'_>) -> Result<Option<Event>, Violation> {
        let (Self::Body { missing, .. } | Self::Skipping { missing, .. }) = self else {
            return Err(Violation::unexpected(frame));
        };
        let len = frame.payload.len();
        let left = missing.checked_sub(len as u64);
        *missing = left.ok_or(Violation::BodyTooLong {
            channel: frame.channel,
        })?;
        let missing = *missing;
        let joined = match self {
            Self::Body { joined, .. } => joined,
            Self::Skipping { untold, .. } => {
                if let Some(untold) = untold {
                    untold.digest.add(frame.payload);
                }
                return Ok(self.skipped(frame.channel));
            }
            Self::Idle | Self::Header { .. } => return Err(Violation::unexpected(frame)),
        };
        if joined.capacity() - joined.len() < len {
            // Grows with what has come, never by what was announced; nor beyond it, since the message
            // may be kept for long.
            let ahead = usize::try_from(missing).unwrap_or(usize::MAX);
            joined.reserve_exact(len + ahead.min(joined.len()));
        }
        joined.extend_from_slice(frame.payload);
        Ok(self.finish(frame.channel))
    }

    /// The message, if nothing of it is missing.
    fn finish(&mut self, channel: ChannelId) -> Option<Event> {
        match std::mem::take(self) {
            Self::Body {
                announcement,
                joined,
                properties,
                missing: 0,
            } => {
                let layout = Layout {
                    announcement,
                    arguments_at: 0,
                    body: Span::new(&(properties.end..joined.len()), 0),
                    properties: Span::new(&properties, 0),
                    excess_at: None,
                    frames_len: joined.len() as u32,
                };
                Some(layout.event(channel, joined.into()))
            }
            unfinished => {
                *self = unfinished;
                None
            }
        }
    }
}

impl fmt::Debug for Assembly {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sizes only, as of whole messages.
        match self {
            Self::Idle => f.write_str("Idle"),
            Self::Header { .. } => f.write_str("Header"),
            Self::Body {
                joined, missing, ..
            } => write!(f, "Body({} bytes, {missing} missing)", joined.len()),
            Self::Skipping { missing, .. } => write!(f, "Skipping({missing} missing)"),
        }
    }
}

impl Untold {
    fn new(
        announcement: Announcement,
        joined: Vec<u8>,
        arguments_len: usize,
        excess: Excess,
    ) -> Self {
        Self {
            announcement,
            joined,
            arguments_len,
            excess,
            digest: Digest::new(),
        }
    }

    fn event(self, channel: ChannelId, digest: Option<Digest>) -> Event {
        let Self {
            announcement,
            mut joined,
            arguments_len,
            excess,
            ..
        } = self;
        let end = joined.len();
        Note { excess, digest }.encode(&mut joined);
        let layout = Layout {
            announcement,
            arguments_at: 0,
            properties: Span::new(&(arguments_len..end), 0),
            body: Span::new(&(end..end), 0),
            excess_at: NonZeroU32::new(end as u32),
            frames_len: joined.len() as u32,
        };
        let message = match layout.event(channel, joined.into()) {
            Event::Delivery { delivery, .. } => Incoming::Delivery(delivery),
            Event::Got { got, .. } => Incoming::Got(got),
            Event::Returned { returned, .. } => Incoming::Returned(returned),
            Event::Published { published, .. } => Incoming::Published(published),
            // A layout makes no other.
            event => return event,
        };
        Event::Oversized {
            channel,
            oversized: Box::new(Oversized { excess, message }),
        }
    }
}

/// The payload of a content header frame (AMQP 0-9-1 §4.2.6.1).
struct ContentHeader<'a> {
    class: u16,
    body_size: u64,
    properties: &'a [u8],
}

impl<'a> ContentHeader<'a> {
    fn parse(payload: &'a [u8]) -> Option<Self> {
        let (class, rest) = payload.split_first_chunk()?;
        // The weight is to be zero, and ignored where it is not, as LavinMQ does.
        let (_weight, rest) = rest.split_first_chunk::<2>()?;
        let (body_size, properties) = rest.split_first_chunk()?;
        Some(Self {
            class: u16::from_be_bytes(*class),
            body_size: u64::from_be_bytes(*body_size),
            properties,
        })
    }
}

/// The class whose methods messages follow.
const CLASS: u16 = basic::Publish::ID.class;

const FRAME_HEADER_LEN: usize = FRAME_OVERHEAD - 1;
