use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use snowshoe_codec::{Properties, PropertiesRef, ShortString};

use crate::delivery::{Delivery, Disposition, Outcome};
use crate::error::SendMessageError;
use crate::message::Message;
use crate::outcome::UnconfirmedReason;
use crate::producer::{Producer, ProducerBuilder};
use crate::shared::handle::Handle;

/// Answers requests: sends a reply to where a request says that it is to go (`reply_to`), with the
/// `correlation_id` by which whoever asked knows it.
///
/// [`Consumer::serve`](crate::Consumer::serve) does so with what a handler returns; this is for
/// programs that take requests in another way.
///
/// Replies go out over the connection for publishing, to the default exchange, and are not persistent
/// unless they say so. Clones are the same replier.
///
/// ```no_run
/// # async fn run(client: snowshoe::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let replier = client.replier();
/// let mut requests = client.consumer("prices")?.start().await?;
/// while let Some(request) = requests.next().await {
///     replier.reply(&request, "0.50").await?;
///     request.ack()?;
/// }
/// # Ok(()) }
/// ```
///
/// A request can name any queue for its reply, and a replier sends it there: let those alone ask who may
/// write to all of them.
#[derive(Clone)]
pub struct Replier {
    producer: Producer,
}

impl fmt::Debug for Replier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Replier").finish_non_exhaustive()
    }
}

impl Replier {
    pub(crate) fn new(client: Arc<Handle>) -> Self {
        let producer = ProducerBuilder::new(client, ShortString::EMPTY, ShortString::EMPTY);
        let producer = producer.properties(Properties::default());
        Self {
            producer: producer.build(),
        }
    }

    /// Replies to a request, and waits until the broker has the reply. The message's routing key and
    /// `correlation_id` are replaced by those that the request asks for.
    ///
    /// # Errors
    /// The reply was not accepted, or not acknowledged by the broker. That nobody is there any more to get it
    /// is no error, but [`Replied::NobodyThere`].
    ///
    /// # Cancel safety
    /// A reply that was accepted is sent whether or not the future is dropped.
    pub async fn reply(
        &self,
        request: &Delivery,
        message: impl Into<Message>,
    ) -> Result<Replied, SendMessageError> {
        match ReplyAddress::of(request) {
            Some(address) => self.send(address, message.into()).await,
            None => Ok(Replied::NotAsked),
        }
    }

    pub(crate) async fn send(
        &self,
        address: ReplyAddress,
        message: Message,
    ) -> Result<Replied, SendMessageError> {
        match self.producer.send(address.write_on(message)).await {
            Ok(()) => Ok(Replied::Sent),
            Err(SendMessageError::Unconfirmed(error))
                if matches!(error.reason, UnconfirmedReason::Returned(_)) =>
            {
                Ok(Replied::NobodyThere)
            }
            Err(error) => Err(error),
        }
    }
}

/// What became of a reply.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Replied {
    /// The broker has it. Of a [direct reply](crate::RequesterBuilder::reply_queue) that is no proof that
    /// somebody was there to get it.
    Sent,
    /// The queue that it was to go to is not there any more: whoever asked has gone.
    NobodyThere,
    /// The request does not say where a reply is to go, or its properties cannot be read.
    NotAsked,
}

/// Where the reply to a request is to go.
#[derive(Clone, Debug)]
pub(crate) struct ReplyAddress {
    reply_to: ShortString,
    correlation_id: Option<ShortString>,
    /// After what time the broker would have dropped the request.
    expiration: Option<Duration>,
}

impl ReplyAddress {
    /// That of a request, if it has one that can be read.
    pub(crate) fn of(request: &Delivery) -> Option<Self> {
        let properties = request.properties().ok()?;
        let reply_to = properties.reply_to.filter(|it| !it.as_bytes().is_empty())?;
        let correlation_id = properties.correlation_id;
        Some(Self {
            reply_to: reply_to.to_owned(),
            correlation_id: correlation_id.map(snowshoe_codec::ShortStr::to_owned),
            expiration: properties.expiration.and_then(|it| {
                let millis = std::str::from_utf8(it.as_bytes()).ok()?.parse().ok()?;
                Some(Duration::from_millis(millis))
            }),
        })
    }

    /// After what time the broker would have dropped the request, and nobody waits for the reply.
    pub(crate) fn expiration(&self) -> Option<Duration> {
        self.expiration
    }

    /// Where its own properties cannot be read, the message has to do without them: the reply would reach
    /// nobody without that by which it is known.
    fn write_on(self, mut message: Message) -> Message {
        let own = message.properties.take().unwrap_or_default();
        let correlation_id = self.correlation_id.as_ref();
        let properties = PropertiesRef {
            correlation_id: correlation_id.map(|it| it.as_short_str()),
            ..own.decode().unwrap_or_default()
        };
        message.properties = properties.encode().ok();
        message.routing_key = Some(self.reply_to);
        message
    }
}

/// What a handler of [`Consumer::serve`](crate::Consumer::serve) makes of a request.
///
/// A handler can return a [`Message`], or anything that is one; an [`Outcome`], which answers nothing; or a `Result` of
/// these, of which `Err` means [`Outcome::retry`] with the error as the reason.
///
/// ```
/// use snowshoe::{Outcome, Response};
///
/// fn price(product: &[u8]) -> Response {
///     match product {
///         b"apples" => "0.50".into(),
///         b"" => Outcome::reject().into(),
///         _ => "no such product".into(),
///     }
/// }
/// # assert_eq!(price(b""), Response::Settle(Outcome::reject()));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Response {
    /// This is the reply. The request is acknowledged once the broker has it, and also where the reply
    /// [cannot be sent](crate::Event::ReplyFailed): what was asked for is done.
    Reply(Message),
    /// There is no reply, and this becomes of the request. Whoever asked waits until the request was handled
    /// by somebody else, or their timeout is over.
    Settle(Outcome),
}

impl<T: Into<Message>> From<T> for Response {
    fn from(reply: T) -> Self {
        Self::Reply(reply.into())
    }
}

impl From<Outcome> for Response {
    fn from(outcome: Outcome) -> Self {
        Self::Settle(outcome)
    }
}

impl From<Disposition> for Response {
    fn from(disposition: Disposition) -> Self {
        Self::Settle(disposition.into())
    }
}

impl<T: Into<Self>, E: fmt::Display> From<Result<T, E>> for Response {
    fn from(result: Result<T, E>) -> Self {
        match result {
            Ok(response) => response.into(),
            Err(error) => Self::Settle(Outcome::retry().because(error)),
        }
    }
}
