//! From the protocol header to open-ok, and all that can go wrong on the way.

mod pair;

use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use pair::read::{Outcome, client_with, read, receive};
use pair::wire::{connection_close, delivery, method, start, tune, written};
use pair::{Pair, client_options, goodbye, server_options};
use snowshoe_codec::frame::{self, FRAME_MIN_SIZE, Limits, PROTOCOL_HEADER};
use snowshoe_codec::method::{Arguments, MethodId, channel, connection, queue};
use snowshoe_codec::sasl::{AmqPlain, Mechanism, MechanismError, Plain};
use snowshoe_codec::{
    ChannelId, ClientOptions, CloseReason, Connection, ConnectionLimits, Event, FieldTable,
    FrameError, FrameKind, Greeting, HandshakeError, Method, ReplyCode, ServerOptions, ShortString,
    Stage, Violation,
};

/// A client that has sent its header.
fn greeting_client() -> Connection {
    client_of(ClientOptions::new(Plain::new("guest", "s3cret")))
}

fn client_of(options: ClientOptions) -> Connection {
    let mut connection = Connection::client(options, Instant::now());
    assert_eq!(written(&mut connection), PROTOCOL_HEADER[..]);
    connection
}

/// A client with these limits that has logged in.
fn client_at_tuning(limits: ConnectionLimits) -> Connection {
    let mut connection = client_of(client_options(limits));
    let mut input = BytesMut::from(&start("PLAIN")[..]);
    _ = connection.receive(Instant::now(), &mut input);
    assert_eq!(names(&written(&mut connection)), ["connection.start-ok"]);
    connection
}

fn fresh_server() -> Connection {
    Connection::server(ServerOptions::default(), Instant::now())
}

/// The methods in `bytes`.
fn methods(bytes: &[u8]) -> Vec<Method> {
    let limits = Limits {
        frame_max: FRAME_MIN_SIZE,
        header_frame_max: FRAME_MIN_SIZE,
    };
    let mut rest = bytes;
    let mut methods = Vec::new();
    while let Some(frame) = frame::find(rest, &limits).expect("we send only frames") {
        methods.push(Method::decode(frame.payload).expect("we send only methods"));
        rest = &rest[frame.encoded_len()..];
    }
    assert!(rest.is_empty());
    methods
}

fn names(bytes: &[u8]) -> Vec<&'static str> {
    methods(bytes).iter().map(Method::name).collect()
}

#[test]
fn both_ends_agree_and_open() {
    let mut pair = Pair::new(
        client_options(ConnectionLimits::default()),
        server_options(ConnectionLimits::default()),
    );
    pair.run();
    let [Event::Opening(offered), Event::Open(tuning)] = pair.client.events[..] else {
        panic!("{:?}", pair.client.events);
    };
    assert_eq!(tuning, pair.server.connection.tuning());
    assert_eq!(tuning, offered);
    let [
        Event::Login {
            mechanism,
            response,
        },
        Event::OpenRequested { virtual_host },
        Event::Open(_),
    ] = &pair.server.events[..]
    else {
        panic!("{:?}", pair.server.events);
    };
    assert_eq!(*mechanism, "PLAIN");
    assert_eq!(response.as_bytes(), b"\0guest\0guest");
    assert_eq!(*virtual_host, "/");
    for end in [&pair.client.connection, &pair.server.connection] {
        assert_eq!(end.stage(), Stage::Open);
        let capabilities = end.peer_properties().get("capabilities");
        assert!(matches!(capabilities, Ok(Some(_))), "{capabilities:?}");
    }
}

/// A pair whose client waits for the server's word on connection.open, and has opened a channel and declared
/// a queue behind it.
fn with_a_flight_behind_open() -> (Pair, ChannelId) {
    let mut pair = Pair::new(
        client_options(ConnectionLimits::default()),
        server_options(ConnectionLimits::default()),
    );
    pair.lets_in = false;
    pair.run();
    assert!(pair.client.connection.open_channel(pair.now).is_err());
    pair.server.connection.accept_login();
    pair.run();
    assert!(matches!(pair.client.take_events()[..], [Event::Opening(_)]));
    let client = &mut pair.client.connection;
    let channel = client.open_channel(pair.now).expect("it is being opened");
    let mut opening = client.channel(channel).expect("it was opened");
    opening.send(pair.now, queue::Declare::default()).unwrap();
    pair.run();
    let last = pair.server.take_events().pop();
    assert!(
        matches!(last, Some(Event::OpenRequested { .. })),
        "{last:?}"
    );
    (pair, channel)
}

