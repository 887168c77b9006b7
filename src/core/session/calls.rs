//! The calls that users ask for, but for those on channels that they drive.
//!
//! They are made one after the other. One that deletes what another session is declaring waits for that,
//! and those about the same things wait behind it; the others do not.

use std::mem;
use std::time::Instant;

use snowshoe_codec::method::{Arguments, channel};
use snowshoe_codec::{ChannelId, Method, MethodId, ShortString};

use super::Session;
use super::allocation::NoChannel;
use super::channels::channel_of;
use super::keys::CallToken;
use super::output::Output;
use super::owners::Owner;
use crate::core::call_queue::CallQueue;
use crate::core::topology::{Deletion, Topology};
use crate::error::Error;

/// The calls of a session.
#[derive(Debug)]
pub(super) struct Calls {
    queue: CallQueue<Call>,
    /// What cannot be sent yet, and what comes after it: to be sent before what is in the queue.
    held: Vec<Call>,
}

#[derive(Debug)]
pub(super) struct Call {
    pub(super) token: CallToken,
    pub(super) method: Method,
    /// What it deletes, once that has begun.
    deletion: Option<Deletion>,
}

impl Call {
    /// Whether it may be sent: nobody declares what it deletes.
    fn may_be_sent(&mut self, topology: &mut Topology) -> bool {
        if self.deletion.is_none() {
            self.deletion = topology.begin_deletion(&self.method);
        }
        let deletion = self.deletion.as_ref();
        deletion.is_none_or(|deletion| topology.may_delete(deletion))
    }

