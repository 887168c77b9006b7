//! Calls that users make.

use super::*;

impl World {
    /// The results of calls, by token.
    fn results(&mut self) -> Vec<(u64, Result<Method, Error>)> {
        let outputs = self.outputs().into_iter();
        outputs
            .filter_map(|output| match output {
                Output::Called { token, result } => Some((token.0, result.map(|method| *method))),
                _ => None,
            })
            .collect()
    }

    /// Lets the time pass, and what is on its way to the session arrive at the end of it.
    fn delay_arrival(&mut self, delay: Duration) {
        self.now += delay;
        self.session.handle_timeout(self.now, &mut self.topology);
        self.run();
    }

    /// The tokens of calls that were answered, and whether they worked.
    fn answered(&mut self) -> Vec<(u64, bool)> {
        let results = self.results().into_iter();
        results.map(|(token, it)| (token, it.is_ok())).collect()
    }
}

/// Does the usual thing, but for queues of this name.
fn except(queue: &'static str, answer: fn() -> Answer) -> Box<dyn FnMut(&Method) -> Answer> {
    Box::new(move |method| match method {
        Method::QueueDeclare(declare) if declare.queue == queue => answer(),
        _ => Answer::Usual,
    })
}

fn refuse() -> Answer {
    Answer::Refuse(ReplyCode::PRECONDITION_FAILED, "inequivalent")
}

#[test]
fn answers_go_to_their_calls() {
    let mut world = World::ready();
    world.call(1, declare_queue("a"));
    world.call(2, bind("x", "a"));
    let results = world.results();
    assert!(matches!(results[0], (1, Ok(Method::QueueDeclareOk(_)))));
    assert!(matches!(results[1], (2, Ok(Method::QueueBindOk(_)))));
}

#[test]
fn calls_made_offline_are_made_when_the_session_is_ready() {
    let mut world = World::new(settings());
    world
        .session
        .call(world.now, CallToken(1), declare_queue("a").into());
    world.run();
    assert_eq!(world.answered(), [(1, true)]);

    world.cut();
    world.call(2, declare_queue("b"));
    world.call(3, declare_queue("c"));
    assert_eq!(world.answered(), []);
    world.pass_until_ready();
    assert_eq!(world.answered(), [(2, true), (3, true)]);
}

// fault 53
#[test]
fn calls_wait_until_the_recovery_is_through() {
    let mut world = World::ready();
    world.declare(declare_queue("old"));
    world.add_consumer("old");
    world.cut();
    world.call(1, declare_queue("new"));
    world.requests();
    world.pass_until_ready();
    let gists = world.gists();
    assert_eq!(gists.last().unwrap(), "queue.declare new");
    assert_eq!(gists.len(), 4);
}

#[test]
fn calls_in_flight_at_a_loss_are_made_again() {
    let mut world = World::ready();
    world.broker.script = Box::new(|_| Answer::Silence);
    world.call(1, declare_queue("a"));
    world.call(2, declare_queue("b"));
    world.requests();
    world.cut();
    assert_eq!(world.answered(), []);
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass_until_ready();
    assert_eq!(world.gists(), ["queue.declare a", "queue.declare b"]);
    assert_eq!(world.answered(), [(1, true), (2, true)]);
}

fn delete_queue(queue: &str) -> queue::Delete {
    queue::Delete {
        queue: name(queue),
        ..Default::default()
    }
}

fn purge(queue: &str) -> queue::Purge {
    queue::Purge {
        queue: name(queue),
        ..Default::default()
    }
}

// case D1
#[test]
fn a_declaration_that_makes_another_queue_each_time_is_not_repeated() {
    let mut world = World::ready();
    world.declare(declare_queue("a"));
    world.broker.script = Box::new(|_| Answer::Silence);
    world.call(1, declare_queue(""));
    // This one goes with its connection.
    world.call(2, exclusive(""));
    world.requests();
    world.cut();
    let results = world.results();
    assert!(
        matches!(results[..], [(1, Err(Error::ConnectionLost))]),
        "{results:?}"
    );
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass_until_ready();
    assert_eq!(world.answered(), [(2, true)]);
    let unnamed = |it: &Method| matches!(it, Method::QueueDeclare(it) if it.queue.is_empty());
    assert_eq!(world.requests().iter().filter(|it| unnamed(it)).count(), 1);
}

