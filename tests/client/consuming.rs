//! What becomes of messages that are consumed while nothing goes wrong with the network.

use std::time::Duration;

use futures_lite::{FutureExt as _, StreamExt as _};
use snowshoe::{
    Client, ConnectionRole, Consumer, ConsumerBuilder, Delivery, Error, Event, Message, Properties,
    Queue, ReplyCode, SettleError, ShortString,
};
use support::broker::url;
use support::client::connect;
use support::events::find_event;
use support::messages::text;
use support::proxy::Proxy;
use support::queues::{
    declare, fresh_queue, new_queue, publish, ready_in, take_bodies, unique, until_ready,
    with_queue,
};
use support::waiting::{run, wait_until, within};

const ONE_TO_FIVE: [&str; 5] = ["1", "2", "3", "4", "5"];

/// A client with a consumer of a queue that holds the messages "1" to "5".
async fn consuming_five(
    configure: impl FnOnce(ConsumerBuilder) -> ConsumerBuilder,
) -> (Client, ShortString, Consumer) {
    let (client, queue) = with_queue().await;
    publish(&client, &queue, &ONE_TO_FIVE).await;
    let consumer = configure(client.consumer(queue.clone()).unwrap());
    let consumer = consumer.start().await.unwrap();
    (client, queue, consumer)
}

async fn next<const N: usize>(consumer: &mut Consumer) -> [Delivery; N] {
    let mut deliveries = Vec::new();
    while deliveries.len() < N {
        deliveries.push(consumer.next().await.expect("the consumer goes on"));
    }
    deliveries.try_into().expect("there are so many")
}

fn body(delivery: &Delivery) -> String {
    text(delivery.body())
}

/// What is left in the queue once the consumer's channel is closed: all that was not acknowledged.
async fn left_by(
    consumer: Consumer,
    client: &Client,
    queue: &ShortString,
    count: u32,
) -> Vec<String> {
    drop(consumer);
    until_ready(client, queue, count).await;
    take_bodies(client, queue).await
}

#[test]
fn a_delivery_that_the_broker_is_about_to_take_back_is_told_once() {
    run(async {
        let client = connect(&url()).await;
        let mut events = client.events();
        let queue = fresh_queue(&client).await;
        publish(&client, &queue, &["1", "2"]).await;
        let builder = client.consumer(queue).unwrap();
        let builder = builder.warn_unsettled_after(Duration::from_secs(1));
        let mut consumer = within("the consumer", builder.start()).await.unwrap();
        let first = within("a delivery", consumer.next()).await.unwrap();
        let find = |event| match event {
            Event::Overdue { unsettled_for, .. } => Some(unsettled_for),
            _ => None,
        };
        let time = find_event(&mut events, "the warning", find).await;
        assert!(time >= Duration::from_secs(1), "{time:?}");
        first.ack().unwrap();
        // The next one has not even been handed out, and has its time from when it is the oldest.
        find_event(&mut events, "another", find).await;
        client.close().await;
    });
}

#[test]
fn deliveries_come_in_order_and_are_gone_once_acknowledged() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it).await;
        for expected in ONE_TO_FIVE {
            let delivery = consumer.next().await.unwrap();
            assert_eq!(body(&delivery), expected);
            assert_eq!(delivery.exchange(), "");
            assert_eq!(delivery.routing_key(), queue.as_short_str());
            assert!(!delivery.is_redelivered());
            delivery.ack().unwrap();
        }
        publish(&client, &queue, &["6"]).await;
        assert_eq!(body(&next::<1>(&mut consumer).await[0]), "6");
        assert_eq!(left_by(consumer, &client, &queue, 1).await, ["6"]);
    });
}

#[test]
fn a_consumer_is_a_stream() {
    run(async {
        let (_client, _queue, consumer) = consuming_five(|it| it).await;
        let bodies: Vec<String> = consumer.take(5).map(|it| body(&it)).collect().await;
        assert_eq!(bodies, ONE_TO_FIVE);
    });
}

#[test]
fn a_consumer_that_waits_is_woken_by_a_message() {
    run(async {
        let (client, queue) = with_queue().await;
        let mut consumer = client
            .consumer(queue.clone())
            .unwrap()
            .start()
            .await
            .unwrap();
        let publish = async {
            publish(&client, &queue, &["hello"]).await;
            std::future::pending().await
        };
        let delivery = consumer.next().or(publish).await.unwrap();
        assert_eq!(body(&delivery), "hello");
        delivery.ack().unwrap();
    });
}

