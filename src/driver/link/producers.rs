//! The producers of a connection.

use std::collections::{BTreeMap, VecDeque};
use std::mem;
use std::sync::Arc;
use std::task::Waker;
use std::time::{Duration, Instant};

use snowshoe_codec::time::{after, earlier};
use snowshoe_codec::{PeerClose, PublisherConfirm, Returned};

use super::deadlines::Deadlines;
use crate::core::isolation::{Closed, Isolation, Verdict};
use crate::core::publisher::{Bin, Publisher};
use crate::core::session::{ProducerKey, Session};
use crate::error::Error;
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
    /// Those of which the broker has all that is tried now, and has not spoken of it.
    trials: Vec<Trial>,
    /// Until when those who are tried and have no channel can keep the others waiting.
    missed_until: Option<Instant>,
    /// When those are to be looked at whose messages may wait too long.
    expiring: Deadlines,
}

struct Trial {
    producer: ProducerKey,
    /// Before which position everything was written.
    written: u64,
    /// Whether the broker was asked whether it has taken that.
    is_asked: bool,
    /// When it is asked, or the producer put off, if it has not spoken by then.
    due: Instant,
}

struct Producer {
    outbox: Arc<Outbox>,
    /// Whether it stands in the queue.
    queued: bool,
    /// Whether it is among the unflushed.
    unflushed: bool,
    /// Whether it is among the owing.
    owing: bool,
    /// Whether its messages wait for a time only, which begins when they are first seen.
    has_max_age: bool,
}

/// How a producer stands after something was done with its messages.
struct Standing {
    in_flight: bool,
    owes_room: bool,
    /// Whether it is closed and has nothing left to say.
    finished: bool,
    /// Before which position everything was written that is tried now.
    on_trial: Option<u64>,
    /// Whether the time is to be noticed at which messages came.
    unnoticed: bool,
    /// When some of them have waited for too long.
    expires_at: Option<Instant>,
}

impl Standing {
    fn of(state: &OutboxState) -> Self {
        let publisher = &state.publisher;
        Self {
            in_flight: publisher.in_flight() > 0,
            owes_room: publisher.owes_room(),
            finished: publisher.is_finished(),
            on_trial: publisher.awaits_verdict(),
            unnoticed: publisher.is_unnoticed(),
            expires_at: publisher.expires_at(),
        }
    }
}

/// How many bytes a producer may write before the next one has its turn.
const SHARE: usize = 64 * 1024;

/// How long whoever is woken for room may take to come before others are woken for it. A thread takes some
/// 50 µs to wake; a future that nobody polls never comes.
const TIME_TO_COME: Duration = Duration::from_millis(1);

/// How long the broker has to confirm or to refuse what is tried before it is asked whether it has taken it.
/// Where it confirms in time, there is nothing in flight beside what is tried next.
const TIME_TO_CONFIRM: Duration = Duration::from_millis(250);

/// How long it has to answer that, before others go on.
const TIME_TO_ANSWER: Duration = Duration::from_secs(1);

