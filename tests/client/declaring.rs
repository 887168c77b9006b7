//! Declaring, binding, emptying and deleting queues and exchanges.

use std::time::Duration;

use futures_lite::future::{poll_once, try_zip, zip};
use snowshoe::codec::TableError;
use snowshoe::codec::method::queue;
use snowshoe::{
    Binding, Client, Declare, Error, Exchange, FieldTable, Message, Properties, Queue, ReplyCode,
    SendMessageError, ShortString, Unconfirmed, UnconfirmedReason,
};
use support::broker::url;
use support::cable::Cable;
use support::client::{self, connect};
use support::executor;
use support::proxy::{End, To};
use support::queues::{
    declare, fresh_queue, new_queue, publish, ready_in, take_bodies, unique, until_ready,
    with_queue,
};
use support::waiting::{run, within};

/// The code with which the broker refuses to declare something.
async fn refusal<D: Declare>(client: &Client, entity: D) -> ReplyCode {
    code(client.declare(entity).await)
}

fn code<T>(result: Result<T, Error>) -> ReplyCode {
    match result {
        Err(Error::Refused(close)) => close.code,
        Err(other) => panic!("refused by the broker, not {other}"),
        Ok(_) => panic!("the broker was to refuse"),
    }
}

/// Declares an exchange that goes away with its last binding.
async fn exchange(client: &Client, kind: &str) -> ShortString {
    let name = ShortString::try_from(unique(kind)).unwrap();
    let exchange = Exchange::new(name.clone(), kind).auto_delete();
    client.declare(exchange).await.unwrap();
    name
}

/// Declares an empty queue that is bound to an exchange.
async fn bound(
    client: &Client,
    exchange: &ShortString,
    configure: impl FnOnce(Binding) -> Binding,
) -> ShortString {
    let queue = fresh_queue(client).await;
    let binding = Binding::queue(queue.clone()).to_exchange(exchange.clone());
    client.declare(configure(binding)).await.unwrap();
    queue
}

/// Publishes to an exchange, and waits until the broker has routed the message.
async fn send(client: &Client, exchange: &ShortString, key: &str, message: impl Into<Message>) {
    let producer = client.exchange_producer(exchange.clone(), key).unwrap();
    producer.build().send(message).await.unwrap();
}

#[test]
fn a_declared_queue_tells_its_name_messages_and_consumers() {
    run(async {
        let (client, queue) = with_queue().await;
        publish(&client, &queue, &["1", "2"]).await;
        let passive = || client.declare(Queue::new(queue.clone()).passive());
        let declared = passive().await.unwrap();
        assert_eq!(declared.name, queue);
        assert_eq!((declared.message_count, declared.consumer_count), (2, 0));

        let _consumer = client
            .consumer(queue.clone())
            .unwrap()
            .start()
            .await
            .unwrap();
        assert_eq!(passive().await.unwrap().consumer_count, 1);
    });
}

#[test]
fn declaring_the_same_again_is_no_error() {
    run(async {
        let client = connect(&url()).await;
        let queue = new_queue();
        let name = declare(&client, queue.clone()).await;
        assert_eq!(declare(&client, queue).await, name);

        let name = exchange(&client, "fanout").await;
        let again = Exchange::fanout(name.clone()).auto_delete();
        client.declare(again).await.unwrap();
        client.delete_exchange(name).await.unwrap();
    });
}

#[test]
fn declaring_something_else_by_the_same_name_is_refused() {
    run(async {
        let (client, queue) = with_queue().await;
        let other = Queue::new(queue.clone()).max_length(7);
        assert_eq!(
            refusal(&client, other).await,
            ReplyCode::PRECONDITION_FAILED
        );

        let name = exchange(&client, "direct").await;
        let other = Exchange::topic(name.clone()).auto_delete();
        assert_eq!(
            refusal(&client, other).await,
            ReplyCode::PRECONDITION_FAILED
        );

        // It concerns nothing but the call.
        publish(&client, &queue, &["hello"]).await;
        assert_eq!(ready_in(&client, &queue).await, 1);
        client.delete_exchange(name).await.unwrap();
    });
}

