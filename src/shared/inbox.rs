//! What a consumer shares with the driver.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};

use snowshoe_codec::{Delivery, ShortString};

use super::doorbell::{Doorbell, Ready};
use super::place::Place;
use crate::core::Epoch;
use crate::core::acks::{self, AckTracker, Settle};
use crate::core::ring::Limits;
use crate::core::session::ConsumerKey;
use crate::error::{ConsumerEnd, SettleError};
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering, lock};

pub(crate) struct Inbox {
    no_ack: bool,
    /// What may wait before the connection is not read any more.
    limits: Limits,
    state: Mutex<InboxState>,
    /// The epoch in the state, to be looked at without the lock.
    epoch: AtomicU64,
    place: OnceLock<Place<ConsumerKey>>,
    doorbell: Arc<Doorbell>,
}

impl fmt::Debug for Inbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Inbox")
            .field("place", &self.place)
            .finish_non_exhaustive()
    }
}

struct InboxState {
    queue: ShortString,
    deliveries: VecDeque<Delivery>,
    /// The length of the bodies that wait.
    bytes: usize,
    epoch: Epoch,
    tracker: AckTracker,
    /// How many unsettled deliveries of this epoch are in the user's hands.
    held: usize,
    waker: Option<Waker>,
    /// Whether the driver knows that there is something to settle.
    scheduled: bool,
    /// Whether the driver has stopped to read until some were taken.
    paused: bool,
    /// Whether the consumer is gone: what still comes goes back to the queue.
    abandoned: bool,
    end: Option<ConsumerEnd>,
}

impl InboxState {
    fn requeue(&mut self, delivery: &Delivery) {
        let (tag, requeue) = (delivery.delivery_tag, Settle::Nack { requeue: true });
        // What was settled already, together with others, stays so.
        _ = self.tracker.settle(self.epoch, tag, requeue, false);
    }

    fn give_back_all(&mut self) {
        self.bytes = 0;
        for delivery in std::mem::take(&mut self.deliveries) {
            self.requeue(&delivery);
        }
    }
}

/// What came of putting deliveries into an inbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    Taken,
    /// There are more now than are to wait.
    Behind,
    /// The consumer is gone. That they go back is to be told to the broker.
    GivenBack,
}

/// What came of looking into an inbox.
pub(crate) struct Taken {
    /// What the deliveries that were taken belong to.
    pub(crate) epoch: Epoch,
    /// Whether no more will come.
    pub(crate) ended: bool,
}

impl Inbox {
    pub(crate) fn new(
        queue: ShortString,
        no_ack: bool,
        limits: Limits,
        doorbell: Arc<Doorbell>,
    ) -> Self {
        let state = InboxState {
            queue,
            deliveries: VecDeque::new(),
            bytes: 0,
            epoch: Epoch::default(),
            tracker: AckTracker::new(Epoch::default()),
            held: 0,
            waker: None,
            scheduled: false,
            paused: false,
            abandoned: false,
            end: None,
        };
        Self {
            no_ack,
            limits,
            state: Mutex::new(state),
            epoch: AtomicU64::new(Epoch::default().number()),
            place: OnceLock::new(),
            doorbell,
        }
    }

    pub(crate) fn is_no_ack(&self) -> bool {
        self.no_ack
    }

    /// Where the driver keeps it, once it has taken it in.
    pub(crate) fn place(&self) -> Option<Place<ConsumerKey>> {
        self.place.get().copied()
    }

    /// The driver takes it in; it does so once. What it was not told of before, it has to look for
    /// after this.
    pub(crate) fn register(&self, place: Place<ConsumerKey>) {
        _ = self.place.set(place);
    }

    pub(crate) fn queue(&self) -> ShortString {
        self.lock().queue.clone()
    }

    pub(crate) fn end(&self) -> Option<ConsumerEnd> {
        self.lock().end.clone()
    }

    /// How many deliveries wait.
    pub(crate) fn len(&self) -> usize {
        self.lock().deliveries.len()
    }

    // What the consumer does.

