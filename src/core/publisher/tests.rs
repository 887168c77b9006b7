mod chance;

use bytes::Buf;
use snowshoe_codec::method::{channel, confirm};
use snowshoe_codec::{ChannelCloseReason, ConnectionLimits, Event};

use super::*;
use crate::core::testing::{Line, frame, name};

const ROOMY: Limits = Limits {
    messages: 100,
    bytes: 1_000_000,
};
const EVERYTHING: usize = usize::MAX;

/// Who waits for something, by name.
type Waiter = &'static str;

/// A publisher and its broker.
struct World {
    line: Line,
    channel: u16,
    confirms: bool,
    publisher: Publisher<Waiter>,
}

impl World {
    /// A publisher in confirm mode that is online.
    fn new() -> Self {
        Self::with(Settlement::Confirm, Overflow::Refuse, ROOMY)
    }

    fn fire_and_forget() -> Self {
        Self::with(Settlement::Written, Overflow::DropOldest, ROOMY)
    }

    fn dropping_oldest(limits: Limits) -> Self {
        Self::with(Settlement::Confirm, Overflow::DropOldest, limits)
    }

    fn with(settlement: Settlement, overflow: Overflow, limits: Limits) -> Self {
        let address = Address {
            exchange: ShortString::EMPTY,
            routing_key: name("q"),
            mandatory: true,
            properties: Properties::default(),
        };
        let mut world = Self {
            line: Line::open(ConnectionLimits::default()),
            channel: 0,
            confirms: settlement == Settlement::Confirm,
            publisher: Publisher::new(address, settlement, overflow, limits),
        };
        world.open_channel();
        world
    }

    fn open_channel(&mut self) {
        self.channel = self.line.open_channel();
        if self.confirms {
            let mut channel = self.line.client.channel(self.channel).unwrap();
            channel
                .send(self.line.now, confirm::Select::default())
                .unwrap();
            self.line.run();
        }
        self.publisher.online();
    }

    fn lose_connection(&mut self) {
        self.publisher.offline();
    }

    fn reconnect(&mut self) {
        self.reconnect_within(ConnectionLimits::default());
    }

    fn reconnect_within(&mut self, limits: ConnectionLimits) {
        let arrivals = std::mem::take(&mut self.line.broker.arrivals);
        self.line = Line::open(limits);
        self.line.broker.arrivals = arrivals;
        self.open_channel();
    }

    /// Publishes something whose outcome somebody will ask for.
    fn publish(&mut self, body: &str) -> u64 {
        self.publisher.push(Message::from(body), true).unwrap()
    }

    fn publish_all<const N: usize>(&mut self, bodies: [&str; N]) -> [u64; N] {
        bodies.map(|body| self.publish(body))
    }

    /// Writes what may be written, and lets the broker have it.
    fn transmit(&mut self) {
        self.write(EVERYTHING);
        self.run();
    }

    /// Writes messages into the connection, and no further.
    fn write(&mut self, budget: usize) -> bool {
        match self.line.client.channel(self.channel) {
            Some(mut channel) => self.publisher.transmit(&mut channel, budget),
            None => false,
        }
    }

    /// Lets the bytes flow, and the publisher hear what comes of it.
    fn run(&mut self) {
        for event in self.line.run() {
            match event {
                Event::Confirm {
                    delivery_tag,
                    multiple,
                    ack,
                    ..
                } => self
                    .publisher
                    .confirm(delivery_tag, multiple, ack)
                    .expect("the codec lets no other through"),
                Event::Returned { returned, .. } => self.publisher.returned(&returned),
                Event::ChannelClosed {
                    reason: ChannelCloseReason::Peer(close),
                    ..
                } => {
                    self.publisher.rejected(&close);
                    self.open_channel();
                }
                _ => {}
            }
        }
    }

    fn ack(&mut self, tag: u64, multiple: bool) {
        let Line { now, broker, .. } = &mut self.line;
        broker.ack(*now, self.channel, tag, multiple);
        self.run();
    }

    fn nack(&mut self, tag: u64, multiple: bool) {
        let Line { now, broker, .. } = &mut self.line;
        broker.nack(*now, self.channel, tag, multiple);
        self.run();
    }

