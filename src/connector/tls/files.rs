//! A configuration from what a URI says, and the files that it names.

use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use zeroize::Zeroizing;

use crate::uri::{ServerNameIndication, TlsOptions};

/// Reads the files, and the system's certificates where no authority is named.
///
/// It asks nothing of the process but its files: a program that has turned on several providers of
/// cryptography has no default among them.
pub(super) fn configuration(options: &TlsOptions) -> io::Result<ClientConfig> {
    let roots = match &options.cacertfile {
        Some(file) => own_authorities(file)?,
        None => system_certificates()?,
    };
    let provider = Arc::new(ring::default_provider());
    let builder = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots);
    let mut config = match &options.certfile {
        None => builder.with_no_client_auth(),
        Some(certfile) => {
            let keyfile = options.keyfile.as_ref().unwrap_or(certfile);
            let (certificates, key) = (certificates("certfile", certfile)?, private_key(keyfile)?);
            let config = builder.with_client_auth_cert(certificates, key);
            config.map_err(|error| {
                let (certfile, keyfile) = (certfile.display(), keyfile.display());
                let text = format!(
                    "the key in {keyfile} cannot be used with the certificate in {certfile}: {error}"
                );
                io::Error::new(io::ErrorKind::InvalidData, text)
            })?
        }
    };
    config.enable_sni = options.server_name_indication != Some(ServerNameIndication::Disable);
    Ok(config)
}

fn own_authorities(file: &Path) -> io::Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates("cacertfile", file)? {
        let added = roots.add(certificate);
        added.map_err(|error| unusable("cacertfile", file, error))?;
    }
    Ok(roots)
}

fn system_certificates() -> io::Result<RootCertStore> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let cause = found
            .errors
            .first()
            .map_or_else(String::new, |error| format!(": {error}"));
        return Err(io::Error::other(format!(
            "the system has no certificates to trust{cause}; name those of an authority by cacertfile"
        )));
    }
    Ok(roots)
}

fn certificates(parameter: &str, file: &Path) -> io::Result<Vec<CertificateDer<'static>>> {
    let pem = read(parameter, file)?;
    let found = CertificateDer::pem_slice_iter(&pem).collect::<Result<Vec<_>, _>>();
    match found {
        Ok(found) if found.is_empty() => Err(unusable(
            parameter,
            file,
            "it holds no certificate in PEM (-----BEGIN CERTIFICATE-----)",
        )),
        Ok(found) => Ok(found),
        Err(error) => Err(unusable(parameter, file, error)),
    }
}

fn private_key(file: &Path) -> io::Result<PrivateKeyDer<'static>> {
    const ENCRYPTED: &[u8] = b"ENCRYPTED";
    let pem = Zeroizing::new(read("keyfile", file)?);
    if pem.windows(ENCRYPTED.len()).any(|it| it == ENCRYPTED) {
        let text = "its key has a password: take that off, as by openssl pkcs8 -topk8 -nocrypt";
        return Err(unusable("keyfile", file, text));
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| match error {
        pem::Error::NoItemsFound => unusable(
            "keyfile",
            file,
            "it holds no private key in PEM (-----BEGIN PRIVATE KEY-----)",
        ),
        error => unusable("keyfile", file, error),
    })
}

fn read(parameter: &str, file: &Path) -> io::Result<Vec<u8>> {
    std::fs::read(file).map_err(|error| {
        let text = format!("{parameter} {}: {error}", file.display());
        io::Error::new(error.kind(), text)
    })
}

fn unusable(parameter: &str, file: &Path, why: impl std::fmt::Display) -> io::Error {
    let text = format!("{parameter} {}: {why}", file.display());
    io::Error::new(io::ErrorKind::InvalidData, text)
}
