//! The story of a seed: what is left to chance, and how likely each thing is.

use std::time::Duration;

use fastrand::Rng;
use snowshoe::BufferPolicy;
use snowshoe::codec::ReplyCode;
use snowshoe::testing::{Direction, Manner};

use super::{
    Act, Begin, Burst, Call, ConsumerPlan, ConsumerPlanEnd, Deed, Delays, Deleted, Deletion,
    Ending, Exchange, Fault, Habit, Host, Length, Manners, Plan, Poison, Policy, ProducerPlan,
    Queue, ReaderPlan, Refused, RetryPlan, RunPlan, Second, Settings, Step, Stop, Style, Target,
    TaskPlan, Thing,
};

impl Plan {
    /// The story of a seed.
    pub(crate) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let mut plan = Self {
            settings: Settings::new(&mut random),
            seed,
            steps: Vec::new(),
        };
        plan.add_client(0, &mut random);
        // Drawn apart, so that the seeds of stories without are those that they were before there
        // was more to draw.
        let mut random = Rng::with_seed(!seed);
        if random.u32(..4) == 0 {
            plan.add_lateness(&mut random);
        }
        if random.u32(..3) == 0 {
            let second = pick(&mut random, &[Second::Declares, Second::Uses]);
            plan.settings.second = Some(second);
            plan.add_client(1, &mut random);
        }
        if random.u32(..20) == 0 {
            plan.lengthen();
        }
        // And so is what came after that.
        let mut random = Rng::with_seed(seed.rotate_left(32));
        if random.u32(..4) == 0 {
            plan.limit_channels(&mut random);
        }
        if random.u32(..4) == 0 {
            plan.poison(&mut random);
        }
        // The same again.
        let mut random = Rng::with_seed(seed.rotate_left(32) ^ 1);
        if random.u32(..3) == 0 {
            plan.add_tidying(&mut random);
        }
        let mut random = Rng::with_seed(seed.rotate_left(32) ^ 2);
        if random.u32(..4) == 0 {
            plan.add_hosts(&mut random);
        }
        let mut random = Rng::with_seed(seed.rotate_left(32) ^ 3);
        plan.choose_release(&mut random);
        if random.bool() {
            plan.crowd_quorum(&mut random);
        }
        let mut random = Rng::with_seed(seed.rotate_left(32) ^ 4);
        if random.u32(..4) == 0 {
            plan.add_stream(&mut random);
        }
        let mut random = Rng::with_seed(seed.rotate_left(32) ^ 5);
        plan.settings.publishing_at_once = random.u32(..4) == 0;
        let mut random = Rng::with_seed(seed.rotate_left(32) ^ 6);
        plan.settings.knows_hosts = random.u32(..4) > 0;
        plan.settings.changes_limits = random.u32(..4) == 0;
        plan.settings.exclusive = random.u32(..3) > 0;
        let is_single = random.u32(..5) == 0;
        // Otherwise there is none for some consumers, and they are told so.
        let are_enough =
            !plan.settings.is_short_of_channels() && plan.settings.user_channels.is_none();
        plan.settings.single_connection = is_single && are_enough;
        let mut random = Rng::with_seed(seed.rotate_left(32) ^ 7);
        if random.u32(..4) == 0 {
            plan.add_retries(&mut random);
        }
        let mut random = Rng::with_seed(seed.rotate_left(32) ^ 8);
        if random.u32(..3) == 0 {
            plan.give_up_messages(&mut random);
        }
        plan
    }

    /// Where it is RabbitMQ, it is one of its releases, often the newest.
    fn choose_release(&mut self, random: &mut Rng) {
        let releases = [
            Manner::RabbitMq310,
            Manner::RabbitMq40,
            Manner::RabbitMq43,
            Manner::RabbitMq43,
        ];
        let release = pick(random, &releases);
        if self.settings.manner != Manner::LavinMq {
            self.settings.manner = release;
        }
    }

    /// The bound queue is a quorum queue, and has more to do.
    fn crowd_quorum(&mut self, random: &mut Rng) {
        self.settings.quorum = true;
        if random.bool() {
            self.settings.consumer_timeout = millis(random, 500..10_000);
        }
        for step in &mut self.steps {
            match step {
                Step::User {
                    deed: Deed::Consume(consumer),
                    ..
                } if consumer.queue == Queue::Steady && random.bool() => {
                    consumer.queue = Queue::Bound;
                }
                Step::User {
                    deed: Deed::Produce(producer),
                    ..
                } if producer.target == Target::Queue(Queue::Steady) && random.bool() => {
                    producer.target = Target::Exchange(Exchange::Steady);
                }
                _ => {}
            }
        }
    }

    /// There are several hosts, of which one serves at least.
    fn add_hosts(&mut self, random: &mut Rng) {
        let what = [
            Host::Serves,
            Host::Refuses,
            Host::Swallows,
            Host::Cuts,
            Host::IsSilent,
        ];
        let hosts = &mut self.settings.hosts;
        for _ in 0..random.usize(1..=3) {
            hosts.insert(random.usize(..=hosts.len()), pick(random, &what));
        }
    }

    /// There are few channels, and more producers.
    fn limit_channels(&mut self, random: &mut Rng) {
        if random.bool() {
            self.settings.channel_max = pick(random, &[2, 3, 5]);
        } else {
            self.settings.user_channels = Some(random.usize(2..=12));
        }
        for _ in 0..random.usize(0..=8) {
            let client = random.usize(..self.clients());
            let mut producer = ProducerPlan::new(random, self.settings.length);
            producer.stays = random.bool();
            self.add(client, Deed::Produce(producer));
        }
    }

    /// Some producers have messages that the broker closes something over.
    fn poison(&mut self, random: &mut Rng) {
        for step in &mut self.steps {
            if let Step::User {
                deed: Deed::Produce(producer),
                ..
            } = step
                && random.bool()
            {
                producer.poison = Some(pick(random, &[Poison::Channel, Poison::Connection]));
            }
        }
    }

    /// Some messages may not wait for ever, are taken back, or are told when they are not delivered.
    fn give_up_messages(&mut self, random: &mut Rng) {
        for step in &mut self.steps {
            if let Step::User {
                deed: Deed::Produce(producer),
                ..
            } = step
            {
                let most = pick(random, &[50, 1_000, 10_000]);
                producer.max_age = random.bool().then(|| millis(random, 0..most));
                let most = pick(random, &[1, 100, 3_000]);
                producer.withdraws = random.bool().then(|| millis(random, 0..most));
                producer.hears = random.u32(..4) > 0;
            }
        }
    }

    /// A client, those who use it, and what goes wrong meanwhile.
    fn add_client(&mut self, client: usize, random: &mut Rng) {
        let length = self.settings.length;
        for _ in 0..random.usize(1..=3) {
            self.add(client, Deed::Produce(ProducerPlan::new(random, length)));
        }
        for _ in 0..random.usize(0..=3) {
            self.add(client, Deed::Consume(ConsumerPlan::new(random, length)));
        }
        for _ in 0..random.usize(0..=3) {
            self.add(client, Deed::call(random, length));
        }
        for _ in 0..random.usize(0..=5) {
            let at = within(random, length);
            let fault = Fault::new(random, 3 * self.clients());
            self.steps.push(Step::Fault { at, fault });
        }
        if let Some(end) = Deed::end(random, length) {
            self.add(client, end);
        }
    }

    /// The broker's answers are late from when somebody publishes, and some of them are lost: returns
    /// among them, or the confirms that follow them.
    fn add_lateness(&mut self, random: &mut Rng) {
        let latest = pick(random, &[50, 2_000, 20_000]);
        let most = millis(random, 1..latest);
        let time = millis(random, 0..60_000);
        let Some(producer) = self.first_producer() else {
            return;
        };
        if random.bool() {
            producer.confirms = true;
            producer.mandatory = true;
            producer.strays = true;
        }
        let at = producer.bursts[0].at;
        let fault = Fault::Late { most, time };
        self.steps.push(Step::Fault { at, fault });
        for _ in 0..random.usize(0..=3) {
            let at = at + within(random, 2 * most);
            let fault = Fault::Reset(random.usize(..3));
            self.steps.push(Step::Fault { at, fault });
        }
    }

    /// There is a stream, with those who fill it and those who read it, and connections are lost meanwhile.
    fn add_stream(&mut self, random: &mut Rng) {
        let length = self.settings.length;
        for _ in 0..random.usize(1..=2) {
            let mut producer = ProducerPlan::new(random, length);
            producer.target = Target::Queue(Queue::Stream);
            let client = random.usize(..self.clients());
            self.add(client, Deed::Produce(producer));
        }
        for _ in 0..random.usize(1..=3) {
            let mut reader = ReaderPlan::new(random, length);
            // It is to have a channel, whoever has the others.
            reader.dedicated |= self.settings.is_short_of_channels();
            let client = random.usize(..self.clients());
            self.add(client, Deed::Read(reader));
        }
        for _ in 0..random.usize(0..=4) {
            let (at, link) = (within(random, length), random.usize(..3 * self.clients()));
            let fault = match random.u32(..3) {
                0 => Fault::Restart,
                _ => Fault::Reset(link),
            };
            self.steps.push(Step::Fault { at, fault });
        }
    }

    /// Somebody works on tasks that fail, and connections are lost meanwhile.
    fn add_retries(&mut self, random: &mut Rng) {
        let length = self.settings.length;
        let mut retry = RetryPlan::new(random, length);
        retry.dedicated |= self.settings.is_short_of_channels();
        let client = random.usize(..self.clients());
        let begin = retry.from;
        self.add(client, Deed::Retry(retry));
        for _ in 0..random.usize(0..=4) {
            // While there is something to do.
            let at = begin + within(random, length.saturating_sub(begin) / 2);
            let link = random.usize(..3 * self.clients());
            let fault = match random.u32(..6) {
                0 => Fault::Restart,
                1 => Fault::Kick(link),
                2 => Fault::new(random, 3 * self.clients()),
                _ => Fault::Reset(link),
            };
            self.steps.push(Step::Fault { at, fault });
        }
        if random.u32(..6) == 0 {
            // In the middle of it.
            let at = begin + millis(random, 0..3_000).min(length.saturating_sub(begin));
            let end = match random.u32(..3) {
                0 => Deed::DropDriver { at },
                _ => Deed::Close {
                    at,
                    within: millis(random, 0..3_000),
                },
            };
            self.add(client, end);
        }
    }

    /// Clients declare and delete what nobody else has, and lose their connections meanwhile.
    fn add_tidying(&mut self, random: &mut Rng) {
        let length = self.settings.length;
        if random.bool() {
            // What is being declared takes its time.
            self.settings.latency.1 = millis(random, 50..500);
        }
        for client in 0..self.clients() {
            for _ in 0..random.usize(1..=6) {
                let tidy = Deed::tidy(random, length);
                self.add(client, tidy);
            }
            if random.u32(..3) == 0 {
                let mut consumer = ConsumerPlan::new(random, length);
                consumer.queue = Queue::Fleeting;
                consumer.dedicated = random.bool();
                self.add(client, Deed::Consume(consumer));
            }
        }
        for _ in 0..random.usize(0..=4) {
            // Often one of them is asked for while there is no connection, or one is coming back.
            let at = match self.steps.get(random.usize(..self.steps.len())) {
                Some(Step::User {
                    deed: Deed::Tidy { at, .. },
                    ..
                }) => at.saturating_sub(millis(random, 0..3_000)),
                _ => within(random, length),
            };
            let links = 3 * self.clients();
            let fault = match random.u32(..3) {
                0 => Fault::Kick(random.usize(..links)),
                _ => Fault::Reset(random.usize(..links)),
            };
            self.steps.push(Step::Fault { at, fault });
        }
        if random.bool() {
            let (at, time) = (within(random, length), length);
            let most = millis(random, 1..500);
            let fault = Fault::Late { most, time };
            self.steps.push(Step::Fault { at, fault });
        }
    }

    /// The first producer's messages become long, and many of them may wait.
    fn lengthen(&mut self) {
        if let Some(producer) = self.first_producer() {
            producer.length = Length::Long;
            producer.capacity = 1_000;
        }
    }

    fn first_producer(&mut self) -> Option<&mut ProducerPlan> {
        self.steps.iter_mut().find_map(|step| match step {
            Step::User {
                deed: Deed::Produce(producer),
                ..
            } => Some(producer),
            _ => None,
        })
    }

    fn add(&mut self, client: usize, deed: Deed) {
        self.steps.push(Step::User { client, deed });
    }
}

