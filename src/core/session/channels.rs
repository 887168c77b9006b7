//! Whose the channels are, and how each comes into use.

use std::time::{Duration, Instant};

use snowshoe_codec as codec;
use snowshoe_codec::method::{Arguments, MethodId, basic, confirm};
use snowshoe_codec::time::after;
use snowshoe_codec::{
    ChannelCloseReason, ChannelId, Connection, Event, Method, OpenChannelError, PeerClose,
    ReplyCode, ShortString,
};

use super::Session;
use super::keys::{ChannelKey, ConsumerKey, ProducerKey};
use super::output::Output;
use super::stage::Stage;
use crate::core::backoff::{Backoff, Delays};
use crate::core::call_queue::CallQueue;
use crate::core::subscription::{Step, Subscription, Verdict};
use crate::core::topology::Topology;
use crate::error::Error;

/// Whose a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// What was declared is declared again.
    Recovery,
    /// What users ask for, one call after the other.
    Calls,
    Producer(ProducerKey),
    Consumer(ConsumerKey),
    /// A channel that a user drives.
    User(ChannelKey),
}

/// A producer's way onto a channel.
#[derive(Debug)]
pub(super) struct Line {
    state: LineState,
    confirms: bool,
    delays: Delays,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LineState {
    Waiting,
    Opening(ChannelId),
    /// confirm.select is on its way.
    Selecting(ChannelId),
    Online(ChannelId),
    BackingOff(Instant),
}

impl Line {
    pub(super) fn new(confirms: bool, backoff: Backoff, seed: u64) -> Self {
        Self {
            state: LineState::Waiting,
            confirms,
            delays: Delays::new(backoff, Duration::ZERO, seed),
        }
    }

    pub(super) fn online(&self) -> Option<ChannelId> {
        match self.state {
            LineState::Online(channel) => Some(channel),
            _ => None,
        }
    }

    pub(super) fn channel(&self) -> Option<ChannelId> {
        match self.state {
            LineState::Opening(channel)
            | LineState::Selecting(channel)
            | LineState::Online(channel) => Some(channel),
            LineState::Waiting | LineState::BackingOff(_) => None,
        }
    }

    /// Whether it is on its way, and its outcome to be waited for.
    pub(super) fn is_opening(&self) -> bool {
        matches!(self.state, LineState::Opening(_) | LineState::Selecting(_))
    }

    fn back_off(&mut self, now: Instant) -> LineState {
        LineState::BackingOff(after(now, self.delays.next(now)))
    }

    fn retry_at(&self) -> Option<Instant> {
        match self.state {
            LineState::BackingOff(until) => Some(until),
            _ => None,
        }
    }

    fn wants_channel(&self, now: Instant) -> bool {
        match self.state {
            LineState::Waiting => true,
            LineState::BackingOff(until) => until <= now,
            _ => false,
        }
    }
}

/// A channel that a user drives. It does not come back: what its state was, only the user knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum UserChannel {
    Waiting,
    Opening(ChannelId),
    Open(ChannelId),
    Closed,
}

impl Session {
    pub(super) fn owner(&self, channel: ChannelId) -> Option<Owner> {
        self.owners.get(channel.index()).copied().flatten()
    }

    /// Opens a channel for `owner`.
    pub(super) fn open_channel(
        &mut self,
        now: Instant,
        owner: Owner,
    ) -> Result<ChannelId, OpenChannelError> {
        let connection = self.connection.as_mut().ok_or(OpenChannelError::NotOpen)?;
        let channel = connection.open_channel(now)?;
        let index = channel.index();
        if self.owners.len() <= index {
            self.owners.resize(index + 1, None);
        }
        self.owners[index] = Some(owner);
        Ok(channel)
    }

    pub(super) fn close_channel(&mut self, now: Instant, channel: ChannelId) {
        if let Some(owner) = self.owners.get_mut(channel.index()) {
            *owner = None;
        }
        if let Some(mut channel) = self
            .connection
            .as_mut()
            .and_then(|connection| connection.channel(channel))
        {
            // Where it is not open, its end is on the way already.
            _ = channel.close(now, ReplyCode::SUCCESS, ShortString::EMPTY);
        }
    }

