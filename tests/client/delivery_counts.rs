//! How often a message may come back, and what counts: in quorum queues, which have such a limit.

use std::time::Duration;

use snowshoe::{
    Client, Consumer, Delivery, DeliveryLimit, Event, Queue, RetryOn, Settled, ShortString,
};
use support::broker::{url, version};
use support::client::connect;
use support::events::next_event;
use support::messages::{number, numbered, text};
use support::queues::{declare, fresh_queue, publish, take_bodies, unique};
use support::waiting::{eventually, run, within};

fn quorum() -> Queue {
    Queue::quorum(unique("deliveries"))
}

/// A queue with this limit, and where its dead letters go.
async fn with_limit(client: &Client, limit: impl Into<DeliveryLimit>) -> [ShortString; 2] {
    let dead = fresh_queue(client).await;
    let queue = quorum()
        .delivery_limit(limit)
        .dead_letter_exchange("")
        .dead_letter_routing_key(dead.clone());
    [declare(client, queue).await, dead]
}

async fn consume(client: &Client, queue: &ShortString) -> Consumer {
    let consumer = client.consumer(queue.clone()).unwrap().prefetch(10).start();
    within("the consumer", consumer).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    within("a delivery", consumer.next()).await.unwrap()
}

/// Whether the broker tells what failed from what is given back: RabbitMQ 4.3 was the first.
fn spares_what_is_given_back() -> bool {
    *version() >= (4, 3)
}

#[test]
fn a_message_that_its_handler_cannot_take_is_dead_lettered_beyond_the_limit() {
    run(async {
        let client = connect(&url()).await;
        let [queue, dead] = with_limit(&client, 3).await;
        publish(&client, &queue, &["poison"]).await;
        let mut counts = Vec::new();
        let mut consumer = consume(&client, &queue).await;
        let handle = consumer.process(4, |delivery| {
            counts.push(delivery.delivery_count());
            std::future::ready(Err::<(), _>("no"))
        });
        let letter = async {
            let mut letters = consume(&client, &dead).await;
            let letter = next(&mut letters).await;
            assert_eq!(text(letter.body()), "poison");
            letter.ack().unwrap();
        };
        futures_lite::future::or(
            async {
                handle.await;
            },
            letter,
        )
        .await;
        assert_eq!(counts, [Some(0), Some(1), Some(2), Some(3)]);
        client.close().await;
    });
}

#[test]
fn what_is_given_back_counts_only_where_the_broker_knows_no_better() {
    run(async {
        let client = connect(&url()).await;
        let [queue, dead] = with_limit(&client, 3).await;
        publish(&client, &queue, &["innocent"]).await;
        let mut consumer = consume(&client, &queue).await;
        let times = if spares_what_is_given_back() { 30 } else { 4 };
        for before in 0..times {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.earlier_deliveries(), Some(before));
            let counted = if spares_what_is_given_back() {
                0
            } else {
                before
            };
            assert_eq!(delivery.delivery_count(), Some(counted));
            delivery.release().unwrap();
        }
        let holder = if spares_what_is_given_back() {
            &queue
        } else {
            &dead
        };
        consumer.cancel().await;
        let mut consumer = consume(&client, holder).await;
        next(&mut consumer).await.ack().unwrap();
        client.close().await;
    });
}

#[test]
fn a_queue_without_a_limit_gives_up_nothing() {
    run(async {
        let client = connect(&url()).await;
        let [queue, dead] = with_limit(&client, DeliveryLimit::Unlimited).await;
        publish(&client, &queue, &["again"]).await;
        let mut consumer = consume(&client, &queue).await;
        for before in 0..30 {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.delivery_count(), Some(before));
            delivery.retry().unwrap();
        }
        next(&mut consumer).await.ack().unwrap();
        assert!(take_bodies(&client, &dead).await.is_empty());
        client.close().await;
    });
}

#[test]
fn a_classic_queue_does_not_count() {
    run(async {
        let client = connect(&url()).await;
        let queue = fresh_queue(&client).await;
        publish(&client, &queue, &["a"]).await;
        let mut consumer = consume(&client, &queue).await;
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.delivery_count(), Some(0));
        assert_eq!(delivery.earlier_deliveries(), Some(0));
        delivery.retry().unwrap();
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.delivery_count(), None);
        assert_eq!(delivery.earlier_deliveries(), None);
        delivery.ack().unwrap();
        client.close().await;
    });
}

/// How a consumer goes that has more than it has handed out.
#[derive(Clone, Copy, Debug)]
enum End {
    Closed,
    Cancelled,
    Dropped,
}

