use std::collections::VecDeque;
use std::time::{Duration, Instant};

use crate::assembly::Assembly;
use crate::event::{ChannelCloseReason, Event};
use crate::method::{Arguments, MethodId, basic, channel};
use crate::time::after;
use crate::types::ChannelId;

/// The state of one channel.
///
/// ```text
///             open-ok           close, or a call timed out            close-ok
///  Opening ─────────────► Open ────────────────────────────► Closing ──────────► (free)
///   │  │                   │                                  ▲   │ ▲
///   │  └───────────────────┼── close, or open timed out ──────┘   └─┘ the peer's close crosses
///   │                      │                                          ours: it is answered, and
///   └──────────────────────┴─────► (free)                             ours still awaits close-ok
///        the peer's close
/// ```
///
/// While closing, all but close and close-ok is discarded (AMQP 0-9-1 §1.5.2.5). A number is free
/// again only after close-ok: used before, it would end the connection with a 504.
#[derive(Debug)]
pub(crate) struct ChannelState {
    pub(crate) phase: ChannelPhase,
    pub(crate) assembly: Assembly,
    /// What awaits a reply, oldest first.
    calls: VecDeque<PendingCall>,
    /// None of them is overdue before: a peer answers one after the other, so each answer gives the others
    /// their time again.
    excused_until: Option<Instant>,
    /// Publishes since confirm.select, where confirms were asked for.
    published: Option<u64>,
    pub(crate) flow_active: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelPhase {
    /// `reused`: whether there was another channel at this number before.
    Opening {
        reused: bool,
    },
    Open,
    /// `answered`: whether the peer closed it as well and got its close-ok; a second one would find no
    /// channel, and end the connection with a 504 (RabbitMQ).
    Closing {
        untold: Untold,
        answered: bool,
    },
}

/// What is still to be told of a channel that is being closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Untold {
    /// That it has ended.
    End,
    /// Its end was told when a call was overdue; that the peer is through with it was not.
    Release,
    Nothing,
}

impl Untold {
    /// Tells it, where the channel ends for this `reason`.
    pub(crate) fn told(self, channel: ChannelId, reason: ChannelCloseReason) -> Option<Event> {
        match self {
            Self::End => Some(Event::ChannelClosed { channel, reason }),
            Self::Release => Some(Event::ChannelReleased { channel }),
            Self::Nothing => None,
        }
    }
}

#[derive(Debug)]
struct PendingCall {
    method: MethodId,
    deadline: Instant,
}

impl ChannelState {
    pub(crate) fn new(phase: ChannelPhase) -> Self {
        Self {
            phase,
            assembly: Assembly::Idle,
            calls: VecDeque::new(),
            excused_until: None,
            published: None,
            flow_active: true,
        }
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, ChannelPhase::Closing { .. })
    }

    /// Enters the phase in which only the peer's close-ok is awaited, until `deadline`.
    pub(crate) fn begin_close(&mut self, untold: Untold, deadline: Instant) {
        self.phase = ChannelPhase::Closing {
            untold,
            answered: false,
        };
        self.assembly = Assembly::Idle;
        self.calls.clear();
        self.excused_until = None;
        self.expect(channel::Close::ID, deadline);
    }

    /// Registers a call that awaits its reply until `deadline`.
    pub(crate) fn expect(&mut self, method: MethodId, deadline: Instant) {
        self.calls.push_back(PendingCall { method, deadline });
    }

    /// Takes the oldest call that `reply` answers off the list; whether there was one.
    ///
    /// Replies of one kind come in the order of their calls, others need not: RabbitMQ's
    /// basic.consume-ok takes the way through the queue, and comes after the replies to whatever
    /// was called in the meantime. From `now` on the others have as long again.
    pub(crate) fn answers(&mut self, reply: MethodId, now: Instant, patience: Duration) -> bool {
        let answered = |call: &PendingCall| reply.is_reply_to(call.method);
        let Some(place) = self.calls.iter().position(answered) else {
            return false;
        };
        self.excuse_until(after(now, patience));
        self.calls.remove(place).is_some()
    }

    /// Whether a method that a message follows may come now.
    pub(crate) fn expects_content(
        &mut self,
        method: MethodId,
        now: Instant,
        patience: Duration,
    ) -> bool {
        // A message that was not asked for has no one to go to.
        let asked_for = method != basic::GetOk::ID || self.answers(method, now, patience);
        asked_for && self.phase == ChannelPhase::Open
    }

    /// No answer is overdue before, but to what closes the channel.
    pub(crate) fn excuse_until(&mut self, until: Instant) {
        if !self.is_closing() {
            self.excused_until = self.excused_until.max(Some(until));
        }
    }

    /// The oldest call that is still open at `now` although its deadline has passed. While the connection is
    /// blocked, that can be a close alone.
    pub(crate) fn overdue(&self, now: Instant, is_blocked: bool) -> Option<MethodId> {
        if is_blocked && !self.is_closing() {
            return None;
        }
        if self.excused_until.is_some_and(|until| until > now) {
            return None;
        }
        let mut calls = self.calls.iter();
        let overdue = calls.find(|call| call.deadline <= now)?;
        Some(overdue.method)
    }

    pub(crate) fn earliest_deadline(&self, is_blocked: bool) -> Option<Instant> {
        if is_blocked && !self.is_closing() {
            return None;
        }
        let earliest = self.calls.iter().map(|call| call.deadline).min();
        earliest.map(|earliest| self.excused_until.map_or(earliest, |it| it.max(earliest)))
    }

    /// Gives up on what was called.
    pub(crate) fn forget_calls(&mut self) {
        self.calls.clear();
    }

    /// How many calls await their reply.
    pub(crate) fn pending_calls(&self) -> usize {
        self.calls.len()
    }

    /// Numbers publishes from now on, in step with the server, for which confirm.select comes
    /// before them too. A second one changes nothing.
    pub(crate) fn begin_confirms(&mut self) {
        self.published.get_or_insert(0);
    }

    /// The number by which the publish that was just written will be confirmed, if it will be.
    pub(crate) fn count_publish(&mut self) -> Option<u64> {
        let published = self.published.as_mut()?;
        *published += 1;
        Some(*published)
    }

    /// How many publishes were numbered.
    pub(crate) fn published(&self) -> Option<u64> {
        self.published
    }

    /// Whether the peer may name this tag in a confirm.
    pub(crate) fn may_confirm(&self, delivery_tag: u64) -> bool {
        self.published
            .is_some_and(|published| delivery_tag <= published)
    }
}
