//! Where a consumer begins in a stream.

use std::fmt;
use std::sync::Arc;

use snowshoe_codec::{FieldArray, FieldTable, TableError};

use super::ConsumerBuilder;
use crate::shared::inbox::AskForOffset;
use crate::stream::StreamOffset;

/// What a consumer asks of a stream.
#[derive(Default)]
pub(super) struct InStream {
    begin: Option<StreamOffset>,
    pub(super) ask: Option<AskForOffset>,
}

impl InStream {
    pub(super) fn set_in(&self, arguments: &mut FieldTable) -> Result<(), TableError> {
        self.begin.map_or(Ok(()), |it| it.set_in(arguments))
    }
}

impl fmt::Debug for InStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("InStream")
            .field("begin", &self.begin)
            .finish_non_exhaustive()
    }
}

impl ConsumerBuilder {
    /// Where in a [stream](crate::Queue::stream) it begins (`x-stream-offset`). By default, RabbitMQ sends
    /// what is published from then on ([`StreamOffset::Next`]).
    ///
    /// That is for the first time. When the consumer comes back after a reconnect, it goes on with the first
    /// message that is not settled, and leaves out what is: see
    /// [the guarantees](crate::guarantees#streams). They hold where it is known that the queue is a stream,
    /// for which it is enough to say this.
    pub fn stream_offset(mut self, begin: StreamOffset) -> Self {
        self.stream.begin = Some(begin);
        self
    }

    /// Asks `ask` where in a [stream](crate::Queue::stream) it is to begin, each time before the consumer is
    /// asked of the broker: at first, and whenever it comes back. It is told where it would begin otherwise,
    /// which at first is the [`stream_offset`](Self::stream_offset), and later the first message that is not
    /// settled. To answer with that keeps all as it is. Any other answer is taken for what you know better,
    /// because you keep with the effects of each message how far you are: then it begins just there, and what
    /// comes is handed out, settled before or not.
    ///
    /// `ask` is called by the driver, which does nothing else meanwhile: give it what is in memory. Where it
    /// panics, that is told in the log, and the consumer begins where it would have otherwise.
    ///
    /// ```no_run
    /// use std::sync::Arc;
    /// use std::sync::atomic::{AtomicU64, Ordering};
    ///
    /// use snowshoe::StreamOffset;
    ///
    /// # async fn run(client: snowshoe::Client, store: fn(u64)) -> Result<(), Box<dyn std::error::Error>> {
    /// // How far the effects were stored.
    /// let next = Arc::new(AtomicU64::new(0));
    /// let stored = Arc::clone(&next);
    /// let orders = client.consumer("orders")?;
    /// let orders = orders.stream_offset_from(move |_| {
    ///     StreamOffset::Offset(stored.load(Ordering::Relaxed))
    /// });
    /// let mut orders = orders.start().await?;
    /// while let Some(order) = orders.next().await {
    ///     if let Some(offset) = order.stream_offset() {
    ///         store(offset);
    ///         next.store(offset + 1, Ordering::Relaxed);
    ///     }
    ///     order.ack()?;
    /// }
    /// # Ok(()) }
    /// ```
    pub fn stream_offset_from<F>(mut self, ask: F) -> Self
    where
        F: Fn(StreamOffset) -> StreamOffset + Send + Sync + 'static,
    {
        self.stream.ask = Some(Arc::new(ask));
        self
    }

    /// Asks for those messages of a [stream](crate::Queue::stream) only that were published with one of
    /// these values in the header `x-stream-filter-value` (`x-stream-filter`; RabbitMQ 3.13 or later, and
    /// before that all come). The broker filters by the chunk: what it sends holds others, too, so look at the
    /// header.
    ///
    /// ```no_run
    /// use snowshoe::{Message, Properties};
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), Box<dyn std::error::Error>> {
    /// let europe = Properties::builder().header("x-stream-filter-value", "eu").build()?;
    /// let order = Message::new("an order").with_properties(europe);
    /// client.producer("orders")?.build().send(order).await?;
    /// let orders = client.consumer("orders")?.stream_filter(["eu", "uk"])?;
    /// let mut orders = orders.start().await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// The values cannot be encoded, because they are too long.
    pub fn stream_filter<V>(self, values: V) -> Result<Self, TableError>
    where
        V: IntoIterator,
        V::Item: AsRef<str>,
    {
        let mut filter = FieldArray::new();
        for value in values {
            filter.push(value.as_ref())?;
        }
        self.argument("x-stream-filter", &filter)
    }

    /// Whether those come, too, that were published without a value, where there is a
    /// [filter](Self::stream_filter) (`x-stream-match-unfiltered`).
    ///
    /// # Errors
    /// None for a truth; the signature is that of [`argument`](Self::argument).
    pub fn stream_match_unfiltered(self, matches: bool) -> Result<Self, TableError> {
        self.argument("x-stream-match-unfiltered", matches)
    }
}
