//! A consumer that is to give nothing for a while.

use std::fmt;
use std::sync::{Arc, Weak};

use crate::shared::command::Command;
use crate::shared::handle::{Handle, Shared};
use crate::shared::inbox::Inbox;

/// Lets a [`Consumer`](crate::Consumer) rest, and go on: for a service that is told that its host or its database is
/// ill. Clones are of the same consumer; it does not keep the client open.
///
/// A paused consumer begins with no message. What is at hand can be settled, handlers that run come to their end, and what
/// was only prefetched goes back to the queue, for other consumers to take, so that no
/// [consumer timeout](crate::Queue::consumer_timeout) runs. The broker is asked to send nothing until it goes on, and a
/// reconnect changes nothing about that. It can be stopped and dropped as ever.
///
/// Where the queue has a [single active consumer](crate::Queue::single_active_consumer), and was declared by this client,
/// another takes over once what is at hand is settled, in order.
///
/// The broker is asked for nothing, and what is prefetched stays with the consumer, where it could not go back: with a
/// [stream](crate::Queue::stream), which goes on at its place, and without acknowledgements; and where the queue was declared
/// by this client to be [deleted](crate::Queue::auto_delete) with its last consumer, or to
/// [expire](crate::Queue::expires). The client cannot know this of a queue that others have declared: such a one is
/// deleted while its only consumer is paused.
///
/// ```no_run
/// # async fn is_database_ill() -> bool { false }
/// # async fn handle(_: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
/// let mut orders = client.consumer("orders")?.start().await?;
/// let pause = orders.pause_handle();
/// let watching = async {
///     loop {
///         match is_database_ill().await {
///             true => pause.pause(),
///             false => pause.resume(),
///         }
///     }
/// };
/// let working = orders.process(4, |order| async move { handle(order.body()).await });
/// futures_lite::future::or(async { working.await; }, watching).await;
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct PauseHandle {
    inbox: Arc<Inbox>,
    shared: Weak<Shared>,
}

impl fmt::Debug for PauseHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PauseHandle")
            .field("queue", &self.inbox.queue())
            .field("is_paused", &self.is_paused())
            .finish_non_exhaustive()
    }
}

impl PauseHandle {
    pub(super) fn new(inbox: &Arc<Inbox>, client: &Handle) -> Self {
        Self {
            inbox: Arc::clone(inbox),
            shared: Arc::downgrade(client.shared()),
        }
    }

    /// Lets the consumer rest. One that does already goes on doing so.
    pub fn pause(&self) {
        self.set(true);
    }

    /// Lets the consumer go on.
    pub fn resume(&self) {
        self.set(false);
    }

    /// Whether it rests.
    pub fn is_paused(&self) -> bool {
        self.inbox.stopping().is_paused()
    }

    fn set(&self, is_paused: bool) {
        if !self.inbox.pause(is_paused) {
            return;
        }
        if let Some(shared) = self.shared.upgrade() {
            let inbox = Arc::clone(&self.inbox);
            shared.commands.push(Command::PauseConsumer(inbox));
        }
    }
}
