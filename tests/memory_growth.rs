//! A million messages pass and leave nothing behind in memory.

use std::fs;

use futures_lite::future;
use snowshoe::{Consumer, Producer, Properties};
use support::broker::url;
use support::client::connect;
use support::messages::{number, numbered};
use support::queues::declare_empty;
use support::waiting::within;

const QUEUE: &str = "memory";
const MESSAGES: u64 = 1_000_000;

/// How many pass between two looks at the memory. By the first, every buffer has been as full as it
/// gets.
const INTERVAL: u64 = 200_000;

/// How much memory may be added from then on, which includes what the allocator is slow to reuse.
/// Three bytes a message would be more.
const TOLERANCE: u64 = 2_000_000;

/// A figure of this process's memory, in bytes.
fn memory(figure: &str) -> u64 {
    let status = fs::read_to_string("/proc/self/status").expect("this is Linux");
    let line = status.lines().find_map(|line| line.strip_prefix(figure));
    let kilobytes = line.and_then(|line| {
        line.strip_prefix(':')?
            .split_whitespace()
            .next()?
            .parse::<u64>()
            .ok()
    });
    kilobytes.expect("every process has one") * 1024
}

fn resident() -> u64 {
    memory("VmRSS")
}

fn peak() -> u64 {
    memory("VmHWM")
}

async fn publish(producer: &Producer) {
    for number in 0..MESSAGES {
        let confirmation = producer.publish(numbered(number, 20)).await;
        // Every thousandth is waited for; the others may be forgotten.
        if number % 1000 == 0 {
            confirmation.unwrap().await.unwrap();
        }
    }
    producer.flushed().await;
}

/// Acknowledges every message; what memory there was after each interval.
async fn consume(consumer: &mut Consumer) -> Vec<u64> {
    let mut looks = Vec::new();
    for expected in 0..MESSAGES {
        let delivery = consumer.next().await.unwrap();
        assert_eq!(number(&delivery), expected);
        delivery.ack().unwrap();
        if (expected + 1) % INTERVAL == 0 {
            looks.push(resident());
            eprintln!(
                "{} messages: {} kB resident",
                expected + 1,
                resident() / 1000
            );
        }
    }
    looks
}

#[test]
fn a_million_messages_leave_nothing_behind() {
    async_io::block_on(async {
        let client = connect(&url()).await;
        declare_empty(&client, QUEUE).await;
        // Nothing is to be learnt from how fast the broker's disk is.
        let transient = Properties::builder().transient().build().unwrap();
        let producer = client
            .producer(QUEUE)
            .unwrap()
            .properties(transient)
            .build();
        let consumer = client.consumer(QUEUE).unwrap().prefetch(1000).start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        let (_, looks) = future::zip(publish(&producer), consume(&mut consumer)).await;
        eprintln!("peak: {} kB", peak() / 1000);
        let warm = looks[0];
        assert!(
            looks.iter().all(|look| *look < warm + TOLERANCE),
            "{looks:?}"
        );
        assert!(peak() < warm + 2 * TOLERANCE, "{} at its peak", peak());
    });
}
