//! What producers, consumers, channels and clients cost where there are many of them: bytes of memory for each, and
//! processor time for a message while they are there.
//!
//! ```text
//! cargo run --release --manifest-path benches/compare/Cargo.toml --bin many
//! ```

use std::alloc::System;
use std::collections::VecDeque;
use std::error::Error;
use std::io::{Write as _, stdout};
use std::time::Duration;

use compare::place;
use compare::process::{self, BrokerProcess};
use compare::work::IDLE_QUEUE;
use futures_lite::future::block_on;
use futures_util::future::try_join_all;
use rustix::time::{ClockId, clock_gettime};
use snowshoe::{Client, Producer};
use stats_alloc::{INSTRUMENTED_SYSTEM, StatsAlloc};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

/// How many messages are timed.
const MESSAGES: usize = 400_000;

/// How many are under way at once.
const IN_FLIGHT: usize = 1_000;

const QUEUE: &str = "many";

/// The processors of the two processes.
const BROKER: usize = 0;
const CLIENT: usize = 1;

fn main() -> Result<()> {
    if std::env::args().nth(1).as_deref() == Some("broker") {
        return process::be_broker(BROKER, false);
    }
    place::on(CLIENT)?;
    let broker = BrokerProcess::start(BROKER, false)?;
    let url = format!("amqp://127.0.0.1:{}", broker.port);
    let mut out = stdout().lock();
    writeln!(
        out,
        "| | how many | bytes for each | µs for a message, all in turn | µs for a message, one alone |\n\
         |---|---:|---:|---:|---:|"
    )?;
    for count in [1, 100, 10_000] {
        writeln!(out, "{}", block_on(producers(&url, count))?)?;
    }
    for count in [1, 100, 2_000] {
        writeln!(out, "{}", block_on(consumers(&url, count))?)?;
    }
    for count in [1, 100, 2_000] {
        writeln!(out, "{}", block_on(channels(&url, count))?)?;
    }
    for count in [1, 20, 200] {
        writeln!(out, "{}", block_on(clients(&url, count))?)?;
    }
    Ok(())
}

/// A row of the table.
fn row(what: &str, count: usize, bytes: usize, all: Option<Duration>, one: Duration) -> String {
    let micros = |time: Duration| format!("{:.3}", time.as_secs_f64() * 1e6);
    let all = all.map_or(String::new(), micros);
    let each = bytes / count;
    format!("| {what} | {count} | {each} | {all} | {} |", micros(one))
}

async fn connect(url: &str) -> Result<Client> {
    Ok(Client::connect(url).await?)
}

async fn producers(url: &str, count: usize) -> Result<String> {
    let client = connect(url).await?;
    client.producer(QUEUE)?.build().send("first").await?;
    let before = held();
    let producers: Vec<_> = (0..count)
        .map(|_| Ok(client.producer(QUEUE)?.build()))
        .collect::<Result<_>>()?;
    try_join_all(producers.iter().map(|it| it.send("first"))).await?;
    let bytes = held() - before;
    let all = time_of_a_message(&producers).await?;
    let one = time_of_a_message(&producers[..1]).await?;
    drop(producers);
    client.close().await;
    Ok(row("producers", count, bytes, Some(all), one))
}

async fn consumers(url: &str, count: usize) -> Result<String> {
    beside("consumers that wait", url, count, async |client| {
        let consumers = (0..count).map(|_| Ok(client.consumer(IDLE_QUEUE)?.start()));
        let consumers = consumers.collect::<Result<Vec<_>>>()?;
        Ok(try_join_all(consumers).await?)
    })
    .await
}

async fn channels(url: &str, count: usize) -> Result<String> {
    beside("channels", url, count, async |client| {
        Ok(try_join_all((0..count).map(|_| client.channel())).await?)
    })
    .await
}

/// The row of what is only there, while one producer publishes.
async fn beside<T>(
    what: &str,
    url: &str,
    count: usize,
    make: impl AsyncFnOnce(&Client) -> Result<Vec<T>>,
) -> Result<String> {
    let client = connect(url).await?;
    let producer = client.producer(QUEUE)?.build();
    producer.send("first").await?;
    let before = held();
    let made = make(&client).await?;
    let bytes = held() - before;
    let one = time_of_a_message(&[producer]).await?;
    drop(made);
    client.close().await;
    Ok(row(what, count, bytes, None, one))
}

/// Each with a thread for its driver, and a connection for publishing.
async fn clients(url: &str, count: usize) -> Result<String> {
    let before = held();
    let clients = try_join_all((0..count).map(|_| Client::connect(url))).await?;
    let producers: Vec<_> = clients
        .iter()
        .map(|client| Ok(client.producer(QUEUE)?.build()))
        .collect::<Result<_>>()?;
    try_join_all(producers.iter().map(|it| it.send("first"))).await?;
    let bytes = held() - before;
    let all = time_of_a_message(&producers).await?;
    let one = time_of_a_message(&producers[..1]).await?;
    drop(producers);
    for client in clients {
        client.close().await;
    }
    Ok(row("clients", count, bytes, Some(all), one))
}

/// Processor time for a message, confirmed, where each of these publishes one after the other.
async fn time_of_a_message(producers: &[Producer]) -> Result<Duration> {
    let mut unconfirmed = VecDeque::with_capacity(IN_FLIGHT);
    let before = processor_time();
    for producer in producers.iter().cycle().take(MESSAGES) {
        if unconfirmed.len() == IN_FLIGHT
            && let Some(oldest) = unconfirmed.pop_front()
        {
            let oldest: snowshoe::Confirmation = oldest;
            oldest.await?;
        }
        unconfirmed.push_back(producer.publish("0123456789abcdef").await?);
    }
    for confirmation in unconfirmed {
        confirmation.await?;
    }
    Ok((processor_time() - before) / MESSAGES as u32)
}

/// Bytes that are allocated and not freed.
fn held() -> usize {
    let stats = ALLOCATOR.stats();
    stats.bytes_allocated - stats.bytes_deallocated
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec as u64, time.tv_nsec as u32)
}