impl Deed {
    fn call(random: &mut Rng, length: Duration) -> Self {
        Self::Call {
            at: within(random, length),
            call: Call::new(random),
            patience: random.bool().then(|| millis(random, 0..200)),
        }
    }

    fn tidy(random: &mut Rng, length: Duration) -> Self {
        let thing = pick(random, &Thing::ALL);
        Self::Tidy {
            at: within(random, length),
            act: match random.u32(..3) {
                0 => Act::Declare(thing),
                _ => Act::Delete {
                    thing,
                    by_hand: random.bool(),
                    if_unused: random.u32(..3) == 0,
                },
            },
            patience: (random.u32(..4) == 0).then(|| millis(random, 0..2_000)),
        }
    }

    /// Most clients live as long as the story.
    fn end(random: &mut Rng, length: Duration) -> Option<Self> {
        match random.u32(..12) {
            0 => Some(Self::Close {
                at: within(random, length),
                within: millis(random, 0..12_000),
            }),
            1 => Some(Self::DropDriver {
                at: within(random, length),
            }),
            _ => None,
        }
    }
}

impl Settings {
    fn new(random: &mut Rng) -> Self {
        let slowest = pick(random, &[1, 5, 50, 500]);
        let longest = pick(random, &[2_000, 10_000, 60_000]);
        Self {
            length: millis(random, 200..longest),
            latency: (
                Duration::from_micros(random.u64(0..=200)),
                millis(random, 0..slowest + 1),
            ),
            capacity: pick(random, &[64, 1_000, 64 * 1024]),
            partial: random.bool(),
            hosts: vec![Host::Serves],
            heartbeat: Duration::from_secs(random.u64(1..=10)),
            max_delay: millis(random, 100..10_000),
            max_attempts: (random.u32(..12) == 0).then(|| random.u32(1..=4)),
            quorum: false,
            exclusive: true,
            channel_max: 2047,
            user_channels: None,
            publishing_at_once: false,
            single_connection: false,
            knows_hosts: false,
            changes_limits: false,
            manner: pick(
                random,
                &[Manner::RabbitMq43, Manner::RabbitMq43, Manner::LavinMq],
            ),
            consumer_timeout: match random.u32(..6) {
                0 => millis(random, 500..10_000),
                _ => Duration::from_secs(30 * 60),
            },
            loyal: random.bool(),
            slowness: pick(random, &[0, 300, 3_000]),
            second: None,
        }
    }
}

