use std::collections::VecDeque;

use bytes::Bytes;
use snowshoe::runtime::Tokio;
use snowshoe::{BufferPolicy, Confirmation, FireAndForget, Producer, Queue};

use super::{Client, Confirmed, Consumer, Publisher, Result};
use crate::work::BATCH;

/// Snowshoe, all of its guarantees on, its driver on a thread of its own, or among the tasks of
/// the caller, on tokio; with a connection for publishing, or one for all.
pub(super) struct Snowshoe<const SHARES_THREAD: bool, const IS_SINGLE: bool>(snowshoe::Client);

/// As `Client::connect` has it: it needs no executor.
pub(super) type OwnThread = Snowshoe<false, false>;

pub(super) type SharedThread = Snowshoe<true, false>;

pub(super) type SingleConnection = Snowshoe<true, true>;

impl<const SHARES_THREAD: bool, const IS_SINGLE: bool> Client
    for Snowshoe<SHARES_THREAD, IS_SINGLE>
{
    type Publisher = Unconfirmed;
    type Confirmed = Window;
    type Consumer = snowshoe::Consumer;

    async fn connect(url: &str) -> Result<Self> {
        let builder = snowshoe::Client::builder(url)?.single_connection(IS_SINGLE);
        let builder = if SHARES_THREAD {
            builder.runtime(Tokio)
        } else {
            builder
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
