use bytes::Bytes;
use snowshoe_codec::{Excess, PeerClose, Properties, ReplyCode, Returned, SendError, ShortString};

use crate::message::Message;

/// Why a message that was accepted for publishing was not acknowledged by the broker.
///
/// Every accepted message resolves exactly once: acknowledged, or with one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Unconfirmed {
    /// The broker refused it (basic.nack): a queue with a length limit that rejects publishes, or
    /// a broker in trouble, as a quorum queue is while it elects a leader.
    ///
    /// If it was sent before, on a connection or channel that ended, that is said of the last copy
    /// alone.
    #[error("the broker refused the message{}", if *.resent { "; it may have it from before" } else { "" })]
    Nacked {
        /// Whether the broker may have it all the same: it was sent before, and that channel ended
        /// before the broker's word on it.
        resent: bool,
    },
    /// It was mandatory, and no queue was there to take it.
    #[error("the broker returned the message: {0}")]
    Returned(Box<Return>),
    /// The broker closed the channel over it: no such exchange, too large, not allowed.
    #[error("the broker closed the channel over the message: {0}")]
    Rejected(PeerClose),
    /// It cannot be written as it is: its properties do not fit into a frame.
    #[error("the message cannot be sent: {0}")]
    Unsendable(#[from] SendError),
    /// It was given up.
    #[error("the message was dropped: {reason}{}", if *.sent { "; the broker may have it" } else { "" })]
    Dropped {
        /// Why.
        reason: DropReason,
        /// Whether it may have reached the broker all the same: it was written to a connection
        /// that ended before the broker's word on it.
        sent: bool,
    },
}

/// Why a message was given up without the broker's word on it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
#[non_exhaustive]
pub enum DropReason {
    /// The buffer was full, and its policy is to make room for newer messages.
    #[error("newer messages needed its place in the buffer")]
    BufferFull,
    /// It cannot be written as it is: its properties do not fit into a frame.
    #[error("it fits into no frame")]
    Unsendable,
    /// The client was closed before the broker's word came.
    #[error("the client was closed")]
    Closed,
    /// The client gave up on its connection, or its driver was dropped.
    #[error("the connection was given up")]
    ConnectionGivenUp,
}

/// A message that came back because no queue took it (basic.return).
#[derive(Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Return {
    /// The broker's code, 312 NO_ROUTE as a rule.
    pub code: ReplyCode,
    /// The broker's text.
    pub text: ShortString,
    /// The exchange it was published to.
    pub exchange: ShortString,
    /// Its routing key.
    pub routing_key: ShortString,
    /// Its properties.
    pub properties: Properties,
    /// Its body.
    pub body: Bytes,
    /// What of it was longer than [is accepted](crate::ClientBuilder::max_message_size), where body and
    /// properties could not be taken back from the broker, nor be filled in from what was published.
    pub excess: Option<Excess>,
}

impl Return {
    pub(crate) fn new(returned: &Returned) -> Self {
        let content = &returned.content;
        Self {
            code: returned.code,
            text: returned.text().to_owned(),
            exchange: content.exchange().to_owned(),
            routing_key: content.routing_key().to_owned(),
            properties: Properties::from_encoded(Bytes::copy_from_slice(content.raw_properties())),
            body: Bytes::copy_from_slice(content.body()),
            excess: content.excess(),
        }
    }

    /// What was published, in the place of what was too long to come back.
    pub(crate) fn complete(&mut self, properties: Properties, body: Bytes) {
        (self.properties, self.body, self.excess) = (properties, body, None);
    }
}

/// Sizes only: a payload has no place in a log, and can be of any length.
impl std::fmt::Debug for Return {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Return")
            .field("code", &self.code)
            .field("text", &self.text)
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("body_len", &self.body.len())
            .finish_non_exhaustive()
    }
}

impl std::fmt::Display for Return {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self {
            code,
            text,
            exchange,
            routing_key,
            ..
        } = self;
        write!(
            f,
            "{} {text} (exchange {exchange:?}, routing key {routing_key:?})",
            code.0
        )
    }
}

/// What was left when a client was closed.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// Messages that were accepted, but not settled by the deadline, oldest first for each
    /// producer. The broker may have some of them.
    pub undelivered: Vec<Message>,
}
