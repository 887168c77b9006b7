//! What costs the whole connection.

use snowshoe_codec::method::confirm;

use super::*;
use crate::core::supervisor::Next;

/// As events name it.
const CONSUMER_OF_BAD: &str = "consumer \"consumer of bad\" of queue \"bad\"";

impl World {
    /// What was said of things that are not back yet, in order.
    fn delays(&mut self) -> Vec<String> {
        let outputs = self.outputs().into_iter();
        let gist = |output| match output {
            Output::Delayed { entity, .. } => Some(format!("{entity} delayed")),
            Output::Restored { entity } => Some(format!("{entity} restored")),
            Output::NotRecovered { entity, .. } => Some(format!("{entity} not recovered")),
            Output::Ready => Some("ready".to_owned()),
            _ => None,
        };
        outputs.filter_map(gist).collect()
    }
}

/// Closes the connection over a queue's declaration or consumer.
fn costly(queue: &'static str) -> Box<dyn FnMut(&Method) -> Answer> {
    Box::new(move |method| match method {
        Method::QueueDeclare(it) if it.queue == queue => Answer::End(ReplyCode::INTERNAL_ERROR),
        Method::BasicConsume(it) if it.queue == queue => Answer::End(ReplyCode::INTERNAL_ERROR),
        _ => Answer::Usual,
    })
}

/// Closes the connection over a queue's declaration or consumer, and does not say so.
fn unnamed(queue: &'static str) -> Box<dyn FnMut(&Method) -> Answer> {
    let mut costly = costly(queue);
    Box::new(move |method| match costly(method) {
        Answer::End(code) => Answer::EndUnnamed(code),
        answer => answer,
    })
}

fn is_lost(output: &Output) -> bool {
    matches!(output, Output::Lost { .. })
}

// fault 10
#[test]
fn a_publish_that_costs_the_connection_is_told_before_producers_go_offline() {
    let mut world = World::ready();
    let producer = world.add_producer();
    world.publish(producer, "a");
    world.outputs();
    let now = world.now;
    world
        .broker
        .close_over(now, ReplyCode::UNEXPECTED_FRAME, basic::Publish::ID);
    world.run();
    let outputs = world.outputs();
    assert!(matches!(outputs[0], Output::PublishingRefused(_)));
    assert!(matches!(outputs[1], Output::ProducerOffline(_)));
    world.pass_until_ready();
}

#[test]
fn a_close_over_something_else_blames_no_publish() {
    let mut world = World::ready();
    world.add_producer();
    for method in [NO_METHOD, confirm::Select::ID] {
        world.outputs();
        let now = world.now;
        world
            .broker
            .close_over(now, ReplyCode::CONNECTION_FORCED, method);
        world.run();
        let refusals = |it: &Output| matches!(it, Output::PublishingRefused(_));
        assert_eq!(world.count(refusals), 0);
        world.pass_until_ready();
    }
}

// fault 50
#[test]
fn what_costs_the_connection_when_it_is_declared_again_is_left_out_after_three_times() {
    let mut world = World::ready();
    for queue in ["a", "bad", "c"] {
        world.declare(declare_queue(queue));
    }
    world.broker.script = costly("bad");
    world.cut();
    world.outputs();
    world.pass(MINUTE);
    assert!(world.session.is_ready());
    let outputs = world.outputs();
    assert_eq!(outputs.iter().filter(|it| is_lost(it)).count(), 3);
    let gists = world.gists();
    assert_eq!(
        gists[gists.len() - 2..],
        ["queue.declare a", "queue.declare c"]
    );
    let told = |it: &&Output| matches!(it, Output::NotRecovered { .. });
    assert_eq!(outputs.iter().filter(told).count(), 1);
}

