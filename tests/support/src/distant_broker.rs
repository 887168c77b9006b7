//! A broker at a distance, on a port of 127.0.0.1: for what is counted, where RabbitMQ would give
//! another number every time.
//!
//! Once it was sent messages or acknowledgements it is deaf for a millisecond, so what a client does
//! meanwhile comes together. Where a message passes it allocates nothing, so that the allocations of
//! the process are the client's.
//!
//! It takes what is published, to any queue. A queue named `feed-N` has N messages, and one named
//! `feed-N-SIZE` has N whose bodies have so many bytes.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use snowshoe::codec::frame::{self, Frame, FrameKind, Limits};
use snowshoe::codec::method::{Arguments as _, basic, channel, confirm, connection, queue};
use snowshoe::codec::{ChannelId, Method};
use snowshoe::{FieldTable, ShortString};

/// What every thread of the broker is called.
pub const THREAD: &str = "broker";

/// How many channels a connection may have, as RabbitMQ has it.
const CHANNEL_MAX: u16 = 2047;

/// Every message of a feed that says nothing of their size.
pub const BODY: &[u8] = b"sixteen bytes...";

const FRAME_MAX: u32 = 131_072;

/// How long the broker takes to hear of what comes next.
const DISTANCE: Duration = Duration::from_millis(1);

/// What is read at once, at most.
const BLOCK: usize = 256 << 10;

/// How many deliveries are written at once, at most, and about how many bytes.
const BATCH: (u64, usize) = (1000, 256 << 10);

/// Starts a broker that serves until the process ends.
pub fn start() -> SocketAddr {
    let listener = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has free ports");
    let address = listener.local_addr().expect("it is bound");
    spawn(move || {
        for stream in listener.incoming() {
            // A connection that fails is the client's to notice.
            spawn(move || stream.and_then(|stream| Session::new(stream).serve()));
        }
    });
    address
}

fn spawn<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) {
    let thread = thread::Builder::new().name(THREAD.to_owned()).spawn(work);
    thread.expect("threads can be started");
}

/// One client's connection.
struct Session {
    stream: TcpStream,
    output: Vec<u8>,
    channels: Vec<Channel>,
    feed: Option<Feed>,
    /// Whether messages or acknowledgements have come since the broker was last deaf.
    busy: bool,
}

#[derive(Clone, Debug, Default)]
struct Channel {
    confirms: bool,
    published: u64,
    confirmed: u64,
    prefetch: u16,
    /// What is missing of a message's body.
    missing: u64,
}

/// The messages of the consumer that has some.
#[derive(Debug)]
struct Feed {
    channel: ChannelId,
    deliver: basic::Deliver,
    /// A content header and a body, in their frames.
    content: Vec<u8>,
    total: u64,
    acked: u64,
    /// How many may be unacknowledged.
    prefetch: u64,
    /// Its consumer was cancelled, and may come back.
    is_paused: bool,
}

