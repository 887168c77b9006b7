//! That a consumer is to stop, told to whoever works on its deliveries.

use std::task::Waker;

use crate::sync::{AtomicBool, Mutex, Ordering, WakerSlot, lock};

/// Whether a consumer is to stop, and whether handlers run that are to come to their end before it has.
#[derive(Debug, Default)]
pub(crate) struct Stopping {
    /// What the state says, to be looked at without the lock.
    is_asked: AtomicBool,
    /// Whether it gives nothing for now.
    is_paused: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    asked: Asked,
    /// Whether it is asked for since the client is closed.
    closes: bool,
    /// Whether somebody runs handlers.
    has_handlers: bool,
    /// Who does.
    waker: WakerSlot,
}

/// What is asked of whoever works on deliveries.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Asked {
    #[default]
    Nothing,
    /// To begin with no more of them.
    Stop,
    /// To end at once: there is no more time.
    CutOff,
}

impl Stopping {
    /// Whether anything was asked.
    pub(crate) fn is_asked(&self) -> bool {
        self.is_asked.load(Ordering::Acquire)
    }

    /// Whether it gives nothing for now.
    pub(crate) fn is_paused(&self) -> bool {
        self.is_paused.load(Ordering::Acquire)
    }

    /// Lets it give nothing for now, or go on. Whether that is news.
    pub(super) fn pause(&self, is_paused: bool) -> bool {
        self.is_paused.swap(is_paused, Ordering::AcqRel) != is_paused
    }

    /// Asks for this, unless more was asked before.
    pub(super) fn ask(&self, what: Asked) {
        let mut state = lock(&self.state);
        state.asked = state.asked.max(what);
        self.is_asked.store(true, Ordering::Release);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// The client is being closed, which asks everybody to stop.
    pub(super) fn close(&self) {
        lock(&self.state).closes = true;
        self.ask(Asked::Stop);
    }

    /// Whether the client is being closed.
    pub(super) fn closes(&self) -> bool {
        lock(&self.state).closes
    }

    /// What is asked; `waker` is woken for more.
    pub(crate) fn asked(&self, waker: &Waker) -> Asked {
        let mut state = lock(&self.state);
        let asked = state.asked;
        let before = state.waker.replace(waker);
        drop(state);
        // Without the lock: with it a task may go, and with that consumers.
        drop(before);
        asked
    }

    /// Whether handlers run.
    pub(crate) fn has_handlers(&self) -> bool {
        lock(&self.state).has_handlers
    }

    /// Somebody begins to run handlers, for whose end a close waits.
    pub(crate) fn begin_handlers(&self) {
        lock(&self.state).has_handlers = true;
    }

    pub(super) fn end_handlers(&self) {
        let mut state = lock(&self.state);
        state.has_handlers = false;
        let waker = state.waker.take();
        drop(state);
        drop(waker);
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use super::*;
    use crate::sync::last;

    #[test]
    fn what_is_asked_last_does_not_take_back_what_was_asked_before() {
        let stopping = Stopping::default();
        assert_eq!(stopping.asked(Waker::noop()), Asked::Nothing);
        stopping.ask(Asked::CutOff);
        stopping.ask(Asked::Stop);
        assert!(stopping.is_asked());
        assert_eq!(stopping.asked(Waker::noop()), Asked::CutOff);
    }

    #[test]
    fn a_task_that_goes_when_another_looks_can_ask() {
        last::in_time(|| {
            let stopping = std::sync::Arc::new(Stopping::default());
            let other = std::sync::Arc::clone(&stopping);
            stopping.asked(&last::waker(move || other.ask(Asked::Stop)));
            stopping.asked(Waker::noop());
            assert_eq!(stopping.asked(Waker::noop()), Asked::Stop);
            let other = std::sync::Arc::clone(&stopping);
            stopping.asked(&last::waker(move || other.ask(Asked::CutOff)));
            stopping.end_handlers();
            assert_eq!(stopping.asked(Waker::noop()), Asked::CutOff);
        });
    }
}
