//! What happens between the end of a handshake and the first publish.

use std::mem;
use std::time::{Duration, Instant};

use snowshoe_codec::method::{Arguments, channel};
use snowshoe_codec::time::after;
use snowshoe_codec::{ChannelCloseReason, ChannelId, Method, PeerClose, ReplyCode, ShortString};

use super::Session;
use super::allocation::NoChannel;
use super::channels::channel_of;
use super::output::Output;
use super::owners::Owner;
use super::stage::Stage;
use crate::core::call_queue::CallQueue;
use crate::core::refusal::{is_gone, is_passing};
use crate::core::topology::{Declaring, Missing, QueueId, Step, Topology};
use crate::error::{ConnectionErrorReason, Error, Phase};
use crate::state::RecoveryStage;

/// What the broker refuses for a time: an exclusive queue that another connection still holds, as a
/// rule our own last one, of which the broker does not know yet that it is dead (fault 44), or
/// anything at all while its disk is nearly full.
#[derive(Debug)]
pub(super) struct Postponed {
    step: Step,
    since: Instant,
    tried_at: Instant,
    /// `None` while it is being tried.
    pub(super) retry_at: Option<Instant>,
}

/// How often it is tried.
const POSTPONED_FOR: Duration = Duration::from_millis(500);

impl Session {
    pub(super) fn begin_recovery(&mut self, topology: &Topology) {
        self.stage = Stage::Entities;
        for step in topology.plan() {
            if !matches!(step, Step::Binding(_)) && self.is_ours(&step, topology) {
                self.push_step(step, topology);
            }
        }
        // Bindings follow what they bind on the same channel. But its name has to be known, and that it is there.
        self.binds = topology.is_known_by_name();
        if self.binds {
            self.push_bindings(topology, |_| true);
        }
    }

