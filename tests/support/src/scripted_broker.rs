//! A broker by script, on a port of 127.0.0.1: for what other brokers do and RabbitMQ does not.
//!
//! It is the codec's server side with a few lines of behaviour: it does as it is told, unless its
//! script refuses.

use std::collections::HashMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread;
use std::time::{Duration, Instant};

use bytes::{Buf as _, Bytes, BytesMut};
use snowshoe::codec::frame::{self, FrameKind};
use snowshoe::codec::method::{basic, channel, confirm, exchange, queue};
use snowshoe::codec::{ChannelId, Connection, Event, Method, MethodId, Properties, ServerOptions};
use snowshoe::{ReplyCode, ShortString};

/// What the broker hears that a script may refuse.
#[derive(Debug)]
pub enum Heard<'a> {
    /// A call.
    Method(&'a Method),
    /// The body of a message.
    Published(&'a [u8]),
}

/// What the broker says to it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// What a broker says that has done it.
    Usual,
    /// Nothing.
    Silence,
    /// The channel is closed over it.
    Refuse(ReplyCode, &'static str),
    /// To basic.consume: it does that, and sends so many messages of this size whatever the prefetch.
    Flood(u64, usize),
    /// So many channel.flow on its channel, while nothing is read, and then what is usual.
    FlowFlood(usize),
}

/// Messages for a consumer, as fast as they are taken.
struct Flood {
    channel: ChannelId,
    consumer_tag: ShortString,
    sent: u64,
    messages: u64,
    body: Bytes,
}

type Script = Arc<Mutex<dyn FnMut(&Heard<'_>) -> Answer + Send>>;

/// It ends when it is dropped, and its connections when their clients end them.
#[derive(Debug)]
pub struct Broker {
    address: SocketAddr,
    ended: Arc<AtomicBool>,
}

impl Broker {
    /// Starts a broker that asks the script about all it hears.
    pub fn start(script: impl FnMut(&Heard<'_>) -> Answer + Send + 'static) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).expect("127.0.0.1 has free ports");
        let address = listener.local_addr().expect("it is bound");
        let ended = Arc::new(AtomicBool::new(false));
        let script: Script = Arc::new(Mutex::new(script));
        thread::spawn({
            let ended = Arc::clone(&ended);
            move || {
                for stream in listener.incoming() {
                    if ended.load(Ordering::Relaxed) {
                        return;
                    }
                    let (stream, script) = (stream, Arc::clone(&script));
                    // A connection that fails is the client's to notice.
                    thread::spawn(move || stream.and_then(|stream| serve(stream, &script)));
                }
            }
        });
        Self { address, ended }
    }

    /// The URI of this broker.
    pub fn url(&self) -> String {
        format!("amqp://guest:guest@{}", self.address)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        self.ended.store(true, Ordering::Relaxed);
        // So that it looks.
        _ = TcpStream::connect(self.address);
    }
}

/// One client's connection.
struct Session {
    connection: Connection,
    script: Script,
    /// How many messages were published on each channel.
    published: HashMap<ChannelId, u64>,
    flood: Option<Flood>,
    /// What was said before, and what is to be said without listening, and how often.
    flow_flood: Option<(Bytes, Vec<u8>, usize)>,
}

fn serve(mut stream: TcpStream, script: &Script) -> io::Result<()> {
    // Now and then heartbeats are due.
    stream.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut session = Session {
        connection: Connection::server(ServerOptions::default(), Instant::now()),
        script: Arc::clone(script),
        published: HashMap::new(),
        flood: None,
        flow_flood: None,
    };
    let mut input = BytesMut::new();
    let mut buffer = vec![0; 64 * 1024];
    while !session.connection.is_closed() {
        // Who has much to say does not wait for what is said to it.
        stream.set_nonblocking(session.pour())?;
        let read = stream.read(&mut buffer);
        stream.set_nonblocking(false)?;
        match read {
            Ok(0) => return Ok(()),
            Ok(len) => input.extend_from_slice(&buffer[..len]),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Err(error) => return Err(error),
        }
        let mut is_behind = true;
        while is_behind {
            is_behind = session.connection.receive(Instant::now(), &mut input);
            while session.speak(&mut stream)? {}
        }
    }
    Ok(())
}

impl Session {
    /// Reacts to what was heard, and whether there was anything to say to it.
    fn speak(&mut self, stream: &mut TcpStream) -> io::Result<bool> {
        self.connection.handle_timeout(Instant::now());
        while let Some(event) = self.connection.poll_event() {
            self.react(event);
        }
        if let Some((said, frame, times)) = self.flow_flood.take() {
            stream.write_all(&said)?;
            let many = frame.repeat(1000);
            for _ in 0..times.div_ceil(1000) {
                stream.write_all(&many)?;
            }
        }
        let outbound = self.connection.outbound();
        let bytes = outbound.copy_to_bytes(outbound.remaining());
        stream.write_all(&bytes)?;
        Ok(!bytes.is_empty())
    }

    /// Delivers some of a flood. Whether there was any.
    fn pour(&mut self) -> bool {
        let Some(mut flood) = self.flood.take_if(|it| it.sent < it.messages) else {
            return false;
        };
        for _ in 0..10 {
            flood.sent += 1;
            let deliver = basic::Deliver {
                consumer_tag: flood.consumer_tag.clone(),
                delivery_tag: flood.sent,
                ..Default::default()
            };
            if let Some(mut channel) = self.connection.channel(flood.channel) {
                // One that is closed takes no more.
                _ = channel.send_content(deliver, &Properties::EMPTY, &flood.body);
            }
        }
        self.flood = Some(flood);
        true
    }

    fn react(&mut self, event: Event) {
        match event {
            // What the client said before it heard that the channel is closed is not looked at.
            Event::Request { channel, .. } | Event::Published { channel, .. }
                if channel != ChannelId(0) && !self.is_open(channel) => {}
            Event::Login { .. } => self.connection.accept_login(),
            Event::OpenRequested { .. } => self.connection.accept_open(),
            Event::ChannelOpen { channel } => _ = self.published.insert(channel, 0),
            Event::Request { channel, method } => match self.ask(&Heard::Method(&method)) {
                Answer::Usual => self.comply(channel, *method),
                Answer::Silence => {}
                Answer::Flood(messages, len) => {
                    if let Method::BasicConsume(consume) = &*method {
                        self.flood = Some(Flood {
                            channel,
                            consumer_tag: consume.consumer_tag.clone(),
                            sent: 0,
                            messages,
                            body: vec![b'.'; len].into(),
                        });
                    }
                    self.comply(channel, *method);
                }
                Answer::FlowFlood(times) => {
                    let mut frame = Vec::new();
                    frame::encode(&mut frame, FrameKind::Method, channel, |out| {
                        Method::from(channel::Flow { active: true }).encode(out);
                    });
                    let outbound = self.connection.outbound();
                    let said = outbound.copy_to_bytes(outbound.remaining());
                    self.flow_flood = Some((said, frame, times));
                    self.comply(channel, *method);
                }
                refusal @ Answer::Refuse(..) => self.refuse(channel, refusal, method.id()),
            },
            Event::Published { channel, published } => {
                match self.ask(&Heard::Published(published.content.body())) {
                    Answer::Usual | Answer::Flood(..) | Answer::FlowFlood(_) => {
                        self.confirm(channel);
                    }
                    Answer::Silence => *self.published.entry(channel).or_default() += 1,
                    refusal @ Answer::Refuse(..) => {
                        self.refuse(
                            channel,
                            refusal,
                            Method::from(basic::Publish::default()).id(),
                        );
                    }
                }
            }
            _ => {}
        }
    }

    fn ask(&mut self, heard: &Heard<'_>) -> Answer {
        let mut script = self.script.lock().expect("no script panics");
        script(heard)
    }

    fn comply(&mut self, channel: ChannelId, method: Method) {
        let reply: Method = match method {
            Method::ExchangeDeclare(_) => exchange::DeclareOk {}.into(),
            Method::QueueDeclare(queue::Declare { queue, .. }) => queue::DeclareOk {
                queue,
                ..Default::default()
            }
            .into(),
            Method::QueueBind(_) => queue::BindOk {}.into(),
            Method::ConfirmSelect(_) => confirm::SelectOk {}.into(),
            Method::BasicQos(_) => basic::QosOk {}.into(),
            Method::BasicConsume(basic::Consume { consumer_tag, .. }) => {
                basic::ConsumeOk { consumer_tag }.into()
            }
            Method::BasicCancel(basic::Cancel { consumer_tag, .. }) => {
                self.flood.take_if(|it| it.consumer_tag == consumer_tag);
                basic::CancelOk { consumer_tag }.into()
            }
            // No test asks for more yet.
            _ => return,
        };
        self.send(channel, reply);
    }

    fn confirm(&mut self, channel: ChannelId) {
        let count = self.published.entry(channel).or_default();
        *count += 1;
        let delivery_tag = *count;
        // LavinMQ sets it on every ack.
        let multiple = true;
        self.send(
            channel,
            basic::Ack {
                delivery_tag,
                multiple,
            },
        );
    }

    fn send(&mut self, channel: ChannelId, method: impl Into<Method>) {
        let mut channel = self.connection.channel(channel).expect("it is open");
        let sent = channel.send(Instant::now(), method);
        sent.expect("a server may send it");
    }

    fn refuse(&mut self, channel: ChannelId, refusal: Answer, method: MethodId) {
        let Answer::Refuse(code, text) = refusal else {
            unreachable!("it refuses")
        };
        let mut channel = self.connection.channel(channel).expect("it is open");
        let text = ShortString::from_static(text);
        let closed = channel.close_over(Instant::now(), code, text, method);
        closed.expect("it is open");
    }

    fn is_open(&mut self, channel: ChannelId) -> bool {
        let channel = self.connection.channel(channel);
        channel.is_some_and(|channel| channel.is_open())
    }
}
