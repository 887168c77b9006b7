//! Which publish a return is about.
//!
//! basic.return has the message in it and no number. All that brokers promise is that it comes before
//! the confirm of its publish, on the same channel (RabbitMQ: publisher confirms). So it is about one
//! of those that are alike, were written before it came, and are not confirmed yet: of one, if there is
//! one. Of several it is known how many of them came back, at least and at most, and only where that
//! is all of them, or none, is it known of each.

use std::collections::{BTreeMap, VecDeque};

use bytes::Bytes;
use snowshoe_codec::{FieldTableRef, Properties, PropertiesRef, ShortStr, ShortString};

use super::bin::Rest;
use crate::core::keyed_queue::KeyedQueue;
use crate::outcome::Return;

/// The returns of one channel's life, and what they may be about.
///
/// While nothing is returned, nothing is kept: those in flight are looked at when a return comes, each
/// once, and forgotten when they are settled.
#[derive(Debug, Default)]
pub(super) struct Returns(Option<Box<Known>>);

#[derive(Debug, Default)]
struct Known {
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
        self.known().see(position, content, as_sent);
    }

    /// The position of the first message that was not looked at.
    pub(super) fn seen_before(&self) -> u64 {
        self.0.as_ref().map_or(0, |known| known.seen_before)
    }

    /// The broker returned the message at `position`, which is in flight.
    pub(super) fn returned(&mut self, position: u64, details: Return, gone: &mut Rest) {
        let identified = &mut self.known().identified;
        gone.put(identified.insert(position, Box::new(details)));
    }

    /// The broker returned a message, of this producer or perhaps of another. All that are in flight
    /// [were looked at](Self::see).
    pub(super) fn returned_unnamed(&mut self, details: Return, is_ours: bool, gone: &mut Rest) {
        self.known().returned_unnamed(details, is_ours, gone);
    }

    /// How much a message that was returned is like those that were looked at, if it may be one of them.
    pub(super) fn likeness(&self, returned: &Return) -> Option<Likeness> {
        self.0.as_ref()?.likeness(returned)
    }

    /// The message at `position` is settled.
    #[inline]
    pub(super) fn settled(&mut self, position: u64, gone: &mut Rest) -> Verdict {
        match &mut self.0 {
            Some(known) => known.settled(position, gone),
            None => Verdict::NotReturned,
        }
    }

    /// Those of which it is known that they were returned.
    pub(super) fn certain(&self) -> Vec<u64> {
        self.0
            .as_ref()
            .map_or_else(Vec::new, |known| known.certain())
    }

    /// The channel is gone, and no return will come of what was written to it.
    pub(super) fn clear(&mut self, gone: &mut Rest) {
        gone.put(self.0.take());
    }

    /// How many entries there are.
    #[cfg(test)]
    pub(super) fn kept(&self) -> usize {
        self.0.as_ref().map_or(0, |known| {
            known.identified.len() + known.alike.len() + known.places.len()
        })
    }

    fn known(&mut self) -> &mut Known {
        self.0.get_or_insert_default()
    }
}

impl Known {
    fn see(&mut self, position: u64, content: Content, as_sent: Properties) {
        let kinds = self.alike.entry(content.clone()).or_default();
        let kind = kinds.entry(as_sent.clone()).or_default();
        kind.later.push_back(position);
        self.places.push(position, (content, as_sent));
        self.seen_before = position + 1;
    }

    fn returned_unnamed(&mut self, details: Return, is_ours: bool, gone: &mut Rest) {
        let Some(most) = self.likeness(&details) else {
            return;
        };
        let content = Content::new(&details.routing_key, &details.body);
        let kinds = self.alike.get_mut(&content).into_iter().flatten();
        let mut found: Vec<(&Properties, &mut Kind)> = kinds
            .filter(|(as_sent, _)| likeness(as_sent, &details.properties) == most)
            .collect();
        let is_certain = is_ours && found.len() == 1;
        for (as_sent, kind) in &mut found {
            let mut details = details.clone();
            if details.excess.is_some() {
                // It could not come back as it is.
                details.complete(as_sent.clone(), details.body.clone());
            }
            gone.put(kind.returned(is_certain, details));
        }
    }

