//! Streams of RabbitMQ, which keep what they have: they are sent by the chunk, and take nothing back. Over a
//! basic.nack or basic.reject of a delivery from one, the broker closes the connection.

use std::cell::Cell;

use snowshoe::{
    Client, ConnectionRole, Consumer, ConsumerBuilder, Event, Events, Properties, Queue, Settled,
    ShortString,
};
use support::broker::{url, version};
use support::client::connect;
use support::messages::{number, numbered};
use support::queues::{declare, fresh_queue, unique, until_ready};
use support::waiting::{run, within};

/// A stream that a client has declared, or somebody else.
async fn with_stream(is_own: bool) -> (Client, ShortString) {
    let client = connect(&url()).await;
    let other = connect(&url()).await;
    let declarer = if is_own { &client } else { &other };
    let stream = declare(declarer, Queue::stream(unique("stream"))).await;
    other.close().await;
    (client, stream)
}

async fn fill(client: &Client, queue: &ShortString, messages: u64) {
    let producer = client.producer(queue.clone()).unwrap().build();
    for number in 0..messages {
        drop(producer.publish(numbered(number, 8)).await.expect("room"));
    }
    producer.flushed().await;
}

fn from_the_first(client: &Client, stream: &ShortString) -> ConsumerBuilder {
    let builder = client.consumer(stream.clone()).unwrap();
    builder.argument("x-stream-offset", "first").unwrap()
}

async fn started(builder: ConsumerBuilder) -> Consumer {
    within("the consumer", builder.start()).await.unwrap()
}

/// How often the client lost its connection, once all that was said before was answered.
async fn cuts(client: &Client, events: &mut Events) -> usize {
    within("a declare", fresh_queue(client)).await;
    let mut cuts = 0;
    while let Some(event) = events.try_next() {
        cuts += usize::from(matches!(event, Event::Disconnected { .. }));
    }
    cuts
}

/// Waits for the end of a recovery, and for what comes later than that.
async fn until_consumers_are_back(events: &mut Events) {
    let (mut recovered, mut delayed) = (false, false);
    while !recovered || delayed {
        match within("an event", events.next()).await.unwrap() {
            // After that, everything is told anew.
            Event::Disconnected { .. } => delayed = false,
            Event::Delayed { .. } => delayed = true,
            Event::Restored { .. } => delayed = false,
            Event::Recovered {
                role: ConnectionRole::Main,
            } => recovered = true,
            _ => {}
        }
    }
}

#[test]
fn a_stream_is_received_once_and_in_order_though_it_is_sent_by_the_chunk() {
    const COUNT: u64 = 2_000;
    run(async {
        for is_own in [true, false] {
            let (client, stream) = with_stream(is_own).await;
            let mut events = client.events();
            // Nothing tells that it is a stream before the first delivery where it is somebody else's.
            let mut at_the_end = started(client.consumer(stream.clone()).unwrap()).await;
            fill(&client, &stream, COUNT).await;
            let mut at_the_beginning = started(from_the_first(&client, &stream)).await;
            for consumer in [&mut at_the_beginning, &mut at_the_end] {
                for expected in 0..COUNT {
                    let delivery = within("the next", consumer.next()).await.unwrap();
                    assert_eq!(number(&delivery), expected);
                    assert_eq!(delivery.ack(), Ok(Settled::Sent));
                }
            }
            assert_eq!(cuts(&client, &mut events).await, 0);
            client.delete_queue(stream).await.unwrap();
        }
    });
}

#[test]
fn a_consumer_of_a_stream_that_goes_with_messages_at_hand_costs_nothing() {
    run(async {
        for is_own in [true, false] {
            let (client, stream) = with_stream(is_own).await;
            let mut events = client.events();
            fill(&client, &stream, 50).await;
            for is_dropped in [true, false, true] {
                let mut consumer = started(from_the_first(&client, &stream)).await;
                let delivery = within("the first", consumer.next()).await.unwrap();
                if is_dropped {
                    drop(consumer);
                } else {
                    within("the cancel", consumer.cancel()).await;
                }
                // What is at hand can still be settled.
                assert_eq!(delivery.ack(), Ok(Settled::Sent));
                assert_eq!(cuts(&client, &mut events).await, 0);
            }
            let consumer = started(client.consumer(stream.clone()).unwrap()).await;
            fill(&client, &stream, 50).await;
            drop(consumer);
            assert_eq!(cuts(&client, &mut events).await, 0);
            client.delete_queue(stream).await.unwrap();
        }
    });
}

