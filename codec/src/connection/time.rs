use std::time::{Duration, Instant};

use super::{Connection, Phase};
use crate::channel::ChannelPhase;
use crate::frame::HEARTBEAT;
use crate::handshake::ClientHandshake;
use crate::method::{Arguments, connection};
use crate::{ChannelCloseReason, CloseReason, Event, ShortString, Tuning};

/// The timers of a connection; an absent one is not running.
#[derive(Debug, Default)]
pub(super) struct Deadlines {
    pub(super) handshake: Option<Instant>,
    pub(super) close: Option<Instant>,
    pub(super) secret: Option<Instant>,
    pub(super) heartbeat_send: Option<Instant>,
    pub(super) heartbeat_receive: Option<Instant>,
}

impl Deadlines {
    fn earliest(&self) -> Option<Instant> {
        let all = [
            self.handshake,
            self.close,
            self.secret,
            self.heartbeat_send,
            self.heartbeat_receive,
        ];
        all.into_iter().flatten().min()
    }
}

/// # Time
impl Connection {
    /// Lets time pass. Early or late calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        let due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        if let Some(virtual_host) = self.open_is_due() {
            self.send_command(
                now,
                connection::Open {
                    virtual_host,
                    ..Default::default()
                }
                .into(),
            );
            self.phase = Phase::Client(ClientHandshake::Opening);
        }
        if due(self.deadlines.handshake) {
            self.end(CloseReason::HandshakeTimeout(self.stage()));
        } else if due(self.deadlines.close) {
            self.end(CloseReason::CloseTimeout);
        } else if due(self.deadlines.secret) {
            self.end(CloseReason::CallTimeout(connection::UpdateSecret::ID));
        } else if due(self.deadlines.heartbeat_receive) {
            self.end(CloseReason::HeartbeatTimeout);
        } else if due(self.deadlines.heartbeat_send) {
            self.heartbeat(now);
        }
        while let Some(&(_, id)) = self.calls.front().filter(|(at, _)| *at <= now) {
            self.calls.pop_front();
            self.check_calls(now, id);
        }
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next, if ever. A time that
    /// has passed means at once.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let calls = self.calls.front().map(|&(at, _)| at);
        let opening = self
            .open_is_due()
            .and(self.deadlines.handshake)
            .map(|at| at - self.limits.handshake_timeout);
        [self.deadlines.earliest(), calls, opening]
            .into_iter()
            .flatten()
            .min()
    }

    /// Says that the transport is not being read for now, because the application is behind: until
    /// it is read again, silence is no sign of death.
    pub fn reading_is_paused(&mut self, now: Instant) {
        self.heard(now);
    }

    /// The virtual host to open, once tune-ok has been written.
    fn open_is_due(&self) -> Option<ShortString> {
        match &self.phase {
            Phase::Client(ClientHandshake::Tuned { virtual_host }) if self.outbound.is_empty() => {
                Some(virtual_host.clone())
            }
            _ => None,
        }
    }

    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(at) = &mut self.deadlines.heartbeat_receive {
            *at = now + 2 * heartbeat_interval(self.tuning);
        }
    }

    fn heartbeat(&mut self, now: Instant) {
        // Any octet counts as a sign of life (AMQP 0-9-1 §4.2.7), and what waits to be written
        // will be one.
        if self.outbound.is_empty() && self.outbound.written() == self.written_before {
            self.outbound.copied().extend_from_slice(&HEARTBEAT);
        }
        self.written_before = self.outbound.written();
        self.deadlines.heartbeat_send = Some(now + heartbeat_interval(self.tuning) / 2);
    }

    fn check_calls(&mut self, now: Instant, id: u16) {
        let Some(mut channel) = self.any_channel(id) else {
            return;
        };
        let Some(method) = channel.state.overdue(now) else {
            return;
        };
        let reason = match channel.state.phase {
            ChannelPhase::Open | ChannelPhase::Opening => Some(channel.time_out(now, method)),
            // The peer does not even answer channel.close. Its id stays taken for good.
            ChannelPhase::Closing { told } => {
                channel.state.forget_calls();
                channel.state.phase = ChannelPhase::Closing { told: true };
                (!told).then_some(ChannelCloseReason::CallTimeout(method))
            }
        };
        if let Some(reason) = reason {
            self.events.push_back(Event::ChannelClosed {
                channel: id,
                reason,
            });
        }
    }
}

pub(super) fn heartbeat_interval(tuning: Tuning) -> Duration {
    Duration::from_secs(tuning.heartbeat.into())
}
