//! Consumers, and how they come back.

use snowshoe_codec::method::channel;
use snowshoe_codec::{ChannelId, FieldTable, FieldValue};

use super::*;
use crate::core::Flow;
use crate::core::testing::frame;
use crate::stream::StreamOffset;

#[derive(Debug, PartialEq)]
enum Story {
    Online(ShortString),
    Offline,
    Cancelled,
    Failed,
    Draining,
    Delivery(u64),
}

impl World {
    /// What became of consumers since it was last asked.
    fn consumer_story(&mut self) -> Vec<Story> {
        let outputs = self.outputs().into_iter();
        outputs
            .filter_map(|output| {
                Some(match output {
                    Output::ConsumerOnline { queue, .. } => Story::Online(queue),
                    Output::ConsumerOffline(_) => Story::Offline,
                    Output::ConsumerCancelled(_) => Story::Cancelled,
                    Output::ConsumerFailed(..) => Story::Failed,
                    Output::ConsumerDraining(_) => Story::Draining,
                    Output::Delivery { delivery, .. } => Story::Delivery(delivery.delivery_tag),
                    _ => return None,
                })
            })
            .collect()
    }

    /// The broker says once more that a channel is closed.
    fn repeat_close(&mut self, channel: ChannelId) {
        let close = channel::Close {
            reply_code: ReplyCode::PRECONDITION_FAILED,
            ..Default::default()
        };
        let mut close = frame(channel, close);
        _ = (self.session).receive(self.now, &mut close, |_, _| unreachable!("it is a close"));
        self.run();
    }

    fn broker_cancels(&mut self, consumer: ConsumerKey) {
        let channel = self.consumer_channel(consumer);
        self.broker.cancel_consumer(self.now, channel);
        self.run();
    }
}

fn online() -> Story {
    Story::Online(name("q"))
}

fn refuse_consume(code: ReplyCode) -> Box<dyn FnMut(&Method) -> Answer> {
    Box::new(move |method| match method {
        Method::BasicConsume(_) => Answer::Refuse(code, "by script"),
        _ => Answer::Usual,
    })
}

#[test]
fn a_consumer_receives_what_is_delivered() {
    let mut world = World::ready();
    let consumer = world.add_consumer("q");
    let channel = world.consumer_channel(consumer);
    world.broker.deliver(channel, 1, "a");
    world.broker.deliver(channel, 2, "b");
    world.run();
    let story = world.consumer_story();
    assert_eq!(story, [online(), Story::Delivery(1), Story::Delivery(2)]);
}

// faults 1 and 5
#[test]
fn every_channel_of_a_consumer_is_an_epoch_of_its_own() {
    let mut world = World::ready();
    let consumer = world.add_consumer("q");
    world.cut();
    world.pass_until_ready();
    world.close_consumer_channel(consumer, ReplyCode::PRECONDITION_FAILED);
    world.pass(SECOND);
    let mut epochs = Vec::new();
    let mut is_online = false;
    for output in world.outputs() {
        match output {
            Output::ConsumerOnline { epoch, .. } => {
                assert!(!std::mem::replace(&mut is_online, true));
                epochs.push(epoch);
            }
            Output::ConsumerOffline(_) => assert!(std::mem::replace(&mut is_online, false)),
            _ => {}
        }
    }
    assert_eq!(epochs.len(), 3);
    assert!(epochs.is_sorted_by(|one, next| one < next));
}

#[test]
fn a_consumer_that_cannot_be_started_fails() {
    let mut world = World::ready();
    world.broker.script = refuse_consume(ReplyCode::NOT_FOUND);
    let consumer = world.add_consumer("q");
    let outputs = world.outputs();
    let failed = outputs.iter().find_map(|output| match output {
        Output::ConsumerFailed(key, error) => Some((*key, error.clone())),
        _ => None,
    });
    assert!(matches!(failed, Some((key, Error::Refused(_))) if key == consumer));
    world.requests();
    world.pass(MINUTE);
    assert!(world.requests().is_empty(), "it is not tried again");
}

