//! A consumer that does not keep up holds up nobody: its connection is read all the same. What waits
//! for it is bounded, its queue stays, and nothing is lost but what is told.

use std::time::Duration;

use futures_lite::future::poll_once;
use snowshoe::{Client, Consumer, ConsumerBuilder, Event, Events, Queue, ShortString};
use support::broker::{url, version};
use support::messages::{number_in, numbered};
use support::proxy::{End, Frame, Proxy, To, Verdict};
use support::queues::{
    declare, fresh_queue, new_queue, publish, unique, until_ready, with_queue,
    without_delivery_limit,
};
use support::waiting::{eventually, run, wait_until, within};
use support::{client, executor};

/// A client that soon notices a peer that it does not hear, and has no patience with its answers.
async fn strict_client(url: &str) -> Client {
    let builder = client::builder(url)
        .heartbeat(Duration::from_secs(1))
        .call_timeout(Duration::from_secs(10));
    executor::connect(builder).await.expect("a broker")
}

/// Publishes so many numbered messages of this length.
async fn fill(client: &Client, queue: &ShortString, messages: usize, len: usize) {
    let producer = client.producer(queue.clone()).unwrap().build();
    for number in 0..messages as u64 {
        drop(producer.publish(numbered(number, len)).await.expect("room"));
    }
    producer.flushed().await;
}

/// A consumer that is not read, as soon as the broker has been told.
async fn behind(builder: ConsumerBuilder, waiting: usize) -> Consumer {
    let consumer = within("the consumer", builder.start()).await.unwrap();
    eventually("it is behind", || consumer.waiting() >= waiting).await;
    consumer
}

/// What others do on the connection of a consumer that is behind.
async fn others_go_on(client: &Client) {
    let queue = within("a declare", fresh_queue(client)).await;
    drop(within("a channel", client.channel()).await.unwrap());
    publish(client, &queue, &["one", "two"]).await;
    let neighbour = client.consumer(queue.clone()).unwrap().prefetch(1).start();
    let mut neighbour = within("a neighbour", neighbour).await.unwrap();
    for _ in 0..2 {
        let delivery = within("a delivery", neighbour.next()).await.unwrap();
        delivery.ack().expect("its channel is there");
    }
    within("a cancel", neighbour.cancel()).await;
    until_ready(client, &queue, 0).await;
}

fn assert_still_connected(events: &mut Events) {
    while let Some(event) = events.try_next() {
        assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
    }
}

/// The number in the next message, which is acknowledged.
async fn next_number(consumer: &mut Consumer, acks: bool) -> u64 {
    let delivery = within("the next message", consumer.next()).await;
    let delivery = delivery.expect("the consumer goes on");
    let number = number_in(delivery.body());
    if acks {
        delivery.ack().expect("its channel is there");
    }
    number
}

/// Keeps what a consumer that is behind gives back, however often it does.
fn quorum_queue() -> Queue {
    let queue = Queue::quorum(unique("queue")).expires(Duration::from_secs(300));
    without_delivery_limit(queue, version())
}

/// Queues of each kind that a consumer may be the end of, or not.
fn queues() -> Vec<Queue> {
    vec![
        new_queue(),
        new_queue().auto_delete(),
        new_queue().exclusive().auto_delete(),
        Queue::server_named(),
        quorum_queue(),
    ]
}

/// Which of them is the quorum queue.
const QUORUM: usize = 4;

const MESSAGES: usize = 5_000;

// case B2
#[test]
fn a_consumer_that_is_not_read_holds_up_nobody_and_gets_everything_once_and_in_order_when_it_is() {
    run(async {
        let client = strict_client(&url()).await;
        let mut events = client.events();
        for (kind, queue) in queues().into_iter().enumerate() {
            for acks in [true, false] {
                let queue = declare(&client, queue.clone()).await;
                fill(&client, &queue, MESSAGES, 100).await;
                let builder = client.consumer(queue.clone()).unwrap().capacity(200);
                let builder = if acks {
                    builder.prefetch(0)
                } else {
                    builder.no_ack()
                };
                let mut consumer = behind(builder, 200).await;
                others_go_on(&client).await;
                let mut numbers = Vec::new();
                for _ in 0..MESSAGES {
                    numbers.push(next_number(&mut consumer, acks).await);
                }
                if kind == QUORUM {
                    // It puts back what was on its way to a consumer that is cancelled.
                    numbers.sort_unstable();
                }
                let jumps: Vec<_> = numbers.windows(2).filter(|it| it[0] + 1 != it[1]).collect();
                assert!(jumps.is_empty(), "queue {kind}, acks {acks}: {jumps:?}");
                assert_eq!(consumer.dropped(), 0, "queue {kind}, acks {acks}");
                fill(&client, &queue, 1, 8).await;
                assert_eq!(next_number(&mut consumer, acks).await, 0);
                consumer.cancel().await;
                _ = client.delete_queue(queue).await;
            }
        }
        assert_still_connected(&mut events);
    });
}

