//! Queues that go away by themselves, or in the middle of a recovery.

use snowshoe::{Binding, ConnectionRole, Error, Exchange, Queue};
use support::broker::url;
use support::cable::Cable;
use support::client::connect;
use support::events::recovered;
use support::messages::{number, numbered};
use support::proxy::{End, Proxy, Stats, To, Verdict};
use support::waiting::{run, within};

/// Waits until the proxy keeps something from the client.
fn wait_until_held_up(proxy: &Proxy) {
    let held = |stats: &Stats| stats.links.iter().any(|link| link.held(To::Client) > 0);
    proxy.wait_until("the recovery is held up", held);
}

/// Holds up the recovery of a queue after one of the broker's answers, takes the queue away, and
/// sees whether its consumer and its bindings are back in the end.
async fn vanish_after(answer: (u16, u16), queue: &'static str, exchange: &'static str) {
    let proxy = Proxy::start(&url());
    let mut held = false;
    proxy.on_frame(To::Client, move |link, frame| {
        let is_it = link > 0 && frame.method() == Some(answer);
        if is_it && !std::mem::replace(&mut held, true) {
            return Verdict::Hold;
        }
        Verdict::Pass
    });
    let cable = Cable::lay_with(proxy, |builder| builder).await;
    let client = &cable.client;
    client.delete_queue(queue).await.unwrap();
    client.declare(Exchange::direct(exchange)).await.unwrap();
    client
        .declare(Queue::new(queue).auto_delete())
        .await
        .unwrap();
    let keys = ["one", "two"];
    for key in keys {
        let binding = Binding::queue(queue).to_exchange(exchange).routing_key(key);
        client.declare(binding).await.unwrap();
    }
    let consumer = client.consumer(queue).unwrap().start();
    let mut consumer = within("the consumer", consumer).await.unwrap();

    cable.proxy.all().end(End::Reset);
    wait_until_held_up(&cable.proxy);
    connect(&url()).await.delete_queue(queue).await.unwrap();
    cable.proxy.all().resume(To::Client);

    let producer = connect(&url()).await;
    for (expected, key) in (0..).zip(keys) {
        let producer = producer.exchange_producer(exchange, key).unwrap();
        let producer = producer.mandatory(true).build();
        let routed = async { while producer.send(numbered(expected, 100)).await.is_err() {} };
        within(&format!("the binding by {key}"), routed).await;
        let delivery = within("a delivery", consumer.next()).await.unwrap();
        assert_eq!(number(&delivery), expected);
        delivery.ack().unwrap();
    }
}

// fault 47
#[test]
fn a_queue_that_vanishes_after_its_declaration_is_declared_and_bound_again() {
    run(vanish_after(
        QUEUE_DECLARE_OK,
        "vanishing queues: declared",
        "vanishing queues: declared, exchange",
    ));
}

// fault 47
#[test]
fn a_queue_that_vanishes_between_its_bindings_and_its_consumer_is_there_again_with_all_of_them() {
    run(vanish_after(
        BASIC_QOS_OK,
        "vanishing queues: bound",
        "vanishing queues: bound, exchange",
    ));
}

// fault 48
#[test]
fn a_queue_that_went_with_its_last_consumer_stays_gone() {
    const QUEUE: &str = "vanishing queues: last consumer";
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        client
            .declare(Queue::new(QUEUE).auto_delete())
            .await
            .unwrap();
        for _ in 0..2 {
            let consumer = client.consumer(QUEUE).unwrap().start();
            let consumer = within("the consumer", consumer).await.unwrap();
            let declared = client
                .declare(Queue::new(QUEUE).auto_delete())
                .await
                .unwrap();
            assert_eq!(declared.consumer_count, 1);
            within("the cancel", consumer.cancel()).await;
            let gone = async { while client.declare(Queue::new(QUEUE).passive()).await.is_ok() {} };
            within("the end of the queue", gone).await;
            cable.proxy.all().end(End::Reset);
            recovered(&mut cable.events, ConnectionRole::Main).await;
            let gone = client.declare(Queue::new(QUEUE).passive()).await;
            assert!(matches!(gone, Err(Error::Refused(_))), "{gone:?}");
            client
                .declare(Queue::new(QUEUE).auto_delete())
                .await
                .unwrap();
        }
        client.delete_queue(QUEUE).await.unwrap();
    });
}

const QUEUE_DECLARE_OK: (u16, u16) = (50, 11);
const BASIC_QOS_OK: (u16, u16) = (60, 11);
