use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use crate::core::keyed_queue::KeyedQueue;
use crate::stream::StreamOffset;

/// How far a consumer of a stream has come, and where it goes on after its channel has ended.
///
/// A stream is read forwards: what was received and settled does not come again, so of all that was
/// received only what is not settled has to be known. That is what is `open` on the present channel, and
/// what is to come `again` since it was open when another ended:
///
/// ```text
///   offset  0   1   2   3   4   5   6   7   8   9  10
///           ✓   ✓   ✓   ·   ✓   ✓   ·   ✓
///                       ▲           ▲   ▲   ▲
///        the next channel begins    │   │   never received
///                 comes again, too ─┘   highest
/// ```
///
/// On the next channel, 3 and 6 are wanted, and what comes from 8 on; 4, 5 and 7 are left out. Offsets
/// need not follow each other: a filter leaves some out, and a stream gives up its oldest. What is to come
/// again and was given up is known by that: on one channel offsets ascend, and a higher one has come.
///
/// Where nothing was received yet, it goes on where it was asked for at first, but what is published
/// meanwhile would be lost where that is told from the present: the next, or so long ago. Then that moment
/// is told to the broker by how long ago it was, which goes by the broker's clock alone.
#[derive(Debug)]
pub struct Progress {
    /// Where it begins; the broker's choice, which is the next, if nobody has said.
    begin: Option<StreamOffset>,
    /// When that was asked for, for the first time.
    begun: Option<Instant>,
    /// Since when the present channel receives.
    receiving_since: Option<Instant>,
    /// Whether a channel has received nothing for so long that there was nothing at first.
    was_quiet: bool,
    /// What was received on the present channel and is not settled, by delivery tag.
    open: KeyedQueue<u64>,
    /// What was not settled when a channel ended, and did not come again yet.
    again: BTreeSet<u64>,
    /// The highest offset that was ever received.
    highest: Option<u64>,
    /// The last that was received on the present channel.
    last: Option<u64>,
}

impl Progress {
    pub fn new(begin: Option<StreamOffset>) -> Self {
        Self {
            begin,
            begun: None,
            receiving_since: None,
            was_quiet: false,
            open: KeyedQueue::new(),
            again: BTreeSet::new(),
            highest: None,
            last: None,
        }
    }

    /// The first offset that is not settled: all before it that were received are. `None` where nothing was
    /// received yet.
    pub fn position(&self) -> Option<u64> {
        let open = self.open.first().map(|(_, offset)| *offset);
        let unsettled = open.into_iter().chain(self.again.first().copied()).min();
        unsettled.or_else(|| Some(self.highest?.saturating_add(1)))
    }

    /// Where the next channel is to begin; `None` where that is the broker's choice.
    pub fn resume(&self, now: Instant) -> Option<StreamOffset> {
        if let Some(position) = self.position() {
            return Some(StreamOffset::Offset(position));
        }
        let Some(begun) = self.begun else {
            return self.begin;
        };
        let ago = now.saturating_duration_since(begun);
        let since_begun = Some(StreamOffset::Interval(ago.saturating_add(MARGIN)));
        match self.begin {
            None | Some(StreamOffset::Next) => since_begun,
            // The last chunk comes at once, if there is one.
            Some(StreamOffset::Last) if self.was_quiet => since_begun,
            Some(StreamOffset::Interval(before)) => {
                Some(StreamOffset::Interval(ago.saturating_add(before)))
            }
            begin => begin,
        }
    }

    /// The next channel begins here. Where that is not where it would have [resumed](Self::resume),
    /// somebody knows better: what was received before does not count any more.
    pub fn begins(&mut self, now: Instant, at: Option<StreamOffset>) {
        self.channel_lost();
        if at != self.resume(now) {
            *self = Self::new(at);
        }
        self.begun.get_or_insert(now);
    }

    /// The stream was deleted. What comes under its name is another, whose offsets begin with 0 again, and
    /// nothing of that is known yet. RabbitMQ would wait until that has the offset that was asked for, and send
    /// nothing of what comes before.
    pub fn deleted(&mut self) {
        *self = Self::new(Some(StreamOffset::First));
    }

    /// The channel receives from now on.
    pub fn receives(&mut self, now: Instant) {
        self.receiving_since = Some(now);
    }

    /// The channel is gone at this moment. [`channel_lost`](Self::channel_lost) is what matters.
    pub fn receives_no_more(&mut self, now: Instant) {
        if let Some(since) = self.receiving_since.take() {
            let was_quiet = self.highest.is_none() && now.saturating_duration_since(since) > QUIET;
            self.was_quiet |= was_quiet;
        }
    }

    /// Notes a delivery. Whether it is wanted; what is not was settled before. An offset that cannot be seen
    /// is taken for the one after the last.
    pub fn received(&mut self, tag: u64, offset: Option<u64>) -> bool {
        let offset = offset.unwrap_or_else(|| self.after_last());
        self.last = Some(offset);
        // What is lower does not come on this channel any more.
        if self.again.first().is_some_and(|first| *first < offset) {
            self.again = self.again.split_off(&offset);
        }
        let is_new = self.highest.is_none_or(|highest| offset > highest);
        let is_wanted = self.again.remove(&offset) || is_new;
        if is_new {
            self.highest = Some(offset);
        }
        if is_wanted {
            self.open.push(tag, offset);
        }
        is_wanted
    }

    fn after_last(&self) -> u64 {
        match self.last {
            Some(last) => last.saturating_add(1),
            None => self.position().unwrap_or(0),
        }
    }

    /// A delivery of the present channel is settled, whether acknowledged or passed over.
    pub fn settled(&mut self, tag: u64) {
        self.open.remove(tag);
    }

    /// So is every one up to this.
    pub fn settled_up_to(&mut self, tag: u64) {
        while self.open.pop_first_if(|first, _| first <= tag).is_some() {}
    }

    /// The channel is gone: what is not settled is to come again.
    pub fn channel_lost(&mut self) {
        self.last = None;
        while let Some((_, offset)) = self.open.pop_first_if(|_, _| true) {
            self.again.insert(offset);
        }
    }
}

/// How much earlier than the moment at which it was asked for a consumer begins that comes back: the
/// brokers that it asks may have clocks that differ, and take longer over one question than the other.
const MARGIN: Duration = Duration::from_secs(5);

/// How long nothing comes where there was nothing.
const QUIET: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests;
