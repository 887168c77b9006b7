//! The client's driver on tokio's executor, and its connections on tokio's sockets and timers.
//!
//!     cargo run --example on_tokio
//!
//! In a crate of your own this takes the feature `tokio`; with `default-features = false` nothing else
//! is compiled, and no runtime need be named. Without `runtime(Tokio)` the driver can be spawned on
//! tokio, too; it then works as it does on any other executor.
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory. What runs is in
//! `greeting/mod.rs`, the same as for the other executors.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;
mod greeting;

use std::error::Error;

use snowshoe::Client;
use snowshoe::runtime::Tokio;

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    let (client, driver) = Client::builder(&url)?.runtime(Tokio).build();
    let driver = tokio::spawn(driver);

    // Completes with the reason, should the first connect fail.
    client.ready().await?;
    greeting::exchange(&client, "hello from tokio").await?;

    // The driver completes once the client is closed.
    client.close().await;
    driver.await?;
    Ok(())
}
