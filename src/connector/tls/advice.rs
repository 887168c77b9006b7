//! What the failures of TLS mean, and what to do about them.

use std::borrow::Cow;
use std::fmt;
use std::io;
use std::sync::Arc;

use rustls::client::ResolvesClientCert;
use rustls::sign::CertifiedKey;
use rustls::{
    AlertDescription, CertificateError, Error, ExtendedKeyPurpose, OtherError, SignatureScheme,
};

use super::certificate::{Description, date};
use super::verifier::Refused;
use crate::error::Advised;
use crate::sync::{Mutex, lock};

/// The client's certificates, and whether the broker has asked for one.
///
/// In TLS 1.3 the client's handshake is through before the broker judges the client's certificate. What
/// it says then is often lost, as it resets a connection on which the client has spoken already.
#[derive(Debug)]
pub(super) struct OwnCertificates {
    inner: Arc<dyn ResolvesClientCert>,
    asked: Mutex<Asked>,
}

/// What became of the question for the client's certificate.
#[derive(Clone, Debug)]
enum Asked {
    Not,
    /// There was none to give.
    InVain,
    Given(Arc<CertifiedKey>),
}

impl OwnCertificates {
    pub(super) fn new(inner: Arc<dyn ResolvesClientCert>) -> Self {
        Self {
            inner,
            asked: Mutex::new(Asked::Not),
        }
    }

    fn asked(&self) -> Asked {
        lock(&self.asked).clone()
    }

    /// What may be why a broker has ended a connection that was hardly begun, and what it has said then.
    fn suspicion(&self, alert: Option<AlertDescription>) -> Option<Advice> {
        match self.asked() {
            Asked::Not => None,
            Asked::InVain => Some(Advice::from(NO_CERTIFICATE)),
            Asked::Given(given) => {
                let certificate = given.cert.first();
                let certificate = certificate.and_then(|it| Description::of(it));
                Some(Advice {
                    about: certificate
                        .map(|it| format!("the client's certificate is that of {it}")),
                    what_to_do: refused_certificate(alert).into(),
                })
            }
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
        let asked = given.clone().map_or(Asked::InVain, Asked::Given);
        // A key is dropped outside of the lock, for it can be anybody's code.
        let before = std::mem::replace(&mut *lock(&self.asked), asked);
        drop(before);
        given
    }

    fn only_raw_public_keys(&self) -> bool {
        self.inner.only_raw_public_keys()
    }

    fn has_certs(&self) -> bool {
        self.inner.has_certs()
    }
}

/// What is known beside an error.
#[derive(Debug)]
struct Advice {
    /// Whose certificate it is about.
    about: Option<String>,
    what_to_do: Cow<'static, str>,
}

impl<T: Into<Cow<'static, str>>> From<T> for Advice {
    fn from(what_to_do: T) -> Self {
        Self {
            about: None,
            what_to_do: what_to_do.into(),
        }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(about) = &self.about {
            write!(f, "{about}: ")?;
        }
        f.write_str(&self.what_to_do)
    }
}

/// A handshake that failed on our side of it; with the broker's certificate, if that was refused.
pub(super) fn handshake_failed(
    error: io::Error,
    certificates: &OwnCertificates,
    refused: Option<Refused>,
) -> io::Error {
    let advice = match of_tls(&error) {
        Some(error) => advice(error, certificates, refused),
        // It hung up, or was cut off.
        None => (certificates.suspicion(None)).unwrap_or_else(|| NOT_TLS.into()),
    };
    Advised::add(error, advice.to_string())
}

/// The failure of a stream on which the broker has not said a word.
pub(super) fn not_a_word(error: io::Error, certificates: &OwnCertificates) -> io::Error {
    let alert = match of_tls(&error) {
        Some(Error::AlertReceived(alert)) => Some(*alert),
        _ => None,
    };
    match certificates.suspicion(alert) {
        None => error,
        Some(advice) => Advised::add(error, advice.to_string()),
    }
}

/// What an orderly end without a word is, where there is a suspicion.
pub(super) fn end_without_a_word(certificates: &OwnCertificates) -> Option<io::Error> {
    if let Asked::Not = certificates.asked() {
        return None;
    }
    let end = io::Error::new(
        io::ErrorKind::UnexpectedEof,
        "the broker ended the connection",
    );
    Some(not_a_word(end, certificates))
}

fn of_tls(error: &io::Error) -> Option<&Error> {
    error.get_ref()?.downcast_ref()
}

fn advice(error: &Error, certificates: &OwnCertificates, refused: Option<Refused>) -> Advice {
    match error {
        Error::InvalidMessage(_)
        | Error::InappropriateMessage { .. }
        | Error::PeerSentOversizedRecord => NOT_TLS.into(),
        Error::InvalidCertificate(error) => broken_certificate(error, refused),
        Error::InvalidCertRevocationList(_) => about(
            refused.as_ref(),
            "the revocation list of the authority that has issued it cannot be used: have it made anew",
        ),
        Error::AlertReceived(alert) => {
            let suspicion = certificates.suspicion(Some(*alert));
            suspicion.unwrap_or_else(|| refused_by(*alert).into())
        }
        Error::PeerIncompatible(_) => NOTHING_IN_COMMON.into(),
        _ => "the TLS of the broker and that of the client do not get on".into(),
    }
}

