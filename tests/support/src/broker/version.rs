//! What a broker says that it is. Brokers differ, and a test that is about one of them says which.

use std::cmp::Ordering;
use std::fmt;
use std::io::Read as _;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use snowshoe::codec::sasl::External;
use snowshoe::codec::{ClientOptions, Connection, FieldValue};

use super::{begin_handshake, url};

/// How long a greeting may take. It is generous: it only matters where something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// A product, and a version of it.
///
/// It compares with `(4, 3)` as RabbitMQ 4.3. Other products are neither older nor newer than that.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Version {
    /// As the broker writes it, such as `RabbitMQ`.
    pub product: String,
    /// As the broker writes it, such as `3.10.8`.
    pub number: String,
}

impl Version {
    fn release(&self) -> Option<(u32, u32)> {
        let mut parts = self.number.split('.').map(|part| part.parse().ok());
        Some((parts.next()??, parts.next()??))
    }
}

impl PartialEq<(u32, u32)> for Version {
    fn eq(&self, release: &(u32, u32)) -> bool {
        self.partial_cmp(release) == Some(Ordering::Equal)
    }
}

impl PartialOrd<(u32, u32)> for Version {
    fn partial_cmp(&self, release: &(u32, u32)) -> Option<Ordering> {
        let own = (self.product == "RabbitMQ").then(|| self.release())??;
        Some(own.cmp(release))
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} {}", self.product, self.number)
    }
}

/// The version of the broker that the tests share.
pub fn version() -> &'static Version {
    static SHARED: OnceLock<Version> = OnceLock::new();
    SHARED.get_or_init(|| version_of(&url()))
}

/// Whether the broker that the tests share is of this release or a later one. Where it is not, a test of
/// what came with that says so and has nothing to show.
pub fn is_since(release: (u32, u32), what: &str) -> bool {
    let is_since = *version() >= release;
    if !is_since {
        let (major, minor) = release;
        eprintln!(
            "{} has no {what}: RabbitMQ has since {major}.{minor}",
            version()
        );
    }
    is_since
}

/// The version of the broker with this URI, from its greeting: nobody has to log in for that.
pub fn version_of(url: &str) -> Version {
    let mut socket = begin_handshake(url);
    socket
        .set_read_timeout(Some(PATIENCE))
        .expect("a timeout that is not zero");
    let options = ClientOptions::new(External::new());
    let mut connection = Connection::client(options, Instant::now());
    let (mut input, mut buffer) = (BytesMut::new(), [0; 4096]);
    while connection.peer_properties().is_empty() {
        let len = socket.read(&mut buffer).expect("the broker greets");
        assert_ne!(len, 0, "the broker greets");
        input.extend_from_slice(&buffer[..len]);
        _ = connection.receive(Instant::now(), &mut input);
    }
    let told = |name| {
        let value = connection.peer_properties().get(name);
        let value = value.expect("a broker sends tables that can be read");
        let text = value.and_then(FieldValue::as_str);
        text.unwrap_or_default().to_owned()
    };
    Version {
        product: told("product"),
        number: told("version"),
    }
}
