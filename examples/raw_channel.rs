//! The protocol as it is, where the rest of the crate has no words for what you want: fetching
//! single messages, and transactions.
//!
//!     cargo run --example raw_channel
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;

use snowshoe::codec::method::{basic, queue, tx};
use snowshoe::{Channel, Client, Queue};

const QUEUE: &str = "transfers";

fn main() -> Result<(), Box<dyn Error>> {
    futures_lite::future::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    let client = Client::connect(&url).await?;
    client.declare(Queue::new(QUEUE)).await?;

    // Unlike a producer or a consumer, a channel does not come back after an outage: only you know
    // what was under way on it.
    let channel = client.channel().await?;

    // Methods are structs with the fields of the specification, and a call gives its reply.
    let purge = queue::Purge {
        queue: QUEUE.try_into()?,
        ..Default::default()
    };
    let purged = channel.call(purge).await?.message_count;
    println!("{purged} messages purged");

    // What is published within a transaction is there when it is committed, all of it or nothing.
    channel.call(tx::Select).await?;
    publish(&channel, &["a mistake"]).await?;
    channel.call(tx::Rollback).await?;
    publish(&channel, &["take 10 from A", "give 10 to B"]).await?;
    channel.call(tx::Commit).await?;

    // So are acknowledgements.
    while let Some(got) = channel.get(QUEUE, false).await? {
        println!("got: {}", String::from_utf8_lossy(got.content.body()));
        let ack = basic::Ack {
            delivery_tag: got.delivery_tag,
            multiple: false,
        };
        channel.send(ack).await?;
    }
    channel.call(tx::Commit).await?;

    client.close().await;
    Ok(())
}

async fn publish(channel: &Channel, transfers: &[&'static str]) -> Result<(), snowshoe::Error> {
    for &transfer in transfers {
        channel.publish("", QUEUE, transfer).await?;
    }
    Ok(())
}
