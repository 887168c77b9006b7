//! The server that users test their own code with: over TCP, and without sockets.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt as _;
use snowshoe::codec::method::{Arguments as _, basic, queue};
use snowshoe::testing::{BrokerOptions, Clock, Dials, Executor, Fault, Manner, Server};
use snowshoe::{
    Binding, Client, ClientBuilder, ConnectionErrorReason, Error, Event, Exchange, Message,
    Properties, Queue, Reconnect, ReplyCode, ShortString,
};
use support::executor::{self, Executor as Runtime};

const PATIENCE: Duration = Duration::from_secs(60);

fn within<T>(test: impl Future<Output = T>) -> T {
    let in_vain = async {
        Timer::after(PATIENCE).await;
        panic!("waited in vain");
    };
    async_io::block_on(test.or(in_vain))
}

/// Both ways to a server in real time.
fn servers() -> [Server; 2] {
    let options = BrokerOptions::default();
    let listening = Server::listen(options.clone()).expect("there is a free port");
    [listening, Server::in_memory(options)]
}

/// Runs a test on each of them.
fn with_each(test: impl AsyncFn(Server)) {
    for server in servers() {
        within(test(server));
    }
}

fn builder(server: &Server) -> ClientBuilder {
    server.client().reconnect(
        Reconnect::default()
            .initial_delay(Duration::from_millis(5))
            .max_delay(Duration::from_millis(50)),
    )
}

async fn connect(server: &Server) -> Client {
    let connected = executor::connect(builder(server)).await;
    connected.expect("the server is there")
}

/// A client with a durable queue `orders`.
async fn client_of(server: &Server) -> Client {
    let client = connect(server).await;
    let declared = client.declare(Queue::new("orders")).await;
    declared.expect("nothing contradicts it");
    client
}

fn depth(server: &Server) -> usize {
    server.queue("orders").map_or(0, |queue| queue.ready.len())
}

#[test]
fn clients_on_every_executor_publish_and_consume() {
    for runtime in [
        Runtime::Thread,
        Runtime::Smol,
        Runtime::AsyncStd,
        Runtime::TokioCurrentThread,
        Runtime::TokioMultiThread,
        Runtime::TokioCurrentThreadNative,
        Runtime::TokioMultiThreadNative,
    ] {
        for server in servers() {
            within(async {
                let client = runtime.connect(builder(&server)).await.unwrap();
                client.declare(Queue::new("orders")).await.unwrap();
                let producer = client.producer("orders").unwrap().build();
                for number in 0..100 {
                    producer.send(vec![number; 10_000]).await.unwrap();
                }
                let mut consumer = client.consumer("orders").unwrap().start().await.unwrap();
                for number in 0..100 {
                    let delivery = consumer.next().await.unwrap();
                    assert_eq!(delivery.body(), vec![number; 10_000]);
                    delivery.ack().unwrap();
                }
                client.close().await;
                server.until(|server| server.connections().is_empty()).await;
            });
        }
    }
}

#[test]
fn what_is_in_the_broker_can_be_seen() {
    with_each(async |server| {
        let client = client_of(&server).await;
        client.declare(Exchange::topic("news")).await.unwrap();
        let binding = Binding::queue("orders")
            .to_exchange("news")
            .routing_key("sport.#");
        client.declare(binding).await.unwrap();
        let producer = client.exchange_producer("news", "sport.snow").unwrap();
        let producer = producer.build();
        let properties = Properties::builder().message_id("7").build().unwrap();
        producer
            .send(Message::new("snow").with_properties(properties))
            .await
            .unwrap();

        let orders = server.queue("orders").unwrap();
        assert!(orders.durable);
        let message = &orders.ready[0];
        assert_eq!(message.body, "snow");
        assert_eq!(message.exchange, "news");
        assert_eq!(message.routing_key, "sport.snow");
        let properties = message.properties.decode().unwrap();
        assert_eq!(properties.message_id.unwrap(), "7");
        assert!(!message.redelivered);
        assert_eq!(server.queue_names(), ["orders"]);
        let exchanges = server.exchanges();
        let news = exchanges.iter().find(|it| it.name == "news").unwrap();
        assert_eq!(news.bindings[0].destination, "orders");
        assert_eq!(news.bindings[0].routing_key, "sport.#");
        assert_eq!(server.connections().len(), 2);
        assert!(server.queue("elsewhere").is_none());

        let mut consumer = client.consumer("orders").unwrap().start().await.unwrap();
        let delivery = consumer.next().await.unwrap();
        let orders = server.queue("orders").unwrap();
        assert_eq!((orders.ready.len(), orders.unacked), (0, 1));
        assert_eq!(orders.consumers.len(), 1);
        delivery.nack(true).unwrap();
        let delivery = consumer.next().await.unwrap();
        delivery.ack().unwrap();
        let is_done = |server: &Server| server.queue("orders").unwrap().unacked == 0;
        server.until(is_done).await;
    });
}

