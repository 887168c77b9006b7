//! What was declared is there again after a reconnect, in an order that works and under the names
//! that it has by then; what was deleted is not. What the user wants is remembered, whatever becomes
//! of the channels, connections and nodes that it was asked for on.

use std::pin::pin;
use std::time::Duration;

use async_io::Timer;
use futures_lite::future::poll_once;
use snowshoe::codec::method::queue;
use snowshoe::{
    Binding, Client, ConnectionRole, Consumer, Error, Event, Exchange, Properties, Queue, ReplyCode,
};
use support::broker::{Node, url};
use support::cable::Cable;
use support::client::connect;
use support::events::{disconnected, next_event, recovered};
use support::messages::{number, numbered};
use support::proxy::{End, Proxy, To};
use support::queues::{declare_empty, publish, ready_in};
use support::waiting::{run, within};

async fn assert_receives(consumer: &mut Consumer, expected: u64) {
    let delivery = within("a delivery", consumer.next()).await.unwrap();
    assert_eq!(number(&delivery), expected);
    delivery.ack().unwrap();
}

/// Publishes one message, and whether a queue was there to take it.
async fn is_routed(client: &Client, exchange: &str, routing_key: &str, message: u64) -> bool {
    let producer = client.exchange_producer(exchange, routing_key).unwrap();
    let producer = producer.mandatory(true).build();
    within("the confirm", producer.send(numbered(message, 100)))
        .await
        .is_ok()
}

fn is_not_found<T>(result: Result<T, Error>) -> bool {
    matches!(result, Err(Error::Refused(close)) if close.code == ReplyCode::NOT_FOUND)
}

// fault 43, fault 57
#[test]
fn a_broker_that_has_forgotten_everything_is_told_everything_again() {
    /// By name, none of them can be declared before what it is bound to.
    const ENTRY: &str = "z: entry";
    const MIDDLE: &str = "m: middle";
    const QUEUE: &str = "a: queue";
    let mut node = Node::start();
    run(async {
        let client = connect(&node.url()).await;
        let mut events = client.events();
        let exchange = |name| Exchange::direct(name).durable(false);
        client.declare(exchange(ENTRY)).await.unwrap();
        client.declare(exchange(MIDDLE)).await.unwrap();
        let keys = ["one", "two"];
        for key in keys {
            let binding = Binding::exchange(MIDDLE)
                .to_exchange(ENTRY)
                .routing_key(key);
            client.declare(binding).await.unwrap();
        }
        client
            .declare(Queue::new(QUEUE).durable(false))
            .await
            .unwrap();
        for key in keys {
            let binding = Binding::queue(QUEUE).to_exchange(MIDDLE).routing_key(key);
            client.declare(binding).await.unwrap();
        }
        let consumer = client.consumer(QUEUE).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();

        node.kill();
        node.start_again();
        recovered(&mut events, ConnectionRole::Main).await;
        for (message, key) in (0..).zip(keys) {
            assert!(is_routed(&client, ENTRY, key, message).await, "{key}");
            assert_receives(&mut consumer, message).await;
        }
        assert!(!is_routed(&client, ENTRY, "three", 3).await);
    });
}

// fault 43
#[test]
fn bindings_that_differ_in_their_arguments_alone_are_all_restored() {
    const EXCHANGE: &str = "topology: headers";
    const QUEUE: &str = "topology: by headers";
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        cable
            .client
            .declare(Exchange::headers(EXCHANGE))
            .await
            .unwrap();
        for color in ["red", "green"] {
            let binding = Binding::queue(QUEUE)
                .to_exchange(EXCHANGE)
                .argument("color", color);
            cable.client.declare(binding).await.unwrap();
        }
        let delete = async |others: Client| others.delete_exchange(EXCHANGE).await.unwrap();
        assert!(while_cut(&mut cable, delete).await.is_empty());
        let producer = cable.client.exchange_producer(EXCHANGE, "").unwrap();
        let producer = producer.mandatory(true).build();
        for (color, arrives) in [("red", true), ("green", true), ("blue", false)] {
            let properties = Properties::builder().header("color", color);
            let message = numbered(0, 100).with_properties(properties.build().unwrap());
            let sent = within("the confirm", producer.send(message)).await;
            assert_eq!(sent.is_ok(), arrives, "{color}: {sent:?}");
        }
    });
}

/// Cuts the main connection, lets somebody else do something, and waits for the recovery. What
/// could not be recovered.
async fn while_cut(cable: &mut Cable, work: impl AsyncFnOnce(Client)) -> Vec<String> {
    cable.proxy.refuse();
    cable.proxy.all().end(End::Reset);
    work(connect(&url()).await).await;
    cable.proxy.accept();
    let mut not_recovered = Vec::new();
    loop {
        match next_event(&mut cable.events, "the recovery", |_| true).await {
            Event::NotRecovered { entity, .. } => not_recovered.push(entity.to_string()),
            Event::Recovered { .. } => return not_recovered,
            _ => {}
        }
    }
}

