//! The bytes that both sides work on.

use bytes::Bytes;
use snowshoe::codec::frame::{self, FrameKind};
use snowshoe::codec::method::basic;
use snowshoe::codec::{ChannelId, FieldTable, Method, Properties};
use snowshoe::{FieldValue, ShortString};

/// The channel of everything.
pub(crate) const CHANNEL: ChannelId = ChannelId(1);

pub(crate) const QUEUE: &str = "orders";

/// Nothing is longer, so that no body is split.
pub(crate) const FRAME_MAX: u32 = 131_072;

pub(crate) fn body(size: usize) -> Bytes {
    vec![b'x'; size].into()
}

/// The properties of every message: persistent.
pub(crate) fn properties() -> Properties {
    let properties = Properties::builder().persistent().build();
    properties.expect("there is little in them")
}

fn method(out: &mut Vec<u8>, method: &Method) {
    frame::encode(out, FrameKind::Method, CHANNEL, |out| method.encode(out));
}

/// Deliveries of this size, in their frames.
pub(crate) fn deliveries(size: usize, count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for delivery_tag in 1..=count {
        let deliver = basic::Deliver {
            consumer_tag: ShortString::from_static("consumer"),
            delivery_tag,
            redelivered: false,
            exchange: ShortString::default(),
            routing_key: ShortString::from_static(QUEUE),
        };
        message(&mut out, &deliver.into(), size);
    }
    out
}

/// A publish of this size, in its frames.
pub(crate) fn publish(size: usize) -> Vec<u8> {
    let mut out = Vec::new();
    let publish = basic::Publish {
        routing_key: ShortString::from_static(QUEUE),
        ..basic::Publish::default()
    };
    message(&mut out, &publish.into(), size);
    out
}

/// A method with a message.
fn message(out: &mut Vec<u8>, carrier: &Method, size: usize) {
    method(out, carrier);
    frame::encode(out, FrameKind::Header, CHANNEL, |out| {
        out.extend([0, 60, 0, 0]);
        out.extend((size as u64).to_be_bytes());
        out.extend(properties().as_bytes());
    });
    frame::encode(out, FrameKind::Body, CHANNEL, |out| {
        out.extend(body(size));
    });
}

/// How many deliveries of this size are about what is read at once, as a divisor of
/// [`GRAIN`](crate::GRAIN).
pub(crate) fn batch(size: usize) -> u64 {
    if size < 16 << 10 { 100 } else { 4 }
}

/// An acknowledgement.
pub(crate) fn ack(delivery_tag: u64) -> basic::Ack {
    basic::Ack {
        delivery_tag,
        multiple: false,
    }
}

/// Acknowledgements in their frames.
pub(crate) fn acks(count: u64) -> Vec<u8> {
    let mut out = Vec::new();
    for tag in 1..=count {
        method(&mut out, &ack(tag).into());
    }
    out
}

/// What is in a table, as it may be among the headers of a message.
pub(crate) fn entries() -> [(&'static str, FieldValue<'static>); 8] {
    [
        ("attempt", FieldValue::from(3_i32)),
        ("delay", FieldValue::from(1_700_000_000_000_i64)),
        ("final", FieldValue::from(true)),
        ("node", FieldValue::from("rabbit@one")),
        ("reason", FieldValue::from("expired")),
        ("tenant", FieldValue::from("snow")),
        (
            "trace",
            FieldValue::from("4bf92f3577b34da6a3ce929d0e0e4736"),
        ),
        ("version", FieldValue::from(2_i32)),
    ]
}

pub(crate) fn table() -> FieldTable {
    let mut table = FieldTable::new();
    for (name, value) in entries() {
        table.insert(name, value).expect("the name is short");
    }
    table
}
