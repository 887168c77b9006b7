//! What went over the wire, as it is seen at the broker's end: the truth that the client's words are
//! held against.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Instant;

use snowshoe::codec::frame::{self, Frame, FrameKind, Limits, PROTOCOL_HEADER};
use snowshoe::codec::method::{Arguments, basic, channel, connection};
use snowshoe::codec::{ChannelId, FieldValue, Method, MethodId, PeerClose, ReplyCode};
use snowshoe::testing::LinkId;

use crate::log::Log;
use crate::message::{MessageId, TaskId};
use crate::workload::CONSUMER_INDEX;

/// Reads along with all connections.
pub(crate) struct Witness {
    log: Log,
    wires: BTreeMap<LinkId, Wire>,
    pub(crate) record: Record,
}

/// What happened on the wire.
#[derive(Debug, Default)]
pub(crate) struct Record {
    /// Every publish that came whole, in the order of their coming.
    pub(crate) receipts: Vec<Receipt>,
    /// Which receipts a message has.
    pub(crate) of_message: BTreeMap<MessageId, Vec<usize>>,
    pub(crate) channels: Vec<Channel>,
    /// How often the broker delivered a message.
    pub(crate) deliveries: BTreeMap<MessageId, u32>,
    /// What the client said became of messages, and when.
    pub(crate) settles: BTreeMap<(MessageId, Settle), Vec<Instant>>,
    /// How many deliveries each consumer wanted at once, by its tag, when it first came.
    prefetches: BTreeMap<Vec<u8>, u16>,
    /// Where each consumer came on the latest of its connections: what was held up on an earlier one
    /// comes late, and is nobody's.
    consumers: BTreeMap<u32, (LinkId, usize)>,
    /// Those that have no acknowledgements.
    without_acks: BTreeSet<u32>,
    /// The connections on which the broker has taken the login.
    pub(crate) tuned: BTreeSet<LinkId>,
    /// How many connections were to be opened before the broker had said anything.
    pub(crate) in_one_flight: u64,
    /// Those that the broker has opened.
    opened: BTreeSet<LinkId>,
    /// How many messages came before that.
    pub(crate) published_ahead: u64,
    /// How many channels the broker closed because it waited too long for an acknowledgement.
    pub(crate) overdue: u64,
    /// The connections that the broker has closed, and what it said.
    ended: BTreeMap<LinkId, PeerClose>,
    /// The connections on which the client has spoken, and not said that it closes them: what it
    /// wrote there may be lost.
    pub(crate) unclosed: BTreeSet<LinkId>,
    /// When the broker delivered tasks.
    pub(crate) task_deliveries: BTreeMap<TaskId, Vec<Instant>>,
    /// When it heard what becomes of them: of which delivery, and when.
    pub(crate) task_settles: BTreeMap<TaskId, Vec<(Instant, Instant)>>,
    /// When a connection or a channel ended otherwise than in order, or a consumer was cancelled by the broker.
    pub(crate) upsets: Vec<Instant>,
    /// What no client may do.
    pub(crate) offences: Vec<String>,
}

