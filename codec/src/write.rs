//! Whole frames put into the outbound buffer.

use bytes::{BufMut, Bytes};

use crate::content::CONTENT_HEADER_LEN;
use crate::frame::{self, FRAME_END, FRAME_OVERHEAD, FrameHeader, FrameKind};
use crate::method::{Arguments, MethodId, basic};
use crate::outbound::Outbound;
use crate::{Method, Properties, SendError};

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

/// Writes a method, a content header, and the body in as many frames as it takes; or nothing, if
/// what cannot be split would be longer than `frame_max`.
pub(crate) fn content(
    outbound: &mut Outbound,
    channel: u16,
    frame_max: u32,
    put_method: impl FnOnce(&mut Vec<u8>),
    properties: &Properties,
    body: &Bytes,
) -> Result<(), SendError> {
    let properties = properties.as_bytes();
    let header_len = CONTENT_HEADER_LEN + properties.len() + FRAME_OVERHEAD;
    check_len(header_len, frame_max)?;
    fitting(outbound, channel, frame_max, put_method)?;
    frame::encode(outbound.copied(), FrameKind::Header, channel, |out| {
        out.put_u16(basic::Publish::ID.class);
        out.put_u16(0); // weight: RabbitMQ answers anything else with a 505
        out.put_u64(body.len() as u64);
        out.put_slice(properties);
    });
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
    Ok(())
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
