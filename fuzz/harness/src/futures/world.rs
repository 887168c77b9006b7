use std::cell::{Cell, RefCell};
use std::future::Future;
use std::pin::Pin;
use std::rc::{Rc, Weak};
use std::task::{Context, Waker};
use std::time::Duration;

use snowshoe::codec::method::{Arguments as _, basic, confirm, exchange, queue};
use snowshoe::codec::{ConnectionLimits, MethodId};
use snowshoe::testing::{BrokerOptions, Clock, Dials, Executor, Fault, Manner, Server, TaskId};
use snowshoe::{Channel, Client, Consumer, Delivery, Events, Producer, Reconnect, ShortString};

use super::deeds::{self, CONSUMED, Deeds, MESSAGES, Noted, POOL, STORED, What};
use crate::script::Script;
use crate::vocabulary::reply_code;

pub(super) struct World<'a> {
    script: Script<'a>,
    clock: Clock,
    executor: Executor,
    server: Server,
    client: Client,
    driver: TaskId,
    /// Nobody reads it.
    _events: Events,
    deeds: Deeds,
    hands: Vec<Hand>,
    producers: [Rc<Producer>; 2],
    things: Rc<Things>,
    /// How much of each was asked for.
    asked: [usize; 7],
    ending: Ending,
    /// Whether there are fewer channels than consumers may want.
    is_short: bool,
}

/// What futures have brought.
#[derive(Default)]
struct Things {
    channels: RefCell<Vec<Rc<Channel>>>,
    consumers: RefCell<Vec<Rc<RefCell<Consumer>>>>,
    /// All that there ever were.
    known: RefCell<Vec<Weak<RefCell<Consumer>>>>,
    deliveries: RefCell<Vec<Delivery>>,
    /// How many deliveries were settled so that they do not come again, or were not to be settled.
    gone: Cell<usize>,
}

impl Things {
    /// How many consumers there are to be.
    fn living(&self) -> usize {
        let known = self.known.borrow();
        let known = known.iter().filter_map(Weak::upgrade);
        known.filter(|it| it.borrow().end().is_none()).count()
    }
}

/// A future that is held.
struct Hand {
    future: Pin<Box<dyn Future<Output = ()>>>,
    noted: Noted,
    /// Whether it is left alone in the end, while others go on.
    is_left: bool,
}

/// What happens in the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ending {
    Peace,
    /// The client is closed in the middle of everything.
    Close,
    /// The driver is dropped.
    NoDriver,
}

/// How long anything may take once all is well.
const PATIENCE: Duration = Duration::from_secs(3600);

/// More turns than this without time passing are a loop.
const TURNS: usize = 20_000;

/// How many futures are held at a time.
const HANDS: usize = 12;

/// # What happens
impl<'a> World<'a> {
    pub(super) fn new(mut script: Script<'a>) -> Self {
        let [is_lavin, is_short, is_mandatory, _] = script.flags();
        let ending = script.choose(&[Ending::Peace, Ending::Close, Ending::NoDriver]);
        let clock = Clock::new();
        let server = Server::in_virtual_time(
            BrokerOptions {
                manner: [Manner::RabbitMq43, Manner::LavinMq][usize::from(is_lavin)],
                consumer_timeout: None,
                limits: ConnectionLimits {
                    channel_max: if is_short { 3 } else { 100 },
                    heartbeat: Duration::from_secs(10),
                    ..ConnectionLimits::default()
                },
                ..BrokerOptions::default()
            },
            clock.clone(),
        );
        let builder = server
            .client()
            .call_timeout(Duration::from_secs(20))
            .reconnect(Reconnect::default().max_delay(Duration::from_secs(2)));
        let (client, driver) = builder.build();
        let mut executor = Executor::new(clock.clone(), 0);
        let driver = executor.spawn(driver);
        let set_up = executor.run(deeds::set_up(client.clone()));
        set_up.expect("it ends").expect("nothing is in its way");
        let things = Rc::<Things>::default();
        let channel = client.clone();
        let channel = executor.run(async move { channel.channel().await });
        let channel = channel.expect("it ends").expect("nothing is in its way");
        things.channels.borrow_mut().push(Rc::new(channel));
        let producer = |capacity| {
            let producer = client.producer(STORED).expect("the name is short");
            Rc::new(producer.mandatory(is_mandatory).capacity(capacity).build())
        };
        Self {
            producers: [producer(2), producer(50)],
            _events: client.events(),
            script,
            clock,
            executor,
            server,
            client,
            driver,
            deeds: Deeds::default(),
            hands: Vec::new(),
            things,
            asked: [0; 7],
            ending,
            is_short,
        }
    }

