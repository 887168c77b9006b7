//! What becomes of messages while an outage lasts longer than the buffer, by each policy.

use std::ops::Range;
use std::pin::pin;

use futures_lite::future::poll_once;
use snowshoe::{
    BufferPolicy, Confirmation, ConnectionRole, DropReason, Event, Mode, Producer, ProducerBuilder,
    PublishError, PublishErrorReason, UnconfirmedReason,
};
use support::broker::Node;
use support::cable::Cable;
use support::client::connect;
use support::events::{disconnected, recovered};
use support::messages::numbered;
use support::proxy::To;
use support::queues::{declare_empty, take_numbers, wait_until_queue_holds};
use support::waiting::{run, wait_until, within};

/// A client with a producer to an empty queue of its own, in the middle of an outage.
async fn in_an_outage<M: Mode>(
    queue: &'static str,
    configure: impl FnOnce(ProducerBuilder) -> ProducerBuilder<M>,
) -> (Cable, Producer<M>) {
    let (mut cable, producer) = connected(queue, configure).await;
    cable.cut().await;
    (cable, producer)
}

async fn connected<M: Mode>(
    queue: &'static str,
    configure: impl FnOnce(ProducerBuilder) -> ProducerBuilder<M>,
) -> (Cable, Producer<M>) {
    let mut cable = Cable::lay().await;
    declare_empty(&cable.client, queue).await;
    let builder = configure(cable.client.producer(queue).unwrap());
    let producer = cable.first_producer(builder).await;
    (cable, producer)
}

/// What is in the queue after the outage, once everything that was accepted is through.
async fn arrived(mut cable: Cable, queue: &str) -> Vec<u64> {
    cable.mend().await;
    let report = within("the close", cable.client.close()).await;
    assert!(report.undelivered.is_empty());
    take_numbers(queue).await
}

/// How many messages were dropped because the buffer was full, as the events tell.
fn dropped_by_events(cable: &mut Cable) -> u64 {
    std::iter::from_fn(|| cable.events.try_next())
        .map(|event| match event {
            Event::Dropped {
                reason: DropReason::BufferFull,
                count,
                ..
            } => count,
            _ => 0,
        })
        .sum()
}

fn accept<M: Mode>(producer: &Producer<M>, numbers: Range<u64>, size: usize) -> Vec<M::Receipt> {
    numbers
        .map(|number| producer.try_publish(numbered(number, size)).unwrap())
        .collect()
}

fn assert_refused<T>(
    result: Result<T, PublishError>,
    number: u64,
    size: usize,
    reason: PublishErrorReason,
) {
    let error = result.err().expect("there is no room for it");
    assert_eq!(error.reason, reason);
    assert_eq!(error.message, numbered(number, size), "it is handed back");
}

async fn outcomes(confirmations: Vec<Confirmation>) -> Vec<Result<(), (UnconfirmedReason, bool)>> {
    let mut outcomes = Vec::new();
    for confirmation in confirmations {
        let outcome = within("an outcome", confirmation).await;
        outcomes.push(outcome.map_err(|it| (it.reason, it.possibly_stored)));
    }
    outcomes
}

/// How a message ends that had to make room for newer ones.
fn dropped(possibly_stored: bool) -> Result<(), (UnconfirmedReason, bool)> {
    let reason = UnconfirmedReason::Dropped(DropReason::BufferFull);
    Err((reason, possibly_stored))
}

#[test]
fn with_block_publishes_wait_for_the_end_of_the_outage_and_keep_their_order() {
    const QUEUE: &str = "policies: block, in messages";
    run(async {
        let (mut cable, producer) = in_an_outage(QUEUE, |builder| builder.capacity(5)).await;
        let mut accepted = accept(&producer, 0..5, 100);
        let mut waiting = Vec::new();
        for number in 5..10 {
            let mut publish = Box::pin(producer.publish(numbered(number, 100)));
            assert!(poll_once(&mut publish).await.is_none(), "{number} waits");
            waiting.push(publish);
        }
        drop(waiting.remove(2));
        cable.mend().await;
        for publish in waiting {
            accepted.push(within("room", publish).await.unwrap());
        }
        assert_eq!(outcomes(accepted).await, vec![Ok(()); 9]);
        assert_eq!(dropped_by_events(&mut cable), 0);
        within("the close", cable.client.close()).await;
        // Of the one that nobody waited for any more there is no trace.
        assert_eq!(take_numbers(QUEUE).await, [0, 1, 2, 3, 4, 5, 6, 8, 9]);
    });
}

