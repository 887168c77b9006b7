//! Channels are opened, closed by either side or both, and their numbers used again.

mod pair;

use std::time::{Duration, Instant};

use pair::read::{client, read, server};
use pair::wire::{body, channel_close, deliver, delivery, header, method, written};
use pair::{Pair, goodbye};
use snowshoe_codec::method::{Arguments, basic, channel, connection, queue, tx};
use snowshoe_codec::{
    ChannelCloseReason, ChannelId, CloseReason, Connection, ConnectionLimits, Event, FrameKind,
    Method, OpenChannelError, ReplyCode, SendError, Violation,
};

/// A client whose channel 1 has just sent channel.close.
fn closing() -> Connection {
    let mut client = client(1);
    let (code, text) = goodbye();
    let mut channel = client.channel(ChannelId(1)).unwrap();
    channel.close(Instant::now(), code, text).unwrap();
    assert!(!channel.is_open());
    assert_eq!(written(&mut client), close());
    client
}

fn close() -> Vec<u8> {
    channel_close(ChannelId(1), ReplyCode::SUCCESS, "goodbye")
}

/// A client whose channel 1 was closed by the server.
fn closed() -> Connection {
    let mut client = client(1);
    let mut input = (&channel_close(ChannelId(1), ReplyCode::NOT_FOUND, "no queue")[..]).into();
    _ = client.receive(Instant::now(), &mut input);
    assert_eq!(written(&mut client), method(ChannelId(1), channel::CloseOk));
    assert!(client.channel(ChannelId(1)).is_none());
    while client.poll_event().is_some() {}
    client
}

#[test]
fn both_ends_know_an_open_channel() {
    let mut pair = Pair::open();
    let id = pair.client.connection.open_channel(pair.now).unwrap();
    let channel = pair.client.connection.channel(id).unwrap();
    assert_eq!(channel.id(), id);
    assert!(!channel.is_open());
    pair.run();
    for end in [&mut pair.client, &mut pair.server] {
        let [Event::ChannelOpen { channel }] = end.events[..] else {
            panic!("{:?}", end.events);
        };
        assert_eq!(channel, id);
        assert!(end.connection.channel(id).unwrap().is_open());
    }
}

#[test]
fn what_is_sent_on_a_channel_before_it_is_open_comes_right_after_its_opening() {
    let mut pair = Pair::open();
    let id = pair.client.connection.open_channel(pair.now).unwrap();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.send(pair.now, queue::Declare::default()).unwrap();
    assert!(!channel.is_open());
    pair.run();
    assert!(matches!(
        &pair.server.events[..],
        [Event::ChannelOpen { .. }, Event::Request { method, .. }] if method.name() == "queue.declare"
    ));
}

