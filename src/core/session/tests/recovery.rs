//! What is brought back, and in which order.

use super::*;
use snowshoe_codec::method::channel;
use snowshoe_codec::{ChannelCloseReason, ChannelId, PeerClose};

impl World {
    fn renames(&mut self) -> Vec<(ShortString, ShortString)> {
        let outputs = self.outputs().into_iter();
        outputs
            .filter_map(|output| match output {
                Output::QueueRenamed { old, new } => Some((old, new)),
                _ => None,
            })
            .collect()
    }
}

fn position(gists: &[String], gist: &str) -> usize {
    let found = gists.iter().position(|it| it == gist);
    found.unwrap_or_else(|| panic!("no {gist} in {gists:?}"))
}

/// Refuses to declare a queue so many times.
fn refuse_queue(
    queue: &'static str,
    code: ReplyCode,
    text: &'static str,
    mut times: usize,
) -> Box<dyn FnMut(&Method) -> Answer> {
    Box::new(move |method| match method {
        Method::QueueDeclare(declare) if declare.queue == queue && times > 0 => {
            times -= 1;
            Answer::Refuse(code, text)
        }
        _ => Answer::Usual,
    })
}

// faults 43 and 53
#[test]
fn a_recovery_goes_from_exchanges_over_queues_bindings_and_consumers_to_producers() {
    let mut world = World::ready();
    // Declared in another order.
    world.declare(declare_queue("q"));
    world.declare(declare_exchange("b"));
    world.declare(declare_exchange("a"));
    world.declare(exchange::Bind {
        destination: name("a"),
        source: name("b"),
        ..Default::default()
    });
    world.declare(bind("a", "q"));
    world.add_producer();
    world.add_consumer("q");
    world.requests();
    world.cut();
    world.outputs();
    world.pass_until_ready();
    assert_eq!(
        world.gists(),
        [
            "exchange.declare a",
            "exchange.declare b",
            "queue.declare q",
            "queue.bind q to a",
            "exchange.bind a to b",
            "basic.qos",
            "basic.consume q",
            "confirm.select",
        ]
    );
    let outputs = world.outputs();
    let at = |what: fn(&Output) -> bool| outputs.iter().position(what).expect("it was said");
    let story = [
        at(|it| matches!(it, Output::Connected)),
        at(|it| matches!(it, Output::ConsumerOnline { .. })),
        at(|it| matches!(it, Output::ProducerOnline(_))),
        at(|it| matches!(it, Output::Ready)),
    ];
    assert!(story.is_sorted());
}

// fault 46
#[test]
fn bindings_and_consumers_follow_a_server_named_queue_to_its_new_name() {
    let mut world = World::ready();
    world.declare(exclusive(""));
    world.declare(bind("x", "amq.gen-1"));
    let consumer = world.add_consumer("amq.gen-1");
    world.requests();
    world.cut();
    world.pass_until_ready();
    assert_eq!(
        world.gists(),
        [
            "queue.declare",
            "queue.bind amq.gen-2 to x",
            "basic.qos",
            "basic.consume amq.gen-2",
        ]
    );
    assert_eq!(world.renames(), [(name("amq.gen-1"), name("amq.gen-2"))]);
    assert_eq!(
        world.session.consumers[consumer].spec().queue,
        name("amq.gen-2")
    );
}

#[test]
fn a_server_named_queue_that_outlived_the_connection_is_found_under_its_name() {
    let mut world = World::ready();
    world.declare(declare_queue(""));
    world.declare(bind("x", "amq.gen-1"));
    world.add_consumer("amq.gen-1");
    world.requests();
    world.cut();
    world.pass_until_ready();
    assert_eq!(
        world.gists(),
        [
            "queue.declare amq.gen-1",
            "queue.bind amq.gen-1 to x",
            "basic.qos",
            "basic.consume amq.gen-1",
        ]
    );
    assert_eq!(world.renames(), []);
}

