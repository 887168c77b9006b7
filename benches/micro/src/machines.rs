//! The state machines at work: each function makes one that is driven by as many messages as it is
//! told.

use std::collections::VecDeque;
use std::hint::black_box;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes};
use snowshoe::codec::{self, ChannelId, Connection, PublisherConfirm};
use snowshoe::internal::acks::{AckTracker, Settle};
use snowshoe::internal::backoff::{Backoff, Delays};
use snowshoe::internal::confirms::Confirms;
use snowshoe::internal::publisher::{Address, Bin, Overflow, Publisher, Settlement};
use snowshoe::internal::ring::{Limits, Ring};
use snowshoe::internal::{Epoch, Inbox};
use snowshoe::{Message, Properties, ShortString};

/// How many messages are under way at a time.
const WINDOW: u64 = 1000;

/// The ring: pushed, written, settled.
pub(crate) fn ring() -> impl FnMut(u64) {
    let mut ring = Ring::new(LIMITS);
    let mut settled = 0;
    in_windows(move |window| {
        for item in 0..window {
            black_box(ring.push(item, 16)).expect("there is room");
        }
        while let Some(item) = ring.next_unwritten() {
            black_box(item);
            ring.mark_written();
        }
        for position in settled..settled + window {
            black_box(ring.settle(position));
        }
        settled += window;
    })
}

/// The confirm tracker: written, and confirmed one by one or all together.
pub(crate) fn confirms(multiple: bool) -> impl FnMut(u64) {
    let mut confirms = Confirms::new();
    in_windows(move |window| {
        let mut last = 0;
        for position in 0..window {
            last = confirms.written(position);
        }
        let first = if multiple { last } else { last - window + 1 };
        for tag in first..=last {
            let resolved = confirms.resolve(tag, multiple, |position| _ = black_box(position));
            black_box(resolved).expect("it was published");
        }
    })
}

/// The ack tracker: delivered, acknowledged and flushed, every tenth later than the others if they
/// are not acknowledged `in_order`.
pub(crate) fn acks(in_order: bool) -> impl FnMut(u64) {
    let mut tracker = AckTracker::new(Epoch::default());
    let mut last = 0;
    in_windows(move |window| {
        let tags = last + 1..=last + window;
        last += window;
        for tag in tags.clone() {
            tracker.delivered(tag).expect("tags ascend");
        }
        let is_late = |tag: u64| !in_order && tag.is_multiple_of(10);
        for late in [false, true] {
            for tag in tags.clone().filter(|tag| is_late(*tag) == late) {
                let settled = tracker.settle(Epoch::default(), tag, Settle::Ack, false);
                settled.expect("it was delivered");
            }
            tracker.flush(|frame| _ = black_box(frame));
        }
    })
}

/// All of a producer but for its lock: pushed, encoded onto a channel in confirm mode, confirmed
/// together.
pub(crate) fn publisher(
    mut connection: Connection,
    channel: ChannelId,
    body: Bytes,
) -> impl FnMut(u64) {
    let address = Address {
        exchange: ShortString::default(),
        routing_key: ShortString::from_static("orders"),
        mandatory: false,
        properties: Properties::default(),
        identifies: None,
    };
    let (settlement, overflow) = (Settlement::Confirm, Overflow::Refuse);
    let mut publisher = Publisher::<()>::new(address, settlement, overflow, LIMITS);
    let mut bin = Bin::default();
    let mut tag = 0;
    in_windows(move |window| {
        for _ in 0..window {
            let pushed = publisher.push(Message::from(body.clone()), true);
            pushed.expect("there is room");
        }
        let mut channel = connection.channel(channel).expect("it is open");
        publisher.transmit(&mut channel, usize::MAX);
        let outbound = connection.outbound();
        outbound.advance(black_box(outbound.remaining()));
        tag += window;
        publisher.swap_bin(&mut bin);
        let confirmed = publisher.confirm(PublisherConfirm {
            delivery_tag: tag,
            multiple: true,
            ack: true,
        });
        confirmed.expect("it was published");
        publisher.swap_bin(&mut bin);
        bin.clear();
        publisher
            .take_woken()
            .for_each(|woken| _ = black_box(woken));
        black_box(publisher.take_news());
    })
}

/// An inbox with its lock: filled, emptied, each delivery acknowledged, all flushed.
pub(crate) fn inbox(delivery: codec::Delivery) -> impl FnMut(u64) {
    let queue = ShortString::from_static("orders");
    let inbox = Inbox::new(queue.clone(), LIMITS);
    let epoch = Epoch::default().next();
    inbox.begin_epoch(epoch, queue);
    let mut tag = 0;
    let (mut batch, mut taken) = (VecDeque::new(), VecDeque::new());
    in_windows(move |window| {
        for _ in 0..window {
            tag += 1;
            let mut delivery = delivery.clone();
            delivery.delivery_tag = tag;
            batch.push_back(delivery);
        }
        inbox.fill(&mut batch);
        inbox.take(&mut taken);
        for delivery in taken.drain(..) {
            let delivery = inbox.delivery(delivery, epoch);
            delivery.ack().expect("the epoch is the same");
        }
        inbox.flush(|frame| _ = black_box(frame));
    })
}

/// The delays between attempts: an attempt fails as often as there would be messages.
pub(crate) fn backoff() -> impl FnMut(u64) {
    let mut delays = Delays::new(Backoff::default(), Duration::ZERO, 0);
    let mut now = Instant::now();
    move |attempts| {
        for _ in 0..attempts {
            black_box(delays.next(now));
            now += Duration::from_nanos(1);
        }
    }
}

fn in_windows(mut run: impl FnMut(u64)) -> impl FnMut(u64) {
    move |mut messages| {
        while messages > 0 {
            let window = messages.min(WINDOW);
            run(window);
            messages -= window;
        }
    }
}

const LIMITS: Limits = Limits {
    messages: WINDOW as usize,
    bytes: 1 << 30,
};
