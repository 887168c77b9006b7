use std::future::Future;
use std::io;
use std::pin::Pin;

use futures_lite::{AsyncRead, AsyncWrite};

/// A byte stream to a broker.
///
/// Anything that reads, writes and can be sent between threads is a transport if it says so:
///
/// ```
/// # use std::{io, pin::Pin, task::{Context, Poll}};
/// # use futures_lite::{AsyncRead, AsyncWrite};
/// struct MyStream { /* … */ }
/// # impl AsyncRead for MyStream {
/// #     fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> { Poll::Pending }
/// # }
/// # impl AsyncWrite for MyStream {
/// #     fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> { Poll::Pending }
/// #     fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Pending }
/// #     fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Pending }
/// # }
/// impl snowshoe::Transport for MyStream {}
/// ```
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes the end of the stream, which is about to be dropped, a reset instead of an orderly
    /// one.
    ///
    /// A broker that finds an orderly end after publishes it has not read yet still takes them,
    /// and the client, which could not know, sends them again. The default does nothing.
    fn prepare_abort(&mut self) {}
}

impl Transport for Box<dyn Transport> {
    fn prepare_abort(&mut self) {
        (**self).prepare_abort();
    }
}

/// The future of a connection attempt.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Transport>>> + Send>>;
