//! The end of a connection that somebody holds.

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::{AsyncRead, AsyncWrite};

use super::{Core, Direction, Link, LinkId, Network, wake};
use crate::testing::Timer;
use crate::testing::pipe::{End, Read};
use crate::transport::Transport;

/// An end of a connection of a [`Network`], a transport. Dropping it ends the connection, in order
/// unless [`prepare_abort`](Transport::prepare_abort) was called or bytes are left unread, as TCP
/// does.
pub struct Socket {
    network: Network,
    id: LinkId,
    /// In which direction it writes.
    writes: Direction,
    /// Goes off when something arrives.
    arrival: Timer,
    /// Goes off when a reset arrives, for a writer that waits.
    end: Timer,
    closed: bool,
    aborted: bool,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket")
            .field("id", &self.id)
            .field("writes", &self.writes)
            .finish_non_exhaustive()
    }
}

impl Direction {
    fn opposite(self) -> Self {
        match self {
            Self::Up => Self::Down,
            Self::Down => Self::Up,
        }
    }
}

impl Socket {
    pub(super) fn new(network: Network, id: LinkId, writes: Direction) -> Self {
        Self {
            arrival: network.clock.timer(),
            end: network.clock.timer(),
            network,
            id,
            writes,
            closed: false,
            aborted: false,
        }
    }

    /// Which connection it is an end of.
    pub fn id(&self) -> LinkId {
        self.id
    }

    /// Works on the connection, and wakes whoever is concerned.
    fn with<R>(&self, work: impl FnOnce(&mut Core, &mut Link) -> (R, Option<Waker>)) -> R {
        let mut core = self.network.lock();
        let mut link = core
            .links
            .remove(&self.id)
            .expect("a connection stays until both its ends are dropped");
        let (result, waker) = work(&mut core, &mut link);
        core.links.insert(self.id, link);
        drop(core);
        wake(waker);
        result
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let now = self.network.clock.now();
        let reads = self.writes.opposite();
        // Who is replaced is dropped without the lock, at the end.
        let (read, _before) = self.with(|core, link| {
            let mut before = None;
            let part = core.part(buffer.len());
            let way = link.way(reads);
            let read = way.pipe.read(now, &mut buffer[..part]);
            let writer = match read {
                Read::Bytes(_) => way.writer.take(),
                Read::Nothing(_) => {
                    before = way.reader.replace(cx.waker());
                    None
                }
                Read::End(_) => None,
            };
            ((read, before), writer)
        });
        match read {
            Read::Bytes(len) => Poll::Ready(Ok(len)),
            Read::End(End::Orderly) => Poll::Ready(Ok(0)),
            Read::End(End::Reset) => Poll::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Read::Nothing(None) => Poll::Pending,
            Read::Nothing(Some(at)) => {
                self.arrival.set_at(at);
                _ = self.arrival.poll(cx);
                Poll::Pending
            }
        }
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.poll_write_vectored(cx, &[IoSlice::new(bytes)])
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.closed {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let now = self.network.clock.now();
        let writes = self.writes;
        let len = slices.iter().map(|slice| slice.len()).sum::<usize>();
        let (written, reset_at, _before) = self.with(|core, link| {
            let incoming = &link.way(writes.opposite()).pipe;
            if incoming.is_reset(now) {
                let reset = io::ErrorKind::ConnectionReset.into();
                return ((Some(Err(reset)), None, None), None);
            }
            let reset_at = incoming.reset_at();
            let way = link.way(writes);
            if way.pipe.is_ended() || way.unread {
                // Nobody will ever read it, and that is news which is still on its way.
                return ((Some(Ok(len)), None, None), None);
            }
            let room = core.conditions.capacity.saturating_sub(way.pipe.len());
            if room == 0 {
                let before = way.writer.replace(cx.waker());
                return ((None, reset_at, before), None);
            }
            let part = core.part(len.min(room));
            let latency = core.latency();
            let drip = core.conditions.drip.unwrap_or((usize::MAX, Duration::ZERO));
            let mut left = part;
            for slice in slices {
                let bytes = &slice[..slice.len().min(left)];
                way.pipe.write(now, latency, bytes, drip);
                left -= bytes.len();
            }
            ((Some(Ok(part)), None, None), way.reader.take())
        });
        match (written, reset_at) {
            (Some(result), _) => Poll::Ready(result),
            (None, None) => Poll::Pending,
            (None, Some(at)) => {
                self.end.set_at(at);
                _ = self.end.poll(cx);
                Poll::Pending
            }
        }
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        let now = self.network.clock.now();
        let writes = self.writes;
        self.closed = true;
        self.with(|core, link| {
            let latency = core.latency();
            let way = link.way(writes);
            way.pipe.end(now, latency, End::Orderly);
            ((), way.reader.take())
        });
        Poll::Ready(Ok(()))
    }
}

impl Transport for Socket {
    fn prepare_abort(&mut self) {
        self.aborted = true;
    }
}

impl Drop for Socket {
    fn drop(&mut self) {
        let now = self.network.clock.now();
        let mut core = self.network.lock();
        let Some(mut link) = core.links.remove(&self.id) else {
            return;
        };
        let incoming = link.way(self.writes.opposite());
        incoming.unread = true;
        let resets = self.aborted || incoming.pipe.has_arrived(now);
        let way = link.way(self.writes);
        if resets {
            way.reset(&mut core, now);
        } else {
            let latency = core.latency();
            way.pipe.end(now, latency, End::Orderly);
        }
        let wakers = link.wakers();
        if !(link.up.unread && link.down.unread) {
            core.links.insert(self.id, link);
        }
        drop(core);
        wake(wakers);
    }
}
