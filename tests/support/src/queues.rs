//! Queues of the broker that the tests share: declared, filled, and looked into.
//!
//! A queue is its test's own, so that all tests can run at once. Its name is either one that nobody
//! else has, by chance, or fixed, and begins with what the test is about.

use std::time::Duration;

use snowshoe::{Client, Queue, ShortString};

use crate::broker::{Version, url};
use crate::client::connect;
use crate::messages::{number_in, text};
use crate::waiting::within;

/// A client, and an empty queue that no other test uses.
pub async fn with_queue() -> (Client, ShortString) {
    let client = connect(&url()).await;
    let queue = fresh_queue(&client).await;
    (client, queue)
}

/// Declares an empty queue that no other test uses.
pub async fn fresh_queue(client: &Client) -> ShortString {
    declare(client, new_queue()).await
}

/// A queue that no other test uses, and that goes away some time after the test.
pub fn new_queue() -> Queue {
    Queue::new(unique("queue")).expires(Duration::from_secs(300))
}

/// The same queue without a delivery limit, as the guarantees ask for where nothing may be lost:
/// RabbitMQ 4 gives a quorum queue one of 20, and drops what comes back to it more often. Older ones
/// give it none, and -1 means to them that nothing may come back (seen on 3.10.8).
pub fn without_delivery_limit(queue: Queue, broker: &Version) -> Queue {
    if *broker >= (4, 0) {
        queue.argument("x-delivery-limit", -1)
    } else {
        queue
    }
}

/// Declares a queue that nothing contradicts.
pub async fn declare(client: &Client, queue: Queue) -> ShortString {
    client
        .declare(queue)
        .await
        .expect("nothing contradicts it")
        .name
}

/// Declares a durable queue, and empties it should it be there from an earlier run.
pub async fn declare_empty(client: &Client, queue: &'static str) {
    client
        .delete_queue(queue)
        .await
        .expect("a queue that is not there is no error");
    client
        .declare(Queue::new(queue))
        .await
        .expect("nothing contradicts it");
}

/// A name that no other test uses.
pub fn unique(kind: &str) -> String {
    format!("test-{kind}-{:016x}", fastrand::u64(..))
}

/// Publishes messages, and waits until they are confirmed.
pub async fn publish(client: &Client, queue: &ShortString, bodies: &[&'static str]) {
    let producer = client.producer(queue.clone()).unwrap().build();
    for &body in bodies {
        producer.send(body).await.expect("the queue takes it");
    }
}

/// The bodies of the messages in a queue, which is empty after that.
pub async fn take_bodies(client: &Client, queue: &ShortString) -> Vec<String> {
    let queue = queue.as_str().expect("the name is a test's");
    let channel = client.channel().await.expect("channels are left");
    let mut bodies = Vec::new();
    while let Some(got) = (channel.get(queue, true).await).expect("the queue is there") {
        bodies.push(text(got.content.body()));
    }
    bodies
}

/// The numbers of the messages in a queue, which is empty after that.
pub async fn take_numbers(queue: &str) -> Vec<u64> {
    let client = connect(&url()).await;
    let channel = client.channel().await.expect("channels are left");
    let mut numbers = Vec::new();
    while let Some(got) = (channel.get(queue, true).await).expect("the queue is there") {
        numbers.push(number_in(got.content.body()));
    }
    numbers
}

/// How many messages of a queue are ready to be delivered.
pub async fn ready_in(client: &Client, queue: &ShortString) -> u32 {
    let queue = Queue::new(queue.clone()).passive();
    let declared = client.declare(queue).await.expect("the queue is there");
    declared.message_count
}

/// Waits until so many messages of a queue are ready to be delivered: a broker has put back what
/// was given back some time after it was told.
pub async fn until_ready(client: &Client, queue: &ShortString, count: u32) {
    let until = async { while ready_in(client, queue).await != count {} };
    within(&format!("{count} messages in the queue"), until).await;
}

/// Waits until the broker has so many messages in a queue that are ready.
pub async fn wait_until_queue_holds(queue: &'static str, messages: u32) {
    let client = connect(&url()).await;
    let full = async {
        loop {
            let declared = client.declare(Queue::new(queue).passive()).await;
            if declared.expect("the queue is there").message_count >= messages {
                break;
            }
        }
    };
    within("the messages in the queue", full).await;
}
