//! A client's connection and its channels under whatever a user and a peer do.

mod peer;

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use bytes::{Bytes, BytesMut};
use snowshoe::codec::method::{Arguments, basic, channel};
use snowshoe::codec::{
    Channel, ChannelCloseReason, ChannelId, Connection, ConnectionLimits, Event, Method,
    OpenChannelError, Properties, Publish, ReplyCode, SendError, ShortString,
};

use self::peer::Peer;
use crate::pair::{client_options, method_frame, take};
use crate::script::Script;
use crate::vocabulary::{housekeeping, name, properties, reply, reply_code, request, settling};

/// Whatever a user does on a connection and its channels, and whatever its peer says: what comes out
/// is understood by the peer, channels live and end in order, and their numbers can be used again.
///
/// The first byte chooses the peer: the codec's server, which says what the script wants and judges
/// what it hears, or the broker in memory. `allocated` is how many bytes are allocated at present, in
/// all of the process.
pub fn operations(data: &[u8], allocated: impl Fn() -> usize) {
    let before = allocated();
    let mut world = World::new(Script::new(data));
    while !world.script.is_over() {
        world.step();
        world.hear();
        let held = allocated().saturating_sub(before);
        let explained = world.explained();
        assert!(held <= explained, "{held} bytes, of which {explained} are");
    }
    world.finish();
}

struct World<'a> {
    script: Script<'a>,
    now: Instant,
    client: Connection,
    peer: Peer,
    /// What is on its way to the peer, and back.
    there: BytesMut,
    back: BytesMut,
    /// Whether the client was told what its peer did not say. From then on the two need not agree.
    is_forged: bool,
    channels: BTreeMap<ChannelId, Line>,
    /// Those on which a call was overdue, and with which the peer is not through.
    unreleased: BTreeSet<ChannelId>,
    ended: bool,
    traffic: usize,
}

/// A channel, as the user knows it.
#[derive(Debug, Default)]
struct Line {
    state: State,
    /// Publishes since confirms were asked for.
    published: Option<u64>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    #[default]
    Opening,
    Open,
    Closing,
}

/// How many channels there can be.
const CHANNELS: u16 = 4;

/// # What happens
impl<'a> World<'a> {
    fn new(mut script: Script<'a>) -> Self {
        let now = Instant::now();
        let limits = ConnectionLimits {
            channel_max: CHANNELS,
            // The least that the newest RabbitMQ takes.
            frame_max: 8192,
            call_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            // Some of what the peer delivers, and the broker hands on, is longer.
            max_message_size: 1000,
            ..ConnectionLimits::default()
        };
        let mut world = Self {
            client: Connection::client(client_options(limits), now),
            peer: if script.flag() {
                Peer::server(now)
            } else {
                Peer::broker(now)
            },
            script,
            now,
            there: BytesMut::new(),
            back: BytesMut::new(),
            is_forged: false,
            channels: BTreeMap::new(),
            unreleased: BTreeSet::new(),
            ended: false,
            traffic: 0,
        };
        world.run();
        assert!(world.client.is_open());
        world
    }

    fn step(&mut self) {
        let what = self.script.below(48);
        let channel = ChannelId(1 + u16::from(what) % CHANNELS);
        match what / 4 {
            0 => self.open_channel(),
            1 | 2 => self.on_channel(channel, |channel, line, now, script| {
                let method = request(script);
                let selects = matches!(method, Method::ConfirmSelect(_));
                channel.send(now, method)?;
                if selects {
                    line.published.get_or_insert(0);
                }
                Ok(())
            }),
            3 => self.on_channel(channel, publish),
            4 => self.on_channel(channel, settle),
            5 => self.on_channel(channel, other),
            6 => self.peer_speaks(channel),
            7 => self.answer(),
            8 => self.carry_some(),
            9 => self.pass(),
            10 => self.run(),
            _ => self.seldom(channel),
        }
    }

    fn open_channel(&mut self) {
        match self.client.open_channel(self.now) {
            Ok(id) => {
                let before = self.channels.insert(id, Line::default());
                assert!(before.is_none(), "{id} is in use");
                assert!(!self.unreleased.contains(&id), "{id} is not through");
                assert!((1..=CHANNELS).contains(&id.0), "{id}");
            }
            // The peer may still have to agree to the end of some.
            Err(OpenChannelError::NoneFree) => {}
            Err(_) => assert!(!self.client.is_open()),
        }
    }

