//! Who is to blame when the broker closes the whole connection over a method.
//!
//! What was under way on a connection is done again on the next one. Where it costs that one, too,
//! it would cost one after the other without end, and everybody else with it. The broker names the
//! method, but not the channel, so those who had one of the kind under way are suspects, and are
//! tried one at a time until the culprit shows itself.

use std::time::Instant;

use snowshoe_codec::PeerClose;
use snowshoe_codec::method::{Arguments, basic};

use super::{Output, Session};
use crate::core::STRIKES;
use crate::core::subscription::Verdict;
use crate::core::topology::{Step, Topology};
use crate::error::Error;

/// Something declared before that costs connections when it is declared again.
#[derive(Debug)]
pub(super) struct Offence {
    step: Step,
    /// How many connections it has cost.
    strikes: u32,
    close: PeerClose,
}

impl Session {
    /// The broker has closed the connection, and its channels are about to be forgotten.
    pub(super) fn blame(&mut self, now: Instant, close: &PeerClose, topology: &Topology) {
        let is_over_a_method = close.method.class != 0;
        let known = !is_over_a_method
            || self.blame_publishers(close)
            || self.blame_call(close)
            || self.blame_step(close, topology)
            || self.blame_consumers(now, close);
        if !known {
            // Channels that users drive do not come back. What they hear is why.
            self.close_raws(&Error::Refused(close.clone()));
        }
    }

    fn blame_publishers(&mut self, close: &PeerClose) -> bool {
        let are_suspects = close.method == basic::Publish::ID && !self.producers.is_empty();
        if are_suspects {
            let refused = Output::PublishingRefused(close.clone());
            self.outputs.push_back(refused);
        }
        are_suspects
    }

    /// A call is not made again.
    fn blame_call(&mut self, close: &PeerClose) -> bool {
        let oldest = self.calls.oldest_sent();
        if oldest.is_none_or(|(_, method)| method.id() != close.method) {
            return false;
        }
        if let Some((token, _)) = self.calls.answered() {
            let result = Err(Error::Refused(close.clone()));
            self.outputs.push_back(Output::Called { token, result });
        }
        true
    }

    fn blame_step(&mut self, close: &PeerClose, topology: &Topology) -> bool {
        let oldest = self.recovery.oldest_sent();
        let is_named = |step: &Step| topology.method(step).map(|method| method.id());
        let Some(step) = oldest.filter(|step| is_named(step) == Some(close.method)) else {
            return false;
        };
        let step = step.clone();
        let before = self.offences.extract_if(.., |it| it.step == step).next();
        self.offences.push(Offence {
            step,
            strikes: before.map_or(0, |it| it.strikes) + 1,
            close: close.clone(),
        });
        true
    }

    fn blame_consumers(&mut self, now: Instant, close: &PeerClose) -> bool {
        let mut suspects: Vec<usize> = (self.consumers.iter())
            .filter(|(_, it)| it.under_way() == Some(close.method))
            .map(|(consumer, _)| consumer)
            .collect();
        match (suspects.pop(), suspects.is_empty()) {
            (None, _) => return false,
            (Some(culprit), true) => self.blame_consumer(now, culprit, close),
            (Some(last), false) => {
                suspects.push(last);
                for suspect in suspects {
                    self.consumers[suspect].suspect();
                }
            }
        }
        true
    }

    fn blame_consumer(&mut self, now: Instant, consumer: usize, close: &PeerClose) {
        let subscription = &mut self.consumers[consumer];
        // Whoever starts it hears of it, and it is not recovered when it fails the first time.
        let is_recovered = subscription.is_wanted();
        let entity = subscription.to_string();
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
    pub(super) fn acquit(&mut self, step: &Step) {
        self.offences.retain(|it| it.step != *step);
    }

    /// Why a step is left out of this connection's recovery, if it is: for what it has cost.
    pub(super) fn left_out(&self, step: &Step) -> Option<&PeerClose> {
        let offence = self.offences.iter().find(|it| it.step == *step)?;
        (offence.strikes >= STRIKES).then_some(&offence.close)
    }

    /// A connection ends that had recovered. What it left out has another try on the next.
    pub(super) fn pardon(&mut self) {
        for offence in &mut self.offences {
            offence.strikes = offence.strikes.min(STRIKES - 1);
        }
    }
}
