//! One consumer's way onto a channel, and back onto the next.

mod spec;

use std::time::{Duration, Instant};

use snowshoe_codec::method::{Arguments, MethodId, basic, channel};
use snowshoe_codec::time::after;
use snowshoe_codec::{ChannelId, Method, PeerClose, ShortString};

pub use self::spec::ConsumerSpec;
use super::backoff::{Backoff, Delays};
use super::{Flow, STRIKES};
use crate::events::{ConsumerId, Entity};
use crate::stream::StreamOffset;

/// The recovery of one consumer. It has a channel of its own, so that delivery tags, prefetch and
/// errors are its own too.
///
/// ```text
///            connected         open             qos-ok             consume-ok
///   Waiting ──────────► Opening ────► Limiting ───────► Subscribing ──────────► Active ◄──┐
///      ▲                   │              │                  │                   │ │ │    │ all
///      │ connection lost   └──────────────┴────────┬─────────┘                   │ │ │    │ replies
///      │ (from anywhere)                           │ channel closed, cancelled   │ │ └► Exchanging
///      │                                           ▼        (Exchanging, too)    │ │ flow changes
///      │                   ┌────────────────── BackingOff ◄──────────────────────┘ │
///      │                   ▼  its time has come                                    │
///      │                Opening              Ended ◄── cancel-ok ── Cancelling ◄───┘ cancel
/// ```
///
/// The limit and the consumer are asked for behind channel.open, in one flight; the states tell how far the
/// broker has answered.
///
/// One that has cost the connection backs off across its end. One that the broker cancels over a single
/// delivery is Paused, and asked for again on the channel that it has: from there it is Exchanging. One that the user
/// has held is Held, and then Paused until it is asked for; without a channel it Waits, and wants none.
///
/// # Flow
///
/// Where no prefetch bounds what is delivered, or large messages come, the user can fall behind. The
/// connection is read all the same, so it is the broker that has to send less. AMQP has no word for
/// that which RabbitMQ takes (channel.flow: 540), a prefetch does not change for a consumer that is
/// there, and a queue may be deleted with its last consumer. So a *narrow* consumer, with
/// acknowledgements and a prefetch of 1, takes the place of the *wide* one that the user asked for,
/// on the same channel, and the other way round later:
///
/// ```text
///          Wide ── qos 1, consume narrow, cancel wide ──► Narrow
///               ◄── qos n, consume wide, cancel narrow ──
/// ```
///
/// Delivery tags go on, so nothing becomes stale. Each has a tag of its own, as a broker may not be done
/// with the one before. The new one is there before the old one goes, so the queue never is without. Where nothing happens to a queue
/// that is without for a moment, or the queue refuses a second consumer, the old one goes first
/// ([`Manner`]).
///
/// A user who cancels in the middle of it is heard once it is done: RabbitMQ fails the connection
/// over a basic.cancel whose consume-ok has not left.
#[derive(Debug)]
pub struct Subscription {
    spec: ConsumerSpec,
    state: State,
    /// Whether it ever received: from then on it comes back, whatever happens.
    established: bool,
    /// How many connections it has cost since it last received.
    strikes: u32,
    /// What the broker said of the last of them.
    cost: Option<PeerClose>,
    /// How many it has cost by what it refused, which nothing makes good.
    refusals: u32,
    /// Whether it has refused something on the present channel.
    has_refused: bool,
    /// Whether it was on its way when a connection ended over one like it, and so is tried with few others.
    suspected: bool,
    /// Whether it was told that it is not back yet.
    missed: bool,
    /// Whether it is on its way for so long that nobody else waits for it.
    late: bool,
    /// Whether the broker was asked for it on the present channel.
    asked: bool,
    /// Which consumer is there, or on its way.
    flow: Flow,
    /// Which is to be there.
    wanted: Flow,
    /// How often one took the place of another on the present channel.
    exchanges: u32,
    /// What is to be said once the old consumer has gone.
    next: Option<Method>,
    /// Whether the channel is to be closed once it has.
    moving: bool,
    /// How the user has cancelled it in the middle of an exchange.
    leaving: Option<Leaving>,
    /// Whether it is awaited that the broker has heard what was said before.
    proving: bool,
    /// Whether an answer is awaited to the cancel of one that is paused.
    parting: bool,
    /// Whether the user has it held, and how it is to let go of what it has.
    hold: Option<Leaving>,
    delays: Delays,
}