    /// Swaps an empty batch for all that waits. If that is nothing, `waker` is woken for more.
    pub(crate) fn take(&self, batch: &mut VecDeque<Delivery>, waker: Option<&Waker>) -> Taken {
        let mut state = self.lock();
        std::mem::swap(batch, &mut state.deliveries);
        state.bytes = 0;
        if !self.no_ack {
            state.held += batch.len();
        }
        let taken = Taken {
            epoch: state.epoch,
            ended: state.end.is_some(),
        };
        if batch.is_empty() && !taken.ended {
            state.waker = waker.cloned();
        }
        let resume = std::mem::take(&mut state.paused);
        drop(state);
        if resume {
            self.ring();
        }
        taken
    }

    /// Lets the deliveries of a batch, all that wait, and all that still come go back to the queue.
    pub(crate) fn abandon(&self, batch: &mut VecDeque<Delivery>, epoch: Epoch) {
        let mut state = self.lock();
        if !self.no_ack && epoch == state.epoch {
            state.held -= batch.len();
            for delivery in &*batch {
                state.requeue(delivery);
            }
        }
        state.abandoned = true;
        state.paused = false;
        state.give_back_all();
        self.schedule(state);
        batch.clear();
    }

    /// Nobody waits for deliveries any more.
    pub(crate) fn forget_waker(&self) {
        self.lock().waker = None;
    }

    /// Completes when no more will come.
    pub(crate) async fn ended(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if state.end.is_some() {
                return Poll::Ready(());
            }
            state.waker = Some(cx.waker().clone());
            Poll::Pending
        })
        .await;
    }

    /// Whether deliveries of this epoch can no longer be settled.
    pub(crate) fn is_stale(&self, epoch: Epoch) -> bool {
        !self.no_ack && self.epoch.load(Ordering::Acquire) != epoch.number()
    }

    /// Settles a delivery, of which the user gives `released` out of the hands.
    pub(crate) fn settle(
        &self,
        epoch: Epoch,
        tag: u64,
        settle: Settle,
        multiple: bool,
        released: usize,
    ) -> Result<(), SettleError> {
        let mut state = self.lock();
        if epoch == state.epoch {
            state.held -= released;
        }
        let result = state.tracker.settle(epoch, tag, settle, multiple);
        self.schedule(state);
        result.map_err(settle_error)
    }

    /// Settles deliveries that the user gives out of the hands; the first error is told.
    pub(crate) fn settle_each(
        &self,
        epoch: Epoch,
        tags: impl Iterator<Item = u64>,
        settle: Settle,
    ) -> Result<(), SettleError> {
        let mut state = self.lock();
        let mut result = Ok(());
        for tag in tags {
            if epoch == state.epoch {
                state.held -= 1;
            }
            let settled = state.tracker.settle(epoch, tag, settle, false);
            result = result.and(settled);
        }
        self.schedule(state);
        result.map_err(settle_error)
    }

    /// The user has dropped a delivery unsettled.
    pub(crate) fn release(&self, epoch: Epoch) {
        let mut state = self.lock();
        if epoch == state.epoch {
            state.held -= 1;
        }
        if state.end.is_some() {
            self.schedule(state);
        }
    }

    // What the driver does.

    /// Puts deliveries in.
    pub(crate) fn fill(&self, batch: &mut VecDeque<Delivery>) -> Filled {
        let mut state = self.lock();
        if !self.no_ack {
            for delivery in &*batch {
                // A tag out of order is not tracked, and so never settled wrongly.
                _ = state.tracker.delivered(delivery.delivery_tag);
            }
        }
        state.bytes += (batch.iter())
            .map(|delivery| delivery.content.body().len())
            .sum::<usize>();
        if state.deliveries.is_empty() {
            std::mem::swap(&mut state.deliveries, batch);
        } else {
            state.deliveries.append(batch);
        }
        if state.abandoned {
            state.give_back_all();
            return Filled::GivenBack;
        }
        let Limits { messages, bytes } = self.limits;
        state.paused = state.deliveries.len() >= messages || state.bytes >= bytes;
        let filled = if state.paused {
            Filled::Behind
        } else {
            Filled::Taken
        };
        wake(state);
        filled
    }

    /// A new epoch begins, with this queue: what belongs to the one before cannot be settled any
    /// more, and is delivered again. Without acknowledgements, what was received stays.
    pub(crate) fn begin_epoch(&self, epoch: Epoch, queue: ShortString) {
        let mut state = self.lock();
        state.queue = queue;
        self.turn_epoch(&mut state, epoch);
    }

    /// The channel is gone: settling is of no use until the next epoch.
    pub(crate) fn end_epoch(&self) {
        // No delivery belongs to this one.
        self.turn_epoch(&mut self.lock(), Epoch::default());
    }

    fn turn_epoch(&self, state: &mut InboxState, epoch: Epoch) {
        self.epoch.store(epoch.number(), Ordering::Release);
        state.epoch = epoch;
        state.tracker.begin_epoch(epoch);
        state.held = 0;
        state.scheduled = false;
        if !self.no_ack {
            state.deliveries.clear();
            state.bytes = 0;
        }
    }

    /// No more deliveries will come.
    pub(crate) fn finish(&self, end: ConsumerEnd) {
        let mut state = self.lock();
        state.end.get_or_insert(end);
        wake(state);
    }

    /// Gives the settles that wait to the driver.
    pub(crate) fn flush(&self, send: impl FnMut(acks::SettleFrame)) {
        let mut state = self.lock();
        state.scheduled = false;
        state.tracker.flush(send);
    }

    /// Whether nothing is left for the user to settle, nor for the driver to tell the broker.
    pub(crate) fn is_drained(&self) -> bool {
        let state = self.lock();
        state.held == 0 && state.tracker.pending() == 0
    }

    /// Whether the driver has been given every settle.
    pub(crate) fn has_nothing_to_send(&self) -> bool {
        self.lock().tracker.pending() == 0
    }

    /// The broker gave a queue another name.
    pub(crate) fn queue_renamed(&self, old: &ShortString, new: &ShortString) {
        let mut state = self.lock();
        if state.queue == *old {
            state.queue = new.clone();
        }
    }

    /// Whether reading may go on.
    pub(crate) fn has_room(&self) -> bool {
        !self.lock().paused
    }

    fn lock(&self) -> MutexGuard<'_, InboxState> {
        lock(&self.state)
    }

    /// Tells the driver, unless it knows.
    fn schedule(&self, mut state: MutexGuard<'_, InboxState>) {
        let known = std::mem::replace(&mut state.scheduled, true);
        drop(state);
        if !known {
            self.ring();
        }
    }

    /// A driver that has not taken it in yet looks by itself once it has.
    fn ring(&self) {
        if let Some(place) = self.place() {
            self.doorbell.ring(Ready::Consumer(place));
        }
    }
}

