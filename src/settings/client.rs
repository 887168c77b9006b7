use std::time::Duration;

#[cfg(feature = "serde")]
use super::human;
use crate::declare::printable_name;
use crate::error::SettingsError;

/// What a client is told in the place of calls of its [`ClientBuilder`](crate::ClientBuilder).
///
/// ```
/// let mut settings = snowshoe::Settings::default();
/// settings.client.name = Some("orders".to_owned());
/// settings.client.reconnect.max_attempts = Some(100);
/// assert!(settings.check().is_ok());
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ClientSettings {
    /// [`ClientBuilder::name`](crate::ClientBuilder::name).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub name: Option<String>,
    /// [`ClientBuilder::heartbeat`](crate::ClientBuilder::heartbeat).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub heartbeat: Option<Duration>,
    /// [`ClientBuilder::connection_timeout`](crate::ClientBuilder::connection_timeout).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub connection_timeout: Option<Duration>,
    /// [`ClientBuilder::handshake_timeout`](crate::ClientBuilder::handshake_timeout).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub handshake_timeout: Option<Duration>,
    /// [`ClientBuilder::call_timeout`](crate::ClientBuilder::call_timeout).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub call_timeout: Option<Duration>,
    /// [`ClientBuilder::write_timeout`](crate::ClientBuilder::write_timeout).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub write_timeout: Option<Duration>,
    /// [`ClientBuilder::close_timeout`](crate::ClientBuilder::close_timeout).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub close_timeout: Option<Duration>,
    /// [`ClientBuilder::connect_for_publishing`](crate::ClientBuilder::connect_for_publishing).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub connect_for_publishing: Option<bool>,
    /// [`ClientBuilder::single_connection`](crate::ClientBuilder::single_connection).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub single_connection: Option<bool>,
    /// [`ClientBuilder::pipelined_handshake`](crate::ClientBuilder::pipelined_handshake).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub pipelined_handshake: Option<bool>,
    /// [`ClientBuilder::max_message_size`](crate::ClientBuilder::max_message_size), in bytes.
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::bytes", skip_serializing_if = "Option::is_none")
    )]
    pub max_message_size: Option<u32>,
    /// [`ClientBuilder::reconnect`](crate::ClientBuilder::reconnect).
    pub reconnect: ReconnectSettings,
}

/// What is told to [`Reconnect`](crate::Reconnect).
///
/// ```
/// use std::time::Duration;
///
/// let mut settings = snowshoe::Settings::default();
/// settings.client.reconnect.max_delay = Some(Duration::from_secs(5));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ReconnectSettings {
    /// [`Reconnect::initial_delay`](crate::Reconnect::initial_delay).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub initial_delay: Option<Duration>,
    /// [`Reconnect::multiplier`](crate::Reconnect::multiplier); less than 1 is refused.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub multiplier: Option<f64>,
    /// [`Reconnect::max_delay`](crate::Reconnect::max_delay).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub max_delay: Option<Duration>,
    /// [`Reconnect::jitter`](crate::Reconnect::jitter); what is not from 0 to 1 is refused.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub jitter: Option<f64>,
    /// [`Reconnect::max_attempts`](crate::Reconnect::max_attempts).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_attempts: Option<u32>,
    /// [`Reconnect::fail_fast`](crate::Reconnect::fail_fast).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub fail_fast: Option<bool>,
}

impl ClientSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        if let Some(name) = &self.name {
            printable_name(name.as_str())
                .map_err(|error| SettingsError::new("client.name", error))?;
        }
        let ReconnectSettings {
            multiplier, jitter, ..
        } = self.reconnect;
        if multiplier.is_some_and(|it| it.is_nan() || it < 1.0) {
            let advice = "what each delay is multiplied by is a number of at least 1";
            return Err(SettingsError::new("client.reconnect.multiplier", advice));
        }
        if jitter.is_some_and(|part| !(0.0..=1.0).contains(&part)) {
            let advice =
                "it is the part of each delay that is left to chance: give a number from 0 to 1";
            return Err(SettingsError::new("client.reconnect.jitter", advice));
        }
        Ok(())
    }
}
