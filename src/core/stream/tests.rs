use super::*;

#[test]
fn one_sign_keeps_from_giving_back_and_both_from_refusing() {
    for is_said in [false, true] {
        for is_shown in [None, Some(false), Some(true)] {
            let mut signs = StreamSigns::default();
            if is_said {
                signs.said();
            }
            if let Some(has_place) = is_shown {
                signs.shown(has_place);
            }
            let may_be = is_shown.unwrap_or(is_said);
            assert_eq!(signs.may_be_stream(), may_be, "{is_said} {is_shown:?}");
            assert_eq!(signs.is_stream(), is_said && may_be);
        }
    }
}

#[test]
fn the_first_delivery_of_a_channel_speaks_for_all() {
    let mut signs = StreamSigns::default();
    signs.said();
    signs.shown(false);
    signs.shown(true);
    assert!(!signs.is_open() && !signs.may_be_stream());
    signs.channel_lost();
    assert!(signs.is_open() && signs.is_stream());
}

#[test]
fn a_refusal_that_costs_the_connection_is_the_proof_where_there_was_a_sign() {
    for has_place in [true, false] {
        let mut signs = StreamSigns::default();
        signs.shown(has_place);
        signs.refusal_refused();
        assert_eq!(signs.is_stream(), has_place);
        signs.channel_lost();
        signs.shown(true);
        assert_eq!(signs.is_stream(), has_place);
    }
}
