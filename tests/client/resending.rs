//! What was published and not confirmed when a connection ended: it is published again, whole, in
//! order, and with an outcome of its own.

use std::collections::BTreeSet;
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use snowshoe::codec::CloseReason;
use snowshoe::{
    Confirmation, ConnectionError, ConnectionErrorReason, ConnectionRole, Event, Exchange, Message,
    Producer, Properties, Queue, ReplyCode, Unconfirmed, UnconfirmedReason,
};
use support::broker::url;
use support::cable::Cable;
use support::client::connect;
use support::events::recovered;
use support::messages::numbered;
use support::proxy::{End, Frame, Proxy, To, Verdict};
use support::queues::{declare_empty, take_numbers, wait_until_queue_holds};
use support::waiting::{run, within};

async fn connected(queue: &'static str) -> (Cable, Producer) {
    let mut cable = Cable::lay().await;
    declare_empty(&cable.client, queue).await;
    let builder = cable.client.producer(queue).unwrap();
    let producer = cable.first_producer(builder).await;
    (cable, producer)
}

fn publish(producer: &Producer, numbers: Range<u64>) -> Vec<Confirmation> {
    numbers
        .map(|number| producer.try_publish(numbered(number, 100)).unwrap())
        .collect()
}

async fn outcome(confirmation: Confirmation) -> Result<(), Unconfirmed> {
    within("an outcome", confirmation).await
}

async fn assert_confirmed(confirmations: Vec<Confirmation>) {
    for confirmation in confirmations {
        assert_eq!(outcome(confirmation).await, Ok(()));
    }
}

// fault 13, fault 7
#[test]
fn what_the_broker_has_not_received_is_sent_again_ahead_of_what_is_newer() {
    const QUEUE: &str = "resending: not received";
    run(async {
        let (mut cable, producer) = connected(QUEUE).await;
        cable.proxy.link(1).silence(To::Server);
        let mut confirmations = publish(&producer, 0..10);
        cable.proxy.wait_until("they were written", |stats| {
            stats.links[1].held(To::Server) > 10 * 100
        });
        cable.cut().await;
        confirmations.extend(publish(&producer, 10..20));
        cable.mend().await;
        assert_confirmed(confirmations).await;
        assert_eq!(take_numbers(QUEUE).await, (0..20).collect::<Vec<_>>());
    });
}

// fault 13, fault 14
#[test]
fn what_the_broker_has_received_but_not_confirmed_is_sent_again_too() {
    const QUEUE: &str = "resending: received";
    run(async {
        let (mut cable, producer) = connected(QUEUE).await;
        cable.proxy.link(1).silence(To::Client);
        let mut confirmations = publish(&producer, 0..10);
        cable
            .proxy
            .wait_until("some of their confirms came", |stats| {
                stats.links[1].held(To::Client) > 0
            });
        wait_until_queue_holds(QUEUE, 10).await;
        cable.cut().await;
        confirmations.extend(publish(&producer, 10..20));
        cable.mend().await;
        assert_confirmed(confirmations).await;
        let expected: Vec<u64> = (0..10).chain(0..20).collect();
        assert_eq!(take_numbers(QUEUE).await, expected);
    });
}

// fault 19
#[test]
fn a_message_cut_in_the_middle_of_its_body_is_sent_again_whole() {
    const QUEUE: &str = "resending: cut body";
    const SIZE: usize = 300_000;
    run(async {
        let (cable, producer) = connected(QUEUE).await;
        cable
            .proxy
            .link(1)
            .cut_after(To::Server, 200_000, End::Reset);
        let confirmation = producer.try_publish(numbered(7, SIZE)).unwrap();
        assert_eq!(outcome(confirmation).await, Ok(()));

        let client = connect(&url()).await;
        let got = client
            .channel()
            .await
            .unwrap()
            .get(QUEUE, true)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(got.content.body(), numbered(7, SIZE).body());
        assert_eq!(got.message_count, 0, "and only once");
    });
}

// fault 19
#[test]
fn a_message_cut_anywhere_is_sent_again_whole() {
    const QUEUE: &str = "resending: cut anywhere";
    run(async {
        let (mut cable, producer) = connected(QUEUE).await;
        let before = cable.proxy.stats().passed(To::Server);
        assert_confirmed(publish(&producer, 0..1)).await;
        let len = cable.proxy.stats().passed(To::Server) - before;
        assert!(
            (150..250).contains(&len),
            "100 bytes of body and three frames' heads: {len}"
        );

        let mut number = 1;
        for cut in (0..len).step_by(11) {
            let publishing = cable.proxy.stats().links.len() - 1;
            cable
                .proxy
                .link(publishing)
                .cut_after(To::Server, cut, End::Reset);
            assert_confirmed(publish(&producer, number..number + 1)).await;
            recovered(&mut cable.events, ConnectionRole::Publishing).await;
            number += 1;
        }
        assert_eq!(take_numbers(QUEUE).await, (0..number).collect::<Vec<_>>());
    });
}