#[test]
fn what_follows_connection_open_without_waiting_is_taken_in_once_that_is_answered() {
    let (mut pair, channel) = with_a_flight_behind_open();
    assert!(!pair.client.connection.is_open());
    pair.server.connection.accept_open();
    pair.run();
    assert!(matches!(
        pair.server.take_events()[..],
        [
            Event::Open(_),
            Event::ChannelOpen { .. },
            Event::Request { .. }
        ]
    ));
    let declared = queue::DeclareOk::default();
    let mut answering = pair.server.connection.channel(channel).unwrap();
    answering.send(pair.now, declared).unwrap();
    pair.run();
    assert!(matches!(
        pair.client.take_events()[..],
        [
            Event::Open(_),
            Event::ChannelOpen { .. },
            Event::Reply { .. }
        ]
    ));
}

#[test]
fn of_what_follows_a_connection_open_that_is_refused_nothing_is_taken_in() {
    let (mut pair, _) = with_a_flight_behind_open();
    let (code, text) = (ReplyCode::NOT_ALLOWED, ShortString::from_static("no"));
    (pair.server.connection).close_over(pair.now, code, text, connection::Open::ID);
    pair.run();
    assert!(matches!(
        pair.client.take_events()[..],
        [Event::Closed(CloseReason::Peer(_))]
    ));
    assert!(matches!(
        pair.server.take_events()[..],
        [Event::Closed(CloseReason::Requested)]
    ));
}

#[test]
fn the_smaller_limit_wins_and_zero_is_none() {
    let own = ConnectionLimits {
        channel_max: 100,
        frame_max: 20_000,
        heartbeat: Duration::from_secs(30),
        ..ConnectionLimits::default()
    };
    let none = ConnectionLimits {
        channel_max: 0,
        heartbeat: Duration::ZERO,
        ..ConnectionLimits::default()
    };
    // Limits of the client, tune by the server, tune-ok by the client.
    let cases = [
        (&own, (2047, 131_072, 60), (100, 20_000, 30)),
        (&own, (50, 4096, 10), (50, 4096, 10)),
        (&own, (0, 0, 0), (100, 20_000, 30)),
        (&own, (u16::MAX, u32::MAX, u16::MAX), (100, 20_000, 30)),
        (&none, (0, 0, 0), (65_535, 131_072, 0)),
        (&none, (2048, 131_072, 300), (2048, 131_072, 0)),
        (&none, (1, 8192, 1), (1, 8192, 0)),
    ];
    for (limits, (channel_max, frame_max, heartbeat), expected) in cases {
        let outcome = read(
            || client_at_tuning(limits.clone()),
            &tune(channel_max, frame_max, heartbeat),
        );
        let [Method::ConnectionTuneOk(tune_ok)] = &methods(&outcome.answer)[..] else {
            panic!("not tune-ok alone: {outcome:?}");
        };
        let answer = (tune_ok.channel_max, tune_ok.frame_max, tune_ok.heartbeat);
        assert_eq!(answer, expected);
        // LavinMQ answers a zero for "no limit" with a 530.
        assert!(tune_ok.channel_max > 0 && tune_ok.frame_max > 0);
    }
}

#[test]
fn a_fraction_of_a_second_is_a_heartbeat() {
    let limits = ConnectionLimits {
        heartbeat: Duration::from_millis(1),
        ..ConnectionLimits::default()
    };
    assert_eq!(client_with(0, limits).tuning().heartbeat, 1);
}

#[test]
fn a_frame_size_below_the_least_is_refused() {
    for frame_max in [1, 4095] {
        let make = || client_at_tuning(ConnectionLimits::default());
        let outcome = read(make, &tune(2047, frame_max, 60));
        assert_eq!(*outcome.violation(), Violation::FrameMax(frame_max));
        assert_eq!(names(&outcome.answer), ["connection.close"]);
    }
}

