//! Fewer channels than are wanted.

use snowshoe_codec::{ChannelId, PublisherConfirm};

use super::*;

impl World {
    fn channel_of(&mut self, producer: ProducerKey) -> ChannelId {
        let channel = self.session.producer_channel(producer);
        channel.expect("it has a channel").id()
    }

    fn producers<const N: usize>(&mut self) -> [ProducerKey; N] {
        std::array::from_fn(|_| self.add_producer())
    }

    /// The producers that were told of confirms, with the last number and whether it is for all before it.
    fn confirms(&mut self) -> Vec<(ProducerKey, u64, bool)> {
        let outputs = self.outputs().into_iter();
        let confirm = |output| match output {
            Output::Confirm {
                producer,
                confirm:
                    PublisherConfirm {
                        delivery_tag,
                        multiple,
                        ..
                    },
            } => Some((producer, delivery_tag, multiple)),
            _ => None,
        };
        outputs.filter_map(confirm).collect()
    }

    fn has_failed(&mut self, consumer: ConsumerKey) -> bool {
        let failed = |output: &Output| matches!(output, Output::ConsumerFailed(key, Error::NoFreeChannel) if *key == consumer);
        self.count(failed) == 1
    }

    /// Whether a call succeeds.
    fn can_call(&mut self) -> bool {
        self.outputs();
        self.call(77, declare_queue("another"));
        self.pass(SECOND);
        self.count(|it| matches!(it, Output::Called { result: Ok(_), .. })) == 1
    }

    /// Has the broker end the connection over the channel that is opened next.
    fn refuse_one_channel_more(&mut self) {
        // It is not written yet when the broker says so.
        self.session.handle_timeout(self.now, &mut self.topology);
        let now = self.now;
        self.broker
            .close_over(now, ReplyCode::NOT_ALLOWED, NO_METHOD);
        self.run();
    }
}

// case B1
#[test]
fn producers_have_channels_of_their_own_while_there_are_enough_and_share_them_otherwise() {
    let mut world = World::without_calls(3);
    let producers = world.producers::<7>();
    let channels = producers.map(|it| world.channel_of(it).0);
    assert_eq!(channels, [1, 2, 3, 1, 2, 3, 1]);
    for producer in producers {
        world.publish(producer, "a");
    }
    assert_eq!(world.broker.arrivals.len(), 7);
    world.cut();
    world.pass_until_ready();
    for producer in producers {
        world.publish(producer, "b");
    }
    assert_eq!(world.broker.arrivals.len(), 14);
}

// case B1
#[test]
fn a_single_channel_serves_what_is_declared_again_and_then_all_producers() {
    let mut world = World::with_channels(1);
    world.declare(declare_queue("q"));
    let producers = world.producers::<3>();
    for _ in 0..3 {
        for producer in producers {
            world.publish(producer, "a");
        }
        assert_eq!(world.broker.arrivals.len(), 3);
        world.broker.arrivals.clear();
        world.requests();
        world.cut();
        world.pass_until_ready();
        assert_eq!(world.gists()[0], "queue.declare q");
    }
}

#[test]
fn confirms_on_a_shared_channel_go_to_each_producer_under_its_own_number() {
    let mut world = World::without_calls(1);
    let [first, second] = world.producers();
    let channel = world.channel_of(first);
    for producer in [first, first, second, first, second] {
        world.publish(producer, "a");
    }
    world.outputs();
    world.broker.ack(world.now, channel, 3, true);
    world.broker.ack(world.now, channel, 5, false);
    world.broker.nack(world.now, channel, 4, false);
    world.run();
    let expected = [
        (first, 2, true),
        (second, 1, true),
        (second, 2, false),
        (first, 3, false),
    ];
    assert_eq!(world.confirms(), expected);
}

