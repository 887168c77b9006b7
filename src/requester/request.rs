use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;
use std::time::Duration;

use snowshoe_codec::{ShortString, TooLong};

use super::{Reply, Requester};
use crate::core::publisher::merge;
use crate::core::requests::{self, RequestId};
use crate::declare::entity_name;
use crate::error::{Error, RequestError, RequestErrorReason};
use crate::message::Message;
use crate::name::Name;
use crate::shared::command::Command;
use crate::sync::Ordering;
use crate::sync::answer::answer;

/// A request to send, once this is awaited; see [`Requester::request`].
///
/// ```no_run
/// use std::time::Duration;
/// use snowshoe::RequestErrorReason;
///
/// # async fn run(requester: snowshoe::Requester) {
/// let request = requester.request("payments", "pay 5 to Ann").timeout(Duration::from_secs(5));
/// match request.await {
///     Ok(reply) => println!("{} bytes", reply.body().len()),
///     Err(error) if !error.possibly_done => println!("nothing was paid, ask again: {error}"),
///     Err(error) => println!("look whether it was paid: {error}"),
/// }
/// # }
/// ```
#[must_use = "nothing is sent unless it is awaited"]
pub struct Request {
    requester: Requester,
    exchange: Result<ShortString, Error>,
    routing_key: Result<ShortString, TooLong>,
    message: Message,
    timeout: Option<Duration>,
    idempotent: bool,
}

impl fmt::Debug for Request {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Request")
            .field("exchange", &self.exchange)
            .field("routing_key", &self.routing_key)
            .field("message", &self.message)
            .field("timeout", &self.timeout)
            .field("idempotent", &self.idempotent)
            .finish_non_exhaustive()
    }
}

impl Request {
    pub(super) fn new(
        requester: Requester,
        exchange: ShortString,
        routing_key: Result<ShortString, TooLong>,
        message: Message,
    ) -> Self {
        Self {
            requester,
            exchange: Ok(exchange),
            routing_key,
            message,
            timeout: None,
            idempotent: false,
        }
    }

    /// How long to wait for the answer, from when it is awaited on, and whatever happens in between;
    /// [the requester's](super::RequesterBuilder::timeout) by default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = Some(timeout);
        self
    }

    /// Says that it does no harm to do this twice. Where the connection is lost before its answer, it is sent
    /// again on the next one, with the same `correlation_id`, as long as its timeout lasts; otherwise it fails
    /// at once.
    pub fn idempotent(mut self) -> Self {
        self.idempotent = true;
        self
    }

    /// Sends it to an exchange, with what was named as a queue for its routing key. If several answer, the
    /// first is the answer.
    pub fn exchange(mut self, exchange: impl Name) -> Self {
        self.exchange = entity_name(exchange);
        self
    }

    async fn answered(self) -> Result<Reply, RequestError> {
        let owner = &self.requester.owner;
        let exchange = self.exchange.map_err(RequestError::not_done)?;
        let routing_key = match self.message.routing_key() {
            Some(own) => own.clone(),
            None => self.routing_key.map_err(RequestError::not_done)?,
        };
        if exchange.is_empty() && routing_key.is_empty() {
            return Err(RequestError::not_done(Error::NoQueueName));
        }
        let mut message = self.message;
        message.properties = Some(match message.properties {
            Some(own) => merge(&own, &owner.properties),
            None => owner.properties.clone(),
        });
        let under_way = UnderWay::begin(&self.requester)?;
        let (answer, answered) = answer();
        let sent = owner.client.command(Command::Request {
            requester: owner.id,
            id: under_way.id,
            request: Box::new(requests::Request {
                exchange,
                routing_key,
                message,
                timeout: self.timeout.unwrap_or(owner.timeout),
                idempotent: self.idempotent,
            }),
            answer,
        });
        let result = answered.await.unwrap_or_else(|| {
            let mut closed = RequestError::not_done(RequestErrorReason::Closed);
            // Nobody is left who could say.
            closed.possibly_done = sent;
            Err(closed)
        });
        under_way.ended();
        result.map(Reply::new)
    }
}

impl IntoFuture for Request {
    type Output = Result<Reply, RequestError>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.answered())
    }
}

/// A request of which the driver knows, or is about to. Dropped before its end, it is given up.
struct UnderWay {
    requester: Requester,
    id: RequestId,
    has_ended: bool,
}

impl UnderWay {
    fn begin(requester: &Requester) -> Result<Self, RequestError> {
        let owner = &requester.owner;
        let before = owner.under_way.fetch_add(1, Ordering::Relaxed);
        let under_way = Self {
            requester: requester.clone(),
            id: RequestId(owner.client.shared().next_id()),
            has_ended: false,
        };
        if owner.limit.is_some_and(|limit| before >= limit) {
            under_way.ended();
            return Err(RequestError::not_done(RequestErrorReason::Full));
        }
        Ok(under_way)
    }

    fn ended(mut self) {
        self.has_ended = true;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let owner = &self.requester.owner;
        owner.under_way.fetch_sub(1, Ordering::Relaxed);
        if !self.has_ended {
            owner.client.command(Command::WithdrawRequest {
                requester: owner.id,
                id: self.id,
            });
        }
    }
}
