//! What became of every message: said by the client, and seen on the wire.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use snowshoe::{SettleError, Unconfirmed};

use super::message;

/// One lane's messages, numbered from 0. Its memory is all taken at the beginning, so that what
/// grows later is the client.
#[derive(Debug)]
pub(crate) struct Ledger {
    page: Mutex<Page>,
}

#[derive(Debug)]
pub(crate) struct Page {
    records: Vec<Record>,
    /// How many messages were accepted.
    pub(crate) attempted: u64,
    /// How many have ended, which they do in their order, or are noted in it.
    pub(crate) resolved: u64,
    /// The number behind the newest one consumed.
    pub(crate) consumed_before: u64,
    /// All messages below this number have the broker's word.
    answered_before: u64,
    pub(crate) counts: Counts,
    pub(crate) faulty: Faulty,
}

/// One message.
#[derive(Clone, Copy, Debug)]
struct Record {
    /// The client said that the broker has it.
    confirmed: bool,
    consumed: bool,
    /// How often it was seen on its way to the broker, which is once unless it is resent.
    written: u8,
    /// How often the node had been killed when the message was seen first.
    written_at: u16,
    /// The broker's word on it was seen on its way to the client.
    answered: bool,
    /// That was a confirm.
    acked: bool,
    /// How often the node had been killed when the message was delivered last.
    delivered_at: u16,
}

/// How much of what there was.
#[derive(Clone, Debug, Default)]
pub(crate) struct Counts {
    pub(crate) confirmed: u64,
    /// Different messages.
    pub(crate) consumed: u64,
    /// Those that ended without a confirm, by how.
    pub(crate) unconfirmed: BTreeMap<&'static str, u64>,
    /// Deliveries of a message that had been delivered before, as the broker says itself.
    pub(crate) redelivered: u64,
    /// The same without a word from the broker: of a message that was written twice, because it
    /// was not confirmed when a connection ended.
    pub(crate) resent: u64,
    /// The same, of a message that was delivered before the node was killed, which it may not have
    /// noted.
    pub(crate) forgotten: u64,
    /// Messages that came for the first time behind newer ones, and as a redelivery, then or
    /// later: their first delivery, or that of the first of two copies, went to a consumer that was
    /// cut off, which the broker noticed late.
    pub(crate) late_redelivered: u64,
    /// Messages that came for the first time behind newer ones, because the node kept those and
    /// not them, which were not confirmed, when it was killed.
    pub(crate) late_resent: u64,
    /// Settles that came after their channel had ended.
    pub(crate) stale: u64,
}

/// The numbers of messages to which something happened that must not happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Faulty {
    /// Confirmed, and never consumed.
    pub(crate) lost: Vec<u64>,
    /// Confirmed by the client, and not by the broker.
    pub(crate) falsely_confirmed: Vec<u64>,
    /// Delivered for the first time behind a newer one, for no reason that lies with the broker.
    pub(crate) reordered: Vec<u64>,
    /// Written ahead of an older one that the broker had not answered.
    pub(crate) written_ahead: Vec<u64>,
    /// Delivered more than once for no reason known.
    pub(crate) unexplained: Vec<u64>,
    /// Not what was published.
    pub(crate) corrupted: Vec<u64>,
    /// Could not be settled for another reason than that the channel had ended.
    pub(crate) unsettled: Vec<u64>,
}

impl Ledger {
    pub(crate) fn new(messages: usize) -> Self {
        let record = Record {
            confirmed: false,
            consumed: false,
            written: 0,
            written_at: u16::MAX,
            answered: false,
            acked: false,
            delivered_at: u16::MAX,
        };
        Self {
            page: Mutex::new(Page {
                records: vec![record; messages],
                attempted: 0,
                resolved: 0,
                consumed_before: 0,
                answered_before: 0,
                counts: Counts::default(),
                faulty: Faulty::default(),
            }),
        }
    }

    pub(crate) fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().expect("nothing panics under this lock")
    }
}

impl Page {
    /// A message was accepted by the client; its number.
    pub(crate) fn accept(&mut self) -> u64 {
        let number = self.attempted;
        self.attempted += 1;
        number
    }

    /// The client said how a message ended.
    pub(crate) fn resolve(&mut self, number: u64, outcome: &Result<(), Unconfirmed>) {
        self.resolved += 1;
        match outcome {
            Ok(()) => {
                self.counts.confirmed += 1;
                let record = self.record(number);
                record.confirmed = true;
                // The witness saw the confirm before the client did.
                if !record.acked {
                    self.faulty.falsely_confirmed.push(number);
                }
            }
            Err(reason) => *self.counts.unconfirmed.entry(kind(reason)).or_default() += 1,
        }
    }

