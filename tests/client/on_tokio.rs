//! A client that was told to run on tokio: whose runtime it uses, and what it does without one.
//!
//! What a client does wherever it runs is in the other modules, for which `SNOWSHOE_TEST_EXECUTOR`
//! can name tokio.

use std::sync::Arc;
use std::time::Duration;

use futures_lite::FutureExt as _;
use futures_lite::future::block_on;
use snowshoe::codec::CloseReason;
use snowshoe::runtime::Tokio;
use snowshoe::testing::{BrokerOptions, Server};
use snowshoe::{
    Client, ClientBuilder, ConnectionErrorReason, Connector, Event, Events, Queue, Reconnect,
    Runtime, Target, TcpConnector,
};
use tokio::runtime::Runtime as TokioRuntime;
use tokio::time::{Instant, timeout};

const PATIENCE: Duration = Duration::from_secs(60);

fn listening() -> Server {
    Server::listen(BrokerOptions::default()).expect("there is a free port")
}

fn builder(server: &Server) -> ClientBuilder {
    let patient = Reconnect::default()
        .initial_delay(Duration::from_millis(5))
        .max_delay(Duration::from_millis(20))
        .fail_fast(false);
    server.client().reconnect(patient).runtime(Tokio)
}

async fn attempt(events: &mut Events) -> u32 {
    loop {
        let event = events.next().await.expect("the client has not ended");
        if let Event::Reconnecting { attempt, .. } = event {
            return attempt;
        }
    }
}

async fn use_it(client: &Client) {
    let queue = client.declare(Queue::server_named()).await.unwrap().name;
    let producer = client.producer(queue.clone()).unwrap().build();
    producer.send("hello").await.unwrap();
    let mut consumer = client.consumer(queue).unwrap().start().await.unwrap();
    consumer.next().await.unwrap().ack().unwrap();
}

#[tokio::test]
async fn a_client_that_connects_in_a_runtime_has_its_driver_there() {
    let server = listening();
    let tasks = || {
        tokio::runtime::Handle::current()
            .metrics()
            .num_alive_tasks()
    };
    let before = tasks();
    let client = timeout(PATIENCE, builder(&server).connect());
    let client = client.await.expect("in time").expect("a server");
    assert_eq!(tasks(), before + 1);
    use_it(&client).await;
    client.close().await;
}

#[test]
fn connecting_outside_of_a_runtime_is_refused_with_the_reason() {
    let server = listening();
    let error = block_on(builder(&server).connect()).unwrap_err();
    assert!(error.to_string().contains("no runtime of tokio"), "{error}");
    assert!(server.connections().is_empty());
}

#[test]
fn a_driver_outside_of_a_runtime_goes_on_trying_and_connects_once_it_is_in_one() {
    let server = listening();
    let (client, mut driver) = builder(&server).build();
    let mut events = client.events();
    let tried = async { while attempt(&mut events).await < 4 {} };
    block_on(tried.or(&mut driver));
    assert!(server.connections().is_empty());

    TokioRuntime::new().unwrap().block_on(async {
        tokio::spawn(driver);
        timeout(PATIENCE, client.ready()).await.unwrap().unwrap();
        use_it(&client).await;
        client.close().await;
    });
}

#[tokio::test]
async fn a_client_comes_back_from_a_reset() {
    let server = listening();
    let client = builder(&server).connect().await.unwrap();
    for _ in 0..3 {
        let mut events = client.events();
        server.reset_all();
        timeout(PATIENCE, attempt(&mut events)).await.unwrap();
        timeout(PATIENCE, use_it(&client)).await.unwrap();
    }
}

#[tokio::test]
async fn a_connector_of_the_users_goes_through_tokio_if_it_passes_on_its_runtime() {
    let server = listening();
    let elsewhere = |target: &Target, runtime: &Arc<dyn Runtime>| {
        let mut target = target.clone();
        target.host = "127.0.0.1".to_owned();
        TcpConnector::default().connect(&target, runtime)
    };
    let client = builder(&server).connector(elsewhere).connect().await;
    use_it(&client.unwrap()).await;
}

/// Time passes whenever everybody waits.
#[tokio::test(start_paused = true)]
async fn a_broker_that_falls_silent_is_given_up_by_the_time_of_the_runtime() {
    // Its own time is the system's: it says nothing for as long as this test takes.
    let server = Server::in_memory(BrokerOptions::default());
    let client = builder(&server).connect().await.unwrap();
    let (mut events, began) = (client.events(), Instant::now());
    let lost = async {
        loop {
            if let Event::Disconnected { cause, .. } = events.next().await.unwrap() {
                return cause;
            }
        }
    };
    let cause = timeout(PATIENCE, lost).await.expect("in time");
    let silent = ConnectionErrorReason::Closed(CloseReason::HeartbeatTimeout);
    assert_eq!(cause.reason.to_string(), silent.to_string());
    let waited = began.elapsed().as_secs();
    assert!((19..=22).contains(&waited), "{waited} s");
}

#[tokio::test(start_paused = true)]
async fn closing_takes_no_longer_than_it_may_by_the_time_of_the_runtime() {
    let server = Server::in_memory(BrokerOptions::default());
    let client = builder(&server).connect().await.unwrap();
    let queue = client.declare(Queue::new("orders")).await.unwrap().name;
    let producer = client.producer(queue).unwrap().build();
    producer.send("first").await.unwrap();
    server.stop_reading();
    let late = producer.publish("late").await.unwrap();
    let began = Instant::now();
    let report = client.close_within(Duration::from_secs(4)).await;
    assert_eq!(report.undelivered.len(), 1);
    assert!(late.await.is_err());
    let took = began.elapsed().as_millis();
    assert!((2900..=4100).contains(&took), "{took} ms");
}

/// As long as this lasts by the clock of the test, it takes no time by that of the runtime.
#[tokio::test]
async fn on_tokio_too_a_test_can_rule_the_clock() {
    let clock = snowshoe::testing::Clock::new();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let (client, driver) = server.client().build();
    tokio::spawn(driver);
    client.ready().await.unwrap();
    let producer = client.producer("orders").unwrap().build();
    server.stop_reading();
    let late = producer.try_publish("late").unwrap();
    let passing = async {
        loop {
            clock.advance(Duration::from_secs(1));
            tokio::task::yield_now().await;
        }
    };
    let closing = client.close_within(Duration::from_secs(600));
    timeout(PATIENCE, closing.or(passing))
        .await
        .expect("in time");
    assert!(late.await.is_err());
}
