use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::core::scaled;

const ROOMY: Limits = Limits {
    messages: 100,
    bytes: 10_000,
};

/// Holds the items `0..count`, each at its own position, of which the first `written` are written.
fn ring(count: u64, written: usize) -> Ring<u64> {
    let mut ring = Ring::new(ROOMY);
    for item in 0..count {
        assert_eq!(ring.push(item, 1), Ok(item));
    }
    for _ in 0..written {
        ring.mark_written();
    }
    ring
}

fn item<T>(settled: Option<Settled<T>>) -> Option<T> {
    settled.map(|settled| settled.item)
}

fn dropped(ring: &mut Ring<u64>) -> Option<(u64, u64)> {
    let (position, settled) = ring.drop_oldest_unwritten()?;
    Some((position, settled.item))
}

fn write_all(ring: &mut Ring<u64>) -> Vec<u64> {
    let mut written = Vec::new();
    while let Some((_, item)) = ring.next_unwritten() {
        written.push(*item);
        ring.mark_written();
    }
    written
}

#[test]
fn items_are_written_in_the_order_they_were_pushed() {
    let mut ring = ring(3, 0);
    assert_eq!(write_all(&mut ring), [0, 1, 2]);
    assert_eq!((ring.in_flight(), ring.unwritten()), (3, 0));
    assert_eq!(ring.next_unwritten(), None);
}

#[test]
fn the_next_item_stays_the_next_until_it_is_marked_written() {
    let mut ring = ring(2, 0);
    assert_eq!(ring.next_unwritten(), Some((0, &mut 0)));
    assert_eq!(ring.next_unwritten(), Some((0, &mut 0)));
    ring.mark_written();
    assert_eq!(ring.next_unwritten(), Some((1, &mut 1)));
}

#[test]
fn marking_with_nothing_unwritten_changes_nothing() {
    let mut ring = ring(1, 1);
    ring.mark_written();
    assert_eq!(ring.in_flight(), 1);
    assert_eq!(ring.push(1, 1), Ok(1));
    assert_eq!(ring.next_unwritten(), Some((1, &mut 1)));
}

// fault 21
#[test]
fn the_ring_is_bounded_in_messages_and_in_bytes() {
    let mut ring = Ring::new(Limits {
        messages: 3,
        bytes: 10,
    });
    assert_eq!(ring.push('a', 10), Ok(0));
    assert_eq!(ring.push('b', 1), Err((Refusal::Full, 'b')));
    assert_eq!(ring.push('b', 0), Ok(1));
    assert_eq!(ring.push('c', 0), Ok(2));
    assert_eq!(ring.push('d', 0), Err((Refusal::Full, 'd')));
    assert_eq!(item(ring.settle(0)), Some('a'));
    assert_eq!(ring.room_for(10), Ok(()));
    assert_eq!(ring.push('d', 10), Ok(3));
}

// fault 21
#[test]
fn a_message_larger_than_the_ring_is_refused_as_such_however_empty_it_is() {
    let mut ring = Ring::new(Limits {
        messages: 3,
        bytes: 10,
    });
    assert_eq!(ring.push('a', 11), Err((Refusal::TooLarge, 'a')));
    assert_eq!(ring.push('b', 10), Ok(0));
    assert_eq!(ring.room_for(11), Err(Refusal::TooLarge));
}

#[test]
#[cfg(target_pointer_width = "64")]
fn no_message_is_longer_than_its_length_can_tell() {
    let mut ring = Ring::new(Limits {
        messages: 3,
        bytes: usize::MAX,
    });
    assert_eq!(ring.push('a', 1 << 32), Err((Refusal::TooLarge, 'a')));
    assert_eq!(ring.push('b', (1 << 32) - 1), Ok(0));
    assert_eq!(ring.bytes(), (1 << 32) - 1);
}

#[test]
fn items_in_flight_count_against_the_bounds_until_they_are_settled() {
    let mut ring = ring(100, 100);
    assert_eq!(ring.room_for(1), Err(Refusal::Full));
    ring.settle(50);
    assert_eq!((ring.len(), ring.bytes()), (ring.limits().messages - 1, 99));
    assert_eq!(ring.push(100, 1), Ok(100));
}

