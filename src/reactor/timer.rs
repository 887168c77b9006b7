use std::collections::BTreeMap;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::Handle;
use crate::shared::lock;

/// Goes off once each time that it is set.
#[derive(Debug)]
pub(crate) struct Timer {
    reactor: Handle,
    due: Option<Instant>,
    /// Where it stands among those that are waited for, and whom it wakes.
    entry: Option<(Entry, Waker)>,
}

/// When, and which of those.
type Entry = (Instant, u64);

impl Timer {
    pub(super) fn new(reactor: Handle) -> Self {
        Self {
            reactor,
            due: None,
            entry: None,
        }
    }

    pub(crate) fn set_at(&mut self, at: Instant) {
        self.leave();
        self.due = Some(at);
    }

    /// Ready once it goes off; otherwise `cx` is woken when it does.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        if due <= Instant::now() {
            self.leave();
            self.due = None;
            return Poll::Ready(due);
        }
        if !(self.entry.as_ref()).is_some_and(|(_, waker)| waker.will_wake(cx.waker())) {
            self.leave();
            let waker = cx.waker().clone();
            let entry = lock(&self.reactor.0.timers).enter(due, waker.clone());
            self.entry = Some((entry, waker));
        }
        Poll::Pending
    }

    fn leave(&mut self) {
        if let Some((entry, _)) = self.entry.take() {
            let waker = lock(&self.reactor.0.timers).waiting.remove(&entry);
            // A waker may run code of its executor's when it is dropped.
            drop(waker);
        }
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.leave();
    }
}

/// Those that are waited for, the first to go off first.
#[derive(Debug, Default)]
pub(super) struct Timers {
    waiting: BTreeMap<Entry, Waker>,
    entered: u64,
}

impl Timers {
    /// When the first goes off.
    pub(super) fn first(&self) -> Option<Instant> {
        self.waiting.keys().next().map(|(at, _)| *at)
    }

    /// Whom to wake now.
    pub(super) fn take_due(&mut self, now: Instant) -> Vec<Waker> {
        let mut due = Vec::new();
        while let Some(first) = self.waiting.first_entry()
            && first.key().0 <= now
        {
            due.push(first.remove());
        }
        due
    }

    fn enter(&mut self, at: Instant, waker: Waker) -> Entry {
        self.entered += 1;
        let entry = (at, self.entered);
        self.waiting.insert(entry, waker);
        entry
    }
}
