use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use snowshoe_codec::sasl::{AmqPlain, External, Mechanism};
use snowshoe_codec::{ConnectionLimits, FieldValue, ShortString, TableError, client_properties};

use super::Client;
use crate::clock::Clock;
use crate::config::{Config, Reconnect};
use crate::driver::Driver;
use crate::error::{ConnectionError, Error};
#[cfg(feature = "tokio")]
use crate::on_tokio;
use crate::password::Password;
use crate::reactor::Reactor;
use crate::sasl::Plain;
use crate::shared::Shared;
use crate::transport::{Connector, DefaultConnector, Sockets};
use crate::uri::AmqpUri;

/// Configures a [`Client`].
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    config: Config,
    connection_name: Option<String>,
}

impl fmt::Debug for ClientBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClientBuilder")
            .field("config", &self.config)
            .finish_non_exhaustive()
    }
}

impl ClientBuilder {
    pub(super) fn new(uri: &str) -> Result<Self, Error> {
        let uri: AmqpUri = uri.parse()?;
        let mechanisms = uri.options.auth_mechanisms.iter();
        let mechanisms = mechanisms.map(|name| AuthMechanism::named(name));
        let mechanisms = mechanisms.collect::<Result<Vec<_>, _>>()?;
        let defaults = ConnectionLimits::default();
        let limits = ConnectionLimits {
            heartbeat: uri.options.heartbeat.unwrap_or(defaults.heartbeat),
            channel_max: uri.options.channel_max.unwrap_or(defaults.channel_max),
            frame_max: match uri.options.frame_max {
                // No limit of ours, but one has to be (AMQP 0-9-1 §1.4.2.5: zero is no limit).
                None | Some(0) => defaults.frame_max,
                Some(small @ ..4096) => return Err(Error::FrameMax(small)),
                Some(frame_max) => frame_max,
            },
            ..defaults
        };
        let (user, password) = (uri.user, uri.password);
        let config = Config {
            tls: uri.tls,
            virtual_host: ShortString::try_from(uri.vhost)?,
            connection_timeout: uri.options.connection_timeout.unwrap_or(CONNECTION_TIMEOUT),
            endpoints: uri.endpoints,
            credentials: Arc::new(move || Ok(log_in_by(&mechanisms, &user, &password))),
            properties: client_properties(),
            limits,
            connector: Arc::new(DefaultConnector::default()),
            sockets: Sockets::default(),
            write_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(10),
            reconnect: Reconnect::default(),
            seed: fastrand::u64(..),
            clock: Clock::default(),
        };
        Ok(Self {
            config,
            connection_name: None,
        })
    }

