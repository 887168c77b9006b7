//! Everybody does the same works, through the same few operations; how a client does one of them
//! best is in its own file.

mod amiquip;
mod amqp_client;
mod amqprs;
mod lapin;
mod limit;
#[cfg(feature = "rabbitmq-c")]
mod rabbitmq_c;
mod snowshoe;
mod works;

use std::future::Future;
use std::rc::Rc;
use std::sync::mpsc::Sender;
use std::time::{Duration, Instant};

use async_executor::LocalExecutor;
use bytes::Bytes;

use self::works::work;
use crate::meter::Meter;
use crate::work::{Arrangement, Order, Sample, Subject};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// The executor of the caller, which has one thread.
type Tasks = Rc<LocalExecutor<'static>>;

/// A connected client.
trait Client: Sized + 'static {
    type Publisher: Publisher;
    type Confirmed: Confirmed;
    type Consumer: Consumer;

    async fn connect(url: &str) -> Result<Self>;

    async fn publisher(&self, queue: &str, body: Bytes) -> Result<Self::Publisher>;

    /// Like `publisher`, with at most `window` confirms missing.
    async fn confirmed(&self, queue: &str, body: Bytes, window: usize) -> Result<Self::Confirmed>;

    /// Declares a durable queue and publishes to it, up to the confirm, in as few steps as it has.
    async fn first_confirm(&self, _queue: &str, _body: Bytes) -> Result<()> {
        Err("it declares nothing here".into())
    }

    /// A prefetch of `None` is a consumer without acknowledgements.
    async fn consumer(&self, queue: &str, prefetch: Option<u16>) -> Result<Self::Consumer>;
}

/// Publishes one body again and again, without confirms.
trait Publisher: 'static {
    async fn publish(&mut self) -> Result<()>;

    /// Hands over what a client of this kind would still hold.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Publishes one body again and again, and learns of each whether the broker has it.
trait Confirmed: 'static {
    /// Waits while the window is full.
    async fn publish(&mut self) -> Result<()>;

    /// Waits for the confirms that are missing.
    async fn flush(&mut self) -> Result<()>;

    async fn send(&mut self) -> Result<()>;
}

/// Takes deliveries.
trait Consumer: 'static {
    async fn next(&mut self) -> Result<()>;

    async fn next_acked(&mut self) -> Result<()>;

    /// Takes at most [`BATCH`](crate::work::BATCH) messages and acknowledges them together; how
    /// many.
    async fn next_batch_acked(&mut self) -> Result<usize>;

    /// Hands over the acknowledgements that a client of this kind would still hold.
    async fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}

/// Does what this process was ordered to.
///
/// # Errors
/// The client's, whatever it was.
pub fn run(order: &Order, allocations: Option<fn() -> u64>) -> Result<Sample> {
    let mut meter = Meter::new(match order.subject {
        // Rust's allocator sees nothing of its allocations.
        #[cfg(feature = "rabbitmq-c")]
        Subject::RabbitmqC => allocations.and(Some(rabbitmq_c::allocations)),
        _ => allocations,
    });
    let m = &mut meter;
    let tasks = Tasks::default();
    let t = &tasks;
    match order.subject {
        Subject::Limit => on_a_plain_thread(work::<limit::Limit>(order, t, m)),
        Subject::Snowshoe => on_a_plain_thread(work::<snowshoe::OwnThread>(order, t, m)),
        Subject::SnowshoeShared => on_tokio(
            order.arrangement,
            work::<snowshoe::SharedThread>(order, t, m),
        ),
        Subject::SnowshoeLocal => snowshoe::on_this_thread(work::<snowshoe::Local>(order, t, m)),
        Subject::AmqpClient => on_tokio(
            order.arrangement,
            work::<amqp_client::AmqpClient>(order, t, m),
        ),
        Subject::Lapin => on_tokio(order.arrangement, work::<lapin::Lapin>(order, t, m)),
        Subject::Amqprs => on_tokio(order.arrangement, work::<amqprs::Amqprs>(order, t, m)),
        Subject::Amiquip => on_a_plain_thread(work::<amiquip::Amiquip>(order, t, m)),
        #[cfg(feature = "rabbitmq-c")]
        Subject::RabbitmqC => on_a_plain_thread(work::<rabbitmq_c::RabbitmqC>(order, t, m)),
        #[cfg(not(feature = "rabbitmq-c"))]
        Subject::RabbitmqC => Err("needs the feature rabbitmq-c".into()),
    }?;
    Ok(meter.sample().ok_or("nothing was measured")?)
}

/// How far a client is, and how long that took.
#[derive(Clone, Copy, Debug)]
pub enum Moment {
    Connected(Duration),
    /// From the very beginning, with a queue declared on the way.
    Confirmed(Duration),
    /// From when the consumer was asked for.
    Delivered(Duration),
}

/// Connects a client, declares a queue, publishes one message and takes it.
///
/// # Errors
/// The client's, whatever it was.
pub fn moments(subject: Subject, url: &str, tell: &Sender<Moment>) -> Result<()> {
    let one_thread = Arrangement::OneThread;
    match subject {
        Subject::Limit => Err("it is no client".into()),
        Subject::Snowshoe => on_a_plain_thread(moments_of::<snowshoe::OwnThread>(url, tell)),
        Subject::SnowshoeShared => {
            on_tokio(one_thread, moments_of::<snowshoe::SharedThread>(url, tell))
        }
        Subject::SnowshoeLocal => {
            snowshoe::on_this_thread(moments_of::<snowshoe::Local>(url, tell))
        }
        Subject::AmqpClient => {
            on_tokio(one_thread, moments_of::<amqp_client::AmqpClient>(url, tell))
        }
        Subject::Lapin => on_tokio(one_thread, moments_of::<lapin::Lapin>(url, tell)),
        Subject::Amqprs => on_tokio(one_thread, moments_of::<amqprs::Amqprs>(url, tell)),
        Subject::Amiquip => on_a_plain_thread(moments_of::<amiquip::Amiquip>(url, tell)),
        Subject::RabbitmqC => Err("it is not driven at a distance".into()),
    }
}

async fn moments_of<C: Client>(url: &str, tell: &Sender<Moment>) -> Result<()> {
    const QUEUE: &str = "compare-distance";
    let begun = Instant::now();
    let client = C::connect(url).await?;
    tell.send(Moment::Connected(begun.elapsed()))?;
    client
        .first_confirm(QUEUE, Bytes::from_static(b"x"))
        .await?;
    tell.send(Moment::Confirmed(begun.elapsed()))?;
    let asked = Instant::now();
    let mut consumer = client.consumer(QUEUE, Some(10)).await?;
    consumer.next_acked().await?;
    Ok(tell.send(Moment::Delivered(asked.elapsed()))?)
}

fn on_a_plain_thread<T>(work: impl Future<Output = Result<T>>) -> Result<T> {
    futures_lite::future::block_on(work)
}

fn on_tokio<T>(arrangement: Arrangement, work: impl Future<Output = Result<T>>) -> Result<T> {
    let mut runtime = match arrangement {
        Arrangement::OneThread => tokio::runtime::Builder::new_current_thread(),
        Arrangement::Workers => {
            let mut runtime = tokio::runtime::Builder::new_multi_thread();
            runtime.worker_threads(2);
            runtime
        }
    };
    runtime.enable_all().build()?.block_on(work)
}
