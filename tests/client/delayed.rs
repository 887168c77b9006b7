//! Messages that are published now and arrive later.

use std::time::{Duration, Instant, SystemTime};

use snowshoe::{
    Client, Consumer, DelayedProducer, Delays, Delivery, Exchange, FieldArray, Message, Queue,
    ShortString,
};
use support::broker::{Node, url};
use support::cable::Cable;
use support::client::connect;
use support::messages::text;
use support::queues::{declare, new_queue, unique, until_ready};
use support::waiting::{run, within};

/// Up to a minute by the tenth of a second: ten queues.
fn delays(is_quorum: bool) -> Delays {
    let delays = Delays::queues(unique("later"), Duration::from_secs(60));
    let delays = delays.precision(millis(100));
    match is_quorum {
        true => delays.quorum(),
        false => delays,
    }
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

async fn consumer(client: &Client, queue: &ShortString) -> Consumer {
    let consumer = client.consumer(queue.clone()).unwrap().start();
    within("the consumer", consumer).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    let delivery = within("a message", consumer.next()).await;
    delivery.expect("nobody stops the consumer")
}

async fn send(producer: &DelayedProducer, message: impl Into<Message>, delay: Duration) {
    let sent = within("the confirm", producer.send_after(message, delay)).await;
    sent.expect("the broker has it");
}

#[test]
fn messages_arrive_not_before_their_time_and_none_waits_for_another() {
    run(async {
        for (is_quorum, is_for_queue) in
            [(false, true), (false, false), (true, true), (true, false)]
        {
            let client = connect(&url()).await;
            let (queue, exchange) = (unique("reminders"), unique("events"));
            let target = Queue::new(&queue).expires(Duration::from_secs(300));
            let producer = match is_for_queue {
                true => client.producer(target).unwrap(),
                false => {
                    let topic = Exchange::topic(&exchange).auto_delete();
                    declare(&client, target.bind(topic, "order.*")).await;
                    client.exchange_producer(&exchange, "order.unpaid").unwrap()
                }
            };
            let producer = producer.build_delayed(&delays(is_quorum)).unwrap();
            send(&producer, "none", Duration::ZERO).await;
            let queue = ShortString::try_from(queue).unwrap();
            let mut consumer = consumer(&client, &queue).await;
            assert_eq!(text(next(&mut consumer).await.body()), "none");

            let since = Instant::now();
            // It would hold up all others, were it before them in one queue.
            send(&producer, "long", Duration::from_secs(50)).await;
            send(&producer, "second", millis(1_100)).await;
            send(&producer, "first", millis(250)).await;
            let past = SystemTime::now() - millis(300);
            let sent = within("the confirm", producer.send_at("past", past)).await;
            sent.unwrap();
            let mut arrived = Vec::new();
            for _ in 0..3 {
                let body = text(next(&mut consumer).await.body());
                let delay = match &*body {
                    "second" => 1_100,
                    "first" => 300,
                    _ => 0,
                };
                assert!(since.elapsed() >= millis(delay), "{body} is early");
                arrived.push(body);
            }
            arrived.sort();
            assert_eq!(
                arrived,
                ["first", "past", "second"],
                "{is_quorum} {is_for_queue}"
            );
            client.close().await;
        }
    });
}

#[test]
fn a_message_keeps_what_it_is_and_copies_go_where_they_are_to() {
    run(async {
        for is_quorum in [false, true] {
            let client = connect(&url()).await;
            let copies = [
                declare(&client, new_queue()).await,
                declare(&client, new_queue()).await,
            ];
            let name = unique("reminders");
            let target = Queue::new(&name).expires(Duration::from_secs(300));
            let producer = client.producer(target).unwrap();
            let producer = producer.build_delayed(&delays(is_quorum)).unwrap();
            let keys = copies.clone().map(|it| {
                let key = it.as_str().unwrap().to_owned();
                FieldArray::new().with(&*key).unwrap()
            });
            let message = Message::new("pay")
                .header("color", "red")
                .header("CC", &keys[0])
                .header("BCC", &keys[1])
                .priority(1)
                .correlation_id("17")
                .content_type("text/plain");
            send(&producer, message, millis(150)).await;
            let name = ShortString::try_from(name).unwrap();
            for queue in copies.iter().chain([&name]) {
                let mut consumer = consumer(&client, queue).await;
                let delivery = next(&mut consumer).await;
                assert_eq!(text(delivery.body()), "pay");
                assert_eq!(delivery.routing_key().as_str(), name.as_str());
                let properties = delivery.properties().unwrap();
                assert_eq!(properties.delivery_mode, Some(2));
                assert_eq!(properties.priority, Some(1));
                let texts = [properties.correlation_id, properties.content_type];
                let texts = texts.map(|it| it.unwrap().as_str().unwrap().to_owned());
                assert_eq!(texts, ["17", "text/plain"]);
                let headers = properties.headers.unwrap();
                let color = headers.get("color").unwrap().unwrap();
                assert_eq!(color.as_str(), Some("red"));
            }
            client.close().await;
        }
    });
}

#[test]
fn what_has_waited_can_wait_again_with_all_that_it_brings_along() {
    run(async {
        let client = connect(&url()).await;
        let name = unique("reminders");
        let target = Queue::new(&name).expires(Duration::from_secs(300));
        let producer = client.producer(target).unwrap();
        let producer = producer.build_delayed(&delays(false)).unwrap();
        // Through two queues, each of which would see it again.
        let delay = millis(300);
        send(&producer, "again and again", delay).await;
        let name = ShortString::try_from(name).unwrap();
        let mut consumer = consumer(&client, &name).await;
        for _ in 0..3 {
            let delivery = next(&mut consumer).await;
            let properties = delivery.properties().unwrap();
            let deaths = properties.headers.unwrap().get("x-death").unwrap();
            assert!(deaths.is_some(), "it brings nothing along");
            let again = Message::from(delivery.body());
            let again = again.with_properties(properties.encode().unwrap());
            send(&producer, again, delay).await;
        }
        let last = next(&mut consumer).await;
        assert_eq!(text(last.body()), "again and again");
        client.close().await;
    });
}

#[test]
fn a_producer_goes_on_after_a_cut_and_what_it_needs_is_there_again() {
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        let delays = delays(false);
        let name = unique("reminders");
        let target = Queue::new(&name).expires(Duration::from_secs(300));
        let producer = client.producer(target).unwrap();
        let producer = producer.build_delayed(&delays).unwrap();
        send(&producer, "before", millis(500)).await;
        cable.cut().await;
        cable.mend().await;
        send(&producer, "after", millis(500)).await;
        let name = ShortString::try_from(name).unwrap();
        let mut consumer = consumer(&client, &name).await;
        let mut bodies = Vec::new();
        for _ in 0..2 {
            bodies.push(text(next(&mut consumer).await.body()));
        }
        bodies.sort();
        assert_eq!(bodies, ["after", "before"]);
        client.close().await;
    });
}

#[test]
fn what_waits_comes_through_a_crash_of_the_broker() {
    let mut node = Node::start();
    run(async {
        let client = connect(&node.url()).await;
        let mut sent = Vec::new();
        // Of one kind all the way: a classic queue that starts hands on once, and does not wait for a quorum queue.
        for (queue, is_quorum) in [(Queue::new("one"), false), (Queue::quorum("two"), true)] {
            let producer = client.producer(queue).unwrap();
            let producer = producer.build_delayed(&delays(is_quorum)).unwrap();
            send(&producer, "before", millis(2_000)).await;
            sent.push(producer);
        }
        node.kill();
        node.start_again();
        for (producer, queue) in sent.iter().zip(["one", "two"]) {
            send(producer, "after", millis(100)).await;
            until_ready(&client, &ShortString::from_static(queue), 2).await;
        }
        client.close().await;
    });
}
