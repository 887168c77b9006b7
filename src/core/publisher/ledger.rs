//! A producer's messages, and how they end.

use std::collections::BTreeMap;

use bytes::Bytes;
use snowshoe_codec::PeerClose;

use super::bin::Bin;
use super::returns::{Returns, Verdict};
use super::{News, Overrides, message_of};
use crate::core::keyed_queue::KeyedQueue;
use crate::core::ring::{Limits, Ring, Settled};
use crate::core::wait_queue::{Need, WaitQueue};
use crate::message::Message;
use crate::outcome::{DropReason, Unconfirmed, UnconfirmedReason};

/// The messages and their outcomes.
#[derive(Debug)]
pub(super) struct Ledger<W> {
    pub(super) ring: Ring<Entry<W>>,
    /// What messages have of their own, for those few that have any: an entry of the ring is half as
    /// large without it, and the more of them stay in the cache.
    pub(super) overrides: KeyedQueue<Overrides>,
    pub(super) closed: bool,
    /// Messages that the broker could not route. Their outcome is due with the confirm that follows
    /// (fault 20).
    pub(super) returns: Returns,
    /// Outcomes, other than an ack, that nobody has asked for yet.
    pub(super) outcomes: BTreeMap<u64, Unconfirmed>,
    /// Who waits for room.
    pub(super) waiting: WaitQueue<W>,
    /// Who waits until all before a position is settled, in the order of their coming.
    pub(super) flushes: BTreeMap<Flush, W>,
    next_flush: u64,
    pub(super) woken: Vec<W>,
    pub(super) news: News,
    /// What has left.
    pub(super) bin: Bin<W>,
}

/// The wait until all before a position is settled, and which one it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Flush {
    before: u64,
    number: u64,
}

/// A message's place in the ring.
#[derive(Debug)]
pub(super) struct Entry<W> {
    pub(super) body: Bytes,
    pub(super) watch: Watch<W>,
}

/// Who wants to know how a message ends.
#[derive(Debug)]
pub(super) enum Watch<W> {
    Nobody,
    /// Somebody may ask.
    Somebody,
    /// Somebody is to be woken.
    Waiting(W),
}

impl<W> Watch<W> {
    /// Puts another in its place, and gives back who is not to be woken any more.
    #[must_use]
    pub(super) fn replace(&mut self, by: Self) -> Option<W> {
        match std::mem::replace(self, by) {
            Self::Waiting(waiter) => Some(waiter),
            Self::Nobody | Self::Somebody => None,
        }
    }
}

impl<W> Ledger<W> {
    pub(super) fn new(ring: Ring<Entry<W>>) -> Self {
        Self {
            ring,
            overrides: KeyedQueue::new(),
            closed: false,
            returns: Returns::default(),
            outcomes: BTreeMap::new(),
            waiting: WaitQueue::new(),
            flushes: BTreeMap::new(),
            next_flush: 0,
            woken: Vec::new(),
            news: News::default(),
            bin: Bin::default(),
        }
    }

    pub(super) fn begin_flush(&mut self) -> Flush {
        let number = self.next_flush;
        self.next_flush += 1;
        Flush {
            before: self.ring.pushed(),
            number,
        }
    }

    pub(super) fn is_flushed(&self, flush: Flush) -> bool {
        self.ring.confirmed() >= flush.before
    }

    /// Ends a message. An ack of one that was returned means that the broker has dropped it.
    pub(super) fn settle(&mut self, position: u64, outcome: Result<(), UnconfirmedReason>) {
        self.end(position, outcome, false);
    }

    /// The broker does not take a message, or one of several queues does not.
    pub(super) fn refuse(&mut self, position: u64, may_be_elsewhere: bool) {
        self.end(position, Err(UnconfirmedReason::Nacked), may_be_elsewhere);
    }

    fn end(
        &mut self,
        position: u64,
        outcome: Result<(), UnconfirmedReason>,
        may_be_elsewhere: bool,
    ) {
        let Some(Settled {
            item: entry,
            writes,
        }) = self.ring.settle(position)
        else {
            return;
        };
        let Entry { body, watch } = entry;
        self.bin.put_body(body);
        self.bin.put_overrides(self.overrides.remove(position));
        let verdict = self.returns.settled(position, self.bin.rest());
        let (outcome, may_be_elsewhere) = match (outcome, verdict) {
            // LavinMQ returns what a full queue refuses, and then nacks it (seen on 2.9.1): that is one outcome,
            // and the return says more.
            (Ok(()) | Err(UnconfirmedReason::Nacked), Verdict::Returned(returned)) => {
                (Err(UnconfirmedReason::Returned(returned)), may_be_elsewhere)
            }
            (Ok(()), Verdict::Perhaps(returned)) => {
                (Err(UnconfirmedReason::Returned(returned)), true)
            }
            (outcome, Verdict::Returned(returned) | Verdict::Perhaps(returned)) => {
                self.bin.rest().put(returned);
                (outcome, may_be_elsewhere)
            }
            (outcome, Verdict::NotReturned) => (outcome, may_be_elsewhere),
        };
        let outcome = outcome.map_err(|reason| Unconfirmed {
            possibly_stored: may_be_elsewhere || writes > last_copies(&reason),
            reason,
            producer: None,
        });
        match outcome.as_ref().map_err(|it| &it.reason) {
            Ok(()) => self.news.confirmed += 1,
            Err(UnconfirmedReason::Nacked) => self.news.nacked += 1,
            Err(UnconfirmedReason::Rejected(close)) => self.news.rejected.push(close.clone()),
            Err(UnconfirmedReason::Unsendable(_)) => self.news.dropped(DropReason::Unsendable),
            Err(UnconfirmedReason::NotDeclared(_)) => self.news.dropped(DropReason::NotDeclared),
            Err(UnconfirmedReason::Dropped(reason)) => self.news.dropped(*reason),
            // The news of it came with the return itself.
            Err(UnconfirmedReason::Returned(_)) => {}
        }
        self.tell(position, watch, outcome);
        self.wake();
    }

