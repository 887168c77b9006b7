//! What a test can see of a broker.

use bytes::Bytes;
use snowshoe_codec::{ChannelId, FieldTable, Properties, ShortString};

use super::exchange::Destination;
use super::message::Queued;
use super::vhost::VirtualHost;
use super::{Broker, ConnectionId};

/// A queue at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct QueueView {
    /// Its name.
    pub name: ShortString,
    /// Whether it outlives a restart.
    pub durable: bool,
    /// The connection that has it for itself.
    pub owner: Option<ConnectionId>,
    /// What it was declared with.
    pub arguments: FieldTable,
    /// The messages that are ready to be delivered, first the next one; of a stream, all that it has.
    pub ready: Vec<MessageView>,
    /// The messages that came back and [wait](crate::Queue::delayed_retry) before they are ready again, first the
    /// next one.
    pub delayed: Vec<MessageView>,
    /// How many messages were delivered and are not yet acknowledged.
    pub unacked: usize,
    /// The consumer tags of those who consume from it, first the next one.
    pub consumers: Vec<ShortString>,
}

/// A message in a queue.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct MessageView {
    /// The exchange it was published to.
    pub exchange: ShortString,
    /// The routing key it was published with.
    pub routing_key: ShortString,
    /// Its properties, byte for byte as they were published.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
}

/// An exchange at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ExchangeView {
    /// Its name; empty for the default exchange.
    pub name: ShortString,
    /// Its type.
    pub kind: &'static str,
    /// Whether it outlives a restart.
    pub durable: bool,
    /// What messages go on to from it.
    pub bindings: Vec<BindingView>,
}

/// A binding.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct BindingView {
    /// The queue or exchange that messages go to.
    pub destination: ShortString,
    /// Whether that is an exchange.
    pub to_exchange: bool,
    /// Which messages.
    pub routing_key: ShortString,
    /// Which messages, for an exchange of type `headers`.
    pub arguments: FieldTable,
}

/// A connection at one moment.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionView {
    /// Its id.
    pub id: ConnectionId,
    /// Whether the handshake is complete and nobody has begun to close.
    pub is_open: bool,
    /// Who logged in; empty before that.
    pub user: String,
    /// The virtual host; empty before it is opened.
    pub virtual_host: ShortString,
    /// What the client said of itself.
    pub properties: FieldTable,
    /// The numbers of its channels.
    pub channels: Vec<ChannelId>,
    /// Whether it is not read because it publishes while the broker is short of something.
    pub is_blocked: bool,
}

/// # A look inside
impl Broker {
    /// A queue, if there is one of this name.
    pub fn queue(&self, virtual_host: &str, name: &str) -> Option<QueueView> {
        let host = self.hosts.get(virtual_host.as_bytes())?;
        let queue = host.queue(host.queue_id(name.as_bytes())?)?;
        Some(QueueView {
            name: queue.name.clone(),
            durable: queue.durable,
            owner: queue.owner,
            arguments: queue.arguments.clone(),
            ready: queue
                .ready()
                .map(|queued| MessageView::of(&queued))
                .collect(),
            delayed: queue.delayed().map(MessageView::of).collect(),
            unacked: queue.unacked,
            consumers: queue
                .subscribers
                .iter()
                .map(|subscriber| subscriber.tag.clone())
                .collect(),
        })
    }

    /// The names of all queues, in the order in which they were declared.
    pub fn queue_names(&self, virtual_host: &str) -> Vec<ShortString> {
        let host = self.hosts.get(virtual_host.as_bytes());
        let queues = host.into_iter().flat_map(VirtualHost::queues);
        queues.map(|(_, queue)| queue.name.clone()).collect()
    }

    /// All exchanges, in the order of their names.
    pub fn exchanges(&self, virtual_host: &str) -> Vec<ExchangeView> {
        let Some(host) = self.hosts.get(virtual_host.as_bytes()) else {
            return Vec::new();
        };
        let view = |destination: &Destination| match destination {
            Destination::Exchange(name) => (name.clone(), true),
            Destination::Queue(id) => {
                let name = host.queue(*id).map(|queue| queue.name.clone());
                (name.unwrap_or_default(), false)
            }
        };
        host.exchanges()
            .map(|(name, exchange)| ExchangeView {
                name: name.clone(),
                kind: exchange.type_name(),
                durable: exchange.durable,
                bindings: exchange
                    .bindings
                    .iter()
                    .map(|binding| {
                        let (destination, to_exchange) = view(&binding.destination);
                        BindingView {
                            destination,
                            to_exchange,
                            routing_key: binding.routing_key.clone(),
                            arguments: binding.arguments.clone(),
                        }
                    })
                    .collect(),
            })
            .collect()
    }

    /// All connections whose transport has not ended, the oldest first.
    pub fn connections(&self) -> Vec<ConnectionView> {
        self.clients
            .iter()
            .map(|(id, client)| ConnectionView {
                id: *id,
                is_open: client.connection.is_open(),
                user: client.user.clone(),
                virtual_host: client.virtual_host.clone(),
                properties: client.connection.peer_properties().clone(),
                channels: client.channels.keys().copied().collect(),
                is_blocked: client.is_blocked,
            })
            .collect()
    }
}

impl MessageView {
    fn of(queued: &Queued) -> Self {
        let message = &queued.message;
        Self {
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            properties: message.properties.clone(),
            body: message.body.clone(),
            redelivered: queued.redelivered,
        }
    }
}
