//! A broker by script, and what is at the other end of its line, in virtual time.
//!
//! The [`Broker`] is the codec's server side with a few lines of behaviour: it does as it is told,
//! unless its script says otherwise. A [`Line`] puts a bare connection opposite to it, a [`World`] a
//! whole session. Nothing sleeps and nothing is read from a clock: what is due happens when the
//! test lets the time pass.

use std::collections::{HashMap, VecDeque};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::{Buf, BufMut, Bytes, BytesMut};
use snowshoe_codec::frame::FRAME_END;
use snowshoe_codec::method::{basic, confirm, exchange, queue};
use snowshoe_codec::sasl::Plain;
use snowshoe_codec::{
    ClientOptions, Connection, ConnectionLimits, Delivery, Event, FrameKind, Method, MethodId,
    Outbound, Properties, ReplyCode, ServerOptions, ShortString,
};

use super::Epoch;
use super::backoff::Backoff;
use super::session::{Output, Session, Settings};
use super::supervisor::{self, Timeouts};
use super::topology::Topology;
use crate::error::ConnectionError;

pub(crate) fn name(text: &str) -> ShortString {
    text.try_into().expect("names in tests are short")
}

/// What the broker does about a method.
#[derive(Debug)]
pub(crate) enum Answer {
    /// It does it, and says so.
    Usual,
    /// It says nothing.
    Silence,
    /// It closes the channel over it.
    Refuse(ReplyCode, &'static str),
    /// It closes the connection over it.
    End(ReplyCode),
}

/// A message that the broker took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Arrival {
    pub(crate) channel: u16,
    /// Its number on the channel, from 1.
    pub(crate) tag: u64,
    pub(crate) body: String,
}

/// A broker for one connection at a time.
pub(crate) struct Broker {
    connection: Option<Connection>,
    limits: ConnectionLimits,
    /// What it does about a method; the usual thing by default.
    pub(crate) script: Box<dyn FnMut(&Method) -> Answer>,
    /// Whether it lets clients in; otherwise it keeps them waiting in the handshake.
    pub(crate) lets_in: bool,
    /// The methods it was sent since it was last asked, oldest first.
    pub(crate) requests: Vec<(u16, Method)>,
    /// The messages it took. One whose body begins with "poison" is refused instead, with a 404.
    pub(crate) arrivals: Vec<Arrival>,
    /// How many messages came on each channel.
    tags: HashMap<u16, u64>,
    /// Consumer tags by channel.
    consumers: HashMap<u16, ShortString>,
    queues_named: usize,
    /// How many methods it lives to see; any number by default.
    pub(crate) dies_after: Option<usize>,
    is_dead: bool,
}

impl Broker {
    pub(crate) fn new(limits: ConnectionLimits) -> Self {
        Self {
            connection: None,
            limits,
            script: Box::new(|_| Answer::Usual),
            lets_in: true,
            requests: Vec::new(),
            arrivals: Vec::new(),
            tags: HashMap::new(),
            consumers: HashMap::new(),
            queues_named: 0,
            dies_after: None,
            is_dead: false,
        }
    }

    /// A client has connected its transport.
    fn accept(&mut self, now: Instant) {
        let options = ServerOptions {
            limits: self.limits.clone(),
            ..ServerOptions::default()
        };
        self.connection = Some(Connection::server(options, now));
        self.tags.clear();
        self.consumers.clear();
    }

    fn hear(&mut self, now: Instant, mut bytes: BytesMut) {
        let mut is_behind = true;
        while is_behind && let Some(connection) = &mut self.connection {
            is_behind = connection.receive(now, &mut bytes);
            while let Some(event) = self.connection().poll_event() {
                self.react(now, event);
            }
        }
    }

