use std::future::Future;
use std::io;
use std::net::{SocketAddr, TcpStream, ToSocketAddrs};
use std::pin::Pin;
#[cfg(feature = "tls")]
use std::sync::Arc;
use std::time::Duration;

use async_io::Async;
use futures_lite::{AsyncRead, AsyncWrite};
use socket2::{SockRef, TcpKeepalive};

#[cfg(feature = "tokio")]
use crate::on_tokio;
use crate::reactor;

/// Where to connect to.
///
/// A connector that goes somewhere else had better change the one that it is given than make one of
/// its own: it also knows whose sockets the client is to use.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub struct Target {
    /// Host name or address.
    pub host: String,
    /// Port.
    pub port: u16,
    /// Whether the URI asks for TLS (`amqps`).
    pub tls: bool,
    /// The how-manieth attempt in a row this is, from 1: a connector that finds several addresses
    /// for the host can begin with another one each time.
    pub attempt: u32,
    /// A number of the client's own, see [`ClientBuilder::seed`](crate::ClientBuilder::seed): clients
    /// of one host name spread over its addresses if each takes them in an order of its own.
    pub seed: u64,
    pub(crate) sockets: Sockets,
}

/// Whose sockets TCP connections are made of.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub(crate) enum Sockets {
    /// Those that work wherever a driver is polled.
    #[default]
    Anywhere,
    /// Those of the runtime in which it is polled.
    #[cfg(feature = "tokio")]
    Tokio,
}

impl Target {
    /// A first attempt at a host without TLS.
    pub fn new(host: impl Into<String>, port: u16) -> Self {
        Self {
            host: host.into(),
            port,
            tls: false,
            attempt: 1,
            seed: 0,
            sockets: Sockets::default(),
        }
    }
}

/// A byte stream to a broker.
///
/// Anything that reads, writes and can be sent between threads is a transport if it says so:
///
/// ```
/// # use std::{io, pin::Pin, task::{Context, Poll}};
/// # use futures_lite::{AsyncRead, AsyncWrite};
/// struct MyStream { /* … */ }
/// # impl AsyncRead for MyStream {
/// #     fn poll_read(self: Pin<&mut Self>, _: &mut Context<'_>, _: &mut [u8]) -> Poll<io::Result<usize>> { Poll::Pending }
/// # }
/// # impl AsyncWrite for MyStream {
/// #     fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, _: &[u8]) -> Poll<io::Result<usize>> { Poll::Pending }
/// #     fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Pending }
/// #     fn poll_close(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> { Poll::Pending }
/// # }
/// impl snowshoe::Transport for MyStream {}
/// ```
pub trait Transport: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes the end of the stream, which is about to be dropped, a reset instead of an orderly
    /// one.
    ///
    /// A broker that finds an orderly end behind publishes it has not read yet still takes them,
    /// and the client, which could not know, sends them again. The default does nothing.
    fn prepare_abort(&mut self) {}
}

impl Transport for Box<dyn Transport> {
    fn prepare_abort(&mut self) {
        (**self).prepare_abort();
    }
}

/// The future of a connection attempt.
pub type Connecting = Pin<Box<dyn Future<Output = io::Result<Box<dyn Transport>>> + Send>>;

/// Makes transports: the way to bring TLS, a proxy, or another runtime's streams.
///
/// The default is [`TcpConnector`]. A closure is a connector:
///
/// ```no_run
/// use snowshoe::{Client, Target, Transport, TcpConnector, Connector};
///
/// let through_jump_host = |target: &Target| {
///     let mut target = target.clone();
///     target.host = "jump.example.com".to_owned();
///     TcpConnector::default().connect(&target)
/// };
/// let (client, driver) = Client::builder("amqp://broker.internal")?
///     .connector(through_jump_host)
///     .build();
/// # Ok::<(), snowshoe::Error>(())
/// ```
pub trait Connector: Send + Sync + 'static {
    /// Begins to connect. The future is dropped if it takes longer than the connection timeout.
    fn connect(&self, target: &Target) -> Connecting;
}

impl<F> Connector for F
where
    F: Fn(&Target) -> Connecting + Send + Sync + 'static,
{
    fn connect(&self, target: &Target) -> Connecting {
        self(target)
    }
}

/// TCP, on any executor: through `async-io`, through the reactor of the thread that
/// [`Client::connect`](crate::Client::connect) gives a driver, or through tokio where the client is
/// for that (feature `tokio`).
///
/// The host name is resolved afresh for every attempt, and its addresses are tried in turn, in an
/// order that differs from client to client, and beginning with another one each time. IPv4 and IPv6
/// come in the order that the system prefers. Small writes are not delayed (`TCP_NODELAY`), and idle
/// connections are kept alive.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    /// How long a connection is idle before the first keep-alive probe, and the time between
    /// probes. 30 s by default.
    pub keepalive: Duration,
}