#[test]
fn a_channel_without_confirms_begins_them_for_the_first_that_shares_it_and_wants_them() {
    let mut world = World::without_calls(1);
    let forgetful = world.session.add_producer(world.now, false);
    world.run();
    world.publish(forgetful, "before");
    let confirming = world.add_producer();
    assert_eq!(world.request_names(), ["confirm.select"]);
    world.publish(forgetful, "between");
    world.publish(confirming, "a");
    world.outputs();
    let channel = world.channel_of(confirming);
    world.broker.ack(world.now, channel, 2, true);
    world.run();
    assert_eq!(world.confirms(), [(confirming, 1, true)]);
    assert!(world.session.is_ready());
    world.cut();
    world.pass_until_ready();
    world.publish(confirming, "b");
}

#[test]
fn one_without_confirms_that_joins_before_the_broker_has_answered_holds_up_no_recovery() {
    for confirms in [[true, false], [false, false], [false, true]] {
        let mut world = World::without_calls(1);
        for confirms in confirms {
            world.session.add_producer(world.now, confirms);
        }
        world.run();
        assert!(world.session.is_ready());
        world.cut();
        world.pass_until_ready();
    }
}

#[test]
fn a_shared_channel_that_is_closed_over_a_publish_is_told_to_all_that_share_it() {
    let mut world = World::without_calls(1);
    let [first, second] = world.producers();
    world.outputs();
    world.publish(second, "poison");
    let outputs = world.outputs();
    assert!(matches!(
        &outputs[..],
        [
            Output::ProducersRejected {
                producers,
                has_untold: false,
                ..
            },
            Output::ProducerOnline(_),
            Output::ProducerOnline(_),
        ] if *producers == [second, first]
    ));
    for producer in [first, second] {
        world.publish(producer, "good");
    }
    assert_eq!(world.broker.arrivals.len(), 2);
}

#[test]
fn a_message_that_is_returned_on_a_shared_channel_is_for_one_of_those_who_wrote_there() {
    let mut world = World::without_calls(1);
    let [first, second, third] = world.producers();
    for producer in [second, first] {
        world.publish(producer, "a");
    }
    world.outputs();
    let channel = world.channel_of(first);
    world.broker.return_message(channel, "q", "a");
    world.run();
    assert!(matches!(
        &world.outputs()[..],
        [Output::ReturnedToOneOf { producers, .. }] if *producers == [second, first, third]
    ));
}

#[test]
fn a_shared_channel_is_closed_with_the_last_that_uses_it() {
    let mut world = World::without_calls(1);
    let [first, second] = world.producers();
    let channel = world.channel_of(first);
    world.session.remove_producer(world.now, first);
    world.run();
    assert!(world.broker.is_open(channel));
    world.publish(second, "a");
    world.session.remove_producer(world.now, second);
    world.run();
    assert!(!world.broker.is_open(channel));
}

// case B1
#[test]
fn with_two_channels_one_consumer_and_all_calls_work_and_a_second_consumer_is_refused() {
    let mut world = World::with_channels(2);
    world.declare(declare_queue("q"));
    let first = world.add_consumer("q");
    assert!(world.is_consuming(first));
    let second = world.add_consumer("q");
    assert!(world.has_failed(second));
    assert!(world.can_call());
    world.cut();
    world.pass_until_ready();
    assert!(world.is_consuming(first));
    for _ in 0..3 {
        assert!(world.can_call());
    }
    // What is declared again, because it is gone, and calls use one channel in turn.
    let (now, channel) = (world.now, world.consumer_channel(first));
    world.requests();
    world.broker.cancel_consumer(now, channel);
    world.run();
    assert!(world.can_call());
    world.pass(SECOND);
    assert!(world.is_consuming(first));
    let gists = world.gists();
    assert!(gists.contains(&"queue.declare q".to_owned()), "{gists:?}");
}

#[test]
fn a_channel_that_a_user_drives_is_refused_where_it_is_the_last_for_calls() {
    let mut world = World::with_channels(1);
    let channel = world.session.add_channel(world.now);
    world.run();
    let refused = |it: &Output| matches!(it, Output::ChannelClosed(key, Error::NoFreeChannel) if *key == channel);
    assert_eq!(world.count(refused), 1);
    assert!(world.can_call());
}

