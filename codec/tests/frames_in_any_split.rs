//! Frames are found however the stream is cut: whole, byte by byte, and with bytes to spare.

use snowshoe_codec::{
    ChannelId, FrameError, FrameHeader, FrameKind,
    frame::{self, FRAME_OVERHEAD, HEARTBEAT, Limits},
};

const LIMITS: Limits = Limits {
    frame_max: 64,
    header_frame_max: 128,
};

type Read = (FrameKind, u16, Vec<u8>);

/// Receives `chunks` one after the other and takes every frame as soon as it is whole.
fn receive<'a>(chunks: impl IntoIterator<Item = &'a [u8]>) -> (Vec<Read>, Result<(), FrameError>) {
    let mut buffer = Vec::new();
    let mut frames = Vec::new();
    for chunk in chunks {
        buffer.extend_from_slice(chunk);
        loop {
            match frame::find(&buffer, &LIMITS) {
                Ok(Some(frame)) => {
                    frames.push((frame.kind, frame.channel.0, frame.payload.to_vec()));
                    buffer.drain(..frame.encoded_len());
                }
                Ok(None) => break,
                Err(error) => return (frames, Err(error)),
            }
        }
    }
    (frames, Ok(()))
}

/// What comes of `input`, which must be the same in every split and with the start of a frame after it.
#[track_caller]
fn read(input: &[u8]) -> (Vec<Read>, Result<(), FrameError>) {
    let whole = receive([input]);
    assert_eq!(receive(input.chunks(1)), whole, "byte by byte");
    for at in 0..input.len() {
        let (head, tail) = input.split_at(at);
        assert_eq!(receive([head, tail]), whole, "in two at {at}");
    }
    for spare in 1..HEARTBEAT.len() {
        assert_eq!(
            receive([input, &HEARTBEAT[..spare]]),
            whole,
            "{spare} bytes to spare"
        );
        assert_eq!(
            receive([&[input, &HEARTBEAT[..spare]].concat()[..]]),
            whole,
            "{spare} bytes to spare"
        );
    }
    whole
}

fn encoded(kind: FrameKind, channel: ChannelId, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(&mut out, kind, channel, |out| {
        out.extend_from_slice(payload);
    });
    out
}

#[test]
fn each_kind_of_frame_is_found() {
    for kind in [FrameKind::Method, FrameKind::Header, FrameKind::Body] {
        let (frames, end) = read(&encoded(kind, ChannelId(0x1234), b"payload"));
        assert_eq!(frames, [(kind, 0x1234, b"payload".to_vec())]);
        assert_eq!(end, Ok(()));
    }
    assert_eq!(
        read(&HEARTBEAT),
        (vec![(FrameKind::Heartbeat, 0, vec![])], Ok(()))
    );
}

#[test]
fn frames_that_follow_each_other_are_found_in_order() {
    let input = [
        encoded(FrameKind::Method, ChannelId(1), &[0, 60, 0, 40]),
        HEARTBEAT.to_vec(),
        encoded(FrameKind::Header, ChannelId(1), &[frame::FRAME_END; 9]),
        encoded(FrameKind::Body, ChannelId(1), b""),
        encoded(FrameKind::Body, ChannelId(1), b"body"),
    ];
    let (frames, end) = read(&input.concat());
    let sizes: Vec<_> = frames
        .iter()
        .map(|(kind, _, payload)| (*kind as u8, payload.len()))
        .collect();
    assert_eq!(sizes, [(1, 4), (8, 0), (2, 9), (3, 0), (3, 4)]);
    assert_eq!(end, Ok(()));
}

#[test]
fn nothing_is_found_in_nothing() {
    assert_eq!(read(b""), (vec![], Ok(())));
}

#[test]
fn a_wrong_end_is_refused() {
    let mut input = encoded(FrameKind::Body, ChannelId(3), b"body");
    *input.last_mut().unwrap() = 0xCD;
    let error = FrameError::WrongEnd {
        kind: FrameKind::Body,
        channel: ChannelId(3),
        found: 0xCD,
    };
    assert_eq!(read(&input), (vec![], Err(error)));
}

#[test]
fn an_unknown_type_is_refused_after_frames_that_are_read() {
    let input = [&HEARTBEAT[..], b"HTTP/1.1 400 Bad Request"].concat();
    let (frames, end) = read(&input);
    assert_eq!(frames.len(), 1);
    assert_eq!(end, Err(FrameError::UnknownKind { kind: b'H' }));
    for kind in [0, 4, 5, 7, 9, 255] {
        assert_eq!(
            read(&[kind, 0, 0, 0, 0, 0, 0, 0xCE]).1,
            Err(FrameError::UnknownKind { kind })
        );
    }
}

#[test]
fn the_largest_frame_is_found_and_a_larger_one_refused_by_its_header() {
    for (kind, max) in [
        (FrameKind::Method, 64),
        (FrameKind::Body, 64),
        (FrameKind::Header, 128),
    ] {
        let largest = vec![7; max - FRAME_OVERHEAD];
        assert_eq!(read(&encoded(kind, ChannelId(1), &largest)).0.len(), 1);

        let larger = encoded(kind, ChannelId(1), &vec![7; max - FRAME_OVERHEAD + 1]);
        let error = FrameError::TooLarge {
            kind,
            channel: ChannelId(1),
            size: max as u64 + 1,
            max: max as u32,
        };
        assert_eq!(read(&larger[..7]), (vec![], Err(error)));
    }
}

#[test]
fn the_largest_size_that_can_be_announced_is_refused_by_its_header() {
    let limits = Limits {
        frame_max: u32::MAX,
        header_frame_max: u32::MAX,
    };
    let error = frame::find(&[3, 0, 1, 0xFF, 0xFF, 0xFF, 0xFF], &limits).unwrap_err();
    assert!(matches!(
        error,
        FrameError::TooLarge {
            size: 0x1_0000_0007,
            ..
        }
    ));
}

#[test]
fn a_heartbeat_on_a_channel_or_with_a_payload_is_refused_by_its_header() {
    let on_channel = [8, 0, 5, 0, 0, 0, 0];
    assert_eq!(
        read(&on_channel).1,
        Err(FrameError::HeartbeatOnChannel {
            channel: ChannelId(5)
        })
    );
    let with_payload = [8, 0, 0, 0, 0, 0, 2];
    assert_eq!(
        read(&with_payload).1,
        Err(FrameError::HeartbeatWithPayload { size: 2 })
    );
}

#[test]
fn a_header_is_written_as_it_is_read() {
    let header = FrameHeader {
        kind: FrameKind::Body,
        channel: ChannelId(0xABCD),
        size: 50,
    };
    let bytes = header.to_bytes();
    assert_eq!(bytes, [3, 0xAB, 0xCD, 0, 0, 0, 50]);
    assert_eq!(FrameHeader::peek(&bytes, &LIMITS), Ok(Some(header)));
    assert_eq!(FrameHeader::peek(&bytes[..6], &LIMITS), Ok(None));
}
