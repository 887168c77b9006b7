//! What was delivered before a connection or a channel ended belongs to it: it is not handed out any
//! more, and settling it does nothing, for the broker delivers it again, to a consumer that comes back.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use snowshoe::{ClientBuilder, ConnectionRole, Consumer, Delivery, Event, Queue, Settled};
use support::broker::{Node, admin, is_since, url, version_of};
use support::cable::Cable;
use support::client::connect;
use support::events::{disconnected, next_event, recovered};
use support::messages::{number, numbered};
use support::proxy::{End, Proxy, To, Verdict};
use support::queues::declare_empty;
use support::waiting::{eventually, run, wait_until, within};

async fn fill(queue: &'static str, numbers: Range<u64>) {
    let client = connect(&url()).await;
    let producer = client.producer(queue).unwrap().build();
    for number in numbers {
        within("the confirm", producer.send(numbered(number, 100)))
            .await
            .unwrap();
    }
}

async fn consume(cable: &Cable, queue: &'static str, prefetch: u16) -> Consumer {
    let consumer = cable.client.consumer(queue).unwrap().prefetch(prefetch);
    within("the consumer", consumer.start()).await.unwrap()
}

async fn take(consumer: &mut Consumer, count: usize) -> Vec<Delivery> {
    let mut taken = Vec::new();
    while taken.len() < count {
        taken.push(within("a delivery", consumer.next()).await.unwrap());
    }
    taken
}

fn numbers(deliveries: &[Delivery]) -> Vec<u64> {
    deliveries.iter().map(number).collect()
}

/// Cuts the only connection, and waits until it is back.
async fn flap(cable: &mut Cable) {
    cable.proxy.all().end(End::Reset);
    recovered(&mut cable.events, ConnectionRole::Main).await;
}

/// A proxy that counts the settles that pass.
fn counting_settles() -> (Proxy, Arc<AtomicUsize>) {
    let proxy = Proxy::start(&url());
    let settles = Arc::new(AtomicUsize::new(0));
    proxy.on_frame(To::Server, {
        let settles = Arc::clone(&settles);
        move |_, frame| {
            if let Some(BASIC_ACK | BASIC_REJECT | BASIC_NACK) = frame.method() {
                settles.fetch_add(1, Ordering::Relaxed);
            }
            Verdict::Pass
        }
    });
    (proxy, settles)
}

// fault 1, fault 2
#[test]
fn settles_of_deliveries_from_before_a_reconnect_answer_stale_and_send_nothing() {
    const QUEUES: [&str; 2] = ["redelivery: stale, one", "redelivery: stale, another"];
    run(async {
        let (proxy, settles) = counting_settles();
        let mut cable = Cable::lay_with(proxy, |builder| builder).await;
        let mut consumers = Vec::new();
        let mut old = Vec::new();
        for queue in QUEUES {
            declare_empty(&cable.client, queue).await;
            fill(queue, 0..6).await;
            let mut consumer = consume(&cable, queue, 3).await;
            old.extend(take(&mut consumer, 3).await);
            consumers.push(consumer);
        }
        flap(&mut cable).await;
        // They have the tags of the old ones.
        let mut new = Vec::new();
        for consumer in &mut consumers {
            new.push(take(consumer, 3).await);
            assert_eq!(numbers(&new[new.len() - 1]), [0, 1, 2]);
        }
        for (at, delivery) in old.into_iter().enumerate() {
            let settled = match at {
                0 => delivery.nack(true),
                1 => delivery.reject(false),
                2 => delivery.ack_all_up_to(),
                _ => delivery.ack(),
            };
            assert_eq!(settled, Ok(Settled::Stale));
        }
        for (consumer, new) in consumers.iter_mut().zip(new) {
            for delivery in new {
                delivery.ack().unwrap();
            }
            let rest = take(consumer, 3).await;
            assert_eq!(numbers(&rest), [3, 4, 5]);
            rest.into_iter()
                .for_each(|delivery| _ = delivery.ack().unwrap());
        }
        for queue in QUEUES {
            wait_until("all are acknowledged", || admin().messages_in(queue) == 0);
        }
        let sent = settles.load(Ordering::Relaxed);
        assert!(
            (4..=12).contains(&sent),
            "12 deliveries, and none of the old ones: {sent}"
        );
    });
}