#[test]
fn what_is_refused_of_a_stream_is_passed_over_and_told_so() {
    run(async {
        let (client, stream) = with_stream(false).await;
        let mut events = client.events();
        fill(&client, &stream, 60).await;
        let mut consumer = started(from_the_first(&client, &stream).prefetch(1)).await;
        for expected in 0..50 {
            let delivery = within("the next", consumer.next()).await.unwrap();
            assert_eq!(number(&delivery), expected);
            let settled = match expected % 5 {
                0 => delivery.nack(true),
                1 => delivery.nack(false),
                2 => delivery.reject(true),
                3 => delivery.reject(false),
                _ => delivery.nack_all_up_to(true),
            };
            assert_eq!(settled, Ok(Settled::PassedOver));
        }
        let batch = within("a batch", consumer.next_batch(1)).await.unwrap();
        assert_eq!(batch.nack(true), Ok(Settled::PassedOver));
        assert_eq!(cuts(&client, &mut events).await, 0);
        client.delete_queue(stream).await.unwrap();
    });
}

#[test]
fn a_handler_that_fails_over_a_message_of_a_stream_is_called_for_the_next() {
    run(async {
        let (client, stream) = with_stream(true).await;
        let mut events = client.events();
        fill(&client, &stream, 10).await;
        let mut consumer = started(from_the_first(&client, &stream).prefetch(1)).await;
        let (calls, stop) = (Cell::new(0), consumer.stop_handle());
        let handler = consumer.process(1, |delivery| {
            calls.set(calls.get() + 1);
            let number = number(&delivery);
            if number == 9 {
                stop.stop();
            }
            async move { if number == 5 { Err("no") } else { Ok(()) } }
        });
        within("the last", handler).await;
        assert_eq!(calls.get(), 10);
        assert_eq!(cuts(&client, &mut events).await, 0);
        client.delete_queue(stream).await.unwrap();
    });
}

/// The header of its deliveries is no proof, as the next test shows. RabbitMQ 4.3 takes a refusal for an
/// acknowledgement, which costs nothing, so that it need not become known.
#[test]
fn where_nobody_says_that_it_is_a_stream_the_first_refusal_costs_the_connection_and_no_other_does()
{
    run(async {
        let (client, stream) = with_stream(false).await;
        let mut events = client.events();
        let mut consumer = started(client.consumer(stream.clone()).unwrap()).await;
        fill(&client, &stream, 1).await;
        let delivery = within("the next", consumer.next()).await.unwrap();
        assert_eq!(delivery.nack(true), Ok(Settled::Sent));
        let expected = if *version() >= (4, 3) {
            Settled::Sent
        } else {
            // The broker may answer other calls first.
            until_consumers_are_back(&mut events).await;
            Settled::PassedOver
        };
        fill(&client, &stream, 2).await;
        for _ in 0..2 {
            let delivery = within("the next", consumer.next()).await.unwrap();
            assert_eq!(delivery.nack(true), Ok(expected));
        }
        assert_eq!(cuts(&client, &mut events).await, 0);
        client.delete_queue(stream).await.unwrap();
    });
}

#[test]
fn a_message_that_was_passed_on_from_a_stream_with_its_headers_goes_back_to_its_queue() {
    run(async {
        let client = connect(&url()).await;
        let queue = fresh_queue(&client).await;
        let properties = Properties::builder().header("x-stream-offset", 7_i64);
        let properties = properties.build().unwrap();
        let producer = client.producer(queue.clone()).unwrap().build();
        for number in 0..3 {
            let message = numbered(number, 8).with_properties(properties.clone());
            producer.send(message).await.unwrap();
        }
        let mut consumer = started(client.consumer(queue.clone()).unwrap()).await;
        let delivery = within("the first", consumer.next()).await.unwrap();
        assert_eq!(delivery.nack(true), Ok(Settled::Sent));
        drop(consumer);
        until_ready(&client, &queue, 3).await;
    });
}
