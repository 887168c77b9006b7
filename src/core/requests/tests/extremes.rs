//! Settings that nobody means.

use super::*;

#[test]
fn no_number_and_no_duration_is_a_panic_or_a_loop() {
    let numbers = [0, 1, usize::MAX];
    let durations = [Duration::ZERO, Duration::from_nanos(1), Duration::MAX];
    for max_in_flight in numbers {
        for delay in durations {
            for timeout in durations {
                let settings = Settings {
                    confirms: true,
                    max_in_flight,
                    expires: true,
                    backoff: Backoff {
                        initial: delay,
                        max: delay,
                        ..Backoff::default()
                    },
                    seed: u64::MAX,
                    ..settings()
                };
                goes_on(settings, timeout);
            }
        }
    }
}

/// It is refused once, and asked two things, which are done or given up in time.
fn goes_on(settings: Settings, timeout: Duration) {
    let case = format!("{settings:?}, timeout {timeout:?}");
    let mut world = World::online(settings);
    world.requests.closed(world.now, Error::ChannelClosed);
    world.bring_online();
    for id in 1..=2 {
        let request = Request {
            timeout,
            ..request("?")
        };
        world.ask(id, request);
    }
    assert!(!world.published.is_empty(), "{case}");
    world.confirm(0, true, true);
    if timeout == Duration::MAX {
        world.answer(1, "1");
        world.answer(2, "2");
    } else {
        world.pass(Duration::from_nanos(1));
    }
    assert_eq!(world.settled.len(), 2, "{case}");
    assert!(world.requests.is_empty(), "{case}");
    // A refusal before it is online again is followed by a pause.
    world.cut();
    world.requests.usable();
    world.run();
    world.sent.clear();
    world.requests.closed(world.now, Error::ChannelClosed);
    world.run();
    assert!(world.requests.poll_timeout().is_some(), "{case}");
    world.pass(Duration::from_secs(1));
}
