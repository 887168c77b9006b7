//! Messages that are published now and arrive later, in virtual time: when exactly, and on whose broker.

use std::rc::Rc;
use std::time::{Duration, Instant, SystemTime};

use snowshoe::testing::{BrokerOptions, Clock, Executor, Manner, Server, Spawner};
use snowshoe::{
    Client, Consumer, DelayedProducer, Delays, Error, Exchange, Message, Properties,
    PublishErrorReason, Queue, Runtime, SendMessageError, UnconfirmedReason,
};

const MANNERS: [Manner; 4] = [
    Manner::RabbitMq310,
    Manner::RabbitMq40,
    Manner::RabbitMq43,
    Manner::LavinMq,
];

struct World {
    clock: Clock,
    server: Server,
    spawner: Spawner,
}

impl World {
    fn run<F: Future<Output = ()> + 'static>(
        manner: Manner,
        test: impl FnOnce(Rc<Self>) -> F + 'static,
    ) {
        let clock = Clock::new();
        let options = BrokerOptions {
            manner,
            ..BrokerOptions::default()
        };
        let server = Server::in_virtual_time(options, clock.clone());
        let mut executor = Executor::new(clock.clone(), 7);
        let world = Self {
            clock,
            server,
            spawner: executor.spawner(),
        };
        let done = executor.run(test(Rc::new(world)));
        done.expect("the test comes to its end");
    }

    fn client(&self) -> Client {
        let (client, driver) = self.server.client().build();
        self.spawner.spawn(driver);
        client
    }

    fn time_of_day(&self) -> SystemTime {
        Runtime::time_of_day(&self.clock)
    }

    /// What comes next, and how many milliseconds after this moment.
    async fn next(&self, consumer: &mut Consumer, since: Instant) -> (String, u128) {
        let delivery = consumer.next().await.expect("nobody stops it");
        let after = self.clock.now() - since;
        let body = String::from_utf8_lossy(delivery.body()).into_owned();
        delivery.ack().unwrap();
        (body, after.as_millis())
    }
}

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn an_hour() -> Delays {
    Delays::queues("later", seconds(60 * 60))
}

async fn consumer(client: &Client, queue: &str) -> Consumer {
    client.consumer(queue).unwrap().start().await.unwrap()
}

fn expected<const N: usize>(pairs: [(&str, u128); N]) -> Vec<(String, u128)> {
    pairs.map(|(body, after)| (body.to_owned(), after)).to_vec()
}

/// Messages with many delays, the longer ones first.
async fn publish_some(delayed: &DelayedProducer, world: &World) {
    for (body, delay) in [
        ("an hour", seconds(60 * 60)),
        ("17 s", seconds(17)),
        ("a minute", seconds(60)),
        ("none", Duration::ZERO),
        ("half a second", Duration::from_millis(500)),
    ] {
        delayed.send_after(body, delay).await.unwrap();
    }
    let past = world.time_of_day() - seconds(5);
    delayed.send_at("past", past).await.unwrap();
    let soon = world.time_of_day() + seconds(5);
    delayed.send_at("in 5 s", soon).await.unwrap();
}

#[test]
fn messages_arrive_when_their_time_has_come_and_none_waits_for_another() {
    for manner in MANNERS {
        for is_for_queue in [true, false] {
            World::run(manner, move |world| async move {
                let client = world.client();
                let delayed = match is_for_queue {
                    true => client.producer(Queue::new("reminders")).unwrap(),
                    false => {
                        let events = Exchange::topic("events");
                        let queue = Queue::new("reminders").bind(events, "order.*");
                        client.declare(queue).await.unwrap();
                        client.exchange_producer("events", "order.unpaid").unwrap()
                    }
                };
                let delayed = delayed.build_delayed(&an_hour()).unwrap();
                // What it needs is declared, so that no round trip is in the times.
                delayed.send_after("first", Duration::ZERO).await.unwrap();
                let mut consumer = consumer(&client, "reminders").await;
                let since = world.clock.now();
                assert_eq!(world.next(&mut consumer, since).await.0, "first");
                let since = world.clock.now();
                publish_some(&delayed, &world).await;
                let mut arrived = Vec::new();
                for _ in 0..7 {
                    arrived.push(world.next(&mut consumer, since).await);
                }
                let expected = expected([
                    ("none", 0),
                    ("past", 0),
                    ("half a second", 1_000),
                    ("in 5 s", 5_000),
                    ("17 s", 17_000),
                    ("a minute", 60_000),
                    ("an hour", 3_600_000),
                ]);
                assert_eq!(arrived, expected, "{manner:?}");
                client.close().await;
            });
        }
    }
}

