//! One connection through all its epochs: who has which channel, and what happens in which order
//! after a reconnect.
//!
//! It composes the [supervisor](super::supervisor), the codec's connection of the current epoch,
//! the [subscriptions](super::subscription) and the [queues of calls](super::call_queue). What it
//! wants done comes out of [`Session::poll_output`]; producers' buffers and consumers' inboxes are
//! not in here, since users share them, but everything that happens to them is told there.
//!
//! A recovery is a list of stages, each begun when the one before it is through:
//! topology, consumers, producers.

mod allocation;
mod attribution;
mod by_hand;
mod calls;
mod channels;
mod flow;
mod handshake;
mod keys;
mod line;
mod looks;
mod output;
mod owners;
mod producers;
mod recovery;
mod shared_channel;
mod stage;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::{Duration, Instant};

use bytes::{Buf, Bytes, BytesMut};
use snowshoe_codec as codec;
use snowshoe_codec::time::{after, earlier};
use snowshoe_codec::{
    ChannelId, ClientOptions, CloseReason, Connection, Delivery, KnownServer, Method, ReplyCode,
    Secret, ShortString,
};

use self::allocation::ChannelLimit;
use self::attribution::SuspectStep;
use self::by_hand::{ByHand, Unanswered};
use self::calls::Calls;
use self::channels::UserChannel;
use self::handshake::told;
use self::keys::Keyed;
pub use self::keys::{CallToken, ChannelKey, ConsumerKey, ProducerKey};
use self::line::Line;
use self::looks::Looks;
pub use self::output::Output;
use self::owners::{Owner, Owners};
use self::recovery::Postponed;
use self::shared_channel::SharedChannel;
use self::stage::Stage;
use super::Epoch;
use super::backoff::Backoff;
use super::call_queue::CallQueue;
use super::dialect::Dialect;
use super::subscription::{ConsumerSpec, Subscription};
pub use super::subscription::{Leaving, Manner};
use super::supervisor::{Action, Step, Supervisor};
use super::topology::{self, Deletion, Topology};
use crate::error::{ConnectionErrorReason, Error, Phase};

/// How a session goes about it.
#[derive(Clone, Debug)]
pub struct Settings {
    pub supervisor: super::supervisor::Config,
    pub backoff: Backoff,
    /// Whether exclusive and server-named queues belong to this connection. One connection of a
    /// client declares them; the others could only meet a 405.
    pub owns_exclusive_queues: bool,
    /// Whether calls are made on it, for which a channel is to be left where there are few.
    pub makes_calls: bool,
    pub seed: u64,
}

#[derive(Debug)]
pub struct Session {
    settings: Settings,
    supervisor: Supervisor,
    connection: Option<Connection>,
    /// How the broker at the other end wants to be spoken to, once the connection is open.
    dialect: Dialect,
    stage: Stage,
    /// Whether the broker has let us in: what was said behind connection.open counts.
    is_open: bool,
    /// Whether all that is declared is known to be there, so that publishes need not wait for it to be declared
    /// again.
    trusts: bool,
    /// Since when everything is back on this connection.
    ready_since: Option<Instant>,
    /// Whether this connection's bindings were sent, or are about to be.
    binds: bool,
    /// Whose the channels of the current epoch are.
    owners: Owners,
    /// How many of them the broker allows, where it has closed a connection over one too many.
    channel_limit: Option<ChannelLimit>,
    producers: Keyed<ProducerKey, Line>,
    /// The channels that producers share.
    shared_channels: BTreeMap<ChannelId, SharedChannel>,
    /// The channels on which producers publish, those with the fewest first, where that was asked since one of them
    /// came or went: whoever looks for all of them each time takes ever longer with ever more producers.
    least_shared: Option<BTreeSet<(usize, ChannelId)>>,
    /// Who has asked on which channel whether the broker has taken what was published, oldest first.
    proofs: Vec<(ChannelId, Option<ProducerKey>)>,
    /// Whether a user has published on a channel, since that was last asked.
    published_by_hand: bool,
    consumers: Keyed<ConsumerKey, Subscription>,
    user_channels: Keyed<ChannelKey, UserChannel>,
    /// When those who wait for consumers that are on their way go on without them.
    consumers_due: Option<Instant>,
    recovery: CallQueue<topology::Step>,
    looks: Looks,
    /// What was to be declared while somebody was deleting it.
    left_out: BTreeSet<topology::Step>,
    /// What was to be declared on a channel that was closed for want of an answer. It may be on its way still,
    /// until the broker is through with the channel.
    overdue: Vec<(ChannelId, topology::Step)>,
    calls: Calls,
    by_hand: ByHand,
    /// Calls of which nobody knows whether the broker has done them.
    perhaps_done: Vec<Method>,
    /// What ended, and is still to be told to the topology.
    deletions_ended: Vec<Deletion>,
    declarations_ended: Vec<topology::Step>,
    /// How many changes of the topology had ended when it was last looked at.
    changes_seen: u64,
    postponed: Vec<Postponed>,
    suspects: Vec<SuspectStep>,
    /// Whether somebody goes without a channel because all were in use.
    goes_without: bool,
    /// When there may be channels to open, for the first time or again, or calls to make.
    wakeups: Vec<Instant>,
    /// What the broker is to be told once it has taken another, and why.
    next_secret: Option<(Secret, ShortString)>,
    outputs: VecDeque<Output>,
    channel_epoch: Epoch,
    random: fastrand::Rng,
}

