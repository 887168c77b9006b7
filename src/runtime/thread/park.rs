use std::fmt;
use std::sync::Arc;
use std::task::Wake;

use crate::sync::{AtomicU8, Ordering};

/// Wakes the thread of a reactor, by a system call only if it sleeps.
pub(super) struct Park {
    state: AtomicU8,
    bell: mio::Waker,
}

/// It does what there is to do.
const RUNNING: u8 = 0;
/// It was woken since, and must not go to sleep.
const WOKEN: u8 = 1;
const ASLEEP: u8 = 2;

impl Park {
    pub(super) fn new(bell: mio::Waker) -> Self {
        Self {
            state: AtomicU8::new(RUNNING),
            bell,
        }
    }

    /// From now on it runs: what woke it before is about to be seen to.
    pub(super) fn run(&self) {
        // Whoever woke it has done so after what it is to see.
        self.state.swap(RUNNING, Ordering::AcqRel);
    }

    /// Whether it was woken since.
    pub(super) fn is_woken(&self) -> bool {
        self.state.load(Ordering::Acquire) == WOKEN
    }

    /// Goes to sleep, unless it was woken while it ran.
    pub(super) fn sleep(&self) -> bool {
        self.state
            .compare_exchange(RUNNING, ASLEEP, Ordering::AcqRel, Ordering::Acquire)
            .is_ok()
    }
}

impl Wake for Park {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if self.state.swap(WOKEN, Ordering::AcqRel) == ASLEEP
            && let Err(error) = self.bell.wake()
        {
            // It is still woken by its sockets and timers.
            log::error!("the driver's thread could not be woken: {error}");
        }
    }
}

impl fmt::Debug for Park {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Park").finish_non_exhaustive()
    }
}
