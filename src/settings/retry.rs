use std::time::Duration;

#[cfg(feature = "serde")]
use super::human;
use crate::declare::{Queue, entity_name, queue_name};
use crate::error::SettingsError;
use crate::retry::Retry;

/// A [`Retry`], as settings have it.
///
/// ```
/// use std::time::Duration;
/// use snowshoe::{Queue, Retry, RetrySettings};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// let mut settings = RetrySettings::attempts(5);
/// settings.delay = Some(Duration::from_secs(1));
///
/// // For a queue in which messages are to wait:
/// let orders = Queue::quorum("orders").retry(&settings.to_retry()?);
/// # Ok(()) }
/// ```
#[derive(Clone, Debug, PartialEq)]
#[cfg_attr(
    feature = "serde",
    derive(serde::Deserialize, serde::Serialize),
    serde(deny_unknown_fields)
)]
#[non_exhaustive]
pub struct RetrySettings {
    /// [`Retry::attempts`]. There is no default.
    pub attempts: u32,
    /// The first of [`Retry::delay`]; a second where nothing is said.
    #[cfg_attr(
        feature = "serde",
        serde(default, with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub delay: Option<Duration>,
    /// The longest of [`Retry::delay`]; a minute where nothing is said.
    #[cfg_attr(
        feature = "serde",
        serde(default, with = "human::time", skip_serializing_if = "Option::is_none")
    )]
    pub max_delay: Option<Duration>,
    /// [`Retry::delays`], in the place of the two before.
    #[cfg_attr(
        feature = "serde",
        serde(
            default,
            with = "human::times",
            skip_serializing_if = "Option::is_none"
        )
    )]
    pub delays: Option<Vec<Duration>>,
    /// The name for [`Retry::dead_letter_queue`]: a durable queue, and a quorum queue with [`quorum`](Self::quorum).
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub dead_letter_queue: Option<String>,
    /// [`Retry::dead_letter_exchange`], in the place of the queue.
    #[cfg_attr(
        feature = "serde",
        serde(default, skip_serializing_if = "Option::is_none")
    )]
    pub dead_letter_exchange: Option<String>,
    /// [`Retry::reject_after_last`], in the place of both.
    #[cfg_attr(feature = "serde", serde(default))]
    pub reject_after_last: bool,
    /// [`Retry::quorum`].
    #[cfg_attr(feature = "serde", serde(default))]
    pub quorum: bool,
}

impl RetrySettings {
    /// So many attempts, and otherwise what [`Retry::attempts`] begins with.
    pub fn attempts(attempts: u32) -> Self {
        Self {
            attempts,
            delay: None,
            max_delay: None,
            delays: None,
            dead_letter_queue: None,
            dead_letter_exchange: None,
            reject_after_last: false,
            quorum: false,
        }
    }

    /// The policy: for [`Queue::retry`], for instance, which takes the same as the consumer.
    ///
    /// # Errors
    /// Two fields exclude each other, or a name is none.
    pub fn to_retry(&self) -> Result<Retry, SettingsError> {
        self.check()?;
        let mut retry = Retry::attempts(self.attempts);
        if let Some(delays) = &self.delays {
            retry = retry.delays(delays.iter().copied());
        } else if self.delay.is_some() || self.max_delay.is_some() {
            let first = self.delay.unwrap_or(Duration::from_secs(1));
            retry = retry.delay(first, self.max_delay.unwrap_or(Duration::from_secs(60)));
        }
        if self.quorum {
            retry = retry.quorum();
        }
        if let Some(queue) = &self.dead_letter_queue {
            retry = retry.dead_letter_queue(match self.quorum {
                true => Queue::quorum(queue.as_str()),
                false => Queue::new(queue.as_str()),
            });
        }
        if let Some(exchange) = &self.dead_letter_exchange {
            retry = retry.dead_letter_exchange(exchange.as_str());
        }
        if self.reject_after_last {
            retry = retry.reject_after_last();
        }
        Ok(retry)
    }

    pub(super) fn check(&self) -> Result<(), SettingsError> {
        let fails = |field, advice: &'static str| Err(SettingsError::new(field, advice));
        if self.delays.is_some() && (self.delay.is_some() || self.max_delay.is_some()) {
            let advice = "they are in the place of delay and max_delay: leave out one or the other";
            return fails("consumers.retry.delays", advice);
        }
        let ways = [
            self.dead_letter_queue.is_some(),
            self.dead_letter_exchange.is_some(),
            self.reject_after_last,
        ];
        if ways.into_iter().filter(|&is_said| is_said).count() > 1 {
            let advice = "a message goes one way after the last attempt: say one of dead_letter_queue, \
                          dead_letter_exchange and reject_after_last";
            return fails("consumers.retry", advice);
        }
        if let Some(queue) = &self.dead_letter_queue {
            queue_name(queue.as_str())
                .map_err(|error| SettingsError::new("consumers.retry.dead_letter_queue", error))?;
        }
        if let Some(exchange) = &self.dead_letter_exchange {
            let field = "consumers.retry.dead_letter_exchange";
            entity_name(exchange.as_str()).map_err(|error| SettingsError::new(field, error))?;
        }
        Ok(())
    }
}
