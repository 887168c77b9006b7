use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use snowshoe_codec::{ConnectionLimits, FieldTable, ShortString};

use crate::connector::Connector;
use crate::core::backoff::Backoff;
use crate::core::supervisor;
use crate::credentials::{Credentials, CredentialsError};
use crate::events::ConnectionRole;
use crate::uri::Endpoint;

/// Gives what to log in with; asked at every attempt to connect, so that a changed password or an expired
/// token does no lasting harm, and in between where it is good for a time only.
pub(crate) type Provider = Arc<dyn Fn() -> Provided + Send + Sync>;

/// What a provider is about to give.
pub(crate) type Provided =
    Pin<Box<dyn Future<Output = Result<Credentials, CredentialsError>> + Send>>;

/// Everything a client is told when it is built.
#[derive(Clone)]
pub(crate) struct Config {
    /// What the client is called.
    pub(crate) name: Option<Arc<str>>,
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) tls: bool,
    pub(crate) virtual_host: ShortString,
    pub(crate) credentials: Provider,
    pub(crate) properties: FieldTable,
    pub(crate) limits: ConnectionLimits,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) connection_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) backoff: Backoff,
    /// Whether to give up where the very first connect fails.
    pub(crate) fail_fast: bool,
    /// Whether the connection for publishing is made together with the main one.
    pub(crate) publishing_at_once: bool,
    /// Whether there is no connection for publishing beside the main one.
    pub(crate) single_connection: bool,
    /// Whether a handshake with a server that is known goes in one flight.
    pub(crate) pipelines_handshake: bool,
    pub(crate) seed: u64,
    /// Whether the seed was given, so that everything is the same every time.
    pub(crate) is_seeded: bool,
}

impl fmt::Debug for Config {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Config")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("virtual_host", &self.virtual_host)
            .field("limits", &self.limits)
            .field("backoff", &self.backoff)
            .finish_non_exhaustive()
    }
}

impl Config {
    /// What the broker is told of the client on a connection. Its list of connections shows the name, with
    /// what the connection is for.
    pub(crate) fn properties_for(&self, role: ConnectionRole) -> FieldTable {
        const NAME: &str = "connection_name";
        let mut properties = self.properties.clone();
        let is_named = |properties: &FieldTable| properties.get(NAME).is_ok_and(|it| it.is_some());
        if let Some(client) = &self.name
            && !is_named(&properties)
        {
            let name = match role {
                ConnectionRole::Main => client.to_string(),
                _ => format!("{client} ({role})"),
            };
            if let Err(error) = properties.insert(NAME, name) {
                log::warn!("{client}: the client property {NAME} is left out: {error}");
            }
        }
        properties
    }

    pub(crate) fn supervisor(&self, fail_fast: bool) -> supervisor::Config {
        supervisor::Config {
            endpoints: self
                .endpoints
                .len()
                .try_into()
                .unwrap_or(std::num::NonZeroUsize::MIN),
            backoff: self.backoff,
            timeouts: supervisor::Timeouts {
                dial: self.connection_timeout,
                handshake: self.limits.handshake_timeout,
                // A step of a recovery is a call as a rule, and a call has a deadline of its own.
                recovery: (self.limits.call_timeout).saturating_add(Duration::from_secs(5)),
            },
            fail_fast,
        }
    }
}
