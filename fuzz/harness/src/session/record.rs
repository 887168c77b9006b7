//! What was said on the wire, read from its frames alone: the truth that a session is measured by.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Buf;
use snowshoe::codec::frame::{self, FrameKind, Limits, PROTOCOL_HEADER};
use snowshoe::codec::{ChannelId, Method, Outbound, ShortString};
use snowshoe::internal::acks::Settle;

/// How the tags of the consumers begin that are watched.
pub(super) const WATCHED: &[u8] = b"watched";

/// Messages by what is in the first octets of their bodies.
pub(super) type MessageId = u32;

/// One life of a channel, from its open on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct LifeId(usize);

#[derive(Default)]
pub(super) struct Record {
    /// The lives of channels on all connections.
    lives: Vec<Life>,
    /// Those of the connection that there is, by their numbers.
    current: BTreeMap<ChannelId, LifeId>,
    /// The life in which a consumer subscribed last.
    subscribed: BTreeMap<ShortString, LifeId>,
    said: Stream,
    heard: Stream,
    /// The position in the client's stream up to which it was read.
    seen: u64,
    pub(super) published: BTreeSet<MessageId>,
    pub(super) acked: BTreeSet<MessageId>,
    pub(super) nacked: BTreeSet<MessageId>,
    pub(super) returned: BTreeSet<MessageId>,
    /// How often the broker closed a channel or the connection.
    pub(super) closes: usize,
    /// What the user settled, and how.
    settled: BTreeMap<(LifeId, u64), Settle>,
}

#[derive(Default)]
struct Life {
    /// The messages that were published; none where one is not a producer's.
    published: Vec<Option<MessageId>>,
    /// The last that each producer published.
    newest: BTreeMap<u32, MessageId>,
    /// How many of them were before confirms were asked for.
    unconfirmed: Option<usize>,
    /// The message on its way, and how much of it is still to come.
    outgoing: Option<Body>,
    returning: Option<Body>,
    /// Whether it is a consumer's, and not one that a user drives.
    is_watched: bool,
    /// Whether the consumer was told that it is there.
    is_consuming: bool,
    last_delivery: u64,
    /// What was delivered and not settled.
    unsettled: BTreeSet<u64>,
}

struct Body {
    bytes: Vec<u8>,
    size: Option<u64>,
}

/// A stream of which frames are read as they become whole.
#[derive(Default)]
struct Stream {
    bytes: Vec<u8>,
    /// Whether nothing more can be read.
    is_broken: bool,
}

impl Record {
    /// A connection begins.
    pub(super) fn begin(&mut self) {
        self.current.clear();
        (self.said, self.heard, self.seen) = Default::default();
    }

    /// Reads what the client is about to write. It stays there.
    pub(super) fn look_at(&mut self, outbound: &Outbound) {
        // Large bodies would not be copied, but then all is in one piece.
        let waiting = outbound.chunk();
        assert_eq!(waiting.len(), outbound.remaining());
        let known = usize::try_from(self.seen - outbound.written()).expect("it is short");
        let mut news = &waiting[known..];
        if self.seen == 0 && !news.is_empty() {
            news.advance(PROTOCOL_HEADER.len());
        }
        self.seen = outbound.queued();
        self.said.bytes.extend_from_slice(news);
        while let Some((kind, channel, payload)) = self.said.next_frame() {
            self.client_says(kind, channel, &payload);
        }
        assert!(!self.said.is_broken, "a client writes whole frames");
    }

    /// Reads what the client hears.
    pub(super) fn hear(&mut self, bytes: &[u8]) {
        self.heard.bytes.extend_from_slice(bytes);
        while let Some((kind, channel, payload)) = self.heard.next_frame() {
            self.broker_says(kind, channel, &payload);
        }
    }

    /// The life in which a consumer subscribed last.
    pub(super) fn life_of(&self, tag: &ShortString) -> Option<LifeId> {
        self.subscribed.get(tag).copied()
    }

    /// A user settles a delivery, or all up to it.
    pub(super) fn user_settles(&mut self, life: LifeId, tag: u64, settle: Settle, multiple: bool) {
        let first = if multiple { 0 } else { tag };
        for tag in self.lives[life.0].unsettled.range(first..=tag) {
            self.settled.entry((life, *tag)).or_insert(settle);
        }
    }

    fn client_says(&mut self, kind: FrameKind, channel: ChannelId, payload: &[u8]) {
        if kind == FrameKind::Method {
            let method = Method::decode(payload).expect("a client writes whole methods");
            if let Method::ChannelOpen(_) = method {
                self.current.insert(channel, LifeId(self.lives.len()));
                self.lives.push(Life::default());
            }
            if let Some(id) = self.current.get(&channel).copied() {
                self.client_calls(id, method);
            }
            return;
        }
        let Some(id) = self.current.get(&channel) else {
            return;
        };
        let life = &mut self.lives[id.0];
        if let Some(body) = put(&mut life.outgoing, kind, payload) {
            let message = message_id(&body);
            // What one producer published earlier is written earlier, in every life.
            if let (Some(message), Some(producer)) = (message, producer_of(&body)) {
                let last = life.newest.insert(producer, message);
                assert!(last.is_none_or(|last| last < message));
            }
            self.published.extend(message);
            life.published.push(message);
        }
    }

