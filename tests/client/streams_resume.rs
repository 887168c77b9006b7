//! Consumers of streams that come back where they were: nothing is lost, and nothing repeated but what was not
//! settled.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::thread::sleep;
use std::time::{Duration, Instant, SystemTime};

use async_io::{Timer, block_on};
use futures_lite::FutureExt as _;
use snowshoe::{
    Client, ConnectionRole, Consumer, ConsumerBuilder, Delivery, Event, Properties, Queue, Settled,
    ShortString, StreamOffset,
};
use support::broker::cluster::Cluster;
use support::broker::url;
use support::client::{builder, connect};
use support::events::{next_event, recovered};
use support::executor;
use support::messages::{number, numbered};
use support::proxy::{End, Proxy};
use support::queues::{declare, unique};
use support::waiting::{run, within};

/// A client that publishes to a stream and is left alone, and one that reads it through a proxy.
struct World {
    proxy: Proxy,
    writer: Client,
    reader: Client,
    stream: ShortString,
    published: u64,
}

impl World {
    async fn new() -> Self {
        let proxy = Proxy::start(&url());
        let writer = connect(&url()).await;
        let reader = connect(&proxy.url()).await;
        let stream = declare(&writer, Queue::stream(unique("stream"))).await;
        Self {
            proxy,
            writer,
            reader,
            stream,
            published: 0,
        }
    }

    /// Publishes so many, whose numbers are their offsets.
    async fn publish(&mut self, count: u64) {
        let producer = self.writer.producer(self.stream.clone()).unwrap().build();
        for _ in 0..count {
            let message = numbered(self.published, 8);
            drop(producer.publish(message).await.expect("room"));
            self.published += 1;
        }
        producer.flushed().await;
    }

    fn consumer(&self) -> ConsumerBuilder {
        self.reader.consumer(self.stream.clone()).unwrap()
    }

    async fn started(&self, begin: StreamOffset) -> Consumer {
        start(self.consumer().stream_offset(begin)).await
    }

    /// Cuts the reader's connections, and waits until it is back. Meanwhile so many are published.
    async fn outage(&mut self, messages: u64) {
        let mut events = self.reader.events();
        self.proxy.refuse();
        self.proxy.all().end(End::Reset);
        self.publish(messages).await;
        self.proxy.accept();
        recovered(&mut events, ConnectionRole::Main).await;
    }

    async fn end(self) {
        self.writer.delete_queue(self.stream).await.unwrap();
    }
}

async fn start(builder: ConsumerBuilder) -> Consumer {
    within("the consumer", builder.start()).await.unwrap()
}

async fn next(consumer: &mut Consumer) -> Delivery {
    let delivery = within("the next", consumer.next()).await.unwrap();
    assert_eq!(delivery.stream_offset(), Some(number(&delivery)));
    delivery
}

/// The next, which is acknowledged at once.
async fn read(consumer: &mut Consumer) -> u64 {
    let delivery = next(consumer).await;
    let number = number(&delivery);
    assert_eq!(delivery.ack(), Ok(Settled::Sent));
    number
}

/// Reads what is expected, and no more for a while.
async fn read_all(consumer: &mut Consumer, expected: impl IntoIterator<Item = u64>) {
    for expected in expected {
        assert_eq!(read(consumer).await, expected);
    }
    let nothing = async { Timer::after(Duration::from_millis(200)).await };
    let more = async { panic!("{} came, too", number(&next(consumer).await)) };
    nothing.or(more).await;
}

/// What becomes of a message: how often it came, and whether it was settled.
#[derive(Default)]
struct Seen {
    times: usize,
    is_settled: bool,
    /// At how many cuts it was at hand, or waited in the consumer.
    cuts: usize,
}

