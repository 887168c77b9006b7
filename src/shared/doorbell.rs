use std::task::Waker;

use super::place::Place;
use crate::core::session::{ConsumerKey, ProducerKey};
use crate::sync::{Mutex, MutexGuard, WakerSlot, lock};

/// A handle that has something for the driver to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ready {
    Producer(Place<ProducerKey>),
    /// Somebody waits for room in its buffer, and there is some.
    Room(Place<ProducerKey>),
    Consumer(Place<ConsumerKey>),
}

/// Wakes the driver, and tells it where to look.
#[derive(Debug, Default)]
pub(crate) struct Doorbell {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    ready: Vec<Ready>,
    /// Whether there are commands.
    commands: bool,
    /// Set only while the driver sleeps, so that a burst wakes it once.
    driver: WakerSlot,
    /// The driver is gone.
    closed: bool,
}

impl Doorbell {
    /// Tells the driver that a handle has something for it.
    pub(crate) fn ring(&self, ready: Ready) {
        let mut state = self.lock();
        if !state.closed {
            state.ready.push(ready);
            wake(state);
        }
    }

    /// Tells the driver that there are commands. They are in their queue before this is called.
    pub(super) fn ring_for_commands(&self) {
        let mut state = self.lock();
        state.commands = true;
        wake(state);
    }

    /// Takes who has something for the driver, in order. Whether there are commands, too. Nobody is registered
    /// any more: the driver runs.
    pub(super) fn answer(&self, ready: &mut Vec<Ready>) -> bool {
        let mut state = self.lock();
        ready.append(&mut state.ready);
        let commands = std::mem::take(&mut state.commands);
        let before = state.driver.take();
        drop(state);
        // Without the lock: with it a task may go that drove the driver before, and all that it owns.
        drop(before);
        commands
    }

    /// Registers the driver to be woken, unless somebody has rung in the meantime.
    pub(crate) fn park(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        let idle = !state.commands && state.ready.is_empty();
        let before = if idle {
            state.driver.replace(waker)
        } else {
            state.driver.take()
        };
        drop(state);
        drop(before);
        idle
    }

    /// The driver is gone: nobody rings any more.
    pub(super) fn close(&self) {
        let mut state = self.lock();
        state.closed = true;
        state.ready.clear();
        let driver = state.driver.take();
        drop(state);
        drop(driver);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

fn wake(mut state: MutexGuard<'_, State>) {
    let driver = state.driver.take();
    drop(state);
    if let Some(driver) = driver {
        driver.wake();
    }
}
