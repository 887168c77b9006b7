//! A short soak: one fault after the other, nothing lost.

use crate::plan::Plan;

#[test]
fn one_fault_after_the_other_costs_no_confirmed_message_and_no_order() {
    let report = Plan {
        faults: 15,
        publishes: 60_000,
        seed: 1,
        only: None,
        cluster: false,
    }
    .run();
    assert!(report.is_clean(), "{report}");
}

#[test]
fn on_a_cluster_one_fault_after_the_other_costs_no_confirmed_message_and_no_order() {
    let report = Plan {
        faults: 10,
        publishes: 20_000,
        seed: 1,
        only: None,
        cluster: true,
    }
    .run();
    assert!(report.is_clean(), "{report}");
}
