use std::task::Waker;

/// Whom to wake when what it waits for has come about. It is under a lock with that.
///
/// With the last waker of a task goes the task, and with that all that it owns, which may come back for the
/// same lock when it is dropped. So nobody is dropped in here: who is replaced is given back, for whoever
/// holds the lock to drop without it.
#[derive(Debug, Default)]
pub(crate) struct WakerSlot(Option<Waker>);

impl WakerSlot {
    /// Puts another in, unless it wakes the same task. Who was there before is given back.
    #[must_use = "it is to be dropped without the lock"]
    pub(crate) fn replace(&mut self, waker: &Waker) -> Option<Waker> {
        if (self.0.as_ref()).is_some_and(|before| before.will_wake(waker)) {
            return None;
        }
        self.0.replace(waker.clone())
    }

    #[must_use = "it is to be woken, or dropped, without the lock"]
    pub(crate) fn take(&mut self) -> Option<Waker> {
        self.0.take()
    }
}
