//! AMQP URIs, by the [specification](https://www.rabbitmq.com/docs/uri-spec) and the
//! [query parameters](https://www.rabbitmq.com/docs/uri-query-parameters) of RabbitMQ.

mod password;
mod tls;

use std::fmt;
use std::mem;
use std::net::Ipv6Addr;
use std::num::NonZeroU16;
use std::str::FromStr;
use std::time::Duration;

use thiserror::Error;
use zeroize::{Zeroize as _, Zeroizing};

pub use self::password::Password;
pub use self::tls::{ServerNameIndication, TlsOptions};

/// Where a broker is and how to log in, as an AMQP URI says it.
///
/// ```
/// use snowshoe::AmqpUri;
///
/// let uri: AmqpUri = "amqps://anna:p%40ss@one.example,two.example:5673/orders?heartbeat=10".parse()?;
/// assert_eq!((uri.user.as_str(), uri.password.expose()), ("anna", "p@ss"));
/// assert_eq!(uri.endpoints[0].to_string(), "one.example:5671");
/// assert_eq!(uri.endpoints[1].to_string(), "two.example:5673");
/// assert_eq!((uri.tls, uri.vhost.as_str()), (true, "orders"));
/// assert_eq!(uri.options.heartbeat, Some(std::time::Duration::from_secs(10)));
/// # Ok::<(), snowshoe::UriError>(())
/// ```
///
/// Every part may be missing: `amqp://` is the user `guest` with the password `guest`, the host
/// `localhost`, the port 5672 (5671 with `amqps`), and the virtual host `/`.
///
/// - In a user, password, host or virtual host, a character with a meaning of its own is written in
///   percent-encoding: `%40` for `@`, `%2F` for `/`, `%3A` for `:`, `%23` for `#`.
/// - The virtual host begins **after** the slash: that of `amqp://host/orders` is `orders`, that of
///   `amqp://host/%2F` is `/`, and that of `amqp://host/` is the empty string.
/// - Several hosts, each with its own port or none, are separated by commas. An IPv6 address stands
///   in brackets: `amqp://[::1]:5672`. The zone of a link-local one follows `%25` (RFC 6874):
///   `amqp://[fe80::1%25eth0]`.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct AmqpUri {
    /// Whether the scheme is `amqps`: everything goes through TLS, the log-in too.
    pub tls: bool,
    /// The user's name, `guest` by default.
    pub user: String,
    /// The user's password, `guest` by default.
    pub password: Password,
    /// The hosts with their ports, in the order of the URI. There is at least one.
    pub endpoints: Vec<Endpoint>,
    /// The virtual host, `/` by default.
    pub vhost: String,
    /// What the query asks for.
    pub options: UriOptions,
}

/// A host and a port to connect to.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Endpoint {
    /// A name or an address. An IPv6 address stands here without brackets, and its zone after a `%`.
    pub host: String,
    /// The TCP port.
    pub port: u16,
}

impl Endpoint {
    /// This port of this host.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
        }
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { host, port } = self;
        if host.contains(':') {
            write!(f, "[{host}]:{port}")
        } else {
            write!(f, "{host}:{port}")
        }
    }
}

/// The query parameters of an [`AmqpUri`]; what the URI does not mention is `None`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct UriOptions {
    /// `heartbeat`, in seconds up to 65535: the interval to ask for. Zero asks for no heartbeats.
    pub heartbeat: Option<Duration>,
    /// `connection_timeout`, in milliseconds: how long a TCP connection may take to open. Zero is no
    /// limit.
    pub connection_timeout: Option<Duration>,
    /// `channel_max`: the highest channel number to agree to. Zero leaves it to the server.
    pub channel_max: Option<u16>,
    /// `frame_max`: the largest frame to agree to, in bytes: 4096 at least, and 8192 for RabbitMQ from 4.1
    /// on. Zero leaves it to the server.
    pub frame_max: Option<u32>,
    /// `auth_mechanism`, which may be repeated: the SASL mechanisms to choose from, in upper case
    /// as they are registered. Empty if the URI names none.
    pub auth_mechanisms: Vec<String>,
    /// What is about TLS.
    pub tls: TlsOptions,
}

