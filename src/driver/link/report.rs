//! How a connection is doing, for whoever looks at the client's state.

use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use snowshoe_codec::ShortString;
use snowshoe_codec::time::after;

use super::log_limit::ClientName;
use crate::error::ConnectionError;
use crate::events::ConnectionRole;
use crate::shared::handle::Shared;
use crate::shared::place::LinkIndex;
use crate::state::{
    Blocked, Connected, ConnectionState, ConnectionStatus, Failure, RecoveryStage, To,
};
use crate::uri::Endpoint;

/// The state of a connection. Each change of it is posted, before an event tells of it.
pub(super) struct Report {
    link: LinkIndex,
    shared: Arc<Shared>,
    client: ClientName,
    /// `None` before it is told to connect.
    state: Option<ConnectionState>,
}

impl Report {
    pub(super) fn new(link: LinkIndex, shared: Arc<Shared>, client: ClientName) -> Self {
        Self {
            link,
            shared,
            client,
            state: None,
        }
    }

    /// Which connection of which client it is, for logs.
    pub(super) fn who(&self) -> Who {
        Who {
            client: self.client.clone(),
            role: self.link.role(),
        }
    }

    /// The client, for logs.
    pub(super) fn client(&self) -> &ClientName {
        &self.client
    }

    /// It was told to connect.
    pub(super) fn started(&mut self, now: Instant) {
        self.state = Some(ConnectionState {
            role: self.link.role(),
            status: ConnectionStatus::Waiting {
                attempt: 1,
                until: now,
            },
            since: now,
            opened: 0,
            last_failure: None,
        });
        self.post();
    }

    pub(super) fn dials(&mut self, now: Instant, attempt: u32, endpoint: &Endpoint) {
        let status = ConnectionStatus::Connecting {
            attempt,
            endpoint: endpoint.clone(),
            address: None,
        };
        self.becomes(now, status);
    }

    /// The transport is connected.
    pub(super) fn reached(&mut self, reached: Option<SocketAddr>) {
        if let Some(ConnectionState {
            status: ConnectionStatus::Connecting { address, .. },
            ..
        }) = &mut self.state
            && *address != reached
        {
            *address = reached;
            self.post();
        }
    }

    pub(super) fn opened(&mut self, now: Instant) {
        if let Some(ConnectionState { status, opened, .. }) = &mut self.state
            && let ConnectionStatus::Connecting {
                endpoint, address, ..
            } = status
        {
            *opened += 1;
            let connected = Connected {
                endpoint: endpoint.clone(),
                address: *address,
                since: now,
                recovering: Some(RecoveryStage::Topology),
                blocked: None,
            };
            self.becomes(now, ConnectionStatus::Connected(connected));
        }
    }

    /// How far the recovery is; `None` once everything is in place.
    pub(super) fn recovers(&mut self, stage: Option<RecoveryStage>) {
        if let Some(connected) = self.connected()
            && connected.recovering != stage
        {
            connected.recovering = stage;
            self.post();
        }
    }

    /// The broker has blocked it, for this reason, or blocks it no more.
    pub(super) fn blocked(&mut self, now: Instant, reason: Option<ShortString>) {
        if let Some(connected) = self.connected() {
            let since = connected.blocked.as_ref().map_or(now, |it| it.since);
            connected.blocked = reason.map(|reason| Blocked { reason, since });
            self.post();
        }
    }

    /// It has ended, or could not be made, and is made again.
    pub(super) fn lost(
        &mut self,
        now: Instant,
        cause: &ConnectionError,
        (attempt, delay): (u32, Duration),
    ) {
        let until = after(now, delay);
        self.failed(now, cause);
        self.becomes(now, ConnectionStatus::Waiting { attempt, until });
    }

    pub(super) fn gave_up(&mut self, now: Instant, cause: &ConnectionError) {
        self.failed(now, cause);
        self.becomes(now, ConnectionStatus::GaveUp);
    }

    /// It is being closed.
    pub(super) fn closes(&mut self, now: Instant) {
        if !self.has_ended() {
            self.becomes(now, ConnectionStatus::Closing);
        }
    }

    /// It is closed. One that was there for a single consumer is of no interest any more.
    pub(super) fn closed(&mut self, now: Instant) {
        if self.has_ended() {
            return;
        }
        self.becomes(now, ConnectionStatus::Closed);
        if self.link.role() == ConnectionRole::Dedicated {
            self.state = None;
            self.shared.board.take_down(self.link);
        }
    }

    fn has_ended(&self) -> bool {
        self.state.as_ref().is_none_or(|state| {
            matches!(
                state.status,
                ConnectionStatus::Closed | ConnectionStatus::GaveUp
            )
        })
    }

    fn connected(&mut self) -> Option<&mut Connected> {
        match &mut self.state.as_mut()?.status {
            ConnectionStatus::Connected(connected) => Some(connected),
            _ => None,
        }
    }

    fn failed(&mut self, now: Instant, cause: &ConnectionError) {
        if let Some(state) = &mut self.state {
            let cause = cause.clone();
            state.last_failure = Some(Failure { cause, at: now });
        }
    }

    fn becomes(&mut self, now: Instant, status: ConnectionStatus) {
        if let Some(state) = &mut self.state {
            (state.status, state.since) = (status, now);
            self.post();
        }
    }

    fn post(&self) {
        if let Some(state) = &self.state {
            self.shared.board.post(self.link, state.clone());
        }
    }

    /// Whom it is connected to, for logs.
    pub(super) fn peer(&self) -> Option<To<'_>> {
        match &self.state.as_ref()?.status {
            ConnectionStatus::Connected(it) => Some(To(&it.endpoint, it.address)),
            _ => None,
        }
    }
}

/// Which connection of which client something is about.
pub(super) struct Who {
    client: ClientName,
    role: ConnectionRole,
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{} connection", self.client, self.role)
    }
}
