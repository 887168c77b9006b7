mod advice;
mod files;

use std::fmt;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_lite::{AsyncRead, AsyncWrite};
use futures_rustls::client::TlsStream;
use rustls::ClientConfig;
use rustls::pki_types::ServerName;

use self::advice::OwnCertificates;
use super::tcp::TcpConnector;
use super::{Connector, Target};
use crate::runtime::Runtime;
use crate::transport::{Connecting, Transport};
use crate::uri::{Endpoint, ServerNameIndication, TlsOptions};

/// TLS over TCP, by rustls (feature `tls`): for `amqps` URIs.
///
/// An address of the host that does not answer in TLS is left for the next one, as one that does not answer
/// at all.
///
/// The broker's certificate chain and host name are verified, and the host name is sent along
/// (SNI). TLS 1.2 is the least that is accepted. A URI without TLS is connected without it, and
/// one with TLS never falls back.
///
/// A connection takes one round trip more than in clear, and by TLS 1.2 two, unless the broker resumes a
/// session: what it gave to an earlier connection of the client is kept for that, in memory, but not where the
/// [query of the URI](TlsOptions) names files, which are read anew for each attempt. Nothing is sent before the
/// broker has proved who it is (no early data), for that could be played again by others.
///
/// A client with an `amqps` URI has one that trusts the system's certificates, or does as the
/// [query of the URI](TlsOptions) says: a certificate of your own authority and one of the client can be
/// named there. Give it a configuration of rustls' for anything else:
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
    tcp: TcpConnector,
    config: Arc<ClientConfig>,
    certificates: Arc<OwnCertificates>,
    server_name: Option<String>,
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
        let mut config = Arc::unwrap_or_clone(config);
        let certificates = Arc::clone(&config.client_auth_cert_resolver);
        let certificates = Arc::new(OwnCertificates::new(certificates));
        config.client_auth_cert_resolver = Arc::clone(&certificates) as Arc<_>;
        Self {
            tcp: TcpConnector::default(),
            config: Arc::new(config),
            certificates,
            server_name: None,
        }
    }

    /// TLS that trusts the system's certificates. They are read, which blocks for a moment.
    ///
    /// # Errors
    /// None can be found.
    pub fn with_system_certificates() -> io::Result<Self> {
        Self::with_options(&TlsOptions::default())
    }

    /// TLS as the query of a URI says. The files that it names are read, which blocks for a moment.
    ///
    /// # Errors
    /// A file cannot be used, which is named, or no certificate to trust can be found.
    pub fn with_options(options: &TlsOptions) -> io::Result<Self> {
        let mut connector = Self::new(Arc::new(files::configuration(options)?));
        if let Some(ServerNameIndication::Name(name)) = &options.server_name_indication {
            connector.server_name = Some(name.clone());
        }
        Ok(connector)
    }

    /// Sets up the TCP connection beneath.
    #[must_use]
    pub fn over(mut self, tcp: TcpConnector) -> Self {
        self.tcp = tcp;
        self
    }

    async fn connect_tls(
        self,
        target: Target,
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
        let tls = futures_rustls::TlsConnector::from(self.config);
        let certificates = self.certificates;
        // An address that says nothing in TLS has not answered, and costs no other one its turn.
        let layer = move |transport| -> Connecting {
            let handshake = tls.connect(name.clone(), transport);
            let certificates = Arc::clone(&certificates);
            Box::pin(async move {
                let stream = (handshake.await)
                    .map_err(|error| advice::handshake_failed(error, &certificates))?;
                let certificates = Some(certificates);
                Ok(Box::new(Encrypted {
                    stream,
                    certificates,
                }) as Box<dyn Transport>)
            })
        };
        (self.tcp.connect_tcp(target, runtime, Some(Box::new(layer)))).await
    }
}

impl Connector for TlsConnector {
    fn connect(&self, target: &Target, runtime: &Arc<dyn Runtime>) -> Connecting {
        if !target.tls {
            return self.tcp.connect(target, runtime);
        }
        let (target, runtime) = (target.clone(), Arc::clone(runtime));
        Box::pin(self.clone().connect_tls(target, runtime))
    }
}

struct Encrypted {
    stream: TlsStream<Box<dyn Transport>>,
    /// Until the broker has said something: until then, it may not like the client's certificate.
    certificates: Option<Arc<OwnCertificates>>,
}

impl Encrypted {
    /// Adds what is suspected to an end that came before the broker's first word.
    fn explain<T>(&self, polled: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        polled.map_err(|error| match &self.certificates {
            Some(certificates) => advice::not_a_word(error, certificates),
            None => error,
        })
    }
}

impl AsyncRead for Encrypted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.stream).poll_read(cx, into);
        let read = match (read, &self.certificates) {
            // The end, unless there was no room.
            (Poll::Ready(Ok(0)), Some(certificates)) if !into.is_empty() => {
                Poll::Ready(advice::end_without_a_word(certificates).map_or(Ok(0), Err))
            }
            (read, _) => self.explain(read),
        };
        if let Poll::Ready(Ok(1..)) = read {
            self.certificates = None;
        }
        read
    }
}

impl AsyncWrite for Encrypted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, bytes);
        self.explain(written)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, slices);
        self.explain(written)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.stream).poll_flush(cx);
        self.explain(flushed)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

impl Transport for Encrypted {
    fn prepare_abort(&mut self) {
        self.stream.get_mut().0.prepare_abort();
    }
}
