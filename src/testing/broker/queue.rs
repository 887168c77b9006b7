mod arguments;
mod delay;
mod stream;

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use snowshoe_codec::{ChannelId, FieldTable, ShortString};

pub(super) use self::arguments::{
    Kind, Overflow, Settings, compared, invalid_for, not_an_integer, type_name,
};
use self::stream::Log;
pub(super) use self::stream::{Cursor, Start};
use super::ConnectionId;
use super::duplicates::Duplicates;
use super::manner::Manner;
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
    pub(super) duplicates: Option<Duplicates>,
    ready: BTreeMap<Place, Queued>,
    ready_bytes: u64,
    next_number: u64,
    /// What came back and waits, by when that is over.
    delayed: BTreeMap<(Instant, u64), Queued>,
    /// What a stream holds, in the place of `ready`.
    log: Log,
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
    /// Where it stands in a stream.
    pub(super) cursor: Option<Cursor>,
}

impl Subscriber {
    /// Whether it is the same.
    fn is(&self, other: &Self) -> bool {
        let place = |it: &Self| (it.connection, it.channel);
        place(self) == place(other) && self.tag == other.tag
    }
}

/// What became of a message that was to be put into a queue.
pub(super) enum Push {
    Taken,
    /// It was there before, and is dropped.
    Duplicate,
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
            duplicates: None,
            ready: BTreeMap::new(),
            ready_bytes: 0,
            next_number: 0,
            delayed: BTreeMap::new(),
            log: Log::default(),
            unacked: 0,
            subscribers: Vec::new(),
            unused_until: None,
        };
        queue.used(now);
        queue
    }

    pub(super) fn is_stream(&self) -> bool {
        self.settings.kind == Kind::Stream
    }

    /// How many messages are ready. Streams are not counted: RabbitMQ says so long after.
    pub(super) fn ready_count(&self) -> usize {
        self.ready.len()
    }

    /// All that can be delivered; of a stream, all that it holds.
    pub(super) fn ready(&self) -> impl Iterator<Item = Queued> {
        self.ready.values().cloned().chain(self.log.messages())
    }

    /// A reader of a stream that begins there.
    pub(super) fn cursor(&self, now: Instant, start: Start, tag: &ShortString) -> Cursor {
        self.log.cursor(now, start, tag)
    }

    /// Whether what a client does not settle is taken from it one day. RabbitMQ 4.3 does so in quorum
    /// queues only.
    pub(super) fn is_timed(&self, manner: Manner) -> bool {
        self.settings.kind == Kind::Quorum || !manner.is_rabbit_4_3()
    }

    pub(super) fn has_ready(&self) -> bool {
        !self.ready.is_empty()
    }

    /// Puts a new message after all of its priority.
    pub(super) fn push(&mut self, now: Instant, message: Message, redelivered: bool) -> Push {
        if self
            .duplicates
            .as_mut()
            .is_some_and(|it| it.is_one(&message))
        {
            return Push::Duplicate;
        }
        if self.settings.kind == Kind::Stream {
            self.log.push(now, message);
            return Push::Taken;
        }
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
            redelivered,
            returns: 0,
            acquired: 0,
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
    /// it goes ahead of all that was not yet delivered or, in RabbitMQ before 4.3, where the client gave it
    /// back and there is no delivery limit, after all others.
    pub(super) fn take_back(&mut self, mut queued: Queued, given_back: bool, manner: Manner) {
        if self.settings.kind == Kind::Quorum {
            let unlimited = self.settings.delivery_limit.is_none();
            let last = given_back && unlimited && !manner.is_rabbit_4_3();
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

    /// Whether there is a message for a consumer.
    pub(super) fn has_ready_for(&self, subscriber: &Subscriber) -> bool {
        match &subscriber.cursor {
            Some(cursor) => self.log.has_more(cursor),
            None => self.has_ready(),
        }
    }

    /// The next message for a consumer.
    pub(super) fn pop_for(&mut self, subscriber: &Subscriber, manner: Manner) -> Option<Queued> {
        if self.settings.kind != Kind::Stream {
            return self.pop();
        }
        let same = self.subscribers.iter_mut().find(|it| it.is(subscriber))?;
        self.log.read(same.cursor.as_mut()?, manner)
    }

    /// A reader of a stream acknowledged a message, or gave it back.
    pub(super) fn settle_read(&mut self, tag: &ShortString, offset: u64, given_back: bool) {
        let readers = self.subscribers.iter_mut();
        for reader in readers.filter(|reader| reader.tag == *tag) {
            if let Some(cursor) = &mut reader.cursor {
                match given_back {
                    true => cursor.give_back(offset),
                    false => self.log.keep(tag, cursor),
                }
            }
        }
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

    /// Drops all messages that are ready, or wait until they are; how many they were.
    pub(super) fn purge(&mut self) -> usize {
        self.ready_bytes = 0;
        std::mem::take(&mut self.ready).len() + self.purge_delayed()
    }

    /// Keeps what a restart leaves. A classic queue does not know any more what was delivered, and
    /// says of all that it may have been (RabbitMQ, after a crash).
    pub(super) fn keep_persistent(&mut self) {
        if self.settings.kind != Kind::Classic {
            return;
        }
        self.ready
            .retain(|_, queued| queued.message.is_persistent());
        self.ready_bytes = 0;
        for queued in self.ready.values_mut() {
            queued.redelivered = true;
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

    /// Those of whom one may get the next message.
    pub(super) fn candidates(&self) -> &[Subscriber] {
        match self.settings.single_active_consumer {
            true => &self.subscribers[..self.subscribers.len().min(1)],
            false => &self.subscribers,
        }
    }

    /// One that is the only active one makes way for the next.
    pub(super) fn hand_over(&mut self, is_meant: impl Fn(&Subscriber) -> bool) {
        if self.settings.single_active_consumer
            && let Some(active) = self.subscribers.iter().position(is_meant)
        {
            self.subscribers[active..].rotate_left(1);
        }
    }

    /// A consumer has its turn after all others of its priority.
    pub(super) fn rejoin(&mut self, is_meant: impl Fn(&Subscriber) -> bool) {
        if !self.settings.single_active_consumer
            && let Some(index) = self.subscribers.iter().position(is_meant)
        {
            let subscriber = self.subscribers.remove(index);
            self.subscribe(subscriber);
        }
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
        let mut candidates = self.candidates().iter();
        let index = candidates.position(|it| is_ready(it) && self.has_ready_for(it))?;
        if self.settings.single_active_consumer {
            return Some(self.subscribers[index].clone());
        }
        let chosen = self.subscribers.remove(index);
        self.subscribe(chosen.clone());
        Some(chosen)
    }
}
