//! The whole client in virtual time: stories from seeds, with a broker, a network and its faults, and
//! what has to hold at the end of each.
//!
//! A story is planned from its seed before it begins, so that one that fails can be told again, and
//! made shorter. The client is the real one, with its driver, its handles and their wakers; the
//! network and the broker are those of [`snowshoe::testing`].

mod giving_up;
mod hosts;
mod invariants;
mod late;
mod ledger;
mod log;
mod message;
mod mirror;
mod plan;
mod reading;
mod report;
mod retrying;
mod server;
mod shrink;
mod tidying;
mod witness;
mod workload;
mod world;

use std::fmt;

use self::log::Lines;
use self::plan::Plan;
pub use self::report::Counts;

/// Runs the story of a seed.
///
/// # Errors
/// How it broke an invariant.
pub fn run(seed: u64) -> Result<Counts, Failure> {
    let plan = Plan::new(seed);
    world::tell(&plan).map_err(|what| Failure {
        plan: Box::new(plan),
        what,
        log: None,
    })
}

/// A story in which an invariant did not hold.
#[derive(Debug)]
pub struct Failure {
    plan: Box<Plan>,
    what: String,
    /// What happened, where that was asked for.
    log: Option<Lines>,
}

impl Failure {
    /// Whose story it is.
    pub fn seed(&self) -> u64 {
        self.plan.seed
    }

    /// What did not hold.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The same with as little as possible in the story, and with all that happened in it.
    #[must_use]
    pub fn shrunk(self) -> Self {
        let (plan, what) = shrink::shrink(*self.plan, self.what);
        let (_, log) = world::tell_aloud(&plan, LINES);
        Self {
            plan: Box::new(plan),
            what,
            log: Some(log),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, what, log } = self;
        writeln!(f, "seed {}: {what}", plan.seed)?;
        writeln!(
            f,
            "cargo run --release -p simulation -- --seed {}",
            plan.seed
        )?;
        writeln!(f, "{:?}", plan.settings)?;
        for step in &plan.steps {
            writeln!(f, "{step:?}")?;
        }
        log.iter().try_for_each(|log| write!(f, "{log}"))
    }
}

/// How much is told of a story that failed: its last lines.
const LINES: usize = 200;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_story_to_the_last_byte() {
        for seed in 0..20 {
            let [first, second] = [(), ()].map(|()| {
                let (end, log) = world::tell_aloud(&Plan::new(seed), usize::MAX);
                assert_eq!(end.err(), None);
                log.to_string()
            });
            assert!(first.lines().count() > 20, "{first}");
            assert_eq!(first, second, "seed {seed}");
        }
    }
}
