use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;
use crate::core::scaled;

/// A consumer of a stream, with a channel or without.
struct World {
    progress: Progress,
    now: Instant,
    next_tag: u64,
}

impl World {
    fn new(begin: Option<StreamOffset>) -> Self {
        Self {
            progress: Progress::new(begin),
            now: Instant::now(),
            next_tag: 1,
        }
    }

    fn passes(&mut self, seconds: u64) {
        self.now += Duration::from_secs(seconds);
    }

    /// A channel is opened, and receives. Where it begins.
    fn comes(&mut self) -> Option<StreamOffset> {
        let begin = self.progress.resume(self.now);
        self.progress.begins(self.now, begin);
        self.progress.receives(self.now);
        self.next_tag = 1;
        begin
    }

    fn goes(&mut self) {
        self.progress.receives_no_more(self.now);
        self.progress.channel_lost();
    }

    /// The stream sends these; the tags of those that are wanted.
    fn sends(&mut self, offsets: impl IntoIterator<Item = u64>) -> Vec<u64> {
        let mut wanted = Vec::new();
        for offset in offsets {
            if self.progress.received(self.next_tag, Some(offset)) {
                wanted.push(self.next_tag);
            }
            self.next_tag += 1;
        }
        wanted
    }
}

fn at(offset: u64) -> Option<StreamOffset> {
    Some(StreamOffset::Offset(offset))
}

fn ago(seconds: u64) -> Option<StreamOffset> {
    Some(StreamOffset::Interval(Duration::from_secs(seconds)))
}

#[test]
fn it_goes_on_with_the_first_that_is_not_settled_and_leaves_out_those_behind_it_that_are() {
    let mut world = World::new(Some(StreamOffset::First));
    assert_eq!(world.comes(), Some(StreamOffset::First));
    assert_eq!(world.progress.position(), None);
    assert_eq!(world.sends(0..8).len(), 8);
    for tag in [1, 2, 3, 5, 6, 8] {
        world.progress.settled(tag);
    }
    assert_eq!(world.progress.position(), Some(3));
    world.goes();
    assert_eq!(world.comes(), at(3));
    // Offsets 3 to 9: of these 3, 6, 8 and 9.
    assert_eq!(world.sends(3..10), [1, 4, 6, 7]);
    world.progress.settled(1);
    assert_eq!(world.progress.position(), Some(6));
    world.progress.settled_up_to(7);
    assert_eq!(world.progress.position(), Some(10));
    world.goes();
    assert_eq!(world.comes(), at(10));
}

#[test]
fn what_came_again_on_no_channel_yet_is_still_wanted_on_the_one_after_the_next() {
    let mut world = World::new(Some(StreamOffset::First));
    world.comes();
    world.sends(0..5);
    for tag in [2, 4] {
        world.progress.settled(tag);
    }
    world.goes();
    assert_eq!(world.comes(), at(0));
    assert_eq!(world.sends(0..2), [1]);
    world.progress.settled(1);
    world.goes();
    assert_eq!(world.comes(), at(2));
    assert_eq!(world.sends(2..6), [1, 3, 4]);
}

#[test]
fn what_the_stream_has_given_up_or_filtered_out_is_not_waited_for() {
    let mut world = World::new(Some(StreamOffset::First));
    world.comes();
    world.sends([5, 9, 14]);
    world.progress.settled(2);
    world.goes();
    assert_eq!(world.comes(), at(5));
    assert_eq!(world.sends([12, 14, 20]), [2, 3], "nobody wanted 12 before");
    assert_eq!(world.progress.position(), Some(14));
    world.progress.settled_up_to(3);
    assert_eq!(world.progress.position(), Some(21));
}

#[test]
fn where_nothing_came_what_is_told_from_the_present_is_told_from_that_moment() {
    for (begin, expected) in [
        (None, ago(65)),
        (Some(StreamOffset::Next), ago(65)),
        (ago(100), ago(160)),
        (Some(StreamOffset::First), Some(StreamOffset::First)),
        (at(7), at(7)),
    ] {
        let mut world = World::new(begin);
        assert_eq!(world.comes(), begin);
        world.passes(20);
        world.goes();
        world.passes(40);
        assert_eq!(world.comes(), expected);
        // It is the same moment, however often it comes back.
        let is_interval = matches!(expected, Some(StreamOffset::Interval(_)));
        world.passes(10);
        world.goes();
        let again = world.comes();
        assert_eq!(again == expected, !is_interval, "{again:?}");
        assert_eq!(world.sends([40]), [1]);
        world.goes();
        assert_eq!(world.comes(), at(40));
    }
}

#[test]
fn the_last_is_asked_for_again_unless_there_was_none() {
    let mut world = World::new(Some(StreamOffset::Last));
    for _ in 0..3 {
        assert_eq!(world.comes(), Some(StreamOffset::Last));
        world.passes(1);
        world.goes();
    }
    world.comes();
    world.passes(6);
    world.goes();
    assert_eq!(world.comes(), ago(9 + 5));
    world.sends([3]);
    world.progress.settled(1);
    world.passes(60);
    world.goes();
    assert_eq!(world.comes(), at(4));
}

