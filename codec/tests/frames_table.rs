//! What a connection makes of each kind of wrong frame. Of those that are about messages,
//! channels and tuning, `content.rs`, `channels.rs` and `handshake.rs` have more.

mod pair;

use std::time::Instant;

use bytes::{Buf, BytesMut};
use pair::Pair;
use pair::read::{client, client_with, content_of, read, server};
use pair::wire::{body, deliver, delivery, frame, header, method, raw_frame, written};
use snowshoe_codec::frame::{self, HEARTBEAT, Limits};
use snowshoe_codec::method::{Arguments, MethodId, basic, queue};
use snowshoe_codec::{
    ChannelId, Connection, ConnectionLimits, Event, FrameError, FrameKind, MethodError, Properties,
    Publish, ReplyCode, Violation,
};

/// A client of frames of 4096 bytes, with a channel.
fn small_client() -> Connection {
    let limits = ConnectionLimits {
        frame_max: 4096,
        ..ConnectionLimits::default()
    };
    client_with(1, limits)
}

#[track_caller]
fn frame_error(make: impl Fn() -> Connection, input: &[u8]) -> FrameError {
    match read(make, input).violation() {
        Violation::Frame(error) => *error,
        other => panic!("{other}"),
    }
}

#[test]
fn a_wrong_frame_end_is_fatal() {
    for found in [0, 0xCD, 0xFF] {
        let mut bytes = body(ChannelId(1), b"payload");
        *bytes.last_mut().unwrap() = found;
        let error = FrameError::WrongEnd {
            kind: FrameKind::Body,
            channel: ChannelId(1),
            found,
        };
        assert_eq!(frame_error(|| client(1), &bytes), error);
        assert_eq!(Violation::from(error).reply_code(), ReplyCode::FRAME_ERROR);
    }
}

#[test]
fn an_unknown_frame_type_is_fatal_at_the_first() {
    for kind in [0, 4, 5, 6, 7, 9, 206, 255] {
        let error = FrameError::UnknownKind { kind };
        let bytes = raw_frame(kind, ChannelId(0), b"");
        assert_eq!(frame_error(|| client(1), &bytes), error);
        // Before the rest of it is there.
        let bytes = [kind, 0, 0, 0, 1, 0, 0];
        assert_eq!(frame_error(|| client(1), &bytes), error);
    }
}

#[test]
fn a_frame_larger_than_negotiated_is_refused_by_its_header() {
    for size in [4096 + 8 - 8 + 1, 131_072, u32::MAX] {
        let mut bytes = vec![FrameKind::Body as u8, 0, 1];
        bytes.extend(size.to_be_bytes());
        let error = FrameError::TooLarge {
            kind: FrameKind::Body,
            channel: ChannelId(1),
            size: u64::from(size) + 8,
            max: 4096 + 8,
        };
        assert_eq!(frame_error(small_client, &bytes), error);
    }
}

/// Both brokers do the same.
#[test]
fn a_frame_larger_by_its_overhead_is_taken() {
    let bytes = delivery(ChannelId(1), 1, &[7; 4096]);
    let outcome = read(small_client, &bytes);
    let content = content_of(outcome.only_event()).unwrap();
    assert_eq!(content.body(), [7; 4096]);
}

#[test]
fn no_frame_that_is_sent_is_larger_than_negotiated() {
    let mut client = small_client();
    let mut channel = client.channel(ChannelId(1)).unwrap();
    for len in 4000..4200 {
        channel
            .publish(&Publish {
                exchange: Default::default(),
                routing_key: Default::default(),
                mandatory: false,
                properties: &Properties::EMPTY,
                body: &vec![0; len].into(),
            })
            .unwrap();
    }
    let limits = Limits {
        frame_max: 4096,
        header_frame_max: 4096,
    };
    let bytes = written(&mut client);
    let mut rest = &bytes[..];
    while let Some(frame) = frame::find(rest, &limits).expect("no frame is larger") {
        rest = &rest[frame.encoded_len()..];
    }
    assert!(rest.is_empty());
}

#[test]
fn a_heartbeat_on_a_channel_or_with_a_payload_is_fatal() {
    let on_channel = raw_frame(8, ChannelId(1), b"");
    let error = FrameError::HeartbeatOnChannel {
        channel: ChannelId(1),
    };
    assert_eq!(frame_error(|| client(1), &on_channel), error);

    let with_payload = raw_frame(8, ChannelId(0), b"x");
    let error = FrameError::HeartbeatWithPayload { size: 1 };
    assert_eq!(frame_error(|| client(1), &with_payload), error);
}

#[test]
fn heartbeats_may_come_at_any_time() {
    for make in [|| client(1), || server(1)] {
        let outcome = read(make, &HEARTBEAT.repeat(5));
        assert!(outcome.events.is_empty() && outcome.answer.is_empty());
    }
}

