//! TLS, against a terminator in front of the broker.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;

use async_io::Async;
use futures_lite::future::{self, block_on};
use futures_lite::io::{copy, split};
use rcgen::{CertifiedKey, generate_simple_self_signed};
use snowshoe::runtime::Tokio;
use snowshoe::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use snowshoe::rustls::{ClientConfig, RootCertStore, ServerConfig};
use snowshoe::{AmqpUri, Client, ClientBuilder, ConnectionError, Error, Queue, TlsConnector};
use support::broker::url;

/// Takes TLS connections under a certificate of its own, and passes what they say to the broker.
struct Terminator {
    address: SocketAddr,
    certificate: CertificateDer<'static>,
}

impl Terminator {
    /// The certificate names `host` alone.
    fn start(host: &str) -> Self {
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed([host.to_owned()]).expect("a key and a certificate");
        let certificate = cert.der().clone();
        let key = PrivateKeyDer::Pkcs8(signing_key.serialize_der().into());
        let config = ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(vec![certificate.clone()], key)
            .expect("the key is that of the certificate");
        let acceptor = futures_rustls::TlsAcceptor::from(Arc::new(config));
        let upstream: AmqpUri = url().parse().expect("the broker's URI");
        let upstream = upstream.endpoints[0].clone();

        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, acceptor) = (stream.expect("a connection"), acceptor.clone());
                let broker = TcpStream::connect((&*upstream.host, upstream.port));
                let broker = broker.expect("the broker takes connections");
                // A client that does not like the certificate hangs up.
                std::thread::spawn(|| block_on(pass(acceptor, stream, broker)));
            }
        });
        Self {
            address,
            certificate,
        }
    }

    /// A connector that trusts this certificate, and no other.
    fn trusted(&self) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        roots.add(self.certificate.clone()).expect("a certificate");
        let config = ClientConfig::builder().with_root_certificates(roots);
        TlsConnector::new(Arc::new(config.with_no_client_auth()))
    }

    fn url(&self, host: &str) -> String {
        format!("amqps://guest:guest@{host}:{}/%2f", self.address.port())
    }
}

async fn pass(
    acceptor: futures_rustls::TlsAcceptor,
    stream: TcpStream,
    broker: TcpStream,
) -> io::Result<()> {
    let stream = acceptor.accept(Async::new(stream)?).await?;
    let (from_client, to_client) = split(stream);
    let (from_broker, to_broker) = split(Async::new(broker)?);
    let ends = future::or(copy(from_client, to_broker), copy(from_broker, to_client));
    ends.await.map(drop)
}

fn trusting(terminator: &Terminator) -> ClientBuilder {
    let builder = Client::builder(&terminator.url("localhost")).expect("a URI");
    builder.connector(terminator.trusted())
}

async fn use_it(client: Client) {
    let queue = client
        .declare(Queue::server_named())
        .await
        .expect("a queue")
        .name;
    let producer = client.producer(queue.clone()).expect("a name").build();
    producer.send("over TLS").await.expect("it is confirmed");
    let mut consumer = client
        .consumer(queue)
        .expect("a name")
        .start()
        .await
        .expect("the queue");
    let delivery = consumer.next().await.expect("the message");
    assert_eq!(delivery.body(), b"over TLS");
    delivery.ack().expect("it is fresh");
    client.close().await;
}

#[test]
fn amqps_works_where_the_certificate_is_trusted() {
    let terminator = Terminator::start("localhost");
    block_on(async {
        let client = trusting(&terminator).connect().await;
        use_it(client.expect("it connects")).await;
    });
}

#[tokio::test]
async fn amqps_works_on_the_sockets_of_tokio() {
    let terminator = Terminator::start("localhost");
    let client = trusting(&terminator).runtime(Tokio).connect().await;
    use_it(client.expect("it connects")).await;
}

#[test]
fn a_certificate_that_nobody_vouches_for_is_refused() {
    let terminator = Terminator::start("localhost");
    let error =
        block_on(Client::connect(&terminator.url("localhost"))).expect_err("it is not trusted");
    assert!(
        matches!(error, Error::Connection(ConnectionError::Dial(_))),
        "{error}"
    );
}

#[test]
fn a_certificate_for_another_host_is_refused() {
    let terminator = Terminator::start("elsewhere.example");
    let error = block_on(async {
        let builder = Client::builder(&terminator.url("localhost")).expect("a URI");
        builder.connector(terminator.trusted()).connect().await
    });
    let error = error.expect_err("it is another's");
    assert!(error.to_string().contains("certificate"), "{error}");
}
