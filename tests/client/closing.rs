//! The end of a client: closed in order, closed while the network fails, dropped, or left without
//! its driver.

use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_lite::FutureExt as _;
use futures_lite::future::{pending, poll_once, zip};
use snowshoe::codec::method::tx;
use snowshoe::{
    Client, Confirmation, Connecting, ConsumerEnd, Driver, DropReason, Error, Message,
    PublishErrorReason, Reconnect, Runtime, Settled, ShortString, Target, UnconfirmedReason,
};
use support::broker::url;
use support::cable::Cable;
use support::client::{self, connect};
use support::executor;
use support::messages::{numbered, text};
use support::proxy::{Proxy, To};
use support::queues::{
    declare_empty, fresh_queue, new_queue, publish, take_bodies, take_numbers, until_ready,
    with_queue,
};
use support::waiting::{run, within};

/// A deadline that is over soon.
const SOON: Duration = Duration::from_millis(100);

/// So long may a close take beyond its deadline, on a busy machine.
const GRACE: Duration = Duration::from_secs(5);

/// Closes a client by a deadline; the bodies that were not delivered.
async fn close_soon(client: &Client) -> Vec<String> {
    let start = Instant::now();
    let report = within("the close", client.close_within(SOON)).await;
    assert!(start.elapsed() < SOON + GRACE, "{:?}", start.elapsed());
    bodies(&report.undelivered)
}

fn bodies(messages: &[Message]) -> Vec<String> {
    messages
        .iter()
        .map(|message| text(message.body()))
        .collect()
}

/// What was left in a queue by a client that is closed.
async fn left_in(queue: &ShortString) -> Vec<String> {
    take_bodies(&connect(&url()).await, queue).await
}

fn closed(possibly_stored: bool) -> Result<(), (UnconfirmedReason, bool)> {
    let reason = UnconfirmedReason::Dropped(DropReason::Closed);
    Err((reason, possibly_stored))
}

/// How a message ended, and whether the broker may have it all the same.
async fn outcome(confirmation: Confirmation) -> Result<(), (UnconfirmedReason, bool)> {
    let outcome = within("the outcome", confirmation).await;
    outcome.map_err(|it| (it.reason, it.possibly_stored))
}

/// A client that has no connection, and goes on trying for ever.
fn disconnected() -> Client {
    dialing(|_, _| Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) }))
}

/// A client that dials by this, for ever.
fn dialing(dial: fn(&Target, &Arc<dyn Runtime>) -> Connecting) -> Client {
    let patient = Reconnect::default().fail_fast(false);
    let builder = client::builder("amqp://localhost").reconnect(patient);
    let (client, driver) = executor::build(builder.connector(dial));
    executor::spawn(driver);
    client
}

#[test]
fn close_delivers_what_is_in_the_buffers() {
    run(async {
        let (client, queue) = with_queue().await;
        let confirming = client.producer(queue.clone()).unwrap().build();
        let other = client.producer(queue.clone()).unwrap();
        let fire_and_forget = other.fire_and_forget().build();
        let mut confirmations: Vec<Confirmation> = Vec::new();
        for _ in 0..500 {
            confirmations.push(confirming.try_publish("confirmed").unwrap());
            fire_and_forget.try_publish("written").unwrap();
        }
        let report = within("the close", client.close()).await;
        assert!(report.undelivered.is_empty());
        for confirmation in confirmations {
            confirmation.await.unwrap();
        }
        until_ready(&connect(&url()).await, &queue, 1000).await;
    });
}

#[test]
fn close_tells_what_was_not_delivered() {
    run(async {
        let mut cable = Cable::lay().await;
        let queue = fresh_queue(&cable.client).await;
        let builder = cable.client.producer(queue.clone()).unwrap();
        let producer = cable.first_producer(builder).await;
        cable.cut().await;
        let confirmations = ["1", "2", "3"].map(|body| producer.try_publish(body).unwrap());
        assert_eq!(close_soon(&cable.client).await, ["1", "2", "3"]);
        for confirmation in confirmations {
            assert_eq!(outcome(confirmation).await, closed(false));
        }
        assert!(left_in(&queue).await.is_empty());
    });
}

