//! The thread that owns every socket of a proxy.

use std::io::{self, Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::{Arc, mpsc};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use socket2::{Domain, SockRef, Socket, Type};

use super::frame::Judge;
use super::link::{Faults, Link};
use super::{End, To, Watch};

/// How long an upstream has to accept, which it does at once or never on one machine.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(1);

type Job = Box<dyn FnOnce(&mut Engine) + Send>;

/// The way to the engine, from other threads.
#[derive(Debug)]
pub(super) struct Jobs {
    queue: mpsc::Sender<(Job, mpsc::Sender<()>)>,
    wake: UnixStream,
}

impl Jobs {
    /// Has the engine do something, and waits until it is done and all that follows from it at
    /// once.
    pub(super) fn run(&self, job: impl FnOnce(&mut Engine) + Send + 'static) {
        self.send(job)
            .recv()
            .expect("the proxy's thread runs; if not, its panic is printed above");
    }

    /// Ends the engine's thread.
    pub(super) fn stop(&self) {
        self.send(|engine| engine.stopped = true);
    }

    fn send(&self, job: impl FnOnce(&mut Engine) + Send + 'static) -> mpsc::Receiver<()> {
        let (done, wait) = mpsc::channel();
        // Where the engine has ended, nobody answers, and that is what the caller finds.
        let _ = self.queue.send((Box::new(job), done));
        let _ = (&self.wake).write(&[0]);
        wait
    }
}

pub(super) struct Engine {
    /// Bound while the proxy lives, so that its port stays its own also when nothing listens there.
    place: Socket,
    listener: Option<TcpListener>,
    upstream: SocketAddr,
    /// Those of connections to come.
    faults: [Faults; 2],
    judges: [Option<Judge>; 2],
    /// The number of connections so far.
    accepted: usize,
    /// Those that have not ended: what is known of the others is in the statistics.
    links: Vec<Link>,
    queue: mpsc::Receiver<(Job, mpsc::Sender<()>)>,
    wake: UnixStream,
    watch: Arc<Watch>,
    stopped: bool,
}

impl Engine {
    pub(super) fn new(upstream: SocketAddr, watch: Arc<Watch>) -> io::Result<(Self, Jobs)> {
        let (send, queue) = mpsc::channel();
        let (waker, wake) = UnixStream::pair()?;
        wake.set_nonblocking(true)?;
        let mut engine = Self {
            place: bound(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)))?,
            listener: None,
            upstream,
            faults: Default::default(),
            judges: [None, None],
            accepted: 0,
            links: Vec::new(),
            queue,
            wake,
            watch,
            stopped: false,
        };
        engine.accept();
        Ok((
            engine,
            Jobs {
                queue: send,
                wake: waker,
            },
        ))
    }

    pub(super) fn address(&self) -> SocketAddr {
        let address = self
            .place
            .local_addr()
            .expect("a bound socket has an address");
        address
            .as_socket()
            .expect("an IPv4 socket has an IPv4 address")
    }

    pub(super) fn refuse(&mut self) {
        self.listener = None;
    }

    pub(super) fn accept(&mut self) {
        let listener = bound(self.address()).and_then(|socket| {
            socket.listen(128)?;
            socket.set_nonblocking(true)?;
            Ok(socket.into())
        });
        self.listener = Some(listener.expect("the port is the proxy's own"));
    }

    pub(super) fn route_to(&mut self, upstream: SocketAddr) {
        self.upstream = upstream;
    }

    pub(super) fn set_judge(&mut self, to: To, judge: Judge) {
        self.judges[to.range().start] = Some(judge);
    }

    pub(super) fn end(&mut self, which: Option<usize>, end: End) {
        self.chosen(which).for_each(|link| link.end(end));
    }

    pub(super) fn change(&mut self, which: Option<usize>, to: To, change: impl Fn(&mut Faults)) {
        if which.is_none() {
            self.faults[to.range()].iter_mut().for_each(&change);
        }
        self.chosen(which).for_each(|link| link.change(to, &change));
    }

    fn chosen(&mut self, which: Option<usize>) -> impl Iterator<Item = &mut Link> {
        let is_chosen = move |link: &&mut Link| which.is_none_or(|which| which == link.number());
        self.links.iter_mut().filter(is_chosen)
    }

    pub(super) fn run(mut self) {
        while !self.stopped {
            self.wait();
            let done = self.do_jobs();
            self.accept_waiting();
            let now = Instant::now();
            for link in &mut self.links {
                link.step(now, &mut self.judges);
            }
            self.publish();
            for done in done {
                let _ = done.send(());
            }
        }
        self.end(None, End::Reset);
    }

    fn wait(&self) {
        let mut fds = vec![PollFd::new(&self.wake, PollFlags::IN)];
        fds.extend(
            self.listener
                .iter()
                .map(|listener| PollFd::new(listener, PollFlags::IN)),
        );
        fds.extend(
            self.links
                .iter()
                .flat_map(Link::interest)
                .map(|(socket, flags)| PollFd::new(socket, flags)),
        );
        let deadline = self.links.iter().filter_map(Link::deadline).min();
        let timeout = deadline.map(|deadline| {
            Timespec::try_from(deadline.saturating_duration_since(Instant::now()))
                .expect("a test's pauses are short")
        });
        // An interruption is a turn for nothing.
        let _ = poll(&mut fds, timeout.as_ref());
    }

    fn do_jobs(&mut self) -> Vec<mpsc::Sender<()>> {
        while matches!(self.wake.read(&mut [0; 64]), Ok(1..)) {}
        let mut all_done = Vec::new();
        while let Ok((job, done)) = self.queue.try_recv() {
            job(self);
            all_done.push(done);
        }
        all_done
    }

    fn accept_waiting(&mut self) {
        while let Some(Ok((client, _))) = self.listener.as_ref().map(TcpListener::accept) {
            let sockets = connect(client, self.upstream).ok();
            let judged = [0, 1].map(|at| self.judges[at].is_some());
            self.links
                .push(Link::new(self.accepted, sockets, self.faults, judged));
            self.accepted += 1;
        }
    }

    fn publish(&mut self) {
        let mut stats = self.watch.stats();
        let mut changed = false;
        for link in &self.links {
            let new = link.stats();
            match stats.links.get_mut(link.number()) {
                Some(old) => changed |= std::mem::replace(old, new) != new,
                None => {
                    stats.links.push(new);
                    changed = true;
                }
            }
        }
        drop(stats);
        if changed {
            self.watch.changed.notify_all();
        }
        self.links.retain(|link| link.stats().open);
    }
}

/// A socket bound to an address that other sockets of this process may be bound to as well.
fn bound(address: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// Connects a client to the upstream, or resets it.
fn connect(client: TcpStream, upstream: SocketAddr) -> io::Result<[TcpStream; 2]> {
    SockRef::from(&client).set_linger(Some(Duration::ZERO))?;
    let server = TcpStream::connect_timeout(&upstream, CONNECT_TIMEOUT)?;
    SockRef::from(&client).set_linger(None)?;
    for socket in [&client, &server] {
        socket.set_nodelay(true)?;
        socket.set_nonblocking(true)?;
    }
    Ok([client, server])
}
