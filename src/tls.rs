use std::fmt;
use std::io;
use std::sync::Arc;

use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::{ClientConfig, RootCertStore};

use crate::transport::{Connecting, Connector, Target, TcpConnector, Transport};

/// TLS over TCP, by rustls (feature `tls`): for `amqps` URIs.
///
/// The broker's certificate chain and host name are verified, and the host name is sent along
/// (SNI). TLS 1.2 is the least that is accepted. A URI without TLS is connected without it, and
/// one with TLS never falls back.
///
/// A client with an `amqps` URI has one that trusts the system's certificates. Give it a
/// configuration of your own for anything else, client certificates and certificates of your own
/// authority among them:
///
/// ```no_run
/// use std::sync::Arc;
/// use snowshoe::{Client, TlsConnector};
/// use snowshoe::rustls::{ClientConfig, RootCertStore};
///
/// # fn configure(own_authority: snowshoe::rustls::pki_types::CertificateDer<'static>) -> Result<(), Box<dyn std::error::Error>> {
/// let mut roots = RootCertStore::empty();
/// roots.add(own_authority)?;
/// let config = ClientConfig::builder().with_root_certificates(roots).with_no_client_auth();
/// let (client, driver) = Client::builder("amqps://broker.internal")?
///     .connector(TlsConnector::new(Arc::new(config)))
///     .build();
/// # Ok(()) }
/// ```
#[derive(Clone)]
pub struct TlsConnector {
    tcp: TcpConnector,
    config: Arc<ClientConfig>,
}

impl fmt::Debug for TlsConnector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnector")
            .field("tcp", &self.tcp)
            .finish_non_exhaustive()
    }
}

impl TlsConnector {
    /// TLS by this configuration.
    pub fn new(config: Arc<ClientConfig>) -> Self {
        Self {
            tcp: TcpConnector::default(),
            config,
        }
    }

    /// TLS that trusts the system's certificates.
    ///
    /// # Errors
    /// None can be found.
    pub fn with_system_certificates() -> io::Result<Self> {
        let found = rustls_native_certs::load_native_certs();
        let mut roots = RootCertStore::empty();
        let (added, _) = roots.add_parsable_certificates(found.certs);
        if added == 0 {
            let cause = found
                .errors
                .first()
                .map_or_else(String::new, |error| format!(": {error}"));
            return Err(io::Error::other(format!(
                "the system has no certificates to trust{cause}"
            )));
        }
        let config = ClientConfig::builder()
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Self::new(Arc::new(config)))
    }

    /// Sets up the TCP connection beneath.
    #[must_use]
    pub fn over(mut self, tcp: TcpConnector) -> Self {
        self.tcp = tcp;
        self
    }
}

impl Connector for TlsConnector {
    fn connect(&self, target: &Target) -> Connecting {
        if !target.tls {
            return self.tcp.connect(target);
        }
        let tls = futures_rustls::TlsConnector::from(Arc::clone(&self.config));
        let (tcp, target) = (self.tcp.clone(), target.clone());
        Box::pin(async move {
            let name = ServerName::try_from(target.host.clone())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let stream = tcp.connect_tcp(target).await?;
            let transport: Box<dyn Transport> = Box::new(tls.connect(name, stream).await?);
            Ok(transport)
        })
    }
}

impl Transport for TlsStream<Box<dyn Transport>> {
    fn prepare_abort(&mut self) {
        self.get_mut().0.prepare_abort();
    }
}
