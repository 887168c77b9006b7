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
        self.timer.poll(cx).is_ready() || self.due() <= now
    }

    /// The messages are through, or late: when the connections have to be.
    pub(super) fn begin_connections(&mut self) -> Instant {
        self.connections = true;
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