/// A client with this `frame_max` that has logged in at what says that it is this.
fn client_of_server(product: &str, version: &str, frame_max: u32) -> Connection {
    let mut options = client_options(ConnectionLimits::default());
    options.limits.frame_max = frame_max;
    let mut client = client_of(options);
    let properties = FieldTable::new().with("product", product).unwrap();
    let greeting = connection::Start {
        version_major: 0,
        version_minor: 9,
        server_properties: properties.with("version", version).unwrap(),
        mechanisms: "PLAIN".into(),
        locales: "en_US".into(),
    };
    let mut input = BytesMut::from(&method(ChannelId(0), greeting)[..]);
    _ = client.receive(Instant::now(), &mut input);
    written(&mut client);
    client
}

// case H4
#[test]
fn a_frame_size_that_rabbitmq_refuses_without_a_word_is_refused_before() {
    for version in ["4.1.0", "4.3.6", "5.0.0-beta.1"] {
        // Whoever wants it so small.
        for (own, theirs) in [(4096, 131_072), (131_072, 8191)] {
            let make = || client_of_server("RabbitMQ", version, own);
            let outcome = read(make, &tune(2047, theirs, 60));
            let error = HandshakeError::FrameMax {
                version: version.to_owned(),
                frame_max: own.min(theirs),
                least: 8192,
            };
            for part in ["frame_max", version, "8192", "raise it"] {
                assert!(error.to_string().contains(part), "{error}");
            }
            assert_eq!(*outcome.close_reason(), CloseReason::Handshake(error));
            assert!(outcome.answer.is_empty(), "it was nothing but silence");
        }
    }
}

// case H4
#[test]
fn a_frame_size_that_is_taken_or_may_be_is_asked_for() {
    for (product, version, frame_max) in [
        ("RabbitMQ", "4.3.6", 8192),
        ("RabbitMQ", "4.0.5", 4096),
        ("RabbitMQ", "3.10.8", 4096),
        ("RabbitMQ", "", 4096),
        ("RabbitMQ", "of tomorrow", 4096),
        ("LavinMQ", "4.3.6", 4096),
    ] {
        let make = || client_of_server(product, version, frame_max);
        let outcome = read(make, &tune(2047, 131_072, 60));
        let [Method::ConnectionTuneOk(tune_ok)] = &methods(&outcome.answer)[..] else {
            panic!("{product} {version}: {outcome:?}");
        };
        assert_eq!(tune_ok.frame_max, frame_max);
    }
}

#[test]
fn open_waits_until_tune_ok_has_left() {
    let mut client = client_at_tuning(ConnectionLimits::default());
    let now = Instant::now();
    _ = client.receive(now, &mut BytesMut::from(&tune(2047, 131_072, 60)[..]));
    let len = client.outbound().remaining();
    client.outbound().advance(len - 1);
    client.handle_timeout(now);
    assert!(client.poll_timeout().unwrap() > now);
    assert_eq!(client.outbound().remaining(), 1);

    client.outbound().advance(1);
    assert!(client.poll_timeout().unwrap() <= now);
    client.handle_timeout(now);
    assert_eq!(names(&written(&mut client)), ["connection.open"]);
    assert!(client.poll_timeout().unwrap() > now);
    client.handle_timeout(now);
    assert!(client.outbound().is_empty());
}

#[test]
fn a_refusal_of_tune_ok_is_heard() {
    let make = || {
        let mut client = client_at_tuning(ConnectionLimits::default());
        _ = client.receive(Instant::now(), &mut BytesMut::from(&tune(0, 0, 0)[..]));
        written(&mut client);
        client
    };
    let outcome = read(make, &connection_close(ReplyCode::NOT_ALLOWED, "frame_max"));
    match outcome.close_reason() {
        CloseReason::Peer(close) => assert_eq!(close.code, ReplyCode::NOT_ALLOWED),
        other => panic!("{other}"),
    }
    assert_eq!(names(&outcome.answer), ["connection.close-ok"]);
}

