mod builder;
mod handlers;
mod pause;
mod retrying;
mod serving;
mod stop;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};

use futures_lite::Stream;
use snowshoe_codec as codec;
use snowshoe_codec::ShortString;

pub use self::builder::ConsumerBuilder;
pub use self::handlers::Handled;
pub use self::pause::PauseHandle;
pub use self::serving::Served;
pub use self::stop::StopHandle;

use self::retrying::Retrier;
use crate::core::Epoch;
use crate::core::backlog::Load;
use crate::delivery::{Batch, Delivery, Disposition, Outcome, OversizedDelivery};
use crate::error::ConsumerEnd;
use crate::replier::Response;
use crate::shared::command::Command;
use crate::shared::handle::Handle;
use crate::shared::inbox::{self, Inbox};

/// Receives a queue's messages, through outages.
///
/// It has a channel of its own, so that its prefetch and its acknowledgements are its own. When
/// the channel or the connection ends, it comes back by itself; the broker then delivers again
/// what was not acknowledged, and what had been received before but not handed out is discarded,
/// so that nothing is worked on twice without need.
///
/// It is a [`Stream`]; [`next`](Self::next) takes deliveries one by one,
/// [`next_batch`](Self::next_batch) as they come, and
/// [`process`](Self::process) runs a handler whose result settles them.
/// Dropping it cancels it; deliveries at hand can still be settled.
///
/// None of them gives a message that is longer than
/// [is accepted](crate::ClientBuilder::max_message_size), since its body is not there: it goes the way
/// of [`on_oversized`](ConsumerBuilder::on_oversized) when its turn comes.
///
/// ```no_run
/// # async fn run(client: snowshoe::Client) -> Result<(), Box<dyn std::error::Error>> {
/// let mut orders = client.consumer("orders")?.prefetch(50).start().await?;
/// while let Some(order) = orders.next().await {
///     println!("{} bytes", order.body().len());
///     order.ack()?;
/// }
/// # Ok(()) }
/// ```
pub struct Consumer {
    inbox: Arc<Inbox>,
    /// Taken out of the inbox in one go, and not handed out yet.
    batch: VecDeque<codec::Delivery>,
    /// The epoch that the batch belongs to.
    epoch: Epoch,
    /// What was handed out of the batch since the inbox was last told.
    released: Load,
    /// How many were handed out without a pause.
    in_a_row: usize,
    /// Whether it has done what a [stop handle](StopHandle) asked for.
    has_stopped: bool,
    on_oversized: OnOversized,
    retrier: Option<Arc<Retrier>>,
    client: Arc<Handle>,
}

/// Decides what becomes of messages that are too long.
#[derive(Clone)]
struct OnOversized(Arc<dyn Fn(&OversizedDelivery) -> Disposition + Send + Sync>);

impl fmt::Debug for OnOversized {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OnOversized")
    }
}

/// How many deliveries are handed out before other tasks have their turn: the driver, where it is
/// one of them, tells the broker what was settled, and more is on its way before the rest is done.
const BUDGET: usize = 256;

/// How much is handed out before the inbox is told, which takes its lock.
const TELL_AFTER: Load = Load {
    messages: 64,
    bytes: 64 << 10,
};

impl fmt::Debug for Consumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Consumer")
            .field("queue", &self.queue())
            .finish_non_exhaustive()
    }
}

