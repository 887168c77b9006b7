//! A whole session, with its producers and consumers, against whatever brokers, networks and users do.

mod driver;
mod peer;
mod record;
mod users;

use std::collections::{BTreeMap, BTreeSet};
use std::num::NonZeroUsize;
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use snowshoe::Message;
use snowshoe::codec::{
    ChannelId, ConnectionLimits, KnownServer, Properties, Publish, ReplyCode, ShortString,
};
use snowshoe::internal::acks::Settle;
use snowshoe::internal::backoff::Backoff;
use snowshoe::internal::isolation::Isolation;
use snowshoe::internal::publisher::Publisher;
use snowshoe::internal::session::{
    CallToken, ChannelKey, ConsumerKey, ProducerKey, Session, Settings,
};
use snowshoe::internal::subscription::{ConsumerSpec, Leaving};
use snowshoe::internal::supervisor::{self, Timeouts};
use snowshoe::internal::topology::Topology;
use snowshoe::internal::{Epoch, Flow};

use self::driver::reset;
use self::peer::{Habits, Peer};
use self::record::{MessageId, Record};
use self::users::{Consumer, Producer};
use crate::pair::method_frame;
use crate::script::Script;
use crate::vocabulary::{arguments, housekeeping, name, reply, request};

/// Whatever a broker says, whenever a connection ends, whatever users ask for: each accepted message
/// ends once and truly, nothing is settled that is not open and was not to be, each call has one
/// answer, the session comes to rest, holds no more than what it was told explains, and is whole again
/// once everything else is.
///
/// The first byte chooses what the session is like. `allocated` is how many bytes are allocated at
/// present, in all of the process.
pub fn session(data: &[u8], allocated: impl Fn() -> usize) {
    let before = allocated();
    let mut world = World::new(Script::new(data));
    while !world.script.is_over() && !world.session.is_closed() {
        world.step();
        world.run();
        let held = allocated().saturating_sub(before);
        let explained = BASE + 64 * world.traffic;
        assert!(held <= explained, "{held} bytes, of which {explained} are");
    }
    world.finish();
}

struct World<'a> {
    script: Script<'a>,
    now: Instant,
    session: Session,
    topology: Topology,
    limits: ConnectionLimits,

    network: Network,
    /// An attempt to connect that nobody has answered.
    dialing: Option<Epoch>,
    transport: Option<Transport>,
    /// What is known of the peer.
    known: Option<KnownServer>,
    habits: Habits,
    is_blocked: bool,
    record: Record,
    traffic: usize,

    producers: BTreeMap<ProducerKey, Producer>,
    /// Which of them has cost a channel or the connection, where that is not known.
    isolation: Isolation<ProducerKey>,
    producers_made: u32,
    messages: MessageId,
    consumers: BTreeMap<ConsumerKey, Consumer>,
    started: usize,
    user_channels: BTreeSet<ChannelKey>,
    calls: BTreeSet<u64>,
    called: u64,
}

/// What becomes of attempts to connect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Network {
    Good,
    Refuses,
    BlackHole,
}

struct Transport {
    peer: Peer,
    there: Way,
    back: Way,
    /// Whether it takes no bytes.
    is_stalled: bool,
}

/// One direction of a transport.
#[derive(Default)]
struct Way {
    under_way: BytesMut,
    /// What has arrived and was not whole.
    arrived: BytesMut,
    is_held_up: bool,
}

/// # The script
impl<'a> World<'a> {
    fn new(mut script: Script<'a>) -> Self {
        let now = Instant::now();
        let [is_narrow, fails_fast, is_shared, _] = script.flags();
        let settings = Settings {
            supervisor: supervisor::Config {
                endpoints: NonZeroUsize::MIN,
                backoff: Backoff::default(),
                timeouts: Timeouts {
                    dial: Duration::from_secs(5),
                    handshake: Duration::from_secs(10),
                    recovery: Duration::from_secs(25),
                },
                fail_fast: fails_fast,
            },
            backoff: Backoff::default(),
            owns_exclusive_queues: !is_shared,
            makes_calls: true,
            seed: 7,
        };
        let mut session = Session::new(settings);
        session.start(now);
        let mut world = Self {
            script,
            now,
            session,
            topology: Topology::default(),
            limits: ConnectionLimits {
                channel_max: if is_narrow { 3 } else { 100 },
                frame_max: 4096,
                // Some of what the peer delivers is longer.
                max_message_size: 20,
                ..ConnectionLimits::default()
            },
            network: Network::Good,
            dialing: None,
            transport: None,
            habits: Habits {
                lets_in: true,
                answers: true,
                confirms: false,
            },
            known: None,
            is_blocked: false,
            record: Record::default(),
            traffic: 0,
            producers: BTreeMap::new(),
            isolation: Isolation::default(),
            messages: 0,
            consumers: BTreeMap::new(),
            started: 0,
            producers_made: 0,
            user_channels: BTreeSet::new(),
            calls: BTreeSet::new(),
            called: 0,
        };
        world.run();
        world
    }