#[test]
fn what_is_missing_is_not_found() {
    run(async {
        let (client, queue) = with_queue().await;
        let missing = || ShortString::try_from(unique("missing")).unwrap();
        let not_found = ReplyCode::NOT_FOUND;
        assert_eq!(
            refusal(&client, Queue::new(missing()).passive()).await,
            not_found
        );
        let exchange = Exchange::direct(missing()).passive();
        assert_eq!(refusal(&client, exchange).await, not_found);
        let binding = Binding::queue(missing()).to_exchange("amq.direct");
        assert_eq!(refusal(&client, binding).await, not_found);
        let binding = Binding::queue(queue).to_exchange(missing());
        assert_eq!(refusal(&client, binding).await, not_found);
        assert_eq!(code(client.purge_queue(missing()).await), not_found);

        // Deleting is different: it is not there afterwards, and that is what was wanted.
        assert_eq!(client.delete_queue(missing()).await.unwrap(), 0);
        client.delete_exchange(missing()).await.unwrap();
    });
}

#[test]
fn the_broker_names_queues_that_have_no_name() {
    run(async {
        let client = connect(&url()).await;
        let first = declare(&client, Queue::server_named()).await;
        let second = declare(&client, Queue::server_named()).await;
        assert!(first.as_str().unwrap().starts_with("amq.gen-"), "{first}");
        assert_ne!(first, second);
        publish(&client, &first, &["hello"]).await;
        assert_eq!(take_bodies(&client, &first).await, ["hello"]);
    });
}

#[test]
fn an_exclusive_queue_is_for_its_client_alone() {
    run(async {
        let client = connect(&url()).await;
        let queue = declare(&client, Queue::new(unique("exclusive")).exclusive()).await;
        publish(&client, &queue, &["hello"]).await;
        let stranger = connect(&url()).await;
        let passive = Queue::new(queue.clone()).passive();
        assert_eq!(
            refusal(&stranger, passive).await,
            ReplyCode::RESOURCE_LOCKED
        );
        assert_eq!(take_bodies(&client, &queue).await, ["hello"]);

        client.close().await;
        // It goes with its connection, and RabbitMQ 4.3 says that it is locked until it is gone.
        let deleted = async {
            loop {
                match stranger.delete_queue(queue.clone()).await {
                    Err(Error::Refused(close)) if close.code == ReplyCode::RESOURCE_LOCKED => {}
                    deleted => return deleted,
                }
            }
        };
        assert_eq!(within("its end", deleted).await.unwrap(), 0);
    });
}

#[test]
fn every_kind_of_exchange_routes_in_its_way() {
    run(async {
        let client = connect(&url()).await;
        let wanted = FieldTable::new().with("x-match", "all").unwrap();
        let wanted = wanted.with("colour", "red").unwrap();
        let red = Properties::builder()
            .header("colour", "red")
            .build()
            .unwrap();
        let blue = Properties::builder()
            .header("colour", "blue")
            .build()
            .unwrap();

        for (kind, key, hit, miss) in [
            ("direct", "red", "red", Some("red.hot")),
            ("fanout", "", "red", None),
            ("topic", "red.#", "red.hot", Some("blue.hot")),
        ] {
            let exchange = exchange(&client, kind).await;
            let queue = bound(&client, &exchange, |it| it.routing_key(key)).await;
            send(&client, &exchange, hit, "hit").await;
            if let Some(miss) = miss {
                send(&client, &exchange, miss, "miss").await;
            }
            assert_eq!(take_bodies(&client, &queue).await, ["hit"], "{kind}");
        }

        let exchange = exchange(&client, "headers").await;
        let queue = bound(&client, &exchange, |it| {
            (wanted.iter().flatten()).fold(it, |it, (name, value)| {
                it.argument(name.as_str().unwrap(), value)
            })
        });
        let queue = queue.await;
        let hit = Message::from("hit").with_properties(red);
        let miss = Message::from("miss").with_properties(blue);
        send(&client, &exchange, "", hit).await;
        send(&client, &exchange, "", miss).await;
        assert_eq!(take_bodies(&client, &queue).await, ["hit"], "headers");
    });
}

#[test]
fn an_exchange_can_receive_from_an_exchange_until_it_is_unbound() {
    run(async {
        let client = connect(&url()).await;
        let source = exchange(&client, "topic").await;
        // Something stays bound to it.
        let _everything = bound(&client, &source, |it| it.routing_key("#")).await;
        let destination = exchange(&client, "fanout").await;
        let queue = bound(&client, &destination, |it| it).await;
        let binding = Binding::exchange(destination).to_exchange(source.clone());
        let binding = binding.routing_key("through.*");
        client.declare(binding.clone()).await.unwrap();

        send(&client, &source, "through.here", "bound").await;
        send(&client, &source, "elsewhere", "not bound").await;
        client.unbind(binding).await.unwrap();
        send(&client, &source, "through.here", "unbound").await;
        assert_eq!(take_bodies(&client, &queue).await, ["bound"]);
    });
}

