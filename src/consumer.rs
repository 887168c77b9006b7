mod handlers;
mod pause;
mod retrying;
mod serving;
mod stop;
mod stream;

use std::collections::VecDeque;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use futures_lite::Stream;
use snowshoe_codec as codec;
use snowshoe_codec::{FieldTable, ShortString, TableError, ToField};

pub use self::handlers::Handled;
pub use self::pause::PauseHandle;
pub use self::serving::Served;
pub use self::stop::StopHandle;

use self::retrying::Retrier;
use self::stream::InStream;
use crate::core::Epoch;
use crate::core::backlog::{Bounds, Load};
use crate::core::subscription::ConsumerSpec;
use crate::declare::{Declaration, Declare, Queue, entity_name, printable_name};
use crate::delivery::{Batch, Delivery, Disposition, Outcome, OversizedDelivery};
use crate::error::{ConsumerEnd, Error};
use crate::name::Name;
use crate::replier::Response;
use crate::retry::Retry;
use crate::shared::command::Command;
use crate::shared::handle::{Handle, Shared};
use crate::shared::inbox::{self, Inbox};
use crate::sync::answer::answer;

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

/// A consumer tag that nobody else has: LavinMQ keys direct replies by it, so it is unique across the world.
fn unique_tag(name: &str, shared: &Shared) -> String {
    format!("{name}-{:016x}-{}", shared.seed, shared.next_id())
}

/// Sets up a [`Consumer`].
#[derive(Debug)]
#[must_use = "a builder does nothing until it is started"]
pub struct ConsumerBuilder {
    client: Arc<Handle>,
    /// What is to be declared before.
    declaration: Declaration,
    spec: ConsumerSpec,
    dedicated: bool,
    concurrency: u16,
    warns_after: Option<Duration>,
    bounds: Bounds,
    on_oversized: OnOversized,
    retry: Option<Retry>,
    stream: InStream,
}

impl ConsumerBuilder {
    pub(crate) fn new(client: Arc<Handle>, queue: ShortString, declaration: Declaration) -> Self {
        let shared = client.shared();
        let tag = unique_tag("snowshoe", shared);
        let spec = ConsumerSpec {
            queue,
            tag: (tag.try_into()).expect("two numbers are shorter than 255 bytes"),
            prefetch: 100,
            no_ack: false,
            exclusive: false,
            no_local: false,
            arguments: FieldTable::new(),
        };
        Self {
            client,
            declaration,
            spec,
            dedicated: false,
            concurrency: 0,
            warns_after: None,
            retry: None,
            stream: InStream::default(),
            on_oversized: OnOversized(Arc::new(OversizedDelivery::usual_disposition)),
            bounds: Bounds {
                messages: 10_000,
                bytes: 16 << 20,
                prefetch: None,
            },
        }
    }

    /// How many messages the broker may have delivered and not seen acknowledged; 100 by default.
    /// Together with [`capacity_bytes`](Self::capacity_bytes) it bounds what waits in the consumer, too.
    /// 0 means no limit: then [`capacity`](Self::capacity) does so in its place.
    pub fn prefetch(mut self, messages: u16) -> Self {
        self.spec.prefetch = messages;
        self
    }

    /// What becomes of messages at which handlers of [`Consumer::process`] failed: how often they are tried again, how
    /// long they wait before, and where they go after the last attempt. What that needs at the broker is declared as
    /// the consumer starts.
    pub fn retry(mut self, retry: Retry) -> Self {
        self.retry = Some(retry);
        self
    }

    /// How long a delivery may be unsettled before [`Event::Overdue`](crate::Event::Overdue) and a line in the log warn of
    /// it. Where nothing is said it is five sixths of the [consumer timeout](crate::Queue::consumer_timeout) that this client
    /// has declared the queue with, or else 25 minutes, since RabbitMQ takes it back after 30. What takes longer wants a
    /// longer timeout of its queue, or, on RabbitMQ from 4.3 on, of the consumer
    /// ([argument](Self::argument) `x-consumer-timeout`, in milliseconds).
    pub fn warn_unsettled_after(mut self, time: Duration) -> Self {
        self.warns_after = Some(time);
        self
    }

