//! Whose the channels are, and how each comes into use.

use std::time::{Duration, Instant};

use snowshoe_codec as codec;
use snowshoe_codec::method::{Arguments, basic};
use snowshoe_codec::time::after;
use snowshoe_codec::{
    ChannelCloseReason, ChannelId, Connection, Event, Incoming, Method, MethodId, Oversized,
    ReplyCode, Returned, SendError, ShortString,
};

use super::Session;
use super::allocation::NoChannel;
use super::by_hand::Unanswered;
use super::keys::ConsumerKey;
use super::output::Output;
use super::owners::{Owner, Owners};
use super::stage::Stage;
use crate::core::call_queue::CallQueue;
use crate::core::subscription::{Step, Subscription, Verdict};
use crate::core::topology::Topology;
use crate::error::Error;

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
        self.owners.get(channel)
    }

    pub(super) fn close_channel(&mut self, now: Instant, channel: ChannelId) {
        self.owners.closing(channel);
        self.least_shared = None;
        if let Some(mut channel) = self
            .connection
            .as_mut()
            .and_then(|connection| connection.channel(channel))
        {
            // Where it is not open, its end is on the way already.
            _ = channel.close(now, ReplyCode::SUCCESS, ShortString::EMPTY);
        }
    }

    /// Sends a method, where the channel is there and the method fits into a frame.
    pub(super) fn send(
        &mut self,
        now: Instant,
        channel: ChannelId,
        method: Method,
    ) -> Result<(), SendError> {
        let connection = self.connection.as_mut();
        let channel = connection.and_then(|connection| connection.channel(channel));
        channel.ok_or(SendError::NotOpen)?.send(now, method)
    }

    /// Sends a method on a consumer's channel. One that does not fit into a frame, since its arguments are
    /// the user's, does not on any channel of this connection: the consumer fails.
    pub(super) fn send_for(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        channel: ChannelId,
        method: Method,
    ) {
        // Where the channel has ended, that is about to be told.
        let Err(error @ SendError::FrameTooLarge { .. }) = self.send(now, channel, method) else {
            return;
        };
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        // Whoever starts it hears of it, and it is not recovered when it fails the first time.
        let is_recovered = subscription.is_wanted();
        let entity = subscription.entity();
        let verdict = subscription.give_up(now);
        self.close_channel(now, channel);
        self.consumer_ended(consumer, verdict, Some(error.into()));
        if is_recovered {
            let reason = error.into();
            self.outputs
                .push_back(Output::NotRecovered { entity, reason });
        }
    }

    pub(super) fn channel_opened(&mut self, now: Instant, channel: ChannelId) {
        self.owners.opened(channel);
        match self.owner(channel) {
            Some(Owner::Recovery) => self.recovery.opened(),
            Some(Owner::Look) => self.look_opened(channel),
            Some(Owner::Calls) => self.calls.opened(),
            Some(Owner::Producer(producer)) => {
                // With confirms the answer to confirm.select is awaited, too.
                if self
                    .producers
                    .get(producer)
                    .is_some_and(|it| !it.confirms())
                {
                    self.producer_online(now, producer, channel);
                }
            }
            Some(Owner::Producers) => {
                if self.publishes_on(channel).is_none() {
                    self.producers_online(now, channel);
                }
            }
            Some(Owner::Consumer(consumer)) => {
                if let Some(subscription) = self.consumers.get_mut(consumer) {
                    subscription.opened();
                }
                self.consumer_progressed(now, consumer);
            }
            Some(Owner::User(key)) => {
                if let Some(state) = self.user_channels.get_mut(key) {
                    *state = UserChannel::Open(channel);
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
            Some(Owner::Recovery) => {
                self.entity_recovered(&method, topology);
                self.offer_channel(now);
            }
            Some(Owner::Look) => self.look_answered(channel, &method, topology),
            Some(Owner::Calls) => {
                self.call_answered(method, topology);
                self.offer_channel(now);
            }
            Some(Owner::Producer(_) | Owner::Producers) if method.id() == basic::QosOk::ID => {
                self.publishes_taken(channel);
            }
            Some(Owner::Producer(producer)) => self.producer_online(now, producer, channel),
            Some(Owner::Producers) => self.producers_online(now, channel),
            Some(Owner::Consumer(consumer)) => {
                self.consumer_replied(now, consumer, channel, method.id(), topology);
                self.consumer_progressed(now, consumer);
            }
            Some(Owner::User(key)) => {
                self.answered_by_hand(key, method.id(), topology);
                self.user_channel_event(channel, Event::Reply { channel, method });
            }
            None => {}
        }
        self.progressed(now);
    }

    fn consumer_replied(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        channel: ChannelId,
        reply: MethodId,
        topology: &mut Topology,
    ) {
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        match subscription.replied(now, reply) {
            Some(Step::Active {
                first,
                missed,
                flow,
            }) => {
                if first {
                    topology.consumer_started(&subscription.spec().queue);
                }
                let restored = missed.then(|| subscription.entity());
                self.channel_epoch = self.channel_epoch.next();
                self.outputs.push_back(Output::ConsumerOnline {
                    consumer,
                    epoch: self.channel_epoch,
                    queue: subscription.spec().queue.clone(),
                    flow,
                });
                if let Some(entity) = restored {
                    self.outputs.push_back(Output::Restored { entity });
                }
                if self.consumers.iter().any(|(_, it)| it.is_suspected()) {
                    // Its turn may have come.
                    self.wakeups.push(now);
                }
                self.hold_on(now, consumer);
            }
            Some(Step::Vacant) => self.outputs.push_back(Output::ConsumerVacant(consumer)),
            Some(Step::Moving) => {
                self.close_channel(now, channel);
                self.outputs.push_back(Output::ConsumerOffline(consumer));
                self.wakeups.push(now);
            }
            Some(Step::Exchanged { flow, missed }) => {
                if missed {
                    let entity = subscription.entity();
                    self.outputs.push_back(Output::Restored { entity });
                }
                let cancel = subscription.leave();
                let is_draining = subscription.is_draining();
                if let Some(cancel) = cancel {
                    self.send_for(now, consumer, channel, cancel);
                }
                if is_draining {
                    self.outputs.push_back(Output::ConsumerDraining(consumer));
                }
                self.outputs
                    .push_back(Output::ConsumerFlows(consumer, flow));
                self.hold_on(now, consumer);
            }
            Some(Step::Held) => {
                self.outputs.push_back(Output::ConsumerPaused(consumer));
                // It may have been let go on meanwhile.
                self.wakeups.push(now);
            }
            Some(Step::Proven) => self.outputs.push_back(Output::ConsumerHeard(consumer)),
            Some(Step::Cancelled) => {
                if let Some(queue) = topology.left_queue(&subscription.spec().queue) {
                    self.push_to_declare(queue, topology);
                }
                self.outputs.push_back(Output::ConsumerDraining(consumer));
            }
            None => {}
        }
    }

    /// The broker cancelled a consumer. Its channel goes too, and with it what was delivered; but where
    /// this may be over one delivery, what else was delivered can be settled still, on the same channel.
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
        let queue = subscription.spec().queue.clone();
        // Where order comes first, all of it goes back at once.
        if self.dialect.cancels_over_timeouts
            && topology.is_quorum(&queue)
            && !topology.is_single_active(&queue)
            && let Some((cancel, at)) = subscription.pause(now)
        {
            subscription.miss();
            self.wakeups.push(at);
            self.send_for(now, consumer, channel, cancel);
            self.redeclare_queue(&queue, topology);
            self.outputs.push_back(Output::ConsumerPaused(consumer));
            return self.outputs.push_back(Output::ConsumerCancelled(consumer));
        }
        let verdict = subscription.cancelled_by_broker(now);
        // Where the user has cancelled it as well, nobody misses it or its queue.
        let is_missed = matches!(verdict, Verdict::Retry(_));
        if is_missed {
            subscription.miss();
        }
        self.close_channel(now, channel);
        if is_missed {
            self.redeclare_queue(&queue, topology);
            self.outputs.push_back(Output::ConsumerQueueGone(consumer));
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
        let verdict = subscription.channel_closed(now);
        let is_tried_again = matches!(verdict, Verdict::Retry(_));
        let delayed = (is_tried_again && subscription.miss())
            .then(|| (subscription.entity(), refusal(reason.clone())));
        if let ChannelCloseReason::Peer(close) = &reason
            && is_tried_again
            && close.code == ReplyCode::NOT_FOUND
        {
            let queue = subscription.spec().queue.clone();
            self.redeclare_queue(&queue, topology);
            self.outputs.push_back(Output::ConsumerQueueGone(consumer));
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
        let owner = self.owners.ended(channel);
        self.least_shared = None;
        self.proofs.retain(|(asked_on, _)| *asked_on != channel);
        match owner {
            Some(Owner::Recovery) => self.entity_refused(now, channel, reason, topology),
            Some(Owner::Look) => self.look_closed(now, channel, reason, topology),
            Some(Owner::Calls) => self.calls_closed(refusal(reason)),
            Some(Owner::Producer(producer)) => self.producer_closed(now, producer, reason),
            Some(Owner::Producers) => self.shared_channel_closed(now, channel, reason),
            Some(Owner::Consumer(consumer)) => {
                self.consumer_closed(now, consumer, reason, topology);
            }
            Some(Owner::User(key)) => {
                self.ended_by_hand(
                    key,
                    match reason {
                        ChannelCloseReason::Peer(_) => Unanswered::NotDone,
                        _ => Unanswered::PerhapsDone,
                    },
                );
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

    /// A message was returned.
    pub(super) fn returned(&mut self, channel: ChannelId, returned: Returned) {
        match self.owner(channel) {
            Some(Owner::Producer(producer)) => {
                self.outputs
                    .push_back(Output::Returned { producer, returned });
            }
            Some(Owner::Producers) => {
                let producers = self.shared_by(channel);
                self.outputs.push_back(Output::ReturnedToOneOf {
                    producers,
                    returned,
                });
            }
            _ => self.user_channel_event(channel, Event::Returned { channel, returned }),
        }
    }

    /// A message is too long, and here without its body.
    pub(super) fn oversized(&mut self, channel: ChannelId, oversized: Oversized) {
        let (owner, excess) = (self.owner(channel), oversized.excess);
        match (owner, oversized.message) {
            (Some(Owner::Consumer(consumer)), Incoming::Delivery(delivery)) => {
                let subscription = self.consumers.get(consumer);
                if subscription.is_some_and(Subscription::receives) {
                    self.outputs.push_back(Output::Oversized {
                        consumer,
                        excess,
                        delivery,
                    });
                }
            }
            (Some(Owner::Producer(_) | Owner::Producers), Incoming::Returned(returned)) => {
                self.returned(channel, returned);
            }
            (_, message) => {
                let oversized = Box::new(Oversized { excess, message });
                self.user_channel_event(channel, Event::Oversized { channel, oversized });
            }
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
        self.is_open = false;
        // Whoever logs in again asks for the newest.
        self.next_secret = None;
        self.trusts = false;
        self.ready_since = None;
        self.owners = Owners::default();
        self.wakeups.clear();
        self.goes_without = false;
        self.consumers_due = None;
        self.calls_lost();
        self.recovery_lost();
        self.shared_channels.clear();
        self.least_shared = None;
        self.proofs.clear();
        for (producer, line) in self.producers.iter_mut() {
            if line.connection_lost() {
                self.outputs.push_back(Output::ProducerOffline(producer));
            }
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
        let is_open =
            |it: &UserChannel| matches!(it, UserChannel::Opening(_) | UserChannel::Open(_));
        for key in self.user_channels.keys_of(is_open) {
            self.ended_by_hand(key, Unanswered::PerhapsDone);
            self.user_channels[key] = UserChannel::Closed;
            let closed = Output::ChannelClosed(key, error.clone());
            self.outputs.push_back(closed);
        }
    }

    /// Opens channels for consumers that have none.
    pub(super) fn open_consumers(&mut self, now: Instant, topology: &Topology) {
        self.follow_renames(now, topology);
        self.resume_consumers(now);
        let wanting = (self.consumers).keys_of(|it| it.wants_channel(now) && !it.is_suspected());
        for consumer in wanting {
            self.open_consumer(now, consumer);
        }
        self.open_suspects(now);
    }

    /// Asks again, on the channels that they have, for consumers that the broker has cancelled.
    fn resume_consumers(&mut self, now: Instant) {
        for key in (self.consumers).keys_of(Subscription::is_paused) {
            let subscription = &mut self.consumers[key];
            if let (Some(method), Some(channel)) =
                (subscription.resume(now), subscription.channel())
            {
                self.send_for(now, key, channel, method);
            }
        }
    }

    /// Consumers that are to be started go by the names that their queues have now: another session may
    /// have declared them.
    fn follow_renames(&mut self, now: Instant, topology: &Topology) {
        for key in (self.consumers).keys_of(|it| it.wants_channel(now)) {
            let consumer = &mut self.consumers[key];
            let old = consumer.spec().queue.clone();
            if let Some(new) = topology.new_name(&old).cloned() {
                consumer.queue_renamed(&old, &new);
                self.outputs.push_back(Output::RenameFollowed { old, new });
            }
        }
    }

    /// Tells of consumers that are not tried yet, since they have cost the connection before.
    pub(super) fn tell_of_those_kept_back(&mut self) {
        for (_, subscription) in self.consumers.iter_mut() {
            if let Some(close) = subscription.is_kept_back().cloned()
                && subscription.miss()
            {
                let (entity, reason) = (subscription.entity(), Error::Refused(close));
                self.outputs.push_back(Output::Delayed { entity, reason });
            }
        }
    }

    /// Opens channels for half of the consumers over which the connection may have been lost, if no other
    /// is on its way, so that of n the culprit is found after about log2 n connections. One that has cost
    /// a connection is tried alone. Whether any is on its way now.
    pub(super) fn open_suspects(&mut self, now: Instant) -> bool {
        let suspects = (self.consumers).keys_of(|it| it.is_suspected() && it.wants_channel(now));
        let is_recovering = self.stage == Stage::Consumers;
        if self.are_consumers_awaited() {
            if is_recovering || !suspects.is_empty() {
                (self.consumers_due).get_or_insert(after(now, CONSUMER_PATIENCE));
            }
            return true;
        }
        self.consumers_due = None;
        let (culprits, others): (Vec<_>, Vec<_>) =
            (suspects.into_iter()).partition(|key| self.consumers[*key].has_cost_connection());
        let half = others.len().div_ceil(2);
        let tried = others.into_iter().take(half);
        let tried: Vec<_> = match half {
            0 => culprits.into_iter().take(1).collect(),
            _ => tried.collect(),
        };
        let opened = tried.into_iter().filter(|it| self.open_consumer(now, *it));
        let are_opened = opened.count() > 0;
        if are_opened {
            self.consumers_due = Some(after(now, CONSUMER_PATIENCE));
        }
        are_opened
    }

    /// Opens a channel for a consumer. Whether there was one.
    fn open_consumer(&mut self, now: Instant, consumer: ConsumerKey) -> bool {
        let owner = Owner::Consumer(consumer);
        let opened = if self.consumers[consumer].is_established() {
            self.open_channel(now, owner)
        } else {
            self.open_channel_for_new(now, owner)
        };
        let subscription = &mut self.consumers[consumer];
        match &opened {
            Ok(channel) => {
                subscription.opening(*channel);
                self.outputs.push_back(Output::ConsumerOpens(consumer));
            }
            Err(NoChannel::NoneFree) if subscription.give_up_if_new() => {
                let failed = Output::ConsumerFailed(consumer, Error::NoFreeChannel);
                self.outputs.push_back(failed);
            }
            Err(NoChannel::NoneFree) if subscription.miss() => {
                let (entity, reason) = (subscription.entity(), Error::NoFreeChannel);
                self.outputs.push_back(Output::Delayed { entity, reason });
            }
            Err(_) => {}
        }
        opened.is_ok()
    }

    /// Whether any consumer is on its way for which others wait.
    fn are_consumers_awaited(&self) -> bool {
        let mut consumers = self.consumers.iter();
        consumers.any(|(_, it)| it.is_awaited())
    }

    /// A consumer that comes back has got a step further: those that are behind it have their time again.
    fn consumer_progressed(&mut self, now: Instant, consumer: ConsumerKey) {
        let subscription = self.consumers.get(consumer);
        if self.consumers_due.is_some() && subscription.is_some_and(Subscription::is_established) {
            self.consumers_due = Some(after(now, CONSUMER_PATIENCE));
        }
    }

    /// Lets nobody wait any longer for consumers about which the broker is silent, such as those of a quorum
    /// queue that has no leader: they come when they come.
    pub(super) fn pass_by_late_consumers(&mut self, now: Instant) {
        if self.consumers_due.take_if(|at| *at <= now).is_none() {
            return;
        }
        for (_, subscription) in self.consumers.iter_mut() {
            if !subscription.is_awaited() {
                continue;
            }
            let asked = subscription.pass_by();
            // Whoever starts one waits for that.
            if let Some(method) = asked.filter(|_| subscription.is_established())
                && subscription.miss()
            {
                let (entity, reason) = (subscription.entity(), Error::Timeout(method));
                self.outputs.push_back(Output::Delayed { entity, reason });
            }
        }
        // The turn of those that are suspected may have come.
        self.wakeups.push(now);
    }

    /// Opens the channels that users asked for to drive them.
    pub(super) fn open_user_channels(&mut self, now: Instant) {
        let wanting = (self.user_channels).keys_of(|state| *state == UserChannel::Waiting);
        for key in wanting {
            match self.open_channel_for_new(now, Owner::User(key)) {
                Ok(channel) => {
                    self.user_channels[key] = UserChannel::Opening(channel);
                    self.outputs.push_back(Output::ChannelUsable(key));
                }
                Err(NoChannel::Offline | NoChannel::Soon) => {}
                Err(NoChannel::NoneFree) => {
                    self.user_channels[key] = UserChannel::Closed;
                    self.outputs
                        .push_back(Output::ChannelClosed(key, Error::NoFreeChannel));
                }
            }
        }
    }
}

/// How long the recovery waits for consumers while the broker answers none of them. What comes after it,
/// such as calls and the publishing of requests, would rather have them back, but not at any price.
const CONSUMER_PATIENCE: Duration = Duration::from_secs(1);

/// The channel on which queued calls can be made now. One that ended a moment ago takes none, and its
/// end is about to be told.
pub(super) fn channel_of<'a, T>(
    connection: &'a mut Option<Connection>,
    calls: &CallQueue<T>,
) -> Option<codec::Channel<'a>> {
    let channel = connection.as_mut()?.channel(calls.channel()?)?;
    channel.can_send().then_some(channel)
}

pub(super) fn refusal(reason: ChannelCloseReason) -> Error {
    match reason {
        ChannelCloseReason::Peer(close) => Error::Refused(close),
        ChannelCloseReason::CallTimeout(method) => Error::Timeout(method),
        _ => Error::ChannelClosed,
    }
}
