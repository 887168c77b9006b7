//! How much memory waits for consumers that do not keep up. It is measured for the whole process, so there
//! is one test in this file.

use bytes::Bytes;
use peak_alloc::PeakAlloc;
use snowshoe::codec::Method;
use snowshoe::{Client, Message};
use support::broker::url;
use support::client::connect;
use support::queues::fresh_queue;
use support::scripted_broker::{Answer, Broker, Heard};
use support::waiting::{eventually, run, within};

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

const MIB: usize = 1 << 20;

/// What may wait, here.
const CAPACITY: usize = 8 * MIB;

/// What a client takes beside that: blocks that are read into, a message that is on its way in pieces and
/// as a whole, and those that a user has at the moment.
const REST: usize = 16 * MIB;

/// The most memory there is beyond that of now while something is done.
async fn peak(work: impl Future<Output = ()>) -> usize {
    let before = ALLOCATOR.current_usage();
    ALLOCATOR.reset_peak_usage();
    work.await;
    ALLOCATOR.peak_usage().saturating_sub(before)
}

async fn answers(client: &Client) {
    for _ in 0..10 {
        within("a declare", fresh_queue(client)).await;
    }
}

/// 300 MiB in a queue, with the prefetch that is the default.
async fn large_messages_that_are_not_read_and_then_are(client: &Client) {
    let queue = fresh_queue(client).await;
    let body = Bytes::from(vec![b'.'; 3 * MIB]);
    let producer = client.producer(queue.clone()).expect("a name").build();
    for _ in 0..100 {
        let message = Message::from(body.clone());
        drop(producer.publish(message).await.expect("there will be room"));
    }
    producer.flushed().await;
    let most = peak(async {
        let consumer = client.consumer(queue).expect("a name");
        let consumer = consumer.capacity_bytes(CAPACITY).start().await;
        let mut consumer = consumer.expect("the queue is there");
        eventually("some wait", || consumer.waiting() > 0).await;
        answers(client).await;
        for number in 0..100 {
            let delivery = within("the next", consumer.next()).await;
            let delivery = delivery.expect("it goes on");
            assert_eq!(delivery.body().len(), body.len(), "message {number}");
            delivery.ack().expect("its channel is there");
        }
        assert!(consumer.try_next().is_none());
    })
    .await;
    eprintln!("large messages: {most} bytes");
    assert!(most < CAPACITY + REST, "{most} bytes");
}

/// A broker that sends 200 MB to a consumer that asked for ten messages.
async fn a_broker_that_ignores_the_prefetch() {
    const LEN: usize = 100_000;
    let mut floods = true;
    let broker = Broker::start(move |heard| match heard {
        Heard::Method(Method::BasicConsume(_)) if std::mem::take(&mut floods) => {
            Answer::Flood(2_000, LEN)
        }
        _ => Answer::Usual,
    });
    let client = connect(&broker.url()).await;
    let most = peak(async {
        let consumer = client.consumer("any").expect("a name").prefetch(10);
        let consumer = consumer.capacity_bytes(CAPACITY).start().await;
        let mut consumer = consumer.expect("the queue is there");
        eventually("some wait", || consumer.waiting() > 10).await;
        answers(&client).await;
        let waiting = consumer.waiting();
        assert!(waiting <= 21, "{waiting} messages wait");
        for _ in 0..waiting {
            let delivery = within("the next", consumer.next()).await;
            assert_eq!(delivery.expect("it goes on").body().len(), LEN);
        }
    })
    .await;
    eprintln!("ignored prefetch: {most} bytes");
    assert!(most < CAPACITY + REST, "{most} bytes");
}

// case G2
#[test]
fn what_waits_for_consumers_that_are_not_read_is_bounded_in_bytes() {
    run(async {
        let client = connect(&url()).await;
        large_messages_that_are_not_read_and_then_are(&client).await;
        a_broker_that_ignores_the_prefetch().await;
    });
}
