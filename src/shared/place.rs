use crate::events::ConnectionRole;

/// One of a client's connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct LinkIndex(usize);

impl LinkIndex {
    /// That for everything but publishing.
    pub(crate) const MAIN: Self = Self(0);
    /// That for publishing.
    pub(crate) const PUBLISHING: Self = Self(1);

    /// Those for one consumer or requester each, counted from 0.
    pub(crate) const fn dedicated(number: usize) -> Self {
        Self(Self::PUBLISHING.0 + 1 + number)
    }

    /// Where it stands among the connections.
    pub(crate) const fn index(self) -> usize {
        self.0
    }

    pub(crate) fn role(self) -> ConnectionRole {
        match self {
            Self::MAIN => ConnectionRole::Main,
            Self::PUBLISHING => ConnectionRole::Publishing,
            _ => ConnectionRole::Dedicated,
        }
    }
}

/// Where the driver keeps what belongs to a handle: the connection, and the session's key.
///
/// The key of one that has ended may be another's later. Where that would do harm, whoever comes
/// with a place has to be asked who it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place<K> {
    pub(crate) link: LinkIndex,
    pub(crate) key: K,
}
