//! Messages that have waited for too long.

use std::time::{Duration, Instant};

use super::*;

const AGE: Duration = Duration::from_secs(64);

/// A publisher whose messages wait no longer than that, and the time.
struct Aging {
    world: World,
    now: Instant,
}

impl Aging {
    fn new() -> Self {
        Self::over(World::new())
    }

    fn over(mut world: World) -> Self {
        world.publisher.set_max_age(AGE);
        let now = world.line.now;
        Self { world, now }
    }

    /// Accepts a message, as a driver hears of it.
    fn publish(&mut self, body: &str) -> u64 {
        let position = self.world.publish(body);
        assert!(self.world.publisher.is_first_unnoticed());
        self.world.publisher.notice(self.now);
        assert!(!self.world.publisher.is_unnoticed());
        position
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.world.publisher.expire(self.now);
    }

    /// In how long something is to be given up.
    fn expires_in(&self) -> Option<Duration> {
        let at = self.world.publisher.expires_at()?;
        Some(at.saturating_duration_since(self.now))
    }
}

fn expired(possibly_stored: bool) -> Result<(), Unconfirmed> {
    dropped(DropReason::Expired, possibly_stored)
}

#[test]
fn what_has_waited_for_too_long_is_given_up_and_what_is_younger_is_not() {
    let mut aging = Aging::new();
    aging.world.lose_connection();
    let old = aging.publish("old");
    aging.pass(AGE / 2);
    let young = aging.publish("young");
    assert_eq!(aging.expires_in(), Some(AGE / 2));
    aging.pass(AGE / 2 - Duration::from_nanos(1));
    assert_eq!(aging.world.outcome(old), None);
    aging.pass(Duration::from_nanos(1));
    assert_eq!(aging.world.outcome(old), Some(expired(false)));
    assert_eq!(aging.world.outcome(young), None);
    assert_eq!(aging.expires_in(), Some(AGE / 2));
    let mut news = aging.world.publisher.take_news();
    assert_eq!(news.rare().dropped, [(DropReason::Expired, 1)]);
    aging.world.reconnect();
    aging.world.publish_everything();
    assert_eq!(aging.world.arrived(), ["young"]);
    assert_eq!(aging.world.outcome(young), Some(Ok(())));
}

#[test]
fn without_an_age_messages_wait_for_ever() {
    let mut world = World::new();
    world.lose_connection();
    let position = world.publish("patient");
    assert!(!world.publisher.is_unnoticed());
    let now = world.line.now;
    world.publisher.notice(now);
    world.publisher.expire(now + 1000 * AGE);
    assert_eq!(world.publisher.expires_at(), None);
    assert_eq!(world.outcome(position), None);
}

#[test]
fn what_is_in_flight_is_not_given_up_for_its_age() {
    let mut aging = Aging::new();
    let position = aging.publish("under way");
    aging.world.transmit();
    assert_eq!(aging.expires_in(), None);
    aging.pass(2 * AGE);
    assert_eq!(aging.world.outcome(position), None);
    aging.world.ack(0, true);
    assert_eq!(aging.world.outcome(position), Some(Ok(())));
}

#[test]
fn what_waits_again_after_a_cut_has_the_age_that_it_has_and_may_have_arrived() {
    let mut aging = Aging::new();
    let too_old = aging.publish("too old");
    aging.pass(AGE / 2);
    let [sent, unsent] = [aging.publish("sent"), {
        aging.world.transmit();
        aging.publish("unsent")
    }];
    aging.pass(AGE / 2);
    aging.world.lose_connection();
    assert_eq!(aging.expires_in(), Some(Duration::ZERO));
    aging.pass(Duration::ZERO);
    assert_eq!(aging.world.outcome(too_old), Some(expired(true)));
    aging.pass(AGE / 2);
    assert_eq!(
        aging.world.outcomes([sent, unsent]),
        [expired(true), expired(false)]
    );
    assert!(aging.world.publisher.is_empty());
}

#[test]
fn one_that_is_too_old_does_not_hold_up_the_next_time() {
    let mut aging = Aging::new();
    aging.publish("under way");
    aging.world.transmit();
    aging.pass(AGE / 2);
    aging.world.lose_connection();
    aging.world.reconnect();
    aging.world.transmit();
    aging.publish("waits");
    aging.pass(AGE / 2);
    assert_eq!(aging.expires_in(), Some(AGE / 2), "of the one that waits");
}

#[test]
fn room_and_flushes_do_not_wait_for_what_is_too_old() {
    let limits = Limits {
        messages: 1,
        ..ROOMY
    };
    let mut aging = Aging::over(World::with(Settlement::Confirm, Overflow::Refuse, limits));
    aging.world.lose_connection();
    aging.publish("old");
    aging.world.publisher.wait_for_room(1, "patient");
    let flush = aging.world.publisher.begin_flush();
    assert!(!aging.world.publisher.poll_flush(flush, || "flush"));
    aging.pass(AGE);
    assert_eq!(aging.world.woken(), ["patient", "flush"]);
    assert!(aging.world.publisher.poll_flush(flush, || "flush"));
}

#[test]
fn a_burst_is_as_old_as_the_youngest_of_it_and_none_is_much_too_late() {
    let limits = Limits {
        messages: 1000,
        ..ROOMY
    };
    let mut aging = Aging::over(World::with(Settlement::Confirm, Overflow::Refuse, limits));
    aging.world.lose_connection();
    for _ in 0..1000 {
        aging.publish("one of many");
        aging.now += AGE / 500;
    }
    // All but those that are no older than an age were given up, within a part of it.
    aging.pass(Duration::ZERO);
    let kept = aging.world.publisher.len();
    assert!((499..=499 + 500 / 64 + 1).contains(&kept), "{kept}");
}

#[test]
fn ages_take_no_memory_for_each_message() {
    let mut aging = Aging::new();
    for _ in 0..2_000 {
        aging.publish("one of many");
        aging.world.write(EVERYTHING);
        aging.now += AGE / 1000;
        let Aging { world, .. } = &mut aging;
        world.run();
        world.ack(0, true);
    }
    let ages = aging.world.publisher.ledger.ages();
    assert!(ages.is_some_and(|ages| ages.groups() <= 66));
}

#[test]
fn what_waits_for_something_to_be_declared_gets_too_old_too() {
    let mut aging = Aging::new();
    aging.world.publisher.hold();
    let position = aging.publish("waits");
    aging.pass(AGE);
    assert_eq!(aging.world.outcome(position), Some(expired(false)));
}

#[test]
fn without_confirms_what_is_too_old_is_given_up_too() {
    let mut aging = Aging::over(World::fire_and_forget());
    aging.world.publisher.keep_undelivered();
    aging.world.lose_connection();
    aging.world.publisher.push("old".into(), false).unwrap();
    aging.world.publisher.notice(aging.now);
    aging.pass(AGE);
    let undelivered = aging.world.publisher.take_undelivered();
    let bodies: Vec<_> = undelivered.iter().map(|it| it.message.body()).collect();
    assert_eq!(bodies, ["old"]);
    assert!(!undelivered[0].outcome.possibly_stored);
}
