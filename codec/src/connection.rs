mod events;
mod handshake;
mod inbound;
mod time;

use std::time::Instant;

use bytes::Bytes;

use self::events::Events;
use self::time::Deadlines;
use crate::channel::{Channel, NO_METHOD, Wire};
use crate::channels::Channels;
use crate::event::{CloseReason, Event};
use crate::frame::{FRAME_OVERHEAD, Limits, PROTOCOL_HEADER, RestOfFrame};
use crate::handshake::{ClientHandshake, Login, ServerHandshake, Stage, rabbitmq_release};
use crate::known_server::KnownServer;
use crate::method::{Arguments, Method, MethodId, connection};
use crate::options::{ClientOptions, ConnectionLimits, Offer, ServerOptions, Tuning};
use crate::outbound::Outbound;
use crate::reply::ReplyCode;
use crate::side::Side;
use crate::table::FieldTable;
use crate::time::after;
use crate::types::{ChannelId, ShortString};
use crate::violation::Violation;
use crate::write::{self, SendError};

/// One AMQP connection, from the protocol header to the last close-ok, without the I/O.
///
/// It is fed and asked in any order; no call is wrong at any time, and none blocks:
/// - *what came in*: [`receive`](Self::receive), [`transport_ended`](Self::transport_ended),
///   [`handle_timeout`](Self::handle_timeout);
/// - *what to do about it*: [`poll_event`](Self::poll_event), [`outbound`](Self::outbound),
///   [`poll_timeout`](Self::poll_timeout);
/// - *commands*: [`open_channel`](Self::open_channel), [`channel`](Self::channel),
///   [`close`](Self::close) and the like;
/// - *getters*.
///
/// A value serves one transport, and is dropped with it: there is no way to use it again, and so
/// nothing of one connection's life can leak into the next.
#[derive(Debug)]
pub struct Connection {
    phase: Phase,
    side: Side,
    limits: ConnectionLimits,
    offer: Offer,
    tuning: Tuning,
    channels: Channels,
    outbound: Outbound,
    events: Events,
    deadlines: Deadlines,
    /// How much had been written when the heartbeat timer was set.
    written_before: u64,
    /// How much of the input was the front of a frame when it was last seen.
    left_over: usize,
    /// What is still to come of a frame of which nobody wants the rest.
    skipping: Option<RestOfFrame>,
    /// Messages whose frames are shorter than this are copied out of the input.
    copy_below: usize,
    /// When something was received last.
    received_at: Instant,
    /// Whether the last word was that the transport is not being read.
    reading_paused: bool,
    blocked: bool,
    peer_properties: FieldTable,
    known_server: Option<Box<KnownServer>>,
    /// The size of the longest frame that was sent in the handshake.
    longest_in_handshake: usize,
}

/// ```text
///  Client ──┐ open-ok         close           close-ok
///           ├─────────► Open ───────► Closing ─────────► Closed
///  Server ──┘                            ▲                 ▲
///    │ a server's close, which refuses   │                 │
///    └───────────────────────────────────┘                 │
///  from anywhere, without Closing in between:              │
///  the peer's close (crossing ours or not), a violation,   │
///  a deadline, the end of the transport;                   │
///  and a client's close before it is open ─────────────────┘
/// ```
#[derive(Debug)]
enum Phase {
    Client(ClientHandshake),
    Server(ServerHandshake, ServerOptions),
    Open,
    /// Our connection.close is on its way; all but close and close-ok is discarded.
    Closing,
    Closed,
}

/// # Both sides of a handshake
impl Connection {
    /// The client's side of a new transport.
    pub fn client(options: ClientOptions, now: Instant) -> Self {
        let login = Login {
            mechanisms: options.mechanisms,
            virtual_host: options.virtual_host,
            properties: options.properties,
        };
        // What is said first is chosen below.
        let stand_in = Phase::Client(ClientHandshake::Opening);
        let mut connection = Self::new(stand_in, Side::Client, options.limits, now);
        connection
            .outbound
            .copied()
            .extend_from_slice(&PROTOCOL_HEADER);
        let known = options.known_server.and_then(|server| {
            let tuning = login.foresee(&server, &connection.offer)?;
            Some((server, tuning))
        });
        match known {
            Some((server, tuning)) => connection.say_all(login, server, tuning),
            None => connection.phase = Phase::Client(ClientHandshake::Start(login)),
        }
        connection
    }

