//! Tasks on one thread, in an order that a seed decides.

use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Wake, Waker};
use std::time::Instant;

use super::Clock;
use crate::sync::{Mutex, lock};

/// Runs tasks on the thread that asks for it, in virtual time.
///
/// Which of the tasks that can go on is polled next is left to chance, which comes from a seed: so a
/// seed is a run, to the last wake. Time passes only when no task can go on, and then jumps to the
/// next timer.
///
/// ```
/// use std::time::Duration;
/// use snowshoe::testing::{Clock, Executor};
///
/// let clock = Clock::new();
/// let mut executor = Executor::new(clock.clone(), 1);
/// let slept = executor.run({
///     let clock = clock.clone();
///     async move {
///         let before = clock.now();
///         clock.sleep(Duration::from_secs(3600)).await;
///         clock.now() - before
///     }
/// });
/// assert_eq!(slept, Some(Duration::from_secs(3600)));
/// ```
pub struct Executor {
    clock: Clock,
    random: fastrand::Rng,
    tasks: BTreeMap<TaskId, Task>,
    next_id: u64,
    ready: Arc<Ready>,
    spawned: Spawner,
}

/// Adds tasks to an [`Executor`], from within its tasks.
#[derive(Clone, Default)]
pub struct Spawner(Rc<RefCell<VecDeque<TaskFuture>>>);

type TaskFuture = Pin<Box<dyn Future<Output = ()>>>;

impl fmt::Debug for Spawner {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Spawner").finish_non_exhaustive()
    }
}

impl Spawner {
    /// Adds a task, which can go on at once.
    pub fn spawn(&self, future: impl Future<Output = ()> + 'static) {
        self.0.borrow_mut().push_back(Box::pin(future));
    }
}

/// A task of an [`Executor`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TaskId(u64);

struct Task {
    future: TaskFuture,
    waker: Waker,
}

impl fmt::Debug for Executor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Executor")
            .field("tasks", &self.tasks.len())
            .finish_non_exhaustive()
    }
}

impl Executor {
    /// An executor without tasks.
    pub fn new(clock: Clock, seed: u64) -> Self {
        Self {
            clock,
            random: fastrand::Rng::with_seed(seed),
            tasks: BTreeMap::new(),
            next_id: 0,
            ready: Arc::default(),
            spawned: Spawner::default(),
        }
    }

    /// Adds a task, which can go on at once.
    pub fn spawn(&mut self, future: impl Future<Output = ()> + 'static) -> TaskId {
        self.add(Box::pin(future))
    }

    /// For tasks that begin others.
    pub fn spawner(&self) -> Spawner {
        self.spawned.clone()
    }

    /// How many tasks have not come to their end.
    pub fn tasks(&self) -> usize {
        self.tasks.len() + self.spawned.0.borrow().len()
    }

    fn add(&mut self, future: TaskFuture) -> TaskId {
        let id = TaskId(self.next_id);
        self.next_id += 1;
        let task = Task {
            future,
            waker: Waker::from(Arc::new(TaskWaker {
                id,
                ready: Arc::clone(&self.ready),
            })),
        };
        self.tasks.insert(id, task);
        self.ready.push(id);
        id
    }

    /// Drops a task wherever it stands. Whether it had not come to its end.
    pub fn cancel(&mut self, id: TaskId) -> bool {
        self.tasks.remove(&id).is_some()
    }

    /// Whether a task has come to its end, or was cancelled.
    pub fn is_finished(&self, id: TaskId) -> bool {
        !self.tasks.contains_key(&id)
    }

    /// Polls one of the tasks that can go on. Whether there was any.
    pub fn step(&mut self) -> bool {
        let spawned = std::mem::take(&mut *self.spawned.0.borrow_mut());
        for future in spawned {
            self.add(future);
        }
        while let Some(id) = self.ready.take(&mut self.random) {
            // It may have been cancelled.
            let Some(task) = self.tasks.get_mut(&id) else {
                continue;
            };
            let poll = task
                .future
                .as_mut()
                .poll(&mut Context::from_waker(&task.waker));
            if poll.is_ready() {
                self.tasks.remove(&id);
            }
            return true;
        }
        false
    }

    /// Lets time pass until the next timer, but not beyond `limit`. Whether there was one to
    /// go off by then.
    pub fn pass_time(&mut self, limit: Instant) -> bool {
        let next = self.clock.next_timer();
        let due = next.is_some_and(|at| at <= limit);
        self.clock.advance_to(next.filter(|_| due).unwrap_or(limit));
        due
    }

    /// Runs all tasks until this one has its result; `None` if it never will, because no task can go
    /// on and no timer is set.
    pub fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> Option<T> {
        let result = Arc::new(Mutex::new(None));
        let slot = Arc::clone(&result);
        let id = self.spawn(async move {
            let value = future.await;
            *lock(&slot) = Some(value);
        });
        while !self.is_finished(id) {
            if !self.step() {
                let next = self.clock.next_timer()?;
                self.clock.advance_to(next);
            }
        }
        lock(&result).take()
    }
}

/// The tasks that can go on. In their order, so that it does not matter in which they were woken.
#[derive(Debug, Default)]
struct Ready(Mutex<BTreeSet<TaskId>>);

impl Ready {
    fn push(&self, id: TaskId) {
        lock(&self.0).insert(id);
    }

    fn take(&self, random: &mut fastrand::Rng) -> Option<TaskId> {
        let mut ready = lock(&self.0);
        let index = match ready.len() {
            0 => return None,
            1 => 0,
            many => random.usize(..many),
        };
        let id = *ready.iter().nth(index)?;
        ready.remove(&id);
        Some(id)
    }
}

struct TaskWaker {
    id: TaskId,
    ready: Arc<Ready>,
}

impl Wake for TaskWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.ready.push(self.id);
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use futures_lite::future::yield_now;

    use super::*;

    fn order(seed: u64) -> Vec<usize> {
        let mut executor = Executor::new(Clock::new(), seed);
        let order = Rc::new(RefCell::new(Vec::new()));
        for index in 0..8 {
            let order = Rc::clone(&order);
            executor.spawn(async move {
                yield_now().await;
                order.borrow_mut().push(index);
            });
        }
        while executor.step() {}
        order.take()
    }

    #[test]
    fn a_seed_is_an_order() {
        assert_eq!(order(1), order(1));
        assert_ne!(order(1), order(2));
    }

    #[test]
    fn time_passes_only_when_nobody_can_go_on() {
        let clock = Clock::new();
        let mut executor = Executor::new(clock.clone(), 1);
        let start = clock.now();
        let sleeper = clock.clone();
        executor.spawn(async move { sleeper.sleep(Duration::from_secs(1)).await });
        let busy = clock.clone();
        let seen = executor.run(async move {
            for _ in 0..100 {
                yield_now().await;
            }
            busy.now()
        });
        assert_eq!(seen, Some(start));
    }

    #[test]
    fn what_waits_for_nothing_is_found_out() {
        let mut executor = Executor::new(Clock::new(), 1);
        assert_eq!(executor.run(std::future::pending::<()>()), None);
    }
}