#[test]
fn a_server_named_queue_that_is_not_there_any_more_is_declared_anew_before_its_bindings() {
    let mut world = World::ready();
    world.declare(declare_queue(""));
    world.declare(bind("x", "amq.gen-1"));
    world.add_consumer("amq.gen-1");
    world.requests();
    for (old, new) in [("amq.gen-1", "amq.gen-2"), ("amq.gen-2", "amq.gen-3")] {
        world.broker.script = refuse_queue(old, ReplyCode::NOT_FOUND, "no queue", 1);
        world.cut();
        world.pass_until_ready();
        let expected = [
            format!("queue.declare {old}"),
            "queue.declare".to_owned(),
            format!("queue.bind {new} to x"),
            "basic.qos".to_owned(),
            format!("basic.consume {new}"),
        ];
        assert_eq!(world.gists(), expected);
        assert_eq!(world.renames(), [(name(old), name(new))]);
    }
}

/// The answer to looking for the queues of these numbers, and to nothing else.
fn for_named(
    numbers: std::ops::RangeInclusive<usize>,
    answer: fn() -> Answer,
) -> Box<dyn FnMut(&Method) -> Answer> {
    let named = |number| name(&format!("amq.gen-{number}"));
    let queues: BTreeSet<_> = numbers.map(named).collect();
    Box::new(move |method| match method {
        Method::QueueDeclare(declare) if queues.contains(&declare.queue) => answer(),
        _ => Answer::Usual,
    })
}

fn is_gone() -> Answer {
    Answer::Refuse(ReplyCode::NOT_FOUND, "no queue")
}

/// How many round trips it takes until everything is back, of which so many queues that the server named
/// are gone, and so many are still there.
fn round_trips_for(gone: usize, kept: usize) -> usize {
    let mut world = World::ready();
    for _ in 0..gone + kept {
        world.declare(declare_queue(""));
    }
    world.broker.script = for_named(1..=gone, is_gone);
    world.cut();
    world.trips = 0;
    while !world.session.is_ready() {
        if !world.step() {
            world.time_is(world.now + Duration::from_millis(10));
        }
    }
    assert_eq!(world.renames().len(), gone);
    world.trips.div_ceil(2)
}

#[test]
fn queues_that_are_looked_for_cost_round_trips_together_and_not_each() {
    let one = round_trips_for(1, 0);
    // Looking begins with the opening of the connection, and what is declared anew waits for that.
    assert_eq!(round_trips_for(0, 1), round_trips_for(0, 0) + 1);
    assert_eq!(one, round_trips_for(0, 0) + 2);
    for gone in [10, 30, 60] {
        assert_eq!(round_trips_for(gone, 0), one, "{gone}");
    }
    // Looked for are 64 at a time.
    assert!(round_trips_for(100, 0) <= one + 2);
    assert!(round_trips_for(50, 50) <= one + 1);
}

#[test]
fn where_channels_are_few_queues_are_looked_for_one_after_the_other() {
    for channels in [1, 3, 8] {
        let mut world = World::with_channels(channels);
        for _ in 0..10 {
            world.declare(declare_queue(""));
        }
        world.broker.script = for_named(1..=5, is_gone);
        world.cut();
        world.pass_until_ready();
        assert_eq!(world.renames().len(), 5, "{channels} channels");
    }
}

#[test]
fn of_queues_that_are_looked_for_at_once_the_one_that_costs_connections_is_found() {
    let mut world = World::ready();
    for _ in 0..10 {
        world.declare(declare_queue(""));
    }
    world.requests();
    world.broker.script = for_named(3..=3, || Answer::End(ReplyCode::INTERNAL_ERROR));
    world.cut();
    world.pass_until_ready();
    assert_eq!(world.not_recovered(), ["queue \"amq.gen-3\""]);
    world.broker.script = Box::new(|_| Answer::Usual);
    world.requests();
    world.cut();
    world.pass_until_ready();
    assert_eq!(world.gists().len(), 10);
}

#[test]
fn a_look_that_is_never_answered_begins_the_recovery_again() {
    let mut world = World::ready();
    for _ in 0..3 {
        world.declare(declare_queue(""));
    }
    world.broker.script = for_named(2..=2, || Answer::Silence);
    world.cut();
    world.pass(22 * SECOND);
    assert!(!world.session.is_ready());
    world.broker.script = Box::new(|_| Answer::Usual);
    world.pass_until_ready();
    assert_eq!(world.renames(), []);
}

