use std::ops::Range;
use std::time::{Duration, Instant};

use crate::wire::{Arguments, DELIVER, FRAME_HEADER, write_content};

/// The messages of one consumer.
#[derive(Debug)]
pub(super) struct Feed {
    pub(super) channel: u16,
    consumer_tag: Vec<u8>,
    /// Its consumer was cancelled, and may come back, as Snowshoe's do that were behind.
    is_paused: bool,
    size: usize,
    frame_max: usize,
    /// Deliveries, one like the other but for their tags.
    block: Vec<u8>,
    /// Whether the consumer has another name by now.
    is_renamed: bool,
    /// Length of one.
    stride: usize,
    /// Where its tag is.
    tag_at: usize,
    /// What of the block has still to be written.
    unwritten: Range<usize>,
    /// How many deliveries there will be.
    total: u64,
    sent: u64,
    acked: u64,
    /// 0: without limit, because nothing is acknowledged.
    prefetch: u64,
    starts: Option<Instant>,
}

impl Feed {
    pub(super) fn new(
        channel: u16,
        consumer_tag: &[u8],
        (size, total): (usize, u64),
        prefetch: u64,
        frame_max: usize,
    ) -> Self {
        Self {
            channel,
            consumer_tag: consumer_tag.to_vec(),
            is_paused: false,
            size,
            frame_max,
            block: Vec::new(),
            is_renamed: true,
            stride: 1,
            tag_at: 0,
            unwritten: 0..0,
            total,
            sent: 0,
            acked: 0,
            prefetch,
            // amqp-client 0.1 loses what comes right after consume-ok; it is not held against it.
            starts: Some(Instant::now() + START_DELAY),
        }
    }

    /// Pauses or goes on, if it is of this consumer; whether it is.
    pub(super) fn pause(&mut self, channel: u16, consumer_tag: &[u8], is_paused: bool) -> bool {
        let is_it = self.channel == channel && self.consumer_tag == consumer_tag;
        if is_it {
            self.is_paused = is_paused;
        }
        is_it
    }

    /// Goes on, if this is the next name of its consumer, which ends in a number of its own each time; whether it is.
    pub(super) fn goes_on_as(&mut self, channel: u16, consumer_tag: &[u8]) -> bool {
        let base = |tag: &[u8]| tag.split(|byte| *byte == b'#').next().map(<[u8]>::to_vec);
        let is_it = self.channel == channel && base(&self.consumer_tag) == base(consumer_tag);
        if is_it {
            self.is_paused = false;
            self.consumer_tag = consumer_tag.to_vec();
            self.is_renamed = true;
        }
        is_it
    }

    fn write_block(&mut self) {
        let mut message = Vec::new();
        write_delivery(
            &mut message,
            self.channel,
            &self.consumer_tag,
            0,
            &vec![b'x'; self.size],
            self.frame_max,
        );
        self.stride = message.len();
        self.block = message.repeat(BLOCK.div_ceil(self.stride));
        self.tag_at = FRAME_HEADER + 4 + 1 + self.consumer_tag.len();
    }

    /// When its first delivery is due, if none was sent.
    pub(super) fn starts(&self) -> Option<Instant> {
        self.starts
    }

    /// Whether it has something to write.
    pub(super) fn is_ready(&self) -> bool {
        !self.unwritten.is_empty() || self.starts.is_none() && self.credit() > 0
    }

    /// Whether a delivery has been written in part.
    pub(super) fn is_in_a_frame(&self) -> bool {
        !self.unwritten.is_empty()
    }

    /// The bytes to write next.
    pub(super) fn chunk(&mut self, now: impl FnOnce() -> Instant) -> &[u8] {
        if self.starts.is_some_and(|due| now() >= due) {
            self.starts = None;
        }
        if self.unwritten.is_empty() && self.starts.is_none() {
            self.refill();
        }
        &self.block[self.unwritten.clone()]
    }

    pub(super) fn advance(&mut self, written: usize) {
        self.unwritten.start += written;
    }

    /// Takes an acknowledgement; how many deliveries it settles. Clients acknowledge in order.
    pub(super) fn ack(&mut self, tag: u64, multiple: bool) -> u64 {
        let before = self.acked;
        self.acked = match (multiple, tag) {
            (false, _) => before + 1,
            (true, 0) => self.sent,
            (true, tag) => before.max(tag),
        };
        self.acked - before
    }

    fn credit(&self) -> u64 {
        let left = if self.is_paused {
            0
        } else {
            self.total - self.sent
        };
        match self.prefetch {
            0 => left,
            prefetch => left.min(prefetch.saturating_sub(self.sent - self.acked)),
        }
    }

    /// Numbers as many deliveries as may be sent, from the front of the block.
    fn refill(&mut self) {
        if std::mem::take(&mut self.is_renamed) {
            self.write_block();
        }
        let fits = (self.block.len() / self.stride) as u64;
        let count = self.credit().min(fits) as usize;
        self.unwritten = 0..count * self.stride;
        for message in self.block[self.unwritten.clone()].chunks_exact_mut(self.stride) {
            self.sent += 1;
            message[self.tag_at..self.tag_at + 8].copy_from_slice(&self.sent.to_be_bytes());
        }
    }
}

/// Writes a message to a consumer.
pub(super) fn write_delivery(
    out: &mut Vec<u8>,
    channel: u16,
    consumer_tag: &[u8],
    delivery_tag: u64,
    body: &[u8],
    frame_max: usize,
) {
    Arguments::new()
        .short_string(consumer_tag)
        .longlong(delivery_tag)
        .octet(0)
        .short_string(b"")
        .short_string(b"compare")
        .write(out, channel, DELIVER);
    write_content(out, channel, body, frame_max);
}

/// About as much as a socket takes at once.
const BLOCK: usize = 256 << 10;

const START_DELAY: Duration = Duration::from_millis(1);
