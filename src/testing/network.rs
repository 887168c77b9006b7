//! A network in memory, with the faults of a real one, in virtual time and from a seed.

mod socket;

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::io;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

pub use self::socket::Socket;
use super::Clock;
use super::pipe::{End, Hole, Pipe};
use crate::connector::{Connector, Target};
use crate::runtime::Runtime;
use crate::sync::{Mutex, MutexGuard, WakerSlot, lock};
use crate::transport::{Connecting, Transport};

/// A network between clients and one listener.
///
/// It is a [`Connector`], for clients; the other ends come from [`accept`](Self::accept). Clones are
/// the same network. What it does to bytes, and how long they take, comes from a seed, the
/// [`Conditions`], and the faults that it is told to have.
///
/// ```
/// use futures_lite::{AsyncReadExt, AsyncWriteExt};
/// use snowshoe::testing::{Clock, Executor, Network};
///
/// let clock = Clock::new();
/// let network = Network::new(clock.clone(), 1);
/// let mut executor = Executor::new(clock, 1);
///
/// let server = network.clone();
/// executor.spawn(async move {
///     let mut socket = server.accept().await;
///     socket.write_all(b"hello").await.unwrap();
///     socket.close().await.unwrap();
/// });
/// let heard = executor.run(async move {
///     let mut socket = network.dial().await?;
///     let mut heard = String::new();
///     socket.read_to_string(&mut heard).await?;
///     Ok::<_, std::io::Error>(heard)
/// });
/// assert_eq!(heard.unwrap()?, "hello");
/// # Ok::<(), std::io::Error>(())
/// ```
#[derive(Clone)]
pub struct Network {
    core: Arc<Mutex<Core>>,
    clock: Clock,
}

/// What a network is like.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conditions {
    /// How long bytes take, in either direction. No byte overtakes another of its connection.
    pub latency: RangeInclusive<Duration>,
    /// How many bytes can be on their way in one direction before a writer has to wait.
    pub capacity: usize,
    /// Whether reads and writes move any part of what they could.
    pub partial: bool,
    /// The longest piece that arrives at once, and the time until the next: a slow drip.
    pub drip: Option<(usize, Duration)>,
    /// What becomes of new connections.
    pub dials: Dials,
}

/// What becomes of an attempt to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Dials {
    /// It succeeds.
    Succeed,
    /// It is refused.
    Refused,
    /// Nothing ever comes of it.
    Hang,
}

/// One way of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Direction {
    /// From the client to the listener.
    Up,
    /// From the listener to the client.
    Down,
}

/// A connection of a [`Network`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct LinkId(u64);

impl fmt::Display for LinkId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "link {}", self.0)
    }
}

struct Core {
    random: fastrand::Rng,
    conditions: Conditions,
    links: BTreeMap<LinkId, Link>,
    next_id: u64,
    incoming: VecDeque<LinkId>,
    acceptor: WakerSlot,
}

/// Both ways of a connection.
#[derive(Default)]
struct Link {
    up: Way,
    down: Way,
}

/// One way of a connection, and who waits at its ends.
#[derive(Default)]
struct Way {
    pipe: Pipe,
    reader: WakerSlot,
    writer: WakerSlot,
    /// Whether the reading end was dropped.
    unread: bool,
}

impl Link {
    fn way(&mut self, direction: Direction) -> &mut Way {
        match direction {
            Direction::Up => &mut self.up,
            Direction::Down => &mut self.down,
        }
    }

    /// Whoever waits for something, since it may have changed.
    fn wakers(&mut self) -> Vec<Waker> {
        let Self { up, down } = self;
        let wakers = [
            &mut up.reader,
            &mut up.writer,
            &mut down.reader,
            &mut down.writer,
        ];
        wakers.into_iter().filter_map(WakerSlot::take).collect()
    }
}

impl Default for Conditions {
    /// A good network: 1 ms, and 64 KiB in each direction.
    fn default() -> Self {
        let latency = Duration::from_millis(1);
        Self {
            latency: latency..=latency,
            capacity: 64 * 1024,
            partial: false,
            drip: None,
            dials: Dials::Succeed,
        }
    }
}

impl fmt::Debug for Network {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Network").finish_non_exhaustive()
    }
}

impl Network {
    /// A good network.
    pub fn new(clock: Clock, seed: u64) -> Self {
        let core = Core {
            random: fastrand::Rng::with_seed(seed),
            conditions: Conditions::default(),
            links: BTreeMap::new(),
            next_id: 0,
            incoming: VecDeque::new(),
            acceptor: WakerSlot::default(),
        };
        Self {
            core: Arc::new(Mutex::new(core)),
            clock,
        }
    }

    /// What it is like at present.
    pub fn conditions(&self) -> Conditions {
        self.lock().conditions.clone()
    }

