use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use snowshoe_codec::{Content, Method, ShortString};

use super::channel::{ChannelInbox, ChannelOperation};
use super::doorbell::{Doorbell, Ready};
use super::inbox::Inbox;
use super::outbox::Outbox;
use crate::core::requests::{self, Request, RequestId};
use crate::core::subscription::ConsumerSpec;
use crate::declare::Declaration;
use crate::error::{Error, RequestError, SendMessageError};
use crate::sync::answer::Answer;
use crate::sync::{Mutex, lock};

/// What is asked of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    AddProducer(Arc<Outbox>),
    /// The same, for one whose messages are held until something is declared.
    DeclareFor(Arc<Outbox>, Declaration),
    AddConsumer {
        inbox: Arc<Inbox>,
        spec: ConsumerSpec,
        dedicated: bool,
        /// What its prefetch was, where it is to have more handlers than that.
        raised_from: Option<u16>,
        started: Answer<Result<(), Error>>,
    },
    CancelConsumer(Arc<Inbox>),
    /// A consumer is to receive nothing for now, or to go on; its inbox says which.
    PauseConsumer(Arc<Inbox>),
    /// Handlers of a consumer run, for whose end a close waits.
    BeginHandlers(Arc<Inbox>),
    /// There is so much time for the handlers of a consumer that is to stop.
    CutOffHandlers {
        inbox: Arc<Inbox>,
        within: Duration,
    },
    /// Somebody waits for so long.
    Delay {
        time: Duration,
        answer: Answer<()>,
    },
    /// A handler of a consumer has panicked, with this message.
    HandlerPanicked {
        inbox: Arc<Inbox>,
        message: String,
    },
    /// A reply to a request of a consumer cannot be sent.
    ReplyFailed {
        inbox: Arc<Inbox>,
        error: Box<SendMessageError>,
    },
    /// A consumer has taken a message that no handler of values can be given, for this reason.
    Undecodable {
        inbox: Arc<Inbox>,
        reason: String,
    },
    Call {
        method: Method,
        answer: Answer<Result<Method, Error>>,
    },
    OpenChannel {
        inbox: Arc<ChannelInbox>,
        answer: Answer<Result<(), Error>>,
    },
    Channel {
        inbox: Arc<ChannelInbox>,
        operation: ChannelOperation,
    },
    AddRequester {
        id: RequesterId,
        settings: requests::Settings,
        started: Answer<Result<(), Error>>,
    },
    RemoveRequester(RequesterId),
    Request {
        requester: RequesterId,
        id: RequestId,
        request: Box<Request>,
        answer: Answer<Result<Content, RequestError>>,
    },
    /// Nobody waits for the answer to a request any more.
    WithdrawRequest {
        requester: RequesterId,
        id: RequestId,
    },
    UpdateSecret {
        secret: Bytes,
        reason: ShortString,
    },
    Close {
        within: Option<Duration>,
    },
}

/// A requester, by a number that no other handle of the client has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct RequesterId(pub(crate) u64);

/// What was asked of the driver and not taken yet.
#[derive(Debug)]
pub(crate) struct CommandQueue {
    queue: Mutex<Queue>,
    doorbell: Arc<Doorbell>,
}

#[derive(Debug, Default)]
struct Queue {
    commands: VecDeque<Command>,
    /// The driver is gone: commands are dropped, which tells whoever waits for an answer.
    closed: bool,
}

impl CommandQueue {
    pub(crate) fn new(doorbell: Arc<Doorbell>) -> Self {
        Self {
            queue: Mutex::default(),
            doorbell,
        }
    }

    /// Asks the driver for something; `false` if it is gone.
    pub(crate) fn push(&self, command: Command) -> bool {
        let mut queue = lock(&self.queue);
        if queue.closed {
            drop(queue);
            // The command drops here, without the lock: its answer may wake somebody.
            drop(command);
            return false;
        }
        queue.commands.push_back(command);
        drop(queue);
        self.doorbell.ring_for_commands();
        true
    }

    /// Takes everything that was asked for, and who has something to do, each in order. Whether there
    /// was anything.
    pub(crate) fn take(&self, commands: &mut VecDeque<Command>, ready: &mut Vec<Ready>) -> bool {
        if self.doorbell.answer(ready) {
            commands.append(&mut lock(&self.queue).commands);
        }
        !commands.is_empty() || !ready.is_empty()
    }

    /// The driver is gone: nothing more can be asked for. What was, is handed back.
    pub(crate) fn close(&self) -> VecDeque<Command> {
        self.doorbell.close();
        let mut queue = lock(&self.queue);
        queue.closed = true;
        std::mem::take(&mut queue.commands)
    }
}
