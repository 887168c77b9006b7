//! Publishes are numbered as the broker counts them.

mod pair;

use std::time::Instant;

use bytes::Bytes;
use pair::read::{client, read};
use pair::wire::{frame, method, written};
use pair::{Pair, goodbye};
use snowshoe_codec::method::{Arguments as _, basic, confirm};
use snowshoe_codec::{
    Channel, ChannelId, Connection, Event, FrameKind, MethodError, MethodId, Properties, Publish,
    SendError, ShortStr, Violation,
};

fn publish(channel: &mut Channel<'_>, body: &'static [u8]) -> Result<Option<u64>, SendError> {
    channel.publish(&Publish {
        exchange: ShortStr::new(b"").unwrap(),
        routing_key: ShortStr::new(b"queue").unwrap(),
        mandatory: false,
        properties: &Properties::EMPTY,
        body: &Bytes::from_static(body),
    })
}

/// A client that has published so many messages in confirm mode.
fn published(count: u64) -> Connection {
    let mut client = client(1);
    let mut channel = client.channel(ChannelId(1)).unwrap();
    let select = confirm::Select { nowait: true };
    channel.send(Instant::now(), select).unwrap();
    for number in 1..=count {
        assert_eq!(publish(&mut channel, b"message"), Ok(Some(number)));
    }
    written(&mut client);
    client
}

fn ack(delivery_tag: u64, multiple: bool) -> Vec<u8> {
    let ack = basic::Ack {
        delivery_tag,
        multiple,
    };
    method(ChannelId(1), ack)
}

fn nack(delivery_tag: u64, multiple: bool) -> Vec<u8> {
    let nack = basic::Nack {
        delivery_tag,
        multiple,
        requeue: false,
    };
    method(ChannelId(1), nack)
}

#[test]
fn publishes_count_from_confirm_select() {
    let mut client = client(2);
    let now = Instant::now();
    let mut channel = client.channel(ChannelId(1)).unwrap();
    assert_eq!(publish(&mut channel, b"before"), Ok(None));
    channel.send(now, confirm::Select::default()).unwrap();
    assert_eq!(publish(&mut channel, b"first"), Ok(Some(1)));
    // A second confirm.select changes nothing (RabbitMQ: confirms).
    channel.send(now, confirm::Select::default()).unwrap();
    assert_eq!(publish(&mut channel, b"second"), Ok(Some(2)));

    let mut other = client.channel(ChannelId(2)).unwrap();
    assert_eq!(publish(&mut other, b"not confirmed"), Ok(None));
}

#[test]
fn a_publish_that_was_refused_has_no_number() {
    let mut client = published(1);
    let too_large = Properties::builder()
        .header("x", &*"y".repeat(200_000))
        .build()
        .unwrap();
    let mut channel = client.channel(ChannelId(1)).unwrap();
    let refused = channel.publish(&Publish {
        exchange: ShortStr::default(),
        routing_key: ShortStr::default(),
        mandatory: false,
        properties: &too_large,
        body: &Bytes::new(),
    });
    assert!(matches!(refused, Err(SendError::FrameTooLarge { .. })));
    assert_eq!(publish(&mut channel, b"next"), Ok(Some(2)));
}

#[test]
fn numbers_begin_again_with_each_channel() {
    let mut pair = Pair::open();
    for _ in 0..40 {
        let id = pair.open_channel();
        let mut channel = pair.client.connection.channel(id).unwrap();
        let select = confirm::Select { nowait: true };
        channel.send(pair.now, select).unwrap();
        assert_eq!(publish(&mut channel, b"first"), Ok(Some(1)));
        let (code, text) = goodbye();
        channel.close(pair.now, code, text).unwrap();
        pair.run();
    }
}

/// LavinMQ's nacks overtake its acks, and a later multiple ack spans them.
#[test]
fn confirms_are_told_as_they_come() {
    let bytes = [ack(1, false), nack(4, false), ack(5, true), nack(3, true)].concat();
    let outcome = read(|| published(5), &bytes);
    let confirms: Vec<_> = outcome
        .events
        .iter()
        .map(|event| match *event {
            Event::Confirm {
                channel: ChannelId(1),
                confirm,
            } => (confirm.delivery_tag, confirm.multiple, confirm.ack),
            ref other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        (1, false, true),
        (4, false, false),
        (5, true, true),
        (3, true, false),
    ];
    assert_eq!(confirms, expected);
}

#[test]
fn a_confirm_of_what_was_never_published_ends_the_connection() {
    for bytes in [ack(4, false), nack(4, true), ack(u64::MAX, true)] {
        let outcome = read(|| published(3), &bytes);
        assert!(matches!(
            outcome.violation(),
            Violation::UnknownConfirm {
                channel: ChannelId(1),
                ..
            }
        ));
    }
    let outcome = read(|| client(1), &ack(1, false));
    let unknown = Violation::UnknownConfirm {
        channel: ChannelId(1),
        delivery_tag: 1,
    };
    assert_eq!(*outcome.violation(), unknown);
}

#[test]
fn a_confirm_with_too_few_or_too_many_arguments_ends_the_connection() {
    for (id, name) in [(basic::Ack::ID, "ack"), (basic::Nack::ID, "nack")] {
        let MethodId { class, method } = id;
        let ids = [class.to_be_bytes(), method.to_be_bytes()].concat();
        let with = |arguments: &[u8]| {
            let payload = [&ids, arguments].concat();
            read(
                || published(3),
                &frame(FrameKind::Method, ChannelId(1), &payload),
            )
        };
        for len in 0..9 {
            let violation = Violation::Method(MethodError::Truncated(id));
            assert_eq!(
                *with(&[0; 9][..len]).violation(),
                violation,
                "{name}: {len}"
            );
        }
        let (method, count) = (id, 1);
        let violation = Violation::Method(MethodError::TrailingBytes { method, count });
        assert_eq!(*with(&[0; 10]).violation(), violation, "{name}");
    }
}

/// Only the first bit is `multiple`: that after it is the `requeue` of a nack, which means nothing here.
#[test]
fn the_other_bits_of_a_nack_do_not_make_it_multiple() {
    let nack = basic::Nack {
        delivery_tag: 2,
        multiple: false,
        requeue: true,
    };
    let outcome = read(|| published(3), &method(ChannelId(1), nack));
    let [Event::Confirm { confirm, .. }] = outcome.events[..] else {
        panic!("{:?}", outcome.events);
    };
    assert!(!confirm.multiple && !confirm.ack);
}

#[test]
fn a_server_confirms_with_the_functions_that_a_client_settles_with() {
    let (mut pair, id) = Pair::with_channel();
    let now = pair.now;
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.send(now, confirm::Select::default()).unwrap();
    publish(&mut channel, b"one").unwrap();
    publish(&mut channel, b"two").unwrap();
    pair.run();
    let mut channel = pair.server.connection.channel(id).unwrap();
    channel.send(now, confirm::SelectOk).unwrap();
    channel.nack(1, false, false).unwrap();
    channel.ack(2, true).unwrap();
    pair.run();
    let [
        Event::Reply { .. },
        Event::Confirm { confirm: first, .. },
        Event::Confirm {
            confirm: second, ..
        },
    ] = pair.client.events[..]
    else {
        panic!("{:?}", pair.client.events);
    };
    assert_eq!((first.delivery_tag, first.ack), (1, false));
    assert_eq!((second.delivery_tag, second.ack), (2, true));
    assert!(second.multiple);
}
