//! Waiting, with a deadline.

use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt as _;

/// How long anything is waited for before the test fails. It is generous: it only matters where
/// something is wrong.
pub const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at that nobody reports.
const POLL: Duration = Duration::from_millis(5);

/// Runs an asynchronous test.
pub fn run<T>(test: impl Future<Output = T>) -> T {
    async_io::block_on(within("the end of the test", test))
}

/// Waits for a future; `what` names it should it never complete.
pub async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let in_vain = async {
        Timer::after(PATIENCE).await;
        panic!("waited in vain for {what}");
    };
    future.or(in_vain).await
}

/// Waits until a condition holds; `what` names it should it never do so.
pub fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(POLL);
    }
}

/// [`wait_until`], for where this thread has other futures to run in the meantime.
pub async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            Timer::after(POLL).await;
        }
    };
    within(what, holds).await;
}
