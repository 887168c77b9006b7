//! The main job on every executor: connect, publish, consume, come back after an outage, close.

use futures_lite::future::zip;
use snowshoe::{Client, ConnectionRole};
use support::broker::url;
use support::client;
use support::events::recovered;
use support::executor::Executor;
use support::messages::{self, number, numbered};
use support::proxy::{End, Proxy};
use support::queues::fresh_queue;
use support::waiting::{run, within};

/// How many messages are published before the outage, and after it.
const MESSAGES: u64 = 2000;

async fn do_the_main_job(executor: Executor) {
    let proxy = Proxy::start(&url());
    let builder = client::builder(&proxy.url());
    let (client, driver) = executor.build(builder);
    let (completed, completion) = async_channel::bounded::<()>(1);
    executor.spawn(async move {
        driver.await;
        drop(completed);
    });
    within("the connection", client.ready()).await.unwrap();
    let queue = fresh_queue(&client).await;
    let producer = client.producer(queue.clone()).unwrap().build();
    let mut consumer = client.consumer(queue).unwrap().start().await.unwrap();

    let publish = async {
        for number in 0..MESSAGES {
            drop(producer.publish(numbered(number, 100)).await.unwrap());
        }
        cut_and_wait(&proxy, &client).await;
        for number in MESSAGES..2 * MESSAGES {
            drop(producer.publish(numbered(number, 100)).await.unwrap());
        }
        producer.flushed().await;
    };
    let consume = async {
        let mut next = 0;
        while next < 2 * MESSAGES {
            let delivery = consumer.next().await.unwrap();
            let number = number(&delivery);
            assert!(number <= next, "{number} before {next}");
            // What the outage made stale is delivered again.
            _ = delivery.ack();
            next = next.max(number + 1);
        }
    };
    within("all messages", zip(publish, consume)).await;

    let report = within("the close", client.close()).await;
    assert!(report.undelivered.is_empty());
    let completed = within("the driver", completion.recv()).await;
    assert!(completed.is_err(), "it sends nothing");
}

/// Resets all connections, and waits until the client is back.
async fn cut_and_wait(proxy: &Proxy, client: &Client) {
    let (mut main, mut publishing) = (client.events(), client.events());
    proxy.all().end(End::Reset);
    recovered(&mut main, ConnectionRole::Main).await;
    recovered(&mut publishing, ConnectionRole::Publishing).await;
}

#[test]
fn on_a_thread_of_its_own() {
    run(do_the_main_job(Executor::Thread));
}

#[test]
fn on_smol() {
    run(do_the_main_job(Executor::Smol));
}

#[test]
fn on_async_std() {
    run(do_the_main_job(Executor::AsyncStd));
}

#[test]
fn on_tokio_with_one_thread() {
    run(do_the_main_job(Executor::TokioCurrentThread));
}

#[test]
fn on_tokio_with_several_threads() {
    run(do_the_main_job(Executor::TokioMultiThread));
}

#[test]
fn on_tokio_with_one_thread_and_its_sockets() {
    run(do_the_main_job(Executor::TokioCurrentThreadNative));
}

#[test]
fn on_tokio_with_several_threads_and_its_sockets() {
    run(do_the_main_job(Executor::TokioMultiThreadNative));
}

/// An executor that runs its tasks on the thread of the test, and on no other.
#[test]
fn on_the_thread_that_publishes_and_consumes() {
    let executor = smol::LocalExecutor::new();
    let (client, driver) = client::builder(&url()).build();
    let driver = executor.spawn(driver);
    let job = async {
        client.ready().await.unwrap();
        let queue = fresh_queue(&client).await;
        let producer = client.producer(queue.clone()).unwrap().build();
        let mut consumer = client.consumer(queue).unwrap().start().await.unwrap();
        for number in 0..100 {
            producer.send(numbered(number, 100)).await.unwrap();
            let delivery = consumer.next().await.unwrap();
            assert_eq!(messages::number(&delivery), number);
            delivery.ack().unwrap();
        }
        client.close().await;
        driver.await;
    };
    run(executor.run(job));
}
