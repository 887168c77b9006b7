//! Readings of a sensor: the latest count, the odd lost one does not, so nothing waits for confirms.
//!
//! A fire-and-forget producer keeps a message until it is written and no longer. It never waits:
//! when its buffer is full, because the broker is away for instance, the oldest reading makes room.
//!
//!     cargo run --example fire_and_forget
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;
use std::time::Instant;

use snowshoe::{Client, Properties, Queue};

const READINGS: u32 = 100_000;

fn main() -> Result<(), Box<dyn Error>> {
    futures_lite::future::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    let client = Client::connect(&url).await?;

    // The queue, too, prefers new readings to old ones, and nobody needs it after a restart.
    let readings = Queue::new("readings").durable(false).max_length(1000);
    client.declare(readings).await?;

    // Properties are encoded once, here, and not for every message.
    let properties = Properties::builder()
        .content_type("text/plain")
        .transient()
        .build()?;
    let producer = client
        .producer("readings")?
        .fire_and_forget()
        .capacity(READINGS as usize)
        .properties(properties)
        .build();

    let start = Instant::now();
    for reading in 0..READINGS {
        // Ready at once: a full buffer drops its oldest message instead of making us wait.
        producer.publish(reading.to_string()).await?;
    }
    println!("{READINGS} readings accepted within {:?}", start.elapsed());

    // The buffer is empty once the last byte was written.
    producer.flushed().await;
    println!("and written within {:?}", start.elapsed());

    client.close().await;
    Ok(())
}
