//! One connection through the proxy: two sockets and, for each direction, a pipe.

use std::collections::VecDeque;
use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, TcpStream};
use std::time::{Duration, Instant};

use rustix::event::PollFlags;
use socket2::SockRef;

use super::frame::{Judge, Unit, Verdict, take};
use super::{End, LinkStats, To};

/// What a direction holds before it stops reading, unless it is silent; more than any frame.
const CAPACITY: usize = 1 << 20;

/// The faults of one direction.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Faults {
    pub(super) silent: bool,
    pub(super) unread: bool,
    pub(super) drip: Option<(usize, Duration)>,
    pub(super) cut: Option<(u64, End)>,
}

/// A connection. The client's socket is the first, the server's the second, and so are the pipes
/// that read from them.
#[derive(Debug)]
pub(super) struct Link {
    number: usize,
    /// None once the connection has ended at both sides.
    sockets: Option<[TcpStream; 2]>,
    pipes: [Pipe; 2],
}

#[derive(Debug, Default)]
struct Pipe {
    faults: Faults,
    /// Whether its frames are shown to the judge.
    judged: bool,
    /// Read, and not admitted yet.
    held: VecDeque<u8>,
    /// Free to be written.
    ready: VecDeque<u8>,
    /// How the sender ended, once it has.
    ended: Option<End>,
    /// Whether the receiver has been told of an end. What comes after that is read and thrown away.
    told: bool,
    /// When the pause of a drip is over.
    pause: Option<Instant>,
    passed: u64,
}

impl Link {
    pub(super) fn new(
        number: usize,
        sockets: Option<[TcpStream; 2]>,
        faults: [Faults; 2],
        judged: [bool; 2],
    ) -> Self {
        let pipe = |at: usize| Pipe {
            faults: faults[at],
            judged: judged[at],
            ..Pipe::default()
        };
        Self {
            number,
            sockets,
            pipes: [pipe(0), pipe(1)],
        }
    }

    pub(super) fn number(&self) -> usize {
        self.number
    }

    pub(super) fn stats(&self) -> LinkStats {
        LinkStats {
            open: self.sockets.is_some(),
            passed: [0, 1].map(|at| self.pipes[at].passed),
            held: [0, 1].map(|at| self.pipes[at].held.len() + self.pipes[at].ready.len()),
        }
    }

    pub(super) fn change(&mut self, to: To, change: impl Fn(&mut Faults)) {
        for pipe in &mut self.pipes[to.range()] {
            change(&mut pipe.faults);
            pipe.pause = None;
        }
    }

    pub(super) fn end(&mut self, end: End) {
        match end {
            End::Close => (0..2).for_each(|at| self.tell(at)),
            End::Reset => {
                for socket in self.sockets.iter().flatten() {
                    // A socket that does not linger is reset when it is closed.
                    let _ = SockRef::from(socket).set_linger(Some(Duration::ZERO));
                }
                self.sockets = None;
                self.pipes.iter_mut().for_each(Pipe::discard);
            }
        }
    }

    /// The sockets with what is waited for at each.
    pub(super) fn interest(&self) -> impl Iterator<Item = (&TcpStream, PollFlags)> {
        self.sockets
            .iter()
            .flatten()
            .enumerate()
            .filter_map(move |(at, socket)| {
                let mut flags = PollFlags::empty();
                flags.set(PollFlags::IN, self.pipes[at].reads());
                flags.set(PollFlags::OUT, self.pipes[1 - at].writes());
                // Errors would be reported even where nothing is waited for, again and again.
                (!flags.is_empty()).then_some((socket, flags))
            })
    }

    /// When something is due although no socket moves.
    pub(super) fn deadline(&self) -> Option<Instant> {
        self.pipes.iter().filter_map(|pipe| pipe.pause).min()
    }

    /// Moves what can be moved.
    pub(super) fn step(&mut self, now: Instant, judges: &mut [Option<Judge>; 2]) {
        for (at, judge) in judges.iter_mut().enumerate() {
            self.pipes[at].pause.take_if(|until| *until <= now);
            self.read(at);
            if let Some(end) = self.write(at, now, judge) {
                self.end(end);
            }
        }
        // Closing earlier would turn the end of a stream into a reset wherever something has not
        // been read.
        if self
            .pipes
            .iter()
            .all(|pipe| pipe.told && pipe.ended.is_some())
        {
            self.sockets = None;
        }
    }

