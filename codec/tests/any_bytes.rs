//! Whatever comes, in whatever pieces: no panic, one end, and the same events.

mod pair;

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use pair::read::{client, client_with, digests, receive, server};
use pair::wire::{
    body, channel_close, connection_close, deliver, delivery, header, header_of, method, tune,
};
use pair::{Pair, client_options, server_options};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::{Index, select};
use snowshoe_codec::frame::{HEARTBEAT, PROTOCOL_HEADER};
use snowshoe_codec::method::{basic, channel, confirm, connection, queue};
use snowshoe_codec::{ChannelId, Connection, ConnectionLimits, Event, ReplyCode};

/// Ends at several places of their lives.
fn ends() -> [fn() -> Connection; 8] {
    [
        || Connection::client(client_options(ConnectionLimits::default()), Instant::now()),
        || Connection::server(server_options(ConnectionLimits::default()), Instant::now()),
        || client(3),
        || server(3),
        busy_client,
        || {
            let mut client = busy_client();
            let text = "goodbye".try_into().unwrap();
            client.close(Instant::now(), ReplyCode::SUCCESS, text);
            client
        },
        || client_with(3, narrow()),
        || {
            let mut pair = Pair::open_with(ConnectionLimits::default(), narrow());
            pair.open_channel();
            pair.server.connection
        },
    ]
}

/// Some of the bodies are longer than this.
fn narrow() -> ConnectionLimits {
    ConnectionLimits {
        max_message_size: 2,
        ..ConnectionLimits::default()
    }
}

/// A client with calls open, confirms due, and a channel being closed.
fn busy_client() -> Connection {
    let mut client = client(3);
    let now = Instant::now();
    let mut first = client.channel(ChannelId(1)).unwrap();
    first.send(now, confirm::Select::default()).unwrap();
    first.send(now, basic::Get::default()).unwrap();
    first.send(now, queue::Declare::default()).unwrap();
    let mut second = client.channel(ChannelId(2)).unwrap();
    let text = "goodbye".try_into().unwrap();
    second.close(now, ReplyCode::SUCCESS, text).unwrap();
    client.open_channel(now).unwrap();
    client
}

/// Frames that a peer may send, at the right time or the wrong one.
fn frames() -> Vec<Vec<u8>> {
    let mut frames = vec![
        PROTOCOL_HEADER.to_vec(),
        HEARTBEAT.to_vec(),
        pair::wire::start("PLAIN"),
        tune(2047, 131_072, 60),
        connection_close(ReplyCode::NOT_ALLOWED, "no"),
        method(ChannelId(0), connection::StartOk::default()),
        method(ChannelId(0), connection::TuneOk::default()),
        method(ChannelId(0), connection::Open::default()),
        method(ChannelId(0), connection::OpenOk::default()),
        method(ChannelId(0), connection::CloseOk),
        method(ChannelId(0), connection::Blocked::default()),
        method(ChannelId(0), connection::Unblocked),
        method(ChannelId(0), connection::UpdateSecretOk),
    ];
    for id in 1..=4 {
        frames.extend([
            method(ChannelId(id), channel::Open::default()),
            method(ChannelId(id), channel::OpenOk::default()),
            channel_close(ChannelId(id), ReplyCode::NOT_FOUND, "no"),
            method(ChannelId(id), channel::CloseOk),
            method(ChannelId(id), channel::Flow { active: false }),
            method(ChannelId(id), confirm::SelectOk),
            method(ChannelId(id), queue::DeclareOk::default()),
            method(ChannelId(id), basic::GetEmpty::default()),
            method(ChannelId(id), basic::GetOk::default()),
            method(ChannelId(id), basic::Cancel::default()),
            method(ChannelId(id), basic::Publish::default()),
            method(
                ChannelId(id),
                basic::Ack {
                    delivery_tag: 0,
                    multiple: true,
                },
            ),
            method(ChannelId(id), deliver(1)),
            header(ChannelId(id), 0),
            header(ChannelId(id), 3),
            header(ChannelId(id), 1 << 63),
            header_of(ChannelId(id), 60, 0, 3, &[0; 140_000]),
            body(ChannelId(id), b""),
            body(ChannelId(id), b"a"),
            body(ChannelId(id), b"bc"),
            delivery(ChannelId(id), 1, b"whole"),
            delivery(ChannelId(id), 1, b""),
        ]);
    }
    frames
}

/// A stream: frames in any order, with a few octets changed, and noise at its end.
fn stream() -> impl Strategy<Value = Vec<u8>> {
    let change = (any::<Index>(), any::<u8>());
    (
        vec(select(frames()), 0..20),
        vec(change, 0..3),
        vec(any::<u8>(), 0..20),
    )
        .prop_map(|(frames, changes, noise)| {
            let mut stream = frames.concat();
            for (at, octet) in changes {
                if !stream.is_empty() {
                    let at = at.index(stream.len());
                    stream[at] = octet;
                }
            }
            stream.extend(noise);
            stream
        })
}

/// Where to cut a stream.
fn cuts() -> impl Strategy<Value = Vec<Index>> {
    vec(any::<Index>(), 0..8)
}

fn cut<'a>(stream: &'a [u8], cuts: &[Index]) -> Vec<&'a [u8]> {
    let mut places: Vec<_> = cuts.iter().map(|cut| cut.index(stream.len() + 1)).collect();
    places.sort_unstable();
    let mut rest = stream;
    let mut parts = Vec::new();
    let mut before = 0;
    for place in places {
        let (head, tail) = rest.split_at(place - before);
        parts.push(head);
        (rest, before) = (tail, place);
    }
    parts.push(rest);
    parts
}

proptest! {
    #[test]
    fn any_stream_in_any_pieces_gives_the_same_events(
        which in 0..ends().len(),
        stream in stream(),
        cuts in cuts(),
    ) {
        let make = ends()[which];
        let whole = receive(make(), [&stream[..]]);
        let parts = receive(make(), cut(&stream, &cuts));
        prop_assert_eq!(digests(&whole.events), digests(&parts.events));
        prop_assert_eq!(whole.answer, parts.answer);
    }

    #[test]
    fn any_stream_comes_to_exactly_one_end(
        which in 0..ends().len(),
        stream in stream(),
        cuts in cuts(),
        seconds in 0_u64..100,
    ) {
        let mut connection = ends()[which]();
        let start = Instant::now();
        let mut events = Vec::new();
        let mut input = BytesMut::new();
        for (turn, part) in (0..).zip(cut(&stream, &cuts)) {
            let now = start + Duration::from_secs(turn * seconds / 10);
            input.extend_from_slice(part);
            _ = connection.receive(now, &mut input);
            connection.handle_timeout(now);
            connection.accept_login();
            connection.accept_open();
            let writable = connection.outbound().remaining() / 2;
            connection.outbound().advance(writable);
            events.extend(std::iter::from_fn(|| connection.poll_event()));
        }
        connection.transport_ended();
        events.extend(std::iter::from_fn(|| connection.poll_event()));
        let ends = events.iter().filter(|event| matches!(event, Event::Closed(_)));
        prop_assert_eq!(ends.count(), 1);
        prop_assert!(matches!(events.last(), Some(Event::Closed(_))));
        prop_assert!(connection.is_closed());
        prop_assert_eq!(connection.poll_timeout(), None);
    }

    #[test]
    fn noise_is_no_harm(which in 0..ends().len(), noise in vec(any::<u8>(), 0..200)) {
        receive(ends()[which](), [&noise[..]]);
    }
}
