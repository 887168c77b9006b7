//! A client and its user share one thread, and neither keeps it from the other.

use snowshoe::testing::{BrokerOptions, Clock, Executor, Server};
use snowshoe::{Client, Queue};

const MESSAGES: usize = 5000;

/// Runs a test on the thread of the client's driver, with a queue `orders`.
fn on_one_thread(test: impl AsyncFnOnce(Client, Server) -> usize + 'static) -> usize {
    let clock = Clock::new();
    let mut executor = Executor::new(clock.clone(), 1);
    let server = Server::in_virtual_time(BrokerOptions::default(), clock);
    let (client, driver) = server.client().build();
    executor.spawn(driver);
    let tested = executor.run(async move {
        client.ready().await.unwrap();
        client.declare(Queue::new("orders")).await.unwrap();
        test(client, server).await
    });
    tested.expect("it comes to its end")
}

#[test]
fn messages_reach_the_broker_before_the_last_of_many_is_published() {
    let most = on_one_thread(async |client, server| {
        let producer = client.producer("orders").unwrap().build();
        producer.send("so that its channel is open").await.unwrap();
        // How many were published and not there at any time.
        let mut most = 0;
        for published in 2..=MESSAGES {
            _ = producer.publish("herring").await.unwrap();
            most = most.max(published - server.queue("orders").unwrap().ready.len());
        }
        most
    });
    assert!(most < MESSAGES / 2, "{most}");
}

#[test]
fn what_is_settled_reaches_the_broker_before_all_that_is_at_hand_was_looked_at() {
    let most = on_one_thread(async |client, server| {
        let producer = client.producer("orders").unwrap().build();
        for _ in 0..MESSAGES {
            _ = producer.publish("herring").await.unwrap();
        }
        producer.flushed().await;
        let consumer = client.consumer("orders").unwrap();
        let mut consumer = consumer.prefetch(MESSAGES as u16).start().await.unwrap();
        server
            .until(|server| server.queue("orders").unwrap().unacked == MESSAGES)
            .await;
        // How many were settled and not told at any time.
        let mut most = 0;
        for settled in 0..MESSAGES {
            let delivery = consumer.next().await.unwrap();
            let unacked = server.queue("orders").unwrap().unacked;
            most = most.max(settled + unacked - MESSAGES);
            delivery.ack().unwrap();
        }
        most
    });
    assert!(most < MESSAGES / 2, "{most}");
}
