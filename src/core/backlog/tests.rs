use super::*;

const MESSAGE: usize = 100;

/// A backlog of so many messages of 100 bytes, with this prefetch.
fn backlog(room: usize, prefetch: Option<u16>) -> Backlog {
    Backlog::new(Bounds {
        messages: usize::MAX,
        bytes: room * MESSAGE,
        prefetch,
    })
}

fn load(messages: usize, bytes: usize) -> Load {
    Load { messages, bytes }
}

impl Backlog {
    /// Takes so many messages of this size, as the inbox does; gives how many were kept.
    fn deliver(&mut self, tags: std::ops::RangeInclusive<u64>, bytes: usize) -> usize {
        let mut kept = 0;
        for tag in tags {
            if self.has_room(bytes) {
                self.keep(load(1, bytes));
                kept += 1;
            } else {
                self.give_back(tag);
            }
        }
        kept
    }

    fn hand_out(&mut self, messages: usize, bytes: usize) {
        self.release(load(messages, messages * bytes));
    }
}

#[test]
fn half_of_the_bytes_are_kept_for_what_is_on_its_way() {
    let mut backlog = backlog(8, None);
    backlog.keep(load(4, 4 * MESSAGE));
    assert_eq!(backlog.take_wish(), None);
    backlog.keep(load(1, MESSAGE));
    assert_eq!(backlog.take_wish(), Some(Flow::Narrow));
    assert_eq!(backlog.take_wish(), None, "it was asked");
    assert_eq!(backlog.deliver(6..=9, MESSAGE), 3);
}

#[test]
fn more_is_asked_for_when_a_quarter_is_left_and_not_before_the_broker_has_heard() {
    let mut backlog = backlog(8, None);
    backlog.keep(load(5, 5 * MESSAGE));
    backlog.take_wish();
    backlog.hand_out(5, MESSAGE);
    assert!(!backlog.has_wish());
    backlog.flows(Flow::Narrow);
    assert_eq!(backlog.take_wish(), Some(Flow::Wide { prefetch: 0 }));
    assert!(!backlog.has_wish());
    backlog.flows(Flow::Wide { prefetch: 0 });
    assert!(!backlog.has_wish());
}

#[test]
fn who_is_told_to_go_back_goes_before_who_is_let_in_again() {
    let mut backlog = backlog(4, None);
    assert_eq!(backlog.deliver(1..=9, MESSAGE), 4);
    backlog.take_wish();
    backlog.flows(Flow::Narrow);
    backlog.hand_out(3, MESSAGE);
    assert!(!backlog.has_room(1), "it would overtake the others");
    assert!(backlog.take_wish().is_some());
    assert!(!backlog.has_room(1));
    backlog.let_back();
    assert_eq!(backlog.take_returns(), Some(Tags { first: 5, last: 9 }));
    assert!(backlog.has_room(1));
}

#[test]
fn one_that_does_not_fit_is_reason_enough_to_ask_for_less() {
    let mut backlog = backlog(4, None);
    backlog.keep(load(1, MESSAGE));
    assert_eq!(backlog.deliver(2..=2, 10 * MESSAGE), 0);
    assert_eq!(backlog.take_wish(), Some(Flow::Narrow));
}

// case G2
#[test]
fn a_prefetch_of_large_messages_comes_back_as_low_as_they_are_large() {
    let mut backlog = backlog(40, Some(100));
    assert_eq!(backlog.deliver(1..=100, MESSAGE), 40);
    assert_eq!(backlog.take_wish(), Some(Flow::Narrow));
    backlog.flows(Flow::Narrow);
    backlog.hand_out(30, MESSAGE);
    let window = Flow::Wide { prefetch: 10 };
    assert_eq!(backlog.take_wish(), Some(window));
    backlog.let_back();
    assert_eq!(
        backlog.take_returns(),
        Some(Tags {
            first: 41,
            last: 100
        })
    );
    backlog.flows(window);
    // What was there and all that may come fit into the half.
    backlog.deliver(101..=110, MESSAGE);
    assert!(!backlog.has_wish());
}

// case G2
#[test]
fn where_one_message_is_all_that_fits_the_prefetch_is_1_and_stays_so() {
    let mut backlog = backlog(4, Some(100));
    assert_eq!(backlog.deliver(1..=100, 3 * MESSAGE), 1);
    backlog.take_wish();
    backlog.flows(Flow::Narrow);
    backlog.hand_out(1, 3 * MESSAGE);
    let window = Flow::Wide { prefetch: 1 };
    assert_eq!(backlog.take_wish(), Some(window));
    backlog.let_back();
    backlog.flows(window);
    for tag in 101..110 {
        assert_eq!(backlog.deliver(tag..=tag, 3 * MESSAGE), 1);
        assert!(!backlog.has_wish());
        backlog.hand_out(1, 3 * MESSAGE);
        backlog.starve(0);
    }
}

