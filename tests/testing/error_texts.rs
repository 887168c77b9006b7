//! That the texts of errors say which producer they are about.

use snowshoe::testing::{BrokerOptions, Clock, Executor, Server};
use snowshoe::{Client, Error, Queue};

/// Plays a story of a client, in virtual time.
fn play<F: Future<Output = ()> + 'static>(story: impl FnOnce(Server, Client) -> F) {
    let clock = Clock::new();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let mut executor = Executor::new(clock, 1);
    let (client, driver) = server.client().seed(7).build();
    executor.spawn(driver);
    let story = story(server, client);
    executor.run(story).expect("nobody waits for ever");
}

/// A text without the number of the producer, which differs from one to the next.
fn text(error: impl Into<Error>) -> String {
    let text = error.into().to_string();
    let (producer, rest) = text.split_once(": ").expect("it begins with the producer");
    producer.replace(|c: char| c.is_ascii_digit(), "N") + ": " + rest
}

#[test]
fn a_message_that_is_not_confirmed_says_whose_it_was() {
    play(|server, client| async move {
        let named = |name: &str| client.producer("orders").unwrap().name(name).unwrap();
        let checkout = named("checkout");
        let checkout = checkout.build();
        let plain = client.producer("nowhere").unwrap().build();
        let events = client.exchange_producer("amq.topic", "order.new").unwrap();
        let events = events.mandatory(true).build();

        assert!(text(plain.send("x").await.unwrap_err()).starts_with(
            r#"producer N to the queue "nowhere": the broker returned the message: "#
        ));
        assert!(text(events.send("x").await.unwrap_err()).starts_with(
            r#"producer N to the exchange "amq.topic": the broker returned the message: "#
        ));
        assert!(
            text(checkout.send("x").await.unwrap_err())
                .starts_with(r#"producer "checkout" (N): the broker returned the message: "#)
        );

        client.declare(Queue::new("orders")).await.unwrap();
        server.stop_reading();
        let waits = checkout.try_publish("x").unwrap();
        client.close_within(std::time::Duration::ZERO).await;
        assert!(text(waits.await.unwrap_err()).starts_with(
            r#"producer "checkout" (N): the message was dropped: the client was closed"#
        ));
    });
}
