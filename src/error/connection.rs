use std::error;
use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use snowshoe_codec::{CloseReason, Greeting, HandshakeError, PeerClose, ReplyCode, Stage};

use super::handshake_cut::{HandshakeCut, Hint};
use crate::uri::Endpoint;

/// Why a connection could not be made, or ended, and whom it was to.
///
/// Its text names the client, if it has a [name](crate::ClientBuilder::name), the host, and each address that
/// was tried, with its cause; it holds nothing of the login.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionError {
    /// Why.
    pub reason: ConnectionErrorReason,
    /// Whom it was to; `None` where there was no attempt to connect.
    pub peer: Option<Arc<Peer>>,
    /// Where a client has given up: what other attempts have failed of since the connection was last up,
    /// the last for each peer, 32 at most.
    pub earlier: Vec<Self>,
    /// Whose connection it was: the client's [name](crate::ClientBuilder::name), if it has one.
    pub client: Option<Arc<str>>,
}

impl ConnectionError {
    pub(crate) fn new(reason: ConnectionErrorReason, peer: Option<Peer>) -> Self {
        Self {
            reason,
            peer: peer.map(Arc::new),
            earlier: Vec::new(),
            client: None,
        }
    }

    pub(crate) fn of_client(mut self, name: Option<&Arc<str>>) -> Self {
        self.client = name.cloned();
        self
    }

    /// Its text, where it is said elsewhere whose connection it was.
    pub(crate) fn without_client(&self) -> impl fmt::Display + '_ {
        Anonymous(self)
    }
}

impl fmt::Display for ConnectionError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(client) = &self.client {
            write!(f, "{client}: ")?;
        }
        Anonymous(self).fmt(f)
    }
}

struct Anonymous<'a>(&'a ConnectionError);

impl fmt::Display for Anonymous<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let ConnectionError {
            reason,
            peer,
            earlier,
            client: _,
        } = self.0;
        let reason = reason.to_string();
        match peer {
            Some(peer) => peer.introduce(&reason, f)?,
            None => f.write_str(&reason)?,
        }
        for earlier in earlier {
            write!(f, "; before that, {}", Anonymous(earlier))?;
        }
        Ok(())
    }
}

impl error::Error for ConnectionError {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        self.reason.source()
    }
}

/// The other end of a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Peer {
    /// The host and port of the URI.
    pub endpoint: Endpoint,
    /// The address that it was connected to, if it was, and if the [connector](crate::Connector) has told
    /// it.
    pub address: Option<SocketAddr>,
    /// The addresses that were tried beside that, unless the connection was up since.
    pub tried: Vec<Tried>,
}

/// An address that was tried.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tried {
    /// Which.
    pub address: SocketAddr,
    /// Why it could not be connected to, where that is known.
    pub cause: Option<String>,
}

impl Peer {
    pub(crate) fn new(
        endpoint: Endpoint,
        address: Option<SocketAddr>,
        tried: Vec<(SocketAddr, Option<String>)>,
    ) -> Self {
        let tried = tried.into_iter();
        let tried = tried.map(|(address, cause)| Tried { address, cause });
        Self {
            endpoint,
            address,
            tried: tried.collect(),
        }
    }

    /// Whether it is the same address of the same host, or the same ones, in whatever order.
    pub(crate) fn is_same(&self, other: &Self) -> bool {
        let tried = |peer: &Self| {
            let mut tried: Vec<_> = peer.tried.iter().map(|it| it.address).collect();
            tried.sort_unstable();
            tried
        };
        self.endpoint == other.endpoint
            && self.address == other.address
            && (self.address.is_some() || tried(self) == tried(other))
    }

    /// Writes a reason with what it is about, unless it names that itself.
    fn introduce(&self, reason: &str, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.endpoint.to_string();
        let mut addresses = Vec::new();
        let reached = self.address.iter().map(|address| (address, None));
        let tried = self.tried.iter().map(|it| (&it.address, it.cause.as_ref()));
        for (address, cause) in reached.chain(tried) {
            let address = address.to_string();
            if reason.contains(&address) || address == endpoint && cause.is_none() {
                continue;
            }
            addresses.push(match cause {
                Some(cause) => format!("{address}: {cause}"),
                None => address,
            });
        }
        if !addresses.is_empty() {
            write!(f, "{endpoint} ({}): ", addresses.join(", "))?;
        } else if !reason.contains(&endpoint) {
            write!(f, "{endpoint}: ")?;
        }
        f.write_str(reason)
    }
}

/// The reasons for a [`ConnectionError`].
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConnectionErrorReason {
    /// No connection to the address: refused, unreachable, unknown host, failed TLS handshake.
    #[error("cannot connect: {0}")]
    Dial(Arc<io::Error>),
    /// The transport failed.
    #[error("the transport failed: {0}")]
    Transport(Arc<io::Error>),
    /// The broker does not know the user or the password.
    #[error("the broker refused the login: {0}")]
    LoginRefused(PeerClose),
    /// The virtual host does not exist, or the user may not use it.
    #[error("the broker refused the virtual host: {0}")]
    VirtualHostRefused(PeerClose),
    /// The connection was cut off before it was open, and nobody said why.
    #[error(transparent)]
    HandshakeCut(HandshakeCut),
    /// What answered is not an AMQP 0-9-1 broker.
    #[error(transparent)]
    NotAmqp(Greeting),
    /// The connection ended in any other way.
    #[error(transparent)]
    Closed(CloseReason),
    /// No progress in time.
    #[error("{0} took too long")]
    Timeout(Phase),
    /// The credentials provider gave none, for this reason.
    #[error("no credentials: {0}")]
    Credentials(Arc<dyn error::Error + Send + Sync>),
    /// The broker has closed a connection over the number of channels that its user has, and lets this one
    /// have none. It is tried again after a while.
    #[error(
        "the broker allows the user no more channels: raise the user's limit (RabbitMQ: max-channels)"
    )]
    NoFreeChannel,
    /// No byte could be written for too long, and no broker said that it was blocked.
    #[error("the peer takes no more bytes")]
    WriteStalled,
}

