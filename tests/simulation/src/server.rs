//! The broker's end of the network.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::{Buf, BytesMut};
use fastrand::Rng;
use futures_lite::{AsyncRead, AsyncWrite};
use snowshoe::Transport;
use snowshoe::testing::{Broker, Clock, ConnectionId, LinkId, Network, Socket, Timer};

use crate::late::Late;
use crate::log::Log;
use crate::message::MessageId;
use crate::witness::Witness;

/// Carries bytes between the network and the broker, with a witness in between.
#[derive(Clone)]
pub(crate) struct Server {
    state: Rc<RefCell<State>>,
}

struct State {
    clock: Clock,
    timer: Timer,
    network: Network,
    broker: Broker,
    witness: Witness,
    /// How long a frame that the broker says waits for at most.
    lateness: Duration,
    random: Rng,
    clients: BTreeMap<LinkId, Client>,
    waker: Option<Waker>,
    buffer: Vec<u8>,
}

struct Client {
    id: ConnectionId,
    socket: Socket,
    input: BytesMut,
    /// What was said and is still held.
    late: Late,
    output: BytesMut,
    /// Whether the broker's process has died under it.
    dead: bool,
}

impl Server {
    pub(crate) fn new(clock: Clock, network: Network, broker: Broker, log: Log, seed: u64) -> Self {
        let state = State {
            timer: clock.timer(),
            clock,
            network,
            broker,
            witness: Witness::new(log),
            lateness: Duration::ZERO,
            random: Rng::with_seed(seed),
            clients: BTreeMap::new(),
            waker: None,
            buffer: vec![0; 16 * 1024],
        };
        Self {
            state: Rc::new(RefCell::new(state)),
        }
    }

    /// Serves for ever.
    pub(crate) async fn serve(self) {
        std::future::poll_fn(|cx| self.state.borrow_mut().poll(cx)).await;
    }

    /// Does something to the broker, which then goes on.
    pub(crate) fn with<R>(&self, work: impl FnOnce(&mut Broker) -> R) -> R {
        let mut state = self.state.borrow_mut();
        let result = work(&mut state.broker);
        if let Some(waker) = state.waker.take() {
            waker.wake();
        }
        result
    }

    /// The broker's process dies, and another begins.
    pub(crate) fn restart(&self) {
        for client in self.state.borrow_mut().clients.values_mut() {
            client.dead = true;
        }
        let now = self.state.borrow().clock.now();
        self.with(|broker| broker.restart(now));
    }

    /// Closes the connection so many after the oldest.
    pub(crate) fn kick(&self, index: usize) {
        let (now, id) = {
            let state = self.state.borrow();
            let client = state.clients.values().nth(index);
            (state.clock.now(), client.map(|client| client.id))
        };
        if let Some(id) = id {
            self.with(|broker| broker.kick(now, id));
        }
    }

    /// What the broker says from now on is late, each frame by up to so much more than the one before
    /// it. If it is not late any more, all that was held is let go.
    pub(crate) fn set_lateness(&self, lateness: Duration) {
        self.state.borrow_mut().lateness = lateness;
        self.with(|_| {});
    }

    /// How many connections there are.
    pub(crate) fn connections(&self) -> usize {
        self.state.borrow().clients.len()
    }

    /// A user was handed a message.
    pub(crate) fn handed_over(&self, consumer: usize, message: MessageId) {
        let record = &mut self.state.borrow_mut().witness.record;
        record.handed_over(consumer, message);
    }

    /// What went over the wire.
    pub(crate) fn witnessed<R>(&self, look: impl FnOnce(&Witness, &Broker) -> R) -> R {
        let state = self.state.borrow();
        look(&state.witness, &state.broker)
    }
}

impl State {
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.waker = Some(cx.waker().clone());
        let now = self.clock.now();
        while let Poll::Ready(socket) = self.network.poll_accept(cx) {
            let client = Client {
                id: self.broker.connect(now),
                input: BytesMut::new(),
                late: Late::default(),
                output: BytesMut::new(),
                dead: false,
                socket,
            };
            self.clients.insert(client.socket.id(), client);
        }
        let mut moved = true;
        while moved {
            moved = self.broker.poll_timeout().is_some_and(|at| at <= now);
            if moved {
                self.broker.handle_timeout(now);
            }
            let ids: Vec<LinkId> = self.clients.keys().copied().collect();
            for link in ids {
                moved |= self.attend(cx, link);
            }
        }
        let late = self.clients.values().filter_map(|it| it.late.next());
        if let Some(at) = late.chain(self.broker.poll_timeout()).min() {
            self.timer.set_at(at);
            if self.timer.poll(cx).is_ready() {
                cx.waker().wake_by_ref();
            }
        }
        Poll::Pending
    }

    /// Reads and writes. Whether anything moved.
    fn attend(&mut self, cx: &mut Context<'_>, link: LinkId) -> bool {
        let now = self.clock.now();
        let Some(client) = self.clients.get_mut(&link) else {
            return false;
        };
        if client.dead {
            client.socket.prepare_abort();
            self.witness.record.upsets.push(now);
            self.broker.transport_ended(now, client.id);
            self.clients.remove(&link);
            return true;
        }
        let mut moved = false;
        let mut ended = false;
        if self.broker.is_reading(client.id) || self.broker.is_finished(client.id) {
            match Pin::new(&mut client.socket).poll_read(cx, &mut self.buffer) {
                Poll::Ready(Ok(len @ 1..)) => {
                    client.input.extend_from_slice(&self.buffer[..len]);
                    moved = true;
                }
                Poll::Ready(Ok(_)) => ended = true,
                Poll::Ready(Err(_)) => {
                    // What it had read before, and was too short of memory to do, it does not do for
                    // one that is gone.
                    client.input.clear();
                    ended = true;
                }
                Poll::Pending => {}
            }
            if !client.input.is_empty() {
                let before = client.input.clone();
                self.broker.receive(now, client.id, &mut client.input);
                let consumed = before.len() - client.input.len();
                self.witness.up(now, link, &before[..consumed]);
            }
        }
        // What the broker has to say to anybody is said before what that leads to can come back.
        for (link, client) in &mut self.clients {
            let (late, output) = (&mut client.late, &mut client.output);
            if self.lateness.is_zero() {
                late.release_all(output);
            }
            if let Some(outbound) = self.broker.outbound(client.id)
                && outbound.has_remaining()
            {
                let bytes = outbound.copy_to_bytes(outbound.remaining());
                self.witness.down(now, *link, &bytes);
                if self.lateness.is_zero() {
                    output.extend_from_slice(&bytes);
                } else {
                    late.hold(now, self.lateness, &mut self.random, bytes, output);
                }
            }
        }
        let Some(client) = self.clients.get_mut(&link) else {
            return moved;
        };
        client.late.release(now, &mut client.output);
        while client.output.has_remaining() && !ended {
            match Pin::new(&mut client.socket).poll_write(cx, &client.output) {
                Poll::Ready(Ok(len)) => {
                    client.output.advance(len);
                    moved = true;
                }
                Poll::Ready(Err(_)) => ended = true,
                Poll::Pending => break,
            }
        }
        // After its last word on the connection nothing is heard.
        let has_more = client.late.concerns_connection() || !client.output.is_empty();
        let finished = self.broker.is_finished(client.id) && !has_more;
        if ended || finished {
            self.witness.record.upsets.push(now);
            self.broker.transport_ended(now, client.id);
            self.clients.remove(&link);
            return true;
        }
        moved
    }
}
