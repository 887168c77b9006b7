//! Confirmed producers and acknowledging consumers, and a network and a node that break under them
//! again and again.
//!
//! Each fault meets traffic, some more comes while it is in force, and some once it is over. The
//! run goes on when every lane has carried a message that was published after that.

use std::collections::BTreeMap;
use std::sync::atomic::AtomicU16;
use std::sync::{Arc, Mutex, mpsc};
use std::thread;
use std::time::{Duration, Instant};

use async_io::block_on;
use fastrand::Rng;
use snowshoe::{Client, Reconnect};

use crate::chronicle::Chronicle;
use crate::faults::Fault;
use crate::lane::{self, Lane};
use crate::ledger::{self, Ledger, Page};
use crate::report::{Memory, Report, grouped};
use crate::scene::Scene;
use crate::witness;
use crate::work::{Cuts, Waits, Work};

/// How much there is to be done. The seed decides which faults come, and when.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) faults: u64,
    pub(crate) publishes: u64,
    pub(crate) seed: u64,
    /// The only kind of fault, by its name in the table; all kinds if there is none.
    pub(crate) only: Option<String>,
    /// Whether there are three nodes and quorum queues, instead of one node and classic queues.
    pub(crate) cluster: bool,
}

impl Plan {
    /// Does it all, or ends early where nothing moves any more.
    pub(crate) fn run(self) -> Report {
        let mut soak = Soak::start(self);
        let stalled = soak.break_all().and_then(|()| soak.drain()).err();
        soak.finish(stalled)
    }
}

struct Soak {
    plan: Plan,
    rng: Rng,
    began: Instant,
    scene: Scene,
    clients: Vec<Client>,
    chronicles: Vec<Chronicle>,
    lanes: Vec<Lane>,
    works: Vec<Work>,
    /// How many messages each lane is still to publish.
    left: u64,
    now: Arc<Mutex<String>>,
    /// Dropped to end the display of the progress.
    _display: mpsc::Sender<()>,
    faults: BTreeMap<&'static str, u64>,
    recoveries: Vec<Duration>,
    memory: Vec<(u64, Memory)>,
}

/// What the client said last, where nothing moves.
type Stalled = String;

impl Soak {
    fn start(plan: Plan) -> Self {
        if let Some(only) = &plan.only {
            let known = Fault::NAMES.contains(&only.as_str());
            assert!(known, "faults are {:?}, not {only:?}", Fault::NAMES);
        }
        let mut rng = Rng::with_seed(plan.seed);
        let kills = Arc::new(AtomicU16::new(0));
        let cuts = Cuts::default();
        let scene = Scene::set(plan.cluster, Arc::clone(&kills));
        let each = plan.publishes.div_ceil(LANES as u64);
        let records = usize::try_from(each).expect("so many messages fit into the memory");
        let ledgers: Arc<[Ledger]> = (0..LANES).map(|_| Ledger::new(records)).collect();
        for proxy in scene.proxies() {
            let (ledgers, kills) = (Arc::clone(&ledgers), Arc::clone(&kills));
            witness::watch(proxy, ledgers, kills, Arc::clone(&cuts));
        }

        // The last one is that of the workers.
        let clients: Vec<Client> = (0..=CLIENTS)
            .map(|_| connect(&scene.url(), rng.u64(..)))
            .collect();
        let chronicles = clients.iter().map(Client::events).map(Chronicle::keep);
        let chronicles = chronicles.collect();
        let lanes = (0..LANES).map(|lane| {
            // What one client publishes, the other consumes.
            let roles = [lane, lane + 1].map(|role| &clients[role % CLIENTS]);
            Lane::start(
                lane,
                scene.queue(lane),
                roles,
                Arc::clone(&ledgers),
                Arc::clone(&kills),
                rng.fork(),
            )
        });
        let lanes: Vec<Lane> = lanes.collect();
        (0..LANES).for_each(|lane| scene.wait_until_replicated(&lane::queue(lane)));
        let works = (LANES as u32..).zip([Waits::AsCopies, Waits::InQueue]);
        let works = works.map(|(lane, waits)| {
            let kind = scene.worker(waits);
            Work::start(lane, &kind, &clients[CLIENTS], Arc::clone(&cuts), records)
        });
        let works = works.collect();
        let now = Arc::new(Mutex::new("starting".to_owned()));
        Self {
            plan,
            began: Instant::now(),
            scene,
            clients,
            chronicles,
            lanes,
            works,
            left: each,
            _display: display(Arc::clone(&now), ledgers),
            now,
            faults: BTreeMap::new(),
            recoveries: Vec::new(),
            memory: vec![(0, Memory::now())],
            rng,
        }
    }