#[test]
fn with_block_a_small_publish_does_not_overtake_a_large_one_that_waits_for_room() {
    const QUEUE: &str = "policies: block, in bytes";
    run(async {
        let (mut cable, producer) =
            in_an_outage(QUEUE, |builder| builder.capacity_bytes(1000)).await;
        let mut accepted = accept(&producer, 0..2, 400);
        let mut large = pin!(producer.publish(numbered(2, 300)));
        assert!(poll_once(&mut large).await.is_none(), "800 + 300 > 1000");
        let small = producer.try_publish(numbered(3, 100));
        assert_refused(small, 3, 100, PublishErrorReason::BufferFull);
        let mut small = pin!(producer.publish(numbered(3, 100)));
        assert!(
            poll_once(&mut small).await.is_none(),
            "it waits in line after the large one"
        );
        assert_eq!((producer.buffered(), producer.buffered_bytes()), (2, 800));
        cable.mend().await;
        accepted.push(within("room", large).await.unwrap());
        accepted.push(within("room", small).await.unwrap());
        assert_eq!(outcomes(accepted).await, vec![Ok(()); 4]);
        within("the close", cable.client.close()).await;
        assert_eq!(take_numbers(QUEUE).await, [0, 1, 2, 3]);
    });
}

#[test]
fn with_block_room_goes_to_whoever_has_waited_longest() {
    const QUEUE: &str = "policies: block, turns";
    run(async {
        let (cable, producer) = connected(QUEUE, |builder| builder.capacity(1)).await;
        let publishing = cable.proxy.link(1);
        let make_room = || {
            publishing.resume(To::Client);
            wait_until("the message is confirmed", || producer.buffered() == 0);
            publishing.silence(To::Client);
        };
        publishing.silence(To::Client);
        let mut accepted = accept(&producer, 0..1, 100);
        let mut first = pin!(producer.publish(numbered(1, 100)));
        let mut second = pin!(producer.publish(numbered(2, 100)));
        assert!(poll_once(&mut first).await.is_none());
        assert!(poll_once(&mut second).await.is_none());

        make_room();
        accepted.push(poll_once(&mut first).await.unwrap().unwrap());
        let mut third = pin!(producer.publish(numbered(3, 100)));
        assert!(poll_once(&mut third).await.is_none());

        make_room();
        accepted.push(poll_once(&mut second).await.unwrap().unwrap());
        assert!(
            poll_once(&mut third).await.is_none(),
            "the second has the room"
        );
        publishing.resume(To::Client);
        accepted.push(within("room", third).await.unwrap());
        assert_eq!(outcomes(accepted).await, vec![Ok(()); 4]);
        within("the close", cable.client.close()).await;
        assert_eq!(take_numbers(QUEUE).await, [0, 1, 2, 3]);
    });
}

#[test]
fn with_block_the_turn_of_a_publish_that_is_dropped_goes_to_the_next() {
    const QUEUE: &str = "policies: block, dropped turn";
    run(async {
        let (mut cable, producer) = in_an_outage(QUEUE, |builder| builder.capacity(1)).await;
        let mut accepted = accept(&producer, 0..1, 100);
        let mut first = Box::pin(producer.publish(numbered(1, 100)));
        assert!(poll_once(&mut first).await.is_none());
        let mut second = pin!(producer.publish(numbered(2, 100)));
        assert!(poll_once(&mut second).await.is_none());
        drop(first);
        cable.mend().await;
        accepted.push(within("room", second).await.unwrap());
        assert_eq!(outcomes(accepted).await, vec![Ok(()); 2]);
        within("the close", cable.client.close()).await;
        assert_eq!(take_numbers(QUEUE).await, [0, 2]);
    });
}

