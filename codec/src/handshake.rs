use std::fmt;

use crate::frame::PROTOCOL_HEADER;
use crate::known_server::KnownServer;
use crate::method::{Method, MethodId, connection};
use crate::options::{Offer, Tuning};
use crate::sasl::{Mechanism, MechanismError};
use crate::table::FieldTable;
use crate::text::Escaped;
use crate::types::{ChannelId, ShortString};
use crate::violation::Violation;

/// The client's side: a step for each thing that the server may say next.
///
/// ```text
///  header sent          start-ok sent           tune-ok queued        open sent
///  ┌───────┐   start    ┌───────────┐   tune    ┌───────┐  written    ┌─────────┐  open-ok
///  │ Start ├───────────►│   Login   ├──────────►│ Tuned ├────────────►│ Opening ├─────────► open
///  └───────┘            └─▲───────┬─┘           └───────┘             └─────────┘
///                         └───────┘ secure / secure-ok
///
///  all of it sent, open too
///  ┌──────────┐ the start that is known, and the tune
///  │ Foreseen ├───────────────────────────────────────► Opening
///  └──────────┘
/// ```
#[derive(Debug)]
pub(crate) enum ClientHandshake {
    Start(Login),
    Login(LoggingIn),
    /// Nothing is left to say, and the server is to say what it said the last time.
    Foreseen {
        server: Box<KnownServer>,
        is_greeted: bool,
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
}

/// A client that has sent connection.start-ok.
#[derive(Debug)]
pub(crate) struct LoggingIn {
    mechanism: Box<dyn Mechanism>,
    pub(crate) virtual_host: ShortString,
    start: Box<connection::Start>,
    /// Whether the server wanted to know more: what that will be another time is not known.
    is_challenged: bool,
}

/// What the client's handshake asks of the connection.
#[derive(Debug)]
pub(crate) enum ClientStep {
    /// Send this and go on.
    Reply(Method, ClientHandshake),
    /// Send connection.tune-ok with what both can do, and go on. The server is known now, unless its login
    /// was of more than one step.
    Tune(Tuning, ClientHandshake, Option<Box<KnownServer>>),
    /// There is nothing to send.
    Wait(ClientHandshake),
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
    /// A method is too long. Before tuning a server sends 4096 bytes at most (AMQP 0-9-1 §4.2.3), and a
    /// client no more than its own `frame_max`.
    #[error("{method} would take {size} bytes, where at most {limit} can be sent before tuning")]
    FrameTooLarge {
        /// The method.
        method: MethodId,
        /// The size of its frame.
        size: usize,
        /// The limit.
        limit: u32,
    },
    /// The server takes no frames that are so small. RabbitMQ from 4.1 on is known to reset the connection
    /// over that without a word, 3 s later.
    #[error(
        "RabbitMQ {} takes no frame_max below {least}, and the smaller of the client's and the server's \
         is {frame_max}: raise it, or leave it out", Escaped(.version.as_bytes())
    )]
    FrameMax {
        /// The version of RabbitMQ, as it writes it.
        version: String,
        /// What would have been agreed on.
        frame_max: u32,
        /// The least that it takes.
        least: u32,
    },
    /// The server is not what it was [known](crate::ClientOptions::known_server) to be: it has greeted or
    /// tuned in another way. Begin again without that, on another transport.
    #[error("the server is not what it was: its {0} is another")]
    ServerChanged(MethodId),
    /// The other end does not speak AMQP 0-9-1.
    #[error(transparent)]
    NotAmqp(#[from] Greeting),
}

