//! Producers' channels.

use snowshoe_codec::ChannelId;
use snowshoe_codec::PublisherConfirm;
use snowshoe_codec::method::confirm;

use super::*;

impl World {
    fn producer_channel(&mut self, producer: ProducerKey) -> ChannelId {
        let channel = self.session.producer_channel(producer);
        channel.expect("it is online").id()
    }

    fn is_online(&mut self, producer: ProducerKey) -> bool {
        self.session.producer_channel(producer).is_some()
    }

    fn close_producer_channel(&mut self, producer: ProducerKey, text: &str, method: MethodId) {
        let channel = self.producer_channel(producer);
        let (now, code) = (self.now, ReplyCode::PRECONDITION_FAILED);
        self.broker.close_channel(now, channel, code, text, method);
        self.run();
    }
}

// fault 7
#[test]
fn confirms_are_asked_for_before_the_first_publish_on_every_connection() {
    let mut world = World::ready();
    let producer = world.add_producer();
    for _ in 0..3 {
        let channel = world.producer_channel(producer);
        let requests = std::mem::take(&mut world.broker.requests);
        assert_eq!(requests.last().unwrap().0, channel);
        assert_eq!(requests.last().unwrap().1.name(), "confirm.select");
        assert_eq!(world.count(|it| matches!(it, Output::ProducerOnline(_))), 1);
        world.publish(producer, "a");
        assert_eq!(world.broker.arrivals.pop().unwrap().channel, channel);
        world.cut();
        assert_eq!(
            world.count(|it| matches!(it, Output::ProducerOffline(_))),
            1
        );
        assert!(!world.is_online(producer));
        world.pass_until_ready();
    }
}

#[test]
fn a_producer_without_confirms_asks_for_none() {
    let mut world = World::ready();
    let producer = world.session.add_producer(world.now, false);
    world.run();
    assert!(world.is_online(producer));
    assert!(world.requests().is_empty());
}

// Without confirms nobody stops a user who publishes to an exchange that is not there.
#[test]
fn a_producer_without_confirms_waits_before_it_comes_back_from_a_refused_publish() {
    let mut world = World::ready();
    let producer = world.session.add_producer(world.now, false);
    world.run();
    world.close_producer_channel(producer, "no exchange", basic::Publish::ID);
    assert_eq!(
        world.count(|it| matches!(it, Output::ProducerRejected(..))),
        1
    );
    assert!(!world.is_online(producer));
    world.pass(SECOND);
    assert!(world.is_online(producer));
}

#[test]
fn confirms_and_returns_go_to_their_producer() {
    let mut world = World::ready();
    let [first, second] = [world.add_producer(), world.add_producer()];
    world.publish(first, "a");
    world.publish(second, "b");
    let channel = world.producer_channel(second);
    world.outputs();
    world.broker.return_message(channel, "q", "b");
    world.broker.ack(world.now, channel, 1, true);
    world.run();
    let outputs = world.outputs();
    let acked = PublisherConfirm {
        delivery_tag: 1,
        multiple: true,
        ack: true,
    };
    assert!(matches!(
        &outputs[..],
        [
            Output::Returned { producer: returned, .. },
            Output::Confirm { producer: confirmed, confirm },
        ] if *returned == second && *confirmed == second && *confirm == acked
    ));
}

// fault 10
#[test]
fn a_channel_that_was_closed_over_a_publish_comes_back_at_once() {
    let mut world = World::ready();
    let producer = world.add_producer();
    for _ in 0..10 {
        world.outputs();
        world.publish(producer, "poison");
        assert!(world.is_online(producer));
        let outputs = world.outputs();
        assert!(matches!(
            &outputs[..],
            [Output::ProducerRejected(..), Output::ProducerOnline(_)]
        ));
    }
}

// fault 11
#[test]
fn low_disk_on_lavinmq_is_no_verdict_on_a_message() {
    let mut world = World::ready();
    let producer = world.add_producer();
    world.outputs();
    world.close_producer_channel(producer, "Server low on disk space", basic::Publish::ID);
    assert!(!world.is_online(producer), "it backs off");
    assert!(matches!(
        world.outputs()[..],
        [Output::ProducerClosed(_), Output::ProducerDelayed(..)]
    ));
    world.pass(SECOND);
    assert!(world.is_online(producer));
}

// LavinMQ names no method where it is the header or the body of a message that it does not like.
#[test]
fn a_channel_that_was_closed_over_no_method_was_closed_over_a_publish() {
    let mut world = World::ready();
    let producer = world.add_producer();
    world.publish(producer, "too large for LavinMQ");
    world.outputs();
    world.close_producer_channel(producer, "message size larger than max size", NO_METHOD);
    assert!(matches!(
        world.outputs()[..],
        [Output::ProducerRejected(..)]
    ));
    assert!(
        !world.is_online(producer),
        "it may have been over something else"
    );
    world.pass(SECOND);
    assert!(world.is_online(producer));
}

