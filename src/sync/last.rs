//! What runs code of its own when the last of it is dropped, for tests of where that happens.

use std::sync::{Arc, mpsc};
use std::task::{Wake, Waker};
use std::thread;
use std::time::Duration;

use bytes::Bytes;

/// Does something when it is dropped: a task whose wakers alone keep it, or the owner of a body.
struct OnDrop(Option<Box<dyn FnOnce() + Send + Sync>>);

impl OnDrop {
    fn new(work: impl FnOnce() + Send + Sync + 'static) -> Self {
        Self(Some(Box::new(work)))
    }
}

impl Drop for OnDrop {
    fn drop(&mut self) {
        if let Some(work) = self.0.take() {
            work();
        }
    }
}

impl Wake for OnDrop {
    fn wake(self: Arc<Self>) {}
}

impl AsRef<[u8]> for OnDrop {
    fn as_ref(&self) -> &[u8] {
        b"a herring"
    }
}

/// The waker of a task that goes with the last of its wakers, and does this as it goes.
pub(crate) fn waker(work: impl FnOnce() + Send + Sync + 'static) -> Waker {
    Waker::from(Arc::new(OnDrop::new(work)))
}

/// A body that does this when the last of it is dropped.
pub(crate) fn body(work: impl FnOnce() + Send + Sync + 'static) -> Bytes {
    Bytes::from_owner(OnDrop::new(work))
}

/// Runs what would wait for itself if it ran under a lock that it takes.
pub(crate) fn in_time<T: Send + 'static>(run: impl FnOnce() -> T + Send + 'static) -> T {
    let (through, is_through) = mpsc::channel();
    thread::spawn(move || _ = through.send(run()));
    (is_through.recv_timeout(Duration::from_secs(10)))
        .expect("it has panicked, or waits for a lock that it holds")
}
