//! What happens in a story: all that is decided before it begins, so that it can be told again, and
//! told with less in it.

use std::time::Duration;

use fastrand::Rng;

use crate::producer::BufferPolicy;
use snowshoe_codec::ReplyCode;

use crate::testing::{Direction, Manner};

/// A story.
#[derive(Clone, Debug)]
pub(super) struct Plan {
    pub(super) seed: u64,
    pub(super) settings: Settings,
    pub(super) steps: Vec<Step>,
}

/// What does not change during a story.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// When peace begins: from then on the network is whole, and nothing new is done.
    pub(super) length: Duration,
    pub(super) latency: (Duration, Duration),
    /// How many bytes fit into one direction of a connection.
    pub(super) capacity: usize,
    /// Whether reads and writes move any part of what they could.
    pub(super) partial: bool,
    pub(super) heartbeat: Duration,
    pub(super) max_delay: Duration,
    /// After how many failures in a row the client gives up.
    pub(super) max_attempts: Option<u32>,
    pub(super) manner: Manner,
    /// How long the broker waits for an acknowledgement.
    pub(super) consumer_timeout: Duration,
    /// Whether the [collected](Queue::COLLECTED) queues are consumed from the beginning, and not only
    /// in the end.
    pub(super) loyal: bool,
    /// How many milliseconds their consumers hold half of the messages at most.
    pub(super) slowness: u64,
}

/// Somebody who does something, or something that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
    Producer(ProducerPlan),
    Consumer(ConsumerPlan),
    /// A user asks for something, and waits for the answer only so long.
    Call {
        at: Duration,
        call: Call,
        patience: Option<Duration>,
    },
    Fault {
        at: Duration,
        fault: Fault,
    },
    /// The client is closed in the middle of everything.
    Close {
        at: Duration,
        within: Duration,
    },
    /// The driver is dropped in the middle of everything.
    DropDriver {
        at: Duration,
    },
}

#[derive(Clone, Debug)]
pub(super) struct ProducerPlan {
    /// For the sizes and keys of its messages.
    pub(super) seed: u64,
    pub(super) target: Target,
    pub(super) confirms: bool,
    pub(super) policy: BufferPolicy,
    pub(super) capacity: usize,
    pub(super) mandatory: bool,
    /// Whether some messages have a routing key that leads nowhere.
    pub(super) strays: bool,
    /// Whether some messages are as long as several frames.
    pub(super) large: bool,
    pub(super) habit: Habit,
    pub(super) bursts: Vec<Burst>,
}

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    Queue(Queue),
    /// Through an exchange to the second steady queue.
    Exchange(Exchange),
    /// An exchange that never was.
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Queue {
    /// Durable, and always there.
    Steady,
    /// Another one, with an exchange in front of it.
    Bound,
    /// Deleted and purged now and then.
    Passing,
    /// The client's own.
    Exclusive,
    /// It takes only a few messages, and refuses the rest.
    Limited,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Exchange {
    /// Always there, and always bound.
    Steady,
    /// Deleted and declared now and then.
    Passing,
}

/// What a user does about the outcomes of publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Habit {
    /// Goes on, and hears of each outcome when it comes.
    Watch,
    /// Waits for each outcome before the next publish.
    Send,
    /// Drops some confirmations, at once or after a while.
    Forget,
    /// Never waits for room.
    Try,
}

#[derive(Clone, Debug)]
pub(super) struct Burst {
    pub(super) at: Duration,
    pub(super) count: u32,
    pub(super) gap: Duration,
    /// How long to wait for room before giving up a publish.
    pub(super) patience: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(super) struct ConsumerPlan {
    /// For what it does to its deliveries.
    pub(super) seed: u64,
    pub(super) queue: Queue,
    pub(super) from: Duration,
    pub(super) until: Duration,
    pub(super) prefetch: u16,
    pub(super) no_ack: bool,
    pub(super) dedicated: bool,
    pub(super) style: Style,
    pub(super) manners: Manners,
    pub(super) end: ConsumerPlanEnd,
}

/// How deliveries are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Style {
    OneByOne,
    Batches(usize),
    /// A handler, on so many at a time.
    Handler(usize),
}

/// What is done to deliveries: how many in 16 are treated so; the others are acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Manners {
    /// Acknowledged only after a while, of up to so many milliseconds.
    pub(super) late: u32,
    pub(super) lateness: u64,
    /// Acknowledged together with all before.
    pub(super) multiple: u32,
    pub(super) requeue: u32,
    pub(super) discard: u32,
    /// Dropped unsettled.
    pub(super) forget: u32,
    /// Worked on for ever, where it is a handler that does.
    pub(super) hang: u32,
}

