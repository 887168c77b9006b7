//! Whose the channels are, and how each comes into use.

use std::time::Instant;

use snowshoe_codec as codec;
use snowshoe_codec::method::{Arguments, basic, confirm};
use snowshoe_codec::{
    ChannelCloseReason, Connection, Event, Method, OpenChannelError, PeerClose, ReplyCode,
    ShortString,
};

use super::{Output, Session, Stage};
use crate::core::backoff::{Backoff, Delays};
use crate::core::courier::Courier;
use crate::core::subscription::{Step, Subscription, Verdict};
use crate::core::topology::Topology;
use crate::error::Error;

/// Whose a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// What was declared is declared again.
    Recovery,
    /// What users ask for, one call behind the other.
    Calls,
    Producer(usize),
    Consumer(usize),
    /// A channel that a user drives.
    Raw(usize),
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
    Opening(u16),
    /// confirm.select is on its way.
    Selecting(u16),
    Online(u16),
    BackingOff(Instant),
}

impl Line {
    pub(super) fn new(confirms: bool, backoff: Backoff, seed: u64) -> Self {
        Self {
            state: LineState::Waiting,
            confirms,
            delays: Delays::new(backoff, seed),
        }
    }

    pub(super) fn online(&self) -> Option<u16> {
        match self.state {
            LineState::Online(channel) => Some(channel),
            _ => None,
        }
    }

