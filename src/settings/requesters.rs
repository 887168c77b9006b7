use std::time::Duration;

#[cfg(feature = "serde")]
use super::human;

/// What each requester of a client begins with: what a call of [`RequesterBuilder`](crate::RequesterBuilder) would
/// say.
///
/// ```
/// use std::time::Duration;
///
/// let mut settings = snowshoe::Settings::default();
/// settings.requesters.timeout = Some(Duration::from_secs(2));
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct RequesterSettings {
    /// [`RequesterBuilder::timeout`](crate::RequesterBuilder::timeout).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub timeout: Option<Duration>,
    /// [`RequesterBuilder::max_in_flight`](crate::RequesterBuilder::max_in_flight).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub max_in_flight: Option<usize>,
    /// [`RequesterBuilder::confirmed`](crate::RequesterBuilder::confirmed).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub confirmed: Option<bool>,
    /// [`RequesterBuilder::expire_requests`](crate::RequesterBuilder::expire_requests).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub expire_requests: Option<bool>,
}
