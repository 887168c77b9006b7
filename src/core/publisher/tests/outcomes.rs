//! What confirms and returns make of messages, and who is told.

use super::*;

// fault 8
#[test]
fn single_and_multiple_confirms_settle_what_they_name_in_any_order() {
    let mut world = World::new();
    let [a, b, c, d, e, f] = world.publish_all(["a", "b", "c", "d", "e", "f"]);
    world.transmit();
    world.ack(6, false);
    world.nack(2, false);
    world.ack(1, false);
    assert_eq!(world.outcomes([a, b, f]), [Ok(()), nacked(), Ok(())]);
    assert_eq!(world.outcome(c), None);
    world.nack(4, true);
    world.ack(5, true);
    assert_eq!(world.outcomes([c, d, e]), [nacked(), nacked(), Ok(())]);
    assert!(world.publisher.is_empty());
}

// LavinMQ: nacks are sent at once, acks in batches.
#[test]
fn a_nack_that_overtakes_earlier_acks_stays_a_nack() {
    let mut world = World::new();
    let positions = world.publish_all(["a", "b", "c"]);
    world.transmit();
    world.nack(2, false);
    world.ack(3, true);
    assert_eq!(world.outcomes(positions), [Ok(()), nacked(), Ok(())]);
}

#[test]
fn a_confirm_that_comes_twice_settles_nothing_else() {
    let mut world = World::new();
    let [a, b] = world.publish_all(["a", "b"]);
    world.transmit();
    world.ack(1, false);
    world.nack(1, false);
    assert_eq!(world.outcome(a), Some(Ok(())));
    assert_eq!(world.outcome(b), None);
}

// fault 7
#[test]
fn numbers_count_from_one_again_on_the_next_connection() {
    let mut world = World::new();
    let [a] = world.publish_all(["a"]);
    world.transmit();
    world.ack(1, false);
    let [b, c] = world.publish_all(["b", "c"]);
    world.transmit();
    world.lose_connection();
    world.reconnect();
    world.transmit();
    world.ack(1, false);
    assert_eq!(world.outcomes([a, b]), [Ok(()), Ok(())]);
    assert_eq!(world.outcome(c), None);
}

// fault 14
#[test]
fn a_lost_connection_decides_nothing() {
    let mut world = World::new();
    let a = world.publish("a");
    world.transmit();
    world.lose_connection();
    assert_eq!(world.outcome(a), None);
    assert_eq!(world.publisher.len(), 1);
}

// fault 20
#[test]
fn a_return_is_kept_until_the_confirm_after_it() {
    let mut world = World::new();
    let [a, b] = world.publish_all(["a", "b"]);
    world.transmit();
    world.return_message("b");
    assert_eq!(world.outcome(b), None);
    assert_eq!(world.publisher.take_news().rare().returned.len(), 1);
    world.ack(2, true);
    assert_eq!(world.outcome(a), Some(Ok(())));
    assert!(is_returned(&world.outcome(b).unwrap()));
    let mut news = world.publisher.take_news();
    assert_eq!((news.confirmed, news.rare().returned.len()), (1, 0));
}

// fault 20
#[test]
fn a_return_is_the_outcome_if_the_connection_ends_before_the_confirm() {
    let mut world = World::new();
    let [a, b] = world.publish_all(["a", "b"]);
    world.transmit();
    world.return_message("a");
    world.lose_connection();
    assert!(is_returned(&world.outcome(a).unwrap()));
    world.reconnect();
    world.arrived();
    world.publish_everything();
    assert_eq!(world.arrived(), ["b"]);
    assert_eq!(world.outcome(b), Some(Ok(())));
}

#[test]
fn an_outcome_is_told_once() {
    let mut world = World::new();
    let a = world.publish("a");
    world.transmit();
    assert_eq!(world.outcome(a), None);
    world.nack(1, false);
    assert_eq!(world.woken(), ["somebody"]);
    assert_eq!(world.outcome(a), Some(nacked()));
    assert!(world.woken().is_empty());
    assert_eq!(world.outcome(a), Some(Ok(())), "nothing is kept of it");
}

#[test]
fn all_before_what_is_open_or_has_another_outcome_is_confirmed() {
    let mut world = World::new();
    let [first, second, _, last] = world.publish_all(["first", "second", "third", "last"]);
    world.transmit();
    assert_eq!(world.publisher.confirmed_before(), first);
    world.ack(1, false);
    world.nack(2, false);
    world.ack(3, false);
    assert_eq!(world.publisher.confirmed_before(), second);
    assert_eq!(world.outcome(second), Some(nacked()));
    assert_eq!(world.publisher.confirmed_before(), last);
    world.ack(4, false);
    assert_eq!(world.publisher.confirmed_before(), last + 1);
}

#[test]
fn who_asks_again_is_woken_in_place_of_who_asked_before() {
    let mut world = World::new();
    let a = world.publish("a");
    world.transmit();
    assert_eq!(world.publisher.poll_outcome(a, || "first"), None);
    assert_eq!(world.publisher.poll_outcome(a, || "second"), None);
    world.ack(1, false);
    assert_eq!(world.woken(), ["second"]);
}

#[test]
fn nothing_is_kept_for_nobody() {
    let mut world = World::new();
    let a = world.publish("a");
    world.publisher.push(Message::from("b"), false).unwrap();
    let c = world.publish("c");
    world.publisher.unwatch(a);
    world.transmit();
    world.nack(3, true);
    world.publisher.unwatch(c);
    assert!(world.publisher.ledger.outcomes.is_empty());
    assert_eq!(world.publisher.take_news().rare().nacked, 3);
}

// fault 15
#[test]
fn who_stops_waiting_unpublishes_nothing() {
    let mut world = World::new();
    let [a, b] = world.publish_all(["a", "b"]);
    world.publisher.unwatch(a);
    world.transmit();
    assert_eq!(world.arrived(), ["a", "b"]);
    world.ack(1, false);
    assert_eq!(world.outcome(b), None);
}
