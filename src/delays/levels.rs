use std::time::Duration;

use crate::message::millis;

/// The times of the queues in which messages wait: the precision, twice that, four times, and so on.
///
/// Every delay is a sum of some of them, each taken once, as a number is of powers of two.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Levels {
    /// In milliseconds, one at least.
    precision: u32,
    /// In milliseconds, as it was asked for.
    longest: u32,
}

const PRECISION: u32 = 1_000;

impl Levels {
    pub(super) fn up_to(longest: Duration) -> Self {
        Self {
            precision: PRECISION,
            longest: millis(longest).unwrap_or(u32::MAX).max(1),
        }
    }

    pub(super) fn set_precision(&mut self, precision: Duration) {
        self.precision = millis(precision).unwrap_or(u32::MAX).max(1);
    }

    /// The times in milliseconds, from the shortest to the longest. Each is one that brokers can count to.
    pub(super) fn all(self) -> impl DoubleEndedIterator<Item = u32> {
        let steps = self.longest.div_ceil(self.precision);
        (0..steps.checked_ilog2().map_or(0, |it| it + 1)).filter_map(move |level| {
            let millis = u64::from(self.precision) << level;
            u32::try_from(millis).ok()
        })
    }

    /// The longest delay.
    pub(super) fn longest(self) -> Duration {
        let sum: u64 = self.all().map(u64::from).sum();
        Duration::from_millis(sum.min(self.longest.into()))
    }

    /// Those that a delay is made of, in milliseconds; `None` where it is too long. Together they are not
    /// shorter.
    pub(super) fn of(self, delay: Duration) -> Option<impl Iterator<Item = u32>> {
        if delay > self.longest() {
            return None;
        }
        let steps = millis(delay)?.div_ceil(self.precision);
        let all = self.all().enumerate();
        Some(all.filter_map(move |(level, millis)| (steps >> level & 1 == 1).then_some(millis)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn levels(precision: u32, longest: u32) -> Levels {
        let time = |millis: u32| Duration::from_millis(millis.into());
        let mut levels = Levels::up_to(time(longest));
        levels.set_precision(time(precision));
        levels
    }

    fn parts(levels: Levels, millis: u64) -> Option<Vec<u32>> {
        let parts = levels.of(Duration::from_millis(millis))?;
        Some(parts.collect())
    }

    #[test]
    fn a_day_by_the_second_takes_17_queues_and_a_longer_time_adds_to_them() {
        let day: Vec<u32> = levels(1_000, 86_400_000).all().collect();
        assert_eq!(day.len(), 17);
        assert_eq!((day[0], day[16]), (1_000, 65_536_000));
        let week: Vec<u32> = levels(1_000, 7 * 86_400_000).all().collect();
        assert_eq!(week[..17], day);
    }

    #[test]
    fn a_delay_is_made_up_of_levels_and_is_never_too_short() {
        let levels = levels(1_000, 86_400_000);
        assert_eq!(parts(levels, 0).unwrap(), [0_u32; 0]);
        assert_eq!(parts(levels, 1).unwrap(), [1_000]);
        assert_eq!(parts(levels, 17_000).unwrap(), [1_000, 16_000]);
        assert_eq!(parts(levels, 17_001).unwrap(), [2_000, 16_000]);
        for millis in [999, 1_000, 59_999, 86_399_999, 86_400_000] {
            let sum: u64 = parts(levels, millis)
                .unwrap()
                .into_iter()
                .map(u64::from)
                .sum();
            assert!(sum >= millis && sum < millis + 1_000, "{millis}: {sum}");
        }
    }

    #[test]
    fn what_is_longer_than_was_asked_for_is_refused() {
        let levels = levels(1_000, 10_000);
        assert!(parts(levels, 10_000).is_some());
        assert_eq!(parts(levels, 10_001), None);
        assert!(levels.of(Duration::MAX).is_none());
        assert!(levels.of(Duration::from_nanos(10_000_000_001)).is_none());
    }

    #[test]
    fn extremes_are_brought_to_what_brokers_take() {
        for (precision, longest) in [
            (Duration::ZERO, Duration::ZERO),
            (Duration::ZERO, Duration::MAX),
            (Duration::MAX, Duration::ZERO),
            (Duration::MAX, Duration::MAX),
            (Duration::from_millis(3_000_000_000), Duration::MAX),
        ] {
            let mut levels = Levels::up_to(longest);
            levels.set_precision(precision);
            let (count, longest) = (levels.all().count(), levels.longest());
            assert!((1..=32).contains(&count), "{levels:?}");
            let sum: u64 = levels.of(longest).unwrap().map(u64::from).sum();
            assert!(Duration::from_millis(sum) >= longest, "{levels:?}");
        }
    }
}
