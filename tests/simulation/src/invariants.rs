//! What holds at the end of every story, whatever happened in it.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use snowshoe::{BufferPolicy, DropReason, Unconfirmed, UnconfirmedReason};

use crate::giving_up;
use crate::ledger::{Book, Entry, Ledger};
use crate::message::{LONGEST, MessageId};
use crate::plan::{Exchange, Poison, Queue, Target};
use crate::reading;
use crate::retrying::{self, Held};
use crate::witness::{Receipt, Record, Settle, Word};

/// What is known at the end.
pub(crate) struct Evidence<'a> {
    pub(crate) ledger: &'a Ledger,
    pub(crate) record: &'a Record,
    /// What is left in the steady queues.
    pub(crate) stored: &'a BTreeSet<MessageId>,
    /// Where the broker has the tasks that it has.
    pub(crate) held: &'a [Held],
    /// Whether the broker takes what it cannot read.
    pub(crate) is_lax: bool,
    /// How often a message may come back to the bound queue before it is given up.
    pub(crate) delivery_limit: Option<u32>,
}

/// The first invariant that does not hold.
pub(crate) fn check(evidence: &Evidence<'_>) -> Result<(), String> {
    no_peer_was_offended(evidence)?;
    every_watched_message_resolved(evidence)?;
    outcomes_are_true(evidence)?;
    giving_up::check(evidence)?;
    what_was_not_accepted_was_not_sent(evidence)?;
    confirmed_means_stored(evidence)?;
    messages_came_in_order(evidence)?;
    without_confirms_nothing_came_twice(evidence)?;
    nothing_was_settled_but_by_users(evidence)?;
    nothing_was_handed_out_twice(evidence)?;
    first_deliveries_were_in_order(evidence)?;
    consumers_end_with_the_client(evidence)?;
    a_return_is_the_last_word(evidence)?;
    the_close_reports_are_true(evidence)?;
    reading::check(&evidence.ledger.readers)?;
    if let Some(tasks) = &evidence.ledger.tasks {
        retrying::check(tasks, evidence.record, evidence.held)?;
    }
    what_is_held_is_bounded(evidence)
}

pub(crate) type Checked = Result<(), String>;

impl Evidence<'_> {
    pub(crate) fn entries(&self) -> impl Iterator<Item = (MessageId, &Book, &Entry)> {
        let books = (0..).zip(&self.ledger.producers);
        books.flat_map(|(producer, book)| {
            let entries = (0..).zip(&book.entries);
            entries.map(move |(number, entry)| (MessageId { producer, number }, book, entry))
        })
    }

    /// Whether the broker never takes a message.
    fn is_poison(&self, MessageId { producer, number }: MessageId) -> bool {
        let book = &self.ledger.producers[producer as usize];
        book.poison.contains(&number)
            && !(self.is_lax && book.plan.poison == Some(Poison::Connection))
    }

    /// Whether the broker may have closed something over a message, which is one to an exchange that is not
    /// there or is wrong itself.
    fn was_refused(&self, message: MessageId) -> bool {
        let book = &self.ledger.producers[message.producer as usize];
        let may_be_missing = match book.plan.target {
            Target::Queue(_) => false,
            Target::Exchange(exchange) => exchange == Exchange::Passing,
            Target::Missing => true,
        };
        let mut receipts = self.receipts(message);
        if self.is_poison(message) {
            receipts.next().is_some()
        } else {
            may_be_missing && receipts.any(|it| self.record.is_rejected(it))
        }
    }

    /// Whether its queue may have given up a message that came back too often, of which the guarantees
    /// warn.
    fn was_given_up(&self, message: MessageId) -> bool {
        let book = &self.ledger.producers[message.producer as usize];
        let is_limited = !matches!(book.plan.target, Target::Queue(Queue::Steady));
        let deliveries = self.record.deliveries.get(&message).copied();
        let limit = self.delivery_limit.filter(|_| is_limited);
        limit.is_some_and(|limit| deliveries.unwrap_or(0) > limit)
    }

    pub(crate) fn receipts(&self, message: MessageId) -> impl Iterator<Item = &Receipt> {
        let receipts = self.record.of_message.get(&message);
        receipts
            .into_iter()
            .flatten()
            .map(|&receipt| &self.record.receipts[receipt])
    }
}

