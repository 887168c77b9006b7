//! Messages: put together from frames, cut into frames, and read without trust.

mod pair;

use bytes::{Bytes, BytesMut};
use pair::read::{client, client_with, content_of, read, server};
use pair::wire::{body, channel_close, deliver, delivery, delivery_in, header, header_of, method};
use pair::{Pair, wire};
use snowshoe_codec::frame::{self, FRAME_OVERHEAD, HEARTBEAT, Limits};
use snowshoe_codec::method::{Arguments, basic, channel, connection};
use snowshoe_codec::{
    ChannelId, ConnectionLimits, Content, Event, FrameKind, Properties, Publish, ReplyCode,
    SendError, Violation,
};

fn bodies(events: &[Event]) -> Vec<(u16, Bytes)> {
    let body = |event: &Event| match event {
        Event::Delivery { channel, delivery } => (channel.0, delivery.content.body_bytes()),
        other => panic!("{other:?}"),
    };
    events.iter().map(body).collect()
}

#[test]
fn a_delivery_is_told_with_all_that_came() {
    let properties = Properties::builder()
        .content_type("text/plain")
        .header("k", 1)
        .build()
        .unwrap();
    let bytes = [
        method(
            ChannelId(1),
            basic::Deliver {
                redelivered: true,
                ..deliver(u64::MAX)
            },
        ),
        header_of(ChannelId(1), 60, 0, 5, properties.as_bytes()),
        body(ChannelId(1), b"hello"),
    ]
    .concat();
    let outcome = read(|| client(1), &bytes);
    let Event::Delivery {
        channel: ChannelId(1),
        delivery,
    } = outcome.only_event()
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(delivery.consumer_tag(), "consumer");
    assert_eq!(delivery.delivery_tag, u64::MAX);
    assert!(delivery.redelivered);
    let content = &delivery.content;
    assert_eq!(content.exchange(), "exchange");
    assert_eq!(content.routing_key(), "key");
    assert_eq!(content.body(), b"hello");
    assert_eq!(content.body_bytes(), &b"hello"[..]);
    assert_eq!(content.raw_properties(), properties.as_bytes());
    let properties = content.properties().unwrap();
    assert_eq!(properties.content_type.unwrap(), "text/plain");
    assert_eq!(properties.headers.unwrap().iter().count(), 1);
}

#[test]
fn a_return_is_told_with_its_reason_and_its_message() {
    let returned = basic::Return {
        reply_code: ReplyCode::NO_ROUTE,
        reply_text: "NO_ROUTE".try_into().unwrap(),
        exchange: "amq.direct".try_into().unwrap(),
        routing_key: "nowhere".try_into().unwrap(),
    };
    let bytes = [
        method(ChannelId(1), returned),
        header(ChannelId(1), 4),
        body(ChannelId(1), b"back"),
    ]
    .concat();
    let outcome = read(|| client(1), &bytes);
    let Event::Returned {
        channel: ChannelId(1),
        returned,
    } = outcome.only_event()
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(returned.code, ReplyCode::NO_ROUTE);
    assert_eq!(returned.text(), "NO_ROUTE");
    assert_eq!(returned.content.exchange(), "amq.direct");
    assert_eq!(returned.content.routing_key(), "nowhere");
    assert_eq!(returned.content.body(), b"back");
}

#[test]
fn a_body_of_no_bytes_is_complete_at_its_header() {
    let bytes = [
        delivery(ChannelId(1), 1, b""),
        delivery(ChannelId(1), 2, b"next"),
    ]
    .concat();
    let outcome = read(|| client(1), &bytes);
    assert_eq!(
        bodies(&outcome.events),
        [(1, "".into()), (1, "next".into())]
    );
}

#[test]
fn a_body_in_many_frames_is_joined() {
    let whole: Vec<u8> = (0..100).collect();
    for per_frame in [1, 7, 99, 100] {
        let outcome = read(
            || client(1),
            &delivery_in(ChannelId(1), 1, &whole, per_frame),
        );
        assert_eq!(bodies(&outcome.events), [(1, whole.clone().into())]);
    }
}