fn about(refused: Option<&Refused>, what_to_do: impl Into<Cow<'static, str>>) -> Advice {
    Advice {
        about: refused.map(|it| format!("the broker's certificate is that of {}", it.certificate)),
        what_to_do: what_to_do.into(),
    }
}

fn broken_certificate(error: &CertificateError, refused: Option<Refused>) -> Advice {
    let has_signed_itself = refused
        .as_ref()
        .is_some_and(|it| it.certificate.has_signed_itself());
    let what_to_do: Cow<'static, str> = match error {
        CertificateError::UnknownIssuer if has_signed_itself => {
            "it has signed itself, and nobody that is trusted has signed it: name it by cacertfile in the URI, or \
             trust it in a TlsConnector of your own"
                .into()
        }
        CertificateError::UnknownIssuer => {
            let trusted = refused.as_ref().map(|it| it.trusted.join(" and "));
            let trusted = trusted.filter(|it| !it.is_empty());
            let trusted = trusted.map_or_else(String::new, |it| format!(" (which is {it})"));
            format!(
                "nobody that is trusted{trusted} has signed the broker's certificate: name that of its authority by \
                 cacertfile in the URI, or trust it in a TlsConnector of your own; where there are others between \
                 the two, the broker is to send them along"
            )
            .into()
        }
        CertificateError::BadSignature => {
            "the broker's certificate is of another authority than the one of that name that is trusted, \
             which may have a new key: name its new certificate by cacertfile in the URI"
                .into()
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            "the broker's certificate is for another host: connect by a name that is in it, or say \
             that name by server_name_indication in the URI"
                .into()
        }
        CertificateError::ExpiredContext { time, not_after } => format!(
            "the broker's certificate, or one of its authorities, has expired on {}, and it is {} now: renew it, or \
             set this machine's clock",
            date(not_after.as_secs()),
            date(time.as_secs())
        )
        .into(),
        CertificateError::Expired => {
            "the broker's certificate has expired: renew it, or set this machine's clock".into()
        }
        CertificateError::NotValidYetContext { time, not_before } => format!(
            "the broker's certificate, or one of its authorities, is not valid yet but from {} on, and it is {} now: \
             set this machine's clock",
            date(not_before.as_secs()),
            date(time.as_secs())
        )
        .into(),
        CertificateError::NotValidYet => {
            "the broker's certificate is not valid yet: set this machine's clock".into()
        }
        CertificateError::Revoked => "the broker's certificate was revoked: give it another".into(),
        CertificateError::UnknownRevocationStatus => {
            "there is no revocation list of the authority that has issued it: give that, too, or none".into()
        }
        CertificateError::InvalidPurpose => NOT_OF_A_SERVER.into(),
        CertificateError::InvalidPurposeContext { presented, .. } => {
            let of_a_client = presented.contains(&ExtendedKeyPurpose::ClientAuth);
            match of_a_client {
                true => "it is that of a client: give the broker one for servers (serverAuth)".into(),
                false => NOT_OF_A_SERVER.into(),
            }
        }
        CertificateError::Other(OtherError(_)) => {
            "the broker's certificate cannot be used: it is to be that of a server, of X.509 \
             version 3, and not that of an authority, and it is to be issued by one"
                .into()
        }
        _ => "the broker's certificate cannot be used: give it another".into(),
    };
    about(refused.as_ref(), what_to_do)
}

/// What a broker says of the client's certificate (RFC 8446 §6.2).
fn refused_certificate(alert: Option<AlertDescription>) -> &'static str {
    match alert {
        Some(AlertDescription::CertificateExpired) => {
            "the broker says that the client's certificate has expired: renew it, or set the clocks"
        }
        Some(AlertDescription::CertificateRevoked) => {
            "the broker says that the client's certificate was revoked: use another"
        }
        Some(AlertDescription::UnknownCA) => {
            "the broker does not know who has issued the client's certificate: name its authority in the broker's \
             configuration (RabbitMQ: ssl_options.cacertfile), and put those between the two after the client's in \
             its file"
        }
        Some(AlertDescription::UnsupportedCertificate) => {
            "the broker says that the client's certificate is of the wrong kind: it is to be for clients (clientAuth)"
        }
        Some(AlertDescription::ProtocolVersion | AlertDescription::InsufficientSecurity) => {
            NOTHING_IN_COMMON
        }
        _ => CERTIFICATE_REFUSED,
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

const NOT_OF_A_SERVER: &str =
    "it is not that of a server: give the broker one that is for servers (serverAuth)";

const NO_CERTIFICATE: &str = "the broker asks for a certificate of the client, and has none: name one \
                              by certfile and keyfile in the URI, or give one to a TlsConnector";

const CERTIFICATE_REFUSED: &str = "the broker may not accept the client's certificate: it is to be \
                                   valid, for clients, and of an authority that the broker trusts";

const NOTHING_IN_COMMON: &str = "the broker and the client have no version or cipher of TLS in common, \
                                 and TLS 1.2 is the least that the client takes";
