use std::fmt;
use std::ops::Range;

use bytes::Bytes;

use crate::frame::{self, Frame, FrameKind, Limits};
use crate::method::MethodId;
use crate::{PropertiesError, PropertiesRef, ReplyCode, ShortStr, Violation};

/// A message as it came off the wire: exchange and routing key, properties, body.
///
/// It is one buffer with the places of its parts. The properties stay encoded until they are asked
/// for, since brokers forward whatever a publisher wrote: malformed ones are an error of this
/// message alone.
///
/// A message that arrived whole shares the block it was read into, so keeping it for long keeps
/// the block; [`detached`](Self::detached) makes a copy that does not.
#[derive(Clone)]
pub struct Content {
    buffer: Bytes,
    /// Where the method's arguments end; they stand at the front.
    arguments: u32,
    exchange: u16,
    routing_key: u16,
    properties: Span,
    body: Span,
}

impl Content {
    /// The exchange it was published to; empty for the default exchange.
    pub fn exchange(&self) -> ShortStr<'_> {
        self.name_at(self.exchange)
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> ShortStr<'_> {
        self.name_at(self.routing_key)
    }

    /// The properties, decoded.
    ///
    /// # Errors
    /// What the publisher wrote need not be well-formed; the raw bytes are in
    /// [`raw_properties`](Self::raw_properties) all the same.
    pub fn properties(&self) -> Result<PropertiesRef<'_>, PropertiesError> {
        PropertiesRef::decode(self.raw_properties())
    }

    /// The properties as they were on the wire: flags, then values (AMQP 0-9-1 §4.2.6.1).
    pub fn raw_properties(&self) -> &[u8] {
        &self.buffer[self.properties.range()]
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.body.range()]
    }

    /// The body as a shared slice of the message's buffer, without a copy.
    pub fn body_bytes(&self) -> Bytes {
        self.buffer.slice(self.body.range())
    }

    /// A copy in a buffer of its own, just large enough.
    #[must_use]
    pub fn detached(&self) -> Self {
        let end = self.body.end.max(self.properties.end) as usize;
        Self {
            buffer: Bytes::copy_from_slice(&self.buffer[..end]),
            ..self.clone()
        }
    }

    fn arguments(&self) -> &[u8] {
        &self.buffer[..self.arguments as usize]
    }

    fn name_at(&self, at: u16) -> ShortStr<'_> {
        name(self.arguments(), at.into()).map_or_else(ShortStr::default, |(name, _)| name)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sizes only: a payload has no place in a log, and can be of any length.
        f.debug_struct("Content")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("properties_len", &self.raw_properties().len())
            .field("body_len", &self.body().len())
            .finish()
    }
}

/// A message for a consumer: basic.deliver.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Counts from 1 on each channel; what an acknowledgement names.
    pub delivery_tag: u64,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The message.
    pub content: Content,
}

impl Delivery {
    /// The consumer that it is for.
    pub fn consumer_tag(&self) -> ShortStr<'_> {
        self.content.name_at(0)
    }
}

/// A message that could not be routed: basic.return.
#[derive(Clone, Debug)]
pub struct Returned {
    /// Why, as a number; 312 NO_ROUTE as a rule.
    pub code: ReplyCode,
    /// The message.
    pub content: Content,
}

impl Returned {
    /// Why, as text.
    pub fn text(&self) -> ShortStr<'_> {
        self.content.name_at(2)
    }
}

/// A message fetched with basic.get: basic.get-ok.
#[derive(Clone, Debug)]
pub struct Got {
    /// What an acknowledgement names.
    pub delivery_tag: u64,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// How many messages the queue still holds.
    pub message_count: u32,
    /// The message.
    pub content: Content,
}

/// A message from a client, as a server sees it: basic.publish.
#[derive(Clone, Debug)]
pub struct Published {
    /// Whether it is to be returned when it cannot be routed.
    pub mandatory: bool,
    /// Whether it is to be returned when no consumer is ready for it.
    pub immediate: bool,
    /// The message.
    pub content: Content,
}

/// A whole message, by the method that announced it.
#[derive(Debug)]
pub(crate) enum Message {
    Delivery(Delivery),
    Returned(Returned),
    Got(Got),
    Published(Published),
}

