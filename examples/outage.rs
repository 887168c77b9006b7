//! Riding through an outage: publishes a hundred messages a second, consumes them, and shows each
//! second how that goes. The broker in memory is away for five seconds in every fifteen; one of your
//! own you stop while this runs, wait a little, and start again.
//!
//!     cargo run --example outage
//!
//! While the broker is away the buffer fills. Once it is back everything that was not confirmed is
//! written again, in order, and the numbers meet again. A message that was written, but whose
//! confirm was lost with the connection, can arrive twice; none is ever lost. Ctrl-C ends it.
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_io::Timer;
use futures_lite::{FutureExt as _, StreamExt as _};
use snowshoe::testing::{Dials, Server};
use snowshoe::{Client, Consumer, Event, Events, Producer, Queue, Reconnect};

const QUEUE: &str = "outage";

/// What has been done so far.
#[derive(Default)]
struct Progress {
    published: AtomicU64,
    confirmed: AtomicU64,
    consumed: AtomicU64,
}

fn main() -> Result<(), Box<dyn Error>> {
    futures_lite::future::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (url, server) = broker::find()?;
    // By default the delay between two attempts grows to half a minute, which is long to watch.
    let reconnect = Reconnect::default().max_delay(Duration::from_secs(2));
    let client = Client::builder(&url)?
        .reconnect(reconnect)
        .connect()
        .await?;
    client.declare(Queue::new(QUEUE)).await?;
    client.purge_queue(QUEUE).await?;

    let progress = Progress::default();
    let producer = client.producer(QUEUE)?.build();
    let consumer = client.consumer(QUEUE)?.start().await?;
    publish(&producer, &progress)
        .or(consume(consumer, &progress))
        .or(tell(client.events(), &progress))
        .or(report(&producer, &progress))
        .or(go_away_at_times(server))
        .await
}

/// Takes the broker in memory away again and again. One that is not ours is left alone.
async fn go_away_at_times(server: Option<Server>) -> Result<(), Box<dyn Error>> {
    let Some(server) = server else {
        return std::future::pending().await;
    };
    loop {
        Timer::after(Duration::from_secs(10)).await;
        println!("the broker goes away");
        server.set_dials(Dials::Refused);
        server.restart();
        Timer::after(Duration::from_secs(5)).await;
        println!("the broker is there again");
        server.set_dials(Dials::Succeed);
    }
}

/// Publishes steadily. With the default policy it waits when the buffer is full, after a hundred
/// seconds at this rate.
async fn publish(producer: &Producer, progress: &Progress) -> Result<(), Box<dyn Error>> {
    let mut ticks = Timer::interval(Duration::from_millis(10));
    while ticks.next().await.is_some() {
        let number = progress.published.fetch_add(1, Ordering::Relaxed);
        // How it ends is told by the events here; to know it of one message, await this.
        let _confirmation = producer.publish(number.to_string()).await?;
    }
    Ok(())
}

async fn consume(mut consumer: Consumer, progress: &Progress) -> Result<(), Box<dyn Error>> {
    while let Some(batch) = consumer.next_batch(100).await {
        progress
            .consumed
            .fetch_add(batch.len() as u64, Ordering::Relaxed);
        // An outage in between makes them stale: then the broker delivers them again.
        _ = batch.ack();
    }
    Ok(())
}

/// Counts what the broker confirmed, and prints what happens to the connections.
async fn tell(mut events: Events, progress: &Progress) -> Result<(), Box<dyn Error>> {
    while let Some(event) = events.next().await {
        match event {
            Event::Confirmed { count, .. } => {
                progress.confirmed.fetch_add(count, Ordering::Relaxed);
            }
            Event::Disconnected { role, cause } => println!("{role} connection lost: {cause}"),
            Event::Reconnecting {
                role,
                attempt,
                delay,
            } => {
                println!("{role} connection: attempt {attempt} in {delay:?}");
            }
            Event::Recovered { role } => println!("{role} connection is back"),
            other => println!("{other:?}"),
        }
    }
    Ok(())
}

async fn report(producer: &Producer, progress: &Progress) -> Result<(), Box<dyn Error>> {
    let mut seconds = Timer::interval(Duration::from_secs(1));
    while seconds.next().await.is_some() {
        println!(
            "published {:6}   in the buffer {:5}/{}   confirmed {:6}   consumed {:6}",
            progress.published.load(Ordering::Relaxed),
            producer.buffered(),
            producer.capacity(),
            progress.confirmed.load(Ordering::Relaxed),
            progress.consumed.load(Ordering::Relaxed),
        );
    }
    Ok(())
}
