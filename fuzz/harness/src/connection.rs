//! A connection of the codec against a peer that says anything.

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use snowshoe::codec::method::{basic, confirm, queue};
use snowshoe::codec::{
    ChannelId, Connection, ConnectionLimits, Content, Event, ReplyCode, ShortString,
};

use crate::pair::{Pair, pieces, take};

/// Whatever a peer says, in whatever pieces: the same events, the same answer, and one end.
///
/// The first byte chooses the end of the connection and how far it has come, the second the pieces.
pub fn hostile_peer(data: &[u8]) {
    let Some(([which, seed], stream)) = data.split_first_chunk() else {
        return;
    };
    let whole = heard(end(*which), [stream]);
    assert_eq!(
        heard(end(*which), pieces(stream, *seed)),
        whole,
        "in pieces"
    );

    // The same with the time passing, until the peer is gone.
    let mut connection = end(*which);
    let mut now = Instant::now();
    let mut input = BytesMut::new();
    let mut ends = 0;
    for piece in pieces(stream, *seed) {
        input.extend_from_slice(piece);
        _ = connection.receive(now, &mut input);
        now += Duration::from_millis(u64::from(*seed) * 20);
        connection.handle_timeout(now);
        connection.accept_login();
        connection.accept_open();
        let half = connection.outbound().remaining() / 2;
        connection.outbound().advance(half);
        ends += count_ends(&mut connection);
        // What is overdue has been dealt with, or a driver would spin.
        assert!(connection.poll_timeout().is_none_or(|at| at > now));
    }
    connection.transport_ended();
    ends += count_ends(&mut connection);
    assert_eq!(ends, 1);
    assert!(connection.is_closed());
    assert_eq!(connection.poll_timeout(), None);
}

/// 64 KiB from a peer never hold more than a MiB, even where events are polled only when nothing
/// more is taken. Where bodies are limited, neither do these over and over, from a peer that reads
/// nothing.
///
/// `allocated` is how many bytes are allocated at present, in all of the process.
pub fn held_by_hostile_peer(data: &[u8], allocated: impl Fn() -> usize) {
    let Some((which, stream)) = data.split_first() else {
        return;
    };
    let stream = &stream[..stream.len().min(64 << 10)];
    let mut connection = end(*which);
    let mut input = BytesMut::from(stream);
    let before = allocated();
    let mut is_behind = true;
    while is_behind {
        while connection.poll_event().is_some() {}
        is_behind = connection.receive(Instant::now(), &mut input);
        let held = allocated().saturating_sub(before) + stream.len();
        assert!(held <= 1 << 20, "{held} bytes are held");
    }
    if stream.is_empty() || !is_narrow(*which) {
        return;
    }
    let repeated = stream.repeat(FLOOD.div_ceil(stream.len()));
    for _ in 0..16 {
        input.extend_from_slice(&repeated);
        while connection.receive(Instant::now(), &mut input) {
            while connection.poll_event().is_some() {}
        }
        while connection.poll_event().is_some() {}
        let held = allocated().saturating_sub(before);
        assert!(
            held <= (1 << 20) + repeated.len(),
            "{held} bytes are held of a flood"
        );
    }
}

/// How much of a flood comes at a time.
const FLOOD: usize = 64 << 10;

/// An end of a connection, at some place of its life.
fn end(which: u8) -> Connection {
    let fresh = || Pair::new(ConnectionLimits::default());
    let narrow = || {
        let limits = ConnectionLimits {
            max_message_size: 8,
            ..ConnectionLimits::default()
        };
        Pair::open_with(3, limits)
    };
    match which % 8 {
        0 => fresh().client,
        1 => fresh().server,
        2 => Pair::open(3).client,
        3 => Pair::open(3).server,
        4 => busy_client(),
        6 => narrow().client,
        7 => narrow().server,
        _ => {
            let mut client = busy_client();
            let text = ShortString::from_static("goodbye");
            client.close(Instant::now(), ReplyCode::SUCCESS, text);
            client
        }
    }
}

/// Whether such an end takes short bodies alone.
fn is_narrow(which: u8) -> bool {
    matches!(which % 8, 6 | 7)
}

/// A client with calls under way, confirms due, and a channel being closed.
fn busy_client() -> Connection {
    let Pair {
        now, mut client, ..
    } = Pair::open(3);
    let mut first = client.channel(ChannelId(1)).expect("it is open");
    first.send(now, confirm::Select::default()).expect("sent");
    first.send(now, basic::Get::default()).expect("sent");
    first.send(now, queue::Declare::default()).expect("sent");
    let mut second = client.channel(ChannelId(2)).expect("it is open");
    let text = ShortString::from_static("goodbye");
    (second.close(now, ReplyCode::SUCCESS, text)).expect("it is open");
    client.open_channel(now).expect("one is free");
    client
}

/// What comes of what a peer says: the events, with the contents that `Debug` hides, and the answer.
fn heard<'a>(
    mut connection: Connection,
    pieces: impl IntoIterator<Item = &'a [u8]>,
) -> (Vec<(String, Vec<u8>, Bytes)>, BytesMut) {
    let now = Instant::now();
    let mut input = BytesMut::new();
    let mut events = Vec::new();
    for piece in pieces {
        input.extend_from_slice(piece);
        let mut is_behind = true;
        while is_behind {
            is_behind = connection.receive(now, &mut input);
            while let Some(event) = connection.poll_event() {
                let content = content_of(&event);
                let properties = content.map_or(&[][..], Content::raw_properties);
                let body = content.map(Content::body_bytes).unwrap_or_default();
                events.push((format!("{event:?}"), properties.to_vec(), body));
            }
        }
    }
    (events, take(connection.outbound(), usize::MAX))
}

fn content_of(event: &Event) -> Option<&Content> {
    match event {
        Event::Delivery { delivery, .. } => Some(&delivery.content),
        Event::Returned { returned, .. } => Some(&returned.content),
        Event::Got { got, .. } => Some(&got.content),
        Event::Published { published, .. } => Some(&published.content),
        Event::Oversized { oversized, .. } => Some(oversized.message.content()),
        _ => None,
    }
}

/// Polls all events; how often the connection says that it has ended, after which there is nothing.
fn count_ends(connection: &mut Connection) -> usize {
    let mut ends = 0;
    while let Some(event) = connection.poll_event() {
        assert_eq!(ends, 0, "after the end: {event:?}");
        ends += usize::from(matches!(event, Event::Closed(_)));
    }
    ends
}
