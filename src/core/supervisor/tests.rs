use proptest::collection::vec;
use proptest::prelude::*;

use super::*;
use crate::core::scaled;

const DIAL: Duration = Duration::from_secs(5);
const HANDSHAKE: Duration = Duration::from_secs(10);
const RECOVERY: Duration = Duration::from_secs(20);

fn config(endpoints: usize) -> Config {
    Config {
        endpoints: NonZeroUsize::new(endpoints).unwrap(),
        backoff: Backoff::default(),
        timeouts: Timeouts {
            dial: DIAL,
            handshake: HANDSHAKE,
            recovery: RECOVERY,
        },
        fail_fast: true,
    }
}

/// A supervisor in virtual time.
struct World {
    supervisor: Supervisor,
    now: Instant,
}

impl World {
    fn new(config: Config) -> Self {
        Self::seeded(config, 7)
    }

    fn seeded(config: Config, seed: u64) -> Self {
        let now = Instant::now();
        let mut supervisor = Supervisor::new(config, seed);
        supervisor.start(now);
        Self { supervisor, now }
    }

    /// Moves the time to the next timeout and handles it.
    fn sleep(&mut self) -> Action {
        let timeout = self.supervisor.poll_timeout().expect("a timeout is set");
        assert!(timeout >= self.now);
        self.now = timeout;
        self.supervisor
            .handle_timeout(timeout)
            .expect("it is due now")
    }

    /// Sleeps until the next dial: its epoch, attempt and endpoint.
    fn dial(&mut self) -> (Epoch, u32, usize) {
        match self.sleep() {
            Action::Dial {
                epoch,
                attempt,
                endpoint,
            } => (epoch, attempt, endpoint),
            action @ Action::Abort { .. } => panic!("{action:?}"),
        }
    }

    /// Dials and lets everything succeed.
    fn connect(&mut self) -> Epoch {
        let (epoch, ..) = self.dial();
        self.supervisor.dialed(epoch, self.now).unwrap();
        self.supervisor.handshaken(epoch, self.now).unwrap();
        self.supervisor.recovered(epoch, self.now).unwrap();
        assert!(self.supervisor.is_ready());
        epoch
    }

    fn lose(&mut self) -> Next {
        let epoch = self.supervisor.epoch();
        self.supervisor
            .lost(epoch, self.now)
            .expect("an epoch is alive")
    }

    /// Loses the connection, and gives the delay until the next attempt.
    fn retry(&mut self) -> Duration {
        match self.lose() {
            Next::Retry { delay, .. } => delay,
            next => panic!("{next:?}"),
        }
    }
}

fn assert_between(delay: Duration, least: u64, most: u64) {
    let range = Duration::from_millis(least)..=Duration::from_millis(most);
    assert!(range.contains(&delay), "{delay:?} is not in {range:?}");
}

// case C3
#[test]
fn an_end_that_brings_the_culprit_nearer_does_not_lengthen_the_delays() {
    let mut world = World::new(config(1));
    for _ in 0..EXCUSES {
        world.connect();
        world.supervisor.excuse();
        assert_between(world.retry(), 50, 100);
    }
    // Whoever has not found it by then does not know how to look for it.
    for (least, most) in [(100, 200), (200, 400)] {
        world.connect();
        world.supervisor.excuse();
        assert_between(world.retry(), least, most);
    }
}

#[test]
fn an_excused_end_counts_for_no_failed_attempt() {
    let mut world = World::new(Config {
        backoff: Backoff {
            max_attempts: Some(1),
            ..Backoff::default()
        },
        ..config(1)
    });
    world.connect();
    world.lose();
    let (epoch, ..) = world.dial();
    world.supervisor.dialed(epoch, world.now).unwrap();
    world.supervisor.handshaken(epoch, world.now).unwrap();
    world.supervisor.excuse();
    assert!(matches!(world.lose(), Next::Retry { .. }));
    world.dial();
    assert_eq!(world.lose(), Next::GiveUp);
}

#[test]
fn a_daring_handshake_that_fails_is_begun_again_at_once_and_once() {
    let mut world = World::new(Config {
        backoff: Backoff {
            max_attempts: Some(1),
            ..Backoff::default()
        },
        ..config(3)
    });
    world.connect();
    world.lose();
    let first = world.dial();
    world.supervisor.dialed(first.0, world.now).unwrap();
    world.supervisor.is_repeatable(world.now);
    assert_eq!(world.lose(), Next::Again);
    let failed_at = world.now;
    let again = world.dial();
    assert_eq!((world.now, again.1, again.2), (failed_at, first.1, first.2));
    assert!(again.0 > first.0 && world.supervisor.repeats());
    world.supervisor.dialed(again.0, world.now).unwrap();
    world.supervisor.is_repeatable(world.now);
    assert_eq!(world.lose(), Next::GiveUp);
}

