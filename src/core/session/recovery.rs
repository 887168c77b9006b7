//! What happens between the end of a handshake and the first publish.

use std::time::{Duration, Instant};

use snowshoe_codec::method::queue;
use snowshoe_codec::{ChannelCloseReason, Method, PeerClose, ReplyCode, ShortString};

use super::channels::{Owner, courier_channel};
use super::{Output, Session};
use crate::core::subscription::State;
use crate::core::topology::{Step, Topology};
use crate::error::{ConnectionError, Phase};

/// How far a recovery has come. Each stage begins when the one before it is through.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Stage {
    Offline,
    /// Exchanges and queues; behind it, the names that the broker chose are known.
    Entities,
    /// Bindings, once everything is there that they bind.
    Bindings,
    Consumers,
    Producers,
    Ready,
}

/// An exclusive queue that another connection still holds: as a rule our own last one, of which the
/// broker does not know yet that it is dead (fault 44).
#[derive(Debug)]
pub(super) struct Locked {
    pub(super) retry_at: Instant,
    give_up_at: Instant,
    step: Step,
}

/// How often a locked queue is tried.
const LOCK_RETRY: Duration = Duration::from_millis(500);

impl Session {
    pub(super) fn begin_recovery(&mut self, topology: &Topology) {
        self.stage = Stage::Entities;
        for step in topology.plan() {
            if !matches!(step, Step::Binding(_)) && self.is_ours(&step, topology) {
                self.recovery.push(step);
            }
        }
    }

    /// Does whatever can be done now: makes calls, and goes on to the next stage when one is
    /// through. Cheap when there is nothing to do.
    pub(super) fn advance(&mut self, now: Instant, topology: &Topology) {
        if self.stage == Stage::Offline {
            return;
        }
        self.declare_again(now, topology);
        loop {
            let next = match self.stage {
                Stage::Entities if self.recovery.is_empty() => Stage::Bindings,
                Stage::Bindings if self.recovery.is_empty() => Stage::Consumers,
                Stage::Consumers
                    if !self
                        .consumers
                        .iter()
                        .any(|(_, it)| is_subscribing(it.state())) =>
                {
                    Stage::Producers
                }
                Stage::Producers if !self.producers.iter().any(|(_, line)| line.is_opening()) => {
                    Stage::Ready
                }
                _ => break,
            };
            self.stage = next;
            self.enter(now, next, topology);
        }
        if self.stage == Stage::Ready {
            self.make_calls(now);
        }
    }

    fn enter(&mut self, now: Instant, stage: Stage, topology: &Topology) {
        match stage {
            Stage::Offline | Stage::Entities => {}
            Stage::Bindings => {
                for step in topology.plan() {
                    if matches!(step, Step::Binding(_)) && self.is_ours(&step, topology) {
                        self.recovery.push(step);
                    }
                }
                self.declare_again(now, topology);
            }
            Stage::Consumers => self.open_consumers(now),
            Stage::Producers => self.open_producers(now),
            Stage::Ready => {
                if self
                    .supervisor
                    .recovered(self.supervisor.epoch(), now)
                    .is_ok()
                {
                    self.outputs.push_back(Output::Ready);
                }
                self.open_raws(now);
            }
        }
    }

    /// Tries again what was refused for a time.
    pub(super) fn retry(&mut self, now: Instant, topology: &Topology) {
        let due = self.wakeups.extract_if(.., |at| *at <= now).count();
        // One pass serves all of them: it is their owners that know whether it is time.
        // Those whose stage is yet to come are found when it is entered.
        if due > 0 {
            if self.stage >= Stage::Consumers {
                self.open_consumers(now);
            }
            if self.stage >= Stage::Producers {
                self.open_producers(now);
            }
            if self.stage == Stage::Ready {
                self.open_raws(now);
            }
        }
        let locked: Vec<Locked> = self
            .locked
            .extract_if(.., |locked| locked.retry_at <= now)
            .collect();
        for locked in locked {
            // What was bound to it could not be bound, either.
            let Step::Queue(queue) = &locked.step else {
                continue;
            };
            for step in topology.plan_for_queue(queue) {
                self.recovery.push(step);
            }
            self.patience.push((locked.step, locked.give_up_at));
        }
    }

