//! A TCP proxy between client and broker that the test makes fail in chosen ways.
//!
//! One thread owns every socket, so that a fault is in force when the method that asks for it
//! returns: no byte passes after [`Links::silence`], none after the last of [`Links::cut_after`].
//! What a test has to wait for is a condition over [`Stats`], never a time.

mod engine;
mod frame;
mod link;

use std::net::{SocketAddr, ToSocketAddrs as _};
use std::ops::Range;
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::thread;
use std::time::{Duration, Instant};

use self::engine::{Engine, Jobs};
pub use self::frame::{Frame, Verdict};
use self::link::Faults;

/// How long a condition is waited for before the test fails.
const PATIENCE: Duration = Duration::from_secs(30);

/// A direction, named by whom the bytes are for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum To {
    /// From clients to the broker.
    Server,
    /// From the broker to clients.
    Client,
    /// Both directions.
    Both,
}

impl To {
    fn range(self) -> Range<usize> {
        match self {
            Self::Server => 0..1,
            Self::Client => 1..2,
            Self::Both => 0..2,
        }
    }
}

/// How a connection ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// In good order: the other side reads an end of stream.
    Close,
    /// With a reset, as from a machine that knows nothing of the connection.
    Reset,
}

/// What has happened so far, one entry for each connection in the order in which they were
/// accepted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Each connection's.
    pub links: Vec<LinkStats>,
}

impl Stats {
    /// The number of connections that are open.
    pub fn open(&self) -> usize {
        self.links.iter().filter(|link| link.open).count()
    }

    /// The bytes passed on, over all connections.
    pub fn passed(&self, to: To) -> u64 {
        self.links.iter().map(|link| link.passed(to)).sum()
    }
}

/// What has happened to one connection so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LinkStats {
    /// Whether the proxy still holds a socket of it. After an orderly end it does so until both
    /// sides have ended as well.
    pub open: bool,
    passed: [u64; 2],
    held: [usize; 2],
}

impl LinkStats {
    /// The bytes passed on.
    pub fn passed(&self, to: To) -> u64 {
        self.passed[to.range()].iter().sum()
    }

    /// The bytes that were read and wait to be passed on.
    pub fn held(&self, to: To) -> usize {
        self.held[to.range()].iter().sum()
    }
}

/// A proxy on a port of 127.0.0.1 of its own. It ends, and resets its connections, when it is
/// dropped.
#[derive(Debug)]
pub struct Proxy {
    address: SocketAddr,
    /// The URI of the first upstream, in two parts: what precedes and what follows host and port.
    url: (String, String),
    jobs: Jobs,
    watch: Arc<Watch>,
    thread: Option<thread::JoinHandle<()>>,
}

impl Proxy {
    /// Starts a proxy to the broker at this URI.
    pub fn start(upstream: &str) -> Self {
        let (before, address, after) = split(upstream);
        let watch = Arc::new(Watch::default());
        let (engine, jobs) =
            Engine::new(address, Arc::clone(&watch)).expect("127.0.0.1 has free ports");
        Self {
            address: engine.address(),
            url: (before.to_owned(), after.to_owned()),
            jobs,
            watch,
            thread: Some(thread::spawn(|| engine.run())),
        }
    }

    /// The upstream's URI with the proxy's host and port.
    pub fn url(&self) -> String {
        format!("{}{}{}", self.url.0, self.address, self.url.1)
    }