impl Default for TcpConnector {
    fn default() -> Self {
        Self {
            keepalive: Duration::from_secs(30),
        }
    }
}

impl TcpConnector {
    pub(crate) async fn connect_tcp(self, target: Target) -> io::Result<Box<dyn Transport>> {
        let Target {
            host,
            port,
            attempt,
            seed,
            sockets,
            ..
        } = target;
        // The system's resolver blocks.
        let mut addresses: Vec<SocketAddr> = blocking::unblock(move || {
            Ok::<_, io::Error>((host.as_str(), port).to_socket_addrs()?.collect())
        })
        .await?;
        put_in_order(&mut addresses, seed, attempt);
        let mut last_error =
            io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
        for address in addresses {
            match self.connect_to(address, sockets).await {
                Ok(transport) => return Ok(transport),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }

    async fn connect_to(
        &self,
        address: SocketAddr,
        sockets: Sockets,
    ) -> io::Result<Box<dyn Transport>> {
        match sockets {
            #[cfg(feature = "tokio")]
            Sockets::Tokio => {
                let socket = on_tokio::Socket::connect(address).await?;
                self.configure(&socket.options())?;
                Ok(Box::new(socket))
            }
            Sockets::Anywhere => {
                if let Some(reactor) = reactor::Handle::current() {
                    let socket = reactor.connect(address).await?;
                    self.configure(&socket.options())?;
                    return Ok(Box::new(socket));
                }
                let stream = Async::<TcpStream>::connect(address).await?;
                self.configure(&SockRef::from(stream.get_ref()))?;
                Ok(Box::new(stream))
            }
        }
    }

    fn configure(&self, socket: &SockRef<'_>) -> io::Result<()> {
        socket.set_tcp_nodelay(true)?;
        let keepalive = TcpKeepalive::new()
            .with_time(self.keepalive)
            .with_interval(self.keepalive);
        socket.set_tcp_keepalive(&keepalive)
    }
}

impl Connector for TcpConnector {
    fn connect(&self, target: &Target) -> Connecting {
        if target.tls {
            let error = "amqps needs the feature \"tls\", or a connector of your own";
            return Box::pin(std::future::ready(Err(io::Error::new(
                io::ErrorKind::Unsupported,
                error,
            ))));
        }
        Box::pin(self.clone().connect_tcp(target.clone()))
    }
}

/// What a client connects by unless it is told otherwise: TCP, and TLS where the URI asks for it and
/// the feature is there.
#[derive(Debug, Default)]
pub(crate) struct DefaultConnector {
    tcp: TcpConnector,
    /// Made when it is first needed: reading the system's certificates takes time and can fail.
    #[cfg(feature = "tls")]
    tls: Arc<async_lock::OnceCell<crate::tls::TlsConnector>>,
}

impl Connector for DefaultConnector {
    fn connect(&self, target: &Target) -> Connecting {
        #[cfg(feature = "tls")]
        if target.tls {
            let (tls, target) = (Arc::clone(&self.tls), target.clone());
            return Box::pin(async move {
                let load = || blocking::unblock(crate::tls::TlsConnector::with_system_certificates);
                tls.get_or_try_init(load).await?.connect(&target).await
            });
        }
        self.tcp.connect(target)
    }
}

/// Puts the addresses of a host into the order in which this attempt tries them (fault 37).
///
/// Servers of names may answer in another order each time, so what is shuffled is sorted first: one
/// attempt after the other then begins with each of the addresses, whatever the answers were.
fn put_in_order(addresses: &mut [SocketAddr], seed: u64, attempt: u32) {
    let mut random = fastrand::Rng::with_seed(seed);
    // The system knows which of IPv4 and IPv6 is likely to work, and names that first.
    for family in addresses.chunk_by_mut(|a, b| a.is_ipv4() == b.is_ipv4()) {
        family.sort_unstable();
        random.shuffle(family);
    }
    if !addresses.is_empty() {
        let first = attempt.saturating_sub(1) as usize % addresses.len();
        addresses.rotate_left(first);
    }
}

/// With nothing to linger for, closing resets. Where that fails, an orderly end must do.
pub(crate) fn reset_when_closed(socket: &SockRef<'_>) {
    _ = socket.set_linger(Some(Duration::ZERO));
}

impl Transport for Async<TcpStream> {
    fn prepare_abort(&mut self) {
        reset_when_closed(&SockRef::from(self.get_ref()));
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests;
