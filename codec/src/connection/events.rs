use std::collections::VecDeque;

use crate::event::Event;
use crate::types::ChannelId;

/// What is to be polled.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
}

/// How many wait before nothing more is received. They fit into a processor's nearest cache, where
/// they are found again when they are polled.
const MANY: usize = 128;

/// Room that an empty queue holds on to. More are there only when a deadline ends many channels.
const RETAINED: usize = 2 * MANY;

impl Events {
    #[inline]
    pub(super) fn push(&mut self, event: Event) {
        self.queue.push_back(event);
    }

    pub(super) fn extend(&mut self, event: Option<Event>) {
        self.queue.extend(event);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.queue.is_empty()
    }

    /// Whether some are to be polled before more come in.
    pub(super) fn are_many(&self) -> bool {
        self.queue.len() >= MANY
    }

    /// Whether the end of this channel is yet to be polled.
    pub(super) fn tell_end_of(&self, id: ChannelId) -> bool {
        let mut queue = self.queue.iter();
        queue.any(|event| match event {
            Event::ChannelClosed { channel, .. } | Event::ChannelReleased { channel } => {
                *channel == id
            }
            _ => false,
        })
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        if self.queue.is_empty() {
            self.queue.shrink_to(RETAINED);
        }
        self.queue.pop_front()
    }
}
