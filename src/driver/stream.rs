//! A transport with its buffers.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::{AsyncRead, AsyncWrite};
use snowshoe_codec::Outbound;

use super::readiness::Readiness;
use crate::transport::Transport;

/// An open transport.
pub(super) struct Stream {
    transport: Box<dyn Transport>,
    readiness: Readiness,
    /// Whether there may be something to read, or room to write: until the transport says that there
    /// is not, and again once it wakes the driver.
    may_read: bool,
    may_write: bool,
    /// Zeroed memory to read into.
    block: BytesMut,
    /// How much to allocate next: grows and shrinks with what a read brings.
    block_size: usize,
    /// What was read and not yet consumed.
    input: BytesMut,
    /// Since when there were bytes to write of which the transport took none.
    stalled_since: Option<Instant>,
    unflushed: bool,
}

/// The size of a block on a quiet connection, and on a busy one: about that of a core's cache.
const BLOCK_SIZES: (usize, usize) = (16 * 1024, 256 * 1024);

/// A block with less room than this is not worth a read.
const LEAST_ROOM: usize = 4 * 1024;

impl Stream {
    pub(super) fn new(transport: Box<dyn Transport>) -> Self {
        Self {
            transport,
            readiness: Readiness::new(),
            may_read: true,
            may_write: true,
            block: BytesMut::new(),
            block_size: BLOCK_SIZES.0,
            input: BytesMut::new(),
            stalled_since: None,
            unflushed: false,
        }
    }

    /// Reads once. `Ok(0)` is the end of the stream.
    pub(super) fn read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<usize>> {
        self.look(cx);
        if !self.may_read {
            return Poll::Pending;
        }
        if self.block.len() < LEAST_ROOM {
            // Messages that were handed out share the old block; it lives as long as they do.
            self.block = BytesMut::zeroed(self.block_size);
        }
        let cx = &mut Context::from_waker(self.readiness.waker());
        let read = Pin::new(&mut self.transport).poll_read(cx, &mut self.block);
        self.may_read = read.is_ready();
        let len = ready!(read)?;
        let (smallest, largest) = BLOCK_SIZES;
        if len == self.block.len() {
            self.block_size = (self.block_size * 2).min(largest);
        } else if len < self.block_size / 8 {
            self.block_size = (self.block_size / 2).max(smallest);
        }
        // Joined without a copy where it continues the same block.
        self.input.unsplit(self.block.split_to(len));
        Poll::Ready(Ok(len))
    }

    /// What was read and not yet consumed.
    pub(super) fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Writes what the transport takes, and flushes once it has everything.
    pub(super) fn write(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        outbound: &mut Outbound,
    ) -> io::Result<()> {
        self.look(cx);
        if !self.may_write {
            return Ok(());
        }
        let cx = &mut Context::from_waker(self.readiness.waker());
        while outbound.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 64];
            let filled = outbound.chunks_vectored(&mut slices);
            let transport = Pin::new(&mut self.transport);
            let written = match &slices[..filled] {
                [single] => transport.poll_write(cx, single),
                slices => transport.poll_write_vectored(cx, slices),
            };
            match written {
                Poll::Pending => {
                    self.may_write = false;
                    self.stalled_since.get_or_insert(now);
                    return Ok(());
                }
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(len)) => {
                    outbound.advance(len);
                    self.stalled_since = None;
                    self.unflushed = true;
                }
                Poll::Ready(Err(error)) => return Err(error),
            }
        }
        if self.unflushed {
            match Pin::new(&mut self.transport).poll_flush(cx) {
                Poll::Pending => self.may_write = false,
                Poll::Ready(result) => {
                    self.unflushed = false;
                    result?;
                }
            }
        }
        Ok(())
    }

    /// Notes whether the transport has woken the driver.
    fn look(&mut self, cx: &Context<'_>) {
        if self.readiness.was_woken(cx) {
            self.may_read = true;
            self.may_write = true;
        }
    }

    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Drops the transport, with a reset.
    pub(super) fn abort(mut self) {
        self.transport.prepare_abort();
    }

    /// Ends the transport in order, behind some last words.
    pub(super) fn finish(self, last_words: Bytes, now: Instant) -> Finishing {
        Finishing {
            transport: self.transport,
            last_words,
            deadline: now + LAST_WORDS,
        }
    }
}

/// How long the last words to a peer may take; it has already said its own.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A transport that is ended in order.
pub(super) struct Finishing {
    transport: Box<dyn Transport>,
    last_words: Bytes,
    deadline: Instant,
}

impl Finishing {
    pub(super) fn deadline(&self) -> Instant {
        self.deadline
    }

    /// Ready once the transport can be dropped, whether or not all went well.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>, now: Instant) -> Poll<()> {
        if now >= self.deadline {
            self.transport.prepare_abort();
            return Poll::Ready(());
        }
        while self.last_words.has_remaining() {
            match ready!(Pin::new(&mut self.transport).poll_write(cx, &self.last_words)) {
                Ok(0) | Err(_) => return Poll::Ready(()),
                Ok(len) => self.last_words.advance(len),
            }
        }
        // The peer has closed as well; an error here has nobody to tell.
        Pin::new(&mut self.transport).poll_close(cx).map(|_| ())
    }

    pub(super) fn abort(mut self) {
        self.transport.prepare_abort();
    }
}
