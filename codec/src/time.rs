//! Times in the future, and times in whole seconds.

use std::time::{Duration, Instant};

/// The time so long after `now`; a time too far away for the clock to represent is one that never comes.
///
/// `Instant` panics where it overflows, and a timeout of [`Duration::MAX`] is a common way to ask for
/// none.
///
/// ```
/// use std::time::{Duration, Instant};
/// use snowshoe_codec::time::after;
///
/// let now = Instant::now();
/// assert_eq!(after(now, Duration::from_secs(5)), now + Duration::from_secs(5));
/// assert!(after(now, Duration::MAX) > now + Duration::from_secs(3_000_000_000));
/// ```
pub fn after(now: Instant, duration: Duration) -> Instant {
    // A century is longer than any process lives, and short enough for every clock to add some more.
    const NEVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
    (now.checked_add(duration.min(NEVER)))
        .or_else(|| now.checked_add(Duration::from_secs(365 * 24 * 60 * 60)))
        .unwrap_or(now)
}

/// The earlier of two times, of which either may be none.
///
/// ```
/// use std::time::Instant;
/// use snowshoe_codec::time::earlier;
///
/// let now = Instant::now();
/// assert_eq!(earlier(None, Some(now)), Some(now));
/// assert_eq!(earlier(None, None), None);
/// ```
#[inline]
pub fn earlier(one: Option<Instant>, other: Option<Instant>) -> Option<Instant> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}

/// A duration in seconds, where any fraction counts as one: what is not zero does not come to mean
/// "none" to those who count in whole seconds.
///
/// ```
/// use std::time::Duration;
/// use snowshoe_codec::time::seconds_rounded_up;
///
/// assert_eq!(seconds_rounded_up(Duration::ZERO), 0);
/// assert_eq!(seconds_rounded_up(Duration::from_nanos(1)), 1);
/// assert_eq!(seconds_rounded_up(Duration::MAX), u64::MAX);
/// ```
pub fn seconds_rounded_up(duration: Duration) -> u64 {
    let fraction = u64::from(duration.subsec_nanos() > 0);
    duration.as_secs().saturating_add(fraction)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_earlier_than_none_and_of_two_the_earlier_counts() {
        let now = Instant::now();
        let later = Some(now + Duration::from_nanos(1));
        let now = Some(now);
        for (one, other, first) in [
            (now, later, now),
            (later, now, now),
            (now, None, now),
            (None, later, later),
            (None, None, None),
        ] {
            assert_eq!(earlier(one, other), first);
        }
    }

    // case A3
    #[test]
    fn whole_seconds_stay_what_they_are_and_fractions_count_as_one() {
        for (millis, seconds) in [(1, 1), (999, 1), (1000, 1), (1001, 2), (60_000, 60)] {
            assert_eq!(seconds_rounded_up(Duration::from_millis(millis)), seconds);
        }
    }

    #[test]
    fn no_duration_is_too_long() {
        let now = Instant::now();
        let never = after(now, Duration::MAX);
        assert!(never > now);
        // What comes after that is no earlier, and no panic.
        assert!(after(never, Duration::MAX) >= never);
        assert_eq!(after(now, Duration::ZERO), now);
    }
}
