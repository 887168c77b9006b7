//! What becomes of messages that are published while nothing goes wrong with the network.

use std::future::poll_fn;
use std::pin::pin;
use std::task::Poll;

use futures_lite::future::poll_once;
use snowshoe::{
    Binding, BufferPolicy, Client, Confirmation, Driver, Event, Exchange, FieldTable, Message,
    Producer, ProducerId, Properties, PropertiesRef, PublishErrorReason, Queue, ReplyCode,
    SendMessageError, ShortString, Unconfirmed, UnconfirmedReason,
};
use support::broker::url;
use support::cable::Cable;
use support::client::{self, connect};
use support::events::{find_event, next_event};
use support::executor;
use support::messages::{numbered, text};
use support::queues::{
    declare, declare_empty, fresh_queue, new_queue, take_bodies, take_numbers, unique, with_queue,
};
use support::waiting::{run, within};

fn unconfirmed(result: Result<(), SendMessageError>) -> Unconfirmed {
    match result {
        Err(SendMessageError::Unconfirmed(unconfirmed)) => unconfirmed,
        other => panic!("accepted but not confirmed, not {other:?}"),
    }
}

/// A client that does not connect until its driver is run, with a producer to a queue that is there.
async fn offline(
    configure: impl FnOnce(snowshoe::ProducerBuilder) -> snowshoe::ProducerBuilder,
) -> (Producer, ShortString, Client, Driver) {
    let (client, queue) = with_queue().await;
    client.close().await;
    let (client, driver) = executor::build(client::builder(&url()));
    let producer = configure(client.producer(queue.clone()).unwrap()).build();
    (producer, queue, client, driver)
}

#[test]
fn a_confirmed_message_is_in_the_queue() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(queue.clone()).unwrap().build();
        producer.send("hello").await.unwrap();
        assert_eq!(producer.buffered(), 0);
        assert_eq!(take_bodies(&client, &queue).await, ["hello"]);
    });
}

#[test]
fn confirmations_can_be_awaited_in_any_order() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(queue.clone()).unwrap().build();
        let mut confirmations: Vec<Confirmation> = Vec::new();
        for number in 0..100 {
            confirmations.push(producer.publish(number.to_string()).await.unwrap());
        }
        for confirmation in confirmations.into_iter().rev() {
            confirmation.await.unwrap();
        }
        let expected: Vec<String> = (0..100).map(|number| number.to_string()).collect();
        assert_eq!(take_bodies(&client, &queue).await, expected);
    });
}

#[test]
fn a_message_that_a_full_queue_rejects_is_nacked() {
    run(async {
        let client = connect(&url()).await;
        let queue = declare(&client, new_queue().max_length(1).reject_publish()).await;
        let producer = client.producer(queue.clone()).unwrap().build();
        producer.send("fits").await.unwrap();
        let result = producer.send("does not").await;
        let unconfirmed = unconfirmed(result);
        assert_eq!(unconfirmed.reason, UnconfirmedReason::Nacked);
        assert!(!unconfirmed.possibly_stored);

        assert_eq!(take_bodies(&client, &queue).await, ["fits"]);
        producer.send("fits again").await.unwrap();
    });
}

#[test]
fn a_message_to_a_missing_queue_is_returned_with_all_that_it_was() {
    run(async {
        let client = connect(&url()).await;
        let missing = unique("missing");
        let properties = Properties::builder().message_id("7").build().unwrap();
        let message = Message::from("hello").with_properties(properties.clone());
        let producer = client.producer(missing.clone()).unwrap().build();

        let UnconfirmedReason::Returned(returned) =
            unconfirmed(producer.send(message).await).reason
        else {
            panic!("the message was to be returned");
        };
        assert_eq!(returned.code, ReplyCode::NO_ROUTE);
        assert_eq!(returned.exchange, "");
        assert_eq!(returned.routing_key, *missing);
        assert_eq!(
            returned.properties.decode().unwrap().message_id.unwrap(),
            "7"
        );
        assert_eq!(&returned.body[..], b"hello");
    });
}

