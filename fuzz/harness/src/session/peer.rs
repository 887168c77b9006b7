//! The broker at the other end of one connection, which does as the script says.

use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use bytes::{Bytes, BytesMut};
use snowshoe::codec::method::{Arguments, basic, channel, connection};
use snowshoe::codec::{
    ChannelId, CloseReason, Connection, Event, Method, MethodId, Properties, ReplyCode,
    ServerOptions, ShortString,
};

use super::record::WATCHED;
use crate::pair::{answer, take};
use crate::script::Script;
use crate::vocabulary::{properties, reply, reply_code, request};

/// What a broker does of its own accord. It outlives connections.
#[derive(Clone, Copy, Debug)]
pub(super) struct Habits {
    pub(super) lets_in: bool,
    /// Whether it answers what it is asked.
    pub(super) answers: bool,
    /// Whether it confirms what it is given.
    pub(super) confirms: bool,
}

pub(super) struct Peer {
    connection: Connection,
    /// What it was asked and has not answered.
    asked: VecDeque<(ChannelId, Method)>,
    channels: BTreeMap<ChannelId, Channel>,
    /// Whether the client was told something else than what this one said.
    pub(super) is_forged: bool,
    pub(super) is_closed: bool,
}

#[derive(Default)]
struct Channel {
    /// The bodies that came since confirms were asked for.
    confirmable: Option<Vec<Bytes>>,
    consumer: ShortString,
    last_delivery: u64,
}

