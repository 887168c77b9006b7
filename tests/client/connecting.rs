//! How a client connects for the first time, and what it says where it cannot.

use std::io::{self, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use snowshoe::codec::sasl::{Mechanism, Plain};
use snowshoe::codec::{CloseReason, FrameError, Greeting, HandshakeError, Stage, Violation};
use snowshoe::runtime::{AsyncIo, Resolving, Task, TcpOptions, Timer};
use snowshoe::{
    AmqpUri, Client, ClientBuilder, Connecting, ConnectionError, ConnectionErrorReason, Connector,
    Endpoint, Error, Event, Hint, Phase, Reconnect, ReplyCode, Runtime, Target, TcpConnector,
};
use support::broker::{admin, url};
use support::client::{builder, connect};
use support::events::find_event;
use support::executor;
use support::ports::Nowhere;
use support::proxy::Proxy;
use support::queues::{fresh_queue, publish, unique};
use support::waiting::{run, within};

/// Why a client cannot connect.
async fn failure(builder: ClientBuilder) -> ConnectionError {
    match within("the failure", executor::connect(builder)).await {
        Err(Error::Connection(error)) => error,
        Err(other) => panic!("a failed connection, not {other}"),
        Ok(_) => panic!("the connection was to fail"),
    }
}

/// The address of the broker that the tests share.
fn endpoint() -> Endpoint {
    let uri: AmqpUri = url().parse().unwrap();
    uri.endpoints[0].clone()
}

/// A server that lets each client speak first, and then does something else than a broker.
fn peer(answer: impl Fn(TcpStream) -> io::Result<()> + Send + 'static) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("amqp://{}", listener.local_addr().unwrap());
    thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.expect("the listener goes on");
            stream
                .read_exact(&mut [0; 8])
                .expect("clients send a header");
            // Clients may go whenever they want.
            _ = answer(stream);
        }
    });
    url
}

/// A server that says this, and waits for its client to go.
fn peer_that_says(words: &'static [u8]) -> String {
    peer(move |mut stream| {
        stream.write_all(words)?;
        io::copy(&mut stream, &mut io::sink()).map(drop)
    })
}

