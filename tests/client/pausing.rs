//! A consumer that rests for a while, and goes on.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::time::Duration;

use futures_lite::future::zip;
use snowshoe::{
    Client, ConnectionRole, Consumer, ConsumerEnd, Delivery, Queue, Settled, ShortString,
    StreamOffset,
};
use support::broker::url;
use support::cable::Cable;
use support::client::connect;
use support::events::recovered;
use support::messages::text;
use support::queues::{
    declare, fresh_queue, publish, ready_in, take_bodies, unique, until_ready, with_queue,
};
use support::waiting::{eventually, run, within};

const BODIES: [&str; 8] = ["1", "2", "3", "4", "5", "6", "7", "8"];

async fn consume(client: &Client, queue: &ShortString) -> Consumer {
    let consumer = client.consumer(queue.clone()).unwrap().start();
    within("the consumer", consumer).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    within("a delivery", consumer.next()).await.unwrap()
}

async fn bodies(consumer: &mut Consumer, count: usize) -> Vec<String> {
    let mut bodies = Vec::new();
    for _ in 0..count {
        let delivery = next(consumer).await;
        bodies.push(text(delivery.body()));
        delivery.ack().unwrap();
    }
    bodies
}

/// A queue that stays without consumers. What `fresh_queue` declares expires.
async fn lasting_queue(client: &Client) -> ShortString {
    declare(client, Queue::new(unique("pausing"))).await
}

#[test]
fn a_paused_consumer_gives_back_what_nobody_has_begun_on_and_goes_on_later() {
    run(async {
        for is_quorum in [false, true] {
            let client = connect(&url()).await;
            let queue = match is_quorum {
                false => lasting_queue(&client).await,
                true => declare(&client, Queue::quorum(unique("pausing"))).await,
            };
            publish(&client, &queue, &BODIES).await;
            let mut consumer = consume(&client, &queue).await;
            let pause = consumer.pause_handle();
            eventually("all are there", || consumer.waiting() == 8).await;
            let [first, second] = [next(&mut consumer).await, next(&mut consumer).await];
            pause.pause();
            assert!(pause.is_paused());
            until_ready(&client, &queue, 6).await;
            assert!(consumer.try_next().is_none());
            // What is at hand is settled as ever, meanwhile and after it.
            assert_eq!(first.ack(), Ok(Settled::Sent));
            pause.resume();
            let rest = bodies(&mut consumer, 6).await;
            assert_eq!(rest, BODIES[2..]);
            assert_eq!(second.ack(), Ok(Settled::Sent));
            consumer.cancel().await;
            until_ready(&client, &queue, 0).await;
            client.delete_queue(queue).await.unwrap();
        }
    });
}

#[test]
fn handlers_come_to_their_end_while_their_consumer_is_paused_and_none_begins() {
    run(async {
        let client = connect(&url()).await;
        let queue = lasting_queue(&client).await;
        publish(&client, &queue, &BODIES).await;
        let mut consumer = consume(&client, &queue).await;
        let (pause, stop) = (consumer.pause_handle(), consumer.stop_handle());
        let (begun, begins) = async_channel::unbounded();
        let (open, gate) = async_channel::bounded::<()>(1);
        let working = consumer.process(2, async |delivery: Delivery| {
            begun.send(text(delivery.body())).await.unwrap();
            _ = gate.recv().await;
        });
        let pausing = async {
            for _ in 0..2 {
                within("a handler", begins.recv()).await.unwrap();
            }
            pause.pause();
            until_ready(&client, &queue, 6).await;
            open.close();
            // They have settled theirs, and none has taken their places.
            let other = connect(&url()).await;
            assert_eq!(ready_in(&other, &queue).await, 6);
            assert!(begins.is_empty());
            pause.resume();
            for _ in 0..6 {
                within("a handler", begins.recv()).await.unwrap();
            }
            stop.stop();
        };
        let (handled, ()) = within("the end", zip(working, pausing)).await;
        assert_eq!(handled.finished, 8);
        drop(consumer);
        until_ready(&client, &queue, 0).await;
        client.delete_queue(queue).await.unwrap();
    });
}

#[test]
fn a_reconnect_changes_nothing_about_a_pause() {
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        let other = connect(&url()).await;
        let queue = lasting_queue(&other).await;
        let mut consumer = consume(&client, &queue).await;
        let pause = consumer.pause_handle();
        pause.pause();
        publish(&other, &queue, &BODIES).await;
        for _ in 0..2 {
            cable.proxy.all().end(support::proxy::End::Reset);
            recovered(&mut cable.events, ConnectionRole::Main).await;
            until_ready(&other, &queue, 8).await;
        }
        assert!(consumer.try_next().is_none());
        pause.resume();
        assert_eq!(bodies(&mut consumer, 8).await, BODIES);
        client.close().await;
        other.delete_queue(queue).await.unwrap();
    });
}

