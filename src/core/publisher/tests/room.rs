//! A full buffer, and its end.

use super::*;

// fault 21
#[test]
fn a_full_buffer_refuses_and_gives_the_message_back() {
    let limits = Limits {
        messages: 1,
        bytes: 10,
    };
    let mut world = World::with(Settlement::Confirm, Overflow::Refuse, limits);
    world.publish("a");
    let refused = world.publisher.push(Message::from("b"), true);
    assert_eq!(refused, Err((Refused::Full, Message::from("b"))));
    let huge = Message::from("more than ten bytes");
    let refused = world.publisher.push(huge.clone(), true);
    assert_eq!(refused, Err((Refused::TooLarge, huge)));
}

#[test]
fn who_waits_for_room_is_woken_when_half_of_it_is_free() {
    let limits = Limits {
        messages: 4,
        bytes: 10,
    };
    let mut world = World::with(Settlement::Confirm, Overflow::Refuse, limits);
    world.publish_all(["aaaa", "b", "ccc", "dd"]);
    world.transmit();
    let ticket = world.publisher.wait_for_room(3, "patient");
    // Half of the messages, but more than half of the bytes.
    world.ack(2, false);
    world.ack(4, false);
    assert!(world.woken().is_empty());
    world.ack(3, false);
    assert_eq!(world.woken(), ["patient"]);
    world.publisher.leave(ticket);
    world.ack(1, false);
    assert!(world.woken().is_empty());
}

#[test]
fn who_waits_for_room_is_woken_for_less_once_nothing_else_is_to_be_done() {
    let limits = Limits {
        messages: 10,
        bytes: 6,
    };
    let mut world = World::with(Settlement::Confirm, Overflow::Refuse, limits);
    world.publish_all(["a", "b", "cccc"]);
    world.transmit();
    world.publisher.wait_for_room(2, "patient");
    world.ack(1, false);
    assert!(!world.publisher.owes_room());
    world.publisher.rest();
    assert!(world.woken().is_empty());

    world.ack(2, false);
    assert!(world.woken().is_empty(), "there may be more");
    assert!(world.publisher.owes_room());
    world.publisher.rest();
    assert_eq!(world.woken(), ["patient"]);
    assert!(!world.publisher.owes_room());
}

// fault 17
#[test]
fn closing_wakes_who_waits_for_room() {
    let mut world = World::new();
    world.publisher.wait_for_room(1, "patient");
    world.publisher.close();
    assert_eq!(world.woken(), ["patient"]);
}

#[test]
fn the_oldest_unwritten_message_makes_room() {
    let mut world = World::dropping_oldest(Limits {
        messages: 3,
        ..ROOMY
    });
    let in_flight = world.publish("a");
    world.transmit();
    let [oldest, _, _] = world.publish_all(["b", "c", "d"]);
    let gone = dropped(DropReason::BufferFull, false);
    assert_eq!(world.outcome(oldest), Some(gone));
    assert_eq!(world.outcome(in_flight), None);
    let mut news = world.publisher.take_news();
    assert_eq!(news.rare().dropped, [(DropReason::BufferFull, 1)]);
    world.arrived();
    world.publish_everything();
    assert_eq!(world.arrived(), ["c", "d"]);
}

#[test]
fn a_dropped_message_says_that_the_broker_may_have_it_if_it_was_sent_before() {
    let mut world = World::dropping_oldest(Limits {
        messages: 2,
        ..ROOMY
    });
    let sent = world.publish("sent");
    world.transmit();
    world.lose_connection();
    let unsent = world.publish("unsent");
    world.publish_all(["c", "d"]);
    let gone = |sent| dropped(DropReason::BufferFull, sent);
    assert_eq!(world.outcomes([sent, unsent]), [gone(true), gone(false)]);
}

#[test]
fn a_refused_message_says_that_the_broker_may_have_it_if_it_was_sent_before() {
    let mut world = World::new();
    let before = world.publish("before");
    world.transmit();
    world.lose_connection();
    world.reconnect();
    let after = world.publish("after");
    world.transmit();
    world.nack(0, true);
    let refused = |possibly_stored| unconfirmed(UnconfirmedReason::Nacked, possibly_stored);
    assert_eq!(
        world.outcomes([before, after]),
        [refused(true), refused(false)]
    );
}

#[test]
fn nothing_is_dropped_for_a_message_that_finds_no_room_all_the_same() {
    let limits = Limits {
        messages: 10,
        bytes: 10,
    };
    let mut world = World::dropping_oldest(limits);
    world.publish("in flight");
    world.transmit();
    let kept = world.publish("k");
    let large = Message::from("large");
    let refused = world.publisher.push(large.clone(), true);
    assert_eq!(refused, Err((Refused::Full, large)));
    assert_eq!(world.outcome(kept), None);
}

#[test]
fn a_message_larger_than_the_buffer_drops_nothing() {
    let mut world = World::dropping_oldest(Limits {
        messages: 10,
        bytes: 10,
    });
    let kept = world.publish("kept");
    let huge = Message::from("more than ten bytes");
    let refused = world.publisher.push(huge.clone(), true);
    assert_eq!(refused, Err((Refused::TooLarge, huge)));
    assert_eq!(world.outcome(kept), None);
}

// fault 22
#[test]
fn nothing_is_accepted_after_close_and_what_was_accepted_goes_on() {
    let mut world = World::new();
    let a = world.publish("a");
    world.publisher.close();
    let refused = world.publisher.push(Message::from("b"), true);
    assert_eq!(refused, Err((Refused::Closed, Message::from("b"))));
    world.publish_everything();
    assert_eq!(world.outcome(a), Some(Ok(())));
}

#[test]
fn what_is_abandoned_is_handed_back_in_its_order() {
    let mut world = World::new();
    let [sent, returned, unsent] = world.publish_all(["sent", "returned", "unsent"]);
    world.publisher.wait_for_room(1, "patient");
    // Two of the three.
    world.write(1);
    world.write(1);
    world.run();
    world.return_message("returned");
    let abandoned = world.publisher.abandon(DropReason::Closed);
    assert_eq!(abandoned, ["sent", "unsent"].map(Message::from));
    let gone = |sent| dropped(DropReason::Closed, sent);
    assert_eq!(world.outcomes([sent, unsent]), [gone(true), gone(false)]);
    assert!(is_returned(&world.outcome(returned).unwrap()));
    assert!(world.publisher.is_empty() && world.publisher.is_closed());
    assert_eq!(world.woken(), ["patient"]);
    let mut news = world.publisher.take_news();
    assert_eq!(news.rare().dropped, [(DropReason::Closed, 2)]);
    drop(world.publisher.take_gone());
    assert!(world.publisher.is_quiet());
}
