//! What comes back to a quorum queue of RabbitMQ 4.3 and waits before it is delivered again.

use std::time::{Duration, Instant};

use super::Queue;
use crate::testing::broker::manner::Manner;
use crate::testing::broker::message::Queued;

/// Which messages that come back wait, and how long.
#[derive(Clone, Copy, Debug)]
pub(crate) struct DelayedRetry {
    /// Those that failed, or whose channel ended.
    pub(crate) failed: bool,
    /// Those that were given back.
    pub(crate) returned: bool,
    /// So long the first time, and so long more every time.
    pub(crate) min: Duration,
    pub(crate) max: Duration,
}

impl Queue {
    /// How long a message waits that comes back, if it does: since it failed, or was given back.
    pub(crate) fn delay_of(&self, queued: &Queued, has_failed: bool) -> Option<Duration> {
        let delayed = self.settings.delayed_retry?;
        let waits = if has_failed {
            delayed.failed
        } else {
            delayed.returned
        };
        // What was only given back has not come back yet, by that count, and waits all the same (seen on 4.3.6).
        let times = queued.returns.max(1);
        let delay = delayed.min.saturating_mul(times).min(delayed.max);
        (waits && !delay.is_zero()).then_some(delay)
    }

    /// Lets a message wait.
    pub(crate) fn put_off(&mut self, now: Instant, delay: Duration, queued: Queued) {
        let until = now.checked_add(delay).unwrap_or(now);
        self.delayed.insert((until, self.next_number), queued);
        self.next_number += 1;
    }

    /// When the first that waits has waited for long enough.
    pub(crate) fn next_delay(&self) -> Option<Instant> {
        self.delayed.first_key_value().map(|((until, _), _)| *until)
    }

    /// Makes ready what has waited for long enough; whether there was something.
    pub(crate) fn end_delays(&mut self, now: Instant, manner: Manner) -> bool {
        let mut is_over = false;
        while self.next_delay().is_some_and(|until| until <= now)
            && let Some((_, queued)) = self.delayed.pop_first()
        {
            self.take_back(queued, false, manner);
            is_over = true;
        }
        is_over
    }

    /// Drops all that waits; how many they were.
    pub(crate) fn purge_delayed(&mut self) -> usize {
        std::mem::take(&mut self.delayed).len()
    }

    /// What waits, first the next one.
    pub(crate) fn delayed(&self) -> impl Iterator<Item = &Queued> {
        self.delayed.values()
    }
}
