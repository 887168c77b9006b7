use snowshoe_codec::ChannelId;

use super::keys::{ChannelKey, ConsumerKey, ProducerKey};

/// Whose a channel is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    /// What was declared is declared again.
    Recovery,
    /// A queue is looked for.
    Look,
    /// What users ask for, one call after the other.
    Calls,
    Producer(ProducerKey),
    /// Several producers.
    Producers,
    Consumer(ConsumerKey),
    /// A channel that a user drives.
    User(ChannelKey),
}

/// Whose the channels of one connection are, and how far each has come.
#[derive(Debug, Default)]
pub(super) struct Owners {
    /// By the channel's number.
    slots: Vec<Slot>,
    counts: Counts,
}

/// How many channels there are, by how far they have come.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Counts {
    pub(super) opening: usize,
    pub(super) open: usize,
    /// Those that we close, and whose numbers are free again when the broker has confirmed it.
    pub(super) closing: usize,
}

#[derive(Clone, Copy, Debug, Default)]
struct Slot {
    owner: Option<Owner>,
    stage: Stage,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Stage {
    #[default]
    Free,
    Opening,
    Open,
    Closing,
}

impl Counts {
    /// How many numbers are taken.
    pub(super) fn taken(&self) -> usize {
        self.opening + self.open + self.closing
    }

    fn of(&mut self, stage: Stage) -> Option<&mut usize> {
        match stage {
            Stage::Free => None,
            Stage::Opening => Some(&mut self.opening),
            Stage::Open => Some(&mut self.open),
            Stage::Closing => Some(&mut self.closing),
        }
    }
}

impl Owners {
    #[inline]
    pub(super) fn get(&self, channel: ChannelId) -> Option<Owner> {
        self.slots.get(channel.index())?.owner
    }

    pub(super) fn counts(&self) -> Counts {
        self.counts
    }

    /// The channel is being opened for this owner.
    pub(super) fn opening(&mut self, channel: ChannelId, owner: Owner) {
        let index = channel.index();
        if self.slots.len() <= index {
            self.slots.resize(index + 1, Slot::default());
        }
        self.change(channel, Stage::Opening);
        self.slots[index].owner = Some(owner);
    }

    /// Its owner is another from now on.
    pub(super) fn pass_on(&mut self, channel: ChannelId, owner: Owner) {
        if let Some(slot) = self.slots.get_mut(channel.index()) {
            slot.owner = Some(owner);
        }
    }

    /// The broker has opened it.
    pub(super) fn opened(&mut self, channel: ChannelId) {
        self.change(channel, Stage::Open);
    }

    /// Its owner does not want it any more, and it is being closed.
    pub(super) fn closing(&mut self, channel: ChannelId) {
        self.change(channel, Stage::Closing);
        if let Some(slot) = self.slots.get_mut(channel.index()) {
            slot.owner = None;
        }
    }

    /// It has ended; whose it was.
    pub(super) fn ended(&mut self, channel: ChannelId) -> Option<Owner> {
        self.change(channel, Stage::Free);
        self.slots.get_mut(channel.index())?.owner.take()
    }

    fn change(&mut self, channel: ChannelId, to: Stage) {
        let Some(slot) = self.slots.get_mut(channel.index()) else {
            return;
        };
        let from = std::mem::replace(&mut slot.stage, to);
        if let Some(count) = self.counts.of(from) {
            *count -= 1;
        }
        if let Some(count) = self.counts.of(to) {
            *count += 1;
        }
    }
}