#[test]
fn with_error_publishes_fail_once_the_messages_fill_the_buffer() {
    const QUEUE: &str = "policies: error, in messages";
    run(async {
        let error = |builder: ProducerBuilder| builder.policy(BufferPolicy::Error).capacity(5);
        let (mut cable, producer) = in_an_outage(QUEUE, error).await;
        let accepted = accept(&producer, 0..5, 100);
        let refused = within("an answer", producer.publish(numbered(5, 100))).await;
        assert_refused(refused, 5, 100, PublishErrorReason::BufferFull);
        let refused = producer.try_publish(numbered(6, 100));
        assert_refused(refused, 6, 100, PublishErrorReason::BufferFull);
        assert_eq!(dropped_by_events(&mut cable), 0);
        assert_eq!(arrived(cable, QUEUE).await, [0, 1, 2, 3, 4]);
        assert_eq!(outcomes(accepted).await, vec![Ok(()); 5]);
    });
}

#[test]
fn with_error_publishes_fail_once_the_bytes_fill_the_buffer() {
    const QUEUE: &str = "policies: error, in bytes";
    run(async {
        let error =
            |builder: ProducerBuilder| builder.policy(BufferPolicy::Error).capacity_bytes(1000);
        let (cable, producer) = in_an_outage(QUEUE, error).await;
        let mut accepted = accept(&producer, 0..3, 300);
        let refused = producer.try_publish(numbered(3, 101));
        assert_refused(refused, 3, 101, PublishErrorReason::BufferFull);
        accepted.extend(accept(&producer, 4..5, 100));
        assert_eq!(producer.buffered_bytes(), producer.capacity_bytes());
        assert_eq!(arrived(cable, QUEUE).await, [0, 1, 2, 4]);
        assert_eq!(outcomes(accepted).await, vec![Ok(()); 4]);
    });
}

#[test]
fn with_drop_oldest_the_newest_messages_survive() {
    const QUEUE: &str = "policies: drop oldest, in messages";
    run(async {
        let drop_oldest =
            |builder: ProducerBuilder| builder.policy(BufferPolicy::DropOldest).capacity(5);
        let (mut cable, producer) = in_an_outage(QUEUE, drop_oldest).await;
        let mut accepted = accept(&producer, 0..8, 100);
        let survivors = accepted.split_off(3);
        assert_eq!(outcomes(accepted).await, vec![dropped(false); 3]);
        assert_eq!(dropped_by_events(&mut cable), 3);
        assert_eq!(producer.buffered(), 5);
        assert_eq!(arrived(cable, QUEUE).await, [3, 4, 5, 6, 7]);
        assert_eq!(outcomes(survivors).await, vec![Ok(()); 5]);
    });
}

#[test]
fn with_drop_oldest_as_many_are_dropped_as_the_bytes_of_the_newest_need() {
    const QUEUE: &str = "policies: drop oldest, in bytes";
    run(async {
        let drop_oldest = |builder: ProducerBuilder| {
            builder
                .policy(BufferPolicy::DropOldest)
                .capacity_bytes(1000)
        };
        let (mut cable, producer) = in_an_outage(QUEUE, drop_oldest).await;
        let mut accepted = accept(&producer, 0..3, 300);
        let mut survivors = accepted.split_off(2);
        survivors.extend(accept(&producer, 3..4, 700));
        assert_eq!(outcomes(accepted).await, vec![dropped(false); 2]);
        assert_eq!(dropped_by_events(&mut cable), 2);
        assert_eq!(producer.buffered_bytes(), 1000);
        assert_eq!(arrived(cable, QUEUE).await, [2, 3]);
        assert_eq!(outcomes(survivors).await, vec![Ok(()); 2]);
    });
}

#[test]
fn with_drop_oldest_what_awaits_its_confirm_is_kept_until_the_connection_is_lost() {
    const QUEUE: &str = "policies: drop oldest, in flight";
    run(async {
        let drop_oldest =
            |builder: ProducerBuilder| builder.policy(BufferPolicy::DropOldest).capacity(2);
        let (mut cable, producer) = connected(QUEUE, drop_oldest).await;
        cable.proxy.link(1).silence(To::Client);
        let mut accepted = accept(&producer, 0..2, 100);
        wait_until_queue_holds(QUEUE, 2).await;
        let refused = producer.try_publish(numbered(2, 100));
        assert_refused(refused, 2, 100, PublishErrorReason::BufferFull);

        cable.cut().await;
        let mut survivors = accepted.split_off(1);
        survivors.extend(accept(&producer, 3..4, 100));
        // It was written once, so the broker may have it, and here it does.
        assert_eq!(outcomes(accepted).await, [dropped(true)]);
        assert_eq!(arrived(cable, QUEUE).await, [0, 1, 1, 3]);
        assert_eq!(outcomes(survivors).await, vec![Ok(()); 2]);
    });
}

