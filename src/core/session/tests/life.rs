//! The life of a connection, from the first dial to the last word.

use super::*;
use crate::core::supervisor::Next;

#[derive(Debug, PartialEq)]
enum Story {
    Dial,
    Connected,
    Ready,
    Lost,
    Closed,
}

impl World {
    /// What became of the connection since it was last asked.
    fn story(&mut self) -> Vec<Story> {
        let outputs = self.outputs();
        outputs.iter().filter_map(chapter).collect()
    }

    fn garbage(&mut self) {
        let mut garbage = BytesMut::from(&b"this is no frame at all"[..]);
        _ = (self.session).receive(self.now, &mut garbage, |_, _| unreachable!("it is garbage"));
        self.run();
    }

    fn end_of_stream(&mut self) {
        self.session.transport_ended(self.now, None);
        self.run();
    }
}

fn chapter(output: &Output) -> Option<Story> {
    Some(match output {
        Output::Dial { .. } => Story::Dial,
        Output::Connected => Story::Connected,
        Output::Ready => Story::Ready,
        Output::Lost {
            next: Next::Closed, ..
        } => Story::Closed,
        Output::Lost { .. } => Story::Lost,
        _ => return None,
    })
}

#[test]
fn a_session_dials_connects_and_is_ready() {
    let mut world = World::new(settings());
    world.run();
    assert_eq!(world.story(), [Story::Dial, Story::Connected, Story::Ready]);
}

#[test]
fn the_first_connect_fails_fast() {
    let mut world = World::new(settings());
    world.network = Network::Refuses;
    world.pass(MINUTE);
    assert_eq!(world.story(), [Story::Dial, Story::Lost]);
    assert!(world.session.is_closed());
}

// fault 31
#[test]
fn every_way_to_lose_a_connection_is_told_once() {
    let ways: [fn(&mut World); 6] = [
        World::cut,
        World::end_of_stream,
        World::garbage,
        |world| {
            let now = world.now;
            world.broker.close(now, ReplyCode::CONNECTION_FORCED);
            world.run();
        },
        |world| {
            world.network = Network::BlackHole;
            world.pass(21 * SECOND);
            world.network = Network::Good;
        },
        |world| {
            world.end_of_stream();
            world.cut();
            world.cut();
            world.garbage();
            world.end_of_stream();
        },
    ];
    for way in ways {
        let mut world = World::ready();
        way(&mut world);
        let outputs = world.outputs();
        let story: Vec<Story> = outputs.iter().filter_map(chapter).collect();
        assert_eq!(story.iter().filter(|it| **it == Story::Lost).count(), 1);
        assert!(!world.is_connected());
        assert!(!world.session.is_ready());
    }
}

// fault 31
#[test]
fn every_dial_ends_once_whatever_becomes_of_it() {
    let mut world = World::ready();
    world.cut();
    for network in [Network::Refuses, Network::BlackHole, Network::Good] {
        world.network = network;
        world.broker.lets_in = false;
        world.pass(5 * MINUTE);
        let story = world.story();
        let dials = story.iter().filter(|it| **it == Story::Dial).count();
        let ends = story.iter().filter(|it| **it == Story::Lost).count();
        assert!(dials > 3 && dials.abs_diff(ends) <= 1, "{dials} {ends}");
        assert!(!story.contains(&Story::Connected));
    }
    world.broker.lets_in = true;
    world.pass_until_ready();
}

// fault 29
#[test]
fn a_silent_peer_is_given_up_after_two_heartbeats() {
    let mut world = World::ready();
    world.network = Network::BlackHole;
    world.pass(19 * SECOND);
    assert!(world.story().is_empty());
    world.pass(SECOND);
    assert_eq!(world.story().first(), Some(&Story::Lost));
}

#[test]
fn a_session_with_nothing_to_do_wakes_up_for_its_heartbeats_only() {
    let mut world = World::ready();
    let before = world.wakeups;
    world.pass(10 * MINUTE);
    let heartbeats = 10 * 60 / 5;
    assert!(world.wakeups - before <= heartbeats + 1);
    assert!(world.outputs().is_empty());
}

#[test]
fn a_session_whose_broker_is_down_for_good_wakes_up_rarely() {
    let mut world = World::ready();
    world.network = Network::Refuses;
    world.cut();
    world.pass(2 * MINUTE);
    let before = world.wakeups;
    world.pass(60 * MINUTE);
    assert!(world.wakeups - before <= 60 * 60 / 15 + 1);
}

