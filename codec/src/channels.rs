use std::collections::VecDeque;
use std::time::Instant;

use crate::channel::{ChannelPhase, ChannelState};
use crate::types::ChannelId;

/// The channels of a connection, by number.
#[derive(Debug, Default)]
pub(crate) struct Channels {
    /// `slots[n]` is channel `n + 1`; what is beyond the end was never opened.
    slots: Vec<Slot>,
    /// Numbers of [`allocate`](Self::allocate) that can be given out again, the longest unused
    /// first: a peer's late words about a closed channel then find it closed, and not a stranger
    /// in its place.
    free: VecDeque<ChannelId>,
}

#[derive(Debug)]
enum Slot {
    /// Nothing was ever heard of it.
    Unused,
    /// It was closed; frames for it may still be on their way.
    Closed,
    /// It exists.
    Live(Box<ChannelState>),
}

/// How many numbers rest before the longest unused of them is given out again.
const RESTING: usize = 16;

impl Channels {
    /// Puts a channel that is to be opened at a free number up to `max`, and gives the number. One
    /// that was in use is taken only if it is `reusable`.
    pub(crate) fn allocate(
        &mut self,
        max: u16,
        reusable: impl FnOnce(ChannelId) -> bool,
    ) -> Option<ChannelId> {
        let fresh = u16::try_from(self.slots.len() + 1)
            .ok()
            .filter(|id| *id <= max)
            .map(ChannelId);
        let id = match (fresh, self.free.front()) {
            (Some(fresh), _) if self.free.len() < RESTING => fresh,
            (_, Some(&rested)) if reusable(rested) => {
                self.free.pop_front();
                rested
            }
            (fresh, _) => fresh?,
        };
        let reused = self.is_closed(id);
        self.insert(id, ChannelPhase::Opening { reused });
        Some(id)
    }

    /// Puts a channel at a number; not 0, which is the connection.
    pub(crate) fn insert(&mut self, id: ChannelId, phase: ChannelPhase) {
        let index = id.index() - 1;
        if self.slots.len() <= index {
            self.slots.resize_with(index + 1, || Slot::Unused);
        }
        self.slots[index] = Slot::Live(Box::new(ChannelState::new(phase)));
    }

    /// Ends a channel whose number we chose, so that the number can be used again.
    pub(crate) fn release(&mut self, id: ChannelId) {
        if self.close(id) {
            self.free.push_back(id);
        }
    }

    /// Ends a channel; whether there was one.
    pub(crate) fn close(&mut self, id: ChannelId) -> bool {
        let live = self.get_mut(id).is_some();
        if live {
            self.slots[id.index() - 1] = Slot::Closed;
        }
        live
    }

    pub(crate) fn get_mut(&mut self, id: ChannelId) -> Option<&mut ChannelState> {
        match self.slots.get_mut(id.index().checked_sub(1)?)? {
            Slot::Live(state) => Some(state),
            Slot::Unused | Slot::Closed => None,
        }
    }

    /// Whether there was a channel at this number that has ended.
    pub(crate) fn is_closed(&self, id: ChannelId) -> bool {
        let slot = self.slots.get(id.index().wrapping_sub(1));
        matches!(slot, Some(Slot::Closed))
    }

    /// The numbers at which there may be channels.
    pub(crate) fn ids(&self) -> impl Iterator<Item = ChannelId> + use<> {
        // Numbers have 16 bits, and 0 is none of them, so there are no more slots than that.
        (1..=self.slots.len() as u16).map(ChannelId)
    }

    /// No answer is overdue before, but to what closes a channel.
    pub(crate) fn excuse_until(&mut self, until: Instant) {
        for slot in &mut self.slots {
            if let Slot::Live(state) = slot {
                state.excuse_until(until);
            }
        }
    }

    /// When the first answer is overdue that any channel waits for; while the connection is blocked, that is
    /// the answer to a close.
    pub(crate) fn earliest_deadline(&self, is_blocked: bool) -> Option<Instant> {
        let deadline = |slot: &Slot| match slot {
            Slot::Live(state) => state.earliest_deadline(is_blocked),
            Slot::Unused | Slot::Closed => None,
        };
        self.slots.iter().filter_map(deadline).min()
    }
}