    /// Declares a consumer's queue again, if the user declared it: the broker has cancelled the
    /// consumer, so it is gone (fault 52).
    pub(super) fn redeclare_queue(&mut self, queue: &ShortString, topology: &Topology) {
        for step in topology.plan_for_queue(&topology.queue_id(queue)) {
            if self.is_ours(&step, topology) {
                self.recovery.push(step);
            }
        }
    }

    fn declare_again(&mut self, now: Instant, topology: &Topology) {
        if self.recovery.wants_channel()
            && let Ok(channel) = self.open_channel(now, Owner::Recovery)
        {
            self.recovery.opening(channel);
        }
        let Some(mut channel) = courier_channel(&mut self.connection, &self.recovery) else {
            return;
        };
        while let Some(step) = self.recovery.next_to_send() {
            let method = topology.method(step);
            if method.is_none_or(|method| channel.send(now, method).is_err()) {
                // It was forgotten since, or does not fit into the frames of this broker.
                self.recovery.unsendable();
            }
        }
    }

    pub(super) fn entity_recovered(&mut self, reply: &Method, topology: &mut Topology) {
        let Some(step) = self.recovery.answered() else {
            return;
        };
        let (Step::Queue(id), Method::QueueDeclareOk(queue::DeclareOk { queue: new, .. })) =
            (&step, reply)
        else {
            return;
        };
        if let Some(old) = topology.rename_queue(id, new) {
            for (_, consumer) in &mut self.consumers {
                consumer.queue_renamed(&old, new);
            }
            self.outputs.push_back(Output::QueueRenamed {
                old,
                new: new.clone(),
            });
        }
    }

    /// The broker refused to declare something again, or gave no answer.
    pub(super) fn entity_refused(&mut self, now: Instant, reason: ChannelCloseReason) {
        match reason {
            ChannelCloseReason::Peer(close) => {
                if let Some(step) = self.recovery.channel_closed() {
                    self.postpone_or_skip(now, step, close);
                }
            }
            // The broker may be anywhere. The whole is begun again (fault 51).
            _ if self.stage < Stage::Ready => {
                self.lost(now, ConnectionError::Timeout(Phase::Recovery));
                self.outputs.push_back(Output::Abort);
            }
            _ => self.recovery.channel_lost(),
        }
    }

    fn postpone_or_skip(&mut self, now: Instant, step: Step, close: PeerClose) {
        let patience = self
            .patience
            .extract_if(.., |(known, _)| *known == step)
            .next();
        let give_up_at = patience.map_or_else(|| now + self.lock_patience(), |(_, at)| at);
        if close.code == ReplyCode::RESOURCE_LOCKED && now < give_up_at {
            self.locked.push(Locked {
                retry_at: now + LOCK_RETRY,
                give_up_at,
                step,
            });
        } else {
            // Its neighbours are not to suffer for it (fault 50).
            self.outputs.push_back(Output::NotRecovered {
                entity: step.to_string(),
                reason: close,
            });
        }
    }

    pub(super) fn progressed(&mut self, now: Instant) {
        // Too late is no harm: it is not recovering, then.
        _ = self.supervisor.progressed(self.supervisor.epoch(), now);
    }

    /// Whether it is for this connection to declare it.
    fn is_ours(&self, step: &Step, topology: &Topology) -> bool {
        self.settings.owns_exclusive_queues || !topology.is_exclusive(step)
    }
}

fn is_subscribing(state: State) -> bool {
    matches!(
        state,
        State::Opening(_) | State::Limiting(_) | State::Subscribing(_)
    )
}