// case B2
#[test]
fn most_of_a_long_queue_stays_at_the_broker_while_its_consumer_is_not_read() {
    const MANY: usize = 200_000;
    run(async {
        let client = strict_client(&url()).await;
        let queue = fresh_queue(&client).await;
        fill(&client, &queue, MANY, 20).await;
        for acks in [true, false] {
            let builder = client.consumer(queue.clone()).unwrap();
            let builder = if acks {
                builder.prefetch(0)
            } else {
                builder.no_ack()
            };
            let mut consumer = behind(builder, 10_000).await;
            others_go_on(&client).await;
            let waiting = consumer.waiting();
            assert!(waiting < MANY / 2, "{waiting} messages wait");
            if acks {
                consumer.cancel().await;
                until_ready(&client, &queue, MANY as u32).await;
                continue;
            }
            for number in 0..MANY as u64 {
                assert_eq!(next_number(&mut consumer, acks).await, number);
            }
        }
    });
}

// cases B2 and G2
#[test]
fn what_there_is_no_room_for_comes_again_where_it_is_acknowledged() {
    const LARGE: usize = 20_000;
    run(async {
        let client = strict_client(&url()).await;
        for prefetch in [0, 400] {
            let queue = fresh_queue(&client).await;
            fill(&client, &queue, 500, LARGE).await;
            let builder = client.consumer(queue.clone()).unwrap().prefetch(prefetch);
            let mut consumer = behind(builder.capacity_bytes(10 * LARGE), 5).await;
            others_go_on(&client).await;
            // As many as the prefetch allows are held, which is no reason for the next not to come.
            let mut held = Vec::new();
            for number in 0..500 {
                assert!(consumer.waiting() <= 11, "{}", consumer.waiting());
                let delivery = within("the next", consumer.next()).await.unwrap();
                assert_eq!(number_in(delivery.body()), number, "prefetch {prefetch}");
                if prefetch == 0 || held.len() < 300 {
                    held.push(delivery);
                } else {
                    delivery.ack().unwrap();
                }
            }
            assert!(poll_once(consumer.next()).await.is_none());
        }
    });
}

/// A client whose queue somebody else has declared, unless it is its own.
async fn with_queue_of(queue: Queue, is_own: bool) -> (Client, ShortString) {
    let client = strict_client(&url()).await;
    let queue = match is_own {
        true => declare(&client, queue).await,
        false => {
            let other = strict_client(&url()).await;
            let queue = declare(&other, queue).await;
            other.close().await;
            queue
        }
    };
    (client, queue)
}

// case G2
#[test]
fn who_holds_less_than_the_prefetch_gets_the_next_message_whoever_declared_the_queue() {
    const LEN: usize = 4_000;
    run(async {
        for is_own in [true, false] {
            let (client, queue) = with_queue_of(new_queue(), is_own).await;
            fill(&client, &queue, 240, LEN).await;
            let builder = client.consumer(queue).unwrap();
            let mut consumer = behind(builder.capacity_bytes(41 * LEN), 30).await;
            others_go_on(&client).await;
            let mut held = Vec::new();
            for number in 0..240 {
                let delivery = within("the next", consumer.next()).await.unwrap();
                assert_eq!(number_in(delivery.body()), number, "own queue: {is_own}");
                held.push(delivery);
                if held.len() == 60 {
                    for delivery in held.drain(..) {
                        delivery.ack().expect("its channel is there");
                    }
                }
            }
        }
    });
}

