//! How much waits for a consumer, and what the broker is to do about it.
//!
//! A connection is read whatever its consumers do: what waits for one that does not keep up is
//! bounded by asking the broker for less, and what comes all the same by giving it back, or where there
//! are no acknowledgements, by dropping it.
//!
//! ```text
//!                      too much waits               the broker has heard
//!          ┌─► Wide ───────────────────► Narrowing ─────────────────────► Narrow ─┐
//!          │    ▲                            │ it cannot be asked                 │ most of it
//!          │    └── most of it was taken ── Held                                  │ was taken
//!          └────── the broker has heard ──── Widening ◄───────────────────────────┘
//! ```
//!
//! Narrowing begins at half of the bytes that may wait: what is on its way has the other half. It ends
//! at a quarter, so that there is something to work on until more comes.

use super::Flow;

/// What may wait.
#[derive(Clone, Copy, Debug)]
pub struct Bounds {
    /// The broker is asked for less once more messages wait. Those on their way come on top.
    pub messages: usize,
    /// No more than these are kept; but a message that is larger can wait alone.
    pub bytes: usize,
    /// How many unacknowledged messages there may be at most, if there is a limit.
    pub prefetch: Option<u16>,
}

/// Messages, and what they take.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Load {
    pub messages: usize,
    pub bytes: usize,
}

impl Load {
    pub fn add(&mut self, bytes: usize) {
        self.messages += 1;
        self.bytes = self.bytes.saturating_add(bytes);
    }

    fn subtract(&mut self, other: Self) {
        self.messages = self.messages.saturating_sub(other.messages);
        self.bytes = self.bytes.saturating_sub(other.bytes);
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// The broker sends as the user asked.
    Wide,
    Narrowing,
    /// The broker sends one message at a time.
    Narrow,
    Widening,
    /// The broker cannot be asked for less, and goes on.
    Held,
}

/// Delivery tags from the first to the last.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Tags {
    pub first: u64,
    pub last: u64,
}

#[derive(Debug)]
pub struct Backlog {
    bounds: Bounds,
    stage: Stage,
    waiting: Load,
    /// What was not kept, and is to go back to the queue: all that came since the first.
    overflow: Option<Tags>,
    /// The same, once there is room for it.
    returns: Option<Tags>,
    /// The prefetch of the wide consumer, where there is one.
    window: u16,
    /// How many came since that consumer was asked for: it may send all it may before the other has gone.
    received: usize,
    /// What a message takes, of late.
    average: usize,
    /// How many were dropped since it was last asked, and ever.
    dropped: u64,
    dropped_ever: u64,
    /// The user gets nothing because the prefetch was made lower. A prefetch counts for each consumer
    /// by itself, so another wide one has all of its own.
    is_starving: bool,
    /// It comes from a stream, which takes nothing back.
    is_stream: bool,
}

