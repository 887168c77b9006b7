//! A peer's bytes are read alike however they are cut.

use std::time::Instant;

use bytes::{Bytes, BytesMut};
use snowshoe_codec::{
    ChannelCloseReason, ChannelId, CloseReason, Connection, ConnectionLimits, Content, Event,
    Violation,
};

use super::Pair;
use super::wire::{SPARE, written};

/// What came of a peer's bytes.
#[derive(Debug)]
pub(crate) struct Outcome {
    pub(crate) events: Vec<Event>,
    /// What the connection answered.
    pub(crate) answer: Bytes,
    pub(crate) connection: Connection,
}

impl Outcome {
    /// The reason for which the connection ended.
    #[track_caller]
    pub(crate) fn close_reason(&self) -> &CloseReason {
        match self.events.last() {
            Some(Event::Closed(reason)) => reason,
            other => panic!("the connection did not end: {other:?}"),
        }
    }

    /// The violation by which the connection ended.
    #[track_caller]
    pub(crate) fn violation(&self) -> &Violation {
        match self.close_reason() {
            CloseReason::Violation(violation) => violation,
            other => panic!("no violation: {other}"),
        }
    }

    /// The one event that there was.
    #[track_caller]
    pub(crate) fn only_event(&self) -> &Event {
        match &self.events[..] {
            [event] => event,
            events => panic!("not one event: {events:?}"),
        }
    }

    /// Why a channel was closed, which is all that happened.
    #[track_caller]
    pub(crate) fn channel_closed(&self) -> (u16, &ChannelCloseReason) {
        match self.only_event() {
            Event::ChannelClosed { channel, reason } => (channel.0, reason),
            other => panic!("no closed channel: {other:?}"),
        }
    }
}

/// Gives `input` to the connection that `make` makes: whole, byte by byte, in two parts, and with
/// bytes to spare. All of it must come to the same.
#[track_caller]
pub(crate) fn read(make: impl Fn() -> Connection, input: &[u8]) -> Outcome {
    let whole = receive(make(), [input]);
    let mut others = vec![
        ("byte by byte", receive(make(), input.chunks(1))),
        ("by threes", receive(make(), input.chunks(3))),
        (
            "bytes to spare",
            receive(make(), [&[input, SPARE].concat()[..]]),
        ),
        (
            "a byte to spare",
            receive(make(), [&[input, &SPARE[..1]].concat()[..]]),
        ),
    ];
    let step = (input.len() / 64).max(1);
    for at in (1..input.len()).step_by(step) {
        let (head, tail) = input.split_at(at);
        others.push(("in two parts", receive(make(), [head, tail])));
    }
    for (how, other) in others {
        assert_eq!(digests(&other.events), digests(&whole.events), "{how}");
        assert_eq!(other.answer, whole.answer, "{how}");
    }
    whole
}

/// Gives `parts` to a connection, one after the other.
pub(crate) fn receive<'a>(
    mut connection: Connection,
    parts: impl IntoIterator<Item = &'a [u8]>,
) -> Outcome {
    let now = Instant::now();
    let mut buffer = BytesMut::new();
    let mut events = Vec::new();
    for part in parts {
        buffer.extend_from_slice(part);
        let mut is_behind = true;
        while is_behind {
            is_behind = connection.receive(now, &mut buffer);
            events.extend(std::iter::from_fn(|| connection.poll_event()));
        }
    }
    let closed = |event: &&Event| matches!(event, Event::Closed(_));
    assert_eq!(
        events.iter().filter(closed).count(),
        usize::from(connection.is_closed()),
        "an end is told once: {events:?}"
    );
    Outcome {
        events,
        answer: written(&mut connection),
        connection,
    }
}

/// An event as something to compare: what `Debug` shows, and the content that it hides.
pub(crate) fn digests(events: &[Event]) -> Vec<(String, Bytes, Bytes)> {
    let digest = |event: &Event| {
        let content = content_of(event);
        let properties = content.map_or(&[][..], Content::raw_properties);
        let body = content.map(Content::body_bytes).unwrap_or_default();
        (
            format!("{event:?}"),
            Bytes::copy_from_slice(properties),
            body,
        )
    };
    events.iter().map(digest).collect()
}

pub(crate) fn content_of(event: &Event) -> Option<&Content> {
    match event {
        Event::Delivery { delivery, .. } => Some(&delivery.content),
        Event::Returned { returned, .. } => Some(&returned.content),
        Event::Got { got, .. } => Some(&got.content),
        Event::Published { published, .. } => Some(&published.content),
        Event::Oversized { oversized, .. } => Some(oversized.message.content()),
        _ => None,
    }
}

/// A client that is open, with as many channels, and has nothing more to write.
pub(crate) fn client(channels: u16) -> Connection {
    client_with(channels, ConnectionLimits::default())
}

pub(crate) fn client_with(channels: u16, limits: ConnectionLimits) -> Connection {
    let mut pair = Pair::open_with(limits, ConnectionLimits::default());
    for id in 1..=channels {
        assert_eq!(pair.open_channel(), ChannelId(id));
    }
    pair.client.connection
}

/// A server that is open, with as many channels, and has nothing more to write.
pub(crate) fn server(channels: u16) -> Connection {
    let mut pair = Pair::open();
    for _ in 0..channels {
        pair.open_channel();
    }
    pair.server.connection
}
