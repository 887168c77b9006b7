use std::collections::VecDeque;
use std::num::NonZeroUsize;
use std::time::{Duration, Instant, SystemTime};

use bytes::{Bytes, BytesMut};
use snowshoe_codec::{ChannelId, ConnectionLimits, Method, Properties};

use super::{Broker, client_options, name, take};
use crate::core::Epoch;
use crate::core::backoff::Backoff;
use crate::core::session::{CallToken, ConsumerKey, Output, ProducerKey, Session, Settings};
use crate::core::supervisor::{self, Timeouts};
use crate::core::topology::Topology;
use crate::error::ConnectionErrorReason;
use crate::stream::StreamOffset;

/// What lies between a session and the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Network {
    /// Bytes arrive at once.
    Good,
    /// Nobody can be reached; who is connected stays so.
    Refuses,
    /// Bytes vanish in both directions, and so do attempts to connect.
    BlackHole,
}

/// A session opposite to the broker.
pub struct World {
    pub now: Instant,
    pub session: Session,
    pub topology: Topology,
    pub broker: Broker,
    pub network: Network,
    /// What the session proposes for its next connection.
    pub limits: ConnectionLimits,
    /// Whether what the session says reaches the broker at once, and not when it does so again.
    pub is_heard: bool,
    /// The same for what the broker says.
    pub hears: bool,
    on_the_way: (BytesMut, BytesMut),
    /// Whether there is a transport.
    connected: bool,
    /// How often the session was told that time has passed.
    pub wakeups: usize,
    /// How often bytes went one way, or both at once: two make a round trip.
    pub trips: usize,
    /// Where consumers are to begin, as if they all read streams.
    pub begin: Option<StreamOffset>,
    /// Attempts that the network leaves without an answer.
    pub dialing: VecDeque<Epoch>,
    outputs: Vec<Output>,
}

pub fn settings() -> Settings {
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
        makes_calls: true,
        seed: 7,
    }
}