impl Session {
    pub fn new(settings: Settings) -> Self {
        let mut random = fastrand::Rng::with_seed(settings.seed);
        Self {
            supervisor: Supervisor::new(settings.supervisor, random.u64(..)),
            settings,
            connection: None,
            dialect: Dialect::default(),
            stage: Stage::Offline,
            is_open: false,
            trusts: false,
            ready_since: None,
            binds: false,
            owners: Owners::default(),
            channel_limit: None,
            producers: Keyed::new(),
            shared_channels: BTreeMap::new(),
            least_shared: None,
            proofs: Vec::new(),
            published_by_hand: false,
            consumers: Keyed::new(),
            user_channels: Keyed::new(),
            consumers_due: None,
            recovery: CallQueue::new(),
            looks: Looks::default(),
            left_out: BTreeSet::new(),
            overdue: Vec::new(),
            calls: Calls::new(),
            by_hand: ByHand::default(),
            perhaps_done: Vec::new(),
            deletions_ended: Vec::new(),
            declarations_ended: Vec::new(),
            changes_seen: 0,
            postponed: Vec::new(),
            suspects: Vec::new(),
            goes_without: false,
            wakeups: Vec::new(),
            next_secret: None,
            outputs: VecDeque::new(),
            channel_epoch: Epoch::default(),
            random,
        }
    }

    // The life of the connection.

    /// Whether all that is declared was declared on this connection a short while ago, and nothing of it is being
    /// declared again.
    pub fn has_just_declared(&self, now: Instant) -> bool {
        const A_SHORT_WHILE: Duration = Duration::from_secs(30);
        let is_settled =
            self.recovery.is_empty() && self.looks.is_empty() && self.postponed.is_empty();
        let since = self.ready_since.filter(|_| self.stage == Stage::Ready);
        is_settled && since.is_some_and(|since| now < after(since, A_SHORT_WHILE))
    }

    /// What is declared was declared at the same broker a moment ago, and lasts. On the next connection, and on
    /// no other, publishes go in the same flight as what is declared again.
    ///
    /// Those without confirms wait all the same: with a connection that the broker does not open they would be
    /// lost.
    pub fn trust_what_is_declared(&mut self) {
        self.trusts = true;
    }

    /// Begins to connect.
    pub fn start(&mut self, now: Instant) {
        self.supervisor.start(now);
    }

    /// Whether it was told to connect.
    pub fn has_started(&self) -> bool {
        self.supervisor.has_started()
    }

    /// How many addresses of the endpoint that is dialled have not had their turn.
    pub fn untried(&mut self, epoch: Epoch, addresses: usize) {
        self.supervisor.untried(epoch, addresses);
    }

