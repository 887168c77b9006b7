//! What each client declares for itself alone and deletes again, by whatever way and at any moment.

use super::Queue;

/// One of those things.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Thing {
    Queue,
    Exchange,
    /// Of the queue to the exchange.
    Binding,
}

/// What is done to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Act {
    Declare(Thing),
    Delete {
        thing: Thing,
        /// Whether on a channel that the user drives.
        by_hand: bool,
        /// Only if nobody uses it, where there is such a condition.
        if_unused: bool,
    },
}

impl Thing {
    pub(crate) const ALL: [Self; 3] = [Self::Queue, Self::Exchange, Self::Binding];
}

impl Act {
    /// Whether it declares this thing.
    pub(crate) fn declares(self, thing: Thing) -> bool {
        self == Self::Declare(thing)
    }

    /// Whether it deletes this thing, be it together with another.
    pub(crate) fn deletes(self, thing: Thing) -> bool {
        match self {
            Self::Declare(_) => false,
            Self::Delete { thing: it, .. } => it == thing || thing == Thing::Binding,
        }
    }
}

/// What the queue of a client is called.
pub(crate) fn queue_name(client: usize) -> &'static str {
    Queue::Fleeting.name(client)
}

/// What the exchange of a client is called.
pub(crate) fn exchange_name(client: usize) -> &'static str {
    ["fleeting-exchange", "fleeting-exchange-too"][client]
}
