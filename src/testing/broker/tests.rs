//! The broker and clients opposite to it, in virtual time.

mod any_client;
mod lavinmq;

use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use snowshoe_codec::method::{Arguments, basic, confirm, exchange, queue};
use snowshoe_codec::sasl::Plain;
use snowshoe_codec::{
    ChannelCloseReason, ChannelId, ClientOptions, CloseReason, Connection, Event, FieldTable,
    Method, Properties, Publish, ReplyCode, ShortString,
};

use super::{Broker, BrokerOptions, ConnectionId, Fault, Manner};

struct World {
    now: Instant,
    broker: Broker,
    clients: Vec<Client>,
}

struct Client {
    id: ConnectionId,
    connection: Connection,
    unread: BytesMut,
    events: Vec<Event>,
}

impl World {
    fn new() -> Self {
        Self::with(BrokerOptions::default())
    }

    fn with(options: BrokerOptions) -> Self {
        Self {
            now: Instant::now(),
            broker: Broker::new(options),
            clients: Vec::new(),
        }
    }

    /// A client that is logged in and has channel 1.
    fn client(&mut self) -> usize {
        self.client_by("guest")
    }

    fn client_by(&mut self, password: &str) -> usize {
        let options = ClientOptions::new(Plain::new("guest", password));
        self.clients.push(Client {
            id: self.broker.connect(self.now),
            connection: Connection::client(options, self.now),
            unread: BytesMut::new(),
            events: Vec::new(),
        });
        self.run();
        let client = self.clients.len() - 1;
        if self.clients[client].connection.is_open() {
            self.open_channel(client);
            self.events(client);
        }
        client
    }

    fn open_channel(&mut self, client: usize) -> ChannelId {
        let channel = self.clients[client].connection.open_channel(self.now);
        self.run();
        channel.expect("one is free")
    }

    /// Carries bytes to and fro until nobody has anything to say.
    fn run(&mut self) {
        loop {
            let mut moved = false;
            for client in &mut self.clients {
                client.connection.handle_timeout(self.now);
                let unread = client.unread.len() + client.connection.outbound().remaining();
                client.unread.put(client.connection.outbound());
                self.broker.receive(self.now, client.id, &mut client.unread);
                moved |= client.unread.len() < unread;
            }
            for client in &mut self.clients {
                let mut back = BytesMut::new();
                if let Some(outbound) = self.broker.outbound(client.id) {
                    back.put(outbound);
                }
                moved |= !back.is_empty();
                let mut is_behind = true;
                while is_behind {
                    is_behind = client.connection.receive(self.now, &mut back);
                    let events = std::iter::from_fn(|| client.connection.poll_event());
                    client.events.extend(events);
                }
            }
            if self.broker.poll_timeout().is_some_and(|at| at <= self.now) {
                self.broker.handle_timeout(self.now);
                moved = true;
            }
            if !moved {
                return;
            }
        }
    }

    /// Lets time pass, deadline by deadline.
    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        loop {
            let clients = self.clients.iter();
            let next = clients
                .filter_map(|client| client.connection.poll_timeout())
                .chain(self.broker.poll_timeout())
                .min()
                .filter(|next| *next <= until);
            let Some(next) = next else {
                break;
            };
            self.now = self.now.max(next);
            self.broker.handle_timeout(self.now);
            self.run();
        }
        self.now = until;
    }

    fn events(&mut self, client: usize) -> Vec<Event> {
        std::mem::take(&mut self.clients[client].events)
    }

    fn send(&mut self, client: usize, method: impl Into<Method>) {
        let connection = &mut self.clients[client].connection;
        let mut channel = connection.channel(ChannelId(1)).expect("it is open");
        channel.send(self.now, method).expect("a client may");
        self.run();
    }

    fn declare(&mut self, client: usize, declare: queue::Declare) {
        self.send(client, declare);
        self.events(client);
    }

    /// Publishes to the default exchange, without letting it arrive yet.
    fn write(&mut self, client: usize, key: &str, properties: &Properties, body: &'static str) {
        let connection = &mut self.clients[client].connection;
        let mut channel = connection.channel(ChannelId(1)).expect("it is open");
        channel
            .publish(&Publish {
                exchange: "".try_into().unwrap(),
                routing_key: key.try_into().unwrap(),
                mandatory: true,
                properties,
                body: &Bytes::from_static(body.as_bytes()),
            })
            .unwrap();
    }

    fn publish(&mut self, client: usize, key: &str, body: &'static str) {
        self.write(client, key, &Properties::EMPTY, body);
        self.run();
    }

    /// The bodies of what is ready in a queue.
    fn ready(&self, queue: &str) -> Vec<String> {
        let view = self.broker.queue("/", queue).expect("it exists");
        let text = |body: &Bytes| String::from_utf8_lossy(body).into_owned();
        view.ready
            .iter()
            .map(|message| text(&message.body))
            .collect()
    }
}

