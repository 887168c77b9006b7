//! Certificates and keys in PEM, from files or from memory.

use std::fmt;
use std::fs::File;
use std::io::{self, Read as _};
use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use zeroize::Zeroizing;

/// Where PEM is to be had.
#[derive(Clone)]
pub(super) enum Input {
    /// In a file, which is called so where it cannot be used.
    File(&'static str, PathBuf),
    Memory(Pem),
}

impl Input {
    pub(super) fn memory(name: &'static str, bytes: Vec<u8>) -> Self {
        Self::Memory(Pem {
            name: name.to_owned(),
            bytes: Arc::new(Zeroizing::new(bytes)),
        })
    }

    pub(super) fn is_file(&self) -> bool {
        matches!(self, Self::File(..))
    }

    pub(super) fn read(&self) -> io::Result<Pem> {
        match self {
            Self::Memory(pem) => Ok(pem.clone()),
            Self::File(name, path) => {
                let name = format!("{name} {}", path.display());
                match read(path) {
                    Ok(bytes) => Ok(Pem {
                        name,
                        bytes: Arc::new(bytes),
                    }),
                    Err(error) => Err(io::Error::new(error.kind(), format!("{name}: {error}"))),
                }
            }
        }
    }
}

/// Reads a file, unless it has no end: a name may be that of anything.
fn read(path: &PathBuf) -> io::Result<Zeroizing<Vec<u8>>> {
    let mut bytes = Zeroizing::new(Vec::new());
    File::open(path)?
        .take(LONGEST + 1)
        .read_to_end(&mut bytes)?;
    if bytes.len() as u64 > LONGEST {
        let text = "it is too long for a file of certificates";
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(bytes)
}

/// Those of all authorities that there are have some 200 KB.
const LONGEST: u64 = 16 * 1024 * 1024;

/// Longer names of sections are nobody's.
const LONGEST_LABEL: usize = 40;

/// What is to be PEM, with what to call it.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Pem {
    name: String,
    bytes: Arc<Zeroizing<Vec<u8>>>,
}

impl fmt::Debug for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // It may be a key.
        f.debug_tuple("Pem").field(&self.name).finish()
    }
}

impl Pem {
    /// The certificates in it, of which there is one at least.
    pub(super) fn certificates(&self) -> io::Result<Vec<CertificateDer<'static>>> {
        self.all("certificate", "CERTIFICATE")
    }

    /// The revocation lists in it, of which there is one at least.
    pub(super) fn revocation_lists(
        &self,
    ) -> io::Result<Vec<CertificateRevocationListDer<'static>>> {
        self.all("revocation list", "X509 CRL")
    }

    /// The first private key in it.
    pub(super) fn private_key(&self) -> io::Result<PrivateKeyDer<'static>> {
        // PKCS #8 says so in the label, and older forms in a line below it.
        let has_line = self
            .lines()
            .any(|line| line.starts_with(b"Proc-Type: 4,ENCRYPTED"));
        if has_line || self.labels().any(|label| label.starts_with("ENCRYPTED ")) {
            return Err(self.unusable(
                "its key has a password: take that off, as by openssl pkcs8 -topk8 -nocrypt",
            ));
        }
        match PrivateKeyDer::from_pem_slice(self.text()) {
            Ok(key) => Ok(key),
            Err(pem::Error::NoItemsFound) => Err(self.lacks("private key", "PRIVATE KEY")),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    fn all<T: PemObject>(&self, what: &str, label: &str) -> io::Result<Vec<T>> {
        let found = T::pem_slice_iter(self.text()).collect::<Result<Vec<_>, _>>();
        match found {
            Ok(found) if found.is_empty() => Err(self.lacks(what, label)),
            Ok(found) => Ok(found),
            Err(error) => Err(self.malformed(&error)),
        }
    }

    /// Without the mark that some editors put first.
    fn text(&self) -> &[u8] {
        let bytes = self.bytes.as_slice();
        bytes.strip_prefix(b"\xef\xbb\xbf").unwrap_or(bytes)
    }

    fn lines(&self) -> impl Iterator<Item = &[u8]> {
        let lines = self.text().split(|byte| matches!(byte, b'\n' | b'\r'));
        lines.map(<[u8]>::trim_ascii)
    }

    /// What the sections in it are called.
    fn labels(&self) -> impl Iterator<Item = &str> {
        self.lines().filter_map(|line| {
            let label = line.strip_prefix(b"-----BEGIN ")?.strip_suffix(b"-----")?;
            let label = str::from_utf8(label).ok()?;
            let is_plain = label.bytes().all(|it| it.is_ascii_graphic() || it == b' ');
            (is_plain && label.len() <= LONGEST_LABEL).then_some(label)
        })
    }

    /// There is no such thing in it: what there is instead.
    fn lacks(&self, what: &str, label: &str) -> io::Error {
        let mut labels: Vec<_> = self.labels().take(8).collect();
        labels.dedup();
        let instead = match self.bytes.as_slice() {
            [] => "; it is empty".to_owned(),
            [0xff, 0xfe, ..] | [0xfe, 0xff, ..] => {
                "; it is text in UTF-16: save it in UTF-8".to_owned()
            }
            [0x30, 0x80..=0xff, ..] => {
                "; it seems to be DER: make PEM of it, as by openssl x509 -inform der".to_owned()
            }
            _ if labels.is_empty() => String::new(),
            _ => format!("; what it holds is {}", labels.join(", ")),
        };
        self.unusable(format_args!(
            "it holds no {what} in PEM (-----BEGIN {label}-----){instead}"
        ))
    }

    fn malformed(&self, error: &pem::Error) -> io::Error {
        match error {
            pem::Error::MissingSectionEnd { .. } => {
                self.unusable("a section in it has no end (-----END …-----): it was cut off")
            }
            pem::Error::IllegalSectionStart { .. } => {
                self.unusable("a line in it that begins with -----BEGIN does not end with -----")
            }
            pem::Error::Base64Decode(_) => {
                self.unusable("what is between BEGIN and END is not base64: it is damaged")
            }
            error => self.unusable(error),
        }
    }

    /// It cannot be used, for this reason.
    pub(super) fn unusable(&self, why: impl fmt::Display) -> io::Error {
        let text = format!("{}: {why}", self.name);
        io::Error::new(io::ErrorKind::InvalidData, text)
    }
}

impl fmt::Display for Pem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)
    }
}
