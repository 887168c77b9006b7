//! What the handles that users hold share with the driver: one small lock each, never held across
//! I/O, user code or a wake.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::task::Waker;
use std::time::Duration;

use async_lock::OnceCell;
use bytes::Bytes;
use snowshoe_codec::{Method, ShortString};

use crate::channel::{RawInbox, RawReply};
use crate::client::CloseReport;
use crate::core::subscription::ConsumerSpec;
use crate::error::Error;
use crate::events::{ConnectionRole, Hub};
use crate::inbox::Inbox;
use crate::message::Message;
use crate::outbox::Outbox;
use crate::sync::{AtomicU64, Mutex, MutexGuard, Ordering};

/// Where the answer to a command goes. Dropped without one, it tells that the driver is gone.
pub(crate) type Answer<T> = async_channel::Sender<T>;

/// What is asked of the driver.
#[derive(Debug)]
pub(crate) enum Command {
    AddProducer(Arc<Outbox>),
    AddConsumer {
        inbox: Arc<Inbox>,
        spec: ConsumerSpec,
        dedicated: bool,
        started: Answer<Result<(), Error>>,
    },
    CancelConsumer(Arc<Inbox>),
    Call {
        method: Method,
        answer: Answer<Result<Method, Error>>,
    },
    OpenRaw {
        inbox: Arc<RawInbox>,
        answer: Answer<Result<(), Error>>,
    },
    Raw {
        inbox: Arc<RawInbox>,
        operation: RawOperation,
    },
    UpdateSecret {
        secret: Bytes,
        reason: ShortString,
    },
    Close {
        within: Option<Duration>,
        answer: Option<Answer<CloseReport>>,
    },
}

impl Command {
    /// Whether it begins something that a client which is being closed would only have to end.
    pub(crate) fn begins_something(&self) -> bool {
        matches!(
            self,
            Self::AddProducer(_)
                | Self::AddConsumer { .. }
                | Self::Call { .. }
                | Self::OpenRaw { .. }
        )
    }
}

/// What is done on a channel that a user drives.
#[derive(Debug)]
pub(crate) enum RawOperation {
    Call {
        method: Method,
        answer: Answer<Result<RawReply, Error>>,
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

/// A handle that has something for the driver to do.
#[derive(Debug)]
pub(crate) enum Ready {
    Producer(Arc<Outbox>),
    Consumer(Arc<Inbox>),
}

/// What a client and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    mailbox: Mutex<Mailbox>,
    pub(crate) hub: Hub,
    /// How the first connection went, once it is known.
    pub(crate) first: OnceCell<Result<(), Error>>,
    next_id: AtomicU64,
    pub(crate) seed: u64,
}

#[derive(Debug, Default)]
struct Mailbox {
    commands: VecDeque<Command>,
    ready: Vec<Ready>,
    /// Set only while the driver sleeps, so that a burst wakes it once.
    driver: Option<Waker>,
    /// The driver is gone: commands are dropped, which tells whoever waits for an answer.
    closed: bool,
}

impl Shared {
    pub(crate) fn new(seed: u64) -> Self {
        Self {
            mailbox: Mutex::default(),
            hub: Hub::default(),
            first: OnceCell::new(),
            next_id: AtomicU64::new(1),
            seed,
        }
    }

    /// A number that no other handle of the client has.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }

    /// Asks the driver for something; `false` if it is gone.
    pub(crate) fn command(&self, command: Command) -> bool {
        let mut mailbox = self.lock();
        if mailbox.closed {
            drop(mailbox);
            // The command drops here, without the lock: its answer may wake somebody.
            drop(command);
            return false;
        }
        mailbox.commands.push_back(command);
        wake(mailbox);
        true
    }

    /// Tells the driver that a handle has something for it.
    pub(crate) fn ready(&self, ready: Ready) {
        let mut mailbox = self.lock();
        if !mailbox.closed {
            mailbox.ready.push(ready);
            wake(mailbox);
        }
    }

    /// Takes everything that was asked for, in order. Whether there was anything.
    pub(crate) fn take(&self, commands: &mut VecDeque<Command>, ready: &mut Vec<Ready>) -> bool {
        let mut mailbox = self.lock();
        commands.append(&mut mailbox.commands);
        ready.append(&mut mailbox.ready);
        !commands.is_empty() || !ready.is_empty()
    }

    /// Registers the driver to be woken, unless something was asked for in the meantime.
    pub(crate) fn park(&self, waker: &Waker) -> bool {
        let mut mailbox = self.lock();
        let idle = mailbox.commands.is_empty() && mailbox.ready.is_empty();
        mailbox.driver = idle.then(|| waker.clone());
        idle
    }

    /// Registers nobody: the driver runs.
    pub(crate) fn unpark(&self) {
        self.lock().driver = None;
    }

    /// The driver is gone: nothing more can be asked for. What was, is handed back.
    pub(crate) fn close(&self) -> VecDeque<Command> {
        let mut mailbox = self.lock();
        mailbox.closed = true;
        mailbox.driver = None;
        mailbox.ready.clear();
        std::mem::take(&mut mailbox.commands)
    }

    fn lock(&self) -> MutexGuard<'_, Mailbox> {
        lock(&self.mailbox)
    }
}

fn wake(mut mailbox: MutexGuard<'_, Mailbox>) {
    let driver = mailbox.driver.take();
    drop(mailbox);
    if let Some(driver) = driver {
        driver.wake();
    }
}

/// Locks, also behind a panic: every state behind these locks is whole between any two statements
/// that could panic.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Which connection does what.
pub(crate) const MAIN: usize = 0;
pub(crate) const PUBLISHING: usize = 1;

pub(crate) fn role(link: usize) -> ConnectionRole {
    match link {
        MAIN => ConnectionRole::Main,
        PUBLISHING => ConnectionRole::Publishing,
        _ => ConnectionRole::Dedicated,
    }
}
