//! From an endpoint to a stream.

mod default;
mod progress;
mod tcp;
#[cfg(feature = "tls-no-provider")]
mod tls;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

pub(crate) use self::default::DefaultConnector;
pub use self::progress::Progress;
pub use self::tcp::TcpConnector;
#[cfg(feature = "tls-no-provider")]
pub use self::tls::{TlsConnector, TlsConnectorBuilder};
use crate::runtime::Runtime;
use crate::transport::{Connecting, Transport};

/// Where to connect to.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether the URI asks for TLS (`amqps`).
    pub tls: bool,
    /// The number of the attempt in a row at this host, from 1: a connector that finds several addresses
    /// for the host can begin with another one each time.
    pub attempt: u32,
    /// A number of the client's own, see [`ClientBuilder::seed`](crate::ClientBuilder::seed): clients
    /// of one host name spread over its addresses if each takes them in an order of its own.
    pub seed: u64,
    /// How long the attempt may take before it is dropped, see
    /// [`ClientBuilder::connection_timeout`](crate::ClientBuilder::connection_timeout);
    /// [`Duration::MAX`] is no limit. Within it every address has to have its turn.
    pub timeout: Duration,
    /// The addresses of the host that could be connected to before, and that then were no broker, refused
    /// the client or lost the connection; that which did so last is the last. They are to have their turn
    /// after all others.
    pub failed: Vec<SocketAddr>,
    /// To tell of the addresses that are found and tried.
    pub progress: Progress,
}

impl Target {
    /// A first attempt at a host without TLS, which may take any time.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            tls: false,
            attempt: 1,
            seed: 0,
            timeout: Duration::MAX,
            failed: Vec::new(),
            progress: Progress::default(),
        }
    }
}

/// Makes transports: the way to bring TLS, a proxy, or another runtime's streams.
///
/// The default is [`TcpConnector`]. A closure is a connector:
///
/// ```no_run
/// use std::sync::Arc;
///
/// use snowshoe::{Client, Connector, Runtime, Target, TcpConnector};
///
/// let through_jump_host = |target: &Target, runtime: &Arc<dyn Runtime>| {
///     let mut target = target.clone();
///     target.host = "jump.example.com".to_owned();
///     TcpConnector::default().connect(&target, runtime)
/// };
/// let (client, driver) = Client::builder("amqp://broker.internal")?
///     .connector(through_jump_host)
///     .build();
/// # Ok::<(), snowshoe::Error>(())
/// ```
pub trait Connector: Send + Sync + 'static {
    /// Begins to connect, by the means of the runtime that the driver runs on, or by others. The
    /// future is dropped if it takes longer than the connection timeout. A panic, here, in the future or
    /// in its transport, counts as a failure.
    fn connect(&self, target: &Target, runtime: &Arc<dyn Runtime>) -> Connecting;

    /// The same, with a layer on top of the transport, as TLS [over](crate::TlsConnector::over) another connector is.
    ///
    /// By default the layer is put on what [`connect`](Self::connect) makes. A connector that can choose among several
    /// ways may do better: where the layer does not come about on one, it takes another, as [`TcpConnector`] does with
    /// the addresses of a host.
    fn connect_with_layer(
        &self,
        target: &Target,
        runtime: &Arc<dyn Runtime>,
        layer: Layer,
    ) -> Connecting {
        let connecting = self.connect(target, runtime);
        Box::pin(async move { layer(connecting.await?).await })
    }
}

/// What is put on top of a transport, and may not come about: a handshake of TLS, say. It is called once for each
/// transport that is tried.
pub type Layer = Arc<dyn Fn(Box<dyn Transport>) -> Connecting + Send + Sync>;

impl<F> Connector for F
where
    F: Fn(&Target, &Arc<dyn Runtime>) -> Connecting + Send + Sync + 'static,
{
    fn connect(&self, target: &Target, runtime: &Arc<dyn Runtime>) -> Connecting {
        self(target, runtime)
    }
}
