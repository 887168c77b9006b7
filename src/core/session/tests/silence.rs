//! Consumers that the broker does not answer, as those of a quorum queue without a leader.

use super::*;

/// Keeps silent about the consumers of a queue.
fn silent(queue: &'static str) -> Box<dyn FnMut(&Method) -> Answer> {
    Box::new(move |method| match method {
        Method::BasicConsume(it) if it.queue == queue => Answer::Silence,
        _ => Answer::Usual,
    })
}

/// What was said of a recovery, and of a consumer of "silent", in order.
fn story(world: &mut World) -> Vec<&'static str> {
    let outputs = world.outputs().into_iter();
    let gist = |output| match output {
        Output::Delayed { entity, reason } => {
            assert_eq!(
                entity.to_string(),
                "consumer \"consumer of silent\" of queue \"silent\""
            );
            assert!(matches!(reason, Error::Timeout(basic::Consume::ID)));
            Some("delayed")
        }
        Output::Restored { .. } => Some("restored"),
        Output::Ready => Some("ready"),
        Output::Called { result: Ok(_), .. } => Some("called"),
        Output::ConsumerFailed(..) => Some("failed"),
        Output::ProducerOnline(_) => Some("publishing"),
        _ => None,
    };
    outputs.filter_map(gist).collect()
}

#[test]
fn a_start_that_the_broker_never_answers_fails_and_leaves_no_consumer_behind() {
    let mut world = World::ready();
    world.broker.script = silent("silent");
    let consumer = world.add_consumer("silent");
    let channel = world.session.consumer_channel(consumer).unwrap().id();
    world.pass(19 * SECOND);
    assert_eq!(story(&mut world), [""; 0]);
    world.pass(2 * SECOND);
    let failed = |it: &Output| {
        let Output::ConsumerFailed(it, Error::Timeout(method)) = it else {
            return false;
        };
        *it == consumer && *method == basic::Consume::ID
    };
    assert_eq!(world.count(failed), 1);
    // With its channel the broker gives up the consumer, whenever it comes to it.
    assert!(!world.broker.is_open(channel));
    world.pass(MINUTE);
    assert_eq!(
        world
            .request_names()
            .iter()
            .filter(|it| **it == "basic.consume")
            .count(),
        1
    );
}

// fault 51
#[test]
fn a_consumer_that_is_not_answered_when_it_comes_back_is_started_anew() {
    let mut world = World::ready();
    let consumer = world.add_consumer("silent");
    world.broker.script = silent("silent");
    world.close_consumer_channel(consumer, ReplyCode::PRECONDITION_FAILED);
    world.outputs();
    world.pass(SECOND);
    let first = world.consumer_channel(consumer);
    world.pass(21 * SECOND);
    assert!(!world.broker.is_open(first));
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass(MINUTE);
    assert!(world.is_consuming(consumer));
}

#[test]
fn one_consumer_that_is_not_answered_holds_up_nobody_else_and_is_told() {
    let mut world = World::ready();
    let others: Vec<_> = (0..5).map(|_| world.add_consumer("q")).collect();
    let consumer = world.add_consumer("silent");
    world.add_producer();
    world.cut();
    world.broker.script = silent("silent");
    world.outputs();
    // Out of reach for 100 ms or so, and then a second for the consumer.
    world
        .session
        .call(world.now, CallToken(1), declare_queue("new").into());
    world.pass(2 * SECOND);
    assert!(world.session.is_ready());
    assert!(others.iter().all(|it| world.is_consuming(*it)));
    assert_eq!(
        story(&mut world),
        ["delayed", "publishing", "ready", "called"]
    );
    // It is tried again and again, and told once.
    world.pass(2 * MINUTE);
    assert_eq!(story(&mut world), [""; 0]);
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass(2 * MINUTE);
    assert!(world.is_consuming(consumer));
    assert_eq!(story(&mut world), ["restored"]);
}

#[test]
fn a_consumer_that_is_answered_late_is_restored() {
    let mut world = World::ready();
    let consumer = world.add_consumer("silent");
    world.cut();
    world.broker.script = silent("silent");
    world.outputs();
    world.pass(5 * SECOND);
    assert_eq!(story(&mut world), ["delayed", "ready"]);
    let channel = world.consumer_channel(consumer);
    let ok = basic::ConsumeOk {
        consumer_tag: name("consumer of silent"),
    };
    world.broker.send(world.now, channel, ok);
    world.run();
    assert!(world.is_consuming(consumer));
    assert_eq!(story(&mut world), ["restored"]);
}

