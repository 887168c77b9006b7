//! What a producer shares with the driver.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use super::doorbell::{Doorbell, Ready};
use super::hook::OnUndelivered;
use super::hub::Hub;
use super::place::Place;
use crate::core::publisher::{Bin, Flush, News, Publisher, RareNews, Refused};
use crate::core::session::ProducerKey;
use crate::error::{PublishError, PublishErrorReason};
use crate::events::{Event, ProducerId};
use crate::message::Message;
use crate::outcome::{DropReason, Unconfirmed};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

pub(crate) struct Outbox {
    id: ProducerId,
    confirms: bool,
    state: Mutex<OutboxState>,
    /// How many messages were accepted, to be looked at without the lock.
    accepted: AtomicU64,
    /// When that many were accepted, other tasks have their turn.
    turn_ends: AtomicU64,
    /// Whoever asks for the outcome of a message before this position needs no lock to learn that it
    /// was confirmed. It may lag behind.
    confirmed_before: AtomicU64,
    place: OnceLock<Place<ProducerKey>>,
    /// Few have one.
    on_undelivered: Option<Box<OnUndelivered>>,
    doorbell: Arc<Doorbell>,
    hub: Arc<Hub>,
}

/// How many messages are accepted before other tasks have their turn.
const TURN: u64 = 512;

pub(crate) struct OutboxState {
    pub(crate) publisher: Publisher<Waker>,
    /// Whether the driver knows that there is something to write, or has no need to know.
    pub(crate) scheduled: bool,
}

impl fmt::Debug for Outbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Outbox")
            .field("id", &self.id)
            .finish_non_exhaustive()
    }
}

impl Outbox {
    pub(crate) fn new(
        id: ProducerId,
        mut publisher: Publisher<Waker>,
        confirms: bool,
        on_undelivered: Option<OnUndelivered>,
        (doorbell, hub): (Arc<Doorbell>, Arc<Hub>),
    ) -> Self {
        if on_undelivered.is_some() {
            publisher.keep_undelivered();
        }
        Self {
            id,
            confirms,
            state: Mutex::new(OutboxState {
                publisher,
                scheduled: false,
            }),
            accepted: AtomicU64::new(0),
            turn_ends: AtomicU64::new(TURN),
            confirmed_before: AtomicU64::new(0),
            place: OnceLock::new(),
            on_undelivered: on_undelivered.map(Box::new),
            doorbell,
            hub,
        }
    }

    pub(crate) fn id(&self) -> &ProducerId {
        &self.id
    }

    /// What errors call the producer: its name, or where it publishes to.
    pub(crate) fn described(&self) -> String {
        let id = &self.id;
        if id.name().is_some() {
            return id.to_string();
        }
        let state = self.lock();
        let address = state.publisher.address();
        match (address.exchange.is_empty(), address.routing_key.is_empty()) {
            (false, _) => format!("{id} to the exchange {:?}", address.exchange),
            (true, false) => format!("{id} to the queue {:?}", address.routing_key),
            (true, true) => id.to_string(),
        }
    }

    pub(crate) fn confirms(&self) -> bool {
        self.confirms
    }

    /// The driver takes it in; it does so once. What it was not told of before, it has to look for
    /// after this.
    pub(crate) fn register(&self, place: Place<ProducerKey>) {
        _ = self.place.set(place);
    }

    /// Where the driver has it, once it has taken it in.
    pub(crate) fn place(&self) -> Option<Place<ProducerKey>> {
        self.place.get().copied()
    }

    /// Looks at the messages under the lock.
    pub(crate) fn look<R>(&self, look: impl FnOnce(&OutboxState) -> R) -> R {
        look(&self.lock())
    }