    /// The server's side of a new transport.
    pub fn server(options: ServerOptions, now: Instant) -> Self {
        let limits = options.limits.clone();
        let phase = Phase::Server(ServerHandshake::Header, options);
        Self::new(phase, Side::Server, limits, now)
    }

    fn new(phase: Phase, side: Side, limits: ConnectionLimits, now: Instant) -> Self {
        let limits = limits.within_reason();
        let offer = Offer::new(&limits);
        Self {
            phase,
            side,
            offer,
            tuning: offer.tuning(),
            channels: Channels::default(),
            outbound: Outbound::new(),
            events: Events::default(),
            deadlines: Deadlines {
                handshake: Some(after(now, limits.handshake_timeout)),
                ..Deadlines::default()
            },
            written_before: 0,
            left_over: 0,
            skipping: None,
            copy_below: 0,
            received_at: now,
            reading_paused: false,
            blocked: false,
            peer_properties: FieldTable::new(),
            known_server: None,
            longest_in_handshake: 0,
            limits,
        }
    }
}

/// # What came in, and time
impl Connection {
    /// Says that the transport ended: nothing more will come, and nothing can be written.
    pub fn transport_ended(&mut self) {
        self.end(CloseReason::TransportEnded(self.stage()));
        self.outbound.clear();
    }

    /// What happened next.
    pub fn poll_event(&mut self) -> Option<Event> {
        self.events.pop()
    }

    /// Whether something has happened that was not [polled](Self::poll_event) yet.
    pub fn has_event(&self) -> bool {
        !self.events.is_empty()
    }

    /// From now on copies messages out of the input whose frames come to less than so many bytes. At
    /// first it is 0, and all that come in one piece share the input's memory.
    ///
    /// Sharing costs least where messages are dropped soon, but one that is kept keeps all of the
    /// block that it was read into. Whoever reads into blocks knows whether they come back.
    pub fn copy_below(&mut self, bytes: usize) {
        self.copy_below = bytes;
    }

    /// What is to be written. Advance it by what the transport took.
    pub fn outbound(&mut self) -> &mut Outbound {
        &mut self.outbound
    }
}

/// # Commands
impl Connection {
    /// Opens a channel; [`Event::ChannelOpen`] or [`Event::ChannelClosed`] follows. A client can do so from
    /// [`Event::Opening`] on.
    ///
    /// # Errors
    /// [`OpenChannelError`].
    pub fn open_channel(&mut self, now: Instant) -> Result<ChannelId, OpenChannelError> {
        if !self.takes_channels() {
            return Err(OpenChannelError::NotOpen);
        }
        // The end of one channel would otherwise be taken for that of the next at its number.
        let end_was_polled = |id| !self.events.tell_end_of(id);
        let id = self
            .channels
            .allocate(self.tuning.channel_max, end_was_polled)
            .ok_or(OpenChannelError::NoneFree)?;
        if let Some(mut channel) = self.channel(id) {
            channel.open(now);
        }
        Ok(id)
    }

