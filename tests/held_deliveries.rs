//! How much memory deliveries take that are kept, one now and then among many. It is measured for the
//! whole process, so there is one test in this file.

use peak_alloc::PeakAlloc;
use snowshoe::{Client, Delivery, Producer};
use support::client::connect;
use support::distant_broker;
use support::queues::fresh_queue;
use support::waiting::{eventually, run, within};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// What a kept delivery may take of its own: so many times its body, and what describes it.
const TIMES: usize = 4;
const EACH: usize = 512;

/// What all of them may take besides: the blocks that messages share as long as few are kept, and
/// those that are read into.
const BLOCKS: usize = 3 << 20;

/// Keeps one delivery in so many, and lets the others go. How much memory there is beyond `before`
/// while they are kept.
async fn kept(
    client: &Client,
    before: usize,
    (body, one_in, count): (usize, usize, usize),
) -> usize {
    let feed = format!("feed-{}-{body}", one_in * count);
    let consumer = client.consumer(feed).expect("the name is short").start();
    let mut consumer = consumer.await.expect("the queue is there");
    let mut kept: Vec<Delivery> = Vec::new();
    for number in 1..=one_in * count {
        let delivery = consumer.next().await.expect("there are enough");
        assert_eq!(delivery.body().len(), body);
        if number % one_in == 0 {
            kept.push(delivery);
        } else {
            delivery.ack().expect("the channel is the same");
        }
    }
    assert_eq!(kept.len(), count);
    ALLOCATOR.current_usage().saturating_sub(before)
}

/// The same for a consumer that is not read, beside one that is.
async fn kept_unread(body: usize, one_in: usize, count: usize) -> usize {
    let url = support::broker::url();
    let (client, feeder) = (connect(&url).await, connect(&url).await);
    let (read, unread) = (fresh_queue(&client).await, fresh_queue(&client).await);
    let consumer = client.consumer(read.clone()).unwrap().prefetch(1000);
    let mut consumer = consumer.start().await.unwrap();
    let prefetch = u16::try_from(count).expect("they are not many");
    let behind = client.consumer(unread.clone()).unwrap().prefetch(prefetch);
    let behind = behind.start().await.unwrap();
    // Everything is as large as it gets.
    let producer = feeder.producer(read).unwrap().build();
    let producer_of_unread = feeder.producer(unread).unwrap().build();
    let publish = async |producer: &Producer| {
        let confirmation = producer.publish(vec![b'.'; body]).await;
        drop(confirmation.expect("there is room"));
    };
    let before = ALLOCATOR.current_usage();
    for _ in 0..count {
        for _ in 1..one_in {
            publish(&producer).await;
        }
        publish(&producer_of_unread).await;
        for _ in 1..one_in {
            let delivery = consumer.next().await.expect("it comes");
            delivery.ack().expect("the channel is the same");
        }
    }
    eventually("all are there", || behind.waiting() == count).await;
    producer.flushed().await;
    producer_of_unread.flushed().await;
    ALLOCATOR.current_usage().saturating_sub(before)
}

#[track_caller]
fn is_little(what: &str, held: usize, body: usize, count: usize) {
    let allowed = BLOCKS + count * (TIMES * body + EACH);
    eprintln!("{what}: {held} bytes for {count} of {body}, {allowed} allowed");
    assert!(held <= allowed, "{what}: {held} bytes are held");
}

// case G1
#[test]
fn a_delivery_that_is_kept_does_not_keep_much_more_than_itself() {
    run(async {
        let url = format!("amqp://guest:guest@{}", distant_broker::start());
        let before = ALLOCATOR.current_usage();
        let client = connect(&url).await;
        for (body, one_in, count) in [
            (1000, 200, 500),
            (100, 10_000, 20),
            (100, 500, 400),
            (20_000, 30, 100),
            (65_536, 20, 50),
        ] {
            let work = kept(&client, before, (body, one_in, count));
            let held = within("the deliveries", work).await;
            is_little("in hand", held, body, count);
        }
        let (body, one_in, count) = (1000, 200, 300);
        let held = within("the deliveries", kept_unread(body, one_in, count)).await;
        is_little("unread", held, body, count);
    });
}