    fn react(&mut self, now: Instant, event: Event) {
        match event {
            _ if self.is_dead => {}
            // What the client sent before it heard that the channel is closed is not looked at.
            Event::Request { channel, .. } | Event::Published { channel, .. }
                if channel != 0 && !self.is_open(channel) => {}
            Event::Login { .. } if self.lets_in => self.connection().accept_login(),
            Event::OpenRequested { .. } => self.connection().accept_open(),
            Event::ChannelOpen { channel } => _ = self.tags.insert(channel, 0),
            Event::Request { .. } if self.dies_after == Some(0) => {
                self.dies_after = None;
                self.is_dead = true;
            }
            Event::Request { channel, method } => {
                let method = *method;
                self.dies_after = self.dies_after.map(|left| left - 1);
                self.requests.push((channel, method.clone()));
                match (self.script)(&method) {
                    Answer::Usual => self.comply(now, channel, method),
                    Answer::Silence => {}
                    Answer::Refuse(code, text) => {
                        self.close_channel(now, channel, code, text, method.id());
                    }
                    Answer::End(code) => self.close_over(now, code, method.id()),
                }
            }
            Event::Published { channel, published } => {
                let body = String::from_utf8_lossy(published.content.body()).into_owned();
                if body.starts_with("poison") {
                    let method = Method::from(basic::Publish::default()).id();
                    self.close_channel(now, channel, ReplyCode::NOT_FOUND, "poison", method);
                    return;
                }
                let tag = self.tags.entry(channel).or_default();
                *tag += 1;
                let tag = *tag;
                self.arrivals.push(Arrival { channel, tag, body });
            }
            _ => {}
        }
    }

    /// Does as it is told.
    fn comply(&mut self, now: Instant, channel: u16, method: Method) {
        let reply: Method = match method {
            Method::ExchangeDeclare(_) => exchange::DeclareOk {}.into(),
            Method::ExchangeDelete(_) => exchange::DeleteOk {}.into(),
            Method::ExchangeBind(_) => exchange::BindOk {}.into(),
            Method::ExchangeUnbind(_) => exchange::UnbindOk {}.into(),
            Method::QueueDeclare(declare) => {
                let mut queue = declare.queue;
                if queue.is_empty() {
                    self.queues_named += 1;
                    queue = name(&format!("amq.gen-{}", self.queues_named));
                }
                queue::DeclareOk {
                    queue,
                    ..Default::default()
                }
                .into()
            }
            Method::QueueBind(_) => queue::BindOk {}.into(),
            Method::QueueUnbind(_) => queue::UnbindOk {}.into(),
            Method::QueueDelete(_) => queue::DeleteOk::default().into(),
            Method::BasicQos(_) => basic::QosOk {}.into(),
            Method::BasicConsume(basic::Consume { consumer_tag, .. }) => {
                self.consumers.insert(channel, consumer_tag.clone());
                basic::ConsumeOk { consumer_tag }.into()
            }
            Method::BasicCancel(basic::Cancel { consumer_tag, .. }) => {
                basic::CancelOk { consumer_tag }.into()
            }
            Method::ConfirmSelect(_) => confirm::SelectOk {}.into(),
            // Acks and the like have no answer.
            _ => return,
        };
        self.send(now, channel, reply);
    }

    /// Sends any method of a server's.
    pub(crate) fn send(&mut self, now: Instant, channel: u16, method: impl Into<Method>) {
        let mut channel = self.connection().channel(channel).expect("it is open");
        channel.send(now, method).expect("a server may send it");
    }

    pub(crate) fn ack(&mut self, now: Instant, channel: u16, delivery_tag: u64, multiple: bool) {
        let ack = basic::Ack {
            delivery_tag,
            multiple,
        };
        self.send(now, channel, ack);
    }

    pub(crate) fn nack(&mut self, now: Instant, channel: u16, delivery_tag: u64, multiple: bool) {
        let nack = basic::Nack {
            delivery_tag,
            multiple,
            requeue: false,
        };
        self.send(now, channel, nack);
    }

    /// Gives a message back that no queue took.
    pub(crate) fn return_message(&mut self, channel: u16, routing_key: &str, body: &str) {
        self.return_with(channel, routing_key, &Properties::default(), body);
    }

    pub(crate) fn return_with(
        &mut self,
        channel: u16,
        routing_key: &str,
        properties: &Properties,
        body: &str,
    ) {
        let method = basic::Return {
            reply_code: ReplyCode::NO_ROUTE,
            reply_text: name("NO_ROUTE"),
            exchange: ShortString::EMPTY,
            routing_key: name(routing_key),
        };
        let body = Bytes::copy_from_slice(body.as_bytes());
        let mut channel = self.connection().channel(channel).expect("it is open");
        channel
            .send_content(method, properties, &body)
            .expect("a server may return it");
    }

