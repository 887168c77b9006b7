//! What a message may cost where there are many: allocations are counted, not timed, and for the
//! whole process, so there is one test in this file.

mod broker;
mod support;

use std::alloc::System;

use bytes::Bytes;
use snowshoe::{BufferPolicy, Client, Consumer};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};

use broker::url;
use support::{connect, declare_empty, run, within};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

const QUEUE: &str = "budgets";

/// How many messages are counted, once as many have warmed everything up.
const MESSAGES: usize = 20_000;

/// Blocks to read into and batches come to a few allocations for hundreds of messages, and to more
/// where a broker sends only a few at a time.
/// With one for every message there would be as many as messages.
const ALLOWED: usize = MESSAGES / 4;

/// How many allocations it takes to do something, and what came of it.
async fn counted<T>(work: impl AsyncFnOnce() -> T) -> (usize, T) {
    let region = Region::new(ALLOCATOR);
    let result = work().await;
    let change = region.change();
    (change.allocations + change.reallocations, result)
}

/// A body that is made once, and shared.
fn body() -> Bytes {
    Bytes::from_static(b"sixteen bytes...")
}

async fn forget(client: &Client) {
    let builder = client.producer(QUEUE).expect("the name is short");
    let builder = builder.fire_and_forget().policy(BufferPolicy::Block);
    let producer = builder.build();
    let publish = async || {
        for _ in 0..MESSAGES {
            producer.publish(body()).await.expect("there will be room");
        }
        producer.flushed().await;
    };
    publish().await;
    let (allocations, ()) = counted(publish).await;
    eprintln!("fire-and-forget: {allocations} allocations for {MESSAGES} messages");
    assert!(allocations < ALLOWED, "{allocations} to forget");
}

async fn confirm(client: &Client) {
    let producer = client.producer(QUEUE).expect("the name is short").build();
    let mut confirmations = Vec::with_capacity(MESSAGES);
    let mut publish = async || {
        for _ in 0..MESSAGES {
            let confirmation = producer.publish(body()).await;
            confirmations.push(confirmation.expect("there will be room"));
        }
        for confirmation in confirmations.drain(..) {
            confirmation.await.expect("the broker takes it");
        }
    };
    publish().await;
    let (allocations, ()) = counted(publish).await;
    eprintln!("confirmed: {allocations} allocations for {MESSAGES} messages");
    assert!(allocations < ALLOWED, "{allocations} to confirm");
}

async fn consume(consumer: &mut Consumer, acknowledge: bool) {
    let mut take = async || {
        for _ in 0..MESSAGES {
            let delivery = consumer.next().await.expect("there are enough");
            if acknowledge {
                delivery.ack().expect("the channel is the same");
            }
        }
    };
    take().await;
    let (allocations, ()) = counted(take).await;
    eprintln!("consumed, acked {acknowledge}: {allocations} allocations for {MESSAGES} messages");
    assert!(allocations < ALLOWED, "{allocations} to consume");
}

#[test]
fn many_messages_take_few_allocations_whatever_is_done_with_them() {
    run(async {
        let client = connect(&url()).await;
        declare_empty(&client, QUEUE).await;
        within("publishing", forget(&client)).await;
        within("confirming", confirm(&client)).await;

        let builder = client.consumer(QUEUE).expect("the name is short");
        let consumer = builder.prefetch(1000).start().await;
        let mut consumer = consumer.expect("the queue is there");
        within("acknowledging", consume(&mut consumer, true)).await;
        consumer.cancel().await;

        let builder = client.consumer(QUEUE).expect("the name is short");
        let mut consumer = builder.no_ack().start().await.expect("the queue is there");
        within("consuming", consume(&mut consumer, false)).await;
        client.delete_queue(QUEUE).await.expect("it is there");
    });
}
