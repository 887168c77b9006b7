//! Every setting at its extremes: none panics, spins, or keeps a client from working.
//!
//! In virtual time, so that a century passes as fast as a second, and whoever waits for ever is found out.

use std::rc::Rc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use snowshoe::testing::{BrokerOptions, Clock, Dials, Executor, Server};
use snowshoe::{Client, ClientBuilder, Error, Event, Queue, Reconnect, SendMessageError};

type Result<T = ()> = std::result::Result<T, Box<dyn std::error::Error>>;

/// How long anything may take, in virtual time.
const PATIENCE: Duration = Duration::from_secs(24 * 3600);

const DURATIONS: [Duration; 5] = [
    Duration::ZERO,
    Duration::from_nanos(1),
    Duration::from_millis(1),
    Duration::from_secs(u64::MAX),
    Duration::MAX,
];

/// What every client can do, whatever its settings are: publish, consume, come back after a cut, and close.
async fn use_it(client: &Client, server: &Server) -> Result {
    client.declare(Queue::new("q")).await?;
    let producer = client.producer("q")?.build();
    producer.send("one").await?;
    let mut consumer = client.consumer("q")?.start().await?;
    let delivery = consumer.next().await.ok_or("no delivery")?;
    delivery.ack()?;
    server.reset_all();
    producer.send("two").await?;
    // The first may come again: its ack may have been lost with the connection.
    loop {
        let delivery = consumer.next().await.ok_or("no delivery")?;
        let is_last = delivery.body() == b"two";
        match delivery.ack() {
            Ok(snowshoe::Settled::Sent) if is_last => return Ok(()),
            _ => {}
        }
    }
}

/// Tells a story of a client in virtual time, which has to end.
fn story<F: Future<Output = Result> + 'static>(
    what: &str,
    configure: impl FnOnce(ClientBuilder) -> ClientBuilder,
    tell: impl FnOnce(Client, Rc<Server>) -> F,
) {
    let clock = Clock::new();
    let server = Rc::new(Server::in_virtual_time(
        BrokerOptions::default(),
        clock.clone(),
    ));
    let builder = configure(server.client());
    self::tell(what, builder, clock, server, tell);
}

/// The same of a client that is set up already.
fn tell<F: Future<Output = Result> + 'static>(
    what: &str,
    builder: ClientBuilder,
    clock: Clock,
    server: Rc<Server>,
    tell: impl FnOnce(Client, Rc<Server>) -> F,
) {
    let mut executor = Executor::new(clock.clone(), 1);
    let (client, driver) = builder.build();
    executor.spawn(driver);
    let told = tell(client, Rc::clone(&server));
    let in_vain = async move {
        clock.sleep(PATIENCE).await;
        Err("it waits in vain".into())
    };
    match executor.run(told.or(in_vain)) {
        None => panic!("{what}: somebody waits for ever"),
        Some(Err(error)) => panic!("{what}: {error}"),
        Some(Ok(())) => {}
    }
}

/// A client with this setting works, and closes.
fn works(what: &str, configure: impl FnOnce(ClientBuilder) -> ClientBuilder) {
    story(what, configure, |client, server| async move {
        client.ready().await?;
        use_it(&client, &server).await?;
        let left = client.close().await.undelivered.len();
        if left > 0 {
            return Err(format!("{left} messages were left").into());
        }
        Ok(())
    });
}

#[test]
fn a_client_works_whenever_it_connects_for_publishing() {
    for at_once in [false, true] {
        works("connect_for_publishing", |builder| {
            builder.connect_for_publishing(at_once)
        });
    }
}

