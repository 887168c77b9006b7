//! What becomes of messages that failed.

mod copies;
mod entities;

use std::time::Duration;

use snowshoe_codec::ShortString;

pub(crate) use self::copies::{Failed, Standing};
pub(crate) use self::entities::Entities;
use crate::declare::{Queue, entity_name};
use crate::error::Error;
use crate::name::Name;

/// How often messages that failed are tried again, how long they wait before, and where they go after the last
/// attempt. It is the same on every broker.
///
/// [`ConsumerBuilder::retry`](crate::ConsumerBuilder::retry) sets it, and what handlers of
/// [`Consumer::process`](crate::Consumer::process) return is judged by it: an error, a panic or
/// [`Outcome::retry`](crate::Outcome::retry) is an attempt that has failed.
///
/// ```no_run
/// use std::time::Duration;
/// use snowshoe::{Queue, Retry};
///
/// # async fn charge(_: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
/// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
/// let retry = Retry::attempts(5).delay(Duration::from_secs(1), Duration::from_secs(60));
/// client.declare(Queue::quorum("orders").retry(&retry)).await?;
///
/// let mut orders = client.consumer("orders")?.retry(retry).start().await?;
/// orders.process(4, |order| async move { charge(order.body()).await }).await;
/// # Ok(()) }
/// ```
///
/// # Where messages wait
///
/// At the broker, so that no cut and no restart of the client forgets how often a message was tried, and no consumer
/// holds it meanwhile.
///
/// - Where the [queue was declared so](Queue::retry) by this client, and the broker can let it wait there, it does:
///   quorum queues of RabbitMQ from 4.3 on (seen on 4.3.6), and LavinMQ from 2.11 on (by its documentation; it was
///   not tried).
///   The broker counts the attempts there, and a delivery whose channel has ended counts as one.
/// - Elsewhere a copy of the message waits in another queue, from which the broker sends it back when its time is
///   over, and the message is acknowledged once the broker has confirmed the copy. For a queue `orders` there are the
///   exchanges `orders.retry` and `orders.retried`, and for each delay a queue such as `orders.retry.1000ms`; they are
///   durable, are declared when the consumer starts, and stay. A cut between copy and acknowledgement makes two of one
///   message, and so does a handler that is cut off while its copy is under way. The copy has the properties of the message, but for what cannot be published again: its `expiration`,
///   and its `user_id`, which stands in a header. It comes back with its routing key, but through another exchange.
///
/// After the last attempt a copy goes to the queue of the dead letters, with why it is there in its headers:
/// `snowshoe-reason`, `snowshoe-attempts`, `snowshoe-queue`, and `snowshoe-exchange` and `snowshoe-routing-key` with which
/// it was published.
///
/// [`Delivery::attempt`](crate::Delivery::attempt) tells which attempt it is.
///
/// It is for queues, and not for streams, whose messages stay where they are; nor is there anything to try again
/// where a consumer takes its messages without acknowledgements.
#[derive(Clone, Debug)]
#[must_use = "it is given to a consumer"]
pub struct Retry {
    attempts: u32,
    waits: Waits,
    dead_letters: DeadLetters,
    is_replicated: bool,
    fault: Option<Error>,
}

#[derive(Clone, Debug, PartialEq)]
enum Waits {
    /// So many times the first as there were attempts, up to a longest.
    Growing { first: u32, max: u32 },
    /// Each its own; the last one for all that follow.
    Listed(Vec<u32>),
}

/// Where messages go after the last attempt.
#[derive(Clone, Debug, PartialEq)]
enum DeadLetters {
    /// To a queue that is named after that of the messages.
    Named,
    Queue(Box<Queue>),
    /// To an exchange, by their own routing keys.
    Exchange(ShortString),
    /// Wherever the queue sends what is rejected.
    Rejected,
}

/// What is to be done with a message that failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Step {
    /// It has had its attempts.
    DeadLetter,
    /// It waits so many milliseconds, and then so many more.
    Wait { millis: u32, more: u64 },
}

impl Retry {
    /// Messages are tried so many times, the first time included; once at least. They wait for a second before the
    /// second attempt, a second longer before each further one, and a minute at most; after the last, they go to a
    /// durable queue that is named after theirs, such as `orders.dead` for `orders`.
    pub fn attempts(attempts: u32) -> Self {
        Self {
            attempts: attempts.max(1),
            waits: Waits::Growing {
                first: 1_000,
                max: 60_000,
            },
            dead_letters: DeadLetters::Named,
            is_replicated: false,
            fault: None,
        }
    }