    pub(super) fn is_over(&self) -> bool {
        self.script.is_over()
    }

    pub(super) fn step(&mut self) {
        match self.script.below(32) {
            0..9 => self.begin(),
            9..16 => self.poll(),
            16..19 => self.give_up(),
            19..22 => {
                let turns = 1 + self.script.below(6);
                for _ in 0..turns {
                    self.turn();
                }
            }
            22..24 => self.rest(),
            24..26 => self.pass(),
            26..29 => self.disturb(),
            _ => self.use_what_is_there(),
        }
    }

    /// Asks for something, and does not yet poll it.
    fn begin(&mut self) {
        if self.hands.len() >= HANDS {
            return;
        }
        let client = self.client.clone();
        let (which, is_left) = (self.script.below(16), self.script.flag());
        let by_hand = self.channel().filter(|_| is_left);
        match which {
            0 => self.ask(0, usize::MAX, is_left, What::Declare, |noted, number| {
                deeds::declare(client, noted, number)
            }),
            1 => self.ask(1, POOL, is_left, What::Delete, |noted, number| {
                deeds::delete(client, by_hand, noted, number)
            }),
            2 => self.ask(2, POOL, is_left, What::Purge, |noted, number| {
                deeds::purge(client, by_hand, noted, number)
            }),
            3 => self.ask(3, POOL, is_left, What::Unbind, |noted, number| {
                deeds::unbind(client, noted, number)
            }),
            4 => {
                if let Some(channel) = self.channel() {
                    self.ask(4, POOL, is_left, What::Get, |noted, number| {
                        deeds::get(channel, noted, number)
                    });
                }
            }
            5 => {
                if let Some(channel) = self.channel() {
                    self.ask(5, usize::MAX, is_left, What::Publish, |noted, number| {
                        deeds::publish_by_hand(channel, noted, number)
                    });
                }
            }
            6..10 => {
                let producer = Rc::clone(&self.producers[usize::from(which & 1)]);
                self.ask(5, usize::MAX, is_left, What::Publish, |noted, number| {
                    deeds::publish(producer, noted, number)
                });
            }
            10 => {
                let producer = Rc::clone(&self.producers[usize::from(is_left)]);
                self.ask(
                    6,
                    usize::MAX,
                    is_left,
                    |_| What::Flush,
                    |noted, _| async move {
                        producer.flushed().await;
                        noted.end(deeds::End::Done);
                    },
                );
            }
            11 => self.consume(is_left),
            12 => self.open(is_left),
            13 | 14 => self.next(is_left),
            _ => self.cancel_or_ready(is_left),
        }
    }

