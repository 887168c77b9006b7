use std::time::Duration;

use crate::frame::FRAME_MIN_SIZE;
use crate::known_server::KnownServer;
use crate::method::connection;
use crate::sasl::Mechanism;
use crate::table::{FieldTable, TableError};
use crate::time::seconds_rounded_up;
use crate::types::ShortString;
use crate::violation::Violation;

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
    /// What is known of the server, if anything is. The whole handshake is said at once then, and
    /// [`Event::Opening`](crate::Event::Opening) comes before the server has said anything.
    ///
    /// It is to be what the same server has said before, see
    /// [`Connection::known_server`](crate::Connection::known_server): who logs in by it sends the
    /// credentials before the peer has shown that it is one. A server that is another by now costs the
    /// connection ([`HandshakeError::ServerChanged`](crate::HandshakeError::ServerChanged), or whatever that
    /// server makes of it), and whoever connects begins again without. Where the login or the limits
    /// do not go with what is known, the handshake takes its usual steps.
    ///
    /// The specification has a client wait for each answer (AMQP 0-9-1 §2.2.4). RabbitMQ 3.10.8, 4.0.5 and 4.3.6
    /// and LavinMQ 2.9.1 do not insist on it.
    ///
    /// ```
    /// # use std::time::Instant;
    /// # use snowshoe_codec::sasl::Plain;
    /// # use snowshoe_codec::{ClientOptions, Connection, KnownServer};
    /// # fn connect(known: Option<KnownServer>) {
    /// let mut options = ClientOptions::new(Plain::new("guest", "guest"));
    /// options.known_server = known;
    /// let connection = Connection::client(options, Instant::now());
    /// // … and once it is open:
    /// let known = connection.known_server().cloned();
    /// # }
    /// ```
    pub known_server: Option<KnownServer>,
}

impl ClientOptions {
    /// A client of the virtual host `/` that announces what this crate can do.
    pub fn new(mechanism: impl Mechanism + 'static) -> Self {
        Self {
            mechanisms: vec![Box::new(mechanism)],
            virtual_host: ShortString::from_static("/"),
            properties: client_properties(),
            limits: ConnectionLimits::default(),
            known_server: None,
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
            properties: client_properties(),
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
    /// from 4096 (RabbitMQ from 4.1 on: 8192) to 1 GiB. 131,072 by default. Nothing is allocated for it up
    /// front.
    pub frame_max: u32,
    /// Interval of heartbeats, in whole seconds (a fraction counts as one); zero, on either side, is
    /// none. 10 s by default. A peer that is silent for two intervals is dead.
    pub heartbeat: Duration,
    /// Longest body that is accepted, in bytes; 0 means 2 GiB, which is the most. 128 MiB by default.
    /// A longer one is skipped, and told as [`Event::Oversized`](crate::Event::Oversized).
    pub max_message_size: u32,
    /// How long the handshake may take. 30 s by default.
    pub handshake_timeout: Duration,
    /// How long a reply may take before its channel is closed, without the time for which the server blocks
    /// the connection. 20 s by default.
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

impl ConnectionLimits {
    /// The same, with what would overflow brought down to what nobody can tell from it.
    pub(crate) fn within_reason(self) -> Self {
        const FOREVER: Duration = Duration::from_secs(100 * 365 * 24 * 60 * 60);
        Self {
            frame_max: self.frame_max.clamp(FRAME_MIN_SIZE, 1 << 30),
            max_message_size: match self.max_message_size {
                0 => 1 << 31,
                bytes => bytes.min(1 << 31),
            },
            handshake_timeout: self.handshake_timeout.min(FOREVER),
            call_timeout: self.call_timeout.min(FOREVER),
            close_timeout: self.close_timeout.min(FOREVER),
            ..self
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

impl Tuning {
    /// The interval of heartbeats, if there are any.
    pub(crate) fn heartbeat_interval(self) -> Option<Duration> {
        (self.heartbeat > 0).then(|| Duration::from_secs(self.heartbeat.into()))
    }

    pub(crate) fn tune(self) -> connection::Tune {
        connection::Tune {
            channel_max: self.channel_max,
            frame_max: self.frame_max,
            heartbeat: self.heartbeat,
        }
    }

    pub(crate) fn tune_ok(self) -> connection::TuneOk {
        connection::TuneOk {
            channel_max: self.channel_max,
            frame_max: self.frame_max,
            heartbeat: self.heartbeat,
        }
    }
}

/// One side's wishes, with "no limit" already replaced by its own ceiling.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Offer {
    tuning: Tuning,
}

impl Offer {
    pub(crate) fn new(limits: &ConnectionLimits) -> Self {
        let tuning = Tuning {
            channel_max: match limits.channel_max {
                0 => u16::MAX,
                max => max,
            },
            frame_max: limits.frame_max,
            heartbeat: seconds_rounded_up(limits.heartbeat)
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
        check_frame_max(tune.frame_max)?;
        Ok(Tuning {
            channel_max: smaller(own.channel_max, tune.channel_max),
            frame_max: smaller(own.frame_max, tune.frame_max),
            // A client's zero turns them off, which a server takes (RabbitMQ: heartbeats). A server's
            // zero has no opinion: a peer that is gone is to be noticed all the same.
            heartbeat: match own.heartbeat {
                0 => 0,
                own => smaller(own, tune.heartbeat),
            },
        })
    }

    /// The server's check of connection.tune-ok. RabbitMQ resets, and LavinMQ says 530, where it
    /// exceeds the offer; a zero asks for all that was offered.
    pub(crate) fn check(&self, tune_ok: &connection::TuneOk) -> Result<Tuning, Violation> {
        let own = self.tuning;
        check_frame_max(tune_ok.frame_max)?;
        let values = [
            (
                "channel-max",
                tune_ok.channel_max.into(),
                own.channel_max.into(),
            ),
            ("frame-max", tune_ok.frame_max, own.frame_max),
        ];
        for (what, value, offered) in values {
            if value > offered {
                return Err(Violation::TuneExceeded {
                    what,
                    value,
                    offered,
                });
            }
        }
        Ok(Tuning {
            channel_max: smaller(own.channel_max, tune_ok.channel_max),
            frame_max: smaller(own.frame_max, tune_ok.frame_max),
            heartbeat: tune_ok.heartbeat,
        })
    }
}

/// A frame size that rules out what every peer must take, other than a zero for "no limit".
fn check_frame_max(frame_max: u32) -> Result<(), Violation> {
    match frame_max {
        1..FRAME_MIN_SIZE => Err(Violation::FrameMax(frame_max)),
        _ => Ok(()),
    }
}

/// The smaller limit, where the peer's zero is none.
fn smaller<T: Ord + Default>(own: T, theirs: T) -> T {
    if theirs == T::default() {
        own
    } else {
        own.min(theirs)
    }
}

/// The client properties that announce what this crate can do: without them a broker ends the
/// stream at a refused login, and silences consumers whose queue is deleted, without a word.
///
/// Add `product`, `version`, `platform` and `connection_name` as you like.
pub fn client_properties() -> FieldTable {
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
