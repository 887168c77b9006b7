//! From queues to consumers, and everything else that one thing leads to.

use std::collections::BTreeMap;
use std::time::Instant;

use snowshoe_codec::method::basic;
use snowshoe_codec::{ChannelId, ShortString};

use super::channel::{Channel, Unacked};
use super::client::Client;
use super::manner::Manner;
use super::message::Queued;
use super::queue::{QueueId, Subscriber};
use super::vhost::VirtualHost;
use super::{Broker, ConnectionId};

/// How often all queues have their turn before something else has it.
const ROUNDS: usize = 16;

impl Broker {
    /// Lets everything happen that follows from what was done: messages are dead-lettered and
    /// delivered, what cannot wait is expired, consumers without a queue are told.
    pub(super) fn settle_down(&mut self, now: Instant) {
        let unix_time = self.unix_time(now);
        let limit = self.options.outbound_limit;
        for host in self.hosts.values_mut() {
            for round in 0.. {
                host.bury(now, unix_time);
                tell_orphans(now, host, &mut self.clients);
                host.replies.deliver(host.manner, &mut self.clients);
                let stirred = std::mem::take(&mut host.stirred);
                let mut held_back = Vec::new();
                for id in &stirred {
                    // What has no time at all is for consumers that are ready at once.
                    host.expire(*id, |at| at < now);
                    if !deliver(now, host, &mut self.clients, limit, *id) {
                        held_back.push(*id);
                    }
                    host.expire(*id, |at| at <= now);
                    host.trim(*id);
                }
                let at_rest = host.dead.is_empty() && host.stirred.is_empty();
                host.stirred.extend(held_back);
                // Queues that dead-letter to each other can be at it for very long.
                if at_rest || round >= ROUNDS && !host.dead.is_empty() {
                    break;
                }
            }
        }
    }

    /// Whether there is something to do at once: a queue was kept from delivering by what waits to
    /// be written, and no longer is, or there is more to be dead-lettered.
    pub(super) fn has_work(&self) -> bool {
        let limit = self.options.outbound_limit;
        self.hosts.values().any(|host| {
            if !host.dead.is_empty() {
                return true;
            }
            let stirred = host.stirred.iter().filter_map(|id| host.queue(*id));
            let mut consumers = stirred.flat_map(|queue| {
                let consumers = queue.candidates().iter();
                consumers.filter(|consumer| queue.has_ready_for(consumer))
            });
            consumers.any(|consumer| {
                let client = self.clients.get(&consumer.connection);
                client.is_some_and(|client| client.has_room(limit) && client.would_take(consumer))
            })
        })
    }
}

/// Delivers what a queue has to whom is ready for it. `false` if somebody would be, were not so
/// much waiting to be written.
fn deliver(
    now: Instant,
    host: &mut VirtualHost,
    clients: &mut BTreeMap<ConnectionId, Client>,
    limit: usize,
    id: QueueId,
) -> bool {
    let manner = host.manner;
    let Some(queue) = host.queue_mut(id) else {
        return true;
    };
    loop {
        let is_ready = |subscriber: &Subscriber| {
            let client = clients.get(&subscriber.connection);
            let takes = client.filter(|client| client.would_take(subscriber));
            takes.is_some_and(|client| client.has_room(limit))
        };
        let Some(subscriber) = queue.next_subscriber(is_ready) else {
            return !queue.candidates().iter().any(|subscriber| {
                let client = clients.get(&subscriber.connection);
                let would = client.is_some_and(|client| client.would_take(subscriber));
                would && queue.has_ready_for(subscriber)
            });
        };
        let queued = queue.pop_for(&subscriber, manner);
        let (Some(client), Some(queued)) = (clients.get_mut(&subscriber.connection), queued) else {
            return true;
        };
        if !subscriber.no_ack {
            queue.unacked += 1;
        }
        let counts = queue.settings.tells_counts.then_some(manner);
        let timed = queue.is_timed(manner);
        client.deliver(now, id, &subscriber, queued, counts, timed);
    }
}

impl Client {
    /// Whether less waits to be written than the limit.
    pub(super) fn has_room(&self, limit: usize) -> bool {
        self.connection.outbound_len() < limit
    }

    /// Whether its prefetch limits let one more delivery through.
    pub(super) fn would_take(&self, subscriber: &Subscriber) -> bool {
        let channel = self.channels.get(&subscriber.channel);
        channel.is_some_and(|channel| subscriber.no_ack || channel.has_room(&subscriber.tag))
    }

    fn deliver(
        &mut self,
        now: Instant,
        queue: QueueId,
        subscriber: &Subscriber,
        queued: Queued,
        counts: Option<Manner>,
        timed: bool,
    ) {
        let Some(channel) = self.channels.get_mut(&subscriber.channel) else {
            return;
        };
        let delivery_tag = channel.next_tag();
        let message = match counts {
            Some(manner) => queued.with_count(manner, false),
            None => queued.message.clone(),
        };
        let method = basic::Deliver {
            consumer_tag: subscriber.tag.clone(),
            delivery_tag,
            redelivered: queued.redelivered,
            exchange: message.exchange,
            routing_key: message.routing_key,
        };
        if !subscriber.no_ack {
            channel.delivered(Unacked {
                tag: delivery_tag,
                queue,
                queued,
                consumer: Some(subscriber.tag.clone()),
                since: timed.then_some(now),
                is_over: false,
            });
        }
        // Where the client can no longer hear it, the message goes back with its channel.
        self.send_content(
            subscriber.channel,
            method,
            &message.properties,
            &message.body,
        );
    }

    /// Tells that a consumer is no more, where it asked to be told.
    pub(super) fn tell_cancelled(
        &mut self,
        now: Instant,
        channel: ChannelId,
        consumer_tag: ShortString,
    ) {
        if self.is_capable_of("consumer_cancel_notify") {
            let cancel = basic::Cancel {
                consumer_tag,
                nowait: true,
            };
            self.send(now, channel, cancel);
        }
    }

    /// Since when the delivery has been waiting that has waited longest.
    pub(super) fn oldest_delivery(&self) -> Option<Instant> {
        let channels = self.channels.values();
        channels.filter_map(Channel::oldest_delivery).min()
    }
}

/// Ends the consumers of queues that are gone.
fn tell_orphans(
    now: Instant,
    host: &mut VirtualHost,
    clients: &mut BTreeMap<ConnectionId, Client>,
) {
    for orphan in host.orphans.drain(..) {
        let Some(client) = clients.get_mut(&orphan.connection) else {
            continue;
        };
        let channel = client.channels.get_mut(&orphan.channel);
        let was_there = channel.and_then(|channel| channel.consumers.remove(&orphan.tag));
        if was_there.is_some() {
            client.tell_cancelled(now, orphan.channel, orphan.tag);
        }
    }
}
