mod advised;
mod connection;
mod handshake_cut;
mod request;
mod settings;
mod typed;

use std::time::Duration;

use snowshoe_codec::method::{Call, MethodId};
use snowshoe_codec::{
    Method, Oversized, PeerClose, PropertiesError, SendError, ShortString, TableError, TooLong,
};

#[cfg(feature = "tls-no-provider")]
pub(crate) use self::advised::Advised;
pub use self::connection::{ConnectionError, ConnectionErrorReason, Peer, Phase, Tried};
pub use self::handshake_cut::{HandshakeCut, Hint};
pub use self::request::{RequestError, RequestErrorReason};
pub use self::settings::SettingsError;
pub use self::typed::{DecodeError, EncodeError, TypedPublishError, TypedSendError};
use crate::message::Message;
use crate::outcome::Unconfirmed;
use crate::uri::UriError;

/// Why something that was asked of a client did not work out.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// The URI cannot be used.
    #[error(transparent)]
    Uri(#[from] UriError),
    /// The URI asks for a login mechanism that is not known; give a provider of credentials instead.
    #[error("unknown login mechanism {0}: use PLAIN, AMQPLAIN or EXTERNAL, or give credentials")]
    UnknownMechanism(String),
    /// AMQP frames are at least 4096 bytes long.
    #[error("a frame_max of {0} is too small: AMQP asks for 4096 at least")]
    FrameMax(u32),
    /// A field of [`Settings`](crate::Settings) cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The first connect failed, or the limit of attempts was reached.
    #[error(transparent)]
    Connection(#[from] ConnectionError),
    /// The broker refused what was asked, and closed the channel that it was asked on, or all of the
    /// connection.
    #[error("the broker refused: {0}")]
    Refused(PeerClose),
    /// The broker did not answer in time.
    #[error("{0} was not answered in time")]
    Timeout(MethodId),
    /// The answer was another than the call has: the broker broke the protocol.
    #[error(
        "{call} was answered by {reply}, which is no answer to it: the broker broke the protocol"
    )]
    UnexpectedReply {
        /// What was called.
        call: MethodId,
        /// What came.
        reply: MethodId,
    },
    /// The connection was lost before the answer came: whether it was done is not known. What deletes,
    /// purges or unbinds is not done a second time, for it could hit what came since; what was to be
    /// deleted is not declared again.
    #[error("the connection was lost before the broker's answer")]
    ConnectionLost,
    /// The channel was closed before.
    #[error("the channel is closed")]
    ChannelClosed,
    /// More came over the channel than it keeps for
    /// [`next_event`](crate::Channel::next_event), so that it was closed.
    #[error(
        "the channel was closed, as too much waited in it: take its events, or set a prefetch by basic.qos"
    )]
    ChannelOverrun,
    /// The client is closed, or its driver was dropped.
    #[error("the client is closed")]
    Closed,
    /// All channels that the broker allows on the connection are in use.
    #[error("all channels that the broker allows are in use")]
    NoFreeChannel,
    /// A name is longer than AMQP allows.
    #[error(transparent)]
    TooLong(#[from] TooLong),
    /// The name of a queue, an exchange or a consumer is not UTF-8: RabbitMQ closes the connection over it.
    #[error("the name {0:?} is not UTF-8: brokers close the whole connection over it")]
    NotUtf8(ShortString),
    /// A client, a producer or a consumer was given a name that nobody could read in a log or a list: it is
    /// empty, is not UTF-8, or has control characters such as line breaks.
    #[error(
        "the name {0:?} cannot be shown in logs and lists: use UTF-8 text of at least one character, without \
         line breaks and other control characters"
    )]
    UnfitName(ShortString),
    /// A queue was named by the empty text. In AMQP that means the one that was declared last on the
    /// channel, which is any of those that the client declared.
    #[error(
        "the name of a queue is empty, which to the broker is the one that was declared last: name the queue"
    )]
    NoQueueName,
    /// A producer to a queue was to have its [exchange delay messages](crate::Delays::by_exchange), and that is the
    /// default exchange, which delays nothing.
    #[error(
        "the default exchange delays no messages: publish to an exchange that does, or let messages wait in queues \
         (Delays::queues)"
    )]
    NoDelayedExchange,
    /// A consumer asked for a connection to itself, and this queue belongs to the client's main one, which
    /// has declared it as exclusive: the broker lets no other connection use it.
    #[error(
        "the queue {0:?} is exclusive to the connection that declared it: consume it without a dedicated \
         connection, or declare it without exclusive"
    )]
    ExclusiveQueue(ShortString),
    /// An argument cannot be encoded.
    #[error(transparent)]
    Argument(#[from] TableError),
    /// The message that was fetched is longer than
    /// [is accepted](crate::ClientBuilder::max_message_size), and was skipped. Its delivery tag is in it,
    /// by which it is to be settled.
    #[error("a message is longer than is accepted: {}", .0.excess)]
    Oversized(Box<Oversized>),
    /// It does not fit into a frame, or cannot be sent this way.
    #[error(transparent)]
    Send(#[from] SendError),
    /// A property of a message cannot be sent, or the properties of one that came cannot be read.
    #[error(transparent)]
    Properties(#[from] PropertiesError),
    /// A message was not accepted for publishing. It is in the error.
    #[error(transparent)]
    NotAccepted(Box<PublishError>),
    /// A message was accepted for publishing, but the broker did not acknowledge it.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
    /// A delivery was not settled.
    #[error(transparent)]
    Settle(#[from] SettleError),
    /// A value could not be made a message; see [`typed`](crate::typed).
    #[error(transparent)]
    Encode(#[from] EncodeError),
    /// The body of a message is not what was expected; see [`typed`](crate::typed).
    #[error(transparent)]
    Decode(#[from] DecodeError),
}

impl From<PublishError> for Error {
    fn from(error: PublishError) -> Self {
        Self::NotAccepted(Box::new(error))
    }
}

impl From<SendMessageError> for Error {
    fn from(error: SendMessageError) -> Self {
        match error {
            SendMessageError::NotAccepted(error) => error.into(),
            SendMessageError::Unconfirmed(error) => error.into(),
        }
    }
}

/// The answer to a call, as what it has to be.
pub(crate) fn reply_to<C: Call>(reply: Method) -> Result<C::Reply, Error> {
    reply
        .try_into()
        .map_err(|other: Method| Error::UnexpectedReply {
            call: C::ID,
            reply: other.id(),
        })
}

/// Why a message was not accepted for publishing. It is handed back.
#[derive(Clone, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
#[non_exhaustive]
pub struct PublishError {
    /// Why.
    pub reason: PublishErrorReason,
    /// What was to be published.
    pub message: Message,
}

impl std::fmt::Debug for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PublishError")
            .field("reason", &self.reason)
            .finish_non_exhaustive()
    }
}

/// The reasons for a [`PublishError`].
#[derive(Clone, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum PublishErrorReason {
    /// The buffer is full, in messages or in bytes.
    #[error("the producer's buffer is full")]
    BufferFull,
    /// The message alone is larger than the buffer may be.
    #[error("the message is larger than the producer's buffer")]
    TooLarge,
    /// The producer or its client was closed, or what the producer publishes to [could not be
    /// declared](crate::Client::producer).
    #[error("the producer is closed")]
    Closed,
    /// A property that was set on the [`Message`] cannot be sent.
    #[error("the message cannot be sent: {0}")]
    Unsendable(Box<PropertiesError>),
    /// It was to arrive later than its producer's [`Delays`](crate::Delays) can have it.
    #[error(
        "the message is to arrive later than is possible here, which is after {longest:?} at most"
    )]
    DelayTooLong {
        /// The longest delay that is possible.
        longest: Duration,
    },
    /// It was to arrive later, and it or its producer says when it [expires](crate::Message::expires), which brokers
    /// take out where messages wait [in queues](crate::Delays::queues).
    #[error(
        "a message that waits in queues cannot expire, for the broker would send it on when that time is over, and not \
         keep it: give the queue that it is for a time to live"
    )]
    DelayExpires,
}

/// Why a message that was to be published and confirmed was not.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SendMessageError {
    /// It was not even accepted.
    #[error(transparent)]
    NotAccepted(#[from] PublishError),
    /// It was accepted, but the broker did not acknowledge it.
    #[error(transparent)]
    Unconfirmed(#[from] Unconfirmed),
}

/// Why a delivery was not settled: it cannot be, whatever the connection does. That its channel is gone is
/// no error, but [`Settled::Stale`](crate::Settled::Stale).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum SettleError {
    /// It was settled before, together with a later one.
    #[error("the delivery is settled already")]
    AlreadySettled,
    /// Its consumer takes deliveries without acknowledgements.
    #[error("the consumer takes no acknowledgements")]
    NoAck,
}

/// Why a consumer ended.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConsumerEnd {
    /// It was cancelled.
    #[error("the consumer was cancelled")]
    Cancelled,
    /// The client was closed, gave up on its connection, or its driver was dropped.
    #[error("the client was closed")]
    ClientClosed,
    /// The broker would not let it start.
    #[error("the consumer could not be started: {0}")]
    Failed(Error),
}
