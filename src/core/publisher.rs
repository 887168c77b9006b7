//! One producer's messages, from acceptance to the broker's word on them.
//!
//! It joins the [ring](super::ring) with the [confirms](super::confirms) of the current epoch, and
//! decides what is written when, and how each message ends. `W` is whatever waits for an outcome:
//! a waker in the client, nothing much in a simulation.

mod address;
mod ages;
mod bin;
mod ledger;
mod returned;
mod returns;
mod suspects;

use std::collections::VecDeque;
use std::ops::Range;

use bytes::Bytes;
use snowshoe_codec::{
    Channel, PeerClose, Properties, Publish, PublisherConfirm, SendError, ShortString,
};

#[cfg(test)]
use self::address::IDENTITY_HEADER;
pub use self::address::{Address, merge};
pub use self::bin::{Bin, Gone};
pub use self::ledger::Flush;
#[cfg(test)]
use self::returns::Likeness;

use self::address::{Merger, with_identity};
use self::bin::Rest;
use self::ledger::{Entry, Ledger, Watch};
use self::suspects::Suspects;
use super::STRIKES;
use super::confirms::{Confirms, NeverPublished};
use super::ring::{Limits, Refusal, Ring};
use crate::message::Message;
use crate::outcome::{DropReason, Return, Unconfirmed, UnconfirmedReason, Undelivered};

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
    /// What happens to few messages.
    pub rare: Option<Box<RareNews>>,
}

/// What happened to those that were not confirmed.
#[derive(Debug, Default)]
pub struct RareNews {
    pub nacked: u64,
    pub rejected: Vec<PeerClose>,
    pub returned: Vec<Return>,
    pub dropped: Vec<(DropReason, u64)>,
}

impl News {
    pub fn is_empty(&self) -> bool {
        self.confirmed == 0 && self.rare.is_none()
    }

    fn rare(&mut self) -> &mut RareNews {
        self.rare.get_or_insert_default()
    }
}

impl RareNews {
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
    /// Whether nothing is written, since what it goes to is still to be declared.
    is_held: bool,
    in_flight: InFlight,
    /// Those that were in flight when the broker closed the channel, or the connection, over one of
    /// them, until the culprit has shown itself (fault 10).
    suspects: Suspects,
    merger: Merger,
    ledger: Ledger<W>,
}

/// What is on its way, by what it waits for.
#[derive(Debug)]
enum InFlight {
    Confirms(Confirms),
    Unflushed {
        /// Where in the stream each message ends, and its position.
        ends: VecDeque<(u64, u64)>,
        /// Those before this position were written on a channel that we have closed after them.
        left_before: u64,
    },
}

/// What replaces the producer's settings for one message.
#[derive(Clone, Debug)]
struct Overrides {
    properties: Option<Properties>,
    routing_key: Option<ShortString>,
}

