//! The channels of a connection that users drive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use snowshoe_codec as codec;
use snowshoe_codec::method::{Arguments, MethodId, basic};

use super::producers::is_full;
use crate::core::session::{ChannelKey, Session};
use crate::core::topology::Topology;
use crate::error::Error;
use crate::shared::channel::{ChannelInbox, ChannelOperation, ChannelReply};
use crate::sync::answer::Answer;

/// Channels by the session's keys for them.
#[derive(Default)]
pub(super) struct Channels {
    channels: BTreeMap<ChannelKey, Channel>,
    /// What was asked of them and not done yet.
    asked: VecDeque<(Arc<ChannelInbox>, ChannelOperation)>,
    /// How many of it are looked through for what was given up.
    look_through_at: usize,
    /// Those that hold something.
    holding: Vec<ChannelKey>,
}

const LEAST_TO_LOOK_THROUGH: usize = 64;

struct Channel {
    inbox: Arc<ChannelInbox>,
    /// Whoever waits for it to open.
    opened: Option<Answer<Result<(), Error>>>,
    /// Whoever waits for a reply, in the order of the calls.
    calls: Vec<(MethodId, Answer<Result<ChannelReply, Error>>)>,
    /// What cannot be sent yet, since another connection is declaring what it deletes; and what comes
    /// after it.
    held: VecDeque<ChannelOperation>,
}

impl Channels {
    pub(super) fn open(
        &mut self,
        now: Instant,
        session: &mut Session,
        inbox: Arc<ChannelInbox>,
        answer: Answer<Result<(), Error>>,
    ) {
        let key = session.add_channel(now);
        inbox.register(key);
        self.channels.insert(
            key,
            Channel {
                inbox,
                opened: Some(answer),
                calls: Vec::new(),
                held: VecDeque::new(),
            },
        );
    }

    /// Whether something is asked of a channel, and could not be done yet.
    pub(super) fn wait_for_room(&self) -> bool {
        !self.asked.is_empty() || !self.holding.is_empty()
    }

    /// Something is asked of a channel. What was given up leaves, each time that there is twice as much:
    /// while the broker reads nothing, its turn does not come.
    pub(super) fn ask(&mut self, inbox: Arc<ChannelInbox>, operation: ChannelOperation) {
        self.asked.push_back((inbox, operation));
        if self.asked.len() > self.look_through_at.max(LEAST_TO_LOOK_THROUGH) {
            self.asked.retain(|(_, operation)| !operation.is_given_up());
            self.look_through_at = self.asked.len().saturating_mul(2);
        }
    }

    /// Does what was asked, in order, while there is room to write. Whether anything was done.
    pub(super) fn operate(
        &mut self,
        now: Instant,
        session: &mut Session,
        topology: &mut Topology,
    ) -> bool {
        if self.holding.is_empty() && self.asked.is_empty() {
            return false;
        }
        let mut moved = false;
        let channels = &mut self.channels;
        self.holding.retain(|key| {
            channels.get_mut(key).is_some_and(|channel| {
                moved |= channel.go_on(now, *key, session, topology);
                !channel.held.is_empty()
            })
        });
        while !is_full(session)
            && let Some((inbox, operation)) = self.asked.pop_front()
        {
            moved = true;
            self.take_in(now, session, topology, &inbox, operation);
        }
        moved
    }

    /// Where the channel is gone, dropping the operation tells.
    fn take_in(
        &mut self,
        now: Instant,
        session: &mut Session,
        topology: &mut Topology,
        inbox: &Arc<ChannelInbox>,
        operation: ChannelOperation,
    ) {
        let Some(key) = inbox.key() else { return };
        // Another may have its key by now.
        let channel = self.channels.get_mut(&key);
        let Some(channel) = channel.filter(|channel| Arc::ptr_eq(&channel.inbox, inbox)) else {
            return;
        };
        if matches!(operation, ChannelOperation::Close) {
            self.channels.remove(&key);
            session.remove_channel(now, key);
            return inbox.close(Error::ChannelClosed);
        }
        channel.held.push_back(operation);
        if channel.held.len() == 1 {
            channel.go_on(now, key, session, topology);
            if !channel.held.is_empty() {
                self.holding.push(key);
            }
        }
    }