// case A1
#[test]
fn no_duration_of_a_client_keeps_it_from_working() {
    type Set = fn(ClientBuilder, Duration) -> ClientBuilder;
    let settings: [(&str, Set); 5] = [
        ("heartbeat", ClientBuilder::heartbeat),
        ("connection_timeout", ClientBuilder::connection_timeout),
        ("handshake_timeout", ClientBuilder::handshake_timeout),
        ("call_timeout", ClientBuilder::call_timeout),
        ("write_timeout", ClientBuilder::write_timeout),
    ];
    for (name, set) in settings {
        for duration in DURATIONS {
            works(&format!("{name}({duration:?})"), |builder| {
                set(builder, duration)
            });
        }
    }
    // All at once.
    for duration in [Duration::ZERO, Duration::MAX] {
        works(&format!("all {duration:?}"), |builder| {
            (settings.iter()).fold(builder, |builder, (_, set)| set(builder, duration))
        });
    }
}

/// What a URI says, where it cannot be, is refused where it is given.
// case A1, case A2
#[test]
fn no_parameter_of_a_uri_keeps_a_client_from_working() {
    let accepted = [
        "heartbeat=0",
        "heartbeat=1",
        "heartbeat=65535",
        "connection_timeout=0",
        "connection_timeout=1",
        "connection_timeout=4294967295",
        "channel_max=0",
        "channel_max=1",
        "channel_max=65535",
        "frame_max=0",
        "frame_max=8192",
        "frame_max=4294967295",
        "auth_mechanism=plain",
        "auth_mechanism=AMQPLAIN&auth_mechanism=PLAIN",
        "heartbeat=0&channel_max=1&frame_max=8192&connection_timeout=0",
        "heartbeat=65535&channel_max=0&frame_max=0&connection_timeout=4294967295",
    ];
    for query in accepted {
        let with = |server: &Server| {
            let uri = format!("{}?{query}", server.uri());
            Client::builder(&uri).unwrap_or_else(|error| panic!("{query}: {error}"))
        };
        let clock = Clock::new();
        let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
        let server = Rc::new(server);
        let builder = with(&server).runtime(clock.clone());
        let builder = builder.connector(server.connector());
        // With one channel a consumer leaves none for calls.
        let is_narrow = query.contains("channel_max=1") && !query.contains("channel_max=16");
        tell(
            query,
            builder,
            clock,
            server,
            move |client, server| async move {
                client.ready().await?;
                match is_narrow {
                    true => client
                        .producer("q")?
                        .build()
                        .send("one")
                        .await
                        .or_else(refused)?,
                    false => use_it(&client, &server).await?,
                }
                client.close().await;
                Ok(())
            },
        );
    }
    let refused = [
        "heartbeat=-1",
        "heartbeat=65536",
        "heartbeat=",
        "heartbeat=ten",
        "heartbeat=1&heartbeat=1",
        "connection_timeout=4294967296",
        "connection_timeout=1.5",
        "channel_max=65536",
        "frame_max=4294967296",
        "frame_max=0x1000",
        "auth_mechanism=",
        "colour=green",
        "=",
        "heartbeat=%FF",
        "%zz=1",
    ];
    for query in refused {
        let built = Client::builder(&format!("amqp://localhost/?{query}"));
        assert!(
            matches!(built, Err(Error::Uri(_) | Error::UnknownMechanism(_))),
            "{query}: {built:?}"
        );
    }
}

/// The queue is not there, which the message is told.
fn refused(error: SendMessageError) -> std::result::Result<(), SendMessageError> {
    match error {
        SendMessageError::Unconfirmed(_) => Ok(()),
        other => Err(other),
    }
}

// case A2
#[test]
fn no_limit_of_the_size_of_messages_keeps_a_client_from_working() {
    for bytes in [0, 3, u32::MAX] {
        works(&format!("max_message_size({bytes})"), |builder| {
            builder.max_message_size(bytes)
        });
    }
}

// case A2
#[test]
fn no_reconnect_keeps_a_client_from_coming_back() {
    let factors = [f64::NAN, f64::NEG_INFINITY, -1.0, 0.0, 1.0, f64::INFINITY];
    for (initial_delay, max_delay) in [
        (Duration::ZERO, Duration::ZERO),
        (Duration::ZERO, Duration::MAX),
        (Duration::MAX, Duration::ZERO),
        (Duration::MAX, Duration::from_secs(1)),
    ] {
        for factor in factors {
            let reconnect = Reconnect::default()
                .initial_delay(initial_delay)
                .max_delay(max_delay)
                .multiplier(factor)
                .jitter(factor);
            works(&format!("{reconnect:?}"), |builder| {
                builder.reconnect(reconnect.clone())
            });
        }
    }
}