// case D1
#[test]
fn a_queue_without_a_name_is_not_declared_again_on_the_same_connection() {
    let mut world = World::ready();
    world.declare(declare_queue("a"));
    world.broker.script = Box::new(|_| Answer::Silence);
    world.call(1, declare_queue("slow"));
    world.call(2, exclusive(""));
    world.call(3, declare_queue("b"));
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass(40 * SECOND);
    let results = world.results();
    let timed_out = |it: &Result<Method, Error>| matches!(it, Err(Error::Timeout(_)));
    assert!(
        matches!(&results[..], [(1, one), (2, two), (3, Ok(_))] if timed_out(one) && timed_out(two)),
        "{results:?}"
    );
    assert!(world.is_connected());
}

// fault 46, case D2
#[test]
fn calls_that_wait_follow_a_queue_to_its_new_name() {
    let mut world = World::ready();
    world.declare(declare_queue(""));
    world.declare(declare_exchange("x"));
    world.declare(bind("x", "amq.gen-1"));
    world.broker.script = except("amq.gen-1", || {
        Answer::Refuse(ReplyCode::NOT_FOUND, "it is not there")
    });
    world.cut();
    let unbind = queue::Unbind {
        queue: name("amq.gen-1"),
        exchange: name("x"),
        ..Default::default()
    };
    world.call(1, purge("amq.gen-1"));
    world.call(2, unbind);
    world.call(3, delete_queue("amq.gen-1"));
    world.pass_until_ready();
    // Nobody tells those who ask later of the new name either.
    world.call(4, purge("amq.gen-1"));
    let requests = world.requests();
    let named = |queue: &str| {
        let asked = requests.iter().filter(|it| match it {
            Method::QueuePurge(it) => it.queue == queue,
            Method::QueueUnbind(it) => it.queue == queue,
            Method::QueueDelete(it) => it.queue == queue,
            _ => false,
        });
        asked.count()
    };
    // The queue is deleted by then, and its names lead nowhere.
    assert_eq!((named("amq.gen-2"), named("amq.gen-1")), (3, 1));
    assert_eq!(world.answered().len(), 4);
    world.cut();
    world.pass_until_ready();
    assert_eq!(world.gists(), ["exchange.declare x"]);
    assert_eq!(world.not_recovered(), [""; 0]);
}

/// Calls that are made with no answer: of two, a second one can do harm.
fn unanswered() -> World {
    let mut world = World::ready();
    for queue in ["a", "b", "c", "kept"] {
        world.declare(declare_queue(queue));
    }
    world.broker.script = Box::new(|_| Answer::Silence);
    world.call(1, declare_queue("c"));
    world.call(2, purge("a"));
    world.call(3, declare_queue("d"));
    world.call(4, delete_queue("b"));
    world.requests();
    world
}

// case D1
#[test]
fn what_could_do_harm_a_second_time_is_not_made_again_after_a_loss_and_is_told() {
    let mut world = unanswered();
    world.cut();
    let results = world.results();
    assert!(
        matches!(
            results.as_slice(),
            [
                (2, Err(Error::ConnectionLost)),
                (4, Err(Error::ConnectionLost))
            ]
        ),
        "{results:?}"
    );
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass_until_ready();
    let again = ["a", "c", "kept", "c", "d"].map(|queue| format!("queue.declare {queue}"));
    assert_eq!(world.gists(), again);
    assert_eq!(world.answered(), [(1, true), (3, true)]);
}

// case D1
#[test]
fn what_could_do_harm_a_second_time_is_not_made_again_after_an_answer_that_never_came() {
    let mut world = unanswered();
    world.pass(21 * SECOND);
    let results = world.results();
    assert!(
        matches!(
            results.as_slice(),
            [
                (1, Err(Error::Timeout(queue::Declare::ID))),
                (2, Err(Error::Timeout(queue::Purge::ID))),
                (4, Err(Error::Timeout(queue::Delete::ID))),
            ]
        ),
        "{results:?}"
    );
}

// case D1
#[test]
fn a_call_that_was_given_up_before_it_was_sent_is_never_sent() {
    let mut world = World::ready();
    world.cut();
    world.call(1, purge("a"));
    world.call(2, declare_queue("b"));
    world.requests();
    world.session.withdraw_calls(|token| token.0 == 1);
    world.pass_until_ready();
    assert_eq!(world.gists(), ["queue.declare b"]);
    assert_eq!(world.answered(), [(2, true)]);
}

