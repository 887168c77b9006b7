//! What users asked for, and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use super::message::MessageId;
use super::plan::ProducerPlan;
use super::witness::Settle;
use crate::consumer::ConsumerEnd;
use crate::outcome::Unconfirmed;
use crate::producer::BufferPolicy;

#[derive(Debug, Default)]
pub(super) struct Ledger {
    pub(super) producers: Vec<Book>,
    /// How often a message was handed to users.
    pub(super) received: BTreeMap<MessageId, u32>,
    /// What users said becomes of messages, and when.
    pub(super) settles: BTreeMap<(MessageId, Settle), Vec<Instant>>,
    /// What each consumer was handed: which message, and whether it may have been delivered before.
    pub(super) consumers: Vec<Vec<(MessageId, bool)>>,
    /// What became of each client.
    pub(super) fates: Vec<Fate>,
    /// How often clients told that a message came back.
    pub(super) returned: BTreeMap<MessageId, u32>,
    /// How many consumers were cancelled.
    pub(super) cancelled: u64,
    pub(super) offences: Vec<String>,
}

/// What became of a client.
#[derive(Debug, Default)]
pub(super) struct Fate {
    /// What it handed back when it was closed.
    pub(super) undelivered: Option<Vec<MessageId>>,
    /// Whether it was told to close, and whether its driver was dropped.
    pub(super) closed: bool,
    pub(super) driver_dropped: bool,
    /// Whether it gave up on a connection, and so on everything.
    pub(super) gave_up: bool,
    /// The most bytes that a connection of it had encoded and not written.
    pub(super) unwritten: usize,
    /// How its consumers ended that nobody had cancelled.
    pub(super) ends: Vec<Option<ConsumerEnd>>,
}

/// The messages of one producer.
#[derive(Debug)]
pub(super) struct Book {
    /// Whose producer it is.
    pub(super) client: usize,
    pub(super) plan: ProducerPlan,
    pub(super) entries: Vec<Entry>,
    /// Those with a routing key that leads nowhere.
    pub(super) strays: BTreeSet<u32>,
}

impl Book {
    /// Whether order holds beyond a channel. Where a message can be given up without a word of the
    /// broker, without confirms or to make room, what was written to a connection that ended can come
    /// late.
    pub(super) fn keeps_order(&self) -> bool {
        self.plan.confirms && self.plan.policy != BufferPolicy::DropOldest
    }
}

/// How far a message has come, as its user knows.
#[derive(Debug, Default)]
pub(super) struct Entry {
    pub(super) accepted: bool,
    /// Whether the user waits for its outcome.
    pub(super) watched: bool,
    pub(super) outcome: Option<Result<(), Unconfirmed>>,
}

impl Ledger {
    pub(super) fn new(clients: usize) -> Self {
        let fates = std::iter::repeat_with(Fate::default);
        Self {
            fates: fates.take(clients).collect(),
            ..Self::default()
        }
    }

    pub(super) fn entry(&mut self, message: MessageId) -> &mut Entry {
        &mut self.producers[message.producer as usize].entries[message.number as usize]
    }

    pub(super) fn settle(&mut self, now: Instant, message: MessageId, settle: Settle) {
        self.settles.entry((message, settle)).or_default().push(now);
    }

    pub(super) fn hand_over(&mut self, consumer: usize, message: MessageId, redelivered: bool) {
        *self.received.entry(message).or_default() += 1;
        self.consumers[consumer].push((message, redelivered));
    }
}
