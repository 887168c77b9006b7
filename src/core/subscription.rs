//! One consumer's way onto a channel, and back onto the next.

use std::time::{Duration, Instant};

use snowshoe_codec::method::{Arguments, MethodId, basic};
use snowshoe_codec::time::after;
use snowshoe_codec::{ChannelCloseReason, ChannelId, FieldTable, Method, ShortString};

use super::STRIKES;
use super::backoff::{Backoff, Delays};
use crate::events::{ConsumerId, Entity};

/// What a consumer asks of the broker.
#[derive(Clone, Debug)]
pub struct ConsumerSpec {
    pub queue: ShortString,
    /// The part of the consumer tag that is the same on every channel.
    pub tag: ShortString,
    pub prefetch: u16,
    pub no_ack: bool,
    pub exclusive: bool,
    pub no_local: bool,
    pub arguments: FieldTable,
}

/// The recovery of one consumer. It has a channel of its own, so that delivery tags, prefetch and
/// errors are its own too.
///
/// ```text
///            connected         open             qos-ok             consume-ok
///   Waiting ──────────► Opening ────► Limiting ───────► Subscribing ──────────► Active
///      ▲                   │              │                  │                   │ │
///      │ connection lost   └──────────────┴────────┬─────────┘                   │ │
///      │ (from anywhere)                           │ channel closed, cancelled   │ │
///      │                                           ▼                             │ │
///      │                   ┌────────────────── BackingOff ◄──────────────────────┘ │
///      │                   ▼  its time has come                                    │
///      │                Opening              Ended ◄── cancel-ok ── Cancelling ◄───┘ cancel
/// ```
///
/// One that has cost the connection backs off across its end.
#[derive(Debug)]
pub struct Subscription {
    spec: ConsumerSpec,
    state: State,
    /// Whether it ever received: from then on it comes back, whatever happens.
    established: bool,
    /// How many connections it has cost since it last received.
    strikes: u32,
    /// Whether it was on its way when a connection ended over one like it, and so is tried with few others.
    suspected: bool,
    /// Whether it was told that it is not back yet.
    missed: bool,
    delays: Delays,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum State {
    Waiting,
    Opening(ChannelId),
    Limiting(ChannelId),
    Subscribing(ChannelId),
    Active(ChannelId),
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
            Self::Active(_) | Self::Cancelling(_) | Self::Draining(_)
        )
    }
}

/// What follows a reply.
#[derive(Debug, PartialEq)]
pub enum Step {
    Send(Method),
    /// Deliveries may come from now on, for the first time or again.
    Active {
        first: bool,
        /// It was told that it was not back yet.
        missed: bool,
    },
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
        Self {
            spec,
            state: State::Waiting,
            established: false,
            strikes: 0,
            suspected: false,
            missed: false,
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
        let unwanted = matches!(
            self.state,
            State::Cancelling(_) | State::Draining(_) | State::Ended
        );
        self.established && !unwanted
    }

    /// Whether it ever received, so that it comes back whatever happens.
    pub fn is_established(&self) -> bool {
        self.established
    }

    pub fn is_ended(&self) -> bool {
        self.state == State::Ended
    }

    /// Whether what is delivered is its own. Before the broker's consume-ok no epoch has begun in
    /// which it could be settled.
    pub fn receives(&self) -> bool {
        self.state.receives() || self.spec.no_ack
    }

    /// Whether a channel is to be opened for it now.
    pub fn wants_channel(&self, now: Instant) -> bool {
        match self.state {
            State::Waiting => true,
            State::BackingOff(until) => until <= now,
            _ => false,
        }
    }

    /// Whether it is to be tried with other suspects only, or alone.
    pub fn is_suspected(&self) -> bool {
        self.suspected
    }

    /// What the broker was asked for it and has not answered.
    pub fn under_way(&self) -> Option<MethodId> {
        match self.state {
            State::Limiting(_) => Some(basic::Qos::ID),
            State::Subscribing(_) => Some(basic::Consume::ID),
            _ => None,
        }
    }

