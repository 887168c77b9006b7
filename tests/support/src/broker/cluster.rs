//! Three nodes that are one broker, for tests of quorum queues and of clients with several hosts.

use std::ffi::OsStr;
use std::thread;
use std::time::{Duration, Instant};

use super::{Admin, Node, host, script};

/// A quorum queue that dead-letters at least once hands over again what the other queue has not confirmed, since that one's
/// leader died. By default it waits for 3 minutes before.
const HANDS_OVER_AGAIN: &str = "{dead_letter_worker_publisher_confirm_timeout, 3000}";

/// With fewer nodes, none could fail: a quorum queue needs more than half of its members.
const NODES: usize = 3;

/// How long a cluster may take to agree on something. It is generous: it only matters where
/// something is wrong.
const PATIENCE: Duration = Duration::from_secs(120);

/// How often a cluster is asked whether it agrees.
const POLL: Duration = Duration::from_millis(50);

/// A cluster of three nodes on this machine. It ends as its [nodes](Node) do.
#[derive(Debug)]
pub struct Cluster {
    nodes: Vec<Node>,
    /// What the nodes call themselves, in the same order.
    names: Vec<String>,
}

impl Cluster {
    /// Starts a new cluster, and waits until all nodes are in it.
    pub fn start() -> Self {
        let nodes = NODES.to_string();
        let dirs = script(["cluster", &nodes, HANDS_OVER_AGAIN].map(OsStr::new));
        let mut nodes: Vec<Node> = dirs.lines().map(Node::in_dir).collect();
        // One after the other, since each joins those before it.
        nodes.iter_mut().for_each(Node::start_again);
        let name = |node: &Node| node.admin().eval("node()");
        let names = nodes.iter().map(name).collect();
        let cluster = Self { nodes, names };
        cluster.wait_until_complete();
        cluster
    }

    /// One URI with all nodes as its hosts.
    pub fn url(&self) -> String {
        let urls: Vec<String> = self.nodes.iter().map(Node::url).collect();
        let hosts: Vec<&str> = urls.iter().map(|url| host(url)).collect();
        urls[0].replace(hosts[0], &hosts.join(","))
    }

    /// How many nodes the cluster has, those that are down included.
    pub fn size(&self) -> usize {
        self.nodes.len()
    }

    /// One of the nodes.
    pub fn node(&self, index: usize) -> &Node {
        &self.nodes[index]
    }

    /// The administration of a node that runs.
    pub fn admin(&self) -> &Admin {
        let running = self.nodes.iter().find(|node| node.runs());
        running.expect("a node runs").admin()
    }

    /// Kills a node with SIGKILL, as when its machine fails.
    pub fn kill(&mut self, index: usize) {
        self.nodes[index].kill();
    }

    /// Starts a node after [`Cluster::kill`], and waits until it is in the cluster again.
    pub fn start_again(&mut self, index: usize) {
        self.nodes[index].start_again();
        self.wait_until_complete();
    }

    /// The node with the leader of a quorum queue. If there is none, waits until a quorum has
    /// elected one.
    pub fn leader_of(&self, queue: &str) -> usize {
        let ask = format!(
            "{}, case ra:members({{Name, node()}}, 5000) of {{ok, _, {{_, Leader}}}} -> Leader; \
             _ -> none end",
            raft_name(queue)
        );
        let mut leaders = vec![];
        wait_until("the queue has a leader", || {
            leaders = self.indices(&self.admin().eval(&ask));
            !leaders.is_empty()
        });
        leaders[0]
    }

    /// Waits until a quorum queue has a member on every node, one of which leads the others.
    pub fn wait_until_replicated(&self, queue: &str) {
        let states = format!(
            "States = [proplists:get_value(<<\"Raft State\">>, Member) || \
             Member <- rabbit_quorum_queue:status(<<\"/\">>, <<{queue:?}>>)]"
        );
        let follow = vec!["follower"; self.size() - 1].join(", ");
        let ask = format!("{states}, lists:sort(States) =:= [{follow}, leader]");
        wait_until("the queue is everywhere", || {
            self.admin().eval(&ask) == "true"
        });
    }

    /// How many messages a quorum queue holds, delivered and not acknowledged ones included.
    pub fn messages_in(&self, queue: &str) -> u64 {
        self.admin().messages_in_quorum(queue)
    }

    /// The nodes that the connections of clients with this name are on. One that is in its handshake has no
    /// properties yet, and so no name.
    pub fn nodes_of(&self, client: &str) -> Vec<usize> {
        self.indices(&self.admin().eval(&format!(
            "[node(Pid) || Pid <- rabbit_networking:connections(), \
             [{{_, Properties}}] <- [catch rabbit_reader:info(Pid, [client_properties])], \
             is_list(Properties), \
             {{<<\"connection_name\">>, _, Name}} <- Properties, \
             lists:member(Name, [<<{client:?}>>, <<\"{client} (publishing)\">>, \
             <<\"{client} (dedicated)\">>])]"
        )))
    }

    /// The nodes named in what an evaluation printed, in that order.
    fn indices(&self, printed: &str) -> Vec<usize> {
        let quoted = |part: &str| {
            self.names
                .iter()
                .position(|name| name.trim_matches('\'') == part)
        };
        printed.split('\'').filter_map(quoted).collect()
    }

    /// Waits until all nodes run and know each other.
    pub fn wait_until_complete(&self) {
        let all = self.size().to_string();
        for node in &self.nodes {
            wait_until("all nodes are in the cluster", || {
                node.admin().eval("length(rabbit_nodes:all_running())") == all
            });
        }
    }
}

impl Admin {
    /// How many messages a quorum queue holds, delivered and not acknowledged ones included. What
    /// `rabbitmqctl` says of that is seconds old. RabbitMQ 4.3 takes no fun in the place of the name of a
    /// function.
    pub fn messages_in_quorum(&self, queue: &str) -> u64 {
        let ask = format!(
            "{}, {{ok, {{_, Found}}, _}} = \
             ra:leader_query({{Name, node()}}, {{rabbit_fifo, overview, []}}), \
             maps:get(num_ready_messages, Found) + maps:get(num_checked_out, Found)",
            raft_name(queue)
        );
        let count = self.eval(&ask);
        count.parse().expect("a count is a number")
    }
}

/// Binds `Name` to what a quorum queue is called among its members.
fn raft_name(queue: &str) -> String {
    format!(
        "{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<{queue:?}>>)), \
         {{Name, _}} = amqqueue:get_pid(Queue)"
    )
}

fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(POLL);
    }
}
