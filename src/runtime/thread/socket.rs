//! A TCP stream that is registered once, with events for edges alone.

use std::io::{self, IoSlice, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_lite::{AsyncRead, AsyncWrite};
use mio::event::Event;
use mio::net::TcpStream;
use mio::{Interest, Registry, Token};
use slab::Slab;

use crate::runtime::reset_when_closed;
use crate::sync::{Mutex, lock};
use crate::transport::Transport;

#[derive(Debug)]
pub(super) struct Socket {
    stream: TcpStream,
    token: Token,
    source: Arc<Source>,
    sources: Arc<Sources>,
}

impl Socket {
    pub(super) async fn connect(sources: Arc<Sources>, address: SocketAddr) -> io::Result<Self> {
        let mut stream = TcpStream::connect(address)?;
        let source = Arc::new(Source::default());
        let token = Token(lock(&sources.by_token).insert(Arc::clone(&source)));
        let both = Interest::READABLE | Interest::WRITABLE;
        let registered = sources.registry.register(&mut stream, token, both);
        // Dropped, it gives its token back.
        let mut socket = Self {
            stream,
            token,
            source,
            sources,
        };
        registered?;
        std::future::poll_fn(|cx| socket.poll_connected(cx)).await?;
        Ok(socket)
    }

    fn poll_connected(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        loop {
            ready!(self.source.poll_take(Direction::Write, cx));
            if let Some(error) = self.stream.take_error()? {
                return Poll::Ready(Err(error));
            }
            // An event can come before the end of the attempt.
            if self.stream.peer_addr().is_ok() {
                self.source.give_back(Direction::Write);
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Tries once it is worth while. `asked` is how much would show that there may be more.
    fn poll_with(
        &mut self,
        direction: Direction,
        cx: &mut Context<'_>,
        asked: usize,
        mut attempt: impl FnMut(&mut TcpStream) -> io::Result<usize>,
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.source.poll_take(direction, cx));
            match attempt(&mut self.stream) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => continue,
                // The next event tells of more: asking for it would cost a call.
                Ok(len) if EDGES_TELL_ALL && 0 < len && len < asked => return Poll::Ready(Ok(len)),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {
                    self.source.give_back(direction);
                }
                result => {
                    self.source.give_back(direction);
                    return Poll::Ready(result);
                }
            }
        }
    }
}

/// Whether what comes after a short read or write has an event of its own. On Windows there is none
/// before a call has found nothing.
const EDGES_TELL_ALL: bool = cfg!(unix);

impl Drop for Socket {
    fn drop(&mut self) {
        // Closing takes it out as well, so that an error changes nothing.
        _ = self.sources.registry.deregister(&mut self.stream);
        lock(&self.sources.by_token).remove(self.token.0);
    }
}

#[cfg(unix)]
impl std::os::fd::AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

#[cfg(windows)]
impl std::os::windows::io::AsSocket for Socket {
    fn as_socket(&self) -> std::os::windows::io::BorrowedSocket<'_> {
        self.stream.as_socket()
    }
}

impl AsyncRead for Socket {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let asked = into.len();
        self.poll_with(Direction::Read, cx, asked, |stream| stream.read(into))
    }
}

impl AsyncWrite for Socket {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let asked = bytes.len();
        self.poll_with(Direction::Write, cx, asked, |stream| stream.write(bytes))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let asked = slices.iter().map(|slice| slice.len()).sum();
        self.poll_with(Direction::Write, cx, asked, |stream| {
            stream.write_vectored(slices)
        })
    }

    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(self.stream.shutdown(Shutdown::Write))
    }
}

impl Transport for Socket {
    fn prepare_abort(&mut self) {
        reset_when_closed(&self.stream);
    }
}

/// The sockets of a reactor.
#[derive(Debug)]
pub(super) struct Sources {
    registry: Registry,
    by_token: Mutex<Slab<Arc<Source>>>,
}

/// No socket has it: a process does not have as many descriptors.
pub(super) const WAKE: Token = Token(usize::MAX);

impl Sources {
    pub(super) fn new(registry: Registry) -> Self {
        Self {
            registry,
            by_token: Mutex::default(),
        }
    }

    /// The system told something of one of them.
    pub(super) fn happened(&self, event: &Event) {
        let source = lock(&self.by_token).get(event.token().0).map(Arc::clone);
        // It may be gone by now, and the waker's token is nobody's.
        if let Some(source) = source {
            source.happened(event);
        }
    }

    #[cfg(all(test, not(snowshoe_loom)))]
    pub(super) fn len(&self) -> usize {
        lock(&self.by_token).len()
    }
}

/// What is known of a socket, in both directions.
#[derive(Debug, Default)]
struct Source {
    sides: Mutex<Sides>,
}

#[derive(Debug, Default)]
struct Sides {
    read: Side,
    write: Side,
}

#[derive(Debug, Default)]
struct Side {
    ready: bool,
    /// It has ended or failed: trying tells how, and that stays so without any more events.
    ended: bool,
    waiting: Option<Waker>,
}

#[derive(Clone, Copy)]
enum Direction {
    Read,
    Write,
}

impl Source {
    /// The system told something of it.
    fn happened(&self, event: &Event) {
        let failed = event.is_error();
        let read_ended = event.is_read_closed() || failed;
        let write_ended = event.is_write_closed() || failed;
        let mut sides = lock(&self.sides);
        let reader = sides.read.happened(event.is_readable(), read_ended);
        let writer = sides.write.happened(event.is_writable(), write_ended);
        drop(sides);
        for waiting in [reader, writer].into_iter().flatten() {
            waiting.wake();
        }
    }

    /// Takes the right to try, or waits for it. It is taken before the attempt, so that an event
    /// during it is not lost.
    fn poll_take(&self, direction: Direction, cx: &mut Context<'_>) -> Poll<()> {
        let mut sides = lock(&self.sides);
        let side = sides.of(direction);
        if std::mem::take(&mut side.ready) || side.ended {
            return Poll::Ready(());
        }
        let known = side.waiting.as_ref();
        if !known.is_some_and(|known| known.will_wake(cx.waker())) {
            let old = side.waiting.replace(cx.waker().clone());
            drop(sides);
            // A waker may run code of its executor's when it is dropped.
            drop(old);
        }
        Poll::Pending
    }

    /// It is worth while to try again.
    fn give_back(&self, direction: Direction) {
        lock(&self.sides).of(direction).ready = true;
    }
}

impl Sides {
    fn of(&mut self, direction: Direction) -> &mut Side {
        match direction {
            Direction::Read => &mut self.read,
            Direction::Write => &mut self.write,
        }
    }
}

impl Side {
    /// The system told something of it, if anything of this side. Whom to wake.
    fn happened(&mut self, ready: bool, ended: bool) -> Option<Waker> {
        if !ready && !ended {
            return None;
        }
        self.ready = true;
        self.ended |= ended;
        self.waiting.take()
    }
}
