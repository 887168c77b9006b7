//! Certificates, and a terminator of TLS in front of a broker.

use std::io;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use async_io::Async;
use futures_lite::future::{self, block_on};
use futures_lite::io::{copy, split};
use rcgen::{
    BasicConstraints, CertificateParams, CertificateRevocationListParams, CertifiedIssuer, DnType,
    IsCa, KeyIdMethod, KeyPair, RevokedCertParams, SerialNumber, date_time_ymd,
};
use snowshoe::rustls::crypto::{CryptoProvider, ring};
use snowshoe::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use snowshoe::rustls::server::WebPkiClientVerifier;
use snowshoe::rustls::{
    ALL_VERSIONS, HandshakeKind, RootCertStore, ServerConfig, SupportedProtocolVersion, version,
};

/// One that signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

impl Authority {
    pub(crate) fn new() -> Self {
        Self::named("an authority for tests")
    }

    pub(crate) fn named(name: &str) -> Self {
        let params = Self::params(name, IsCa::Ca(BasicConstraints::Unconstrained));
        let key = KeyPair::generate().expect("a key");
        Self(CertifiedIssuer::self_signed(params, key).expect("a certificate"))
    }

    /// One that this one vouches for, or does not (`is_ca`).
    pub(crate) fn below(&self, name: &str, is_ca: IsCa) -> Self {
        let (params, key) = (
            Self::params(name, is_ca),
            KeyPair::generate().expect("a key"),
        );
        Self(CertifiedIssuer::signed_by(params, key, &self.0).expect("a certificate"))
    }

    fn params(name: &str, is_ca: IsCa) -> CertificateParams {
        let mut params = CertificateParams::default();
        params.is_ca = is_ca;
        params.distinguished_name.push(DnType::CommonName, name);
        params
    }

    /// The list of those numbers that it has revoked.
    pub(crate) fn revocations(&self, numbers: &[u64]) -> String {
        let revoked = numbers.iter().map(|number| RevokedCertParams {
            serial_number: SerialNumber::from(*number),
            revocation_time: date_time_ymd(2020, 1, 1),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: date_time_ymd(2020, 1, 1),
            next_update: date_time_ymd(2999, 1, 1),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.0).expect("a list");
        list.pem().expect("it is PEM")
    }

    /// Its own certificate and key, as those of a server.
    pub(crate) fn as_identity(&self) -> Identity {
        Identity {
            certificate: self.0.as_ref().clone(),
            key: KeyPair::from_pem(&self.0.key().serialize_pem()).expect("a key"),
        }
    }

    /// A certificate for a server or a client of this name.
    pub(crate) fn certify(&self, name: &str) -> Identity {
        self.certify_with(name, |_| ())
    }

    pub(crate) fn certify_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Identity {
        let mut params = CertificateParams::new([name.to_owned()]).expect("a name");
        params.distinguished_name.push(DnType::CommonName, name);
        change(&mut params);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.0).expect("a certificate");
        Identity { certificate, key }
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn roots(&self) -> RootCertStore {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).expect("an authority");
        roots
    }
}

/// A certificate with its key.
pub(crate) struct Identity {
    certificate: rcgen::Certificate,
    key: KeyPair,
}

impl Identity {
    /// One that nobody but itself has signed.
    pub(crate) fn self_signed(name: &str) -> Self {
        let params = CertificateParams::new([name.to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        Self { certificate, key }
    }

    pub(crate) fn certificate(&self) -> CertificateDer<'static> {
        self.certificate.der().clone()
    }

    pub(crate) fn pem(&self) -> String {
        self.certificate.pem()
    }

    pub(crate) fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }
}

/// What a terminator asks of its clients.
pub(crate) struct Terms<'a> {
    pub(crate) identity: &'a Identity,
    /// Whose certificates clients have to have, if any.
    pub(crate) clients_of: Option<&'a Authority>,
    /// Whose certificate is sent along with the terminator's own.
    pub(crate) sends_along: Option<&'a Authority>,
    pub(crate) versions: &'static [&'static SupportedProtocolVersion],
}

