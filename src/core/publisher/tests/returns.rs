//! Which message a return is about.

use std::collections::VecDeque;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::core::scaled;

#[test]
fn a_return_goes_by_the_properties_where_bodies_are_the_same() {
    let mut world = World::new();
    let positions = ["1", "2"].map(|id| {
        let properties = Properties::builder().message_id(id).build().unwrap();
        let message = Message::from("same").with_properties(properties);
        world.publisher.push(message, true).unwrap()
    });
    world.transmit();
    let properties = Properties::builder().message_id("2").build().unwrap();
    let broker = &mut world.line.broker;
    broker.return_with(world.channel, "q", &properties, "same");
    world.run();
    world.ack(2, true);
    let [first, second] = world.outcomes(positions);
    assert_eq!(first, Ok(()));
    assert!(is_returned(&second) && !possibly_stored(&second));
}

#[test]
fn properties_that_the_broker_has_encoded_anew_are_the_same_all_the_same() {
    let mut world = World::new();
    let with = |id, hops: i64| {
        let properties = Properties::builder().message_id(id).header("hops", hops);
        properties.build().unwrap()
    };
    let positions = ["1", "2"].map(|id| {
        let message = Message::from("same").with_properties(with(id, 0));
        world.publisher.push(message, true).unwrap()
    });
    world.transmit();
    let broker = &mut world.line.broker;
    broker.return_with(world.channel, "q", &with("2", 1), "same");
    world.run();
    world.ack(2, true);
    let [first, second] = world.outcomes(positions);
    assert_eq!(first, Ok(()));
    assert!(is_returned(&second) && !possibly_stored(&second));
}

// Seen on RabbitMQ 4.0.
#[test]
fn headers_that_come_back_sorted_are_the_same_all_the_same() {
    let mut world = World::new();
    let with = |headers: [(&str, i64); 2]| {
        let [(one, first), (other, second)] = headers;
        let properties = Properties::builder()
            .header(one, first)
            .header(other, second);
        properties.build().unwrap()
    };
    let positions = [1, 2].map(|id| {
        let message = Message::from("same").with_properties(with([("id", id), ("a", 0)]));
        world.publisher.push(message, true).unwrap()
    });
    world.transmit();
    let sorted = with([("a", 0), ("id", 2)]);
    let broker = &mut world.line.broker;
    broker.return_with(world.channel, "q", &sorted, "same");
    world.run();
    world.ack(2, true);
    let [first, second] = world.outcomes(positions);
    assert_eq!(first, Ok(()));
    assert!(is_returned(&second) && !possibly_stored(&second));
}

#[test]
fn a_return_of_a_message_that_is_gone_is_news_and_nothing_more() {
    let mut world = World::new();
    let [a, b] = world.publish_all(["a", "b"]);
    world.transmit();
    world.ack(1, false);
    world.return_message("a");
    world.ack(2, false);
    assert_eq!(world.outcomes([a, b]), [Ok(()), Ok(())]);
    assert_eq!(world.publisher.take_news().rare().returned.len(), 1);
}

// case F4: the first is stored and its ack is late, the second is returned and acked at once.
#[test]
fn of_identical_messages_neither_the_one_that_was_stored_nor_the_one_that_was_not_is_told_wrongly()
{
    let mut world = World::new();
    let positions = world.publish_all(["same", "same"]);
    world.transmit();
    world.return_message("same");
    world.ack(2, false);
    world.ack(1, false);
    for outcome in world.outcomes(positions) {
        assert!(
            is_returned(&outcome) && possibly_stored(&outcome),
            "{outcome:?}"
        );
    }
    let mut news = world.publisher.take_news();
    assert_eq!((news.rare().returned.len(), news.confirmed), (1, 0));
}

// case F4
#[test]
fn where_all_identical_messages_were_returned_each_of_them_was() {
    let mut world = World::new();
    let positions = world.publish_all(["same", "same", "same"]);
    world.transmit();
    for _ in 0..3 {
        world.return_message("same");
    }
    world.ack(3, true);
    for outcome in world.outcomes(positions) {
        assert!(is_returned(&outcome) && !possibly_stored(&outcome));
    }
}

// case F4
#[test]
fn a_return_is_not_about_what_was_written_after_it() {
    let mut world = World::new();
    let [returned] = world.publish_all(["same"]);
    world.transmit();
    world.return_message("same");
    let later = world.publish_all(["same", "same"]);
    world.transmit();
    // Others make it look at what is in flight.
    let other = world.publish("other");
    world.transmit();
    world.return_message("other");
    world.ack(0, true);
    let outcome = world.outcome(returned).unwrap();
    assert!(is_returned(&outcome) && !possibly_stored(&outcome));
    assert_eq!(world.outcomes(later), [Ok(()), Ok(())]);
    assert!(is_returned(&world.outcome(other).unwrap()));
}

