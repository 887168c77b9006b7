//! The protocol by hand: channels that users drive.

use futures_lite::future::{poll_once, try_zip};
use snowshoe::codec::method::{basic, confirm, queue, tx};
use snowshoe::codec::{Got, Method, PublisherConfirm, SendError};
use snowshoe::{Channel, ChannelEvent, Client, Error, Message, Properties, ReplyCode, ShortString};
use support::broker::url;
use support::client::{self, connect};
use support::executor;
use support::messages::{numbered, text};
use support::queues::{
    declare_empty, publish, ready_in, take_bodies, take_numbers, unique, until_ready, with_queue,
};
use support::scripted_broker::{Answer, Broker, Heard};
use support::waiting::{run, within};

async fn with_channel() -> (Client, ShortString, Channel) {
    let (client, queue) = with_queue().await;
    let channel = client.channel().await.unwrap();
    (client, queue, channel)
}

async fn get(channel: &Channel, queue: &ShortString) -> Option<Got> {
    let queue = queue.as_str().unwrap();
    channel.get(queue, false).await.unwrap()
}

async fn put(channel: &Channel, queue: &ShortString, body: &'static str) -> Option<u64> {
    let queue = queue.as_str().unwrap();
    channel.publish("", queue, body).await.unwrap()
}

async fn event(channel: &mut Channel) -> ChannelEvent {
    let event = within("an event", channel.next_event()).await;
    event.expect("the channel is open")
}

fn ack(delivery_tag: u64) -> basic::Ack {
    basic::Ack {
        delivery_tag,
        multiple: false,
    }
}

/// Asks whether a queue is there.
fn passive(queue: impl TryInto<ShortString>) -> queue::Declare {
    queue::Declare {
        queue: queue.try_into().unwrap_or_default(),
        passive: true,
        ..Default::default()
    }
}

/// The code with which the broker closed the channel.
fn code(error: &Error) -> ReplyCode {
    match error {
        Error::Refused(close) => close.code,
        other => panic!("closed by the broker, not {other}"),
    }
}

#[test]
fn get_fetches_one_message_or_none() {
    run(async {
        let (client, queue, channel) = with_channel().await;
        assert!(get(&channel, &queue).await.is_none());
        publish(&client, &queue, &["1", "2"]).await;

        let got = get(&channel, &queue).await.unwrap();
        assert_eq!(
            (text(got.content.body()), got.message_count),
            ("1".to_owned(), 1)
        );
        assert!(!got.redelivered);
        let requeue = basic::Nack {
            delivery_tag: got.delivery_tag,
            requeue: true,
            ..Default::default()
        };
        channel.send(requeue).await.unwrap();
        let again = get(&channel, &queue).await.unwrap();
        assert!(again.redelivered);
        channel.send(ack(again.delivery_tag)).await.unwrap();
        assert_eq!(take_bodies(&client, &queue).await, ["2"]);
    });
}

#[test]
fn a_transaction_is_committed_whole_or_not_at_all() {
    run(async {
        let (client, queue, channel) = with_channel().await;
        channel.call(tx::Select {}).await.unwrap();
        put(&channel, &queue, "dropped").await;
        channel.call(tx::Rollback {}).await.unwrap();
        put(&channel, &queue, "1").await;
        put(&channel, &queue, "2").await;
        assert_eq!(ready_in(&client, &queue).await, 0);
        channel.call(tx::Commit {}).await.unwrap();
        assert_eq!(take_bodies(&client, &queue).await, ["1", "2"]);
    });
}

#[test]
fn publishes_are_numbered_and_confirmed_by_their_numbers() {
    run(async {
        let (_client, queue, mut channel) = with_channel().await;
        assert_eq!(put(&channel, &queue, "without a number").await, None);
        channel.call(confirm::Select::default()).await.unwrap();
        for number in 1..=3 {
            assert_eq!(put(&channel, &queue, "numbered").await, Some(number));
        }
        let mut confirmed = 0;
        while confirmed < 3 {
            let ChannelEvent::Confirm(PublisherConfirm {
                delivery_tag,
                multiple,
                ack,
            }) = event(&mut channel).await
            else {
                panic!("nothing but confirms is to come");
            };
            assert!(ack);
            assert!(multiple || delivery_tag == confirmed + 1);
            confirmed = delivery_tag;
        }
    });
}