    fn break_all(&mut self) -> Result<(), Stalled> {
        let share = (self.left / (self.plan.faults + 1) / 4).max(1);
        for number in 1..=self.plan.faults {
            let fault = self.choose();
            *self.faults.entry(fault.name()).or_default() += 1;
            log::info!("fault {number}: {fault:?}");
            let progress = format!("fault {number}/{}: {}", self.plan.faults, fault.name());
            self.say(progress);

            self.publish(2 * share);
            self.drain_a_worker();
            thread::sleep(Duration::from_micros(self.rng.u64(..50_000)));
            fault.begin(&mut self.scene);
            self.publish(share);
            self.drain_a_worker();
            fault.last();
            fault.end(&mut self.scene);
            self.recover(share)?;
            self.look_at_memory(number);
        }
        Ok(())
    }

    /// Drains a worker, half of the times, and seldom with little time.
    fn drain_a_worker(&mut self) {
        let within = [None, None, None, Some(Duration::from_millis(1))];
        let within = within[self.rng.usize(..within.len())];
        let which = self.rng.usize(..2 * self.works.len());
        if let Some(work) = self.works.get(which) {
            work.drain(within);
        }
    }

    fn choose(&mut self) -> Fault {
        loop {
            let fault = Fault::choose(&mut self.rng, self.plan.cluster);
            let only = self.plan.only.as_deref();
            if only.is_none_or(|only| only == fault.kind()) {
                return fault;
            }
        }
    }

    /// Publishes some more, and waits until each lane has carried some of that.
    fn recover(&mut self, share: u64) -> Result<(), Stalled> {
        let whole = Instant::now();
        let marks = self.marks();
        if self.publish(share) == 0 {
            return Ok(());
        }
        self.wait_for_new_messages(&marks)?;
        let took = whole.elapsed();
        log::info!("recovered after {took:?}");
        self.recoveries.push(took);
        Ok(())
    }

    /// The number of the next message of each lane.
    fn marks(&self) -> Vec<u64> {
        let next = |lane: &Lane| lane.ledger().page().attempted;
        self.lanes.iter().map(next).collect()
    }

    /// Waits until each lane has carried a message that is not older than its mark. Some of them
    /// have been published.
    fn wait_for_new_messages(&mut self, marks: &[u64]) -> Result<(), Stalled> {
        let confirmed = |page: &Page, mark| page.confirmed_before > mark;
        let mut latest = marks.to_vec();
        loop {
            self.wait("the end of a new message on every lane", |lanes| {
                let answered = |page: &Page, mark| page.is_resolved() && page.resolved > mark;
                let latest = lanes.iter().zip(&latest);
                latest.zip(marks).all(|((lane, &latest), &mark)| {
                    let page = lane.ledger().page();
                    confirmed(&page, mark) || answered(&page, latest)
                })
            })?;
            if all(&self.lanes, marks, confirmed) {
                break;
            }
            // All were nacked, as they are by a quorum queue that is electing a leader. RabbitMQ
            // 3.10 goes on to do so, on a channel whose first publish met a leader that was dead,
            // until that one's node is back.
            thread::sleep(PAUSE);
            latest = self.marks();
            if self.publish(1) == 0 {
                return Ok(());
            }
        }
        self.wait("a new message at every consumer", |lanes| {
            all(lanes, marks, |page, mark| page.consumed_before > mark)
        })
    }

    /// Looks at the memory each time that a quarter of the faults is over.
    fn look_at_memory(&mut self, number: u64) {
        let quarters = |faults: u64| 4 * faults / self.plan.faults;
        if quarters(number) != quarters(number - 1) {
            self.memory.push((25 * quarters(number), Memory::now()));
        }
    }

    /// Publishes the rest, and waits until all is confirmed and consumed.
    fn drain(&mut self) -> Result<(), Stalled> {
        self.say("draining".to_owned());
        self.publish(self.left);
        self.wait("all messages", |lanes| {
            lanes.iter().all(|lane| lane.ledger().page().is_complete())
        })?;
        self.wait("all work", |_| self.works.iter().all(Work::is_complete))
    }

    fn finish(self, stalled: Option<Stalled>) -> Report {
        let mut report = Report {
            took: self.began.elapsed(),
            faults: self.faults,
            attempted: 0,
            counts: ledger::Counts::default(),
            faulty: Vec::new(),
            works: Vec::new(),
            recovered: self.chronicles.iter().map(Chronicle::recovered).sum(),
            recoveries: self.recoveries,
            memory: self.memory,
            peak: Memory::peak(),
            ledgers: self.lanes.iter().map(|lane| lane.ledger().size()).sum(),
            stalled,
        };
        for lane in &self.lanes {
            report.add(lane.ledger());
        }
        for work in &self.works {
            report.add_work(work.counted(), work.wrong());
        }
        // A client that has stalled may not close either.
        if report.stalled.is_none() {
            self.lanes.into_iter().for_each(Lane::finish);
            self.works.into_iter().for_each(Work::finish);
            for client in &self.clients {
                block_on(client.close());
            }
        }
        report
    }

