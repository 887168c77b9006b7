//! A broker in memory: one node that behaves as RabbitMQ does, as a plain state machine.

#[cfg(any(test, feature = "_internal"))]
mod books;
mod channel;
mod client;
mod dead_letter;
mod delayed;
mod delivering;
mod direct_reply;
mod duplicates;
mod equivalence;
mod events;
mod exchange;
mod faults;
mod manner;
mod message;
mod options;
mod queue;
mod refusal;
mod request;
#[cfg(test)]
mod tests;
mod vhost;
mod view;

use std::collections::BTreeMap;
use std::time::Instant;

use bytes::BytesMut;
use snowshoe_codec::method::{self, Arguments, MethodId, basic};
use snowshoe_codec::{ChannelId, Connection, ConnectionLimits, Outbound, ReplyCode, ShortString};

use self::client::Client;
pub use self::faults::Fault;
pub use self::manner::Manner;
pub use self::options::BrokerOptions;
use self::queue::QueueId;
use self::refusal::Refusal;
use self::vhost::VirtualHost;
pub use self::view::{BindingView, ConnectionView, ExchangeView, MessageView, QueueView};

/// A broker in memory.
///
/// It is the codec's server side with everything behind it: virtual hosts, exchanges, queues,
/// consumers, confirms. It knows no socket, clock, lock or thread. Whoever runs it accepts
/// transports, hands it what they brought, writes what it has to say, and lets the time pass:
///
/// ```
/// use std::time::Instant;
///
/// use bytes::{BufMut, BytesMut};
/// use snowshoe::codec::sasl::Plain;
/// use snowshoe::codec::{ClientOptions, Connection};
/// use snowshoe::testing::{Broker, BrokerOptions};
///
/// let now = Instant::now();
/// let mut broker = Broker::new(BrokerOptions::default());
/// let id = broker.connect(now);
/// let mut client = Connection::client(ClientOptions::new(Plain::new("guest", "guest")), now);
///
/// while !client.is_open() {
///     let mut there = BytesMut::new();
///     there.put(client.outbound());
///     broker.receive(now, id, &mut there);
///     let mut back = BytesMut::new();
///     back.put(broker.outbound(id).expect("it is connected"));
///     _ = client.receive(now, &mut back);
///     client.handle_timeout(now);
/// }
/// assert_eq!(broker.connections().len(), 1);
/// ```
///
/// - *transports*: [`connect`](Self::connect), [`receive`](Self::receive),
///   [`transport_ended`](Self::transport_ended), [`outbound`](Self::outbound),
///   [`is_reading`](Self::is_reading), [`is_finished`](Self::is_finished);
/// - *time*: [`handle_timeout`](Self::handle_timeout), [`poll_timeout`](Self::poll_timeout);
/// - *at the tester's will*: [`restart`](Self::restart), [`kick`](Self::kick),
///   [`block`](Self::block), [`inject`](Self::inject) and the like;
/// - *a look inside*: [`queue`](Self::queue) and the like.
///
/// What it does depends on nothing but its options and what it was told, in that order. Which broker it
/// takes after, and what that means, says [`Manner`].
///
/// # What it has not
///
/// Policies, permissions, plugins, and a cluster. Quorum queues are queues of their own
/// order, with a delivery count. Streams keep all that they ever got, one message a chunk, and have no
/// filters. Where a client breaks the protocol, the reply texts are the
/// codec's. A message whose properties do not fit into the frames that a consumer tuned does not
/// reach it, though it counts as delivered.
#[derive(Debug)]
pub struct Broker {
    options: BrokerOptions,
    hosts: BTreeMap<ShortString, VirtualHost>,
    clients: BTreeMap<ConnectionId, Client>,
    connected: u64,
    names: fastrand::Rng,
    /// Why publishers are not read.
    blocked: Option<ShortString>,
    faults: Vec<Fault>,
    /// How many channels a user may have.
    max_channels: Option<usize>,
    started: Option<Instant>,
    /// The latest time that was heard of.
    latest: Option<Instant>,
}