// fault 20
#[test]
fn a_returned_message_keeps_its_return_when_the_connection_ends_before_its_confirm() {
    const NOWHERE: &str = "resending: no such queue";
    run(async {
        let proxy = Proxy::start(&url());
        let published = Arc::new(AtomicUsize::new(0));
        proxy.on_frame(To::Server, {
            let published = Arc::clone(&published);
            move |_, frame: &mut Frame| {
                if frame.method() == Some(BASIC_PUBLISH) {
                    published.fetch_add(1, Ordering::Relaxed);
                }
                Verdict::Pass
            }
        });
        proxy.on_frame(To::Client, |_, frame| match frame.method() {
            Some(BASIC_ACK) => Verdict::End(End::Reset),
            _ => Verdict::Pass,
        });
        let mut cable = Cable::lay_with(proxy, |builder| builder).await;
        let builder = cable.client.producer(NOWHERE).unwrap();
        let producer = cable.first_producer(builder).await;
        let confirmation = producer.try_publish(numbered(7, 100)).unwrap();
        let Err(Unconfirmed {
            reason: UnconfirmedReason::Returned(returned),
            ..
        }) = outcome(confirmation).await
        else {
            panic!("the queue is not there");
        };
        assert_eq!(returned.code, ReplyCode::NO_ROUTE);
        assert_eq!(returned.body, numbered(7, 100).body());
        recovered(&mut cable.events, ConnectionRole::Publishing).await;
        within("the close", cable.client.close()).await;
        assert_eq!(
            published.load(Ordering::Relaxed),
            1,
            "its outcome was known"
        );
    });
}

// fault 20
#[test]
fn returns_belong_to_the_messages_that_no_queue_took() {
    const QUEUE: &str = "resending: some returned";
    run(async {
        let (_cable, producer) = connected(QUEUE).await;
        let confirmations: Vec<_> = (0..30)
            .map(|number| {
                let message = numbered(number, 100);
                let message = if number % 3 == 0 {
                    message
                        .with_routing_key("resending: no such queue")
                        .unwrap()
                } else {
                    message
                };
                producer.try_publish(message).unwrap()
            })
            .collect();
        for (number, confirmation) in (0u64..).zip(confirmations) {
            match outcome(confirmation).await {
                Ok(()) => assert_ne!(number % 3, 0),
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Returned(returned),
                    ..
                }) => {
                    assert_eq!(returned.body, numbered(number, 100).body());
                    assert_eq!(number % 3, 0);
                }
                Err(other) => panic!("{number}: {other}"),
            }
        }
    });
}

/// A message that RabbitMQ closes the channel over: it is said to be from another user.
fn poison(number: u64) -> Message {
    let forged = Properties::builder()
        .user_id("somebody else")
        .build()
        .unwrap();
    numbered(number, 100).with_properties(forged)
}

// fault 9, fault 10
#[test]
fn a_poison_message_is_found_and_failed_and_its_neighbours_arrive() {
    const QUEUE: &str = "resending: poison";
    run(async {
        let (mut cable, producer) = connected(QUEUE).await;
        let is_poison = |number: u64| matches!(number, 7 | 8 | 15);
        let message = |number| {
            if is_poison(number) {
                poison(number)
            } else {
                numbered(number, 100)
            }
        };
        // All of them are in flight when the channel is closed over the first of the three.
        cable.cut().await;
        let confirmations: Vec<_> = (0..20)
            .map(|number| producer.try_publish(message(number)).unwrap())
            .collect();
        cable.mend().await;
        for (number, confirmation) in (0..).zip(confirmations) {
            match outcome(confirmation).await {
                Ok(()) => assert!(!is_poison(number)),
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Rejected(close),
                    ..
                }) => {
                    assert_eq!(close.code, ReplyCode::PRECONDITION_FAILED);
                    assert!(is_poison(number), "{number} was blamed");
                }
                Err(other) => panic!("{number}: {other}"),
            }
        }
        // The good ones were published more than once, for none knew which was the poison.
        let mut seen = BTreeSet::new();
        let mut arrived = take_numbers(QUEUE).await;
        arrived.retain(|number| seen.insert(*number));
        let good: Vec<_> = (0..20).filter(|number| !is_poison(*number)).collect();
        assert_eq!(arrived, good);
    });
}

