//! What can be wrong with values that are published and received as such.

use std::error::Error as StdError;
use std::sync::Arc;

use snowshoe_codec::{PropertiesError, ShortString};

use super::{Error, PublishError, SendMessageError};
use crate::outcome::Unconfirmed;

/// A value that could not be made a message.
#[derive(Clone, Debug, thiserror::Error)]
#[error("the value cannot be encoded: {0}")]
pub struct EncodeError(#[source] Arc<dyn StdError + Send + Sync>);

impl EncodeError {
    /// What an [encoder](crate::typed::Encode) says. Text is a reason, too.
    ///
    /// ```
    /// use snowshoe::typed::EncodeError;
    ///
    /// let error = EncodeError::new("an order has a customer");
    /// assert_eq!(error.to_string(), "the value cannot be encoded: an order has a customer");
    /// ```
    pub fn new(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self(reason.into().into())
    }
}

/// The body of a message that is not what was expected. The message itself is there, and can be settled.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DecodeError {
    /// Its properties are malformed, so what it is was not to be read.
    #[error("the properties of the message cannot be read: {0}")]
    Properties(#[from] PropertiesError),
    /// It is of another type than was expected.
    #[error("the message is {found:?}, and {expected} was expected")]
    ContentType {
        /// What it says that it is.
        found: ShortString,
        /// What the decoder takes.
        expected: &'static str,
    },
    /// It is encoded in a way that the decoder does not know.
    #[error("the message is encoded by {0:?}, which is not known here")]
    ContentEncoding(ShortString),
    /// The body is not what it says that it is, or not of this type.
    #[error("the body of the message cannot be decoded: {0}")]
    Malformed(#[source] Arc<dyn StdError + Send + Sync>),
    /// Decoded, it would be larger than is accepted.
    #[error("decoded, the body of the message has more than {limit} bytes, and that is the limit")]
    TooLarge {
        /// How many bytes are accepted.
        limit: usize,
    },
    /// The decoder panicked over it.
    #[error("the decoder panicked: {0}")]
    Panicked(String),
}

impl DecodeError {
    /// [`Malformed`](Self::Malformed), for this reason. Text is one, too.
    ///
    /// ```
    /// use snowshoe::typed::DecodeError;
    ///
    /// let error = "x".parse::<u32>().map_err(DecodeError::malformed).unwrap_err();
    /// assert!(matches!(error, DecodeError::Malformed(_)));
    /// ```
    pub fn malformed(reason: impl Into<Box<dyn StdError + Send + Sync>>) -> Self {
        Self::Malformed(reason.into().into())
    }
}

/// Why a value was not accepted for publishing.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypedPublishError {
    /// It cannot be made a message.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The message was not accepted. It is handed back.
    #[error(transparent)]
    NotAccepted(#[from] PublishError),
}

impl From<TypedPublishError> for Error {
    fn from(error: TypedPublishError) -> Self {
        match error {
            TypedPublishError::Encode(error) => error.into(),
            TypedPublishError::NotAccepted(error) => error.into(),
        }
    }
}

/// Why a value that was to be published and confirmed was not.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TypedSendError {
    /// It cannot be made a message.
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The message was not even accepted. It is handed back.
    #[error(transparent)]
    NotAccepted(#[from] PublishError),
    /// It was accepted, but the broker did not acknowledge it.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
}

impl From<SendMessageError> for TypedSendError {
    fn from(error: SendMessageError) -> Self {
        match error {
            SendMessageError::NotAccepted(error) => error.into(),
            SendMessageError::Unconfirmed(error) => error.into(),
        }
    }
}

impl From<TypedSendError> for Error {
    fn from(error: TypedSendError) -> Self {
        match error {
            TypedSendError::Encode(error) => error.into(),
            TypedSendError::NotAccepted(error) => error.into(),
            TypedSendError::Unconfirmed(error) => error.into(),
        }
    }
}
