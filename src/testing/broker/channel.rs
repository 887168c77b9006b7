use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use snowshoe_codec::ShortString;

use super::message::{Message, Queued};
use super::queue::QueueId;

/// A channel, as far as the codec does not know it.
#[derive(Debug, Default)]
pub(super) struct Channel {
    pub(super) mode: Mode,
    /// What was delivered and is not settled, by tag.
    pub(super) unacked: BTreeMap<u64, Unacked>,
    /// Those of them whose time has an end.
    timed: BTreeSet<u64>,
    last_tag: u64,
    /// How many deliveries to consumers are not settled. Fetched ones do not count.
    consumed: usize,
    pub(super) consumers: BTreeMap<ShortString, Consumer>,
    /// For consumers that are yet to come; 0 is no limit.
    pub(super) prefetch: u16,
    /// For all consumers together; 0 is no limit.
    shared_prefetch: u16,
    /// Where direct replies to it go, and its consumer of them.
    pub(super) replies: Option<(ShortString, ShortString)>,
    /// The queue that an empty name stands for.
    pub(super) last_queue: ShortString,
}

/// What a publish is answered with.
#[derive(Debug, Default)]
pub(super) enum Mode {
    #[default]
    Plain,
    Confirm(Confirms),
    Transaction(Transaction),
}

/// The confirms of a channel that are yet to be told.
#[derive(Debug, Default)]
pub(super) struct Confirms {
    pub(super) published: u64,
    pub(super) acks: Vec<u64>,
    pub(super) nacks: Vec<u64>,
}

/// What waits for a commit.
#[derive(Debug, Default)]
pub(super) struct Transaction {
    pub(super) publishes: Vec<Publish>,
    pub(super) settled: Vec<(Settle, Vec<Unacked>)>,
}

#[derive(Clone, Debug)]
pub(super) struct Publish {
    pub(super) message: Message,
    pub(super) mandatory: bool,
}

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Settle {
    Ack,
    /// The client gives it back.
    Requeue(By),
    /// The client does not want it, and nobody else is to have it.
    Reject(By),
    /// The channel ended, and with it the chance to say anything.
    Abandon,
}

/// How a client refuses a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum By {
    /// By basic.nack, or basic.recover.
    Nack,
    Reject,
}

#[derive(Clone, Debug)]
pub(super) struct Unacked {
    pub(super) tag: u64,
    pub(super) queue: QueueId,
    pub(super) queued: Queued,
    /// The consumer that has it; none where it was fetched with basic.get.
    pub(super) consumer: Option<ShortString>,
    /// Since when it waits to be settled, where that has an end.
    pub(super) since: Option<Instant>,
    /// Whether it went back when its time was over: what the client says of it then is taken, and has
    /// no effect.
    pub(super) is_over: bool,
}

#[derive(Debug)]
pub(super) struct Consumer {
    pub(super) queue: QueueId,
    /// 0 is no limit.
    pub(super) prefetch: u16,
    pub(super) unacked: usize,
    /// How many deliveries it has that went back when their time was over. Until the client has settled
    /// them, it gets nothing.
    pub(super) overdue: usize,
}

impl Channel {
    /// The tag of the next delivery, which is not given to it yet.
    pub(super) fn tag_to_come(&self) -> u64 {
        self.last_tag + 1
    }

    /// The tag of the next delivery.
    pub(super) fn next_tag(&mut self) -> u64 {
        self.last_tag += 1;
        self.last_tag
    }

    /// Whether the prefetch limits let one more delivery through to a consumer that acknowledges.
    pub(super) fn has_room(&self, consumer: &ShortString) -> bool {
        let within = |limit: u16, count: usize| limit == 0 || count < limit.into();
        let own = self
            .consumers
            .get(consumer)
            .is_some_and(|it| it.overdue == 0 && within(it.prefetch, it.unacked));
        own && within(self.shared_prefetch, self.consumed)
    }

    /// Limits all consumers together. What was fetched before counts as well then, and does for ever
    /// (RabbitMQ: "not strictly right").
    pub(super) fn limit(&mut self, prefetch: u16) {
        if self.shared_prefetch == 0 && prefetch > 0 {
            self.consumed = self.unacked.len();
        }
        self.shared_prefetch = prefetch;
    }

    /// Whether there is a limit for all consumers together.
    pub(super) fn is_limited(&self) -> bool {
        self.shared_prefetch > 0
    }

    /// Registers a delivery that is to be settled.
    pub(super) fn delivered(&mut self, unacked: Unacked) {
        if let Some(consumer) = unacked.consumer.as_ref().filter(|_| !unacked.is_over) {
            self.consumed += 1;
            if let Some(consumer) = self.consumers.get_mut(consumer) {
                consumer.unacked += 1;
            }
        }
        if unacked.since.is_some() {
            self.timed.insert(unacked.tag);
        }
        self.unacked.insert(unacked.tag, unacked);
    }

