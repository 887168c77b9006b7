//! What is let go under a lock is dropped without it: the last waker of a task takes the task along, and
//! the last of a body its owner, and either may come back to the very same handle.

use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Waker};

use bytes::Bytes;
use snowshoe_codec::{Delivery, Event as CodecEvent};

use super::command::Command;
use super::doorbell::Ready;
use super::handle::Shared;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::place::{LinkIndex, Place};
use super::testing::{Timeless, confirm, transmit};
use crate::client::Client;
use crate::consumer::Consumer;
use crate::core::session::{ConsumerKey, ProducerKey};
use crate::core::testing::{self, name};
use crate::core::{Epoch, Flow};
use crate::error::Error;
use crate::message::Message;
use crate::outcome::DropReason;
use crate::producer::Producer;
use crate::settings::BufferPolicy;
use crate::sync::last::{self, in_time};

/// A client without a driver.
struct World {
    shared: Arc<Shared>,
    client: Client,
    /// How many were dropped that came back.
    came_back: Arc<AtomicUsize>,
}

impl World {
    fn new() -> Self {
        let shared = Arc::new(Shared::new(7, LinkIndex::PUBLISHING, Box::default()));
        let client = Client::over(Arc::clone(&shared), None, Arc::new(Timeless));
        Self {
            shared,
            client,
            came_back: Arc::default(),
        }
    }

    /// A producer with room for one message.
    fn producer(&self, policy: BufferPolicy) -> (Producer, Arc<Outbox>) {
        let producer = self.client.producer("q").expect("it is short");
        let producer = producer.capacity(1).policy(policy).build();
        let Some(Command::AddProducer(outbox)) = self.command() else {
            panic!("the driver was not told");
        };
        let (link, key) = (LinkIndex::PUBLISHING, ProducerKey::default());
        outbox.register(Place { link, key });
        (producer, outbox)
    }

    fn consumer(&self) -> (Consumer, Arc<Inbox>) {
        let mut start = pin!(self.client.consumer("q").expect("it is short").start());
        let mut cx = Context::from_waker(Waker::noop());
        assert!(start.as_mut().poll(&mut cx).is_pending());
        let Some(Command::AddConsumer { inbox, started, .. }) = self.command() else {
            panic!("the driver was not told");
        };
        let (link, key) = (LinkIndex::MAIN, ConsumerKey::default());
        inbox.register(Place { link, key });
        inbox.begin_epoch(Epoch::default().next(), name("q"), WIDE);
        _ = started.send(Ok(()));
        let consumer = futures_lite::future::block_on(start).expect("it was started");
        (consumer, inbox)
    }

    fn command(&self) -> Option<Command> {
        let (mut commands, mut ready) = Default::default();
        self.shared.commands.take(&mut commands, &mut ready);
        commands.pop_back()
    }

    /// The waker of a task that asks this when it goes.
    fn waker<R>(&self, ask: impl FnOnce() -> R + Send + Sync + 'static) -> Waker {
        last::waker(self.counted(ask))
    }

    /// A body whose owner asks this when it goes.
    fn body<R>(&self, ask: impl FnOnce() -> R + Send + Sync + 'static) -> Bytes {
        last::body(self.counted(ask))
    }

    fn counted<R>(
        &self,
        ask: impl FnOnce() -> R + Send + Sync + 'static,
    ) -> impl FnOnce() + Send + Sync + 'static {
        let came_back = Arc::clone(&self.came_back);
        move || {
            ask();
            came_back.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn came_back(&self) -> usize {
        self.came_back.load(Ordering::Relaxed)
    }
}

const WIDE: Flow = Flow::Wide { prefetch: 0 };

/// Polls with a waker of which this is the last but for what is stored.
fn poll_with<F: Future + Unpin>(waker: Waker, future: &mut F) -> bool {
    let future = std::pin::Pin::new(future);
    future.poll(&mut Context::from_waker(&waker)).is_ready()
}

fn asks(producer: &Producer) -> impl FnOnce() -> usize + Send + Sync + 'static {
    let producer = producer.clone();
    move || producer.buffered()
}

#[test]
fn a_task_goes_when_another_awaits_its_confirmation() {
    in_time(|| {
        let world = World::new();
        let (producer, _outbox) = world.producer(BufferPolicy::Block);
        let mut confirmation = producer.try_publish("a herring").expect("there is room");
        poll_with(world.waker(asks(&producer)), &mut confirmation);
        assert!(!poll_with(Waker::noop().clone(), &mut confirmation));
        assert_eq!(world.came_back(), 1);
    });
}

