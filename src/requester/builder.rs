use std::fmt;
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;

use snowshoe_codec::Properties;

use super::{Owner, Requester};
use crate::core::backoff::Backoff;
use crate::core::requests::{Chance, ReplyTo, Settings};
use crate::error::Error;
use crate::shared::command::{Command, RequesterId};
use crate::shared::handle::Handle;
use crate::sync::AtomicU64;
use crate::sync::answer::answer;

/// Sets up a [`Requester`].
#[must_use = "a builder does nothing until it is started"]
pub struct RequesterBuilder {
    client: Arc<Handle>,
    timeout: Duration,
    properties: Properties,
    fails_when_full: bool,
    settings: Settings,
}

impl fmt::Debug for RequesterBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RequesterBuilder")
            .field("timeout", &self.timeout)
            .field("settings", &self.settings)
            .finish_non_exhaustive()
    }
}

impl RequesterBuilder {
    pub(crate) fn new(client: Arc<Handle>) -> Self {
        let shared = client.shared();
        let (seed, number) = (shared.seed, shared.next_id());
        Self {
            timeout: Duration::from_secs(30),
            properties: Properties::default(),
            fails_when_full: false,
            settings: Settings {
                replies: ReplyTo::Direct,
                confirms: false,
                max_in_flight: 1000,
                expires: true,
                tag: format!("snowshoe-{seed:016x}-{number}"),
                backoff: Backoff::default(),
                seed: seed.rotate_left(32) ^ number,
                // Everybody sees the tags, and what they are made of.
                chance: match shared.is_seeded {
                    true => Chance::fixed(seed.rotate_left(16) ^ number),
                    false => unforeseeable(),
                },
            },
            client,
        }
    }

    /// How long a request waits for its answer unless it [says otherwise](super::Request::timeout); 30 s by
    /// default.
    pub fn timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// How many requests may be sent and not answered, at least one; 1000 by default. More wait for their
    /// turn, in order, while their timeouts run.
    pub fn max_in_flight(mut self, requests: usize) -> Self {
        self.settings.max_in_flight = requests.max(1);
        self
    }

    /// Has a request fail with [`RequestErrorReason::Full`](crate::RequestErrorReason::Full) instead of
    /// waiting for its turn, while [so many](Self::max_in_flight) are under way, sent or not.
    pub fn fail_when_full(mut self) -> Self {
        self.fails_when_full = true;
        self
    }

    /// Has the broker confirm requests, so that a queue that refuses one is told at once
    /// ([`RequestErrorReason::Nacked`](crate::RequestErrorReason::Nacked)), and not by the timeout. Without,
    /// there is less to and fro; that no queue is there is told either way.
    pub fn confirmed(mut self, confirmed: bool) -> Self {
        self.settings.confirms = confirmed;
        self
    }

    /// Gets the answers from a queue of its own, which the broker names and which goes with the connection,
    /// in the place of direct reply-to: for a broker that does not have that, or for answers that are to be
    /// seen in the broker's list of queues.
    ///
    /// With direct reply-to (RabbitMQ), the default, answers go straight to the connection, and no queue is
    /// made.
    pub fn reply_queue(mut self) -> Self {
        self.settings.replies = ReplyTo::Queue;
        self
    }

    /// Whether the broker may drop a request once its timeout is over, so that nobody works for somebody who
    /// has gone; `true` by default. A queue with a dead-letter exchange dead-letters it. A message that has
    /// an [`expiration`](crate::PropertiesBuilder::expiration) of its own keeps that.
    pub fn expire_requests(mut self, expire: bool) -> Self {
        self.settings.expires = expire;
        self
    }

    /// The properties of requests, as far as they have none of their own; none by default, so requests are
    /// not persistent. What would be lost with a broker has somebody who waits for it and is told.
    pub fn properties(mut self, properties: Properties) -> Self {
        self.properties = properties;
        self
    }

    /// Opens the connection, and waits until answers can come over it.
    ///
    /// # Errors
    /// - [`Refused`](Error::Refused): the broker refused the consumer of the answers, or their queue;
    /// - [`ChannelClosed`](Error::ChannelClosed): it ended that consumer before it had begun;
    /// - [`Timeout`](Error::Timeout): it did not [answer in time](crate::ClientBuilder::call_timeout);
    /// - [`NoFreeChannel`](Error::NoFreeChannel): it lets the connection have no channel;
    /// - [`Closed`](Error::Closed): the client was closed, or gave up on its connection.
    ///
    /// While there is no connection, and where one is lost, it waits for the next.
    ///
    /// # Cancel safety
    /// Dropping the future closes the connection.
    pub async fn start(self) -> Result<Requester, Error> {
        let id = RequesterId(self.client.shared().next_id());
        let limit = (self.settings.max_in_flight).try_into().ok();
        let (answer, started) = answer();
        // Built before it has started, so that dropping this future ends it.
        let requester = Requester {
            owner: Arc::new(Owner {
                id,
                timeout: self.timeout,
                properties: self.properties,
                limit: limit.filter(|_| self.fails_when_full),
                under_way: AtomicU64::new(0),
                client: Arc::clone(&self.client),
            }),
        };
        self.client.command(Command::AddRequester {
            id,
            settings: self.settings,
            started: answer,
        });
        started.await.unwrap_or(Err(Error::Closed))?;
        Ok(requester)
    }
}

/// Numbers by a keyed hash, whose key is from the system's randomness: who sees some of them can tell no other.
fn unforeseeable() -> Chance {
    let key = RandomState::new();
    Chance::new(move |number| key.hash_one(number))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_that_nobody_can_foresee_are_others_each_time() {
        let (mut one, mut other) = (unforeseeable(), unforeseeable());
        let numbers = [one.number(), one.number(), other.number(), other.number()];
        let different: std::collections::BTreeSet<_> = numbers.into_iter().collect();
        assert_eq!(different.len(), numbers.len());
    }
}
