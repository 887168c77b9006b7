//! What was accepted for publishing, and what was not: each message is one of its own, whoever waits
//! for it or does not.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use snowshoe::codec::SendError;
use snowshoe::codec::method::basic;
use snowshoe::{
    BufferPolicy, ConnectionRole, DropReason, Error, Event, PublishErrorReason, Queue,
    SendMessageError, Unconfirmed,
};
use support::broker::{Node, url};
use support::cable::Cable;
use support::client::connect;
use support::events::{disconnected, next_event, recovered};
use support::messages::numbered;
use support::queues::{declare_empty, take_numbers};
use support::waiting::{run, within};

// fault 3
#[test]
fn no_acknowledgement_of_everything_can_be_sent_by_mistake() {
    const QUEUE: &str = "accepted: tag zero";
    run(async {
        let client = connect(&url()).await;
        declare_empty(&client, QUEUE).await;
        let producer = client.producer(QUEUE).unwrap().build();
        producer.send(numbered(7, 100)).await.unwrap();
        // Deliveries carry their tags themselves; only a channel by hand could name it.
        let channel = client.channel().await.unwrap();
        let got = channel.get(QUEUE, false).await.unwrap().unwrap();
        for multiple in [false, true] {
            let ack = basic::Ack {
                delivery_tag: 0,
                multiple,
            };
            let sent = channel.send(ack).await;
            assert!(
                matches!(sent, Err(Error::Send(SendError::TagZero))),
                "{sent:?}"
            );
        }
        assert!(channel.closed().is_none());
        drop((got, channel));
        let back = async { while take_numbers(QUEUE).await != [7] {} };
        within("the message, which nobody has acknowledged", back).await;
    });
}

// fault 15
#[test]
fn a_publish_that_is_given_up_at_any_moment_does_not_shift_the_confirms_of_the_others() {
    const QUEUE: &str = "accepted: given up";
    const ROUNDS: u64 = 100;
    run(async {
        let client = connect(&url()).await;
        client.delete_queue(QUEUE).await.unwrap();
        // It refuses every message from the second on.
        let full = Queue::new(QUEUE).max_length(1).reject_publish();
        client.declare(full).await.unwrap();
        let small = client.producer(QUEUE).unwrap().capacity(2).build();
        assert_eq!(small.send(numbered(0, 100)).await, Ok(()));
        for round in 0..ROUNDS {
            // One waits for its outcome and is dropped, one before its first poll, one after it.
            drop(small.publish(numbered(round, 100)).await.unwrap());
            drop(small.publish(numbered(round, 100)));
            let mut waiting = pin!(small.send(numbered(round, 100)));
            poll_fn(|cx| {
                _ = waiting.as_mut().poll(cx);
                Poll::Ready(())
            })
            .await;
        }
        let refused = small.send(numbered(1, 100)).await;
        assert_eq!(
            refused,
            Err(SendMessageError::Unconfirmed(Unconfirmed::Nacked {
                resent: false
            }))
        );
        assert_eq!(client.purge_queue(QUEUE).await.unwrap(), 1);
        assert_eq!(
            small.send(numbered(2, 100)).await,
            Ok(()),
            "now there is room"
        );
        assert_eq!(take_numbers(QUEUE).await, [2]);
    });
}

// fault 16
#[test]
fn a_confirm_is_not_lost_that_comes_before_anybody_waits_for_it() {
    const QUEUE: &str = "accepted: early confirm";
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        let builder = cable.client.producer(QUEUE).unwrap();
        let producer = cable.first_producer(builder).await;
        for number in 0..50 {
            let confirmation = producer.try_publish(numbered(number, 100)).unwrap();
            let is_confirmed = |event: &Event| matches!(event, Event::Confirmed { .. });
            next_event(&mut cable.events, "the confirm", is_confirmed).await;
            assert_eq!(within("what came already", confirmation).await, Ok(()));
        }
        // And as early as it can come.
        for number in 50..500 {
            within("the confirm", producer.send(numbered(number, 100)))
                .await
                .unwrap();
        }
    });
}

// fault 21
#[test]
fn while_the_broker_is_gone_buffers_hold_what_they_were_given_and_no_more() {
    const MESSAGES: usize = 100;
    const SIZE: usize = 10_000;
    const ROOM_IN_BYTES: usize = 20 * SIZE;
    let mut node = Node::start();
    run(async {
        let client = connect(&node.url()).await;
        let mut events = client.events();
        declare_empty(&client, "accepted: outage").await;
        let builder = || client.producer("accepted: outage").unwrap();
        let by_messages = builder()
            .capacity(MESSAGES)
            .policy(BufferPolicy::Error)
            .build();
        recovered(&mut events, ConnectionRole::Publishing).await;
        let by_bytes = builder()
            .capacity_bytes(ROOM_IN_BYTES)
            .policy(BufferPolicy::Error)
            .build();
        node.kill();
        disconnected(&mut events, ConnectionRole::Publishing).await;

        let mut waiting = Vec::new();
        for (producer, size) in [(&by_messages, 10), (&by_bytes, SIZE)] {
            let mut accepted = 0;
            let refused = loop {
                match producer.try_publish(numbered(accepted, size)) {
                    Ok(confirmation) => waiting.push(confirmation),
                    Err(refused) => break refused,
                }
                accepted += 1;
            };
            assert_eq!(refused.reason, PublishErrorReason::BufferFull);
            assert_eq!(
                refused.message,
                numbered(accepted, size),
                "it is handed back"
            );
        }
        let by_bytes = waiting.len() - MESSAGES;
        assert!((1..=ROOM_IN_BYTES / SIZE).contains(&by_bytes), "{by_bytes}");
        node.start_again();
        for confirmation in waiting {
            within("the confirm", confirmation).await.unwrap();
        }
    });
}

// fault 22
#[test]
fn what_is_published_behind_a_close_is_refused_and_handed_back() {
    const QUEUE: &str = "accepted: closed";
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

// fault 22
#[test]
fn every_message_that_is_dropped_is_told_even_where_all_are_alike() {
    const QUEUE: &str = "accepted: alike";
    const ROOM: usize = 10;
    const MESSAGES: usize = 35;
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        let builder = cable.client.producer(QUEUE).unwrap();
        let builder = builder.capacity(ROOM).policy(BufferPolicy::DropOldest);
        let producer = cable.first_producer(builder).await;
        cable.cut().await;
        let confirmations: Vec<_> = (0..MESSAGES)
            .map(|_| producer.try_publish(numbered(7, 100)).unwrap())
            .collect();
        cable.mend().await;
        for (place, confirmation) in confirmations.into_iter().enumerate() {
            let expected = if place < MESSAGES - ROOM {
                Err(Unconfirmed::Dropped {
                    reason: DropReason::BufferFull,
                    sent: false,
                })
            } else {
                Ok(())
            };
            assert_eq!(
                within("the outcome", confirmation).await,
                expected,
                "{place}"
            );
        }
        assert_eq!(take_numbers(QUEUE).await, [7; ROOM]);
    });
}
