//! A broker by script, and what is at the other end of its line, in virtual time.
//!
//! The [`Broker`] is the codec's server side with a few lines of behaviour: it does as it is told,
//! unless its script says otherwise. A [`Line`] puts a bare connection opposite to it, a [`World`] a
//! whole session. Nothing sleeps and nothing is read from a clock: what is due happens when the
//! test lets the time pass.

mod world;

use std::collections::HashMap;
use std::time::Instant;

use bytes::{Buf, BufMut, Bytes, BytesMut};
use snowshoe_codec::frame::{self, FRAME_END};
use snowshoe_codec::method::{Arguments, basic, channel, confirm, exchange, queue};
use snowshoe_codec::sasl::Plain;
use snowshoe_codec::{
    ChannelId, ClientOptions, Connection, ConnectionLimits, Delivery, Event, FrameKind, Method,
    MethodId, Outbound, Properties, ReplyCode, ServerOptions, ShortString,
};

pub use self::world::{Network, World, settings};

pub fn name(text: &str) -> ShortString {
    text.try_into().expect("names in tests are short")
}

/// What the broker does about a method.
#[derive(Debug)]
pub enum Answer {
    /// It does it, and says so.
    Usual,
    /// It says nothing.
    Silence,
    /// It closes the channel over it.
    Refuse(ReplyCode, &'static str),
    /// It closes the connection over it.
    End(ReplyCode),
    /// It closes the connection over it, and names no method.
    EndUnnamed(ReplyCode),
}

/// A message that the broker took.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Arrival {
    pub channel: ChannelId,
    /// Its number on the channel, from 1.
    pub tag: u64,
    pub body: String,
    pub mandatory: bool,
    pub properties: Properties,
}

/// A broker for one connection at a time.
pub struct Broker {
    connection: Option<Connection>,
    limits: ConnectionLimits,
    /// What it does about a method; the usual thing by default.
    pub script: Box<dyn FnMut(&Method) -> Answer>,
    /// Whether it lets clients in; otherwise it keeps them waiting in the handshake.
    pub lets_in: bool,
    /// The methods it was sent since it was last asked, oldest first.
    pub requests: Vec<(ChannelId, Method)>,
    /// The messages it took. One whose body begins with "poison" is refused instead, with a 404.
    pub arrivals: Vec<Arrival>,
    /// How many messages came on each channel.
    tags: HashMap<ChannelId, u64>,
    /// Consumer tags by channel.
    consumers: HashMap<ChannelId, ShortString>,
    queues_named: usize,
    /// How many methods it lives to see; any number by default.
    pub dies_after: Option<usize>,
    /// How many channels it allows without having said so.
    pub most_channels: usize,
    is_dead: bool,
}

impl Broker {
    pub fn new(limits: ConnectionLimits) -> Self {
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
            most_channels: usize::MAX,
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
        while let Some(mut frame) = self.frame_with_limited_channels(&mut bytes) {
            if MethodId::split_from(&frame[7..]).is_ok_and(|(id, _)| id == channel::Open::ID)
                && self.tags.len() >= self.most_channels
            {
                return self.close(now, ReplyCode::NOT_ALLOWED);
            }
            self.hear_all(now, &mut frame);
        }
        self.hear_all(now, &mut bytes);
    }

    /// The next frame, where they are to be looked at one by one.
    fn frame_with_limited_channels(&self, bytes: &mut BytesMut) -> Option<BytesMut> {
        let is_greeting = bytes.starts_with(b"AMQP");
        let limits = frame::Limits {
            frame_max: u32::MAX,
            header_frame_max: u32::MAX,
        };
        let frame = frame::find(bytes, &limits).ok().flatten();
        let len = frame.filter(|_| !is_greeting)?.encoded_len();
        (self.most_channels < usize::MAX).then(|| bytes.split_to(len))
    }

