//! A producer's messages, and how they end.

use std::collections::BTreeMap;

use bytes::Bytes;
use snowshoe_codec::PeerClose;

use super::ages::Ages;
use super::bin::Bin;
use super::returns::{Returns, Verdict};
use super::{News, Overrides, message_of};
use crate::core::keyed_queue::KeyedQueue;
use crate::core::ring::{Limits, Ring, Settled};
use crate::core::wait_queue::{Need, WaitQueue};
use crate::message::Message;
use crate::outcome::{DropReason, Unconfirmed, UnconfirmedReason, Undelivered};

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
    rare: Option<Box<Rare>>,
}

/// What few producers have.
#[derive(Debug, Default)]
pub(super) struct Rare {
    /// What was not delivered and not told yet, where somebody wants to hear of it.
    pub(super) undelivered: Option<Vec<Undelivered>>,
    /// Since when messages wait, where they do not wait for ever.
    pub(super) ages: Option<Ages>,
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
            rare: None,
        }
    }

    /// What few producers have: this is one.
    pub(super) fn rare(&mut self) -> &mut Rare {
        self.rare.get_or_insert_default()
    }

    pub(super) fn ages(&self) -> Option<&Ages> {
        self.rare.as_ref()?.ages.as_ref()
    }

    pub(super) fn ages_mut(&mut self) -> Option<&mut Ages> {
        self.rare.as_mut()?.ages.as_mut()
    }

    pub(super) fn has_undelivered(&self) -> bool {
        let undelivered = (self.rare.as_ref()).and_then(|rare| rare.undelivered.as_ref());
        undelivered.is_some_and(|it| !it.is_empty())
    }

    pub(super) fn take_undelivered(&mut self) -> Vec<Undelivered> {
        let undelivered = self.rare.as_mut().and_then(|it| it.undelivered.as_mut());
        undelivered.map(std::mem::take).unwrap_or_default()
    }

    /// A message was not delivered: whoever wants to hear of it gets another of its kind.
    fn keep_undelivered(
        &mut self,
        body: &Bytes,
        overrides: Option<&Overrides>,
        outcome: &Unconfirmed,
    ) {
        let undelivered = self.rare.as_mut().and_then(|it| it.undelivered.as_mut());
        if let Some(undelivered) = undelivered {
            undelivered.push(Undelivered {
                message: message_of(body.clone(), overrides.cloned()),
                outcome: outcome.clone(),
            });
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
        let overrides = self.overrides.remove(position);
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
        if let Err(outcome) = &outcome {
            self.keep_undelivered(&body, overrides.as_ref(), outcome);
        }
        self.bin.put_body(body);
        self.bin.put_overrides(overrides);
        let news = &mut self.news;
        match outcome.as_ref().map_err(|it| &it.reason) {
            Ok(()) => news.confirmed += 1,
            Err(UnconfirmedReason::Nacked) => news.rare().nacked += 1,
            Err(UnconfirmedReason::Rejected(close)) => news.rare().rejected.push(close.clone()),
            Err(UnconfirmedReason::Unsendable(_)) => news.rare().dropped(DropReason::Unsendable),
            Err(UnconfirmedReason::NotDeclared(_)) => news.rare().dropped(DropReason::NotDeclared),
            Err(UnconfirmedReason::Dropped(reason)) => news.rare().dropped(*reason),
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

    /// Gives up the oldest that is not written and too old, if it is before this position. Whether it was.
    pub(super) fn expire_oldest(&mut self, before: u64) -> bool {
        let oldest = self.ring.next_unwritten();
        if oldest.is_none_or(|(position, _)| position >= before) {
            return false;
        }
        if let Some(message) = self.drop_oldest(DropReason::Expired) {
            self.throw_away(message);
        }
        true
    }

    /// Takes back a message that was never written.
    pub(super) fn withdraw(&mut self, position: u64) -> Option<Message> {
        let Entry { body, mut watch } = self.ring.settle(position)?.item;
        self.bin.put_waiter(watch.replace(Watch::Nobody));
        self.wake();
        Some(message_of(body, self.overrides.remove(position)))
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
        let overrides = self.overrides.remove(position);
        self.keep_undelivered(&entry.body, overrides.as_ref(), &outcome);
        self.news.rare().dropped(dropped);
        self.tell(position, entry.watch, Err(outcome));
        self.wake();
        Some(message_of(entry.body, overrides))
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