    /// Where the proxy listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// All connections, those to come included.
    pub fn all(&self) -> Links<'_> {
        Links {
            proxy: self,
            which: None,
        }
    }

    /// One connection, by the order in which they were accepted, from 0.
    pub fn link(&self, which: usize) -> Links<'_> {
        assert!(
            which < self.stats().links.len(),
            "connection {which} was not accepted yet; wait_for_links waits for it"
        );
        Links {
            proxy: self,
            which: Some(which),
        }
    }

    /// Refuses connections, as a machine does on which nothing listens, until [`Proxy::accept`].
    /// Open ones go on.
    pub fn refuse(&self) {
        self.jobs.run(Engine::refuse);
    }

    /// Accepts connections again.
    pub fn accept(&self) {
        self.jobs.run(Engine::accept);
    }

    /// Leads the connections to come to another broker. Of the URI only host and port count.
    pub fn route_to(&self, upstream: &str) {
        let (_, address, _) = split(upstream);
        self.jobs.run(move |engine| engine.route_to(address));
    }

    /// Shows every whole frame in one direction to `judge`, with the number of its connection. It
    /// concerns the connections to come, whose frames can be followed from the first byte. `judge`
    /// must not call the proxy.
    pub fn on_frame(
        &self,
        to: To,
        judge: impl FnMut(usize, &mut Frame) -> Verdict + Send + 'static,
    ) {
        assert_ne!(to, To::Both, "a judge sees one direction");
        self.jobs
            .run(move |engine| engine.set_judge(to, Box::new(judge)));
    }

    /// What has happened so far.
    pub fn stats(&self) -> Stats {
        // A turn of the engine, so that nothing it has just done is missing.
        self.jobs.run(|_| ());
        self.watch.stats().clone()
    }

    /// Waits for a condition over what has happened; `what` names it should it never come.
    pub fn wait_until(&self, what: &str, condition: impl Fn(&Stats) -> bool) -> Stats {
        let deadline = Instant::now() + PATIENCE;
        let mut seen = self.stats();
        while !condition(&seen) {
            let left = deadline.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "waited in vain until {what}: {seen:?}");
            seen = self.watch.next(&seen, left);
        }
        seen
    }

    /// Waits until so many connections have been accepted in all.
    pub fn wait_for_links(&self, count: usize) -> Stats {
        self.wait_until(&format!("{count} connections were accepted"), |stats| {
            stats.links.len() >= count
        })
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.jobs.stop();
        if let Some(thread) = self.thread.take() {
            // A panic there was printed there.
            let _ = thread.join();
        }
    }
}

/// Some of a proxy's connections, to do something to.
#[derive(Clone, Copy, Debug)]
pub struct Links<'a> {
    proxy: &'a Proxy,
    which: Option<usize>,
}

impl Links<'_> {
    /// Ends the open ones at both sides, and drops what they held.
    pub fn end(self, end: End) {
        let which = self.which;
        self.proxy.jobs.run(move |engine| engine.end(which, end));
    }

    /// Goes on reading and passes nothing, not even an end of stream: a link that is dead and does
    /// not say so. What the proxy holds is passed after [`Links::resume`].
    pub fn silence(self, to: To) {
        self.change(to, |faults| faults.silent = true);
    }

    /// Stops reading, so that the sender's window fills.
    pub fn stop_reading(self, to: To) {
        self.change(to, |faults| faults.unread = true);
    }

    /// Passes a few bytes at a time, with a pause after each.
    pub fn drip(self, to: To, bytes: usize, pause: Duration) {
        self.change(to, move |faults| faults.drip = Some((bytes, pause)));
    }

    /// Ends each connection once it has passed so many more bytes.
    pub fn cut_after(self, to: To, bytes: u64, end: End) {
        self.change(to, move |faults| faults.cut = Some((bytes, end)));
    }

    /// Takes back every fault in a direction, and passes what was held.
    pub fn resume(self, to: To) {
        self.change(to, |faults| *faults = Faults::default());
    }

    fn change(self, to: To, change: impl Fn(&mut Faults) + Send + 'static) {
        let which = self.which;
        self.proxy
            .jobs
            .run(move |engine| engine.change(which, to, change));
    }
}

#[derive(Debug, Default)]
struct Watch {
    stats: Mutex<Stats>,
    changed: Condvar,
}

impl Watch {
    fn stats(&self) -> MutexGuard<'_, Stats> {
        self.stats.lock().expect(UNPOISONED)
    }

    /// Waits for news, but not longer than this.
    fn next(&self, seen: &Stats, patience: Duration) -> Stats {
        let same = |stats: &mut Stats| stats == seen;
        let next = self
            .changed
            .wait_timeout_while(self.stats(), patience, same);
        next.expect(UNPOISONED).0.clone()
    }
}

const UNPOISONED: &str = "nothing panics under this lock";

/// Splits a URI around its host and port, which it must have both.
fn split(url: &str) -> (&str, SocketAddr, &str) {
    let authority = url.find("://").map_or(0, |at| at + 3);
    let end = url[authority..]
        .find(['/', '?'])
        .map_or(url.len(), |at| authority + at);
    let start = url[authority..end]
        .rfind('@')
        .map_or(authority, |at| authority + at + 1);
    let address = url[start..end]
        .to_socket_addrs()
        .ok()
        .and_then(|mut found| found.next());
    let address = address.unwrap_or_else(|| panic!("the upstream's URI needs a host and a port"));
    (&url[..start], address, &url[end..])
}
