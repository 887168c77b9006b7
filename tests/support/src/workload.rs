//! A producer that publishes numbered messages, and a consumer that acknowledges each, both on
//! threads of their own, while a test breaks things.

use std::collections::HashSet;
use std::sync::{Arc, Condvar, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Instant;

use async_channel::{Receiver, Sender};
use async_io::block_on;
use futures_lite::{FutureExt as _, future};
use snowshoe::{
    Client, ClientBuilder, Confirmation, ConnectionRole, Consumer, Event, Events, Producer,
};

use crate::client::builder;
use crate::executor;
use crate::ledger::{Ledger, Published, Received};
use crate::messages::{number, numbered};
use crate::waiting::{PATIENCE, wait_until};

/// The size of each message.
const SIZE: usize = 100;

/// A client with a producer and a consumer of one queue, at work.
#[derive(Debug)]
pub struct Workload {
    client: Client,
    messages: u64,
    progress: Arc<Progress>,
    publishing: JoinHandle<Vec<Published>>,
    consuming: JoinHandle<Vec<Received>>,
    /// One for each message that may be published.
    permits: Sender<()>,
    stop_consuming: Sender<()>,
    ledger: Ledger,
}

/// How far a workload has come, for a test to wait for.
#[derive(Debug, Default)]
struct Progress {
    now: Mutex<Counts>,
    changed: Condvar,
}

#[derive(Clone, Copy, Debug, Default)]
struct Counts {
    resolved: u64,
    /// Those of them that were confirmed.
    confirmed: u64,
    /// Different messages that were received.
    received: u64,
    /// How often each connection was ready.
    main_recovered: u32,
    publishing_recovered: u32,
    /// Which connections are there, and how often one was lost.
    main_is_up: bool,
    publishing_is_up: bool,
    lost: usize,
}

impl Workload {
    /// Publishes so many messages to a queue that is there, and consumes them.
    pub fn start(url: &str, queue: &'static str, messages: u64) -> Self {
        let mut workload = Self::start_with(builder(url), queue);
        workload.publish(messages);
        workload
    }

    /// Consumes from a queue that is there what is to be [published](Self::publish) to it.
    pub fn start_with(builder: ClientBuilder, queue: &'static str) -> Self {
        let client = block_on(executor::connect(builder)).expect("the broker is there");
        let progress = Arc::new(Progress::default());
        // Nobody was there yet to see it come.
        progress.change(|counts| counts.main_is_up = true);
        let (permits, permitted) = async_channel::unbounded();
        let (stop_consuming, stop) = async_channel::bounded(1);

        let events = client.events();
        let producer = client.producer(queue).expect("the name is short").build();
        let consumer = block_on(client.consumer(queue).expect("the name is short").start())
            .expect("the queue is there");
        thread::spawn({
            let progress = Arc::clone(&progress);
            move || block_on(observe(events, &progress))
        });
        let publishing = thread::spawn({
            let progress = Arc::clone(&progress);
            move || block_on(publish(&producer, &permitted, &progress))
        });
        let consuming = thread::spawn({
            let progress = Arc::clone(&progress);
            move || block_on(consume(consumer, &stop, &progress))
        });
        Self {
            client,
            messages: 0,
            progress,
            publishing,
            consuming,
            permits,
            stop_consuming,
            ledger: Ledger::default(),
        }
    }

    /// Publishes so many messages more.
    pub fn publish(&mut self, messages: u64) {
        self.messages += messages;
        for _ in 0..messages {
            self.permits.try_send(()).expect("the producer is there");
        }
    }

    /// Waits until so many messages were received since the first.
    pub fn wait_for(&self, messages: u64) {
        self.progress
            .wait_until(&format!("{messages} messages were received"), |counts| {
                counts.received >= messages
            });
    }

    /// Waits until so many messages more were received.
    pub fn wait_for_new(&self, messages: u64) {
        self.wait_for(self.progress.counts().received + messages);
    }

    /// Waits until all messages were resolved, and those that were confirmed received.
    pub fn wait_for_all(&self) {
        let all = self.messages;
        self.progress
            .wait_until("all messages were resolved", |counts| {
                counts.resolved == all
            });
        self.wait_for(self.progress.counts().confirmed);
    }

    /// Waits until both connections are there.
    pub fn wait_for_both_connections(&self) {
        self.progress
            .wait_until("both connections are there", |counts| {
                counts.main_is_up && counts.publishing_is_up
            });
    }

    /// Waits until a part of the messages was received, in percent.
    pub fn wait_for_percent(&self, percent: u64) {
        self.wait_for(self.messages * percent / 100);
    }

    /// Whether a part of the messages was received, in percent.
    pub fn has_received(&self, percent: u64) -> bool {
        self.progress.counts().received >= self.messages * percent / 100
    }

    /// Causes an outage of both connections, and waits until the client is back by itself.
    pub fn outage(&mut self, cause: impl FnOnce()) {
        let (start, before) = (Instant::now(), self.progress.counts());
        cause();
        self.progress
            .wait_until("both connections are back", |counts| {
                counts.main_recovered > before.main_recovered
                    && counts.publishing_recovered > before.publishing_recovered
            });
        self.ledger.outages.push(start..Instant::now());
    }

    /// Causes an outage of so many of the two connections, and waits until the client is back by
    /// itself.
    pub fn outage_of(&mut self, connections: usize, cause: impl FnOnce()) {
        let (start, before) = (Instant::now(), self.progress.counts());
        cause();
        self.progress.wait_until("what was lost is back", |counts| {
            counts.lost >= before.lost + connections && counts.main_is_up && counts.publishing_is_up
        });
        self.ledger.outages.push(start..Instant::now());
    }

    /// Waits until every message was resolved, and received if it was confirmed, and the queue is
    /// empty, and closes the client.
    pub fn finish(mut self, is_queue_empty: impl FnMut() -> bool) -> Ledger {
        self.permits.close();
        self.wait_for_all();
        wait_until("the queue is empty", is_queue_empty);
        self.stop_consuming.close();
        self.ledger.published = self.publishing.join().expect("the producer runs through");
        self.ledger.received = self.consuming.join().expect("the consumer runs through");
        let report = block_on(self.client.close());
        assert!(report.undelivered.is_empty(), "nothing was left");
        self.ledger
    }
}

impl Progress {
    fn counts(&self) -> Counts {
        *self.now.lock().expect("nothing panics under this lock")
    }

    fn change(&self, change: impl FnOnce(&mut Counts)) {
        change(&mut self.now.lock().expect("nothing panics under this lock"));
        self.changed.notify_all();
    }

    fn wait_until(&self, what: &str, condition: impl Fn(&Counts) -> bool) {
        let now = self.now.lock().expect("nothing panics under this lock");
        let (now, late) = (self.changed)
            .wait_timeout_while(now, PATIENCE, |counts| !condition(counts))
            .expect("nothing panics under this lock");
        assert!(!late.timed_out(), "waited in vain until {what}: {now:?}");
    }
}

async fn observe(mut events: Events, progress: &Progress) {
    while let Some(event) = events.next().await {
        match event {
            Event::Recovered { role } => progress.change(|counts| match role {
                ConnectionRole::Main => {
                    counts.main_recovered += 1;
                    counts.main_is_up = true;
                }
                _ => {
                    counts.publishing_recovered += 1;
                    counts.publishing_is_up = true;
                }
            }),
            // A failed attempt is told the same way.
            Event::Disconnected { role, .. } => progress.change(|counts| {
                let is_up = match role {
                    ConnectionRole::Main => &mut counts.main_is_up,
                    _ => &mut counts.publishing_is_up,
                };
                counts.lost += usize::from(std::mem::take(is_up));
            }),
            Event::Lagged { missed } => panic!("{missed} events were missed"),
            _ => {}
        }
    }
}

async fn publish(
    producer: &Producer,
    permitted: &Receiver<()>,
    progress: &Progress,
) -> Vec<Published> {
    let (accepted, to_be_resolved) = async_channel::unbounded();
    let publish = async move {
        let mut numbers = 0..;
        while let (Ok(()), Some(number)) = (permitted.recv().await, numbers.next()) {
            let confirmation = producer
                .publish(numbered(number, SIZE))
                .await
                .expect("a blocking producer waits for room");
            let news = (Instant::now(), confirmation);
            accepted.try_send(news).expect("somebody takes it");
        }
    };
    let resolve = resolve(to_be_resolved, progress);
    future::zip(publish, resolve).await.1
}

async fn resolve(
    accepted: Receiver<(Instant, Confirmation)>,
    progress: &Progress,
) -> Vec<Published> {
    let mut published = Vec::new();
    while let Ok((accepted, confirmation)) = accepted.recv().await {
        let outcome = confirmation.await;
        let (resolved, confirmed) = (Instant::now(), outcome.is_ok());
        published.push(Published {
            accepted,
            resolved,
            outcome,
        });
        progress.change(|counts| {
            counts.resolved += 1;
            counts.confirmed += u64::from(confirmed);
        });
    }
    published
}

async fn consume(
    mut consumer: Consumer,
    stop: &Receiver<()>,
    progress: &Progress,
) -> Vec<Received> {
    let mut received = Vec::new();
    let mut known = HashSet::new();
    loop {
        let stopped = async {
            // It is closed, not sent to.
            _ = stop.recv().await;
            None
        };
        let Some(delivery) = consumer.next().or(stopped).await else {
            return received;
        };
        let (number, redelivered) = (number(&delivery), delivery.is_redelivered());
        received.push(Received {
            number,
            redelivered,
            at: Instant::now(),
            settled: delivery.ack(),
        });
        if known.insert(number) {
            progress.change(|counts| counts.received += 1);
        }
    }
}