    /// Asks for something by the number of those that were asked for before, if there is another.
    fn ask<F: Future<Output = ()> + 'static>(
        &mut self,
        kind: usize,
        most: usize,
        is_left: bool,
        what: impl Fn(usize) -> What,
        future: impl FnOnce(Noted, usize) -> F,
    ) {
        let number = self.asked[kind];
        if number < most {
            self.asked[kind] += 1;
            let noted = self.deeds.begin(what(number));
            let future = future(noted.clone(), number);
            self.hold(is_left, noted, future);
        }
    }

    fn hold(&mut self, is_left: bool, noted: Noted, future: impl Future<Output = ()> + 'static) {
        self.hands.push(Hand {
            future: Box::pin(future),
            noted,
            is_left,
        });
    }

    fn consume(&mut self, is_left: bool) {
        let prefetch = self.script.choose(&[0, 1, 2, 100]);
        let [no_ack, is_dedicated, ..] = self.script.flags();
        let builder = self.client.consumer(CONSUMED).expect("the name is short");
        let mut builder = builder.prefetch(prefetch);
        if no_ack && prefetch == 0 {
            builder = builder.no_ack();
            // What is delivered to it is gone.
            self.things.gone.set(usize::MAX / 2);
        }
        if is_dedicated && prefetch == 1 {
            builder = builder.dedicated_connection();
        }
        let (noted, things) = (self.deeds.begin(What::Consume), Rc::clone(&self.things));
        let ends = noted.clone();
        self.hold(is_left, noted, async move {
            let started = builder.start().await;
            if let Ok(consumer) = started {
                let consumer = Rc::new(RefCell::new(consumer));
                things.known.borrow_mut().push(Rc::downgrade(&consumer));
                things.consumers.borrow_mut().push(consumer);
            }
            ends.end(deeds::End::Done);
        });
    }

    fn open(&mut self, is_left: bool) {
        let (noted, things) = (self.deeds.begin(What::Open), Rc::clone(&self.things));
        let (client, ends) = (self.client.clone(), noted.clone());
        self.hold(is_left, noted, async move {
            if let Ok(channel) = client.channel().await {
                things.channels.borrow_mut().push(Rc::new(channel));
            }
            ends.end(deeds::End::Done);
        });
    }

    // One future has the consumer at a time: others leave it alone.
    #[expect(clippy::await_holding_refcell_ref, reason = "nobody else waits for it")]
    fn next(&mut self, is_left: bool) {
        let Some(consumer) = self.consumer() else {
            return;
        };
        let most = 1 + usize::from(self.script.below(3));
        let (noted, things) = (self.deeds.begin(What::Next), Rc::clone(&self.things));
        let ends = noted.clone();
        self.hold(is_left, noted, async move {
            if let Ok(mut consumer) = consumer.try_borrow_mut()
                && let Some(batch) = consumer.next_batch(most).await
            {
                things.deliveries.borrow_mut().extend(batch);
            }
            ends.end(deeds::End::Done);
        });
    }

    fn cancel_or_ready(&mut self, is_left: bool) {
        let consumer = if is_left {
            self.things.consumers.borrow_mut().pop()
        } else {
            None
        };
        let client = self.client.clone();
        let what = if consumer.is_some() {
            What::Cancel
        } else {
            What::Ready
        };
        let noted = self.deeds.begin(what);
        let ends = noted.clone();
        self.hold(is_left, noted, async move {
            match consumer.map(Rc::try_unwrap) {
                Some(Ok(consumer)) => consumer.into_inner().cancel().await,
                // Somebody waits for its next delivery.
                Some(Err(_)) => {}
                None => _ = client.ready().await,
            }
            ends.end(deeds::End::Done);
        });
    }

    fn poll(&mut self) {
        if self.hands.is_empty() {
            return;
        }
        let index = usize::from(self.script.byte()) % self.hands.len();
        let hand = &mut self.hands[index];
        hand.noted.change(|deed| deed.is_polled = true);
        let mut cx = Context::from_waker(Waker::noop());
        if hand.future.as_mut().poll(&mut cx).is_ready() {
            self.hands.swap_remove(index);
        }
    }

    fn give_up(&mut self) {
        if self.hands.is_empty() {
            return;
        }
        let index = usize::from(self.script.byte()) % self.hands.len();
        let hand = self.hands.swap_remove(index);
        hand.noted.change(|deed| deed.is_given_up = true);
    }

    fn disturb(&mut self) {
        match self.script.below(20) {
            0 | 1 => self.server.reset_all(),
            2 => self
                .server
                .close_all(reply_code(&mut self.script), "no reason"),
            3 => self.server.restart(),
            4 => self.server.block(ShortString::from_static("no reason")),
            5 => self.server.unblock(),
            6 => self.server.hold_answers(),
            7 | 8 => self.server.release_answers(),
            9 => self.server.stop_reading(),
            10 | 11 => self.server.resume_reading(),
            12 => self.server.set_dials(Dials::Refused),
            13 => self.server.set_dials(Dials::Hang),
            14 => self.server.set_dials(Dials::Succeed),
            15 => {
                self.server.cancel_consumers(CONSUMED);
            }
            16 => {
                let millis = self.script.choose(&[0, 1, 30, 3000]);
                self.server.set_delay(Duration::from_millis(millis));
            }
            _ => self.refuse(),
        }
    }

    fn refuse(&mut self) {
        let method: MethodId = self.script.choose(&[
            queue::Declare::ID,
            queue::Delete::ID,
            queue::Purge::ID,
            queue::Bind::ID,
            queue::Unbind::ID,
            exchange::Declare::ID,
            confirm::Select::ID,
            basic::Qos::ID,
            basic::Consume::ID,
            basic::Cancel::ID,
            basic::Get::ID,
            basic::Publish::ID,
            basic::Ack::ID,
            basic::Nack::ID,
            basic::Reject::ID,
        ]);
        self.server.inject(Fault {
            times: 1 + usize::from(self.script.below(3)),
            ..Fault::new(method, reply_code(&mut self.script), "no reason")
        });
    }

    /// What there is is used, or dropped.
    fn use_what_is_there(&mut self) {
        let things = &self.things;
        let what = self.script.below(8);
        if what < 6 {
            let Some(delivery) = things.deliveries.borrow_mut().pop() else {
                return;
            };
            let is_gone = match what {
                0 => delivery.ack().is_ok(),
                1 => delivery.ack_all_up_to().is_ok(),
                2 => delivery.nack(true).is_err(),
                3 => delivery.reject(false).is_ok(),
                4 => delivery.nack_all_up_to(false).is_ok(),
                // It is held until its consumer ends.
                _ => false,
            };
            // One that settles all before it settles some that were taken and dropped.
            let most = if matches!(what, 1 | 4) { MESSAGES } else { 1 };
            let gone = things.gone.get() + if is_gone { most } else { 0 };
            return things.gone.set(gone);
        }
        if what == 6 {
            things.consumers.borrow_mut().pop();
        } else {
            things.channels.borrow_mut().pop();
        }
    }

    fn channel(&mut self) -> Option<Rc<Channel>> {
        let channels = self.things.channels.borrow();
        channels.last().cloned()
    }

    fn consumer(&mut self) -> Option<Rc<RefCell<Consumer>>> {
        let consumers = self.things.consumers.borrow();
        let index = usize::from(self.script.byte()) % consumers.len().max(1);
        consumers.get(index).cloned()
    }
}