#[test]
fn close_tells_what_may_have_been_delivered() {
    run(async {
        let mut cable = Cable::lay().await;
        let queue = fresh_queue(&cable.client).await;
        let builder = cable.client.producer(queue.clone()).unwrap();
        let producer = cable.first_producer(builder).await;
        // Messages go through, confirms do not.
        cable.proxy.all().silence(To::Client);
        let confirmation = producer.try_publish("hello").unwrap();
        until_ready(&connect(&url()).await, &queue, 1).await;
        assert_eq!(close_soon(&cable.client).await, ["hello"]);
        assert_eq!(outcome(confirmation).await, closed(true));
    });
}

#[test]
fn a_closed_client_accepts_nothing_and_hands_messages_back() {
    run(async {
        let (client, queue) = with_queue().await;
        let confirming = client.producer(queue.clone()).unwrap().build();
        let builder = client.producer(queue.clone()).unwrap();
        let fire_and_forget = builder.fire_and_forget().build();
        let builder = client.producer(queue.clone()).unwrap();
        client.close().await;
        let too_late = builder.build();

        let errors = [
            confirming.publish("hello").await.map(drop).unwrap_err(),
            confirming.try_publish("hello").map(drop).unwrap_err(),
            fire_and_forget.publish("hello").await.unwrap_err(),
            too_late.publish("hello").await.map(drop).unwrap_err(),
        ];
        for error in errors {
            assert_eq!(error.reason, PublishErrorReason::Closed);
            assert_eq!(&error.message.body()[..], b"hello");
        }
        assert!(left_in(&queue).await.is_empty());
    });
}

// fault 22
#[test]
fn what_is_published_after_a_close_is_refused_and_handed_back() {
    const QUEUE: &str = "closing: published after it";
    run(async {
        let client = connect(&url()).await;
        declare_empty(&client, QUEUE).await;
        let producer = client.producer(QUEUE).unwrap().build();
        let forgetful = client.producer(QUEUE).unwrap().fire_and_forget().build();
        producer.send(numbered(1, 100)).await.unwrap();
        client.close().await;
        let refused = producer.try_publish(numbered(2, 100)).unwrap_err();
        assert_eq!(refused.reason, PublishErrorReason::Closed);
        assert_eq!(refused.message, numbered(2, 100));
        assert!(producer.publish(numbered(3, 100)).await.is_err());
        assert!(producer.send(numbered(4, 100)).await.is_err());
        assert!(forgetful.try_publish(numbered(5, 100)).is_err());
        assert!(forgetful.publish(numbered(6, 100)).await.is_err());
        assert_eq!(take_numbers(QUEUE).await, [1]);
    });
}

#[test]
fn a_closed_client_says_so_to_whatever_is_asked() {
    run(async {
        let (client, queue) = with_queue().await;
        let mut events = client.events();
        client.close().await;
        let is_closed = |error| matches!(error, Error::Closed);
        assert!(is_closed(client.declare(new_queue()).await.unwrap_err()));
        assert!(is_closed(
            client.purge_queue(queue.clone()).await.unwrap_err()
        ));
        assert!(is_closed(client.channel().await.unwrap_err()));
        let consumer = client.consumer(queue).unwrap();
        assert!(is_closed(consumer.start().await.unwrap_err()));
        let until_the_end = async { while events.next().await.is_some() {} };
        within("the last event", until_the_end).await;
        assert!(client.close().await.undelivered.is_empty());
    });
}

#[test]
fn a_publish_that_waits_for_room_gets_its_message_back() {
    run(async {
        let client = disconnected();
        let producer = client.producer("any").unwrap().capacity(1).build();
        let confirmation = producer.try_publish("1").unwrap();
        let mut waiting = Box::pin(producer.publish("2"));
        assert!(poll_once(&mut waiting).await.is_none());
        assert_eq!(close_soon(&client).await, ["1"]);
        let error = waiting.await.unwrap_err();
        assert_eq!(error.reason, PublishErrorReason::Closed);
        assert_eq!(&error.message.body()[..], b"2");
        assert_eq!(outcome(confirmation).await, closed(false));
    });
}