impl ProducerPlan {
    fn new(random: &mut Rng, length: Duration) -> Self {
        let policies = [
            BufferPolicy::Block,
            BufferPolicy::Error,
            BufferPolicy::DropOldest,
        ];
        let confirms = random.u32(..4) > 0;
        let bursts = random.usize(1..=3);
        let longest_gap = pick(random, &[1, 20, 500]);
        Self {
            seed: random.u64(..),
            target: Target::new(random),
            confirms,
            policy: pick(random, &policies),
            capacity: pick(random, &[1, 3, 10, 1_000]),
            mandatory: random.bool(),
            strays: random.u32(..4) == 0,
            stays: false,
            poison: None,
            max_age: None,
            hears: false,
            withdraws: None,
            length: match random.u32(..8) {
                0 => Length::SomeLong,
                _ => Length::Short,
            },
            habit: pick(
                random,
                &[
                    Habit::Watch,
                    Habit::Watch,
                    Habit::Send,
                    Habit::Forget,
                    Habit::Try,
                ],
            ),
            bursts: (0..bursts)
                .map(|_| Burst {
                    at: within(random, length),
                    count: random.u32(1..=20),
                    gap: millis(random, 0..longest_gap),
                    patience: random.bool().then(|| millis(random, 0..2_000)),
                })
                .collect(),
        }
    }
}

