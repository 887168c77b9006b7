//! Where a driver runs: its time, its timers and its sockets.
//!
//! A [`Driver`](crate::Driver) is a future that any executor can poll. What it needs beside that is
//! a [`Runtime`]: the time, timers, and TCP streams. There are four, each with a feature of its own,
//! and you can write a fifth:
//!
//! | runtime | feature | for |
//! |---|---|---|
//! | `Thread` | `thread` (on by default) | a thread of the client's own, which no executor is needed for |
//! | `LocalRuntime` | `thread` (on by default) | the thread of a program without an executor, which `Local` runs |
//! | `AsyncIo` | `async-io` (on by default) | drivers on any executor: smol, async-std, tokio, … |
//! | `Tokio` | `tokio` | drivers on tokio, with its sockets and timers |
//! | `testing::Clock` | `testing` | tests in virtual time |
//!
//! Unless [`ClientBuilder::runtime`](crate::ClientBuilder::runtime) names one,
//! [`connect`](crate::ClientBuilder::connect) takes the first of the features that are on, in this
//! order, and [`build`](crate::ClientBuilder::build), whose driver you spawn yourself, the first but
//! `Thread`. With `default-features = false, features = ["tokio"]` that is tokio in both cases, and
//! nothing of the others is compiled.
//!
//! The example `own_runtime` in the repository has one of its own, over nothing but the standard
//! library's sockets.

#[cfg(feature = "async-io")]
mod async_io;
mod blocking;
#[cfg(any(feature = "thread", feature = "tokio", not(feature = "async-io")))]
mod sleeper;
#[cfg(feature = "thread")]
mod thread;
#[cfg(feature = "tokio")]
mod tokio;

use std::fmt;
use std::future::Future;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant, SystemTime};

use snowshoe_codec::time::seconds_rounded_up;
use socket2::{SockRef, TcpKeepalive};

#[cfg(feature = "async-io")]
pub use self::async_io::AsyncIo;
#[cfg(feature = "tls-no-provider")]
pub(crate) use self::blocking::on_thread;
use self::blocking::{Patience, Threads};
#[cfg(feature = "thread")]
pub use self::thread::{Local, LocalRuntime, Thread};
#[cfg(feature = "tokio")]
pub use self::tokio::Tokio;
use crate::transport::Connecting;

/// What a driver needs of the place where it runs.
///
/// [`connect`](Self::connect) and [`resolve`](Self::resolve) are called within the driver, so that a
/// runtime which only the thread that polls knows of can be found there. [`now`](Self::now) and
/// [`timer`](Self::timer) are called where the client is built, too, and [`spawn`](Self::spawn) there
/// alone.
pub trait Runtime: fmt::Debug + Send + Sync + 'static {
    /// The present. The system's clock by default; a runtime whose timers go by another one has to
    /// give that.
    fn now(&self) -> Instant {
        Instant::now()
    }

    /// The time of day. The system's by default. What is to be told to a broker by the time of day goes by
    /// it, and nothing else.
    fn time_of_day(&self) -> SystemTime {
        SystemTime::now()
    }

    /// A timer that never goes off until it is set.
    fn timer(&self) -> Box<dyn Timer>;

    /// Connects by TCP. The stream is to have these [options](TcpOptions::apply), and, as a
    /// [transport](crate::Transport), to reset where it is [told to](crate::Transport::prepare_abort).
    ///
    /// The future is dropped where the attempt takes too long.
    fn connect(&self, address: SocketAddr, options: TcpOptions) -> Connecting;

    /// The addresses of a host name. By default the system is asked, which blocks, on a thread that
    /// lives as long as that takes. Whoever asks for the same meanwhile gets that answer. Of these
    /// threads a process has 16 at most; where all of them are busy for a second, it fails.
    fn resolve(&self, host: &str, port: u16) -> Resolving {
        let (name, patience) = ((host.to_owned(), port), Patience::of(self));
        let look_up = |(host, port): &(String, u16)| {
            let addresses = (host.as_str(), *port).to_socket_addrs()?;
            Ok(addresses.collect())
        };
        Box::pin(Threads::of_the_process().resolve(name, patience, look_up))
    }

    /// Has the task that `cx` is of polled again after others had their turn. A driver with much to do calls
    /// it now and then. The task is woken by default, which is enough where an executor takes its tasks in
    /// turn; one that prefers those that were woken has to see to it here.
    fn give_way(&self, cx: &mut Context<'_>) {
        cx.waker().wake_by_ref();
    }

    /// Starts the driver of a client that is made by [`connect`](crate::ClientBuilder::connect). A
    /// runtime that cannot do so is for those who spawn drivers themselves, and the default says that.
    ///
    /// # Errors
    /// It cannot be started here, or not now.
    fn spawn(&self, driver: Task) -> io::Result<()> {
        drop(driver);
        Err(io::Error::new(
            io::ErrorKind::Unsupported,
            "this runtime starts no drivers: make the client by ClientBuilder::build, and spawn its \
             driver yourself",
        ))
    }
}

/// A timer of a [`Runtime`].
pub trait Timer: Send + 'static {
    /// Sets when it goes off next. Whoever waits for it polls it again after this.
    fn set_at(&mut self, at: Instant);

    /// Ready when its time has come, once each time that it is set; otherwise `cx` is woken then.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()>;
}

/// A driver, as a [`Runtime`] is to start it.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The future of a look-up of addresses.
pub type Resolving = Pin<Box<dyn Future<Output = io::Result<Vec<SocketAddr>>> + Send>>;