#[test]
fn empty_body_frames_in_between_are_no_harm() {
    let bytes = [
        method(ChannelId(1), deliver(1)),
        header(ChannelId(1), 4),
        body(ChannelId(1), b"").repeat(3),
        body(ChannelId(1), b"ab"),
        body(ChannelId(1), b"").repeat(1000),
        body(ChannelId(1), b"cd"),
        delivery(ChannelId(1), 2, b"next"),
    ]
    .concat();
    let outcome = read(|| client(1), &bytes);
    let expected = [(1, "abcd".into()), (1, "next".into())];
    assert_eq!(bodies(&outcome.events), expected);
}

#[test]
fn a_body_frame_after_a_complete_message_ends_the_connection() {
    for message in [
        delivery(ChannelId(1), 1, b""),
        delivery(ChannelId(1), 1, b"abc"),
    ] {
        let outcome = read(|| client(1), &[message, body(ChannelId(1), b"")].concat());
        let [Event::Delivery { .. }, Event::Closed(_)] = &outcome.events[..] else {
            panic!("{:?}", outcome.events);
        };
        let unexpected = Violation::UnexpectedFrame {
            channel: ChannelId(1),
            kind: FrameKind::Body,
        };
        assert_eq!(*outcome.violation(), unexpected);
    }
}

#[test]
fn messages_on_different_channels_may_be_interleaved() {
    let parts = |channel: ChannelId| {
        let text = format!("message {channel}");
        let (head, tail) = text.as_bytes().split_at(4);
        [
            method(channel, deliver(1)),
            header(channel, text.len() as u64),
            body(channel, head),
            body(channel, tail),
        ]
    };
    let (one, two, three) = (
        parts(ChannelId(1)),
        parts(ChannelId(2)),
        parts(ChannelId(3)),
    );
    let mut bytes = Vec::new();
    for ((one, two), three) in one.iter().zip(&two).zip(&three) {
        bytes.extend([&one[..], two, &HEARTBEAT, three].concat());
    }
    let outcome = read(|| client(3), &bytes);
    let expected = [
        (1, "message 1".into()),
        (2, "message 2".into()),
        (3, "message 3".into()),
    ];
    assert_eq!(bodies(&outcome.events), expected);
}

#[test]
fn channel_0_and_the_end_of_the_channel_may_come_within_a_message() {
    let blocked = method(ChannelId(0), connection::Blocked::default());
    let first = [
        method(ChannelId(1), deliver(1)),
        blocked.clone(),
        header(ChannelId(1), 4),
        blocked.clone(),
        body(ChannelId(1), b"ab"),
        HEARTBEAT.to_vec(),
        blocked,
        body(ChannelId(1), b"cd"),
    ]
    .concat();
    let outcome = read(|| client(1), &first);
    let [
        Event::Blocked { .. },
        Event::Blocked { .. },
        Event::Blocked { .. },
        Event::Delivery { delivery, .. },
    ] = &outcome.events[..]
    else {
        panic!("{:?}", outcome.events);
    };
    assert_eq!(delivery.content.body(), b"abcd");

    let close = channel_close(ChannelId(1), ReplyCode::NOT_FOUND, "");
    for cut in [
        [method(ChannelId(1), deliver(1)), close.clone()].concat(),
        [
            method(ChannelId(1), deliver(1)),
            header(ChannelId(1), 1),
            close,
        ]
        .concat(),
    ] {
        let outcome = read(|| client(1), &cut);
        assert_eq!(outcome.channel_closed().0, 1);
        assert!(outcome.connection.is_open());
    }
}

#[test]
fn any_other_method_within_a_message_ends_the_connection() {
    let methods = [
        method(ChannelId(1), deliver(2)),
        method(ChannelId(1), basic::Cancel::default()),
        method(ChannelId(1), basic::QosOk),
        method(ChannelId(1), channel::Flow { active: true }),
        method(ChannelId(1), channel::CloseOk),
    ];
    for inside in methods {
        for before in [
            method(ChannelId(1), deliver(1)),
            [method(ChannelId(1), deliver(1)), header(ChannelId(1), 1)].concat(),
        ] {
            let outcome = read(|| client(1), &[before, inside.clone()].concat());
            let unexpected = Violation::UnexpectedFrame {
                channel: ChannelId(1),
                kind: FrameKind::Method,
            };
            assert_eq!(*outcome.violation(), unexpected);
            let code = outcome.violation().reply_code();
            assert_eq!(code, ReplyCode::UNEXPECTED_FRAME);
        }
    }
}