impl Target {
    fn new(random: &mut Rng) -> Self {
        match random.u32(..12) {
            0..=3 => Self::Queue(Queue::Steady),
            4 => Self::Queue(Queue::Bound),
            5 => Self::Queue(Queue::Passing),
            6 => Self::Queue(Queue::Exclusive),
            7 => Self::Queue(Queue::Limited),
            8 | 9 => Self::Exchange(Exchange::Steady),
            10 => Self::Exchange(Exchange::Passing),
            _ => Self::Missing,
        }
    }
}

impl ConsumerPlan {
    fn new(random: &mut Rng, length: Duration) -> Self {
        let queue = match random.u32(..8) {
            0..=3 => Queue::Steady,
            4 => Queue::Bound,
            5 => Queue::Passing,
            6 => Queue::Exclusive,
            _ => Queue::Limited,
        };
        let from = match random.bool() {
            true => Duration::ZERO,
            false => within(random, length),
        };
        // What is lost without acknowledgements is nobody's fault.
        let no_ack = !queue.is_steady() && random.u32(..4) == 0;
        Self {
            seed: random.u64(..),
            queue,
            from,
            until: from + within(random, length),
            prefetch: pick(random, &[1, 2, 10, 100, 0]),
            no_ack,
            capacity: pick(random, &[1, 5, 5, 50]),
            room: pick(random, &[None, None, None, Some(600), Some(5_000)]),
            dedicated: random.u32(..8) == 0,
            style: match random.u32(..3) {
                0 => Style::OneByOne,
                1 => Style::Batches(random.usize(1..=10)),
                _ => Style::Handler(random.usize(1..=4)),
            },
            manners: Manners::new(random),
            end: pick(
                random,
                &[ConsumerPlanEnd::Cancelled, ConsumerPlanEnd::Dropped],
            ),
        }
    }
}