// faults 50 and 57
#[test]
fn what_was_left_out_has_one_more_try_at_each_reconnect() {
    let mut world = World::ready();
    world.declare(declare_queue("bad"));
    world.broker.script = costly("bad");
    world.cut();
    world.pass(MINUTE);
    world.outputs();
    world.cut();
    world.pass(MINUTE);
    let outputs = world.outputs();
    assert_eq!(outputs.iter().filter(|it| is_lost(it)).count(), 2);
    assert!(world.session.is_ready());

    world.broker.script = Box::new(|_| Answer::Usual);
    world.requests();
    world.cut();
    world.pass_until_ready();
    assert_eq!(world.gists(), ["queue.declare bad"]);
    // It begins with a clean record.
    world.broker.script = costly("bad");
    world.outputs();
    world.cut();
    world.pass(MINUTE);
    assert_eq!(world.count(is_lost), 4);
}

#[test]
fn a_consumer_of_a_queue_that_is_left_out_does_not_bring_it_back() {
    let mut world = World::ready();
    world.declare(declare_queue("bad"));
    world.add_consumer("bad");
    world.broker.script = Box::new(|method| match method {
        Method::QueueDeclare(_) => Answer::End(ReplyCode::INTERNAL_ERROR),
        Method::BasicConsume(_) => Answer::Refuse(ReplyCode::NOT_FOUND, "no queue"),
        _ => Answer::Usual,
    });
    world.cut();
    world.pass(MINUTE);
    world.outputs();
    world.pass(10 * MINUTE);
    assert!(world.session.is_ready());
    assert_eq!(world.count(is_lost), 0);
}

#[test]
fn a_new_consumer_that_costs_the_connection_fails_and_is_not_tried_again() {
    let mut world = World::ready();
    world.broker.script = costly("bad");
    let consumer = world.add_consumer("bad");
    let outputs = world.outputs();
    let failed = |it: &Output| {
        let refused =
            matches!(it, Output::ConsumerFailed(key, Error::Refused(_)) if *key == consumer);
        refused
    };
    assert_eq!(outputs.iter().filter(|it| failed(it)).count(), 1);
    world.requests();
    world.pass(MINUTE);
    assert!(world.session.is_ready());
    assert!(world.requests().is_empty());
}

#[test]
fn a_consumer_that_costs_one_connection_after_the_other_is_given_up_and_told() {
    let mut world = World::ready();
    let [good, bad] = [world.add_consumer("good"), world.add_consumer("bad")];
    world.broker.script = costly("bad");
    world.cut();
    world.outputs();
    world.pass(2 * MINUTE);
    assert!(world.session.is_ready() && world.is_consuming(good) && !world.is_consuming(bad));
    let outputs = world.outputs();
    assert_eq!(outputs.iter().filter(|it| is_lost(it)).count(), 3);
    let failed = |it: &&Output| matches!(it, Output::ConsumerFailed(key, _) if *key == bad);
    assert_eq!(outputs.iter().filter(failed).count(), 1);
    let not_recovered = |it: &&Output| matches!(it, Output::NotRecovered { entity, .. } if entity.to_string() == CONSUMER_OF_BAD);
    assert_eq!(outputs.iter().filter(not_recovered).count(), 1);
    let delayed = |it: &&Output| matches!(it, Output::Delayed { entity, .. } if entity.to_string() == CONSUMER_OF_BAD);
    assert_eq!(outputs.iter().filter(delayed).count(), 2);
}

// case C3
#[test]
fn of_consumers_that_are_suspected_half_are_tried_at_a_time() {
    let mut world = World::ready();
    let consumers: Vec<ConsumerKey> = ["a", "b", "c", "d"].map(|it| world.add_consumer(it)).into();
    // One such close is bad luck. It comes while all of them are under way.
    let mut asked = 0;
    world.broker.script = Box::new(move |method| match method {
        Method::BasicConsume(_) => {
            asked += 1;
            match asked {
                1..=3 => Answer::Silence,
                4 => Answer::End(ReplyCode::INTERNAL_ERROR),
                _ => Answer::Usual,
            }
        }
        _ => Answer::Usual,
    });
    world.cut();
    world.outputs();
    world.requests();
    world.pass(10 * SECOND);
    assert!(consumers.iter().all(|it| world.is_consuming(*it)));
    let mut gists = world.gists();
    gists.retain(|gist| gist.starts_with("basic.consume"));
    let queues: Vec<char> = gists
        .iter()
        .filter_map(|gist| gist.chars().last())
        .collect();
    assert_eq!(
        queues[queues.len() - 4..],
        ['a', 'b', 'c', 'd'],
        "in halves, and then one"
    );
    // They are back before it counts as recovered.
    assert!(matches!(world.outputs().last(), Some(Output::Ready)));
    // Nothing of it is left at the next loss: they come back together.
    world.cut();
    for _ in 0..1_000 {
        if world
            .session
            .consumers
            .iter()
            .all(|(_, it)| it.is_awaited())
        {
            return;
        }
        if !world.step() {
            world.time_is(world.now + Duration::from_millis(10));
        }
    }
    panic!("some wait for others");
}

