//! Plays a scenario on a broker.

use snowshoe::codec::ChannelId;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use snowshoe::codec::method::{channel, queue};
use snowshoe::codec::sasl::Plain;
use snowshoe::codec::{
    ClientOptions, Connection, ConnectionLimits, Event, Method, Publish, PublisherConfirm,
};
use snowshoe::{ReplyCode, ShortString};

use super::step::{Act, Post, Scenario, Step, name};
use super::transcript::{Lane, Transcript, line};

/// A broker to play on.
pub(crate) trait Stage {
    type Wire;

    fn now(&self) -> Instant;
    fn dial(&mut self) -> Self::Wire;
    /// Carries what both sides have to say; whether that was anything. A patient one waits a moment
    /// for the broker.
    fn carry(&mut self, wire: &mut Self::Wire, client: &mut Connection, patient: bool) -> bool;
    /// Sends bytes past the client.
    fn inject(&mut self, wire: &mut Self::Wire, bytes: &[u8]);
    fn hang_up(&mut self, wire: Self::Wire);
    fn pass(&mut self, time: Duration);
    fn restart(&mut self);
    fn alarm(&mut self, raised: bool);
    /// Makes sure that what reached the broker has reached all of these queues.
    fn sync(&mut self, queues: &[ShortString]);
    /// Forgets what a scenario may have left behind.
    fn clean(&mut self, queues: &[ShortString], exchanges: &[ShortString]);
    /// Whether everything has been heard once nobody has anything to say any more.
    const IS_PROMPT: bool;
}

/// How much is to be heard after each step.
pub(crate) enum Expected {
    /// Whatever comes until all is quiet.
    Quiet,
    /// As many lines as these; fewer are waited for in vain, more are found later.
    Counts(Vec<usize>),
}

pub(crate) struct Play<'a, S: Stage> {
    stage: S,
    scenario: &'a Scenario,
    links: BTreeMap<usize, Link<S::Wire>>,
    heard: BTreeMap<Lane, Vec<String>>,
    count: usize,
    /// Where the answer to what was delivered last is to go.
    reply_to: ShortString,
}

struct Link<W> {
    connection: Connection,
    wire: W,
    /// The channels of the scenario, by those of the connection.
    channels: BTreeMap<ChannelId, usize>,
    /// The publishes that were confirmed, by the channel.
    confirmed: BTreeMap<ChannelId, Vec<u64>>,
    /// How many answers to channel.flow, which no scenario contains, are still to come.
    pings: usize,
}

impl<'a, S: Stage> Play<'a, S> {
    pub(crate) fn new(stage: S, scenario: &'a Scenario) -> Self {
        Self {
            stage,
            scenario,
            links: BTreeMap::new(),
            heard: BTreeMap::new(),
            count: 0,
            reply_to: ShortString::EMPTY,
        }
    }

    /// The transcript, and how many lines came after each step.
    pub(crate) fn run(mut self, expected: Expected) -> (Transcript, Vec<usize>) {
        let (queues, exchanges) = self.scenario.names();
        self.stage.clean(&queues, &exchanges);
        let mut transcript = Transcript::default();
        let mut counts = Vec::new();
        for (index, step) in self.scenario.steps.iter().enumerate() {
            self.perform(step);
            let expected = match &expected {
                Expected::Quiet => 0,
                Expected::Counts(counts) => counts[index],
            };
            self.listen(expected, step, &queues);
            counts.push(std::mem::take(&mut self.count));
            transcript.step(words(step), std::mem::take(&mut self.heard));
        }
        self.listen_to_all();
        transcript.step("the end".to_owned(), std::mem::take(&mut self.heard));
        for (_, link) in std::mem::take(&mut self.links) {
            self.stage.hang_up(link.wire);
        }
        self.stage.clean(&queues, &exchanges);
        (transcript, counts)
    }