// faults 45 and 54
#[test]
fn a_consumer_that_worked_once_is_tried_until_it_works_again() {
    let mut world = World::ready();
    let consumer = world.add_consumer("q");
    world.cut();
    world.broker.script = refuse_consume(ReplyCode::ACCESS_REFUSED);
    world.pass_until_ready();
    world.requests();
    world.pass(10 * MINUTE);
    let tries = world.request_names();
    let tries = tries.iter().filter(|it| **it == "basic.consume").count();
    assert!((10..60).contains(&tries), "{tries}");
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass(MINUTE);
    assert!(world.is_consuming(consumer));
}

// fault 4
#[test]
fn a_consumer_timeout_costs_a_new_channel_and_nothing_else() {
    let mut world = World::ready();
    let consumer = world.add_consumer("q");
    let channel = world.consumer_channel(consumer);
    world.broker.deliver(channel, 1, "slow work");
    world.run();
    world.outputs();
    world.close_consumer_channel(consumer, ReplyCode::PRECONDITION_FAILED);
    world.repeat_close(channel);
    assert_eq!(world.consumer_story(), [Story::Offline]);
    world.pass(SECOND);
    assert_eq!(world.consumer_story(), [online()]);
    assert!(world.session.is_ready());
    assert_eq!(world.count(|it| matches!(it, Output::Lost { .. })), 0);
}

// fault 52
#[test]
fn a_cancelled_consumer_declares_its_queue_if_it_is_ours_and_subscribes_again() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    world.declare(bind("x", "q"));
    let consumer = world.add_consumer("q");
    world.consumer_story();
    world.requests();
    world.broker_cancels(consumer);
    assert_eq!(world.consumer_story(), [Story::Offline, Story::Cancelled]);
    world.pass(SECOND);
    assert_eq!(world.consumer_story(), [online()]);
    let requests = world.gists();
    assert_eq!(
        requests,
        [
            "queue.declare q",
            "queue.bind q to x",
            "basic.qos",
            "basic.consume q"
        ]
    );
}

// fault 55
#[test]
fn a_cancelled_consumer_does_not_declare_a_queue_that_the_user_did_not() {
    let mut world = World::ready();
    let consumer = world.add_consumer("q");
    world.requests();
    world.broker_cancels(consumer);
    world.pass(SECOND);
    assert_eq!(world.gists(), ["basic.qos", "basic.consume q"]);
}

// fault 48
#[test]
fn a_queue_that_the_user_is_deleting_does_not_rise_with_its_consumer() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    let consumer = world.add_consumer("q");
    world.requests();
    // The broker cancels the consumers of a queue before it answers who deletes it.
    world.broker.script = Box::new(|method| match method {
        Method::QueueDelete(_) => Answer::Silence,
        _ => Answer::Usual,
    });
    let delete = queue::Delete {
        queue: name("q"),
        ..Default::default()
    };
    world.call(1, delete);
    let (channel, _) = *world.broker.requests.last().unwrap();
    world.broker_cancels(consumer);
    let now = world.now;
    world.broker.send(now, channel, queue::DeleteOk::default());
    world.pass(SECOND);
    assert!(!world.gists().contains(&"queue.declare q".to_owned()));
}

// fault 47
#[test]
fn a_queue_that_vanished_before_its_consumer_was_back_is_declared_again() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    world.declare(bind("x", "q"));
    let consumer = world.add_consumer("q");
    world.cut();
    world.requests();
    let mut is_gone = true;
    world.broker.script = Box::new(move |method| match method {
        Method::BasicConsume(_) if std::mem::take(&mut is_gone) => {
            Answer::Refuse(ReplyCode::NOT_FOUND, "no queue")
        }
        _ => Answer::Usual,
    });
    world.pass_until_ready();
    world.pass(SECOND);
    let recovery = [
        "queue.declare q",
        "queue.bind q to x",
        "basic.qos",
        "basic.consume q",
    ];
    assert_eq!(world.gists(), [recovery, recovery].concat());
    assert!(world.is_consuming(consumer));
}