/// How one consumer takes the place of another.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Manner {
    /// The new one comes before the old one goes: the queue never is without.
    Overlapping,
    /// The old one has gone before the new one comes, so that what is to go back to the queue can do so
    /// in between, and is not overtaken.
    CancelFirst,
    /// The same, and the new one comes on another channel. What a quorum queue of RabbitMQ 3.10 was about
    /// to send to a consumer without acknowledgements that is cancelled, it has back only once the channel
    /// is closed.
    OnAnother,
}

/// How a consumer goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The broker is asked to send no more, and what was delivered goes back afterwards.
    Cancelled,
    /// By the end of its channel, once what the user has at hand is settled. For the next consumer of its
    /// queue that is to go on in order: RabbitMQ hands a queue over when a single active consumer is
    /// cancelled, and what that had not settled comes after what follows it (4, 3, 5; seen on classic and
    /// quorum queues of 4.0.5 and 4.3.6, and on quorum queues of 3.10.8). When its channel is closed, all of
    /// it goes back first (3, 4, 5).
    WithItsChannel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Waiting,
    Opening(ChannelId),
    Limiting(ChannelId),
    Subscribing(ChannelId),
    Active(ChannelId),
    /// One consumer takes the place of another; so many replies are awaited.
    Exchanging(ChannelId, u8),
    /// The broker has cancelled it, and the channel lives on for what is to be settled; it is asked for again
    /// at that time.
    Paused(ChannelId, Instant),
    /// The user has it held; the channel lives on for what is to be settled.
    Held(ChannelId),
    BackingOff(Instant),
    /// Cancelled by the user; the broker's answer is awaited.
    Cancelling(ChannelId),
    /// Cancelled by the user; the channel lives on for what is to be settled.
    Draining(ChannelId),
    Ended,
}

impl State {
    /// Whether it is on its way, and its outcome to be waited for.
    pub fn is_subscribing(self) -> bool {
        matches!(
            self,
            Self::Opening(_) | Self::Limiting(_) | Self::Subscribing(_)
        )
    }

    /// Whether the broker has confirmed it, and deliveries may come.
    pub fn receives(self) -> bool {
        matches!(
            self,
            Self::Active(_)
                | Self::Exchanging(..)
                | Self::Paused(..)
                | Self::Held(_)
                | Self::Cancelling(_)
                | Self::Draining(_)
        )
    }
}

/// What follows a reply.
#[derive(Debug, PartialEq)]
pub enum Step {
    /// Deliveries may come from now on, for the first time or again.
    Active {
        first: bool,
        /// It was told that it was not back yet.
        missed: bool,
        flow: Flow,
    },
    /// The old consumer has gone, and the new one is to be [asked for](Subscription::occupy).
    Vacant,
    /// The old consumer has gone, and the channel is to be closed: the new one comes on another.
    Moving,
    /// Another consumer has taken the place of the one before; no more comes from that.
    Exchanged {
        flow: Flow,
        /// It was told that it was not there.
        missed: bool,
    },
    /// The broker has heard everything that was said before [`Subscription::prove`].
    Proven,
    /// No more deliveries will come until it is [asked for again](Subscription::let_go_on).
    Held,
    /// No more deliveries will come.
    Cancelled,
}

/// What follows the end of its channel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It is tried again at that time.
    Retry(Instant),
    /// It never worked, so the user is told instead.
    Fail,
    /// It was to end.
    Ended,
}

