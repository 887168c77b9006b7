//! Handlers whose results are replies.

use std::future::Future;
use std::sync::Arc;

use super::{Consumer, Handled, handlers};
use crate::delivery::{Delivery, Outcome};
use crate::error::{PublishErrorReason, SendMessageError};
use crate::outcome::UnconfirmedReason;
use crate::replier::{Replied, Replier, ReplyAddress, Response};
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
    /// How many replies could not be sent: the broker refused them, or the client was closed.
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

    /// Sends a reply, if it was asked for; what becomes of the request.
    async fn reply(
        &self,
        replier: &Replier,
        address: Option<ReplyAddress>,
        response: Response,
    ) -> Outcome {
        let message = match response {
            Response::Reply(message) => message,
            Response::Settle(outcome) => return outcome,
        };
        let replied = match address {
            Some(address) => replier.send(address, message).await,
            None => Ok(Replied::NotAsked),
        };
        let (count, outcome) = match replied {
            Ok(Replied::Sent) => (&self.replied, Outcome::done()),
            Ok(Replied::NobodyThere) => (&self.nobody_there, Outcome::done()),
            Ok(Replied::NotAsked) => (&self.not_asked, Outcome::done()),
            Err(error) if is_end_of_client(&error) => (&self.failed, Outcome::release()),
            // It would be refused the next time, too.
            Err(_) => (&self.failed, Outcome::done()),
        };
        count.fetch_add(1, Ordering::Relaxed);
        outcome
    }
}

/// Whether a reply was given up with the client. Somebody else may answer the request then.
fn is_end_of_client(error: &SendMessageError) -> bool {
    match error {
        SendMessageError::NotAccepted(error) => error.reason == PublishErrorReason::Closed,
        SendMessageError::Unconfirmed(error) => {
            matches!(error.reason, UnconfirmedReason::Dropped(_))
        }
    }
}

/// Runs `handler` on every delivery, and sends what it returns to whoever asked.
pub(super) async fn run<H, F>(consumer: &mut Consumer, limit: usize, mut handler: H) -> Served
where
    H: FnMut(Delivery) -> F,
    F: Future,
    F::Output: Into<Response>,
{
    let replier = Replier::new(Arc::clone(&consumer.client));
    let counts = Arc::<Counts>::default();
    let serve = |request: Delivery| {
        let address = ReplyAddress::of(&request);
        let (replier, counts) = (replier.clone(), Arc::clone(&counts));
        let handling = handler(request);
        async move {
            let response = handling.await.into();
            counts.reply(&replier, address, response).await
        }
    };
    let handled = handlers::run(consumer, limit, serve).await;
    counts.served(handled)
}
