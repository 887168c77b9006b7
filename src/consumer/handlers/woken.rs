//! Which of many handlers can go on.

use std::sync::Arc;
use std::task::{Wake, Waker};

use crate::sync::{Mutex, WakerSlot, lock};

/// Which handlers can go on, so that only those are polled.
#[derive(Default)]
pub(super) struct Woken {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    indices: Vec<usize>,
    /// Whether each is among them.
    is_in: Vec<bool>,
    waker: WakerSlot,
}

impl Woken {
    /// Takes the handlers that can go on; from now on `waker` is woken for others.
    pub(super) fn take(&self, waker: &Waker) -> Vec<usize> {
        let mut state = lock(&self.state);
        let before = state.waker.replace(waker);
        let indices = std::mem::take(&mut state.indices);
        for index in &indices {
            state.is_in[*index] = false;
        }
        drop(state);
        // Without the lock: with it a task may go, and wake a handler as it does.
        drop(before);
        indices
    }

    /// What the handler with this number is woken by.
    pub(super) fn waker(self: &Arc<Self>, index: usize) -> Waker {
        Waker::from(Arc::new(SlotWaker {
            index,
            woken: Arc::clone(self),
        }))
    }
}

struct SlotWaker {
    index: usize,
    woken: Arc<Woken>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        let mut state = lock(&self.woken.state);
        if state.is_in.len() <= self.index {
            state.is_in.resize(self.index + 1, false);
        }
        if !std::mem::replace(&mut state.is_in[self.index], true) {
            state.indices.push(self.index);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use super::*;
    use crate::sync::last;

    #[test]
    fn a_task_that_goes_when_another_runs_its_handlers_can_wake_one() {
        last::in_time(|| {
            let woken = Arc::new(Woken::default());
            let handler = woken.waker(7);
            assert!(woken.take(&last::waker(|| handler.wake())).is_empty());
            assert!(woken.take(Waker::noop()).is_empty());
            assert_eq!(woken.take(Waker::noop()), [7]);
        });
    }
}
