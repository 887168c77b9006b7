//! What settings of a client do to what it makes, and that none of them, however extreme, brings it down.

use std::time::Duration;

use futures_lite::future::or;
use snowshoe::testing::{BrokerOptions, Clock, Executor, Server};
use snowshoe::{BufferPolicy, Client, Error, Properties, Queue, RetrySettings, Settings};

/// Plays a story of a client with these settings, in virtual time.
fn play<F: Future<Output = ()> + 'static>(
    settings: Settings,
    story: impl FnOnce(Server, Clock, Client) -> F,
) {
    let clock = Clock::new();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let mut executor = Executor::new(clock.clone(), 1);
    let builder = server
        .client()
        .settings(settings)
        .expect("they can be used");
    let (client, driver) = builder.seed(7).build();
    executor.spawn(driver);
    let story = story(server, clock, client);
    executor.run(story).expect("nobody waits for ever");
}

#[test]
fn producers_begin_with_what_the_settings_say_and_their_builders_go_before() {
    let mut settings = Settings::default();
    settings.client.name = Some("orders".to_owned());
    settings.producers.capacity = Some(3);
    settings.producers.capacity_bytes = Some(1000);
    settings.producers.policy = Some(BufferPolicy::Error);
    settings.producers.persistent = Some(false);
    settings.producers.content_type = Some("text/plain".to_owned());
    settings.producers.expires = Some(Duration::from_secs(60));
    play(settings, |server, _, client| async move {
        assert_eq!(client.name(), Some("orders"));
        let producer = client.producer(Queue::new("orders")).unwrap().build();
        assert_eq!((producer.capacity(), producer.capacity_bytes()), (3, 1000));
        producer.send("one").await.unwrap();
        let other = client.producer("orders").unwrap().capacity(5);
        let other = other
            .properties(Properties::builder().build().unwrap())
            .build();
        assert_eq!((other.capacity(), other.capacity_bytes()), (5, 1000));
        other.send("another").await.unwrap();

        let messages = server.queue("orders").unwrap().ready;
        let said = messages[0].properties.decode().unwrap();
        assert_eq!(said.delivery_mode, Some(1));
        assert_eq!(said.content_type.unwrap().as_bytes(), b"text/plain");
        assert_eq!(said.expiration.unwrap().as_bytes(), b"60000");
        assert_eq!(
            messages[1].properties.decode().unwrap().content_type,
            None,
            "properties are its own"
        );

        server.stop_reading();
        for _ in 0..3 {
            drop(producer.publish("on its way").await.unwrap());
        }
        let error = producer.publish("too much").await.unwrap_err();
        assert_eq!(error.reason, snowshoe::PublishErrorReason::BufferFull);
    });
}

#[test]
fn consumers_and_requesters_begin_with_what_the_settings_say_and_their_builders_go_before() {
    let mut settings = Settings::default();
    settings.consumers.prefetch = Some(2);
    settings.consumers.concurrency = Some(2);
    settings.requesters.timeout = Some(Duration::from_secs(3));
    play(settings, |server, clock, client| async move {
        let producer = client.producer(Queue::new("orders")).unwrap().build();
        for _ in 0..10 {
            producer.send("one").await.unwrap();
        }
        let unacked = || server.queue("orders").unwrap().unacked;
        let consumer = client.consumer("orders").unwrap().start().await.unwrap();
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(unacked(), 2);
        let other = client.consumer("orders").unwrap().prefetch(3);
        let other = other.start().await.unwrap();
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(unacked(), 5);
        // What is said of one consumer goes before what would raise it for all.
        let third = client.consumer("orders").unwrap().prefetch(1);
        let third = third.start().await.unwrap();
        clock.sleep(Duration::from_secs(1)).await;
        assert_eq!(unacked(), 6);
        drop((consumer, other, third));

        client.declare(Queue::new("unheard")).await.unwrap();
        let requester = client.requester().start().await.unwrap();
        let began = clock.now();
        requester.request("unheard", "?").await.unwrap_err();
        assert_eq!(clock.now() - began, Duration::from_secs(3));
    });
}

/// What a retry declares stays, so it is left out where nobody asked for it by name and the queue does not stay.
#[test]
fn a_retry_of_all_consumers_is_declared_for_those_of_lasting_queues() {
    let mut settings = Settings::default();
    settings.consumers.retry = Some(RetrySettings::attempts(3));
    play(settings, |server, _, client| async move {
        let named = |what: &str| {
            let names = server.queue_names();
            names
                .iter()
                .filter(|it| it.to_string_lossy().contains(what))
                .count()
        };
        let server_named = client.consumer(Queue::server_named()).unwrap();
        let stream = client.consumer(Queue::stream("log")).unwrap();
        let unsettled = client.consumer(Queue::new("unsettled")).unwrap().no_ack();
        let without = client.consumer(Queue::new("without")).unwrap().retry(None);
        let temporary = Queue::new("temporary").expires(Duration::from_secs(60));
        let temporary = client.consumer(temporary).unwrap();
        let mut consumers = Vec::new();
        for consumer in [server_named, stream, unsettled, without, temporary] {
            consumers.push(consumer.start().await.unwrap());
        }
        assert_eq!((named("retry"), named("dead")), (0, 0));

        let with = client.consumer(Queue::new("orders")).unwrap();
        consumers.push(with.start().await.unwrap());
        assert!(named("orders.retry") > 0);
        assert_eq!(named("dead"), 1);
        client.close().await;
    });
}

