//! The producers of a connection.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use snowshoe_codec::time::after;
use snowshoe_codec::{PeerClose, PublisherConfirm, Returned};

use crate::core::isolation::{Isolation, Verdict};
use crate::core::publisher::{Bin, Publisher};
use crate::core::session::{ProducerKey, Session};
use crate::events::ProducerId;
use crate::outcome::DropReason;
use crate::shared::handle::Shared;
use crate::shared::outbox::{Outbox, OutboxState};
use crate::shared::place::{LinkIndex, Place};

/// Producers by the session's keys for them, in their order, and whose turn it is.
#[derive(Default)]
pub(super) struct Producers {
    producers: BTreeMap<ProducerKey, Producer>,
    /// Those that may have something to write, in the order of their turns.
    queue: VecDeque<ProducerKey>,
    /// Those whose messages are settled when the transport has taken them.
    unflushed: Vec<ProducerKey>,
    /// Those who owe somebody a wake for room, which is given once there is nothing else to do.
    owing: Vec<ProducerKey>,
    /// When others are woken for room that nobody came for.
    pass_on_at: Option<Instant>,
    /// Confirms that came one after the other, for one lock of their outbox and one wake.
    confirms: Vec<PublisherConfirm>,
    /// Whose they are.
    confirmed: ProducerKey,
    /// Whose message costs everybody a channel or the connection, where that is not known.
    isolation: Isolation<ProducerKey>,
    /// What has left a producer, whichever it is.
    bin: Bin<Waker>,
}

struct Producer {
    outbox: Arc<Outbox>,
    /// Whether it stands in the queue.
    queued: bool,
    /// Whether it is among the unflushed.
    unflushed: bool,
    /// Whether it is among the owing.
    owing: bool,
}

/// How a producer stands after something was done with its messages.
struct Standing {
    in_flight: bool,
    owes_room: bool,
    /// Whether it is closed and has nothing left to say.
    finished: bool,
}

impl Standing {
    fn of(state: &OutboxState) -> Self {
        let publisher = &state.publisher;
        Self {
            in_flight: publisher.in_flight() > 0,
            owes_room: publisher.owes_room(),
            finished: publisher.is_closed() && publisher.is_empty(),
        }
    }
}

/// How many bytes a producer may write before the next one has its turn.
const SHARE: usize = 64 * 1024;

/// How long whoever is woken for room may take to come before others are woken for it. A thread takes some
/// 50 µs to wake; a future that nobody polls never comes.
const TIME_TO_COME: Duration = Duration::from_millis(1);

/// How many bytes may wait to be written before publishes have to wait. Everything else passes.
const OUTBOUND_LIMIT: usize = 256 * 1024;

impl Producers {
    pub(super) fn add(
        &mut self,
        now: Instant,
        link: LinkIndex,
        session: &mut Session,
        outbox: Arc<Outbox>,
    ) {
        if outbox.look(Standing::of).finished {
            // It came and went, and nothing came of it.
            return;
        }
        let key = session.add_producer(now, outbox.confirms());
        outbox.register(Place { link, key });
        self.producers.insert(
            key,
            Producer {
                outbox,
                queued: false,
                unflushed: false,
                owing: false,
            },
        );
        // What it had to say before that was not told.
        self.is_ready(key);
        self.owes_room(key);
    }

    /// A producer has something to write, or has ended.
    pub(super) fn look_at(&mut self, now: Instant, session: &mut Session, key: ProducerKey) {
        self.is_ready(key);
        if let Some(producer) = self.producers.get(&key) {
            let standing = producer.outbox.look(Standing::of);
            self.review(now, session, key, &standing);
        }
    }

    /// A producer has something to write.
    pub(super) fn is_ready(&mut self, key: ProducerKey) {
        if let Some(producer) = self.producers.get_mut(&key)
            && !mem::replace(&mut producer.queued, true)
        {
            self.queue.push_back(key);
        }
    }

    /// Works on a producer's messages, and lets it go on if that made it possible.
    pub(super) fn with(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: ProducerKey,
        work: impl FnOnce(&mut Publisher<Waker>),
    ) {
        let Some(producer) = self.producers.get(&key) else {
            return;
        };
        let (go_on, standing) = producer.outbox.with_bin(&mut self.bin, |state| {
            work(&mut state.publisher);
            (state.publisher.has_unwritten(), Standing::of(state))
        });
        if go_on {
            self.is_ready(key);
        }
        self.review(now, session, key, &standing);
    }

