use std::fmt;
use std::future::{Future, IntoFuture};
use std::pin::Pin;

use snowshoe_codec::ShortString;
use snowshoe_codec::method::{exchange, queue};

use super::Client;
use crate::declare::{entity_name, queue_name};
use crate::error::Error;
use crate::name::Name;

/// A queue to delete, once this is awaited; see [`Client::delete_queue`].
#[must_use = "nothing is deleted unless it is awaited"]
pub struct DeleteQueue<'a> {
    client: &'a Client,
    queue: Result<ShortString, Error>,
    if_unused: bool,
    if_empty: bool,
}

impl<'a> DeleteQueue<'a> {
    pub(super) fn new(client: &'a Client, queue: impl Name) -> Self {
        Self {
            client,
            queue: queue_name(queue),
            if_unused: false,
            if_empty: false,
        }
    }

    /// Only if it has no consumers.
    pub fn if_unused(mut self) -> Self {
        self.if_unused = true;
        self
    }

    /// Only if it holds no messages that are ready to be delivered.
    pub fn if_empty(mut self) -> Self {
        self.if_empty = true;
        self
    }
}

impl fmt::Debug for DeleteQueue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteQueue")
            .field("queue", &self.queue)
            .field("if_unused", &self.if_unused)
            .field("if_empty", &self.if_empty)
            .finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for DeleteQueue<'a> {
    type Output = Result<u32, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let delete = queue::Delete {
                queue: self.queue?,
                if_unused: self.if_unused,
                if_empty: self.if_empty,
                ..Default::default()
            };
            Ok(self.client.call(delete).await?.message_count)
        })
    }
}

/// An exchange to delete, once this is awaited; see [`Client::delete_exchange`].
#[must_use = "nothing is deleted unless it is awaited"]
pub struct DeleteExchange<'a> {
    client: &'a Client,
    exchange: Result<ShortString, Error>,
    if_unused: bool,
}

impl<'a> DeleteExchange<'a> {
    pub(super) fn new(client: &'a Client, exchange: impl Name) -> Self {
        Self {
            client,
            exchange: entity_name(exchange),
            if_unused: false,
        }
    }

    /// Only if nothing is bound to it.
    pub fn if_unused(mut self) -> Self {
        self.if_unused = true;
        self
    }
}

impl fmt::Debug for DeleteExchange<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeleteExchange")
            .field("exchange", &self.exchange)
            .field("if_unused", &self.if_unused)
            .finish_non_exhaustive()
    }
}

impl<'a> IntoFuture for DeleteExchange<'a> {
    type Output = Result<(), Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(async move {
            let delete = exchange::Delete {
                exchange: self.exchange?,
                if_unused: self.if_unused,
                ..Default::default()
            };
            self.client.call(delete).await?;
            Ok(())
        })
    }
}
