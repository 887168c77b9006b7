//! The query parameters about TLS: those of RabbitMQ's Erlang client, which are options of Erlang/OTP.

use std::path::PathBuf;

use super::{UriError, parse_host, parse_number, set_once};

/// What the query of an `amqps` URI says about TLS.
///
/// The files are PEM. A connector reads them at every attempt to connect, so that a certificate that was
/// renewed is picked up. While they say the same, sessions of TLS are resumed.
///
/// Some parameters change nothing: `verify=verify_peer`, since the broker's certificate is always
/// verified; `customize_hostname_check=https`, since wildcards in it always count as in HTTPS;
/// `fail_if_no_peer_cert`, which is for servers; and `depth`, since the length of a chain has a bound of
/// its own. `verify=verify_none` is refused: it would hand the password to whoever answers. A
/// certificate that no public authority has signed is named by `cacertfile`. `password` is refused, too,
/// since no key with a password can be read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct TlsOptions {
    /// `cacertfile`: the authorities to trust, in the place of the system's.
    pub cacertfile: Option<PathBuf>,
    /// `certfile`: the client's certificate, and those between it and its authority.
    pub certfile: Option<PathBuf>,
    /// `keyfile`: the private key of `certfile`, by default in the same file.
    pub keyfile: Option<PathBuf>,
    /// `server_name_indication`: what to call the broker, if not by the name in the URI.
    pub server_name_indication: Option<ServerNameIndication>,
}

/// What to call a broker in TLS.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum ServerNameIndication {
    /// `disable`: it is called nothing; its certificate still has to be that of the URI's host.
    Disable,
    /// It is called this, and its certificate has to be that of this host.
    Name(String),
}

/// A query parameter that is about TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Parameter {
    CaCertFile,
    CertFile,
    KeyFile,
    Verify,
    ServerNameIndication,
    FailIfNoPeerCert,
    Password,
    Depth,
    CustomizeHostnameCheck,
}

impl Parameter {
    const ALL: [Self; 9] = [
        Self::CaCertFile,
        Self::CertFile,
        Self::KeyFile,
        Self::Verify,
        Self::ServerNameIndication,
        Self::FailIfNoPeerCert,
        Self::Password,
        Self::Depth,
        Self::CustomizeHostnameCheck,
    ];

    pub(super) fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|it| it.name() == name)
    }

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::CaCertFile => "cacertfile",
            Self::CertFile => "certfile",
            Self::KeyFile => "keyfile",
            Self::Verify => "verify",
            Self::ServerNameIndication => "server_name_indication",
            Self::FailIfNoPeerCert => "fail_if_no_peer_cert",
            Self::Password => "password",
            Self::Depth => "depth",
            Self::CustomizeHostnameCheck => "customize_hostname_check",
        }
    }
}

/// The parameters that were found so far.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    options: TlsOptions,
    /// Those that change nothing, to be given no more than once all the same.
    verify: Option<()>,
    fail_if_no_peer_cert: Option<()>,
    depth: Option<()>,
    customize_hostname_check: Option<()>,
}

impl Parameters {
    pub(super) fn set(&mut self, parameter: Parameter, value: &str) -> Result<(), UriError> {
        let (name, options) = (parameter.name(), &mut self.options);
        let path = (!value.is_empty()).then(|| PathBuf::from(value));
        let path_to = "the path of a PEM file";
        match parameter {
            Parameter::CaCertFile => set_once(&mut options.cacertfile, name, path, path_to),
            Parameter::CertFile => set_once(&mut options.certfile, name, path, path_to),
            Parameter::KeyFile => set_once(&mut options.keyfile, name, path, path_to),
            Parameter::ServerNameIndication => set_once(
                &mut options.server_name_indication,
                name,
                server_name(value),
                "a host name, an address or disable",
            ),
            Parameter::Verify if value == "verify_none" => Err(UriError::Unsupported {
                name,
                instead: "the broker is always verified, or a password would be given to whoever \
                          answers; name the certificate of its authority, or its own, by cacertfile",
            }),
            Parameter::Verify => {
                let verify = (value == "verify_peer").then_some(());
                set_once(&mut self.verify, name, verify, "verify_peer")
            }
            Parameter::Password => Err(UriError::Unsupported {
                name,
                instead: "a key with a password cannot be read; take it off the key file, as by \
                          openssl pkcs8 -topk8 -nocrypt",
            }),
            Parameter::FailIfNoPeerCert => {
                let is_bool = matches!(value, "true" | "false").then_some(());
                set_once(
                    &mut self.fail_if_no_peer_cert,
                    name,
                    is_bool,
                    "true or false",
                )
            }
            Parameter::Depth => {
                let depth = parse_number::<u32>(value).map(|_| ());
                set_once(&mut self.depth, name, depth, "a number")
            }
            Parameter::CustomizeHostnameCheck => {
                let https = (value == "https").then_some(());
                set_once(&mut self.customize_hostname_check, name, https, "https")
            }
        }
    }

    pub(super) fn finish(self) -> Result<TlsOptions, UriError> {
        if self.options.keyfile.is_some() && self.options.certfile.is_none() {
            return Err(UriError::InvalidParameter {
                name: Parameter::KeyFile.name(),
                expected: "given together with certfile",
            });
        }
        Ok(self.options)
    }
}

fn server_name(value: &str) -> Option<ServerNameIndication> {
    match value {
        "disable" => Some(ServerNameIndication::Disable),
        // An address may stand in brackets here, too, and need not.
        value => (value.parse::<std::net::Ipv6Addr>().map(|it| it.to_string()))
            .or_else(|_| parse_host(value))
            .ok()
            .map(ServerNameIndication::Name),
    }
}
