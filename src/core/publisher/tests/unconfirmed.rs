//! Fire and forget.

use super::*;

#[test]
fn without_confirms_a_message_is_settled_when_its_last_byte_was_taken() {
    let mut world = World::fire_and_forget();
    world.publish_all(["a", "b"]);
    world.write(1);
    let first = world.line.client.outbound().queued();
    world.write(EVERYTHING);
    let all = world.line.client.outbound().queued();
    world.publisher.flushed(first - 1);
    assert_eq!(world.publisher.len(), 2);
    world.publisher.flushed(first);
    assert_eq!(world.publisher.len(), 1);
    world.publisher.flushed(all);
    assert!(world.publisher.is_empty());
}

// fault 19
#[test]
fn without_confirms_a_message_that_was_cut_is_sent_again_whole() {
    let mut world = World::fire_and_forget();
    world.publish_all(["a", "b", "c"]);
    world.write(1);
    let first = world.line.client.outbound().queued();
    world.write(EVERYTHING);
    // The transport takes a few bytes of the second message.
    world.publisher.flushed(first + 5);
    world.lose_connection();
    world.reconnect();
    world.transmit();
    assert_eq!(world.arrived(), ["b", "c"]);
}

#[test]
fn positions_in_the_stream_mean_nothing_on_the_next_connection() {
    let mut world = World::fire_and_forget();
    world.publish("a");
    world.write(EVERYTHING);
    world.lose_connection();
    world.publisher.flushed(u64::MAX);
    assert_eq!(world.publisher.len(), 1);
}

// fault 22
#[test]
fn without_confirms_a_refusal_is_news() {
    let mut world = World::fire_and_forget();
    world.publish("poison");
    world.write(EVERYTHING);
    world.publisher.flushed(u64::MAX);
    world.run();
    assert_eq!(world.publisher.take_news().rare().rejected.len(), 1);
}