// case C3
#[test]
fn one_consumer_among_many_that_costs_connections_is_found_in_log_n_of_them() {
    let mut world = World::ready();
    let mut consumers = Vec::new();
    for number in 0..64 {
        let queue = if number == 41 {
            "bad".to_owned()
        } else {
            format!("good {number}")
        };
        consumers.push(world.add_consumer(&queue));
    }
    world.broker.script = costly("bad");
    world.cut();
    world.outputs();
    world.pass(2 * MINUTE);
    assert!(world.session.is_ready());
    let good = consumers
        .iter()
        .filter(|it| world.is_consuming(**it))
        .count();
    assert_eq!(good, 63);
    // All of them, at most six times half of those that are left, and the culprit alone until it is given up.
    let lost = world.count(is_lost);
    assert!(lost <= 1 + 6 + 3, "{lost}");
}

// case C2
#[test]
fn what_was_alone_under_way_is_to_blame_where_the_broker_names_nothing() {
    let mut world = World::ready();
    world.add_consumer("good");
    world.broker.script = unnamed("bad");
    world.outputs();
    world.call(7, declare_queue("bad"));
    let refused = |it: &Output| {
        matches!(
            it,
            Output::Called {
                result: Err(Error::Refused(_)),
                ..
            }
        )
    };
    assert_eq!(world.count(refused), 1);
    let consumer = {
        world.pass_until_ready();
        world.add_consumer("bad")
    };
    let failed = |it: &Output| matches!(it, Output::ConsumerFailed(key, Error::Refused(_)) if *key == consumer);
    assert_eq!(world.count(failed), 1);
    world.pass(MINUTE);
    assert_eq!(world.count(is_lost), 0, "neither is tried again");
}

// case C2
#[test]
fn what_is_declared_again_is_left_out_where_it_costs_connections_that_name_nothing() {
    let mut world = World::ready();
    for queue in ["a", "bad", "c"] {
        world.declare(declare_queue(queue));
    }
    world.broker.script = unnamed("bad");
    world.cut();
    world.outputs();
    world.pass(MINUTE);
    assert!(world.session.is_ready());
    assert_eq!(world.count(is_lost), 3);
    let gists = world.gists();
    assert_eq!(
        gists[gists.len() - 2..],
        ["queue.declare a", "queue.declare c"]
    );
}

// case C2
#[test]
fn of_several_kinds_under_way_each_has_its_turn_until_the_culprit_is_found() {
    let mut world = World::ready();
    let good = world.add_consumer("good");
    let producer = world.add_producer();
    world.publish(producer, "innocent");
    world.broker.script = unnamed("bad");
    world.outputs();
    // At once, so that nobody can tell whose fault it is.
    let now = world.now;
    let bad = world.session.add_consumer(now, spec("bad"));
    world
        .session
        .call(now, CallToken(7), declare_queue("fine").into());
    world.run();
    world.pass(2 * MINUTE);
    assert!(world.session.is_ready() && world.is_consuming(good));
    let outputs = world.outputs();
    let failed =
        |it: &&Output| matches!(it, Output::ConsumerFailed(key, Error::Refused(_)) if *key == bad);
    assert_eq!(outputs.iter().filter(failed).count(), 1);
    let called = |it: &&Output| matches!(it, Output::Called { result: Ok(_), .. });
    assert_eq!(outputs.iter().filter(called).count(), 1);
}