impl Message {
    /// Reads the arguments of the method; `None` where they are malformed.
    fn new(kind: ContentMethod, buffer: Bytes, layout: &Layout) -> Option<Self> {
        let arguments = buffer.get(layout.arguments.range())?;
        // What stands before the exchange's name differs from method to method.
        let exchange = match kind {
            ContentMethod::Publish => 2,
            ContentMethod::Return => name(arguments, 2)?.1,
            ContentMethod::Deliver => name(arguments, 0)?.1 + 9,
            ContentMethod::GetOk => 9,
        };
        let routing_key = name(arguments, exchange)?.1;
        let (_, rest) = name(arguments, routing_key)?;
        let trailing = match kind {
            ContentMethod::Publish => 1,
            ContentMethod::GetOk => 4,
            ContentMethod::Return | ContentMethod::Deliver => 0,
        };
        if arguments.len() != rest + trailing {
            return None;
        }
        let tag_and_flag =
            |at: usize| Some((u64_at(arguments, at)?, arguments.get(at + 8)? & 1 != 0));
        // Spans are relative to the front of the arguments, so that a message of many frames and
        // one of a single slice look alike.
        let message = |content| {
            Some(match kind {
                ContentMethod::Publish => {
                    let bits = *arguments.get(rest)?;
                    let (mandatory, immediate) = (bits & 1 != 0, bits & 2 != 0);
                    Self::Published(Published {
                        mandatory,
                        immediate,
                        content,
                    })
                }
                ContentMethod::Return => {
                    let code = u16::from_be_bytes(arguments.get(..2)?.try_into().ok()?);
                    Self::Returned(Returned {
                        code: ReplyCode(code),
                        content,
                    })
                }
                ContentMethod::Deliver => {
                    let (delivery_tag, redelivered) = tag_and_flag(exchange - 9)?;
                    Self::Delivery(Delivery {
                        delivery_tag,
                        redelivered,
                        content,
                    })
                }
                ContentMethod::GetOk => {
                    let (delivery_tag, redelivered) = tag_and_flag(0)?;
                    let count = arguments.get(rest..rest + 4)?.try_into().ok()?;
                    let message_count = u32::from_be_bytes(count);
                    Self::Got(Got {
                        delivery_tag,
                        redelivered,
                        message_count,
                        content,
                    })
                }
            })
        };
        message(Content {
            buffer: buffer.slice(layout.arguments.start as usize..),
            arguments: layout.arguments.end - layout.arguments.start,
            exchange: exchange as u16,
            routing_key: routing_key as u16,
            properties: layout.properties.relative_to(layout.arguments.start),
            body: layout.body.relative_to(layout.arguments.start),
        })
    }
}

/// The methods that a message follows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ContentMethod {
    Publish,
    Return,
    Deliver,
    GetOk,
}

impl ContentMethod {
    pub(crate) fn from_id(id: MethodId) -> Option<Self> {
        match (id.class, id.method) {
            (BASIC, 40) => Some(Self::Publish),
            (BASIC, 50) => Some(Self::Return),
            (BASIC, 60) => Some(Self::Deliver),
            (BASIC, 71) => Some(Self::GetOk),
            _ => None,
        }
    }

    pub(crate) fn id(self) -> MethodId {
        let method = match self {
            Self::Publish => 40,
            Self::Return => 50,
            Self::Deliver => 60,
            Self::GetOk => 71,
        };
        MethodId {
            class: BASIC,
            method,
        }
    }
}

/// Where the parts of a message lie in a buffer.
pub(crate) struct Layout {
    arguments: Span,
    properties: Span,
    body: Span,
    /// Where the last frame ends.
    pub(crate) end: usize,
}

impl Layout {
    /// The layout of a message whose frames all stand at the front of `buffer`, method first, one
    /// behind the other and whole. Anything else, malformed or merely incomplete, is `None` and
    /// left to [`Assembly`], which sees a frame at a time and says what is wrong.
    pub(crate) fn of_whole(
        buffer: &[u8],
        method: &Frame<'_>,
        limits: &Limits,
        max_message: u32,
    ) -> Option<Self> {
        let next = |at: usize, kind: FrameKind| {
            let frame = frame::find(buffer.get(at..)?, limits).ok()??;
            (frame.kind == kind && frame.channel == method.channel).then_some(frame.payload)
        };
        let arguments = HEADER_LEN + METHOD_ID_LEN..HEADER_LEN + method.payload.len();
        let header_at = method.encoded_len();
        let header = ContentHeader::parse(next(header_at, FrameKind::Header)?)?;
        let properties_at = header_at + HEADER_LEN + CONTENT_HEADER_LEN;
        let properties = properties_at..properties_at + header.properties.len();
        let header_end = properties.end + END_LEN;
        if header.class != BASIC || header.body_size > max_message.into() {
            return None;
        }
        let (body, end) = match header.body_size {
            0 => (header_end..header_end, header_end),
            size => {
                let payload = next(header_end, FrameKind::Body)?;
                if payload.len() as u64 != size {
                    return None;
                }
                let at = header_end + HEADER_LEN;
                (at..at + payload.len(), at + payload.len() + END_LEN)
            }
        };
        Some(Self {
            arguments: Span::new(arguments),
            properties: Span::new(properties),
            body: Span::new(body),
            end,
        })
    }

    /// The message in `buffer`, which this is the layout of.
    pub(crate) fn read(&self, kind: ContentMethod, buffer: Bytes) -> Result<Message, Violation> {
        Message::new(kind, buffer, self).ok_or(Violation::MalformedArguments(kind.id()))
    }
}

