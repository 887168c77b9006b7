//! A broker that does next to nothing, so that what is measured is the client.
//!
//! It is one thread around `poll`. Publishes are counted by walking over their frames, confirmed
//! by one acknowledgement for all that a read brought. Consumers of a queue named
//! `feed-SIZE-NUMBER` get so many messages of that size, as far as their prefetch allows, from a
//! block that was encoded beforehand, in which only the delivery tags are new each time. A consumer of `echo`
//! gets whatever is published.

mod connection;
mod feed;
mod replies;

use std::io;
use std::net::{Ipv4Addr, TcpListener};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};

use self::connection::Connection;
use crate::witness::Milestone;

/// A broker on a port that it picked.
#[derive(Debug)]
pub struct Broker {
    listener: TcpListener,
    connections: Vec<Connection>,
    totals: Totals,
}

/// What all connections have in common.
#[derive(Debug, Default)]
struct Totals {
    published: u64,
    acked: u64,
    /// Who gets what is published.
    echo: Option<Echo>,
    /// Bodies that were published for the echo.
    echoes: Vec<Vec<u8>>,
}

/// The consumer of the echo queue.
#[derive(Clone, Debug)]
struct Echo {
    /// A connection by its number.
    connection: u64,
    channel: u16,
    tag: Vec<u8>,
    delivered: u64,
}

impl Broker {
    pub fn bind() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
        listener.set_nonblocking(true)?;
        Ok(Self {
            listener,
            connections: Vec::new(),
            totals: Totals::default(),
        })
    }

    pub fn port(&self) -> io::Result<u16> {
        Ok(self.listener.local_addr()?.port())
    }

    /// Serves until the process ends.
    pub fn run(mut self) -> io::Result<()> {
        // A connection goes by the turn in which it was made.
        for turn in 0.. {
            self.turn(turn)?;
        }
        Ok(())
    }

    fn turn(&mut self, turn: u64) -> io::Result<()> {
        let (accepts, ready) = self.wait()?;
        let mut at = 0;
        self.connections.retain_mut(|connection| {
            let ready = ready[at];
            at += 1;
            connection.is_open_after(ready, &mut self.totals)
        });
        self.deliver_echoes();
        self.answer_witnesses();
        if accepts && let Ok((stream, _)) = self.listener.accept() {
            self.connections.push(Connection::new(turn, stream)?);
        }
        Ok(())
    }

    /// Waits until something can be done: whether a client connects, and which connections can be
    /// read or written.
    fn wait(&self) -> io::Result<(bool, Vec<PollFlags>)> {
        let now = Instant::now();
        let mut fds = vec![PollFd::new(&self.listener, PollFlags::IN)];
        let mut timeout: Option<Duration> = None;
        for connection in &self.connections {
            fds.push(PollFd::new(connection.stream(), connection.interest()));
            if let Some(due) = connection.feed_starts() {
                let left = due.saturating_duration_since(now);
                timeout = Some(timeout.map_or(left, |timeout| timeout.min(left)));
            }
        }
        let timeout = timeout.map(|left| Timespec {
            tv_sec: left.as_secs() as i64,
            tv_nsec: i64::from(left.subsec_nanos()),
        });
        poll(&mut fds, timeout.as_ref())?;
        let accepts = !fds[0].revents().is_empty();
        Ok((accepts, fds[1..].iter().map(PollFd::revents).collect()))
    }

    fn deliver_echoes(&mut self) {
        if self.totals.echoes.is_empty() {
            return;
        }
        let Some(echo) = &mut self.totals.echo else {
            return;
        };
        let consumer = self
            .connections
            .iter_mut()
            .find(|connection| connection.number() == echo.connection);
        if let Some(consumer) = consumer {
            for body in self.totals.echoes.drain(..) {
                echo.delivered += 1;
                consumer.deliver(echo.channel, &echo.tag, echo.delivered, &body);
            }
            consumer.write();
        }
    }

    fn answer_witnesses(&mut self) {
        let Totals {
            published, acked, ..
        } = self.totals;
        for connection in &mut self.connections {
            connection.answer_witness(|milestone| match milestone {
                Milestone::Published(count) => published >= count,
                Milestone::Acked(count) => acked >= count,
            });
        }
    }
}
