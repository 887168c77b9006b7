use super::*;

fn to(exchange: &str, id: u64, idempotent: bool) -> Request {
    Request {
        exchange: name(exchange),
        idempotent,
        ..request(&id.to_string())
    }
}

const NOT_THERE: &str = "NOT_FOUND - no exchange 'nowhere' in vhost '/'";

#[test]
fn the_request_to_an_exchange_that_is_not_there_is_rejected_and_what_came_after_it_was_not_done() {
    let mut world = World::online(settings());
    world.ask(1, to("", 1, false));
    world.ask(2, to("nowhere", 2, true));
    world.ask(3, to("", 3, false));
    world.ask(4, to("", 4, true));
    world.refuse(ReplyCode::NOT_FOUND, NOT_THERE);
    let (reason, possibly_done) = world.failed(2);
    assert!(matches!(reason, RequestErrorReason::Rejected(_)) && !possibly_done);
    let (reason, possibly_done) = world.failed(1);
    assert!(matches!(reason, RequestErrorReason::ChannelLost(_)) && possibly_done);
    assert!(!world.failed(3).1);
    world.bring_online();
    assert_eq!(world.bodies(), ["4"]);
    world.return_it(4);
    assert!(!world.failed(4).1, "it was not looked at before");
}

#[test]
fn where_several_may_be_it_they_are_sent_one_by_one() {
    let mut world = World::online(settings());
    for id in 1..=4 {
        world.ask(id, to("", id, id != 3));
    }
    world.refuse(ReplyCode::PRECONDITION_FAILED, "too large");
    let (reason, possibly_done) = world.failed(3);
    assert!(matches!(reason, RequestErrorReason::ChannelLost(_)) && possibly_done);
    // Nothing else is sent before the broker has taken the one.
    world.ask(5, to("", 5, false));
    world.requests.usable();
    world.opens = 0;
    world.run();
    let consume = world.sent.remove(0);
    let Method::BasicConsume(basic::Consume { consumer_tag, .. }) = consume else {
        panic!("{consume:?}");
    };
    let consumes: Method = basic::ConsumeOk { consumer_tag }.into();
    world.requests.replied(world.now, &consumes);
    world.run();
    assert_eq!(world.bodies(), ["1"]);
    assert!(matches!(world.sent.as_slice(), [Method::BasicQos(_)]));
    world.sent.clear();
    world.requests.replied(world.now, &basic::QosOk.into());
    world.run();
    assert_eq!(world.bodies(), ["1", "2"]);
    world.refuse(ReplyCode::PRECONDITION_FAILED, "too large");
    let (reason, possibly_done) = world.failed(2);
    assert!(matches!(reason, RequestErrorReason::Rejected(_)) && possibly_done);
    world.bring_online();
    assert_eq!(world.bodies(), ["1", "4", "5"]);
}

#[test]
fn what_is_answered_is_not_suspected_nor_what_came_before_it() {
    let mut world = World::online(settings());
    for id in 1..=3 {
        world.ask(id, to("", id, false));
    }
    world.answer(2, "2");
    world.refuse(ReplyCode::PRECONDITION_FAILED, "too large");
    assert!(matches!(world.failed(3).0, RequestErrorReason::Rejected(_)));
    assert!(matches!(
        world.failed(1).0,
        RequestErrorReason::ChannelLost(_)
    ));
}

#[test]
fn one_that_nobody_waits_for_any_more_may_be_it() {
    let mut world = World::online(settings());
    world.ask(1, to("", 1, false));
    world.ask(2, to("", 2, false));
    world.requests.withdraw(RequestId(1));
    world.refuse(ReplyCode::PRECONDITION_FAILED, "too large");
    let (reason, possibly_done) = world.failed(2);
    assert!(matches!(reason, RequestErrorReason::ChannelLost(_)) && possibly_done);
}

#[test]
fn a_connection_that_the_broker_closes_over_a_request_is_no_cut() {
    let mut world = World::online(settings());
    world.ask(1, to("", 1, true));
    let close = close_over_publish(ReplyCode::SYNTAX_ERROR, "no");
    world.requests.disconnected(world.now, &cut(), Some(&close));
    world.run();
    assert!(matches!(world.failed(1).0, RequestErrorReason::Rejected(_)));
    // Nor over anything else.
    world.bring_online();
    world.ask(2, to("", 2, true));
    let close = PeerClose {
        method: basic::Consume::ID,
        ..close
    };
    world.requests.disconnected(world.now, &cut(), Some(&close));
    world.run();
    assert!(world.settled.is_empty());
}

#[test]
fn of_requests_that_nobody_answers_little_is_kept() {
    let mut world = World::online(settings());
    for id in 1..=1000 {
        world.ask(id, to("", id, false));
        world.requests.withdraw(RequestId(id));
        world.answer_calls();
    }
    assert_eq!(world.published.len(), 1000);
    assert!(world.requests.untaken.len() <= 201);
}