impl Subscription {
    pub fn new(spec: ConsumerSpec, backoff: Backoff, seed: u64) -> Self {
        let flow = spec.flow();
        Self {
            spec,
            flow,
            wanted: flow,
            exchanges: 0,
            next: None,
            moving: false,
            leaving: None,
            proving: false,
            parting: false,
            hold: None,
            state: State::Waiting,
            established: false,
            strikes: 0,
            cost: None,
            refusals: 0,
            has_refused: false,
            suspected: false,
            missed: false,
            late: false,
            asked: false,
            delays: Delays::new(backoff, Duration::ZERO, seed),
        }
    }

    pub fn spec(&self) -> &ConsumerSpec {
        &self.spec
    }

    pub fn state(&self) -> State {
        self.state
    }

    /// What events call it.
    pub fn entity(&self) -> Entity {
        let ConsumerSpec { queue, tag, .. } = &self.spec;
        Entity::Consumer(ConsumerId::new(queue.clone(), tag.clone()))
    }

    /// Whether it has started, and the user has not cancelled it.
    pub fn is_wanted(&self) -> bool {
        self.established && !self.is_unwanted()
    }

    fn is_unwanted(&self) -> bool {
        let is_ending = matches!(
            self.state,
            State::Cancelling(_) | State::Draining(_) | State::Ended
        );
        self.leaving.is_some() || is_ending
    }

    /// Whether it ever received, so that it comes back whatever happens.
    pub fn is_established(&self) -> bool {
        self.established
    }

    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether it was cancelled, and its channel lives on for what is to be settled.
    pub fn is_draining(&self) -> bool {
        matches!(self.state, State::Draining(_))
    }

    /// Whether what is delivered is its own. Before the broker's consume-ok no epoch has begun in
    /// which it could be settled.
    pub fn receives(&self) -> bool {
        self.state.receives() || self.spec.no_ack
    }

    /// Whether a channel is to be opened for it now.
    pub fn wants_channel(&self, now: Instant) -> bool {
        match self.state {
            _ if self.hold.is_some() => false,
            State::Waiting => true,
            State::BackingOff(until) => until <= now,
            _ => false,
        }
    }

    /// Whether it is to be tried with other suspects only, or alone.
    pub fn is_suspected(&self) -> bool {
        self.suspected
    }

    /// Whether others are to wait for it: it is on its way, and that has not taken long.
    pub fn is_awaited(&self) -> bool {
        self.state.is_subscribing() && !self.late
    }

    /// The broker is silent about it, and nobody else is to wait for it any more; what it was asked.
    pub fn pass_by(&mut self) -> Option<MethodId> {
        let method = match self.state {
            State::Opening(_) => channel::Open::ID,
            _ => self.under_way()?,
        };
        self.late = true;
        Some(method)
    }

    /// Whether it is on its way for so long that nobody else waits for it.
    pub fn is_late(&self) -> bool {
        self.late
    }

    /// What the broker was asked for it and has not answered.
    pub fn under_way(&self) -> Option<MethodId> {
        match self.state {
            State::Limiting(_) => Some(basic::Qos::ID),
            State::Subscribing(_) | State::Exchanging(..) => Some(basic::Consume::ID),
            _ => None,
        }
    }

    /// Whether the broker was asked this for it and has not answered. What is asked behind channel.open is not
    /// answered before that.
    pub fn awaits(&self, method: MethodId) -> bool {
        let awaits_limit = match self.state {
            State::Opening(_) if self.asked => self.limit().is_some(),
            State::Limiting(_) => true,
            State::Subscribing(_) => false,
            _ => return self.under_way() == Some(method),
        };
        method == basic::Consume::ID || awaits_limit && method == basic::Qos::ID
    }

    /// Whether the broker was asked anything for it and has not answered.
    pub fn awaits_something(&self) -> bool {
        self.awaits(basic::Consume::ID)
    }

