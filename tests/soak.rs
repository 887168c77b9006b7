//! The example `soak`, for a short time: one fault after the other, nothing lost.

mod broker;
#[path = "../examples/soak/soak/mod.rs"]
mod soak;

use soak::Plan;

#[test]
fn one_fault_after_the_other_costs_no_confirmed_message_and_no_order() {
    let report = Plan {
        faults: 15,
        publishes: 60_000,
        seed: 1,
        only: None,
    }
    .run();
    assert!(report.is_clean(), "{report}");
}
