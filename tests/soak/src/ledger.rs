//! What became of every message: said by the client, and seen on the wire.
//!
//! # When is a message reordered?
//!
//! The promise is that messages are delivered for the first time in the order of their publishing.
//! But not every first delivery arrives. A broker goes on to deliver to a consumer whose connection
//! is half open, as far as its prefetch allows. When the client has noticed and is back, newer
//! messages go to its new consumer, and those of the old one follow when the broker has noticed,
//! too. They come late, although their first delivery was in order, and the broker says so itself:
//! `redelivered` is set on what it had delivered before and put back into the queue, and on nothing
//! else (AMQP 0-9-1, basic.deliver: "the message has been previously delivered to this or another
//! client"). The flag belongs to a copy. A message that was not confirmed when its connection ended
//! is published again, and where the late one is that copy, it takes an older one, redelivered, to
//! tell that the first delivery was that one's.
//!
//! So a message that comes for the first time after a newer one, and not as a redelivery, counts
//! as reordered, unless an older copy of it comes as one later. A killed node forgets more than
//! that: unconfirmed messages, and what it has delivered.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard};

use snowshoe::{SettleError, Settled, Unconfirmed, UnconfirmedReason};

use crate::message;

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
    /// The number after the newest one confirmed.
    pub(crate) confirmed_before: u64,
    /// The number after the newest one consumed.
    pub(crate) consumed_before: u64,
    /// All messages below this number have the broker's word.
    answered_before: u64,
    /// What came late with nothing yet to tell why, and in which copy.
    suspects: BTreeMap<u64, u8>,
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
    /// A bit for each copy that was delivered.
    delivered: u32,
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
    /// Deliveries of another copy of a message that had been delivered before: it was published
    /// again, because it was not confirmed when a connection ended.
    pub(crate) resent: u64,
    /// Deliveries of the same copy without a word from the broker, which was killed in between and
    /// may not have noted the first.
    pub(crate) forgotten: u64,
    /// Messages that came for the first time after newer ones, and as a redelivery, or an older
    /// copy did: the first delivery was to a consumer that was cut off, which the broker noticed
    /// late.
    pub(crate) late_redelivered: u64,
    /// Messages that came for the first time after newer ones after the node was killed.
    pub(crate) late_by_kill: u64,
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
    /// Delivered for the first time after a newer one.
    pub(crate) reordered: Vec<u64>,
    /// Handed out by the client in another order than the broker's, or after one that was not.
    pub(crate) handed_out_of_turn: Vec<u64>,
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
            delivered: 0,
            delivered_at: u16::MAX,
        };
        Self {
            page: Mutex::new(Page {
                records: vec![record; messages],
                attempted: 0,
                resolved: 0,
                confirmed_before: 0,
                consumed_before: 0,
                answered_before: 0,
                suspects: BTreeMap::new(),
                counts: Counts::default(),
                faulty: Faulty::default(),
            }),
        }
    }

    /// In bytes.
    pub(crate) fn size(&self) -> u64 {
        size_of_val(self.page().records.as_slice()) as u64
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
                self.confirmed_before = self.confirmed_before.max(number + 1);
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

    /// A message was seen on its way to the broker, on a channel on which it came after
    /// `previous`, if any; the node has been killed so many times. Which copy of it this is.
    pub(crate) fn write(&mut self, number: u64, previous: Option<u64>, kills: u16) -> u8 {
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
        record.written
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
        let copy = message::copy(body);
        let record = self.record(number);
        let first = !std::mem::replace(&mut record.consumed, true);
        let delivered_at = std::mem::replace(&mut record.delivered_at, kills);
        let another_copy = record.deliver(copy);
        if first {
            self.counts.consumed += 1;
            if number < self.consumed_before {
                self.come_late(number, copy, redelivered, kills);
            }
            self.consumed_before = self.consumed_before.max(number + 1);
        } else if redelivered {
            self.counts.redelivered += 1;
            self.acquit(number, copy);
        } else if another_copy {
            self.counts.resent += 1;
        } else if delivered_at != kills {
            self.counts.forgotten += 1;
        } else {
            self.faulty.unexplained.push(number);
        }
    }

    /// A message comes for the first time, and after a newer one.
    fn come_late(&mut self, number: u64, copy: u8, redelivered: bool, kills: u16) {
        if redelivered {
            self.counts.late_redelivered += 1;
        } else if self.record(number).written_at != kills {
            self.counts.late_by_kill += 1;
        } else {
            self.suspects.insert(number, copy);
        }
    }

    /// A copy of a message comes as a redelivery. Where an older copy than the one that came late
    /// does, the first delivery was that one's.
    fn acquit(&mut self, number: u64, copy: u8) {
        if self.suspects.get(&number).is_some_and(|&late| copy < late) {
            self.suspects.remove(&number);
            self.counts.late_redelivered += 1;
        }
    }

    /// A message was handed out in another turn than the broker's.
    pub(crate) fn hand_out_of_turn(&mut self, number: u64) {
        self.faulty.handed_out_of_turn.push(number);
    }

    /// A delivery was settled.
    pub(crate) fn settle(&mut self, number: u64, settled: Result<Settled, SettleError>) {
        match settled {
            Ok(Settled::Stale) => self.counts.stale += 1,
            Ok(_) => {}
            Err(_) => self.faulty.unsettled.push(number),
        }
    }

    /// Whether a number is of a message that was accepted.
    pub(crate) fn knows(&self, number: u64) -> bool {
        number < self.attempted
    }

    /// Whether all messages have ended so far.
    pub(crate) fn is_resolved(&self) -> bool {
        self.resolved == self.attempted
    }

    /// Whether all messages there were to be have ended, and the confirmed ones are consumed.
    pub(crate) fn is_complete(&self) -> bool {
        let all = self.records.len() as u64;
        self.resolved == all && self.unconsumed().next().is_none()
    }

    /// Says that what was not consumed by now is lost, and that what came late and was not told why
    /// is reordered.
    pub(crate) fn close(&mut self) {
        self.faulty.lost = self.unconsumed().collect();
        self.faulty.reordered = self.suspects.keys().copied().collect();
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

impl Record {
    /// Notes that a copy was delivered; whether for the first time. The few that are published more
    /// often than there are bits are believed.
    fn deliver(&mut self, copy: u8) -> bool {
        let bit = 1_u32.checked_shl(copy.into()).unwrap_or_default();
        let first = self.delivered & bit == 0;
        self.delivered |= bit;
        first
    }
}

fn index(number: u64) -> usize {
    usize::try_from(number).expect("so many messages fit into the memory")
}

fn kind(unconfirmed: &Unconfirmed) -> &'static str {
    match unconfirmed.reason {
        UnconfirmedReason::Nacked => "nacked",
        UnconfirmedReason::Returned(_) => "returned",
        UnconfirmedReason::Rejected(_) => "rejected",
        UnconfirmedReason::Unsendable(_) => "unsendable",
        UnconfirmedReason::Dropped(_) => "dropped",
        _ => "otherwise",
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LANE: u32 = 0;

    /// Ten messages, each written once and confirmed.
    fn ten_confirmed() -> Ledger {
        let ledger = Ledger::new(10);
        for number in 0..10 {
            let mut page = ledger.page();
            page.accept();
            page.write(number, number.checked_sub(1), 0);
            page.answer(number, true);
            page.resolve(number, &Ok(()));
        }
        ledger
    }

    fn deliver(ledger: &Ledger, number: u64, copy: u8, redelivered: bool, kills: u16) {
        let mut body = message::body(LANE, number);
        message::stamp(&mut body, copy);
        ledger.page().deliver(number, &body, redelivered, kills);
    }

    fn reordered(ledger: &Ledger) -> Vec<u64> {
        let mut page = ledger.page();
        page.close();
        page.faulty.reordered.clone()
    }

    #[test]
    fn what_comes_after_a_newer_one_is_reordered_unless_it_comes_as_a_redelivery() {
        let ledger = ten_confirmed();
        for (number, redelivered) in [(0, false), (3, false), (1, true), (2, false)] {
            deliver(&ledger, number, 1, redelivered, 0);
        }
        assert_eq!(reordered(&ledger), [2]);
        assert_eq!(ledger.page().counts.late_redelivered, 1);
    }

    #[test]
    fn only_the_redelivery_of_an_older_copy_acquits_a_copy_that_came_late() {
        let ledger = ten_confirmed();
        for number in 0..2 {
            ledger.page().write(number, number.checked_sub(1), 0);
        }
        deliver(&ledger, 2, 1, false, 0);
        deliver(&ledger, 0, 2, false, 0);
        deliver(&ledger, 1, 2, false, 0);
        // The same copy again, which says nothing about the first.
        deliver(&ledger, 1, 2, true, 0);
        assert_eq!(reordered(&ledger), [0, 1]);
        deliver(&ledger, 0, 1, true, 0);
        assert_eq!(reordered(&ledger), [1]);
    }

    #[test]
    fn a_copy_that_comes_twice_is_a_redelivery_or_forgotten_by_a_kill_or_unexplained() {
        let ledger = ten_confirmed();
        deliver(&ledger, 0, 1, false, 0);
        deliver(&ledger, 0, 2, false, 0);
        deliver(&ledger, 0, 2, true, 0);
        deliver(&ledger, 0, 2, false, 1);
        deliver(&ledger, 0, 2, false, 1);
        let page = ledger.page();
        let counts = &page.counts;
        assert_eq!(
            (counts.resent, counts.redelivered, counts.forgotten),
            (1, 1, 1)
        );
        assert_eq!(page.faulty.unexplained, [0]);
    }

    #[test]
    fn confirmed_without_the_broker_s_word_is_falsely_confirmed_and_never_consumed_lost() {
        let ledger = Ledger::new(2);
        for number in 0..2 {
            let mut page = ledger.page();
            page.accept();
            page.write(number, number.checked_sub(1), 0);
            page.answer(number, number == 0);
            page.resolve(number, &Ok(()));
        }
        deliver(&ledger, 1, 1, false, 0);
        let mut page = ledger.page();
        page.close();
        assert_eq!(page.faulty.falsely_confirmed, [1]);
        assert_eq!(page.faulty.lost, [0]);
    }

    #[test]
    fn what_is_written_ahead_of_an_unanswered_one_is_written_out_of_order() {
        let ledger = Ledger::new(4);
        let mut page = ledger.page();
        page.write(0, None, 0);
        page.write(2, Some(0), 0);
        page.answer(0, true);
        page.write(1, None, 0);
        page.write(3, None, 0);
        assert_eq!(page.faulty.written_ahead, [2, 3]);
    }
}
