//! The consumers of a connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use log::Level;
use snowshoe_codec::{Delivery, ShortString};

use super::super::guard::guard;
use super::log_limit::LogLimit;
use crate::core::acks::{Settle, SettleFrame};
use crate::core::overdue::Overdue;
use crate::core::session::{ConsumerKey, Manner, Session};
use crate::core::subscription::ConsumerSpec;
use crate::core::topology::Topology;
use crate::core::{Epoch, Flow};
use crate::error::{ConsumerEnd, Error};
use crate::events::ConsumerId;
use crate::runtime::Runtime;
use crate::shared::inbox::Inbox;
use crate::shared::place::{LinkIndex, Place};
use crate::sync::answer::Answer;

/// Consumers by the session's keys for them, and in their order, so that a run can be repeated.
#[derive(Default)]
pub(super) struct Consumers {
    consumers: BTreeMap<ConsumerKey, Consumer>,
    /// Those that have something to settle.
    settling: Vec<ConsumerKey>,
    /// Those of which deliveries were lost.
    losing: Vec<ConsumerKey>,
    /// Deliveries that came one after the other, for one lock of their inbox.
    batch: VecDeque<Delivery>,
    /// Whose the batch is.
    addressee: ConsumerKey,
}

struct Consumer {
    inbox: Arc<Inbox>,
    /// How many deliveries were lost, and not yet told.
    dropped: u64,
    /// Looks for deliveries that are unsettled for too long.
    overdue: Option<Overdue>,
    /// Whoever waits for the consumer to start.
    started: Option<Answer<Result<(), Error>>>,
    /// Whether it is to be forgotten once its deliveries are settled.
    draining: bool,
    /// Whether the client is being closed, and the broker was asked to send no more.
    called_off: bool,
}

impl Consumers {
    pub(super) fn add(
        &mut self,
        now: Instant,
        link: LinkIndex,
        session: &mut Session,
        (inbox, spec): (Arc<Inbox>, ConsumerSpec),
        started: Answer<Result<(), Error>>,
    ) {
        let key = session.add_consumer(now, spec);
        inbox.register(Place { link, key });
        // What it had to say before that was not told.
        self.is_ready(key);
        let started = Some(started);
        let limit = inbox.warns_after().unwrap_or(USUAL_LIMIT);
        let overdue = (!inbox.is_no_ack()).then(|| Overdue::new(now, limit));
        self.consumers.insert(
            key,
            Consumer {
                inbox,
                dropped: 0,
                overdue,
                started,
                draining: false,
                called_off: false,
            },
        );
    }

    /// Asks the broker to send no more to a consumer.
    pub(super) fn cancel(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: ConsumerKey,
        inbox: &Arc<Inbox>,
        topology: &mut Topology,
    ) {
        // Another may have its key by now.
        if self
            .consumers
            .get(&key)
            .is_some_and(|consumer| Arc::ptr_eq(&consumer.inbox, inbox))
        {
            session.cancel_consumer(now, key, inbox.leaving(), topology);
        }
    }

    /// A consumer is to receive nothing for now, or to go on.
    pub(super) fn pause(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: ConsumerKey,
        inbox: &Arc<Inbox>,
        topology: &Topology,
    ) {
        let consumer = self.consumers.get(&key);
        // Another may have its key by now.
        if !consumer.is_some_and(|it| Arc::ptr_eq(&it.inbox, inbox)) {
            return;
        }
        match inbox.leaving_for_pause() {
            Some(leaving) if inbox.stopping().is_paused() => {
                session.hold(now, key, leaving, topology);
                // It may have nothing at hand.
                self.is_ready(key);
            }
            _ => session.let_go_on(now, key),
        }
    }

    /// A consumer has something to settle, or the broker is to be asked for more or less.
    pub(super) fn is_ready(&mut self, key: ConsumerKey) {
        self.settling.push(key);
    }