    /// The transport is connected; `false` if it comes too late and is to be dropped.
    ///
    /// With a server that is known the handshake goes in one flight. If that comes to nothing, the attempt is
    /// [begun again](super::supervisor::Next::Again), for which nothing is to be known of the server.
    pub fn dialed(&mut self, now: Instant, epoch: Epoch, options: ClientOptions) -> bool {
        let in_time = self.supervisor.dialed(epoch, now).is_ok();
        if in_time {
            if options.known_server.is_some() {
                self.supervisor.is_repeatable(now);
            }
            self.connection = Some(Connection::client(options, now));
        }
        in_time
    }

    /// Whether the handshake of the attempt that is under way may go by what is known of the server.
    pub fn may_foresee(&self) -> bool {
        !self.supervisor.repeats()
    }

    /// What is to be known of the server another time.
    pub fn known_server(&self) -> Option<&KnownServer> {
        self.connection.as_ref()?.known_server()
    }

    /// The transport could not be connected.
    pub fn dial_failed(&mut self, now: Instant, epoch: Epoch, error: ConnectionErrorReason) {
        // By the next attempt that is some time ago.
        self.trusts = false;
        if let Some(next) = self.supervisor.lost(epoch, now) {
            self.outputs.push_back(Output::Lost { cause: error, next });
        }
    }

    /// Bytes came in; whole frames are consumed. Whether some may be left until outputs were polled.
    ///
    /// Deliveries that nothing comes before go to `deliver`, with the consumer whose they are; the
    /// others are [outputs](Output::Delivery).
    #[must_use]
    pub fn receive(
        &mut self,
        now: Instant,
        input: &mut BytesMut,
        mut deliver: impl FnMut(ConsumerKey, Delivery),
    ) -> bool {
        let Some(connection) = &mut self.connection else {
            input.clear();
            return false;
        };
        let is_next = self.outputs.is_empty();
        let (owners, consumers) = (&self.owners, &self.consumers);
        connection.receive_into(now, input, &mut |channel, delivery| {
            if is_next
                && let Some(Owner::Consumer(consumer)) = owners.get(channel)
                && consumers.get(consumer).is_some_and(Subscription::receives)
            {
                deliver(consumer, delivery);
                Ok(())
            } else {
                Err(delivery)
            }
        })
    }

    /// Copies what comes in messages of less than so many bytes, instead of letting them share the
    /// input's memory; see [`Connection::copy_below`].
    pub fn copy_below(&mut self, bytes: usize) {
        if let Some(connection) = &mut self.connection {
            connection.copy_below(bytes);
        }
    }

    /// The transport ended; with an error, if it did not end in order.
    pub fn transport_ended(&mut self, now: Instant, error: Option<ConnectionErrorReason>) {
        if let Some(error) = error {
            let error = match &self.connection {
                Some(connection) => told(connection, connection.stage(), error),
                None => error,
            };
            self.lost(now, error);
            self.outputs.push_back(Output::Abort);
        } else if let Some(connection) = &mut self.connection {
            // The codec tells how far it had come.
            connection.transport_ended();
        }
    }

    /// Closes for good, in order if that is done by the deadline.
    pub fn close(&mut self, now: Instant, deadline: Instant) {
        self.supervisor
            .close(deadline, self.stage != Stage::Offline);
        let orderly = self.supervisor.is_closing();
        match &mut self.connection {
            Some(connection) if orderly => {
                connection.close(now, ReplyCode::SUCCESS, ShortString::from_static("goodbye"));
            }
            _ => {
                self.connection = None;
                self.forget_channels();
                self.outputs.push_back(Output::Abort);
            }
        }
    }

    /// Whether it was closed, and has ended or is about to.
    pub fn is_closing(&self) -> bool {
        self.supervisor.is_closing() || self.supervisor.is_closed()
    }

    /// Whether it was closed, and has ended.
    pub fn is_closed(&self) -> bool {
        self.supervisor.is_closed()
    }

