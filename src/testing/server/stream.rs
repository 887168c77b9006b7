//! The client's end of a connection to a server in memory.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};

use super::core::{Core, Found};
use super::wake_at;
use crate::runtime::Timer;
use crate::testing::{ConnectionId, Dials};
use crate::transport::Transport;

pub(super) struct Stream {
    core: Arc<Core>,
    id: ConnectionId,
    /// Goes off when something arrives, or the broker has something to do.
    timer: Box<dyn Timer>,
    aborted: bool,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Stream {
    /// A new connection, or what becomes of the attempt instead.
    pub(super) fn connect(core: &Arc<Core>) -> Result<Self, Dials> {
        Ok(Self {
            id: core.connect()?,
            timer: core.runtime.timer(),
            core: Arc::clone(core),
            aborted: false,
        })
    }

    pub(super) fn id(&self) -> ConnectionId {
        self.id
    }
}

impl AsyncRead for Stream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let found = self
            .core
            .with(|state, now| state.read(now, self.id, buffer, cx.waker()));
        match found {
            Found::Ready(read) => Poll::Ready(read),
            Found::Wait(at) => {
                wake_at(&mut *self.timer, cx, at);
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.core
            .with(|state, now| state.write(now, self.id, slices, cx.waker()))
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.core.with(|state, _| state.hang_up(self.id));
        Poll::Ready(Ok(()))
    }
}

impl Transport for Stream {
    fn prepare_abort(&mut self) {
        self.aborted = true;
    }
}

impl Drop for Stream {
    fn drop(&mut self) {
        self.core
            .with(|state, now| state.drop_end(now, self.id, self.aborted));
    }
}