impl Peer {
    pub(super) fn new(now: Instant) -> Self {
        Self {
            connection: Connection::server(ServerOptions::default(), now),
            asked: VecDeque::new(),
            channels: BTreeMap::new(),
            is_forged: false,
            is_closed: false,
        }
    }

    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.connection.poll_timeout()
    }

    pub(super) fn hear(&mut self, now: Instant, habits: Habits, input: &mut BytesMut) {
        self.connection.handle_timeout(now);
        let mut is_behind = true;
        while is_behind {
            is_behind = self.connection.receive(now, input);
            while let Some(event) = self.connection.poll_event() {
                self.react(now, habits, event);
            }
        }
        while habits.answers && !self.asked.is_empty() {
            self.answer(now, 0);
        }
    }

    pub(super) fn speak(&mut self) -> BytesMut {
        take(self.connection.outbound(), usize::MAX)
    }

    fn react(&mut self, now: Instant, habits: Habits, event: Event) {
        match event {
            Event::Login { .. } if habits.lets_in => self.connection.accept_login(),
            Event::Login { .. } => {
                self.connection
                    .close(now, ReplyCode::ACCESS_REFUSED, ShortString::EMPTY);
            }
            Event::OpenRequested { .. } => self.connection.accept_open(),
            Event::ChannelOpen { channel } => {
                self.channels.insert(channel, Channel::default());
            }
            Event::ChannelClosed { channel, .. } => {
                self.channels.remove(&channel);
                self.asked.retain(|(asked, _)| *asked != channel);
            }
            Event::Request { channel, method } => {
                if let Some(state) = self.channels.get_mut(&channel) {
                    match &*method {
                        Method::ConfirmSelect(_) => {
                            state.confirmable.get_or_insert_default();
                        }
                        Method::BasicConsume(it)
                            if it.consumer_tag.as_bytes().starts_with(WATCHED) =>
                        {
                            state.consumer = it.consumer_tag.clone();
                        }
                        _ => {}
                    }
                }
                self.asked.push_back((channel, *method));
            }
            Event::Published { channel, published } => {
                let confirmable = self.channels.get_mut(&channel);
                let Some(confirmable) = confirmable.and_then(|it| it.confirmable.as_mut()) else {
                    return;
                };
                confirmable.push(published.content.body_bytes());
                let number = confirmable.len() as u64;
                if let Some(mut channel) = self.connection.channel(channel)
                    && habits.confirms
                {
                    _ = channel.ack(number, false);
                }
            }
            Event::Closed(reason) => {
                self.is_closed = true;
                if let CloseReason::Violation(violation) = reason {
                    assert!(self.is_forged, "the client broke the protocol: {violation}");
                }
            }
            _ => {}
        }
    }

    /// Answers one of the calls, as it should be.
    pub(super) fn answer(&mut self, now: Instant, nth: usize) {
        let Some((channel, method)) = self.take_asked(nth) else {
            return;
        };
        answer(&mut self.connection, now, channel, &method);
    }

    /// Makes up for what it left undone.
    pub(super) fn recover(&mut self, now: Instant) {
        _ = self.connection.send_notice(connection::Unblocked);
        for (id, state) in &self.channels {
            let Some(mut channel) = self.connection.channel(*id) else {
                continue;
            };
            _ = channel.send(now, channel::Flow { active: true });
            if let Some(given) = state.confirmable.as_ref().filter(|it| !it.is_empty()) {
                _ = channel.ack(given.len() as u64, true);
            }
        }
    }

    fn take_asked(&mut self, nth: usize) -> Option<(ChannelId, Method)> {
        let nth = nth.min(self.asked.len().checked_sub(1)?);
        self.asked.remove(nth)
    }

    /// Closes the channel, or the connection, over a call or over a publish.
    pub(super) fn refuse(&mut self, now: Instant, id: ChannelId, script: &mut Script<'_>) {
        let code = reply_code(script);
        let text = script.choose(&["", "low on disk space"]);
        let text = ShortString::from_static(text);
        let [over_a_call, ends_connection, ..] = script.flags();
        let call = self.take_asked(0).filter(|_| over_a_call);
        let (id, method) = call.map_or_else(
            || (id, script.choose(&[basic::Publish::ID, NO_METHOD])),
            |(channel, method)| (channel, method.id()),
        );
        if ends_connection || id == ChannelId(0) {
            self.connection.close_over(now, code, text, method);
        } else if let Some(mut channel) = self.connection.channel(id) {
            _ = channel.close_over(now, code, text, method);
        }
    }

    /// Confirms or refuses messages that it was given or, seldom, that it was not.
    pub(super) fn confirm(&mut self, id: ChannelId, script: &mut Script<'_>) {
        let given = self
            .channels
            .get(&id)
            .and_then(|it| it.confirmable.as_ref());
        let given = given.map_or(0, Vec::len) as u64;
        let number = match script.number() {
            number if number < 200 && given > 0 => 1 + number % given,
            number => number,
        };
        let [multiple, refuses, ..] = script.flags();
        if let Some(mut channel) = self.connection.channel(id) {
            _ = match refuses {
                true => channel.nack(number, multiple, false),
                false => channel.ack(number, multiple),
            };
        }
    }

    /// Returns a message that it was given.
    pub(super) fn give_back(&mut self, id: ChannelId, script: &mut Script<'_>) {
        let given = self
            .channels
            .get(&id)
            .and_then(|it| it.confirmable.as_ref());
        let nth = usize::from(script.byte());
        let body = given.and_then(|given| given.get(nth % given.len().max(1)));
        let body = body.cloned().unwrap_or_default();
        let key = script.choose(&["key", "other"]);
        let method = basic::Return {
            reply_code: ReplyCode::NO_ROUTE,
            routing_key: ShortString::from_static(key),
            ..Default::default()
        };
        if let Some(mut channel) = self.connection.channel(id) {
            _ = channel.send_content(method, &Properties::EMPTY, &body);
        }
    }

    /// Delivers a message, under the next tag as a rule.
    pub(super) fn deliver(&mut self, id: ChannelId, script: &mut Script<'_>) {
        let (Some(mut channel), Some(state)) =
            (self.connection.channel(id), self.channels.get_mut(&id))
        else {
            return;
        };
        let delivery_tag = match script.byte() {
            byte @ 240.. => u64::from(byte - 240),
            byte => state.last_delivery + 1 + u64::from(byte / 120),
        };
        state.last_delivery = delivery_tag;
        let method = basic::Deliver {
            consumer_tag: state.consumer.clone(),
            delivery_tag,
            ..Default::default()
        };
        let body = Bytes::from(vec![7; script.below(30).into()]);
        _ = channel.send_content(method, &properties(script), &body);
    }

    pub(super) fn cancel_consumer(&mut self, now: Instant, id: ChannelId, script: &mut Script<'_>) {
        if let (Some(mut channel), Some(state)) =
            (self.connection.channel(id), self.channels.get(&id))
        {
            let cancel = basic::Cancel {
                consumer_tag: state.consumer.clone(),
                nowait: script.flag(),
            };
            _ = channel.send(now, cancel);
        }
    }

    /// Says something, whether the client expects it or not.
    pub(super) fn speak_up(&mut self, now: Instant, id: ChannelId, script: &mut Script<'_>) {
        let notice: Method = match script.below(6) {
            0 => connection::Blocked::default().into(),
            1 => connection::Unblocked.into(),
            2 => connection::UpdateSecretOk.into(),
            3 => {
                return self
                    .connection
                    .close(now, reply_code(script), ShortString::EMPTY);
            }
            _ => {
                if let Some(mut channel) = self.connection.channel(id) {
                    _ = channel.send(now, reply(script));
                }
                return;
            }
        };
        _ = self.connection.send_notice(notice);
    }

    /// Closes a channel over something that it was not asked, or not last.
    pub(super) fn close_channel(&mut self, now: Instant, id: ChannelId, script: &mut Script<'_>) {
        if let Some(mut channel) = self.connection.channel(id) {
            let method = request(script).id();
            _ = channel.close_over(now, reply_code(script), ShortString::EMPTY, method);
        }
    }
}

const NO_METHOD: MethodId = MethodId {
    class: 0,
    method: 0,
};