#[test]
fn a_batch_holds_what_is_there_up_to_a_limit() {
    run(async {
        let (_client, _queue, mut consumer) = consuming_five(|it| it).await;
        wait_until("five messages are there", || consumer.waiting() == 5);
        let first = consumer.next_batch(3).await.unwrap();
        assert_eq!(first.iter().map(body).collect::<Vec<_>>(), ["1", "2", "3"]);
        let rest = consumer.next_batch(usize::MAX).await.unwrap();
        assert_eq!(rest.iter().map(body).collect::<Vec<_>>(), ["4", "5"]);
        rest.ack().unwrap();
        first.ack().unwrap();
    });
}

#[test]
fn a_batch_is_acknowledged_whole_and_nothing_else_is() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it).await;
        wait_until("five messages are there", || consumer.waiting() == 5);
        let before = consumer.next().await.unwrap();
        let batch = consumer.next_batch(3).await.unwrap();
        assert_eq!(batch.len(), 3);
        batch.ack().unwrap();
        drop(before);
        assert_eq!(left_by(consumer, &client, &queue, 2).await, ["1", "5"]);
    });
}

#[test]
fn a_batch_can_be_refused() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it).await;
        wait_until("five messages are there", || consumer.waiting() == 5);
        consumer.next_batch(2).await.unwrap().nack(false).unwrap();
        let last = left_by(consumer, &client, &queue, 3).await;
        assert_eq!(last, ["3", "4", "5"]);
    });
}

#[test]
fn ack_all_up_to_covers_what_came_before_and_nothing_after() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it).await;
        let [first, second, third, fourth] = next(&mut consumer).await;
        second.ack().unwrap();
        third.ack_all_up_to().unwrap();
        assert_eq!(first.ack(), Err(SettleError::AlreadySettled));
        drop(fourth);
        assert_eq!(left_by(consumer, &client, &queue, 2).await, ["4", "5"]);
    });
}

#[test]
fn nack_all_up_to_covers_what_came_before_unless_it_is_settled() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it.prefetch(3)).await;
        let [first, second, third] = next(&mut consumer).await;
        second.ack().unwrap();
        third.nack_all_up_to(true).unwrap();
        assert_eq!(first.nack(false), Err(SettleError::AlreadySettled));
        let left = left_by(consumer, &client, &queue, 4).await;
        assert_eq!(left, ["1", "3", "4", "5"]);
    });
}

#[test]
fn a_requeued_message_is_delivered_again() {
    run(async {
        let (_client, _queue, mut consumer) = consuming_five(|it| it.prefetch(1)).await;
        let [first] = next(&mut consumer).await;
        assert!(!first.is_redelivered());
        first.nack(true).unwrap();
        let [second] = next(&mut consumer).await;
        assert!(second.is_redelivered());
        second.reject(true).unwrap();
        let [third] = next(&mut consumer).await;
        assert_eq!(body(&third), "1");
        third.ack().unwrap();
        assert_eq!(body(&next::<1>(&mut consumer).await[0]), "2");
    });
}

#[test]
fn a_refused_message_is_dead_lettered() {
    run(async {
        let (client, dead_letters) = with_queue().await;
        let queue = new_queue()
            .dead_letter_exchange("")
            .dead_letter_routing_key(dead_letters.as_str().unwrap());
        let queue = declare(&client, queue).await;
        publish(&client, &queue, &["nacked", "rejected", "kept"]).await;
        let mut consumer = client.consumer(queue).unwrap().start().await.unwrap();
        let [first, second, third] = next(&mut consumer).await;
        first.nack(false).unwrap();
        second.reject(false).unwrap();
        third.ack().unwrap();
        until_ready(&client, &dead_letters, 2).await;
        assert_eq!(
            take_bodies(&client, &dead_letters).await,
            ["nacked", "rejected"]
        );
    });
}

#[test]
fn without_acknowledgements_messages_are_gone_when_they_are_sent() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(ConsumerBuilder::no_ack).await;
        let [first, second, ..] = next::<5>(&mut consumer).await;
        assert_eq!(first.ack(), Err(SettleError::NoAck));
        assert_eq!(second.nack(true), Err(SettleError::NoAck));
        publish(&client, &queue, &["6"]).await;
        let batch = consumer.next_batch(9).await.unwrap();
        assert_eq!(batch.ack(), Err(SettleError::NoAck));
        assert!(left_by(consumer, &client, &queue, 0).await.is_empty());
    });
}

#[test]
fn a_cancelled_consumer_gives_back_what_it_has_not_handed_out() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it).await;
        let [first, second] = next(&mut consumer).await;
        wait_until("the other three are there", || consumer.waiting() == 3);
        within("the cancel", consumer.cancel()).await;
        until_ready(&client, &queue, 3).await;

        // What was handed out is still in the user's hands.
        first.ack().unwrap();
        second.nack(true).unwrap();
        until_ready(&client, &queue, 4).await;
        assert_eq!(take_bodies(&client, &queue).await, ["2", "3", "4", "5"]);
    });
}

