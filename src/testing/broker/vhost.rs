use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use snowshoe_codec::{ReplyCode, ShortString};

use super::ConnectionId;
use super::delayed::Delayed;
use super::direct_reply::{DirectReplies, is_address};
use super::duplicates::Duplicates;
use super::exchange::{Binding, Destination, Exchange, ExchangeKind};
use super::manner::Manner;
use super::message::{Message, Queued};
use super::queue::{Push, Queue, QueueId, Subscriber};
use super::refusal::Refusal;

/// A virtual host: exchanges, queues, and the bindings between them.
#[derive(Debug)]
pub(super) struct VirtualHost {
    pub(super) name: ShortString,
    pub(super) manner: Manner,
    exchanges: BTreeMap<ShortString, Exchange>,
    names: BTreeMap<ShortString, QueueId>,
    queues: BTreeMap<QueueId, Queue>,
    last_queue: u64,
    /// Queues that may have something for a consumer.
    pub(super) stirred: BTreeSet<QueueId>,
    /// Messages that queues gave up, which are still to be dead-lettered.
    pub(super) dead: VecDeque<Dead>,
    /// Messages that exchanges hold for a time.
    pub(super) delayed: Delayed,
    pub(super) replies: DirectReplies,
    /// Consumers whose queue is gone, and who are still to be told.
    pub(super) orphans: Vec<Subscriber>,
}

/// A message that a queue gave up.
#[derive(Debug)]
pub(super) struct Dead {
    pub(super) queue: QueueId,
    pub(super) queued: Queued,
    pub(super) reason: DeathReason,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum DeathReason {
    Expired,
    Rejected,
    MaxLength,
    DeliveryLimit,
}

impl VirtualHost {
    pub(super) fn new(name: ShortString, manner: Manner) -> Self {
        let exchanges = PREDECLARED
            .into_iter()
            .map(|(name, kind)| (ShortString::from_static(name), Exchange::predeclared(kind)));
        Self {
            name,
            manner,
            exchanges: exchanges.collect(),
            names: BTreeMap::new(),
            queues: BTreeMap::new(),
            last_queue: 0,
            stirred: BTreeSet::new(),
            dead: VecDeque::new(),
            delayed: Delayed::default(),
            orphans: Vec::new(),
            replies: DirectReplies::default(),
        }
    }
}

/// # Queues
impl VirtualHost {
    pub(super) fn queue_id(&self, name: &[u8]) -> Option<QueueId> {
        self.names.get(name).copied()
    }

    pub(super) fn queue_ids(&self) -> Vec<QueueId> {
        self.queues.keys().copied().collect()
    }

    pub(super) fn queue(&self, id: QueueId) -> Option<&Queue> {
        self.queues.get(&id)
    }

    pub(super) fn queue_mut(&mut self, id: QueueId) -> Option<&mut Queue> {
        self.queues.get_mut(&id)
    }

    pub(super) fn queues(&self) -> impl Iterator<Item = (QueueId, &Queue)> {
        self.queues.iter().map(|(id, queue)| (*id, queue))
    }

    /// The queue of this name, if this connection may use it.
    pub(super) fn find(
        &self,
        connection: ConnectionId,
        name: &ShortString,
    ) -> Result<QueueId, Refusal> {
        let id = self
            .queue_id(name.as_bytes())
            .ok_or_else(|| Refusal::no_queue(&self.name, name))?;
        let owner = self.queues.get(&id).and_then(|queue| queue.owner);
        if owner.is_some_and(|owner| owner != connection) {
            return Err(self.locked(name));
        }
        Ok(id)
    }

    pub(super) fn locked(&self, name: &ShortString) -> Refusal {
        Refusal::new(
            ReplyCode::RESOURCE_LOCKED,
            format_args!(
                "cannot obtain exclusive access to locked queue '{name}' in vhost '{}'. It could \
                 be originally declared on another connection or the exclusive property value \
                 does not match that of the original declaration.",
                self.name
            ),
        )
    }

    pub(super) fn add_queue(&mut self, queue: Queue) {
        self.last_queue += 1;
        let id = QueueId(self.last_queue);
        self.names.insert(queue.name.clone(), id);
        self.queues.insert(id, queue);
    }

    /// Deletes a queue with its bindings; how many messages were ready in it.
    pub(super) fn remove_queue(&mut self, id: QueueId) -> usize {
        let Some(queue) = self.queues.remove(&id) else {
            return 0;
        };
        self.names.remove(&queue.name);
        self.orphans.extend(queue.subscribers.iter().cloned());
        self.remove_bindings_to(Destination::Queue(id));
        queue.ready_count()
    }

    /// Something may be delivered from this queue now.
    pub(super) fn stir(&mut self, id: QueueId) {
        self.stirred.insert(id);
    }

