//! One direction of a connection: bytes on their way, and what happens to them there.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes};

/// Bytes from one end to the other, with the time they take. It knows no clock and no waker.
#[derive(Debug, Default)]
pub(super) struct Pipe {
    segments: VecDeque<Segment>,
    /// How many bytes were written and not read.
    len: usize,
    /// What comes after the segments.
    end: Option<(Instant, End)>,
    /// Until when nothing arrives.
    hole: Option<Hole>,
}

#[derive(Debug)]
struct Segment {
    arrives: Instant,
    bytes: Bytes,
}

/// How one direction ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// In order, after all bytes.
    Orderly,
    /// At once: what was not read by then is lost.
    Reset,
}

/// Nothing arrives.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hole {
    Until(Instant),
    ForEver,
}

/// What the reading end finds.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Read {
    Bytes(usize),
    End(End),
    /// Nothing before then, unless more is written or something happens.
    Nothing(Option<Instant>),
}

impl Pipe {
    /// How many bytes are on their way.
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// When what is written at `now` can arrive at the earliest: no byte overtakes another.
    fn earliest(&self, now: Instant) -> Instant {
        let last = self.segments.back().map(|segment| segment.arrives);
        last.map_or(now, |last| last.max(now))
    }

    /// Puts bytes on their way, in pieces that follow each other in `gap`.
    pub(super) fn write(
        &mut self,
        now: Instant,
        latency: Duration,
        bytes: &[u8],
        (piece, gap): (usize, Duration),
    ) {
        let mut arrives = self.earliest(now).max(now + latency);
        for piece in bytes.chunks(piece) {
            self.segments.push_back(Segment {
                arrives,
                bytes: Bytes::copy_from_slice(piece),
            });
            arrives += gap;
        }
        self.len += bytes.len();
    }

    /// Whether the end has been written, so that nothing can follow.
    pub(super) fn is_ended(&self) -> bool {
        self.end.is_some()
    }

    /// Ends it, unless it has ended before; a reset overtakes an orderly end.
    pub(super) fn end(&mut self, now: Instant, latency: Duration, end: End) {
        let at = match end {
            End::Orderly => self.earliest(now).max(now + latency),
            End::Reset => now + latency,
        };
        let is_worse = |(_, before): &mut (Instant, End)| *before == End::Orderly;
        if end == End::Reset {
            self.end.take_if(is_worse);
        }
        self.end.get_or_insert((at, end));
    }

    /// Loses what has not arrived, but for `kept` bytes of it.
    pub(super) fn truncate(&mut self, now: Instant, kept: usize) {
        let mut left = kept;
        for segment in &mut self.segments {
            if segment.arrives > now {
                let len = segment.bytes.len().min(left);
                segment.bytes.truncate(len);
                left -= len;
            }
        }
        self.segments.retain(|segment| !segment.bytes.is_empty());
        self.len = self
            .segments
            .iter()
            .map(|segment| segment.bytes.len())
            .sum();
    }

    pub(super) fn dig(&mut self, hole: Hole) {
        self.hole = Some(hole);
    }

    /// Nothing is in the way any more.
    pub(super) fn fill(&mut self) {
        self.hole = None;
    }

    /// When a reset arrives, if nothing holds it up.
    pub(super) fn reset_at(&self) -> Option<Instant> {
        let (at, _) = self.end.filter(|(_, end)| *end == End::Reset)?;
        Some(at)
    }

    /// Whether a reset has arrived.
    pub(super) fn is_reset(&self, now: Instant) -> bool {
        self.arrived_end(now) == Some(End::Reset)
    }

    /// Whether there are bytes that could be read.
    pub(super) fn has_arrived(&self, now: Instant) -> bool {
        self.opens_at(now).is_ok()
            && (self.segments.front()).is_some_and(|segment| segment.arrives <= now)
    }