    /// Delivers a message to the consumer on a channel.
    pub(crate) fn deliver(&mut self, channel: u16, delivery_tag: u64, body: &'static str) {
        let method = basic::Deliver {
            consumer_tag: self.consumers[&channel].clone(),
            delivery_tag,
            ..Default::default()
        };
        let mut channel = self.connection().channel(channel).expect("it is open");
        channel
            .send_content(method, &Properties::default(), &Bytes::from(body))
            .expect("a server may deliver it");
    }

    /// Cancels the consumer on a channel, as when its queue is deleted.
    pub(crate) fn cancel_consumer(&mut self, now: Instant, channel: u16) {
        let cancel = basic::Cancel {
            consumer_tag: self.consumers[&channel].clone(),
            nowait: true,
        };
        self.send(now, channel, cancel);
    }

    /// Closes a channel over a method, or over none, where its ids are zero.
    pub(crate) fn close_channel(
        &mut self,
        now: Instant,
        channel: u16,
        code: ReplyCode,
        text: &str,
        method: MethodId,
    ) {
        let mut channel = self.connection().channel(channel).expect("it is open");
        channel
            .close_over(now, code, name(text), method)
            .expect("it is open");
    }

    /// Closes the connection, in order.
    pub(crate) fn close(&mut self, now: Instant, code: ReplyCode) {
        self.connection().close(now, code, name("closed by script"));
    }

    /// Closes the connection over a method.
    pub(crate) fn close_over(&mut self, now: Instant, code: ReplyCode, method: MethodId) {
        let text = name("closed over a method");
        self.connection().close_over(now, code, text, method);
    }

    /// Whether a channel is open, as far as the broker knows.
    pub(crate) fn is_open(&mut self, channel: u16) -> bool {
        let channel = self.connection().channel(channel);
        channel.is_some_and(|channel| channel.is_open())
    }

    pub(crate) fn connection(&mut self) -> &mut Connection {
        self.connection.as_mut().expect("somebody is connected")
    }

    fn poll_timeout(&self) -> Option<Instant> {
        self.connection.as_ref()?.poll_timeout()
    }

    fn handle_timeout(&mut self, now: Instant) {
        if let Some(connection) = &mut self.connection {
            connection.handle_timeout(now);
        }
    }

    fn speak(&mut self) -> BytesMut {
        self.connection
            .as_mut()
            .map_or_else(BytesMut::new, |connection| take(connection.outbound()))
    }
}

/// Everything that waits to be written.
fn take(outbound: &mut Outbound) -> BytesMut {
    BytesMut::from(outbound.copy_to_bytes(outbound.remaining()))
}

/// What a consumer is delivered, from tag 1 on.
pub(crate) fn deliveries(bodies: &[&'static str]) -> Vec<Delivery> {
    let mut line = Line::open(ConnectionLimits::default());
    let channel = line.open_channel();
    let consume = basic::Consume::default();
    let mut opened = line.client.channel(channel).expect("it is open");
    opened.send(line.now, consume).expect("it is open");
    line.run();
    for (tag, body) in (1..).zip(bodies) {
        line.broker.deliver(channel, tag, body);
    }
    let delivery = |event| match event {
        Event::Delivery { delivery, .. } => Some(delivery),
        _ => None,
    };
    line.run().into_iter().filter_map(delivery).collect()
}

/// A method's frame as it is on the wire, for what the codec's server does not say.
pub(crate) fn frame(channel: u16, method: impl Into<Method>) -> BytesMut {
    let mut payload = Vec::new();
    method.into().encode(&mut payload);
    let mut frame = BytesMut::from(&[FrameKind::Method as u8][..]);
    frame.put_u16(channel);
    frame.put_u32(payload.len() as u32);
    frame.put_slice(&payload);
    frame.put_u8(FRAME_END);
    frame
}

fn client_options(limits: ConnectionLimits) -> ClientOptions {
    ClientOptions {
        limits,
        ..ClientOptions::new(Plain::new("guest", "guest"))
    }
}

/// A connection that is open, without a session: the codec's client and the broker.
pub(crate) struct Line {
    pub(crate) now: Instant,
    pub(crate) client: Connection,
    pub(crate) broker: Broker,
}

impl Line {
    /// A client that is logged in.
    pub(crate) fn open(limits: ConnectionLimits) -> Self {
        let now = Instant::now();
        let mut broker = Broker::new(ConnectionLimits::default());
        broker.accept(now);
        let mut line = Self {
            now,
            client: Connection::client(client_options(limits), now),
            broker,
        };
        line.run();
        assert!(line.client.is_open());
        line
    }

    /// Opens a channel.
    pub(crate) fn open_channel(&mut self) -> u16 {
        let channel = self.client.open_channel(self.now).expect("one is free");
        self.run();
        channel
    }

    /// Carries bytes to and fro until nobody has anything to say; gives what the client heard.
    pub(crate) fn run(&mut self) -> Vec<Event> {
        let mut events = Vec::new();
        loop {
            // The handshake waits for its bytes to be written.
            self.client.handle_timeout(self.now);
            let there = take(self.client.outbound());
            let nothing_there = there.is_empty();
            self.broker.hear(self.now, there);
            let mut back = self.broker.speak();
            let nothing_back = back.is_empty();
            let mut is_behind = true;
            while is_behind {
                is_behind = self.client.receive(self.now, &mut back);
                events.extend(std::iter::from_fn(|| self.client.poll_event()));
            }
            if nothing_there && nothing_back {
                return events;
            }
        }
    }
}

/// What lies between a session and the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Network {
    /// Bytes arrive at once.
    Good,
    /// Nobody can be reached; who is connected stays so.
    Refuses,
    /// Bytes vanish in both directions, and so do attempts to connect.
    BlackHole,
}

