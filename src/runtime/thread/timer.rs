use std::collections::BTreeMap;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread::{self, ThreadId};
use std::time::Instant;

use crate::runtime;
use crate::runtime::sleeper::Sleeper;
use crate::sync::{Mutex, lock};

/// Goes off once each time that it is set.
#[derive(Debug)]
pub(super) struct Timer {
    timers: Arc<Timers>,
    due: Option<Instant>,
    /// Where it stands among those that are waited for, and whom it wakes.
    entry: Option<(Entry, Waker)>,
    /// What wakes where the reactor does not run.
    elsewhere: Sleeper,
}

/// When, and which of those.
type Entry = (Instant, u64);

impl Timer {
    pub(super) fn new(timers: Arc<Timers>) -> Self {
        Self {
            timers,
            due: None,
            entry: None,
            elsewhere: Sleeper::default(),
        }
    }

    fn leave(&mut self) {
        if let Some((entry, _)) = self.entry.take() {
            self.timers.leave(entry);
        }
    }
}

impl runtime::Timer for Timer {
    fn set_at(&mut self, at: Instant) {
        self.leave();
        self.due = Some(at);
        self.elsewhere.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(due) = self.due else {
            return Poll::Pending;
        };
        let entered = self.entry.as_ref();
        let is_waited_for = entered.is_some_and(|(_, waker)| waker.will_wake(cx.waker()));
        let has_come = match is_waited_for {
            // It is woken when its time has come, and until then nobody need look at the clock.
            true => self.timers.has_woken(due),
            false => due <= Instant::now(),
        };
        if has_come {
            self.leave();
            self.due = None;
            return Poll::Ready(());
        }
        if !is_waited_for {
            if !self.timers.are_served_here() {
                return self.elsewhere.poll(cx);
            }
            self.leave();
            let waker = cx.waker().clone();
            let entry = self.timers.enter(due, waker.clone());
            self.entry = Some((entry, waker));
        }
        Poll::Pending
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        self.leave();
    }
}

/// The timers of a reactor that are waited for.
#[derive(Debug, Default)]
pub(super) struct Timers {
    queue: Mutex<Queue>,
    /// The thread that the reactor runs on, while it does.
    thread: Mutex<Option<ThreadId>>,
}

/// Those that go off first come first.
#[derive(Debug, Default)]
struct Queue {
    waiting: BTreeMap<Entry, Waker>,
    entered: u64,
    /// Up to when all were woken.
    woken_until: Option<Instant>,
}

impl Timers {
    /// The reactor runs on this thread from now on, or nowhere.
    pub(super) fn are_served_by(&self, thread: Option<ThreadId>) {
        *lock(&self.thread) = thread;
    }

    /// Whether this is the thread that the reactor runs on.
    pub(super) fn are_served_here(&self) -> bool {
        *lock(&self.thread) == Some(thread::current().id())
    }

    /// Wakes those whose time has come. When the first of the others goes off.
    pub(super) fn wake_due(&self, now: Instant) -> Option<Instant> {
        let mut queue = lock(&self.queue);
        queue.woken_until = Some(now);
        let mut due = Vec::new();
        let first = loop {
            match queue.waiting.first_entry() {
                Some(first) if first.key().0 <= now => due.push(first.remove()),
                first => break first.map(|first| first.key().0),
            }
        };
        drop(queue);
        due.into_iter().for_each(Waker::wake);
        first
    }

    /// Whether those who waited for this time were woken.
    fn has_woken(&self, at: Instant) -> bool {
        lock(&self.queue)
            .woken_until
            .is_some_and(|until| at <= until)
    }

    fn enter(&self, at: Instant, waker: Waker) -> Entry {
        let mut queue = lock(&self.queue);
        queue.entered += 1;
        let entry = (at, queue.entered);
        queue.waiting.insert(entry, waker);
        entry
    }

    fn leave(&self, entry: Entry) {
        let waker = lock(&self.queue).waiting.remove(&entry);
        // A waker may run code of its executor's when it is dropped.
        drop(waker);
    }
}