#[test]
fn a_producer_that_is_made_during_the_close_leaves_nobody_waiting() {
    run(async {
        let client = disconnected();
        let first = client.producer("any").unwrap().build();
        drop(first.try_publish("1").unwrap());
        let mut close = Box::pin(client.close_within(SOON));
        assert!(poll_once(&mut close).await.is_none());
        let producer = client.producer("any").unwrap().build();
        // The driver may not have heard of it yet.
        let mut left = vec!["1"];
        match producer.try_publish("2") {
            Ok(confirmation) => {
                assert_eq!(outcome(confirmation).await, closed(false));
                left.push("2");
            }
            Err(error) => assert_eq!(error.reason, PublishErrorReason::Closed),
        }
        let mut undelivered = bodies(&close.await.undelivered);
        undelivered.sort_unstable();
        assert_eq!(undelivered, left);
    });
}

#[test]
fn a_client_that_never_connected_can_be_closed() {
    run(async {
        let client = disconnected();
        let mut declare = Box::pin(client.declare(new_queue()));
        assert!(poll_once(&mut declare).await.is_none());
        assert!(close_soon(&client).await.is_empty());
        assert!(matches!(declare.await, Err(Error::Closed)));
        assert!(matches!(client.ready().await, Err(Error::Closed)));
    });
}

#[test]
fn what_was_acknowledged_before_the_close_stays_so() {
    run(async {
        let (client, queue) = with_queue().await;
        publish(&client, &queue, &["1", "2", "3", "4"]).await;
        let mut consumer = client
            .consumer(queue.clone())
            .unwrap()
            .start()
            .await
            .unwrap();
        for _ in 0..2 {
            consumer.next().await.unwrap().ack().unwrap();
        }
        let at_hand = consumer.next().await.unwrap();
        client.close().await;

        // It goes back, with all that were not handed out.
        assert_eq!(at_hand.ack(), Ok(Settled::Stale));
        assert!(consumer.next().await.is_none());
        assert!(matches!(consumer.end(), Some(ConsumerEnd::ClientClosed)));
        assert_eq!(left_in(&queue).await, ["3", "4"]);
    });
}

#[test]
fn several_may_close_a_client_at_once() {
    run(async {
        let client = disconnected();
        let producer = client.producer("any").unwrap().build();
        drop(producer.try_publish("hello").unwrap());
        // The earliest deadline counts.
        let clone = client.clone();
        let both = zip(clone.close(), client.close_within(SOON));
        let (first, second) = within("both", both).await;
        assert_eq!(bodies(&first.undelivered), ["hello"]);
        assert_eq!(bodies(&second.undelivered), ["hello"]);
    });
}

#[test]
fn a_close_that_nobody_waits_for_goes_on() {
    run(async {
        let proxy = Proxy::start(&url());
        let client = connect(&proxy.url()).await;
        let mut close = Box::pin(client.close());
        assert!(poll_once(&mut close).await.is_none());
        drop(close);
        proxy.wait_until("the connection is closed", |stats| stats.open() == 0);
    });
}

#[test]
fn the_driver_completes_once_its_client_is_closed() {
    run(async {
        let (client, driver) = executor::build(client::builder(&url()));
        let (completed, completion) = async_channel::bounded::<()>(1);
        executor::spawn(async move {
            driver.await;
            drop(completed);
        });
        client.ready().await.unwrap();
        client.close().await;
        let completed = within("the driver", completion.recv()).await;
        assert!(completed.is_err(), "it sends nothing");
    });
}

#[test]
fn a_client_closes_with_its_last_handle_and_delivers_what_it_has() {
    run(async {
        let proxy = Proxy::start(&url());
        let client = connect(&proxy.url()).await;
        let queue = fresh_queue(&client).await;
        let producer = client.producer(queue.clone()).unwrap().build();
        let mut consumer = client
            .consumer(queue.clone())
            .unwrap()
            .start()
            .await
            .unwrap();

        // Each of them is a handle, too.
        drop(client);
        producer.send("1").await.unwrap();
        let delivery = consumer.next().await.unwrap();
        drop(consumer);
        delivery.ack().unwrap();
        for body in ["2", "3"] {
            drop(producer.try_publish(body).unwrap());
        }
        drop(producer);
        proxy.wait_until("both connections are closed", |stats| {
            stats.links.len() == 2 && stats.open() == 0
        });
        assert_eq!(left_in(&queue).await, ["2", "3"]);
    });
}

