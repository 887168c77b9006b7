use std::collections::{BTreeMap, BTreeSet};

use proptest::collection::vec;
use proptest::prelude::*;

use super::Settle::{Ack, Nack, Reject};
use super::*;
use crate::core::scaled;

const REQUEUE: Settle = Nack { requeue: true };
const DISCARD: Settle = Nack { requeue: false };

fn epoch(number: u64) -> Epoch {
    (0..number).fold(Epoch::default(), |epoch, _| epoch.next())
}

/// The deliveries `1..=count` of epoch 0.
fn delivered(count: u64) -> AckTracker {
    let mut acks = AckTracker::new(epoch(0));
    for tag in 1..=count {
        acks.delivered(tag).unwrap();
    }
    acks
}

fn settle_each(acks: &mut AckTracker, settle: Settle, tags: impl IntoIterator<Item = u64>) {
    for tag in tags {
        assert_eq!(acks.settle(epoch(0), tag, settle, false), Ok(()));
    }
}

/// What a flush sends: how, which tag, whether multiple.
fn flush(acks: &mut AckTracker) -> Vec<(Settle, u64, bool)> {
    let mut frames = Vec::new();
    acks.flush(|frame| frames.push((frame.settle, frame.tag, frame.multiple)));
    assert_eq!(acks.pending(), 0);
    frames
}

#[test]
fn a_run_of_acks_becomes_one_multiple() {
    let mut acks = delivered(5);
    settle_each(&mut acks, Ack, [2, 1, 3]);
    assert_eq!((acks.unsettled(), acks.pending()), (2, 3));
    assert_eq!(flush(&mut acks), [(Ack, 3, true)]);
    assert_eq!(acks.unsettled(), 2);
}

#[test]
fn a_lone_ack_is_not_multiple() {
    let mut acks = delivered(2);
    settle_each(&mut acks, Ack, [1]);
    assert_eq!(flush(&mut acks), [(Ack, 1, false)]);
}

#[test]
fn nothing_is_sent_twice() {
    let mut acks = delivered(3);
    settle_each(&mut acks, Ack, [1, 3]);
    assert_eq!(flush(&mut acks), [(Ack, 1, false), (Ack, 3, false)]);
    assert_eq!(flush(&mut acks), []);
    settle_each(&mut acks, Ack, [2]);
    assert_eq!(flush(&mut acks), [(Ack, 2, false)]);
}

#[test]
fn settles_above_an_unsettled_delivery_go_singly_and_do_not_wait_for_it() {
    let mut acks = delivered(6);
    settle_each(&mut acks, Ack, [1, 2, 6, 4, 5]);
    let expected = [
        (Ack, 2, true),
        (Ack, 6, false),
        (Ack, 4, false),
        (Ack, 5, false),
    ];
    assert_eq!(flush(&mut acks), expected);
    settle_each(&mut acks, Ack, [3]);
    assert_eq!(flush(&mut acks), [(Ack, 3, false)]);
}

#[test]
fn each_run_settled_alike_becomes_a_frame_of_its_own() {
    let mut acks = delivered(7);
    settle_each(&mut acks, Ack, [1, 2]);
    settle_each(&mut acks, REQUEUE, [3, 4]);
    settle_each(&mut acks, DISCARD, [5]);
    settle_each(&mut acks, Ack, [6, 7]);
    let expected = [
        (Ack, 2, true),
        (REQUEUE, 4, true),
        (DISCARD, 5, false),
        (Ack, 7, true),
    ];
    assert_eq!(flush(&mut acks), expected);
}

#[test]
fn a_reject_is_never_multiple() {
    let mut acks = delivered(3);
    let reject = Reject { requeue: false };
    assert_eq!(acks.settle(epoch(0), 2, reject, true), Ok(()));
    settle_each(&mut acks, Ack, [3]);
    let expected = [(reject, 1, false), (reject, 2, false), (Ack, 3, false)];
    assert_eq!(flush(&mut acks), expected);
}