#[test]
fn returns_belong_to_their_messages_even_among_equal_ones() {
    run(async {
        let (client, queue) = with_queue().await;
        let missing = unique("missing");
        let producer = client.producer(queue.clone()).unwrap().build();
        let mut confirmations = Vec::new();
        for number in 0..100 {
            let mut message = Message::from("all the same");
            if number % 3 == 0 {
                message = message.with_routing_key(missing.clone()).unwrap();
            }
            confirmations.push(producer.publish(message).await.unwrap());
        }
        for (number, confirmation) in confirmations.into_iter().enumerate() {
            let returned = matches!(
                confirmation.await,
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Returned(_),
                    ..
                })
            );
            assert_eq!(returned, number % 3 == 0, "message {number}");
        }
    });
}

#[test]
fn a_message_to_nobody_is_confirmed_unless_it_is_mandatory() {
    run(async {
        let client = connect(&url()).await;
        let missing = client.producer(unique("missing")).unwrap();
        missing.mandatory(false).build().send("").await.unwrap();

        // To an exchange it is the other way round: nothing need be bound to it.
        let fanout = |mandatory| {
            let builder = client.exchange_producer("amq.fanout", unique("key"));
            builder.unwrap().mandatory(mandatory).build()
        };
        let builder = client
            .exchange_producer("amq.direct", unique("key"))
            .unwrap();
        builder.build().send("").await.unwrap();
        let result = fanout(true).send("").await;
        let reason = unconfirmed(result).reason;
        assert!(matches!(reason, UnconfirmedReason::Returned(_)));
    });
}

#[test]
fn a_message_can_override_the_routing_key() {
    run(async {
        let (client, left) = with_queue().await;
        let right = fresh_queue(&client).await;
        let exchange = unique("exchange");
        let declared = client.declare(Exchange::direct(&*exchange).auto_delete());
        declared.await.unwrap();
        for (queue, key) in [(&left, "left"), (&right, "right")] {
            let binding = Binding::queue(queue.clone()).to_exchange(&*exchange);
            client.declare(binding.routing_key(key)).await.unwrap();
        }

        let producer = client
            .exchange_producer(&*exchange, "left")
            .unwrap()
            .build();
        producer.send("as it is").await.unwrap();
        let message = Message::from("overridden").with_routing_key("right");
        producer.send(message.unwrap()).await.unwrap();
        assert_eq!(take_bodies(&client, &left).await, ["as it is"]);
        assert_eq!(take_bodies(&client, &right).await, ["overridden"]);
    });
}

#[test]
fn all_properties_arrive_as_they_were_sent() {
    run(async {
        let (client, queue) = with_queue().await;
        let nested = FieldTable::new().with("inner", true).unwrap();
        let sent = Properties::builder()
            .content_type("text/plain")
            .content_encoding("identity")
            // In this order, in which RabbitMQ 4 hands them on, whatever they came in.
            .header("number", 42)
            .header("table", nested.as_table_ref())
            .header("text", "täxt")
            .persistent()
            .priority(3)
            .correlation_id("correlation")
            .reply_to("replies")
            .expiration("60000")
            .message_id("message")
            .timestamp(1_234_567_890)
            .kind("greeting")
            .user_id("guest")
            .app_id("tests")
            .cluster_id("cluster")
            .build()
            .unwrap();
        let producer = client.producer(queue.clone()).unwrap().build();
        let message = Message::from("hello").with_properties(sent.clone());
        producer.send(message).await.unwrap();

        let mut consumer = client.consumer(queue).unwrap().start().await.unwrap();
        let delivery = consumer.next().await.unwrap();
        assert_eq!(delivery.content().raw_properties(), sent.as_bytes());
        let PropertiesRef { kind, headers, .. } = delivery.properties().unwrap();
        assert_eq!(kind.unwrap(), "greeting");
        let number = headers.unwrap().get("number").unwrap().unwrap();
        assert_eq!(number.as_i64(), Some(42));
        delivery.ack().unwrap();
    });
}

