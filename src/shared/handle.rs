use std::fmt;
use std::sync::Arc;

use async_lock::OnceCell;

use super::command::{Command, CommandQueue};
use super::doorbell::Doorbell;
use super::hub::Hub;
use crate::error::Error;
use crate::sync::{AtomicU64, Ordering};

/// What a client and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) commands: CommandQueue,
    pub(crate) doorbell: Arc<Doorbell>,
    pub(crate) hub: Arc<Hub>,
    /// How the first connection went, once it is known.
    pub(crate) first: OnceCell<Result<(), Error>>,
    next_id: AtomicU64,
    pub(crate) seed: u64,
}

impl Shared {
    pub(crate) fn new(seed: u64) -> Self {
        let doorbell = Arc::new(Doorbell::default());
        Self {
            commands: CommandQueue::new(Arc::clone(&doorbell)),
            doorbell,
            hub: Arc::default(),
            first: OnceCell::new(),
            next_id: AtomicU64::new(1),
            seed,
        }
    }

    /// A number that no other handle of the client has.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// What keeps a client going: all its handles have it, and the last one closes the client.
pub(crate) struct Handle {
    shared: Arc<Shared>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Asks the driver for something; `false` if it is gone.
    pub(crate) fn command(&self, command: Command) -> bool {
        self.shared.commands.push(command)
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.command(Command::Close {
            within: None,
            answer: None,
        });
    }
}