#[test]
fn a_mandatory_message_to_nobody_comes_back() {
    run(async {
        let (_client, _queue, mut channel) = with_channel().await;
        let properties = Properties::builder().message_id("7").build().unwrap();
        let message = Message::from("hello").with_properties(properties);
        let missing = unique("missing");
        channel
            .publish_mandatory("", &missing, message)
            .await
            .unwrap();
        let ChannelEvent::Returned(returned) = event(&mut channel).await else {
            panic!("the message was to come back");
        };
        assert_eq!(returned.code, ReplyCode::NO_ROUTE);
        assert_eq!(returned.content.body(), b"hello");
        let message_id = returned.content.properties().unwrap().message_id;
        assert_eq!(message_id.unwrap(), "7");
    });
}

#[test]
fn a_message_can_bring_its_routing_key() {
    run(async {
        let (client, queue, channel) = with_channel().await;
        let message = Message::from("hello").with_routing_key(queue.clone());
        let message = message.unwrap();
        channel.publish("", "elsewhere", message).await.unwrap();
        until_ready(&client, &queue, 1).await;
    });
}

#[test]
fn a_consumer_can_be_driven_by_hand() {
    run(async {
        let (client, queue, mut channel) = with_channel().await;
        let limit = basic::Qos {
            prefetch_count: 1,
            ..Default::default()
        };
        channel.call(limit).await.unwrap();
        let consume = basic::Consume {
            queue: queue.clone(),
            consumer_tag: "by-hand".try_into().unwrap(),
            ..Default::default()
        };
        let started = channel.call(consume).await.unwrap();
        assert_eq!(started.consumer_tag, "by-hand");

        publish(&client, &queue, &["1", "2", "3"]).await;
        for expected in ["1", "2"] {
            let ChannelEvent::Delivery(delivery) = event(&mut channel).await else {
                panic!("nothing but deliveries is to come");
            };
            assert_eq!(text(delivery.content.body()), expected);
            assert_eq!(delivery.consumer_tag(), "by-hand");
            channel.send(ack(delivery.delivery_tag)).await.unwrap();
        }
        let cancel = basic::Cancel {
            consumer_tag: started.consumer_tag,
            nowait: false,
        };
        channel.call(cancel).await.unwrap();
    });
}

#[test]
fn the_end_of_a_consumer_that_is_driven_by_hand_is_told() {
    run(async {
        let (client, queue, mut channel) = with_channel().await;
        let consume = basic::Consume {
            queue: queue.clone(),
            ..Default::default()
        };
        let started = channel.call(consume).await.unwrap();
        client.delete_queue(queue).await.unwrap();
        let ChannelEvent::ConsumerCancelled { consumer_tag } = event(&mut channel).await else {
            panic!("the consumer was to be cancelled");
        };
        assert_eq!(consumer_tag, started.consumer_tag);
    });
}

/// What comes to 64 MiB is kept, and nobody reads.
// case G2
#[test]
fn a_channel_that_is_not_read_ends_and_its_neighbours_do_not() {
    const LEN: usize = 1 << 20;
    run(async {
        let broker = Broker::start(|heard| match heard {
            Heard::Method(Method::BasicConsume(_)) => Answer::Flood(200, LEN),
            _ => Answer::Usual,
        });
        let client = connect(&broker.url()).await;
        let (mut channel, neighbour) = (
            client.channel().await.unwrap(),
            client.channel().await.unwrap(),
        );
        let consume = basic::Consume {
            queue: "q".try_into().unwrap(),
            no_ack: true,
            ..Default::default()
        };
        channel.call(consume).await.unwrap();
        let closed = within("the end of the channel", async {
            loop {
                neighbour.call(passive("q")).await.unwrap();
                if let Some(closed) = channel.closed() {
                    return closed;
                }
            }
        });
        assert!(matches!(closed.await, Error::ChannelOverrun));
        let mut kept = 0;
        while let Some(event) = channel.next_event().await {
            assert!(matches!(event, ChannelEvent::Delivery(_)));
            kept += 1;
        }
        assert_eq!(kept, 63);
        let refused = channel.call(passive("q")).await;
        assert!(matches!(refused, Err(Error::ChannelOverrun)), "{refused:?}");
        neighbour.call(passive("q")).await.unwrap();
    });
}

#[test]
fn a_refused_call_closes_its_channel_and_no_other() {
    run(async {
        let (client, queue, mut channel) = with_channel().await;
        assert!(channel.closed().is_none());
        let other = client.channel().await.unwrap();
        let error = channel.call(passive(unique("missing"))).await.unwrap_err();
        assert_eq!(code(&error), ReplyCode::NOT_FOUND);

        // Whatever is asked of it from now on, it says why it is closed.
        assert_eq!(code(&channel.closed().unwrap()), ReplyCode::NOT_FOUND);
        let error = channel.call(passive(queue.clone())).await.unwrap_err();
        assert_eq!(code(&error), ReplyCode::NOT_FOUND);
        assert!(channel.send(ack(1)).await.is_err());
        assert!(channel.publish("", "any", "").await.is_err());
        assert!(channel.get("any", true).await.is_err());
        assert!(channel.next_event().await.is_none());

        other.call(passive(queue)).await.unwrap();
    });
}

