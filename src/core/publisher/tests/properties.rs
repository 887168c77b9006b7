//! What a message goes out with.

use super::*;

/// What a message goes out with.
fn sent(producers: Properties, own: Properties) -> Properties {
    let mut world = World::new();
    world.publisher.address.properties = producers;
    let message = Message::from("a").with_properties(own);
    world.publisher.push(message, true).unwrap();
    world.transmit();
    world.line.broker.arrivals.remove(0).properties
}

fn persistent() -> Properties {
    Properties::builder().persistent().build().unwrap()
}

// case I6
#[test]
fn what_a_message_does_not_say_is_its_producers() {
    let producers = Properties::builder().persistent().app_id("snow");
    let producers = producers.content_type("text/plain").priority(3).build();
    let own = Properties::builder().priority(7).message_id("1").build();
    let expected = Properties::builder().persistent().app_id("snow");
    let expected = expected.content_type("text/plain").priority(7);
    let sent = sent(producers.unwrap(), own.unwrap());
    assert_eq!(sent, expected.message_id("1").build().unwrap());
}

// case I6
#[test]
fn headers_are_joined_by_their_names() {
    let producers = Properties::builder()
        .header("tenant", "a")
        .header("hops", 0);
    let own = Properties::builder().header("hops", 1).header("trace", "b");
    let sent = sent(producers.build().unwrap(), own.build().unwrap());
    let headers = sent.decode().unwrap().headers.unwrap().to_owned();
    let expected = FieldTable::new().with("tenant", "a").unwrap();
    let expected = expected
        .with("hops", 1)
        .unwrap()
        .with("trace", "b")
        .unwrap();
    assert_eq!(headers, expected);
}

// case I6
#[test]
fn what_a_message_says_is_what_it_goes_out_with() {
    let own = Properties::builder().transient().build().unwrap();
    assert_eq!(sent(persistent(), own.clone()), own);
    assert_eq!(sent(persistent(), Properties::EMPTY), persistent());
    assert_eq!(sent(Properties::EMPTY, own.clone()), own);
}

#[test]
fn properties_that_cannot_be_read_are_left_for_the_broker_to_judge() {
    for forged in [&[0x80, 0, 9, b'a'][..], &[0, 1], &[0]] {
        let own = Properties::from_encoded(Bytes::from_static(forged));
        let merged = Merger::default().merge(&own, &persistent(), &mut Rest::default());
        assert_eq!(merged, own);
    }
}

#[test]
fn messages_that_share_properties_share_the_work_of_joining_them() {
    let own = Properties::builder().message_id("1").build().unwrap();
    let (mut merger, mut gone) = (Merger::default(), Rest::default());
    let mut merge = |own: &Properties| merger.merge(own, &persistent(), &mut gone);
    let first = merge(&own);
    let second = merge(&own.clone());
    assert!(std::ptr::eq(first.as_bytes(), second.as_bytes()));
    let other = Properties::builder().message_id("2").build().unwrap();
    assert_ne!(merge(&other), first);
}

#[test]
fn what_is_handed_back_is_the_message_as_it_was_given() {
    let mut world = World::new();
    world.publisher.address.properties = persistent();
    let own = Properties::builder().message_id("1").build().unwrap();
    let message = Message::from("a").with_properties(own);
    world.publisher.push(message.clone(), true).unwrap();
    world.transmit();
    assert_eq!(world.publisher.abandon(DropReason::Closed), [message]);
}
