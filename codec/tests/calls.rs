//! Calls and their replies: which answers which, and what comes of one that is late.

mod pair;

use std::time::{Duration, Instant};

use pair::read::{client, client_with, content_of, read, receive};
use pair::wire::{delivery_in, header, method, written};
use pair::{Pair, goodbye};
use snowshoe_codec::method::{Arguments, basic, channel, confirm, connection, queue, tx};
use snowshoe_codec::{
    ChannelCloseReason, ChannelId, CloseReason, Connection, ConnectionLimits, Event, Method,
    ReplyCode, SendError, Violation,
};

/// A client that has called these on channel 1.
fn calling(methods: &[Method]) -> Connection {
    let mut client = client(1);
    let mut channel = client.channel(ChannelId(1)).unwrap();
    for method in methods {
        channel.send(Instant::now(), method.clone()).unwrap();
    }
    assert_eq!(channel.pending_calls(), methods.len());
    written(&mut client);
    client
}

fn replies(events: &[Event]) -> Vec<&'static str> {
    let reply = |event: &Event| match event {
        Event::Reply {
            channel: ChannelId(1),
            method,
        } => method.name(),
        other => panic!("{other:?}"),
    };
    events.iter().map(reply).collect()
}

#[test]
fn each_call_gets_its_reply() {
    let (mut pair, id) = Pair::with_channel();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.send(pair.now, queue::Declare::default()).unwrap();
    channel.send(pair.now, basic::Qos::default()).unwrap();
    pair.run();
    let declared = queue::DeclareOk {
        queue: "named-by-the-server".try_into().unwrap(),
        message_count: 3,
        consumer_count: 0,
    };
    let mut channel = pair.server.connection.channel(id).unwrap();
    channel.send(pair.now, declared.clone()).unwrap();
    channel.send(pair.now, basic::QosOk).unwrap();
    pair.run();
    match &pair.client.events[..] {
        [
            Event::Reply { method: first, .. },
            Event::Reply { method: second, .. },
        ] => {
            assert_eq!(**first, Method::from(declared));
            assert_eq!(**second, Method::from(basic::QosOk));
        }
        other => panic!("{other:?}"),
    }
    let channel = pair.client.connection.channel(id).unwrap();
    assert_eq!(channel.pending_calls(), 0);
}

/// RabbitMQ 3.10.8: the reply to basic.consume takes the way through the queue, and comes after
/// those to all that was called right after it.
#[test]
fn consume_ok_may_come_after_the_replies_to_later_calls() {
    let calls: [Method; 4] = [
        basic::Consume::default().into(),
        basic::Qos::default().into(),
        queue::Declare::default().into(),
        basic::Qos::default().into(),
    ];
    let answers = [
        method(ChannelId(1), basic::QosOk),
        method(ChannelId(1), queue::DeclareOk::default()),
        method(ChannelId(1), basic::QosOk),
        method(ChannelId(1), basic::ConsumeOk::default()),
    ]
    .concat();
    let mut outcome = read(|| calling(&calls), &answers);
    let expected = [
        "basic.qos-ok",
        "queue.declare-ok",
        "basic.qos-ok",
        "basic.consume-ok",
    ];
    assert_eq!(replies(&outcome.events), expected);
    assert_eq!(
        outcome
            .connection
            .channel(ChannelId(1))
            .unwrap()
            .pending_calls(),
        0
    );
}

#[test]
fn a_reply_to_nothing_ends_the_connection() {
    let call = [Method::from(basic::Qos::default())];
    let twice = method(ChannelId(1), basic::QosOk).repeat(2);
    let wrong = method(ChannelId(1), queue::DeclareOk::default());
    for bytes in [twice, wrong] {
        let outcome = read(|| calling(&call), &bytes);
        assert!(matches!(
            outcome.violation(),
            Violation::UnexpectedMethod {
                channel: ChannelId(1),
                ..
            }
        ));
    }
}

