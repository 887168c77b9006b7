//! The consumers of a connection.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use snowshoe_codec::{Delivery, ShortString};

use crate::core::Epoch;
use crate::core::acks::{Settle, SettleFrame};
use crate::core::session::{ConsumerKey, Session};
use crate::core::subscription::ConsumerSpec;
use crate::core::topology::Topology;
use crate::error::{ConsumerEnd, Error};
use crate::shared::answer::Answer;
use crate::shared::inbox::{Filled, Inbox};
use crate::shared::place::{LinkIndex, Place};

/// Consumers by the session's keys for them, and in their order, so that a run can be repeated.
#[derive(Default)]
pub(super) struct Consumers {
    consumers: BTreeMap<ConsumerKey, Consumer>,
    /// Those that have something to settle.
    settling: Vec<ConsumerKey>,
    /// Those that are behind: until all of them have caught up, nothing is read.
    behind: Vec<ConsumerKey>,
    /// Deliveries that came one after the other, for one lock of their inbox.
    batch: VecDeque<Delivery>,
    /// Whose the batch is.
    addressee: ConsumerKey,
}

struct Consumer {
    inbox: Arc<Inbox>,
    /// Whoever waits for the consumer to start.
    started: Option<Answer<Result<(), Error>>>,
    /// Whether it is to be forgotten once its deliveries are settled.
    draining: bool,
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
        self.consumers.insert(
            key,
            Consumer {
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
            session.cancel_consumer(now, key, topology);
        }
    }

    /// A consumer has something to settle, or has made room.
    pub(super) fn is_ready(&mut self, key: ConsumerKey) {
        self.settling.push(key);
    }

    /// Writes what was settled.
    pub(super) fn settle(&mut self, now: Instant, session: &mut Session) {
        for key in std::mem::take(&mut self.settling) {
            let Some(consumer) = self.consumers.get(&key) else {
                continue;
            };
            flush(session, key, &consumer.inbox);
            if consumer.draining && consumer.inbox.is_drained() {
                session.remove_consumer(now, key);
                self.consumers.remove(&key);
            }
        }
    }

    /// Whether the connection may be read: no consumer is too far behind.
    pub(super) fn have_room(&mut self) -> bool {
        let consumers = &self.consumers;
        let is_behind =
            |key: &ConsumerKey| consumers.get(key).is_some_and(|it| !it.inbox.has_room());
        self.behind.retain(is_behind);
        self.behind.is_empty()
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
        match self.consumers.get(&self.addressee) {
            Some(consumer) => match consumer.inbox.fill(&mut self.batch) {
                Filled::Taken => {}
                Filled::Behind => self.behind.push(self.addressee),
                Filled::GivenBack => self.settling.push(self.addressee),
            },
            // Its channel is being closed; the broker delivers these again.
            None => self.batch.clear(),
        }
    }

    /// A consumer receives from now on, under this epoch and from this queue.
    pub(super) fn online(&mut self, key: ConsumerKey, epoch: Epoch, queue: ShortString) {
        let Some(consumer) = self.consumers.get_mut(&key) else {
            return;
        };
        consumer.inbox.begin_epoch(epoch, queue);
        if let Some(started) = consumer.started.take() {
            // If nobody waits any more, the consumer was dropped, and cancelled by that.
            _ = started.try_send(Ok(()));
        }
    }

    /// What a consumer was delivered cannot be settled any more.
    pub(super) fn offline(&self, key: ConsumerKey) {
        if let Some(consumer) = self.consumers.get(&key) {
            consumer.inbox.end_epoch();
        }
    }

    pub(super) fn queue(&self, key: ConsumerKey) -> Option<ShortString> {
        Some(self.consumers.get(&key)?.inbox.queue())
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
            _ = started.try_send(Err(error));
        }
    }

    /// A consumer was cancelled: it is forgotten once its deliveries are settled.
    pub(super) fn draining(&mut self, key: ConsumerKey) {
        if let Some(consumer) = self.consumers.get_mut(&key) {
            consumer.draining = true;
            consumer.inbox.finish(ConsumerEnd::Cancelled);
            self.settling.push(key);
        }
    }

    /// The connection is gone; with it, nobody is behind any more.
    pub(super) fn lost(&mut self) {
        self.behind.clear();
    }

    /// Whether every settle was written.
    pub(super) fn have_settled(&self) -> bool {
        self.consumers
            .values()
            .all(|consumer| consumer.inbox.has_nothing_to_send())
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
        self.behind.clear();
    }
}

/// Writes what a consumer settled to its channel.
fn flush(session: &mut Session, key: ConsumerKey, inbox: &Inbox) {
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
