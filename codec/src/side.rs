use crate::method::{MethodId, SentBy};

/// Which end of a connection this is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Client,
    Server,
}

impl Side {
    /// Whether this end may send the method.
    pub(crate) fn sends(self, method: MethodId) -> bool {
        match method.sent_by() {
            Some(SentBy::Both) => true,
            Some(SentBy::Client) => self == Self::Client,
            Some(SentBy::Server) => self == Self::Server,
            None => false,
        }
    }

    /// Whether the other end may send the method.
    pub(crate) fn receives(self, method: MethodId) -> bool {
        match self {
            Self::Client => Self::Server.sends(method),
            Self::Server => Self::Client.sends(method),
        }
    }
}