    /// Does whatever can be done now: makes calls, and goes on to the next stage when one is
    /// through. Cheap when there is nothing to do.
    pub(super) fn advance(&mut self, now: Instant, topology: &mut Topology) {
        if mem::replace(&mut self.changes_seen, topology.changes_ended()) != self.changes_seen {
            self.try_held_calls_again();
            // What is still being deleted is left out again, and what was deleted is not known any more.
            for step in mem::take(&mut self.left_out) {
                self.push_to_declare(step, topology);
            }
        }
        if self.stage == Stage::Offline {
            return;
        }
        self.declare_again(now, topology);
        self.look(now, topology);
        loop {
            let next = match self.stage {
                Stage::Entities if self.recovery.is_empty() && self.looks.is_empty() => {
                    Stage::Bindings
                }
                // Users would miss what is lost with a connection that the broker does not open.
                Stage::Bindings if self.recovery.is_empty() && self.is_open => Stage::Consumers,
                Stage::Consumers => {
                    if self.open_suspects(now) {
                        break;
                    }
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
            self.make_calls(now, topology);
        }
    }

    fn enter(&mut self, now: Instant, stage: Stage, topology: &mut Topology) {
        match stage {
            Stage::Offline | Stage::Entities => {}
            Stage::Bindings => {
                if !mem::replace(&mut self.binds, true) {
                    self.push_bindings(topology, |_| true);
                    self.declare_again(now, topology);
                }
            }
            Stage::Consumers => {
                let stage = RecoveryStage::Consumers;
                self.outputs.push_back(Output::Recovers(stage));
                self.open_consumers(now, topology);
            }
            Stage::Producers => {
                let stage = RecoveryStage::Producers;
                self.outputs.push_back(Output::Recovers(stage));
                self.tell_of_those_kept_back();
                self.open_producers(now);
            }
            Stage::Ready => {
                if self
                    .supervisor
                    .recovered(self.supervisor.epoch(), now)
                    .is_ok()
                {
                    self.ready_since = Some(now);
                    self.outputs.push_back(Output::Ready);
                }
                if self.suspects.is_empty() {
                    self.looks.are_cleared();
                }
                self.open_user_channels(now);
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
                self.open_consumers(now, topology);
            }
            if self.stage >= Stage::Producers {
                self.open_producers(now);
            } else if self.stage != Stage::Offline {
                self.open_producers_ahead(now);
            }
            if self.stage == Stage::Ready {
                self.open_user_channels(now);
            }
        }
        let mut due = Vec::new();
        for postponed in &mut self.postponed {
            if postponed.retry_at.take_if(|at| *at <= now).is_some() {
                postponed.tried_at = now;
                due.push(postponed.step.clone());
            }
        }
        for step in due {
            self.push_to_declare(step, topology);
        }
    }

    /// Declares a consumer's queue again, which is gone, if the user declared it (faults 47 and 52).
    pub(super) fn redeclare_queue(&mut self, queue: &ShortString, topology: &Topology) {
        let step = Step::Queue(topology.queue_id(queue));
        // Brokers tell the consumers of a queue before they answer who deletes it (fault 48). While it is
        // being deleted, it is left out.
        let is_wanted = topology.method(&step).is_some();
        let is_queued = self.recovery.iter().any(|queued| *queued == step)
            || self.looks.contains(&step)
            || self
                .postponed
                .iter()
                .any(|postponed| postponed.step == step);
        let is_given_up = self.given_up(&step).is_some();
        if is_wanted && !is_queued && !is_given_up && self.is_ours(&step, topology) {
            self.push_to_declare(step, topology);
        }
    }

    /// Declares it again, unless that has cost too many connections.
    fn push_step(&mut self, step: Step, topology: &Topology) {
        match self.given_up(&step).cloned() {
            None => self.push_to_declare(step, topology),
            Some(reason) => self.outputs.push_back(Output::NotRecovered {
                entity: topology.entity(&step),
                reason: Error::Refused(reason),
            }),
        }
    }

    pub(super) fn declare_again(&mut self, now: Instant, topology: &mut Topology) {
        if self.recovery.wants_channel() {
            match self.open_channel(now, Owner::Recovery) {
                Ok(channel) => self.recovery.opening(channel),
                // A connection without any channel is of no use to anybody.
                Err(NoChannel::NoneFree) if self.owners.counts().taken() == 0 => {
                    self.lost(now, ConnectionErrorReason::NoFreeChannel);
                    self.outputs.push_back(Output::Abort);
                }
                Err(_) => {}
            }
        }
        let Some(mut channel) = channel_of(&mut self.connection, &self.recovery) else {
            return;
        };
        while let Some(step) = self.recovery.next_to_send() {
            match topology.begin_declaring(step) {
                Declaring::Begun(method) => {
                    let Err(error) = channel.send(now, self.dialect.say(method)) else {
                        continue;
                    };
                    // It does not fit into the frames of this broker.
                    if let Some(step) = self.recovery.unsendable() {
                        self.postponed.retain(|it| it.step != step);
                        self.outputs.push_back(Output::NotRecovered {
                            entity: topology.entity(&step),
                            reason: error.into(),
                        });
                        self.declarations_ended.push(step);
                    }
                }
                Declaring::BeingDeleted => self.left_out.extend(self.recovery.unsendable()),
                Declaring::Forgotten => {
                    if let Some(step) = self.recovery.unsendable() {
                        self.postponed.retain(|it| it.step != step);
                    }
                }
            }
        }
    }

    pub(super) fn entity_recovered(&mut self, reply: &Method, topology: &mut Topology) {
        let id = reply.id();
        let Some(step) = (self.recovery).answered(|step| id.is_reply_to(step.method_id())) else {
            return;
        };
        self.entity_declared(&step, reply, topology);
    }

    pub(super) fn entity_declared(&mut self, step: &Step, reply: &Method, topology: &mut Topology) {
        self.declarations_ended.push(step.clone());
        self.clear(step);
        let postponed = self.postponed.extract_if(.., |it| it.step == *step);
        let was_postponed = postponed.count() > 0;
        if was_postponed {
            let entity = topology.entity(step);
            self.outputs.push_back(Output::Restored { entity });
        }
        if let (Step::Queue(id), Method::QueueDeclareOk(ok)) = (step, reply) {
            self.queue_declared(id, &ok.queue, topology);
        }
        if self.binds && was_postponed || self.stage > Stage::Entities {
            // It was gone, or refused until now: what binds it had to wait for it.
            self.push_bindings(topology, |binding| binding.binds(step));
        }
    }

    /// Declares bindings again, except those of what is not there yet, at either end.
    fn push_bindings(&mut self, topology: &Topology, which: impl Fn(&Step) -> bool) {
        for step in topology.plan() {
            let is_binding = matches!(step, Step::Binding(_));
            let has_to_wait = (self.postponed.iter()).any(|it| step.binds(&it.step));
            if is_binding && which(&step) && !has_to_wait && self.is_ours(&step, topology) {
                self.push_step(step, topology);
            }
        }
    }

    fn queue_declared(&mut self, id: &QueueId, new: &ShortString, topology: &mut Topology) {
        let Some(old) = topology.rename_queue(id, new) else {
            return;
        };
        for (_, consumer) in self.consumers.iter_mut() {
            consumer.queue_renamed(&old, new);
        }
        let new = new.clone();
        self.outputs.push_back(Output::QueueRenamed { old, new });
    }

    /// The broker refused to declare something again, or gave no answer.
    pub(super) fn entity_refused(
        &mut self,
        now: Instant,
        channel: ChannelId,
        reason: ChannelCloseReason,
        topology: &mut Topology,
    ) {
        match reason {
            // It is the channel that the broker does not open.
            ChannelCloseReason::Peer(close) if close.method == channel::Open::ID => {
                self.declarations_lost();
                self.recovery.channel_lost();
            }
            ChannelCloseReason::Peer(close) => {
                self.declarations_lost();
                if let Some(step) = self.recovery.channel_closed() {
                    self.postpone_or_skip(now, step, close, topology);
                }
            }
            _ if self.stage < Stage::Ready => self.recovery_timed_out(now),
            _ => {
                let under_way = self.recovery.under_way().cloned();
                self.overdue.extend(under_way.map(|step| (channel, step)));
                self.recovery.channel_lost();
            }
        }
    }

    /// The broker is through with a channel on which it gave no answer in time.
    pub(super) fn channel_released(&mut self, channel: ChannelId) {
        let ended = self.overdue.extract_if(.., |(on, _)| *on == channel);
        self.declarations_ended.extend(ended.map(|(_, step)| step));
    }

    /// The broker may be anywhere. The whole is begun again (fault 51).
    pub(super) fn recovery_timed_out(&mut self, now: Instant) {
        let phase = match self.is_open {
            true => Phase::Recovery,
            false => Phase::Handshake,
        };
        self.lost(now, ConnectionErrorReason::Timeout(phase));
        self.outputs.push_back(Output::Abort);
    }

    /// What was to be declared on a channel that has ended will not be answered.
    fn declarations_lost(&mut self) {
        let under_way = self.recovery.under_way().cloned();
        self.declarations_ended.extend(under_way);
    }

    /// All channels are gone, and with them what was being declared.
    pub(super) fn recovery_lost(&mut self) {
        self.declarations_lost();
        self.declarations_ended
            .extend(self.looks.under_way().cloned());
        let overdue = self.overdue.drain(..).map(|(_, step)| step);
        self.declarations_ended.extend(overdue);
        self.recovery = CallQueue::new();
        self.looks.lost();
        self.left_out.clear();
        self.postponed.clear();
    }

    pub(super) fn postpone_or_skip(
        &mut self,
        now: Instant,
        step: Step,
        close: PeerClose,
        topology: &mut Topology,
    ) {
        if is_gone(&close)
            && let Some(missing) = topology.is_missing(&step)
        {
            return match missing {
                // What binds it comes after it.
                Missing::DeclaredAnew => self.recovery.push_next(step),
                Missing::Forgotten => self.postponed.retain(|it| it.step != step),
            };
        }
        let postponed = self.postponed.extract_if(.., |it| it.step == step).next();
        let (since, tried_at) = postponed
            .as_ref()
            .map_or((now, now), |it| (it.since, it.tried_at));
        let is_locked = close.code == ReplyCode::RESOURCE_LOCKED;
        // An answer may be late: it is about the time when it was tried, not about now.
        let is_patient = tried_at < after(since, self.lock_patience());
        if is_passing(&close) || is_locked && is_patient {
            if postponed.is_none() {
                let (entity, reason) = (topology.entity(&step), Error::Refused(close));
                self.outputs.push_back(Output::Delayed { entity, reason });
            }
            // What binds it waits for it.
            self.recovery.withdraw_unsent(|it| it.binds(&step));
            self.postponed.push(Postponed {
                step,
                since,
                tried_at,
                retry_at: Some(after(now, POSTPONED_FOR)),
            });
        } else {
            // Its neighbours are not to suffer for it (fault 50).
            self.outputs.push_back(Output::NotRecovered {
                entity: topology.entity(&step),
                reason: Error::Refused(close),
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
