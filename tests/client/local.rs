//! Programs without an executor, on one thread with the drivers of their clients.

use std::thread;

use futures_lite::future::zip;
use snowshoe::runtime::Local;
use snowshoe::{Client, ClientBuilder, Error, Queue};
use support::broker::url;
use support::proxy::{End, Proxy};
use support::queues::unique;

type Failure = Box<dyn std::error::Error + Send + Sync>;

type Done = Result<(), Failure>;

fn local() -> Local {
    Local::new().expect("there are descriptors")
}

fn builder(local: &Local, url: &str) -> ClientBuilder {
    let builder = Client::builder(url).expect("it is a URI");
    builder.runtime(local.runtime())
}

/// Sends so many messages one after the other through a queue of its own, and takes each.
async fn ping(client: &Client, messages: u32) -> Done {
    let queue = unique("local");
    client
        .declare(Queue::new(queue.clone()).exclusive())
        .await?;
    let producer = client.producer(queue.clone())?.build();
    let mut consumer = client.consumer(queue)?.start().await?;
    for number in 0..messages {
        producer.send(number.to_string()).await?;
        let delivery = consumer.next().await.expect("it goes on");
        assert_eq!(delivery.body(), number.to_string().as_bytes());
        delivery.ack()?;
    }
    Ok(())
}

#[test]
fn a_program_and_its_clients_share_a_thread() {
    for single in [false, true] {
        let mut local = local();
        let builder = builder(&local, &url()).single_connection(single);
        let program = async {
            let here = thread::current().id();
            let client = builder.connect().await?;
            ping(&client, 100).await?;
            assert_eq!(thread::current().id(), here);
            client.close().await;
            Ok::<_, Failure>(())
        };
        local.block_on(program).expect("it can wait").unwrap();
    }
}

#[test]
fn clients_come_back_as_anywhere_else() {
    let proxy = Proxy::start(&url());
    let mut local = local();
    let builder = builder(&local, &proxy.url());
    let program = async {
        let client = builder.connect().await?;
        for _ in 0..3 {
            ping(&client, 10).await?;
            proxy.all().end(End::Reset);
        }
        ping(&client, 10).await
    };
    local.block_on(program).expect("it can wait").unwrap();
}

#[test]
fn clients_go_on_with_the_next_program_and_several_run_side_by_side() {
    let mut local = local();
    let builders = [builder(&local, &url()), builder(&local, &url())];
    let clients = local.block_on(async {
        let [first, second] = builders;
        zip(first.connect(), second.connect()).await
    });
    let (first, second) = clients.expect("it can wait");
    let (first, second) = (first.unwrap(), second.unwrap());
    let both = local.block_on(zip(ping(&first, 50), ping(&second, 50)));
    let (one, other) = both.expect("it can wait");
    one.unwrap();
    other.unwrap();
}

#[test]
fn the_next_program_may_be_on_another_thread() {
    let proxy = Proxy::start(&url());
    let mut local = local();
    let builder = builder(&local, &proxy.url());
    let client = local.block_on(builder.connect()).expect("it can wait");
    let client = client.unwrap();
    let elsewhere = thread::spawn(move || {
        proxy.all().end(End::Reset);
        local.block_on(ping(&client, 10)).expect("it can wait")
    });
    elsewhere.join().expect("it does not panic").unwrap();
}

#[test]
fn messages_come_from_other_threads_too() {
    let mut local = local();
    let builder = builder(&local, &url());
    let program = async {
        let client = builder.connect().await?;
        let queue = unique("local");
        client
            .declare(Queue::new(queue.clone()).exclusive())
            .await?;
        let producer = client.producer(queue.clone())?.build();
        let elsewhere = thread::spawn(move || {
            for number in 0..100 {
                futures_lite::future::block_on(producer.send(number.to_string()))?;
            }
            Ok::<_, Failure>(())
        });
        let mut consumer = client.consumer(queue)?.start().await?;
        for _ in 0..100 {
            consumer.next().await.expect("it goes on").ack()?;
        }
        elsewhere.join().expect("it does not panic").unwrap();
        Ok::<_, Failure>(())
    };
    local.block_on(program).expect("it can wait").unwrap();
}

#[test]
fn what_is_not_run_any_more_has_ended() {
    let mut local = local();
    let (first, second) = (builder(&local, &url()), builder(&local, &url()));
    let client = local
        .block_on(first.connect())
        .expect("it can wait")
        .unwrap();
    drop(local);
    let declared = futures_lite::future::block_on(client.declare(Queue::new(unique("local"))));
    assert!(matches!(declared, Err(Error::Closed)), "{declared:?}");
    let connected = futures_lite::future::block_on(second.connect());
    let error = connected.expect_err("nobody runs its driver");
    assert!(error.to_string().contains("dropped"), "{error}");
}
