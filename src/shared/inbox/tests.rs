mod places;

use snowshoe_codec::{FieldTable, Properties};

use super::*;
use crate::core::testing::{consumed, consumed_with, name};

const WIDE: Flow = Flow::Wide { prefetch: 0 };

/// What a delivery of these tests takes, whose bodies are empty.
fn one() -> usize {
    cost(&delivery(1, "tag"))
}

fn delivery(tag: u64, consumer: &str) -> Delivery {
    consumed(consumer, &[(tag, &[])]).remove(0)
}

fn delivery_of_a_stream(tag: u64) -> Delivery {
    let place = i64::try_from(tag).expect("it is small");
    let properties = Properties::builder().header(OFFSET, place);
    let properties = properties.build().expect("it is short");
    consumed_with("tag", &properties, &[(tag, &[])]).remove(0)
}

struct World {
    inbox: Inbox,
    batch: VecDeque<Delivery>,
    epoch: Epoch,
}

impl World {
    fn new(spec: ConsumerSpec, messages: usize, room: usize) -> Self {
        let bounds = Bounds {
            messages,
            bytes: room * one(),
            prefetch: (spec.prefetch > 0).then_some(spec.prefetch),
        };
        let spec = ConsumerSpec {
            queue: name("q"),
            tag: name("tag"),
            ..spec
        };
        let inbox = Inbox::new(&spec, bounds, Arc::default());
        let epoch = Epoch::default().next();
        inbox.begin_epoch(epoch, name("q"), WIDE);
        Self {
            inbox,
            batch: VecDeque::new(),
            epoch,
        }
    }

    fn acked(messages: usize, room: usize) -> Self {
        Self::new(ConsumerSpec::default(), messages, room)
    }

    fn without_acks(messages: usize, room: usize) -> Self {
        let spec = ConsumerSpec {
            no_ack: true,
            ..ConsumerSpec::default()
        };
        Self::new(spec, messages, room)
    }

    fn fill(&self, tags: impl IntoIterator<Item = u64>) -> Filled {
        self.fill_from("tag", tags)
    }

    fn fill_from(&self, consumer: &str, tags: impl IntoIterator<Item = u64>) -> Filled {
        let tags = tags.into_iter();
        self.inbox
            .fill(&mut tags.map(|tag| delivery(tag, consumer)).collect())
    }

    /// Hands out up to so many; which they were.
    fn hand_out(&mut self, limit: usize) -> Vec<u64> {
        let mut tags = Vec::new();
        while tags.len() < limit {
            if self.batch.is_empty() {
                let nothing = (self.epoch, Load::default());
                self.inbox.take(&mut self.batch, nothing, None);
            }
            let Some(delivery) = self.batch.pop_front() else {
                break;
            };
            let mut load = Load::default();
            load.add(cost(&delivery));
            self.inbox.handed_out(self.epoch, load);
            tags.push(delivery.delivery_tag);
        }
        tags
    }

    /// What the broker is told of deliveries.
    fn told(&self) -> Vec<(Settle, u64, bool)> {
        let mut told = Vec::new();
        self.inbox
            .flush(|frame| told.push((frame.settle, frame.tag, frame.multiple)));
        told
    }

    /// The broker is asked to become narrow, and does.
    fn narrow(&self) {
        assert_eq!(self.inbox.take_wish(), Some(Flow::Narrow));
        assert_eq!(self.inbox.flows(Flow::Narrow), None);
    }
}

const BACK: Settle = Settle::Nack { requeue: true };

// case B2
#[test]
fn the_broker_is_asked_for_less_when_too_many_wait_and_for_more_when_half_are_taken() {
    let mut world = World::acked(4, 100);
    assert!(!world.fill(1..=4).has_wish);
    assert!(world.fill([5]).has_wish);
    world.narrow();
    assert!(!world.fill_from("paused-tag", [6]).has_wish);
    assert_eq!(world.hand_out(3), [1, 2, 3]);
    assert_eq!(world.inbox.take_wish(), None);
    assert_eq!(world.hand_out(1), [4]);
    assert_eq!(world.inbox.take_wish(), Some(WIDE));
    assert_eq!(world.inbox.flows(WIDE), None);
    assert_eq!(world.hand_out(9), [5, 6]);
}

