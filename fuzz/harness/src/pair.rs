//! Two ends of a connection, and what a peer says that was made by hand.

use std::time::Instant;

use bytes::{Buf, BytesMut};
use snowshoe::codec::frame::{self, FrameKind};
use snowshoe::codec::method::connection;
use snowshoe::codec::sasl::Plain;
use snowshoe::codec::{
    ChannelId, ClientOptions, Connection, ConnectionLimits, Event, Method, Outbound, ServerOptions,
};

use crate::vocabulary::usual_reply;

/// A client and a server.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: Connection,
    pub(crate) server: Connection,
}

impl Pair {
    /// Two ends that have not said anything.
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        let now = Instant::now();
        let server = ServerOptions {
            limits: limits.clone(),
            ..ServerOptions::default()
        };
        Self {
            now,
            client: Connection::client(client_options(limits), now),
            server: Connection::server(server, now),
        }
    }

    /// Two ends after their handshake, with so many channels. All events are polled.
    pub(crate) fn open(channels: u16) -> Self {
        Self::open_with(channels, ConnectionLimits::default())
    }

    pub(crate) fn open_with(channels: u16, limits: ConnectionLimits) -> Self {
        let mut pair = Self::new(limits);
        pair.settle();
        for _ in 0..channels {
            pair.client.open_channel(pair.now).expect("one is free");
        }
        pair.settle();
        assert!(pair.client.is_open() && pair.server.is_open());
        pair
    }

    /// Lets both ends talk until they have nothing more to say at this time. The server lets the
    /// client in; other events are forgotten.
    fn settle(&mut self) {
        loop {
            let moved = carry(&mut self.client, &mut self.server, self.now, usize::MAX)
                | carry(&mut self.server, &mut self.client, self.now, usize::MAX);
            self.client.handle_timeout(self.now);
            while self.client.poll_event().is_some() {}
            while let Some(event) = self.server.poll_event() {
                match event {
                    Event::Login { .. } => self.server.accept_login(),
                    Event::OpenRequested { .. } => self.server.accept_open(),
                    _ => {}
                }
            }
            if !moved && !self.server.outbound().has_remaining() {
                return;
            }
        }
    }
}

/// Carries so many bytes from one end to the other; whether there were any.
pub(crate) fn carry(from: &mut Connection, to: &mut Connection, now: Instant, len: usize) -> bool {
    let mut bytes = take(from.outbound(), len);
    let moved = !bytes.is_empty();
    _ = to.receive(now, &mut bytes);
    assert!(
        bytes.is_empty() || len != usize::MAX,
        "whole frames are taken whole"
    );
    moved
}

/// Takes so many bytes of what waits to be written.
pub(crate) fn take(outbound: &mut Outbound, len: usize) -> BytesMut {
    let len = len.min(outbound.remaining());
    BytesMut::from(outbound.copy_to_bytes(len))
}

pub(crate) fn client_options(limits: ConnectionLimits) -> ClientOptions {
    ClientOptions {
        limits,
        ..ClientOptions::new(Plain::new("guest", "guest"))
    }
}

pub(crate) fn method_frame(channel: ChannelId, method: impl Into<Method>) -> Vec<u8> {
    let mut payload = Vec::new();
    method.into().encode(&mut payload);
    payload_frame(FrameKind::Method, channel, &payload)
}

/// A method with the message after it.
pub(crate) fn message_frames(
    channel: ChannelId,
    method: impl Into<Method>,
    properties: &[u8],
    body: &[u8],
) -> Vec<u8> {
    let mut frames = method_frame(channel, method);
    frames.extend(payload_frame(
        FrameKind::Header,
        channel,
        &content_header(body.len(), properties),
    ));
    if !body.is_empty() {
        frames.extend(payload_frame(FrameKind::Body, channel, body));
    }
    frames
}

/// The payload of a content header frame.
pub(crate) fn content_header(body_len: usize, properties: &[u8]) -> Vec<u8> {
    let (class, weight, size) = (60_u16, 0_u16, body_len as u64);
    [
        &class.to_be_bytes()[..],
        &weight.to_be_bytes(),
        &size.to_be_bytes(),
        properties,
    ]
    .concat()
}

pub(crate) fn payload_frame(kind: FrameKind, channel: ChannelId, payload: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    frame::encode(&mut out, kind, channel, |out| {
        out.extend_from_slice(payload);
    });
    out
}

/// `stream` in pieces as a network might deliver them.
pub(crate) fn pieces(stream: &[u8], seed: u8) -> impl Iterator<Item = &[u8]> {
    let mut random = fastrand::Rng::with_seed(seed.into());
    let mut rest = stream;
    std::iter::from_fn(move || {
        let len = random.usize(1..=40).min(rest.len());
        let (piece, after) = rest.split_at(len);
        rest = after;
        (len > 0).then_some(piece)
    })
}

/// Answers a call as it should be.
pub(crate) fn answer(connection: &mut Connection, now: Instant, channel: ChannelId, call: &Method) {
    if channel == ChannelId(0) {
        // Too late is no harm.
        _ = connection.send_notice(connection::UpdateSecretOk);
    } else if let (Some(mut channel), Some(reply)) =
        (connection.channel(channel), usual_reply(call))
    {
        // Where the channel is closing, nobody waits for it.
        _ = channel.send(now, reply);
    }
}
