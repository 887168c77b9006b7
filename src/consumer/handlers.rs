//! Handlers that run side by side within one future.

mod slots;
mod spawned;
mod woken;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::Poll;

use self::slots::Slots;
use self::spawned::spawned;
use super::Consumer;
use super::retrying::Retrier;
use crate::delivery::{Delivery, Outcome};
use crate::shared::command::Command;
use crate::shared::handle::Handle;
use crate::shared::inbox::{Asked, Inbox};

/// How the handlers of a consumer did, as [`Consumer::process`] tells.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct Handled {
    /// How many came to their end, whatever they returned.
    pub finished: u64,
    /// How many panicked, which are not among the finished.
    pub panicked: u64,
    /// How many were dropped, since their time was over when the consumer was stopped.
    pub cut_off: u64,
}

/// What the handlers of a consumer have in common; its inbox knows of them for as long as it lives.
struct Presence {
    inbox: Arc<Inbox>,
    client: Arc<Handle>,
    retrier: Option<Arc<Retrier>>,
    handled: Handled,
}

impl Presence {
    fn new(consumer: &Consumer) -> Self {
        consumer.inbox.stopping().begin_handlers();
        let inbox = Arc::clone(&consumer.inbox);
        consumer.client.command(Command::BeginHandlers(inbox));
        Self {
            inbox: Arc::clone(&consumer.inbox),
            client: Arc::clone(&consumer.client),
            retrier: consumer.retrier.clone(),
            handled: Handled::default(),
        }
    }

    /// What a handler came to, who may have panicked.
    fn outcome(&mut self, result: Result<Outcome, String>) -> Outcome {
        match result {
            Ok(outcome) => {
                self.handled.finished += 1;
                outcome
            }
            Err(message) => {
                self.handled.panicked += 1;
                let outcome = Outcome::retry().because(format_args!("a panic: {message}"));
                let inbox = Arc::clone(&self.inbox);
                let panicked = Command::HandlerPanicked { inbox, message };
                self.client.command(panicked);
                outcome
            }
        }
    }
}

impl Drop for Presence {
    fn drop(&mut self) {
        self.inbox.end_handlers();
    }
}

/// Runs `handler` on every delivery of `consumer`, at most `limit` at a time, until it ends and all
/// handlers are through, or cut off.
pub(super) async fn run<H, F>(consumer: &mut Consumer, limit: usize, mut handler: H) -> Handled
where
    H: FnMut(Delivery) -> F,
    F: Future,
    F::Output: Into<Outcome>,
{
    let mut presence = Presence::new(consumer);
    // Dropped before the presence, which a close waits for: what they hold goes back in time.
    let mut slots: Slots<F> = Slots::default();
    let mut ended = false;
    std::future::poll_fn(|cx| {
        // Registered before anything is looked at, so that no wake in between is missed.
        slots.poll_woken(cx.waker(), &mut presence);
        match presence.inbox.stopping().asked(cx.waker()) {
            Asked::Nothing => {}
            Asked::Stop => {
                // A consumer without acknowledgements has still to hand out what it has received.
                ended |= consumer.is_stopped();
                slots.end_rests();
            }
            Asked::CutOff => {
                consumer.is_stopped();
                slots.cut_off(&mut presence);
                return Poll::Ready(());
            }
        }
        for _ in 0..BUDGET {
            if ended || slots.working() >= limit {
                break;
            }
            match consumer.poll_next_delivery(cx) {
                Poll::Ready(Some(delivery)) => slots.begin(delivery, &mut handler, &mut presence),
                Poll::Ready(None) => ended = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        if ended && slots.are_free() {
            return Poll::Ready(());
        }
        if !ended && slots.working() < limit {
            // The budget is spent, and others want to run too.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
    presence.handled
}

/// The same, with each handler in a task that `spawn` is given.
pub(super) async fn run_spawned<S, H, F>(
    consumer: &mut Consumer,
    limit: usize,
    mut spawn: S,
    mut handler: H,
) -> Handled
where
    S: FnMut(Task),
    H: FnMut(Delivery) -> F,
    F: Future<Output: Into<Outcome>> + Send + 'static,
{
    let handler = |delivery| {
        let (task, outcome) = spawned(handler(delivery));
        spawn(Box::pin(task));
        outcome
    };
    run(consumer, limit, handler).await
}

/// What is spawned.
pub(super) type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// How many handlers are started in one go before other tasks get their turn.
const BUDGET: usize = 128;
