//! What became of each message of a worker.
//!
//! A message fails as often as its [`fate`] says, by the attempt that its delivery tells. So the attempts are counted
//! right if those that are to succeed do, and the others, and no others, are dead letters. RabbitMQ's own retries count
//! a delivery whose channel ended as an attempt, which is told apart.
//!
//! What was done may be done again only where a connection was cut, or a handler cut off, since its message was
//! published: a copy and its message can both come again after that, and an unconfirmed message is published again.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use snowshoe::{Handled, StopHandle};

use super::Waits;

/// How often anything was cut so far: a connection that was opened anew, or a handler.
pub(crate) type Cuts = Arc<AtomicU64>;

/// The attempts that each message has.
pub(super) const ATTEMPTS: u32 = 4;

#[derive(Debug)]
pub(super) struct Desk {
    waits: Waits,
    cuts: Cuts,
    page: Mutex<Page>,
}

#[derive(Debug, Default)]
struct Page {
    records: Vec<Record>,
    /// Stops the consumer that there is.
    stop: Option<StopHandle>,
    /// No other consumer is to follow.
    ends: bool,
    counted: Counted,
    wrong: Wrong,
}

/// One message.
#[derive(Clone, Copy, Debug)]
struct Record {
    resolved: bool,
    confirmed: bool,
    done: bool,
    dead: bool,
    /// What had been cut when it was accepted.
    accepted_at: u64,
}

/// How much of what there was.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Counted {
    pub(crate) accepted: u64,
    pub(crate) resolved: u64,
    pub(crate) confirmed: u64,
    /// Runs of handlers.
    pub(crate) runs: u64,
    /// Different messages.
    pub(crate) done: u64,
    /// Different messages.
    pub(crate) dead: u64,
    /// What was done again after a cut.
    pub(crate) repeated: u64,
    /// Dead letters that were still to succeed, since the broker counts what a cut interrupts.
    pub(crate) worn_out: u64,
    pub(crate) drains: u64,
    pub(crate) cut_off: u64,
}

/// The numbers of messages to which something happened that must not happen.
#[derive(Clone, Debug, Default)]
pub(crate) struct Wrong {
    /// Confirmed, and neither done nor a dead letter.
    pub(crate) lost: Vec<u64>,
    /// Done again without a cut since it was published.
    pub(crate) repeated: Vec<u64>,
    /// A dead letter before its attempts were over.
    pub(crate) dead_too_early: Vec<u64>,
    /// Handed out once more after its last attempt.
    pub(crate) tried_too_often: Vec<u64>,
}

/// How often the handler fails at a message: at half of them never, at some once or twice, at some always.
pub(super) fn fate(number: u64) -> u32 {
    match number % 8 {
        0..4 => 0,
        4..6 => 1,
        6 => 2,
        _ => u32::MAX,
    }
}

impl Desk {
    /// Has room for so many messages from the beginning, so that what grows later is the client.
    pub(super) fn new(waits: Waits, cuts: Cuts, most: usize) -> Self {
        let page = Page {
            records: Vec::with_capacity(most),
            ..Page::default()
        };
        Self {
            waits,
            cuts,
            page: Mutex::new(page),
        }
    }

    /// A message is about to be published; its number.
    pub(super) fn accept(&self) -> u64 {
        let accepted_at = self.cuts();
        let mut page = self.page();
        page.records.push(Record {
            resolved: false,
            confirmed: false,
            done: false,
            dead: false,
            accepted_at,
        });
        page.counted.accepted += 1;
        page.counted.accepted - 1
    }

    /// The client said how the publishing ended.
    pub(super) fn resolve(&self, number: u64, confirmed: bool) {
        let mut page = self.page();
        page.counted.resolved += 1;
        page.counted.confirmed += u64::from(confirmed);
        let record = page.record(number);
        (record.resolved, record.confirmed) = (true, confirmed);
    }

    /// A handler was given a message.
    pub(super) fn begin_message(&self, number: u64, attempt: u32) {
        let mut page = self.page();
        page.counted.runs += 1;
        // The broker's own count goes on where a cut interrupts the handler.
        if attempt > ATTEMPTS && self.waits == Waits::AsCopies {
            page.wrong.tried_too_often.push(number);
        }
    }

    /// A handler has finished with a message.
    pub(super) fn done(&self, number: u64) {
        let now = self.cuts();
        let mut page = self.page();
        let record = page.record(number);
        let accepted_at = record.accepted_at;
        if !std::mem::replace(&mut record.done, true) {
            page.counted.done += 1;
        } else if accepted_at == now {
            page.wrong.repeated.push(number);
        } else {
            page.counted.repeated += 1;
        }
    }