#[test]
fn messages_are_persistent_unless_they_say_otherwise() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(queue.clone()).unwrap().build();
        producer.send("persistent").await.unwrap();
        // case I6: they say nothing about it.
        for silent in [
            Properties::default(),
            Properties::builder().header("a", 1).build().unwrap(),
        ] {
            let message = Message::from("persistent, too").with_properties(silent);
            producer.send(message).await.unwrap();
        }
        let own = Properties::builder().transient().build().unwrap();
        producer
            .send(Message::from("as it says").with_properties(own))
            .await
            .unwrap();

        let mut consumer = client.consumer(queue).unwrap().start().await.unwrap();
        for expected in [Some(2), Some(2), Some(2), Some(1)] {
            let delivery = consumer.next().await.unwrap();
            assert_eq!(delivery.properties().unwrap().delivery_mode, expected);
            delivery.ack().unwrap();
        }
    });
}

#[test]
fn bodies_of_all_sizes_arrive_whole() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(queue.clone()).unwrap().build();
        let mut consumer = client.consumer(queue).unwrap().start().await.unwrap();
        // Around what fits into one frame and into two, and far beyond.
        let frame = 131_072 - 8;
        let around = [frame - 1, frame, frame + 1, 2 * frame, 2 * frame + 1];
        for size in [0, 1].into_iter().chain(around).chain([5 << 20]) {
            let body: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
            producer.send(body.clone()).await.unwrap();
            let delivery = consumer.next().await.unwrap();
            assert!(delivery.body() == body, "{size} bytes");
            delivery.ack().unwrap();
        }
    });
}

#[test]
fn a_message_whose_properties_fit_into_no_frame_is_refused_alone() {
    run(async {
        let (client, queue) = with_queue().await;
        let huge = "x".repeat(200_000);
        let properties = Properties::builder().header("huge", &*huge).build();
        let huge = Message::from("huge").with_properties(properties.unwrap());
        let producer = client.producer(queue.clone()).unwrap().build();

        let before = producer.publish("before").await.unwrap();
        let refused = producer.publish(huge).await.unwrap();
        let after = producer.publish("after").await.unwrap();
        before.await.unwrap();
        let refused = refused.await.unwrap_err().reason;
        assert!(matches!(refused, UnconfirmedReason::Unsendable(_)));
        after.await.unwrap();
        assert_eq!(take_bodies(&client, &queue).await, ["before", "after"]);
    });
}

#[test]
fn the_buffer_can_be_filled_before_the_client_connects() {
    run(async {
        let (producer, queue, client, driver) = offline(|it| it.capacity(3)).await;
        assert_eq!((producer.buffered(), producer.capacity()), (0, 3));
        for body in ["one", "two", "three"] {
            drop(producer.try_publish(body).unwrap());
        }
        assert_eq!((producer.buffered(), producer.buffered_bytes()), (3, 11));

        let error = producer.try_publish("four").unwrap_err();
        assert_eq!(error.reason, PublishErrorReason::BufferFull);
        assert_eq!(&error.message.body()[..], b"four");

        executor::spawn(driver);
        producer.flushed().await;
        assert_eq!(producer.buffered(), 0);
        assert_eq!(take_bodies(&client, &queue).await, ["one", "two", "three"]);
    });
}

#[test]
fn the_buffer_is_bounded_in_bytes_too() {
    run(async {
        let (producer, queue, client, driver) = offline(|it| it.capacity_bytes(10)).await;
        assert_eq!(producer.capacity_bytes(), 10);
        drop(producer.try_publish("123456789").unwrap());
        let error = producer.try_publish("12").unwrap_err();
        assert_eq!(error.reason, PublishErrorReason::BufferFull);
        drop(producer.try_publish("0").unwrap());

        executor::spawn(driver);
        producer.flushed().await;
        assert_eq!(take_bodies(&client, &queue).await, ["123456789", "0"]);
    });
}