    fn read(&mut self, at: usize) {
        let Some(sockets) = &mut self.sockets else {
            return;
        };
        let pipe = &mut self.pipes[at];
        if !pipe.reads() {
            return;
        }
        let mut buffer = [0; 64 * 1024];
        match sockets[at].read(&mut buffer) {
            Ok(0) => pipe.ended = Some(End::Close),
            Ok(_) if pipe.told => {}
            Ok(len) => pipe.held.extend(&buffer[..len]),
            Err(error) if passing(&error) => {}
            Err(_) => pipe.ended = Some(End::Reset),
        }
    }

    /// Writes what can be written, and says whether the connection is to end.
    fn write(&mut self, at: usize, now: Instant, judge: &mut Option<Judge>) -> Option<End> {
        loop {
            let sockets = self.sockets.as_mut()?;
            let pipe = &mut self.pipes[at];
            if !pipe.flows() {
                return None;
            }
            match (pipe.faults.cut, pipe.ended) {
                (Some((0, end)), _) => return Some(end),
                (_, Some(End::Reset)) => return Some(End::Reset),
                _ => {}
            }
            if pipe.ready.is_empty() {
                match pipe.admit(self.number, judge) {
                    Some(Verdict::End(end)) => return Some(end),
                    Some(Verdict::Hold) => pipe.faults.silent = true,
                    Some(Verdict::Pass | Verdict::Drop) => {}
                    None if pipe.ended.is_some() => self.tell(at),
                    None => return None,
                }
                continue;
            }
            match sockets[1 - at].write(pipe.next()) {
                Ok(len) => pipe.wrote(len, now),
                Err(error) if passing(&error) => return None,
                Err(_) => {
                    // The receiver is gone, which its socket does not say a second time.
                    pipe.discard();
                    self.pipes[1 - at].ended = Some(End::Reset);
                }
            }
        }
    }

    /// Tells a receiver that the stream has ended.
    fn tell(&mut self, at: usize) {
        self.pipes[at].discard();
        if let Some(sockets) = &self.sockets {
            // One that is gone already needs no telling.
            let _ = sockets[1 - at].shutdown(Shutdown::Write);
        }
    }
}

impl Pipe {
    fn reads(&self) -> bool {
        self.ended.is_none()
            && (self.told
                || self.faults.silent
                || (!self.faults.unread && self.held.len() < CAPACITY))
    }

    fn writes(&self) -> bool {
        self.flows() && !self.ready.is_empty()
    }

    fn flows(&self) -> bool {
        !self.told && !self.faults.silent && self.pause.is_none()
    }

    /// Lets the next frame in, or whatever there is where frames do not matter. None if there is
    /// nothing.
    fn admit(&mut self, number: usize, judge: &mut Option<Judge>) -> Option<Verdict> {
        if self.held.is_empty() {
            return None;
        }
        if let (true, Some(judge)) = (self.judged, judge) {
            match take(&mut self.held) {
                Some(Unit::Protocol(bytes)) => self.ready.extend(bytes),
                Some(Unit::Frame(mut frame)) => {
                    let verdict = judge(number, &mut frame);
                    if matches!(verdict, Verdict::Pass | Verdict::Hold) {
                        self.ready.extend(frame.bytes);
                    }
                    return Some(verdict);
                }
                // The rest of a frame may still come, or it is passed as it is.
                None if self.ended.is_none() => return None,
                None => self.ready.append(&mut self.held),
            }
        } else {
            self.ready.append(&mut self.held);
        }
        Some(Verdict::Pass)
    }

    /// What may be written at once.
    fn next(&self) -> &[u8] {
        let front = self.ready.as_slices().0;
        let drip = self.faults.drip.map_or(front.len(), |(bytes, _)| bytes);
        let cut = self.faults.cut.map_or(front.len(), |(left, _)| {
            usize::try_from(left).unwrap_or(usize::MAX)
        });
        &front[..front.len().min(drip).min(cut)]
    }

    fn wrote(&mut self, len: usize, now: Instant) {
        self.ready.drain(..len);
        self.passed += len as u64;
        self.pause = self.faults.drip.map(|(_, pause)| now + pause);
        if let Some((left, _)) = &mut self.faults.cut {
            *left -= len as u64;
        }
    }

    fn discard(&mut self) {
        self.told = true;
        self.held.clear();
        self.ready.clear();
    }
}

fn passing(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted)
}
