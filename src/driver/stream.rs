//! A transport with its buffers.

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use futures_lite::{AsyncRead, AsyncWrite};
use snowshoe_codec::Outbound;
use snowshoe_codec::time::after;

use super::blocks::Blocks;
use super::guard::Guarded;
use super::readiness::Readiness;
use crate::transport::Transport;

/// An open transport.
pub(super) struct Stream {
    transport: Guarded<Box<dyn Transport>>,
    readiness: Readiness,
    /// Whether there may be something to read, or room to write: until the transport says that there
    /// is not, and again once it wakes the driver.
    may_read: bool,
    may_write: bool,
    /// What was read and not yet consumed; the room to read into goes on after it.
    input: BytesMut,
    /// What a read has come to that was made for the next turn.
    ahead: Option<io::Result<usize>>,
    /// Since when there were bytes to write of which the transport took none.
    stalled_since: Option<Instant>,
    unflushed: bool,
}

impl Stream {
    pub(super) fn new(transport: Guarded<Box<dyn Transport>>) -> Self {
        Self {
            transport,
            readiness: Readiness::new(),
            may_read: true,
            may_write: true,
            input: BytesMut::new(),
            ahead: None,
            stalled_since: None,
            unflushed: false,
        }
    }

    /// Reads once, into a block of these. `Ok(0)` is the end of the stream.
    ///
    /// A turn of the driver begins with this: whether the transport has woken it is noted here, for reading and
    /// for writing. What wakes it later has it come again.
    pub(super) fn read(
        &mut self,
        cx: &mut Context<'_>,
        blocks: &mut Blocks,
    ) -> Poll<io::Result<usize>> {
        if self.readiness.was_woken(cx) {
            self.may_read = true;
            self.may_write = true;
        }
        match self.ahead.take() {
            Some(read) => Poll::Ready(read),
            None => self.read_now(blocks),
        }
    }

    /// Reads for the next turn, where the last read has brought something. Whether there is anything: if not,
    /// the transport wakes the driver once there is.
    pub(super) fn read_ahead(&mut self, blocks: &mut Blocks) -> bool {
        match self.read_now(blocks) {
            Poll::Ready(read) => self.ahead = Some(read),
            Poll::Pending => {}
        }
        self.ahead.is_some()
    }

    fn read_now(&mut self, blocks: &mut Blocks) -> Poll<io::Result<usize>> {
        if !self.may_read {
            return Poll::Pending;
        }
        let room = blocks.room(&mut self.input);
        let cx = &mut Context::from_waker(self.readiness.waker());
        let read = Pin::new(&mut self.transport).poll_read(cx, room);
        self.may_read = read.is_ready();
        let len = ready!(read)?;
        // Joined without a copy, as it continues the same block.
        self.input.unsplit(blocks.take(len));
        Poll::Ready(Ok(len))
    }

    /// What was read and not yet consumed.
    pub(super) fn input(&mut self) -> &mut BytesMut {
        &mut self.input
    }