    /// Works on the messages under the lock, then wakes and tells whoever is concerned, and drops what has
    /// left.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut OutboxState) -> R) -> R {
        let mut state = self.lock();
        let result = work(&mut state);
        let confirmed = state.publisher.confirmed_before();
        self.confirmed_before.store(confirmed, Ordering::Release);
        self.release(state);
        result
    }

    /// The same, for work after which much may have left: the bin that it goes into has its memory from
    /// the last time, whichever outbox that was for.
    pub(crate) fn with_bin<R>(
        &self,
        bin: &mut Bin<Waker>,
        work: impl FnOnce(&mut OutboxState) -> R,
    ) -> R {
        let result = self.with(|state| {
            state.publisher.swap_bin(bin);
            let result = work(state);
            state.publisher.swap_bin(bin);
            result
        });
        bin.clear();
        result
    }

    /// The only way to the messages. What is changed there is left by [`release`](Self::release): what it
    /// wakes, tells and drops may be code of users that comes back here.
    fn lock(&self) -> MutexGuard<'_, OutboxState> {
        lock(&self.state)
    }

    /// Unlocks the messages, then wakes and tells whoever is concerned, and drops what has left.
    #[inline]
    fn release(&self, state: MutexGuard<'_, OutboxState>) {
        if !state.publisher.is_quiet() {
            self.follow_up(state);
        }
    }

    /// The outcome of the message at `position`; until there is one, `waker` will be woken for it.
    pub(crate) fn poll_outcome(
        &self,
        position: u64,
        waker: &Waker,
    ) -> Option<Result<(), Unconfirmed>> {
        if position < self.confirmed_before.load(Ordering::Acquire) {
            return Some(Ok(()));
        }
        // A waker is only cloned where it is stored.
        let waker = || waker.clone();
        let mut state = self.lock();
        let outcome = state.publisher.poll_outcome(position, waker);
        self.release(state);
        outcome
    }

    /// Nobody will ask for the outcome of the message at `position` any more.
    pub(crate) fn unwatch(&self, position: u64) {
        let mut state = self.lock();
        state.publisher.unwatch(position);
        self.release(state);
    }

    /// Takes back the message at `position`, unless it has ended or the broker may have it.
    pub(crate) fn withdraw(&self, position: u64) -> Option<Message> {
        let (message, is_through, is_owed) = self.with(|state| {
            let publisher = &mut state.publisher;
            let message = publisher.withdraw(position);
            let is_through = publisher.is_finished();
            (message, is_through, publisher.owes_room())
        });
        let message = message?;
        if is_through {
            // The driver may have waited for it.
            self.ring();
        } else if is_owed {
            self.ring_for_room();
        }
        Some(message)
    }

    /// Whether it is time for other tasks to have their turn before a message is accepted. They have it
    /// with that: who asks again before as many were accepted goes on, whether or not anybody ran.
    ///
    /// Where the driver is one of them, the broker confirms one part of a window while the next is
    /// published. Without confirms nobody waits, and larger writes are cheaper.
    pub(crate) fn owes_turn(&self) -> bool {
        if !self.confirms {
            return false;
        }
        let accepted = self.accepted.load(Ordering::Relaxed);
        let is_over = accepted >= self.turn_ends.load(Ordering::Relaxed);
        if is_over {
            self.turn_ends.store(accepted + TURN, Ordering::Relaxed);
        }
        is_over
    }

    /// Accepts a message, if there is room and nobody waits for it.
    pub(crate) fn push(&self, message: Message) -> Result<u64, PublishError> {
        if let Err(error) = message.check() {
            let reason = PublishErrorReason::Unsendable(Box::new(error));
            return Err(PublishError { reason, message });
        }
        let mut state = self.lock();
        let bytes = message.size();
        if !state.publisher.is_closed_to(bytes) && !state.publisher.may_pass() {
            let reason = PublishErrorReason::BufferFull;
            return Err(PublishError { reason, message });
        }
        self.push_now(state, message)
    }

    /// Accepts a message as soon as there is room, and those that waited before have had their chance.
    pub(crate) async fn push_in_turn(&self, message: Message) -> Result<u64, PublishError> {
        let mut turn = Turn {
            outbox: self,
            ticket: None,
        };
        let mut message = Some(message);
        std::future::poll_fn(|cx| {
            let next = message
                .take()
                .expect("it is put back whenever this stays pending");
            match turn.push(next, cx.waker()) {
                Err(error) if error.reason == PublishErrorReason::BufferFull => {
                    message = Some(error.message);
                    Poll::Pending
                }
                result => Poll::Ready(result),
            }
        })
        .await
    }

    /// Completes when what was accepted before this call is settled.
    pub(crate) fn flushed(&self) -> impl Future<Output = ()> + Send + '_ {
        let pending = PendingFlush {
            flush: self.lock().publisher.begin_flush(),
            outbox: self,
        };
        std::future::poll_fn(move |cx| pending.poll(cx))
    }

    /// Takes no more messages. What was accepted is still published.
    pub(crate) fn finish(&self) {
        let known = self.with(|state| {
            state.publisher.close();
            std::mem::replace(&mut state.scheduled, true)
        });
        if !known {
            self.ring();
        }
    }

    /// Gives up what is not settled: it is handed back.
    pub(crate) fn abandon(&self, reason: DropReason) -> Vec<Message> {
        self.with(|state| state.publisher.abandon(reason))
    }

    fn push_now(
        &self,
        mut state: MutexGuard<'_, OutboxState>,
        message: Message,
    ) -> Result<u64, PublishError> {
        let pushed = state.publisher.push(message, self.confirms);
        let is_unnoticed = state.publisher.is_first_unnoticed();
        let known =
            pushed.is_err() || std::mem::replace(&mut state.scheduled, true) && !is_unnoticed;
        if let Ok(position) = pushed {
            self.accepted.store(position + 1, Ordering::Relaxed);
        }
        self.release(state);
        if !known {
            self.ring();
        }
        pushed.map_err(|(refused, message)| {
            let reason = match refused {
                Refused::Full => PublishErrorReason::BufferFull,
                Refused::TooLarge => PublishErrorReason::TooLarge,
                Refused::Closed => PublishErrorReason::Closed,
            };
            PublishError { reason, message }
        })
    }

    /// A driver that has not taken it in yet looks by itself once it has.
    fn ring(&self) {
        if let Some(place) = self.place.get() {
            self.doorbell.ring(Ready::Producer(*place));
        }
    }

    /// The same, where somebody waits for room that is there.
    fn ring_for_room(&self) {
        if let Some(place) = self.place.get() {
            self.doorbell.ring(Ready::Room(*place));
        }
    }

    /// Apart, so that it costs nothing where there is nothing to do.
    #[inline(never)]
    fn follow_up(&self, mut state: MutexGuard<'_, OutboxState>) {
        let publisher = &mut state.publisher;
        let woken = publisher.take_woken();
        let news = publisher.take_news();
        let undelivered = publisher.take_undelivered();
        let gone = publisher.take_gone();
        drop(state);
        for waker in woken {
            waker.wake();
        }
        let News { confirmed, rare } = news;
        if confirmed > 0 && self.confirms {
            self.hub.emit_with(|| Event::Confirmed {
                producer: self.id.clone(),
                count: confirmed,
            });
        }
        if let Some(rare) = rare {
            self.tell(*rare);
        }
        // Last, so that nobody waits for what users' code does, nor for what an owner does.
        if let Some(hook) = &self.on_undelivered {
            hook.tell(undelivered.into_iter().map(|mut it| {
                it.outcome = it.outcome.of(self.described());
                it
            }));
        }
        drop(gone);
    }

    fn tell(&self, news: RareNews) {
        let RareNews {
            nacked,
            rejected,
            returned,
            dropped,
        } = news;
        let (hub, id) = (&self.hub, &self.id);
        if nacked > 0 {
            hub.emit_with(|| Event::Nacked {
                producer: id.clone(),
                count: nacked,
            });
        }
        for reason in rejected {
            hub.emit_with(|| Event::Rejected {
                producer: id.clone(),
                reason,
            });
        }
        for returned in returned {
            hub.emit_with(|| Event::Returned {
                producer: id.clone(),
                returned: Box::new(returned),
            });
        }
        for (reason, count) in dropped {
            hub.emit_with(|| Event::Dropped {
                producer: id.clone(),
                reason,
                count,
            });
        }
    }
}

