//! What a message may cost where there are many, and that it does not depend on how many channels
//! are open beside the busy one. Allocations and system calls are counted, not timed, and for the
//! whole process, so there is one test in this file. The driver has the test's own thread: with one
//! each, how much is written at once is up to who runs when.

use std::alloc::System;
use std::collections::VecDeque;
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use async_executor::LocalExecutor;
use bytes::Bytes;
use futures_lite::{AsyncRead, AsyncWrite};
use snowshoe::{
    BufferPolicy, Client, Confirmation, Connecting, Connector as _, Consumer, Producer, Runtime,
    Target, TcpConnector, Transport,
};
use stats_alloc::{INSTRUMENTED_SYSTEM, Region, StatsAlloc};
use support::client;
use support::distant_broker;
use support::threads::sleeps;
use support::waiting::{run, within};

#[global_allocator]
static ALLOCATOR: &StatsAlloc<System> = &INSTRUMENTED_SYSTEM;

/// How many messages are counted, once as many have warmed everything up.
const MESSAGES: u64 = 20_000;

/// Blocks to read into come to an allocation for hundreds of messages, and turns of the driver to a
/// few system calls for as many as fill a window. With one for every message there would be as many
/// as messages.
const ALLOWED: u64 = MESSAGES / 50;

/// How many messages are under way at a time, where that is bounded.
const WINDOW: u16 = 1000;

/// How many channels are open on each connection. Brokers allow a few more.
const CHANNELS: usize = 2000;

/// What something took.
#[derive(Clone, Copy, Debug)]
struct Cost {
    allocations: u64,
    /// Reads and writes, whatever came of them.
    transfers: u64,
    /// How often a thread went to sleep, which is a system call, too. What others do to wake it
    /// leaves no trace for whoever has no rights; `benches/compare` counts all there is.
    sleeps: u64,
}

impl Cost {
    fn system_calls(self) -> u64 {
        self.transfers + self.sleeps
    }
}

/// What the works of this test took, each for [`MESSAGES`].
#[derive(Debug)]
struct Costs {
    forgotten: Cost,
    confirmed: Cost,
    acked: Cost,
    not_acked: Cost,
}

impl Costs {
    fn named(&self) -> [(&str, Cost); 4] {
        [
            ("fire-and-forget", self.forgotten),
            ("confirmed", self.confirmed),
            ("consumed, each acked", self.acked),
            ("consumed, no-ack", self.not_acked),
        ]
    }
}

/// A client of which reads and writes are counted.
struct Counted {
    client: Client,
    transfers: Arc<AtomicU64>,
}

