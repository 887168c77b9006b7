//! The broker in memory against clients that do as they like.

use std::time::{Duration, Instant};

use bytes::{Buf, BytesMut};
use snowshoe::codec::method::{basic, channel};
use snowshoe::codec::{ChannelId, Connection, ConnectionLimits, ShortString};
use snowshoe::internal;
use snowshoe::testing::{Broker, BrokerOptions, ConnectionId, Fault, Manner};

use crate::pair::{client_options, message_frames, method_frame, take};
use crate::script::Script;
use crate::vocabulary::{housekeeping, name, properties, reply_code, request};

/// Three clients that write what they like and read when they like: the broker keeps its books in
/// order, comes to rest, and holds no more than they explain.
///
/// The first byte chooses what the broker is like. `allocated` is how many bytes are allocated at
/// present, in all of the process.
pub fn hostile_clients(data: &[u8], allocated: impl Fn() -> usize) {
    let before = allocated();
    let mut crowd = Crowd::new(Script::new(data));
    // A fanout to queues that dead-letter to it multiplies messages, here as with a real broker.
    while !crowd.script.is_over() && internal::message_count(&crowd.broker) < MANY {
        crowd.step();
        internal::check_books(&crowd.broker);
        let held = allocated().saturating_sub(before);
        let explained = crowd.explained();
        assert!(held <= explained, "{held} bytes, of which {explained} are");
    }
    crowd.leave();
}

struct Crowd<'a> {
    script: Script<'a>,
    now: Instant,
    broker: Broker,
    clients: [Client; 3],
    /// How many bytes were ever written.
    said: usize,
}

struct Client {
    id: ConnectionId,
    /// What was written and not taken.
    input: BytesMut,
    /// Whether what it writes is on its way for longer.
    is_slow: bool,
}

impl<'a> Crowd<'a> {
    fn new(mut script: Script<'a>) -> Self {
        let now = Instant::now();
        let [is_narrow, is_lavin, is_impatient, _] = script.flags();
        let default = BrokerOptions::default();
        let mut broker = Broker::new(BrokerOptions {
            outbound_limit: if is_narrow { 300 } else { 64 << 10 },
            manner: [Manner::RabbitMq43, Manner::LavinMq][usize::from(is_lavin)],
            consumer_timeout: is_impatient.then_some(Duration::from_secs(60)),
            ..default
        });
        let clients = [(); 3].map(|()| Client::new(&mut broker, now, true));
        assert!(
            broker
                .connections()
                .iter()
                .all(|it| it.channels == [ChannelId(1)])
        );
        Self {
            script,
            now,
            broker,
            clients,
            said: 0,
        }
    }

    fn step(&mut self) {
        let what = self.script.below(32);
        let place = self.script.byte();
        let (client, channel) = (
            usize::from(place) % 3,
            ChannelId(1 + u16::from(place) / 3 % 3),
        );
        match what {
            0..12 => {
                let method = request(&mut self.script);
                self.say(client, &method_frame(channel, method));
            }
            12..18 => self.publish(client, channel),
            18 => self.say(client, &method_frame(channel, channel::Open::default())),
            19 => {
                let close = method_frame(channel, channel::Close::default());
                let agree = method_frame(channel, channel::CloseOk);
                self.say(client, &[close, agree].concat());
            }
            20 => {
                let len = self.script.below(40).into();
                let noise = self.script.bytes(len);
                self.say(client, noise);
            }
            21 => {
                let method = housekeeping(&mut self.script);
                self.say(client, &method_frame(ChannelId(channel.0 & 1), method));
            }
            22 => {
                let mut frame = method_frame(channel, request(&mut self.script));
                let place = usize::from(self.script.byte()) % frame.len();
                frame[place] = self.script.byte();
                self.say(client, &frame);
            }
            23 => self.clients[client].is_slow ^= true,
            24 | 25 => self.read(client),
            26 => self.reconnect(client),
            27 | 28 => self.pass(),
            29 => match self.script.below(4) {
                0 => self.broker.restart(self.now),
                1 => self.broker.kick(self.now, self.clients[client].id),
                2 => self.broker.heal(),
                _ => self.inject(),
            },
            30 => self.broker.block(ShortString::from_static("no reason")),
            _ => self.broker.unblock(),
        }
        self.listen(client);
    }

    fn publish(&mut self, client: usize, channel: ChannelId) {
        let [mandatory, immediate, is_direct, _] = self.script.flags();
        let publish = basic::Publish {
            exchange: if is_direct {
                ShortString::EMPTY
            } else {
                name(&mut self.script)
            },
            routing_key: name(&mut self.script),
            mandatory,
            immediate: immediate && self.script.below(8) == 7,
            ..Default::default()
        };
        let properties = properties(&mut self.script);
        let body = vec![7; self.script.below(60).into()];
        self.say(
            client,
            &message_frames(channel, publish, properties.as_bytes(), &body),
        );
    }