/// A place in the queue of those who wait for room, which is left also if the publish is dropped there.
struct Turn<'a> {
    outbox: &'a Outbox,
    /// Once it waits.
    ticket: Option<u64>,
}

impl Turn<'_> {
    /// Accepts a message if that is possible now; otherwise `waker` will be woken when it may be.
    fn push(&mut self, message: Message, waker: &Waker) -> Result<u64, PublishError> {
        let mut state = self.outbox.lock();
        let bytes = message.size();
        let publisher = &mut state.publisher;
        let may_go = match self.ticket {
            Some(ticket) => publisher.may_go(ticket),
            None => publisher.may_pass(),
        };
        if publisher.is_closed_to(bytes) || may_go && !publisher.is_full_for(bytes) {
            return self.outbox.push_now(state, message);
        }
        match self.ticket {
            Some(ticket) => publisher.wait_on(ticket, waker.clone()),
            None => self.ticket = Some(publisher.wait_for_room(bytes, waker.clone())),
        }
        // It has to be woken for room that is there already, once those before it have had their chance.
        let is_owed = publisher.owes_room();
        self.outbox.release(state);
        if is_owed {
            self.outbox.ring_for_room();
        }
        let reason = PublishErrorReason::BufferFull;
        Err(PublishError { reason, message })
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.outbox.with(|state| state.publisher.leave(ticket));
        }
    }
}

/// A wait for what was accepted to be settled, of which nothing is kept once it is dropped.
struct PendingFlush<'a> {
    flush: Flush,
    outbox: &'a Outbox,
}

impl PendingFlush<'_> {
    fn poll(&self, cx: &Context<'_>) -> Poll<()> {
        let mut state = self.outbox.lock();
        let is_flushed = (state.publisher).poll_flush(self.flush, || cx.waker().clone());
        self.outbox.release(state);
        if is_flushed {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    }
}

impl Drop for PendingFlush<'_> {
    fn drop(&mut self) {
        let mut state = self.outbox.lock();
        state.publisher.end_flush(self.flush);
        self.outbox.release(state);
    }
}
