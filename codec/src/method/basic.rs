//! Class `basic`: messages on their way to the server and from it.

use super::argument::methods;
use crate::{reply::ReplyCode, table::FieldTable, types::ShortString};

methods! {
    class 60;

    /// Limits how many messages are delivered before they are acknowledged.
    Qos = 10 "basic.qos" from Client -> [QosOk] {
        /// The limit in bytes; RabbitMQ takes only 0, which is none.
        prefetch_size: u32,
        /// The limit in messages; 0 is none.
        prefetch_count: u16,
        /// Whether the limit is for all consumers of the channel together, and not for each that
        /// is yet to come (RabbitMQ: it redefines the specification).
        global: bool,
    }

    /// Confirms the limit.
    QosOk = 11 "basic.qos-ok" from Server -> [] {}

    /// Starts a consumer.
    Consume = 20 "basic.consume" from Client -> [ConsumeOk] {
        /// Reserved.
        ticket: u16,
        /// The name of the queue.
        queue: ShortString,
        /// The name of the consumer, or nothing for one that the server names.
        consumer_tag: ShortString,
        /// Whether to leave out what this connection published. RabbitMQ does not do it.
        no_local: bool,
        /// Whether messages count as acknowledged once they are sent.
        no_ack: bool,
        /// Whether to refuse if the queue has another consumer.
        exclusive: bool,
        /// Whether not to be answered.
        nowait: bool,
        /// What the server knows besides, such as `x-priority`.
        arguments: FieldTable,
    }

    /// Confirms that the consumer is there.
    ConsumeOk = 21 "basic.consume-ok" from Server -> [] {
        /// The name of the consumer.
        consumer_tag: ShortString,
    }

    /// Ends a consumer. A server that sends it tells that the queue is gone; it asks for no answer.
    Cancel = 30 "basic.cancel" from Both -> [CancelOk] {
        /// The name of the consumer.
        consumer_tag: ShortString,
        /// Whether not to be answered.
        nowait: bool,
    }

    /// Confirms that the consumer is gone.
    CancelOk = 31 "basic.cancel-ok" from Both -> [] {
        /// The name of the consumer.
        consumer_tag: ShortString,
    }

    /// Publishes the message that follows.
    Publish = 40 "basic.publish" from Client -> [] {
        /// Reserved.
        ticket: u16,
        /// The name of the exchange; nothing is the default exchange.
        exchange: ShortString,
        /// Where the exchange is to route the message; for the default exchange, the name of a queue.
        routing_key: ShortString,
        /// Whether to return the message if no queue gets it.
        mandatory: bool,
        /// Whether to return the message if no consumer can get it at once. RabbitMQ refuses it.
        immediate: bool,
    }

    /// Returns the message that follows: it was mandatory or immediate, and could not be routed so.
    Return = 50 "basic.return" from Server -> [] {
        /// Why.
        reply_code: ReplyCode,
        /// Why, in words.
        reply_text: ShortString,
        /// The exchange it was published to.
        exchange: ShortString,
        /// The routing key it was published with.
        routing_key: ShortString,
    }

    /// Delivers the message that follows to a consumer.
    Deliver = 60 "basic.deliver" from Server -> [] {
        /// The name of the consumer.
        consumer_tag: ShortString,
        /// The number of the delivery on its channel.
        delivery_tag: u64,
        /// Whether the message may have been delivered before.
        redelivered: bool,
        /// The exchange it was published to.
        exchange: ShortString,
        /// The routing key it was published with.
        routing_key: ShortString,
    }

    /// Asks for one message.
    Get = 70 "basic.get" from Client -> [GetOk, GetEmpty] {
        /// Reserved.
        ticket: u16,
        /// The name of the queue.
        queue: ShortString,
        /// Whether the message counts as acknowledged once it is sent.
        no_ack: bool,
    }

    /// Answers with the message that follows.
    GetOk = 71 "basic.get-ok" from Server -> [] {
        /// The number of the delivery on its channel.
        delivery_tag: u64,
        /// Whether the message may have been delivered before.
        redelivered: bool,
        /// The exchange it was published to.
        exchange: ShortString,
        /// The routing key it was published with.
        routing_key: ShortString,
        /// How many messages are still ready in the queue.
        message_count: u32,
    }

    /// Answers that the queue is empty.
    GetEmpty = 72 "basic.get-empty" from Server -> [] {
        /// Reserved.
        cluster_id: ShortString,
    }

    /// Acknowledges deliveries or, from a server in confirm mode, messages published.
    Ack = 80 "basic.ack" from Both -> [] {
        /// The number of the delivery, or of the message since confirm mode began.
        delivery_tag: u64,
        /// Whether all before it are meant as well.
        multiple: bool,
    }

    /// Refuses a delivery.
    Reject = 90 "basic.reject" from Client -> [] {
        /// The number of the delivery.
        delivery_tag: u64,
        /// Whether the message goes back to the queue, and is not dropped or dead-lettered.
        requeue: bool,
    }

    /// Puts all unacknowledged deliveries back, without an answer. Deprecated.
    RecoverAsync = 100 "basic.recover-async" from Client -> [] {
        /// Whether others may get the messages.
        requeue: bool,
    }

    /// Puts all unacknowledged deliveries back.
    Recover = 110 "basic.recover" from Client -> [RecoverOk] {
        /// Whether others may get the messages. RabbitMQ refuses `false`.
        requeue: bool,
    }

    /// Confirms that the deliveries are back.
    RecoverOk = 111 "basic.recover-ok" from Server -> [] {}

    /// Refuses deliveries or, from a server in confirm mode, messages published. A RabbitMQ extension.
    Nack = 120 "basic.nack" from Both -> [] {
        /// The number of the delivery, or of the message since confirm mode began.
        delivery_tag: u64,
        /// Whether all before it are meant as well.
        multiple: bool,
        /// Whether the messages go back to the queue, and are not dropped or dead-lettered.
        requeue: bool,
    }
}
