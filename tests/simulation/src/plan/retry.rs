//! Tasks that fail now and then, who works on them, and what is done to him.

use std::time::Duration;

use snowshoe::Retry;

/// Somebody who publishes tasks, and works on them.
#[derive(Clone, Debug)]
pub(crate) struct RetryPlan {
    pub(crate) from: Duration,
    /// Whether the queue of the tasks is a quorum queue.
    pub(crate) quorum: bool,
    /// Whether it is to let them wait by itself, where the broker can do that.
    pub(crate) waits_by_itself: bool,
    pub(crate) policy: Policy,
    pub(crate) tasks: Vec<TaskPlan>,
    /// How many handlers run side by side.
    pub(crate) limit: usize,
    pub(crate) prefetch: u16,
    pub(crate) dedicated: bool,
    pub(crate) stops: Vec<Stop>,
    pub(crate) deletions: Vec<Deletion>,
}

#[derive(Clone, Debug)]
pub(crate) struct Policy {
    pub(crate) attempts: u32,
    pub(crate) delays: Delays,
    /// Whether what has failed for the last time is rejected, and not published as a dead letter.
    pub(crate) rejects: bool,
    /// Whether its queues are quorum queues.
    pub(crate) quorum: bool,
}

#[derive(Clone, Debug)]
pub(crate) enum Delays {
    Growing { first: Duration, max: Duration },
    Listed(Vec<Duration>),
}

/// A task, with what becomes of each run at it; those that come after are done.
#[derive(Clone, Debug)]
pub(crate) struct TaskPlan {
    pub(crate) at: Duration,
    pub(crate) runs: Vec<RunPlan>,
}

#[derive(Clone, Copy, Debug)]
pub(crate) struct RunPlan {
    pub(crate) takes: Duration,
    pub(crate) ending: Ending,
}

/// What a handler says in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ending {
    Done,
    Fail,
    Panic,
    RetryAfter(Duration),
    Release,
    DeadLetter,
    Reject,
}

/// The consumer is stopped, and begins anew.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stop {
    /// So long after it has begun.
    pub(crate) after: Duration,
    /// How long its handlers have.
    pub(crate) within: Duration,
    /// How long nobody works then.
    pub(crate) pause: Duration,
}

/// Something is deleted that the policy needs.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deletion {
    pub(crate) at: Duration,
    pub(crate) what: Deleted,
    /// Whether another client does it, if there is one.
    pub(crate) by_another: bool,
}

#[derive(Clone, Copy, Debug)]
pub(crate) enum Deleted {
    /// Where copies are published.
    Exchange,
    /// All queues in which they wait, of those that are empty.
    Queues,
}

impl Policy {
    pub(crate) fn retry(&self) -> Retry {
        let retry = Retry::attempts(self.attempts);
        let retry = match &self.delays {
            Delays::Growing { first, max } => retry.delay(*first, *max),
            Delays::Listed(delays) => retry.delays(delays.iter().copied()),
        };
        let retry = if self.rejects {
            retry.reject_after_last()
        } else {
            retry
        };
        if self.quorum { retry.quorum() } else { retry }
    }

    /// How long a task waits at least after this attempt has failed.
    pub(crate) fn delay(&self, attempt: u32) -> Duration {
        match &self.delays {
            Delays::Growing { first, max } => (*first * attempt).min(*max),
            Delays::Listed(delays) => {
                let index = (attempt as usize - 1).min(delays.len() - 1);
                delays[index]
            }
        }
    }
}

impl RunPlan {
    /// What every run is that was not planned.
    pub(crate) const DONE: Self = Self {
        takes: Duration::ZERO,
        ending: Ending::Done,
    };
}

impl Ending {
    /// Whether the attempt has failed, and there is to be another, or a dead letter.
    pub(crate) fn has_failed(self) -> bool {
        matches!(self, Self::Fail | Self::Panic | Self::RetryAfter(_))
    }
}