// fault 17
#[test]
fn a_client_whose_driver_is_dropped_leaves_nobody_waiting() {
    run(async {
        let (client, driver) = executor::build(client::builder(&url()));
        let (stop, stopped) = async_channel::bounded::<()>(1);
        let (dropped, until_dropped) = async_channel::bounded::<()>(1);
        executor::spawn(async move {
            driver.or(async { _ = stopped.recv().await }).await;
            drop(dropped);
        });
        client.ready().await.unwrap();
        let queue = fresh_queue(&client).await;
        let mut events = client.events();
        let mut consumer = client
            .consumer(queue.clone())
            .unwrap()
            .start()
            .await
            .unwrap();
        let mut channel = client.channel().await.unwrap();
        let full = client.producer(queue.clone()).unwrap().capacity(1).build();

        // Nothing comes of these before it is dropped.
        let mut next = Box::pin(consumer.next());
        let mut event = Box::pin(channel.next_event());
        assert!(poll_once(&mut next).await.is_none());
        assert!(poll_once(&mut event).await.is_none());
        drop(stop);
        assert!(within("the consumer", next).await.is_none());
        assert!(within("the channel", event).await.is_none());
        assert!(until_dropped.recv().await.is_err(), "it sends nothing");
        assert!(matches!(consumer.end(), Some(ConsumerEnd::ClientClosed)));

        let error = full.publish("hello").await.unwrap_err();
        assert_eq!(error.reason, PublishErrorReason::Closed);
        let declared = within("a call", client.declare(new_queue())).await;
        assert!(matches!(declared, Err(Error::Closed)));
        let called = within("a call", channel.call(tx::Select {})).await;
        assert!(matches!(called, Err(Error::Closed)));
        let until_the_end = async { while events.next().await.is_some() {} };
        within("the last event", until_the_end).await;
        let report = within("the close", client.close()).await;
        assert!(report.undelivered.is_empty());
    });
}

#[test]
fn messages_of_a_client_whose_driver_is_dropped_are_told_to_be_lost() {
    run(async {
        let (client, driver) = client::builder(&url()).build();
        let producer = client.producer("any").unwrap().capacity(1).build();
        let confirmation = producer.try_publish("hello").unwrap();
        let mut waiting = Box::pin(producer.publish("waiting"));
        assert!(poll_once(&mut waiting).await.is_none());
        let mut declare = Box::pin(client.declare(new_queue()));
        assert!(poll_once(&mut declare).await.is_none());
        let mut ready = Box::pin(client.ready());
        assert!(poll_once(&mut ready).await.is_none());
        let mut flushed = Box::pin(producer.flushed());
        assert!(poll_once(&mut flushed).await.is_none());

        drop(driver);
        let lost = UnconfirmedReason::Dropped(DropReason::ConnectionGivenUp);
        assert_eq!(outcome(confirmation).await, Err((lost, false)));
        let error = within("the publish", waiting).await.unwrap_err();
        assert_eq!(error.reason, PublishErrorReason::Closed);
        assert!(within("the call", declare).await.is_err());
        assert!(within("the connection", ready).await.is_err());
        within("the flush", flushed).await;
    });
}

#[test]
fn a_half_open_connection_does_not_hold_up_a_close() {
    run(async {
        let mut cable = Cable::lay().await;
        let queue = fresh_queue(&cable.client).await;
        let builder = cable.client.producer(queue.clone()).unwrap();
        let producer = cable.first_producer(builder).await;
        cable.proxy.all().silence(To::Both);
        drop(producer.try_publish("hello").unwrap());
        assert_eq!(close_soon(&cable.client).await, ["hello"]);
    });
}

#[test]
fn a_dial_that_hangs_does_not_hold_up_a_close() {
    run(async {
        let client = dialing(|_, _| Box::pin(pending()));
        let producer = client.producer("any").unwrap().build();
        let confirmation = producer.try_publish("hello").unwrap();
        assert_eq!(close_soon(&client).await, ["hello"]);
        assert_eq!(outcome(confirmation).await, closed(false));
    });
}

#[test]
fn a_handler_that_hangs_does_not_hold_up_a_close() {
    run(async {
        let (client, queue) = with_queue().await;
        publish(&client, &queue, &["hello"]).await;
        let consumer = client.consumer(queue.clone()).unwrap();
        let mut consumer = consumer.start().await.unwrap();
        let (began, has_begun) = async_channel::bounded(1);
        let hanging = consumer.process(1, |_delivery| {
            _ = began.try_send(());
            pending::<()>()
        });
        let closed = async {
            within("the handler", has_begun.recv()).await.unwrap();
            close_soon(&client).await
        };
        let (handled, undelivered) = within("the end of both", zip(hanging, closed)).await;
        assert_eq!(handled.cut_off, 1);
        assert!(undelivered.is_empty());
        assert_eq!(left_in(&queue).await, ["hello"]);
    });
}

