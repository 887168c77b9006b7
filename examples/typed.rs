//! Bodies that are values: encoded as JSON when they are published, decoded when they are received.
//!
//! Somebody else publishes what is no order to the same queue. It goes to the dead letters, and the others go on.
//!
//!     cargo run --example typed
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use serde::{Deserialize, Serialize};
use snowshoe::{Client, Error, Queue};

#[derive(Debug, Serialize, Deserialize)]
struct Order {
    id: u64,
    item: String,
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let (url, _server) = broker::find()?;
    Ok(futures_lite::future::block_on(run(&url))?)
}

// Whatever fails, publishing and settling too, becomes the error of the crate.
async fn run(url: &str) -> Result<(), Error> {
    let client = Client::connect(url).await?;
    client.declare(Queue::new("typed, dead")).await?;
    let queue = Queue::new("typed").dead_letter_exchange("");
    client
        .declare(queue.dead_letter_routing_key("typed, dead"))
        .await?;

    let producer = client.producer("typed")?.build();
    let orders = producer.typed::<Order>();
    for (id, item) in (1..).zip(["bicycle", "tandem"]) {
        let item = item.to_owned();
        orders.send(&Order { id, item }).await?;
        producer.send("one unicycle, please").await?;
    }

    let mut received = client.consumer("typed")?.start().await?.typed::<Order>();
    let stop = received.stop_handle();
    let handled = received
        .process(1, |order: Order, delivery| {
            println!("{order:?}, delivered as {}", delivery.delivery_tag());
            if order.id == 2 {
                stop.stop();
            }
            async {}
        })
        .await;
    println!("{} messages", handled.finished);

    let mut dead = client.consumer("typed, dead")?.start().await?;
    if let Some(message) = dead.next().await {
        println!("no order: {}", String::from_utf8_lossy(message.body()));
        message.ack()?;
    }
    client.close().await;
    Ok(())
}
