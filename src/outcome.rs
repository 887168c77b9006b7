use bytes::Bytes;
use snowshoe_codec::{Excess, PeerClose, Properties, ReplyCode, Returned, SendError, ShortString};

use crate::message::Message;

/// A message that was accepted for publishing, and that the broker did not acknowledge.
///
/// Every accepted message resolves exactly once: acknowledged, or with one of these.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{}{reason}{}",
    producer.as_ref().map(|producer| format!("{producer}: ")).unwrap_or_default(),
    if *.possibly_stored { "; the broker may have it all the same" } else { "" }
)]
#[non_exhaustive]
pub struct Unconfirmed {
    /// How it ended.
    pub reason: UnconfirmedReason,
    /// Whether the broker may have the message all the same. To publish it again can make a duplicate
    /// then.
    ///
    /// That is so for whatever was written to a connection or channel that ended before the broker's
    /// word on it: the outcome is about the last copy alone. And it is so where that word is not clear:
    /// for a message that was [nacked](UnconfirmedReason::Nacked) and may have gone to several queues,
    /// and for one that was [returned](UnconfirmedReason::Returned) while others exactly like it were
    /// under way.
    pub possibly_stored: bool,
    /// Whose message it was, for the text.
    pub(crate) producer: Option<Box<str>>,
}

impl Unconfirmed {
    pub(crate) fn of(self, producer: impl Into<Box<str>>) -> Self {
        let producer = Some(producer.into());
        Self { producer, ..self }
    }
}

/// Why a message that was accepted for publishing was not acknowledged by the broker.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum UnconfirmedReason {
    /// The broker refused responsibility for it (basic.nack): a queue with a length limit that rejects
    /// publishes, or a broker in trouble, as a quorum queue is while it elects a leader.
    ///
    /// Where one of several queues refuses it, the others have it (RabbitMQ: queue length limit). One
    /// that goes to the default exchange, with no further routing keys in its headers `CC` and `BCC`,
    /// goes to a single queue. A queue whose `x-overflow` is `reject-publish-dlx` dead-letters what it
    /// refuses.
    #[error("the broker refused the message")]
    Nacked,
    /// It was mandatory, and no queue was there to take it (basic.return).
    ///
    /// A return does not say which publish it is about. Where several under way were exactly alike in
    /// exchange, routing key, properties and body, every one that it may be about resolves as this,
    /// with [`possibly_stored`](Unconfirmed::possibly_stored), unless all of them were returned;
    /// [`ProducerBuilder::identify_returns`](crate::ProducerBuilder::identify_returns) puts an end
    /// to that.
    #[error("the broker returned the message: {0}")]
    Returned(Box<Return>),
    /// The broker closed the channel over it: no such exchange, too large, not allowed.
    #[error("the broker closed the channel over the message: {0}")]
    Rejected(PeerClose),
    /// It cannot be written as it is: its properties do not fit into a frame.
    #[error("the message cannot be sent: {0}")]
    Unsendable(#[from] SendError),
    /// What it was to go to could not be declared by its producer, which was
    /// [to do so](crate::Client::producer).
    #[error("what the message was to go to could not be declared: {0}")]
    NotDeclared(PeerClose),
    /// It was given up.
    #[error("the message was dropped: {0}")]
    Dropped(DropReason),
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
    /// It has waited for longer than [is meant to](crate::ProducerBuilder::max_age).
    #[error("it has waited for longer than its producer lets messages wait")]
    Expired,
    /// What it was to go to could not be declared by its producer, as
    /// [`Event::NotDeclared`](crate::Event::NotDeclared) tells.
    #[error("what it was to go to could not be declared")]
    NotDeclared,
    /// The client was closed before the broker's word came.
    #[error("the client was closed")]
    Closed,
    /// The client gave up on its connection, or its driver was dropped.
    #[error("the connection was given up")]
    ConnectionGivenUp,
}

/// A message that was accepted and not delivered, as
/// [`ProducerBuilder::on_undelivered`](crate::ProducerBuilder::on_undelivered) tells.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Undelivered {
    /// The message, as it was accepted. It shares its body with whoever else has it.
    pub message: Message,
    /// How it ended: as its [`Confirmation`](crate::Confirmation) says, where it has one.
    pub outcome: Unconfirmed,
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

/// What came of settling a delivery. None is a fault, nor a reason to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Settled {
    /// The broker is about to be told. If the connection ends first, it delivers the message again.
    Sent,
    /// The delivery came over a channel that is gone since. Nothing was sent, for its tag may by now be
    /// that of another message; the broker delivers the message again, unless another has it already.
    Stale,
    /// The delivery was refused, but it came from a stream, which keeps its messages and takes nothing back:
    /// RabbitMQ closes the connection over a refusal (540). The broker is told that it is done with, so that
    /// more can come. See [the guarantees](crate::guarantees#streams).
    PassedOver,
}

/// What was left when a client was closed, or had ended before.
///
/// Every [`close`](crate::Client::close) is answered with all of it. So the messages are kept, with what
/// was in the buffers as their bound, until the last handle of the client is gone; a copy shares their
/// bodies.
#[derive(Clone, Debug, Default)]
#[non_exhaustive]
pub struct CloseReport {
    /// Messages that were accepted and given up, since they were not settled by the deadline, or since
    /// the client gave up on its connection or lost its driver; oldest first for each producer. The
    /// broker may have those that were sent, as the [`Confirmation`](crate::Confirmation) of each tells.
    pub undelivered: Vec<Message>,
}
