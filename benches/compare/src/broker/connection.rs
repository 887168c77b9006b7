use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::TcpStream;
use std::time::Instant;

use rustix::event::PollFlags;

use super::feed::{Feed, write_delivery};
use super::replies::{self, Request};
use super::{Echo, Totals};
use crate::wire::{
    ACK, BODY, FRAME_HEADER, HEADER, METHOD, PUBLISH, u16_at, u32_at, u64_at, write_ack,
};
use crate::witness::{Milestone, QUESTION};

/// A client's connection, or a witness's question.
#[derive(Debug)]
pub(super) struct Connection {
    number: u64,
    stream: TcpStream,
    input: Vec<u8>,
    /// How much of `input` is filled.
    filled: usize,
    /// What is left of a body frame that is being read, with its end.
    body_left: usize,
    /// Whose body it is.
    body_channel: u16,
    phase: Phase,
    frame_max: usize,
    channels: Vec<Channel>,
    /// Channels that have something to confirm.
    unconfirmed: Vec<u16>,
    feeds: Vec<Feed>,
    output: Vec<u8>,
    /// How much of `output` is written.
    written: usize,
}

#[derive(Debug, PartialEq, Eq)]
enum Phase {
    /// Nothing was said yet.
    New,
    Client,
    Witness(Milestone),
}

#[derive(Clone, Debug, Default)]
struct Channel {
    confirms: bool,
    published: u64,
    confirmed: u64,
    prefetch: u16,
    /// What is missing of the message that is being published.
    missing: u64,
    /// Its body, where it will be echoed.
    body: Vec<u8>,
}

impl Connection {
    pub(super) fn new(number: u64, stream: TcpStream) -> io::Result<Self> {
        stream.set_nonblocking(true)?;
        stream.set_nodelay(true)?;
        Ok(Self {
            number,
            stream,
            input: vec![0; INPUT],
            filled: 0,
            body_left: 0,
            body_channel: 0,
            phase: Phase::New,
            frame_max: replies::FRAME_MAX as usize,
            channels: Vec::new(),
            unconfirmed: Vec::new(),
            feeds: Vec::new(),
            output: Vec::new(),
            written: 0,
        })
    }

    pub(super) fn number(&self) -> u64 {
        self.number
    }

    pub(super) fn stream(&self) -> &TcpStream {
        &self.stream
    }

    /// What to wait for.
    pub(super) fn interest(&self) -> PollFlags {
        if self.output.is_empty() && !self.feeds.iter().any(Feed::is_ready) {
            PollFlags::IN
        } else {
            PollFlags::IN | PollFlags::OUT
        }
    }

    /// When the next consumer gets its first delivery.
    pub(super) fn feed_starts(&self) -> Option<Instant> {
        self.feeds.iter().filter_map(Feed::starts).min()
    }

    /// Reads and writes what can be; whether the connection is still open.
    pub(super) fn is_open_after(&mut self, ready: PollFlags, totals: &mut Totals) -> bool {
        let readable = PollFlags::IN | PollFlags::HUP | PollFlags::ERR;
        if ready.intersects(readable) && !self.read(totals) {
            return false;
        }
        self.write();
        true
    }

    /// Answers a witness's question, if it is one and `is_so`.
    pub(super) fn answer_witness(&mut self, is_so: impl FnOnce(Milestone) -> bool) {
        if let Phase::Witness(milestone) = self.phase
            && is_so(milestone)
        {
            self.phase = Phase::New;
            self.output.push(1);
            self.write();
        }
    }

    pub(super) fn deliver(&mut self, channel: u16, consumer: &[u8], tag: u64, body: &[u8]) {
        write_delivery(
            &mut self.output,
            channel,
            consumer,
            tag,
            body,
            self.frame_max,
        );
    }

    /// Writes what the socket takes: replies, then deliveries, one block each.
    pub(super) fn write(&mut self) {
        let in_a_frame = self.feeds.iter().position(Feed::is_in_a_frame);
        if let Some(feed) = in_a_frame
            && !self.write_feed(feed)
        {
            return;
        }
        while self.written < self.output.len() {
            match self.stream.write(&self.output[self.written..]) {
                Ok(written) => self.written += written,
                Err(_) => return,
            }
        }
        self.output.clear();
        self.written = 0;
        for feed in 0..self.feeds.len() {
            if !self.write_feed(feed) {
                return;
            }
        }
    }

    /// Whether all was written.
    fn write_feed(&mut self, feed: usize) -> bool {
        let feed = &mut self.feeds[feed];
        let chunk = feed.chunk(Instant::now);
        if chunk.is_empty() {
            return true;
        }
        let length = chunk.len();
        let written = self.stream.write(chunk).unwrap_or(0);
        feed.advance(written);
        written == length
    }

    /// Reads once; whether the client is still there.
    fn read(&mut self, totals: &mut Totals) -> bool {
        match self.stream.read(&mut self.input[self.filled..]) {
            Ok(0) => return false,
            Ok(read) => self.filled += read,
            Err(error) => return error.kind() == ErrorKind::WouldBlock,
        }
        if self.phase == Phase::New {
            let consumed = self.greet();
            self.consume(consumed);
        }
        // A client may have said more behind its header.
        if self.phase == Phase::Client {
            let consumed = self.walk(totals);
            self.consume(consumed);
        }
        self.confirm();
        true
    }

    fn consume(&mut self, bytes: usize) {
        self.input.copy_within(bytes..self.filled, 0);
        self.filled -= bytes;
    }