fn message_of(body: Bytes, overrides: Option<Overrides>) -> Message {
    let overrides = overrides.map(|it| (it.properties, it.routing_key));
    let (properties, routing_key) = overrides.unwrap_or_default();
    Message {
        body,
        properties,
        routing_key,
        fault: None,
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
            is_held: false,
            in_flight: match settlement {
                Settlement::Confirm => InFlight::Confirms(Confirms::new()),
                Settlement::Written => InFlight::Unflushed {
                    ends: VecDeque::new(),
                    left_before: 0,
                },
            },
            suspects: Suspects::default(),
            merger: Merger::default(),
            ledger: Ledger::new(Ring::new(limits)),
        }
    }

    /// Keeps what was not delivered, to be [told](Self::take_undelivered).
    pub fn keep_undelivered(&mut self) {
        self.ledger.rare().undelivered = Some(Vec::new());
    }

    /// Where its messages go.
    pub fn address(&self) -> &Address {
        &self.address
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

    /// Whether it is closed, and has nothing left to settle.
    pub fn is_finished(&self) -> bool {
        self.is_closed() && self.is_empty()
    }

    /// Whether no more messages are taken.
    pub fn is_closed(&self) -> bool {
        self.ledger.closed
    }

    /// Whether nobody is to be woken or told anything, and nothing is to be dropped.
    pub fn is_quiet(&self) -> bool {
        let Ledger {
            woken, news, bin, ..
        } = &self.ledger;
        woken.is_empty() && news.is_empty() && bin.is_empty() && !self.ledger.has_undelivered()
    }

    /// Whether a message of so many bytes may be taken later, but is not now.
    pub fn is_full_for(&self, bytes: usize) -> bool {
        !self.ledger.closed && self.ledger.ring.room_for(bytes) == Err(Refusal::Full)
    }

    /// Whether a message of so many bytes is not taken now or ever.
    pub fn is_closed_to(&self, bytes: usize) -> bool {
        self.ledger.closed || self.ledger.ring.room_for(bytes) == Err(Refusal::TooLarge)
    }

    /// Whether there is anything that [`transmit`](Self::transmit) could write.
    pub fn has_unwritten(&self) -> bool {
        !self.is_held && self.ledger.ring.unwritten() > 0
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
            self.ledger.displace_oldest();
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
            fault: _, // Who accepts messages of users has told it.
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

    /// Whether somebody who comes along may be served before those that wait for room, if there is any.
    pub fn may_pass(&mut self) -> bool {
        self.ledger.waiting.may_pass()
    }

    /// Whether whoever holds a ticket may be served now, if there is room.
    pub fn may_go(&self, ticket: u64) -> bool {
        self.ledger.waiting.may_go(ticket)
    }

    /// Waits for room for so many bytes, behind those that wait already: to be woken as soon as half of
    /// the buffer is free, and otherwise when the connection [rests](Self::rest).
    pub fn wait_for_room(&mut self, bytes: usize, waiter: W) -> u64 {
        self.ledger.waiting.join(bytes, waiter)
    }

    /// Waits on, in the same place.
    pub fn wait_on(&mut self, ticket: u64, waiter: W) {
        let before = self.ledger.waiting.sleep_on(ticket, waiter);
        self.ledger.bin.put_waiter(before);
    }

    /// Whoever holds a ticket waits no more. What it waited for may be enough for those behind it.
    pub fn leave(&mut self, ticket: u64) {
        let waiter = self.ledger.waiting.leave(ticket);
        self.ledger.bin.put_waiter(waiter);
        if self.ledger.owes_room() {
            self.ledger.call();
        }
    }

    /// Whether somebody waits for room although there is enough: a writer that is woken for every
    /// message that leaves goes to sleep again as often.
    pub fn owes_room(&self) -> bool {
        self.ledger.owes_room()
    }

    /// The connection has nothing to do: whoever is owed room is woken.
    pub fn rest(&mut self) {
        if self.ledger.owes_room() {
            self.ledger.call();
        }
    }

    /// Those that were woken had their time: if there is still room, it goes to those behind them.
    pub fn pass_on(&mut self) {
        if self.ledger.owes_room() {
            self.ledger.pass_on();
        }
    }

    /// Begins a wait until all that was accepted so far is settled.
    pub fn begin_flush(&mut self) -> Flush {
        self.ledger.begin_flush()
    }

    /// Whether it is settled; until then `waiter` will be woken for it.
    pub fn poll_flush(&mut self, flush: Flush, waiter: impl FnOnce() -> W) -> bool {
        let is_flushed = self.ledger.is_flushed(flush);
        if !is_flushed {
            let before = self.ledger.flushes.insert(flush, waiter());
            self.ledger.bin.put_waiter(before);
        }
        is_flushed
    }

    /// Nobody waits for it any more.
    pub fn end_flush(&mut self, flush: Flush) {
        let waiter = self.ledger.flushes.remove(&flush);
        self.ledger.bin.put_waiter(waiter);
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
                let before = entry.watch.replace(Watch::Waiting(waiter()));
                self.ledger.bin.put_waiter(before);
                None
            }
            None => Some(self.ledger.outcomes.remove(&position).map_or(Ok(()), Err)),
        }
    }

    /// Nobody will ask for the outcome of the message at `position` any more; nothing else changes.
    pub fn unwatch(&mut self, position: u64) {
        let Ledger {
            ring,
            outcomes,
            bin,
            ..
        } = &mut self.ledger;
        match ring.get_mut(position) {
            Some(entry) => bin.put_waiter(entry.watch.replace(Watch::Nobody)),
            None => bin.rest().put_outcome(outcomes.remove(&position)),
        }
    }

    /// Takes back the message at `position`, unless it has ended or the broker may have it.
    pub fn withdraw(&mut self, position: u64) -> Option<Message> {
        let was_written = self.ledger.ring.writes(position) > 0;
        (!was_written).then(|| self.ledger.withdraw(position))?
    }

    /// Takes no more messages; what was accepted goes on.
    pub fn close(&mut self) {
        let Ledger {
            closed,
            waiting,
            woken,
            ..
        } = &mut self.ledger;
        *closed = true;
        waiting.call_all(woken);
    }

    /// Takes no more messages, and gives up those that are not settled: they are handed back.
    pub fn abandon(&mut self, reason: DropReason) -> Vec<Message> {
        self.close();
        self.offline();
        std::iter::from_fn(|| self.ledger.drop_oldest(reason)).collect()
    }

    // What is declared for it.

    /// Writes nothing until it is [let go](Self::let_go).
    pub fn hold(&mut self) {
        self.is_held = true;
    }

    /// What it publishes to is there.
    pub fn let_go(&mut self) {
        self.is_held = false;
    }

    /// What it publishes to will not be there, as the broker says: it takes no more messages, and gives up
    /// those that it has.
    pub fn not_declared(&mut self, why: Option<&PeerClose>) {
        self.close();
        self.is_held = false;
        while self.ledger.forsake_oldest(why) {}
    }

    // What the connection does and hears.

    /// A new channel is ready: confirms are asked for and count from 1.
    pub fn online(&mut self) {
        self.left();
    }

    /// The channel was closed, and not by the broker: what was written goes out on it all the same, before
    /// its end. Without confirms it is not to come twice; with them nobody will hear of it.
    pub fn left(&mut self) {
        match &mut self.in_flight {
            InFlight::Confirms(_) => self.offline(),
            InFlight::Unflushed { left_before, .. } => *left_before = self.ledger.ring.written(),
        }
    }

    /// The broker closed the channel: what was in flight on it is to be written again, in its order,
    /// ahead of all that is newer. What was written on one that was [left](Self::left) still goes out.
    pub fn closed(&mut self) {
        let from = match self.in_flight {
            InFlight::Confirms(_) => 0,
            InFlight::Unflushed { left_before, .. } => left_before,
        };
        self.write_again(from);
    }

    /// The connection is gone: what was in flight is to be written again, in its order, ahead of all
    /// that is newer.
    pub fn offline(&mut self) {
        if let InFlight::Unflushed { left_before, .. } = &mut self.in_flight {
            *left_before = 0;
        }
        self.write_again(0);
    }

    fn write_again(&mut self, from: u64) {
        // What the broker had already returned has its outcome, though its confirm is lost.
        for position in self.ledger.returns.certain() {
            self.ledger.settle(position, Ok(()));
        }
        let Ledger { returns, bin, .. } = &mut self.ledger;
        returns.clear(bin.rest());
        match &mut self.in_flight {
            InFlight::Confirms(confirms) => confirms.begin_epoch(),
            InFlight::Unflushed { ends, .. } => ends.retain(|(_, position)| *position < from),
        }
        self.ledger.ring.rewind_to(from);
        self.suspects.begin_anew();
    }

    /// The broker closed the channel over a publish of this producer, without saying which (faults 9
    /// and 10).
    ///
    /// One in flight is the culprit. Of several, all are suspects: half of them are tried at a time.
    /// Without confirms there is none to suspect, for the culprit has left the ring.
    pub fn rejected(&mut self, close: &PeerClose) {
        let mut from = self.suspects.range().start;
        if !self.has_in_flight_from(from) {
            // The broker is late: none of them is innocent.
            from = 0;
        }
        let mut in_question = self.in_flight_from(from);
        let oldest = [in_question.next(), in_question.next()];
        drop(in_question);
        match (&self.in_flight, oldest) {
            (InFlight::Confirms(_), [Some(culprit), None]) => {
                let rejected = UnconfirmedReason::Rejected(close.clone());
                self.ledger.settle(culprit, Err(rejected));
                // Whatever else was in flight with it has nothing to do with it.
                self.suspects.clear();
            }
            (InFlight::Confirms(_), [Some(_), Some(_)]) => {
                self.suspects.convict(from..self.ledger.ring.written());
            }
            (InFlight::Confirms(_), _) => {}
            (InFlight::Unflushed { .. }, _) => {
                self.ledger.news.rare().rejected.push(close.clone());
            }
        }
        self.closed();
    }

    /// The broker closed something over a publish, of this producer or of another: what is in flight
    /// is suspected, and all of it is tried at once while there are others. Without confirms, it has
    /// left the ring.
    pub fn suspected(&mut self) {
        let ring = &self.ledger.ring;
        if matches!(self.in_flight, InFlight::Confirms(_)) && ring.in_flight() > 0 {
            self.suspects.suspect_before(ring.written());
        }
        self.closed();
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
        let Range { start, end } = self.suspects.range();
        // As a rule there are none.
        let mut suspects = (start < end).then(|| self.ledger.ring.iter_from(start));
        let first = suspects.as_mut().and_then(Iterator::next);
        first.is_some_and(|(position, _)| position < end)
    }

    /// Whether it has messages in flight over which something may be closed: whose fate is open, and which
    /// are not known to be [innocent](Self::taken).
    pub fn is_in_question(&self) -> bool {
        let from = self.suspects.range().start;
        matches!(self.in_flight, InFlight::Confirms(_)) && self.has_in_flight_from(from)
    }

    /// Whether [what is in question](Self::is_in_question) was on one connection after the other without an
    /// outcome. A broker does not always have a word for what it does not like: RabbitMQ 3.10 resets the
    /// connection instead, where another channel waits for a queue without a leader.
    pub fn is_in_question_again(&self) -> bool {
        let from = self.suspects.range().start;
        let oldest = self.in_flight_from(from).next();
        let writes = oldest.map_or(0, |position| self.ledger.ring.writes(position));
        self.is_in_question() && writes >= STRIKES
    }

    /// Everything that is tried now was written, before this position, and the broker has not spoken. If it
    /// does not, [it is to be asked](Self::ask).
    pub fn awaits_verdict(&self) -> Option<u64> {
        if !self.is_isolating() || self.suspects.is_asking() {
            return None;
        }
        let is_written = self.suspects.is_portion_written() || !self.has_unwritten();
        (is_written && self.is_in_question()).then(|| self.ledger.ring.written())
    }

    /// The broker is asked, on the channel on which they were written, for something that it answers.
    pub fn ask(&mut self) {
        self.suspects.ask_before(self.ledger.ring.written());
    }

    /// Whether its answer is awaited.
    pub fn is_asking(&self) -> bool {
        self.suspects.is_asking()
    }

    /// It has answered, and so has taken what was written before, and closed nothing over it.
    pub fn taken(&mut self) {
        self.suspects.answered();
    }

    fn in_flight_from(&self, position: u64) -> impl Iterator<Item = u64> {
        let ring = &self.ledger.ring;
        let from = ring.iter_from(position).map(|(position, _)| position);
        from.take_while(|position| *position < ring.written())
    }

    fn has_in_flight_from(&self, position: u64) -> bool {
        self.in_flight_from(position).next().is_some()
    }

    /// Whether the next message may be written now.
    fn may_write(&mut self) -> bool {
        if !self.is_isolating() {
            return true;
        }
        let from = self.suspects.range().start;
        let on_trial = self.has_in_flight_from(from);
        let ring = &self.ledger.ring;
        self.suspects.let_write(on_trial, |before| {
            let suspects = ring.iter_from(from);
            suspects
                .take_while(|(position, _)| *position < before)
                .count()
        })
    }

    /// Writes messages until `budget` bytes were written or nothing is left that may be written
    /// now. Whether more could be written.
    pub fn transmit(&mut self, channel: &mut Channel<'_>, budget: usize) -> bool {
        if self.is_held || !channel.flow_active() {
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
            let rest = self.ledger.bin.rest();
            let own = as_sent(&self.address, &mut self.merger, position, overrides, rest);
            let publish = Publish {
                exchange: self.address.exchange.as_short_str(),
                routing_key: self.address.routing_key(overrides).as_short_str(),
                mandatory: self.address.is_mandatory(overrides),
                properties: own.as_ref().unwrap_or(&self.address.properties),
                body: &entry.body,
            };
            let before = channel.queued();
            match channel.publish(&publish) {
                Ok(_) => {}
                Err(error @ SendError::FrameTooLarge { .. }) => {
                    self.ledger
                        .settle(position, Err(UnconfirmedReason::Unsendable(error)));
                    continue;
                }
                // The channel ended a moment ago, and its end is about to be told.
                Err(_) => return false,
            }
            self.ledger.ring.mark_written();
            self.suspects.written();
            match &mut self.in_flight {
                InFlight::Confirms(confirms) => _ = confirms.written(position),
                InFlight::Unflushed { ends, .. } => ends.push_back((channel.queued(), position)),
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
                let overrides = self.ledger.overrides.get(position);
                let rest = self.ledger.bin.rest();
                let own = as_sent(&self.address, &mut self.merger, position, overrides, rest);
                let properties = own.as_ref().unwrap_or(&self.address.properties);
                let may_be_elsewhere = self.address.may_reach_several(properties);
                self.ledger.refuse(position, may_be_elsewhere);
            }
        })?;
        Ok(())
    }

    /// The transport has taken so many bytes of this epoch's stream.
    pub fn flushed(&mut self, written: u64) {
        let InFlight::Unflushed { ends, .. } = &mut self.in_flight else {
            return;
        };
        while let Some(&(_, position)) = ends.front().filter(|(end, _)| *end <= written) {
            ends.pop_front();
            self.ledger.settle(position, Ok(()));
        }
    }

    // What comes of it.

    /// Whoever is to be woken, each once, in order.
    pub fn take_woken(&mut self) -> impl Iterator<Item = W> + use<W> {
        let woken = &mut self.ledger.woken;
        // Where each message is waited for, it is one, and the list keeps its memory for the next.
        let alone = if woken.len() == 1 { woken.pop() } else { None };
        let all = match alone {
            Some(_) => Vec::new(),
            None => std::mem::take(woken),
        };
        alone.into_iter().chain(all)
    }

    /// What happened since the last call.
    pub fn take_news(&mut self) -> News {
        std::mem::take(&mut self.ledger.news)
    }

    /// What was accepted and not delivered since the last call, if that [is kept](Self::keep_undelivered).
    pub fn take_undelivered(&mut self) -> Vec<Undelivered> {
        self.ledger.take_undelivered()
    }

    /// What has left since the last call, if anything.
    pub fn take_gone(&mut self) -> Option<Gone<W>> {
        let bin = &mut self.ledger.bin;
        (!bin.is_empty()).then(|| bin.empty())
    }

    /// Lends it another bin, whose memory has been used before, or takes that back.
    pub fn swap_bin(&mut self, bin: &mut Bin<W>) {
        std::mem::swap(&mut self.ledger.bin, bin);
    }
}

/// The properties that a message goes out with, unless they are its producer's.
fn as_sent(
    address: &Address,
    merger: &mut Merger,
    position: u64,
    overrides: Option<&Overrides>,
    gone: &mut Rest,
) -> Option<Properties> {
    let own = overrides.and_then(|it| it.properties.as_ref());
    let merged = own.map(|own| merger.merge(own, &address.properties, gone));
    let Some(producer) = address.identifies else {
        return merged;
    };
    let properties = merged.as_ref().unwrap_or(&address.properties);
    Some(with_identity(properties, producer, position))
}

/// All properties that a message goes out with, whoever's they are.
fn all_as_sent(
    address: &Address,
    merger: &mut Merger,
    position: u64,
    overrides: Option<&Overrides>,
    gone: &mut Rest,
) -> Properties {
    let own = as_sent(address, merger, position, overrides, gone);
    own.unwrap_or_else(|| address.properties.clone())
}

#[cfg(test)]
mod tests;