#[test]
fn a_message_larger_than_the_buffer_is_never_accepted() {
    let (client, _driver) = client::builder(&url()).build();
    for policy in [
        BufferPolicy::Block,
        BufferPolicy::Error,
        BufferPolicy::DropOldest,
    ] {
        let builder = client.producer("any").unwrap().policy(policy);
        let producer = builder.capacity_bytes(3).build();
        let error = run(producer.publish("1234")).unwrap_err();
        assert_eq!(error.reason, PublishErrorReason::TooLarge, "{policy:?}");
        assert_eq!(&error.message.body()[..], b"1234");
    }
}

#[test]
fn a_publish_that_is_dropped_while_it_waits_for_room_publishes_nothing() {
    run(async {
        let (producer, queue, client, driver) = offline(|it| it.capacity(1)).await;
        drop(producer.try_publish("one").unwrap());
        let mut waiting = Box::pin(producer.publish("two"));
        assert!(poll_once(&mut waiting).await.is_none());
        drop(waiting);

        executor::spawn(driver);
        producer.send("three").await.unwrap();
        assert_eq!(take_bodies(&client, &queue).await, ["one", "three"]);
    });
}

#[test]
fn a_publish_that_waits_for_room_goes_on_when_there_is_some() {
    run(async {
        let (producer, queue, client, driver) = offline(|it| it.capacity(1)).await;
        executor::spawn(driver);
        for body in ["one", "two", "three"] {
            drop(producer.publish(body).await.unwrap());
        }
        producer.flushed().await;
        assert_eq!(take_bodies(&client, &queue).await, ["one", "two", "three"]);
    });
}

#[test]
fn dropping_a_confirmation_changes_nothing() {
    run(async {
        let (client, queue) = with_queue().await;
        let mut events = client.events();
        let producer = client.producer(queue.clone()).unwrap().build();
        drop(producer.publish("hello").await.unwrap());
        let confirmed = |event| match event {
            Event::Confirmed { producer, count } => Some((producer, count)),
            _ => None,
        };
        let found = find_event(&mut events, "the confirm", confirmed).await;
        assert_eq!(found, (producer.id(), 1));
        assert_eq!(take_bodies(&client, &queue).await, ["hello"]);
    });
}

#[test]
fn a_dropped_producer_publishes_what_it_had_accepted() {
    run(async {
        let (producer, queue, client, driver) = offline(|it| it).await;
        let confirmation = producer.try_publish("hello").unwrap();
        drop(producer);
        executor::spawn(driver);
        confirmation.await.unwrap();
        assert_eq!(take_bodies(&client, &queue).await, ["hello"]);
    });
}

#[test]
fn events_tell_how_messages_ended_and_whose_they_were() {
    run(async {
        let client = connect(&url()).await;
        let mut events = client.events();
        let full = declare(&client, new_queue().max_length(1).reject_publish()).await;
        let missing = unique("missing");

        let producer = client.producer(full).unwrap().build();
        let returning = client.producer(missing.clone()).unwrap().build();
        let rejected = client.exchange_producer(&*missing, "").unwrap().build();
        assert_ne!(producer.id(), returning.id());
        producer.send("confirmed").await.unwrap();
        producer.send("nacked").await.unwrap_err();
        returning.send("returned").await.unwrap_err();
        rejected.send("rejected").await.unwrap_err();

        let mut told: Vec<(ProducerId, String)> = Vec::new();
        while told.len() < 4 {
            let outcome = |event| match event {
                Event::Confirmed { producer, count } => {
                    Some((producer, format!("{count} confirmed")))
                }
                Event::Nacked { producer, count } => Some((producer, format!("{count} nacked"))),
                Event::Returned { producer, returned } => Some((producer, text(&returned.body))),
                Event::Rejected { producer, reason } => Some((producer, reason.code.to_string())),
                _ => None,
            };
            told.push(find_event(&mut events, "the outcomes", outcome).await);
        }
        assert_eq!(
            told,
            [
                (producer.id(), "1 confirmed".to_owned()),
                (producer.id(), "1 nacked".to_owned()),
                (returning.id(), "returned".to_owned()),
                (rejected.id(), "404 NOT_FOUND".to_owned()),
            ]
        );
    });
}