    fn client_calls(&mut self, id: LifeId, method: Method) {
        let life = &mut self.lives[id.0];
        match method {
            Method::ConfirmSelect(_) => {
                life.unconfirmed.get_or_insert(life.published.len());
            }
            Method::BasicPublish(_) => life.outgoing = Some(Body::new()),
            Method::BasicConsume(it) => {
                let tag = it.consumer_tag.as_bytes();
                // So are those called that take its place.
                let tag = tag.strip_prefix(b"paused-").unwrap_or(tag);
                let tag = tag.split(|byte| *byte == b'#').next();
                let tag = tag.unwrap_or_default();
                if tag.starts_with(WATCHED) {
                    life.is_watched = true;
                    let tag = tag.try_into().expect("it is shorter than it was");
                    self.subscribed.insert(tag, id);
                }
            }
            Method::BasicAck(it) => {
                self.client_settles(id, it.delivery_tag, it.multiple, Settle::Ack);
            }
            Method::BasicNack(it) => {
                let settle = Settle::Nack {
                    requeue: it.requeue,
                };
                self.client_settles(id, it.delivery_tag, it.multiple, settle);
            }
            Method::BasicReject(it) => {
                let settle = Settle::Reject {
                    requeue: it.requeue,
                };
                self.client_settles(id, it.delivery_tag, false, settle);
            }
            _ => {}
        }
    }

    /// What a client settles for a consumer was delivered in this life of its channel, is not
    /// settled yet, and is to be settled so.
    fn client_settles(&mut self, id: LifeId, tag: u64, multiple: bool, settle: Settle) {
        let life = &mut self.lives[id.0];
        if !life.is_watched {
            return;
        }
        assert!(life.unsettled.contains(&tag), "nothing is open at {tag}");
        let first = if multiple { 0 } else { tag };
        let meant: Vec<u64> = life.unsettled.range(first..=tag).copied().collect();
        for tag in meant {
            life.unsettled.remove(&tag);
            assert_eq!(self.settled.get(&(id, tag)), Some(&settle), "at {tag}");
        }
    }

    fn broker_says(&mut self, kind: FrameKind, channel: ChannelId, payload: &[u8]) {
        let id = self.current.get(&channel).copied();
        if kind != FrameKind::Method {
            let returning = id.map(|id| &mut self.lives[id.0].returning);
            let body = returning.and_then(|returning| put(returning, kind, payload));
            self.returned.extend(body.as_deref().and_then(message_id));
            return;
        }
        let Ok(method) = Method::decode(payload) else {
            return;
        };
        if let Method::ChannelClose(_) | Method::ConnectionClose(_) = method {
            self.closes += 1;
        }
        let Some(id) = id else { return };
        let life = &mut self.lives[id.0];
        match method {
            Method::BasicAck(ack) => {
                let confirmed = life.confirmed(ack.delivery_tag, ack.multiple);
                self.acked.extend(confirmed);
            }
            Method::BasicNack(nack) => {
                let confirmed = life.confirmed(nack.delivery_tag, nack.multiple);
                self.nacked.extend(confirmed);
            }
            Method::BasicReturn(_) => life.returning = Some(Body::new()),
            Method::BasicConsumeOk(_) => life.is_consuming = true,
            // A tag that does not ascend is not one that could be settled.
            Method::BasicDeliver(it)
                if life.is_consuming && it.delivery_tag > life.last_delivery =>
            {
                life.last_delivery = it.delivery_tag;
                life.unsettled.insert(it.delivery_tag);
            }
            _ => {}
        }
    }
}

impl Life {
    /// The messages that a confirm is about.
    fn confirmed(&self, tag: u64, multiple: bool) -> impl Iterator<Item = MessageId> {
        let before = self.unconfirmed.unwrap_or(self.published.len());
        let numbered = &self.published[before..];
        let last = match tag {
            0 => numbered.len(),
            tag => usize::try_from(tag)
                .unwrap_or(usize::MAX)
                .min(numbered.len()),
        };
        let first = if multiple { 0 } else { last.saturating_sub(1) };
        numbered[first..last].iter().copied().flatten()
    }
}

impl Body {
    fn new() -> Self {
        Self {
            bytes: Vec::new(),
            size: None,
        }
    }
}

/// Adds a frame to a body that is on its way; the body, if that makes it whole.
fn put(body: &mut Option<Body>, kind: FrameKind, payload: &[u8]) -> Option<Vec<u8>> {
    let part = body.as_mut()?;
    match (kind, part.size) {
        (FrameKind::Header, None) => part.size = Some(payload.get(4..12)?.get_u64()),
        (FrameKind::Body, Some(_)) => part.bytes.extend_from_slice(payload),
        _ => {}
    }
    let is_whole = part
        .size
        .is_some_and(|size| part.bytes.len() as u64 >= size);
    body.take_if(|_| is_whole).map(|body| body.bytes)
}

/// Which producer has published it.
fn producer_of(body: &[u8]) -> Option<u32> {
    let number = body.get(4..)?.first_chunk()?;
    Some(u32::from_be_bytes(*number))
}

fn message_id(body: &[u8]) -> Option<MessageId> {
    let id = body.first_chunk()?;
    Some(MessageId::from_be_bytes(*id))
}

impl Stream {
    fn next_frame(&mut self) -> Option<(FrameKind, ChannelId, Vec<u8>)> {
        if self.is_broken {
            return None;
        }
        let limits = Limits {
            frame_max: 1 << 20,
            header_frame_max: 1 << 20,
        };
        match frame::find(&self.bytes, &limits) {
            Ok(Some(frame)) => {
                let found = (frame.kind, frame.channel, frame.payload.to_vec());
                let len = frame.encoded_len();
                self.bytes.drain(..len);
                Some(found)
            }
            Ok(None) => None,
            Err(_) => {
                self.is_broken = true;
                None
            }
        }
    }
}