    /// Ends everything at once, in whatever state it is.
    pub fn abandon(&mut self, now: Instant) {
        self.supervisor.close(now, false);
        self.supervisor.lost(self.supervisor.epoch(), now);
        self.connection = None;
        self.forget_channels();
    }

    /// Whether recovery is through.
    pub fn is_ready(&self) -> bool {
        self.stage == Stage::Ready
    }

    /// Tells the broker a new secret; [`Output::SecretUpdated`] follows. While another is not answered it
    /// waits, and of several that wait, the newest alone is told.
    ///
    /// # Errors
    /// The connection is not open, or it does not fit into a frame.
    pub fn update_secret(
        &mut self,
        now: Instant,
        secret: Bytes,
        reason: ShortString,
    ) -> Result<(), Error> {
        let connection = self.connection.as_mut().ok_or(Error::ConnectionLost)?;
        if connection.is_updating_secret() {
            self.next_secret = Some((secret.into(), reason));
            return Ok(());
        }
        Ok(connection.update_secret(now, secret, reason)?)
    }

    /// The broker has taken a secret: the next one is told.
    fn secret_updated(&mut self, now: Instant) {
        self.outputs.push_back(Output::SecretUpdated);
        if let Some((secret, reason)) = self.next_secret.take() {
            let secret = Bytes::copy_from_slice(secret.as_bytes());
            if let Err(error) = self.update_secret(now, secret, reason) {
                self.outputs.push_back(Output::SecretNotUpdated(error));
            }
        }
    }

    // Time, input and output.

    pub fn poll_timeout(&self) -> Option<Instant> {
        let connection = self.connection.as_ref().and_then(Connection::poll_timeout);
        let wakeups = self.wakeups.iter().copied().map(Some);
        let postponed = self.postponed.iter().map(|it| it.retry_at);
        let first = earlier(self.supervisor.poll_timeout(), connection);
        let first = earlier(first, self.consumers_due);
        let first = wakeups.fold(first, earlier);
        postponed.fold(first, earlier)
    }

    pub fn handle_timeout(&mut self, now: Instant, topology: &mut Topology) {
        while let Some(action) = self.supervisor.handle_timeout(now) {
            match action {
                Action::Dial {
                    epoch,
                    attempt,
                    endpoint,
                } => {
                    self.outputs.push_back(Output::Dial {
                        epoch,
                        attempt,
                        endpoint,
                    });
                }
                Action::Abort { step, next, .. } => {
                    let phase = match step {
                        Step::Dial => Phase::Dial,
                        Step::Handshake => Phase::Handshake,
                        Step::Recovery => Phase::Recovery,
                        Step::Close => Phase::Close,
                    };
                    self.forget_channels();
                    self.connection = None;
                    self.outputs.push_back(Output::Lost {
                        cause: ConnectionErrorReason::Timeout(phase),
                        next,
                    });
                    self.outputs.push_back(Output::Abort);
                }
            }
        }
        if let Some(connection) = &mut self.connection {
            connection.handle_timeout(now);
        }
        self.pass_by_late_consumers(now);
        self.retry(now, topology);
        self.advance(now, topology);
    }

    /// What is to be written to the transport.
    pub fn outbound(&mut self) -> Option<&mut codec::Outbound> {
        self.connection.as_mut().map(Connection::outbound)
    }

    /// What is to be done, or has happened, next.
    pub fn poll_output(&mut self, now: Instant, topology: &mut Topology) -> Option<Output> {
        loop {
            self.tell_what_ended(topology);
            if topology.changes_ended() != self.changes_seen {
                self.advance(now, topology);
                continue;
            }
            if let Some(output) = self.outputs.pop_front() {
                return Some(output);
            }
            let event = self.connection.as_mut()?.poll_event()?;
            let owner = match event {
                codec::Event::Delivery { channel, .. } | codec::Event::Confirm { channel, .. } => {
                    self.owner(channel)
                }
                _ => None,
            };
            match (event, owner) {
                // The common ones go through without a stop in the queue.
                (codec::Event::Delivery { delivery, .. }, Some(Owner::Consumer(consumer))) => {
                    let subscription = self.consumers.get(consumer);
                    if subscription.is_some_and(Subscription::receives) {
                        return Some(Output::Delivery { consumer, delivery });
                    }
                }
                (codec::Event::Confirm { confirm, .. }, Some(Owner::Producer(producer))) => {
                    return Some(Output::Confirm { producer, confirm });
                }
                (codec::Event::Confirm { channel, confirm }, Some(Owner::Producers)) => {
                    self.confirm_shared(channel, confirm);
                }
                (event, _) => self.event(now, event, topology),
            }
        }
    }