/// Why a text is not an AMQP URI that can be used. It never holds a part of the URI that could be
/// secret.
#[derive(Clone, Debug, PartialEq, Eq, Error)]
#[non_exhaustive]
pub enum UriError {
    /// The scheme is neither `amqp` nor `amqps`.
    #[error("the URI does not begin with amqp:// or amqps://")]
    Scheme,
    /// A reserved character stands where it has no meaning, most likely within a password.
    #[error(
        "an @ or # is out of place: within a user, a password or a virtual host, the characters \
         : / ? # [ ] @ must be percent-encoded (%40 for @)"
    )]
    Reserved,
    /// A percent sign begins no escape.
    #[error(
        "the {part} holds a % that is not followed by two hexadecimal digits (%25 for % itself)"
    )]
    Escape {
        /// The part of the URI.
        part: &'static str,
    },
    /// The percent-encoding is not that of a text.
    #[error("the {part} is not UTF-8 text, or holds a NUL")]
    NotText {
        /// The part of the URI.
        part: &'static str,
    },
    /// A host is no name and no address.
    #[error("a host is empty, or is neither a host name nor an address")]
    Host,
    /// A port is no port.
    #[error("a port is not a number from 1 to 65535 (an IPv6 address stands in brackets)")]
    Port,
    /// More than one slash follows the hosts.
    #[error("the virtual host holds a slash, which must be written as %2F")]
    VhostSlash,
    /// The virtual host is too long for the protocol, which gives it a short string.
    #[error("the virtual host is {len} bytes long, which is more than 255")]
    VhostTooLong {
        /// Its length in bytes.
        len: usize,
    },
    /// A query parameter is not known.
    #[error(
        "the query parameter {name:?} is not one of heartbeat, connection_timeout, channel_max, \
         frame_max and auth_mechanism, nor, with amqps, of cacertfile, certfile, keyfile, verify and \
         server_name_indication"
    )]
    UnknownParameter {
        /// Its name, up to 40 characters of it.
        name: String,
    },
    /// A query parameter that can have one value is given twice.
    #[error("the query parameter {name} is given more than once")]
    RepeatedParameter {
        /// Its name.
        name: &'static str,
    },
    /// A query parameter has a value that it cannot have.
    #[error("the query parameter {name} is not {expected}")]
    InvalidParameter {
        /// Its name.
        name: &'static str,
        /// What its value can be.
        expected: &'static str,
    },
    /// A query parameter is about TLS, which the scheme does not ask for.
    #[error("the query parameter {name} is about TLS, and the scheme is amqp: use amqps")]
    NotTls {
        /// Its name.
        name: &'static str,
    },
    /// A query parameter asks for what is not done.
    #[error("the query parameter {name} cannot be followed: {instead}")]
    Unsupported {
        /// Its name.
        name: &'static str,
        /// Why, and what to do instead.
        instead: &'static str,
    },
}

impl FromStr for AmqpUri {
    type Err = UriError;

    fn from_str(uri: &str) -> Result<Self, UriError> {
        let (scheme, rest) = uri.split_once("://").ok_or(UriError::Scheme)?;
        let tls = match scheme.to_ascii_lowercase().as_str() {
            "amqp" => false,
            "amqps" => true,
            _ => return Err(UriError::Scheme),
        };
        let (path, query) = rest.split_once('?').unwrap_or((rest, ""));
        let (authority, vhost) = match path.split_once('/') {
            Some((authority, vhost)) => (authority, Some(vhost)),
            None => (path, None),
        };
        let (login, hosts) = match authority.split_once('@') {
            Some((login, hosts)) => (Some(login), hosts),
            None => (None, authority),
        };
        // Where a password was cut by a character of its own, the @ that ends it is in another part.
        // Stopping at that keeps its pieces from being taken, and shown, for something else.
        if rest.matches('@').count() > usize::from(login.is_some()) || rest.contains('#') {
            return Err(UriError::Reserved);
        }
        let (user, password) = parse_login(login)?;
        Ok(Self {
            tls,
            user,
            password,
            endpoints: parse_endpoints(hosts, if tls { 5671 } else { 5672 })?,
            vhost: vhost.map_or_else(|| Ok("/".to_owned()), parse_vhost)?,
            options: parse_options(query, tls)?,
        })
    }
}

