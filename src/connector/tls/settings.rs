//! A configuration of rustls' from what is set, and from the files that are named there.

use std::io;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::ServerCertVerifier;
use rustls::crypto::CryptoProvider;
use rustls::{ClientConfig, Error, InconsistentKeys, RootCertStore};

use super::Configured;
use super::pem::{Input, Pem};
use super::verifier::Remembering;
use crate::sync::{Mutex, lock};

/// What is set.
#[derive(Clone)]
pub(super) struct Settings {
    /// The authorities to trust; the system's, if none is named.
    pub(super) authorities: Vec<Input>,
    /// Whether those of the system are trusted in any case.
    pub(super) system_too: bool,
    #[cfg(feature = "tls-platform-verifier")]
    pub(super) by_the_platform: bool,
    /// The client's certificate, and its key.
    pub(super) identity: Option<(Input, Input)>,
    pub(super) revocation_lists: Vec<Input>,
    /// Whether the broker's name is sent to it.
    pub(super) sends_name: bool,
    pub(super) provider: Arc<CryptoProvider>,
}

/// What is in the files, or was given.
#[derive(Debug, PartialEq, Eq)]
struct Material {
    authorities: Vec<Pem>,
    identity: Option<(Pem, Pem)>,
    revocation_lists: Vec<Pem>,
}

impl Settings {
    pub(super) fn names_files(&self) -> bool {
        let Self {
            authorities,
            identity,
            revocation_lists,
            ..
        } = self;
        let identity = identity.iter().flat_map(|(it, key)| [it, key]);
        let mut inputs = authorities.iter().chain(revocation_lists).chain(identity);
        inputs.any(Input::is_file)
    }

    fn read(&self) -> io::Result<Material> {
        let read = |inputs: &[Input]| inputs.iter().map(Input::read).collect::<io::Result<_>>();
        let identity = self.identity.as_ref();
        let identity = identity.map(|(it, key)| Ok::<_, io::Error>((it.read()?, key.read()?)));
        Ok(Material {
            authorities: read(&self.authorities)?,
            identity: identity.transpose()?,
            revocation_lists: read(&self.revocation_lists)?,
        })
    }

    fn configure(&self, material: &Material) -> io::Result<ClientConfig> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .dangerous()
            // It refuses whom the verifier within it refuses.
            .with_custom_certificate_verifier(Arc::new(self.verifier(material)?));
        let mut config = match &material.identity {
            None => builder.with_no_client_auth(),
            Some((certificates, key)) => builder
                .with_client_auth_cert(certificates.certificates()?, key.private_key()?)
                .map_err(|error| unfit(certificates, key, &error))?,
        };
        config.enable_sni = self.sends_name;
        Ok(config)
    }

    fn verifier(&self, material: &Material) -> io::Result<Remembering> {
        let own = match material.authorities.as_slice() {
            [] => None,
            own => Some(own_authorities(own)?),
        };
        #[cfg(feature = "tls-platform-verifier")]
        if self.by_the_platform {
            return self.platform_verifier(material, own.as_ref());
        }
        let mut roots = own.clone().unwrap_or_else(RootCertStore::empty);
        if own.is_none() || self.system_too {
            add_system_certificates(&mut roots)?;
        }
        let provider = Arc::clone(&self.provider);
        let mut verifier = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider);
        for pem in &material.revocation_lists {
            verifier = verifier.with_crls(pem.revocation_lists()?);
        }
        let verifier: Arc<dyn ServerCertVerifier> = verifier.build().map_err(|error| {
            // There are authorities, so it is about these.
            let names: Vec<_> = material
                .revocation_lists
                .iter()
                .map(Pem::to_string)
                .collect();
            let text = format!("{}: {error}", names.join(", "));
            io::Error::new(io::ErrorKind::InvalidData, text)
        })?;
        Ok(Remembering::new(
            verifier,
            own.as_ref().filter(|_| !self.system_too),
        ))
    }

    #[cfg(feature = "tls-platform-verifier")]
    fn platform_verifier(
        &self,
        material: &Material,
        own: Option<&RootCertStore>,
    ) -> io::Result<Remembering> {
        use rustls_platform_verifier::Verifier;

        if own.is_some() || !material.revocation_lists.is_empty() {
            let text =
                "the platform's verifier knows authorities and revocations by itself: give it none";
            return Err(io::Error::new(io::ErrorKind::InvalidInput, text));
        }
        let verifier = Verifier::new(Arc::clone(&self.provider)).map_err(|error| {
            io::Error::other(format!("the platform's verifier cannot be used: {error}"))
        })?;
        Ok(Remembering::new(Arc::new(verifier), None))
    }
}

fn own_authorities(inputs: &[Pem]) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for pem in inputs {
        for (index, certificate) in pem.certificates()?.into_iter().enumerate() {
            roots.add(certificate).map_err(|error| {
                let number = index + 1;
                pem.unusable(format_args!(
                    "certificate {number} in it cannot be read: {error}"
                ))
            })?;
        }
    }
    Ok(roots)
}

fn add_system_certificates(roots: &mut RootCertStore) -> io::Result<()> {
    let found = rustls_native_certs::load_native_certs();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added > 0 || !roots.is_empty() {
        return Ok(());
    }
    let cause = found.errors.first();
    let cause = cause.map_or_else(String::new, |error| format!(": {error}"));
    Err(io::Error::other(format!(
        "the system has no certificates to trust{cause}; name those of an authority by cacertfile"
    )))
}

/// A certificate of the client's that does not do with this key.
fn unfit(certificates: &Pem, key: &Pem, error: &Error) -> io::Error {
    let text = match error {
        Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => format!(
            "the key in {key} is not that of the first certificate in {certificates}, which is to be the \
             client's, and those of authorities after it"
        ),
        error => {
            format!(
                "the key in {key} cannot be used with the certificate in {certificates}: {error}"
            )
        }
    };
    io::Error::new(io::ErrorKind::InvalidData, text)
}

/// Settings, and what came of them the last time.
pub(super) struct Renewing {
    settings: Settings,
    last: Mutex<Option<(Arc<Material>, Configured)>>,
}

impl Renewing {
    pub(super) fn new(settings: Settings) -> Self {
        Self {
            settings,
            last: Mutex::new(None),
        }
    }

    /// Reads the files. As long as they say the same it is the same configuration, which has the sessions that
    /// brokers gave, to be resumed.
    pub(super) fn read(&self) -> io::Result<Configured> {
        let material = self.settings.read()?;
        if let Some(configured) = self.known(&material) {
            return Ok(configured);
        }
        let configured = Configured::new(self.settings.configure(&material)?);
        // Another connection may have come to the same meanwhile, and has sessions already.
        if let Some(configured) = self.known(&material) {
            return Ok(configured);
        }
        let read = (Arc::new(material), configured.clone());
        let older = lock(&self.last).replace(read);
        drop(older);
        Ok(configured)
    }

    fn known(&self, material: &Material) -> Option<Configured> {
        let (last, configured) = lock(&self.last).clone()?;
        (*last == *material).then_some(configured)
    }
}
