//! What handles and futures that come and go during an outage leave behind in memory. It is measured for
//! the whole process, so there is one test in this file.

use std::pin::pin;

use futures_lite::future::{self, poll_once};
use peak_alloc::PeakAlloc;
use snowshoe::codec::method::tx;
use snowshoe::testing::{BrokerOptions, Server};
use snowshoe::{Channel, Client, Connecting, Driver, Error, Reconnect, Runtime, Target};
use support::client;
use support::executor;
use support::waiting::run;

#[global_allocator]
static ALLOCATOR: PeakAlloc = PeakAlloc;

/// How many come and go.
const COUNT: usize = 20_000;

/// The most that there may be of a producer that was dropped, beyond the body of its one message.
const PRODUCER: usize = 1280;

/// A client that has no connection, and waits for one for ever.
struct Outage {
    client: Client,
    driver: Driver,
}

impl Outage {
    fn new() -> Self {
        let patient = Reconnect::default().fail_fast(false);
        let dial = |_: &Target, _: &std::sync::Arc<dyn Runtime>| -> Connecting {
            Box::pin(std::future::pending())
        };
        let builder = client::builder("amqp://localhost").reconnect(patient);
        let (client, driver) = executor::build(builder.connector(dial));
        Self { client, driver }
    }

    /// A client whose broker reads nothing more from the channel that it has, which is full.
    async fn of_one_who_reads_nothing() -> (Self, Channel, Server) {
        let server = Server::in_memory(BrokerOptions::default());
        let (client, mut driver) = executor::build(server.client());
        let opened = async { client.channel().await };
        let ended = async {
            (&mut driver).await;
            Err(Error::Closed)
        };
        let channel = future::or(opened, ended).await.unwrap();
        server.stop_reading();
        (Self { client, driver }, channel, server)
    }

    /// How many bytes are left of each of many, once everything has been as full as it gets.
    async fn left_of_each(&mut self, work: impl AsyncFn(&Client)) -> usize {
        self.repeat(&work).await;
        let before = ALLOCATOR.current_usage();
        self.repeat(&work).await;
        ALLOCATOR.current_usage().saturating_sub(before) / COUNT
    }

    async fn repeat(&mut self, work: &impl AsyncFn(&Client)) {
        for number in 0..COUNT {
            work(&self.client).await;
            if number % 100 == 99 {
                assert!(poll_once(&mut self.driver).await.is_none());
            }
        }
    }
}

// case G4
#[test]
fn what_comes_and_goes_in_an_outage_leaves_no_more_than_the_messages_that_were_accepted() {
    run(async {
        let mut outage = Outage::new();
        let full = outage.client.producer("any").unwrap().capacity(1).build();
        drop(full.try_publish("waits for ever").unwrap());
        let flush = outage.left_of_each(async |_| {
            let mut flushed = pin!(full.flushed());
            assert!(poll_once(&mut flushed).await.is_none());
        });
        let flush = flush.await;
        let publish = outage.left_of_each(async |_| {
            let mut publish = pin!(full.publish("waits for room"));
            assert!(poll_once(&mut publish).await.is_none());
        });
        let publish = publish.await;
        let idle =
            outage.left_of_each(async |client| drop(client.producer("any").unwrap().build()));
        let idle = idle.await;
        let producer = outage.left_of_each(async |client| {
            let producer = client.producer("any").unwrap().build();
            drop(producer.try_publish("a message").unwrap());
        });
        let producer = producer.await;
        eprintln!(
            "bytes left of a flush: {flush}, a publish: {publish}, a producer: {idle}, with a message: {producer}"
        );
        assert_eq!([flush, publish, idle], [0; 3]);
        assert!(producer < PRODUCER, "{producer} bytes");
        drop((full, outage));

        let (mut outage, channel, _server) = Outage::of_one_who_reads_nothing().await;
        let publish = outage.left_of_each(async |_| {
            let mut publish = pin!(channel.publish("", "any", "a message"));
            assert!(poll_once(&mut publish).await.is_none());
        });
        let publish = publish.await;
        let call = outage.left_of_each(async |_| {
            let mut call = pin!(channel.call(tx::Select));
            assert!(poll_once(&mut call).await.is_none());
        });
        let call = call.await;
        eprintln!("bytes left of a publish by hand: {publish}, a call by hand: {call}");
        assert_eq!([publish, call], [0; 2]);
    });
}
