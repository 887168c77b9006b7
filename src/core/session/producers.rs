//! How producers come onto channels: each has its own while there are enough, and otherwise they share.

use std::collections::BTreeSet;
use std::time::Instant;

use snowshoe_codec::method::{Arguments, basic, confirm};
use snowshoe_codec::{ChannelCloseReason, ChannelId, PeerClose, PublisherConfirm};

use super::Session;
use super::allocation::NoChannel;
use super::channels::refusal;
use super::keys::ProducerKey;
use super::line::Line;
use super::output::Output;
use super::owners::Owner;
use super::shared_channel::SharedChannel;
use crate::core::refusal::is_passing;
use crate::error::Error;

impl Session {
    /// Opens channels for producers that have none.
    pub(super) fn open_producers(&mut self, now: Instant) {
        for producer in self.producers.keys_of(|line| line.wants_channel(now)) {
            if self.are_channels_for_others(now) && self.share_channel(now, producer) {
                continue;
            }
            match self.open_channel(now, Owner::Producer(producer)) {
                Ok(channel) => self.publish_on(now, producer, channel),
                Err(NoChannel::NoneFree) if self.share_channel(now, producer) => {}
                Err(NoChannel::NoneFree) => self.miss_producer(producer, Error::NoFreeChannel),
                Err(NoChannel::Soon | NoChannel::Offline) => {}
            }
        }
    }

    /// Opens channels for producers that need not wait until everything is declared again, as long as there
    /// are enough.
    pub(super) fn open_producers_ahead(&mut self, now: Instant) {
        if !self.trusts {
            return;
        }
        let is_ahead = |line: &Line| line.confirms() && line.wants_channel(now);
        for producer in self.producers.keys_of(is_ahead) {
            if self.free_channels(now) == 0 {
                break;
            }
            if let Ok(channel) = self.open_channel(now, Owner::Producer(producer)) {
                self.publish_on(now, producer, channel);
            }
        }
    }

    /// Lets a producer publish on a channel, which may be still on its way.
    fn publish_on(&mut self, now: Instant, producer: ProducerKey, channel: ChannelId) {
        let line = &mut self.producers[producer];
        line.opening(channel);
        if line.confirms() && self.publishes_on(channel).is_none() {
            // Where its channel has ended, that is about to be told.
            _ = self.send(now, channel, confirm::Select::default().into());
        }
        self.outputs.push_back(Output::ProducerOnline(producer));
    }

    /// Lets a producer publish on a channel of others, of those with the fewest producers. Whether there is one.
    fn share_channel(&mut self, now: Instant, producer: ProducerKey) -> bool {
        let mut least_shared = match self.least_shared.take() {
            Some(least_shared) => least_shared,
            None => self.publishing_channels(),
        };
        let Some((sharers, channel)) = least_shared.pop_first() else {
            return false;
        };
        least_shared.insert((sharers + 1, channel));
        let host = match self.owner(channel) {
            Some(Owner::Producer(host)) => Some(host),
            _ => (self.shared_channels.get(&channel)).and_then(|it| it.producers().next()),
        };
        let Some(host) = host else {
            return false;
        };
        let numbered = self.publishes_on(channel).unwrap_or(0);
        let host_confirms = self.producers[host].confirms();
        let is_online = self.producers[host].is_online();
        let confirms = self.producers[producer].confirms();
        let shared = self.shared_channels.entry(channel);
        let shared = shared.or_insert_with(|| SharedChannel::new(host, host_confirms, numbered));
        shared.join(producer, confirms);
        self.owners.pass_on(channel, Owner::Producers);
        let asks_for_confirms = confirms && self.publishes_on(channel).is_none();
        self.publish_on(now, producer, channel);
        if is_online && !asks_for_confirms {
            // There is no answer to wait for.
            self.producer_online(now, producer, channel);
        }
        self.least_shared = Some(least_shared);
        true
    }

