use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::client::TlsStream;
use futures_rustls::pki_types::ServerName;
use futures_rustls::rustls::{ClientConfig, RootCertStore};

use super::tcp::TcpConnector;
use super::{Connector, Target};
use crate::runtime::Runtime;
use crate::transport::{Connecting, Transport};

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
    fn connect(&self, target: &Target, runtime: &Arc<dyn Runtime>) -> Connecting {
        if !target.tls {
            return self.tcp.connect(target, runtime);
        }
        let tls = futures_rustls::TlsConnector::from(Arc::clone(&self.config));
        let (tcp, target) = (self.tcp.clone(), target.clone());
        let runtime = Arc::clone(runtime);
        Box::pin(async move {
            let name = ServerName::try_from(target.host.clone())
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            let stream = tcp.connect_tcp(target, runtime).await?;
            let stream = Encrypted(tls.connect(name, stream).await?);
            let transport: Box<dyn Transport> = Box::new(stream);
            Ok(transport)
        })
    }
}

struct Encrypted(TlsStream<Box<dyn Transport>>);

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.0).poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.0).poll_close(cx)
    }
}

impl Transport for Encrypted {
    fn prepare_abort(&mut self) {
        self.0.get_mut().0.prepare_abort();
    }
}
