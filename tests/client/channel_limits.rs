//! Fewer channels than are wanted: producers share them, calls go on, and who is refused hears of it.

use std::pin::pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, mpsc};

use futures_lite::future::zip;
use snowshoe::codec::Method;
use snowshoe::{
    Client, Consumer, Entity, Error, Event, Events, Message, Properties, Queue, ReplyCode,
    ShortString, Unconfirmed, UnconfirmedReason,
};
use support::broker::{Node, url};
use support::client::{builder, connect};
use support::events::next_event;
use support::executor;
use support::proxy::{End, Proxy};
use support::queues::{fresh_queue, ready_in, unique};
use support::scripted_broker::{Answer, Broker, Heard};
use support::waiting::{eventually, run, wait_until, within};

/// A client of a proxy, whose connections may have so many channels.
async fn with_channels(proxy: &Proxy, channel_max: u16) -> Client {
    let builder = builder(&format!("{}?channel_max={channel_max}", proxy.url()));
    within("the connection", executor::connect(builder))
        .await
        .expect("the broker is there")
}

async fn consumer_of(client: &Client, queue: &ShortString) -> Result<Consumer, Error> {
    within(
        "an answer",
        client.consumer(queue.clone()).expect("a name").start(),
    )
    .await
}

fn assert_one_connection_was_lost_at_most(events: &mut Events) {
    let events = std::iter::from_fn(|| events.try_next());
    let ends = events.filter(|event| matches!(event, Event::Disconnected { .. }));
    let ends: Vec<_> = ends.collect();
    assert!(ends.len() <= 1, "connections were lost: {ends:?}");
}

// case B1
#[test]
fn any_number_of_producers_publish_on_few_channels_through_cuts() {
    run(async {
        for channel_max in [1, 2, 5] {
            let proxy = Proxy::start(&url());
            let client = with_channels(&proxy, channel_max).await;
            let queue = fresh_queue(&client).await;
            let mut producers = Vec::new();
            for _ in 0..40 {
                producers.push(client.producer(queue.clone()).unwrap().build());
            }
            let mut confirmations = Vec::new();
            for round in 0..10 {
                for producer in &producers {
                    confirmations.push(producer.try_publish("a").unwrap());
                }
                if round % 4 == 3 {
                    proxy.all().end(End::Reset);
                }
            }
            for confirmation in confirmations {
                within("a confirm", confirmation).await.unwrap();
            }
            // What was written when a connection was cut may be there twice.
            assert!(ready_in(&connect(&url()).await, &queue).await >= 400);
            // Each is told of its own.
            let lost = producers[0].send(Message::from("b"));
            within("a confirm", lost).await.unwrap();
            let nowhere = client.producer("no such queue").unwrap().build();
            let returned = within("a return", nowhere.send("c")).await;
            assert!(matches!(
                returned,
                Err(snowshoe::SendMessageError::Unconfirmed(Unconfirmed {
                    reason: UnconfirmedReason::Returned(_),
                    ..
                }))
            ));
            client.close().await;
        }
    });
}

// case B1
#[test]
fn with_two_channels_calls_work_and_a_second_consumer_is_refused() {
    run(async {
        let proxy = Proxy::start(&url());
        let client = with_channels(&proxy, 2).await;
        let queue = fresh_queue(&client).await;
        let mut consumer = consumer_of(&client, &queue).await.expect("the first");
        let refused = consumer_of(&client, &queue).await;
        assert!(matches!(refused, Err(Error::NoFreeChannel)), "{refused:?}");
        for _ in 0..2 {
            let producer = client.producer(queue.clone()).unwrap().build();
            within("a confirm", producer.send("a")).await.unwrap();
            let delivery = within("a message", consumer.next()).await.unwrap();
            delivery.ack().unwrap();
            fresh_queue(&client).await;
            proxy.all().end(End::Reset);
        }
        within("an answer", client.declare(Queue::server_named()))
            .await
            .unwrap();
        client.close().await;
    });
}

/// How many channels a user has, as RabbitMQ counts them for a limit: some time after they have come
/// and gone.
fn counted(node: &Node) -> usize {
    let count = "length(rabbit_channel_tracking:list_of_user(<<\"guest\">>))";
    let count = node.admin().eval(count);
    count.parse().expect("a length is a number")
}

/// How many channels there are.
fn there_are(node: &Node) -> usize {
    let count = node.admin().eval("length(rabbit_channel:list())");
    count.parse().expect("a length is a number")
}