    fn perform(&mut self, step: &Step) {
        match &step.act {
            Act::Pass(time) => return self.stage.pass(*time),
            Act::Restart => return self.stage.restart(),
            Act::Alarm(raised) => return self.stage.alarm(*raised),
            Act::Connect {
                user,
                password,
                virtual_host,
                frame_max,
            } => {
                let options = ClientOptions {
                    virtual_host: name(virtual_host),
                    limits: ConnectionLimits {
                        frame_max: *frame_max,
                        ..ConnectionLimits::default()
                    },
                    ..ClientOptions::new(Plain::new(*user, *password))
                };
                let link = self.connect(options);
                self.links.insert(step.connection, link);
                return;
            }
            Act::HangUp => {
                if let Some(link) = self.links.remove(&step.connection) {
                    self.stage.hang_up(link.wire);
                }
                return;
            }
            _ => {}
        }
        let channel = self.channel(step);
        let now = self.stage.now();
        let Some(link) = self.links.get_mut(&step.connection) else {
            return;
        };
        if let Act::Raw(bytes) = &step.act {
            return self.stage.inject(&mut link.wire, bytes);
        }
        if matches!(step.act, Act::CloseConnection) {
            let text = ShortString::EMPTY;
            return link.connection.close(now, ReplyCode::SUCCESS, text);
        }
        let Some(mut channel) = channel.and_then(|channel| link.connection.channel(channel)) else {
            return;
        };
        let sent = match &step.act {
            Act::Send(method) => channel.send(now, method.clone()),
            Act::DeclareAddress { passive } => channel.send(
                now,
                queue::Declare {
                    queue: self.reply_to.clone(),
                    passive: *passive,
                    ..Default::default()
                },
            ),
            Act::Publish(post) | Act::Answer(post) => channel
                .publish(&Publish {
                    exchange: post.exchange.as_short_str(),
                    routing_key: match &step.act {
                        Act::Answer(_) => self.reply_to.as_short_str(),
                        _ => post.key.as_short_str(),
                    },
                    mandatory: post.mandatory,
                    properties: &post.properties,
                    body: &post.body,
                })
                .map(|_| ()),
            _ => channel.close(now, ReplyCode::SUCCESS, ShortString::EMPTY),
        };
        sent.expect("the client can send it");
    }

    /// The channel that a step is on; it and its connection are opened if they are not open.
    fn channel(&mut self, step: &Step) -> Option<ChannelId> {
        let gone = self
            .links
            .get(&step.connection)
            .is_some_and(|link| link.connection.is_closed());
        if gone && let Some(link) = self.links.remove(&step.connection) {
            self.stage.hang_up(link.wire);
        }
        if !self.links.contains_key(&step.connection) {
            // Time that passes in a scenario is not to be filled with heartbeats.
            let options = ClientOptions {
                limits: ConnectionLimits {
                    heartbeat: Duration::from_secs(1000),
                    ..ConnectionLimits::default()
                },
                ..ClientOptions::new(Plain::new("guest", "guest"))
            };
            let link = self.connect(options);
            self.links.insert(step.connection, link);
        }
        let now = self.stage.now();
        let link = self.links.get_mut(&step.connection)?;
        if let Some((id, _)) = link
            .channels
            .iter()
            .find(|(_, number)| **number == step.channel)
        {
            return Some(*id);
        }
        let id = link.connection.open_channel(now).ok()?;
        link.channels.insert(id, step.channel);
        self.wait(step.connection, |link| {
            link.connection
                .channel(id)
                .is_none_or(|channel| channel.is_open())
        });
        Some(id)
    }

    /// A connection that the broker has let in, or has not.
    fn connect(&mut self, options: ClientOptions) -> Link<S::Wire> {
        let mut connection = Connection::client(options, self.stage.now());
        let mut wire = self.stage.dial();
        while !connection.is_open() && !connection.is_closed() {
            connection.handle_timeout(self.stage.now());
            let moved = self.stage.carry(&mut wire, &mut connection, true);
            if S::IS_PROMPT && !moved {
                // It takes its time.
                self.stage.pass(Duration::from_secs(1));
            }
        }
        Link {
            connection,
            wire,
            channels: BTreeMap::new(),
            confirmed: BTreeMap::new(),
            pings: 0,
        }
    }

    /// Lets a connection talk until something holds, or for a few seconds.
    fn wait(&mut self, connection: usize, mut holds: impl FnMut(&mut Link<S::Wire>) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while Instant::now() < deadline {
            self.hear(connection, true);
            let Some(link) = self.links.get_mut(&connection) else {
                return;
            };
            if link.connection.is_closed() || holds(link) {
                return;
            }
        }
    }