// case B7
#[test]
fn a_channel_that_is_closed_over_something_else_backs_off_and_is_told_once_until_it_is_back() {
    let mut world = World::ready();
    let producer = world.add_producer();
    world.outputs();
    world.broker.script = Box::new(|method| match method {
        Method::ConfirmSelect(_) => Answer::Refuse(ReplyCode::NOT_IMPLEMENTED, "no confirms"),
        _ => Answer::Usual,
    });
    world.close_producer_channel(producer, "why not", confirm::Select::ID);
    world.pass(MINUTE);
    let outputs = world.outputs();
    let delays = |it: &&Output| matches!(it, Output::ProducerDelayed(key, Error::Refused(_)) if *key == producer);
    assert_eq!(outputs.iter().filter(delays).count(), 1);
    let offline = |it: &&Output| matches!(it, Output::ProducerClosed(_));
    assert!(
        outputs.iter().filter(offline).count() > 2,
        "it is tried again"
    );
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass(MINUTE);
    assert!(world.is_online(producer));
    assert_eq!(
        world.count(|it| matches!(it, Output::ProducerRestored(_))),
        1
    );
}

// case B7
#[test]
fn a_producer_whose_confirms_are_never_answered_is_told_and_tried_again() {
    let mut world = World::ready();
    world.broker.script = Box::new(|method| match method {
        Method::ConfirmSelect(_) => Answer::Silence,
        _ => Answer::Usual,
    });
    let producer = world.add_producer();
    world.pass(2 * MINUTE);
    let timeouts = |it: &Output| matches!(it, Output::ProducerDelayed(_, Error::Timeout(_)));
    assert_eq!(world.count(timeouts), 1);
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass(2 * MINUTE);
    assert!(world.is_online(producer));
    world.publish(producer, "a");
    assert_eq!(world.broker.arrivals.len(), 1);
}

// case C3
#[test]
fn what_is_published_follows_the_opening_of_its_channel_without_waiting_for_an_answer() {
    let mut world = World::ready();
    let producer = world.session.add_producer(world.now, true);
    world.session.handle_timeout(world.now, &mut world.topology);
    // No byte has come back yet.
    world.publish(producer, "a");
    assert_eq!(world.broker.arrivals.pop().unwrap().tag, 1);
}

#[test]
fn a_removed_producer_closes_its_channel_and_does_not_come_back() {
    let mut world = World::ready();
    let producer = world.add_producer();
    let channel = world.producer_channel(producer);
    world.session.remove_producer(world.now, producer);
    world.run();
    assert!(!world.broker.is_open(channel));
    world.requests();
    world.cut();
    world.pass_until_ready();
    assert!(world.requests().is_empty());
}

#[test]
fn the_end_of_a_channel_is_told_to_its_owner_and_not_to_the_next_at_its_number() {
    let mut world = World::with_channels(1);
    let producer = world.add_producer();
    world.outputs();
    let channel = world.producer_channel(producer);
    let (now, code) = (world.now, ReplyCode::CHANNEL_ERROR);
    world
        .broker
        .close_channel(now, channel, code, "by script", confirm::Select::ID);
    world.exchange();
    // A consumer looks for a channel just now.
    let consumer = world.session.add_consumer(now, spec("q"));
    world.session.handle_timeout(now, &mut world.topology);
    world.run();
    let offline = |output: &Output| matches!(output, Output::ProducerClosed(it) if *it == producer);
    assert_eq!(world.count(offline), 1);
    assert!(world.session.consumers.get(consumer).is_some());
}

// What was written goes out before the channel.close that a missing answer leads to.
#[test]
fn a_producer_whose_channel_is_given_up_by_us_is_told_that_what_it_wrote_goes_out() {
    let mut world = World::ready();
    world.broker.script = Box::new(|method| match method {
        Method::ConfirmSelect(_) => Answer::Silence,
        _ => Answer::Usual,
    });
    let producer = world.add_producer();
    world.outputs();
    world.pass(MINUTE);
    let outputs = world.outputs();
    let left = |it: &&Output| matches!(it, Output::ProducerLeft(key) if *key == producer);
    assert!(outputs.iter().filter(left).count() > 0);
    assert!(
        !outputs
            .iter()
            .any(|it| matches!(it, Output::ProducerOffline(_)))
    );
    // With the connection that goes, too.
    world.cut();
    assert_eq!(
        world.count(|it| matches!(it, Output::ProducerOffline(_))),
        1
    );
}

/// Whose publishes the broker has answered for since it was last asked.
fn taken(world: &mut World) -> Vec<ProducerKey> {
    let outputs = world.outputs().into_iter();
    let taken = |output| match output {
        Output::ProducerTaken(producer) => Some(producer),
        _ => None,
    };
    outputs.filter_map(taken).collect()
}