/// How long whoever is tried may be without a channel on a connection that is ready.
const TIME_TO_COME_BACK: Duration = Duration::from_secs(2);

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
        let has_max_age = outbox.look(|state| state.publisher.has_max_age());
        self.producers.insert(
            key,
            Producer {
                outbox,
                queued: false,
                unflushed: false,
                owing: false,
                has_max_age,
            },
        );
        // What it had to say before that was not told.
        self.look_at(now, session, key);
        self.owes_room(key);
    }

    /// A producer has something to write, or has ended.
    pub(super) fn look_at(&mut self, now: Instant, session: &mut Session, key: ProducerKey) {
        self.is_ready(key);
        if let Some(producer) = self.producers.get(&key) {
            let mut standing = producer.outbox.look(Standing::of);
            if standing.unnoticed {
                standing = producer.outbox.with(|state| {
                    state.publisher.notice(now);
                    Standing::of(state)
                });
            }
            self.review(now, session, key, &standing);
        }
    }

    /// Whether the time at which its messages came is to be noticed also before it is its turn to publish.
    pub(super) fn has_max_age(&self, key: ProducerKey) -> bool {
        self.producers.get(&key).is_some_and(|it| it.has_max_age)
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

    /// What a producer publishes to is there, or the broker refuses it, and with it what waits for it.
    pub(super) fn is_declared(
        &mut self,
        now: Instant,
        session: &mut Session,
        key: ProducerKey,
        declared: Result<(), Error>,
    ) {
        self.with(now, session, key, |publisher| match declared {
            Ok(()) => publisher.let_go(),
            Err(Error::Refused(close)) => publisher.not_declared(Some(&close)),
            Err(_) => publisher.not_declared(None),
        });
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
        Some(self.producers.get(&key)?.outbox.id().clone())
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
    #[inline]
    pub(super) fn hand_over(&mut self, now: Instant, session: &mut Session) {
        if !self.confirms.is_empty() {
            self.hand_over_confirms(now, session);
        }
    }

    fn hand_over_confirms(&mut self, now: Instant, session: &mut Session) {
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
            self.expiring.remove(key);
            session.remove_producer(now, key);
            return;
        }
        if standing.owes_room {
            self.owes_room(key);
        }
        if let Some(at) = standing.expires_at {
            self.expiring.set_by(key, at);
        }
    }

    /// Gives up what has waited for too long. Whether there was anything to look at.
    fn expire(&mut self, now: Instant, session: &mut Session) -> bool {
        let mut moved = false;
        while let Some(key) = self.expiring.take_due(now) {
            self.with(now, session, key, |publisher| publisher.expire(now));
            moved = true;
        }
        moved
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
        if !self.owing.is_empty() {
            self.give_room(Publisher::rest);
        }
        if self.owing.is_empty() {
            self.pass_on_at = None;
        } else if self.pass_on_at.is_none() {
            self.pass_on_at = Some(after(now, TIME_TO_COME));
        }
    }

    /// Gives up what has waited for too long, and wakes others for room that nobody has come for. Whether it
    /// was time to.
    pub(super) fn handle_timeout(&mut self, now: Instant, session: &mut Session) -> bool {
        let has_expired = self.expire(now, session);
        let is_time = self.pass_on_at.is_some_and(|at| at <= now);
        if is_time {
            self.give_room(Publisher::pass_on);
            let is_owing = !self.owing.is_empty();
            self.pass_on_at = is_owing.then(|| after(now, TIME_TO_COME));
        }
        is_time || has_expired
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

    /// When [there is something to do](Self::handle_timeout) again.
    pub(super) fn poll_timeout(&self) -> Option<Instant> {
        earlier(self.pass_on_at, self.expiring.first())
    }

    /// As a rule nobody is tried, and that is asked every time.
    fn has_no_trials(&self) -> bool {
        self.trials.is_empty() && self.missed_until.is_none()
    }

    /// When [trials are to be ended](Self::end_trials), while it can be published.
    pub(super) fn trials_due(&self) -> Option<Instant> {
        if self.has_no_trials() {
            return None;
        }
        let trials = self.trials.iter().map(|trial| trial.due);
        trials.chain(self.missed_until).min()
    }

    /// Sees to it that no trial goes on for ever: not every queue confirms, not every channel answers, and
    /// not everybody has one. Whether the search has to go on on another connection.
    ///
    /// On that of one that is put off, nobody else could be found guilty, and the broker may say nothing:
    /// RabbitMQ 3.10 closes no connection in order while a channel waits for a queue, but resets it.
    pub(super) fn end_trials(&mut self, now: Instant, session: &mut Session) -> bool {
        if self.has_no_trials() {
            return false;
        }
        let due: Vec<Trial> = self.trials.extract_if(.., |it| it.due <= now).collect();
        let mut are_put_off = false;
        for trial in due {
            are_put_off |= self.end_trial(now, session, trial);
        }
        if self.missed_until.take_if(|until| *until <= now).is_some() {
            let missing = self.missing(session);
            self.isolation.put_off(|key| missing.contains(&key));
        }
        are_put_off && !self.isolation.is_over()
    }

    /// The broker reads again from now on: nobody is to be judged by the time before.
    pub(super) fn begin_trials_anew(&mut self, now: Instant) {
        for trial in &mut self.trials {
            let time = match trial.is_asked {
                true => TIME_TO_ANSWER,
                false => TIME_TO_CONFIRM,
            };
            trial.due = trial.due.max(after(now, time));
        }
        if let Some(until) = &mut self.missed_until {
            *until = after(now, TIME_TO_COME_BACK).max(*until);
        }
    }

    /// The broker has not spoken of what is tried. If it does not even answer, others go on; whether that is so.
    fn end_trial(&mut self, now: Instant, session: &mut Session, trial: Trial) -> bool {
        let Trial {
            producer, is_asked, ..
        } = trial;
        let Some(outbox) = self.producers.get(&producer).map(|it| &it.outbox) else {
            return false;
        };
        let (awaits_verdict, is_asking) = outbox.look(|state| {
            let publisher = &state.publisher;
            (publisher.awaits_verdict().is_some(), publisher.is_asking())
        });
        if is_asked && is_asking {
            self.isolation.put_off(|key| key == producer);
            return true;
        }
        if awaits_verdict && session.prove_taken(now, producer) {
            outbox.with(|state| state.publisher.ask());
            self.trials.push(Trial {
                is_asked: true,
                due: after(now, TIME_TO_ANSWER),
                ..trial
            });
        }
        false
    }

    /// Those who are tried, and have no channel to be tried on although others have theirs.
    fn missing(&self, session: &mut Session) -> Vec<ProducerKey> {
        let mut missing = Vec::new();
        if session.is_ready() {
            missing.extend_from_slice(self.isolation.tried());
        }
        missing.retain(|key| {
            let channel = session.producer_channel(*key);
            channel.is_none_or(|channel| !channel.flow_active())
        });
        missing
    }

    /// Everything was written that is tried of a producer now.
    fn begin_trial(&mut self, now: Instant, producer: ProducerKey, written: u64) {
        let trial = Trial {
            producer,
            written,
            is_asked: false,
            due: after(now, TIME_TO_CONFIRM),
        };
        let mut trials = self.trials.iter_mut();
        match trials.find(|trial| trial.producer == producer) {
            Some(before) if before.written == written && !before.is_asked => {}
            Some(before) => *before = trial,
            None => self.trials.push(trial),
        }
    }

    /// The broker closed what `sharers` had in common over a publish, without saying whose (fault 10).
    pub(super) fn refused(
        &mut self,
        now: Instant,
        session: &mut Session,
        closed: Closed,
        sharers: &[ProducerKey],
        close: &PeerClose,
    ) {
        let in_flight = self.those_with(sharers, |publisher| publisher.in_flight() > 0);
        let is_forgotten = closed != Closed::Connection && in_flight.is_empty();
        let in_question = self.those_with(&in_flight, Publisher::is_in_question);
        // A broker that closes something over what it has taken leaves nobody innocent, and nobody guilty.
        let is_late = in_question.is_empty();
        let suspects = if is_late { in_flight } else { in_question };
        if session.take_published_by_hand() {
            self.isolation.wrote_untold();
        }
        let verdict = self.isolation.refused(closed, &suspects);
        for key in sharers {
            self.with(now, session, *key, |publisher| {
                match verdict(*key) {
                    Verdict::Guilty if is_late => publisher.suspected(),
                    Verdict::Guilty => publisher.rejected(close),
                    Verdict::Suspected => publisher.suspected(),
                    // Without confirms it has left the buffer, and nobody can say whose it was.
                    Verdict::Cleared if is_forgotten => publisher.rejected(close),
                    Verdict::Cleared => publisher.cleared(),
                }
                publisher.closed();
            });
        }
    }

    /// There is another connection.
    pub(super) fn connected(&mut self) {
        self.isolation.connected();
    }

    /// The connection has ended without a word. What was on several already without an outcome may be why, and
    /// is tried like what a broker refuses. Nobody is found guilty without its word.
    pub(super) fn cut(&mut self, now: Instant, session: &mut Session) {
        // A search goes on on the next connection.
        if !self.isolation.is_over() {
            return;
        }
        let suspects = self.those_with(&self.keys(), Publisher::is_in_question_again);
        _ = self.isolation.refused(Closed::Connection, &suspects);
        for key in suspects {
            self.with(now, session, key, Publisher::suspected);
        }
    }

    pub(super) fn keys(&self) -> Vec<ProducerKey> {
        self.producers.keys().copied().collect()
    }

    /// Those producers with confirms of which it is so.
    fn those_with(
        &self,
        keys: &[ProducerKey],
        is_so: impl Fn(&Publisher<Waker>) -> bool,
    ) -> Vec<ProducerKey> {
        let is_so = |key: &&ProducerKey| {
            let outbox = self.producers.get(key).map(|it| &it.outbox);
            outbox.is_some_and(|it| it.confirms() && it.look(|state| is_so(&state.publisher)))
        };
        keys.iter().filter(is_so).copied().collect()
    }

    /// Goes on to the next suspects once those who are tried have turned out to be innocent.
    fn review_suspects(&mut self, now: Instant, session: &mut Session) {
        if self.isolation.is_over() {
            self.missed_until = None;
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
        if self.missing(session).is_empty() {
            self.missed_until = None;
        } else if self.missed_until.is_none() {
            self.missed_until = Some(after(now, TIME_TO_COME_BACK));
        }
    }

    /// Lets the producers that have something to write have their shares, in turn, while there is
    /// room. Whether anything was written.
    pub(super) fn publish(&mut self, now: Instant, session: &mut Session) -> bool {
        let mut moved = false;
        self.review_suspects(now, session);
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
            if !outbox.confirms() {
                if standing.in_flight {
                    self.isolation.wrote_untold();
                }
                if !mem::replace(&mut producer.unflushed, true) {
                    self.unflushed.push(key);
                }
            }
            if more {
                self.is_ready(key);
            }
            if let Some(written) = standing.on_trial {
                self.begin_trial(now, key, written);
            }
            self.review(now, session, key, &standing);
        }
        moved
    }

    /// Whether some have something to write, and could not.
    pub(super) fn wait_for_room(&self) -> bool {
        !self.queue.is_empty()
    }

    /// The transport has taken so many bytes of this connection's stream. Whether that concerns anybody.
    pub(super) fn flushed(&mut self, now: Instant, session: &mut Session, written: u64) -> bool {
        let are_concerned = !self.unflushed.is_empty();
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
        are_concerned
    }

    /// Takes no more messages.
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
        self.expiring.clear();
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