    /// Has each lane publish so many more messages, if so many are left; how many they are.
    fn publish(&mut self, messages: u64) -> u64 {
        let messages = messages.min(self.left);
        self.left -= messages;
        self.lanes.iter().for_each(|lane| lane.publish(messages));
        let work = messages.div_ceil(WORK);
        self.works.iter().for_each(|it| it.publish(work));
        messages
    }

    /// Waits for a condition, as long as anything moves.
    fn wait(&self, what: &str, condition: impl Fn(&[Lane]) -> bool) -> Result<(), Stalled> {
        let (mut moved, mut since) = (self.moved(), Instant::now());
        while !condition(&self.lanes) {
            thread::sleep(POLL);
            let now = self.moved();
            if now != moved {
                (moved, since) = (now, Instant::now());
            } else if since.elapsed() > PATIENCE {
                return Err(self.obituary(what));
            }
        }
        Ok(())
    }

    /// What grows with all that happens.
    fn moved(&self) -> u64 {
        let moved = |lane: &Lane| {
            let page = lane.ledger().page();
            let counts = &page.counts;
            let deliveries = counts.consumed + counts.redelivered + counts.resent;
            page.attempted + page.resolved + deliveries + counts.forgotten
        };
        let worked = |work: &Work| {
            let counted = work.counted();
            counted.accepted + counted.resolved + counted.runs + counted.dead + counted.drains
        };
        let lanes: u64 = self.lanes.iter().map(moved).sum();
        lanes + self.works.iter().map(worked).sum::<u64>()
    }

    fn obituary(&self, what: &str) -> Stalled {
        let mut text = format!(
            "nothing moved for {} s while waiting for {what}\n",
            PATIENCE.as_secs()
        );
        for (number, lane) in self.lanes.iter().enumerate() {
            let page = lane.ledger().page();
            text += &format!(
                "lane {number}: {} attempted, {} resolved, consumed before {}, {:?}\n",
                page.attempted, page.resolved, page.consumed_before, page.counts
            );
        }
        for (number, work) in self.works.iter().enumerate() {
            text += &format!("work {number}: {:?}\n", work.counted());
        }
        for (number, chronicle) in self.chronicles.iter().enumerate() {
            text += &format!("client {number} said last:\n{}", chronicle.latest());
        }
        text
    }

    fn say(&self, now: String) {
        *self.now.lock().expect("nothing panics under this lock") = now;
    }
}

/// Whether something is true of every lane's page and mark.
fn all(lanes: &[Lane], marks: &[u64], is_true: impl Fn(&Page, u64) -> bool) -> bool {
    let mut each = lanes.iter().zip(marks);
    each.all(|(lane, &mark)| is_true(&lane.ledger().page(), mark))
}

fn connect(url: &str, seed: u64) -> Client {
    let reconnect = Reconnect::default().max_delay(Duration::from_millis(500));
    let client = Client::builder(url)
        .expect("the URI is right")
        .reconnect(reconnect)
        .heartbeat(Duration::from_secs(1))
        .seed(seed);
    block_on(client.connect()).expect("the broker is there")
}

/// Shows how it goes, a line a second, until the sender is dropped.
fn display(now: Arc<Mutex<String>>, ledgers: Arc<[Ledger]>) -> mpsc::Sender<()> {
    let (end, ended) = mpsc::channel();
    let began = Instant::now();
    thread::spawn(move || {
        while ended.recv_timeout(Duration::from_secs(1)) == Err(mpsc::RecvTimeoutError::Timeout) {
            let [mut attempted, mut confirmed, mut consumed] = [0; 3];
            for ledger in &*ledgers {
                let page = ledger.page();
                attempted += page.attempted;
                confirmed += page.counts.confirmed;
                consumed += page.counts.consumed;
            }
            eprintln!(
                "{:>5} s  {:<30} attempted {:>10}  confirmed {:>10}  consumed {:>10}",
                began.elapsed().as_secs(),
                now.lock().expect("nothing panics under this lock"),
                grouped(attempted),
                grouped(confirmed),
                grouped(consumed),
            );
        }
    });
    end
}

pub(crate) const LANES: usize = 6;
const CLIENTS: usize = 2;

/// How many messages of a lane there are for one of a worker's, whose handlers take their time.
const WORK: u64 = 8;

/// How often a condition is looked at.
const POLL: Duration = Duration::from_millis(2);

/// How long a queue is left in peace that has refused a message.
const PAUSE: Duration = Duration::from_millis(20);

/// How long nothing may move.
const PATIENCE: Duration = Duration::from_secs(60);
