//! What a consumer shares with the driver.

mod outcome;
mod places;
mod stopping;
mod weighing;

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};
use std::task::{Poll, Waker};
use std::time::Duration;

use snowshoe_codec::{Delivery, ShortString};

use self::outcome::settled;
pub(crate) use self::outcome::{Filled, Taken};
use self::places::has_place_in_stream;
pub(crate) use self::places::{AskForOffset, place_in_stream};
pub(crate) use self::stopping::{Asked, Stopping};
pub(crate) use self::weighing::cost;
use super::doorbell::{Doorbell, Ready};
use super::place::Place;
use crate::core::acks::{self, AckTracker, Settle};
use crate::core::backlog::{Backlog, Bounds, Load, Stage};
use crate::core::session::ConsumerKey;
use crate::core::stream::{Progress, StreamSigns};
use crate::core::subscription::{ConsumerSpec, Leaving};
use crate::core::{Epoch, Flow};
use crate::error::{ConsumerEnd, SettleError};
use crate::events::ConsumerId;
use crate::outcome::Settled;
use crate::stream::{OFFSET, StreamOffset};
use crate::sync::{AtomicBool, AtomicU64, Mutex, MutexGuard, Ordering, WakerSlot, lock};

pub(crate) struct Inbox {
    no_ack: bool,
    tag: ShortString,
    /// What the tags of consumers begin with that may send one message at a time.
    narrow_prefix: &'static [u8],
    state: Mutex<InboxState>,
    stopping: Stopping,
    /// Whether the queue lets messages wait that failed.
    delays_retries: AtomicBool,
    warns_after: Option<Duration>,
    /// Who is asked where a stream is to be read from.
    ask_for_offset: Option<AskForOffset>,
    /// The epoch in the state, to be looked at without the lock.
    epoch: AtomicU64,
    /// The last tag of this epoch that the consumer has handed out.
    last_handed_out: AtomicU64,
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
    /// How much waits in here and in the consumer's hands, and what follows from it.
    backlog: Backlog,
    /// Whether it comes from a stream.
    signs: StreamSigns,
    /// How far it has come, where that may be one.
    progress: Option<Box<Progress>>,
    /// How many refusals of it were passed over, and not yet told.
    passed_over: usize,
    /// Without acknowledgements, what came to the narrow consumer: it is acknowledged once there is a
    /// wide one again, and not handed out before the broker has heard that, or it could come twice.
    pledge: Option<Delivery>,
    /// What comes after it.
    deferred: VecDeque<Delivery>,
    epoch: Epoch,
    tracker: AckTracker,
    /// How many unsettled deliveries of this epoch are in the user's hands.
    held: usize,
    waker: WakerSlot,
    /// Whether the driver knows that there is something to settle.
    scheduled: bool,
    /// Whether the driver knows that the broker is to be asked for something.
    told: bool,
    /// Whether the consumer is gone: what still comes goes back to the queue.
    abandoned: bool,
    /// How it goes.
    leaving: Leaving,
    /// What of this epoch was taken back from the consumer before it was handed out: the tags after the
    /// first number, up to the second.
    taken_back: (u64, u64),
    end: Option<ConsumerEnd>,
}

impl InboxState {
    fn track(&mut self, batch: &VecDeque<Delivery>) {
        for delivery in batch {
            // A tag out of order is not tracked, and so never settled wrongly.
            _ = self.tracker.delivered(delivery.delivery_tag);
        }
    }

    fn flows(&mut self, flow: Flow) {
        self.backlog.flows(flow);
        let mut deferred = std::mem::take(&mut self.deferred);
        self.deliveries.append(&mut deferred);
    }

    /// Looks whether these come from a stream.
    fn look_for_stream(&mut self, batch: &VecDeque<Delivery>) {
        if !self.signs.is_open() {
            return;
        }
        if let Some(has_place) = batch.iter().find_map(has_place_in_stream) {
            self.signs.shown(has_place);
        }
        if self.signs.may_be_stream() {
            self.backlog.is_a_stream();
            self.progress
                .get_or_insert_with(|| Box::new(Progress::new(None)));
        }
    }

    /// What the broker is told for this, and whether it is something else.
    fn as_taken(&self, settle: Settle) -> (Settle, bool) {
        let is_refused = settle != Settle::Ack && self.signs.is_stream();
        (if is_refused { Settle::Ack } else { settle }, is_refused)
    }

