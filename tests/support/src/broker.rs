//! Real RabbitMQ nodes, alone or as a [cluster](cluster::Cluster).
//!
//! A test that is content with any broker takes [`url`], the one of `tests/with-broker`. A test
//! that kills, stops or partitions starts its own [`Node`], and so does one that administers what
//! others would notice, such as an alarm. Neither is ever skipped: without a broker they fail and
//! say why. Where releases differ, [`version`] tells which one it is.

pub mod cluster;
mod version;

use std::ffi::OsStr;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpStream;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};

pub use self::version::{Version, is_since, version, version_of};

/// The script that makes, runs and drives nodes; everything that is particular to RabbitMQ is
/// written there.
const SCRIPT: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/node");

/// Starting takes two to four seconds on two cores, and longer where many tests start one at once.
const START_TIMEOUT: Duration = Duration::from_secs(180);

/// The URI of the broker that the tests share.
pub fn url() -> String {
    std::env::var("AMQP_URL").unwrap_or_else(|_| {
        panic!("this test needs a broker: run `tests/with-broker cargo test`, or set AMQP_URL")
    })
}

/// The administration of the broker that the tests share. What a test does with it must not disturb
/// the others.
pub fn admin() -> Admin {
    let dir = std::env::var_os("SNOWSHOE_NODE").unwrap_or_else(|| {
        panic!(
            "this test administers its broker: run `tests/with-broker cargo test`, AMQP_URL unset"
        )
    });
    Admin { dir: dir.into() }
}

/// The host and port of a URI.
pub fn host(url: &str) -> &str {
    let (_, rest) = url.split_once('@').expect("a node's URI names a user");
    rest.split('/')
        .next()
        .expect("splitting gives a first part")
}

/// Connects, and says what a client says first: the broker is to speak next.
pub fn begin_handshake(url: &str) -> TcpStream {
    let mut socket = TcpStream::connect(host(url)).expect("the node is there");
    socket
        .write_all(b"AMQP\0\0\x09\x01")
        .expect("the node reads");
    socket
}

/// What `rabbitmqctl` does to one node.
#[derive(Debug)]
pub struct Admin {
    dir: PathBuf,
}

impl Admin {
    /// Runs `rabbitmqctl` and returns its output. Any command goes, but each costs half a second.
    pub fn ctl(&self, arguments: &[&str]) -> String {
        self.script("ctl", arguments)
    }

    /// Evaluates an Erlang expression on the node and returns its value as Erlang prints it, within
    /// milliseconds.
    pub fn eval(&self, expression: &str) -> String {
        self.script("eval", &[expression])
    }

    /// Stops RabbitMQ but not its Erlang node, as `rabbitmqctl stop_app`. Connections are closed
    /// with 320.
    pub fn stop_app(&self) {
        self.eval("rabbit:stop()");
    }

    /// Starts RabbitMQ again after [`Admin::stop_app`].
    pub fn start_app(&self) {
        self.eval("rabbit:start()");
    }

    /// Closes every connection with 320 and this reason, as `rabbitmqctl close_all_connections`.
    pub fn close_all_connections(&self, reason: &str) {
        // One that ends of itself meanwhile is closed as well.
        let close = "catch rabbit_networking:close_connection(Pid, Reason)";
        let each = format!("lists:foreach(fun(Pid) -> {close} end");
        self.eval(&format!(
            "Reason = {reason:?}, {each}, rabbit_networking:connections())"
        ));
    }

    /// The number of open connections.
    pub fn connections(&self) -> usize {
        self.eval("length(rabbit_networking:connections())")
            .parse()
            .expect("a length is a number")
    }

    /// Raises or clears the memory alarm. While it is raised, connections that publish are blocked.
    pub fn set_memory_alarm(&self, raised: bool) {
        self.eval(if raised {
            "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []})"
        } else {
            "rabbit_alarm:clear_alarm({resource_limit, memory, node()})"
        });
    }

    /// How many messages a queue holds, delivered and not acknowledged ones included.
    pub fn messages_in(&self, queue: &str) -> u64 {
        self.count_in(queue, "messages")
    }

    /// How many messages of a queue are delivered and not acknowledged.
    pub fn unacknowledged_in(&self, queue: &str) -> u64 {
        self.count_in(queue, "messages_unacknowledged")
    }

    fn count_in(&self, queue: &str, what: &str) -> u64 {
        let lookup = format!(
            "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<{queue:?}>>))"
        );
        let count = self.eval(&format!(
            "{lookup}, [{{_, N}}] = rabbit_amqqueue:info(Q, [{what}]), N"
        ));
        count.parse().expect("a count is a number")
    }

    /// What the broker has logged about clients that broke the rules on a channel, such as acks of
    /// delivery tags that it does not know.
    pub fn channel_errors(&self) -> Vec<String> {
        let log = log(&self.dir).expect("a node has logs that can be read");
        let errors = log.lines().filter(|line| {
            line.contains("Channel error") || line.contains("caused a channel exception")
        });
        errors.map(str::to_owned).collect()
    }

    /// The directory of the node.
    pub fn dir(&self) -> &Path {
        &self.dir
    }

