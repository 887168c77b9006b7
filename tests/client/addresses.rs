//! A host of several addresses, of which some let connect and are no broker that can be used.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream, ToSocketAddrs as _};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Duration;

use snowshoe::runtime::{AsyncIo, Resolving, Task, TcpOptions, Timer};
use snowshoe::{
    AmqpUri, ClientBuilder, Connecting, ConnectionError, ConnectionErrorReason, Error, Event,
    Phase, Reconnect, Runtime,
};
use support::broker::url;
use support::client::builder;
use support::events::next_event;
use support::ports::Nowhere;
use support::proxy::{End, Proxy};
use support::queues::fresh_queue;
use support::waiting::{run, within};

/// A runtime of sockets in which every name has these addresses.
#[derive(Debug)]
pub(crate) struct Names(pub(crate) Vec<SocketAddr>);

impl Runtime for Names {
    fn timer(&self) -> Box<dyn Timer> {
        AsyncIo.timer()
    }

    fn connect(&self, address: SocketAddr, options: TcpOptions) -> Connecting {
        AsyncIo.connect(address, options)
    }

    fn resolve(&self, _: &str, _: u16) -> Resolving {
        Box::pin(std::future::ready(Ok(self.0.clone())))
    }

    fn spawn(&self, driver: Task) -> io::Result<()> {
        AsyncIo.spawn(driver)
    }
}

/// What lets connect and is no broker.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Trap {
    Cuts,
    IsSilent,
    SpeaksHttp,
}

/// Its address, and how often it was connected to.
pub(crate) fn trap(trap: Trap) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    let visits = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&visits);
    thread::spawn(move || {
        let mut silent = Vec::new();
        for stream in listener.incoming().flatten() {
            count.fetch_add(1, Ordering::Relaxed);
            match trap {
                Trap::Cuts => drop(stream),
                Trap::IsSilent => silent.push(stream),
                // Clients may go whenever they want.
                Trap::SpeaksHttp => _ = speak_http(stream),
            }
        }
    });
    (address, visits)
}

fn speak_http(mut stream: TcpStream) -> io::Result<()> {
    stream.read_exact(&mut [0; 8])?;
    stream.write_all(b"HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
}

fn address_of(uri: &str) -> SocketAddr {
    let uri: AmqpUri = uri.parse().expect("a URI");
    let endpoint = &uri.endpoints[0];
    let addresses = (&*endpoint.host, endpoint.port).to_socket_addrs();
    addresses.expect("a name").next().expect("an address")
}

const URI: &str = "amqp://guest:guest@broker.example/%2f";

/// For a host of these addresses.
fn client(addresses: &[SocketAddr], seed: u64) -> ClientBuilder {
    let builder = builder(URI).runtime(Names(addresses.to_vec())).seed(seed);
    builder.handshake_timeout(Duration::from_millis(500))
}

async fn failure(builder: ClientBuilder) -> ConnectionError {
    match within("the failure", builder.connect()).await {
        Err(Error::Connection(error)) => error,
        Err(other) => panic!("a failed connection, not {other}"),
        Ok(_) => panic!("the connection was to fail"),
    }
}

fn assert_says(error: &ConnectionError, parts: &[&str]) {
    let text = error.to_string();
    for part in parts {
        assert!(text.contains(part), "{part:?} is not in {text:?}");
    }
    assert!(!text.contains("guest"), "{text:?}");
}

// case H1
#[test]
fn the_first_connect_tries_every_address_of_a_host_before_it_fails() {
    run(async {
        for kind in [Trap::Cuts, Trap::IsSilent, Trap::SpeaksHttp] {
            let (bad, visits) = trap(kind);
            let addresses = [bad, address_of(&url())];
            for seed in 0..8 {
                let connected = within("the connection", client(&addresses, seed).connect()).await;
                let client = connected.unwrap_or_else(|error| panic!("{kind:?}, {seed}: {error}"));
                fresh_queue(&client).await;
            }
            let visits = visits.load(Ordering::Relaxed);
            assert!((1..=8).contains(&visits), "{kind:?}: {visits}");
        }
    });
}

// case H1
#[test]
fn a_first_connect_that_fails_everywhere_names_all_that_was_tried() {
    run(async {
        let nowhere = Nowhere::take();
        let (cuts, cut) = trap(Trap::Cuts);
        let (http, asked) = trap(Trap::SpeaksHttp);
        let refuses = nowhere.address();
        let addresses = [cuts, http, refuses];
        for seed in 0..4 {
            let error = failure(client(&addresses, seed)).await;
            assert_says(&error, &["broker.example:5672"]);
            assert_says(&error, &[&cuts.to_string(), "was cut off"]);
            assert_says(&error, &[&http.to_string(), "HTTP"]);
            assert_says(&error, &[&refuses.to_string(), "refused"]);
        }
        for visits in [cut, asked] {
            // Beside the one that refuses, one of them may have another turn.
            let visits = visits.load(Ordering::Relaxed);
            assert!((4..=8).contains(&visits), "{visits}");
        }
    });
}

// case H1
#[test]
fn a_reconnect_goes_to_another_address_than_the_one_that_has_just_failed() {
    run(async {
        let proxy = Proxy::start(&url());
        let (bad, visits) = trap(Trap::Cuts);
        let addresses = [bad, address_of(&proxy.url())];
        let soon = Reconnect::default().initial_delay(Duration::from_millis(1));
        let builder = client(&addresses, 7).reconnect(soon);
        let client = within("the connection", builder.connect()).await.unwrap();
        let mut events = client.events();
        for _ in 0..4 {
            let before = visits.load(Ordering::Relaxed);
            proxy.all().end(End::Reset);
            let is_back = |event: &Event| matches!(event, Event::Recovered { .. });
            next_event(&mut events, "the recovery", is_back).await;
            let visits = visits.load(Ordering::Relaxed) - before;
            assert_eq!(visits, 1);
        }
    });
}

// case H1
#[test]
fn what_takes_too_long_is_told_with_whom_it_was_to_reach() {
    run(async {
        let (silent, _) = trap(Trap::IsSilent);
        let error = failure(client(&[silent], 7)).await;
        let is_late = matches!(
            error.reason,
            ConnectionErrorReason::Timeout(Phase::Handshake) | ConnectionErrorReason::Closed(_)
        );
        assert!(is_late, "{error}");
        assert_says(&error, &["broker.example:5672", &silent.to_string()]);

        let (cuts, _) = trap(Trap::Cuts);
        let error = failure(client(&[cuts], 7)).await;
        assert_says(
            &error,
            &["broker.example:5672", &cuts.to_string(), "cut off"],
        );
    });
}