// case G2
#[test]
fn what_was_taken_out_in_one_go_and_not_handed_out_still_waits() {
    let mut world = World::acked(100, 8);
    world.fill(1..=4);
    world.hand_out(1);
    assert!(!world.fill([5]).has_wish);
    assert!(world.fill([6]).has_wish);
    assert_eq!(world.inbox.waiting().1.messages, 5);
}

// case B2
#[test]
fn what_there_is_no_room_for_goes_back_to_the_queue_once_there_is() {
    let mut world = World::acked(100, 4);
    world.fill(1..=3);
    world.narrow();
    world.fill([4, 5, 6]);
    world.fill_from("paused-tag", [7]);
    assert_eq!(world.inbox.len(), 4);
    assert_eq!(world.told(), []);
    assert_eq!(world.hand_out(9), [1, 2, 3, 4]);
    assert_eq!(world.inbox.take_wish(), Some(WIDE));
    assert_eq!(world.told(), [], "more may be on its way");
    world.inbox.let_back();
    // The others are in the user's hands, so that no multiple can be said.
    assert_eq!(
        world.told(),
        [(BACK, 5, false), (BACK, 6, false), (BACK, 7, false)]
    );
    world.inbox.flows(WIDE);
    world.fill([8, 9]);
    assert_eq!(world.hand_out(9), [8, 9]);
    assert_eq!(
        world.inbox.settle(world.epoch, 9, Settle::Ack, false, 1),
        Ok(Settled::Sent)
    );
    assert_eq!(world.told(), [(Settle::Ack, 9, false)]);
}

#[test]
fn what_goes_back_is_said_in_one_where_nothing_else_is_unsettled() {
    let mut world = World::acked(100, 4);
    world.fill(1..=9);
    world.narrow();
    for tag in world.hand_out(9) {
        let settled = world.inbox.settle(world.epoch, tag, Settle::Ack, false, 1);
        assert_eq!(settled, Ok(Settled::Sent));
    }
    assert_eq!(world.told(), [(Settle::Ack, 4, true)]);
    assert_eq!(world.inbox.take_wish(), Some(WIDE));
    world.inbox.let_back();
    assert_eq!(world.told(), [(BACK, 9, true)]);
}

#[test]
fn a_message_that_is_larger_than_all_the_room_waits_alone() {
    let mut world = World::acked(100, 4);
    let large = consumed("tag", &[(1, &[0; 10_000]), (2, &[0; 10_000])]);
    assert!(world.inbox.fill(&mut large.into()).has_wish);
    world.narrow();
    assert_eq!(world.hand_out(9), [1]);
    assert_eq!(world.inbox.take_wish(), Some(WIDE));
    world.inbox.let_back();
    assert_eq!(world.told(), [(BACK, 2, false)]);
}

// case B2
#[test]
fn without_acks_what_there_is_no_room_for_is_dropped_and_counted() {
    let mut world = World::without_acks(100, 4);
    let filled = world.fill(1..=6);
    assert_eq!(filled.dropped, 2);
    assert!(filled.has_wish);
    assert_eq!(world.fill([7]).dropped, 1);
    assert_eq!(world.inbox.dropped(), 3);
    assert_eq!(world.hand_out(9), [1, 2, 3, 4]);
}

// case B2
#[test]
fn without_acks_what_came_to_the_narrow_consumer_is_handed_out_once_the_broker_has_heard() {
    let mut world = World::without_acks(2, 100);
    world.fill(1..=3);
    world.narrow();
    world.fill_from("paused-tag", [4]);
    assert_eq!(world.hand_out(9), [1, 2, 3]);
    assert_eq!(world.inbox.take_wish(), Some(WIDE));
    world.fill([5]);
    assert_eq!(world.hand_out(9), [0_u64; 0], "it would overtake");
    assert_eq!(world.inbox.flows(WIDE), Some(4));
    world.fill([6]);
    assert_eq!(world.hand_out(9), [0_u64; 0]);
    world.inbox.heard();
    assert_eq!(world.hand_out(9), [4, 5, 6]);
    world.fill([7]);
    assert_eq!(world.hand_out(9), [7]);
}