impl Backlog {
    pub const fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            stage: Stage::Wide,
            waiting: Load {
                messages: 0,
                bytes: 0,
            },
            overflow: None,
            returns: None,
            window: match bounds.prefetch {
                Some(prefetch) => prefetch,
                None => 0,
            },
            received: 0,
            average: 0,
            dropped: 0,
            dropped_ever: 0,
            is_starving: false,
            is_stream: false,
        }
    }

    pub fn stage(&self) -> Stage {
        self.stage
    }

    #[cfg(any(test, feature = "_internal"))]
    pub fn waiting(&self) -> Load {
        self.waiting
    }

    pub fn dropped_ever(&self) -> u64 {
        self.dropped_ever
    }

    // What is delivered.

    /// Whether all of this fits in without a second look.
    pub fn takes(&self, load: Load) -> bool {
        let messages = self.waiting.messages.saturating_add(load.messages);
        let bytes = self.waiting.bytes.saturating_add(load.bytes);
        self.stage == Stage::Wide
            && self.overflow.is_none()
            && messages <= self.most_messages()
            && bytes <= self.most_bytes()
    }

    /// Whether a message fits in. What comes after one that is to go back has to go back, too, or it
    /// would overtake.
    pub fn has_room(&self, bytes: usize) -> bool {
        let Load {
            messages,
            bytes: waiting,
        } = self.waiting;
        let fits =
            messages < self.most_messages() && waiting.saturating_add(bytes) <= self.most_bytes();
        self.overflow.is_none() && (fits || messages == 0)
    }

    /// These wait from now on.
    pub fn keep(&mut self, load: Load) {
        self.received = self.received.saturating_add(load.messages);
        self.waiting.messages += load.messages;
        self.waiting.bytes = self.waiting.bytes.saturating_add(load.bytes);
        if let Some(average) = load.bytes.checked_div(load.messages) {
            self.average = match self.average {
                0 => average,
                before => before / 2 + average.div_ceil(2),
            };
        }
    }

    /// One was not kept, and goes back to the queue once there is room.
    pub fn give_back(&mut self, tag: u64) {
        match &mut self.overflow {
            None => {
                self.overflow = Some(Tags {
                    first: tag,
                    last: tag,
                });
            }
            Some(tags) if tags.last.checked_add(1) == Some(tag) => tags.last = tag,
            // Out of order, and so not settled: it is delivered again after this channel.
            Some(_) => {}
        }
    }

    /// One was not kept, and is lost.
    pub fn drop_one(&mut self) {
        self.dropped += 1;
        self.dropped_ever += 1;
    }

    /// How many were dropped since this was last asked.
    pub fn take_dropped(&mut self) -> u64 {
        std::mem::take(&mut self.dropped)
    }

    /// It comes from a stream. That takes nothing back, and another consumer would begin at another place;
    /// but a stream has a prefetch, and that bounds it, and what comes beyond: RabbitMQ sends by the chunk.
    pub fn is_a_stream(&mut self) {
        self.is_stream = self.bounds.prefetch.is_some();
    }

    // What the user does.

    /// These were handed out.
    pub fn release(&mut self, load: Load) {
        self.waiting.subtract(load);
    }

    /// The user waits, and there is nothing; `held` are in the user's hands. Where the prefetch was
    /// made lower, that is not to be what keeps the next one from coming.
    pub fn starve(&mut self, held: usize) {
        let prefetch = self.bounds.prefetch.unwrap_or(0);
        if self.waiting.messages > 0 || held >= usize::from(prefetch) {
            return;
        }
        let is_lower = self.stage == Stage::Wide && self.window < prefetch;
        // Where nothing came to that consumer, there is nothing, and another would get no more.
        let is_used_up = held.min(self.received) >= usize::from(self.window);
        let is_too_low = self.suitable_window() / 2 >= self.window;
        self.is_starving |= is_lower && (is_used_up || is_too_low);
    }

    /// All that waits is given up.
    pub fn clear(&mut self) {
        self.waiting = Load::default();
        self.let_back();
    }

    // What the broker is asked for.

    /// Whether the broker is to be asked for something.
    pub fn has_wish(&self) -> bool {
        match self.stage {
            Stage::Wide => self.is_too_much() || self.is_starving,
            Stage::Narrow | Stage::Held => self.is_little(),
            Stage::Narrowing | Stage::Widening => false,
        }
    }

    /// What the broker is to be asked for now, if anything; [`flows`](Self::flows) or
    /// [`hold`](Self::hold) is to follow, and [`let_back`](Self::let_back) where that has its time. There
    /// may be [`returns`](Self::take_returns) to be told first.
    pub fn take_wish(&mut self) -> Option<Flow> {
        if !self.has_wish() {
            return None;
        }
        if self.stage == Stage::Wide {
            self.stage = Stage::Narrowing;
            return Some(Flow::Narrow);
        }
        if self.stage == Stage::Held {
            self.stage = Stage::Wide;
            self.let_back();
            return None;
        }
        self.stage = Stage::Widening;
        self.is_starving = false;
        self.received = 0;
        self.window = self.next_window().unwrap_or(0);
        let prefetch = self.window;
        Some(Flow::Wide { prefetch })
    }

    /// What was not kept may go back to the queue: there is room for it, or nothing is sent before all
    /// of it is back.
    pub fn let_back(&mut self) {
        self.returns = self.returns.or(self.overflow.take());
    }

    /// The broker does as it was asked.
    pub fn flows(&mut self, flow: Flow) {
        self.stage = match flow {
            Flow::Wide { .. } => Stage::Wide,
            Flow::Narrow => Stage::Narrow,
        };
    }

    /// The broker cannot be asked without harm.
    pub fn hold(&mut self) {
        self.stage = Stage::Held;
    }

    /// What is to go back to the queue now.
    pub fn take_returns(&mut self) -> Option<Tags> {
        self.returns.take()
    }

    /// The channel is gone: what was delivered and not kept is delivered again. Where `is_kept`, what
    /// waits is not.
    pub fn channel_lost(&mut self, is_kept: bool) {
        self.overflow = None;
        self.returns = None;
        self.is_stream = false;
        if !is_kept {
            self.waiting = Load::default();
            self.window = self.bounds.prefetch.unwrap_or(0);
            self.received = 0;
            self.is_starving = false;
            self.stage = Stage::Wide;
        }
    }

    fn is_too_much(&self) -> bool {
        let Load { messages, bytes } = self.waiting;
        let is_over = messages > self.bounds.messages || bytes > self.most_bytes() / 2;
        // With a prefetch of 1 it is as narrow as it can be.
        is_over && self.window != 1 || self.overflow.is_some()
    }

    fn is_little(&self) -> bool {
        let Load { messages, bytes } = self.waiting;
        messages <= self.bounds.messages / 2 && bytes <= self.most_bytes() / 4
    }

    /// The prefetch of the next wide consumer, where it has any.
    fn next_window(&self) -> Option<u16> {
        self.bounds.prefetch.map(|_| self.suitable_window())
    }

    /// How many messages of the kind of late the broker may send without being asked for less.
    fn suitable_window(&self) -> u16 {
        let room = self.bounds.bytes / 4 / self.average.max(1);
        let most = self.bounds.prefetch.unwrap_or(0);
        u16::try_from(room)
            .unwrap_or(u16::MAX)
            .clamp(1, most.max(1))
    }

    fn most_bytes(&self) -> usize {
        if self.is_stream {
            return usize::MAX;
        }
        self.bounds.bytes
    }

    /// Where there is a prefetch, what the broker may have sent to the consumers before and after a
    /// change. One that sends more does not heed it.
    fn most_messages(&self) -> usize {
        let prefetch = self.bounds.prefetch.map(usize::from);
        let prefetch = prefetch.filter(|_| !self.is_stream);
        prefetch.map_or(usize::MAX, |prefetch| 2 * prefetch + 1)
    }
}

#[cfg(test)]
mod tests;
