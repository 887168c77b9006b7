//! Looking for queues that the server named, and that may have outlived the connection, under the names
//! that they had.
//!
//! A broker closes the channel over a queue that it does not know. On one channel each of them would
//! cost a channel's life, one after the other; so each is looked for on a channel of its own, many at once.

use std::collections::VecDeque;
use std::time::Instant;

use snowshoe_codec::{ChannelCloseReason, ChannelId, Method};

use super::Session;
use super::owners::Owner;
use super::stage::Stage;
use crate::core::topology::{Declaring, Step, Topology};

#[derive(Debug, Default)]
pub(super) struct Looks {
    waiting: VecDeque<Step>,
    open: Vec<Look>,
    /// Whether one of them may have cost the connection: they are looked for one after the other, then,
    /// together with what is declared, where the culprit shows itself.
    are_suspect: bool,
}

#[derive(Debug)]
struct Look {
    channel: ChannelId,
    is_open: bool,
    /// What is looked for at the moment.
    step: Option<Step>,
}

/// How many are looked for at once, at most.
const AT_ONCE: usize = 64;

/// The part of all channels that may be used for it, as a divisor: others need some, too.
const SHARE: usize = 4;

impl Looks {
    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.under_way().next().is_none()
    }

    pub(super) fn under_way(&self) -> impl Iterator<Item = &Step> {
        self.open.iter().filter_map(|look| look.step.as_ref())
    }

    pub(super) fn contains(&self, step: &Step) -> bool {
        self.waiting.contains(step) || self.under_way().any(|it| it == step)
    }

    /// All channels are gone.
    pub(super) fn lost(&mut self) {
        self.waiting.clear();
        self.open.clear();
    }

    /// The connection was closed over a method of their kind. Whether it may have been over one of them.
    pub(super) fn suspect(&mut self) -> bool {
        let are_under_way = self.under_way().next().is_some();
        self.are_suspect |= are_under_way;
        are_under_way
    }

    pub(super) fn are_cleared(&mut self) {
        self.are_suspect = false;
    }
}

impl Session {
    /// Takes something in that is to be declared again.
    pub(super) fn push_to_declare(&mut self, step: Step, topology: &Topology) {
        if topology.is_looked_for(&step) && self.looks_at_once() > 0 && !self.looks.are_suspect {
            self.looks.waiting.push_back(step);
        } else {
            self.recovery.push(step);
        }
    }

    fn looks_at_once(&self) -> usize {
        let connection = self.connection.as_ref();
        let channels = connection.map_or(0, |it| usize::from(it.tuning().channel_max));
        AT_ONCE.min(channels / SHARE)
    }

    /// Looks for what it can.
    pub(super) fn look(&mut self, now: Instant, topology: &mut Topology) {
        while let Some(step) = self.looks.waiting.pop_front() {
            let Some(index) = self.free_look(now) else {
                self.looks.waiting.push_front(step);
                break;
            };
            match topology.begin_declaring(&step) {
                Declaring::Begun(method) => {
                    let look = &mut self.looks.open[index];
                    look.step = Some(step);
                    let channel = look.channel;
                    // It has no arguments, so it fits; where its channel has ended, that is about to be told.
                    _ = self.send(now, channel, method);
                }
                Declaring::BeingDeleted => _ = self.left_out.insert(step),
                Declaring::Forgotten => {}
            }
        }
        if self.looks.waiting.is_empty() {
            let done = self.looks.open.extract_if(.., |look| look.step.is_none());
            let done: Vec<_> = done.map(|look| look.channel).collect();
            for channel in done {
                self.close_channel(now, channel);
            }
        } else if self.looks.open.is_empty() {
            // No channel is free for it.
            self.recovery_takes_looks();
        }
    }

    fn recovery_takes_looks(&mut self) {
        for step in self.looks.waiting.drain(..) {
            self.recovery.push(step);
        }
    }

    /// A channel on which something can be looked for now. Opens as many as are needed.
    fn free_look(&mut self, now: Instant) -> Option<usize> {
        let idle = |look: &Look| look.step.is_none();
        let wanted = 1 + self.looks.waiting.len();
        while self.looks.open.len() < self.looks_at_once()
            && self.looks.open.iter().filter(|look| idle(look)).count() < wanted
            // One is left for what is declared.
            && self.free_channels(now) > 1
            && let Ok(channel) = self.open_channel(now, Owner::Look)
        {
            self.looks.open.push(Look {
                channel,
                is_open: false,
                step: None,
            });
        }
        let mut open = self.looks.open.iter();
        open.position(|look| look.is_open && idle(look))
    }

    pub(super) fn look_opened(&mut self, channel: ChannelId) {
        let mut open = self.looks.open.iter_mut();
        if let Some(look) = open.find(|look| look.channel == channel) {
            look.is_open = true;
        }
    }

    /// It is there.
    pub(super) fn look_answered(
        &mut self,
        channel: ChannelId,
        reply: &Method,
        topology: &mut Topology,
    ) {
        let mut open = self.looks.open.iter_mut();
        let look = open.find(|look| look.channel == channel);
        if let Some(step) = look.and_then(|look| look.step.take()) {
            self.entity_declared(&step, reply, topology);
        }
    }

    /// As a rule it is not there.
    pub(super) fn look_closed(
        &mut self,
        now: Instant,
        channel: ChannelId,
        reason: ChannelCloseReason,
        topology: &mut Topology,
    ) {
        let mut closed = self.looks.open.extract_if(.., |it| it.channel == channel);
        let step = closed.next().and_then(|look| look.step);
        drop(closed);
        let Some(step) = step else { return };
        match reason {
            ChannelCloseReason::Peer(close) => {
                self.declarations_ended.push(step.clone());
                self.postpone_or_skip(now, step, close, topology);
            }
            _ => {
                self.overdue.push((channel, step.clone()));
                if self.stage < Stage::Ready {
                    self.recovery_timed_out(now);
                } else {
                    self.looks.waiting.push_back(step);
                }
            }
        }
    }
}
