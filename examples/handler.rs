//! A handler that works on several messages at a time, and whose result settles each of them.
//!
//! Twelve orders take a quarter of a second each; four at a time they take three quarters. An
//! order whose handler fails is delivered once more, and dropped if that fails, too.
//!
//!     cargo run --example handler
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt as _;
use snowshoe::{Client, Delivery, Disposition, Queue};

fn main() -> Result<(), Box<dyn Error>> {
    futures_lite::future::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    let client = Client::connect(&url).await?;
    client.declare(Queue::new("orders")).await?;

    let producer = client.producer("orders")?.build();
    for order in 1..=12 {
        producer.send(format!("order {order}")).await?;
    }

    // The broker sends as many as may be worked on, and some to go on with.
    let mut orders = client.consumer("orders")?.prefetch(8).start().await?;
    let start = Instant::now();
    // It goes on for as long as the consumer does; this example has seen enough after two seconds.
    orders
        .process(4, |order| work_on(order, start))
        .or(async { _ = Timer::after(Duration::from_secs(2)).await })
        .await;

    client.close().await;
    Ok(())
}

/// What it returns settles the order. `()` would acknowledge it, and a `Result` acknowledge or
/// retry it.
async fn work_on(order: Delivery, start: Instant) -> Disposition {
    Timer::after(Duration::from_millis(250)).await;
    let name = String::from_utf8_lossy(order.body());
    let disposition = match (name.ends_with('7'), order.is_redelivered()) {
        (true, false) => Disposition::Retry,
        (true, true) => Disposition::Discard,
        (false, _) => Disposition::Ack,
    };
    println!(
        "{:4} ms  {name}: {disposition:?}",
        start.elapsed().as_millis()
    );
    disposition
}