    fn return_message(&mut self, body: &str) {
        self.line.broker.return_message(self.channel, "q", body);
        self.run();
    }

    /// Writes whatever there is, while the broker acks all that it takes.
    fn publish_everything(&mut self) {
        for _ in 0..100 {
            self.transmit();
            if self.publisher.is_empty() {
                return;
            }
            self.ack(0, true);
        }
        panic!("it does not come to an end");
    }

    /// The bodies that the broker took since it was last asked.
    fn arrived(&mut self) -> Vec<String> {
        let arrivals = std::mem::take(&mut self.line.broker.arrivals);
        arrivals.into_iter().map(|arrival| arrival.body).collect()
    }

    fn outcome(&mut self, position: u64) -> Option<Result<(), Unconfirmed>> {
        let is_confirmed = position < self.publisher.confirmed_before();
        let outcome = self.publisher.poll_outcome(position, || "somebody");
        assert!(!is_confirmed || outcome == Some(Ok(())), "{outcome:?}");
        outcome
    }

    /// How messages ended that have ended.
    fn outcomes<const N: usize>(&mut self, positions: [u64; N]) -> [Result<(), Unconfirmed>; N] {
        positions.map(|position| self.outcome(position).expect("it has ended"))
    }
}

fn nacked() -> Result<(), Unconfirmed> {
    Err(Unconfirmed::Nacked { resent: false })
}

fn dropped(reason: DropReason, sent: bool) -> Result<(), Unconfirmed> {
    Err(Unconfirmed::Dropped { reason, sent })
}

fn is_returned(outcome: &Result<(), Unconfirmed>) -> bool {
    matches!(outcome, Err(Unconfirmed::Returned(_)))
}

fn is_rejected(outcome: &Result<(), Unconfirmed>) -> bool {
    matches!(outcome, Err(Unconfirmed::Rejected(_)))
}

// Order.

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

// Confirms.

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

// Returns.

// fault 20
#[test]
fn a_return_is_kept_until_the_confirm_behind_it() {
    let mut world = World::new();
    let [a, b] = world.publish_all(["a", "b"]);
    world.transmit();
    world.return_message("b");
    assert_eq!(world.outcome(b), None);
    assert_eq!(world.publisher.take_news().returned.len(), 1);
    world.ack(2, true);
    assert_eq!(world.outcome(a), Some(Ok(())));
    assert!(is_returned(&world.outcome(b).unwrap()));
    let news = world.publisher.take_news();
    assert_eq!((news.confirmed, news.returned.len()), (1, 0));
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
fn returns_of_identical_messages_are_told_apart_by_their_order() {
    let mut world = World::new();
    let positions = world.publish_all(["same", "same", "same"]);
    world.transmit();
    world.return_message("same");
    world.return_message("same");
    world.ack(3, true);
    let outcomes = world.outcomes(positions);
    assert!(is_returned(&outcomes[0]) && is_returned(&outcomes[1]));
    assert_eq!(outcomes[2], Ok(()));
}

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
    assert!(is_returned(&second));
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
    assert_eq!(world.publisher.take_news().returned.len(), 1);
}

// Who is told.

#[test]
fn an_outcome_is_told_once() {
    let mut world = World::new();
    let a = world.publish("a");
    world.transmit();
    assert_eq!(world.outcome(a), None);
    world.nack(1, false);
    assert_eq!(world.publisher.take_woken(), ["somebody"]);
    assert_eq!(world.outcome(a), Some(nacked()));
    assert!(world.publisher.take_woken().is_empty());
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
    assert_eq!(world.publisher.take_woken(), ["second"]);
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
    assert_eq!(world.publisher.take_news().nacked, 3);
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

// Room.

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
    world.publisher.wait_for_room(3, "patient");
    // Half of the messages, but more than half of the bytes.
    world.ack(2, false);
    world.ack(4, false);
    assert!(world.publisher.take_woken().is_empty());
    world.ack(3, false);
    assert_eq!(world.publisher.take_woken(), ["patient"]);
    world.ack(1, false);
    assert!(world.publisher.take_woken().is_empty());
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
    assert!(world.publisher.take_woken().is_empty());

    world.ack(2, false);
    assert!(world.publisher.take_woken().is_empty(), "there may be more");
    assert!(world.publisher.owes_room());
    world.publisher.rest();
    assert_eq!(world.publisher.take_woken(), ["patient"]);
    assert!(!world.publisher.owes_room());
}

