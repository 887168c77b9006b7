//! What became of every message of a workload, and whether that is what was promised.

use std::collections::HashMap;
use std::ops::Range;
use std::time::Instant;

use snowshoe::{SettleError, Unconfirmed};

/// One producer's messages, numbered from 0, and all deliveries to the one consumer of their queue.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    /// By number.
    pub(crate) published: Vec<Published>,
    /// In their order.
    pub(crate) received: Vec<Received>,
    /// From before their cause until the client was back.
    pub(crate) outages: Vec<Range<Instant>>,
}

#[derive(Debug)]
pub(crate) struct Published {
    pub(crate) accepted: Instant,
    pub(crate) resolved: Instant,
    pub(crate) outcome: Result<(), Unconfirmed>,
}

#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) number: u64,
    pub(crate) redelivered: bool,
    pub(crate) at: Instant,
    pub(crate) settled: Result<(), SettleError>,
}

/// How often a message was delivered more than once, by why.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Duplicates {
    /// The broker says itself that it delivers again.
    pub(crate) redelivered: u64,
    /// The message was not confirmed when a connection ended, and published again.
    pub(crate) resent: u64,
    /// The broker was killed before it had noted the ack, or even the delivery.
    pub(crate) forgotten: u64,
    /// None of these.
    pub(crate) unexplained: Vec<u64>,
}

impl Ledger {
    /// The numbers of the messages that did not end with a confirm.
    pub(crate) fn unconfirmed(&self) -> Vec<usize> {
        let confirmed = self.published.iter().map(|message| message.outcome.is_ok());
        positions(confirmed, false)
    }

    /// The numbers of the messages that were confirmed and never received.
    pub(crate) fn lost(&self) -> Vec<usize> {
        let mut lost: Vec<bool> = (self.published.iter())
            .map(|message| message.outcome.is_ok())
            .collect();
        for delivery in &self.received {
            lost[index(delivery.number)] = false;
        }
        positions(lost.into_iter(), true)
    }

    /// The numbers of the messages that came for the first time behind a newer one.
    pub(crate) fn reordered(&self) -> Vec<u64> {
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
    pub(crate) fn duplicates(&self) -> Duplicates {
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
    pub(crate) fn stale(&self) -> usize {
        let stale = |delivery: &&Received| delivery.settled == Err(SettleError::Stale);
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
