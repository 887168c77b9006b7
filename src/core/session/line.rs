//! A producer's way onto a channel.

use std::time::{Duration, Instant};

use snowshoe_codec::ChannelId;
use snowshoe_codec::time::after;

use crate::core::backoff::{Backoff, Delays};

/// A producer's way onto a channel: one of its own, or one that it [shares](super::shared_channel).
#[derive(Debug)]
pub(super) struct Line {
    state: LineState,
    confirms: bool,
    /// Whether it was told that it is not on a channel yet.
    missed: bool,
    /// Whether it has left a channel of this connection, on which something may still go out.
    has_left: bool,
    delays: Delays,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineState {
    Waiting,
    /// channel.open, and confirm.select after it, are on their way. What is published follows them
    /// without waiting for the answers: the broker takes it in the same order.
    Opening(ChannelId),
    Online(ChannelId),
    BackingOff(Instant),
}

impl Line {
    pub(super) fn new(confirms: bool, backoff: Backoff, seed: u64) -> Self {
        Self {
            state: LineState::Waiting,
            confirms,
            missed: false,
            has_left: false,
            delays: Delays::new(backoff, Duration::ZERO, seed),
        }
    }

    pub(super) fn confirms(&self) -> bool {
        self.confirms
    }

    /// The channel that it has, and may publish on.
    pub(super) fn channel(&self) -> Option<ChannelId> {
        match self.state {
            LineState::Opening(channel) | LineState::Online(channel) => Some(channel),
            LineState::Waiting | LineState::BackingOff(_) => None,
        }
    }

    /// Whether it is on its way, and its outcome to be waited for.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, LineState::Opening(_))
    }

    /// Whether the broker has confirmed its channel.
    pub(super) fn is_online(&self) -> bool {
        matches!(self.state, LineState::Online(_))
    }

    pub(super) fn wants_channel(&self, now: Instant) -> bool {
        match self.state {
            LineState::Waiting => true,
            LineState::BackingOff(until) => until <= now,
            _ => false,
        }
    }

    /// When it is to be tried again, where that is not at once.
    pub(super) fn retry_at(&self) -> Option<Instant> {
        match self.state {
            LineState::BackingOff(until) => Some(until),
            _ => None,
        }
    }

    pub(super) fn opening(&mut self, channel: ChannelId) {
        self.state = LineState::Opening(channel);
    }

    /// The broker has confirmed its channel. Whether it had been told that it was not there.
    pub(super) fn opened(&mut self, now: Instant, channel: ChannelId) -> bool {
        self.state = LineState::Online(channel);
        self.delays.succeeded(now);
        std::mem::take(&mut self.missed)
    }

    /// It has no channel, and gets one as soon as there is one.
    pub(super) fn wait(&mut self) {
        self.state = LineState::Waiting;
    }

    /// It has no channel, and waits before it is given one.
    pub(super) fn back_off(&mut self, now: Instant) {
        self.state = LineState::BackingOff(after(now, self.delays.next(now)));
    }

    /// Its channel was closed by us.
    pub(super) fn leave(&mut self) {
        self.has_left = true;
    }

    /// The connection is gone, and with it whatever was said of it. Whether something was written on it.
    pub(super) fn connection_lost(&mut self) -> bool {
        let may_have_written = self.channel().is_some() || self.has_left;
        self.state = LineState::Waiting;
        self.missed = false;
        self.has_left = false;
        may_have_written
    }

    /// It is not on a channel yet. Whether that is news.
    pub(super) fn miss(&mut self) -> bool {
        !std::mem::replace(&mut self.missed, true)
    }
}