/// How a consumer is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ConsumerPlanEnd {
    Cancelled,
    /// With the future that uses it, wherever that stands.
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Call {
    Declare(Queue),
    Delete(Queue),
    Purge(Queue),
    DeclareExchange,
    DeleteExchange,
    Bind,
    Unbind,
    /// A queue is asked for that is not there.
    Refused,
    /// A channel is opened, used and dropped.
    Channel,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fault {
    /// The connection so many after the oldest.
    Reset(usize),
    Close(usize),
    BlackHole {
        link: usize,
        direction: Option<Direction>,
        time: Option<Duration>,
    },
    /// For so long bytes arrive a few at a time.
    Drip {
        piece: usize,
        gap: Duration,
        time: Duration,
    },
    RefuseDials(Duration),
    HangDials(Duration),
    Restart,
    Kick(usize),
    /// For so long publishers are blocked.
    Block(Duration),
    /// Something is refused so many times.
    Refuse {
        what: Refused,
        code: ReplyCode,
        times: usize,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Refused {
    Declare,
    Select,
    Limit,
    Consume,
}

impl Plan {
    /// The story of a seed.
    pub(super) fn new(seed: u64) -> Self {
        let mut random = Rng::with_seed(seed);
        let random = &mut random;
        let settings = Settings::new(random);
        let length = settings.length;
        let mut steps = Vec::new();
        for _ in 0..random.usize(1..=3) {
            steps.push(Step::Producer(ProducerPlan::new(random, length)));
        }
        for _ in 0..random.usize(0..=3) {
            steps.push(Step::Consumer(ConsumerPlan::new(random, length)));
        }
        for _ in 0..random.usize(0..=3) {
            steps.push(Step::Call {
                at: within(random, length),
                call: Call::new(random),
                patience: random.bool().then(|| millis(random, 0..200)),
            });
        }
        for _ in 0..random.usize(0..=5) {
            steps.push(Step::Fault {
                at: within(random, length),
                fault: Fault::new(random),
            });
        }
        match random.u32(..12) {
            0 => steps.push(Step::Close {
                at: within(random, length),
                within: millis(random, 0..12_000),
            }),
            1 => steps.push(Step::DropDriver {
                at: within(random, length),
            }),
            _ => {}
        }
        Self {
            seed,
            settings,
            steps,
        }
    }

    /// What brings back the collected queues that were deleted, or could not be declared again. Any
    /// other has to be there without.
    pub(super) fn repairs(&self) -> Vec<Call> {
        let deleted = self.steps.iter().filter_map(|step| match step {
            Step::Call {
                call: Call::Delete(queue),
                ..
            } => Some(Call::Declare(*queue)),
            Step::Fault {
                fault:
                    Fault::Refuse {
                        what: Refused::Declare,
                        ..
                    },
                ..
            } => Some(Call::Declare(Queue::Exclusive)),
            _ => None,
        });
        deleted.collect()
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
            heartbeat: Duration::from_secs(random.u64(1..=10)),
            max_delay: millis(random, 100..10_000),
            max_attempts: (random.u32(..12) == 0).then(|| random.u32(1..=4)),
            manner: pick(
                random,
                &[Manner::RabbitMq, Manner::RabbitMq, Manner::LavinMq],
            ),
            consumer_timeout: match random.u32(..6) {
                0 => millis(random, 500..10_000),
                _ => Duration::from_secs(30 * 60),
            },
            loyal: random.bool(),
            slowness: pick(random, &[0, 300, 3_000]),
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
            large: random.u32(..8) == 0,
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

impl Queue {
    pub(super) const ALL: [Self; 5] = [
        Self::Steady,
        Self::Bound,
        Self::Passing,
        Self::Exclusive,
        Self::Limited,
    ];

    /// Those that somebody consumes to the end.
    pub(super) const COLLECTED: [Self; 4] =
        [Self::Steady, Self::Bound, Self::Passing, Self::Exclusive];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bound => "bound",
            Self::Passing => "passing",
            Self::Exclusive => "exclusive",
            Self::Limited => "limited",
        }
    }

    /// Whether it is always there, and loses nothing.
    pub(super) fn is_steady(self) -> bool {
        matches!(self, Self::Steady | Self::Bound)
    }
}

impl Exchange {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady-exchange",
            Self::Passing => "passing-exchange",
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
    fn new(random: &mut Rng) -> Self {
        match random.u32(..18) {
            0..=3 => Self::Reset(random.usize(..3)),
            4 => Self::Close(random.usize(..3)),
            5 | 6 => Self::BlackHole {
                link: random.usize(..3),
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
            11 | 12 => Self::Kick(random.usize(..3)),
            16 | 17 => Self::Refuse {
                what: pick(
                    random,
                    &[
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
