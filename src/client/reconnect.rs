use std::time::Duration;

use crate::core::backoff::Backoff;

/// How a client comes back after it was cut off.
///
/// ```
/// use std::time::Duration;
/// use snowshoe::Reconnect;
///
/// let impatient = Reconnect::default().max_delay(Duration::from_millis(500));
/// ```
#[derive(Clone, Debug, PartialEq)]
#[must_use = "it does nothing until a client is given it"]
pub struct Reconnect {
    initial_delay: Duration,
    multiplier: f64,
    max_delay: Duration,
    jitter: f64,
    max_attempts: Option<u32>,
    fail_fast: bool,
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
    /// The delay before the first attempt; 100 ms by default. Whatever this is, the attempts after it are
    /// at least 10 ms apart; and after a connection that did not last for 5 s, or for the longest delay
    /// where that is shorter, the delays go on to grow.
    pub fn initial_delay(mut self, delay: Duration) -> Self {
        self.initial_delay = delay;
        self
    }

    /// What each further delay is multiplied by, at least 1; 2 by default.
    pub fn multiplier(mut self, multiplier: f64) -> Self {
        self.multiplier = multiplier;
        self
    }

    /// No delay is longer, but for the 10 ms that are the least; 30 s by default.
    pub fn max_delay(mut self, delay: Duration) -> Self {
        self.max_delay = delay;
        self
    }

    /// The part of each delay that is left to chance, from 0 to 1, so that clients that were cut
    /// off together do not come back together; 0.5 by default: a delay of 2 s is one of 1 to 2 s.
    pub fn jitter(mut self, part: f64) -> Self {
        self.jitter = part;
        self
    }

    /// How many attempts in a row may fail before the client gives up; no limit (`None`) by default. A
    /// client that was connected gives up at once with zero; the very first connect has one in any case.
    ///
    /// It counts for each of the client's connections by itself, and the client ends with the first of them
    /// that is given up: where a user may have one connection only, that for publishing is refused.
    pub fn max_attempts(mut self, attempts: impl Into<Option<u32>>) -> Self {
        self.max_attempts = attempts.into();
        self
    }

    /// Whether a client gives up when it cannot connect the very first time, to any of its hosts:
    /// a wrong password or a mistyped host is better told at once. `true` by default.
    pub fn fail_fast(mut self, fail_fast: bool) -> Self {
        self.fail_fast = fail_fast;
        self
    }

    pub(super) fn fails_fast(&self) -> bool {
        self.fail_fast
    }

    pub(super) fn backoff(&self) -> Backoff {
        Backoff {
            initial: self.initial_delay,
            multiplier: self.multiplier,
            max: self.max_delay,
            jitter: self.jitter,
            max_attempts: self.max_attempts,
        }
    }
}
