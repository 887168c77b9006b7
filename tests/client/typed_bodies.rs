//! Bodies that are values, and bodies that are none.

use std::cell::RefCell;
use std::sync::{Arc, Mutex};

use futures_lite::StreamExt;
use serde::{Deserialize, Serialize};
use snowshoe::typed::{DecodeError, Json, TypedConsumer, TypedSendError};
use snowshoe::{Client, Disposition, Error, Event, Message, ShortString};
use support::broker::url;
use support::client::connect;
use support::events::next_event;
use support::queues::{
    declare, fresh_queue, new_queue, take_bodies, unique, until_ready, with_queue,
};
use support::waiting::{run, within};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Order {
    id: u64,
    item: String,
}

fn order(id: u64) -> Order {
    let item = format!("bicycle {id}");
    Order { id, item }
}

async fn orders_of(client: &Client, queue: &ShortString) -> TypedConsumer<Order> {
    let consumer = client.consumer(queue).unwrap().start();
    let consumer = within("the consumer", consumer).await;
    consumer.unwrap().typed()
}

/// An order, what is none, and an order.
async fn publish_with_one_that_is_none(client: &Client, queue: &ShortString) {
    let producer = client.producer(queue).unwrap().build();
    let orders = producer.typed::<Order>();
    within("a confirm", orders.send(&order(1))).await.unwrap();
    within("a confirm", producer.send("none")).await.unwrap();
    within("a confirm", orders.send(&order(2))).await.unwrap();
}

#[test]
fn a_value_that_is_sent_is_received() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(&queue).unwrap().build().typed::<Order>();
        within("a confirm", producer.send(&order(1))).await.unwrap();
        let more = producer.message(&order(2)).unwrap().header("attempt", 2);
        let sent = producer.producer().send(more);
        within("a confirm", sent).await.unwrap();
        let confirmation = producer.try_publish(&order(3)).unwrap();
        within("a confirm", confirmation).await.unwrap();

        let mut orders = orders_of(&client, &queue).await;
        for id in 1..=3 {
            let received = within("a delivery", orders.next()).await.unwrap();
            assert_eq!(received.value().unwrap(), &order(id));
            let properties = received.properties().unwrap();
            let content_type = properties.content_type.unwrap();
            assert_eq!(content_type.as_str(), Some("application/json"));
            assert_eq!(properties.delivery_mode, Some(2));
            received.ack().unwrap();
        }
    });
}

#[test]
fn what_does_not_decode_is_a_delivery_with_the_error_and_ends_nothing() {
    run(async {
        let (client, queue) = with_queue().await;
        publish_with_one_that_is_none(&client, &queue).await;
        let producer = client.producer(&queue).unwrap().build();
        let image = Message::new("{}").content_type("image/png");
        within("a confirm", producer.send(image)).await.unwrap();

        let mut orders = orders_of(&client, &queue).await;
        let mut seen = Vec::new();
        while seen.len() < 4 {
            let received = within("a delivery", StreamExt::next(&mut orders)).await;
            let (value, delivery) = received.unwrap().into_parts();
            seen.push(match value {
                Ok(order) => order.item,
                Err(DecodeError::Malformed(_)) => "malformed".to_owned(),
                Err(DecodeError::ContentType { found, .. }) => found.to_string(),
                Err(error) => panic!("{error}"),
            });
            delivery.ack().unwrap();
        }
        assert_eq!(seen, ["bicycle 1", "malformed", "bicycle 2", "image/png"]);
        within("its end", orders.cancel()).await;
        until_ready(&client, &queue, 0).await;
    });
}

/// Those that were handled, with what becomes of what is none.
async fn handled(
    client: &Client,
    queue: &ShortString,
    decides: impl FnOnce(TypedConsumer<Order>) -> TypedConsumer<Order>,
) -> Vec<u64> {
    publish_with_one_that_is_none(client, queue).await;
    let mut orders = decides(orders_of(client, queue).await);
    let mut events = client.events();
    let stop = orders.stop_handle();
    let seen = RefCell::new(Vec::new());
    let handler = |order: Order, _delivery| {
        seen.borrow_mut().push(order.id);
        if order.id == 2 {
            stop.stop();
        }
        async {}
    };
    let how = within("the end", orders.process(1, handler)).await;
    assert_eq!((how.finished, how.panicked, how.cut_off), (3, 0, 0));
    let is_it = |event: &Event| matches!(event, Event::Undecodable { .. });
    next_event(&mut events, "one that is none", is_it).await;
    seen.take()
}

#[test]
fn handlers_get_values_and_what_is_none_is_dead_lettered() {
    run(async {
        let client = connect(&url()).await;
        let dead = fresh_queue(&client).await;
        let queue = new_queue().dead_letter_exchange("");
        let queue = declare(&client, queue.dead_letter_routing_key(&dead)).await;
        let seen = handled(&client, &queue, |orders| orders).await;
        assert_eq!(seen, [1, 2]);
        until_ready(&client, &dead, 1).await;
        assert_eq!(take_bodies(&client, &dead).await, ["none"]);
        until_ready(&client, &queue, 0).await;
    });
}