    /// Writes what the transport takes, and flushes once it has everything.
    pub(super) fn write(&mut self, now: Instant, outbound: &mut Outbound) -> io::Result<()> {
        if !self.may_write {
            return Ok(());
        }
        let cx = &mut Context::from_waker(self.readiness.waker());
        while outbound.has_remaining() {
            let transport = Pin::new(&mut self.transport);
            let chunk = outbound.chunk();
            let written = if chunk.len() == outbound.remaining() {
                transport.poll_write(cx, chunk)
            } else {
                let mut slices = [IoSlice::new(&[]); 64];
                let filled = outbound.chunks_vectored(&mut slices);
                transport.poll_write_vectored(cx, &slices[..filled])
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

    /// The peer reads again from now on, as far as is known.
    pub(super) fn begin_stall_anew(&mut self, now: Instant) {
        self.stalled_since = self.stalled_since.map(|_| now);
    }

    pub(super) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Drops the transport, with a reset.
    pub(super) fn abort(mut self) {
        self.transport.prepare_abort();
    }

    /// Ends the transport in order, after some last words.
    pub(super) fn finish(self, last_words: Bytes, now: Instant) -> Finishing {
        Finishing {
            transport: self.transport,
            last_words,
            deadline: after(now, LAST_WORDS),
        }
    }
}

/// How long the last words to a peer may take; it has already said its own.
const LAST_WORDS: Duration = Duration::from_secs(1);

/// A transport that is ended in order.
pub(super) struct Finishing {
    transport: Guarded<Box<dyn Transport>>,
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

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use std::collections::VecDeque;
    use std::task::Waker;

    use super::*;

    /// Gives bytes in pieces of any length.
    struct Pieces {
        bytes: Bytes,
        random: fastrand::Rng,
    }

    impl AsyncRead for Pieces {
        fn poll_read(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
            into: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            let largest = into.len().min(self.bytes.len());
            let len = match self.random.u8(0..4) {
                0 => largest.min(self.random.usize(0..100)),
                1 => self.random.usize(0..=largest),
                _ => largest,
            };
            // Nothing would be the end.
            let len = len.max(largest.min(1));
            self.bytes.copy_to_slice(&mut into[..len]);
            Poll::Ready(Ok(len))
        }
    }

    impl AsyncWrite for Pieces {
        fn poll_write(
            self: Pin<&mut Self>,
            _: &mut Context<'_>,
            bytes: &[u8],
        ) -> Poll<io::Result<usize>> {
            Poll::Ready(Ok(bytes.len()))
        }

        fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
            Poll::Ready(Ok(()))
        }
    }

    impl Transport for Pieces {}

    fn stream(bytes: Bytes, seed: u64) -> Stream {
        let random = fastrand::Rng::with_seed(seed);
        let transport: Box<dyn Transport> = Box::new(Pieces { bytes, random });
        Stream::new(Guarded::new("the transport", transport))
    }

    /// The octets of a message, which differ from those of its neighbours.
    fn message(number: usize, len: usize) -> Bytes {
        (0..len).map(|at| (number * 31 + at) as u8).collect()
    }

    #[test]
    fn what_was_read_ahead_comes_with_the_next_read_and_after_what_was_read_before() {
        let bytes = message(1, 1000);
        let mut stream = stream(bytes.clone(), 1);
        let mut blocks = Blocks::new();
        let cx = &mut Context::from_waker(Waker::noop());
        let mut read = 0;
        while read < bytes.len() {
            let first = stream.read(cx, &mut blocks);
            assert!(matches!(first, Poll::Ready(Ok(1..))), "{first:?}");
            read = stream.input().len();
            assert!(stream.read_ahead(&mut blocks), "the end is told like bytes");
            let ahead = stream.input().len() - read;
            let second = stream.read(cx, &mut blocks);
            assert!(matches!(second, Poll::Ready(Ok(len)) if len == ahead));
            read += ahead;
        }
        assert_eq!(stream.input()[..], bytes[..]);
    }

    #[test]
    fn messages_stay_whole_wherever_they_are_cut_and_however_long_they_are_held() {
        for seed in 0..20 {
            let mut random = fastrand::Rng::with_seed(seed);
            let lens: Vec<usize> = (0..300)
                .map(|_| match random.u8(0..8) {
                    0 => random.usize(0..150_000),
                    1 => random.usize(0..20_000),
                    _ => random.usize(1..200),
                })
                .collect();
            let messages = lens.iter().enumerate();
            let bytes: Vec<u8> = messages.flat_map(|(n, &len)| message(n, len)).collect();
            let mut stream = stream(bytes.into(), seed);
            let mut blocks = Blocks::new();
            let cx = &mut Context::from_waker(Waker::noop());
            let mut held = VecDeque::new();
            let mut check = |(number, taken): (usize, Bytes)| {
                assert_eq!(taken, message(number, taken.len()), "seed {seed}");
            };
            for (number, &len) in lens.iter().enumerate() {
                while stream.input().len() < len {
                    let read = stream.read(cx, &mut blocks);
                    assert!(matches!(read, Poll::Ready(Ok(1..))), "{read:?}");
                }
                held.push_back((number, stream.input().split_to(len).freeze()));
                while held.len() > random.usize(0..50) {
                    held.pop_front().into_iter().for_each(&mut check);
                }
            }
            held.into_iter().for_each(&mut check);
        }
    }
}
