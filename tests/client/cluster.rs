//! A client of a cluster has several hosts to choose from, and the loss of any of them, and of the
//! leader of its quorum queue, costs nothing that was confirmed.

use std::io::Read as _;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_io::block_on;
use snowshoe::{
    Client, ConnectionErrorReason, ConnectionRole, Event, Phase, Queue, Unconfirmed,
    UnconfirmedReason,
};
use support::broker::cluster::Cluster;
use support::broker::{begin_handshake, host, version_of};
use support::client::{builder, connect};
use support::events::{next_event, recovered};
use support::executor;
use support::ledger::Published;
use support::waiting::{run, wait_until, within};
use support::workload::Workload;

/// How many messages are published around each killing.
const BATCH: u64 = 6_000;

/// Runs a test on the cluster that the tests of this module share, one after the other: they kill its
/// nodes, and starting one takes a while.
fn on_cluster(test: impl FnOnce(&mut Cluster)) {
    static CLUSTER: Mutex<Option<Cluster>> = Mutex::new(None);
    let mut shared = CLUSTER.lock().unwrap_or_else(PoisonError::into_inner);
    let mut cluster = shared.take().unwrap_or_else(Cluster::start);
    test(&mut cluster);
    // A test that fails ends the cluster, whatever state it has left it in. Otherwise it ends with
    // the process. Until then it takes next to no time, for nobody asks it for anything.
    *shared = Some(cluster);
}

/// A workload on a quorum queue, on a cluster where nodes die.
struct Scene<'c> {
    cluster: &'c mut Cluster,
    queue: &'static str,
    workload: Workload,
}

impl<'c> Scene<'c> {
    fn set(cluster: &'c mut Cluster, queue: &'static str) -> Self {
        let url = cluster.url();
        run(async {
            let client = connect(&url).await;
            // Else the broker gives newer messages to a consumer that returns before it has noticed
            // the death of the consumer's last node, and that one's after them.
            let queue = Queue::quorum(queue).single_active_consumer();
            client.declare(queue).await.expect("all nodes are there");
            client.close().await;
        });
        cluster.wait_until_replicated(queue);
        let workload = Workload::start_with(builder(&url).name(queue).unwrap(), queue);
        workload.wait_for_both_connections();
        Self {
            cluster,
            queue,
            workload,
        }
    }

    /// The nodes that the client's two connections are on.
    fn nodes_of_client(&self) -> Vec<usize> {
        let nodes = self.cluster.nodes_of(self.queue);
        assert_eq!(
            nodes.len(),
            2,
            "one to publish, one for the rest: {nodes:?}"
        );
        nodes
    }

    fn leader(&self) -> usize {
        self.cluster.leader_of(self.queue)
    }

    /// Kills a node while messages come and go, and shows that they do so without it.
    fn kill(&mut self, node: usize) {
        let nodes = self.nodes_of_client();
        eprintln!(
            "killing node {node}; the client is on {nodes:?}, the leader on {}",
            self.leader()
        );
        let Self {
            cluster,
            queue,
            workload,
        } = self;
        workload.publish(BATCH);
        workload.wait_for_new(BATCH / 3);
        let lost = nodes.iter().filter(|&&on| on == node).count();
        workload.outage_of(lost, || {
            cluster.kill(node);
            cluster.leader_of(queue);
        });
        workload.wait_for_all();

        let nodes = self.nodes_of_client();
        assert!(!nodes.contains(&node), "it has moved on: {nodes:?}");
        assert_ne!(self.leader(), node);
    }

    fn start_again(&mut self, node: usize) {
        self.cluster.start_again(node);
        self.cluster.wait_until_replicated(self.queue);
    }

    /// Publishes some more, and shows that all promises were kept.
    fn end(mut self) {
        self.workload.publish(BATCH);
        let is_empty = || self.cluster.messages_in(self.queue) == 0;
        let ledger = self.workload.finish(is_empty);
        let duplicates = ledger.duplicates();
        eprintln!(
            "{} refused, {duplicates:?}, {} stale settles",
            ledger.unconfirmed().len(),
            ledger.stale()
        );
        assert!(ledger.published.iter().all(was_taken_or_refused));
        assert_eq!(ledger.lost(), Vec::<usize>::new());
        assert_eq!(ledger.reordered(), Vec::<u64>::new());
        assert_eq!(duplicates.unexplained, Vec::<u64>::new());
    }
}

/// A message that is the first of its channel is refused where the leader of its queue is gone and
/// no other is elected yet: it is the broker that gives up, and it says so.
fn was_taken_or_refused(message: &Published) -> bool {
    matches!(
        message.outcome,
        Ok(())
            | Err(Unconfirmed {
                reason: UnconfirmedReason::Nacked,
                ..
            })
    )
}

#[test]
fn a_client_moves_on_when_its_node_is_killed() {
    on_cluster(|cluster| {
        let mut scene = Scene::set(cluster, "the client's node");
        let node = scene.nodes_of_client()[0];
        scene.kill(node);
        scene.start_again(node);
        scene.end();
    });
}

#[test]
fn a_killed_leader_of_a_queue_costs_no_confirmed_message_and_no_order() {
    on_cluster(|cluster| {
        let mut scene = Scene::set(cluster, "the leader's node");
        let leader = scene.leader();
        scene.kill(leader);
        scene.start_again(leader);
        scene.end();
    });
}