/// A session opposite to the broker.
pub(crate) struct World {
    pub(crate) now: Instant,
    pub(crate) session: Session,
    pub(crate) topology: Topology,
    pub(crate) broker: Broker,
    pub(crate) network: Network,
    /// What the session proposes for its next connection.
    pub(crate) limits: ConnectionLimits,
    /// Whether there is a transport.
    connected: bool,
    /// How often the session was told that time has passed.
    pub(crate) wakeups: usize,
    /// Attempts that the network leaves without an answer.
    pub(crate) dialing: VecDeque<Epoch>,
    outputs: Vec<Output>,
}

pub(crate) fn settings() -> Settings {
    Settings {
        supervisor: supervisor::Config {
            endpoints: NonZeroUsize::MIN,
            backoff: Backoff::default(),
            timeouts: Timeouts {
                dial: Duration::from_secs(5),
                handshake: Duration::from_secs(10),
                recovery: Duration::from_secs(25),
            },
            fail_fast: true,
        },
        backoff: Backoff::default(),
        owns_exclusive_queues: true,
        seed: 7,
    }
}

impl World {
    /// A session that has been told to start, and nothing more.
    pub(crate) fn new(settings: Settings) -> Self {
        let now = Instant::now();
        let mut session = Session::new(settings);
        session.start(now);
        Self {
            now,
            session,
            topology: Topology::default(),
            broker: Broker::new(ConnectionLimits::default()),
            network: Network::Good,
            limits: ConnectionLimits::default(),
            connected: false,
            wakeups: 0,
            dialing: VecDeque::new(),
            outputs: Vec::new(),
        }
    }

    /// A session that is ready.
    pub(crate) fn ready() -> Self {
        Self::with_channels(ConnectionLimits::default().channel_max)
    }

    /// A session that is ready, on a connection that has so many channels.
    pub(crate) fn with_channels(channel_max: u16) -> Self {
        let mut world = Self::new(settings());
        world.limits.channel_max = channel_max;
        world.run();
        assert!(world.session.is_ready());
        world.outputs.clear();
        world
    }