#[test]
fn a_daring_handshake_that_was_answered_for_good_is_not_begun_again() {
    let mut world = World::new(config(1));
    world.connect();
    world.lose();
    let (epoch, ..) = world.dial();
    assert!(!world.supervisor.repeats());
    world.supervisor.dialed(epoch, world.now).unwrap();
    world.supervisor.is_repeatable(world.now);
    world.supervisor.is_not_repeatable();
    assert!(matches!(world.lose(), Next::Retry { .. }));
}

#[test]
fn a_daring_handshake_has_a_third_of_the_time_and_one_that_came_through_is_like_any_other() {
    let mut world = World::new(config(1));
    let (epoch, ..) = world.dial();
    world.supervisor.dialed(epoch, world.now).unwrap();
    world.supervisor.is_repeatable(world.now);
    let began = world.now;
    let aborted = Action::Abort {
        epoch,
        step: Step::Handshake,
        next: Next::Again,
    };
    assert_eq!(world.sleep(), aborted);
    assert_eq!(world.now - began, config(1).timeouts.handshake / 3);
    world.connect();
    world.lose();
    let (epoch, ..) = world.dial();
    world.supervisor.dialed(epoch, world.now).unwrap();
    world.supervisor.is_repeatable(world.now);
    world.supervisor.handshaken(epoch, world.now).unwrap();
    assert!(matches!(world.lose(), Next::Retry { .. }));
}

#[test]
fn an_attempt_goes_through_its_steps() {
    let mut world = World::new(config(1));
    let (epoch, attempt, endpoint) = world.dial();
    assert_eq!((attempt, endpoint), (1, 0));
    let now = world.now;
    let supervisor = &mut world.supervisor;
    let deadline = now + DIAL;
    assert_eq!(supervisor.state(), State::Dialing { deadline });
    assert_eq!(supervisor.dialed(epoch, now), Ok(()));
    let deadline = now + HANDSHAKE;
    assert_eq!(supervisor.state(), State::Handshaking { deadline });
    assert_eq!(supervisor.handshaken(epoch, now), Ok(()));
    let deadline = now + RECOVERY;
    assert_eq!(supervisor.state(), State::Recovering { deadline });
    assert_eq!(supervisor.recovered(epoch, now), Ok(()));
    assert_eq!(supervisor.state(), State::Ready);
    assert_eq!(supervisor.poll_timeout(), None);
}

#[test]
fn nothing_is_dialed_before_the_start() {
    let mut supervisor = Supervisor::new(config(1), 7);
    assert_eq!(supervisor.poll_timeout(), None);
    assert_eq!(supervisor.handle_timeout(Instant::now()), None);
    assert_eq!(supervisor.lost(Epoch::default(), Instant::now()), None);
}

#[test]
fn steps_out_of_their_order_are_refused() {
    let mut world = World::new(config(1));
    let (epoch, ..) = world.dial();
    let now = world.now;
    assert_eq!(world.supervisor.handshaken(epoch, now), Err(TooLate));
    assert_eq!(world.supervisor.recovered(epoch, now), Err(TooLate));
    assert_eq!(world.supervisor.progressed(epoch, now), Err(TooLate));
    assert_eq!(world.supervisor.dialed(epoch, now), Ok(()));
    assert_eq!(world.supervisor.dialed(epoch, now), Err(TooLate));
}

// faults 35, 37
#[test]
fn the_first_connect_tries_every_endpoint_once_without_delay_and_gives_up() {
    let mut world = World::new(config(3));
    let mut endpoints = Vec::new();
    for attempt in 1..=3 {
        let started = world.now;
        let dialed = world.dial();
        assert_eq!((dialed.1, world.now), (attempt, started));
        endpoints.push(dialed.2);
        if attempt < 3 {
            assert_eq!(world.retry(), Duration::ZERO);
        }
    }
    endpoints.sort_unstable();
    assert_eq!(endpoints, [0, 1, 2]);
    assert_eq!(world.lose(), Next::GiveUp);
    assert_eq!(world.supervisor.state(), State::Closed);
}

