//! A consumer that is stopped from elsewhere.

use std::fmt;
use std::sync::{Arc, Weak};
use std::time::Duration;

use crate::shared::command::Command;
use crate::shared::handle::{Handle, Shared};
use crate::shared::inbox::{Asked, Inbox};

/// Stops a [`Consumer`](crate::Consumer) from elsewhere: it begins with no more messages, and those at hand
/// come to their end. Clones stop the same consumer; it does not keep the client open.
///
/// [`Consumer::process`](crate::Consumer::process) drains: its handlers come to their end, what they return
/// settles their messages, and then it returns. [`next`](crate::Consumer::next) gives `None` from now on, and
/// what it has given before can be settled as ever. What was only prefetched goes back to the queue; a
/// consumer without acknowledgements hands it out, since it would be lost.
///
/// ```no_run
/// use std::time::Duration;
///
/// # async fn handle(_: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
/// let mut orders = client.consumer("orders")?.start().await?;
/// let stop = orders.stop_handle();
/// std::thread::spawn(move || {
///     std::io::stdin().read_line(&mut String::new()).ok();
///     stop.stop_within(Duration::from_secs(20));
/// });
/// let handled = orders.process(4, |order| async move { handle(order.body()).await }).await;
/// println!("{} done", handled.finished);
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct StopHandle {
    inbox: Arc<Inbox>,
    shared: Weak<Shared>,
}

impl fmt::Debug for StopHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StopHandle")
            .field("queue", &self.inbox.queue())
            .finish_non_exhaustive()
    }
}

impl StopHandle {
    pub(super) fn new(inbox: &Arc<Inbox>, client: &Handle) -> Self {
        Self {
            inbox: Arc::clone(inbox),
            shared: Arc::downgrade(client.shared()),
        }
    }

    /// Stops the consumer. Its handlers have all the time that they need.
    pub fn stop(&self) {
        self.inbox.stop(Asked::Stop);
    }

    /// Stops the consumer. Handlers that are not through within this time are dropped, and their messages go
    /// back to the queue as by [`Disposition::Release`](crate::Disposition::Release). Of several times the
    /// one that is over first counts; where the client has ended, there is none left.
    pub fn stop_within(&self, time: Duration) {
        self.stop();
        let inbox = Arc::clone(&self.inbox);
        let within = Command::CutOffHandlers {
            inbox,
            within: time,
        };
        let is_told = (self.shared.upgrade()).is_some_and(|it| it.commands.push(within));
        if !is_told {
            self.inbox.stop(Asked::CutOff);
        }
    }

    /// Whether it was stopped, by this handle or another, or by the close of its client.
    pub fn is_stopped(&self) -> bool {
        self.inbox.stopping().is_asked()
    }
}
