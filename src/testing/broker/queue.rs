mod arguments;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use snowshoe_codec::{ChannelId, FieldTable, ShortString};

pub(super) use self::arguments::{COMPARED, Kind, Overflow, Settings, not_an_integer, type_name};
use super::ConnectionId;
use super::message::{Message, Place, Queued};

/// One queue's life: a queue that is declared again under the same name has another.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct QueueId(pub(super) u64);

/// Where messages wait for consumers.
#[derive(Debug)]
pub(super) struct Queue {
    pub(super) name: ShortString,
    pub(super) durable: bool,
    pub(super) auto_delete: bool,
    /// The connection that has it for itself.
    pub(super) owner: Option<ConnectionId>,
    pub(super) arguments: FieldTable,
    pub(super) settings: Settings,
    ready: BTreeMap<Place, Queued>,
    ready_bytes: u64,
    next_number: u64,
    /// How many messages were delivered and not yet settled.
    pub(super) unacked: usize,
    /// In the order in which they are next.
    pub(super) subscribers: Vec<Subscriber>,
    /// When it goes away if nobody uses it.
    pub(super) unused_until: Option<Instant>,
}

/// A consumer, as its queue sees it.
#[derive(Clone, Debug)]
pub(super) struct Subscriber {
    pub(super) connection: ConnectionId,
    pub(super) channel: ChannelId,
    pub(super) tag: ShortString,
    pub(super) no_ack: bool,
    pub(super) exclusive: bool,
    pub(super) priority: i64,
}

/// What became of a message that was to be put into a queue.
pub(super) enum Push {
    Taken,
    /// The queue is full, and publishers are to be told.
    Refused,
}

impl Queue {
    pub(super) fn new(
        name: ShortString,
        arguments: FieldTable,
        settings: Settings,
        now: Instant,
    ) -> Self {
        let mut queue = Self {
            name,
            durable: false,
            auto_delete: false,
            owner: None,
            arguments,
            settings,
            ready: BTreeMap::new(),
            ready_bytes: 0,
            next_number: 0,
            unacked: 0,
            subscribers: Vec::new(),
            unused_until: None,
        };
        queue.used(now);
        queue
    }

