//! The driver never waits for the user's code, and never calls it under a lock.

use std::sync::{Arc, Mutex, OnceLock, mpsc};
use std::thread;
use std::time::Duration;

use async_io::block_on;
use snowshoe::codec::sasl::{Mechanism, Plain};
use snowshoe::{ConnectionRole, Event, Producer, Queue};
use support::broker::{admin, url};
use support::cable::Cable;
use support::client::connect;
use support::events::next_event;
use support::messages::{number, numbered};
use support::proxy::{End, Proxy};
use support::queues::declare_empty;
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
            block_on(consumer.for_each_concurrent(3, |_delivery| {
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
        let handling = first.for_each_concurrent(5, async |delivery: snowshoe::Delivery| {
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
        within(
            "the end of both",
            futures_lite::future::zip(handling, checking),
        )
        .await;
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
