mod advice;
mod builder;
mod certificate;
mod encrypted;
mod pem;
mod provider;
mod settings;
mod verifier;

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::sync::Arc;

use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use self::advice::OwnCertificates;
pub use self::builder::TlsConnectorBuilder;
use self::encrypted::Encrypted;
use self::settings::Renewing;
use super::tcp::TcpConnector;
use super::{Connector, Layer, Target};
use crate::runtime::{Runtime, on_thread};
use crate::transport::{Connecting, Transport};
use crate::uri::{Endpoint, TlsOptions};

/// TLS over TCP or [any other connector](Self::over), by rustls (feature `tls`): for `amqps` URIs.
///
/// An address of the host that does not answer in TLS is left for the next one, as one that does not answer
/// at all.
///
/// The broker's certificate chain and host name are verified, and the host name is sent along
/// (SNI). TLS 1.2 is the least that is accepted. A URI without TLS is connected without it, and
/// one with TLS never falls back.
///
/// A connection takes one round trip more than in clear, and by TLS 1.2 two, unless the broker resumes a
/// session: what it gave to an earlier connection of the client is kept for that, in memory, as long as the files
/// that the [query of the URI](TlsOptions) names say the same. Nothing is sent before the broker has proved who it
/// is (no early data), for that could be played again by others.
///
/// A client with an `amqps` URI has one that trusts the system's certificates, or does as the
/// [query of the URI](TlsOptions) says: a certificate of your own authority and one of the client can be
/// named there, and in a [builder](Self::builder), which takes them from memory, too. Give it a configuration of
/// rustls' for anything else:
///
/// ```no_run
/// use std::sync::Arc;
/// use snowshoe::{Client, TlsConnector};
/// use snowshoe::rustls::{ClientConfig, RootCertStore, crypto::ring};
///
/// # fn configure(own_authority: snowshoe::rustls::pki_types::CertificateDer<'static>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut roots = RootCertStore::empty();
/// roots.add(own_authority)?;
/// // `ClientConfig::builder()` panics where other crates of the program have turned on another provider.
/// let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
///     .with_safe_default_protocol_versions()?
///     .with_root_certificates(roots)
///     .with_no_client_auth();
/// let (client, driver) = Client::builder("amqps://broker.internal")?
///     .connector(TlsConnector::new(Arc::new(config)))
///     .build();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TlsConnector {
    over: Arc<dyn Connector>,
    source: Source,
    server_name: Option<String>,
}

/// Where the configuration is from.
#[derive(Clone)]
enum Source {
    Fixed(Configured),
    /// Files, which may say something else by now.
    Renewing(Arc<Renewing>),
}

/// A configuration, and the client's certificates in it.
#[derive(Clone)]
struct Configured {
    config: Arc<ClientConfig>,
    certificates: Arc<OwnCertificates>,
}

impl Configured {
    fn new(mut config: ClientConfig) -> Self {
        let certificates = Arc::clone(&config.client_auth_cert_resolver);
        let certificates = Arc::new(OwnCertificates::new(certificates));
        config.client_auth_cert_resolver = Arc::clone(&certificates) as Arc<_>;
        Self {
            config: Arc::new(config),
            certificates,
        }
    }
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl TlsConnector {
    /// TLS by this configuration, with the provider of cryptography that it names.
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self {
            over: Arc::new(TcpConnector::default()),
            source: Source::Fixed(Configured::new(Arc::unwrap_or_clone(config))),
            server_name: None,
        }
    }

    /// Begins to set one up, which trusts the system's certificates unless it is told otherwise.
    pub fn builder() -> TlsConnectorBuilder {
        TlsConnectorBuilder::new()
    }

    /// TLS that trusts the system's certificates. They are read, which blocks for a moment.
    ///
    /// # Errors
    /// None can be found.
    pub fn with_system_certificates() -> io::Result<Self> {
        Self::builder().build()
    }

    /// TLS as the query of a URI says. The files that it names are read, which blocks for a moment, and again at each
    /// attempt to connect.
    ///
    /// # Errors
    /// A file cannot be used, which is named, or no certificate to trust can be found.
    pub fn with_options(options: &TlsOptions) -> io::Result<Self> {
        Self::builder().options(options).build()
    }

    /// What is beneath: TCP that is set up in another way, a proxy, a socket of another kind. TCP by default.
    ///
    /// It is to connect to the target in clear (the `tls` of its target is false). The target's host is whom the
    /// broker's certificate is to be for, whatever way is taken there.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use snowshoe::{Client, Connector, Runtime, Target, TcpConnector, TlsConnector};
    ///
    /// let by_tunnel = |target: &Target, runtime: &Arc<dyn Runtime>| {
    ///     let mut target = target.clone();
    ///     (target.host, target.port) = ("127.0.0.1".to_owned(), 15671);
    ///     TcpConnector::default().connect(&target, runtime)
    /// };
    /// let (client, driver) = Client::builder("amqps://broker.internal")?
    ///     .connector(TlsConnector::builder().build()?.over(by_tunnel))
    ///     .build();
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn over(mut self, connector: impl Connector) -> Self {
        self.over = Arc::new(connector);
        self
    }

    async fn connect_tls(
        self,
        mut target: Target,
        runtime: Arc<dyn Runtime>,
    ) -> io::Result<Box<dyn Transport>> {
        let peer = Endpoint::new(target.host.as_str(), target.port);
        let name = self.server_name.unwrap_or_else(|| {
            // A zone says something on this machine alone.
            let host = target.host.split_once('%').map(|(address, _)| address);
            host.unwrap_or(&target.host).to_owned()
        });
        let name = ServerName::try_from(name).map_err(|error| {
            let text = format!("{peer}: {error}: TLS needs a host name, or an address");
            io::Error::new(io::ErrorKind::InvalidInput, text)
        })?;
        let configured = match self.source {
            Source::Fixed(configured) => configured,
            Source::Renewing(renewing) => on_thread(&runtime, move || renewing.read()).await?,
        };
        target.tls = false;
        (self
            .over
            .connect_with_layer(&target, &runtime, layer(configured, name)))
        .await
    }
}

/// TLS, as what is put on top of a stream.
fn layer(configured: Configured, name: ServerName<'static>) -> Layer {
    Arc::new(move |transport| {
        let Configured {
            config,
            certificates,
        } = configured.clone();
        let tls = futures_rustls::TlsConnector::from(config);
        let mut handshake = tls.connect(name.clone(), transport);
        Box::pin(async move {
            let mut refused = None;
            let handshake = poll_fn(|cx| {
                // What was left there by others would be told of this one.
                _ = verifier::take_refused();
                let polled = Pin::new(&mut handshake).poll(cx);
                refused = verifier::take_refused().or_else(|| refused.take());
                polled
            });
            let stream = handshake.await;
            let stream =
                stream.map_err(|error| advice::handshake_failed(error, &certificates, refused))?;
            let certificates = Some(certificates);
            Ok(Box::new(Encrypted {
                stream,
                certificates,
            }) as Box<dyn Transport>)
        })
    })
}

impl Connector for TlsConnector {
    fn connect(&self, target: &Target, runtime: &Arc<dyn Runtime>) -> Connecting {
        if !target.tls {
            return self.over.connect(target, runtime);
        }
        let (target, runtime) = (target.clone(), Arc::clone(runtime));
        Box::pin(self.clone().connect_tls(target, runtime))
    }
}
