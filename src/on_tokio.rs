//! Sockets and timers of the tokio runtime in which a driver is polled.
//!
//! A driver that shares its thread with others waits by the call with which they wait, and is woken
//! by no other thread.

use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Instant;

use futures_lite::{AsyncRead, AsyncWrite};
use socket2::SockRef;
use tokio::io::{AsyncRead as _, AsyncWrite as _, ReadBuf};
use tokio::net::TcpStream;
use tokio::runtime::Handle;
use tokio::time::Sleep;

use crate::transport::{Transport, reset_when_closed};

/// The runtime in which this is called.
///
/// # Errors
/// It is called in none.
pub(crate) fn runtime() -> io::Result<Handle> {
    Handle::try_current().map_err(|_| {
        io::Error::other("the client is for tokio, but its driver runs in no runtime of tokio's")
    })
}

/// The time of the runtime, which a test can stop; elsewhere that of the system.
pub(crate) fn now() -> Instant {
    tokio::time::Instant::now().into_std()
}

/// A TCP stream. A read or write that came short is not tried again before there is more: tokio
/// itself sees to that where the system allows.
#[derive(Debug)]
pub(crate) struct Socket(TcpStream);

impl Socket {
    /// # Errors
    /// There is no runtime, or no connection.
    pub(crate) async fn connect(address: SocketAddr) -> io::Result<Self> {
        runtime()?;
        TcpStream::connect(address).await.map(Self)
    }

    /// The system's stream, to set its options.
    pub(crate) fn options(&self) -> SockRef<'_> {
        SockRef::from(&self.0)
    }
}

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
        reset_when_closed(&self.options());
    }
}

/// Goes off once each time that it is set.
#[derive(Debug, Default)]
pub(crate) enum Timer {
    /// It is not set, or has gone off.
    #[default]
    Unset,
    Sleep(Pin<Box<Sleep>>),
    /// It was set outside of a runtime: what waits there, such as the next attempt to connect, is
    /// to go on.
    Outside(async_io::Timer),
}

impl Timer {
    pub(crate) fn set_at(&mut self, at: Instant) {
        // Made anew each time, which is rare: a driver that has moved is to use the runtime that
        // it is in.
        *self = if Handle::try_current().is_ok() {
            Self::Sleep(Box::pin(tokio::time::sleep_until(at.into())))
        } else {
            Self::Outside(async_io::Timer::at(at))
        };
    }

    /// Ready once it goes off; otherwise `cx` is woken when it does.
    pub(crate) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Instant> {
        let at = match self {
            Self::Unset => return Poll::Pending,
            Self::Sleep(sleep) => {
                ready!(sleep.as_mut().poll(cx));
                sleep.deadline().into_std()
            }
            Self::Outside(timer) => ready!(Pin::new(timer).poll(cx)),
        };
        *self = Self::Unset;
        Poll::Ready(at)
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests;
