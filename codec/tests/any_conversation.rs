//! Two ends that do whatever they like, whenever they like, understand each other.

mod pair;

use std::collections::{HashMap, HashSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use pair::{Pair, goodbye};
use proptest::collection::vec;
use proptest::prelude::*;
use proptest::sample::Index;
use snowshoe_codec::method::{Arguments, basic, channel, confirm, queue};
use snowshoe_codec::{
    Channel, ChannelCloseReason, ChannelId, CloseReason, ConnectionLimits, Event, Method,
    Properties, Publish,
};

#[derive(Clone, Debug)]
enum Step {
    OpenChannel,
    Client(Index, ClientStep),
    Server(Index, ServerStep),
    /// The server answers what it was asked first.
    Answer,
    /// So many bytes get through to the server, or to the client.
    Carry(usize),
    CarryBack(usize),
    Advance(u64),
    CloseByClient,
    CloseByServer,
}

#[derive(Clone, Copy, Debug)]
enum ClientStep {
    Declare,
    Consume,
    Get,
    Select,
    Publish(usize),
    Ack,
    Close,
}

#[derive(Clone, Copy, Debug)]
enum ServerStep {
    Deliver(usize),
    Confirm,
    Cancel,
    Flow,
    Close,
}

fn step() -> impl Strategy<Value = Step> {
    let client = prop_oneof![
        Just(ClientStep::Declare),
        Just(ClientStep::Consume),
        Just(ClientStep::Get),
        Just(ClientStep::Select),
        (0_usize..10_000).prop_map(ClientStep::Publish),
        Just(ClientStep::Ack),
        Just(ClientStep::Close),
    ];
    let server = prop_oneof![
        (0_usize..10_000).prop_map(ServerStep::Deliver),
        Just(ServerStep::Confirm),
        Just(ServerStep::Cancel),
        Just(ServerStep::Flow),
        Just(ServerStep::Close),
    ];
    prop_oneof![
        4 => Just(Step::OpenChannel),
        16 => (any::<Index>(), client).prop_map(|(at, step)| Step::Client(at, step)),
        8 => (any::<Index>(), server).prop_map(|(at, step)| Step::Server(at, step)),
        8 => Just(Step::Answer),
        16 => (1_usize..200).prop_map(Step::Carry),
        16 => (1_usize..200).prop_map(Step::CarryBack),
        2 => (0_u64..6_000).prop_map(Step::Advance),
        1 => Just(Step::CloseByClient),
        1 => Just(Step::CloseByServer),
    ]
}

/// A pair, and what is known of it.
struct World {
    pair: Pair,
    /// Channels that were opened, at either end, and have not ended there.
    client: HashMap<ChannelId, bool>,
    server: HashMap<ChannelId, bool>,
    /// Channels of the client on which a call was overdue, and with which the server is not through.
    unreleased: HashSet<ChannelId>,
    /// What the server was asked and has not answered.
    asked: VecDeque<(ChannelId, Method)>,
    /// Messages that came to the server, by channel, in confirm mode.
    to_confirm: HashMap<ChannelId, u64>,
    closed: [Option<CloseReason>; 2],
}

impl World {
    fn new() -> Self {
        let limits = ConnectionLimits {
            channel_max: 4,
            frame_max: 4096,
            call_timeout: Duration::from_secs(5),
            close_timeout: Duration::from_secs(5),
            ..ConnectionLimits::default()
        };
        Self {
            pair: Pair::open_with(limits.clone(), limits),
            client: HashMap::new(),
            server: HashMap::new(),
            unreleased: HashSet::new(),
            asked: VecDeque::new(),
            to_confirm: HashMap::new(),
            closed: [None, None],
        }
    }

    fn take(&mut self, step: Step) {
        let now = self.pair.now;
        match step {
            Step::OpenChannel => {
                if let Ok(id) = self.pair.client.connection.open_channel(now) {
                    assert_eq!(self.client.insert(id, false), None, "{id} is in use");
                }
            }
            Step::Client(at, step) => self.client_step(at, step),
            Step::Server(at, step) => self.server_step(at, step),
            Step::Answer => self.answer(),
            Step::Carry(len) => _ = self.pair.carry_part(len),
            Step::CarryBack(len) => self.pair.carry_part_back(len),
            Step::Advance(milliseconds) => {
                self.pair.now += Duration::from_millis(milliseconds);
                let now = self.pair.now;
                self.pair.client.connection.handle_timeout(now);
                self.pair.server.connection.handle_timeout(now);
            }
            Step::CloseByClient => {
                let (code, text) = goodbye();
                self.pair.client.connection.close(now, code, text);
            }
            Step::CloseByServer => {
                let (code, text) = goodbye();
                self.pair.server.connection.close(now, code, text);
            }
        }
        self.check_events();
    }

    fn client_step(&mut self, at: Index, step: ClientStep) {
        let now = self.pair.now;
        let id = ChannelId(1 + at.index(4) as u16);
        let Some(mut channel) = self.pair.client.connection.channel(id) else {
            return;
        };
        // It may not be open, which is an error and no more.
        let _ = match step {
            ClientStep::Declare => channel.send(now, queue::Declare::default()),
            ClientStep::Consume => channel.send(now, basic::Consume::default()),
            ClientStep::Get => channel.send(now, basic::Get::default()),
            ClientStep::Select => channel.send(now, confirm::Select::default()),
            ClientStep::Publish(len) => publish(&mut channel, len),
            ClientStep::Ack => channel.ack(1, true),
            ClientStep::Close => {
                let (code, text) = goodbye();
                channel.close(now, code, text)
            }
        };
    }

    fn server_step(&mut self, at: Index, step: ServerStep) {
        let now = self.pair.now;
        let id = ChannelId(1 + at.index(4) as u16);
        let Some(mut channel) = self.pair.server.connection.channel(id) else {
            return;
        };
        let _ = match step {
            ServerStep::Deliver(len) => {
                let body = Bytes::from(vec![7; len]);
                channel.send_content(basic::Deliver::default(), &Properties::EMPTY, &body)
            }
            ServerStep::Confirm => match self.to_confirm.get(&id) {
                Some(&published @ 1..) => channel.ack(published, true),
                _ => Ok(()),
            },
            ServerStep::Cancel => channel.send(now, basic::Cancel::default()),
            ServerStep::Flow => channel.send(now, channel::Flow { active: true }),
            ServerStep::Close => {
                let (code, text) = goodbye();
                channel.close(now, code, text)
            }
        };
    }

    fn answer(&mut self) {
        let now = self.pair.now;
        let Some((id, method)) = self.asked.pop_front() else {
            return;
        };
        let Some(mut channel) = self.pair.server.connection.channel(id) else {
            return;
        };
        let _ = match method {
            Method::QueueDeclare(_) => channel.send(now, queue::DeclareOk::default()),
            Method::BasicConsume(_) => channel.send(now, basic::ConsumeOk::default()),
            Method::BasicGet(_) => {
                let body = Bytes::from_static(b"got");
                channel.send_content(basic::GetOk::default(), &Properties::EMPTY, &body)
            }
            Method::ConfirmSelect(_) => {
                self.to_confirm.entry(id).or_insert(0);
                channel.send(now, confirm::SelectOk)
            }
            _ => Ok(()),
        };
    }

    fn check_events(&mut self) {
        self.pair.client.poll_events();
        self.pair.server.poll_events();
        for event in self.pair.client.take_events() {
            assert!(self.closed[0].is_none(), "after the end: {event:?}");
            match event {
                Event::ChannelOpen { channel } => {
                    assert_eq!(self.client.insert(channel, true), Some(false));
                }
                Event::ChannelClosed { channel, reason } => {
                    assert!(self.client.remove(&channel).is_some(), "{reason}");
                    if let ChannelCloseReason::CallTimeout(method) = reason
                        && method != channel::Close::ID
                    {
                        self.unreleased.insert(channel);
                    }
                }
                Event::ChannelReleased { channel } => {
                    assert!(self.unreleased.remove(&channel));
                }
                Event::Closed(reason) => self.closed[0] = Some(reason),
                Event::Reply { channel, .. }
                | Event::Got { channel, .. }
                | Event::Delivery { channel, .. }
                | Event::Confirm { channel, .. }
                | Event::ConsumerCancelled { channel, .. }
                | Event::Flow { channel, .. } => {
                    assert_eq!(self.client.get(&channel), Some(&true));
                }
                other => panic!("{other:?}"),
            }
        }
        for event in self.pair.server.take_events() {
            assert!(self.closed[1].is_none(), "after the end: {event:?}");
            match event {
                Event::ChannelOpen { channel } => {
                    assert_eq!(self.server.insert(channel, true), None);
                }
                Event::ChannelClosed { channel, reason } => {
                    assert!(self.server.remove(&channel).is_some(), "{reason}");
                    assert!(!matches!(reason, ChannelCloseReason::CallTimeout(method)
                        if Method::from(channel::Close::default()).id() != method));
                    self.asked.retain(|(asked, _)| *asked != channel);
                    self.to_confirm.remove(&channel);
                }
                Event::Request { channel, method } => self.asked.push_back((channel, *method)),
                Event::Published { channel, .. } => {
                    if let Some(published) = self.to_confirm.get_mut(&channel) {
                        *published += 1;
                    }
                }
                Event::Closed(reason) => self.closed[1] = Some(reason),
                other => panic!("{other:?}"),
            }
        }
        for reason in self.closed.iter().flatten() {
            assert!(!matches!(reason, CloseReason::Violation(_)), "{reason}");
        }
    }

    /// Lets all of it come to an end.
    fn finish(mut self) {
        while !self.asked.is_empty() {
            self.answer();
        }
        self.pair.run();
        self.check_events();
        assert!(self.unreleased.is_empty() || self.closed[0].is_some());
        self.take(Step::CloseByClient);
        self.pair.run();
        self.check_events();
        assert!(self.closed[0].is_some());
        self.pair.server.connection.transport_ended();
        self.check_events();
        assert!(self.closed[1].is_some());
    }
}

fn publish(channel: &mut Channel<'_>, len: usize) -> Result<(), snowshoe_codec::SendError> {
    let published = channel.publish(&Publish {
        exchange: Default::default(),
        routing_key: Default::default(),
        mandatory: false,
        properties: &Properties::EMPTY,
        body: &vec![7; len].into(),
    });
    published.map(|_| ())
}

proptest! {
    #[test]
    fn two_ends_never_find_fault_with_each_other(steps in vec(step(), 0..200)) {
        let mut world = World::new();
        for step in steps {
            world.take(step);
        }
        world.finish();
    }
}
