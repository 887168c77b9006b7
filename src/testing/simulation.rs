//! The whole client in virtual time: stories from seeds, with a broker, a network and its faults, and
//! what has to hold at the end of each.
//!
//! A story is planned from its seed before it begins, so that one that fails can be told again, and
//! made shorter. The client is the real one, with its driver, its handles and their wakers; the
//! network and the broker are those of [`testing`](super).

mod invariants;
mod ledger;
mod message;
mod plan;
mod report;
mod server;
mod shrink;
mod witness;
mod workload;
mod world;

use std::fmt;

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
    })
}

/// A story in which an invariant did not hold.
#[derive(Debug)]
pub struct Failure {
    plan: Box<Plan>,
    what: String,
}

impl Failure {
    /// What did not hold.
    pub fn what(&self) -> &str {
        &self.what
    }

    /// The same with as little as possible in the story.
    #[must_use]
    pub fn shrunk(self) -> Self {
        let (plan, what) = shrink::shrink(*self.plan, self.what);
        Self {
            plan: Box::new(plan),
            what,
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { plan, what } = self;
        writeln!(f, "seed {}: {what}", plan.seed)?;
        writeln!(
            f,
            "cargo run --release --features testing --example simulate -- --seed {}",
            plan.seed
        )?;
        writeln!(f, "{:?}", plan.settings)?;
        for step in &plan.steps {
            writeln!(f, "{step:?}")?;
        }
        Ok(())
    }
}