    /// Whether [`poll_output`](Self::poll_output) is to be called again: something was done since that it tells
    /// of, or goes on by.
    pub fn has_output(&self, topology: &Topology) -> bool {
        let connection = self.connection.as_ref();
        !self.outputs.is_empty()
            || self.has_ended_something()
            || topology.changes_ended() != self.changes_seen
            || connection.is_some_and(Connection::has_event)
    }

    /// Whether there is something of which the topology is to know that it is no longer under way.
    fn has_ended_something(&self) -> bool {
        !self.perhaps_done.is_empty()
            || !self.deletions_ended.is_empty()
            || !self.declarations_ended.is_empty()
    }

    /// Lets the topology know what is no longer under way, before any other session declares from it.
    pub fn tell_what_ended(&mut self, topology: &mut Topology) {
        // As a rule there is nothing, and this is asked for each message.
        if !self.has_ended_something() {
            return;
        }
        // What was to be deleted is not declared again, whether or not the broker has done it.
        for call in self.perhaps_done.drain(..) {
            topology.forget_what_is_deleted(&call);
        }
        for deletion in self.deletions_ended.drain(..) {
            topology.deletion_ended(deletion);
        }
        for step in self.declarations_ended.drain(..) {
            topology.declaring_ended(&step);
        }
    }

    fn event(&mut self, now: Instant, event: codec::Event, topology: &mut Topology) {
        use codec::Event;
        match event {
            Event::Opening(_) => self.opening(now, topology),
            Event::Open(_) => self.connected(now),
            Event::Closed(reason) => self.closed(now, reason),
            Event::Blocked { reason } => self.outputs.push_back(Output::Blocked(reason)),
            Event::Unblocked => self.outputs.push_back(Output::Unblocked),
            Event::SecretUpdated => self.secret_updated(now),
            Event::ChannelOpen { channel } => self.channel_opened(now, channel),
            Event::Reply { channel, method } => self.replied(now, channel, method, topology),
            Event::ChannelClosed { channel, reason } => {
                self.channel_closed(now, channel, reason, topology);
            }
            Event::ChannelReleased { channel } => self.channel_released(channel),
            Event::ConsumerCancelled {
                channel,
                consumer_tag,
            } => {
                self.consumer_cancelled(now, channel, consumer_tag, topology);
            }
            Event::Returned { channel, returned } => self.returned(channel, returned),
            Event::Oversized { channel, oversized } => self.oversized(channel, *oversized),
            Event::Delivery { channel, .. }
            | Event::Got { channel, .. }
            | Event::Confirm { channel, .. } => self.user_channel_event(channel, event),
            Event::Flow { channel, .. } => match self.owner(channel) {
                Some(Owner::Producer(producer)) => {
                    self.outputs.push_back(Output::ProducerMayGoOn(producer));
                }
                Some(Owner::Producers) => {
                    let producers = self.shared_by(channel).into_iter();
                    self.outputs.extend(producers.map(Output::ProducerMayGoOn));
                }
                _ => self.user_channel_event(channel, event),
            },
            // Only servers see the others.
            _ => {}
        }
        self.advance(now, topology);
    }

    /// connection.open is on its way, and what is to be declared again follows it in the same flight. Nothing
    /// that users would miss goes before the broker's answer.
    fn opening(&mut self, now: Instant, topology: &mut Topology) {
        let connection = self.connection.as_ref();
        self.dialect = connection.map_or_else(Dialect::default, Dialect::of);
        self.begin_recovery(topology);
        // Before those who publish take all channels.
        self.declare_again(now, topology);
        self.open_producers_ahead(now);
    }

