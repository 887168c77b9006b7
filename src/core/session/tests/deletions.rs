//! What is deleted on one connection while others declare what was declared before.

use std::cell::RefCell;
use std::rc::Rc;

use super::*;
use crate::core::scaled;

/// What is there, on a broker that both sessions of a [`Pair`] are connected to.
#[derive(Debug, Default)]
struct Store {
    queues: BTreeSet<ShortString>,
    exchanges: BTreeSet<ShortString>,
    /// Queues and exchanges by which they are bound.
    bindings: BTreeSet<(ShortString, ShortString)>,
    /// Whether queues are in use.
    in_use: bool,
    /// What no name means: of one channel, as it were.
    declared: ShortString,
}

impl Store {
    fn receive(&mut self, method: &Method) -> Answer {
        const MISSING: Answer = Answer::Refuse(ReplyCode::NOT_FOUND, "it is not there");
        let called = |queue: &ShortString| match queue.is_empty() {
            true => self.declared.clone(),
            false => queue.clone(),
        };
        match method {
            Method::QueueDeclare(it) if it.passive && !self.queues.contains(&it.queue) => {
                return MISSING;
            }
            Method::QueueDeclare(it) => {
                self.declared = it.queue.clone();
                self.queues.insert(it.queue.clone());
            }
            Method::ExchangeDeclare(it) => _ = self.exchanges.insert(it.exchange.clone()),
            Method::QueueBind(it) => {
                if !self.queues.contains(&it.queue) || !self.exchanges.contains(&it.exchange) {
                    return MISSING;
                }
                self.bindings
                    .insert((it.queue.clone(), it.exchange.clone()));
            }
            Method::QueueUnbind(it) => {
                self.bindings
                    .remove(&(called(&it.queue), it.exchange.clone()));
            }
            Method::QueueDelete(it) if it.if_unused && self.in_use => {
                return Answer::Refuse(ReplyCode::PRECONDITION_FAILED, "in use");
            }
            Method::QueueDelete(it) => {
                let deleted = called(&it.queue);
                self.queues.remove(&deleted);
                self.bindings.retain(|(queue, _)| *queue != deleted);
            }
            Method::ExchangeDelete(it) => {
                self.exchanges.remove(&it.exchange);
                self.bindings
                    .retain(|(_, exchange)| *exchange != it.exchange);
            }
            Method::BasicConsume(it) if !self.queues.contains(&it.queue) => return MISSING,
            _ => {}
        }
        Answer::Usual
    }
}

/// Two sessions of one client: the second is that for publishing, or for one consumer.
struct Pair {
    main: World,
    other: World,
    store: Rc<RefCell<Store>>,
}

impl Pair {
    /// Both are ready, and a queue is declared that is bound to an exchange.
    fn ready() -> Self {
        let store = Rc::<RefCell<Store>>::default();
        let world = |owns_exclusive_queues| {
            let mut world = World::new(Settings {
                owns_exclusive_queues,
                ..settings()
            });
            let store = Rc::clone(&store);
            world.broker.script = Box::new(move |method| store.borrow_mut().receive(method));
            world
        };
        let (main, other) = (world(true), world(false));
        let mut pair = Self { main, other, store };
        pair.run();
        pair.declare();
        assert!(pair.are_ready());
        pair.main.outputs();
        pair
    }

    fn declare(&mut self) {
        self.call(declare_exchange("x"));
        self.call(declare_queue("q"));
        self.call(bind("x", "q"));
    }

    /// Lends the topology to the other, where it is with the main one.
    fn lend(&mut self) {
        std::mem::swap(&mut self.main.topology, &mut self.other.topology);
    }