    /// Ends consumers of a queue, and with the last of them a queue that lives no longer. Others may
    /// [take their place](Self::stir).
    pub(super) fn unsubscribe(
        &mut self,
        now: Instant,
        id: QueueId,
        is_meant: impl Fn(&Subscriber) -> bool,
    ) {
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        let ended = queue.unsubscribe(is_meant);
        queue.used(now);
        if ended && queue.auto_delete && queue.subscribers.is_empty() {
            self.remove_queue(id);
        }
    }

    /// Puts a message into a queue; whether it took it. A letter of what was delivered before may say so.
    pub(super) fn enqueue(
        &mut self,
        now: Instant,
        id: QueueId,
        message: &Message,
        redelivered: bool,
    ) -> Push {
        let Some(queue) = self.queues.get_mut(&id) else {
            return Push::Taken;
        };
        let push = queue.push(now, message.clone(), redelivered);
        self.stir(id);
        push
    }

    /// Drops what is too much in a queue.
    pub(super) fn trim(&mut self, id: QueueId) {
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        while let Some(queued) = queue.pop_excess() {
            self.dead.push_back(Dead {
                queue: id,
                queued,
                reason: DeathReason::MaxLength,
            });
        }
    }

    /// What has waited for long enough in a queue is ready again.
    pub(super) fn end_delays(&mut self, now: Instant, id: QueueId) {
        let manner = self.manner;
        if let Some(queue) = self.queues.get_mut(&id)
            && queue.end_delays(now, manner)
        {
            self.stir(id);
        }
    }

    /// Takes what has waited too long from the front of a queue.
    pub(super) fn expire(&mut self, id: QueueId, is_over: impl Fn(Instant) -> bool) {
        let Some(queue) = self.queues.get_mut(&id) else {
            return;
        };
        while let Some(queued) = queue.pop_expired(&is_over) {
            self.dead.push_back(Dead {
                queue: id,
                queued,
                reason: DeathReason::Expired,
            });
        }
    }
}

/// # Exchanges and bindings
impl VirtualHost {
    pub(super) fn exchange(&self, name: &ShortString) -> Result<&Exchange, Refusal> {
        self.exchanges
            .get(name)
            .ok_or_else(|| Refusal::no_exchange(&self.name, name))
    }

    pub(super) fn exchanges(&self) -> impl Iterator<Item = (&ShortString, &Exchange)> {
        self.exchanges.iter()
    }

    pub(super) fn add_exchange(&mut self, name: ShortString, exchange: Exchange) {
        self.exchanges.insert(name, exchange);
    }

    pub(super) fn remove_exchange(&mut self, name: &ShortString) {
        self.exchanges.remove(name);
        self.remove_bindings_to(Destination::Exchange(name.clone()));
    }

    /// Whether the exchange of a message has had it before, and drops it.
    pub(super) fn is_duplicate(&mut self, message: &Message) -> bool {
        let exchange = self.exchanges.get_mut(&message.exchange);
        let duplicates = exchange.and_then(|exchange| exchange.duplicates.as_mut());
        duplicates.is_some_and(|duplicates| duplicates.is_one(message))
    }

    /// Binds, if it is not bound so already. The source exists.
    pub(super) fn bind(&mut self, source: &ShortString, binding: Binding) {
        if let Some(exchange) = self.exchanges.get_mut(source)
            && !exchange.bindings.contains(&binding)
        {
            exchange.bindings.push(binding);
        }
    }

    pub(super) fn is_bound(&self, source: &ShortString, binding: &Binding) -> bool {
        let source = self.exchanges.get(source);
        source.is_some_and(|exchange| exchange.bindings.contains(binding))
    }

    pub(super) fn unbind(&mut self, source: &ShortString, binding: &Binding) {
        let unused = self.remove_bindings(|name, other| name == source && other == binding);
        for name in unused {
            self.remove_exchange(&name);
        }
    }

    /// Forgets a destination, and exchanges that live no longer without it, and so on.
    fn remove_bindings_to(&mut self, destination: Destination) {
        let mut gone = vec![destination];
        while let Some(destination) = gone.pop() {
            let unused = self.remove_bindings(|_, binding| binding.destination == destination);
            for name in unused {
                self.exchanges.remove(&name);
                gone.push(Destination::Exchange(name));
            }
        }
    }

    /// Removes bindings; the exchanges that were to live as long as they had one.
    fn remove_bindings(
        &mut self,
        is_meant: impl Fn(&ShortString, &Binding) -> bool,
    ) -> Vec<ShortString> {
        let mut unused = Vec::new();
        for (name, exchange) in &mut self.exchanges {
            let before = exchange.bindings.len();
            exchange.bindings.retain(|binding| !is_meant(name, binding));
            let fewer = exchange.bindings.len() < before;
            if fewer && exchange.auto_delete && exchange.bindings.is_empty() {
                unused.push(name.clone());
            }
        }
        unused
    }

