//! What is told once, to all who wait for it.
//!
//! A cell would do as well, but that which there is wakes, and drops wakers, under a lock of its own.

use std::collections::BTreeMap;
use std::fmt;
use std::mem;
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

use super::{Mutex, lock};

/// Something that is told once, whoever waits for it and whenever.
pub(crate) struct Once<T> {
    told: OnceLock<T>,
    waiting: Mutex<Waiting>,
}

#[derive(Default)]
struct Waiting {
    /// By the order of their coming.
    wakers: BTreeMap<u64, Waker>,
    came: u64,
}

impl<T> Once<T> {
    pub(crate) fn new() -> Self {
        Self {
            told: OnceLock::new(),
            waiting: Mutex::default(),
        }
    }

    pub(crate) fn is_told(&self) -> bool {
        self.told.get().is_some()
    }

    /// Tells all who wait for it, and who will. Only the first time counts.
    pub(crate) fn tell(&self, what: T) {
        if self.told.set(what).is_ok() {
            // Whoever comes after this finds it there.
            let wakers = mem::take(&mut lock(&self.waiting).wakers);
            wakers.into_values().for_each(Waker::wake);
        }
    }

    /// Completes once it is told.
    pub(crate) async fn told(&self) -> &T {
        let mut listener = Listener {
            waiting: &self.waiting,
            number: None,
        };
        std::future::poll_fn(|cx| match self.told.get() {
            Some(told) => Poll::Ready(told),
            None => listener.poll(&self.told, cx),
        })
        .await
    }
}

/// A place among those that wait, which is left also where that is given up.
struct Listener<'a> {
    waiting: &'a Mutex<Waiting>,
    number: Option<u64>,
}

impl Listener<'_> {
    fn poll<'t, T>(&mut self, cell: &'t OnceLock<T>, cx: &Context<'_>) -> Poll<&'t T> {
        let waker = cx.waker().clone();
        let mut waiting = lock(self.waiting);
        if let Some(told) = cell.get() {
            drop(waiting);
            return Poll::Ready(told);
        }
        let number = *self.number.get_or_insert_with(|| {
            waiting.came += 1;
            waiting.came
        });
        let before = waiting.wakers.insert(number, waker);
        drop(waiting);
        // Without the lock: with it a task may go, and with that others that wait for the same.
        drop(before);
        Poll::Pending
    }
}

impl Drop for Listener<'_> {
    fn drop(&mut self) {
        if let Some(number) = self.number {
            let waker = lock(self.waiting).wakers.remove(&number);
            drop(waker);
        }
    }
}

impl<T> fmt::Debug for Once<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Once").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use std::pin::{Pin, pin};
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_lite::future::block_on;

    use super::*;
    use crate::sync::last::{self, in_time};

    type Told = Pin<Box<dyn Future<Output = u8> + Send + Sync>>;

    fn told(once: &Arc<Once<u8>>) -> Told {
        let once = Arc::clone(once);
        Box::pin(async move { *once.told().await })
    }

    #[test]
    fn all_are_told_whether_they_came_before_or_after_and_the_first_time_counts() {
        let once = Arc::new(Once::new());
        let mut cx = Context::from_waker(Waker::noop());
        let mut early = pin!(told(&once));
        assert!(early.as_mut().poll(&mut cx).is_pending());
        assert!(!once.is_told());
        once.tell(1);
        once.tell(2);
        assert_eq!(early.poll(&mut cx), Poll::Ready(1));
        assert_eq!(block_on(told(&once)), 1);
    }

    #[test]
    fn of_those_that_give_up_nothing_is_left() {
        let once = Arc::new(Once::new());
        let mut early = told(&once);
        let mut cx = Context::from_waker(Waker::noop());
        assert!(early.as_mut().poll(&mut cx).is_pending());
        drop(early);
        assert!(lock(&once.waiting).wakers.is_empty());
    }

    #[test]
    fn a_task_goes_with_another_that_waits_for_the_same() {
        for waits_on in [true, false] {
            in_time(move || {
                let once = Arc::new(Once::new());
                let count = Arc::new(AtomicUsize::new(0));
                let mut other = told(&once);
                let mut cx = Context::from_waker(Waker::noop());
                assert!(other.as_mut().poll(&mut cx).is_pending());
                let counts = Arc::clone(&count);
                let waker = last::waker(move || {
                    drop(other);
                    counts.fetch_add(1, Ordering::Relaxed);
                });
                let mut waits = told(&once);
                assert!(
                    waits
                        .as_mut()
                        .poll(&mut Context::from_waker(&waker))
                        .is_pending()
                );
                drop(waker);
                if waits_on {
                    assert!(waits.as_mut().poll(&mut cx).is_pending());
                } else {
                    once.tell(1);
                }
                assert_eq!(count.load(Ordering::Relaxed), 1);
            });
        }
    }
}