    fn say(&mut self, client: usize, bytes: &[u8]) {
        self.said += bytes.len();
        self.clients[client].input.extend_from_slice(bytes);
    }

    /// The broker hears what arrives.
    fn listen(&mut self, client: usize) {
        let Client { id, input, is_slow } = &mut self.clients[client];
        if *is_slow {
            let len = usize::from(self.script.byte()).min(input.len());
            let mut arrived = input.split_to(len);
            self.broker.receive(self.now, *id, &mut arrived);
            arrived.unsplit(std::mem::take(input));
            *input = arrived;
        } else {
            self.broker.receive(self.now, *id, input);
        }
        if self.broker.is_finished(*id) {
            self.reconnect(client);
        }
    }

    fn read(&mut self, client: usize) {
        let limit = match self.script.byte() {
            255 => usize::MAX,
            limit => limit.into(),
        };
        if let Some(outbound) = self.broker.outbound(self.clients[client].id) {
            outbound.advance(limit.min(outbound.remaining()));
        }
    }

    fn reconnect(&mut self, client: usize) {
        let id = self.clients[client].id;
        self.broker.transport_ended(self.now, id);
        let logs_in = self.script.below(8) < 7;
        self.clients[client] = Client::new(&mut self.broker, self.now, logs_in);
    }

    /// Lets the time pass, with a stop wherever something is due.
    fn pass(&mut self) {
        let millis = self.script.choose(&[1, 10, 100, 1000, 30_000, 90_000]);
        let until = self.now + Duration::from_millis(millis);
        for _ in 0..STOPS {
            let next = self.broker.poll_timeout().filter(|next| *next <= until);
            self.now = next.unwrap_or(until).max(self.now);
            self.broker.handle_timeout(self.now);
            if next.is_none() {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    fn inject(&mut self) {
        self.broker.inject(Fault {
            method: request(&mut self.script).id(),
            name: self.script.flag().then(|| name(&mut self.script)),
            code: reply_code(&mut self.script),
            text: "no reason".to_owned(),
            times: self.script.below(3).into(),
        });
    }

    /// How many bytes may be held.
    fn explained(&mut self) -> usize {
        let ids = self.clients.each_ref().map(|client| client.id);
        let outbound = ids.map(|id| self.broker.outbound(id).map_or(0, |it| it.len()));
        BASE + 32 * self.said
            + 4 * outbound.iter().sum::<usize>()
            + PER_MESSAGE * internal::message_count(&self.broker)
    }

    /// All clients go, and nobody holds anything then.
    fn leave(mut self) {
        for client in &self.clients {
            self.broker.transport_ended(self.now, client.id);
            internal::check_books(&self.broker);
        }
        assert!(self.broker.connections().is_empty());
        let names = self.broker.queue_names("/");
        // A name may be any bytes, but only for text can be asked.
        let names = names
            .iter()
            .filter_map(|name| str::from_utf8(name.as_bytes()).ok());
        for queue in names.filter_map(|name| self.broker.queue("/", name)) {
            assert_eq!((queue.unacked, queue.owner), (0, None), "{}", queue.name);
            assert!(queue.consumers.is_empty(), "{}", queue.name);
        }
    }
}

impl Client {
    fn new(broker: &mut Broker, now: Instant, logs_in: bool) -> Self {
        let id = broker.connect(now);
        if logs_in {
            log_in(broker, now, id);
        }
        Self {
            id,
            input: BytesMut::new(),
            is_slow: false,
        }
    }
}

/// Logs in and opens a channel. What comes after that is not said by a connection of the codec.
fn log_in(broker: &mut Broker, now: Instant, id: ConnectionId) {
    let options = client_options(ConnectionLimits::default());
    let mut client = Connection::client(options, now);
    let mut channel = None;
    loop {
        client.handle_timeout(now);
        if client.is_open() && channel.is_none() {
            channel = client.open_channel(now).ok();
        }
        let mut there = take(client.outbound(), usize::MAX);
        if there.is_empty() {
            return;
        }
        broker.receive(now, id, &mut there);
        if let Some(outbound) = broker.outbound(id) {
            _ = client.receive(now, &mut take(outbound, usize::MAX));
        }
        while client.poll_event().is_some() {}
    }
}

/// More messages are not looked at.
const MANY: usize = 4_000;

/// How often the time may stand still, or nearly so, before the broker counts as busy without end.
const STOPS: usize = 20_000;

const BASE: usize = 1 << 20;

/// What a message may cost: its place, and what dead-lettering writes into its headers.
const PER_MESSAGE: usize = 4 << 10;