    /// Does everything that can be done without time passing.
    pub(crate) fn run(&mut self) {
        for _ in 0..10_000 {
            if !self.step() {
                // Nothing is left to do, so nothing may be due: a driver would spin.
                let timeout = self.session.poll_timeout();
                assert!(timeout.is_none_or(|at| at > self.now));
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// Lets the time pass, with a stop wherever something is due.
    pub(crate) fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        self.run();
        while let Some(next) = [self.session.poll_timeout(), self.broker.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
            .filter(|next| *next <= until)
        {
            self.now = self.now.max(next);
            self.broker.handle_timeout(self.now);
            self.run();
        }
        self.now = until;
    }

    /// Lets the time pass until the session is ready again, which it is to be within a minute.
    pub(crate) fn pass_until_ready(&mut self) {
        for _ in 0..600 {
            self.pass(Duration::from_millis(100));
            if self.session.is_ready() {
                return;
            }
        }
        panic!("it does not come back");
    }

    /// Resets the connection.
    pub(crate) fn cut(&mut self) {
        self.connected = false;
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let error = ConnectionError::Transport(std::sync::Arc::new(reset));
        self.session.transport_ended(self.now, Some(error));
        self.run();
    }

    /// Closes the session, if possible in order within a second.
    pub(crate) fn close(&mut self) {
        let deadline = self.now + Duration::from_secs(1);
        self.session.close(self.now, deadline);
        self.run();
    }

    /// Makes a call.
    pub(crate) fn call(&mut self, token: u64, method: impl Into<Method>) {
        self.session.call(self.now, token, method.into());
        self.run();
    }

    /// Publishes on a producer's channel, which is to be online.
    pub(crate) fn publish(&mut self, producer: usize, body: &'static str) {
        let mut channel = self.session.producer_channel(producer).expect("online");
        channel
            .publish(&snowshoe_codec::Publish {
                exchange: name("").as_short_str(),
                routing_key: name("q").as_short_str(),
                mandatory: false,
                properties: &Properties::default(),
                body: &Bytes::from(body),
            })
            .expect("it fits into a frame");
        self.run();
    }

    /// The channel of a consumer, as the broker sees it.
    pub(crate) fn consumer_channel(&mut self, consumer: usize) -> u16 {
        let channel = self.session.consumer_channel(consumer);
        channel.expect("it has a channel").id()
    }

    /// What the session said since it was last asked.
    pub(crate) fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The methods that the broker was sent since it was last asked.
    pub(crate) fn requests(&mut self) -> Vec<Method> {
        let requests = std::mem::take(&mut self.broker.requests);
        requests.into_iter().map(|(_, method)| method).collect()
    }

    /// What those methods are called.
    pub(crate) fn request_names(&mut self) -> Vec<&'static str> {
        self.requests().iter().map(Method::name).collect()
    }

    /// One round of a driver's loop; whether anything moved.
    fn step(&mut self) -> bool {
        let mut moved = self.exchange();
        if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now, &self.topology);
            self.wakeups += 1;
            moved = true;
        }
        while let Some(output) = self.session.poll_output(self.now, &mut self.topology) {
            moved = true;
            self.carry_out(output);
        }
        moved
    }

    /// Carries the bytes that wait; whether there were any.
    pub(crate) fn exchange(&mut self) -> bool {
        let lost = self.network == Network::BlackHole;
        let there = self
            .session
            .outbound()
            .filter(|_| self.connected)
            .map_or_else(BytesMut::new, take);
        let mut back = self.broker.speak();
        let moved = !there.is_empty() || !back.is_empty();
        if !lost && self.connected {
            let outputs = &mut self.outputs;
            let is_behind = (self.session).receive(self.now, &mut back, |consumer, delivery| {
                outputs.push(Output::Delivery { consumer, delivery });
            });
            assert!(!is_behind, "more events at once than a world is made for");
            self.broker.hear(self.now, there);
        }
        if self.broker.is_dead {
            self.broker.is_dead = false;
            self.cut();
        }
        moved
    }

    fn carry_out(&mut self, output: Output) {
        match &output {
            Output::Dial { epoch, .. } => match self.network {
                Network::Good => self.connect(*epoch),
                Network::BlackHole => self.dialing.push_back(*epoch),
                Network::Refuses => {
                    let refused = std::io::Error::from(std::io::ErrorKind::ConnectionRefused);
                    let error = ConnectionError::Dial(std::sync::Arc::new(refused));
                    self.session.dial_failed(self.now, *epoch, error);
                }
            },
            Output::Abort | Output::Finish(_) => self.connected = false,
            _ => {}
        }
        self.outputs.push(output);
    }

    /// The transport of an attempt is connected; whether the session still wants it.
    pub(crate) fn connect(&mut self, epoch: Epoch) {
        let options = client_options(self.limits.clone());
        if self.session.dialed(self.now, epoch, options) {
            self.connected = true;
            self.broker.accept(self.now);
        }
    }

    /// Whether there is a transport.
    pub(crate) fn is_connected(&self) -> bool {
        self.connected
    }
}