/// A client's transport, as a [`Broker`] knows it. None is used twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(u64);

/// # Transports
impl Broker {
    /// A broker that nobody is connected to yet.
    pub fn new(options: BrokerOptions) -> Self {
        let hosts = options.virtual_hosts.iter();
        let manner = options.manner;
        let hosts = hosts.map(|name| (name.clone(), VirtualHost::new(name.clone(), manner)));
        Self {
            hosts: hosts.collect(),
            clients: BTreeMap::new(),
            connected: 0,
            names: fastrand::Rng::with_seed(options.seed),
            blocked: None,
            faults: Vec::new(),
            max_channels: None,
            started: None,
            latest: None,
            options,
        }
    }

    /// Accepts a client's transport.
    pub fn connect(&mut self, now: Instant) -> ConnectionId {
        self.time_is(now);
        self.connected += 1;
        let id = ConnectionId(self.connected);
        let options = self.options.server_options();
        let connection = Connection::server(options, now);
        self.clients.insert(id, Client::new(connection));
        id
    }

    /// Takes what a client's transport brought: whole frames are consumed, the rest stays in `input`
    /// for the next call, after which more is to be appended.
    ///
    /// While the connection [is not read](Self::is_reading), everything stays.
    pub fn receive(&mut self, now: Instant, id: ConnectionId, input: &mut BytesMut) {
        self.time_is(now);
        self.let_time_pass(now);
        while self.is_reading(id) {
            let Some(client) = self.clients.get_mut(&id) else {
                break;
            };
            let Some((mut frame, method)) = client.take_frame(input) else {
                // It judges what is not whole yet, and takes it as a sign of life.
                _ = client.connection.receive(now, input);
                self.hear(now, id);
                break;
            };
            if method == Some(method::channel::Open::ID) && self.refuse_channel(now, id) {
                break;
            }
            let Some(client) = self.clients.get_mut(&id) else {
                break;
            };
            _ = client.connection.receive(now, &mut frame);
            // The method alone is enough: RabbitMQ does not read the message after it.
            if let Some(reason) = self
                .blocked
                .as_ref()
                .filter(|_| method == Some(basic::Publish::ID))
                && !self.options.manner.is_lavin()
                && client.connection.is_open()
            {
                client.blocked(reason);
            }
            self.hear(now, id);
            self.settle_down(now);
        }
        if self.is_finished(id) {
            input.clear();
        }
        self.settle_down(now);
        self.flush_confirms();
    }

    /// Says that a client's transport ended, by a reset or in order.
    pub fn transport_ended(&mut self, now: Instant, id: ConnectionId) {
        self.time_is(now);
        self.bury_client(now, id);
        self.clients.remove(&id);
        self.settle_down(now);
        self.flush_confirms();
    }

    /// What is to be written to a client; `None` for one whose transport ended. Advance it by what
    /// the transport took.
    pub fn outbound(&mut self, id: ConnectionId) -> Option<&mut Outbound> {
        self.clients
            .get_mut(&id)
            .map(|client| client.connection.outbound())
    }

    /// Whether the broker reads what a client sends. It does not while it is
    /// [short of something](Self::block) and the client publishes, while it has
    /// [given the client up](Manner), or while too much waits to be
    /// [written](Self::outbound) to it; then [`receive`](Self::receive) leaves all input where it
    /// is, and is to be called again, with new input or without, once the broker reads again.
    pub fn is_reading(&self, id: ConnectionId) -> bool {
        self.clients.get(&id).is_some_and(|client| {
            !client.is_blocked
                && client.cut_at.is_none()
                && client.has_room(self.options.outbound_limit)
        })
    }

    /// Whether the broker has said its last word to a client: the transport is to be closed once
    /// what is [outbound](Self::outbound) is written.
    pub fn is_finished(&self, id: ConnectionId) -> bool {
        let client = self.clients.get(&id);
        client.is_none_or(|client| client.connection.is_closed())
    }
}

