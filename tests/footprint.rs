//! How much memory a client takes on the heap, with nothing to do, with much, and with much that
//! nobody reads. It is measured for
//! the whole process, so there is one test in this file.

use peak_alloc::PeakAlloc;
use snowshoe::{Client, Properties};
use support::broker;
use support::client::connect;
use support::distant_broker;
use support::waiting::{run, within};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const IDLE: usize = 2 << 20;
const BUSY: usize = 16 << 20;
const SUBSCRIPTIONS: usize = 16 << 10;
const RETURNED: usize = 1 << 20;

/// More than any buffer holds.
const MESSAGES: usize = 100_000;

const BODY: usize = 1024;

/// The most memory there is beyond `before` while something is done.
async fn peak(before: usize, work: impl Future<Output = ()>) -> usize {
    ALLOCATOR.reset_peak_usage();
    work.await;
    ALLOCATOR.peak_usage().saturating_sub(before)
}

/// Publishes as fast as the buffer has room, each message with a body of its own.
async fn publish(client: &Client) {
    let producer = client.producer("any").expect("the name is short");
    let properties = Properties::builder().persistent().build();
    let properties = properties.expect("there is little in them");
    let producer = producer.properties(properties).build();
    for _ in 0..MESSAGES {
        let confirmation = producer.publish(vec![b'.'; BODY]).await;
        drop(confirmation.expect("there will be room"));
    }
    producer.flushed().await;
}

/// Takes no faster than it must what comes without acknowledgements.
async fn consume(client: &Client) {
    let feed = format!("feed-{MESSAGES}");
    let consumer = client.consumer(feed.as_str()).expect("the name is short");
    let mut consumer = consumer.no_ack().start().await.expect("the queue is there");
    for _ in 0..MESSAGES {
        let delivery = consumer.next().await.expect("there are enough");
        assert_eq!(delivery.body(), distant_broker::BODY);
    }
    consumer.cancel().await;
}

// case G3
/// What unread subscriptions hold: of 100,000 that were dropped while nothing happened, and of one,
/// while messages of 32 MiB come back.
async fn subscribe(client: &Client) -> (usize, usize) {
    let before = ALLOCATOR.current_usage();
    for _ in 0..100_000 {
        drop(client.events());
    }
    let dropped = ALLOCATOR.current_usage().saturating_sub(before);

    let producer = client.exchange_producer("amq.direct", "a queue that is not there");
    let producer = producer
        .expect("the names are short")
        .mandatory(true)
        .build();
    let events = client.events();
    for _ in 0..512 {
        let returned = producer.send(vec![b'.'; 64 << 10]).await;
        returned.expect_err("no queue takes it");
    }
    let unread = ALLOCATOR.current_usage().saturating_sub(before);
    drop(events);
    (dropped, unread)
}

#[test]
fn an_idle_client_takes_less_than_two_mebibytes_and_a_busy_one_less_than_sixteen() {
    run(async {
        let url = format!("amqp://guest:guest@{}", distant_broker::start());
        let before = ALLOCATOR.current_usage();
        let client = connect(&url).await;
        let producer = client.producer("any").expect("the name is short").build();
        producer.send("hello").await.expect("the broker takes it");
        let consumer = client.consumer("idle").expect("the name is short").start();
        let consumer = consumer.await.expect("the queue is there");
        let idle = ALLOCATOR.current_usage() - before;
        eprintln!("idle: {idle} bytes");
        assert!(idle < IDLE, "{idle} bytes");

        // A full buffer's bodies are the user's.
        let held = producer.capacity() * BODY;
        let publishing = peak(before + held, within("publishing", publish(&client))).await;
        eprintln!("publishing: {publishing} bytes beyond what is held");
        assert!(publishing < BUSY, "{publishing} bytes");
        let consuming = peak(before, within("consuming", consume(&client))).await;
        eprintln!("consuming: {consuming} bytes");
        assert!(consuming < BUSY, "{consuming} bytes");
        consumer.cancel().await;

        let client = connect(&broker::url()).await;
        let (dropped, unread) = within("what comes back", subscribe(&client)).await;
        eprintln!("subscriptions: {dropped} bytes of those that were dropped, {unread} of one");
        assert!(dropped < SUBSCRIPTIONS, "{dropped} bytes");
        assert!(unread < IDLE + RETURNED, "{unread} bytes");
    });
}
