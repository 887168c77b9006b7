//! What must agree inside of a broker, whatever clients do.

#[cfg(feature = "_internal")]
use super::channel::Mode;
use super::exchange::Destination;
use super::vhost::VirtualHost;
use super::{Broker, Client, ConnectionId};

impl Broker {
    /// Panics where two places of the broker do not say the same.
    pub(crate) fn check_books(&self) {
        for host in self.hosts.values() {
            self.check_queues(host);
            check_bindings(host);
        }
        for (id, client) in &self.clients {
            self.check_client(*id, client);
        }
    }

    /// How many messages it has, wherever they are.
    #[cfg(feature = "_internal")]
    pub(crate) fn message_count(&self) -> usize {
        let hosts = self.hosts.values().map(|host| {
            let ready = host
                .queues()
                .map(|(_, queue)| queue.ready_count() + queue.delayed().count());
            ready.sum::<usize>() + host.dead.len() + host.delayed.len()
        });
        let channels = self
            .clients
            .values()
            .flat_map(|client| client.channels.values());
        let channels = channels.map(|channel| {
            let uncommitted = match &channel.mode {
                Mode::Transaction(transaction) => transaction.publishes.len(),
                Mode::Plain | Mode::Confirm(_) => 0,
            };
            channel.held().len() + uncommitted
        });
        hosts.sum::<usize>() + channels.sum::<usize>()
    }

    fn check_queues(&self, host: &VirtualHost) {
        let clients = || (self.clients.values()).filter(|it| it.virtual_host == host.name);
        let channels = || clients().flat_map(|client| client.channels.values());
        for (id, queue) in host.queues() {
            let name = &queue.name;
            assert_eq!(host.queue_id(name.as_bytes()), Some(id), "{name}");

            // What is unacknowledged according to the queues is so according to the channels.
            let held = channels().flat_map(super::channel::Channel::held);
            let held = held.filter(|unacked| unacked.queue == id).count();
            assert_eq!(queue.unacked, held, "{name}");

            let consumers = channels().flat_map(|channel| channel.consumers.values());
            let consumers = consumers.filter(|consumer| consumer.queue == id).count();
            assert_eq!(queue.subscribers.len(), consumers, "{name}");
            for subscriber in &queue.subscribers {
                let client = &self.clients[&subscriber.connection];
                let channel = &client.channels[&subscriber.channel];
                assert_eq!(channel.consumers[&subscriber.tag].queue, id, "{name}");
            }
            let owner = queue.owner.and_then(|owner| self.clients.get(&owner));
            let owner_lives = owner.is_some_and(|owner| !owner.is_gone);
            assert!(queue.owner.is_none() || owner_lives, "{name}");
        }
        assert!(host.orphans.is_empty(), "consumers wait to be told");
    }

    fn check_client(&self, id: ConnectionId, client: &Client) {
        if client.is_gone {
            assert!(client.channels.is_empty(), "{id:?}");
        }
        for channel in client.channels.values() {
            let host = &self.hosts[&client.virtual_host];
            for consumer in channel.consumers.values() {
                assert!(host.queue(consumer.queue).is_some(), "{consumer:?}");
            }
        }
    }
}

/// No binding leads to what is gone.
fn check_bindings(host: &VirtualHost) {
    for (name, exchange) in host.exchanges() {
        for binding in &exchange.bindings {
            let is_there = match &binding.destination {
                Destination::Queue(id) => host.queue(*id).is_some(),
                Destination::Exchange(other) => host.exchange(other).is_ok(),
            };
            assert!(is_there, "{binding:?} of {name}");
        }
    }
}