/// # Time
impl Broker {
    /// Lets time pass: heartbeats, messages and queues that expire, deliveries that nobody
    /// acknowledges. Early or late calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.time_is(now);
        self.let_time_pass(now);
        self.settle_down(now);
        self.flush_confirms();
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next, if ever. A time that
    /// has passed means at once, as when there is room again for deliveries.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let at_once = self.latest.filter(|_| self.has_work());
        let connections = self.clients.values().map(|client| {
            let deadline = client.connection.poll_timeout();
            let timeout = self.options.consumer_timeout;
            let overdue = client.oldest_delivery().zip(timeout);
            let overdue = overdue.and_then(|(since, timeout)| since.checked_add(timeout));
            [deadline, overdue, client.cut_at]
                .into_iter()
                .flatten()
                .min()
        });
        let queues = self.hosts.values().flat_map(VirtualHost::queues);
        let queues = queues.map(|(_, queue)| {
            let deadlines = [queue.next_expiry(), queue.unused_until, queue.next_delay()];
            deadlines.into_iter().flatten().min()
        });
        let delayed = self.hosts.values().filter_map(|host| host.delayed.next());
        let all = connections.chain(queues).flatten();
        all.chain(delayed).chain(at_once).min()
    }

    fn time_is(&mut self, now: Instant) {
        self.started.get_or_insert(now);
        self.latest = self.latest.max(Some(now));
    }

    /// The time of day, in seconds since 1970.
    fn unix_time(&self, now: Instant) -> u64 {
        let started = self.started.unwrap_or(now);
        let running = now.saturating_duration_since(started).as_secs();
        self.options.unix_time.saturating_add(running)
    }

    fn let_time_pass(&mut self, now: Instant) {
        for host in self.hosts.values_mut() {
            host.release(now);
            for id in host.queue_ids() {
                host.end_delays(now, id);
                host.expire(id, |at| at <= now);
                let unused = host.queue(id).and_then(|queue| queue.unused_until);
                if unused.is_some_and(|until| until <= now) {
                    host.remove_queue(id);
                }
            }
        }
        for id in self.ids() {
            if let Some(client) = self.clients.get_mut(&id) {
                if client.is_blocked {
                    client.connection.reading_is_paused(now);
                }
                if client.cut_at.is_some_and(|at| at <= now) {
                    client.cut_at = None;
                    client.connection.transport_ended();
                }
                client.connection.handle_timeout(now);
            }
            self.hear(now, id);
            self.close_overdue(now, id);
        }
    }

    /// Closes channels whose consumers took too long, or ends those alone.
    fn close_overdue(&mut self, now: Instant, id: ConnectionId) {
        let (Some(timeout), Some(client)) = (self.options.consumer_timeout, self.clients.get(&id))
        else {
            return;
        };
        let is_over = |since: Instant| now.saturating_duration_since(since) >= timeout;
        let channels: Vec<_> = client.channels.keys().copied().collect();
        for channel in channels {
            while let Some(consumer) = self
                .clients
                .get(&id)
                .and_then(|client| client.channels.get(&channel)?.overdue(is_over))
            {
                let by_consumer = self.options.manner.is_rabbit_4_3();
                if by_consumer && self.end_overdue(now, id, channel, consumer.as_ref()) {
                    continue;
                }
                // RabbitMQ 4.3 does not know any more how long it has waited.
                let used = match by_consumer {
                    true => "-1".to_owned(),
                    false => timeout.as_millis().to_string(),
                };
                let refusal = Refusal::precondition(format_args!(
                    "delivery acknowledgement on channel {channel} timed out. Timeout value used: \
                     {used} ms. This timeout value can be configured, see consumers doc guide to \
                     learn more"
                ));
                self.refuse(now, id, channel, &refusal, NO_METHOD);
                break;
            }
        }
    }
}

