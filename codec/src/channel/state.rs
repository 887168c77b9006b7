use std::collections::VecDeque;
use std::time::Instant;

use crate::Violation;
use crate::content::{Assembly, Message};
use crate::frame::Frame;
use crate::method::{Arguments, MethodId, basic, channel};

/// The state of one channel.
///
/// ```text
///            open            open-ok                close              close-ok
///  (free) ──────────► Opening ───────► Open ─────────────────► Closing ────────► (free)
///                        │              │ │   call timed out      │  ▲
///                        │ timed out    │ └───────────────────────┘  │ the peer's close
///                        └──────────────┼──────────► Closing         │ crosses ours: it gets
///                                       │                            │ its close-ok, and ours
///                                       │ the peer's close           │ is still awaited
///                                       └──────────► (free)
/// ```
///
/// While closing, all but close and close-ok is discarded (AMQP 0-9-1 §1.5.2.5). An id is free
/// again only behind close-ok: used before, it would end the connection with a 504.
#[derive(Debug)]
pub(crate) struct ChannelState {
    pub(crate) phase: ChannelPhase,
    pub(crate) assembly: Assembly,
    /// What awaits a reply, oldest first: a server answers a channel's methods in their order.
    calls: VecDeque<PendingCall>,
    /// Publishes since confirm.select, where confirms were asked for.
    published: Option<u64>,
    pub(crate) flow_active: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ChannelPhase {
    Opening,
    Open,
    /// `told`: whether the end of the channel was announced already.
    Closing {
        told: bool,
    },
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
            published: None,
            flow_active: true,
        }
    }

    /// Registers a call that awaits its reply until `deadline`.
    pub(crate) fn expect(&mut self, method: MethodId, deadline: Instant) {
        self.calls.push_back(PendingCall { method, deadline });
    }

    /// Takes the oldest call off the list if `reply` answers it.
    pub(crate) fn answers(&mut self, reply: MethodId) -> bool {
        let answered = self
            .calls
            .front()
            .is_some_and(|call| call.method.replies().contains(&reply));
        if answered {
            self.calls.pop_front();
        }
        answered
    }

    /// The oldest call that is still open at `now` although its deadline has passed.
    pub(crate) fn overdue(&self, now: Instant) -> Option<MethodId> {
        self.calls
            .front()
            .filter(|call| call.deadline <= now)
            .map(|call| call.method)
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

    /// Whether the peer may name this tag in a confirm.
    pub(crate) fn may_confirm(&self, delivery_tag: u64) -> bool {
        self.published
            .is_some_and(|published| delivery_tag <= published)
    }

    /// Gives up on what was called.
    pub(crate) fn forget_calls(&mut self) {
        self.calls.clear();
    }

    pub(crate) fn is_closing(&self) -> bool {
        matches!(self.phase, ChannelPhase::Closing { .. })
    }

    /// Whether a method that a message follows may come now.
    pub(crate) fn expect_content(
        &mut self,
        frame: &Frame<'_>,
        method: MethodId,
    ) -> Result<(), Violation> {
        let due = self.phase == ChannelPhase::Open && self.assembly.is_idle();
        // A message that was not asked for has no one to go to.
        if due && (method != basic::GetOk::ID || self.answers(method)) {
            Ok(())
        } else {
            Err(Violation::unexpected(frame))
        }
    }

    /// Takes a content header; the message, if there is no body.
    pub(crate) fn header(
        &mut self,
        frame: &Frame<'_>,
        max_message: u32,
    ) -> Result<Option<Message>, Violation> {
        if self.is_closing() {
            Ok(None)
        } else {
            self.assembly.header(frame, max_message)
        }
    }

    /// Takes a part of a body; the message, if it was the last.
    pub(crate) fn body(&mut self, frame: &Frame<'_>) -> Result<Option<Message>, Violation> {
        if self.is_closing() {
            Ok(None)
        } else {
            self.assembly.body(frame)
        }
    }

    /// Enters the phase in which only the peer's close-ok is awaited.
    pub(crate) fn begin_close(&mut self, told: bool, deadline: Instant) {
        self.phase = ChannelPhase::Closing { told };
        self.assembly = Assembly::Idle;
        self.calls.clear();
        self.expect(channel::Close::ID, deadline);
    }
}