/// Why a client's handshake cannot go on.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The server broke the protocol, and is to be told.
    #[error(transparent)]
    Violation(#[from] Violation),
    /// No login that we have suits the server.
    #[error(transparent)]
    Handshake(#[from] HandshakeError),
}

impl ClientHandshake {
    /// Takes the server's next method.
    pub(crate) fn handle(
        self,
        method: Method,
        offer: &Offer,
        server: &FieldTable,
    ) -> Result<ClientStep, Failure> {
        match (self, method) {
            (Self::Start(login), Method::ConnectionStart(start)) => {
                let (start_ok, logging_in) = login.answer(start)?;
                Ok(ClientStep::Reply(start_ok.into(), Self::Login(logging_in)))
            }
            (Self::Login(mut logging_in), Method::ConnectionSecure(secure)) => {
                let response = logging_in.mechanism.respond(&secure.challenge);
                let reply = connection::SecureOk {
                    response: response.map_err(HandshakeError::from)?.into(),
                };
                logging_in.is_challenged = true;
                Ok(ClientStep::Reply(reply.into(), Self::Login(logging_in)))
            }
            (Self::Login(logging_in), Method::ConnectionTune(tune)) => {
                let tuning = offer.answer(&tune)?;
                check_frame_max(tuning.frame_max, server)?;
                let LoggingIn {
                    virtual_host,
                    start,
                    is_challenged,
                    ..
                } = logging_in;
                let known = (!is_challenged).then(|| {
                    Box::new(KnownServer {
                        start: *start,
                        tune,
                    })
                });
                Ok(ClientStep::Tune(
                    tuning,
                    Self::Tuned { virtual_host },
                    known,
                ))
            }
            (
                Self::Foreseen {
                    server,
                    is_greeted: false,
                },
                Method::ConnectionStart(start),
            ) if start == server.start => Ok(ClientStep::Wait(Self::Foreseen {
                server,
                is_greeted: true,
            })),
            (
                Self::Foreseen {
                    server,
                    is_greeted: true,
                },
                Method::ConnectionTune(tune),
            ) if tune == server.tune => Ok(ClientStep::Wait(Self::Opening)),
            (
                Self::Foreseen { .. },
                method @ (Method::ConnectionStart(_)
                | Method::ConnectionSecure(_)
                | Method::ConnectionTune(_)),
            ) => Err(HandshakeError::ServerChanged(method.id()).into()),
            (Self::Opening, Method::ConnectionOpenOk(_)) => Ok(ClientStep::Open),
            (_, method) => Err(Violation::UnexpectedMethod {
                channel: ChannelId::CONNECTION,
                method: method.id(),
            }
            .into()),
        }
    }

    /// Whether frames are as large as what was negotiated.
    pub(crate) fn is_tuned(&self) -> bool {
        matches!(self, Self::Tuned { .. } | Self::Opening)
    }

    /// Whether channels can be opened and used.
    pub(crate) fn takes_channels(&self) -> bool {
        matches!(self, Self::Foreseen { .. } | Self::Opening)
    }

    pub(crate) fn stage(&self) -> Stage {
        match self {
            Self::Start(_)
            | Self::Foreseen {
                is_greeted: false, ..
            } => Stage::Greeting,
            Self::Login(_) | Self::Foreseen { .. } => Stage::Login,
            Self::Tuned { .. } | Self::Opening => Stage::Opening,
        }
    }
}

impl Login {
    /// What will be agreed on with a server that is known, if nothing speaks against it.
    pub(crate) fn foresee(&self, server: &KnownServer, offer: &Offer) -> Option<Tuning> {
        let KnownServer { start, tune } = server;
        let tuning = offer.answer(tune).ok()?;
        check_frame_max(tuning.frame_max, &start.server_properties).ok()?;
        let mut mechanisms = self.mechanisms.iter();
        let has_one = mechanisms.any(|it| lists(&start.mechanisms, it.name().as_bytes()));
        has_one.then_some(tuning)
    }

    /// Logs in at a server that is known as if it had greeted.
    pub(crate) fn answer_known(
        self,
        server: &KnownServer,
    ) -> Result<(connection::StartOk, LoggingIn), Failure> {
        self.answer(server.start.clone())
    }

    /// Logs in with the first of our mechanisms that the server lists.
    fn answer(self, start: connection::Start) -> Result<(connection::StartOk, LoggingIn), Failure> {
        let (major, minor) = (start.version_major, start.version_minor);
        if (major, minor) != (0, 9) {
            return Err(Violation::Version { major, minor }.into());
        }
        let mechanism = self
            .mechanisms
            .into_iter()
            .find(|mechanism| lists(&start.mechanisms, mechanism.name().as_bytes()));
        let Some(mut mechanism) = mechanism else {
            let offered = Escaped(&start.mechanisms).to_string();
            return Err(HandshakeError::NoCommonMechanism { offered }.into());
        };
        let name = ShortString::try_from(mechanism.name())
            .map_err(|error| MechanismError::Other(format!("the name of the mechanism: {error}")));
        let response = mechanism.initial_response();
        let reply = connection::StartOk {
            client_properties: self.properties,
            mechanism: name.map_err(HandshakeError::from)?,
            response: response.map_err(HandshakeError::from)?.into(),
            locale: ShortString::from_static("en_US"),
        };
        let logging_in = LoggingIn {
            mechanism,
            virtual_host: self.virtual_host,
            start: Box::new(start),
            is_challenged: false,
        };
        Ok((reply, logging_in))
    }
}

/// Whether the server takes frames of this size, as far as it is known by what it says of itself.
fn check_frame_max(frame_max: u32, server: &FieldTable) -> Result<(), HandshakeError> {
    if frame_max >= RABBITMQ_LEAST || rabbitmq_release(server) < Some((4, 1)) {
        return Ok(());
    }
    Err(HandshakeError::FrameMax {
        version: text_in(server, "version").unwrap_or_default().to_owned(),
        frame_max,
        least: RABBITMQ_LEAST,
    })
}

/// The smallest `frame_max` that RabbitMQ takes from 4.1 on.
const RABBITMQ_LEAST: u32 = 8192;

/// Major and minor version of a server that says that it is RabbitMQ.
pub(crate) fn rabbitmq_release(server: &FieldTable) -> Option<(u32, u32)> {
    if text_in(server, "product")? != "RabbitMQ" {
        return None;
    }
    let mut parts = text_in(server, "version")?.split('.');
    let mut next = || parts.next()?.parse().ok();
    Some((next()?, next()?))
}

/// A text that a server says of itself.
fn text_in<'a>(server: &'a FieldTable, name: &str) -> Option<&'a str> {
    server.get(name).ok()??.as_str()
}