    /// When it is to be tried again, where that is not at once.
    pub fn retry_at(&self) -> Option<Instant> {
        match self.state {
            State::BackingOff(_) if self.hold.is_some() => None,
            State::BackingOff(until) | State::Paused(_, until) => Some(until),
            _ => None,
        }
    }

    /// The channel that it has, in whatever state.
    pub fn channel(&self) -> Option<ChannelId> {
        match self.state {
            State::Opening(channel)
            | State::Limiting(channel)
            | State::Subscribing(channel)
            | State::Active(channel)
            | State::Exchanging(channel, _)
            | State::Paused(channel, _)
            | State::Held(channel)
            | State::Cancelling(channel)
            | State::Draining(channel) => Some(channel),
            State::Waiting | State::BackingOff(_) | State::Ended => None,
        }
    }

    /// Its queue was declared anew by the broker, under another name.
    pub fn queue_renamed(&mut self, old: &ShortString, new: &ShortString) {
        if self.spec.queue == *old {
            self.spec.queue = new.clone();
        }
    }

    /// Where it is to begin in its stream, before it [asks](Self::ask).
    pub fn begin_at(&mut self, offset: StreamOffset) {
        // Arguments that were well formed take another.
        _ = offset.set_in(&mut self.spec.arguments);
    }

    pub fn opening(&mut self, channel: ChannelId) {
        self.late = false;
        self.asked = false;
        self.state = State::Opening(channel);
    }

    /// No channel is free for it. Whether it is given up over that: one that worked before waits.
    pub fn give_up_if_new(&mut self) -> bool {
        if !self.established {
            self.state = State::Ended;
        }
        !self.established
    }

    /// What to ask of the broker, behind channel.open. Nothing where its channel has ended since, or it was
    /// asked.
    pub fn ask(&mut self) -> Vec<Method> {
        let was_asked = std::mem::replace(&mut self.asked, true);
        if was_asked || !matches!(self.state, State::Opening(_)) {
            return Vec::new();
        }
        self.flow = self.wanted;
        self.exchanges = 0;
        let limit = self.limit().map(qos);
        limit.into_iter().chain([self.consume().into()]).collect()
    }

    /// Its channel is open.
    pub fn opened(&mut self) {
        if let State::Opening(channel) = self.state {
            self.state = match self.limit() {
                Some(_) => State::Limiting(channel),
                None => State::Subscribing(channel),
            };
        }
    }

    /// The broker answered a call.
    pub fn replied(&mut self, now: Instant, reply: MethodId) -> Option<Step> {
        match self.state {
            _ if self.proving && reply == basic::QosOk::ID => {
                self.proving = false;
                Some(Step::Proven)
            }
            State::Limiting(channel) => {
                self.state = State::Subscribing(channel);
                None
            }
            State::Subscribing(channel) => {
                self.state = State::Active(channel);
                let first = !std::mem::replace(&mut self.established, true);
                let missed = std::mem::take(&mut self.missed);
                self.late = false;
                let flow = self.flow;
                self.strikes = self.refusals;
                self.suspected = false;
                self.delays.succeeded(now);
                Some(Step::Active {
                    first,
                    missed,
                    flow,
                })
            }
            State::Paused(..) if reply == basic::CancelOk::ID => {
                self.parting = false;
                None
            }
            State::Held(channel) if reply == basic::CancelOk::ID => {
                self.parting = false;
                if self.hold.is_none() {
                    self.state = State::Paused(channel, now);
                }
                Some(Step::Held)
            }
            State::Exchanging(channel, awaited) if awaited > 1 => {
                self.state = State::Exchanging(channel, awaited - 1);
                let is_vacant = reply == basic::CancelOk::ID && self.next.is_some();
                is_vacant.then_some(Step::Vacant)
            }
            State::Exchanging(channel, _) if std::mem::take(&mut self.moving) => {
                if self.leaving.take().is_some() {
                    self.state = State::Draining(channel);
                    return Some(Step::Cancelled);
                }
                self.state = State::Waiting;
                Some(Step::Moving)
            }
            State::Exchanging(channel, _) => {
                self.state = State::Active(channel);
                let missed = std::mem::take(&mut self.missed);
                if missed {
                    self.delays.succeeded(now);
                }
                Some(Step::Exchanged {
                    flow: self.flow,
                    missed,
                })
            }
            State::Cancelling(channel) if reply == basic::CancelOk::ID => {
                self.state = State::Draining(channel);
                Some(Step::Cancelled)
            }
            _ => None,
        }
    }