#[test]
fn a_stream_is_read_over_20_cuts_and_only_what_was_not_settled_at_one_is_repeated() {
    const COUNT: u64 = 4_000;
    const CUTS: u64 = 20;
    const AT_HAND: usize = 40;
    for is_dedicated in [false, true] {
        run(async {
            let mut world = World::new().await;
            world.publish(COUNT / 2).await;
            let consuming = match is_dedicated {
                true => ConnectionRole::Dedicated,
                false => ConnectionRole::Main,
            };
            let mut events = world.reader.events();
            let is_cut = |event: &Event| matches!(event, Event::Disconnected { role, .. } if *role == consuming);
            let mut builder = world.consumer().stream_offset(StreamOffset::First);
            builder = builder.prefetch(100);
            if is_dedicated {
                builder = builder.dedicated_connection();
            }
            let mut consumer = start(builder).await;
            let mut seen: BTreeMap<u64, Seen> = BTreeMap::new();
            let mut at_hand: Vec<Delivery> = Vec::new();
            let (mut cuts, mut settled) = (0, 0);
            while settled < COUNT {
                if cuts < CUTS && settled >= (cuts + 1) * COUNT / (CUTS + 1) {
                    cuts += 1;
                    world.proxy.all().end(End::Reset);
                    if world.published < COUNT {
                        world.publish(COUNT / 2 / CUTS).await;
                    }
                    // What was taken before the client knew of it would be stale, and not at hand at the cut.
                    next_event(&mut events, "the cut", is_cut).await;
                    for delivery in &at_hand {
                        seen.entry(number(delivery)).or_default().cuts += 1;
                    }
                }
                // As many as there are are taken, and then they are settled in any order.
                let room = at_hand.len() < AT_HAND && settled + (at_hand.len() as u64) < COUNT;
                if room {
                    let delivery = async { Some(next(&mut consumer).await) };
                    let enough = async {
                        Timer::after(Duration::from_millis(5)).await;
                        None
                    };
                    if let Some(delivery) = delivery.or(enough).await {
                        let it = seen.entry(number(&delivery)).or_default();
                        assert!(!it.is_settled, "{delivery:?} was settled");
                        it.times += 1;
                        at_hand.push(delivery);
                        continue;
                    }
                }
                if at_hand.is_empty() {
                    continue;
                }
                let delivery = at_hand.swap_remove(fastrand::usize(..at_hand.len()));
                let it = seen.get_mut(&number(&delivery)).expect("it was seen");
                match delivery.ack().expect("it was not settled before") {
                    Settled::Sent => {
                        it.is_settled = true;
                        settled += 1;
                    }
                    other => assert_eq!(other, Settled::Stale),
                }
            }
            assert_eq!(cuts, CUTS);
            assert_eq!(seen.len() as u64, COUNT, "nothing was lost");
            for (number, it) in &seen {
                assert!(it.times <= 1 + it.cuts, "{number} came {} times", it.times);
            }
            assert_eq!(consumer.stream_position(), Some(COUNT));
            read_all(&mut consumer, []).await;
            world.end().await;
        });
    }
}

#[test]
fn each_place_to_begin_is_one_for_the_first_time_only() {
    run(async {
        let mut world = World::new().await;
        world.publish(50).await;
        Timer::after(Duration::from_millis(2_100)).await;
        let middle = SystemTime::now();
        Timer::after(Duration::from_millis(1_100)).await;
        world.publish(50).await;
        let second = Duration::from_secs(1);
        let mut consumers = Vec::new();
        for (begin, first) in [
            (StreamOffset::First, 0),
            (StreamOffset::Offset(0), 0),
            (StreamOffset::Offset(30), 30),
            (StreamOffset::Offset(99), 99),
            (StreamOffset::Timestamp(middle), 50),
            (StreamOffset::Timestamp(SystemTime::UNIX_EPOCH), 0),
            (
                StreamOffset::Interval(middle.elapsed().unwrap() + second),
                50,
            ),
            (StreamOffset::Interval(second * 3_600), 0),
        ] {
            let mut consumer = world.started(begin).await;
            read_all(&mut consumer, first..100).await;
            consumers.push(consumer);
        }
        // Where the last chunk begins is the broker's choice.
        let mut last = world.started(StreamOffset::Last).await;
        let first = read(&mut last).await;
        assert!(first >= 50);
        read_all(&mut last, first + 1..100).await;
        consumers.push(last);
        let mut next = world.started(StreamOffset::Next).await;
        read_all(&mut next, []).await;
        world.publish(1).await;
        consumers.push(next);
        // What has come to the last of them is where that goes on, too.
        for consumer in &mut consumers {
            read_all(consumer, 100..101).await;
        }
        let mut from = 101;
        for _ in 0..2 {
            world.outage(10).await;
            for consumer in &mut consumers {
                read_all(consumer, from..world.published).await;
                assert_eq!(consumer.stream_position(), Some(world.published));
            }
            from = world.published;
        }
        world.end().await;
    });
}

#[test]
fn what_is_published_in_an_outage_is_not_lost_to_whoever_had_nothing_yet() {
    run(async {
        for begin in [StreamOffset::Next, StreamOffset::Last] {
            let mut world = World::new().await;
            let mut consumer = world.started(begin).await;
            // So long that the last chunk would have come, if there were one.
            Timer::after(Duration::from_millis(5_500)).await;
            for _ in 0..2 {
                world.outage(0).await;
            }
            world.outage(300).await;
            read_all(&mut consumer, 0..300).await;
            world.end().await;
        }
    });
}