    /// Does something on a channel. What is refused writes nothing.
    fn on_channel(
        &mut self,
        id: ChannelId,
        act: impl FnOnce(&mut Channel<'_>, &mut Line, Instant, &mut Script<'_>) -> Result<(), SendError>,
    ) {
        let (Some(mut channel), Some(line)) = (self.client.channel(id), self.channels.get_mut(&id))
        else {
            return;
        };
        assert_eq!(channel.is_open(), line.state == State::Open);
        let queued = channel.queued();
        let done = act(&mut channel, line, self.now, &mut self.script);
        if let Err(error) = done {
            assert_eq!(channel.queued(), queued, "{error}");
        }
    }

    fn seldom(&mut self, channel: ChannelId) {
        match self.script.below(12) {
            0 => {
                let text = ShortString::from_static("goodbye");
                self.client.close(self.now, ReplyCode::SUCCESS, text);
            }
            1 => {
                let secret = Bytes::from_static(b"secret");
                // One at a time, and only while it is open.
                _ = (self.client).update_secret(self.now, secret, ShortString::EMPTY);
            }
            2 => self.client.reading_is_paused(self.now),
            3 => {
                self.client.transport_ended();
                self.there.clear();
                self.back.clear();
            }
            4 => self.forge(channel),
            5..8 => self.on_channel(channel, |channel, line, now, script| {
                channel.close(now, reply_code(script), ShortString::EMPTY)?;
                line.state = State::Closing;
                Ok(())
            }),
            8 => self.peer.close(self.now, reply_code(&mut self.script)),
            _ => self.peer.disturb(self.now, channel, &mut self.script),
        }
    }

    /// The client is told what its peer did not say.
    fn forge(&mut self, channel: ChannelId) {
        self.is_forged = true;
        self.back.unsplit(self.peer.speak(usize::MAX));
        let said = match self.script.below(4) {
            0 => {
                let len = self.script.below(40).into();
                self.script.bytes(len).to_vec()
            }
            1 => method_frame(channel, housekeeping(&mut self.script)),
            2 => method_frame(ChannelId(0), housekeeping(&mut self.script)),
            _ => method_frame(channel, request(&mut self.script)),
        };
        self.traffic += said.len();
        self.back.extend_from_slice(&said);
    }

    fn peer_speaks(&mut self, channel: ChannelId) {
        if let Peer::Server(server) = &mut self.peer {
            server.speak_up(self.now, channel, &mut self.script);
        }
    }

    fn answer(&mut self) {
        if let Peer::Server(server) = &mut self.peer {
            let nth = match self.script.byte() {
                byte @ 200.. => byte.into(),
                _ => 0,
            };
            server.answer(self.now, nth);
        }
    }

    fn pass(&mut self) {
        let millis = self.script.choose(&[1, 100, 2_000, 5_000, 20_000]);
        self.now += Duration::from_millis(millis);
        self.client.handle_timeout(self.now);
        let next = self.client.poll_timeout();
        assert!(next.is_none_or(|at| at > self.now), "it is overdue");
        self.peer.handle_timeout(self.now);
    }
}

fn publish(
    channel: &mut Channel<'_>,
    line: &mut Line,
    _now: Instant,
    script: &mut Script<'_>,
) -> Result<(), SendError> {
    let body = vec![7; script.choose(&[0, 1, 100, 4088, 4089, 9000])];
    let long = [0; 5000];
    let properties = match script.below(8) {
        7 => Properties::from_encoded(Bytes::copy_from_slice(&long)),
        _ => properties(script),
    };
    let number = channel.publish(&Publish {
        exchange: name(script).as_short_str(),
        routing_key: name(script).as_short_str(),
        mandatory: script.flag(),
        properties: &properties,
        body: &body.into(),
    })?;
    if let Some(published) = &mut line.published {
        *published += 1;
    }
    assert_eq!(number, line.published);
    Ok(())
}

fn settle(
    channel: &mut Channel<'_>,
    _line: &mut Line,
    now: Instant,
    script: &mut Script<'_>,
) -> Result<(), SendError> {
    let (tag, multiple) = (script.number(), script.flag());
    match script.below(4) {
        0 => channel.ack(tag, multiple),
        1 => channel.nack(tag, multiple, script.flag()),
        2 => channel.reject(tag, script.flag()),
        _ => channel.send(now, settling(script)),
    }
}

/// What a client has no business to say, or has other functions for.
fn other(
    channel: &mut Channel<'_>,
    _line: &mut Line,
    now: Instant,
    script: &mut Script<'_>,
) -> Result<(), SendError> {
    match script.below(4) {
        0 => channel.send(now, reply(script)),
        1 => {
            let refused = channel.send(now, housekeeping(script));
            assert!(refused.is_err());
            refused
        }
        2 => {
            let refused = channel.send(now, basic::Publish::default());
            assert!(refused.is_err());
            refused
        }
        _ => {
            let body = Bytes::new();
            let deliver = basic::Deliver::default();
            let refused = channel.send_content(deliver, &Properties::EMPTY, &body);
            assert!(refused.is_err());
            refused
        }
    }
}

