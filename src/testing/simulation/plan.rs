//! What happens in a story: all that is decided before it begins, so that it can be told again, and
//! told with less in it.

mod chance;

use std::time::Duration;

use snowshoe_codec::ReplyCode;

use crate::producer::BufferPolicy;
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
    /// What a second client does before the story begins, if there is one.
    pub(super) second: Option<Second>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Second {
    /// It declares everything for itself, as the first does, and after a reconnect again.
    Declares,
    /// It uses what the first has declared.
    Uses,
}

/// Somebody who does something, or something that happens.
#[derive(Clone, Debug)]
pub(super) enum Step {
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
pub(super) enum Deed {
    Produce(ProducerPlan),
    Consume(ConsumerPlan),
    /// A user asks for something, and waits for the answer only so long.
    Call {
        at: Duration,
        call: Call,
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
    pub(super) length: Length,
    pub(super) habit: Habit,
    pub(super) bursts: Vec<Burst>,
}

/// How long messages are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Length {
    Short,
    /// Some are as long as several frames.
    SomeLong,
    /// Most bytes are in long ones: together, more than may wait to be written.
    Long,
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
    /// The client's own: each has one.
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
    /// For so long what the broker says is late, on each channel apart: a frame waits for up to `most`
    /// behind the one before it.
    Late {
        most: Duration,
        time: Duration,
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
    /// How many clients take part.
    pub(super) fn clients(&self) -> usize {
        1 + usize::from(self.settings.second.is_some())
    }

    /// What brings back the collected queues that were deleted, or could not be declared again. Any
    /// other has to be there without.
    pub(super) fn repairs(&self) -> Vec<Call> {
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

    /// What a client calls it.
    pub(super) fn name(self, client: usize) -> &'static str {
        match self {
            Self::Steady => "steady",
            Self::Bound => "bound",
            Self::Passing => "passing",
            Self::Exclusive => ["exclusive", "exclusive-too"][client],
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
