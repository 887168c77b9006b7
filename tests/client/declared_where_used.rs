//! Queues and exchanges that are declared by whoever uses them.

use snowshoe::{
    Client, ConnectionRole, Error, Event, Exchange, PublishErrorReason, Queue, ReplyCode,
    UnconfirmedReason,
};
use support::broker::{Node, url};
use support::cable::Cable;
use support::client::connect;
use support::events::{next_event, recovered};
use support::messages::text;
use support::proxy::{End, Proxy, To};
use support::queues::{take_bodies, unique, with_queue};
use support::waiting::{run, within};

/// A queue that nobody else uses, and goes when nobody is left.
fn own() -> (String, Queue) {
    let name = unique("declared where it is used");
    let queue = Queue::new(&name).expires(std::time::Duration::from_secs(300));
    (name, queue)
}

async fn bodies(client: &Client, queue: String) -> Vec<String> {
    take_bodies(client, &queue.try_into().unwrap()).await
}

#[test]
fn a_producer_declares_its_queue_and_loses_nothing_over_it() {
    run(async {
        let client = connect(&url()).await;
        let (name, queue) = own();
        let producer = client.producer(queue.clone()).unwrap().build();
        let sent = within("the confirm", producer.send("one bicycle")).await;
        sent.unwrap();
        // Another is as good, and a name means the queue as it is.
        let producer = client.producer(queue).unwrap().build();
        within("the confirm", producer.send("two")).await.unwrap();
        let producer = client.producer(&name).unwrap().build();
        within("the confirm", producer.send("three")).await.unwrap();
        assert_eq!(bodies(&client, name).await, ["one bicycle", "two", "three"]);
    });
}

#[test]
fn what_is_published_without_confirms_waits_for_the_queue_too() {
    run(async {
        let client = connect(&url()).await;
        let (name, queue) = own();
        let producer = client.producer(queue).unwrap().fire_and_forget().build();
        for number in 0..100 {
            producer.try_publish(number.to_string()).unwrap();
        }
        within("all of them", producer.flushed()).await;
        // On the same connection, so after them.
        let last = client.producer(&name).unwrap().build();
        within("the confirm", last.send("last")).await.unwrap();
        let bodies = bodies(&client, name).await;
        let expected: Vec<String> = (0..100).map(|it| it.to_string()).collect();
        let mut numbers = bodies.clone();
        numbers.retain(|it| it != "last");
        assert_eq!(numbers, expected);
    });
}

#[test]
fn a_producer_to_an_exchange_declares_that() {
    run(async {
        let client = connect(&url()).await;
        let exchange = unique("events");
        let events = || Exchange::topic(&exchange).auto_delete();
        let queue = Queue::server_named().bind(events(), "order.*");
        let consumer = client.consumer(queue).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        assert!(!consumer.queue().is_empty());
        let producer = client.exchange_producer(events(), "order.new").unwrap();
        let producer = producer.mandatory(true).build();
        within("the confirm", producer.send("new")).await.unwrap();
        let delivery = within("a delivery", consumer.next()).await.unwrap();
        assert_eq!(text(delivery.body()), "new");
        delivery.ack().unwrap();
    });
}

#[test]
fn a_queue_is_declared_with_its_bindings_by_whoever_declares_it() {
    run(async {
        let client = connect(&url()).await;
        let (name, queue) = own();
        let exchange = unique("exchange");
        let exchange = || Exchange::direct(&exchange).auto_delete();
        let declared = queue.bind(exchange(), "one").bind(exchange(), "two");
        let declared = within("the queue", client.declare(declared)).await.unwrap();
        assert_eq!(declared.name.as_str(), Some(&*name));
        for key in ["one", "two"] {
            let producer = client.exchange_producer(exchange(), key).unwrap();
            let producer = producer.mandatory(true).build();
            within("the confirm", producer.send(key)).await.unwrap();
        }
        assert_eq!(bodies(&client, name).await, ["one", "two"]);
    });
}

#[test]
fn what_was_declared_where_it_is_used_is_there_again_after_a_restart() {
    let mut node = Node::start();
    run(async {
        let client = connect(&node.url()).await;
        let mut events = client.events();
        let queue = Queue::new("lost").durable(false);
        let queue = queue.bind(Exchange::fanout("lost, too").durable(false), "");
        let producer = client.producer(queue.clone()).unwrap().build();
        let consumer = client.consumer(queue).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        within("the confirm", producer.send("before"))
            .await
            .unwrap();
        let before = within("a delivery", consumer.next()).await.unwrap();
        before.ack().unwrap();

        node.kill();
        node.start_again();
        recovered(&mut events, ConnectionRole::Main).await;
        let fanout = client.exchange_producer("lost, too", "").unwrap();
        let fanout = fanout.mandatory(true).build();
        for producer in [producer, fanout] {
            within("the confirm", producer.send("after")).await.unwrap();
            let after = within("a delivery", consumer.next()).await.unwrap();
            assert_eq!(text(after.body()), "after");
            after.ack().unwrap();
        }
    });
}