/// One that was narrow, and of which the next wide consumer has a prefetch of 1; and that.
fn about_to_be_lowered() -> (Backlog, Flow) {
    let mut backlog = backlog(4, Some(100));
    backlog.deliver(1..=100, 3 * MESSAGE);
    backlog.take_wish();
    backlog.flows(Flow::Narrow);
    backlog.hand_out(1, 3 * MESSAGE);
    let window = Flow::Wide { prefetch: 1 };
    assert_eq!(backlog.take_wish(), Some(window));
    backlog.let_back();
    (backlog, window)
}

// case G2
#[test]
fn a_user_who_holds_all_that_a_lowered_prefetch_allows_and_waits_gets_more() {
    let (mut backlog, window) = about_to_be_lowered();
    backlog.flows(window);
    backlog.starve(0);
    assert!(!backlog.has_wish(), "there is nothing to be had");
    backlog.starve(2);
    assert!(
        !backlog.has_wish(),
        "another would get no more, and be replaced without end"
    );
    backlog.deliver(101..=101, 3 * MESSAGE);
    backlog.hand_out(1, 3 * MESSAGE);
    backlog.starve(2);
    assert_eq!(backlog.take_wish(), Some(Flow::Narrow));
    backlog.flows(Flow::Narrow);
    assert_eq!(backlog.take_wish(), Some(window));
    backlog.flows(window);
    backlog.starve(100);
    assert!(!backlog.has_wish(), "that is all that the user allowed");
}

// case G2
#[test]
fn what_the_lowered_consumer_sends_before_the_other_has_gone_counts_as_its_own() {
    let (mut backlog, window) = about_to_be_lowered();
    backlog.deliver(101..=101, 3 * MESSAGE);
    backlog.flows(window);
    backlog.hand_out(1, 3 * MESSAGE);
    backlog.starve(2);
    assert_eq!(backlog.take_wish(), Some(Flow::Narrow));
}

#[test]
fn when_messages_become_small_a_lowered_prefetch_grows_again() {
    let mut backlog = backlog(40, Some(100));
    backlog.deliver(1..=100, 10 * MESSAGE);
    backlog.take_wish();
    backlog.flows(Flow::Narrow);
    backlog.hand_out(4, 10 * MESSAGE);
    let window = Flow::Wide { prefetch: 1 };
    assert_eq!(backlog.take_wish(), Some(window));
    backlog.let_back();
    backlog.flows(window);
    for tag in 101..200 {
        backlog.deliver(tag..=tag, 10);
        backlog.hand_out(1, 10);
        if let Some(flow) = backlog.take_wish() {
            backlog.flows(flow);
        }
        backlog.starve(0);
    }
    assert_eq!(backlog.stage(), Stage::Wide);
    assert!(backlog.window > 50, "{}", backlog.window);
}

// case G2
#[test]
fn a_broker_that_ignores_the_prefetch_is_bounded_in_messages_too() {
    let mut backlog = backlog(1_000_000, Some(10));
    assert_eq!(backlog.deliver(1..=1_000, 1), 21);
    assert_eq!(backlog.take_wish(), Some(Flow::Narrow));
}

#[test]
fn what_does_not_follow_in_order_is_not_said_to_go_back() {
    let mut backlog = backlog(1, None);
    backlog.keep(load(1, MESSAGE));
    for tag in [7, u64::MAX, 8, 3] {
        backlog.give_back(tag);
    }
    backlog.clear();
    assert_eq!(backlog.take_returns(), Some(Tags { first: 7, last: 8 }));
}

#[test]
fn of_a_stream_all_is_kept_and_no_less_is_asked_for() {
    let mut backlog = backlog(4, Some(10));
    backlog.is_a_stream();
    // It comes by the chunk, whatever the prefetch.
    assert_eq!(backlog.deliver(1..=1_000, 100 * MESSAGE), 1_000);
    assert!(!backlog.has_wish());
    backlog.channel_lost(false);
    assert!(backlog.deliver(1..=1_000, MESSAGE) < 1_000);
}

#[test]
fn with_a_channel_goes_what_is_delivered_again() {
    for is_kept in [false, true] {
        let mut backlog = backlog(4, None);
        backlog.deliver(1..=9, MESSAGE);
        backlog.take_wish();
        backlog.channel_lost(is_kept);
        assert_eq!(backlog.waiting().messages, if is_kept { 4 } else { 0 });
        backlog.hand_out(4, MESSAGE);
        backlog.flows(Flow::Wide { prefetch: 0 });
        assert!(backlog.has_room(MESSAGE), "nothing is to go back any more");
        assert_eq!(backlog.take_returns(), None);
    }
}