// case C2
#[test]
fn publishes_in_flight_are_suspected_where_the_broker_names_nothing_and_the_next_attempt_comes_soon()
 {
    let mut world = World::ready();
    let producer = world.add_producer();
    for _ in 0..10 {
        world.publish(producer, "a");
        world.outputs();
        let now = world.now;
        world
            .broker
            .close_over(now, ReplyCode::INTERNAL_ERROR, NO_METHOD);
        world.run();
        let outputs = world.outputs();
        assert!(matches!(outputs[0], Output::PublishingRefused(_)));
        let soon = |it: &&Output| matches!(it, Output::Lost { next: Next::Retry { delay, .. }, .. } if *delay <= SECOND / 10);
        assert_eq!(outputs.iter().filter(soon).count(), 1);
        world.pass_until_ready();
    }
}

#[test]
fn a_channel_that_a_user_drives_is_told_what_cost_the_connection() {
    let mut world = World::ready();
    let channel = world.session.add_channel(world.now);
    world.run();
    world.outputs();
    let now = world.now;
    world
        .broker
        .close_over(now, ReplyCode::NOT_IMPLEMENTED, basic::Consume::ID);
    world.run();
    let outputs = world.outputs();
    let told = |it: &&Output| matches!(it, Output::ChannelClosed(key, Error::Refused(_)) if *key == channel);
    assert_eq!(outputs.iter().filter(told).count(), 1);
    let ended = |it: &&Output| matches!(it, Output::ChannelClosed(..));
    assert_eq!(outputs.iter().filter(ended).count(), 1);
}

// fault 44
#[test]
fn a_queue_that_is_still_locked_is_told_once_and_again_when_it_is_back() {
    let mut world = World::ready();
    world.declare(exclusive("mine"));
    let mut times = 5;
    world.broker.script = Box::new(move |method| match method {
        Method::QueueDeclare(_) if times > 0 => {
            times -= 1;
            Answer::Refuse(ReplyCode::RESOURCE_LOCKED, "locked")
        }
        _ => Answer::Usual,
    });
    world.cut();
    world.outputs();
    world.pass(10 * SECOND);
    let expected = ["queue \"mine\" delayed", "ready", "queue \"mine\" restored"];
    assert_eq!(world.delays(), expected);
    world.cut();
    world.pass_until_ready();
    assert_eq!(world.delays(), ["ready"]);
}

// faults 45 and 54
#[test]
fn a_consumer_that_is_refused_is_told_once_and_again_when_it_is_back() {
    let mut world = World::ready();
    world.add_consumer("q");
    let mut times = 3;
    world.broker.script = Box::new(move |method| match method {
        Method::BasicConsume(_) if times > 0 => {
            times -= 1;
            Answer::Refuse(ReplyCode::ACCESS_REFUSED, "exclusive use")
        }
        _ => Answer::Usual,
    });
    world.cut();
    world.outputs();
    world.pass(10 * SECOND);
    let consumer = "consumer \"consumer of q\" of queue \"q\"";
    let expected = [
        format!("{consumer} delayed"),
        "ready".to_owned(),
        format!("{consumer} restored"),
    ];
    assert_eq!(world.delays(), expected);
}

// fault 52
#[test]
fn a_consumer_that_was_cancelled_is_told_when_it_is_back() {
    let mut world = World::ready();
    let consumer = world.add_consumer("q");
    world.outputs();
    let (now, channel) = (world.now, world.consumer_channel(consumer));
    world.broker.cancel_consumer(now, channel);
    world.run();
    assert_eq!(world.delays(), Vec::<String>::new());
    world.pass(SECOND);
    assert_eq!(
        world.delays(),
        ["consumer \"consumer of q\" of queue \"q\" restored"]
    );
}

