//! A worker as a whole: it tries orders that fail again, with growing delays, puts aside those that go on failing, and
//! comes to an orderly end on SIGTERM or Ctrl-C.
//!
//!     cargo run --example worker
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory. So that there is something to see, it publishes
//! some orders itself, and stops when it is through with them; a worker of yours has neither.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;
use std::time::Duration;

use snowshoe::{Client, Delivery, Outcome, Queue, Retry};
use tokio::signal;
use tokio::sync::mpsc;

const ORDERS: [&str; 4] = ["a bicycle", "a tandem", "a unicycle", "nothing"];

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    let client = Client::connect(&url).await?;

    // Four attempts, 100, 200 and 300 ms apart; then the order goes to `orders.dead`, with the reason in its headers.
    let retry = Retry::attempts(4).delay(Duration::from_millis(100), Duration::from_secs(60));
    client
        .declare(Queue::quorum("orders").retry(&retry))
        .await?;
    let producer = client.producer("orders")?.build();
    for order in ORDERS {
        producer.send(order).await?;
    }

    let builder = client.consumer("orders")?.retry(retry).concurrency(16);
    let mut orders = builder.start().await?;
    let (done, through) = mpsc::channel(ORDERS.len());
    let handling = orders.process_spawned(
        16,
        |task| drop(tokio::spawn(task)),
        |order| work_on(order, done.clone()),
    );
    let ending = async {
        terminated(through).await;
        println!("stopping: what is worked on is finished first");
        // No order begins any more, those that run are acknowledged, and the rest goes back to the queue.
        client.close_within(Duration::from_secs(20)).await
    };
    let (handled, report) = tokio::join!(handling, ending);
    println!(
        "{} attempts, {} cut off, {} messages left",
        handled.finished,
        handled.cut_off,
        report.undelivered.len()
    );
    Ok(())
}

/// What it returns is what becomes of the order; an error would be a failed attempt.
async fn work_on(order: Delivery, done: mpsc::Sender<()>) -> Outcome {
    let name = String::from_utf8_lossy(order.body());
    let attempt = order.attempt();
    println!("attempt {attempt} at {name}");
    let outcome = match &*name {
        "a tandem" if attempt < 3 => return Outcome::retry().because("it is being assembled"),
        "a unicycle" if attempt < 4 => return Outcome::retry().because("one wheel is missing"),
        "a unicycle" => Outcome::retry().because("one wheel is missing, still"),
        "nothing" => Outcome::dead_letter().because("there is nothing to sell"),
        _ => Outcome::done(),
    };
    done.send(()).await.ok();
    outcome
}

/// Completes on SIGTERM or Ctrl-C, or when all orders are through.
async fn terminated(mut through: mpsc::Receiver<()>) {
    let all = async {
        for _ in ORDERS {
            through.recv().await;
        }
    };
    #[cfg(unix)]
    let sigterm = async {
        match signal::unix::signal(signal::unix::SignalKind::terminate()) {
            Ok(mut signal) => _ = signal.recv().await,
            Err(_) => std::future::pending().await,
        }
    };
    #[cfg(not(unix))]
    let sigterm = std::future::pending::<()>();
    tokio::select! {
        () = all => {}
        () = sigterm => {}
        _ = signal::ctrl_c() => {}
    }
}
