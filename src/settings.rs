//! What a client, and all that it makes, begins with.

mod client;
mod consumers;
#[cfg(feature = "serde")]
mod human;
mod producers;
mod requesters;
mod retry;
#[cfg(test)]
mod tests;

pub use self::client::{ClientSettings, ReconnectSettings};
pub use self::consumers::ConsumerSettings;
pub use self::producers::{BufferPolicy, ProducerSettings};
pub use self::requesters::RequesterSettings;
pub use self::retry::RetrySettings;
use crate::error::SettingsError;

/// What a client, its producers, its consumers and its requesters begin with, in one place.
///
/// [`ClientBuilder::settings`](crate::ClientBuilder::settings) takes it, and builders of the client begin with it: what
/// a builder is told goes before. `None` is what it is without settings; each builder's documentation says what that is,
/// and what its values mean.
///
/// ```
/// use std::time::Duration;
/// use snowshoe::{BufferPolicy, Client, Settings};
///
/// # fn main() -> Result<(), snowshoe::Error> {
/// let mut settings = Settings::default();
/// settings.client.call_timeout = Some(Duration::from_secs(5));
/// settings.producers.policy = Some(BufferPolicy::Error);
/// settings.consumers.prefetch = Some(20);
/// let builder = Client::builder("amqp://localhost")?.settings(settings)?;
/// # Ok(()) }
/// ```
///
/// # From files and the environment
///
/// With the feature `serde` it is read by whatever serde reads: TOML, JSON, YAML, or the environment by crates such as
/// `config` and `figment`. Each part can be left out. This TOML has all that there is:
///
/// ```toml
/// [client]
/// name = "orders"
/// heartbeat = "10s"
/// connection_timeout = "30s"
/// handshake_timeout = "30s"
/// call_timeout = "20s"
/// write_timeout = "1min"
/// close_timeout = "10s"
/// connect_for_publishing = false
/// single_connection = false
/// pipelined_handshake = true
/// max_message_size = "128 MiB"
///
/// [client.reconnect]
/// initial_delay = "100ms"
/// multiplier = 2.0
/// max_delay = "30s"
/// jitter = 0.5
/// max_attempts = 1000      # without it, there is no limit
/// fail_fast = true
///
/// [producers]
/// policy = "block"         # or "error", or "drop_oldest"
/// mandatory = true
/// capacity = 10000
/// capacity_bytes = "64 MiB"
/// persistent = true
/// content_type = "application/json"
/// app_id = "shop"
/// expires = "1h 30min"
/// priority = 3
///
/// [consumers]
/// prefetch = 100
/// concurrency = 16
/// capacity = 10000
/// capacity_bytes = "16 MiB"
/// warn_unsettled_after = "25min"
///
/// [consumers.retry]
/// attempts = 5
/// delay = "1s"
/// max_delay = "1min"
/// # delays = ["1s", "30s"] # in the place of the two above
/// quorum = true
/// dead_letter_queue = "orders.failed" # or dead_letter_exchange, or reject_after_last = true
///
/// [requesters]
/// timeout = "30s"
/// max_in_flight = 1000
/// confirmed = false
/// expire_requests = true
/// ```
///
/// A time is a text with its unit, such as `500ms`, `2s` or `1h 30min`; a number without one is refused, since it could be
/// seconds or milliseconds, but for `0`. A size is a number of bytes, or a text such as `64 MiB` (1024²) or `64 MB`
/// (1000²). A field that there is not is refused, by its name.
///
/// ```
/// # #[cfg(feature = "serde")]
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use snowshoe::{Client, Settings};
///
/// /// The settings of a service, with those of its broker.
/// #[derive(serde::Deserialize)]
/// struct Config {
///     broker: String,
///     #[serde(default)]
///     amqp: Settings,
/// }
///
/// let file = r#"
///     broker = "amqp://localhost"
///
///     [amqp.client]
///     name = "orders"
///     close_timeout = "20s"
///
///     [amqp.consumers]
///     prefetch = 20
///     capacity_bytes = "4 MiB"
/// "#;
/// let config: Config = toml::from_str(file)?;
/// let builder = Client::builder(&config.broker)?.settings(config.amqp)?;
///
/// let error = toml::from_str::<Settings>("[consumers]\nprefech = 20").unwrap_err();
/// assert!(error.to_string().contains("unknown field `prefech`, expected one of `prefetch`, "));
/// # Ok(()) }
/// # #[cfg(not(feature = "serde"))]
/// # fn main() {}
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct Settings {
    /// The client itself.
    pub client: ClientSettings,
    /// All its producers.
    pub producers: ProducerSettings,
    /// All its consumers.
    pub consumers: ConsumerSettings,
    /// All its requesters.
    pub requesters: RequesterSettings,
}

impl Settings {
    /// Whether a client can be built with them.
    ///
    /// # Errors
    /// The first field that has a value which cannot be used, and what to do about it.
    pub fn check(&self) -> Result<(), SettingsError> {
        self.client.check()?;
        self.producers.check()?;
        self.consumers.check()
    }
}
