use std::cell::RefCell;
use std::collections::VecDeque;

use bytes::Bytes;
use snowshoe::runtime::{LocalRuntime, Tokio};
use snowshoe::{BufferPolicy, Confirmation, FireAndForget, Producer, Queue};

use super::{Client, Confirmed, Consumer, Publisher, Result};
use crate::work::BATCH;

/// Snowshoe, all of its guarantees on, its driver on a thread of its own, or among the tasks of
/// the caller, on tokio or without an executor.
pub(super) struct Snowshoe<const PLACE: u8>(snowshoe::Client);

const OWN_THREAD: u8 = 0;
const TOKIO: u8 = 1;
const LOCAL: u8 = 2;

/// As `Client::connect` has it: it needs no executor.
pub(super) type OwnThread = Snowshoe<OWN_THREAD>;

pub(super) type SharedThread = Snowshoe<TOKIO>;

/// With one connection for all.
pub(super) type Local = Snowshoe<LOCAL>;

thread_local! {
    static RUNTIME: RefCell<Option<LocalRuntime>> = const { RefCell::new(None) };
}

/// Runs what a [`Local`] client does, and its driver.
pub(super) fn on_this_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut local = snowshoe::runtime::Local::new()?;
    RUNTIME.set(Some(local.runtime()));
    local.block_on(work)?
}

impl<const PLACE: u8> Client for Snowshoe<PLACE> {
    type Publisher = Unconfirmed;
    type Confirmed = Window;
    type Consumer = snowshoe::Consumer;

    async fn connect(url: &str) -> Result<Self> {
        let builder = snowshoe::Client::builder(url)?;
        let builder = match PLACE {
            TOKIO => builder.runtime(Tokio),
            LOCAL => {
                let runtime = RUNTIME.take().ok_or("it is not run on this thread")?;
                builder.runtime(runtime).single_connection(true)
            }
            _ => builder,
        };
        Ok(Self(builder.connect().await?))
    }

    async fn publisher(&self, queue: &str, body: Bytes) -> Result<Unconfirmed> {
        // Nothing may be given up here: every message is to be counted by the broker.
        let producer = self.0.producer(queue)?.fire_and_forget();
        let producer = producer.policy(BufferPolicy::Block).build();
        Ok(Unconfirmed { producer, body })
    }

    async fn confirmed(&self, queue: &str, body: Bytes, window: usize) -> Result<Window> {
        Ok(Window {
            producer: self.0.producer(queue)?.build(),
            body,
            window,
            unconfirmed: VecDeque::with_capacity(window),
        })
    }

    async fn first_confirm(&self, queue: &str, body: Bytes) -> Result<()> {
        self.0.declare(Queue::new(queue)).await?;
        Ok(self.0.producer(queue)?.build().send(body).await?)
    }

    async fn consumer(&self, queue: &str, prefetch: Option<u16>) -> Result<snowshoe::Consumer> {
        let consumer = self.0.consumer(queue)?.tag("compare")?;
        let consumer = match prefetch {
            Some(prefetch) => consumer.prefetch(prefetch),
            None => consumer.no_ack(),
        };
        Ok(consumer.start().await?)
    }
}

pub(super) struct Unconfirmed {
    producer: Producer<FireAndForget>,
    body: Bytes,
}

impl Publisher for Unconfirmed {
    async fn publish(&mut self) -> Result<()> {
        Ok(self.producer.publish(self.body.clone()).await?)
    }
}

pub(super) struct Window {
    producer: Producer,
    body: Bytes,
    window: usize,
    /// Each message's end is learned, the oldest's first.
    unconfirmed: VecDeque<Confirmation>,
}

impl Confirmed for Window {
    async fn publish(&mut self) -> Result<()> {
        if self.unconfirmed.len() == self.window
            && let Some(oldest) = self.unconfirmed.pop_front()
        {
            oldest.await?;
        }
        let confirmation = self.producer.publish(self.body.clone()).await?;
        self.unconfirmed.push_back(confirmation);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        for confirmation in self.unconfirmed.drain(..) {
            confirmation.await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<()> {
        Ok(self.producer.send(self.body.clone()).await?)
    }
}

impl Consumer for snowshoe::Consumer {
    async fn next(&mut self) -> Result<()> {
        let delivery = self.next().await.ok_or("the consumer ended")?;
        std::hint::black_box(delivery.body());
        Ok(())
    }

    async fn next_acked(&mut self) -> Result<()> {
        let delivery = self.next().await.ok_or("the consumer ended")?;
        std::hint::black_box(delivery.body());
        delivery.ack()?;
        Ok(())
    }

    async fn next_batch_acked(&mut self) -> Result<usize> {
        let batch = self.next_batch(BATCH).await.ok_or("the consumer ended")?;
        let count = batch.len();
        batch.ack()?;
        Ok(count)
    }
}
