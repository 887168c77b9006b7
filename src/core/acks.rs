//! The deliveries of one channel that wait to be settled, and the fewest frames that settle them.
//!
//! Settling is local and cheap; the frames are made when there is something to write anyway. A run
//! of deliveries settled alike, with nothing unsettled below it, becomes one frame with `multiple`
//! (AMQP 0-9-1 §1.8.3.13, and RabbitMQ's basic.nack). It means the same, only shorter.

use std::collections::VecDeque;

use thiserror::Error;

use super::Epoch;
use super::keyed_queue::KeyedQueue;

/// What becomes of a delivery.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settle {
    Ack,
    Nack { requeue: bool },
    Reject { requeue: bool },
}

impl Settle {
    /// basic.reject is the one that has no `multiple`.
    fn can_be_multiple(self) -> bool {
        !matches!(self, Self::Reject { .. })
    }
}

/// A basic.ack, basic.nack or basic.reject to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SettleFrame {
    pub settle: Settle,
    pub tag: u64,
    pub multiple: bool,
}

/// Why a settle does nothing. None of these sends a byte: the broker answers a tag it does not
/// expect by closing the channel, or by settling another message (RabbitMQ: 406).
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
pub enum SettleError {
    /// The broker has taken the message back, and delivers it again.
    #[error("the delivery belongs to a channel that is gone, the broker delivers it again")]
    Stale,
    #[error("the delivery is settled already")]
    AlreadySettled,
    #[error("no delivery has this tag")]
    Unknown,
}

/// A delivery tag that does not follow the one before it: the broker broke the protocol.
#[derive(Clone, Copy, Debug, Error, PartialEq, Eq)]
#[error("delivery tag {tag} came after {last}")]
pub struct TagOutOfOrder {
    pub tag: u64,
    pub last: u64,
}

/// The deliveries of one channel in its present epoch that the broker has not seen settled.
#[derive(Debug)]
pub struct AckTracker {
    epoch: Epoch,
    /// By tag; `None` is still in the user's hands, `Some` waits for the next flush. The first is
    /// always `None`: what has nothing unsettled below it is in a run.
    deliveries: KeyedQueue<Option<Settle>>,
    /// What the runs of settled deliveries with nothing unsettled below them come to, in order. Only
    /// the last can grow.
    runs: VecDeque<SettleFrame>,
    /// How many deliveries went into a run since the last flush as soon as they were settled.
    in_runs: usize,
    /// The tags of the others settled since the last flush, in the order they were settled.
    settled: Vec<u64>,
    /// Every delivery before this tag is settled, so that a multiple need not look there again.
    settled_before: u64,
    last_tag: u64,
}

impl AckTracker {
    pub const fn new(epoch: Epoch) -> Self {
        Self {
            epoch,
            deliveries: KeyedQueue::new(),
            runs: VecDeque::new(),
            in_runs: 0,
            settled: Vec::new(),
            settled_before: 0,
            last_tag: 0,
        }
    }

    /// Forgets the channel that was. To be called as soon as that is lost, even if the next one
    /// takes a while to open: from here on its deliveries are stale.
    pub fn begin_epoch(&mut self, epoch: Epoch) {
        self.epoch = epoch;
        self.deliveries.clear();
        self.runs.clear();
        self.in_runs = 0;
        self.settled = Vec::new();
        self.settled_before = 0;
        self.last_tag = 0;
    }

    /// The epoch that deliveries belong to now.
    #[cfg(test)]
    pub fn epoch(&self) -> Epoch {
        self.epoch
    }

    /// Number of deliveries in the user's hands.
    #[cfg(test)]
    pub fn unsettled(&self) -> usize {
        let states = self.deliveries.iter();
        states.filter(|(_, state)| state.is_none()).count()
    }

    /// The last delivery that was noted.
    pub fn last_tag(&self) -> u64 {
        self.last_tag
    }

    /// Whether this delivery is in the user's hands.
    pub fn is_unsettled(&self, tag: u64) -> bool {
        matches!(self.deliveries.get(tag), Some(None))
    }

    /// The oldest delivery in the user's hands.
    pub fn oldest_unsettled(&self) -> Option<u64> {
        // One that is settled leaves once there is none before it.
        Some(self.deliveries.first()?.0)
    }

