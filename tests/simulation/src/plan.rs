//! What happens in a story: all that is decided before it begins, so that it can be told again, and
//! told with less in it.

mod chance;
mod read;
mod retry;
mod tidy;

use std::time::Duration;

use snowshoe::BufferPolicy;
use snowshoe::codec::ReplyCode;
use snowshoe::testing::{Direction, Manner};

pub(crate) use self::read::{Begin, ReaderPlan};
pub(crate) use self::retry::{
    Delays, Deleted, Deletion, Ending, Policy, RetryPlan, RunPlan, Stop, TaskPlan,
};
pub(crate) use self::tidy::{Act, Thing, exchange_name, queue_name};

/// A story.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) seed: u64,
    pub(crate) settings: Settings,
    pub(crate) steps: Vec<Step>,
}

/// What kinds of queues some are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Kinds {
    /// Whether the bound queue is a quorum queue.
    pub(crate) quorum: bool,
    /// Whether the exclusive queue is one.
    pub(crate) exclusive: bool,
}

/// What does not change during a story.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    /// When peace begins: from then on the network is whole, and nothing new is done.
    pub(crate) length: Duration,
    pub(crate) latency: (Duration, Duration),
    /// How many bytes fit into one direction of a connection.
    pub(crate) capacity: usize,
    /// Whether reads and writes move any part of what they could.
    pub(crate) partial: bool,
    /// What the hosts of the URI do; one serves at least.
    pub(crate) hosts: Vec<Host>,
    pub(crate) heartbeat: Duration,
    pub(crate) max_delay: Duration,
    /// After how many failures in a row the client gives up.
    pub(crate) max_attempts: Option<u32>,
    pub(crate) manner: Manner,
    /// Whether the bound queue is a quorum queue.
    pub(crate) quorum: bool,
    /// Whether the exclusive queue is one. Where it is not, all that is declared lasts.
    pub(crate) exclusive: bool,
    /// How many channels a connection has.
    pub(crate) channel_max: u16,
    /// Whether the connection for publishing is made with the client.
    pub(crate) publishing_at_once: bool,
    /// Whether clients publish on the connection on which they do everything else.
    pub(crate) single_connection: bool,
    /// Whether clients are told where they have come to, so that they know it when they come again.
    pub(crate) knows_hosts: bool,
    /// Whether the broker has other limits each time that it is restarted.
    pub(crate) changes_limits: bool,
    /// How many channels all clients may have together, where they share a user with a limit.
    pub(crate) user_channels: Option<usize>,
    /// How long the broker waits for an acknowledgement.
    pub(crate) consumer_timeout: Duration,
    /// Whether the [collected](Queue::COLLECTED) queues are consumed from the beginning, and not only
    /// in the end.
    pub(crate) loyal: bool,
    /// How many milliseconds their consumers hold half of the messages at most.
    pub(crate) slowness: u64,
    /// What a second client does before the story begins, if there is one.
    pub(crate) second: Option<Second>,
}

/// What happens to whoever connects to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Host {
    Serves,
    Refuses,
    /// Nothing is ever heard of it.
    Swallows,
    /// The connection is made and ends.
    Cuts,
    /// The connection is made and nobody says anything.
    IsSilent,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Second {
    /// It declares everything for itself, as the first does, and after a reconnect again.
    Declares,
    /// It uses what the first has declared.
    Uses,
}

/// Somebody who does something, or something that happens.
#[derive(Clone, Debug)]
pub(crate) enum Step {
    User {
        /// The first or the second.
        client: usize,
        deed: Deed,
    },
    Fault {
        at: Duration,
        fault: Fault,
    },
}

/// What is done to a client.
#[derive(Clone, Debug)]
pub(crate) enum Deed {
    Produce(ProducerPlan),
    Consume(ConsumerPlan),
    Read(ReaderPlan),
    /// Tasks are tried again that failed. One of a story at most does so.
    Retry(RetryPlan),
    /// A user asks for something, and waits for the answer only so long.
    Call {
        at: Duration,
        call: Call,
        patience: Option<Duration>,
    },
    /// The same for what nobody else has.
    Tidy {
        at: Duration,
        act: Act,
        patience: Option<Duration>,
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
pub(crate) struct ProducerPlan {
    /// For the sizes and keys of its messages.
    pub(crate) seed: u64,
    pub(crate) target: Target,
    pub(crate) confirms: bool,
    pub(crate) policy: BufferPolicy,
    pub(crate) capacity: usize,
    pub(crate) mandatory: bool,
    /// Whether some messages have a routing key that leads nowhere.
    pub(crate) strays: bool,
    /// Whether it is kept for as long as its client lives, after it has nothing more to publish.
    pub(crate) stays: bool,
    /// What is wrong with some messages.
    pub(crate) poison: Option<Poison>,
    /// How long its messages may wait.
    pub(crate) max_age: Option<Duration>,
    /// Whether somebody hears of what is not delivered.
    pub(crate) hears: bool,
    /// After what time at most some messages are taken back.
    pub(crate) withdraws: Option<Duration>,
    pub(crate) length: Length,
    pub(crate) habit: Habit,
    pub(crate) bursts: Vec<Burst>,
}

/// What is wrong with a message that the broker will never take.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Poison {
    /// It is said to be from another user: the broker closes its channel.
    Channel,
    /// It has a header of an unknown type: the broker closes the connection, and names nothing.
    Connection,
}

/// How long messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Length {
    Short,
    /// Some are as long as several frames.
    SomeLong,
    /// Most bytes are in long ones: together, more than may wait to be written.
    Long,
}