#[test]
fn where_somebody_knows_better_nothing_is_left_out() {
    let mut world = World::new(Some(StreamOffset::First));
    world.comes();
    world.sends(0..10);
    world.progress.settled_up_to(8);
    world.goes();
    world.progress.begins(world.now, at(4));
    assert_eq!(world.progress.position(), None);
    world.next_tag = 1;
    assert_eq!(world.sends(4..6), [1, 2]);
    world.goes();
    assert_eq!(world.comes(), at(4));
}

#[test]
fn a_stream_that_was_deleted_and_comes_again_is_read_from_its_first() {
    for begin in [None, Some(StreamOffset::Next), at(7)] {
        let mut world = World::new(begin);
        world.comes();
        world.sends(7..10);
        world.progress.settled(1);
        world.progress.deleted();
        world.goes();
        assert_eq!(world.progress.position(), None);
        for _ in 0..2 {
            world.passes(60);
            assert_eq!(world.comes(), Some(StreamOffset::First));
            world.goes();
        }
        world.comes();
        assert_eq!(world.sends(0..10).len(), 10);
    }
}

#[test]
fn an_offset_that_cannot_be_seen_is_the_one_after_the_last() {
    let mut world = World::new(Some(StreamOffset::First));
    world.comes();
    world.sends([7]);
    assert!(world.progress.received(2, None));
    world.progress.settled(1);
    assert_eq!(world.progress.position(), Some(8));
    world.goes();
    assert_eq!(world.comes(), at(8));
    assert!(world.progress.received(1, None));
    world.progress.settled(1);
    assert_eq!(world.progress.position(), Some(9));
}

/// What happens to a consumer.
#[derive(Clone, Debug)]
enum Step {
    /// The stream sends so many, which are handed out.
    Send(usize),
    /// One of those at hand is settled.
    Settle(usize),
    SettleUpTo(usize),
    /// The channel ends, and the next one comes.
    Cut,
    /// The stream gives up so many of its oldest.
    GiveUp(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (1..8usize).prop_map(Step::Send),
        6 => (0..20usize).prop_map(Step::Settle),
        1 => (0..20usize).prop_map(Step::SettleUpTo),
        2 => Just(Step::Cut),
        1 => (1..4u64).prop_map(Step::GiveUp),
    ];
    prop::collection::vec(step, 1..scaled(120))
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(scaled(512) as u32))]

    #[test]
    fn each_message_comes_again_until_it_is_settled_and_never_after(
        steps in steps(),
        stride in 1..4u64,
        first in 0..100u64,
    ) {
        let mut world = World::new(Some(StreamOffset::First));
        world.comes();
        // The stream has every offset from `from` on that is a multiple of the stride away from the first.
        let (mut from, mut cursor) = (first, first);
        let mut at_hand = Vec::new();
        let mut state = BTreeMap::new();
        let is_there = |offset: u64| (offset - first).is_multiple_of(stride);
        for step in steps {
            match step {
                Step::Send(count) => for _ in 0..count {
                    cursor = (cursor.max(from)..).find(|it| is_there(*it)).expect("it goes on");
                    let tag = world.next_tag;
                    let is_wanted = !world.sends([cursor]).is_empty();
                    prop_assert_eq!(is_wanted, state.get(&cursor) != Some(&true), "offset {}", cursor);
                    if is_wanted {
                        state.insert(cursor, false);
                        at_hand.push((tag, cursor));
                    }
                    cursor += 1;
                },
                Step::Settle(which) if !at_hand.is_empty() => {
                    let (tag, offset) = at_hand.remove(which % at_hand.len());
                    world.progress.settled(tag);
                    state.insert(offset, true);
                }
                Step::SettleUpTo(which) if !at_hand.is_empty() => {
                    let which = which % at_hand.len();
                    world.progress.settled_up_to(at_hand[which].0);
                    for (_, offset) in at_hand.drain(..=which) {
                        state.insert(offset, true);
                    }
                }
                Step::Cut => {
                    world.goes();
                    at_hand.clear();
                    match world.comes() {
                        Some(StreamOffset::Offset(offset)) => {
                            let unsettled = state.iter().find(|(_, is_settled)| !**is_settled);
                            let highest = state.last_key_value().map_or(0, |(offset, _)| offset + 1);
                            let expected = unsettled.map_or(highest, |(offset, _)| *offset);
                            prop_assert_eq!(offset, expected);
                            cursor = offset;
                        }
                        begin => {
                            prop_assert_eq!(begin, Some(StreamOffset::First));
                            prop_assert!(state.is_empty());
                            cursor = first;
                        }
                    }
                }
                Step::GiveUp(count) => from += count,
                Step::Settle(_) | Step::SettleUpTo(_) => {}
            }
            // What the stream has given up, and is not at hand, is forgotten when one behind it comes.
            state.retain(|offset, is_settled| {
                let is_at_hand = at_hand.iter().any(|(_, it)| it == offset);
                *is_settled || is_at_hand || *offset >= from.min(cursor)
            });
        }
        // Nothing is lost: what is there and not settled comes on the next channel.
        world.goes();
        let begin = match world.comes() {
            Some(StreamOffset::Offset(offset)) => offset,
            _ => first,
        };
        for (offset, is_settled) in state {
            if offset >= from.max(begin) {
                let came = !world.sends([offset]).is_empty();
                prop_assert_eq!(came, !is_settled);
            } else {
                prop_assert!(is_settled || offset < from);
            }
        }
    }
}