#[test]
fn basic_get_is_answered_by_a_message_or_by_none() {
    let get = || calling(&[basic::Get::default().into(), basic::Get::default().into()]);
    let got = basic::GetOk {
        delivery_tag: 5,
        redelivered: true,
        exchange: "e".try_into().unwrap(),
        routing_key: "k".try_into().unwrap(),
        message_count: 42,
    };
    let bytes = [
        method(ChannelId(1), basic::GetEmpty::default()),
        method(ChannelId(1), got),
        header(ChannelId(1), 0),
    ]
    .concat();
    let mut outcome = read(get, &bytes);
    match &outcome.events[..] {
        [
            Event::Reply { method, .. },
            Event::Got {
                channel: ChannelId(1),
                got,
            },
        ] => {
            assert!(matches!(**method, Method::BasicGetEmpty(_)));
            assert_eq!((got.delivery_tag, got.message_count), (5, 42));
            assert!(got.redelivered);
            assert_eq!(got.content.exchange(), "e");
            assert_eq!(got.content.routing_key(), "k");
            assert!(got.content.body().is_empty());
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        outcome
            .connection
            .channel(ChannelId(1))
            .unwrap()
            .pending_calls(),
        0
    );
}

#[test]
fn nowait_awaits_nothing() {
    let mut client = client(1);
    let now = Instant::now();
    let idle = client.poll_timeout();
    let mut channel = client.channel(ChannelId(1)).unwrap();
    let declare = queue::Declare {
        nowait: true,
        ..Default::default()
    };
    channel.send(now, declare).unwrap();
    channel.send(now, confirm::Select { nowait: true }).unwrap();
    channel
        .send(now, basic::RecoverAsync { requeue: true })
        .unwrap();
    assert_eq!(channel.pending_calls(), 0);
    assert_eq!(client.poll_timeout(), idle);
}

/// No heartbeats, so that nothing but calls has a deadline.
fn limits() -> ConnectionLimits {
    ConnectionLimits {
        heartbeat: Duration::ZERO,
        call_timeout: Duration::from_secs(20),
        close_timeout: Duration::from_secs(10),
        ..ConnectionLimits::default()
    }
}

fn quiet_pair() -> (Pair, ChannelId) {
    let mut pair = Pair::open_with(limits(), limits());
    let id = pair.open_channel();
    (pair, id)
}

/// What was not answered in time, and channels of which the peer is through.
#[track_caller]
fn timed_out(events: &[Event]) -> Vec<(ChannelId, &'static str)> {
    let timed_out = |event: &Event| match event {
        Event::ChannelClosed {
            channel,
            reason: ChannelCloseReason::CallTimeout(method),
        } => (*channel, method.name().unwrap()),
        Event::ChannelReleased { channel } => (*channel, "released"),
        other => panic!("{other:?}"),
    };
    events.iter().map(timed_out).collect()
}

/// Fault 41.
#[test]
fn a_late_reply_does_not_answer_the_next_call() {
    let (mut pair, id) = quiet_pair();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.send(pair.now, queue::Declare::default()).unwrap();
    pair.run();
    pair.advance(Duration::from_millis(19_999));
    assert!(pair.client.events.is_empty());

    // The reply and the timeout cross.
    pair.sleep(Duration::from_millis(1));
    let mut late = pair.server.connection.channel(id).unwrap();
    late.send(pair.now, queue::DeclareOk::default()).unwrap();
    pair.client.connection.handle_timeout(pair.now);
    let mut channel = pair.client.connection.channel(id).unwrap();
    let next = channel.send(pair.now, queue::Declare::default());
    assert_eq!(next, Err(SendError::NotOpen));
    pair.run();
    let ended = [(id, "queue.declare"), (id, "released")];
    assert_eq!(timed_out(&pair.client.events), ended);
    assert!(pair.client.connection.is_open());
    assert!(pair.client.connection.channel(id).is_none());
    assert_ne!(pair.open_channel(), id);
}

#[test]
fn each_channel_has_its_own_deadline() {
    let (mut pair, first) = quiet_pair();
    let second = pair.open_channel();
    let third = pair.open_channel();
    for (id, wait) in [(second, 5), (first, 5), (third, 0)] {
        let mut channel = pair.client.connection.channel(id).unwrap();
        channel.send(pair.now, tx::Select).unwrap();
        pair.advance(Duration::from_secs(wait));
    }
    // The third is answered, at 10 s.
    let mut channel = pair.server.connection.channel(third).unwrap();
    channel.send(pair.now, tx::SelectOk).unwrap();
    pair.run();
    pair.client.take_events();

    pair.advance(Duration::from_secs(10));
    assert_eq!(
        timed_out(&pair.client.take_events()),
        [(second, "tx.select"), (second, "released")]
    );
    pair.advance(Duration::from_secs(5));
    assert_eq!(
        timed_out(&pair.client.take_events()),
        [(first, "tx.select"), (first, "released")]
    );
    pair.advance(Duration::from_secs(60));
    assert!(pair.client.events.is_empty());
}

#[test]
fn a_close_has_its_own_shorter_deadline() {
    let (mut pair, calling) = quiet_pair();
    let closing = pair.open_channel();
    pair.black_hole = true;
    let mut channel = pair.client.connection.channel(calling).unwrap();
    channel.send(pair.now, tx::Select).unwrap();
    let (code, text) = goodbye();
    let mut channel = pair.client.connection.channel(closing).unwrap();
    channel.close(pair.now, code, text).unwrap();
    pair.advance(Duration::from_secs(10));
    let closed = [(closing, "channel.close")];
    assert_eq!(timed_out(&pair.client.take_events()), closed);
    pair.advance(Duration::from_secs(10));
    let closed = [(calling, "tx.select")];
    assert_eq!(timed_out(&pair.client.take_events()), closed);
    // Nobody answers the close that followed, but the end was told.
    pair.advance(Duration::from_secs(60));
    let released = [(calling, "released")];
    assert_eq!(timed_out(&pair.client.take_events()), released);
}

#[test]
fn a_channel_with_an_overdue_call_is_released_once_by_whichever_end_comes_first() {
    let (reply_code, reply_text) = goodbye();
    let close = channel::Close {
        reply_code,
        reply_text,
        class_id: 0,
        method_id: 0,
    };
    for peer_closes in [false, true] {
        for is_late in [false, true] {
            let (mut pair, id) = quiet_pair();
            let mut channel = pair.client.connection.channel(id).unwrap();
            channel.send(pair.now, tx::Select).unwrap();
            pair.black_hole = true;
            pair.advance(Duration::from_secs(20));
            assert_eq!(timed_out(&pair.client.take_events()), [(id, "tx.select")]);
            pair.advance(Duration::from_secs(if is_late { 10 } else { 9 }));
            let mut told = timed_out(&pair.client.take_events());
            assert_eq!(told.len(), usize::from(is_late));
            let mut answer = Vec::new();
            if peer_closes {
                answer.extend(method(id, close.clone()));
            }
            answer.extend(method(id, channel::CloseOk));
            let mut answer = (&answer[..]).into();
            _ = pair.client.connection.receive(pair.now, &mut answer);
            pair.run();
            told.extend(timed_out(&pair.client.take_events()));
            assert_eq!(told, [(id, "released")], "{peer_closes} {is_late}");
            assert!(pair.client.connection.channel(id).is_none());
        }
    }
}

#[test]
fn a_number_whose_close_was_never_answered_stays_taken_until_it_is() {
    let limits = ConnectionLimits {
        channel_max: 1,
        ..limits()
    };
    let mut pair = Pair::open_with(limits.clone(), limits);
    let id = pair.open_channel();
    pair.black_hole = true;
    let (code, text) = goodbye();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.close(pair.now, code, text).unwrap();
    pair.advance(Duration::from_secs(60));
    assert_eq!(
        timed_out(&pair.client.take_events()),
        [(id, "channel.close")]
    );
    assert!(pair.client.connection.open_channel(pair.now).is_err());

    let mut answer = (&method(id, channel::CloseOk)[..]).into();
    _ = pair.client.connection.receive(pair.now, &mut answer);
    assert!(pair.client.connection.poll_event().is_none());
    assert_eq!(pair.client.connection.open_channel(pair.now), Ok(id));
}

#[test]
fn a_channel_whose_open_is_not_answered_is_closed() {
    let mut pair = Pair::open_with(limits(), limits());
    pair.black_hole = true;
    let id = pair.client.connection.open_channel(pair.now).unwrap();
    pair.advance(Duration::from_secs(20));
    assert_eq!(
        timed_out(&pair.client.take_events()),
        [(id, "channel.open")]
    );
    let late = [
        method(id, channel::OpenOk::default()),
        method(id, channel::CloseOk),
    ]
    .concat();
    let mut late = (&late[..]).into();
    _ = pair.client.connection.receive(pair.now, &mut late);
    pair.run();
    let released = [(id, "released")];
    assert_eq!(timed_out(&pair.client.take_events()), released);
    assert!(pair.client.connection.channel(id).is_none());
}

#[test]
fn an_answered_call_wakes_at_most_once_more() {
    let (mut pair, id) = quiet_pair();
    for _ in 0..1000 {
        let mut channel = pair.client.connection.channel(id).unwrap();
        channel.send(pair.now, tx::Select).unwrap();
        pair.run();
        let mut channel = pair.server.connection.channel(id).unwrap();
        channel.send(pair.now, tx::SelectOk).unwrap();
        pair.run();
    }
    let mut wakes = 0;
    while let Some(at) = pair.client.connection.poll_timeout() {
        pair.client.connection.handle_timeout(at);
        wakes += 1;
    }
    assert!(wakes <= 1);
    assert!(pair.client.connection.is_open());
}

#[test]
fn no_answer_is_overdue_while_reading_is_paused() {
    let (mut pair, id) = quiet_pair();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.send(pair.now, tx::Select).unwrap();
    let secret = "secret".into();
    let reason = "expires".try_into().unwrap();
    pair.client
        .connection
        .update_secret(pair.now, secret, reason)
        .unwrap();
    pair.run();
    for _ in 0..100 {
        pair.now += Duration::from_secs(30);
        let client = &mut pair.client.connection;
        client.reading_is_paused(pair.now);
        client.handle_timeout(pair.now);
        assert!(client.is_open());
        assert_eq!(client.channel(id).unwrap().pending_calls(), 1);
    }
    // Reading goes on, and the answers that lay there are still in time.
    pair.now += Duration::from_secs(19);
    pair.client.connection.handle_timeout(pair.now);
    let answers = [
        method(id, tx::SelectOk),
        method(ChannelId(0), connection::UpdateSecretOk),
    ]
    .concat();
    let mut answers = (&answers[..]).into();
    _ = pair.client.connection.receive(pair.now, &mut answers);
    pair.run();
    assert!(matches!(
        pair.client.events[..],
        [Event::Reply { .. }, Event::SecretUpdated]
    ));
}

#[test]
fn a_call_is_overdue_once_reading_goes_on_and_nothing_comes() {
    let (mut pair, id) = quiet_pair();
    pair.black_hole = true;
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.send(pair.now, tx::Select).unwrap();
    pair.now += Duration::from_secs(60);
    pair.client.connection.reading_is_paused(pair.now);
    pair.client.connection.handle_timeout(pair.now);
    pair.advance(Duration::from_millis(19_999));
    assert!(pair.client.events.is_empty());
    pair.advance(Duration::from_millis(1));
    assert_eq!(timed_out(&pair.client.events), [(id, "tx.select")]);
}

#[test]
fn deliveries_between_a_call_and_its_reply_are_no_reply() {
    let bytes = [
        delivery_in(ChannelId(1), 1, b"in between", 3),
        method(ChannelId(1), queue::DeclareOk::default()),
    ]
    .concat();
    let outcome = read(|| calling(&[queue::Declare::default().into()]), &bytes);
    let [delivery @ Event::Delivery { .. }, Event::Reply { .. }] = &outcome.events[..] else {
        panic!("{:?}", outcome.events);
    };
    assert_eq!(content_of(delivery).unwrap().body(), b"in between");
}

#[test]
fn a_secret_is_replaced_once_at_a_time() {
    let mut pair = Pair::open();
    let update = |connection: &mut Connection, now| {
        connection.update_secret(now, "token".into(), "expires".try_into().unwrap())
    };
    let now = pair.now;
    update(&mut pair.client.connection, now).unwrap();
    let update_secret = connection::UpdateSecret::ID;
    let not_sendable = Err(SendError::NotSendable(update_secret));
    assert_eq!(update(&mut pair.client.connection, now), not_sendable);
    pair.run();
    match &pair.server.events[..] {
        [
            Event::Request {
                channel: ChannelId(0),
                method,
            },
        ] => match &**method {
            Method::ConnectionUpdateSecret(update) => {
                assert_eq!(update.new_secret.as_bytes(), b"token");
            }
            other => panic!("{other:?}"),
        },
        other => panic!("{other:?}"),
    }
    let debug = format!("{:?}", pair.server.events);
    assert!(!debug.contains("token"), "{debug}");

    let server = &mut pair.server.connection;
    server.send_notice(connection::UpdateSecretOk).unwrap();
    pair.run();
    assert!(matches!(pair.client.events[..], [Event::SecretUpdated]));
    update(&mut pair.client.connection, now).unwrap();
    assert_eq!(update(&mut pair.server.connection, now), not_sendable);
}

#[test]
fn a_secret_that_is_never_confirmed_ends_the_connection() {
    let mut pair = Pair::open_with(limits(), limits());
    pair.black_hole = true;
    let reason = "expires".try_into().unwrap();
    let secret = "token".into();
    let now = pair.now;
    let client = &mut pair.client.connection;
    client.update_secret(now, secret, reason).unwrap();
    pair.advance(Duration::from_secs(20));
    let [Event::Closed(CloseReason::CallTimeout(connection::UpdateSecret::ID))] =
        pair.client.events[..]
    else {
        panic!("{:?}", pair.client.events);
    };
}

#[test]
fn a_secret_that_was_not_sent_is_not_confirmed() {
    let outcome = read(
        || client(0),
        &method(ChannelId(0), connection::UpdateSecretOk),
    );
    let unexpected = Violation::UnexpectedMethod {
        channel: ChannelId(0),
        method: connection::UpdateSecretOk::ID,
    };
    assert_eq!(*outcome.violation(), unexpected);
}

/// LavinMQ refuses a secret that is no OAuth token this way.
#[test]
fn a_secret_may_be_refused_by_the_end_of_the_connection() {
    let make = || {
        let mut client = client_with(0, ConnectionLimits::default());
        let reason = "expires".try_into().unwrap();
        client
            .update_secret(Instant::now(), "token".into(), reason)
            .unwrap();
        written(&mut client);
        client
    };
    let refusal = pair::wire::connection_close(ReplyCode::ACCESS_REFUSED, "no");
    let outcome = read(make, &refusal);
    assert!(matches!(outcome.close_reason(), CloseReason::Peer(_)));
}

#[test]
fn blocked_and_unblocked_are_told() {
    let mut pair = Pair::open();
    let blocked = connection::Blocked {
        reason: "low on memory".try_into().unwrap(),
    };
    pair.server.connection.send_notice(blocked).unwrap();
    pair.run();
    match &pair.client.take_events()[..] {
        [Event::Blocked { reason }] => assert_eq!(*reason, "low on memory"),
        other => panic!("{other:?}"),
    }
    assert!(pair.client.connection.is_blocked());
    let server = &mut pair.server.connection;
    server.send_notice(connection::Unblocked).unwrap();
    pair.run();
    assert!(matches!(pair.client.take_events()[..], [Event::Unblocked]));
    assert!(!pair.client.connection.is_blocked());

    let blocked = Err(SendError::NotSendable(connection::Unblocked::ID));
    let client = &mut pair.client.connection;
    assert_eq!(client.send_notice(connection::Unblocked), blocked);
}

// case G5
#[test]
fn a_peer_that_does_not_read_what_it_is_answered_is_at_fault() {
    let cancel = basic::Cancel {
        consumer_tag: "consumer".try_into().unwrap(),
        nowait: false,
    };
    for frame in [
        method(ChannelId(1), channel::Flow { active: true }),
        method(ChannelId(1), cancel),
    ] {
        // An answer each; as many as any honest peer has under way are no fault.
        let outcome = receive(client(1), [&frame.repeat(2_000)[..]]);
        assert!(outcome.connection.is_open());
        assert_eq!(
            outcome.answer.len() / 2_000,
            outcome.answer.len().div_ceil(2_000)
        );

        let outcome = receive(client(1), [&frame.repeat(200_000)[..]]);
        let Violation::UnreadReplies { bytes } = *outcome.violation() else {
            panic!("{}", outcome.violation());
        };
        assert!(outcome.answer.len() < bytes + 300, "{bytes}");
        assert_eq!(outcome.violation().reply_code(), ReplyCode::RESOURCE_ERROR);

        // A peer that reads them may have as many as it likes.
        let mut client = client(1);
        for _ in 0..200 {
            client = receive(client, [&frame.repeat(1_000)[..]]).connection;
        }
        assert!(client.is_open());
    }
}

#[test]
fn each_answer_on_a_channel_gives_the_calls_after_it_their_time_again() {
    let (mut pair, id) = quiet_pair();
    let timeout = limits().call_timeout;
    let call = |pair: &mut Pair| {
        let mut channel = pair.client.connection.channel(id).expect("it is open");
        channel.send(pair.now, queue::Declare::default()).unwrap();
    };
    let answer = |pair: &mut Pair| {
        let mut channel = pair.server.connection.channel(id).expect("it is open");
        channel.send(pair.now, queue::DeclareOk::default()).unwrap();
        pair.run();
    };
    for _ in 0..4 {
        call(&mut pair);
    }
    // One after the other, as brokers do, each in less time than it has.
    for _ in 0..3 {
        pair.advance(timeout - Duration::from_secs(1));
        answer(&mut pair);
    }
    let answers = pair.client.take_events();
    let is_answer = |event: &Event| matches!(event, Event::Reply { .. });
    assert!(answers.iter().all(is_answer), "{answers:?}");
    pair.advance(timeout);
    assert_eq!(
        timed_out(&pair.client.take_events()),
        [(id, "queue.declare"), (id, "released")]
    );
}
