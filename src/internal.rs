//! What this repository's own tools need of the client: the simulation, the fuzz harness and the
//! micro-benchmarks. Nobody else is to use it, and it changes without notice.

use std::collections::VecDeque;
use std::sync::Arc;

use snowshoe_codec as codec;
use snowshoe_codec::ShortString;

use crate::core::backlog;
use crate::core::ring::Limits;
pub use crate::core::{
    Epoch, Flow, acks, backoff, confirms, isolation, publisher, ring, session, subscription,
    supervisor, topology,
};
use crate::delivery::Delivery;
use crate::driver::Driver;
use crate::shared::inbox;
#[cfg(feature = "testing")]
use crate::testing::Broker;

/// How many bytes are encoded and not written, on the connection with the most of them.
pub fn unwritten(driver: &mut Driver) -> usize {
    driver.unwritten()
}

/// Panics where two places of a broker do not say the same.
#[cfg(feature = "testing")]
pub fn check_books(broker: &Broker) {
    broker.check_books();
}

/// How many messages a broker has, wherever they are.
#[cfg(feature = "testing")]
pub fn message_count(broker: &Broker) -> usize {
    broker.message_count()
}

/// What a consumer shares with the driver, without either.
#[derive(Debug)]
pub struct Inbox(Arc<inbox::Inbox>);

impl Inbox {
    /// An inbox whose deliveries are to be settled.
    pub fn new(queue: ShortString, limits: Limits) -> Self {
        let spec = subscription::ConsumerSpec {
            queue,
            ..Default::default()
        };
        let bounds = backlog::Bounds {
            messages: limits.messages,
            bytes: limits.bytes,
            prefetch: None,
        };
        Self(Arc::new(inbox::Inbox::new(&spec, bounds, Arc::default())))
    }

    /// A channel is there, with this queue.
    pub fn begin_epoch(&self, epoch: Epoch, queue: ShortString) {
        let flow = Flow::Wide { prefetch: 0 };
        self.0.begin_epoch(epoch, queue, flow);
    }

    /// The driver puts deliveries in.
    pub fn fill(&self, batch: &mut VecDeque<codec::Delivery>) {
        self.0.fill(batch);
    }

    /// The consumer swaps an empty batch for all that waits.
    pub fn take(&self, batch: &mut VecDeque<codec::Delivery>) {
        let released = self.0.waiting();
        self.0.take(batch, released, None);
    }

    /// A delivery as the user gets it.
    pub fn delivery(&self, delivery: codec::Delivery, epoch: Epoch) -> Delivery {
        Delivery::new(delivery, epoch, &self.0)
    }

    /// Gives the settles that wait to the driver.
    pub fn flush(&self, send: impl FnMut(acks::SettleFrame)) {
        _ = self.0.flush(send);
    }
}
