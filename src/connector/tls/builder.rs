use std::fmt;
use std::io;
use std::path::PathBuf;
use std::sync::Arc;

use rustls::crypto::CryptoProvider;

use super::pem::Input;
use super::settings::{Renewing, Settings};
use super::{Source, TlsConnector, provider};
use crate::connector::{Connector, TcpConnector};
use crate::uri::{ServerNameIndication, TlsOptions};

/// Sets up a [`TlsConnector`]: whom it trusts, and what it shows to the broker.
///
/// Certificates and keys are PEM, in files or in memory. Files are read by [`build`](Self::build), and again at
/// each attempt to connect, so that those that were renewed are picked up; as long as they say the same, sessions of
/// TLS are resumed. Where they cannot be used, the attempt fails, and the next one reads them again.
///
/// ```
/// use snowshoe::{Client, TlsConnector};
/// # use rcgen::{CertificateParams, KeyPair};
/// # let key = KeyPair::generate()?;
/// # let params = CertificateParams::new(["broker.internal".to_owned()])?;
/// # let certificate = params.self_signed(&key)?;
/// # let (authority, certificate, key) = (certificate.pem(), certificate.pem(), key.serialize_pem());
///
/// // As it came from a secret store, say.
/// let tls = TlsConnector::builder()
///     .authorities_pem(authority)
///     .identity_pem(certificate, key)
///     .build()?;
/// let (client, driver) = Client::builder("amqps://broker.internal")?
///     .connector(tls)
///     .build();
/// # drop((client, driver));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone)]
#[must_use]
pub struct TlsConnectorBuilder {
    authorities: Vec<Input>,
    system_too: bool,
    #[cfg(feature = "tls-platform-verifier")]
    by_the_platform: bool,
    identity: Option<(Input, Input)>,
    revocation_lists: Vec<Input>,
    server_name: Option<ServerNameIndication>,
    provider: Option<Arc<CryptoProvider>>,
}

impl fmt::Debug for TlsConnectorBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsConnectorBuilder")
            .field("server_name", &self.server_name)
            .finish_non_exhaustive()
    }
}

impl TlsConnectorBuilder {
    pub(super) fn new() -> Self {
        Self {
            authorities: Vec::new(),
            system_too: false,
            #[cfg(feature = "tls-platform-verifier")]
            by_the_platform: false,
            identity: None,
            revocation_lists: Vec::new(),
            server_name: None,
            provider: None,
        }
    }

    /// What the query of a URI says, in the place of what was set before.
    pub(super) fn options(mut self, options: &TlsOptions) -> Self {
        let file = |name, path: &PathBuf| Input::File(name, path.clone());
        let authorities = options.cacertfile.as_ref();
        self.authorities = authorities
            .map(|it| file("cacertfile", it))
            .into_iter()
            .collect();
        self.identity = options.certfile.as_ref().map(|certfile| {
            let keyfile = options.keyfile.as_ref().unwrap_or(certfile);
            (file("certfile", certfile), file("keyfile", keyfile))
        });
        self.server_name.clone_from(&options.server_name_indication);
        self
    }

    /// Trusts these authorities, in the place of the system's. It may be called several times.
    pub fn authorities_pem(mut self, certificates: impl Into<Vec<u8>>) -> Self {
        let input = Input::memory("authorities_pem", certificates.into());
        self.authorities.push(input);
        self
    }

    /// Trusts the authorities in this file, in the place of the system's. It may be called several times.
    pub fn authorities_file(mut self, path: impl Into<PathBuf>) -> Self {
        let input = Input::File("authorities_file", path.into());
        self.authorities.push(input);
        self
    }

    /// Trusts the authorities of the system beside those that are named here. Where none is named they are
    /// trusted anyway.
    pub fn system_authorities(mut self) -> Self {
        self.system_too = true;
        self
    }