    /// The broker cancelled it, as a rule because its queue is gone; its channel is to be closed.
    pub fn cancelled_by_broker(&mut self, now: Instant) -> Verdict {
        self.ended_at(now, true)
    }

    /// The broker cancelled it over a delivery that was unsettled for too long, or because its queue is gone,
    /// and leaves the channel to what else is to be settled. What to say, and when it is to be
    /// [asked for again](Self::resume); `None` where it is in the middle of something.
    ///
    /// RabbitMQ 4.3 does not mean it: the consumer is there, and goes on as soon as what was unsettled for too
    /// long is settled after all. Beside the next one it would be one too many, so it is cancelled in earnest.
    pub fn pause(&mut self, now: Instant) -> Option<(Method, Instant)> {
        let State::Active(channel) = self.state else {
            return None;
        };
        let until = after(now, self.delays.next(now));
        self.proving = false;
        self.parting = true;
        self.state = State::Paused(channel, until);
        Some((self.cancel_method(), until))
    }

    /// Whether it is to be [asked for again](Self::resume).
    pub fn is_paused(&self) -> bool {
        matches!(self.state, State::Paused(..))
    }

    /// Asks for it again on the channel that it has, once it is time; [`Step::Exchanged`] follows.
    pub fn resume(&mut self, now: Instant) -> Option<Method> {
        let State::Paused(channel, until) = self.state else {
            return None;
        };
        if until > now {
            return None;
        }
        // A tag of its own for each: the broker keeps that of the one before, with what is to be settled.
        self.exchanges = self.exchanges.wrapping_add(2);
        self.state = State::Exchanging(channel, 1 + u8::from(self.parting));
        self.parting = false;
        Some(self.consume().into())
    }

    /// The user has it held: it is to receive nothing. What to say; where it is in the middle of something, this is to
    /// be [asked again](Self::hold_on) after that.
    pub fn hold(&mut self, leaving: Leaving) -> Option<Method> {
        self.hold = Some(leaving);
        self.hold_on()
    }

    /// What [`hold`](Self::hold) could not say before.
    pub fn hold_on(&mut self) -> Option<Method> {
        let leaving = self.hold?;
        match self.state {
            State::Active(channel) => {
                self.proving = false;
                self.state = State::Held(channel);
                // Where order comes first, its channel ends once what is at hand is settled.
                self.parting = leaving == Leaving::Cancelled;
                self.parting.then(|| self.cancel_method())
            }
            State::Paused(channel, _) => {
                self.state = State::Held(channel);
                None
            }
            _ => None,
        }
    }

    /// Whether the user has it held.
    #[cfg(test)]
    pub fn is_held(&self) -> bool {
        self.hold.is_some()
    }

    /// It is held by the end of its channel, which it has no more use for. Whether that is to be closed.
    pub fn vacates(&mut self) -> bool {
        let vacates =
            self.hold == Some(Leaving::WithItsChannel) && matches!(self.state, State::Held(_));
        if vacates {
            self.channel_lost();
            self.state = State::Waiting;
        }
        vacates
    }

    /// The user lets it receive again. Where it has its channel still, it is [resumed](Self::resume) there. How it
    /// receives, if it has never ceased to.
    pub fn let_go_on(&mut self, now: Instant) -> Option<Flow> {
        let was_held = self.hold.take();
        let State::Held(channel) = self.state else {
            return None;
        };
        if was_held != Some(Leaving::WithItsChannel) {
            // Not before what was prefetched has gone back: the next consumer brings as much again.
            if !self.parting {
                self.state = State::Paused(channel, now);
            }
            return None;
        }
        self.state = State::Active(channel);
        Some(self.flow)
    }

