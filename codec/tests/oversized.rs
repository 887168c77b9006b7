//! Messages that are longer than is accepted cost themselves, and nothing else.

mod pair;

use pair::read::{client, client_with, content_of, read, receive, server};
use pair::wire::{
    body, channel_close, deliver, delivery, delivery_in, frame, header, header_of, method,
};
use pair::{Pair, goodbye};
use snowshoe_codec::frame::FRAME_OVERHEAD;
use snowshoe_codec::method::{basic, channel, connection};
use snowshoe_codec::{
    ChannelCloseReason, ChannelId, Connection, ConnectionLimits, Event, Excess, FrameKind,
    Incoming, Oversized, Properties, ReplyCode, Violation,
};

const ONE: ChannelId = ChannelId(1);
const TWO: ChannelId = ChannelId(2);

/// The longest body that is accepted here.
const LIMIT: u32 = 10;

/// The longest content header that is, whatever was tuned.
const HEADER_LIMIT: u32 = 128 * 1024 + FRAME_OVERHEAD as u32;

fn narrow() -> ConnectionLimits {
    ConnectionLimits {
        max_message_size: LIMIT,
        ..ConnectionLimits::default()
    }
}

fn narrow_client() -> Connection {
    client_with(2, narrow())
}

/// A client with a basic.get under way.
fn client_that_gets() -> Connection {
    let mut client = narrow_client();
    let mut channel = client.channel(ONE).unwrap();
    let get = channel.send(std::time::Instant::now(), basic::Get::default());
    get.unwrap();
    client
}

fn narrow_server() -> Connection {
    let mut pair = Pair::open_with(ConnectionLimits::default(), narrow());
    pair.open_channel();
    pair.server.connection
}

/// A content header frame of so many bytes, for a body of four.
fn header_of_len(channel: ChannelId, len: usize) -> Vec<u8> {
    let overhead = FRAME_OVERHEAD + 12 + 2 + 4 + 1 + 1 + 1 + 4;
    let value = "y".repeat(len - overhead);
    let properties = Properties::builder().header("x", &*value).build().unwrap();
    let header = header_of(channel, 60, 0, 4, properties.as_bytes());
    assert_eq!(header.len(), len);
    header
}

#[track_caller]
fn oversized(event: &Event) -> (ChannelId, &Oversized) {
    match event {
        Event::Oversized { channel, oversized } => (*channel, oversized),
        other => panic!("{other:?}"),
    }
}

/// The bodies of deliveries, and `None` for those that were too long.
fn bodies(events: &[Event]) -> Vec<(u16, Option<Vec<u8>>)> {
    let body = |event: &Event| match event {
        Event::Delivery { channel, delivery } => (channel.0, Some(delivery.content.body().into())),
        event => (oversized(event).0.0, None),
    };
    events.iter().map(body).collect()
}

// case C1
#[test]
fn a_body_over_the_limit_costs_its_message_alone() {
    for (len, per_frame) in [(11, 11), (11, 1), (3_000, 7), (300_000, 100_000)] {
        let bytes = [
            delivery(ONE, 1, &[1; 10]),
            delivery_in(ONE, 2, &vec![2; len], per_frame),
            delivery(ONE, 3, &[3; 10]),
        ];
        let outcome = read(narrow_client, &bytes.concat());
        let expected = [(1, Some(vec![1; 10])), (1, None), (1, Some(vec![3; 10]))];
        assert_eq!(bodies(&outcome.events), expected);
        assert!(outcome.connection.is_open());
        assert!(outcome.answer.is_empty());
    }
}