#[test]
fn a_task_goes_with_the_confirmation_that_it_awaits() {
    in_time(|| {
        let world = World::new();
        let (producer, _outbox) = world.producer(BufferPolicy::Block);
        let mut confirmation = producer.try_publish("a herring").expect("there is room");
        poll_with(world.waker(asks(&producer)), &mut confirmation);
        drop(confirmation);
        assert_eq!(world.came_back(), 1);
    });
}

#[test]
fn a_task_goes_when_another_waits_for_room_in_its_place() {
    for leaves in [false, true] {
        in_time(move || {
            let world = World::new();
            let (producer, _outbox) = world.producer(BufferPolicy::Block);
            let _confirmation = producer.try_publish("a herring").expect("there is room");
            let mut publish = Box::pin(producer.publish("another"));
            assert!(!poll_with(world.waker(asks(&producer)), &mut publish));
            if leaves {
                drop(publish);
            } else {
                assert!(!poll_with(Waker::noop().clone(), &mut publish));
            }
            assert_eq!(world.came_back(), 1);
        });
    }
}

#[test]
fn a_task_goes_when_another_waits_for_its_flush() {
    for leaves in [false, true] {
        in_time(move || {
            let world = World::new();
            let (producer, _outbox) = world.producer(BufferPolicy::Block);
            let _confirmation = producer.try_publish("a herring").expect("there is room");
            let mut flushed = Box::pin(producer.flushed());
            assert!(!poll_with(world.waker(asks(&producer)), &mut flushed));
            if leaves {
                drop(flushed);
            } else {
                assert!(!poll_with(Waker::noop().clone(), &mut flushed));
            }
            assert_eq!(world.came_back(), 1);
        });
    }
}

#[test]
fn a_body_asks_its_producer_when_it_is_confirmed() {
    for ack in [true, false] {
        in_time(move || {
            let world = World::new();
            let (producer, outbox) = world.producer(BufferPolicy::Block);
            let body = world.body(asks(&producer));
            let _confirmation = producer.try_publish(body).expect("there is room");
            transmit(&outbox);
            confirm(&outbox, ack);
            assert_eq!(world.came_back(), 1);
        });
    }
}

#[test]
fn a_routing_key_and_properties_ask_their_producer_when_their_message_is_confirmed() {
    in_time(|| {
        let world = World::new();
        let (producer, outbox) = world.producer(BufferPolicy::Block);
        // Properties that nobody can read are sent as they are.
        let properties = world.body(asks(&producer));
        let message = Message::from("a herring")
            .with_routing_key(world.body(asks(&producer)))
            .expect("it is short")
            .with_properties(snowshoe_codec::Properties::from_encoded(properties));
        let _confirmation = producer.try_publish(message).expect("there is room");
        transmit(&outbox);
        confirm(&outbox, true);
        assert_eq!(world.came_back(), 1, "the properties are kept for the next");
        let properties = snowshoe_codec::Properties::builder().app_id("b").build();
        let message = Message::from("another").with_properties(properties.expect("it is short"));
        let _confirmation = producer.try_publish(message).expect("there is room");
        transmit(&outbox);
        assert_eq!(world.came_back(), 2);
    });
}

#[test]
fn a_body_asks_its_producer_when_a_newer_one_takes_its_place() {
    in_time(|| {
        let world = World::new();
        let (producer, _outbox) = world.producer(BufferPolicy::DropOldest);
        let body = world.body(asks(&producer));
        let _confirmation = producer.try_publish(body).expect("there is room");
        let _confirmation = producer.try_publish("another").expect("room is made");
        assert_eq!(world.came_back(), 1);
    });
}

#[test]
fn a_body_asks_its_producer_when_it_is_given_up() {
    in_time(|| {
        let world = World::new();
        let (producer, outbox) = world.producer(BufferPolicy::Block);
        let body = world.body(asks(&producer));
        let _confirmation = producer.try_publish(body).expect("there is room");
        drop(outbox.abandon(DropReason::Closed));
        assert_eq!(world.came_back(), 1);
    });
}

#[test]
fn who_hears_of_what_is_not_delivered_asks_the_producer() {
    in_time(|| {
        let world = World::new();
        let itself = Arc::<OnceLock<Producer>>::default();
        let (asked, came_back) = (Arc::clone(&itself), Arc::clone(&world.came_back));
        let producer = world.client.producer("q").expect("it is short");
        let producer = producer.on_undelivered(move |_| {
            let producer = asked.get().expect("it is there");
            came_back.fetch_add(1 + producer.buffered(), Ordering::Relaxed);
        });
        let producer = producer.build();
        let Some(Command::AddProducer(outbox)) = world.command() else {
            panic!("the driver was not told");
        };
        itself.set(producer.clone()).expect("it is set once");
        let _confirmation = producer.try_publish("a message").expect("there is room");
        drop(outbox.abandon(DropReason::Closed));
        assert_eq!(world.came_back(), 1);
    });
}