/// # What is carried, and heard
impl World<'_> {
    fn carry_some(&mut self) {
        let len = self.script.byte().into();
        if self.script.flag() {
            self.carry_there(len);
        } else {
            self.carry_back(len);
        }
    }

    fn carry_there(&mut self, len: usize) -> bool {
        let said = take(self.client.outbound(), len);
        self.traffic += said.len();
        let moved = !said.is_empty();
        self.there.unsplit(said);
        let before = self.there.len();
        self.peer.receive(self.now, &mut self.there);
        moved || self.there.len() < before
    }

    fn carry_back(&mut self, len: usize) -> bool {
        let said = self.peer.speak(len);
        self.traffic += said.len();
        let moved = !said.is_empty();
        self.back.unsplit(said);
        let before = self.back.len();
        _ = self.client.receive(self.now, &mut self.back);
        moved || self.back.len() < before
    }

    /// Lets both ends talk until they have nothing more to say at this time.
    fn run(&mut self) {
        for _ in 0..1000 {
            self.client.handle_timeout(self.now);
            let there = self.carry_there(usize::MAX);
            let back = self.carry_back(usize::MAX);
            self.hear();
            if !there && !back {
                return;
            }
        }
        panic!("it does not come to rest");
    }

    /// What happened, according to the client and to its peer.
    fn hear(&mut self) {
        while let Some(event) = self.client.poll_event() {
            self.heard(event);
        }
        if let Peer::Server(server) = &mut self.peer {
            server.hear(self.now, self.is_forged);
        }
    }

    fn heard(&mut self, event: Event) {
        assert!(!self.ended, "after the end: {event:?}");
        match event {
            Event::Opening(_)
            | Event::Open(_)
            | Event::Blocked { .. }
            | Event::Unblocked
            | Event::SecretUpdated => {}
            Event::ChannelOpen { channel } => {
                let line = self.channels.get_mut(&channel).expect("it was asked for");
                assert_eq!(line.state, State::Opening);
                line.state = State::Open;
            }
            Event::ChannelClosed { channel, reason } => {
                assert!(self.channels.remove(&channel).is_some(), "{reason}");
                if let ChannelCloseReason::CallTimeout(method) = reason
                    && method != channel::Close::ID
                {
                    self.unreleased.insert(channel);
                }
            }
            Event::ChannelReleased { channel } => assert!(self.unreleased.remove(&channel)),
            Event::Closed(reason) => {
                self.ended = true;
                assert!(self.is_forged || self.peer.may_end(&reason), "{reason}");
            }
            Event::Reply { channel, .. }
            | Event::Got { channel, .. }
            | Event::Delivery { channel, .. }
            | Event::Returned { channel, .. }
            | Event::Oversized { channel, .. }
            | Event::Confirm { channel, .. }
            | Event::ConsumerCancelled { channel, .. }
            | Event::Flow { channel, .. } => {
                let line = &self.channels[&channel];
                assert_eq!(line.state, State::Open, "{event:?}");
                if let Event::Confirm { confirm, .. } = event {
                    let published = line.published.expect("confirms were asked for");
                    assert!(confirm.delivery_tag <= published);
                }
            }
            other => panic!("no client hears {other:?}"),
        }
    }

    /// How many bytes may be held.
    fn explained(&mut self) -> usize {
        let waiting = self.client.outbound_len() + self.peer.outbound_len();
        BASE + 32 * (self.traffic + waiting)
    }

    /// Closes what is open, while the peer does as it is told.
    fn finish(mut self) {
        self.peer.recover(self.now);
        self.run();
        for id in 1..=CHANNELS {
            self.on_channel(ChannelId(id), |channel, line, now, _| {
                channel.close(now, ReplyCode::SUCCESS, ShortString::EMPTY)?;
                line.state = State::Closing;
                Ok(())
            });
        }
        self.run();
        if self.client.is_open() && !self.is_forged && self.peer.is_open() {
            // No number is lost.
            assert!(self.channels.is_empty(), "{:?}", self.channels);
            for _ in 0..CHANNELS {
                self.open_channel();
            }
            self.run();
            let open = |line: &Line| line.state == State::Open;
            assert_eq!(self.channels.values().filter(|it| open(it)).count(), 4);
            let more = self.client.open_channel(self.now);
            assert_eq!(more, Err(OpenChannelError::NoneFree));
        }
        self.client.transport_ended();
        self.hear();
        assert!(self.ended && self.client.is_closed());
        assert_eq!(self.client.poll_timeout(), None);
    }
}

const BASE: usize = 1 << 20;