// case C1
#[test]
fn what_is_too_long_is_told_with_all_else_that_came_of_it() {
    let properties = Properties::builder().message_id("17").build().unwrap();
    let bytes = [
        method(
            ONE,
            basic::Deliver {
                redelivered: true,
                ..deliver(u64::MAX)
            },
        ),
        header_of(ONE, 60, 0, 11, properties.as_bytes()),
        body(ONE, &[0; 11]),
    ];
    let outcome = read(narrow_client, &bytes.concat());
    let (channel, Oversized { excess, message }) = oversized(outcome.only_event());
    let size = 11;
    assert_eq!(*excess, Excess::Body { size, limit: LIMIT });
    assert_eq!(excess.body_size(), size);
    let Incoming::Delivery(delivery) = message else {
        panic!("{message:?}");
    };
    assert_eq!(channel, ONE);
    assert_eq!(
        (delivery.delivery_tag, delivery.redelivered),
        (u64::MAX, true)
    );
    assert_eq!(delivery.consumer_tag(), "consumer");
    for content in [&delivery.content, &delivery.content.detached()] {
        assert_eq!(content.exchange(), "exchange");
        assert_eq!(content.routing_key(), "key");
        assert_eq!(content.raw_properties(), properties.as_bytes());
        assert_eq!(content.properties().unwrap().message_id.unwrap(), "17");
        assert_eq!((content.body(), content.body_bytes().len()), (&[][..], 0));
        assert_eq!(content.excess(), Some(*excess));
    }
    let whole = read(narrow_client, &delivery_in(ONE, 1, &[0; 10], 10));
    assert_eq!(content_of(whole.only_event()).unwrap().excess(), None);
}

// case C1
#[test]
fn messages_of_every_kind_may_be_too_long() {
    let rest = [header(ONE, 11), body(ONE, &[0; 11])].concat();
    let returned = basic::Return {
        reply_code: ReplyCode::NO_ROUTE,
        ..Default::default()
    };
    let got = basic::GetOk {
        delivery_tag: 7,
        ..Default::default()
    };
    let publish = basic::Publish {
        mandatory: true,
        ..Default::default()
    };
    let outcome = read(narrow_client, &[&method(ONE, returned)[..], &rest].concat());
    let (_, told) = oversized(outcome.only_event());
    assert!(
        matches!(&told.message, Incoming::Returned(it) if it.code == ReplyCode::NO_ROUTE),
        "{told:?}"
    );
    let outcome = read(client_that_gets, &[&method(ONE, got)[..], &rest].concat());
    let (_, told) = oversized(outcome.only_event());
    assert!(
        matches!(&told.message, Incoming::Got(it) if it.delivery_tag == 7),
        "{told:?}"
    );
    let outcome = read(narrow_server, &[&method(ONE, publish)[..], &rest].concat());
    let (_, told) = oversized(outcome.only_event());
    assert!(
        matches!(&told.message, Incoming::Published(it) if it.mandatory),
        "{told:?}"
    );
}

// case C1
#[test]
fn a_returned_message_that_is_too_long_is_known_by_its_body_all_the_same() {
    let long: Vec<u8> = (0..100).collect();
    let other: Vec<u8> = (1..101).collect();
    for per_frame in [1, 60, 100] {
        let mut bytes = method(ONE, basic::Return::default());
        bytes.extend(header(ONE, 100));
        bytes.extend(long.chunks(per_frame).flat_map(|part| body(ONE, part)));
        let outcome = read(narrow_client, &bytes);
        let (_, told) = oversized(outcome.only_event());
        for content in [told.message.content(), &told.message.content().detached()] {
            assert!(content.has_body(&long));
            assert!(!content.has_body(&other) && !content.has_body(b""));
        }
        // Until all of it has come, nothing is known.
        let cut = &bytes[..bytes.len() - 1];
        assert!(receive(narrow_client(), [cut]).events.is_empty());
    }
    let outcome = read(narrow_client, &delivery(ONE, 1, &long));
    let (_, told) = oversized(outcome.only_event());
    assert!(!told.message.content().has_body(&long));
    let outcome = read(narrow_client, &delivery(ONE, 1, b"short"));
    let content = content_of(outcome.only_event()).unwrap();
    assert!(content.has_body(b"short") && !content.has_body(b"other"));
}

// case C1
#[test]
fn what_is_too_long_is_told_before_its_body_has_come() {
    for size in [11, 1 << 32, 1 << 63, u64::MAX] {
        let front = [method(ONE, deliver(1)), header(ONE, size)].concat();
        let outcome = read(narrow_client, &front);
        let (_, told) = oversized(outcome.only_event());
        assert_eq!(told.excess, Excess::Body { size, limit: LIMIT });
        assert!(outcome.connection.is_open());
    }
    // It may never end, and others go on.
    let mut bytes = [method(ONE, deliver(1)), header(ONE, 1 << 63)].concat();
    for tag in 1..=100 {
        bytes.extend(body(ONE, &[0; 1000]));
        bytes.extend(delivery(TWO, tag, b"other"));
    }
    let outcome = receive(narrow_client(), [&bytes[..]]);
    assert_eq!(outcome.events.len(), 101);
    assert!(outcome.connection.is_open());
}