    fn listen(&mut self, expected: usize, step: &Step, queues: &[ShortString]) {
        if S::IS_PROMPT {
            return self.hear_all();
        }
        let deadline = Instant::now() + PATIENCE;
        while self.count < expected && Instant::now() < deadline {
            self.hear(step.connection, true);
            if self.count < expected {
                self.hear_all();
            }
        }
        self.ping(step.connection);
        self.stage.sync(queues);
        self.hear_all();
    }

    /// Makes sure that all has come that was sent on any channel.
    fn listen_to_all(&mut self) {
        for connection in self.links.keys().copied().collect::<Vec<_>>() {
            self.ping(connection);
        }
        self.hear_all();
    }

    /// Asks for an answer on all channels of a connection, and waits for it.
    fn ping(&mut self, connection: usize) {
        let now = self.stage.now();
        let Some(link) = self.links.get_mut(&connection) else {
            return;
        };
        for id in link.channels.keys() {
            if let Some(mut channel) = link.connection.channel(*id)
                && channel.send(now, channel::Flow { active: true }).is_ok()
            {
                link.pings += 1;
            }
        }
        // A channel that is closed meanwhile answers no more.
        self.wait(connection, |link| link.pings == 0);
    }

    fn hear_all(&mut self) {
        loop {
            let mut moved = false;
            for connection in self.links.keys().copied().collect::<Vec<_>>() {
                moved |= self.hear(connection, false);
            }
            if !moved {
                return;
            }
        }
    }

    /// Carries what there is on a connection, and writes down what it said.
    fn hear(&mut self, connection: usize, patient: bool) -> bool {
        let now = self.stage.now();
        let Some(link) = self.links.get_mut(&connection) else {
            return false;
        };
        link.connection.handle_timeout(now);
        let moved = self
            .stage
            .carry(&mut link.wire, &mut link.connection, patient);
        while let Some(event) = link.connection.poll_event() {
            let content = match &event {
                Event::Delivery { delivery, .. } => Some(&delivery.content),
                Event::Got { got, .. } => Some(&got.content),
                _ => None,
            };
            if let Some(properties) = content.and_then(|it| it.properties().ok())
                && let Some(reply_to) = properties.reply_to
            {
                self.reply_to = reply_to.to_owned();
            }
            for (channel, role, text) in link.lines(&event) {
                let channel = link.channels.get(&channel).copied().unwrap_or_default();
                let lane = Lane {
                    connection,
                    channel,
                    role,
                };
                let lane = self.heard.entry(lane).or_default();
                lane.push(text);
                if lane[0].starts_with("confirmed") {
                    lane.sort();
                }
                self.count += 1;
            }
            if let Event::ChannelClosed { channel, .. } = event {
                link.channels.remove(&channel);
                link.pings = 0;
            }
        }
        moved
    }
}

impl<W> Link<W> {
    fn lines(&mut self, event: &Event) -> Vec<(ChannelId, String, String)> {
        match event {
            Event::Reply { method, .. }
                if self.pings > 0 && matches!(**method, Method::ChannelFlowOk(_)) =>
            {
                self.pings -= 1;
                Vec::new()
            }
            Event::Confirm { channel, confirm } => {
                let PublisherConfirm {
                    delivery_tag,
                    multiple,
                    ack,
                } = *confirm;
                let confirmed = self.confirmed.entry(*channel).or_default();
                let tags = match multiple {
                    true => 1..=delivery_tag,
                    false => delivery_tag..=delivery_tag,
                };
                let tags: Vec<_> = tags.filter(|tag| !confirmed.contains(tag)).collect();
                confirmed.extend(&tags);
                let word = if ack { "ack" } else { "nack" };
                let line = |tag| {
                    (
                        *channel,
                        "confirm".to_owned(),
                        format!("confirmed {tag}: {word}"),
                    )
                };
                tags.into_iter().map(line).collect()
            }
            event => line(event).into_iter().collect(),
        }
    }
}

/// A step in words.
fn words(step: &Step) -> String {
    let act = match &step.act {
        Act::Send(method) => format!("{method:?}"),
        Act::Raw(bytes) => format!("{} raw bytes", bytes.len()),
        Act::Publish(Post { body, .. }) if body.len() > 100 => {
            format!("a publish of {} bytes", body.len())
        }
        other => format!("{other:?}"),
    };
    format!("{}/{}: {act}", step.connection, step.channel)
}

/// How long something is waited for that should come.
const PATIENCE: Duration = Duration::from_secs(2);