#[test]
fn frames_of_a_message_in_the_wrong_order_end_the_connection() {
    let cases = [
        (header(ChannelId(1), 0), FrameKind::Header),
        (body(ChannelId(1), b"x"), FrameKind::Body),
        (
            [method(ChannelId(1), deliver(1)), body(ChannelId(1), b"x")].concat(),
            FrameKind::Body,
        ),
        (
            [
                method(ChannelId(1), deliver(1)),
                header(ChannelId(1), 1),
                header(ChannelId(1), 1),
            ]
            .concat(),
            FrameKind::Header,
        ),
    ];
    for (bytes, kind) in cases {
        let outcome = read(|| client(1), &bytes);
        let unexpected = Violation::UnexpectedFrame {
            channel: ChannelId(1),
            kind,
        };
        assert_eq!(*outcome.violation(), unexpected);
    }
}

#[test]
fn a_body_longer_than_announced_ends_the_connection_at_once() {
    let cases = [
        [header(ChannelId(1), 3), body(ChannelId(1), b"abcd")].concat(),
        [
            header(ChannelId(1), 3),
            body(ChannelId(1), b"ab"),
            body(ChannelId(1), b"cd"),
        ]
        .concat(),
    ];
    for rest in cases {
        let outcome = read(
            || client(1),
            &[method(ChannelId(1), deliver(1)), rest].concat(),
        );
        let too_long = Violation::BodyTooLong {
            channel: ChannelId(1),
        };
        assert_eq!(*outcome.violation(), too_long);
    }
}

#[test]
fn a_content_header_of_another_class_ends_the_connection() {
    for rest in [
        header_of(ChannelId(1), 50, 0, 0, &[0, 0]),
        [
            header_of(ChannelId(1), 50, 0, 1, &[0, 0]),
            body(ChannelId(1), b"x"),
        ]
        .concat(),
    ] {
        let outcome = read(
            || client(1),
            &[method(ChannelId(1), deliver(1)), rest].concat(),
        );
        let other = Violation::ContentClass {
            channel: ChannelId(1),
            class: 50,
        };
        assert_eq!(*outcome.violation(), other);
    }
}

#[test]
fn a_content_header_too_short_for_its_fields_ends_the_connection() {
    for len in [0, 1, 11] {
        let short = frame(
            FrameKind::Header,
            ChannelId(1),
            &[0, 60, 0, 0, 0, 0, 0, 0, 0, 0, 0][..len],
        );
        let outcome = read(
            || client(1),
            &[method(ChannelId(1), deliver(1)), short].concat(),
        );
        let malformed = Violation::MalformedContentHeader {
            channel: ChannelId(1),
        };
        assert_eq!(*outcome.violation(), malformed);
    }
}

fn frame(kind: FrameKind, channel: ChannelId, payload: &[u8]) -> Vec<u8> {
    wire::frame(kind, channel, payload)
}

#[test]
fn the_weight_in_a_content_header_is_ignored() {
    let bytes = [
        method(ChannelId(1), deliver(1)),
        header_of(ChannelId(1), 60, 0xffff, 2, &[0, 0]),
        body(ChannelId(1), b"ok"),
    ]
    .concat();
    let outcome = read(|| client(1), &bytes);
    assert_eq!(bodies(&outcome.events), [(1, "ok".into())]);
}

