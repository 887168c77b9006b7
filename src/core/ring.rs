//! The bounded buffer between a producer and its connection.
//!
//! One FIFO is the outage buffer, the send queue and the window in flight at once: a message keeps
//! its place from the push until it is settled, so a reconnect only has to move a cursor back.
//! Order survives, and nothing is copied to be sent again.
//!
//! ```text
//!       confirmed             written              pushed
//!           |     in flight      |     unwritten      |
//!   settled |  (and holes where  |  (all of it after  |
//!           |  later ones left)  |      a rewind)     |
//! ```

use super::keyed_queue::KeyedQueue;

/// What a buffer may hold. In a ring, in flight and waiting together.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    pub messages: usize,
    pub bytes: usize,
}

/// Why a ring does not take a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refusal {
    /// There will be room once messages have been settled or dropped.
    Full,
    /// The message alone is larger than the ring: no waiting and no dropping makes room for it.
    TooLarge,
}

/// A bounded FIFO with cursors `confirmed <= written <= pushed`.
///
/// Every item has a position, counted from 0 and never used again. Items are written in the order
/// of their positions and settled in any order.
#[derive(Debug)]
pub struct Ring<T> {
    entries: KeyedQueue<Entry<T>>,
    limits: Limits,
    /// What is before this position is in flight, what is at or after it is unwritten. It may point
    /// to a hole.
    written: u64,
    /// The position of the next push.
    pushed: u64,
    in_flight: usize,
    in_flight_bytes: usize,
    bytes: usize,
}

#[derive(Debug)]
struct Entry<T> {
    item: T,
    /// As short as its use allows: a buffer has one of these for each message.
    bytes: u32,
    writes: u32,
}

/// An item that has left.
#[derive(Debug, PartialEq, Eq)]
pub struct Settled<T> {
    pub item: T,
    /// How often it was written: what was may have reached the broker.
    pub writes: u32,
}

impl<T> Ring<T> {
    pub const fn new(limits: Limits) -> Self {
        Self {
            entries: KeyedQueue::new(),
            limits,
            written: 0,
            pushed: 0,
            in_flight: 0,
            in_flight_bytes: 0,
            bytes: 0,
        }
    }

    /// Number of items not settled yet.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Size of the items not settled yet.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Number of items written and not settled yet.
    pub fn in_flight(&self) -> usize {
        self.in_flight
    }

    /// Number of items still to be written.
    pub fn unwritten(&self) -> usize {
        self.len() - self.in_flight
    }

    #[cfg(test)]
    pub fn limits(&self) -> Limits {
        self.limits
    }

    /// Whether a message of this size would be taken now.
    pub fn room_for(&self, bytes: usize) -> Result<(), Refusal> {
        if bytes > self.limits.bytes || bytes > LARGEST {
            Err(Refusal::TooLarge)
        } else if self.len() >= self.limits.messages || bytes > self.limits.bytes - self.bytes {
            Err(Refusal::Full)
        } else {
            Ok(())
        }
    }

    /// For how many messages there is room, and for how many bytes.
    pub fn room(&self) -> Limits {
        Limits {
            messages: self.limits.messages.saturating_sub(self.len()),
            bytes: self.limits.bytes.saturating_sub(self.bytes),
        }
    }

    /// Whether half of the room is free, by messages and by bytes.
    pub fn is_half_empty(&self) -> bool {
        self.len() <= self.limits.messages / 2 && self.bytes <= self.limits.bytes / 2
    }

    /// Whether a message of this size would be taken if nothing unwritten were kept.
    pub fn could_have_room_for(&self, bytes: usize) -> bool {
        self.in_flight < self.limits.messages && bytes <= self.limits.bytes - self.in_flight_bytes
    }