    /// A message was returned that one of these has published: one that has such a message in flight.
    pub(super) fn returned(
        &mut self,
        now: Instant,
        session: &mut Session,
        producers: &[ProducerKey],
        returned: &Returned,
    ) {
        let likeness = |key: &ProducerKey| {
            let producer = self.producers.get(key)?;
            (producer.outbox).with(|state| state.publisher.likeness(returned))
        };
        let alike: Vec<_> = producers.iter().map(|key| (likeness(key), *key)).collect();
        let most = alike.iter().map(|(likeness, _)| *likeness).max();
        let mut owners = alike.into_iter().filter(|it| Some(it.0) == most);
        let Some((_, first)) = owners.next() else {
            return;
        };
        let others: Vec<ProducerKey> = owners.map(|(_, key)| key).collect();
        if others.is_empty() || most == Some(None) {
            return self.with(now, session, first, |it| it.returned(returned));
        }
        // Nobody can tell whose of those that are alike it is.
        self.with(now, session, first, |it| it.note_return(returned));
        for key in others.into_iter().chain([first]) {
            self.with(now, session, key, |it| it.perhaps_returned(returned));
        }
    }

    /// What events call a producer.
    pub(super) fn id(&self, key: ProducerKey) -> Option<ProducerId> {
        Some(self.producers.get(&key)?.outbox.id())
    }

    /// Puts a confirm to those that are handed over next.
    pub(super) fn confirm(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: ProducerKey,
        confirm: PublisherConfirm,
    ) {
        if self.confirmed != key {
            self.hand_over(now, session);
            self.confirmed = key;
        }
        self.confirms.push(confirm);
    }

    /// Hands the confirms to their producer, unless it has ended.
    pub(super) fn hand_over(&mut self, now: Instant, session: &mut Session) {
        if self.confirms.is_empty() {
            return;
        }
        let mut confirms = mem::take(&mut self.confirms);
        self.with(now, session, self.confirmed, |publisher| {
            for confirm in &confirms {
                // The codec refuses confirms of what was never published.
                _ = publisher.confirm(*confirm);
            }
        });
        confirms.clear();
        // The next burst needs no memory of its own.
        self.confirms = confirms;
    }

    /// Draws the conclusions from how a producer stands.
    fn review(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: ProducerKey,
        standing: &Standing,
    ) {
        if standing.finished {
            self.producers.remove(&key);
            session.remove_producer(now, key);
        } else if standing.owes_room {
            self.owes_room(key);
        }
    }

    /// Somebody waits for room in a producer's buffer, and there is some.
    pub(super) fn owes_room(&mut self, key: ProducerKey) {
        if let Some(producer) = self.producers.get_mut(&key)
            && !mem::replace(&mut producer.owing, true)
        {
            self.owing.push(key);
        }
    }

    /// There is nothing to do: whoever waits for room in a buffer is woken for what there is.
    pub(super) fn rest(&mut self, now: Instant) {
        self.give_room(Publisher::rest);
        if self.owing.is_empty() {
            self.pass_on_at = None;
        } else if self.pass_on_at.is_none() {
            self.pass_on_at = Some(after(now, TIME_TO_COME));
        }
    }

    /// Wakes others for room that nobody has come for. Whether it was time to.
    pub(super) fn handle_timeout(&mut self, now: Instant) -> bool {
        let is_time = self.pass_on_at.is_some_and(|at| at <= now);
        if is_time {
            self.give_room(Publisher::pass_on);
            let is_owing = !self.owing.is_empty();
            self.pass_on_at = is_owing.then(|| after(now, TIME_TO_COME));
        }
        is_time
    }

    fn give_room(&mut self, give: impl Fn(&mut Publisher<Waker>)) {
        self.owing.retain(|key| {
            // It may have ended.
            let Some(producer) = self.producers.get_mut(key) else {
                return false;
            };
            producer.owing = producer.outbox.with(|state| {
                give(&mut state.publisher);
                state.publisher.owes_room()
            });
            producer.owing
        });
    }