    fn script(&self, command: &str, arguments: &[&str]) -> String {
        script(
            [OsStr::new(command), self.dir.as_ref()]
                .into_iter()
                .chain(arguments.iter().map(OsStr::new)),
        )
    }
}

/// A RabbitMQ node that belongs to one test, with its own directory and ports; it ends when this is
/// dropped, and also when the test's process ends in any other way.
#[derive(Debug)]
pub struct Node {
    admin: Admin,
    process: Option<Child>,
}

impl Node {
    /// Starts a new node.
    pub fn start() -> Self {
        Self::start_with(&[])
    }

    /// Starts a new node with settings of the application `rabbit`, such as `{consumer_timeout,
    /// 5000}`.
    pub fn start_with(settings: &[&str]) -> Self {
        Self::start_with_plugins(&[], settings)
    }

    /// Starts a new node that has these of RabbitMQ's plugins, too.
    pub fn start_with_plugins(plugins: &[&str], settings: &[&str]) -> Self {
        let dir = script(
            [OsStr::new("new")]
                .into_iter()
                .chain(settings.iter().map(OsStr::new)),
        );
        let mut node = Self::in_dir(dir);
        let enabled = format!("[{}].\n", plugins.join(", "));
        fs::write(node.admin.dir.join("enabled_plugins"), enabled)
            .expect("the directory was made just now");
        node.start_again();
        node
    }

    /// The node of a directory that the script made. It does not run yet.
    fn in_dir(dir: impl Into<PathBuf>) -> Self {
        Self {
            admin: Admin { dir: dir.into() },
            process: None,
        }
    }

    /// The URI of this node, the same for its whole life.
    pub fn url(&self) -> String {
        self.admin.script("url", &[])
    }

    /// The administration of this node.
    pub fn admin(&self) -> &Admin {
        &self.admin
    }

    /// The process id of this node.
    pub fn id(&self) -> u32 {
        self.process().id()
    }

    /// Whether the node was started, and neither killed nor stopped since.
    pub fn runs(&self) -> bool {
        self.process.is_some()
    }

    /// Kills the node with SIGKILL, as when its machine fails.
    pub fn kill(&mut self) {
        let mut process = self.process.take().expect("the node runs");
        process
            .kill()
            .expect("a child that was not waited for can be killed");
        process.wait().expect("a child can be waited for");
    }

    /// Stops the node in good order, with SIGTERM, and waits for its end.
    pub fn stop(&mut self) {
        self.signal(Signal::TERM);
        // Its stdin must stay open: the node does not wait for anything once that has ended.
        let mut process = self.process.take().expect("the node runs");
        let stdin = process.stdin.take();
        process.wait().expect("a child can be waited for");
        drop(stdin);
    }

    /// Starts the node after [`Node::kill`] or [`Node::stop`], with the same ports and the data it
    /// had, and waits until it accepts connections.
    pub fn start_again(&mut self) {
        assert!(self.process.is_none(), "the node runs already");
        let mut process = Command::new(SCRIPT)
            .arg("run")
            .arg(&self.admin.dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("cannot run {SCRIPT}: {error}"));
        let stdout = process.stdout.take().expect("stdout is piped");
        self.process = Some(process);
        assert!(
            says_ready(stdout),
            "the node did not start; its log:\n{}",
            log(&self.admin.dir).unwrap_or_else(|error| error.to_string())
        );
    }

    /// Suspends the node with SIGSTOP. Its sockets stay open, and nothing answers.
    pub fn suspend(&self) {
        self.signal(Signal::STOP);
    }

    /// Lets the node go on after [`Node::suspend`].
    pub fn resume(&self) {
        self.signal(Signal::CONT);
    }

    fn signal(&self, signal: Signal) {
        kill_process(Pid::from_child(self.process()), signal)
            .expect("a child that was not waited for takes signals");
    }

    fn process(&self) -> &Child {
        self.process.as_ref().expect("the node runs")
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        if self.process.is_some() {
            self.kill();
        }
        // What cannot be removed hurts nobody, and a second panic would hide the first.
        let _ = fs::remove_dir_all(&self.admin.dir);
    }
}

/// Whether the node says that it is ready, within the time it has.
fn says_ready(stdout: ChildStdout) -> bool {
    let (said, hear) = mpsc::channel();
    thread::spawn(move || said.send(BufReader::new(stdout).read_line(&mut String::new())));
    matches!(hear.recv_timeout(START_TIMEOUT), Ok(Ok(bytes)) if bytes > 0)
}

/// Runs the script to its end and returns what it printed.
fn script<'a>(arguments: impl IntoIterator<Item = &'a OsStr>) -> String {
    let output = Command::new(SCRIPT)
        .args(arguments)
        .output()
        .unwrap_or_else(|error| panic!("cannot run {SCRIPT}: {error}"));
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    String::from_utf8_lossy(&output.stdout)
        .trim_end()
        .to_owned()
}

/// All that a node has logged.
fn log(dir: &Path) -> io::Result<String> {
    let mut log = String::new();
    for file in fs::read_dir(dir.join("log"))? {
        let bytes = fs::read(file?.path())?;
        log.push_str(&String::from_utf8_lossy(&bytes));
    }
    Ok(log)
}