#[test]
fn there_are_no_more_channels_than_were_negotiated() {
    let limits = ConnectionLimits {
        channel_max: 3,
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(limits, ConnectionLimits::default());
    let opened: Vec<_> = (0..3).map(|_| pair.open_channel()).collect();
    assert_eq!(opened, [1, 2, 3].map(ChannelId));
    let one_more = pair.client.connection.open_channel(pair.now);
    assert_eq!(one_more, Err(OpenChannelError::NoneFree));
}

#[test]
fn all_of_65535_channels_can_be_open() {
    let limits = ConnectionLimits {
        channel_max: 0,
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(limits.clone(), limits);
    for id in 1..=u16::MAX {
        assert_eq!(
            pair.client.connection.open_channel(pair.now),
            Ok(ChannelId(id))
        );
    }
    pair.run();
    let mut last = pair.client.connection.channel(ChannelId(u16::MAX)).unwrap();
    assert!(last.is_open());
    last.send(pair.now, tx::Select).unwrap();
    let one_more = pair.client.connection.open_channel(pair.now);
    assert_eq!(one_more, Err(OpenChannelError::NoneFree));
    // Deadlines are looked at on all of them.
    pair.advance(Duration::from_secs(25));
    assert!(pair.client.connection.is_open());
}

#[test]
fn a_close_ends_the_channel_for_both() {
    let (mut pair, id) = Pair::with_channel();
    let (code, text) = goodbye();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.close(pair.now, code, text.clone()).unwrap();
    assert_eq!(channel.close(pair.now, code, text), Err(SendError::NotOpen));
    pair.run();
    let [Event::ChannelClosed { channel, reason }] = &pair.client.events[..] else {
        panic!("{:?}", pair.client.events);
    };
    assert_eq!((*channel, reason), (id, &ChannelCloseReason::Requested));
    let [Event::ChannelClosed { channel, reason }] = &pair.server.events[..] else {
        panic!("{:?}", pair.server.events);
    };
    assert_eq!(*channel, id);
    assert_eq!(
        reason.to_string(),
        "the peer closed the channel: 200 goodbye"
    );
    for end in [&mut pair.client, &mut pair.server] {
        assert!(end.connection.channel(id).is_none());
        assert!(end.connection.is_open());
    }
}

#[test]
fn a_close_by_the_server_is_answered_and_told_with_its_reason() {
    let close = channel::Close {
        reply_code: ReplyCode::NOT_FOUND,
        reply_text: "NOT_FOUND - no queue 'q'".try_into().unwrap(),
        class_id: 50,
        method_id: 10,
    };
    let outcome = read(|| client(1), &method(ChannelId(1), close));
    assert_eq!(outcome.answer, method(ChannelId(1), channel::CloseOk));
    let (channel, reason) = outcome.channel_closed();
    assert_eq!(channel, 1);
    assert_eq!(
        reason.to_string(),
        "the peer closed the channel: 404 NOT_FOUND - no queue 'q', over queue.declare (50.10)"
    );
}

/// The code does not tell whether an error is the channel's or the connection's: LavinMQ closes
/// channels with 505, 506 and 540, and both brokers close connections with 403.
#[test]
fn a_close_is_classified_by_the_method_that_carried_it() {
    for code in [320, 402, 501, 505, 506, 530, 540, 541, 311, 404, 0, 999] {
        let code = ReplyCode(code);
        let outcome = read(|| client(1), &channel_close(ChannelId(1), code, "LavinMQ"));
        match outcome.channel_closed() {
            (1, ChannelCloseReason::Peer(close)) => assert_eq!(close.code, code),
            other => panic!("{other:?}"),
        }
        assert!(outcome.connection.is_open());

        let outcome = read(
            || client(1),
            &pair::wire::connection_close(code, "whatever"),
        );
        match outcome.close_reason() {
            CloseReason::Peer(close) => assert_eq!(close.code, code),
            other => panic!("{other}"),
        }
    }
}

/// Fault 39: a number used before close-ok ends the connection with a 504.
#[test]
fn a_number_is_used_again_only_after_close_ok() {
    let limits = ConnectionLimits {
        channel_max: 1,
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(limits, ConnectionLimits::default());
    let id = pair.open_channel();
    let (code, text) = goodbye();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.close(pair.now, code, text).unwrap();
    let early = pair.client.connection.open_channel(pair.now);
    assert_eq!(early, Err(OpenChannelError::NoneFree));
    pair.run();
    assert_eq!(pair.open_channel(), id);
    assert!(pair.client.connection.is_open());
}

#[test]
fn numbers_rest_before_they_are_used_again() {
    let mut pair = Pair::open();
    let mut last_used = std::collections::HashMap::new();
    for turn in 0..100 {
        let id = pair.open_channel();
        if let Some(last) = last_used.insert(id, turn) {
            assert!(
                turn - last > 10,
                "{id} was used again after {}",
                turn - last
            );
        }
        let (code, text) = goodbye();
        let mut channel = pair.client.connection.channel(id).unwrap();
        channel.close(pair.now, code, text).unwrap();
        pair.run();
        pair.client.take_events();
        pair.server.take_events();
    }
    assert!(last_used.len() < 20, "few numbers are enough");
}

/// Fault 40.
#[test]
fn closes_that_cross_are_both_answered_and_the_peers_reason_is_told() {
    let theirs = channel_close(ChannelId(1), ReplyCode::NOT_FOUND, "no exchange");
    let outcome = read(closing, &theirs);
    assert_eq!(outcome.answer, method(ChannelId(1), channel::CloseOk));
    match outcome.channel_closed() {
        (1, ChannelCloseReason::Peer(close)) => assert_eq!(close.code, ReplyCode::NOT_FOUND),
        other => panic!("{other:?}"),
    }
    // Ours still awaits its answer, and until then the number is taken.
    let mut connection = outcome.connection;
    assert!(!connection.channel(ChannelId(1)).unwrap().is_open());

    let with_answer = [theirs, method(ChannelId(1), channel::CloseOk)].concat();
    let mut outcome = read(closing, &with_answer);
    assert_eq!(outcome.answer, method(ChannelId(1), channel::CloseOk));
    assert_eq!(outcome.events.len(), 1);
    assert!(outcome.connection.channel(ChannelId(1)).is_none());
}

/// RabbitMQ ends the connection with a 504 over a close-ok that finds no channel.
#[test]
fn a_close_that_is_repeated_gets_one_close_ok() {
    let theirs = channel_close(
        ChannelId(1),
        ReplyCode::PRECONDITION_FAILED,
        "consumer timeout",
    );
    for make in [|| client(1), closing] {
        let outcome = read(make, &theirs.repeat(3));
        assert_eq!(outcome.answer, method(ChannelId(1), channel::CloseOk));
        assert_eq!(outcome.channel_closed().0, 1);
    }
    let outcome = read(closed, &theirs);
    assert!(outcome.events.is_empty() && outcome.answer.is_empty());
}

#[test]
fn a_repeated_close_does_not_hit_the_next_channel_at_its_number() {
    let limits = ConnectionLimits {
        channel_max: 1,
        ..ConnectionLimits::default()
    };
    let make = || {
        let mut pair = Pair::open_with(limits.clone(), ConnectionLimits::default());
        pair.open_channel();
        let mut client = pair.client.connection;
        let mut input = (&close()[..]).into();
        _ = client.receive(pair.now, &mut input);
        while client.poll_event().is_some() {}
        assert_eq!(client.open_channel(pair.now), Ok(ChannelId(1)));
        written(&mut client);
        client
    };
    let late = [close(), method(ChannelId(1), channel::OpenOk::default())].concat();
    let mut outcome = read(make, &late);
    assert!(matches!(
        outcome.only_event(),
        Event::ChannelOpen {
            channel: ChannelId(1)
        }
    ));
    assert!(outcome.answer.is_empty());
    assert!(outcome.connection.channel(ChannelId(1)).unwrap().is_open());
}

#[test]
fn a_number_is_not_used_again_before_the_end_of_its_channel_was_polled() {
    let limits = ConnectionLimits {
        channel_max: 1,
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(limits, ConnectionLimits::default());
    pair.open_channel();
    let client = &mut pair.client.connection;
    _ = client.receive(pair.now, &mut (&close()[..]).into());
    let none_free = Err(OpenChannelError::NoneFree);
    assert_eq!(client.open_channel(pair.now), none_free);
    while client.poll_event().is_some() {}
    assert_eq!(client.open_channel(pair.now), Ok(ChannelId(1)));
}

#[test]
fn a_refusal_to_open_is_the_end_of_the_channel() {
    let make = || {
        let mut client = client(0);
        client.open_channel(Instant::now()).unwrap();
        written(&mut client);
        client
    };
    let refusal = channel_close(ChannelId(1), ReplyCode::RESOURCE_ERROR, "too many");
    let outcome = read(make, &refusal);
    assert_eq!(outcome.channel_closed().0, 1);
    assert_eq!(outcome.answer, method(ChannelId(1), channel::CloseOk));
}

#[test]
fn a_channel_can_be_closed_before_it_is_open() {
    let mut pair = Pair::open();
    let id = pair.client.connection.open_channel(pair.now).unwrap();
    let (code, text) = goodbye();
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.close(pair.now, code, text).unwrap();
    pair.run();
    let [Event::ChannelClosed { reason, .. }] = &pair.client.events[..] else {
        panic!("{:?}", pair.client.events);
    };
    assert_eq!(*reason, ChannelCloseReason::Requested);
    assert!(pair.client.connection.channel(id).is_none());
}

#[test]
fn on_a_channel_that_closes_or_was_just_closed_all_is_discarded() {
    let late = [
        delivery(ChannelId(1), 1, b"late"),
        method(ChannelId(1), deliver(2)),
        header(ChannelId(1), 10),
        body(ChannelId(1), b"half"),
        method(ChannelId(1), queue::DeclareOk::default()),
        method(ChannelId(1), channel::Flow { active: false }),
        method(ChannelId(1), basic::Cancel::default()),
        method(
            ChannelId(1),
            basic::Ack {
                delivery_tag: 7,
                multiple: false,
            },
        ),
        method(ChannelId(1), channel::OpenOk::default()),
        body(ChannelId(1), b""),
    ]
    .concat();
    for make in [closing, closed] {
        let outcome = read(make, &late);
        assert!(outcome.events.is_empty(), "{:?}", outcome.events);
        assert!(outcome.answer.is_empty());
    }
    let with_answer = [late, method(ChannelId(1), channel::CloseOk)].concat();
    let outcome = read(closing, &with_answer);
    let (channel, reason) = outcome.channel_closed();
    assert_eq!((channel, reason), (1, &ChannelCloseReason::Requested));
}

#[test]
fn a_message_cut_off_by_a_close_leaves_nothing_behind() {
    let bytes = [
        method(ChannelId(1), deliver(1)),
        header(ChannelId(1), 10),
        body(ChannelId(1), b"half "),
        channel_close(ChannelId(1), ReplyCode::NOT_FOUND, ""),
        body(ChannelId(1), b"rest "),
    ]
    .concat();
    let outcome = read(|| client(1), &bytes);
    assert_eq!(outcome.channel_closed().0, 1);
    assert!(outcome.connection.is_open());
}

#[test]
fn a_frame_on_a_channel_that_was_never_opened_ends_the_connection() {
    let frames = [
        delivery(ChannelId(2), 1, b""),
        method(ChannelId(2), channel::CloseOk),
        method(ChannelId(2), basic::QosOk),
        header(ChannelId(2), 1),
        body(ChannelId(2), b"x"),
        channel_close(ChannelId(2), ReplyCode::SUCCESS, ""),
        method(ChannelId(2), channel::Open::default()),
    ];
    for frame in frames {
        let outcome = read(|| client(1), &frame);
        let unknown = Violation::UnknownChannel {
            channel: ChannelId(2),
        };
        assert_eq!(*outcome.violation(), unknown);
        assert_eq!(outcome.violation().reply_code(), ReplyCode::CHANNEL_ERROR);
    }
}

#[test]
fn while_a_channel_opens_only_open_ok_may_come() {
    let make = || {
        let mut client = client(1);
        client.open_channel(Instant::now()).unwrap();
        written(&mut client);
        client
    };
    let early = [
        method(ChannelId(2), basic::Cancel::default()),
        method(ChannelId(2), channel::Flow { active: true }),
        method(ChannelId(2), queue::DeclareOk::default()),
        method(ChannelId(2), channel::CloseOk),
        delivery(ChannelId(2), 1, b""),
    ];
    for frame in early {
        let outcome = read(make, &frame);
        assert!(matches!(
            outcome.violation(),
            Violation::UnexpectedMethod {
                channel: ChannelId(2),
                ..
            }
        ));
    }
    for (frame, kind) in [
        (header(ChannelId(2), 0), FrameKind::Header),
        (body(ChannelId(2), b""), FrameKind::Body),
    ] {
        let outcome = read(make, &frame);
        let unexpected = Violation::UnexpectedFrame {
            channel: ChannelId(2),
            kind,
        };
        assert_eq!(*outcome.violation(), unexpected);
    }
}

#[test]
fn a_method_that_was_not_due_on_a_channel_ends_the_connection() {
    let to_client = [
        method(ChannelId(1), channel::OpenOk::default()),
        method(ChannelId(1), channel::CloseOk),
        method(ChannelId(1), basic::Publish::default()),
        method(ChannelId(1), basic::GetOk::default()),
        method(ChannelId(1), queue::Declare::default()),
        method(ChannelId(1), basic::QosOk),
        method(ChannelId(1), connection::CloseOk),
    ];
    for frame in to_client {
        let outcome = read(|| client(1), &frame);
        assert!(matches!(
            outcome.violation(),
            Violation::UnexpectedMethod {
                channel: ChannelId(1),
                ..
            }
        ));
    }
    let to_server = [
        method(ChannelId(1), queue::DeclareOk::default()),
        method(ChannelId(1), deliver(1)),
        method(ChannelId(1), channel::CloseOk),
        method(ChannelId(1), connection::UpdateSecret::default()),
    ];
    for frame in to_server {
        let outcome = read(|| server(1), &frame);
        assert!(matches!(
            outcome.violation(),
            Violation::UnexpectedMethod {
                channel: ChannelId(1),
                ..
            }
        ));
    }
}

/// As RabbitMQ does: a client that gets this wrong should see it.
#[test]
fn a_server_refuses_a_channel_that_is_in_use() {
    let open = method(ChannelId(1), channel::Open::default());
    let outcome = read(|| server(1), &open);
    let in_use = Violation::ChannelInUse {
        channel: ChannelId(1),
    };
    assert_eq!(*outcome.violation(), in_use);
    assert_eq!(outcome.violation().reply_code(), ReplyCode::CHANNEL_ERROR);

    let closing = || {
        let mut server = server(1);
        let (code, text) = goodbye();
        let mut channel = server.channel(ChannelId(1)).unwrap();
        channel.close(Instant::now(), code, text).unwrap();
        written(&mut server);
        server
    };
    assert_eq!(*read(closing, &open).violation(), in_use);

    let close_ok = method(ChannelId(1), channel::CloseOk);
    let twice = [close_ok.clone(), close_ok].concat();
    let unknown = Violation::UnknownChannel {
        channel: ChannelId(1),
    };
    assert_eq!(*read(closing, &twice).violation(), unknown);
}

#[test]
fn a_server_refuses_a_channel_above_the_limit() {
    let open = method(ChannelId(2048), channel::Open::default());
    let unknown = Violation::UnknownChannel {
        channel: ChannelId(2048),
    };
    assert_eq!(*read(|| server(0), &open).violation(), unknown);
}

#[test]
fn a_server_may_close_a_channel() {
    let (mut pair, id) = Pair::with_channel();
    let mut channel = pair.server.connection.channel(id).unwrap();
    let text = "no queue".try_into().unwrap();
    channel.close(pair.now, ReplyCode::NOT_FOUND, text).unwrap();
    pair.run();
    let [Event::ChannelClosed { reason, .. }] = &pair.server.events[..] else {
        panic!("{:?}", pair.server.events);
    };
    assert_eq!(*reason, ChannelCloseReason::Requested);
    let [
        Event::ChannelClosed {
            reason: ChannelCloseReason::Peer(close),
            ..
        },
    ] = &pair.client.events[..]
    else {
        panic!("{:?}", pair.client.events);
    };
    assert_eq!(close.code, ReplyCode::NOT_FOUND);
    assert_eq!(pair.open_channel(), ChannelId(2));
}

#[test]
fn a_pause_of_the_flow_is_agreed_to_and_told() {
    for active in [false, true] {
        let mut outcome = read(
            || client(1),
            &method(ChannelId(1), channel::Flow { active }),
        );
        assert_eq!(
            outcome.answer,
            method(ChannelId(1), channel::FlowOk { active })
        );
        assert!(matches!(
            outcome.only_event(),
            Event::Flow { channel: ChannelId(1), active: told } if *told == active
        ));
        let channel = outcome.connection.channel(ChannelId(1)).unwrap();
        assert_eq!(channel.flow_active(), active);
    }
}

#[test]
fn a_cancel_by_the_server_is_answered_only_if_it_asks_for_it() {
    for (nowait, answer) in [(true, &[][..]), (false, &method(ChannelId(1), cancel_ok()))] {
        let cancel = basic::Cancel {
            consumer_tag: "consumer".try_into().unwrap(),
            nowait,
        };
        let outcome = read(|| client(1), &method(ChannelId(1), cancel));
        assert_eq!(outcome.answer, answer);
        match outcome.only_event() {
            Event::ConsumerCancelled {
                channel: ChannelId(1),
                consumer_tag,
            } => assert_eq!(*consumer_tag, "consumer"),
            other => panic!("{other:?}"),
        }
    }
}

fn cancel_ok() -> basic::CancelOk {
    basic::CancelOk {
        consumer_tag: "consumer".try_into().unwrap(),
    }
}

#[test]
fn what_a_client_asks_for_comes_to_the_server_as_it_was_sent() {
    let (mut pair, id) = Pair::with_channel();
    let asked: [Method; 5] = [
        queue::Declare {
            queue: "q".try_into().unwrap(),
            durable: true,
            ..Default::default()
        }
        .into(),
        basic::Qos {
            prefetch_count: 10,
            ..Default::default()
        }
        .into(),
        basic::RecoverAsync { requeue: true }.into(),
        channel::Flow { active: true }.into(),
        tx::Commit.into(),
    ];
    for method in &asked {
        let mut channel = pair.client.connection.channel(id).unwrap();
        channel.send(pair.now, method.clone()).unwrap();
    }
    pair.run();
    let got = pair
        .server
        .take_events()
        .into_iter()
        .map(|event| match event {
            Event::Request { channel, method } if channel == id => *method,
            other => panic!("{other:?}"),
        });
    assert_eq!(got.collect::<Vec<_>>(), asked);
}

#[test]
fn what_has_a_function_of_its_own_or_is_the_other_sides_cannot_be_sent() {
    let mut client = client(1);
    let now = Instant::now();
    let methods: [Method; 8] = [
        channel::Open::default().into(),
        channel::Close::default().into(),
        channel::CloseOk.into(),
        connection::Close::default().into(),
        connection::UpdateSecret::default().into(),
        basic::Publish::default().into(),
        basic::Deliver::default().into(),
        queue::DeclareOk::default().into(),
    ];
    for method in methods {
        let id = method.id();
        let mut channel = client.channel(ChannelId(1)).unwrap();
        let result = channel.send(now, method);
        assert_eq!(result, Err(SendError::NotSendable(id)));
    }
    let mut server = server(1);
    let mut channel = server.channel(ChannelId(1)).unwrap();
    assert_eq!(
        channel.reject(1, true),
        Err(SendError::NotSendable(basic::Reject::ID))
    );
    let result = channel.send(now, queue::Declare::default());
    assert_eq!(result, Err(SendError::NotSendable(queue::Declare::ID)));
    assert!(client.outbound().is_empty() && server.outbound().is_empty());
}

#[test]
fn a_method_that_does_not_fit_into_a_frame_is_refused_before_a_byte_is_written() {
    let limits = ConnectionLimits {
        frame_max: 4096,
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(limits, ConnectionLimits::default());
    let id = pair.open_channel();
    let with_arguments = |len: usize| queue::Declare {
        arguments: snowshoe_codec::FieldTable::new()
            .with("x", &*"y".repeat(len))
            .unwrap(),
        ..Default::default()
    };
    let overhead = method(ChannelId(1), with_arguments(0)).len();
    let mut channel = pair.client.connection.channel(id).unwrap();
    let too_long = channel.send(pair.now, with_arguments(4097 - overhead));
    let error = SendError::FrameTooLarge {
        size: 4097,
        limit: 4096,
    };
    assert_eq!(too_long, Err(error));
    assert_eq!(channel.pending_calls(), 0);
    channel
        .send(pair.now, with_arguments(4096 - overhead))
        .unwrap();
    assert_eq!(channel.pending_calls(), 1);
    assert_eq!(written(&mut pair.client.connection).len(), 4096);
}

#[test]
fn tag_0_cannot_be_settled() {
    let mut client = client(1);
    let mut channel = client.channel(ChannelId(1)).unwrap();
    for multiple in [false, true] {
        assert_eq!(channel.ack(0, multiple), Err(SendError::TagZero));
        assert_eq!(channel.nack(0, multiple, true), Err(SendError::TagZero));
    }
    assert_eq!(channel.reject(0, false), Err(SendError::TagZero));
    assert!(client.outbound().is_empty());
}

#[test]
fn settles_are_written_as_the_protocol_has_them() {
    let mut client = client(1);
    let mut channel = client.channel(ChannelId(1)).unwrap();
    channel.ack(1, false).unwrap();
    channel.ack(u64::MAX, true).unwrap();
    channel.nack(2, true, false).unwrap();
    channel.nack(3, false, true).unwrap();
    channel.reject(4, true).unwrap();
    channel.reject(5, false).unwrap();
    let ack = |delivery_tag, multiple| {
        method(
            ChannelId(1),
            basic::Ack {
                delivery_tag,
                multiple,
            },
        )
    };
    let nack = |delivery_tag, multiple, requeue| {
        method(
            ChannelId(1),
            basic::Nack {
                delivery_tag,
                multiple,
                requeue,
            },
        )
    };
    let reject = |delivery_tag, requeue| {
        method(
            ChannelId(1),
            basic::Reject {
                delivery_tag,
                requeue,
            },
        )
    };
    let expected = [
        ack(1, false),
        ack(u64::MAX, true),
        nack(2, true, false),
        nack(3, false, true),
        reject(4, true),
        reject(5, false),
    ];
    assert_eq!(written(&mut client), expected.concat());
}
