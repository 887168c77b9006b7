//! A queue with a single active consumer goes from one consumer to the next in order.

use snowshoe::{Client, Consumer, Delivery, Queue, ShortString};
use support::broker::url;
use support::client::connect;
use support::messages::number;
use support::messages::numbered;
use support::queues::{declare, unique};
use support::waiting::{eventually, run, within};

const PREFETCH: u16 = 4;

async fn start(client: &Client, queue: &ShortString) -> Consumer {
    let consumer = client
        .consumer(queue.clone())
        .unwrap()
        .prefetch(PREFETCH)
        .start();
    within("the consumer", consumer).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    within("a delivery", consumer.next()).await.unwrap()
}

/// A queue of ten messages whose first consumer has the first few, and a second consumer that has none.
async fn handed_over(queue: Queue) -> (Client, Consumer, Client, Consumer) {
    let first_client = connect(&url()).await;
    let second_client = connect(&url()).await;
    let queue = declare(&first_client, queue.single_active_consumer()).await;
    let producer = first_client.producer(queue.clone()).unwrap().build();
    let first = start(&first_client, &queue).await;
    let second = start(&second_client, &queue).await;
    for number in 0..10 {
        within("the confirm", producer.send(numbered(number, 10)))
            .await
            .unwrap();
    }
    eventually("the first has its prefetch", || {
        first.waiting() == usize::from(PREFETCH)
    })
    .await;
    (first_client, first, second_client, second)
}

/// What the second consumer gets, which acknowledges all of it.
async fn rest(mut second: Consumer, from: u64) {
    for expected in from..10 {
        let delivery = next(&mut second).await;
        assert_eq!(number(&delivery), expected);
        delivery.ack().unwrap();
    }
}

fn kinds() -> [Queue; 2] {
    [
        Queue::new(unique("handover, classic")).expires(std::time::Duration::from_secs(300)),
        Queue::quorum(unique("handover, quorum")),
    ]
}

#[test]
fn what_a_cancelled_consumer_had_not_taken_comes_first_to_the_next() {
    run(async {
        for queue in kinds() {
            let (client, mut first, next_client, second) = handed_over(queue).await;
            next(&mut first).await.ack().unwrap();
            within("the end", first.cancel()).await;
            rest(second, 1).await;
            client.close().await;
            next_client.close().await;
        }
    });
}

#[test]
fn a_queue_is_handed_over_once_what_is_at_hand_is_settled() {
    run(async {
        for queue in kinds() {
            let (client, mut first, next_client, mut second) = handed_over(queue).await;
            let held = [next(&mut first).await, next(&mut first).await];
            drop(first);
            assert!(second.try_next().is_none());
            for delivery in held {
                delivery.ack().unwrap();
            }
            rest(second, 2).await;
            client.close().await;
            next_client.close().await;
        }
    });
}

#[test]
fn what_a_client_that_is_closed_had_comes_first_to_the_next() {
    run(async {
        for queue in kinds() {
            let (client, mut first, next_client, second) = handed_over(queue).await;
            next(&mut first).await.ack().unwrap();
            client.close().await;
            rest(second, 1).await;
            next_client.close().await;
        }
    });
}
