//! Requests whose answers are awaited, and in `builder` how that is set up.

mod builder;
mod reply;
mod request;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use snowshoe_codec::{Properties, ShortString};

pub use self::builder::RequesterBuilder;
pub use self::reply::Reply;
pub use self::request::Request;
use crate::message::Message;
use crate::name::Name;
use crate::shared::command::{Command, RequesterId};
use crate::shared::handle::Handle;
use crate::sync::{AtomicU64, Ordering};

/// Asks others over the broker, and waits for their answers (RPC).
///
/// Any number of requests can be under way; each gets its own answer, or an error that says why there is
/// none and whether it [may have been done](crate::RequestError::possibly_done) all the same. None waits longer than its
/// timeout, whatever the connection does.
///
/// A requester has a connection of its own. A broker gives an answer its address on the channel that gets
/// the answers, so that is where requests have to be published; and a broker that is short of memory stops
/// reading who publishes, which must not stop the acknowledgements of others.
///
/// Clones are the same requester. When the last of them is dropped, and no request is under way, its
/// connection is closed.
///
/// ```no_run
/// use std::time::Duration;
///
/// # async fn run(client: snowshoe::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let requester = client.requester().start().await?;
/// let price = requester.request("prices", "apples").await?;
/// println!("{}", String::from_utf8_lossy(price.body()));
///
/// // Asked again where a connection is lost in between, for that does no harm.
/// let price = requester.request("prices", "pears").timeout(Duration::from_secs(2)).idempotent().await?;
/// # Ok(()) }
/// ```
///
/// Whoever answers does so with [`Consumer::serve`](crate::Consumer::serve), or with whatever sends what it has to say to
/// the queue that `reply_to` names, with the same `correlation_id`.
#[derive(Clone)]
pub struct Requester {
    owner: Arc<Owner>,
}

/// What the last clone of a requester takes with it.
struct Owner {
    id: RequesterId,
    timeout: Duration,
    properties: Properties,
    /// How many requests may be under way, where more than that fail.
    limit: Option<u64>,
    under_way: AtomicU64,
    client: Arc<Handle>,
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.client.command(Command::RemoveRequester(self.id));
    }
}

impl fmt::Debug for Requester {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Requester")
            .field("id", &self.owner.id.0)
            .field("under_way", &self.under_way())
            .finish_non_exhaustive()
    }
}

impl Requester {
    /// Asks whoever serves a queue. Nothing is sent unless it is awaited.
    ///
    /// The message goes out with its own properties and those of the requester, but for `reply_to` and
    /// `correlation_id`, by which it is answered. If it has a [routing key](Message::with_routing_key) of its
    /// own, that is the queue.
    ///
    /// # Errors
    /// When awaited, [`RequestError`](crate::RequestError): there was no answer.
    ///
    /// # Cancel safety
    /// Dropping the future gives the request up: it is not sent if it has not been, and an answer that comes
    /// all the same is dropped.
    pub fn request(&self, queue: impl Name, message: impl Into<Message>) -> Request {
        let queue = queue.into_short_string();
        Request::new(self.clone(), ShortString::EMPTY, queue, message.into())
    }

    /// How many requests are under way, those among them that wait for their turn.
    pub fn under_way(&self) -> usize {
        let count = self.owner.under_way.load(Ordering::Relaxed);
        count.try_into().unwrap_or(usize::MAX)
    }
}
