//! A story told: client, network and broker on one thread, in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::{Duration, Instant};

use snowshoe_codec::ReplyCode;
use snowshoe_codec::method::{Arguments, basic, confirm, queue};

use super::invariants::{self, Evidence};
use super::ledger::Ledger;
use super::log::{Lines, Log};
use super::message::MessageId;
use super::plan::{Fault, Plan, Queue, Refused, Settings, Step};
use super::report::Counts;
use super::server::Server;
use super::workload::{self, Scene};
use crate::testing::broker;
use crate::testing::{
    Broker, BrokerOptions, Clock, Conditions, Dials, Direction, Executor, Network, TaskId,
};
use crate::{Client, Driver, Events, Reconnect, ShortString};

/// Tells a story. What it counted, or how it broke an invariant.
pub(super) fn tell(plan: &Plan) -> Result<Counts, String> {
    World::new(plan, Clock::new(), Log::default())?.run(plan)
}

/// Tells a story with all that happens, of which so many lines are kept.
pub(super) fn tell_aloud(plan: &Plan, lines: usize) -> (Result<Counts, String>, Lines) {
    let clock = Clock::new();
    let log = Log::new(clock.clone(), lines);
    let end = World::new(plan, clock, log.clone()).and_then(|world| world.run(plan));
    (end, log.lines())
}

struct World {
    executor: Executor,
    clock: Clock,
    network: Network,
    server: Server,
    scene: Rc<Scene>,
    driver: TaskId,
    /// What the client tells of itself, where that is logged.
    events: Option<Events>,
}

/// How long anything may take once the network is whole.
const PATIENCE: Duration = Duration::from_secs(3600);

/// More turns than this without time passing are a loop.
const TURNS: u32 = 200_000;

impl World {
    fn new(plan: &Plan, clock: Clock, log: Log) -> Result<Self, String> {
        let mut executor = Executor::new(clock.clone(), plan.seed);
        let network = Network::new(clock.clone(), plan.seed);
        let broker = Broker::new(BrokerOptions {
            seed: plan.seed,
            manner: plan.settings.manner,
            consumer_timeout: Some(plan.settings.consumer_timeout),
            ..BrokerOptions::default()
        });
        let server = Server::new(clock.clone(), network.clone(), broker, log.clone());
        executor.spawn(server.clone().serve());
        let (client, driver) = connect(plan, &clock, &network)?;
        let driver = executor.spawn(driver);
        let events = log.is_kept().then(|| client.events());
        let set_up = executor.run(workload::set_up(client.clone()));
        set_up
            .ok_or("the setup never ends")?
            .map_err(|error| format!("the setup failed: {error}"))?;
        network.set_conditions(conditions(&plan.settings));
        let scene = Rc::new(Scene {
            start: clock.now(),
            clock: clock.clone(),
            spawner: executor.spawner(),
            client,
            server: server.clone(),
            log,
            ledger: RefCell::new(Ledger::default()),
            busy: Cell::new(0),
        });
        Ok(Self {
            executor,
            clock,
            network,
            server,
            scene,
            driver,
            events,
        })
    }

