//! Makes a story that fails shorter, as long as it fails.

use crate::plan::{Deed, Plan, RetryPlan, Step};
use crate::world;

/// The shortest story found that fails, and how.
pub(crate) fn shrink(plan: Plan, failure: String) -> (Plan, String) {
    let (mut shortest, mut failure) = (plan, failure);
    while let Some((shorter, why)) = shorter(&shortest) {
        (shortest, failure) = (shorter, why);
    }
    (shortest, failure)
}

fn shorter(plan: &Plan) -> Option<(Plan, String)> {
    candidates(plan).find_map(|plan| {
        let failure = world::tell(&plan).err()?;
        Some((plan, failure))
    })
}

/// The same story with one thing less in it.
fn candidates(plan: &Plan) -> impl Iterator<Item = Plan> {
    let without = (0..plan.steps.len()).map(|index| {
        let mut plan = plan.clone();
        plan.steps.remove(index);
        plan
    });
    let fewer = (0..plan.steps.len()).filter_map(|index| {
        let mut plan = plan.clone();
        let Step::User {
            deed: Deed::Produce(producer),
            ..
        } = &mut plan.steps[index]
        else {
            return None;
        };
        if producer.bursts.len() > 1 {
            producer.bursts.pop();
        } else {
            let burst = producer
                .bursts
                .first_mut()
                .filter(|burst| burst.count > 1)?;
            burst.count /= 2;
        }
        Some(plan)
    });
    let simpler = (0..plan.steps.len()).flat_map(|index| {
        let Step::User {
            deed: Deed::Retry(retry),
            ..
        } = &plan.steps[index]
        else {
            return Vec::new();
        };
        let simpler = simpler(retry).into_iter().map(|retry| {
            let mut plan = plan.clone();
            if let Step::User { deed, .. } = &mut plan.steps[index] {
                *deed = Deed::Retry(retry);
            }
            plan
        });
        simpler.collect()
    });
    let steps = without.chain(fewer).chain(simpler);
    alone(plan).into_iter().chain(steps)
}

/// The same with one thing less.
fn simpler(retry: &RetryPlan) -> Vec<RetryPlan> {
    let change = |change: &dyn Fn(&mut RetryPlan)| {
        let mut retry = retry.clone();
        change(&mut retry);
        retry
    };
    let mut simpler = Vec::new();
    if retry.tasks.len() > 1 {
        let tasks = 0..retry.tasks.len();
        simpler.extend(tasks.map(|index| change(&|it| _ = it.tasks.remove(index))));
    }
    if !retry.stops.is_empty() {
        simpler.push(change(&|it| _ = it.stops.pop()));
    }
    if !retry.deletions.is_empty() {
        simpler.push(change(&|it| _ = it.deletions.pop()));
    }
    simpler
}

/// The same story without the second client.
fn alone(plan: &Plan) -> Option<Plan> {
    let mut alone = plan.clone();
    alone.settings.second.take()?;
    let is_second = |step: &Step| matches!(step, Step::User { client: 1, .. });
    alone.steps.retain(|step| !is_second(step));
    Some(alone)
}