    pub(super) fn opened(&mut self, key: ChannelKey) {
        if let Some(answer) = self
            .channels
            .get_mut(&key)
            .and_then(|channel| channel.opened.take())
        {
            _ = answer.send(Ok(()));
        }
    }

    /// Something came over a channel.
    pub(super) fn event(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: ChannelKey,
        event: codec::Event,
    ) {
        let Some(channel) = self.channels.get_mut(&key) else {
            return;
        };
        let reply = match event {
            codec::Event::Reply { method, .. } => Ok(ChannelReply::Method(*method)),
            codec::Event::Got { got, .. } => Ok(ChannelReply::Got(got)),
            codec::Event::Oversized { oversized, .. }
                if matches!(oversized.message, codec::Incoming::Got(_)) =>
            {
                Err(Error::Oversized(oversized))
            }
            other => {
                if !channel.inbox.push(other) {
                    self.closed(now, session, key, &Error::ChannelOverrun);
                }
                return;
            }
        };
        // The oldest call of its kind: RabbitMQ's basic.consume-ok comes after replies to later
        // calls.
        let id = match &reply {
            Ok(ChannelReply::Method(method)) => method.id(),
            Ok(ChannelReply::Got(_)) | Err(_) => basic::GetOk::ID,
        };
        let asked_by = |(call, _): &(MethodId, _)| id.is_reply_to(*call);
        if let Some(index) = channel.calls.iter().position(asked_by) {
            let (_, answer) = channel.calls.remove(index);
            _ = answer.send(reply);
        }
    }

    /// A channel is gone.
    pub(super) fn closed(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: ChannelKey,
        error: &Error,
    ) {
        session.remove_channel(now, key);
        let Some(channel) = self.channels.remove(&key) else {
            return;
        };
        channel.inbox.close(error.clone());
        if let Some(answer) = channel.opened {
            _ = answer.send(Err(error.clone()));
        }
        for (_, answer) in channel.calls {
            _ = answer.send(Err(error.clone()));
        }
    }

    pub(super) fn give_up(&mut self) {
        self.asked.clear();
        for (_, channel) in std::mem::take(&mut self.channels) {
            channel.inbox.close(Error::Closed);
        }
    }
}

impl Channel {
    /// Does what was held, as far as it can be done. Whether anything was.
    fn go_on(
        &mut self,
        now: Instant,
        key: ChannelKey,
        session: &mut Session,
        topology: &mut Topology,
    ) -> bool {
        let mut moved = false;
        while !is_full(session)
            && let Some(operation) = self.held.pop_front()
        {
            if operation.is_given_up() {
                session.given_up_by_hand(key);
            } else if let Some(method) = operation.method()
                && !session.may_send_by_hand(key, method, topology)
            {
                self.held.push_front(operation);
                break;
            } else {
                self.operate(now, key, session, topology, operation);
            }
            moved = true;
        }
        moved
    }

    /// Where the channel is not open, dropping the operation tells.
    fn operate(
        &mut self,
        now: Instant,
        key: ChannelKey,
        session: &mut Session,
        topology: &mut Topology,
        operation: ChannelOperation,
    ) {
        let Some(mut wire) = session.user_channel(key) else {
            return session.given_up_by_hand(key);
        };
        match operation {
            ChannelOperation::Call { method, answer } => {
                let id = method.id();
                match session.send_by_hand(now, key, method, topology) {
                    Ok(()) => self.calls.push((id, answer)),
                    Err(error) => _ = answer.send(Err(error.into())),
                }
            }
            ChannelOperation::Send { method, answer } => {
                let sent = session.send_by_hand(now, key, method, topology);
                _ = answer.send(sent.map_err(Error::from));
            }
            ChannelOperation::Publish {
                exchange,
                routing_key,
                mandatory,
                message,
                answer,
            } => {
                let properties = message.properties.unwrap_or_default();
                let publish = codec::Publish {
                    exchange: exchange.as_short_str(),
                    routing_key: routing_key.as_short_str(),
                    mandatory,
                    properties: &properties,
                    body: &message.body,
                };
                let published = wire.publish(&publish);
                session.has_published_by_hand();
                _ = answer.send(published.map_err(Error::from));
            }
            ChannelOperation::Close => {}
        }
    }
}