// case H1
#[test]
fn the_first_connect_gives_every_address_of_every_endpoint_its_turn() {
    for seed in 0..20 {
        let mut world = World::seeded(config(2), seed);
        let mut dialed = Vec::new();
        // The first has three addresses, and the other one.
        let mut left = [2, 0];
        loop {
            let (epoch, _, endpoint) = world.dial();
            let is_first_of_it = !dialed.contains(&endpoint);
            dialed.push(endpoint);
            if !is_first_of_it {
                left[endpoint] -= 1;
            }
            world.supervisor.untried(epoch, left[endpoint]);
            match world.lose() {
                Next::Retry { delay, .. } => assert_eq!(delay, Duration::ZERO),
                next => {
                    assert_eq!(next, Next::GiveUp);
                    break;
                }
            }
        }
        let mut first_two = dialed[..2].to_vec();
        first_two.sort_unstable();
        assert_eq!(first_two, [0, 1], "every host comes before a second turn");
        assert_eq!(dialed[2..], [0, 0]);
    }
}

#[test]
fn a_first_round_ends_whatever_is_said_of_addresses() {
    for fail_fast in [true, false] {
        let mut world = World::new(Config {
            fail_fast,
            ..config(2)
        });
        for turn in 1..=2 * TURNS {
            let (epoch, ..) = world.dial();
            world.supervisor.untried(epoch, usize::MAX);
            let next = world.lose();
            match next {
                Next::Retry { delay, .. } if turn < 2 * TURNS => assert_eq!(delay, Duration::ZERO),
                Next::Retry { delay, .. } => assert!(!fail_fast && !delay.is_zero()),
                next => assert!(fail_fast && turn == 2 * TURNS, "{next:?} after {turn}"),
            }
        }
    }
}

#[test]
fn addresses_that_were_not_tried_shorten_no_delay_of_a_reconnect() {
    let mut world = World::new(config(1));
    world.connect();
    let epoch = world.supervisor.epoch();
    world.supervisor.untried(epoch, 3);
    assert_between(world.retry(), 50, 100);
    // What is said of an attempt that is over is no news.
    world.dial();
    world.supervisor.untried(epoch, 3);
    assert_between(world.retry(), 100, 200);
}

#[test]
fn a_first_connect_that_need_not_fail_fast_backs_off_and_goes_on() {
    let mut world = World::new(Config {
        fail_fast: false,
        ..config(2)
    });
    world.dial();
    assert_eq!(world.retry(), Duration::ZERO);
    world.dial();
    assert_between(world.retry(), 50, 100);
    world.dial();
    assert_between(world.retry(), 100, 200);
}

// faults 35, 36
#[test]
fn a_lost_connection_is_dialed_again_for_ever_with_growing_delays() {
    let mut world = World::new(config(1));
    world.connect();
    for most in [100, 200, 400, 800, 1600, 3200, 6400, 12_800, 25_600] {
        assert_between(world.retry(), most / 2, most);
        world.dial();
    }
    for attempt in 10..1000 {
        match world.lose() {
            Next::Retry {
                attempt: next,
                delay,
            } => {
                assert_between(delay, 15_000, 30_000);
                assert_eq!(next, attempt);
            }
            next => panic!("{next:?}"),
        }
        assert_eq!(world.dial().1, attempt);
    }
}

#[test]
fn the_delay_passes_before_the_next_dial() {
    let mut world = World::new(config(1));
    world.connect();
    let delay = world.retry();
    let lost = world.now;
    let early = lost + delay - Duration::from_nanos(1);
    assert_eq!(world.supervisor.handle_timeout(early), None);
    world.dial();
    assert_eq!(world.now, lost + delay);
}

// fault 36
#[test]
fn clients_cut_off_together_do_not_come_back_together() {
    let mut delays: Vec<Duration> = (0..50)
        .map(|seed| {
            let mut world = World::seeded(config(1), seed);
            world.connect();
            world.retry()
        })
        .collect();
    delays.sort_unstable();
    for quarter in 0..4 {
        let from = Duration::from_micros(50_000 + quarter * 12_500);
        let to = from + Duration::from_micros(12_500);
        let hits = delays.iter().filter(|&&delay| delay >= from && delay < to);
        assert!(hits.count() > 5, "{delays:?}");
    }
}

