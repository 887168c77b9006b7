//! A consumer without acknowledgements that does not keep up stops the reading of its connection, and
//! of no other. That is no reason to lose a message, a heartbeat or the connection.

use std::time::Duration;

use snowshoe::{Client, Consumer, Event, Events, Queue, ShortString};
use support::broker::url;
use support::proxy::{Frame, Proxy, To, Verdict};
use support::queues::{fresh_queue, publish, with_queue};
use support::waiting::{PATIENCE, run, wait_until, within};
use support::{client, executor};

#[test]
fn a_consumer_that_is_dropped_while_it_is_behind_lets_its_connection_be_read_again() {
    run(async {
        let client = Client::connect(&url()).await.expect("a broker");
        let queue = client
            .declare(Queue::server_named())
            .await
            .expect("a queue")
            .name;
        let producer = client.producer(queue.clone()).expect("a name").build();
        for _ in 0..5_000 {
            _ = producer.publish(vec![0; 100]).await.expect("room");
        }
        producer.flushed().await;

        let consumer = client
            .consumer(queue)
            .expect("a name")
            .no_ack()
            .capacity(10);
        let mut consumer = consumer.start().await.expect("the queue");
        drop(consumer.next().await.expect("a message"));
        drop(consumer);
        // Its answer comes after thousands of messages that nobody takes.
        client
            .declare(Queue::server_named())
            .await
            .expect("the connection is read");
        client.close().await;
    });
}

/// The size of messages that are many, for a consumer to be far behind.
const LARGE: usize = 10_000;

/// More of them than all buffers between the broker and a consumer could hold.
const MANY: usize = 2000;

/// A consumer without acknowledgements of a queue with many messages, of which ten may wait for it.
async fn far_behind(client: &Client, queue: &ShortString) -> Consumer {
    let producer = client.producer(queue.clone()).unwrap().build();
    for _ in 0..MANY {
        drop(producer.publish(vec![0; LARGE]).await.unwrap());
    }
    producer.flushed().await;
    let consumer = client.consumer(queue.clone()).unwrap().no_ack();
    let consumer = consumer.capacity(10).dedicated_connection();
    let consumer = consumer.start().await.unwrap();
    wait_until("it is behind", || consumer.buffered() >= 10);
    consumer
}

fn assert_still_connected(events: &mut Events) {
    while let Some(event) = events.try_next() {
        assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
    }
}

#[test]
fn a_consumer_that_is_behind_stops_its_connection_and_loses_nothing() {
    run(async {
        let (client, queue) = with_queue().await;
        let mut consumer = far_behind(&client, &queue).await;
        // What one read brings on top of the capacity, and what was taken out of the inbox.
        let bound = 10 + 2 * (256 * 1024 / LARGE);
        for _ in 0..MANY {
            let buffered = consumer.buffered();
            assert!(buffered <= bound, "{buffered} messages wait");
            drop(consumer.next().await.unwrap());
        }
    });
}

#[test]
fn a_consumer_that_is_behind_holds_up_its_own_connection_only() {
    run(async {
        let (client, queue) = with_queue().await;
        let _consumer = far_behind(&client, &queue).await;
        let other = fresh_queue(&client).await;
        publish(&client, &other, &["hello"]).await;
        let mut consumer = client.consumer(other).unwrap().start().await.unwrap();
        let delivery = consumer.next().await.unwrap();
        assert_eq!(delivery.body(), b"hello");
    });
}

#[test]
fn a_consumer_that_is_behind_can_be_cancelled() {
    run(async {
        // Not because the call times out, or the broker gives up.
        let builder = client::builder(&url()).call_timeout(2 * PATIENCE);
        let client = executor::connect(builder).await.unwrap();
        let queue = fresh_queue(&client).await;
        let consumer = far_behind(&client, &queue).await;
        let mut events = client.events();
        within("the cancel", consumer.cancel()).await;
        assert_still_connected(&mut events);
    });
}

#[test]
fn heartbeats_go_on_while_a_consumer_is_behind() {
    run(async {
        let proxy = Proxy::start(&url());
        let (beat, beats) = async_channel::unbounded();
        let listen = move |_, frame: &mut Frame| {
            if frame.kind() == 8 {
                _ = beat.try_send(());
            }
            Verdict::Pass
        };
        proxy.on_frame(To::Server, listen);
        let builder = client::builder(&proxy.url()).heartbeat(Duration::from_secs(1));
        let client = executor::connect(builder).await.unwrap();
        let mut events = client.events();
        let queue = fresh_queue(&client).await;
        publish(&client, &queue, &["1", "2", "3", "4", "5"]).await;
        let consumer = client.consumer(queue).unwrap().no_ack().capacity(1);
        let mut consumer = consumer.start().await.unwrap();
        wait_until("it is behind", || consumer.buffered() >= 1);

        // Each connection sends one a second at most: these are more than three seconds, in which
        // a peer that is not read must not be taken for dead.
        for _ in 0..6 {
            within("a heartbeat", beats.recv()).await.unwrap();
        }
        for _ in 0..5 {
            drop(consumer.next().await.unwrap());
        }
        assert_still_connected(&mut events);
    });
}
