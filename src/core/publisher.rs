//! One producer's messages, from acceptance to the broker's word on them.
//!
//! It joins the [ring](super::ring) with the [confirms](super::confirms) of the current epoch, and
//! decides what is written when, and how each message ends. `W` is whatever waits for an outcome:
//! a waker in the client, nothing much in a simulation.

mod suspects;

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use snowshoe_codec::{
    Channel, PeerClose, Properties, Publish, PublisherConfirm, Returned, SendError, ShortString,
};

use self::suspects::Suspects;
use super::confirms::{Confirms, NeverPublished};
use super::keyed_queue::KeyedQueue;
use super::ring::{Limits, Refusal, Ring, Settled};
use crate::message::Message;
use crate::outcome::{DropReason, Return, Unconfirmed};

/// Where a producer's messages go, unless a message says otherwise.
#[derive(Clone, Debug)]
pub struct Address {
    pub exchange: ShortString,
    pub routing_key: ShortString,
    pub mandatory: bool,
    pub properties: Properties,
}

/// What ends a message's stay in the ring.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// The broker's confirm.
    Confirm,
    /// The transport took its last byte.
    Written,
}

/// What happens to a message when the ring is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Overflow {
    /// It is refused, for the caller to wait or to give up.
    Refuse,
    /// The oldest message that is not written makes room.
    DropOldest,
}

/// Why a message was not accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// There is no room now.
    Full,
    /// There will never be room: the message alone exceeds the bound in bytes.
    TooLarge,
    /// No more messages are taken.
    Closed,
}

/// What happened since it was last asked, for events and counters.
#[derive(Debug, Default)]
pub struct News {
    pub confirmed: u64,
    pub nacked: u64,
    pub rejected: Vec<PeerClose>,
    pub returned: Vec<Return>,
    pub dropped: Vec<(DropReason, u64)>,
}

impl News {
    pub fn is_empty(&self) -> bool {
        self.confirmed == 0
            && self.nacked == 0
            && self.rejected.is_empty()
            && self.returned.is_empty()
            && self.dropped.is_empty()
    }

    fn dropped(&mut self, reason: DropReason) {
        match self.dropped.iter_mut().find(|(known, _)| *known == reason) {
            Some((_, count)) => *count += 1,
            None => self.dropped.push((reason, 1)),
        }
    }
}

#[derive(Debug)]
pub struct Publisher<W> {
    address: Address,
    overflow: Overflow,
    in_flight: InFlight,
    /// Those that were in flight when the broker closed the channel, or the connection, over one of
    /// them, until the culprit has shown itself (fault 10).
    suspects: Suspects,
    /// Returns come in the order of the publishes: where to look for the next one.
    returned_before: u64,
    ledger: Ledger<W>,
}

/// What is on its way, by what it waits for.
#[derive(Debug)]
enum InFlight {
    Confirms(Confirms),
    /// Where in the stream each message ends, and its position.
    Unflushed(VecDeque<(u64, u64)>),
}

/// The messages and their outcomes.
#[derive(Debug)]
struct Ledger<W> {
    ring: Ring<Entry<W>>,
    /// What messages have of their own, for those few that have any: an entry of the ring is half as
    /// large without it, and the more of them stay in the cache.
    overrides: KeyedQueue<Overrides>,
    closed: bool,
    /// Messages that the broker could not route. Their outcome is due with the confirm that follows
    /// (fault 20).
    returned: BTreeMap<u64, Box<Return>>,
    /// Outcomes, other than an ack, that nobody has asked for yet.
    outcomes: BTreeMap<u64, Unconfirmed>,
    /// Who waits for room, and for how much of it.
    room: Option<(usize, W)>,
    woken: Vec<W>,
    news: News,
}

/// A message's place in the ring.
#[derive(Debug)]
struct Entry<W> {
    body: Bytes,
    watch: Watch<W>,
}

/// What replaces the producer's settings for one message.
#[derive(Debug)]
struct Overrides {
    properties: Option<Properties>,
    routing_key: Option<ShortString>,
}

/// Who wants to know how a message ends.
#[derive(Debug)]
enum Watch<W> {
    Nobody,
    /// Somebody may ask.
    Somebody,
    /// Somebody is to be woken.
    Waiting(W),
}

