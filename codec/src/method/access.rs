//! Class `access`: tickets, a leftover of AMQP 0-8 that no client needs any more.

use super::argument::methods;
use crate::types::ShortString;

methods! {
    class 30;

    /// Asks for a ticket. RabbitMQ answers 1 to everybody.
    Request = 10 "access.request" from Client -> [RequestOk] {
        /// The name of a group of resources.
        realm: ShortString,
        /// Whether to have them alone.
        exclusive: bool,
        /// Whether to use them passively.
        passive: bool,
        /// Whether to use them actively.
        active: bool,
        /// Whether to write to them.
        write: bool,
        /// Whether to read from them.
        read: bool,
    }

    /// Grants a ticket.
    RequestOk = 11 "access.request-ok" from Server -> [] {
        /// The ticket.
        ticket: u16,
    }
}