#[test]
fn clones_of_a_producer_share_its_buffer_and_its_order() {
    run(async {
        let (producer, queue, client, driver) = offline(|it| it.capacity(2)).await;
        let clone = producer.clone();
        drop(clone.try_publish("one").unwrap());
        drop(producer.try_publish("two").unwrap());
        assert_eq!((clone.buffered(), clone.id()), (2, producer.id()));
        assert!(clone.try_publish("three").is_err());

        executor::spawn(driver);
        clone.flushed().await;
        assert_eq!(take_bodies(&client, &queue).await, ["one", "two"]);
    });
}

#[test]
fn fire_and_forget_messages_arrive_in_order() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(queue.clone()).unwrap();
        let producer = producer.fire_and_forget().build();
        let mut consumer = client.consumer(queue).unwrap().start().await.unwrap();
        for number in 0..1000 {
            producer.publish(number.to_string()).await.unwrap();
        }
        for number in 0..1000 {
            let delivery = consumer.next().await.unwrap();
            assert_eq!(delivery.body(), number.to_string().as_bytes());
            delivery.ack().unwrap();
        }
        producer.flushed().await;
        assert_eq!(producer.buffered(), 0);
    });
}

#[test]
fn names_over_255_bytes_are_refused_at_once() {
    let (client, _driver) = client::builder(&url()).build();
    let name = "n".repeat(256);
    assert!(client.producer(&*name).is_err());
    assert!(client.exchange_producer(&*name, "").is_err());
    assert!(client.exchange_producer("", &*name).is_err());
    assert!(Message::from("").with_routing_key(&*name).is_err());
    assert!(client.producer(&name[1..]).is_ok());
}

// fault 15
#[test]
fn a_publish_that_is_given_up_at_any_moment_does_not_shift_the_confirms_of_the_others() {
    const QUEUE: &str = "publishing: given up";
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
        assert_eq!(unconfirmed(refused).reason, UnconfirmedReason::Nacked);
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
    const QUEUE: &str = "publishing: early confirm";
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

// case B3
#[test]
fn a_publish_that_is_asked_once_and_given_up_is_accepted_again_after_one_turn() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(queue).unwrap().build();
        let mut passed = 0;
        for number in 0..5_000 {
            let accepted = poll_once(pin!(producer.publish(numbered(number, 20)))).await;
            passed = if accepted.is_some() { 0 } else { passed + 1 };
            assert!(passed <= 1, "{number} was not the first to wait");
        }
        producer.flushed().await;
    });
}

// case B4
#[test]
fn room_is_not_kept_for_a_publish_that_nobody_polls() {
    run(async {
        let (producer, _, _client, driver) = offline(|builder| builder.capacity(4)).await;
        for number in 0..4 {
            drop(producer.try_publish(numbered(number, 20)).unwrap());
        }
        // More of them than there is room for are kept, and not polled again.
        let mut kept: Vec<_> = (0..10)
            .map(|number| Box::pin(producer.publish(numbered(number, 20))))
            .collect();
        for publish in &mut kept {
            assert!(poll_once(publish).await.is_none());
        }
        let patient = producer.publish(numbered(99, 20));
        executor::spawn(driver);
        drop(within("the one that is polled", patient).await.unwrap());
        producer.flushed().await;
        assert_eq!(producer.buffered(), 0);
        drop(
            producer
                .try_publish(numbered(100, 20))
                .expect("the buffer is empty"),
        );
    });
}

// case B5
#[test]
fn a_flush_is_about_what_was_accepted_before_it() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(queue).unwrap().build();
        for number in 0..100 {
            drop(producer.publish(numbered(number, 20)).await.unwrap());
        }
        let mut flushed = pin!(producer.flushed());
        let mut count = 0;
        // The buffer is never empty while this goes on.
        while poll_once(&mut flushed).await.is_none() {
            drop(producer.publish(numbered(count, 20)).await.unwrap());
            count += 1;
            assert!(count < 10_000_000, "it never completes");
        }
    });
}