#[test]
fn what_is_not_amqp_is_recognised() {
    let version = |id, major, minor, revision| Greeting::OtherVersion {
        id,
        major,
        minor,
        revision,
    };
    let cases: [(&[u8], Greeting); 6] = [
        (b"HTTP/1.1 400 Bad Request\r\n\r\n", Greeting::Http),
        (b"\x15\x03\x03\0\x02\x02\x46", Greeting::Tls),
        (b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03", Greeting::Tls),
        (b"AMQP\0\0\x09\x01", version(0, 0, 9, 1)),
        (b"AMQP\x03\x01\0\0", version(3, 1, 0, 0)),
        (b"AMQP\x01\x01\0\x0a and more", version(1, 1, 0, 10)),
    ];
    for (bytes, greeting) in cases {
        let outcome = read(greeting_client, bytes);
        let expected = CloseReason::Handshake(HandshakeError::NotAmqp(greeting));
        assert_eq!(*outcome.close_reason(), expected);
        assert!(outcome.answer.is_empty());
    }
}

#[test]
fn anything_else_instead_of_a_frame_is_refused_at_its_first_octet() {
    let outcome = read(greeting_client, b"SSH-2.0-OpenSSH_9.2\r\n");
    let error = FrameError::UnknownKind { kind: b'S' };
    assert_eq!(*outcome.violation(), Violation::Frame(error));
    // It would not understand connection.close.
    assert!(outcome.answer.is_empty());
}

#[test]
fn a_server_answers_a_wrong_header_with_its_own() {
    let other = Greeting::OtherVersion {
        id: 3,
        major: 1,
        minor: 0,
        revision: 0,
    };
    let cases: [(&[u8], Greeting); 4] = [
        (b"AMQP\x03\x01\0\0", other),
        (b"\x16\x03\x01\x02\0\x01", Greeting::Tls),
        (b"GET / HTTP/1.1\r\n", Greeting::Unknown),
        (b"\x01\0\0\0\0\0\0\xce", Greeting::Unknown),
    ];
    for (bytes, greeting) in cases {
        let outcome = read(fresh_server, bytes);
        let expected = CloseReason::Handshake(HandshakeError::NotAmqp(greeting));
        assert_eq!(*outcome.close_reason(), expected);
        assert_eq!(outcome.answer, PROTOCOL_HEADER[..]);
    }
}

#[test]
fn the_first_of_our_mechanisms_that_the_server_lists_is_used() {
    let client = || {
        let mut options = ClientOptions::new(Plain::new("u", "p"));
        options.mechanisms.push(Box::new(AmqPlain::new("u", "p")));
        client_of(options)
    };
    let cases = [
        ("AMQPLAIN PLAIN", "PLAIN"),
        ("EXTERNAL AMQPLAIN", "AMQPLAIN"),
        ("XPLAIN PLAINX AMQPLAIN", "AMQPLAIN"),
    ];
    for (offered, chosen) in cases {
        let outcome = read(client, &start(offered));
        let [Method::ConnectionStartOk(start_ok)] = &methods(&outcome.answer)[..] else {
            panic!("{outcome:?}");
        };
        assert_eq!(start_ok.mechanism, chosen);
    }
}

#[test]
fn no_password_leaves_where_no_mechanism_fits() {
    for offered in ["EXTERNAL", "", "XPLAIN plain", "AMQPLAIN"] {
        let outcome = read(greeting_client, &start(offered));
        let error = HandshakeError::NoCommonMechanism {
            offered: offered.to_owned(),
        };
        assert_eq!(*outcome.close_reason(), CloseReason::Handshake(error));
        assert!(outcome.answer.is_empty());
    }
}

#[test]
fn a_servers_list_of_mechanisms_is_fit_to_be_logged() {
    let outcome = read(greeting_client, &start("\x1b[31mred\r\n"));
    let text = outcome.close_reason().to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// Name first, password when asked for it.
struct InTwoSteps {
    answer: Vec<u8>,
}

impl Mechanism for InTwoSteps {
    fn name(&self) -> &str {
        "TWO-STEPS"
    }

    fn initial_response(&mut self) -> Result<Vec<u8>, MechanismError> {
        Ok(b"guest".to_vec())
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<Vec<u8>, MechanismError> {
        assert_eq!(challenge, b"password?");
        Ok(self.answer.clone())
    }
}

fn two_steps(answer: &[u8]) -> Pair {
    let mut client = ClientOptions::new(InTwoSteps {
        answer: answer.to_vec(),
    });
    client.limits.frame_max = 4096;
    let server = ServerOptions {
        mechanisms: "PLAIN TWO-STEPS".to_owned(),
        ..ServerOptions::default()
    };
    Pair::new(client, server)
}

#[test]
fn a_challenge_is_answered_by_the_mechanism() {
    let mut pair = two_steps(b"secret");
    pair.lets_in = false;
    pair.run();
    let password = Bytes::from_static(b"password?");
    pair.server.connection.challenge(password);
    pair.run();
    let responses: Vec<_> = pair
        .server
        .events
        .iter()
        .map(|event| match event {
            Event::Login {
                mechanism,
                response,
            } => {
                assert_eq!(*mechanism, "TWO-STEPS");
                response.as_bytes()
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(responses, [b"guest", &b"secret"[..]]);
    pair.server.connection.accept_login();
    pair.lets_in = true;
    pair.run();
    assert!(pair.client.connection.is_open());
}

#[test]
fn a_challenge_to_a_mechanism_of_one_step_ends_the_login() {
    let make = || client_at_tuning(ConnectionLimits::default());
    let secure = connection::Secure {
        challenge: Bytes::from_static(b"?"),
    };
    let outcome = read(make, &method(ChannelId(0), secure));
    let error = HandshakeError::Mechanism(MechanismError::UnexpectedChallenge);
    assert_eq!(*outcome.close_reason(), CloseReason::Handshake(error));
}

#[test]
fn a_server_sends_nothing_over_4_kib_before_tuning_and_a_client_nothing_over_its_frame_max() {
    let too_large = |outcome: &CloseReason, expected: MethodId| match outcome {
        CloseReason::Handshake(HandshakeError::FrameTooLarge {
            method,
            size,
            limit: 4096,
        }) => {
            assert_eq!(*method, expected);
            assert!(*size > 4096);
        }
        other => panic!("{other}"),
    };
    let long = "x".repeat(5000);
    let properties = || FieldTable::new().with("long", &*long).unwrap();

    let client = || {
        let mut options = ClientOptions::new(Plain::new("guest", "guest"));
        options.properties = properties();
        options.limits.frame_max = 4096;
        client_of(options)
    };
    let outcome = read(client, &start("PLAIN"));
    too_large(outcome.close_reason(), connection::StartOk::ID);
    assert!(outcome.answer.is_empty());

    let server = || {
        let options = ServerOptions {
            properties: properties(),
            ..ServerOptions::default()
        };
        Connection::server(options, Instant::now())
    };
    let outcome = read(server, &PROTOCOL_HEADER);
    too_large(outcome.close_reason(), connection::Start::ID);

    let mut pair = two_steps(long.as_bytes());
    pair.lets_in = false;
    pair.run();
    let password = Bytes::from_static(b"password?");
    pair.server.connection.challenge(password);
    pair.run();
    let Some(Event::Closed(reason)) = pair.client.events.last() else {
        panic!("{:?}", pair.client.events);
    };
    too_large(reason, connection::SecureOk::ID);
}

// case H4
#[test]
fn start_ok_is_as_long_as_the_clients_own_frame_max_lets_it_be() {
    let with_properties = |len: usize, frame_max: u32| {
        let value = "x".repeat(len);
        let mut options = ClientOptions::new(Plain::new("guest", "guest"));
        options.properties = FieldTable::new().with("k", &*value).unwrap();
        options.limits.frame_max = frame_max;
        receive(client_of(options), [&start("PLAIN")[..]])
            .answer
            .len()
    };
    let overhead = with_properties(0, 4096);
    for frame_max in [4096, 8192, 131_072] {
        let longest = frame_max as usize - overhead;
        assert_eq!(with_properties(longest, frame_max), frame_max as usize);
        assert_eq!(with_properties(longest + 1, frame_max), 0);
    }
}

#[test]
fn a_large_frame_before_tuning_is_refused_by_its_header() {
    let size = 8192 - 8 + 1_u32;
    let mut header = vec![FrameKind::Method as u8, 0, 0];
    header.extend(size.to_be_bytes());
    for make in [greeting_client as fn() -> Connection, server_at_start_ok] {
        let outcome = read(make, &header);
        let too_large = FrameError::TooLarge {
            kind: FrameKind::Method,
            channel: ChannelId(0),
            size: 8193,
            max: 8192,
        };
        assert_eq!(*outcome.violation(), Violation::Frame(too_large));
    }
}

/// A server that awaits start-ok.
fn server_at_start_ok() -> Connection {
    let mut server = fresh_server();
    _ = server.receive(Instant::now(), &mut BytesMut::from(&PROTOCOL_HEADER[..]));
    assert_eq!(names(&written(&mut server)), ["connection.start"]);
    server
}

fn start_ok(mechanism: &'static str) -> Vec<u8> {
    let start_ok = connection::StartOk {
        mechanism: mechanism.try_into().unwrap(),
        ..Default::default()
    };
    method(ChannelId(0), start_ok)
}

#[test]
fn a_mechanism_that_was_not_offered_is_refused() {
    for mechanism in ["EXTERNAL", "", "PLAI", "PLAIN AMQPLAIN"] {
        let outcome = read(server_at_start_ok, &start_ok(mechanism));
        let mechanism = mechanism.try_into().unwrap();
        assert_eq!(*outcome.violation(), Violation::Mechanism(mechanism));
        let [Method::ConnectionClose(close)] = &methods(&outcome.answer)[..] else {
            panic!("{outcome:?}");
        };
        assert_eq!(close.reply_code, ReplyCode::ACCESS_REFUSED);
    }
}

#[test]
fn tune_ok_above_the_offer_is_refused() {
    let server = || {
        let mut server = server_at_start_ok();
        _ = server.receive(Instant::now(), &mut BytesMut::from(&start_ok("PLAIN")[..]));
        while server.poll_event().is_some() {}
        server.accept_login();
        written(&mut server);
        server
    };
    let tune_ok = |channel_max, frame_max| connection::TuneOk {
        channel_max,
        frame_max,
        heartbeat: 10,
    };
    let exceeding = [
        (tune_ok(2048, 131_072), "channel-max"),
        (tune_ok(2047, 131_073), "frame-max"),
    ];
    for (tune_ok, expected) in exceeding {
        let outcome = read(server, &method(ChannelId(0), tune_ok));
        match outcome.violation() {
            Violation::TuneExceeded { what, .. } => assert_eq!(*what, expected),
            other => panic!("{other}"),
        }
        let [Method::ConnectionClose(close)] = &methods(&outcome.answer)[..] else {
            panic!("{outcome:?}");
        };
        assert_eq!(close.reply_code, ReplyCode::NOT_ALLOWED);
    }
    let outcome = read(server, &method(ChannelId(0), tune_ok(2047, 4095)));
    assert_eq!(*outcome.violation(), Violation::FrameMax(4095));

    let outcome = read(server, &method(ChannelId(0), tune_ok(0, 0)));
    let tuning = outcome.connection.tuning();
    assert_eq!((tuning.channel_max, tuning.frame_max), (2047, 131_072));
}

#[test]
fn a_refused_login_is_told_with_its_reason() {
    let mut pair = Pair::new(
        client_options(ConnectionLimits::default()),
        server_options(ConnectionLimits::default()),
    );
    pair.lets_in = false;
    pair.run();
    let text = "no".try_into().unwrap();
    pair.server
        .connection
        .close(pair.now, ReplyCode::ACCESS_REFUSED, text);
    pair.run();
    match &pair.client.events[..] {
        [Event::Closed(CloseReason::Peer(close))] => {
            assert_eq!(close.code, ReplyCode::ACCESS_REFUSED);
            assert_eq!(close.text, "no");
        }
        other => panic!("{other:?}"),
    }
    let [Event::Login { .. }, Event::Closed(CloseReason::Requested)] = &pair.server.events[..]
    else {
        panic!("{:?}", pair.server.events);
    };
}

#[test]
fn an_end_of_the_transport_tells_how_far_it_came() {
    let end = |mut connection: Connection| {
        connection.transport_ended();
        match connection.poll_event() {
            Some(Event::Closed(CloseReason::TransportEnded(stage))) => stage,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(end(greeting_client()), Stage::Greeting);
    // How brokers refuse a login without `authentication_failure_close`.
    let limits = ConnectionLimits::default;
    assert_eq!(end(client_at_tuning(limits())), Stage::Login);
    let mut opening = client_at_tuning(limits());
    _ = opening.receive(Instant::now(), &mut BytesMut::from(&tune(0, 0, 0)[..]));
    assert_eq!(end(opening), Stage::Opening);
    assert_eq!(end(client_with(0, limits())), Stage::Open);
}

#[test]
fn a_handshake_that_takes_too_long_ends() {
    let limits = ConnectionLimits {
        handshake_timeout: Duration::from_secs(3),
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::new(
        client_options(limits),
        server_options(ConnectionLimits::default()),
    );
    pair.lets_in = false;
    pair.run();
    pair.advance(Duration::from_millis(2999));
    assert!(pair.client.events.is_empty());
    pair.advance(Duration::from_millis(1));
    let [Event::Closed(CloseReason::HandshakeTimeout(Stage::Login))] = pair.client.events[..]
    else {
        panic!("{:?}", pair.client.events);
    };
}

#[test]
fn a_handshake_that_is_complete_has_no_deadline() {
    let limits = ConnectionLimits {
        handshake_timeout: Duration::from_secs(3),
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(limits.clone(), limits);
    pair.advance(Duration::from_secs(60));
    assert!(pair.client.connection.is_open() && pair.server.connection.is_open());
}

/// Brokers do not answer a close before the connection is open, so there is nothing to wait for.
#[test]
fn a_client_that_closes_in_the_handshake_is_done_at_once() {
    let mut at_opening = client_at_tuning(ConnectionLimits::default());
    _ = at_opening.receive(Instant::now(), &mut BytesMut::from(&tune(0, 0, 0)[..]));
    written(&mut at_opening);
    let clients = [
        (greeting_client(), None),
        (
            client_at_tuning(ConnectionLimits::default()),
            Some("connection.close"),
        ),
        (at_opening, Some("connection.close")),
    ];
    for (mut client, last_word) in clients {
        let (code, text) = goodbye();
        client.close(Instant::now(), code, text);
        let event = client.poll_event();
        assert!(
            matches!(event, Some(Event::Closed(CloseReason::Requested))),
            "{event:?}"
        );
        assert_eq!(names(&written(&mut client)), Vec::from_iter(last_word));
        assert_eq!(client.poll_timeout(), None);
    }
}

#[test]
fn another_version_in_start_is_refused() {
    let start = connection::Start {
        version_major: 8,
        version_minor: 0,
        mechanisms: Bytes::from_static(b"PLAIN"),
        ..Default::default()
    };
    let outcome = read(greeting_client, &method(ChannelId(0), start));
    let version = Violation::Version { major: 8, minor: 0 };
    assert_eq!(*outcome.violation(), version);
}

#[test]
fn a_method_out_of_turn_ends_the_handshake_and_the_peer_is_told() {
    let at_tuning = || client_at_tuning(ConnectionLimits::default());
    let to_a_client = [
        (start("PLAIN"), connection::Start::ID),
        (
            method(ChannelId(0), connection::OpenOk::default()),
            connection::OpenOk::ID,
        ),
        (
            method(ChannelId(0), connection::Blocked::default()),
            connection::Blocked::ID,
        ),
    ];
    for (bytes, method) in to_a_client {
        refuses(&read(at_tuning, &bytes), method);
    }
    refuses(&read(greeting_client, &tune(0, 0, 0)), connection::Tune::ID);
    let open = method(ChannelId(0), connection::Open::default());
    refuses(&read(server_at_start_ok, &open), connection::Open::ID);
    let channel_open = method(ChannelId(0), channel::Open::default());
    refuses(&read(server_at_start_ok, &channel_open), channel::Open::ID);
}

#[track_caller]
fn refuses(outcome: &Outcome, method: MethodId) {
    let expected = Violation::UnexpectedMethod {
        channel: ChannelId(0),
        method,
    };
    assert_eq!(*outcome.violation(), expected);
    assert_eq!(names(&outcome.answer), ["connection.close"]);
}

#[test]
fn a_channel_has_no_place_in_the_handshake() {
    let at_tuning = || client_at_tuning(ConnectionLimits::default());
    let outcome = read(at_tuning, &delivery(ChannelId(1), 1, b"early"));
    let unexpected = Violation::UnexpectedFrame {
        channel: ChannelId(1),
        kind: FrameKind::Method,
    };
    assert_eq!(*outcome.violation(), unexpected);
}

#[test]
fn durations_without_end_are_no_overflow() {
    let limits = ConnectionLimits {
        frame_max: u32::MAX,
        max_message_size: u32::MAX,
        heartbeat: Duration::MAX,
        handshake_timeout: Duration::MAX,
        call_timeout: Duration::MAX,
        close_timeout: Duration::MAX,
        channel_max: u16::MAX,
    };
    let mut pair = Pair::open_with(limits.clone(), limits);
    pair.open_channel();
    let (code, text) = goodbye();
    pair.client.connection.close(pair.now, code, text);
    pair.run();
    assert!(pair.client.connection.is_closed());
}