#[test]
fn a_refused_call_fails_alone_and_those_after_it_are_made_again() {
    let mut world = World::ready();
    world.broker.script = except("bad", refuse);
    for (token, queue) in [(1, "a"), (2, "bad"), (3, "c"), (4, "bad"), (5, "e")] {
        world
            .session
            .call(world.now, CallToken(token), declare_queue(queue).into());
    }
    world.run();
    let results = world.results();
    let outcome: Vec<(u64, bool)> = results
        .iter()
        .map(|(token, it)| (*token, it.is_ok()))
        .collect();
    assert_eq!(
        outcome,
        [(1, true), (2, false), (3, true), (4, false), (5, true)]
    );
    assert!(results.iter().all(|(_, it)| it.is_ok() || is_refused(it)));
}

// fault 41
#[test]
fn an_answer_that_comes_too_late_answers_no_other_call() {
    let mut world = World::ready();
    world.broker.script = Box::new(|_| Answer::Silence);
    world.call(1, declare_queue("slow"));
    let (channel, _) = world.broker.requests[0];
    world.call(2, declare_queue("other"));
    world.pass(19 * SECOND);
    world.broker.script = Box::new(|_| Answer::Usual);
    // The broker answers at the very moment at which the client loses its patience.
    let late = queue::DeclareOk {
        queue: name("slow"),
        ..Default::default()
    };
    let now = world.now;
    world.broker.send(now, channel, late);
    world.delay_arrival(2 * SECOND);
    let results = world.results();
    assert!(matches!(results[0], (1, Err(Error::Timeout(_)))));
    let Ok(Method::QueueDeclareOk(ok)) = &results[1].1 else {
        panic!("{results:?}");
    };
    assert_eq!(ok.queue, name("other"));
}

#[test]
fn a_call_made_while_its_channel_is_closing_is_made_on_the_next_one() {
    let mut world = World::ready();
    world.broker.script = except("slow", || Answer::Silence);
    world.call(1, declare_queue("slow"));
    // It comes in just when the one before it has waited for too long.
    world.pass(19 * SECOND);
    world.now += SECOND;
    world
        .session
        .call(world.now, CallToken(2), declare_queue("other").into());
    world.run();
    assert_eq!(world.answered(), [(1, false), (2, true)]);
}

#[test]
fn a_call_that_cannot_be_sent_fails_alone() {
    let mut world = World::ready();
    let huge = "x".repeat(200_000);
    let unsendable = queue::Declare {
        arguments: FieldTable::new().with("huge", huge.as_str()).unwrap(),
        ..declare_queue("a")
    };
    world
        .session
        .call(world.now, CallToken(1), unsendable.into());
    world
        .session
        .call(world.now, CallToken(2), declare_queue("b").into());
    world.run();
    assert_eq!(world.answered(), [(1, false), (2, true)]);
}

// fault 48
#[test]
fn what_was_deleted_or_unbound_does_not_rise() {
    let mut world = World::ready();
    for queue in ["kept", "deleted"] {
        world.declare(declare_queue(queue));
        world.declare(bind("x", queue));
    }
    world.declare(queue::Delete {
        queue: name("deleted"),
        ..Default::default()
    });
    world.declare(queue::Unbind {
        queue: name("kept"),
        exchange: name("x"),
        ..Default::default()
    });
    world.cut();
    world.pass_until_ready();
    assert_eq!(world.gists(), ["queue.declare kept"]);
}

// fault 49
#[test]
fn what_the_broker_refused_is_not_declared_again() {
    let mut world = World::ready();
    world.broker.script = except("bad", refuse);
    world.call(1, declare_queue("bad"));
    world.requests();
    world.broker.script = Box::new(|_| Answer::Usual);
    world.cut();
    world.pass_until_ready();
    assert!(world.requests().is_empty());
}

#[test]
fn a_call_that_finds_no_channel_free_fails_and_the_next_one_may_find_one() {
    let mut world = World::with_channels(1);
    let producer = world.session.add_producer(world.now, true);
    world.run();
    world.call(1, declare_queue("a"));
    let results = world.results();
    assert!(matches!(results[..], [(1, Err(Error::NoFreeChannel))]));

    world.session.remove_producer(world.now, producer);
    world.run();
    world.call(2, declare_queue("a"));
    assert_eq!(world.answered(), [(2, true)]);
}