/// What the proxy knows a message by that is to cost the connection.
const COSTLY: &str = "costs the connection";

/// The length of the bodies of messages among which there are costly ones.
const LEN: usize = 1_000;

fn costly(number: u64) -> Message {
    let marked = Properties::builder().message_id(COSTLY).build().unwrap();
    numbered(number, LEN).with_properties(marked)
}

/// Damages the content header of some messages, so that RabbitMQ closes the connection over their
/// basic.publish.
fn damage_costly(proxy: &Proxy) {
    proxy.on_frame(To::Server, |_, frame| {
        let mark = COSTLY.as_bytes();
        let is_header = frame.kind() == 2;
        if is_header && frame.payload().windows(mark.len()).any(|it| it == mark) {
            let mut payload = frame.payload().to_vec();
            payload[..2].copy_from_slice(&61u16.to_be_bytes());
            frame.set_payload(&payload);
        }
        Verdict::Pass
    });
}

// fault 9, fault 10
#[test]
fn a_message_that_costs_the_connection_is_found_among_those_of_all_producers() {
    const QUEUES: [&str; 2] = ["resending: costly", "resending: costly neighbour"];
    run(async {
        let (mut cable, first) = connected(QUEUES[0]).await;
        declare_empty(&cable.client, QUEUES[1]).await;
        let second = cable.client.producer(QUEUES[1]).unwrap().build();
        // It damages what goes through connections that are made from now on.
        damage_costly(&cable.proxy);
        cable.cut().await;
        cable.proxy.accept();
        for (producer, queue) in [(&first, QUEUES[0]), (&second, QUEUES[1])] {
            // Then it has its channel, and what it publishes next is written at once.
            producer.send(numbered(0, 100)).await.unwrap();
            declare_empty(&cable.client, queue).await;
        }
        let is_costly = |producer: usize, number: u64| match producer {
            0 => matches!(number, 3 | 4),
            _ => number == 0,
        };
        // All of them are to be on their way when the broker meets the first.
        cable.proxy.all().silence(To::Server);
        let mut confirmations = Vec::new();
        for number in 0..10 {
            for (which, producer) in [&first, &second].into_iter().enumerate() {
                let message = if is_costly(which, number) {
                    costly(number)
                } else {
                    numbered(number, LEN)
                };
                let confirmation = producer.try_publish(message).unwrap();
                confirmations.push((which, number, confirmation));
            }
        }
        // With what else is written of a message, no more than the last two can be missing.
        cable
            .proxy
            .wait_until("the publishes are under way", |stats| {
                let mut links = stats.links.iter();
                links.any(|link| link.held(To::Server) >= 20 * LEN)
            });
        cable.proxy.all().resume(To::Server);
        let mut lost = 0;
        for (which, number, confirmation) in confirmations {
            match outcome(confirmation).await {
                Ok(()) => assert!(!is_costly(which, number), "{which}: {number} was confirmed"),
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Rejected(close),
                    ..
                }) => {
                    assert_eq!(close.code, ReplyCode::UNEXPECTED_FRAME);
                    assert!(is_costly(which, number), "{which}: {number} was blamed");
                }
                Err(other) => panic!("{which}: {number}: {other}"),
            }
        }
        while let Some(event) = cable.events.try_next() {
            let is_loss = matches!(
                &event,
                Event::Disconnected {
                    cause: ConnectionError {
                        reason: ConnectionErrorReason::Closed(CloseReason::Peer(_)),
                        ..
                    },
                    ..
                }
            );
            lost += usize::from(is_loss);
        }
        // One over all of them; then for each culprit at most one for each halving of the producers and of
        // their messages, and one over the culprit alone.
        assert!(lost <= 1 + 3 * (1 + 4 + 1), "{lost}");
        // All is as it was for everybody.
        assert_confirmed(publish(&second, 10..20)).await;
        for (which, queue, last) in [(0, QUEUES[0], 10), (1, QUEUES[1], 20)] {
            let mut seen = BTreeSet::new();
            let mut arrived = take_numbers(queue).await;
            arrived.retain(|number| seen.insert(*number));
            let good = (0..last).filter(|number| !is_costly(which, *number));
            assert_eq!(arrived, good.collect::<Vec<_>>(), "{queue}");
        }
    });
}