    /// How to come back after a cut.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.config.reconnect = reconnect;
        self
    }

    /// The name that the broker's management page shows for the connections.
    pub fn connection_name(mut self, name: impl Into<String>) -> Self {
        self.connection_name = Some(name.into());
        self
    }

    /// Tells the broker something more of the client.
    ///
    /// # Errors
    /// The name is too long, or the value cannot be encoded.
    pub fn property<'v>(
        mut self,
        name: &str,
        value: impl Into<FieldValue<'v>>,
    ) -> Result<Self, TableError> {
        self.config.properties.insert(name, value)?;
        Ok(self)
    }

    /// Where the ways to log in come from, best first, instead of the URI. It is asked at every
    /// attempt to connect, so that a rotated password or token is picked up. An error counts as a
    /// failed attempt; its text must not hold a secret.
    ///
    /// It is called on the driver, and is to be quick.
    pub fn credentials<F>(mut self, provider: F) -> Self
    where
        F: Fn() -> Result<Vec<Box<dyn Mechanism>>, String> + Send + Sync + 'static,
    {
        self.config.credentials = Arc::new(provider);
        self
    }

    /// How transports are made; TCP by default, and TLS where the URI asks for it (feature `tls`).
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.config.connector = Arc::new(connector);
        self
    }

    /// Has the driver use tokio's sockets and timers, those of the runtime in which it is polled
    /// (feature `tokio`).
    ///
    /// Without this it works on tokio, too, but with the sockets and timers of `async-io`, which has
    /// a thread of its own: a message that is waited for then costs more system calls. Every
    /// connector that comes with this crate does as it is told here.
    ///
    /// [`connect`](Self::connect) spawns the driver; with [`build`](Self::build) that is yours to do,
    /// and can be done anywhere:
    ///
    /// ```no_run
    /// # use snowshoe::Client;
    /// # async fn run() -> Result<(), snowshoe::Error> {
    /// let client = Client::builder("amqp://localhost")?.tokio().connect().await?;
    ///
    /// let (client, driver) = Client::builder("amqp://localhost")?.tokio().build();
    /// tokio::spawn(driver);
    /// # Ok(()) }
    /// ```
    ///
    /// Where it is polled outside of a runtime, every attempt to connect fails.
    ///
    /// # Panics
    /// The driver does, where the runtime has I/O or time not enabled, or has ended and the driver
    /// is polled elsewhere.
    #[cfg(feature = "tokio")]
    pub fn tokio(mut self) -> Self {
        self.config.sockets = Sockets::Tokio;
        self.go_by(Clock::Tokio);
        self
    }

    /// The interval of heartbeats, which a broker can only shorten; 10 s by default. A peer that is
    /// silent for two intervals is given up. Zero leaves it to the broker.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.config.limits.heartbeat = interval;
        self
    }

    /// How long an attempt to connect the transport may take; 30 s by default.
    pub fn connection_timeout(mut self, timeout: Duration) -> Self {
        self.config.connection_timeout = timeout;
        self
    }

    /// How long the AMQP handshake may take; 30 s by default.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.config.limits.handshake_timeout = timeout;
        self
    }

    /// How long the broker may take to answer a call; 20 s by default.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.config.limits.call_timeout = timeout;
        self
    }

    /// How long a peer may take no bytes at all, unless it said that it is blocked; 60 s by
    /// default.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.config.write_timeout = timeout;
        self
    }

    /// How long [`Client::close`] waits for what is under way; 10 s by default.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.config.close_timeout = timeout;
        self
    }

    /// The longest body that is accepted from the broker; 128 MiB by default.
    pub fn max_message_size(mut self, bytes: u32) -> Self {
        self.config.limits.max_message_size = bytes;
        self
    }

    /// Fixes the randomness of delays, names, and the order of hosts and addresses, for tests.
    pub fn seed(mut self, seed: u64) -> Self {
        self.config.seed = seed;
        self
    }

    /// Goes by this clock instead of the system's, for tests.
    #[cfg(feature = "testing")]
    pub fn clock(mut self, clock: crate::testing::Clock) -> Self {
        self.config.clock = Clock::Virtual(clock);
        self
    }

    /// The client, and its driver to spawn on an executor of your choice.
    pub fn build(mut self) -> (Client, Driver) {
        let seed = self.config.seed;
        let shared = Arc::new(Shared::new(seed));
        self.describe();
        self.warn_of_clear_text();
        let driver = Driver::new(self.config, Arc::clone(&shared));
        (Client::over(shared), driver)
    }

    /// The client, once it has connected. Its driver has a thread of its own; that of a client for
    /// tokio is spawned on the runtime in which this is called.
    ///
    /// # Errors
    /// Why it did not connect.
    pub async fn connect(self) -> Result<Client, Error> {
        let started = match self.config.sockets {
            #[cfg(feature = "tokio")]
            Sockets::Tokio => self.start_on_tokio(),
            Sockets::Anywhere => self.start_on_thread(),
        };
        let client = started.map_err(|error| ConnectionError::Dial(Arc::new(error)))?;
        client.ready().await?;
        Ok(client)
    }

    #[cfg(feature = "tokio")]
    fn start_on_tokio(self) -> io::Result<Client> {
        let runtime = on_tokio::runtime()?;
        let (client, driver) = self.build();
        runtime.spawn(driver);
        Ok(client)
    }

    fn start_on_thread(mut self) -> io::Result<Client> {
        let reactor = Reactor::new()?;
        self.go_by(Clock::Reactor(reactor.handle()));
        let (client, driver) = self.build();
        let run = move || {
            if let Err(error) = reactor.block_on(driver) {
                log::error!("the driver's thread ends: {error}");
            }
        };
        std::thread::Builder::new()
            .name("snowshoe".to_owned())
            .spawn(run)?;
        Ok(client)
    }

    /// Takes the time from there, unless a test rules it.
    fn go_by(&mut self, clock: Clock) {
        if let Clock::System = self.config.clock {
            self.config.clock = clock;
        }
    }

    /// A password over a network in clear text is worth a word, once.
    fn warn_of_clear_text(&self) {
        let is_local = |host: &str| {
            let address: Option<std::net::IpAddr> = host.parse().ok();
            host == "localhost" || address.is_some_and(|address| address.is_loopback())
        };
        let Config { tls, endpoints, .. } = &self.config;
        if !tls && let Some(remote) = endpoints.iter().find(|endpoint| !is_local(&endpoint.host)) {
            log::warn!(
                "the login to {} and all messages go in clear text: use amqps",
                remote.host
            );
        }
    }

    /// Says who we are, where the user has not.
    fn describe(&mut self) {
        let described = [
            ("product", "Snowshoe"),
            ("version", env!("CARGO_PKG_VERSION")),
            ("platform", "Rust"),
        ];
        let name = self
            .connection_name
            .as_deref()
            .map(|name| ("connection_name", name));
        for (key, value) in described.into_iter().chain(name) {
            if self
                .config
                .properties
                .get(key)
                .is_ok_and(|known| known.is_none())
                && let Err(error) = self.config.properties.insert(key, value)
            {
                log::warn!("the client property {key} is left out: {error}");
            }
        }
    }
}

const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);

/// A way to log in that a URI can ask for.
#[derive(Clone, Copy, Debug)]
enum AuthMechanism {
    Plain,
    AmqPlain,
    External,
}

impl AuthMechanism {
    fn named(name: &str) -> Result<Self, Error> {
        match name {
            "PLAIN" => Ok(Self::Plain),
            "AMQPLAIN" => Ok(Self::AmqPlain),
            "EXTERNAL" => Ok(Self::External),
            _ => Err(Error::UnknownMechanism(name.to_owned())),
        }
    }
}

/// The ways to log in that a URI allows, best first; PLAIN where it names none.
fn log_in_by(
    mechanisms: &[AuthMechanism],
    user: &str,
    password: &Password,
) -> Vec<Box<dyn Mechanism>> {
    let make = |mechanism: &AuthMechanism| -> Box<dyn Mechanism> {
        match mechanism {
            AuthMechanism::Plain => Box::new(Plain::new(user, password)),
            AuthMechanism::AmqPlain => Box::new(AmqPlain::new(user, password.expose())),
            AuthMechanism::External => Box::new(External::new()),
        }
    };
    match mechanisms {
        [] => vec![make(&AuthMechanism::Plain)],
        named => named.iter().map(make).collect(),
    }
}
