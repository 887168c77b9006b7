use std::fmt;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use snowshoe_codec::ShortString;

use crate::error::ConnectionError;
use crate::events::ConnectionRole;
use crate::uri::Endpoint;

/// How a client is doing: a snapshot, as [`Client::state`](crate::Client::state) takes it.
///
/// ```
/// use futures_lite::future::block_on;
/// use snowshoe::Client;
/// use snowshoe::testing::{BrokerOptions, Server};
///
/// /// What an orchestrator asks for: whether to send work here, and whether to start anew.
/// fn health(client: &Client) -> (u16, String) {
///     let state = client.state();
///     let code = if state.is_ready() { 200 } else { 503 };
///     (code, state.to_string())
/// }
///
/// # block_on(async {
/// let server = Server::listen(BrokerOptions::default())?;
/// let client = Client::builder(&server.uri())?.name("orders")?.connect().await?;
/// let (code, text) = health(&client);
/// assert_eq!(code, 200);
/// assert!(text.starts_with("orders: ready; main connection: connected to 127.0.0.1:"), "{text}");
///
/// client.close().await;
/// assert_eq!(health(&client), (503, "orders: ended; main connection: closed".to_owned()));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// # }).unwrap();
/// ```
///
/// All times in it are by the clock of the client's [`Runtime`](crate::Runtime), which is that of the
/// system unless the runtime is one for tests.
///
/// Its `Display` is one line, for logs and for people who look at a health endpoint. It names hosts and
/// addresses, and holds nothing of the login.
#[derive(Clone, Debug)]
pub struct ClientState {
    pub(crate) name: Option<Arc<str>>,
    pub(crate) taken_at: Instant,
    pub(crate) life: Life,
    pub(crate) connections: Vec<Arc<ConnectionState>>,
}

/// How far a client has come in its life.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Life {
    #[default]
    Running,
    Closing,
    Ended,
}

impl ClientState {
    /// Whether the client can do all that it is for: it is not being closed, and each of its connections
    /// is up, with everything on it in place, those of requesters, too; one of a consumer or requester that has ended does not count. For a probe of
    /// *readiness*.
    ///
    /// What is not in place although a recovery is through, such as a queue that the broker refuses, is told by
    /// [events](crate::Event::Delayed), and does not count.
    ///
    /// A connection that is [blocked](Self::is_blocked) is up: consumers and acknowledgements go on, and what
    /// is published waits in its buffer. A service that only publishes may want to count that as well.
    ///
    /// It is `false` before the first connect, while any connection is being made again, and from the moment
    /// on at which a close begins. What is published meanwhile is not lost, but waits. Since a broker that is
    /// away makes all instances of a service unready at once, a service that can do without it for a time
    /// better answers by itself.
    pub fn is_ready(&self) -> bool {
        // The connection of a consumer that has ended is missed by nobody.
        let is_needed = |it: &&ConnectionState| !matches!(it.status, ConnectionStatus::Closing);
        let mut needed = self.connections().filter(is_needed).peekable();
        let is_running = self.life == Life::Running && needed.peek().is_some();
        is_running && needed.all(ConnectionState::is_ready)
    }

    /// Whether the client is there at all: it was not closed, has not given up, and its driver was not
    /// dropped. For a probe of *liveness*: what is not alive does not come back, and has to be made anew.
    ///
    /// While the broker is away, a client is alive. Whether somebody polls its driver is not seen by this.
    pub fn is_alive(&self) -> bool {
        self.life != Life::Ended
    }

    /// Whether a close has begun, and is not through.
    pub fn is_closing(&self) -> bool {
        self.life == Life::Closing
    }

    /// Whether the broker has blocked any of the connections, since it is short of memory or disk. Messages
    /// wait in their buffers.
    pub fn is_blocked(&self) -> bool {
        let mut connected = self.connections().filter_map(ConnectionState::connected);
        connected.any(|it| it.blocked.is_some())
    }

