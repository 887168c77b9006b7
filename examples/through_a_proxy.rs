//! A connector of your own: to a broker that only an HTTP proxy reaches, by its method CONNECT (RFC 9110, 9.3.6).
//!
//! A connector is a function that gives a transport: who opens a connection, and what goes over it before AMQP does. This one
//! connects to the proxy as [`TcpConnector`] does, and asks it for the broker; from then on the proxy passes on whatever comes.
//! A Unix socket, a tunnel or an in-house network is brought in the same way.
//!
//!     cargo run --example through_a_proxy
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory, and the proxy that of `http_proxy`, such as
//! `127.0.0.1:3128`, by default one that the example starts.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use futures_lite::{AsyncReadExt as _, AsyncWriteExt as _};
use snowshoe::{Client, Connecting, Connector, Queue, Runtime, Target, TcpConnector};

fn main() -> Result<(), Box<dyn Error>> {
    futures_lite::future::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    let (host, port) = match std::env::var("http_proxy") {
        Ok(proxy) => {
            let proxy = proxy.trim_start_matches("http://").trim_end_matches('/');
            let (host, port) = proxy.rsplit_once(':').ok_or("http_proxy is host:port")?;
            (host.to_owned(), port.parse()?)
        }
        Err(_) => ("127.0.0.1".to_owned(), start_proxy()?),
    };
    let connector = HttpProxy { host, port };
    let client = Client::builder(&url)?
        .connector(connector)
        .connect()
        .await?;

    let producer = client.producer(Queue::new("greetings"))?.build();
    producer.send("hello through the proxy").await?;
    let mut greetings = client.consumer("greetings")?.start().await?;
    let greeting = greetings.next().await.ok_or("the consumer has ended")?;
    println!("{}", String::from_utf8_lossy(greeting.body()));
    greeting.ack()?;
    client.close().await;
    Ok(())
}

#[derive(Debug)]
struct HttpProxy {
    host: String,
    port: u16,
}

impl Connector for HttpProxy {
    /// It is asked again for each attempt, and dropped if that takes too long: nothing here keeps time.
    fn connect(&self, target: &Target, runtime: &Arc<dyn Runtime>) -> Connecting {
        let mut proxy = target.clone();
        (proxy.host, proxy.port) = (self.host.clone(), self.port);
        let connecting = TcpConnector::default().connect(&proxy, runtime);
        // An address of IPv6 is told from its port by brackets.
        let broker = match target.host.contains(':') {
            true => format!("[{}]:{}", target.host, target.port),
            false => format!("{}:{}", target.host, target.port),
        };
        Box::pin(async move {
            let mut transport = connecting.await?;
            let request = format!("CONNECT {broker} HTTP/1.1\r\nHost: {broker}\r\n\r\n");
            transport.write_all(request.as_bytes()).await?;
            transport.flush().await?;
            let head = read_head(&mut transport).await?;
            match head.split_whitespace().nth(1) {
                Some(code) if code.starts_with('2') => Ok(transport),
                _ => {
                    let line = head.lines().next().unwrap_or_default();
                    let text = format!("the proxy does not connect to {broker}: {line}");
                    Err(io::Error::other(text))
                }
            }
        })
    }
}

/// Reads the head of the answer, and no byte more: what follows is the broker's.
async fn read_head(transport: &mut (impl futures_lite::AsyncRead + Unpin)) -> io::Result<String> {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let mut byte = [0];
        transport.read_exact(&mut byte).await?;
        head.extend(byte);
        if head.len() > LONGEST_HEAD {
            return Err(io::Error::other("the proxy's answer has no end"));
        }
    }
    Ok(String::from_utf8_lossy(&head).into_owned())
}

const LONGEST_HEAD: usize = 8 << 10;

/// A proxy for this example, and its port.
fn start_proxy() -> io::Result<u16> {
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let port = listener.local_addr()?.port();
    thread::spawn(move || {
        for client in listener.incoming().flatten() {
            thread::spawn(move || pass_on(client));
        }
    });
    Ok(port)
}

fn pass_on(client: TcpStream) -> io::Result<()> {
    let mut reader = BufReader::new(client.try_clone()?);
    let mut request = String::new();
    while !request.ends_with("\r\n\r\n") {
        if reader.read_line(&mut request)? == 0 {
            return Ok(());
        }
    }
    let host = request.split_whitespace().nth(1).unwrap_or_default();
    println!("the proxy is asked for the broker");
    let broker = TcpStream::connect(host)?;
    (&client).write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
    let (mut from, mut to) = (broker.try_clone()?, client.try_clone()?);
    thread::spawn(move || {
        io::copy(&mut from, &mut to).ok();
        to.shutdown(Shutdown::Write)
    });
    io::copy(&mut reader, &mut &broker)?;
    broker.shutdown(Shutdown::Write)
}