/// # Time
impl World<'_> {
    /// Lets the client or a task go on, if one can.
    fn turn(&mut self) -> bool {
        self.deeds.reach();
        self.executor.step()
    }

    /// Lets everybody go on until there is nothing more to do at this time.
    fn rest(&mut self) {
        let mut turns = 0;
        while self.turn() {
            turns += 1;
            assert!(turns < TURNS, "it does not come to rest");
        }
    }

    fn pass(&mut self) {
        let millis = self.script.choose(&[1, 100, 1_000, 5_000, 30_000]);
        self.pass_time(Duration::from_millis(millis));
    }

    fn pass_time(&mut self, time: Duration) {
        let until = self.clock.now() + time;
        self.rest();
        while self.executor.pass_time(until) {
            self.rest();
        }
    }

    /// Waits until it is so.
    fn until(&mut self, otherwise: &str, is_so: impl Fn(&Self) -> bool) {
        let limit = self.clock.now() + PATIENCE;
        loop {
            self.rest();
            if is_so(self) {
                return;
            }
            if !self.executor.pass_time(limit) {
                panic!("{otherwise}: {:?}", self.deeds.open());
            }
        }
    }
}

/// # In the end
impl World<'_> {
    pub(super) fn finish(mut self) {
        match self.ending {
            Ending::Peace => self.make_peace(),
            Ending::Close => {
                let client = self.client.clone();
                self.executor.spawn(async move {
                    client.close_within(Duration::from_secs(1)).await;
                });
            }
            Ending::NoDriver => _ = self.executor.cancel(self.driver),
        }
        let hands = std::mem::take(&mut self.hands);
        let (left, others): (Vec<_>, Vec<_>) = hands.into_iter().partition(|it| it.is_left);
        let indices: Vec<usize> = left.iter().map(|it| it.noted.index()).collect();
        let others = self.go_on(others);
        self.until("it waits for one that nobody polls", |world| {
            let is_waited_for = |index| !indices.contains(&index);
            world.deeds.are_over(is_waited_for)
        });
        let left = self.go_on(left);
        self.until("it waits for ever", |world| world.deeds.are_over(|_| true));
        if self.ending == Ending::Peace {
            self.look_back(others.into_iter().chain(left));
            let client = self.client.clone();
            self.executor
                .spawn(async move { drop(client.close().await) });
        }
        self.until("something never ends", |world| world.executor.tasks() == 0);
        // Until it reads again, the broker does not know.
        self.make_peace();
        self.until("a connection never ends", |world| {
            world.server.connections().is_empty()
        });
    }

    /// Lets futures go on by themselves.
    fn go_on(&mut self, hands: Vec<Hand>) -> Vec<TaskId> {
        let hands = hands.into_iter();
        hands
            .map(|hand| {
                hand.noted.change(|deed| deed.is_polled = true);
                self.executor.spawn(hand.future)
            })
            .collect()
    }

    fn make_peace(&mut self) {
        self.server.heal();
        self.server.unblock();
        self.server.release_answers();
        self.server.resume_reading();
        self.server.set_dials(Dials::Succeed);
        self.server.set_delay(Duration::ZERO);
    }

    /// Is it true what was answered, and does it stay so?
    fn look_back(&mut self, waiting: impl Iterator<Item = TaskId>) {
        self.deeds.check(&self.server);
        let afterwards = deeds::add_afterwards(self.client.clone(), self.deeds.clone());
        let added = self.executor.run(afterwards);
        added.expect("nothing is in its way");
        for task in waiting {
            self.executor.cancel(task);
        }
        self.things.channels.borrow_mut().clear();
        self.things.deliveries.borrow_mut().clear();
        for _ in 0..2 {
            self.server.reset_all();
            self.pass_time(Duration::from_secs(60));
        }
        self.deeds.check(&self.server);
        self.deeds.check_afterwards(&self.server);
        let living = self.things.living();
        let consumed = |world: &Self| world.server.queue(CONSUMED).expect("nobody deletes it");
        self.until(
            "a consumer is missing, or was given up and is there",
            |world| {
                let there = consumed(world).consumers.len();
                // One that the broker had cancelled has lost its channel, perhaps to another.
                there == living || world.is_short && there < living
            },
        );
        self.things.consumers.borrow_mut().clear();
        self.until("a consumer was dropped and is there", |world| {
            let queue = consumed(world);
            queue.consumers.is_empty() && queue.unacked == 0
        });
        let gone = self.things.gone.get();
        let ready = consumed(self).ready.len();
        assert!(ready + gone >= MESSAGES, "{ready} messages, {gone} settled");
        // One for each producer, and one for calls on each connection.
        let channels = |world: &Self| {
            let connections = world.server.connections();
            connections
                .iter()
                .map(|it| it.channels.len())
                .sum::<usize>()
        };
        self.until("a channel was dropped and is there", |world| {
            channels(world) <= 4
        });
    }
}