    fn run(mut self, plan: &Plan) -> Result<Counts, String> {
        let mut consumers = Vec::new();
        let mut faults = Vec::new();
        for step in &plan.steps {
            match step {
                Step::Producer(plan) => {
                    self.scene.busy.set(self.scene.busy.get() + 1);
                    self.executor
                        .spawn(workload::produce(Rc::clone(&self.scene), plan.clone()));
                }
                Step::Consumer(plan) => {
                    let consumer = workload::consume(Rc::clone(&self.scene), plan.clone());
                    consumers.push(self.executor.spawn(consumer));
                }
                Step::Call { at, call, patience } => {
                    let call = workload::call(Rc::clone(&self.scene), *at, *call, *patience);
                    consumers.push(self.executor.spawn(call));
                }
                Step::Fault { at, fault } => faults.extend(parts(*at, *fault)),
                Step::Close { at, within } => {
                    let (scene, at, within) = (Rc::clone(&self.scene), *at, *within);
                    self.executor.spawn(async move {
                        scene.until(at).await;
                        close(&scene, Some(within)).await;
                    });
                }
                Step::DropDriver { at } => faults.push((*at, Happening::DropDriver)),
            }
        }
        if plan.settings.loyal {
            self.collect(plan.settings.slowness, &mut consumers);
        }
        faults.sort_by_key(|(at, _)| *at);
        for (at, happening) in faults {
            self.pass(self.scene.start + at)?;
            self.happen(happening, &plan.settings);
        }
        self.pass(self.scene.start + plan.settings.length)?;
        self.make_peace();
        if !plan.settings.loyal {
            for task in consumers.drain(..) {
                self.executor.cancel(task);
            }
            self.collect(plan.settings.slowness, &mut consumers);
        } else {
            let loyal = consumers.split_off(consumers.len() - Queue::COLLECTED.len());
            for task in consumers.drain(..) {
                self.executor.cancel(task);
            }
            consumers = loyal;
        }
        self.wait_for("the producers never come to their end", |world| {
            world.scene.busy.get() == 0
        })?;
        self.note_whether_it_gave_up(&plan.settings)?;
        if !self.executor.is_finished(self.driver) && !self.scene.ledger.borrow().closed {
            for call in plan.repairs() {
                let repair = workload::repair(Rc::clone(&self.scene), call);
                self.executor.spawn(repair);
            }
            self.wait_for(
                "a queue is never emptied, or has lost its consumer",
                |world| {
                    world.executor.is_finished(world.driver)
                        || world.server.witnessed(|_, broker| {
                            Queue::COLLECTED.iter().all(|queue| {
                                broker.queue("/", queue.name()).is_some_and(|queue| {
                                    let is_empty = queue.ready.is_empty() && queue.unacked == 0;
                                    is_empty && !queue.consumers.is_empty()
                                })
                            })
                        })
                },
            )?;
        }
        self.note_whether_it_gave_up(&plan.settings)?;
        if !self.executor.is_finished(self.driver) && !self.scene.ledger.borrow().closed {
            let scene = Rc::clone(&self.scene);
            self.executor
                .spawn(async move { close(&scene, None).await });
            self.wait_for("close never returns", |world| {
                world.scene.ledger.borrow().undelivered.is_some()
            })?;
            let left = self
                .scene
                .ledger
                .borrow()
                .undelivered
                .as_ref()
                .map_or(0, Vec::len);
            if left > 0 {
                return Err(format!("close left {left} messages, though all was well"));
            }
        }
        self.wait_for("the driver never ends", |world| {
            world.executor.is_finished(world.driver)
        })?;
        for task in consumers {
            self.executor.cancel(task);
        }
        self.wait_for("the connections never end", |world| {
            world.server.connections() == 0
        })?;
        self.judge(plan)
    }

    fn note_whether_it_gave_up(&self, settings: &Settings) -> Result<(), String> {
        let mut ledger = self.scene.ledger.borrow_mut();
        let ended = self.executor.is_finished(self.driver);
        let may = settings.max_attempts.is_some() || !ledger.closed;
        ledger.gave_up = ended && may && !ledger.driver_dropped;
        if ledger.gave_up && settings.max_attempts.is_none() {
            return Err("the driver has ended by itself".to_owned());
        }
        Ok(())
    }

    fn collect(&mut self, slowness: u64, consumers: &mut Vec<TaskId>) {
        for queue in Queue::COLLECTED {
            let collector = workload::collect(Rc::clone(&self.scene), queue, slowness);
            consumers.push(self.executor.spawn(collector));
        }
    }

    /// Lets a task go on, if one can.
    fn step(&mut self) -> bool {
        let stepped = self.executor.step();
        if let Some(events) = &mut self.events {
            // Not by a task, which would make another story of it.
            while let Some(event) = events.try_next() {
                self.scene.log.note(format_args!("client: {event:?}"));
            }
        }
        stepped
    }

    /// Lets everything go on until then.
    fn pass(&mut self, until: Instant) -> Result<(), String> {
        let mut turns = 0;
        loop {
            if self.step() {
                turns += 1;
                if turns > TURNS {
                    return Err("the tasks turn without end".to_owned());
                }
            } else {
                turns = 0;
                if !self.executor.pass_time(until) {
                    return Ok(());
                }
            }
        }
    }

    fn wait_for(&mut self, or: &str, done: impl Fn(&Self) -> bool) -> Result<(), String> {
        let limit = self.clock.now() + PATIENCE;
        let mut turns = 0;
        while !done(self) {
            if self.step() {
                turns += 1;
                if turns > TURNS {
                    return Err("the tasks turn without end".to_owned());
                }
            } else {
                turns = 0;
                if self.clock.next_timer().is_none() {
                    return Err(format!("{or}: nothing will ever happen again"));
                }
                if !self.executor.pass_time(limit) {
                    return Err(or.to_owned());
                }
            }
        }
        Ok(())
    }