#[test]
fn a_server_named_queue_that_cannot_be_reached_is_not_replaced_by_another() {
    let mut world = World::ready();
    world.declare(declare_queue(""));
    world.requests();
    for text in [
        "home node 'a@b' of durable queue 'amq.gen-1' in vhost '/' is down or inaccessible",
        "queue 'amq.gen-1' in vhost '/' process is stopped by supervisor",
        "queue 'amq.gen-1' in vhost '/' has crashed and failed to restart",
        "failed to perform operation on queue 'amq.gen-1' in vhost '/' due to timeout",
    ] {
        world.broker.script = refuse_queue("amq.gen-1", ReplyCode::NOT_FOUND, text, 1);
        world.cut();
        world.outputs();
        world.pass_until_ready();
        assert_eq!(world.gists(), ["queue.declare amq.gen-1"], "{text}");
        assert_eq!(world.not_recovered().len(), 1, "{text}");
    }
}

// fault 44
#[test]
fn an_exclusive_queue_that_is_still_locked_is_tried_past_three_heartbeats() {
    let mut world = World::ready();
    world.declare(exclusive("mine"));
    world.declare(bind("x", "mine"));
    let consumer = world.add_consumer("mine");
    world.cut();
    // The broker finds out about the old connection after three heartbeats.
    let found_out = world.now + 31 * SECOND;
    let clock = std::rc::Rc::new(std::cell::Cell::new(world.now));
    let time = std::rc::Rc::clone(&clock);
    world.broker.script = Box::new(move |method| match method {
        Method::QueueDeclare(_) | Method::QueueBind(_) | Method::BasicConsume(_)
            if time.get() < found_out =>
        {
            Answer::Refuse(ReplyCode::RESOURCE_LOCKED, "locked")
        }
        _ => Answer::Usual,
    });
    for _ in 0..600 {
        world.pass(Duration::from_millis(100));
        clock.set(world.now);
    }
    assert!(world.session.is_ready());
    let channel = world.session.consumer_channel(consumer);
    assert!(channel.is_some_and(|channel| channel.is_open()));
    let gists = world.gists();
    let last_try = gists.iter().rposition(|it| it == "queue.declare mine");
    let bound = gists.iter().position(|it| it == "queue.bind mine to x");
    assert!(last_try < bound, "{gists:?}");
    assert!(world.not_recovered().is_empty());
}

/// A session whose exclusive queue has been locked for nearly as long as a dead connection may.
fn locked_out() -> World {
    let mut world = World::ready();
    world.declare(exclusive("mine"));
    world.cut();
    let locked = ReplyCode::RESOURCE_LOCKED;
    world.broker.script = refuse_queue("mine", locked, "locked", usize::MAX);
    world.pass(40 * SECOND);
    assert!(world.not_recovered().is_empty());
    world
}

// fault 44
#[test]
fn a_refusal_that_comes_late_says_nothing_about_a_lock_that_has_passed_since() {
    let mut world = locked_out();
    // It is asked once more, and the answer takes its time.
    world.broker.script = Box::new(|method| match method {
        Method::QueueDeclare(_) => Answer::Silence,
        _ => Answer::Usual,
    });
    world.broker.requests.clear();
    world.pass(10 * SECOND);
    let (channel, asked) = world.broker.requests.pop().expect("it asked");
    world.broker.script = Box::new(|_| Answer::Usual);
    let (now, locked) = (world.now, ReplyCode::RESOURCE_LOCKED);
    (world.broker).close_channel(now, channel, locked, "locked", asked.id());
    world.pass(SECOND);
    assert_eq!(world.request_names(), ["queue.declare"]);
    assert!(world.not_recovered().is_empty());
}

// fault 44
#[test]
fn a_queue_that_stays_locked_is_reported_at_last() {
    let mut world = locked_out();
    world.pass(MINUTE);
    assert_eq!(world.not_recovered(), ["queue \"mine\""]);
    world.requests();
    world.pass(MINUTE);
    assert!(world.requests().is_empty());
}

// fault 50
#[test]
fn what_is_refused_is_skipped_and_reported() {
    let mut world = World::ready();
    for queue in ["a", "bad", "c"] {
        world.declare(declare_queue(queue));
        world.declare(bind("x", queue));
    }
    world.cut();
    let failed = ReplyCode::PRECONDITION_FAILED;
    world.broker.script = refuse_queue("bad", failed, "inequivalent", usize::MAX);
    world.outputs();
    world.pass_until_ready();
    assert_eq!(world.not_recovered(), ["queue \"bad\""]);
    let gists = world.gists();
    for queue in ["a", "c"] {
        let declared = position(&gists, &format!("queue.declare {queue}"));
        assert!(declared < position(&gists, &format!("queue.bind {queue} to x")));
    }
}

