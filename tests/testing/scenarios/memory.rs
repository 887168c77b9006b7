//! The broker in memory, in virtual time.

use std::time::{Duration, Instant};

use bytes::{BufMut, BytesMut};
use snowshoe::ShortString;
use snowshoe::codec::Connection;
use snowshoe::testing::{Broker, BrokerOptions, ConnectionId};

use super::play::Stage;

pub(crate) struct Memory {
    now: Instant,
    broker: Broker,
}

impl Memory {
    pub(crate) fn new(options: BrokerOptions) -> Self {
        Self {
            now: Instant::now(),
            broker: Broker::new(options),
        }
    }
}

pub(crate) struct Wire {
    id: ConnectionId,
    unread: BytesMut,
}

impl Stage for Memory {
    type Wire = Wire;

    const IS_PROMPT: bool = true;

    fn now(&self) -> Instant {
        self.now
    }

    fn dial(&mut self) -> Wire {
        Wire {
            id: self.broker.connect(self.now),
            unread: BytesMut::new(),
        }
    }

    fn carry(&mut self, wire: &mut Wire, client: &mut Connection, _patient: bool) -> bool {
        wire.unread.put(client.outbound());
        let before = wire.unread.len();
        self.broker.receive(self.now, wire.id, &mut wire.unread);
        let mut back = BytesMut::new();
        if let Some(outbound) = self.broker.outbound(wire.id) {
            back.put(outbound);
        }
        let moved = wire.unread.len() < before || !back.is_empty();
        let is_behind = client.receive(self.now, &mut back);
        assert!(!is_behind, "more events at once than a scenario has");
        if self.broker.is_finished(wire.id) && !client.is_closed() {
            client.transport_ended();
            return true;
        }
        moved
    }

    fn inject(&mut self, wire: &mut Wire, bytes: &[u8]) {
        wire.unread.extend_from_slice(bytes);
    }

    fn hang_up(&mut self, wire: Wire) {
        self.broker.transport_ended(self.now, wire.id);
    }

    fn pass(&mut self, time: Duration) {
        let until = self.now + time;
        while let Some(next) = self.broker.poll_timeout().filter(|next| *next <= until) {
            self.now = self.now.max(next);
            self.broker.handle_timeout(self.now);
        }
        self.now = until;
    }

    fn restart(&mut self) {
        self.broker.restart(self.now);
    }

    fn alarm(&mut self, raised: bool) {
        match raised {
            true => self.broker.block(ShortString::from_static("low on memory")),
            false => self.broker.unblock(),
        }
    }

    fn sync(&mut self, _queues: &[ShortString]) {}

    fn clean(&mut self, _queues: &[ShortString], _exchanges: &[ShortString]) {}
}
