//! `examples/worker.rs` of Snowshoe, with lapin 4.12: a worker that tries orders that fail again, with growing delays, puts
//! aside those that go on failing, and comes to an orderly end on SIGTERM or Ctrl-C.
//!
//!     tests/with-broker cargo run --manifest-path benches/compare/Cargo.toml --example worker_lapin
//!
//! It does not do everything that the other does:
//! - A copy of an order with an `expiration` or a `user_id` of its own may come back early, or be refused.
//! - It does not wait in its own queue where the broker could let it (RabbitMQ 4.3), so it goes to the end of it.
//! - An ack that was not written when a connection was lost is an error here, and is just told.
//! - An order that waits for its copy to be published keeps its place among the 16 that are worked on.
//! - A queue that is deleted while it runs ends it.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

use std::error::Error;
use std::pin::pin;
use std::time::Duration;

use futures_lite::StreamExt as _;
use lapin::message::Delivery;
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{
    BasicProperties, Channel, Confirmation, Connection, ConnectionProperties, Consumer, ErrorKind,
};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::{signal, time};

const ORDERS: [&str; 4] = ["a bicycle", "a tandem", "a unicycle", "nothing"];
const CONCURRENCY: u16 = 16;
const ATTEMPTS: u32 = 4;
const FIRST_DELAY: u32 = 100;
const LONGEST_DELAY: u32 = 60_000;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let url = std::env::var("AMQP_URL")?;
    // Two, since a broker that is short of memory stops reading who publishes, and acks are to go through.
    let (consuming, publishing) = (connect(&url).await?, connect(&url).await?);
    let channel = consuming.create_channel().await?;
    let publisher = publishing.create_channel().await?;
    publisher
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    declare(&channel).await?;
    for order in ORDERS {
        publish(&publisher, "orders", order.as_bytes(), persistent()).await?;
    }

    channel
        .basic_qos(CONCURRENCY, BasicQosOptions::default())
        .await?;
    let mut orders = channel
        .basic_consume(
            "orders".into(),
            "".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await?;
    let (done, through) = mpsc::channel(ORDERS.len());
    let mut ending = pin!(terminated(through));
    let mut handlers = JoinSet::new();
    let mut finished = 0;
    loop {
        tokio::select! {
            () = &mut ending => break,
            Some(_) = handlers.join_next() => finished += 1,
            order = next(&mut orders, &channel) => {
                handlers.spawn(handle(order?, publisher.clone(), done.clone()));
            }
        }
    }
    println!("stopping: what is worked on is finished first");
    channel
        .basic_cancel(orders.tag(), BasicCancelOptions::default())
        .await?;
    let drain = async {
        while handlers.join_next().await.is_some() {
            finished += 1;
        }
    };
    time::timeout(Duration::from_secs(20), drain).await.ok();
    let cut_off = handlers.len();
    // What was prefetched, and what was cut off, goes back to the queue with the connection.
    consuming.close(200, "done".into()).await?;
    publishing.close(200, "done".into()).await?;
    println!("{finished} attempts, {cut_off} cut off");
    Ok(())
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

/// The queue of the orders, one for each delay from which they come back to it, and one for dead letters.
async fn declare(channel: &Channel) -> lapin::Result<()> {
    let durable = QueueDeclareOptions::durable();
    let mut quorum = FieldTable::default();
    quorum.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    channel
        .queue_declare("orders".into(), durable, quorum)
        .await?;
    for delay in (1..ATTEMPTS).map(delay) {
        let mut waiting = FieldTable::default();
        waiting.insert("x-message-ttl".into(), AMQPValue::LongUInt(delay));
        waiting.insert(
            "x-dead-letter-exchange".into(),
            AMQPValue::LongString("".into()),
        );
        waiting.insert(
            "x-dead-letter-routing-key".into(),
            AMQPValue::LongString("orders".into()),
        );
        channel
            .queue_declare(waiting_queue(delay).into(), durable, waiting)
            .await?;
    }
    channel
        .queue_declare("orders.dead".into(), durable, FieldTable::default())
        .await?;
    Ok(())
}

fn delay(failed: u32) -> u32 {
    FIRST_DELAY.saturating_mul(failed).min(LONGEST_DELAY)
}

fn waiting_queue(delay: u32) -> String {
    format!("orders.waiting.{delay}ms")
}

fn persistent() -> BasicProperties {
    BasicProperties::default().with_delivery_mode(2)
}

/// Publishes until the broker has it, through outages.
async fn publish(
    channel: &Channel,
    queue: &str,
    body: &[u8],
    properties: BasicProperties,
) -> lapin::Result<()> {
    let options = BasicPublishOptions {
        mandatory: true,
        ..BasicPublishOptions::default()
    };
    loop {
        let publishing = async {
            channel
                .basic_publish("".into(), queue.into(), options, body, properties.clone())
                .await?
                .await
        };
        match publishing.await {
            Ok(Confirmation::Ack(None)) => return Ok(()),
            // Refused, or returned: it must not be lost.
            Ok(_) => time::sleep(Duration::from_secs(1)).await,
            Err(error) => channel.wait_for_recovery(error).await?,
        }
    }
}

async fn next(orders: &mut Consumer, channel: &Channel) -> lapin::Result<Delivery> {
    loop {
        match orders.next().await {
            Some(Ok(order)) => return Ok(order),
            Some(Err(error)) => channel.wait_for_recovery(error).await?,
            None => return Err(ErrorKind::FutureCompleted.into()),
        }
    }
}

enum Outcome {
    Done,
    Retry(&'static str),
    DeadLetter(&'static str),
}

/// Has an order worked on, and settles it by what became of it.
async fn handle(order: Delivery, publisher: Channel, done: mpsc::Sender<()>) {
    let attempt = attempt_at(&order);
    let name = String::from_utf8_lossy(&order.data).into_owned();
    // A task of its own, so that a panic is seen.
    let outcome = tokio::spawn(work_on(name, attempt, done)).await;
    let outcome = outcome.unwrap_or(Outcome::Retry("the handler panicked"));
    let settled = match outcome {
        Outcome::Done => Ok(()),
        Outcome::Retry(reason) if attempt < ATTEMPTS => {
            let queue = waiting_queue(delay(attempt));
            publish_copy(&order, &publisher, &queue, attempt, reason).await
        }
        Outcome::Retry(reason) | Outcome::DeadLetter(reason) => {
            publish_copy(&order, &publisher, "orders.dead", attempt, reason).await
        }
    };
    let acked = match settled {
        Ok(()) => order.ack(BasicAckOptions::default()).await.map(drop),
        Err(error) => Err(error),
    };
    if let Err(error) = acked {
        println!("not acknowledged, so that it comes again: {error}");
    }
}

async fn publish_copy(
    order: &Delivery,
    publisher: &Channel,
    queue: &str,
    attempts: u32,
    reason: &str,
) -> lapin::Result<()> {
    let mut headers = order.properties.headers().clone().unwrap_or_default();
    headers.insert("attempts".into(), AMQPValue::LongUInt(attempts));
    headers.insert("reason".into(), AMQPValue::LongString(reason.into()));
    let properties = order.properties.clone().with_headers(headers);
    publish(publisher, queue, &order.data, properties).await
}

fn attempt_at(order: &Delivery) -> u32 {
    let headers = order.properties.headers().as_ref();
    match headers.and_then(|headers| headers.inner().get("attempts")) {
        Some(AMQPValue::LongUInt(failed)) => failed.saturating_add(1),
        _ => 1,
    }
}

async fn work_on(name: String, attempt: u32, done: mpsc::Sender<()>) -> Outcome {
    println!("attempt {attempt} at {name}");
    let outcome = match &*name {
        "a tandem" if attempt < 3 => return Outcome::Retry("it is being assembled"),
        "a unicycle" if attempt < 4 => return Outcome::Retry("one wheel is missing"),
        "a unicycle" => Outcome::Retry("one wheel is missing, still"),
        "nothing" => Outcome::DeadLetter("there is nothing to sell"),
        _ => Outcome::Done,
    };
    done.send(()).await.ok();
    outcome
}

/// Completes on SIGTERM or Ctrl-C, or when all orders are through.
async fn terminated(mut through: mpsc::Receiver<()>) {
    let all = async {
        for _ in ORDERS {
            through.recv().await;
        }
    };
    #[cfg(unix)]
    let sigterm = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => _ = signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let sigterm = std::future::pending::<()>();
    tokio::select! {
        () = all => {}
        () = sigterm => {}
        _ = signal::ctrl_c() => {}
    }
}
