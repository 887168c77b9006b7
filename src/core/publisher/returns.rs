//! Which publish a return is about.
//!
//! basic.return has the message in it and no number. All that brokers promise is that it comes before
//! the confirm of its publish, on the same channel (RabbitMQ: publisher confirms). So it is about one
//! of those that are alike, were written before it came, and are not confirmed yet: of one, if there is
//! one. Of several it is known how many of them came back, at least and at most, and only where that
//! is all of them, or none, is it known of each.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use snowshoe_codec::{Properties, PropertiesRef, ShortString};

use crate::core::keyed_queue::KeyedQueue;
use crate::outcome::Return;

/// The returns of one channel's life, and what they may be about.
///
/// While nothing is returned, nothing is kept: those in flight are looked at when a return comes, each
/// once, and forgotten when they are settled.
#[derive(Debug, Default)]
pub(super) struct Returns {
    /// What was returned by its position, where that was in it.
    identified: BTreeMap<u64, Box<Return>>,
    /// Those in flight that were looked at, by what they say.
    alike: BTreeMap<Content, BTreeMap<Properties, Kind>>,
    /// Under which of them each is.
    places: KeyedQueue<(Content, Properties)>,
    /// Those before this position were looked at.
    seen_before: u64,
}

/// What the broker does not change.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Content {
    /// First, because it tells most of them apart at once.
    len: usize,
    routing_key: ShortString,
    body: Bytes,
}

impl Content {
    pub(super) fn new(routing_key: &ShortString, body: &Bytes) -> Self {
        Self {
            len: body.len(),
            routing_key: routing_key.clone(),
            body: body.clone(),
        }
    }
}

/// Messages that are alike in everything.
#[derive(Debug, Default)]
struct Kind {
    /// Which of them the returns may be about, in order.
    suspects: VecDeque<u64>,
    /// Those that were written after the last return.
    later: VecDeque<u64>,
    /// How many of the suspects were returned, as far as that is known.
    at_least: usize,
    at_most: usize,
    last: Option<Box<Return>>,
}

/// What is known of a message that is settled.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    NotReturned,
    Returned(Box<Return>),
    /// It was, or one exactly like it.
    Perhaps(Box<Return>),
}

impl Returns {
    /// A message in flight, to be looked at. They come in the order of their positions.
    pub(super) fn see(&mut self, position: u64, content: Content, as_sent: Properties) {
        let kinds = self.alike.entry(content.clone()).or_default();
        let kind = kinds.entry(as_sent.clone()).or_default();
        kind.later.push_back(position);
        self.places.push(position, (content, as_sent));
        self.seen_before = position + 1;
    }

    /// The position of the first message that was not looked at.
    pub(super) fn seen_before(&self) -> u64 {
        self.seen_before
    }

    /// The broker returned the message at `position`, which is in flight.
    pub(super) fn returned(&mut self, position: u64, details: Return) {
        self.identified.insert(position, Box::new(details));
    }

    /// The broker returned a message. All that are in flight [were looked at](Self::see).
    pub(super) fn returned_unnamed(&mut self, details: Return) {
        let content = Content::new(&details.routing_key, &details.body);
        let Some(kinds) = self.alike.get_mut(&content) else {
            return;
        };
        if let Some(kind) = kinds.get_mut(&details.properties) {
            return kind.returned(true, details);
        }
        // A broker may have encoded the properties anew, and its own headers among them.
        let wanted = fields(&details.properties);
        let is_alike = |properties: &Properties| fields(properties) == wanted;
        let none_is = !kinds.keys().any(is_alike);
        let mut found: Vec<&mut Kind> = (kinds.iter_mut())
            .filter(|(properties, _)| none_is || is_alike(properties))
            .map(|(_, kind)| kind)
            .collect();
        let is_certain = found.len() == 1;
        for kind in &mut found {
            kind.returned(is_certain, details.clone());
        }
    }

    /// The message at `position` is settled.
    pub(super) fn settled(&mut self, position: u64) -> Verdict {
        if let Some(details) = self.identified.remove(&position) {
            self.forget(position);
            return Verdict::Returned(details);
        }
        self.forget(position)
    }

    /// Those of which it is known that they were returned.
    pub(super) fn certain(&self) -> Vec<u64> {
        let kinds = self.alike.values().flat_map(BTreeMap::values);
        let mut certain: Vec<u64> = kinds
            .filter(|kind| kind.at_least == kind.suspects.len())
            .flat_map(|kind| kind.suspects.iter().copied())
            .chain(self.identified.keys().copied())
            .collect();
        certain.sort_unstable();
        certain.dedup();
        certain
    }

    /// The channel is gone, and no return will come of what was written to it.
    pub(super) fn clear(&mut self) {
        self.identified.clear();
        self.alike.clear();
        self.places.clear();
        self.seen_before = 0;
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.identified.len() + self.alike.len() + self.places.len()
    }

    fn forget(&mut self, position: u64) -> Verdict {
        let Some((content, as_sent)) = self.places.remove(position) else {
            return Verdict::NotReturned;
        };
        let Some(kinds) = self.alike.get_mut(&content) else {
            return Verdict::NotReturned;
        };
        let Some(kind) = kinds.get_mut(&as_sent) else {
            return Verdict::NotReturned;
        };
        let verdict = kind.settled(position);
        if kind.suspects.is_empty() && kind.later.is_empty() {
            kinds.remove(&as_sent);
        }
        if kinds.is_empty() {
            self.alike.remove(&content);
        }
        verdict
    }
}

impl Kind {
    /// One of those in flight was returned, of this kind or perhaps of another.
    fn returned(&mut self, is_certain: bool, details: Return) {
        self.suspects.append(&mut self.later);
        let all = self.suspects.len();
        self.at_most = (self.at_most + 1).min(all);
        if is_certain {
            self.at_least = (self.at_least + 1).min(all);
        }
        self.last = Some(Box::new(details));
    }

    fn settled(&mut self, position: u64) -> Verdict {
        if let Ok(index) = self.later.binary_search(&position) {
            self.later.remove(index);
            return Verdict::NotReturned;
        }
        let Ok(index) = self.suspects.binary_search(&position) else {
            return Verdict::NotReturned;
        };
        let all = self.suspects.len();
        self.suspects.remove(index);
        let details = match &self.last {
            Some(details) if self.at_most > 0 => details.clone(),
            _ => return Verdict::NotReturned,
        };
        let is_certain = self.at_least == all;
        // It may have been one of them.
        self.at_least = self.at_least.saturating_sub(1);
        self.at_most = self.at_most.min(all - 1);
        if is_certain {
            Verdict::Returned(details)
        } else {
            Verdict::Perhaps(details)
        }
    }
}

/// All but the headers, and the address for replies, into which a broker puts its own.
fn fields(properties: &Properties) -> Option<PropertiesRef<'_>> {
    let decoded = properties.decode().ok()?;
    Some(PropertiesRef {
        headers: None,
        reply_to: None,
        ..decoded
    })
}
