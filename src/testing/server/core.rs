//! The broker with its connections: everything that a server's threads and tasks share.
//!
//! Nobody drives it. Whoever comes, a client's transport or the test, lets everything happen that is
//! due by now, does what it came for, and lets happen what follows from that. Those who wait are woken
//! after the lock is gone, and whoever waits has a timer for the broker's next deadline.

use std::collections::BTreeMap;
use std::io;
use std::mem;
use std::sync::Arc;
use std::task::{Poll, Waker};
use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};

use crate::runtime::Runtime;
use crate::sync::{Mutex, lock};
use crate::testing::pipe::{End, Hole, Pipe, Read};
use crate::testing::{Broker, BrokerOptions, ConnectionId, Dials};

#[derive(Debug)]
pub(super) struct Core {
    pub(super) runtime: Arc<dyn Runtime>,
    state: Mutex<State>,
}

#[derive(Debug)]
pub(super) struct State {
    pub(super) broker: Broker,
    pub(super) dials: Dials,
    links: BTreeMap<ConnectionId, Link>,
    /// Whether what clients send is read.
    reads: bool,
    /// Whether what the broker says arrives.
    speaks: bool,
    /// How long that takes.
    delay: Duration,
    /// The latest time that the broker heard of.
    time: Instant,
    /// Counts what happened.
    pub(super) version: u64,
    watchers: BTreeMap<u64, Waker>,
    next_watcher: u64,
    /// The deadline for which those who wait have set their timers.
    armed: Option<Instant>,
    /// Who is to be woken once the lock is free.
    due: Vec<Waker>,
    /// Wakers that others have replaced. With its waker a task may go, and with that a transport, so
    /// they are dropped once the lock is free.
    replaced: Vec<Waker>,
}

/// A client's connection.
#[derive(Debug, Default)]
struct Link {
    /// What came from the client and the broker has not taken.
    input: BytesMut,
    /// How much of that it has looked at without being able to do anything with it.
    looked_at: usize,
    /// What is on its way to the client.
    down: Pipe,
    reader: Option<Waker>,
    writer: Option<Waker>,
    /// Whether nothing comes from the client any more.
    hung_up: bool,
    /// Whether the client has dropped its end.
    dropped: bool,
    /// Whether the broker has done with it.
    ended: bool,
}

/// What somebody finds who comes for something.
pub(super) enum Found<T> {
    Ready(T),
    /// Nothing yet. It is to come again when it is woken, or at this time.
    Wait(Option<Instant>),
}

impl Core {
    pub(super) fn new(options: BrokerOptions, runtime: Arc<dyn Runtime>) -> Arc<Self> {
        let now = runtime.now();
        let state = State {
            broker: Broker::new(options),
            dials: Dials::Succeed,
            links: BTreeMap::new(),
            reads: true,
            speaks: true,
            delay: Duration::ZERO,
            time: now,
            version: 0,
            watchers: BTreeMap::new(),
            next_watcher: 0,
            armed: None,
            due: Vec::new(),
            replaced: Vec::new(),
        };
        Arc::new(Self {
            runtime,
            state: Mutex::new(state),
        })
    }

    /// Does something, at its time.
    pub(super) fn with<R>(&self, work: impl FnOnce(&mut State, Instant) -> R) -> R {
        let mut state = lock(&self.state);
        let now = self.runtime.now();
        state.go_on(now);
        let result = work(&mut state, now);
        state.go_on(now);
        let replaced = mem::take(&mut state.replaced);
        let due = mem::take(&mut state.due);
        drop(state);
        drop(replaced);
        for waker in due {
            waker.wake();
        }
        result
    }

    /// A new connection, or what becomes of the attempt instead.
    pub(super) fn connect(&self) -> Result<ConnectionId, Dials> {
        self.with(State::connect)
    }
}

/// # What follows from what
impl State {
    /// Lets everything happen that can.
    fn go_on(&mut self, now: Instant) {
        while self.let_time_pass(now) | self.attend_all(now) {
            self.happened();
        }
        let deadline = self.broker.poll_timeout();
        if deadline.is_some_and(|at| self.armed.is_none_or(|armed| at < armed)) {
            self.armed = deadline;
            let waiting = self.waiting();
            self.due.extend(waiting);
        }
    }

