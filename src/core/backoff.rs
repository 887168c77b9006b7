//! How long to wait between attempts.

use std::time::{Duration, Instant};

/// The rule for the delays between attempts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Backoff {
    /// The first delay.
    pub initial: Duration,
    /// What each further delay is multiplied by. Less than 1 counts as 1.
    pub multiplier: f64,
    /// No delay is longer.
    pub max: Duration,
    /// The part of a delay that is left to chance, from 0 to 1: clients that were cut off together
    /// should not come back together.
    pub jitter: f64,
    /// How many attempts in a row may fail, `None` for any number.
    pub max_attempts: Option<u32>,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            initial: Duration::from_millis(100),
            multiplier: 2.0,
            max: Duration::from_secs(30),
            jitter: 0.5,
            max_attempts: None,
        }
    }
}

/// A run of attempts, and the delays between them.
#[derive(Debug)]
pub struct Delays {
    backoff: Backoff,
    /// How long all has to be well before the delays begin again with the shortest, unless no delay is
    /// as long.
    stable: Duration,
    /// The last delay, without its jitter; `None` before the first.
    last: Option<Duration>,
    /// Since when all is well.
    well_since: Option<Instant>,
    random: fastrand::Rng,
}

impl Delays {
    pub fn new(backoff: Backoff, stable: Duration, seed: u64) -> Self {
        Self {
            backoff,
            stable,
            last: None,
            well_since: None,
            random: fastrand::Rng::with_seed(seed),
        }
    }

    /// An attempt succeeded.
    pub fn succeeded(&mut self, now: Instant) {
        self.well_since = Some(now);
    }

    /// What had succeeded came to an end. Whether it had lasted, so that the delays begin again
    /// with the shortest.
    ///
    /// What does not outlive the delay before it has not, nor what is not well for long enough to be
    /// stable: it would be tried, lost and tried without end.
    pub fn ended(&mut self, now: Instant) -> bool {
        let well_for = self
            .well_since
            .take()
            .map(|since| now.saturating_duration_since(since));
        let stable = self.stable.min(self.backoff.max).max(LEAST);
        let least = self.last.map_or(Duration::ZERO, |last| last.max(stable));
        let lasted = well_for.is_some_and(|well_for| well_for >= least);
        if lasted {
            self.last = None;
        }
        lasted
    }

    /// How long to wait before an attempt that has a better prospect than the last: no longer than before
    /// the first, whatever came between.
    pub fn shortest(&mut self) -> Duration {
        let Backoff { initial, max, .. } = self.backoff;
        let shortest = initial.min(max);
        self.last.get_or_insert(shortest);
        self.jittered(shortest).max(LEAST)
    }

    /// How long to wait before the next attempt.
    pub fn next(&mut self, now: Instant) -> Duration {
        self.ended(now);
        let Backoff {
            initial,
            multiplier,
            max,
            ..
        } = self.backoff;
        // However it was set, what fails again and again is not tried without a pause.
        let (next, least) = match self.last {
            None => (initial.min(max), Duration::ZERO),
            Some(last) => {
                let next = scale(last.max(LEAST), multiplier.max(1.0));
                (next.unwrap_or(max).min(max), LEAST)
            }
        };
        self.last = Some(next);
        self.jittered(next).max(least)
    }

    fn jittered(&mut self, delay: Duration) -> Duration {
        let kept = 1.0 - self.backoff.jitter.clamp(0.0, 1.0) * self.random.f64();
        scale(delay, kept).unwrap_or(delay)
    }
}

/// The least delay but for the first.
const LEAST: Duration = Duration::from_millis(10);

/// `None` where the result is no duration: too long, or not a number.
fn scale(duration: Duration, factor: f64) -> Option<Duration> {
    Duration::try_from_secs_f64(duration.as_secs_f64() * factor).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    const STABLE: Duration = Duration::from_secs(5);

    fn delays(jitter: f64) -> Delays {
        Delays::new(
            Backoff {
                jitter,
                ..Backoff::default()
            },
            STABLE,
            7,
        )
    }

    // case A2
    #[test]
    fn no_setting_makes_attempts_follow_each_other_without_a_pause() {
        let extremes = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
        let factors = [
            f64::NAN,
            f64::NEG_INFINITY,
            -1.0,
            0.0,
            1.0,
            f64::MAX,
            f64::INFINITY,
        ];
        for initial in extremes {
            for (max, multiplier) in extremes
                .into_iter()
                .flat_map(|max| factors.map(|it| (max, it)))
            {
                for jitter in factors {
                    let backoff = Backoff {
                        initial,
                        multiplier,
                        max,
                        jitter,
                        max_attempts: None,
                    };
                    let (mut delays, now) = (Delays::new(backoff, STABLE, 7), Instant::now());
                    delays.next(now);
                    for _ in 0..100 {
                        assert!(delays.next(now) >= LEAST, "{backoff:?}");
                    }
                }
            }
        }
    }

    // case A2
    #[test]
    fn delays_grow_while_connections_do_not_last() {
        let (mut delays, mut now) = (delays(0.0), Instant::now());
        for _ in 0..20 {
            now += delays.next(now);
            delays.succeeded(now);
            now += Duration::from_millis(200);
        }
        assert_eq!(delays.next(now), Duration::from_secs(30));
        delays.succeeded(now);
        assert_eq!(
            delays.next(now + Duration::from_secs(30)),
            Duration::from_millis(100)
        );
    }

    #[test]
    fn delays_double_up_to_the_limit() {
        let (mut delays, now) = (delays(0.0), Instant::now());
        let millis: Vec<u128> = (0..11).map(|_| delays.next(now).as_millis()).collect();
        assert_eq!(
            millis,
            [
                100, 200, 400, 800, 1600, 3200, 6400, 12800, 25600, 30000, 30000
            ]
        );
    }

    #[test]
    fn jitter_takes_away_up_to_its_part() {
        let (mut delays, now) = (delays(0.5), Instant::now());
        for full in [100, 200, 400, 800] {
            let delay = delays.next(now);
            assert!(
                delay <= Duration::from_millis(full) && delay >= Duration::from_millis(full / 2)
            );
        }
    }

    #[test]
    fn what_lasted_begins_again_with_short_delays_and_what_flaps_does_not() {
        let (mut delays, now) = (delays(0.0), Instant::now());
        delays.next(now);
        delays.succeeded(now);
        assert_eq!(
            delays.next(now + Duration::from_millis(99)),
            Duration::from_millis(200)
        );
        delays.succeeded(now);
        assert_eq!(
            delays.next(now + Duration::from_secs(1)),
            Duration::from_millis(400)
        );
        delays.succeeded(now);
        assert_eq!(
            delays.next(now + Duration::from_secs(5)),
            Duration::from_millis(100)
        );
    }
}
