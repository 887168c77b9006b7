//! Time that passes only when it is told to.

use std::collections::BTreeMap;
use std::fmt;
use std::future::{poll_fn, ready};
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant, SystemTime};

use futures_lite::future;

use snowshoe_codec::time::after;

use crate::runtime::{self, Runtime, Task, TcpOptions};
use crate::sync::{Mutex, MutexGuard, lock};
use crate::transport::Connecting;

/// A clock of which a test turns the hands: hours pass at once, and deadlines are met to the
/// nanosecond.
///
/// Clones are the same clock. It is a [`Runtime`]: a client goes by it if its
/// [builder is told to](crate::ClientBuilder::runtime), and connects without sockets, by a
/// [`Network`](super::Network) or the [connector of a server](super::Server::connector).
///
/// ```
/// use std::time::Duration;
/// use snowshoe::testing::Clock;
///
/// let clock = Clock::new();
/// let noon = clock.now();
/// clock.advance(Duration::from_secs(3600));
/// assert_eq!(clock.now() - noon, Duration::from_secs(3600));
/// ```
#[derive(Clone)]
pub struct Clock {
    state: Arc<Mutex<State>>,
}

struct State {
    begun: Instant,
    now: Instant,
    /// Who is to be woken when. Of those at the same instant, the older timer goes first.
    sleepers: BTreeMap<(Instant, u64), Waker>,
    next_id: u64,
}

impl fmt::Debug for Clock {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Clock")
            .field("now", &self.now())
            .finish_non_exhaustive()
    }
}

impl Default for Clock {
    fn default() -> Self {
        Self::new()
    }
}

/// The time of day, in seconds since 1970, at which clocks begin that pass only when they are told to.
pub(super) const UNIX_TIME: u64 = 1_700_000_000;

impl Clock {
    /// A clock that stands at the present. Its time of day begins where that of a
    /// [broker](super::BrokerOptions::unix_time) does, so that a story is the same on any day.
    pub fn new() -> Self {
        let now = Instant::now();
        Self {
            state: Arc::new(Mutex::new(State {
                begun: now,
                now,
                sleepers: BTreeMap::new(),
                next_id: 0,
            })),
        }
    }

    /// What time it is.
    pub fn now(&self) -> Instant {
        self.lock().now
    }

    /// Lets time pass, and wakes whoever waited for it.
    pub fn advance(&self, by: Duration) {
        let to = after(self.now(), by);
        self.advance_to(to);
    }

    /// Lets time pass until then, and wakes whoever waited for it. Time never runs backwards.
    pub fn advance_to(&self, to: Instant) {
        let mut state = self.lock();
        state.now = state.now.max(to);
        let later = (state.now, u64::MAX);
        let mut due = state.sleepers.split_off(&later);
        std::mem::swap(&mut due, &mut state.sleepers);
        drop(state);
        for waker in due.into_values() {
            waker.wake();
        }
    }

    /// When the next timer goes off: how far time can pass without anything happening.
    pub fn next_timer(&self) -> Option<Instant> {
        let state = self.lock();
        let (&(at, _), _) = state.sleepers.first_key_value()?;
        Some(at)
    }

    /// Completes when so much time has passed.
    pub async fn sleep(&self, duration: Duration) {
        let mut timer = self.timer();
        timer.set_at(after(self.now(), duration));
        poll_fn(|cx| timer.poll(cx)).await;
    }

    /// A timer that never goes off until it is set.
    pub fn timer(&self) -> Timer {
        let mut state = self.lock();
        let id = state.next_id;
        state.next_id += 1;
        Timer {
            clock: self.clone(),
            id,
            at: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }
}

impl Runtime for Clock {
    fn now(&self) -> Instant {
        self.now()
    }

    fn time_of_day(&self) -> SystemTime {
        let state = self.lock();
        let passed = state.now.saturating_duration_since(state.begun);
        // Beyond what a system can tell there is no later time to tell.
        let beginning = SystemTime::UNIX_EPOCH + Duration::from_secs(UNIX_TIME);
        beginning.checked_add(passed).unwrap_or(beginning)
    }

    fn timer(&self) -> Box<dyn runtime::Timer> {
        Box::new(self.timer())
    }