fn parse_login(login: Option<&str>) -> Result<(String, Password), UriError> {
    let (user, password) = match login.map(|login| login.split_once(':').ok_or(login)) {
        None => (None, None),
        Some(Err(user)) => (Some(user), None),
        Some(Ok((user, password))) => (Some(user), Some(password)),
    };
    let user = decode(user.unwrap_or("guest"), "user")?;
    let password = decode(password.unwrap_or("guest"), "password")?;
    Ok((user, password.into()))
}

fn parse_endpoints(hosts: &str, default_port: u16) -> Result<Vec<Endpoint>, UriError> {
    let alone = !hosts.contains(',');
    hosts
        .split(',')
        .map(|endpoint| {
            let (host, port) = split_port(endpoint)?;
            Ok(Endpoint {
                host: match host {
                    "" if alone => "localhost".to_owned(),
                    host => parse_host(host)?,
                },
                port: match port {
                    "" => default_port,
                    port => parse_number::<NonZeroU16>(port)
                        .ok_or(UriError::Port)?
                        .get(),
                },
            })
        })
        .collect()
}

/// Splits off the port, which may be missing. An IPv6 address keeps its brackets.
fn split_port(endpoint: &str) -> Result<(&str, &str), UriError> {
    let address = if endpoint.starts_with('[') {
        endpoint.find(']').ok_or(UriError::Host)? + 1
    } else {
        0
    };
    match endpoint[address..].split_once(':') {
        Some((name, port)) => Ok((&endpoint[..address + name.len()], port)),
        None => Ok((endpoint, "")),
    }
}

fn parse_host(host: &str) -> Result<String, UriError> {
    if let Some(address) = host
        .strip_prefix('[')
        .and_then(|host| host.strip_suffix(']'))
    {
        // Windows writes zones as numbers, and everybody else as the names of interfaces.
        let (address, zone) = match address.split_once("%25") {
            Some((address, zone)) => (address, Some(decode(zone, "host")?)),
            None => (address, None),
        };
        let address: Ipv6Addr = address.parse().map_err(|_| UriError::Host)?;
        return match zone {
            None => Ok(address.to_string()),
            Some(zone) if is_name(&zone) => Ok(format!("{address}%{zone}")),
            Some(_) => Err(UriError::Host),
        };
    }
    let host = decode(host, "host")?;
    if is_name(&host) {
        Ok(host)
    } else {
        Err(UriError::Host)
    }
}

/// Whether it is of the characters that nothing is meant by (RFC 3986 §2.3).
fn is_name(text: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    !text.is_empty() && text.bytes().all(valid)
}

fn parse_vhost(vhost: &str) -> Result<String, UriError> {
    if vhost.contains('/') {
        return Err(UriError::VhostSlash);
    }
    let vhost = decode(vhost, "virtual host")?;
    match vhost.len() {
        0..=255 => Ok(vhost),
        len => Err(UriError::VhostTooLong { len }),
    }
}

fn parse_options(query: &str, tls: bool) -> Result<UriOptions, UriError> {
    let mut options = UriOptions::default();
    let mut about_tls = tls::Parameters::default();
    for parameter in query.split('&').filter(|parameter| !parameter.is_empty()) {
        let (name, value) = parameter.split_once('=').unwrap_or((parameter, ""));
        let (name, value) = (decode(name, "query")?, decode(value, "query")?);
        match tls::Parameter::named(&name) {
            Some(parameter) if tls => about_tls.set(parameter, &value)?,
            Some(parameter) => {
                return Err(UriError::NotTls {
                    name: parameter.name(),
                });
            }
            None => options.set(&name, &value)?,
        }
    }
    options.tls = about_tls.finish()?;
    Ok(options)
}