    /// Sends one of our own methods, which always fit into a frame.
    pub(super) fn send(&mut self, now: Instant, channel: ChannelId, method: Method) {
        if let Some(mut channel) = self
            .connection
            .as_mut()
            .and_then(|connection| connection.channel(channel))
        {
            _ = channel.send(now, method);
        }
    }

    pub(super) fn channel_opened(&mut self, now: Instant, channel: ChannelId) {
        match self.owner(channel) {
            Some(Owner::Recovery) => self.recovery.opened(),
            Some(Owner::Calls) => self.calls.opened(),
            Some(Owner::Producer(producer)) => {
                let Some(line) = self.producers.get_mut(producer) else {
                    return;
                };
                if line.confirms {
                    line.state = LineState::Selecting(channel);
                    self.send(now, channel, confirm::Select::default().into());
                } else {
                    self.producer_online(now, producer, channel);
                }
            }
            Some(Owner::Consumer(consumer)) => {
                let subscription = self.consumers.get_mut(consumer);
                if let Some(method) = subscription.and_then(Subscription::opened) {
                    self.send(now, channel, method);
                }
            }
            Some(Owner::User(key)) => {
                if let Some(state) = self.user_channels.get_mut(key) {
                    *state = UserChannel::Open(channel);
                    self.outputs.push_back(Output::ChannelOpened(key));
                }
            }
            // Its owner is gone since.
            None => self.close_channel(now, channel),
        }
        self.progressed(now);
    }

    pub(super) fn replied(
        &mut self,
        now: Instant,
        channel: ChannelId,
        method: Box<Method>,
        topology: &mut Topology,
    ) {
        match self.owner(channel) {
            Some(Owner::Recovery) => self.entity_recovered(&method, topology),
            Some(Owner::Calls) => {
                let id = method.id();
                let answered = self.calls.answered(|(_, call)| id.is_reply_to(call.id()));
                if let Some((token, call)) = answered {
                    topology.observe(&call, &method);
                    self.outputs.push_back(Output::Called {
                        token,
                        result: Ok(method),
                    });
                }
            }
            Some(Owner::Producer(producer)) => self.producer_online(now, producer, channel),
            Some(Owner::Consumer(consumer)) => {
                self.consumer_replied(now, consumer, channel, topology);
            }
            Some(Owner::User(_)) => {
                self.user_channel_event(channel, Event::Reply { channel, method });
            }
            None => {}
        }
        self.progressed(now);
    }

    fn producer_online(&mut self, now: Instant, producer: ProducerKey, channel: ChannelId) {
        if let Some(line) = self.producers.get_mut(producer) {
            line.state = LineState::Online(channel);
            line.delays.succeeded(now);
            self.outputs.push_back(Output::ProducerOnline(producer));
        }
    }

    fn consumer_replied(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        channel: ChannelId,
        topology: &mut Topology,
    ) {
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        match subscription.replied(now) {
            Some(Step::Send(method)) => self.send(now, channel, method),
            Some(Step::Active { first, missed }) => {
                if first {
                    topology.consumer_started(&subscription.spec().queue);
                }
                let restored = missed.then(|| subscription.entity());
                self.channel_epoch = self.channel_epoch.next();
                self.outputs.push_back(Output::ConsumerOnline {
                    consumer,
                    epoch: self.channel_epoch,
                    queue: subscription.spec().queue.clone(),
                });
                if let Some(entity) = restored {
                    self.outputs.push_back(Output::Restored { entity });
                }
                if self.consumers.iter().any(|(_, it)| it.is_suspected()) {
                    // Its turn may have come.
                    self.wakeups.push(now);
                }
            }
            Some(Step::Cancelled) => self.outputs.push_back(Output::ConsumerDraining(consumer)),
            None => {}
        }
    }