    fn connect(&self, _: SocketAddr, _: TcpOptions) -> Connecting {
        let error = "there are no sockets in virtual time: connect by a testing::Network, or take a \
                     client of a testing::Server";
        Box::pin(ready(Err(io::Error::new(
            io::ErrorKind::Unsupported,
            error,
        ))))
    }

    /// On a thread of its own, where it waits for the clock as it does anywhere.
    fn spawn(&self, driver: Task) -> io::Result<()> {
        std::thread::Builder::new()
            .name("snowshoe".to_owned())
            .spawn(|| future::block_on(driver))?;
        Ok(())
    }
}

impl runtime::Timer for Timer {
    fn set_at(&mut self, at: Instant) {
        self.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.poll(cx).map(|_| ())
    }
}

/// Goes off once each time that it is set, when its [`Clock`] says so.
#[derive(Debug)]
pub struct Timer {
    clock: Clock,
    id: u64,
    at: Option<Instant>,
}

impl Timer {
    /// Sets when it goes off next.
    pub fn set_at(&mut self, at: Instant) {
        if let Some(old) = self.at.replace(at) {
            let mut state = self.clock.lock();
            if let Some(sleeper) = state.sleepers.remove(&(old, self.id)) {
                // As with a timer of the system, whoever waited still does.
                state.sleepers.insert((at, self.id), sleeper);
            }
        }
    }

    /// Ready once it goes off; otherwise `cx` is woken when it does.
    pub fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let Some(at) = self.at else {
            return Poll::Pending;
        };
        let key = (at, self.id);
        let mut state = self.clock.lock();
        let due = state.now >= at;
        let old = if due {
            state.sleepers.remove(&key)
        } else {
            state.sleepers.insert(key, cx.waker().clone())
        };
        // With its waker a task may go, and with that the timers that it owns.
        drop(state);
        drop(old);
        if !due {
            return Poll::Pending;
        }
        self.at = None;
        Poll::Ready(at)
    }
}

impl Drop for Timer {
    fn drop(&mut self) {
        if let Some(at) = self.at {
            let waker = self.clock.lock().sleepers.remove(&(at, self.id));
            // Without the lock: with it a task may go, and with that the timers that it owns.
            drop(waker);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};
    use std::task::Wake;

    use super::*;

    #[derive(Default)]
    struct Woken(AtomicUsize);

    impl Wake for Woken {
        fn wake(self: Arc<Self>) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[test]
    fn a_timer_goes_off_once_each_time_it_is_set() {
        let (clock, woken) = (Clock::new(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut cx = Context::from_waker(&waker);
        let mut timer = clock.timer();
        assert!(timer.poll(&mut cx).is_pending());
        for round in 1..=2 {
            let due = clock.now() + Duration::from_secs(5);
            timer.set_at(due);
            assert!(timer.poll(&mut cx).is_pending());
            assert_eq!(clock.next_timer(), Some(due));
            clock.advance(Duration::from_secs(5));
            assert_eq!(woken.0.load(Ordering::Relaxed), round);
            assert!(timer.poll(&mut cx).is_ready());
            assert!(timer.poll(&mut cx).is_pending());
        }
    }

    #[test]
    fn a_timer_that_is_set_anew_wakes_at_the_new_time_only() {
        let (clock, woken) = (Clock::new(), Arc::new(Woken::default()));
        let waker = Waker::from(Arc::clone(&woken));
        let mut timer = clock.timer();
        timer.set_at(clock.now() + Duration::from_secs(1));
        assert!(timer.poll(&mut Context::from_waker(&waker)).is_pending());
        timer.set_at(clock.now() + Duration::from_secs(3));
        clock.advance(Duration::from_secs(2));
        assert_eq!(woken.0.load(Ordering::Relaxed), 0);
        clock.advance(Duration::from_secs(1));
        assert_eq!(woken.0.load(Ordering::Relaxed), 1);
    }

    #[test]
    fn nobody_waits_for_a_timer_that_was_dropped() {
        let clock = Clock::new();
        let mut timer = clock.timer();
        timer.set_at(clock.now() + Duration::from_secs(1));
        assert!(
            timer
                .poll(&mut Context::from_waker(Waker::noop()))
                .is_pending()
        );
        drop(timer);
        assert_eq!(clock.next_timer(), None);
    }
}
