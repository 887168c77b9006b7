//! Places for handlers, and for what follows them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use snowshoe_codec as codec;

use super::Presence;
use super::woken::Woken;
use crate::consumer::retrying::{Publishing, Retrier, Verdict};
use crate::delivery::{Claim, Delivery, Disposition, Outcome, What};
use crate::panics::caught;
use crate::sync::answer::Answered;

/// Places for handlers, each for one at a time, and those of them that are free.
pub(super) struct Slots<F> {
    slots: Vec<Slot<F>>,
    free: Vec<usize>,
    /// How many hold messages that wait for a moment, while nobody works on them.
    resting: usize,
    woken: Arc<Woken>,
}

struct Slot<F> {
    work: Work<F>,
    is_free: bool,
    /// What says that it can go on.
    waker: Waker,
}

enum Work<F> {
    None,
    /// A handler runs; there is no task where there is nothing to settle.
    Handler(Pin<Box<F>>, Option<Task>),
    /// A copy of its message is on its way.
    Publishing(Publishing, Claim),
    /// The same, which has failed and is tried again from time to time.
    Stuck(Publishing, Claim),
    /// Its message waits for a moment, and is settled so then.
    Resting(Answered<()>, Disposition, Claim),
}

/// What is left to do for a message that a handler has.
struct Task {
    claim: Claim,
    /// What of it a policy looks at.
    delivery: Option<codec::Delivery>,
    /// How long it rests before it goes back.
    rest: Duration,
}

/// What a message that failed before rests at most in the client, where there is no policy.
const LONGEST_REST: Duration = Duration::from_secs(1);
/// What it rests the first time.
const FIRST_REST: Duration = Duration::from_millis(100);
/// What a handler can ask for at most, where there is no policy.
const LONGEST_WAIT: Duration = Duration::from_secs(60);

impl<F> Default for Slots<F> {
    fn default() -> Self {
        Self {
            slots: Vec::new(),
            free: Vec::new(),
            resting: 0,
            woken: Arc::default(),
        }
    }
}

