//! Exchanges that hold messages before they route them, as LavinMQ's do (type `x-delayed-message`).

use std::collections::BTreeMap;
use std::time::Instant;

use super::message::Message;

/// The messages that exchanges hold, by when they are routed, and in the order in which they came.
#[derive(Debug, Default)]
pub(super) struct Delayed {
    messages: BTreeMap<(Instant, u64), Message>,
    last: u64,
}

impl Delayed {
    /// When the next is to be routed.
    pub(super) fn next(&self) -> Option<Instant> {
        let ((at, _), _) = self.messages.first_key_value()?;
        Some(*at)
    }

    /// How many there are.
    #[cfg(feature = "_internal")]
    pub(super) fn len(&self) -> usize {
        self.messages.len()
    }

    /// Only these outlive a restart.
    pub(super) fn keep_persistent(&mut self) {
        self.messages.retain(|_, message| message.is_persistent());
    }

    pub(super) fn hold(&mut self, until: Instant, message: Message) {
        self.last += 1;
        self.messages.insert((until, self.last), message);
    }

    pub(super) fn pop(&mut self, now: Instant) -> Option<Message> {
        let first = self.messages.first_entry()?;
        let (at, _) = *first.key();
        (at <= now).then(|| first.remove())
    }
}