    pub(super) fn channel(&self) -> Option<u16> {
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
        LineState::BackingOff(now + self.delays.next(now))
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
pub(super) enum RawLine {
    Waiting,
    Opening(u16),
    Open(u16),
    Closed,
}

impl Session {
    pub(super) fn owner(&self, channel: u16) -> Option<Owner> {
        self.owners.get(usize::from(channel)).copied().flatten()
    }

    /// Opens a channel for `owner`.
    pub(super) fn open_channel(
        &mut self,
        now: Instant,
        owner: Owner,
    ) -> Result<u16, OpenChannelError> {
        let connection = self.connection.as_mut().ok_or(OpenChannelError::NotOpen)?;
        let channel = connection.open_channel(now)?;
        let index = usize::from(channel);
        if self.owners.len() <= index {
            self.owners.resize(index + 1, None);
        }
        self.owners[index] = Some(owner);
        Ok(channel)
    }

    pub(super) fn close_channel(&mut self, now: Instant, channel: u16) {
        if let Some(owner) = self.owners.get_mut(usize::from(channel)) {
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
    pub(super) fn send(&mut self, now: Instant, channel: u16, method: Method) {
        if let Some(mut channel) = self
            .connection
            .as_mut()
            .and_then(|connection| connection.channel(channel))
        {
            _ = channel.send(now, method);
        }
    }

    pub(super) fn channel_opened(&mut self, now: Instant, channel: u16) {
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
            Some(Owner::Raw(raw)) => {
                if let Some(line) = self.raws.get_mut(raw) {
                    *line = RawLine::Open(channel);
                    self.outputs.push_back(Output::RawOpened(raw));
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
        channel: u16,
        method: Box<Method>,
        topology: &mut Topology,
    ) {
        match self.owner(channel) {
            Some(Owner::Recovery) => self.entity_recovered(&method, topology),
            Some(Owner::Calls) => {
                if let Some((token, call)) = self.calls.answered() {
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
            Some(Owner::Raw(_)) => self.raw_event(channel, Event::Reply { channel, method }),
            None => {}
        }
        self.progressed(now);
    }

    fn producer_online(&mut self, now: Instant, producer: usize, channel: u16) {
        if let Some(line) = self.producers.get_mut(producer) {
            line.state = LineState::Online(channel);
            line.delays.succeeded(now);
            self.outputs.push_back(Output::ProducerOnline(producer));
        }
    }

    fn consumer_replied(
        &mut self,
        now: Instant,
        consumer: usize,
        channel: u16,
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
                let restored = missed.then(|| subscription.to_string());
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
        channel: u16,
        tag: ShortString,
        topology: &Topology,
    ) {
        let Some(Owner::Consumer(consumer)) = self.owner(channel) else {
            let event = Event::ConsumerCancelled {
                channel,
                consumer_tag: tag,
            };
            return self.raw_event(channel, event);
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
        consumer: usize,
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
                delayed = Some((subscription.to_string(), close.clone()));
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

    fn consumer_ended(&mut self, consumer: usize, verdict: Verdict, error: Option<Error>) {
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
        channel: u16,
        reason: ChannelCloseReason,
        topology: &Topology,
    ) {
        let owner = self
            .owners
            .get_mut(usize::from(channel))
            .and_then(Option::take);
        match owner {
            Some(Owner::Recovery) => self.entity_refused(now, reason),
            Some(Owner::Calls) => {
                if let Some((token, _)) = self.calls.channel_closed() {
                    let result = Err(refusal(reason));
                    self.outputs.push_back(Output::Called { token, result });
                }
            }
            Some(Owner::Producer(producer)) => self.producer_closed(now, producer, reason),
            Some(Owner::Consumer(consumer)) => {
                self.consumer_closed(now, consumer, reason, topology);
            }
            Some(Owner::Raw(raw)) => {
                if let Some(line) = self.raws.get_mut(raw) {
                    *line = RawLine::Closed;
                    self.outputs
                        .push_back(Output::RawClosed(raw, refusal(reason)));
                }
            }
            None => {}
        }
        // Some channels are to be back at once, and some found no number free until now.
        self.wakeups.push(now);
        self.progressed(now);
    }

    fn producer_closed(&mut self, now: Instant, producer: usize, reason: ChannelCloseReason) {
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

    pub(super) fn raw_event(&mut self, channel: u16, event: Event) {
        if let Some(Owner::Raw(raw)) = self.owner(channel) {
            self.outputs.push_back(Output::Raw(raw, event));
        }
    }

    /// All channels are gone, and with them what they were used for.
    pub(super) fn forget_channels(&mut self) {
        self.stage = Stage::Offline;
        self.owners.clear();
        self.wakeups.clear();
        self.postponed.clear();
        self.calls.channel_lost();
        self.recovery = Courier::new();
        for (producer, line) in &mut self.producers {
            if line.online().is_some() {
                self.outputs.push_back(Output::ProducerOffline(producer));
            }
            line.state = LineState::Waiting;
        }
        for (consumer, subscription) in &mut self.consumers {
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
        self.close_raws(&Error::ConnectionLost);
    }

    pub(super) fn close_raws(&mut self, error: &Error) {
        for (raw, line) in &mut self.raws {
            if matches!(line, RawLine::Opening(_) | RawLine::Open(_)) {
                *line = RawLine::Closed;
                self.outputs
                    .push_back(Output::RawClosed(raw, error.clone()));
            }
        }
    }

    /// Opens channels for consumers that have none.
    pub(super) fn open_consumers(&mut self, now: Instant) {
        let wanting: Vec<usize> = self
            .consumers
            .iter()
            .filter(|(_, it)| it.wants_channel(now) && !it.is_suspected())
            .map(|(key, _)| key)
            .collect();
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
    fn open_consumer(&mut self, now: Instant, consumer: usize) -> bool {
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
        let wanting: Vec<usize> = self
            .producers
            .iter()
            .filter(|(_, line)| line.wants_channel(now))
            .map(|(key, _)| key)
            .collect();
        for producer in wanting {
            if let Ok(channel) = self.open_channel(now, Owner::Producer(producer)) {
                self.producers[producer].state = LineState::Opening(channel);
            }
        }
    }

    /// Opens the channels that users asked for to drive them.
    pub(super) fn open_raws(&mut self, now: Instant) {
        let wanting: Vec<usize> = self
            .raws
            .iter()
            .filter(|(_, line)| **line == RawLine::Waiting)
            .map(|(key, _)| key)
            .collect();
        for raw in wanting {
            match self.open_channel(now, Owner::Raw(raw)) {
                Ok(channel) => self.raws[raw] = RawLine::Opening(channel),
                // The connection is about to end, and there will be another.
                Err(OpenChannelError::NotOpen) => {}
                Err(_) => {
                    self.raws[raw] = RawLine::Closed;
                    self.outputs
                        .push_back(Output::RawClosed(raw, Error::NoFreeChannel));
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
        let Some(mut channel) = courier_channel(&mut self.connection, &self.calls) else {
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

/// The channel on which a courier can make its calls now. One that ended a moment ago takes none,
/// and its end is about to be told.
pub(super) fn courier_channel<'a, T>(
    connection: &'a mut Option<Connection>,
    courier: &Courier<T>,
) -> Option<codec::Channel<'a>> {
    let channel = connection.as_mut()?.channel(courier.channel()?)?;
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

fn refusal(reason: ChannelCloseReason) -> Error {
    match reason {
        ChannelCloseReason::Peer(close) => Error::Refused(close),
        ChannelCloseReason::CallTimeout(method) => Error::Timeout(method),
        _ => Error::ChannelClosed,
    }
}