#[test]
fn a_prefetch_of_one_reads_on_past_all_that_was_settled_out_of_order() {
    run(async {
        let mut world = World::new().await;
        world.publish(400).await;
        let builder = world.consumer().stream_offset(StreamOffset::First);
        let mut consumer = start(builder.prefetch(200)).await;
        let mut kept = Vec::new();
        for _ in 0..200 {
            let delivery = next(&mut consumer).await;
            if [0, 150].contains(&number(&delivery)) {
                kept.push(delivery);
            } else {
                assert_eq!(delivery.ack(), Ok(Settled::Sent));
            }
        }
        assert_eq!(consumer.stream_position(), Some(0));
        world.outage(0).await;
        let mut again: BTreeSet<u64> = [0, 150].into();
        again.extend(200..400);
        read_all(&mut consumer, again).await;
        for delivery in kept {
            assert_eq!(delivery.ack(), Ok(Settled::Stale));
        }
        world.end().await;
    });
}

#[test]
fn what_is_passed_over_does_not_come_again_after_a_cut() {
    run(async {
        let mut world = World::new().await;
        world.publish(20).await;
        let mut consumer = world.started(StreamOffset::First).await;
        for _ in 0..10 {
            let delivery = next(&mut consumer).await;
            assert_eq!(delivery.nack(true), Ok(Settled::PassedOver));
        }
        world.outage(0).await;
        read_all(&mut consumer, 10..20).await;
        world.end().await;
    });
}

/// The broker would wait until the new one has the offset that is asked for, and send nothing before.
#[test]
fn a_stream_that_is_deleted_and_declared_anew_is_read_from_its_first() {
    run(async {
        for is_own in [true, false] {
            let mut world = World::new().await;
            if is_own {
                declare(&world.reader, Queue::stream(world.stream.clone())).await;
            }
            world.publish(50).await;
            let mut consumer = world.started(StreamOffset::Offset(10)).await;
            read_all(&mut consumer, 10..50).await;
            let mut events = world.reader.events();
            world
                .writer
                .delete_queue(world.stream.clone())
                .await
                .unwrap();
            let is_cancelled = |it: &Event| matches!(it, Event::ConsumerCancelled { .. });
            next_event(&mut events, "the cancel", is_cancelled).await;
            declare(&world.writer, Queue::stream(world.stream.clone())).await;
            world.published = 0;
            world.publish(20).await;
            read_all(&mut consumer, 0..20).await;
            world.outage(10).await;
            read_all(&mut consumer, 20..30).await;
            world.end().await;
        }
    });
}

#[test]
fn a_stream_that_was_declared_here_is_known_without_a_place_to_begin() {
    run(async {
        let mut world = World::new().await;
        declare(&world.reader, Queue::stream(world.stream.clone())).await;
        let mut consumer = start(world.consumer()).await;
        world.publish(10).await;
        read_all(&mut consumer, 0..10).await;
        world.outage(10).await;
        read_all(&mut consumer, 10..20).await;
        world.end().await;
    });
}

#[test]
fn whoever_keeps_the_offset_is_asked_before_each_subscription_and_believed() {
    run(async {
        let mut world = World::new().await;
        world.publish(10).await;
        let told = Arc::new(Mutex::new(Vec::new()));
        let builder = world.consumer().stream_offset(StreamOffset::Offset(2));
        let mut consumer = start(builder.stream_offset_from({
            let told = Arc::clone(&told);
            move |own| {
                let count = {
                    let mut told = told.lock().unwrap();
                    told.push(own);
                    told.len()
                };
                match count {
                    // What it would do by itself.
                    1 | 2 => own,
                    // Before what was settled.
                    3 => StreamOffset::Offset(5),
                    _ => panic!("a panic that a test wants"),
                }
            }
        }))
        .await;
        read_all(&mut consumer, 2..10).await;
        world.outage(5).await;
        read_all(&mut consumer, 10..15).await;
        world.outage(0).await;
        read_all(&mut consumer, 5..15).await;
        world.outage(1).await;
        read_all(&mut consumer, 15..16).await;
        let expected = [2, 10, 15, 15].map(StreamOffset::Offset);
        assert_eq!(*told.lock().unwrap(), expected);
        world.end().await;
    });
}