/// What was written and not sent would be done after what the next connection says.
#[test]
fn a_connection_that_the_peer_has_ended_is_reset() {
    let (ended, how) = async_channel::unbounded();
    let url = peer(move |mut stream| {
        stream.shutdown(Shutdown::Write)?;
        let end = io::copy(&mut stream, &mut io::sink());
        _ = ended.try_send(end.map_err(|error| error.kind()));
        Ok(())
    });
    run(async {
        failure(builder(&url)).await;
        let end = within("its end", how.recv()).await.unwrap();
        assert_eq!(end, Err(io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn a_wrong_uri_is_refused_at_once() {
    for uri in ["", "localhost", "http://localhost", "amqp://localhost:x"] {
        assert!(matches!(Client::builder(uri), Err(Error::Uri(_))), "{uri}");
    }
}

#[test]
fn the_first_connect_fails_at_once_where_nothing_listens() {
    let nowhere = Nowhere::take();
    let uri = format!("amqp://{}", nowhere.address());
    let ConnectionErrorReason::Dial(error) = run(failure(builder(&uri))).reason else {
        panic!("the connection was to be refused");
    };
    assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
}

#[test]
fn the_first_connect_tries_every_host_before_it_fails() {
    run(async {
        let nowhere = Nowhere::take();
        let hosts = format!("{},{}", nowhere.address(), endpoint());
        let uri = format!("amqp://guest:guest@{hosts}/%2f");
        // The hosts are taken in an order of chance.
        for seed in 0..4 {
            executor::connect(builder(&uri).seed(seed)).await.unwrap();
        }
    });
}

#[test]
fn a_wrong_password_is_told() {
    run(async {
        for user in ["guest", "nobody"] {
            let uri = format!("amqp://{user}:wrong@{}/%2f", endpoint());
            let ConnectionErrorReason::LoginRefused(close) = failure(builder(&uri)).await.reason
            else {
                panic!("the login was to be refused");
            };
            assert_eq!(close.code, ReplyCode::ACCESS_REFUSED);
        }
    });
}

#[test]
fn a_missing_virtual_host_is_told() {
    let uri = format!("amqp://guest:guest@{}/no-such-host", endpoint());
    let ConnectionErrorReason::VirtualHostRefused(close) = run(failure(builder(&uri))).reason
    else {
        panic!("the virtual host was to be refused");
    };
    assert_eq!(close.code, ReplyCode::NOT_ALLOWED);
    assert!(close.text.to_string_lossy().contains("no-such-host"));
}

#[test]
fn a_server_of_another_protocol_is_recognised() {
    run(async {
        let http = b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n";
        let tls_alert = b"\x15\x03\x01\x00\x02\x02\x46";
        let amqp_1_0 = b"AMQP\x03\x01\x00\x00";
        for (words, expected) in [
            (&http[..], Greeting::Http),
            (tls_alert, Greeting::Tls),
            (
                amqp_1_0,
                Greeting::OtherVersion {
                    id: 3,
                    major: 1,
                    minor: 0,
                    revision: 0,
                },
            ),
        ] {
            let error = failure(builder(&peer_that_says(words))).await;
            let ConnectionErrorReason::NotAmqp(greeting) = error.reason else {
                panic!("{expected}, not {error}");
            };
            assert_eq!(greeting, expected);
        }
    });
}

#[test]
fn garbage_is_told_from_amqp() {
    let uri = peer_that_says(b"220 mail.example.com ESMTP ready\r\n");
    let error = run(failure(builder(&uri)));
    let ConnectionErrorReason::Closed(CloseReason::Violation(Violation::Frame(error))) =
        error.reason
    else {
        panic!("the protocol was to be broken, not {error}");
    };
    assert!(matches!(error, FrameError::UnknownKind { kind: b'2' }));
}

#[test]
fn a_server_that_hangs_up_is_told() {
    let uri = peer(|stream| stream.shutdown(Shutdown::Both));
    let error = run(failure(builder(&uri)));
    let ConnectionErrorReason::HandshakeCut(cut) = error.reason else {
        panic!("{error}");
    };
    assert_eq!((cut.stage, cut.hint), (Stage::Greeting, Hint::Port));
}

#[test]
fn a_silent_server_is_given_up() {
    let uri = peer_that_says(b"");
    let builder = builder(&uri).handshake_timeout(Duration::from_millis(100));
    let error = run(failure(builder));
    let timed_out = matches!(
        error.reason,
        ConnectionErrorReason::Timeout(Phase::Handshake)
            | ConnectionErrorReason::Closed(CloseReason::HandshakeTimeout(_))
    );
    assert!(timed_out, "{error}");
}

#[test]
fn a_transport_that_never_connects_is_given_up() {
    let never = |_: &Target, _: &Arc<dyn Runtime>| Box::pin(std::future::pending()) as Connecting;
    let builder = builder("amqp://localhost").connector(never);
    let error = run(failure(
        builder.connection_timeout(Duration::from_millis(50)),
    ));
    assert!(
        matches!(error.reason, ConnectionErrorReason::Timeout(Phase::Dial)),
        "{error}"
    );
}

#[test]
fn tls_is_not_left_out_where_it_is_asked_for() {
    let error = run(failure(builder(&format!("amqps://{}", endpoint()))));
    assert!(
        matches!(error.reason, ConnectionErrorReason::Dial(_)),
        "{error}"
    );
}

#[test]
fn a_client_need_not_fail_fast() {
    run(async {
        let proxy = Proxy::start(&url());
        proxy.refuse();
        let patient = Reconnect::default()
            .initial_delay(Duration::from_millis(1))
            .fail_fast(false);
        let (client, driver) = executor::build(builder(&proxy.url()).reconnect(patient));
        let mut events = client.events();
        executor::spawn(driver);
        for expected in 2..=4 {
            let attempt = |event| match event {
                Event::Reconnecting { attempt, .. } => Some(attempt),
                _ => None,
            };
            let attempt = find_event(&mut events, "an attempt", attempt).await;
            assert_eq!(attempt, expected);
        }
        proxy.accept();
        within("the connection", client.ready()).await.unwrap();
        fresh_queue(&client).await;
    });
}

#[test]
fn attempts_can_be_limited() {
    run(async {
        let limited = Reconnect::default()
            .initial_delay(Duration::from_millis(1))
            .fail_fast(false)
            .max_attempts(Some(3));
        let attempts = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&attempts);
        let refuse = move |_: &Target, _: &Arc<dyn Runtime>| {
            count.fetch_add(1, Ordering::Relaxed);
            Box::pin(async { Err(io::ErrorKind::ConnectionRefused.into()) }) as Connecting
        };
        let builder = builder("amqp://localhost").reconnect(limited);
        let (client, driver) = executor::build(builder.connector(refuse));
        let mut events = client.events();
        executor::spawn(driver);
        let gave_up = |event| match event {
            Event::GaveUp { cause, .. } => Some(cause),
            _ => None,
        };
        let cause = find_event(&mut events, "the end", gave_up).await;
        assert!(
            matches!(cause.reason, ConnectionErrorReason::Dial(_)),
            "{cause}"
        );
        assert_eq!(attempts.load(Ordering::Relaxed), 3);

        // It says so for as long as it is asked.
        for _ in 0..2 {
            let Err(Error::Connection(error)) = client.ready().await else {
                panic!("it did not connect");
            };
            assert!(matches!(error.reason, ConnectionErrorReason::Dial(_)));
        }
        let error = client.channel().await.unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
    });
}

#[test]
fn credentials_are_asked_for_at_every_attempt() {
    run(async {
        let asked = Arc::new(AtomicU32::new(0));
        let count = Arc::clone(&asked);
        let rotated = move || match count.fetch_add(1, Ordering::Relaxed) {
            0 => Err("the vault is sealed".into()),
            1 => Ok(vec![
                Box::new(Plain::new("guest", "expired")) as Box<dyn Mechanism>
            ]),
            _ => Ok(vec![
                Box::new(Plain::new("guest", "guest")) as Box<dyn Mechanism>
            ]),
        };
        let patient = Reconnect::default()
            .initial_delay(Duration::from_millis(1))
            .fail_fast(false);
        let builder = builder(&url()).reconnect(patient).credentials(rotated);
        let (client, driver) = executor::build(builder);
        let mut events = client.events();
        executor::spawn(driver);
        within("the connection", client.ready()).await.unwrap();
        assert_eq!(asked.load(Ordering::Relaxed), 3);

        let cause = |event| match event {
            Event::Disconnected { cause, .. } => Some(cause),
            _ => None,
        };
        let first = find_event(&mut events, "the first failure", cause).await;
        let expected = format!("{}: no credentials: the vault is sealed", endpoint());
        assert_eq!(first.to_string(), expected);
        let second = find_event(&mut events, "the second failure", cause).await;
        assert!(
            matches!(second.reason, ConnectionErrorReason::LoginRefused(_)),
            "{second}"
        );
    });
}

#[test]
fn a_mechanism_that_the_broker_does_not_offer_is_not_used() {
    let uri = format!("amqp://{}/%2f?auth_mechanism=external", endpoint());
    let error = run(failure(builder(&uri)));
    let none = matches!(
        error.reason,
        ConnectionErrorReason::Closed(CloseReason::Handshake(
            HandshakeError::NoCommonMechanism { .. }
        ))
    );
    assert!(none, "{error}");
}

#[test]
fn a_connector_decides_where_to_connect_to() {
    run(async {
        let real = endpoint();
        let lead_there = move |target: &Target, runtime: &Arc<dyn Runtime>| {
            assert_eq!(
                (&*target.host, target.port, target.tls),
                ("broker.invalid", 7, false)
            );
            let mut target = target.clone();
            (target.host, target.port) = (real.host.clone(), real.port);
            TcpConnector::default().connect(&target, runtime)
        };
        let builder = builder("amqp://guest:guest@broker.invalid:7/%2f").connector(lead_there);
        let client = executor::connect(builder).await.unwrap();
        let queue = fresh_queue(&client).await;
        publish(&client, &queue, &["hello"]).await;
    });
}

#[test]
fn the_second_connection_is_opened_for_the_first_producer() {
    run(async {
        let proxy = Proxy::start(&url());
        let client = connect(&proxy.url()).await;
        let queue = fresh_queue(&client).await;
        let _consumer = client
            .consumer(queue.clone())
            .unwrap()
            .start()
            .await
            .unwrap();
        assert_eq!(proxy.stats().links.len(), 1);
        publish(&client, &queue, &["1"]).await;
        publish(&client, &queue, &["2"]).await;
        assert_eq!(proxy.stats().links.len(), 2);
    });
}

/// What the broker knows of the connections with this name, an Erlang list of each one's items.
fn connections(name: &str, items: &str) -> String {
    let property = format!("{{<<\"connection_name\">>, longstr, <<{name:?}>>}}");
    // Those of other tests come and go meanwhile, and then have no properties, or are an error.
    admin().eval(&format!(
        "[Items || Pid <- rabbit_networking:connections(), [{{client_properties, [_ | _] = Properties}} | Items] <-
            [catch rabbit_networking:connection_info(Pid, [client_properties, {items}])],
            lists:member({property}, Properties)]"
    ))
}

#[test]
fn the_broker_lists_connections_by_the_name_of_the_client_and_their_role_and_consumers_by_theirs() {
    run(async {
        let name = unique("connection");
        let client = executor::connect(builder(&url()).name(&*name).unwrap());
        let client = client.await.unwrap();
        let queue = fresh_queue(&client).await;
        publish(&client, &queue, &["hello"]).await;
        let consumer = client.consumer(queue).unwrap().dedicated_connection();
        let consumer = consumer.name("dispatch").unwrap().start().await.unwrap();
        for role in ["", " (publishing)", " (dedicated)"] {
            let name = format!("{name}{role}");
            assert_eq!(
                connections(&name, "protocol"),
                "[[{protocol, {0, 9, 1}}]]",
                "{name}"
            );
        }
        assert_eq!(client.name(), Some(&*name));
        let consumers = admin().ctl(&["list_consumers", "queue_name", "consumer_tag"]);
        let queue = consumer.queue().to_string_lossy().into_owned();
        let of_queue = |line: &&str| line.split_whitespace().next() == Some(&*queue);
        let line = consumers.lines().find(of_queue).unwrap();
        assert!(line.contains("dispatch-"), "{line}");
    });
}

// case A4
#[test]
fn heartbeats_that_are_turned_off_are_off_on_both_sides() {
    run(async {
        let name = unique("connection");
        let uri = format!("amqp://guest:guest@{}/%2f?heartbeat=0", endpoint());
        let by_uri = executor::connect(builder(&uri).name(&*name).unwrap());
        let _by_uri = by_uri.await.unwrap();
        let by_builder = builder(&url()).heartbeat(Duration::ZERO);
        let by_builder = executor::connect(by_builder.name(&*name).unwrap());
        let _by_builder = by_builder.await.unwrap();
        assert_eq!(
            connections(&name, "timeout"),
            "[[{timeout, 0}], [{timeout, 0}]]"
        );
    });
}

// case A3
#[test]
fn a_keep_alive_of_any_length_lets_a_client_connect() {
    run(async {
        for keepalive in [Duration::ZERO, Duration::from_millis(500), Duration::MAX] {
            let tcp = TcpConnector::default().keepalive(keepalive);
            let client = executor::connect(builder(&url()).connector(tcp));
            let client = within("the connection", client).await.unwrap();
            fresh_queue(&client).await;
        }
    });
}

/// A runtime of sockets, in which names have the addresses that a test gives them, and nothing that is
/// sent to some of these arrives.
#[derive(Debug)]
struct Names {
    sockets: AsyncIo,
    /// For `broker.example`: one that swallows, and that of the broker.
    addresses: [SocketAddr; 2],
}

impl Runtime for Names {
    fn timer(&self) -> Box<dyn Timer> {
        self.sockets.timer()
    }

    fn connect(&self, address: SocketAddr, options: TcpOptions) -> Connecting {
        if address == self.addresses[1] {
            self.sockets.connect(address, options)
        } else {
            Box::pin(std::future::pending())
        }
    }

    fn resolve(&self, host: &str, port: u16) -> Resolving {
        let swallowing = |octet| SocketAddr::from(([192, 0, 2, octet], port));
        let addresses = match host {
            "broker.example" => self.addresses.to_vec(),
            _ => vec![swallowing(1), swallowing(2)],
        };
        Box::pin(std::future::ready(Ok(addresses)))
    }

    fn spawn(&self, driver: Task) -> io::Result<()> {
        self.sockets.spawn(driver)
    }
}

// case H1
#[test]
fn every_address_of_every_host_has_its_turn_whatever_the_others_swallow() {
    run(async {
        let real = endpoint();
        let broker = (&*real.host, real.port).to_socket_addrs().unwrap();
        let broker = broker.last().expect("it has an address");
        for seed in 0..4 {
            let swallowing = SocketAddr::from(([192, 0, 2, 3], real.port));
            let names = Names {
                sockets: AsyncIo,
                addresses: [swallowing, broker],
            };
            let uri = format!(
                "amqp://guest:guest@gone.example,broker.example:{}/%2f",
                real.port
            );
            let patient = Reconnect::default().fail_fast(false);
            // Less than the head start that an address has where there is time.
            let builder = builder(&uri).reconnect(patient).seed(seed).runtime(names);
            let builder = builder.connection_timeout(Duration::from_millis(200));
            let client = within("the connection", builder.connect()).await.unwrap();
            fresh_queue(&client).await;
        }
    });
}

#[test]
fn the_options_of_the_uri_are_negotiated() {
    run(async {
        let name = unique("connection");
        let options = "heartbeat=7&channel_max=9&frame_max=8192&auth_mechanism=amqplain";
        let uri = format!("amqp://guest:guest@{}/%2f?{options}", endpoint());
        let client = executor::connect(builder(&uri).name(&*name).unwrap());
        let client = client.await.unwrap();
        assert_eq!(
            connections(&name, "timeout, channel_max, frame_max"),
            "[[{timeout, 7}, {channel_max, 9}, {frame_max, 8192}]]"
        );

        // Messages are cut to frames of that size.
        let queue = fresh_queue(&client).await;
        let producer = client.producer(queue.clone()).unwrap().build();
        producer.send(vec![7; 100_000]).await.unwrap();
        let mut consumer = client.consumer(queue).unwrap().start().await.unwrap();
        let delivery = consumer.next().await.unwrap();
        assert!(delivery.body() == [7; 100_000]);
        delivery.ack().unwrap();
    });
}