// case B2
#[test]
fn without_acks_a_lost_channel_takes_along_what_the_broker_may_send_again_and_nothing_else() {
    let mut world = World::without_acks(2, 100);
    world.fill(1..=3);
    world.narrow();
    world.fill_from("paused-tag", [4]);
    assert_eq!(world.hand_out(3), [1, 2, 3]);
    assert_eq!(world.inbox.take_wish(), Some(WIDE));
    world.fill([5]);
    world.inbox.flows(WIDE);
    world.inbox.end_epoch();
    assert_eq!(world.hand_out(9), [5]);
}

#[test]
fn without_acks_what_was_received_stays_when_no_more_comes() {
    let mut world = World::without_acks(9, 100);
    world.fill(1..=3);
    world.inbox.let_go();
    assert_eq!(world.hand_out(9), [1, 2, 3]);
}

// case B2
#[test]
fn without_acks_who_is_behind_stays_so_through_a_reconnect() {
    let mut world = World::without_acks(2, 100);
    world.fill(1..=3);
    world.narrow();
    world.inbox.end_epoch();
    world.hand_out(1);
    world
        .inbox
        .begin_epoch(world.epoch.next(), name("q"), Flow::Narrow);
    assert_eq!(world.inbox.take_wish(), None);
    world.hand_out(1);
    assert_eq!(world.inbox.take_wish(), Some(WIDE));
}

// case B2
#[test]
fn a_broker_that_cannot_be_asked_is_given_back_what_there_is_no_room_for() {
    let mut world = World::acked(100, 4);
    world.fill(1..=5);
    assert_eq!(world.inbox.take_wish(), Some(Flow::Narrow));
    world.inbox.hold();
    world.fill([6]);
    assert_eq!(world.hand_out(2), [1, 2]);
    assert_eq!(world.inbox.take_wish(), None);
    assert_eq!(world.told(), []);
    assert_eq!(world.hand_out(1), [3]);
    assert_eq!(world.inbox.take_wish(), None, "it goes on as it is");
    assert_eq!(world.told(), [(BACK, 5, false), (BACK, 6, false)]);
    world.fill([7]);
    assert_eq!(world.hand_out(9), [4, 7]);
}

// case B2
#[test]
fn who_goes_away_gives_back_what_there_was_no_room_for_too() {
    let world = World::acked(100, 2);
    world.fill(1..=5);
    world.inbox.abandon(&mut VecDeque::new(), world.epoch);
    assert_eq!(world.inbox.take_wish(), None);
    assert_eq!(
        world.told(),
        [],
        "before its cancel it would come to the same consumer"
    );
    world.inbox.let_go();
    let mut back = world.told();
    back.sort_by_key(|it| it.1);
    assert_eq!(back.len(), 4);
    assert!(back.iter().all(|it| it.0 == BACK));
    assert!(!world.fill([6]).given_back);
    world.inbox.let_go();
    assert_eq!(world.told(), [(BACK, 6, false)]);
}

#[test]
fn what_still_comes_to_one_that_went_away_takes_no_more_room_than_before() {
    let world = World::acked(100, 2);
    world.inbox.abandon(&mut VecDeque::new(), world.epoch);
    assert!(!world.fill([1]).given_back);
    assert!(world.fill(2..=50).given_back);
    assert_eq!(world.inbox.len(), 0);
}

#[test]
fn at_a_close_what_was_not_handed_out_goes_back_and_what_was_can_be_settled() {
    let mut world = World::acked(100, 100);
    world.fill(1..=6);
    world.hand_out(2);
    world.inbox.hands_out(2);
    world.fill([7]);
    world.inbox.take_back();
    assert!(world.inbox.is_stale(world.epoch), "no more is handed out");
    let settled = world.inbox.settle(world.epoch, 2, Settle::Ack, true, 2);
    assert_eq!(settled, Ok(Settled::Sent));
    let told = world.told();
    assert_eq!(told, [(Settle::Ack, 2, true), (BACK, 7, true)]);
}

