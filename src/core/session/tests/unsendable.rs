//! What does not fit into a frame.

use snowshoe_codec::SendError;

use super::*;
use crate::core::Flow;

/// A consumer whose consume has so many bytes of arguments, or a few more.
fn large(bytes: usize) -> ConsumerSpec {
    let mut arguments = FieldTable::new();
    let text = "x".repeat(bytes);
    arguments.set("x-note", text.as_str()).unwrap();
    ConsumerSpec {
        arguments,
        ..spec("q")
    }
}

fn is_too_large(error: &Error) -> bool {
    matches!(error, Error::Send(SendError::FrameTooLarge { .. }))
}

#[test]
fn a_consumer_whose_arguments_do_not_fit_fails_with_the_reason() {
    let mut world = World::ready();
    let consumer = world.session.add_consumer(world.now, large(200_000));
    world.run();
    let failed = |it: &Output| matches!(it, Output::ConsumerFailed(key, error) if *key == consumer && is_too_large(error));
    let outputs = world.outputs();
    assert_eq!(outputs.iter().filter(|it| failed(it)).count(), 1);
    assert!(
        !outputs
            .iter()
            .any(|it| matches!(it, Output::NotRecovered { .. }))
    );
    assert!(world.session.consumer_channel(consumer).is_none());
    world.session.remove_consumer(world.now, consumer);
    // The connection goes on.
    world.add_consumer("q");
    assert!(world.session.is_ready());
}

// fault 38
#[test]
fn what_does_not_fit_into_the_smaller_frames_of_another_broker_is_told_and_ends() {
    let mut world = World::ready();
    let large_queue = queue::Declare {
        arguments: large(5_000).arguments,
        ..declare_queue("large")
    };
    world.declare(large_queue);
    world.declare(declare_queue("q"));
    let consumer = world.session.add_consumer(world.now, large(5_000));
    world.run();
    assert!(world.is_consuming(consumer));
    let other = world.add_consumer("q");
    world.cut();
    world.outputs();
    world.limits.frame_max = 4_096;
    world.pass(2 * SECOND);
    let outputs = world.outputs();
    let told: Vec<_> = outputs
        .iter()
        .filter_map(|it| match it {
            Output::NotRecovered { entity, reason } if is_too_large(reason) => {
                Some(entity.to_string())
            }
            Output::ConsumerFailed(key, reason) if is_too_large(reason) => {
                assert_eq!(*key, consumer);
                Some("failed".to_owned())
            }
            Output::Ready => Some("ready".to_owned()),
            _ => None,
        })
        .collect();
    let expected = [
        "queue \"large\"",
        "failed",
        "consumer \"consumer of q\" of queue \"q\"",
        "ready",
    ];
    assert_eq!(told, expected);
    assert!(world.is_consuming(other));
}

// The narrow consumer has a longer tag and a priority.
#[test]
fn a_consumer_whose_place_no_other_can_take_for_want_of_room_is_left_there() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    world.cut();
    world.limits.frame_max = 4_096;
    world.pass_until_ready();
    let mut bytes = 4_096;
    let consumer = loop {
        let consumer = world.session.add_consumer(world.now, large(bytes));
        world.run();
        if !world.session.consumers[consumer].is_ended() {
            break consumer;
        }
        bytes -= 1;
    };
    let manner = |flow| world.session.manner(consumer, flow, &world.topology);
    assert_eq!(manner(Flow::Narrow), None);
    let other = world.session.add_consumer(world.now, large(3_000));
    let manner = world.session.manner(other, Flow::Narrow, &world.topology);
    assert_eq!(manner, Some(Manner::CancelFirst));
}
