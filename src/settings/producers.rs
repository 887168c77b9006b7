use std::time::Duration;

use snowshoe_codec::{Properties, PropertiesError};

#[cfg(feature = "serde")]
use super::human;
use crate::error::SettingsError;
use crate::message::millis;

/// What happens to a publish while the buffer is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(rename_all = "snake_case")
)]
#[non_exhaustive]
pub enum BufferPolicy {
    /// It waits for room. The default of a confirming producer.
    #[default]
    Block,
    /// It fails.
    Error,
    /// The oldest message that is not being written or awaiting its confirm is given up. If there is
    /// none, publishing fails. The default of a fire-and-forget producer.
    DropOldest,
}

/// What each producer of a client begins with: what a call of [`ProducerBuilder`](crate::ProducerBuilder) would
/// say.
///
/// ```
/// use snowshoe::{BufferPolicy, Settings};
///
/// let mut settings = Settings::default();
/// settings.producers.policy = Some(BufferPolicy::Error);
/// settings.producers.capacity = Some(100);
/// ```
#[derive(Clone, Debug, Default, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(default, deny_unknown_fields)
)]
#[non_exhaustive]
pub struct ProducerSettings {
    /// [`ProducerBuilder::policy`](crate::ProducerBuilder::policy) of confirming producers; one that is made
    /// [fire-and-forget](crate::ProducerBuilder::fire_and_forget) begins with [`BufferPolicy::DropOldest`] in any case.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub policy: Option<BufferPolicy>,
    /// [`ProducerBuilder::mandatory`](crate::ProducerBuilder::mandatory).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub mandatory: Option<bool>,
    /// [`ProducerBuilder::capacity`](crate::ProducerBuilder::capacity).
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub capacity: Option<usize>,
    /// [`ProducerBuilder::capacity_bytes`](crate::ProducerBuilder::capacity_bytes).
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::bytes", skip_serializing_if = "Option::is_none")
    )]
    pub capacity_bytes: Option<usize>,
    /// Whether durable queues keep messages on disk; `true` where nothing is said.
    ///
    /// This and the fields that follow are the [properties](crate::ProducerBuilder::properties) of messages, as far as
    /// they have none of their own. A producer that is given properties has those instead.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub persistent: Option<bool>,
    /// The MIME type of bodies.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub content_type: Option<String>,
    /// The application that publishes.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub app_id: Option<String>,
    /// After how long in a queue a message is dropped or dead-lettered, as with
    /// [`Message::expires`](crate::Message::expires). A [delayed producer](crate::Delays::queues) by queues cannot have it.
    #[cfg_attr(
        feature = "serde",
        serde(with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub expires: Option<Duration>,
    /// The priority in queues that have priorities.
    #[cfg_attr(feature = "serde", serde(skip_serializing_if = "Option::is_none"))]
    pub priority: Option<u8>,
}

impl ProducerSettings {
    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let texts = [
            ("producers.content_type", &self.content_type),
            ("producers.app_id", &self.app_id),
        ];
        for (field, text) in texts {
            if text.as_ref().is_some_and(|text| text.len() > 255) {
                let advice = "it is longer than the 255 bytes that AMQP has for it";
                return Err(SettingsError::new(field, advice));
            }
        }
        self.properties()
            .map_err(|error| SettingsError::new("producers", error))?;
        Ok(())
    }

    /// The properties of messages that have none of their own.
    pub(crate) fn properties(&self) -> Result<Properties, PropertiesError> {
        let mut properties = match self.persistent {
            Some(false) => Properties::builder().transient(),
            _ => Properties::builder().persistent(),
        };
        if let Some(content_type) = &self.content_type {
            properties = properties.content_type(content_type);
        }
        if let Some(app_id) = &self.app_id {
            properties = properties.app_id(app_id);
        }
        if let Some(millis) = self.expires.and_then(millis) {
            properties = properties.expiration(millis.to_string());
        }
        if let Some(priority) = self.priority {
            properties = properties.priority(priority);
        }
        properties.build()
    }
}
