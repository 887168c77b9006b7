//! More at once than a connection takes before its events are polled.

mod pair;

use std::time::Instant;

use bytes::BytesMut;
use pair::read::client;
use pair::wire::{body, deliver, header, method};
use snowshoe_codec::method::basic;
use snowshoe_codec::{ChannelId, Connection, Event, ShortString};

/// So many messages, numbered from 1.
fn burst(count: u64) -> BytesMut {
    (1..=count)
        .flat_map(|tag| {
            [
                method(ChannelId(1), deliver(tag)),
                header(ChannelId(1), 1),
                body(ChannelId(1), b"x"),
            ]
        })
        .flatten()
        .collect()
}

fn poll_tags(client: &mut Connection) -> Vec<u64> {
    std::iter::from_fn(|| client.poll_event())
        .map(|event| match event {
            Event::Delivery { delivery, .. } => delivery.delivery_tag,
            other => panic!("{other:?}"),
        })
        .collect()
}

#[test]
fn a_burst_is_taken_in_parts_and_in_order() {
    let mut client = client(1);
    let mut input = burst(1000);
    let mut tags = Vec::new();
    let mut is_behind = true;
    while is_behind {
        is_behind = client.receive(Instant::now(), &mut input);
        let part = poll_tags(&mut client);
        assert!(part.len() <= 128, "{} at once", part.len());
        tags.extend(part);
    }
    assert!(input.is_empty());
    assert!(tags.into_iter().eq(1..=1000));
}

#[test]
fn nothing_more_is_taken_before_an_event_was_polled() {
    let mut client = client(1);
    let mut input = burst(1000);
    assert!(client.receive(Instant::now(), &mut input));
    let left = input.len();
    for _ in 0..3 {
        assert!(client.receive(Instant::now(), &mut input));
        assert_eq!(input.len(), left);
    }
    assert_eq!(poll_tags(&mut client).len(), 128);
}

#[test]
fn a_burst_that_just_fits_is_taken_whole() {
    let mut client = client(1);
    let mut input = burst(128);
    assert!(!client.receive(Instant::now(), &mut input));
    assert!(input.is_empty());
    assert_eq!(poll_tags(&mut client).len(), 128);
}

#[test]
fn messages_go_straight_to_whoever_takes_them_until_an_event_comes_before_them() {
    let mut client = client(1);
    let mut input = burst(5);
    input.extend(method(
        ChannelId(1),
        basic::Cancel {
            consumer_tag: ShortString::from_static("c"),
            nowait: true,
        },
    ));
    input.extend(burst(2));
    let mut taken = Vec::new();
    let is_behind = client.receive_into(Instant::now(), &mut input, &mut |channel, delivery| {
        assert_eq!(channel, ChannelId(1));
        taken.push(delivery.delivery_tag);
        Ok(())
    });
    assert!(!is_behind);
    assert_eq!(taken, [1, 2, 3, 4, 5]);
    let cancelled = client.poll_event();
    assert!(matches!(cancelled, Some(Event::ConsumerCancelled { .. })));
    assert_eq!(poll_tags(&mut client), [1, 2]);
}

#[test]
fn a_message_that_is_given_back_is_an_event_and_so_is_all_that_follows() {
    let mut client = client(1);
    let mut asked = 0;
    let is_behind = client.receive_into(Instant::now(), &mut burst(3), &mut |_, delivery| {
        asked += 1;
        Err(delivery)
    });
    assert!(!is_behind);
    assert_eq!(asked, 1);
    assert_eq!(poll_tags(&mut client), [1, 2, 3]);
}