/// # At the tester's will
impl Broker {
    /// Restarts the broker: every connection is gone without a word, and of all there was only
    /// durable exchanges and queues, their bindings and their persistent messages are left. What was
    /// delivered and not acknowledged is delivered again. As after a crash of RabbitMQ, all that is
    /// left in classic queues is marked as redelivered.
    pub fn restart(&mut self, now: Instant) {
        self.time_is(now);
        for id in self.ids() {
            if let Some(client) = self.clients.get_mut(&id) {
                client.connection.transport_ended();
            }
            self.bury_client(now, id);
        }
        for host in self.hosts.values_mut() {
            host.restart();
        }
        self.blocked = None;
    }

    /// Offers other limits to whoever connects from now on, as a broker does that was set up anew. The deadlines
    /// and the longest message are among them.
    pub fn set_limits(&mut self, limits: ConnectionLimits) {
        self.options.limits = limits;
    }

    /// Closes a client's connection as an operator does, with 320 CONNECTION_FORCED.
    pub fn kick(&mut self, now: Instant, id: ConnectionId) {
        let text = "the connection was closed by the tester";
        self.close(now, id, ReplyCode::CONNECTION_FORCED, text);
    }

    /// Closes a client's connection for this reason. The name of the code comes in front of the text.
    pub fn close(&mut self, now: Instant, id: ConnectionId, code: ReplyCode, text: &str) {
        self.time_is(now);
        self.refuse(now, id, ChannelId(0), &Refusal::new(code, text), NO_METHOD);
        self.settle_down(now);
        self.flush_confirms();
    }

    /// Ends all consumers of a queue, and tells them so where they asked to be told, as happens when
    /// a queue moves to another node. Whether there is such a queue.
    pub fn cancel_consumers(&mut self, now: Instant, virtual_host: &str, queue: &str) -> bool {
        self.time_is(now);
        self.with_queue(now, virtual_host, queue, |host, id| {
            let consumers = host.queue(id).map(|queue| queue.subscribers.clone());
            host.orphans.extend(consumers.unwrap_or_default());
            host.unsubscribe(now, id, |_| true);
            host.stir(id);
        })
    }

    /// Ends the time of all messages at the front of a queue that have a limited one, although it is
    /// not over. Whether there is such a queue.
    pub fn expire(&mut self, now: Instant, virtual_host: &str, queue: &str) -> bool {
        self.time_is(now);
        self.with_queue(now, virtual_host, queue, |host, id| {
            host.expire(id, |_| true);
        })
    }

    fn with_queue(
        &mut self,
        now: Instant,
        virtual_host: &str,
        queue: &str,
        work: impl FnOnce(&mut VirtualHost, QueueId),
    ) -> bool {
        let Some(host) = self.hosts.get_mut(virtual_host.as_bytes()) else {
            return false;
        };
        let Some(id) = host.queue_id(queue.as_bytes()) else {
            return false;
        };
        work(host, id);
        self.settle_down(now);
        self.flush_confirms();
        true
    }

    /// Runs short of something: who publishes from now on is told so, where it asked to be told, and
    /// is not read any more. In [LavinMQ's manner](Manner::LavinMq) publishes and declarations are
    /// refused instead, and cost their channels.
    pub fn block(&mut self, reason: ShortString) {
        self.blocked = Some(reason);
    }

    /// Reads publishers again, and tells them.
    pub fn unblock(&mut self) {
        self.blocked = None;
        for client in self.clients.values_mut() {
            client.unblocked();
        }
    }

    /// Limits the channels that a user may have on all connections together, from now on; RabbitMQ:
    /// `rabbitmqctl set_user_limits`, `max-channels`. One more ends the connection that asks for it.
    pub fn limit_channels(&mut self, most: Option<usize>) {
        self.max_channels = most;
    }

    /// Has the broker fail on what it would otherwise do.
    pub fn inject(&mut self, fault: Fault) {
        self.faults.push(fault);
    }

    /// Takes back all [faults](Self::inject) that have not come to pass.
    pub fn heal(&mut self) {
        self.faults.clear();
    }
}

/// What a close names where it is about no method.
const NO_METHOD: MethodId = MethodId {
    class: 0,
    method: 0,
};
