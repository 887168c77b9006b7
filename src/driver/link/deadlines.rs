use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use crate::core::session::ProducerKey;

/// When producers are to be looked at whose messages may wait too long. Few have such messages.
///
/// That may be earlier than needed, and never later: what is put off is found out when its time has come.
#[derive(Default)]
pub(super) struct Deadlines {
    of: BTreeMap<ProducerKey, Instant>,
    in_order: BTreeSet<(Instant, ProducerKey)>,
}

impl Deadlines {
    /// The first of them.
    pub(super) fn first(&self) -> Option<Instant> {
        self.in_order.first().map(|(at, _)| *at)
    }

    /// A producer is to be looked at by then.
    pub(super) fn set_by(&mut self, key: ProducerKey, at: Instant) {
        let before = self.of.get(&key).copied();
        if before.is_some_and(|before| before <= at) {
            return;
        }
        self.remove(key);
        self.of.insert(key, at);
        self.in_order.insert((at, key));
    }

    /// A producer needs no look.
    pub(super) fn remove(&mut self, key: ProducerKey) {
        if let Some(at) = self.of.remove(&key) {
            self.in_order.remove(&(at, key));
        }
    }

    /// Takes out one whose time has come.
    pub(super) fn take_due(&mut self, now: Instant) -> Option<ProducerKey> {
        let (_, key) = *self.in_order.first().filter(|(at, _)| *at <= now)?;
        self.remove(key);
        Some(key)
    }

    pub(super) fn clear(&mut self) {
        *self = Self::default();
    }
}
