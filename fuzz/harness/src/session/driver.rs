//! What a driver does: it carries bytes, lets the time pass, and does what the session says.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Buf, Bytes};
use snowshoe::ConnectionErrorReason;
use snowshoe::codec::PeerClose;
use snowshoe::internal::Epoch;
use snowshoe::internal::isolation::{Closed, Verdict};
use snowshoe::internal::publisher::Publisher;
use snowshoe::internal::session::{ConsumerKey, Output, ProducerKey, Session};
use snowshoe::internal::supervisor::Next;

use super::peer::{Habits, Peer};
use super::record::Record;
use super::users::Consumer;
use super::{Network, Transport, Way, World};
use crate::pair::{client_options, take};

impl World<'_> {
    /// Does everything that can be done without time passing.
    pub(super) fn run(&mut self) {
        for _ in 0..TURNS {
            if !self.turn() {
                // Nothing is left to do, so nothing may be due: a driver would spin.
                let next = self.session.poll_timeout();
                assert!(next.is_none_or(|at| at > self.now));
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Lets the time pass, with a stop wherever something is due.
    pub(super) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        for _ in 0..STOPS {
            let peer = self
                .transport
                .as_ref()
                .and_then(|it| it.peer.poll_timeout());
            let next = [self.session.poll_timeout(), peer];
            let next = next.into_iter().flatten().min();
            let next = next.filter(|next| *next <= until);
            self.now = next.unwrap_or(until).max(self.now);
            self.run();
            if next.is_none() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// The world is whole again, and so is the session after a while.
    pub(super) fn finish(mut self) {
        if self.session.is_closed() {
            return self.abandon();
        }
        self.network = Network::Good;
        let is_narrow = std::mem::replace(&mut self.limits.channel_max, 100) < 100;
        self.habits = Habits {
            lets_in: true,
            answers: true,
            confirms: true,
        };
        match &mut self.transport {
            // Another connection sets right what was forged, and has channels for everybody.
            Some(transport) if transport.peer.is_forged || is_narrow => self.transport = None,
            Some(transport) => {
                transport.is_stalled = false;
                transport.there.is_held_up = false;
                transport.back.is_held_up = false;
                transport.peer.recover(self.now);
            }
            None => {}
        }
        if self.transport.is_none() {
            self.session.transport_ended(self.now, Some(reset()));
        }
        for _ in 0..PATIENCE {
            self.pass(Duration::from_secs(1));
            if self.session.is_closed() {
                return self.abandon();
            }
            if self.missing().is_empty() {
                return;
            }
        }
        panic!("it is not whole again: {:?}", self.missing());
    }

    /// What is not whole.
    fn missing(&self) -> Vec<&'static str> {
        let mut producers = self.producers.values();
        let mut consumers = self.consumers.values();
        let missing = [
            ("the session", !self.session.is_ready()),
            ("a message", producers.any(|it| !it.publisher.is_empty())),
            (
                "a consumer",
                consumers.any(|it| !it.is_online && !it.is_draining),
            ),
            ("an answer", !self.calls.is_empty()),
        ];
        let missing = missing.into_iter().filter(|(_, is)| *is);
        missing.map(|(what, _)| what).collect()
    }

    /// The session has ended for good, and its messages with it.
    fn abandon(&mut self) {
        for producer in self.producers.values_mut() {
            producer.abandon(&self.record);
        }
    }

    /// One turn of a driver's loop; whether anything moved.
    fn turn(&mut self) -> bool {
        let mut moved = self.carry();
        if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now, &mut self.topology);
            moved = true;
        }
        while let Some(output) = self.session.poll_output(self.now, &mut self.topology) {
            self.carry_out(output);
            moved = true;
        }
        for producer in self.producers.values_mut() {
            producer.check(&self.record);
        }
        moved |= self.write_settles();
        moved | self.transmit()
    }

    fn carry(&mut self) -> bool {
        let Some(transport) = &mut self.transport else {
            return false;
        };
        let mut moved = false;
        if let Some(outbound) = self.session.outbound() {
            self.record.look_at(outbound);
            if !transport.is_stalled && outbound.has_remaining() {
                let said = take(outbound, usize::MAX);
                self.traffic += said.len();
                transport.there.under_way.unsplit(said);
                let written = outbound.written();
                for producer in self.producers.values_mut() {
                    producer.publisher.flushed(written);
                }
                moved = true;
            }
        }
        // The time passes for the peer in any case.
        let len = transport.there.passable();
        moved |= transport.carry_there(self.now, len, self.habits);
        let said = transport.peer.speak();
        self.traffic += said.len();
        moved |= !said.is_empty();
        transport.back.under_way.unsplit(said);
        let len = transport.back.passable();
        let (session, consumers) = (&mut self.session, &mut self.consumers);
        moved |= transport.carry_back(self.now, len, session, consumers, &mut self.record);
        let is_over = transport.peer.is_closed && transport.back.under_way.is_empty();
        if is_over {
            self.transport = None;
            self.session.transport_ended(self.now, None);
        }
        moved | is_over
    }

    pub(super) fn connect(&mut self, epoch: Epoch) {
        let mut options = client_options(self.limits.clone());
        options.known_server = self.known.clone();
        if self.session.dialed(self.now, epoch, options) {
            self.record.begin();
            self.transport = Some(Transport {
                peer: Peer::new(self.now),
                there: Way::default(),
                back: Way::default(),
                is_stalled: false,
            });
        }
    }

    fn carry_out(&mut self, output: Output) {
        match output {
            Output::Dial { epoch, .. } => match self.network {
                Network::Good => self.connect(epoch),
                Network::BlackHole => self.dialing = Some(epoch),
                Network::Refuses => self.session.dial_failed(self.now, epoch, reset()),
            },
            Output::Abort => self.transport = None,
            Output::Finish(last_words) => self.finish_transport(&last_words),
            Output::Connected => {
                self.known = self.session.known_server().cloned();
                self.isolation.connected();
            }
            Output::Lost { next, .. } => {
                self.is_blocked = false;
                if next == Next::Again {
                    self.known = None;
                }
            }
            Output::Blocked(_) => self.is_blocked = true,
            Output::Unblocked => self.is_blocked = false,
            // Only told.
            Output::Recovers(_) => {}

            Output::ProducerOnline(key) => self.with_producer(key, Publisher::online),
            Output::ProducerOffline(key) => self.with_producer(key, Publisher::offline),
            Output::ProducerClosed(key) => self.with_producer(key, Publisher::closed),
            Output::ProducerLeft(key) => self.with_producer(key, Publisher::left),
            Output::ProducerRejected(key, close) => {
                self.with_producer(key, |publisher| publisher.rejected(&close));
            }
            Output::ProducersRejected {
                producers,
                has_untold,
                close,
            } => {
                let closed = Closed::Channel { has_untold };
                self.publishing_refused(closed, &producers, &close);
            }
            Output::PublishingCut => {
                if self.isolation.is_over() {
                    let mut suspects: Vec<ProducerKey> = self.producers.keys().copied().collect();
                    suspects.retain(|key| {
                        let producer = &self.producers[key];
                        producer.confirms && producer.publisher.is_in_question_again()
                    });
                    _ = self.isolation.refused(Closed::Connection, &suspects);
                    for key in suspects {
                        self.with_producer(key, Publisher::suspected);
                    }
                }
            }
            Output::PublishingRefused(close) => {
                let everybody: Vec<ProducerKey> = self.producers.keys().copied().collect();
                self.publishing_refused(Closed::Connection, &everybody, &close);
            }
            Output::ProducerTaken(key) => self.with_producer(key, Publisher::taken),
            Output::Confirm { producer, confirm } => self.with_producer(producer, |publisher| {
                // The codec refuses confirms of what was never published, but for the 0.
                _ = publisher.confirm(confirm);
            }),
            Output::Returned { producer, returned } => {
                self.with_producer(producer, |publisher| publisher.returned(&returned));
            }
            Output::ReturnedToOneOf {
                producers,
                returned,
            } => {
                let mut alike = Vec::new();
                for key in producers {
                    let producer = self.producers.get_mut(&key);
                    let likeness = producer.and_then(|it| it.publisher.likeness(&returned));
                    alike.extend(likeness.map(|likeness| (likeness, key)));
                }
                let most = alike.iter().map(|(likeness, _)| *likeness).max();
                alike.retain(|(likeness, _)| Some(*likeness) == most);
                for (_, key) in &alike {
                    self.with_producer(*key, |publisher| match alike.len() {
                        1 => publisher.returned(&returned),
                        _ => publisher.perhaps_returned(&returned),
                    });
                }
            }

            Output::Delivery { consumer, delivery }
            | Output::Oversized {
                consumer, delivery, ..
            } => {
                if let Some(consumer) = self.consumers.get_mut(&consumer) {
                    consumer.deliver(delivery.delivery_tag, &self.record);
                }
            }
            Output::ConsumerOnline {
                consumer, epoch, ..
            } => self.turn_epoch(consumer, epoch),
            Output::ConsumerOffline(key) => self.turn_epoch(key, Epoch::default()),
            Output::ConsumerFailed(key, _) => {
                self.session.remove_consumer(self.now, key);
                self.consumers.remove(&key);
            }
            Output::ConsumerDraining(key) => {
                if let Some(consumer) = self.consumers.get_mut(&key) {
                    consumer.is_draining = true;
                }
            }

            Output::ConsumerOpens(key) => {
                let time_of_day = || SystemTime::UNIX_EPOCH;
                self.session.subscribe(self.now, key, None, time_of_day);
            }
            Output::ConsumerVacant(key) => self.session.occupy(self.now, key),

            Output::Called { token, .. } => assert!(self.calls.remove(&token.0), "answered twice"),
            Output::ChannelClosed(key, _) => {
                self.session.remove_channel(self.now, key);
                self.user_channels.remove(&key);
            }
            Output::ChannelUsable(key) | Output::ChannelEvent(key, _) => {
                assert!(self.user_channels.contains(&key));
            }

            Output::Ready
            | Output::SecretUpdated
            | Output::SecretNotUpdated(_)
            | Output::ConsumerQueueGone(_)
            | Output::ConsumerPaused(_)
            | Output::ConsumerCancelled(_)
            | Output::ConsumerFlows(..)
            | Output::ConsumerHeard(_)
            | Output::RefusalRefused(_)
            | Output::QueueRenamed { .. }
            | Output::RenameFollowed { .. }
            | Output::Delayed { .. }
            | Output::Restored { .. }
            | Output::ProducerDelayed(..)
            | Output::ProducerRestored(_)
            | Output::NotRecovered { .. }
            | Output::ProducerMayGoOn(_) => {}
        }
    }

    /// The last words go out, and the transport ends.
    fn finish_transport(&mut self, last_words: &Bytes) {
        if let Some(mut transport) = self.transport.take() {
            transport.there.under_way.extend_from_slice(last_words);
            transport.carry_there(self.now, usize::MAX, self.habits);
        }
    }

    pub(super) fn with_producer(
        &mut self,
        key: ProducerKey,
        work: impl FnOnce(&mut Publisher<u64>),
    ) {
        if let Some(producer) = self.producers.get_mut(&key) {
            work(&mut producer.publisher);
            self.remove_if_finished(key);
        }
    }

    fn remove_if_finished(&mut self, key: ProducerKey) {
        let Some(producer) = self.producers.get_mut(&key) else {
            return;
        };
        if producer.is_finished() {
            producer.check(&self.record);
            self.producers.remove(&key);
            self.session.remove_producer(self.now, key);
        }
    }

    /// The broker closed the connection, or a channel that some share, over a publish.
    fn publishing_refused(&mut self, closed: Closed, sharers: &[ProducerKey], close: &PeerClose) {
        let mut in_flight = sharers.to_vec();
        in_flight.retain(|key| {
            let producer = self.producers.get(key);
            producer.is_some_and(|it| it.confirms && it.publisher.in_flight() > 0)
        });
        let mut in_question = in_flight.clone();
        in_question.retain(|key| self.producers[key].publisher.is_in_question());
        let is_late = in_question.is_empty();
        let suspects = if is_late { in_flight } else { in_question };
        let verdict = self.isolation.refused(closed, &suspects);
        for key in sharers {
            self.with_producer(*key, |publisher| {
                match verdict(*key) {
                    Verdict::Guilty if is_late => publisher.suspected(),
                    Verdict::Guilty => publisher.rejected(close),
                    Verdict::Suspected => publisher.suspected(),
                    Verdict::Cleared => publisher.cleared(),
                }
                publisher.closed();
            });
        }
    }

    fn review_suspects(&mut self) {
        if self.isolation.is_over() {
            return;
        }
        let producers = &self.producers;
        let is_innocent = |key| {
            producers
                .get(&key)
                .is_none_or(|it| !it.publisher.is_isolating())
        };
        self.isolation.clear(is_innocent);
        if let Some(producer) =
            (self.isolation.alone()).and_then(|key| self.producers.get_mut(&key))
        {
            producer.publisher.suspected_alone();
        }
    }

    fn transmit(&mut self) -> bool {
        if self.is_blocked {
            return false;
        }
        let mut moved = false;
        self.review_suspects();
        for key in self.producers.keys().copied().collect::<Vec<_>>() {
            if !self.isolation.lets_write(key) {
                continue;
            }
            if let Some(mut channel) = self.session.producer_channel(key)
                && let Some(producer) = self.producers.get_mut(&key)
            {
                let queued = channel.queued();
                producer.publisher.transmit(&mut channel, SHARE);
                moved |= channel.queued() > queued;
                if !producer.confirms {
                    self.isolation.wrote_untold();
                }
                self.session.has_published(key);
                // A driver leaves the broker some time before it asks.
                if producer.publisher.awaits_verdict().is_some()
                    && self.session.prove_taken(self.now, key)
                {
                    producer.publisher.ask();
                }
            }
            self.remove_if_finished(key);
        }
        moved
    }

    fn turn_epoch(&mut self, key: ConsumerKey, epoch: Epoch) {
        if let Some(consumer) = self.consumers.get_mut(&key) {
            consumer.begin_epoch(epoch);
        }
    }

    /// Writes what was settled, and forgets consumers that have nothing left to settle.
    fn write_settles(&mut self) -> bool {
        let mut moved = false;
        for key in self.consumers.keys().copied().collect::<Vec<_>>() {
            let Some(consumer) = self.consumers.get_mut(&key) else {
                continue;
            };
            if let Some(mut channel) = self.session.consumer_channel(key) {
                let queued = channel.queued();
                consumer.flush(&mut channel);
                moved |= channel.queued() > queued;
            }
            if consumer.is_draining && consumer.is_drained() {
                self.consumers.remove(&key);
                self.session.remove_consumer(self.now, key);
                moved = true;
            }
        }
        moved
    }
}