/// A message in the making, a frame at a time.
#[derive(Debug, Default)]
pub(crate) enum Assembly {
    /// No message is being received.
    #[default]
    Idle,
    /// The method came; `joined` holds its arguments.
    Header {
        kind: ContentMethod,
        joined: Vec<u8>,
    },
    /// The header came; `joined` holds arguments, properties and what there is of the body.
    Body {
        kind: ContentMethod,
        joined: Vec<u8>,
        arguments: usize,
        properties: usize,
        missing: u64,
    },
}

impl Assembly {
    pub(crate) fn is_idle(&self) -> bool {
        matches!(self, Self::Idle)
    }

    /// A method that a message follows. The caller made sure that none is being received.
    pub(crate) fn begin(&mut self, kind: ContentMethod, arguments: &[u8]) {
        *self = Self::Header {
            kind,
            joined: arguments.to_vec(),
        };
    }

    /// A content header.
    pub(crate) fn header(
        &mut self,
        frame: &Frame<'_>,
        max_message: u32,
    ) -> Result<Option<Message>, Violation> {
        let unexpected = Violation::UnexpectedFrame {
            channel: frame.channel,
            kind: frame.kind,
        };
        let Self::Header { kind, mut joined } = std::mem::take(self) else {
            return Err(unexpected);
        };
        let header =
            ContentHeader::parse(frame.payload).ok_or(Violation::MalformedContentHeader {
                channel: frame.channel,
            })?;
        if header.class != BASIC {
            return Err(Violation::ContentClass {
                channel: frame.channel,
                class: header.class,
            });
        }
        if header.body_size > max_message.into() {
            return Err(Violation::MessageTooLarge {
                size: header.body_size,
                limit: max_message,
            });
        }
        let arguments = joined.len();
        joined.extend_from_slice(header.properties);
        let properties = joined.len();
        *self = Self::Body {
            kind,
            joined,
            arguments,
            properties,
            missing: header.body_size,
        };
        self.finish()
    }

    /// A frame of the body.
    pub(crate) fn body(&mut self, frame: &Frame<'_>) -> Result<Option<Message>, Violation> {
        let Self::Body {
            joined, missing, ..
        } = self
        else {
            return Err(Violation::UnexpectedFrame {
                channel: frame.channel,
                kind: frame.kind,
            });
        };
        let len = frame.payload.len() as u64;
        *missing = missing.checked_sub(len).ok_or(Violation::BodyTooLong {
            channel: frame.channel,
        })?;
        // Grows with what has come, never by what was announced.
        joined.extend_from_slice(frame.payload);
        self.finish()
    }

    fn finish(&mut self) -> Result<Option<Message>, Violation> {
        if !matches!(self, Self::Body { missing: 0, .. }) {
            return Ok(None);
        }
        let Self::Body {
            kind,
            joined,
            arguments,
            properties,
            ..
        } = std::mem::take(self)
        else {
            return Ok(None);
        };
        let layout = Layout {
            arguments: Span::new(0..arguments),
            properties: Span::new(arguments..properties),
            body: Span::new(properties..joined.len()),
            end: joined.len(),
        };
        layout.read(kind, Bytes::from(joined)).map(Some)
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
        let (class, rest) = payload.split_first_chunk::<2>()?;
        // The weight is to be zero, and to be ignored where it is not (LavinMQ does the same).
        let (_weight, rest) = rest.split_first_chunk::<2>()?;
        let (body_size, properties) = rest.split_first_chunk::<8>()?;
        let class = u16::from_be_bytes(*class);
        Some(Self {
            class,
            body_size: u64::from_be_bytes(*body_size),
            properties,
        })
    }
}

/// A range in half the space of a `Range<usize>`.
///
/// A message is never longer than the `u32` that limits it, and its method and header are two
/// frames, so its places fit.
#[derive(Clone, Copy, Debug)]
struct Span {
    start: u32,
    end: u32,
}

impl Span {
    fn new(range: Range<usize>) -> Self {
        Self {
            start: range.start as u32,
            end: range.end as u32,
        }
    }

    fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }

    fn relative_to(self, origin: u32) -> Self {
        Self {
            start: self.start - origin,
            end: self.end - origin,
        }
    }
}

/// The short string at `at`, and where it ends.
fn name(arguments: &[u8], at: usize) -> Option<(ShortStr<'_>, usize)> {
    let len = usize::from(*arguments.get(at)?);
    let end = at + 1 + len;
    let name = ShortStr::new(arguments.get(at + 1..end)?).ok()?;
    Some((name, end))
}

fn u64_at(arguments: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_be_bytes(
        arguments.get(at..at + 8)?.try_into().ok()?,
    ))
}

const BASIC: u16 = 60;
const HEADER_LEN: usize = 7;
const END_LEN: usize = 1;
const METHOD_ID_LEN: usize = 4;
/// Class, weight and body size.
const CONTENT_HEADER_LEN: usize = 12;
