//! A story told: client, network and broker on one thread, in virtual time.

use std::cell::{Cell, RefCell};
use std::collections::BTreeSet;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::time::{Duration, Instant};

use snowshoe::codec::ConnectionLimits;
use snowshoe::codec::ReplyCode;
use snowshoe::codec::method::{Arguments, basic, confirm, connection, exchange, queue};
use snowshoe::testing::{
    self, Broker, BrokerOptions, Clock, Conditions, Dials, Direction, Executor, Manner, Network,
    TaskId,
};
use snowshoe::{Client, Driver, Events, Reconnect, ShortString, internal};

use crate::hosts::Hosts;
use crate::invariants::{self, Evidence};
use crate::ledger::Ledger;
use crate::log::{Lines, Log};
use crate::message::MessageId;
use crate::mirror::Mirror;
use crate::plan::{Deed, Fault, Plan, Queue, Refused, Second, Settings, Step};
use crate::reading;
use crate::report::Counts;
use crate::retrying;
use crate::server::Server;
use crate::tidying;
use crate::workload::{self, Scene};

/// Tells a story. What it counted, or how it broke an invariant.
pub(crate) fn tell(plan: &Plan) -> Result<Counts, String> {
    World::new(plan, Clock::new(), Log::default())?.run(plan)
}

/// Tells a story with all that happens, of which so many lines are kept.
pub(crate) fn tell_aloud(plan: &Plan, lines: usize) -> (Result<Counts, String>, Lines) {
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
    clients: Vec<Party>,
    ledger: Rc<RefCell<Ledger>>,
    busy: Rc<Cell<usize>>,
    log: Log,
    start: Instant,
    steps: u64,
    /// How often the broker was restarted.
    restarts: usize,
}

/// A client that takes part.
struct Party {
    scene: Rc<Scene>,
    driver: TaskId,
    /// What it tells of itself.
    events: Events,
    /// And what follows from that for its state.
    mirror: Mirror,
}

/// How long anything may take once the network is whole.
const PATIENCE: Duration = Duration::from_secs(3600);

/// How long it may take at most until connections are back, where nothing is in their way.
const LONG_ENOUGH: Duration = Duration::from_secs(120);

/// How long a host that does not serve keeps a client waiting.
const BAD_HOST: Duration = Duration::from_secs(10);

/// After how many turns the clients are asked for their state where they have told nothing.
const LOOK_AFTER: u64 = 16;

/// As many offences as anybody reads.
const MANY: usize = 100;

/// More turns than this without time passing are a loop. Where a connection holds 64 bytes and there is no
/// latency, long messages of which every half is tried need several hundred thousand.
const TURNS: u32 = 2_000_000;

/// More turns than this are a story without an end, even if time passes.
const STEPS: u64 = 20_000_000;

impl World {
    fn new(plan: &Plan, clock: Clock, log: Log) -> Result<Self, String> {
        let mut executor = Executor::new(clock.clone(), plan.seed);
        let network = Network::new(clock.clone(), plan.seed);
        let mut broker = Broker::new(BrokerOptions {
            seed: plan.seed,
            manner: plan.settings.manner,
            consumer_timeout: Some(plan.settings.consumer_timeout),
            ..BrokerOptions::default()
        });
        // Both sides have the same time of day.
        broker.handle_timeout(clock.now());
        let server = Server::new(
            clock.clone(),
            network.clone(),
            broker,
            log.clone(),
            plan.seed,
        );
        executor.spawn(server.clone().serve());
        let mut world = Self {
            executor,
            network,
            server,
            clients: Vec::new(),
            ledger: Rc::new(RefCell::new(Ledger::new(plan.clients()))),
            busy: Rc::default(),
            log,
            start: clock.now(),
            steps: 0,
            restarts: 0,
            clock,
        };
        let clients = (0..plan.clients()).map(|index| world.set_up(plan, index));
        let clients = clients.collect::<Result<Vec<_>, String>>()?;
        world.network.set_conditions(conditions(&plan.settings));
        world.start = world.clock.now();
        world.clients = clients
            .into_iter()
            .enumerate()
            .map(|(index, (client, driver, events))| Party {
                scene: Rc::new(world.scene(index, client, &plan.settings)),
                driver,
                events,
                mirror: Mirror::default(),
            })
            .collect();
        for Party {
            scene,
            events,
            mirror,
            ..
        } in &mut world.clients
        {
            while let Some(event) = events.try_next() {
                scene.hear(&event);
                mirror.hear(&event, None);
            }
        }
        Ok(world)
    }