    /// The connections that there are: the main one, that for publishing once it is needed, and one for each
    /// consumer that asked for [one of its own](crate::ConsumerBuilder::dedicated_connection).
    pub fn connections(&self) -> impl Iterator<Item = &ConnectionState> {
        self.connections.iter().map(|state| &**state)
    }

    /// The first connection of this role, if there is one.
    pub fn connection(&self, role: ConnectionRole) -> Option<&ConnectionState> {
        self.connections().find(|state| state.role == role)
    }

    /// What the client [was named](crate::ClientBuilder::name).
    pub fn name(&self) -> Option<&str> {
        self.name.as_deref()
    }

    /// When the snapshot was taken, by the clock of the client's [`Runtime`](crate::Runtime): what to hold
    /// its other times against.
    ///
    /// ```
    /// # fn uptime(state: &snowshoe::ClientState) -> Option<std::time::Duration> {
    /// let main = state.connection(snowshoe::ConnectionRole::Main)?;
    /// Some(state.taken_at().duration_since(main.connected()?.since))
    /// # }
    /// ```
    pub fn taken_at(&self) -> Instant {
        self.taken_at
    }
}

/// How one of a client's connections is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct ConnectionState {
    /// Which it is.
    pub role: ConnectionRole,
    /// What it is doing.
    pub status: ConnectionStatus,
    /// Since when it has been doing that. A connection that is connected has done so since its handshake was
    /// through, whatever came after.
    pub since: Instant,
    /// How often it was opened.
    pub opened: u64,
    /// Why it ended last, or the last attempt to make it failed, and when. It stays when the connection is
    /// back.
    pub last_failure: Option<Failure>,
}

/// What a connection is doing.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum ConnectionStatus {
    /// It is not there, and the next attempt to make it is to come.
    Waiting {
        /// The number of that attempt, from 1, since the connection was last up and stable.
        attempt: u32,
        /// When it is made.
        until: Instant,
    },
    /// It is being made.
    Connecting {
        /// The number of the attempt, from 1, since the connection was last up and stable.
        attempt: u32,
        /// The host that it is to.
        endpoint: Endpoint,
        /// The address, if the transport is connected and the AMQP handshake has begun, and if the
        /// [connector](crate::Connector) has told it.
        address: Option<SocketAddr>,
    },
    /// It is open.
    Connected(Connected),
    /// It is being closed, because the client is, or the consumer has ended that it was for.
    Closing,
    /// It is closed for good.
    Closed,
    /// It was given up, and with it the client. Why, the last
    /// [failure](ConnectionState::last_failure) tells.
    GaveUp,
}

/// A connection that is open.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Connected {
    /// The host that it is to.
    pub endpoint: Endpoint,
    /// Its address, if the [connector](crate::Connector) has told it.
    pub address: Option<SocketAddr>,
    /// Since when it has been open.
    pub since: Instant,
    /// What is being brought back on it; `None` once everything is in place.
    pub recovering: Option<RecoveryStage>,
    /// Whether the broker has blocked it.
    pub blocked: Option<Blocked>,
}

/// What a recovery is busy with, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[non_exhaustive]
pub enum RecoveryStage {
    /// Exchanges, queues and bindings.
    Topology,
    /// Consumers.
    Consumers,
    /// Producers.
    Producers,
}

/// A connection that the broker takes nothing from until further notice.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Blocked {
    /// Why, in the broker's words.
    pub reason: ShortString,
    /// Since when.
    pub since: Instant,
}

/// The end of a connection, or of an attempt to make one.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Failure {
    /// Why. It names the host and the address.
    pub cause: ConnectionError,
    /// When.
    pub at: Instant,
}

impl ConnectionState {
    /// Whether it is up, with everything in place.
    pub fn is_ready(&self) -> bool {
        self.connected().is_some_and(|it| it.recovering.is_none())
    }