#[test]
fn what_is_published_while_there_is_no_connection_waits_for_the_queue() {
    run(async {
        let proxy = Proxy::start(&url());
        let cable = Cable::lay_with(proxy, |builder| builder).await;
        let client = cable.client.clone();
        let mut events = client.events();
        cable.proxy.refuse();
        cable.proxy.all().end(End::Reset);
        let is_it = |event: &Event| matches!(event, Event::Disconnected { .. });
        next_event(&mut events, "disconnected", is_it).await;
        let (name, queue) = own();
        let producer = client.producer(queue).unwrap().build();
        let confirmation = producer.try_publish("in the dark").unwrap();
        cable.proxy.accept();
        within("the confirm", confirmation).await.unwrap();
        assert_eq!(bodies(&client, name).await, ["in the dark"]);
    });
}

#[test]
fn a_refused_declaration_is_told_with_the_first_confirm_and_the_producer_is_closed() {
    run(async {
        let (client, name) = with_queue().await;
        let mut events = client.events();
        // It is there without.
        let other = || Queue::new(&name).max_length(7);
        let producer = client.producer(other()).unwrap().build();
        let sent = within("its end", producer.send("kept from nobody")).await;
        let Err(Error::Unconfirmed(unconfirmed)) = sent.map_err(Error::from) else {
            panic!("there was no such queue");
        };
        let UnconfirmedReason::NotDeclared(close) = &unconfirmed.reason else {
            panic!("{unconfirmed}");
        };
        assert_eq!(close.code, ReplyCode::PRECONDITION_FAILED);
        assert!(!unconfirmed.possibly_stored);
        let is_it = |event: &Event| match event {
            Event::NotDeclared {
                producer: id,
                error: Error::Refused(_),
            } => *id == producer.id(),
            _ => false,
        };
        next_event(&mut events, "not declared", is_it).await;
        let error = producer.try_publish("another").unwrap_err();
        assert_eq!(error.reason, PublishErrorReason::Closed);

        let started = client.consumer(other()).unwrap().start();
        let error = within("its end", started).await.unwrap_err();
        assert!(
            matches!(error, Error::Refused(close) if close.code == ReplyCode::PRECONDITION_FAILED)
        );
        // The others know nothing of it.
        let producer = client.producer(&name).unwrap().build();
        within("the confirm", producer.send("fine")).await.unwrap();
    });
}

#[test]
fn what_has_no_name_or_no_form_is_told_at_once() {
    run(async {
        let client = connect(&url()).await;
        let nameless = [Queue::new(""), Queue::server_named()];
        for queue in nameless {
            let error = client.producer(queue).unwrap_err();
            assert!(matches!(error, Error::NoQueueName), "{error}");
        }
        let nan = Queue::new("q").argument("x", f64::NAN);
        assert!(matches!(client.consumer(nan), Err(Error::Argument(_))));
        let long = "x".repeat(256);
        let bound = Queue::new("q").bind(&long, "");
        assert!(matches!(client.consumer(bound), Err(Error::TooLong(_))));
        let bound = Queue::new("q").bind(Exchange::topic(&long), "");
        assert!(matches!(client.producer(bound), Err(Error::TooLong(_))));
    });
}

#[test]
fn a_client_that_is_closed_gives_back_what_waits_for_a_queue() {
    run(async {
        let proxy = Proxy::start(&url());
        let cable = Cable::lay_with(proxy, |builder| builder).await;
        let client = cable.client.clone();
        cable.proxy.all().silence(To::Server);
        let (_, queue) = own();
        let producer = client.producer(queue).unwrap().build();
        let confirmation = producer.try_publish("given back").unwrap();
        let closed = client.close_within(std::time::Duration::from_millis(100));
        let report = within("the end", closed).await;
        let [given_back] = &report.undelivered[..] else {
            panic!("{report:?}");
        };
        assert_eq!(given_back.body(), "given back");
        assert!(within("its end", confirmation).await.is_err());
    });
}