    /// A client, and what it declares before the story begins.
    fn set_up(&mut self, plan: &Plan, index: usize) -> Result<(Client, TaskId, Events), String> {
        let (client, driver) = connect(plan, index, &self.clock, &self.network)?;
        let driver = watch(driver, Rc::clone(&self.ledger), index);
        let driver = self.executor.spawn(driver);
        let events = client.events();
        if plan.is_tidied() {
            let client = client.clone();
            let set_up = async move { tidying::set_up(&client, index).await };
            let set_up = self.executor.run(set_up).ok_or("the setup never ends")?;
            set_up.map_err(|error| format!("the setup failed: {error}"))?;
        }
        let all = index == 0 || plan.settings.second == Some(Second::Declares);
        let (kinds, stream) = (plan.settings.kinds(), plan.has_readers());
        let set_up = workload::set_up(client.clone(), index, all, kinds, stream);
        let set_up = self.executor.run(set_up);
        set_up
            .ok_or("the setup never ends")?
            .map_err(|error| format!("the setup failed: {error}"))?;
        Ok((client, driver, events))
    }

    fn scene(&self, index: usize, client: Client, settings: &Settings) -> Scene {
        Scene {
            start: self.start,
            clock: self.clock.clone(),
            spawner: self.executor.spawner(),
            index,
            client,
            kinds: settings.kinds(),
            manner: settings.manner,
            server: self.server.clone(),
            log: self.log.clone(),
            ledger: Rc::clone(&self.ledger),
            busy: Rc::clone(&self.busy),
        }
    }

    fn run(mut self, plan: &Plan) -> Result<Counts, String> {
        let (users, mut faults) = self.begin(plan);
        let mut collectors = Vec::new();
        let most = plan.settings.user_channels;
        self.server.with(|broker| broker.limit_channels(most));
        if plan.settings.loyal {
            collectors = self.collect(&plan.settings);
        }
        faults.sort_by_key(|(at, _)| *at);
        for (at, happening) in faults {
            self.pass(self.start + at)?;
            self.happen(happening, &plan.settings);
        }
        self.pass(self.start + plan.settings.length)?;
        self.make_peace();
        for task in users {
            self.executor.cancel(task);
        }
        if !plan.settings.loyal {
            collectors = self.collect(&plan.settings);
        }
        self.wait_for("the producers never come to their end", |world| {
            world.busy.get() == 0
        })?;
        self.note_who_gave_up(&plan.settings)?;
        self.drain(plan)?;
        self.read_to_the_end()?;
        self.finish_tasks()?;
        self.note_who_gave_up(&plan.settings)?;
        if plan.is_tidied() {
            self.come_back_twice(plan)?;
        }
        self.close()?;
        self.wait_for("a driver never ends", |world| {
            let mut drivers = world.clients.iter().map(|party| party.driver);
            drivers.all(|driver| world.executor.is_finished(driver))
        })?;
        for task in collectors {
            self.executor.cancel(task);
        }
        self.wait_for("the connections never end", |world| {
            world.server.connections() == 0
        })?;
        self.judge(plan)
    }

