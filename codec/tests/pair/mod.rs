//! Two ends of a connection in virtual time, and a peer made by hand.

#![allow(
    dead_code,
    reason = "every test file takes in this module and uses its own part of it"
)]

pub(crate) mod read;
pub(crate) mod wire;

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use snowshoe_codec::sasl::Plain;
use snowshoe_codec::{
    ChannelId, ClientOptions, Connection, ConnectionLimits, Event, ReplyCode, ServerOptions,
    ShortString,
};

/// One end: a connection, what came over the wire to it, and what it had to say.
pub(crate) struct End {
    pub(crate) connection: Connection,
    pub(crate) events: Vec<Event>,
    input: BytesMut,
    /// How many bytes came over the wire.
    pub(crate) received: usize,
}

impl End {
    fn new(connection: Connection) -> Self {
        Self {
            connection,
            events: Vec::new(),
            input: BytesMut::new(),
            received: 0,
        }
    }

    /// Takes the events that came so far.
    pub(crate) fn take_events(&mut self) -> Vec<Event> {
        std::mem::take(&mut self.events)
    }

    pub(crate) fn poll_events(&mut self) -> bool {
        let before = self.events.len();
        self.events
            .extend(std::iter::from_fn(|| self.connection.poll_event()));
        self.events.len() > before
    }
}

/// A client and a server, and the wire between them.
pub(crate) struct Pair {
    pub(crate) now: Instant,
    pub(crate) client: End,
    pub(crate) server: End,
    /// Whether bytes vanish on the wire, as they do at a half-open peer.
    pub(crate) black_hole: bool,
    /// Whether the server lets every client in; otherwise the test has its say.
    pub(crate) lets_in: bool,
}

impl Pair {
    pub(crate) fn new(client: ClientOptions, server: ServerOptions) -> Self {
        let now = Instant::now();
        Self {
            now,
            client: End::new(Connection::client(client, now)),
            server: End::new(Connection::server(server, now)),
            black_hole: false,
            lets_in: true,
        }
    }

    /// Two ends with these limits, after the handshake.
    pub(crate) fn open_with(client: ConnectionLimits, server: ConnectionLimits) -> Self {
        let mut pair = Self::new(client_options(client), server_options(server));
        pair.run();
        assert!(pair.client.connection.is_open(), "{:?}", pair.client.events);
        assert!(pair.server.connection.is_open(), "{:?}", pair.server.events);
        pair.client.events.clear();
        pair.server.events.clear();
        pair
    }

    /// Two ends, after the handshake.
    pub(crate) fn open() -> Self {
        Self::open_with(ConnectionLimits::default(), ConnectionLimits::default())
    }

    /// Two ends with an open channel, and its number.
    pub(crate) fn with_channel() -> (Self, ChannelId) {
        let mut pair = Self::open();
        let channel = pair.open_channel();
        (pair, channel)
    }

    /// Opens one more channel.
    pub(crate) fn open_channel(&mut self) -> ChannelId {
        let now = self.now;
        let id = self
            .client
            .connection
            .open_channel(now)
            .expect("it is open");
        self.run();
        assert!(
            self.client
                .connection
                .channel(id)
                .expect("opened")
                .is_open()
        );
        self.client.events.clear();
        self.server.events.clear();
        id
    }

    /// Lets both ends talk until they have nothing more to say at this time.
    pub(crate) fn run(&mut self) {
        loop {
            let mut moved = false;
            for _ in 0..2 {
                moved |= self.carry();
                std::mem::swap(&mut self.client, &mut self.server);
            }
            self.client.connection.handle_timeout(self.now);
            self.server.connection.handle_timeout(self.now);
            moved |= self.client.poll_events() | self.server.poll_events();
            if self.lets_in {
                self.let_in();
            }
            moved |= self.client.connection.outbound().has_remaining();
            moved |= self.server.connection.outbound().has_remaining();
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass, deadline by deadline.
    pub(crate) fn advance(&mut self, duration: Duration) {
        let until = self.now + duration;
        loop {
            self.run();
            let ends = [&self.client.connection, &self.server.connection];
            let next = ends.into_iter().filter_map(Connection::poll_timeout).min();
            match next {
                Some(next) if next <= until => {
                    assert!(next > self.now, "a deadline that is never dealt with");
                    self.now = next;
                }
                _ => break,
            }
        }
        self.now = until;
        self.run();
    }

    /// Lets time pass in which nobody calls, as when a process was stopped.
    pub(crate) fn sleep(&mut self, duration: Duration) {
        self.now += duration;
    }

    /// Carries all bytes from the client to the server.
    fn carry(&mut self) -> bool {
        self.carry_part(usize::MAX)
    }

    /// Carries so many bytes from the client to the server; whether there were any.
    pub(crate) fn carry_part(&mut self, len: usize) -> bool {
        let outbound = self.client.connection.outbound();
        let len = len.min(outbound.remaining());
        let bytes = outbound.copy_to_bytes(len);
        if self.black_hole {
            return false;
        }
        let server = &mut self.server;
        server.received += len;
        server.input.extend_from_slice(&bytes);
        let is_behind = server.connection.receive(self.now, &mut server.input);
        len > 0 || is_behind
    }

    /// Carries so many bytes from the server to the client.
    pub(crate) fn carry_part_back(&mut self, len: usize) {
        std::mem::swap(&mut self.client, &mut self.server);
        self.carry_part(len);
        std::mem::swap(&mut self.client, &mut self.server);
    }

    fn let_in(&mut self) {
        match self.server.events.last() {
            Some(Event::Login { .. }) => self.server.connection.accept_login(),
            Some(Event::OpenRequested { .. }) => self.server.connection.accept_open(),
            _ => {}
        }
    }
}

pub(crate) fn client_options(limits: ConnectionLimits) -> ClientOptions {
    ClientOptions {
        limits,
        ..ClientOptions::new(Plain::new("guest", "guest"))
    }
}

pub(crate) fn server_options(limits: ConnectionLimits) -> ServerOptions {
    ServerOptions {
        limits,
        ..ServerOptions::default()
    }
}

/// An orderly close.
pub(crate) fn goodbye() -> (ReplyCode, ShortString) {
    (ReplyCode::SUCCESS, ShortString::from_static("goodbye"))
}
