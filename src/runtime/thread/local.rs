//! Programs without an executor, together with the drivers of their clients, on one thread.

use std::fmt;
use std::future::Future;
use std::io;
use std::mem;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread;

use super::park::Park;
use super::socket::Sources;
use super::timer::Timers;
use super::{Reactor, connect, timer};
use crate::runtime::{Runtime, Task, TcpOptions, Timer};
use crate::sync::{AtomicBool, Mutex, Ordering, lock};
use crate::transport::Connecting;

/// Runs a program that has no executor, and the drivers of its clients with it, on the calling thread (feature
/// `thread`).
///
/// Nothing goes from thread to thread, so that whoever waits for each message before the next one waits least
/// here, and least of all on a [single connection](crate::ClientBuilder::single_connection). In return the client
/// goes on only while the program waits: one that works for long between two messages lets it miss its
/// heartbeats, and is better served by [`Client::connect`](crate::Client::connect), which needs no executor
/// either.
///
/// ```no_run
/// use snowshoe::Client;
/// use snowshoe::runtime::Local;
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut local = Local::new()?;
/// let builder = Client::builder("amqp://localhost")?.runtime(local.runtime());
/// local.block_on(async {
///     let client = builder.connect().await?;
///     client.producer("orders")?.build().send("one").await?;
///     client.close().await;
///     Ok(())
/// })?
/// # }
/// ```
pub struct Local {
    reactor: Reactor,
    spawned: Arc<Spawned>,
    drivers: Vec<Driver>,
}

/// The runtime of the clients of a [`Local`].
#[derive(Clone)]
pub struct LocalRuntime {
    sources: Arc<Sources>,
    timers: Arc<Timers>,
    spawned: Arc<Spawned>,
}

/// Drivers that are to be started.
struct Spawned {
    /// `None` once there is nobody to run them.
    drivers: Mutex<Option<Vec<Task>>>,
    /// Whether there are any, to be looked at without the lock.
    are_there: AtomicBool,
    park: Arc<Park>,
}

struct Driver {
    task: Task,
    wanted: Arc<Wanted>,
    waker: Waker,
}

/// Whether a task was woken.
struct Wanted {
    is_wanted: AtomicBool,
    park: Arc<Park>,
}

/// After how many rounds in a row the sockets have their turn although there is more to do.
const ROUNDS: u32 = 61;

impl Local {
    /// # Errors
    /// The system has no more descriptors.
    pub fn new() -> io::Result<Self> {
        let reactor = Reactor::new()?;
        let spawned = Arc::new(Spawned {
            drivers: Mutex::new(Some(Vec::new())),
            are_there: AtomicBool::new(false),
            park: Arc::clone(&reactor.park),
        });
        Ok(Self {
            reactor,
            spawned,
            drivers: Vec::new(),
        })
    }

    /// What the clients of the program run on, see [`ClientBuilder::runtime`](crate::ClientBuilder::runtime).
    /// They can be made anywhere, and connect while [`block_on`](Self::block_on) runs.
    pub fn runtime(&self) -> LocalRuntime {
        LocalRuntime {
            sources: Arc::clone(&self.reactor.sources),
            timers: Arc::clone(&self.reactor.timers),
            spawned: Arc::clone(&self.spawned),
        }
    }

    /// Runs a program to its end. Its clients stop with it: those that are not closed go on with the next
    /// program, or end when this is dropped.
    ///
    /// # Errors
    /// The system does not let it wait.
    pub fn block_on<F: Future>(&mut self, program: F) -> io::Result<F::Output> {
        let _here = Here::begin(&self.reactor.timers);
        let mut program = pin!(program);
        let wanted = Wanted::new(&self.reactor.park);
        let waker = Waker::from(Arc::clone(&wanted));
        let mut rounds = 0;
        loop {
            // Whoever is woken from here on has a round after this one, if not its turn in it.
            self.reactor.park.run();
            if take(&self.spawned.are_there) {
                self.start_drivers();
            }
            // Before the program: what they have for it, it has in the same round.
            self.drivers
                .retain_mut(|driver| !driver.wanted.take() || driver.go_on().is_pending());
            if wanted.take() {
                let cx = &mut Context::from_waker(&waker);
                if let Poll::Ready(output) = program.as_mut().poll(cx) {
                    return Ok(output);
                }
            }
            rounds += 1;
            if !self.reactor.park.is_woken() || rounds == ROUNDS {
                rounds = 0;
                self.reactor.wait()?;
            }
        }
    }

