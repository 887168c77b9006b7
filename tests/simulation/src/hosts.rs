//! The hosts of a URI, of which some do not serve.

use std::future::pending;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use snowshoe::testing::{Direction, Network};
use snowshoe::{Connecting, Connector, Runtime, Target, Transport};

use crate::plan::Host;

/// Connects to the one broker that there is by whichever host serves.
#[derive(Clone)]
pub(crate) struct Hosts {
    pub(crate) network: Network,
    /// By their numbers, which are their names.
    pub(crate) hosts: Vec<Host>,
    /// Whether clients are told where they have come to.
    pub(crate) are_told: bool,
}

impl Hosts {
    /// What a URI says in the place of a host.
    pub(crate) fn names(&self) -> String {
        let names: Vec<String> = (0..)
            .zip(&self.hosts)
            .map(|(number, _)| name(number))
            .collect();
        names.join(",")
    }
}

impl Connector for Hosts {
    fn connect(&self, target: &Target, _: &Arc<dyn Runtime>) -> Connecting {
        let mut hosts = (0..).zip(&self.hosts);
        let host = hosts.find(|(number, _)| name(*number) == target.host);
        let (number, host) = host.map_or((0, Host::Refuses), |(number, host)| (number, *host));
        let network = self.network.clone();
        let progress = self.are_told.then(|| target.progress.clone());
        Box::pin(async move {
            match host {
                Host::Refuses => return Err(io::ErrorKind::ConnectionRefused.into()),
                Host::Swallows => return pending().await,
                Host::Serves | Host::Cuts | Host::IsSilent => {}
            }
            let socket = network.dial().await?;
            if let Some(progress) = progress {
                progress.reached(SocketAddr::from(([10, 0, 0, number], 5672)));
            }
            match host {
                Host::Cuts => network.reset(socket.id()),
                Host::IsSilent => network.black_hole(socket.id(), Direction::Down, None),
                Host::Serves | Host::Refuses | Host::Swallows => {}
            }
            let transport: Box<dyn Transport> = Box::new(socket);
            Ok(transport)
        })
    }
}

fn name(number: u8) -> String {
    format!("host-{number}")
}