// fault 37
#[test]
fn clients_of_one_node_spread_over_the_others_when_it_dies() {
    let mut firsts = [0; 3];
    let mut seconds = [0; 3];
    for seed in 0..300 {
        let mut world = World::seeded(config(3), seed);
        let (_, _, first) = world.dial();
        firsts[first] += 1;
        world.retry();
        let (_, _, second) = world.dial();
        if first == 0 {
            seconds[second] += 1;
        }
    }
    assert!(firsts.iter().all(|&clients| clients > 70), "{firsts:?}");
    let [none, one, other] = seconds;
    assert!(none == 0 && one > 30 && other > 30, "{seconds:?}");
}

#[test]
fn endpoints_are_taken_in_turn_across_connections() {
    let mut world = World::new(config(3));
    let mut endpoints = vec![world.dial().2];
    for _ in 0..5 {
        world.retry();
        endpoints.push(world.dial().2);
        let epoch = world.supervisor.epoch();
        world.supervisor.dialed(epoch, world.now).unwrap();
        world.supervisor.handshaken(epoch, world.now).unwrap();
        world.supervisor.recovered(epoch, world.now).unwrap();
    }
    assert_eq!(endpoints[..3], endpoints[3..]);
}

// fault 36
#[test]
fn a_connection_that_dies_as_soon_as_it_is_up_is_dialed_ever_more_slowly() {
    let mut world = World::new(config(1));
    world.connect();
    for most in [100, 200, 400, 800] {
        assert_between(world.retry(), most / 2, most);
        world.connect();
    }
}

#[test]
fn a_connection_that_outlives_the_delay_before_it_starts_the_delays_again() {
    let mut world = World::new(config(1));
    world.connect();
    for _ in 0..3 {
        world.retry();
        world.dial();
    }
    world.retry();
    world.connect();
    // The delay before it was shorter.
    world.now += Duration::from_secs(5);
    let next = world.lose();
    assert!(matches!(next, Next::Retry { attempt: 1, .. }), "{next:?}");
    world.dial();
    assert_between(world.retry(), 100, 200);
}

#[test]
fn it_gives_up_after_so_many_failed_attempts_in_a_row() {
    let mut config = config(1);
    config.backoff.max_attempts = Some(2);
    let mut world = World::new(config);
    for _ in 0..3 {
        world.connect();
        world.now += Duration::from_secs(60);
        world.retry();
    }
    world.dial();
    world.retry();
    world.dial();
    assert_eq!(world.lose(), Next::GiveUp);
    assert_eq!(world.supervisor.poll_timeout(), None);
}

#[test]
fn attempts_that_succeed_never_use_up_the_limit_however_soon_they_are_lost() {
    let mut config = config(1);
    config.backoff.max_attempts = Some(2);
    let mut world = World::new(config);
    for _ in 0..10 {
        world.connect();
        world.now += Duration::from_millis(200);
        world.retry();
    }
}

#[test]
fn with_no_attempts_allowed_a_lost_connection_stays_lost() {
    let mut config = config(1);
    config.backoff.max_attempts = Some(0);
    let mut world = World::new(config);
    world.connect();
    assert_eq!(world.lose(), Next::GiveUp);
}

// fault 34
#[test]
fn what_an_attempt_brings_after_its_deadline_is_refused() {
    let mut world = World::new(config(1));
    world.connect();
    world.retry();
    let (late, ..) = world.dial();
    match world.sleep() {
        Action::Abort { epoch, step, next } => {
            assert_eq!((epoch, step), (late, Step::Dial));
            assert!(matches!(next, Next::Retry { .. }), "{next:?}");
        }
        action @ Action::Dial { .. } => panic!("{action:?}"),
    }
    assert_eq!(world.supervisor.dialed(late, world.now), Err(TooLate));
    world.dial();
    assert_eq!(world.supervisor.dialed(late, world.now), Err(TooLate));
    let now = world.now;
    assert_eq!(world.supervisor.lost(late, now), None);
    assert!(matches!(world.supervisor.state(), State::Dialing { .. }));
}

// fault 18
#[test]
fn every_step_has_a_deadline() {
    for (step, passed) in [(Step::Dial, 0), (Step::Handshake, 1), (Step::Recovery, 2)] {
        let mut world = World::new(config(2));
        let (dialed, ..) = world.dial();
        let now = world.now;
        if passed > 0 {
            world.supervisor.dialed(dialed, now).unwrap();
        }
        if passed > 1 {
            world.supervisor.handshaken(dialed, now).unwrap();
        }
        let expected = Action::Abort {
            epoch: dialed,
            step,
            next: Next::Retry {
                attempt: 2,
                delay: Duration::ZERO,
            },
        };
        assert_eq!(world.sleep(), expected);
        assert_eq!(world.now, now + [DIAL, HANDSHAKE, RECOVERY][passed]);
    }
}

