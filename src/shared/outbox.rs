//! What a producer shares with the driver.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use super::doorbell::{Doorbell, Ready};
use super::hub::Hub;
use super::place::Place;
use crate::core::publisher::{News, Publisher, Refused};
use crate::core::session::ProducerKey;
use crate::core::wait_queue::WaitQueue;
use crate::error::{PublishError, PublishErrorReason};
use crate::events::{Event, ProducerId};
use crate::message::Message;
use crate::outcome::Unconfirmed;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

pub(crate) struct Outbox {
    id: ProducerId,
    confirms: bool,
    state: Mutex<OutboxState>,
    /// How many messages were accepted, to be looked at without the lock.
    accepted: AtomicU64,
    /// Whoever asks for the outcome of a message before this position needs no lock to learn that it
    /// was confirmed. It may lag behind.
    confirmed_before: AtomicU64,
    place: OnceLock<Place<ProducerKey>>,
    doorbell: Arc<Doorbell>,
    hub: Arc<Hub>,
}

/// How many messages are accepted before other tasks have their turn.
const TURN: u64 = 512;

pub(crate) struct OutboxState {
    pub(crate) publisher: Publisher<Waker>,
    /// Whether the driver knows that there is something to write, or has no need to know.
    pub(crate) scheduled: bool,
    /// Publishes that wait for room; only the first of them watches the buffer.
    waiting: WaitQueue<Waker>,
    /// Who waits for the buffer to be empty.
    drained: Vec<Waker>,
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
        publisher: Publisher<Waker>,
        confirms: bool,
        (doorbell, hub): (Arc<Doorbell>, Arc<Hub>),
    ) -> Self {
        Self {
            id,
            confirms,
            state: Mutex::new(OutboxState {
                publisher,
                scheduled: false,
                waiting: WaitQueue::new(),
                drained: Vec::new(),
            }),
            accepted: AtomicU64::new(0),
            confirmed_before: AtomicU64::new(0),
            place: OnceLock::new(),
            doorbell,
            hub,
        }
    }

    pub(crate) fn id(&self) -> ProducerId {
        self.id
    }

    pub(crate) fn confirms(&self) -> bool {
        self.confirms
    }

    /// The driver takes it in; it does so once. What it was not told of before, it has to look for
    /// after this.
    pub(crate) fn register(&self, place: Place<ProducerKey>) {
        _ = self.place.set(place);
    }

    pub(crate) fn lock(&self) -> MutexGuard<'_, OutboxState> {
        lock(&self.state)
    }

    /// Works on the messages under the lock, then wakes and tells whoever is concerned.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut OutboxState) -> R) -> R {
        let mut state = self.lock();
        let result = work(&mut state);
        let confirmed = state.publisher.confirmed_before();
        self.confirmed_before.store(confirmed, Ordering::Release);
        self.release(state);
        result
    }

    /// Unlocks the messages, then wakes and tells whoever is concerned.
    fn release(&self, mut state: MutexGuard<'_, OutboxState>) {
        let aftermath = state.aftermath();
        drop(state);
        if let Some(aftermath) = aftermath {
            self.follow_up(aftermath);
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
        self.lock().publisher.poll_outcome(position, waker)
    }

    /// Whether it is time for other tasks to have their turn before a message is accepted.
    ///
    /// Where the driver is one of them, the broker confirms one part of a window while the next is
    /// published. Without confirms nobody waits, and larger writes are cheaper.
    pub(crate) fn is_turn_over(&self) -> bool {
        self.confirms && self.accepted.load(Ordering::Relaxed) % TURN == TURN - 1
    }

    /// Accepts a message, if there is room and nobody waits for it.
    pub(crate) fn push(&self, message: Message) -> Result<u64, PublishError> {
        self.push_if(message, |state| state.waiting.is_empty())
    }

    /// Accepts a message as soon as there is room, and those that waited before have had theirs.
    pub(crate) async fn push_in_turn(&self, message: Message) -> Result<u64, PublishError> {
        let turn = Turn::new(self);
        let bytes = message.size();
        let mut message = Some(message);
        std::future::poll_fn(|cx| {
            // Registered before the attempt: a turn or room that comes in between wakes.
            turn.wait(bytes, cx.waker());
            let next = message
                .take()
                .expect("it is put back whenever this stays pending");
            match self.push_if(next, |state| state.waiting.is_first(turn.ticket)) {
                Err(error) if error.reason == PublishErrorReason::BufferFull => {
                    message = Some(error.message);
                    Poll::Pending
                }
                result => Poll::Ready(result),
            }
        })
        .await
    }

    /// Completes when the buffer is empty.
    pub(crate) async fn drained(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if state.publisher.is_empty() {
                return Poll::Ready(());
            }
            if !state
                .drained
                .iter()
                .any(|waker| waker.will_wake(cx.waker()))
            {
                state.drained.push(cx.waker().clone());
            }
            Poll::Pending
        })
        .await;
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

    fn push_if(
        &self,
        message: Message,
        may_go: impl FnOnce(&OutboxState) -> bool,
    ) -> Result<u64, PublishError> {
        let mut state = self.lock();
        if !may_go(&state) {
            let reason = PublishErrorReason::BufferFull;
            return Err(PublishError { reason, message });
        }
        let pushed = state.publisher.push(message, self.confirms);
        let known = pushed.is_err() || std::mem::replace(&mut state.scheduled, true);
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

    fn follow_up(&self, aftermath: Aftermath) {
        for waker in aftermath.woken {
            waker.wake();
        }
        let News {
            confirmed,
            nacked,
            rejected,
            returned,
            dropped,
        } = aftermath.news;
        let (hub, producer) = (&self.hub, self.id);
        if confirmed > 0 && self.confirms {
            hub.emit_with(|| Event::Confirmed {
                producer,
                count: confirmed,
            });
        }
        if nacked > 0 {
            hub.emit_with(|| Event::Nacked {
                producer,
                count: nacked,
            });
        }
        for reason in rejected {
            hub.emit_with(|| Event::Rejected { producer, reason });
        }
        for returned in returned {
            hub.emit_with(|| Event::Returned {
                producer,
                returned: Box::new(returned),
            });
        }
        for (reason, count) in dropped {
            hub.emit_with(|| Event::Dropped {
                producer,
                reason,
                count,
            });
        }
    }
}