#[test]
fn a_client_comes_back_from_a_reset_and_sends_again_what_was_not_confirmed() {
    with_each(async |server| {
        let client = client_of(&server).await;
        let producer = client.producer("orders").unwrap().build();
        producer.send("first").await.unwrap();
        let mut events = client.events();
        server.hold_answers();
        let confirmation = producer.publish("second").await.unwrap();
        server.until(|server| depth(server) == 2).await;
        server.reset_all();
        server.release_answers();
        confirmation.await.unwrap();
        assert_eq!(depth(&server), 3, "once more, for its confirm was lost");
        while !matches!(events.next().await, Some(Event::Disconnected { .. })) {}
    });
}

#[test]
fn a_client_is_told_why_it_is_closed() {
    with_each(async |server| {
        let client = client_of(&server).await;
        let mut events = client.events();
        server.close_all(ReplyCode::CONNECTION_FORCED, "maintenance");
        let Some(Event::Disconnected { cause, .. }) = events.next().await else {
            panic!("it is cut off");
        };
        let told = cause.to_string();
        assert!(told.contains("CONNECTION_FORCED - maintenance"), "{told}");
        client
            .producer("orders")
            .unwrap()
            .build()
            .send("1")
            .await
            .unwrap();

        server.until(|server| server.connections().len() == 2).await;
        let [one, other] = &server.connections()[..] else {
            panic!("it came back with both connections");
        };
        server.close(one.id, ReplyCode::CONNECTION_FORCED, "you alone");
        server
            .until(|server| server.connections().iter().all(|it| it.id != one.id))
            .await;
        assert!(server.connections().iter().any(|it| it.id == other.id));
    });
}

#[test]
fn a_server_that_refuses_connections_is_found_again_later() {
    with_each(async |server| {
        let client = client_of(&server).await;
        server.set_dials(Dials::Refused);
        let refused = builder(&server).connect().await;
        assert!(matches!(refused, Err(Error::Connection(_))));
        server.reset_all();
        let producer = client.producer("orders").unwrap().build();
        let confirmation = producer.publish("1").await.unwrap();
        assert_eq!(depth(&server), 0);
        server.set_dials(Dials::Succeed);
        confirmation.await.unwrap();
    });
}

#[test]
fn a_dial_that_hangs_takes_as_long_as_the_client_lets_it() {
    with_each(async |server| {
        server.set_dials(Dials::Hang);
        let impatient = builder(&server)
            .connection_timeout(Duration::from_millis(20))
            .handshake_timeout(Duration::from_millis(20));
        let Err(Error::Connection(late)) = impatient.connect().await else {
            panic!("it was to be too late");
        };
        let is_late = matches!(late.reason, ConnectionErrorReason::Timeout(_));
        assert!(is_late, "{late}");
    });
}

#[test]
fn what_is_durable_survives_a_restart() {
    with_each(async |server| {
        let client = client_of(&server).await;
        let other = connect(&server).await;
        other
            .declare(Queue::new("passing").durable(false))
            .await
            .unwrap();
        let producer = client.producer("orders").unwrap().build();
        producer.send("kept").await.unwrap();
        other.close().await;
        server.restart();
        assert_eq!(server.queue_names(), ["orders"]);
        producer.send("new").await.unwrap();
        let orders = server.queue("orders").unwrap();
        let bodies: Vec<_> = orders.ready.iter().map(|it| &it.body[..]).collect();
        assert_eq!(bodies, [&b"kept"[..], b"new"]);
    });
}

#[test]
fn what_happens_while_a_condition_is_looked_at_is_not_missed() {
    with_each(async |server| {
        let looks = std::cell::Cell::new(0);
        let changes_it_first = |server: &Server| {
            looks.set(looks.get() + 1);
            if looks.get() == 1 {
                server.restart();
            }
            looks.get() > 1
        };
        server.until(changes_it_first).await;
    });
}

#[test]
fn a_blocked_publisher_goes_on_when_it_is_unblocked() {
    with_each(async |server| {
        let client = client_of(&server).await;
        let mut events = client.events();
        server.block(ShortString::from_static("low on memory"));
        let producer = client.producer("orders").unwrap().build();
        let confirmation = producer.publish("1").await.unwrap();
        loop {
            if let Event::Blocked { .. } = events.next().await.unwrap() {
                break;
            }
        }
        assert_eq!(depth(&server), 0);
        server.unblock();
        confirmation.await.unwrap();
        assert_eq!(depth(&server), 1);
    });
}