#[test]
fn a_connection_that_takes_no_bytes_does_not_hold_up_a_close() {
    run(async {
        let mut cable = Cable::lay().await;
        let queue = fresh_queue(&cable.client).await;
        let builder = cable.client.producer(queue.clone()).unwrap();
        let producer = cable.first_producer(builder).await;
        cable.proxy.all().stop_reading(To::Server);
        // More than the buffers of any system take.
        for _ in 0..32 {
            drop(producer.try_publish(vec![0; 1 << 20]).unwrap());
        }
        assert!(!close_soon(&cable.client).await.is_empty());
    });
}

/// A client with three messages, for which there is no connection; its driver is still to be run.
fn with_messages(dial: fn(&Target, &Arc<dyn Runtime>) -> Connecting) -> (Client, Driver) {
    let builder = client::builder("amqp://localhost").connector(dial);
    let (client, driver) = executor::build(builder);
    let producer = client.producer("any").unwrap().build();
    for body in ["1", "2", "3"] {
        drop(producer.try_publish(body).unwrap());
    }
    (client, driver)
}

/// Closes a client again and again, and it tells the same.
async fn assert_left(client: &Client, expected: &[&str]) {
    for _ in 0..3 {
        let report = within("the close", client.close()).await;
        assert_eq!(bodies(&report.undelivered), expected);
    }
}

// case F3
#[test]
fn every_close_is_answered_with_the_whole_report() {
    run(async {
        let client = disconnected();
        let producer = client.producer("any").unwrap().build();
        for body in ["1", "2", "3"] {
            drop(producer.try_publish(body).unwrap());
        }
        let [first, second] = [SOON, 2 * SOON].map(|within| client.close_within(within));
        let (first, second) = within("both", zip(first, second)).await;
        assert_eq!(bodies(&first.undelivered), ["1", "2", "3"]);
        assert_eq!(bodies(&second.undelivered), ["1", "2", "3"]);
        assert_left(&client, &["1", "2", "3"]).await;
    });
}

// case F3
#[test]
fn a_close_tells_what_was_left_when_the_client_gave_up_before_it() {
    run(async {
        let refuse: fn(&Target, &Arc<dyn Runtime>) -> Connecting =
            |_, _| Box::pin(async { Err(std::io::ErrorKind::ConnectionRefused.into()) });
        let (client, driver) = with_messages(refuse);
        executor::spawn(driver);
        let ready = within("the end", client.ready()).await;
        assert!(ready.is_err(), "it gives up at the first failure");
        assert_left(&client, &["1", "2", "3"]).await;
    });
}

// case F3
#[test]
fn a_close_tells_what_was_left_when_the_driver_was_dropped() {
    let wait: fn(&Target, &Arc<dyn Runtime>) -> Connecting = |_, _| Box::pin(pending());
    run(async {
        // Before it was ever polled, after that, and while the client is being closed.
        let (client, driver) = with_messages(wait);
        drop(driver);
        assert_left(&client, &["1", "2", "3"]).await;

        let (client, mut driver) = with_messages(wait);
        assert!(poll_once(&mut driver).await.is_none());
        drop(driver);
        assert_left(&client, &["1", "2", "3"]).await;

        let (client, mut driver) = with_messages(wait);
        let mut close = Box::pin(client.close());
        assert!(poll_once(&mut close).await.is_none());
        assert!(poll_once(&mut driver).await.is_none());
        drop(driver);
        let report = within("the close", close).await;
        assert_eq!(bodies(&report.undelivered), ["1", "2", "3"]);
        assert_left(&client, &["1", "2", "3"]).await;
    });
}

// case F3
#[test]
fn a_close_tells_what_was_left_when_the_thread_of_the_driver_has_panicked() {
    let (client, mut driver) = with_messages(|_, _| Box::pin(pending()));
    let thread = std::thread::spawn(move || {
        assert!(async_io::block_on(poll_once(&mut driver)).is_none());
        panic!("something else on this thread");
    });
    assert!(thread.join().is_err());
    run(async { assert_left(&client, &["1", "2", "3"]).await });
}