    /// How long a message waits after its first failed attempt, and how long at most. After the second it waits twice
    /// as long as after the first, after the third three times, and so on, which is how brokers count.
    ///
    /// Where copies wait in queues, there is one for 1, 2, 3, 4, 6, 8, 12, 16, … times the first, and a delay between is as
    /// the next longer one. Parts of a millisecond count as one; a delay is a millisecond at least, and 49 days at most.
    pub fn delay(mut self, first: Duration, max: Duration) -> Self {
        let (first, max) = (millis(first), millis(max));
        self.waits = Waits::Growing {
            first,
            max: max.max(first),
        };
        self
    }

    /// How long a message waits after each failed attempt; after those that follow, as long as after the last. None is
    /// one millisecond.
    ///
    /// No broker does this by itself, so copies wait in queues everywhere.
    pub fn delays(mut self, delays: impl IntoIterator<Item = Duration>) -> Self {
        let mut delays: Vec<u32> = delays.into_iter().map(millis).collect();
        if delays.is_empty() {
            delays.push(1);
        }
        self.waits = Waits::Listed(delays);
        self
    }

    /// Where messages go after the last attempt: to this queue, which is declared as the consumer starts.
    pub fn dead_letter_queue(mut self, queue: Queue) -> Self {
        self.dead_letters = DeadLetters::Queue(Box::new(queue));
        self
    }

    /// Where messages go after the last attempt: to this exchange, which is there already, with their own routing key.
    /// A name that is none is told as the consumer starts. What no queue takes stays with the consumer, unsettled, and
    /// is tried again from time to time, until the consumer is stopped and it goes back.
    pub fn dead_letter_exchange(mut self, exchange: impl Name) -> Self {
        match entity_name(exchange) {
            Ok(exchange) => self.dead_letters = DeadLetters::Exchange(exchange),
            Err(error) => self.fault = Some(error),
        }
        self
    }

    /// After the last attempt messages are [rejected](crate::Outcome::reject): the broker drops them, or dead-letters
    /// them where their queue says so, without a reason in their headers.
    pub fn reject_after_last(mut self) -> Self {
        self.dead_letters = DeadLetters::Rejected;
        self
    }

    /// The queues in which copies wait, and that of the dead letters where you name none, are quorum queues, which
    /// hand over what they hold at least once (RabbitMQ, from 3.10 on). Without this they are on one node.
    pub fn quorum(mut self) -> Self {
        self.is_replicated = true;
        self
    }

    /// What is to be done after so many attempts failed.
    pub(crate) fn after(&self, failed: u32) -> Step {
        if failed >= self.attempts {
            return Step::DeadLetter;
        }
        let millis = match &self.waits {
            Waits::Growing { first, max } => level(*first, *max, failed),
            Waits::Listed(delays) => {
                let index = (failed.max(1) as usize - 1).min(delays.len() - 1);
                delays[index]
            }
        };
        Step::Wait { millis, more: 0 }
    }

    /// What is to be done after so many attempts failed, where the next is not to be before this time.
    pub(crate) fn after_at_least(&self, failed: u32, time: Duration) -> Step {
        if failed >= self.attempts {
            return Step::DeadLetter;
        }
        let millis = u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        self.wait(millis.max(1))
    }

    /// Whether a message waits for so long that somebody has to look at it in between.
    pub(crate) fn wait_on(&self, millis: u64) -> Option<Step> {
        let waits = millis > 0 && !self.levels().is_empty();
        waits.then(|| self.wait(millis))
    }

    /// Waits for so long, in the queues that there are.
    pub(crate) fn wait(&self, millis: u64) -> Step {
        let levels = self.levels();
        // Whoever has published it may say anything.
        let millis = millis.min(u32::MAX.into());
        // The longest that is not too long, or the shortest.
        let fits = levels.iter().rev().find(|&&it| u64::from(it) <= millis);
        let level = fits.or(levels.first()).copied().unwrap_or(1);
        Step::Wait {
            millis: level,
            more: millis.saturating_sub(level.into()),
        }
    }

    /// The delays for which there are queues, in milliseconds, from the shortest to the longest.
    pub(crate) fn levels(&self) -> Vec<u32> {
        let mut levels = match &self.waits {
            Waits::Growing { first, max } => {
                let mut levels = Vec::new();
                let mut failed = 1;
                while failed < self.attempts {
                    let level = level(*first, *max, failed);
                    levels.push(level);
                    if level == *max {
                        break;
                    }
                    // Up to the next step.
                    failed = level.div_ceil(*first).saturating_add(1);
                }
                levels
            }
            // After the last attempt nobody waits.
            Waits::Listed(delays) => {
                let most = self.attempts.saturating_sub(1).max(1) as usize;
                delays.iter().copied().take(most).collect()
            }
        };
        levels.sort_unstable();
        levels.dedup();
        levels
    }