    /// Lets the users begin. Those that do so until they are told otherwise, and what goes wrong when.
    fn begin(&mut self, plan: &Plan) -> (Vec<TaskId>, Vec<(Duration, Happening)>) {
        let (mut users, mut faults) = (Vec::new(), Vec::new());
        for step in &plan.steps {
            let (client, deed) = match step {
                Step::User { client, deed } => (*client, deed),
                Step::Fault { at, fault } => {
                    faults.extend(parts(*at, *fault));
                    continue;
                }
            };
            let scene = Rc::clone(&self.clients[client].scene);
            match deed {
                Deed::Produce(plan) => {
                    self.busy.set(self.busy.get() + 1);
                    self.executor.spawn(workload::produce(scene, plan.clone()));
                }
                Deed::Consume(plan) => {
                    let consumer = workload::consume(scene, plan.clone());
                    users.push(self.executor.spawn(consumer));
                }
                Deed::Read(plan) => {
                    self.executor.spawn(reading::read(scene, plan.clone()));
                }
                Deed::Retry(plan) => {
                    self.busy.set(self.busy.get() + 1);
                    let another = (client + 1) % self.clients.len();
                    let another = Rc::clone(&self.clients[another].scene);
                    self.executor
                        .spawn(retrying::run(scene, another, plan.clone()));
                }
                Deed::Call { at, call, patience } => {
                    let call = workload::call(scene, *at, *call, *patience);
                    users.push(self.executor.spawn(call));
                }
                Deed::Tidy { at, act, patience } => {
                    let tidy = tidying::tidy(scene, *at, *act, *patience);
                    users.push(self.executor.spawn(tidy));
                }
                Deed::Close { at, within } => {
                    let (at, within) = (*at, *within);
                    self.executor.spawn(async move {
                        scene.until(at).await;
                        close(&scene, Some(within)).await;
                    });
                }
                Deed::DropDriver { at } => faults.push((*at, Happening::DropDriver(client))),
            }
        }
        (users, faults)
    }

    /// Those clients that are still to do what they are asked for.
    fn living(&self) -> impl Iterator<Item = &Party> {
        self.clients.iter().filter(|party| {
            let closed = self.ledger.borrow().fates[party.scene.index].closed;
            !self.executor.is_finished(party.driver) && !closed
        })
    }

    fn note_who_gave_up(&self, settings: &Settings) -> Result<(), String> {
        for (party, fate) in self.clients.iter().zip(&mut self.ledger.borrow_mut().fates) {
            let ended = self.executor.is_finished(party.driver);
            let may = settings.max_attempts.is_some() || !fate.closed;
            fate.gave_up = ended && may && !fate.driver_dropped;
            if fate.gave_up && settings.max_attempts.is_none() {
                return Err("the driver has ended by itself".to_owned());
            }
        }
        Ok(())
    }

    /// Waits until every queue is empty, and every client that lives consumes from it.
    fn drain(&mut self, plan: &Plan) -> Result<(), String> {
        let living = self.living().map(|party| Rc::clone(&party.scene));
        for scene in living.collect::<Vec<_>>() {
            for call in plan.repairs() {
                self.executor
                    .spawn(workload::repair(Rc::clone(&scene), call));
            }
        }
        self.wait_for(
            "a queue is never emptied, or has lost a consumer",
            |world| {
                let living = world.living().count();
                let mut queues = world.living().flat_map(|party| {
                    let index = party.scene.index;
                    Queue::COLLECTED.map(move |queue| (queue, queue.name(index)))
                });
                queues.all(|(queue, name)| {
                    let consumers = match queue {
                        Queue::Exclusive => 1,
                        _ => living,
                    };
                    world.server.witnessed(|_, broker| {
                        broker.queue("/", name).is_some_and(|queue| {
                            let is_empty = queue.ready.is_empty() && queue.unacked == 0;
                            is_empty && queue.consumers.len() >= consumers
                        })
                    })
                })
            },
        )
    }

    /// Waits until every reader of a client that lives has come to the end of the stream.
    fn read_to_the_end(&mut self) -> Result<(), String> {
        self.wait_for("a reader never gets to the end of the stream", |world| {
            let readers = &world.ledger.borrow().readers;
            let are_through = |broker: &Broker| {
                let mut living = world.living().map(|party| party.scene.index);
                living.all(|client| reading::are_through(readers, client, broker))
            };
            world.server.witnessed(|_, broker| are_through(broker))
        })
    }

    /// Waits until there is nothing left to do, if whoever does it lives.
    fn finish_tasks(&mut self) -> Result<(), String> {
        self.wait_for("tasks are never done with", |world| {
            let ledger = world.ledger.borrow();
            let Some(tasks) = &ledger.tasks else {
                return true;
            };
            let mut living = world.living();
            let lives = living.any(|party| party.scene.index == tasks.client);
            !lives
                || world
                    .server
                    .witnessed(|_, broker| tasks.are_through(broker))
        })
    }