    fn hear_all(&mut self, now: Instant, bytes: &mut BytesMut) {
        let mut is_behind = true;
        while is_behind && let Some(connection) = &mut self.connection {
            is_behind = connection.receive(now, bytes);
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
                if channel != ChannelId(0) && !self.is_open(channel) => {}
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
                    Answer::EndUnnamed(code) => self.close(now, code),
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
                let mandatory = published.mandatory;
                let properties = Bytes::copy_from_slice(published.content.raw_properties());
                let properties = Properties::from_encoded(properties);
                self.arrivals.push(Arrival {
                    channel,
                    tag,
                    body,
                    mandatory,
                    properties,
                });
            }
            _ => {}
        }
    }

    /// Does as it is told.
    fn comply(&mut self, now: Instant, channel: ChannelId, method: Method) {
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
            Method::QueuePurge(_) => queue::PurgeOk::default().into(),
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
    pub fn send(&mut self, now: Instant, channel: ChannelId, method: impl Into<Method>) {
        let mut channel = self.connection().channel(channel).expect("it is open");
        channel.send(now, method).expect("a server may send it");
    }

    pub fn ack(&mut self, now: Instant, channel: ChannelId, delivery_tag: u64, multiple: bool) {
        let ack = basic::Ack {
            delivery_tag,
            multiple,
        };
        self.send(now, channel, ack);
    }

    pub fn nack(&mut self, now: Instant, channel: ChannelId, delivery_tag: u64, multiple: bool) {
        let nack = basic::Nack {
            delivery_tag,
            multiple,
            requeue: false,
        };
        self.send(now, channel, nack);
    }

    /// Gives a message back that no queue took.
    pub fn return_message(&mut self, channel: ChannelId, routing_key: &str, body: &str) {
        self.return_with(channel, routing_key, &Properties::default(), body);
    }

    pub fn return_with(
        &mut self,
        channel: ChannelId,
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
    pub fn deliver(&mut self, channel: ChannelId, delivery_tag: u64, body: &'static str) {
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
    pub fn cancel_consumer(&mut self, now: Instant, channel: ChannelId) {
        let cancel = basic::Cancel {
            consumer_tag: self.consumers[&channel].clone(),
            nowait: true,
        };
        self.send(now, channel, cancel);
    }

    /// Closes a channel over a method, or over none, where its ids are zero.
    pub fn close_channel(
        &mut self,
        now: Instant,
        channel: ChannelId,
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
    pub fn close(&mut self, now: Instant, code: ReplyCode) {
        self.connection().close(now, code, name("closed by script"));
    }

    /// Closes the connection over a method.
    pub fn close_over(&mut self, now: Instant, code: ReplyCode, method: MethodId) {
        let text = name("closed over a method");
        self.connection().close_over(now, code, text, method);
    }

    /// Whether a channel is open, as far as the broker knows.
    pub fn is_open(&mut self, channel: ChannelId) -> bool {
        let channel = self.connection().channel(channel);
        channel.is_some_and(|channel| channel.is_open())
    }

    pub fn connection(&mut self) -> &mut Connection {
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

/// What a consumer of this tag is delivered, with these tags and bodies.
pub fn consumed(consumer_tag: &str, bodies: &[(u64, &[u8])]) -> Vec<Delivery> {
    consumed_with(consumer_tag, &Properties::default(), bodies)
}

/// The same, with properties.
pub fn consumed_with(
    consumer_tag: &str,
    properties: &Properties,
    bodies: &[(u64, &[u8])],
) -> Vec<Delivery> {
    let mut line = Line::open(ConnectionLimits::default());
    let channel = line.open_channel();
    let consumer_tag = name(consumer_tag);
    let consume = basic::Consume {
        consumer_tag: consumer_tag.clone(),
        ..Default::default()
    };
    let mut opened = line.client.channel(channel).expect("it is open");
    opened.send(line.now, consume).expect("it is open");
    line.run();
    for (delivery_tag, body) in bodies {
        let deliver = basic::Deliver {
            consumer_tag: consumer_tag.clone(),
            delivery_tag: *delivery_tag,
            ..Default::default()
        };
        let body = Bytes::copy_from_slice(body);
        let mut channel = line
            .broker
            .connection()
            .channel(channel)
            .expect("it is open");
        let sent = channel.send_content(deliver, properties, &body);
        sent.expect("a server may deliver it");
    }
    let delivery = |event| match event {
        Event::Delivery { delivery, .. } => Some(delivery),
        _ => None,
    };
    line.run().into_iter().filter_map(delivery).collect()
}

/// A method's frame as it is on the wire, for what the codec's server does not say.
pub fn frame(channel: ChannelId, method: impl Into<Method>) -> BytesMut {
    let mut payload = Vec::new();
    method.into().encode(&mut payload);
    let mut frame = BytesMut::from(&[FrameKind::Method as u8][..]);
    frame.put_u16(channel.0);
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
pub struct Line {
    pub now: Instant,
    pub client: Connection,
    pub broker: Broker,
}

impl Line {
    /// A client that is logged in.
    pub fn open(limits: ConnectionLimits) -> Self {
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
    pub fn open_channel(&mut self) -> ChannelId {
        let channel = self.client.open_channel(self.now).expect("one is free");
        self.run();
        channel
    }

    /// Carries bytes to and fro until nobody has anything to say; gives what the client heard.
    pub fn run(&mut self) -> Vec<Event> {
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