pub(crate) static ONLY_1_2: [&SupportedProtocolVersion; 1] = [&version::TLS12];

impl<'a> Terms<'a> {
    pub(crate) fn of(identity: &'a Identity) -> Self {
        Self {
            identity,
            clients_of: None,
            sends_along: None,
            versions: ALL_VERSIONS,
        }
    }

    fn config(&self) -> ServerConfig {
        let builder = ServerConfig::builder_with_provider(provider());
        let builder = builder.with_protocol_versions(self.versions);
        let builder = builder.expect("they can be had");
        let builder = match self.clients_of {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let roots = Arc::new(authority.roots());
                let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider());
                builder.with_client_cert_verifier(verifier.build().expect("an authority"))
            }
        };
        let key = PrivateKeyDer::Pkcs8(self.identity.key.serialize_der().into());
        let mut chain = vec![self.identity.certificate()];
        chain.extend(self.sends_along.map(|it| it.0.der().clone()));
        builder
            .with_single_cert(chain, key)
            .expect("the key is that of the certificate")
    }
}

/// One of the test's own: what the process has by default is none of its business.
pub(crate) fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}

/// Takes TLS connections, and passes what they say to the broker.
pub(crate) struct Terminator {
    address: SocketAddr,
    handshakes: Handshakes,
}

type Handshakes = Arc<Mutex<Vec<HandshakeKind>>>;

impl Terminator {
    pub(crate) fn start(terms: &Terms<'_>, broker: (String, u16)) -> Self {
        let acceptor = futures_rustls::TlsAcceptor::from(Arc::new(terms.config()));
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let handshakes = Handshakes::default();
        let noted = Arc::clone(&handshakes);
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let (stream, acceptor) = (stream.expect("a connection"), acceptor.clone());
                let noted = Arc::clone(&noted);
                let broker = TcpStream::connect((&*broker.0, broker.1));
                let broker = broker.expect("the broker takes connections");
                // A client that does not like the certificate hangs up.
                std::thread::spawn(|| block_on(pass(acceptor, stream, broker, noted)));
            }
        });
        Self {
            address,
            handshakes,
        }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Takes how the handshakes were that came about since.
    pub(crate) fn handshakes(&self) -> Vec<HandshakeKind> {
        std::mem::take(&mut self.handshakes.lock().expect("nobody panics"))
    }

    pub(crate) fn url(&self, host: &str) -> String {
        format!("amqps://guest:guest@{host}:{}/%2f", self.address.port())
    }
}

async fn pass(
    acceptor: futures_rustls::TlsAcceptor,
    stream: TcpStream,
    broker: TcpStream,
    noted: Handshakes,
) -> io::Result<()> {
    let stream = acceptor.accept(Async::new(stream)?).await?;
    let kind = stream.get_ref().1.handshake_kind();
    noted.lock().expect("nobody panics").extend(kind);
    let (from_client, to_client) = split(stream);
    let (from_broker, to_broker) = split(Async::new(broker)?);
    let ends = future::or(copy(from_client, to_broker), copy(from_broker, to_client));
    ends.await.map(drop)
}

/// A directory that is gone with this.
pub(crate) struct Files(PathBuf);

impl Files {
    pub(crate) fn new() -> Self {
        Self::within(Path::new(env!("CARGO_TARGET_TMPDIR")))
    }

    /// Where nodes see them, too, which may have a root directory of their own.
    pub(crate) fn for_nodes() -> Self {
        Self::within(&std::env::temp_dir())
    }

    fn within(parent: &Path) -> Self {
        let name = format!(
            "snowshoe-tls-{}-{:x}",
            std::process::id(),
            fastrand::u64(..)
        );
        let path = parent.join(name);
        std::fs::create_dir(&path).expect("a new directory");
        Self(path)
    }

    /// Writes a file, and gives its path as it stands in a URI.
    pub(crate) fn write(&self, name: &str, text: &str) -> String {
        let path = self.0.join(name);
        std::fs::write(&path, text).expect("room for a file");
        path.to_str().expect("it is UTF-8").to_owned()
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        _ = std::fs::remove_dir_all(&self.0);
    }
}