// fault 13
#[test]
fn a_rewind_writes_what_was_in_flight_before_what_was_pushed_after_it() {
    let mut ring = ring(5, 3);
    ring.rewind_to(0);
    assert_eq!((ring.in_flight(), ring.unwritten()), (0, 5));
    assert_eq!(write_all(&mut ring), [0, 1, 2, 3, 4]);
}

// fault 8
#[test]
fn what_was_settled_out_of_order_is_not_written_again() {
    let mut ring = ring(6, 5);
    assert_eq!(item(ring.settle(3)), Some(3));
    assert_eq!(item(ring.settle(0)), Some(0));
    assert_eq!(item(ring.settle(1)), Some(1));
    ring.rewind_to(0);
    assert_eq!(write_all(&mut ring), [2, 4, 5]);
}

#[test]
fn an_item_knows_how_often_it_was_written() {
    let mut ring = ring(2, 1);
    assert_eq!((ring.writes(0), ring.writes(1), ring.writes(2)), (1, 0, 0));
    ring.rewind_to(0);
    write_all(&mut ring);
    assert_eq!(ring.settle(0), Some(Settled { item: 0, writes: 2 }));
    assert_eq!((ring.writes(0), ring.writes(1)), (0, 1));
}

#[test]
fn an_item_is_settled_once() {
    let mut ring = ring(2, 1);
    assert_eq!(item(ring.settle(0)), Some(0));
    assert_eq!(ring.settle(0), None);
    assert_eq!(ring.settle(2), None);
    assert_eq!((ring.len(), ring.bytes(), ring.in_flight()), (1, 1, 0));
}

#[test]
fn settling_an_item_still_unwritten_takes_it_out_of_the_order() {
    let mut ring = ring(4, 1);
    assert_eq!(item(ring.settle(2)), Some(2));
    assert_eq!((ring.in_flight(), ring.unwritten()), (1, 2));
    assert_eq!(write_all(&mut ring), [1, 3]);
}

#[test]
fn dropping_takes_the_oldest_unwritten_and_leaves_what_is_in_flight() {
    let mut ring = ring(4, 2);
    assert_eq!(dropped(&mut ring), Some((2, 2)));
    assert_eq!(ring.push(4, 1), Ok(4));
    assert_eq!((ring.in_flight(), ring.unwritten()), (2, 2));
    ring.rewind_to(0);
    assert_eq!(write_all(&mut ring), [0, 1, 3, 4]);
    assert_eq!(ring.drop_oldest_unwritten(), None);
}

// fault 21
#[test]
fn dropping_after_messages_in_flight_for_hours_does_not_grow_the_ring() {
    let mut ring = ring(100, 10);
    let pushed = scaled(100_000) as u64;
    for item in 100..pushed {
        assert_eq!(dropped(&mut ring), Some((item - 90, item - 90)));
        assert_eq!(ring.push(item, 1), Ok(item));
    }
    let survivors: Vec<u64> = ring.iter().map(|(position, _)| position).collect();
    let expected: Vec<u64> = (0..10).chain(pushed - 90..pushed).collect();
    assert_eq!(survivors, expected);
}

#[test]
fn an_item_can_be_read_and_changed_where_it_is() {
    let mut ring = ring(2, 1);
    *ring.get_mut(0).unwrap() = 7;
    assert_eq!(ring.get(0), Some(&7));
    assert_eq!(ring.get(2), None);
    assert_eq!(ring.iter().collect::<Vec<_>>(), [(0, &7), (1, &1)]);
}

/// The same ring, written without a thought for time or memory.
#[derive(Default)]
struct Model {
    entries: Vec<ModelEntry>,
    pushed: u64,
}

struct ModelEntry {
    position: u64,
    bytes: usize,
    written: bool,
    writes: u32,
}

impl Model {
    fn bytes(&self) -> usize {
        self.entries.iter().map(|entry| entry.bytes).sum()
    }