    fn step(&mut self) {
        match self.script.below(40) {
            0..4 => self.publish(),
            4 => self.add_producer(),
            5 => self.add_consumer(),
            6 | 7 => self.call(),
            8 => self.on_channel(),
            9 => self.cancel_consumer(),
            10..13 => self.settle(),
            13 => self.seldom(),
            14 => self.habits.answers ^= true,
            15 => self.habits.confirms ^= true,
            16..34 => self.peer_acts(),
            34 => self.cut(),
            35 => self.disturb(),
            36 => self.meet_network(),
            37 => self.pass(Duration::from_millis(1)),
            _ => {
                let millis = self.script.choose(&[50, 200, 1_000, 6_000, 30_000]);
                self.pass(Duration::from_millis(millis));
            }
        }
    }

    fn publish(&mut self) {
        let Some(key) = nth(&self.producers, self.script.byte()) else {
            return;
        };
        let [is_long, is_huge, has_key, _] = self.script.flags();
        self.messages += 1;
        let number = self.producers[&key].number;
        let mut body = [self.messages, number].map(u32::to_be_bytes).concat();
        body.resize(if is_long { 3000 } else { 8 }, 7);
        let mut message = Message::from(body);
        if is_huge && self.script.below(4) == 3 {
            // It fits into no frame.
            let properties = Bytes::from(vec![0; 5000]);
            message = message.with_properties(Properties::from_encoded(properties));
        }
        if has_key {
            message = message.with_routing_key("other").expect("it is short");
        }
        self.traffic += message.size();
        let producer = self.producers.get_mut(&key).expect("it is there");
        producer.publish(self.messages, message);
    }

    /// As an inbox asks for more or less, whether or not it is in the middle of it.
    fn change_flow(&mut self, key: ConsumerKey) {
        let [is_narrow, is_limited, proves, _] = self.script.flags();
        let flow = match (is_narrow, is_limited) {
            (true, _) => Flow::Narrow,
            (false, true) => Flow::Wide { prefetch: 2 },
            (false, false) => Flow::Wide { prefetch: 0 },
        };
        if let Some(manner) = self.session.manner(key, flow, &self.topology) {
            self.session.set_flow(self.now, key, flow, manner);
        }
        if proves {
            self.session.prove_heard(self.now, key);
        }
    }

    fn add_producer(&mut self) {
        if self.producers.len() < 3 {
            let [confirms, drops, ..] = self.script.flags();
            let key = self.session.add_producer(self.now, !confirms);
            let producer = Producer::new(self.producers_made, !confirms, drops);
            self.producers.insert(key, producer);
            self.producers_made += 1;
        }
    }

    fn add_consumer(&mut self) {
        if self.consumers.len() < 3 {
            let [no_ack, exclusive, is_limited, _] = self.script.flags();
            self.started += 1;
            let tag = format!("watched-{}", self.started);
            let tag = ShortString::try_from(tag).expect("it is short");
            let spec = ConsumerSpec {
                queue: name(&mut self.script),
                tag: tag.clone(),
                prefetch: if is_limited { 5 } else { 0 },
                no_ack,
                exclusive,
                no_local: false,
                arguments: arguments(&mut self.script),
            };
            let key = self.session.add_consumer(self.now, spec);
            self.consumers.insert(key, Consumer::new(tag, no_ack));
        }
    }

    fn call(&mut self) {
        let method = request(&mut self.script);
        if method.id().replies().is_empty() || method.is_nowait() || method.id().has_content() {
            return;
        }
        self.called += 1;
        self.calls.insert(self.called);
        self.session.call(self.now, CallToken(self.called), method);
    }

    fn on_channel(&mut self) {
        let nth = usize::from(self.script.below(2));
        let Some(key) = self.user_channels.iter().nth(nth).copied() else {
            let key = self.session.add_channel(self.now);
            self.user_channels.insert(key);
            return;
        };
        let what = self.script.below(8);
        if what == 0 {
            self.user_channels.remove(&key);
            self.session.remove_channel(self.now, key);
        } else if let Some(mut channel) = self.session.user_channel(key) {
            // What cannot be sent is refused.
            _ = match what {
                1..4 => channel.send(self.now, request(&mut self.script)),
                4 => channel.close(self.now, ReplyCode::SUCCESS, ShortString::EMPTY),
                5 => channel.ack(self.script.number(), self.script.flag()),
                _ => {
                    let publish = Publish {
                        exchange: Default::default(),
                        routing_key: Default::default(),
                        mandatory: false,
                        properties: &Properties::EMPTY,
                        body: &Bytes::from_static(b"by hand"),
                    };
                    channel.publish(&publish).map(|_| ())
                }
            };
        }
    }

