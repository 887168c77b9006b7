//! Deliveries that are unsettled for so long that the broker is about to take them back.

use std::time::{Duration, Instant};

use snowshoe_codec::time::after;

use super::Epoch;

/// Looks now and then at the oldest unsettled delivery of a consumer. Most are settled between two looks, and cost
/// nothing.
#[derive(Debug)]
pub struct Overdue {
    /// How long one may be unsettled before that is told.
    limit: Duration,
    next: Option<Instant>,
    oldest: Option<Seen>,
}

#[derive(Clone, Copy, Debug)]
struct Seen {
    delivery: (Epoch, u64),
    since: Instant,
    is_told: bool,
}

/// How many looks there are in the time that a delivery may be unsettled.
const LOOKS: u32 = 10;

/// Two looks are not closer than this.
const SHORTEST: Duration = Duration::from_millis(100);

impl Overdue {
    pub fn new(now: Instant, limit: Duration) -> Self {
        let mut overdue = Self {
            limit,
            next: None,
            oldest: None,
        };
        overdue.put_off(now);
        overdue
    }

    /// The time that a delivery may be unsettled is another.
    pub fn set_limit(&mut self, now: Instant, limit: Duration) {
        if self.limit != limit {
            *self = Self::new(now, limit);
        }
    }

    /// When to look.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.next
    }

    /// Looks, if it is time; the oldest delivery that is not settled. For how long it has been so, if that is too long and
    /// was not told.
    pub fn look(
        &mut self,
        now: Instant,
        oldest: impl FnOnce() -> Option<(Epoch, u64)>,
    ) -> Option<Duration> {
        if self.next.is_none_or(|next| next > now) {
            return None;
        }
        self.put_off(now);
        let Some(delivery) = oldest() else {
            self.oldest = None;
            return None;
        };
        let seen = self.oldest.filter(|seen| seen.delivery == delivery);
        let seen = self.oldest.insert(seen.unwrap_or(Seen {
            delivery,
            since: now,
            is_told: false,
        }));
        let time = now.saturating_duration_since(seen.since);
        let is_news =
            time >= self.limit && !std::mem::replace(&mut seen.is_told, time >= self.limit);
        is_news.then_some(time)
    }

    fn put_off(&mut self, now: Instant) {
        self.next = Some(after(now, (self.limit / LOOKS).max(SHORTEST)));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    /// Looks whenever it is time, for so long; when it told, and of how long a time.
    fn told(
        overdue: &mut Overdue,
        start: Instant,
        time: Duration,
        oldest: impl Fn(Duration) -> Option<(Epoch, u64)>,
    ) -> Vec<(Duration, Duration)> {
        let mut told = Vec::new();
        while let Some(now) = overdue.poll_timeout().filter(|it| *it <= start + time) {
            let passed = now - start;
            if let Some(unsettled) = overdue.look(now, || oldest(passed)) {
                told.push((passed, unsettled));
            }
        }
        told
    }

    #[test]
    fn a_delivery_that_stays_unsettled_is_told_once() {
        let now = Instant::now();
        let mut overdue = Overdue::new(now, 10 * MINUTE);
        let oldest = |_| Some((Epoch::default(), 7));
        let told = told(&mut overdue, now, 60 * MINUTE, oldest);
        assert_eq!(told, [(11 * MINUTE, 10 * MINUTE)]);
    }

    #[test]
    fn those_that_are_settled_in_time_are_not_told_however_many_there_are() {
        let now = Instant::now();
        let mut overdue = Overdue::new(now, 10 * MINUTE);
        // Each is unsettled for five minutes, and then there is none for one.
        let oldest = |passed: Duration| {
            let minutes = passed.as_secs() / 60;
            (!minutes.is_multiple_of(6)).then_some((Epoch::default(), minutes / 6))
        };
        assert!(told(&mut overdue, now, 600 * MINUTE, oldest).is_empty());
    }

    #[test]
    fn one_of_another_channel_is_another_delivery() {
        let now = Instant::now();
        let mut overdue = Overdue::new(now, 10 * MINUTE);
        let next = Epoch::default().next();
        let oldest = |passed| match passed < 8 * MINUTE {
            true => Some((Epoch::default(), 1)),
            false => Some((next, 1)),
        };
        let told = told(&mut overdue, now, 60 * MINUTE, oldest);
        assert_eq!(told, [(18 * MINUTE, 10 * MINUTE)]);
    }

    #[test]
    fn extreme_limits_are_neither_a_loop_nor_a_panic() {
        let now = Instant::now();
        let overdue = Overdue::new(now, Duration::ZERO);
        assert_eq!(overdue.poll_timeout(), Some(now + SHORTEST));
        let overdue = Overdue::new(now, Duration::MAX);
        assert!(overdue.poll_timeout().is_some_and(|it| it > now + MINUTE));
    }
}
