//! What the failures of TLS mean, and what to do about them.

use std::error;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, Error, OtherError, SignatureScheme};

use crate::sync::{AtomicBool, Ordering};

/// The client's certificates, and whether the broker has asked for one.
///
/// In TLS 1.3 the client's handshake is through before the broker judges the client's certificate. What
/// it says then is often lost, as it resets a connection on which the client has spoken already.
#[derive(Debug)]
pub(super) struct OwnCertificates {
    inner: Arc<dyn ResolvesClientCert>,
    were_asked_for: AtomicBool,
    were_given: AtomicBool,
}

impl OwnCertificates {
    pub(super) fn new(inner: Arc<dyn ResolvesClientCert>) -> Self {
        Self {
            inner,
            were_asked_for: AtomicBool::new(false),
            were_given: AtomicBool::new(false),
        }
    }

    /// What may be why a broker has ended a connection that was hardly begun.
    fn suspicion(&self) -> Option<&'static str> {
        let load = |flag: &AtomicBool| flag.load(Ordering::Relaxed);
        match (load(&self.were_asked_for), load(&self.were_given)) {
            (false, _) => None,
            (true, false) => Some(NO_CERTIFICATE),
            (true, true) => Some(CERTIFICATE_REFUSED),
        }
    }
}

impl ResolvesClientCert for OwnCertificates {
    fn resolve(
        &self,
        root_hint_subjects: &[&[u8]],
        sigschemes: &[SignatureScheme],
    ) -> Option<Arc<CertifiedKey>> {
        let given = self.inner.resolve(root_hint_subjects, sigschemes);
        self.were_asked_for.store(true, Ordering::Relaxed);
        self.were_given.store(given.is_some(), Ordering::Relaxed);
        given
    }

    fn only_raw_public_keys(&self) -> bool {
        self.inner.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// A failure of TLS, with what to do about it. Its source is rustls', where that says more.
#[derive(Debug)]
struct Advised {
    error: io::Error,
    advice: &'static str,
}

impl fmt::Display for Advised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { error, advice } = self;
        write!(f, "{error}: {advice}")
    }
}

impl error::Error for Advised {
    fn source(&self) -> Option<&(dyn error::Error + 'static)> {
        let inner = self.error.get_ref()?;
        Some(inner)
    }
}

impl Advised {
    fn into_error(self) -> io::Error {
        io::Error::new(self.error.kind(), self)
    }
}

/// A handshake that failed on our side of it.
pub(super) fn handshake_failed(error: io::Error, certificates: &OwnCertificates) -> io::Error {
    let tls = error.get_ref().and_then(|it| it.downcast_ref::<Error>());
    let advice = match tls {
        Some(error) => advice(error, certificates),
        // It hung up, or was cut off.
        None => certificates.suspicion().unwrap_or(NOT_TLS),
    };
    Advised { error, advice }.into_error()
}

/// The failure of a stream on which the broker has not said a word.
pub(super) fn not_a_word(error: io::Error, certificates: &OwnCertificates) -> io::Error {
    match certificates.suspicion() {
        None => error,
        Some(advice) => Advised { error, advice }.into_error(),
    }
}

/// What an orderly end without a word is, where there is a suspicion.
pub(super) fn end_without_a_word(certificates: &OwnCertificates) -> Option<io::Error> {
    certificates.suspicion()?;
    let end = io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the broker ended the connection",
    );
    Some(not_a_word(end, certificates))
}

fn advice(error: &Error, certificates: &OwnCertificates) -> &'static str {
    match error {
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::PeerSentOversizedRecord => NOT_TLS,
        Error::InvalidCertificate(error) => broken_certificate(error),
        Error::AlertReceived(alert) => {
            (certificates.suspicion()).unwrap_or_else(|| refused_by(*alert))
        }
        Error::PeerIncompatible(_) => NOTHING_IN_COMMON,
        _ => "the TLS of the broker and that of the client do not get on",
    }
}

fn broken_certificate(error: &CertificateError) -> &'static str {
    match error {
        CertificateError::UnknownIssuer => {
            "nobody that is trusted has signed the broker's certificate: name that of its authority \
             by cacertfile in the URI, or trust it in a TlsConnector of your own"
        }
        CertificateError::BadSignature => {
            "the broker's certificate is of another authority than the one of that name that is trusted, \
             which may have a new key: name its new certificate by cacertfile in the URI"
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the broker's certificate is for another host: connect by a name that is in it, or say \
             that name by server_name_indication in the URI"
        }
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => {
            "the broker's certificate has expired: renew it, or set this machine's clock"
        }
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            "the broker's certificate is not valid yet: set this machine's clock"
        }
        CertificateError::Revoked => "the broker's certificate was revoked: give it another",
        CertificateError::Other(OtherError(_)) => {
            "the broker's certificate cannot be used: it is to be that of a server, of X.509 \
             version 3, and not that of an authority"
        }
        _ => "the broker's certificate cannot be used: give it another",
    }
}

fn refused_by(alert: AlertDescription) -> &'static str {
    match alert {
        AlertDescription::CertificateRequired => NO_CERTIFICATE,
        AlertDescription::UnrecognisedName => {
            "the broker knows no host of this name: say another by server_name_indication in the URI"
        }
        AlertDescription::ProtocolVersion
        | AlertDescription::InsufficientSecurity
        | AlertDescription::HandshakeFailure => NOTHING_IN_COMMON,
        _ => "the broker's log may say why it refuses",
    }
}

const NOT_TLS: &str = "what answers does not speak TLS: use the port for it (5671 as a rule), or amqp \
                       where the broker has none";

const NO_CERTIFICATE: &str = "the broker asks for a certificate of the client, and has none: name one \
                              by certfile and keyfile in the URI, or give one to a TlsConnector";

const CERTIFICATE_REFUSED: &str = "the broker may not accept the client's certificate: it is to be \
                                   valid, for clients, and of an authority that the broker trusts";

const NOTHING_IN_COMMON: &str = "the broker and the client have no version or cipher of TLS in common, \
                                 and TLS 1.2 is the least that the client takes";
