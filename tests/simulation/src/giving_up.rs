//! Messages that are given up: by their users, or for their age. And who hears of what is not delivered.

use std::collections::BTreeMap;
use std::sync::PoisonError;
use std::time::{Duration, Instant};

use snowshoe::{DropReason, Unconfirmed, UnconfirmedReason};

use crate::invariants::{Checked, Evidence};
use crate::ledger::{Book, Entry, Ledger};
use crate::message::MessageId;

/// What was told, by message.
type Told = BTreeMap<MessageId, (Instant, Unconfirmed)>;

pub(crate) fn check(evidence: &Evidence<'_>) -> Checked {
    let told = what_was_told(evidence.ledger)?;
    for (message, book, entry) in evidence.entries() {
        let told = told.get(&message);
        what_was_withdrawn_was_never_sent(evidence, (message, entry), told)?;
        let Some(((at, unconfirmed), accepted_at)) = told.zip(entry.accepted_at) else {
            who_hears_hears_of_all(evidence, (message, book, entry), told)?;
            continue;
        };
        evidence.is_unconfirmed(message, book, unconfirmed)?;
        if entry
            .outcome
            .as_ref()
            .is_some_and(|it| it.as_ref() != Err(unconfirmed))
        {
            return Err(format!(
                "{message} was told as {unconfirmed:?}, and resolved otherwise"
            ));
        }
        is_given_up_in_time(message, book, *at - accepted_at, unconfirmed)?;
    }
    for (message, book, entry) in evidence.entries() {
        if let (Some(at), Some(accepted_at)) = (entry.resolved_at, entry.accepted_at)
            && let Some(Err(unconfirmed)) = &entry.outcome
        {
            is_given_up_in_time(message, book, at - accepted_at, unconfirmed)?;
        }
    }
    Ok(())
}

fn what_was_told(ledger: &Ledger) -> Result<Told, String> {
    let mut all = Told::new();
    for (producer, book) in (0..).zip(&ledger.producers) {
        let Some(told) = &book.told else {
            continue;
        };
        for (at, undelivered) in &*told.lock().unwrap_or_else(PoisonError::into_inner) {
            let message = MessageId::read(undelivered.message.body());
            let Some(message) = message.filter(|it| it.producer == producer) else {
                return Err(format!("producer {producer} hears of another's message"));
            };
            if all
                .insert(message, (*at, undelivered.outcome.clone()))
                .is_some()
            {
                return Err(format!("{message} was told twice"));
            }
        }
    }
    Ok(all)
}

fn what_was_withdrawn_was_never_sent(
    evidence: &Evidence<'_>,
    (message, entry): (MessageId, &Entry),
    told: Option<&(Instant, Unconfirmed)>,
) -> Checked {
    let is_gone = entry.outcome.is_none() && told.is_none();
    if entry.withdrawn && !(is_gone && evidence.receipts(message).next().is_none()) {
        return Err(format!(
            "{message} was taken back, and came or was told all the same"
        ));
    }
    Ok(())
}

/// Nothing was told of this one, or it was not accepted.
fn who_hears_hears_of_all(
    evidence: &Evidence<'_>,
    (message, book, entry): (MessageId, &Book, &Entry),
    told: Option<&(Instant, Unconfirmed)>,
) -> Checked {
    if told.is_some() {
        return Err(format!(
            "{message} was not accepted, and told as not delivered"
        ));
    }
    if book.told.is_none() || !entry.accepted {
        return Ok(());
    }
    if matches!(entry.outcome, Some(Err(_))) {
        return Err(format!(
            "{message} resolved as {:?}, and was not told",
            entry.outcome
        ));
    }
    // What was written may be lost with its connection.
    let has_come = evidence.receipts(message).next().is_some();
    if !has_come && !entry.withdrawn && evidence.record.unclosed.is_empty() {
        return Err(format!("{message} never came, and nobody was told"));
    }
    Ok(())
}

/// What was never written is given up when it is too old, and hardly later; what was, when it waits again.
fn is_given_up_in_time(
    message: MessageId,
    book: &Book,
    after: Duration,
    unconfirmed: &Unconfirmed,
) -> Checked {
    let (Some(age), UnconfirmedReason::Dropped(DropReason::Expired)) =
        (book.plan.max_age, &unconfirmed.reason)
    else {
        return Ok(());
    };
    let is_late = after > age + age / 64 && !unconfirmed.possibly_stored;
    if after < age || is_late {
        return Err(format!(
            "{message} was given up after {after:?}, and not {age:?}"
        ));
    }
    Ok(())
}

/// How often messages were given up, by what.
pub(crate) fn counts(ledger: &Ledger) -> [(&'static str, u64); 3] {
    let entries = || ledger.producers.iter().flat_map(|book| &book.entries);
    let is_expired = |entry: &&Entry| {
        let outcome = entry.outcome.as_ref().and_then(|it| it.as_ref().err());
        let reason = outcome.map(|it| &it.reason);
        reason == Some(&UnconfirmedReason::Dropped(DropReason::Expired))
    };
    let told = ledger.producers.iter().flat_map(|book| &book.told);
    let told = told.map(|told| told.lock().unwrap_or_else(PoisonError::into_inner).len() as u64);
    [
        (
            "expired messages",
            entries().filter(is_expired).count() as u64,
        ),
        (
            "taken back",
            entries().filter(|it| it.withdrawn).count() as u64,
        ),
        ("told undelivered", told.sum()),
    ]
}