#[test]
fn what_cannot_be_used_is_refused_before_a_client_is_there() {
    let mut settings = Settings::default();
    settings.client.name = Some(String::new());
    let builder = Client::builder("amqp://localhost").unwrap();
    let error = builder.settings(settings).unwrap_err();
    assert!(
        matches!(&error, Error::Settings(it) if it.field() == "client.name"),
        "{error}"
    );
}

/// Each time and each number at its ends, and all together: a client may be of no use, but nothing panics, and its
/// close comes to an end.
#[test]
fn no_extreme_brings_a_client_down() {
    type Change = Box<dyn Fn(&mut Settings)>;
    fn each<T: Copy + 'static>(
        changes: &mut Vec<Change>,
        values: &[T],
        set: fn(&mut Settings, Option<T>),
    ) {
        for &value in values {
            changes.push(Box::new(move |it| set(it, Some(value))));
        }
    }
    let times = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    let counts = [0, 1, usize::MAX];
    let (yes_or_no, all) = ([false, true], &mut Vec::new());
    each(all, &times, |it, to| it.client.heartbeat = to);
    each(all, &times, |it, to| it.client.connection_timeout = to);
    each(all, &times, |it, to| it.client.handshake_timeout = to);
    each(all, &times, |it, to| it.client.call_timeout = to);
    each(all, &times, |it, to| it.client.write_timeout = to);
    each(all, &times, |it, to| it.client.close_timeout = to);
    each(all, &yes_or_no, |it, to| {
        it.client.connect_for_publishing = to;
    });
    each(all, &yes_or_no, |it, to| it.client.single_connection = to);
    each(all, &yes_or_no, |it, to| it.client.pipelined_handshake = to);
    each(all, &[0, 1, u32::MAX], |it, to| {
        it.client.max_message_size = to;
    });
    each(all, &times, |it, to| it.client.reconnect.initial_delay = to);
    each(all, &times, |it, to| it.client.reconnect.max_delay = to);
    each(all, &[1.0, f64::MAX, f64::INFINITY], |it, to| {
        it.client.reconnect.multiplier = to;
    });
    each(all, &[0.0, -0.0, 1.0], |it, to| {
        it.client.reconnect.jitter = to;
    });
    each(all, &[0, 1, u32::MAX], |it, to| {
        it.client.reconnect.max_attempts = to;
    });
    each(all, &yes_or_no, |it, to| it.client.reconnect.fail_fast = to);
    let policies = [
        BufferPolicy::Block,
        BufferPolicy::Error,
        BufferPolicy::DropOldest,
    ];
    each(all, &policies, |it, to| it.producers.policy = to);
    each(all, &yes_or_no, |it, to| it.producers.mandatory = to);
    each(all, &counts, |it, to| it.producers.capacity = to);
    each(all, &counts, |it, to| it.producers.capacity_bytes = to);
    each(all, &yes_or_no, |it, to| it.producers.persistent = to);
    each(all, &times, |it, to| it.producers.expires = to);
    each(all, &[0, u8::MAX], |it, to| it.producers.priority = to);
    each(all, &[0, 1, u16::MAX], |it, to| it.consumers.prefetch = to);
    each(all, &counts, |it, to| it.consumers.concurrency = to);
    each(all, &counts, |it, to| it.consumers.capacity = to);
    each(all, &counts, |it, to| it.consumers.capacity_bytes = to);
    each(all, &times, |it, to| {
        it.consumers.warn_unsettled_after = to;
    });
    each(all, &[0, 1, u32::MAX], |it, to| {
        it.consumers.retry = to.map(RetrySettings::attempts);
    });
    for time in times {
        all.push(Box::new(move |it| {
            let mut retry = RetrySettings::attempts(u32::MAX);
            (retry.delay, retry.max_delay) = (Some(time), Some(time));
            it.consumers.retry = Some(retry);
        }));
        all.push(Box::new(move |it| {
            let mut retry = RetrySettings::attempts(3);
            retry.delays = Some(vec![time; 2]);
            it.consumers.retry = Some(retry);
        }));
    }
    each(all, &times, |it, to| it.requesters.timeout = to);
    each(all, &counts, |it, to| it.requesters.max_in_flight = to);
    each(all, &yes_or_no, |it, to| it.requesters.confirmed = to);
    each(all, &yes_or_no, |it, to| it.requesters.expire_requests = to);

    let mut settings = vec![Settings::default(), Settings::default()];
    for change in &*all {
        let mut one = Settings::default();
        change(&mut one);
        settings.push(one);
        // The last of each is its most, and, the other way round, its least.
        change(&mut settings[0]);
    }
    all.iter().rev().for_each(|change| change(&mut settings[1]));
    for settings in settings {
        play(settings, |_, clock, client| async move {
            let work = async {
                client.ready().await?;
                let queue = client.declare(Queue::new("orders")).await?;
                let producer = client.producer("orders")?.build();
                producer.send("one").await?;
                let mut consumer = client.consumer(queue.name)?.start().await?;
                if let Some(delivery) = consumer.next().await {
                    delivery.ack()?;
                }
                let requester = client.requester().start().await?;
                requester.request("orders", "?").await.ok();
                Ok::<(), Error>(())
            };
            // Whatever it can do, it is not for ever.
            let over = async {
                clock.sleep(Duration::from_secs(100)).await;
                Ok(())
            };
            or(work, over).await.ok();
            client.close_within(Duration::from_secs(1)).await;
        });
    }
}