impl UriOptions {
    fn set(&mut self, name: &str, value: &str) -> Result<(), UriError> {
        match name {
            "heartbeat" => set_once(
                &mut self.heartbeat,
                "heartbeat",
                parse_number::<u16>(value).map(|seconds| Duration::from_secs(seconds.into())),
                "a number of seconds up to 65535",
            ),
            "connection_timeout" => set_once(
                &mut self.connection_timeout,
                "connection_timeout",
                parse_number::<u32>(value).map(|millis| Duration::from_millis(millis.into())),
                "a number of milliseconds",
            ),
            "channel_max" => set_once(
                &mut self.channel_max,
                "channel_max",
                parse_number(value),
                "a number up to 65535",
            ),
            "frame_max" => set_once(
                &mut self.frame_max,
                "frame_max",
                parse_number(value),
                "a number of bytes",
            ),
            "auth_mechanism" => {
                self.auth_mechanisms.push(parse_mechanism(value)?);
                Ok(())
            }
            _ => Err(UriError::UnknownParameter {
                name: name.chars().take(40).collect(),
            }),
        }
    }
}

fn set_once<T>(
    slot: &mut Option<T>,
    name: &'static str,
    value: Option<T>,
    expected: &'static str,
) -> Result<(), UriError> {
    let value = value.ok_or(UriError::InvalidParameter { name, expected })?;
    match slot.replace(value) {
        None => Ok(()),
        Some(_) => Err(UriError::RepeatedParameter { name }),
    }
}

/// A mechanism's name, as RFC 4422 §3.1 allows it.
fn parse_mechanism(value: &str) -> Result<String, UriError> {
    // RabbitMQ's client takes the module in front of the name, too.
    let mechanism = value.strip_prefix("amqp_auth_mechanisms:").unwrap_or(value);
    let mechanism = mechanism.to_ascii_uppercase();
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || b"-_".contains(&byte);
    if (1..=20).contains(&mechanism.len()) && mechanism.bytes().all(valid) {
        Ok(mechanism)
    } else {
        Err(UriError::InvalidParameter {
            name: "auth_mechanism",
            expected: "the name of a SASL mechanism",
        })
    }
}

/// A number of nothing but digits.
fn parse_number<T: FromStr>(digits: &str) -> Option<T> {
    // The parser of the standard library would take a sign as well.
    let plain = digits.bytes().all(|byte| byte.is_ascii_digit());
    plain.then(|| digits.parse().ok()).flatten()
}

/// Resolves the percent-encoding of one part. No copy is left behind: it could be a password.
fn decode(encoded: &str, part: &'static str) -> Result<String, UriError> {
    let mut decoded = Zeroizing::new(Vec::with_capacity(encoded.len()));
    let mut bytes = encoded.bytes();
    while let Some(byte) = bytes.next() {
        decoded.push(match byte {
            b'%' => {
                let (high, low) = (hex(bytes.next()), hex(bytes.next()));
                let octet = high.zip(low).map(|(high, low)| high << 4 | low);
                octet.ok_or(UriError::Escape { part })?
            }
            byte => byte,
        });
    }
    // RFC 4616 keeps NUL out of user and password, where it would separate them.
    if decoded.contains(&0) {
        return Err(UriError::NotText { part });
    }
    String::from_utf8(mem::take(&mut *decoded)).map_err(|error| {
        error.into_bytes().zeroize();
        UriError::NotText { part }
    })
}

fn hex(digit: Option<u8>) -> Option<u8> {
    let value = char::from(digit?).to_digit(16)?;
    u8::try_from(value).ok()
}
