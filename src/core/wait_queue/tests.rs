use super::*;

type Queue = WaitQueue<&'static str>;

fn room(count: usize) -> Need {
    let bytes = usize::MAX;
    Need { count, bytes }
}

/// A line of so many, each of whom needs one byte.
fn line<const N: usize>(names: [&'static str; N]) -> (Queue, [u64; N]) {
    let mut queue = Queue::new();
    let tickets = names.map(|name| queue.join(1, name));
    (queue, tickets)
}

fn called(queue: &mut Queue, room: Need) -> Vec<&'static str> {
    let mut woken = Vec::new();
    queue.call(room, &mut woken);
    woken
}

fn passed_on(queue: &mut Queue, room: Need) -> Vec<&'static str> {
    let mut woken = Vec::new();
    queue.pass_on(room, &mut woken);
    woken
}

#[test]
fn they_are_called_in_the_order_of_their_coming_and_as_many_as_there_is_room_for() {
    let (mut queue, [first, second, third]) = line(["first", "second", "third"]);
    assert!(queue.may_go(first) && !queue.may_go(second));
    assert_eq!(called(&mut queue, room(2)), ["first", "second"]);
    assert!(queue.may_go(first) && queue.may_go(second));
    assert!(!queue.may_go(third), "it was not called, and others were");
    queue.leave(first);
    assert_eq!(called(&mut queue, room(1)), [""; 0], "it is the second's");
    queue.leave(second);
    assert_eq!(called(&mut queue, room(1)), ["third"]);
    queue.leave(third);
    assert!(queue.is_empty());
}

#[test]
fn what_does_not_fit_in_bytes_holds_up_what_comes_after_it() {
    let mut queue = Queue::new();
    queue.join(4, "small");
    queue.join(7, "large");
    queue.join(1, "tiny");
    let of = |bytes| Need { count: 9, bytes };
    assert_eq!(queue.wanted(), Some(4));
    assert_eq!(called(&mut queue, of(10)), ["small"]);
    assert_eq!(queue.wanted(), Some(7));
    assert_eq!(called(&mut queue, of(12)), ["large", "tiny"]);
    assert_eq!(queue.wanted(), None);
}

#[test]
fn who_leaves_the_middle_of_the_line_changes_nothing_for_the_others() {
    let (mut queue, [first, second, third]) = line(["first", "second", "third"]);
    queue.leave(second);
    assert_eq!(called(&mut queue, room(9)), ["first", "third"]);
    queue.leave(first);
    queue.leave(third);
    queue.leave(third);
    assert!(queue.is_empty() && queue.may_pass());
}

// case B4
#[test]
fn room_that_nobody_comes_for_is_offered_to_the_next_until_all_were_called() {
    let (mut queue, _) = line(["a", "b", "c", "d", "e", "f", "g"]);
    assert!(!queue.may_pass());
    assert_eq!(called(&mut queue, room(2)), ["a", "b"]);
    assert_eq!(called(&mut queue, room(2)), [""; 0], "they may still come");
    assert_eq!(passed_on(&mut queue, room(2)), ["c", "d"]);
    assert_eq!(passed_on(&mut queue, room(2)), ["e", "f", "g"]);
    assert!(queue.may_pass(), "room is kept for nobody");
}

#[test]
fn who_comes_and_finds_no_room_keeps_its_place() {
    let (mut queue, [first, second]) = line(["first", "second"]);
    called(&mut queue, room(2));
    queue.sleep_on(second, "second");
    queue.sleep_on(first, "first, again");
    assert!(!queue.may_pass());
    assert_eq!(called(&mut queue, room(1)), ["first, again"]);
    assert_eq!(queue.wanted(), Some(1));
}

#[test]
fn who_was_overtaken_is_waited_for_by_ever_more_of_those_who_come_along() {
    let (mut queue, [ticket]) = line(["patient"]);
    for expected in [0, 2, 4, 8, 16] {
        called(&mut queue, room(1));
        let refused = (0..).take_while(|_| !queue.may_pass()).count();
        assert_eq!(refused, expected);
        queue.sleep_on(ticket, "patient");
    }
    called(&mut queue, room(1));
    queue.leave(ticket);
    assert!(queue.may_pass(), "it has gone");
}

#[test]
fn nobody_is_called_more_than_once_for_each_time_that_it_sleeps() {
    let mut queue = Queue::new();
    let tickets: Vec<u64> = (0..100).map(|_| queue.join(1, "one of many")).collect();
    let mut calls = 0;
    let mut served = 0;
    // Room for four at a time, and whoever is called comes.
    let mut waiting = tickets;
    while !waiting.is_empty() {
        let coming = called(&mut queue, room(4)).len();
        calls += coming;
        for ticket in waiting.drain(..coming) {
            assert!(queue.may_go(ticket));
            queue.leave(ticket);
            served += 1;
        }
    }
    assert_eq!((calls, served), (100, 100));
}