#[test]
fn a_consumer_that_the_user_cancels_can_settle_what_it_has() {
    let mut world = World::ready();
    let consumer = world.add_consumer("q");
    let channel = world.consumer_channel(consumer);
    world.cancel(consumer);
    assert_eq!(world.consumer_story(), [online(), Story::Draining]);
    assert_eq!(world.consumer_channel(consumer), channel);
    world.session.remove_consumer(world.now, consumer);
    world.run();
    assert!(!world.broker.is_open(channel));
    world.requests();
    world.cut();
    world.pass_until_ready();
    assert!(world.requests().is_empty());
}

#[test]
fn a_consumer_that_is_offline_is_cancelled_at_once() {
    let mut world = World::ready();
    let consumer = world.add_consumer("q");
    world.cut();
    world.consumer_story();
    world.cancel(consumer);
    assert_eq!(world.consumer_story(), [Story::Draining]);
    world.requests();
    world.pass_until_ready();
    assert!(world.requests().is_empty());
}

#[test]
fn a_consumer_that_the_user_and_the_broker_cancel_at_once_is_not_tried_again() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    let consumer = world.add_consumer("q");
    world.consumer_story();
    let channel = world.consumer_channel(consumer);
    world.broker.cancel_consumer(world.now, channel);
    world
        .session
        .cancel_consumer(world.now, consumer, Leaving::Cancelled, &mut world.topology);
    world.requests();
    world.pass(MINUTE);
    assert_eq!(world.consumer_story(), [Story::Offline, Story::Draining]);
    assert!(!world.gists().contains(&"queue.declare q".to_owned()));
}

#[test]
fn a_new_consumer_for_which_no_channel_is_free_fails() {
    let mut world = World::with_channels(1);
    world.add_consumer("q");
    world.outputs();
    let consumer = world.add_consumer("q");
    let outputs = world.outputs();
    assert!(matches!(
        &outputs[..],
        [Output::ConsumerFailed(failed, Error::NoFreeChannel)] if *failed == consumer
    ));
}

// fault 54
#[test]
fn a_consumer_that_comes_back_waits_for_a_channel_to_be_free() {
    let mut world = World::ready();
    let [first, second] = [world.add_consumer("q"), world.add_consumer("q")];
    // The broker allows fewer channels now.
    world.limits.channel_max = 1;
    world.cut();
    world.pass_until_ready();
    assert!(world.is_consuming(first) && !world.is_consuming(second));
    world.session.remove_consumer(world.now, first);
    world.run();
    assert!(world.is_consuming(second));
}

#[test]
fn what_is_delivered_before_a_consumer_is_confirmed_is_nobodys_for_its_tag_means_nothing_later() {
    let mut world = World::ready();
    world.broker.script = Box::new(|method| match method {
        Method::BasicConsume(_) => Answer::Silence,
        _ => Answer::Usual,
    });
    let consumer = world.add_consumer("q");
    let channel = world.consumer_channel(consumer);
    let mut early = world.broker.connection().channel(channel).unwrap();
    let deliver = basic::Deliver {
        delivery_tag: 1,
        ..Default::default()
    };
    let (properties, body) = (Default::default(), Default::default());
    early.send_content(deliver, &properties, &body).unwrap();
    world.run();
    assert_eq!(world.consumer_story(), []);
}

/// What stands in the place of a queue.
fn manner(world: &mut World, spec: ConsumerSpec, flow: Flow) -> Option<Manner> {
    let consumer = world.session.add_consumer(world.now, spec);
    world.run();
    world.session.manner(consumer, flow, &world.topology)
}

