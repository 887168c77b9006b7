//! What a peer says, made by hand.

use bytes::{Buf, Bytes};
use snowshoe_codec::frame::{self, HEARTBEAT};
use snowshoe_codec::method::{Arguments, basic, connection};
use snowshoe_codec::{ChannelId, Connection, FrameKind, ReplyCode, ShortString};

pub(crate) fn raw_frame(kind: u8, channel: ChannelId, payload: &[u8]) -> Vec<u8> {
    let mut out = frame(FrameKind::Method, channel, payload);
    out[0] = kind;
    out
}

pub(crate) fn frame(kind: FrameKind, channel: ChannelId, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(&mut out, kind, channel, |out| {
        out.extend_from_slice(payload);
    });
    out
}

pub(crate) fn method(channel: ChannelId, method: impl Arguments) -> Vec<u8> {
    let mut payload = Vec::new();
    method.encode(&mut payload);
    frame(FrameKind::Method, channel, &payload)
}

/// A content header with any class, size and encoded properties.
pub(crate) fn header_of(
    channel: ChannelId,
    class: u16,
    weight: u16,
    size: u64,
    properties: &[u8],
) -> Vec<u8> {
    let mut payload = Vec::new();
    payload.extend_from_slice(&class.to_be_bytes());
    payload.extend_from_slice(&weight.to_be_bytes());
    payload.extend_from_slice(&size.to_be_bytes());
    payload.extend_from_slice(properties);
    frame(FrameKind::Header, channel, &payload)
}

/// The content header of a message of `size` bytes without properties.
pub(crate) fn header(channel: ChannelId, size: u64) -> Vec<u8> {
    header_of(channel, 60, 0, size, &[0, 0])
}

pub(crate) fn body(channel: ChannelId, payload: &[u8]) -> Vec<u8> {
    frame(FrameKind::Body, channel, payload)
}

pub(crate) fn deliver(delivery_tag: u64) -> basic::Deliver {
    basic::Deliver {
        consumer_tag: ShortString::from_static("consumer"),
        delivery_tag,
        redelivered: false,
        exchange: ShortString::from_static("exchange"),
        routing_key: ShortString::from_static("key"),
    }
}

/// A whole delivery, its body in frames of at most `per_frame` bytes.
pub(crate) fn delivery_in(
    channel: ChannelId,
    delivery_tag: u64,
    payload: &[u8],
    per_frame: usize,
) -> Vec<u8> {
    let mut out = method(channel, deliver(delivery_tag));
    out.extend(header(channel, payload.len() as u64));
    for part in payload.chunks(per_frame) {
        out.extend(body(channel, part));
    }
    out
}

/// A whole delivery with its body in one frame.
pub(crate) fn delivery(channel: ChannelId, delivery_tag: u64, payload: &[u8]) -> Vec<u8> {
    delivery_in(channel, delivery_tag, payload, payload.len().max(1))
}

/// connection.start as a broker sends it.
pub(crate) fn start(mechanisms: &str) -> Vec<u8> {
    let start = connection::Start {
        version_major: 0,
        version_minor: 9,
        mechanisms: mechanisms.to_owned().into(),
        locales: "en_US".into(),
        ..Default::default()
    };
    method(ChannelId(0), start)
}

pub(crate) fn tune(channel_max: u16, frame_max: u32, heartbeat: u16) -> Vec<u8> {
    let tune = connection::Tune {
        channel_max,
        frame_max,
        heartbeat,
    };
    method(ChannelId(0), tune)
}

pub(crate) fn connection_close(code: ReplyCode, text: &'static str) -> Vec<u8> {
    let close = connection::Close {
        reply_code: code,
        reply_text: ShortString::from_static(text),
        ..Default::default()
    };
    method(ChannelId(0), close)
}

pub(crate) fn channel_close(channel: ChannelId, code: ReplyCode, text: &'static str) -> Vec<u8> {
    let close = snowshoe_codec::method::channel::Close {
        reply_code: code,
        reply_text: ShortString::from_static(text),
        ..Default::default()
    };
    method(channel, close)
}

/// The start of a frame that never comes to its end.
pub(crate) const SPARE: &[u8] = HEARTBEAT.split_at(HEARTBEAT.len() - 1).0;

/// Takes what a connection wants to write.
pub(crate) fn written(connection: &mut Connection) -> Bytes {
    let outbound = connection.outbound();
    outbound.copy_to_bytes(outbound.remaining())
}
