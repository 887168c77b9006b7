//! What a message says of itself, one property at a time.

use std::time::Duration;

use snowshoe_codec::{FieldTable, Properties, PropertiesBuilder, PropertiesError, ToField};

use super::{Message, millis};

/// One property at a time, beside those that it has. What it does not say is the producer's, as with
/// [`with_properties`](Self::with_properties).
///
/// What cannot be sent is told when the message is published
/// ([`PublishErrorReason::Unsendable`](crate::PublishErrorReason::Unsendable)), or by [`check`](Self::check).
///
/// ```
/// use std::time::Duration;
/// use snowshoe::Message;
///
/// let order = Message::new("one bicycle")
///     .content_type("text/plain")
///     .header("attempt", 2)
///     .expires(Duration::from_secs(60));
/// assert!(order.check().is_ok());
///
/// assert!(Message::new("").message_id("x".repeat(256)).check().is_err());
/// ```
///
/// Each brings the properties into the form of the wire anew. Where many messages have the same, build them
/// [once](Properties::builder), and give them to each.
impl Message {
    /// The MIME type of the body.
    #[must_use]
    pub fn content_type(self, value: impl AsRef<[u8]>) -> Self {
        self.edit(|it| it.content_type(value))
    }

    /// The MIME encoding of the body, such as `gzip`. It says how the body is encoded, and encodes nothing.
    #[must_use]
    pub fn content_encoding(self, value: impl AsRef<[u8]>) -> Self {
        self.edit(|it| it.content_encoding(value))
    }

    /// A header, in the place of the one that there is under this name.
    #[must_use]
    pub fn header(self, name: impl AsRef<[u8]>, value: impl ToField) -> Self {
        self.edit(|it| it.header(name, value))
    }

    /// All headers, in the place of those that it has of its own.
    #[must_use]
    pub fn headers(self, headers: FieldTable) -> Self {
        self.edit(|it| it.headers(headers))
    }

    /// Has durable queues keep the message on disk, as producers say by default.
    #[must_use]
    pub fn persistent(self) -> Self {
        self.edit(PropertiesBuilder::persistent)
    }

    /// Has queues keep the message in memory only, where they can.
    #[must_use]
    pub fn transient(self) -> Self {
        self.edit(PropertiesBuilder::transient)
    }

    /// The priority in a queue that has priorities.
    #[must_use]
    pub fn priority(self, priority: u8) -> Self {
        self.edit(|it| it.priority(priority))
    }

    /// Which request this is the reply to.
    #[must_use]
    pub fn correlation_id(self, value: impl AsRef<[u8]>) -> Self {
        self.edit(|it| it.correlation_id(value))
    }

    /// The queue that the reply is to go to.
    #[must_use]
    pub fn reply_to(self, value: impl AsRef<[u8]>) -> Self {
        self.edit(|it| it.reply_to(value))
    }

    /// After how long in a queue the message is dropped, or dead-lettered where the queue says so
    /// (`expiration`). Zero is at once, unless a consumer waits for it.
    ///
    /// The time begins at the broker; how long the message waits in the client does not count. Parts of a
    /// millisecond count as one. More than brokers can measure, about 49 days, is for ever: then the message
    /// says nothing of its own.
    #[must_use]
    pub fn expires(self, after: Duration) -> Self {
        match millis(after) {
            Some(millis) => self.edit(|it| it.expiration(millis.to_string())),
            None => self.never_expires(),
        }
    }

    /// The application's name for the message.
    #[must_use]
    pub fn message_id(self, value: impl AsRef<[u8]>) -> Self {
        self.edit(|it| it.message_id(value))
    }

    /// When it was made, in seconds since 1970.
    #[must_use]
    pub fn timestamp(self, seconds: u64) -> Self {
        self.edit(|it| it.timestamp(seconds))
    }

    /// The application's type of the message (`type` on the wire).
    #[must_use]
    pub fn kind(self, value: impl AsRef<[u8]>) -> Self {
        self.edit(|it| it.kind(value))
    }

    /// The user that publishes it. RabbitMQ refuses any but the connection's own.
    #[must_use]
    pub fn user_id(self, value: impl AsRef<[u8]>) -> Self {
        self.edit(|it| it.user_id(value))
    }

    /// The application that publishes it.
    #[must_use]
    pub fn app_id(self, value: impl AsRef<[u8]>) -> Self {
        self.edit(|it| it.app_id(value))
    }