    /// Whether a delivery up to this one is in the user's hands.
    pub fn is_any_unsettled_up_to(&self, last: u64) -> bool {
        let up_to = self.deliveries.iter().take_while(|(tag, _)| *tag <= last);
        up_to.into_iter().any(|(_, state)| state.is_none())
    }

    /// Number of deliveries settled since the last flush.
    pub fn pending(&self) -> usize {
        self.in_runs + self.settled.len()
    }

    /// Notes a delivery that has to be settled. Tags ascend, but may skip some.
    pub fn delivered(&mut self, tag: u64) -> Result<(), TagOutOfOrder> {
        if tag <= self.last_tag {
            return Err(TagOutOfOrder {
                tag,
                last: self.last_tag,
            });
        }
        self.last_tag = tag;
        self.deliveries.push(tag, None);
        Ok(())
    }

    /// Settles one delivery, or with `multiple` every unsettled one up to it.
    pub fn settle(
        &mut self,
        epoch: Epoch,
        tag: u64,
        settle: Settle,
        multiple: bool,
    ) -> Result<(), SettleError> {
        if epoch != self.epoch {
            return Err(SettleError::Stale);
        }
        // Tag 0 would mean "all" to the broker.
        if tag == 0 || tag > self.last_tag {
            return Err(SettleError::Unknown);
        }
        let pending = self.pending();
        if multiple {
            self.settle_up_to(tag, settle);
        } else if (self.deliveries)
            .pop_first_if(|first, _| first == tag)
            .is_some()
        {
            self.in_runs += 1;
            self.prolong(tag, settle);
        } else if let Some(state @ None) = self.deliveries.get_mut(tag) {
            *state = Some(settle);
            self.settled.push(tag);
        }
        if self.pending() == pending {
            return Err(SettleError::AlreadySettled);
        }
        self.prolong_by_settled();
        Ok(())
    }

    /// Puts what has nothing unsettled below it by now into runs.
    fn prolong_by_settled(&mut self) {
        while let Some((next, Some(settle))) = self.deliveries.pop_first_if(|_, it| it.is_some()) {
            self.prolong(next, settle);
        }
    }

    /// Puts a settled delivery with nothing unsettled below it into a run.
    fn prolong(&mut self, tag: u64, settle: Settle) {
        match self.runs.back_mut() {
            Some(run) if run.settle == settle && settle.can_be_multiple() => {
                run.tag = tag;
                run.multiple = true;
            }
            _ => self.runs.push_back(SettleFrame {
                settle,
                tag,
                multiple: false,
            }),
        }
    }

    fn settle_up_to(&mut self, last: u64, settle: Settle) {
        self.settled_before = self.settle_from(self.settled_before, last, settle);
    }

    /// Settles every unsettled delivery after this tag.
    pub fn settle_after(&mut self, tag: u64, settle: Settle) {
        self.settle_from(tag.saturating_add(1), self.last_tag, settle);
        self.prolong_by_settled();
    }

    /// Settles every unsettled delivery from one tag to another. Where to look next.
    fn settle_from(&mut self, mut from: u64, last: u64, settle: Settle) -> u64 {
        while let Some((tag, state)) = self.deliveries.first_from(from)
            && tag <= last
        {
            if state.is_none() {
                *state = Some(settle);
                self.settled.push(tag);
            }
            from = tag + 1;
        }
        from
    }

    /// Says that deliveries go back to the queue that were never noted here, as they were not kept. All
    /// that were noted have lower tags.
    pub fn give_back(&self, first: u64, last: u64, mut send: impl FnMut(SettleFrame)) {
        let is_alone = self.deliveries.is_empty() && self.pending() == 0;
        let tags = if is_alone { last..=last } else { first..=last };
        for tag in tags {
            send(SettleFrame {
                settle: Settle::Nack { requeue: true },
                tag,
                multiple: is_alone && first < last,
            });
        }
    }

    /// Says in as few frames as possible what was settled since the last flush.
    pub fn flush(&mut self, mut send: impl FnMut(SettleFrame)) {
        self.in_runs = 0;
        self.runs.drain(..).for_each(&mut send);
        // What is left lies above an unsettled delivery, where a multiple would settle that too.
        for tag in self.settled.drain(..) {
            if let Some(Some(settle)) = self.deliveries.remove(tag) {
                send(SettleFrame {
                    settle,
                    tag,
                    multiple: false,
                });
            }
        }
    }
}

#[cfg(test)]
mod tests;