impl Transport {
    /// Carries so many bytes to the peer; whether there were any.
    pub(super) fn carry_there(&mut self, now: Instant, len: usize, habits: Habits) -> bool {
        let moved = self.there.carry(len);
        self.peer.hear(now, habits, &mut self.there.arrived);
        moved
    }

    /// Carries so many bytes to the session; whether there were any.
    pub(super) fn carry_back(
        &mut self,
        now: Instant,
        len: usize,
        session: &mut Session,
        consumers: &mut BTreeMap<ConsumerKey, Consumer>,
        record: &mut Record,
    ) -> bool {
        let before = self.back.arrived.len();
        let moved = self.back.carry(len);
        if moved {
            record.hear(&self.back.arrived[before..]);
        }
        let is_behind = session.receive(now, &mut self.back.arrived, |key, delivery| {
            if let Some(consumer) = consumers.get_mut(&key) {
                consumer.deliver(delivery.delivery_tag, record);
            }
        });
        moved || is_behind
    }
}

impl Way {
    /// How much gets through now.
    fn passable(&self) -> usize {
        if self.is_held_up {
            0
        } else {
            self.under_way.len()
        }
    }

    fn carry(&mut self, len: usize) -> bool {
        let len = len.min(self.under_way.len());
        self.arrived.unsplit(self.under_way.split_to(len));
        len > 0
    }
}

pub(super) fn reset() -> ConnectionErrorReason {
    let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
    ConnectionErrorReason::Transport(Arc::new(reset))
}

/// How much one producer writes at a time.
const SHARE: usize = 4096;

/// How many turns a driver may take without time passing.
const TURNS: usize = 1_000;

/// How often time may stop.
const STOPS: usize = 10_000;

/// How many seconds the session has to be whole again: several times the longest pause.
const PATIENCE: usize = 300;
