mod digest;
mod oversized;

use std::fmt;
use std::num::NonZeroU32;
use std::ops::Range;

use bytes::Bytes;

pub(crate) use self::digest::Digest;
pub(crate) use self::oversized::Note;
pub use self::oversized::{Excess, Incoming, Oversized};
use crate::parse::short_str;
use crate::properties::{PropertiesError, PropertiesRef};
use crate::reply::ReplyCode;
use crate::types::ShortStr;

/// A message as it came off the wire: exchange and routing key, properties, body.
///
/// It is one buffer with the places of its parts. The properties stay encoded until they are asked
/// for, since brokers forward whatever a publisher wrote: malformed ones are an error of this
/// message alone.
///
/// A message that arrived whole shares the block it was read into, so keeping it for long keeps
/// the block; [`detached`](Self::detached) makes a copy that does not.
#[derive(Clone)]
pub struct Content {
    /// The method's arguments are at the front; between the parts may lie what frames them.
    pub(crate) buffer: Bytes,
    pub(crate) exchange: u16,
    pub(crate) routing_key: u16,
    pub(crate) properties: Span,
    pub(crate) body: Span,
    /// Where it is noted what was too long and therefore skipped; the note is at the end.
    pub(crate) excess_at: Option<NonZeroU32>,
}

impl Content {
    /// The exchange it was published to; empty for the default exchange.
    pub fn exchange(&self) -> ShortStr<'_> {
        self.name_at(self.exchange)
    }

    /// The routing key it was published with.
    pub fn routing_key(&self) -> ShortStr<'_> {
        self.name_at(self.routing_key)
    }

    /// The properties, decoded.
    ///
    /// # Errors
    /// What the publisher wrote need not be well-formed; the raw bytes are in
    /// [`raw_properties`](Self::raw_properties) all the same.
    pub fn properties(&self) -> Result<PropertiesRef<'_>, PropertiesError> {
        PropertiesRef::decode(self.raw_properties())
    }

    /// The properties as they were on the wire: flags, then values (AMQP 0-9-1 §4.2.6.1).
    pub fn raw_properties(&self) -> &[u8] {
        &self.buffer[self.properties.range()]
    }

    /// The body; empty where it was skipped, as [`excess`](Self::excess) tells.
    pub fn body(&self) -> &[u8] {
        &self.buffer[self.body.range()]
    }

    /// The body as a shared slice of the message's buffer, without a copy.
    pub fn body_bytes(&self) -> Bytes {
        self.buffer.slice(self.body.range())
    }

    /// How many bytes it takes in its buffer: names, properties and body, and what frames them.
    pub fn buffer_len(&self) -> usize {
        self.buffer.len()
    }

    /// What of it was longer than is accepted, so that it is here without a body. No content is but
    /// that of an [`Oversized`] message.
    pub fn excess(&self) -> Option<Excess> {
        Some(self.note()?.excess)
    }

    /// Whether its body is this one. Of a [returned](Returned) message that was too long, it is known
    /// by its length and a digest; of others that were, not at all.
    pub fn has_body(&self, body: &[u8]) -> bool {
        let Some(Note { excess, digest }) = self.note() else {
            return self.body() == body;
        };
        excess.body_size() == body.len() as u64 && digest == Some(Digest::of(body))
    }

    fn note(&self) -> Option<Note> {
        let at = self.excess_at?.get() as usize;
        Note::decode(self.buffer.get(at..)?)
    }

    /// A copy in a buffer of its own, just large enough.
    #[must_use]
    pub fn detached(&self) -> Self {
        let end = match self.excess_at {
            None => self.body.range().end.max(self.properties.range().end),
            Some(_) => self.buffer.len(),
        };
        Self {
            buffer: Bytes::copy_from_slice(&self.buffer[..end]),
            ..self.clone()
        }
    }

    /// The short string at a place in the arguments.
    fn name_at(&self, at: u16) -> ShortStr<'_> {
        // The place became known by reading the string, so there is one.
        short_str(&self.buffer[at.into()..]).map_or_else(|_| ShortStr::default(), |(_, name)| name)
    }
}

impl fmt::Debug for Content {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Sizes only: a payload has no place in a log, and can be of any length.
        f.debug_struct("Content")
            .field("exchange", &self.exchange())
            .field("routing_key", &self.routing_key())
            .field("properties_len", &self.raw_properties().len())
            .field("body_len", &self.body().len())
            .finish()
    }
}

/// A message for a consumer: basic.deliver.
#[derive(Clone, Debug)]
pub struct Delivery {
    /// Counts from 1 on each channel; what an acknowledgement names.
    pub delivery_tag: u64,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// The message.
    pub content: Content,
}

impl Delivery {
    /// The consumer that it is for.
    pub fn consumer_tag(&self) -> ShortStr<'_> {
        self.content.name_at(CONSUMER_TAG)
    }
}

/// A message that could not be routed: basic.return.
#[derive(Clone, Debug)]
pub struct Returned {
    /// Why, as a number; 312 NO_ROUTE as a rule.
    pub code: ReplyCode,
    /// The message.
    pub content: Content,
}

impl Returned {
    /// Why, as text.
    pub fn text(&self) -> ShortStr<'_> {
        self.content.name_at(REPLY_TEXT)
    }
}

/// A message fetched with basic.get: basic.get-ok.
#[derive(Clone, Debug)]
pub struct Got {
    /// What an acknowledgement names.
    pub delivery_tag: u64,
    /// Whether it may have been delivered before.
    pub redelivered: bool,
    /// How many messages the queue still holds.
    pub message_count: u32,
    /// The message.
    pub content: Content,
}

/// A message from a client, as a server sees it: basic.publish.
#[derive(Clone, Debug)]
pub struct Published {
    /// Whether it is to be returned when it cannot be routed.
    pub mandatory: bool,
    /// Whether it is to be returned when no consumer is ready for it.
    pub immediate: bool,
    /// The message.
    pub content: Content,
}

/// A range in half the space of a `Range<usize>`, counted from the front of the arguments.
///
/// A message is never longer than the `u32` that limits it, and its method and header are two
/// frames, so its places fit.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    start: u32,
    end: u32,
}

impl Span {
    pub(crate) fn new(range: &Range<usize>, origin: usize) -> Self {
        Self {
            start: (range.start - origin) as u32,
            end: (range.end - origin) as u32,
        }
    }

    pub(crate) fn range(self) -> Range<usize> {
        self.start as usize..self.end as usize
    }
}

/// Class, weight and body size.
pub(crate) const CONTENT_HEADER_LEN: usize = 12;

/// Where the arguments of basic.deliver have it: in front.
const CONSUMER_TAG: u16 = 0;

/// Where the arguments of basic.return have it: after the code.
const REPLY_TEXT: u16 = 2;