    /// The broker cancelled a consumer. Its channel goes too, and with it what was delivered.
    pub(super) fn consumer_cancelled(
        &mut self,
        now: Instant,
        channel: ChannelId,
        tag: ShortString,
        topology: &Topology,
    ) {
        let Some(Owner::Consumer(consumer)) = self.owner(channel) else {
            let event = Event::ConsumerCancelled {
                channel,
                consumer_tag: tag,
            };
            return self.user_channel_event(channel, event);
        };
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        let verdict = subscription.cancelled_by_broker(now);
        // Where the user has cancelled it as well, nobody misses it or its queue.
        let is_missed = matches!(verdict, Verdict::Retry(_));
        if is_missed {
            subscription.miss();
        }
        let queue = subscription.spec().queue.clone();
        self.close_channel(now, channel);
        if is_missed {
            self.redeclare_queue(&queue, topology);
        }
        self.consumer_ended(consumer, verdict, None);
        if is_missed {
            // Told last: whoever hears of it finds that its deliveries are stale.
            self.outputs.push_back(Output::ConsumerCancelled(consumer));
        }
    }

    fn consumer_closed(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        reason: ChannelCloseReason,
        topology: &Topology,
    ) {
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        let verdict = subscription.channel_closed(now, &reason);
        let mut delayed = None;
        if let ChannelCloseReason::Peer(close) = &reason
            && matches!(verdict, Verdict::Retry(_))
        {
            if subscription.miss() {
                delayed = Some((subscription.entity(), close.clone()));
            }
            if close.code == ReplyCode::NOT_FOUND {
                let queue = subscription.spec().queue.clone();
                self.redeclare_queue(&queue, topology);
            }
        }
        self.consumer_ended(consumer, verdict, Some(refusal(reason)));
        // Told last: whoever hears of it finds that its deliveries are stale.
        if let Some((entity, reason)) = delayed {
            self.outputs.push_back(Output::Delayed { entity, reason });
        }
    }

    fn consumer_ended(&mut self, consumer: ConsumerKey, verdict: Verdict, error: Option<Error>) {
        self.outputs.push_back(Output::ConsumerOffline(consumer));
        match verdict {
            Verdict::Retry(at) => self.wakeups.push(at),
            Verdict::Fail => {
                let error = error.unwrap_or(Error::ChannelClosed);
                self.outputs
                    .push_back(Output::ConsumerFailed(consumer, error));
            }
            Verdict::Ended => self.outputs.push_back(Output::ConsumerDraining(consumer)),
        }
    }

    pub(super) fn channel_closed(
        &mut self,
        now: Instant,
        channel: ChannelId,
        reason: ChannelCloseReason,
        topology: &mut Topology,
    ) {
        let owner = self.owners.get_mut(channel.index()).and_then(Option::take);
        match owner {
            Some(Owner::Recovery) => self.entity_refused(now, reason, topology),
            Some(Owner::Calls) => {
                let is_refused = matches!(reason, ChannelCloseReason::Peer(_));
                if let Some((token, call)) = self.calls.refused() {
                    let result = Err(refusal(reason));
                    self.outputs.push_back(Output::Called { token, result });
                    if !is_refused {
                        self.perhaps_done.push(call);
                    }
                }
                if !is_refused {
                    // The broker may be doing what comes after it, too.
                    self.withdraw_harmful(Error::Timeout);
                }
                self.calls.channel_lost();
            }
            Some(Owner::Producer(producer)) => self.producer_closed(now, producer, reason),
            Some(Owner::Consumer(consumer)) => {
                self.consumer_closed(now, consumer, reason, topology);
            }
            Some(Owner::User(key)) => {
                if let Some(state) = self.user_channels.get_mut(key) {
                    *state = UserChannel::Closed;
                    self.outputs
                        .push_back(Output::ChannelClosed(key, refusal(reason)));
                }
            }
            None => {}
        }
        // Some channels are to be back at once, and some found no number free until now.
        self.wakeups.push(now);
        self.progressed(now);
    }