impl Address {
    fn routing_key<'a>(&'a self, overrides: Option<&'a Overrides>) -> &'a ShortString {
        let own = overrides.and_then(|it| it.routing_key.as_ref());
        own.unwrap_or(&self.routing_key)
    }

    fn properties<'a>(&'a self, overrides: Option<&'a Overrides>) -> &'a Properties {
        let own = overrides.and_then(|it| it.properties.as_ref());
        own.unwrap_or(&self.properties)
    }
}

fn message_of(body: Bytes, overrides: Option<Overrides>) -> Message {
    let overrides = overrides.map(|it| (it.properties, it.routing_key));
    let (properties, routing_key) = overrides.unwrap_or_default();
    Message {
        body,
        properties,
        routing_key,
    }
}

impl<W> Publisher<W> {
    pub fn new(
        address: Address,
        settlement: Settlement,
        overflow: Overflow,
        limits: Limits,
    ) -> Self {
        Self {
            address,
            overflow,
            in_flight: match settlement {
                Settlement::Confirm => InFlight::Confirms(Confirms::new()),
                Settlement::Written => InFlight::Unflushed(VecDeque::new()),
            },
            suspects: Suspects::default(),
            returned_before: 0,
            ledger: Ledger {
                ring: Ring::new(limits),
                overrides: KeyedQueue::new(),
                closed: false,
                returned: BTreeMap::new(),
                outcomes: BTreeMap::new(),
                room: None,
                woken: Vec::new(),
                news: News::default(),
            },
        }
    }

    /// How many messages are not settled yet.
    pub fn len(&self) -> usize {
        self.ledger.ring.len()
    }

    /// How many bytes they are.
    pub fn bytes(&self) -> usize {
        self.ledger.ring.bytes()
    }

    /// Whether everything that was accepted has been settled.
    pub fn is_empty(&self) -> bool {
        self.ledger.ring.is_empty()
    }

    /// How many messages were written and are not settled yet.
    pub fn in_flight(&self) -> usize {
        self.ledger.ring.in_flight()
    }

    /// Whether no more messages are taken.
    pub fn is_closed(&self) -> bool {
        self.ledger.closed
    }

    /// Whether nobody is to be woken or told anything.
    pub fn is_quiet(&self) -> bool {
        self.ledger.woken.is_empty() && self.ledger.news.is_empty()
    }

    /// Whether there is anything that [`transmit`](Self::transmit) could write.
    pub fn has_unwritten(&self) -> bool {
        self.ledger.ring.unwritten() > 0
    }

    // What users ask for.

    /// Accepts a message, or gives it back. `watched` tells whether anybody will ask for the
    /// outcome.
    pub fn push(&mut self, message: Message, watched: bool) -> Result<u64, (Refused, Message)> {
        if self.ledger.closed {
            return Err((Refused::Closed, message));
        }
        let bytes = message.size();
        // Where what is in flight leaves no room, no other message is to go for nothing.
        while self.overflow == Overflow::DropOldest
            && self.ledger.ring.room_for(bytes) == Err(Refusal::Full)
            && self.ledger.ring.could_have_room_for(bytes)
        {
            self.ledger.drop_oldest(DropReason::BufferFull);
        }
        let watch = if watched {
            Watch::Somebody
        } else {
            Watch::Nobody
        };
        let Message {
            body,
            properties,
            routing_key,
        } = message;
        let overrides = Overrides {
            properties,
            routing_key,
        };
        match self.ledger.ring.push(Entry { body, watch }, bytes) {
            Ok(position) => {
                if overrides.properties.is_some() || overrides.routing_key.is_some() {
                    self.ledger.overrides.push(position, overrides);
                }
                Ok(position)
            }
            Err((refusal, entry)) => {
                let refused = match refusal {
                    Refusal::Full => Refused::Full,
                    Refusal::TooLarge => Refused::TooLarge,
                };
                Err((refused, message_of(entry.body, Some(overrides))))
            }
        }
    }

    /// Asks to be woken when there is room for so many bytes: as soon as half of the buffer is free,
    /// and otherwise when the connection [rests](Self::rest). One at a time can wait.
    pub fn wait_for_room(&mut self, bytes: usize, waiter: W) {
        self.ledger.room = Some((bytes, waiter));
    }

