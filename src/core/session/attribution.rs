//! Which of those that use a connection the broker has closed it over.
//!
//! What was under way on a connection is done again on the next one. Where it costs that one, too,
//! it would cost one after the other without end, and everybody else with it. The broker names the
//! method, but not the channel, so those who had one of the kind under way are suspects, and are
//! tried one at a time until the culprit shows itself.

use std::time::Instant;

use snowshoe_codec::method::{Arguments, basic, queue};
use snowshoe_codec::{PeerClose, ReplyCode};

use super::Session;
use super::keys::ConsumerKey;
use super::output::Output;
use crate::core::STRIKES;
use crate::core::subscription::{Subscription, Verdict};
use crate::core::topology::Step;
use crate::error::Error;

/// Something declared before that costs connections when it is declared again.
#[derive(Debug)]
pub(super) struct SuspectStep {
    step: Step,
    /// The number of connections that it has cost.
    strikes: u32,
    close: PeerClose,
}

impl Session {
    /// The broker has closed the connection, and its channels are about to be forgotten. Whether that
    /// brings the culprit nearer, so that the next attempt need not wait longer than this one.
    pub(super) fn attribute(&mut self, now: Instant, close: &PeerClose) -> bool {
        if self.learn_channel_limit(now, close) {
            return true;
        }
        if close.method.class == 0 {
            return is_over_something(close) && self.attribute_to_all(now, close);
        }
        if self.attribute_to_publishers(close) {
            return true;
        }
        let known = self.attribute_to_call(close)
            || self.attribute_to_refusals(now, close)
            || self.attribute_to_step(close)
            || self.attribute_to_consumers(now, close);
        if !known {
            self.close_user_channels(&Error::Refused(close.clone()));
        }
        false
    }

    /// The broker names nothing: what was under way is suspected, whatever it was.
    ///
    /// RabbitMQ 3.10.8 says 541, and no more, where it fails over a header of a type that it does not know,
    /// over `x-max-age: "zz"`, or over `x-stream-offset: "frist"`. What was alone under way is to blame. Of
    /// several, each kind has its own turn on the next connection, and is alone then.
    fn attribute_to_all(&mut self, now: Instant, close: &PeerClose) -> bool {
        let step = self.recovery.oldest_sent().cloned();
        let are_looking = self.looks.suspect();
        let has_call = self.calls.oldest_sent().is_some();
        let mut consumers = self.awaited_or_late(Subscription::awaits_something);
        let may_publish = self
            .producers
            .iter()
            .any(|(_, line)| line.channel().is_some());
        if step.is_some() || are_looking || has_call || may_publish {
            consumers.retain(|key| !self.consumers[*key].is_late());
        }
        let kinds = [
            step.is_some(),
            are_looking,
            has_call,
            !consumers.is_empty(),
            may_publish,
        ];
        let is_alone = kinds.into_iter().filter(|kind| *kind).count() == 1;
        if let Some(step) = step.filter(|_| is_alone) {
            self.strike(step, close);
        }
        if is_alone {
            self.refuse_call(close);
        }
        self.suspect_consumers(now, consumers, is_alone, close);
        self.close_user_channels(&Error::Refused(close.clone()));
        if may_publish {
            self.suspect_publishers(close);
        }
        may_publish
    }

    fn attribute_to_publishers(&mut self, close: &PeerClose) -> bool {
        let are_suspects = close.method == basic::Publish::ID && !self.producers.is_empty();
        if are_suspects {
            self.suspect_publishers(close);
        }
        are_suspects
    }

    fn suspect_publishers(&mut self, close: &PeerClose) {
        let refused = Output::PublishingRefused(close.clone());
        self.outputs.push_back(refused);
    }

    fn attribute_to_call(&mut self, close: &PeerClose) -> bool {
        let oldest = self.calls.oldest_sent();
        let is_it = oldest.is_some_and(|method| method.id() == close.method);
        if is_it {
            self.refuse_call(close);
        }
        is_it
    }

    /// The oldest call under way is not made again.
    fn refuse_call(&mut self, close: &PeerClose) {
        self.call_refused(Error::Refused(close.clone()));
    }

    fn attribute_to_step(&mut self, close: &PeerClose) -> bool {
        let oldest = self.recovery.oldest_sent();
        let Some(step) = oldest.filter(|step| step.method_id() == close.method) else {
            return close.method == queue::Declare::ID && self.looks.suspect();
        };
        self.strike(step.clone(), close);
        true
    }

    fn strike(&mut self, step: Step, close: &PeerClose) {
        let before = self.suspects.extract_if(.., |it| it.step == step).next();
        self.suspects.push(SuspectStep {
            step,
            strikes: before.map_or(0, |it| it.strikes) + 1,
            close: close.clone(),
        });
    }