    /// As many handlers of [`Consumer::process`] are to run at a time: a lower [`prefetch`](Self::prefetch), which would
    /// not let them, is raised to as many, and a line in the log says so. It says nothing of those beyond 65,535.
    pub fn concurrency(mut self, handlers: usize) -> Self {
        self.concurrency = u16::try_from(handlers).unwrap_or(u16::MAX);
        self
    }

    /// Takes messages as acknowledged when they are sent: fastest, and what was on its way is lost
    /// with a connection. So is what there is [no room](Self::capacity_bytes) for.
    pub fn no_ack(mut self) -> Self {
        self.spec.no_ack = true;
        self
    }

    /// How many messages may wait to be taken, where no prefetch bounds them, before the broker is asked
    /// for less; 10,000 by default. Those that are on their way then come on top.
    ///
    /// A connection is read whatever its consumers do, so that no call, acknowledgement, heartbeat or
    /// other consumer waits for one that is behind. What a consumer that is behind is spared has to stay
    /// at the broker: see [the guarantees](crate::guarantees#a-consumer-that-does-not-keep-up).
    pub fn capacity(mut self, messages: usize) -> Self {
        self.bounds.messages = messages.max(1);
        self
    }

    /// How many bytes the messages may take that wait to be taken; 16 MiB by default. Names, properties
    /// and bodies count, and about 80 bytes for each message. Messages that were taken do not count. One
    /// that is larger can wait alone.
    ///
    /// The broker is asked for less when half of it is used, and the other half is for what is on its
    /// way. What is more than that is not kept: it goes back to the queue, and without acknowledgements it
    /// is dropped, which [`Event::DeliveriesDropped`](crate::Event::DeliveriesDropped) tells. Give it more
    /// than what the network holds at a time, its rate times its delay.
    pub fn capacity_bytes(mut self, bytes: usize) -> Self {
        self.bounds.bytes = bytes.max(1);
        self
    }