    /// Whether somebody waits for room although there is enough: a writer that is woken for every
    /// message that leaves goes to sleep again as often.
    pub fn owes_room(&self) -> bool {
        self.ledger.owes_room()
    }

    /// The connection has nothing to do: whoever is owed room gets it.
    pub fn rest(&mut self) {
        if self.ledger.owes_room() {
            self.ledger.give_room();
        }
    }

    /// Whoever asks for the outcome of a message before this position learns that it was confirmed.
    pub fn confirmed_before(&self) -> u64 {
        let first_other = self.ledger.outcomes.first_key_value();
        let settled = self.ledger.ring.confirmed();
        first_other.map_or(settled, |(position, _)| settled.min(*position))
    }

    /// The outcome of the message at `position`; until there is one, `waiter` will be woken for it.
    pub fn poll_outcome(
        &mut self,
        position: u64,
        waiter: impl FnOnce() -> W,
    ) -> Option<Result<(), Unconfirmed>> {
        match self.ledger.ring.get_mut(position) {
            Some(entry) => {
                entry.watch = Watch::Waiting(waiter());
                None
            }
            None => Some(self.ledger.outcomes.remove(&position).map_or(Ok(()), Err)),
        }
    }

    /// Nobody will ask for the outcome of the message at `position` any more; nothing else changes.
    pub fn unwatch(&mut self, position: u64) {
        match self.ledger.ring.get_mut(position) {
            Some(entry) => entry.watch = Watch::Nobody,
            None => _ = self.ledger.outcomes.remove(&position),
        }
    }

    /// Takes no more messages; what was accepted goes on.
    pub fn close(&mut self) {
        self.ledger.closed = true;
        self.ledger.wake_for_room();
    }

    /// Takes no more messages, and gives up those that are not settled: they are handed back.
    pub fn abandon(&mut self, reason: DropReason) -> Vec<Message> {
        self.close();
        self.offline();
        std::iter::from_fn(|| self.ledger.drop_oldest(reason)).collect()
    }

    // What the connection does and hears.

    /// A new channel is ready: confirms are asked for and count from 1.
    pub fn online(&mut self) {
        self.offline();
    }

    /// The channel is gone: what was in flight is to be written again, in its order, ahead of all
    /// that is newer.
    pub fn offline(&mut self) {
        // What the broker had already returned has its outcome, though its confirm is lost.
        let returned: Vec<u64> = self.ledger.returned.keys().copied().collect();
        for position in returned {
            self.ledger.settle(position, Ok(()));
        }
        match &mut self.in_flight {
            InFlight::Confirms(confirms) => confirms.begin_epoch(),
            InFlight::Unflushed(unflushed) => unflushed.clear(),
        }
        self.ledger.ring.rewind();
        self.suspects.begin_anew();
        self.returned_before = 0;
    }

    /// The broker closed the channel over a publish of this producer, without saying which (faults 9
    /// and 10).
    ///
    /// One in flight is the culprit. Of several, all are suspects: half of them are tried at a time.
    /// Without confirms there is none to suspect, for the culprit has left the ring.
    pub fn rejected(&mut self, close: &PeerClose) {
        let ring = &self.ledger.ring;
        let oldest = ring.iter().next().map(|(position, _)| position);
        match (&self.in_flight, oldest) {
            (InFlight::Confirms(_), Some(culprit)) if ring.in_flight() == 1 => {
                let rejected = Unconfirmed::Rejected(close.clone());
                self.ledger.settle(culprit, Err(rejected));
                // Whatever else was in flight with it has nothing to do with it.
                self.suspects.clear();
            }
            (InFlight::Confirms(_), Some(_)) if ring.in_flight() > 1 => {
                self.suspects.convict_before(ring.written());
            }
            (InFlight::Confirms(_), _) => {}
            (InFlight::Unflushed(_), _) => self.ledger.news.rejected.push(close.clone()),
        }
        self.offline();
    }

    /// The broker closed something over a publish, of this producer or of another: what is in flight
    /// is suspected, and all of it is tried at once while there are others. Without confirms, it has
    /// left the ring.
    pub fn suspected(&mut self) {
        let ring = &self.ledger.ring;
        if matches!(self.in_flight, InFlight::Confirms(_)) && ring.in_flight() > 0 {
            self.suspects.suspect_before(ring.written());
        }
        self.offline();
    }