// fault 32
#[test]
fn a_death_at_any_step_of_a_recovery_is_just_another_loss() {
    let fresh = || {
        let mut world = World::ready();
        world.declare(declare_exchange("x"));
        world.declare(declare_queue("q"));
        world.declare(bind("x", "q"));
        world.add_consumer("q");
        world.add_producer();
        world.requests();
        world.cut();
        world.outputs();
        world
    };
    let mut undisturbed = fresh();
    undisturbed.pass_until_ready();
    let recovery = undisturbed.gists();
    assert_eq!(recovery.len(), 6);
    for survived in 0..recovery.len() {
        let mut world = fresh();
        world.broker.dies_after = Some(survived);
        world.pass_until_ready();
        let requests = world.gists();
        assert_eq!(requests[survived..], recovery, "after {survived} steps");
        let story = world.story();
        let ready = story.iter().filter(|it| **it == Story::Ready).count();
        assert_eq!(ready, 1);
    }
}

// fault 33
#[test]
fn close_is_sticky_in_every_state() {
    let states: [fn(&mut World); 5] = [
        |_| {},
        // Dialing.
        |world| {
            world.network = Network::BlackHole;
            world.run();
        },
        // In the handshake.
        |world| {
            world.broker.lets_in = false;
            world.run();
        },
        // Recovering.
        |world| {
            world.run();
            world.declare(declare_queue("q"));
            world.cut();
            world.broker.script = Box::new(|_| Answer::Silence);
            world.pass(SECOND);
            assert!(world.is_connected() && !world.session.is_ready());
        },
        // Backing off.
        |world| {
            world.run();
            world.network = Network::Refuses;
            world.cut();
        },
    ];
    for to_state in states {
        let mut world = World::new(settings());
        to_state(&mut world);
        world.close();
        world.outputs();
        world.pass(2 * SECOND);
        assert!(world.session.is_closed());
        assert!(!world.is_connected());

        world.network = Network::Good;
        world.broker.lets_in = true;
        for epoch in std::mem::take(&mut world.dialing) {
            world.connect(epoch);
        }
        let now = world.now;
        world.session.start(now);
        world.add_consumer("q");
        world.pass(10 * MINUTE);
        let story = world.story();
        assert!(story.iter().all(|it| *it == Story::Closed), "{story:?}");
        assert!(!world.is_connected());
        assert_eq!(world.session.poll_timeout(), None);
    }
}

// fault 34
#[test]
fn an_attempt_that_comes_too_late_is_dropped() {
    let mut world = World::ready();
    world.network = Network::BlackHole;
    world.cut();
    world.pass(MINUTE);
    let late: Vec<Epoch> = world.dialing.drain(..).collect();
    assert!(late.len() > 2);
    world.network = Network::Good;
    world.pass_until_ready();
    let epoch = world.session.supervisor.epoch();
    for attempt in late {
        world.connect(attempt);
    }
    world.pass(MINUTE);
    assert!(world.session.is_ready());
    assert_eq!(world.session.supervisor.epoch(), epoch);
}

#[test]
fn closing_says_goodbye_and_ends_the_transport_in_order() {
    let mut world = World::ready();
    world.close();
    let outputs = world.outputs();
    assert!(matches!(outputs.last(), Some(Output::Finish(_))));
    assert_eq!(
        outputs.iter().filter_map(chapter).collect::<Vec<_>>(),
        [Story::Closed]
    );
    assert!(world.session.is_closed());
}

// fault 24
#[test]
fn a_broker_that_does_not_answer_a_close_is_left_at_the_deadline() {
    let mut world = World::ready();
    world.network = Network::BlackHole;
    world.close();
    assert!(world.session.is_closing() && !world.session.is_closed());
    world.pass(SECOND);
    assert!(world.session.is_closed());
    let outputs = world.outputs();
    assert!(matches!(outputs.last(), Some(Output::Abort)));
}

#[test]
fn the_brokers_goodbye_is_answered() {
    let mut world = World::ready();
    let now = world.now;
    world.broker.close(now, ReplyCode::CONNECTION_FORCED);
    world.run();
    let answered = |output: &Output| match output {
        Output::Finish(last_words) => !last_words.is_empty(),
        _ => false,
    };
    assert_eq!(world.count(answered), 1);
}

// fault 23
#[test]
fn a_blocked_connection_is_told_and_kept() {
    let mut world = World::ready();
    let blocked = snowshoe_codec::method::connection::Blocked {
        reason: name("low on memory"),
    };
    world.broker.connection().send_notice(blocked).unwrap();
    world.pass(MINUTE);
    let outputs = world.outputs();
    assert!(matches!(&outputs[..], [Output::Blocked(reason)] if *reason == name("low on memory")));
    assert!(world.session.is_ready());
}

#[test]
fn a_connection_that_is_closed_while_it_is_being_opened_ends_only_when_what_was_said_on_it_is_done()
{
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    world.come_back_unheard();
    let now = world.now;
    world.session.close(now, now + MINUTE);
    world.run();
    assert!(
        !world.session.is_closed(),
        "the queue may still be declared"
    );
    world.is_heard = true;
    world.run();
    assert!(world.session.is_closed());
}
