//! A timer for where there is no other: a thread that sleeps.

use std::task::{Context, Poll, Waker};
use std::time::Instant;

/// Goes off once each time that it is set. What waits for it, such as the next attempt to connect, is to
/// go on wherever a driver was put; so each wait costs a thread, and this is for where it was put wrongly.
#[derive(Debug, Default)]
pub(super) struct Sleeper {
    at: Option<Instant>,
    /// Whom a thread wakes that sleeps until then.
    woken: Option<Waker>,
}

impl super::Timer for Sleeper {
    fn set_at(&mut self, at: Instant) {
        *self = Self {
            at: Some(at),
            woken: None,
        };
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        let left = at.saturating_duration_since(Instant::now());
        if left.is_zero() {
            *self = Self::default();
            return Poll::Ready(());
        }
        if !(self.woken.as_ref()).is_some_and(|woken| woken.will_wake(cx.waker())) {
            let waker = cx.waker().clone();
            self.woken = Some(waker.clone());
            let sleep = move || {
                std::thread::sleep(left);
                waker.wake();
            };
            let thread = std::thread::Builder::new().name("snowshoe-timer".to_owned());
            if let Err(error) = thread.spawn(sleep) {
                log::warn!("no thread can be had for a timer: {error}");
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }
}
