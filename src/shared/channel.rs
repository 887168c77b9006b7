use std::collections::VecDeque;
use std::fmt;
use std::sync::OnceLock;
use std::task::Poll;

use snowshoe_codec::{Event as CodecEvent, Got, Method, ShortString};

use super::place::LinkIndex;
use crate::core::session::ChannelKey;
use crate::error::Error;
use crate::events::ChannelEvent;
use crate::message::Message;
use crate::sync::answer::Answer;
use crate::sync::{Mutex, WakerSlot, lock};

/// What is done on a channel that a user drives.
#[derive(Debug)]
pub(crate) enum ChannelOperation {
    Call {
        method: Method,
        answer: Answer<Result<ChannelReply, Error>>,
    },
    Send {
        method: Method,
        answer: Answer<Result<(), Error>>,
    },
    Publish {
        exchange: ShortString,
        routing_key: ShortString,
        mandatory: bool,
        message: Message,
        answer: Answer<Result<Option<u64>, Error>>,
    },
    Close,
}

impl ChannelOperation {
    /// The method to send, unless it is a publish.
    pub(crate) fn method(&self) -> Option<&Method> {
        match self {
            Self::Call { method, .. } | Self::Send { method, .. } => Some(method),
            Self::Publish { .. } | Self::Close => None,
        }
    }

    /// Whether nobody waits for its answer any more, so that it is not to be sent: a basic.get would take
    /// a message that nobody reads.
    pub(crate) fn is_given_up(&self) -> bool {
        match self {
            Self::Call { answer, .. } => answer.is_closed(),
            Self::Send { answer, .. } => answer.is_closed(),
            Self::Publish { answer, .. } => answer.is_closed(),
            Self::Close => false,
        }
    }
}

/// The answer to a call on a channel.
#[derive(Debug)]
pub(crate) enum ChannelReply {
    Method(Method),
    Got(Got),
}

/// What a channel that a user drives shares with the driver.
pub(crate) struct ChannelInbox {
    /// The connection that it is on.
    link: LinkIndex,
    state: Mutex<State>,
    key: OnceLock<ChannelKey>,
}

#[derive(Default)]
struct State {
    events: VecDeque<ChannelEvent>,
    /// What they take.
    bytes: usize,
    closed: Option<Error>,
    waker: WakerSlot,
}

impl fmt::Debug for ChannelInbox {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelInbox")
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

impl ChannelInbox {
    pub(crate) fn new(link: LinkIndex) -> Self {
        Self {
            link,
            state: Mutex::default(),
            key: OnceLock::new(),
        }
    }

    pub(crate) fn link(&self) -> LinkIndex {
        self.link
    }

    /// The session's key for it, once the driver has taken it in.
    pub(crate) fn key(&self) -> Option<ChannelKey> {
        self.key.get().copied()
    }

    /// The driver takes it in; it does so once.
    pub(crate) fn register(&self, key: ChannelKey) {
        _ = self.key.set(key);
    }

    /// The next event; `None` once the channel is closed.
    pub(crate) async fn next_event(&self) -> Option<ChannelEvent> {
        std::future::poll_fn(|cx| {
            let mut state = lock(&self.state);
            if let Some(event) = state.events.pop_front() {
                state.bytes -= event.cost();
                return Poll::Ready(Some(event));
            }
            if state.closed.is_some() {
                return Poll::Ready(None);
            }
            let before = state.waker.replace(cx.waker());
            drop(state);
            // Without the lock: with it a task may go, and with that the channel's handles.
            drop(before);
            Poll::Pending
        })
        .await
    }

    /// Why the channel is closed, if it is.
    pub(crate) fn closed(&self) -> Option<Error> {
        lock(&self.state).closed.clone()
    }

    /// Puts an event in. Whether there was room for it: one that is larger than all of it can wait alone.
    pub(crate) fn push(&self, event: CodecEvent) -> bool {
        let event = match event {
            CodecEvent::Delivery { delivery, .. } => ChannelEvent::Delivery(delivery),
            CodecEvent::Returned { returned, .. } => ChannelEvent::Returned(returned),
            CodecEvent::Oversized { oversized, .. } => ChannelEvent::Oversized(oversized),
            CodecEvent::Confirm { confirm, .. } => ChannelEvent::Confirm(confirm),
            CodecEvent::ConsumerCancelled { consumer_tag, .. } => {
                ChannelEvent::ConsumerCancelled { consumer_tag }
            }
            CodecEvent::Flow { active, .. } => ChannelEvent::Flow { active },
            _ => return true,
        };
        let mut event = Some(event);
        self.change(|state| {
            let cost = event.as_ref().map_or(0, ChannelEvent::cost);
            let bytes = state.bytes.saturating_add(cost);
            if bytes <= CAPACITY_BYTES || state.events.is_empty() {
                state.bytes = bytes;
                state.events.extend(event.take());
            }
        });
        event.is_none()
    }

    pub(crate) fn close(&self, error: Error) {
        let mut error = Some(error);
        self.change(|state| {
            if state.closed.is_none() {
                state.closed = error.take();
            }
        });
    }

    /// What is not taken of it is dropped by whoever asks for the change, without the lock.
    fn change(&self, change: impl FnOnce(&mut State)) {
        let mut state = lock(&self.state);
        change(&mut state);
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

/// What may wait to be taken.
const CAPACITY_BYTES: usize = 64 << 20;