/// Faults 1 to 3, 39 and 42: no unknown tag, no error of the connection.
fn no_peer_was_offended(evidence: &Evidence<'_>) -> Checked {
    let offences = evidence
        .record
        .offences
        .iter()
        .chain(&evidence.ledger.offences);
    offences
        .map(|offence| Err(offence.clone()))
        .next()
        .unwrap_or(Ok(()))
}

fn every_watched_message_resolved(evidence: &Evidence<'_>) -> Checked {
    for (message, book, entry) in evidence.entries() {
        let has_ended = entry.outcome.is_some() || entry.withdrawn;
        if book.plan.confirms && entry.accepted && entry.watched && !has_ended {
            return Err(format!("{message} was accepted and never resolved"));
        }
    }
    Ok(())
}

fn outcomes_are_true(evidence: &Evidence<'_>) -> Checked {
    for (message, book, entry) in evidence.entries() {
        let Some(outcome) = &entry.outcome else {
            continue;
        };
        let Err(unconfirmed) = outcome else {
            let mut receipts = evidence.receipts(message);
            let is_taken = !evidence.is_poison(message);
            if is_taken && receipts.any(|it| it.word == Some(Word::Ack) && !it.returned) {
                continue;
            }
            return Err(format!("{message} was not acknowledged, and resolved so"));
        };
        evidence.is_unconfirmed(message, book, unconfirmed)?;
    }
    Ok(())
}

impl Evidence<'_> {
    /// Whether a message ended as it is said to have.
    pub(crate) fn is_unconfirmed(
        &self,
        message: MessageId,
        book: &Book,
        unconfirmed: &Unconfirmed,
    ) -> Checked {
        // What it says of an earlier copy is not to be less than there is.
        let is_stored = |it: &Receipt| it.word == Some(Word::Ack) && !it.returned;
        if !unconfirmed.possibly_stored && self.receipts(message).any(is_stored) {
            return Err(format!("{message} is there, which {unconfirmed:?} denies"));
        }
        let mut receipts = self.receipts(message);
        let word = |word| move |it: &Receipt| it.word == Some(word);
        let fate = &self.ledger.fates[book.client];
        let is_true = match &unconfirmed.reason {
            UnconfirmedReason::Nacked => receipts.any(word(Word::Nack)),
            UnconfirmedReason::Returned(_) => receipts.any(|it| it.returned),
            UnconfirmedReason::Rejected(_) => self.was_refused(message),
            UnconfirmedReason::Dropped(reason) => {
                let may_be = match reason {
                    DropReason::BufferFull => book.plan.policy == BufferPolicy::DropOldest,
                    DropReason::Closed => fate.closed,
                    DropReason::ConnectionGivenUp => fate.driver_dropped || fate.gave_up,
                    DropReason::Expired => book.plan.max_age.is_some(),
                    // Here, all messages can be sent.
                    _ => false,
                };
                may_be && (unconfirmed.possibly_stored || receipts.next().is_none())
            }
            _ => false,
        };
        match is_true {
            true => Ok(()),
            false => Err(format!(
                "{message} resolved as {unconfirmed:?}, which is not what happened"
            )),
        }
    }
}

fn what_was_not_accepted_was_not_sent(evidence: &Evidence<'_>) -> Checked {
    for (message, _, entry) in evidence.entries() {
        if !entry.accepted && evidence.receipts(message).next().is_some() {
            return Err(format!("{message} was not accepted, and came all the same"));
        }
    }
    Ok(())
}

fn confirmed_means_stored(evidence: &Evidence<'_>) -> Checked {
    let steady = [
        Target::Queue(Queue::Steady),
        Target::Queue(Queue::Bound),
        Target::Exchange(Exchange::Steady),
    ];
    for (message, book, entry) in evidence.entries() {
        let is_there =
            evidence.ledger.received.contains_key(&message) || evidence.stored.contains(&message);
        if entry.outcome == Some(Ok(()))
            && steady.contains(&book.plan.target)
            && !book.strays.contains(&message.number)
            && !is_there
            && !evidence.was_given_up(message)
        {
            return Err(format!("{message} was confirmed, and is lost"));
        }
    }
    Ok(())
}

