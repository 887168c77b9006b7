//! Sockets and timers of the tokio runtime in which a driver is polled.
//!
//! A driver that shares its thread with others waits by the call with which they wait, and is woken
//! by no other thread.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_lite::{AsyncRead, AsyncWrite};
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::Sleep;

use super::sleeper::Sleeper;
use super::{Runtime, Task, TcpOptions, reset_when_closed};
use crate::transport::{Connecting, Transport};

/// The tokio runtime in which a driver is polled (feature `tokio`).
///
/// [`connect`](crate::ClientBuilder::connect) spawns the driver on the runtime that it is called in;
/// with [`build`](crate::ClientBuilder::build) that is yours to do, and can be done anywhere:
///
/// ```no_run
/// # use snowshoe::Client;
/// # async fn run() -> Result<(), snowshoe::Error> {
/// use snowshoe::runtime::Tokio;
///
/// let client = Client::builder("amqp://localhost")?.runtime(Tokio).connect().await?;
///
/// let (client, driver) = Client::builder("amqp://localhost")?.runtime(Tokio).build();
/// tokio::spawn(driver);
/// # Ok(()) }
/// ```
///
/// With the sockets and timers of async-io a driver works on tokio, too, but those have a thread of
/// their own, and a message that is waited for costs more system calls.
///
/// Where the driver is polled outside of a runtime, every attempt to connect fails, and its timers
/// are threads that sleep. A test that stops the time of the runtime has to reach its broker without
/// sockets, by a [`Connector`](crate::Connector) in memory: tokio lets the time jump while a socket is
/// waited for, and every timeout is over at once.
///
/// # Panics
/// The driver does, where the runtime has I/O or time not enabled, or has ended and the driver is
/// polled elsewhere.
#[derive(Clone, Copy, Debug, Default)]
pub struct Tokio;

impl Runtime for Tokio {
    /// The time of the runtime, which a test can stop; elsewhere that of the system.
    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }

    fn timer(&self) -> Box<dyn super::Timer> {
        Box::new(Timer::default())
    }

    fn connect(&self, address: SocketAddr, options: TcpOptions) -> Connecting {
        Box::pin(async move {
            current()?;
            let stream = TcpStream::connect(address).await?;
            options.apply(&stream)?;
            let transport: Box<dyn Transport> = Box::new(Socket(stream));
            Ok(transport)
        })
    }

    /// A runtime on one thread polls up to 61 spawned tasks before the future of its `block_on`, and a driver
    /// that wakes itself would have all of these turns: what it reads meanwhile is more than a consumer holds.
    fn give_way(&self, cx: &mut Context<'_>) {
        let yielding = pin!(tokio::task::yield_now());
        // It is asked once, so that it has the task woken after the others.
        _ = yielding.poll(cx);
    }

    fn spawn(&self, driver: Task) -> io::Result<()> {
        current()?.spawn(driver);
        Ok(())
    }
}

/// The runtime in which this is called.
///
/// # Errors
/// It is called in none.
fn current() -> io::Result<Handle> {
    Handle::try_current().map_err(|_| {
        io::Error::other(
            "the client is for tokio, but runs in no runtime of tokio's: connect, or spawn its driver, \
             within one",
        )
    })
}

/// A TCP stream. A read or write that came short is not tried again before there is more: tokio
/// itself sees to that where the system allows.
#[derive(Debug)]
struct Socket(TcpStream);

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(into);
        ready!(Pin::new(&mut self.0).poll_read(cx, &mut into))?;
        Poll::Ready(Ok(into.filled().len()))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_shutdown(cx)
    }
}

impl Transport for Socket {
    fn prepare_abort(&mut self) {
        reset_when_closed(&self.0);
    }
}

/// Goes off once each time that it is set.
#[derive(Debug, Default)]
enum Timer {
    /// It is not set, or has gone off.
    #[default]
    Unset,
    Sleep(Pin<Box<Sleep>>),
    /// It was set outside of a runtime.
    Outside(Sleeper),
}

impl super::Timer for Timer {
    fn set_at(&mut self, at: Instant) {
        // Made anew each time, which is rare: a driver that has moved is to use the runtime that
        // it is in.
        *self = if Handle::try_current().is_ok() {
            Self::Sleep(Box::pin(tokio::time::sleep_until(at.into())))
        } else {
            let mut sleeper = Sleeper::default();
            sleeper.set_at(at);
            Self::Outside(sleeper)
        };
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        match self {
            Self::Unset => return Poll::Pending,
            Self::Sleep(sleep) => ready!(sleep.as_mut().poll(cx)),
            Self::Outside(sleeper) => ready!(sleeper.poll(cx)),
        }
        *self = Self::Unset;
        Poll::Ready(())
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests;
