//! Whole frames put into the outbound buffer.

use bytes::{BufMut, Bytes};

use crate::content::CONTENT_HEADER_LEN;
use crate::frame::{self, FRAME_END, FRAME_OVERHEAD, FrameHeader, FrameKind};
use crate::method::{Arguments, MethodId, basic};
use crate::outbound::{KEEP_FROM, Outbound};
use crate::{Method, Properties, Publish, SendError};

/// Writes a method, or nothing if its frame would be longer than `frame_max`.
pub(crate) fn method(
    outbound: &mut Outbound,
    channel: u16,
    method: &Method,
    frame_max: u32,
) -> Result<(), SendError> {
    fitting(outbound, channel, frame_max, |out| method.encode(out))
}

/// Writes a method whose arguments are short strings and numbers, and so fit into any frame.
pub(crate) fn short_method(outbound: &mut Outbound, channel: u16, method: &impl Arguments) {
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
    channel: u16,
    frame_max: u32,
    message: &Publish<'_>,
) -> Result<(), SendError> {
    let properties = message.properties.as_bytes();
    let (exchange, routing_key) = (message.exchange.as_bytes(), message.routing_key.as_bytes());
    let header_len = CONTENT_HEADER_LEN + properties.len();
    check_len(header_len + FRAME_OVERHEAD, frame_max)?;
    // Two names fit into any frame.
    let method_len = PUBLISH.len() + 1 + exchange.len() + 1 + routing_key.len() + 1;

    let out = outbound.copied();
    out.reserve(method_len + header_len + 3 * FRAME_OVERHEAD + message.body.len().min(KEEP_FROM));
    let header = |kind, len: usize| FrameHeader {
        kind,
        channel,
        size: len as u32,
    };
    out.put_slice(&header(FrameKind::Method, method_len).to_bytes());
    out.put_slice(&PUBLISH);
    out.put_u8(exchange.len() as u8);
    out.put_slice(exchange);
    out.put_u8(routing_key.len() as u8);
    out.put_slice(routing_key);
    out.put_slice(&[message.mandatory.into(), FRAME_END]);
    out.put_slice(&header(FrameKind::Header, header_len).to_bytes());
    out.put_slice(&CONTENT_HEADER);
    out.put_u64(message.body.len() as u64);
    out.put_slice(properties);
    out.put_u8(FRAME_END);
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
    channel: u16,
    frame_max: u32,
    put_method: impl FnOnce(&mut Vec<u8>),
    properties: &Properties,
    message: &Bytes,
) -> Result<(), SendError> {
    let properties = properties.as_bytes();
    let header_len = CONTENT_HEADER_LEN + properties.len() + FRAME_OVERHEAD;
    check_len(header_len, frame_max)?;
    fitting(outbound, channel, frame_max, put_method)?;
    frame::encode(outbound.copied(), FrameKind::Header, channel, |out| {
        out.put_slice(&CONTENT_HEADER);
        out.put_u64(message.len() as u64);
        out.put_slice(properties);
    });
    body(outbound, channel, frame_max, message);
    Ok(())
}

/// Writes a body in as many frames as it takes.
fn body(outbound: &mut Outbound, channel: u16, frame_max: u32, body: &Bytes) {
    let per_frame = frame_max as usize - FRAME_OVERHEAD;
    let mut at = 0;
    while at < body.len() {
        let end = body.len().min(at + per_frame);
        let header = FrameHeader {
            kind: FrameKind::Body,
            channel,
            size: (end - at) as u32,
        };
        outbound.copied().put_slice(&header.to_bytes());
        outbound.push(body, at..end);
        outbound.copied().put_u8(FRAME_END);
        at = end;
    }
}

/// Appends the ids that stand in front of a method's arguments.
pub(crate) fn put_method_id(out: &mut Vec<u8>, id: MethodId) {
    out.put_u16(id.class);
    out.put_u16(id.method);
}

/// Writes a method frame, and takes it back if it turns out to be too long.
fn fitting(
    outbound: &mut Outbound,
    channel: u16,
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