/// Brokers forward what any publisher wrote.
#[test]
fn malformed_properties_are_an_error_of_that_message_alone() {
    let header_table_nested_deep = {
        let mut table = Vec::new();
        for _ in 0..4000 {
            let mut outer = vec![1, b'k', b'F'];
            outer.extend((table.len() as u32).to_be_bytes());
            outer.extend(&table);
            table = outer;
        }
        let mut properties = vec![0x20, 0];
        properties.extend((table.len() as u32).to_be_bytes());
        properties.extend(table);
        properties
    };
    let properties: [(&[u8], bool); 8] = [
        (b"", false),
        (b"\0", false),
        // A continuation.
        (b"\0\x01\0\0", false),
        // Content type announced and missing.
        (b"\x80\0", false),
        (b"\x80\0\x05abc", false),
        // Bytes to spare.
        (b"\0\0\0", false),
        // A header table longer than the frame.
        (b"\x20\0\xff\xff\xff\xffk", false),
        // Too deep, which shows when it is walked.
        (&header_table_nested_deep, true),
    ];
    for (properties, readable) in properties {
        let malformed = [
            method(ChannelId(1), deliver(1)),
            header_of(ChannelId(1), 60, 0, 4, properties),
            body(ChannelId(1), b"body"),
        ]
        .concat();
        let bytes = [&malformed[..], &delivery(ChannelId(1), 2, b"next")].concat();
        let outcome = read(|| client(1), &bytes);
        let [malformed, next] = &outcome.events[..] else {
            panic!("{:?}", outcome.events);
        };
        let content = content_of(malformed).unwrap();
        assert_eq!(content.properties().is_ok(), readable, "{properties:x?}");
        assert_eq!(content.raw_properties(), properties);
        assert_eq!(content.body(), b"body");
        assert_eq!(content_of(next).unwrap().body(), b"next");
        if let Ok(properties) = content.properties() {
            assert!(properties.headers.unwrap().check().is_err());
        }
    }
}

#[test]
fn names_that_are_no_text_are_told_as_they_are() {
    let deliver = basic::Deliver {
        consumer_tag: b"\xff\xfe"[..].try_into().unwrap(),
        exchange: b"\0"[..].try_into().unwrap(),
        routing_key: [0x80; 255][..].try_into().unwrap(),
        ..deliver(1)
    };
    let bytes = [method(ChannelId(1), deliver), header(ChannelId(1), 0)].concat();
    let outcome = read(|| client(1), &bytes);
    let Event::Delivery { delivery, .. } = outcome.only_event() else {
        panic!("{outcome:?}");
    };
    assert_eq!(delivery.consumer_tag().as_bytes(), b"\xff\xfe");
    assert_eq!(delivery.content.exchange().as_bytes(), b"\0");
    assert_eq!(delivery.content.routing_key().as_bytes(), [0x80; 255]);
}

#[test]
fn malformed_arguments_of_a_delivery_end_the_connection_before_its_body() {
    let mut arguments = Vec::new();
    deliver(1).encode(&mut arguments);
    let cut = &arguments[..arguments.len() - 1];
    let spare = [&arguments[..], b"!"].concat();
    for arguments in [cut, &spare, &arguments[..4]] {
        let bytes = frame(FrameKind::Method, ChannelId(1), arguments);
        let outcome = read(|| client(1), &bytes);
        let malformed = Violation::MalformedArguments(basic::Deliver::ID);
        assert_eq!(*outcome.violation(), malformed);
    }
}

#[test]
fn debug_of_a_message_shows_sizes_only() {
    let outcome = read(|| client(1), &delivery(ChannelId(1), 1, b"s3cret"));
    let debug = format!("{:?}", outcome.events);
    assert!(!debug.contains("s3cret"), "{debug}");
    assert!(debug.contains("body_len: 6"), "{debug}");
}

#[test]
fn a_detached_message_is_the_same_in_memory_of_its_own() {
    let whole = delivery(ChannelId(1), 1, b"keep me");
    for bytes in [&whole, &delivery_in(ChannelId(1), 1, b"keep me", 2)] {
        let outcome = read(|| client(1), bytes);
        let content = content_of(outcome.only_event()).unwrap();
        let detached: Content = content.detached();
        assert_eq!(detached.body(), content.body());
        assert_eq!(detached.exchange(), content.exchange());
        assert_eq!(detached.routing_key(), content.routing_key());
        assert_eq!(detached.raw_properties(), content.raw_properties());
        assert_ne!(detached.body().as_ptr(), content.body().as_ptr());
    }
}

