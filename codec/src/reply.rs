//! The numbers that tell why the server closed something or returned a message.

use std::fmt;

/// A reply code, which comes with a close or a returned message.
///
/// Whether one ends a channel or the connection is told by the method that carries it and not by the
/// code: LavinMQ closes channels with codes that the specification gives to connections.
///
/// ```
/// use snowshoe_codec::ReplyCode;
///
/// assert_eq!(ReplyCode::NOT_FOUND.to_string(), "404 NOT_FOUND");
/// assert_eq!(ReplyCode(599).to_string(), "599");
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ReplyCode(pub u16);

macro_rules! reply_codes {
    ($($(#[$doc:meta])* $NAME:ident = $code:literal;)*) => {
        impl ReplyCode {
            $($(#[$doc])* pub const $NAME: Self = Self($code);)*

            /// The name of the code, such as `NOT_FOUND`, if it has one.
            pub const fn name(self) -> Option<&'static str> {
                match self.0 {
                    $($code => Some(stringify!($NAME)),)*
                    _ => None,
                }
            }
        }
    };
}

reply_codes! {
    /// All is well: an orderly close.
    SUCCESS = 200;
    /// The message is too large for the peer to take now.
    CONTENT_TOO_LARGE = 311;
    /// A mandatory message matched no queue.
    NO_ROUTE = 312;
    /// An immediate message found no consumer.
    NO_CONSUMERS = 313;
    /// An operator closed the connection.
    CONNECTION_FORCED = 320;
    /// There is no such virtual host.
    INVALID_PATH = 402;
    /// The user may not do this, or the login failed.
    ACCESS_REFUSED = 403;
    /// There is no such queue or exchange.
    NOT_FOUND = 404;
    /// Another connection holds the queue exclusively.
    RESOURCE_LOCKED = 405;
    /// A condition of the method does not hold, such as equal arguments of a queue that exists.
    PRECONDITION_FAILED = 406;
    /// A frame could not be read.
    FRAME_ERROR = 501;
    /// A frame holds an illegal value.
    SYNTAX_ERROR = 502;
    /// A method came at a wrong moment.
    COMMAND_INVALID = 503;
    /// A method came on a channel that is not open.
    CHANNEL_ERROR = 504;
    /// A frame came at a wrong moment, within the content of a message for example.
    UNEXPECTED_FRAME = 505;
    /// The peer ran out of something.
    RESOURCE_ERROR = 506;
    /// The peer may not do this, such as to use a virtual host.
    NOT_ALLOWED = 530;
    /// The server does not have this.
    NOT_IMPLEMENTED = 540;
    /// The server failed.
    INTERNAL_ERROR = 541;
}

impl Default for ReplyCode {
    fn default() -> Self {
        Self::SUCCESS
    }
}

impl fmt::Display for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.name() {
            Some(name) => write!(f, "{} {name}", self.0),
            None => write!(f, "{}", self.0),
        }
    }
}

impl fmt::Debug for ReplyCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "ReplyCode({self})")
    }
}