/// A publish that came whole.
#[derive(Debug)]
pub(crate) struct Receipt {
    pub(crate) message: MessageId,
    /// On which channel.
    pub(crate) channel: usize,
    /// What the broker said of it.
    pub(crate) word: Option<Word>,
    pub(crate) returned: bool,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Word {
    Ack,
    Nack,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Settle {
    Ack,
    Requeue,
    Discard,
}

/// One life of a channel.
#[derive(Debug, Default)]
pub(crate) struct Channel {
    /// How many publishes came before confirms were asked for.
    unnumbered: Option<usize>,
    /// Those of its publishes that are messages.
    publishes: Vec<Option<usize>>,
    /// What the broker said when it closed the channel.
    pub(crate) closed: Option<PeerClose>,
    /// What was delivered and not settled, by tag.
    unsettled: BTreeMap<u64, Delivered>,
    /// Consumers that acknowledge nothing.
    no_ack: BTreeSet<Vec<u8>>,
    /// What was delivered one at a time to a consumer that acknowledges nothing, because it was behind:
    /// there the client does so itself.
    acked_for_users: BTreeSet<u64>,
    /// The tags of those that take its place meanwhile.
    narrow: BTreeSet<Vec<u8>>,
    /// What was delivered and not handed to a user, with how often.
    unseen: BTreeMap<MessageId, u32>,
    prefetch: u16,
}

impl Channel {
    /// The receipts of what was published on it.
    pub(crate) fn receipts(&self) -> impl Iterator<Item = usize> {
        self.publishes.iter().flatten().copied()
    }
}

/// What was delivered.
#[derive(Clone, Copy, Debug)]
enum Delivered {
    Message(MessageId),
    /// At this time.
    Task(TaskId, Instant),
}

/// Both directions of a connection.
#[derive(Debug, Default)]
struct Wire {
    up: Stream,
    down: Stream,
    /// Which channel a number stands for at present.
    channels: BTreeMap<ChannelId, usize>,
}

/// One direction: what is not a whole frame yet, and contents that are not whole.
#[derive(Debug, Default)]
struct Stream {
    bytes: Vec<u8>,
    greeted: bool,
    contents: BTreeMap<ChannelId, Content>,
}

/// A message on its way, of which only the front counts.
#[derive(Debug)]
struct Content {
    method: Method,
    /// How much of the body is still to come; unknown before the header.
    missing: Option<u64>,
    front: Vec<u8>,
}

const LIMITS: Limits = Limits {
    frame_max: 1 << 24,
    header_frame_max: 1 << 24,
};

impl Witness {
    pub(crate) fn new(log: Log) -> Self {
        Self {
            log,
            wires: BTreeMap::new(),
            record: Record::default(),
        }
    }

    /// The client's bytes reached the broker.
    pub(crate) fn up(&mut self, now: Instant, link: LinkId, bytes: &[u8]) {
        let wire = self.wires.entry(link).or_default();
        let mut input = std::mem::take(&mut wire.up.bytes);
        input.extend_from_slice(bytes);
        let mut rest = input.as_slice();
        if !wire.up.greeted && rest.len() >= PROTOCOL_HEADER.len() {
            rest = &rest[PROTOCOL_HEADER.len()..];
            wire.up.greeted = true;
        }
        while wire.up.greeted
            && let Some(frame) = next(&mut rest, &mut self.record)
        {
            if let Some((method, front)) = wire.up.take_in(&frame, &mut self.record) {
                log(&self.log, link, '>', frame.channel, &method, &front);
                // One that had its work done says nothing of why.
                if matches!(&method, Method::ChannelClose(close) if !close.reply_text.is_empty()) {
                    self.record.upsets.push(now);
                }
                self.record.client_says(
                    now,
                    link,
                    frame.channel,
                    method,
                    &front,
                    &mut wire.channels,
                );
            }
        }
        wire.up.bytes = rest.to_vec();
    }

    /// The broker had bytes for the client.
    pub(crate) fn down(&mut self, now: Instant, link: LinkId, bytes: &[u8]) {
        let wire = self.wires.entry(link).or_default();
        let mut input = std::mem::take(&mut wire.down.bytes);
        input.extend_from_slice(bytes);
        let mut rest = input.as_slice();
        while let Some(frame) = next(&mut rest, &mut self.record) {
            if let Some((method, front)) = wire.down.take_in(&frame, &mut self.record) {
                log(&self.log, link, '<', frame.channel, &method, &front);
                if matches!(
                    method,
                    Method::ConnectionClose(_) | Method::ChannelClose(_) | Method::BasicCancel(_)
                ) {
                    self.record.upsets.push(now);
                }
                if let (Method::BasicDeliver(_), Some(task)) = (&method, TaskId::read(&front)) {
                    let deliveries = self.record.task_deliveries.entry(task).or_default();
                    deliveries.push(now);
                }
                self.record
                    .broker_says(now, link, frame.channel, &method, &front, &wire.channels);
            }
        }
        wire.down.bytes = rest.to_vec();
    }
}

fn log(log: &Log, link: LinkId, way: char, channel: ChannelId, method: &Method, body: &[u8]) {
    let message = MessageId::read(body).map(|it| it.to_string());
    match message.or_else(|| TaskId::read(body).map(|it| it.to_string())) {
        Some(message) => {
            log.note(format_args!(
                "{link} {way} channel {channel}: {message}: {method:?}"
            ));
        }
        None => log.note(format_args!("{link} {way} channel {channel}: {method:?}")),
    }
}

/// The next whole frame.
fn next<'a>(input: &mut &'a [u8], record: &mut Record) -> Option<Frame<'a>> {
    match frame::find(input, &LIMITS) {
        Ok(frame) => {
            let frame = frame?;
            *input = &input[frame.encoded_len()..];
            Some(frame)
        }
        Err(error) => {
            record
                .offences
                .push(format!("what is on the wire is no frame: {error}"));
            *input = &[];
            None
        }
    }
}