#[test]
fn nodes_killed_one_after_the_other_cost_no_confirmed_message_and_no_order() {
    on_cluster(|cluster| {
        let mut scene = Scene::set(cluster, "each node in turn");
        for node in 0..scene.cluster.size() {
            scene.kill(node);
            scene.start_again(node);
        }
        scene.end();
    });
}

#[test]
fn a_producer_made_after_the_election_is_not_refused() {
    const QUEUE: &str = "an election";
    on_cluster(|cluster| {
        let url = cluster.url();
        let client = block_on(connect(&url));
        block_on(client.declare(Queue::quorum(QUEUE))).expect("all nodes are there");
        cluster.wait_until_replicated(QUEUE);
        let leader = cluster.leader_of(QUEUE);
        cluster.kill(leader);
        let other = (leader + 1) % cluster.size();
        let client = block_on(connect(&cluster.node(other).url()));
        // Those that come too early would be refused until the dead node is back.
        wait_until("a new producer is not refused", || {
            let producer = client.producer(QUEUE).expect("the name is short").build();
            block_on(producer.send("a vote")).is_ok()
        });
        cluster.start_again(leader);
    });
}

/// RabbitMQ 4.3 keeps what is declared in Khepri alone, which needs a majority of the nodes.
#[test]
fn a_client_leaves_a_node_in_a_minority_that_answers_no_declaration() {
    const NAME: &str = "in a minority";
    const PATIENCE: Duration = Duration::from_secs(2);

    on_cluster(|cluster| {
        let version = version_of(&cluster.node(0).url());
        if version < (4, 3) {
            eprintln!("{version} keeps what is declared in Mnesia, which asks no majority");
            return;
        }
        run(async {
            let builder = builder(&cluster.url())
                .name(NAME)
                .unwrap()
                .heartbeat(Duration::from_secs(1))
                .handshake_timeout(PATIENCE)
                .call_timeout(PATIENCE);
            let client = executor::connect(builder).await;
            let client = client.expect("all nodes are there");
            let mut events = client.events();
            // It goes with its connection, and so is made anew.
            let queue = client.declare(Queue::server_named()).await;
            queue.expect("all nodes are there");
            let on = cluster.nodes_of(NAME)[0];
            let minority = (on + 1) % cluster.size();
            let others: Vec<_> = (0..cluster.size()).filter(|it| *it != minority).collect();
            for &other in &others {
                cluster.node(other).suspend();
            }
            let address = host(&cluster.node(minority).url()).to_owned();
            // The broker is left for the next, and that again for it.
            for _ in 0..2 {
                next_event(&mut events, "the end of a recovery", |event| {
                    failed(event).is_some_and(|(peer, reason)| {
                        peer == address
                            && matches!(reason, ConnectionErrorReason::Timeout(Phase::Recovery))
                    })
                })
                .await;
                next_event(&mut events, "an attempt at another node", |event| {
                    failed(event).is_some_and(|(peer, _)| peer != address)
                })
                .await;
            }
            for &other in &others {
                cluster.node(other).resume();
            }
            recovered(&mut events, ConnectionRole::Main).await;
            let declare = || client.declare(Queue::server_named());
            // An election may take longer than the patience above.
            while within("an answer", declare()).await.is_err() {}
            client.close().await;
        });
        cluster.wait_until_complete();
    });
}

/// Which host an attempt was at, and why it has failed.
fn failed(event: &Event) -> Option<(String, &ConnectionErrorReason)> {
    match event {
        Event::Disconnected { cause, .. } => {
            let peer = cause.peer.as_ref()?;
            Some((peer.endpoint.to_string(), &cause.reason))
        }
        _ => None,
    }
}

// fault 37
#[test]
fn clients_spread_over_the_nodes_and_over_those_that_are_left() {
    const NAME: &str = "one of many";
    const CLIENTS: u64 = 24;

    on_cluster(|cluster| {
        let url = cluster.url();
        let connect = |seed| executor::connect(builder(&url).name(NAME).unwrap().seed(seed));
        let clients: Vec<Client> = (0..CLIENTS)
            .map(|seed| block_on(connect(seed)).expect("all nodes are there"))
            .collect();
        // Has no properties yet, as any connection for a moment.
        let mut in_handshake = begin_handshake(&cluster.node(1).url());
        in_handshake.read_exact(&mut [0]).expect("it is greeted");
        let before = clients_by_node(cluster, NAME);
        assert!(before.iter().all(|&clients| clients >= 4), "{before:?}");

        cluster.kill(0);
        let mut after = vec![];
        wait_until("all clients are back", || {
            after = clients_by_node(cluster, NAME);
            after.iter().sum::<usize>() == clients.len()
        });
        assert_eq!(after[0], 0);
        assert!(
            after[1] > before[1] && after[2] > before[2],
            "{before:?}, {after:?}"
        );

        for client in clients {
            block_on(client.close());
        }
        cluster.start_again(0);
    });
}

fn clients_by_node(cluster: &Cluster, connection_name: &str) -> Vec<usize> {
    let mut clients = vec![0; cluster.size()];
    for node in cluster.nodes_of(connection_name) {
        clients[node] += 1;
    }
    clients
}
