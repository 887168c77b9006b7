use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::core::scaled;

fn filled(keys: impl IntoIterator<Item = u64>) -> KeyedQueue<u64> {
    let mut queue = KeyedQueue::new();
    for key in keys {
        queue.push(key, key * 10);
    }
    queue
}

#[test]
fn an_entry_is_found_by_its_key_whatever_left_before_it() {
    let mut queue = filled([1, 2, 3, 7, 8, 100]);
    assert_eq!(queue.remove(2), Some(20));
    assert_eq!(queue.remove(2), None);
    assert_eq!(queue.get(3), Some(&30));
    assert_eq!(queue.get(5), None);
    assert_eq!(queue.first_from(2), Some((3, &mut 30)));
    assert_eq!(queue.first_from(9), Some((100, &mut 1000)));
    assert_eq!(queue.first_from(101), None);
    assert_eq!(queue.remove(1), Some(10));
    assert_eq!(queue.first(), Some((3, &30)));
    assert_eq!(queue.get(100), Some(&1000));
}

#[test]
fn one_entry_that_stays_does_not_hold_the_slots_of_all_that_pass_it() {
    let mut queue = filled([0]);
    for key in 1..scaled(100_000) as u64 {
        queue.push(key, key);
        assert_eq!(queue.remove(key), Some(key));
    }
    assert!(
        queue.slots.capacity() <= 4 * RETAINED,
        "{}",
        queue.slots.capacity()
    );
    assert_eq!(queue.get(0), Some(&0));
}

#[test]
fn the_storage_of_a_burst_is_given_back_by_the_traffic_after_it() {
    let burst = scaled(10_000) as u64;
    let mut queue = filled(0..burst);
    while queue.len() > 10 {
        queue.pop_first_if(|_, _| true);
    }
    for key in burst..20 * burst {
        queue.push(key, key);
        queue.pop_first_if(|_, _| true);
    }
    assert!(
        queue.slots.capacity() <= 2 * RETAINED,
        "{}",
        queue.slots.capacity()
    );
    let late = 20 * burst - 5;
    assert_eq!(queue.get(late), Some(&late));
}

#[test]
fn a_queue_that_fills_and_empties_again_and_again_does_not_allocate() {
    let filling = scaled(5_000) as u64;
    let mut queue = filled(0..filling);
    let capacity = queue.slots.capacity();
    for round in 1..20 {
        while queue.pop_first_if(|_, _| true).is_some() {}
        for key in round * filling..(round + 1) * filling {
            queue.push(key, key);
        }
        assert_eq!(queue.slots.capacity(), capacity);
    }
}

#[test]
fn a_steady_stream_does_not_allocate() {
    let mut queue = filled(0..100);
    let capacity = queue.slots.capacity();
    for key in 100..scaled(10_000) as u64 {
        queue.push(key, key);
        queue.pop_first_if(|_, _| true);
        assert_eq!(queue.slots.capacity(), capacity);
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Push { gap: u64 },
    Remove(u64),
    RemoveNth(prop::sample::Index),
    PopFirstUpTo(u64),
    FirstFrom(u64),
    Clear,
}

fn operation() -> impl Strategy<Value = Operation> {
    prop_oneof![
        12 => prop_oneof![9 => Just(1), 1 => 1..9u64].prop_map(|gap| Operation::Push { gap }),
        1 => (0..600u64).prop_map(Operation::Remove),
        6 => any::<prop::sample::Index>().prop_map(Operation::RemoveNth),
        2 => (0..600u64).prop_map(Operation::PopFirstUpTo),
        2 => (0..600u64).prop_map(Operation::FirstFrom),
        1 => Just(Operation::Clear),
    ]
}

proptest! {
    #[test]
    fn it_behaves_as_an_ordered_map(operations in vec(operation(), 0..scaled(600))) {
        let mut queue = KeyedQueue::new();
        let mut model = BTreeMap::new();
        let mut key = 0;
        for operation in operations {
            match operation {
                Operation::Push { gap } => {
                    key += gap;
                    queue.push(key, key);
                    model.insert(key, key);
                }
                Operation::Remove(key) => prop_assert_eq!(queue.remove(key), model.remove(&key)),
                Operation::RemoveNth(_) if model.is_empty() => {}
                Operation::RemoveNth(index) => {
                    let key = *index.get(&model.keys().copied().collect::<Vec<_>>());
                    prop_assert_eq!(queue.get_mut(key), model.get_mut(&key));
                    prop_assert_eq!(queue.remove(key), model.remove(&key));
                }
                Operation::PopFirstUpTo(limit) => {
                    let first = model.keys().next().copied().filter(|&key| key <= limit);
                    let expected = first.and_then(|key| model.remove_entry(&key));
                    prop_assert_eq!(queue.pop_first_if(|key, _| key <= limit), expected);
                }
                Operation::FirstFrom(from) => {
                    let expected = model.range_mut(from..).next().map(|(&key, value)| (key, value));
                    prop_assert_eq!(queue.first_from(from), expected);
                }
                Operation::Clear => {
                    queue.clear();
                    model.clear();
                }
            }
            prop_assert_eq!(queue.len(), model.len());
            prop_assert_eq!(queue.is_empty(), model.is_empty());
            prop_assert_eq!(queue.first(), model.first_key_value().map(|(&key, value)| (key, value)));
            prop_assert!(queue.slots.len() <= 2 * queue.len() + RETAINED);
        }
        prop_assert!(queue.iter().eq(model.iter().map(|(&key, value)| (key, value))));
        for key in 0..=key + 1 {
            prop_assert_eq!(queue.get(key), model.get(&key));
        }
    }
}
