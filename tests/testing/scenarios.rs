//! The in-memory broker against the truth: one table of scenarios runs on it and on a real
//! RabbitMQ, and what the two send must be the same.

mod memory;
mod play;
mod real;
mod step;
mod table;
mod transcript;

use snowshoe::testing::BrokerOptions;
use support::broker::{Node, url};

use memory::Memory;
use play::{Expected, Play};
use real::Real;
use step::Scenario;
use table::TIMEOUT;

/// `SCENARIO=text` runs those with the text in their name, and shows their transcripts.
#[test]
fn the_broker_in_memory_behaves_as_rabbitmq() {
    compare(Real::new(&url()), table::all(), BrokerOptions::default());
}

#[test]
fn the_broker_in_memory_restarts_and_blocks_as_rabbitmq() {
    compare(
        Real::of_node(Node::start()),
        table::of_nodes(),
        BrokerOptions::default(),
    );
}

#[test]
fn the_broker_in_memory_loses_patience_as_rabbitmq() {
    let settings = [
        "{consumer_timeout, 1000}",
        "{channel_tick_interval, 200}",
        "{quorum_tick_interval, 200}",
    ];
    let node = Node::start_with(&settings);
    let options = BrokerOptions {
        consumer_timeout: Some(TIMEOUT),
        ..BrokerOptions::default()
    };
    compare(Real::of_node(node), table::of_timeouts(), options);
}

/// What the broker in memory does is compared with the real one, after which it is to take.
fn compare(mut real: Real, scenarios: Vec<Scenario>, options: BrokerOptions) {
    let manner = real.manner();
    let options = BrokerOptions { manner, ..options };
    eprintln!("{manner:?}");
    let wanted = std::env::var("SCENARIO").ok();
    let (mut agree, mut differ, mut wrong) = (0, 0, Vec::new());
    for scenario in scenarios {
        if wanted
            .as_ref()
            .is_some_and(|text| !text.split('|').any(|text| scenario.name.contains(text)))
        {
            continue;
        }
        let (memory, seen) =
            Play::new(Memory::new(options.clone()), &scenario).run(Expected::Quiet);
        let (truth, _) = Play::new(&mut real, &scenario).run(Expected::Counts(seen));
        let difference = memory.difference(&truth);
        match (difference, scenario.difference(manner)) {
            (None, None) => agree += 1,
            (Some(_), Some(_)) => differ += 1,
            (Some(difference), None) => wrong.push(format!("{}\n{difference}", scenario.name)),
            (None, Some(reason)) => {
                wrong.push(format!("{}: agrees, although {reason}", scenario.name));
            }
        }
        if wanted.is_some() {
            eprintln!("{}\n{truth}", scenario.name);
        }
    }
    eprintln!("{agree} scenarios agree, {differ} differ for a reason that is told");
    assert!(
        wrong.is_empty(),
        "{} are wrong:\n\n{}",
        wrong.len(),
        wrong.join("\n")
    );
}
