mod ages;
mod chance;
mod held;
mod order;
mod outcomes;
mod poison;
mod properties;
mod returns;
mod room;
mod unconfirmed;
mod undelivered;
mod withdrawn;

use bytes::Buf;
use snowshoe_codec::method::{channel, confirm};
use snowshoe_codec::{ChannelCloseReason, ChannelId, ConnectionLimits, Event, FieldTable};

use super::*;
use crate::core::testing::{Line, frame, name};

const ROOMY: Limits = Limits {
    messages: 100,
    bytes: 1_000_000,
};
const EVERYTHING: usize = usize::MAX;

/// Who waits for something, by name.
type Waiter = &'static str;

/// A publisher and its broker.
struct World {
    line: Line,
    channel: ChannelId,
    confirms: bool,
    /// Whether others publish on the channel.
    is_shared: bool,
    publisher: Publisher<Waiter>,
}

impl World {
    /// A publisher in confirm mode that is online.
    fn new() -> Self {
        Self::with(Settlement::Confirm, Overflow::Refuse, ROOMY)
    }

    fn fire_and_forget() -> Self {
        Self::with(Settlement::Written, Overflow::DropOldest, ROOMY)
    }

    fn dropping_oldest(limits: Limits) -> Self {
        Self::with(Settlement::Confirm, Overflow::DropOldest, limits)
    }

    fn with(settlement: Settlement, overflow: Overflow, limits: Limits) -> Self {
        let address = Address {
            exchange: ShortString::EMPTY,
            routing_key: name("q"),
            mandatory: true,
            properties: Properties::default(),
            identifies: None,
        };
        let mut world = Self {
            line: Line::open(ConnectionLimits::default()),
            channel: ChannelId(0),
            confirms: settlement == Settlement::Confirm,
            is_shared: false,
            publisher: Publisher::new(address, settlement, overflow, limits),
        };
        world.open_channel();
        world
    }

    fn open_channel(&mut self) {
        self.channel = self.line.open_channel();
        if self.confirms {
            let mut channel = self.line.client.channel(self.channel).unwrap();
            channel
                .send(self.line.now, confirm::Select::default())
                .unwrap();
            self.line.run();
        }
        self.publisher.online();
    }

    fn lose_connection(&mut self) {
        self.publisher.offline();
    }

    fn reconnect(&mut self) {
        self.reconnect_within(ConnectionLimits::default());
    }

    fn reconnect_within(&mut self, limits: ConnectionLimits) {
        let arrivals = std::mem::take(&mut self.line.broker.arrivals);
        self.line = Line::open(limits);
        self.line.broker.arrivals = arrivals;
        self.open_channel();
    }

    /// Publishes something whose outcome somebody will ask for.
    fn publish(&mut self, body: &str) -> u64 {
        self.publisher.push(Message::from(body), true).unwrap()
    }

    fn publish_all<const N: usize>(&mut self, bodies: [&str; N]) -> [u64; N] {
        bodies.map(|body| self.publish(body))
    }

    /// Writes what may be written, and lets the broker have it.
    fn transmit(&mut self) {
        self.write(EVERYTHING);
        self.run();
    }

    /// Writes messages into the connection, and no further.
    fn write(&mut self, budget: usize) -> bool {
        match self.line.client.channel(self.channel) {
            Some(mut channel) => self.publisher.transmit(&mut channel, budget),
            None => false,
        }
    }

    /// Lets the bytes flow, and the publisher hear what comes of it.
    fn run(&mut self) {
        for event in self.line.run() {
            match event {
                Event::Confirm { confirm, .. } => self
                    .publisher
                    .confirm(confirm)
                    .expect("the codec lets no other through"),
                Event::Returned { returned, .. } if self.is_shared => {
                    self.publisher.perhaps_returned(&returned);
                }
                Event::Returned { returned, .. } => self.publisher.returned(&returned),
                Event::ChannelClosed {
                    reason: ChannelCloseReason::Peer(close),
                    ..
                } => {
                    self.publisher.rejected(&close);
                    self.open_channel();
                }
                _ => {}
            }
        }
    }

    fn ack(&mut self, tag: u64, multiple: bool) {
        let Line { now, broker, .. } = &mut self.line;
        broker.ack(*now, self.channel, tag, multiple);
        self.run();
    }

    fn nack(&mut self, tag: u64, multiple: bool) {
        let Line { now, broker, .. } = &mut self.line;
        broker.nack(*now, self.channel, tag, multiple);
        self.run();
    }

    fn return_message(&mut self, body: &str) {
        self.line.broker.return_message(self.channel, "q", body);
        self.run();
    }

    /// Writes whatever there is, while the broker acks all that it takes.
    fn publish_everything(&mut self) {
        for _ in 0..100 {
            self.transmit();
            if self.publisher.is_empty() {
                return;
            }
            self.ack(0, true);
        }
        panic!("it does not come to an end");
    }

    /// The bodies that the broker took since it was last asked.
    fn arrived(&mut self) -> Vec<String> {
        let arrivals = std::mem::take(&mut self.line.broker.arrivals);
        arrivals.into_iter().map(|arrival| arrival.body).collect()
    }

    /// Who was to be woken since this was last asked.
    fn woken(&mut self) -> Vec<&'static str> {
        self.publisher.take_woken().collect()
    }

    fn outcome(&mut self, position: u64) -> Option<Result<(), Unconfirmed>> {
        let is_confirmed = position < self.publisher.confirmed_before();
        let outcome = self.publisher.poll_outcome(position, || "somebody");
        assert!(!is_confirmed || outcome == Some(Ok(())), "{outcome:?}");
        outcome
    }

    /// How messages ended that have ended.
    fn outcomes<const N: usize>(&mut self, positions: [u64; N]) -> [Result<(), Unconfirmed>; N] {
        positions.map(|position| self.outcome(position).expect("it has ended"))
    }
}

fn unconfirmed(reason: UnconfirmedReason, possibly_stored: bool) -> Result<(), Unconfirmed> {
    Err(Unconfirmed {
        reason,
        possibly_stored,
        producer: None,
    })
}

fn nacked() -> Result<(), Unconfirmed> {
    unconfirmed(UnconfirmedReason::Nacked, false)
}

fn dropped(reason: DropReason, possibly_stored: bool) -> Result<(), Unconfirmed> {
    unconfirmed(UnconfirmedReason::Dropped(reason), possibly_stored)
}

fn reason(outcome: &Result<(), Unconfirmed>) -> Option<&UnconfirmedReason> {
    outcome.as_ref().err().map(|it| &it.reason)
}

fn is_returned(outcome: &Result<(), Unconfirmed>) -> bool {
    matches!(reason(outcome), Some(UnconfirmedReason::Returned(_)))
}

fn is_rejected(outcome: &Result<(), Unconfirmed>) -> bool {
    matches!(reason(outcome), Some(UnconfirmedReason::Rejected(_)))
}

/// Whether the broker may have a message that was not acknowledged.
fn possibly_stored(outcome: &Result<(), Unconfirmed>) -> bool {
    outcome
        .as_ref()
        .expect_err("it was not acknowledged")
        .possibly_stored
}