// case C1
#[test]
fn bodies_that_are_skipped_may_be_interleaved() {
    let parts = |channel, len: usize| {
        let whole = vec![7; len];
        let mut frames = vec![method(channel, deliver(1)), header(channel, len as u64)];
        frames.extend(whole.chunks(len / 4).map(|part| body(channel, part)));
        frames
    };
    let blocked = method(ChannelId(0), connection::Unblocked);
    let mut bytes = Vec::new();
    for (one, two) in parts(ONE, 40).iter().zip(parts(TWO, 80)) {
        bytes.extend([&one[..], &two, &blocked].concat());
    }
    bytes.extend([delivery(TWO, 2, b"two"), delivery(ONE, 2, b"one")].concat());
    let outcome = read(narrow_client, &bytes);
    let told = outcome.events.into_iter();
    let told: Vec<_> = told
        .filter(|event| !matches!(event, Event::Unblocked))
        .collect();
    let expected = [
        (1, None),
        (2, None),
        (2, Some(b"two".into())),
        (1, Some(b"one".into())),
    ];
    assert_eq!(bodies(&told), expected);
}

// case C1
#[test]
fn more_of_a_body_than_was_announced_ends_the_connection_also_where_it_is_skipped() {
    for frames in [
        vec![body(ONE, &[0; 12])],
        vec![body(ONE, &[0; 6]), body(ONE, &[0; 6])],
    ] {
        let front = [method(ONE, deliver(1)), header(ONE, 11)].concat();
        let outcome = read(narrow_client, &[front, frames.concat()].concat());
        assert_eq!(bodies(&outcome.events[..1]), [(1, None)]);
        let too_long = Violation::BodyTooLong { channel: ONE };
        assert_eq!(*outcome.violation(), too_long);
    }
    // After its end there is no more of it, not even nothing.
    let bytes = [delivery(ONE, 1, &[0; 11]), body(ONE, b"")].concat();
    let unexpected = Violation::UnexpectedFrame {
        channel: ONE,
        kind: FrameKind::Body,
    };
    assert_eq!(*read(narrow_client, &bytes).violation(), unexpected);
}

// case C1
#[test]
fn nothing_but_the_end_of_the_channel_comes_within_a_body_that_is_skipped() {
    let begun = [
        method(ONE, deliver(1)),
        header(ONE, 100),
        body(ONE, &[0; 50]),
    ]
    .concat();
    let close = channel_close(ONE, ReplyCode::NOT_FOUND, "");
    let outcome = read(narrow_client, &[&begun[..], &close].concat());
    let [
        Event::Oversized { .. },
        Event::ChannelClosed { channel, reason },
    ] = &outcome.events[..]
    else {
        panic!("{outcome:?}");
    };
    assert_eq!(*channel, ONE);
    assert!(matches!(reason, ChannelCloseReason::Peer(_)));
    assert!(outcome.connection.is_open());

    for (inside, kind) in [
        (method(ONE, deliver(2)), FrameKind::Method),
        (method(ONE, basic::Cancel::default()), FrameKind::Method),
        (
            method(ONE, channel::Flow { active: true }),
            FrameKind::Method,
        ),
        (header(ONE, 1), FrameKind::Header),
    ] {
        let outcome = read(narrow_client, &[begun.clone(), inside].concat());
        let unexpected = Violation::UnexpectedFrame { channel: ONE, kind };
        assert_eq!(*outcome.violation(), unexpected);
    }
}

// case C1
#[test]
fn what_is_left_of_a_body_is_discarded_once_we_close_its_channel() {
    let now = std::time::Instant::now();
    let begun = [method(ONE, deliver(1)), header(ONE, 100)].concat();
    let mut connection = receive(narrow_client(), [&begun[..]]).connection;
    let (code, text) = goodbye();
    connection
        .channel(ONE)
        .unwrap()
        .close(now, code, text)
        .unwrap();
    let rest = [
        body(ONE, &[0; 500]),
        method(ONE, channel::CloseOk),
        delivery(TWO, 1, b"other"),
    ];
    let outcome = receive(connection, [&rest.concat()[..]]);
    let [Event::ChannelClosed { .. }, Event::Delivery { .. }] = &outcome.events[..] else {
        panic!("{outcome:?}");
    };
}

