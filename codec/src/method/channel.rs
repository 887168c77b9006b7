//! Class `channel`: the conversations within a connection.

use bytes::Bytes;

use super::argument::methods;
use crate::{reply::ReplyCode, types::ShortString};

methods! {
    class 20;

    /// Opens a channel.
    Open = 10 "channel.open" from Client -> [OpenOk] {
        /// Reserved.
        out_of_band: ShortString,
    }

    /// Confirms that the channel is open.
    OpenOk = 11 "channel.open-ok" from Server -> [] {
        /// Reserved.
        channel_id: Bytes,
    }

    /// Asks the peer to pause or to go on sending content. RabbitMQ refuses to be paused.
    Flow = 20 "channel.flow" from Both -> [FlowOk] {
        /// Whether to send.
        active: bool,
    }

    /// Confirms what `flow` asked for.
    FlowOk = 21 "channel.flow-ok" from Both -> [] {
        /// Whether the sender of this will send content.
        active: bool,
    }

    /// Asks to end the channel. Whoever sent it discards all but the answer.
    Close = 40 "channel.close" from Both -> [CloseOk] {
        /// Why.
        reply_code: ReplyCode,
        /// Why, in words.
        reply_text: ShortString,
        /// The class of the method that was at fault, or 0.
        class_id: u16,
        /// The method that was at fault, or 0.
        method_id: u16,
    }

    /// Ends the channel, and frees its number.
    CloseOk = 41 "channel.close-ok" from Both -> [] {}
}