    fn connected(&mut self, now: Instant) {
        if self
            .supervisor
            .handshaken(self.supervisor.epoch(), now)
            .is_ok()
        {
            self.is_open = true;
            self.outputs.push_back(Output::Connected);
        }
    }

    /// The one place where a connection's end is noticed, if it was the codec that noticed it.
    fn closed(&mut self, now: Instant, reason: CloseReason) {
        let Some(mut connection) = self.connection.take() else {
            return;
        };
        if let CloseReason::Peer(close) = &reason
            && self.is_open
            && self.attribute(now, close)
        {
            self.supervisor.excuse();
        }
        if matches!(&reason, CloseReason::Peer(close) if close.code == ReplyCode::ACCESS_REFUSED) {
            // To log in a second time would only be refused a second time, and counted.
            self.supervisor.is_not_repeatable();
        }
        let orderly = matches!(
            reason,
            CloseReason::Requested | CloseReason::Peer(_) | CloseReason::Violation(_)
        );
        let outbound = connection.outbound();
        let last_words = outbound.copy_to_bytes(outbound.remaining());
        let ended_at = match reason {
            CloseReason::TransportEnded(stage) => Some(stage),
            _ => None,
        };
        let cause = ConnectionErrorReason::from_close(reason, !self.is_open);
        let cause = match ended_at {
            Some(stage) => told(&connection, stage, cause),
            None => cause,
        };
        self.lost(now, cause);
        self.outputs.push_back(if orderly {
            Output::Finish(last_words)
        } else {
            Output::Abort
        });
    }

    fn lost(&mut self, now: Instant, cause: ConnectionErrorReason) {
        if self.stage == Stage::Ready {
            self.let_suspects_try_again();
        }
        self.connection = None;
        let is_cut = matches!(
            cause,
            ConnectionErrorReason::Transport(_)
                | ConnectionErrorReason::Closed(CloseReason::TransportEnded(_))
        );
        if is_cut && !self.producers.is_empty() {
            self.outputs.push_back(Output::PublishingCut);
        }
        self.forget_channels();
        if let Some(next) = self.supervisor.lost(self.supervisor.epoch(), now) {
            self.outputs.push_back(Output::Lost { cause, next });
        }
    }

    // What users ask for.

    pub fn add_producer(&mut self, now: Instant, confirms: bool) -> ProducerKey {
        let seed = self.random.u64(..);
        let line = Line::new(confirms, self.settings.backoff, seed);
        let producer = self.producers.insert(line);
        self.wakeups.push(now);
        producer
    }

    pub fn add_consumer(&mut self, now: Instant, spec: ConsumerSpec) -> ConsumerKey {
        let seed = self.random.u64(..);
        let subscription = Subscription::new(spec, self.settings.backoff, seed);
        let consumer = self.consumers.insert(subscription);
        self.wakeups.push(now);
        consumer
    }

    /// A channel for a user to drive, as soon as the connection is ready.
    pub fn add_channel(&mut self, now: Instant) -> ChannelKey {
        let channel = self.user_channels.insert(UserChannel::Waiting);
        self.wakeups.push(now);
        channel
    }

