//! Who gets the channels that there are.
//!
//! The peers agree on a number of them. A broker may also have a limit for each user (RabbitMQ:
//! `max-channels`), which it tells in no other way than by closing the connection over the channel that is
//! one too many. What goes on already is not to be lost over it, so whoever wants more than there are is
//! refused, waits or shares, in this order:
//!
//! - what is declared again, and calls, have a channel each, and where there are few, both use one in turn;
//! - consumers that were there before get what is left, and are told where that is none;
//! - new consumers, and users who drive a channel, are refused where the last would go that calls need;
//! - producers share, and where they have the connection together with consumers, from when half of the
//!   channels are taken.

use std::time::{Duration, Instant};

use snowshoe_codec::method::{Arguments, channel};
use snowshoe_codec::time::after;
use snowshoe_codec::{ChannelId, OpenChannelError, PeerClose, ReplyCode};

use super::Session;
use super::owners::Owner;

/// Why there is no channel to be had now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum NoChannel {
    /// The connection is about to end, and there will be another.
    Offline,
    /// One is about to be free. Whoever wants one is looked at again then.
    Soon,
    /// All are taken.
    NoneFree,
}

/// How many channels the broker lets this connection have, where that was not negotiated.
#[derive(Clone, Copy, Debug)]
pub(super) struct ChannelLimit {
    channels: usize,
    learnt_at: Instant,
    /// For how long it is kept to.
    lasts: Duration,
    /// Fewer, until then: it was met again while it was kept to.
    fewer: Option<(usize, Instant)>,
}

impl ChannelLimit {
    /// A limit that was met now with so many channels, for the first time or after the one `before`.
    ///
    /// RabbitMQ counts the channels of a user some time after they have come and gone, so that those of
    /// the connection that it has just closed may count towards the next. Where a limit is too much that
    /// is kept to, there are fewer for a moment at first, and only after that for long.
    fn met(now: Instant, channels: usize, before: Option<Self>) -> Self {
        match before {
            Some(before) if now < before.lapses_at() && before.fewer.is_none() => Self {
                fewer: Some((channels, after(now, COUNTS_LATE))),
                ..before
            },
            again => Self::new(now, channels, again),
        }
    }

    fn new(now: Instant, channels: usize, again: Option<Self>) -> Self {
        // To try costs a connection.
        let again = again.filter(|it| now < after(it.lapses_at(), it.lasts));
        Self {
            channels,
            learnt_at: now,
            lasts: again.map_or(LASTS, |it| (2 * it.lasts).min(LASTS_AT_MOST)),
            fewer: None,
        }
    }

    fn channels(&self, now: Instant) -> usize {
        match self.fewer {
            Some((channels, until)) if now < until => channels,
            _ => self.channels,
        }
    }

    /// When there may be more channels.
    fn rises_at(&self, now: Instant) -> Instant {
        match self.fewer {
            Some((_, until)) if now < until => until,
            _ => self.lapses_at(),
        }
    }

    /// When it may be found out again whether it is still so.
    fn lapses_at(&self) -> Instant {
        after(self.learnt_at, self.lasts)
    }
}

/// How long a limit is kept to at first.
const LASTS: Duration = Duration::from_secs(60);

/// How long one is kept to that was met again and again.
const LASTS_AT_MOST: Duration = Duration::from_secs(60 * 60);

/// How long a broker may count channels that have gone.
const COUNTS_LATE: Duration = Duration::from_secs(3);

/// How long to wait for a number that is taken by a channel of which nothing will be told any more.
const LOOK_AGAIN: Duration = Duration::from_millis(500);

impl Session {
    /// Opens a channel for somebody who is not to be refused one.
    pub(super) fn open_channel(
        &mut self,
        now: Instant,
        owner: Owner,
    ) -> Result<ChannelId, NoChannel> {
        if self.connection.is_none() {
            return Err(NoChannel::Offline);
        }
        if self.free_channels(now) == 0 {
            return Err(self.make_room(now));
        }
        let connection = self.connection.as_mut().ok_or(NoChannel::Offline)?;
        match connection.open_channel(now) {
            Ok(channel) => {
                self.owners.opening(channel, owner);
                self.least_shared = None;
                Ok(channel)
            }
            Err(OpenChannelError::NoneFree) => {
                // Of a channel that was given up for want of an answer, the number is taken until the broker
                // agrees to its end, which nobody is told.
                self.look_again_by(after(now, LOOK_AGAIN));
                Err(NoChannel::NoneFree)
            }
            Err(_) => Err(NoChannel::Offline),
        }
    }

