//! Where faults happen: one node or a cluster of three, each behind a proxy of its own.

use std::sync::atomic::Ordering;

use fastrand::Rng;
use snowshoe::Queue;
use support::broker::cluster::Cluster;
use support::broker::{Node, Version, version_of};
use support::proxy::{Links, Proxy};
use support::queues::without_delivery_limit;

use crate::lane::{self, Kills};
use crate::plan::LANES;
use crate::work::{Kind, Waits};

#[derive(Debug)]
pub(crate) struct Scene {
    brokers: Brokers,
    version: Version,
    /// One for each node.
    proxies: Vec<Proxy>,
    /// How often the one node there is was killed. What the others have, a node of a cluster does
    /// not forget.
    kills: Kills,
    /// The node that the fault in force was done to.
    chosen: usize,
    /// The one whose turn it is.
    next: usize,
}

#[derive(Debug)]
enum Brokers {
    Node(Node),
    Cluster(Cluster),
}

/// Which node a fault is done to.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Victim {
    /// The only one there is.
    Only,
    /// Each in its turn.
    Next,
    /// One that a client is connected to.
    OfClient(usize),
    /// The one with the leader of this lane's queue.
    Leader(usize),
}

impl Victim {
    /// One of a cluster.
    pub(crate) fn choose(rng: &mut Rng) -> Self {
        let which = rng.usize(..64);
        match rng.u32(..3) {
            0 => Self::Next,
            1 => Self::OfClient(which),
            _ => Self::Leader(which),
        }
    }
}

impl Scene {
    pub(crate) fn set(cluster: bool, kills: Kills) -> Self {
        let brokers = if cluster {
            Brokers::Cluster(Cluster::start())
        } else {
            Brokers::Node(Node::start())
        };
        let nodes = brokers.nodes();
        Self {
            version: version_of(&nodes[0].url()),
            proxies: nodes.iter().map(|node| Proxy::start(&node.url())).collect(),
            brokers,
            kills,
            chosen: 0,
            next: 0,
        }
    }

    /// The URI of all nodes, by way of their proxies.
    pub(crate) fn url(&self) -> String {
        let first = &self.proxies[0];
        let hosts: Vec<String> = (self.proxies.iter())
            .map(|proxy| proxy.address().to_string())
            .collect();
        first.url().replace(&hosts[0], &hosts.join(","))
    }

    /// The queue of a lane, as it is to be declared.
    pub(crate) fn queue(&self, lane: usize) -> Queue {
        let name = lane::queue(lane);
        match self.brokers {
            Brokers::Node(_) => Queue::new(name),
            // Else the broker gives newer messages to a consumer that returns before it has noticed
            // the death of the consumer's last node, and that one's after them.
            // A hundred faults give some messages back more than the 20 times that RabbitMQ 4 allows.
            Brokers::Cluster(_) => {
                let queue = Queue::quorum(name).single_active_consumer();
                without_delivery_limit(queue, &self.version)
            }
        }
    }

    /// What a worker has that retries like this.
    pub(crate) fn worker(&self, waits: Waits) -> Kind {
        let is_quorum = match self.brokers {
            // A quorum queue with one copy may have no leader any more after `stop_app` and `start_app` of RabbitMQ
            // 3.10.8, which then answers nobody there ("leader not known").
            Brokers::Node(_) => waits == Waits::InQueue && self.version >= (4, 0),
            // A classic queue is away with its node.
            Brokers::Cluster(_) => true,
        };
        Kind {
            waits,
            is_quorum,
            broker: self.version.clone(),
        }
    }

    pub(crate) fn proxies(&self) -> &[Proxy] {
        &self.proxies
    }

    /// The open connections, each by itself.
    pub(crate) fn open_links(&self) -> Vec<Links<'_>> {
        let open = |proxy: &Proxy| {
            let links = proxy.stats().links.into_iter().enumerate();
            links.filter_map(|(number, link)| link.open.then_some(number))
        };
        (self.proxies.iter())
            .flat_map(|proxy| open(proxy).map(|number| proxy.link(number)))
            .collect()
    }

    pub(crate) fn nodes(&self) -> Vec<&Node> {
        self.brokers.nodes()
    }

    /// Takes the node that a fault is done to.
    pub(crate) fn choose(&mut self, victim: Victim) -> &Node {
        self.chosen = self.find(victim);
        self.chosen()
    }

    /// The node that was taken last.
    pub(crate) fn chosen(&self) -> &Node {
        self.nodes()[self.chosen]
    }

    pub(crate) fn kill(&mut self, victim: Victim) {
        self.chosen = self.find(victim);
        match &mut self.brokers {
            Brokers::Node(node) => node.kill(),
            Brokers::Cluster(cluster) => cluster.kill(self.chosen),
        }
    }

    /// Starts the node that was killed.
    pub(crate) fn start_again(&mut self) {
        match &mut self.brokers {
            Brokers::Node(node) => {
                // What the killed node delivered has arrived by now.
                self.kills.fetch_add(1, Ordering::SeqCst);
                node.start_again();
            }
            Brokers::Cluster(cluster) => cluster.start_again(self.chosen),
        }
    }

    /// Waits until a node that was started knows the others.
    pub(crate) fn wait_until_whole(&self) {
        if let Brokers::Cluster(cluster) = &self.brokers {
            cluster.wait_until_complete();
        }
    }

    /// Waits until every node has a copy of a queue.
    pub(crate) fn wait_until_replicated(&self, queue: &str) {
        if let Brokers::Cluster(cluster) = &self.brokers {
            cluster.wait_until_replicated(queue);
        }
    }

    fn find(&mut self, victim: Victim) -> usize {
        let Brokers::Cluster(cluster) = &self.brokers else {
            return 0;
        };
        match victim {
            Victim::Only => 0,
            Victim::Next => {
                self.next = (self.next + 1) % cluster.size();
                self.next
            }
            Victim::OfClient(which) => {
                let in_use = |proxy: &Proxy| proxy.stats().open() > 0;
                let used: Vec<usize> = (0..cluster.size())
                    .filter(|&node| in_use(&self.proxies[node]))
                    .collect();
                // Where nobody is connected at the moment, any will do.
                *used.get(which % used.len().max(1)).unwrap_or(&0)
            }
            Victim::Leader(which) => cluster.leader_of(&lane::queue(which % LANES)),
        }
    }
}

impl Brokers {
    fn nodes(&self) -> Vec<&Node> {
        match self {
            Self::Node(node) => vec![node],
            Self::Cluster(cluster) => (0..cluster.size()).map(|it| cluster.node(it)).collect(),
        }
    }
}
