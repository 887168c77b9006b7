//! Messages that are not delivered, for those who want to hear of each.

use super::*;

fn keeping(mut world: World) -> World {
    world.publisher.keep_undelivered();
    world
}

/// What was not delivered since this was last asked, by its body.
fn undelivered(world: &mut World) -> Vec<(Message, Result<(), Unconfirmed>)> {
    let undelivered = world.publisher.take_undelivered().into_iter();
    undelivered
        .map(|it| (it.message, Err(it.outcome)))
        .collect()
}

#[test]
fn what_is_given_up_is_kept_with_all_that_it_had_of_its_own() {
    let mut world = keeping(World::dropping_oldest(Limits {
        messages: 2,
        ..ROOMY
    }));
    let properties = Properties::builder().message_id("7").build().unwrap();
    let message = Message::from("a").with_properties(properties);
    let message = message.with_routing_key("elsewhere").unwrap();
    world.publisher.push(message.clone(), false).unwrap();
    world.publish_all(["b", "c"]);
    assert!(!world.publisher.is_quiet());
    let gone = dropped(DropReason::BufferFull, false);
    assert_eq!(undelivered(&mut world), [(message, gone)]);
    drop((world.publisher.take_news(), world.publisher.take_gone()));
    assert!(world.publisher.is_quiet());
    let handed_back = world.publisher.abandon(DropReason::Closed);
    let told = undelivered(&mut world).into_iter();
    assert_eq!(told.map(|it| it.0).collect::<Vec<_>>(), handed_back);
}

#[test]
fn what_the_broker_does_not_take_is_kept_and_what_it_takes_is_not() {
    let mut world = keeping(World::new());
    world.publish_all(["taken", "refused", "returned"]);
    world.transmit();
    world.ack(1, false);
    world.nack(2, false);
    world.return_message("returned");
    world.ack(3, false);
    let told = undelivered(&mut world);
    let bodies: Vec<_> = told.iter().map(|(message, _)| message.body()).collect();
    assert_eq!(bodies, ["refused", "returned"]);
    assert_eq!(told[0].1, nacked());
    assert!(is_returned(&told[1].1));
}

#[test]
fn what_was_to_go_where_nothing_can_be_declared_is_kept() {
    let mut world = keeping(World::new());
    world.publisher.hold();
    world.publish("waits");
    world.publisher.not_declared(None);
    let gone = dropped(DropReason::NotDeclared, false);
    assert_eq!(undelivered(&mut world), [("waits".into(), gone)]);
}

#[test]
fn without_confirms_what_was_written_is_no_concern_of_the_producers() {
    let mut world = keeping(World::fire_and_forget());
    world.publisher.push("written".into(), false).unwrap();
    world.transmit();
    world.publisher.flushed(u64::MAX);
    world.lose_connection();
    world.publisher.push("waits".into(), false).unwrap();
    world.publisher.abandon(DropReason::ConnectionGivenUp);
    let lost = dropped(DropReason::ConnectionGivenUp, false);
    assert_eq!(undelivered(&mut world), [("waits".into(), lost)]);
}

#[test]
fn nothing_is_kept_where_nobody_wants_to_hear_of_it() {
    let mut world = World::new();
    world.publish("a");
    world.publisher.abandon(DropReason::Closed);
    assert_eq!(undelivered(&mut world), []);
}
