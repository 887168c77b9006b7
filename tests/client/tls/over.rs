//! TLS over another connector than TCP: a proxy.

use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use snowshoe::{Client, Connector, Runtime, Target, TcpConnector, TlsConnector};
use support::waiting::{run, within};

use super::terminator::{Authority, Terms};
use super::{assert_says, terminator, use_it};

/// Connects through an HTTP proxy (RFC 9110 §9.3.6).
fn through(proxy: SocketAddr) -> impl Connector {
    move |target: &Target, runtime: &Arc<dyn Runtime>| -> snowshoe::Connecting {
        assert!(!target.tls, "it is for whoever is above");
        let host = format!("{}:{}", target.host, target.port);
        let target = Target::new(proxy.ip().to_string(), proxy.port());
        let connecting = TcpConnector::default().connect(&target, runtime);
        Box::pin(async move {
            let mut stream = connecting.await?;
            let request = format!("CONNECT {host} HTTP/1.1\r\nHost: {host}\r\n\r\n");
            stream.write_all(request.as_bytes()).await?;
            let (mut head, mut byte) = (Vec::new(), [0]);
            while !head.ends_with(b"\r\n\r\n") && head.len() < 1000 {
                stream.read_exact(&mut byte).await?;
                head.extend(byte);
            }
            match head.starts_with(b"HTTP/1.1 200") {
                true => Ok(stream),
                false => Err(io::Error::other("the proxy refuses")),
            }
        })
    }
}

/// A proxy that knows one host; and how often it was asked for it.
fn proxy(host: String, to: SocketAddr) -> (SocketAddr, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("it is bound");
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    thread::spawn(move || {
        for client in listener.incoming() {
            let (host, counted) = (host.clone(), Arc::clone(&counted));
            // A client may be gone by then.
            thread::spawn(move || serve(client?, &host, to, &counted));
        }
    });
    (address, asked)
}

fn serve(mut client: TcpStream, host: &str, to: SocketAddr, asked: &AtomicUsize) -> io::Result<()> {
    let mut lines = BufReader::new(client.try_clone()?).lines();
    let request = lines.next().expect("a request")?;
    while lines
        .next()
        .is_some_and(|line| line.is_ok_and(|line| !line.is_empty()))
    {}
    if request != format!("CONNECT {host} HTTP/1.1") {
        return client.write_all(b"HTTP/1.1 403 Forbidden\r\n\r\n");
    }
    asked.fetch_add(1, Ordering::Relaxed);
    client.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let server = TcpStream::connect(to)?;
    let (mut from_server, mut to_client) = (server.try_clone()?, client.try_clone()?);
    thread::spawn(move || io::copy(&mut from_server, &mut to_client));
    io::copy(&mut client, &mut &server)?;
    server.shutdown(std::net::Shutdown::Write)
}

#[test]
fn tls_goes_through_a_proxy_and_looks_at_the_broker_behind_it() {
    const HOST: &str = "broker.invalid";
    let authority = Authority::new();
    for (certified, is_right) in [(HOST, true), ("127.0.0.1", false)] {
        let identity = authority.certify(certified);
        let terminator = terminator(&Terms::of(&identity));
        let (proxy, asked) = proxy(format!("{HOST}:5671"), terminator.address());
        let connector = TlsConnector::builder().authorities_pem(authority.pem());
        let connector = connector
            .build()
            .expect("it can be used")
            .over(through(proxy));
        let builder = Client::builder(&format!("amqps://guest:guest@{HOST}/%2f")).expect("a URI");
        let connected = run(within("an end", builder.connector(connector).connect()));
        match connected {
            Ok(client) if is_right => run(use_it(client)),
            Err(error) if !is_right => {
                assert_says(&error.to_string(), &["broker.invalid:5671", "another host"]);
            }
            connected => panic!("{certified}: {connected:?}"),
        }
        assert!(asked.load(Ordering::Relaxed) > 0);
    }
}

#[test]
fn what_fails_beneath_tls_is_told_as_it_is() {
    let (proxy, _) = proxy(
        "elsewhere:5671".to_owned(),
        SocketAddr::from(([127, 0, 0, 1], 9)),
    );
    let connector = TlsConnector::builder().authorities_pem(Authority::new().pem());
    let connector = connector
        .build()
        .expect("it can be used")
        .over(through(proxy));
    let builder = Client::builder("amqps://broker.invalid").expect("a URI");
    let error = run(within("an end", builder.connector(connector).connect()));
    let error = error.expect_err("the proxy refuses").to_string();
    assert_says(&error, &["broker.invalid:5671", "the proxy refuses"]);
    assert!(!error.contains("TLS"), "{error}");
}
