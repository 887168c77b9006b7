//! Brokers that end a connection before it is open, and say nothing: the error says what to do. What
//! it says about TLS is tested in `tls`.

use std::io::{self, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::thread;
use std::time::Instant;

use bytes::{Buf as _, BytesMut};
use snowshoe::codec::{CloseReason, Connection, Event, HandshakeError, ServerOptions, Stage};
use snowshoe::runtime::reset_when_closed;
use snowshoe::{AmqpUri, ConnectionErrorReason, Error, HandshakeCut, Hint};
use support::broker::{url, version};
use support::client::builder;
use support::executor;
use support::waiting::{run, within};

#[derive(Clone, Copy, Debug)]
enum End {
    Orderly,
    Reset,
}

/// A broker that ends each connection at this stage; its address.
fn broker_that_ends(at: Stage, end: End) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound").to_string();
    thread::spawn(move || {
        for stream in listener.incoming() {
            // A client may be gone by then.
            thread::spawn(move || stream.and_then(|stream| serve(stream, at, end)));
        }
    });
    address
}

fn serve(mut stream: TcpStream, at: Stage, end: End) -> io::Result<()> {
    let mut connection = Connection::server(ServerOptions::default(), Instant::now());
    let (mut input, mut buffer) = (BytesMut::new(), [0; 64 * 1024]);
    loop {
        let len = stream.read(&mut buffer)?;
        input.extend_from_slice(&buffer[..len]);
        _ = connection.receive(Instant::now(), &mut input);
        let is_over = match connection.poll_event() {
            _ if len == 0 => true,
            Some(Event::Login { .. }) => {
                connection.accept_login();
                at == Stage::Login
            }
            Some(Event::OpenRequested { .. }) => true,
            _ => at == Stage::Greeting,
        };
        if is_over {
            if let End::Reset = end {
                reset_when_closed(&stream);
            }
            return Ok(());
        }
        let outbound = connection.outbound();
        stream.write_all(&outbound.copy_to_bytes(outbound.remaining()))?;
    }
}

fn failure(uri: &str) -> ConnectionErrorReason {
    let connected = run(within("the failure", executor::connect(builder(uri))));
    match connected {
        Err(Error::Connection(error)) => error.reason,
        Err(other) => panic!("{uri}: {other}"),
        Ok(_) => panic!("the connection was to fail: {uri}"),
    }
}

fn cut(uri: &str) -> HandshakeCut {
    match failure(uri) {
        ConnectionErrorReason::HandshakeCut(cut) => cut,
        other => panic!("a cut, not {other}"),
    }
}

// case H4, case H5
#[test]
fn an_end_without_a_word_is_told_with_what_it_is_likely_to_mean() {
    let frame_max = Hint::FrameMax(4096);
    for (at, query, hint, parts) in [
        (Stage::Greeting, "", Hint::Port, ["5672", "amqps"]),
        (Stage::Login, "", Hint::Login, ["user", "password"]),
        (
            Stage::Opening,
            "",
            Hint::VirtualHost,
            ["virtual host", "user"],
        ),
        (
            Stage::Opening,
            "?frame_max=4096",
            frame_max,
            ["frame_max", "8192"],
        ),
    ] {
        for end in [End::Orderly, End::Reset] {
            let address = broker_that_ends(at, end);
            let cut = cut(&format!("amqp://guest:guest@{address}/%2f{query}"));
            assert_eq!((cut.stage, cut.hint), (at, hint), "{end:?}");
            let text = cut.to_string();
            for part in parts {
                assert!(text.contains(part), "{part:?} is not in {text:?}");
            }
            assert!(!text.contains('\n'), "{text:?}");
        }
    }
}

/// A login to the broker that the tests share, which does not know the user by this password.
fn long_login(len: usize) -> String {
    let uri: AmqpUri = url().parse().unwrap();
    let token = "x".repeat(len);
    format!("amqp://guest:{token}@{}/%2f", uri.endpoints[0])
}

// case H4
#[test]
fn a_small_frame_max_is_refused_by_the_client_where_rabbitmq_would_not_say_why() {
    let uri = format!("{}?frame_max=4096", url());
    if *version() >= (4, 1) {
        let reason = failure(&uri);
        let ConnectionErrorReason::Closed(CloseReason::Handshake(HandshakeError::FrameMax {
            frame_max: 4096,
            least: 8192,
            version: of_broker,
        })) = reason
        else {
            panic!("{}: {reason}", version());
        };
        assert_eq!(of_broker, version().number);
    } else {
        let client = run(within("the connection", executor::connect(builder(&uri))));
        let client = client.expect("4096 is the least that there may be");
        run(client.close());
    }
}

// case H4
#[test]
fn a_login_that_is_too_long_for_a_broker_is_told_by_its_length() {
    let cut = cut(&long_login(9000));
    assert!(
        matches!(cut.hint, Hint::LoginTooLong(9000..10_000)),
        "{cut}"
    );
    for part in ["8192", "initial_frame_max", "token"] {
        assert!(cut.to_string().contains(part), "{cut}");
    }
}

// case H4
#[test]
fn a_login_of_more_than_4_kib_is_refused_by_its_length_or_since_4_1_by_its_password() {
    let reason = failure(&long_login(5000));
    if *version() >= (4, 1) {
        let is_refusal = matches!(reason, ConnectionErrorReason::LoginRefused(_));
        assert!(is_refusal, "{}: {reason}", version());
    } else if *version() < (4, 1) {
        let ConnectionErrorReason::HandshakeCut(cut) = reason else {
            panic!("{}: {reason}", version());
        };
        assert!(matches!(cut.hint, Hint::LoginTooLong(5000..6000)), "{cut}");
    }
}

// case H4
#[test]
fn a_login_that_is_longer_than_4_kib_is_sent_to_a_broker_that_takes_it() {
    let address = broker_that_ends(Stage::Opening, End::Orderly);
    let token = "x".repeat(7000);
    let cut = cut(&format!("amqp://guest:{token}@{address}/%2f"));
    assert_eq!(cut.stage, Stage::Opening, "the login was taken");
}