    /// Its channel was closed.
    pub fn channel_closed(&mut self, now: Instant) -> Verdict {
        self.ended_at(now, self.established)
    }

    /// What it asks of the broker cannot be sent.
    pub fn give_up(&mut self, now: Instant) -> Verdict {
        self.ended_at(now, false)
    }

    /// Whether it may be what the connection was closed over. One that has cost a connection stays alone.
    pub fn suspect(&mut self, is_suspected: bool) {
        self.suspected = is_suspected || self.strikes > 0;
    }

    /// It has said that it refuses something.
    pub fn refuses(&mut self) {
        self.has_refused = true;
    }

    /// Whether it has refused something on its channel.
    pub fn has_refused(&self) -> bool {
        self.has_refused
    }

    /// It was alone in refusing something when the connection was closed over that.
    pub fn refusal_refused(&mut self) {
        self.refusals = self.refusals.saturating_add(1);
    }

    /// Whether it has cost a connection since it last received.
    pub fn has_cost_connection(&self) -> bool {
        self.strikes > 0
    }

    /// The connection was closed over it.
    pub fn cost_connection(&mut self, now: Instant, close: &PeerClose) -> Verdict {
        self.strikes += 1;
        self.cost = Some(close.clone());
        // It goes on alone, or it would suspect whoever comes along.
        self.suspected = true;
        self.ended_at(now, self.established && self.strikes < STRIKES)
    }

    /// Why it is not tried yet on this connection, if that is for what it has cost.
    pub fn is_kept_back(&self) -> Option<&PeerClose> {
        let is_waiting = self.is_wanted() && matches!(self.state, State::BackingOff(_));
        self.cost
            .as_ref()
            .filter(|_| is_waiting && self.strikes > 0)
    }

    /// It is tried again, and not back yet. Whether that is news.
    pub fn miss(&mut self) -> bool {
        !std::mem::replace(&mut self.missed, true)
    }

    /// The broker is to send more or less. What to say to it, now; where it is not there, or in the
    /// middle of an exchange, this is to be asked again once it is.
    pub fn set_flow(&mut self, flow: Flow, manner: Manner) -> Vec<Method> {
        self.wanted = flow;
        let State::Active(channel) = self.state else {
            return Vec::new();
        };
        if self.flow == flow {
            return Vec::new();
        }
        let cancel = self.cancel_method();
        self.flow = flow;
        self.exchanges = self.exchanges.wrapping_add(1);
        let consume = Method::from(self.consume());
        if manner == Manner::OnAnother {
            self.moving = true;
            self.state = State::Exchanging(channel, 1);
            return vec![cancel];
        }
        let mut methods: Vec<_> = self.prefetch().map(qos).into_iter().collect();
        self.state = State::Exchanging(channel, methods.len() as u8 + 2);
        match manner {
            Manner::Overlapping => methods.extend([consume, cancel]),
            _ => {
                methods.push(cancel);
                self.next = Some(consume);
            }
        }
        methods
    }

    /// The narrow consumer that would come next, and the wide one that would come back.
    pub fn next_consumers(&self) -> [Method; 2] {
        let flows = [(Flow::Narrow, 1), (self.spec.flow(), 2)];
        flows.map(|(flow, more)| {
            self.spec
                .consume(flow, self.exchanges.wrapping_add(more))
                .into()
        })
    }

    /// Asks for the new consumer, where the old one has gone.
    pub fn occupy(&mut self) -> Option<Method> {
        self.next.take()
    }

    /// Asks for a sign that the broker has heard what was said before; [`Step::Proven`] follows. RabbitMQ
    /// does what comes on a channel in its order.
    pub fn prove(&mut self) -> Option<Method> {
        let is_possible = matches!(self.state, State::Active(_)) && !self.proving;
        self.proving |= is_possible;
        // Any call would do; this one changes nothing for a consumer that is there.
        is_possible.then(|| qos(NARROW))
    }