#[test]
fn whenever_it_is_paused_and_resumed_nothing_is_lost_and_nothing_comes_twice() {
    const MESSAGES: usize = 400;
    run(async {
        let client = connect(&url()).await;
        let queue = lasting_queue(&client).await;
        let producer = client.producer(queue.clone()).unwrap().build();
        for number in 0..MESSAGES {
            _ = producer.publish(number.to_string()).await.unwrap();
        }
        within("the confirms", producer.flushed()).await;
        let mut consumer = consume(&client, &queue).await;
        let (pause, stop) = (consumer.pause_handle(), consumer.stop_handle());
        let seen = RefCell::new(BTreeMap::<String, u32>::new());
        let mut random = numbers();
        let handler = |delivery: Delivery| {
            *seen.borrow_mut().entry(text(delivery.body())).or_default() += 1;
            if seen.borrow().len() == MESSAGES {
                stop.stop();
            }
            match random() % 4 {
                0 => pause.pause(),
                1 => {
                    pause.pause();
                    pause.resume();
                }
                _ => {}
            }
            std::future::ready(())
        };
        let resuming = async {
            while !stop.is_stopped() {
                eventually("it is paused, or through", || {
                    pause.is_paused() || stop.is_stopped()
                })
                .await;
                pause.resume();
            }
        };
        within("the end", zip(consumer.process(3, handler), resuming)).await;
        assert!(
            seen.borrow().values().all(|&it| it == 1),
            "{:?}",
            seen.borrow()
        );
        drop(consumer);
        until_ready(&client, &queue, 0).await;
        client.delete_queue(queue).await.unwrap();
    });
}

/// Numbers without a pattern, the same in every run.
fn numbers() -> impl FnMut() -> u32 {
    let mut state = 0x2545_f491_u32;
    move || {
        state ^= state << 13;
        state ^= state >> 17;
        state ^= state << 5;
        state
    }
}

#[test]
fn a_stream_is_read_on_where_it_was_paused() {
    run(async {
        let client = connect(&url()).await;
        let queue = declare(&client, Queue::stream(unique("paused"))).await;
        publish(&client, &queue, &BODIES).await;
        let builder = client.consumer(queue.clone()).unwrap();
        let builder = builder.prefetch(3).stream_offset(StreamOffset::First);
        let mut consumer = within("the consumer", builder.start()).await.unwrap();
        assert_eq!(bodies(&mut consumer, 2).await, BODIES[..2]);
        let pause = consumer.pause_handle();
        pause.pause();
        assert!(consumer.try_next().is_none());
        pause.resume();
        assert_eq!(bodies(&mut consumer, 6).await, BODIES[2..]);
        consumer.cancel().await;
        client.delete_queue(queue).await.unwrap();
    });
}

#[test]
fn without_acknowledgements_a_pause_loses_nothing() {
    run(async {
        let client = connect(&url()).await;
        let queue = lasting_queue(&client).await;
        let builder = client.consumer(queue.clone()).unwrap().no_ack();
        let mut consumer = within("the consumer", builder.start()).await.unwrap();
        let pause = consumer.pause_handle();
        pause.pause();
        publish(&client, &queue, &BODIES).await;
        until_ready(&client, &queue, 0).await;
        assert!(consumer.try_next().is_none());
        pause.resume();
        for expected in BODIES {
            assert_eq!(text(next(&mut consumer).await.body()), expected);
        }
        consumer.cancel().await;
        client.delete_queue(queue).await.unwrap();
    });
}

#[test]
fn a_queue_is_handed_over_in_order_when_its_single_active_consumer_is_paused() {
    run(async {
        for is_quorum in [false, true] {
            let client = connect(&url()).await;
            let queue = match is_quorum {
                false => Queue::new(unique("single")),
                true => Queue::quorum(unique("single")),
            };
            let queue = declare(&client, queue.single_active_consumer()).await;
            publish(&client, &queue, &BODIES).await;
            let mut first = consume(&client, &queue).await;
            eventually("all are there", || first.waiting() == 8).await;
            let mut second = consume(&client, &queue).await;
            let [one, two] = [next(&mut first).await, next(&mut first).await];
            let pause = first.pause_handle();
            pause.pause();
            one.ack().unwrap();
            two.ack().unwrap();
            assert_eq!(bodies(&mut second, 6).await, BODIES[2..]);
            // It is the next in turn when it goes on.
            pause.resume();
            second.cancel().await;
            publish(&client, &queue, &["9"]).await;
            assert_eq!(bodies(&mut first, 1).await, ["9"]);
            first.cancel().await;
            client.delete_queue(queue).await.unwrap();
        }
    });
}