    fn tell(&mut self, position: u64, watch: Watch<W>, outcome: Result<(), Unconfirmed>) {
        match (outcome, &watch) {
            (Ok(()), _) => {}
            (Err(outcome), Watch::Nobody) => self.bin.rest().put_outcome(Some(outcome)),
            (Err(outcome), Watch::Somebody | Watch::Waiting(_)) => {
                self.outcomes.insert(position, outcome);
            }
        }
        if let Watch::Waiting(waiter) = watch {
            self.woken.push(waiter);
        }
    }

    /// A newer message takes the place of the oldest that is not written.
    pub(super) fn displace_oldest(&mut self) {
        if let Some(message) = self.drop_oldest(DropReason::BufferFull) {
            self.throw_away(message);
        }
    }

    /// What the oldest goes to could not be declared. Whether there was one.
    pub(super) fn forsake_oldest(&mut self, why: Option<&PeerClose>) -> bool {
        let dropped = DropReason::NotDeclared;
        let reason = why.cloned().map(UnconfirmedReason::NotDeclared);
        let reason = reason.unwrap_or(UnconfirmedReason::Dropped(dropped));
        let message = self.drop_oldest_as(dropped, reason);
        let was_there = message.is_some();
        if let Some(message) = message {
            self.throw_away(message);
        }
        was_there
    }

    fn throw_away(&mut self, message: Message) {
        let Message {
            body,
            properties,
            routing_key,
            fault: _,
        } = message;
        self.bin.put_body(body);
        let has_overrides = properties.is_some() || routing_key.is_some();
        self.bin.put_overrides(has_overrides.then_some(Overrides {
            properties,
            routing_key,
        }));
    }

    /// Gives up the oldest message that is not written.
    pub(super) fn drop_oldest(&mut self, reason: DropReason) -> Option<Message> {
        self.drop_oldest_as(reason, UnconfirmedReason::Dropped(reason))
    }

    fn drop_oldest_as(
        &mut self,
        dropped: DropReason,
        reason: UnconfirmedReason,
    ) -> Option<Message> {
        let (position, settled) = self.ring.drop_oldest_unwritten()?;
        let Settled {
            item: entry,
            writes,
        } = settled;
        let outcome = Unconfirmed {
            reason,
            possibly_stored: writes > 0,
            producer: None,
        };
        self.news.dropped(dropped);
        self.tell(position, entry.watch, Err(outcome));
        self.wake();
        Some(message_of(entry.body, self.overrides.remove(position)))
    }

    pub(super) fn owes_room(&self) -> bool {
        let wanted = self.waiting.wanted();
        wanted.is_some_and(|bytes| self.ring.room_for(bytes).is_ok())
    }

    /// Wakes as many as there is room for.
    pub(super) fn call(&mut self) {
        let room = self.room();
        self.waiting.call(room, &mut self.woken);
    }

    /// Wakes more, for those that were woken do not come.
    pub(super) fn pass_on(&mut self) {
        let room = self.room();
        self.waiting.pass_on(room, &mut self.woken);
    }

    fn room(&self) -> Need {
        let Limits { messages, bytes } = self.ring.room();
        Need {
            count: messages,
            bytes,
        }
    }

    /// Wakes whoever gets what it waits for by a message that has left.
    fn wake(&mut self) {
        if self.owes_room() && self.ring.is_half_empty() {
            self.call();
        }
        if !self.flushes.is_empty() {
            self.wake_flushed();
        }
    }

    fn wake_flushed(&mut self) {
        let confirmed = self.ring.confirmed();
        while let Some(first) = self.flushes.first_entry()
            && first.key().before <= confirmed
        {
            self.woken.push(first.remove());
        }
    }
}

/// How many copies a message's outcome is about: one that was written is the broker's to judge.
fn last_copies(reason: &UnconfirmedReason) -> u32 {
    match reason {
        UnconfirmedReason::Nacked
        | UnconfirmedReason::Returned(_)
        | UnconfirmedReason::Rejected(_) => 1,
        UnconfirmedReason::Unsendable(_)
        | UnconfirmedReason::NotDeclared(_)
        | UnconfirmedReason::Dropped(_) => 0,
    }
}
