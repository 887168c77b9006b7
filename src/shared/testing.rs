//! What a driver does with an outbox, for tests.

use std::net::SocketAddr;

use snowshoe_codec::{ConnectionLimits, PublisherConfirm};

use super::outbox::Outbox;
use crate::core::testing::Line;
use crate::runtime::{Runtime, TcpOptions, Timer};
use crate::transport::Connecting;

/// A runtime for a client without a driver.
#[derive(Debug)]
pub(super) struct Timeless;

impl Runtime for Timeless {
    fn timer(&self) -> Box<dyn Timer> {
        unreachable!("there is no driver")
    }

    fn connect(&self, _: SocketAddr, _: TcpOptions) -> Connecting {
        unreachable!("there is no driver")
    }
}

/// Writes what is in an outbox to a channel, so that it waits for its confirm.
pub(super) fn transmit(outbox: &Outbox) {
    let mut line = Line::open(ConnectionLimits::default());
    let channel = line.open_channel();
    outbox.with(|state| {
        state.publisher.online();
        let mut channel = line.client.channel(channel).expect("it is open");
        state.publisher.transmit(&mut channel, usize::MAX);
    });
}

/// The broker's word on the first message.
pub(super) fn confirm(outbox: &Outbox, ack: bool) {
    let confirm = PublisherConfirm {
        delivery_tag: 1,
        multiple: false,
        ack,
    };
    outbox.with(|state| state.publisher.confirm(confirm).expect("it was sent"));
}
