//! Exchanges that hold messages before they route them, as LavinMQ's do (type `x-delayed-message`).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use super::message::Message;
use super::vhost::VirtualHost;

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

    fn hold(&mut self, until: Instant, message: Message) {
        self.last += 1;
        self.messages.insert((until, self.last), message);
    }

    fn pop(&mut self, now: Instant) -> Option<Message> {
        let first = self.messages.first_entry()?;
        let (at, _) = *first.key();
        (at <= now).then(|| first.remove())
    }
}

impl VirtualHost {
    /// Holds a message, if that is what it asks its exchange for. Whether it does.
    pub(super) fn hold(&mut self, now: Instant, message: &Message) -> bool {
        let exchange = self.exchange(&message.exchange);
        if !exchange.is_ok_and(|exchange| exchange.delays) {
            return false;
        }
        let delay = message.headers().get("x-delay").ok().flatten();
        let delay = delay.and_then(|it| u64::try_from(it.as_i64()?).ok());
        let Some(delay) = delay.filter(|it| *it > 0) else {
            return false;
        };
        let Some(until) = now.checked_add(Duration::from_millis(delay)) else {
            return false;
        };
        self.delayed.hold(until, message.clone());
        true
    }

    /// Routes what was held for long enough.
    pub(super) fn release(&mut self, now: Instant) {
        while let Some(message) = self.delayed.pop(now) {
            let targets = self.route(&message.exchange, &message);
            let message = message.without_blind_copies();
            for target in targets {
                self.enqueue(now, target, &message, false);
            }
        }
    }
}