    /// Sends a message to those whom its routing keys name as addresses for direct replies. Whether any does,
    /// whoever is there.
    pub(super) fn reply_directly(&mut self, message: &Message) -> bool {
        if !message.exchange.is_empty() {
            return false;
        }
        let keys = message.routing_keys().into_iter();
        let addresses: BTreeSet<_> = keys.filter(|key| is_address(key)).collect();
        for address in &addresses {
            self.replies.send(address, message);
        }
        !addresses.is_empty()
    }

    /// The queues that a message gets into through an exchange. One that does not exist has none.
    pub(super) fn route(&self, exchange: &ShortString, message: &Message) -> BTreeSet<QueueId> {
        let mut found = BTreeSet::new();
        for key in message.routing_keys() {
            self.route_by_key(exchange, message, key, &mut found);
        }
        found
    }

    fn route_by_key(
        &self,
        exchange: &ShortString,
        message: &Message,
        key: &[u8],
        found: &mut BTreeSet<QueueId>,
    ) {
        let mut seen = BTreeSet::from([exchange.as_bytes()]);
        let mut next = vec![exchange.as_bytes()];
        while let Some(name) = next.pop() {
            if name.is_empty() {
                found.extend(self.queue_id(key));
                continue;
            }
            let Some(exchange) = self.exchanges.get(name) else {
                continue;
            };
            let mut routed = false;
            for destination in exchange.route(message, key) {
                routed = true;
                match destination {
                    Destination::Queue(id) => _ = found.insert(*id),
                    Destination::Exchange(name) if seen.insert(name.as_bytes()) => {
                        next.push(name.as_bytes());
                    }
                    Destination::Exchange(_) => {}
                }
            }
            if let Some(alternate) = exchange.alternate().filter(|_| !routed)
                && seen.insert(alternate)
            {
                next.push(alternate);
            }
        }
    }

    /// Keeps what outlives a restart: durable queues with their persistent messages, durable
    /// exchanges, and what is bound between them.
    pub(super) fn restart(&mut self) {
        let exchanges = self.exchanges.values_mut();
        let exchanges = exchanges.filter_map(|exchange| exchange.duplicates.as_mut());
        let queues = self.queues.values_mut();
        let queues = queues.filter_map(|queue| queue.duplicates.as_mut());
        exchanges.chain(queues).for_each(Duplicates::forget);
        for id in self.queue_ids() {
            match self.queues.get_mut(&id) {
                Some(queue) if queue.durable => queue.keep_persistent(),
                _ => _ = self.remove_queue(id),
            }
        }
        let transient = self
            .exchanges
            .iter()
            .filter(|(_, exchange)| !exchange.durable);
        let transient: Vec<_> = transient.map(|(name, _)| name.clone()).collect();
        // Those that are not durable outlive it in RabbitMQ's new store (Khepri, seen on 4.3.6).
        if !self.manner.is_rabbit_4_3() {
            for name in transient {
                self.remove_exchange(&name);
            }
        }
        self.delayed.keep_persistent();
        self.stirred.clear();
        self.dead.clear();
        self.orphans.clear();
        self.replies.clear();
    }
}

/// # Exchanges that delay
impl VirtualHost {
    /// Holds a message, if that is what it asks its exchange for. Whether it does.
    pub(super) fn hold(&mut self, now: Instant, message: &Message) -> bool {
        let exchange = self.exchange(&message.exchange);
        if !exchange.is_ok_and(|exchange| exchange.delays) {
            return false;
        }
        let delay = message.headers().get("x-delay").ok().flatten();
        let delay = delay.and_then(|it| u64::try_from(it.as_i64()?).ok());
        let Some(delay) = delay.filter(|it| *it > 0) else {
            return false;
        };
        let Some(until) = now.checked_add(Duration::from_millis(delay)) else {
            return false;
        };
        self.delayed.hold(until, message.clone());
        true
    }

    /// Routes what was held for long enough.
    pub(super) fn release(&mut self, now: Instant) {
        while let Some(message) = self.delayed.pop(now) {
            let targets = self.route(&message.exchange, &message);
            let message = message.without_blind_copies();
            for target in targets {
                self.enqueue(now, target, &message, false);
            }
        }
    }
}

/// What every virtual host has. The default exchange has no bindings: it knows each queue by its
/// name.
const PREDECLARED: [(&str, ExchangeKind); 7] = [
    ("", ExchangeKind::Direct),
    ("amq.direct", ExchangeKind::Direct),
    ("amq.fanout", ExchangeKind::Fanout),
    ("amq.headers", ExchangeKind::Headers),
    ("amq.match", ExchangeKind::Headers),
    ("amq.rabbitmq.trace", ExchangeKind::Topic),
    ("amq.topic", ExchangeKind::Topic),
];