    /// Writes what was settled, and asks the broker for more or less.
    pub(super) fn settle(
        &mut self,
        now: Instant,
        session: &mut Session,
        topology: &Topology,
        log: &mut LogLimit,
    ) {
        for key in self.settling.drain(..) {
            let Some(consumer) = self.consumers.get(&key) else {
                continue;
            };
            let wish = consumer.inbox.take_wish();
            let wish = wish.map(|flow| (flow, session.manner(key, flow, topology)));
            if let Some((Flow::Wide { .. }, Some(Manner::Overlapping))) = wish {
                // There is no moment without a consumer, so it has to be before there are more.
                consumer.inbox.let_back();
            }
            let passed_over = flush(session, key, &consumer.inbox);
            if passed_over > 0 {
                let (tag, queue) = (consumer.inbox.tag(), consumer.inbox.queue());
                log.say(
                    now,
                    Level::Warn,
                    format_args!(
                        "consumer {tag:?} refused {passed_over} messages: {queue:?} is a stream, which \
                         takes nothing back, so they are passed over"
                    ),
                );
            }
            match wish {
                Some((flow, Some(manner))) => {
                    log::debug!("consumer {:?}: {flow:?}, {manner:?}", consumer.inbox.tag());
                    session.set_flow(now, key, flow, manner);
                }
                Some((_, None)) => consumer.inbox.hold(),
                None => {}
            }
            let is_paused = consumer.inbox.stopping().is_paused();
            if is_paused && consumer.inbox.has_nothing_at_hand() {
                session.vacate(now, key);
            }
            if consumer.draining && consumer.inbox.is_drained() {
                session.remove_consumer(now, key);
                self.consumers.remove(&key);
            }
        }
    }

    /// Puts a delivery to the batch that is handed over next.
    pub(super) fn deliver(&mut self, key: ConsumerKey, delivery: Delivery) {
        if self.addressee != key {
            self.hand_over();
            self.addressee = key;
        }
        self.batch.push_back(delivery);
    }

    /// Hands the batch to its consumer.
    pub(super) fn hand_over(&mut self) {
        if self.batch.is_empty() {
            return;
        }
        match self.consumers.get_mut(&self.addressee) {
            Some(consumer) => {
                let filled = consumer.inbox.fill(&mut self.batch);
                if filled.given_back || filled.has_settled || filled.has_wish {
                    self.settling.push(self.addressee);
                }
                if filled.dropped > 0 && consumer.dropped == 0 {
                    self.losing.push(self.addressee);
                }
                consumer.dropped += filled.dropped;
            }
            // Its channel is being closed; the broker delivers these again.
            None => self.batch.clear(),
        }
    }

    /// A consumer is about to be asked of the broker: of a stream, where it has come to.
    pub(super) fn opens(
        &self,
        now: Instant,
        session: &mut Session,
        key: ConsumerKey,
        topology: &Topology,
        runtime: &dyn Runtime,
    ) {
        let Some(Consumer { inbox, .. }) = self.consumers.get(&key) else {
            return;
        };
        if topology.is_stream(&inbox.queue()) {
            inbox.said_to_be_stream();
        }
        let begin = inbox.begin_in_stream(now, |ask, own| {
            let answer = guard("the closure that says where a stream begins", || ask(own));
            let answer = answer.inspect_err(|panicked| log::error!("{panicked}: {own:?} it is"));
            answer.ok()
        });
        session.subscribe(now, key, begin, || runtime.time_of_day());
    }

    /// A consumer receives from now on, under this epoch and from this queue.
    pub(super) fn online(
        &mut self,
        now: Instant,
        key: ConsumerKey,
        epoch: Epoch,
        queue: ShortString,
        flow: Flow,
        topology: &Topology,
    ) {
        let Some(consumer) = self.consumers.get_mut(&key) else {
            return;
        };
        let declared = topology.consumer_timeout(&queue).map(Duration::from_millis);
        if let (None, Some(timeout), Some(overdue)) = (
            consumer.inbox.warns_after(),
            declared,
            &mut consumer.overdue,
        ) {
            overdue.set_limit(now, timeout / 6 * 5);
        }
        if topology.is_stream(&queue) {
            consumer.inbox.said_to_be_stream();
        }
        (consumer.inbox).said_to_be_single_active(topology.is_single_active(&queue));
        consumer.inbox.begin_epoch(epoch, queue, flow);
        consumer.inbox.receives_stream(now);
        self.settling.push(key);
        if let Some(started) = consumer.started.take() {
            // If nobody waits any more, the consumer was dropped, and cancelled by that.
            _ = started.send(Ok(()));
        }
    }