    /// Has the platform judge the broker's certificate, by its own rules and with the authorities and revocations
    /// that it knows (feature `tls-platform-verifier`): on Windows, macOS, iOS and Android what its own programs go
    /// by, elsewhere the system's authorities by rustls' rules.
    ///
    /// Authorities or revocation lists beside it are refused by [`build`](Self::build).
    #[cfg(feature = "tls-platform-verifier")]
    #[cfg_attr(docsrs, doc(cfg(feature = "tls-platform-verifier")))]
    pub fn platform_verifier(mut self) -> Self {
        self.by_the_platform = true;
        self
    }

    /// Shows this certificate of the client to a broker that asks for one, with those between it and its authority
    /// after it, and signs with this key. A broker can take the user from it, see
    /// [`Credentials::external`](crate::Credentials::external).
    pub fn identity_pem(
        mut self,
        certificates: impl Into<Vec<u8>>,
        key: impl Into<Vec<u8>>,
    ) -> Self {
        let certificates = Input::memory("the certificate of identity_pem", certificates.into());
        let key = Input::memory("the key of identity_pem", key.into());
        self.identity = Some((certificates, key));
        self
    }

    /// The same, from files: one for the certificates and one for the key, or the same for both.
    pub fn identity_files(
        mut self,
        certificates: impl Into<PathBuf>,
        key: impl Into<PathBuf>,
    ) -> Self {
        let certificates = Input::File("the certificate of identity_files", certificates.into());
        let key = Input::File("the key of identity_files", key.into());
        self.identity = Some((certificates, key));
        self
    }

    /// Refuses brokers whose certificates are in these revocation lists. It may be called several times.
    ///
    /// Then every certificate that the broker sends needs a list of its authority, and is refused without one. How
    /// old a list may be is not looked at.
    pub fn revocations_pem(mut self, lists: impl Into<Vec<u8>>) -> Self {
        let input = Input::memory("revocations_pem", lists.into());
        self.revocation_lists.push(input);
        self
    }

    /// The same, from a file, which is read again at each attempt to connect.
    pub fn revocations_file(mut self, path: impl Into<PathBuf>) -> Self {
        let input = Input::File("revocations_file", path.into());
        self.revocation_lists.push(input);
        self
    }

    /// What to call the broker, and what its certificate is to be for, if not by the host in the URI.
    pub fn server_name(mut self, name: ServerNameIndication) -> Self {
        self.server_name = Some(name);
        self
    }

    /// Whose cryptography it is. That of aws-lc-rs by default, where the feature `tls-aws-lc-rs` is on, or else that
    /// of ring. The default of the process is never asked.
    pub fn provider(mut self, provider: Arc<CryptoProvider>) -> Self {
        self.provider = Some(provider);
        self
    }

    /// The connector. Files are read, and the system's certificates where they are trusted, which blocks for a
    /// moment.
    ///
    /// # Errors
    /// Something that was given cannot be used, or there is no certificate to trust, or no provider of cryptography.
    /// Which it is, and why, is in the text.
    pub fn build(self) -> io::Result<TlsConnector> {
        let provider = match self.provider {
            Some(provider) => provider,
            None => provider::of_the_features()?,
        };
        let settings = Settings {
            authorities: self.authorities,
            system_too: self.system_too,
            #[cfg(feature = "tls-platform-verifier")]
            by_the_platform: self.by_the_platform,
            identity: self.identity,
            revocation_lists: self.revocation_lists,
            sends_name: self.server_name != Some(ServerNameIndication::Disable),
            provider,
        };
        let names_files = settings.names_files();
        let renewing = Renewing::new(settings);
        let configured = renewing.read()?;
        let source = match names_files {
            true => Source::Renewing(Arc::new(renewing)),
            false => Source::Fixed(configured),
        };
        let over: Arc<dyn Connector> = Arc::new(TcpConnector::default());
        Ok(TlsConnector {
            over,
            source,
            server_name: match self.server_name {
                Some(ServerNameIndication::Name(name)) => Some(name),
                Some(ServerNameIndication::Disable) | None => None,
            },
        })
    }
}
