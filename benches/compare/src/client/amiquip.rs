use std::cell::RefCell;
use std::net::TcpStream;

use amiquip::{
    AmqpProperties, Auth, Channel, Confirm, ConfirmSmoother, Connection, ConnectionOptions,
    ConnectionTuning, ConsumerMessage, ConsumerOptions, Delivery, Publish, QueueDeclareOptions,
};
use bytes::Bytes;
use snowshoe::AmqpUri;

use super::{Client, Confirmed, Consumer, Publisher, Result};
use crate::work::BATCH;

/// amiquip, by its examples. It blocks, beside an I/O thread of its own.
pub(super) struct Amiquip(RefCell<Connection>);

/// More make it no faster.
const MESSAGES_BETWEEN_THREADS: usize = 4096;

impl Amiquip {
    /// Consumers borrow their channel, and both live as long as the process here.
    fn channel(&self) -> Result<&'static Channel> {
        let channel = self.0.borrow_mut().open_channel(None)?;
        Ok(Box::leak(Box::new(channel)))
    }
}

impl Client for Amiquip {
    type Publisher = Channeled;
    type Confirmed = Window;
    type Consumer = Receiver;

    async fn connect(url: &str) -> Result<Self> {
        let uri: AmqpUri = url.parse()?;
        let endpoint = uri.endpoints.first().ok_or("the URL names no host")?;
        let stream = TcpStream::connect((endpoint.host.as_str(), endpoint.port))?;
        // A socket of its own would delay small writes, by 40 ms where one message is under way.
        stream.set_nodelay(true)?;
        let connection = Connection::insecure_open_stream(
            mio::net::TcpStream::from_stream(stream)?,
            ConnectionOptions::<Auth>::default(),
            // With the default of 16 the caller's thread and its own take turns after as many messages.
            ConnectionTuning::default().mem_channel_bound(MESSAGES_BETWEEN_THREADS),
        )?;
        Ok(Self(RefCell::new(connection)))
    }

    async fn publisher(&self, queue: &str, body: Bytes) -> Result<Channeled> {
        Ok(Channeled {
            channel: self.channel()?,
            queue: queue.to_owned(),
            properties: AmqpProperties::default().with_delivery_mode(2),
            body,
        })
    }

    async fn confirmed(&self, queue: &str, body: Bytes, window: usize) -> Result<Window> {
        let publisher = self.publisher(queue, body).await?;
        let confirms = publisher.channel.listen_for_publisher_confirms()?;
        publisher.channel.enable_publisher_confirms()?;
        Ok(Window {
            publisher,
            window,
            confirms: Box::new(move || Ok(confirms.recv()?)),
            smoother: ConfirmSmoother::new(),
            missing: 0,
        })
    }

    async fn first_confirm(&self, queue: &str, body: Bytes) -> Result<()> {
        let mut confirmed = self.confirmed(queue, body, 1).await?;
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        confirmed.publisher.channel.queue_declare(queue, options)?;
        confirmed.send().await
    }

    async fn consumer(&self, queue: &str, prefetch: Option<u16>) -> Result<Receiver> {
        let channel = self.channel()?;
        if let Some(prefetch) = prefetch {
            channel.qos(0, prefetch, false)?;
        }
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let queue = Box::leak(Box::new(channel.queue_declare(queue, options)?));
        let consumer = queue.consume(ConsumerOptions {
            no_ack: prefetch.is_none(),
            ..ConsumerOptions::default()
        })?;
        Ok(Receiver(consumer))
    }
}

pub(super) struct Channeled {
    channel: &'static Channel,
    queue: String,
    properties: AmqpProperties,
    body: Bytes,
}

impl Publisher for Channeled {
    async fn publish(&mut self) -> Result<()> {
        let (queue, properties) = (self.queue.clone(), self.properties.clone());
        let message = Publish::with_properties(&self.body, queue, properties);
        Ok(self.channel.basic_publish("", message)?)
    }
}

pub(super) struct Window {
    publisher: Channeled,
    window: usize,
    confirms: Box<dyn FnMut() -> Result<Confirm>>,
    smoother: ConfirmSmoother,
    missing: usize,
}

impl Window {
    fn wait(&mut self, missing: usize) -> Result<()> {
        while self.missing > missing {
            let confirm = (self.confirms)()?;
            self.missing -= self.smoother.process(confirm).count();
        }
        Ok(())
    }
}

impl Confirmed for Window {
    async fn publish(&mut self) -> Result<()> {
        self.wait(self.window - 1)?;
        self.missing += 1;
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

pub(super) struct Receiver(amiquip::Consumer<'static>);

impl Receiver {
    fn take(&self) -> Result<Delivery> {
        match self.0.receiver().recv()? {
            ConsumerMessage::Delivery(delivery) => Ok(delivery),
            _ => Err("the consumer ended".into()),
        }
    }
}

impl Consumer for Receiver {
    async fn next(&mut self) -> Result<()> {
        std::hint::black_box(self.take()?);
        Ok(())
    }

    async fn next_acked(&mut self) -> Result<()> {
        let delivery = self.take()?;
        Ok(self.0.ack(delivery)?)
    }

    async fn next_batch_acked(&mut self) -> Result<usize> {
        for _ in 1..BATCH {
            std::hint::black_box(self.take()?);
        }
        let last = self.take()?;
        self.0.ack_multiple(last)?;
        Ok(BATCH)
    }
}
