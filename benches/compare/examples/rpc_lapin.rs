//! `examples/rpc.rs` of Snowshoe, with lapin 4.12: a service that knows prices, and a program that asks it.
//!
//!     tests/with-broker cargo run --manifest-path benches/compare/Cargo.toml --example rpc_lapin
//!
//! It does not do everything that the other does:
//! - It runs on tokio, and not without an executor.
//! - Whether a request that failed may have been done is not told apart: a timeout and a lost connection look the same
//!   to whoever asked.
//! - More requests than the broker should have at a time are not made to wait.
//! - The service replies on the connection on which it consumes, so that a broker that is short of memory stops its
//!   acks, too. A reply that is cut off is not sent again: the request comes again, and is worked on again.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::collections::HashMap;
use std::error::Error;
use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::StreamExt as _;
use futures_util::future::join_all;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions,
    BasicPublishOptions, BasicQosOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Confirmation, Connection, ConnectionProperties};
use tokio::sync::oneshot;
use tokio::task::JoinSet;
use tokio::time;

const PRICES: &str = "prices";
const TIMEOUT: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("AMQP_URL")?;
    // Two programs, as a rule.
    let (service, program) = (connect(&url).await?, connect(&url).await?);
    let channel = service.create_channel().await?;
    channel
        .queue_declare(
            PRICES.into(),
            QueueDeclareOptions::durable(),
            FieldTable::default(),
        )
        .await?;
    let (stop, stopped) = oneshot::channel();
    let serving = tokio::spawn(serve(channel, stopped));
    let asked = ask(&program).await;
    stop.send(()).ok();
    let (replied, failed) = serving.await??;
    program.close(200, "done".into()).await?;
    service.close(200, "done".into()).await?;
    println!("{replied} replies, {failed} failed");
    asked
}

async fn connect(url: &str) -> lapin::Result<Connection> {
    let properties = ConnectionProperties::default()
        .enable_auto_recover()
        .configure_backoff(|it| {
            it.without_max_times()
                .with_jitter()
                .with_min_delay(Duration::from_millis(100))
                .with_max_delay(Duration::from_secs(30))
        });
    Connection::connect(url, properties).await
}

/// The service. Once it is stopped, it answers what it works on; how many were answered, and how often one failed.
async fn serve(channel: Channel, stopped: oneshot::Receiver<()>) -> lapin::Result<(usize, usize)> {
    channel.basic_qos(8, BasicQosOptions::default()).await?;
    let mut prices = channel
        .basic_consume(
            PRICES.into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let (mut replied, mut failed) = (0, 0);
    let mut handlers = JoinSet::new();
    let mut count = |answered| match answered {
        Ok(true) => replied += 1,
        Ok(false) | Err(_) => failed += 1,
    };
    let mut stopped = pin!(stopped);
    loop {
        tokio::select! {
            _ = &mut stopped => break,
            Some(answered) = handlers.join_next() => count(answered),
            request = prices.next() => match request {
                Some(Ok(request)) => drop(handlers.spawn(answer(request, channel.clone()))),
                Some(Err(error)) => channel.wait_for_recovery(error).await?,
                None => break,
            },
        }
    }
    let options = BasicCancelOptions::default();
    channel.basic_cancel(prices.tag(), options).await?;
    while let Some(answered) = handlers.join_next().await {
        count(answered);
    }
    Ok((replied, failed))
}

/// Answers a request, or has it tried again; whether it is answered.
async fn answer(request: Delivery, channel: Channel) -> bool {
    let product = String::from_utf8_lossy(&request.data).into_owned();
    // A task of its own, so that a panic is seen.
    let price = tokio::spawn(price(product, request.redelivered)).await;
    let Ok(Ok(price)) = price else {
        let options = BasicNackOptions {
            requeue: true,
            ..BasicNackOptions::default()
        };
        // Where that fails, the connection is gone, and the request comes again anyway.
        request.nack(options).await.ok();
        return false;
    };
    if let Some(reply_to) = request.properties.reply_to() {
        let mut properties = BasicProperties::default();
        if let Some(id) = request.properties.correlation_id() {
            properties = properties.with_correlation_id(id.clone());
        }
        let options = BasicPublishOptions::default();
        let replied = channel
            .basic_publish(
                "".into(),
                reply_to.clone(),
                options,
                price.as_bytes(),
                properties,
            )
            .await;
        if replied.is_err() {
            return false;
        }
    }
    request.ack(BasicAckOptions::default()).await.is_ok()
}

async fn price(product: String, is_redelivered: bool) -> Result<String, &'static str> {
    time::sleep(Duration::from_millis(50)).await;
    match product.strip_prefix("product ").map(str::parse::<u32>) {
        Some(Ok(13)) => Ok("not for sale".to_owned()),
        Some(Ok(7)) if !is_redelivered => Err("the database is busy"),
        Some(Ok(number)) => Ok(format!("{}.{:02}", number / 4, number % 4 * 25)),
        _ => Ok("no such product".to_owned()),
    }
}

