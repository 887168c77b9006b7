//! A queue with one producer and one consumer, each on a thread of its own.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::thread::{self, JoinHandle};

use async_channel::{Receiver, Sender};
use async_io::block_on;
use fastrand::Rng;
use futures_lite::{FutureExt as _, future};
use snowshoe::{Client, Confirmation, Consumer, Delivery, Producer, Queue};

use crate::ledger::Ledger;
use crate::message;

/// How often the node has been killed so far.
pub(crate) type Kills = Arc<AtomicU16>;

/// How a consumer acknowledges.
#[derive(Clone, Copy, Debug)]
enum Acks {
    /// Each message at once.
    Each,
    /// What came together, together.
    Batches,
    /// Late, and in any order.
    Late,
}

#[derive(Debug)]
pub(crate) struct Lane {
    ledgers: Arc<[Ledger]>,
    number: usize,
    orders: Sender<u64>,
    stop: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Lane {
    /// Declares the queue, and starts a producer, which waits for [orders](Self::publish), and a
    /// consumer.
    pub(crate) fn start(
        number: usize,
        declaration: Queue,
        [producing, consuming]: [&Client; 2],
        ledgers: Arc<[Ledger]>,
        kills: Kills,
        rng: Rng,
    ) -> Self {
        let queue = queue(number);
        block_on(producing.declare(declaration)).expect("the broker is there");
        let producer = producing
            .producer(queue.as_str())
            .expect("the name is short")
            .build();
        let consumer = consuming
            .consumer(queue.as_str())
            .expect("the name is short");
        let consumer = block_on(consumer.prefetch(200).start()).expect("the queue is there");

        let (orders, ordered) = async_channel::unbounded();
        let (stop, stopped) = async_channel::bounded(1);
        let publish = {
            let ledgers = Arc::clone(&ledgers);
            move || block_on(publish(&producer, number, &ordered, &ledgers[number]))
        };
        let consume = {
            let ledgers = Arc::clone(&ledgers);
            let consume = Consume {
                lane: number,
                acks: [Acks::Each, Acks::Batches, Acks::Late][number % 3],
                held: Vec::new(),
                last_tag: 0,
                kills,
                rng,
            };
            move || block_on(consume.run(consumer, &stopped, &ledgers[number]))
        };
        Self {
            ledgers,
            number,
            orders,
            stop,
            threads: vec![thread::spawn(publish), thread::spawn(consume)],
        }
    }

    pub(crate) fn ledger(&self) -> &Ledger {
        &self.ledgers[self.number]
    }

    /// Has so many more messages published.
    pub(crate) fn publish(&self, messages: u64) {
        self.orders
            .try_send(messages)
            .expect("the producer's thread runs; if not, its panic is printed above");
    }

    /// Waits for producer and consumer to end.
    pub(crate) fn finish(self) {
        self.orders.close();
        self.stop.close();
        for thread in self.threads {
            thread.join().expect("producers and consumers run through");
        }
    }
}

/// The name of a lane's queue.
pub(crate) fn queue(lane: usize) -> String {
    format!("soak {lane}")
}

async fn publish(producer: &Producer, lane: usize, ordered: &Receiver<u64>, ledger: &Ledger) {
    let lane = u32::try_from(lane).expect("lanes are few");
    let (accepted, to_be_resolved) = async_channel::unbounded();
    let publish = async move {
        while let Ok(messages) = ordered.recv().await {
            for _ in 0..messages {
                // Noted first, because it may be on the wire before this goes on.
                let number = ledger.page().accept();
                let confirmation = producer
                    .publish(message::body(lane, number))
                    .await
                    .expect("a blocking producer waits for room");
                let news = (number, confirmation);
                accepted.try_send(news).expect("somebody takes it");
                future::yield_now().await;
            }
        }
    };
    future::zip(publish, resolve(to_be_resolved, ledger)).await;
}

async fn resolve(accepted: Receiver<(u64, Confirmation)>, ledger: &Ledger) {
    while let Ok((number, confirmation)) = accepted.recv().await {
        let outcome = confirmation.await;
        ledger.page().resolve(number, &outcome);
    }
}

struct Consume {
    lane: usize,
    acks: Acks,
    /// Delivered, and not settled yet.
    held: Vec<Delivery>,
    /// The delivery tag of the last one.
    last_tag: u64,
    kills: Kills,
    rng: Rng,
}

impl Consume {
    async fn run(mut self, mut consumer: Consumer, stop: &Receiver<()>, ledger: &Ledger) {
        loop {
            let stopped = async {
                // It is closed, not sent to.
                _ = stop.recv().await;
                None
            };
            let Some(batch) = consumer.next_batch(BATCH).or(stopped).await else {
                self.settle(0, ledger);
                return;
            };
            for delivery in &batch {
                self.note(delivery, ledger);
            }
            self.held.extend(batch);
            match self.acks {
                Acks::Each => self.settle(0, ledger),
                Acks::Batches => self.settle_all(ledger),
                Acks::Late => {
                    self.rng.shuffle(&mut self.held);
                    self.settle(LATE, ledger);
                }
            }
        }
    }

    fn note(&mut self, delivery: &Delivery, ledger: &Ledger) {
        let body = delivery.body();
        let (lane, number) = message::identity(body).expect("a message says which it is");
        assert_eq!(usize::try_from(lane), Ok(self.lane), "from another lane");
        let kills = self.kills.load(Ordering::SeqCst);
        let mut page = ledger.page();
        assert!(page.knows(number), "{number} was never published");
        page.deliver(number, body, delivery.is_redelivered(), kills);
        // The broker counts what it delivers, afresh on each channel.
        let tag = delivery.delivery_tag();
        if tag != self.last_tag + 1 && tag != 1 {
            page.hand_out_of_turn(number);
        }
        self.last_tag = tag;
    }

    /// Settles all but so many of those at hand, each by itself.
    fn settle(&mut self, but: usize, ledger: &Ledger) {
        let rest = self.held.len().min(but);
        for delivery in self.held.drain(rest..) {
            let number = number(&delivery);
            ledger.page().settle(number, delivery.ack());
        }
    }

    /// Settles those at hand by their last. They came together, and so of one epoch.
    fn settle_all(&mut self, ledger: &Ledger) {
        if let Some(last) = self.held.pop() {
            self.held.clear();
            let number = number(&last);
            ledger.page().settle(number, last.ack_all_up_to());
        }
    }
}

fn number(delivery: &Delivery) -> u64 {
    let (_, number) = message::identity(delivery.body()).expect("a message says which it is");
    number
}

/// How many deliveries are taken at a time at most.
const BATCH: usize = 100;

/// How many a late consumer keeps at hand, less than the prefetch.
const LATE: usize = 50;