#[test]
fn a_long_recovery_goes_on_as_long_as_it_makes_progress() {
    let mut world = World::new(config(1));
    let (epoch, ..) = world.dial();
    world.supervisor.dialed(epoch, world.now).unwrap();
    world.supervisor.handshaken(epoch, world.now).unwrap();
    for _ in 0..10 {
        world.now += RECOVERY / 2;
        assert_eq!(world.supervisor.handle_timeout(world.now), None);
        world.supervisor.progressed(epoch, world.now).unwrap();
    }
    world.supervisor.recovered(epoch, world.now).unwrap();
    let late = world.supervisor.progressed(epoch, world.now);
    assert_eq!(late, Err(TooLate));
    assert!(world.supervisor.is_ready());
}

// fault 32
#[test]
fn a_second_death_during_the_recovery_starts_another_attempt() {
    let mut world = World::new(config(1));
    world.connect();
    world.retry();
    let (epoch, ..) = world.dial();
    world.supervisor.dialed(epoch, world.now).unwrap();
    world.supervisor.handshaken(epoch, world.now).unwrap();
    assert_between(world.retry(), 100, 200);
    world.connect();
}

// fault 31
#[test]
fn an_epoch_ends_once() {
    let mut world = World::new(config(1));
    let epoch = world.connect();
    world.retry();
    assert_eq!(world.supervisor.lost(epoch, world.now), None);
    world.connect();
    assert_eq!(world.supervisor.lost(epoch, world.now), None);
    assert!(world.supervisor.is_ready());
}

// fault 33
#[test]
fn nothing_comes_back_after_a_close_during_an_attempt() {
    for steps in 0..2 {
        let mut world = World::new(config(1));
        world.connect();
        world.retry();
        let (epoch, ..) = world.dial();
        if steps == 1 {
            world.supervisor.dialed(epoch, world.now).unwrap();
        }
        world.supervisor.close(world.now, false);
        assert_eq!(world.supervisor.state(), State::Closed);
        let now = world.now;
        assert_eq!(world.supervisor.dialed(epoch, now), Err(TooLate));
        assert_eq!(world.supervisor.handshaken(epoch, now), Err(TooLate));
        assert_eq!(world.supervisor.recovered(epoch, now), Err(TooLate));
        assert_eq!(world.supervisor.lost(epoch, now), None);
        world.supervisor.start(now);
        assert_eq!(world.supervisor.poll_timeout(), None);
    }
}

// fault 33
#[test]
fn a_close_during_the_backoff_cancels_the_next_dial() {
    let mut world = World::new(config(1));
    world.connect();
    world.retry();
    world.supervisor.close(world.now, false);
    let much_later = world.now + Duration::from_secs(3600);
    assert_eq!(world.supervisor.handle_timeout(much_later), None);
}

// fault 33
#[test]
fn a_connection_lost_while_closing_is_not_dialed_again() {
    let mut world = World::new(config(1));
    let epoch = world.connect();
    world
        .supervisor
        .close(world.now + Duration::from_secs(5), false);
    let now = world.now;
    assert_eq!(world.supervisor.lost(epoch, now), Some(Next::Closed));
    assert_eq!(world.supervisor.state(), State::Closed);
    assert_eq!(world.supervisor.lost(epoch, now), None);
}

// fault 24
#[test]
fn a_close_that_hangs_is_aborted_at_its_deadline() {
    let mut world = World::new(config(1));
    let epoch = world.connect();
    let start = world.now;
    world
        .supervisor
        .close(start + Duration::from_secs(5), false);
    world
        .supervisor
        .close(start + Duration::from_secs(3), false);
    world
        .supervisor
        .close(start + Duration::from_secs(9), false);
    let expected = Action::Abort {
        epoch,
        step: Step::Close,
        next: Next::Closed,
    };
    assert_eq!(world.sleep(), expected);
    assert_eq!(world.now, start + Duration::from_secs(3));
}