    /// What it is connected to, and since when; `None` if it is not.
    pub fn connected(&self) -> Option<&Connected> {
        match &self.status {
            ConnectionStatus::Connected(connected) => Some(connected),
            _ => None,
        }
    }

    fn fmt_at(&self, now: Instant, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} connection: ", self.role)?;
        match &self.status {
            ConnectionStatus::Waiting { attempt, until } => {
                let time = Time(until.saturating_duration_since(now));
                write!(f, "waiting, attempt {attempt} in {time}")?;
            }
            ConnectionStatus::Connecting {
                attempt,
                endpoint,
                address,
            } => {
                let to = To(endpoint, *address);
                let time = Time(now.saturating_duration_since(self.since));
                write!(f, "connecting to {to} for {time}, attempt {attempt}")?;
            }
            ConnectionStatus::Connected(connected) => {
                let to = To(&connected.endpoint, connected.address);
                let time = Time(now.saturating_duration_since(connected.since));
                write!(f, "connected to {to} for {time}")?;
                if let Some(stage) = connected.recovering {
                    write!(f, ", recovering {stage}")?;
                }
                if let Some(Blocked { reason, since }) = &connected.blocked {
                    let time = Time(now.saturating_duration_since(*since));
                    write!(f, ", blocked for {time}: {}", OneLine(reason))?;
                }
            }
            ConnectionStatus::Closing => f.write_str("closing")?,
            ConnectionStatus::Closed => f.write_str("closed")?,
            ConnectionStatus::GaveUp => f.write_str("given up")?,
        }
        let is_over = matches!(
            self.status,
            ConnectionStatus::Closing | ConnectionStatus::Closed
        );
        if let Some(Failure { cause, at }) = &self.last_failure
            && !self.is_ready()
            && !is_over
        {
            let time = Time(now.saturating_duration_since(*at));
            let cause = cause.without_client();
            write!(f, "; {time} ago: {}", OneLine(cause))?;
        }
        Ok(())
    }
}

impl fmt::Display for ClientState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(name) = self.name() {
            write!(f, "{name}: ")?;
        }
        f.write_str(match self.life {
            Life::Closing => "closing",
            Life::Ended => "ended",
            Life::Running if !self.is_ready() => "not ready",
            Life::Running if self.is_blocked() => "ready, blocked",
            Life::Running => "ready",
        })?;
        for state in self.connections() {
            f.write_str("; ")?;
            state.fmt_at(self.taken_at, f)?;
        }
        Ok(())
    }
}

impl fmt::Display for RecoveryStage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Topology => "topology",
            Self::Consumers => "consumers",
            Self::Producers => "producers",
        })
    }
}

/// Whom a connection is to, for people.
pub(crate) struct To<'a>(pub(crate) &'a Endpoint, pub(crate) Option<SocketAddr>);

impl fmt::Display for To<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let endpoint = self.0.to_string();
        match self.1.map(|address| address.to_string()) {
            Some(address) if address != endpoint => write!(f, "{endpoint} ({address})"),
            _ => f.write_str(&endpoint),
        }
    }
}

/// What somebody else wrote, without line breaks and other control characters.
struct OneLine<T>(T);

impl<T: fmt::Display> fmt::Display for OneLine<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let is_control = |c: char| c.is_control();
        f.write_str(&self.0.to_string().replace(is_control, " "))
    }
}

/// A time, as exact as people want it.
struct Time(Duration);

impl fmt::Display for Time {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (days, hours) = (seconds / 86_400, seconds / 3_600 % 24);
        let (minutes, rest) = (seconds / 60 % 60, seconds % 60);
        match seconds {
            0..60 => write!(f, "{:.1} s", self.0.as_secs_f64()),
            60..3_600 => write!(f, "{minutes} min {rest} s"),
            3_600..86_400 => write!(f, "{hours} h {minutes} min"),
            _ => write!(f, "{days} d {hours} h"),
        }
    }
}

#[cfg(all(test, not(snowshoe_loom)))]
mod tests;