    /// A message was seen on its way to the broker, on a channel on which it came behind
    /// `previous`, if any; the node has been killed so many times.
    pub(crate) fn write(&mut self, number: u64, previous: Option<u64>, kills: u16) {
        let expected = previous.map_or(self.answered_before, |previous| previous + 1);
        let skips_unanswered = (expected..number).any(|skipped| !self.record(skipped).answered);
        let goes_back = previous.is_some_and(|previous| number <= previous);
        if skips_unanswered || goes_back {
            self.faulty.written_ahead.push(number);
        }
        let record = self.record(number);
        if record.written == 0 {
            record.written_at = kills;
        }
        record.written = record.written.saturating_add(1);
    }

    /// A confirm of a message, or the contrary, was seen on its way to the client.
    pub(crate) fn answer(&mut self, number: u64, acked: bool) {
        let record = self.record(number);
        record.answered = true;
        record.acked |= acked;
        while self.is_answered(self.answered_before) {
            self.answered_before += 1;
        }
    }

    /// A message was delivered; the node has been killed so many times.
    pub(crate) fn deliver(&mut self, number: u64, body: &[u8], redelivered: bool, kills: u16) {
        if !message::is_intact(number, body) {
            self.faulty.corrupted.push(number);
        }
        let record = self.record(number);
        let first = !std::mem::replace(&mut record.consumed, true);
        let delivered_at = std::mem::replace(&mut record.delivered_at, kills);
        let (resent, written_at) = (record.written > 1, record.written_at);
        if first {
            self.counts.consumed += 1;
            if number < self.consumed_before {
                if redelivered {
                    self.counts.late_redelivered += 1;
                } else if resent && written_at != kills {
                    self.counts.late_resent += 1;
                } else {
                    self.faulty.reordered.push(number);
                }
            }
            self.consumed_before = self.consumed_before.max(number + 1);
        } else if redelivered {
            self.counts.redelivered += 1;
            self.acquit(number);
        } else if resent {
            self.counts.resent += 1;
        } else if delivered_at != kills {
            self.counts.forgotten += 1;
        } else {
            self.faulty.unexplained.push(number);
        }
    }

    /// A copy of a message was delivered before, to a consumer that was cut off. So what came
    /// behind newer ones was another copy, and the order of the first ones was right.
    fn acquit(&mut self, number: u64) {
        let reordered = &mut self.faulty.reordered;
        if let Some(at) = reordered.iter().position(|&late| late == number) {
            reordered.swap_remove(at);
            self.counts.late_redelivered += 1;
        }
    }

    /// A delivery was settled.
    pub(crate) fn settle(&mut self, number: u64, settled: Result<(), SettleError>) {
        match settled {
            Ok(()) => {}
            Err(SettleError::Stale) => self.counts.stale += 1,
            Err(_) => self.faulty.unsettled.push(number),
        }
    }

    /// Whether a number is of a message that was accepted.
    pub(crate) fn knows(&self, number: u64) -> bool {
        number < self.attempted
    }

    /// Whether all messages there were to be have ended, and the confirmed ones are consumed.
    pub(crate) fn is_complete(&self) -> bool {
        let all = self.records.len() as u64;
        self.resolved == all && self.unconsumed().next().is_none()
    }

    /// Says that what was not consumed by now is lost.
    pub(crate) fn close(&mut self) {
        self.faulty.lost = self.unconsumed().collect();
    }

    fn unconsumed(&self) -> impl Iterator<Item = u64> {
        (0..)
            .zip(&self.records)
            .filter(|(_, record)| record.confirmed && !record.consumed)
            .map(|(number, _)| number)
    }

    fn is_answered(&self, number: u64) -> bool {
        self.records
            .get(index(number))
            .is_some_and(|record| record.answered)
    }

    fn record(&mut self, number: u64) -> &mut Record {
        &mut self.records[index(number)]
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("so many messages fit into the memory")
}

fn kind(reason: &Unconfirmed) -> &'static str {
    match reason {
        Unconfirmed::Nacked => "nacked",
        Unconfirmed::Returned(_) => "returned",
        Unconfirmed::Rejected(_) => "rejected",
        Unconfirmed::Unsendable(_) => "unsendable",
        Unconfirmed::Dropped { .. } => "dropped",
        _ => "otherwise",
    }
}
