//! What becomes of messages that are longer than is accepted.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};

use snowshoe::codec::method::basic;
use snowshoe::codec::{Incoming, Oversized};
use snowshoe::{
    ChannelEvent, Client, ConsumerBuilder, Delivery, Disposition, Error, Event, Excess, Message,
    OversizedDelivery, Properties, Queue, ReplyCode, ShortString, Unconfirmed, UnconfirmedReason,
};
use support::broker::url;
use support::client::{builder, connect};
use support::events::{find_event, next_event};
use support::executor;
use support::messages::{number, numbered};
use support::queues::{declare, fresh_queue, new_queue, ready_in, unique, until_ready};
use support::waiting::{eventually, run, within};

/// The longest body that is accepted here.
const LIMIT: u32 = 1 << 20;

/// The length of a body that is too long: many frames.
const SIZE: usize = 2 << 20;

const EXCESS: Excess = Excess::Body {
    size: SIZE as u64,
    limit: LIMIT,
};

/// A client that accepts no body over the limit.
async fn narrow_client() -> Client {
    let client = executor::connect(builder(&url()).max_message_size(LIMIT));
    within("the connection", client)
        .await
        .expect("the broker is there")
}

fn too_long() -> Message {
    vec![7; SIZE].into()
}

/// Publishes messages 0 and on, of which that in the middle is too long.
async fn publish_three(queue: &ShortString) {
    let client = connect(&url()).await;
    let producer = client.producer(queue.clone()).unwrap().build();
    for message in [numbered(0, 8), too_long(), numbered(2, 8)] {
        producer.send(message).await.expect("the queue takes it");
    }
}

/// Whether a message was handed out that is none: a handler that panics is not told by its panic.
static HANDED_OUT: AtomicBool = AtomicBool::new(false);

fn panic_over(delivery: &Delivery) {
    HANDED_OUT.store(true, Ordering::Relaxed);
    panic!("{delivery:?} is no ordinary message");
}

/// Takes messages 0 and 2 from a queue in which message 1 is too long.
async fn take_the_others(
    client: &Client,
    configure: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder,
    queue: &ShortString,
) {
    let consumer = configure(client.consumer(queue.clone()).unwrap());
    let mut consumer = consumer.start().await.unwrap();
    for expected in [0, 2] {
        let delivery = within("what is not too long", consumer.next())
            .await
            .unwrap();
        assert_eq!(number(&delivery), expected);
        // Without acknowledgements, there is nothing to acknowledge.
        _ = delivery.ack();
    }
}

// case C1
#[test]
fn a_body_that_is_too_long_costs_its_message_alone() {
    run(async {
        let client = narrow_client().await;
        let mut events = client.events();
        let dead = fresh_queue(&client).await;
        let queue = new_queue()
            .dead_letter_exchange("")
            .dead_letter_routing_key(dead.as_str().unwrap());
        let queue = declare(&client, queue).await;
        let other = fresh_queue(&client).await;

        let feeder = connect(&url()).await;
        let producer = feeder.producer(other.clone()).unwrap().build();
        let neighbour = client.consumer(other).unwrap();
        let mut neighbour = neighbour.start().await.unwrap();
        publish_three(&queue).await;
        take_the_others(&client, |it| it.prefetch(1), &queue).await;
        for expected in 0..400 {
            _ = producer.publish(numbered(expected, 8)).await.unwrap();
        }
        for expected in 0..400 {
            let delivery = neighbour.next().await.unwrap();
            assert_eq!(number(&delivery), expected);
            delivery.ack().unwrap();
        }

        let (told, excess) = find_event(&mut events, "what was too long", |event| match event {
            Event::Oversized { consumer, excess } => Some((consumer.queue, excess)),
            Event::Disconnected { .. } => panic!("{event:?}"),
            _ => None,
        })
        .await;
        assert_eq!((told, excess), (queue.clone(), EXCESS));
        until_ready(&client, &dead, 1).await;
        assert_eq!(ready_in(&client, &queue).await, 0);
        while let Some(event) = events.try_next() {
            assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
        }
    });
}

// case C1
#[test]
fn the_consumer_decides_what_becomes_of_a_message_that_is_too_long() {
    run(async {
        let client = narrow_client().await;
        for (disposition, times) in [
            (Disposition::Ack, 1),
            (Disposition::Discard, 1),
            (Disposition::Retry, 3),
        ] {
            let dead = fresh_queue(&client).await;
            let queue = new_queue()
                .dead_letter_exchange("")
                .dead_letter_routing_key(dead.as_str().unwrap());
            let queue = declare(&client, queue).await;
            let publisher = connect(&url()).await;
            let producer = publisher.producer(queue.clone()).unwrap().build();
            let properties = Properties::builder()
                .message_id("too long")
                .build()
                .unwrap();
            let message = too_long().with_properties(properties);
            producer.send(message).await.unwrap();

            let seen = Arc::new(Mutex::new(Vec::new()));
            let notes = Arc::clone(&seen);
            let decide = move |it: &OversizedDelivery| {
                let mut seen = notes.lock().unwrap();
                let id = it.properties().unwrap().message_id;
                assert_eq!(id.unwrap(), "too long");
                assert_eq!(
                    (it.excess(), it.is_redelivered()),
                    (EXCESS, !seen.is_empty())
                );
                seen.push(it.routing_key().to_owned());
                match seen.len() == times {
                    // One that goes back comes again, until it is decided otherwise.
                    true if times > 1 => Disposition::Ack,
                    _ => disposition,
                }
            };
            let consumer = client.consumer(queue.clone()).unwrap();
            let mut consumer = consumer.on_oversized(decide).start().await.unwrap();
            let handled = async {
                let handled = consumer.process(1, async |it| panic_over(&it)).await;
                unreachable!("{handled:?}");
            };
            let decided = eventually("it was decided", || seen.lock().unwrap().len() == times);
            futures_lite::FutureExt::or(handled, decided).await;
            assert!(!HANDED_OUT.load(Ordering::Relaxed));
            assert!(seen.lock().unwrap().iter().all(|key| *key == queue));
            drop(consumer);
            let dead_letters = u32::from(disposition == Disposition::Discard);
            until_ready(&client, &dead, dead_letters).await;
            until_ready(&client, &queue, 0).await;
        }
    });
}