#[test]
fn a_dropped_consumer_gives_back_what_it_has_not_handed_out() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it).await;
        let [first] = next(&mut consumer).await;
        drop(consumer);
        until_ready(&client, &queue, 4).await;
        first.ack().unwrap();
        assert_eq!(take_bodies(&client, &queue).await, ["2", "3", "4", "5"]);
    });
}

#[test]
fn an_unsettled_delivery_of_a_dropped_consumer_goes_back_when_it_is_dropped() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it).await;
        let [first] = next(&mut consumer).await;
        drop(consumer);
        until_ready(&client, &queue, 4).await;
        drop(first);
        until_ready(&client, &queue, 5).await;
        assert_eq!(take_bodies(&client, &queue).await, ONE_TO_FIVE);
    });
}

#[test]
fn what_comes_for_a_dropped_consumer_goes_back_even_while_a_delivery_is_at_hand() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it.prefetch(2)).await;
        let [first, second] = next(&mut consumer).await;
        // Makes the broker send another, before it can have heard of the end.
        second.ack().unwrap();
        drop(consumer);
        until_ready(&client, &queue, 3).await;
        first.ack().unwrap();
        assert_eq!(take_bodies(&client, &queue).await, ["3", "4", "5"]);
    });
}

// case E1
#[test]
fn a_consumer_with_an_empty_name_has_one_and_can_be_cancelled() {
    run(async {
        let (client, queue) = with_queue().await;
        let consumer = client.consumer(queue.clone()).unwrap().tag("").unwrap();
        consumer.start().await.unwrap().cancel().await;
        let declared = client.declare(Queue::new(queue).passive()).await.unwrap();
        assert_eq!(declared.consumer_count, 0);
    });
}

#[test]
fn an_exclusive_consumer_is_the_only_one() {
    run(async {
        let (client, queue, exclusive) = consuming_five(ConsumerBuilder::exclusive).await;
        let second = || client.consumer(queue.clone()).unwrap().start();
        let Err(Error::Refused(close)) = second().await else {
            panic!("the second consumer was to be refused");
        };
        assert_eq!(close.code, ReplyCode::ACCESS_REFUSED);

        exclusive.cancel().await;
        assert_eq!(body(&next::<1>(&mut second().await.unwrap()).await[0]), "1");
    });
}

#[test]
fn consumers_of_higher_priority_are_served_first() {
    run(async {
        let (client, queue) = with_queue().await;
        let consumer = || client.consumer(queue.clone()).unwrap();
        let mut low = consumer().start().await.unwrap();
        let high = consumer().prefetch(2).priority(1).unwrap();
        let mut high = high.start().await.unwrap();
        publish(&client, &queue, &["1", "2", "3"]).await;
        let [first, second] = next(&mut high).await;
        let [third] = next(&mut low).await;
        assert_eq!([&first, &second, &third].map(body), ["1", "2", "3"]);
    });
}

#[test]
fn a_consumer_of_a_missing_queue_does_not_start() {
    run(async {
        let client = connect(&url()).await;
        let consumer = client.consumer(unique("missing")).unwrap();
        let Err(Error::Refused(close)) = consumer.start().await else {
            panic!("the consumer was to be refused");
        };
        assert_eq!(close.code, ReplyCode::NOT_FOUND);
    });
}

#[test]
fn a_consumer_is_given_no_more_than_its_prefetch_before_it_settles() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it.prefetch(2)).await;
        let [first, second] = next(&mut consumer).await;
        assert_eq!(ready_in(&client, &queue).await, 3);
        second.ack().unwrap();
        let [third] = next(&mut consumer).await;
        assert_eq!(body(&third), "3");
        assert_eq!(ready_in(&client, &queue).await, 2);
        first.ack().unwrap();
        third.ack().unwrap();
        assert_eq!(body(&next::<1>(&mut consumer).await[0]), "4");
    });
}

#[test]
fn consumers_have_delivery_tags_of_their_own() {
    run(async {
        let (client, queue, mut consumer) = consuming_five(|it| it.prefetch(2)).await;
        let other = client.consumer(queue.clone()).unwrap().prefetch(2);
        let mut other = other.start().await.unwrap();
        let [one, two] = next(&mut consumer).await;
        let [three, four] = next(&mut other).await;
        assert_eq!([&one, &two].map(Delivery::delivery_tag), [1, 2]);
        assert_eq!([&three, &four].map(Delivery::delivery_tag), [1, 2]);
        four.ack_all_up_to().unwrap();
        assert_eq!(three.ack(), Err(SettleError::AlreadySettled));
        drop((one, two, other));
        assert_eq!(left_by(consumer, &client, &queue, 3).await, ["1", "2", "5"]);
    });
}