// fault 48
#[test]
fn what_was_deleted_or_unbound_does_not_rise_again() {
    const EXCHANGE: &str = "topology: deleted exchange";
    const KEPT_EXCHANGE: &str = "topology: kept exchange";
    const QUEUE: &str = "topology: deleted queue";
    const KEPT_QUEUE: &str = "topology: kept queue";
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        for name in [EXCHANGE, KEPT_EXCHANGE] {
            client.declare(Exchange::direct(name)).await.unwrap();
        }
        for queue in [QUEUE, KEPT_QUEUE] {
            client.declare(Queue::new(queue)).await.unwrap();
            for exchange in [EXCHANGE, KEPT_EXCHANGE] {
                let binding = Binding::queue(queue).to_exchange(exchange);
                client.declare(binding).await.unwrap();
            }
        }
        client.delete_queue(QUEUE).await.unwrap();
        client.delete_exchange(EXCHANGE).await.unwrap();
        let unbound = Binding::queue(KEPT_QUEUE).to_exchange(KEPT_EXCHANGE);
        client.unbind(unbound).await.unwrap();
        assert!(while_cut(&mut cable, async |_| {}).await.is_empty());

        let queue = |name| Queue::new(name).passive();
        let exchange = |name| Exchange::direct(name).passive();
        assert!(is_not_found(client.declare(queue(QUEUE)).await));
        assert!(is_not_found(client.declare(exchange(EXCHANGE)).await));
        assert!(client.declare(queue(KEPT_QUEUE)).await.is_ok());
        assert!(client.declare(exchange(KEPT_EXCHANGE)).await.is_ok());
        assert!(
            !is_routed(&client, KEPT_EXCHANGE, "", 0).await,
            "it was unbound"
        );
    });
}

// fault 46
#[test]
fn a_server_named_queue_gets_a_new_name_everywhere() {
    const EXCHANGE: &str = "topology: to a server-named queue";
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        client.declare(Exchange::fanout(EXCHANGE)).await.unwrap();
        let declared = client.declare(Queue::server_named()).await.unwrap();
        let old = declared.name;
        let binding = Binding::queue(old.clone()).to_exchange(EXCHANGE);
        client.declare(binding).await.unwrap();
        let consumer = client.consumer(old.clone()).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        for round in 0..2 {
            let old = consumer.queue();
            cable.proxy.all().end(End::Reset);
            let is_renamed = |event: &Event| matches!(event, Event::QueueRenamed { .. });
            let renamed = next_event(&mut cable.events, "the new name", is_renamed).await;
            let Event::QueueRenamed { old: told, new } = renamed else {
                unreachable!()
            };
            recovered(&mut cable.events, ConnectionRole::Main).await;
            assert_eq!((told, new), (old.clone(), consumer.queue()));
            assert_ne!(consumer.queue(), old);
            assert!(is_routed(&client, EXCHANGE, "", round).await);
            assert_receives(&mut consumer, round).await;
        }
    });
}

/// One that the broker names, and that lives on without a connection.
fn lasting() -> Queue {
    Queue::new("").expires(Duration::from_secs(300))
}

// case E2
#[test]
fn a_server_named_queue_that_outlives_its_connection_keeps_its_name_and_its_messages() {
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        let queue = client.declare(lasting()).await.unwrap().name;
        for round in 0..2 {
            publish(&client, &queue, &["kept"]).await;
            cable.proxy.all().end(End::Reset);
            let is_told = |event: &Event| {
                matches!(
                    event,
                    Event::QueueRenamed { .. }
                        | Event::Recovered {
                            role: ConnectionRole::Main
                        }
                )
            };
            let told = next_event(&mut cable.events, "the recovery", is_told).await;
            assert!(matches!(told, Event::Recovered { .. }), "{told:?}");
            assert_eq!(ready_in(&client, &queue).await, round + 1);
        }
        client.delete_queue(&queue).await.unwrap();
    });
}

// case E2
#[test]
fn a_server_named_queue_that_is_gone_at_last_gets_a_new_name() {
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        let queue = client.declare(lasting()).await.unwrap().name;
        let consumer = client.consumer(&queue).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        connect(&url()).await.delete_queue(&queue).await.unwrap();
        let is_renamed = |event: &Event| matches!(event, Event::QueueRenamed { .. });
        next_event(&mut cable.events, "the new name", is_renamed).await;
        assert_ne!(consumer.queue(), queue);
        let producer = client.producer(consumer.queue()).unwrap().build();
        within("the confirm", producer.send(numbered(1, 100)))
            .await
            .unwrap();
        assert_receives(&mut consumer, 1).await;
        client.delete_queue(consumer.queue()).await.unwrap();
    });
}