fn wake(mut state: MutexGuard<'_, InboxState>) {
    let waker = state.waker.take();
    drop(state);
    if let Some(waker) = waker {
        waker.wake();
    }
}

fn settle_error(error: acks::SettleError) -> SettleError {
    match error {
        acks::SettleError::Stale => SettleError::Stale,
        acks::SettleError::AlreadySettled | acks::SettleError::Unknown => {
            SettleError::AlreadySettled
        }
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use super::*;
    use crate::core::testing::{deliveries, name};

    fn inbox(messages: usize, bytes: usize) -> Arc<Inbox> {
        let limits = Limits { messages, bytes };
        Arc::new(Inbox::new(name("q"), true, limits, Arc::default()))
    }

    #[test]
    fn deliveries_that_wait_are_bounded_in_messages_and_in_bytes() {
        let fill = |inbox: &Inbox, body| inbox.fill(&mut deliveries(&[body]).into());
        let few = inbox(2, usize::MAX);
        assert_eq!(fill(&few, "a"), Filled::Taken);
        assert_eq!(fill(&few, "b"), Filled::Behind);
        let small = inbox(usize::MAX, 10);
        assert_eq!(fill(&small, "herring"), Filled::Taken);
        assert_eq!(fill(&small, "cod"), Filled::Behind);
        assert!(!small.has_room());

        small.take(&mut VecDeque::new(), None);
        assert!(small.has_room());
        assert_eq!(fill(&small, "herring"), Filled::Taken);
        small.take(&mut VecDeque::new(), None);
        assert_eq!(fill(&small, "haddock"), Filled::Taken);
    }
}
