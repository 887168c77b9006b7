use std::time::Duration;

use super::RetrySettings;
#[cfg(feature = "serde")]
use super::human;
use crate::error::SettingsError;

/// What each consumer of a client begins with: what a call of [`ConsumerBuilder`](crate::ConsumerBuilder) would
/// say.
///
/// ```
/// use snowshoe::{RetrySettings, Settings};
///
/// let mut settings = Settings::default();
/// settings.consumers.prefetch = Some(20);
/// settings.consumers.retry = Some(RetrySettings::attempts(5));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ConsumerSettings {
    /// [`ConsumerBuilder::prefetch`](crate::ConsumerBuilder::prefetch).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub prefetch: Option<u16>,
    /// [`ConsumerBuilder::concurrency`](crate::ConsumerBuilder::concurrency).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub concurrency: Option<usize>,
    /// [`ConsumerBuilder::capacity`](crate::ConsumerBuilder::capacity).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub capacity: Option<usize>,
    /// [`ConsumerBuilder::capacity_bytes`](crate::ConsumerBuilder::capacity_bytes).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::bytes", skip_serializing_if = "Option::is_none")
    )]
    pub capacity_bytes: Option<usize>,
    /// [`ConsumerBuilder::warn_unsettled_after`](crate::ConsumerBuilder::warn_unsettled_after).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub warn_unsettled_after: Option<Duration>,
    /// [`ConsumerBuilder::retry`](crate::ConsumerBuilder::retry).
    ///
    /// It declares durable queues and exchanges beside the queue of each consumer, which stay. So it is left out for
    /// consumers [without acknowledgements](crate::ConsumerBuilder::no_ack), of queues that the broker names, of
    /// those that the consumer declares to go by themselves (exclusive, auto-delete, with an expiry), and of streams that
    /// this client has declared; a consumer that wants none says `retry(None)`.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub retry: Option<RetrySettings>,
}

impl ConsumerSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        self.retry.as_ref().map_or(Ok(()), RetrySettings::check)
    }
}