impl Consumer {
    /// The next message; `None` once the consumer has ended, as [`end`](Self::end) tells.
    ///
    /// Once in 256 messages that were there already, other tasks have their turn first: the driver
    /// may be one of them, and tells the broker what was settled.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Delivery> {
        std::future::poll_fn(|cx| self.poll_next_delivery(cx)).await
    }

    /// All messages that are there, at least one and at most `limit`; `None` once the consumer has
    /// ended. [`Batch::ack`] acknowledges them all at once.
    ///
    /// # Cancel safety
    /// Dropping the future loses nothing.
    pub async fn next_batch(&mut self, limit: usize) -> Option<Batch> {
        let mut deliveries = vec![self.next().await?];
        while deliveries.len() < limit
            && let Some(delivery) = self.take_from_batch()
        {
            deliveries.push(delivery);
        }
        Some(Batch::new(deliveries))
    }

    /// A message that is there already.
    pub fn try_next(&mut self) -> Option<Delivery> {
        if self.is_stopped() || self.rests() {
            return None;
        }
        self.take_from_batch().or_else(|| {
            self.refill(None);
            self.take_from_batch()
        })
    }

    /// Runs `handler` on every message until the consumer ends or is [stopped](Self::stop_handle), on at most
    /// `limit` at a time, all within this future, and tells how that went. What the handler returns settles
    /// the message; see [`Outcome`], and [`ConsumerBuilder::retry`] for what becomes of those that failed. Of a stream,
    /// a message whose handler fails does not come again: it is [passed over](crate::guarantees#streams), and a line
    /// in the log says so.
    ///
    /// No more of them run than the broker delivers before it has an acknowledgement: a limit above the
    /// [prefetch](ConsumerBuilder::prefetch), which is 100 by default, is not reached, unless
    /// [`concurrency`](ConsumerBuilder::concurrency) has raised it. Where there are no acknowledgements, or a prefetch
    /// of 0, the limit alone counts.
    ///
    /// A handler that panics has failed: its message goes the way of [`Outcome::retry`],
    /// [`Event::HandlerPanicked`](crate::Event::HandlerPanicked) tells what it said, and the others go on. (A
    /// program that aborts on a panic does so.)
    ///
    /// It drains: once the consumer is stopped, by its [stop handle](Self::stop_handle) or by
    /// [`Client::close`](crate::Client::close), no handler begins, those that run come to their end, and what
    /// they return settles their messages; what was only prefetched goes back to the queue. Handlers that
    /// are not through when the time for that is over are dropped, and their messages go back as by
    /// [`Disposition::Release`]. A close waits for this future, so it must not be left without being polled
    /// meanwhile; a handler that closes the client itself waits for itself until the time is over. Until its
    /// handlers are through, a client that is being closed takes what they publish, declare and ask.
    ///
    /// ```no_run
    /// # async fn handle(_: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
    /// # async fn terminated() {}
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let mut orders = client.consumer("orders")?.start().await?;
    /// let working = orders.process(4, |order| async move { handle(order.body()).await });
    /// let ending = async {
    ///     terminated().await; // SIGTERM
    ///     client.close().await;
    /// };
    /// let (handled, ()) = futures_lite::future::zip(working, ending).await;
    /// println!("{} done, {} cut off", handled.finished, handled.cut_off);
    /// # Ok(()) }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future drops the handlers that are running, and leaves their messages
    /// unsettled.
    pub async fn process<H, F>(&mut self, limit: usize, handler: H) -> Handled
    where
        H: FnMut(Delivery) -> F,
        F: Future,
        F::Output: Into<Outcome>,
    {
        handlers::run(self, limit.max(1), handler).await
    }

    /// Does as [`process`](Self::process), with each handler in a task of its own: `spawn` puts it on an executor, where
    /// handlers run on all of its threads, and can take the processor for longer than others should wait.
    ///
    /// What a handler returns settles its message all the same, a panic is a handler's that has failed, and one that is
    /// cut off is dropped when its task is polled next, which it is woken for. One whose task the executor drops
    /// has failed, and is tried again after a second at the earliest.
    ///
    /// ```no_run
    /// # async fn handle(_: &[u8]) -> Result<(), std::io::Error> { Ok(()) }
    /// # async fn run(mut orders: snowshoe::Consumer) {
    /// let spawn = |task| drop(tokio::spawn(task));
    /// let handled = orders.process_spawned(16, spawn, |order| async move { handle(order.body()).await }).await;
    /// println!("{} done", handled.finished);
    /// # }
    /// ```
    ///
    /// # Cancel safety
    /// Dropping the future cuts the handlers off that are running, and leaves their messages unsettled.
    pub async fn process_spawned<S, H, F>(&mut self, limit: usize, spawn: S, handler: H) -> Handled
    where
        S: FnMut(Pin<Box<dyn Future<Output = ()> + Send>>),
        H: FnMut(Delivery) -> F,
        F: Future<Output: Into<Outcome>> + Send + 'static,
    {
        handlers::run_spawned(self, limit.max(1), spawn, handler).await
    }

    /// Answers requests: runs `handler` on every one, at most `limit` at a time, as
    /// [`process`](Self::process) does, and sends what it returns to where the request says (`reply_to`), with
    /// its `correlation_id`. A request is acknowledged once the broker has its reply, and also where there
    /// is nobody any more to get it. What a handler can return is a [`Response`](crate::Response).
    ///
    /// A reply for which the broker refuses responsibility, as a queue does that is full or without a leader for
    /// now, is sent again after pauses of up to a second, for 10 s in all or the request's `expiration` if that is shorter, its handler counts as
    /// running meanwhile. One that is refused to the end, or can never be sent, is given up:
    /// the request is acknowledged, for it was done, and [`Event::ReplyFailed`](crate::Event::ReplyFailed) tells why.
    /// Where the consumer is stopped or the client closed before, the request goes back to its queue.
    ///
    /// A request that does not say where its reply is to go, or cannot be read, is handled all the same, and
    /// the reply dropped; [`Served`] counts them.
    ///
    /// ```no_run
    /// use snowshoe::Delivery;
    ///
    /// # async fn price_of(_: &[u8]) -> Result<String, std::io::Error> { Ok(String::new()) }
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let mut prices = client.consumer("prices")?.start().await?;
    /// let answer = |request: Delivery| async move { price_of(request.body()).await };
    /// let served = prices.serve(8, answer).await;
    /// println!("{} replies", served.replied);
    /// # Ok(()) }
    /// ```
    ///
    /// Replies go out over the connection for publishing, by way of the default exchange, and are not
    /// persistent unless they say so. A request can name any queue, and the reply is sent there: let those
    /// alone ask who may write to all of them.
    ///
    /// # Cancel safety
    /// Dropping the future drops the handlers that are running, and leaves their requests unsettled.
    pub async fn serve<H, F>(&mut self, limit: usize, handler: H) -> Served
    where
        H: FnMut(Delivery) -> F,
        F: Future,
        F::Output: Into<Response>,
    {
        serving::run(self, limit.max(1), handler).await
    }

    /// Stops the consumer from elsewhere: from another task, or on a signal.
    pub fn stop_handle(&self) -> StopHandle {
        StopHandle::new(&self.inbox, &self.client)
    }

    /// Lets the consumer rest for a while, and go on, from elsewhere.
    pub fn pause_handle(&self) -> PauseHandle {
        PauseHandle::new(&self.inbox, &self.client)
    }

    /// The queue; if the broker chose its name, the name it has now.
    pub fn queue(&self) -> ShortString {
        self.inbox.queue()
    }

    /// How many messages wait to be taken.
    pub fn waiting(&self) -> usize {
        let is_stale = self.inbox.is_stale(self.epoch);
        let batch = if is_stale { 0 } else { self.batch.len() };
        batch + self.inbox.len()
    }

    /// How many messages were dropped because this consumer has no acknowledgements and did not keep up.
    /// [`Event::DeliveriesDropped`](crate::Event::DeliveriesDropped) tells of them as it happens.
    pub fn dropped(&self) -> u64 {
        self.inbox.dropped()
    }

    /// The first offset of the [stream](crate::Queue::stream) that is not settled: all before it that came
    /// are, and a consumer that [begins](ConsumerBuilder::stream_offset) there misses none. `None` where
    /// nothing came yet, or it is no stream.
    ///
    /// What is settled beyond it is known to this consumer alone; to another that begins there, it comes
    /// again.
    ///
    /// ```no_run
    /// use snowshoe::StreamOffset;
    ///
    /// # async fn run(client: snowshoe::Client, stored: Option<u64>) -> Result<(), Box<dyn std::error::Error>> {
    /// let begin = stored.map_or(StreamOffset::First, StreamOffset::Offset);
    /// let mut orders = client.consumer("orders")?.stream_offset(begin).start().await?;
    /// while let Some(order) = orders.next().await {
    ///     order.ack()?;
    ///     if let Some(position) = orders.stream_position() {
    ///         println!("to be stored now and then: {position}");
    ///     }
    /// }
    /// # Ok(()) }
    /// ```
    pub fn stream_position(&self) -> Option<u64> {
        self.inbox.position()
    }

    /// Why the consumer ended, if it has: it has given its last message.
    pub fn end(&self) -> Option<ConsumerEnd> {
        // Where it was stopped it gives none, whenever the broker answers.
        let stopped = || self.inbox.as_it_ends(ConsumerEnd::Cancelled);
        let has_stopped = self.has_stopped && !self.inbox.is_no_ack();
        self.inbox.end().or_else(|| has_stopped.then(stopped))
    }

    /// Asks the broker to send no more. Messages that were received but not handed out go back to
    /// the queue, unless they are a [stream](crate::guarantees#streams)'s, and [`next`](Self::next) gives
    /// `None` from then on; deliveries at hand can still be settled.
    ///
    /// A [single active consumer](crate::Queue::single_active_consumer) of a queue that this client has declared
    /// [hands it over in order](crate::guarantees#consuming): the next one begins once the deliveries at hand
    /// are settled or dropped, which this does not wait for.
    ///
    /// # Cancel safety
    /// The consumer is cancelled whether or not the future is dropped.
    pub async fn cancel(mut self) {
        self.stop();
        self.inbox.ended().await;
    }

    /// Tells that a message could not be decoded for a handler.
    pub(crate) fn tells_undecodable(&self) -> impl Fn(String) + use<> {
        let (inbox, client) = (Arc::clone(&self.inbox), Arc::clone(&self.client));
        move |reason| {
            let inbox = Arc::clone(&inbox);
            client.command(Command::Undecodable { inbox, reason });
        }
    }

    /// Whether it is to hand out no more, since somebody has stopped it.
    fn is_stopped(&mut self) -> bool {
        if !self.inbox.stopping().is_asked() {
            return false;
        }
        let is_first = !std::mem::replace(&mut self.has_stopped, true);
        let is_no_ack = self.inbox.is_no_ack();
        match (is_first, is_no_ack) {
            (true, false) => self.stop(),
            // What was received would be lost.
            (true, true) => self.cancel_at_broker(),
            (false, _) => {}
        }
        !is_no_ack
    }

    pub(crate) fn poll_next_delivery(&mut self, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        if self.is_stopped() {
            return Poll::Ready(None);
        }
        if self.in_a_row >= BUDGET && !self.batch.is_empty() && !self.inbox.is_no_ack() {
            self.in_a_row = 0;
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        loop {
            if self.rests() {
                return self.rest(cx.waker());
            }
            if let Some(delivery) = self.take_from_batch() {
                self.in_a_row += 1;
                return Poll::Ready(Some(delivery));
            }
            self.in_a_row = 0;
            let ended = self.refill(Some(cx.waker()));
            // What was taken may have become stale since, and then nobody is registered yet.
            if self.batch.is_empty() {
                // It may have been stopped before there was anybody to wake.
                return if ended || self.is_stopped() {
                    Poll::Ready(None)
                } else {
                    Poll::Pending
                };
            }
        }
    }

    /// Whether it hands out nothing for now. What was received without acknowledgements and is the last of it would be
    /// lost.
    fn rests(&self) -> bool {
        let is_paused = self.inbox.stopping().is_paused();
        let is_last = || self.inbox.stopping().is_asked() || self.inbox.end().is_some();
        is_paused && !(self.inbox.is_no_ack() && is_last())
    }

    /// Waits to be let go on, or stopped. What was taken is not handed out meanwhile, and may be taken back.
    fn rest(&mut self, waker: &Waker) -> Poll<Option<Delivery>> {
        let has_ended = self.inbox.wait(waker);
        if has_ended && !self.inbox.is_no_ack() || self.is_stopped() {
            return Poll::Ready(None);
        }
        // It may have gone on before there was anybody to wake.
        if !self.rests() {
            waker.wake_by_ref();
        }
        Poll::Pending
    }

    fn take_from_batch(&mut self) -> Option<Delivery> {
        loop {
            if self.batch.is_empty() {
                return None;
            }
            if self.inbox.is_stale(self.epoch) {
                // The broker delivers these again (fault 5).
                self.inbox.drops(self.epoch, &mut self.batch);
                return None;
            }
            let delivery = self.batch.pop_front()?;
            self.inbox.hands_out(delivery.delivery_tag);
            self.released.add(inbox::cost(&delivery));
            let Load { messages, bytes } = self.released;
            if messages >= TELL_AFTER.messages || bytes >= TELL_AFTER.bytes {
                let released = std::mem::take(&mut self.released);
                self.inbox.handed_out(self.epoch, released);
            }
            let delivery = Delivery::new(delivery, self.epoch, &self.inbox);
            let decide = &*self.on_oversized.0;
            if let Some(delivery) = OversizedDelivery::settled_or_ordinary(delivery, decide) {
                return Some(delivery);
            }
        }
    }

    /// Takes what is in the inbox. Whether no more will come.
    fn refill(&mut self, waker: Option<&Waker>) -> bool {
        let released = std::mem::take(&mut self.released);
        let released = (self.epoch, released);
        let taken = self.inbox.take(&mut self.batch, released, waker);
        self.epoch = taken.epoch;
        taken.ended
    }

    fn stop(&mut self) {
        self.inbox.abandon(&mut self.batch, self.epoch);
        self.inbox.forget_waker();
        self.cancel_at_broker();
    }

    fn cancel_at_broker(&self) {
        let inbox = Arc::clone(&self.inbox);
        self.client.command(Command::CancelConsumer(inbox));
    }
}

impl Stream for Consumer {
    type Item = Delivery;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Delivery>> {
        self.poll_next_delivery(cx)
    }
}

impl Drop for Consumer {
    fn drop(&mut self) {
        self.stop();
    }
}
