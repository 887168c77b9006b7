use std::fmt;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use super::board::Board;
use super::command::{Command, CommandQueue};
use super::doorbell::Doorbell;
use super::hub::Hub;
use super::place::LinkIndex;
use crate::error::Error;
use crate::message::Message;
use crate::outcome::CloseReport;
use crate::runtime::Runtime;
use crate::settings::Settings;
use crate::sync::answer::{Answer, Answered, answer};
use crate::sync::{AtomicU64, Mutex, Once, Ordering, lock};

/// What a client and its driver share.
#[derive(Debug)]
pub(crate) struct Shared {
    pub(crate) commands: CommandQueue,
    pub(crate) doorbell: Arc<Doorbell>,
    pub(crate) hub: Arc<Hub>,
    pub(crate) board: Board,
    /// How the first connection went, once it is known.
    pub(crate) first: Once<Result<(), Error>>,
    next_id: AtomicU64,
    pub(crate) seed: u64,
    /// Whether the user has given the seed.
    pub(crate) is_seeded: bool,
    /// On which connection the client publishes.
    pub(crate) publishes_on: LinkIndex,
    /// What handles begin with.
    pub(crate) settings: Box<Settings>,
    /// Messages that were accepted and given up.
    left: Mutex<Vec<Message>>,
    /// What was left, once the client has ended: for whoever closes it, whenever and however often.
    pub(crate) ended: Once<CloseReport>,
}

impl Shared {
    pub(crate) fn new(seed: u64, publishes_on: LinkIndex, settings: Box<Settings>) -> Self {
        let doorbell = Arc::new(Doorbell::default());
        Self {
            commands: CommandQueue::new(Arc::clone(&doorbell)),
            doorbell,
            hub: Arc::default(),
            board: Board::default(),
            first: Once::new(),
            next_id: AtomicU64::new(1),
            seed,
            is_seeded: false,
            publishes_on,
            settings,
            left: Mutex::default(),
            ended: Once::new(),
        }
    }

    /// Messages of one producer were given up.
    pub(crate) fn leave(&self, messages: Vec<Message>) {
        lock(&self.left).extend(messages);
    }

    /// The client has ended, and nothing more is given up.
    pub(crate) fn end(&self) {
        let undelivered = std::mem::take(&mut *lock(&self.left));
        // Only the driver ends it, and does so once.
        self.ended.tell(CloseReport { undelivered });
    }

    /// A number that no other handle of the client has.
    pub(crate) fn next_id(&self) -> u64 {
        self.next_id.fetch_add(1, Ordering::Relaxed)
    }
}

/// What keeps a client going: all its handles have it, and the last one closes the client.
pub(crate) struct Handle {
    shared: Arc<Shared>,
    clock: Arc<dyn Runtime>,
}

impl fmt::Debug for Handle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Handle").finish_non_exhaustive()
    }
}

impl Handle {
    pub(crate) fn new(shared: Arc<Shared>, clock: Arc<dyn Runtime>) -> Self {
        Self { shared, clock }
    }

    pub(crate) fn shared(&self) -> &Arc<Shared> {
        &self.shared
    }

    /// Asks the driver for something; `false` if it is gone.
    pub(crate) fn command(&self, command: Command) -> bool {
        self.shared.commands.push(command)
    }

    /// Asks the driver, and waits for its answer.
    pub(crate) async fn ask<T>(
        &self,
        command: impl FnOnce(Answer<T>) -> Command,
    ) -> Result<T, Error> {
        let (answer, answered) = answer();
        self.command(command(answer));
        answered.await.ok_or(Error::Closed)
    }

    /// The time of day, by the client's clock.
    pub(crate) fn time_of_day(&self) -> SystemTime {
        self.clock.time_of_day()
    }

    /// Completes after this time, or with the driver.
    pub(crate) fn delay(&self, time: Duration) -> Answered<()> {
        let (answer, answered) = answer();
        self.command(Command::Delay { time, answer });
        answered
    }
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.command(Command::Close { within: None });
    }
}