    /// Whether what is not worked on goes back at once. A stream has it anyway, and where it may be one, the
    /// end of the channel does it; as it does where order comes first.
    fn gives_back(&self) -> bool {
        !self.signs.may_be_stream() && self.leaving == Leaving::Cancelled
    }

    /// Lets a delivery go back to the queue.
    fn requeue(&mut self, delivery: &Delivery) {
        if !self.gives_back() {
            return;
        }
        let (tag, requeue) = (delivery.delivery_tag, Settle::Nack { requeue: true });
        // What was settled already, together with others, stays so.
        _ = self.tracker.settle(self.epoch, tag, requeue, false);
    }

    /// What was handed out in the very moment in which it was taken back is delivered again.
    fn or_taken_back(
        &self,
        tag: u64,
        result: Result<(), acks::SettleError>,
    ) -> Result<(), acks::SettleError> {
        let (after, through) = self.taken_back;
        match result {
            Err(acks::SettleError::AlreadySettled) if tag > after && tag <= through => {
                Err(acks::SettleError::Stale)
            }
            result => result,
        }
    }

    fn give_back_all(&mut self) {
        self.backlog.clear();
        if !self.gives_back() {
            _ = self.backlog.take_returns();
        }
        self.pledge = None;
        self.deferred.clear();
        for delivery in std::mem::take(&mut self.deliveries) {
            self.requeue(&delivery);
        }
    }
}