// case F4
#[test]
fn what_may_have_been_returned_is_sent_again_when_the_channel_ends() {
    let mut world = World::new();
    let positions = world.publish_all(["same", "same"]);
    world.transmit();
    world.return_message("same");
    world.lose_connection();
    world.reconnect();
    world.arrived();
    world.publish_everything();
    assert_eq!(world.arrived(), ["same", "same"]);
    assert_eq!(world.outcomes(positions), [Ok(()), Ok(())]);
}

// case F4
#[test]
fn a_header_tells_identical_messages_apart() {
    let mut world = World::new();
    world.publisher.address.identifies = Some(17);
    let positions = world.publish_all(["same", "same", "same"]);
    world.transmit();
    let header = |position| {
        let identity = format!("17-{position}");
        let properties = Properties::builder().header(IDENTITY_HEADER, identity.as_str());
        properties.build().unwrap()
    };
    let broker = &mut world.line.broker;
    broker.return_with(world.channel, "q", &header(positions[1]), "same");
    world.run();
    world.ack(2, false);
    world.ack(3, true);
    let [first, second, third] = world.outcomes(positions);
    assert_eq!([first, third], [Ok(()), Ok(())]);
    assert!(is_returned(&second) && !possibly_stored(&second));
}

// case F4
#[test]
fn a_return_that_may_be_another_producers_on_the_same_channel_says_so() {
    let mut world = World::new();
    let [position] = world.publish_all(["same"]);
    world.transmit();
    world.is_shared = true;
    world.return_message("same");
    world.ack(1, false);
    let outcome = world.outcome(position).unwrap();
    assert!(is_returned(&outcome) && possibly_stored(&outcome));
    assert!(world.publisher.take_news().rare().returned.is_empty());
}

#[test]
fn of_several_producers_the_one_that_a_return_is_most_like_is_meant() {
    let mut world = World::new();
    world.publish_all(["same"]);
    world.transmit();
    let broker = &mut world.line.broker;
    broker.return_message(world.channel, "q", "same");
    let id = Properties::builder().message_id("1").build().unwrap();
    broker.return_with(world.channel, "q", &id, "same");
    broker.return_message(world.channel, "q", "another");
    let mut likeness = Vec::new();
    for event in world.line.run() {
        if let Event::Returned { returned, .. } = event {
            likeness.push(world.publisher.likeness(&returned));
        }
    }
    let (all, some) = (Likeness::Properties, Likeness::Content);
    assert_eq!(likeness, [Some(all), Some(some), None]);
    world.publisher.address.exchange = name("elsewhere");
    assert!(all > some);
}

#[test]
fn nothing_is_kept_of_returns_once_all_is_settled() {
    let mut world = World::new();
    world.publish_all(["a", "same", "same", "same"]);
    world.transmit();
    world.return_message("same");
    world.return_message("a");
    world.ack(0, true);
    assert_eq!(world.publisher.ledger.returns.kept(), 0);
}

// Seen on LavinMQ 2.9.1, where a queue that refuses publishes is full.
#[test]
fn a_message_that_is_returned_and_nacked_has_one_outcome_and_is_told_once() {
    let mut world = World::new();
    let positions = world.publish_all(["full", "nacked"]);
    world.transmit();
    world.return_message("full");
    world.nack(1, false);
    world.nack(2, false);
    let [full, other] = world.outcomes(positions);
    assert!(is_returned(&full) && !possibly_stored(&full), "{full:?}");
    assert_eq!(other, nacked());
    let mut news = world.publisher.take_news();
    assert_eq!((news.rare().returned.len(), news.rare().nacked), (1, 1));
}

// case F1
#[test]
fn every_outcome_tells_whether_an_earlier_copy_may_be_at_the_broker() {
    for resent in [false, true] {
        let mut world = World::new();
        let [nacked, returned, poison] = world.publish_all(["nacked", "returned", "poison"]);
        if resent {
            // Whatever the broker made of it is not known.
            world.write(EVERYTHING);
            world.lose_connection();
            world.reconnect();
        }
        world.write(2);
        world.run();
        world.nack(1, false);
        world.write(1);
        world.run();
        world.return_message("returned");
        world.ack(2, false);
        world.publish_everything();
        for outcome in world.outcomes([nacked, returned, poison]) {
            assert_eq!(possibly_stored(&outcome), resent, "{outcome:?}");
            let text = outcome.unwrap_err().to_string();
            assert_eq!(text.contains("the broker may have it"), resent, "{text}");
        }
    }
}

