//! Messages that the broker closes a channel or the connection over.

use super::*;

// fault 10
#[test]
fn a_single_message_in_flight_is_the_one_that_was_refused() {
    let mut world = World::new();
    let [poison, next] = world.publish_all(["poison", "next"]);
    world.write(1);
    world.run();
    assert!(is_rejected(&world.outcome(poison).unwrap()));
    assert_eq!(world.publisher.take_news().rare().rejected.len(), 1);
    world.publish_everything();
    assert_eq!(world.outcome(next), Some(Ok(())));
}

// fault 9: the first is stored but not confirmed, the third is not looked at.
#[test]
fn the_oldest_of_several_is_not_blamed_for_a_refusal() {
    let mut world = World::new();
    let [a, poison, b] = world.publish_all(["a", "poison", "b"]);
    world.transmit();
    assert_eq!(world.arrived(), ["a"]);
    assert_eq!(world.outcome(a), None);
    assert_eq!(world.outcome(poison), None);
    world.publish_everything();
    // What came before it can be there more than once: the broker took it in each trial.
    assert_eq!(world.arrived(), ["a", "a", "b"]);
    assert_eq!(world.outcomes([a, b]), [Ok(()), Ok(())]);
    assert!(is_rejected(&world.outcome(poison).unwrap()));
}

// fault 10
// case C3
#[test]
fn half_of_the_suspects_are_tried_at_a_time_and_newer_messages_wait_for_the_verdict() {
    let mut world = World::new();
    world.publish_all(["a", "b", "c", "d", "e", "poison", "g", "h"]);
    world.transmit();
    world.publish_all(["newer"]);
    world.arrived();
    let mut trials = Vec::new();
    while !world.publisher.is_empty() {
        world.write(EVERYTHING);
        let written = world.publisher.in_flight();
        world.write(EVERYTHING);
        assert_eq!(world.publisher.in_flight(), written, "it waits");
        world.run();
        trials.push((written, world.arrived().concat()));
        if world.publisher.in_flight() > 0 {
            world.ack(0, true);
        }
    }
    let expected = [(4, "abcd"), (2, "e"), (1, "e"), (1, ""), (3, "ghnewer")];
    assert_eq!(trials, expected.map(|(n, bodies)| (n, bodies.to_owned())));
}

// case C3
#[test]
fn of_n_in_flight_the_culprit_is_found_in_log_n_trials() {
    for n in [1_usize, 2, 3, 7, 8, 100, 1_000, 10_000] {
        for culprit in [0, n / 3, n / 2, n - 1] {
            let limits = Limits {
                messages: n,
                bytes: usize::MAX,
            };
            let mut world = World::with(Settlement::Confirm, Overflow::Refuse, limits);
            for number in 0..n {
                world.publish(if number == culprit { "poison" } else { "good" });
            }
            // The first round shows that there is one; after the last the rest is written.
            let mut trials = 0;
            while !world.publisher.is_empty() {
                world.transmit();
                world.ack(0, true);
                trials += 1;
            }
            assert!(is_rejected(&world.outcome(culprit as u64).unwrap()));
            let log = n.next_power_of_two().ilog2();
            assert!(trials <= log + 3, "{trials} trials for {culprit} of {n}");
        }
    }
}

// fault 10
#[test]
fn each_of_several_poison_messages_is_found() {
    let mut world = World::new();
    let [p1, a, p2, p3, b, p4] =
        world.publish_all(["poison 1", "a", "poison 2", "poison 3", "b", "poison 4"]);
    world.publish_everything();
    assert_eq!(world.arrived().last().unwrap(), "b");
    assert_eq!(world.outcomes([a, b]), [Ok(()), Ok(())]);
    assert!(world.outcomes([p1, p2, p3, p4]).iter().all(is_rejected));
}

// fault 10
#[test]
fn isolation_goes_on_after_a_lost_connection() {
    let mut world = World::new();
    let [a, poison, b] = world.publish_all(["a", "poison", "b"]);
    world.transmit();
    world.write(EVERYTHING);
    assert_eq!(world.publisher.in_flight(), 2);
    world.lose_connection();
    world.reconnect();
    world.write(EVERYTHING);
    assert_eq!(world.publisher.in_flight(), 2);
    world.publish_everything();
    assert_eq!(world.outcomes([a, b]), [Ok(()), Ok(())]);
    assert!(is_rejected(&world.outcome(poison).unwrap()));
}

