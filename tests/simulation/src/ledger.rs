//! What users asked for, and what they were told.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Instant;

use snowshoe::{BufferPolicy, ConsumerEnd, Unconfirmed, Undelivered};

use crate::message::MessageId;
use crate::plan::ProducerPlan;
use crate::reading::Reader;
use crate::retrying::Tasks;
use crate::tidying::Asked;
use crate::witness::Settle;

#[derive(Debug, Default)]
pub(crate) struct Ledger {
    pub(crate) producers: Vec<Book>,
    /// How often a message was handed to users.
    pub(crate) received: BTreeMap<MessageId, u32>,
    /// What users said becomes of messages, and when.
    pub(crate) settles: BTreeMap<(MessageId, Settle), Vec<Instant>>,
    /// What each consumer was handed: which message, and whether it may have been delivered before.
    pub(crate) consumers: Vec<Vec<(MessageId, bool)>>,
    /// What each reader of the stream was handed.
    pub(crate) readers: Vec<Reader>,
    /// The tasks that were to be tried again where they failed.
    pub(crate) tasks: Option<Tasks>,
    /// What became of each client.
    pub(crate) fates: Vec<Fate>,
    /// How often clients told that a message came back.
    pub(crate) returned: BTreeMap<MessageId, u32>,
    /// How many consumers were cancelled.
    pub(crate) cancelled: u64,
    /// What was declared and deleted that nobody else has.
    pub(crate) asked: Vec<Asked>,
    pub(crate) offences: Vec<String>,
}

/// What became of a client.
#[derive(Debug, Default)]
pub(crate) struct Fate {
    /// What it handed back when it was closed.
    pub(crate) undelivered: Option<Vec<MessageId>>,
    /// Whether it was told to close, and whether its driver was dropped.
    pub(crate) closed: bool,
    pub(crate) driver_dropped: bool,
    /// Whether it gave up on a connection, and so on everything.
    pub(crate) gave_up: bool,
    /// The most bytes that a connection of it had encoded and not written.
    pub(crate) unwritten: usize,
    /// How its consumers ended that nobody had cancelled.
    pub(crate) ends: Vec<Option<ConsumerEnd>>,
}

/// The messages of one producer.
#[derive(Debug)]
pub(crate) struct Book {
    /// Whose producer it is.
    pub(crate) client: usize,
    pub(crate) plan: ProducerPlan,
    pub(crate) entries: Vec<Entry>,
    /// Those with a routing key that leads nowhere.
    pub(crate) strays: BTreeSet<u32>,
    /// Those that the broker never takes.
    pub(crate) poison: BTreeSet<u32>,
    /// What was told as not delivered, if that is heard.
    pub(crate) told: Option<Told>,
}

/// What was told as not delivered, and when.
pub(crate) type Told = Arc<Mutex<Vec<(Instant, Undelivered)>>>;

impl Book {
    /// Whether order holds beyond a channel. Where a message can be given up without a word of the
    /// broker, without confirms, to make room or for its age, what was written to a connection that ended can come
    /// late.
    pub(crate) fn keeps_order(&self) -> bool {
        let gives_up = self.plan.policy == BufferPolicy::DropOldest || self.plan.max_age.is_some();
        self.plan.confirms && !gives_up
    }
}

/// How far a message has come, as its user knows.
#[derive(Debug, Default)]
pub(crate) struct Entry {
    pub(crate) accepted: bool,
    pub(crate) accepted_at: Option<Instant>,
    /// Whether the user has taken it back.
    pub(crate) withdrawn: bool,
    /// Whether the user waits for its outcome.
    pub(crate) watched: bool,
    pub(crate) outcome: Option<Result<(), Unconfirmed>>,
    pub(crate) resolved_at: Option<Instant>,
}

impl Ledger {
    pub(crate) fn new(clients: usize) -> Self {
        let fates = std::iter::repeat_with(Fate::default);
        Self {
            fates: fates.take(clients).collect(),
            ..Self::default()
        }
    }

    pub(crate) fn entry(&mut self, message: MessageId) -> &mut Entry {
        &mut self.producers[message.producer as usize].entries[message.number as usize]
    }

    pub(crate) fn settle(&mut self, now: Instant, message: MessageId, settle: Settle) {
        self.settles.entry((message, settle)).or_default().push(now);
    }

    pub(crate) fn hand_over(&mut self, consumer: usize, message: MessageId, redelivered: bool) {
        *self.received.entry(message).or_default() += 1;
        self.consumers[consumer].push((message, redelivered));
    }
}
