//! A broker with TLS for the example `tls`.

use std::error::Error;
use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::Arc;
use std::thread;

use async_io::Async;
use futures_lite::future;
use futures_lite::io::{copy, split};
use futures_rustls::TlsAcceptor;
use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use snowshoe::AmqpUri;
use snowshoe::rustls::ServerConfig;
use snowshoe::rustls::crypto::ring;
use snowshoe::rustls::pki_types::PrivateKeyDer;
use snowshoe::testing::{BrokerOptions, Server};

pub(crate) struct Broker {
    pub(crate) url: String,
    /// Who has issued its certificate, in PEM.
    pub(crate) authority: String,
    /// The client's certificate and key, in PEM.
    pub(crate) identity: Option<(String, String)>,
    /// One in memory goes with this.
    _server: Option<Server>,
}

/// The broker that the environment names, or one in memory.
pub(crate) fn find() -> Result<Broker, Box<dyn Error>> {
    let Ok(url) = std::env::var("AMQP_URL") else {
        println!("AMQP_URL is not set: this runs against a broker in memory");
        return in_memory();
    };
    let read = |variable| Some(fs::read_to_string(std::env::var(variable).ok()?));
    let (certificate, key) = (read("TLS_CERT"), read("TLS_KEY"));
    if certificate.is_some() != key.is_some() {
        return Err("TLS_CERT and TLS_KEY go together".into());
    }
    let identity = certificate.zip(key);
    let identity = identity.map(|(certificate, key)| Ok::<_, Box<dyn Error>>((certificate?, key?)));
    Ok(Broker {
        url,
        authority: read("TLS_CA").ok_or("TLS_CA is to name a file")??,
        identity: identity.transpose()?,
        _server: None,
    })
}

fn in_memory() -> Result<Broker, Box<dyn Error>> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate()?)?;
    let key = KeyPair::generate()?;
    let certificate = CertificateParams::new(["localhost".to_owned()])?;
    let certificate = certificate.signed_by(&key, &authority)?;

    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::Pkcs8(key.serialize_der().into()),
        )?;
    let server = Server::listen(BrokerOptions::default())?;
    let uri: AmqpUri = server.uri().parse()?;
    let broker: SocketAddr = uri.endpoints[0].to_string().parse()?;
    let listener = TcpListener::bind("127.0.0.1:0")?;
    let url = format!("amqps://localhost:{}", listener.local_addr()?.port());
    let acceptor = TlsAcceptor::from(Arc::new(config));
    thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let acceptor = acceptor.clone();
            thread::spawn(move || future::block_on(pass(acceptor, stream, broker)));
        }
    });
    Ok(Broker {
        url,
        authority: authority.pem(),
        identity: None,
        _server: Some(server),
    })
}

/// Passes what comes through TLS to the broker, and back.
async fn pass(acceptor: TlsAcceptor, stream: TcpStream, broker: SocketAddr) -> std::io::Result<()> {
    let stream = acceptor.accept(Async::new(stream)?).await?;
    let (from_client, to_client) = split(stream);
    let (from_broker, to_broker) = split(Async::new(TcpStream::connect(broker)?)?);
    let ends = future::or(copy(from_client, to_broker), copy(from_broker, to_client));
    ends.await.map(drop)
}
