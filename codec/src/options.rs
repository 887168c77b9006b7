use std::time::Duration;

use crate::frame::FRAME_MIN_SIZE;
use crate::method::connection;
use crate::sasl::Mechanism;
use crate::{FieldTable, ShortString, TableError, Violation};

/// What a client connects with.
#[derive(Debug)]
pub struct ClientOptions {
    /// Ways to log in, best first; the first one that the server lists is used.
    pub mechanisms: Vec<Box<dyn Mechanism>>,
    /// The virtual host; `/` by default.
    pub virtual_host: ShortString,
    /// What the server is told of the client; [`client_properties`] makes one.
    pub properties: FieldTable,
    /// Limits and deadlines.
    pub limits: ConnectionLimits,
}

impl ClientOptions {
    /// A client of the virtual host `/` that announces what this crate can do.
    pub fn new(mechanism: impl Mechanism + 'static) -> Self {
        Self {
            mechanisms: vec![Box::new(mechanism)],
            virtual_host: ShortString::from_static("/"),
            properties: capabilities(),
            limits: ConnectionLimits::default(),
        }
    }
}

/// What a server offers.
#[derive(Clone, Debug)]
pub struct ServerOptions {
    /// Login mechanisms, separated by spaces.
    pub mechanisms: String,
    /// What clients are told of the server.
    pub properties: FieldTable,
    /// Limits and deadlines.
    pub limits: ConnectionLimits,
}

impl Default for ServerOptions {
    fn default() -> Self {
        Self {
            mechanisms: "PLAIN AMQPLAIN".to_owned(),
            properties: capabilities(),
            limits: ConnectionLimits::default(),
        }
    }
}

/// Limits and deadlines of a connection. The first three are negotiated: the smaller wins.
#[derive(Clone, Debug)]
pub struct ConnectionLimits {
    /// Highest channel number; 0 means 65,535. 2047 by default, as RabbitMQ.
    pub channel_max: u16,
    /// Largest frame in bytes, its 8 bytes of overhead included, also where the peer has no limit;
    /// at least 4096. 131,072 by default. Nothing is allocated for it up front.
    pub frame_max: u32,
    /// Interval of heartbeats, in whole seconds; zero asks for none. 10 s by default. A peer that
    /// is silent for two intervals is dead.
    pub heartbeat: Duration,
    /// Longest body that is accepted, in bytes. 128 MiB by default, 2 GiB at most.
    pub max_message_size: u32,
    /// How long the handshake may take. 30 s by default.
    pub handshake_timeout: Duration,
    /// How long a reply may take before its channel is closed. 20 s by default.
    pub call_timeout: Duration,
    /// How long a peer may take to agree to a close. 10 s by default.
    pub close_timeout: Duration,
}

impl Default for ConnectionLimits {
    fn default() -> Self {
        Self {
            channel_max: 2047,
            frame_max: 131_072,
            heartbeat: Duration::from_secs(10),
            max_message_size: 128 << 20,
            handshake_timeout: Duration::from_secs(30),
            call_timeout: Duration::from_secs(20),
            close_timeout: Duration::from_secs(10),
        }
    }
}

/// What both ends agreed on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Tuning {
    /// Highest channel number.
    pub channel_max: u16,
    /// Largest frame in bytes, its overhead included.
    pub frame_max: u32,
    /// Interval of heartbeats in seconds; 0 is none.
    pub heartbeat: u16,
}

/// One side's wishes, with "no limit" already replaced by its own ceiling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    tuning: Tuning,
}

impl Offer {
    pub(crate) fn new(limits: &ConnectionLimits) -> Self {
        let tuning = Tuning {
            channel_max: if limits.channel_max == 0 {
                u16::MAX
            } else {
                limits.channel_max
            },
            frame_max: limits.frame_max.max(FRAME_MIN_SIZE),
            // Rounded up, so that a fraction of a second does not come to mean "none".
            heartbeat: limits
                .heartbeat
                .as_millis()
                .div_ceil(1000)
                .try_into()
                .unwrap_or(u16::MAX),
        };
        Self { tuning }
    }

    pub(crate) fn tuning(&self) -> Tuning {
        self.tuning
    }

    /// The client's answer to connection.tune: never above what either side can do, and never a
    /// zero for "no limit", which LavinMQ refuses.
    pub(crate) fn answer(&self, tune: &connection::Tune) -> Result<Tuning, Violation> {
        let own = self.tuning;
        if (1..FRAME_MIN_SIZE).contains(&tune.frame_max) {
            return Err(Violation::FrameMax(tune.frame_max));
        }
        let unlimited_or = |theirs: u32, own: u32| if theirs == 0 { own } else { own.min(theirs) };
        Ok(Tuning {
            channel_max: unlimited_or(tune.channel_max.into(), own.channel_max.into()) as u16,
            frame_max: unlimited_or(tune.frame_max, own.frame_max),
            // One side's zero leaves it to the other (RabbitMQ: heartbeats); both at zero is none.
            heartbeat: match (own.heartbeat, tune.heartbeat) {
                (0, either) | (either, 0) => either,
                (own, theirs) => own.min(theirs),
            },
        })
    }

    /// The server's check of connection.tune-ok; RabbitMQ resets and LavinMQ says 530 where it
    /// exceeds the offer.
    pub(crate) fn check(&self, tune_ok: &connection::TuneOk) -> Result<Tuning, Violation> {
        let own = self.tuning;
        let within = |what, value: u32, offered: u32| match value {
            value if value > offered => Err(Violation::TuneExceeded {
                what,
                value,
                offered,
            }),
            0 => Ok(offered),
            value => Ok(value),
        };
        if (1..FRAME_MIN_SIZE).contains(&tune_ok.frame_max) {
            return Err(Violation::FrameMax(tune_ok.frame_max));
        }
        let channel_max = within(
            "channel-max",
            tune_ok.channel_max.into(),
            own.channel_max.into(),
        )?;
        let frame_max = within("frame-max", tune_ok.frame_max, own.frame_max)?;
        Ok(Tuning {
            channel_max: channel_max as u16,
            frame_max,
            heartbeat: tune_ok.heartbeat,
        })
    }
}

/// The client properties that announce what this crate can do: without them a broker ends the
/// stream at a refused login, and silences consumers whose queue is deleted, without a word.
///
/// Add `product`, `version`, `platform` and `connection_name` as you like.
pub fn client_properties() -> FieldTable {
    capabilities()
}

fn capabilities() -> FieldTable {
    const CAPABILITIES: [&str; 8] = [
        "publisher_confirms",
        "exchange_exchange_bindings",
        "basic.nack",
        "consumer_cancel_notify",
        "connection.blocked",
        "consumer_priorities",
        "authentication_failure_close",
        "per_consumer_qos",
    ];
    let build = || -> Result<FieldTable, TableError> {
        let mut table = FieldTable::new();
        for name in CAPABILITIES {
            table.insert(name, true)?;
        }
        FieldTable::new().with("capabilities", &table)
    };
    build().expect("short names and booleans can always be encoded")
}