    fn producer_closed(&mut self, now: Instant, producer: ProducerKey, reason: ChannelCloseReason) {
        let Some(line) = self.producers.get_mut(producer) else {
            return;
        };
        let was_online = line.online().is_some();
        match reason {
            ChannelCloseReason::Peer(close)
                if was_online && is_over_publish(&close) && !is_passing(&close) =>
            {
                line.state = if line.confirms && close.method == basic::Publish::ID {
                    // A poison message must not slow down the others: its channel comes back at
                    // once. Without confirms there is no end to them, so there it waits.
                    LineState::Waiting
                } else {
                    line.back_off(now)
                };
                self.outputs
                    .push_back(Output::ProducerRejected(producer, close));
            }
            _ => {
                line.state = line.back_off(now);
                self.outputs.push_back(Output::ProducerOffline(producer));
            }
        }
        self.wakeups.extend(line.retry_at());
    }

    /// Calls under way whose fate is not known, and of which a second one could do harm, are not made
    /// again: their callers are told.
    fn withdraw_harmful(&mut self, error: impl Fn(MethodId) -> Error) {
        let harmful = self.calls.withdraw_sent(|(_, call)| !is_repeatable(call));
        for (token, call) in harmful {
            let result = Err(error(call.id()));
            self.outputs.push_back(Output::Called { token, result });
            self.perhaps_done.push(call);
        }
    }

    pub(super) fn user_channel_event(&mut self, channel: ChannelId, event: Event) {
        if let Some(Owner::User(key)) = self.owner(channel) {
            self.outputs.push_back(Output::ChannelEvent(key, event));
        }
    }

    /// All channels are gone, and with them what they were used for.
    pub(super) fn forget_channels(&mut self) {
        self.stage = Stage::Offline;
        self.owners.clear();
        self.wakeups.clear();
        self.postponed.clear();
        self.withdraw_harmful(|_| Error::ConnectionLost);
        self.calls.channel_lost();
        self.recovery = CallQueue::new();
        for (producer, line) in self.producers.iter_mut() {
            if line.online().is_some() {
                self.outputs.push_back(Output::ProducerOffline(producer));
            }
            line.state = LineState::Waiting;
        }
        for (consumer, subscription) in self.consumers.iter_mut() {
            let had_deliveries = subscription.state().receives();
            let was_ended = subscription.is_ended();
            subscription.connection_lost();
            self.wakeups.extend(subscription.retry_at());
            if had_deliveries {
                self.outputs.push_back(Output::ConsumerOffline(consumer));
            }
            if subscription.is_ended() && !was_ended {
                self.outputs.push_back(Output::ConsumerDraining(consumer));
            }
        }
        self.close_user_channels(&Error::ConnectionLost);
    }

    /// Channels that users drive do not come back: they hear why.
    pub(super) fn close_user_channels(&mut self, error: &Error) {
        for (key, state) in self.user_channels.iter_mut() {
            if matches!(state, UserChannel::Opening(_) | UserChannel::Open(_)) {
                *state = UserChannel::Closed;
                self.outputs
                    .push_back(Output::ChannelClosed(key, error.clone()));
            }
        }
    }

    /// Opens channels for consumers that have none.
    pub(super) fn open_consumers(&mut self, now: Instant) {
        let wanting = (self.consumers).keys_of(|it| it.wants_channel(now) && !it.is_suspected());
        for consumer in wanting {
            self.open_consumer(now, consumer);
        }
        self.open_suspect(now);
    }

    /// Opens a channel for a consumer over which the connection may have been lost, if no other is
    /// on its way. Whether one is now.
    pub(super) fn open_suspect(&mut self, now: Instant) -> bool {
        if self.is_subscribing() {
            return true;
        }
        let suspect = |it: &Subscription| it.is_suspected() && it.wants_channel(now);
        let next = (self.consumers.iter()).find_map(|(key, it)| suspect(it).then_some(key));
        next.is_some_and(|consumer| self.open_consumer(now, consumer))
    }

    /// Opens a channel for a consumer. Whether there was one.
    fn open_consumer(&mut self, now: Instant, consumer: ConsumerKey) -> bool {
        let opened = self.open_channel(now, Owner::Consumer(consumer));
        match &opened {
            Ok(channel) => self.consumers[consumer].opening(*channel),
            Err(OpenChannelError::NoneFree) if self.consumers[consumer].give_up_if_new() => {
                let failed = Output::ConsumerFailed(consumer, Error::NoFreeChannel);
                self.outputs.push_back(failed);
            }
            Err(_) => {}
        }
        opened.is_ok()
    }

