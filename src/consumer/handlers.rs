//! Handlers that run side by side within one future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::Consumer;
use crate::delivery::{Delivery, Disposition, Settler};
use crate::panics::caught;
use crate::shared::command::Command;
use crate::shared::handle::Handle;
use crate::shared::inbox::{Asked, Inbox};
use crate::sync::{Mutex, WakerSlot, lock};

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
            handled: Handled::default(),
        }
    }

    /// A handler has panicked: what it worked on has failed.
    fn has_panicked(&mut self, message: String, settler: Option<Settler>) {
        self.handled.panicked += 1;
        if let Some(settler) = settler {
            settler.settle(Disposition::Retry);
        }
        let inbox = Arc::clone(&self.inbox);
        let panicked = Command::HandlerPanicked { inbox, message };
        self.client.command(panicked);
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
    F::Output: Into<Disposition>,
{
    let mut presence = Presence::new(consumer);
    // Dropped before the presence, which a close waits for: what they hold goes back in time.
    let mut slots: Vec<Slot<F>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let woken = Arc::new(Woken::default());
    let mut ended = false;
    std::future::poll_fn(|cx| {
        // Registered before anything is looked at, so that no wake in between is missed.
        for index in woken.take(cx.waker()) {
            if slots[index].poll(&mut presence) {
                free.push(index);
            }
        }
        match presence.inbox.stopping().asked(cx.waker()) {
            Asked::Nothing => {}
            // A consumer without acknowledgements has still to hand out what it has received.
            Asked::Stop => ended |= consumer.is_stopped(),
            Asked::CutOff => {
                consumer.is_stopped();
                let running = slots.iter_mut().filter_map(|slot| slot.running.take());
                for (handler, settler) in running {
                    presence.handled.cut_off += 1;
                    drop_quietly(handler);
                    if let Some(settler) = settler {
                        settler.settle(Disposition::Release);
                    }
                }
                return Poll::Ready(());
            }
        }
        for _ in 0..BUDGET {
            if ended || slots.len() - free.len() >= limit {
                break;
            }
            match consumer.poll_next_delivery(cx) {
                Poll::Ready(Some(delivery)) => {
                    let index = free.pop().unwrap_or_else(|| {
                        slots.push(Slot::new(slots.len(), &woken));
                        slots.len() - 1
                    });
                    let settler = delivery.settler();
                    let is_over = match caught(|| Box::pin(handler(delivery))) {
                        Ok(future) => {
                            slots[index].running = Some((future, settler));
                            slots[index].poll(&mut presence)
                        }
                        Err(message) => {
                            presence.has_panicked(message, settler);
                            true
                        }
                    };
                    if is_over {
                        free.push(index);
                    }
                }
                Poll::Ready(None) => ended = true,
                Poll::Pending => return Poll::Pending,
            }
        }
        if ended && slots.len() == free.len() {
            return Poll::Ready(());
        }
        if !ended && slots.len() - free.len() < limit {
            // The budget is spent, and others want to run too.
            cx.waker().wake_by_ref();
        }
        Poll::Pending
    })
    .await;
    presence.handled
}

/// Drops a handler in the middle of its work, and what it holds, which may panic as it goes.
fn drop_quietly<F>(handler: Pin<Box<F>>) {
    _ = caught(|| drop(handler));
}

/// How many handlers are started in one go before other tasks get their turn.
const BUDGET: usize = 128;

/// A place for one handler at a time, and the waker by which it says that it can go on.
struct Slot<F> {
    running: Option<(Pin<Box<F>>, Option<Settler>)>,
    waker: Waker,
}

impl<F> Slot<F>
where
    F: Future,
    F::Output: Into<Disposition>,
{
    fn new(index: usize, woken: &Arc<Woken>) -> Self {
        let waker = Waker::from(Arc::new(SlotWaker {
            index,
            woken: Arc::clone(woken),
        }));
        Self {
            running: None,
            waker,
        }
    }

    /// Whether the handler came to its end just now.
    fn poll(&mut self, presence: &mut Presence) -> bool {
        // A wake can come late, when the handler is done or another has its place.
        let Some((handler, _)) = &mut self.running else {
            return false;
        };
        let cx = &mut Context::from_waker(&self.waker);
        let result = caught(|| handler.as_mut().poll(cx).map(Into::into));
        if matches!(result, Ok(Poll::Pending)) {
            return false;
        }
        let Some((handler, settler)) = self.running.take() else {
            return true;
        };
        drop_quietly(handler);
        match result {
            Ok(Poll::Ready(disposition)) => {
                presence.handled.finished += 1;
                if let Some(settler) = settler {
                    settler.settle(disposition);
                }
            }
            Ok(Poll::Pending) => {}
            Err(message) => presence.has_panicked(message, settler),
        }
        true
    }
}

/// Which handlers can go on, so that only those are polled.
#[derive(Default)]
struct Woken {
    state: Mutex<WokenState>,
}

#[derive(Default)]
struct WokenState {
    indices: Vec<usize>,
    waker: WakerSlot,
}

impl Woken {
    /// Takes the handlers that can go on; from now on `waker` is woken for others.
    fn take(&self, waker: &Waker) -> Vec<usize> {
        let mut state = lock(&self.state);
        let before = state.waker.replace(waker);
        let indices = std::mem::take(&mut state.indices);
        drop(state);
        // Without the lock: with it a task may go, and wake a handler as it does.
        drop(before);
        indices
    }
}

struct SlotWaker {
    index: usize,
    woken: Arc<Woken>,
}

impl Wake for SlotWaker {
    fn wake(self: Arc<Self>) {
        let mut state = lock(&self.woken.state);
        if !state.indices.contains(&self.index) {
            state.indices.push(self.index);
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests {
    use super::*;
    use crate::sync::last;

    #[test]
    fn a_task_that_goes_when_another_runs_its_handlers_can_wake_one() {
        last::in_time(|| {
            let woken = Arc::new(Woken::default());
            let handler = Waker::from(Arc::new(SlotWaker {
                index: 7,
                woken: Arc::clone(&woken),
            }));
            assert!(woken.take(&last::waker(|| handler.wake())).is_empty());
            assert!(woken.take(Waker::noop()).is_empty());
            assert_eq!(woken.take(Waker::noop()), [7]);
        });
    }
}
