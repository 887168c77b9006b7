//! Whole frames put into the outbound buffer.

use std::fmt;

use bytes::{BufMut, Bytes};

use crate::content::CONTENT_HEADER_LEN;
use crate::frame::{self, FRAME_END, FRAME_OVERHEAD, FrameHeader, FrameKind};
use crate::method::{Arguments, Method, MethodId, basic};
use crate::outbound::{KEEP_FROM, Outbound};
use crate::properties::Properties;
use crate::types::{ChannelId, ShortStr};

/// A message to publish.
#[derive(Clone, Copy)]
pub struct Publish<'a> {
    /// The exchange; empty for the default exchange, which routes to the queue that the routing
    /// key names.
    pub exchange: ShortStr<'a>,
    /// The routing key.
    pub routing_key: ShortStr<'a>,
    /// Whether the broker is to return the message if it cannot be routed.
    pub mandatory: bool,
    /// The properties.
    pub properties: &'a Properties,
    /// The body. A large one is shared, not copied.
    pub body: &'a Bytes,
}

impl fmt::Debug for Publish<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // The size only: a payload has no place in a log, and can be of any length.
        f.debug_struct("Publish")
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("mandatory", &self.mandatory)
            .field("properties", &self.properties)
            .field("body_len", &self.body.len())
            .finish()
    }
}

/// Why something could not be sent; nothing of it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendError {
    /// The channel, or all of the connection, is not open yet or no longer.
    #[error("not open yet, or no longer")]
    NotOpen,
    /// A method that the machine sends by itself, that carries a message, or that belongs to
    /// another channel or to the other side.
    #[error("{0} cannot be sent this way")]
    NotSendable(MethodId),
    /// Delivery tags count from 1. Brokers close the channel over a 0, or take it for all
    /// deliveries where `multiple` is set.
    #[error("no delivery has the tag 0")]
    TagZero,
    /// A method's arguments or a message's properties do not fit into one frame, and cannot be
    /// split.
    #[error("a frame of {size} bytes would be needed; {limit} were negotiated")]
    FrameTooLarge {
        /// The length of the frame.
        size: usize,
        /// The limit that was negotiated.
        limit: u32,
    },
}

/// Writes a method, or nothing if its frame would be longer than `frame_max`.
pub(crate) fn method(
    outbound: &mut Outbound,
    channel: ChannelId,
    method: &Method,
    frame_max: u32,
) -> Result<(), SendError> {
    fitting(outbound, channel, frame_max, |out| method.encode(out))
}

/// Writes a method whose arguments are short strings and numbers, and so fit into any frame.
pub(crate) fn short_method(outbound: &mut Outbound, channel: ChannelId, method: &impl Arguments) {
    frame::encode(outbound.copied(), FrameKind::Method, channel, |out| {
        method.encode(out);
    });
}

/// Writes a message to publish, as [`content`] would.
///
/// By hand, with as few appends as there are parts whose length is not known beforehand: each costs
/// about as much as what it appends, and every message passes here.
pub(crate) fn publish(
    outbound: &mut Outbound,
    channel: ChannelId,
    frame_max: u32,
    message: &Publish<'_>,
) -> Result<(), SendError> {
    let (exchange, routing_key) = (message.exchange.as_bytes(), message.routing_key.as_bytes());
    let header_len = header_len(message.properties, frame_max)?;
    // Two names fit into any frame.
    let method_len = PUBLISH.len() + 1 + exchange.len() + 1 + routing_key.len() + 1;

    let out = outbound.copied();
    out.reserve(method_len + header_len + 3 * FRAME_OVERHEAD + message.body.len().min(KEEP_FROM));
    out.put_slice(&frame_header(FrameKind::Method, channel, method_len));
    out.put_slice(&PUBLISH);
    out.put_u8(exchange.len() as u8);
    out.put_slice(exchange);
    out.put_u8(routing_key.len() as u8);
    out.put_slice(routing_key);
    out.put_slice(&[message.mandatory.into(), FRAME_END]);
    header(out, channel, message.properties, message.body.len());
    body(outbound, channel, frame_max, message.body);
    Ok(())
}

