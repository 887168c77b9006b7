use std::collections::BTreeSet;
use std::io::{IoSlice, Read as _, Write as _};
use std::net::TcpListener;
use std::sync::mpsc;
use std::thread;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, future};

use super::*;
use crate::reactor::Reactor;

/// Runs a test of sockets on everything that there are some of.
fn with_each(test: impl AsyncFn(Sockets)) {
    async_io::block_on(test(Sockets::Anywhere));
    let reactor = Reactor::new().expect("a reactor");
    let ran = reactor.block_on(test(Sockets::Anywhere));
    ran.expect("it can wait");
    #[cfg(feature = "tokio")]
    tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime")
        .block_on(test(Sockets::Tokio));
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// A connection, and its peer.
async fn pair(sockets: Sockets) -> (Box<dyn Transport>, TcpStream) {
    let (listener, address) = listen();
    let connecting = TcpConnector::default().connect_to(address, sockets).await;
    let (peer, _) = listener.accept().expect("its peer");
    (connecting.expect("a connection"), peer)
}

/// Some sockets end when they are closed, and some when they are dropped behind that.
async fn end(mut socket: Box<dyn Transport>) {
    socket.close().await.expect("an end");
}

#[test]
fn bytes_come_that_were_not_there_when_they_were_asked_for() {
    with_each(async |sockets| {
        let (mut socket, mut peer) = pair(sockets).await;
        let (asked, was_asked) = mpsc::channel();
        let peer = thread::spawn(move || {
            was_asked.recv().expect("the reader asks");
            peer.write_all(b"first").expect("room");
            was_asked.recv().expect("the reader asks again");
            peer.write_all(b"second").expect("room");
        });
        for expected in ["first", "second"] {
            let mut into = [0; 64];
            let mut reading = std::pin::pin!(socket.read(&mut into));
            assert!(future::poll_once(&mut reading).await.is_none());
            asked.send(()).expect("the peer listens");
            let len = reading.await.expect("bytes");
            assert_eq!(&into[..len], expected.as_bytes());
        }
        peer.join().expect("it wrote");
    });
}

#[test]
fn an_end_right_behind_the_last_bytes_is_not_missed() {
    with_each(async |sockets| {
        let (mut socket, mut peer) = pair(sockets).await;
        peer.write_all(b"last").expect("room");
        drop(peer);
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.expect("an orderly end");
        assert_eq!(all, b"last");
    });
}

#[test]
fn more_than_the_system_buffers_is_written_as_the_peer_reads() {
    with_each(async |sockets| {
        let (mut socket, mut peer) = pair(sockets).await;
        let sent: Vec<u8> = (0..32_000_000_u32).map(|it| it as u8).collect();
        let reader = thread::spawn(move || {
            let mut received = Vec::new();
            peer.read_to_end(&mut received).expect("bytes");
            received
        });
        socket.write_all(&sent).await.expect("a peer that reads");
        end(socket).await;
        assert!(reader.join().expect("it read") == sent);
    });
}

#[test]
fn several_slices_are_written_at_once() {
    with_each(async |sockets| {
        let (mut socket, mut peer) = pair(sockets).await;
        let slices = [&b"one, "[..], b"two, ", b"three"].map(IoSlice::new);
        let written = socket.write_vectored(&slices).await.expect("room");
        assert_eq!(written, 15);
        end(socket).await;
        let mut received = String::new();
        peer.read_to_string(&mut received).expect("bytes");
        assert_eq!(received, "one, two, three");
    });
}

#[test]
fn a_refused_connection_is_an_error() {
    with_each(async |sockets| {
        let (listener, address) = listen();
        drop(listener);
        let refused = TcpConnector::default().connect_to(address, sockets).await;
        let kind = refused.map(drop).map_err(|error| error.kind());
        assert_eq!(kind, Err(io::ErrorKind::ConnectionRefused));
    });
}

#[test]
fn an_abort_resets() {
    with_each(async |sockets| {
        let (mut socket, mut peer) = pair(sockets).await;
        socket.prepare_abort();
        drop(socket);
        let read = peer.read(&mut [0; 8]).map_err(|error| error.kind());
        assert_eq!(read, Err(io::ErrorKind::ConnectionReset));
    });
}

fn addresses(hosts: &[&str]) -> Vec<SocketAddr> {
    let parse = |host: &&str| SocketAddr::new(host.parse().expect("an address"), 5672);
    hosts.iter().map(parse).collect()
}

fn first(mut addresses: Vec<SocketAddr>, seed: u64, attempt: u32) -> SocketAddr {
    put_in_order(&mut addresses, seed, attempt);
    addresses[0]
}

const NODES: [&str; 3] = ["10.0.0.1", "10.0.0.2", "10.0.0.3"];

// fault 37
#[test]
fn clients_of_one_name_begin_with_different_addresses() {
    let begun: Vec<SocketAddr> = (0..300)
        .map(|seed| first(addresses(&NODES), seed, 1))
        .collect();
    for node in addresses(&NODES) {
        let share = begun.iter().filter(|it| **it == node).count();
        assert!((70..=130).contains(&share), "{node}: {share}");
    }
}

#[test]
fn attempts_of_one_client_begin_with_all_addresses_in_whatever_order_they_are_resolved() {
    for seed in 0..100 {
        let begun: BTreeSet<SocketAddr> = (1..=3)
            .map(|attempt| {
                let mut resolved = addresses(&NODES);
                resolved.rotate_left(attempt as usize % 3);
                first(resolved, seed, attempt)
            })
            .collect();
        assert_eq!(begun.len(), NODES.len());
    }
}

#[test]
fn an_attempt_tries_every_address_and_first_the_family_that_the_system_prefers() {
    let resolved = addresses(&["::1", "::2", "127.0.0.1", "127.0.0.2"]);
    for seed in 0..100 {
        let mut tried = resolved.clone();
        put_in_order(&mut tried, seed, 1);
        let families: Vec<bool> = tried.iter().map(SocketAddr::is_ipv6).collect();
        assert_eq!(families, [true, true, false, false]);
        tried.sort_unstable();
        let mut all = resolved.clone();
        all.sort_unstable();
        assert_eq!(tried, all);
    }
}

#[test]
fn a_name_without_addresses_has_none_to_try() {
    put_in_order(&mut [], 7, 5);
}
