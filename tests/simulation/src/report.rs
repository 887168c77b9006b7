//! What stories add up to.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use snowshoe::testing::Manner;

use crate::giving_up;
use crate::ledger::Ledger;
use crate::plan::{Deed, Fault, Plan, Step};
use crate::retrying::Tasks;
use crate::witness::Record;

/// What happened in one story, or in many.
#[derive(Clone, Debug, Default)]
pub struct Counts {
    seeds: u64,
    time: Duration,
    accepted: u64,
    confirmed: u64,
    delivered: u64,
    logins: u64,
    in_one_flight: u64,
    published_ahead: u64,
    channels: u64,
    cancelled: u64,
    overdue: u64,
    gave_up: u64,
    unwritten: usize,
    faults: BTreeMap<&'static str, u64>,
}

impl Counts {
    pub(crate) fn of(plan: &Plan, ledger: &Ledger, record: &Record, time: Duration) -> Self {
        let mut faults = BTreeMap::new();
        for step in &plan.steps {
            *faults.entry(kind(step)).or_default() += 1;
        }
        let manner = match plan.settings.manner {
            Manner::RabbitMq310 => "as RabbitMQ 3.10",
            Manner::RabbitMq40 => "as RabbitMQ 4.0",
            Manner::RabbitMq43 => "as RabbitMQ 4.3",
            Manner::LavinMq => "as LavinMQ",
            _ => "as another broker",
        };
        faults.insert(manner, 1);
        if plan.settings.quorum {
            faults.insert("quorum queues", 1);
        }
        if plan.settings.is_short_of_channels() {
            faults.insert("few channels", 1);
        }
        if plan.settings.has_bad_hosts() {
            faults.insert("bad hosts", 1);
        }
        if plan.settings.user_channels.is_some() {
            faults.insert("limits on channels", 1);
        }
        faults.insert(
            "poison",
            ledger
                .producers
                .iter()
                .map(|it| it.poison.len() as u64)
                .sum(),
        );
        for (what, count) in ledger.tasks.iter().flat_map(Tasks::counts) {
            faults.insert(what, count);
        }
        for (what, count) in giving_up::counts(ledger) {
            *faults.entry(what).or_default() += count;
        }
        if plan.clients() > 1 {
            faults.insert("two clients", 1);
        }
        let entries = || ledger.producers.iter().flat_map(|book| &book.entries);
        Self {
            seeds: 1,
            time,
            accepted: entries().filter(|entry| entry.accepted).count() as u64,
            confirmed: entries()
                .filter(|entry| entry.outcome == Some(Ok(())))
                .count() as u64,
            delivered: ledger
                .received
                .values()
                .map(|&count| u64::from(count))
                .sum(),
            logins: record.tuned.len() as u64,
            in_one_flight: record.in_one_flight,
            published_ahead: record.published_ahead,
            channels: record.channels.len() as u64,
            cancelled: ledger.cancelled,
            overdue: record.overdue,
            gave_up: ledger.fates.iter().filter(|fate| fate.gave_up).count() as u64,
            unwritten: ledger
                .fates
                .iter()
                .map(|fate| fate.unwritten)
                .max()
                .unwrap_or(0),
            faults,
        }
    }

    /// Adds what others counted.
    pub fn add(&mut self, other: &Self) {
        self.seeds += other.seeds;
        self.time += other.time;
        self.accepted += other.accepted;
        self.confirmed += other.confirmed;
        self.delivered += other.delivered;
        self.logins += other.logins;
        self.in_one_flight += other.in_one_flight;
        self.published_ahead += other.published_ahead;
        self.channels += other.channels;
        self.cancelled += other.cancelled;
        self.overdue += other.overdue;
        self.gave_up += other.gave_up;
        self.unwritten = self.unwritten.max(other.unwritten);
        for (kind, count) in &other.faults {
            *self.faults.entry(kind).or_default() += count;
        }
    }

    /// How many seeds were run.
    pub fn seeds(&self) -> u64 {
        self.seeds
    }
}

impl fmt::Display for Counts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "seeds               {:>12}", self.seeds)?;
        writeln!(f, "simulated hours     {:>12}", self.time.as_secs() / 3600)?;
        writeln!(f, "messages accepted   {:>12}", self.accepted)?;
        writeln!(f, "messages confirmed  {:>12}", self.confirmed)?;
        writeln!(f, "messages delivered  {:>12}", self.delivered)?;
        writeln!(f, "logins              {:>12}", self.logins)?;
        writeln!(f, "in one flight       {:>12}", self.in_one_flight)?;
        writeln!(f, "published ahead     {:>12}", self.published_ahead)?;
        writeln!(f, "channels            {:>12}", self.channels)?;
        writeln!(f, "cancelled consumers {:>12}", self.cancelled)?;
        writeln!(f, "overdue deliveries  {:>12}", self.overdue)?;
        writeln!(f, "clients gave up     {:>12}", self.gave_up)?;
        writeln!(f, "most bytes held     {:>12}", self.unwritten)?;
        for (kind, count) in &self.faults {
            writeln!(f, "{kind:<19} {count:>12}")?;
        }
        Ok(())
    }
}

fn kind(step: &Step) -> &'static str {
    match step {
        Step::User { deed, .. } => match deed {
            Deed::Produce(_) => "producers",
            Deed::Consume(_) => "consumers",
            Deed::Read(_) => "readers of a stream",
            Deed::Retry(_) => "tasks that are retried",
            Deed::Call { .. } => "calls",
            Deed::Tidy { .. } => "tidying",
            Deed::Close { .. } => "early closes",
            Deed::DropDriver { .. } => "dropped drivers",
        },
        Step::Fault { fault, .. } => match fault {
            Fault::Reset(_) => "resets",
            Fault::Close(_) => "orderly cuts",
            Fault::BlackHole { .. } => "black holes",
            Fault::Drip { .. } => "slow drips",
            Fault::RefuseDials(_) => "refused dials",
            Fault::HangDials(_) => "hanging dials",
            Fault::Restart => "broker restarts",
            Fault::Kick(_) => "kicks",
            Fault::Block(_) => "blocked publishers",
            Fault::Refuse { .. } => "refusals",
            Fault::Late { .. } => "late answers",
        },
    }
}