#[test]
fn a_consumer_that_is_kept_back_for_what_it_has_cost_is_told_on_each_connection_before_the_recovery()
 {
    let backoff = Backoff {
        initial: 10 * SECOND,
        ..settings().backoff
    };
    let mut world = World::new(Settings {
        backoff,
        ..settings()
    });
    world.run();
    world.add_consumer("bad");
    world.broker.script = costly("bad");
    world.cut();
    world.outputs();
    world.pass(2 * SECOND);
    world.broker.script = Box::new(|_| Answer::Usual);
    let delayed = format!("{CONSUMER_OF_BAD} delayed");
    // When it costs the connection, and when the next one goes on without it.
    assert_eq!(world.delays(), [&delayed, &delayed, "ready"]);
    world.pass(MINUTE);
    assert_eq!(world.delays(), [format!("{CONSUMER_OF_BAD} restored")]);
}

fn is_offline(output: &Output) -> bool {
    matches!(output, Output::ConsumerOffline(_))
}

#[test]
fn who_has_refused_something_is_told_that_a_refusal_cost_the_connection_and_ends_if_it_goes_on() {
    for method in [basic::Nack::ID, basic::Reject::ID] {
        let mut world = World::ready();
        let [culprit, other] = ["bad", "good"].map(|queue| world.add_consumer(queue));
        for attempt in 1..=3 {
            world.outputs();
            world.session.consumer_refuses(culprit);
            let now = world.now;
            let code = ReplyCode::NOT_IMPLEMENTED;
            world.broker.close_over(now, code, method);
            world.run();
            let outputs = world.outputs();
            let told = outputs.iter().filter_map(|it| match it {
                Output::RefusalRefused(consumer) => Some(*consumer),
                _ => None,
            });
            assert_eq!(told.collect::<Vec<_>>(), [culprit]);
            assert_eq!(outputs.iter().filter(|it| is_offline(it)).count(), 2);
            let failed = |it: &Output| matches!(it, Output::ConsumerFailed(..));
            assert_eq!(outputs.iter().any(failed), attempt == 3);
            world.pass_until_ready();
            world.pass(MINUTE);
            assert_eq!(world.is_consuming(culprit), attempt < 3);
            assert!(world.is_consuming(other));
        }
    }
}

#[test]
fn a_refusal_that_may_be_of_a_user_who_drives_a_channel_ends_no_consumer() {
    let mut world = World::ready();
    let consumer = world.add_consumer("good");
    for _ in 0..5 {
        world.session.add_channel(world.now);
        world.run();
        world.session.consumer_refuses(consumer);
        let now = world.now;
        let (code, method) = (ReplyCode::NOT_IMPLEMENTED, basic::Nack::ID);
        world.broker.close_over(now, code, method);
        world.run();
        world.pass_until_ready();
        world.pass(MINUTE);
        assert!(world.is_consuming(consumer));
    }
}

#[test]
fn a_consumer_that_is_cancelled_while_its_refusal_costs_the_connection_ends() {
    let mut world = World::ready();
    let consumer = world.add_consumer("bad");
    world.outputs();
    world.session.consumer_refuses(consumer);
    world.broker.script = Box::new(|_| Answer::Silence);
    world.cancel(consumer);
    let now = world.now;
    let (code, method) = (ReplyCode::NOT_IMPLEMENTED, basic::Nack::ID);
    world.broker.close_over(now, code, method);
    world.run();
    let outputs = world.outputs();
    let ends = |it: &Output| matches!(it, Output::ConsumerDraining(key) if *key == consumer);
    assert_eq!(outputs.iter().filter(|it| ends(it)).count(), 1);
    let is_delayed = |it: &Output| matches!(it, Output::Delayed { .. });
    assert!(!outputs.iter().any(is_delayed));
}

#[test]
fn of_several_that_have_refused_something_none_is_taken_for_a_reader_of_a_stream() {
    let mut world = World::ready();
    for queue in ["stream", "retry"] {
        let consumer = world.add_consumer(queue);
        world.session.consumer_refuses(consumer);
    }
    world.outputs();
    let now = world.now;
    let (code, method) = (ReplyCode::NOT_IMPLEMENTED, basic::Nack::ID);
    world.broker.close_over(now, code, method);
    world.run();
    let told = world.count(|it| matches!(it, Output::RefusalRefused(_)));
    assert_eq!(told, 0);
}