impl ReaderPlan {
    fn new(random: &mut Rng, length: Duration) -> Self {
        let from = match random.bool() {
            true => Duration::ZERO,
            false => within(random, length),
        };
        Self {
            seed: random.u64(..),
            from,
            begin: pick(
                random,
                &[Begin::First, Begin::First, Begin::Next, Begin::Offset(5)],
            ),
            prefetch: pick(random, &[1, 2, 10, 100]),
            capacity: pick(random, &[1, 5, 50]),
            room: pick(random, &[None, None, Some(600)]),
            dedicated: random.u32(..8) == 0,
            keeps: pick(random, &[0, 4, 12]),
            slowness: pick(random, &[0, 50, 1_000]),
            batches: (random.u32(..3) == 0).then(|| random.usize(1..=10)),
            hands_over: (random.u32(..4) == 0).then(|| from + within(random, length)),
        }
    }
}

impl RetryPlan {
    fn new(random: &mut Rng, length: Duration) -> Self {
        let quorum = random.u32(..3) > 0;
        let from = within(random, length / 2);
        let tasks = random.usize(1..=8);
        let span = pick(random, &[1, 500, 5_000]);
        let mut stops = Vec::new();
        if random.bool() {
            for _ in 0..random.usize(1..=3) {
                stops.push(Stop {
                    after: millis(random, 0..5_000),
                    within: millis(random, 0..500),
                    pause: millis(random, 0..1_000),
                });
            }
        }
        let deletions = if random.u32(..3) == 0 {
            random.usize(1..=3)
        } else {
            0
        };
        Self {
            from,
            quorum,
            waits_by_itself: quorum && random.u32(..3) > 0,
            policy: Policy::new(random),
            tasks: (0..tasks)
                .map(|_| {
                    let at = from + millis(random, 0..span);
                    TaskPlan::new(random, at)
                })
                .collect(),
            limit: random.usize(1..=4),
            prefetch: pick(random, &[1, 2, 10]),
            dedicated: random.u32(..4) == 0,
            stops,
            deletions: (0..deletions)
                .map(|_| Deletion {
                    at: from + millis(random, 0..5_000),
                    what: pick(random, &[Deleted::Exchange, Deleted::Queues]),
                    by_another: random.bool(),
                })
                .collect(),
        }
    }
}