// fault 10: the broker does not say whose publish it was, so even a single one is only suspected.
#[test]
fn what_is_in_flight_when_the_connection_is_closed_over_a_publish_is_tried_before_anything_newer() {
    let mut world = World::new();
    let [a, b, c] = world.publish_all(["a", "b", "c"]);
    world.write(EVERYTHING);
    world.publisher.suspected();
    world.publish("newer");
    world.reconnect();
    assert!(world.publisher.is_isolating());
    world.transmit();
    assert_eq!(world.arrived(), ["a", "b", "c"]);
    world.ack(0, true);
    assert!(!world.publisher.is_isolating());
    assert_eq!(world.outcomes([a, b, c]), [Ok(()), Ok(()), Ok(())]);
    world.transmit();
    assert_eq!(world.arrived(), ["newer"]);
}

#[test]
fn suspects_of_a_producer_that_is_suspected_alone_are_tried_in_halves() {
    let mut world = World::new();
    world.publish_all(["a", "b", "c"]);
    world.write(EVERYTHING);
    world.publisher.suspected();
    world.publisher.suspected_alone();
    world.reconnect();
    world.transmit();
    assert_eq!(world.arrived(), ["a", "b"]);
    world.ack(0, true);
    world.transmit();
    assert_eq!(world.arrived(), ["c"]);
}

// The driver says so at each of its turns, and a turn may write less than a half.
#[test]
fn a_half_that_takes_several_turns_to_write_is_one_trial() {
    let mut world = World::new();
    world.publish_all(["a", "b", "c", "d"]);
    world.write(EVERYTHING);
    world.publisher.suspected();
    world.reconnect();
    for _ in 0..2 {
        world.publisher.suspected_alone();
        world.write(1);
    }
    world.run();
    assert_eq!(world.arrived(), ["a", "b"]);
}

#[test]
fn whoever_is_cleared_writes_as_before() {
    let mut world = World::new();
    world.publish_all(["a", "b"]);
    world.write(EVERYTHING);
    world.publisher.suspected();
    world.publish("newer");
    world.publisher.cleared();
    world.reconnect();
    world.transmit();
    assert_eq!(world.arrived(), ["a", "b", "newer"]);
}

#[test]
fn who_has_nothing_in_flight_is_no_suspect() {
    let mut world = World::new();
    world.publish_all(["a", "b"]);
    world.publisher.suspected();
    assert!(!world.publisher.is_isolating());

    let mut world = World::fire_and_forget();
    world.publish("a");
    world.write(EVERYTHING);
    world.publisher.suspected();
    assert!(!world.publisher.is_isolating());
    assert!(world.publisher.take_news().rare().rejected.is_empty());
}

#[test]
fn a_suspect_that_was_returned_is_not_tried_again() {
    let mut world = World::new();
    let [a, poison] = world.publish_all(["a", "poison"]);
    world.write(EVERYTHING);
    // The broker returns the first before it comes to the second.
    world.line.broker.return_message(world.channel, "q", "a");
    world.run();
    assert!(is_returned(&world.outcome(a).unwrap()));
    world.arrived();
    world.publish_everything();
    assert!(world.arrived().is_empty());
    assert!(is_rejected(&world.outcome(poison).unwrap()));
}

#[test]
fn a_message_that_fits_into_no_frame_fails_alone() {
    let mut world = World::new();
    let huge = "x".repeat(200_000);
    let properties = Properties::builder()
        .header("huge", huge.as_str())
        .build()
        .unwrap();
    let a = world.publish("a");
    let unsendable = Message::from("b").with_properties(properties);
    let unsendable = world.publisher.push(unsendable, true).unwrap();
    let c = world.publish("c");
    world.publish_everything();
    assert_eq!(world.arrived(), ["a", "c"]);
    assert_eq!(world.outcomes([a, c]), [Ok(()), Ok(())]);
    let outcome = world.outcome(unsendable).unwrap();
    assert!(matches!(
        reason(&outcome),
        Some(UnconfirmedReason::Unsendable(_))
    ));
    let mut news = world.publisher.take_news();
    assert_eq!(news.rare().dropped, [(DropReason::Unsendable, 1)]);
}

// fault 38
#[test]
fn a_body_is_split_anew_when_frames_are_smaller_after_a_reconnect() {
    let mut world = World::new();
    let body = "x".repeat(20_000);
    let large = world.publish(&body);
    world.transmit();
    world.lose_connection();
    world.reconnect_within(ConnectionLimits {
        frame_max: 4096,
        ..ConnectionLimits::default()
    });
    world.arrived();
    world.publish_everything();
    assert_eq!(world.arrived(), [body]);
    assert_eq!(world.outcome(large), Some(Ok(())));
}

/// Lets the publisher try what it can, as a driver does where no confirm comes: it asks, and the broker answers.
fn try_without_confirms(world: &mut World) {
    while !world.publisher.is_empty() {
        world.write(EVERYTHING);
        let is_asked = world.publisher.awaits_verdict().is_some();
        if is_asked {
            world.publisher.ask();
        }
        let channel = world.channel;
        world.run();
        if !is_asked {
            return;
        }
        if world.channel == channel {
            world.publisher.taken();
        }
    }
}