    /// The channel of a producer that has one. Where it has published there, that
    /// [is to be told](Self::has_published).
    pub fn producer_channel(&mut self, producer: ProducerKey) -> Option<codec::Channel<'_>> {
        let channel = self.producers.get(producer)?.channel()?;
        self.connection.as_mut()?.channel(channel)
    }

    /// The channel of a consumer.
    pub fn consumer_channel(&mut self, consumer: ConsumerKey) -> Option<codec::Channel<'_>> {
        let channel = self.consumers.get(consumer)?.channel()?;
        self.connection.as_mut()?.channel(channel)
    }

    /// A consumer has said on its channel that it refuses something.
    pub fn consumer_refuses(&mut self, consumer: ConsumerKey) {
        if let Some(subscription) = self.consumers.get_mut(consumer) {
            subscription.refuses();
        }
    }

    /// A user has published on a channel of the present connection.
    pub fn has_published_by_hand(&mut self) {
        self.published_by_hand = true;
    }

    /// Whether that is so of any connection since it was last asked.
    pub fn take_published_by_hand(&mut self) -> bool {
        std::mem::take(&mut self.published_by_hand)
    }

    /// The channel that a user drives.
    pub fn user_channel(&mut self, channel: ChannelKey) -> Option<codec::Channel<'_>> {
        let (UserChannel::Opening(channel) | UserChannel::Open(channel)) =
            *self.user_channels.get(channel)?
        else {
            return None;
        };
        self.connection.as_mut()?.channel(channel)
    }

    /// Stops a consumer: [`Output::ConsumerDraining`] follows, at once if there is nothing to ask
    /// the broker.
    pub fn cancel_consumer(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        leaving: Leaving,
        topology: &mut Topology,
    ) {
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        if subscription.is_wanted() {
            topology.consumer_cancelled(&subscription.spec().queue);
        }
        let channel = subscription.channel();
        let was_draining = subscription.is_draining();
        match (subscription.cancel(leaving), channel) {
            (Some(cancel), Some(channel)) => self.send_for(now, consumer, channel, cancel),
            _ if subscription.is_draining() && !was_draining => {
                self.outputs.push_back(Output::ConsumerDraining(consumer));
            }
            (_, channel) if subscription.is_ended() => {
                if let Some(channel) = channel {
                    self.close_channel(now, channel);
                }
                self.outputs.push_back(Output::ConsumerDraining(consumer));
            }
            _ => {}
        }
    }

    /// Asks the broker to send no more to a consumer before the connection is closed, where that spares what it
    /// has not begun on a count. Whether it was asked; [`Output::ConsumerDraining`] follows then.
    pub fn call_off(&mut self, now: Instant, consumer: ConsumerKey) -> bool {
        if !self.dialect.spares_what_is_given_back {
            return false;
        }
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return false;
        };
        let channel = subscription.channel();
        let cancel = subscription.call_off();
        let (Some(cancel), Some(channel)) = (cancel, channel) else {
            return false;
        };
        self.send_for(now, consumer, channel, cancel);
        true
    }

    /// Whether the broker has yet to answer that a consumer gets no more.
    pub fn calls_off(&self) -> bool {
        let mut consumers = self.consumers.iter();
        consumers.any(|(_, subscription)| subscription.is_cancelling())
    }

    /// Forgets a consumer whose deliveries are settled, or will never be.
    pub fn remove_consumer(&mut self, now: Instant, consumer: ConsumerKey) {
        if let Some(subscription) = self.consumers.remove(consumer)
            && let Some(channel) = subscription.channel()
        {
            self.close_channel(now, channel);
        }
    }

    /// Forgets a producer whose messages are settled.
    pub fn remove_producer(&mut self, now: Instant, producer: ProducerKey) {
        self.forget_proofs_of(producer);
        if let Some(line) = self.producers.remove(producer)
            && let Some(channel) = line.channel()
        {
            self.leave_channel(now, producer, channel);
        }
    }

    /// Closes and forgets a channel that a user drove.
    pub fn remove_channel(&mut self, now: Instant, key: ChannelKey) {
        self.ended_by_hand(key, Unanswered::PerhapsDone);
        if let Some(UserChannel::Opening(channel) | UserChannel::Open(channel)) =
            self.user_channels.remove(key)
        {
            self.close_channel(now, channel);
        }
    }

    /// How long an exclusive queue may stay locked by a connection that the broker has not yet
    /// given up: three heartbeats, and some. Without heartbeats nobody knows when it will notice.
    fn lock_patience(&self) -> Duration {
        let heartbeat = self
            .connection
            .as_ref()
            .map_or(0, |connection| connection.tuning().heartbeat);
        match heartbeat {
            0 => Duration::MAX,
            seconds => Duration::from_secs(u64::from(seconds) * 4 + 5),
        }
    }
}

#[cfg(test)]
mod tests;
