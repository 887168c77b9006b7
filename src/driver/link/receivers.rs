//! The consumers of a connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use snowshoe_codec::{Delivery, ShortString};

use crate::consumer::ConsumerEnd;
use crate::core::Epoch;
use crate::core::acks::{Settle, SettleFrame};
use crate::core::session::Session;
use crate::core::subscription::ConsumerSpec;
use crate::core::topology::Topology;
use crate::error::Error;
use crate::inbox::{Filled, Inbox};
use crate::shared::Answer;

/// Consumers by the session's keys for them, and in their order, so that a run can be repeated.
#[derive(Default)]
pub(super) struct Receivers {
    receivers: BTreeMap<usize, Receiver>,
    /// Those that have something to settle.
    settling: Vec<usize>,
    /// Those that are behind: until all of them have caught up, nothing is read.
    behind: Vec<usize>,
    /// Deliveries that came one behind the other, for one lock of their inbox.
    batch: VecDeque<Delivery>,
    /// Whose the batch is.
    addressee: usize,
}

struct Receiver {
    inbox: Arc<Inbox>,
    /// Whoever waits for the consumer to start.
    started: Option<Answer<Result<(), Error>>>,
    /// Whether it is to be forgotten once its deliveries are settled.
    draining: bool,
}

impl Receivers {
    pub(super) fn add(
        &mut self,
        now: Instant,
        link: usize,
        session: &mut Session,
        (inbox, spec): (Arc<Inbox>, ConsumerSpec),
        started: Answer<Result<(), Error>>,
    ) {
        let key = session.add_consumer(now, spec);
        inbox.settle_in(link, key);
        let started = Some(started);
        self.receivers.insert(
            key,
            Receiver {
                inbox,
                started,
                draining: false,
            },
        );
    }

    /// Asks the broker to send no more to a consumer.
    pub(super) fn cancel(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: usize,
        inbox: &Arc<Inbox>,
        topology: &mut Topology,
    ) {
        // Another may have its key by now.
        if self
            .receivers
            .get(&key)
            .is_some_and(|receiver| Arc::ptr_eq(&receiver.inbox, inbox))
        {
            session.cancel_consumer(now, key, topology);
        }
    }

    /// A consumer has something to settle, or has made room.
    pub(super) fn is_ready(&mut self, key: usize) {
        self.settling.push(key);
    }

    /// Writes what was settled.
    pub(super) fn settle(&mut self, now: Instant, session: &mut Session) {
        for key in std::mem::take(&mut self.settling) {
            let Some(receiver) = self.receivers.get(&key) else {
                continue;
            };
            flush(session, key, &receiver.inbox);
            if receiver.draining && receiver.inbox.is_drained() {
                session.remove_consumer(now, key);
                self.receivers.remove(&key);
            }
        }
    }

    /// Whether the connection may be read: no consumer is too far behind.
    pub(super) fn have_room(&mut self) -> bool {
        let receivers = &self.receivers;
        let is_behind = |key: &usize| receivers.get(key).is_some_and(|it| !it.inbox.has_room());
        self.behind.retain(is_behind);
        self.behind.is_empty()
    }

    /// Puts a delivery to the batch that is handed over next.
    pub(super) fn deliver(&mut self, key: usize, delivery: Delivery) {
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
        match self.receivers.get(&self.addressee) {
            Some(receiver) => match receiver.inbox.fill(&mut self.batch) {
                Filled::Taken => {}
                Filled::Behind => self.behind.push(self.addressee),
                Filled::GivenBack => self.settling.push(self.addressee),
            },
            // Its channel is being closed; the broker delivers these again.
            None => self.batch.clear(),
        }
    }

    /// A consumer receives from now on, under this epoch and from this queue.
    pub(super) fn online(&mut self, key: usize, epoch: Epoch, queue: ShortString) {
        let Some(receiver) = self.receivers.get_mut(&key) else {
            return;
        };
        receiver.inbox.begin_epoch(epoch, queue);
        if let Some(started) = receiver.started.take() {
            // If nobody waits any more, the consumer was dropped, and cancelled by that.
            _ = started.try_send(Ok(()));
        }
    }

    /// What a consumer was delivered cannot be settled any more.
    pub(super) fn offline(&self, key: usize) {
        if let Some(receiver) = self.receivers.get(&key) {
            receiver.inbox.end_epoch();
        }
    }

    pub(super) fn queue(&self, key: usize) -> Option<ShortString> {
        Some(self.receivers.get(&key)?.inbox.queue())
    }

    pub(super) fn queue_renamed(&self, old: &ShortString, new: &ShortString) {
        for receiver in self.receivers.values() {
            receiver.inbox.queue_renamed(old, new);
        }
    }

    /// A consumer could not be started.
    pub(super) fn failed(&mut self, key: usize, error: Error) {
        let Some(receiver) = self.receivers.remove(&key) else {
            return;
        };
        receiver.inbox.finish(ConsumerEnd::Failed(error.clone()));
        if let Some(started) = receiver.started {
            _ = started.try_send(Err(error));
        }
    }

    /// A consumer was cancelled: it is forgotten once its deliveries are settled.
    pub(super) fn draining(&mut self, key: usize) {
        if let Some(receiver) = self.receivers.get_mut(&key) {
            receiver.draining = true;
            receiver.inbox.finish(ConsumerEnd::Cancelled);
            self.settling.push(key);
        }
    }

    /// The connection is gone; with it, nobody is behind any more.
    pub(super) fn lost(&mut self) {
        self.behind.clear();
    }

    /// Whether every settle was written.
    pub(super) fn have_settled(&self) -> bool {
        self.receivers
            .values()
            .all(|receiver| receiver.inbox.has_nothing_to_send())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.receivers.is_empty()
    }

    /// Ends all consumers. What was settled up to now is written first.
    pub(super) fn give_up(&mut self, session: &mut Session, end: &ConsumerEnd) {
        for (key, receiver) in std::mem::take(&mut self.receivers) {
            flush(session, key, &receiver.inbox);
            receiver.inbox.end_epoch();
            receiver.inbox.finish(end.clone());
        }
        self.settling.clear();
        self.behind.clear();
    }
}

/// Writes what a consumer settled to its channel.
fn flush(session: &mut Session, key: usize, inbox: &Inbox) {
    let Some(mut channel) = session.consumer_channel(key) else {
        return;
    };
    inbox.flush(
        |SettleFrame {
             settle,
             tag,
             multiple,
         }| {
            // Only a channel that is closing refuses, and then the broker delivers again.
            _ = match settle {
                Settle::Ack => channel.ack(tag, multiple),
                Settle::Nack { requeue } => channel.nack(tag, multiple, requeue),
                Settle::Reject { requeue } => channel.reject(tag, requeue),
            };
        },
    );
}
