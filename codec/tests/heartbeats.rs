//! Signs of life, ours and the peer's.

mod pair;

use std::time::Duration;

use bytes::Buf;
use pair::wire::{delivery, written};
use pair::{Pair, goodbye};
use snowshoe_codec::frame::HEARTBEAT;
use snowshoe_codec::{ChannelId, CloseReason, ConnectionLimits, Event};

const INTERVAL: Duration = Duration::from_secs(10);

fn limits() -> ConnectionLimits {
    ConnectionLimits {
        heartbeat: INTERVAL,
        ..ConnectionLimits::default()
    }
}

fn pair() -> Pair {
    Pair::open_with(limits(), limits())
}

#[track_caller]
fn is_dead(pair: &Pair) {
    let [Event::Closed(CloseReason::HeartbeatTimeout)] = pair.client.events[..] else {
        panic!("{:?}", pair.client.events);
    };
}

#[test]
fn two_idle_ends_keep_each_other_alive() {
    let mut pair = pair();
    let before = [pair.client.received, pair.server.received];
    pair.advance(100 * INTERVAL);
    assert!(pair.client.connection.is_open() && pair.server.connection.is_open());
    let received = [
        pair.client.received - before[0],
        pair.server.received - before[1],
    ];
    for received in received {
        let heartbeats = received / HEARTBEAT.len();
        assert!((100..=200).contains(&heartbeats), "{heartbeats}");
    }
}

/// Fault 29.
#[test]
fn a_half_open_peer_is_dead_after_two_intervals() {
    let mut pair = pair();
    pair.advance(INTERVAL / 4);
    pair.black_hole = true;
    let mut alive = Duration::ZERO;
    while pair.client.connection.is_open() {
        pair.advance(Duration::from_millis(100));
        alive += Duration::from_millis(100);
        assert!(alive <= 3 * INTERVAL);
    }
    is_dead(&pair);
    assert!(alive > INTERVAL, "{alive:?}");
    // It is no use to tell it.
    assert_eq!(pair.client.connection.poll_timeout(), None);
}

/// Fault 30: any octet counts (AMQP 0-9-1 §4.2.7).
#[test]
fn a_drip_of_bytes_is_a_sign_of_life() {
    let mut pair = pair();
    pair.open_channel();
    pair.black_hole = true;
    let mut input = bytes::BytesMut::new();
    for byte in delivery(ChannelId(1), 1, &[7; 100]) {
        pair.advance(INTERVAL * 19 / 10);
        input.extend_from_slice(&[byte]);
        _ = pair.client.connection.receive(pair.now, &mut input);
    }
    pair.run();
    assert!(matches!(pair.client.events[..], [Event::Delivery { .. }]));
}

#[test]
fn bytes_that_are_looked_at_again_are_no_sign_of_life() {
    let mut pair = pair();
    pair.open_channel();
    pair.black_hole = true;
    let half = &delivery(ChannelId(1), 1, b"body")[..20];
    let mut input = half.into();
    for _ in 0..4 {
        _ = pair.client.connection.receive(pair.now, &mut input);
        assert_eq!(input, half);
        pair.advance(INTERVAL / 2 + INTERVAL / 100);
    }
    is_dead(&pair);
}

#[test]
fn what_was_written_lately_makes_a_heartbeat_needless() {
    let mut pair = pair();
    let id = pair.open_channel();
    let before = pair.server.received;
    let mut ours = 0;
    for _ in 0..100 {
        pair.advance(INTERVAL / 4);
        let mut channel = pair.client.connection.channel(id).unwrap();
        channel.ack(1, false).unwrap();
        ours += pair.client.connection.outbound().remaining();
    }
    pair.run();
    assert_eq!(pair.server.received - before, ours);
}

#[test]
fn heartbeats_do_not_pile_up_behind_what_cannot_be_written() {
    let mut pair = pair();
    let id = pair.open_channel();
    let client = &mut pair.client.connection;
    client.channel(id).unwrap().ack(1, false).unwrap();
    let waiting = client.outbound().remaining();
    let mut now = pair.now;
    for _ in 0..20 {
        now += INTERVAL / 4;
        let mut input = HEARTBEAT[..].into();
        _ = client.receive(now, &mut input);
        client.handle_timeout(now);
    }
    assert_eq!(client.outbound().remaining(), waiting);
    written(client);
    for _ in 0..2 {
        now += INTERVAL / 2;
        client.handle_timeout(now);
    }
    assert_eq!(written(client), HEARTBEAT[..]);
}

#[test]
fn where_both_want_none_there_are_none() {
    let none = ConnectionLimits {
        heartbeat: Duration::ZERO,
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(none.clone(), none);
    assert_eq!(pair.client.connection.tuning().heartbeat, 0);
    assert_eq!(pair.client.connection.poll_timeout(), None);
    pair.black_hole = true;
    pair.advance(Duration::from_secs(1_000_000));
    assert!(pair.client.connection.is_open());
}

#[test]
fn silence_is_no_death_while_reading_is_paused() {
    for paused_first in [true, false] {
        let mut pair = pair();
        pair.black_hole = true;
        pair.client.connection.reading_is_paused(pair.now);
        for _ in 0..100 {
            pair.now += INTERVAL * 3;
            let client = &mut pair.client.connection;
            if paused_first {
                client.reading_is_paused(pair.now);
                client.handle_timeout(pair.now);
            } else {
                client.handle_timeout(pair.now);
                client.reading_is_paused(pair.now);
            }
            assert!(client.is_open());
        }
        let ours = pair.client.connection.outbound();
        assert!(ours.has_remaining(), "heartbeats go on");

        // Reading goes on, and nobody is there.
        pair.client.connection.handle_timeout(pair.now);
        pair.advance(INTERVAL * 2 - Duration::from_millis(1));
        assert!(pair.client.connection.is_open());
        pair.advance(Duration::from_millis(1));
        is_dead(&pair);
    }
}

#[test]
fn an_end_that_closes_still_notices_a_dead_peer() {
    let limits = ConnectionLimits {
        close_timeout: Duration::from_secs(3600),
        ..limits()
    };
    let mut pair = Pair::open_with(limits.clone(), limits);
    pair.black_hole = true;
    let (code, text) = goodbye();
    pair.client.connection.close(pair.now, code, text);
    pair.advance(INTERVAL * 2);
    is_dead(&pair);
}

#[test]
fn a_process_that_slept_takes_what_came_meanwhile_as_a_sign_of_life() {
    let mut pair = pair();
    pair.sleep(INTERVAL * 100);
    let mut input = HEARTBEAT[..].into();
    _ = pair.client.connection.receive(pair.now, &mut input);
    pair.client.connection.handle_timeout(pair.now);
    assert!(pair.client.connection.is_open());
}
