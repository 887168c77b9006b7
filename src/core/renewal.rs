//! When credentials are renewed that are good for a time only.

use std::time::{Duration, Instant};

use snowshoe_codec::time::after;

use super::backoff::{Backoff, Delays};

/// How long before their end credentials are renewed at least, where they last as long as twice that.
const MARGIN: Duration = Duration::from_secs(30);

/// How long credentials are kept at least, however short they are good.
const LEAST: Duration = Duration::from_secs(1);

/// When credentials of now are to be renewed that are good until then: after four fifths of their time, and
/// half a minute before its end at least, but not before half of it is over.
pub fn due(now: Instant, valid_until: Instant) -> Instant {
    let life = valid_until.saturating_duration_since(now);
    let margin = (life / 5).max(MARGIN.min(life / 2));
    // A provider that gives the same ones again is not asked without a pause.
    after(now, (life - margin).max(LEAST))
}

/// The pauses between attempts to renew them.
#[derive(Debug)]
pub struct Renewal {
    delays: Delays,
    rests_until: Option<Instant>,
}

impl Renewal {
    pub fn new(seed: u64) -> Self {
        // How a user wants to reconnect says nothing of how often a token may be asked for.
        let backoff = Backoff {
            initial: Duration::from_millis(500),
            ..Backoff::default()
        };
        Self {
            delays: Delays::new(backoff, Duration::ZERO, seed),
            rests_until: None,
        }
    }

    /// When to ask, if it is due at this time.
    pub fn at(&self, due: Instant) -> Instant {
        self.rests_until.map_or(due, |until| due.max(until))
    }

    /// They could not be had. When they are asked for again.
    pub fn failed(&mut self, now: Instant) -> Duration {
        let delay = self.delays.next(now);
        self.rests_until = Some(after(now, delay));
        delay
    }

    pub fn succeeded(&mut self, now: Instant) {
        self.rests_until = None;
        self.delays.succeeded(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after_seconds(life: u64) -> Duration {
        let now = Instant::now();
        due(now, now + Duration::from_secs(life)) - now
    }

    #[test]
    fn credentials_are_renewed_in_time_whatever_their_life() {
        for (life, expected) in [
            (3600, 2880),
            (300, 240),
            (100, 70),
            (60, 30),
            (10, 5),
            (2, 1),
            (0, 1),
        ] {
            assert_eq!(
                after_seconds(life),
                Duration::from_secs(expected),
                "{life} s"
            );
        }
    }

    #[test]
    fn failures_are_followed_by_ever_longer_pauses_until_one_succeeds() {
        let mut renewal = Renewal::new(7);
        let now = Instant::now();
        let first = renewal.failed(now);
        assert!(first <= Duration::from_millis(500), "{first:?}");
        assert_eq!(renewal.at(now), now + first);
        let mut last = first;
        for _ in 0..20 {
            last = renewal.failed(now);
        }
        assert!(last >= Duration::from_secs(15) && last <= Duration::from_secs(30));
        renewal.succeeded(now);
        assert_eq!(renewal.at(now), now);
    }
}
