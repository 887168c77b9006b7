use std::fmt;

use crate::frame::{FRAME_MIN_SIZE, PROTOCOL_HEADER};
use crate::method::{Arguments, connection};
use crate::options::{Offer, Tuning};
use crate::sasl::{Mechanism, MechanismError};
use crate::{FieldTable, Method, ShortString, Violation};

/// The client's side: a step for each thing that the server may say next.
///
/// ```text
///  header sent          start-ok sent           tune-ok queued        open sent
///  ┌───────┐   start    ┌───────────┐   tune    ┌───────┐  written    ┌─────────┐  open-ok
///  │ Start ├───────────►│   Login   ├──────────►│ Tuned ├────────────►│ Opening ├─────────► open
///  └───────┘            └─▲───────┬─┘           └───────┘             └─────────┘
///                         └───────┘ secure / secure-ok
/// ```
#[derive(Debug)]
pub(crate) enum ClientHandshake {
    Start(Login),
    Login {
        mechanism: Box<dyn Mechanism>,
        virtual_host: ShortString,
    },
    /// connection.open waits until tune-ok has left: a server that refuses tune-ok would meet
    /// unread data and reset the connection, and its 530 would be lost (LavinMQ does so).
    Tuned {
        virtual_host: ShortString,
    },
    Opening,
}

/// What a client logs in with.
#[derive(Debug)]
pub(crate) struct Login {
    pub(crate) mechanisms: Vec<Box<dyn Mechanism>>,
    pub(crate) virtual_host: ShortString,
    pub(crate) properties: FieldTable,
    pub(crate) locale: ShortString,
}

/// What the client's handshake asks of the connection.
#[derive(Debug)]
pub(crate) enum ClientStep {
    /// Send this and go on; the peer's properties came with connection.start.
    Started {
        reply: Method,
        next: ClientHandshake,
        server_properties: FieldTable,
    },
    /// Send this and go on.
    Reply(Method, ClientHandshake),
    /// Send connection.tune-ok with what both can do, and go on.
    Tune(Tuning, ClientHandshake),
    /// The connection is open.
    Open,
}

/// Why a handshake ended before the connection was open, other than by the server's word.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum HandshakeError {
    /// None of the client's mechanisms is in the server's list.
    #[error("the server offers the login mechanisms \"{offered}\", none of which is configured")]
    NoCommonMechanism {
        /// The server's list, separated by spaces.
        offered: String,
    },
    /// The mechanism gave up.
    #[error("login: {0}")]
    Mechanism(#[from] MechanismError),
    /// connection.start-ok would not fit into the smallest frame, larger than which nothing may
    /// be sent before tuning (AMQP 0-9-1 §4.2.3).
    #[error("client properties and login take {0} bytes together; 4096 are possible")]
    StartOkTooLarge(usize),
    /// The other end does not speak AMQP 0-9-1.
    #[error(transparent)]
    NotAmqp(#[from] Greeting),
}

/// Why the handshake cannot go on.
pub(crate) enum HandshakeFailure {
    Violation(Violation),
    Error(HandshakeError),
}

impl From<HandshakeError> for HandshakeFailure {
    fn from(error: HandshakeError) -> Self {
        Self::Error(error)
    }
}

impl From<Violation> for HandshakeFailure {
    fn from(violation: Violation) -> Self {
        Self::Violation(violation)
    }
}

impl From<MechanismError> for HandshakeFailure {
    fn from(error: MechanismError) -> Self {
        Self::Error(error.into())
    }
}

impl ClientHandshake {
    /// Takes the server's next method.
    pub(crate) fn handle(
        self,
        method: Method,
        offer: &Offer,
    ) -> Result<ClientStep, HandshakeFailure> {
        match (self, method) {
            (Self::Start(login), Method::ConnectionStart(start)) => login.answer(start),
            (
                Self::Login {
                    mut mechanism,
                    virtual_host,
                },
                Method::ConnectionSecure(secure),
            ) => {
                let response = mechanism.respond(&secure.challenge)?.into();
                let reply = connection::SecureOk { response };
                Ok(ClientStep::Reply(
                    reply.into(),
                    Self::Login {
                        mechanism,
                        virtual_host,
                    },
                ))
            }
            (Self::Login { virtual_host, .. }, Method::ConnectionTune(tune)) => Ok(
                ClientStep::Tune(offer.answer(&tune)?, Self::Tuned { virtual_host }),
            ),
            (Self::Opening, Method::ConnectionOpenOk(_)) => Ok(ClientStep::Open),
            (_, method) => Err(Violation::UnexpectedMethod {
                channel: 0,
                method: method.id(),
            }
            .into()),
        }
    }

    /// Whether nothing has been heard of the server.
    pub(crate) fn is_start(&self) -> bool {
        matches!(self, Self::Start(_))
    }

    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Start(_) => Stage::Greeting,
            Self::Login { .. } => Stage::Login,
            Self::Tuned { .. } | Self::Opening => Stage::Opening,
        }
    }
}

