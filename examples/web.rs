//! A web service as a whole: what it answers `202 Accepted` to is with the broker, and what it cannot bring there in time it
//! answers with 503 and `Retry-After`. Its health is the client's, and on SIGTERM or Ctrl-C it takes no more requests,
//! answers those that it has, and closes the client.
//!
//!     cargo run --example web
//!     PORT=8080 cargo run --example web
//!     curl -i -H 'Idempotency-Key: 42' -d 'one bicycle' localhost:8080/orders
//!
//! The broker is the one that `AMQP_URL` names, by default one in memory. Without a `PORT` it makes some requests itself,
//! so that there is something to see, and stops; a service of yours does not.
#![allow(clippy::print_stdout, reason = "an example shows what it does")]

mod broker;

use std::error::Error;
use std::process::ExitCode;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header::RETRY_AFTER};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use snowshoe::runtime::Tokio;
use snowshoe::testing::Server;
use snowshoe::{BufferPolicy, Client, Message, Producer, Queue, Settings};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::{signal, time};

/// How long a request waits for the broker's confirm.
const DEADLINE: Duration = Duration::from_secs(1);

/// What is under way at a stop has so long to be answered, and then as long to reach the broker.
const DRAIN: Duration = Duration::from_secs(10);

#[tokio::main]
async fn main() -> Result<ExitCode, Box<dyn Error>> {
    let (url, server) = broker::find()?;
    // A service of yours reads them from a file (feature `serde`).
    let mut settings = Settings::default();
    settings.client.name = Some("shop".to_owned());
    settings.producers.content_type = Some("text/plain".to_owned());
    // Whoever waits for room in the buffer waits for his answer: rather an error at once.
    settings.producers.policy = Some(BufferPolicy::Error);
    settings.client.reconnect.fail_fast = Some(false);
    // It is not waited for: the broker may come later than the service, whose health tells of it meanwhile.
    let builder = Client::builder(&url)?.settings(settings)?;
    let (client, driver) = builder.runtime(Tokio).build();
    tokio::spawn(driver);
    // The queue is declared once the broker is there, and what does not get into it is no 202.
    let orders = client.producer(Queue::quorum("orders.created"))?;
    let orders = orders.name("orders")?.build();

    let port = std::env::var("PORT").ok();
    let address = ("127.0.0.1", port.as_deref().unwrap_or("0").parse()?);
    let listener = TcpListener::bind(address).await?;
    let address = listener.local_addr()?;
    println!("serving on http://{address}");
    let app = Router::new()
        .route("/orders", post(take_order).with_state(orders))
        .route("/health", get(health).with_state(client.clone()));
    let (stop, stopped) = oneshot::channel::<()>();
    let serving = axum::serve(listener, app).with_graceful_shutdown(async {
        stopped.await.ok();
    });
    let serving = tokio::spawn(serving.into_future());

    let visits = async {
        match port {
            Some(_) => std::future::pending().await,
            None => visit(&address.to_string(), server.as_ref()).await,
        }
    };
    tokio::select! {
        visited = visits => visited?,
        () = terminated() => {}
    }

    println!("stopping: no more requests, and those that there are come to their end");
    stop.send(()).ok();
    let answered = time::timeout(DRAIN, serving).await.is_ok();
    let report = client.close_within(DRAIN).await;
    println!("{} events left", report.undelivered.len());
    match answered && report.undelivered.is_empty() {
        true => Ok(ExitCode::SUCCESS),
        false => Ok(ExitCode::FAILURE),
    }
}

/// `POST /orders`: once it is accepted, the event is with the broker.
///
/// Where the deadline is over, the event stays in the producer's buffer, and goes out once it can. Who asks again makes
/// a second one then; the key in its `message_id` tells its consumers that both are the same.
async fn take_order(State(orders): State<Producer>, headers: HeaderMap, order: Bytes) -> Response {
    let mut event = Message::new(order);
    if let Some(key) = headers.get("idempotency-key") {
        event = event.message_id(key);
    }
    if let Err(error) = event.check() {
        return (
            StatusCode::BAD_REQUEST,
            format!("Idempotency-Key: {error}\n"),
        )
            .into_response();
    }
    let reason = match time::timeout(DEADLINE, orders.send(event)).await {
        Ok(Ok(())) => return StatusCode::ACCEPTED.into_response(),
        Ok(Err(error)) => error.to_string(),
        Err(_) => "the broker has not confirmed it in time".to_owned(),
    };
    let again = [(RETRY_AFTER, "2")];
    (
        StatusCode::SERVICE_UNAVAILABLE,
        again,
        format!("{reason}\n"),
    )
        .into_response()
}

/// `GET /health`: whether the service can do its work now. (Whether it is to be restarted is `is_alive`.)
async fn health(State(client): State<Client>) -> impl IntoResponse {
    let state = client.state();
    let code = match state.is_ready() {
        true => StatusCode::OK,
        false => StatusCode::SERVICE_UNAVAILABLE,
    };
    (code, format!("{state}\n"))
}

/// Completes on SIGTERM or Ctrl-C.
async fn terminated() {
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
        () = sigterm => {}
        _ = signal::ctrl_c() => {}
    }
}

/// Some requests to see, by hand, as their answers come. A broker in memory stops reading for a while.
async fn visit(address: &str, server: Option<&Server>) -> Result<(), Box<dyn Error>> {
    let order = "POST /orders HTTP/1.1\r\nIdempotency-Key: 42\r\nContent-Length: 11\r\n";
    assert_eq!(ask(address, order, "one bicycle").await?, 202);
    if let Some(server) = server {
        server.stop_reading();
        assert_eq!(ask(address, order, "one bicycle").await?, 503);
        server.resume_reading();
        assert_eq!(ask(address, order, "one bicycle").await?, 202);
    }
    assert_eq!(ask(address, "GET /health HTTP/1.1\r\n", "").await?, 200);
    Ok(())
}

/// The status of the answer, which it prints.
async fn ask(address: &str, head: &str, body: &str) -> Result<u16, Box<dyn Error>> {
    let mut stream = TcpStream::connect(address).await?;
    let request = format!("{head}Host: {address}\r\nConnection: close\r\n\r\n{body}");
    stream.write_all(request.as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    println!("> {}\n{answer}", head.lines().next().unwrap_or_default());
    let status = answer.split(' ').nth(1).ok_or("this is no answer")?;
    Ok(status.parse()?)
}