#[test]
fn malformed_headers_are_an_error_of_their_message_only() {
    run(async {
        let (client, queue) = with_queue().await;
        let channel = client.channel().await.unwrap();
        let properties = Properties::from_encoded(nested_too_deep().into());
        let poison = Message::from("poison").with_properties(properties);
        let queue_name = queue.as_str().unwrap();
        channel.publish("", queue_name, poison).await.unwrap();
        channel.publish("", queue_name, "harmless").await.unwrap();

        let mut consumer = client
            .consumer(queue.clone())
            .unwrap()
            .start()
            .await
            .unwrap();
        let [poison, harmless] = next(&mut consumer).await;
        let headers = poison.properties().unwrap().headers.unwrap();
        assert!(headers.check().is_err());
        assert_eq!(body(&poison), "poison");
        poison.nack(false).unwrap();
        assert_eq!(body(&harmless), "harmless");
        harmless.ack().unwrap();
        assert!(left_by(consumer, &client, &queue, 0).await.is_empty());
    });
}

/// Properties with headers that no producer of ours would write: tables in tables in tables.
fn nested_too_deep() -> Vec<u8> {
    let mut table = Vec::new();
    for _ in 0..1000 {
        table = [b"\x01tF", &len_of(&table)[..], &table].concat();
    }
    const HEADERS: [u8; 2] = (1_u16 << 13).to_be_bytes();
    [&HEADERS[..], &len_of(&table), &table].concat()
}

fn len_of(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap().to_be_bytes()
}

#[test]
fn a_property_need_not_be_text() {
    run(async {
        let (client, queue) = with_queue().await;
        let properties = Properties::builder()
            .content_type(b"\xff\xfe")
            .build()
            .unwrap();
        let message = Message::from("hello").with_properties(properties);
        client
            .producer(queue.clone())
            .unwrap()
            .build()
            .send(message)
            .await
            .unwrap();
        let mut consumer = client.consumer(queue).unwrap().start().await.unwrap();
        let [delivery] = next(&mut consumer).await;
        let content_type = delivery.properties().unwrap().content_type.unwrap();
        assert_eq!(
            (content_type.as_bytes(), content_type.as_str()),
            (&b"\xff\xfe"[..], None)
        );
    });
}

// case I5
#[test]
fn a_connection_to_itself_is_refused_for_an_exclusive_queue_of_the_client() {
    run(async {
        let proxy = Proxy::start(&url());
        let client = connect(&proxy.url()).await;
        let named = Queue::new(unique("consuming")).exclusive();
        for queue in [named, Queue::server_named()] {
            let queue = client.declare(queue).await.unwrap().name;
            let builder = client.consumer(queue.clone()).unwrap();
            let refused = within("the answer", builder.dedicated_connection().start()).await;
            let Err(Error::ExclusiveQueue(name)) = refused else {
                panic!("{refused:?}");
            };
            assert_eq!(name, queue);
            // Nothing was opened for it, and without one it works.
            assert_eq!(proxy.stats().links.len(), 1);
            let consumer = client.consumer(queue).unwrap().start().await;
            consumer.unwrap();
        }
    });
}

#[test]
fn a_consumer_can_have_a_connection_to_itself() {
    run(async {
        let proxy = Proxy::start(&url());
        let client = connect(&proxy.url()).await;
        let mut events = client.events();
        let queue = fresh_queue(&client).await;
        let builder = client
            .consumer(queue.clone())
            .unwrap()
            .dedicated_connection();
        let mut consumer = builder.start().await.unwrap();
        let connected = |event| match event {
            Event::Connected { role } => Some(role),
            _ => None,
        };
        let first = find_event(&mut events, "a connection", connected).await;
        assert_eq!(first, ConnectionRole::Dedicated);
        publish(&client, &queue, &["hello"]).await;
        let second = find_event(&mut events, "a connection", connected).await;
        assert_eq!(second, ConnectionRole::Publishing);
        let [delivery] = next(&mut consumer).await;
        delivery.ack().unwrap();
        assert_eq!(proxy.stats().open(), 3);

        // It goes with the consumer.
        drop(consumer);
        proxy.wait_until("the connection is closed", |stats| stats.open() == 2);
        assert_eq!(ready_in(&client, &queue).await, 0);
    });
}