    /// Whether the queue of a consumer lets messages wait that failed.
    pub(super) fn said_to_delay_retries(&self, key: ConsumerKey, delays: bool) {
        if let Some(consumer) = self.consumers.get(&key) {
            consumer.inbox.said_to_delay_retries(delays);
        }
    }

    /// The broker sends a consumer nothing: what is to go back to its queue comes first when it goes on.
    pub(super) fn vacant(&mut self, now: Instant, session: &mut Session, key: ConsumerKey) {
        if let Some(consumer) = self.consumers.get(&key) {
            consumer.inbox.let_back();
            flush(session, key, &consumer.inbox);
        }
        session.occupy(now, key);
    }

    /// The broker sends a consumer nothing until it has asked again: it has taken back what was unsettled for
    /// too long, whichever that is, and the rest of what waits here is to go back as well.
    pub(super) fn paused(&mut self, session: &mut Session, key: ConsumerKey) {
        if let Some(consumer) = self.consumers.get(&key) {
            consumer.inbox.take_back();
            flush(session, key, &consumer.inbox);
        }
    }

    /// The broker sends a consumer more, or less, from now on.
    pub(super) fn flows(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: ConsumerKey,
        flow: Flow,
    ) {
        let Some(consumer) = self.consumers.get(&key) else {
            return;
        };
        if let Some(tag) = consumer.inbox.flows(flow) {
            if let Some(mut channel) = session.consumer_channel(key) {
                // Only a channel that is closing refuses, and then the broker delivers again.
                _ = channel.ack(tag, false);
            }
            session.prove_heard(now, key);
        }
        self.settling.push(key);
    }

    /// The broker has heard what was said before.
    pub(super) fn heard(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.consumers.get(&key) {
            consumer.inbox.heard();
            self.settling.push(key);
        }
    }

