//! A queue whose entries carry ascending keys and may leave from anywhere in it.
//!
//! Ring positions, publish tags and delivery tags are one and the same problem: numbers given out
//! in order and settled mostly in order, but not always. One message at the front may stay
//! unsettled for hours while millions pass after it, so the memory has to follow what is in the
//! queue, not the span of its keys.

use std::collections::VecDeque;

/// Slots that are kept however few are occupied: freeing fewer is not worth a move.
const RETAINED: usize = 64;

/// A FIFO of values under strictly ascending keys.
///
/// Finding and removing take O(1) where the keys between an entry and either end are consecutive,
/// else O(log n); pushing takes O(1); all amortised. An entry that leaves from the middle leaves a
/// hole, and holes never outnumber the entries by more than a constant. The memory of a burst is
/// given back in the course of the traffic after it.
#[derive(Debug)]
pub struct KeyedQueue<V> {
    /// Sorted by key. The first slot is always occupied, so that an empty queue has no slots.
    slots: VecDeque<Slot<V>>,
    occupied: usize,
    /// The most slots in use since the storage was reviewed.
    peak: usize,
    /// Removals since then.
    removals: usize,
}

#[derive(Debug)]
struct Slot<V> {
    key: u64,
    value: Option<V>,
}

impl<V> Default for KeyedQueue<V> {
    fn default() -> Self {
        Self::new()
    }
}

impl<V> KeyedQueue<V> {
    pub const fn new() -> Self {
        Self {
            slots: VecDeque::new(),
            occupied: 0,
            peak: 0,
            removals: 0,
        }
    }

    pub fn len(&self) -> usize {
        self.occupied
    }

    pub fn is_empty(&self) -> bool {
        self.occupied == 0
    }

    /// Appends a value. The key must be greater than every key pushed before it.
    pub fn push(&mut self, key: u64, value: V) {
        debug_assert!(
            self.slots.back().is_none_or(|last| last.key < key),
            "keys must ascend"
        );
        if self.slots.capacity() == 0 {
            // Most queues have one entry at a time, or none.
            self.slots.reserve_exact(1);
        }
        self.slots.push_back(Slot {
            key,
            value: Some(value),
        });
        self.occupied += 1;
        self.peak = self.peak.max(self.slots.len());
    }

    pub fn get(&self, key: u64) -> Option<&V> {
        let slot = self.slots.get(self.lower_bound(key))?;
        slot.value.as_ref().filter(|_| slot.key == key)
    }

    pub fn get_mut(&mut self, key: u64) -> Option<&mut V> {
        let index = self.lower_bound(key);
        let slot = self.slots.get_mut(index)?;
        slot.value.as_mut().filter(|_| slot.key == key)
    }

    /// The entry with the smallest key.
    pub fn first(&self) -> Option<(u64, &V)> {
        let slot = self.slots.front()?;
        slot.value.as_ref().map(|value| (slot.key, value))
    }

    /// The entry with the smallest key that is not below `key`.
    pub fn first_from(&mut self, key: u64) -> Option<(u64, &mut V)> {
        let mut index = self.lower_bound(key);
        while self.slots.get(index)?.value.is_none() {
            index += 1;
        }
        let slot = self.slots.get_mut(index)?;
        slot.value.as_mut().map(|value| (slot.key, value))
    }

    /// Removes the first entry if the condition holds for its key and value.
    pub fn pop_first_if(&mut self, condition: impl FnOnce(u64, &V) -> bool) -> Option<(u64, V)> {
        let (key, value) = self.first()?;
        if !condition(key, value) {
            return None;
        }
        self.remove(key).map(|value| (key, value))
    }

    #[inline]
    pub fn remove(&mut self, key: u64) -> Option<V> {
        // As a rule those that hold what few messages have are empty.
        if self.occupied == 0 {
            return None;
        }
        self.remove_from_some(key)
    }

    fn remove_from_some(&mut self, key: u64) -> Option<V> {
        let index = self.lower_bound(key);
        let slot = self.slots.get_mut(index).filter(|slot| slot.key == key)?;
        let value = slot.value.take()?;
        self.occupied -= 1;
        while self.slots.front().is_some_and(|slot| slot.value.is_none()) {
            self.slots.pop_front();
        }
        if self.slots.len() > 2 * self.occupied + RETAINED {
            // More holes than entries: the removals that made the holes pay for moving the entries.
            self.slots.retain(|slot| slot.value.is_some());
        }
        self.removals += 1;
        if self.removals > 2 * self.slots.capacity() {
            self.review();
        }
        Some(value)
    }

    pub fn clear(&mut self) {
        self.slots.clear();
        self.slots.shrink_to(RETAINED);
        self.occupied = 0;
    }

    /// Everything whose key is `key` or greater, in order.
    pub fn iter_from(&self, key: u64) -> impl Iterator<Item = (u64, &V)> {
        self.slots
            .range(self.lower_bound(key)..)
            .filter_map(|slot| Some((slot.key, slot.value.as_ref()?)))
    }

    /// All entries, by ascending keys.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &V)> {
        self.slots
            .iter()
            .filter_map(|slot| Some((slot.key, slot.value.as_ref()?)))
    }

    /// Index of the first slot whose key is not below `key`.
    #[inline]
    fn lower_bound(&self, key: u64) -> usize {
        let Some(first) = self.slots.front() else {
            return 0;
        };
        if key <= first.key {
            return 0;
        }
        // Without gaps between them, two keys are as far apart as their slots.
        let from_first = (key - first.key) as usize;
        match self.slots.get(from_first) {
            Some(slot) if slot.key == key => from_first,
            _ => self.lower_bound_from_last(key),
        }
    }

    /// The same, where counting from the first slot has not found it.
    fn lower_bound_from_last(&self, key: u64) -> usize {
        let Some(last) = self.slots.back() else {
            return 0;
        };
        if key > last.key {
            return self.slots.len();
        }
        let from_last = self.slots.len().wrapping_sub(1 + (last.key - key) as usize);
        if self
            .slots
            .get(from_last)
            .is_some_and(|slot| slot.key == key)
        {
            return from_last;
        }
        self.slots.partition_point(|slot| slot.key < key)
    }

    /// Halves the storage if three quarters of it have not been needed since the last review, which
    /// is long enough ago for the queue to have filled and emptied once: a queue that does so again
    /// and again keeps what it needs.
    fn review(&mut self) {
        let capacity = self.slots.capacity();
        if capacity > RETAINED && self.peak < capacity / 4 {
            self.slots.shrink_to(capacity / 2);
        }
        self.peak = self.slots.len();
        self.removals = 0;
    }
}

#[cfg(test)]
mod tests;
