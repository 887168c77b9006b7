//! What the client talks to.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::{Buf, Bytes, BytesMut};
use snowshoe::codec::method::{Arguments, basic, connection, exchange};
use snowshoe::codec::{
    ChannelId, CloseReason, Connection, Event, Method, ReplyCode, ServerOptions, ShortString,
};
use snowshoe::testing::{Broker, BrokerOptions, ConnectionId};

use crate::pair::{answer, take};
use crate::script::Script;
use crate::vocabulary::{properties, reply, reply_code, request};

/// What a client talks to.
pub(super) enum Peer {
    Server(Box<Server>),
    Broker(Box<Broker>, ConnectionId),
}

/// The codec's server, which says what the script wants.
pub(super) struct Server {
    connection: Connection,
    /// What it was asked and has not answered.
    asked: VecDeque<(ChannelId, Method)>,
    /// The messages that came on each channel.
    published: BTreeMap<ChannelId, u64>,
}

impl Peer {
    pub(super) fn server(now: Instant) -> Self {
        Self::Server(Box::new(Server {
            connection: Connection::server(ServerOptions::default(), now),
            asked: VecDeque::new(),
            published: BTreeMap::new(),
        }))
    }

    pub(super) fn broker(now: Instant) -> Self {
        let mut broker = Broker::new(BrokerOptions::default());
        let id = broker.connect(now);
        Self::Broker(Box::new(broker), id)
    }

    pub(super) fn receive(&mut self, now: Instant, input: &mut BytesMut) {
        match self {
            Self::Server(server) => _ = server.connection.receive(now, input),
            Self::Broker(broker, id) => broker.receive(now, *id, input),
        }
    }

    pub(super) fn handle_timeout(&mut self, now: Instant) {
        match self {
            Self::Server(server) => server.connection.handle_timeout(now),
            Self::Broker(broker, _) => broker.handle_timeout(now),
        }
    }

    pub(super) fn speak(&mut self, len: usize) -> BytesMut {
        match self {
            Self::Server(server) => take(server.connection.outbound(), len),
            Self::Broker(broker, id) => {
                let outbound = broker.outbound(*id);
                outbound.map_or_else(BytesMut::new, |outbound| take(outbound, len))
            }
        }
    }

    pub(super) fn outbound_len(&mut self) -> usize {
        match self {
            Self::Server(server) => server.connection.outbound_len(),
            Self::Broker(broker, id) => broker.outbound(*id).map_or(0, |it| it.remaining()),
        }
    }

    pub(super) fn is_open(&self) -> bool {
        match self {
            Self::Server(server) => server.connection.is_open(),
            Self::Broker(broker, id) => !broker.is_finished(*id),
        }
    }

    pub(super) fn close(&mut self, now: Instant, code: ReplyCode) {
        match self {
            Self::Server(server) => server.connection.close(now, code, ShortString::EMPTY),
            Self::Broker(broker, id) => broker.kick(now, *id),
        }
    }

    pub(super) fn disturb(&mut self, now: Instant, channel: ChannelId, script: &mut Script<'_>) {
        match self {
            Self::Server(server) => server.close_channel(now, channel, script),
            Self::Broker(broker, _) => match script.below(3) {
                0 => broker.block(ShortString::EMPTY),
                1 => broker.unblock(),
                _ => broker.restart(now),
            },
        }
    }

    /// From now on it does as it is told.
    pub(super) fn recover(&mut self, now: Instant) {
        match self {
            Self::Server(server) => {
                while !server.asked.is_empty() {
                    server.answer(now, 0);
                }
            }
            Self::Broker(broker, _) => broker.unblock(),
        }
    }

    /// Whether a connection may end for this reason. A server says what the client's rules forbid,
    /// where the script wants it. The broker does not, and a client gives it no reason to say that
    /// the protocol was broken.
    pub(super) fn may_end(&self, reason: &CloseReason) -> bool {
        match (self, reason) {
            (Self::Broker(..), CloseReason::Violation(_)) => false,
            (Self::Broker(..), CloseReason::Peer(close)) => {
                // An exchange type that there is not is the user's fault (RabbitMQ: 503).
                close.method == exchange::Declare::ID || !(501..=505).contains(&close.code.0)
            }
            _ => true,
        }
    }
}

impl Server {
    pub(super) fn hear(&mut self, now: Instant, is_forged: bool) {
        while let Some(event) = self.connection.poll_event() {
            match event {
                Event::Login { .. } => self.connection.accept_login(),
                Event::OpenRequested { .. } => self.connection.accept_open(),
                Event::ChannelOpen { channel } => _ = self.published.insert(channel, 0),
                Event::ChannelClosed { channel, .. } => {
                    self.asked.retain(|(asked, _)| *asked != channel);
                }
                Event::Request { channel, method } => self.asked.push_back((channel, *method)),
                Event::Published { channel, .. } => {
                    *self.published.entry(channel).or_default() += 1;
                }
                Event::Closed(CloseReason::Violation(violation)) => {
                    assert!(is_forged, "the client broke the protocol: {violation}");
                }
                _ => {}
            }
        }
        self.connection.handle_timeout(now);
    }

    /// Answers one of the calls, as it should be.
    pub(super) fn answer(&mut self, now: Instant, nth: usize) {
        let nth = nth.min(self.asked.len().saturating_sub(1));
        let Some((channel, method)) = self.asked.remove(nth) else {
            return;
        };
        answer(&mut self.connection, now, channel, &method);
    }

    /// Says something of its own accord, whether the client expects it or not.
    pub(super) fn speak_up(&mut self, now: Instant, id: ChannelId, script: &mut Script<'_>) {
        let published = self.published.get(&id).copied().unwrap_or(0);
        let what = script.below(8);
        if what == 0 {
            let notice: Method = match script.below(3) {
                0 => connection::Blocked::default().into(),
                1 => connection::Unblocked.into(),
                _ => connection::UpdateSecretOk.into(),
            };
            _ = self.connection.send_notice(notice);
            return;
        }
        let Some(mut channel) = self.connection.channel(id) else {
            return;
        };
        let body = Bytes::from(vec![7; script.choose(&[0, 1, 5000])]);
        // Where the channel is not open, there is nobody to say it to.
        _ = match what {
            1 | 2 => channel.send(now, reply(script)),
            3 | 4 if published > 0 => channel.ack(1 + script.number() % published, script.flag()),
            5 => {
                let deliver = basic::Deliver {
                    delivery_tag: script.number(),
                    ..Default::default()
                };
                channel.send_content(deliver, &properties(script), &body)
            }
            6 => channel.send_content(basic::GetOk::default(), &properties(script), &body),
            _ => channel.send_content(basic::Return::default(), &properties(script), &body),
        };
    }

    pub(super) fn close_channel(&mut self, now: Instant, id: ChannelId, script: &mut Script<'_>) {
        if let Some(mut channel) = self.connection.channel(id) {
            let method = request(script).id();
            _ = channel.close_over(now, reply_code(script), ShortString::EMPTY, method);
        }
    }
}
