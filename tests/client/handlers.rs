//! Handlers: how many run at once, and what comes of their results. The driver never waits for the
//! user's code, and never calls it under a lock.

use std::cell::Cell;
use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use async_io::block_on;
use async_lock::Barrier;
use futures_lite::future::zip;
use snowshoe::codec::sasl::{Mechanism, Plain};
use snowshoe::{ConnectionRole, Delivery, Disposition, Event, Outcome, Producer, Queue};
use support::broker::{admin, url};
use support::cable::Cable;
use support::client::connect;
use support::events::next_event;
use support::messages::{number, numbered, text};
use support::proxy::{End, Proxy};
use support::queues::{
    declare, declare_empty, new_queue, publish, take_bodies, until_ready, with_queue,
};
use support::waiting::{run, wait_until, within};

// fault 26
#[test]
fn while_a_handler_blocks_its_thread_everything_else_goes_on() {
    const BLOCKED: &str = "handlers: blocked";
    const QUEUE: &str = "handlers: beside a blocked one";
    /// More than its prefetch.
    const MESSAGES: u64 = 50;
    run(async {
        let every_second = Duration::from_secs(1);
        let proxy = Proxy::start(&url());
        let mut cable = Cable::lay_with(proxy, |builder| builder.heartbeat(every_second)).await;
        let client = cable.client.clone();
        for queue in [BLOCKED, QUEUE] {
            declare_empty(&client, queue).await;
        }
        let producer = client.producer(BLOCKED).unwrap();
        let producer = cable.first_producer(producer).await;
        // Nobody ever looks at these.
        let _unread = client.events();

        let (release, blocked) = mpsc::channel::<()>();
        let (started, has_started) = async_channel::unbounded();
        let consumer = client.consumer(BLOCKED).unwrap().prefetch(10).start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        let handling = thread::spawn(move || {
            block_on(consumer.process(3, |_delivery| {
                _ = started.try_send(());
                // For as long as the test has not ended.
                _ = blocked.recv();
                async {}
            }));
        });
        for number in 0..MESSAGES {
            producer.send(numbered(number, 100)).await.unwrap();
        }
        within("the handler", has_started.recv()).await.unwrap();

        let other = client.consumer(QUEUE).unwrap().start();
        let mut other = within("the consumer", other).await.unwrap();
        let beside = client.producer(QUEUE).unwrap().build();
        for round in 0..3 {
            within("the confirm", beside.send(numbered(round, 100)))
                .await
                .unwrap();
            let delivery = within("a delivery", other.next()).await.unwrap();
            assert_eq!(number(&delivery), round);
            delivery.ack().unwrap();
            wait_until("it is acknowledged", || admin().messages_in(QUEUE) == 0);
            cable.proxy.all().end(End::Reset);
            for wanted in ["disconnected", "recovered"] {
                let is_it = |event: &Event| match event {
                    Event::Disconnected { role, .. } => {
                        wanted == "disconnected" && *role == ConnectionRole::Main
                    }
                    Event::Recovered { role } => {
                        wanted == "recovered" && *role == ConnectionRole::Main
                    }
                    _ => false,
                };
                next_event(&mut cable.events, wanted, is_it).await;
            }
        }
        drop(release);
        within("the close", client.close()).await;
        handling.join().unwrap();
    });
}

// fault 56
#[test]
fn a_handler_can_publish_through_a_window_of_one_and_declare_and_consume() {
    const FIRST: &str = "handlers: first";
    const SECOND: &str = "handlers: second";
    const MESSAGES: u64 = 50;
    run(async {
        let client = connect(&url()).await;
        for queue in [FIRST, SECOND] {
            declare_empty(&client, queue).await;
        }
        let producer = client.producer(FIRST).unwrap().build();
        for number in 0..MESSAGES {
            producer.send(numbered(number, 100)).await.unwrap();
        }
        // Room for one message that is not confirmed yet.
        let through = client.producer(SECOND).unwrap().capacity(1).build();
        let first = client.consumer(FIRST).unwrap().prefetch(1).start();
        let mut first = within("the consumer", first).await.unwrap();
        let second = client.consumer(SECOND).unwrap().start();
        let mut second = within("the consumer", second).await.unwrap();
        let handling = first.process(5, async |delivery: Delivery| {
            client.declare(Queue::new(SECOND)).await.unwrap();
            through
                .send(numbered(number(&delivery), 100))
                .await
                .unwrap();
        });
        let checking = async {
            for expected in 0..MESSAGES {
                let delivery = within("a delivery", second.next()).await.unwrap();
                assert_eq!(number(&delivery), expected);
                delivery.ack().unwrap();
            }
            client.close().await;
        };
        within("the end of both", zip(handling, checking)).await;
    });
}