    /// Whether both are about the same queue or exchange, and so are to keep their order.
    fn is_related_to(&self, other: &Self) -> bool {
        let others = subjects(&other.method);
        let mut ours = subjects(&self.method).into_iter().flatten();
        ours.any(|subject| others.contains(&Some(subject)))
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Subject<'a> {
    Queue(&'a ShortString),
    Exchange(&'a ShortString),
}

/// What a method is about.
fn subjects(method: &Method) -> [Option<Subject<'_>>; 2] {
    use Subject::{Exchange, Queue};
    match method {
        Method::QueueDeclare(it) => [Some(Queue(&it.queue)), None],
        Method::QueueDelete(it) => [Some(Queue(&it.queue)), None],
        Method::QueuePurge(it) => [Some(Queue(&it.queue)), None],
        Method::QueueBind(it) => [Some(Queue(&it.queue)), Some(Exchange(&it.exchange))],
        Method::QueueUnbind(it) => [Some(Queue(&it.queue)), Some(Exchange(&it.exchange))],
        Method::ExchangeDeclare(it) => [Some(Exchange(&it.exchange)), None],
        Method::ExchangeDelete(it) => [Some(Exchange(&it.exchange)), None],
        Method::ExchangeBind(it) => [Some(Exchange(&it.destination)), Some(Exchange(&it.source))],
        Method::ExchangeUnbind(it) => [Some(Exchange(&it.destination)), Some(Exchange(&it.source))],
        _ => [None, None],
    }
}

impl Calls {
    pub(super) const fn new() -> Self {
        Self {
            queue: CallQueue::new(),
            held: Vec::new(),
        }
    }

    pub(super) fn opened(&mut self) {
        self.queue.opened();
    }

    /// The oldest that is under way.
    pub(super) fn oldest_sent(&self) -> Option<&Method> {
        self.queue.oldest_sent().map(|call| &call.method)
    }

    /// Whether they have a channel, or one is being opened for them.
    pub(super) fn has_channel(&self) -> bool {
        self.queue.has_channel()
    }

    /// Whether they have a channel that is not in use.
    pub(super) fn is_idle(&self) -> bool {
        self.queue.is_idle()
    }

    /// Gives up the channel, if it is not in use.
    pub(super) fn release(&mut self) -> Option<ChannelId> {
        self.queue.release()
    }

    /// What could not be sent is to be tried again, before anything else.
    fn try_held_again(&mut self) {
        for call in mem::take(&mut self.held).into_iter().rev() {
            self.queue.push_next(call);
        }
    }
}

impl Session {
    /// Makes a call, now or as soon as the connection is ready; [`Output::Called`] follows.
    pub fn call(&mut self, now: Instant, token: CallToken, method: Method) {
        self.calls.queue.push(Call {
            token,
            method,
            deletion: None,
        });
        self.wakeups.push(now);
    }

    /// Drops the calls that were given up before they were sent.
    pub fn withdraw_calls(&mut self, mut is_given_up: impl FnMut(CallToken) -> bool) {
        let (calls, ended) = (&mut self.calls, &mut self.deletions_ended);
        let mut is_given_up = |call: &mut Call| {
            let is_given_up = is_given_up(call.token);
            if is_given_up {
                ended.extend(call.deletion.take());
            }
            is_given_up
        };
        calls.held.retain_mut(|call| !is_given_up(call));
        if calls.queue.has_unsent() {
            calls.queue.withdraw_unsent(is_given_up);
        }
    }

    /// Makes the calls that users asked for.
    pub(super) fn make_calls(&mut self, now: Instant, topology: &mut Topology) {
        if self.calls.queue.wants_channel() {
            match self.open_channel(now, Owner::Calls) {
                Ok(channel) => self.calls.queue.opening(channel),
                Err(NoChannel::Offline | NoChannel::Soon) => {}
                // It is their turn when what is declared again is there.
                Err(NoChannel::NoneFree) if self.recovery.has_channel() => {}
                // Who holds them may do so for ever.
                Err(NoChannel::NoneFree) => self.give_up_calls(&Error::NoFreeChannel),
            }
        }
        if self.calls_give_way(now) {
            return;
        }
        let calls = &mut self.calls;
        let Some(mut channel) = channel_of(&mut self.connection, &calls.queue) else {
            return;
        };
        while let Some(call) = calls.queue.next_to_send() {
            topology.follow_renames(&mut call.method);
            let is_behind = calls.held.iter().any(|held| held.is_related_to(call));
            if is_behind || !call.may_be_sent(topology) {
                calls.held.extend(calls.queue.unsendable());
                continue;
            }
            let Err(error) = channel.send(now, self.dialect.say(call.method.clone())) else {
                continue;
            };
            if let Some(call) = calls.queue.unsendable() {
                self.deletions_ended.extend(call.deletion);
                self.outputs.push_back(Output::Called {
                    token: call.token,
                    result: Err(error.into()),
                });
            }
        }
    }

    /// What others were doing has ended, for which calls may have waited.
    pub(super) fn try_held_calls_again(&mut self) {
        self.calls.try_held_again();
    }

    fn give_up_calls(&mut self, error: &Error) {
        self.calls.try_held_again();
        for call in self.calls.queue.give_up() {
            self.deletions_ended.extend(call.deletion);
            let result = Err(error.clone());
            let token = call.token;
            self.outputs.push_back(Output::Called { token, result });
        }
    }

    pub(super) fn call_answered(&mut self, reply: Box<Method>, topology: &mut Topology) {
        let id = reply.id();
        let is_its = |call: &Call| id.is_reply_to(call.method.id());
        let Some(call) = self.calls.queue.answered(is_its) else {
            return;
        };
        topology.observe(&call.method, &reply);
        self.deletions_ended.extend(call.deletion);
        self.outputs.push_back(Output::Called {
            token: call.token,
            result: Ok(reply),
        });
    }

    /// The oldest call under way was refused, and so has not happened. Whether there was one.
    pub(super) fn call_refused(&mut self, error: Error) -> bool {
        let Some(call) = self.calls.queue.refused() else {
            return false;
        };
        self.deletions_ended.extend(call.deletion);
        let (token, result) = (call.token, Err(error));
        self.outputs.push_back(Output::Called { token, result });
        true
    }

    /// The channel for calls was closed, by the broker if it refused the oldest.
    pub(super) fn calls_closed(&mut self, error: Error) {
        match error {
            // It is the channel that the broker does not open.
            Error::Refused(close) if close.method == channel::Open::ID => {}
            Error::Refused(_) => _ = self.call_refused(error),
            // Of what came behind it the broker may have done all, or nothing.
            Error::Timeout(channel::Open::ID) => {
                self.withdraw_harmful(Scope::Channel, Error::Timeout);
            }
            _ => {
                if let Some(call) = self.calls.queue.refused() {
                    self.has_failed(call, error);
                }
                // The broker may be doing what comes after it, too.
                self.withdraw_harmful(Scope::Channel, Error::Timeout);
            }
        }
        self.calls.queue.channel_lost();
    }

    /// The connection is gone, and what was to be deleted on it can be declared again until the next.
    pub(super) fn calls_lost(&mut self) {
        self.withdraw_harmful(Scope::Connection, |_| Error::ConnectionLost);
        self.calls.try_held_again();
        self.calls.queue.channel_lost();
        for call in self.calls.queue.iter_mut() {
            self.deletions_ended.extend(call.deletion.take());
        }
    }

    /// Calls under way whose fate is not known, and of which a second one could do harm, are not made
    /// again: their callers are told.
    fn withdraw_harmful(&mut self, lost: Scope, error: impl Fn(MethodId) -> Error) {
        let is_harmful = |call: &Call| !is_repeatable(&call.method, lost);
        for call in self.calls.queue.withdraw_sent(is_harmful) {
            let error = error(call.method.id());
            self.has_failed(call, error);
        }
    }

    /// Nobody knows whether the broker has done it.
    fn has_failed(&mut self, call: Call, error: Error) {
        let (token, result) = (call.token, Err(error));
        self.outputs.push_back(Output::Called { token, result });
        self.perhaps_done.push(call.method);
        self.deletions_ended.extend(call.deletion);
    }
}

/// What was lost before the answer came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Scope {
    Channel,
    Connection,
}

/// Whether a call can be made twice without harm: one that declares can, unless it makes another queue each
/// time and the first does not go with its connection. Between two that delete, purge or unbind, others may
/// have declared, published or bound.
fn is_repeatable(call: &Method, lost: Scope) -> bool {
    match call {
        Method::QueueDeclare(declare) if declare.queue.is_empty() => {
            declare.exclusive && lost == Scope::Connection
        }
        Method::QueueDeclare(_)
        | Method::ExchangeDeclare(_)
        | Method::QueueBind(_)
        | Method::ExchangeBind(_) => true,
        _ => false,
    }
}
