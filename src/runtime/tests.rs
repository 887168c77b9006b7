use std::io::{IoSlice, Read as _, Write as _};
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::thread;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _, future};

use super::*;
use crate::transport::Transport;

/// Runs a test of sockets on every runtime that has some.
fn with_each(test: impl AsyncFn(&dyn Runtime)) {
    #[cfg(feature = "async-io")]
    ::async_io::block_on(test(&AsyncIo));
    #[cfg(feature = "thread")]
    {
        let thread = Thread::new().expect("a reactor");
        thread.block_on(test(&thread));
    }
    #[cfg(feature = "tokio")]
    ::tokio::runtime::Builder::new_current_thread()
        .enable_io()
        .build()
        .expect("a runtime")
        .block_on(test(&Tokio));
}

fn listen() -> (TcpListener, SocketAddr) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("its address");
    (listener, address)
}

/// A connection, and its peer.
async fn pair(runtime: &dyn Runtime) -> (Box<dyn Transport>, TcpStream) {
    let (listener, address) = listen();
    let connecting = runtime.connect(address, options()).await;
    let (peer, _) = listener.accept().expect("its peer");
    (connecting.expect("a connection"), peer)
}

fn options() -> TcpOptions {
    TcpOptions::new(Duration::from_secs(30))
}

/// Some sockets end when they are closed, and some when they are dropped after that.
async fn end(mut socket: Box<dyn Transport>) {
    socket.close().await.expect("an end");
}

// case A3
#[test]
fn a_keep_alive_of_any_length_is_taken_and_that_of_no_length_is_none() {
    let (_listener, address) = listen();
    let socket = TcpStream::connect(address).expect("a connection");
    for (keepalive, is_on) in [
        (Duration::from_nanos(1), true),
        (Duration::ZERO, false),
        (Duration::from_millis(500), true),
        (Duration::MAX, true),
    ] {
        let applied = TcpOptions::new(keepalive).apply(&socket);
        applied.unwrap_or_else(|error| panic!("{keepalive:?}: {error}"));
        let is = SockRef::from(&socket).keepalive().expect("it is known");
        assert_eq!(is, is_on, "{keepalive:?}");
    }
}

#[test]
fn bytes_come_that_were_not_there_when_they_were_asked_for() {
    with_each(async |runtime| {
        let (mut socket, mut peer) = pair(runtime).await;
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
fn an_end_right_after_the_last_bytes_is_not_missed() {
    with_each(async |runtime| {
        let (mut socket, mut peer) = pair(runtime).await;
        peer.write_all(b"last").expect("room");
        drop(peer);
        let mut all = Vec::new();
        socket.read_to_end(&mut all).await.expect("an orderly end");
        assert_eq!(all, b"last");
    });
}

#[test]
fn more_than_the_system_buffers_is_written_as_the_peer_reads() {
    with_each(async |runtime| {
        let (mut socket, mut peer) = pair(runtime).await;
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
    with_each(async |runtime| {
        let (mut socket, mut peer) = pair(runtime).await;
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
    with_each(async |runtime| {
        let (listener, address) = listen();
        drop(listener);
        let refused = runtime.connect(address, options()).await;
        let kind = refused.map(drop).map_err(|error| error.kind());
        assert_eq!(kind, Err(io::ErrorKind::ConnectionRefused));
    });
}

#[test]
fn an_abort_resets() {
    with_each(async |runtime| {
        let (mut socket, mut peer) = pair(runtime).await;
        socket.prepare_abort();
        drop(socket);
        let read = peer.read(&mut [0; 8]).map_err(|error| error.kind());
        assert_eq!(read, Err(io::ErrorKind::ConnectionReset));
    });
}

#[test]
fn the_options_of_a_socket_are_set() {
    with_each(async |runtime| {
        let (_socket, peer) = pair(runtime).await;
        let before = peer.nodelay().expect("an option");
        options().apply(&peer).expect("a socket");
        assert!(!before && peer.nodelay().expect("an option"));
    });
}

#[test]
fn a_name_is_resolved() {
    let resolve = async |runtime: &dyn Runtime| {
        let addresses = runtime.resolve("localhost", 5672).await.expect("a name");
        assert!(
            addresses
                .iter()
                .all(|it| it.ip().is_loopback() && it.port() == 5672)
        );
        assert!(!addresses.is_empty());
        let nowhere = runtime.resolve("broker.invalid", 5672).await;
        assert!(nowhere.is_err(), "{nowhere:?}");
    };
    with_each(resolve);
}

#[cfg(target_os = "linux")]
#[test]
fn an_address_with_a_zone_is_resolved() {
    with_each(async |runtime| {
        let addresses = runtime.resolve("fe80::1%lo", 5672).await.expect("a zone");
        let [SocketAddr::V6(address)] = addresses[..] else {
            panic!("{addresses:?}");
        };
        assert!(address.scope_id() > 0, "{address}");
    });
}
