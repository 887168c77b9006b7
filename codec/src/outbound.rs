use std::collections::VecDeque;
use std::fmt;
use std::io::IoSlice;
use std::ops::Range;

use bytes::{Buf, Bytes};

/// Bytes that wait to be written to the transport.
///
/// It is read as a [`Buf`]: hand [`chunks_vectored`](Buf::chunks_vectored) to a vectored write and
/// [`advance`](Buf::advance) by what the transport took. Frames and small bodies are copied
/// together into one buffer, because many small slices defeat a vectored write; large bodies are
/// kept as they are and spliced in by reference.
#[derive(Default)]
pub struct Outbound {
    /// Everything that was copied; `copied[read..]` is not written yet.
    copied: Vec<u8>,
    read: usize,
    /// Bodies that stand in the stream before `copied[at]`, in order of `at`.
    kept: VecDeque<Kept>,
    kept_len: usize,
    written: u64,
    replies: Replies,
}

/// How many bytes wait of what the peer made us answer, counted in two parts.
#[derive(Debug, Default)]
struct Replies {
    /// What was counted up to a place in the stream.
    older: usize,
    older_end: u64,
    /// What was counted since.
    newer: usize,
}

struct Kept {
    at: usize,
    bytes: Bytes,
}

/// From this length on a body is kept by reference instead of copied: below it, one `memcpy`
/// costs less than a slice of its own in the vectored write and a reference count.
pub(crate) const KEEP_FROM: usize = 4096;

/// How much of the front may have been written before what follows it is moved down.
const COMPACT_FROM: usize = 64 * 1024;

/// Capacity that an empty buffer holds on to; a burst beyond it is given back.
const RETAINED: usize = 256 * 1024;

impl Outbound {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// How many bytes wait to be written.
    pub fn len(&self) -> usize {
        self.copied.len() - self.read + self.kept_len
    }

    /// Whether everything was written.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many bytes the transport has taken since the beginning.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The position in the stream after the last byte that was put in: once
    /// [`written`](Self::written) reaches it, all of them have left.
    pub fn queued(&self) -> u64 {
        self.written + self.len() as u64
    }

    /// The buffer to append encoded frames to.
    pub(crate) fn copied(&mut self) -> &mut Vec<u8> {
        &mut self.copied
    }

    /// Notes that so many bytes were appended as answers to the peer. How many bytes of answers may be
    /// waiting now: no fewer than there are, and no more than these and what was written last.
    pub(crate) fn count_reply(&mut self, len: usize) -> usize {
        let before = self.queued() - len as u64;
        let replies = &mut self.replies;
        if self.written >= replies.older_end {
            replies.older = std::mem::take(&mut replies.newer);
            replies.older_end = before;
            if self.written >= before {
                replies.older = 0;
            }
        }
        replies.newer += len;
        replies.older + replies.newer
    }

    /// Appends a body, or the part of one that one frame carries.
    pub(crate) fn push(&mut self, body: &Bytes, part: Range<usize>) {
        if part.len() < KEEP_FROM {
            self.copied.extend_from_slice(&body[part]);
        } else {
            self.kept_len += part.len();
            self.kept.push_back(Kept {
                at: self.copied.len(),
                bytes: body.slice(part),
            });
        }
    }

    /// Forgets everything that was not written.
    pub(crate) fn clear(&mut self) {
        self.copied.clear();
        self.kept.clear();
        self.read = 0;
        self.kept_len = 0;
    }

    /// Where the copied bytes are interrupted next.
    fn copied_until(&self) -> usize {
        self.kept.front().map_or(self.copied.len(), |kept| kept.at)
    }

    fn reclaim(&mut self) {
        if self.is_empty() {
            self.clear();
            self.copied.shrink_to(RETAINED);
        } else if self.read >= COMPACT_FROM && self.read >= self.copied.len() / 2 {
            self.copied.drain(..self.read);
            for kept in &mut self.kept {
                kept.at -= self.read;
            }
            self.read = 0;
        }
    }
}

impl fmt::Debug for Outbound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sizes only: among the bytes are passwords and payloads.
        f.debug_struct("Outbound")
            .field("len", &self.len())
            .field("written", &self.written)
            .finish()
    }
}

impl Buf for Outbound {
    fn remaining(&self) -> usize {
        self.len()
    }

    fn chunk(&self) -> &[u8] {
        match self.kept.front() {
            Some(kept) if kept.at == self.read => &kept.bytes,
            _ => &self.copied[self.read..self.copied_until()],
        }
    }