#[test]
fn a_queue_that_goes_with_its_last_consumer_outlives_a_pause() {
    run(async {
        let client = connect(&url()).await;
        let queue = declare(&client, Queue::new(unique("passing")).auto_delete()).await;
        let expiring = fresh_queue(&client).await;
        for queue in [queue, expiring] {
            publish(&client, &queue, &["1", "2"]).await;
            let mut consumer = consume(&client, &queue).await;
            let pause = consumer.pause_handle();
            pause.pause();
            // The broker has heard whatever it was to hear.
            until_ready(&client, &queue, 0).await;
            assert!(consumer.try_next().is_none());
            pause.resume();
            assert_eq!(bodies(&mut consumer, 2).await, ["1", "2"]);
        }
        client.close().await;
    });
}

#[test]
fn a_paused_consumer_can_be_stopped_cancelled_and_closed() {
    run(async {
        let (client, queue) = with_queue().await;
        publish(&client, &queue, &BODIES).await;
        let mut stopped = consume(&client, &queue).await;
        stopped.pause_handle().pause();
        let stop = stopped.stop_handle();
        let stopping = std::thread::spawn(move || stop.stop_within(Duration::from_secs(300)));
        let handled = stopped.process(2, async |_: Delivery| {});
        let handled = within("the end", handled).await;
        stopping.join().unwrap();
        assert_eq!(handled.finished, 0);
        drop(stopped);
        until_ready(&client, &queue, 8).await;

        let cancelled = consume(&client, &queue).await;
        let pause = cancelled.pause_handle();
        pause.pause();
        within("the cancel", cancelled.cancel()).await;
        until_ready(&client, &queue, 8).await;
        // Of one that is gone.
        pause.resume();

        let mut closed = consume(&client, &queue).await;
        closed.pause_handle().pause();
        within("the close", client.close()).await;
        assert!(within("the end", closed.next()).await.is_none());
        assert!(matches!(closed.end(), Some(ConsumerEnd::ClientClosed)));
        let other = connect(&url()).await;
        assert_eq!(take_bodies(&other, &queue).await, BODIES);
    });
}

#[test]
fn what_was_received_without_acknowledgements_is_handed_out_when_a_paused_consumer_ends() {
    run(async {
        for closes in [false, true] {
            let client = connect(&url()).await;
            let queue = lasting_queue(&client).await;
            publish(&client, &queue, &BODIES).await;
            let builder = client.consumer(queue.clone()).unwrap().no_ack();
            let mut consumer = within("the consumer", builder.start()).await.unwrap();
            eventually("all are there", || consumer.waiting() == 8).await;
            consumer.pause_handle().pause();
            if closes {
                within("the close", client.close()).await;
            } else {
                consumer.stop_handle().stop();
            }
            let handled = consumer.process(2, async |_: Delivery| {});
            assert_eq!(within("the end", handled).await.finished, 8);
        }
    });
}

/// It is the wish for less that was not said meanwhile.
#[test]
fn a_single_active_consumer_that_goes_on_before_it_has_let_go_gets_all() {
    const MESSAGES: usize = 150;
    run(async {
        let client = connect(&url()).await;
        let queue = Queue::new(unique("single")).single_active_consumer();
        let queue = declare(&client, queue).await;
        let producer = client.producer(queue.clone()).unwrap().build();
        within("the confirm", producer.send("first")).await.unwrap();
        let builder = client.consumer(queue.clone()).unwrap().prefetch(200);
        let builder = builder.capacity_bytes(1 << 20);
        let mut consumer = within("the consumer", builder.start()).await.unwrap();
        let at_hand = next(&mut consumer).await;
        let pause = consumer.pause_handle();
        pause.pause();
        for _ in 0..MESSAGES {
            within("the confirm", producer.send(vec![0; 20_000]))
                .await
                .unwrap();
        }
        eventually("it is behind", || consumer.waiting() > 40).await;
        pause.resume();
        for _ in 0..MESSAGES {
            next(&mut consumer).await.ack().unwrap();
        }
        at_hand.ack().unwrap();
        client.close().await;
    });
}