    /// Does everything that can be done without time passing.
    fn run(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn step(&mut self) -> bool {
        let mut moved = self.main.step();
        self.lend();
        moved |= self.other.step();
        self.lend();
        // Some of it may be said only because of the other.
        moved | self.main.exchange() | self.other.exchange()
    }

    fn call(&mut self, method: impl Into<Method>) {
        let now = self.main.now;
        self.main.session.call(now, CallToken(0), method.into());
        self.run();
    }

    fn pass(&mut self, time: Duration) {
        let until = self.main.now + time;
        while self.main.now < until {
            self.tick();
            self.run();
        }
    }

    fn tick(&mut self) {
        let now = self.main.now + STEP;
        self.main.time_is(now);
        self.other.time_is(now);
    }

    fn are_ready(&self) -> bool {
        self.main.session.is_ready() && self.other.session.is_ready()
    }

    /// Passes the time until both have come back, and nothing more is on its way.
    fn settle(&mut self) {
        for _ in 0..10 {
            self.pass(30 * SECOND);
            if self.are_ready() {
                return;
            }
        }
        panic!("they do not come back");
    }

    fn cut_main(&mut self) {
        self.main.cut();
        self.run();
    }

    fn cut_other(&mut self) {
        self.lend();
        self.other.cut();
        self.lend();
        self.run();
    }

    /// Both connections are lost and come back, twice.
    fn come_back_twice(&mut self) {
        for _ in 0..2 {
            self.cut_main();
            self.cut_other();
            self.settle();
        }
    }

    /// Whatever is on its way arrives, and both come back.
    fn hear_all(&mut self) {
        for world in [&mut self.main, &mut self.other] {
            (world.is_heard, world.hears) = (true, true);
        }
        self.settle();
    }

    /// The other connection is lost, and comes back as far as this; what it says then is not heard yet.
    fn stop_the_other_at(&mut self, point: impl Fn(&Session) -> bool) {
        (self.other.is_heard, self.other.hears) = (true, true);
        self.cut_other();
        for _ in 0..10_000 {
            self.other.is_heard = false;
            let mut moved = self.step();
            if point(&self.other.session) {
                break;
            }
            self.other.is_heard = true;
            moved |= self.other.exchange();
            if !moved {
                self.tick();
            }
        }
        assert!(point(&self.other.session), "it never comes as far");
        self.run();
    }

    /// Both are ready, and the other declares again what is not there; what it says is not heard yet.
    fn declaring_while_ready() -> Self {
        let mut pair = Self::ready();
        // It leaves out what is being deleted.
        pair.store.borrow_mut().in_use = true;
        pair.main.hears = false;
        pair.call(delete_queue(true));
        *pair.store.borrow_mut() = Store::default();
        pair.cut_other();
        pair.pass(5 * SECOND);
        assert!(pair.other.session.is_ready() && !pair.has_queue());
        // It was not deleted.
        (pair.main.hears, pair.other.is_heard) = (true, false);
        pair.pass(SECOND);
        assert!(is_declaring(&pair.other.session) && !pair.has_queue());
        assert!(matches!(pair.results()[..], [Err(Error::Refused(_))]));
        pair
    }

    /// What the other connection says is heard again.
    fn let_the_other_go_on(&mut self) {
        self.other.is_heard = true;
        self.pass(5 * SECOND);
    }

    fn results(&mut self) -> Vec<Result<(), Error>> {
        let outputs = self.main.outputs().into_iter();
        outputs
            .filter_map(|output| match output {
                Output::Called { result, .. } => Some(result.map(drop)),
                _ => None,
            })
            .collect()
    }

    fn is_deleted_by_hand(&mut self) -> bool {
        let mut outputs = self.main.outputs().into_iter();
        outputs.any(|output| match output {
            Output::ChannelEvent(_, codec::Event::Reply { method, .. }) => {
                matches!(*method, Method::QueueDeleteOk(_))
            }
            _ => false,
        })
    }

    fn has_queue(&self) -> bool {
        self.store.borrow().queues.contains(&name("q"))
    }
}

const STEP: Duration = Duration::from_millis(50);

fn delete_queue(if_unused: bool) -> queue::Delete {
    queue::Delete {
        queue: name("q"),
        if_unused,
        ..Default::default()
    }
}

fn delete_exchange() -> exchange::Delete {
    exchange::Delete {
        exchange: name("x"),
        ..Default::default()
    }
}

fn unbind() -> queue::Unbind {
    queue::Unbind {
        queue: name("q"),
        exchange: name("x"),
        ..Default::default()
    }
}

/// Whether it has declarations under way.
fn is_declaring(session: &Session) -> bool {
    session.recovery.under_way().next().is_some()
}

/// Whether a binding is among them.
fn is_binding(session: &Session) -> bool {
    let mut steps = session.recovery.under_way();
    steps.any(|step| matches!(step, topology::Step::Binding(_)))
}

/// Whether it is there no more.
type IsGone = fn(&Store) -> bool;

/// The deletions of this pair's queue, exchange and binding.
fn deletions() -> [(Method, IsGone); 3] {
    [
        (delete_queue(false).into(), |it| it.queues.is_empty()),
        (delete_exchange().into(), |it| it.exchanges.is_empty()),
        (unbind().into(), |it| it.bindings.is_empty()),
    ]
}

// case D2
#[test]
fn what_is_deleted_while_another_connection_declares_it_stays_deleted() {
    for (delete, is_gone) in deletions() {
        for point in [is_declaring, is_binding] {
            let mut pair = Pair::ready();
            pair.stop_the_other_at(point);
            pair.call(delete.clone());
            pair.let_the_other_go_on();
            assert!(matches!(pair.results()[..], [Ok(())]), "{delete:?}");
            assert!(is_gone(&pair.store.borrow()), "{delete:?}");
            assert_eq!(pair.other.not_recovered(), [""; 0]);
            pair.come_back_twice();
            assert!(is_gone(&pair.store.borrow()), "{delete:?}");
        }
    }
}

// case D2
#[test]
fn what_another_connection_comes_to_declare_while_it_is_being_deleted_stays_deleted() {
    for (delete, is_gone) in deletions() {
        let mut pair = Pair::ready();
        // The broker has done it, and its answer is late.
        pair.main.hears = false;
        pair.call(delete.clone());
        assert!(is_gone(&pair.store.borrow()), "{delete:?}");
        pair.cut_other();
        pair.pass(5 * SECOND);
        assert!(pair.other.session.is_ready());
        pair.main.hears = true;
        pair.pass(SECOND);
        assert!(matches!(pair.results()[..], [Ok(())]));
        pair.come_back_twice();
        assert!(is_gone(&pair.store.borrow()), "{delete:?}");
        assert_eq!(pair.other.not_recovered(), [""; 0]);
    }
}

// case D2
#[test]
fn what_was_left_out_for_a_deletion_that_is_refused_is_declared() {
    let mut pair = Pair::ready();
    pair.store.borrow_mut().in_use = true;
    pair.main.hears = false;
    pair.call(delete_queue(true));
    *pair.store.borrow_mut() = Store::default();
    pair.cut_other();
    pair.pass(5 * SECOND);
    assert!(pair.other.session.is_ready());
    assert!(!pair.has_queue());
    pair.main.hears = true;
    pair.pass(SECOND);
    let results = pair.results();
    assert!(
        matches!(results[..], [Err(Error::Refused(_))]),
        "{results:?}"
    );
    assert!(pair.has_queue());
    assert_eq!(pair.store.borrow().bindings.len(), 1);
    *pair.store.borrow_mut() = Store::default();
    pair.come_back_twice();
    assert!(pair.has_queue());
    assert_eq!(pair.other.not_recovered(), [""; 0]);
}

// case D2
#[test]
fn a_deletion_waits_no_longer_than_for_the_connection_that_declares_the_same() {
    let mut pair = Pair::ready();
    pair.stop_the_other_at(is_declaring);
    pair.call(delete_queue(false));
    assert!(pair.results().is_empty() && pair.has_queue());
    pair.cut_other();
    assert!(matches!(pair.results()[..], [Ok(())]));
    pair.other.is_heard = true;
    pair.come_back_twice();
    assert!(!pair.has_queue());
}

// case D2
#[test]
fn a_deletion_waits_no_longer_than_for_an_answer_that_never_comes() {
    let mut pair = Pair::ready();
    pair.stop_the_other_at(is_declaring);
    pair.call(delete_queue(false));
    pair.pass(30 * SECOND);
    assert!(matches!(pair.results()[..], [Ok(())]));
    pair.other.is_heard = true;
    pair.come_back_twice();
    assert!(!pair.has_queue());
}

// case D2
#[test]
fn a_deletion_waits_for_what_was_given_up_for_want_of_an_answer_and_is_on_its_way_still() {
    for is_ever_heard in [true, false] {
        let mut pair = Pair::declaring_while_ready();
        pair.call(delete_queue(false));
        pair.pass(21 * SECOND);
        assert!(pair.other.session.is_ready(), "only the channel is closed");
        assert!(pair.results().is_empty());
        if is_ever_heard {
            pair.let_the_other_go_on();
        } else {
            pair.pass(10 * SECOND);
        }
        assert!(matches!(pair.results()[..], [Ok(())]));
        assert!(!pair.has_queue());
        pair.other.is_heard = true;
        pair.come_back_twice();
        assert!(!pair.has_queue());
    }
}

// case D2
#[test]
fn while_a_deletion_waits_what_is_about_something_else_does_not() {
    let mut pair = Pair::ready();
    pair.stop_the_other_at(is_declaring);
    pair.main.requests();
    pair.call(delete_queue(false));
    pair.call(declare_queue("another"));
    pair.call(declare_queue("q"));
    assert_eq!(pair.main.gists(), ["queue.declare another"]);
    pair.let_the_other_go_on();
    assert_eq!(pair.main.gists(), ["queue.delete", "queue.declare q"]);
    pair.come_back_twice();
    assert!(pair.has_queue(), "the later declaration wins");
    assert!(pair.store.borrow().bindings.is_empty(), "it was deleted");
}

// case D2
#[test]
fn what_was_to_be_deleted_and_was_given_up_before_is_declared_again() {
    let mut pair = Pair::ready();
    pair.stop_the_other_at(is_declaring);
    pair.call(delete_queue(false));
    pair.main.session.withdraw_calls(|_| true);
    pair.let_the_other_go_on();
    *pair.store.borrow_mut() = Store::default();
    pair.come_back_twice();
    assert!(pair.has_queue());
    assert_eq!(pair.store.borrow().bindings.len(), 1);
}

// case D2
#[test]
fn what_was_to_be_deleted_on_a_connection_that_is_lost_before_is_deleted_on_the_next() {
    let mut pair = Pair::ready();
    pair.stop_the_other_at(is_declaring);
    pair.call(delete_queue(false));
    pair.cut_main();
    pair.pass(SECOND);
    pair.let_the_other_go_on();
    assert!(matches!(pair.results()[..], [Ok(())]));
    pair.come_back_twice();
    assert!(!pair.has_queue());
}

// case D2
#[test]
fn what_was_deleted_and_never_answered_is_not_declared_by_others_either() {
    let mut pair = Pair::ready();
    pair.main.hears = false;
    pair.call(delete_queue(false));
    pair.cut_other();
    pair.cut_main();
    pair.main.hears = true;
    pair.come_back_twice();
    assert!(matches!(pair.results()[..], [Err(Error::ConnectionLost)]));
    assert!(!pair.has_queue());
}

// case D2
#[test]
fn two_deletions_of_the_same_end_one_after_the_other() {
    let mut pair = Pair::ready();
    pair.stop_the_other_at(is_binding);
    pair.call(delete_queue(false));
    pair.call(delete_queue(false));
    pair.call(delete_exchange());
    pair.let_the_other_go_on();
    assert!(matches!(pair.results()[..], [Ok(()), Ok(()), Ok(())]));
    pair.come_back_twice();
    assert!(!pair.has_queue() && pair.store.borrow().exchanges.is_empty());
}

// case D2, fault 48
#[test]
fn a_consumer_on_another_connection_does_not_bring_back_a_queue_that_is_being_deleted() {
    let mut pair = Pair::ready();
    let now = pair.other.now;
    let consumer = pair.other.session.add_consumer(now, spec("q"));
    pair.run();
    // The broker tells the consumer before it answers who deletes the queue.
    pair.main.hears = false;
    pair.call(delete_queue(false));
    let channel = pair.other.consumer_channel(consumer);
    pair.other.broker.cancel_consumer(now, channel);
    pair.pass(5 * SECOND);
    assert!(!pair.has_queue());
    pair.main.hears = true;
    pair.pass(5 * SECOND);
    assert!(!pair.has_queue());
    pair.come_back_twice();
    assert!(!pair.has_queue());
}

// case D2
#[test]
fn an_exchange_that_goes_with_its_last_binding_is_not_declared_meanwhile() {
    let mut pair = Pair::ready();
    pair.call(exchange::Declare {
        auto_delete: true,
        ..declare_exchange("x")
    });
    pair.stop_the_other_at(is_declaring);
    pair.main.requests();
    pair.call(unbind());
    assert_eq!(pair.main.gists(), [""; 0]);
    pair.let_the_other_go_on();
    assert_eq!(pair.main.gists(), ["queue.unbind"]);
}

/// A channel that a user drives, on the main connection.
fn channel_by_hand(pair: &mut Pair) -> ChannelKey {
    let channel = pair.main.session.add_channel(pair.main.now);
    pair.run();
    assert!(pair.main.session.user_channel(channel).is_some());
    channel
}

/// Sends a method by hand, if it may be sent. Whether it was.
fn send_by_hand(pair: &mut Pair, channel: ChannelKey, method: &Method) -> bool {
    let Pair { main, .. } = pair;
    let (session, topology) = (&mut main.session, &mut main.topology);
    let may = session.may_send_by_hand(channel, method, topology);
    if may {
        let sent = session.send_by_hand(main.now, channel, method.clone(), topology);
        sent.expect("the channel is open");
    }
    pair.run();
    may
}

// case D3
#[test]
fn what_is_deleted_by_hand_does_not_rise_again() {
    for (delete, is_gone) in deletions() {
        let mut pair = Pair::ready();
        let channel = channel_by_hand(&mut pair);
        pair.main.hears = false;
        assert!(send_by_hand(&mut pair, channel, &delete));
        assert!(is_gone(&pair.store.borrow()), "{delete:?}");
        // Neither while its answer is late, nor later.
        pair.cut_other();
        pair.pass(5 * SECOND);
        assert!(is_gone(&pair.store.borrow()), "{delete:?}");
        pair.main.hears = true;
        pair.come_back_twice();
        assert!(is_gone(&pair.store.borrow()), "{delete:?}");
    }
}

// case D3
#[test]
fn what_is_deleted_by_hand_as_the_queue_that_was_declared_last_does_not_rise_again() {
    let unbind = queue::Unbind {
        queue: ShortString::EMPTY,
        ..unbind()
    };
    for method in [Method::from(queue::Delete::default()), unbind.into()] {
        let mut pair = Pair::ready();
        let channel = channel_by_hand(&mut pair);
        let passive = queue::Declare {
            passive: true,
            ..declare_queue("q")
        };
        assert!(send_by_hand(&mut pair, channel, &passive.into()));
        assert!(send_by_hand(&mut pair, channel, &method));
        pair.come_back_twice();
        let store = pair.store.borrow();
        let is_queue = matches!(method, Method::QueueDelete(_));
        assert_eq!(store.queues.contains(&name("q")), !is_queue);
        assert!(store.bindings.is_empty(), "{method:?}");
    }
}

// fault 46
#[test]
fn a_consumer_of_another_connection_follows_a_queue_to_its_new_name() {
    let mut pair = Pair::ready();
    pair.call(declare_queue(""));
    let given = name("amq.gen-1");
    pair.store.borrow_mut().queues = [name("q"), given.clone()].into();
    let now = pair.other.now;
    let consumer = pair.other.session.add_consumer(now, spec("amq.gen-1"));
    pair.settle();
    assert!(pair.other.is_consuming(consumer));
    // It is gone, and there is another.
    pair.store.borrow_mut().queues = [name("q"), name("amq.gen-2")].into();
    pair.other.outputs();
    pair.cut_other();
    pair.cut_main();
    pair.settle();
    assert!(pair.other.is_consuming(consumer));
    let queue = &pair.other.session.consumers[consumer].spec().queue;
    assert_eq!(*queue, name("amq.gen-2"));
    let told = pair
        .other
        .count(|it| matches!(it, Output::RenameFollowed { .. }));
    assert_eq!(told, 1);
}

// case D3
#[test]
fn what_is_deleted_by_hand_without_an_answer_does_not_rise_again() {
    let mut pair = Pair::ready();
    let channel = channel_by_hand(&mut pair);
    let delete = queue::Delete {
        nowait: true,
        ..delete_queue(false)
    };
    assert!(send_by_hand(&mut pair, channel, &delete.into()));
    pair.come_back_twice();
    assert!(!pair.has_queue());
}

// case D3
#[test]
fn what_is_deleted_by_hand_and_declared_since_is_declared_again() {
    let mut pair = Pair::ready();
    let channel = channel_by_hand(&mut pair);
    assert!(send_by_hand(
        &mut pair,
        channel,
        &delete_queue(false).into()
    ));
    pair.call(declare_queue("q"));
    pair.pass(SECOND);
    *pair.store.borrow_mut() = Store::default();
    pair.come_back_twice();
    assert!(pair.has_queue());
}

// case D3
#[test]
fn what_is_deleted_by_hand_and_never_answered_does_not_rise_again() {
    for (delete, is_gone) in deletions() {
        let mut pair = Pair::ready();
        let channel = channel_by_hand(&mut pair);
        pair.main.hears = false;
        assert!(send_by_hand(&mut pair, channel, &delete));
        pair.cut_main();
        pair.main.hears = true;
        pair.come_back_twice();
        assert!(is_gone(&pair.store.borrow()), "{delete:?}");
    }
}

// case D3
#[test]
fn of_what_is_deleted_by_hand_all_before_the_refused_is_gone_and_the_rest_declared_again() {
    let mut pair = Pair::ready();
    pair.call(declare_exchange("another"));
    pair.store.borrow_mut().in_use = true;
    let channel = channel_by_hand(&mut pair);
    pair.main.hears = false;
    for delete in [
        Method::from(exchange::Delete {
            exchange: name("another"),
            ..Default::default()
        }),
        delete_queue(true).into(),
        delete_exchange().into(),
    ] {
        assert!(send_by_hand(&mut pair, channel, &delete));
    }
    pair.main.hears = true;
    pair.pass(SECOND);
    *pair.store.borrow_mut() = Store::default();
    pair.come_back_twice();
    let store = pair.store.borrow();
    assert!(store.queues.contains(&name("q")));
    assert_eq!(store.exchanges, BTreeSet::from([name("x")]));
    assert_eq!(store.bindings.len(), 1);
}

// case D3
#[test]
fn what_is_deleted_by_hand_waits_until_nobody_is_declaring_it() {
    let mut pair = Pair::ready();
    let channel = channel_by_hand(&mut pair);
    pair.stop_the_other_at(is_declaring);
    let delete = delete_queue(false).into();
    assert!(!send_by_hand(&mut pair, channel, &delete));
    pair.let_the_other_go_on();
    assert!(send_by_hand(&mut pair, channel, &delete));
    pair.come_back_twice();
    assert!(!pair.has_queue());
}

// case D3
#[test]
fn what_was_to_be_deleted_by_hand_and_was_given_up_before_is_declared_again() {
    let give_ups: [fn(&mut Session, Instant, ChannelKey); 2] = [
        |session, _, channel| session.given_up_by_hand(channel),
        |session, now, channel| session.remove_channel(now, channel),
    ];
    for give_up in give_ups {
        let mut pair = Pair::ready();
        let channel = channel_by_hand(&mut pair);
        pair.stop_the_other_at(is_declaring);
        assert!(!send_by_hand(
            &mut pair,
            channel,
            &delete_queue(false).into()
        ));
        give_up(&mut pair.main.session, pair.main.now, channel);
        pair.let_the_other_go_on();
        *pair.store.borrow_mut() = Store::default();
        pair.come_back_twice();
        assert!(pair.has_queue());
    }
}

// cases D2 and D3
#[test]
fn whatever_happens_what_was_deleted_last_is_gone_and_what_was_declared_last_is_there() {
    for seed in 0..scaled(150) as u64 {
        let mut random = fastrand::Rng::with_seed(seed);
        let mut pair = Pair::ready();
        let mut channel = channel_by_hand(&mut pair);
        // What the user knows of the queue; nothing where the fate of a deletion is unknown.
        let mut is_there = Some(true);
        for _ in 0..random.usize(1..12) {
            match random.u32(..9) {
                0 => pair.stop_the_other_at(is_declaring),
                1 => pair.other.hears = random.bool(),
                2 => pair.main.hears = random.bool(),
                3 => pair.main.is_heard = random.bool(),
                4 => pair.cut_main(),
                5 => pair.cut_other(),
                6 => {
                    pair.call(delete_queue(false));
                    meanwhile(&mut pair, &mut random);
                    is_there = pair.results().pop().and_then(Result::ok).map(|()| false);
                }
                7 => {
                    pair.call(declare_queue("q"));
                    meanwhile(&mut pair, &mut random);
                    is_there = pair.results().pop().and_then(Result::ok).map(|()| true);
                }
                _ => {
                    channel = channel_by_hand_of(&mut pair, channel);
                    let delete = delete_queue(false).into();
                    while !send_by_hand(&mut pair, channel, &delete) {
                        pair.pass(STEP);
                        channel = channel_by_hand_of(&mut pair, channel);
                    }
                    meanwhile(&mut pair, &mut random);
                    is_there = pair.is_deleted_by_hand().then_some(false);
                }
            }
            pair.pass(Duration::from_millis(random.u64(..1_000)));
        }
        pair.hear_all();
        pair.come_back_twice();
        if let Some(is_there) = is_there {
            assert_eq!(pair.has_queue(), is_there, "seed {seed}");
        }
        assert_eq!(pair.other.not_recovered(), [""; 0], "seed {seed}");
    }
}

/// Something happens before a call is answered.
fn meanwhile(pair: &mut Pair, random: &mut fastrand::Rng) {
    for _ in 0..random.usize(..3) {
        match random.u32(..3) {
            0 => pair.cut_other(),
            1 => pair.cut_main(),
            _ => pair.pass(Duration::from_millis(random.u64(..500))),
        }
    }
    pair.hear_all();
}

/// That channel, or another where it has ended.
fn channel_by_hand_of(pair: &mut Pair, channel: ChannelKey) -> ChannelKey {
    if pair.main.session.user_channel(channel).is_some() {
        return channel;
    }
    pair.main.session.remove_channel(pair.main.now, channel);
    pair.hear_all();
    channel_by_hand(pair)
}
