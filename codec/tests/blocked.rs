//! While the server blocks a connection it reads nothing from it (RabbitMQ), and says that it lives.

mod pair;

use std::time::Duration;

use pair::{Pair, goodbye};
use snowshoe_codec::method::{basic, connection};
use snowshoe_codec::{ChannelCloseReason, ChannelId, CloseReason, ConnectionLimits, Event, Method};

const MINUTE: Duration = Duration::from_secs(60);
const HEARTBEAT: Duration = Duration::from_secs(10);

fn quiet_pair() -> (Pair, ChannelId) {
    let limits = ConnectionLimits {
        heartbeat: HEARTBEAT,
        call_timeout: Duration::from_secs(20),
        close_timeout: Duration::from_secs(10),
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(limits.clone(), limits);
    let id = pair.open_channel();
    (pair, id)
}

fn tell(pair: &mut Pair, notice: impl Into<Method>) {
    pair.server.connection.send_notice(notice).unwrap();
    pair.run();
}

fn block(pair: &mut Pair) {
    tell(pair, connection::Blocked::default());
    let events = pair.client.take_events();
    assert!(matches!(events[..], [Event::Blocked { .. }]), "{events:?}");
}

fn unblock(pair: &mut Pair) {
    tell(pair, connection::Unblocked);
    let events = pair.client.take_events();
    assert!(matches!(events[..], [Event::Unblocked]), "{events:?}");
}

fn update_secret(pair: &mut Pair) {
    let reason = "expires".try_into().unwrap();
    let client = &mut pair.client.connection;
    client
        .update_secret(pair.now, "token".into(), reason)
        .unwrap();
}

fn call(pair: &mut Pair, id: ChannelId) {
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.send(pair.now, basic::Qos::default()).unwrap();
}

#[test]
fn no_answer_is_overdue_before_the_server_has_had_its_time_for_it_unblocked() {
    for is_asked_before in [true, false] {
        let (mut pair, id) = quiet_pair();
        let ask = |pair: &mut Pair| {
            update_secret(pair);
            call(pair, id);
        };
        if is_asked_before {
            ask(&mut pair);
            pair.advance(Duration::from_secs(19));
        }
        block(&mut pair);
        if !is_asked_before {
            ask(&mut pair);
        }
        pair.advance(10 * MINUTE);
        unblock(&mut pair);
        pair.advance(Duration::from_secs(19));
        assert!(pair.client.events.is_empty(), "{:?}", pair.client.events);
        tell(&mut pair, connection::UpdateSecretOk);
        let mut channel = pair.server.connection.channel(id).unwrap();
        channel.send(pair.now, basic::QosOk).unwrap();
        pair.run();
        let events = pair.client.take_events();
        let are_answers = matches!(events[..], [Event::SecretUpdated, Event::Reply { .. }]);
        assert!(are_answers, "{events:?}");
    }
}

#[test]
fn an_answer_is_overdue_where_it_does_not_come_once_the_server_reads_again() {
    let (mut pair, id) = quiet_pair();
    block(&mut pair);
    call(&mut pair, id);
    pair.advance(MINUTE);
    unblock(&mut pair);
    pair.advance(Duration::from_secs(20));
    let events = pair.client.take_events();
    let is_overdue = |event: &Event| {
        let Event::ChannelClosed { reason, .. } = event else {
            return false;
        };
        matches!(reason, ChannelCloseReason::CallTimeout(_))
    };
    assert!(is_overdue(&events[0]), "{events:?}");
    update_secret(&mut pair);
    block(&mut pair);
    unblock(&mut pair);
    pair.advance(Duration::from_secs(20));
    let Some(Event::Closed(CloseReason::CallTimeout(_))) = pair.client.events.last() else {
        panic!("{:?}", pair.client.events);
    };
}

#[test]
fn a_server_that_has_died_is_found_out_by_its_heartbeats() {
    let (mut pair, id) = quiet_pair();
    block(&mut pair);
    update_secret(&mut pair);
    call(&mut pair, id);
    pair.black_hole = true;
    pair.advance(2 * HEARTBEAT);
    let [Event::Closed(CloseReason::HeartbeatTimeout)] = pair.client.events[..] else {
        panic!("{:?}", pair.client.events);
    };
}

/// Nobody wants more of such a channel.
#[test]
fn a_channel_that_is_being_closed_is_given_up_in_time() {
    let (mut pair, id) = quiet_pair();
    block(&mut pair);
    let (code, text) = goodbye();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.close(pair.now, code, text).unwrap();
    // The server of this pair would answer.
    let mut now = pair.now;
    for _ in 0..2 {
        now += Duration::from_secs(5);
        pair.client.connection.handle_timeout(now);
    }
    pair.client.poll_events();
    let [
        Event::ChannelClosed {
            reason: ChannelCloseReason::CallTimeout(_),
            ..
        },
    ] = pair.client.events[..]
    else {
        panic!("{:?}", pair.client.events);
    };
}