#[test]
fn an_ack_that_the_broker_does_not_expect_closes_the_channel() {
    run(async {
        let (_client, _queue, mut channel) = with_channel().await;
        channel.send(ack(7)).await.unwrap();
        assert!(within("the end", channel.next_event()).await.is_none());
        let closed = channel.closed().unwrap();
        assert_eq!(code(&closed), ReplyCode::PRECONDITION_FAILED);
    });
}

#[test]
fn several_calls_can_be_under_way() {
    run(async {
        let (client, queue, channel) = with_channel().await;
        publish(&client, &queue, &["1"]).await;
        let purge = queue::Purge {
            queue: queue.clone(),
            ..Default::default()
        };
        let declare = async { channel.call(passive(queue.clone())).await };
        let purge = async { channel.call(purge).await };
        let (declared, purged) = try_zip(declare, purge).await.unwrap();
        assert_eq!((declared.message_count, purged.message_count), (1, 1));
    });
}

#[test]
fn a_dropped_call_does_not_take_the_reply_of_the_next() {
    run(async {
        let (client, queue, channel) = with_channel().await;
        publish(&client, &queue, &["1"]).await;
        let mut dropped = Box::pin(channel.call(passive(queue.clone())));
        assert!(poll_once(&mut dropped).await.is_none());
        drop(dropped);
        let purge = queue::Purge {
            queue,
            ..Default::default()
        };
        assert_eq!(channel.call(purge).await.unwrap().message_count, 1);
    });
}

#[test]
fn a_call_without_an_answer_is_to_be_sent_and_one_with_an_answer_to_be_called() {
    run(async {
        let (_client, queue, channel) = with_channel().await;
        let with_answer = passive(queue);
        let mut without = with_answer.clone();
        without.nowait = true;
        let not_sendable = |error| matches!(error, Error::Send(SendError::NotSendable(_)));
        assert!(not_sendable(
            channel.call(without.clone()).await.unwrap_err()
        ));
        assert!(not_sendable(
            channel.send(with_answer.clone()).await.unwrap_err()
        ));

        channel.send(without).await.unwrap();
        channel.call(with_answer).await.unwrap();
    });
}

#[test]
fn a_dropped_channel_is_closed() {
    run(async {
        let (client, queue, channel) = with_channel().await;
        publish(&client, &queue, &["hello"]).await;
        let got = get(&channel, &queue).await.unwrap();
        assert_eq!(ready_in(&client, &queue).await, 0);
        drop((channel, got));
        // What it had not acknowledged goes back.
        until_ready(&client, &queue, 1).await;
    });
}

#[test]
fn there_are_no_more_channels_than_were_agreed() {
    run(async {
        let url = url();
        let separator = if url.contains('?') { '&' } else { '?' };
        let builder = client::builder(&format!("{url}{separator}channel_max=3"));
        let client = executor::connect(builder).await.unwrap();
        // The last is for calls.
        let first = client.channel().await.unwrap();
        let _second = client.channel().await.unwrap();
        let error = client.channel().await.unwrap_err();
        assert!(matches!(error, Error::NoFreeChannel), "{error}");

        // A channel that is closed makes room, as soon as the broker has agreed.
        drop(first);
        let third = async { while client.channel().await.is_err() {} };
        within("a free channel", third).await;
    });
}

#[test]
fn a_name_over_255_bytes_leaves_the_channel_as_it_is() {
    run(async {
        let (_client, queue, channel) = with_channel().await;
        let long = "n".repeat(256);
        assert!(matches!(
            channel.get(&long, true).await,
            Err(Error::TooLong(_))
        ));
        let publish = channel.publish("", &long, "").await;
        assert!(matches!(publish, Err(Error::TooLong(_))));
        channel.call(passive(queue)).await.unwrap();
    });
}

#[test]
fn a_channel_of_a_closed_client_says_so() {
    run(async {
        let client = connect(&url()).await;
        let mut channel = client.channel().await.unwrap();
        client.close().await;
        assert!(channel.next_event().await.is_none());
        assert!(matches!(channel.closed(), Some(Error::Closed)));
        let error = channel.call(tx::Select {}).await.unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
        let error = client.channel().await.unwrap_err();
        assert!(matches!(error, Error::Closed), "{error}");
    });
}

// fault 3
#[test]
fn no_acknowledgement_of_everything_can_be_sent_by_mistake() {
    const QUEUE: &str = "channels: tag zero";
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