// fault 1, fault 31
#[test]
fn settles_are_stale_as_soon_as_the_connection_is_gone() {
    const QUEUE: &str = "redelivery: stale at once";
    run(async {
        let (proxy, settles) = counting_settles();
        let mut cable = Cable::lay_with(proxy, |builder| builder).await;
        declare_empty(&cable.client, QUEUE).await;
        fill(QUEUE, 0..2).await;
        let mut consumer = consume(&cable, QUEUE, 10).await;
        let old = take(&mut consumer, 2).await;
        cable.proxy.refuse();
        cable.proxy.all().end(End::Reset);
        disconnected(&mut cable.events, ConnectionRole::Main).await;
        for delivery in old {
            assert_eq!(delivery.ack(), Ok(Settled::Stale));
        }
        cable.proxy.accept();
        assert_eq!(numbers(&take(&mut consumer, 2).await), [0, 1]);
        assert_eq!(settles.load(Ordering::Relaxed), 0);
    });
}

// fault 5
#[test]
fn what_was_prefetched_before_a_reconnect_is_not_handed_out_after_it() {
    const QUEUE: &str = "redelivery: purged";
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        fill(QUEUE, 0..10).await;
        let mut consumer = consume(&cable, QUEUE, 10).await;
        wait_until("all were prefetched", || consumer.waiting() == 10);
        // The others are at hand as well from now on.
        let old = take(&mut consumer, 1).await;
        cable.proxy.refuse();
        cable.proxy.all().end(End::Reset);
        disconnected(&mut cable.events, ConnectionRole::Main).await;
        assert!(consumer.try_next().is_none(), "they are the broker's again");
        cable.proxy.accept();

        let again = take(&mut consumer, 10).await;
        assert_eq!(numbers(&again), (0..10).collect::<Vec<_>>());
        assert!(again.iter().all(Delivery::is_redelivered));
        again
            .into_iter()
            .for_each(|delivery| _ = delivery.ack().unwrap());
        assert_eq!(old.into_iter().next().unwrap().ack(), Ok(Settled::Stale));
        wait_until("all are acknowledged", || admin().messages_in(QUEUE) == 0);
        assert!(consumer.try_next().is_none());
    });
}

// fault 5
#[test]
fn without_acknowledgements_what_was_received_is_kept_for_it_does_not_come_again() {
    const QUEUE: &str = "redelivery: no ack";
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        fill(QUEUE, 0..10).await;
        let consumer = cable.client.consumer(QUEUE).unwrap().no_ack().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        wait_until("all were received", || consumer.waiting() == 10);
        let first = take(&mut consumer, 1).await;
        flap(&mut cable).await;
        fill(QUEUE, 10..12).await;
        let rest = take(&mut consumer, 11).await;
        assert_eq!(numbers(&first), [0]);
        assert_eq!(numbers(&rest), (1..12).collect::<Vec<_>>());
    });
}