    fn greet(&mut self) -> usize {
        if self.input[..self.filled].starts_with(b"AMQP") && self.filled >= 8 {
            self.phase = Phase::Client;
            replies::start(&mut self.output);
            return 8;
        }
        if let Some(question) = self.input[..self.filled].first_chunk::<QUESTION>()
            && let Some(milestone) = Milestone::parse(*question)
        {
            self.phase = Phase::Witness(milestone);
            return QUESTION;
        }
        0
    }

    /// Walks over whole frames, and over bodies as far as they are there; how many bytes.
    fn walk(&mut self, totals: &mut Totals) -> usize {
        let mut at = 0;
        loop {
            let there = self.filled - at;
            if self.body_left > 0 {
                let taken = there.min(self.body_left);
                self.body(at..at + taken, totals);
                at += taken;
                if self.body_left > 0 {
                    return at;
                }
                continue;
            }
            if there < FRAME_HEADER {
                return at;
            }
            let kind = self.input[at];
            let channel = u16_at(&self.input, at + 1);
            let length = u32_at(&self.input, at + 3) as usize;
            if kind == BODY {
                at += FRAME_HEADER;
                self.body_left = length + 1;
                self.body_channel = channel;
                continue;
            }
            if there < FRAME_HEADER + length + 1 {
                return at;
            }
            let payload = at + FRAME_HEADER;
            match kind {
                METHOD => self.method(channel, payload, length, totals),
                HEADER => {
                    let size = u64_at(&self.input, payload + 4);
                    self.channel(channel).missing = size;
                    if size == 0 {
                        self.published(channel, totals);
                    }
                }
                _ => {}
            }
            at = payload + length + 1;
        }
    }

    /// A part of a body frame, its end perhaps among it.
    fn body(&mut self, part: std::ops::Range<usize>, totals: &mut Totals) {
        let number = self.body_channel;
        let ends = part.len() == self.body_left;
        self.body_left -= part.len();
        let part = part.start..part.end - usize::from(ends);
        let channel = &mut self.channels[usize::from(number)];
        channel.missing = channel.missing.saturating_sub(part.len() as u64);
        if totals.echo.is_some() {
            channel.body.extend(&self.input[part]);
        }
        if ends && channel.missing == 0 {
            self.published(number, totals);
        }
    }

    /// A message is complete.
    fn published(&mut self, number: u16, totals: &mut Totals) {
        totals.published += 1;
        let channel = self.channel(number);
        if totals.echo.is_some() {
            totals.echoes.push(std::mem::take(&mut channel.body));
        }
        channel.published += 1;
        if channel.confirms && channel.published == channel.confirmed + 1 {
            self.unconfirmed.push(number);
        }
    }

    /// Confirms what was published since.
    fn confirm(&mut self) {
        for number in self.unconfirmed.drain(..) {
            let channel = &mut self.channels[usize::from(number)];
            let multiple = channel.published > channel.confirmed + 1;
            channel.confirmed = channel.published;
            write_ack(&mut self.output, number, channel.published, multiple);
        }
    }

    fn method(&mut self, number: u16, payload: usize, length: usize, totals: &mut Totals) {
        match u32_at(&self.input, payload) {
            PUBLISH => {}
            ACK => {
                let tag = u64_at(&self.input, payload + 4);
                let multiple = self.input[payload + 12] & 1 != 0;
                let feed = self.feeds.iter_mut().find(|feed| feed.channel == number);
                totals.acked += feed.map_or(0, |feed| feed.ack(tag, multiple));
            }
            id => {
                let arguments = self.input[payload + 4..payload + length].to_vec();
                let request = replies::reply(&mut self.output, number, id, &arguments);
                self.request(number, request, totals);
            }
        }
    }

    fn request(&mut self, number: u16, request: Request<'_>, totals: &mut Totals) {
        match request {
            Request::TuneOk(frame_max) => self.frame_max = frame_max,
            Request::ConfirmSelect => self.channel(number).confirms = true,
            Request::Qos(prefetch) => self.channel(number).prefetch = prefetch,
            Request::Consume { queue, tag, no_ack } => {
                let prefetch = if no_ack {
                    0
                } else {
                    self.channel(number).prefetch
                };
                let mut feeds = self.feeds.iter_mut();
                // Nothing comes to the place of a consumer that is behind.
                let is_place = tag.starts_with(b"paused-");
                if is_place || feeds.any(|feed| feed.goes_on_as(number, tag)) {
                    return;
                }
                if let Some(messages) = feed(queue) {
                    let feed = Feed::new(number, tag, messages, prefetch.into(), self.frame_max);
                    self.feeds.push(feed);
                } else if queue == b"echo" {
                    totals.echo = Some(Echo {
                        connection: self.number,
                        channel: number,
                        tag: tag.to_vec(),
                        delivered: 0,
                    });
                }
            }
            Request::Cancel { tag } => {
                let mut feeds = self.feeds.iter_mut();
                feeds.any(|feed| feed.pause(number, tag, true));
            }
            Request::Other => {}
        }
    }

    fn channel(&mut self, number: u16) -> &mut Channel {
        let number = usize::from(number);
        if number >= self.channels.len() {
            self.channels.resize(number + 1, Channel::default());
        }
        &mut self.channels[number]
    }
}

/// The size and the number of the messages that a queue's name asks for.
fn feed(queue: &[u8]) -> Option<(usize, u64)> {
    let (size, total) = str::from_utf8(queue)
        .ok()?
        .strip_prefix("feed-")?
        .split_once('-')?;
    Some((size.parse().ok()?, total.parse().ok()?))
}

/// About as much as a socket holds.
const INPUT: usize = 256 << 10;
