//! A small program that names no runtime: the examples `on_smol`, `on_async_std` and `on_tokio` all
//! run it, each on its own executor.

use std::error::Error;

use snowshoe::{Client, Queue};

/// Sends a greeting and receives it.
pub(crate) async fn exchange(client: &Client, greeting: &str) -> Result<(), Box<dyn Error>> {
    client.declare(Queue::new("greetings")).await?;
    client.producer("greetings")?.build().send(greeting).await?;
    let mut consumer = client.consumer("greetings")?.start().await?;
    if let Some(delivery) = consumer.next().await {
        println!("{}", String::from_utf8_lossy(delivery.body()));
        delivery.ack()?;
    }
    Ok(())
}