#[test]
fn answers_come_as_late_as_they_are_told_to() {
    with_each(async |server| {
        let client = client_of(&server).await;
        let delay = Duration::from_millis(50);
        server.set_delay(delay);
        let start = Instant::now();
        client.declare(Queue::new("late")).await.unwrap();
        assert!(start.elapsed() >= delay);
    });
}

#[test]
fn what_is_not_read_is_done_later() {
    with_each(async |server| {
        let client = client_of(&server).await;
        let producer = client.producer("orders").unwrap().build();
        producer.send("first").await.unwrap();
        server.stop_reading();
        let mut confirmation = producer.publish("second").await.unwrap();
        // Nothing tells that nothing happens: this is as long as a message takes many times over.
        let nothing = async {
            Timer::after(Duration::from_millis(50)).await;
            None
        };
        let confirmed = async { Some((&mut confirmation).await) };
        assert!(confirmed.or(nothing).await.is_none());
        assert_eq!(depth(&server), 1);
        server.resume_reading();
        confirmation.await.unwrap();
        assert_eq!(depth(&server), 2);
    });
}

#[test]
fn the_next_method_of_a_kind_is_refused() {
    with_each(async |server| {
        let client = client_of(&server).await;
        let code = ReplyCode::PRECONDITION_FAILED;
        server.inject(Fault {
            name: Some(ShortString::from_static("other")),
            ..Fault::new(queue::Declare::ID, code, "not today")
        });
        client.declare(Queue::new("orders")).await.unwrap();
        let refused = client.declare(Queue::new("other")).await.unwrap_err();
        assert!(refused.to_string().contains("not today"), "{refused}");
        client.declare(Queue::new("other")).await.unwrap();

        server.inject(Fault::new(basic::Publish::ID, code, "not this one"));
        let producer = client.producer("orders").unwrap().build();
        let first = producer.publish("1").await.unwrap();
        producer.send("2").await.unwrap();
        // Alone in flight, it is what was refused. With the other, both are sent again, and taken.
        let taken = 1 + usize::from(first.await.is_ok());
        assert_eq!(depth(&server), taken);

        server.inject(Fault::new(queue::Declare::ID, code, "never"));
        server.heal();
        client.declare(Queue::new("more")).await.unwrap();
    });
}

#[test]
fn a_consumer_that_is_cancelled_is_told() {
    with_each(async |server| {
        let client = client_of(&server).await;
        let mut consumer = client.consumer("orders").unwrap().start().await.unwrap();
        let mut events = client.events();
        assert!(server.cancel_consumers("orders"));
        assert!(!server.cancel_consumers("elsewhere"));
        // It comes back by itself.
        loop {
            if let Event::ConsumerCancelled { .. } = events.next().await.unwrap() {
                break;
            }
        }
        client
            .producer("orders")
            .unwrap()
            .build()
            .send("1")
            .await
            .unwrap();
        consumer.next().await.unwrap().ack().unwrap();
    });
}

#[test]
fn messages_expire_when_they_are_told_to() {
    with_each(async |server| {
        let client = connect(&server).await;
        client.declare(Queue::new("dead")).await.unwrap();
        let orders = Queue::new("orders")
            .message_ttl(Duration::from_secs(3600))
            .dead_letter_exchange("")
            .dead_letter_routing_key("dead");
        client.declare(orders).await.unwrap();
        client
            .producer("orders")
            .unwrap()
            .build()
            .send("1")
            .await
            .unwrap();
        assert!(server.expire("orders"));
        assert_eq!(depth(&server), 0);
        assert_eq!(server.queue("dead").unwrap().ready.len(), 1);
    });
}

#[test]
fn a_server_in_the_manner_of_lavinmq_confirms() {
    within(async {
        let server = Server::in_memory(BrokerOptions {
            manner: Manner::LavinMq,
            ..BrokerOptions::default()
        });
        let client = client_of(&server).await;
        let producer = client.producer("orders").unwrap().build();
        let mut confirmations = Vec::new();
        for number in 0..100_u32 {
            confirmations.push(producer.publish(number.to_string()).await.unwrap());
        }
        for confirmation in confirmations {
            confirmation.await.unwrap();
        }
        assert_eq!(depth(&server), 100);
    });
}

