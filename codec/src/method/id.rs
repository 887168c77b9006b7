use std::fmt;

use super::MethodError;

/// The ids of a method and of its class.
///
/// ```
/// use snowshoe_codec::method::MethodId;
///
/// let publish = MethodId { class: 60, method: 40 };
/// assert_eq!(publish.to_string(), "basic.publish (60.40)");
/// assert!(publish.has_content());
/// ```
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct MethodId {
    /// The id of the class.
    pub class: u16,
    /// The id of the method within its class.
    pub method: u16,
}

impl MethodId {
    /// The ids at the front of the payload of a method frame.
    pub fn peek(payload: &[u8]) -> Result<Self, MethodError> {
        Self::split_from(payload).map(|(id, _)| id)
    }

    /// Whether the method answers `call`.
    pub fn is_reply_to(self, call: Self) -> bool {
        call.replies().contains(&self)
    }
}

impl fmt::Display for MethodId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { class, method } = self;
        match self.name() {
            Some(name) => write!(f, "{name} ({class}.{method})"),
            None => write!(f, "{class}.{method}"),
        }
    }
}

/// Which side of a connection sends a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum SentBy {
    /// Only the client.
    Client,
    /// Only the server.
    Server,
    /// Either.
    Both,
}