    /// When to look for deliveries that are unsettled for too long.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        let looking = self.consumers.values().filter_map(|it| it.overdue.as_ref());
        looking.filter_map(Overdue::poll_timeout).min()
    }

    /// Tells of deliveries that are unsettled for too long, and for how long they have been.
    pub(super) fn tell_overdue(
        &mut self,
        now: Instant,
        mut tell: impl FnMut(ConsumerId, Duration),
    ) {
        for consumer in self.consumers.values_mut() {
            let inbox = &consumer.inbox;
            let overdue = consumer.overdue.as_mut();
            if let Some(time) = overdue.and_then(|it| it.look(now, || inbox.oldest_unsettled())) {
                tell(inbox.id(), time);
            }
        }
    }

    /// Tells how many deliveries were lost for want of room.
    pub(super) fn tell_losses(&mut self, mut tell: impl FnMut(ConsumerId, u64)) {
        if self.losing.is_empty() {
            return;
        }
        for key in self.losing.drain(..) {
            if let Some(consumer) = self.consumers.get_mut(&key) {
                tell(consumer.inbox.id(), std::mem::take(&mut consumer.dropped));
            }
        }
    }

    /// The broker has closed the connection over a refusal, and this consumer has refused something.
    pub(super) fn refusal_refused(&self, key: ConsumerKey) {
        if let Some(consumer) = self.consumers.get(&key) {
            consumer.inbox.refusal_refused();
        }
    }

    /// A consumer's queue is not there any more.
    pub(super) fn queue_gone(&self, key: ConsumerKey) {
        if let Some(consumer) = self.consumers.get(&key) {
            consumer.inbox.stream_deleted();
        }
    }

    /// What a consumer was delivered cannot be settled any more.
    pub(super) fn offline(&self, now: Instant, key: ConsumerKey) {
        if let Some(consumer) = self.consumers.get(&key) {
            consumer.inbox.receives_stream_no_more(now);
            consumer.inbox.end_epoch();
        }
    }

    pub(super) fn queue(&self, key: ConsumerKey) -> Option<ShortString> {
        Some(self.consumers.get(&key)?.inbox.queue())
    }

    /// What events call it, whatever takes its place at the broker.
    pub(super) fn id(&self, key: ConsumerKey) -> Option<ConsumerId> {
        Some(self.consumers.get(&key)?.inbox.id())
    }

    pub(super) fn queue_renamed(&self, old: &ShortString, new: &ShortString) {
        for consumer in self.consumers.values() {
            consumer.inbox.queue_renamed(old, new);
        }
    }

    /// A consumer could not be started.
    pub(super) fn failed(&mut self, key: ConsumerKey, error: Error) {
        let Some(consumer) = self.consumers.remove(&key) else {
            return;
        };
        consumer.inbox.finish(ConsumerEnd::Failed(error.clone()));
        if let Some(started) = consumer.started {
            _ = started.send(Err(error));
        }
    }

    /// A consumer was cancelled: it is forgotten once its deliveries are settled.
    pub(super) fn draining(&mut self, session: &mut Session, key: ConsumerKey) {
        if let Some(consumer) = self.consumers.get_mut(&key) {
            if consumer.called_off {
                consumer.inbox.take_back();
                flush(session, key, &consumer.inbox);
                return;
            }
            consumer.draining = true;
            consumer.inbox.let_go();
            consumer.inbox.finish(ConsumerEnd::Cancelled);
            self.settling.push(key);
        }
    }

    /// The client is being closed. Where the broker distinguishes what is given back from what a channel
    /// leaves behind, it is asked to send no more, so that what nobody has begun on can go back before.
    pub(super) fn call_off(&mut self, now: Instant, session: &mut Session) {
        for (&key, consumer) in &mut self.consumers {
            if consumer.inbox.gives_back() && session.call_off(now, key) {
                consumer.called_off = true;
                // It ends for this reason, and not because it was cancelled.
                consumer.inbox.finish(ConsumerEnd::ClientClosed);
            }
        }
    }

    /// Whether every settle was written.
    pub(super) fn have_settled(&self) -> bool {
        let mut inboxes = self.consumers.values().map(|consumer| &consumer.inbox);
        inboxes.all(|inbox| inbox.has_nothing_to_send())
    }

    /// Whoever works on deliveries is to begin with no more of them.
    pub(super) fn stop(&self) {
        for consumer in self.consumers.values() {
            consumer.inbox.stop_by_close();
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.consumers.is_empty()
    }

    /// Ends all consumers. What was settled up to now is written first.
    pub(super) fn give_up(&mut self, session: &mut Session, end: &ConsumerEnd) {
        for (key, consumer) in std::mem::take(&mut self.consumers) {
            flush(session, key, &consumer.inbox);
            consumer.inbox.end_epoch();
            consumer.inbox.finish(end.clone());
        }
        self.settling.clear();
        self.losing.clear();
    }
}

/// Writes what a consumer settled to its channel. How many refusals are passed over.
fn flush(session: &mut Session, key: ConsumerKey, inbox: &Inbox) -> usize {
    let Some(mut channel) = session.consumer_channel(key) else {
        return 0;
    };
    let mut refuses = false;
    let passed_over = inbox.flush(
        |SettleFrame {
             settle,
             tag,
             multiple,
         }| {
            refuses |= settle != Settle::Ack;
            // Only a channel that is closing refuses, and then the broker delivers again.
            _ = match settle {
                Settle::Ack => channel.ack(tag, multiple),
                Settle::Nack { requeue } => channel.nack(tag, multiple, requeue),
                Settle::Reject { requeue } => channel.reject(tag, requeue),
            };
        },
    );
    if refuses {
        session.consumer_refuses(key);
    }
    passed_over
}

/// How long a delivery may be unsettled before that is told, where nothing is said: RabbitMQ takes it back after 30
/// minutes.
const USUAL_LIMIT: Duration = Duration::from_secs(25 * 60);