#[test]
fn a_task_goes_when_another_takes_back_what_it_awaits() {
    in_time(|| {
        let world = World::new();
        let (producer, _outbox) = world.producer(BufferPolicy::Block);
        let mut confirmation = producer.try_publish("a message").expect("there is room");
        let waker = world.waker(asks(&producer));
        assert!(!poll_with(waker, &mut confirmation));
        assert!(confirmation.withdraw().is_ok());
        assert_eq!(world.came_back(), 1);
    });
}

/// Deliveries with the tags 1 and 2.
fn deliveries() -> Vec<Delivery> {
    testing::consumed("", &[(1, b"one herring"), (2, b"another")])
}

/// Asks what takes the lock of an inbox.
fn looks_into(inbox: &Arc<Inbox>) -> impl FnOnce() -> usize + Send + Sync + 'static {
    let inbox = Arc::clone(inbox);
    move || inbox.len()
}

#[test]
fn a_task_goes_when_another_takes_its_consumer_over() {
    in_time(|| {
        let world = World::new();
        let (mut consumer, inbox) = world.consumer();
        let asks = || world.waker(looks_into(&inbox));
        assert!(!poll_with(asks(), &mut Box::pin(consumer.next())));
        assert!(!poll_with(asks(), &mut Box::pin(consumer.next())));
        assert_eq!(world.came_back(), 1);
        // Somebody who does not wait takes its place, too.
        assert!(consumer.try_next().is_none());
        assert_eq!(world.came_back(), 2);
        inbox.fill(&mut deliveries().into());
    });
}

#[test]
fn a_task_goes_with_the_consumer_that_it_awaits() {
    in_time(|| {
        let world = World::new();
        let (mut consumer, inbox) = world.consumer();
        let waker = world.waker(looks_into(&inbox));
        assert!(!poll_with(waker, &mut Box::pin(consumer.next())));
        drop(consumer);
        assert_eq!(world.came_back(), 1);
    });
}

#[test]
fn a_task_goes_when_another_awaits_the_end_of_its_consumer() {
    in_time(|| {
        let world = World::new();
        let (consumer, inbox) = world.consumer();
        let mut cancel = Box::pin(consumer.cancel());
        assert!(!poll_with(world.waker(looks_into(&inbox)), &mut cancel));
        assert!(!poll_with(Waker::noop().clone(), &mut cancel));
        assert_eq!(world.came_back(), 1);
    });
}

#[test]
fn the_name_of_a_queue_asks_its_consumer_when_it_is_replaced() {
    in_time(|| {
        let world = World::new();
        let (_consumer, inbox) = world.consumer();
        let named = || {
            let queue = world.body(looks_into(&inbox)).try_into();
            queue.expect("it is short")
        };
        let epoch = Epoch::default().next().next();
        inbox.begin_epoch(epoch, named(), WIDE);
        inbox.begin_epoch(epoch, named(), WIDE);
        assert_eq!(world.came_back(), 1);
        inbox.queue_renamed(&inbox.queue(), &name("another"));
        assert_eq!(world.came_back(), 2);
    });
}

#[test]
fn a_task_goes_when_another_takes_its_channel_over() {
    in_time(|| {
        let world = World::new();
        let mut open = Box::pin(world.client.channel());
        assert!(!poll_with(Waker::noop().clone(), &mut open));
        let Some(Command::OpenChannel { inbox, answer }) = world.command() else {
            panic!("the driver was not told");
        };
        _ = answer.send(Ok(()));
        let mut channel = futures_lite::future::block_on(open).expect("it was opened");
        let asks = {
            let inbox = Arc::clone(&inbox);
            world.waker(move || inbox.closed())
        };
        assert!(!poll_with(asks, &mut Box::pin(channel.next_event())));
        let mut next = Box::pin(channel.next_event());
        assert!(!poll_with(Waker::noop().clone(), &mut next));
        assert_eq!(world.came_back(), 1);
        let id = snowshoe_codec::ChannelId(1);
        inbox.push(CodecEvent::Flow {
            channel: id,
            active: true,
        });
        inbox.close(Error::Closed);
    });
}

#[test]
fn a_task_goes_when_another_drives_its_driver() {
    for closes in [false, true] {
        in_time(move || {
            let world = World::new();
            let doorbell = Arc::clone(&world.shared.doorbell);
            let rings = world.waker(move || {
                let (link, key) = (LinkIndex::MAIN, ConsumerKey::default());
                doorbell.ring(Ready::Consumer(Place { link, key }));
            });
            assert!(world.shared.doorbell.park(&rings));
            drop(rings);
            if closes {
                world.shared.commands.close();
            } else {
                world.shared.doorbell.answer(&mut Vec::new());
            }
            assert_eq!(world.came_back(), 1);
        });
    }
}