impl<R: Runtime + ?Sized> Runtime for Arc<R> {
    fn now(&self) -> Instant {
        (**self).now()
    }

    fn time_of_day(&self) -> SystemTime {
        (**self).time_of_day()
    }

    fn timer(&self) -> Box<dyn Timer> {
        (**self).timer()
    }

    fn connect(&self, address: SocketAddr, options: TcpOptions) -> Connecting {
        (**self).connect(address, options)
    }

    fn resolve(&self, host: &str, port: u16) -> Resolving {
        (**self).resolve(host, port)
    }

    fn give_way(&self, cx: &mut Context<'_>) {
        (**self).give_way(cx);
    }

    fn spawn(&self, driver: Task) -> io::Result<()> {
        (**self).spawn(driver)
    }
}

/// What a TCP stream to a broker is to be like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct TcpOptions {
    /// How long a connection is idle before the first keep-alive probe, and the time between probes, in
    /// whole seconds (a fraction counts as one); zero is no keep-alive. 30 s by default.
    pub keepalive: Duration,
}

impl Default for TcpOptions {
    fn default() -> Self {
        Self::new(Duration::from_secs(30))
    }
}

impl TcpOptions {
    /// Options with this keep-alive.
    pub const fn new(keepalive: Duration) -> Self {
        Self { keepalive }
    }

    /// Sets them on a socket that is connected: keep-alive, and no delay for small writes
    /// (`TCP_NODELAY`).
    ///
    /// # Errors
    /// The system refuses one of them.
    #[cfg(unix)]
    pub fn apply(&self, socket: &impl std::os::fd::AsFd) -> io::Result<()> {
        self.apply_to(SockRef::from(socket))
    }

    /// Sets them on a socket that is connected: keep-alive, and no delay for small writes
    /// (`TCP_NODELAY`).
    ///
    /// # Errors
    /// The system refuses one of them.
    #[cfg(windows)]
    pub fn apply(&self, socket: &impl std::os::windows::io::AsSocket) -> io::Result<()> {
        self.apply_to(SockRef::from(socket))
    }

    fn apply_to(&self, socket: SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        if self.keepalive.is_zero() {
            return socket.set_keepalive(false);
        }
        // Systems count in seconds, and Linux takes 1 to 32,767 of them (tcp(7)).
        let seconds = seconds_rounded_up(self.keepalive).min(32_767);
        let time = Duration::from_secs(seconds);
        let keepalive = TcpKeepalive::new().with_time(time).with_interval(time);
        socket.set_tcp_keepalive(&keepalive)
    }
}

/// Has a socket end with a reset when it is closed: what a
/// [transport](crate::Transport::prepare_abort) over TCP does to abort. Where the system does not
/// let it, an orderly end must do.
#[cfg(unix)]
pub fn reset_when_closed(socket: &impl std::os::fd::AsFd) {
    linger_for_nothing(SockRef::from(socket));
}

/// Has a socket end with a reset when it is closed: what a
/// [transport](crate::Transport::prepare_abort) over TCP does to abort. Where the system does not
/// let it, an orderly end must do.
#[cfg(windows)]
pub fn reset_when_closed(socket: &impl std::os::windows::io::AsSocket) {
    linger_for_nothing(SockRef::from(socket));
}

/// With nothing to linger for, closing resets.
fn linger_for_nothing(socket: SockRef<'_>) {
    _ = socket.set_linger(Some(Duration::ZERO));
}

/// Where a driver runs that a client starts for itself.
///
/// # Errors
/// The system does not let it be made.
pub(crate) fn default_for_connect() -> io::Result<Arc<dyn Runtime>> {
    #[cfg(feature = "thread")]
    return Ok(Arc::new(Thread::new()?));
    #[cfg(not(feature = "thread"))]
    return Ok(default_for_build());
}

/// Where a driver runs that somebody's executor polls.
pub(crate) fn default_for_build() -> Arc<dyn Runtime> {
    #[cfg(feature = "async-io")]
    return Arc::new(AsyncIo);
    #[cfg(all(feature = "tokio", not(feature = "async-io")))]
    return Arc::new(Tokio);
    #[cfg(not(any(feature = "tokio", feature = "async-io")))]
    return Arc::new(nowhere::Nowhere);
}

/// What is left where no feature has brought a runtime.
#[cfg(not(any(feature = "tokio", feature = "async-io")))]
mod nowhere {
    use std::future::ready;
    use std::io;
    use std::net::SocketAddr;

    use super::sleeper::Sleeper;
    use super::{Runtime, Task, TcpOptions, Timer};
    use crate::transport::Connecting;

    /// Nothing can run here, and whoever tries is told what to do.
    #[derive(Debug)]
    pub(super) struct Nowhere;

    impl Runtime for Nowhere {
        fn timer(&self) -> Box<dyn Timer> {
            Box::new(Sleeper::default())
        }

        fn connect(&self, _: SocketAddr, _: TcpOptions) -> Connecting {
            Box::pin(ready(Err(no_runtime())))
        }

        fn spawn(&self, _: Task) -> io::Result<()> {
            Err(no_runtime())
        }
    }

    fn no_runtime() -> io::Error {
        let error = "snowshoe has no runtime for this: turn on one of its features async-io, tokio and, for \
                     ClientBuilder::connect, thread, or give one by ClientBuilder::runtime";
        io::Error::new(io::ErrorKind::Unsupported, error)
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests;
