//! Who the broker is, as it says, where it is not believed.

use std::cell::RefCell;
use std::sync::Arc;

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::certificate::{Description, name};

/// Leaves the verdict to another verifier, and remembers whom that has refused.
///
/// It cannot be told by the error: rustls says to the broker what its certificate is refused for, and of an error
/// of another kind it would not know.
#[derive(Debug)]
pub(super) struct Remembering {
    inner: Arc<dyn ServerCertVerifier>,
    /// The authorities that are trusted, where they are few.
    trusted: Arc<[String]>,
}

/// A certificate that was refused.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) certificate: Description,
    pub(super) trusted: Arc<[String]>,
}

thread_local! {
    /// What the last verdict on this thread has refused. A handshake is polled on one thread at a time, and
    /// takes this before another is.
    static REFUSED: RefCell<Option<Refused>> = const { RefCell::new(None) };
}

/// Takes what is remembered of a certificate that was refused on this thread.
pub(super) fn take_refused() -> Option<Refused> {
    REFUSED.take()
}

impl Remembering {
    /// Those whom a verifier refuses, which trusts nobody but these, or the system's.
    pub(super) fn new(inner: Arc<dyn ServerCertVerifier>, own: Option<&RootCertStore>) -> Self {
        let roots = own.map(|own| own.roots.as_slice()).unwrap_or_default();
        let named = if roots.len() <= FEW { roots } else { &[] };
        let trusted = named.iter().map(|root| name(&root.subject)).collect();
        Self { inner, trusted }
    }
}

/// How many authorities can be named in an error.
const FEW: usize = 3;

impl ServerCertVerifier for Remembering {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let inner = &self.inner;
        let verdict =
            inner.verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now);
        if verdict.is_err() {
            let refused = Description::of(end_entity).map(|certificate| Refused {
                certificate,
                trusted: Arc::clone(&self.trusted),
            });
            REFUSED.set(refused);
        }
        verdict
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }

    fn requires_raw_public_keys(&self) -> bool {
        self.inner.requires_raw_public_keys()
    }

    fn root_hint_subjects(&self) -> Option<&[DistinguishedName]> {
        self.inner.root_hint_subjects()
    }
}
