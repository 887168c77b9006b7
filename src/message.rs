mod properties;

use std::borrow::Cow;
use std::time::Duration;

use bytes::Bytes;
use snowshoe_codec::{Properties, PropertiesError, ShortString, TooLong};

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
/// let order = Message::new(r#"{"id": 1}"#)
///     .content_type("application/json")
///     .header("attempt", 2)
///     .with_routing_key("orders.new")?;
/// assert_eq!(order.body(), r#"{"id": 1}"#);
///
/// let shared = Properties::builder().content_type("application/json").build()?;
/// let orders = [1, 2].map(|id| Message::from(format!(r#"{{"id": {id}}}"#)).with_properties(shared.clone()));
/// # _ = orders;
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
    /// The first property that could not be set; with one it is not published.
    pub(crate) fault: Option<Box<PropertiesError>>,
}

impl Message {
    /// A message with this body, and the producer's properties and routing key.
    pub fn new(body: impl Into<Bytes>) -> Self {
        Self {
            body: body.into(),
            properties: None,
            routing_key: None,
            fault: None,
        }
    }

    /// Says what the message has of its own, in the place of what it had. What it does not say is the producer's, field by field, and
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

    /// Replaces the body.
    #[must_use]
    pub fn with_body(mut self, body: impl Into<Bytes>) -> Self {
        self.body = body.into();
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

/// Whole milliseconds, rounded up, as far as brokers count them: RabbitMQ refuses more than 32 bits.
pub(crate) fn millis(duration: Duration) -> Option<u32> {
    duration.as_nanos().div_ceil(1_000_000).try_into().ok()
}

impl std::fmt::Debug for Message {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        // Sizes only: a payload has no place in a log, and can be of any length.
        f.debug_struct("Message")
            .field("body_len", &self.body.len())
            .field("routing_key", &self.routing_key)
            .field("fault", &self.fault)
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