// case B1
#[test]
fn a_consumer_for_which_there_is_no_channel_at_a_reconnect_is_told_and_gets_the_next() {
    let mut world = World::ready();
    let consumers = ["a", "b", "c"].map(|it| world.add_consumer(it));
    world.limits.channel_max = 2;
    world.cut();
    world.pass(MINUTE);
    assert!(world.session.is_ready());
    let outputs = world.outputs();
    let delayed = |it: &&Output| {
        matches!(
            it,
            Output::Delayed {
                reason: Error::NoFreeChannel,
                ..
            }
        )
    };
    assert_eq!(outputs.iter().filter(delayed).count(), 1);
    assert_eq!(
        consumers.map(|it| world.is_consuming(it)),
        [true, true, false]
    );
    world.session.remove_consumer(world.now, consumers[0]);
    world.run();
    assert!(world.is_consuming(consumers[2]));
    assert_eq!(world.count(|it| matches!(it, Output::Restored { .. })), 1);
}

#[test]
fn a_consumer_that_found_all_channels_busy_gets_the_first_that_is_not() {
    for frees_calls in [true, false] {
        let mut world = World::with_channels(2);
        world.declare(declare_queue("q"));
        let consumer = world.add_consumer("q");
        let (now, channel) = (world.now, world.consumer_channel(consumer));
        // A call takes its time, and so does the queue, which was deleted by somebody else.
        world.broker.script = Box::new(|method| match method {
            Method::QueueDeclare(_) => Answer::Silence,
            _ => Answer::Usual,
        });
        world.call(1, declare_queue("slow"));
        world.broker.cancel_consumer(now, channel);
        world.pass(SECOND);
        assert!(!world.is_consuming(consumer));
        world.broker.script = Box::new(|_| Answer::Usual);
        let (busy, queue) = match frees_calls {
            true => (ChannelId(1), "slow"),
            false => (channel, "q"),
        };
        let ok = queue::DeclareOk {
            queue: name(queue),
            message_count: 0,
            consumer_count: 0,
        };
        world.broker.send(world.now, busy, ok);
        world.pass(SECOND);
        assert!(world.is_consuming(consumer), "{queue}");
    }
}

// case B8
#[test]
fn a_limit_on_channels_that_was_not_negotiated_is_learnt_and_kept_to() {
    let mut world = World::ready();
    let running = ["a", "b", "c"].map(|it| world.add_consumer(it));
    let fourth = world.session.add_consumer(world.now, spec("d"));
    world.refuse_one_channel_more();
    world.pass(SECOND);
    assert!(running.iter().all(|it| world.is_consuming(*it)));
    let outputs = world.outputs();
    let failed = |it: &&Output| matches!(it, Output::ConsumerFailed(key, Error::NoFreeChannel) if *key == fourth);
    assert_eq!(outputs.iter().filter(failed).count(), 1);
    let lost = |it: &&Output| matches!(it, Output::Lost { .. });
    assert_eq!(outputs.iter().filter(lost).count(), 1);
    // The next is refused without any cost.
    let fifth = world.add_consumer("e");
    assert!(world.has_failed(fifth));
    assert!(running.iter().all(|it| world.is_consuming(*it)));
    // After a while it is found out whether it is still so.
    world.pass(MINUTE);
    let sixth = world.add_consumer("f");
    assert!(world.is_consuming(sixth));
}

