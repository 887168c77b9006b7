//! The first steps: declare a queue, publish a message the broker confirms, receive it, and
//! acknowledge it.
//!
//!     cargo run --example quickstart
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;

use snowshoe::{Client, Queue};

fn main() -> Result<(), Box<dyn Error>> {
    // Any executor will do: the client brings a thread of its own for its connections.
    futures_lite::future::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    let client = Client::connect(&url).await?;

    // Durable, unless you say otherwise; should the connection be cut, it is declared again.
    client.declare(Queue::new("quickstart")).await?;

    // Completes when the broker has taken responsibility for the message, on disk in this case.
    let producer = client.producer("quickstart")?.build();
    producer.send("hello").await?;
    println!("published and confirmed");

    let mut consumer = client.consumer("quickstart")?.start().await?;
    if let Some(delivery) = consumer.next().await {
        println!("received: {}", String::from_utf8_lossy(delivery.body()));
        delivery.ack()?;
    }

    // Lets everything under way through before it closes the connections.
    client.close().await;
    Ok(())
}