impl Inbox {
    pub(crate) fn new(spec: &ConsumerSpec, bounds: Bounds, doorbell: Arc<Doorbell>) -> Self {
        let mut signs = StreamSigns::default();
        let mut progress = None;
        if matches!(spec.arguments.get(OFFSET), Ok(Some(_))) {
            signs.said();
            let begin = StreamOffset::of(&spec.arguments);
            progress = Some(Box::new(Progress::new(begin)));
        }
        let state = InboxState {
            queue: spec.queue.clone(),
            deliveries: VecDeque::new(),
            backlog: Backlog::new(bounds),
            signs,
            progress,
            passed_over: 0,
            pledge: None,
            deferred: VecDeque::new(),
            epoch: Epoch::default(),
            tracker: AckTracker::new(Epoch::default()),
            held: 0,
            waker: WakerSlot::default(),
            scheduled: false,
            told: false,
            abandoned: false,
            leaving: Leaving::Cancelled,
            taken_back: (0, 0),
            end: None,
        };
        Self {
            no_ack: spec.no_ack,
            tag: spec.tag.clone(),
            narrow_prefix: spec.narrow_prefix(),
            state: Mutex::new(state),
            stopping: Stopping::default(),
            delays_retries: AtomicBool::new(false),
            warns_after: None,
            ask_for_offset: None,
            epoch: AtomicU64::new(Epoch::default().number()),
            last_handed_out: AtomicU64::new(0),
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

    /// What the user calls it, whatever takes its place at the broker.
    pub(crate) fn tag(&self) -> &ShortString {
        &self.tag
    }

    /// What events call it, whatever takes its place at the broker.
    pub(crate) fn id(&self) -> ConsumerId {
        ConsumerId::new(self.queue(), self.tag.clone())
    }

    pub(crate) fn queue(&self) -> ShortString {
        self.lock().queue.clone()
    }

    pub(crate) fn end(&self) -> Option<ConsumerEnd> {
        self.lock().end.clone()
    }

    /// How many deliveries wait.
    pub(crate) fn len(&self) -> usize {
        let state = self.lock();
        state.deliveries.len() + state.deferred.len() + usize::from(state.pledge.is_some())
    }

    /// How many deliveries were lost for want of room.
    pub(crate) fn dropped(&self) -> u64 {
        self.lock().backlog.dropped_ever()
    }

    // What the consumer does.

    /// Swaps an empty batch for all that waits, and notes that of the batch before it, which was of this
    /// epoch, `released` was handed out since that was last told. If nothing waits, `waker` is woken for
    /// more.
    pub(crate) fn take(
        &self,
        batch: &mut VecDeque<Delivery>,
        (epoch, released): (Epoch, Load),
        waker: Option<&Waker>,
    ) -> Taken {
        let mut state = self.lock();
        self.release_load(&mut state, epoch, released);
        // Whatever was taken back is not in there any more.
        self.epoch.store(state.epoch.number(), Ordering::Release);
        std::mem::swap(batch, &mut state.deliveries);
        if !self.no_ack {
            state.held += batch.len();
        }
        let taken = Taken {
            epoch: state.epoch,
            ended: state.end.is_some(),
        };
        let mut before = None;
        if batch.is_empty() && !taken.ended {
            before = match waker {
                Some(waker) => state.waker.replace(waker),
                None => state.waker.take(),
            };
            let held = state.held;
            state.backlog.starve(held);
        }
        self.tell_wish(state);
        // Without the lock: with it a task may go, and with that deliveries and consumers.
        drop(before);
        taken
    }

    /// All that waits or was taken, to be given for `released` where it is taken at once.
    #[cfg(any(all(test, not(snowshoe_loom)), feature = "_internal"))]
    pub(crate) fn waiting(&self) -> (Epoch, Load) {
        let state = self.lock();
        (state.epoch, state.backlog.waiting())
    }

    /// Notes that a delivery of a batch of this epoch is about to be handed out.
    pub(crate) fn hands_out(&self, tag: u64) {
        self.last_handed_out.store(tag, Ordering::Relaxed);
    }

    /// Notes that the consumer drops a batch of this epoch, which is stale: its load is gone with the epoch, or
    /// it was [taken back](Self::take_back).
    pub(crate) fn drops(&self, epoch: Epoch, batch: &mut VecDeque<Delivery>) {
        let mut load = Load::default();
        for delivery in batch.drain(..) {
            load.add(cost(&delivery));
        }
        let mut state = self.lock();
        if epoch == state.epoch {
            state.held -= load.messages;
            state.backlog.release(load);
        }
    }

    /// Notes what was handed out of a batch of this epoch.
    pub(crate) fn handed_out(&self, epoch: Epoch, released: Load) {
        let mut state = self.lock();
        self.release_load(&mut state, epoch, released);
        self.tell_wish(state);
    }

    fn release_load(&self, state: &mut InboxState, epoch: Epoch, released: Load) {
        // What belonged to an epoch that is gone does not count any more.
        if self.no_ack || epoch == state.epoch {
            state.backlog.release(released);
        }
    }

    /// Tells the driver that the broker is to be asked for something, unless it knows.
    fn tell_wish(&self, mut state: MutexGuard<'_, InboxState>) {
        let is_news = !state.told && !state.abandoned && state.backlog.has_wish();
        state.told |= is_news;
        drop(state);
        if is_news {
            self.ring();
        }
    }

    /// Lets the deliveries of a batch, all that wait, and all that still come go back to the queue.
    pub(crate) fn abandon(&self, batch: &mut VecDeque<Delivery>, epoch: Epoch) {
        let mut state = self.lock();
        state.abandoned = true;
        if self.no_ack {
            state.give_back_all();
        } else if epoch == state.epoch {
            state.held -= batch.len();
            batch.append(&mut state.deliveries);
            std::mem::swap(batch, &mut state.deliveries);
        }
        self.schedule(state);
        batch.clear();
    }

    /// The broker sends nothing more: what waits goes back to the queue. Before that, it would only come to
    /// the same consumer again, and that would count.
    pub(crate) fn let_go(&self) {
        let mut state = self.lock();
        if self.no_ack && !state.abandoned {
            // It would be lost; the broker has but the pledge.
            state.pledge = None;
            let mut deferred = std::mem::take(&mut state.deferred);
            state.deliveries.append(&mut deferred);
            return;
        }
        state.give_back_all();
    }

    /// Wakes `waker` for whatever comes next. Whether the consumer has ended.
    pub(crate) fn wait(&self, waker: &Waker) -> bool {
        let mut state = self.lock();
        let before = state.waker.replace(waker);
        let has_ended = state.end.is_some();
        drop(state);
        drop(before);
        has_ended
    }

    /// Nobody waits for deliveries any more.
    pub(crate) fn forget_waker(&self) {
        let waker = self.lock().waker.take();
        drop(waker);
    }

    /// Completes when no more will come.
    pub(crate) async fn ended(&self) {
        std::future::poll_fn(|cx| {
            let mut state = self.lock();
            if state.end.is_some() {
                return Poll::Ready(());
            }
            let before = state.waker.replace(cx.waker());
            drop(state);
            drop(before);
            Poll::Pending
        })
        .await;
    }

    // How it is stopped by others.

    /// Whoever works on its deliveries is to begin with no more of them, or to end at once.
    pub(crate) fn stop(&self, how: Asked) {
        self.stopping.ask(how);
        wake(self.lock());
    }

    /// Nothing is handed out for now, or again. Whether that is news.
    pub(crate) fn pause(&self, is_paused: bool) -> bool {
        let is_news = self.stopping.pause(is_paused);
        if is_news {
            wake(self.lock());
        }
        is_news
    }

    /// How the consumer is to let go of what it has where it is paused; `None` where the broker is not to hear of it.
    /// Of a stream nothing goes back, and without acknowledgements what is sent is gone, so there what is received
    /// waits here, and bounds what follows.
    pub(crate) fn leaving_for_pause(&self) -> Option<Leaving> {
        let state = self.lock();
        (!self.no_ack && !state.signs.may_be_stream()).then_some(state.leaving)
    }

    /// The oldest delivery that is not settled.
    pub(crate) fn oldest_unsettled(&self) -> Option<(Epoch, u64)> {
        let state = self.lock();
        Some((state.epoch, state.tracker.oldest_unsettled()?))
    }

    /// How long a delivery may be unsettled before that is told; `None` where the queue says it.
    pub(crate) fn warns_after(&self) -> Option<Duration> {
        self.warns_after
    }

    /// Deliveries that are unsettled for so long are told.
    pub(crate) fn warning_after(mut self, limit: Option<Duration>) -> Self {
        self.warns_after = limit;
        self
    }

    /// Whether its messages are known to be a stream's.
    pub(crate) fn is_stream(&self) -> bool {
        self.lock().signs.is_stream()
    }

    /// Whether what was handed out is settled, and that was told to the broker.
    pub(crate) fn has_nothing_at_hand(&self) -> bool {
        let last = self.last_handed_out.load(Ordering::Relaxed);
        let state = self.lock();
        // Settles that were not flushed would go with the channel.
        state.tracker.pending() == 0 && !state.tracker.is_any_unsettled_up_to(last)
    }

    /// The client is being closed: whoever works on deliveries is to begin with no more of them.
    pub(crate) fn stop_by_close(&self) {
        self.stopping.close();
        wake(self.lock());
    }

    /// What is asked of whoever works on its deliveries.
    pub(crate) fn stopping(&self) -> &Stopping {
        &self.stopping
    }

    /// No [handlers](Stopping::begin_handlers) run any more.
    pub(crate) fn end_handlers(&self) {
        self.stopping.end_handlers();
        self.ring();
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
    ) -> Result<Settled, SettleError> {
        let mut state = self.lock();
        if epoch == state.epoch {
            state.held -= released;
        }
        let (settle, is_passed_over) = state.as_taken(settle);
        let pending = state.tracker.pending();
        let result = state.tracker.settle(epoch, tag, settle, multiple);
        if is_passed_over {
            state.passed_over += state.tracker.pending() - pending;
        }
        if result.is_ok() {
            state.goes_on(tag, multiple);
        }
        let result = state.or_taken_back(tag, result);
        self.schedule(state);
        settled(result, is_passed_over)
    }

    /// Settles deliveries that the user gives out of the hands; the first error is told.
    pub(crate) fn settle_each(
        &self,
        epoch: Epoch,
        tags: impl Iterator<Item = u64>,
        settle: Settle,
    ) -> Result<Settled, SettleError> {
        let mut state = self.lock();
        let (settle, is_passed_over) = state.as_taken(settle);
        let mut result = Ok(());
        for tag in tags {
            if epoch == state.epoch {
                state.held -= 1;
            }
            let settled = state.tracker.settle(epoch, tag, settle, false);
            state.passed_over += usize::from(is_passed_over && settled.is_ok());
            if settled.is_ok() {
                state.goes_on(tag, false);
            }
            result = result.and(state.or_taken_back(tag, settled));
        }
        self.schedule(state);
        settled(result, is_passed_over)
    }

    /// Notes whether the queue lets messages wait that failed.
    pub(crate) fn said_to_delay_retries(&self, delays: bool) {
        self.delays_retries.store(delays, Ordering::Relaxed);
    }

    /// Whether the queue lets messages wait that failed.
    pub(crate) fn delays_retries(&self) -> bool {
        self.delays_retries.load(Ordering::Relaxed)
    }

    /// Whether a delivery can still be settled.
    pub(crate) fn is_unsettled(&self, epoch: Epoch, tag: u64) -> bool {
        let state = self.lock();
        epoch == state.epoch && state.tracker.is_unsettled(tag)
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
            state.look_for_stream(batch);
        }
        let has_settled = state.leave_out_settled(batch);
        let mut load = Load::default();
        for delivery in &*batch {
            load.add(cost(delivery));
        }
        if state.abandoned {
            return Filled {
                has_settled,
                ..self.fill_abandoned(state, batch, load)
            };
        }
        if state.backlog.takes(load) {
            state.backlog.keep(load);
            if !self.no_ack {
                state.track(batch);
            }
            if state.deliveries.is_empty() {
                std::mem::swap(&mut state.deliveries, batch);
            } else {
                state.deliveries.append(batch);
            }
        } else {
            for delivery in batch.drain(..) {
                self.put(&mut state, delivery);
            }
        }
        let filled = Filled {
            given_back: false,
            has_settled,
            has_wish: state.backlog.has_wish(),
            dropped: state.backlog.take_dropped(),
        };
        if !state.deliveries.is_empty() {
            wake(state);
        }
        filled
    }

    /// Puts deliveries in that nobody takes: they wait for the broker's word that no more come, unless they
    /// are too much for that.
    fn fill_abandoned(
        &self,
        mut state: MutexGuard<'_, InboxState>,
        batch: &mut VecDeque<Delivery>,
        load: Load,
    ) -> Filled {
        if !self.no_ack {
            state.track(batch);
        }
        let fits = state.backlog.takes(load);
        state.backlog.keep(load);
        state.deliveries.append(batch);
        let given_back = self.no_ack || !fits;
        if given_back {
            state.give_back_all();
        }
        Filled {
            given_back,
            ..Filled::default()
        }
    }

    /// Puts a delivery in, where it is not plain that it fits.
    fn put(&self, state: &mut InboxState, delivery: Delivery) {
        let tag = delivery.consumer_tag();
        if self.no_ack && tag.as_bytes().starts_with(self.narrow_prefix) {
            // A second one would break the protocol; it comes again after this channel.
            state.pledge.get_or_insert(delivery);
            return;
        }
        let cost = cost(&delivery);
        if state.backlog.has_room(cost) {
            let mut load = Load::default();
            load.add(cost);
            state.backlog.keep(load);
            if self.no_ack && state.backlog.stage() == Stage::Widening {
                state.deferred.push_back(delivery);
            } else {
                if !self.no_ack {
                    _ = state.tracker.delivered(delivery.delivery_tag);
                }
                state.deliveries.push_back(delivery);
            }
        } else if self.no_ack {
            state.backlog.drop_one();
        } else {
            state.backlog.give_back(delivery.delivery_tag);
        }
    }

    /// What the broker is to be asked for, if anything. What is to go back to the queue first is
    /// [told](Self::flush) after this.
    pub(crate) fn take_wish(&self) -> Option<Flow> {
        let mut state = self.lock();
        state.told = false;
        if state.abandoned {
            return None;
        }
        state.backlog.take_wish()
    }

    /// How its consumer is to go.
    pub(crate) fn leaving(&self) -> Leaving {
        self.lock().leaving
    }

    /// Whether the queue was declared to have one active consumer at a time.
    pub(crate) fn said_to_be_single_active(&self, is_single_active: bool) {
        self.lock().leaving = match is_single_active && !self.no_ack {
            true => Leaving::WithItsChannel,
            false => Leaving::Cancelled,
        };
    }

    /// The queue was declared as a stream.
    pub(crate) fn said_to_be_stream(&self) {
        self.lock().signs.said();
    }

    /// The broker has closed the connection over a refusal of this consumer, or of one like it.
    pub(crate) fn refusal_refused(&self) {
        self.lock().signs.refusal_refused();
    }

    /// What the consumer has not handed out is to be [told](Self::flush) to go back to the queue, and is not
    /// handed out any more. What was can be settled as before.
    pub(crate) fn take_back(&self) {
        let mut state = self.lock();
        if !state.gives_back() {
            return;
        }
        // What the consumer has with it is stale until it looks in here again.
        self.epoch
            .store(Epoch::default().number(), Ordering::Release);
        let mut load = Load::default();
        for delivery in std::mem::take(&mut state.deliveries) {
            load.add(cost(&delivery));
        }
        let last = self.last_handed_out.load(Ordering::Relaxed);
        state.taken_back = (last, state.tracker.last_tag());
        let requeue = Settle::Nack { requeue: true };
        state.tracker.settle_after(last, requeue);
        state.backlog.release(load);
        state.backlog.let_back();
    }

    /// Whether what has not been handed out is to go back before the channel ends, rather than with it.
    pub(crate) fn gives_back(&self) -> bool {
        !self.no_ack && self.lock().gives_back()
    }

    /// What was not kept is to be [told](Self::flush) to go back to the queue.
    pub(crate) fn let_back(&self) {
        self.lock().backlog.let_back();
    }

    /// The broker cannot be asked without harm.
    pub(crate) fn hold(&self) {
        self.lock().backlog.hold();
    }

    /// The broker does as it was asked. What is to be acknowledged by that, if anything; then
    /// [`heard`](Self::heard) is to follow.
    pub(crate) fn flows(&self, flow: Flow) -> Option<u64> {
        let mut state = self.lock();
        if flow != Flow::Narrow
            && let Some(pledge) = &state.pledge
        {
            return Some(pledge.delivery_tag);
        }
        state.flows(flow);
        wake(state);
        None
    }

    /// The broker has heard that the pledge is acknowledged.
    pub(crate) fn heard(&self) {
        let mut state = self.lock();
        if let Some(pledge) = state.pledge.take() {
            let mut load = Load::default();
            load.add(cost(&pledge));
            state.backlog.keep(load);
            state.deliveries.push_back(pledge);
        }
        // Without acknowledgements there is but one.
        state.flows(Flow::Wide { prefetch: 0 });
        wake(state);
    }

    /// A new epoch begins, with this queue and flow: what belongs to the one before cannot be settled
    /// any more, and is delivered again. Without acknowledgements, what was received stays.
    pub(crate) fn begin_epoch(&self, epoch: Epoch, queue: ShortString, flow: Flow) {
        let mut state = self.lock();
        let before = std::mem::replace(&mut state.queue, queue);
        self.turn_epoch(&mut state, epoch);
        state.flows(flow);
        drop(state);
        // A name may be bytes of a user's, with an owner.
        drop(before);
    }

    /// The channel is gone: settling is of no use until the next epoch.
    pub(crate) fn end_epoch(&self) {
        // No delivery belongs to this one.
        self.turn_epoch(&mut self.lock(), Epoch::default());
    }

    fn turn_epoch(&self, state: &mut InboxState, epoch: Epoch) {
        self.epoch.store(epoch.number(), Ordering::Release);
        self.last_handed_out.store(0, Ordering::Relaxed);
        state.taken_back = (0, 0);
        state.epoch = epoch;
        state.tracker.begin_epoch(epoch);
        state.held = 0;
        state.passed_over = 0;
        state.scheduled = false;
        state.told = false;
        state.pledge = None;
        let mut deferred = std::mem::take(&mut state.deferred);
        state.deliveries.append(&mut deferred);
        state.backlog.channel_lost(self.no_ack);
        state.stream_lost();
        if !self.no_ack {
            state.deliveries.clear();
        }
    }

    /// No more deliveries will come.
    pub(crate) fn finish(&self, end: ConsumerEnd) {
        let end = self.as_it_ends(end);
        let mut state = self.lock();
        // Where there is another already, this one is dropped without the lock.
        if state.end.is_none() {
            state.end = Some(end);
        }
        wake(state);
    }

    /// How it ends, or will: what is cancelled since the client is closed ends by that.
    pub(crate) fn as_it_ends(&self, end: ConsumerEnd) -> ConsumerEnd {
        match end {
            ConsumerEnd::Cancelled if self.stopping.closes() => ConsumerEnd::ClientClosed,
            end => end,
        }
    }

    /// Gives the settles that wait to the driver. How many of them are refusals that are passed over.
    pub(crate) fn flush(&self, mut send: impl FnMut(acks::SettleFrame)) -> usize {
        let mut state = self.lock();
        state.scheduled = false;
        if let Some(returns) = state.backlog.take_returns() {
            state
                .tracker
                .give_back(returns.first, returns.last, &mut send);
        }
        state.tracker.flush(send);
        std::mem::take(&mut state.passed_over)
    }

    /// Whether nothing is left for the user to settle, nor for the driver to tell the broker.
    pub(crate) fn is_drained(&self) -> bool {
        // A handler settles what it has let go of when it ends.
        if self.stopping.has_handlers() {
            return false;
        }
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
            let before = std::mem::replace(&mut state.queue, new.clone());
            drop(state);
            drop(before);
        }
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

#[cfg(all(test, not(snowshoe_loom)))]
mod tests;