    /// Appends an item, or gives it back.
    pub fn push(&mut self, item: T, bytes: usize) -> Result<u64, (Refusal, T)> {
        if let Err(refusal) = self.room_for(bytes) {
            return Err((refusal, item));
        }
        let position = self.pushed;
        self.entries.push(
            position,
            Entry {
                item,
                bytes: bytes as u32,
                writes: 0,
            },
        );
        self.pushed += 1;
        self.bytes += bytes;
        Ok(position)
    }

    /// Removes the oldest item still to be written, to make room for a newer one.
    ///
    /// Items in flight are not touched: their fate is the broker's to tell.
    pub fn drop_oldest_unwritten(&mut self) -> Option<(u64, Settled<T>)> {
        let (position, _) = self.next_unwritten()?;
        self.settle(position).map(|settled| (position, settled))
    }

    /// The item to write next. It stays the next one until [`mark_written`](Self::mark_written).
    pub fn next_unwritten(&mut self) -> Option<(u64, &mut T)> {
        if self.written == self.pushed {
            return None;
        }
        let Some((position, entry)) = self.entries.first_from(self.written) else {
            self.written = self.pushed;
            return None;
        };
        self.written = position;
        Some((position, &mut entry.item))
    }

    /// Moves the written cursor past the item of [`next_unwritten`](Self::next_unwritten).
    pub fn mark_written(&mut self) {
        if let Some((position, entry)) = self.entries.first_from(self.written) {
            entry.writes = entry.writes.saturating_add(1);
            self.written = position + 1;
            self.in_flight += 1;
            self.in_flight_bytes += entry.bytes as usize;
        }
    }

    /// Lets what is unsettled at or after `position` be written again, in the same order.
    pub fn rewind_to(&mut self, position: u64) {
        self.written = self.written.min(position).max(self.confirmed());
        let kept = self.entries.iter().take_while(|(at, _)| *at < self.written);
        let (in_flight, bytes) = kept.fold((0, 0), |(count, bytes), (_, entry)| {
            (count + 1, bytes + entry.bytes as usize)
        });
        (self.in_flight, self.in_flight_bytes) = (in_flight, bytes);
    }

    /// Removes an item, wherever it is. Gives `None` if it has left before.
    pub fn settle(&mut self, position: u64) -> Option<Settled<T>> {
        let Entry {
            item,
            bytes,
            writes,
        } = self.entries.remove(position)?;
        self.bytes -= bytes as usize;
        if position < self.written {
            self.in_flight -= 1;
            self.in_flight_bytes -= bytes as usize;
        }
        Some(Settled { item, writes })
    }

    /// How often an item was written, if it has not left.
    pub fn writes(&self, position: u64) -> u32 {
        let entry = self.entries.get(position);
        entry.map_or(0, |entry| entry.writes)
    }

    pub fn get(&self, position: u64) -> Option<&T> {
        self.entries.get(position).map(|entry| &entry.item)
    }

    pub fn get_mut(&mut self, position: u64) -> Option<&mut T> {
        self.entries.get_mut(position).map(|entry| &mut entry.item)
    }

    /// Everything unsettled, oldest first.
    pub fn iter(&self) -> impl Iterator<Item = (u64, &T)> {
        self.entries
            .iter()
            .map(|(position, entry)| (position, &entry.item))
    }

    /// Everything unsettled at or after `position`, oldest first.
    pub fn iter_from(&self, position: u64) -> impl Iterator<Item = (u64, &T)> {
        let entries = self.entries.iter_from(position);
        entries.map(|(position, entry)| (position, &entry.item))
    }

    /// The position before which everything was accepted: that of the next.
    pub fn pushed(&self) -> u64 {
        self.pushed
    }

    /// The position before which everything was written, or is settled.
    pub fn written(&self) -> u64 {
        self.written
    }

    /// The position before which everything is settled.
    pub fn confirmed(&self) -> u64 {
        self.entries
            .first()
            .map_or(self.pushed, |(position, _)| position)
    }
}

/// No message may have more bytes.
const LARGEST: usize = u32::MAX as usize;

#[cfg(test)]
mod tests;