// fault 50
#[test]
fn however_many_there_are_only_what_is_refused_is_missing() {
    let mut world = World::ready();
    let names: Vec<String> = (0..200).map(|n| format!("q{n:03}")).collect();
    for queue in &names {
        world.declare(declare_queue(queue));
    }
    world.cut();
    let mut declared = BTreeSet::new();
    let failed = ReplyCode::PRECONDITION_FAILED;
    world.broker.script = refuse_queue("q001", failed, "inequivalent", usize::MAX);
    world.requests();
    world.pass_until_ready();
    declared.extend(world.gists());
    assert_eq!(declared.len(), names.len());
    assert_eq!(world.not_recovered(), ["queue \"q001\""]);
}

// fault 51
#[test]
fn a_recovery_that_gets_no_answer_is_begun_again() {
    let mut world = World::ready();
    world.declare(declare_exchange("x"));
    world.declare(declare_queue("q"));
    world.cut();
    let mut to_ignore = 2;
    world.broker.script = Box::new(move |_| {
        if to_ignore == 0 {
            return Answer::Usual;
        }
        to_ignore -= 1;
        Answer::Silence
    });
    world.requests();
    world.outputs();
    world.pass(19 * SECOND);
    assert!(!world.session.is_ready());
    world.pass_until_ready();
    let gists = world.gists();
    assert_eq!(
        gists[gists.len() - 2..],
        ["exchange.declare x", "queue.declare q"]
    );
    assert_eq!(world.count(|it| matches!(it, Output::Lost { .. })), 1);
}

// LavinMQ refuses to declare anything while its disk is nearly full.
#[test]
fn what_the_broker_has_no_room_for_is_declared_when_it_has() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    world.declare(bind("x", "q"));
    world.cut();
    let failed = ReplyCode::PRECONDITION_FAILED;
    world.broker.script = refuse_queue("q", failed, "Server low on disk space", 300);
    world.requests();
    world.pass_until_ready();
    world.pass(5 * MINUTE);
    assert!(world.not_recovered().is_empty());
    let gists = world.gists();
    let bound = position(&gists, "queue.bind q to x");
    assert_eq!(gists[bound - 1], "queue.declare q");
    assert_eq!(bound, 301);
}

#[test]
fn exclusive_queues_are_declared_by_the_session_that_owns_them() {
    let mut world = World::new(Settings {
        owns_exclusive_queues: false,
        ..settings()
    });
    world
        .topology
        .record_queue(&exclusive("mine"), &name("mine"));
    world.topology.record_queue_binding(&bind("x", "mine"));
    world
        .topology
        .record_queue(&declare_queue("shared"), &name("shared"));
    world.run();
    assert!(world.session.is_ready());
    assert_eq!(world.gists(), ["queue.declare shared"]);
}

// fault 48
#[test]
fn what_is_forgotten_during_a_recovery_is_left_out() {
    let mut world = World::ready();
    // One more than may be under way.
    for queue in 0..4_097 {
        world.declare(declare_queue(&format!("q{queue:04}")));
    }
    world.cut();
    world.broker.script = Box::new(|_| Answer::Silence);
    world.pass(SECOND);
    let pending: Vec<(ChannelId, Method)> = std::mem::take(&mut world.broker.requests);
    // Another connection of the client deletes the last one.
    world
        .topology
        .forget_queue(&world.topology.queue_id(&name("q4096")));
    world.broker.script = Box::new(|_| Answer::Usual);
    for (channel, method) in pending {
        let Method::QueueDeclare(declare) = method else {
            panic!("{method:?}");
        };
        let ok = queue::DeclareOk {
            queue: declare.queue,
            ..Default::default()
        };
        world.broker.send(world.now, channel, ok);
    }
    world.run();
    assert!(world.session.is_ready());
    assert_eq!(world.gists(), [""; 0], "the last one is not declared");
}