    /// The channel with this number, if it exists.
    pub fn channel(&mut self, id: ChannelId) -> Option<Channel<'_>> {
        // While the connection is being closed, nothing may be sent on any channel.
        if !self.takes_channels() {
            return None;
        }
        let state = self.channels.get_mut(id)?;
        let wire = Wire {
            outbound: &mut self.outbound,
            calls_due: &mut self.deadlines.calls,
            frame_max: self.tuning.frame_max,
            call_timeout: self.limits.call_timeout,
            close_timeout: self.limits.close_timeout,
            side: self.side,
        };
        Some(Channel { id, state, wire })
    }

    /// Closes the connection; [`Event::Closed`] follows, within the close timeout.
    ///
    /// A client that has not sent connection.open does not wait: brokers do not answer a close then. One that
    /// has does: what it has sent behind that is done before the close is answered.
    /// A server also refuses logins and virtual hosts this way.
    pub fn close(&mut self, now: Instant, code: ReplyCode, text: ShortString) {
        self.close_over(now, code, text, NO_METHOD);
    }

    /// Closes the connection as [`close`](Self::close) does, and says over which of the peer's
    /// methods: for a server that refuses one.
    pub fn close_over(
        &mut self,
        now: Instant,
        code: ReplyCode,
        text: ShortString,
        method: MethodId,
    ) {
        let stage = self.stage();
        let answered = match self.side {
            Side::Server => stage != Stage::Greeting,
            Side::Client => self.takes_channels(),
        };
        match stage {
            Stage::Closing => return,
            Stage::Greeting if !answered => {}
            _ => self.write_close(code, text, method),
        }
        if !answered {
            self.end(CloseReason::Requested);
            return;
        }
        self.phase = Phase::Closing;
        // Of all that was waited for, only the answer to this comes now.
        self.deadlines = Deadlines {
            close: Some(after(now, self.limits.close_timeout)),
            heartbeat_send: self.deadlines.heartbeat_send,
            heartbeat_receive: self.deadlines.heartbeat_receive,
            ..Deadlines::default()
        };
    }

    /// Replaces the secret that the connection was opened with, before it expires: an OAuth token
    /// as a rule. [`Event::SecretUpdated`] follows, or the server closes the connection. While the server
    /// [blocks](Self::is_blocked) the connection it answers nothing, and has all its time again after that.
    ///
    /// # Errors
    /// [`SendError`]; one update [at a time](Self::is_updating_secret).
    pub fn update_secret(
        &mut self,
        now: Instant,
        new_secret: Bytes,
        reason: ShortString,
    ) -> Result<(), SendError> {
        if !self.is_open() {
            return Err(SendError::NotOpen);
        }
        if self.side != Side::Client || self.deadlines.secret.is_some() {
            return Err(SendError::NotSendable(connection::UpdateSecret::ID));
        }
        let method = connection::UpdateSecret {
            new_secret: new_secret.into(),
            reason,
        }
        .into();
        write::method(
            &mut self.outbound,
            ChannelId::CONNECTION,
            &method,
            self.tuning.frame_max,
        )?;
        self.deadlines.secret = Some(after(now, self.limits.call_timeout));
        Ok(())
    }

    /// Sends a server's method about the connection: connection.blocked, unblocked, or
    /// update-secret-ok.
    ///
    /// # Errors
    /// [`SendError`]; all other methods of the class have functions of their own.
    pub fn send_notice(&mut self, method: impl Into<Method>) -> Result<(), SendError> {
        let method = method.into();
        let notice = matches!(
            method,
            Method::ConnectionBlocked(_)
                | Method::ConnectionUnblocked(_)
                | Method::ConnectionUpdateSecretOk(_)
        );
        if !notice || self.side != Side::Server {
            return Err(SendError::NotSendable(method.id()));
        }
        if !self.is_open() {
            return Err(SendError::NotOpen);
        }
        write::method(
            &mut self.outbound,
            ChannelId::CONNECTION,
            &method,
            self.tuning.frame_max,
        )
    }
}