impl Login {
    fn answer(self, start: connection::Start) -> Result<ClientStep, HandshakeFailure> {
        let (major, minor) = (start.version_major, start.version_minor);
        if (major, minor) != (0, 9) {
            return Err(Violation::Version { major, minor }.into());
        }
        // The list is separated by spaces (AMQP 0-9-1 §1.4.2.1).
        let mut offered = start.mechanisms.split(|&byte| byte == b' ');
        let mut mechanism = (self.mechanisms.into_iter())
            .find(|mechanism| {
                offered
                    .clone()
                    .any(|name| name == mechanism.name().as_bytes())
            })
            .ok_or_else(|| HandshakeError::NoCommonMechanism {
                offered: offered
                    .by_ref()
                    .map(String::from_utf8_lossy)
                    .collect::<Vec<_>>()
                    .join(" "),
            })?;
        let reply = connection::StartOk {
            client_properties: self.properties,
            mechanism: ShortString::try_from(mechanism.name())
                .map_err(|error| MechanismError::Other(error.to_string()))?,
            response: mechanism.initial_response()?.into(),
            locale: self.locale,
        };
        let mut encoded = Vec::new();
        reply.encode_arguments(&mut encoded);
        // 8 bytes of frame and 4 of method ids stand around the arguments.
        let frame_len = encoded.len() + 12;
        if frame_len > FRAME_MIN_SIZE as usize {
            return Err(HandshakeError::StartOkTooLarge(frame_len).into());
        }
        Ok(ClientStep::Started {
            reply: reply.into(),
            next: ClientHandshake::Login {
                mechanism,
                virtual_host: self.virtual_host,
            },
            server_properties: start.server_properties,
        })
    }
}

/// The server's side. Who may log in, and whether a virtual host exists, is for the application to
/// say; the machine waits for it.
#[derive(Debug)]
pub(crate) enum ServerHandshake {
    /// The client's protocol header.
    Header,
    /// connection.start-ok.
    StartOk,
    /// The application's word on the login; connection.secure-ok follows where it asks for more.
    Authenticating {
        mechanism: ShortString,
    },
    SecureOk {
        mechanism: ShortString,
    },
    TuneOk,
    Open,
    /// The application's word on the virtual host.
    Opening,
}

impl ServerHandshake {
    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Header => Stage::Greeting,
            Self::StartOk | Self::Authenticating { .. } | Self::SecureOk { .. } => Stage::Login,
            Self::TuneOk | Self::Open | Self::Opening => Stage::Opening,
        }
    }
}

/// How far a connection had come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Stage {
    /// The peer had not answered the protocol header.
    Greeting,
    /// The login was under way. Brokers that were not told of `authentication_failure_close` end
    /// the stream here when they refuse it.
    Login,
    /// Tuning, or opening the virtual host.
    Opening,
    /// The connection was open.
    Open,
    /// The connection was being closed.
    Closing,
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Greeting => "before the peer answered",
            Self::Login => "during the login",
            Self::Opening => "while opening the virtual host",
            Self::Open => "while the connection was open",
            Self::Closing => "while the connection was being closed",
        })
    }
}

/// What the other end speaks instead of AMQP 0-9-1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Greeting {
    /// An AMQP header of another version: the server's way to refuse ours (AMQP 0-9-1 §4.2.2).
    #[error("the server wants another version of AMQP: {id}-{major}-{minor}-{revision}")]
    OtherVersion {
        /// Protocol id; 3 is SASL for AMQP 1.0.
        id: u8,
        /// Major version.
        major: u8,
        /// Minor version.
        minor: u8,
        /// Revision.
        revision: u8,
    },
    /// An HTTP server.
    #[error("an HTTP server answered: is this the port of the management page?")]
    Http,
    /// A TLS record: the port wants `amqps`.
    #[error("a TLS server answered: use amqps, or the port without TLS (5672 as a rule)")]
    Tls,
}

impl Greeting {
    /// Recognises what is not AMQP from the first bytes of a server.
    ///
    /// `Ok(None)` is AMQP, or something that the frame reader will refuse; `Err(())` needs more
    /// bytes to tell.
    pub(crate) fn recognise(bytes: &[u8]) -> Result<Option<Self>, ()> {
        let starts_like = |prefix: &[u8]| {
            let len = prefix.len().min(bytes.len());
            bytes[..len] == prefix[..len]
        };
        if starts_like(b"AMQP") {
            let &[_, _, _, _, id, major, minor, revision, ..] = bytes else {
                return Err(());
            };
            return Ok(Some(Self::OtherVersion {
                id,
                major,
                minor,
                revision,
            }));
        }
        if starts_like(b"HTTP/") {
            return if bytes.len() < 5 {
                Err(())
            } else {
                Ok(Some(Self::Http))
            };
        }
        // A TLS alert, or a server's handshake record (RFC 8446 §5.1).
        if starts_like(&[0x15, 0x03]) || starts_like(&[0x16, 0x03]) {
            return if bytes.len() < 2 {
                Err(())
            } else {
                Ok(Some(Self::Tls))
            };
        }
        Ok(None)
    }
}

/// The client's protocol header as a server reads it: `None` needs more bytes.
pub(crate) fn is_protocol_header(bytes: &[u8]) -> Option<bool> {
    let len = bytes.len().min(PROTOCOL_HEADER.len());
    if bytes[..len] != PROTOCOL_HEADER[..len] {
        return Some(false);
    }
    (len == PROTOCOL_HEADER.len()).then_some(true)
}