// case C1
#[test]
fn without_acknowledgements_a_message_that_is_too_long_is_told_and_passed_over() {
    run(async {
        let client = narrow_client().await;
        let mut events = client.events();
        let queue = fresh_queue(&client).await;
        publish_three(&queue).await;
        take_the_others(&client, ConsumerBuilder::no_ack, &queue).await;
        let is_it = |event: &Event| matches!(event, Event::Oversized { .. });
        next_event(&mut events, "what was too long", is_it).await;
    });
}

/// A stream takes no refusal, and keeps what it has.
// case C1
#[test]
fn a_message_of_a_stream_that_is_too_long_is_passed_over() {
    run(async {
        let client = narrow_client().await;
        let mut events = client.events();
        let stream = declare(&client, Queue::stream(unique("stream"))).await;
        publish_three(&stream).await;
        for _ in 0..2 {
            let from_the_first =
                |it: ConsumerBuilder| it.argument("x-stream-offset", "first").unwrap();
            take_the_others(&client, from_the_first, &stream).await;
        }
        client.delete_queue(stream).await.unwrap();
        while let Some(event) = events.try_next() {
            assert!(!matches!(event, Event::Disconnected { .. }), "{event:?}");
        }
    });
}

// case C1
#[test]
fn a_returned_message_that_is_too_long_to_come_back_is_told_as_it_was_sent() {
    run(async {
        let client = narrow_client().await;
        let producer = client.exchange_producer("amq.direct", unique("nowhere"));
        let producer = producer.unwrap().mandatory(true).build();
        let properties = Properties::builder().message_id("17").build().unwrap();
        let message = too_long().with_properties(properties);
        let short = producer.publish("short").await.unwrap();
        let long = producer.publish(message).await.unwrap();
        let other = producer.publish("other").await.unwrap();
        for (confirmation, len) in [(short, 5), (long, SIZE), (other, 5)] {
            let outcome = within("the return", confirmation).await;
            let Err(Unconfirmed {
                reason: UnconfirmedReason::Returned(returned),
                ..
            }) = outcome
            else {
                panic!("{outcome:?}");
            };
            assert_eq!(returned.code, ReplyCode::NO_ROUTE);
            assert_eq!(returned.body.len(), len);
            assert_eq!(returned.excess, None);
            let id = returned.properties.decode().unwrap().message_id;
            assert_eq!(id.is_some_and(|id| id == "17"), len == SIZE);
        }
    });
}

// case C1
#[test]
fn on_a_channel_a_message_that_is_too_long_comes_as_what_it_is() {
    run(async {
        let client = narrow_client().await;
        let queue = fresh_queue(&client).await;
        publish_three(&queue).await;
        let mut channel = client.channel().await.unwrap();
        let first = channel.get(queue.clone(), true).await.unwrap().unwrap();
        assert_eq!(first.content.body().len(), 8);
        let error = channel.get(queue.clone(), false).await.unwrap_err();
        let Error::Oversized(oversized) = error else {
            panic!("{error}");
        };
        let Oversized { excess, message } = *oversized;
        let Incoming::Got(got) = message else {
            panic!("{message:?}");
        };
        assert_eq!((excess, got.message_count), (EXCESS, 1));
        let requeue = basic::Nack {
            delivery_tag: got.delivery_tag,
            multiple: false,
            requeue: true,
        };
        channel.send(requeue).await.unwrap();

        let consume = basic::Consume {
            queue: queue.clone(),
            ..Default::default()
        };
        channel.call(consume).await.unwrap();
        let event = within("the delivery", channel.next_event()).await.unwrap();
        let ChannelEvent::Oversized(oversized) = event else {
            panic!("{event:?}");
        };
        let Incoming::Delivery(delivery) = oversized.message else {
            panic!("{oversized:?}");
        };
        let refuse = basic::Reject {
            delivery_tag: delivery.delivery_tag,
            requeue: false,
        };
        channel.send(refuse).await.unwrap();
        let event = within("the next", channel.next_event()).await.unwrap();
        assert!(matches!(event, ChannelEvent::Delivery(_)), "{event:?}");
    });
}