impl Policy {
    fn new(random: &mut Rng) -> Self {
        let first = millis(random, 1..1_500);
        Self {
            attempts: random.u32(1..=4),
            delays: match random.u32(..4) {
                0 => {
                    let delays = random.usize(1..=3);
                    let delay = |_| millis(random, 1..2_000);
                    Delays::Listed((0..delays).map(delay).collect())
                }
                _ => Delays::Growing {
                    first,
                    max: first * random.u32(1..=4),
                },
            },
            rejects: random.u32(..4) == 0,
            quorum: random.u32(..3) == 0,
        }
    }
}

impl TaskPlan {
    fn new(random: &mut Rng, at: Duration) -> Self {
        let mut runs = Vec::new();
        for _ in 0..random.usize(0..=5) {
            let takes = match random.u32(..8) {
                0..=3 => Duration::ZERO,
                4..=6 => millis(random, 0..200),
                _ => millis(random, 0..10_000),
            };
            let ending = match random.u32(..16) {
                0..=5 => Ending::Fail,
                6 | 7 => Ending::Panic,
                8 | 9 => Ending::RetryAfter(millis(random, 0..5_000)),
                10 | 11 => Ending::Release,
                12 => Ending::DeadLetter,
                13 => Ending::Reject,
                _ => Ending::Done,
            };
            runs.push(RunPlan { takes, ending });
        }
        Self { at, runs }
    }
}

impl Manners {
    fn new(random: &mut Rng) -> Self {
        // Whoever is slow can be so with most deliveries, and for longer than a reconnect takes.
        let lateness = pick(random, &[(1, 100), (1, 3_000), (4, 3_000), (4, 20_000)]);
        let mut some = |odds| {
            if random.u32(..odds) == 0 {
                random.u32(1..=4)
            } else {
                0
            }
        };
        Self {
            late: some(2) * lateness.0,
            lateness: lateness.1,
            multiple: some(3),
            requeue: some(4),
            discard: some(6),
            forget: some(6),
            hang: some(6),
        }
    }
}

impl Call {
    fn new(random: &mut Rng) -> Self {
        match random.u32(..10) {
            0 => Self::Declare(pick(random, &Queue::ALL)),
            1 => Self::Delete(Queue::Passing),
            2 => Self::Delete(Queue::Exclusive),
            3 => Self::Purge(Queue::Passing),
            4 => Self::DeclareExchange,
            5 => Self::DeleteExchange,
            6 => Self::Bind,
            7 => Self::Unbind,
            8 => Self::Refused,
            _ => Self::Channel,
        }
    }
}

impl Fault {
    /// A fault of one of so many connections, or of all.
    fn new(random: &mut Rng, links: usize) -> Self {
        match random.u32(..18) {
            0..=3 => Self::Reset(random.usize(..links)),
            4 => Self::Close(random.usize(..links)),
            5 | 6 => Self::BlackHole {
                link: random.usize(..links),
                direction: pick(random, &[None, Some(Direction::Up), Some(Direction::Down)]),
                time: random.bool().then(|| millis(random, 0..30_000)),
            },
            7 => Self::Drip {
                piece: random.usize(1..=50),
                gap: millis(random, 1..50),
                time: millis(random, 0..5_000),
            },
            8 => Self::RefuseDials(millis(random, 0..10_000)),
            9 => Self::HangDials(millis(random, 0..40_000)),
            10 | 15 => Self::Restart,
            11 | 12 => Self::Kick(random.usize(..links)),
            16 | 17 => Self::Refuse {
                what: pick(
                    random,
                    &[
                        Refused::Open,
                        Refused::Exchange,
                        Refused::Bind,
                        Refused::Declare,
                        Refused::Declare,
                        Refused::Select,
                        Refused::Limit,
                        Refused::Consume,
                    ],
                ),
                code: pick(
                    random,
                    &[ReplyCode::ACCESS_REFUSED, ReplyCode::PRECONDITION_FAILED],
                ),
                times: random.usize(1..=3),
            },
            _ => Self::Block(millis(random, 0..20_000)),
        }
    }
}

fn millis(random: &mut Rng, range: std::ops::Range<u64>) -> Duration {
    Duration::from_millis(random.u64(range))
}

fn within(random: &mut Rng, length: Duration) -> Duration {
    length.mul_f64(random.f64())
}

fn pick<T: Copy>(random: &mut Rng, choices: &[T]) -> T {
    choices[random.usize(..choices.len())]
}