/// Whether a list that is separated by spaces, as in connection.start, has this name in it.
pub(crate) fn lists(list: &[u8], name: &[u8]) -> bool {
    list.split(|&byte| byte == b' ')
        .any(|listed| listed == name)
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
    /// Whether the application has yet to say whether the client may come in.
    pub(crate) fn owes_word(&self) -> bool {
        matches!(self, Self::Authenticating { .. } | Self::Opening)
    }

    /// Whether frames are as large as what was negotiated.
    pub(crate) fn is_tuned(&self) -> bool {
        matches!(self, Self::Open | Self::Opening)
    }

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
    /// An AMQP header of another version: a server's way to refuse ours (AMQP 0-9-1 §4.2.2).
    #[error("the peer wants another version of AMQP: {id}-{major}-{minor}-{revision}")]
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
    #[error("the peer speaks HTTP: is this the port of the management page?")]
    Http,
    /// A TLS record.
    #[error("the peer speaks TLS: use amqps, or the port without TLS (5672 as a rule)")]
    Tls,
    /// A client that begins with no header of AMQP at all. What a server says instead of frames is
    /// a [`FrameError`](crate::FrameError).
    #[error("the peer does not speak AMQP")]
    Unknown,
}

impl Greeting {
    /// Judges the first bytes of a server; `None` needs more to tell. What is fine here the frame
    /// reader may still refuse.
    pub(crate) fn of_server(bytes: &[u8]) -> Option<Result<(), Self>> {
        if begins_with(bytes, b"HTTP/")? {
            return Some(Err(Self::Http));
        }
        Self::tls_or_amqp(bytes).map(|other| other.map_or(Ok(()), Err))
    }

    /// Judges the first bytes of a client, which are to be our protocol header; `None` needs more
    /// to tell.
    pub(crate) fn of_client(bytes: &[u8]) -> Option<Result<(), Self>> {
        if begins_with(bytes, &PROTOCOL_HEADER)? {
            return Some(Ok(()));
        }
        Self::tls_or_amqp(bytes).map(|other| Err(other.unwrap_or(Self::Unknown)))
    }

    fn tls_or_amqp(bytes: &[u8]) -> Option<Option<Self>> {
        if begins_with(bytes, b"AMQP")? {
            let &[_, _, _, _, id, major, minor, revision, ..] = bytes else {
                return None;
            };
            return Some(Some(Self::OtherVersion {
                id,
                major,
                minor,
                revision,
            }));
        }
        // A TLS alert, or a handshake record (RFC 8446 §5.1).
        let tls = begins_with(bytes, &[0x15, 0x03])? || begins_with(bytes, &[0x16, 0x03])?;
        Some(tls.then_some(Self::Tls))
    }
}

/// Whether `bytes` begin with `prefix`; `None` while they are too few to tell.
fn begins_with(bytes: &[u8], prefix: &[u8]) -> Option<bool> {
    let len = bytes.len().min(prefix.len());
    if bytes[..len] != prefix[..len] {
        return Some(false);
    }
    (len == prefix.len()).then_some(true)
}