// case B2
#[test]
fn a_consumer_of_a_quorum_queue_that_is_behind_again_and_again_costs_nothing_and_gets_everything() {
    const LEN: usize = 2_000;
    const COUNT: usize = 300;
    run(async {
        for (is_own, acks, prefetch) in [
            (true, true, 100),
            (false, true, 100),
            (true, true, 0),
            (false, true, 0),
            (true, false, 0),
            (false, false, 0),
        ] {
            let queue = quorum_queue();
            let (client, queue) = with_queue_of(queue, is_own).await;
            let mut events = client.events();
            fill(&client, &queue, COUNT, LEN).await;
            let builder = client.consumer(queue).unwrap().prefetch(prefetch);
            let builder = match acks {
                true => builder.capacity_bytes(10 * LEN),
                false => builder.no_ack().capacity(20),
            };
            let mut consumer = behind(builder, 5).await;
            let mut numbers = Vec::new();
            while numbers.len() < COUNT {
                numbers.push(next_number(&mut consumer, acks).await);
                if numbers.len() % 10 == 0 {
                    // What is on its way comes meanwhile.
                    within("a declare", fresh_queue(&client)).await;
                }
            }
            numbers.sort_unstable();
            assert!(numbers.into_iter().eq(0..COUNT as u64));
            assert_eq!(consumer.dropped(), 0);
            assert_still_connected(&mut events);
            client.close().await;
        }
    });
}

// case B2
#[test]
fn what_is_dropped_without_acknowledgements_is_counted_and_told() {
    run(async {
        let client = strict_client(&url()).await;
        let mut events = client.events();
        let queue = declare(&client, Queue::server_named()).await;
        fill(&client, &queue, MESSAGES, 1_000).await;
        // Nothing takes the place of an exclusive consumer of a queue that goes with it.
        let builder = client.consumer(queue.clone()).unwrap().exclusive();
        let builder = builder.no_ack().capacity_bytes(100_000);
        let mut consumer = behind(builder, 10).await;
        others_go_on(&client).await;
        eventually("the rest is dropped", || {
            consumer.waiting() + consumer.dropped() as usize == MESSAGES
        })
        .await;
        let mut told = 0;
        while told < consumer.dropped() {
            let event = within("the event", events.next()).await.unwrap();
            if let Event::DeliveriesDropped { consumer, count } = event {
                assert_eq!(consumer.queue, queue);
                told += count;
            }
        }
        assert_eq!(told, consumer.dropped());
        for number in 0..MESSAGES as u64 - told {
            assert_eq!(next_number(&mut consumer, false).await, number);
        }
        fill(&client, &queue, 1, 8).await;
        assert_eq!(next_number(&mut consumer, false).await, 0);
    });
}

// case B2
#[test]
fn an_exclusive_consumer_that_is_not_read_keeps_its_queue_and_loses_nothing() {
    run(async {
        let client = strict_client(&url()).await;
        let queues = [
            new_queue(),
            new_queue().auto_delete(),
            Queue::server_named(),
        ];
        for (kind, queue) in queues.into_iter().enumerate() {
            let queue = declare(&client, queue).await;
            fill(&client, &queue, MESSAGES, 1_000).await;
            let builder = client.consumer(queue.clone()).unwrap().exclusive();
            let builder = builder.prefetch(0).capacity_bytes(300_000);
            let mut consumer = behind(builder, 100).await;
            others_go_on(&client).await;
            let mut numbers = Vec::new();
            while numbers.len() < MESSAGES {
                assert!(consumer.waiting() <= 300);
                numbers.push(next_number(&mut consumer, true).await);
            }
            // What goes back while the broker goes on comes after what is on its way.
            if kind > 0 {
                numbers.sort_unstable();
            }
            assert!(numbers.iter().copied().eq(0..MESSAGES as u64), "{kind}");
        }
    });
}

// case B2
#[test]
fn a_consumer_whose_arguments_leave_no_room_for_more_stays_as_it_is() {
    const FRAME: u32 = 8192;
    run(async {
        let client = client::connect(&format!("{}?frame_max={FRAME}", url())).await;
        for (acks, room) in [
            (true, 0),
            (true, 5),
            (true, 15),
            (true, 40),
            (false, 0),
            (false, 15),
        ] {
            let queue = fresh_queue(&client).await;
            fill(&client, &queue, MESSAGES, 10).await;
            let tag = "t".repeat(250);
            // Frame, method, ticket, lengths of queue, tag and table, bits; name, type and length.
            let rest = 8 + 4 + 2 + 1 + queue.len() + 1 + tag.len() + 1 + 4 + (2 + 1 + 4);
            let argument = "a".repeat(FRAME as usize - rest - room);
            let builder = client.consumer(queue).unwrap().tag(tag).unwrap();
            let builder = builder.argument("a", &argument).unwrap().capacity(10);
            let builder = if acks {
                builder.prefetch(0)
            } else {
                builder.no_ack()
            };
            let mut consumer = behind(builder, 10).await;
            others_go_on(&client).await;
            for number in 0..MESSAGES as u64 {
                assert_eq!(next_number(&mut consumer, acks).await, number);
            }
        }
    });
}

