use std::fmt;
use std::future::{Future, ready};
use std::sync::Arc;
use std::time::Duration;

use snowshoe_codec::{ConnectionLimits, ShortString, TableError, ToField, client_properties};

use super::login::{AuthMechanism, log_in_by};
use super::{Client, Reconnect};
use crate::connector::{Connector, DefaultConnector};
use crate::credentials::{Credentials, CredentialsError};
use crate::declare::printable_name;
use crate::driver::{Config, Driver, Provided};
use crate::error::{ConnectionError, ConnectionErrorReason, Error};
use crate::name::Name;
use crate::runtime::{self, Runtime};
use crate::settings::Settings;
use crate::shared::handle::Shared;
use crate::shared::place::LinkIndex;
use crate::uri::AmqpUri;

/// Configures a [`Client`].
#[must_use = "a builder does nothing until it is built"]
pub struct ClientBuilder {
    config: Config,
    /// Where the driver runs, if that was chosen.
    runtime: Option<Arc<dyn Runtime>>,
    /// What producers, consumers and requesters begin with.
    settings: Box<Settings>,
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
        let reconnect = Reconnect::default();
        let config = Config {
            name: None,
            tls: uri.tls,
            virtual_host: ShortString::try_from(uri.vhost)?,
            connection_timeout: or_none(
                (uri.options.connection_timeout).unwrap_or(CONNECTION_TIMEOUT),
            ),
            endpoints: uri.endpoints,
            credentials: Arc::new(move || {
                at_hand(Ok(log_in_by(&mechanisms, &user, &password).into()))
            }),
            properties: client_properties(),
            limits,
            connector: Arc::new(DefaultConnector::new(uri.options.tls)),
            write_timeout: Duration::from_secs(60),
            close_timeout: Duration::from_secs(10),
            publishing_at_once: false,
            single_connection: false,
            pipelines_handshake: true,
            backoff: reconnect.backoff(),
            fail_fast: reconnect.fails_fast(),
            seed: fastrand::u64(..),
            is_seeded: false,
        };
        Ok(Self {
            config,
            runtime: None,
            settings: Box::default(),
        })
    }

    /// What the client begins with, and all its producers, consumers and requesters, in one place, which can be
    /// [read from a file](Settings).
    ///
    /// For the client it is as if its methods were called here: it goes before what the URI says, and what is called
    /// after it goes before it.
    ///
    /// ```no_run
    /// use snowshoe::{Client, Settings};
    ///
    /// # async fn run() -> Result<(), snowshoe::Error> {
    /// let mut settings = Settings::default();
    /// settings.consumers.prefetch = Some(20);
    /// let client = Client::builder("amqp://localhost")?.settings(settings)?.connect().await?;
    ///
    /// let orders = client.consumer("orders")?.start().await?; // with a prefetch of 20
    /// let prices = client.consumer("prices")?.prefetch(1).start().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// [`Error::Settings`]: a field has a value that cannot be used.
    pub fn settings(mut self, settings: Settings) -> Result<Self, Error> {
        settings.check()?;
        let client = &settings.client;
        if let Some(name) = &client.name {
            self = self.name(name.as_str())?;
        }
        let limits = &mut self.config.limits;
        set(&mut limits.heartbeat, client.heartbeat);
        set(&mut limits.max_message_size, client.max_message_size);
        set(&mut self.config.close_timeout, client.close_timeout);
        let config = &mut self.config;
        set(
            &mut config.publishing_at_once,
            client.connect_for_publishing,
        );
        set(&mut config.single_connection, client.single_connection);
        set(&mut config.pipelines_handshake, client.pipelined_handshake);
        if let Some(timeout) = client.connection_timeout {
            self = self.connection_timeout(timeout);
        }
        if let Some(timeout) = client.handshake_timeout {
            self = self.handshake_timeout(timeout);
        }
        if let Some(timeout) = client.call_timeout {
            self = self.call_timeout(timeout);
        }
        if let Some(timeout) = client.write_timeout {
            self = self.write_timeout(timeout);
        }
        let reconnect = &client.reconnect;
        let backoff = &mut self.config.backoff;
        set(&mut backoff.initial, reconnect.initial_delay);
        set(&mut backoff.multiplier, reconnect.multiplier);
        set(&mut backoff.max, reconnect.max_delay);
        set(&mut backoff.jitter, reconnect.jitter);
        set(&mut backoff.max_attempts, reconnect.max_attempts.map(Some));
        set(&mut self.config.fail_fast, reconnect.fail_fast);
        *self.settings = settings;
        Ok(self)
    }

    /// How to come back after a cut.
    pub fn reconnect(mut self, reconnect: Reconnect) -> Self {
        self.config.backoff = reconnect.backoff();
        self.config.fail_fast = reconnect.fails_fast();
        self
    }

    /// Names the client, after the service that it is a part of, for instance.
    ///
    /// The broker's list of connections shows the name (the client property `connection_name`, in RabbitMQ's
    /// management page and in `rabbitmqctl list_connections client_properties`), with what a connection is
    /// for, unless that is the main one: `orders` and `orders (publishing)`. Lines in the log about a connection begin with it,
    /// and so do the texts of [`ConnectionError`] and [`ClientState`](crate::ClientState). It is no
    /// secret, and need not be unique.
    ///
    /// ```no_run
    /// # async fn run() -> Result<(), snowshoe::Error> {
    /// let client = snowshoe::Client::builder("amqp://localhost")?.name("orders")?.connect().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// It is longer than 255 bytes, or is no [printable text](Error::UnfitName).
    pub fn name(mut self, name: impl Name) -> Result<Self, Error> {
        let name = printable_name(name)?;
        self.config.name = Some(name.to_string_lossy().into());
        Ok(self)
    }

    /// Tells the broker something of the client, in the place of what it is told under this name.
    ///
    /// # Errors
    /// The name is too long, or the value cannot be encoded.
    pub fn property(mut self, name: &str, value: impl ToField) -> Result<Self, TableError> {
        self.config.properties.set(name, value)?;
        Ok(self)
    }

    /// Where the credentials come from, instead of the URI: a closure that has them at hand. It is asked at
    /// every attempt to connect, so that a rotated password is picked up. An error or a panic, of the
    /// mechanisms, too, counts as a failed attempt; its text must not hold a secret.
    ///
    /// It is called on the driver, and is to be quick; what has to be fetched is for a
    /// [`credentials_provider`](Self::credentials_provider).
    ///
    /// ```no_run
    /// use snowshoe::{Client, Credentials};
    ///
    /// # async fn run() -> Result<(), snowshoe::Error> {
    /// let client = Client::builder("amqp://localhost")?
    ///     .credentials(|| {
    ///         let password = std::fs::read_to_string("/run/secrets/broker")?;
    ///         Ok(Credentials::plain("orders", password.trim_end()))
    ///     })
    ///     .connect()
    ///     .await?;
    /// # Ok(()) }
    /// ```
    pub fn credentials<F, C>(mut self, provider: F) -> Self
    where
        F: Fn() -> Result<C, CredentialsError> + Send + Sync + 'static,
        C: Into<Credentials>,
    {
        self.config.credentials = Arc::new(move || at_hand(provider().map(Into::into)));
        self
    }

    /// Where credentials are fetched that are good for a time only, such as tokens of OAuth 2.
    ///
    /// The provider is asked at every attempt to connect, once the broker is reached. Where the
    /// [`Credentials`] that it gives say [how long](Credentials::valid_for) they are good, it is asked again
    /// in time, after 80 % of that and 30 s before its end at least (but not in the first half of it, and not
    /// within a second), and all open connections of the client are told the new secret without
    /// being interrupted ([`Event::SecretUpdated`](crate::Event::SecretUpdated)). What cannot be renewed is
    /// tried again, after 0.5 s at first and up to 30 s later, and told by
    /// [`Event::RenewalFailed`](crate::Event::RenewalFailed).
    ///
    /// Its future is polled by the driver, which stands still in a call that blocks; it is dropped if it gives
    /// nothing within 8 s, since RabbitMQ gives a connection 10 s to log in, or within what is left of
    /// the [time to connect](Self::connection_timeout). That, an error, a panic, and
    /// credentials whose time is over fail the attempt to connect
    /// ([`ConnectionErrorReason::Credentials`]); their text must not hold a secret.
    ///
    /// ```no_run
    /// use std::time::Duration;
    /// use snowshoe::{Client, Credentials, CredentialsError};
    ///
    /// # struct Token { access_token: String, expires_in: u64 }
    /// # async fn ask_the_identity_provider() -> Result<Token, CredentialsError> {
    /// #     Err("there is none here".into())
    /// # }
    /// async fn token() -> Result<Credentials, CredentialsError> {
    ///     let token = ask_the_identity_provider().await?;
    ///     Ok(Credentials::token(token.access_token).valid_for(Duration::from_secs(token.expires_in)))
    /// }
    ///
    /// # async fn run() -> Result<(), snowshoe::Error> {
    /// let client = Client::builder("amqps://broker")?.credentials_provider(token).connect().await?;
    /// # Ok(()) }
    /// ```
    pub fn credentials_provider<F, P>(mut self, provider: F) -> Self
    where
        F: Fn() -> P + Send + Sync + 'static,
        P: Future<Output = Result<Credentials, CredentialsError>> + Send + 'static,
    {
        self.config.credentials = Arc::new(move || Box::pin(provider()));
        self
    }

    /// How transports are made; TCP by default, and TLS where the URI asks for it (feature `tls`). What
    /// the URI's query says about TLS is then left to the connector, see [`AmqpUri`] and
    /// `TlsConnector::with_options`.
    pub fn connector(mut self, connector: impl Connector) -> Self {
        self.config.connector = Arc::new(connector);
        self
    }

    /// Where the driver runs: whose time, timers and sockets it uses. What it is unless this says so,
    /// tells the [module](crate::runtime).
    ///
    /// ```no_run
    /// # use snowshoe::Client;
    /// # async fn run() -> Result<(), snowshoe::Error> {
    /// use snowshoe::runtime::Tokio;
    ///
    /// let client = Client::builder("amqp://localhost")?.runtime(Tokio).connect().await?;
    /// # Ok(()) }
    /// ```
    pub fn runtime(mut self, runtime: impl Runtime) -> Self {
        self.runtime = Some(Arc::new(runtime));
        self
    }

    /// The interval of heartbeats, which a broker can only shorten; 10 s by default. A peer that is
    /// silent for two intervals is given up. Zero turns them off: that a peer has gone may then be
    /// noticed very late. It counts in whole seconds, and a fraction is one.
    pub fn heartbeat(mut self, interval: Duration) -> Self {
        self.config.limits.heartbeat = interval;
        self
    }

    /// How long an attempt to connect the transport may take; 30 s by default, and zero is no limit.
    pub fn connection_timeout(mut self, timeout: Duration) -> Self {
        self.config.connection_timeout = or_none(timeout);
        self
    }

    /// How long the AMQP handshake may take; 30 s by default, and zero is no limit.
    pub fn handshake_timeout(mut self, timeout: Duration) -> Self {
        self.config.limits.handshake_timeout = or_none(timeout);
        self
    }

    /// How long the broker may take to answer a call; 20 s by default, and zero is no limit. While it blocks
    /// the connection ([`Event::Blocked`](crate::Event::Blocked)) it answers nothing, and that time does not
    /// count.
    ///
    /// It is 100 ms at least: a channel on which nothing is ever answered in time carries nothing, but
    /// what was published on it goes out again on the next.
    pub fn call_timeout(mut self, timeout: Duration) -> Self {
        self.config.limits.call_timeout = or_none(timeout).max(LEAST_CALL_TIMEOUT);
        self
    }

    /// How long a peer may take no bytes at all, unless it said that it is blocked; 60 s by
    /// default, and zero is no limit.
    pub fn write_timeout(mut self, timeout: Duration) -> Self {
        self.config.write_timeout = or_none(timeout);
        self
    }

    /// How long [`Client::close`] waits for what is under way; 10 s by default. Zero waits for nothing.
    pub fn close_timeout(mut self, timeout: Duration) -> Self {
        self.config.close_timeout = timeout;
        self
    }

    /// Whether the connection for publishing is made together with the client, and not for its first producer
    /// only; off by default.
    ///
    /// Then the first message goes as soon as it is published: at a distance that spares the four round trips
    /// of another connection. A client that publishes nothing has a connection more for it, and one with a
    /// [single connection](Self::single_connection) takes no notice.
    /// [`connect`](Self::connect) and [`Client::ready`] do not wait for it.
    pub fn connect_for_publishing(mut self, at_once: bool) -> Self {
        self.config.publishing_at_once = at_once;
        self
    }

    /// Whether the client publishes on the connection on which it consumes, declares and calls, instead of one
    /// of its own; off by default.
    ///
    /// That is a connection less at the broker, and where each message waits for the one before it, a wait and a
    /// read less for each: a service that answers one request at a time is faster by it. Its price is paid while
    /// the broker is short of memory or disk ([`Event::Blocked`](crate::Event::Blocked)): RabbitMQ reads nothing
    /// from a connection that publishes then, so that acknowledgements arrive only after it, consumers get no
    /// more than their prefetch, and calls end with [`Error::Timeout`](crate::Error::Timeout). The work that would
    /// empty the queues can come to a stop with them. It also sets the acknowledgements of a consumer behind the
    /// messages that are being written. And a message for which the broker closes the connection
    /// takes the consumers' with it, and what they had in hand is delivered again.
    pub fn single_connection(mut self, single: bool) -> Self {
        self.config.single_connection = single;
        self
    }

    /// Whether the handshake with a broker that is known goes in one flight; on by default.
    ///
    /// A broker is known once a connection of this client was open there: where one is made again, and where
    /// a second one follows the first, all of the handshake is said before the broker has said anything, and
    /// what is declared again with it. That takes two round trips, TCP's among them, instead of four. The login
    /// goes ahead only to the address at which the same host of the URI has taken one from this client, which
    /// the [connector](crate::Connector) has to tell by [`Target::progress`](crate::Target::progress), as those
    /// of this crate do. Where the broker is another by now, or ends the connection before it is open, the
    /// attempt is begun again step by step, at once, and nothing is told of the first one; a login that is
    /// refused is told at once. An address at which that has happened three times in a row gets ten minutes
    /// of handshakes step by step. A broker that says nothing at all has 10 s, or a third of the
    /// [time for a handshake](Self::handshake_timeout) if that is less.
    ///
    /// The specification has a client wait for each answer; RabbitMQ 3.10 to 4.3 and LavinMQ 2.9 do not insist
    /// on it.
    pub fn pipelined_handshake(mut self, pipelined: bool) -> Self {
        self.config.pipelines_handshake = pipelined;
        self
    }

    /// The longest body that is accepted from the broker, in bytes; 128 MiB by default. 0 means 2 GiB,
    /// which is the most.
    ///
    /// A longer one costs its own message, and nothing else: it is skipped as it comes, and never in
    /// memory. What becomes of the message is up to its consumer
    /// ([`on_oversized`](crate::ConsumerBuilder::on_oversized)); on a [`Channel`](crate::Channel) it is
    /// [`ChannelEvent::Oversized`](crate::ChannelEvent::Oversized) or
    /// [`Error::Oversized`](crate::Error::Oversized).
    pub fn max_message_size(mut self, bytes: u32) -> Self {
        self.config.limits.max_message_size = bytes;
        self
    }

    /// Fixes the randomness of delays, names, the order of hosts and addresses, and the correlation ids of
    /// requests, for tests: whoever knows the seed can make up an answer.
    pub fn seed(mut self, seed: u64) -> Self {
        (self.config.seed, self.config.is_seeded) = (seed, true);
        self
    }

    /// The client, and its driver to spawn on an executor of your choice.
    pub fn build(mut self) -> (Client, Driver) {
        let runtime = self.runtime.take();
        self.build_on(runtime.unwrap_or_else(runtime::default_for_build))
    }

    /// The client, once it has connected. Its driver is started by its [runtime](Self::runtime): on a
    /// thread of its own, unless that is another, or no feature but `tokio` is on.
    ///
    /// # Errors
    /// The driver could not be started, or why it did not connect.
    ///
    /// # Cancel safety
    /// Dropping the future ends the client.
    pub async fn connect(mut self) -> Result<Client, Error> {
        let name = self.config.name.clone();
        let not_started = |error| {
            let reason = ConnectionErrorReason::Dial(Arc::new(error));
            ConnectionError::new(reason, None).of_client(name.as_ref())
        };
        let runtime = match self.runtime.take() {
            Some(runtime) => runtime,
            None => runtime::default_for_connect().map_err(not_started)?,
        };
        let (client, driver) = self.build_on(Arc::clone(&runtime));
        runtime.spawn(Box::pin(driver)).map_err(not_started)?;
        client.ready().await?;
        Ok(client)
    }

    fn build_on(mut self, runtime: Arc<dyn Runtime>) -> (Client, Driver) {
        self.describe();
        self.warn_of_clear_text();
        let publishes_on = match self.config.single_connection {
            true => LinkIndex::MAIN,
            false => LinkIndex::PUBLISHING,
        };
        let mut shared = Shared::new(self.config.seed, publishes_on, self.settings);
        shared.is_seeded = self.config.is_seeded;
        let shared = Arc::new(shared);
        let (name, clock) = (self.config.name.clone(), Arc::clone(&runtime));
        let driver = Driver::new(self.config, runtime, Arc::clone(&shared));
        (Client::over(shared, name, clock), driver)
    }

    /// A password over a network in clear text is worth a word, once.
    fn warn_of_clear_text(&self) {
        let is_local = |host: &str| {
            let address: Option<std::net::IpAddr> = host.parse().ok();
            host == "localhost" || address.is_some_and(|address| address.is_loopback())
        };
        let Config {
            name,
            tls,
            endpoints,
            ..
        } = &self.config;
        if !tls && let Some(remote) = endpoints.iter().find(|endpoint| !is_local(&endpoint.host)) {
            let client = name.as_ref().map(|name| format!("{name}: "));
            log::warn!(
                "{}the login to {} and all messages go in clear text: use amqps",
                client.unwrap_or_default(),
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
        let properties = &mut self.config.properties;
        for (key, value) in described {
            if properties.get(key).is_ok_and(|known| known.is_none())
                && let Err(error) = properties.insert(key, value)
            {
                log::warn!("the client property {key} is left out: {error}");
            }
        }
    }
}

/// Sets what is said.
fn set<T>(value: &mut T, said: Option<T>) {
    if let Some(said) = said {
        *value = said;
    }
}

/// What a provider gives without a wait.
fn at_hand(credentials: Result<Credentials, CredentialsError>) -> Provided {
    Box::pin(ready(credentials))
}

/// What a broker nearby needs, with room to spare.
const LEAST_CALL_TIMEOUT: Duration = Duration::from_millis(100);

/// A timeout, of which zero is none: whoever waits no time at all never gets anything.
fn or_none(timeout: Duration) -> Duration {
    if timeout.is_zero() {
        Duration::MAX
    } else {
        timeout
    }
}

const CONNECTION_TIMEOUT: Duration = Duration::from_secs(30);
