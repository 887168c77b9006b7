use std::time::Instant;

use bytes::Bytes;

use super::{Connection, Phase};
use crate::event::Event;
use crate::frame::{FRAME_MIN_SIZE, PROTOCOL_HEADER};
use crate::handshake::{
    ClientHandshake, ClientStep, Failure, Greeting, HandshakeError, Login, ServerHandshake, lists,
};
use crate::known_server::KnownServer;
use crate::method::{Method, connection};
use crate::options::Tuning;
use crate::side::Side;
use crate::time::after;
use crate::types::ChannelId;
use crate::violation::Violation;
use crate::write::{self, SendError};

/// # A server's turns in the handshake
impl Connection {
    /// A server's word to a client that may come in; it answers [`Event::Login`].
    pub fn accept_login(&mut self) {
        if let Phase::Server(handshake @ ServerHandshake::Authenticating { .. }, _) =
            &mut self.phase
        {
            *handshake = ServerHandshake::TuneOk;
            self.send_in_handshake(self.offer.tuning().tune());
        }
    }

    /// A server's further question to a client that logs in; it answers [`Event::Login`].
    pub fn challenge(&mut self, challenge: Bytes) {
        let Phase::Server(handshake, _) = &mut self.phase else {
            return;
        };
        if let ServerHandshake::Authenticating { mechanism } = handshake {
            *handshake = ServerHandshake::SecureOk {
                mechanism: std::mem::take(mechanism),
            };
            self.send_in_handshake(connection::Secure { challenge });
        }
    }

    /// A server's word to a client that may use the virtual host; it answers
    /// [`Event::OpenRequested`].
    pub fn accept_open(&mut self) {
        if matches!(self.phase, Phase::Server(ServerHandshake::Opening, _)) {
            self.send_in_handshake(connection::OpenOk::default());
            self.become_open();
        }
    }
}

impl Connection {
    /// Judges the first bytes of the stream; how many of them come before the first frame, or
    /// `None` where more are needed.
    pub(super) fn greet(&mut self, input: &[u8]) -> Option<usize> {
        match &mut self.phase {
            Phase::Server(handshake, options) => match Greeting::of_client(input)? {
                Ok(()) => {
                    *handshake = ServerHandshake::StartOk;
                    let start = connection::Start {
                        version_major: 0,
                        version_minor: 9,
                        server_properties: options.properties.clone(),
                        mechanisms: options.mechanisms.clone().into(),
                        locales: "en_US".into(),
                    };
                    self.send_in_handshake(start);
                    return Some(PROTOCOL_HEADER.len());
                }
                Err(greeting) => {
                    // A wrong header is answered with the right one (AMQP 0-9-1 §4.2.2).
                    self.outbound.copied().extend_from_slice(&PROTOCOL_HEADER);
                    self.end(HandshakeError::NotAmqp(greeting).into());
                }
            },
            _ => {
                if let Err(greeting) = Greeting::of_server(input)? {
                    self.end(HandshakeError::NotAmqp(greeting).into());
                }
            }
        }
        Some(0)
    }

    pub(super) fn client_handshake(
        &mut self,
        now: Instant,
        method: Method,
    ) -> Result<(), Violation> {
        if let Method::ConnectionStart(start) = &method
            && matches!(self.phase, Phase::Client(ClientHandshake::Start(_)))
        {
            self.peer_properties = start.server_properties.clone();
        }
        // The handshake is consumed by each step. What stands in for it says that the peer has
        // spoken, and so is told if this step fails.
        let stand_in = Phase::Client(ClientHandshake::Opening);
        let Phase::Client(handshake) = std::mem::replace(&mut self.phase, stand_in) else {
            return Ok(());
        };
        match handshake.handle(method, &self.offer, &self.peer_properties) {
            Ok(ClientStep::Reply(reply, next)) => {
                self.phase = Phase::Client(next);
                self.send_in_handshake(reply);
            }
            Ok(ClientStep::Tune(tuning, next, known)) => {
                self.phase = Phase::Client(next);
                self.known_server = known;
                self.send_in_handshake(tuning.tune_ok());
                self.tuned(now, tuning);
                self.deadlines.open = Some(now);
            }
            Ok(ClientStep::Wait(next)) => {
                let is_tuned = next.is_tuned();
                self.phase = Phase::Client(next);
                if is_tuned {
                    self.begin_heartbeats(now);
                }
            }
            Ok(ClientStep::Open) => self.become_open(),
            Err(Failure::Violation(violation)) => return Err(violation),
            Err(Failure::Handshake(error)) => self.end(error.into()),
        }
        Ok(())
    }