    /// A message came as a dead letter.
    pub(super) fn bury(&self, number: u64) {
        let mut page = self.page();
        let is_due = fate(number) >= ATTEMPTS;
        let record = page.record(number);
        let first = !std::mem::replace(&mut record.dead, true);
        page.counted.dead += u64::from(first);
        match (is_due, self.waits) {
            (true, _) => {}
            (false, Waits::InQueue) => page.counted.worn_out += u64::from(first),
            (false, Waits::AsCopies) => page.wrong.dead_too_early.push(number),
        }
    }

    /// A consumer has begun.
    pub(super) fn begin(&self, stop: &StopHandle) {
        let ends = {
            let mut page = self.page();
            page.stop = Some(stop.clone());
            page.ends
        };
        if ends {
            stop.stop();
        }
    }

    /// Stops the consumer that there is.
    pub(super) fn drain(&self, within: Option<Duration>) {
        let stop = self.page().stop.clone();
        match (stop, within) {
            (Some(stop), None) => stop.stop(),
            (Some(stop), Some(within)) => {
                // What is cut off is begun again, as by a cut.
                self.cuts.fetch_add(1, Ordering::SeqCst);
                stop.stop_within(within);
            }
            (None, _) => {}
        }
    }

    /// The handlers of a consumer have ended; whether no other one is to follow.
    pub(super) fn drained(&self, handled: Handled) -> bool {
        let mut page = self.page();
        page.counted.drains += 1;
        page.counted.cut_off += handled.cut_off;
        page.stop = None;
        page.ends
    }

    /// Stops the consumer for good.
    pub(super) fn end(&self) {
        self.page().ends = true;
        self.drain(None);
    }

    pub(super) fn counted(&self) -> Counted {
        self.page().counted
    }

    /// Whether each message has come to its end.
    pub(super) fn is_complete(&self) -> bool {
        self.page().records.iter().all(Record::has_ended)
    }

    pub(super) fn wrong(&self) -> Wrong {
        let page = self.page();
        let unended = (0..).zip(&page.records);
        let unended = unended.filter(|(_, record)| record.confirmed && !record.has_ended());
        Wrong {
            lost: unended.map(|(number, _)| number).collect(),
            ..page.wrong.clone()
        }
    }

    fn cuts(&self) -> u64 {
        self.cuts.load(Ordering::SeqCst)
    }

    fn page(&self) -> MutexGuard<'_, Page> {
        self.page.lock().expect("nothing panics under this lock")
    }
}

impl Page {
    fn record(&mut self, number: u64) -> &mut Record {
        let index = usize::try_from(number).expect("so many messages fit into the memory");
        &mut self.records[index]
    }
}

impl Record {
    fn has_ended(&self) -> bool {
        self.resolved && (!self.confirmed || self.done || self.dead)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn desk(waits: Waits) -> Desk {
        let desk = Desk::new(waits, Cuts::default(), 8);
        for number in 0..8 {
            assert_eq!(desk.accept(), number);
            desk.resolve(number, true);
        }
        desk
    }

    #[test]
    fn what_is_neither_done_nor_dead_is_lost() {
        let desk = desk(Waits::AsCopies);
        (0..6).for_each(|number| desk.done(number));
        desk.bury(7);
        assert!(!desk.is_complete());
        assert_eq!(desk.wrong().lost, [6]);
    }

    #[test]
    fn what_is_done_again_without_a_cut_is_wrong_and_counted_after_one() {
        let desk = desk(Waits::AsCopies);
        desk.done(0);
        desk.done(0);
        assert_eq!(desk.wrong().repeated, [0]);
        desk.cuts.fetch_add(1, Ordering::SeqCst);
        desk.done(0);
        assert_eq!(desk.wrong().repeated, [0]);
        assert_eq!(desk.counted().repeated, 1);
    }

    #[test]
    fn what_is_to_succeed_is_no_dead_letter_unless_the_broker_counts_cuts() {
        for (waits, wrong) in [(Waits::AsCopies, vec![4]), (Waits::InQueue, vec![])] {
            let desk = desk(waits);
            desk.bury(7);
            desk.bury(4);
            assert_eq!(desk.wrong().dead_too_early, wrong);
            assert_eq!(desk.counted().dead, 2);
        }
    }

    #[test]
    fn an_attempt_after_the_last_is_one_too_many() {
        let desk = desk(Waits::AsCopies);
        desk.begin_message(7, ATTEMPTS);
        assert_eq!(desk.wrong().tried_too_often, [0_u64; 0]);
        desk.begin_message(7, ATTEMPTS + 1);
        assert_eq!(desk.wrong().tried_too_often, [7]);
    }
}