    fn happen(&mut self, happening: Happening, settings: &Settings) {
        self.scene.log.note(format_args!("{happening:?}"));
        let link = |index: usize| self.network.links().get(index).copied();
        match happening {
            Happening::Fault(fault) => match fault {
                Fault::Reset(index) => _ = link(index).map(|link| self.network.reset(link)),
                Fault::Close(index) => _ = link(index).map(|link| self.network.close(link)),
                Fault::BlackHole {
                    link: index,
                    direction,
                    time,
                } => {
                    if let Some(link) = link(index) {
                        let both = [Direction::Up, Direction::Down];
                        for way in both
                            .into_iter()
                            .filter(|it| direction.is_none_or(|way| way == *it))
                        {
                            self.network.black_hole(link, way, time);
                        }
                    }
                }
                Fault::Drip { piece, gap, .. } => self.network.set_conditions(Conditions {
                    drip: Some((piece, gap)),
                    ..self.network.conditions()
                }),
                Fault::RefuseDials(_) => self.set_dials(Dials::Refused),
                Fault::HangDials(_) => self.set_dials(Dials::Hang),
                Fault::Restart => self.server.restart(),
                Fault::Kick(index) => self.server.kick(index),
                Fault::Block(_) => {
                    self.server
                        .with(|broker| broker.block(ShortString::from_static("low on memory")));
                }
                Fault::Refuse { what, code, times } => {
                    self.server
                        .with(|broker| broker.inject(refuse(what, code, times)));
                }
            },
            Happening::End(Fault::Drip { .. }) => self.network.set_conditions(Conditions {
                dials: self.network.conditions().dials,
                ..conditions(settings)
            }),
            Happening::End(Fault::Block(_)) => self.server.with(Broker::unblock),
            Happening::End(_) => self.set_dials(Dials::Succeed),
            Happening::DropDriver => {
                self.scene.ledger.borrow_mut().driver_dropped = true;
                self.executor.cancel(self.driver);
            }
        }
    }

    fn set_dials(&self, dials: Dials) {
        self.network.set_conditions(Conditions {
            dials,
            ..self.network.conditions()
        });
    }

    fn make_peace(&self) {
        self.scene.log.note(format_args!("peace"));
        // What a black hole has swallowed for ever, heartbeats have to find out.
        self.network.set_conditions(Conditions::default());
        self.server.with(|broker| {
            broker.unblock();
            broker.heal();
        });
    }

    fn judge(&self, plan: &Plan) -> Result<Counts, String> {
        let ledger = self.scene.ledger.borrow();
        self.server.witnessed(|witness, broker| {
            let views = [Queue::Steady, Queue::Bound].map(|queue| broker.queue("/", queue.name()));
            let ready = views.into_iter().flatten().flat_map(|view| view.ready);
            let stored: BTreeSet<MessageId> = ready
                .filter_map(|message| MessageId::read(&message.body))
                .collect();
            invariants::check(&Evidence {
                ledger: &ledger,
                record: &witness.record,
                stored: &stored,
            })?;
            let time = self.clock.now() - self.scene.start;
            Ok(Counts::of(plan, &ledger, &witness.record, time))
        })
    }
}

/// What happens at one moment.
#[derive(Debug)]
enum Happening {
    Fault(Fault),
    /// A fault that lasts is over.
    End(Fault),
    DropDriver,
}

fn parts(at: Duration, fault: Fault) -> Vec<(Duration, Happening)> {
    let time = match fault {
        Fault::Drip { time, .. }
        | Fault::RefuseDials(time)
        | Fault::HangDials(time)
        | Fault::Block(time) => Some(time),
        _ => None,
    };
    let end = time.map(|time| (at + time, Happening::End(fault)));
    [(at, Happening::Fault(fault))]
        .into_iter()
        .chain(end)
        .collect()
}

fn refuse(what: Refused, code: ReplyCode, times: usize) -> broker::Fault {
    broker::Fault {
        method: match what {
            Refused::Declare => queue::Declare::ID,
            Refused::Select => confirm::Select::ID,
            Refused::Limit => basic::Qos::ID,
            Refused::Consume => basic::Consume::ID,
        },
        name: None,
        code,
        text: "not now".to_owned(),
        times,
    }
}

fn conditions(settings: &Settings) -> Conditions {
    let (least, most) = settings.latency;
    Conditions {
        latency: least..=most,
        capacity: settings.capacity,
        partial: settings.partial,
        ..Conditions::default()
    }
}

fn connect(plan: &Plan, clock: &Clock, network: &Network) -> Result<(Client, Driver), String> {
    let builder = Client::builder("amqp://localhost").map_err(|error| error.to_string())?;
    Ok(builder
        .seed(plan.seed)
        .clock(clock.clone())
        .connector(network.clone())
        .heartbeat(plan.settings.heartbeat)
        .reconnect(Reconnect {
            max_delay: plan.settings.max_delay,
            max_attempts: plan.settings.max_attempts,
            fail_fast: false,
            ..Reconnect::default()
        })
        .build())
}

async fn close(scene: &Scene, within: Option<Duration>) {
    scene
        .log
        .note(format_args!("user: close within {within:?}"));
    scene.ledger.borrow_mut().closed = true;
    let report = match within {
        Some(within) => scene.client.close_within(within).await,
        None => scene.client.close().await,
    };
    let undelivered = report.undelivered.iter();
    let undelivered = undelivered
        .filter_map(|message| MessageId::read(message.body()))
        .collect();
    scene
        .log
        .note(format_args!("user: closed, with {undelivered:?} left"));
    scene.ledger.borrow_mut().undelivered = Some(undelivered);
}