// case B2
#[test]
fn a_consumer_of_direct_replies_that_is_not_read_stays() {
    run(async {
        let client = strict_client(&url()).await;
        let builder = client.consumer("amq.rabbitmq.reply-to").unwrap();
        let builder = builder.no_ack().capacity(10);
        let mut consumer = builder.start().await.unwrap();
        let channel = client.channel().await.unwrap();
        drop(channel);
        others_go_on(&client).await;
        assert!(consumer.try_next().is_none());
    });
}

// case B2
#[test]
fn a_consumer_that_is_dropped_or_cancelled_while_it_is_behind_goes_at_once() {
    run(async {
        let client = strict_client(&url()).await;
        let mut events = client.events();
        for is_dropped in [true, false] {
            for acks in [true, false] {
                let queue = declare(&client, new_queue()).await;
                fill(&client, &queue, MESSAGES, 100).await;
                for waiting in [1, 300] {
                    let builder = client.consumer(queue.clone()).unwrap().capacity(10);
                    let builder = if acks {
                        builder.prefetch(0)
                    } else {
                        builder.no_ack()
                    };
                    let consumer = behind(builder, waiting.min(10)).await;
                    if waiting > 10 {
                        others_go_on(&client).await;
                    }
                    if is_dropped {
                        drop(consumer);
                    } else {
                        within("the cancel", consumer.cancel()).await;
                    }
                }
                if acks {
                    until_ready(&client, &queue, MESSAGES as u32).await;
                }
                let declared = client.declare(Queue::new(queue.clone()).passive()).await;
                assert!(declared.is_ok());
            }
        }
        assert_still_connected(&mut events);
    });
}

// case B2
#[test]
fn a_consumer_that_is_behind_when_its_connection_is_cut_goes_on_after_it() {
    run(async {
        for acks in [true, false] {
            let proxy = Proxy::start(&url());
            let client = strict_client(&proxy.url()).await;
            let queue = fresh_queue(&client).await;
            fill(&client, &queue, MESSAGES, 100).await;
            let builder = client.consumer(queue.clone()).unwrap().capacity(100);
            let builder = if acks {
                builder.prefetch(0)
            } else {
                builder.no_ack()
            };
            let mut consumer = behind(builder, 100).await;
            others_go_on(&client).await;
            let mut events = client.events();
            proxy.all().end(End::Reset);
            support::events::recovered(&mut events, snowshoe::ConnectionRole::Main).await;
            others_go_on(&client).await;
            let mut numbers = Vec::new();
            while numbers.last() != Some(&(MESSAGES as u64 - 1)) {
                let delivery = within("the next", consumer.next()).await.unwrap();
                numbers.push(number_in(delivery.body()));
                if acks {
                    _ = delivery.ack();
                }
            }
            if acks {
                numbers.sort_unstable();
                numbers.dedup();
                assert_eq!(numbers.len(), MESSAGES);
            } else {
                // What was on its way is lost with the connection; nothing comes twice.
                assert!(numbers.is_sorted_by(|one, next| one < next), "{numbers:?}");
                assert!(numbers.len() > MESSAGES / 2, "{}", numbers.len());
            }
        }
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
        let client = strict_client(&proxy.url()).await;
        let mut events = client.events();
        let queue = fresh_queue(&client).await;
        fill(&client, &queue, MESSAGES, 100).await;
        let consumer = client.consumer(queue).unwrap().no_ack().capacity(1);
        let mut consumer = behind(consumer, 1).await;

        // Each connection sends one a second at most: these are more than three seconds, in which
        // a peer that is not read would be taken for dead.
        for _ in 0..6 {
            within("a heartbeat", beats.recv()).await.unwrap();
        }
        for number in 0..MESSAGES as u64 {
            assert_eq!(next_number(&mut consumer, false).await, number);
        }
        assert_still_connected(&mut events);
    });
}

#[test]
fn a_consumer_on_a_connection_of_its_own_is_bounded_in_the_same_way() {
    run(async {
        let (client, queue) = with_queue().await;
        fill(&client, &queue, MESSAGES, 1_000).await;
        let builder = client.consumer(queue).unwrap().no_ack().capacity(10);
        let mut consumer = behind(builder.dedicated_connection(), 10).await;
        wait_until("it is behind", || consumer.waiting() >= 10);
        for number in 0..MESSAGES as u64 {
            assert_eq!(next_number(&mut consumer, false).await, number);
        }
    });
}