#[test]
fn what_becomes_of_what_is_none_is_for_the_user_to_decide() {
    run(async {
        let client = connect(&url()).await;
        let dead = fresh_queue(&client).await;
        let queue = new_queue().dead_letter_exchange("");
        let queue = declare(&client, queue.dead_letter_routing_key(&dead)).await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let tell = Arc::clone(&told);
        let seen = handled(&client, &queue, |orders| {
            orders.on_undecodable(move |error, delivery| {
                let told = (error.to_string(), delivery.body().to_vec());
                tell.lock().unwrap().push(told);
                Disposition::Ack
            })
        })
        .await;
        assert_eq!(seen, [1, 2]);
        let told = std::mem::take(&mut *told.lock().unwrap());
        let [(error, body)] = &told[..] else {
            panic!("it is told once");
        };
        assert!(
            error.starts_with("the body of the message cannot be decoded"),
            "{error}"
        );
        assert_eq!(body, b"none");
        for queue in [&queue, &dead] {
            until_ready(&client, queue, 0).await;
        }
    });
}

#[test]
fn a_decoder_that_panics_has_not_decoded() {
    #[derive(Debug, Deserialize)]
    #[serde(from = "u64")]
    struct Fussy;
    impl From<u64> for Fussy {
        fn from(number: u64) -> Self {
            assert_ne!(number, 13, "not that one");
            Self
        }
    }
    run(async {
        let (client, queue) = with_queue().await;
        let numbers = client.producer(&queue).unwrap().build().typed::<u64>();
        for number in [13, 14] {
            within("a confirm", numbers.send(&number)).await.unwrap();
        }
        let consumer = client.consumer(&queue).unwrap().start();
        let consumer = within("the consumer", consumer).await.unwrap();
        let mut numbers = consumer.typed_by::<Fussy>(Json);
        let mut batch = Vec::new();
        while batch.len() < 2 {
            let more = within("deliveries", numbers.next_batch(2)).await;
            batch.extend(more.unwrap());
        }
        let error = batch[0].value().unwrap_err();
        assert!(matches!(error, DecodeError::Panicked(said) if said.contains("not that one")));
        assert!(batch[1].value().is_ok());
        for delivery in batch {
            delivery.ack().unwrap();
        }
    });
}

#[test]
fn what_cannot_be_encoded_or_sent_is_told_apart() {
    async fn send(producer: &snowshoe::Producer) -> Result<(), Error> {
        producer.typed::<Order>().send(&order(1)).await?;
        Ok(())
    }
    run(async {
        let client = connect(&url()).await;
        let producer = client.producer(unique("nowhere")).unwrap().build();
        let sent = within("its end", send(&producer)).await;
        assert!(matches!(sent, Err(Error::Unconfirmed(_))), "{sent:?}");

        let no_key = std::collections::BTreeMap::from([(vec![1], 1)]);
        let typed = producer.typed::<std::collections::BTreeMap<Vec<u8>, u8>>();
        let error = within("its end", typed.send(&no_key)).await.unwrap_err();
        assert!(matches!(error, TypedSendError::Encode(_)), "{error}");
        assert_eq!(producer.buffered(), 0);
    });
}

#[cfg(feature = "zstd")]
#[test]
fn bodies_are_compressed_on_their_way_and_bounded_when_they_are_read() {
    use snowshoe::typed::Zstd;

    run(async {
        let (client, queue) = with_queue().await;
        let codec = Zstd::new(Json).max_size(10_000);
        let producer = client.producer(&queue).unwrap().build();
        let texts = producer.typed_by::<str>(codec);
        for length in [9_000, 10_000] {
            within("a confirm", texts.send(&"x".repeat(length)))
                .await
                .unwrap();
        }
        let plain = producer.typed::<str>();
        within("a confirm", plain.send("as it is")).await.unwrap();

        let consumer = client.consumer(&queue).unwrap().start();
        let consumer = within("the consumer", consumer).await.unwrap();
        let mut texts = consumer.typed_by::<String>(codec);
        let first = within("a delivery", texts.next()).await.unwrap();
        assert!(first.body().len() < 100);
        assert_eq!(first.value().unwrap().len(), 9_000);
        first.ack().unwrap();
        let bomb = within("a delivery", texts.next()).await.unwrap();
        let error = bomb.value().unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { limit: 10_000 }));
        bomb.nack(false).unwrap();
        let last = within("a delivery", texts.next()).await.unwrap();
        assert_eq!(last.value().unwrap(), "as it is");
        last.ack().unwrap();
    });
}