impl Counted {
    async fn connect(broker: SocketAddr, executor: &LocalExecutor<'_>) -> Self {
        let transfers = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&transfers);
        let connector = move |target: &Target, runtime: &Arc<dyn Runtime>| -> Connecting {
            let connecting = TcpConnector::default().connect(target, runtime);
            let transfers = Arc::clone(&count);
            Box::pin(async move {
                let stream = connecting.await?;
                let counting: Box<dyn Transport> = Box::new(Counting { stream, transfers });
                Ok(counting)
            })
        };
        let builder = client::builder(&format!("amqp://guest:guest@{broker}"));
        let (client, driver) = builder.connector(connector).build();
        executor.spawn(driver).detach();
        client.ready().await.expect("the broker is there");
        Self { client, transfers }
    }

    /// What it takes to do something again, after a first time.
    async fn cost(&self, mut work: impl AsyncFnMut()) -> Cost {
        work().await;
        let transfers = self.transfers.load(Ordering::Relaxed);
        let slept = sleeps(Some(distant_broker::THREAD));
        let region = Region::new(ALLOCATOR);
        work().await;
        let change = region.change();
        Cost {
            allocations: (change.allocations + change.reallocations) as u64,
            transfers: self.transfers.load(Ordering::Relaxed) - transfers,
            sleeps: sleeps(Some(distant_broker::THREAD)) - slept,
        }
    }

    async fn costs(&self) -> Costs {
        Costs {
            forgotten: within("publishing", self.forget()).await,
            confirmed: within("confirming", self.confirm()).await,
            acked: within("acknowledging", self.consume(true)).await,
            not_acked: within("consuming", self.consume(false)).await,
        }
    }

    async fn forget(&self) -> Cost {
        let builder = self.client.producer("any").expect("the name is short");
        let builder = builder.fire_and_forget().policy(BufferPolicy::Block);
        let producer = builder.build();
        self.cost(async || {
            for _ in 0..MESSAGES {
                producer.publish(body()).await.expect("there will be room");
            }
            producer.flushed().await;
        })
        .await
    }

    async fn confirm(&self) -> Cost {
        let builder = self.client.producer("any").expect("the name is short");
        let producer = builder.build();
        let window = usize::from(WINDOW);
        let mut unconfirmed = VecDeque::<Confirmation>::with_capacity(window);
        self.cost(async || {
            for _ in 0..MESSAGES {
                if unconfirmed.len() == window
                    && let Some(oldest) = unconfirmed.pop_front()
                {
                    oldest.await.expect("the broker takes it");
                }
                let confirmation = producer.publish(body()).await;
                unconfirmed.push_back(confirmation.expect("there will be room"));
            }
            for confirmation in unconfirmed.drain(..) {
                confirmation.await.expect("the broker takes it");
            }
        })
        .await
    }

    async fn consume(&self, acknowledge: bool) -> Cost {
        let feed = format!("feed-{}", 2 * MESSAGES);
        let builder = self
            .client
            .consumer(feed.as_str())
            .expect("the name is short");
        let builder = match acknowledge {
            true => builder.prefetch(WINDOW),
            false => builder.no_ack(),
        };
        let mut consumer = builder.start().await.expect("the queue is there");
        let cost = self
            .cost(async || {
                for _ in 0..MESSAGES {
                    let delivery = consumer.next().await.expect("there are enough");
                    if acknowledge {
                        delivery.ack().expect("the channel is the same");
                    }
                }
            })
            .await;
        consumer.cancel().await;
        cost
    }

    /// Opens so many channels on each of the connections, on which nothing happens.
    async fn crowd(&self, channels: usize) -> (Vec<Producer>, Vec<Consumer>) {
        let mut producers = Vec::new();
        let mut consumers = Vec::new();
        for _ in 0..channels {
            let builder = self.client.producer("idle").expect("the name is short");
            let producer = builder.build();
            // It has a channel once it has published.
            let sent = producer.try_publish(body()).expect("there is room");
            producers.push((producer, sent));
            let builder = self.client.consumer("idle").expect("the name is short");
            consumers.push(builder.start().await.expect("the queue is there"));
        }
        let mut idle = Vec::new();
        for (producer, sent) in producers {
            sent.await.expect("the broker takes it");
            idle.push(producer);
        }
        (idle, consumers)
    }
}

/// A transport that counts what would be a system call each.
struct Counting {
    stream: Box<dyn Transport>,
    transfers: Arc<AtomicU64>,
}

impl Counting {
    fn count(&mut self) -> Pin<&mut Box<dyn Transport>> {
        self.transfers.fetch_add(1, Ordering::Relaxed);
        Pin::new(&mut self.stream)
    }
}

impl Transport for Counting {
    fn prepare_abort(&mut self) {
        self.stream.prepare_abort();
    }
}

impl AsyncRead for Counting {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        self.count().poll_read(cx, buffer)
    }
}

impl AsyncWrite for Counting {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.count().poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.count().poll_write_vectored(cx, slices)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_close(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_close(cx)
    }
}

/// A body that is made once, and shared.
fn body() -> Bytes {
    Bytes::from_static(distant_broker::BODY)
}

#[test]
fn many_messages_take_few_allocations_and_system_calls_however_many_channels_are_open() {
    let executor = LocalExecutor::new();
    run(executor.run(async {
        let client = Counted::connect(distant_broker::start(), &executor).await;
        let alone = client.costs().await;
        let crowd = within("the other channels", client.crowd(CHANNELS - 1)).await;
        let crowded = client.costs().await;
        drop(crowd);
        for ((work, alone), (_, crowded)) in alone.named().into_iter().zip(crowded.named()) {
            eprintln!("{work}: {alone:?}, with {CHANNELS} channels {crowded:?}");
            for cost in [alone, crowded] {
                assert!(cost.allocations < ALLOWED, "{work}: {cost:?}");
                assert!(cost.system_calls() < ALLOWED, "{work}: {cost:?}");
            }
        }
    }));
}