#[test]
fn a_multiple_settles_what_is_unsettled_and_keeps_what_was_decided() {
    let mut acks = delivered(4);
    settle_each(&mut acks, DISCARD, [2]);
    assert_eq!(acks.settle(epoch(0), 3, Ack, true), Ok(()));
    let expected = [(Ack, 1, false), (DISCARD, 2, false), (Ack, 3, false)];
    assert_eq!(flush(&mut acks), expected);
    assert_eq!(acks.unsettled(), 1);
}

#[test]
fn a_multiple_on_a_settled_delivery_still_settles_those_below() {
    let mut acks = delivered(3);
    settle_each(&mut acks, Ack, [3]);
    assert_eq!(flush(&mut acks), [(Ack, 3, false)]);
    assert_eq!(acks.settle(epoch(0), 3, Ack, true), Ok(()));
    assert_eq!(flush(&mut acks), [(Ack, 2, true)]);
}

// faults 1, 2
#[test]
fn a_settle_from_before_the_reconnect_is_stale_and_sends_nothing() {
    let mut acks = delivered(2);
    acks.begin_epoch(epoch(1));
    acks.delivered(1).unwrap();
    let stale = Err(SettleError::Stale);
    assert_eq!(acks.settle(epoch(0), 1, Ack, false), stale);
    assert_eq!(acks.settle(epoch(0), 2, Ack, true), stale);
    assert_eq!(flush(&mut acks), []);
    assert_eq!((acks.epoch(), acks.unsettled()), (epoch(1), 1));
}

// fault 1
#[test]
fn settles_that_were_waiting_when_the_channel_was_lost_are_not_sent_on_the_next() {
    let mut acks = delivered(2);
    settle_each(&mut acks, Ack, [1, 2]);
    acks.begin_epoch(epoch(1));
    for tag in 1..=2 {
        acks.delivered(tag).unwrap();
    }
    assert_eq!((acks.pending(), acks.unsettled()), (0, 2));
    assert_eq!(flush(&mut acks), []);
}

// fault 2
#[test]
fn a_delivery_is_settled_once() {
    let mut acks = delivered(2);
    let again = Err(SettleError::AlreadySettled);
    settle_each(&mut acks, Ack, [1]);
    assert_eq!(acks.settle(epoch(0), 1, DISCARD, false), again);
    assert_eq!(flush(&mut acks), [(Ack, 1, false)]);
    assert_eq!(acks.settle(epoch(0), 1, Ack, false), again);
    assert_eq!(acks.settle(epoch(0), 1, Ack, true), again);
    assert_eq!(flush(&mut acks), []);
}

// faults 2, 3
#[test]
fn tags_that_were_never_delivered_cannot_be_settled_and_0_is_one_of_them() {
    let mut acks = delivered(2);
    for (tag, multiple) in [(0, false), (0, true), (3, false), (3, true)] {
        let result = acks.settle(epoch(0), tag, Ack, multiple);
        assert_eq!(result, Err(SettleError::Unknown));
    }
    assert_eq!(flush(&mut acks), []);
}

#[test]
fn tags_may_skip_but_not_come_back() {
    let mut acks = delivered(1);
    assert_eq!(acks.delivered(5), Ok(()));
    let error = TagOutOfOrder { tag: 5, last: 5 };
    assert_eq!(acks.delivered(5), Err(error));
    let error = TagOutOfOrder { tag: 0, last: 5 };
    assert_eq!(acks.delivered(0), Err(error));
    let skipped = acks.settle(epoch(0), 3, Ack, false);
    assert_eq!(skipped, Err(SettleError::AlreadySettled));
    settle_each(&mut acks, Ack, [1, 5]);
    assert_eq!(flush(&mut acks), [(Ack, 5, true)]);
}