    /// Every deadline is met at its own time, however late we are.
    fn let_time_pass(&mut self, now: Instant) -> bool {
        let deadline = self.broker.poll_timeout().filter(|at| *at <= now);
        if let Some(at) = deadline {
            self.time = self.time.max(at);
            self.broker.handle_timeout(self.time);
        }
        deadline.is_some()
    }

    fn attend_all(&mut self, now: Instant) -> bool {
        self.time = self.time.max(now);
        let ids: Vec<ConnectionId> = self.links.keys().copied().collect();
        let mut moved = false;
        for id in ids {
            moved |= self.attend(now, id);
        }
        moved
    }

    /// Lets bytes through between a client and the broker. Whether anything moved.
    fn attend(&mut self, now: Instant, id: ConnectionId) -> bool {
        let Some(link) = self.links.get_mut(&id) else {
            return false;
        };
        if link.ended {
            if link.dropped {
                self.links.remove(&id);
            }
            return false;
        }
        let broker = &mut self.broker;
        let mut moved = false;
        let takes = broker.is_reading(id) || broker.is_finished(id);
        if self.reads && takes && link.input.len() > link.looked_at {
            let before = link.input.len();
            broker.receive(now, id, &mut link.input);
            let stopped = !broker.is_reading(id);
            link.looked_at = if stopped { 0 } else { link.input.len() };
            moved |= link.input.len() < before;
            self.due.extend(link.writer.take());
        }
        let room = CAPACITY.saturating_sub(link.down.len());
        if let Some(outbound) = broker.outbound(id) {
            let len = outbound.remaining().min(room);
            if len > 0 {
                let bytes = outbound.copy_to_bytes(len);
                link.down.write(now, self.delay, &bytes, WHOLE);
                self.due.extend(link.reader.take());
                moved = true;
            }
            let said_all = !outbound.has_remaining() && broker.is_finished(id);
            // What a client sent before it hung up is still done, as far as it is whole.
            let heard_all = link.hung_up && link.input.len() == link.looked_at;
            if said_all || heard_all {
                broker.transport_ended(now, id);
                link.end(now + self.delay, End::Orderly, &mut self.due);
                moved = true;
            }
        }
        moved
    }

    /// Something happened that somebody may wait for.
    pub(super) fn happened(&mut self) {
        self.version += 1;
        self.due.extend(mem::take(&mut self.watchers).into_values());
    }

    /// All who wait.
    fn waiting(&mut self) -> Vec<Waker> {
        let watchers = mem::take(&mut self.watchers).into_values();
        let readers = self.links.values_mut();
        let readers = readers.filter_map(|link| link.reader.take());
        watchers.chain(readers).collect()
    }

    /// The time for which whoever begins to wait sets a timer.
    fn arm(&mut self) -> Option<Instant> {
        self.armed = self.broker.poll_timeout();
        self.armed
    }

    /// Somebody waits no more: another has to mind the next deadline.
    fn disarm(&mut self) {
        self.armed = None;
    }
}

/// # Those who wait until something happens
impl State {
    pub(super) fn add_watcher(&mut self) -> u64 {
        self.next_watcher += 1;
        self.next_watcher
    }

    /// Registers who is to be woken when something has happened since `version`, if nothing has.
    pub(super) fn watch(&mut self, watcher: u64, version: u64, waker: &Waker) -> Found<()> {
        if version != self.version {
            return Found::Ready(());
        }
        let old = self.watchers.insert(watcher, waker.clone());
        self.replaced.extend(old);
        Found::Wait(self.arm())
    }

    pub(super) fn remove_watcher(&mut self, watcher: u64) {
        self.replaced.extend(self.watchers.remove(&watcher));
        self.disarm();
    }
}

/// # Transports
impl State {
    fn connect(&mut self, now: Instant) -> Result<ConnectionId, Dials> {
        if self.dials != Dials::Succeed {
            return Err(self.dials);
        }
        let id = self.broker.connect(now);
        let mut link = Link::default();
        if !self.speaks {
            link.down.dig(Hole::ForEver);
        }
        self.links.insert(id, link);
        self.happened();
        Ok(id)
    }