    /// All connections are lost and come back, twice: what was deleted stays deleted.
    fn come_back_twice(&mut self, plan: &Plan) -> Result<(), String> {
        for _ in 0..2 {
            self.log.note(format_args!("all connections are reset"));
            for link in self.network.links() {
                self.network.reset(link);
            }
            self.pass(self.clock.now() + LONG_ENOUGH)?;
            self.drain(plan)?;
            self.read_to_the_end()?;
        }
        self.note_who_gave_up(&plan.settings)?;
        for party in self.living() {
            let asked = &self.ledger.borrow().asked;
            let check = |broker: &Broker| tidying::check(asked, party.scene.index, broker);
            self.server.witnessed(|_, broker| check(broker))?;
        }
        Ok(())
    }

    /// Closes the clients that live: nothing may be left.
    fn close(&mut self) -> Result<(), String> {
        let living: Vec<Rc<Scene>> = self.living().map(|party| Rc::clone(&party.scene)).collect();
        for scene in &living {
            let scene = Rc::clone(scene);
            self.executor
                .spawn(async move { close(&scene, None).await });
        }
        for scene in living {
            let left = |world: &Self| {
                let fate = &world.ledger.borrow().fates[scene.index];
                fate.undelivered.as_ref().map(Vec::len)
            };
            self.wait_for("close never returns", |world| left(world).is_some())?;
            if let Some(left @ 1..) = left(self) {
                return Err(format!("close left {left} messages, though all was well"));
            }
        }
        Ok(())
    }

    /// Lets every client consume to the end.
    fn collect(&mut self, settings: &Settings) -> Vec<TaskId> {
        let mut collectors = Vec::new();
        for party in &self.clients {
            for queue in Queue::COLLECTED {
                let scene = Rc::clone(&party.scene);
                let dedicated = settings.is_short_of_channels();
                let collector = workload::collect(scene, queue, settings.slowness, dedicated);
                collectors.push(self.executor.spawn(collector));
            }
        }
        collectors
    }