#[test]
fn an_exchange_that_delays_is_told_how_long() {
    World::run(Manner::LavinMq, |world| async move {
        let client = world.client();
        let events = || Exchange::delayed("events", "topic");
        let queue = Queue::new("reminders").bind(events(), "order.*");
        client.declare(queue).await.unwrap();
        let producer = client.exchange_producer(events(), "order.unpaid").unwrap();
        let delayed = producer.build_delayed(&Delays::by_exchange()).unwrap();
        let mut consumer = consumer(&client, "reminders").await;
        let since = world.clock.now();
        publish_some(&delayed, &world).await;
        // Nothing is declared but what was asked for.
        assert_eq!(world.server.queue_names().len(), 1);
        let mut arrived = Vec::new();
        for _ in 0..7 {
            arrived.push(world.next(&mut consumer, since).await);
        }
        let expected = expected([
            ("none", 0),
            ("past", 0),
            ("half a second", 500),
            ("in 5 s", 5_000),
            ("17 s", 17_000),
            ("a minute", 60_000),
            ("an hour", 3_600_000),
        ]);
        assert_eq!(arrived, expected);

        let longest = Duration::from_millis(u32::MAX.into());
        let error = delayed.send_after("never", longest + seconds(1)).await;
        let Err(SendMessageError::NotAccepted(error)) = error else {
            panic!("{error:?}");
        };
        assert_eq!(error.reason, PublishErrorReason::DelayTooLong { longest });
        client.close().await;
    });
}

#[test]
fn brokers_without_such_an_exchange_refuse_it_and_it_is_told() {
    for manner in [Manner::RabbitMq40, Manner::RabbitMq43] {
        World::run(manner, |world| async move {
            let client = world.client();
            let events = Exchange::delayed("events", "topic");
            let producer = client.exchange_producer(events, "order.unpaid").unwrap();
            let delayed = producer.build_delayed(&Delays::by_exchange()).unwrap();
            let error = delayed.send_after("never", seconds(1)).await.unwrap_err();
            let SendMessageError::Unconfirmed(error) = error else {
                panic!("{error:?}");
            };
            let reason = error.reason;
            assert!(
                matches!(reason, UnconfirmedReason::NotDeclared(_)),
                "{reason:?}"
            );
            client.close().await;
        });
    }
}

#[test]
fn what_waits_and_who_sent_it_come_through_restarts_and_cuts() {
    World::run(Manner::RabbitMq43, |world| async move {
        let client = world.client();
        let reminders = client.producer(Queue::quorum("reminders")).unwrap();
        let delayed = reminders.build_delayed(&an_hour().quorum()).unwrap();
        for number in 0..20_u64 {
            let delay = seconds(number);
            let sent = delayed.send_after(number.to_string(), delay).await;
            sent.unwrap();
            match number % 3 {
                0 => world.server.restart(),
                1 => world.server.reset_all(),
                _ => {}
            }
        }
        let mut consumer = consumer(&client, "reminders").await;
        let since = world.clock.now();
        let mut numbers = Vec::new();
        while numbers.len() < 20 {
            let (body, _) = world.next(&mut consumer, since).await;
            // A cut after the confirm makes no second one.
            numbers.push(body.parse::<u64>().unwrap());
        }
        numbers.sort_unstable();
        assert_eq!(numbers, (0..20).collect::<Vec<_>>());
        client.close().await;
    });
}