#[test]
fn an_unbound_queue_receives_no_more() {
    run(async {
        let (client, queue) = with_queue().await;
        let key = unique("key");
        let binding = Binding::queue(queue.clone()).to_exchange("amq.direct");
        let binding = binding.routing_key(&*key);
        client.declare(binding.clone()).await.unwrap();
        let producer = client.exchange_producer("amq.direct", &*key).unwrap();
        let producer = producer.mandatory(true).build();
        producer.send("bound").await.unwrap();
        client.unbind(binding).await.unwrap();
        let result = producer.send("unbound").await;
        assert!(matches!(
            result,
            Err(SendMessageError::Unconfirmed(Unconfirmed {
                reason: UnconfirmedReason::Returned(_),
                ..
            }))
        ));
        assert_eq!(take_bodies(&client, &queue).await, ["bound"]);
    });
}

#[test]
fn what_cannot_be_routed_goes_to_the_alternate_exchange() {
    run(async {
        let client = connect(&url()).await;
        let alternate = exchange(&client, "fanout").await;
        let unrouted = bound(&client, &alternate, |it| it).await;
        let name = ShortString::try_from(unique("direct")).unwrap();
        let exchange = Exchange::direct(name.clone()).auto_delete();
        let exchange = exchange.alternate_exchange(alternate.as_str().unwrap());
        client.declare(exchange).await.unwrap();
        send(&client, &name, "nowhere", "hello").await;
        assert_eq!(take_bodies(&client, &unrouted).await, ["hello"]);
        client.delete_exchange(name).await.unwrap();
    });
}

#[test]
fn an_internal_exchange_takes_nothing_from_clients() {
    run(async {
        let client = connect(&url()).await;
        let name = ShortString::try_from(unique("internal")).unwrap();
        let exchange = Exchange::fanout(name.clone()).internal().auto_delete();
        client.declare(exchange).await.unwrap();
        let producer = client.exchange_producer(name.clone(), "").unwrap().build();
        let Err(SendMessageError::Unconfirmed(Unconfirmed {
            reason: UnconfirmedReason::Rejected(close),
            ..
        })) = producer.send("").await
        else {
            panic!("the message was to be rejected");
        };
        assert_eq!(close.code, ReplyCode::ACCESS_REFUSED);
        client.delete_exchange(name).await.unwrap();
    });
}

#[test]
fn purging_and_deleting_tell_how_many_messages_went() {
    run(async {
        let (client, queue) = with_queue().await;
        publish(&client, &queue, &["1", "2"]).await;
        assert_eq!(client.purge_queue(queue.clone()).await.unwrap(), 2);
        assert_eq!(ready_in(&client, &queue).await, 0);

        publish(&client, &queue, &["3"]).await;
        assert_eq!(client.delete_queue(queue.clone()).await.unwrap(), 1);
        let passive = Queue::new(queue).passive();
        assert_eq!(refusal(&client, passive).await, ReplyCode::NOT_FOUND);
    });
}

#[test]
fn the_settings_of_a_queue_are_the_arguments_that_the_broker_knows() {
    run(async {
        let client = connect(&url()).await;
        let name = ShortString::try_from(unique("settings")).unwrap();
        let settings = Queue::new(name.clone())
            .expires(Duration::from_secs(300))
            .message_ttl(Duration::from_secs(60))
            .max_length(10)
            .max_length_bytes(1000)
            .reject_publish()
            .dead_letter_exchange("amq.fanout")
            .dead_letter_routing_key("dead")
            .max_priority(5)
            .single_active_consumer();
        client.declare(settings).await.unwrap();

        // The broker checks that they are the same.
        let arguments = FieldTable::new()
            .with("x-expires", 300_000_i64)
            .and_then(|it| it.with("x-message-ttl", 60_000_i64))
            .and_then(|it| it.with("x-max-length", 10_i64))
            .and_then(|it| it.with("x-max-length-bytes", 1000_i64))
            .and_then(|it| it.with("x-overflow", "reject-publish"))
            .and_then(|it| it.with("x-dead-letter-exchange", "amq.fanout"))
            .and_then(|it| it.with("x-dead-letter-routing-key", "dead"))
            .and_then(|it| it.with("x-max-priority", 5))
            .and_then(|it| it.with("x-single-active-consumer", true));
        let same = queue::Declare {
            queue: name,
            durable: true,
            arguments: arguments.unwrap(),
            ..Default::default()
        };
        let channel = client.channel().await.unwrap();
        channel.call(same).await.unwrap();
    });
}

