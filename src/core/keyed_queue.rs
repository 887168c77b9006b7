//! A queue whose entries carry ascending keys and may leave from anywhere in it.
//!
//! Ring positions, publish tags and delivery tags are one and the same problem: numbers given out
//! in order and settled mostly in order, but not always. One message at the front may stay
//! unsettled for hours while millions pass behind it, so the memory has to follow what is in the
//! queue, not the span of its keys.

use std::collections::VecDeque;

/// Slots that are kept however few are occupied: freeing fewer is not worth a move.
const RETAINED: usize = 64;

/// A FIFO of values under strictly ascending keys.
///
/// Finding and removing take O(1) while the keys are consecutive and O(log n) behind a gap, pushing
/// O(1), all amortised. An entry that leaves from the middle leaves a hole; holes never outnumber
/// the entries by more than a constant. Memory is given back as the queue empties.
#[derive(Debug)]
pub(crate) struct KeyedQueue<V> {
    /// Sorted by key. The first slot is always occupied, so that an empty queue has no slots.
    slots: VecDeque<Slot<V>>,
    occupied: usize,
}

#[derive(Debug)]
struct Slot<V> {
    key: u64,
    value: Option<V>,
}

impl<V> KeyedQueue<V> {
    pub(crate) const fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            occupied: 0,
        }
    }

    pub(crate) fn len(&self) -> usize {
        self.occupied
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Appends a value. The key must be greater than every key pushed before it.
    pub(crate) fn push(&mut self, key: u64, value: V) {
        debug_assert!(
            self.slots.back().is_none_or(|last| last.key < key),
            "keys must ascend"
        );
        self.slots.push_back(Slot {
            key,
            value: Some(value),
        });
        self.occupied += 1;
    }

    pub(crate) fn get(&self, key: u64) -> Option<&V> {
        let slot = self.slots.get(self.lower_bound(key))?;
        slot.value.as_ref().filter(|_| slot.key == key)
    }

    pub(crate) fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        let index = self.lower_bound(key);
        let slot = self.slots.get_mut(index)?;
        slot.value.as_mut().filter(|_| slot.key == key)
    }

    /// The entry with the smallest key.
    pub(crate) fn first(&self) -> Option<(u64, &V)> {
        let slot = self.slots.front()?;
        slot.value.as_ref().map(|value| (slot.key, value))
    }

    /// The entry with the smallest key that is not below `key`.
    pub(crate) fn first_from(&mut self, key: u64) -> Option<(u64, &mut V)> {
        let index = self.lower_bound(key);
        self.slots
            .range_mut(index..)
            .find_map(|slot| Some((slot.key, slot.value.as_mut()?)))
    }

    /// Removes the first entry if the condition holds for its key and value.
    pub(crate) fn pop_first_if(
        &mut self,
        condition: impl FnOnce(u64, &V) -> bool,
    ) -> Option<(u64, V)> {
        let (key, value) = self.first()?;
        if !condition(key, value) {
            return None;
        }
        self.remove(key).map(|value| (key, value))
    }

    pub(crate) fn remove(&mut self, key: u64) -> Option<V> {
        let index = self.lower_bound(key);
        let value = self
            .slots
            .get_mut(index)
            .filter(|slot| slot.key == key)?
            .value
            .take()?;
        self.occupied -= 1;
        if index == 0 {
            while self.slots.front().is_some_and(|slot| slot.value.is_none()) {
                self.slots.pop_front();
            }
        }
        if self.slots.len() > 2 * self.occupied + RETAINED {
            // More holes than entries: the removals that made the holes pay for moving the entries.
            self.slots.retain(|slot| slot.value.is_some());
        }
        self.give_back();
        Some(value)
    }

    pub(crate) fn clear(&mut self) {
        self.slots.clear();
        self.slots.shrink_to(RETAINED);
        self.occupied = 0;
    }

    /// All entries, by ascending keys.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.slots
            .iter()
            .filter_map(|slot| Some((slot.key, slot.value.as_ref()?)))
    }

    /// Index of the first slot whose key is not below `key`.
    fn lower_bound(&self, key: u64) -> usize {
        let Some(first) = self.slots.front().filter(|first| first.key < key) else {
            return 0;
        };
        // Without gaps a key's distance from the first one is its index.
        let distance = usize::try_from(key - first.key).unwrap_or(usize::MAX);
        match self.slots.get(distance) {
            Some(slot) if slot.key == key => distance,
            _ => self.slots.partition_point(|slot| slot.key < key),
        }
    }

    /// Halves the storage once three quarters of it are unused, so that growing and shrinking do
    /// not alternate.
    fn give_back(&mut self) {
        let capacity = self.slots.capacity();
        if capacity > RETAINED && self.slots.len() < capacity / 4 {
            self.slots.shrink_to(capacity / 2);
        }
    }
}

#[cfg(test)]
mod tests;
