//! Makes a story that fails shorter, as long as it fails.

use crate::plan::{Deed, Plan, Step};
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
    alone(plan).into_iter().chain(without).chain(fewer)
}

/// The same story without the second client.
fn alone(plan: &Plan) -> Option<Plan> {
    let mut alone = plan.clone();
    alone.settings.second.take()?;
    let is_second = |step: &Step| matches!(step, Step::User { client: 1, .. });
    alone.steps.retain(|step| !is_second(step));
    Some(alone)
}