impl Stream {
    /// Takes in a frame; gives a method that is complete, with the front of its body.
    fn take_in(&mut self, frame: &Frame<'_>, record: &mut Record) -> Option<(Method, Vec<u8>)> {
        match frame.kind {
            FrameKind::Heartbeat => None,
            FrameKind::Method => {
                let method = match Method::decode(frame.payload) {
                    Ok(method) => method,
                    Err(error) => {
                        record
                            .offences
                            .push(format!("what is on the wire is no method: {error}"));
                        return None;
                    }
                };
                if !method.id().has_content() {
                    return Some((method, Vec::new()));
                }
                let content = Content {
                    method,
                    missing: None,
                    front: Vec::new(),
                };
                self.contents.insert(frame.channel, content);
                None
            }
            FrameKind::Header => {
                let size = frame
                    .payload
                    .get(4..12)
                    .and_then(|size| size.try_into().ok());
                let content = self.contents.get_mut(&frame.channel)?;
                content.missing = size.map(u64::from_be_bytes);
                self.complete(frame.channel)
            }
            FrameKind::Body => {
                let content = self.contents.get_mut(&frame.channel)?;
                content.missing = content.missing?.checked_sub(frame.payload.len() as u64);
                let wanted = MessageId::LEN.saturating_sub(content.front.len());
                let front = &frame.payload[..frame.payload.len().min(wanted)];
                content.front.extend_from_slice(front);
                self.complete(frame.channel)
            }
        }
    }

    fn complete(&mut self, channel: ChannelId) -> Option<(Method, Vec<u8>)> {
        if self.contents.get(&channel)?.missing? > 0 {
            return None;
        }
        let content = self.contents.remove(&channel)?;
        Some((content.method, content.front))
    }
}

impl Record {
    fn client_says(
        &mut self,
        now: Instant,
        link: LinkId,
        number: ChannelId,
        method: Method,
        body: &[u8],
        channels: &mut BTreeMap<ChannelId, usize>,
    ) {
        match method {
            Method::ConnectionOpen(_) => {
                self.unclosed.insert(link);
                self.in_one_flight += u64::from(!self.tuned.contains(&link));
            }
            Method::ConnectionClose(_) => _ = self.unclosed.remove(&link),
            _ => {}
        }
        if let Method::ChannelOpen(_) = method {
            channels.insert(number, self.channels.len());
            self.channels.push(Channel {
                closed: self.ended.get(&link).cloned(),
                ..Channel::default()
            });
            return;
        }
        let Some(&index) = channels.get(&number) else {
            return;
        };
        let channel = &mut self.channels[index];
        match method {
            Method::ConfirmSelect(_) => {
                channel.unnumbered.get_or_insert(channel.publishes.len());
            }
            Method::BasicPublish(_) => {
                self.published_ahead += u64::from(!self.opened.contains(&link));
                let Some(message) = MessageId::read(body) else {
                    channel.publishes.push(None);
                    return;
                };
                let receipt = self.receipts.len();
                channel.publishes.push(Some(receipt));
                self.of_message.entry(message).or_default().push(receipt);
                self.receipts.push(Receipt {
                    message,
                    channel: index,
                    word: None,
                    returned: false,
                });
            }
            Method::BasicQos(qos) => channel.prefetch = qos.prefetch_count,
            Method::BasicConsume(consume) => {
                let tag = consume.consumer_tag.as_bytes().to_vec();
                // The one that comes back after another took its place has a number behind its name.
                let name = tag.split(|byte| *byte == b'#').next();
                let name = name.unwrap_or_default().to_vec();
                let prefetch = channel.prefetch;
                // While a consumer is behind, another takes its place, and gets one at a time; after that it
                // may have less than before, if messages are large. Without acknowledgements it has none.
                let is_narrow = tag.starts_with(b"paused-");
                let fits = |before: u16| prefetch == before || (1..before).contains(&prefetch);
                let is_sound = match is_narrow {
                    true => prefetch == 1,
                    false if consume.no_ack => true,
                    false => fits(*self.prefetches.entry(name.clone()).or_insert(prefetch)),
                };
                if !is_sound {
                    let before = self.prefetches.get(&name);
                    self.offences.push(format!(
                        "{link}: a consumer came back with prefetch {prefetch}, not {before:?}"
                    ));
                }
                let is_without = |consumer: u32| is_narrow && self.without_acks.contains(&consumer);
                if index_of(&consume).is_some_and(is_without) {
                    channel.narrow.insert(tag);
                } else if consume.no_ack {
                    channel.no_ack.insert(tag);
                    self.without_acks.extend(index_of(&consume));
                } else if let Some(consumer) = index_of(&consume) {
                    let place = self.consumers.entry(consumer).or_insert((link, index));
                    *place = (*place).max((link, index));
                }
            }
            Method::BasicAck(basic::Ack {
                delivery_tag,
                multiple,
            }) => self.settled(now, (link, index), delivery_tag, multiple, Settle::Ack),
            Method::BasicNack(basic::Nack {
                delivery_tag,
                multiple,
                requeue,
            }) => self.settled(
                now,
                (link, index),
                delivery_tag,
                multiple,
                Settle::refused(requeue),
            ),
            Method::BasicReject(basic::Reject {
                delivery_tag,
                requeue,
            }) => self.settled(
                now,
                (link, index),
                delivery_tag,
                false,
                Settle::refused(requeue),
            ),
            _ => {}
        }
    }

