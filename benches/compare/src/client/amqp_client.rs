use std::collections::VecDeque;

use amqp_client::{
    BasicProperties, Channel, Connection, ConsumeOpts, PublishConfirm, QueueDeclareOpts,
};
use bytes::Bytes;

use super::{Client, Confirmed, Consumer, Publisher, Result};
use crate::work::BATCH;

/// CloudAMQP's amqp-client, by its own benchmark: the low-level API, a channel for each publisher
/// and consumer. Owned bodies are not copied, so it gets `Bytes`.
pub(super) struct AmqpClient(Connection);

impl Client for AmqpClient {
    type Publisher = Channeled;
    type Confirmed = Window;
    type Consumer = Stream;

    async fn connect(url: &str) -> Result<Self> {
        Ok(Self(Connection::connect(url).await?))
    }

    async fn publisher(&self, queue: &str, body: Bytes) -> Result<Channeled> {
        Ok(Channeled {
            channel: self.0.open_channel().await?,
            queue: queue.to_owned(),
            body,
            properties: BasicProperties::builder().persistent().build()?,
        })
    }

    async fn confirmed(&self, queue: &str, body: Bytes, window: usize) -> Result<Window> {
        let publisher = self.publisher(queue, body).await?;
        publisher.channel.confirm_select().await?;
        Ok(Window {
            publisher,
            window,
            unconfirmed: VecDeque::with_capacity(window),
        })
    }

    async fn first_confirm(&self, queue: &str, body: Bytes) -> Result<()> {
        let publisher = self.publisher(queue, body).await?;
        let options = QueueDeclareOpts {
            durable: true,
            ..QueueDeclareOpts::default()
        };
        let declare = publisher.channel.queue_declare(queue, options);
        // Both at once, which its interface allows.
        let select = publisher.channel.confirm_select();
        let (declared, selected) = futures_lite::future::zip(declare, select).await;
        declared?;
        selected?;
        let window = Window {
            publisher,
            window: 1,
            unconfirmed: VecDeque::new(),
        };
        Window::publish(&window).await?.await?;
        Ok(())
    }

    async fn consumer(&self, queue: &str, prefetch: Option<u16>) -> Result<Stream> {
        let channel = self.0.open_channel().await?;
        if let Some(prefetch) = prefetch {
            channel.basic_qos(prefetch, false).await?;
        }
        let options = ConsumeOpts {
            no_ack: prefetch.is_none(),
            ..ConsumeOpts::default()
        };
        let deliveries = channel.basic_consume(queue, "compare", options).await?;
        Ok(Stream {
            channel,
            deliveries,
        })
    }
}

pub(super) struct Channeled {
    channel: Channel,
    queue: String,
    body: Bytes,
    properties: BasicProperties,
}

impl Publisher for Channeled {
    async fn publish(&mut self) -> Result<()> {
        let (body, properties) = (self.body.clone(), self.properties.clone());
        let publish = self
            .channel
            .basic_publish("", &self.queue, body, properties);
        Ok(publish.await?)
    }
}

pub(super) struct Window {
    publisher: Channeled,
    window: usize,
    unconfirmed: VecDeque<PublishConfirm>,
}

impl Window {
    async fn publish(&self) -> Result<PublishConfirm> {
        let Channeled {
            channel,
            queue,
            body,
            properties,
        } = &self.publisher;
        let (body, properties) = (body.clone(), properties.clone());
        let publish = channel.basic_publish_confirmed("", queue, body, properties, false);
        Ok(publish.await?)
    }
}

impl Confirmed for Window {
    async fn publish(&mut self) -> Result<()> {
        if self.unconfirmed.len() == self.window
            && let Some(oldest) = self.unconfirmed.pop_front()
        {
            oldest.await?;
        }
        let confirm = Self::publish(self).await?;
        self.unconfirmed.push_back(confirm);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        for confirm in self.unconfirmed.drain(..) {
            confirm.await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<()> {
        Self::publish(self).await?.await?;
        Ok(())
    }
}

pub(super) struct Stream {
    channel: Channel,
    deliveries: amqp_client::Consumer,
}

impl Consumer for Stream {
    async fn next(&mut self) -> Result<()> {
        let delivery = self.deliveries.next().await.ok_or("the consumer ended")?;
        std::hint::black_box(delivery);
        Ok(())
    }

    async fn next_acked(&mut self) -> Result<()> {
        let delivery = self.deliveries.next().await.ok_or("the consumer ended")?;
        Ok(delivery.ack()?)
    }

    async fn next_batch_acked(&mut self) -> Result<usize> {
        for _ in 1..BATCH {
            self.next().await?;
        }
        let last = self.deliveries.next().await.ok_or("the consumer ended")?;
        self.channel.basic_ack(last.delivery_tag, true)?;
        Ok(BATCH)
    }
}
