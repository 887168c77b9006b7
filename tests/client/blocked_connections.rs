//! A broker that is short of memory stops reading connections that publish. That is no reason to
//! panic, to reconnect or to hang, and does not stop acknowledgements.

use std::time::{Duration, Instant};

use snowshoe::{Client, Confirmation, ConnectionRole, Event, Events, Producer, Queue};
use support::broker::Node;
use support::client::builder;
use support::events::{disconnected, next_event, recovered};
use support::executor;
use support::messages::{number, numbered};
use support::queues::declare_empty;
use support::waiting::{run, wait_until, within};

const QUEUE: &str = "blocked";

/// A client with a producer whose connection is blocked.
struct Blocked {
    node: Node,
    client: Client,
    events: Events,
    producer: Producer,
    /// Published while the alarm was raised, the first of them alone.
    waiting: Vec<Confirmation>,
}

impl Blocked {
    /// Publishes so many messages and sees them confirmed, then a few more, from this number on,
    /// into the alarm.
    async fn start(before: u64, during: u64) -> Self {
        let node = Node::start();
        let builder = builder(&node.url())
            .heartbeat(Duration::from_secs(1))
            .write_timeout(Duration::from_secs(1));
        let client = within("the connection", executor::connect(builder))
            .await
            .unwrap();
        let mut events = client.events();
        declare_empty(&client, QUEUE).await;
        let producer = client.producer(QUEUE).unwrap().build();
        for number in 0..before {
            within("the confirm", producer.send(numbered(number, 100)))
                .await
                .unwrap();
        }
        node.admin().set_memory_alarm(true);
        // Each connection is told of it on its own, and is blocked by the first publish after that.
        wait_until("the connections know of the alarm", || {
            let states =
                "[rabbit_reader:info(P, [state]) || P <- rabbit_networking:local_connections()]";
            !node.admin().eval(states).contains("running")
        });
        let waiting = (before..before + during)
            .map(|number| producer.try_publish(numbered(number, 100)).unwrap())
            .collect();
        let is_blocked = |event: &Event| {
            matches!(
                event,
                Event::Blocked {
                    role: ConnectionRole::Publishing,
                    ..
                }
            )
        };
        next_event(&mut events, "the block", is_blocked).await;
        Self {
            node,
            client,
            events,
            producer,
            waiting,
        }
    }

    async fn assert_confirmed(&mut self) {
        for confirmation in self.waiting.drain(..) {
            within("the confirm", confirmation).await.unwrap();
        }
    }

    /// What happened since the last look.
    fn events(&mut self) -> Vec<Event> {
        std::iter::from_fn(|| self.events.try_next()).collect()
    }
}

// case B2, fault 25
#[test]
fn what_is_published_by_hand_into_a_block_stops_no_acknowledgement() {
    run(async {
        let blocked = Blocked::start(20, 1).await;
        // Until it is read again, there is no channel to be had on it.
        blocked.node.admin().set_memory_alarm(false);
        let channel = within("the channel", blocked.client.publishing_channel()).await;
        let channel = channel.unwrap();
        blocked.node.admin().set_memory_alarm(true);
        let all_are_told = "[] == [P || P <- rabbit_networking:local_connections(), \
                            [{state, running}] =:= rabbit_reader:info(P, [state])]";
        wait_until("the connections know of the alarm", || {
            blocked.node.admin().eval(all_are_told).contains("true")
        });
        for _ in 0..100 {
            let publish = channel.publish("", QUEUE, vec![0; 1000]);
            within("the publish", publish).await.unwrap();
        }
        let consumer = blocked.client.consumer(QUEUE).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        for _ in 0..20 {
            let delivery = within("a delivery", consumer.next()).await.unwrap();
            delivery.ack().unwrap();
        }
        let declared = blocked.client.declare(Queue::new(QUEUE).passive());
        within("the answer to a call", declared).await.unwrap();
    });
}

// fault 12, fault 23, fault 25
#[test]
fn while_publishing_is_blocked_acks_pass_and_nobody_reconnects() {
    run(async {
        let mut blocked = Blocked::start(20, 5).await;
        let began = Instant::now();
        let consumer = blocked.client.consumer(QUEUE).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        for expected in 0..20 {
            let delivery = within("a delivery", consumer.next()).await.unwrap();
            assert_eq!(number(&delivery), expected);
            delivery.ack().unwrap();
        }
        // The broker may have taken the first of those that came into the alarm.
        wait_until("the broker has the acks", || {
            blocked.node.admin().messages_in(QUEUE) <= 1
        });
        let blocked_too: Vec<_> = (25..30)
            .map(|number| blocked.producer.try_publish(numbered(number, 100)).unwrap())
            .collect();
        blocked.waiting.extend(blocked_too);

        // Longer than it takes to give up on a peer that is silent, or takes no bytes.
        wait_until("some heartbeats have passed", || {
            began.elapsed() > Duration::from_secs(4)
        });
        let lost = |event: &Event| matches!(event, Event::Disconnected { .. });
        assert!(!blocked.events().iter().any(lost));
        assert_eq!(blocked.producer.buffered(), 10);

        blocked.node.admin().set_memory_alarm(false);
        blocked.assert_confirmed().await;
        for expected in 20..30 {
            let delivery = within("a delivery", consumer.next()).await.unwrap();
            assert_eq!(
                (number(&delivery), delivery.is_redelivered()),
                (expected, false)
            );
            delivery.ack().unwrap();
        }
        let events = blocked.events();
        assert!(!events.iter().any(lost));
        let unblocked = |event: &Event| matches!(event, Event::Unblocked { .. });
        assert!(events.iter().any(unblocked));
    });
}

// fault 24, fault 12
#[test]
fn closing_a_blocked_client_takes_no_longer_than_its_deadline_and_leaves_nothing_behind() {
    run(async {
        let mut blocked = Blocked::start(0, 5).await;
        let began = Instant::now();
        let report = blocked
            .client
            .close_within(Duration::from_millis(300))
            .await;
        let took = began.elapsed();
        assert!(took < Duration::from_secs(5), "{took:?}");
        let expected: Vec<_> = (0..5).map(|number| numbered(number, 100)).collect();
        assert_eq!(report.undelivered, expected);
        for confirmation in blocked.waiting.drain(..) {
            assert!(within("the outcome", confirmation).await.is_err());
        }
        let admin = blocked.node.admin();
        admin.set_memory_alarm(false);
        wait_until("the broker has noticed", || admin.connections() == 0);
        // It was blocked over the first. After an orderly end it would take the others as well,
        // though they were told to be undelivered.
        assert!(admin.messages_in(QUEUE) <= 1);
    });
}

// fault 27, fault 17
#[test]
fn a_block_ends_with_its_connection() {
    run(async {
        let mut blocked = Blocked::start(0, 5).await;
        blocked.node.kill();
        disconnected(&mut blocked.events, ConnectionRole::Publishing).await;
        blocked.node.start_again();
        recovered(&mut blocked.events, ConnectionRole::Publishing).await;
        blocked.assert_confirmed().await;
    });
}