#[test]
fn a_method_that_nobody_knows_is_named_by_its_ids() {
    for channel in [0, 1] {
        let unknown = frame(
            FrameKind::Method,
            ChannelId(channel),
            &[0, 99, 0, 7, 1, 2, 3],
        );
        for make in [|| client(1), || server(1)] {
            let outcome = read(make, &unknown);
            let id = MethodId {
                class: 99,
                method: 7,
            };
            let unknown = Violation::Method(MethodError::Unknown(id));
            assert_eq!(*outcome.violation(), unknown);
            assert_eq!(unknown.to_string(), "unknown method: class 99, method 7",);
            assert_eq!(unknown.reply_code(), ReplyCode::NOT_IMPLEMENTED);
        }
    }
}

#[test]
fn a_method_cut_off_or_with_bytes_to_spare_is_fatal() {
    let mut payload = Vec::new();
    queue::DeclareOk::default().encode(&mut payload);
    let client = || {
        let mut client = client(1);
        let mut channel = client.channel(ChannelId(1)).unwrap();
        let declare = queue::Declare::default();
        channel.send(Instant::now(), declare).unwrap();
        written(&mut client);
        client
    };
    let id = queue::DeclareOk::ID;
    let cut_off = frame(
        FrameKind::Method,
        ChannelId(1),
        &payload[..payload.len() - 1],
    );
    let truncated = Violation::Method(MethodError::Truncated(id));
    assert_eq!(*read(client, &cut_off).violation(), truncated);

    let spare = frame(
        FrameKind::Method,
        ChannelId(1),
        &[&payload[..], b"??"].concat(),
    );
    let trailing = MethodError::TrailingBytes {
        method: id,
        count: 2,
    };
    let trailing = Violation::Method(trailing);
    assert_eq!(*read(client, &spare).violation(), trailing);

    for payload in [&b""[..], b"\0", b"\0\x32\0"] {
        let outcome = read(client, &frame(FrameKind::Method, ChannelId(1), payload));
        let missing = Violation::Method(MethodError::MissingId);
        assert_eq!(*outcome.violation(), missing);
    }
}

#[test]
fn content_on_channel_0_is_fatal() {
    for (bytes, kind) in [
        (header(ChannelId(0), 0), FrameKind::Header),
        (body(ChannelId(0), b"x"), FrameKind::Body),
    ] {
        let outcome = read(|| client(1), &bytes);
        let unexpected = Violation::UnexpectedFrame {
            channel: ChannelId(0),
            kind,
        };
        assert_eq!(*outcome.violation(), unexpected);
    }
    let outcome = read(|| client(1), &method(ChannelId(0), deliver(1)));
    let unexpected = Violation::UnexpectedMethod {
        channel: ChannelId(0),
        method: basic::Deliver::ID,
    };
    assert_eq!(*outcome.violation(), unexpected);
}

#[test]
fn an_unknown_consumer_tag_is_left_to_the_application() {
    let unknown = basic::Deliver {
        consumer_tag: "cancelled just now".try_into().unwrap(),
        ..deliver(1)
    };
    let bytes = [method(ChannelId(1), unknown), header(ChannelId(1), 0)].concat();
    let outcome = read(|| client(1), &bytes);
    assert!(matches!(outcome.only_event(), Event::Delivery { .. }));
}

#[test]
fn frames_before_a_violation_count_and_those_after_it_do_not() {
    let bytes = [
        delivery(ChannelId(1), 1, b"before"),
        raw_frame(0, ChannelId(0), b""),
        delivery(ChannelId(1), 2, b"after"),
    ]
    .concat();
    let outcome = read(|| client(1), &bytes);
    let [Event::Delivery { delivery, .. }, Event::Closed(_)] = &outcome.events[..] else {
        panic!("{:?}", outcome.events);
    };
    assert_eq!(delivery.content.body(), b"before");
}

#[test]
fn the_rest_of_a_frame_stays_in_the_input() {
    let mut client = client(1);
    let whole = delivery(ChannelId(1), 1, b"body");
    let mut input = BytesMut::from(&[&whole[..], &whole[..9]].concat()[..]);
    _ = client.receive(Instant::now(), &mut input);
    assert_eq!(input, whole[..9]);
    input.extend_from_slice(&whole[9..]);
    _ = client.receive(Instant::now(), &mut input);
    assert!(input.is_empty());
    assert_eq!(std::iter::from_fn(|| client.poll_event()).count(), 2);
}

#[test]
fn a_violation_is_told_to_the_peer_with_its_code() {
    let mut pair = Pair::open();
    let mut input = (&raw_frame(0, ChannelId(0), b"")[..]).into();
    _ = pair.client.connection.receive(pair.now, &mut input);
    assert!(pair.client.connection.outbound().has_remaining());
    pair.run();
    match &pair.server.events[..] {
        [Event::Closed(reason)] => assert!(reason.to_string().contains("501"), "{reason}"),
        other => panic!("{other:?}"),
    }
}
