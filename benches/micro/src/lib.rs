//! Measures Snowshoe's codec and state machines alone, the codec beside amq-protocol, which is
//! lapin's, on the very same bytes; and counts what a whole client does for a message.
//!
//! ```sh
//! cargo bench --manifest-path benches/micro/Cargo.toml           # time, by criterion
//! cargo run --release --manifest-path benches/micro/Cargo.toml   # instructions, by callgrind
//! ```
//!
//! The second prints both in one table, and writes it to `results.md`.

mod client;
mod codec;
mod machines;
mod peer;
mod wire;

pub use self::client::{BROKER, be_broker};

/// Something small that is done once for each message.
#[derive(Debug)]
pub struct Operation {
    /// A name for files and the command line.
    pub id: String,
    /// What it does.
    pub title: String,
    /// How many bytes a message has with its frames, where there are some.
    pub bytes: Option<usize>,
    /// Whether its time says something, and not only its instructions.
    pub is_timed: bool,
    ours: Maker,
    theirs: Option<Maker>,
}

/// Does it for so many messages, a multiple of [`GRAIN`].
pub type Runner = Box<dyn FnMut(u64)>;

type Maker = fn(usize) -> Runner;

/// How many messages are the fewest.
pub const GRAIN: u64 = 1000;

/// Whose code runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    Snowshoe,
    AmqProtocol,
}

impl Side {
    pub const ALL: [Self; 2] = [Self::Snowshoe, Self::AmqProtocol];

    pub fn name(self) -> &'static str {
        match self {
            Self::Snowshoe => "snowshoe",
            Self::AmqProtocol => "amq-protocol",
        }
    }

    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|side| side.name() == name)
    }
}

impl Operation {
    /// All there are.
    pub fn all() -> Vec<Self> {
        let mut all = Vec::new();
        for size in SIZES {
            let mut of_messages = |id: &str, title: &str, bytes: Vec<u8>, ours, theirs| {
                all.push(Self {
                    id: format!("{id}-{size}"),
                    title: format!("{title}, {size} B"),
                    bytes: Some(bytes.len()),
                    is_timed: true,
                    ours,
                    theirs,
                });
            };
            let (ours, theirs) = (codec::publish as Maker, peer::publish as Maker);
            let bytes = wire::publish(size);
            of_messages("publish", "publish, encoded", bytes, ours, Some(theirs));
            let (ours, theirs) = (codec::deliver as Maker, peer::deliver as Maker);
            let bytes = wire::deliveries(size, 1);
            of_messages(
                "deliver",
                "delivery, decoded",
                bytes.clone(),
                ours,
                Some(theirs),
            );
            let title = "delivery, its frames found";
            of_messages("scan", title, bytes, codec::scan, None);
        }
        let mut one = |id: &str, title: &str, ours: Maker, theirs: Option<Maker>| {
            all.push(Self {
                id: id.to_owned(),
                title: title.to_owned(),
                bytes: None,
                is_timed: true,
                ours,
                theirs,
            });
        };
        let (encode, decode) = (peer::encode_ack as Maker, peer::decode_ack as Maker);
        one(
            "ack-encode",
            "ack, encoded",
            codec::encode_ack,
            Some(encode),
        );
        one(
            "ack-decode",
            "ack, decoded",
            codec::decode_ack,
            Some(decode),
        );
        one(
            "confirm",
            "confirm, received as an event",
            codec::confirm,
            None,
        );
        let (encode, decode) = (peer::encode_table as Maker, peer::decode_table as Maker);
        one(
            "table-encode",
            "table of 8 entries, built and encoded",
            codec::encode_table,
            Some(encode),
        );
        one(
            "table-decode",
            "table of 8 entries, every one read",
            codec::decode_table,
            Some(decode),
        );
        let mut machine = |id: &str, title: &str, ours: Maker| one(id, title, ours, None);
        machine("ring", "ring: pushed, written, settled", |_| {
            Box::new(machines::ring())
        });
        machine("confirms-each", "confirms, each by itself", |_| {
            Box::new(machines::confirms(false))
        });
        machine("confirms-multiple", "confirms, 1000 at once", |_| {
            Box::new(machines::confirms(true))
        });
        machine("acks-in-order", "acks, joined to one frame", |_| {
            Box::new(machines::acks(true))
        });
        machine("acks-with-gaps", "acks, every tenth late", |_| {
            Box::new(machines::acks(false))
        });
        machine("publisher", "producer: pushed, encoded, confirmed", |_| {
            let (connection, channel) = codec::open();
            Box::new(machines::publisher(connection, channel, wire::body(16)))
        });
        machine("inbox", "inbox: filled, taken, acked, flushed", |_| {
            Box::new(machines::inbox(codec::delivery()))
        });
        machine("backoff", "backoff: the next delay", |_| {
            Box::new(machines::backoff())
        });
        // Its time is that of the system, and of the broker.
        all.push(Self {
            id: "singly-16".to_owned(),
            title: "a client on Local: published and confirmed one at a time, 16 B".to_owned(),
            bytes: None,
            is_timed: false,
            ours: |size| client::confirmed_singly(wire::body(size)),
            theirs: None,
        });
        all
    }

    /// Makes what runs it, unless this side has no such thing.
    pub fn runner(&self, side: Side) -> Option<Runner> {
        let size = self.id.rsplit('-').next().and_then(|end| end.parse().ok());
        let make = match side {
            Side::Snowshoe => Some(self.ours),
            Side::AmqProtocol => self.theirs,
        };
        make.map(|make| make(size.unwrap_or(0)))
    }
}

const SIZES: [usize; 3] = [16, 1 << 10, 64 << 10];