impl World {
    /// A session that has been told to start, and nothing more.
    pub fn new(settings: Settings) -> Self {
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
            is_heard: true,
            hears: true,
            on_the_way: <(BytesMut, BytesMut)>::default(),
            connected: false,
            wakeups: 0,
            trips: 0,
            begin: None,
            dialing: VecDeque::new(),
            outputs: Vec::new(),
        }
    }

    /// A session that is ready.
    pub fn ready() -> Self {
        Self::with_channels(ConnectionLimits::default().channel_max)
    }

    /// A session that is ready, on a connection that has so many channels.
    pub fn with_channels(channel_max: u16) -> Self {
        Self::with(settings(), channel_max)
    }

    /// A session that is ready, on a connection on which no calls are made and that has so many channels.
    pub fn without_calls(channel_max: u16) -> Self {
        let makes_calls = false;
        Self::with(
            Settings {
                makes_calls,
                ..settings()
            },
            channel_max,
        )
    }

    fn with(settings: Settings, channel_max: u16) -> Self {
        let mut world = Self::new(settings);
        world.limits.channel_max = channel_max;
        world.run();
        assert!(world.session.is_ready());
        world.outputs.clear();
        world
    }

    /// Does everything that can be done without time passing.
    pub fn run(&mut self) {
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
    pub fn pass(&mut self, duration: Duration) {
        let until = self.now + duration;
        self.run();
        while let Some(next) = [self.session.poll_timeout(), self.broker.poll_timeout()]
            .into_iter()
            .flatten()
            .min()
            .filter(|next| *next <= until)
        {
            self.time_is(self.now.max(next));
            self.run();
        }
        self.now = until;
    }

    /// Lets the time pass, for which the broker does what is due.
    pub fn time_is(&mut self, now: Instant) {
        self.now = now;
        self.broker.handle_timeout(now);
    }

    /// Lets the time pass until the session is ready again, which it is to be within a minute.
    pub fn pass_until_ready(&mut self) {
        for _ in 0..600 {
            self.pass(Duration::from_millis(100));
            if self.session.is_ready() {
                return;
            }
        }
        panic!("it does not come back");
    }

    /// Resets the connection.
    pub fn cut(&mut self) {
        self.connected = false;
        let reset = std::io::Error::from(std::io::ErrorKind::ConnectionReset);
        let error = ConnectionErrorReason::Transport(std::sync::Arc::new(reset));
        self.session.transport_ended(self.now, Some(error));
        self.run();
    }

    /// Closes the session, if possible in order within a second.
    pub fn close(&mut self) {
        let deadline = self.now + Duration::from_secs(1);
        self.session.close(self.now, deadline);
        self.run();
    }

    /// Makes a call.
    pub fn call(&mut self, token: u64, method: impl Into<Method>) {
        self.session.call(self.now, CallToken(token), method.into());
        self.run();
    }

    /// Publishes on a producer's channel, which is to be online.
    pub fn publish(&mut self, producer: ProducerKey, body: &'static str) {
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
        self.session.has_published(producer);
        self.run();
    }

    /// The channel of a consumer, as the broker sees it.
    pub fn consumer_channel(&mut self, consumer: ConsumerKey) -> ChannelId {
        let channel = self.session.consumer_channel(consumer);
        channel.expect("it has a channel").id()
    }

    /// What the session said since it was last asked.
    pub fn outputs(&mut self) -> Vec<Output> {
        std::mem::take(&mut self.outputs)
    }

    /// The methods that the broker was sent since it was last asked.
    pub fn requests(&mut self) -> Vec<Method> {
        let requests = std::mem::take(&mut self.broker.requests);
        requests.into_iter().map(|(_, method)| method).collect()
    }

    /// What those methods are called.
    pub fn request_names(&mut self) -> Vec<&'static str> {
        self.requests().iter().map(Method::name).collect()
    }

    /// One round of a driver's loop; whether anything moved.
    pub fn step(&mut self) -> bool {
        let mut moved = self.exchange();
        if self.session.poll_timeout().is_some_and(|at| at <= self.now) {
            self.session.handle_timeout(self.now, &mut self.topology);
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
    pub fn exchange(&mut self) -> bool {
        let lost = self.network == Network::BlackHole;
        let there = self
            .session
            .outbound()
            .filter(|_| self.connected)
            .map_or_else(BytesMut::new, take);
        let (mut there, mut back) = (there, self.broker.speak());
        if !self.connected {
            self.on_the_way = <(BytesMut, BytesMut)>::default();
        }
        hold(&mut self.on_the_way.0, &mut there, self.is_heard);
        hold(&mut self.on_the_way.1, &mut back, self.hears);
        let moved = !there.is_empty() || !back.is_empty();
        self.trips += usize::from(moved);
        if !lost && self.connected {
            let outputs = &mut self.outputs;
            let is_behind = (self.session).receive(self.now, &mut back, |consumer, delivery| {
                outputs.push(Output::Delivery { consumer, delivery });
            });
            // The rest is taken in the next time.
            if is_behind {
                self.on_the_way.1 = back;
            }
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
                    let error = ConnectionErrorReason::Dial(std::sync::Arc::new(refused));
                    self.session.dial_failed(self.now, *epoch, error);
                }
            },
            Output::Abort | Output::Finish(_) => self.connected = false,
            Output::ConsumerOpens(consumer) => {
                let (now, begin) = (self.now, self.begin);
                let time_of_day = || SystemTime::UNIX_EPOCH + Duration::from_secs(3_600);
                (self.session).subscribe(now, *consumer, begin, time_of_day);
            }
            _ => {}
        }
        self.outputs.push(output);
    }

    /// The transport of an attempt is connected; whether the session still wants it.
    pub fn connect(&mut self, epoch: Epoch) {
        let options = client_options(self.limits.clone());
        if self.session.dialed(self.now, epoch, options) {
            self.connected = true;
            self.broker.accept(self.now);
        }
    }

    /// Whether there is a transport.
    pub fn is_connected(&self) -> bool {
        self.connected
    }
}

/// Holds bytes back, after those that are held already, until they may pass.
fn hold(held: &mut BytesMut, bytes: &mut BytesMut, may_pass: bool) {
    held.unsplit(std::mem::take(bytes));
    if may_pass {
        *bytes = std::mem::take(held);
    }
}
