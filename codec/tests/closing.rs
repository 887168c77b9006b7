//! The end of a connection: ours, theirs, and both at once.

mod pair;

use std::time::{Duration, Instant};

use bytes::Buf;
use pair::read::{client, client_with, read, server};
use pair::wire::{
    body, connection_close, deliver, delivery, frame, header, method, raw_frame, start, tune,
    written,
};
use pair::{Pair, goodbye};
use snowshoe_codec::method::{Arguments, basic, channel, connection, queue};
use snowshoe_codec::sasl::Plain;
use snowshoe_codec::{
    ChannelId, ClientOptions, CloseReason, Connection, ConnectionLimits, Event, FrameKind,
    OpenChannelError, Properties, Publish, ReplyCode, SendError, ServerOptions, Violation,
};

/// A client with an open channel that has just sent connection.close.
fn closing_client() -> Connection {
    let mut client = client(1);
    let (code, text) = goodbye();
    client.close(Instant::now(), code, text);
    assert_eq!(written(&mut client), method(ChannelId(0), close()));
    client
}

fn close() -> connection::Close {
    let (reply_code, reply_text) = goodbye();
    connection::Close {
        reply_code,
        reply_text,
        ..Default::default()
    }
}

#[test]
fn a_close_ends_with_the_peers_agreement() {
    let mut pair = Pair::open();
    let (code, text) = goodbye();
    pair.client.connection.close(pair.now, code, text);
    assert!(!pair.client.connection.is_open());
    assert!(!pair.client.connection.is_closed());
    pair.run();
    let [Event::Closed(CloseReason::Requested)] = pair.client.events[..] else {
        panic!("{:?}", pair.client.events);
    };
    match &pair.server.events[..] {
        [Event::Closed(CloseReason::Peer(close))] => {
            assert_eq!(close.code, ReplyCode::SUCCESS);
            assert_eq!(close.text, "goodbye");
        }
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_server_says_over_which_method_it_closes_the_connection() {
    let mut pair = Pair::open();
    let (code, text) = goodbye();
    let method = basic::Publish::ID;
    pair.server
        .connection
        .close_over(pair.now, code, text, method);
    pair.run();
    match &pair.client.events[..] {
        [Event::Closed(CloseReason::Peer(close))] => assert_eq!(close.method, method),
        other => panic!("{other:?}"),
    }
}

#[test]
fn a_close_by_the_peer_is_answered_and_tells_what_it_was_over() {
    let close = connection::Close {
        reply_code: ReplyCode::NOT_IMPLEMENTED,
        reply_text: "NOT_IMPLEMENTED - immediate=true".try_into().unwrap(),
        class_id: 60,
        method_id: 40,
    };
    let outcome = read(|| client(1), &method(ChannelId(0), close));
    assert_eq!(outcome.answer, method(ChannelId(0), connection::CloseOk));
    assert_eq!(
        outcome.close_reason().to_string(),
        "the peer closed the connection: 540 NOT_IMPLEMENTED - immediate=true, \
         over basic.publish (60.40)"
    );
}

#[test]
fn a_text_that_was_cut_inside_a_character_is_no_harm() {
    // RabbitMQ cuts at 252 bytes.
    let text = ["\x1b[2J\n".as_bytes(), "é".repeat(126).as_bytes()].concat();
    assert!(str::from_utf8(&text[..252]).is_err());
    let close = connection::Close {
        reply_code: ReplyCode::INTERNAL_ERROR,
        reply_text: text[..252].try_into().unwrap(),
        ..Default::default()
    };
    let outcome = read(|| client(1), &method(ChannelId(0), close));
    let text = outcome.close_reason().to_string();
    assert!(!text.contains(char::is_control), "{text:?}");
}

/// Fault 40. RabbitMQ sends no close-ok for our close then, but ends the stream.
#[test]
fn closes_that_cross_end_with_the_peers_reason() {
    let theirs = connection_close(ReplyCode::CONNECTION_FORCED, "shutdown");
    let with_answer = [&theirs[..], &method(ChannelId(0), connection::CloseOk)].concat();
    for bytes in [theirs, with_answer] {
        let outcome = read(closing_client, &bytes);
        match outcome.close_reason() {
            CloseReason::Peer(close) => assert_eq!(close.code, ReplyCode::CONNECTION_FORCED),
            other => panic!("{other}"),
        }
        assert_eq!(outcome.answer, method(ChannelId(0), connection::CloseOk));
    }
}

#[test]
fn both_ends_may_close_at_once() {
    let mut pair = Pair::open();
    for end in [&mut pair.client, &mut pair.server] {
        let (code, text) = goodbye();
        end.connection.close(pair.now, code, text);
    }
    pair.run();
    for end in [&pair.client, &pair.server] {
        let [Event::Closed(_)] = end.events[..] else {
            panic!("{:?}", end.events);
        };
    }
}

#[test]
fn after_our_close_all_but_close_and_close_ok_is_discarded() {
    let discarded = [
        method(ChannelId(0), connection::Blocked::default()),
        method(ChannelId(0), connection::OpenOk::default()),
        tune(1, 1, 1),
        delivery(ChannelId(1), 1, b"late"),
        delivery(ChannelId(9), 1, b"on a channel that never was"),
        method(ChannelId(1), channel::CloseOk),
        method(ChannelId(1), queue::DeclareOk::default()),
        method(ChannelId(1), basic::Publish::default()),
        frame(FrameKind::Body, ChannelId(0), b"on channel 0"),
        frame(FrameKind::Method, ChannelId(0), b"?"),
        frame(FrameKind::Method, ChannelId(0), &[0, 99, 0, 99]),
        frame(FrameKind::Method, ChannelId(1), b""),
    ]
    .concat();
    let outcome = read(closing_client, &discarded);
    assert!(outcome.events.is_empty(), "{:?}", outcome.events);
    assert!(outcome.answer.is_empty());

    let with_answer = [discarded, method(ChannelId(0), connection::CloseOk)].concat();
    let outcome = read(closing_client, &with_answer);
    assert_eq!(outcome.events.len(), 1);
    assert_eq!(*outcome.close_reason(), CloseReason::Requested);
}

#[test]
fn after_our_close_what_is_no_frame_still_ends_it() {
    let outcome = read(closing_client, &raw_frame(7, ChannelId(0), b""));
    assert!(matches!(outcome.violation(), Violation::Frame(_)));
    assert!(outcome.answer.is_empty(), "it was told already");
}

#[test]
fn close_ok_to_nothing_is_refused() {
    for make in [|| client(1), || server(1)] {
        let outcome = read(make, &method(ChannelId(0), connection::CloseOk));
        assert!(matches!(
            outcome.violation(),
            Violation::UnexpectedMethod {
                channel: ChannelId(0),
                ..
            }
        ));
    }
}

#[test]
fn nothing_can_be_sent_after_a_close() {
    let mut client = closing_client();
    let now = Instant::now();
    assert!(client.channel(ChannelId(1)).is_none());
    assert_eq!(client.open_channel(now), Err(OpenChannelError::NotOpen));
    let secret = client.update_secret(now, "secret".into(), "reason".try_into().unwrap());
    assert_eq!(secret, Err(SendError::NotOpen));
    let (code, text) = goodbye();
    client.close(now, code, text);
    assert!(client.outbound().is_empty());
}

#[test]
fn a_close_that_is_not_answered_ends_at_its_deadline() {
    let limits = ConnectionLimits {
        close_timeout: Duration::from_secs(3),
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(limits.clone(), limits);
    pair.black_hole = true;
    let (code, text) = goodbye();
    pair.client.connection.close(pair.now, code, text);
    pair.advance(Duration::from_millis(2999));
    assert!(pair.client.events.is_empty());
    pair.advance(Duration::from_millis(1));
    let [Event::Closed(CloseReason::CloseTimeout)] = pair.client.events[..] else {
        panic!("{:?}", pair.client.events);
    };
}

/// After connection.close nothing else may be sent, and the only answer to wait for is its own.
#[test]
fn a_close_takes_over_from_every_call_that_was_open() {
    let limits = ConnectionLimits {
        call_timeout: Duration::from_secs(2),
        close_timeout: Duration::from_secs(8),
        ..ConnectionLimits::default()
    };
    let mut pair = Pair::open_with(limits, ConnectionLimits::default());
    let id = pair.open_channel();
    pair.black_hole = true;
    let now = pair.now;
    let mut channel = pair.client.connection.channel(id).unwrap();
    channel.send(now, queue::Declare::default()).unwrap();
    let reason = "reason".try_into().unwrap();
    let secret = "secret".into();
    pair.client
        .connection
        .update_secret(now, secret, reason)
        .unwrap();
    pair.client.connection.open_channel(now).unwrap();
    pair.run();
    let (code, text) = goodbye();
    pair.client.connection.close(now, code, text);
    assert_eq!(
        written(&mut pair.client.connection),
        method(ChannelId(0), close())
    );

    pair.advance(Duration::from_secs(7));
    assert!(pair.client.events.is_empty(), "{:?}", pair.client.events);
    pair.black_hole = false;
    let mut input = (&method(ChannelId(0), connection::CloseOk)[..]).into();
    _ = pair.client.connection.receive(pair.now, &mut input);
    pair.run();
    let [Event::Closed(CloseReason::Requested)] = pair.client.events[..] else {
        panic!("{:?}", pair.client.events);
    };
}

#[test]
fn a_closed_connection_discards_input_and_has_no_more_to_say() {
    let mut client = client(1);
    client.transport_ended();
    let now = Instant::now();
    assert!(matches!(
        client.poll_event(),
        Some(Event::Closed(CloseReason::TransportEnded(_)))
    ));
    let mut input = (&delivery(ChannelId(1), 1, b"late")[..]).into();
    _ = client.receive(now, &mut input);
    assert!(input.is_empty());
    client.transport_ended();
    let (code, text) = goodbye();
    client.close(now, code, text);
    client.reading_is_paused(now);
    client.handle_timeout(now + Duration::from_secs(3600));
    assert!(client.poll_event().is_none());
    assert!(client.outbound().is_empty());
    assert_eq!(client.poll_timeout(), None);
    assert!(client.channel(ChannelId(1)).is_none());
}

#[test]
fn an_end_of_the_transport_drops_what_could_not_be_written() {
    let mut client = client(1);
    let now = Instant::now();
    let mut channel = client.channel(ChannelId(1)).unwrap();
    channel.send(now, queue::Declare::default()).unwrap();
    client.transport_ended();
    assert!(client.outbound().is_empty());
}

#[test]
fn the_last_word_is_left_to_be_written() {
    let outcome = read(
        || client_with(1, ConnectionLimits::default()),
        &raw_frame(9, ChannelId(0), b""),
    );
    let violation = outcome.violation().clone();
    let close = connection::Close {
        reply_code: ReplyCode::FRAME_ERROR,
        reply_text: violation.to_string().try_into().unwrap(),
        ..Default::default()
    };
    assert_eq!(outcome.answer, method(ChannelId(0), close));
}

#[test]
fn debug_of_a_connection_shows_neither_passwords_nor_payloads() {
    let options = ClientOptions::new(Plain::new("guest", "s3cret"));
    let mut pair = Pair::new(options, ServerOptions::default());
    for _ in 0..2 {
        let text = format!("{:?} {:?}", pair.client.connection, pair.server.connection);
        assert!(
            !text.contains("s3cret") && !text.contains("115, 51"),
            "{text}"
        );
        pair.client.connection.outbound().advance(8);
        let mut input = (&start("PLAIN")[..]).into();
        _ = pair.client.connection.receive(pair.now, &mut input);
    }

    let payload = [
        method(ChannelId(1), deliver(1)),
        header(ChannelId(1), 100),
        body(ChannelId(1), b"s3cret"),
    ]
    .concat();
    let mut outcome = read(|| client(1), &payload);
    let channel = outcome.connection.channel(ChannelId(1)).unwrap();
    let text = format!("{channel:?}");
    assert!(
        !text.contains("s3cret") && !text.contains("115, 51"),
        "{text}"
    );
    let publish = Publish {
        exchange: Default::default(),
        routing_key: Default::default(),
        mandatory: false,
        properties: &Properties::EMPTY,
        body: &"s3cret".into(),
    };
    assert!(!format!("{publish:?}").contains("s3cret"));
}
