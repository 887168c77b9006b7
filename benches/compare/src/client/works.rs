use std::time::Instant;

use bytes::Bytes;

use super::{Client, Confirmed, Consumer, Publisher, Result, Tasks};
use crate::meter::Meter;
use crate::witness::{Milestone, Witness};
use crate::work::{IDLE_QUEUE, IN_FLIGHT, Order, Work};

/// Connects a client and does the work of an order: some messages to warm up, then those that are
/// measured.
pub(super) async fn work<C: Client>(order: &Order, tasks: &Tasks, meter: &mut Meter) -> Result<()> {
    let bench = Bench {
        client: C::connect(&order.url).await?,
        order,
        tasks,
        witness: Witness::new(order.witness),
    };
    let crowd = bench.crowd().await?;
    match order.row.work {
        Work::Publish => bench.publish(meter).await,
        Work::Confirmed => bench.confirmed(meter).await,
        Work::ConfirmedSingly => bench.confirmed_singly(meter).await,
        Work::Consume => bench.consume(meter).await,
        Work::Acked => bench.acked(meter).await,
        Work::AckedByBatch => bench.acked_by_batch(meter).await,
        Work::RoundTrip => bench.round_trip(meter).await,
    }?;
    drop(crowd);
    Ok(())
}

/// Channels on which nothing happens.
struct Crowd<C: Client> {
    _publishers: Vec<C::Publisher>,
    _consumers: Vec<C::Consumer>,
}

struct Bench<'a, C> {
    client: C,
    order: &'a Order,
    tasks: &'a Tasks,
    witness: Witness,
}