#[test]
fn fire_and_forget_keeps_the_newest_messages() {
    const QUEUE: &str = "policies: fire and forget, in messages";
    run(async {
        let (mut cable, producer) =
            in_an_outage(QUEUE, |builder| builder.capacity(5).fire_and_forget()).await;
        accept(&producer, 0..8, 100);
        assert_eq!(dropped_by_events(&mut cable), 3);
        assert_eq!(arrived(cable, QUEUE).await, [3, 4, 5, 6, 7]);
        assert_eq!(producer.buffered(), 0);
    });
}

#[test]
fn fire_and_forget_drops_as_many_as_the_bytes_of_the_newest_need() {
    const QUEUE: &str = "policies: fire and forget, in bytes";
    run(async {
        let (mut cable, producer) = in_an_outage(QUEUE, |builder| {
            builder.capacity_bytes(1000).fire_and_forget()
        })
        .await;
        accept(&producer, 0..3, 300);
        within("an answer", producer.publish(numbered(3, 700)))
            .await
            .unwrap();
        assert_eq!(dropped_by_events(&mut cable), 2);
        assert_eq!(arrived(cable, QUEUE).await, [2, 3]);
    });
}

#[test]
fn fire_and_forget_waits_for_room_where_it_is_told_to_block() {
    const QUEUE: &str = "policies: fire and forget, block";
    run(async {
        let (mut cable, producer) = in_an_outage(QUEUE, |builder| {
            let builder = builder.capacity(2).fire_and_forget();
            builder.policy(BufferPolicy::Block)
        })
        .await;
        accept(&producer, 0..2, 100);
        let mut waiting = Box::pin(producer.publish(numbered(2, 100)));
        assert!(poll_once(&mut waiting).await.is_none());
        let refused = producer.try_publish(numbered(3, 100));
        assert_refused(refused, 3, 100, PublishErrorReason::BufferFull);
        assert_eq!(dropped_by_events(&mut cable), 0);
        cable.mend().await;
        within("room", waiting).await.unwrap();
        within("the close", cable.client.close()).await;
        assert_eq!(take_numbers(QUEUE).await, [0, 1, 2]);
    });
}

/// Fills the buffer of 1,000 bytes, and offers a message that would not even fit into an empty one.
async fn offer_too_large<M: Mode>(
    queue: &'static str,
    configure: impl FnOnce(ProducerBuilder) -> ProducerBuilder<M>,
) {
    let bounded = |builder: ProducerBuilder| configure(builder.capacity_bytes(1000));
    let (mut cable, producer) = in_an_outage(queue, bounded).await;
    let _accepted = accept(&producer, 0..2, 500);
    let refused = within("an answer", producer.publish(numbered(2, 1001))).await;
    assert_refused(refused, 2, 1001, PublishErrorReason::TooLarge);
    assert_eq!(dropped_by_events(&mut cable), 0, "nothing made room for it");
    assert_eq!(arrived(cable, queue).await, [0, 1]);
}

#[test]
fn a_message_larger_than_the_buffer_is_refused_under_every_policy() {
    run(async {
        offer_too_large("policies: too large, block", |builder| builder).await;
        let error = |builder: ProducerBuilder| builder.policy(BufferPolicy::Error);
        offer_too_large("policies: too large, error", error).await;
        let drop_oldest = |builder: ProducerBuilder| builder.policy(BufferPolicy::DropOldest);
        offer_too_large("policies: too large, drop oldest", drop_oldest).await;
        let fire_and_forget = |builder: ProducerBuilder| builder.fire_and_forget();
        offer_too_large("policies: too large, fire and forget", fire_and_forget).await;
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
        declare_empty(&client, "policies: bounds").await;
        let builder = || client.producer("policies: bounds").unwrap();
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
fn every_message_that_is_dropped_is_told_even_where_all_are_alike() {
    const QUEUE: &str = "policies: drop oldest, all alike";
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
        for (place, outcome) in outcomes(confirmations).await.into_iter().enumerate() {
            let expected = if place < MESSAGES - ROOM {
                dropped(false)
            } else {
                Ok(())
            };
            assert_eq!(outcome, expected, "{place}");
        }
        assert_eq!(take_numbers(QUEUE).await, [7; ROOM]);
    });
}