impl<F> Slots<F>
where
    F: Future,
    F::Output: Into<Outcome>,
{
    /// How many work on a message.
    pub(super) fn working(&self) -> usize {
        self.slots.len() - self.free.len() - self.resting
    }

    pub(super) fn are_free(&self) -> bool {
        self.slots.len() == self.free.len()
    }

    /// Polls those that can go on.
    pub(super) fn poll_woken(&mut self, waker: &Waker, presence: &mut Presence) {
        for index in self.woken.take(waker) {
            self.poll(index, presence);
        }
    }

    /// Lets a handler begin.
    pub(super) fn begin<H>(&mut self, delivery: Delivery, handler: &mut H, presence: &mut Presence)
    where
        H: FnMut(Delivery) -> F,
    {
        let index = self.free.pop().unwrap_or_else(|| {
            let waker = self.woken.waker(self.slots.len());
            self.slots.push(Slot {
                work: Work::None,
                is_free: false,
                waker,
            });
            self.slots.len() - 1
        });
        self.slots[index].is_free = false;
        let retrier = presence.retrier.as_ref();
        let task = Task::new(&delivery, retrier.is_some());
        let before = task.as_ref().and_then(|task| task.before(retrier));
        if let (Some(verdict), Some(task)) = (before, &task) {
            self.follow(index, verdict, task.claim.clone());
        } else {
            match caught(|| Box::pin(handler(delivery))) {
                Ok(future) => self.slots[index].work = Work::Handler(future, task),
                Err(message) => {
                    let outcome = presence.outcome(Err(message));
                    self.conclude(index, outcome, task, presence);
                }
            }
        }
        self.poll(index, presence);
    }

    /// Lets one go on for as long as it can.
    fn poll(&mut self, index: usize, presence: &mut Presence) {
        loop {
            let Slot { work, waker, .. } = &mut self.slots[index];
            let cx = &mut Context::from_waker(waker);
            match work {
                // A wake can come late, when the handler is done.
                Work::None => break,
                Work::Handler(future, task) => {
                    let result = match caught(|| future.as_mut().poll(cx).map(Into::into)) {
                        Ok(Poll::Pending) => return,
                        Ok(Poll::Ready(outcome)) => Ok(outcome),
                        Err(message) => Err(message),
                    };
                    let task = task.take();
                    if let Work::Handler(future, _) = std::mem::replace(work, Work::None) {
                        drop_quietly(future);
                    }
                    let outcome = presence.outcome(result);
                    self.conclude(index, outcome, task, presence);
                }
                Work::Publishing(publishing, _) => {
                    if Pin::new(&mut *publishing).poll(cx).is_ready() {
                        *work = Work::None;
                        continue;
                    }
                    if publishing.is_stuck()
                        && let Work::Publishing(publishing, claim) =
                            std::mem::replace(work, Work::None)
                    {
                        *work = Work::Stuck(publishing, claim);
                        self.resting += 1;
                    }
                    return;
                }
                Work::Stuck(publishing, _) => {
                    if Pin::new(publishing).poll(cx).is_pending() {
                        return;
                    }
                    *work = Work::None;
                    self.resting -= 1;
                }
                Work::Resting(until, ..) => {
                    if Pin::new(until).poll(cx).is_pending() {
                        return;
                    }
                    self.end_rest(index);
                }
            }
        }
        self.free(index);
    }

    fn free(&mut self, index: usize) {
        // Those that are woken late are free already.
        if !std::mem::replace(&mut self.slots[index].is_free, true) {
            self.free.push(index);
        }
    }

    /// A handler is through: what is left to do for its message.
    fn conclude(
        &mut self,
        index: usize,
        outcome: Outcome,
        task: Option<Task>,
        presence: &Presence,
    ) {
        let Some(task) = task else {
            return;
        };
        if let Some(retrier) = &presence.retrier
            && let Some(delivery) = &task.delivery
        {
            // The handler may have settled it, and what is stale is delivered again.
            if !task.claim.stands() {
                return;
            }
            let said = (outcome.what, outcome.reason.as_deref());
            let verdict = retrier.after(said, delivery, &task.claim);
            return self.follow(index, verdict, task.claim);
        }
        let (disposition, rest) = match outcome.what {
            What::Done => (Disposition::Ack, Duration::ZERO),
            What::Release => (Disposition::Release, Duration::ZERO),
            What::DeadLetter | What::Reject => (Disposition::Discard, Duration::ZERO),
            What::Retry => (Disposition::Retry, task.rest),
            What::RetryAfter(time) => (Disposition::Retry, time.min(LONGEST_WAIT)),
        };
        if rest.is_zero() || !task.claim.stands() {
            return task.claim.settle(disposition);
        }
        let until = presence.client.delay(rest);
        self.slots[index].work = Work::Resting(until, disposition, task.claim);
        self.resting += 1;
    }

    /// Does as the policy says.
    fn follow(&mut self, index: usize, verdict: Verdict, claim: Claim) {
        match verdict {
            Verdict::Settle(disposition) => claim.settle(disposition),
            Verdict::Publish(publishing) => {
                self.slots[index].work = Work::Publishing(publishing, claim);
            }
        }
    }

    /// Settles what rests, since its consumer is to stop.
    pub(super) fn end_rests(&mut self) {
        for index in 0..self.slots.len() {
            if self.resting == 0 {
                break;
            }
            if matches!(self.slots[index].work, Work::Resting(..) | Work::Stuck(..)) {
                self.end_rest(index);
                self.free(index);
            }
        }
    }

    fn end_rest(&mut self, index: usize) {
        let work = &mut self.slots[index].work;
        let (disposition, claim) = match std::mem::replace(work, Work::None) {
            Work::Resting(_, disposition, claim) => (disposition, claim),
            Work::Stuck(_, claim) => (Disposition::Release, claim),
            other => return *work = other,
        };
        self.resting -= 1;
        claim.settle(disposition);
    }

    /// Drops what is not through, and gives its messages back.
    pub(super) fn cut_off(&mut self, presence: &mut Presence) {
        self.end_rests();
        for slot in &mut self.slots {
            let claim = match std::mem::replace(&mut slot.work, Work::None) {
                Work::None | Work::Resting(..) | Work::Stuck(..) => continue,
                Work::Handler(future, task) => {
                    presence.handled.cut_off += 1;
                    drop_quietly(future);
                    task.map(|task| task.claim)
                }
                Work::Publishing(_, claim) => Some(claim),
            };
            if let Some(claim) = claim {
                claim.settle(Disposition::Release);
            }
        }
    }
}

impl Task {
    fn new(delivery: &Delivery, has_policy: bool) -> Option<Self> {
        let claim = delivery.claim()?;
        let rest = match delivery.is_redelivered() && !has_policy {
            true => rest(delivery.earlier_deliveries()),
            false => Duration::ZERO,
        };
        Some(Self {
            claim,
            delivery: has_policy.then(|| delivery.raw().clone()),
            rest,
        })
    }

    /// What is to be done before a handler sees it.
    fn before(&self, retrier: Option<&Arc<Retrier>>) -> Option<Verdict> {
        retrier?.before(self.delivery.as_ref()?, &self.claim)
    }
}

/// How long a message that came so often before is to rest if it fails.
fn rest(earlier: Option<u64>) -> Duration {
    let doublings = earlier.map_or(u32::MAX, |it| {
        u32::try_from(it.max(1) - 1).unwrap_or(u32::MAX)
    });
    let times = 2_u32.saturating_pow(doublings);
    FIRST_REST.saturating_mul(times).min(LONGEST_REST)
}

/// Drops a handler in the middle of its work, and what it holds, which may panic as it goes.
pub(super) fn drop_quietly<F>(handler: Pin<Box<F>>) {
    _ = caught(|| drop(handler));
}