/// The first copies of a producer's messages came in the order in which they were accepted, and on
/// no channel did one come twice.
fn messages_came_in_order(evidence: &Evidence<'_>) -> Checked {
    let mut newest = vec![None; evidence.ledger.producers.len()];
    let mut seen = BTreeSet::new();
    for receipt in &evidence.record.receipts {
        let MessageId { producer, number } = receipt.message;
        let book = &evidence.ledger.producers[producer as usize];
        if book.keeps_order() && seen.insert(receipt.message) {
            let newest: &mut Option<u32> = &mut newest[producer as usize];
            if newest.is_some_and(|newest| newest > number) {
                return Err(format!("{} came first after {newest:?}", receipt.message));
            }
            *newest = Some(number);
        }
    }
    for channel in &evidence.record.channels {
        let mut newest = BTreeMap::new();
        for receipt in channel.receipts() {
            let message = evidence.record.receipts[receipt].message;
            // Several producers may share it.
            let before = newest.insert(message.producer, message);
            if before.is_some_and(|before| before >= message) {
                return Err(format!("{message} came after {before:?} on one channel"));
            }
        }
    }
    Ok(())
}

/// A copy on a channel that the broker closed may not have counted.
fn without_confirms_nothing_came_twice(evidence: &Evidence<'_>) -> Checked {
    for (message, book, _) in evidence.entries() {
        let counted = evidence
            .receipts(message)
            .filter(|it| evidence.record.channels[it.channel].closed.is_none());
        if !book.plan.confirms && counted.count() > 1 {
            return Err(format!("{message} was to be sent at most once"));
        }
    }
    Ok(())
}

/// A message that nobody has looked at can go back to its queue, and nothing else can happen to it. What a
/// reader of a stream had settled before, the client settles again.
fn nothing_was_settled_but_by_users(evidence: &Evidence<'_>) -> Checked {
    let is_read = |message: &MessageId| {
        let book = &evidence.ledger.producers[message.producer as usize];
        book.plan.target == Target::Queue(Queue::Stream)
    };
    let settles = evidence.record.settles.iter();
    for (key @ (message, settle), heard) in settles.filter(|((message, _), _)| !is_read(message)) {
        let said = evidence.ledger.settles.get(key);
        let mut said = said.into_iter().flatten();
        let is_said = |heard: &Instant| said.next().is_some_and(|said| said <= heard);
        if *settle != Settle::Requeue && !heard.iter().all(is_said) {
            return Err(format!(
                "{message}: {settle:?} reached the broker, and no user had said so"
            ));
        }
    }
    Ok(())
}

fn nothing_was_handed_out_twice(evidence: &Evidence<'_>) -> Checked {
    for (message, &count) in &evidence.ledger.received {
        let delivered = evidence
            .record
            .deliveries
            .get(message)
            .copied()
            .unwrap_or(0);
        if count > delivered {
            return Err(format!(
                "{message} was delivered {delivered} times, and handed out {count} times"
            ));
        }
    }
    Ok(())
}

/// What came to its queue once, and was not delivered before, comes to a consumer in the order in
/// which it was accepted.
fn first_deliveries_were_in_order(evidence: &Evidence<'_>) -> Checked {
    for deliveries in &evidence.ledger.consumers {
        let mut newest = vec![None; evidence.ledger.producers.len()];
        for &(message, redelivered) in deliveries {
            let book = &evidence.ledger.producers[message.producer as usize];
            let once = evidence.receipts(message).count() == 1;
            if redelivered || !once || !book.keeps_order() {
                continue;
            }
            let newest: &mut Option<u32> = &mut newest[message.producer as usize];
            if newest.is_some_and(|newest| newest >= message.number) {
                return Err(format!("{message} was delivered first after {newest:?}"));
            }
            *newest = Some(message.number);
        }
    }
    Ok(())
}

/// Whatever happens to its queue or its channel, a consumer comes back (faults 52 and 54).
fn consumers_end_with_the_client(evidence: &Evidence<'_>) -> Checked {
    for fate in &evidence.ledger.fates {
        let ended = fate.closed || fate.driver_dropped || fate.gave_up;
        if let Some(end) = fate.ends.first().filter(|_| !ended) {
            return Err(format!("a consumer ended by itself: {end:?}"));
        }
    }
    Ok(())
}