    /// When it is to be tried again, where that is not at once.
    pub fn retry_at(&self) -> Option<Instant> {
        match self.state {
            State::BackingOff(until) => Some(until),
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

    pub fn opening(&mut self, channel: ChannelId) {
        self.state = State::Opening(channel);
    }

    /// No channel is free for it. Whether it is given up over that: one that worked before waits.
    pub fn give_up_if_new(&mut self) -> bool {
        if !self.established {
            self.state = State::Ended;
        }
        !self.established
    }

    /// Its channel is open.
    pub fn opened(&mut self) -> Option<Method> {
        let State::Opening(channel) = self.state else {
            return None;
        };
        if self.spec.prefetch == 0 || self.spec.no_ack {
            return Some(self.subscribe(channel));
        }
        self.state = State::Limiting(channel);
        let prefetch_count = self.spec.prefetch;
        Some(
            basic::Qos {
                prefetch_size: 0,
                prefetch_count,
                global: false,
            }
            .into(),
        )
    }

    /// The broker answered.
    pub fn replied(&mut self, now: Instant) -> Option<Step> {
        match self.state {
            State::Limiting(channel) => Some(Step::Send(self.subscribe(channel))),
            State::Subscribing(channel) => {
                self.state = State::Active(channel);
                let first = !std::mem::replace(&mut self.established, true);
                let missed = std::mem::take(&mut self.missed);
                self.strikes = 0;
                self.suspected = false;
                self.delays.succeeded(now);
                Some(Step::Active { first, missed })
            }
            State::Cancelling(channel) => {
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

    /// Its channel was closed.
    pub fn channel_closed(&mut self, now: Instant, reason: &ChannelCloseReason) -> Verdict {
        // A broker that was slow may be faster the next time, even if that is the first.
        let passing = matches!(reason, ChannelCloseReason::CallTimeout(_));
        self.ended_at(now, self.established || passing)
    }

    /// Whether it may be what the connection was closed over. One that has cost a connection stays alone.
    pub fn suspect(&mut self, is_suspected: bool) {
        self.suspected = is_suspected || self.strikes > 0;
    }

    /// Whether it has cost a connection since it last received.
    pub fn has_cost_connection(&self) -> bool {
        self.strikes > 0
    }

    /// The connection was closed over it.
    pub fn cost_connection(&mut self, now: Instant) -> Verdict {
        self.strikes += 1;
        // It goes on alone, or it would suspect whoever comes along.
        self.suspected = true;
        self.ended_at(now, self.established && self.strikes < STRIKES)
    }

    /// It is tried again, and not back yet. Whether that is news.
    pub fn miss(&mut self) -> bool {
        !std::mem::replace(&mut self.missed, true)
    }

    /// The user wants no more; the method to send, if the broker has to be asked.
    pub fn cancel(&mut self) -> Option<Method> {
        match self.state {
            State::Active(channel) => {
                self.state = State::Cancelling(channel);
                Some(
                    basic::Cancel {
                        consumer_tag: self.spec.tag.clone(),
                        nowait: false,
                    }
                    .into(),
                )
            }
            State::Cancelling(_) | State::Draining(_) => None,
            _ => {
                self.state = State::Ended;
                None
            }
        }
    }

    /// The connection is gone, and all channels with it.
    pub fn connection_lost(&mut self) {
        self.missed = false;
        self.state = match self.state {
            State::Cancelling(_) | State::Draining(_) | State::Ended => State::Ended,
            // Others are not to lose their connection again and again without a pause.
            State::BackingOff(until) if self.strikes > 0 => State::BackingOff(until),
            _ => State::Waiting,
        };
    }

    fn ended_at(&mut self, now: Instant, retry: bool) -> Verdict {
        let (state, verdict) = match self.state {
            State::Cancelling(_) | State::Draining(_) | State::Ended => {
                (State::Ended, Verdict::Ended)
            }
            _ if !retry => (State::Ended, Verdict::Fail),
            _ => {
                let until = after(now, self.delays.next(now));
                (State::BackingOff(until), Verdict::Retry(until))
            }
        };
        self.state = state;
        verdict
    }

    fn subscribe(&mut self, channel: ChannelId) -> Method {
        self.state = State::Subscribing(channel);
        let ConsumerSpec {
            queue,
            tag,
            no_ack,
            exclusive,
            no_local,
            arguments,
            ..
        } = self.spec.clone();
        basic::Consume {
            queue,
            consumer_tag: tag,
            no_local,
            no_ack,
            exclusive,
            arguments,
            ..Default::default()
        }
        .into()
    }
}

#[cfg(test)]
mod tests;