// case C1
#[test]
fn a_content_header_over_the_limit_costs_its_message_alone() {
    for len in [HEADER_LIMIT + 1, 1 << 20] {
        let bytes = [
            method(ONE, deliver(1)),
            header_of_len(ONE, len as usize),
            body(ONE, b"body"),
            delivery(ONE, 2, b"next"),
        ];
        let outcome = read(|| client(2), &bytes.concat());
        let expected = [(1, None), (1, Some(b"next".into()))];
        assert_eq!(bodies(&outcome.events), expected);
        let (_, told) = oversized(&outcome.events[0]);
        let excess = Excess::Header {
            size: len.into(),
            limit: HEADER_LIMIT,
            body_size: 4,
        };
        assert_eq!(told.excess, excess);
        let content = told.message.content();
        assert_eq!(content.routing_key(), "key");
        assert_eq!(content.raw_properties(), b"");
        assert_eq!(content.detached().excess(), Some(excess));
        assert!(outcome.connection.is_open());
    }
    let publish = method(ONE, basic::Publish::default());
    let header = header_of_len(ONE, 1 << 20);
    let bytes = [publish.clone(), header, body(ONE, b"body"), publish];
    let outcome = read(|| server(1), &bytes.concat());
    assert!(matches!(outcome.only_event(), Event::Oversized { .. }));
    assert!(outcome.connection.is_open());
}

// case C1
#[test]
fn a_large_content_header_is_held_to_the_rules_of_any_other() {
    let deliver = method(ONE, deliver(1));
    let large = header_of_len(ONE, 200_000);
    let unexpected = Violation::UnexpectedFrame {
        channel: ONE,
        kind: FrameKind::Header,
    };
    let outcome = read(|| client(2), &large);
    assert_eq!(*outcome.violation(), unexpected);
    let front = [&deliver[..], &header(ONE, 1)].concat();
    let outcome = read(|| client(2), &[&front[..], &large].concat());
    assert_eq!(*outcome.violation(), unexpected);

    let mut of_another_class = large.clone();
    of_another_class[7..9].copy_from_slice(&[0, 50]);
    let outcome = read(|| client(2), &[&deliver[..], &of_another_class].concat());
    let class = Violation::ContentClass {
        channel: ONE,
        class: 50,
    };
    assert_eq!(*outcome.violation(), class);

    let mut without_an_end = large.clone();
    *without_an_end.last_mut().unwrap() = 0xCD;
    let outcome = read(|| client(2), &[&deliver[..], &without_an_end].concat());
    assert_eq!(outcome.events.len(), 2);
    assert!(matches!(outcome.violation(), Violation::Frame(_)));

    for channel in [ChannelId(0), ChannelId(7)] {
        let outcome = read(|| client(2), &header_of_len(channel, 200_000));
        assert!(!outcome.connection.is_open(), "{channel}");
    }
    // What may be long is nothing else.
    for kind in [FrameKind::Method, FrameKind::Body] {
        let outcome = read(|| client(2), &frame(kind, ONE, &[0; 200_000]));
        assert!(matches!(outcome.violation(), Violation::Frame(_)));
    }
}

// case C1
#[test]
fn a_large_content_header_is_passed_over_where_its_channel_is_at_its_end() {
    let now = std::time::Instant::now();
    let make = || {
        let mut client = client(2);
        let (code, text) = goodbye();
        let mut channel = client.channel(ONE).unwrap();
        channel.close(now, code, text).unwrap();
        client
    };
    let message = [
        method(ONE, deliver(1)),
        header_of_len(ONE, 200_000),
        body(ONE, b"body"),
    ]
    .concat();
    let close_ok = method(ONE, channel::CloseOk);
    let bytes = [&message[..], &close_ok, &message, &delivery(TWO, 1, b"two")].concat();
    let outcome = read(make, &bytes);
    let [Event::ChannelClosed { .. }, Event::Delivery { .. }] = &outcome.events[..] else {
        panic!("{outcome:?}");
    };

    let make = || {
        let mut client = client(2);
        let (code, text) = goodbye();
        client.close(now, code, text);
        client
    };
    let outcome = read(make, &message);
    assert!(outcome.events.is_empty());
}
