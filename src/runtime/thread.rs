//! A thread for one driver, with a reactor of its own.
//!
//! On somebody's executor the sockets are those of that executor, or `async-io`'s, which serves a
//! whole process from one place: a wait there costs six system calls, and may be another thread's. A
//! thread that serves one driver waits with a single call, and a socket is registered once for as
//! long as it lives.

mod local;
mod park;
mod socket;
mod timer;

use std::fmt;
use std::future::{Future, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::thread;
use std::time::{Duration, Instant};

use mio::Events;

pub use self::local::{Local, LocalRuntime};
use self::park::Park;
use self::socket::{Socket, Sources};
use self::timer::Timers;
use super::{Runtime, Task, TcpOptions};
use crate::sync::{Mutex, lock};
use crate::transport::{Connecting, Transport};

/// A thread for one driver, with sockets and timers of its own (feature `thread`).
///
/// [`Client::connect`](crate::Client::connect) takes one unless it is told otherwise: it needs no
/// executor, and a message that is waited for costs the fewest system calls. The thread starts with
/// the driver, and ends with it. It runs one that [`connect`](crate::ClientBuilder::connect) starts;
/// one that is polled anywhere else cannot connect by it.
///
/// ```no_run
/// # async fn run() -> Result<(), Box<dyn std::error::Error>> {
/// use snowshoe::runtime::Thread;
///
/// let client = snowshoe::Client::builder("amqp://localhost")?.runtime(Thread::new()?).connect().await?;
/// # Ok(()) }
/// ```
pub struct Thread {
    sources: Arc<Sources>,
    timers: Arc<Timers>,
    /// Until the thread is started.
    reactor: Mutex<Option<Reactor>>,
}

impl fmt::Debug for Thread {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Thread").finish_non_exhaustive()
    }
}

impl Thread {
    /// What the thread will run on. It is started for the driver.
    ///
    /// # Errors
    /// The system has no more descriptors.
    pub fn new() -> io::Result<Self> {
        let reactor = Reactor::new()?;
        Ok(Self {
            sources: Arc::clone(&reactor.sources),
            timers: Arc::clone(&reactor.timers),
            reactor: Mutex::new(Some(reactor)),
        })
    }

    /// Runs a test on this thread.
    #[cfg(all(test, not(snowshoe_loom)))]
    pub(super) fn block_on<F: Future>(&self, test: F) -> F::Output {
        let reactor = lock(&self.reactor).take().expect("it is not started");
        reactor.block_on(test).expect("it can wait")
    }
}

impl Runtime for Thread {
    fn timer(&self) -> Box<dyn super::Timer> {
        Box::new(timer::Timer::new(Arc::clone(&self.timers)))
    }

    fn connect(&self, address: SocketAddr, options: TcpOptions) -> Connecting {
        let elsewhere =
            "the driver is not polled by this thread: make the client by ClientBuilder::connect";
        connect(&self.sources, &self.timers, address, options, elsewhere)
    }

    fn spawn(&self, driver: Task) -> io::Result<()> {
        let reactor = lock(&self.reactor).take().ok_or_else(|| {
            let error = "this thread runs a driver already: each needs a Thread::new of its own";
            io::Error::new(io::ErrorKind::AlreadyExists, error)
        })?;
        let run = move || {
            if let Err(error) = reactor.block_on(driver) {
                log::error!("the driver's thread ends: {error}");
            }
        };
        thread::Builder::new()
            .name("snowshoe".to_owned())
            .spawn(run)?;
        Ok(())
    }
}

/// Connects, on the thread that serves these. Anywhere else it would wait for ever.
fn connect(
    sources: &Arc<Sources>,
    timers: &Timers,
    address: SocketAddr,
    options: TcpOptions,
    elsewhere: &'static str,
) -> Connecting {
    if !timers.are_served_here() {
        let error = io::Error::new(io::ErrorKind::Unsupported, elsewhere);
        return Box::pin(ready(Err(error)));
    }
    let sources = Arc::clone(sources);
    Box::pin(async move {
        let socket = Socket::connect(sources, address).await?;
        options.apply(&socket)?;
        let transport: Box<dyn Transport> = Box::new(socket);
        Ok(transport)
    })
}

struct Reactor {
    poll: mio::Poll,
    events: Events,
    park: Arc<Park>,
    sources: Arc<Sources>,
    timers: Arc<Timers>,
}

impl Reactor {
    fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), socket::WAKE)?;
        Ok(Self {
            sources: Arc::new(Sources::new(poll.registry().try_clone()?)),
            timers: Arc::default(),
            poll,
            events: Events::with_capacity(EVENTS),
            park: Arc::new(Park::new(waker)),
        })
    }

    /// Runs a future on this thread until it completes.
    ///
    /// # Errors
    /// The system does not let it wait. The future is dropped.
    fn block_on<F: Future>(mut self, future: F) -> io::Result<F::Output> {
        self.timers.are_served_by(Some(thread::current().id()));
        let waker = Waker::from(Arc::clone(&self.park));
        let cx = &mut Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            self.park.run();
            if let Poll::Ready(output) = future.as_mut().poll(cx) {
                return Ok(output);
            }
            self.wait()?;
        }
    }

    /// Waits until there is something to do.
    fn wait(&mut self) -> io::Result<()> {
        let now = Instant::now();
        // Those that are woken here keep it awake.
        let first = self.timers.wake_due(now);
        let timeout = if self.park.sleep() {
            first.map(|at| at.saturating_duration_since(now))
        } else {
            // It is wanted already; sockets have their turn all the same.
            Some(Duration::ZERO)
        };
        let waited = self.poll.poll(&mut self.events, timeout);
        // Whoever is woken from here on is woken by this thread, which need not wake itself.
        self.park.run();
        match waited {
            // A signal is a reason to look, and no error.
            Err(error) if error.kind() != io::ErrorKind::Interrupted => return Err(error),
            _ => {}
        }
        if !self.events.is_empty()
            && self
                .events
                .iter()
                .all(|event| event.token() == socket::WAKE)
        {
            // Whoever rang may have more to say, or is about to wait. If it shares the processor it
            // goes first: what it says is taken all at once then, and it need not be switched to
            // once more only to find that it has to wait.
            thread::yield_now();
        }
        for event in &self.events {
            self.sources.happened(event);
        }
        if self.events.is_empty() {
            // As a rule it has waited for the first of them. Otherwise the clock is looked at before the next wait.
            self.timers.wake_due(Instant::now());
        }
        Ok(())
    }
}

/// How many events are taken at once. A driver has few sockets, and what does not fit waits.
const EVENTS: usize = 32;

#[cfg(all(test, not(snowshoe_loom)))]
mod tests;