/// What a connection was busy with when it took too long.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum Phase {
    /// Connecting the transport.
    #[error("connecting")]
    Dial,
    /// The AMQP handshake.
    #[error("the handshake")]
    Handshake,
    /// Bringing back channels, topology and consumers.
    #[error("the recovery")]
    Recovery,
    /// Closing in order.
    #[error("closing")]
    Close,
}

impl ConnectionErrorReason {
    /// Sorts the end of a connection by what a user would want to know of it.
    pub(crate) fn from_close(reason: CloseReason, during_handshake: bool) -> Self {
        match reason {
            CloseReason::Peer(close)
                if during_handshake && close.code == ReplyCode::ACCESS_REFUSED =>
            {
                Self::LoginRefused(close)
            }
            CloseReason::Peer(close)
                if during_handshake
                    && matches!(close.code, ReplyCode::NOT_ALLOWED | ReplyCode::INVALID_PATH) =>
            {
                Self::VirtualHostRefused(close)
            }
            CloseReason::Handshake(HandshakeError::NotAmqp(greeting)) => Self::NotAmqp(greeting),
            reason => Self::Closed(reason),
        }
    }

    /// The end of the transport, by an error or in order, as what it is in the handshake.
    pub(crate) fn cut_in_handshake(self, stage: Stage, hint: Hint) -> Self {
        let cause = match self {
            Self::Transport(cause) => Some(cause),
            Self::Closed(CloseReason::TransportEnded(_)) => None,
            other => return other,
        };
        Self::HandshakeCut(HandshakeCut::new(stage, cause, hint))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn error(
        reason: ConnectionErrorReason,
        host: &str,
        reached: Option<&str>,
        tried: &[(&str, Option<&str>)],
    ) -> ConnectionError {
        let address = |address: &str| address.parse().expect("an address");
        let tried = tried
            .iter()
            .map(|(it, cause)| (address(it), cause.map(str::to_owned)));
        let endpoint = Endpoint::new(host, 5672);
        let peer = Peer::new(endpoint, reached.map(address), tried.collect());
        ConnectionError::new(reason, Some(peer))
    }

    fn dial(text: &str) -> ConnectionErrorReason {
        ConnectionErrorReason::Dial(Arc::new(io::Error::other(text)))
    }

    // case H1
    #[test]
    fn the_text_names_the_host_and_its_addresses_once_each() {
        let timeout = ConnectionErrorReason::Timeout(Phase::Handshake);
        let dial_timeout = ConnectionErrorReason::Timeout(Phase::Dial);
        for (error, expected) in [
            (
                error(timeout.clone(), "broker", None, &[]),
                "broker:5672: the handshake took too long",
            ),
            (
                error(timeout.clone(), "broker", Some("10.0.0.1:5672"), &[]),
                "broker:5672 (10.0.0.1:5672): the handshake took too long",
            ),
            (
                error(timeout.clone(), "10.0.0.1", Some("10.0.0.1:5672"), &[]),
                "10.0.0.1:5672: the handshake took too long",
            ),
            (
                error(
                    timeout.clone(),
                    "broker",
                    Some("10.0.0.1:5672"),
                    &[("10.0.0.2:5672", Some("refused"))],
                ),
                "broker:5672 (10.0.0.1:5672, 10.0.0.2:5672: refused): the handshake took too long",
            ),
            (
                error(
                    dial_timeout,
                    "broker",
                    None,
                    &[("10.0.0.1:5672", None), ("10.0.0.2:5672", Some("refused"))],
                ),
                "broker:5672 (10.0.0.1:5672, 10.0.0.2:5672: refused): connecting took too long",
            ),
            (
                error(
                    dial("broker:5672 (10.0.0.1:5672: refused)"),
                    "broker",
                    None,
                    &[("10.0.0.1:5672", Some("refused"))],
                ),
                "cannot connect: broker:5672 (10.0.0.1:5672: refused)",
            ),
            (
                error(dial("refused"), "broker", None, &[]),
                "broker:5672: cannot connect: refused",
            ),
            (
                ConnectionError::new(timeout, None),
                "the handshake took too long",
            ),
        ] {
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn the_text_names_what_was_tried_before() {
        let mut last = error(dial("refused"), "two", None, &[]);
        last.earlier = vec![error(
            ConnectionErrorReason::Timeout(Phase::Handshake),
            "one",
            None,
            &[],
        )];
        assert_eq!(
            last.to_string(),
            "two:5672: cannot connect: refused; before that, one:5672: the handshake took too long"
        );
    }
}