    /// Says all that a client says in the handshake with a server that is known.
    pub(super) fn say_all(&mut self, login: Login, server: KnownServer, tuning: Tuning) {
        self.peer_properties = server.properties().clone();
        let (start_ok, logging_in) = match login.answer_known(&server) {
            Ok(answer) => answer,
            Err(Failure::Handshake(error)) => return self.end(error.into()),
            Err(Failure::Violation(violation)) => return self.end(violation.into()),
        };
        self.send_in_handshake(start_ok);
        self.send_in_handshake(tuning.tune_ok());
        self.send_in_handshake(connection::Open {
            virtual_host: logging_in.virtual_host,
            ..Default::default()
        });
        if self.is_closed() {
            return;
        }
        // Heartbeats begin with the server's tune.
        self.tuning = tuning;
        self.phase = Phase::Client(ClientHandshake::Foreseen {
            server: Box::new(server.clone()),
            is_greeted: false,
        });
        self.known_server = Some(Box::new(server));
        self.events.push(Event::Opening(tuning));
    }

    /// Opens the virtual host, if that is the next step and tune-ok has left.
    pub(super) fn open_virtual_host(&mut self) {
        if let Phase::Client(ClientHandshake::Tuned { virtual_host }) = &mut self.phase
            && self.outbound.is_empty()
        {
            let open = connection::Open {
                virtual_host: std::mem::take(virtual_host),
                ..Default::default()
            };
            self.phase = Phase::Client(ClientHandshake::Opening);
            self.deadlines.open = None;
            self.send_in_handshake(open);
            if !self.is_closed() {
                self.events.push(Event::Opening(self.tuning));
            }
        }
    }

    pub(super) fn server_handshake(
        &mut self,
        now: Instant,
        method: Method,
    ) -> Result<(), Violation> {
        let Phase::Server(handshake, options) = &mut self.phase else {
            return Ok(());
        };
        let event = match (&mut *handshake, method) {
            (ServerHandshake::StartOk, Method::ConnectionStartOk(start_ok)) => {
                let mechanism = start_ok.mechanism;
                if !lists(options.mechanisms.as_bytes(), mechanism.as_bytes()) {
                    return Err(Violation::Mechanism(mechanism));
                }
                *handshake = ServerHandshake::Authenticating {
                    mechanism: mechanism.clone(),
                };
                self.peer_properties = start_ok.client_properties;
                Event::Login {
                    mechanism,
                    response: start_ok.response,
                }
            }
            (ServerHandshake::SecureOk { mechanism }, Method::ConnectionSecureOk(secure_ok)) => {
                let mechanism = std::mem::take(mechanism);
                *handshake = ServerHandshake::Authenticating {
                    mechanism: mechanism.clone(),
                };
                Event::Login {
                    mechanism,
                    response: secure_ok.response,
                }
            }
            (ServerHandshake::TuneOk, Method::ConnectionTuneOk(tune_ok)) => {
                let tuning = self.offer.check(&tune_ok)?;
                *handshake = ServerHandshake::Open;
                self.tuned(now, tuning);
                return Ok(());
            }
            (ServerHandshake::Open, Method::ConnectionOpen(open)) => {
                *handshake = ServerHandshake::Opening;
                Event::OpenRequested {
                    virtual_host: open.virtual_host,
                }
            }
            (_, method) => {
                return Err(Violation::UnexpectedMethod {
                    channel: ChannelId::CONNECTION,
                    method: method.id(),
                });
            }
        };
        self.events.push(event);
        Ok(())
    }

    fn become_open(&mut self) {
        self.phase = Phase::Open;
        self.deadlines.handshake = None;
        self.events.push(Event::Open(self.tuning));
    }

    /// Takes over what was negotiated, and begins to send and expect heartbeats.
    fn tuned(&mut self, now: Instant, tuning: Tuning) {
        self.tuning = tuning;
        self.begin_heartbeats(now);
    }

    fn begin_heartbeats(&mut self, now: Instant) {
        if let Some(interval) = self.tuning.heartbeat_interval() {
            self.deadlines.heartbeat_send = Some(after(now, interval / 2));
            self.deadlines.heartbeat_receive = Some(after(now, 2 * interval));
        }
    }

    /// Sends a method of the handshake, or ends the connection over one that is too long for it.
    fn send_in_handshake(&mut self, method: impl Into<Method>) {
        let method = method.into();
        // Nothing but 4096 bytes is sure to be taken before tuning. But a token makes a login longer, and
        // what a server takes it does not tell: RabbitMQ up to 4.0 that, from 4.1 on 8192 bytes or
        // what is set there, and LavinMQ 8192. So it is tried; connection.open, which comes after
        // tuning, is short.
        let limit = match self.side {
            Side::Client => self.offer.tuning().frame_max,
            Side::Server => FRAME_MIN_SIZE,
        };
        let before = self.outbound.len();
        let written = write::method(&mut self.outbound, ChannelId::CONNECTION, &method, limit);
        match written {
            Err(SendError::FrameTooLarge { size, limit }) => {
                let method = method.id();
                self.end(
                    HandshakeError::FrameTooLarge {
                        method,
                        size,
                        limit,
                    }
                    .into(),
                );
            }
            _ => {
                let size = self.outbound.len() - before;
                self.longest_in_handshake = self.longest_in_handshake.max(size);
            }
        }
    }
}