// case A1
#[test]
fn a_time_that_a_queue_cannot_measure_is_for_ever_and_none_is_too_short() {
    run(async {
        let client = connect(&url()).await;
        let times = [
            Duration::ZERO,
            Duration::from_nanos(1),
            Duration::from_millis(u32::MAX.into()),
            Duration::from_millis(u64::from(u32::MAX) + 1),
            Duration::MAX,
        ];
        for time in times {
            let queue = Queue::new(unique("ttl")).exclusive().message_ttl(time);
            client.declare(queue).await.unwrap();
            let queue = Queue::new(unique("expires")).exclusive().expires(time);
            client.declare(queue).await.unwrap();
        }
        let queue = Queue::new("q").expires(Duration::from_secs(1));
        assert_eq!(queue.expires(Duration::MAX), Queue::new("q"));
    });
}

// case I2
#[test]
fn arguments_are_what_programs_have_at_hand() {
    run(async {
        let client = connect(&url()).await;
        let dead = client.declare(Queue::server_named()).await.unwrap();
        let length: usize = 10;
        let queue = Queue::new(unique("arguments"))
            .exclusive()
            .argument("x-max-length", length)
            .argument("x-overflow", String::from("drop-head"))
            .dead_letter_exchange(String::new())
            .dead_letter_routing_key(&dead.name);
        client.declare(queue).await.unwrap();
        let beyond = Queue::new("q").argument("x-max-length", u64::MAX);
        let refused = client.declare(beyond).await;
        assert!(matches!(
            refused,
            Err(Error::Argument(TableError::OutOfRange))
        ));
    });
}

/// RabbitMQ closes the connection over each.
// case C3
#[test]
fn names_that_are_no_text_are_refused_without_a_broker() {
    let (client, _driver) = client::builder(&url()).build();
    let bytes: &[u8] = b"\xff";
    run(async {
        let refused = |result: Result<(), Error>| matches!(result, Err(Error::NotUtf8(_)));
        assert!(refused(client.declare(Queue::new(bytes)).await.map(drop)));
        assert!(refused(client.declare(Exchange::fanout(bytes)).await));
        assert!(refused(client.unbind(Binding::queue(bytes)).await));
        assert!(refused(client.delete_queue(bytes).await.map(drop)));
        assert!(refused(client.delete_exchange(bytes).await));
        assert!(refused(client.purge_queue(bytes).await.map(drop)));
        assert!(refused(client.producer(bytes).map(drop)));
        assert!(refused(client.exchange_producer(bytes, "key").map(drop)));
        assert!(refused(client.consumer(bytes).map(drop)));
        assert!(refused(client.consumer("q").unwrap().tag(bytes).map(drop)));
        // Keys are bytes.
        assert!(client.exchange_producer("e", bytes).is_ok());
    });
}

#[test]
fn quorum_queues_and_streams_keep_messages() {
    run(async {
        let client = connect(&url()).await;
        let quorum = Queue::quorum(unique("quorum")).delivery_limit(3);
        let stream = Queue::stream(unique("stream"));
        for (queue, offset) in [(quorum, None), (stream, Some("first"))] {
            let queue = declare(&client, queue).await;
            publish(&client, &queue, &["hello"]).await;
            let mut consumer = client.consumer(queue.clone()).unwrap();
            if let Some(offset) = offset {
                consumer = consumer.argument("x-stream-offset", offset).unwrap();
            }
            let mut consumer = consumer.start().await.unwrap();
            let delivery = consumer.next().await.unwrap();
            assert_eq!(delivery.body(), b"hello");
            delivery.ack().unwrap();
            client.delete_queue(queue).await.unwrap();
        }
    });
}

#[test]
fn names_and_arguments_that_cannot_be_sent_are_refused_without_a_broker() {
    // Its driver is not run: there is no connection.
    let (client, _driver) = client::builder(&url()).build();
    let long = "n".repeat(256);
    let long = long.as_str();
    run(async {
        let too_long = |result: Result<(), Error>| matches!(result, Err(Error::TooLong(_)));
        let queue = client.declare(Queue::new(long)).await;
        assert!(too_long(queue.map(drop)));
        assert!(too_long(client.declare(Exchange::direct(long)).await));
        for binding in [
            Binding::queue(long),
            Binding::exchange(long),
            Binding::queue("q").to_exchange(long),
            Binding::queue("q").routing_key(long),
        ] {
            assert!(too_long(client.declare(binding.clone()).await));
            assert!(too_long(client.unbind(binding).await));
        }
        assert!(too_long(client.delete_queue(long).await.map(drop)));
        assert!(too_long(client.purge_queue(long).await.map(drop)));
        assert!(too_long(client.delete_exchange(long).await));

        let not_finite = |result: Result<(), Error>| {
            matches!(result, Err(Error::Argument(TableError::NotFinite)))
        };
        for number in [f64::NAN, f64::INFINITY] {
            let queue = Queue::new("q").argument("x-number", number);
            assert!(not_finite(client.declare(queue).await.map(drop)));
            let exchange = Exchange::direct("e").argument("x-number", number);
            assert!(not_finite(client.declare(exchange).await));
            let binding = Binding::queue("q").argument("x-number", number);
            assert!(not_finite(client.declare(binding).await));
        }
    });
}