    /// Decides what becomes of a message that is longer than
    /// [is accepted](crate::ClientBuilder::max_message_size). Its body was skipped, so it is never handed
    /// out as a message: whoever worked on it would take it for an empty one.
    ///
    /// By default it is refused ([`Disposition::Discard`]): dead-lettered, or dropped where the queue
    /// has nowhere to dead-letter to; one of a stream, which keeps it, is passed over. Nothing else
    /// ends by itself: back in the queue it would come again at once, and kept unsettled it would take
    /// up the prefetch. [`Event::Oversized`](crate::Event::Oversized) tells of each in any case.
    ///
    /// `decide` is called in the place where the message would have been handed out, by whoever waits
    /// for the next. Without acknowledgements it is called as well, and nothing comes of what it says.
    ///
    /// ```no_run
    /// use snowshoe::Disposition;
    ///
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let orders = client.consumer("orders")?.on_oversized(|order| {
    ///     eprintln!("left to others: {}, from {}", order.excess(), order.exchange());
    ///     Disposition::Discard
    /// });
    /// let mut orders = orders.start().await?;
    /// # Ok(()) }
    /// ```
    pub fn on_oversized<F>(mut self, decide: F) -> Self
    where
        F: Fn(&OversizedDelivery) -> Disposition + Send + Sync + 'static,
    {
        self.on_oversized = OnOversized(Arc::new(decide));
        self
    }

    /// Gives the consumer a connection to itself.
    ///
    /// A queue that this client has declared as [exclusive](crate::Queue::exclusive) belongs to another
    /// of its connections, and cannot be consumed like this.
    ///
    /// A connection that cannot be made, or that the broker refuses because there are too many, is tried
    /// again like one that was lost, and [`start`](Self::start) waits for it: give that a time of your own.
    /// [`Event::Disconnected`](crate::Event::Disconnected) tells of each attempt, and why it failed.
    pub fn dedicated_connection(mut self) -> Self {
        self.dedicated = true;
        self
    }

    /// Lets no other consumer have the queue.
    pub fn exclusive(mut self) -> Self {
        self.spec.exclusive = true;
        self
    }

    /// Names the consumer, after what it does, for instance. Its consumer tag begins with the name, and goes
    /// on in a way that is unique everywhere, so that several processes can have the same: the broker's list
    /// of consumers, [`ConsumerId`](crate::ConsumerId) and lines in the log show it.
    ///
    /// ```no_run
    /// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
    /// let consumer = client.consumer("orders")?.name("dispatch")?.start().await?; // dispatch-3c59…-7
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// It is no [printable text](Error::UnfitName), or there is no room for it in the 255 bytes of a tag, of
    /// which the rest takes 38 at most.
    pub fn name(mut self, name: impl Name) -> Result<Self, Error> {
        let name = printable_name(name)?;
        let tag = unique_tag(&name.to_string_lossy(), self.client.shared());
        self.spec.tag = tag.try_into()?;
        Ok(self)
    }

    /// Gives the consumer a tag. Tags are unique on a connection; by default, and in the place of an empty
    /// one, one is made up that is unique everywhere, which can [begin with a name](Self::name). While it is
    /// behind, the broker [sees it under others](crate::guarantees#a-consumer-that-does-not-keep-up).
    ///
    /// # Errors
    /// Consumer tags are text of at most 255 bytes.
    pub fn tag(mut self, tag: impl Name) -> Result<Self, Error> {
        let tag = entity_name(tag)?;
        // The broker would make one up, by which nobody here could cancel the consumer.
        if !tag.is_empty() {
            self.spec.tag = tag;
        }
        Ok(self)
    }

    /// Consumers of higher priority are served first (`x-priority`); 0 by default.
    ///
    /// # Errors
    /// None for a number; the signature is that of [`argument`](Self::argument).
    pub fn priority(self, priority: i32) -> Result<Self, TableError> {
        self.argument("x-priority", priority)
    }

    /// Sets an argument, such as `x-cancel-on-ha-failover`, in the place of one that was set under this name.
    ///
    /// # Errors
    /// The name is too long, or the value cannot be encoded.
    pub fn argument(mut self, name: &str, value: impl ToField) -> Result<Self, TableError> {
        self.spec.arguments.set(name, value)?;
        Ok(self)
    }

    /// Starts the consumer, as soon as there is a connection. A [`Queue`](crate::Queue) that it was
    /// [given](crate::Client::consumer) is declared before.
    ///
    /// # Errors
    /// The broker refuses it, or the declaration of its queue, because there is no such queue as a rule, or does not answer
    /// [in time](crate::ClientBuilder::call_timeout); its arguments [do not fit into a frame](Error::Send); or
    /// it asks for a connection to itself for a queue that is [exclusive](Error::ExclusiveQueue) to another.
    /// Once it has started, it comes back whatever happens, unless its arguments do not fit into the smaller
    /// frames of another broker.
    ///
    /// # Cancel safety
    /// Dropping the future cancels the consumer. What was declared stays.
    pub async fn start(self) -> Result<Consumer, Error> {
        let Self {
            client,
            declaration,
            mut spec,
            dedicated,
            concurrency,
            warns_after,
            mut bounds,
            on_oversized,
            retry,
            stream,
        } = self;
        stream.set_in(&mut spec.arguments)?;
        if let Some(reply) = client.declare(declaration).await? {
            // The broker may have chosen its name.
            spec.queue = Queue::declared(reply)?.name;
        }
        let prefetch = spec.prefetch;
        if (1..concurrency).contains(&prefetch) {
            spec.prefetch = concurrency;
        }
        if spec.prefetch > 0 && !spec.no_ack {
            bounds.prefetch = Some(spec.prefetch);
            bounds.messages = usize::MAX;
        }
        let doorbell = Arc::clone(&client.shared().doorbell);
        let inbox = Inbox::new(&spec, bounds, doorbell);
        let inbox = Arc::new(
            inbox
                .asking_for_offset(stream.ask)
                .warning_after(warns_after),
        );
        let retrier = retry.map(|retry| Retrier::new(retry, &client, &inbox));
        let consumer = Consumer {
            inbox: Arc::clone(&inbox),
            batch: VecDeque::new(),
            epoch: Epoch::default(),
            released: Load::default(),
            in_a_row: 0,
            has_stopped: false,
            on_oversized,
            retrier: retrier.transpose()?.map(Arc::new),
            client: Arc::clone(&client),
        };
        let (answer, started) = answer();
        client.command(Command::AddConsumer {
            inbox,
            raised_from: (spec.prefetch != prefetch && !spec.no_ack).then_some(prefetch),
            spec,
            dedicated,
            started: answer,
        });
        started.await.ok_or(Error::Closed)??;
        if let Some(retrier) = &consumer.retrier {
            retrier.prepare().await?;
        }
        Ok(consumer)
    }
}
