use std::cell::RefCell;
use std::time::{Duration, Instant};

use super::*;
use crate::stream::StreamOffset;

impl World {
    /// The stream sends these again from a tag of 1 on, on the next channel.
    fn comes_back(&mut self) -> Option<StreamOffset> {
        let now = Instant::now();
        self.inbox.end_epoch();
        let begin = self.inbox.begin_in_stream(now, |_, _| None);
        self.epoch = self.epoch.next();
        self.inbox.begin_epoch(self.epoch, name("q"), WIDE);
        self.batch.clear();
        begin
    }

    /// Deliveries whose tags are lower by so many than their offsets.
    fn sends(&self, behind: u64, offsets: impl IntoIterator<Item = u64>) -> Filled {
        let offsets = offsets.into_iter();
        let mut batch = offsets.map(|offset| at(offset - behind, offset)).collect();
        self.inbox.fill(&mut batch)
    }

    fn ack(&self, tag: u64) {
        let settled = self.inbox.settle(self.epoch, tag, Settle::Ack, false, 1);
        assert_eq!(settled, Ok(Settled::Sent));
    }
}

fn at(tag: u64, offset: u64) -> Delivery {
    let offset = i64::try_from(offset).expect("it is small");
    let properties = Properties::builder().header(OFFSET, offset);
    let properties = properties.build().expect("it is short");
    consumed_with("tag", &properties, &[(tag, &[])]).remove(0)
}

#[test]
fn what_was_settled_on_an_earlier_channel_is_acknowledged_and_not_handed_out() {
    let mut world = of_a_stream(true, 10);
    assert!(!world.sends(0, 1..=6).has_settled);
    assert_eq!(world.inbox.position(), Some(1));
    world.hand_out(6);
    for tag in [1, 3, 4, 6] {
        world.ack(tag);
    }
    assert_eq!(world.inbox.position(), Some(2));
    assert_eq!(world.comes_back(), Some(StreamOffset::Offset(2)));
    assert!(world.sends(1, 2..=4).has_settled);
    assert!(world.sends(1, 5..=7).has_settled);
    assert_eq!(world.inbox.waiting().1.messages, 3, "nothing else waits");
    // Of the offsets 2, 5 and 7.
    assert_eq!(world.hand_out(9), [1, 4, 6]);
    assert_eq!(
        world.told(),
        [
            (Settle::Ack, 2, false),
            (Settle::Ack, 3, false),
            (Settle::Ack, 5, false)
        ]
    );
    let settled = world.inbox.settle(world.epoch, 6, Settle::Ack, true, 3);
    assert_eq!(settled, Ok(Settled::Sent));
    assert_eq!(world.told(), [(Settle::Ack, 6, true)]);
    assert!(world.inbox.is_drained());
    assert_eq!(world.comes_back(), Some(StreamOffset::Offset(8)));
}

#[test]
fn a_batch_of_which_nothing_is_wanted_wakes_nobody_and_is_told_to_the_broker() {
    let mut world = of_a_stream(true, 10);
    world.sends(0, 1..=3);
    world.hand_out(3);
    world.ack(2);
    world.ack(3);
    world.comes_back();
    world.sends(0, [1]);
    assert_eq!(world.hand_out(9), [1]);
    assert!(world.sends(0, [2, 3]).has_settled);
    assert!(world.hand_out(9).is_empty());
    assert_eq!(world.told().len(), 2);
}

#[test]
fn what_is_passed_over_is_settled_and_what_is_refused_without_proof_is_read_on_from_there() {
    for is_said in [true, false] {
        let mut world = of_a_stream(is_said, 10);
        world.sends(0, 1..=3);
        world.hand_out(3);
        assert!(world.refuse(1).is_ok());
        // That is told before the connection is told to be lost.
        world.inbox.refusal_refused();
        assert_eq!(world.comes_back(), Some(StreamOffset::Offset(2)));
    }
}

#[test]
fn of_what_only_looks_like_a_stream_nothing_is_left_out_and_no_place_is_asked_for() {
    let mut world = of_a_stream(false, 10);
    for _ in 0..2 {
        let batch = [(1, 7), (2, 7), (3, 3)].map(|(tag, offset)| at(tag, offset));
        assert_eq!(world.inbox.fill(&mut batch.into()), Filled::default());
        assert_eq!(world.hand_out(9), [1, 2, 3]);
        world.ack(2);
        assert_eq!(world.comes_back(), None);
        assert_eq!(world.inbox.position(), None);
    }
    assert_eq!(world.told(), []);
}

#[test]
fn no_stream_has_a_position() {
    let mut world = World::acked(10, 10);
    world.fill(1..=3);
    assert_eq!(world.inbox.position(), None);
    assert_eq!(world.comes_back(), None);
}

#[test]
fn whoever_is_asked_is_told_where_it_would_begin_and_called_without_the_lock() {
    let told = Arc::new(Mutex::new(Vec::new()));
    let ask: AskForOffset = Arc::new({
        let told = Arc::clone(&told);
        move |own| {
            lock(&told).push(own);
            StreamOffset::Offset(40)
        }
    });
    let spec = ConsumerSpec::default();
    let bounds = Bounds {
        messages: 10,
        bytes: 10 * one(),
        prefetch: None,
    };
    let inbox = Inbox::new(&spec, bounds, Arc::default()).asking_for_offset(Some(ask));
    let now = Instant::now();
    let asked = RefCell::new(0);
    let begin = inbox.begin_in_stream(now, |ask, own| {
        *asked.borrow_mut() += 1;
        // It would wait for itself.
        assert_eq!(inbox.position(), None);
        Some(ask(own))
    });
    assert_eq!(begin, Some(StreamOffset::Offset(40)));
    // One that has panicked says nothing, and what was begun with before is kept.
    let later = now + Duration::from_secs(60);
    let begin = inbox.begin_in_stream(later, |ask, own| {
        ask(own);
        None
    });
    assert_eq!(begin, Some(StreamOffset::Offset(40)));
    assert_eq!(*lock(&told), [StreamOffset::Next, StreamOffset::Offset(40)]);
    assert_eq!(asked.into_inner(), 1);
}