#[test]
fn what_was_delivered_to_a_half_open_connection_comes_late_and_as_a_redelivery() {
    const QUEUE: &str = "redelivery: half-open";
    run(async {
        let proxy = Proxy::start(&url());
        proxy.on_frame(To::Server, |link, frame| {
            if let (0, Some(CONNECTION_TUNE_OK)) = (link, frame.method()) {
                // The broker is not to give up the connection on its own.
                let tuned = frame.payload().len() - 2;
                frame.payload_mut()[tuned..].fill(0);
            }
            Verdict::Pass
        });
        proxy.on_frame(To::Client, |link, frame| match (link, frame.method()) {
            (0, Some(BASIC_DELIVER)) => Verdict::Hold,
            _ => Verdict::Pass,
        });
        let every_second = |builder: ClientBuilder| builder.heartbeat(Duration::from_secs(1));
        let mut cable = Cable::lay_with(proxy, every_second).await;
        declare_empty(&cable.client, QUEUE).await;
        fill(QUEUE, 0..6).await;
        let mut consumer = consume(&cable, QUEUE, 3).await;
        cable.proxy.link(0).silence(To::Both);
        wait_until("three are delivered", || {
            admin().unacknowledged_in(QUEUE) == 3
        });
        recovered(&mut cable.events, ConnectionRole::Main).await;

        let newer = take(&mut consumer, 3).await;
        assert_eq!(numbers(&newer), [3, 4, 5]);
        assert!(!newer.iter().any(Delivery::is_redelivered));
        cable.proxy.link(0).end(End::Reset);
        for delivery in newer {
            delivery.ack().unwrap();
        }
        let late = take(&mut consumer, 3).await;
        assert_eq!(numbers(&late), [0, 1, 2]);
        assert!(late.iter().all(Delivery::is_redelivered));
    });
}

// fault 6
#[test]
fn a_handler_that_hangs_does_not_keep_its_consumer_from_coming_back() {
    const QUEUE: &str = "redelivery: hanging handler";
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        fill(QUEUE, 0..1).await;
        let mut consumer = consume(&cable, QUEUE, 10).await;
        let (handled, seen) = async_channel::unbounded();
        let handler = |delivery: Delivery| {
            let handled = handled.clone();
            async move {
                _ = handled.try_send(number(&delivery));
                if !delivery.is_redelivered() && number(&delivery) == 0 {
                    std::future::pending::<()>().await;
                }
            }
        };
        let consuming = async {
            consumer.process(5, handler).await;
            unreachable!("the consumer goes on");
        };
        let test = async {
            assert_eq!(within("the first", seen.recv()).await, Ok(0));
            flap(&mut cable).await;
            assert_eq!(within("it again", seen.recv()).await, Ok(0));
            fill(QUEUE, 1..2).await;
            assert_eq!(within("another", seen.recv()).await, Ok(1));
            eventually("both are acknowledged", || admin().messages_in(QUEUE) == 0).await;
        };
        futures_lite::future::or(test, consuming).await;
    });
}

/// RabbitMQ 4.3 has a timeout for consumers of quorum queues only, and cancels the one that is late. Those
/// before have it for all queues, and close its channel.
// fault 4
#[test]
fn a_consumer_that_was_too_slow_comes_back_and_gets_its_message_again() {
    const QUEUE: &str = "redelivery: consumer timeout";
    // It looks twice a second who is late, and says so each time until the client agrees.
    let node = Node::start_with(&["{consumer_timeout, 5000}", "{channel_tick_interval, 500}"]);
    let cancels = version_of(&node.url()) >= (4, 3);
    run(async {
        let proxy = Proxy::start(&node.url());
        let told = Arc::new(AtomicUsize::new(0));
        proxy.on_frame(To::Client, {
            let told = Arc::clone(&told);
            move |_, frame| {
                let is_told = match frame.method() {
                    Some(BASIC_CANCEL) => cancels,
                    Some(CHANNEL_CLOSE) => {
                        let over = frame.payload();
                        assert!(over.ends_with(&[0; 4]), "over no method");
                        !cancels
                    }
                    _ => false,
                };
                told.fetch_add(is_told.into(), Ordering::Relaxed);
                Verdict::Pass
            }
        });
        let mut cable = Cable::lay_with(proxy, |builder| builder).await;
        let queue = match cancels {
            true => Queue::quorum(QUEUE),
            false => Queue::new(QUEUE),
        };
        cable.client.declare(queue).await.unwrap();
        let producer = cable.client.producer(QUEUE).unwrap().build();
        within("the confirm", producer.send(numbered(7, 100)))
            .await
            .unwrap();
        let consumer = cable.client.consumer(QUEUE).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        let slow = within("the delivery", consumer.next()).await.unwrap();

        if !cancels {
            // The client's close-ok does not get through at first, so the broker says it again.
            cable.proxy.link(0).silence(To::Server);
            let is_told_again = || told.load(Ordering::Relaxed) >= 2;
            eventually(
                "the broker closes the channel again and again",
                is_told_again,
            )
            .await;
            cable.proxy.link(0).resume(To::Server);
        }

        let again = within("the delivery, again", consumer.next())
            .await
            .unwrap();
        assert_ne!(told.load(Ordering::Relaxed), 0, "it was the timeout");
        assert_eq!(number(&again), 7);
        assert!(again.is_redelivered());
        // Where the channel lives on, so does what was delivered on it; the broker takes no notice.
        let settled = match cancels {
            true => Settled::Sent,
            false => Settled::Stale,
        };
        assert_eq!(slow.ack(), Ok(settled));
        again.ack().unwrap();
        wait_until("it is acknowledged", || match cancels {
            true => node.admin().messages_in_quorum(QUEUE) == 0,
            false => node.admin().messages_in(QUEUE) == 0,
        });
        let mut events = std::iter::from_fn(|| cable.events.try_next());
        let lost = events.find(|event| matches!(event, Event::Disconnected { .. }));
        assert!(lost.is_none(), "{lost:?}");
        assert_eq!(cable.proxy.stats().links.len(), 2, "both connections lived");
    });
}