    /// The user wants no more; the method to send, if the broker has to be asked.
    pub fn cancel(&mut self, leaving: Leaving) -> Option<Method> {
        match (self.state, leaving) {
            (State::Active(channel), Leaving::Cancelled) => {
                self.state = State::Cancelling(channel);
                Some(self.cancel_method())
            }
            (State::Active(channel), Leaving::WithItsChannel)
            | (State::Paused(channel, _) | State::Held(channel), _) => {
                self.state = State::Draining(channel);
                None
            }
            (State::Exchanging(..), _) => {
                self.leaving = Some(leaving);
                None
            }
            (State::Cancelling(_) | State::Draining(_), _) => None,
            _ => {
                self.state = State::Ended;
                None
            }
        }
    }

    /// The connection is about to be closed: cancels it, where that can be said now.
    pub fn call_off(&mut self) -> Option<Method> {
        matches!(self.state, State::Active(_))
            .then(|| self.cancel(Leaving::Cancelled))
            .flatten()
    }

    /// Whether the broker has yet to answer that it gets no more.
    pub fn is_cancelling(&self) -> bool {
        matches!(self.state, State::Cancelling(_))
    }

    /// What [`cancel`](Self::cancel) could not say in the middle of an exchange.
    pub fn leave(&mut self) -> Option<Method> {
        let leaving = self.leaving.take()?;
        self.cancel(leaving)
    }

    fn cancel_method(&self) -> Method {
        basic::Cancel {
            consumer_tag: self.spec.tag_of(self.flow, self.exchanges),
            nowait: false,
        }
        .into()
    }

    /// The connection is gone, and all channels with it.
    pub fn connection_lost(&mut self) {
        self.missed = false;
        self.channel_lost();
        self.state = match self.state {
            _ if self.is_unwanted() => State::Ended,
            // Others are not to lose their connection again and again without a pause.
            State::BackingOff(until) if self.strikes > 0 => State::BackingOff(until),
            _ => State::Waiting,
        };
    }

    /// What was delivered is delivered again, so the user is not behind any more. Without
    /// acknowledgements what waits stays, and with it whether the user is behind.
    fn channel_lost(&mut self) {
        self.next = None;
        self.moving = false;
        self.proving = false;
        self.parting = false;
        self.has_refused = false;
        if !self.spec.no_ack {
            self.wanted = self.spec.flow();
        }
    }

    fn ended_at(&mut self, now: Instant, retry: bool) -> Verdict {
        self.channel_lost();
        let (state, verdict) = if self.is_unwanted() {
            (State::Ended, Verdict::Ended)
        } else if !retry {
            (State::Ended, Verdict::Fail)
        } else {
            let until = after(now, self.delays.next(now));
            (State::BackingOff(until), Verdict::Retry(until))
        };
        self.state = state;
        verdict
    }

    /// The prefetch of the present consumer, 0 for no limit; without acknowledgements there is none.
    fn prefetch(&self) -> Option<u16> {
        match self.flow {
            Flow::Narrow => Some(NARROW),
            Flow::Wide { .. } if self.spec.no_ack => None,
            Flow::Wide { prefetch } => Some(prefetch),
        }
    }

    /// The prefetch that has to be asked for, since a channel begins without any.
    fn limit(&self) -> Option<u16> {
        self.prefetch().filter(|prefetch| *prefetch > 0)
    }

    fn consume(&self) -> basic::Consume {
        self.spec.consume(self.flow, self.exchanges)
    }
}

/// The prefetch of a narrow consumer.
const NARROW: u16 = 1;

/// Sets the prefetch of the consumers that come after it on the channel.
fn qos(prefetch_count: u16) -> Method {
    basic::Qos {
        prefetch_count,
        ..Default::default()
    }
    .into()
}

#[cfg(test)]
mod tests;
