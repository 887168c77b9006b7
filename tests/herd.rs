//! Many clients that lose their node at once: they come back, but not all at the same moment.

use std::collections::HashMap;
use std::time::Duration;

use snowshoe::{Client, ConnectionRole, Event, Events, Reconnect};
use support::broker::Node;
use support::events::{next_event, recovered};
use support::waiting::{run, within};

/// Connects so many clients, each with a seed of its own, whose drivers share a few threads.
async fn clients(count: u64, url: &str, reconnect: &Reconnect) -> Vec<(Client, Events)> {
    let mut clients = Vec::new();
    for seed in 0..count {
        let builder = Client::builder(url).unwrap().seed(seed);
        let (client, driver) = builder.reconnect(reconnect.clone()).build();
        smol::spawn(driver).detach();
        let events = client.events();
        clients.push((client, events));
    }
    for (client, _) in &clients {
        within("the connection", client.ready()).await.unwrap();
    }
    clients
}

// fault 36
#[test]
fn clients_that_lose_their_node_together_come_back_spread_out_and_never_give_up() {
    const CLIENTS: u64 = 50;
    const ATTEMPTS: u32 = 8;
    const SLOTS: usize = 5;
    let mut node = Node::start();
    run(async {
        let reconnect = Reconnect {
            max_delay: Duration::from_secs(1),
            ..Reconnect::default()
        };
        let mut clients = clients(CLIENTS, &node.url(), &reconnect).await;
        node.kill();
        // Where in its span each delay lies, by attempt: from half of 100 ms, doubled up to the
        // longest, to all of it.
        let mut histograms = HashMap::<u32, [u32; SLOTS]>::new();
        for (_, events) in &mut clients {
            for expected in 1..=ATTEMPTS {
                let is_next = |event: &Event| matches!(event, Event::Reconnecting { .. });
                let event = next_event(events, "the next attempt", is_next).await;
                let Event::Reconnecting { attempt, delay, .. } = event else {
                    unreachable!()
                };
                assert_eq!(attempt, expected);
                let longest =
                    (reconnect.initial_delay * 2u32.pow(attempt - 1)).min(reconnect.max_delay);
                assert!(
                    (longest / 2..=longest).contains(&delay),
                    "{attempt}: {delay:?}"
                );
                let part = 2.0 * delay.as_secs_f64() / longest.as_secs_f64() - 1.0;
                let slot = (part * SLOTS as f64) as usize;
                histograms.entry(attempt).or_default()[slot.min(SLOTS - 1)] += 1;
            }
        }
        // Ten in each slot is the mean.
        for (attempt, histogram) in &histograms {
            let is_spread = histogram.iter().all(|slot| (1..=25).contains(slot));
            assert!(is_spread, "attempt {attempt}: {histogram:?}");
        }
        node.start_again();
        for (_, events) in &mut clients {
            recovered(events, ConnectionRole::Main).await;
        }
    });
}
