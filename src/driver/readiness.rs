//! Whether it is worth while to ask a transport or a timer again.

use std::sync::Arc;
use std::task::{Context, Wake, Waker};

use crate::sync::{AtomicBool, Mutex, Ordering, lock};

/// Knows whether a transport has woken the driver since it last had nothing to give or to take, or a timer since
/// its time had not come.
///
/// A driver with several connections is woken for one of them, or for none. Asking the others costs
/// a system call each, every time.
pub(super) struct Readiness {
    notice: Arc<Notice>,
    /// What the transport is given to wake: the notice.
    waker: Waker,
    /// The waker in the notice, to be compared without its lock.
    driver: Waker,
}

struct Notice {
    woken: AtomicBool,
    driver: Mutex<Waker>,
}

impl Readiness {
    pub(super) fn new() -> Self {
        let driver = Waker::noop().clone();
        let notice = Arc::new(Notice {
            woken: AtomicBool::new(false),
            driver: Mutex::new(driver.clone()),
        });
        Self {
            waker: Waker::from(Arc::clone(&notice)),
            notice,
            driver,
        }
    }

    /// Whether the transport has woken the driver since this was last asked. From now on it wakes
    /// whoever polls with `cx`.
    #[inline]
    pub(super) fn was_woken(&mut self, cx: &Context<'_>) -> bool {
        if !self.driver.will_wake(cx.waker()) {
            self.driver = cx.waker().clone();
            let old = std::mem::replace(&mut *lock(&self.notice.driver), self.driver.clone());
            // A waker may run code of its executor's when it is dropped.
            drop(old);
        }
        // Asked after that: whoever was woken by the old waker has left this.
        let woken = &self.notice.woken;
        woken.load(Ordering::Acquire) && woken.swap(false, Ordering::AcqRel)
    }

    /// It is to be asked whether or not it has woken the driver.
    pub(super) fn ask(&self) {
        self.notice.woken.store(true, Ordering::Release);
    }

    /// What the transport is to be polled with, for reading and writing alike: a layer like TLS may
    /// wait for the one to do the other.
    pub(super) fn waker(&self) -> &Waker {
        &self.waker
    }
}

impl Wake for Notice {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.woken.store(true, Ordering::Release);
        let driver = lock(&self.driver).clone();
        driver.wake();
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use std::sync::atomic::AtomicUsize;

    use super::*;

    #[derive(Default)]
    struct Counter(AtomicUsize);

    impl Counter {
        fn wakes(&self) -> usize {
            self.0.load(Ordering::Relaxed)
        }
    }

    impl Wake for Counter {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_wake_is_told_once_and_passed_on() {
        let driver = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&driver));
        let cx = Context::from_waker(&waker);
        let mut readiness = Readiness::new();
        assert!(!readiness.was_woken(&cx));
        readiness.waker().wake_by_ref();
        assert_eq!(driver.wakes(), 1);
        assert!(readiness.was_woken(&cx));
        assert!(!readiness.was_woken(&cx));
    }

    #[test]
    fn who_is_to_be_asked_is_so_once_and_wakes_nobody() {
        let driver = Arc::new(Counter::default());
        let waker = Waker::from(Arc::clone(&driver));
        let cx = Context::from_waker(&waker);
        let mut readiness = Readiness::new();
        readiness.ask();
        assert!(readiness.was_woken(&cx));
        assert!(!readiness.was_woken(&cx));
        assert_eq!(driver.wakes(), 0);
    }

    #[test]
    fn a_driver_that_moves_to_another_task_is_woken_there() {
        let (here, there) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let wakers = [&here, &there].map(|driver| Waker::from(Arc::clone(driver)));
        let mut readiness = Readiness::new();
        let given = readiness.waker().clone();
        for waker in &wakers {
            readiness.was_woken(&Context::from_waker(waker));
        }
        given.wake();
        assert_eq!((here.wakes(), there.wakes()), (0, 1));
    }

    #[test]
    fn a_wake_before_the_move_is_not_lost() {
        let (here, there) = (Arc::new(Counter::default()), Arc::new(Counter::default()));
        let wakers = [&here, &there].map(|driver| Waker::from(Arc::clone(driver)));
        let mut readiness = Readiness::new();
        readiness.was_woken(&Context::from_waker(&wakers[0]));
        readiness.waker().wake_by_ref();
        assert!(readiness.was_woken(&Context::from_waker(&wakers[1])));
    }
}