// fault 10: as a quorum queue without a majority.
#[test]
fn a_queue_that_never_confirms_holds_up_no_search_for_a_culprit() {
    for n in [2_usize, 3, 7, 8, 100, 1_000] {
        for culprit in [0, n / 3, n / 2, n - 1] {
            let mut world = World::with(
                Settlement::Confirm,
                Overflow::Refuse,
                Limits {
                    messages: n + 1,
                    bytes: usize::MAX,
                },
            );
            for number in 0..n {
                world.publish(if number == culprit { "poison" } else { "good" });
            }
            world.transmit();
            world.publish("newer");
            try_without_confirms(&mut world);
            assert!(is_rejected(&world.outcome(culprit as u64).unwrap()));
            // It goes on, and nobody else is blamed.
            assert_eq!(world.arrived().last().unwrap(), "newer");
            assert_eq!(world.publisher.in_flight(), n);
            assert_eq!(world.publisher.take_news().rare().rejected.len(), 1);
            world.ack(0, true);
            assert!(world.publisher.is_empty());
        }
    }
}

// fault 10: its exchange was deleted, for instance.
#[test]
fn what_was_taken_once_and_is_refused_when_it_goes_out_again_does_not_make_another_guilty() {
    let mut world = World::new();
    let [a, b, c, poison] = world.publish_all(["a", "b", "c", "poison"]);
    world.transmit();
    // The first half is taken.
    world.write(EVERYTHING);
    world.publisher.ask();
    world.run();
    world.publisher.taken();
    // So is the half of what is left. What is tried next is lost with the connection.
    world.write(EVERYTHING);
    world.publisher.ask();
    world.run();
    world.publisher.taken();
    world.write(EVERYTHING);
    assert_eq!(world.publisher.in_flight(), 4);
    world.lose_connection();
    world.reconnect();
    // Those that were taken are written alone: whatever the channel is closed over now, it is one of them.
    world.write(EVERYTHING);
    assert_eq!(world.publisher.in_flight(), 3);
    world.run();
    world.ack(0, true);
    assert_eq!(world.outcomes([a, b, c]), [Ok(()), Ok(()), Ok(())]);
    world.publish_everything();
    assert!(is_rejected(&world.outcome(poison).unwrap()));
}

#[test]
fn whoever_is_asked_about_is_in_question_until_the_broker_has_answered() {
    let mut world = World::new();
    world.publish_all(["a", "b"]);
    assert!(!world.publisher.is_in_question());
    world.write(EVERYTHING);
    assert!(world.publisher.is_in_question());
    assert_eq!(
        world.publisher.awaits_verdict(),
        None,
        "nobody is suspected"
    );
    world.publisher.suspected();
    world.reconnect();
    assert_eq!(world.publisher.awaits_verdict(), None, "it is not written");
    world.write(EVERYTHING);
    assert_eq!(world.publisher.awaits_verdict(), Some(2));
    world.publisher.ask();
    assert_eq!(world.publisher.awaits_verdict(), None, "it is asked once");
    assert!(world.publisher.is_isolating() && world.publisher.is_in_question());
    world.publisher.taken();
    assert!(!world.publisher.is_isolating() && !world.publisher.is_in_question());
    // What comes after it is in question like anything else.
    world.publish("c");
    world.write(EVERYTHING);
    assert!(world.publisher.is_in_question());
}

// No broker was seen to do it.
#[test]
fn where_a_channel_is_closed_over_what_was_taken_all_of_it_is_tried_anew() {
    let mut world = World::new();
    let [a, b] = world.publish_all(["a", "b"]);
    world.write(EVERYTHING);
    world.publisher.suspected();
    world.reconnect();
    world.write(EVERYTHING);
    world.publisher.ask();
    world.publisher.taken();
    let close = PeerClose {
        code: snowshoe_codec::ReplyCode::NOT_FOUND,
        text: ShortString::EMPTY,
        method: snowshoe_codec::MethodId {
            class: 60,
            method: 40,
        },
    };
    world.publisher.rejected(&close);
    assert_eq!(world.publisher.take_news().rare().rejected.len(), 0);
    world.reconnect();
    world.write(EVERYTHING);
    assert_eq!(world.publisher.in_flight(), 1);
    world.publisher.rejected(&close);
    assert!(is_rejected(&world.outcome(a).unwrap()));
    world.reconnect();
    world.transmit();
    world.ack(0, true);
    assert_eq!(world.outcome(b), Some(Ok(())));
}