#[test]
fn a_timeout_of_a_consumers_own_is_an_argument() {
    const QUEUE: &str = "redelivery: a consumer's own timeout";
    if !is_since((4, 3), "timeouts of consumers' own") {
        return;
    }
    run(async {
        let mut cable = Cable::lay().await;
        cable.client.delete_queue(QUEUE).await.unwrap();
        cable.client.declare(Queue::quorum(QUEUE)).await.unwrap();
        fill(QUEUE, 0..1).await;
        let builder = cable.client.consumer(QUEUE).unwrap();
        let builder = builder.argument("x-consumer-timeout", 500).unwrap();
        let mut consumer = within("the consumer", builder.start()).await.unwrap();
        let slow = within("the delivery", consumer.next()).await.unwrap();
        let again = within("the delivery, again", consumer.next()).await;
        let again = again.expect("the consumer goes on");
        assert!(again.is_redelivered());
        // The channel lives on; the broker takes no notice.
        assert_eq!(slow.ack(), Ok(Settled::Sent));
        again.ack().unwrap();
        next_event(
            &mut cable.events,
            "its cancellation",
            |event| matches!(event, Event::ConsumerCancelled { queue } if *queue == QUEUE),
        )
        .await;
        within("the end", cable.client.close()).await;
    });
}

// fault 52
#[test]
fn a_consumer_whose_queue_is_deleted_by_others_gets_it_back() {
    const QUEUE: &str = "redelivery: deleted queue";
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        fill(QUEUE, 0..1).await;
        let mut consumer = consume(&cable, QUEUE, 10).await;
        let old = take(&mut consumer, 1).await.pop().unwrap();
        connect(&url()).await.delete_queue(QUEUE).await.unwrap();
        let is_cancel =
            |event: &Event| matches!(event, Event::ConsumerCancelled { queue } if *queue == QUEUE);
        next_event(&mut cable.events, "the cancel", is_cancel).await;
        assert_eq!(old.ack(), Ok(Settled::Stale));
        until_declared(QUEUE).await;
        fill(QUEUE, 1..3).await;
        let new = take(&mut consumer, 2).await;
        assert_eq!(numbers(&new), [1, 2]);
        new.into_iter()
            .for_each(|delivery| _ = delivery.ack().unwrap());
        wait_until("all are acknowledged", || admin().messages_in(QUEUE) == 0);
    });
}