    /// The first and the longest delay, where a broker can wait like this.
    pub(crate) fn as_brokers_wait(&self) -> Option<(Duration, Duration)> {
        match self.waits {
            Waits::Growing { first, max } => {
                let time = |millis: u32| Duration::from_millis(millis.into());
                Some((time(first), time(max)))
            }
            Waits::Listed(_) => None,
        }
    }
}

/// So many times the first, up to the longest: in steps, so that there are few of them however many attempts.
fn level(first: u32, max: u32, failed: u32) -> u32 {
    let times = u64::from(failed.max(1));
    let power = times.next_power_of_two();
    let between = power / 4 * 3;
    let times = if between >= times { between } else { power };
    let millis = u64::from(first).saturating_mul(times);
    u32::try_from(millis).unwrap_or(u32::MAX).min(max)
}

/// Whole milliseconds, one at least and as many as brokers can count at most.
fn millis(time: Duration) -> u32 {
    let millis = time.as_nanos().div_ceil(1_000_000);
    u32::try_from(millis).unwrap_or(u32::MAX).max(1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    fn waits(retry: &Retry, attempts: u32) -> Vec<u32> {
        let waits = (1..attempts).map(|failed| match retry.after(failed) {
            Step::Wait { millis, more: 0 } => millis,
            other => panic!("{other:?} after {failed}"),
        });
        waits.collect()
    }

    #[test]
    fn delays_grow_by_steps_up_to_the_longest() {
        let retry = Retry::attempts(12).delay(seconds(1), seconds(8));
        let expected = [1, 2, 3, 4, 6, 6, 8, 8, 8, 8, 8].map(|it| it * 1000);
        assert_eq!(waits(&retry, 12), expected);
        assert_eq!(retry.after(12), Step::DeadLetter);
        assert_eq!(retry.levels(), [1, 2, 3, 4, 6, 8].map(|it| it * 1000));
    }

    #[test]
    fn there_is_a_queue_for_every_delay_and_for_no_other() {
        for attempts in [1, 2, 3, 7, 40, 1000, 100_000] {
            for (first, max) in [
                (1, 1),
                (1, 60_000),
                (1_000, 60_000),
                (700, 1_500),
                (9, u32::MAX),
            ] {
                let time = |millis: u32| Duration::from_millis(millis.into());
                let retry = Retry::attempts(attempts).delay(time(first), time(max));
                let mut used = waits(&retry, attempts);
                used.sort_unstable();
                used.dedup();
                assert_eq!(retry.levels(), used, "{attempts} {first} {max}");
                assert!(used.len() <= 64);
            }
        }
    }

    #[test]
    fn delays_that_are_listed_are_taken_in_turn() {
        let retry = Retry::attempts(5).delays([seconds(5), seconds(60)]);
        assert_eq!(waits(&retry, 5), [5_000, 60_000, 60_000, 60_000]);
        let none = Retry::attempts(3).delays([]);
        assert_eq!(waits(&none, 3), [1, 1]);
    }

    #[test]
    fn extremes_are_brought_to_what_brokers_take() {
        let retry = Retry::attempts(0).delay(Duration::ZERO, Duration::MAX);
        assert_eq!(retry.after(0), Step::Wait { millis: 1, more: 0 });
        assert_eq!(retry.after(1), Step::DeadLetter);
        let retry = Retry::attempts(u32::MAX).delay(Duration::MAX, Duration::ZERO);
        assert_eq!(retry.levels(), [u32::MAX]);
        let retry = Retry::attempts(u32::MAX).delay(Duration::ZERO, Duration::MAX);
        assert!(retry.levels().len() <= 64);
    }

    #[test]
    fn a_long_wait_is_made_of_those_that_there_are_and_is_never_too_short() {
        let retry = Retry::attempts(9).delay(seconds(1), seconds(8));
        for millis in [
            1, 999, 1_000, 1_001, 7_999, 8_000, 61_000, 300_500, 3_600_001,
        ] {
            let (mut waited, mut left, mut hops) = (0, millis, 0);
            while left > 0 {
                let Step::Wait { millis, more } = retry.wait(left) else {
                    panic!("it is not over");
                };
                waited += u64::from(millis);
                left = more;
                hops += 1;
            }
            assert!(
                waited >= millis && waited < millis + 1_000,
                "{millis}: {waited}"
            );
            assert!(hops <= millis / 8_000 + 6, "{millis}: {hops}");
        }
        let time = Duration::from_millis(9_000);
        let expected = Step::Wait {
            millis: 8_000,
            more: 1_000,
        };
        assert_eq!(retry.after_at_least(1, time), expected);
        assert_eq!(retry.after_at_least(9, time), Step::DeadLetter);
    }
}