    /// No other producer is suspected any more: half of the suspects are tried at a time.
    pub fn suspected_alone(&mut self) {
        self.suspects.halve();
    }

    /// The culprit was found, or is another's.
    pub fn cleared(&mut self) {
        self.suspects.clear();
    }

    /// Whether some of what it writes may be what the broker does not like, so that nothing else is
    /// written meanwhile.
    pub fn is_isolating(&self) -> bool {
        self.ledger.ring.confirmed() < self.suspects.before()
    }

    /// Whether the next message may be written now.
    fn may_write(&mut self) -> bool {
        let ring = &self.ledger.ring;
        let before = self.suspects.before();
        let left = || {
            let suspects = ring.iter().take_while(|(position, _)| *position < before);
            suspects.count()
        };
        !self.is_isolating() || self.suspects.let_write(ring.in_flight(), left)
    }

    /// Writes messages until `budget` bytes were written or nothing is left that may be written
    /// now. Whether more could be written.
    pub fn transmit(&mut self, channel: &mut Channel<'_>, budget: usize) -> bool {
        if !channel.flow_active() {
            return false;
        }
        let mut left = budget;
        loop {
            if self.ledger.ring.unwritten() == 0 || !self.may_write() {
                return false;
            }
            if left == 0 {
                return true;
            }
            let Some((position, entry)) = self.ledger.ring.next_unwritten() else {
                return false;
            };
            let overrides = self.ledger.overrides.get(position);
            let publish = Publish {
                exchange: self.address.exchange.as_short_str(),
                routing_key: self.address.routing_key(overrides).as_short_str(),
                mandatory: self.address.mandatory,
                properties: self.address.properties(overrides),
                body: &entry.body,
            };
            let before = channel.queued();
            match channel.publish(&publish) {
                Ok(_) => {}
                Err(error @ SendError::FrameTooLarge { .. }) => {
                    self.ledger
                        .settle(position, Err(Unconfirmed::Unsendable(error)));
                    continue;
                }
                // The channel ended a moment ago, and its end is about to be told.
                Err(_) => return false,
            }
            self.ledger.ring.mark_written();
            self.suspects.written();
            match &mut self.in_flight {
                InFlight::Confirms(confirms) => _ = confirms.written(position),
                InFlight::Unflushed(unflushed) => unflushed.push_back((channel.queued(), position)),
            }
            left = left.saturating_sub((channel.queued() - before) as usize);
        }
    }

    /// The broker confirmed or refused publishes of this epoch.
    pub fn confirm(&mut self, confirm: PublisherConfirm) -> Result<(), NeverPublished> {
        let InFlight::Confirms(confirms) = &mut self.in_flight else {
            return Ok(());
        };
        let PublisherConfirm {
            delivery_tag,
            multiple,
            ack,
        } = confirm;
        confirms.resolve(delivery_tag, multiple, |position| {
            if ack {
                self.ledger.settle(position, Ok(()));
            } else {
                self.ledger.refuse(position);
            }
        })?;
        Ok(())
    }

    /// The broker returned a publish of this epoch.
    ///
    /// It does not say which, but returns come in the order of the publishes, each before its
    /// confirm: it is the first that looks like it after the last one returned. A broker may have
    /// encoded the properties anew, so they only choose among those that are alike otherwise.
    pub fn returned(&mut self, returned: &Returned) {
        let found = self.find_returned(returned);
        let mut details = Return::new(returned);
        if details.excess.is_some()
            && let Some(position) = found
            && let Some((_, entry)) = self.ledger.ring.iter_from(position).next()
        {
            let properties = self.address.properties(self.ledger.overrides.get(position));
            details.complete(properties.clone(), entry.body.clone());
        }
        self.ledger.news.returned.push(details.clone());
        let Some(position) = found else { return };
        self.returned_before = position + 1;
        self.ledger.returned.insert(position, Box::new(details));
    }

    /// Whether a message that was returned may be one of this producer.
    pub fn has_in_flight(&self, returned: &Returned) -> bool {
        self.find_returned(returned).is_some()
    }

