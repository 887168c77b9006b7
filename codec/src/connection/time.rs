use std::time::Instant;

use super::Connection;
use crate::event::CloseReason;
use crate::frame::HEARTBEAT;
use crate::method::{Arguments, connection};
use crate::time::{after, earlier};

/// The timers of a connection; an absent one is not running.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Deadlines {
    pub(super) handshake: Option<Instant>,
    /// connection.open, which is due once tune-ok has been written.
    pub(super) open: Option<Instant>,
    pub(super) close: Option<Instant>,
    /// The answer to connection.update-secret.
    pub(super) secret: Option<Instant>,
    /// The first of the calls on channels that could be overdue, or a time before that: a call
    /// that is answered leaves it as it is, and the next look at all channels sets it right.
    pub(super) calls: Option<Instant>,
    pub(super) heartbeat_send: Option<Instant>,
    pub(super) heartbeat_receive: Option<Instant>,
}

/// # Time
impl Connection {
    /// Lets time pass. Early or late calls do no harm.
    pub fn handle_timeout(&mut self, now: Instant) {
        if std::mem::take(&mut self.reading_paused) {
            self.excuse_silence(now);
        }
        let due = |deadline: Option<Instant>| deadline.is_some_and(|at| at <= now);
        let fatal = [
            (
                self.deadlines.handshake,
                CloseReason::HandshakeTimeout(self.stage()),
            ),
            (self.deadlines.close, CloseReason::CloseTimeout),
            (
                self.deadlines.secret.filter(|_| !self.blocked),
                CloseReason::CallTimeout(connection::UpdateSecret::ID),
            ),
            (
                self.deadlines.heartbeat_receive,
                CloseReason::HeartbeatTimeout,
            ),
        ];
        if let Some((_, reason)) = fatal.into_iter().find(|(deadline, _)| due(*deadline)) {
            self.end(reason);
            return;
        }
        if due(self.deadlines.calls) {
            self.check_calls(now);
        }
        if due(self.deadlines.heartbeat_send) {
            self.heartbeat(now);
        }
        self.open_virtual_host();
    }

    /// When [`handle_timeout`](Self::handle_timeout) wants to be called next, if ever. A time that
    /// has passed means at once.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let Deadlines {
            handshake,
            open,
            close,
            secret,
            calls,
            heartbeat_send,
            heartbeat_receive,
        } = self.deadlines;
        let secret = secret.filter(|_| !self.blocked);
        let open = open.filter(|_| self.outbound.is_empty());
        let all = [
            handshake,
            open,
            close,
            secret,
            calls,
            heartbeat_send,
            heartbeat_receive,
        ];
        all.into_iter().fold(None, earlier)
    }

    /// Says that the transport is not being read for now, because the application is behind: what
    /// the peer says meanwhile lies unread, so its silence is no sign of death, and no answer is
    /// overdue.
    ///
    /// It is to be said at every turn while it lasts; whether before or after
    /// [`handle_timeout`](Self::handle_timeout) makes no difference. From the last time on the peer
    /// has as long to be heard of as if all had been asked of it then.
    pub fn reading_is_paused(&mut self, now: Instant) {
        self.reading_paused = true;
        self.excuse_silence(now);
    }

    /// Gives the peer all the time again that it has for whatever we wait for.
    fn excuse_silence(&mut self, now: Instant) {
        self.heard(now);
        let answer = after(now, self.limits.call_timeout);
        for deadline in [&mut self.deadlines.secret, &mut self.deadlines.calls] {
            *deadline = deadline.map(|at| at.max(answer));
        }
    }

    /// A broker that has blocked the connection reads nothing from it, so no answer is overdue. That it lives
    /// is told by its heartbeats; and a channel that is being closed is not waited for any longer for it.
    pub(super) fn rest_calls(&mut self) {
        self.deadlines.calls = self.channels.earliest_deadline(self.blocked);
    }

    /// It reads again, and has all its time for what it was asked meanwhile.
    pub(super) fn resume_calls(&mut self, now: Instant) {
        let answer = after(now, self.limits.call_timeout);
        let secret = &mut self.deadlines.secret;
        *secret = secret.map(|at| at.max(answer));
        self.channels.excuse_until(answer);
        self.deadlines.calls = self.channels.earliest_deadline(self.blocked);
    }

    pub(super) fn heard(&mut self, now: Instant) {
        if let Some(interval) = self.tuning.heartbeat_interval()
            && let Some(deadline) = &mut self.deadlines.heartbeat_receive
        {
            *deadline = after(now, 2 * interval);
        }
    }

    fn heartbeat(&mut self, now: Instant) {
        // Any octet counts as a sign of life (AMQP 0-9-1 §4.2.7), and what waits to be written
        // will be one.
        if self.outbound.is_empty() && self.outbound.written() == self.written_before {
            self.outbound.copied().extend_from_slice(&HEARTBEAT);
        }
        self.written_before = self.outbound.written();
        let interval = self.tuning.heartbeat_interval();
        self.deadlines.heartbeat_send = interval.map(|interval| after(now, interval / 2));
    }

    /// Closes the channels on which a call was not answered in time.
    fn check_calls(&mut self, now: Instant) {
        let is_blocked = self.blocked;
        for id in self.channels.ids() {
            let told = self
                .channel(id)
                .and_then(|mut channel| channel.check_calls(now, is_blocked));
            if let Some(event) = told {
                self.events.push(event);
            }
        }
        self.deadlines.calls = self.channels.earliest_deadline(is_blocked);
    }
}
