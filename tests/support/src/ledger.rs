//! What became of every message of a workload, and whether that is what was promised.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use snowshoe::{SettleError, Settled, Unconfirmed};

/// One producer's messages, numbered from 0, and all deliveries to the one consumer of their queue.
#[derive(Debug, Default)]
pub struct Ledger {
    /// By number.
    pub published: Vec<Published>,
    /// In their order.
    pub received: Vec<Received>,
    /// From before their cause until the client was back.
    pub outages: Vec<Range<Instant>>,
}

/// What became of a message on its way to the broker.
#[derive(Debug)]
pub struct Published {
    /// When it was in the buffer.
    pub accepted: Instant,
    /// When its outcome was known.
    pub resolved: Instant,
    /// Its outcome.
    pub outcome: Result<(), Unconfirmed>,
}

/// A delivery.
#[derive(Debug)]
pub struct Received {
    /// The number of the message.
    pub number: u64,
    /// Whether the broker says that it delivers again.
    pub redelivered: bool,
    /// When it came.
    pub at: Instant,
    /// What came of acknowledging it.
    pub settled: Result<Settled, SettleError>,
}

/// How often a message was delivered more than once, by why.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Duplicates {
    /// The broker says itself that it delivers again.
    pub redelivered: u64,
    /// The message was not confirmed when a connection ended, and published again.
    pub resent: u64,
    /// The broker was killed before it had noted the ack, or even the delivery.
    pub forgotten: u64,
    /// None of these.
    pub unexplained: Vec<u64>,
}

impl Ledger {
    /// The numbers of the messages that did not end with a confirm.
    pub fn unconfirmed(&self) -> Vec<usize> {
        let confirmed = self.published.iter().map(|message| message.outcome.is_ok());
        positions(confirmed, false)
    }

    /// The numbers of the messages that were confirmed and never received.
    pub fn lost(&self) -> Vec<usize> {
        let mut lost: Vec<bool> = (self.published.iter())
            .map(|message| message.outcome.is_ok())
            .collect();
        for delivery in &self.received {
            lost[index(delivery.number)] = false;
        }
        positions(lost.into_iter(), true)
    }

    /// The numbers of the messages that came for the first time after a newer one.
    pub fn reordered(&self) -> Vec<u64> {
        let mut next = 0;
        let mut reordered = Vec::new();
        let mut seen = vec![false; self.published.len()];
        for &Received { number, .. } in &self.received {
            if std::mem::replace(&mut seen[index(number)], true) {
                continue;
            }
            if number < next {
                reordered.push(number);
            }
            next = next.max(number + 1);
        }
        reordered
    }

    /// Why messages came more than once.
    pub fn duplicates(&self) -> Duplicates {
        let mut duplicates = Duplicates::default();
        let mut last_time = HashMap::new();
        for delivery in &self.received {
            let Some(before) = last_time.insert(delivery.number, delivery.at) else {
                continue;
            };
            if delivery.redelivered {
                duplicates.redelivered += 1;
            } else if self.was_resent(delivery.number) {
                duplicates.resent += 1;
            } else if self.has_outage_between(before, delivery.at) {
                duplicates.forgotten += 1;
            } else {
                duplicates.unexplained.push(delivery.number);
            }
        }
        duplicates
    }

    /// How many deliveries could not be settled because their channel was gone.
    pub fn stale(&self) -> usize {
        let stale = |delivery: &&Received| delivery.settled == Ok(Settled::Stale);
        self.received.iter().filter(stale).count()
    }

    /// Whether a message was on its way, or waiting to be, when a connection ended.
    fn was_resent(&self, number: u64) -> bool {
        let message = &self.published[index(number)];
        (self.outages.iter())
            .any(|outage| message.accepted <= outage.end && message.resolved >= outage.start)
    }

    fn has_outage_between(&self, before: Instant, after: Instant) -> bool {
        (self.outages.iter()).any(|outage| before <= outage.end && after >= outage.start)
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("a test publishes fewer")
}

fn positions(of: impl Iterator<Item = bool>, wanted: bool) -> Vec<usize> {
    of.enumerate()
        .filter_map(|(number, is)| (is == wanted).then_some(number))
        .collect()
}
