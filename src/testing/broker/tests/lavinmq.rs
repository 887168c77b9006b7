//! What LavinMQ does otherwise, as it was seen on 2.9.1 or is documented. No test plays this on a real
//! one.

use super::*;

fn world() -> World {
    World::with(BrokerOptions {
        manner: Manner::LavinMq,
        ..BrokerOptions::default()
    })
}

fn with(
    mut declare: queue::Declare,
    key: &str,
    value: impl snowshoe_codec::ToField,
) -> queue::Declare {
    declare.arguments.insert(key, value).unwrap();
    declare
}

fn publish_mandatory(world: &mut World, client: usize, key: &str, properties: &Properties) {
    let connection = &mut world.clients[client].connection;
    let mut channel = connection.channel(ChannelId(1)).unwrap();
    channel
        .publish(&Publish {
            exchange: Default::default(),
            routing_key: name_of(key).as_short_str(),
            mandatory: true,
            properties,
            body: &Bytes::from_static(b"m"),
        })
        .unwrap();
    world.run();
}

fn name_of(text: &str) -> ShortString {
    ShortString::try_from(text).unwrap()
}

fn returns(events: &[Event]) -> usize {
    let is_return = |event: &&Event| matches!(event, Event::Returned { .. });
    events.iter().filter(is_return).count()
}

#[test]
fn what_is_mandatory_and_refused_by_a_full_queue_comes_back_and_is_nacked() {
    let mut world = world();
    let client = world.client();
    world.send(client, confirm::Select::default());
    let full = with(queue("q"), "x-max-length", 0);
    world.declare(client, with(full, "x-overflow", "reject-publish"));
    world.events(client);
    publish_mandatory(&mut world, client, "q", &Properties::EMPTY);
    let events = world.events(client);
    assert_eq!(returns(&events), 1);
    assert_eq!(confirms(&events), [(1, false, false)]);
}

#[test]
fn a_delivery_limit_below_zero_is_refused() {
    let mut world = world();
    let client = world.client();
    world.send(client, with(queue("q"), "x-delivery-limit", -1));
    let (code, text) = channel_end(&world.events(client));
    assert_eq!(code, 406, "{text}");
}

#[test]
fn a_message_of_a_name_that_was_there_is_confirmed_and_dropped() {
    let mut world = world();
    let client = world.client();
    world.send(client, confirm::Select::default());
    world.declare(client, with(queue("q"), "x-message-deduplication", true));
    let named = |name: &str| {
        let properties = Properties::builder().header("x-deduplication-header", name);
        properties.build().unwrap()
    };
    world.events(client);
    for name in ["a", "b", "a"] {
        world.write(client, "q", &named(name), "m");
    }
    world.run();
    let acked = confirms(&world.events(client));
    assert!(acked.iter().all(|(_, _, ack)| *ack), "{acked:?}");
    assert_eq!(acked.last().map(|(tag, ..)| *tag), Some(3));
    assert_eq!(world.ready("q").len(), 2);
}

#[test]
fn a_reader_of_a_stream_goes_on_where_the_last_of_its_name_was() {
    let mut world = world();
    let client = world.client();
    let stream = queue::Declare {
        durable: true,
        ..with(queue("s"), "x-queue-type", "stream")
    };
    world.declare(client, stream);
    world.send(
        client,
        basic::Qos {
            prefetch_count: 1,
            ..Default::default()
        },
    );
    let reader = || basic::Consume {
        consumer_tag: name("reader"),
        ..consume("s")
    };
    world.send(client, reader());
    for body in ["0", "1", "2"] {
        world.publish(client, "s", body);
    }
    let ack = basic::Ack {
        delivery_tag: 1,
        multiple: false,
    };
    world.send(client, ack);
    let bodies = |events: &[Event]| -> Vec<String> {
        deliveries(events).into_iter().map(|it| it.1).collect()
    };
    assert_eq!(bodies(&world.events(client)), ["0", "1"]);
    let cancel = basic::Cancel {
        consumer_tag: name("reader"),
        nowait: false,
    };
    world.send(client, cancel);
    world.send(client, reader());
    assert_eq!(bodies(&world.events(client)), ["1"]);
}