    /// The client settled deliveries. A tag that the channel does not know costs it (406).
    fn settled(
        &mut self,
        now: Instant,
        (link, index): (LinkId, usize),
        tag: u64,
        multiple: bool,
        settle: Settle,
    ) {
        let channel = &mut self.channels[index];
        if channel.closed.is_some() {
            return;
        }
        let tags: Vec<u64> = if multiple {
            channel
                .unsettled
                .range(..=tag)
                .map(|(tag, _)| *tag)
                .collect()
        } else {
            channel
                .unsettled
                .get(&tag)
                .map(|_| tag)
                .into_iter()
                .collect()
        };
        if tags.is_empty() {
            self.offences.push(format!(
                "{link}: {settle:?} of delivery tag {tag}, which the channel does not know"
            ));
        }
        for tag in tags {
            match channel.unsettled.remove(&tag) {
                Some(Delivered::Message(message))
                    if settle != Settle::Ack || !channel.acked_for_users.contains(&tag) =>
                {
                    self.settles.entry((message, settle)).or_default().push(now);
                }
                Some(Delivered::Task(task, delivered)) => {
                    let settles = self.task_settles.entry(task).or_default();
                    settles.push((delivered, now));
                }
                _ => {}
            }
        }
    }

    fn broker_says(
        &mut self,
        now: Instant,
        link: LinkId,
        number: ChannelId,
        method: &Method,
        body: &[u8],
        channels: &BTreeMap<ChannelId, usize>,
    ) {
        match method {
            Method::ConnectionTune(_) => _ = self.tuned.insert(link),
            Method::ConnectionOpenOk(_) => _ = self.opened.insert(link),
            _ => {}
        }
        if let Method::ConnectionClose(close) = method {
            let close = PeerClose {
                code: close.reply_code,
                text: close.reply_text.clone(),
                method: MethodId {
                    class: close.class_id,
                    method: close.method_id,
                },
            };
            // It is kicked or not let in; there is poison; or there are limits on channels, which name no method either.
            let is_to_be_expected = match close.code {
                ReplyCode::CONNECTION_FORCED => true,
                ReplyCode::INTERNAL_ERROR => close.method.class == 0,
                _ if close.method == connection::Open::ID => true,
                ReplyCode::NOT_ALLOWED => {
                    // It was restarted, and offers less.
                    let text = close.text.to_string_lossy();
                    text.contains("channels opened") || text.contains("frame-max")
                }
                _ => false,
            };
            if !is_to_be_expected {
                let offence = format!("{link}: the broker closes the connection: {close}");
                self.offences.push(offence);
            }
            // What still comes on its channels does not count, nor on those that are still opened.
            self.ended.insert(link, close.clone());
            for &index in channels.values() {
                self.channels[index].closed.get_or_insert(close.clone());
            }
        }
        let Some(&index) = channels.get(&number) else {
            return;
        };
        match method {
            Method::ChannelClose(close) => self.channel_closed(link, index, close),
            Method::BasicAck(ack) => {
                self.confirmed(index, ack.delivery_tag, ack.multiple, Word::Ack);
            }
            Method::BasicNack(nack) => {
                self.confirmed(index, nack.delivery_tag, nack.multiple, Word::Nack);
            }
            Method::BasicReturn(_) => self.returned(index, body),
            Method::BasicDeliver(deliver) => {
                let channel = &mut self.channels[index];
                if let Some(task) = TaskId::read(body) {
                    let task = Delivered::Task(task, now);
                    channel.unsettled.insert(deliver.delivery_tag, task);
                }
                let Some(message) = MessageId::read(body) else {
                    return;
                };
                *self.deliveries.entry(message).or_default() += 1;
                if channel.narrow.contains(deliver.consumer_tag.as_bytes()) {
                    channel.acked_for_users.insert(deliver.delivery_tag);
                }
                if !channel.no_ack.contains(deliver.consumer_tag.as_bytes()) {
                    let delivered = Delivered::Message(message);
                    channel.unsettled.insert(deliver.delivery_tag, delivered);
                    *channel.unseen.entry(message).or_default() += 1;
                }
            }
            _ => {}
        }
    }