impl<C: Client> Bench<'_, C> {
    /// Opens the channels that are only there.
    async fn crowd(&self) -> Result<Crowd<C>> {
        let (mut publishers, mut consumers) = (Vec::new(), Vec::new());
        for _ in 0..self.order.row.channels {
            if self.order.row.work.consumes() {
                consumers.push(self.client.consumer(IDLE_QUEUE, Some(1)).await?);
            } else {
                publishers.push(self.client.publisher(IDLE_QUEUE, self.body()).await?);
            }
        }
        Ok(Crowd {
            _publishers: publishers,
            _consumers: consumers,
        })
    }

    async fn publish(&self, meter: &mut Meter) -> Result<()> {
        let mut publishers = Vec::new();
        for _ in 0..self.order.row.producers {
            let publisher = self.client.publisher(&self.order.queue, self.body());
            publishers.push(publisher.await?);
        }
        let mut published = 0;
        self.measure(meter, async |messages| {
            let idle = std::mem::take(&mut publishers);
            publishers = self.share(idle, messages, publish_all).await?;
            published += messages;
            // A client may still hold what it was handed.
            Ok(self.witness.wait(Milestone::Published(published)).await?)
        })
        .await
    }

    async fn confirmed(&self, meter: &mut Meter) -> Result<()> {
        let producers = self.order.row.producers;
        let window = usize::from(IN_FLIGHT) / producers;
        let mut publishers = Vec::new();
        for _ in 0..producers {
            let publisher = self
                .client
                .confirmed(&self.order.queue, self.body(), window);
            publishers.push(publisher.await?);
        }
        self.measure(meter, async |messages| {
            let idle = std::mem::take(&mut publishers);
            publishers = self.share(idle, messages, confirm_all).await?;
            Ok(())
        })
        .await
    }

    async fn confirmed_singly(&self, meter: &mut Meter) -> Result<()> {
        let Order { queue, .. } = self.order;
        let mut publisher = self.client.confirmed(queue, self.body(), 1).await?;
        self.measure_each(meter, async || publisher.send().await)
            .await
    }

    /// There is no warm-up: a client without a bound would take in all messages during it.
    async fn consume(&self, meter: &mut Meter) -> Result<()> {
        let messages = self.order.warm_up + self.order.messages;
        let mut consumer = self.client.consumer(&self.order.queue, None).await?;
        meter.begin(0);
        for _ in 0..messages {
            consumer.next().await?;
        }
        meter.end(messages);
        Ok(())
    }

    async fn acked(&self, meter: &mut Meter) -> Result<()> {
        let consumer = self.client.consumer(&self.order.queue, Some(IN_FLIGHT));
        let mut consumer = consumer.await?;
        let mut acked = 0;
        self.measure(meter, async |messages| {
            for _ in 0..messages {
                consumer.next_acked().await?;
            }
            consumer.flush().await?;
            acked += messages;
            Ok(self.witness.wait(Milestone::Acked(acked)).await?)
        })
        .await
    }

    async fn acked_by_batch(&self, meter: &mut Meter) -> Result<()> {
        let consumer = self.client.consumer(&self.order.queue, Some(IN_FLIGHT));
        let mut consumer = consumer.await?;
        let (mut due, mut acked) = (0, 0);
        self.measure(meter, async |messages| {
            due += messages;
            while acked < due {
                acked += consumer.next_batch_acked().await? as u64;
            }
            consumer.flush().await?;
            Ok(self.witness.wait(Milestone::Acked(acked)).await?)
        })
        .await
    }

    async fn round_trip(&self, meter: &mut Meter) -> Result<()> {
        let Order { queue, .. } = self.order;
        let mut consumer = self.client.consumer(queue, None).await?;
        let mut publisher = self.client.publisher(queue, self.body()).await?;
        self.measure_each(meter, async || {
            publisher.publish().await?;
            publisher.flush().await?;
            consumer.next().await
        })
        .await
    }

    fn body(&self) -> Bytes {
        vec![b'x'; self.order.row.size].into()
    }

    /// Runs the messages of the warm-up and those that are measured.
    async fn measure(
        &self,
        meter: &mut Meter,
        mut run: impl AsyncFnMut(u64) -> Result<()>,
    ) -> Result<()> {
        run(self.order.warm_up).await?;
        meter.begin(0);
        run(self.order.messages).await?;
        meter.end(self.order.messages);
        Ok(())
    }

    /// The same one by one.
    async fn measure_each(
        &self,
        meter: &mut Meter,
        mut run: impl AsyncFnMut() -> Result<()>,
    ) -> Result<()> {
        for _ in 0..self.order.warm_up {
            run().await?;
        }
        meter.begin(self.order.messages);
        for _ in 0..self.order.messages {
            let began = Instant::now();
            run().await?;
            meter.note(began.elapsed());
        }
        meter.end(self.order.messages);
        Ok(())
    }

    /// Gives each publisher its share of the messages, and a task if there are several.
    async fn share<P, F>(
        &self,
        mut publishers: Vec<P>,
        messages: u64,
        run: impl Fn(P, u64) -> F,
    ) -> Result<Vec<P>>
    where
        P: 'static,
        F: Future<Output = Result<P>> + 'static,
    {
        if publishers.len() == 1 {
            let only = run(publishers.remove(0), messages).await?;
            return Ok(vec![only]);
        }
        let share = messages / publishers.len() as u64;
        let tasks: Vec<_> = publishers
            .into_iter()
            .map(|publisher| self.tasks.spawn(run(publisher, share)))
            .collect();
        self.tasks
            .run(async {
                let mut publishers = Vec::new();
                for task in tasks {
                    publishers.push(task.await?);
                }
                Ok(publishers)
            })
            .await
    }
}

async fn publish_all<P: Publisher>(mut publisher: P, messages: u64) -> Result<P> {
    for _ in 0..messages {
        publisher.publish().await?;
    }
    publisher.flush().await?;
    Ok(publisher)
}

async fn confirm_all<P: Confirmed>(mut publisher: P, messages: u64) -> Result<P> {
    for _ in 0..messages {
        publisher.publish().await?;
    }
    publisher.flush().await?;
    Ok(publisher)
}
