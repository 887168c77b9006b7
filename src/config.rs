use std::sync::Arc;
use std::time::Duration;

use snowshoe_codec::sasl::Mechanism;
use snowshoe_codec::{ConnectionLimits, FieldTable, ShortString};

use crate::clock::Clock;
use crate::core::backoff::Backoff;
use crate::core::supervisor;
use crate::transport::{Connector, Sockets};
use crate::uri::Endpoint;

/// Gives the ways to log in, best first; asked at every attempt to connect, so that a changed
/// password or an expired token does no lasting harm.
pub(crate) type Credentials =
    Arc<dyn Fn() -> Result<Vec<Box<dyn Mechanism>>, String> + Send + Sync>;

/// Everything a client is told when it is built.
#[derive(Clone)]
pub(crate) struct Config {
    pub(crate) endpoints: Vec<Endpoint>,
    pub(crate) tls: bool,
    pub(crate) virtual_host: ShortString,
    pub(crate) credentials: Credentials,
    pub(crate) properties: FieldTable,
    pub(crate) limits: ConnectionLimits,
    pub(crate) connector: Arc<dyn Connector>,
    pub(crate) sockets: Sockets,
    pub(crate) connection_timeout: Duration,
    pub(crate) write_timeout: Duration,
    pub(crate) close_timeout: Duration,
    pub(crate) reconnect: Reconnect,
    pub(crate) seed: u64,
    pub(crate) clock: Clock,
}

impl std::fmt::Debug for Config {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Config")
            .field("endpoints", &self.endpoints)
            .field("tls", &self.tls)
            .field("virtual_host", &self.virtual_host)
            .field("limits", &self.limits)
            .field("reconnect", &self.reconnect)
            .finish_non_exhaustive()
    }
}

/// How a client comes back after it was cut off.
///
/// ```
/// use std::time::Duration;
/// use snowshoe::Reconnect;
///
/// let impatient = Reconnect { max_delay: Duration::from_millis(500), ..Reconnect::default() };
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Reconnect {
    /// The delay before the first attempt. 100 ms by default.
    pub initial_delay: Duration,
    /// What each further delay is multiplied by. 2 by default.
    pub multiplier: f64,
    /// No delay is longer. 30 s by default.
    pub max_delay: Duration,
    /// The part of each delay that is left to chance, from 0 to 1, so that clients that were cut
    /// off together do not come back together. 0.5 by default: a delay of 2 s is one of 1 to 2 s.
    pub jitter: f64,
    /// How many attempts in a row may fail before the client gives up; no limit by default.
    pub max_attempts: Option<u32>,
    /// Whether a client gives up when it cannot connect the very first time, to any of its hosts:
    /// a wrong password or a mistyped host is better told at once. `true` by default.
    pub fail_fast: bool,
}

impl Default for Reconnect {
    fn default() -> Self {
        Self {
            initial_delay: Duration::from_millis(100),
            multiplier: 2.0,
            max_delay: Duration::from_secs(30),
            jitter: 0.5,
            max_attempts: None,
            fail_fast: true,
        }
    }
}

impl Reconnect {
    pub(crate) fn backoff(&self) -> Backoff {
        Backoff {
            initial: self.initial_delay,
            multiplier: self.multiplier,
            max: self.max_delay,
            jitter: self.jitter,
            max_attempts: self.max_attempts,
        }
    }
}

impl Config {
    pub(crate) fn supervisor(&self, fail_fast: bool) -> supervisor::Config {
        supervisor::Config {
            endpoints: self
                .endpoints
                .len()
                .try_into()
                .unwrap_or(std::num::NonZeroUsize::MIN),
            backoff: self.reconnect.backoff(),
            timeouts: supervisor::Timeouts {
                dial: self.connection_timeout,
                handshake: self.limits.handshake_timeout,
                // A step of a recovery is a call as a rule, and a call has a deadline of its own.
                recovery: self.limits.call_timeout + Duration::from_secs(5),
            },
            fail_fast,
        }
    }
}
