//! A client on tokio starts nothing of `async-io`'s. That is seen by the threads of the whole
//! process, so there is one test in this file.

use std::fs;
use std::time::Duration;

use snowshoe::runtime::Tokio;
use snowshoe::{Client, ClientBuilder};
use support::distant_broker;

fn has_thread(name: &str) -> bool {
    let threads = fs::read_dir("/proc/self/task").expect("this is Linux");
    let is_it = |thread: fs::DirEntry| {
        // One that has ended since is not meant.
        let named = fs::read_to_string(thread.path().join("comm")).unwrap_or_default();
        named.trim() == name
    };
    threads.flatten().any(is_it)
}

async fn connect_and_use(builder: ClientBuilder) {
    let (client, driver) = builder.build();
    let driver = tokio::spawn(driver);
    client.ready().await.unwrap();
    let producer = client.producer("any").unwrap().build();
    producer.send("hello").await.unwrap();
    let consumer = client.consumer("feed-3").unwrap();
    let mut consumer = consumer.start().await.unwrap();
    for _ in 0..3 {
        consumer.next().await.unwrap().ack().unwrap();
    }
    client.close().await;
    driver.await.unwrap();
}

#[tokio::test]
async fn a_client_on_tokio_starts_no_thread_of_another_executor() {
    let uri = format!(
        "amqp://guest:guest@localhost:{}",
        distant_broker::start().port()
    );
    let builder = || Client::builder(&uri).unwrap();
    let job = connect_and_use(builder().runtime(Tokio));
    tokio::time::timeout(Duration::from_secs(60), job)
        .await
        .unwrap();
    assert!(!has_thread("async-io"));

    // It would have been seen.
    connect_and_use(builder()).await;
    assert!(has_thread("async-io"));
}