#[test]
fn what_was_never_handed_out_goes_back_uncounted() {
    run(async {
        for end in [End::Closed, End::Cancelled, End::Dropped] {
            let client = connect(&url()).await;
            let [queue, _] = with_limit(&client, 3).await;
            let producer = client.producer(queue.clone()).unwrap().build();
            for number in 0..8 {
                producer.send(numbered(number, 10)).await.unwrap();
            }
            let mut consumer = consume(&client, &queue).await;
            eventually("all are there", || consumer.waiting() == 8).await;
            let held = [next(&mut consumer).await, next(&mut consumer).await];
            match end {
                End::Closed => _ = client.close().await,
                End::Cancelled => consumer.cancel().await,
                End::Dropped => drop(consumer),
            }
            drop(held);
            client.close().await;

            let client = connect(&url()).await;
            let mut consumer = consume(&client, &queue).await;
            let mut counts = [None; 8];
            for _ in 0..8 {
                let delivery = next(&mut consumer).await;
                assert_eq!(delivery.earlier_deliveries(), Some(1), "{end:?}");
                counts[number(&delivery) as usize] = delivery.delivery_count();
                delivery.ack().unwrap();
            }
            let uncounted = Some(u64::from(!spares_what_is_given_back()));
            assert_eq!(counts[..2], [Some(1); 2], "{end:?}");
            assert_eq!(counts[2..], [uncounted; 6], "{end:?}");
            client.close().await;
        }
    });
}

#[test]
fn what_a_close_cuts_off_goes_back_uncounted() {
    run(async {
        let client = connect(&url()).await;
        let [queue, _] = with_limit(&client, 3).await;
        publish(&client, &queue, &["1", "2", "3", "4"]).await;
        let mut consumer = consume(&client, &queue).await;
        let begun = std::cell::Cell::new(0);
        let handle = consumer.process(4, |delivery| {
            begun.set(begun.get() + 1);
            async move {
                std::future::pending::<()>().await;
                drop(delivery);
            }
        });
        let close = async {
            eventually("all are handled", || begun.get() == 4).await;
            client.close_within(Duration::from_secs(2)).await;
        };
        let (handled, ()) = futures_lite::future::zip(handle, close).await;
        assert_eq!(handled.cut_off, 4);

        let client = connect(&url()).await;
        let mut consumer = consume(&client, &queue).await;
        let counted = Some(u64::from(!spares_what_is_given_back()));
        for _ in 0..4 {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.delivery_count(), counted);
            delivery.ack().unwrap();
        }
        client.close().await;
    });
}

// Only RabbitMQ 4.3 cancels a consumer over a delivery; before, its channel ends, and all comes again.
#[test]
fn of_a_consumer_that_is_cancelled_over_one_delivery_the_others_are_settled_as_ever() {
    if *version() < (4, 3) {
        return;
    }
    run(async {
        let client = connect(&url()).await;
        let mut events = client.events();
        let queue = quorum().consumer_timeout(Duration::from_secs(3));
        let queue = declare(&client, queue).await;
        let producer = client.producer(queue.clone()).unwrap().build();
        let mut consumer = consume(&client, &queue).await;
        producer.send("slow").await.unwrap();
        let slow = next(&mut consumer).await;
        // The next one is younger than the timeout when that one is too old.
        async_io::Timer::after(Duration::from_secs(2)).await;
        for body in ["at hand", "waiting"] {
            producer.send(body).await.unwrap();
        }
        let at_hand = next(&mut consumer).await;
        next_event(&mut events, "the cancel", |event| {
            matches!(event, Event::ConsumerCancelled { .. })
        })
        .await;
        assert_eq!(at_hand.ack(), Ok(Settled::Sent));
        next_event(&mut events, "its return", |event| {
            matches!(event, Event::Restored { .. })
        })
        .await;
        let mut seen = Vec::new();
        for _ in 0..2 {
            let delivery = next(&mut consumer).await;
            seen.push((text(delivery.body()), delivery.delivery_count()));
            delivery.ack().unwrap();
        }
        seen.sort();
        let expected = [("slow", Some(0)), ("waiting", Some(0))];
        assert_eq!(seen, expected.map(|(body, count)| (body.to_owned(), count)));
        // The broker knows it no more, and says nothing.
        assert_eq!(slow.ack(), Ok(Settled::Sent));
        consumer.cancel().await;
        assert!(take_bodies(&client, &queue).await.is_empty());
        client.close().await;
    });
}

// RabbitMQ knows it from 4.3 on.
#[test]
fn what_failed_waits_where_the_queue_says_so() {
    if *version() < (4, 3) {
        return;
    }
    run(async {
        let client = connect(&url()).await;
        let hour = Duration::from_secs(3600);
        let queue = quorum().delayed_retry(RetryOn::Failed, Duration::from_secs(2), hour);
        let queue = declare(&client, queue).await;
        publish(&client, &queue, &["failed"]).await;
        let mut consumer = consume(&client, &queue).await;
        next(&mut consumer).await.retry().unwrap();
        publish(&client, &queue, &["released"]).await;
        let released = next(&mut consumer).await;
        assert_eq!(text(released.body()), "released");
        released.release().unwrap();
        for expected in ["released", "failed"] {
            let delivery = next(&mut consumer).await;
            assert_eq!(text(delivery.body()), expected);
            delivery.ack().unwrap();
        }
        client.close().await;
    });
}