    pub(super) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    pub(super) fn ready(&self) -> impl Iterator<Item = &Queued> {
        self.ready.values()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Puts a new message after all of its priority.
    pub(super) fn push(&mut self, now: Instant, message: Message) -> Push {
        let overflow = self.settings.overflow;
        if overflow != Overflow::DropHead && !self.has_room_for(&message) {
            return Push::Refused;
        }
        let priority = message.read().priority.unwrap_or(0);
        let place = Place {
            rank: u8::MAX - priority.min(self.settings.max_priority),
            number: self.next_number,
        };
        self.next_number += 1;
        let ttl = [self.settings.message_ttl, message.expiration()];
        let ttl = ttl.into_iter().flatten().min();
        self.insert(Queued {
            expires_at: ttl.and_then(|ttl| now.checked_add(ttl)),
            message,
            place,
            returns: 0,
        });
        Push::Taken
    }

    fn has_room_for(&self, message: &Message) -> bool {
        let length = self.settings.max_length;
        let bytes = self.settings.max_bytes;
        length.is_none_or(|max| (self.ready.len() as u64) < max)
            && bytes.is_none_or(|max| self.ready_bytes + message.body.len() as u64 <= max)
    }

    /// Puts a message at its place.
    fn insert(&mut self, queued: Queued) {
        self.ready_bytes += queued.message.body.len() as u64;
        self.ready.insert(queued.place, queued);
    }

    /// Takes back a message that was delivered: where it stood, in a classic queue. In a quorum queue
    /// it goes ahead of all that was not yet delivered or, where the client gave it back and there is
    /// no delivery limit, after all others (RabbitMQ 3.10).
    pub(super) fn take_back(&mut self, mut queued: Queued, given_back: bool) {
        if self.settings.kind == Kind::Quorum {
            let last = given_back && self.settings.delivery_limit.is_none();
            queued.place = Place {
                rank: if last { u8::MAX } else { 0 },
                number: self.next_number,
            };
            self.next_number += 1;
        }
        self.insert(queued);
    }

    /// The first message.
    pub(super) fn pop(&mut self) -> Option<Queued> {
        let (_, queued) = self.ready.pop_first()?;
        self.ready_bytes -= queued.message.body.len() as u64;
        Some(queued)
    }

    /// The first message, if it is to be dropped because the queue is too long. Of a queue with
    /// priorities that is one of the highest (RabbitMQ).
    pub(super) fn pop_excess(&mut self) -> Option<Queued> {
        let Settings {
            max_length,
            max_bytes,
            overflow,
            ..
        } = self.settings;
        let too_many = max_length.is_some_and(|max| self.ready.len() as u64 > max);
        let too_large = max_bytes.is_some_and(|max| self.ready_bytes > max);
        let drops = overflow == Overflow::DropHead && (too_many || too_large);
        drops.then(|| self.pop()).flatten()
    }

    /// The first message, if its time is over. One that is not first stays, whatever its time
    /// (RabbitMQ, on per-message TTL).
    pub(super) fn pop_expired(&mut self, is_over: impl Fn(Instant) -> bool) -> Option<Queued> {
        let first = self.ready.first_key_value()?.1;
        match first.expires_at {
            Some(at) if is_over(at) => self.pop(),
            _ => None,
        }
    }

    /// When the first message's time is over.
    pub(super) fn next_expiry(&self) -> Option<Instant> {
        self.ready.first_key_value()?.1.expires_at
    }

    /// Drops all messages that are ready; how many they were.
    pub(super) fn purge(&mut self) -> usize {
        self.ready_bytes = 0;
        std::mem::take(&mut self.ready).len()
    }

    /// Keeps what a restart leaves. A classic queue does not know any more what was delivered, and
    /// says of all that it may have been (RabbitMQ, after a crash).
    pub(super) fn keep_persistent(&mut self) {
        if self.settings.kind == Kind::Quorum {
            return;
        }
        self.ready
            .retain(|_, queued| queued.message.is_persistent());
        self.ready_bytes = 0;
        for queued in self.ready.values_mut() {
            queued.returns = queued.returns.max(1);
            self.ready_bytes += queued.message.body.len() as u64;
        }
    }

    /// Begins the time anew after which it goes away if nobody uses it.
    pub(super) fn used(&mut self, now: Instant) {
        let idle = self.subscribers.is_empty();
        let expires: Option<Duration> = self.settings.expires.filter(|_| idle);
        self.unused_until = expires.and_then(|expires| now.checked_add(expires));
    }

    /// Takes a consumer after those of its priority.
    pub(super) fn subscribe(&mut self, subscriber: Subscriber) {
        // One that is the only active one stays so, whatever the priority of the next.
        let place = if self.settings.single_active_consumer {
            self.subscribers.len()
        } else {
            let before = |other: &Subscriber| other.priority >= subscriber.priority;
            self.subscribers.partition_point(before)
        };
        self.subscribers.insert(place, subscriber);
        self.unused_until = None;
    }

    /// Ends consumers; whether there was one of them.
    pub(super) fn unsubscribe(&mut self, is_meant: impl Fn(&Subscriber) -> bool) -> bool {
        let before = self.subscribers.len();
        self.subscribers.retain(|subscriber| !is_meant(subscriber));
        self.subscribers.len() < before
    }

    /// The consumer that gets the next message: of those that are ready, one of the highest
    /// priority, each in turn.
    pub(super) fn next_subscriber(
        &mut self,
        is_ready: impl Fn(&Subscriber) -> bool,
    ) -> Option<Subscriber> {
        if self.settings.single_active_consumer {
            let active = self.subscribers.first()?;
            return is_ready(active).then(|| active.clone());
        }
        let index = self.subscribers.iter().position(is_ready)?;
        let chosen = self.subscribers.remove(index);
        self.subscribe(chosen.clone());
        Some(chosen)
    }
}
