//! Which message is written when.

use super::*;

#[test]
fn messages_arrive_in_the_order_in_which_they_were_accepted() {
    let mut world = World::new();
    world.publish_all(["a", "b", "c"]);
    world.transmit();
    assert_eq!(world.arrived(), ["a", "b", "c"]);
    assert_eq!(world.publisher.in_flight(), 3);
}

#[test]
fn a_budget_is_kept_to_within_one_message() {
    let mut world = World::new();
    world.publish_all(["a", "b", "c"]);
    assert!(world.write(1));
    world.run();
    assert_eq!(world.arrived(), ["a"]);
    assert!(!world.write(EVERYTHING));
    world.run();
    assert_eq!(world.arrived(), ["b", "c"]);
}

// fault 13
#[test]
fn after_a_loss_unconfirmed_messages_go_first_and_in_their_order() {
    let mut world = World::new();
    let old = world.publish_all(["a", "b", "c"]);
    world.transmit();
    world.ack(2, false);
    assert_eq!(world.arrived(), ["a", "b", "c"]);
    world.lose_connection();
    let new = world.publish("d");
    world.reconnect();
    world.publish_everything();
    assert_eq!(world.arrived(), ["a", "c", "d"]);
    assert_eq!(world.outcomes(old), [Ok(()), Ok(()), Ok(())]);
    assert_eq!(world.outcome(new), Some(Ok(())));
}

#[test]
fn a_message_may_have_a_routing_key_and_properties_of_its_own() {
    let mut world = World::new();
    let properties = Properties::builder().message_id("7").build().unwrap();
    let message = Message::from("a")
        .with_routing_key("elsewhere")
        .unwrap()
        .with_properties(properties.clone());
    world.publisher.push(message, false).unwrap();
    world.write(EVERYTHING);
    let bytes = world.line.client.outbound();
    let wire = bytes.copy_to_bytes(bytes.remaining());
    let contains = |part: &[u8]| wire.windows(part.len()).any(|window| window == part);
    assert!(contains(b"elsewhere") && contains(properties.as_bytes()));
}

#[test]
fn nothing_is_written_while_the_broker_has_stopped_the_flow() {
    let mut world = World::new();
    world.publish("a");
    let flow = |world: &mut World, active| {
        let mut bytes = frame(world.channel, channel::Flow { active });
        _ = world.line.client.receive(world.line.now, &mut bytes);
    };
    flow(&mut world, false);
    assert!(!world.write(EVERYTHING));
    flow(&mut world, true);
    world.write(EVERYTHING);
    assert_eq!(world.publisher.in_flight(), 1);
}

#[test]
fn without_confirms_what_was_written_on_a_channel_that_we_close_is_not_written_again() {
    let mut world = World::fire_and_forget();
    world.publish("a");
    world.write(EVERYTHING);
    world.publisher.left();
    world.publisher.online();
    world.transmit();
    assert_eq!(world.arrived(), ["a"]);
    // Nor if the broker closes the next one before the transport has taken it.
    let mut world = World::fire_and_forget();
    world.publish("a");
    world.write(EVERYTHING);
    let end_of_first = world.line.client.outbound().queued();
    world.publisher.left();
    world.publisher.online();
    world.publish("b");
    world.write(EVERYTHING);
    world.publisher.closed();
    assert_eq!(world.publisher.in_flight(), 1);
    world.write(EVERYTHING);
    world.publisher.flushed(end_of_first);
    world.transmit();
    assert_eq!(world.arrived(), ["a", "b", "b"]);
    world.publisher.flushed(u64::MAX);
    // With the connection all of it is gone.
    world.publish("c");
    world.write(EVERYTHING);
    world.publisher.left();
    world.lose_connection();
    world.reconnect();
    world.transmit();
    assert_eq!(world.arrived(), ["c"]);
    // With confirms nobody would hear of it.
    let mut world = World::new();
    world.publish("a");
    world.write(EVERYTHING);
    world.publisher.left();
    world.open_channel();
    world.transmit();
    assert_eq!(world.arrived(), ["a", "a"]);
}
