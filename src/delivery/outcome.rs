use std::fmt;
use std::time::Duration;

use super::Disposition;
use crate::outcome::Settled;

/// What a handler says of a message, and with that what becomes of it.
///
/// `()` and `Ok(())` mean [`done`](Self::done), `Err(error)` means [`retry`](Self::retry) with the error as the
/// reason, and so does a panic. What is to be tried again goes by the consumer's [`Retry`](crate::Retry), if it has
/// one.
///
/// ```
/// use std::time::Duration;
/// use snowshoe::Outcome;
///
/// enum Failure { Busy, Malformed }
///
/// fn outcome(result: Result<(), Failure>) -> Outcome {
///     match result {
///         Ok(()) => Outcome::done(),
///         Err(Failure::Busy) => Outcome::retry_after(Duration::from_secs(30)).because("the bank is busy"),
///         Err(Failure::Malformed) => Outcome::dead_letter().because("no amount"),
///     }
/// }
/// # _ = (outcome(Ok(())), outcome(Err(Failure::Busy)), outcome(Err(Failure::Malformed)));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[must_use = "it says what becomes of a message, once a handler returns it"]
pub struct Outcome {
    pub(crate) what: What,
    pub(crate) reason: Option<String>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum What {
    Done,
    Retry,
    RetryAfter(Duration),
    Release,
    DeadLetter,
    Reject,
}

impl Outcome {
    fn new(what: What) -> Self {
        Self { what, reason: None }
    }

    /// The message is done with: it is acknowledged.
    pub fn done() -> Self {
        Self::new(What::Done)
    }

    /// The attempt has failed: the message is to be tried again.
    ///
    /// With a [`Retry`](crate::Retry) it waits as that says, and is dead-lettered after the last attempt. Without
    /// one it goes back to the queue as by [`Delivery::retry`](super::Delivery::retry), at once the first time; one
    /// that has been delivered before waits for a moment in the client first, a second at most, so that what always
    /// fails is no hot loop. A message of a stream is [passed over](crate::guarantees#streams).
    pub fn retry() -> Self {
        Self::new(What::Retry)
    }

    /// The attempt has failed: the message is to be tried again, and not before so much time has passed.
    ///
    /// With a [`Retry`](crate::Retry) it counts as an attempt, and it waits at the broker, however long. Without one
    /// it waits in the client, a minute at most, where a cut ends the wait, and goes back to the queue then.
    pub fn retry_after(time: Duration) -> Self {
        Self::new(What::RetryAfter(time))
    }

    /// The message goes back to the queue unhandled, and nothing is said against it; see
    /// [`Delivery::release`](super::Delivery::release).
    pub fn release() -> Self {
        Self::new(What::Release)
    }

    /// The message is put aside: it goes where its consumer's [`Retry`](crate::Retry) sends what has failed for the
    /// last time. Without one it is [rejected](Self::reject).
    pub fn dead_letter() -> Self {
        Self::new(What::DeadLetter)
    }

    /// The message is refused (basic.nack without requeue): the broker drops it, or dead-letters it where the queue
    /// says so.
    pub fn reject() -> Self {
        Self::new(What::Reject)
    }

    /// Why: it stands in the headers of a message that is put off or dead-lettered by a [`Retry`](crate::Retry),
    /// cut off after 1,000 bytes, and is of no other use.
    pub fn because(mut self, reason: impl fmt::Display) -> Self {
        self.reason = Some(reason.to_string());
        self
    }
}

impl From<()> for Outcome {
    fn from((): ()) -> Self {
        Self::done()
    }
}

/// The handler has settled it.
impl From<Settled> for Outcome {
    fn from(_: Settled) -> Self {
        Self::done()
    }
}

impl From<Disposition> for Outcome {
    fn from(disposition: Disposition) -> Self {
        match disposition {
            Disposition::Ack => Self::done(),
            Disposition::Retry => Self::retry(),
            Disposition::Release => Self::release(),
            Disposition::Discard => Self::reject(),
        }
    }
}

/// An error is the reason for a [`retry`](Outcome::retry).
impl<T: Into<Self>, E: fmt::Display> From<Result<T, E>> for Outcome {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(outcome) => outcome.into(),
            Err(error) => Self::retry().because(error),
        }
    }
}