    /// A user was handed a message. It has to be one of the channel that its consumer has now: what
    /// was delivered before is delivered again (fault 5).
    pub(crate) fn handed_over(&mut self, consumer: usize, message: MessageId) {
        let consumer = consumer as u32;
        let Some(&(_, index)) = self.consumers.get(&consumer) else {
            return;
        };
        if self.without_acks.contains(&consumer) {
            return;
        }
        let unseen = self.channels[index].unseen.get_mut(&message);
        match unseen.filter(|count| **count > 0) {
            Some(count) => *count -= 1,
            None => self.offences.push(format!(
                "{message} was handed out, though its consumer's channel did not deliver it"
            )),
        }
    }

    /// Whether the broker closed the channel over a publish, before its word on this one.
    pub(crate) fn is_rejected(&self, receipt: &Receipt) -> bool {
        let closed = self.channels[receipt.channel].closed.as_ref();
        receipt.word.is_none() && closed.is_some_and(|it| it.method == basic::Publish::ID)
    }

    fn channel_closed(&mut self, link: LinkId, index: usize, close: &channel::Close) {
        let close = PeerClose {
            code: close.reply_code,
            text: close.reply_text.clone(),
            method: MethodId {
                class: close.class_id,
                method: close.method_id,
            },
        };
        let settles = [basic::Ack::ID, basic::Nack::ID, basic::Reject::ID];
        if settles.contains(&close.method) {
            self.offences
                .push(format!("{link}: the broker closes a channel: {close}"));
        }
        let is_about_a_method = close.method.class != 0;
        self.overdue += u64::from(!is_about_a_method);
        self.channels[index].closed = Some(close);
    }

    fn confirmed(&mut self, index: usize, tag: u64, multiple: bool, word: Word) {
        let channel = &self.channels[index];
        let numbered = &channel.publishes[channel.unnumbered.unwrap_or(0)..];
        let last = usize::try_from(tag)
            .unwrap_or(usize::MAX)
            .min(numbered.len());
        let first = if multiple { 0 } else { last.saturating_sub(1) };
        for &receipt in numbered[first..last].iter().flatten() {
            self.receipts[receipt].word.get_or_insert(word);
        }
    }

    /// Returns come in the order of the publishes, each before its confirm.
    fn returned(&mut self, index: usize, body: &[u8]) {
        let Some(message) = MessageId::read(body) else {
            return;
        };
        for receipt in self.channels[index].receipts() {
            let receipt = &mut self.receipts[receipt];
            if receipt.message == message && !receipt.returned {
                receipt.returned = true;
                return;
            }
        }
    }
}

/// Whose a consumer is.
fn index_of(consume: &basic::Consume) -> Option<u32> {
    match consume.arguments.get(CONSUMER_INDEX).ok()?? {
        FieldValue::U32(index) => Some(index),
        _ => None,
    }
}

impl Settle {
    fn refused(requeue: bool) -> Self {
        if requeue {
            Self::Requeue
        } else {
            Self::Discard
        }
    }
}
