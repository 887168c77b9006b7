//! A handler that works on several messages at a time, and whose result settles each of them.
//!
//! Orders take a quarter of a second each, and four are worked on at a time. One whose handler fails is
//! delivered once more, and dropped if that fails, too. The client is closed in the middle of it: what is
//! worked on is finished first.
//!
//!     cargo run --example handler
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::future::zip;
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
    let working = orders.process(4, |order| work_on(order, start));
    // A service waits for a signal here. The orders that are worked on are finished, and the others go back.
    let ending = async {
        Timer::after(Duration::from_millis(300)).await;
        client.close().await;
    };
    let (handled, ()) = zip(working, ending).await;
    println!("{} finished", handled.finished);
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