    fn find_returned(&self, returned: &Returned) -> Option<u64> {
        let content = &returned.content;
        let (address, ring) = (&self.address, &self.ledger.ring);
        let overrides = |position| self.ledger.overrides.get(position);
        let has_key = |position| {
            let key = address.routing_key(overrides(position));
            key.as_short_str() == content.routing_key()
        };
        let is_same = |position: &u64| {
            let properties = address.properties(overrides(*position));
            properties.as_bytes() == content.raw_properties()
        };
        let alike = || {
            (ring.iter_from(self.returned_before))
                .take_while(|(position, _)| *position < ring.written())
                .filter(|(position, entry)| content.has_body(&entry.body) && has_key(*position))
                .map(|(position, _)| position)
        };
        alike().find(is_same).or_else(|| alike().next())
    }

    /// The transport has taken so many bytes of this epoch's stream.
    pub fn flushed(&mut self, written: u64) {
        let InFlight::Unflushed(unflushed) = &mut self.in_flight else {
            return;
        };
        while let Some(&(_, position)) = unflushed.front().filter(|(end, _)| *end <= written) {
            unflushed.pop_front();
            self.ledger.settle(position, Ok(()));
        }
    }

    // What comes of it.

    /// Whoever is to be woken, each once.
    pub fn take_woken(&mut self) -> Vec<W> {
        std::mem::take(&mut self.ledger.woken)
    }

    /// What happened since the last call.
    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.ledger.news)
    }
}

impl<W> Ledger<W> {
    /// Ends a message. An ack of one that was returned means that the broker has dropped it.
    fn settle(&mut self, position: u64, outcome: Result<(), Unconfirmed>) {
        let Some(Settled { item: entry, .. }) = self.ring.settle(position) else {
            return;
        };
        self.overrides.remove(position);
        let outcome = match (outcome, self.returned.remove(&position)) {
            (Ok(()), Some(returned)) => Err(Unconfirmed::Returned(returned)),
            (outcome, _) => outcome,
        };
        match &outcome {
            Ok(()) => self.news.confirmed += 1,
            Err(Unconfirmed::Nacked { .. }) => self.news.nacked += 1,
            Err(Unconfirmed::Rejected(close)) => self.news.rejected.push(close.clone()),
            Err(Unconfirmed::Unsendable(_)) => self.news.dropped(DropReason::Unsendable),
            Err(Unconfirmed::Dropped { reason, .. }) => self.news.dropped(*reason),
            // The news of it came with the return itself.
            Err(Unconfirmed::Returned(_)) => {}
        }
        self.tell(position, entry.watch, outcome);
        self.wake_for_room();
    }

    /// The broker does not take a message.
    fn refuse(&mut self, position: u64) {
        let resent = self.ring.writes(position) > 1;
        self.settle(position, Err(Unconfirmed::Nacked { resent }));
    }

    fn tell(&mut self, position: u64, watch: Watch<W>, outcome: Result<(), Unconfirmed>) {
        if let (Err(outcome), Watch::Somebody | Watch::Waiting(_)) = (outcome, &watch) {
            self.outcomes.insert(position, outcome);
        }
        if let Watch::Waiting(waiter) = watch {
            self.woken.push(waiter);
        }
    }

    /// Gives up the oldest message that is not written.
    fn drop_oldest(&mut self, reason: DropReason) -> Option<Message> {
        let (position, settled) = self.ring.drop_oldest_unwritten()?;
        let entry = settled.item;
        let outcome = Unconfirmed::Dropped {
            reason,
            sent: settled.writes > 0,
        };
        self.news.dropped(reason);
        self.tell(position, entry.watch, Err(outcome));
        self.wake_for_room();
        Some(message_of(entry.body, self.overrides.remove(position)))
    }

    fn owes_room(&self) -> bool {
        let room = self.room.as_ref();
        room.is_some_and(|(bytes, _)| self.ring.room_for(*bytes).is_ok())
    }

    fn wake_for_room(&mut self) {
        if self.closed || self.owes_room() && self.ring.is_half_empty() {
            self.give_room();
        }
    }

    fn give_room(&mut self) {
        let waiter = self.room.take().map(|(_, waiter)| waiter);
        self.woken.extend(waiter);
    }
}

#[cfg(test)]
mod tests;
