//! Who goes next, among those that wait for the same thing.
//!
//! They are called in the order of their coming, as many as there is room for. Room is not kept for
//! whoever is called: a future that is not polled would keep it for ever. So of those that were called,
//! and of those that come along, whoever comes first has it, and while there is still room the next are
//! [called after them](WaitQueue::pass_on).
//!
//! Nobody is overtaken without end for that. While anybody sleeps, nobody who comes along may go. And
//! whoever came when called, and found the room gone, is waited for at the next call, each time for
//! longer: by so many of those who come along.

use super::keyed_queue::KeyedQueue;

/// A line of those that wait for room. `W` wakes whoever waits.
///
/// An asynchronous mutex would not do: whoever comes along just when it is free gets it, ahead of
/// those that wait.
#[derive(Debug)]
pub struct WaitQueue<W> {
    /// By ticket.
    line: KeyedQueue<Waiter<W>>,
    next_ticket: u64,
    /// Nobody before this ticket sleeps.
    awake_before: u64,
    asleep: usize,
    /// What those that were called need.
    called: Need,
    /// How many more of those who come along are to wait for those that were called.
    kept: u32,
    /// How often nobody came, and more were called for the same room.
    passes: u32,
}

#[derive(Debug)]
struct Waiter<W> {
    bytes: usize,
    /// `None` once it was called.
    waiter: Option<W>,
    /// How often it came when it was called, and found no room.
    overtaken: u32,
}

/// Room for so many, and for so many bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    pub count: usize,
    pub bytes: usize,
}

impl Need {
    fn and(self, bytes: usize) -> Self {
        Self {
            count: self.count + 1,
            bytes: self.bytes.saturating_add(bytes),
        }
    }

    fn without(self, bytes: usize) -> Self {
        Self {
            count: self.count - 1,
            bytes: self.bytes.saturating_sub(bytes),
        }
    }

    fn fits(self, room: Self) -> bool {
        self.count <= room.count && self.bytes <= room.bytes
    }
}

/// Whatever doubles each time does so no more often than this.
const DOUBLINGS: u32 = 10;

impl<W> WaitQueue<W> {
    pub const fn new() -> Self {
        Self {
            line: KeyedQueue::new(),
            next_ticket: 0,
            awake_before: 0,
            asleep: 0,
            called: Need { count: 0, bytes: 0 },
            kept: 0,
            passes: 0,
        }
    }

    /// Whether nobody waits.
    #[cfg(test)]
    pub fn is_empty(&self) -> bool {
        self.line.is_empty()
    }

    /// How much the first of those that sleep needs.
    pub fn wanted(&self) -> Option<usize> {
        (self.asleep > 0).then(|| self.first_asleep().map(|(_, bytes)| bytes))?
    }

    /// Whether somebody who comes along may have room that there is. It counts that they asked.
    pub fn may_pass(&mut self) -> bool {
        if self.asleep > 0 {
            return false;
        }
        let may = self.kept == 0;
        self.kept = self.kept.saturating_sub(1);
        may
    }

    /// Whether the holder of a ticket may have room that there is.
    pub fn may_go(&self, ticket: u64) -> bool {
        let is_called = (self.line.get(ticket)).is_some_and(|it| it.waiter.is_none());
        let is_first = || (self.first_asleep()).is_some_and(|(first, _)| first == ticket);
        is_called || self.called.count == 0 && is_first()
    }

    /// Stands at the end of the line, to be called when there may be room for so many bytes; the ticket
    /// says where that is.
    pub fn join(&mut self, bytes: usize, waiter: W) -> u64 {
        let ticket = self.next_ticket;
        self.next_ticket += 1;
        self.asleep += 1;
        self.line.push(
            ticket,
            Waiter {
                bytes,
                waiter: Some(waiter),
                overtaken: 0,
            },
        );
        ticket
    }

    /// The holder of a ticket has found no room, and sleeps on in its place. The one of the two wakers
    /// that is needed no more is given back.
    pub fn sleep_on(&mut self, ticket: u64, waiter: W) -> Option<W> {
        let Some(place) = self.line.get_mut(ticket) else {
            return Some(waiter);
        };
        let before = place.waiter.replace(waiter);
        if before.is_none() {
            place.overtaken += 1;
            let bytes = place.bytes;
            self.asleep += 1;
            self.awake_before = self.awake_before.min(ticket);
            self.answered(bytes);
        }
        before
    }

    /// Leaves the line, from wherever, and gives back what would have woken it.
    pub fn leave(&mut self, ticket: u64) -> Option<W> {
        let Waiter { bytes, waiter, .. } = self.line.remove(ticket)?;
        if waiter.is_none() {
            self.answered(bytes);
        } else {
            self.asleep -= 1;
        }
        waiter
    }

    /// Calls as many as there is room for beside those that were called and have not come yet.
    pub fn call(&mut self, room: Need, woken: &mut Vec<W>) {
        self.call_beside(self.called, room, woken);
        self.passes = 0;
    }

    /// Those that were called have had their time, and there is still room: calls more for it, each time
    /// twice as many.
    pub fn pass_on(&mut self, room: Need, woken: &mut Vec<W>) {
        let times = 1 << self.passes;
        let room = Need {
            count: room.count.saturating_mul(times),
            bytes: room.bytes.saturating_mul(times),
        };
        self.call_beside(Need::default(), room, woken);
        self.passes = (self.passes + 1).min(DOUBLINGS);
    }

    /// Calls everybody.
    pub fn call_all(&mut self, woken: &mut Vec<W>) {
        let all = Need {
            count: usize::MAX,
            bytes: usize::MAX,
        };
        self.call_beside(Need::default(), all, woken);
    }

    fn call_beside(&mut self, mut needed: Need, room: Need, woken: &mut Vec<W>) {
        while self.asleep > 0 {
            let Some((ticket, place)) = self.line.first_from(self.awake_before) else {
                return;
            };
            if place.waiter.is_some() {
                needed = needed.and(place.bytes);
                if !needed.fits(room) {
                    return;
                }
                woken.extend(place.waiter.take());
                self.asleep -= 1;
                self.called = self.called.and(place.bytes);
                if place.overtaken > 0 {
                    self.kept = self.kept.max(1 << place.overtaken.min(DOUBLINGS));
                }
            }
            self.awake_before = ticket + 1;
        }
    }

    /// One of those that were called has come, or gone.
    fn answered(&mut self, bytes: usize) {
        self.called = self.called.without(bytes);
        self.passes = 0;
        if self.called.count == 0 {
            self.kept = 0;
        }
    }

    fn first_asleep(&self) -> Option<(u64, usize)> {
        let mut line = self.line.iter_from(self.awake_before);
        let (ticket, place) = line.find(|(_, place)| place.waiter.is_some())?;
        Some((ticket, place.bytes))
    }
}

#[cfg(test)]
mod tests;