/// Two proxies in a row: what the far one keeps silent about, the near one can end.
struct HalfOpen {
    cable: Cable,
    far: Proxy,
}

impl HalfOpen {
    async fn lay(heartbeat: Duration) -> Self {
        let far = Proxy::start(&url());
        let near = Proxy::start(&far.url());
        let cable = Cable::lay_with(near, |builder| builder.heartbeat(heartbeat)).await;
        Self { cable, far }
    }

    /// Ends the connection for the client, while the broker knows nothing of it.
    fn end(&self) {
        self.far.link(0).silence(To::Both);
        self.cable.proxy.link(0).end(End::Reset);
    }
}

// fault 44
#[test]
fn an_exclusive_queue_is_tried_until_the_broker_has_given_up_the_old_connection() {
    const QUEUE: &str = "topology: exclusive";
    run(async {
        let mut half_open = HalfOpen::lay(Duration::from_secs(1)).await;
        let client = half_open.cable.client.clone();
        client.declare(Queue::new(QUEUE).exclusive()).await.unwrap();
        let consumer = client.consumer(QUEUE).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        half_open.end();
        recovered(&mut half_open.cable.events, ConnectionRole::Main).await;
        // Messages to the old queue end with it.
        let producer = client.producer(QUEUE).unwrap().build();
        let received = async {
            let next = consumer.next();
            let mut next = pin!(next);
            loop {
                _ = producer.send(numbered(7, 100)).await;
                Timer::after(Duration::from_millis(20)).await;
                if let Some(delivery) = poll_once(&mut next).await {
                    return delivery.unwrap();
                }
            }
        };
        let delivery = within("a delivery", received).await;
        assert_eq!(number(&delivery), 7);
        delivery.ack().unwrap();
        let mut events = std::iter::from_fn(|| half_open.cable.events.try_next());
        let not_recovered = events.find(|event| matches!(event, Event::NotRecovered { .. }));
        assert!(not_recovered.is_none(), "{not_recovered:?}");
    });
}

// fault 45
#[test]
fn an_exclusive_consumer_is_tried_until_the_broker_has_given_up_the_old_one() {
    const QUEUE: &str = "topology: exclusive consumer";
    run(async {
        let mut half_open = HalfOpen::lay(Duration::from_secs(1)).await;
        let client = half_open.cable.client.clone();
        declare_empty(&client, QUEUE).await;
        let consumer = client.consumer(QUEUE).unwrap().exclusive().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        half_open.end();
        recovered(&mut half_open.cable.events, ConnectionRole::Main).await;
        let producer = client.producer(QUEUE).unwrap().build();
        within("the confirm", producer.send(numbered(7, 100)))
            .await
            .unwrap();
        assert_receives(&mut consumer, 7).await;
    });
}

// fault 50, fault 55
#[test]
fn what_cannot_be_declared_again_is_told_and_its_neighbours_are_there() {
    const QUEUES: [&str; 3] = ["topology: a", "topology: b", "topology: c"];
    run(async {
        let mut cable = Cable::lay().await;
        for queue in QUEUES {
            declare_empty(&cable.client, queue).await;
        }
        let not_recovered = while_cut(&mut cable, async |others| {
            for queue in QUEUES {
                others.delete_queue(queue).await.unwrap();
            }
            // Somebody else wants it otherwise.
            let other = Queue::new(QUEUES[1]).max_length(5);
            others.declare(other).await.unwrap();
        });
        let [told] = &not_recovered.await[..] else {
            panic!("one could not be recovered");
        };
        assert!(told.contains(QUEUES[1]), "{told}");
        for queue in QUEUES {
            let there = cable.client.declare(Queue::new(queue).passive()).await;
            assert!(there.is_ok(), "{queue}");
        }
    });
}

/// A queue that a node forgets when it goes down.
fn transient(name: &'static str) -> Queue {
    Queue::new(name).durable(false)
}

// fault 49
#[test]
fn what_was_declared_beside_refused_declarations_is_declared_again() {
    const QUEUES: [&str; 3] = [
        "topology: beside a",
        "topology: beside b",
        "topology: beside c",
    ];
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
            queue: "topology: by hand".try_into().unwrap(),
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
            .declare(Queue::new("topology: by hand").passive())
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
    const QUEUES: [&str; 3] = ["topology: one", "topology: two", "topology: three"];
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
fn after_the_death_of_a_node_renamed_queues_work_deleted_ones_stay_gone_and_a_bad_one_is_told() {
    const BAD: &str = "topology: a bad one";
    const DELETED: &str = "topology: gone";
    const KEPT: &str = "topology: kept";
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
                Event::NotRecovered { entity, .. } => not_recovered.push(entity.to_string()),
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
    const QUEUE: &str = "topology: taken for a while";
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