/// The broker of that manner, in virtual time, with what the test does to it.
fn in_virtual_time<F: Future<Output = ()> + 'static>(
    options: BrokerOptions,
    test: impl FnOnce(Server, Client, Clock) -> F,
) {
    let clock = Clock::new();
    let server = Server::in_virtual_time(options, clock.clone());
    let mut executor = Executor::new(clock.clone(), 1);
    let (client, driver) = builder(&server).build();
    executor.spawn(driver);
    let done = executor.run(test(server, client, clock));
    done.expect("nobody waits for ever");
}

#[test]
fn in_rabbitmq_4_3_an_overdue_consumer_of_a_quorum_queue_comes_back_on_its_connection() {
    let options = BrokerOptions {
        consumer_timeout: Some(Duration::from_secs(60)),
        ..BrokerOptions::default()
    };
    in_virtual_time(options, async |server, client, clock| {
        client.declare(Queue::quorum("orders")).await.unwrap();
        let mut consumer = (client.consumer("orders").unwrap().prefetch(1))
            .start()
            .await
            .unwrap();
        let producer = client.producer("orders").unwrap().build();
        producer.send("1").await.unwrap();
        let connection = server.connections()[0].id;
        let first = consumer.next().await.unwrap();
        clock.sleep(Duration::from_secs(90)).await;
        _ = first.ack();
        let again = consumer.next().await.unwrap();
        assert!(again.is_redelivered());
        again.ack().unwrap();
        producer.send("2").await.unwrap();
        consumer.next().await.unwrap().ack().unwrap();
        assert!(server.connections().iter().any(|it| it.id == connection));
    });
}

#[test]
fn a_stream_is_read_from_where_a_consumer_says() {
    in_virtual_time(BrokerOptions::default(), async |server, client, _| {
        client.declare(Queue::stream("events")).await.unwrap();
        let producer = client.producer("events").unwrap().build();
        for number in 0..5_u32 {
            producer.send(number.to_string()).await.unwrap();
        }
        let consumer = client.consumer("events").unwrap().prefetch(2);
        let consumer = consumer.argument("x-stream-offset", 3_i64).unwrap();
        let mut consumer = consumer.start().await.unwrap();
        for number in 3..5_u32 {
            let event = consumer.next().await.unwrap();
            assert_eq!(event.body(), number.to_string().as_bytes());
            event.ack().unwrap();
        }
        // They are all there still.
        assert_eq!(server.queue("events").unwrap().ready.len(), 5);
    });
}

#[test]
fn the_uri_names_the_first_user_and_virtual_host() {
    within(async {
        let server = Server::listen(BrokerOptions {
            users: vec![("a@b".to_owned(), "p/w:".to_owned())],
            virtual_hosts: vec![ShortString::from_static("my/host")],
            ..BrokerOptions::default()
        })
        .unwrap();
        let client = Client::connect(&server.uri()).await.unwrap();
        client.declare(Queue::new("orders")).await.unwrap();
        let connection = &server.connections()[0];
        assert_eq!(connection.user, "a@b");
        assert_eq!(connection.virtual_host, "my/host");
        assert!(server.queue("orders").is_some());
    });
}

#[test]
fn peers_that_speak_nonsense_do_no_harm() {
    within(async {
        let [server, _] = servers();
        let client = client_of(&server).await;
        let address = server.uri();
        let port = address
            .rsplit(':')
            .next()
            .unwrap()
            .split('/')
            .next()
            .unwrap();
        for nonsense in [
            &b"GET / HTTP/1.1\r\n\r\n"[..],
            b"AMQP\0\0\x09\x01\x01\0\0\xff\xff\xff\xff garbage",
            b"AMQP\0\0\x09\x01\x08\0\0\0\0\0\0\xce",
            b"AM",
        ] {
            let mut peer = TcpStream::connect(("127.0.0.1", port.parse().unwrap())).unwrap();
            peer.write_all(nonsense).unwrap();
            peer.shutdown(std::net::Shutdown::Write).unwrap();
            // Whatever it hears, and however it ends, it ends.
            _ = peer.read_to_end(&mut Vec::new());
        }
        server.until(|server| server.connections().len() == 1).await;
        client
            .producer("orders")
            .unwrap()
            .build()
            .send("1")
            .await
            .unwrap();
    });
}

#[test]
fn dropping_the_server_ends_the_connections_of_its_clients() {
    with_each(async |server| {
        let client = client_of(&server).await;
        let mut events = client.events();
        drop(server);
        assert!(matches!(
            events.next().await,
            Some(Event::Disconnected { .. })
        ));
    });
}

