use std::fmt;

use serde::{Deserialize, Serialize};

/// What a client is made to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Work {
    /// Publish without confirms, until the broker has counted all.
    Publish,
    /// Publish with confirms, at most [`IN_FLIGHT`] of them missing.
    Confirmed,
    /// Publish, and wait for the confirm, before the next.
    ConfirmedSingly,
    /// Consume what the broker sends as fast as the socket takes it.
    Consume,
    /// Consume and acknowledge each message by itself, at most [`IN_FLIGHT`] unacknowledged.
    Acked,
    /// Consume and acknowledge messages [`BATCH`] at a time.
    AckedByBatch,
    /// Publish, and receive the message as a delivery, before the next.
    RoundTrip,
}

/// The window of [`Work::Confirmed`] and the prefetch of the works that acknowledge.
pub const IN_FLIGHT: u16 = 1000;

/// A queue without messages.
pub const IDLE_QUEUE: &str = "compare-idle";

/// How many messages are acknowledged at once by [`Work::AckedByBatch`], at most.
pub const BATCH: usize = 100;

impl Work {
    pub const ALL: [Self; 7] = [
        Self::Publish,
        Self::Confirmed,
        Self::ConfirmedSingly,
        Self::Consume,
        Self::Acked,
        Self::AckedByBatch,
        Self::RoundTrip,
    ];

    /// What it is called on the command line.
    pub fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Confirmed => "confirmed",
            Self::ConfirmedSingly => "confirmed-singly",
            Self::Consume => "consume",
            Self::Acked => "acked",
            Self::AckedByBatch => "acked-by-batch",
            Self::RoundTrip => "round-trip",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|work| work.name() == name)
    }

    /// Whether one message is under way at a time, and time, not throughput, is what counts.
    pub fn is_latency(self) -> bool {
        matches!(self, Self::ConfirmedSingly | Self::RoundTrip)
    }

    /// Whether the messages are there before the client is.
    pub fn consumes(self) -> bool {
        matches!(self, Self::Consume | Self::Acked | Self::AckedByBatch)
    }

    /// How many producers share the work, in the rows of the table.
    pub fn producers(self) -> &'static [usize] {
        match self {
            Self::Publish | Self::Confirmed => &[1, 8],
            _ => &[1],
        }
    }
}

impl fmt::Display for Work {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Publish => "publish, fire-and-forget",
            Self::Confirmed => "publish, confirmed, 1000 in flight",
            Self::ConfirmedSingly => "publish, confirmed one at a time",
            Self::Consume => "consume, no-ack",
            Self::Acked => "consume, each acked, prefetch 1000",
            Self::AckedByBatch => "consume, acked by batch of 100",
            Self::RoundTrip => "round trip, one at a time",
        })
    }
}

/// The clients that are compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub enum Subject {
    /// Bytes encoded beforehand, through `write` and `read`.
    Limit,
    /// Snowshoe, its driver on a thread of its own.
    Snowshoe,
    /// Snowshoe, its driver on the executor of the caller, which is tokio's, with one thread.
    SnowshoeShared,
    /// Snowshoe, its driver and its caller on a thread without an executor, with one connection for all instead
    /// of one for publishing beside.
    SnowshoeLocal,
    AmqpClient,
    Lapin,
    Amqprs,
    Amiquip,
    /// In C, and only there if its feature is on.
    RabbitmqC,
}

impl Subject {
    pub const ALL: [Self; 9] = [
        Self::Limit,
        Self::Snowshoe,
        Self::SnowshoeShared,
        Self::SnowshoeLocal,
        Self::AmqpClient,
        Self::Lapin,
        Self::Amqprs,
        Self::Amiquip,
        Self::RabbitmqC,
    ];

    /// What it is called on the command line and in tables.
    pub fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Snowshoe => "snowshoe",
            Self::SnowshoeShared => "snowshoe-shared",
            Self::SnowshoeLocal => "snowshoe-local",
            Self::AmqpClient => "amqp-client",
            Self::Lapin => "lapin",
            Self::Amqprs => "amqprs",
            Self::Amiquip => "amiquip",
            Self::RabbitmqC => "rabbitmq-c",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|subject| subject.name() == name)
    }

    /// Whether this was built with it.
    pub fn is_there(self) -> bool {
        self != Self::RabbitmqC || cfg!(feature = "rabbitmq-c")
    }

    /// Whether it is somebody else's client, and in Rust.
    pub fn is_rust_peer(self) -> bool {
        matches!(
            self,
            Self::AmqpClient | Self::Lapin | Self::Amqprs | Self::Amiquip
        )
    }

    /// How it can be run. What is best for one work is not for another.
    pub fn arrangements(self) -> &'static [Arrangement] {
        match self {
            Self::AmqpClient | Self::Lapin | Self::Amqprs => {
                &[Arrangement::OneThread, Arrangement::Workers]
            }
            _ => &[Arrangement::OneThread],
        }
    }

    /// Whether several channels are one connection.
    pub fn has_channels(self) -> bool {
        self != Self::Limit
    }

    /// Whether several tasks can publish by it at the same time. What blocks would need as many
    /// threads, and is not what that row is about.
    pub fn runs_tasks(self) -> bool {
        !matches!(self, Self::Amiquip | Self::RabbitmqC | Self::Limit)
    }
}

/// One row of the table.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Row {
    pub work: Work,
    /// Length of a body, in bytes.
    pub size: usize,
    pub producers: usize,
    /// How many further channels are open, on which nothing happens.
    #[serde(default)]
    pub channels: usize,
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            work,
            size,
            producers,
            channels,
        } = self;
        write!(f, "{work}, {}", Size(*size))?;
        if *producers > 1 {
            write!(f, ", {producers} producers")?;
        }
        if *channels > 0 {
            write!(f, ", beside {channels} channels")?;
        }
        Ok(())
    }
}

/// Shows a number of bytes.
#[derive(Clone, Copy, Debug)]
pub struct Size(pub usize);

impl fmt::Display for Size {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            bytes if bytes >= 1024 => write!(f, "{} KiB", bytes / 1024),
            bytes => write!(f, "{bytes} B"),
        }
    }
}

/// What a client process is told.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    pub subject: Subject,
    pub row: Row,
    pub url: String,
    pub queue: String,
    /// Who knows what has reached the broker: a port of this machine.
    pub witness: u16,
    /// Messages before anything is measured, over all producers.
    pub warm_up: u64,
    /// Messages that are measured, over all producers.
    pub messages: u64,
    /// The processor to run on.
    pub cpu: usize,
    pub arrangement: Arrangement,
}

/// What runs a client that needs tokio.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Arrangement {
    /// The caller's thread.
    #[default]
    OneThread,
    /// Two worker threads, beside the caller's.
    Workers,
}

/// What a client process measured.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Sample {
    pub messages: u64,
    pub seconds: f64,
    /// Processor time of the client process, in user and kernel space, in seconds.
    pub cpu_seconds: f64,
    /// Heap allocations of the client process, if they were counted.
    pub allocations: Option<u64>,
    /// By how many bytes the process was larger at its largest than before it began.
    pub peak_growth: u64,
    /// Microseconds of the messages one by one: median and 99th percentile.
    pub latency: Option<(f64, f64)>,
}
