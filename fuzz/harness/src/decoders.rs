//! Bytes to values and back.

use std::time::Instant;

use bytes::BytesMut;
use snowshoe::codec::frame::{self, FRAME_MIN_SIZE, FrameKind, Limits};
use snowshoe::codec::method::basic;
use snowshoe::codec::{
    ChannelId, Event, FieldArrayRef, FieldTable, FieldTableRef, FieldValue, FrameError, Method,
    PropertiesRef,
};

use crate::pair::{Pair, content_header, method_frame, payload_frame, pieces};

/// Frames are the same in any split of the stream, and are written as they were read.
pub fn frames(data: &[u8]) {
    let Some((seed, stream)) = data.split_first() else {
        return;
    };
    let whole = read_frames([stream]);
    assert_eq!(read_frames(pieces(stream, *seed)), whole, "in pieces");
    assert_eq!(read_frames(stream.chunks(1)), whole, "byte by byte");
    let (frames, _) = whole;
    let mut written = Vec::new();
    for (kind, channel, payload) in frames {
        frame::encode(&mut written, kind, channel, |out| {
            out.extend_from_slice(&payload);
        });
    }
    assert!(stream.starts_with(&written));
}

type Frames = (Vec<(FrameKind, ChannelId, Vec<u8>)>, Result<(), FrameError>);

/// Receives pieces one after the other and takes every frame as soon as it is whole.
fn read_frames<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Frames {
    let limits = Limits {
        frame_max: FRAME_MIN_SIZE,
        header_frame_max: 2 * FRAME_MIN_SIZE,
    };
    let mut buffer = Vec::new();
    let mut frames = Vec::new();
    for piece in pieces {
        buffer.extend_from_slice(piece);
        loop {
            match frame::find(&buffer, &limits) {
                Ok(Some(frame)) => {
                    frames.push((frame.kind, frame.channel, frame.payload.to_vec()));
                    buffer.drain(..frame.encoded_len());
                }
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(()))
}

/// A method is decoded to what its encoding is decoded to.
pub fn methods(data: &[u8]) {
    let Ok(method) = Method::decode(data) else {
        return;
    };
    shown(&method);
    let mut encoded = Vec::new();
    method.encode(&mut encoded);
    assert_eq!(Method::decode(&encoded), Ok(method));
}

/// Properties are decoded to what their encoding is decoded to, and come out of a connection as
/// they came in.
pub fn content_headers(data: &[u8]) {
    let decoded = PropertiesRef::decode(data);
    shown(&decoded);
    if let Ok(properties) = &decoded {
        properties.headers.map(walk_table);
        let sendable = properties.headers.is_none_or(|it| it.check().is_ok());
        match properties.encode() {
            Ok(encoded) => {
                assert_eq!(encoded.decode().as_ref(), Ok(properties));
                assert_eq!(encoded.as_bytes(), data, "there is one encoding");
            }
            Err(error) => assert!(!sendable, "{error}"),
        }
    }

    let mut client = Pair::open(1).client;
    let mut input = BytesMut::from(&method_frame(ChannelId(1), basic::Deliver::default())[..]);
    input.extend_from_slice(&payload_frame(
        FrameKind::Header,
        ChannelId(1),
        &content_header(0, data),
    ));
    _ = client.receive(Instant::now(), &mut input);
    match client.poll_event() {
        Some(Event::Delivery { delivery, .. }) => {
            assert_eq!(delivery.content.raw_properties(), data);
            assert_eq!(delivery.content.properties(), decoded);
            assert!(delivery.content.body().is_empty());
        }
        // Too long for a frame, or cut off in the flags.
        Some(Event::Closed(_)) => assert!(data.len() < 2 || data.len() > 100_000),
        other => panic!("{other:?}"),
    }
}

/// A table is read entry by entry without harm. What it says to be well-formed can be built again,
/// and is the same.
pub fn tables(data: &[u8]) {
    let table = FieldTableRef::new(data);
    let array = FieldArrayRef::new(data);
    shown(&(table, array));
    walk_array(array);
    walk_table(table);
    if table.check().is_err() {
        return;
    }
    let mut built = FieldTable::new();
    for entry in table {
        let (name, value) = entry.expect("it was checked");
        built.insert(name, value).expect("it was checked");
        assert!(table.get(name).is_ok_and(|found| found.is_some()));
    }
    assert_eq!(built.check(), Ok(()));
    // Two letters are read as the same type of integer, so that the bytes need not be the same.
    assert_eq!(built.iter().count(), table.iter().count());
    for (built, read) in built.iter().zip(table.iter()) {
        assert_eq!(built, read);
    }
}

/// Reads all that can be reached. That it comes to an end is due to the limit on the depth.
fn walk_table(table: FieldTableRef<'_>) {
    let whole = table.iter().all(|entry| entry.is_ok());
    assert!(whole || table.check().is_err());
    for (_, value) in table.iter().flatten() {
        walk_value(value);
    }
}

fn walk_array(array: FieldArrayRef<'_>) {
    let whole = array.into_iter().all(|value| value.is_ok());
    assert!(whole || array.check().is_err());
    array.into_iter().flatten().for_each(walk_value);
}

fn walk_value(value: FieldValue<'_>) {
    match value {
        FieldValue::Table(table) => walk_table(table),
        FieldValue::Array(array) => walk_array(array),
        _ => {}
    }
}

/// Shows a value as a log would. Its size is bounded, whatever the value.
fn shown(value: &dyn std::fmt::Debug) {
    let shown = format!("{value:?}");
    assert!(shown.len() < 1 << 20, "{} bytes of Debug", shown.len());
}
