//! Random operations against a naive idea of what a publisher does.

use snowshoe_codec::ChannelId;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::core::scaled;

#[derive(Clone, Debug)]
enum Operation {
    Publish {
        poison: bool,
    },
    Transmit {
        budget: usize,
    },
    /// The broker confirms a publish of those it took on this channel.
    Confirm {
        nth: usize,
        multiple: bool,
        ack: bool,
    },
    Return {
        nth: usize,
    },
    Cut,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        6 => prop::bool::weighted(0.1).prop_map(|poison| Operation::Publish { poison }),
        4 => (1usize..500).prop_map(|budget| Operation::Transmit { budget }),
        4 => (any::<usize>(), any::<bool>(), prop::bool::weighted(0.8))
            .prop_map(|(nth, multiple, ack)| Operation::Confirm { nth, multiple, ack }),
        1 => any::<usize>().prop_map(|nth| Operation::Return { nth }),
        1 => Just(Operation::Cut),
    ]
}

/// What was published, and what became of it.
struct Model {
    world: World,
    /// The bodies of all that was accepted and has not ended, by position.
    open: BTreeMap<u64, String>,
    /// What the broker took on this channel and has not confirmed, by number, with its confirm
    /// to come.
    taken: BTreeMap<u64, (String, Expected)>,
    /// The outcomes that the broker's words must lead to, by body.
    expected: BTreeMap<String, Expected>,
    /// The number of the last message that the broker returned on this channel.
    last_returned: u64,
    channel: ChannelId,
    count: usize,
    /// How many bodies were dropped, and how many of them while the publisher was not at work.
    dropped: Arc<AtomicUsize>,
    let_go: usize,
}

/// The owner of a body, which counts when it is dropped.
struct Owner(String, Arc<AtomicUsize>);

impl AsRef<[u8]> for Owner {
    fn as_ref(&self) -> &[u8] {
        self.0.as_bytes()
    }
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.1.fetch_add(1, Ordering::Relaxed);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Expected {
    Acked,
    Nacked,
    Returned,
}

impl Model {
    fn new(overflow: Overflow) -> Self {
        let limits = Limits {
            messages: 8,
            ..ROOMY
        };
        let world = World::with(Settlement::Confirm, overflow, limits);
        let channel = world.channel;
        Self {
            world,
            open: BTreeMap::new(),
            taken: BTreeMap::new(),
            expected: BTreeMap::new(),
            last_returned: 0,
            channel,
            count: 0,
            dropped: Arc::default(),
            let_go: 0,
        }
    }

    fn apply(&mut self, operation: Operation) {
        match operation {
            Operation::Publish { poison } => {
                let body = format!("{}{:04}", if poison { "poison " } else { "" }, self.count);
                self.count += 1;
                let owner = Owner(body.clone(), Arc::clone(&self.dropped));
                let message = Message::from(Bytes::from_owner(owner));
                match self.world.publisher.push(message, true) {
                    Ok(position) => _ = self.open.insert(position, body),
                    Err(refused) => {
                        drop(refused);
                        self.let_go += 1;
                    }
                }
            }
            Operation::Transmit { budget } => {
                self.world.write(budget);
                self.world.run();
            }
            Operation::Confirm { nth, multiple, ack } => {
                let Some(tag) = self.nth_taken(nth) else {
                    return;
                };
                let confirmed: Vec<u64> = if multiple {
                    self.taken.range(..=tag).map(|(tag, _)| *tag).collect()
                } else {
                    vec![tag]
                };
                for tag in confirmed {
                    let (body, so_far) = self.taken.remove(&tag).unwrap();
                    let outcome = match (ack, so_far) {
                        // As LavinMQ nacks what it has returned.
                        (true, so_far) | (false, so_far @ Expected::Returned) => so_far,
                        (false, Expected::Acked | Expected::Nacked) => Expected::Nacked,
                    };
                    self.expected.insert(body, outcome);
                }
                if ack {
                    self.world.ack(tag, multiple);
                } else {
                    self.world.nack(tag, multiple);
                }
            }
            Operation::Return { nth } => {
                let Some(tag) = self.nth_taken(nth) else {
                    return;
                };
                // Brokers return in the order of the publishes.
                if tag <= self.last_returned {
                    return;
                }
                self.last_returned = tag;
                let (body, so_far) = self.taken.get_mut(&tag).unwrap();
                *so_far = Expected::Returned;
                let body = body.clone();
                self.world.return_message(&body);
            }
            Operation::Cut => {
                self.world.lose_connection();
                self.forget_channel();
                self.world.reconnect();
                self.channel = self.world.channel;
            }
        }
        self.follow();
    }

