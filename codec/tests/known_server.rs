//! A client that knows what the server will say, and says its part of the handshake at once.

mod pair;

use std::time::Instant;

use bytes::BytesMut;
use pair::read::read;
use pair::wire::{connection_close, method, start, tune, written};
use pair::{Pair, client_options, goodbye, server_options};
use snowshoe_codec::frame::PROTOCOL_HEADER;
use snowshoe_codec::method::{confirm, connection, queue};
use snowshoe_codec::sasl::{AmqPlain, External, Mechanism, MechanismError};
use snowshoe_codec::{
    ChannelId, ClientOptions, CloseReason, Connection, ConnectionLimits, Event, FieldTable,
    HandshakeError, KnownServer, OpenChannelError, ReplyCode, ServerOptions,
};

/// What is known of a server with these options.
fn known(server: ServerOptions) -> KnownServer {
    let client = client_options(ConnectionLimits::default());
    let mut pair = Pair::new(client, server);
    pair.run();
    assert!(pair.client.connection.is_open());
    let known = pair.client.connection.known_server();
    known.expect("it was let in at once").clone()
}

fn options_with(known: KnownServer) -> ClientOptions {
    ClientOptions {
        known_server: Some(known),
        ..client_options(ConnectionLimits::default())
    }
}

/// A client of a known server that has said its part.
fn client_of(known: KnownServer) -> Connection {
    let mut connection = Connection::client(options_with(known), Instant::now());
    let begun = connection.poll_event();
    assert!(matches!(begun, Some(Event::Opening(_))), "{begun:?}");
    let said = written(&mut connection);
    assert!(said.starts_with(&PROTOCOL_HEADER));
    connection
}

/// Whether a client that was given this waits for the server.
fn takes_its_steps(options: ClientOptions) -> bool {
    let mut connection = Connection::client(options, Instant::now());
    let waits = connection.poll_event().is_none();
    let refused = connection.open_channel(Instant::now());
    assert_eq!(refused == Err(OpenChannelError::NotOpen), waits);
    assert_eq!(written(&mut connection) == PROTOCOL_HEADER[..], waits);
    waits
}

#[test]
fn all_of_the_handshake_and_what_comes_after_it_goes_in_one_flight() {
    let server = || server_options(ConnectionLimits::default());
    let mut pair = Pair::new(options_with(known(server())), server());
    let client = &mut pair.client.connection;
    let Some(Event::Opening(tuning)) = client.poll_event() else {
        panic!("it is being opened");
    };
    assert!(!client.is_open());
    let id = client.open_channel(pair.now).unwrap();
    let mut channel = client.channel(id).unwrap();
    channel.send(pair.now, queue::Declare::default()).unwrap();
    channel.send(pair.now, confirm::Select::default()).unwrap();
    let flight = client.outbound_len();
    pair.carry_part(flight);
    // What is still to come of the client is nothing.
    pair.server.poll_events();
    pair.server.connection.accept_login();
    pair.run();
    assert_eq!(pair.server.received, flight);
    assert!(matches!(
        pair.client.events[..],
        [Event::Open(opened), Event::ChannelOpen { .. }] if opened == tuning
    ));
    assert_eq!(pair.server.connection.tuning(), tuning);
    let asked = pair.server.events.iter().filter_map(|event| match event {
        Event::Request { method, .. } => Some(method.name()),
        _ => None,
    });
    let asked: Vec<_> = asked.collect();
    assert_eq!(asked, ["queue.declare", "confirm.select"]);
    assert!(pair.client.connection.known_server().is_some());
}

#[test]
fn a_server_that_says_something_else_than_before_costs_the_connection() {
    let before = || {
        known(ServerOptions {
            mechanisms: "PLAIN".to_owned(),
            properties: FieldTable::new(),
            limits: ConnectionLimits::default(),
        })
    };
    let greeting = start("PLAIN");
    let other_tune = |channel_max, frame_max, heartbeat| {
        [&greeting[..], &tune(channel_max, frame_max, heartbeat)].concat()
    };
    let challenge = method(ChannelId::CONNECTION, connection::Secure::default());
    let cases = [
        ("connection.start", start("PLAIN EXTERNAL")),
        ("connection.start", start("AMQPLAIN")),
        ("connection.tune", other_tune(2046, 131_072, 10)),
        ("connection.tune", other_tune(2047, 4096, 10)),
        ("connection.tune", other_tune(2047, 131_072, 60)),
        ("connection.secure", [&greeting[..], &challenge].concat()),
    ];
    for (changed, says) in cases {
        let outcome = read(|| client_of(before()), &says);
        let CloseReason::Handshake(HandshakeError::ServerChanged(method)) = outcome.close_reason()
        else {
            panic!("{changed}: {}", outcome.close_reason());
        };
        assert_eq!(method.name(), Some(changed));
    }
}