/// # Getters
impl Connection {
    /// Whether the handshake is complete and nobody has begun to close.
    pub fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Open)
    }

    /// Whether the connection has ended: [`Event::Closed`] was, or is about to be, polled.
    pub fn is_closed(&self) -> bool {
        matches!(self.phase, Phase::Closed)
    }

    /// Whether the broker said that it reads no more publishes for now.
    pub fn is_blocked(&self) -> bool {
        self.blocked
    }

    /// Whether an update of the secret was sent, and is not answered.
    pub fn is_updating_secret(&self) -> bool {
        self.deadlines.secret.is_some()
    }

    /// How many bytes wait to be written.
    pub fn outbound_len(&self) -> usize {
        self.outbound.len()
    }

    /// What was negotiated; before that, this side's offer.
    pub fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// What the peer told of itself, in connection.start or start-ok; empty before that, and of a server that
    /// is [known](ClientOptions::known_server) what it told the last time.
    pub fn peer_properties(&self) -> &FieldTable {
        &self.peer_properties
    }

    /// What is to be known of the server another time, see [`ClientOptions::known_server`]. There is something
    /// from [`Event::Opening`] on, unless the login was of more than one step.
    pub fn known_server(&self) -> Option<&KnownServer> {
        self.known_server.as_deref()
    }

    /// The release of RabbitMQ that the peer says that it is, such as `(4, 3)`; `None` for others, and
    /// before it has said so.
    pub fn rabbitmq_release(&self) -> Option<(u32, u32)> {
        rabbitmq_release(&self.peer_properties)
    }

    /// The size of the longest frame that this side has sent in the handshake: before tuning a peer need
    /// take no more than 4096 bytes.
    pub fn longest_in_handshake(&self) -> usize {
        self.longest_in_handshake
    }

    /// How far the connection has come.
    pub fn stage(&self) -> Stage {
        match &self.phase {
            Phase::Client(handshake) => handshake.stage(),
            Phase::Server(handshake, _) => handshake.stage(),
            Phase::Open => Stage::Open,
            Phase::Closing | Phase::Closed => Stage::Closing,
        }
    }
}

impl Connection {
    /// Whether channels can be opened and used: it is open, or a client's connection.open is on its way.
    fn takes_channels(&self) -> bool {
        match &self.phase {
            Phase::Open => true,
            Phase::Client(handshake) => handshake.takes_channels(),
            _ => false,
        }
    }

    fn frame_limits(&self) -> Limits {
        let tuned = match &self.phase {
            Phase::Client(handshake) => handshake.is_tuned(),
            Phase::Server(handshake, _) => handshake.is_tuned(),
            Phase::Open | Phase::Closing | Phase::Closed => true,
        };
        if !tuned {
            return Limits {
                frame_max: BEFORE_TUNE,
                header_frame_max: BEFORE_TUNE,
            };
        }
        // Both brokers let a frame be longer than negotiated by its overhead.
        let tolerance = FRAME_OVERHEAD as u32;
        Limits {
            frame_max: self.tuning.frame_max + tolerance,
            header_frame_max: self.offer.tuning().frame_max.max(HEADER_FRAME_MAX) + tolerance,
        }
    }

    fn write_close(&mut self, code: ReplyCode, text: ShortString, method: MethodId) {
        let close = connection::Close {
            reply_code: code,
            reply_text: text,
            class_id: method.class,
            method_id: method.method,
        };
        write::short_method(&mut self.outbound, ChannelId::CONNECTION, &close);
    }

    /// Ends the connection over what the peer did, and tells it, if it has spoken AMQP so far.
    fn violated(&mut self, violation: Violation) {
        if !matches!(self.stage(), Stage::Greeting | Stage::Closing) {
            let text = violation.to_string();
            let text = ShortString::try_from(&text.as_bytes()[..text.len().min(255)]);
            let code = violation.reply_code();
            self.write_close(code, text.unwrap_or_default(), NO_METHOD);
        }
        self.end(CloseReason::Violation(violation));
    }

    /// The one way into [`Phase::Closed`], and so the one source of [`Event::Closed`].
    fn end(&mut self, reason: CloseReason) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        self.phase = Phase::Closed;
        self.deadlines = Deadlines::default();
        self.channels = Channels::default();
        self.events.push(Event::Closed(reason));
    }
}

/// Why no channel was opened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum OpenChannelError {
    /// The connection is not being opened yet, or is closed.
    #[error("the connection is not open")]
    NotOpen,
    /// All channels that were negotiated are taken.
    #[error("all channels that the broker allows are in use")]
    NoneFree,
}

/// The largest frame before tuning: what RabbitMQ takes from 4.1 on, and LavinMQ.
const BEFORE_TUNE: u32 = 8192;

/// The largest content header that is accepted, whatever was negotiated. No broker can split one,
/// so both forward those of publishers whose frames are larger than ours.
const HEADER_FRAME_MAX: u32 = 128 * 1024;
