//! What a session's driver shares with users: the messages of a producer, the deliveries of a consumer.

use std::collections::{BTreeMap, BTreeSet};

use snowshoe::codec::{Channel, Properties, ShortString};
use snowshoe::internal::Epoch;
use snowshoe::internal::acks::{AckTracker, Settle, SettleError, SettleFrame};
use snowshoe::internal::publisher::{Address, Overflow, Publisher, Settlement};
use snowshoe::internal::ring::Limits;
use snowshoe::{DropReason, Message, Unconfirmed, UnconfirmedReason};

use super::record::{LifeId, MessageId, Record};

pub(super) struct Producer {
    /// No other has the same, before or after.
    pub(super) number: u32,
    pub(super) publisher: Publisher<u64>,
    pub(super) confirms: bool,
    drops: bool,
    is_abandoned: bool,
    /// What was accepted and has not ended, by its position.
    open: BTreeMap<u64, MessageId>,
}

impl Producer {
    pub(super) fn new(number: u32, confirms: bool, drops: bool) -> Self {
        let address = Address {
            exchange: ShortString::EMPTY,
            routing_key: ShortString::from_static("key"),
            mandatory: true,
            properties: Properties::EMPTY,
            identifies: None,
        };
        let (settlement, overflow) = (
            [Settlement::Written, Settlement::Confirm][usize::from(confirms)],
            [Overflow::Refuse, Overflow::DropOldest][usize::from(drops)],
        );
        let limits = Limits {
            messages: 12,
            bytes: 1 << 16,
        };
        Self {
            number,
            publisher: Publisher::new(address, settlement, overflow, limits),
            confirms,
            drops,
            is_abandoned: false,
            open: BTreeMap::new(),
        }
    }

    pub(super) fn publish(&mut self, id: MessageId, message: Message) {
        if let Ok(position) = self.publisher.push(message, true) {
            assert_eq!(self.open.insert(position, id), None);
        }
    }

    /// Looks for outcomes, each of which is to be true. Who waits is woken for them, and for nothing
    /// else.
    pub(super) fn check(&mut self, record: &Record) {
        let mut ended = BTreeSet::new();
        let mut open = std::mem::take(&mut self.open);
        open.retain(|position, id| {
            let Some(outcome) = self.publisher.poll_outcome(*position, || *position) else {
                return true;
            };
            let is_true = match &outcome {
                Ok(()) if self.confirms => record.acked.contains(id),
                Ok(()) => record.published.contains(id),
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Nacked,
                    ..
                }) => record.nacked.contains(id),
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Returned(_),
                    ..
                }) => record.returned.contains(id),
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Rejected(_),
                    ..
                }) => record.closes > 0,
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Unsendable(_),
                    ..
                }) => !record.published.contains(id),
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Dropped(reason),
                    ..
                }) => match reason {
                    DropReason::BufferFull => self.drops,
                    _ => self.is_abandoned,
                },
                Err(_) => false,
            };
            assert!(is_true, "{id}: {outcome:?}");
            ended.insert(*position);
            false
        });
        self.open = open;
        for woken in self.publisher.take_woken() {
            assert!(!self.open.contains_key(&woken), "woken for nothing");
        }
        self.publisher.take_news();
        drop(self.publisher.take_gone());
        assert_eq!(self.publisher.len(), self.open.len());
    }

    /// All that is open is given up, and ends with that.
    pub(super) fn abandon(&mut self, record: &Record) {
        self.is_abandoned = true;
        self.publisher.abandon(DropReason::ConnectionGivenUp);
        self.check(record);
        assert!(self.open.is_empty());
    }

    pub(super) fn is_finished(&self) -> bool {
        self.publisher.is_closed() && self.publisher.is_empty()
    }
}

pub(super) struct Consumer {
    pub(super) tag: ShortString,
    no_ack: bool,
    tracker: AckTracker,
    epoch: Epoch,
    pub(super) is_online: bool,
    pub(super) is_draining: bool,
    /// The deliveries in the user's hands, old ones among them.
    hands: Vec<Delivered>,
}

#[derive(Clone, Copy)]
struct Delivered {
    epoch: Epoch,
    life: Option<LifeId>,
    tag: u64,
}

impl Consumer {
    pub(super) fn new(tag: ShortString, no_ack: bool) -> Self {
        Self {
            tag,
            no_ack,
            tracker: AckTracker::new(Epoch::default()),
            epoch: Epoch::default(),
            is_online: false,
            is_draining: false,
            hands: Vec::new(),
        }
    }

    pub(super) fn begin_epoch(&mut self, epoch: Epoch) {
        self.is_online = epoch != Epoch::default();
        self.epoch = epoch;
        self.tracker.begin_epoch(epoch);
    }

    pub(super) fn deliver(&mut self, tag: u64, record: &Record) {
        if !self.no_ack {
            // One out of order is not tracked.
            _ = self.tracker.delivered(tag);
        }
        if self.hands.len() == HANDS {
            self.hands.remove(0);
        }
        self.hands.push(Delivered {
            epoch: self.epoch,
            life: record.life_of(&self.tag),
            tag,
        });
    }

    /// The user settles one delivery, or all up to it. An old one has no effect.
    pub(super) fn settle(
        &mut self,
        nth: usize,
        settle: Settle,
        multiple: bool,
        record: &mut Record,
    ) {
        if self.hands.is_empty() || self.no_ack {
            return;
        }
        let delivered = self.hands.remove(nth % self.hands.len());
        let Delivered { epoch, life, tag } = delivered;
        let settled = self.tracker.settle(epoch, tag, settle, multiple);
        assert_eq!(epoch != self.epoch, settled == Err(SettleError::Stale));
        if let (Ok(()), Some(life)) = (settled, life) {
            record.user_settles(life, tag, settle, multiple);
        }
    }

    pub(super) fn let_go(&mut self) {
        self.hands.clear();
    }

    pub(super) fn flush(&mut self, channel: &mut Channel<'_>) {
        self.tracker.flush(|frame| {
            let SettleFrame {
                settle,
                tag,
                multiple,
            } = frame;
            // Only a channel that is closing refuses.
            _ = match settle {
                Settle::Ack => channel.ack(tag, multiple),
                Settle::Nack { requeue } => channel.nack(tag, multiple, requeue),
                Settle::Reject { requeue } => channel.reject(tag, requeue),
            };
        });
    }

    /// Whether nothing is left to be settled.
    pub(super) fn is_drained(&self) -> bool {
        let is_held = |it: &Delivered| it.epoch == self.epoch && !self.no_ack;
        self.tracker.pending() == 0 && !self.hands.iter().any(is_held)
    }
}

/// How many deliveries a user holds on to.
const HANDS: usize = 64;