    /// RabbitMQ 3.10.8 says 540 where what came from a stream is refused. Who alone has refused something finds
    /// out whether it reads a stream.
    fn attribute_to_refusals(&mut self, now: Instant, close: &PeerClose) -> bool {
        if ![basic::Nack::ID, basic::Reject::ID].contains(&close.method) {
            return false;
        }
        let suspects = self.consumers.keys_of(Subscription::has_refused);
        // Of several nobody can tell which, and what another has refused was perhaps no stream's: after the
        // next connection fewer have refused anything.
        if let [culprit] = suspects[..] {
            self.outputs.push_back(Output::RefusalRefused(culprit));
            if self.user_channels.is_empty() {
                self.consumers[culprit].refusal_refused();
                self.attribute_to_consumer(now, culprit, close);
            }
        }
        !suspects.is_empty() && self.user_channels.is_empty()
    }

    fn attribute_to_consumers(&mut self, now: Instant, close: &PeerClose) -> bool {
        let suspects = self.awaited_or_late(|it| it.awaits(close.method));
        let are_there = !suspects.is_empty();
        self.suspect_consumers(now, suspects, true, close);
        are_there
    }

    /// Those consumers of which it is so, and which are not late, if there are any: what a broker refuses, it
    /// refuses at once.
    fn awaited_or_late(&self, is_so: impl Fn(&Subscription) -> bool) -> Vec<ConsumerKey> {
        let awaited = (self.consumers).keys_of(|it| is_so(it) && !it.is_late());
        match awaited.is_empty() {
            true => self.consumers.keys_of(is_so),
            false => awaited,
        }
    }

    /// One that was alone under way is the culprit; of several, half are tried at a time, and whoever was not
    /// under way is innocent.
    fn suspect_consumers(
        &mut self,
        now: Instant,
        suspects: Vec<ConsumerKey>,
        is_alone: bool,
        close: &PeerClose,
    ) {
        match suspects[..] {
            [culprit] if is_alone => self.attribute_to_consumer(now, culprit, close),
            _ => {
                for (key, consumer) in self.consumers.iter_mut() {
                    consumer.suspect(suspects.contains(&key));
                }
            }
        }
    }

    fn attribute_to_consumer(&mut self, now: Instant, consumer: ConsumerKey, close: &PeerClose) {
        let subscription = &mut self.consumers[consumer];
        // Whoever starts it hears of it, and it is not recovered when it fails the first time.
        let is_recovered = subscription.is_wanted();
        let entity = subscription.entity();
        if subscription.state().receives() {
            self.outputs.push_back(Output::ConsumerOffline(consumer));
        }
        let verdict = subscription.cost_connection(now, close);
        let (failed, reason) = (verdict == Verdict::Fail, Error::Refused(close.clone()));
        if failed && is_recovered {
            self.outputs
                .push_back(Output::NotRecovered { entity, reason });
        } else if matches!(verdict, Verdict::Retry(_)) {
            // Each connection is told of, unlike what is tried again on the same one.
            subscription.miss();
            self.outputs.push_back(Output::Delayed { entity, reason });
        }
        if verdict == Verdict::Ended {
            // It was being cancelled.
            self.outputs.push_back(Output::ConsumerDraining(consumer));
        }
        if failed {
            let failed = Output::ConsumerFailed(consumer, Error::Refused(close.clone()));
            self.outputs.push_back(failed);
        }
    }

    /// Something was declared, and cost no connection.
    pub(super) fn clear(&mut self, step: &Step) {
        self.suspects.retain(|it| it.step != *step);
    }

    /// Why a step is left out of this connection's recovery, if it is: for what it has cost.
    pub(super) fn given_up(&self, step: &Step) -> Option<&PeerClose> {
        let suspect = self.suspects.iter().find(|it| it.step == *step)?;
        (suspect.strikes >= STRIKES).then_some(&suspect.close)
    }

    /// A connection ends that had recovered. What it left out has another try on the next.
    pub(super) fn let_suspects_try_again(&mut self) {
        for suspect in &mut self.suspects {
            suspect.strikes = suspect.strikes.min(STRIKES - 1);
        }
    }
}

/// Whether a close that names no method can be about one all the same, and not about an operator who shuts
/// down the connection or the broker (320, AMQP 0-9-1 §1.2).
fn is_over_something(close: &PeerClose) -> bool {
    !matches!(
        close.code,
        ReplyCode::SUCCESS | ReplyCode::CONNECTION_FORCED
    )
}
