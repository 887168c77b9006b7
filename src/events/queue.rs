use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll};

use super::Event;
use crate::sync::{Mutex, MutexGuard, WakerSlot, lock};

/// What happened and was not taken yet by whoever subscribed. The oldest give way to newer ones.
#[derive(Debug, Default)]
pub(crate) struct EventQueue {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    events: VecDeque<Event>,
    /// What is in them that can be of any length.
    bytes: usize,
    /// How many gave way since that was told last.
    missed: u64,
    /// Whether no more will come.
    ended: bool,
    /// Whether nobody takes them any more.
    abandoned: bool,
    waker: WakerSlot,
}

/// How many events are held.
pub(super) const EVENTS: usize = 1024;

/// How many bytes of messages are held in them. A larger message is held alone.
pub(super) const BYTES: usize = 1024 * 1024;

impl EventQueue {
    /// Puts an event in; whether there is still somebody to take it.
    pub(crate) fn push(&self, event: Event) -> bool {
        // Dropped without the lock.
        let mut gone = Vec::new();
        let mut state = self.lock();
        if state.abandoned {
            return false;
        }
        let len = event.bytes();
        while state.events.len() >= EVENTS || state.bytes + len > BYTES {
            let Some(oldest) = state.events.pop_front() else {
                break;
            };
            state.bytes -= oldest.bytes();
            state.missed += 1;
            gone.push(oldest);
        }
        state.bytes += len;
        state.events.push_back(event);
        wake(state);
        true
    }

    /// No more will come.
    pub(crate) fn end(&self) {
        let mut state = self.lock();
        state.ended = true;
        wake(state);
    }

    /// Whether nobody takes them any more.
    pub(crate) fn is_abandoned(&self) -> bool {
        self.lock().abandoned
    }

    pub(super) fn abandon(&self) {
        let mut state = self.lock();
        state.abandoned = true;
        let left = (mem::take(&mut state.events), state.waker.take());
        drop(state);
        // Dropped without the lock.
        drop(left);
    }

    /// The next event; if there is none, `cx` is woken for it.
    pub(super) fn poll_next(&self, cx: &Context<'_>) -> Poll<Option<Event>> {
        let mut state = self.lock();
        if let Some(event) = state.next() {
            return Poll::Ready(Some(event));
        }
        if state.ended {
            return Poll::Ready(None);
        }
        let before = state.waker.replace(cx.waker());
        drop(state);
        drop(before);
        Poll::Pending
    }

    pub(super) fn try_next(&self) -> Option<Event> {
        self.lock().next()
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl State {
    fn next(&mut self) -> Option<Event> {
        let missed = mem::take(&mut self.missed);
        if missed > 0 {
            return Some(Event::Lagged { missed });
        }
        let event = self.events.pop_front()?;
        self.bytes -= event.bytes();
        Some(event)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}
