//! How the broker is asked to send a consumer more, or less.

use std::time::{Instant, SystemTime};

use snowshoe_codec::{Method, ShortString};

use super::Session;
use super::keys::ConsumerKey;
use super::output::Output;
use crate::core::Flow;
use crate::core::dialect::DelaysRetries;
use crate::core::subscription::{ConsumerSpec, Leaving, Manner, Subscription};
use crate::core::topology::Topology;
use crate::stream::StreamOffset;

impl Session {
    /// How the broker can be asked to send a consumer more, or less; `None` where that would cost the
    /// consumer its queue, or cannot be written.
    pub fn manner(&self, consumer: ConsumerKey, flow: Flow, topology: &Topology) -> Option<Manner> {
        let subscription = self.consumers.get(consumer)?;
        let spec = subscription.spec();
        let is_narrow = flow == Flow::Narrow;
        if is_narrow && !subscription.next_consumers().iter().all(|it| self.fits(it)) {
            return None;
        }
        // What was made narrow is made wide again, whatever became of its queue.
        manner_of_exchange(spec, is_narrow, topology)
            .or((!is_narrow).then_some(Manner::CancelFirst))
    }

    /// Asks the broker to send a consumer more, or less; [`Output::ConsumerFlows`] follows, or
    /// [`Output::ConsumerOnline`].
    pub fn set_flow(&mut self, now: Instant, consumer: ConsumerKey, flow: Flow, manner: Manner) {
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        let channel = subscription.channel();
        let methods = subscription.set_flow(flow, manner);
        if let Some(channel) = channel {
            for method in methods {
                self.send_for(now, consumer, channel, method);
            }
        }
    }

    /// Whether a queue lets messages wait that failed, at this broker.
    pub fn delays_retries(&self, queue: &ShortString, topology: &Topology) -> bool {
        topology.says_to_delay_retries(queue)
            && match self.dialect.delays_retries {
                DelaysRetries::None => false,
                DelaysRetries::Quorum => topology.is_quorum(queue),
                DelaysRetries::All => true,
            }
    }

    /// Goes on after [`Output::ConsumerOpens`]: asks the broker for a consumer, which is to begin there, if it
    /// reads a stream.
    pub fn subscribe(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        begin: Option<StreamOffset>,
        time_of_day: impl FnOnce() -> SystemTime,
    ) {
        let begin = match begin {
            Some(StreamOffset::Interval(ago)) if self.dialect.wants_time_of_day => {
                let then = time_of_day().checked_sub(ago);
                let then = then.unwrap_or(SystemTime::UNIX_EPOCH);
                Some(StreamOffset::Timestamp(then))
            }
            begin => begin,
        };
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        if let Some(begin) = begin {
            subscription.begin_at(begin);
        }
        if let Some(channel) = subscription.channel() {
            for method in subscription.ask() {
                self.send_for(now, consumer, channel, method);
            }
        }
    }

    /// The user has a consumer held: it is to receive nothing until it is [let go on](Self::let_go_on).
    /// [`Output::ConsumerPaused`] follows, unless its channel is to end ([`vacate`](Self::vacate)). A queue that would be
    /// deleted with its last consumer, or for want of one, keeps it, and is only not read.
    pub fn hold(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        leaving: Leaving,
        topology: &Topology,
    ) {
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        let queue = &subscription.spec().queue;
        if topology.is_auto_delete(queue) != Some(true) && !topology.expires(queue) {
            self.say(now, consumer, |it| it.hold(leaving));
        }
    }

    /// Says what could not be said in the middle of something.
    pub(super) fn hold_on(&mut self, now: Instant, consumer: ConsumerKey) {
        self.say(now, consumer, Subscription::hold_on);
    }

    /// Nothing of a consumer is at hand that is held: where it is to be so by the end of its channel, that is closed, and
    /// [`Output::ConsumerOffline`] follows.
    pub fn vacate(&mut self, now: Instant, consumer: ConsumerKey) {
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        let channel = subscription.channel();
        if subscription.vacates()
            && let Some(channel) = channel
        {
            self.close_channel(now, channel);
            self.outputs.push_back(Output::ConsumerOffline(consumer));
        }
    }

    /// The user lets a consumer receive again.
    pub fn let_go_on(&mut self, now: Instant, consumer: ConsumerKey) {
        if let Some(subscription) = self.consumers.get_mut(consumer) {
            if let Some(flow) = subscription.let_go_on(now) {
                // What was wanted meanwhile is to be asked for again.
                let flows = Output::ConsumerFlows(consumer, flow);
                self.outputs.push_back(flows);
            }
            self.wakeups.push(now);
        }
    }

    /// Goes on after [`Output::ConsumerVacant`].
    pub fn occupy(&mut self, now: Instant, consumer: ConsumerKey) {
        self.say(now, consumer, Subscription::occupy);
    }

    /// Asks for a sign that the broker has heard what was said on a consumer's channel up to now:
    /// [`Output::ConsumerHeard`] follows, unless the channel ends before.
    pub fn prove_heard(&mut self, now: Instant, consumer: ConsumerKey) {
        self.say(now, consumer, Subscription::prove);
    }

    /// Whether a method fits into a frame of this connection. The narrow consumer's is longer than that of
    /// the wide one, which did.
    fn fits(&self, method: &Method) -> bool {
        let mut encoded = Vec::new();
        method.encode(&mut encoded);
        let connection = self.connection.as_ref();
        let frame_max = connection.map_or(0, |it| it.tuning().frame_max as usize);
        encoded.len() + FRAME_OVERHEAD <= frame_max
    }

    /// Says on a consumer's channel what it has to say, if anything.
    fn say(
        &mut self,
        now: Instant,
        consumer: ConsumerKey,
        what: impl FnOnce(&mut Subscription) -> Option<Method>,
    ) {
        let Some(subscription) = self.consumers.get_mut(consumer) else {
            return;
        };
        if let (Some(method), Some(channel)) = (what(subscription), subscription.channel()) {
            self.send_for(now, consumer, channel, method);
        }
    }
}

/// How a consumer of a queue can take the place of another, if it can without harm.
fn manner_of_exchange(spec: &ConsumerSpec, is_narrow: bool, topology: &Topology) -> Option<Manner> {
    if spec.queue.as_bytes().starts_with(DIRECT_REPLY_TO) {
        // It is no queue: replies to a consumer that is gone are lost, and there is only one.
        return None;
    }
    match topology.is_auto_delete(&spec.queue) {
        Some(false) if is_narrow && spec.no_ack && topology.is_quorum(&spec.queue) => {
            Some(Manner::OnAnother)
        }
        Some(false) => Some(Manner::CancelFirst),
        // It goes with its last consumer. Of a queue that others declared, nobody knows whether it does.
        Some(true) | None if !spec.exclusive => Some(Manner::Overlapping),
        // An exclusive consumer is refused beside another, even beside itself.
        Some(true) | None => None,
    }
}

/// Where replies come to that need no queue.
const DIRECT_REPLY_TO: &[u8] = b"amq.rabbitmq.reply-to";

/// What a frame takes beside what is in it: its kind, channel, length and end (AMQP 0-9-1 §2.3.5).
const FRAME_OVERHEAD: usize = 8;