#[test]
fn a_delivery_held_for_long_costs_no_memory_for_those_that_pass_it() {
    let mut acks = delivered(1);
    for tag in 2..scaled(100_000) as u64 {
        acks.delivered(tag).unwrap();
        settle_each(&mut acks, Ack, [tag]);
        acks.flush(|_| ());
    }
    assert!(acks.settled.capacity() < 10);
    assert_eq!(acks.unsettled(), 1);
}

/// The broker's view of the channel. It knows only deliveries and frames.
#[derive(Default)]
struct Broker {
    open: BTreeSet<u64>,
    settled: BTreeMap<u64, Settle>,
}

impl Broker {
    fn receive(&mut self, frame: SettleFrame) {
        let SettleFrame {
            settle,
            tag,
            multiple,
        } = frame;
        assert!(self.open.contains(&tag), "406, unknown tag {tag}");
        assert!(!multiple || settle.can_be_multiple());
        let above = self.open.split_off(&(tag + 1));
        let (hit, open) = std::mem::replace(&mut self.open, above)
            .into_iter()
            .partition::<Vec<_>, _>(|&open| multiple || open == tag);
        self.open.extend(open);
        self.settled
            .extend(hit.into_iter().map(|tag| (tag, settle)));
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Deliver {
        gap: u64,
    },
    Settle {
        back: u64,
        settle: Settle,
        multiple: bool,
    },
    Flush,
}

fn operation() -> impl Strategy<Value = Operation> {
    let settle = prop_oneof![
        6 => Just(Ack),
        1 => any::<bool>().prop_map(|requeue| Nack { requeue }),
        1 => any::<bool>().prop_map(|requeue| Reject { requeue }),
    ];
    let settle =
        (0..20u64, settle, prop::bool::weighted(0.1)).prop_map(|(back, settle, multiple)| {
            Operation::Settle {
                back,
                settle,
                multiple,
            }
        });
    prop_oneof![
        10 => prop_oneof![9 => Just(1), 1 => 1..4u64].prop_map(|gap| Operation::Deliver { gap }),
        12 => settle,
        2 => Just(Operation::Flush),
    ]
}

proptest! {
    // faults 1, 2, 3
    #[test]
    fn the_broker_settles_what_the_user_settled_and_nothing_else(
        operations in vec(operation(), 0..scaled(400)),
    ) {
        let mut acks = AckTracker::new(epoch(0));
        let mut broker = Broker::default();
        // What the user did with every delivery, if anything.
        let mut deliveries = BTreeMap::<u64, Option<Settle>>::new();
        let mut last = 0;
        for operation in operations {
            match operation {
                Operation::Deliver { gap } => {
                    last += gap;
                    prop_assert_eq!(acks.delivered(last), Ok(()));
                    broker.open.insert(last);
                    deliveries.insert(last, None);
                }
                Operation::Settle { back, settle, multiple } => {
                    // Reaches one past the last tag, and down to 0.
                    let tag = (last + 1).saturating_sub(back);
                    let from = if multiple { 0 } else { tag };
                    let mut expected = Err(SettleError::AlreadySettled);
                    for (_, decided) in deliveries.range_mut(from..=tag) {
                        if decided.is_none() && tag <= last {
                            *decided = Some(settle);
                            expected = Ok(());
                        }
                    }
                    if tag == 0 || tag > last {
                        expected = Err(SettleError::Unknown);
                    }
                    prop_assert_eq!(acks.settle(epoch(0), tag, settle, multiple), expected);
                }
                Operation::Flush => {
                    acks.flush(|frame| broker.receive(frame));
                    let settled = deliveries.iter().filter_map(|(&tag, &how)| Some((tag, how?)));
                    prop_assert!(broker.settled.iter().map(|(&tag, &how)| (tag, how)).eq(settled));
                }
            }
            let unsettled = deliveries.values().filter(|decided| decided.is_none()).count();
            prop_assert_eq!(acks.unsettled(), unsettled);
            prop_assert_eq!(acks.pending(), broker.open.len() - unsettled);
        }
    }
}
