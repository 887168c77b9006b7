//! The end of a client.

use std::task::Context;
use std::time::{Duration, Instant};

use snowshoe_codec::time::after;

use crate::runtime::Timer;

/// What is known of a close that is under way.
pub(super) struct Closing {
    pub(super) step: Step,
    deadlines: Deadlines,
    /// Goes off when the step has had its time.
    timer: Box<dyn Timer>,
    /// Whether it has. It goes by a clock that may be ahead of the driver's `now`.
    has_gone_off: bool,
}

/// What a close does, one after the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Step {
    /// Handlers come to their end. Until then they may publish.
    Handlers,
    /// Those that had no more time are dropped, and what they had goes back.
    CutOff,
    /// What was accepted is settled, and nothing more is accepted.
    Messages,
    /// The broker is asked to send the consumers no more.
    Consumers,
    /// The connections say goodbye.
    Connections,
}

/// How long a connection may take to say goodbye.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

impl Closing {
    pub(super) fn new(mut timer: Box<dyn Timer>, now: Instant, within: Duration) -> Self {
        let deadlines = Deadlines::new(now, within);
        timer.set_at(deadlines.of(Step::Handlers));
        Self {
            step: Step::Handlers,
            deadlines,
            timer,
            has_gone_off: false,
        }
    }

    /// A further close can only bring the deadlines forward.
    pub(super) fn shorten(&mut self, now: Instant, within: Duration) {
        let shorter = Deadlines::new(now, within);
        self.deadlines = self.deadlines.min(shorter);
        self.timer.set_at(self.deadlines.of(self.step));
    }

    /// Whether the step that is under way has had its time; otherwise `cx` is woken when it has.
    pub(super) fn is_late(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.has_gone_off |= self.timer.poll(cx).is_ready();
        self.has_gone_off || self.deadlines.of(self.step) <= now
    }

    /// Goes on with another step, which may be late already.
    pub(super) fn begin(&mut self, step: Step) {
        let due = self.deadlines.of(step);
        if due != self.deadlines.of(self.step) {
            self.has_gone_off = false;
            self.timer.set_at(due);
        }
        self.step = step;
    }

    /// When the connections have to be closed.
    pub(super) fn deadline(&self) -> Instant {
        self.deadlines.close_by
    }
}

/// Until when there is time for what. However long handlers and messages take, a part of the time is kept for an
/// orderly goodbye, and half of that for what was cut off to go back first.
#[derive(Clone, Copy)]
struct Deadlines {
    settle_by: Instant,
    give_back_by: Instant,
    close_by: Instant,
}

impl Deadlines {
    fn new(now: Instant, within: Duration) -> Self {
        let goodbye = GOODBYE.min(within / 4);
        Self {
            settle_by: after(now, within - goodbye),
            give_back_by: after(now, within - goodbye / 2),
            close_by: after(now, within),
        }
    }

    fn min(self, other: Self) -> Self {
        Self {
            settle_by: self.settle_by.min(other.settle_by),
            give_back_by: self.give_back_by.min(other.give_back_by),
            close_by: self.close_by.min(other.close_by),
        }
    }

    fn of(&self, step: Step) -> Instant {
        match step {
            Step::Handlers | Step::Messages => self.settle_by,
            Step::CutOff | Step::Consumers => self.give_back_by,
            Step::Connections => self.close_by,
        }
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use std::task::{Poll, Waker};

    use super::*;

    /// Goes off once.
    struct Once(bool);

    impl Timer for Once {
        fn set_at(&mut self, _: Instant) {}

        fn poll(&mut self, _: &mut Context<'_>) -> Poll<()> {
            match std::mem::take(&mut self.0) {
                true => Poll::Ready(()),
                false => Poll::Pending,
            }
        }
    }

    /// The turns of one poll of the driver have the time at which it began.
    #[test]
    fn a_step_that_is_late_by_the_timer_is_late_until_the_next_one() {
        let now = Instant::now();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut closing = Closing::new(Box::new(Once(true)), now, Duration::from_secs(10));
        assert!(closing.is_late(cx, now));
        assert!(closing.is_late(cx, now));
        closing.begin(Step::Messages);
        assert!(closing.is_late(cx, now));
        closing.begin(Step::Connections);
        assert!(!closing.is_late(cx, now));
        assert!(closing.is_late(cx, now + Duration::from_secs(10)));
    }
}
