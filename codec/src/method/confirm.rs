//! Class `confirm`: publisher confirms, a RabbitMQ extension.

use super::argument::methods;

methods! {
    class 85;

    /// Has the server confirm every message that is published on this channel.
    Select = 10 "confirm.select" from Client -> [SelectOk] {
        /// Whether not to be answered.
        nowait: bool,
    }

    /// Confirms that the channel is in confirm mode.
    SelectOk = 11 "confirm.select-ok" from Server -> [] {}
}
