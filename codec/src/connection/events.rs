use std::collections::VecDeque;

use crate::Event;

/// What is to be polled.
#[derive(Debug, Default)]
pub(super) struct Events {
    queue: VecDeque<Event>,
}

/// Room that an empty queue holds on to; a burst beyond it is given back.
const RETAINED: usize = 2048;

impl Events {
    pub(super) fn push(&mut self, event: Event) {
        if self.queue.len() == self.queue.capacity() {
            // By a quarter, where a queue doubles by itself: an event takes up to twelve times the
            // memory of the frame that it came in, so there is none to be wasted on a peer that
            // sends nothing but such frames.
            self.queue.reserve_exact(16 + self.queue.len() / 4);
        }
        self.queue.push_back(event);
    }

    /// Whether the end of this channel is yet to be polled.
    pub(super) fn tell_end_of(&self, id: u16) -> bool {
        self.queue
            .iter()
            .any(|event| matches!(event, Event::ChannelClosed { channel, .. } if *channel == id))
    }

    pub(super) fn pop(&mut self) -> Option<Event> {
        if self.queue.is_empty() {
            self.queue.shrink_to(RETAINED);
        }
        self.queue.pop_front()
    }
}