    /// The channels on which producers publish, by how many do.
    fn publishing_channels(&self) -> BTreeSet<(usize, ChannelId)> {
        let channels = self.producers.iter();
        let channels = channels.filter_map(|(_, line)| line.channel());
        let with_sharers = |channel| {
            let shared = self.shared_channels.get(&channel);
            (shared.map_or(1, SharedChannel::len), channel)
        };
        channels.map(with_sharers).collect()
    }

    /// How many publishes of a channel were numbered, if they are.
    pub(super) fn publishes_on(&mut self, channel: ChannelId) -> Option<u64> {
        self.connection.as_mut()?.channel(channel)?.published()
    }

    /// A producer has published on its channel.
    pub fn has_published(&mut self, producer: ProducerKey) {
        if self.shared_channels.is_empty() {
            return;
        }
        let channel = self.producers.get(producer).and_then(Line::channel);
        if let Some(channel) = channel
            && let Some(numbered) = self.publishes_on(channel)
            && let Some(shared) = self.shared_channels.get_mut(&channel)
        {
            shared.published(producer, numbered);
        }
    }

    /// Asks for a sign that the broker has taken what a producer has published on its channel up to now,
    /// and has closed nothing over it: [`Output::ProducerTaken`] follows, unless the channel ends before.
    /// Whether it could be asked.
    pub fn prove_taken(&mut self, now: Instant, producer: ProducerKey) -> bool {
        let Some(channel) = self.producers.get(producer).and_then(Line::channel) else {
            return false;
        };
        // Brokers do what comes on a channel in its order. Any call would do; this one changes nothing
        // for a channel without consumers.
        let open = self.connection.as_mut().and_then(|it| it.channel(channel));
        // A queue that does not answer the broker can hold up the channel for longer than a call may take
        // (seen on 3.10: 30 s, for a quorum queue without a leader).
        let question = basic::Qos::default();
        let is_asked = open.is_some_and(|mut it| it.send_patiently(now, question).is_ok());
        if is_asked {
            self.proofs.push((channel, Some(producer)));
        }
        is_asked
    }

    /// The broker has answered the oldest question on a channel.
    pub(super) fn publishes_taken(&mut self, channel: ChannelId) {
        let mut proofs = self.proofs.iter();
        if let Some(oldest) = proofs.position(|(asked_on, _)| *asked_on == channel)
            && let (_, Some(producer)) = self.proofs.remove(oldest)
        {
            self.outputs.push_back(Output::ProducerTaken(producer));
        }
    }

    /// A producer has ended. Another may get its key, and what it has asked is still answered where it
    /// shared its channel.
    pub(super) fn forget_proofs_of(&mut self, producer: ProducerKey) {
        let asked = self.proofs.iter_mut();
        for (_, asker) in asked.filter(|(_, asker)| *asker == Some(producer)) {
            *asker = None;
        }
    }

    /// Tells the producers that share a channel of what is confirmed.
    pub(super) fn confirm_shared(&mut self, channel: ChannelId, confirm: PublisherConfirm) {
        let outputs = &mut self.outputs;
        if let Some(shared) = self.shared_channels.get_mut(&channel) {
            shared.confirm(confirm, |producer, confirm| {
                outputs.push_back(Output::Confirm { producer, confirm });
            });
        }
    }

    /// The producers that share a channel, in the order in which what is open was published.
    pub(super) fn shared_by(&self, channel: ChannelId) -> Vec<ProducerKey> {
        let shared = self.shared_channels.get(&channel);
        shared.map(SharedChannel::by_age).unwrap_or_default()
    }

    /// Takes a producer off its channel, which goes with the last one.
    pub(super) fn leave_channel(
        &mut self,
        now: Instant,
        producer: ProducerKey,
        channel: ChannelId,
    ) {
        self.least_shared = None;
        let shared = self.shared_channels.get_mut(&channel);
        if shared.is_none_or(|shared| shared.leave(producer)) {
            self.shared_channels.remove(&channel);
            self.close_channel(now, channel);
        }
    }

