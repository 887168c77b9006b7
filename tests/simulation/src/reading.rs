//! Those who read the stream, and what they saw of it.

use std::collections::BTreeSet;
use std::rc::Rc;
use std::time::Duration;

use fastrand::Rng;
use snowshoe::testing::Broker;
use snowshoe::{Consumer, Delivery, Error, Settled, StreamOffset};

use crate::message::MessageId;
use crate::plan::{Begin, Queue, ReaderPlan};
use crate::workload::Scene;

/// What a reader was handed.
#[derive(Debug, Default)]
pub(crate) struct Reader {
    /// Whose it is.
    client: usize,
    /// From where on nothing may be missing, once it has begun.
    due_from: Option<u64>,
    seen: BTreeSet<u64>,
    settled: BTreeSet<u64>,
    offences: Vec<String>,
}

impl Reader {
    /// A delivery was handed out. What was settled does not come again, and everything comes in its order
    /// the first time.
    fn is_handed(&mut self, offset: u64) {
        if self.settled.contains(&offset) {
            self.offences
                .push(format!("is handed {offset} again, which it had settled"));
        }
        let newest = self.seen.last().copied();
        if self.seen.insert(offset) && newest.is_some_and(|newest| offset < newest) {
            self.offences
                .push(format!("is handed {offset} first after {newest:?}"));
        }
    }

    /// The first that it lacks of so many messages.
    fn lacks(&self, len: u64) -> Option<u64> {
        let due_from = self.due_from?.min(*self.seen.first().unwrap_or(&u64::MAX));
        (due_from..len).find(|offset| !self.seen.contains(offset))
    }
}

/// Reads as planned, until the client is closed.
pub(crate) async fn read(scene: Rc<Scene>, plan: ReaderPlan) {
    let index = {
        let mut ledger = scene.ledger.borrow_mut();
        ledger.readers.push(Reader {
            client: scene.index,
            ..Reader::default()
        });
        ledger.readers.len() - 1
    };
    scene.until(plan.from).await;
    let mut random = Rng::with_seed(plan.seed);
    let begin = match plan.begin {
        Begin::First => StreamOffset::First,
        Begin::Next => StreamOffset::Next,
        Begin::Offset(offset) => StreamOffset::Offset(offset),
    };
    let Some(mut consumer) = start(&scene, &plan, begin).await else {
        return;
    };
    let due_from = match plan.begin {
        Begin::First => 0,
        // What is there by now may have been there before.
        Begin::Next => scene.server.witnessed(|_, broker| len(broker)),
        Begin::Offset(offset) => offset,
    };
    scene.ledger.borrow_mut().readers[index].due_from = Some(due_from);
    if let Some(at) = plan.hands_over {
        let patience = Some(scene.left_until(at));
        let taking = take_all(&scene, &plan, index, &mut consumer, &mut random);
        if scene.with_patience(patience, taking).await.is_none() {
            let position = consumer.stream_position();
            consumer.cancel().await;
            scene.log.note(format_args!(
                "user: reader {index} hands over at {position:?}"
            ));
            let begin = position.map_or(begin, StreamOffset::Offset);
            {
                let reader = &mut scene.ledger.borrow_mut().readers[index];
                // What was settled beyond is known to the first alone; and one that had received nothing
                // can say nothing of where it was.
                reader.settled.split_off(&position.unwrap_or(0));
                if position.is_none() && plan.begin == Begin::Next {
                    reader.due_from = None;
                }
            }
            let Some(next) = start(&scene, &plan, begin).await else {
                return;
            };
            let len = scene.server.witnessed(|_, broker| len(broker));
            let reader = &mut scene.ledger.borrow_mut().readers[index];
            reader.due_from.get_or_insert(len);
            consumer = next;
        }
    }
    take_all(&scene, &plan, index, &mut consumer, &mut random).await;
    let ends = &mut scene.ledger.borrow_mut().fates[scene.index].ends;
    ends.push(consumer.end());
}

/// Starts it, as soon as that can be. `None` where the client is closed.
async fn start(scene: &Scene, plan: &ReaderPlan, begin: StreamOffset) -> Option<Consumer> {
    loop {
        let builder = scene.client.consumer(Queue::Stream.name(scene.index));
        let mut builder = builder
            .expect("the name is short")
            .stream_offset(begin)
            .prefetch(plan.prefetch)
            .capacity(plan.capacity);
        if let Some(room) = plan.room {
            builder = builder.capacity_bytes(room);
        }
        if plan.dedicated {
            builder = builder.dedicated_connection();
        }
        match builder.start().await {
            Ok(consumer) => return Some(consumer),
            Err(Error::Closed) => return None,
            Err(_) => scene.clock.sleep(Duration::from_millis(500)).await,
        }
    }
}