// fault 10: as a quorum queue without a majority does, a queue may keep its confirms for itself.
#[test]
fn a_producer_hears_that_the_broker_has_taken_what_it_published() {
    let mut world = World::ready();
    let producer = world.add_producer();
    world.publish(producer, "a");
    assert!(world.session.prove_taken(world.now, producer));
    world.run();
    assert_eq!(taken(&mut world), [producer]);
    assert!(world.is_online(producer));
    // Also where its channel is still on its way.
    let next = world.session.add_producer(world.now, true);
    world.session.handle_timeout(world.now, &mut world.topology);
    assert!(world.session.prove_taken(world.now, next));
    world.run();
    assert_eq!(taken(&mut world), [next]);
}

#[test]
fn of_producers_that_share_a_channel_each_hears_its_own_answer() {
    let mut world = World::without_calls(1);
    let [a, b, c] = [(); 3].map(|()| world.add_producer());
    for producer in [a, b, c, a] {
        assert!(world.session.prove_taken(world.now, producer));
    }
    // Another gets its key, and asks later.
    world.session.remove_producer(world.now, b);
    assert_eq!(world.session.add_producer(world.now, true), b);
    world.run();
    assert_eq!(taken(&mut world), [a, c, a]);
    assert!(world.session.prove_taken(world.now, b));
    world.run();
    assert_eq!(taken(&mut world), [b]);
}

#[test]
fn nobody_hears_of_what_was_asked_on_a_channel_that_has_ended() {
    let mut world = World::ready();
    let producer = world.add_producer();
    world.broker.script = Box::new(|method| match method {
        Method::BasicQos(_) => Answer::Silence,
        _ => Answer::Usual,
    });
    world.session.prove_taken(world.now, producer);
    world.run();
    // A channel that waits for a queue is not given up for that.
    world.pass(2 * MINUTE);
    assert_eq!(
        world.count(|it| matches!(it, Output::ProducerDelayed(..))),
        0
    );
    world.close_producer_channel(producer, "by script", NO_METHOD);
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass(MINUTE);
    world.session.prove_taken(world.now, producer);
    world.run();
    assert_eq!(taken(&mut world), [producer]);
    world.session.prove_taken(world.now, producer);
    world.cut();
    assert!(!world.session.prove_taken(world.now, producer));
    world.pass_until_ready();
    assert_eq!(taken(&mut world), []);
}

#[test]
fn publishes_do_not_wait_for_what_is_known_to_be_there_on_the_next_connection_and_no_other() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    let producer = world.add_producer();
    let without = world.session.add_producer(world.now, false);
    world.run();
    world.broker.script = Box::new(|method| match method {
        Method::QueueDeclare(_) => Answer::Silence,
        _ => Answer::Usual,
    });
    for is_trusted in [true, false] {
        world.cut();
        if is_trusted {
            world.session.trust_what_is_declared();
        }
        world.pass(SECOND);
        assert!(!world.session.is_ready() && world.is_connected());
        assert_eq!(
            world.session.producer_channel(producer).is_some(),
            is_trusted
        );
        // Without confirms it could be lost with a connection that is not opened.
        assert!(world.session.producer_channel(without).is_none());
    }
}

#[test]
fn what_is_known_to_be_there_is_not_so_any_more_after_a_dial_that_failed() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    let producer = world.add_producer();
    world.broker.script = Box::new(|_| Answer::Silence);
    world.network = Network::Refuses;
    world.cut();
    world.session.trust_what_is_declared();
    world.pass(SECOND);
    world.network = Network::Good;
    world.pass(10 * SECOND);
    assert!(world.is_connected());
    assert!(world.session.producer_channel(producer).is_none());
}

#[test]
fn what_was_declared_is_known_to_be_there_for_a_short_while_and_if_nothing_is_declared_again() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    assert!(world.session.has_just_declared(world.now));
    assert!(!world.session.has_just_declared(world.now + MINUTE));
    // Somebody deletes it under its consumer.
    let consumer = world.add_consumer("q");
    world.broker.script = Box::new(|method| match method {
        Method::QueueDeclare(_) => Answer::Silence,
        _ => Answer::Usual,
    });
    let channel = world.consumer_channel(consumer);
    world.broker.cancel_consumer(world.now, channel);
    world.run();
    assert!(!world.session.has_just_declared(world.now));
    world.cut();
    assert!(!world.session.has_just_declared(world.now));
}

#[test]
fn producers_leave_half_of_the_channels_to_consumers_where_both_are_on_one_connection() {
    for makes_calls in [true, false] {
        let mut world = World::new(Settings {
            makes_calls,
            ..settings()
        });
        world.limits.channel_max = 10;
        world.pass_until_ready();
        let producers: Vec<_> = (0..30).map(|_| world.add_producer()).collect();
        let mut channels: Vec<_> = (producers.iter())
            .map(|producer| world.producer_channel(*producer))
            .collect();
        channels.sort_unstable();
        channels.dedup();
        assert_eq!(channels.len(), if makes_calls { 5 } else { 10 });
        for producer in &producers {
            world.publish(*producer, "a");
        }
        assert_eq!(world.broker.arrivals.len(), 30);
    }
}
