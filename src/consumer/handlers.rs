//! Handlers that run side by side within one future.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};

use super::Consumer;
use crate::delivery::{Delivery, Disposition, Settler};
use crate::sync::{Mutex, WakerSlot, lock};

/// Runs `handler` on every delivery of `consumer`, at most `limit` at a time, until it ends and all
/// handlers are through.
pub(super) async fn run<H, F>(consumer: &mut Consumer, limit: usize, mut handler: H)
where
    H: FnMut(Delivery) -> F,
    F: Future,
    F::Output: Into<Disposition>,
{
    let mut slots: Vec<Slot<F>> = Vec::new();
    let mut free: Vec<usize> = Vec::new();
    let woken = Arc::new(Woken::default());
    let mut ended = false;
    std::future::poll_fn(|cx| {
        // Registered before anything is looked at, so that no wake in between is missed.
        for index in woken.take(cx.waker()) {
            if slots[index].poll() {
                free.push(index);
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
                    slots[index].running = Some((Box::pin(handler(delivery)), settler));
                    if slots[index].poll() {
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
    fn poll(&mut self) -> bool {
        // A wake can come late, when the handler is done or another has its place.
        let Some((handler, _)) = &mut self.running else {
            return false;
        };
        let Poll::Ready(result) = handler.as_mut().poll(&mut Context::from_waker(&self.waker))
        else {
            return false;
        };
        if let Some((_, Some(settler))) = self.running.take() {
            settler.settle(result.into());
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
