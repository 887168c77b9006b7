//! Messages that are taken back.

use super::*;

#[test]
fn what_was_not_written_can_be_taken_back_and_the_others_go_in_their_order() {
    let mut world = World::new();
    let [a, b, c] = world.publish_all(["a", "b", "c"]);
    assert_eq!(world.publisher.withdraw(b), Some("b".into()));
    assert_eq!(world.publisher.withdraw(b), None, "it is gone");
    world.publish_everything();
    assert_eq!(world.arrived(), ["a", "c"]);
    assert_eq!(world.outcomes([a, c]), [Ok(()), Ok(())]);
    let news = world.publisher.take_news();
    assert_eq!(news.confirmed, 2);
    assert!(news.rare.is_none());
}

#[test]
fn what_is_taken_back_has_all_that_it_had_of_its_own() {
    let mut world = World::new();
    let message = Message::from("a").with_routing_key("elsewhere").unwrap();
    let position = world.publisher.push(message.clone(), true).unwrap();
    assert_eq!(world.publisher.withdraw(position), Some(message));
    assert_eq!((world.publisher.len(), world.publisher.bytes()), (0, 0));
}

#[test]
fn what_the_broker_may_have_cannot_be_taken_back() {
    let mut world = World::new();
    let position = world.publish("sent");
    world.transmit();
    assert_eq!(world.publisher.withdraw(position), None);
    world.lose_connection();
    assert_eq!(world.publisher.withdraw(position), None);
    world.reconnect();
    world.publish_everything();
    assert_eq!(world.outcome(position), Some(Ok(())));
}

#[test]
fn what_has_ended_keeps_its_outcome() {
    let mut world = World::new();
    let position = world.publish("refused");
    world.transmit();
    world.nack(1, false);
    assert_eq!(world.publisher.withdraw(position), None);
    assert_eq!(world.outcome(position), Some(nacked()));
}

#[test]
fn who_waits_for_room_or_for_a_flush_is_woken_by_what_is_taken_back() {
    let limits = Limits {
        messages: 1,
        ..ROOMY
    };
    let mut world = World::with(Settlement::Confirm, Overflow::Refuse, limits);
    let position = world.publish("a");
    world.publisher.wait_for_room(1, "patient");
    let flush = world.publisher.begin_flush();
    assert!(!world.publisher.poll_flush(flush, || "flush"));
    assert_eq!(world.outcome(position), None, "somebody waits");
    world.publisher.withdraw(position).unwrap();
    assert_eq!(world.woken(), ["patient", "flush"]);
}
