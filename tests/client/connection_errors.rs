//! What costs the whole connection is not done again on one connection after the other.

use snowshoe::{ConnectionRole, ConsumerEnd, Entity, Error, Event, Exchange, ReplyCode};
use support::cable::Cable;
use support::events::{next_event, recovered};
use support::proxy::{End, Frame, To, Verdict};
use support::queues::declare_empty;
use support::waiting::{run, within};

/// A prefetch by which the proxy knows a consumer.
const MARKED: u16 = 77;

const QOS: (u16, u16) = (60, 10);
const EXCHANGE_DECLARE: (u16, u16) = (40, 10);

/// Makes RabbitMQ close the connection over the basic.qos of some consumers: it knows no prefetch
/// in bytes (540).
fn damage_qos(frame: &mut Frame) {
    let payload = frame.payload();
    if frame.method() == Some(QOS) && payload[8..10] == MARKED.to_be_bytes() {
        let mut payload = payload.to_vec();
        payload[4..8].copy_from_slice(&1u32.to_be_bytes());
        frame.set_payload(&payload);
    }
}

/// Lets connections to come be damaged in this way.
fn damage(cable: &Cable, damage: fn(&mut Frame)) {
    cable.proxy.on_frame(To::Server, move |_, frame| {
        damage(frame);
        Verdict::Pass
    });
}

async fn receives(cable: &Cable, consumer: &mut snowshoe::Consumer, queue: &'static str) {
    let producer = cable.client.producer(queue).unwrap().build();
    let sent = producer.try_publish("hello").unwrap();
    within("the confirm", sent).await.unwrap();
    let delivery = within("a delivery", consumer.next()).await.unwrap();
    delivery.ack().unwrap();
}

#[test]
fn a_consumer_that_costs_the_connection_at_its_start_fails_with_the_reason() {
    const QUEUE: &str = "connection errors: new consumer";
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        damage(&cable, damage_qos);
        cable.proxy.all().end(End::Reset);
        recovered(&mut cable.events, ConnectionRole::Main).await;
        let consumer = cable.client.consumer(QUEUE).unwrap().prefetch(MARKED);
        let refused = within("its start", consumer.start()).await.unwrap_err();
        let Error::Refused(close) = refused else {
            panic!("{refused}");
        };
        assert_eq!(close.code, ReplyCode::NOT_IMPLEMENTED);
        // It is not tried again, and all is well.
        let other = cable.client.consumer(QUEUE).unwrap().start();
        let mut other = within("another's start", other).await.unwrap();
        receives(&cable, &mut other, QUEUE).await;
    });
}

// fault 54
#[test]
fn a_consumer_that_costs_one_connection_after_the_other_ends_and_its_neighbour_comes_back() {
    const QUEUES: [&str; 2] = [
        "connection errors: consumer",
        "connection errors: its neighbour",
    ];
    run(async {
        let mut cable = Cable::lay().await;
        let mut consumers = Vec::new();
        for (queue, prefetch) in QUEUES.into_iter().zip([MARKED, 10]) {
            declare_empty(&cable.client, queue).await;
            let consumer = cable.client.consumer(queue).unwrap().prefetch(prefetch);
            consumers.push(within("its start", consumer.start()).await.unwrap());
        }
        damage(&cable, damage_qos);
        cable.proxy.all().end(End::Reset);
        let not_recovered = |event: &Event| matches!(event, Event::NotRecovered { .. });
        let told = next_event(&mut cable.events, "its end", not_recovered).await;
        let Event::NotRecovered { entity, reason } = told else {
            unreachable!()
        };
        assert!(matches!(entity, Entity::Consumer(consumer) if consumer.queue == QUEUES[0]));
        assert!(
            matches!(reason, Error::Refused(close) if close.code == ReplyCode::NOT_IMPLEMENTED)
        );
        assert!(within("its end", consumers[0].next()).await.is_none());
        assert!(matches!(consumers[0].end(), Some(ConsumerEnd::Failed(_))));
        receives(&cable, &mut consumers[1], QUEUES[1]).await;
    });
}

/// Makes the proxy declare the exchange with a type that RabbitMQ does not know, over which it
/// closes the connection (503).
fn damage_exchange(frame: &mut Frame) {
    let payload = frame.payload();
    let (good, bad) = (b"topic", b"tipoc");
    if frame.method() == Some(EXCHANGE_DECLARE)
        && let Some(at) = payload.windows(good.len()).position(|it| it == good)
    {
        let mut payload = payload.to_vec();
        payload[at..at + bad.len()].copy_from_slice(bad);
        frame.set_payload(&payload);
    }
}

// fault 50
#[test]
fn an_exchange_that_costs_the_connection_when_it_is_declared_again_is_told_and_left_out() {
    const QUEUE: &str = "connection errors: exchange's neighbour";
    run(async {
        let mut cable = Cable::lay().await;
        let client = &cable.client;
        declare_empty(client, QUEUE).await;
        let consumer = client.consumer(QUEUE).unwrap().start();
        let mut consumer = within("its start", consumer).await.unwrap();
        let exchange = Exchange::topic("connection errors: exchange").auto_delete();
        within("the declare", client.declare(exchange))
            .await
            .unwrap();
        damage(&cable, damage_exchange);
        cable.proxy.all().end(End::Reset);
        let not_recovered = |event: &Event| matches!(event, Event::NotRecovered { .. });
        let told = next_event(&mut cable.events, "the report", not_recovered).await;
        let Event::NotRecovered { entity, .. } = told else {
            unreachable!()
        };
        assert_eq!(
            entity,
            Entity::Exchange("connection errors: exchange".try_into().unwrap())
        );
        receives(&cable, &mut consumer, QUEUE).await;
    });
}