// case B8
#[test]
fn a_limit_that_is_met_again_is_kept_to_for_twice_as_long() {
    let mut world = World::ready();
    let mut lasted = Vec::new();
    for round in 0..8 {
        world.outputs();
        let consumer = world.session.add_consumer(world.now, spec("q"));
        world.refuse_one_channel_more();
        world.pass_until_ready();
        assert!(world.has_failed(consumer), "round {round}");
        let mut minutes = 0;
        while !{
            world.pass(MINUTE);
            minutes += 1;
            let next = world.add_consumer("q");
            let is_let_in = world.is_consuming(next);
            world.session.remove_consumer(world.now, next);
            world.run();
            is_let_in
        } {}
        lasted.push(minutes);
    }
    assert_eq!(lasted, [1, 2, 4, 8, 16, 32, 60, 60]);
}

// case B8
#[test]
fn channels_that_a_broker_still_counts_are_no_lower_limit() {
    let mut world = World::ready();
    let running = ["a", "b", "c"].map(|it| world.add_consumer(it));
    let fourth = world.session.add_consumer(world.now, spec("d"));
    world.refuse_one_channel_more();
    assert!(!world.session.is_ready(), "the connection is gone");
    // Those of the connection that it has closed.
    world.broker.most_channels = 0;
    world.pass(SECOND);
    assert!(!running.iter().any(|it| world.is_consuming(*it)));
    world.broker.most_channels = 3;
    world.pass(5 * SECOND);
    assert!(world.has_failed(fourth));
    assert!(running.iter().all(|it| world.is_consuming(*it)));
    // What it told first is kept to.
    world.outputs();
    let fifth = world.add_consumer("e");
    assert!(world.has_failed(fifth));
    assert_eq!(world.count(|it| matches!(it, Output::Lost { .. })), 0);
}

// case B8
#[test]
fn a_limit_that_is_lowered_costs_two_connections_before_it_is_kept_to() {
    let mut world = World::ready();
    let consumers = ["a", "b", "c"].map(|it| world.add_consumer(it));
    world.session.add_consumer(world.now, spec("d"));
    world.refuse_one_channel_more();
    world.outputs();
    world.broker.most_channels = 2;
    world.pass(30 * SECOND);
    assert_eq!(world.count(|it| matches!(it, Output::Lost { .. })), 2);
    let consuming = consumers.map(|it| world.is_consuming(it));
    assert_eq!(consuming, [true, true, false]);
    world.pass(MINUTE);
    assert_eq!(world.count(|it| matches!(it, Output::Lost { .. })), 0);
}

// case B8
#[test]
fn a_consumer_that_a_limit_left_without_a_channel_comes_back_when_the_limit_is_lifted() {
    let mut world = World::ready();
    let consumers = ["a", "b", "c"].map(|it| world.add_consumer(it));
    world.broker.most_channels = 2;
    world.cut();
    world.pass(SECOND);
    world.broker.most_channels = usize::MAX;
    world.pass(2 * MINUTE);
    assert!(consumers.iter().all(|it| world.is_consuming(*it)));
}

// case B8
#[test]
fn a_producer_that_gets_no_channel_at_all_is_told_and_tries_again_in_a_minute() {
    let mut world = World::without_calls(10);
    let producer = world.session.add_producer(world.now, true);
    world.refuse_one_channel_more();
    world.pass(SECOND);
    assert!(world.session.is_ready());
    let delayed = |it: &Output| matches!(it, Output::ProducerDelayed(key, Error::NoFreeChannel) if *key == producer);
    assert_eq!(world.count(delayed), 1);
    world.pass(MINUTE);
    world.publish(producer, "a");
    assert_eq!(
        world.count(|it| matches!(it, Output::ProducerRestored(_))),
        1
    );
}

// case B8
#[test]
fn a_connection_that_gets_no_channel_for_what_is_declared_again_ends_with_the_reason() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    world.broker.most_channels = 0;
    world.cut();
    world.outputs();
    world.pass(30 * SECOND);
    let told = |it: &Output| {
        matches!(
            it,
            Output::Lost {
                cause: ConnectionErrorReason::NoFreeChannel,
                ..
            }
        )
    };
    assert!(world.count(told) > 1);
    world.broker.most_channels = usize::MAX;
    world.pass(2 * MINUTE);
    assert!(world.session.is_ready());
}