#[test]
fn producers_that_share_a_name_do_not_get_each_others_messages() {
    World::run(Manner::RabbitMq310, |world| async move {
        let client = world.client();
        let since = world.clock.now();
        for queue in ["one", "two"] {
            let exchange = Exchange::fanout(format!("to {queue}"));
            let queue_of_exchange = Queue::new(format!("{queue} by exchange"));
            let declared = queue_of_exchange.bind(exchange, "");
            client.declare(declared).await.unwrap();
        }
        // One is the larger of two, which share what they have in common.
        let delays = [an_hour(), Delays::queues("later", seconds(3))];
        for (queue, delays) in ["one", "two"].into_iter().zip(&delays) {
            let producer = client.producer(Queue::new(queue)).unwrap();
            let delayed = producer.build_delayed(delays).unwrap();
            delayed.send_after(queue, seconds(3)).await.unwrap();
            let producer = client.exchange_producer(format!("to {queue}"), "").unwrap();
            let delayed = producer.build_delayed(delays).unwrap();
            delayed.send_after(queue, seconds(3)).await.unwrap();
        }
        for queue in ["one", "two"] {
            for source in [queue.to_owned(), format!("{queue} by exchange")] {
                let mut consumer = consumer(&client, &source).await;
                assert_eq!(world.next(&mut consumer, since).await.0, queue);
                let view = world.server.queue(&source).unwrap();
                assert!(view.ready.is_empty(), "{source}");
            }
        }
        client.close().await;
    });
}

#[test]
fn what_cannot_wait_is_refused_and_comes_back_as_it_was() {
    World::run(Manner::RabbitMq43, |world| async move {
        let client = world.client();
        let error = client.producer("reminders").unwrap();
        let error = error.build_delayed(&Delays::by_exchange()).unwrap_err();
        assert!(matches!(error, Error::NoDelayedExchange), "{error:?}");

        let delayed = client.producer(Queue::new("reminders")).unwrap();
        let delayed = delayed.capacity(1).build_delayed(&an_hour()).unwrap();
        let refused = |message: Message, delay| {
            let error = delayed.try_publish_after(message.clone(), delay);
            let error = error.unwrap_err();
            assert_eq!(error.message, message);
            error.reason
        };
        let longest = seconds(60 * 60);
        let reason = refused("never".into(), longest + seconds(1));
        assert_eq!(reason, PublishErrorReason::DelayTooLong { longest });
        let expires = Message::new("never").expires(seconds(1));
        let reason = refused(expires, seconds(1));
        assert_eq!(reason, PublishErrorReason::DelayExpires);
        let faulty = Message::new("never").message_id("x".repeat(256));
        let reason = refused(faulty, seconds(1));
        assert!(
            matches!(reason, PublishErrorReason::Unsendable(_)),
            "{reason:?}"
        );
        // One that finds no room is not left with what it was told.
        let first = delayed.try_publish_after("first", seconds(1)).unwrap();
        let full = delayed.try_publish_after(Message::new("second").header("a", 1), seconds(1));
        let error = full.unwrap_err();
        assert_eq!(error.reason, PublishErrorReason::BufferFull);
        assert_eq!(error.message, Message::new("second").header("a", 1));
        first.await.unwrap();

        let expire = Properties::builder().expiration("1000").build().unwrap();
        let all_expire = client.producer("reminders").unwrap().properties(expire);
        let all_expire = all_expire.build_delayed(&an_hour()).unwrap();
        let error = all_expire.try_publish_after("never", seconds(1));
        assert_eq!(error.unwrap_err().reason, PublishErrorReason::DelayExpires);
        client.close().await;
    });
}
