//! Direct reply-to: answers that go to a channel, and to no queue.

use std::collections::BTreeMap;

use snowshoe_codec::method::basic;
use snowshoe_codec::{ChannelId, ShortString};

use super::ConnectionId;
use super::client::Client;
use super::manner::Manner;
use super::message::Message;

/// Who gets direct replies in a virtual host, and what is on its way to them.
#[derive(Debug, Default)]
pub(super) struct DirectReplies {
    /// By their addresses.
    consumers: BTreeMap<ShortString, ReplyConsumer>,
    due: Vec<(ReplyConsumer, Message)>,
}

/// A channel's consumer of direct replies.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ReplyConsumer {
    pub(super) connection: ConnectionId,
    pub(super) channel: ChannelId,
    pub(super) tag: ShortString,
}

impl DirectReplies {
    pub(super) fn add(&mut self, address: ShortString, consumer: ReplyConsumer) {
        self.consumers.insert(address, consumer);
    }

    pub(super) fn remove(&mut self, address: &ShortString) {
        self.consumers.remove(address);
    }

    /// Whether a name, as it is declared, is there.
    pub(super) fn is_there(&self, name: &[u8]) -> bool {
        name == DIRECT_REPLY_TO || self.consumers.contains_key(name)
    }

    /// Sends a message to whoever has this address, if anybody has.
    pub(super) fn send(&mut self, address: &[u8], message: &Message) {
        let consumer = self.consumers.get(address);
        let sent = consumer.map(|it| (it.clone(), message.clone()));
        self.due.extend(sent);
    }

    /// Delivers what is on its way.
    pub(super) fn deliver(&mut self, manner: Manner, clients: &mut BTreeMap<ConnectionId, Client>) {
        for (consumer, message) in self.due.drain(..) {
            let Some(client) = clients.get_mut(&consumer.connection) else {
                continue;
            };
            let Some(channel) = client.channels.get_mut(&consumer.channel) else {
                continue;
            };
            let deliver = basic::Deliver {
                consumer_tag: consumer.tag,
                delivery_tag: match manner.counts_replies() {
                    true => channel.next_tag(),
                    false => channel.tag_to_come(),
                },
                redelivered: false,
                exchange: message.exchange,
                routing_key: message.routing_key,
            };
            client.send_content(
                consumer.channel,
                deliver,
                &message.properties,
                &message.body,
            );
        }
    }

    /// Nobody is connected any more.
    pub(super) fn clear(&mut self) {
        self.consumers.clear();
        self.due.clear();
    }
}

/// What is consumed from, and named in a request, to get answers directly.
pub(super) const DIRECT_REPLY_TO: &[u8] = b"amq.rabbitmq.reply-to";

/// Whether a name is that, or an address for answers.
pub(super) fn is_of_direct_replies(name: &[u8]) -> bool {
    name.starts_with(DIRECT_REPLY_TO)
}

/// Whether a routing key is an address for answers.
pub(super) fn is_address(key: &[u8]) -> bool {
    key.strip_prefix(DIRECT_REPLY_TO)
        .is_some_and(|rest| rest.starts_with(b"."))
}
