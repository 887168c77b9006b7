use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures_lite::{AsyncRead as _, AsyncReadExt, AsyncWrite as _, AsyncWriteExt};

use super::*;
use crate::sync::last;
use crate::testing::Executor;

struct World {
    network: Network,
    executor: Executor,
}

impl World {
    fn new(conditions: Conditions) -> Self {
        let clock = Clock::new();
        let network = Network::new(clock.clone(), 7);
        network.set_conditions(conditions);
        let executor = Executor::new(clock, 7);
        Self { network, executor }
    }

    /// Both ends of a new connection: the client's and the listener's.
    fn connect(&mut self) -> (Socket, Socket) {
        let network = self.network.clone();
        self.run(async move {
            let client = network.dial().await.unwrap();
            (client, network.accept().await)
        })
        .expect("nothing is in the way")
    }

    fn run<T: 'static>(&mut self, future: impl Future<Output = T> + 'static) -> Option<T> {
        self.executor.run(future)
    }
}

fn rough() -> Conditions {
    Conditions {
        latency: Duration::ZERO..=Duration::from_millis(20),
        capacity: 100,
        partial: true,
        drip: Some((7, Duration::from_millis(1))),
        dials: Dials::Succeed,
    }
}

#[test]
fn a_rough_network_loses_nothing_and_keeps_the_order() {
    let mut world = World::new(rough());
    let (mut client, mut server) = world.connect();
    let sent: Vec<u8> = (0..5000).map(|i| i as u8).collect();
    let to_send = sent.clone();
    world.executor.spawn(async move {
        client.write_all(&to_send).await.unwrap();
        client.close().await.unwrap();
    });
    let received = world.run(async move {
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        received
    });
    assert_eq!(received, Some(sent));
}

#[test]
fn a_writer_waits_for_a_reader_that_is_slow() {
    let mut world = World::new(Conditions {
        capacity: 10,
        ..Conditions::default()
    });
    let (mut client, server) = world.connect();
    let written = world.run(async move { client.write_all(&[0; 11]).await });
    assert!(written.is_none());
    drop(server);
}

#[test]
fn a_reset_ends_a_read_and_a_write_that_waits() {
    let mut world = World::new(Conditions {
        capacity: 10,
        ..Conditions::default()
    });
    let (mut client, mut server) = world.connect();
    let (network, clock, link) = (
        world.network.clone(),
        world.network.clock.clone(),
        server.id(),
    );
    let resetter = clock.clone();
    world.executor.spawn(async move {
        resetter.sleep(Duration::from_secs(1)).await;
        network.reset(link);
    });
    let ends = world.run(async move {
        let written = loop {
            // What is written while the reset is on its way is taken.
            if let Err(error) = client.write_all(&[0; 11]).await {
                break Err::<(), _>(error);
            }
            clock.sleep(Duration::from_millis(1)).await;
        };
        let read = server.read_to_end(&mut Vec::new()).await;
        (written, read)
    });
    let (written, read) = ends.expect("both are told");
    for error in [written.unwrap_err(), read.unwrap_err()] {
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
    }
}

#[test]
fn an_orderly_end_from_the_middle_comes_after_what_was_written() {
    let mut world = World::new(Conditions::default());
    let (mut client, mut server) = world.connect();
    let (network, link) = (world.network.clone(), server.id());
    let received = world.run(async move {
        client.write_all(b"last words").await.unwrap();
        network.close(link);
        let mut received = Vec::new();
        server.read_to_end(&mut received).await.unwrap();
        received
    });
    assert_eq!(received.as_deref(), Some(b"last words".as_slice()));
}

#[test]
fn an_aborted_end_is_a_reset() {
    let mut world = World::new(Conditions::default());
    let (mut client, mut server) = world.connect();
    client.prepare_abort();
    drop(client);
    let read = world.run(async move { server.read_to_end(&mut Vec::new()).await });
    let error = read.expect("the end is told").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
}

#[test]
fn a_black_hole_gives_back_what_fell_into_it_once_it_is_healed() {
    let mut world = World::new(Conditions::default());
    let (mut client, mut server) = world.connect();
    let (network, link) = (world.network.clone(), server.id());
    network.black_hole(link, Direction::Up, None);
    let (clock, healer) = (network.clock.clone(), network.clone());
    world.executor.spawn(async move {
        clock.sleep(Duration::from_secs(1)).await;
        healer.heal(link);
    });
    let waited = world.run(async move {
        let before = network.clock.now();
        client.write_all(b"hello").await.unwrap();
        server.read_exact(&mut [0; 5]).await.unwrap();
        network.clock.now() - before
    });
    assert_eq!(waited, Some(Duration::from_secs(1)));
}

#[test]
fn dials_are_refused_or_hang_as_they_are_told_to() {
    for (dials, refused) in [(Dials::Refused, true), (Dials::Hang, false)] {
        let mut world = World::new(Conditions {
            dials,
            ..Conditions::default()
        });
        let network = world.network.clone();
        let dialed = world.run(async move { network.dial().await.err() });
        let kind = dialed.flatten().map(|error| error.kind());
        assert_eq!(kind, refused.then_some(io::ErrorKind::ConnectionRefused));
    }
}

/// The waker of a task that looks at the network when it goes.
fn looks_at(network: &Network) -> (Waker, Arc<AtomicUsize>) {
    let (network, looks) = (network.clone(), Arc::new(AtomicUsize::new(0)));
    let count = Arc::clone(&looks);
    let look = move || {
        network.links();
        count.fetch_add(1, Ordering::Relaxed);
    };
    (last::waker(look), looks)
}

#[test]
fn a_task_goes_when_another_waits_in_its_place() {
    let full = Conditions {
        capacity: 1,
        ..Conditions::default()
    };
    for what in ["accept", "read", "write"] {
        let full = full.clone();
        last::in_time(move || {
            let mut world = World::new(full);
            let (mut client, _server) = world.connect();
            let network = world.network.clone();
            let mut wait = |cx: &mut Context<'_>| match what {
                "accept" => assert!(network.poll_accept(cx).is_pending()),
                "read" => assert!(Pin::new(&mut client).poll_read(cx, &mut [0]).is_pending()),
                _ => while Pin::new(&mut client).poll_write(cx, b"a").is_ready() {},
            };
            let (waker, looks) = looks_at(&world.network);
            wait(&mut Context::from_waker(&waker));
            drop(waker);
            wait(&mut Context::from_waker(Waker::noop()));
            assert_eq!(looks.load(Ordering::Relaxed), 1, "{what}");
        });
    }
}