// fault 9, fault 10, fault 50
#[test]
fn a_missing_exchange_fails_its_own_messages_alone_until_it_is_there() {
    const QUEUE: &str = "resending: neighbour of a missing exchange";
    const EXCHANGE: &str = "resending: missing exchange";
    run(async {
        let (cable, neighbour) = connected(QUEUE).await;
        let client = &cable.client;
        client.delete_exchange(EXCHANGE).await.unwrap();
        let producer = client.exchange_producer(EXCHANGE, "").unwrap().build();
        let doomed = publish(&producer, 0..10);
        let good = publish(&neighbour, 0..100);
        for confirmation in doomed {
            let Err(Unconfirmed {
                reason: UnconfirmedReason::Rejected(close),
                ..
            }) = outcome(confirmation).await
            else {
                panic!("the exchange is not there");
            };
            assert_eq!(close.code, ReplyCode::NOT_FOUND);
        }
        assert_confirmed(good).await;
        assert_eq!(take_numbers(QUEUE).await, (0..100).collect::<Vec<_>>());

        client.declare(Exchange::fanout(EXCHANGE)).await.unwrap();
        assert_confirmed(publish(&producer, 10..20)).await;
        assert_eq!(cable.proxy.stats().links.len(), 2, "the connection lived");
    });
}

// fault 10
#[test]
fn fire_and_forget_goes_on_after_a_poison_message() {
    const QUEUE: &str = "resending: forgotten poison";
    run(async {
        let cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        let producer = cable
            .client
            .producer(QUEUE)
            .unwrap()
            .fire_and_forget()
            .build();
        producer.try_publish(poison(0)).unwrap();
        // Whatever is written until the broker has closed the channel goes the way of the poison.
        let arrived = async {
            let mut number = 1;
            loop {
                producer.publish(numbered(number, 100)).await.unwrap();
                producer.flushed().await;
                if let [first, ..] = take_numbers(QUEUE).await[..] {
                    return first;
                }
                number += 1;
            }
        };
        assert_ne!(within("a message in the queue", arrived).await, 0);
    });
}

// fault 38
#[test]
fn bodies_are_split_by_the_frame_size_of_the_connection_that_they_are_written_to() {
    const QUEUE: &str = "resending: smaller frames";
    const FRAME_MAX: u32 = 8192;
    run(async {
        let proxy = Proxy::start(&url());
        proxy.on_frame(To::Client, |link, frame| {
            if link >= 2 && frame.method() == Some(CONNECTION_TUNE) {
                let mut tune = frame.payload().to_vec();
                tune[6..10].copy_from_slice(&FRAME_MAX.to_be_bytes());
                frame.set_payload(&tune);
            }
            Verdict::Pass
        });
        let longest = Arc::new(AtomicUsize::new(0));
        proxy.on_frame(To::Server, {
            let longest = Arc::clone(&longest);
            move |link, frame| {
                if link >= 2 {
                    longest.fetch_max(frame.bytes.len(), Ordering::Relaxed);
                }
                Verdict::Pass
            }
        });
        let mut cable = Cable::lay_with(proxy, |builder| builder).await;
        declare_empty(&cable.client, QUEUE).await;
        let builder = cable.client.producer(QUEUE).unwrap();
        let producer = cable.first_producer(builder).await;
        cable.proxy.link(1).silence(To::Server);
        let confirmation = producer.try_publish(numbered(7, 50_000)).unwrap();
        cable
            .proxy
            .wait_until("it was written in large frames", |stats| {
                stats.links[1].held(To::Server) > 50_000
            });
        cable.proxy.all().end(End::Reset);
        assert_confirmed(vec![confirmation]).await;
        assert_eq!(
            longest.load(Ordering::Relaxed),
            FRAME_MAX as usize,
            "full frames, and none longer"
        );
        assert_eq!(take_numbers(QUEUE).await, [7]);
    });
}

// fault 8
#[test]
fn nacks_belong_to_the_messages_that_the_queue_refused() {
    const QUEUE: &str = "resending: full queue";
    run(async {
        let mut cable = Cable::lay().await;
        cable.client.delete_queue(QUEUE).await.unwrap();
        let full = Queue::new(QUEUE).max_length(3).reject_publish();
        cable.client.declare(full).await.unwrap();
        let builder = cable.client.producer(QUEUE).unwrap();
        let producer = cable.first_producer(builder).await;
        for (number, confirmation) in (0..).zip(publish(&producer, 0..10)) {
            let outcome = outcome(confirmation).await;
            let outcome = outcome.map_err(|it| (it.reason, it.possibly_stored));
            let expected = if number < 3 {
                Ok(())
            } else {
                Err((UnconfirmedReason::Nacked, false))
            };
            assert_eq!(outcome, expected, "{number}");
        }
        assert_eq!(take_numbers(QUEUE).await, [0, 1, 2]);
    });
}

const CONNECTION_TUNE: (u16, u16) = (10, 30);
const BASIC_PUBLISH: (u16, u16) = (60, 40);
const BASIC_ACK: (u16, u16) = (60, 80);