// case A1
#[test]
fn a_close_takes_whatever_time_it_is_given_and_gives_up_nothing_before() {
    for within in DURATIONS {
        let what = format!("close_within({within:?})");
        story(
            &what,
            |builder| builder,
            move |client, _| async move {
                client.ready().await?;
                client.declare(Queue::new("q")).await?;
                let producer = client.producer("q")?.build();
                let mut confirmations = Vec::new();
                for _ in 0..5_000 {
                    confirmations.push(producer.publish("message").await?);
                }
                let report = client.close_within(within).await;
                let mut left = 0;
                for confirmation in confirmations {
                    left += usize::from(confirmation.await.is_err());
                }
                assert_eq!(report.undelivered.len(), left);
                assert!(
                    left == 0 || within < Duration::from_secs(1),
                    "{left} were left"
                );
                Ok(())
            },
        );
    }
}

#[test]
fn no_bound_of_a_producer_or_a_consumer_keeps_it_from_working() {
    for capacity in [0, 1, usize::MAX] {
        for prefetch in [0, 1, u16::MAX] {
            let what = format!("capacity {capacity}, prefetch {prefetch}");
            story(
                &what,
                |builder| builder,
                move |client, _| async move {
                    client.ready().await?;
                    client.declare(Queue::new("q")).await?;
                    let producer = client.producer("q")?.capacity(capacity).build();
                    let consumer = client.consumer("q")?.prefetch(prefetch).capacity(capacity);
                    let mut consumer = consumer.capacity_bytes(capacity).start().await?;
                    for _ in 0..20 {
                        producer.send("message").await?;
                        consumer.next().await.ok_or("no delivery")?.ack()?;
                    }
                    Ok(())
                },
            );
        }
    }
}

// case A1, case A2
#[test]
fn no_mixture_of_extremes_keeps_a_client_from_working() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut duration = || DURATIONS[random.usize(..DURATIONS.len())];
        let timeouts: [Duration; 5] = std::array::from_fn(|_| duration());
        let reconnect = Reconnect::default()
            .initial_delay(duration())
            .max_delay(duration().min(Duration::from_secs(1)));
        let mut size = || [0, 1, usize::MAX][random.usize(..3)];
        let sizes: [usize; 4] = std::array::from_fn(|_| size());
        let prefetch = [0, 1, u16::MAX][random.usize(..3)];
        let no_ack = random.bool();
        let what = format!("{seed}: {timeouts:?}, {reconnect:?}, {sizes:?}, {prefetch}, {no_ack}");
        story(
            &what,
            |builder| {
                let [heartbeat, connection, handshake, call, write] = timeouts;
                let builder = builder.heartbeat(heartbeat).connection_timeout(connection);
                let builder = builder.handshake_timeout(handshake).call_timeout(call);
                let builder = builder.write_timeout(write).reconnect(reconnect);
                builder.connect_for_publishing(seed % 2 == 0)
            },
            move |client, server| async move {
                client.ready().await?;
                client.declare(Queue::new("q")).await?;
                let [messages, bytes, waiting, waiting_bytes] = sizes;
                // Of fewer bytes than a message it takes none, and says so.
                let producer = client.producer("q")?.capacity(messages);
                let producer = producer.capacity_bytes(bytes.max(1_000)).build();
                let consumer = client.consumer("q")?.prefetch(prefetch).capacity(waiting);
                let consumer = consumer.capacity_bytes(waiting_bytes);
                let consumer = if no_ack { consumer.no_ack() } else { consumer };
                let mut consumer = consumer.start().await?;
                for number in 0..10 {
                    if number == 5 {
                        server.reset_all();
                    }
                    producer.send("message").await?;
                }
                // Without acknowledgements some may be lost with the connection.
                for _ in 0..if no_ack { 0 } else { 10 } {
                    let delivery = consumer.next().await.ok_or("no delivery")?;
                    delivery.ack()?;
                }
                let left = client.close().await.undelivered.len();
                assert_eq!(left, 0);
                Ok(())
            },
        );
    }
}