async fn take_all(
    scene: &Scene,
    plan: &ReaderPlan,
    index: usize,
    consumer: &mut Consumer,
    random: &mut Rng,
) {
    let mut kept = Vec::new();
    loop {
        if let Some(limit) = plan.batches {
            let Some(batch) = consumer.next_batch(limit).await else {
                return;
            };
            let offsets = batch.iter().filter_map(|it| note(scene, index, it));
            let offsets: Vec<u64> = offsets.collect();
            rest(scene, plan, random).await;
            // If not, some of it may be.
            if batch.ack() == Ok(Settled::Sent) {
                settled(scene, index, offsets);
            }
            continue;
        }
        if kept.len() < usize::from(plan.prefetch) {
            let patience = (!kept.is_empty()).then_some(PATIENCE);
            match scene.with_patience(patience, consumer.next()).await {
                Some(Some(delivery)) => {
                    note(scene, index, &delivery);
                    rest(scene, plan, random).await;
                    if random.u32(..16) < plan.keeps {
                        kept.push(delivery);
                    } else {
                        settle(scene, index, delivery);
                    }
                    continue;
                }
                Some(None) => return,
                None => {}
            }
        }
        random.shuffle(&mut kept);
        let some = random.usize(1..=kept.len());
        for delivery in kept.drain(..some) {
            settle(scene, index, delivery);
        }
    }
}

/// How long somebody waits for more before settling what was kept.
const PATIENCE: Duration = Duration::from_millis(700);

async fn rest(scene: &Scene, plan: &ReaderPlan, random: &mut Rng) {
    if plan.slowness > 0 && random.bool() {
        let time = Duration::from_millis(random.u64(..plan.slowness));
        scene.clock.sleep(time).await;
    }
}

fn note(scene: &Scene, index: usize, delivery: &Delivery) -> Option<u64> {
    let reader = &mut scene.ledger.borrow_mut().readers[index];
    let Some(offset) = delivery.stream_offset() else {
        reader.offences.push("cannot see an offset".to_owned());
        return None;
    };
    scene
        .log
        .note(format_args!("user: reader {index} is handed {offset}"));
    let id = MessageId::read(delivery.body());
    if id != scene.server.witnessed(|_, broker| at(broker, offset)) {
        reader
            .offences
            .push(format!("is handed {id:?}, which is not at {offset}"));
    }
    reader.is_handed(offset);
    Some(offset)
}

fn settle(scene: &Scene, index: usize, delivery: Delivery) {
    let offset = delivery.stream_offset();
    if delivery.ack() == Ok(Settled::Sent) {
        settled(scene, index, offset);
    }
}

fn settled(scene: &Scene, index: usize, offsets: impl IntoIterator<Item = u64>) {
    let reader = &mut scene.ledger.borrow_mut().readers[index];
    for offset in offsets {
        scene
            .log
            .note(format_args!("user: reader {index} has settled {offset}"));
        reader.settled.insert(offset);
    }
}

/// How many messages the stream has.
fn len(broker: &Broker) -> u64 {
    let stream = broker.queue("/", Queue::Stream.name(0));
    stream.map_or(0, |it| it.ready.len() as u64)
}

fn at(broker: &Broker, offset: u64) -> Option<MessageId> {
    let stream = broker.queue("/", Queue::Stream.name(0))?;
    MessageId::read(&stream.ready.get(usize::try_from(offset).ok()?)?.body)
}

/// Whether a client's readers have come to the end of the stream.
pub(crate) fn are_through(readers: &[Reader], client: usize, broker: &Broker) -> bool {
    let mut own = readers.iter().filter(|reader| reader.client == client);
    own.all(|reader| reader.due_from.is_some() && reader.lacks(len(broker)).is_none())
}

/// What readers saw that they should not have seen.
pub(crate) fn check(readers: &[Reader]) -> Result<(), String> {
    for (index, reader) in readers.iter().enumerate() {
        if let Some(offence) = reader.offences.first() {
            return Err(format!("reader {index} {offence}"));
        }
    }
    Ok(())
}
