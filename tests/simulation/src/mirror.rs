//! What a client's events say of its connections, held against the state that it tells.

use std::time::Instant;

use snowshoe::{Client, ConnectionRole, ConnectionState, ConnectionStatus, Event};

/// The connections of a client, by its events.
#[derive(Debug, Default)]
pub(crate) struct Mirror {
    main: Told,
    publishing: Told,
    /// Whether events were missed, so that nothing can be said any more.
    is_blind: bool,
}

/// What was told of a connection last.
#[derive(Debug, Default)]
struct Told {
    stage: Stage,
    /// When it was opened, unless that was before anybody listened.
    opened_at: Option<Instant>,
    opened: u64,
    is_blocked: bool,
    /// The number of the next attempt, and when it is due.
    next: Option<(u32, Instant)>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Away,
    Open,
    Ready,
    GivenUp,
}

impl Mirror {
    /// An event that is heard as it happens, or later, where no time is given.
    pub(crate) fn hear(&mut self, event: &Event, now: Option<Instant>) {
        let role = match event {
            Event::Lagged { .. } => {
                self.is_blind = true;
                return;
            }
            Event::Connected { role }
            | Event::Recovered { role }
            | Event::Disconnected { role, .. }
            | Event::Reconnecting { role, .. }
            | Event::GaveUp { role, .. }
            | Event::Blocked { role, .. }
            | Event::Unblocked { role } => *role,
            _ => return,
        };
        let told = match role {
            ConnectionRole::Main => &mut self.main,
            ConnectionRole::Publishing => &mut self.publishing,
            // There can be several, and no event says which of them it is about.
            _ => return,
        };
        match event {
            Event::Connected { .. } => {
                (told.stage, told.opened_at) = (Stage::Open, now);
                told.opened += 1;
            }
            Event::Recovered { .. } => told.stage = Stage::Ready,
            Event::Disconnected { .. } => (told.stage, told.is_blocked) = (Stage::Away, false),
            Event::Reconnecting { attempt, delay, .. } => {
                told.next = now.map(|now| (*attempt, now + *delay));
            }
            Event::GaveUp { .. } => told.stage = Stage::GivenUp,
            Event::Blocked { .. } => told.is_blocked = true,
            Event::Unblocked { .. } => told.is_blocked = false,
            _ => {}
        }
    }

    /// Where the state of the client is another than its events have told.
    pub(crate) fn check(&self, client: &Client, now: Instant) -> Result<(), String> {
        if self.is_blind {
            return Ok(());
        }
        let state = client.state();
        for (role, told) in [
            (ConnectionRole::Main, &self.main),
            (ConnectionRole::Publishing, &self.publishing),
        ] {
            let Some(connection) = state.connection(role) else {
                continue;
            };
            let is_open = !state.is_closing() && state.is_alive();
            if !told.fits(connection, is_open, now) {
                return Err(format!(
                    "the state is {state}, and the events said {told:?}"
                ));
            }
        }
        let main = &self.main;
        let publishes = state.connection(ConnectionRole::Publishing).is_some();
        let is_ready = main.stage == Stage::Ready
            && (!publishes || self.publishing.stage == Stage::Ready)
            && !state.is_closing()
            && state.is_alive();
        let has_others = state.connection(ConnectionRole::Dedicated).is_some();
        if state.is_ready() && !is_ready || !has_others && is_ready != state.is_ready() {
            return Err(format!(
                "the state is {state}, and the events said {self:?}"
            ));
        }
        Ok(())
    }
}

impl Told {
    fn fits(&self, connection: &ConnectionState, is_open: bool, now: Instant) -> bool {
        let is_next = |attempt: u32| self.next.is_none_or(|(next, _)| next == attempt);
        match &connection.status {
            ConnectionStatus::Connected(connected) => {
                let stage = match connected.recovering {
                    None => Stage::Ready,
                    Some(_) => Stage::Open,
                };
                self.stage == stage
                    && self.opened_at.is_none_or(|at| at == connected.since)
                    && self.opened == connection.opened
                    && self.is_blocked == connected.blocked.is_some()
                    && connected.since <= now
            }
            ConnectionStatus::Waiting { attempt, until } => {
                let is_due = self.next.is_none_or(|(_, at)| at == *until);
                self.stage == Stage::Away && is_next(*attempt) && is_due
            }
            ConnectionStatus::Connecting { attempt, .. } => {
                let is_due = self.next.is_none_or(|(_, at)| at <= now);
                self.stage == Stage::Away && is_next(*attempt) && is_due
            }
            ConnectionStatus::GaveUp => self.stage == Stage::GivenUp,
            ConnectionStatus::Closing | ConnectionStatus::Closed => !is_open,
            _ => false,
        }
    }
}
