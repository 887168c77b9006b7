use std::time::Duration;

use crate::core::backoff::Backoff;

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
    /// The delay before the first attempt. 100 ms by default. Whatever this is, the attempts after it are
    /// at least 10 ms apart; and after a connection that did not last for 5 s, or for the longest delay
    /// where that is shorter, the delays go on to grow.
    pub initial_delay: Duration,
    /// What each further delay is multiplied by, at least 1. 2 by default.
    pub multiplier: f64,
    /// No delay is longer, but for the 10 ms that are the least. 30 s by default.
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