fn name(text: &'static str) -> ShortString {
    ShortString::from_static(text)
}

fn queue(text: &'static str) -> queue::Declare {
    queue::Declare {
        queue: name(text),
        ..Default::default()
    }
}

fn consume(queue: &'static str) -> basic::Consume {
    basic::Consume {
        queue: name(queue),
        consumer_tag: name("c"),
        ..Default::default()
    }
}

/// The deliveries among the events: tags, bodies, and whether they are redelivered.
fn deliveries(events: &[Event]) -> Vec<(u64, String, bool)> {
    let delivery = |event: &Event| match event {
        Event::Delivery { delivery, .. } => {
            let body = String::from_utf8_lossy(delivery.content.body()).into_owned();
            Some((delivery.delivery_tag, body, delivery.redelivered))
        }
        _ => None,
    };
    events.iter().filter_map(delivery).collect()
}

fn confirms(events: &[Event]) -> Vec<(u64, bool, bool)> {
    let confirm = |event: &Event| match event {
        Event::Confirm { confirm, .. } => {
            Some((confirm.delivery_tag, confirm.multiple, confirm.ack))
        }
        _ => None,
    };
    events.iter().filter_map(confirm).collect()
}

/// How the only event, the end of the channel, reads.
fn channel_end(events: &[Event]) -> (u16, String) {
    match events {
        [
            Event::ChannelClosed {
                reason: ChannelCloseReason::Peer(close),
                ..
            },
        ] => (close.code.0, close.text.to_string()),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_wrong_password_is_refused() {
    let mut world = World::new();
    let client = world.client_by("wrong");
    match &world.events(client)[..] {
        [Event::Closed(reason)] => {
            assert!(reason.to_string().contains("Login was refused"), "{reason}");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn what_is_published_is_confirmed_and_kept() {
    let mut world = World::new();
    let client = world.client();
    world.declare(client, queue("q"));
    world.send(client, confirm::Select::default());
    world.events(client);
    world.publish(client, "q", "herring");
    assert_eq!(confirms(&world.events(client)), [(1, false, true)]);
    assert_eq!(world.ready("q"), ["herring"]);
}

#[test]
fn what_no_queue_gets_is_returned_before_it_is_confirmed() {
    let mut world = World::new();
    let client = world.client();
    world.send(client, confirm::Select::default());
    world.events(client);
    world.publish(client, "nowhere", "lost");
    match &world.events(client)[..] {
        [
            Event::Returned { returned, .. },
            Event::Confirm { confirm, .. },
        ] if confirm.ack => {
            assert_eq!(returned.code, ReplyCode::NO_ROUTE);
            assert_eq!(returned.text(), *"NO_ROUTE");
            assert_eq!(returned.content.body(), b"lost");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn confirms_that_are_due_together_are_one() {
    let mut world = World::new();
    let client = world.client();
    world.declare(client, queue("q"));
    world.send(client, confirm::Select::default());
    world.events(client);
    for _ in 0..3 {
        world.write(client, "q", &Properties::EMPTY, "m");
    }
    world.run();
    assert_eq!(confirms(&world.events(client)), [(3, true, true)]);
}

#[test]
fn in_lavinmqs_manner_a_nack_overtakes_acks_and_is_spanned_by_the_next() {
    let mut world = World::with(BrokerOptions {
        manner: Manner::LavinMq,
        ..BrokerOptions::default()
    });
    let client = world.client();
    let arguments = FieldTable::new()
        .with("x-max-length", 1)
        .and_then(|table| table.with("x-overflow", "reject-publish"))
        .unwrap();
    world.declare(
        client,
        queue::Declare {
            arguments,
            ..queue("short")
        },
    );
    world.declare(client, queue("long"));
    world.send(client, confirm::Select::default());
    world.events(client);
    for key in ["short", "short", "long"] {
        world.write(client, key, &Properties::EMPTY, "m");
    }
    world.run();
    let confirms = confirms(&world.events(client));
    assert_eq!(confirms, [(2, false, false), (3, true, true)]);
}

#[test]
fn prefetch_holds_back_until_something_is_acknowledged() {
    let mut world = World::new();
    let client = world.client();
    world.declare(client, queue("q"));
    let qos = basic::Qos {
        prefetch_count: 2,
        ..Default::default()
    };
    world.send(client, qos);
    world.send(client, consume("q"));
    for body in ["a", "b", "c"] {
        world.publish(client, "q", body);
    }
    let got = deliveries(&world.events(client));
    assert_eq!(got, [(1, "a".into(), false), (2, "b".into(), false)]);
    world.send(
        client,
        basic::Ack {
            delivery_tag: 1,
            multiple: false,
        },
    );
    let got = deliveries(&world.events(client));
    assert_eq!(got, [(3, "c".into(), false)]);
}

#[test]
fn what_a_channel_held_goes_back_in_order_and_is_redelivered() {
    let mut world = World::new();
    let (first, second) = (world.client(), world.client());
    world.declare(first, queue("q"));
    for body in ["a", "b", "c"] {
        world.publish(first, "q", body);
    }
    world.send(first, consume("q"));
    let id = world.clients[first].id;
    world.broker.transport_ended(world.now, id);
    assert_eq!(world.ready("q"), ["a", "b", "c"]);
    world.send(second, consume("q"));
    let got = deliveries(&world.events(second));
    let again = |tag, body: &str| (tag, body.to_owned(), true);
    assert_eq!(got, [again(1, "a"), again(2, "b"), again(3, "c")]);
}

#[test]
fn an_unknown_tag_costs_the_channel() {
    let mut world = World::new();
    let client = world.client();
    world.send(
        client,
        basic::Ack {
            delivery_tag: 7,
            multiple: false,
        },
    );
    let (code, text) = channel_end(&world.events(client));
    assert_eq!(code, ChannelId(406).0);
    assert_eq!(text, "PRECONDITION_FAILED - unknown delivery tag 7");
    assert!(world.clients[client].connection.is_open());
}

#[test]
fn a_consumer_learns_that_its_queue_is_deleted() {
    let mut world = World::new();
    let (consumer, other) = (world.client(), world.client());
    world.declare(consumer, queue("q"));
    world.send(consumer, consume("q"));
    world.events(consumer);
    let delete = queue::Delete {
        queue: name("q"),
        ..Default::default()
    };
    world.send(other, delete);
    match &world.events(consumer)[..] {
        [Event::ConsumerCancelled { consumer_tag, .. }] => assert_eq!(*consumer_tag, "c"),
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_exclusive_queue_goes_with_its_connection() {
    let mut world = World::new();
    let client = world.client();
    let exclusive = queue::Declare {
        exclusive: true,
        ..queue("mine")
    };
    world.declare(client, exclusive);
    let id = world.clients[client].id;
    assert_eq!(world.broker.queue("/", "mine").unwrap().owner, Some(id));
    world.broker.transport_ended(world.now, id);
    assert!(world.broker.queue("/", "mine").is_none());
}

#[test]
fn a_restart_leaves_what_is_durable() {
    let mut world = World::new();
    let client = world.client();
    let durable = queue::Declare {
        durable: true,
        ..queue("durable")
    };
    world.declare(client, durable);
    world.declare(client, queue("transient"));
    let exchange = exchange::Declare {
        exchange: name("x"),
        kind: name("fanout"),
        durable: true,
        ..Default::default()
    };
    world.send(client, exchange);
    for target in ["durable", "transient"] {
        let bind = queue::Bind {
            queue: name(target),
            exchange: name("x"),
            ..Default::default()
        };
        world.send(client, bind);
    }
    let persistent = Properties::builder().persistent().build().unwrap();
    world.write(client, "durable", &persistent, "kept");
    world.write(client, "durable", &Properties::EMPTY, "lost");
    world.run();
    world.broker.restart(world.now);

    assert!(world.broker.is_finished(world.clients[client].id));
    assert_eq!(world.broker.queue_names("/"), ["durable"]);
    assert_eq!(world.ready("durable"), ["kept"]);
    let exchanges = world.broker.exchanges("/");
    let exchange = exchanges.iter().find(|exchange| exchange.name == "x");
    let bindings = &exchange.unwrap().bindings;
    assert_eq!(bindings.len(), 1);
    assert_eq!(bindings[0].destination, "durable");
}

#[test]
fn a_publisher_is_told_that_the_broker_is_short_and_is_read_again_later() {
    let mut world = World::new();
    let (publisher, other) = (world.client(), world.client());
    world.declare(publisher, queue("q"));
    world.broker.block(name("low on memory"));
    world.publish(publisher, "q", "late");
    match &world.events(publisher)[..] {
        [Event::Blocked { reason }] => assert_eq!(*reason, "low on memory"),
        other => panic!("{other:?}"),
    }
    assert!(world.ready("q").is_empty());
    // Who does not publish is served as ever, and who is not read is not taken for dead.
    world.declare(other, queue("r"));
    world.pass(Duration::from_secs(600));
    world.broker.unblock();
    world.run();
    match &world.events(publisher)[..] {
        [Event::Unblocked] => {}
        other => panic!("{other:?}"),
    }
    assert_eq!(world.ready("q"), ["late"]);
}

#[test]
fn in_lavinmqs_manner_low_disk_costs_a_publisher_its_channel() {
    let mut world = World::with(BrokerOptions {
        manner: Manner::LavinMq,
        ..BrokerOptions::default()
    });
    let client = world.client();
    world.declare(client, queue("q"));
    world.broker.block(name("disk"));
    world.publish(client, "q", "refused");
    let (code, text) = channel_end(&world.events(client));
    assert_eq!(code, ChannelId(406).0);
    assert_eq!(text, "PRECONDITION_FAILED - Server low on disk space");
    assert!(world.ready("q").is_empty());
}

#[test]
fn queues_that_dead_letter_to_all_others_do_not_keep_the_broker_for_ever() {
    let mut world = World::new();
    let client = world.client();
    let exchange = exchange::Declare {
        exchange: name("x"),
        kind: name("fanout"),
        ..Default::default()
    };
    world.send(client, exchange);
    // Every order in which a letter can visit them would be tried: nine factorial.
    for number in 0..9 {
        let queue = ShortString::try_from(format!("q{number}")).unwrap();
        let arguments = FieldTable::new()
            .with("x-message-ttl", 0)
            .and_then(|table| table.with("x-dead-letter-exchange", "x"))
            .unwrap();
        let declare = queue::Declare {
            queue: queue.clone(),
            arguments,
            ..Default::default()
        };
        world.declare(client, declare);
        let bind = queue::Bind {
            queue,
            exchange: name("x"),
            ..Default::default()
        };
        world.send(client, bind);
        world.events(client);
    }
    world.write(client, "q0", &Properties::EMPTY, "m");
    let mut bytes = BytesMut::new();
    bytes.put(world.clients[client].connection.outbound());
    let id = world.clients[client].id;
    world.broker.receive(world.now, id, &mut bytes);
    assert!(bytes.is_empty());
    assert_eq!(world.broker.poll_timeout(), Some(world.now));
}

#[test]
fn a_kick_closes_the_connection() {
    let mut world = World::new();
    let client = world.client();
    world.broker.kick(world.now, world.clients[client].id);
    world.run();
    match &world.events(client)[..] {
        [Event::Closed(CloseReason::Peer(close))] => {
            assert_eq!(close.code, ReplyCode::CONNECTION_FORCED);
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn an_injected_fault_comes_as_often_as_was_said() {
    let mut world = World::new();
    let client = world.client();
    world.broker.inject(Fault {
        method: queue::Declare::ID,
        name: Some(name("q")),
        code: ReplyCode::PRECONDITION_FAILED,
        text: "Server low on disk space".to_owned(),
        times: 1,
    });
    world.send(client, queue("other"));
    world.events(client);
    world.send(client, queue("q"));
    let (code, text) = channel_end(&world.events(client));
    assert_eq!(code, ChannelId(406).0);
    assert_eq!(text, "PRECONDITION_FAILED - Server low on disk space");
    assert!(world.broker.queue("/", "q").is_none());
    let again = world.open_channel(client);
    let connection = &mut world.clients[client].connection;
    let mut channel = connection.channel(again).unwrap();
    channel.send(world.now, queue("q")).unwrap();
    world.run();
    assert!(world.broker.queue("/", "q").is_some());
}

#[test]
fn a_delivery_that_nobody_acknowledges_costs_the_channel_in_time() {
    let mut world = World::with(BrokerOptions {
        manner: Manner::RabbitMq310,
        ..BrokerOptions::default()
    });
    let client = world.client();
    world.declare(client, queue("q"));
    world.send(client, consume("q"));
    world.publish(client, "q", "m");
    world.events(client);
    world.pass(Duration::from_secs(30 * 60 + 1));
    let (code, text) = channel_end(&world.events(client));
    assert_eq!(code, ChannelId(406).0);
    assert!(text.contains("timed out"), "{text}");
    assert_eq!(world.ready("q"), ["m"]);
}

#[test]
fn an_active_consumer_at_its_limit_leaves_nothing_to_do_at_once() {
    let mut world = World::new();
    let client = world.client();
    let mut only = queue("q");
    only.arguments
        .insert("x-single-active-consumer", true)
        .unwrap();
    world.declare(client, only);
    let qos = basic::Qos {
        prefetch_count: 1,
        ..Default::default()
    };
    world.send(client, qos);
    for tag in ["a", "b"] {
        let consumer_tag = name(tag);
        world.send(
            client,
            basic::Consume {
                consumer_tag,
                ..consume("q")
            },
        );
    }
    world.publish(client, "q", "1");
    world.publish(client, "q", "2");
    let next = world.broker.poll_timeout();
    assert!(next.is_none_or(|at| at > world.now));
}

#[test]
fn deliveries_wait_for_a_client_that_does_not_read() {
    let mut world = World::with(BrokerOptions {
        outbound_limit: 100,
        ..BrokerOptions::default()
    });
    let (consumer, publisher) = (world.client(), world.client());
    world.declare(publisher, queue("q"));
    let no_ack = basic::Consume {
        no_ack: true,
        ..consume("q")
    };
    world.send(consumer, no_ack);
    world.events(consumer);
    for _ in 0..10 {
        world.write(
            publisher,
            "q",
            &Properties::EMPTY,
            "a message of some length",
        );
    }
    let mut bytes = BytesMut::new();
    bytes.put(world.clients[publisher].connection.outbound());
    let id = world.clients[publisher].id;
    world.broker.receive(world.now, id, &mut bytes);
    let held = world.ready("q").len();
    assert!((1..10).contains(&held), "{held}");
    world.run();
    assert_eq!(deliveries(&world.events(consumer)).len(), 10);
}
