//! Events that several services hear of, each in its own way.
//!
//! What happens in a shop is published once, and the exchange hands it to whoever has bound a queue. The mailers share a queue
//! that lasts, so that each order is mailed by one of them, also of those that came while none was up. Every cache has a queue
//! of its own, which goes with it, and takes what it gets without acknowledging: what it missed is of no use to it.
//!
//!     cargo run --example fan_out
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;

use futures_lite::future::{block_on, try_zip};
use snowshoe::{Client, Consumer, Delivery, Exchange, Message, Queue};

const EVENTS: [(&str, &str); 4] = [
    ("order.new", "a bicycle"),
    ("stock.low", "tandems"),
    ("order.new", "a unicycle"),
    ("price.new", "tandems"),
];

fn main() -> Result<(), Box<dyn Error>> {
    block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    // Services have a client each; these are in one program for once.
    let [shop, mailing, caching] = [
        Client::connect(&url).await?,
        Client::connect(&url).await?,
        Client::connect(&url).await?,
    ];
    let events = || Exchange::topic("shop.events");

    // Whoever comes first declares the exchange; all say how it is to be.
    let mails = Queue::quorum("mails").bind(events(), "order.*");
    let first = mailing.consumer(mails.clone())?.start().await?;
    let second = mailing.consumer(mails)?.start().await?;
    let cache = |key: &'static str| caching.consumer(Queue::server_named().bind(events(), key));
    let everything = cache("#")?.no_ack().start().await?;
    let stock = cache("stock.*")?.no_ack().start().await?;

    let producer = shop.exchange_producer(events(), "")?.build();
    for (key, what) in EVENTS {
        let event = Message::new(what).with_routing_key(key)?;
        producer.send(event).await?;
    }

    let mailers = try_zip(mail(first, "a mailer"), mail(second, "the other"));
    let caches = try_zip(
        keep(everything, "a cache", 4),
        keep(stock, "the stock's", 1),
    );
    try_zip(mailers, caches).await?;
    for client in [shop, mailing, caching] {
        client.close().await;
    }
    Ok(())
}

/// Mails one order, and acknowledges it after that. A mailer of yours goes on for ever.
async fn mail(mut orders: Consumer, who: &str) -> Result<(), Box<dyn Error>> {
    let order = hear(&mut orders, who).await?;
    order.ack()?;
    Ok(())
}

async fn keep(mut events: Consumer, who: &str, count: usize) -> Result<(), Box<dyn Error>> {
    for _ in 0..count {
        _ = hear(&mut events, who).await?;
    }
    Ok(())
}

async fn hear(consumer: &mut Consumer, who: &str) -> Result<Delivery, Box<dyn Error>> {
    let event = consumer.next().await.ok_or("the consumer has ended")?;
    let what = String::from_utf8_lossy(event.body());
    println!("{who} hears of {}: {what}", event.routing_key());
    Ok(event)
}
