//! The reactor of a driver that has a thread of its own.
//!
//! On somebody's executor the sockets are `async-io`'s, which serves a whole process from one place:
//! a wait there costs six system calls, and may be another thread's. A thread that serves one driver
//! waits with a single call, and a socket is registered once for as long as it lives.

mod park;
mod socket;
mod timer;

use std::cell::RefCell;
use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use mio::{Events, Registry, Token};
use slab::Slab;

use self::park::Park;
pub(crate) use self::socket::Socket;
use self::socket::Source;
pub(crate) use self::timer::Timer;
use self::timer::Timers;
use crate::shared::lock;
use crate::sync::Mutex;

pub(crate) struct Reactor {
    poll: mio::Poll,
    events: Events,
    park: Arc<Park>,
    handle: Handle,
}

/// What sockets and timers know of their reactor.
#[derive(Clone, Debug)]
pub(crate) struct Handle(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    registry: Registry,
    /// By their tokens.
    sources: Mutex<Slab<Arc<Source>>>,
    timers: Mutex<Timers>,
}

impl Reactor {
    /// # Errors
    /// The system has no more descriptors.
    pub(crate) fn new() -> io::Result<Self> {
        let poll = mio::Poll::new()?;
        let waker = mio::Waker::new(poll.registry(), WAKE)?;
        let handle = Handle(Arc::new(Inner {
            registry: poll.registry().try_clone()?,
            sources: Mutex::default(),
            timers: Mutex::default(),
        }));
        Ok(Self {
            poll,
            events: Events::with_capacity(EVENTS),
            park: Arc::new(Park::new(waker)),
            handle,
        })
    }

    pub(crate) fn handle(&self) -> Handle {
        self.handle.clone()
    }

    /// Runs a future on this thread until it completes. What connects in it does so through this
    /// reactor.
    ///
    /// # Errors
    /// The system does not let it wait. The future is dropped.
    pub(crate) fn block_on<F: Future>(mut self, future: F) -> io::Result<F::Output> {
        CURRENT.set(Some(self.handle()));
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
        let timeout = if self.park.sleep() {
            let first = lock(&self.handle.0.timers).first();
            first.map(|at| at.saturating_duration_since(Instant::now()))
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
        if !self.events.is_empty() && self.events.iter().all(|event| event.token() == WAKE) {
            // Whoever rang may have more to say, or is about to wait. If it shares the processor it
            // goes first: what it says is taken all at once then, and it need not be switched to
            // once more only to find that it has to wait.
            std::thread::yield_now();
        }
        for event in &self.events {
            let source = lock(&self.handle.0.sources)
                .get(event.token().0)
                .map(Arc::clone);
            // It may be gone by now, and the waker's token is nobody's.
            if let Some(source) = source {
                source.happened(event);
            }
        }
        let due = lock(&self.handle.0.timers).take_due(Instant::now());
        due.into_iter().for_each(Waker::wake);
        Ok(())
    }
}

impl Handle {
    /// That of the reactor whose thread this is.
    pub(crate) fn current() -> Option<Self> {
        CURRENT.with_borrow(Clone::clone)
    }

    /// Connects by TCP.
    pub(crate) async fn connect(self, address: SocketAddr) -> io::Result<Socket> {
        Socket::connect(self, address).await
    }

    /// A timer that never goes off until it is set.
    pub(crate) fn timer(&self) -> Timer {
        Timer::new(self.clone())
    }
}

thread_local! {
    static CURRENT: RefCell<Option<Handle>> = const { RefCell::new(None) };
}

/// No source has it: a process does not have as many descriptors.
const WAKE: Token = Token(usize::MAX);

/// How many events are taken at once. A driver has few sockets, and what does not fit waits.
const EVENTS: usize = 32;

#[cfg(all(test, not(snowshoe_loom)))]
mod tests;