#[test]
fn an_outage_in_virtual_time_takes_none() {
    let clock = Clock::new();
    let mut executor = Executor::new(clock.clone(), 1);
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let (client, driver) = server.client().build();
    executor.spawn(driver);
    let began = Instant::now();
    let waited = executor.run(async move {
        client.ready().await.unwrap();
        client.declare(Queue::new("orders")).await.unwrap();
        let producer = client.producer("orders").unwrap().build();
        producer.send("before").await.unwrap();

        server.set_dials(Dials::Refused);
        server.reset_all();
        let before = clock.now();
        let confirmation = producer.publish("meanwhile").await.unwrap();
        clock.sleep(Duration::from_secs(3600)).await;
        server.set_dials(Dials::Succeed);
        confirmation.await.unwrap();
        assert_eq!(depth(&server), 2);
        clock.now() - before
    });
    let waited = waited.expect("it comes back");
    assert!(waited >= Duration::from_secs(3600) && waited < Duration::from_secs(3631));
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn deadlines_of_the_broker_are_met_in_virtual_time() {
    let clock = Clock::new();
    let mut executor = Executor::new(clock.clone(), 1);
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let (client, driver) = server.client().build();
    executor.spawn(driver);
    let waited = executor.run(async move {
        let ttl = Duration::from_secs(600);
        client.ready().await.unwrap();
        client
            .declare(Queue::new("orders").message_ttl(ttl))
            .await
            .unwrap();
        client
            .producer("orders")
            .unwrap()
            .build()
            .send("1")
            .await
            .unwrap();
        let before = clock.now();
        server.until(|server| depth(server) == 0).await;
        clock.now() - before
    });
    assert_eq!(waited, Some(Duration::from_secs(600)));
}

#[test]
fn a_black_hole_is_found_out_by_missing_heartbeats() {
    let clock = Clock::new();
    let mut executor = Executor::new(clock.clone(), 1);
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let (client, driver) = server.client().heartbeat(Duration::from_secs(10)).build();
    executor.spawn(driver);
    let waited = executor.run(async move {
        client.ready().await.unwrap();
        let mut events = client.events();
        let before = clock.now();
        server.stop_reading();
        server.hold_answers();
        while !matches!(events.next().await, Some(Event::Disconnected { .. })) {}
        clock.now() - before
    });
    let waited = waited.expect("it notices");
    assert!(waited <= Duration::from_secs(30), "{waited:?}");
}

#[test]
fn a_clock_is_advanced_by_hand_on_any_executor() {
    within(async {
        let clock = Clock::new();
        let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
        let client = executor::connect(server.client()).await.unwrap();
        let ttl = Duration::from_secs(5);
        client
            .declare(Queue::new("orders").message_ttl(ttl))
            .await
            .unwrap();
        client
            .producer("orders")
            .unwrap()
            .build()
            .send("1")
            .await
            .unwrap();
        assert_eq!(depth(&server), 1);
        clock.advance(ttl);
        assert_eq!(depth(&server), 0);
    });
}

/// How long it takes in virtual time until each of so many messages, published at once, has its outcome.
fn time_for(count: usize, poison: Option<usize>, round_trip: Duration) -> Duration {
    let clock = Clock::new();
    let mut executor = Executor::new(clock.clone(), 1);
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let (client, driver) = server.client().build();
    executor.spawn(driver);
    let took = executor.run(async move {
        client.declare(Queue::new("orders")).await.unwrap();
        let producer = client.producer("orders").unwrap().capacity(count).build();
        producer.send("first").await.unwrap();
        server.set_delay(round_trip);
        let before = clock.now();
        let mut confirmations = Vec::new();
        for number in 0..count {
            let mut message = Message::from("an order");
            if Some(number) == poison {
                let forged = Properties::builder().user_id("somebody else");
                message = message.with_properties(forged.build().unwrap());
            }
            confirmations.push(producer.try_publish(message).unwrap());
        }
        for (number, confirmation) in confirmations.into_iter().enumerate() {
            assert_eq!(confirmation.await.is_err(), Some(number) == poison);
        }
        clock.now() - before
    });
    took.expect("all have an outcome")
}

// case C3
#[test]
fn a_poison_message_among_10_000_costs_its_neighbours_log_n_round_trips() {
    const COUNT: usize = 10_000;
    let round_trip = Duration::from_millis(20);
    let without = time_for(COUNT, None, round_trip);
    let log = COUNT.next_power_of_two().ilog2();
    for poison in [0, COUNT / 3, COUNT - 1] {
        let more = time_for(COUNT, Some(poison), round_trip) - without;
        assert!(
            more <= round_trip * (log + 4),
            "{poison}: {more:?} more than {without:?}"
        );
    }
}
