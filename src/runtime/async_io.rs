//! Sockets and timers of async-io.

use std::io::{self, IoSlice};
use std::net::{SocketAddr, TcpStream};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Instant;

use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite};

use super::{Runtime, Task, TcpOptions, reset_when_closed};
use crate::transport::{Connecting, Transport};

/// Sockets and timers that work wherever a driver is polled, on any executor (feature `async-io`).
///
/// One thread of async-io's serves the whole process.
///
/// ```no_run
/// # fn main() -> Result<(), snowshoe::Error> {
/// use snowshoe::runtime::AsyncIo;
///
/// let (client, driver) = snowshoe::Client::builder("amqp://localhost")?.runtime(AsyncIo).build();
/// std::thread::spawn(|| async_io::block_on(driver)); // or smol::spawn, …
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default)]
pub struct AsyncIo;

impl Runtime for AsyncIo {
    fn timer(&self) -> Box<dyn super::Timer> {
        Box::new(Timer(async_io::Timer::never()))
    }

    fn connect(&self, address: SocketAddr, options: TcpOptions) -> Connecting {
        Box::pin(async move {
            let stream = Async::<TcpStream>::connect(address).await?;
            options.apply(&stream)?;
            let transport: Box<dyn Transport> = Box::new(Socket(stream));
            Ok(transport)
        })
    }

    /// On a thread of its own.
    fn spawn(&self, driver: Task) -> io::Result<()> {
        std::thread::Builder::new()
            .name("snowshoe".to_owned())
            .spawn(|| async_io::block_on(driver))?;
        Ok(())
    }
}

struct Timer(async_io::Timer);

impl super::Timer for Timer {
    fn set_at(&mut self, at: Instant) {
        self.0.set_at(at);
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        Future::poll(Pin::new(&mut self.0), cx).map(|_| ())
    }
}

struct Socket(Async<TcpStream>);

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, into)
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
        Pin::new(&mut self.0).poll_close(cx)
    }
}

impl Transport for Socket {
    fn prepare_abort(&mut self) {
        reset_when_closed(&self.0);
    }
}
