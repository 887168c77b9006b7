//! Class `exchange`: where messages are published to.

use super::argument::methods;
use crate::{table::FieldTable, types::ShortString};

methods! {
    class 40;

    /// Creates an exchange, or checks that it exists.
    Declare = 10 "exchange.declare" from Client -> [DeclareOk] {
        /// Reserved.
        ticket: u16,
        /// The name of the exchange.
        exchange: ShortString,
        /// Its type (`type` on the wire): `direct`, `fanout`, `topic`, `headers`, or one of a plugin.
        kind: ShortString,
        /// Whether only to check that there is an exchange of this name.
        passive: bool,
        /// Whether it outlives a restart of the server.
        durable: bool,
        /// Whether it goes away with its last binding.
        auto_delete: bool,
        /// Whether only other exchanges may publish to it.
        internal: bool,
        /// Whether not to be answered.
        nowait: bool,
        /// What the server or its plugins know besides, such as `alternate-exchange`.
        arguments: FieldTable,
    }

    /// Confirms that the exchange exists.
    DeclareOk = 11 "exchange.declare-ok" from Server -> [] {}

    /// Deletes an exchange and its bindings.
    Delete = 20 "exchange.delete" from Client -> [DeleteOk] {
        /// Reserved.
        ticket: u16,
        /// The name of the exchange.
        exchange: ShortString,
        /// Whether to refuse while something is bound to it.
        if_unused: bool,
        /// Whether not to be answered.
        nowait: bool,
    }

    /// Confirms that the exchange is gone.
    DeleteOk = 21 "exchange.delete-ok" from Server -> [] {}

    /// Routes messages from an exchange to another. A RabbitMQ extension.
    Bind = 30 "exchange.bind" from Client -> [BindOk] {
        /// Reserved.
        ticket: u16,
        /// The exchange that messages go to.
        destination: ShortString,
        /// The exchange that messages come from.
        source: ShortString,
        /// Which messages, in the way of the source's type.
        routing_key: ShortString,
        /// Whether not to be answered.
        nowait: bool,
        /// Which messages, for a source of type `headers`.
        arguments: FieldTable,
    }

    /// Confirms the binding.
    BindOk = 31 "exchange.bind-ok" from Server -> [] {}

    /// Undoes a binding between exchanges. A RabbitMQ extension.
    Unbind = 40 "exchange.unbind" from Client -> [UnbindOk] {
        /// Reserved.
        ticket: u16,
        /// The exchange that messages went to.
        destination: ShortString,
        /// The exchange that messages came from.
        source: ShortString,
        /// The routing key of the binding.
        routing_key: ShortString,
        /// Whether not to be answered.
        nowait: bool,
        /// The arguments of the binding.
        arguments: FieldTable,
    }

    /// Confirms that the binding is gone. Its id does not follow that of `unbind`.
    UnbindOk = 51 "exchange.unbind-ok" from Server -> [] {}
}