    pub(super) fn read(&mut self, now: Instant, buffer: &mut [u8]) -> Read {
        if self.arrived_end(now) == Some(End::Reset) {
            return Read::End(End::Reset);
        }
        let opens_at = match self.opens_at(now) {
            Ok(()) => now,
            Err(Some(at)) => at,
            Err(None) => return Read::Nothing(None),
        };
        let mut read = 0;
        while opens_at == now
            && read < buffer.len()
            && let Some(segment) = self.segments.front_mut()
            && segment.arrives <= now
        {
            let len = segment.bytes.len().min(buffer.len() - read);
            segment.bytes.copy_to_slice(&mut buffer[read..read + len]);
            read += len;
            if segment.bytes.is_empty() {
                self.segments.pop_front();
            }
        }
        self.len -= read;
        if read > 0 {
            return Read::Bytes(read);
        }
        let next = self.segments.front().map(|segment| segment.arrives);
        match (next, self.end) {
            (None, Some((at, end))) if at <= now && opens_at == now => Read::End(end),
            (next, end) => {
                let end = end.map(|(at, _)| at);
                let next = next.into_iter().chain(end).min();
                Read::Nothing(next.map(|next| next.max(opens_at)))
            }
        }
    }

    fn arrived_end(&self, now: Instant) -> Option<End> {
        self.opens_at(now).ok()?;
        let (at, end) = self.end?;
        (at <= now && (end == End::Reset || self.segments.is_empty())).then_some(end)
    }

    /// Whether things arrive; otherwise, from when on.
    fn opens_at(&self, now: Instant) -> Result<(), Option<Instant>> {
        match self.hole {
            None => Ok(()),
            Some(Hole::Until(until)) if until <= now => Ok(()),
            Some(Hole::Until(until)) => Err(Some(until)),
            Some(Hole::ForEver) => Err(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const WHOLE: (usize, Duration) = (usize::MAX, Duration::ZERO);
    const LATENCY: Duration = Duration::from_millis(5);

    fn read(pipe: &mut Pipe, now: Instant) -> Read {
        pipe.read(now, &mut [0; 64])
    }

    #[test]
    fn bytes_arrive_in_order_and_after_the_latency() {
        let (mut pipe, now) = (Pipe::default(), Instant::now());
        pipe.write(now, LATENCY, b"slow", WHOLE);
        pipe.write(now, Duration::ZERO, b"quick", WHOLE);
        assert_eq!(read(&mut pipe, now), Read::Nothing(Some(now + LATENCY)));
        let mut buffer = [0; 16];
        assert_eq!(pipe.read(now + LATENCY, &mut buffer), Read::Bytes(9));
        assert_eq!(&buffer[..9], b"slowquick");
    }

    #[test]
    fn an_orderly_end_comes_after_the_bytes_and_a_reset_does_not() {
        let now = Instant::now();
        for (end, found) in [
            (End::Orderly, Read::Bytes(4)),
            (End::Reset, Read::End(End::Reset)),
        ] {
            let mut pipe = Pipe::default();
            pipe.write(now, LATENCY, b"last", WHOLE);
            pipe.end(now, LATENCY, end);
            assert_eq!(read(&mut pipe, now + LATENCY), found);
            assert_eq!(read(&mut pipe, now + LATENCY), Read::End(end));
        }
    }

    #[test]
    fn nothing_comes_out_of_a_hole_until_it_is_over() {
        let (mut pipe, now) = (Pipe::default(), Instant::now());
        pipe.write(now, Duration::ZERO, b"lost?", WHOLE);
        pipe.dig(Hole::ForEver);
        assert_eq!(read(&mut pipe, now), Read::Nothing(None));
        pipe.dig(Hole::Until(now + LATENCY));
        assert_eq!(read(&mut pipe, now), Read::Nothing(Some(now + LATENCY)));
        assert_eq!(read(&mut pipe, now + LATENCY), Read::Bytes(5));
    }

    #[test]
    fn a_drip_comes_piece_by_piece() {
        let (mut pipe, now) = (Pipe::default(), Instant::now());
        pipe.write(now, Duration::ZERO, b"abc", (1, LATENCY));
        assert_eq!(read(&mut pipe, now), Read::Bytes(1));
        assert_eq!(read(&mut pipe, now), Read::Nothing(Some(now + LATENCY)));
        assert_eq!(read(&mut pipe, now + LATENCY), Read::Bytes(1));
    }

    #[test]
    fn what_had_arrived_survives_a_cut() {
        let (mut pipe, now) = (Pipe::default(), Instant::now());
        pipe.write(now, Duration::ZERO, b"here", WHOLE);
        pipe.write(now, LATENCY, b"there", WHOLE);
        pipe.truncate(now, 2);
        assert_eq!(pipe.len(), 6);
        assert_eq!(read(&mut pipe, now + LATENCY), Read::Bytes(6));
    }
}
