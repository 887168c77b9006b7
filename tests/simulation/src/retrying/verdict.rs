//! What holds for tasks at the end of a story.

use std::time::Instant;

use super::{Book, Held, Place, Run, Tasks};
use crate::message::TaskId;
use crate::plan::{Delays, Ending};
use crate::witness::Record;

/// Whether no task was lost, each was tried as often as it should have been and not too soon, and what was done was
/// not done again.
pub(crate) fn check(tasks: &Tasks, record: &Record, held: &[Held]) -> Result<(), String> {
    for (&task, book) in &tasks.books {
        let case = Case {
            tasks,
            record,
            task,
            book,
            places: held
                .iter()
                .filter(|held| held.task == task)
                .map(|held| held.place)
                .collect(),
        };
        case.check().map_err(|what| format!("{task} {what}"))?;
    }
    Ok(())
}

/// A task, and all that is known of it.
struct Case<'a> {
    tasks: &'a Tasks,
    record: &'a Record,
    task: TaskId,
    book: &'a Book,
    places: Vec<Place>,
}

type Checked = Result<(), String>;

impl Case<'_> {
    fn check(&self) -> Checked {
        self.it_is_not_lost()?;
        self.attempts_are_counted_right()?;
        self.dead_letters_tell_the_truth()?;
        self.nothing_happens_without_a_reason()
    }

    fn ends(&self) -> impl Iterator<Item = (&Run, Instant, Ending)> {
        let runs = self.book.runs.iter();
        runs.filter_map(|run| run.end.map(|(at, ending)| (run, at, ending)))
    }

    fn it_is_not_lost(&self) -> Checked {
        let is_done = self.ends().any(|(.., ending)| ending == Ending::Done);
        let is_gone = self.places.is_empty() && !self.may_be_given_up();
        if self.book.confirmed.is_some() && !is_done && is_gone {
            return Err(format!(
                "was confirmed, and is lost after {:?}",
                self.book.runs
            ));
        }
        Ok(())
    }

    /// Whether it came back so often that the queue may have given it up. It is among what the queue has given up
    /// then, unless the broker was restarted at that moment.
    fn may_be_given_up(&self) -> bool {
        let plan = &self.tasks.plan;
        let grows = matches!(plan.policy.delays, Delays::Growing { .. });
        let limit = match plan.waits_by_itself && grows {
            true => plan.policy.attempts,
            // That of RabbitMQ 4, where nothing is said.
            false => 20,
        };
        let deliveries = self.record.task_deliveries.get(&self.task);
        let times = deliveries.map_or(0, Vec::len);
        plan.quorum && times > limit as usize && self.was_upset(None, None)
    }

    /// Every attempt but the first comes after one that has failed, and not too soon.
    fn attempts_are_counted_right(&self) -> Checked {
        let policy = &self.tasks.plan.policy;
        for run in &self.book.runs {
            // A queue that counts by itself counts what a channel held when it ended, too, and gives it up only then.
            let may_be_counted =
                self.tasks.wait_in_the_queue() && self.was_upset(None, Some(run.begun));
            let most = policy.attempts + u32::from(may_be_counted);
            if run.attempt == 0 || run.attempt > most {
                return Err(format!("is tried for the {}th time", run.attempt));
            }
            let mut before = self.ends().filter(|(earlier, _, ending)| {
                ending.has_failed() && earlier.attempt + 1 == run.attempt
            });
            let has_waited = |(earlier, at, ending): (&Run, Instant, Ending)| {
                let delay = match ending {
                    Ending::RetryAfter(time) => time,
                    _ => policy.delay(earlier.attempt),
                };
                at + delay <= run.begun
            };
            if run.attempt > 1 && !may_be_counted && !before.any(has_waited) {
                return Err(format!(
                    "has its attempt {} with none before it that had failed for long enough: {:?}",
                    run.attempt, self.book.runs
                ));
            }
        }
        Ok(())
    }

    /// A dead letter tells of as many attempts as the last had that failed, and what was rejected, somebody has rejected.
    fn dead_letters_tell_the_truth(&self) -> Checked {
        let policy = &self.tasks.plan.policy;
        let is_last = |run: &Run, ending: Ending| {
            let fails = ending.has_failed() && run.attempt >= policy.attempts;
            fails || ending == Ending::DeadLetter
        };
        for place in &self.places {
            let is_true = match place {
                Place::Queue | Place::GivenUp { rejected: false } => true,
                Place::Dead(attempts) => {
                    let is_meant = |run: &Run| Some(i64::from(run.attempt)) == *attempts;
                    let is_dead = |(run, _, ending)| is_meant(run) && is_last(run, ending);
                    !policy.rejects && self.ends().any(is_dead)
                }
                Place::GivenUp { rejected: true } => self.ends().any(|(run, _, ending)| {
                    ending == Ending::Reject || policy.rejects && is_last(run, ending)
                }),
            };
            if !is_true {
                return Err(format!("is at {place:?} after {:?}", self.book.runs));
            }
        }
        Ok(())
    }

    /// As long as no connection ended between the delivery of a run and what the broker heard of it, there is one task and not two: it
    /// goes on after each run as that came to its end, and when nothing more is to be done, nothing more is.
    fn nothing_happens_without_a_reason(&self) -> Checked {
        let policy = &self.tasks.plan.policy;
        if self.was_upset(self.book.published, self.book.confirmed) {
            return Ok(());
        }
        let runs = &self.book.runs;
        for (index, run) in runs.iter().enumerate() {
            let delivered = self.delivered(index);
            if self.may_be_two(run, delivered) {
                return Ok(());
            }
            let expected = match run.end {
                None | Some((_, Ending::Release)) => Some(run.attempt),
                Some((_, Ending::Done | Ending::Reject | Ending::DeadLetter)) => None,
                Some(_) if run.attempt >= policy.attempts => None,
                Some(_) => Some(run.attempt + 1),
            };
            let next = runs.get(index + 1);
            let until = next.map(|next| next.begun);
            if self.tasks.wait_in_the_queue() && self.was_upset(delivered, until) {
                // It may have been counted while nobody worked on it.
                return Ok(());
            }
            match next {
                Some(next) if Some(next.attempt) != expected => {
                    return Err(format!("has another run after {run:?}: {next:?}"));
                }
                None if expected.is_none() && self.places.len() > 1 => {
                    return Err(format!("is at {:?} after {runs:?}", self.places));
                }
                None if run.end.is_some_and(|(_, it)| it == Ending::Done)
                    && !self.places.is_empty() =>
                {
                    return Err(format!("is done, and at {:?}", self.places));
                }
                _ => {}
            }
        }
        Ok(())
    }

    /// Whether a run's task may have become two, since something ended between its delivery and the broker's hearing
    /// of it.
    fn may_be_two(&self, run: &Run, delivered: Option<Instant>) -> bool {
        let Some((_, ending)) = run.end else {
            return self.was_upset(delivered, self.heard(delivered, run.begun));
        };
        let heard = match ending {
            // A long wait is made of several, of which only the client knows.
            Ending::RetryAfter(_) => None,
            _ => self.heard(delivered, run.begun),
        };
        // What is cut off here may have been published, and not be settled.
        let is_published = ending.has_failed() || ending == Ending::DeadLetter;
        let stops = &self.tasks.stops;
        let is_within = |stop: &Instant| *stop >= run.begun && heard.is_none_or(|at| *stop <= at);
        is_published && stops.iter().any(is_within) || self.was_upset(delivered, heard)
    }

    /// When the broker delivered the task for a run: the first time after the run before it had begun, though the
    /// client may have heard of it long after.
    fn delivered(&self, index: usize) -> Option<Instant> {
        let before = index
            .checked_sub(1)
            .map(|before| self.book.runs[before].begun);
        let mut deliveries = self.record.task_deliveries.get(&self.task)?.iter();
        deliveries
            .find(|at| before.is_none_or(|before| **at >= before))
            .copied()
    }

    /// When the broker heard what became of this delivery, unless it was another that was settled unseen.
    fn heard(&self, delivered: Option<Instant>, begun: Instant) -> Option<Instant> {
        let mut settles = self.record.task_settles.get(&self.task)?.iter();
        let of_this = settles.find(|(delivery, _)| Some(*delivery) == delivered);
        of_this
            .map(|(_, heard)| *heard)
            .filter(|heard| *heard >= begun)
    }

    /// Whether something ended between these. Where one is not known, it may have been at any time.
    fn was_upset(&self, from: Option<Instant>, until: Option<Instant>) -> bool {
        let mut upsets = self.record.upsets.iter();
        upsets
            .any(|at| from.is_none_or(|from| *at >= from) && until.is_none_or(|until| *at <= until))
    }
}