    /// Changes what it is like, for all that is written from now on.
    pub fn set_conditions(&self, conditions: Conditions) {
        let mut core = self.lock();
        core.conditions = conditions;
        let wakers: Vec<Waker> = core.links.values_mut().flat_map(Link::wakers).collect();
        drop(core);
        wake(wakers);
    }

    /// The listener's end of the next connection.
    pub async fn accept(&self) -> Socket {
        std::future::poll_fn(|cx| self.poll_accept(cx)).await
    }

    /// The listener's end of the next connection, once there is one.
    pub fn poll_accept(&self, cx: &mut Context<'_>) -> Poll<Socket> {
        let mut core = self.lock();
        match core.incoming.pop_front() {
            Some(id) => {
                drop(core);
                Poll::Ready(Socket::new(self.clone(), id, Direction::Down))
            }
            None => {
                let before = core.acceptor.replace(cx.waker());
                drop(core);
                // Without the lock: with it a task may go, and with that the sockets that it owns.
                drop(before);
                Poll::Pending
            }
        }
    }

    /// The connections that have an end, oldest first.
    pub fn links(&self) -> Vec<LinkId> {
        self.lock().links.keys().copied().collect()
    }

    // Faults.

    /// Ends a connection by a reset at both ends. What has not arrived is lost, or a part of it.
    pub fn reset(&self, link: LinkId) {
        let now = self.clock.now();
        self.with_link(link, |core, link| {
            for direction in [Direction::Up, Direction::Down] {
                link.way(direction).reset(core, now);
            }
        });
    }

    /// Ends a connection in order at both ends, after what was written.
    pub fn close(&self, link: LinkId) {
        let now = self.clock.now();
        self.with_link(link, |core, link| {
            for direction in [Direction::Up, Direction::Down] {
                let latency = core.latency();
                link.way(direction).pipe.end(now, latency, End::Orderly);
            }
        });
    }

    /// Lets nothing arrive any more in this direction, neither bytes nor an end; for so long, or until
    /// it is [healed](Self::heal).
    pub fn black_hole(&self, link: LinkId, direction: Direction, time: Option<Duration>) {
        let until = time.map(|time| self.clock.now() + time);
        self.with_link(link, |_, link| {
            let hole = until.map_or(Hole::ForEver, Hole::Until);
            link.way(direction).pipe.dig(hole);
        });
    }

    /// Ends what holds up a connection: all that was written arrives.
    pub fn heal(&self, link: LinkId) {
        self.with_link(link, |_, link| {
            link.up.pipe.fill();
            link.down.pipe.fill();
        });
    }

    fn with_link(&self, id: LinkId, work: impl FnOnce(&mut Core, &mut Link)) {
        let mut core = self.lock();
        let Some(mut link) = core.links.remove(&id) else {
            return;
        };
        work(&mut core, &mut link);
        let wakers = link.wakers();
        core.links.insert(id, link);
        drop(core);
        wake(wakers);
    }

    /// A new connection; gives the client's end of it.
    fn open(&self) -> Socket {
        let mut core = self.lock();
        let id = LinkId(core.next_id);
        core.next_id += 1;
        core.links.insert(id, Link::default());
        core.incoming.push_back(id);
        let acceptor = core.acceptor.take();
        drop(core);
        wake(acceptor);
        Socket::new(self.clone(), id, Direction::Up)
    }

    /// Connects, as a client does.
    ///
    /// # Errors
    /// It is refused, where the [conditions](Conditions::dials) say so.
    pub async fn dial(&self) -> io::Result<Socket> {
        let (latency, dials) = {
            let mut core = self.lock();
            (core.latency(), core.conditions.dials)
        };
        self.clock.sleep(latency).await;
        match dials {
            Dials::Succeed => Ok(self.open()),
            Dials::Refused => Err(io::ErrorKind::ConnectionRefused.into()),
            Dials::Hang => std::future::pending().await,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Core> {
        lock(&self.core)
    }
}

impl Connector for Network {
    fn connect(&self, _: &Target, _: &Arc<dyn Runtime>) -> Connecting {
        let network = self.clone();
        Box::pin(async move {
            let transport: Box<dyn Transport> = Box::new(network.dial().await?);
            Ok(transport)
        })
    }
}

impl Core {
    fn latency(&mut self) -> Duration {
        let (least, most) = self.conditions.latency.clone().into_inner();
        least + most.saturating_sub(least).mul_f64(self.random.f64())
    }

    /// How much of what could be moved is moved.
    fn part(&mut self, len: usize) -> usize {
        if self.conditions.partial && len > 1 && self.random.bool() {
            self.random.usize(1..=len)
        } else {
            len
        }
    }
}

impl Way {
    fn reset(&mut self, core: &mut Core, now: Instant) {
        let kept = core.random.usize(..=self.pipe.len());
        self.pipe.truncate(now, kept);
        let latency = core.latency();
        self.pipe.end(now, latency, End::Reset);
    }
}

fn wake(wakers: impl IntoIterator<Item = Waker>) {
    for waker in wakers {
        waker.wake();
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests;
