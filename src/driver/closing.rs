//! The end of a client.

use std::task::Context;
use std::time::{Duration, Instant};

use snowshoe_codec::time::after;

use crate::runtime::Timer;

/// What is known of a close that is under way: first messages are settled, then consumers are called off, then
/// the connections are closed, and all of it by a deadline.
pub(super) struct Closing {
    /// Until when messages may be settled.
    settle_by: Instant,
    /// Until when the connections may say goodbye.
    deadline: Instant,
    /// Goes off at the next of the two.
    timer: Box<dyn Timer>,
    /// Whether it has. It goes by a clock that may be ahead of the driver's `now`.
    has_gone_off: bool,
    /// Whether the broker was asked to send no more to the consumers.
    pub(super) called_off: bool,
    /// Whether the connections are being closed.
    pub(super) connections: bool,
}

/// How long a connection may take to say goodbye.
pub(super) const GOODBYE: Duration = Duration::from_secs(1);

impl Closing {
    pub(super) fn new(mut timer: Box<dyn Timer>, now: Instant, within: Duration) -> Self {
        let (settle_by, deadline) = deadlines(now, within);
        timer.set_at(settle_by);
        Self {
            settle_by,
            deadline,
            timer,
            has_gone_off: false,
            called_off: false,
            connections: false,
        }
    }

    /// A further close can only bring the deadlines forward.
    pub(super) fn shorten(&mut self, now: Instant, within: Duration) {
        let (settle_by, deadline) = deadlines(now, within);
        self.settle_by = self.settle_by.min(settle_by);
        self.deadline = self.deadline.min(deadline);
        self.timer.set_at(self.due());
    }

    /// Whether the step that is under way has had its time; otherwise `cx` is woken when it has.
    pub(super) fn is_late(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        self.has_gone_off |= self.timer.poll(cx).is_ready();
        self.has_gone_off || self.due() <= now
    }

    /// The messages are through, or late: when the connections have to be.
    pub(super) fn begin_connections(&mut self) -> Instant {
        self.connections = true;
        self.has_gone_off = false;
        self.timer.set_at(self.deadline);
        self.deadline
    }

    fn due(&self) -> Instant {
        if self.connections {
            self.deadline
        } else {
            self.settle_by
        }
    }
}

/// Until when messages may be settled, and until when connections be closed. However long the
/// messages take, a part of the time is kept for an orderly goodbye.
fn deadlines(now: Instant, within: Duration) -> (Instant, Instant) {
    let goodbye = GOODBYE.min(within / 4);
    (after(now, within - goodbye), after(now, within))
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
        closing.begin_connections();
        assert!(!closing.is_late(cx, now));
        assert!(closing.is_late(cx, now + Duration::from_secs(10)));
    }
}