/// RabbitMQ has filters since 3.13, and sends all before.
#[test]
fn a_filter_asks_for_those_with_its_value_and_goes_on_after_a_cut() {
    /// The next of its value, and how many others came before it.
    async fn next_even(consumer: &mut Consumer, others: &mut u64) -> u64 {
        loop {
            let delivery = next(consumer).await;
            let number = number(&delivery);
            assert_eq!(delivery.ack(), Ok(Settled::Sent));
            if (number / 20).is_multiple_of(2) {
                return number;
            }
            *others += 1;
        }
    }

    run(async {
        let mut world = World::new().await;
        let builder = world.consumer().stream_offset(StreamOffset::First);
        let builder = builder.stream_filter(["even"]).unwrap();
        let mut consumer = start(builder).await;
        let mut others = 0;
        for _ in 0..3 {
            for value in ["even", "odd"] {
                let producer = world.writer.producer(world.stream.clone()).unwrap();
                let header = Properties::builder().header("x-stream-filter-value", value);
                let producer = producer.properties(header.build().unwrap()).build();
                for _ in 0..20 {
                    let message = numbered(world.published, 8);
                    drop(producer.publish(message).await.expect("room"));
                    world.published += 1;
                }
                producer.flushed().await;
            }
            let from = world.published - 40;
            for expected in from..from + 20 {
                assert_eq!(next_even(&mut consumer, &mut others).await, expected);
            }
            world.outage(0).await;
        }
        // The last of them need not have come before the end.
        assert!(
            others == 0 || others >= 40,
            "{others} others came, out of 60"
        );
        world.end().await;
    });
}

/// Waits until a stream can be read on every node: it is declared before it is there. Whether it can: of a
/// node that was killed and has come back, RabbitMQ 4.3.6 can say for ever that no stream is on it.
fn is_on_all(cluster: &Cluster, stream: &ShortString, patience: Duration) -> bool {
    let deadline = Instant::now() + patience;
    (0..cluster.size()).all(|node| {
        let client = block_on(connect(&cluster.node(node).url()));
        let is_there = || {
            let builder = client.consumer(stream.clone()).unwrap();
            block_on(within("an answer", builder.start())).is_ok()
        };
        while !is_there() {
            if Instant::now() > deadline {
                return false;
            }
            sleep(Duration::from_millis(50));
        }
        block_on(client.close());
        true
    })
}

/// One of them has the leader of the stream, and one the consumer's connection.
#[test]
fn a_stream_in_a_cluster_is_read_once_and_without_a_gap_whichever_node_dies() {
    const BATCH: u64 = 300;
    let mut cluster = Cluster::start();
    let (url, size) = (cluster.url(), cluster.size());
    let name = unique("reader");
    let reader = builder(&url).name(name.clone()).unwrap();
    let reader = block_on(executor::connect(reader)).expect("all nodes are there");
    let writer = block_on(connect(&url));
    let mut events = reader.events();
    let its_own = cluster.nodes_of(&name)[0];
    for node in (its_own..its_own + size).map(|node| node % size) {
        let stream = block_on(declare(&writer, Queue::stream(unique("stream"))));
        let patience = Duration::from_secs(if node == its_own { 90 } else { 20 });
        if !is_on_all(&cluster, &stream, patience) {
            assert_ne!(node, its_own, "no node was killed before");
            break;
        }
        let producer = writer.producer(stream.clone()).unwrap().build();
        let builder = reader.consumer(stream.clone()).unwrap();
        let mut consumer = block_on(start(builder.stream_offset(StreamOffset::First)));
        let publish = |number| {
            let confirmation = block_on(producer.publish(numbered(number, 8)));
            (number, confirmation.expect("room"))
        };
        let before: Vec<_> = (0..BATCH).map(publish).collect();
        cluster.kill(node);
        let after: Vec<_> = (BATCH..2 * BATCH).map(publish).collect();
        let mut missed = BTreeSet::new();
        for (number, confirmation) in before.into_iter().chain(after) {
            // One that came while nobody led is refused.
            if block_on(within("an outcome", confirmation)).is_ok() {
                missed.insert(number);
            }
        }
        let mut offset = 0;
        while !missed.is_empty() {
            let delivery = block_on(within("the next", consumer.next())).unwrap();
            let (number, its) = (number(&delivery), delivery.stream_offset());
            if delivery.ack() == Ok(Settled::Sent) {
                assert_eq!(its, Some(offset), "offsets follow each other");
                offset += 1;
                missed.remove(&number);
            }
        }
        drop(consumer);
        cluster.start_again(node);
        block_on(async { writer.delete_queue(stream).await }).unwrap();
    }
    let mut cuts = 0;
    while let Some(event) = events.try_next() {
        let is_cancelled = matches!(event, Event::ConsumerCancelled { .. });
        assert!(!is_cancelled, "nobody deleted it");
        cuts += usize::from(matches!(event, Event::Disconnected { .. }));
    }
    assert!(cuts > 0, "its own node was among them");
}