    fn nth_taken(&self, nth: usize) -> Option<u64> {
        let tags: Vec<u64> = self.taken.keys().copied().collect();
        (!tags.is_empty()).then(|| tags[nth % tags.len()])
    }

    /// What was returned has its outcome, the rest is sent again.
    fn forget_channel(&mut self) {
        self.last_returned = 0;
        for (body, so_far) in std::mem::take(&mut self.taken).into_values() {
            if so_far == Expected::Returned {
                self.expected.insert(body, so_far);
            }
        }
    }

    fn follow(&mut self) {
        if self.world.channel != self.channel {
            self.forget_channel();
            self.channel = self.world.channel;
        }
        let arrivals = std::mem::take(&mut self.world.line.broker.arrivals);
        for arrival in &arrivals {
            if arrival.channel == self.channel {
                let last = self.taken.values().next_back();
                assert!(
                    last.is_none_or(|(last, _)| *last < arrival.body),
                    "out of order"
                );
                self.taken
                    .insert(arrival.tag, (arrival.body.clone(), Expected::Acked));
            }
        }
        let positions: Vec<u64> = self.open.keys().copied().collect();
        for position in positions {
            if let Some(outcome) = self.world.outcome(position) {
                let body = self.open.remove(&position).unwrap();
                let expected = self.expected.remove(&body);
                match (reason(&outcome), expected) {
                    (None, Some(Expected::Acked))
                    | (Some(UnconfirmedReason::Nacked), Some(Expected::Nacked))
                    | (Some(UnconfirmedReason::Dropped(_)), None) => {}
                    (Some(UnconfirmedReason::Returned(returned)), Some(Expected::Returned)) => {
                        assert_eq!(returned.body, body.as_bytes());
                    }
                    (Some(UnconfirmedReason::Rejected(_)), None) => {
                        assert!(body.starts_with("poison"));
                    }
                    _ => panic!("{body}: {outcome:?}, expected {expected:?}"),
                }
            }
        }
        // Everything that the broker has decided was told; nothing else is gone.
        assert!(self.expected.is_empty());
        assert_eq!(self.world.publisher.len(), self.open.len());
        // No owner was called by the publisher, which may be under a lock.
        assert_eq!(self.dropped.load(Ordering::Relaxed), self.let_go);
        drop(self.world.publisher.take_gone());
        self.let_go = self.dropped.load(Ordering::Relaxed);
        assert_eq!(self.let_go + self.open.len(), self.count);
    }

    fn finish(&mut self) {
        for _ in 0..100 {
            if self.open.is_empty() {
                return;
            }
            self.apply(Operation::Transmit { budget: EVERYTHING });
            if let Some(last) = self.taken.keys().next_back().copied() {
                let nth = self.taken.len() - 1;
                assert_eq!(self.nth_taken(nth), Some(last));
                self.apply(Operation::Confirm {
                    nth,
                    multiple: true,
                    ack: true,
                });
            }
        }
        panic!("messages without an outcome: {:?}", self.open);
    }
}

proptest! {
    // faults 8, 9, 10, 13, 14 and 20
    #[test]
    fn every_accepted_message_ends_exactly_once_and_as_the_broker_said(
        drops in any::<bool>(),
        operations in vec(operation(), 0..scaled(80)),
    ) {
        let overflow = if drops { Overflow::DropOldest } else { Overflow::Refuse };
        let mut model = Model::new(overflow);
        for operation in operations {
            model.apply(operation);
        }
        model.finish();
    }
}
