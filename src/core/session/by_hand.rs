//! What is deleted by methods that users send on channels of their own.
//!
//! Nothing on such a channel is recovered, but what was declared by the client may be deleted on it, and
//! is not to rise again then.

use std::borrow::Cow;
use std::collections::{BTreeMap, VecDeque};
use std::time::Instant;

use snowshoe_codec::{Method, MethodId, SendError, ShortString};

use super::Session;
use super::keys::ChannelKey;
use crate::core::topology::{Deletion, Topology};

/// Deletions by the channels that they are on.
#[derive(Debug, Default)]
pub(super) struct ByHand(BTreeMap<ChannelKey, Deletions>);

#[derive(Debug, Default)]
struct Deletions {
    /// The queue that was declared last, which the broker takes no name for. One that has its name of the
    /// broker is not known here, and has none: nobody declares it again.
    declared: ShortString,
    /// What is to be sent next, and may have to wait.
    next: Option<Deletion>,
    /// What was sent and not answered, oldest first.
    sent: VecDeque<(Method, Deletion)>,
}

impl ByHand {
    /// A method with the queue that the broker takes where it names none, if that is known.
    fn named<'m>(&self, channel: ChannelKey, method: &'m Method) -> Cow<'m, Method> {
        let declared = self.0.get(&channel).map(|it| &it.declared);
        let mut named = Cow::Borrowed(method);
        let queue = match method {
            Method::QueueDelete(delete) => &delete.queue,
            Method::QueueUnbind(unbind) => &unbind.queue,
            _ => return named,
        };
        if let Some(declared) = declared.filter(|_| queue.is_empty()) {
            match named.to_mut() {
                Method::QueueDelete(delete) => delete.queue.clone_from(declared),
                Method::QueueUnbind(unbind) => unbind.queue.clone_from(declared),
                _ => {}
            }
        }
        named
    }

    fn answered(&mut self, channel: ChannelKey, reply: MethodId) -> Option<(Method, Deletion)> {
        let sent = &mut self.0.get_mut(&channel)?.sent;
        let asked_by = |(call, _): &(Method, Deletion)| reply.is_reply_to(call.id());
        sent.remove(sent.iter().position(asked_by)?)
    }
}

/// What became of the methods on a channel that were not answered, when it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unanswered {
    /// The broker closed the channel: over the oldest, and without a look at the others.
    NotDone,
    PerhapsDone,
}

impl Session {
    /// Whether a method may be sent by hand now. One that deletes waits until nobody is declaring the
    /// same; nothing may pass it on its channel.
    pub fn may_send_by_hand(
        &mut self,
        channel: ChannelKey,
        method: &Method,
        topology: &mut Topology,
    ) -> bool {
        let begun = self.by_hand.0.get(&channel);
        if let Some(next) = begun.and_then(|it| it.next.as_ref()) {
            return topology.may_delete(next);
        }
        let method = self.by_hand.named(channel, method);
        let Some(deletion) = topology.begin_deletion(&method) else {
            return true;
        };
        let may = topology.may_delete(&deletion);
        self.by_hand.0.entry(channel).or_default().next = Some(deletion);
        may
    }

    /// What was [to be sent](Self::may_send_by_hand) next on a channel was given up.
    pub fn given_up_by_hand(&mut self, channel: ChannelKey) {
        let begun = self.by_hand.0.get_mut(&channel);
        let given_up = begun.and_then(|it| it.next.take());
        self.deletions_ended.extend(given_up);
    }

    /// Sends a method by hand, which [may be sent](Self::may_send_by_hand).
    ///
    /// # Errors
    /// It does not fit, or the channel is not open.
    pub fn send_by_hand(
        &mut self,
        now: Instant,
        key: ChannelKey,
        method: Method,
        topology: &mut Topology,
    ) -> Result<(), SendError> {
        let begun = self.by_hand.0.get_mut(&key).and_then(|it| it.next.take());
        let Some(mut channel) = self.user_channel(key) else {
            self.deletions_ended.extend(begun);
            return Err(SendError::NotOpen);
        };
        let Some(deletion) = begun else {
            let declared = match &method {
                Method::QueueDeclare(declare) => Some(declare.queue.clone()),
                _ => None,
            };
            channel.send(now, method)?;
            if let Some(declared) = declared {
                self.by_hand.0.entry(key).or_default().declared = declared;
            }
            return Ok(());
        };
        let sent = channel.send(now, method.clone());
        let method = self.by_hand.named(key, &method).into_owned();
        if sent.is_err() || method.is_nowait() {
            if sent.is_ok() {
                // No answer will tell of it.
                topology.forget_what_is_deleted(&method);
            }
            self.deletions_ended.push(deletion);
        } else {
            let deletions = self.by_hand.0.entry(key).or_default();
            deletions.sent.push_back((method, deletion));
        }
        sent
    }

    pub(super) fn answered_by_hand(
        &mut self,
        channel: ChannelKey,
        reply: MethodId,
        topology: &mut Topology,
    ) {
        if let Some((method, deletion)) = self.by_hand.answered(channel, reply) {
            topology.forget_what_is_deleted(&method);
            self.deletions_ended.push(deletion);
        }
    }

    /// A channel has ended, or its user lets go of it.
    pub(super) fn ended_by_hand(&mut self, channel: ChannelKey, unanswered: Unanswered) {
        let Some(deletions) = self.by_hand.0.remove(&channel) else {
            return;
        };
        self.deletions_ended.extend(deletions.next);
        for (method, deletion) in deletions.sent {
            if unanswered == Unanswered::PerhapsDone {
                self.perhaps_done.push(method);
            }
            self.deletions_ended.push(deletion);
        }
    }
}