#[test]
fn absurd_durations_and_factors_neither_panic_nor_skip_the_maximum() {
    for multiplier in [f64::NAN, f64::INFINITY, -1.0, 0.0, 1e300] {
        let mut config = config(1);
        config.backoff.multiplier = multiplier;
        config.backoff.jitter = multiplier;
        config.timeouts.dial = Duration::MAX;
        let mut world = World::new(config);
        world.connect();
        for _ in 0..5 {
            assert!(world.retry() <= config.backoff.max);
            world.dial();
        }
    }
}

#[derive(Debug, Clone)]
enum Operation {
    Pass { milliseconds: u64 },
    Sleep,
    Step { age: usize },
    Lose { age: usize },
    Dare,
    Close,
}

fn operation() -> impl Strategy<Value = Operation> {
    let age = || prop_oneof![9 => Just(0), 1 => 0..4usize];
    prop_oneof![
        20 => (0..20_000u64).prop_map(|milliseconds| Operation::Pass { milliseconds }),
        60 => Just(Operation::Sleep),
        90 => age().prop_map(|age| Operation::Step { age }),
        40 => age().prop_map(|age| Operation::Lose { age }),
        30 => Just(Operation::Dare),
        1 => Just(Operation::Close),
    ]
}

proptest! {
    // faults 31, 32, 33, 34
    #[test]
    fn one_epoch_is_alive_at_a_time_and_none_after_a_close(
        seed in any::<u64>(),
        endpoints in 1..4usize,
        fail_fast in any::<bool>(),
        operations in vec(operation(), 0..scaled(300)),
    ) {
        let config = Config { fail_fast, ..config(endpoints) };
        let mut world = World::seeded(config, seed);
        let mut epochs = vec![Epoch::default()];
        let mut alive = None;
        // The last dial, and that which is to be repeated or was.
        let (mut last, mut again) = ((0, 0), None);
        let mut over = false;
        let mut closing = false;
        for operation in operations {
            let mut action = None;
            match operation {
                Operation::Pass { milliseconds } => {
                    world.now += Duration::from_millis(milliseconds);
                    action = world.supervisor.handle_timeout(world.now);
                }
                Operation::Sleep => {
                    if let Some(timeout) = world.supervisor.poll_timeout() {
                        world.now = world.now.max(timeout);
                        action = world.supervisor.handle_timeout(world.now);
                        prop_assert!(action.is_some());
                    }
                }
                Operation::Step { age } => {
                    let epoch = epochs[epochs.len().saturating_sub(1 + age)];
                    let now = world.now;
                    let result = match world.supervisor.state() {
                        State::Handshaking { .. } => world.supervisor.handshaken(epoch, now),
                        State::Recovering { .. } => world.supervisor.recovered(epoch, now),
                        _ => world.supervisor.dialed(epoch, now),
                    };
                    prop_assert!(result.is_err() || alive == Some(epoch) && !closing);
                }
                Operation::Lose { age } => {
                    let epoch = epochs[epochs.len().saturating_sub(1 + age)];
                    let next = world.supervisor.lost(epoch, world.now);
                    prop_assert_eq!(next.is_some(), alive == Some(epoch));
                    if let Some(next) = next {
                        alive = None;
                        over |= next == Next::GiveUp;
                        prop_assert_eq!(next == Next::Closed, closing);
                        prop_assert!(next != Next::Again || again.is_none());
                        again = (next == Next::Again).then_some(last);
                    }
                }
                Operation::Dare => world.supervisor.is_repeatable(world.now),
                Operation::Close => {
                    world.supervisor.close(world.now + Duration::from_secs(1), false);
                    closing = true;
                    if world.supervisor.state() == State::Closed {
                        alive = None;
                    }
                }
            }
            match action {
                Some(Action::Dial { epoch, endpoint, attempt }) => {
                    prop_assert!(!over && !closing && alive.is_none());
                    prop_assert!(again.is_none_or(|it| it == (endpoint, attempt)));
                    last = (endpoint, attempt);
                    prop_assert!(epoch > epochs[epochs.len() - 1] && endpoint < endpoints);
                    epochs.push(epoch);
                    alive = Some(epoch);
                }
                Some(Action::Abort { epoch, next, .. }) => {
                    prop_assert_eq!(alive.take(), Some(epoch));
                    over |= next == Next::GiveUp;
                    prop_assert!(next != Next::Again || again.is_none());
                    again = (next == Next::Again).then_some(last);
                }
                None => {}
            }
            if over || closing && alive.is_none() {
                prop_assert_eq!(world.supervisor.state(), State::Closed);
            }
        }
    }
}