#[test]
fn one_that_was_never_started_holds_up_nobody_either_and_only_its_caller_hears_of_it() {
    let mut world = World::ready();
    world.cut();
    world.broker.script = silent("silent");
    world.session.add_consumer(world.now, spec("silent"));
    world.outputs();
    world.pass(2 * SECOND);
    assert_eq!(story(&mut world), ["ready"]);
    world.pass(MINUTE);
    assert_eq!(story(&mut world), ["failed"]);
}

// Nobody says anything about it any more once the connection is ready.
#[test]
fn a_consumer_that_is_lost_and_not_answered_any_more_is_told() {
    let mut world = World::ready();
    let consumer = world.add_consumer("silent");
    let channel = world.consumer_channel(consumer);
    world.outputs();
    // It cancels the consumer to let another take its place, and hears nothing.
    world.broker.script = Box::new(|method| match method {
        Method::BasicCancel(_) | Method::BasicConsume(_) => Answer::Silence,
        _ => Answer::Usual,
    });
    (world.session).set_flow(
        world.now,
        consumer,
        crate::core::Flow::Narrow,
        Manner::Overlapping,
    );
    world.pass(21 * SECOND);
    assert!(!world.broker.is_open(channel));
    let delayed = |it: &Output| {
        matches!(
            it,
            Output::Delayed {
                reason: Error::Timeout(_),
                ..
            }
        )
    };
    assert_eq!(world.count(delayed), 1);
}

// fault 51
#[test]
fn many_consumers_that_are_answered_one_by_one_are_all_waited_for() {
    let mut world = World::ready();
    let consumers: Vec<_> = (0..10).map(|_| world.add_consumer("silent")).collect();
    world.cut();
    world.broker.script = silent("silent");
    world.pass(SECOND / 2);
    world.outputs();
    for consumer in &consumers {
        assert!(!world.session.is_ready());
        let channel = world.consumer_channel(*consumer);
        let ok = basic::ConsumeOk {
            consumer_tag: name("consumer of silent"),
        };
        world.broker.send(world.now, channel, ok);
        world.pass(SECOND / 2);
    }
    assert_eq!(story(&mut world), ["ready"]);
}

// fault 50
#[test]
fn whoever_costs_the_connection_is_found_beside_one_that_is_not_answered() {
    let mut world = World::ready();
    let innocent = world.add_consumer("silent");
    let culprit = world.add_consumer("bad");
    let other = world.add_consumer("q");
    world.cut();
    world.broker.script = Box::new(|method| match method {
        Method::BasicConsume(it) if it.queue == "silent" => Answer::Silence,
        Method::BasicConsume(it) if it.queue == "bad" => Answer::End(ReplyCode::INTERNAL_ERROR),
        _ => Answer::Usual,
    });
    world.outputs();
    world.pass(3 * MINUTE);
    let outputs = world.outputs();
    let lost = outputs
        .iter()
        .filter(|it| matches!(it, Output::Lost { .. }))
        .count();
    assert!(lost <= 6, "{lost} connections");
    let failed = outputs.iter().filter_map(|it| match it {
        Output::ConsumerFailed(key, _) => Some(*key),
        _ => None,
    });
    assert_eq!(failed.collect::<Vec<_>>(), [culprit]);
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass(MINUTE);
    assert!(world.is_consuming(innocent) && world.is_consuming(other));
}

#[test]
fn a_call_that_costs_the_connection_is_found_beside_a_consumer_that_is_not_answered() {
    let mut world = World::ready();
    world.broker.script = Box::new(|method| match method {
        Method::BasicConsume(_) => Answer::Silence,
        Method::QueueDeclare(_) => Answer::EndUnnamed(ReplyCode::INTERNAL_ERROR),
        _ => Answer::Usual,
    });
    world.add_consumer("silent");
    world.cut();
    world.pass(2 * SECOND);
    world.outputs();
    world.call(1, declare_queue("bad"));
    let is_refused = |it: &Output| {
        let Output::Called { result, .. } = it else {
            return false;
        };
        matches!(result, Err(Error::Refused(_)))
    };
    assert_eq!(world.count(is_refused), 1);
}
