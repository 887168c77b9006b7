//! Which of those that use a connection the broker has closed it over.
//!
//! What was under way on a connection is done again on the next one. Where it costs that one, too,
//! it would cost one after the other without end, and everybody else with it. The broker names the
//! method, but not the channel, so those who had one of the kind under way are suspects, and are
//! tried one at a time until the culprit shows itself.

use std::time::Instant;

use snowshoe_codec::PeerClose;
use snowshoe_codec::method::{Arguments, basic};

use super::Session;
use super::keys::ConsumerKey;
use super::output::Output;
use crate::core::STRIKES;
use crate::core::subscription::Verdict;
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
    /// The broker has closed the connection, and its channels are about to be forgotten.
    pub(super) fn attribute(&mut self, now: Instant, close: &PeerClose) {
        let is_over_a_method = close.method.class != 0;
        let known = !is_over_a_method
            || self.attribute_to_publishers(close)
            || self.attribute_to_call(close)
            || self.attribute_to_step(close)
            || self.attribute_to_consumers(now, close);
        if !known {
            self.close_user_channels(&Error::Refused(close.clone()));
        }
    }

    fn attribute_to_publishers(&mut self, close: &PeerClose) -> bool {
        let are_suspects = close.method == basic::Publish::ID && !self.producers.is_empty();
        if are_suspects {
            let refused = Output::PublishingRefused(close.clone());
            self.outputs.push_back(refused);
        }
        are_suspects
    }

    /// A call is not made again.
    fn attribute_to_call(&mut self, close: &PeerClose) -> bool {
        let oldest = self.calls.oldest_sent();
        if oldest.is_none_or(|(_, method)| method.id() != close.method) {
            return false;
        }
        if let Some((token, _)) = self.calls.refused() {
            let result = Err(Error::Refused(close.clone()));
            self.outputs.push_back(Output::Called { token, result });
        }
        true
    }

    fn attribute_to_step(&mut self, close: &PeerClose) -> bool {
        let oldest = self.recovery.oldest_sent();
        let Some(step) = oldest.filter(|step| step.method_id() == close.method) else {
            return false;
        };
        let step = step.clone();
        let before = self.suspects.extract_if(.., |it| it.step == step).next();
        self.suspects.push(SuspectStep {
            step,
            strikes: before.map_or(0, |it| it.strikes) + 1,
            close: close.clone(),
        });
        true
    }

    fn attribute_to_consumers(&mut self, now: Instant, close: &PeerClose) -> bool {
        let mut suspects = (self.consumers).keys_of(|it| it.under_way() == Some(close.method));
        match (suspects.pop(), suspects.is_empty()) {
            (None, _) => return false,
            (Some(culprit), true) => self.attribute_to_consumer(now, culprit, close),
            (Some(last), false) => {
                suspects.push(last);
                for suspect in suspects {
                    self.consumers[suspect].suspect();
                }
            }
        }
        true
    }

    fn attribute_to_consumer(&mut self, now: Instant, consumer: ConsumerKey, close: &PeerClose) {
        let subscription = &mut self.consumers[consumer];
        // Whoever starts it hears of it, and it is not recovered when it fails the first time.
        let is_recovered = subscription.is_wanted();
        let entity = subscription.entity();
        let verdict = subscription.cost_connection(now);
        let (failed, reason) = (verdict == Verdict::Fail, close.clone());
        if failed && is_recovered {
            self.outputs
                .push_back(Output::NotRecovered { entity, reason });
        } else if !failed && subscription.miss() {
            self.outputs.push_back(Output::Delayed { entity, reason });
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
    pub(super) fn left_out(&self, step: &Step) -> Option<&PeerClose> {
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
