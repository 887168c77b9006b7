//! A handler that runs as a task of its own, and what waits for it where its consumer is.

use std::future::Future;
use std::panic::resume_unwind;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use super::slots::drop_quietly;
use crate::delivery::Outcome;
use crate::panics::caught;
use crate::sync::answer::{Answer, Answered, answer};
use crate::sync::{Mutex, WakerSlot, lock};

/// Splits a handler into the task that runs it, and what completes with its outcome. Dropping the latter cuts the
/// handler off.
pub(super) fn spawned<F>(handler: F) -> (impl Future<Output = ()> + Send, Outside)
where
    F: Future<Output: Into<Outcome>> + Send,
{
    let (answer, answered) = answer();
    let cut = Arc::new(Cut::default());
    let task = Inside {
        handler: Some(Box::pin(handler)),
        answer: Some(answer),
        cut: Arc::clone(&cut),
    };
    (task, Outside { answered, cut })
}

/// Whether a handler is cut off.
#[derive(Default)]
struct Cut {
    state: Mutex<CutState>,
}

#[derive(Default)]
struct CutState {
    is_cut: bool,
    waker: WakerSlot,
}

/// The handler, wherever it runs.
struct Inside<F> {
    handler: Option<Pin<Box<F>>>,
    answer: Option<Answer<Result<Outcome, String>>>,
    cut: Arc<Cut>,
}

impl<F> Inside<F> {
    fn is_cut(&self, cx: &Context<'_>) -> bool {
        let mut state = lock(&self.cut.state);
        let before = state.waker.replace(cx.waker());
        let is_cut = state.is_cut;
        drop(state);
        // Without the lock: with it a task may go.
        drop(before);
        is_cut
    }

    /// Lets the handler go, before it is said how it ended: what it holds is free by then.
    fn end(&mut self, result: Option<Result<Outcome, String>>) {
        if let Some(handler) = self.handler.take() {
            drop_quietly(handler);
        }
        if let (Some(answer), Some(result)) = (self.answer.take(), result) {
            _ = answer.send(result);
        }
    }
}

impl<F: Future<Output: Into<Outcome>>> Future for Inside<F> {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.is_cut(cx) {
            self.end(None);
        }
        let Some(handler) = &mut self.handler else {
            return Poll::Ready(());
        };
        let result = match caught(|| handler.as_mut().poll(cx).map(Into::into)) {
            Ok(Poll::Pending) => return Poll::Pending,
            Ok(Poll::Ready(outcome)) => Ok(outcome),
            Err(message) => Err(message),
        };
        self.end(Some(result));
        Poll::Ready(())
    }
}

impl<F> Drop for Inside<F> {
    fn drop(&mut self) {
        // The executor is gone, or has given it up.
        self.end(None);
    }
}

/// How long a message waits whose task was dropped.
const DROPPED: Duration = Duration::from_secs(1);

/// Waits for the handler.
pub(super) struct Outside {
    answered: Answered<Result<Outcome, String>>,
    cut: Arc<Cut>,
}

impl Future for Outside {
    type Output = Outcome;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Outcome> {
        Pin::new(&mut self.answered)
            .poll(cx)
            .map(|answer| match answer {
                Some(Ok(outcome)) => outcome,
                // The hook has told it where it happened.
                Some(Err(message)) => resume_unwind(Box::new(message)),
                // Nobody has come to an end with it, and may not the next time.
                None => Outcome::retry_after(DROPPED).because("its task was dropped"),
            })
    }
}

impl Drop for Outside {
    fn drop(&mut self) {
        let mut state = lock(&self.cut.state);
        state.is_cut = true;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}
