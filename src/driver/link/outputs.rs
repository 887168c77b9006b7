//! What the session says, carried out.

use std::mem;
use std::sync::Arc;
use std::time::Instant;

use log::Level;

use super::super::guard::{self, Guarded, guard};
use super::super::known::KnownServers;
use super::super::login::NoLogin;
use super::log_limit::ClientName;
use super::requester::Requester;
use super::{Io, Link};
use crate::connector::Target;
use crate::core::Epoch;
use crate::core::isolation::Closed;
use crate::core::publisher::Publisher;
use crate::core::session::Output;
use crate::core::supervisor::Next;
use crate::core::topology::Topology;
use crate::error::{ConnectionErrorReason, Error, Phase};
use crate::events::{Entity, Event};
use crate::shared::hub::Hub;

impl Link {
    /// Does what the session wants done. Whether there was anything beside deliveries and confirms, with which
    /// all is done once they are handed over.
    pub(super) fn carry_out(
        &mut self,
        now: Instant,
        topology: &mut Topology,
        known: &mut KnownServers,
    ) -> bool {
        let mut moved = false;
        loop {
            // Asked before it is polled, for as a rule there is nothing.
            while self.session.has_output(topology)
                && let Some(output) = self.session.poll_output(now, topology)
            {
                match output {
                    Output::Delivery { consumer, delivery } => {
                        self.consumers.deliver(consumer, delivery);
                    }
                    Output::Confirm { producer, confirm } => {
                        (self.producers).confirm(now, &mut self.session, producer, confirm);
                    }
                    output => {
                        moved = true;
                        // What came before is to be there before it.
                        self.hand_over(now);
                        self.carry_out_one(now, output, topology, known);
                    }
                }
            }
            if !mem::take(&mut self.is_behind) {
                break;
            }
            self.take_in(now);
        }
        self.hand_over(now);
        moved
    }

    /// Lets users have the deliveries and confirms that came.
    fn hand_over(&mut self, now: Instant) {
        self.consumers.hand_over();
        self.producers.hand_over(now, &mut self.session);
    }