// fault 56
#[test]
fn what_the_driver_calls_back_can_use_the_client() {
    const QUEUE: &str = "handlers: called back";
    run(async {
        let producer = Arc::new(OnceLock::<Producer>::new());
        let published = Arc::new(Mutex::new(Vec::new()));
        let proxy = Proxy::start(&url());
        let credentials = {
            let (producer, published) = (Arc::clone(&producer), Arc::clone(&published));
            move || {
                if let Some(producer) = producer.get() {
                    let mut published = published.lock().unwrap();
                    let next = u64::try_from(published.len()).unwrap();
                    published.push(producer.try_publish(numbered(next, 100)).unwrap());
                }
                Ok(vec![
                    Box::new(Plain::new("guest", "guest")) as Box<dyn Mechanism>
                ])
            }
        };
        let mut cable = Cable::lay_with(proxy, |builder| builder.credentials(credentials)).await;
        declare_empty(&cable.client, QUEUE).await;
        let builder = cable.client.producer(QUEUE).unwrap();
        producer.set(cable.first_producer(builder).await).unwrap();
        cable.proxy.all().end(End::Reset);
        cable.both_recovered().await;
        let published = std::mem::take(&mut *published.lock().unwrap());
        assert!(published.len() >= 2, "one for each connection");
        for confirmation in published {
            within("the confirm", confirmation).await.unwrap();
        }
    });
}

#[test]
fn a_handler_works_on_as_many_messages_as_it_may_and_no_more() {
    run(async {
        let (client, queue) = with_queue().await;
        let bodies = ["1", "2", "3", "4", "5", "6", "7", "8", "9"];
        publish(&client, &queue, &bodies).await;
        let mut consumer = client
            .consumer(queue.clone())
            .unwrap()
            .start()
            .await
            .unwrap();
        let (running, most, done) = (Cell::new(0), Cell::new(0), Cell::new(0));
        let (all_done, end) = async_channel::bounded::<()>(1);
        // Nobody passes before three are there.
        let three = Barrier::new(3);
        let handler = |_delivery| async {
            running.set(running.get() + 1);
            most.set(most.get().max(running.get()));
            three.wait().await;
            running.set(running.get() - 1);
            done.set(done.get() + 1);
            if done.get() == bodies.len() {
                all_done.close();
            }
        };
        let stop = consumer.stop_handle();
        let stopping = async {
            _ = end.recv().await;
            stop.stop();
        };
        zip(consumer.process(3, handler), stopping).await;
        assert_eq!((most.get(), done.get()), (3, 9));
    });
}

#[test]
fn what_a_handler_returns_settles_its_message() {
    run(async {
        let (client, dead_letters) = with_queue().await;
        let queue = new_queue()
            .dead_letter_exchange("")
            .dead_letter_routing_key(dead_letters.as_str().unwrap());
        let queue = declare(&client, queue).await;
        publish(&client, &queue, &["ack", "requeue", "discard"]).await;
        let mut consumer = client
            .consumer(queue.clone())
            .unwrap()
            .start()
            .await
            .unwrap();
        let (again, seen_again) = async_channel::bounded(1);
        let handler = |delivery: Delivery| {
            let again = again.clone();
            async move {
                match (&*text(delivery.body()), delivery.is_redelivered()) {
                    ("ack", _) => Disposition::Ack,
                    ("requeue", false) => Disposition::Retry,
                    ("requeue", true) => {
                        again.send(()).await.unwrap();
                        Disposition::Ack
                    }
                    _ => Disposition::Discard,
                }
            }
        };
        let stop = consumer.stop_handle();
        let stopping = async {
            seen_again.recv().await.unwrap();
            stop.stop();
        };
        zip(consumer.process(1, handler), stopping).await;
        until_ready(&client, &dead_letters, 1).await;
        assert_eq!(take_bodies(&client, &dead_letters).await, ["discard"]);
        drop(consumer);
        until_ready(&client, &queue, 0).await;
        assert!(take_bodies(&client, &queue).await.is_empty());
    });
}

#[test]
fn results_of_handlers_are_outcomes() {
    assert_eq!(Outcome::from(()), Outcome::done());
    assert_eq!(Outcome::from(Ok::<(), &str>(())), Outcome::done());
    let failed = Outcome::retry().because("no stock");
    assert_eq!(Outcome::from(Err::<(), _>("no stock")), failed);
    assert_ne!(failed, Outcome::retry());
    let discard: Result<Disposition, String> = Ok(Disposition::Discard);
    assert_eq!(Outcome::from(discard), Outcome::reject());
}