    /// When others are to be woken for room that nobody came for.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        self.pass_on_at
    }

    /// The broker closed the connection, or a channel that `sharers` had, over a publish, without saying
    /// whose (fault 10).
    pub(super) fn refused(
        &mut self,
        now: Instant,
        session: &mut Session,
        sharers: Option<&[ProducerKey]>,
        close: &PeerClose,
    ) {
        let is_over_channel = sharers.is_some();
        let everybody: Vec<ProducerKey> = self.producers.keys().copied().collect();
        let sharers = sharers.unwrap_or(&everybody);
        let mut in_flight = sharers.to_vec();
        in_flight.retain(|key| self.has_suspects(*key));
        let is_forgotten = is_over_channel && in_flight.is_empty();
        let verdict = self.isolation.refused(&in_flight);
        for key in sharers {
            self.with(now, session, *key, |publisher| {
                match verdict(*key) {
                    Verdict::Guilty => publisher.rejected(close),
                    Verdict::Suspected => publisher.suspected(),
                    // Without confirms it has left the buffer, and nobody can say whose it was.
                    Verdict::Cleared if is_forgotten => publisher.rejected(close),
                    Verdict::Cleared => publisher.cleared(),
                }
                publisher.offline();
            });
        }
    }

    /// Whether a producer has messages in flight over which something may be closed.
    fn has_suspects(&self, key: ProducerKey) -> bool {
        let producer = self.producers.get(&key);
        let is_in_flight = |outbox: &Outbox| outbox.look(|state| state.publisher.in_flight() > 0);
        producer.is_some_and(|it| it.outbox.confirms() && is_in_flight(&it.outbox))
    }

    /// Goes on to the next suspects once those who are tried have turned out to be innocent.
    fn review_suspects(&mut self) {
        if self.isolation.is_over() {
            return;
        }
        let producers = &self.producers;
        let is_innocent = |key| {
            let producer = producers.get(&key);
            producer.is_none_or(|it| !it.outbox.look(|state| state.publisher.is_isolating()))
        };
        self.isolation.clear(is_innocent);
        if let Some(producer) = (self.isolation.alone()).and_then(|key| producers.get(&key)) {
            (producer.outbox).with(|state| state.publisher.suspected_alone());
        }
    }

    /// Lets the producers that have something to write have their shares, in turn, while there is
    /// room. Whether anything was written.
    pub(super) fn publish(&mut self, now: Instant, session: &mut Session) -> bool {
        let mut moved = false;
        self.review_suspects();
        // How many in a row had to wait.
        let mut passed = 0;
        while passed < self.queue.len() {
            let budget = SHARE.min(room(session));
            if budget == 0 {
                break;
            }
            let Some(key) = self.queue.pop_front() else {
                break;
            };
            if !self.isolation.lets_write(key) {
                self.queue.push_back(key);
                passed += 1;
                continue;
            }
            passed = 0;
            let Some(producer) = self.producers.get_mut(&key) else {
                continue;
            };
            producer.queued = false;
            let outbox = &producer.outbox;
            let (more, standing) = outbox.with_bin(&mut self.bin, |state| {
                let more = match session.producer_channel(key) {
                    Some(mut channel) => state.publisher.transmit(&mut channel, budget),
                    None => false,
                };
                // What could not be written now is taken up again when the channel is back, or
                // with the next confirm: until then there is no need to be told of more.
                state.scheduled = more || state.publisher.has_unwritten();
                (more, Standing::of(state))
            });
            session.has_published(key);
            moved |= more;
            if !outbox.confirms() && !mem::replace(&mut producer.unflushed, true) {
                self.unflushed.push(key);
            }
            if more {
                self.is_ready(key);
            }
            self.review(now, session, key, &standing);
        }
        moved
    }

    /// The transport has taken so many bytes of this connection's stream.
    pub(super) fn flushed(&mut self, now: Instant, session: &mut Session, written: u64) {
        for key in mem::take(&mut self.unflushed) {
            let Some(producer) = self.producers.get_mut(&key) else {
                continue;
            };
            let standing = producer.outbox.with_bin(&mut self.bin, |state| {
                state.publisher.flushed(written);
                Standing::of(state)
            });
            producer.unflushed = standing.in_flight;
            if standing.in_flight {
                self.unflushed.push(key);
            }
            self.review(now, session, key, &standing);
        }
    }

    pub(super) fn stop_accepting(&self) {
        for producer in self.producers.values() {
            producer.outbox.with(|state| state.publisher.close());
        }
    }

    /// Whether every message has its outcome.
    pub(super) fn are_drained(&self) -> bool {
        self.producers
            .values()
            .all(|producer| producer.outbox.look(|state| state.publisher.is_empty()))
    }

    /// Ends all producers: messages that are not settled are given up, and left for whoever closes the
    /// client.
    pub(super) fn give_up(&mut self, reason: DropReason, shared: &Shared) {
        for (_, producer) in mem::take(&mut self.producers) {
            shared.leave(producer.outbox.abandon(reason));
        }
        self.queue.clear();
    }
}

/// Whether what waits to be written is enough for now.
pub(super) fn is_full(session: &mut Session) -> bool {
    room(session) == 0
}

/// How many bytes wait to be written.
pub(super) fn unwritten(session: &mut Session) -> usize {
    session.outbound().map_or(0, |outbound| outbound.len())
}

/// How many more bytes may wait to be written.
fn room(session: &mut Session) -> usize {
    let waiting = unwritten(session);
    OUTBOUND_LIMIT.saturating_sub(waiting)
}
