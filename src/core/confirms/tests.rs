use std::collections::BTreeMap;

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::core::scaled;

/// Publishes the messages at positions 10, 20, 30… under the tags 1, 2, 3….
fn published(count: u64) -> Confirms {
    let mut confirms = Confirms::new();
    for tag in 1..=count {
        assert_eq!(confirms.written(tag * 10), tag);
    }
    confirms
}

fn resolve(confirms: &mut Confirms, tag: u64, multiple: bool) -> Result<Vec<u64>, NeverPublished> {
    let mut positions = Vec::new();
    let count = confirms.resolve(tag, multiple, |position| positions.push(position))?;
    assert_eq!(count, positions.len());
    Ok(positions)
}

#[test]
fn a_single_confirm_resolves_its_message_alone() {
    let mut confirms = published(3);
    assert_eq!(resolve(&mut confirms, 2, false), Ok(vec![20]));
    assert_eq!(confirms.iter().collect::<Vec<_>>(), [(1, 10), (3, 30)]);
}

// fault 8
#[test]
fn a_multiple_confirm_resolves_everything_up_to_its_tag_in_order() {
    let mut confirms = published(5);
    assert_eq!(resolve(&mut confirms, 3, true), Ok(vec![10, 20, 30]));
    assert_eq!(confirms.outstanding(), 2);
}

// fault 8
#[test]
fn a_multiple_ack_spans_tags_whose_nacks_overtook_it() {
    let mut confirms = published(4);
    assert_eq!(resolve(&mut confirms, 2, false), Ok(vec![20]));
    assert_eq!(resolve(&mut confirms, 3, false), Ok(vec![30]));
    assert_eq!(resolve(&mut confirms, 3, true), Ok(vec![10]));
    assert_eq!(resolve(&mut confirms, 4, true), Ok(vec![40]));
}

#[test]
fn a_multiple_confirm_of_tag_0_resolves_everything() {
    let mut confirms = published(3);
    assert_eq!(resolve(&mut confirms, 0, true), Ok(vec![10, 20, 30]));
    assert_eq!(resolve(&mut confirms, 0, true), Ok(vec![]));
}

#[test]
fn a_repeated_confirm_resolves_nothing() {
    let mut confirms = published(3);
    assert_eq!(resolve(&mut confirms, 2, true), Ok(vec![10, 20]));
    assert_eq!(resolve(&mut confirms, 2, true), Ok(vec![]));
    assert_eq!(resolve(&mut confirms, 1, false), Ok(vec![]));
}

#[test]
fn a_confirm_of_a_publish_that_was_never_made_is_an_error() {
    let mut confirms = published(3);
    let error = NeverPublished { tag: 4, sent: 3 };
    assert_eq!(resolve(&mut confirms, 4, false), Err(error));
    assert_eq!(resolve(&mut confirms, 4, true), Err(error));
    let error = NeverPublished { tag: 0, sent: 3 };
    assert_eq!(resolve(&mut confirms, 0, false), Err(error));
    assert_eq!(confirms.outstanding(), 3);
}

// fault 7
#[test]
fn the_numbers_start_again_with_each_epoch() {
    let mut confirms = published(3);
    confirms.begin_epoch();
    assert_eq!(confirms.outstanding(), 0);
    assert!(resolve(&mut confirms, 1, false).is_err());
    assert_eq!(confirms.written(70), 1);
    assert_eq!(resolve(&mut confirms, 1, false), Ok(vec![70]));
}

// fault 9
#[test]
fn all_that_the_broker_was_silent_about_is_listed_when_the_channel_ends() {
    let mut confirms = published(4);
    resolve(&mut confirms, 2, false).unwrap();
    let unknown: Vec<u64> = confirms.iter().map(|(_, position)| position).collect();
    assert_eq!(unknown, [10, 30, 40]);
}

#[derive(Debug, Clone)]
enum Operation {
    Publish { positions_skipped: u64 },
    Resolve { back: u64, multiple: bool },
    BeginEpoch,
}

fn operation() -> impl Strategy<Value = Operation> {
    let resolve = (0..30u64, any::<bool>());
    prop_oneof![
        30 => (0..3u64).prop_map(|positions_skipped| Operation::Publish { positions_skipped }),
        20 => resolve.prop_map(|(back, multiple)| Operation::Resolve { back, multiple }),
        1 => Just(Operation::BeginEpoch),
    ]
}

proptest! {
    // faults 7, 8
    #[test]
    fn it_behaves_as_a_map_from_tags_to_positions(operations in vec(operation(), 0..scaled(400))) {
        let mut confirms = Confirms::new();
        let mut model = BTreeMap::new();
        let mut sent = 0;
        let mut position = 0;
        for operation in operations {
            match operation {
                Operation::Publish { positions_skipped } => {
                    position += 1 + positions_skipped;
                    sent += 1;
                    model.insert(sent, position);
                    prop_assert_eq!(confirms.written(position), sent);
                }
                Operation::Resolve { back, multiple } => {
                    // Reaches one past the last tag, and down to 0.
                    let tag = (sent + 1).saturating_sub(back);
                    let hit = |open: u64| match (tag, multiple) {
                        (0, true) => true,
                        (_, true) => open <= tag,
                        (_, false) => open == tag,
                    };
                    let expected = if tag > sent || tag == 0 && !multiple {
                        Err(NeverPublished { tag, sent })
                    } else {
                        let (hits, open) = model.into_iter().partition(|&(open, _)| hit(open));
                        model = open;
                        Ok(BTreeMap::into_values(hits).collect())
                    };
                    prop_assert_eq!(resolve(&mut confirms, tag, multiple), expected);
                }
                Operation::BeginEpoch => {
                    confirms.begin_epoch();
                    model.clear();
                    sent = 0;
                }
            }
            prop_assert_eq!(confirms.outstanding(), model.len());
            let outstanding = model.iter().map(|(&tag, &position)| (tag, position));
            prop_assert!(confirms.iter().eq(outstanding));
        }
    }
}