// case A2
#[test]
fn a_limit_of_attempts_of_any_size_is_told() {
    for max_attempts in [0, 1, 3] {
        for was_connected in [false, true] {
            let reconnect = Reconnect::default()
                .max_attempts(Some(max_attempts))
                .fail_fast(false);
            story(
                &format!("{max_attempts}, {was_connected}"),
                |builder| builder.reconnect(reconnect),
                move |client, server| async move {
                    let mut events = client.events();
                    if was_connected {
                        client.ready().await?;
                    }
                    server.set_dials(Dials::Refused);
                    server.reset_all();
                    let mut ends = 1;
                    while let Some(event) = events.next().await {
                        match event {
                            Event::Disconnected { .. } => ends += 1,
                            Event::GaveUp { .. } => break,
                            _ => {}
                        }
                    }
                    // The cut is one, and there is always a first attempt.
                    let expected = match was_connected {
                        true => max_attempts + 1,
                        false => max_attempts.max(1),
                    };
                    assert_eq!(ends, expected);
                    let refused = client.channel().await.expect_err("it has given up");
                    assert!(matches!(refused, Error::Closed), "{refused}");
                    Ok(())
                },
            );
        }
    }
}

// case A2
#[test]
fn without_a_limit_that_matters_attempts_go_on_for_ever() {
    for max_attempts in [None, Some(u32::MAX)] {
        let reconnect = Reconnect::default().max_attempts(max_attempts);
        story(
            &format!("{max_attempts:?}"),
            |builder| builder.reconnect(reconnect),
            |client, server| async move {
                client.ready().await?;
                let mut events = client.events();
                server.set_dials(Dials::Refused);
                server.reset_all();
                for _ in 0..1_000 {
                    let event = events.next().await;
                    assert!(
                        !matches!(event, None | Some(Event::GaveUp { .. })),
                        "{event:?}"
                    );
                }
                server.set_dials(Dials::Succeed);
                use_it(&client, &server).await
            },
        );
    }
}

// case I3
#[test]
fn what_is_set_twice_is_what_was_set_last() {
    let story_of = |client: Client, _: Rc<Server>| async move {
        client.ready().await?;
        let queue = Queue::new("q")
            .max_length(1)
            .max_length(2)
            .message_ttl(Duration::from_secs(1));
        client
            .declare(queue.message_ttl(Duration::from_secs(60)))
            .await?;
        // Another value than the last would be refused.
        let again = Queue::new("q")
            .max_length(2)
            .message_ttl(Duration::from_secs(60));
        client.declare(again).await?;
        let properties = snowshoe::Properties::builder()
            .header("a", 1)
            .header("b", 2)
            .header("a", 3);
        let properties = properties.build()?;
        let headers = properties.decode()?.headers.ok_or("no headers")?;
        assert_eq!(headers.iter().count(), 2);
        assert_eq!(headers.get("a")?, Some(3.into()));
        Ok(())
    };
    story("twice", |builder| builder, story_of);
}

// case I4
#[test]
fn events_are_a_stream_that_can_be_moved() {
    fn is_a_stream<S: futures_lite::Stream<Item = Event> + Unpin + Send>(_: &S) {}
    story(
        "events",
        |builder| builder,
        |client, _| async move {
            let mut events = client.events();
            is_a_stream(&events);
            client.ready().await?;
            let first = futures_lite::StreamExt::next(&mut events).await;
            assert!(matches!(first, Some(Event::Connected { .. })), "{first:?}");
            Ok(())
        },
    );
}