#[test]
fn a_server_that_says_the_same_is_none_the_wiser() {
    let server = || ServerOptions {
        mechanisms: "PLAIN".to_owned(),
        properties: FieldTable::new(),
        limits: ConnectionLimits::default(),
    };
    let says = [
        start("PLAIN"),
        tune(2047, 131_072, 10),
        method(ChannelId::CONNECTION, connection::OpenOk::default()),
    ];
    let outcome = read(|| client_of(known(server())), &says.concat());
    assert!(matches!(outcome.only_event(), Event::Open(_)));
}

#[test]
fn the_word_of_a_server_that_does_not_open_is_heard() {
    let server = || server_options(ConnectionLimits::default());
    for code in [ReplyCode::ACCESS_REFUSED, ReplyCode::NOT_ALLOWED] {
        let says = connection_close(code, "not you");
        let outcome = read(|| client_of(known(server())), &says);
        match outcome.close_reason() {
            CloseReason::Peer(close) => assert_eq!(close.code, code),
            other => panic!("{other}"),
        }
    }
}

#[test]
fn where_the_login_or_the_limits_do_not_go_with_what_is_known_the_usual_steps_are_taken() {
    let known = || known(server_options(ConnectionLimits::default()));
    assert!(!takes_its_steps(options_with(known())));
    let other_login = ClientOptions {
        mechanisms: vec![Box::new(External::new())],
        ..options_with(known())
    };
    assert!(takes_its_steps(other_login));
    // The second best is as good, and so are limits of the client's own.
    let second = ClientOptions {
        mechanisms: vec![
            Box::new(External::new()),
            Box::new(AmqPlain::new("guest", "guest")),
        ],
        limits: ConnectionLimits {
            channel_max: 3,
            ..ConnectionLimits::default()
        },
        ..options_with(known())
    };
    assert!(!takes_its_steps(second));
    let rabbitmq = self::known(ServerOptions {
        properties: FieldTable::new()
            .with("product", "RabbitMQ")
            .and_then(|it| it.with("version", "4.3.6"))
            .unwrap(),
        ..ServerOptions::default()
    });
    let small_frames = ClientOptions {
        limits: ConnectionLimits {
            frame_max: 4096,
            ..ConnectionLimits::default()
        },
        ..options_with(rabbitmq)
    };
    assert!(takes_its_steps(small_frames));
}

/// Asked for a second answer, it gives one.
struct InTwoSteps;

impl Mechanism for InTwoSteps {
    fn name(&self) -> &str {
        "PLAIN"
    }

    fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
        Ok(Vec::new())
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        Ok(Vec::new())
    }
}

#[test]
fn a_server_that_asks_a_second_time_is_not_known() {
    let client = ClientOptions::new(InTwoSteps);
    let mut pair = Pair::new(client, server_options(ConnectionLimits::default()));
    pair.lets_in = false;
    pair.run();
    pair.server.connection.challenge("again".into());
    pair.run();
    pair.lets_in = true;
    pair.run();
    assert!(pair.client.connection.is_open());
    assert!(pair.client.connection.known_server().is_none());
}

#[test]
fn a_login_that_fails_of_itself_is_told_as_ever() {
    struct Broken;
    impl Mechanism for Broken {
        fn name(&self) -> &str {
            "PLAIN"
        }

        fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
            Err(MechanismError::Other("no ticket".to_owned()))
        }
    }
    let options = ClientOptions {
        mechanisms: vec![Box::new(Broken)],
        ..options_with(known(server_options(ConnectionLimits::default())))
    };
    let mut connection = Connection::client(options, Instant::now());
    let ended = connection.poll_event();
    let Some(Event::Closed(CloseReason::Handshake(HandshakeError::Mechanism(error)))) = ended
    else {
        panic!("{ended:?}");
    };
    assert!(error.to_string().contains("no ticket"), "{error}");
}

#[test]
fn a_close_before_the_server_has_said_anything_is_in_order() {
    let server = || server_options(ConnectionLimits::default());
    let mut pair = Pair::new(options_with(known(server())), server());
    let (code, text) = goodbye();
    pair.client.connection.close(pair.now, code, text);
    pair.run();
    assert!(matches!(
        pair.client.events[..],
        [Event::Opening(_), Event::Closed(CloseReason::Requested)]
    ));
    let closed = pair.server.events.last();
    assert!(
        matches!(closed, Some(Event::Closed(CloseReason::Peer(_)))),
        "{closed:?}"
    );
}

#[test]
fn what_is_known_of_a_server_is_the_same_each_time() {
    let server = || server_options(ConnectionLimits::default());
    let first = known(server());
    let mut pair = Pair::new(options_with(first.clone()), server());
    pair.run();
    assert_eq!(pair.client.connection.known_server(), Some(&first));
}

#[test]
fn the_first_bytes_of_something_else_are_recognised_all_the_same() {
    let known = known(server_options(ConnectionLimits::default()));
    let mut client = client_of(known);
    let mut input = BytesMut::from(&b"HTTP/1.1 400 Bad Request\r\n\r\n"[..]);
    _ = client.receive(Instant::now(), &mut input);
    let ended = client.poll_event();
    assert!(
        matches!(
            ended,
            Some(Event::Closed(CloseReason::Handshake(
                HandshakeError::NotAmqp(_)
            )))
        ),
        "{ended:?}"
    );
}
