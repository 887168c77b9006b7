//! What a driver does with an outbox, for tests.

use snowshoe_codec::{ConnectionLimits, PublisherConfirm};

use super::outbox::Outbox;
use crate::core::testing::Line;

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