#[test]
fn a_message_in_one_read_is_not_copied() {
    let mut client = client(1);
    let mut input = BytesMut::from(&delivery(ChannelId(1), 1, &[7; 10_000])[..]);
    let block = input.as_ptr_range();
    _ = client.receive(std::time::Instant::now(), &mut input);
    let event = client.poll_event().unwrap();
    let body = content_of(&event).unwrap().body_bytes();
    assert!(block.contains(&body.as_ptr()));
}

#[test]
fn a_message_is_copied_where_that_was_asked_for() {
    for (below, is_copied) in [(10_000, false), (10_100, true)] {
        let mut client = client(1);
        client.copy_below(below);
        let whole = delivery(ChannelId(1), 1, &[7; 10_000]);
        let mut input = BytesMut::from(&[&whole[..], &whole].concat()[..]);
        let block = input.as_ptr_range();
        _ = client.receive(std::time::Instant::now(), &mut input);
        assert!(input.is_empty());
        for _ in 0..2 {
            let event = client.poll_event().unwrap();
            let body = content_of(&event).unwrap().body_bytes();
            assert_eq!(block.contains(&body.as_ptr()), !is_copied);
            assert_eq!(body, [7; 10_000][..]);
        }
    }
}

fn published(body: &Bytes, properties: &Properties, frame_max: u32) -> Pair {
    let limits = ConnectionLimits {
        frame_max,
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(limits, ConnectionLimits::default());
    let id = pair.open_channel();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel
        .publish(&Publish {
            exchange: "exchange".try_into().unwrap(),
            routing_key: "key".try_into().unwrap(),
            mandatory: true,
            properties,
            body,
        })
        .unwrap();
    pair
}

#[test]
fn a_body_is_split_at_the_negotiated_size_and_joined_again() {
    let per_frame = 4096 - FRAME_OVERHEAD;
    let lens = [
        0,
        1,
        per_frame - 1,
        per_frame,
        per_frame + 1,
        3 * per_frame,
        50_000,
    ];
    for len in lens {
        let body: Bytes = (0..len).map(|at| at as u8).collect();
        let mut pair = published(&body, &Properties::EMPTY, 4096);
        let sent = wire::written(&mut pair.client.connection);
        let limits = Limits {
            frame_max: 4096,
            header_frame_max: 4096,
        };
        let mut rest = &sent[..];
        let mut parts = Vec::new();
        while let Some(frame) = frame::find(rest, &limits).expect("no frame is too large") {
            if frame.kind == FrameKind::Body {
                parts.push(frame.payload.len());
            }
            rest = &rest[frame.encoded_len()..];
        }
        assert_eq!(parts.len(), len.div_ceil(per_frame));
        let outcome = pair::read::receive(pair.server.connection, [&sent[..]]);
        assert_eq!(content_of(outcome.only_event()).unwrap().body(), body);
    }
}

#[test]
fn a_publish_comes_to_the_server_as_it_was_sent() {
    let properties = Properties::builder()
        .persistent()
        .correlation_id("7")
        .build()
        .unwrap();
    let body = Bytes::from_static(b"hello");
    let mut pair = published(&body, &properties, 131_072);
    let sent = wire::written(&mut pair.client.connection);
    let outcome = read(|| server(1), &sent);
    let Event::Published {
        channel: ChannelId(1),
        published,
    } = outcome.only_event()
    else {
        panic!("{outcome:?}");
    };
    assert!(published.mandatory && !published.immediate);
    assert_eq!(published.content.exchange(), "exchange");
    assert_eq!(published.content.routing_key(), "key");
    assert_eq!(published.content.body(), b"hello");
    assert_eq!(published.content.raw_properties(), properties.as_bytes());
}

#[test]
fn properties_that_do_not_fit_into_a_frame_are_refused_before_a_byte_is_written() {
    let limits = ConnectionLimits {
        frame_max: 4096,
        ..ConnectionLimits::default()
    };
    let mut client = client_with(1, limits);
    let mut channel = client.channel(ChannelId(1)).unwrap();
    let mut publish = |len: usize| {
        let value = "y".repeat(len);
        let properties = Properties::builder().header("x", &*value).build().unwrap();
        let len = properties.as_bytes().len();
        let result = channel.publish(&Publish {
            exchange: Default::default(),
            routing_key: Default::default(),
            mandatory: false,
            properties: &properties,
            body: &Bytes::from_static(b"body"),
        });
        (len, result)
    };
    let (overhead, _) = publish(0);
    let room = 4096 - FRAME_OVERHEAD - 12;
    let error = SendError::FrameTooLarge {
        size: 4097,
        limit: 4096,
    };
    assert_eq!(publish(room + 1 - overhead).1, Err(error));
    assert_eq!(publish(room - overhead), (room, Ok(None)));
}

#[test]
fn a_server_delivers_returns_and_gives_messages() {
    let (mut pair, id) = Pair::with_channel();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.send(pair.now, basic::Get::default()).unwrap();
    pair.run();
    let properties = Properties::builder().app_id("broker").build().unwrap();
    let body = Bytes::from_static(b"from the broker");
    let mut channel = pair.server.connection.channel(id).unwrap();
    channel
        .send_content(deliver(1), &properties, &body)
        .unwrap();
    let returned = basic::Return::default();
    channel.send_content(returned, &properties, &body).unwrap();
    let got = basic::GetOk::default();
    channel.send_content(got, &properties, &body).unwrap();
    let publish = channel.send_content(basic::Publish::default(), &properties, &body);
    assert_eq!(publish, Err(SendError::NotSendable(basic::Publish::ID)));
    let empty = channel.send_content(basic::GetEmpty::default(), &properties, &body);
    assert_eq!(empty, Err(SendError::NotSendable(basic::GetEmpty::ID)));
    pair.run();
    let [
        Event::Delivery { .. },
        Event::Returned { .. },
        Event::Got { .. },
    ] = &pair.client.events[..]
    else {
        panic!("{:?}", pair.client.events);
    };
    for event in &pair.client.events {
        let content = content_of(event).unwrap();
        assert_eq!(content.body(), body);
        assert_eq!(content.raw_properties(), properties.as_bytes());
    }
    let mut channel = pair.client.connection.channel(id).unwrap();
    let refused = channel.send_content(deliver(1), &properties, &body);
    assert_eq!(refused, Err(SendError::NotSendable(basic::Deliver::ID)));
}

/// No broker can split a content header, so both forward one as large as a publisher's frames.
#[test]
fn a_content_header_may_be_larger_than_what_was_negotiated() {
    let limits = ConnectionLimits {
        frame_max: 4096,
        ..ConnectionLimits::default()
    };
    let make = || client_with(1, limits.clone());
    let with_header_of = |len: usize| {
        let overhead = FRAME_OVERHEAD + 12 + 2 + 4 + 1 + 1 + 1 + 4;
        let value = "y".repeat(len - overhead);
        let properties = Properties::builder().header("x", &*value).build().unwrap();
        let header = header_of(ChannelId(1), 60, 0, 4, properties.as_bytes());
        assert_eq!(header.len(), len);
        [
            method(ChannelId(1), deliver(1)),
            header,
            body(ChannelId(1), b"body"),
        ]
        .concat()
    };
    // As LavinMQ was seen to do.
    let outcome = read(make, &with_header_of(8033));
    assert_eq!(bodies(&outcome.events), [(1, "body".into())]);
    let outcome = read(make, &with_header_of(131_072));
    assert_eq!(bodies(&outcome.events), [(1, "body".into())]);
    let outcome = read(make, &with_header_of(131_072 + FRAME_OVERHEAD + 1));
    assert!(matches!(outcome.only_event(), Event::Oversized { .. }));

    let large_body = delivery(ChannelId(1), 1, &[0; 4097]);
    let outcome = read(make, &large_body);
    assert!(matches!(outcome.violation(), Violation::Frame(_)));
}
