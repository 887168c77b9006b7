use std::borrow::Cow;

use bytes::Bytes;
use snowshoe_codec::{Properties, ShortString, TooLong};

use crate::name::Name;

/// A message to publish: a body, and what of the producer's settings it overrides.
///
/// A body goes to the broker as it is, without a copy where it is large. Anything that is a body
/// is a message:
///
/// ```
/// use snowshoe::{Message, Properties};
///
/// let plain = Message::from("hello");
///
/// let properties = Properties::builder().content_type("application/json").persistent().build()?;
/// let order = Message::new(br#"{"id": 1}"#.as_slice())
///     .with_properties(properties)
///     .with_routing_key("orders.new")?;
/// assert_eq!(order.body(), br#"{"id": 1}"#.as_slice());
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
///
/// Properties are encoded when they are built, and joined with the producer's when they are sent.
/// Messages that share them and follow each other share that work: build them once and clone them, which
/// is cheap.
#[derive(Clone, PartialEq, Eq)]
pub struct Message {
    pub(crate) body: Bytes,
    pub(crate) properties: Option<Properties>,
    pub(crate) routing_key: Option<ShortString>,
}

impl Message {
    /// A message with this body, and the producer's properties and routing key.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            properties: None,
            routing_key: None,
        }
    }

    /// Says what the message has of its own. What it does not say is the producer's, field by field, and
    /// header by header: with a header of its own it is still persistent, unless it says
    /// [`transient`](crate::PropertiesBuilder::transient) or its producer does.
    ///
    /// What the producer sets can be replaced by a message, but not taken away: set on the producer what
    /// all of its messages are to have. Where either cannot be read, or has a header that must not be
    /// sent, the message goes out with its own, as they are. On a [`Channel`](crate::Channel), which has
    /// no properties, these are all.
    ///
    /// ```
    /// use snowshoe::{Message, Properties};
    ///
    /// let attempt = Properties::builder().header("attempt", 2).build()?;
    /// let message = Message::from("hello").with_properties(attempt);
    /// # Ok::<(), Box<dyn std::error::Error>>(())
    /// ```
    #[must_use]
    pub fn with_properties(mut self, properties: Properties) -> Self {
        self.properties = Some(properties);
        self
    }

    /// Replaces the routing key of the producer, or that which a channel is told.
    ///
    /// # Errors
    /// Routing keys have at most 255 bytes.
    pub fn with_routing_key(mut self, routing_key: impl Name) -> Result<Self, TooLong> {
        self.routing_key = Some(routing_key.into_short_string()?);
        Ok(self)
    }

    /// With a routing key that was one before.
    pub(crate) fn with_known_routing_key(mut self, routing_key: ShortString) -> Self {
        self.routing_key = Some(routing_key);
        self
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.body
    }

    /// The properties that it has of its own, if any.
    pub fn properties(&self) -> Option<&Properties> {
        self.properties.as_ref()
    }

    /// The routing key that replaces the producer's, if any.
    pub fn routing_key(&self) -> Option<&ShortString> {
        self.routing_key.as_ref()
    }

    /// What it counts for in a producer's buffer, in bytes: body, properties and routing key.
    pub fn size(&self) -> usize {
        let properties = self
            .properties
            .as_ref()
            .map_or(0, |properties| properties.as_bytes().len());
        let routing_key = self
            .routing_key
            .as_ref()
            .map_or(0, |key| key.as_bytes().len());
        self.body.len() + properties + routing_key
    }
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Sizes only: a payload has no place in a log, and can be of any length.
        f.debug_struct("Message")
            .field("body_len", &self.body.len())
            .field("routing_key", &self.routing_key)
            .finish_non_exhaustive()
    }
}

impl From<Bytes> for Message {
    fn from(body: Bytes) -> Self {
        Self::new(body)
    }
}

impl From<Vec<u8>> for Message {
    fn from(body: Vec<u8>) -> Self {
        Self::new(body)
    }
}

impl From<String> for Message {
    fn from(body: String) -> Self {
        Self::new(body)
    }
}

/// Copies the body; [`Message::new`] takes `&'static` ones as they are.
impl From<&str> for Message {
    fn from(body: &str) -> Self {
        Self::new(Bytes::copy_from_slice(body.as_bytes()))
    }
}

/// Copies the body.
impl From<&String> for Message {
    fn from(body: &String) -> Self {
        body.as_str().into()
    }
}

/// Copies the body where it is borrowed.
impl From<Cow<'_, str>> for Message {
    fn from(body: Cow<'_, str>) -> Self {
        Self::new(body.into_owned())
    }
}

impl From<Box<[u8]>> for Message {
    fn from(body: Box<[u8]>) -> Self {
        Self::new(body)
    }
}

/// Copies the body.
impl From<&Vec<u8>> for Message {
    fn from(body: &Vec<u8>) -> Self {
        body.as_slice().into()
    }
}

/// Copies the body.
impl<const LEN: usize> From<[u8; LEN]> for Message {
    fn from(body: [u8; LEN]) -> Self {
        body.as_slice().into()
    }
}

/// Copies the body; [`Message::new`] takes `&'static` ones as they are.
impl<const LEN: usize> From<&[u8; LEN]> for Message {
    fn from(body: &[u8; LEN]) -> Self {
        body.as_slice().into()
    }
}

/// Copies the body; [`Message::new`] takes `&'static` ones as they are.
impl From<&[u8]> for Message {
    fn from(body: &[u8]) -> Self {
        Self::new(Bytes::copy_from_slice(body))
    }
}
