//! One answer, from whoever is asked to whoever asks.
//!
//! A channel would do as well, but those that there are wake, and drop wakers, under a lock of their own.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use super::{Mutex, WakerSlot, lock};

/// Where an answer goes. Dropped without one, it tells that there will be none.
pub(crate) struct Answer<T>(Arc<Mutex<State<T>>>);

/// What completes with the answer, or with `None` if nobody gives one.
pub(crate) struct Answered<T>(Arc<Mutex<State<T>>>);

struct State<T> {
    answer: Option<T>,
    /// Whether either end is gone.
    closed: bool,
    waker: WakerSlot,
}

/// Both ends of an answer to come.
pub(crate) fn answer<T>() -> (Answer<T>, Answered<T>) {
    let state = Arc::new(Mutex::new(State {
        answer: None,
        closed: false,
        waker: WakerSlot::default(),
    }));
    (Answer(Arc::clone(&state)), Answered(state))
}

impl<T> Answer<T> {
    /// Answers; gives the answer back if nobody waits for it any more.
    pub(crate) fn send(self, answer: T) -> Result<(), T> {
        let mut state = lock(&self.0);
        if state.closed {
            return Err(answer);
        }
        // Whoever waits is woken as this end goes.
        state.answer = Some(answer);
        Ok(())
    }

    /// Whether nobody waits for it any more.
    pub(crate) fn is_closed(&self) -> bool {
        lock(&self.0).closed
    }
}

impl<T> Drop for Answer<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.closed = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

impl<T> Future for Answered<T> {
    type Output = Option<T>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<T>> {
        let mut state = lock(&self.0);
        if state.answer.is_some() || state.closed {
            return Poll::Ready(state.answer.take());
        }
        let before = state.waker.replace(cx.waker());
        drop(state);
        // Without the lock: with it a task may go, and with that this end of another answer.
        drop(before);
        Poll::Pending
    }
}

impl<T> Drop for Answered<T> {
    fn drop(&mut self) {
        let mut state = lock(&self.0);
        state.closed = true;
        let left = (state.answer.take(), state.waker.take());
        drop(state);
        drop(left);
    }
}

impl<T> fmt::Debug for Answer<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answer").finish_non_exhaustive()
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Wake, Waker};

    use super::*;
    use crate::sync::last::in_time;

    fn poll<T>(answered: &mut Answered<T>, waker: &Waker) -> Poll<Option<T>> {
        Pin::new(answered).poll(&mut Context::from_waker(waker))
    }

    #[test]
    fn an_answer_comes_whenever_it_is_asked_for() {
        let (answer, mut answered) = answer();
        assert!(poll(&mut answered, Waker::noop()).is_pending());
        assert!(!answer.is_closed());
        assert_eq!(answer.send(7), Ok(()));
        assert_eq!(poll(&mut answered, Waker::noop()), Poll::Ready(Some(7)));
    }

    #[test]
    fn that_there_will_be_no_answer_is_told() {
        let (answer, mut answered) = answer::<u8>();
        drop(answer);
        assert_eq!(poll(&mut answered, Waker::noop()), Poll::Ready(None));
    }

    #[test]
    fn an_answer_that_nobody_waits_for_is_given_back() {
        let (answer, answered) = answer();
        drop(answered);
        assert!(answer.is_closed());
        assert_eq!(answer.send(7), Err(7));
    }

    /// A task of an executor that is gone: it goes as it is woken, with what it waits for.
    struct Orphan {
        answered: Mutex<Option<Answered<u8>>>,
        woken: Arc<AtomicBool>,
    }

    impl Wake for Orphan {
        fn wake(self: Arc<Self>) {
            self.woken.store(true, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_task_goes_as_it_is_answered_with_what_it_waits_for() {
        in_time(|| {
            let (answer, mut answered) = answer();
            let woken = Arc::<AtomicBool>::default();
            let task = Arc::new(Orphan {
                answered: Mutex::default(),
                woken: Arc::clone(&woken),
            });
            let waker = Waker::from(Arc::clone(&task));
            assert!(poll(&mut answered, &waker).is_pending());
            *lock(&task.answered) = Some(answered);
            drop((task, waker));
            assert_eq!(answer.send(7), Ok(()));
            assert!(woken.load(Ordering::Relaxed));
        });
    }
}