    fn chunks_vectored<'a>(&'a self, slices: &mut [IoSlice<'a>]) -> usize {
        let mut filled = 0;
        let mut at = self.read;
        let mut put = |bytes: &'a [u8]| {
            if let (false, Some(slice)) = (bytes.is_empty(), slices.get_mut(filled)) {
                *slice = IoSlice::new(bytes);
                filled += 1;
            }
            filled < slices.len()
        };
        for kept in &self.kept {
            if !put(&self.copied[at..kept.at]) || !put(&kept.bytes) {
                return filled;
            }
            at = kept.at;
        }
        put(&self.copied[at..]);
        filled
    }

    fn advance(&mut self, count: usize) {
        assert!(
            count <= self.len(),
            "advanced past the end of what is to be written"
        );
        self.written += count as u64;
        let mut left = count;
        while left > 0 {
            match self.kept.front_mut() {
                Some(kept) if kept.at == self.read => {
                    let step = left.min(kept.bytes.len());
                    kept.bytes.advance(step);
                    self.kept_len -= step;
                    left -= step;
                    if kept.bytes.is_empty() {
                        self.kept.pop_front();
                    }
                }
                _ => {
                    let step = left.min(self.copied_until() - self.read);
                    self.read += step;
                    left -= step;
                }
            }
        }
        self.reclaim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn drain(outbound: &mut Outbound, step: usize) -> Vec<u8> {
        let mut all = Vec::new();
        while outbound.has_remaining() {
            let mut slices = [IoSlice::new(&[]); 3];
            let filled = outbound.chunks_vectored(&mut slices);
            let chunk: Vec<u8> = slices[..filled]
                .iter()
                .flat_map(|slice| slice.iter().copied())
                .collect();
            assert!(chunk.starts_with(outbound.chunk()));
            let taken = chunk.len().min(step);
            all.extend_from_slice(&chunk[..taken]);
            outbound.advance(taken);
        }
        all
    }

    #[test]
    fn large_bodies_are_not_copied() {
        let body = Bytes::from(vec![7; KEEP_FROM]);
        let mut outbound = Outbound::new();
        outbound.copied().extend_from_slice(b"head");
        outbound.push(&body, 0..KEEP_FROM);
        outbound.advance(4);
        assert_eq!(outbound.chunk().as_ptr(), body.as_ptr());
    }

    // case G5
    #[test]
    fn answers_count_until_they_are_written() {
        let mut outbound = Outbound::new();
        let mut answer = |written: usize| {
            outbound.copied().extend_from_slice(&[0; 10]);
            let waiting = outbound.count_reply(10);
            outbound.advance(written);
            (waiting, outbound.len())
        };
        for round in 1..=100 {
            assert_eq!(answer(0), (10 * round, 10 * round));
        }
        // They are taken off in two parts, each once all of it has left.
        assert_eq!(answer(505), (1010, 505));
        assert_eq!(answer(515), (1010, 0));
        for _ in 0..100 {
            assert_eq!(answer(10), (10, 0));
        }
        // A peer that reads, if late, is never told to have more waiting than twice what there is.
        answer(0);
        for _ in 0..100 {
            assert!(answer(10).0 <= 40);
        }
    }

    #[test]
    fn an_empty_buffer_gives_a_burst_back() {
        let mut outbound = Outbound::new();
        outbound.copied().resize(4 * RETAINED, 0);
        outbound.advance(4 * RETAINED);
        assert!(outbound.copied.capacity() <= 2 * RETAINED);
    }

    proptest! {
        #[test]
        fn bytes_leave_in_the_order_in_which_they_came(
            parts in prop::collection::vec((any::<u8>(), 0usize..20_000), 0..20),
            step in 1usize..100_000,
            early in 0usize..50_000,
        ) {
            let mut outbound = Outbound::new();
            let mut expected = Vec::new();
            let mut left = Vec::new();
            for (fill, len) in parts {
                let body = Bytes::from(vec![fill; len]);
                expected.extend_from_slice(&body);
                outbound.push(&body, 0..len);
                // Some of it is written before the rest comes, so that compaction is met too.
                let now = early.min(outbound.chunk().len());
                left.extend_from_slice(&outbound.chunk()[..now]);
                outbound.advance(now);
            }
            prop_assert_eq!(outbound.queued(), expected.len() as u64);
            left.extend(drain(&mut outbound, step));
            prop_assert_eq!(outbound.written(), expected.len() as u64);
            prop_assert_eq!(left, expected);
        }
    }
}