    fn cancel_consumer(&mut self) {
        if let Some(key) = nth(&self.consumers, self.script.byte()) {
            let leaving = self
                .script
                .choose(&[Leaving::Cancelled, Leaving::WithItsChannel]);
            (self.session).cancel_consumer(self.now, key, leaving, &mut self.topology);
        }
    }

    fn settle(&mut self) {
        let Some(key) = nth(&self.consumers, self.script.byte()) else {
            return;
        };
        let consumer = self.consumers.get_mut(&key).expect("it is there");
        let [multiple, requeue, ..] = self.script.flags();
        let settle = self.script.choose(&[
            Settle::Ack,
            Settle::Ack,
            Settle::Nack { requeue },
            Settle::Reject { requeue },
        ]);
        let nth = self.script.byte().into();
        consumer.settle(nth, settle, multiple, &mut self.record);
    }

    fn seldom(&mut self) {
        match self.script.below(8) {
            0 | 1 => {
                if let Some(key) = nth(&self.producers, self.script.byte()) {
                    self.with_producer(key, Publisher::close);
                }
            }
            2 => {
                if let Some(key) = nth(&self.consumers, self.script.byte()) {
                    let consumer = self.consumers.get_mut(&key);
                    consumer.expect("it is there").let_go();
                }
            }
            3 => {
                let (secret, reason) = (Bytes::from_static(b"secret"), ShortString::EMPTY);
                // Only while it is open, and one at a time.
                _ = self.session.update_secret(self.now, secret, reason);
            }
            4 => {
                if let Some(key) = nth(&self.consumers, self.script.byte()) {
                    self.change_flow(key);
                }
            }
            5 => self.habits.lets_in ^= true,
            6 => {
                let deadline = self.now + Duration::from_secs(5);
                self.session.close(self.now, deadline);
            }
            _ if self.script.below(4) == 3 => self.session.abandon(self.now),
            _ => {}
        }
    }

    fn peer_acts(&mut self) {
        let what = self.script.below(16);
        let channel = ChannelId(1 + u16::from(self.script.below(6)));
        let Some(Transport { peer, .. }) = &mut self.transport else {
            return;
        };
        let script = &mut self.script;
        match what {
            0..3 => {
                let nth = script.byte();
                peer.answer(self.now, usize::from(nth.saturating_sub(200)));
            }
            3..6 => peer.confirm(channel, script),
            6 => peer.give_back(channel, script),
            7..11 => peer.deliver(channel, script),
            11 => peer.cancel_consumer(self.now, channel, script),
            12 | 13 => peer.refuse(self.now, channel, script),
            14 => peer.speak_up(self.now, channel, script),
            _ => peer.close_channel(self.now, channel, script),
        }
    }

    /// The transport ends.
    fn cut(&mut self) {
        if self.transport.take().is_some() {
            let error = self.script.flag().then(reset);
            self.session.transport_ended(self.now, error);
        }
    }

    /// Something happens to what is on its way.
    fn disturb(&mut self) {
        let what = self.script.below(8);
        let channel = ChannelId(1 + u16::from(self.script.below(4)));
        let Some(transport) = &mut self.transport else {
            return;
        };
        match what {
            0 => transport.is_stalled ^= true,
            1 => transport.there.is_held_up ^= true,
            2 => transport.back.is_held_up ^= true,
            3 => {
                let len = self.script.byte().into();
                transport.carry_there(self.now, len, self.habits);
            }
            4 => {
                let len = self.script.byte().into();
                let (session, consumers) = (&mut self.session, &mut self.consumers);
                transport.carry_back(self.now, len, session, consumers, &mut self.record);
            }
            _ => {
                transport.peer.is_forged = true;
                let before = transport.peer.speak();
                transport.back.under_way.unsplit(before);
                let said = match what {
                    5 => self.script.bytes(20).to_vec(),
                    6 => method_frame(ChannelId(channel.0 & 1), housekeeping(&mut self.script)),
                    _ => method_frame(channel, reply(&mut self.script)),
                };
                transport.back.under_way.extend_from_slice(&said);
            }
        }
    }

    fn meet_network(&mut self) {
        match self.script.below(4) {
            0 => self.network = Network::Good,
            1 => self.network = Network::Refuses,
            2 => self.network = Network::BlackHole,
            _ => {
                if let Some(epoch) = self.dialing.take() {
                    self.connect(epoch);
                }
            }
        }
    }
}

/// One of those that there are.
fn nth<K: Copy, T>(all: &BTreeMap<K, T>, nth: u8) -> Option<K> {
    let nth = usize::from(nth) % all.len().max(1);
    all.keys().nth(nth).copied()
}

const BASE: usize = 1 << 20;
