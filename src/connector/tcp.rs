use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use super::{Connector, Target};
use crate::runtime::{Runtime, TcpOptions};
use crate::transport::{Connecting, Transport};

/// TCP, by the sockets of the [runtime](crate::runtime) that the driver runs on.
///
/// The host name is resolved afresh for every attempt, and its addresses are tried in turn, in an
/// order that differs from client to client, and beginning with another one each time. IPv4 and IPv6
/// come in the order that the system prefers. Small writes are not delayed (`TCP_NODELAY`), and idle
/// connections are kept alive.
#[derive(Clone, Debug)]
pub struct TcpConnector {
    /// How long a connection is idle before the first keep-alive probe, and the time between probes, in
    /// whole seconds (a fraction counts as one); zero is no keep-alive. 30 s by default.
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
    /// Connects whether or not the target asks for TLS, which is then to be put on top.
    pub(super) async fn connect_tcp(
        self,
        target: Target,
        runtime: Arc<dyn Runtime>,
    ) -> io::Result<Box<dyn Transport>> {
        let Target {
            host,
            port,
            attempt,
            seed,
            ..
        } = target;
        let mut addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, port)],
            Err(_) => runtime.resolve(&host, port).await?,
        };
        put_in_order(&mut addresses, seed, attempt);
        let options = TcpOptions::new(self.keepalive);
        let mut last_error =
            io::Error::new(io::ErrorKind::NotFound, "the host name has no address");
        for address in addresses {
            match runtime.connect(address, options).await {
                Ok(transport) => return Ok(transport),
                Err(error) => last_error = error,
            }
        }
        Err(last_error)
    }
}

impl Connector for TcpConnector {
    fn connect(&self, target: &Target, runtime: &Arc<dyn Runtime>) -> Connecting {
        if target.tls {
            let error = "amqps needs the feature \"tls\", or a connector of your own";
            return Box::pin(std::future::ready(Err(io::Error::new(
                io::ErrorKind::Unsupported,
                error,
            ))));
        }
        let (target, runtime) = (target.clone(), Arc::clone(runtime));
        Box::pin(self.clone().connect_tcp(target, runtime))
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

#[cfg(all(test, not(snowshoe_loom)))]
mod tests;