impl Session {
    fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            output: Vec::new(),
            channels: vec![Channel::default(); usize::from(CHANNEL_MAX) + 1],
            feed: None,
            busy: false,
        }
    }

    fn serve(&mut self) -> io::Result<()> {
        self.stream.set_nodelay(true)?;
        let mut header = frame::PROTOCOL_HEADER;
        self.stream.read_exact(&mut header)?;
        self.start();
        let mut input = vec![0; BLOCK];
        let mut filled = 0;
        loop {
            self.confirm();
            self.write()?;
            while self.deliver() {
                self.write()?;
            }
            if std::mem::take(&mut self.busy) {
                thread::sleep(DISTANCE);
            }
            match self.stream.read(&mut input[filled..])? {
                0 => return Ok(()),
                read => filled += read,
            }
            let taken = self.take_frames(&input[..filled]);
            input.copy_within(taken..filled, 0);
            filled -= taken;
        }
    }

    fn write(&mut self) -> io::Result<()> {
        self.stream.write_all(&self.output)?;
        self.output.clear();
        Ok(())
    }

    /// Takes whole frames from the front; how many bytes they were.
    fn take_frames(&mut self, input: &[u8]) -> usize {
        let limits = Limits {
            frame_max: FRAME_MAX,
            header_frame_max: FRAME_MAX,
        };
        let mut at = 0;
        while let Some(frame) = frame::find(&input[at..], &limits).expect("clients send frames") {
            at += frame.encoded_len();
            self.take_frame(&frame);
        }
        at
    }

    fn take_frame(&mut self, frame: &Frame<'_>) {
        let channel = &mut self.channels[frame.channel.index()];
        match frame.kind {
            FrameKind::Header => {
                let size = frame.payload[4..12].try_into().expect("these are eight");
                channel.missing = u64::from_be_bytes(size);
                self.busy = true;
            }
            FrameKind::Body => {
                channel.missing -= frame.payload.len() as u64;
                channel.published += u64::from(channel.missing == 0);
            }
            FrameKind::Heartbeat => {}
            FrameKind::Method => match frame.payload.split_at(4) {
                // The header that follows says all that there is to know.
                (PUBLISH, _) => {}
                (ACK, arguments) => {
                    let ack = basic::Ack::decode_arguments(arguments);
                    let ack = ack.expect("clients send methods");
                    self.busy = true;
                    self.acknowledged(frame.channel, &ack);
                }
                _ => {
                    let method = Method::decode(frame.payload).expect("clients send methods");
                    self.answer(frame.channel, method);
                }
            },
        }
    }

    /// What was acknowledged on another channel came from an earlier feed.
    fn acknowledged(&mut self, channel: ChannelId, ack: &basic::Ack) {
        if let Some(feed) = self.feed.as_mut().filter(|it| it.channel == channel) {
            // Everything is acknowledged in its order.
            feed.acked = ack.delivery_tag;
        }
    }

    fn answer(&mut self, number: ChannelId, method: Method) {
        let channel = &mut self.channels[number.index()];
        let reply: Method = match method {
            Method::ConnectionStartOk(_) => connection::Tune {
                channel_max: CHANNEL_MAX,
                frame_max: FRAME_MAX,
                heartbeat: 0,
            }
            .into(),
            Method::ConnectionOpen(_) => connection::OpenOk::default().into(),
            Method::ConnectionClose(_) => connection::CloseOk {}.into(),
            Method::ChannelOpen(_) => channel::OpenOk::default().into(),
            Method::ChannelClose(_) => channel::CloseOk {}.into(),
            Method::ConfirmSelect(_) => {
                channel.confirms = true;
                confirm::SelectOk {}.into()
            }
            Method::BasicQos(basic::Qos { prefetch_count, .. }) => {
                channel.prefetch = prefetch_count;
                basic::QosOk {}.into()
            }
            Method::BasicConsume(consume) => {
                let consumer_tag = consume.consumer_tag.clone();
                let is_known = |feed: &&mut Feed| feed.deliver.consumer_tag == consumer_tag;
                if let Some(feed) = self.feed.as_mut().filter(is_known) {
                    feed.is_paused = false;
                } else if !consumer_tag.as_bytes().starts_with(b"paused-") {
                    // Nothing comes to the place of a consumer that is behind.
                    self.feed = Feed::new(number, channel.prefetch, consume).or(self.feed.take());
                }
                basic::ConsumeOk { consumer_tag }.into()
            }
            Method::BasicCancel(basic::Cancel { consumer_tag, .. }) => {
                if let Some(feed) = &mut self.feed {
                    feed.is_paused |= feed.deliver.consumer_tag == consumer_tag;
                }
                basic::CancelOk { consumer_tag }.into()
            }
            Method::QueueDeclare(queue::Declare { queue, .. }) => queue::DeclareOk {
                queue,
                ..Default::default()
            }
            .into(),
            _ => return,
        };
        self.say(number, &reply);
    }

    /// Says what a broker says first.
    fn start(&mut self) {
        let mut capabilities = FieldTable::new();
        for capability in ["publisher_confirms", "basic.nack", "consumer_cancel_notify"] {
            capabilities
                .insert(capability, true)
                .expect("the name is short");
        }
        let mut server_properties = FieldTable::new();
        server_properties
            .insert("capabilities", &capabilities)
            .expect("the name is short");
        let start = connection::Start {
            version_major: 0,
            version_minor: 9,
            server_properties,
            mechanisms: "PLAIN".into(),
            locales: "en_US".into(),
        };
        self.say(ChannelId(0), &start.into());
    }

    fn say(&mut self, channel: ChannelId, method: &Method) {
        frame::encode(&mut self.output, FrameKind::Method, channel, |out| {
            method.encode(out);
        });
    }

    /// Confirms what was published since, by one ack for each channel.
    fn confirm(&mut self) {
        for (number, channel) in (0..).zip(&mut self.channels) {
            if channel.confirms && channel.confirmed < channel.published {
                channel.confirmed = channel.published;
                let ack = basic::Ack {
                    delivery_tag: channel.confirmed,
                    multiple: true,
                };
                frame::encode(
                    &mut self.output,
                    FrameKind::Method,
                    ChannelId(number),
                    |out| {
                        ack.encode(out);
                    },
                );
            }
        }
    }

    /// Whether there was anything to deliver.
    fn deliver(&mut self) -> bool {
        let Some(feed) = self.feed.as_mut().filter(|feed| !feed.is_paused) else {
            return false;
        };
        let from = feed.deliver.delivery_tag;
        let to = feed.total.min(feed.acked + feed.prefetch);
        let (messages, bytes) = BATCH;
        let to = to.min(from + messages);
        for tag in from + 1..=to {
            if self.output.len() >= bytes {
                break;
            }
            feed.deliver.delivery_tag = tag;
            let deliver = &feed.deliver;
            frame::encode(&mut self.output, FrameKind::Method, feed.channel, |out| {
                deliver.encode(out);
            });
            self.output.extend_from_slice(&feed.content);
        }
        from < to
    }
}

impl Feed {
    /// The feed that a queue is, by its name.
    fn new(channel: ChannelId, prefetch: u16, consume: basic::Consume) -> Option<Self> {
        let name = std::str::from_utf8(consume.queue.as_bytes()).ok()?;
        let feed = name.strip_prefix("feed-")?;
        let (total, body) = match feed.split_once('-') {
            Some((total, size)) => (total, vec![b'.'; size.parse().ok()?]),
            None => (feed, BODY.to_vec()),
        };
        let total = total.parse().ok()?;
        let mut content = Vec::new();
        frame::encode(&mut content, FrameKind::Header, channel, |out| {
            out.extend([0, 60, 0, 0]);
            out.extend((body.len() as u64).to_be_bytes());
            out.extend([0, 0]);
        });
        frame::encode(&mut content, FrameKind::Body, channel, |out| {
            out.extend(&body);
        });
        Some(Self {
            channel,
            deliver: basic::Deliver {
                consumer_tag: consume.consumer_tag,
                delivery_tag: 0,
                redelivered: false,
                exchange: ShortString::default(),
                routing_key: consume.queue,
            },
            content,
            total,
            acked: 0,
            is_paused: false,
            prefetch: if consume.no_ack {
                total
            } else {
                prefetch.into()
            },
        })
    }
}

/// The ids of basic.publish and basic.ack, as they come.
const PUBLISH: &[u8] = &[0, 60, 0, 40];
const ACK: &[u8] = &[0, 60, 0, 80];