/// The ids of basic.publish, and the reserved ticket.
const PUBLISH: [u8; 6] = {
    let MethodId { class, method } = basic::Publish::ID;
    let ([c0, c1], [m0, m1]) = (class.to_be_bytes(), method.to_be_bytes());
    [c0, c1, m0, m1, 0, 0]
};

/// The class, and the weight: RabbitMQ answers another than 0 with a 505.
const CONTENT_HEADER: [u8; 4] = {
    let [c0, c1] = basic::Publish::ID.class.to_be_bytes();
    [c0, c1, 0, 0]
};

/// Writes a method, a content header, and the body in as many frames as it takes; or nothing, if
/// what cannot be split would be longer than `frame_max`.
pub(crate) fn content(
    outbound: &mut Outbound,
    channel: ChannelId,
    frame_max: u32,
    put_method: impl FnOnce(&mut Vec<u8>),
    properties: &Properties,
    message: &Bytes,
) -> Result<(), SendError> {
    header_len(properties, frame_max)?;
    fitting(outbound, channel, frame_max, put_method)?;
    header(outbound.copied(), channel, properties, message.len());
    body(outbound, channel, frame_max, message);
    Ok(())
}

/// The length of a content header with these properties, which has to fit into one frame.
fn header_len(properties: &Properties, frame_max: u32) -> Result<usize, SendError> {
    let len = CONTENT_HEADER_LEN + properties.as_bytes().len();
    check_len(len + FRAME_OVERHEAD, frame_max)?;
    Ok(len)
}

/// Writes a content header.
#[inline]
fn header(out: &mut Vec<u8>, channel: ChannelId, properties: &Properties, body_len: usize) {
    let properties = properties.as_bytes();
    let len = CONTENT_HEADER_LEN + properties.len();
    out.put_slice(&frame_header(FrameKind::Header, channel, len));
    out.put_slice(&CONTENT_HEADER);
    out.put_u64(body_len as u64);
    out.put_slice(properties);
    out.put_u8(FRAME_END);
}

/// Writes a body in as many frames as it takes.
fn body(outbound: &mut Outbound, channel: ChannelId, frame_max: u32, body: &Bytes) {
    let per_frame = frame_max as usize - FRAME_OVERHEAD;
    let mut at = 0;
    while at < body.len() {
        let end = body.len().min(at + per_frame);
        let header = frame_header(FrameKind::Body, channel, end - at);
        outbound.copied().put_slice(&header);
        outbound.push(body, at..end);
        outbound.copied().put_u8(FRAME_END);
        at = end;
    }
}

/// What stands before a payload of this length, which was found to fit into a frame.
fn frame_header(kind: FrameKind, channel: ChannelId, len: usize) -> [u8; FRAME_OVERHEAD - 1] {
    let size = len as u32;
    FrameHeader {
        kind,
        channel,
        size,
    }
    .to_bytes()
}

/// Appends the ids that stand in front of a method's arguments.
pub(crate) fn put_method_id(out: &mut Vec<u8>, id: MethodId) {
    out.put_u16(id.class);
    out.put_u16(id.method);
}

/// Writes a method frame, and takes it back if it turns out to be too long.
fn fitting(
    outbound: &mut Outbound,
    channel: ChannelId,
    frame_max: u32,
    put_method: impl FnOnce(&mut Vec<u8>),
) -> Result<(), SendError> {
    let out = outbound.copied();
    let start = out.len();
    frame::encode(out, FrameKind::Method, channel, put_method);
    check_len(out.len() - start, frame_max).inspect_err(|_| out.truncate(start))
}

fn check_len(size: usize, limit: u32) -> Result<(), SendError> {
    if size > limit as usize {
        Err(SendError::FrameTooLarge { size, limit })
    } else {
        Ok(())
    }
}
