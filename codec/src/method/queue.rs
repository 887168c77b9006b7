//! Class `queue`: where messages wait for consumers.

use super::argument::methods;
use crate::{table::FieldTable, types::ShortString};

methods! {
    class 50;

    /// Creates a queue, or checks that it exists.
    Declare = 10 "queue.declare" from Client -> [DeclareOk] {
        /// Reserved.
        ticket: u16,
        /// The name of the queue, or nothing for one that the server names.
        queue: ShortString,
        /// Whether only to check that there is a queue of this name.
        passive: bool,
        /// Whether it outlives a restart of the server.
        durable: bool,
        /// Whether only this connection may use it, and it goes away with it.
        exclusive: bool,
        /// Whether it goes away with its last consumer.
        auto_delete: bool,
        /// Whether not to be answered.
        nowait: bool,
        /// What the server knows besides, such as `x-queue-type`.
        arguments: FieldTable,
    }

    /// Confirms that the queue exists.
    DeclareOk = 11 "queue.declare-ok" from Server -> [] {
        /// The name of the queue.
        queue: ShortString,
        /// How many messages are ready in it.
        message_count: u32,
        /// How many consumers it has.
        consumer_count: u32,
    }

    /// Routes messages from an exchange to a queue.
    Bind = 20 "queue.bind" from Client -> [BindOk] {
        /// Reserved.
        ticket: u16,
        /// The queue that messages go to.
        queue: ShortString,
        /// The exchange that messages come from.
        exchange: ShortString,
        /// Which messages, in the way of the exchange's type.
        routing_key: ShortString,
        /// Whether not to be answered.
        nowait: bool,
        /// Which messages, for an exchange of type `headers`.
        arguments: FieldTable,
    }

    /// Confirms the binding.
    BindOk = 21 "queue.bind-ok" from Server -> [] {}

    /// Drops the messages that are ready in a queue.
    Purge = 30 "queue.purge" from Client -> [PurgeOk] {
        /// Reserved.
        ticket: u16,
        /// The name of the queue.
        queue: ShortString,
        /// Whether not to be answered.
        nowait: bool,
    }

    /// Confirms that the messages are gone.
    PurgeOk = 31 "queue.purge-ok" from Server -> [] {
        /// How many they were.
        message_count: u32,
    }

    /// Deletes a queue, its bindings and its messages.
    Delete = 40 "queue.delete" from Client -> [DeleteOk] {
        /// Reserved.
        ticket: u16,
        /// The name of the queue.
        queue: ShortString,
        /// Whether to refuse while it has consumers.
        if_unused: bool,
        /// Whether to refuse while it has messages.
        if_empty: bool,
        /// Whether not to be answered.
        nowait: bool,
    }

    /// Confirms that the queue is gone.
    DeleteOk = 41 "queue.delete-ok" from Server -> [] {
        /// How many messages went with it.
        message_count: u32,
    }

    /// Undoes a binding of a queue. It is always answered.
    Unbind = 50 "queue.unbind" from Client -> [UnbindOk] {
        /// Reserved.
        ticket: u16,
        /// The queue that messages went to.
        queue: ShortString,
        /// The exchange that messages came from.
        exchange: ShortString,
        /// The routing key of the binding.
        routing_key: ShortString,
        /// The arguments of the binding.
        arguments: FieldTable,
    }

    /// Confirms that the binding is gone.
    UnbindOk = 51 "queue.unbind-ok" from Server -> [] {}
}