/// An auto-delete queue of which our last consumer was cancelled; others consume from it, or not.
fn left_queue(is_used: bool) -> World {
    let mut world = World::ready();
    world.declare(queue::Declare {
        auto_delete: true,
        ..declare_queue("q")
    });
    world.declare(bind("x", "q"));
    let consumer = world.add_consumer("q");
    world.requests();
    world.broker.script = Box::new(move |method| match method {
        Method::QueueDeclare(it) if it.passive && !is_used => {
            Answer::Refuse(ReplyCode::NOT_FOUND, "it is not there")
        }
        _ => Answer::Usual,
    });
    world.cancel(consumer);
    world
}

// fault 48
#[test]
fn an_auto_delete_queue_that_goes_with_our_last_consumer_does_not_rise_again() {
    let mut world = left_queue(false);
    assert_eq!(world.gists(), ["basic.cancel", "queue.declare q"]);
    world.cut();
    world.pass_until_ready();
    assert_eq!(world.gists(), [""; 0]);
    assert_eq!(world.not_recovered(), [""; 0]);
}

#[test]
fn an_auto_delete_queue_that_others_still_use_is_declared_again() {
    let mut world = left_queue(true);
    assert_eq!(world.gists()[..2], ["basic.cancel", "queue.declare q"]);
    world.cut();
    world.pass_until_ready();
    assert_eq!(world.requests().len(), 2, "the queue and its binding");
}

#[test]
fn a_queue_that_another_session_has_found_to_be_gone_is_no_failure() {
    let mut world = left_queue(true);
    // It is left again, and looked for by both after a reconnect.
    world.topology.consumer_started(&name("q"));
    world.topology.consumer_cancelled(&name("q"));
    world.broker.script = Box::new(|method| match method {
        Method::QueueDeclare(it) if it.passive => Answer::Silence,
        _ => Answer::Usual,
    });
    world.cut();
    world.requests();
    world.pass(2 * SECOND);
    let is_look = |it: &Method| matches!(it, Method::QueueDeclare(it) if it.passive);
    let mut requests = world.broker.requests.iter();
    let (channel, _) = requests
        .find(|(_, it)| is_look(it))
        .expect("it is looked for");
    let channel = *channel;
    let left = world.topology.left_queue(&name("q")).expect("it was left");
    world.topology.is_missing(&left);
    let (now, code) = (world.now, ReplyCode::NOT_FOUND);
    let mut looked_on = world.broker.connection().channel(channel).unwrap();
    let closed = looked_on.close_over(now, code, ShortString::EMPTY, queue::Declare::ID);
    closed.expect("it is open");
    world.pass_until_ready();
    assert_eq!(world.not_recovered(), [""; 0]);
}

#[test]
fn a_binding_waits_for_a_queue_that_may_have_gone_with_its_last_consumer() {
    let mut world = World::ready();
    world.declare(queue::Declare {
        auto_delete: true,
        ..declare_queue("q")
    });
    world.declare(bind("x", "q"));
    let consumer = world.add_consumer("q");
    // Its last consumer goes while there is no connection, and the queue with it.
    world.network = Network::Refuses;
    world.cut();
    world.cancel(consumer);
    world.broker.script = Box::new(|method| match method {
        Method::QueueDeclare(it) if it.passive => is_gone(),
        Method::QueueBind(_) => is_gone(),
        _ => Answer::Usual,
    });
    world.network = Network::Good;
    world.requests();
    world.pass_until_ready();
    assert_eq!(
        world.gists(),
        ["queue.declare q"],
        "it is looked for, and not bound"
    );
    assert_eq!(world.not_recovered(), [""; 0]);
}

#[test]
fn where_the_broker_does_not_open_a_channel_nothing_behind_it_was_refused() {
    let mut world = World::ready();
    world.declare(declare_queue("q"));
    world.come_back_unheard();
    let close = ChannelCloseReason::Peer(PeerClose {
        code: ReplyCode::CHANNEL_ERROR,
        text: name("no more channels"),
        method: channel::Open::ID,
    });
    let now = world.now;
    let channel = world.session.recovery.channel().unwrap();
    (world.session).channel_closed(now, channel, close, &mut world.topology);
    assert_eq!(world.not_recovered(), [""; 0]);
    assert!(
        !world.session.recovery.is_empty(),
        "it is declared on another"
    );
}
