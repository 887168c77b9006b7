//! A client that has nothing to do does next to nothing. What it does is counted for the whole
//! process, so there is one test in this file.

use std::time::Duration;

use snowshoe::{Event, Reconnect};
use support::client;
use support::events::next_event;
use support::executor;
use support::ports::Nowhere;
use support::threads::sleeps;
use support::waiting::{run, within};

/// How many attempts the sleeps are counted over.
const ATTEMPTS: u64 = 20;

/// Setting a timer, resolving a name, dialling, being refused, telling who listens, on the threads of
/// the driver, the resolver, the poller and this test; and twice that, for two connections.
const SLEEPS_AN_ATTEMPT: u64 = 30;

/// At the longest delay that there is by default, 30 s, this is about one a second.
#[test]
fn a_client_without_a_broker_sleeps_from_one_attempt_to_the_next() {
    run(async {
        let nowhere = Nowhere::take();
        let steady = Reconnect::default()
            .initial_delay(Duration::from_millis(100))
            .max_delay(Duration::from_millis(100))
            .fail_fast(false);
        let builder = client::builder(&format!("amqp://{}", nowhere.address())).reconnect(steady);
        let (client, driver) = executor::build(builder);
        executor::spawn(driver);
        let mut events = client.events();
        let producer = client.producer("any").unwrap().build();
        let waiting = producer.try_publish("hello").unwrap();

        let is_attempt = |event: &Event| matches!(event, Event::Reconnecting { .. });
        next_event(&mut events, "an attempt", is_attempt).await;
        let before = sleeps(None);
        for _ in 0..ATTEMPTS {
            next_event(&mut events, "an attempt", is_attempt).await;
        }
        let slept = sleeps(None) - before;
        eprintln!("{slept} sleeps over {ATTEMPTS} attempts");
        assert!(slept <= ATTEMPTS * SLEEPS_AN_ATTEMPT, "{slept} sleeps");

        within("the close", client.close_within(Duration::ZERO)).await;
        assert!(waiting.await.is_err());
    });
}