/// What is to be done once the lock is released.
struct Aftermath {
    woken: Vec<Waker>,
    news: News,
}

impl OutboxState {
    fn aftermath(&mut self) -> Option<Aftermath> {
        // A message that was returned is settled without any news, and may have been the last one.
        let is_drained = self.publisher.is_empty() && !self.drained.is_empty();
        if self.publisher.is_quiet() && !is_drained {
            return None;
        }
        let mut woken = self.publisher.take_woken();
        if self.publisher.is_empty() {
            woken.append(&mut self.drained);
        }
        Some(Aftermath {
            woken,
            news: self.publisher.take_news(),
        })
    }
}

/// A place in the queue of those who wait for room, which is left also if the publish is dropped there.
struct Turn<'a> {
    outbox: &'a Outbox,
    ticket: u64,
}

impl<'a> Turn<'a> {
    fn new(outbox: &'a Outbox) -> Self {
        let ticket = outbox.lock().waiting.join();
        Self { outbox, ticket }
    }

    /// Asks to be woken when there may be room: the first watches the buffer, the others wait to be
    /// the first.
    fn wait(&self, bytes: usize, waker: &Waker) {
        let mut state = self.outbox.lock();
        if state.waiting.is_first(self.ticket) {
            state.publisher.wait_for_room(bytes, waker.clone());
        } else {
            state.waiting.wait(self.ticket, waker.clone());
        }
    }
}

impl Drop for Turn<'_> {
    fn drop(&mut self) {
        let next = self.outbox.lock().waiting.leave(self.ticket);
        if let Some(next) = next {
            next.wake();
        }
    }
}