    /// Whether any consumer is on its way.
    fn is_subscribing(&self) -> bool {
        let mut consumers = self.consumers.iter();
        consumers.any(|(_, it)| it.state().is_subscribing())
    }

    /// Opens channels for producers that have none.
    pub(super) fn open_producers(&mut self, now: Instant) {
        for producer in self.producers.keys_of(|line| line.wants_channel(now)) {
            if let Ok(channel) = self.open_channel(now, Owner::Producer(producer)) {
                self.producers[producer].state = LineState::Opening(channel);
            }
        }
    }

    /// Opens the channels that users asked for to drive them.
    pub(super) fn open_user_channels(&mut self, now: Instant) {
        let wanting = (self.user_channels).keys_of(|state| *state == UserChannel::Waiting);
        for key in wanting {
            match self.open_channel(now, Owner::User(key)) {
                Ok(channel) => self.user_channels[key] = UserChannel::Opening(channel),
                // The connection is about to end, and there will be another.
                Err(OpenChannelError::NotOpen) => {}
                Err(_) => {
                    self.user_channels[key] = UserChannel::Closed;
                    self.outputs
                        .push_back(Output::ChannelClosed(key, Error::NoFreeChannel));
                }
            }
        }
    }

    /// Makes the calls that users asked for.
    pub(super) fn make_calls(&mut self, now: Instant) {
        if self.calls.wants_channel() {
            match self.open_channel(now, Owner::Calls) {
                Ok(channel) => self.calls.opening(channel),
                // The connection is about to end, and there will be another.
                Err(OpenChannelError::NotOpen) => {}
                // Who holds them may do so for ever.
                Err(_) => self.outputs.extend(self.calls.give_up().map(|(token, _)| {
                    let result = Err(Error::NoFreeChannel);
                    Output::Called { token, result }
                })),
            }
        }
        let Some(mut channel) = channel_of(&mut self.connection, &self.calls) else {
            return;
        };
        while let Some((_, method)) = self.calls.next_to_send() {
            let Err(error) = channel.send(now, method.clone()) else {
                continue;
            };
            if let Some((token, _)) = self.calls.unsendable() {
                self.outputs.push_back(Output::Called {
                    token,
                    result: Err(error.into()),
                });
            }
        }
    }
}

/// The channel on which queued calls can be made now. One that ended a moment ago takes none, and its
/// end is about to be told.
pub(super) fn channel_of<'a, T>(
    connection: &'a mut Option<Connection>,
    calls: &CallQueue<T>,
) -> Option<codec::Channel<'a>> {
    let channel = connection.as_mut()?.channel(calls.channel()?)?;
    channel.is_open().then_some(channel)
}

/// Whether a producer's channel was closed over a message. LavinMQ names no method where the fault
/// is in the header or the body, and a producer's channel sees nothing but publishes.
fn is_over_publish(close: &PeerClose) -> bool {
    close.method == basic::Publish::ID || close.method.class == 0
}

/// Whether the broker will take the same thing later: LavinMQ refuses publishes and declarations,
/// instead of blocking the connection, while its disk is nearly full.
pub(super) fn is_passing(close: &PeerClose) -> bool {
    close.code == ReplyCode::PRECONDITION_FAILED
        && close.text.to_string_lossy().contains("disk space")
}

/// Whether a call can be made twice without harm: one that declares can. Between two that delete, purge or
/// unbind, others may have declared, published or bound.
fn is_repeatable(call: &Method) -> bool {
    matches!(
        call,
        Method::QueueDeclare(_)
            | Method::ExchangeDeclare(_)
            | Method::QueueBind(_)
            | Method::ExchangeBind(_)
    )
}

fn refusal(reason: ChannelCloseReason) -> Error {
    match reason {
        ChannelCloseReason::Peer(close) => Error::Refused(close),
        ChannelCloseReason::CallTimeout(method) => Error::Timeout(method),
        _ => Error::ChannelClosed,
    }
}
