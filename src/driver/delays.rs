//! Users who wait for a time.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::task::Context;
use std::time::Instant;

use crate::runtime::{Runtime, Timer};
use crate::sync::answer::Answer;

/// Who waits, and the one timer for all of them.
#[derive(Default)]
pub(super) struct Delays {
    waiting: BinaryHeap<Reverse<Delay>>,
    timer: Option<Box<dyn Timer>>,
    armed: Option<Instant>,
}

struct Delay {
    until: Instant,
    answer: Answer<()>,
}

impl Delays {
    /// Tells at this time.
    pub(super) fn add(&mut self, until: Instant, answer: Answer<()>) {
        self.waiting.push(Reverse(Delay { until, answer }));
    }

    /// Tells those whose time has come; `cx` is woken for the others.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, mut now: Instant, runtime: &dyn Runtime) {
        loop {
            while let Some(Reverse(first)) = self.waiting.peek()
                && (first.until <= now || first.answer.is_closed())
                && let Some(Reverse(first)) = self.waiting.pop()
            {
                _ = first.answer.send(());
            }
            let Some(Reverse(first)) = self.waiting.peek() else {
                return;
            };
            let until = first.until;
            let timer = self.timer.get_or_insert_with(|| runtime.timer());
            if self.armed.replace(until) != Some(until) {
                timer.set_at(until);
            }
            if timer.poll(cx).is_pending() {
                return;
            }
            // It goes by a clock that may be ahead of the driver's.
            self.armed = None;
            now = now.max(until);
        }
    }
}

impl PartialEq for Delay {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl Eq for Delay {}

impl PartialOrd for Delay {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Delay {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.until.cmp(&other.until)
    }
}
