use std::collections::VecDeque;
use std::fs;

use bytes::Bytes;
use futures_lite::StreamExt as _;
use futures_util::future::try_join_all;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::tcp::OwnedTLSConfig;
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, PublisherConfirm};

use super::{Client, Confirmed, Consumer, Publisher, Result};
use crate::tls;
use crate::work::BATCH;

/// lapin, by its `tokio` example: one connection, a channel for each publisher and consumer, the
/// consumer as a stream. Each call waits until it is written, so that many are made at once where its
/// interface allows that: eight times as many messages go through.
pub(super) struct Lapin(Connection);

/// How many calls are made at once.
const AT_ONCE: usize = 250;

impl Client for Lapin {
    type Publisher = Channeled;
    type Confirmed = Window;
    type Consumer = Stream;

    async fn connect(url: &str) -> Result<Self> {
        let properties = ConnectionProperties::default();
        let Some(authority) = tls::authority_in(url) else {
            return Ok(Self(Connection::connect(url, properties).await?));
        };
        let config = OwnedTLSConfig {
            identity: None,
            cert_chain: Some(fs::read_to_string(authority)?),
        };
        let url = url.split('?').next().unwrap_or(url);
        let runtime = lapin::runtime::default_runtime()?;
        let connected = Connection::connect_with_config(url, properties, config, runtime);
        Ok(Self(connected.await?))
    }

    async fn publisher(&self, queue: &str, body: Bytes) -> Result<Channeled> {
        Ok(Channeled {
            channel: self.0.create_channel().await?,
            queue: queue.into(),
            body,
            due: 0,
        })
    }

    async fn confirmed(&self, queue: &str, body: Bytes, window: usize) -> Result<Window> {
        let publisher = self.publisher(queue, body).await?;
        let options = ConfirmSelectOptions::default();
        publisher.channel.confirm_select(options).await?;
        Ok(Window {
            publisher,
            window,
            at_once: AT_ONCE.min(window.div_ceil(2)),
            unconfirmed: VecDeque::with_capacity(window),
        })
    }

    async fn first_confirm(&self, queue: &str, body: Bytes) -> Result<()> {
        let publisher = self.publisher(queue, body).await?;
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let declare = publisher
            .channel
            .queue_declare(queue.into(), options, FieldTable::default());
        // Both at once, which its interface allows.
        let select = publisher
            .channel
            .confirm_select(ConfirmSelectOptions::default());
        let (declared, selected) = futures_lite::future::zip(declare, select).await;
        declared?;
        selected?;
        publisher.publish_one().await?.await?;
        Ok(())
    }

    async fn consumer(&self, queue: &str, prefetch: Option<u16>) -> Result<Stream> {
        let channel = self.0.create_channel().await?;
        if let Some(prefetch) = prefetch {
            let options = BasicQosOptions::default();
            channel.basic_qos(prefetch, options).await?;
        }
        let options = BasicConsumeOptions {
            no_ack: prefetch.is_none(),
            ..BasicConsumeOptions::default()
        };
        let deliveries = channel
            .basic_consume(
                queue.into(),
                "compare".into(),
                options,
                FieldTable::default(),
            )
            .await?;
        Ok(Stream {
            channel,
            deliveries,
            unacked: Vec::with_capacity(AT_ONCE),
        })
    }
}

pub(super) struct Channeled {
    channel: Channel,
    queue: ShortString,
    body: Bytes,
    /// How many messages are to be published at once.
    due: usize,
}

impl Channeled {
    async fn publish_one(&self) -> Result<PublisherConfirm> {
        let confirm = self.channel.basic_publish(
            "".into(),
            self.queue.clone(),
            BasicPublishOptions::default(),
            &self.body,
            BasicProperties::default().with_delivery_mode(2),
        );
        Ok(confirm.await?)
    }

    /// Publishes what is due.
    async fn publish_due(&mut self) -> Result<Vec<PublisherConfirm>> {
        let due = std::mem::take(&mut self.due);
        try_join_all((0..due).map(|_| self.publish_one())).await
    }
}

impl Publisher for Channeled {
    async fn publish(&mut self) -> Result<()> {
        self.due += 1;
        if self.due == AT_ONCE {
            self.publish_due().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        self.publish_due().await?;
        Ok(())
    }
}

pub(super) struct Window {
    publisher: Channeled,
    window: usize,
    at_once: usize,
    unconfirmed: VecDeque<PublisherConfirm>,
}

impl Confirmed for Window {
    async fn publish(&mut self) -> Result<()> {
        self.publisher.due += 1;
        if self.publisher.due < self.at_once {
            return Ok(());
        }
        while self.unconfirmed.len() + self.at_once > self.window
            && let Some(oldest) = self.unconfirmed.pop_front()
        {
            oldest.await?;
        }
        let confirms = self.publisher.publish_due().await?;
        self.unconfirmed.extend(confirms);
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let confirms = self.publisher.publish_due().await?;
        self.unconfirmed.extend(confirms);
        for confirm in self.unconfirmed.drain(..) {
            confirm.await?;
        }
        Ok(())
    }

    async fn send(&mut self) -> Result<()> {
        self.publisher.publish_one().await?.await?;
        Ok(())
    }
}

pub(super) struct Stream {
    channel: Channel,
    deliveries: lapin::Consumer,
    /// What is to be acknowledged at once, each by itself.
    unacked: Vec<Delivery>,
}

impl Stream {
    async fn take(&mut self) -> Result<Delivery> {
        let delivery = self.deliveries.next().await.ok_or("the consumer ended")?;
        Ok(delivery?)
    }
}

impl Consumer for Stream {
    async fn next(&mut self) -> Result<()> {
        std::hint::black_box(self.take().await?);
        Ok(())
    }

    async fn next_acked(&mut self) -> Result<()> {
        let delivery = self.take().await?;
        self.unacked.push(delivery);
        if self.unacked.len() == AT_ONCE {
            self.flush().await?;
        }
        Ok(())
    }

    async fn flush(&mut self) -> Result<()> {
        let acks = self.unacked.drain(..).map(async |delivery| {
            let acked = delivery.ack(BasicAckOptions::default());
            acked.await
        });
        try_join_all(acks).await?;
        Ok(())
    }

    async fn next_batch_acked(&mut self) -> Result<usize> {
        for _ in 1..BATCH {
            std::hint::black_box(self.take().await?);
        }
        let last = self.take().await?.delivery_tag;
        let options = BasicAckOptions { multiple: true };
        self.channel.basic_ack(last, options).await?;
        Ok(BATCH)
    }
}
