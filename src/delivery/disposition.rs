use crate::core::acks::Settle;

/// How a message is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Disposition {
    /// It is done with.
    Ack,
    /// The attempt has failed: it goes back to the queue, to be tried again, and where the queue has a
    /// [delivery limit](crate::Queue::delivery_limit), that counts. Of a stream it is
    /// [passed over](crate::guarantees#streams).
    Retry,
    /// It goes back to the queue unhandled, and nothing is said against it: RabbitMQ 4.3 does not count
    /// that. Of a stream it is passed over.
    Release,
    /// It is dropped, or dead-lettered where the queue says so. Of a stream it is passed over.
    Discard,
}

impl From<Disposition> for Settle {
    fn from(disposition: Disposition) -> Self {
        match disposition {
            Disposition::Ack => Self::Ack,
            // RabbitMQ 4.3 counts a basic.reject against the delivery limit, and a basic.nack not.
            Disposition::Retry => Self::Reject { requeue: true },
            Disposition::Release => Self::Nack { requeue: true },
            Disposition::Discard => Self::Nack { requeue: false },
        }
    }
}
