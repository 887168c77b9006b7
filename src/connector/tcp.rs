mod race;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use self::race::Race;
use super::{Connector, Layer, Target};
use crate::runtime::{Runtime, TcpOptions};
use crate::transport::{Connecting, Transport};

/// TCP, by the sockets of the [runtime](crate::runtime) that the driver runs on.
///
/// The host name is resolved afresh for every attempt, and its addresses are tried in the manner of
/// RFC 8305: in an order that differs from client to client, beginning with another one each time, IPv4
/// and IPv6 in turn, and each 250 ms after the one before it or as soon as that has failed; where there
/// is no time for that, they share equally what there is. Those that let an earlier attempt connect and
/// then failed it come last, and only a second after the one before them, so that they do not win again.
/// The first that answers is taken, and an error names all of them with their causes. Small writes are not
/// delayed (`TCP_NODELAY`), and idle connections are kept alive.
#[derive(Clone, Debug, Default)]
pub struct TcpConnector {
    options: TcpOptions,
}

impl TcpConnector {
    /// How long a connection is idle before the first keep-alive probe, and the time between probes, in
    /// whole seconds (a fraction counts as one); zero is no keep-alive. 30 s by default.
    #[must_use]
    pub fn keepalive(mut self, keepalive: Duration) -> Self {
        self.options.keepalive = keepalive;
        self
    }

    /// Connects whether or not the target asks for TLS, which is a layer on top. What has not answered
    /// there has not answered.
    async fn connect_tcp(
        self,
        target: Target,
        runtime: Arc<dyn Runtime>,
        layer: Option<Layer>,
    ) -> io::Result<Box<dyn Transport>> {
        let Target { host, port, .. } = &target;
        let began = runtime.now();
        let mut addresses = match host.parse::<IpAddr>() {
            Ok(address) => vec![SocketAddr::new(address, *port)],
            Err(_) => (runtime.resolve(host, *port).await)
                .map_err(|error| io::Error::new(error.kind(), format!("{host}: {error}")))?,
        };
        put_in_order(&mut addresses, target.seed, target.attempt);
        put_failed_last(&mut addresses, &target.failed);
        target.progress.found(&addresses);
        let spent = runtime.now().saturating_duration_since(began);
        let race = Race {
            runtime: &runtime,
            options: self.options,
            time: target.timeout.saturating_sub(spent),
            failed: &target.failed,
            progress: &target.progress,
            layer: layer.as_ref(),
        };
        (race.first_to_answer(addresses).await)
            .map_err(|failures| unreachable(host, *port, failures))
    }
}

impl TcpConnector {
    /// Whoever brings TLS says by the target that it is not for this connector any more: a layer may be another one.
    fn begin(
        &self,
        target: &Target,
        runtime: &Arc<dyn Runtime>,
        layer: Option<Layer>,
    ) -> Connecting {
        if target.tls {
            let error =
                "amqps needs the feature \"tls\" or \"tls-aws-lc-rs\", or a connector of your own";
            return Box::pin(std::future::ready(Err(io::Error::new(
                io::ErrorKind::Unsupported,
                error,
            ))));
        }
        let (target, runtime) = (target.clone(), Arc::clone(runtime));
        Box::pin(self.clone().connect_tcp(target, runtime, layer))
    }
}

impl Connector for TcpConnector {
    fn connect(&self, target: &Target, runtime: &Arc<dyn Runtime>) -> Connecting {
        self.begin(target, runtime, None)
    }

    fn connect_with_layer(
        &self,
        target: &Target,
        runtime: &Arc<dyn Runtime>,
        layer: Layer,
    ) -> Connecting {
        self.begin(target, runtime, Some(layer))
    }
}

/// No address of a host could be connected to: which they are, and why.
fn unreachable(host: &str, port: u16, mut failures: Vec<(SocketAddr, io::Error)>) -> io::Error {
    let tried = failures
        .iter()
        .map(|(address, error)| format!("{address}: {error}"));
    let tried = tried.collect::<Vec<_>>().join(", ");
    let Some((_, last)) = failures.pop() else {
        let text = format!("{host}: the name has no address");
        return io::Error::new(io::ErrorKind::NotFound, text);
    };
    let text = match host.parse::<IpAddr>() {
        Ok(_) => tried,
        Err(_) => format!("{host}:{port} ({tried})"),
    };
    io::Error::new(last.kind(), Unreachable { text, last })
}

#[derive(Debug, thiserror::Error)]
#[error("{text}")]
struct Unreachable {
    text: String,
    #[source]
    last: io::Error,
}

/// Puts the addresses of a host into the order in which this attempt tries them (fault 37).
///
/// Servers of names may answer in another order each time, so what is shuffled is sorted first: one
/// attempt after the other then begins with each of the addresses, whatever the answers were.
fn put_in_order(addresses: &mut Vec<SocketAddr>, seed: u64, attempt: u32) {
    let mut random = fastrand::Rng::with_seed(seed);
    // The system knows which of IPv4 and IPv6 is likely to work, and names that first.
    let first_is_ipv4 = addresses.first().is_some_and(SocketAddr::is_ipv4);
    let (mut first, mut other): (Vec<_>, Vec<_>) =
        (addresses.drain(..)).partition(|address| address.is_ipv4() == first_is_ipv4);
    for family in [&mut first, &mut other] {
        family.sort_unstable();
        random.shuffle(family);
    }
    // In turn, so that a family that does not work costs one attempt (RFC 8305 §4).
    let (mut first, mut other) = (first.into_iter(), other.into_iter());
    while first.len() + other.len() > 0 {
        addresses.extend(first.next());
        addresses.extend(other.next());
    }
    if !addresses.is_empty() {
        let first = attempt.saturating_sub(1) as usize % addresses.len();
        addresses.rotate_left(first);
    }
}

/// Those at which earlier attempts have failed come after all others, the last of them last.
fn put_failed_last(addresses: &mut [SocketAddr], failed: &[SocketAddr]) {
    addresses.sort_by_key(|address| failed.iter().rposition(|it| it == address));
}

#[cfg(all(test, feature = "testing", not(snowshoe_loom)))]
mod tests;