// case F1
#[test]
fn a_message_that_became_unsendable_after_it_was_sent_may_be_at_the_broker() {
    let mut world = World::new();
    let huge = "x".repeat(20_000);
    let properties = Properties::builder().header("huge", huge.as_str());
    let message = Message::from("a").with_properties(properties.build().unwrap());
    let position = world.publisher.push(message, true).unwrap();
    world.transmit();
    world.lose_connection();
    world.reconnect_within(ConnectionLimits {
        frame_max: 4096,
        ..ConnectionLimits::default()
    });
    world.transmit();
    let outcome = world.outcome(position).unwrap();
    assert!(matches!(
        reason(&outcome),
        Some(UnconfirmedReason::Unsendable(_))
    ));
    assert!(possibly_stored(&outcome));
}

// case F1: one of several queues refuses it, and the others have it.
#[test]
fn a_nack_of_what_may_have_gone_to_several_queues_does_not_say_that_none_has_it() {
    let nack = |exchange: &str, properties: Properties| {
        let mut world = World::new();
        world.publisher.address.exchange = name(exchange);
        let message = Message::from("a").with_properties(properties);
        let position = world.publisher.push(message, true).unwrap();
        world.transmit();
        world.nack(1, false);
        possibly_stored(&world.outcome(position).unwrap())
    };
    assert!(!nack("", Properties::default()));
    assert!(nack("amq.topic", Properties::default()));
    let copied = Properties::builder().header("CC", "elsewhere").build();
    assert!(nack("", copied.unwrap()));
}

// case F2
#[test]
fn a_direct_reply_is_never_mandatory() {
    let is_mandatory = |exchange: &str, key: &str, own: Option<&str>| {
        let mut world = World::new();
        world.publisher.address.exchange = name(exchange);
        world.publisher.address.routing_key = name(key);
        let mut message = Message::from("a");
        if let Some(own) = own {
            message = message.with_routing_key(own).unwrap();
        }
        world.publisher.push(message, true).unwrap();
        world.transmit();
        world.line.broker.arrivals[0].mandatory
    };
    let reply = "amq.rabbitmq.reply-to.g1h2.snow";
    assert!(is_mandatory("", "q", None));
    assert!(!is_mandatory("", reply, None));
    assert!(!is_mandatory("", "q", Some(reply)));
    assert!(is_mandatory("", reply, Some("q")));
    assert!(
        is_mandatory("amq.topic", reply, None),
        "a key like any other"
    );
}

#[derive(Clone, Debug)]
enum Step {
    Publish {
        kind: u8,
    },
    /// The broker looks at the next message, and either stores it, or returns it.
    Take {
        returns: bool,
    },
    /// It confirms one of those that it has looked at, or all up to it.
    Confirm {
        nth: usize,
        multiple: bool,
    },
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        3 => (0u8..3).prop_map(|kind| Step::Publish { kind }),
        3 => prop::bool::weighted(0.4).prop_map(|returns| Step::Take { returns }),
        3 => (any::<usize>(), prop::bool::weighted(0.3))
            .prop_map(|(nth, multiple)| Step::Confirm { nth, multiple }),
    ]
}

proptest! {
    // case F4
    #[test]
    fn no_outcome_of_messages_that_are_alike_is_a_lie(steps in vec(step(), 0..scaled(60))) {
        let mut world = World::new();
        // What the broker did with each, by tag from 1.
        let mut was_returned: Vec<bool> = Vec::new();
        let mut waiting = VecDeque::new();
        let mut open = Vec::new();
        let mut published = Vec::new();
        let finish = [Step::Take { returns: false }, Step::Confirm { nth: 0, multiple: true }];
        let steps = steps.into_iter().chain(finish.into_iter().cycle().take(200));
        for step in steps {
            match step {
                Step::Publish { kind } => {
                    let body = format!("kind {kind}");
                    published.push(world.publish(&body));
                    waiting.push_back(body);
                    world.transmit();
                }
                Step::Take { returns } => if let Some(body) = waiting.pop_front() {
                    was_returned.push(returns);
                    open.push(was_returned.len() as u64);
                    if returns {
                        world.return_message(&body);
                    }
                },
                Step::Confirm { nth, multiple } => if !open.is_empty() {
                    let nth = if multiple && nth == 0 { open.len() - 1 } else { nth % open.len() };
                    let tag = open[nth];
                    if multiple {
                        open.drain(..=nth);
                    } else {
                        open.remove(nth);
                    }
                    world.ack(tag, multiple);
                },
            }
        }
        prop_assert_eq!(was_returned.len(), published.len());
        for (position, returned) in published.into_iter().zip(was_returned) {
            let outcome = world.outcome(position).expect("all are confirmed");
            match &outcome {
                Ok(()) => prop_assert!(!returned, "{} is not there", position),
                Err(unconfirmed) => prop_assert!(
                    is_returned(&outcome) && (returned || unconfirmed.possibly_stored),
                    "{} is there: {:?}", position, outcome
                ),
            }
        }
        prop_assert_eq!(world.publisher.ledger.returns.kept(), 0);
    }
}
