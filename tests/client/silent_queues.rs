//! Queues that do not answer the broker, and so neither confirm nor let anybody consume: here the process
//! of a quorum queue is suspended, as good as one without a leader.

use std::sync::LazyLock;
use std::time::Duration;

use snowshoe::{
    ConnectionRole, Error, Event, Message, Properties, Queue, SendMessageError, UnconfirmedReason,
};
use support::broker::Node;
use support::cable::Cable;
use support::client::{builder, connect};
use support::executor;
use support::proxy::Proxy;
use support::waiting::{eventually, run, within};

/// What lists queues waits for those that do not answer, and other tests do.
static NODE: LazyLock<Node> = LazyLock::new(Node::start);

/// Lets a quorum queue do nothing for now.
fn suspend(queue: &str) {
    let suspend = format!("sys:suspend(whereis('%2F_{queue}'))");
    assert_eq!(NODE.admin().eval(&suspend).trim(), "ok");
}

fn resume(queue: &str) {
    let resume = format!("sys:resume(whereis('%2F_{queue}'))");
    assert_eq!(NODE.admin().eval(&resume).trim(), "ok");
}

/// A message over which RabbitMQ closes the connection by 541: a header of a type that it does not know.
fn poison() -> Message {
    let encoded = vec![0x20, 0x00, 0, 0, 0, 3, 1, b'a', b'z'];
    Message::from("poison").with_properties(Properties::from_encoded(encoded.into()))
}

// fault 10
#[test]
fn a_queue_that_gives_no_confirms_holds_up_no_search_for_a_poison_message() {
    const SILENT: &str = "silent-while-searching";
    const GOOD: &str = "good-while-searching";
    run(async {
        let client = connect(&NODE.url()).await;
        client.declare(Queue::quorum(SILENT)).await.unwrap();
        client.declare(Queue::new(GOOD)).await.unwrap();
        let [silent, good, bad] =
            [SILENT, GOOD, GOOD].map(|queue| client.producer(queue).unwrap().build());
        for producer in [&silent, &good, &bad] {
            producer.send("first").await.unwrap();
        }
        suspend(SILENT);
        let unconfirmed = silent.publish("second").await.unwrap();
        // The second time the broker has no word for it: since the connection was lost, the channel of the
        // silent queue waits for it, and as long as one does, RabbitMQ resets a connection over a poison message.
        for _ in 0..2 {
            let outcome = within("the verdict", bad.send(poison())).await;
            let Err(SendMessageError::Unconfirmed(outcome)) = outcome else {
                panic!("{outcome:?}");
            };
            let is_rejected = matches!(outcome.reason, UnconfirmedReason::Rejected(_));
            assert!(is_rejected, "{outcome:?}");
            within("a confirm", good.send("next")).await.unwrap();
            within("a confirm", bad.send("next")).await.unwrap();
        }
        resume(SILENT);
        assert_eq!(within("the silent one", unconfirmed).await, Ok(()));
    });
}

#[test]
fn a_consumer_of_a_queue_that_does_not_answer_fails_to_start_and_leaves_nothing_behind() {
    const SILENT: &str = "silent-at-start";
    run(async {
        let configured = builder(&NODE.url()).call_timeout(Duration::from_secs(2));
        let client = executor::connect(configured).await.unwrap();
        client.declare(Queue::quorum(SILENT)).await.unwrap();
        suspend(SILENT);
        let started = client.consumer(SILENT).unwrap().start();
        let error = within("the start", started).await.unwrap_err();
        assert!(matches!(error, Error::Timeout(_)), "{error}");
        resume(SILENT);
        // Once the broker has come to it, nobody takes what is published.
        let producer = client.producer(SILENT).unwrap().build();
        within("a confirm", producer.send("a")).await.unwrap();
        let of_it = |line: &str| line.split('\t').next() == Some(SILENT);
        eventually("it has no consumer", || {
            let consumers = NODE.admin().ctl(&["-q", "list_consumers"]);
            !consumers.lines().any(of_it)
        })
        .await;
    });
}

// fault 51
#[test]
fn a_consumer_that_is_not_answered_delays_no_call_and_is_told_before_the_recovery() {
    const SILENT: &str = "silent-at-recovery";
    const GOOD: &str = "good-at-recovery";
    run(async {
        let mut cable = Cable::lay_with(Proxy::start(&NODE.url()), |builder| builder).await;
        let client = cable.client.clone();
        client.declare(Queue::quorum(SILENT)).await.unwrap();
        client.declare(Queue::new(GOOD)).await.unwrap();
        let mut silent = client.consumer(SILENT).unwrap().start().await.unwrap();
        let mut good = client.consumer(GOOD).unwrap().start().await.unwrap();
        let producer = cable.first_producer(client.producer(GOOD).unwrap()).await;
        suspend(SILENT);
        cable.cut().await;
        cable.proxy.accept();
        let told = within("the recovery", async {
            let mut told = Vec::new();
            loop {
                match cable.events.next().await.expect("the client has not ended") {
                    Event::Delayed { reason, .. } => {
                        assert!(matches!(reason, Error::Timeout(_)), "{reason}");
                        told.push("delayed");
                    }
                    Event::Recovered {
                        role: ConnectionRole::Main,
                    } => {
                        told.push("recovered");
                        return told;
                    }
                    _ => {}
                }
            }
        });
        assert_eq!(told.await, ["delayed", "recovered"]);
        within("an answer", client.declare(Queue::new("new")))
            .await
            .unwrap();
        within("a confirm", producer.send("a")).await.unwrap();
        let delivery = within("a delivery", good.next()).await.unwrap();
        delivery.ack().unwrap();
        resume(SILENT);
        let producer = client.producer(SILENT).unwrap().build();
        within("a confirm", producer.send("b")).await.unwrap();
        let delivery = within("the silent one", silent.next()).await.unwrap();
        delivery.ack().unwrap();
    });
}