    fn carry_out_one(
        &mut self,
        now: Instant,
        output: Output,
        topology: &Topology,
        known: &mut KnownServers,
    ) {
        let (hub, role, session) = (&self.shared.hub, self.role, &mut self.session);
        let (producers, consumers) = (&mut self.producers, &mut self.consumers);
        let (channels, log) = (&mut self.channels, &mut self.log);
        let report = &mut self.report;
        match output {
            // They are with whom they are for.
            Output::Delivery { .. } | Output::Confirm { .. } => {}

            Output::Dial {
                epoch,
                attempt,
                endpoint,
            } => self.begin_dial(now, epoch, attempt, endpoint),
            Output::Abort => self.reset(),
            Output::Finish(last_words) => {
                if let Io::Open(stream) = mem::replace(&mut self.io, Io::Idle) {
                    self.io = Io::Finishing(stream.finish(last_words, now));
                }
            }
            Output::Connected => {
                producers.connected();
                let is_ahead = self.ahead_at.take().is_some();
                if let Some(place) = self.attempts.place() {
                    known.opened(place, session.known_server(), is_ahead);
                }
                report.opened(now);
                match report.peer() {
                    Some(peer) => log::info!("{}: open, to {peer}", report.who()),
                    None => log::info!("{}: open", report.who()),
                }
                hub.emit_with(|| Event::Connected { role });
            }
            Output::Ready => {
                self.was_ready = true;
                self.attempts.succeeded();
                report.recovers(None);
                log::info!("{}: ready", report.who());
                hub.emit_with(|| Event::Recovered { role });
            }
            Output::Recovers(stage) => report.recovers(Some(stage)),
            Output::Lost { cause, next } => self.lost(now, cause, next, known),
            Output::Blocked(reason) => {
                self.blocked = true;
                report.blocked(now, Some(reason.clone()));
                log.say(
                    now,
                    Level::Warn,
                    format_args!("{role} connection: blocked by the broker: {reason}"),
                );
                hub.emit_with(|| Event::Blocked { role, reason });
            }
            Output::Unblocked => {
                self.blocked = false;
                // It has read nothing meanwhile, and answered nothing that it had not read.
                if let Io::Open(stream) = &mut self.io {
                    stream.begin_stall_anew(now);
                }
                producers.begin_trials_anew(now);
                report.blocked(now, None);
                log.say(
                    now,
                    Level::Info,
                    format_args!("{role} connection: no longer blocked"),
                );
                hub.emit_with(|| Event::Unblocked { role });
            }
            Output::SecretUpdated => hub.emit_with(|| Event::SecretUpdated { role }),
            Output::SecretNotUpdated(error) => {
                log::warn!("{}: the secret was not updated: {error}", report.who());
                // Where it was a renewal, that is still to be done.
                self.renews_at = self.renews_at.map(|at| at.min(now));
            }

            Output::ProducerOnline(key) => producers.with(now, session, key, Publisher::online),
            Output::ProducerOffline(key) => producers.with(now, session, key, Publisher::offline),
            Output::ProducerClosed(key) => producers.with(now, session, key, Publisher::closed),
            Output::ProducerLeft(key) => producers.with(now, session, key, Publisher::left),
            Output::ProducerRejected(key, close) => {
                producers.with(now, session, key, |it| it.rejected(&close));
            }
            Output::ProducersRejected {
                producers: sharers,
                has_untold,
                close,
            } => {
                let closed = Closed::Channel { has_untold };
                producers.refused(now, session, closed, &sharers, &close);
            }
            Output::PublishingCut => producers.cut(now, session),
            Output::PublishingRefused(close) => {
                let everybody = producers.keys();
                producers.refused(now, session, Closed::Connection, &everybody, &close);
            }
            Output::ProducerDelayed(key, reason) => {
                self.producer_is_delayed(key, reason);
            }
            Output::ProducerRestored(key) => self.producer_is_restored(key),
            Output::ProducerMayGoOn(key) => producers.is_ready(key),
            Output::ProducerTaken(key) => producers.with(now, session, key, Publisher::taken),
            Output::Returned { producer, returned } => {
                producers.with(now, session, producer, |it| it.returned(&returned));
            }
            Output::ReturnedToOneOf {
                producers: sharers,
                returned,
            } => producers.returned(now, session, &sharers, &returned),

            Output::Oversized {
                consumer,
                excess,
                delivery,
            } => {
                if let Some(id) = consumers.id(consumer) {
                    let queue = &id.queue;
                    log.say(
                        now,
                        Level::Warn,
                        format_args!("skipped a message from {queue:?}: {excess}"),
                    );
                    let consumer = id;
                    hub.emit_with(|| Event::Oversized { consumer, excess });
                }
                consumers.deliver(consumer, delivery);
            }
            Output::ConsumerOpens(key) => {
                consumers.opens(now, session, key, topology, &*self.runtime);
            }
            Output::ConsumerOnline {
                consumer,
                epoch,
                queue,
                flow,
            } => {
                let delays = session.delays_retries(&queue, topology);
                consumers.said_to_delay_retries(consumer, delays);
                consumers.online(now, consumer, epoch, queue, flow, topology);
                // Its queue may say how long deliveries have.
                self.consumers_due = Some(now);
            }
            Output::ConsumerVacant(key) => consumers.vacant(now, session, key),
            Output::ConsumerFlows(key, flow) => consumers.flows(now, session, key, flow),
            Output::ConsumerHeard(key) => consumers.heard(key),
            Output::RefusalRefused(key) => consumers.refusal_refused(key),
            Output::ConsumerOffline(key) => consumers.offline(now, key),
            Output::ConsumerPaused(key) => consumers.paused(session, key),
            Output::ConsumerQueueGone(key) => consumers.queue_gone(key),
            Output::ConsumerCancelled(key) => {
                if let Some(queue) = consumers.queue(key) {
                    log.say(
                        now,
                        Level::Warn,
                        format_args!("the broker cancelled the consumer of {queue:?}"),
                    );
                    hub.emit_with(|| Event::ConsumerCancelled { queue });
                }
            }
            Output::ConsumerFailed(key, error) => {
                session.remove_consumer(now, key);
                consumers.failed(key, error);
            }
            Output::ConsumerDraining(key) => consumers.draining(session, key),

            Output::Called { token, result } => {
                if let Some(answer) = self.calls.remove(&token) {
                    _ = answer.send(result.map(|method| *method));
                }
            }
            Output::QueueRenamed { old, new } => {
                let client = report.client();
                log::info!("{client}the queue {old:?} is called {new:?} now");
                consumers.queue_renamed(&old, &new);
                hub.emit_with(|| Event::QueueRenamed { old, new });
            }
            Output::RenameFollowed { old, new } => consumers.queue_renamed(&old, &new),
            Output::Delayed { entity, reason } => delayed(hub, report.client(), entity, reason),
            Output::Restored { entity } => restored(hub, report.client(), entity),
            Output::NotRecovered { entity, reason } => {
                let client = report.client();
                log::error!("{client}{entity} could not be brought back: {reason}");
                hub.emit_with(|| Event::NotRecovered { entity, reason });
            }

            Output::ChannelUsable(key) => match Requester::of(&mut self.requester, key) {
                Some(requester) => requester.usable(),
                None => channels.opened(key),
            },
            Output::ChannelEvent(key, event) => match Requester::of(&mut self.requester, key) {
                Some(requester) => requester.event(now, event),
                None => channels.event(now, session, key, event),
            },
            Output::ChannelClosed(key, error) => match Requester::of(&mut self.requester, key) {
                Some(requester) => requester.closed(now, error),
                None => channels.closed(now, session, key, &error),
            },
        }
    }