// fault 52, fault 54
#[test]
fn a_consumer_of_a_queue_that_others_declare_waits_until_they_do_so_again() {
    const QUEUE: &str = "redelivery: queue of others";
    run(async {
        let mut cable = Cable::lay().await;
        let owner = connect(&url()).await;
        declare_empty(&owner, QUEUE).await;
        let mut consumer = consume(&cable, QUEUE, 10).await;
        owner.delete_queue(QUEUE).await.unwrap();
        let is_cancel = |event: &Event| matches!(event, Event::ConsumerCancelled { .. });
        next_event(&mut cable.events, "the cancel", is_cancel).await;
        // It is tried, and refused, on channels of its own.
        let before = cable.proxy.stats();
        cable
            .proxy
            .wait_until("the consumer was tried a few times", |stats| {
                stats.passed(To::Client) > before.passed(To::Client) + 500
            });
        assert!(
            owner.declare(Queue::new(QUEUE).passive()).await.is_err(),
            "it is not ours"
        );
        owner.declare(Queue::new(QUEUE)).await.unwrap();
        fill(QUEUE, 1..2).await;
        assert_eq!(numbers(&take(&mut consumer, 1).await), [1]);
        assert_eq!(cable.proxy.stats().links.len(), 1, "the connection lived");
    });
}

// fault 51
#[test]
fn a_subscription_that_is_not_answered_in_time_is_begun_again_and_leaves_no_other_behind() {
    const QUEUE: &str = "redelivery: unanswered";
    run(async {
        let proxy = Proxy::start(&url());
        let mut unanswered = 0;
        proxy.on_frame(To::Client, move |link, frame| {
            if link > 0 && frame.method() == Some(BASIC_CONSUME_OK) && unanswered < 2 {
                unanswered += 1;
                return Verdict::Drop;
            }
            Verdict::Pass
        });
        let patience = Duration::from_millis(300);
        let cable = Cable::lay_with(proxy, |builder| builder.call_timeout(patience)).await;
        declare_empty(&cable.client, QUEUE).await;
        let mut consumer = consume(&cable, QUEUE, 10).await;
        cable.proxy.all().end(End::Reset);
        fill(QUEUE, 0..20).await;
        for expected in 0..20 {
            let delivery = take(&mut consumer, 1).await.pop().unwrap();
            assert_eq!(number(&delivery), expected);
            delivery.ack().unwrap();
        }
        let client = connect(&url()).await;
        let queue = client.declare(Queue::new(QUEUE).passive()).await.unwrap();
        assert_eq!((queue.message_count, queue.consumer_count), (0, 1));
    });
}

async fn until_declared(queue: &'static str) {
    let client = connect(&url()).await;
    let declared = async { while client.declare(Queue::new(queue).passive()).await.is_err() {} };
    within("the queue", declared).await;
}

const CONNECTION_TUNE_OK: (u16, u16) = (10, 31);
const CHANNEL_CLOSE: (u16, u16) = (20, 40);
const BASIC_CONSUME_OK: (u16, u16) = (60, 21);
const BASIC_CANCEL: (u16, u16) = (60, 30);
const BASIC_DELIVER: (u16, u16) = (60, 60);
const BASIC_ACK: (u16, u16) = (60, 80);
const BASIC_REJECT: (u16, u16) = (60, 90);
const BASIC_NACK: (u16, u16) = (60, 120);

// case F5
#[test]
fn a_loop_that_ends_at_the_first_error_of_an_ack_goes_on_after_a_cut() {
    const QUEUE: &str = "redelivery: the loop of the first example";
    async fn work(
        consumer: &mut Consumer,
        cable: &mut Cable,
    ) -> Result<usize, snowshoe::SettleError> {
        let mut stale = 0;
        while let Some(delivery) = consumer.next().await {
            let is_last = numbers(std::slice::from_ref(&delivery)) == [9];
            if numbers(std::slice::from_ref(&delivery)) == [3] && stale == 0 {
                flap(cable).await;
            }
            let settled = delivery.ack()?;
            stale += usize::from(settled == Settled::Stale);
            if is_last {
                break;
            }
        }
        Ok(stale)
    }
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        fill(QUEUE, 0..10).await;
        let mut consumer = consume(&cable, QUEUE, 1).await;
        let stale = within("the loop", work(&mut consumer, &mut cable)).await;
        assert_eq!(stale.unwrap(), 1);
        wait_until("all are acknowledged", || admin().messages_in(QUEUE) == 0);
    });
}