#[test]
fn of_many_calls_at_once_only_the_refused_one_fails() {
    run(async {
        let client = connect(&url()).await;
        let mut queues: Vec<Queue> = (0..100).map(|_| new_queue()).collect();
        queues[50] = Queue::new(unique("missing")).passive();
        let calls = queues.into_iter().map(|queue| client.declare(queue));
        let mut calls: Vec<_> = calls.map(Box::pin).collect();
        // Polled once, a call is made.
        for call in &mut calls {
            assert!(poll_once(call).await.is_none());
        }
        for (number, call) in calls.into_iter().enumerate() {
            assert_eq!(call.await.is_ok(), number != 50, "call {number}");
        }
    });
}

#[test]
fn calls_wait_for_the_first_connection() {
    run(async {
        let (client, driver) = executor::build(client::builder(&url()));
        let declared = async { client.declare(new_queue()).await };
        let connect = async {
            executor::spawn(driver);
            client.ready().await
        };
        try_zip(declared, connect).await.unwrap();
    });
}

#[test]
fn a_declare_that_costs_the_connection_is_refused_and_not_made_again() {
    run(async {
        let (client, queue) = with_queue().await;
        let unknown = client.declare(Exchange::new("of-no-type", "x-unknown"));
        let refused = within("the refusal", unknown).await.unwrap_err();
        assert!(matches!(refused, Error::Refused(_)), "{refused}");
        // The client is back, and stays.
        within("an answer", client.declare(Queue::new(queue).passive()))
            .await
            .unwrap();
    });
}

// case E1
#[test]
fn a_queue_without_a_name_is_not_the_one_that_was_declared_last() {
    run(async {
        // To the broker, the empty name would now mean this one.
        let (client, queue) = with_queue().await;
        publish(&client, &queue, &["kept"]).await;

        let refused = |error: Error| assert!(matches!(error, Error::NoQueueName), "{error}");
        refused(client.purge_queue("").await.unwrap_err());
        refused(client.delete_queue("").await.unwrap_err());
        refused(client.producer("").unwrap_err());
        refused(client.consumer("").unwrap_err());
        let bind = || Binding::queue("").to_exchange("amq.fanout");
        refused(client.declare(bind()).await.unwrap_err());
        refused(client.unbind(bind()).await.unwrap_err());
        refused(client.declare(Queue::new("").passive()).await.unwrap_err());

        assert_eq!(ready_in(&client, &queue).await, 1);
        client.close().await;
    });
}

// case D1
#[test]
fn a_purge_that_was_given_up_in_an_outage_is_not_made_after_it() {
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        let queue = fresh_queue(&client).await;
        publish(&client, &queue, &["confirmed"]).await;
        cable.cut().await;
        assert!(poll_once(client.purge_queue(&queue)).await.is_none());
        cable.mend().await;
        // It would have been made before this one.
        assert_eq!(ready_in(&client, &queue).await, 1);
    });
}

// case D1
#[test]
fn a_purge_whose_answer_was_lost_is_not_made_again_and_its_caller_is_told() {
    run(async {
        let cable = Cable::lay().await;
        let client = cable.client.clone();
        let queue = fresh_queue(&client).await;
        let other = connect(&url()).await;
        publish(&other, &queue, &["old"]).await;
        cable.proxy.link(0).silence(To::Client);
        let purge = client.purge_queue(&queue);
        let lose_the_answer = async {
            until_ready(&other, &queue, 0).await;
            publish(&other, &queue, &["new"]).await;
            cable.proxy.all().end(End::Reset);
        };
        let (purged, ()) = within("the purge", zip(purge, lose_the_answer)).await;
        assert!(matches!(purged, Err(Error::ConnectionLost)), "{purged:?}");
        // It would have been made again before this one.
        assert_eq!(ready_in(&client, &queue).await, 1);
    });
}
