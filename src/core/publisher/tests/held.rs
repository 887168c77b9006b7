//! What waits until something is declared.

use super::*;
use snowshoe_codec::ReplyCode;
use snowshoe_codec::method::MethodId;

fn refusal() -> PeerClose {
    PeerClose {
        code: ReplyCode::PRECONDITION_FAILED,
        text: name("inequivalent arg"),
        method: MethodId {
            class: 50,
            method: 10,
        },
    }
}

#[test]
fn what_is_held_is_taken_and_not_written() {
    let mut world = World::new();
    world.publisher.hold();
    let positions = world.publish_all(["a", "b"]);
    assert!(!world.publisher.has_unwritten());
    world.transmit();
    assert_eq!(world.arrived(), [""; 0]);
    world.lose_connection();
    world.reconnect();
    world.transmit();
    assert_eq!(world.arrived(), [""; 0]);

    world.publisher.let_go();
    assert!(world.publisher.has_unwritten());
    world.publish_everything();
    assert_eq!(world.arrived(), ["a", "b"]);
    assert_eq!(world.outcomes(positions), [Ok(()), Ok(())]);
}

#[test]
fn what_cannot_be_declared_takes_along_what_waits_for_it() {
    let mut world = World::new();
    world.publisher.hold();
    let positions = world.publish_all(["a", "b"]);
    world.publisher.not_declared(Some(&refusal()));
    let not_declared = || unconfirmed(UnconfirmedReason::NotDeclared(refusal()), false);
    assert_eq!(world.outcomes(positions), [not_declared(), not_declared()]);
    assert!(world.publisher.is_empty());
    let mut news = world.publisher.take_news();
    assert_eq!(news.rare().dropped, [(DropReason::NotDeclared, 2)]);
    let refused = world.publisher.push(Message::from("c"), true);
    assert!(matches!(refused, Err((Refused::Closed, _))));
}

#[test]
fn without_the_brokers_word_it_is_dropped() {
    let mut world = World::fire_and_forget();
    world.publisher.hold();
    world.publish("a");
    world.publisher.not_declared(None);
    assert!(world.publisher.is_empty());
    let mut news = world.publisher.take_news();
    assert_eq!(news.rare().dropped, [(DropReason::NotDeclared, 1)]);
}

#[test]
fn what_is_held_makes_room_and_is_given_back_like_anything_else() {
    let mut world = World::dropping_oldest(Limits {
        messages: 1,
        ..ROOMY
    });
    world.publisher.hold();
    let [a, b] = world.publish_all(["a", "b"]);
    let buffer_full = dropped(DropReason::BufferFull, false);
    assert_eq!(world.outcome(a), Some(buffer_full));
    let given_back = world.publisher.abandon(DropReason::Closed);
    assert_eq!(given_back, [Message::from("b")]);
    assert_eq!(world.outcome(b), Some(dropped(DropReason::Closed, false)));
}