// case B2
#[test]
fn a_consumer_is_exchanged_in_the_way_that_costs_its_queue_nothing() {
    let wide = Flow::Wide { prefetch: 0 };
    let mut world = World::ready();
    let mut auto_delete = declare_queue("auto-delete");
    auto_delete.auto_delete = true;
    let mut quorum = declare_queue("quorum");
    quorum.arguments.set("x-queue-type", "quorum").unwrap();
    world.declare(declare_queue("ours"));
    world.declare(auto_delete);
    world.declare(quorum);
    let exclusive = |queue| ConsumerSpec {
        exclusive: true,
        ..spec(queue)
    };
    let no_ack = |queue| ConsumerSpec {
        no_ack: true,
        ..spec(queue)
    };
    for (spec, narrow) in [
        (spec("ours"), Some(Manner::CancelFirst)),
        (spec("auto-delete"), Some(Manner::Overlapping)),
        (spec("others"), Some(Manner::Overlapping)),
        (exclusive("ours"), Some(Manner::CancelFirst)),
        (exclusive("auto-delete"), None),
        (exclusive("others"), None),
        (spec("quorum"), Some(Manner::CancelFirst)),
        (no_ack("quorum"), Some(Manner::OnAnother)),
        (no_ack("amq.rabbitmq.reply-to"), None),
    ] {
        let queue = spec.queue.clone();
        let asked = manner(&mut world, spec.clone(), Flow::Narrow);
        assert_eq!(asked, narrow, "{queue}");
        let back = match narrow {
            None | Some(Manner::OnAnother) => Some(Manner::CancelFirst),
            same => same,
        };
        assert_eq!(manner(&mut world, spec, wide), back, "{queue}");
    }
}

// case B2
#[test]
fn an_exchange_that_does_not_fit_into_a_frame_is_not_begun() {
    let mut world = World::ready();
    world.declare(declare_queue("ours"));
    let with_argument_of = |len| {
        let argument = "a".repeat(len);
        let arguments = FieldTable::new().with("a", &*argument);
        ConsumerSpec {
            arguments: arguments.expect("it is short enough"),
            ..spec("ours")
        }
    };
    let frame = 131_072;
    let whole = manner(&mut world, with_argument_of(frame), Flow::Narrow);
    assert_eq!(whole, None);
    let begun = |len| manner(&mut world, with_argument_of(len), Flow::Narrow).is_some();
    let fits: Vec<_> = (frame - 150..frame).map(begun).collect();
    // The names, the priority and what is around them.
    assert!(fits[0] && fits.is_sorted_by(|one, next| one >= next));
    let longest = frame - 150 + fits.iter().filter(|it| **it).count() - 1;
    let around = frame - longest;
    let names = "ours".len() + "paused-consumer of ours".len() + "x-priority".len() + "a".len();
    // Frame and method; ticket, lengths of the names, bits, length of the table; of each argument the
    // length of its name, its type, and its length or value.
    assert_eq!(
        around,
        names + (8 + 4) + (2 + 2 + 1 + 4) + (2 + 4) + (2 + 8)
    );
}

// case B2
#[test]
fn what_goes_back_to_a_queue_has_its_time_between_two_consumers() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    let consumer = world.add_consumer("q");
    world.outputs();
    world.requests();
    let now = world.now;
    (world.session).set_flow(now, consumer, Flow::Narrow, Manner::CancelFirst);
    world.run();
    assert_eq!(world.request_names(), ["basic.qos", "basic.cancel"]);
    let outputs = world.outputs();
    assert!(matches!(outputs[..], [Output::ConsumerVacant(key)] if key == consumer));
    world.session.occupy(now, consumer);
    world.run();
    assert_eq!(world.request_names(), ["basic.consume"]);
    let outputs = world.outputs();
    assert!(matches!(outputs[..], [Output::ConsumerFlows(key, Flow::Narrow)] if key == consumer));
}

// case B2
#[test]
fn a_consumer_that_is_cancelled_in_the_middle_of_an_exchange_is_so_at_its_end() {
    for manner in [Manner::Overlapping, Manner::CancelFirst, Manner::OnAnother] {
        let mut world = World::ready();
        let consumer = world.add_consumer("q");
        world.consumer_story();
        world.requests();
        let now = world.now;
        (world.session).set_flow(now, consumer, Flow::Narrow, manner);
        (world.session).cancel_consumer(now, consumer, Leaving::Cancelled, &mut world.topology);
        world.run();
        world.session.occupy(now, consumer);
        world.run();
        assert_eq!(world.consumer_story(), [Story::Draining], "{manner:?}");
        let cancels = world.request_names();
        let cancels = cancels.iter().filter(|it| **it == "basic.cancel").count();
        let both = if manner == Manner::OnAnother { 1 } else { 2 };
        assert_eq!(cancels, both, "{manner:?}");
        world.cut();
        world.pass_until_ready();
        assert!(world.requests().is_empty(), "it does not come back");
    }
}