/// Where messages go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Queue(Queue),
    /// Through an exchange to the second steady queue.
    Exchange(Exchange),
    /// An exchange that never was.
    Missing,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Queue {
    /// Durable, and always there.
    Steady,
    /// Another one, with an exchange in front of it.
    Bound,
    /// Deleted and purged now and then.
    Passing,
    /// The client's own: each has one.
    Exclusive,
    /// It takes only a few messages, and refuses the rest.
    Limited,
    /// The client's own, declared and deleted as it likes.
    Fleeting,
    /// A stream, of which nothing is ever taken.
    Stream,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Exchange {
    /// Always there, and always bound.
    Steady,
    /// Deleted and declared now and then.
    Passing,
}

/// What a user does about the outcomes of publishes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Habit {
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
pub(crate) struct Burst {
    pub(crate) at: Duration,
    pub(crate) count: u32,
    pub(crate) gap: Duration,
    /// How long to wait for room before giving up a publish.
    pub(crate) patience: Option<Duration>,
}

#[derive(Clone, Debug)]
pub(crate) struct ConsumerPlan {
    /// For what it does to its deliveries.
    pub(crate) seed: u64,
    pub(crate) queue: Queue,
    pub(crate) from: Duration,
    pub(crate) until: Duration,
    pub(crate) prefetch: u16,
    pub(crate) no_ack: bool,
    /// How many messages may wait, where no prefetch bounds them, and how many bytes, if not the usual.
    pub(crate) capacity: usize,
    pub(crate) room: Option<usize>,
    pub(crate) dedicated: bool,
    pub(crate) style: Style,
    pub(crate) manners: Manners,
    pub(crate) end: ConsumerPlanEnd,
}

/// How deliveries are taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    OneByOne,
    Batches(usize),
    /// A handler, on so many at a time.
    Handler(usize),
}

/// What is done to deliveries: how many in 16 are treated so; the others are acknowledged.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Manners {
    /// Acknowledged only after a while, of up to so many milliseconds.
    pub(crate) late: u32,
    pub(crate) lateness: u64,
    /// Acknowledged together with all before.
    pub(crate) multiple: u32,
    pub(crate) requeue: u32,
    pub(crate) discard: u32,
    /// Dropped unsettled.
    pub(crate) forget: u32,
    /// Worked on for ever, where it is a handler that does.
    pub(crate) hang: u32,
}

/// How a consumer is ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ConsumerPlanEnd {
    Cancelled,
    /// With the future that uses it, wherever that stands.
    Dropped,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Call {
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
pub(crate) enum Fault {
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
    /// For so long what the broker says is late, on each channel apart: a frame waits for up to `most`
    /// after the one before it.
    Late {
        most: Duration,
        time: Duration,
    },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refused {
    /// The connection itself, with all that came behind connection.open.
    Open,
    Exchange,
    Bind,
    Declare,
    Select,
    Limit,
    Consume,
}

impl Settings {
    /// How often a message may come back to the bound queue before it is given up.
    pub(crate) fn delivery_limit(&self) -> Option<u32> {
        let has_one = !matches!(self.manner, Manner::RabbitMq310 | Manner::LavinMq);
        (self.quorum && has_one).then_some(20)
    }

    /// Whether some hosts do not serve.
    pub(crate) fn has_bad_hosts(&self) -> bool {
        self.hosts.iter().any(|host| *host != Host::Serves)
    }

    /// Whether there are fewer channels than what is done may need.
    pub(crate) fn kinds(&self) -> Kinds {
        Kinds {
            quorum: self.quorum,
            exclusive: self.exclusive,
        }
    }

    pub(crate) fn is_short_of_channels(&self) -> bool {
        self.channel_max < 10
    }
}

impl Plan {
    /// How many clients take part.
    pub(crate) fn clients(&self) -> usize {
        1 + usize::from(self.settings.second.is_some())
    }

    /// Whether things are declared and deleted that nobody else has.
    pub(crate) fn is_tidied(&self) -> bool {
        self.deeds().any(|deed| matches!(deed, Deed::Tidy { .. }))
    }

    /// Whether somebody reads the stream.
    pub(crate) fn has_readers(&self) -> bool {
        self.deeds().any(|deed| matches!(deed, Deed::Read(_)))
    }

    fn deeds(&self) -> impl Iterator<Item = &Deed> {
        self.steps.iter().filter_map(|step| match step {
            Step::User { deed, .. } => Some(deed),
            Step::Fault { .. } => None,
        })
    }

    /// What brings back the collected queues that were deleted, or could not be declared again. Any
    /// other has to be there without.
    pub(crate) fn repairs(&self) -> Vec<Call> {
        let deleted = self.steps.iter().filter_map(|step| match step {
            Step::User {
                deed:
                    Deed::Call {
                        call: Call::Delete(queue),
                        ..
                    },
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

impl Queue {
    pub(crate) const ALL: [Self; 5] = [
        Self::Steady,
        Self::Bound,
        Self::Passing,
        Self::Exclusive,
        Self::Limited,
    ];

    /// Those that somebody consumes to the end.
    pub(crate) const COLLECTED: [Self; 4] =
        [Self::Steady, Self::Bound, Self::Passing, Self::Exclusive];

    /// What a client calls it.
    pub(crate) fn name(self, client: usize) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bound => "bound",
            Self::Passing => "passing",
            Self::Exclusive => ["exclusive", "exclusive-too"][client],
            Self::Limited => "limited",
            Self::Stream => "stream",
            Self::Fleeting => ["fleeting", "fleeting-too"][client],
        }
    }

    /// Whether it is always there, and loses nothing.
    pub(crate) fn is_steady(self) -> bool {
        matches!(self, Self::Steady | Self::Bound)
    }
}

impl Exchange {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Steady => "steady-exchange",
            Self::Passing => "passing-exchange",
        }
    }
}
