//! Workers: handlers that fail as often as their messages say, retries that wait at the broker, and consumers that are
//! drained and begin anew while all else breaks.

mod desk;

use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use async_io::{Timer, block_on};
use futures_lite::{FutureExt as _, future};
use snowshoe::{Client, Consumer, Delivery, Outcome, Queue, Retry};

use support::broker::Version;
use support::queues::without_delivery_limit;

use self::desk::{ATTEMPTS, Desk, fate};
pub(crate) use self::desk::{Counted, Cuts, Wrong};
use crate::message;

/// How the messages of a worker wait for their next attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Waits {
    /// As copies in queues with a time to live.
    AsCopies,
    /// In their own queue, where the broker can let them.
    InQueue,
}

/// What kind of queue a worker has, and how it retries.
#[derive(Clone, Debug)]
pub(crate) struct Kind {
    pub(crate) waits: Waits,
    pub(crate) is_quorum: bool,
    pub(crate) broker: Version,
}

/// A queue with a producer, a worker, and one who takes its dead letters.
#[derive(Debug)]
pub(crate) struct Work {
    desk: Arc<Desk>,
    orders: Sender<u64>,
    end: Sender<()>,
    threads: Vec<JoinHandle<()>>,
}

impl Work {
    /// Declares the queue and starts the threads. `lane` is what its messages carry, and `most` how many there are at most.
    pub(crate) fn start(lane: u32, kind: &Kind, client: &Client, cuts: Cuts, most: usize) -> Self {
        let name = format!("soak work {lane}");
        let retry = kind.retry();
        block_on(client.declare(kind.queue(&name, &retry))).expect("the broker is there");
        let waits = kind.waits;
        let desk = Arc::new(Desk::new(waits, cuts, most));
        let (orders, ordered) = async_channel::unbounded();
        let (end, ended) = async_channel::bounded(1);
        // The first consumer declares where copies and dead letters go, before anybody else looks there.
        let consumer = block_on(consumer(client, &name, &retry));
        let producing = {
            let (client, name, desk) = (client.clone(), name.clone(), Arc::clone(&desk));
            thread::spawn(move || block_on(publish(&client, &name, lane, &ordered, &desk)))
        };
        let working = {
            let (client, name, desk) = (client.clone(), name.clone(), Arc::clone(&desk));
            let worker = Worker {
                client,
                name,
                retry,
            };
            thread::spawn(move || block_on(worker.run(consumer, lane, &desk)))
        };
        let burying = {
            let (client, desk) = (client.clone(), Arc::clone(&desk));
            let name = format!("{name}.dead");
            thread::spawn(move || block_on(bury(&client, &name, lane, &ended, &desk)))
        };
        Self {
            desk,
            orders,
            end,
            threads: vec![producing, working, burying],
        }
    }

    /// Has so many more messages published.
    pub(crate) fn publish(&self, messages: u64) {
        self.orders
            .try_send(messages)
            .expect("the producer's thread runs; if not, its panic is printed above");
    }

    /// Drains the worker, which begins anew after that; handlers are cut off after `within`, if that is said.
    pub(crate) fn drain(&self, within: Option<Duration>) {
        self.desk.drain(within);
    }

    /// What happened so far.
    pub(crate) fn counted(&self) -> Counted {
        self.desk.counted()
    }

    /// Whether each message has ended that was published.
    pub(crate) fn is_complete(&self) -> bool {
        self.desk.is_complete()
    }

    /// What must not have happened, but for what was not done yet, which is lost if it stays so.
    pub(crate) fn wrong(&self) -> Wrong {
        self.desk.wrong()
    }

    /// Waits for the threads to end.
    pub(crate) fn finish(self) {
        self.orders.close();
        self.desk.end();
        self.end.close();
        for thread in self.threads {
            thread.join().expect("workers run through");
        }
    }
}

impl Kind {
    /// A policy with short delays. Delays that are listed are no broker's own.
    fn retry(&self) -> Retry {
        let (first, max) = (Duration::from_millis(20), Duration::from_millis(100));
        let retry = Retry::attempts(ATTEMPTS);
        let retry = match self.waits {
            Waits::AsCopies => retry.delays([first, max]),
            Waits::InQueue => retry.delay(first, max),
        };
        if self.is_quorum {
            retry.quorum()
        } else {
            retry
        }
    }

    fn queue(&self, name: &str, retry: &Retry) -> Queue {
        let queue = if self.is_quorum {
            Queue::quorum(name)
        } else {
            Queue::new(name)
        };
        match self.waits {
            Waits::InQueue => queue.retry(retry),
            // Cuts give messages back more often than RabbitMQ 4 allows by itself.
            Waits::AsCopies if self.is_quorum => without_delivery_limit(queue, &self.broker),
            Waits::AsCopies => queue,
        }
    }
}

async fn consumer(client: &Client, queue: &str, retry: &Retry) -> Consumer {
    let builder = client.consumer(queue).expect("the name is short");
    let builder = builder.retry(retry.clone()).concurrency(HANDLERS);
    builder.start().await.expect("the queue is there")
}

async fn publish(client: &Client, queue: &str, lane: u32, ordered: &Receiver<u64>, desk: &Desk) {
    let producer = client.producer(queue).expect("the name is short").build();
    while let Ok(messages) = ordered.recv().await {
        let mut under_way = Vec::new();
        for _ in 0..messages {
            let number = desk.accept();
            let confirmation = producer.publish(message::body(lane, number)).await;
            under_way.push((
                number,
                confirmation.expect("a blocking producer waits for room"),
            ));
        }
        for (number, confirmation) in under_way {
            desk.resolve(number, confirmation.await.is_ok());
        }
    }
}

struct Worker {
    client: Client,
    name: String,
    retry: Retry,
}

impl Worker {
    async fn run(self, mut consumer: Consumer, lane: u32, desk: &Desk) {
        loop {
            desk.begin(&consumer.stop_handle());
            let handled = consumer.process(HANDLERS, |delivery| handle(delivery, lane, desk));
            let handled = handled.await;
            if desk.drained(handled) {
                return;
            }
            drop(consumer);
            consumer = self::consumer(&self.client, &self.name, &self.retry).await;
        }
    }
}

/// Fails at a message as often as it is to fail.
async fn handle(delivery: Delivery, lane: u32, desk: &Desk) -> Outcome {
    let number = number(&delivery, lane);
    let attempt = delivery.attempt();
    desk.begin_message(number, attempt);
    // Long enough for a drain or a cut to come in between.
    let takes = if number.is_multiple_of(16) {
        100
    } else {
        number % 5
    };
    Timer::after(Duration::from_millis(takes)).await;
    if attempt <= fate(number) {
        Outcome::retry().because("not yet")
    } else {
        desk.done(number);
        Outcome::done()
    }
}

async fn bury(client: &Client, queue: &str, lane: u32, end: &Receiver<()>, desk: &Desk) {
    let builder = client.consumer(queue).expect("the name is short");
    let mut letters = builder.start().await.expect("the policy declared it");
    loop {
        let ended = async {
            // It is closed, not sent to.
            _ = end.recv().await;
            None
        };
        let Some(letter) = letters.next().or(ended).await else {
            return;
        };
        desk.bury(number(&letter, lane));
        // One that was stale comes again.
        _ = letter.ack();
        future::yield_now().await;
    }
}

fn number(delivery: &Delivery, expected: u32) -> u64 {
    let (lane, number) = message::identity(delivery.body()).expect("a message says which it is");
    assert_eq!(lane, expected, "from another lane");
    number
}

const HANDLERS: usize = 8;
