//! Requests and their answers: a service that knows prices, and a program that asks it.
//!
//! Eight requests are handled at a time, each for a while, and twenty are asked at once. A product that is
//! not for sale has an answer, too, and one that makes the handler fail is tried again. The service is
//! closed as it would be on a signal: what it works on is answered first.
//!
//!     cargo run --example rpc
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::zip;
use snowshoe::{Client, Delivery, Queue, RequestError, Requester, Served};

const PRICES: &str = "prices";

fn main() -> Result<(), Box<dyn Error>> {
    futures_lite::future::block_on(run())
}

async fn run() -> Result<(), Box<dyn Error>> {
    let (url, _server) = broker::find()?;
    // Two programs, as a rule.
    let (service, program) = zip(Client::connect(&url), Client::connect(&url)).await;
    let (service, program) = (service?, program?);
    service.declare(Queue::new(PRICES)).await?;
    let asking = async {
        let asked = ask(&program).await;
        program.close().await;
        service.close().await;
        asked
    };
    let (served, asked) = zip(serve(&service), asking).await;
    let served = served?;
    println!("{} replies, {} failed", served.replied, served.failed);
    asked
}

/// The service. It ends when its client is closed.
async fn serve(client: &Client) -> Result<Served, snowshoe::Error> {
    let mut prices = client.consumer(PRICES)?.start().await?;
    Ok(prices.serve(8, price).await)
}

/// What it returns is the reply. With `Err` there is none, and the request is tried again.
async fn price(request: Delivery) -> Result<String, &'static str> {
    Timer::after(Duration::from_millis(50)).await;
    let product = String::from_utf8_lossy(request.body());
    match product.strip_prefix("product ").map(str::parse::<u32>) {
        Some(Ok(13)) => Ok("not for sale".to_owned()),
        Some(Ok(7)) if !request.is_redelivered() => Err("the database is busy"),
        Some(Ok(number)) => Ok(format!("{}.{:02}", number / 4, number % 4 * 25)),
        _ => Ok("no such product".to_owned()),
    }
}

/// The program that asks.
async fn ask(client: &Client) -> Result<(), Box<dyn Error>> {
    let requester = client.requester().timeout(Duration::from_secs(10));
    let requester = requester.start().await?;
    let executor = async_executor::LocalExecutor::new();
    let asking: Vec<_> = (1..=20)
        .map(|product| executor.spawn(price_of(&requester, product)))
        .collect();
    let prices = executor.run(async {
        let mut prices = Vec::new();
        for price in asking {
            prices.push(price.await);
        }
        prices
    });
    for (product, price) in (1..).zip(prices.await) {
        println!("product {product}: {}", price?);
    }

    // Nobody serves this: that is told at once.
    match requester.request("pricse", "product 1").await {
        Ok(_) => println!("somebody serves that"),
        Err(error) if !error.possibly_done => println!("not asked: {error}"),
        Err(error) => println!("perhaps asked: {error}"),
    }
    Ok(())
}

/// To ask twice does no harm, so it is asked again where the connection is lost in between.
async fn price_of(requester: &Requester, product: u32) -> Result<String, RequestError> {
    let request = requester.request(PRICES, format!("product {product}"));
    let reply = request.idempotent().await?;
    Ok(String::from_utf8_lossy(reply.body()).into_owned())
}
