//! Handlers whose results are replies.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use super::{Consumer, Handled, handlers};
use crate::delivery::{Delivery, Outcome};
use crate::error::{PublishErrorReason, SendMessageError};
use crate::message::Message;
use crate::outcome::{DropReason, UnconfirmedReason};
use crate::replier::{Replied, Replier, ReplyAddress, Response};
use crate::shared::command::Command;
use crate::shared::handle::Handle;
use crate::shared::inbox::Inbox;
use crate::sync::{AtomicU64, Ordering};

/// How serving went, as [`Consumer::serve`] tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Served {
    /// How the handlers did.
    pub handled: Handled,
    /// How many replies the broker has taken.
    pub replied: u64,
    /// How many replies were for nobody, since the queue that they were to go to had gone.
    pub nobody_there: u64,
    /// How many replies were for requests that did not say where they are to go, or could not be read.
    pub not_asked: u64,
    /// How many replies could not be sent: the broker refused them, they cannot be written as they are, or the
    /// client was closed.
    pub failed: u64,
}

#[derive(Debug, Default)]
struct Counts {
    replied: AtomicU64,
    nobody_there: AtomicU64,
    not_asked: AtomicU64,
    failed: AtomicU64,
}

impl Counts {
    fn served(&self, handled: Handled) -> Served {
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed);
        Served {
            handled,
            replied: count(&self.replied),
            nobody_there: count(&self.nobody_there),
            not_asked: count(&self.not_asked),
            failed: count(&self.failed),
        }
    }
}

/// Sends replies, and sees what becomes of them.
struct Serving {
    replier: Replier,
    counts: Counts,
    client: Arc<Handle>,
    inbox: Arc<Inbox>,
}

impl Serving {
    /// Sends a reply, if it was asked for; what becomes of the request.
    async fn reply(&self, address: Option<ReplyAddress>, response: Response) -> Outcome {
        let message = match response {
            Response::Reply(message) => message,
            Response::Settle(outcome) => return outcome,
        };
        let counts = &self.counts;
        let replied = match address {
            Some(address) => self.send(address, message).await,
            None => Ok(Replied::NotAsked),
        };
        let (count, outcome) = match replied {
            Ok(Replied::Sent) => (&counts.replied, Outcome::done()),
            Ok(Replied::NobodyThere) => (&counts.nobody_there, Outcome::done()),
            Ok(Replied::NotAsked) => (&counts.not_asked, Outcome::done()),
            Err(error) if is_end_of_client(&error) || is_nacked(&error) && self.is_stopped() => {
                (&counts.failed, Outcome::release())
            }
            Err(error) => {
                self.client.command(Command::ReplyFailed {
                    inbox: Arc::clone(&self.inbox),
                    error: Box::new(error),
                });
                // What was asked for is done, and its reply would be refused the next time, too.
                (&counts.failed, Outcome::done())
            }
        };
        count.fetch_add(1, Ordering::Relaxed);
        outcome
    }

    /// Whether nobody waits any longer here than he must.
    fn is_stopped(&self) -> bool {
        self.inbox.stopping().is_asked()
    }

    /// Sends a reply, again and again where the broker is in trouble, as long as somebody may wait for it. To
    /// have the request done once more for it could do harm.
    async fn send(
        &self,
        address: ReplyAddress,
        message: Message,
    ) -> Result<Replied, SendMessageError> {
        let patience = address.expiration().map_or(PATIENCE, |it| it.min(PATIENCE));
        let (mut pause, mut paused) = (PAUSE, Duration::ZERO);
        loop {
            let replied = self.replier.send(address.clone(), message.clone()).await;
            let is_last = paused >= patience || self.is_stopped();
            if is_last || !replied.as_ref().is_err_and(is_nacked) {
                return replied;
            }
            let rest = pause.min(patience - paused);
            self.client.delay(rest).await;
            paused += rest;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }
}

/// Between two attempts to send a reply, which is twice as long after each.
const PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How long a reply is tried again, in pauses, if the request does not expire before: longer than a quorum queue is
/// without a leader, and not so long that whoever lets his answers be refused keeps handlers from everybody else.
const PATIENCE: Duration = Duration::from_secs(10);

/// Whether the broker refused responsibility for a reply, as a queue does that is full or without a leader for
/// now.
fn is_nacked(error: &SendMessageError) -> bool {
    match error {
        SendMessageError::NotAccepted(_) => false,
        SendMessageError::Unconfirmed(error) => error.reason == UnconfirmedReason::Nacked,
    }
}

/// Whether a reply was given up with the client. Somebody else may answer the request then.
fn is_end_of_client(error: &SendMessageError) -> bool {
    match error {
        SendMessageError::NotAccepted(error) => error.reason == PublishErrorReason::Closed,
        SendMessageError::Unconfirmed(error) => matches!(
            error.reason,
            UnconfirmedReason::Dropped(DropReason::Closed | DropReason::ConnectionGivenUp)
        ),
    }
}

/// Runs `handler` on every delivery, and sends what it returns to whoever asked.
pub(super) async fn run<H, F>(consumer: &mut Consumer, limit: usize, mut handler: H) -> Served
where
    H: FnMut(Delivery) -> F,
    F: Future,
    F::Output: Into<Response>,
{
    let serving = Arc::new(Serving {
        replier: Replier::new(Arc::clone(&consumer.client)),
        counts: Counts::default(),
        client: Arc::clone(&consumer.client),
        inbox: Arc::clone(&consumer.inbox),
    });
    let serve = |request: Delivery| {
        let address = ReplyAddress::of(&request);
        let serving = Arc::clone(&serving);
        let handling = handler(request);
        async move {
            let response = handling.await.into();
            serving.reply(address, response).await
        }
    };
    let handled = handlers::run(consumer, limit, serve).await;
    serving.counts.served(handled)
}