fn set_limit_of_3(node: &Node) {
    let set = &["set_user_limits", "guest", r#"{"max-channels": 3}"#];
    node.admin().ctl(set);
    let limits = "map_size(rabbit_auth_backend_internal:get_user_limits(<<\"guest\">>))";
    wait_until("the limit is known", || node.admin().eval(limits) == "1");
}

/// Starts consumers until there are as many channels as the limit allows.
async fn consumers_up_to_limit(node: &Node, client: &Client, queue: &ShortString) -> Vec<Consumer> {
    let mut consumers = Vec::new();
    while counted(node) < 3 {
        let consumer = consumer_of(client, queue).await;
        consumers.push(consumer.expect("the limit is not reached"));
        wait_until("all channels are counted", || {
            counted(node) == there_are(node)
        });
    }
    assert_eq!(consumers.len(), 2, "the third channel is that of calls");
    consumers
}

/// Takes from each consumer some of the messages that are published meanwhile.
async fn assert_all_consume(client: &Client, queue: &ShortString, consumers: &mut [Consumer]) {
    let producer = client.producer(queue.clone()).unwrap().build();
    for _ in 0..30 {
        within("a confirm", producer.send("a")).await.unwrap();
    }
    let count = consumers.len();
    for (number, consumer) in consumers.iter_mut().enumerate() {
        for _ in 0..3 {
            let what = format!("a message for consumer {number} of {count}");
            let delivery = within(&what, consumer.next()).await;
            let delivery = delivery.unwrap_or_else(|| panic!("consumer {number} has ended"));
            delivery.ack().unwrap();
        }
    }
}

// case B8
#[test]
fn a_limit_on_channels_of_the_user_costs_whoever_exceeds_it_and_not_those_who_were_there() {
    run(async {
        let node = Node::start();
        let proxy = Proxy::start(&node.url());
        let client = connect(&proxy.url()).await;
        let mut events = client.events();
        let queue = fresh_queue(&client).await;
        let admin = connect(&node.url()).await;
        set_limit_of_3(&node);
        let mut consumers = consumers_up_to_limit(&node, &client, &queue).await;
        // The client is to come back when the channels that it has lost are not counted any more.
        proxy.refuse();
        let come_back = async {
            next_event(&mut events, "the loss of the connection", |event| {
                matches!(event, Event::Disconnected { .. })
            })
            .await;
            eventually("lost channels are not counted", || counted(&node) == 0).await;
            proxy.accept();
        };
        let (third, ()) = zip(consumer_of(&client, &queue), come_back).await;
        consumers.push(third.expect("calls give up their channel for it"));
        for _ in 0..2 {
            let refused = consumer_of(&client, &queue).await;
            assert!(matches!(refused, Err(Error::NoFreeChannel)), "{refused:?}");
        }

        node.admin().ctl(&["clear_user_limits", "guest", "all"]);
        assert_all_consume(&admin, &queue, &mut consumers).await;
        let links = proxy.stats().links.len();
        let more: Vec<_> = std::iter::from_fn(|| events.try_next()).collect();
        assert_eq!(links, 2, "one connection was lost, and then {more:?}");
        client.close().await;
        admin.close().await;
    });
}

// case B7
#[test]
fn a_producer_whose_channel_is_refused_is_told_and_its_messages_wait_until_it_is_back() {
    run(async {
        let (lift, is_lifted) = mpsc::channel();
        let mut refuses = true;
        let broker = Broker::start(move |heard| {
            refuses &= is_lifted.try_recv().is_err();
            match heard {
                Heard::Method(Method::ConfirmSelect(_)) if refuses => {
                    Answer::Refuse(ReplyCode::NOT_IMPLEMENTED, "no confirms today")
                }
                _ => Answer::Usual,
            }
        });
        let client = connect(&broker.url()).await;
        let mut events = client.events();
        let producer = client.producer("q").unwrap().build();
        let is_it = |entity: &Entity| *entity == Entity::Producer(producer.id());
        let confirmation = producer.publish("a").await.unwrap();
        let told = next_event(
            &mut events,
            "its delay",
            |event| matches!(event, Event::Delayed { entity, reason: Error::Refused(_) } if is_it(entity)),
        );
        told.await;
        lift.send(()).unwrap();
        within("a confirm", confirmation).await.unwrap();
        next_event(
            &mut events,
            "its return",
            |event| matches!(event, Event::Restored { entity } if is_it(entity)),
        )
        .await;
        client.close().await;
    });
}

// case C2
#[test]
fn a_message_that_the_broker_fails_over_without_a_word_is_found_among_its_neighbours() {
    run(async {
        let client = connect(&url()).await;
        let queue = fresh_queue(&client).await;
        let producer = client.producer(queue.clone()).unwrap().build();
        producer.send("first").await.unwrap();
        let mut confirmations = Vec::new();
        for number in 0..10 {
            let mut message = Message::from("a");
            if number == 6 {
                message = message.with_properties(unknown_to_the_broker());
            }
            confirmations.push(producer.try_publish(message).unwrap());
        }
        for (number, confirmation) in confirmations.into_iter().enumerate() {
            let outcome = within("an outcome", confirmation).await;
            match number {
                6 => assert!(
                    matches!(
                        outcome,
                        Err(Unconfirmed {
                            reason: UnconfirmedReason::Rejected(_),
                            ..
                        })
                    ),
                    "{outcome:?}"
                ),
                _ => assert_eq!(outcome, Ok(()), "{number}"),
            }
        }
        client.close().await;
    });
}

/// A table with a value of a type that no broker has heard of.
fn unknown_to_the_broker() -> Properties {
    // property-flags: headers; then the table: its length, a name, and a value of type `!`.
    let encoded: &[u8] = &[0x20, 0, 0, 0, 0, 4, 1, b'x', b'!', 0];
    Properties::from_encoded(bytes::Bytes::from_static(encoded))
}

// case C2
#[test]
fn a_stream_that_the_broker_fails_over_without_a_word_is_refused_and_not_asked_for_again() {
    run(async {
        let client = connect(&url()).await;
        let mut events = client.events();
        let queue = fresh_queue(&client).await;
        let mut neighbour = consumer_of(&client, &queue).await.unwrap();
        let name = unique("a stream");
        let stream = Queue::new(name).argument("x-queue-type", "stream");
        let stream = stream.argument("x-max-age", "zz");
        let refused = within("an answer", client.declare(stream)).await;
        assert!(matches!(refused, Err(Error::Refused(_))), "{refused:?}");
        let producer = client.producer(queue).unwrap().build();
        producer.send("a").await.unwrap();
        let delivery = within("a message", neighbour.next()).await.unwrap();
        delivery.ack().unwrap();
        assert_one_connection_was_lost_at_most(&mut events);
        client.close().await;
    });
}

// case B6
#[test]
fn whoever_waits_for_room_is_woken_although_another_connection_always_has_something_to_read() {
    run(async {
        let (go_on, may_go_on) = mpsc::channel::<()>();
        let mut first = true;
        let broker = Broker::start(move |heard| match heard {
            Heard::Published(_) if std::mem::take(&mut first) => {
                _ = may_go_on.recv();
                Answer::Usual
            }
            Heard::Published(_) => Answer::Silence,
            Heard::Method(_) => Answer::Usual,
        });
        let restless = Arc::new(AtomicBool::new(false));
        let builder = builder(&broker.url()).connector(restless::first_connection(&restless));
        let client = within("the connection", executor::connect(builder))
            .await
            .unwrap();
        restless.store(true, Ordering::Relaxed);
        // So that it is read.
        client.declare(Queue::new("q")).await.unwrap();
        let producer = client.producer("q").unwrap().capacity(10).build();
        for _ in 0..10 {
            drop(producer.try_publish("a").unwrap());
        }
        let mut waiting = pin!(producer.publish("b"));
        assert!(
            futures_lite::future::poll_once(&mut waiting)
                .await
                .is_none()
        );
        go_on.send(()).unwrap();
        // Less than half of the buffer is free, so it is for the driver to find that nothing else comes.
        drop(within("room", waiting).await.unwrap());
    });
}

mod restless {
    //! A transport on which there is always something to read.

    use std::io;
    use std::pin::Pin;
    use std::sync::Arc;
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::task::{Context, Poll};

    use futures_lite::{AsyncRead, AsyncWrite};
    use snowshoe::{Connecting, Connector, Runtime, Target, TcpConnector, Transport};

    /// Makes the first transport one, while it is told to be.
    pub(super) fn first_connection(restless: &Arc<AtomicBool>) -> impl Connector + use<> {
        let (is_first, restless) = (AtomicBool::new(true), Arc::clone(restless));
        move |target: &Target, runtime: &Arc<dyn Runtime>| -> Connecting {
            let restless = match is_first.swap(false, Ordering::Relaxed) {
                true => Arc::clone(&restless),
                false => Arc::default(),
            };
            let connecting = TcpConnector::default().connect(target, runtime);
            Box::pin(async move {
                let inner = connecting.await?;
                Ok(Box::new(Restless { inner, restless }) as Box<dyn Transport>)
            })
        }
    }

    struct Restless {
        inner: Box<dyn Transport>,
        restless: Arc<AtomicBool>,
    }

    const HEARTBEAT: [u8; 8] = [8, 0, 0, 0, 0, 0, 0, 0xCE];

    impl AsyncRead for Restless {
        fn poll_read(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &mut [u8],
        ) -> Poll<io::Result<usize>> {
            // The broker writes whole frames, so a heartbeat fits between them.
            let read = Pin::new(&mut self.inner).poll_read(cx, buf);
            if read.is_pending() && self.restless.load(Ordering::Relaxed) {
                buf[..HEARTBEAT.len()].copy_from_slice(&HEARTBEAT);
                return Poll::Ready(Ok(HEARTBEAT.len()));
            }
            read
        }
    }

    impl AsyncWrite for Restless {
        fn poll_write(
            mut self: Pin<&mut Self>,
            cx: &mut Context<'_>,
            buf: &[u8],
        ) -> Poll<io::Result<usize>> {
            Pin::new(&mut self.inner).poll_write(cx, buf)
        }

        fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_flush(cx)
        }

        fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
            Pin::new(&mut self.inner).poll_close(cx)
        }
    }

    impl Transport for Restless {}
}
