#[expect(unsafe_code, reason = "rabbitmq-c is a C library")]
mod connection;

use std::collections::VecDeque;
use std::rc::Rc;

use bytes::Bytes;

use self::connection::Connection;
pub(super) use self::connection::allocations;
use super::{Client, Confirmed, Consumer, Publisher, Result};
use crate::work::BATCH;

/// rabbitmq-c, by its examples. It blocks on the caller's thread, and writes each message as it is
/// published. Confirms are frames among others, so they are read and counted.
pub(super) struct RabbitmqC(Rc<Connection>);

impl RabbitmqC {
    fn channeled(&self, queue: &str, body: Bytes, confirms: bool) -> Result<Channeled> {
        Ok(Channeled {
            connection: Rc::clone(&self.0),
            channel: self.0.open(confirms)?,
            queue: queue.to_owned(),
            body,
        })
    }
}

impl Client for RabbitmqC {
    type Publisher = Channeled;
    type Confirmed = Window;
    type Consumer = Receiver;

    async fn connect(url: &str) -> Result<Self> {
        Ok(Self(Rc::new(Connection::connect(url)?)))
    }

    async fn publisher(&self, queue: &str, body: Bytes) -> Result<Channeled> {
        self.channeled(queue, body, false)
    }

    async fn confirmed(&self, queue: &str, body: Bytes, window: usize) -> Result<Window> {
        Ok(Window {
            publisher: self.channeled(queue, body, true)?,
            window,
            oldest: 1,
            confirmed: VecDeque::with_capacity(window),
        })
    }

    async fn consumer(&self, queue: &str, prefetch: Option<u16>) -> Result<Receiver> {
        let channel = self.0.open(false)?;
        self.0.consume(channel, queue, prefetch)?;
        Ok(Receiver {
            connection: Rc::clone(&self.0),
            channel,
        })
    }
}

pub(super) struct Channeled {
    connection: Rc<Connection>,
    channel: u16,
    queue: String,
    body: Bytes,
}

impl Publisher for Channeled {
    async fn publish(&mut self) -> Result<()> {
        self.connection
            .publish(self.channel, &self.queue, &self.body)
    }
}

pub(super) struct Window {
    publisher: Channeled,
    window: usize,
    /// The lowest tag that is not confirmed.
    oldest: u64,
    /// Whether the tags from there on are.
    confirmed: VecDeque<bool>,
}

impl Window {
    /// Reads confirms until at most so many messages come after the oldest without one.
    fn wait(&mut self, missing: usize) -> Result<()> {
        let Channeled {
            connection,
            channel,
            ..
        } = &self.publisher;
        while self.confirmed.len() > missing {
            let (tag, multiple) = connection.confirm(*channel)?;
            let last = tag.checked_sub(self.oldest).map(|last| last as usize);
            let last = last.filter(|&last| last < self.confirmed.len());
            let last = last.ok_or("the broker confirms what it was not sent")?;
            let first = if multiple { 0 } else { last };
            for confirmed in self.confirmed.range_mut(first..=last) {
                *confirmed = true;
            }
            while self.confirmed.front() == Some(&true) {
                self.confirmed.pop_front();
                self.oldest += 1;
            }
        }
        Ok(())
    }
}

impl Confirmed for Window {
    async fn publish(&mut self) -> Result<()> {
        self.wait(self.window - 1)?;
        self.confirmed.push_back(false);
        self.publisher.publish().await
    }

    async fn flush(&mut self) -> Result<()> {
        self.wait(0)
    }

    async fn send(&mut self) -> Result<()> {
        self.publish().await?;
        self.wait(0)
    }
}

pub(super) struct Receiver {
    connection: Rc<Connection>,
    channel: u16,
}

impl Consumer for Receiver {
    async fn next(&mut self) -> Result<()> {
        self.connection.receive(self.channel, 1, false)
    }

    async fn next_acked(&mut self) -> Result<()> {
        self.connection.receive(self.channel, 1, true)
    }

    async fn next_batch_acked(&mut self) -> Result<usize> {
        self.connection.receive(self.channel, BATCH, true)?;
        Ok(BATCH)
    }
}