    fn in_flight(&self) -> usize {
        self.entries.iter().filter(|entry| entry.written).count()
    }

    fn push(&mut self, bytes: usize, limits: Limits) -> Result<u64, (Refusal, u64)> {
        let position = self.pushed;
        if bytes > limits.bytes {
            return Err((Refusal::TooLarge, position));
        }
        if self.entries.len() == limits.messages || self.bytes() + bytes > limits.bytes {
            return Err((Refusal::Full, position));
        }
        self.pushed += 1;
        self.entries.push(ModelEntry {
            position,
            bytes,
            written: false,
            writes: 0,
        });
        Ok(position)
    }

    fn next_unwritten(&mut self) -> Option<&mut ModelEntry> {
        self.entries.iter_mut().find(|entry| !entry.written)
    }

    fn settle(&mut self, position: u64) -> Option<Settled<u64>> {
        let index = self
            .entries
            .iter()
            .position(|entry| entry.position == position)?;
        let ModelEntry {
            position: item,
            writes,
            ..
        } = self.entries.remove(index);
        Some(Settled { item, writes })
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Push { bytes: usize },
    Write { count: usize },
    Settle(prop::sample::Index),
    SettleOldest,
    DropOldest,
    Rewind,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        8 => (0..12usize).prop_map(|bytes| Operation::Push { bytes }),
        4 => (0..5usize).prop_map(|count| Operation::Write { count }),
        3 => any::<prop::sample::Index>().prop_map(Operation::Settle),
        3 => Just(Operation::SettleOldest),
        1 => Just(Operation::DropOldest),
        1 => Just(Operation::Rewind),
    ]
}

proptest! {
    // faults 8, 13, 21
    #[test]
    fn it_behaves_as_a_list_searched_from_its_start(operations in vec(operation(), 0..scaled(400))) {
        let limits = Limits { messages: 20, bytes: 100 };
        let mut ring = Ring::new(limits);
        let mut model = Model::default();
        for operation in operations {
            match operation {
                Operation::Push { bytes } => {
                    // A byte size of 11 stands for a message larger than the ring.
                    let bytes = if bytes == 11 { 101 } else { bytes };
                    let pushed = ring.push(model.pushed, bytes);
                    prop_assert_eq!(pushed, model.push(bytes, limits));
                }
                Operation::Write { count } => {
                    for _ in 0..count {
                        let next = ring.next_unwritten().map(|(position, _)| position);
                        ring.mark_written();
                        let expected = model.next_unwritten().map(|entry| {
                            entry.written = true;
                            entry.writes += 1;
                            entry.position
                        });
                        prop_assert_eq!(next, expected);
                    }
                }
                Operation::Settle(index) => {
                    // One past the end, to ask for a position that does not exist as well.
                    let position = index.index(model.pushed as usize + 1) as u64;
                    prop_assert_eq!(ring.settle(position), model.settle(position));
                }
                Operation::SettleOldest => {
                    let position = model.entries.first().map_or(0, |entry| entry.position);
                    prop_assert_eq!(ring.settle(position), model.settle(position));
                }
                Operation::DropOldest => {
                    let oldest = model.next_unwritten().map(|entry| entry.position);
                    let expected = oldest.and_then(|position| model.settle(position));
                    let expected = expected.map(|settled| (settled.item, settled));
                    prop_assert_eq!(ring.drop_oldest_unwritten(), expected);
                }
                Operation::Rewind => {
                    ring.rewind_to(0);
                    model.entries.iter_mut().for_each(|entry| entry.written = false);
                }
            }
            prop_assert_eq!(ring.bytes(), model.bytes());
            prop_assert_eq!(ring.in_flight(), model.in_flight());
            prop_assert_eq!(ring.unwritten(), model.entries.len() - model.in_flight());
            prop_assert_eq!(ring.is_empty(), model.entries.is_empty());
            let positions = model.entries.iter().map(|entry| entry.position);
            prop_assert!(ring.iter().map(|(position, _)| position).eq(positions));
        }
    }
}