/// Once a client has told that a message came back, it does not send it again, and the outcome is
/// that, whatever becomes of the connection (fault 20). LavinMQ also refuses what it gives back where
/// queues are full, and either is true then.
fn a_return_is_the_last_word(evidence: &Evidence<'_>) -> Checked {
    for (message, _, entry) in evidence.entries().filter(|it| it.1.plan.confirms) {
        let times = evidence.ledger.returned.get(&message).copied();
        let is_returned = |it: &Result<(), _>| {
            matches!(
                it,
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Returned(_),
                    ..
                })
            )
        };
        let is_nacked = |it: &Result<(), _>| {
            matches!(
                it,
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Nacked,
                    ..
                })
            )
        };
        let is_refused = |message| {
            let mut receipts = evidence.receipts(message);
            receipts.any(|it| it.returned && it.word == Some(Word::Nack))
        };
        match (times, &entry.outcome) {
            (None, _) | (Some(1), None) => {}
            (Some(1), Some(outcome)) if is_returned(outcome) => {}
            (Some(1), Some(outcome)) if is_nacked(outcome) && is_refused(message) => {}
            (Some(times), outcome) => {
                return Err(format!(
                    "{message} came back {times} times, and resolved as {outcome:?}"
                ));
            }
        }
    }
    Ok(())
}

/// What is handed back was given up, and what was given up is handed back.
fn the_close_reports_are_true(evidence: &Evidence<'_>) -> Checked {
    for (client, fate) in evidence.ledger.fates.iter().enumerate() {
        if let Some(undelivered) = &fate.undelivered {
            the_close_report_is_true(evidence, client, undelivered)?;
        }
    }
    Ok(())
}

fn the_close_report_is_true(
    evidence: &Evidence<'_>,
    client: usize,
    undelivered: &[MessageId],
) -> Checked {
    let mut reported = BTreeSet::new();
    let mut newest = BTreeMap::new();
    for &message in undelivered {
        if evidence.ledger.producers[message.producer as usize].client != client {
            return Err(format!("{message} was handed back by another client"));
        }
        if !reported.insert(message) {
            return Err(format!("{message} was handed back twice"));
        }
        if newest.insert(message.producer, message) > Some(message) {
            return Err(format!("{message} was handed back after a newer one"));
        }
    }
    for (message, _, entry) in evidence.entries().filter(|it| it.1.client == client) {
        let is_reported = reported.contains(&message);
        let given_up = match &entry.outcome {
            // Nobody knows.
            None => true,
            // A client can give up while it is being closed.
            Some(Err(Unconfirmed {
                reason: UnconfirmedReason::Dropped(reason),
                ..
            })) => {
                matches!(reason, DropReason::Closed | DropReason::ConnectionGivenUp)
            }
            Some(_) => false,
        };
        if is_reported && !(entry.accepted && given_up && !entry.withdrawn) {
            return Err(format!(
                "{message} was handed back, and resolved as {:?}",
                entry.outcome
            ));
        }
        if !is_reported && entry.accepted && !has_gone(evidence, message) {
            return Err(format!("{message} was given up, and not handed back"));
        }
    }
    Ok(())
}

/// Whether an accepted message of a client that was closed may have ended otherwise than by that.
fn has_gone(evidence: &Evidence<'_>, message: MessageId) -> bool {
    let book = &evidence.ledger.producers[message.producer as usize];
    let entry = &book.entries[message.number as usize];
    let mut receipts = evidence.receipts(message);
    match &entry.outcome {
        None if entry.withdrawn || book.plan.max_age.is_some() => true,
        Some(Err(Unconfirmed {
            reason: UnconfirmedReason::Dropped(reason),
            ..
        })) => !matches!(reason, DropReason::Closed | DropReason::ConnectionGivenUp),
        Some(_) => true,
        None if book.plan.policy == BufferPolicy::DropOldest => true,
        None if book.plan.confirms => {
            evidence.was_refused(message) || receipts.any(|it| it.word.is_some() || it.returned)
        }
        // What was written once may be lost with its connection.
        None => !evidence.record.unclosed.is_empty() || receipts.next().is_some(),
    }
}

/// Where so much is encoded and not written, publishes wait. The last that did not may be as long as
/// messages are, and whatever is no publish passes.
fn what_is_held_is_bounded(evidence: &Evidence<'_>) -> Checked {
    let bound = (256 + 16) * 1024 + MessageId::LEN + LONGEST;
    let fates = evidence.ledger.fates.iter();
    match fates.map(|fate| fate.unwritten).find(|it| *it > bound) {
        Some(unwritten) => Err(format!("{unwritten} bytes waited to be written")),
        None => Ok(()),
    }
}