    /// Sees to it that whoever wants a channel is looked at again by then.
    fn look_again_by(&mut self, at: Instant) {
        if self.wakeups.iter().all(|before| *before > at) {
            self.wakeups.push(at);
        }
    }

    /// Opens a channel for somebody who can be refused one, and is, where it is the last that could be
    /// used for calls.
    pub(super) fn open_channel_for_new(
        &mut self,
        now: Instant,
        owner: Owner,
    ) -> Result<ChannelId, NoChannel> {
        let queues = [
            (self.recovery.has_channel(), self.recovery.is_idle()),
            (self.calls.has_channel(), self.calls.is_idle()),
        ];
        let idle = queues.iter().filter(|(_, is_idle)| *is_idle).count();
        let is_busy = queues.iter().any(|(has_one, is_idle)| *has_one && !is_idle);
        // A limit that was not agreed on may be less than what was in use before it was known.
        let keeps_one = self.settings.makes_calls && self.limit(now).is_none() && !is_busy;
        if self.connection.is_some() && self.free_channels(now) + idle <= usize::from(keeps_one) {
            return Err(match self.owners.counts().closing {
                0 => NoChannel::NoneFree,
                _ => NoChannel::Soon,
            });
        }
        self.open_channel(now, owner)
    }

    /// The limit that is kept to.
    fn limit(&self, now: Instant) -> Option<&ChannelLimit> {
        self.channel_limit
            .as_ref()
            .filter(|limit| now < limit.lapses_at())
    }

    pub(super) fn free_channels(&self, now: Instant) -> usize {
        let negotiated = (self.connection.as_ref()).map_or(0, |it| it.tuning().channel_max);
        let limit = self.limit(now).map_or(usize::MAX, |it| it.channels(now));
        limit
            .min(negotiated.into())
            .saturating_sub(self.owners.counts().taken())
    }

    /// Whether the channels that are left are better kept for consumers and users, on a connection that is not
    /// for publishing alone: producers can share, and they cannot.
    pub(super) fn are_channels_for_others(&self, now: Instant) -> bool {
        let free = self.free_channels(now);
        self.settings.makes_calls && free <= self.owners.counts().taken()
    }

    /// Closes a channel that is not in use, if there is one.
    fn make_room(&mut self, now: Instant) -> NoChannel {
        if self.owners.counts().closing == 0 {
            let idle = self.recovery.release().or_else(|| self.calls.release());
            let Some(idle) = idle else {
                self.goes_without = true;
                if let Some(rises_at) = self.limit(now).map(|it| it.rises_at(now)) {
                    self.look_again_by(rises_at);
                }
                return NoChannel::NoneFree;
            };
            self.close_channel(now, idle);
        }
        NoChannel::Soon
    }

    /// What was under way on a channel has ended. If somebody goes without one, they are looked at again.
    pub(super) fn offer_channel(&mut self, now: Instant) {
        let is_idle = self.recovery.is_idle() || self.calls.is_idle();
        if self.goes_without && is_idle {
            self.goes_without = false;
            self.wakeups.push(now);
        }
    }

    /// Whether calls have to stop for what is to be declared again, because both use one channel in turn.
    pub(super) fn calls_give_way(&self, now: Instant) -> bool {
        self.recovery.wants_channel() && self.free_channels(now) == 0
    }

    /// The connection was closed over the channel that was one too many, if it was.
    ///
    /// RabbitMQ answers a channel.open beyond the limit of a user with connection.close 530, and names no
    /// method (seen on 3.10.8).
    pub(super) fn learn_channel_limit(&mut self, now: Instant, close: &PeerClose) -> bool {
        let counts = self.owners.counts();
        let is_over_open = close.method.class == 0 || close.method == channel::Open::ID;
        let is_limit = close.code == ReplyCode::NOT_ALLOWED && is_over_open && counts.opening > 0;
        if is_limit {
            let before = self.channel_limit.take();
            self.channel_limit = Some(ChannelLimit::met(now, counts.open, before));
        }
        is_limit
    }
}
