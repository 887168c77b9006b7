//! A hostile peer cannot make a connection hold much more than what it sent.
//!
//! The allocator counts for the whole process, so this is one test, alone in its file.

mod pair;

use std::time::Instant;

use bytes::{Buf, BytesMut};
use pair::read::{client, client_with, server};
use pair::wire::{body, deliver, frame, header, header_of, method};
use peak_alloc::PeakAlloc;
use snowshoe_codec::frame::HEARTBEAT;
use snowshoe_codec::method::{basic, channel, connection, queue, tx};
use snowshoe_codec::{ChannelId, Connection, ConnectionLimits, FieldTable, FrameKind, ShortString};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const INPUT: usize = 64 * 1024;
const ALLOWED: usize = 1024 * 1024;

#[test]
fn a_peer_makes_nobody_hold_more_than_it_is_worth() {
    no_64_kib_of_input_hold_more_than_a_mib();
    no_flood_holds_more_than_a_mib();
    no_storm_of_closes_holds_more_than_a_mib();
}

fn no_64_kib_of_input_hold_more_than_a_mib() {
    let half_told = |id| [method(id, deliver(1)), header(id, 1 << 20), body(id, b"x")].concat();
    let split = [
        method(ChannelId(1), deliver(1)),
        header(ChannelId(1), 2),
        body(ChannelId(1), b"x"),
        body(ChannelId(1), b"y"),
    ];
    let cancel = |consumer_tag, nowait| basic::Cancel {
        consumer_tag: ShortString::from_static(consumer_tag),
        nowait,
    };
    let to_a_client = [
        ("heartbeats", repeated(&HEARTBEAT)),
        ("a long body announced", message_of(128 << 20, &[])),
        ("octets of a long body", message_of(128 << 20, b"x")),
        ("empty frames of a body", message_of(1, b"")),
        (
            "messages half told on all channels",
            (1..=1000).map(ChannelId).flat_map(half_told).collect(),
        ),
        (
            "empty messages",
            repeated(&[method(ChannelId(1), deliver(1)), header(ChannelId(1), 0)].concat()),
        ),
        ("messages in many frames", repeated(&split.concat())),
        (
            "header tables said to be of 4 GiB",
            repeated(
                &[
                    method(ChannelId(1), deliver(1)),
                    header_of(ChannelId(1), 60, 0, 0, b"\x20\0\xff\xff\xff\xff"),
                ]
                .concat(),
            ),
        ),
        (
            "unblocked",
            repeated(&method(ChannelId(0), connection::Unblocked)),
        ),
        ("cancels", repeated(&method(ChannelId(1), cancel("", true)))),
        (
            "cancels to be answered",
            repeated(&method(ChannelId(1), cancel("c", false))),
        ),
        (
            "pauses of the flow",
            repeated(&method(ChannelId(1), channel::Flow { active: true })),
        ),
        (
            "half of a large frame",
            frame(FrameKind::Body, ChannelId(1), &[0; 100_000])[..INPUT].to_vec(),
        ),
    ];
    for (what, input) in to_a_client {
        holds_little(what, client(1000), &input);
    }

    let declare = queue::Declare {
        queue: ShortString::from_static("q"),
        arguments: FieldTable::new().with("k", true).unwrap(),
        ..Default::default()
    };
    let publish = method(ChannelId(1), basic::Publish::default());
    let open = |id| method(id, channel::Open::default());
    let open_and_close = |id| [open(id), method(id, channel::Close::default())].concat();
    let to_a_server = [
        ("requests", repeated(&method(ChannelId(1), tx::Select))),
        (
            "requests with names",
            repeated(&method(ChannelId(1), declare)),
        ),
        (
            "messages",
            repeated(&[publish, header(ChannelId(1), 0)].concat()),
        ),
        (
            "all channels",
            (2..=2047).map(ChannelId).flat_map(open).collect(),
        ),
        ("the last channel", open(ChannelId(2047))),
        ("short channels", repeated(&open_and_close(ChannelId(2)))),
    ];
    for (what, input) in to_a_server {
        holds_little(what, server(1), &input);
    }
}