// case B2
#[test]
fn a_consumer_whose_exchange_is_refused_is_tried_until_it_is_back() {
    let mut world = World::ready();
    let consumer = world.add_consumer("q");
    world.broker.script = refuse_consume(ReplyCode::ACCESS_REFUSED);
    let now = world.now;
    (world.session).set_flow(now, consumer, Flow::Narrow, Manner::Overlapping);
    world.run();
    assert_eq!(world.consumer_story(), [online(), Story::Offline]);
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass(MINUTE);
    assert!(world.is_consuming(consumer));
    assert_eq!(world.consumer_story(), [online()]);
}

#[test]
fn a_single_active_consumer_goes_without_a_cancel_and_with_its_channel() {
    for is_exchanging in [false, true] {
        let mut world = World::ready();
        let consumer = world.add_consumer("q");
        world.consumer_story();
        if is_exchanging {
            (world.session).set_flow(world.now, consumer, Flow::Narrow, Manner::Overlapping);
        }
        world.requests();
        for _ in 0..2 {
            (world.session).cancel_consumer(
                world.now,
                consumer,
                Leaving::WithItsChannel,
                &mut world.topology,
            );
        }
        world.run();
        let cancels = |gists: &[String]| gists.iter().filter(|it| it.contains("cancel")).count();
        // That of an exchange is another's.
        assert_eq!(cancels(&world.gists()), usize::from(is_exchanging));
        let story = world.consumer_story();
        let drainings = story.iter().filter(|it| **it == Story::Draining).count();
        assert_eq!(drainings, 1, "{story:?}");
        // What is at hand is settled now.
        world.session.remove_consumer(world.now, consumer);
        assert_eq!(cancels(&world.gists()), 0);
    }
}

// LavinMQ takes no interval.
#[test]
fn how_long_ago_a_consumer_begins_in_a_stream_is_told_as_the_time_of_day_where_that_is_wanted() {
    let minute_ago = StreamOffset::Interval(MINUTE);
    // The time of day is one o'clock.
    let hour = Duration::from_secs(3_600);
    for (wants_time_of_day, begin, expected) in [
        (false, minute_ago, FieldValue::LongString(b"60s")),
        (true, minute_ago, FieldValue::Timestamp(3_540)),
        (
            true,
            StreamOffset::Interval(2 * hour),
            FieldValue::Timestamp(0),
        ),
        (true, StreamOffset::First, FieldValue::LongString(b"first")),
    ] {
        let mut world = World::ready();
        world.session.dialect.wants_time_of_day = wants_time_of_day;
        world.begin = Some(begin);
        world.add_consumer("q");
        let consumes = (world.requests().into_iter()).filter_map(|method| match method {
            Method::BasicConsume(consume) => Some(consume.arguments),
            _ => None,
        });
        let expected = FieldTable::new().with("x-stream-offset", expected);
        assert_eq!(consumes.collect::<Vec<_>>(), [expected.unwrap()]);
    }
}

#[test]
fn where_a_consumer_begins_in_a_stream_can_be_said_each_time_before_it_is_asked_for() {
    let mut world = World::ready();
    world.requests();
    world.begin = Some(StreamOffset::Offset(5));
    let consumer = world.add_consumer("q");
    for offset in 5..8 {
        let consumed: Vec<_> = (world.requests().into_iter())
            .filter_map(|method| match method {
                Method::BasicConsume(consume) => Some(consume.arguments),
                _ => None,
            })
            .collect();
        let expected = FieldTable::new().with("x-stream-offset", offset).unwrap();
        assert_eq!(consumed, [expected]);
        world.close_consumer_channel(consumer, ReplyCode::INTERNAL_ERROR);
        world.begin = Some(StreamOffset::Offset(offset + 1));
        world.pass(Duration::from_secs(10));
    }
}