    /// The queues of the deliveries that a tag is about.
    pub(super) fn meant(&self, tag: u64, multiple: bool) -> Vec<QueueId> {
        let last = match (tag, multiple) {
            (0, true) => u64::MAX,
            (tag, _) => tag,
        };
        let first = if multiple { 0 } else { tag };
        let meant = self.unacked.range(first..=last);
        meant.map(|(_, unacked)| unacked.queue).collect()
    }

    /// Takes out the delivery with this tag, or all up to it; 0 is all that there are. `None` if
    /// there is none that is meant.
    pub(super) fn take(&mut self, tag: u64, multiple: bool) -> Option<Vec<Unacked>> {
        let taken: Vec<_> = match (tag, multiple) {
            (0, true) => self.take_all(),
            // The tag itself must be there (RabbitMQ: `collect_acks`).
            (tag, true) if self.unacked.contains_key(&tag) => {
                let rest = self.unacked.split_off(&tag.saturating_add(1));
                std::mem::replace(&mut self.unacked, rest)
                    .into_values()
                    .collect()
            }
            (_, true) => return None,
            (tag, false) => vec![self.unacked.remove(&tag)?],
        };
        for unacked in &taken {
            if unacked.is_over
                && let Some(consumer) = unacked.consumer.as_ref()
                && let Some(consumer) = self.consumers.get_mut(consumer)
            {
                consumer.overdue = consumer.overdue.saturating_sub(1);
            }
            self.forget(unacked);
        }
        Some(taken)
    }

    /// A delivery is no longer out.
    fn forget(&mut self, unacked: &Unacked) {
        self.timed.remove(&unacked.tag);
        if let Some(consumer) = unacked.consumer.as_ref().filter(|_| !unacked.is_over) {
            self.consumed = self.consumed.saturating_sub(1);
            if let Some(consumer) = self.consumers.get_mut(consumer) {
                consumer.unacked = consumer.unacked.saturating_sub(1);
            }
        }
    }

    /// What a consumer has that is not settled, or what was fetched: it goes back, and its tags are
    /// still taken.
    pub(super) fn give_up(&mut self, consumer: Option<&ShortString>) -> Vec<Unacked> {
        let theirs = self
            .unacked
            .values()
            .filter(|unacked| unacked.consumer.as_ref() == consumer && !unacked.is_over);
        let theirs: Vec<_> = theirs.cloned().collect();
        for unacked in &theirs {
            self.forget(unacked);
            if let Some(unacked) = self.unacked.get_mut(&unacked.tag) {
                unacked.is_over = true;
                unacked.since = None;
            }
        }
        if let Some(consumer) = consumer.and_then(|tag| self.consumers.get_mut(tag)) {
            consumer.overdue += theirs.len();
        }
        theirs
    }

    /// Who has had a delivery since before that: its consumer, unless it was fetched.
    pub(super) fn overdue(&self, is_over: impl Fn(Instant) -> bool) -> Option<Option<ShortString>> {
        let oldest = self.unacked.get(self.timed.first()?)?;
        let is_over = oldest.since.is_some_and(is_over);
        is_over.then(|| oldest.consumer.clone())
    }

    /// Registers again what was settled in a transaction that is rolled back.
    pub(super) fn restore(&mut self, taken: Vec<Unacked>) {
        for unacked in taken {
            self.delivered(unacked);
        }
    }

    /// What its queues wait for: what is not settled, and what is only in a transaction.
    #[cfg(any(test, feature = "_internal"))]
    pub(super) fn held(&self) -> Vec<&Unacked> {
        let settled = match &self.mode {
            Mode::Transaction(transaction) => &transaction.settled[..],
            Mode::Plain | Mode::Confirm(_) => &[],
        };
        let settled = settled.iter().flat_map(|(_, taken)| taken);
        let all = self.unacked.values().chain(settled);
        all.filter(|unacked| !unacked.is_over).collect()
    }

    /// Takes out everything that goes back when the channel ends, in order: what is not settled, and
    /// what is only in a transaction that was not committed.
    pub(super) fn take_everything(&mut self) -> Vec<Unacked> {
        let mut all = self.take_all();
        if let Mode::Transaction(transaction) = &mut self.mode {
            let settled = std::mem::take(&mut transaction.settled);
            all.extend(settled.into_iter().flat_map(|(_, taken)| taken));
            all.sort_by_key(|unacked| unacked.tag);
        }
        all
    }

    /// Since when the delivery has been waiting that has waited longest.
    pub(super) fn oldest_delivery(&self) -> Option<Instant> {
        self.unacked.get(self.timed.first()?)?.since
    }

    /// Takes out all deliveries that are not settled, in order.
    pub(super) fn take_all(&mut self) -> Vec<Unacked> {
        let taken = std::mem::take(&mut self.unacked);
        self.timed.clear();
        self.consumed = 0;
        for consumer in self.consumers.values_mut() {
            consumer.unacked = 0;
            consumer.overdue = 0;
        }
        taken.into_values().collect()
    }
}
