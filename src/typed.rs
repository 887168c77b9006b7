//! Messages whose bodies are values: encoded as they are published, and decoded as they are received.
//!
//! With the feature `json`, whatever serde knows is a message:
//!
#![cfg_attr(feature = "json", doc = "```no_run")]
#![cfg_attr(not(feature = "json"), doc = "```ignore")]
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Order {
//!     id: u64,
//!     item: String,
//! }
//!
//! # async fn ship(_: Order) -> Result<(), std::io::Error> { Ok(()) }
//! # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
//! let orders = client.producer("orders")?.build().typed::<Order>();
//! orders.send(&Order { id: 1, item: "bicycle".into() }).await?;
//!
//! let mut orders = client.consumer("orders")?.start().await?.typed::<Order>();
//! orders.process(4, |order, _| async move { ship(order).await }).await;
//! # Ok(()) }
//! ```
//!
//! Any other format is an [`Encode`] and a [`Decode`], which see all of a message and not its body alone. A
//! codec can wrap another, as `Zstd` does, which compresses what another has encoded.
//!
//! # What cannot be decoded
//!
//! Anybody can publish anything to a queue. A body that is of another type, malformed, or too large ends
//! nothing: [`TypedConsumer::next`] gives it as a delivery with the error, which can be settled like any
//! other. [`TypedConsumer::process`], whose handler takes values, discards such a message, so that it is
//! dead-lettered where the queue has somewhere to dead-letter to, unless
//! [`on_undecodable`](TypedConsumer::on_undecodable) decides otherwise;
//! [`Event::Undecodable`](crate::Event::Undecodable) tells of each.

mod consumer;
mod delivery;
#[cfg(feature = "json")]
mod json;
mod producer;
#[cfg(feature = "zstd")]
mod zstd;

use std::sync::Arc;

use snowshoe_codec::PropertiesRef;

pub use self::consumer::TypedConsumer;
pub use self::delivery::TypedDelivery;
#[cfg(feature = "json")]
pub use self::json::Json;
pub use self::producer::TypedProducer;
#[cfg(feature = "zstd")]
pub use self::zstd::Zstd;
pub use crate::error::{DecodeError, EncodeError, TypedPublishError, TypedSendError};
use crate::message::Message;

/// Makes messages of values.
///
/// What it gives is a [`Message`], so that it can say what the body is, and in headers whatever a
/// [decoder](Decode) is to know.
///
/// ```
/// use snowshoe::{Message, PropertiesRef};
/// use snowshoe::typed::{Decode, DecodeError, Encode, EncodeError};
///
/// /// A number as decimal digits.
/// struct Digits;
///
/// impl Encode<u64> for Digits {
///     fn encode(&self, value: &u64) -> Result<Message, EncodeError> {
///         Ok(Message::from(value.to_string()).content_type("text/plain"))
///     }
/// }
///
/// impl Decode<u64> for Digits {
///     fn decode(&self, body: &[u8], _: &PropertiesRef<'_>) -> Result<u64, DecodeError> {
///         let digits = std::str::from_utf8(body).map_err(DecodeError::malformed)?;
///         digits.parse().map_err(DecodeError::malformed)
///     }
/// }
///
/// let message = Digits.encode(&42)?;
/// let properties = message.properties().unwrap().decode()?;
/// assert_eq!(Digits.decode(message.body(), &properties)?, 42);
///
/// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
/// let numbers = client.producer("numbers")?.build().typed_by(Digits);
/// numbers.send(&42).await?;
/// # Ok(()) }
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub trait Encode<T: ?Sized>: Send + Sync {
    /// The value as a message. What it says of itself, its properties and routing key, goes before what the
    /// producer says.
    ///
    /// # Errors
    /// The value has no form in this format.
    fn encode(&self, value: &T) -> Result<Message, EncodeError>;
}

/// Reads values out of messages.
///
/// It is given whatever a publisher wrote, which can be anything.
pub trait Decode<T>: Send + Sync {
    /// The value of a message with this body. A decoder that wraps another gives it the body that it has
    /// unwrapped, and the properties without what it has answered for.
    ///
    /// # Errors
    /// It is not of the type, or not in the format, that is expected. One that panics has failed, too
    /// ([`DecodeError::Panicked`]).
    fn decode(&self, body: &[u8], properties: &PropertiesRef<'_>) -> Result<T, DecodeError>;
}

impl<T: ?Sized, C: Encode<T> + ?Sized> Encode<T> for Arc<C> {
    fn encode(&self, value: &T) -> Result<Message, EncodeError> {
        C::encode(self, value)
    }
}

impl<T, C: Decode<T> + ?Sized> Decode<T> for Arc<C> {
    fn decode(&self, body: &[u8], properties: &PropertiesRef<'_>) -> Result<T, DecodeError> {
        C::decode(self, body, properties)
    }
}