    fn start_drivers(&mut self) {
        let spawned = match &mut *lock(&self.spawned.drivers) {
            Some(spawned) if !spawned.is_empty() => mem::take(spawned),
            _ => return,
        };
        let park = &self.reactor.park;
        let drivers = spawned.into_iter().map(|task| Driver::new(task, park));
        self.drivers.extend(drivers);
    }
}

impl Drop for Local {
    fn drop(&mut self) {
        let spawned = lock(&self.spawned.drivers).take();
        // Without the lock: with a driver goes what its users have given it.
        drop(spawned);
    }
}

/// While it is there, sockets and timers are served on this thread.
struct Here(Arc<Timers>);

impl Here {
    fn begin(timers: &Arc<Timers>) -> Self {
        timers.are_served_by(Some(thread::current().id()));
        Self(Arc::clone(timers))
    }
}

impl Drop for Here {
    fn drop(&mut self) {
        self.0.are_served_by(None);
    }
}

impl fmt::Debug for Local {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Local").finish_non_exhaustive()
    }
}

impl Driver {
    fn new(task: Task, park: &Arc<Park>) -> Self {
        let wanted = Wanted::new(park);
        let waker = Waker::from(Arc::clone(&wanted));
        Self {
            task,
            wanted,
            waker,
        }
    }

    fn go_on(&mut self) -> Poll<()> {
        let cx = &mut Context::from_waker(&self.waker);
        self.task.as_mut().poll(cx)
    }
}

impl Wanted {
    /// Who begins is wanted.
    fn new(park: &Arc<Park>) -> Arc<Self> {
        Arc::new(Self {
            is_wanted: AtomicBool::new(true),
            park: Arc::clone(park),
        })
    }

    fn take(&self) -> bool {
        // Who is woken after this look keeps the thread from falling asleep.
        take(&self.is_wanted)
    }
}

/// Whether it is so, which is seen to with that. As a rule it is not.
fn take(flag: &AtomicBool) -> bool {
    flag.load(Ordering::Acquire) && flag.swap(false, Ordering::AcqRel)
}

impl Wake for Wanted {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_wanted.store(true, Ordering::Release);
        self.park.wake_by_ref();
    }
}

impl Runtime for LocalRuntime {
    fn timer(&self) -> Box<dyn Timer> {
        Box::new(timer::Timer::new(Arc::clone(&self.timers)))
    }

    fn connect(&self, address: SocketAddr, options: TcpOptions) -> Connecting {
        let elsewhere = "the driver is not polled by Local::block_on";
        connect(&self.sources, &self.timers, address, options, elsewhere)
    }

    fn spawn(&self, driver: Task) -> io::Result<()> {
        let mut drivers = lock(&self.spawned.drivers);
        if let Some(drivers) = &mut *drivers {
            drivers.push(driver);
        } else {
            drop(drivers);
            // Without the lock, as above.
            drop(driver);
            let error = "the Local that this runtime is of was dropped";
            return Err(io::Error::new(io::ErrorKind::NotConnected, error));
        }
        drop(drivers);
        self.spawned.are_there.store(true, Ordering::Release);
        self.spawned.park.wake_by_ref();
        Ok(())
    }
}

impl fmt::Debug for LocalRuntime {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LocalRuntime").finish_non_exhaustive()
    }
}