/// The program that asks.
async fn ask(connection: &Connection) -> Result<(), Box<dyn Error>> {
    let requester = Requester::start(connection).await?;
    let asking = (1..=20).map(|product| {
        let request = format!("product {product}");
        let requester = &requester;
        async move { requester.request(PRICES, &request).await }
    });
    for (product, price) in (1..).zip(join_all(asking).await) {
        println!("product {product}: {}", price?);
    }

    // Nobody serves this: that is told at once.
    match requester.request("pricse", "product 1").await {
        Ok(_) => println!("somebody serves that"),
        Err(RequestError::Unroutable) => println!("not asked: {}", RequestError::Unroutable),
        Err(error) => println!("perhaps asked: {error}"),
    }
    Ok(())
}

#[derive(Debug)]
enum RequestError {
    Unroutable,
    Nacked,
    TimedOut,
    Client(lapin::Error),
}

impl fmt::Display for RequestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unroutable => f.write_str("no queue took the request"),
            Self::Nacked => f.write_str("the broker refused the request"),
            Self::TimedOut => f.write_str("there was no answer in time"),
            Self::Client(error) => error.fmt(f),
        }
    }
}

impl Error for RequestError {}

type Pending = Arc<Mutex<HashMap<String, oneshot::Sender<Vec<u8>>>>>;

/// Asks over direct reply-to, for which requests and replies go over one channel.
struct Requester {
    channel: Channel,
    /// Who waits for an answer, by its correlation id.
    pending: Pending,
    last_id: AtomicU64,
}

impl Requester {
    async fn start(connection: &Connection) -> lapin::Result<Self> {
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        let options = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let mut replies = channel
            .basic_consume(
                "amq.rabbitmq.reply-to".into(),
                "".into(),
                options,
                FieldTable::default(),
            )
            .await?;
        let pending = Pending::default();
        let (recovering, waiting) = (channel.clone(), Arc::clone(&pending));
        tokio::spawn(async move {
            while let Some(reply) = replies.next().await {
                let reply = match reply {
                    Ok(reply) => reply,
                    Err(error) => {
                        // Their answers would go to the channel that was: they are asked again.
                        lock(&waiting).clear();
                        if recovering.wait_for_recovery(error).await.is_err() {
                            break;
                        }
                        continue;
                    }
                };
                let id = reply.properties.correlation_id().as_ref();
                let waits = id.and_then(|id| lock(&waiting).remove(id.as_str()));
                if let Some(waits) = waits {
                    waits.send(reply.data).ok();
                }
            }
            lock(&waiting).clear();
        });
        Ok(Self {
            channel,
            pending,
            last_id: AtomicU64::new(0),
        })
    }

    /// To ask twice does no harm, so it is asked again where the connection is lost in between.
    async fn request(&self, queue: &str, body: &str) -> Result<String, RequestError> {
        let id = self.last_id.fetch_add(1, Ordering::Relaxed).to_string();
        let asking = async {
            loop {
                if let Some(reply) = self.request_once(queue, body, &id).await? {
                    return Ok(String::from_utf8_lossy(&reply).into_owned());
                }
            }
        };
        let reply = time::timeout(TIMEOUT, asking).await;
        lock(&self.pending).remove(&id);
        reply.unwrap_or(Err(RequestError::TimedOut))
    }

    /// `None` where the connection was lost before the answer.
    async fn request_once(
        &self,
        queue: &str,
        body: &str,
        id: &str,
    ) -> Result<Option<Vec<u8>>, RequestError> {
        let (answer, answered) = oneshot::channel();
        lock(&self.pending).insert(id.to_owned(), answer);
        let options = BasicPublishOptions {
            mandatory: true,
            ..BasicPublishOptions::default()
        };
        let properties = BasicProperties::default()
            .with_correlation_id(id.into())
            .with_reply_to("amq.rabbitmq.reply-to".into())
            .with_expiration(TIMEOUT.as_millis().to_string().into());
        let publishing = async {
            self.channel
                .basic_publish(
                    "".into(),
                    queue.into(),
                    options,
                    body.as_bytes(),
                    properties,
                )
                .await?
                .await
        };
        match publishing.await {
            Ok(Confirmation::Ack(None)) => Ok(answered.await.ok()),
            Ok(Confirmation::Ack(Some(_))) => Err(RequestError::Unroutable),
            Ok(_) => Err(RequestError::Nacked),
            Err(error) => {
                let recovered = self.channel.wait_for_recovery(error).await;
                recovered.map(|()| None).map_err(RequestError::Client)
            }
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex
        .lock()
        .unwrap_or_else(std::sync::PoisonError::into_inner)
}