// fault 17
#[test]
fn closing_wakes_who_waits_for_room() {
    let mut world = World::new();
    world.publisher.wait_for_room(1, "patient");
    world.publisher.close();
    assert_eq!(world.publisher.take_woken(), ["patient"]);
}

// Dropping the oldest.

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
    let news = world.publisher.take_news();
    assert_eq!(news.dropped, [(DropReason::BufferFull, 1)]);
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
    let behind = world.publish("behind");
    world.transmit();
    world.nack(0, true);
    let refused = |resent| Err(Unconfirmed::Nacked { resent });
    assert_eq!(
        world.outcomes([before, behind]),
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

// Poison.

// fault 10
#[test]
fn a_single_message_in_flight_is_the_one_that_was_refused() {
    let mut world = World::new();
    let [poison, next] = world.publish_all(["poison", "next"]);
    world.write(1);
    world.run();
    assert!(is_rejected(&world.outcome(poison).unwrap()));
    assert_eq!(world.publisher.take_news().rejected.len(), 1);
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
    assert_eq!(world.arrived(), ["a", "b"]);
    assert_eq!(world.outcomes([a, b]), [Ok(()), Ok(())]);
    assert!(is_rejected(&world.outcome(poison).unwrap()));
}

// fault 10
#[test]
fn suspects_are_tried_one_at_a_time_and_newer_messages_wait_for_them() {
    let mut world = World::new();
    world.publish_all(["a", "poison", "b"]);
    world.transmit();
    world.publish_all(["c", "d"]);
    world.arrived();
    for expected in [vec!["a"], vec![], vec!["b"], vec!["c", "d"]] {
        world.transmit();
        assert_eq!(world.arrived(), expected);
        if !expected.is_empty() {
            world.transmit();
            assert!(world.arrived().is_empty(), "it waits for the confirm");
            world.ack(0, true);
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
    assert_eq!(world.arrived(), ["a", "b"]);
    assert_eq!(world.outcomes([a, b]), [Ok(()), Ok(())]);
    assert!(world.outcomes([p1, p2, p3, p4]).iter().all(is_rejected));
}

// fault 10
#[test]
fn isolation_goes_on_after_a_lost_connection() {
    let mut world = World::new();
    let [a, poison, b] = world.publish_all(["a", "poison", "b"]);
    world.transmit();
    world.transmit();
    assert_eq!(world.publisher.in_flight(), 1);
    world.lose_connection();
    world.reconnect();
    world.transmit();
    assert_eq!(world.publisher.in_flight(), 1);
    world.publish_everything();
    assert_eq!(world.outcomes([a, b]), [Ok(()), Ok(())]);
    assert!(is_rejected(&world.outcome(poison).unwrap()));
}

// fault 10: the broker does not say whose publish it was, so even a single one is not blamed yet.
#[test]
fn what_is_in_flight_when_the_connection_is_closed_over_a_publish_is_tried_one_by_one() {
    let mut world = World::new();
    let [a, b, c] = world.publish_all(["a", "b", "c"]);
    world.write(EVERYTHING);
    world.publisher.suspected();
    world.reconnect();
    assert!(world.publisher.is_isolating());
    for expected in ["a", "b", "c"] {
        world.transmit();
        assert_eq!(world.arrived(), [expected]);
        world.ack(0, true);
    }
    assert!(!world.publisher.is_isolating());
    assert_eq!(world.outcomes([a, b, c]), [Ok(()), Ok(()), Ok(())]);
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
    assert!(world.publisher.take_news().rejected.is_empty());
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
    assert!(matches!(outcome, Err(Unconfirmed::Unsendable(_))));
    let news = world.publisher.take_news();
    assert_eq!(news.dropped, [(DropReason::Unsendable, 1)]);
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

// Fire and forget.

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
    assert_eq!(world.publisher.take_news().rejected.len(), 1);
}

// The end.

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
    assert_eq!(world.publisher.take_woken(), ["patient"]);
    let news = world.publisher.take_news();
    assert_eq!(news.dropped, [(DropReason::Closed, 2)]);
    assert!(world.publisher.is_quiet());
}