    fn begin_dial(&mut self, now: Instant, epoch: Epoch, attempt: u32, endpoint: usize) {
        let (round, failed, progress) = self.attempts.begin(endpoint, attempt == 1);
        // The session was told how many there are.
        let endpoint = &self.config.endpoints[endpoint];
        let target = Target {
            host: endpoint.host.clone(),
            port: endpoint.port,
            tls: self.config.tls,
            attempt: round,
            seed: self.config.seed,
            timeout: self.config.connection_timeout,
            failed,
            progress,
        };
        self.report.dials(now, attempt, endpoint);
        log::debug!("{}: attempt {attempt}, {endpoint}", self.report.who());
        let connector = &self.config.connector;
        match guard("the connector", || {
            connector.connect(&target, &self.runtime)
        }) {
            Ok(connecting) => {
                let connecting = Guarded::new("the future of the connector", connecting);
                let before = mem::replace(&mut self.io, Io::Dialing(epoch, connecting));
                if let Io::Finishing(finishing) = before {
                    finishing.abort();
                }
            }
            Err(panicked) => {
                let error = ConnectionErrorReason::Dial(Arc::new(panicked.into()));
                self.session.dial_failed(now, epoch, error);
            }
        }
    }

    fn lost(
        &mut self,
        now: Instant,
        reason: ConnectionErrorReason,
        next: Next,
        known: &mut KnownServers,
    ) {
        let ahead_at = self.ahead_at.take();
        if next == Next::Again {
            // Whatever is wrong shows itself again, and is told then.
            log::debug!("{}: step by step, since {reason}", self.report.who());
            self.attempts.repeats();
            if let Some(place) = ahead_at {
                known.failed(now, place);
            }
            return;
        }
        let reason = match (&self.io, reason) {
            (Io::LoggingIn(..), ConnectionErrorReason::Timeout(Phase::Dial)) => {
                ConnectionErrorReason::Credentials(Arc::new(NoLogin::TooLate))
            }
            (_, reason) => reason,
        };
        let client = self.config.name.as_ref();
        let cause = self.attempts.failed(reason).of_client(client);
        if let Some(requester) = &mut self.requester {
            requester.disconnected(now, &cause);
        }
        let report = &mut self.report;
        let (hub, role) = (&self.shared.hub, self.role);
        self.blocked = false;
        if matches!(self.io, Io::Dialing(..) | Io::LoggingIn(..)) {
            self.io = Io::Idle;
        }
        match next {
            Next::Closed | Next::Again => report.closed(now),
            Next::Retry { attempt, delay } => {
                report.lost(now, &cause, (attempt, delay));
                let (who, why) = (report.who(), guard::text(&cause.without_client()));
                log::warn!("{who}: {why}; attempt {attempt} in {delay:?}");
                hub.emit_with(|| Event::Disconnected { role, cause });
                hub.emit_with(|| Event::Reconnecting {
                    role,
                    attempt,
                    delay,
                });
            }
            Next::GiveUp => {
                let cause = self.attempts.all_that_failed().unwrap_or(cause);
                let cause = cause.of_client(client);
                report.gave_up(now, &cause);
                hub.emit_with(|| Event::GaveUp {
                    role,
                    cause: cause.clone(),
                });
                self.given_up = Some(cause);
            }
        }
    }
}

pub(super) fn delayed(hub: &Hub, client: &ClientName, entity: Entity, reason: Error) {
    log::warn!("{client}{entity} is not back yet: {reason}");
    hub.emit_with(|| Event::Delayed { entity, reason });
}

pub(super) fn restored(hub: &Hub, client: &ClientName, entity: Entity) {
    log::info!("{client}{entity} is back");
    hub.emit_with(|| Event::Restored { entity });
}