    /// The broker has confirmed a channel that producers share.
    pub(super) fn producers_online(&mut self, now: Instant, channel: ChannelId) {
        for producer in self.shared_by(channel) {
            self.producer_online(now, producer, channel);
        }
    }

    pub(super) fn producer_online(
        &mut self,
        now: Instant,
        producer: ProducerKey,
        channel: ChannelId,
    ) {
        let line = self.producers.get_mut(producer);
        if line.is_some_and(|line| line.opened(now, channel)) {
            self.outputs.push_back(Output::ProducerRestored(producer));
        }
    }

    pub(super) fn producer_closed(
        &mut self,
        now: Instant,
        producer: ProducerKey,
        reason: ChannelCloseReason,
    ) {
        let Some(line) = self.producers.get(producer) else {
            return;
        };
        match over_publish(&reason, line.is_online()) {
            Some(close) => {
                self.put_off(now, producer, close);
                let rejected = Output::ProducerRejected(producer, close.clone());
                self.outputs.push_back(rejected);
            }
            None => self.producer_offline(now, producer, reason),
        }
    }

    /// A channel that producers share is gone, and each of them looks for another.
    pub(super) fn shared_channel_closed(
        &mut self,
        now: Instant,
        channel: ChannelId,
        reason: ChannelCloseReason,
    ) {
        let producers = self.shared_by(channel);
        let shared = self.shared_channels.remove(&channel);
        let is_online = |producer: &ProducerKey| self.producers[*producer].is_online();
        match over_publish(&reason, producers.iter().any(is_online)) {
            Some(close) => {
                for producer in &producers {
                    self.put_off(now, *producer, close);
                }
                let rejected = Output::ProducersRejected {
                    producers,
                    has_untold: shared.is_some_and(|it| it.has_untold()),
                    close: close.clone(),
                };
                self.outputs.push_back(rejected);
            }
            None => {
                for producer in producers {
                    self.producer_offline(now, producer, reason.clone());
                }
            }
        }
    }

    /// What happens to a producer whose channel was closed over a publish.
    fn put_off(&mut self, now: Instant, producer: ProducerKey, close: &PeerClose) {
        let line = &mut self.producers[producer];
        if line.confirms() && close.method == basic::Publish::ID {
            // A poison message must not slow down the others: its channel comes back at once. Without
            // confirms there is no end to them, so there it waits.
            line.wait();
        } else {
            line.back_off(now);
        }
        self.wakeups.extend(line.retry_at());
    }

    fn producer_offline(
        &mut self,
        now: Instant,
        producer: ProducerKey,
        reason: ChannelCloseReason,
    ) {
        let line = &mut self.producers[producer];
        line.back_off(now);
        self.wakeups.extend(line.retry_at());
        self.outputs.push_back(match reason {
            ChannelCloseReason::Peer(_) => Output::ProducerClosed(producer),
            _ => {
                line.leave();
                Output::ProducerLeft(producer)
            }
        });
        self.miss_producer(producer, refusal(reason));
    }

    fn miss_producer(&mut self, producer: ProducerKey, reason: Error) {
        if self.producers[producer].miss() {
            let delayed = Output::ProducerDelayed(producer, reason);
            self.outputs.push_back(delayed);
        }
    }
}

/// Why a producer's channel was closed, if that was over a message. LavinMQ names no method where the fault
/// is in the header or the body, and a producer's channel sees nothing but publishes once it is there.
fn over_publish(reason: &ChannelCloseReason, is_online: bool) -> Option<&PeerClose> {
    let ChannelCloseReason::Peer(close) = reason else {
        return None;
    };
    let is_over_publish =
        close.method == basic::Publish::ID || is_online && close.method.class == 0;
    (is_over_publish && !is_passing(close)).then_some(close)
}
