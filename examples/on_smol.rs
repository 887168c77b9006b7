//! The client's driver on smol's executor, instead of on a thread of its own.
//!
//!     cargo run --example on_smol
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory. What runs is in
//! `greeting/mod.rs`, the same as for the other executors.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;
mod greeting;

use std::error::Error;

use snowshoe::Client;

fn main() -> Result<(), Box<dyn Error>> {
    smol::block_on(async {
        let (url, _server) = broker::find()?;
        let (client, driver) = Client::builder(&url)?.build();
        let driver = smol::spawn(driver);

        // Completes with the reason, should the first connect fail.
        client.ready().await?;
        greeting::exchange(&client, "hello from smol").await?;

        // The driver completes once the client is closed.
        client.close().await;
        driver.await;
        Ok(())
    })
}
