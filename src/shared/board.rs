use std::collections::BTreeMap;
use std::mem;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Instant;

use super::place::LinkIndex;
use crate::state::{ConnectionState, ConnectionStatus, Life};
use crate::sync::{Mutex, MutexGuard, lock};

/// Where the driver posts how its connections are doing, for whoever looks, and whoever waits for a change.
#[derive(Debug, Default)]
pub(crate) struct Board {
    posted: Mutex<Posted>,
}

#[derive(Debug, Default)]
struct Posted {
    life: Life,
    /// By the connections' numbers, which are few.
    connections: BTreeMap<usize, Arc<ConnectionState>>,
    /// How often something has changed.
    revision: u64,
    /// Who waits for a change, by the numbers that they were given.
    wakers: BTreeMap<u64, Waker>,
    watchers: u64,
}

/// What is on the board at one time.
#[derive(Debug)]
pub(crate) struct Look {
    pub(crate) revision: u64,
    pub(crate) life: Life,
    pub(crate) connections: Vec<Arc<ConnectionState>>,
}

impl Board {
    /// Posts how a connection is doing, in the place of what was there of it.
    pub(crate) fn post(&self, link: LinkIndex, state: ConnectionState) {
        let mut posted = self.lock();
        let before = posted.connections.insert(link.index(), Arc::new(state));
        changed(posted);
        // Without the lock: the cause of a failure is of a type that others have written.
        drop(before);
    }

    /// Takes down a connection that is needed no more.
    pub(crate) fn take_down(&self, link: LinkIndex) {
        let mut posted = self.lock();
        let before = posted.connections.remove(&link.index());
        if before.is_some() {
            changed(posted);
        }
    }

    /// The client is being closed.
    pub(crate) fn begin_close(&self) {
        let mut posted = self.lock();
        if posted.life == Life::Running {
            posted.life = Life::Closing;
            changed(posted);
        }
    }

    /// The client has ended, and with it its connections.
    pub(crate) fn end(&self, now: Instant) {
        let mut posted = self.lock();
        posted.life = Life::Ended;
        let mut before = Vec::new();
        for state in posted.connections.values_mut() {
            if !matches!(
                state.status,
                ConnectionStatus::Closed | ConnectionStatus::GaveUp
            ) {
                let closed = ConnectionState {
                    status: ConnectionStatus::Closed,
                    since: now,
                    ..(**state).clone()
                };
                before.push(mem::replace(state, Arc::new(closed)));
            }
        }
        changed(posted);
    }

    pub(crate) fn look(&self) -> Look {
        self.lock().look()
    }

    /// A number for somebody who waits for changes.
    pub(crate) fn watcher(&self) -> u64 {
        let mut posted = self.lock();
        posted.watchers += 1;
        posted.watchers
    }

    /// What is on the board, once that is newer than what was `seen`; `None` if it never will be.
    pub(crate) fn poll_change(
        &self,
        cx: &Context<'_>,
        watcher: u64,
        seen: u64,
    ) -> Poll<Option<Look>> {
        let waker = cx.waker().clone();
        let mut posted = self.lock();
        if posted.revision != seen {
            let look = posted.look();
            drop(posted);
            return Poll::Ready(Some(look));
        }
        if posted.life == Life::Ended {
            drop(posted);
            return Poll::Ready(None);
        }
        let before = posted.wakers.insert(watcher, waker);
        drop(posted);
        // Without the lock: with it a task may go, and with that others that watch.
        drop(before);
        Poll::Pending
    }

    /// Somebody does not wait any more.
    pub(crate) fn forget(&self, watcher: u64) {
        let waker = self.lock().wakers.remove(&watcher);
        drop(waker);
    }

    fn lock(&self) -> MutexGuard<'_, Posted> {
        lock(&self.posted)
    }
}

impl Posted {
    fn look(&self) -> Look {
        Look {
            revision: self.revision,
            life: self.life,
            connections: self.connections.values().cloned().collect(),
        }
    }
}

/// Wakes all who wait, without the lock.
fn changed(mut posted: MutexGuard<'_, Posted>) {
    posted.revision += 1;
    let wakers = mem::take(&mut posted.wakers);
    drop(posted);
    wakers.into_values().for_each(Waker::wake);
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use std::sync::atomic::{AtomicUsize, Ordering};

    use super::*;
    use crate::sync::last::{self, in_time};

    fn is_pending(board: &Board, watcher: u64, seen: u64, waker: &Waker) -> bool {
        let cx = Context::from_waker(waker);
        board.poll_change(&cx, watcher, seen).is_pending()
    }

    #[test]
    fn a_task_goes_with_another_that_watches_the_same() {
        for way in ["another waker", "a change", "giving up"] {
            in_time(move || {
                let board = Arc::new(Board::default());
                let (watcher, other) = (board.watcher(), board.watcher());
                assert!(is_pending(&board, other, 0, Waker::noop()));
                let count = Arc::new(AtomicUsize::new(0));
                let waker = last::waker({
                    let (board, count) = (Arc::clone(&board), Arc::clone(&count));
                    move || {
                        board.forget(other);
                        count.fetch_add(1, Ordering::Relaxed);
                    }
                });
                assert!(is_pending(&board, watcher, 0, &waker));
                drop(waker);
                match way {
                    "another waker" => assert!(is_pending(&board, watcher, 0, Waker::noop())),
                    "a change" => board.begin_close(),
                    _ => board.forget(watcher),
                }
                assert_eq!(count.load(Ordering::Relaxed), 1, "{way}");
            });
        }
    }

    #[test]
    fn of_those_who_watch_no_more_nothing_is_left() {
        let board = Board::default();
        for _ in 0..100 {
            let watcher = board.watcher();
            assert!(is_pending(&board, watcher, 0, Waker::noop()));
            board.forget(watcher);
        }
        assert!(board.lock().wakers.is_empty());
    }
}