    /// Reads what has arrived at the client's end; nothing at all is the end.
    pub(super) fn read(
        &mut self,
        now: Instant,
        id: ConnectionId,
        buffer: &mut [u8],
        waker: &Waker,
    ) -> Found<io::Result<usize>> {
        let Some(link) = self.links.get_mut(&id) else {
            return Found::Ready(Ok(0));
        };
        match link.down.read(now, buffer) {
            Read::Bytes(len) => Found::Ready(Ok(len)),
            Read::End(End::Orderly) => Found::Ready(Ok(0)),
            Read::End(End::Reset) => Found::Ready(Err(io::ErrorKind::ConnectionReset.into())),
            Read::Nothing(arrival) => {
                self.replaced.extend(link.reader.replace(waker.clone()));
                Found::Wait(self.arm().into_iter().chain(arrival).min())
            }
        }
    }

    /// Takes what the client sends, as far as there is room.
    pub(super) fn write(
        &mut self,
        now: Instant,
        id: ConnectionId,
        slices: &[io::IoSlice<'_>],
        waker: &Waker,
    ) -> Poll<io::Result<usize>> {
        let Some(link) = self.links.get_mut(&id).filter(|link| !link.hung_up) else {
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        };
        if link.down.is_reset(now) {
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if link.ended {
            // Nobody will ever read it, and that is news which is still on its way.
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        let room = CAPACITY.saturating_sub(link.input.len());
        if room == 0 {
            self.replaced.extend(link.writer.replace(waker.clone()));
            return Poll::Pending;
        }
        let mut left = room;
        for slice in slices {
            let part = &slice[..slice.len().min(left)];
            link.input.extend_from_slice(part);
            left -= part.len();
        }
        Poll::Ready(Ok(room - left))
    }

    /// Nothing more comes from the client.
    pub(super) fn hang_up(&mut self, id: ConnectionId) {
        if let Some(link) = self.links.get_mut(&id) {
            link.hung_up = true;
        }
    }

    /// The client drops its end; by a reset also if it has left anything unread, as TCP does.
    pub(super) fn drop_end(&mut self, now: Instant, id: ConnectionId, aborts: bool) {
        self.hang_up(id);
        self.disarm();
        let Some(link) = self.links.get_mut(&id) else {
            return;
        };
        link.dropped = true;
        let wakers = [link.reader.take(), link.writer.take()];
        self.replaced.extend(wakers.into_iter().flatten());
        if aborts || link.down.has_arrived(now) {
            self.reset(now, id);
        }
    }
}

/// # Faults
impl State {
    /// Ends a connection without a word.
    pub(super) fn reset(&mut self, now: Instant, id: ConnectionId) {
        self.broker.transport_ended(now, id);
        if let Some(link) = self.links.get_mut(&id) {
            link.down.fill();
            link.end(now, End::Reset, &mut self.due);
        }
        self.happened();
    }

    pub(super) fn reset_all(&mut self, now: Instant) {
        let ids: Vec<ConnectionId> = self.links.keys().copied().collect();
        for id in ids {
            self.reset(now, id);
        }
    }

    pub(super) fn set_delay(&mut self, delay: Duration) {
        self.delay = delay;
    }

    pub(super) fn set_reads(&mut self, reads: bool) {
        self.reads = reads;
    }

    pub(super) fn set_speaks(&mut self, speaks: bool) {
        self.speaks = speaks;
        for link in self.links.values_mut() {
            match speaks {
                true => link.down.fill(),
                false => link.down.dig(Hole::ForEver),
            }
            self.due.extend(link.reader.take());
        }
    }
}

impl Link {
    fn end(&mut self, at: Instant, end: End, due: &mut Vec<Waker>) {
        self.ended = true;
        self.down.end(at, Duration::ZERO, end);
        due.extend(self.reader.take());
        due.extend(self.writer.take());
    }
}

/// A pipe's drip that is none.
const WHOLE: (usize, Duration) = (usize::MAX, Duration::ZERO);

/// How many bytes may be on their way in one direction.
const CAPACITY: usize = 256 * 1024;
