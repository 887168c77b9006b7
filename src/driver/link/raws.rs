//! The channels of a connection that users drive.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Instant;

use snowshoe_codec as codec;
use snowshoe_codec::method::{Arguments, MethodId, basic};

use super::senders::is_full;
use crate::channel::{RawInbox, RawReply};
use crate::core::session::Session;
use crate::error::Error;
use crate::shared::{Answer, RawOperation};

/// Channels by the session's keys for them.
#[derive(Default)]
pub(super) struct Raws {
    raws: BTreeMap<usize, Raw>,
    /// What was asked of them and not done yet.
    asked: VecDeque<(Arc<RawInbox>, RawOperation)>,
}

struct Raw {
    inbox: Arc<RawInbox>,
    /// Whoever waits for it to open.
    opened: Option<Answer<Result<(), Error>>>,
    /// Whoever waits for a reply, in the order of the calls.
    calls: Vec<(MethodId, Answer<Result<RawReply, Error>>)>,
}

impl Raws {
    pub(super) fn open(
        &mut self,
        now: Instant,
        session: &mut Session,
        inbox: Arc<RawInbox>,
        answer: Answer<Result<(), Error>>,
    ) {
        let key = session.add_raw(now);
        inbox.settle_in(key);
        self.raws.insert(
            key,
            Raw {
                inbox,
                opened: Some(answer),
                calls: Vec::new(),
            },
        );
    }

    /// Something is asked of a channel.
    pub(super) fn ask(&mut self, inbox: Arc<RawInbox>, operation: RawOperation) {
        self.asked.push_back((inbox, operation));
    }

    /// Does what was asked, in order, while there is room to write. Whether anything was done.
    pub(super) fn operate(&mut self, now: Instant, session: &mut Session) -> bool {
        let mut moved = false;
        while !is_full(session)
            && let Some((inbox, operation)) = self.asked.pop_front()
        {
            moved = true;
            self.operate_one(now, session, &inbox, operation);
        }
        moved
    }

    /// Where the channel is gone, dropping the operation tells.
    fn operate_one(
        &mut self,
        now: Instant,
        session: &mut Session,
        inbox: &Arc<RawInbox>,
        operation: RawOperation,
    ) {
        let Some(key) = inbox.place() else { return };
        // Another may have its key by now.
        let raw = self.raws.get_mut(&key);
        let Some(raw) = raw.filter(|raw| Arc::ptr_eq(&raw.inbox, inbox)) else {
            return;
        };
        if matches!(operation, RawOperation::Close) {
            self.raws.remove(&key);
            session.remove_raw(now, key);
            return inbox.close(Error::ChannelClosed);
        }
        let Some(mut channel) = session.raw_channel(key) else {
            return;
        };
        match operation {
            RawOperation::Call { method, answer } => {
                let id = method.id();
                match channel.send(now, method) {
                    Ok(()) => raw.calls.push((id, answer)),
                    Err(error) => _ = answer.try_send(Err(error.into())),
                }
            }
            RawOperation::Send { method, answer } => {
                _ = answer.try_send(channel.send(now, method).map_err(Error::from));
            }
            RawOperation::Publish {
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
                _ = answer.try_send(channel.publish(&publish).map_err(Error::from));
            }
            RawOperation::Close => {}
        }
    }

    pub(super) fn opened(&mut self, key: usize) {
        if let Some(answer) = self.raws.get_mut(&key).and_then(|raw| raw.opened.take()) {
            _ = answer.try_send(Ok(()));
        }
    }

    /// Something came over a channel.
    pub(super) fn event(&mut self, key: usize, event: codec::Event) {
        let Some(raw) = self.raws.get_mut(&key) else {
            return;
        };
        let reply = match event {
            codec::Event::Reply { method, .. } => RawReply::Method(*method),
            codec::Event::Got { got, .. } => RawReply::Got(got),
            other => return raw.inbox.push(other),
        };
        // The oldest call of its kind: RabbitMQ's basic.consume-ok comes behind replies to later
        // calls.
        let id = match &reply {
            RawReply::Method(method) => method.id(),
            RawReply::Got(_) => basic::GetOk::ID,
        };
        let asked_by = |(call, _): &(MethodId, _)| id.is_reply_to(*call);
        if let Some(index) = raw.calls.iter().position(asked_by) {
            let (_, answer) = raw.calls.remove(index);
            _ = answer.try_send(Ok(reply));
        }
    }

    /// A channel is gone.
    pub(super) fn closed(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: usize,
        error: &Error,
    ) {
        session.remove_raw(now, key);
        let Some(raw) = self.raws.remove(&key) else {
            return;
        };
        raw.inbox.close(error.clone());
        if let Some(answer) = raw.opened {
            _ = answer.try_send(Err(error.clone()));
        }
        for (_, answer) in raw.calls {
            _ = answer.try_send(Err(error.clone()));
        }
    }

    pub(super) fn give_up(&mut self) {
        self.asked.clear();
        for (_, raw) in std::mem::take(&mut self.raws) {
            raw.inbox.close(Error::Closed);
        }
    }
}