// cases C1 and G5
/// What a peer sends over and over, while it reads nothing, for 8 MiB.
fn no_flood_holds_more_than_a_mib() {
    let skipped = |size, part: &[u8]| {
        let id = ChannelId(1);
        [method(id, deliver(1)), header(id, size), body(id, part)].concat()
    };
    let large_header = header_of(ChannelId(1), 60, 0, 0, &[0; 200_000]);
    let flow = |active| method(ChannelId(1), channel::Flow { active });
    let cancel = basic::Cancel {
        consumer_tag: ShortString::from_static("consumer"),
        nowait: false,
    };
    let returned = method(ChannelId(1), basic::Return::default());
    let blocked = connection::Blocked {
        reason: ShortString::from_static("low on memory"),
    };
    let nothing = Vec::new();
    let to_a_client = [
        ("bodies that are too long", skipped(9, b"too long!"), false),
        (
            "content headers that are too long",
            [method(ChannelId(1), deliver(1)), large_header].concat(),
            false,
        ),
        (
            "returned bodies that are too long",
            [
                returned.clone(),
                header(ChannelId(1), 9),
                body(ChannelId(1), &[0; 9]),
            ]
            .concat(),
            false,
        ),
        ("heartbeats", HEARTBEAT.to_vec(), false),
        (
            "returned messages",
            [
                returned,
                header(ChannelId(1), 8),
                body(ChannelId(1), &[0; 8]),
            ]
            .concat(),
            false,
        ),
        (
            "blocked and unblocked",
            [
                method(ChannelId(0), blocked),
                method(ChannelId(0), connection::Unblocked),
            ]
            .concat(),
            false,
        ),
        (
            "pauses of the flow",
            [flow(false), flow(true)].concat(),
            true,
        ),
        ("cancels", method(ChannelId(1), cancel), true),
    ];
    for (what, frames, is_violation) in to_a_client {
        let mut client = narrow_client();
        flood(what, &mut client, &nothing, &frames, is_violation);
    }
    // A body without an end.
    let front = skipped(1 << 63, b"");
    let part = body(ChannelId(1), &[0; 1000]);
    let what = "a body without an end";
    flood(what, &mut narrow_client(), &front, &part, false);

    let open = method(ChannelId(2), channel::Open::default());
    let close = method(ChannelId(2), channel::Close::default());
    let frames = [open, close].concat();
    flood("short channels", &mut server(1), &nothing, &frames, true);
}

// case G5
/// A client that opens a channel again as often as it is closed, and a peer that reads nothing.
fn no_storm_of_closes_holds_more_than_a_mib() {
    let now = Instant::now();
    let mut client = client(1);
    let mut channel = ChannelId(1);
    let before = ALLOCATOR.current_usage();
    for round in 0..1_000_000 {
        let frames = [
            method(channel, channel::OpenOk::default()),
            method(channel, channel::Close::default()),
        ];
        let is_open = client.channel(channel).is_some_and(|it| it.is_open());
        let frames = &frames[usize::from(is_open)..].concat()[..];
        _ = client.receive(now, &mut BytesMut::from(frames));
        while client.poll_event().is_some() {}
        let held = ALLOCATOR.current_usage().saturating_sub(before);
        assert!(held <= ALLOWED, "a storm of closes: {held} bytes are held");
        match client.open_channel(now) {
            Ok(next) => channel = next,
            Err(_) => return assert!(client.is_closed(), "after {round} rounds"),
        }
    }
    panic!("a storm of closes went on");
}

fn narrow_client() -> Connection {
    let limits = ConnectionLimits {
        max_message_size: 8,
        ..ConnectionLimits::default()
    };
    client_with(1, limits)
}

#[track_caller]
fn flood(what: &str, connection: &mut Connection, front: &[u8], frames: &[u8], is_violation: bool) {
    const FLOOD: usize = 8 << 20;
    let now = Instant::now();
    let mut input = BytesMut::from(front);
    let repeated = frames.repeat((INPUT / frames.len()).max(1));
    let before = ALLOCATOR.current_usage();
    let mut sent = 0;
    while sent < FLOOD && !connection.is_closed() {
        input.extend_from_slice(&repeated);
        sent += repeated.len();
        while connection.receive(now, &mut input) {
            while connection.poll_event().is_some() {}
        }
        while connection.poll_event().is_some() {}
        let held = ALLOCATOR.current_usage().saturating_sub(before);
        assert!(held <= ALLOWED, "{what}: {held} bytes are held");
    }
    assert_eq!(connection.is_closed(), is_violation, "{what}");
}

/// As many of `frames` as fit.
fn repeated(frames: &[u8]) -> Vec<u8> {
    frames.repeat(INPUT / frames.len())
}

/// The announcement of a message of `size` bytes, and as many frames with `part` of it as fit.
fn message_of(size: u64, part: &[u8]) -> Vec<u8> {
    let mut input = [method(ChannelId(1), deliver(1)), header(ChannelId(1), size)].concat();
    let frame = body(ChannelId(1), part);
    while input.len() + frame.len() <= INPUT && !(size > 1 && part.is_empty()) {
        input.extend(&frame);
    }
    input
}

/// Gives a connection bytes whose events are polled only when it takes no more, and whose answers
/// are not written.
#[track_caller]
fn holds_little(what: &str, mut connection: Connection, bytes: &[u8]) {
    let mut input = BytesMut::from(bytes);
    let before = ALLOCATOR.current_usage();
    let mut is_behind = true;
    while is_behind {
        while connection.poll_event().is_some() {}
        is_behind = connection.receive(Instant::now(), &mut input);
        let held = ALLOCATOR.current_usage().saturating_sub(before) + bytes.len();
        assert!(held <= ALLOWED, "{what}: {held} bytes are held");
    }
    assert!(!connection.is_closed(), "{what}: a violation");

    // And it is given back.
    while connection.poll_event().is_some() {}
    let outbound = connection.outbound();
    outbound.advance(outbound.remaining());
    drop(input);
    connection.transport_ended();
    while connection.poll_event().is_some() {}
    let kept = ALLOCATOR.current_usage().saturating_sub(before);
    assert!(kept <= ALLOWED / 2, "{what}: {kept} bytes are kept");
}