#[test]
fn what_a_single_active_consumer_has_goes_back_with_its_channel() {
    let mut world = World::acked(100, 2);
    world.inbox.said_to_be_single_active(true);
    world.fill(1..=50);
    assert_eq!(world.hand_out(1), [1]);
    world.inbox.abandon(&mut world.batch, world.epoch);
    world.inbox.let_go();
    world.fill(51..=60);
    assert_eq!(world.told(), []);
    let settled = world.inbox.settle(world.epoch, 1, Settle::Ack, false, 1);
    assert_eq!(settled, Ok(Settled::Sent));
    assert_eq!(world.told(), [(Settle::Ack, 1, false)]);
    assert!(world.inbox.is_drained());
}

/// A consumer that said where in a stream it begins, or did not.
fn of_a_stream(is_said: bool, prefetch: u16) -> World {
    let arguments = match is_said {
        true => FieldTable::new()
            .with(OFFSET, "first")
            .expect("it is short"),
        false => FieldTable::new(),
    };
    let spec = ConsumerSpec {
        prefetch,
        arguments,
        ..ConsumerSpec::default()
    };
    World::new(spec, usize::MAX, 4)
}

impl World {
    fn fill_from_stream(&self, tags: impl IntoIterator<Item = u64>) -> Filled {
        let tags = tags.into_iter();
        self.inbox
            .fill(&mut tags.map(delivery_of_a_stream).collect())
    }

    fn refuse(&self, tag: u64) -> Result<Settled, SettleError> {
        self.inbox.settle(self.epoch, tag, BACK, false, 1)
    }
}

#[test]
fn of_a_stream_nothing_goes_back_however_much_comes_and_whoever_goes_away() {
    for is_said in [true, false] {
        let mut world = of_a_stream(is_said, 10);
        assert_eq!(world.fill_from_stream(1..=100), Filled::default());
        assert_eq!(world.hand_out(60).len(), 60);
        world.inbox.abandon(&mut world.batch, world.epoch);
        world.fill_from_stream(101..=110);
        world.inbox.let_go();
        assert_eq!(world.told(), []);
        assert!(!world.inbox.is_drained(), "some are in the user's hands");
    }
}

#[test]
fn what_is_refused_of_a_stream_is_acknowledged_where_it_is_sure_to_be_one() {
    let mut world = of_a_stream(true, 10);
    world.fill_from_stream(1..=3);
    world.hand_out(3);
    assert_eq!(world.refuse(1), Ok(Settled::PassedOver));
    let again = world.inbox.settle(world.epoch, 1, BACK, false, 0);
    assert_eq!(again, Err(SettleError::AlreadySettled));
    let (tags, settle) = ([2, 3].into_iter(), Settle::Reject { requeue: false });
    let settled = world.inbox.settle_each(world.epoch, tags, settle);
    assert_eq!(settled, Ok(Settled::PassedOver));
    assert_eq!(world.told(), [(Settle::Ack, 3, true)]);
}

#[test]
fn a_place_in_a_stream_alone_is_no_reason_to_acknowledge_what_is_refused_until_that_cost_a_connection()
 {
    let mut world = of_a_stream(false, 10);
    world.fill_from_stream(1..=3);
    world.hand_out(3);
    assert_eq!(world.refuse(1), Ok(Settled::Sent));
    assert_eq!(world.told(), [(BACK, 1, false)]);
    world.inbox.refusal_refused();
    assert_eq!(world.refuse(2), Ok(Settled::PassedOver));
    // The queue can be another by the next channel.
    world.inbox.end_epoch();
    world.epoch = world.epoch.next();
    world.inbox.begin_epoch(world.epoch, name("q"), WIDE);
    world.fill([1]);
    world.hand_out(1);
    assert_eq!(world.refuse(1), Ok(Settled::Sent));
}