    /// Whether the message can be published with what was set.
    ///
    /// # Errors
    /// The first property that cannot be sent.
    pub fn check(&self) -> Result<(), PropertiesError> {
        self.fault.as_deref().map_or(Ok(()), |fault| Err(*fault))
    }

    fn never_expires(self) -> Self {
        if self.properties.is_none() {
            return self;
        }
        self.replace(|own| {
            let mut properties = own.decode()?;
            properties.expiration = None;
            properties.encode()
        })
    }

    fn edit(self, set: impl FnOnce(PropertiesBuilder) -> PropertiesBuilder) -> Self {
        self.replace(|own| set(own.decode()?.into()).build())
    }

    fn replace(
        mut self,
        with: impl FnOnce(&Properties) -> Result<Properties, PropertiesError>,
    ) -> Self {
        match with(self.properties.as_ref().unwrap_or(&Properties::EMPTY)) {
            Ok(properties) => self.properties = Some(properties),
            Err(error) => {
                self.fault.get_or_insert_with(|| Box::new(error));
            }
        }
        self
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use snowshoe_codec::{PropertiesRef, ShortStr, TableError, TooLong};

    fn properties(message: &Message) -> PropertiesRef<'_> {
        message.properties().unwrap().decode().unwrap()
    }

    fn text(text: &str) -> Option<ShortStr<'_>> {
        ShortStr::try_from(text).ok()
    }

    #[test]
    fn each_property_is_set_beside_the_others() {
        let properties_before = Properties::builder().app_id("shop").header("attempt", 1);
        let message = Message::new("body")
            .with_properties(properties_before.build().unwrap())
            .content_type("text/plain")
            .content_encoding("gzip")
            .header("attempt", 2)
            .header("trace", "abc")
            .transient()
            .priority(3)
            .correlation_id("c")
            .reply_to("r")
            .expires(Duration::from_secs(1))
            .message_id("m")
            .timestamp(5)
            .kind("k")
            .user_id("guest");
        let all = Properties::builder()
            .app_id("shop")
            .header("attempt", 2)
            .header("trace", "abc")
            .content_type("text/plain")
            .content_encoding("gzip")
            .transient()
            .priority(3)
            .correlation_id("c")
            .reply_to("r")
            .expiration("1000")
            .message_id("m")
            .timestamp(5)
            .kind("k")
            .user_id("guest");
        assert_eq!(message.properties(), Some(&all.build().unwrap()));
        assert_eq!(message.check(), Ok(()));
    }

    #[test]
    fn a_message_that_says_nothing_has_no_properties() {
        assert_eq!(Message::new("body").properties(), None);
        let for_ever = Message::new("body").expires(Duration::MAX);
        assert_eq!(for_ever.properties(), None);
    }

    #[test]
    fn an_expiration_is_whole_milliseconds_as_far_as_brokers_count() {
        let expiration = |after| Message::new("").priority(1).expires(after);
        let cases = [
            (Duration::ZERO, text("0")),
            (Duration::from_nanos(1), text("1")),
            (Duration::from_micros(1001), text("2")),
            (Duration::from_millis(u32::MAX.into()), text("4294967295")),
            (Duration::from_millis(1 << 32), None),
            (Duration::MAX, None),
        ];
        for (after, expected) in cases {
            assert_eq!(properties(&expiration(after)).expiration, expected);
        }
        let taken_back = Message::new("")
            .expires(Duration::ZERO)
            .expires(Duration::MAX);
        assert_eq!(properties(&taken_back).expiration, None);
    }

    #[test]
    fn the_first_fault_is_kept_and_the_rest_is_set() {
        let message = Message::new("body")
            .reply_to("x".repeat(300))
            .header("nan", f64::NAN)
            .priority(1);
        let first = PropertiesError::TooLong {
            property: "reply-to",
            source: TooLong { len: 300 },
        };
        assert_eq!(message.check(), Err(first));
        assert_eq!(properties(&message).priority, Some(1));
        let message = Message::new("body").header("nan", f64::NAN);
        assert_eq!(message.check(), Err(TableError::NotFinite.into()));
    }

    #[test]
    fn what_cannot_be_read_cannot_be_changed() {
        let malformed = Properties::from_encoded(vec![0x80].into());
        let message = Message::new("body").with_properties(malformed.clone());
        assert_eq!(message.check(), Ok(()));
        let message = message.priority(1);
        assert_eq!(message.check(), Err(PropertiesError::Truncated));
        assert_eq!(message.properties(), Some(&malformed));
    }
}
