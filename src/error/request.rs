use std::time::Duration;

use snowshoe_codec::{Excess, PeerClose, PropertiesError, SendError, TooLong};

use super::{ConnectionError, Error};
use crate::outcome::Return;

/// A request that was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{reason}{}", if *.possibly_done { "; it may have been done all the same" } else { "" })]
#[non_exhaustive]
pub struct RequestError {
    /// How it ended.
    pub reason: RequestErrorReason,
    /// Whether somebody may have done what was asked for, or be about to. To ask again can have it done
    /// twice then.
    ///
    /// `false` is certain: no broker took the request, or the broker gave it to no queue. It is `true` wherever
    /// nobody can know, also after a [nack](RequestErrorReason::Nacked).
    pub possibly_done: bool,
}

impl RequestError {
    pub(crate) fn not_done(reason: impl Into<RequestErrorReason>) -> Self {
        Self {
            reason: reason.into(),
            possibly_done: false,
        }
    }
}

/// Why a request was not answered.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RequestErrorReason {
    /// No answer came within its [timeout](crate::Request::timeout), which this is.
    #[error("no answer came within {0:?}")]
    Timeout(Duration),
    /// No queue was there to take it (basic.return): nobody serves, or the name is wrong.
    #[error("no queue took the request: {0}")]
    Unroutable(Box<Return>),
    /// The broker refused responsibility for it (basic.nack), as a queue does that is full and rejects
    /// publishes. Only a [confirming](crate::RequesterBuilder::confirmed) requester hears of it.
    ///
    /// As a rule nobody has it then. But a queue that is
    /// [`reject-publish-dlx`](crate::UnconfirmedReason::Nacked) dead-letters what it refuses, one of several queues
    /// may have taken it, and one that has crashed may have it all the same, so it is
    /// [possibly done](RequestError::possibly_done).
    #[error("the broker refused the request")]
    Nacked,
    /// The broker closed the channel or the connection over it: no such exchange, too large, not allowed.
    #[error("the broker closed the channel over the request: {0}")]
    Rejected(PeerClose),
    /// The connection was lost before the answer came. What is
    /// [idempotent](crate::Request::idempotent) is sent again instead.
    #[error("the connection was lost before the answer: {0}")]
    ConnectionLost(Box<ConnectionError>),
    /// The channel that the answer would have come over was lost, as when the broker closes it over
    /// another request. What is [idempotent](crate::Request::idempotent) is sent again instead.
    #[error("the channel for answers was lost: {0}")]
    ChannelLost(Box<Error>),
    /// The answer is longer than [is accepted](crate::ClientBuilder::max_message_size), and was skipped.
    #[error("the answer is longer than is accepted: {0}")]
    OversizedReply(Excess),
    /// So many requests are under way as [may be](crate::RequesterBuilder::max_in_flight), and the
    /// requester is not to [wait](crate::RequesterBuilder::fail_when_full).
    #[error("as many requests are under way as may be")]
    Full,
    /// The client is closed, or gave up on its connection, or its driver was dropped.
    #[error("the client is closed")]
    Closed,
    /// Its properties cannot be read, or must not be sent.
    #[error("the properties of the request cannot be sent: {0}")]
    Properties(#[from] PropertiesError),
    /// It does not fit into frames.
    #[error("the request cannot be sent: {0}")]
    Unsendable(#[from] SendError),
    /// The name of a queue or an exchange is no name.
    #[error(transparent)]
    Name(Box<Error>),
}

impl From<Error> for RequestErrorReason {
    fn from(error: Error) -> Self {
        Self::Name(Box::new(error))
    }
}

impl From<TooLong> for RequestErrorReason {
    fn from(error: TooLong) -> Self {
        Error::from(error).into()
    }
}