    fn likeness(&self, returned: &Return) -> Option<Likeness> {
        let content = Content::new(&returned.routing_key, &returned.body);
        let kinds = self.alike.get(&content)?;
        if kinds.contains_key(&returned.properties) {
            return Some(Likeness::Properties);
        }
        (kinds.keys())
            .map(|as_sent| likeness(as_sent, &returned.properties))
            .max()
    }

    fn settled(&mut self, position: u64, gone: &mut Rest) -> Verdict {
        let verdict = self.forget(position, gone);
        match (self.identified.remove(&position), verdict) {
            (None, verdict) => verdict,
            (Some(details), Verdict::NotReturned) => Verdict::Returned(details),
            (Some(details), Verdict::Returned(other) | Verdict::Perhaps(other)) => {
                gone.put(other);
                Verdict::Returned(details)
            }
        }
    }

    fn certain(&self) -> Vec<u64> {
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

    fn forget(&mut self, position: u64, gone: &mut Rest) -> Verdict {
        let Some(place) = self.places.remove(position) else {
            return Verdict::NotReturned;
        };
        let (content, as_sent) = &place;
        let mut verdict = Verdict::NotReturned;
        if let Some(kinds) = self.alike.get_mut(content) {
            if let Some(kind) = kinds.get_mut(as_sent) {
                verdict = kind.settled(position);
                if kind.suspects.is_empty() && kind.later.is_empty() {
                    gone.put(kinds.remove_entry(as_sent).map(Box::new));
                }
            }
            if kinds.is_empty() {
                gone.put(self.alike.remove_entry(content).map(Box::new));
            }
        }
        gone.put(Box::new(place));
        verdict
    }
}

impl Kind {
    /// One of those in flight was returned, of this kind or perhaps of another. What was known of the one
    /// before it is given back.
    fn returned(&mut self, is_certain: bool, details: Return) -> Option<Box<Return>> {
        self.suspects.append(&mut self.later);
        let all = self.suspects.len();
        self.at_most = (self.at_most + 1).min(all);
        if is_certain {
            self.at_least = (self.at_least + 1).min(all);
        }
        self.last.replace(Box::new(details))
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

/// How much a message that was returned is like one that was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Likeness {
    /// In its routing key and body.
    Content,
    /// In its properties, too, but for the headers.
    Fields,
    /// In all of its properties.
    Properties,
    /// It says itself which it is.
    Named,
}

/// A broker may encode properties anew. RabbitMQ 4 sorts headers by their names; others may add some of
/// their own, and the address for direct replies is the broker's to write.
fn likeness(sent: &Properties, returned: &Properties) -> Likeness {
    if sent == returned {
        return Likeness::Properties;
    }
    let (Ok(sent), Ok(returned)) = (sent.decode(), returned.decode()) else {
        return Likeness::Content;
    };
    let fields = |properties: PropertiesRef<'_>| {
        let mut fields = properties;
        (fields.headers, fields.reply_to) = (None, None);
        fields.encode().ok()
    };
    if fields(sent) != fields(returned) {
        return Likeness::Content;
    }
    let (sent, returned) = (sent.headers, returned.headers);
    if same_headers(sent.unwrap_or(NONE), returned.unwrap_or(NONE)) {
        Likeness::Properties
    } else {
        Likeness::Fields
    }
}

const NONE: FieldTableRef<'static> = FieldTableRef::new(&[]);

/// Whether two tables have the same entries, in whatever order.
fn same_headers(one: FieldTableRef<'_>, other: FieldTableRef<'_>) -> bool {
    let is_there = |entry| match entry {
        Ok((name, value)) => {
            let name: ShortStr<'_> = name;
            other.get(name.as_bytes()) == Ok(Some(value))
        }
        Err(_) => false,
    };
    one.iter().count() == other.iter().count() && one.iter().all(is_there)
}
