use std::time::Instant;

use bytes::Bytes;

use super::time::heartbeat_interval;
use super::{Connection, Phase, inbound::Step};
use crate::frame::{FRAME_MIN_SIZE, PROTOCOL_HEADER};
use crate::handshake::{
    ClientStep, Greeting, HandshakeError, HandshakeFailure, ServerHandshake, is_protocol_header,
};
use crate::method::connection;
use crate::write;
use crate::{CloseReason, Event, Method, ReplyCode, ShortString, Tuning, Violation};

/// # A server's turns in the handshake
impl Connection {
    /// A server's word to a client that may come in; it answers [`Event::Login`].
    pub fn accept_login(&mut self, now: Instant) {
        if let Phase::Server(handshake @ ServerHandshake::Authenticating { .. }, _) =
            &mut self.phase
        {
            *handshake = ServerHandshake::TuneOk;
            let Tuning {
                channel_max,
                frame_max,
                heartbeat,
            } = self.offer.tuning();
            self.send_command(
                now,
                connection::Tune {
                    channel_max,
                    frame_max,
                    heartbeat,
                }
                .into(),
            );
        }
    }

    /// A server's further question to a client that logs in; it answers [`Event::Login`].
    pub fn challenge(&mut self, now: Instant, challenge: Bytes) {
        if let Phase::Server(handshake @ ServerHandshake::Authenticating { .. }, _) =
            &mut self.phase
        {
            if let ServerHandshake::Authenticating { mechanism } = handshake {
                *handshake = ServerHandshake::SecureOk {
                    mechanism: std::mem::take(mechanism),
                };
            }
            self.send_command(now, connection::Secure { challenge }.into());
        }
    }

    /// A server's word to a client that may use the virtual host; it answers
    /// [`Event::OpenRequested`].
    pub fn accept_open(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Server(ServerHandshake::Opening, _)) {
            self.send_command(now, connection::OpenOk::default().into());
            self.become_open();
        }
    }
}

impl Connection {
    /// The first bytes that a server hears. A wrong header is answered with the right one (§4.2.2).
    pub(super) fn protocol_header(&mut self, input: &[u8]) -> Step {
        let Phase::Server(handshake, options) = &mut self.phase else {
            return Step::Incomplete;
        };
        match is_protocol_header(input) {
            None => Step::Incomplete,
            Some(true) => {
                *handshake = ServerHandshake::StartOk;
                let start = connection::Start {
                    version_major: 0,
                    version_minor: 9,
                    server_properties: options.properties.clone(),
                    mechanisms: options.mechanisms.clone().into(),
                    locales: "en_US".into(),
                };
                write::short_method(&mut self.outbound, 0, &start);
                Step::Consumed(PROTOCOL_HEADER.len())
            }
            Some(false) => {
                self.outbound.copied().extend_from_slice(&PROTOCOL_HEADER);
                let mut header = [0; 8];
                let len = input.len().min(8);
                header[..len].copy_from_slice(&input[..len]);
                let [_, _, _, _, id, major, minor, revision] = header;
                let greeting = Greeting::OtherVersion {
                    id,
                    major,
                    minor,
                    revision,
                };
                self.end(CloseReason::Handshake(HandshakeError::NotAmqp(greeting)));
                Step::Consumed(0)
            }
        }
    }

    pub(super) fn client_handshake(
        &mut self,
        now: Instant,
        method: Method,
    ) -> Result<(), Violation> {
        // `Closed` stands in while the handshake, which is consumed by each step, is away.
        let Phase::Client(handshake) = std::mem::replace(&mut self.phase, Phase::Closed) else {
            return Ok(());
        };
        let stand_in = |next| Phase::Client(next);
        match handshake.handle(method, &self.offer) {
            Ok(ClientStep::Started {
                reply,
                next,
                server_properties,
            }) => {
                self.phase = stand_in(next);
                self.peer_properties = server_properties;
                self.send_command(now, reply);
            }
            Ok(ClientStep::Reply(reply, next)) => {
                self.phase = stand_in(next);
                self.send_command(now, reply);
            }
            Ok(ClientStep::Tune(tuning, next)) => {
                self.phase = stand_in(next);
                let Tuning {
                    channel_max,
                    frame_max,
                    heartbeat,
                } = tuning;
                self.send_command(
                    now,
                    connection::TuneOk {
                        channel_max,
                        frame_max,
                        heartbeat,
                    }
                    .into(),
                );
                self.tuned(now, tuning);
            }
            Ok(ClientStep::Open) => self.become_open(),
            Err(HandshakeFailure::Error(error)) => {
                self.phase = Phase::Closing;
                self.end(CloseReason::Handshake(error));
            }
            Err(HandshakeFailure::Violation(violation)) => {
                self.phase = Phase::Closing;
                return Err(violation);
            }
        }
        Ok(())
    }

    pub(super) fn server_handshake(
        &mut self,
        now: Instant,
        method: Method,
    ) -> Result<(), Violation> {
        let Phase::Server(handshake, options) = &mut self.phase else {
            return Ok(());
        };
        let event = match (&*handshake, method) {
            (ServerHandshake::StartOk, Method::ConnectionStartOk(start_ok)) => {
                let chosen = start_ok.mechanism.as_str();
                if !options
                    .mechanisms
                    .split(' ')
                    .any(|offered| Some(offered) == chosen)
                {
                    return Err(Violation::Mechanism(start_ok.mechanism));
                }
                *handshake = ServerHandshake::Authenticating {
                    mechanism: start_ok.mechanism.clone(),
                };
                self.peer_properties = start_ok.client_properties;
                Event::Login {
                    mechanism: start_ok.mechanism,
                    response: start_ok.response,
                }
            }
            (ServerHandshake::SecureOk { mechanism }, Method::ConnectionSecureOk(secure_ok)) => {
                let mechanism = mechanism.clone();
                *handshake = ServerHandshake::Authenticating {
                    mechanism: mechanism.clone(),
                };
                Event::Login {
                    mechanism,
                    response: secure_ok.response,
                }
            }
            (ServerHandshake::TuneOk, Method::ConnectionTuneOk(tune_ok)) => {
                *handshake = ServerHandshake::Open;
                let tuning = self.offer.check(&tune_ok)?;
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
                    channel: 0,
                    method: method.id(),
                });
            }
        };
        self.events.push_back(event);
        Ok(())
    }

    fn become_open(&mut self) {
        self.phase = Phase::Open;
        self.deadlines.handshake = None;
        self.events.push_back(Event::Open(self.tuning));
    }

    /// Takes over what was negotiated, and begins to send and expect heartbeats.
    fn tuned(&mut self, now: Instant, tuning: Tuning) {
        self.tuning = tuning;
        if tuning.heartbeat > 0 {
            self.deadlines.heartbeat_send = Some(now + heartbeat_interval(tuning) / 2);
            self.deadlines.heartbeat_receive = Some(now + 2 * heartbeat_interval(tuning));
        }
    }

    /// Sends one of the handshake's methods.
    pub(super) fn send_command(&mut self, now: Instant, method: Method) {
        // Only an application's own over-long names could fail here, before anything is opened.
        if write::method(
            &mut self.outbound,
            0,
            &method,
            FRAME_MIN_SIZE.max(self.tuning.frame_max),
        )
        .is_err()
        {
            self.close(
                now,
                ReplyCode::FRAME_ERROR,
                ShortString::from_static("frame too large"),
            );
        }
    }
}
