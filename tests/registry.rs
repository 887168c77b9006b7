//! What the user wants is remembered, whatever becomes of the channels, connections and nodes that it
//! was asked for on.

use snowshoe::codec::method::queue;
use snowshoe::{ConnectionRole, Error, Event, Queue};
use support::broker::{Node, url};
use support::cable::Cable;
use support::client::connect;
use support::events::{disconnected, next_event, recovered};
use support::messages::{number, numbered};
use support::proxy::{End, Proxy};
use support::queues::declare_empty;
use support::waiting::{run, within};

/// One that a node forgets when it goes down.
fn transient(name: &'static str) -> Queue {
    Queue::new(name).durable(false)
}

// fault 49
#[test]
fn what_was_declared_beside_refused_declarations_is_declared_again() {
    const QUEUES: [&str; 3] = ["registry: a", "registry: b", "registry: c"];
    let mut node = Node::start();
    run(async {
        let client = connect(&node.url()).await;
        let mut events = client.events();
        for name in QUEUES {
            // Each is declared beside one that is refused, and that closes the channel of both.
            let (contradiction, declared) = futures_lite::future::zip(
                client.declare(Queue::new("amq.reserved")),
                client.declare(transient(name)),
            )
            .await;
            assert!(matches!(contradiction, Err(Error::Refused(_))));
            declared.unwrap();
            let again = client.declare(transient(name).max_length(1)).await;
            assert!(matches!(again, Err(Error::Refused(_))));
        }
        // A channel by hand is the user's own affair.
        let channel = client.channel().await.unwrap();
        let by_hand = queue::Declare {
            queue: "registry: by hand".try_into().unwrap(),
            ..Default::default()
        };
        channel.call(by_hand).await.unwrap();

        node.kill();
        node.start_again();
        recovered(&mut events, ConnectionRole::Main).await;
        for name in QUEUES {
            let there = client.declare(Queue::new(name).passive()).await;
            assert!(there.is_ok(), "{name}: {there:?}");
        }
        let by_hand = client
            .declare(Queue::new("registry: by hand").passive())
            .await;
        assert!(matches!(by_hand, Err(Error::Refused(_))), "{by_hand:?}");
        let failed = std::iter::from_fn(|| events.try_next())
            .find(|event| matches!(event, Event::NotRecovered { .. }));
        assert!(failed.is_none(), "{failed:?}");
    });
}

// fault 54
#[test]
fn consumers_come_back_however_often_their_node_dies_on_the_way() {
    const QUEUES: [&str; 3] = ["registry: one", "registry: two", "registry: three"];
    const DEATHS: usize = 3;
    let mut node = Node::start();
    run(async {
        let client = connect(&node.url()).await;
        let mut events = client.events();
        let mut consumers = Vec::new();
        for queue in QUEUES {
            client.declare(transient(queue)).await.unwrap();
            let consumer = client.consumer(queue).unwrap().start();
            consumers.push(within("the consumer", consumer).await.unwrap());
        }
        for death in 0..DEATHS {
            node.kill();
            disconnected(&mut events, ConnectionRole::Main).await;
            node.start_again();
            if death + 1 < DEATHS {
                // It dies again as soon as the client is there, before all is back.
                let is_connected = |event: &Event| matches!(event, Event::Connected { .. });
                next_event(&mut events, "the connection", is_connected).await;
            }
        }
        recovered(&mut events, ConnectionRole::Main).await;
        for (expected, (queue, consumer)) in (0..).zip(QUEUES.into_iter().zip(&mut consumers)) {
            let producer = client.producer(queue).unwrap().build();
            within("the confirm", producer.send(numbered(expected, 100)))
                .await
                .unwrap();
            let delivery = within("a delivery", consumer.next()).await.unwrap();
            assert_eq!(number(&delivery), expected);
            delivery.ack().unwrap();
        }
    });
}

// fault 46, fault 48, fault 50
#[test]
fn behind_the_death_of_a_node_renamed_queues_work_deleted_ones_stay_gone_and_a_bad_one_is_told() {
    const BAD: &str = "registry: a bad one";
    const DELETED: &str = "registry: gone";
    const KEPT: &str = "registry: kept";
    let mut node = Node::start();
    run(async {
        let client = connect(&node.url()).await;
        let others = connect(&node.url()).await;
        let mut events = client.events();
        client.declare(Queue::new(BAD)).await.unwrap();
        others.delete_queue(BAD).await.unwrap();
        others.declare(Queue::new(BAD).max_length(1)).await.unwrap();
        client.declare(transient(DELETED)).await.unwrap();
        client.delete_queue(DELETED).await.unwrap();
        client.declare(transient(KEPT)).await.unwrap();
        let named = client.declare(Queue::server_named()).await.unwrap().name;
        let consumer = client.consumer(named.clone()).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();

        node.kill();
        node.start_again();
        let (mut renamed, mut not_recovered) = (Vec::new(), Vec::new());
        loop {
            match next_event(&mut events, "the recovery", |_| true).await {
                Event::QueueRenamed { old, new } => renamed.push((old, new)),
                Event::NotRecovered { entity, .. } => not_recovered.push(entity),
                Event::Recovered { .. } => break,
                _ => {}
            }
        }
        assert_eq!(not_recovered, [format!("queue {BAD:?}")]);
        let now = consumer.queue();
        assert_ne!(now, named);
        assert_eq!(renamed, [(named, now.clone())]);
        client.declare(Queue::new(KEPT).passive()).await.unwrap();
        let gone = client.declare(Queue::new(DELETED).passive()).await;
        assert!(matches!(gone, Err(Error::Refused(_))), "{gone:?}");
        let producer = client.producer(now).unwrap().build();
        within("the confirm", producer.send(numbered(1, 100)))
            .await
            .unwrap();
        let delivery = within("a delivery", consumer.next()).await.unwrap();
        assert_eq!(number(&delivery), 1);
        delivery.ack().unwrap();
    });
}

// fault 57
#[test]
fn what_could_not_be_recovered_once_is_tried_again_at_the_next_reconnect() {
    const QUEUE: &str = "registry: taken for a while";
    run(async {
        let mut cable = Cable::lay_with(Proxy::start(&url()), |builder| builder).await;
        let others = connect(&url()).await;
        declare_empty(&cable.client, QUEUE).await;
        cable.proxy.refuse();
        cable.proxy.all().end(End::Reset);
        others.delete_queue(QUEUE).await.unwrap();
        others
            .declare(Queue::new(QUEUE).max_length(1))
            .await
            .unwrap();
        cable.proxy.accept();
        let is_told = |event: &Event| matches!(event, Event::NotRecovered { .. });
        next_event(&mut cable.events, "the failure", is_told).await;
        recovered(&mut cable.events, ConnectionRole::Main).await;

        others.delete_queue(QUEUE).await.unwrap();
        cable.proxy.all().end(End::Reset);
        recovered(&mut cable.events, ConnectionRole::Main).await;
        let there = cable.client.declare(Queue::new(QUEUE).passive()).await;
        assert!(there.is_ok(), "{there:?}");
    });
}
