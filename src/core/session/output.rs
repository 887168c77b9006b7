use bytes::Bytes;
use snowshoe_codec as codec;
use snowshoe_codec::{
    Delivery, Excess, Method, PeerClose, PublisherConfirm, Returned, ShortString,
};

use super::keys::{CallToken, ChannelKey, ConsumerKey, ProducerKey};
use crate::core::supervisor::Next;
use crate::core::{Epoch, Flow};
use crate::error::{ConnectionErrorReason, Error};
use crate::events::Entity;
use crate::state::RecoveryStage;

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
    /// The recovery has come to this.
    Recovers(RecoveryStage),
    /// Recovery is through: everything is back.
    Ready,
    /// The connection is gone.
    Lost {
        cause: ConnectionErrorReason,
        next: Next,
    },
    Blocked(ShortString),
    Unblocked,
    SecretUpdated,
    /// A secret that had to wait cannot be told.
    SecretNotUpdated(Error),

    /// The producer has a channel, and may write to it.
    ProducerOnline(ProducerKey),
    /// The connection is gone, and with it the producer's channel.
    ProducerOffline(ProducerKey),
    /// The broker closed the producer's channel, and not over a publish.
    ProducerClosed(ProducerKey),
    /// The producer has no channel any more, which was closed by us: what was written goes out on it.
    ProducerLeft(ProducerKey),
    /// The broker asked to pause, and now lets it go on.
    ProducerMayGoOn(ProducerKey),
    /// The broker has taken all that was published before
    /// [`Session::prove_taken`](super::Session::prove_taken), and closed nothing over it.
    ProducerTaken(ProducerKey),
    /// The broker closed the producer's channel over a publish.
    ProducerRejected(ProducerKey, PeerClose),
    /// The broker closed a channel that these producers share over a publish of one of them.
    ProducersRejected {
        producers: Vec<ProducerKey>,
        /// Whether it can be over one of whose end nobody would be told.
        has_untold: bool,
        close: PeerClose,
    },
    /// The producer is on no channel, and nobody knows for how long; told once until it is back.
    ProducerDelayed(ProducerKey, Error),
    /// The producer is back, of which it was told that it was not.
    ProducerRestored(ProducerKey),
    /// The connection ended without a word, which may be over a publish as well.
    PublishingCut,
    /// The broker closed the connection over a publish.
    PublishingRefused(PeerClose),
    Confirm {
        producer: ProducerKey,
        confirm: PublisherConfirm,
    },
    Returned {
        producer: ProducerKey,
        returned: Returned,
    },
    /// A message was returned on a channel that producers share: the first of these that has published
    /// such a one is meant.
    ReturnedToOneOf {
        producers: Vec<ProducerKey>,
        returned: Returned,
    },

    /// The consumer is about to be asked of the broker. Where it is to begin in a stream is to be
    /// [said](super::Session::subscribe) now.
    ConsumerOpens(ConsumerKey),
    /// The consumer receives from now on, from this queue; its deliveries belong to this epoch.
    ConsumerOnline {
        consumer: ConsumerKey,
        epoch: Epoch,
        queue: ShortString,
        flow: Flow,
    },
    /// The broker sends the consumer nothing for now. What is to go back to the queue has its time, then
    /// [`Session::occupy`](super::Session::occupy) lets it send again.
    ConsumerVacant(ConsumerKey),
    /// The broker sends the consumer more, or less, from now on, and nothing that it began to send before.
    ConsumerFlows(ConsumerKey, Flow),
    /// The broker has heard all that was said before [`Session::prove_heard`](super::Session::prove_heard).
    ConsumerHeard(ConsumerKey),
    /// The broker closed the connection over a basic.nack or basic.reject, and the consumer has sent one.
    RefusalRefused(ConsumerKey),
    /// What the consumer was delivered so far cannot be settled any more.
    ConsumerOffline(ConsumerKey),
    /// The broker sends the consumer nothing until it has asked again, since it was held or cancelled, and its channel
    /// lives on: what nobody
    /// has begun on is to go back to the queue.
    ConsumerPaused(ConsumerKey),
    /// The broker says that the consumer's queue is not there. It is tried again.
    ConsumerQueueGone(ConsumerKey),
    /// The broker cancelled the consumer. It is tried again.
    ConsumerCancelled(ConsumerKey),
    /// The consumer could not even be started.
    ConsumerFailed(ConsumerKey, Error),
    /// No more deliveries will come, as the user wanted; what there is can still be settled.
    ConsumerDraining(ConsumerKey),
    Delivery {
        consumer: ConsumerKey,
        delivery: Delivery,
    },

    /// A delivery that is too long, without its body.
    Oversized {
        consumer: ConsumerKey,
        excess: Excess,
        delivery: Delivery,
    },

    /// A call was answered.
    Called {
        token: CallToken,
        result: Result<Box<Method>, Error>,
    },
    /// A queue that the broker names has another name now.
    QueueRenamed {
        old: ShortString,
        new: ShortString,
    },
    /// The same, which was told by another session: consumers of this one consume from it.
    RenameFollowed {
        old: ShortString,
        new: ShortString,
    },
    /// Something is not back yet, and tried again.
    Delayed {
        entity: Entity,
        reason: Error,
    },
    /// Something that was not back is.
    Restored {
        entity: Entity,
    },
    /// Something could not be brought back.
    NotRecovered {
        entity: Entity,
        reason: Error,
    },

    /// A channel that a user drives is being opened: what is sent on it follows that.
    ChannelUsable(ChannelKey),
    /// Something happened on a channel that the user drives.
    ChannelEvent(ChannelKey, codec::Event),
    /// The channel is gone.
    ChannelClosed(ChannelKey, Error),
}