    /// Lets a task go on, if one can.
    fn step(&mut self) -> bool {
        let stepped = self.executor.step();
        self.steps += 1;
        let (now, is_time) = (self.clock.now(), self.steps.is_multiple_of(LOOK_AFTER));
        for Party {
            scene,
            events,
            mirror,
            ..
        } in &mut self.clients
        {
            let mut has_told = false;
            // Not by a task, which would make another story of it.
            while let Some(event) = events.try_next() {
                scene.hear(&event);
                mirror.hear(&event, Some(now));
                has_told = true;
            }
            if (has_told || is_time)
                && let Err(offence) = mirror.check(&scene.client, now)
            {
                let offences = &mut self.ledger.borrow_mut().offences;
                if offences.len() < MANY {
                    offences.push(offence);
                }
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
                if turns > TURNS || self.steps > STEPS {
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
                if turns > TURNS || self.steps > STEPS {
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
        self.log.note(format_args!("{happening:?}"));
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
                Fault::Restart => {
                    if settings.changes_limits {
                        self.restarts += 1;
                        let limits = limits_of_life(self.restarts);
                        self.server.with(|broker| broker.set_limits(limits));
                    }
                    self.server.restart();
                }
                Fault::Kick(index) => self.server.kick(index),
                Fault::Block(_) => {
                    self.server
                        .with(|broker| broker.block(ShortString::from_static("low on memory")));
                }
                Fault::Refuse { what, code, times } => {
                    self.server
                        .with(|broker| broker.inject(refuse(what, code, times)));
                }
                Fault::Late { most, .. } => self.server.set_lateness(most),
            },
            Happening::End(Fault::Drip { .. }) => self.network.set_conditions(Conditions {
                dials: self.network.conditions().dials,
                ..conditions(settings)
            }),
            Happening::End(Fault::Block(_)) => self.server.with(Broker::unblock),
            Happening::End(Fault::Late { .. }) => self.server.set_lateness(Duration::ZERO),
            Happening::End(_) => self.set_dials(Dials::Succeed),
            Happening::DropDriver(client) => {
                self.ledger.borrow_mut().fates[client].driver_dropped = true;
                self.executor.cancel(self.clients[client].driver);
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
        self.log.note(format_args!("peace"));
        // What a black hole has swallowed for ever, heartbeats have to find out.
        self.network.set_conditions(Conditions::default());
        self.server.set_lateness(Duration::ZERO);
        self.server.with(|broker| {
            broker.unblock();
            broker.heal();
            broker.limit_channels(None);
        });
    }

    fn judge(&self, plan: &Plan) -> Result<Counts, String> {
        let ledger = self.ledger.borrow();
        self.server.witnessed(|witness, broker| {
            let views = [Queue::Steady, Queue::Bound].map(|queue| broker.queue("/", queue.name(0)));
            let ready = views.into_iter().flatten().flat_map(|view| view.ready);
            let stored: BTreeSet<MessageId> = ready
                .filter_map(|message| MessageId::read(&message.body))
                .collect();
            invariants::check(&Evidence {
                ledger: &ledger,
                record: &witness.record,
                stored: &stored,
                held: &retrying::held(broker),
                is_lax: plan.settings.manner == Manner::LavinMq,
                delivery_limit: plan.settings.delivery_limit(),
            })?;
            let time = self.clock.now() - self.start;
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
    /// That of this client.
    DropDriver(usize),
}

fn parts(at: Duration, fault: Fault) -> Vec<(Duration, Happening)> {
    let time = match fault {
        Fault::Drip { time, .. }
        | Fault::Late { time, .. }
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

/// What a broker offers in each of its lives.
fn limits_of_life(number: usize) -> ConnectionLimits {
    let limits = BrokerOptions::default().limits;
    match number % 4 {
        0 => limits,
        1 => ConnectionLimits {
            frame_max: limits.frame_max / 2,
            ..limits
        },
        2 => ConnectionLimits {
            heartbeat: 2 * limits.heartbeat,
            ..limits
        },
        _ => ConnectionLimits {
            frame_max: 2 * limits.frame_max,
            ..limits
        },
    }
}

fn refuse(what: Refused, code: ReplyCode, times: usize) -> testing::Fault {
    testing::Fault {
        method: match what {
            Refused::Open => connection::Open::ID,
            Refused::Exchange => exchange::Declare::ID,
            Refused::Bind => queue::Bind::ID,
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

fn connect(
    plan: &Plan,
    index: usize,
    clock: &Clock,
    network: &Network,
) -> Result<(Client, Driver), String> {
    let hosts = Hosts {
        network: network.clone(),
        hosts: plan.settings.hosts.clone(),
        are_told: plan.settings.knows_hosts,
    };
    let (names, channel_max) = (hosts.names(), plan.settings.channel_max);
    let uri = format!("amqp://{names}?channel_max={channel_max}");
    let builder = Client::builder(&uri).map_err(|error| error.to_string())?;
    Ok(builder
        .seed(if index == 0 { plan.seed } else { !plan.seed })
        .runtime(clock.clone())
        .connector(hosts)
        // So that there is time for all of them.
        .connection_timeout(BAD_HOST)
        .handshake_timeout(BAD_HOST)
        .heartbeat(plan.settings.heartbeat)
        .connect_for_publishing(plan.settings.publishing_at_once)
        .single_connection(plan.settings.single_connection)
        .reconnect(
            Reconnect::default()
                .max_delay(plan.settings.max_delay)
                .max_attempts(plan.settings.max_attempts)
                .fail_fast(false),
        )
        .build())
}

/// Runs a client, and looks at how much it holds.
async fn watch(mut driver: Driver, ledger: Rc<RefCell<Ledger>>, index: usize) {
    std::future::poll_fn(|cx| {
        let poll = Pin::new(&mut driver).poll(cx);
        let most = &mut ledger.borrow_mut().fates[index].unwritten;
        *most = internal::unwritten(&mut driver).max(*most);
        poll
    })
    .await;
}

async fn close(scene: &Scene, within: Option<Duration>) {
    scene
        .log
        .note(format_args!("user: close within {within:?}"));
    scene.ledger.borrow_mut().fates[scene.index].closed = true;
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
    scene.ledger.borrow_mut().fates[scene.index].undelivered = Some(undelivered);
}
