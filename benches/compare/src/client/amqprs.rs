use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use amqprs::callbacks::ChannelCallback;
use amqprs::channel::{
    BasicAckArguments, BasicConsumeArguments, BasicPublishArguments, BasicQosArguments, Channel,
    ConfirmSelectArguments, ConsumerMessage, QueueDeclareArguments,
};
use amqprs::connection::{Connection, OpenConnectionArguments};
use amqprs::tls::TlsAdaptor;
use amqprs::{Ack, BasicProperties, Cancel, CloseChannel, Nack, Return};
use async_trait::async_trait;
use bytes::Bytes;
use snowshoe::AmqpUri;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedReceiver;

use super::{Client, Confirmed, Consumer, Publisher, Result};
use crate::tls;
use crate::work::BATCH;

/// amqprs, by its quick start. Confirms come through a callback of the channel, and belong to no
/// message, so they are counted. Consuming by `basic_consume_rx` spares the task that calls an
/// `AsyncConsumer`.
pub(super) struct Amqprs(Connection);

impl Client for Amqprs {
    type Publisher = Channeled;
    type Confirmed = Window;
    type Consumer = Receiver;

    async fn connect(url: &str) -> Result<Self> {
        let uri: AmqpUri = url.parse()?;
        let endpoint = uri.endpoints.first().ok_or("the URL names no host")?;
        let (user, password) = ("guest", "guest");
        let mut arguments =
            OpenConnectionArguments::new(&endpoint.host, endpoint.port, user, password);
        if let Some(authority) = tls::authority_in(url) {
            // It takes what the process has.
            _ = rustls::crypto::ring::default_provider().install_default();
            let host = endpoint.host.clone();
            arguments.tls_adaptor(TlsAdaptor::without_client_auth(Some(authority), host)?);
        }
        Ok(Self(Connection::open(&arguments).await?))
    }

    async fn publisher(&self, queue: &str, body: Bytes) -> Result<Channeled> {
        Ok(Channeled {
            channel: self.0.open_channel(None).await?,
            arguments: BasicPublishArguments::new("", queue),
            properties: BasicProperties::default().with_persistence(true).finish(),
            body,
            published: 0,
        })
    }

    async fn confirmed(&self, queue: &str, body: Bytes, window: usize) -> Result<Window> {
        let publisher = self.publisher(queue, body).await?;
        let confirms = Arc::<Confirms>::default();
        let callback = Counter(Arc::clone(&confirms));
        publisher.channel.register_callback(callback).await?;
        let arguments = ConfirmSelectArguments::default();
        publisher.channel.confirm_select(arguments).await?;
        Ok(Window {
            publisher,
            window: window as u64,
            confirms,
        })
    }

    async fn first_confirm(&self, queue: &str, body: Bytes) -> Result<()> {
        let mut confirmed = self.confirmed(queue, body, 1).await?;
        let arguments = QueueDeclareArguments::durable_client_named(queue);
        let channel = &confirmed.publisher.channel;
        channel.queue_declare(arguments).await?;
        confirmed.send().await
    }

    async fn consumer(&self, queue: &str, prefetch: Option<u16>) -> Result<Receiver> {
        let channel = self.0.open_channel(None).await?;
        if let Some(prefetch) = prefetch {
            let arguments = BasicQosArguments::new(0, prefetch, false);
            channel.basic_qos(arguments).await?;
        }
        let mut arguments = BasicConsumeArguments::new(queue, "compare");
        arguments.no_ack = prefetch.is_none();
        let (_, deliveries) = channel.basic_consume_rx(arguments).await?;
        Ok(Receiver {
            channel,
            deliveries,
        })
    }
}

pub(super) struct Channeled {
    channel: Channel,
    arguments: BasicPublishArguments,
    properties: BasicProperties,
    body: Bytes,
    published: u64,
}

impl Publisher for Channeled {
    async fn publish(&mut self) -> Result<()> {
        self.published += 1;
        // It takes a body of its own for each message.
        let body = self.body.to_vec();
        let (properties, arguments) = (self.properties.clone(), self.arguments.clone());
        let publish = self.channel.basic_publish(properties, body, arguments);
        Ok(publish.await?)
    }
}

pub(super) struct Window {
    publisher: Channeled,
    window: u64,
    confirms: Arc<Confirms>,
}

/// How far the broker has confirmed; it does so in order.
#[derive(Default)]
struct Confirms {
    up_to: AtomicU64,
    advanced: Notify,
}

impl Window {
    /// Waits until at most so many confirms are missing.
    async fn wait(&self, missing: u64) {
        let published = self.publisher.published;
        while published - self.confirms.up_to.load(Ordering::Acquire) > missing {
            self.confirms.advanced.notified().await;
        }
    }
}

impl Confirmed for Window {
    async fn publish(&mut self) -> Result<()> {
        self.wait(self.window - 1).await;
        self.publisher.publish().await
    }

    async fn flush(&mut self) -> Result<()> {
        self.wait(0).await;
        Ok(())
    }

    async fn send(&mut self) -> Result<()> {
        self.publisher.publish().await?;
        self.flush().await
    }
}

struct Counter(Arc<Confirms>);

#[async_trait]
impl ChannelCallback for Counter {
    async fn publish_ack(&mut self, _: &Channel, ack: Ack) {
        self.0.up_to.fetch_max(ack.delivery_tag(), Ordering::AcqRel);
        self.0.advanced.notify_one();
    }

    async fn close(
        &mut self,
        _: &Channel,
        _: CloseChannel,
    ) -> std::result::Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn cancel(
        &mut self,
        _: &Channel,
        _: Cancel,
    ) -> std::result::Result<(), amqprs::error::Error> {
        Ok(())
    }

    async fn flow(
        &mut self,
        _: &Channel,
        active: bool,
    ) -> std::result::Result<bool, amqprs::error::Error> {
        Ok(active)
    }

    async fn publish_nack(&mut self, _: &Channel, _: Nack) {}

    async fn publish_return(&mut self, _: &Channel, _: Return, _: BasicProperties, _: Vec<u8>) {}
}

pub(super) struct Receiver {
    channel: Channel,
    deliveries: UnboundedReceiver<ConsumerMessage>,
}

impl Receiver {
    async fn take(&mut self) -> Result<ConsumerMessage> {
        let message = self.deliveries.recv().await;
        Ok(message.ok_or("the consumer ended")?)
    }

    async fn ack(&self, last: &ConsumerMessage, multiple: bool) -> Result<()> {
        let deliver = last.deliver.as_ref().ok_or("not a delivery")?;
        let arguments = BasicAckArguments::new(deliver.delivery_tag(), multiple);
        Ok(self.channel.basic_ack(arguments).await?)
    }
}

impl Consumer for Receiver {
    async fn next(&mut self) -> Result<()> {
        std::hint::black_box(self.take().await?);
        Ok(())
    }

    async fn next_acked(&mut self) -> Result<()> {
        let message = self.take().await?;
        self.ack(&message, false).await
    }

    async fn next_batch_acked(&mut self) -> Result<usize> {
        for _ in 1..BATCH {
            self.next().await?;
        }
        let last = self.take().await?;
        self.ack(&last, true).await?;
        Ok(BATCH)
    }
}
