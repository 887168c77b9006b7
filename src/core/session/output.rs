use bytes::Bytes;
use snowshoe_codec as codec;
use snowshoe_codec::{Delivery, Method, PeerClose, Returned, ShortString};

use crate::core::Epoch;
use crate::core::supervisor::Next;
use crate::error::{ConnectionError, Error};

/// What a session wants done, or has to tell.
#[derive(Debug)]
pub enum Output {
    /// Connect the transport, and report under this epoch.
    Dial {
        epoch: Epoch,
        attempt: u32,
        endpoint: usize,
    },
    /// Drop the transport at once, with a reset rather than an orderly end.
    Abort,
    /// Write this if it goes out at once, then end the transport in order.
    Finish(Bytes),
    /// The connection is open; recovery begins.
    Connected,
    /// Recovery is through: everything is back.
    Ready,
    /// The connection is gone.
    Lost {
        cause: ConnectionError,
        next: Next,
    },
    Blocked(ShortString),
    Unblocked,
    SecretUpdated,

    /// The producer's channel is ready to be written to.
    ProducerOnline(usize),
    ProducerOffline(usize),
    /// The broker asked to pause, and now lets it go on.
    ProducerMayGoOn(usize),
    /// The broker closed the producer's channel over a publish.
    ProducerRejected(usize, PeerClose),
    /// The broker closed the connection over a publish.
    PublishingRefused(PeerClose),
    Confirm {
        producer: usize,
        tag: u64,
        multiple: bool,
        ack: bool,
    },
    Returned {
        producer: usize,
        returned: Returned,
    },

    /// The consumer receives from now on, from this queue; its deliveries belong to this epoch.
    ConsumerOnline {
        consumer: usize,
        epoch: Epoch,
        queue: ShortString,
    },
    /// What the consumer was delivered so far cannot be settled any more.
    ConsumerOffline(usize),
    /// The broker cancelled the consumer. It is tried again.
    ConsumerCancelled(usize),
    /// The consumer could not even be started.
    ConsumerFailed(usize, Error),
    /// No more deliveries will come, as the user wanted; what there is can still be settled.
    ConsumerDraining(usize),
    Delivery {
        consumer: usize,
        delivery: Delivery,
    },

    /// A call was answered.
    Called {
        token: u64,
        result: Result<Box<Method>, Error>,
    },
    /// A queue that the broker names has another name now.
    QueueRenamed {
        old: ShortString,
        new: ShortString,
    },
    /// Something is not back yet, and tried again.
    Delayed {
        entity: String,
        reason: PeerClose,
    },
    /// Something that was not back is.
    Restored {
        entity: String,
    },
    /// Something could not be brought back.
    NotRecovered {
        entity: String,
        reason: PeerClose,
    },

    RawOpened(usize),
    /// Something happened on a channel that the user drives.
    Raw(usize, codec::Event),
    /// The channel is gone.
    RawClosed(usize, Error),
}
