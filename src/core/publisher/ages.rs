//! How long messages wait, and which have waited for too long.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use snowshoe_codec::time::after;

use super::Publisher;

/// Since when messages wait.
///
/// Those that came at about the same time are one group, and as old as the youngest of them. So a group
/// takes the memory of one message and not of each, and there are no more of them than an age has parts.
#[derive(Debug)]
pub(super) struct Ages {
    most: Duration,
    /// In the order of their coming; each begins where the one before it ends.
    groups: VecDeque<Group>,
    /// Those before this position are in a group, or were.
    noticed: u64,
    /// Those before this position are too old.
    expired: u64,
    /// Since when they are.
    expired_at: Option<Instant>,
}

#[derive(Debug)]
struct Group {
    /// All before this position that are in no earlier group.
    before: u64,
    first: Instant,
    last: Instant,
}

/// Messages are told from each other by so many parts of the age that they may have.
const PARTS: u32 = 64;

impl Ages {
    fn new(most: Duration, noticed: u64) -> Self {
        Self {
            most,
            groups: VecDeque::new(),
            noticed,
            expired: 0,
            expired_at: None,
        }
    }

    /// Messages before this position are there by now.
    fn notice(&mut self, now: Instant, pushed: u64) {
        self.expire(now);
        if self.noticed == pushed {
            return;
        }
        self.noticed = pushed;
        match self.groups.back_mut() {
            Some(group) if after(group.first, self.most / PARTS) > now => {
                group.before = pushed;
                group.last = now;
            }
            _ => self.groups.push_back(Group {
                before: pushed,
                first: now,
                last: now,
            }),
        }
    }

    fn expire(&mut self, now: Instant) {
        while let Some(group) = self.groups.front()
            && after(group.last, self.most) <= now
        {
            self.expired = group.before;
            self.expired_at = Some(after(group.last, self.most));
            self.groups.pop_front();
        }
    }

    #[cfg(test)]
    pub(super) fn groups(&self) -> usize {
        self.groups.len()
    }

    /// When the message at `position` is too old; unknown while it was not noticed.
    fn expires_at(&self, position: u64) -> Option<Instant> {
        if position < self.expired {
            return self.expired_at;
        }
        let group = self.groups.partition_point(|it| it.before <= position);
        let group = self.groups.get(group)?;
        Some(after(group.last, self.most))
    }
}

impl<W> Publisher<W> {
    /// Messages that are not written are given up when they have waited for this long.
    pub fn set_max_age(&mut self, most: Duration) {
        let noticed = self.ledger.ring.pushed();
        self.ledger.rare().ages = Some(Ages::new(most, noticed));
    }

    /// Whether its messages wait for a time only.
    pub fn has_max_age(&self) -> bool {
        self.ledger.ages().is_some()
    }

    /// Whether there are messages of which it is not known [since when](Self::notice) they wait, where that
    /// matters.
    pub fn is_unnoticed(&self) -> bool {
        let ages = self.ledger.ages();
        ages.is_some_and(|ages| ages.noticed != self.ledger.ring.pushed())
    }

    /// Whether that is so since the last message was accepted.
    pub fn is_first_unnoticed(&self) -> bool {
        let ages = self.ledger.ages();
        ages.is_some_and(|ages| ages.noticed + 1 == self.ledger.ring.pushed())
    }

    /// What was accepted since this was last called waits since now.
    pub fn notice(&mut self, now: Instant) {
        let pushed = self.ledger.ring.pushed();
        if let Some(ages) = self.ledger.ages_mut() {
            ages.notice(now, pushed);
        }
    }

    /// When there is something to [give up](Self::expire), as far as is known.
    pub fn expires_at(&self) -> Option<Instant> {
        let ages = self.ledger.ages()?;
        let ring = &self.ledger.ring;
        if ring.unwritten() == 0 {
            return None;
        }
        let (oldest, _) = ring.iter_from(ring.written()).next()?;
        ages.expires_at(oldest)
    }

    /// Gives up what has waited for too long. What is in flight is the broker's to tell; if its connection
    /// ends before that, it waits again, and is as old as it is.
    pub fn expire(&mut self, now: Instant) {
        let Some(ages) = self.ledger.ages_mut() else {
            return;
        };
        ages.expire(now);
        let before = ages.expired;
        while self.ledger.expire_oldest(before) {}
    }
}
