//! Where users' threads meet the driver's: loom runs each of these in every order that there is, and
//! fails where somebody sleeps for ever.
//!
//! The user's side is the public interface; the driver's is the few calls that the real one makes.

use std::collections::VecDeque;
use std::pin::{Pin, pin};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll, Waker};

use futures_lite::future::poll_once;
use loom::future::block_on;
use loom::thread;
use snowshoe_codec::{ChannelId, Delivery, Event as CodecEvent};

use super::command::Command;
use super::doorbell::Ready;
use super::handle::Shared;
use super::inbox::{Filled, Inbox};
use super::outbox::Outbox;
use super::place::{LinkIndex, Place};
use super::testing::{Timeless, confirm, transmit};
use crate::client::Client;
use crate::consumer::Consumer;
use crate::core::session::{ConsumerKey, ProducerKey};
use crate::core::testing::{self, name};
use crate::core::{Epoch, Flow};
use crate::declare::Queue;
use crate::error::{ConsumerEnd, Error};
use crate::events::{ConnectionRole, Event};
use crate::outcome::{Settled, Unconfirmed, UnconfirmedReason};
use crate::producer::Producer;

/// Runs a model in every order that takes no more than this many switches ahead of time; almost all
/// errors show with two.
fn model(run: impl Fn() + Send + Sync + 'static) {
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(3);
    builder.check(run);
}

/// What the driver was told when it answered the bell.
#[derive(Default)]
struct Taken {
    commands: VecDeque<Command>,
    ready: Vec<Ready>,
}

/// A client whose driver is this model.
struct World {
    shared: Arc<Shared>,
    client: Client,
}

impl World {
    fn new() -> Self {
        let shared = Arc::new(Shared::new(7, LinkIndex::PUBLISHING, Box::default()));
        let client = Client::over(Arc::clone(&shared), None, Arc::new(Timeless));
        Self { shared, client }
    }

    /// A producer with room for one message.
    fn producer(&self) -> (Producer, Arc<Outbox>) {
        let producer = self.client.producer("q").expect("it is short");
        let producer = producer.capacity(1).build();
        let Some(Command::AddProducer(outbox)) = self.take().commands.pop_back() else {
            panic!("the driver was not told");
        };
        let (link, key) = (LinkIndex::PUBLISHING, ProducerKey::default());
        outbox.register(Place { link, key });
        (producer, outbox)
    }

    /// A consumer that was started, with room for so many deliveries.
    fn consumer(&self, capacity: usize) -> (Consumer, Arc<Inbox>) {
        let builder = self.client.consumer("q").expect("it is short");
        let mut start = pin!(builder.prefetch(0).capacity(capacity).start());
        assert!(block_on(poll_once(&mut start)).is_none());
        let Some(Command::AddConsumer { inbox, started, .. }) = self.take().commands.pop_back()
        else {
            panic!("the driver was not told");
        };
        let (link, key) = (LinkIndex::MAIN, ConsumerKey::default());
        inbox.register(Place { link, key });
        inbox.begin_epoch(Epoch::default().next(), name("q"), WIDE);
        started.send(Ok(())).expect("somebody waits for it");
        let consumer = block_on(start).expect("it was started");
        (consumer, inbox)
    }

    fn take(&self) -> Taken {
        let mut taken = Taken::default();
        (self.shared.commands).take(&mut taken.commands, &mut taken.ready);
        taken
    }
}

/// The driver's loop: sleeps, wakes and takes what it is told until it has what it waits for.
fn drive<T>(shared: &Shared, mut work: impl FnMut(&mut Taken) -> Option<T>) -> T {
    let mut taken = Taken::default();
    block_on(std::future::poll_fn(|cx| {
        loop {
            (shared.commands).take(&mut taken.commands, &mut taken.ready);
            if let Some(result) = work(&mut taken) {
                return Poll::Ready(result);
            }
            taken.ready.clear();
            if shared.doorbell.park(cx.waker()) {
                return Poll::Pending;
            }
        }
    }))
}

/// Polls a future that waits for an `async_channel`, which wakes under a lock of its own. So that loom
/// does not switch threads there, nobody is woken; the test looks again by itself.
fn poll_asleep<F: Future>(future: Pin<&mut F>) -> Option<F::Output> {
    match future.poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(output) => Some(output),
        Poll::Pending => None,
    }
}

/// As the user asked.
const WIDE: Flow = Flow::Wide { prefetch: 0 };

/// Deliveries with the tags 1 and 2.
fn deliveries() -> Vec<Delivery> {
    static DELIVERIES: OnceLock<Vec<Delivery>> = OnceLock::new();
    let make = || testing::consumed("", &[(1, b"one herring"), (2, b"another")]);
    DELIVERIES.get_or_init(make).clone()
}

#[test]
fn what_is_asked_for_while_the_driver_falls_asleep_wakes_it() {
    model(|| {
        let World { shared, client } = World::new();
        let users: Vec<_> = (0..2)
            .map(|_| {
                let client = client.clone();
                thread::spawn(move || client.update_secret("secret", name("")))
            })
            .collect();
        drive(&shared, |taken| (taken.commands.len() == 2).then_some(()));
        for user in users {
            user.join().unwrap();
        }
    });
}

#[test]
fn a_call_is_answered_or_told_that_the_driver_is_gone() {
    model(|| {
        let World { shared, client } = World::new();
        let driver = thread::spawn(move || {
            let commands = shared.commands.close();
            shared.hub.close();
            drop(commands);
        });
        let mut call = pin!(client.declare(Queue::new("q")));
        let early = poll_asleep(call.as_mut());
        driver.join().unwrap();
        let result = early.unwrap_or_else(|| poll_asleep(call).expect("the driver is gone"));
        assert!(matches!(result, Err(Error::Closed)), "{result:?}");
    });
}

#[test]
fn a_publish_wakes_the_driver_though_it_has_just_looked() {
    model(|| {
        let world = World::new();
        let (producer, outbox) = world.producer();
        let user = thread::spawn(move || {
            let _confirmation = producer.try_publish("a herring").expect("there is room");
            producer
        });
        drive(&world.shared, |taken| {
            let told = taken
                .ready
                .iter()
                .any(|it| matches!(it, Ready::Producer(_)));
            // As the driver does: what was scheduled once is, until all of it is written.
            told.then(|| outbox.with(|state| assert!(state.publisher.has_unwritten())))
        });
        drop(user.join().unwrap());
    });
}

#[test]
fn what_is_published_while_the_driver_takes_a_producer_in_is_found() {
    model(|| {
        let World { shared, client } = World::new();
        let producer = client.producer("q").expect("it is short").build();
        let user = thread::spawn(move || {
            let _confirmation = producer.try_publish("a herring").expect("there is room");
            producer
        });
        let mut taken_in = None;
        drive(&shared, |taken| {
            let mut has_to_look = !taken.ready.is_empty();
            while let Some(Command::AddProducer(outbox)) = taken.commands.pop_front() {
                let (link, key) = (LinkIndex::PUBLISHING, ProducerKey::default());
                outbox.register(Place { link, key });
                taken_in = Some(outbox);
                has_to_look = true;
            }
            let outbox = taken_in.as_ref().filter(|_| has_to_look)?;
            let found = outbox.with(|state| {
                state.scheduled = state.publisher.has_unwritten();
                state.scheduled
            });
            found.then_some(())
        });
        drop(user.join().unwrap());
    });
}

#[test]
fn an_outcome_is_told_whether_it_is_awaited_before_or_after_it() {
    for ack in [true, false] {
        model(move || {
            let world = World::new();
            let (producer, outbox) = world.producer();
            let confirmation = producer.try_publish("a herring").expect("there is room");
            transmit(&outbox);
            let driver = thread::spawn(move || confirm(&outbox, ack));
            match block_on(confirmation) {
                Ok(()) => assert!(ack),
                Err(Unconfirmed {
                    reason: UnconfirmedReason::Nacked,
                    ..
                }) => assert!(!ack),
                Err(other) => panic!("{other}"),
            }
            driver.join().unwrap();
        });
    }
}

#[test]
fn of_a_confirmation_that_is_dropped_nothing_is_kept() {
    model(|| {
        let world = World::new();
        let (producer, outbox) = world.producer();
        let confirmation = producer.try_publish("a herring").expect("there is room");
        transmit(&outbox);
        let driver = {
            let outbox = Arc::clone(&outbox);
            thread::spawn(move || confirm(&outbox, false))
        };
        let mut confirmation = Box::pin(confirmation);
        _ = block_on(poll_once(&mut confirmation));
        drop(confirmation);
        driver.join().unwrap();
        let kept = outbox.with(|state| state.publisher.poll_outcome(0, || unreachable!()));
        assert_eq!(
            kept,
            Some(Ok(())),
            "an outcome that is forgotten reads as an ack"
        );
    });
}

#[test]
fn whoever_waits_for_room_gets_it_though_another_gives_up_before() {
    model(|| {
        let world = World::new();
        let (producer, outbox) = world.producer();
        let first = producer.try_publish("one herring").expect("there is room");
        transmit(&outbox);
        let impatient = {
            let producer = producer.clone();
            thread::spawn(move || {
                let mut publish = pin!(producer.publish("another"));
                block_on(poll_once(&mut publish)).is_some()
            })
        };
        let patient = thread::spawn(move || {
            // With room for one, it gets in only where the other does not.
            let mut publish = pin!(producer.publish("a third"));
            block_on(async { publish.as_mut().await.is_ok() })
        });
        confirm(&outbox, true);
        let overtaken = impatient.join().unwrap();
        if overtaken {
            transmit(&outbox);
            confirm(&outbox, true);
        }
        assert!(patient.join().unwrap());
        drop(first);
    });
}

// case B4
#[test]
fn whoever_waits_for_room_gets_it_though_another_who_waited_before_is_not_polled() {
    model(|| {
        let world = World::new();
        let (producer, outbox) = world.producer();
        let _first = producer.try_publish("one herring").expect("there is room");
        transmit(&outbox);
        outbox.with(|state| state.scheduled = false);
        world.take();
        let mut kept = Box::pin(producer.publish("another"));
        assert!(block_on(poll_once(&mut kept)).is_none());
        let patient = {
            let producer = producer.clone();
            thread::spawn(move || _ = block_on(producer.publish("a third")).expect("it is open"))
        };
        confirm(&outbox, true);
        // As the driver does when it has nothing else to do.
        drive(&world.shared, |_| {
            let is_accepted = outbox.with(|state| {
                while state.publisher.owes_room() {
                    state.publisher.rest();
                    state.publisher.pass_on();
                }
                state.publisher.has_unwritten()
            });
            is_accepted.then_some(())
        });
        patient.join().unwrap();
        drop(kept);
    });
}

// case B5
#[test]
fn a_flush_that_is_given_up_leaves_nothing_and_another_is_told() {
    model(|| {
        let world = World::new();
        let (producer, outbox) = world.producer();
        let _confirmation = producer.try_publish("a herring").expect("there is room");
        transmit(&outbox);
        let impatient = {
            let producer = producer.clone();
            thread::spawn(move || _ = block_on(poll_once(pin!(producer.flushed()))))
        };
        let driver = thread::spawn(move || confirm(&outbox, true));
        block_on(producer.flushed());
        impatient.join().unwrap();
        driver.join().unwrap();
    });
}

#[test]
fn whoever_waits_until_all_is_settled_is_told() {
    model(|| {
        let world = World::new();
        let (producer, outbox) = world.producer();
        let _confirmation = producer.try_publish("a herring").expect("there is room");
        transmit(&outbox);
        let driver = thread::spawn(move || confirm(&outbox, true));
        block_on(producer.flushed());
        driver.join().unwrap();
    });
}

#[test]
fn a_consumer_gets_every_delivery_and_then_the_end() {
    model(|| {
        let world = World::new();
        let (mut consumer, inbox) = world.consumer(usize::MAX);
        let driver = thread::spawn(move || {
            for delivery in deliveries() {
                assert_eq!(inbox.fill(&mut [delivery].into()), Filled::default());
            }
            inbox.finish(ConsumerEnd::ClientClosed);
        });
        let mut tags = 0;
        while let Some(delivery) = block_on(consumer.next()) {
            delivery.ack().expect("its channel is there");
            tags += 1;
        }
        assert_eq!(tags, 2);
        driver.join().unwrap();
    });
}

#[test]
fn a_consumer_that_falls_asleep_hears_that_it_is_stopped() {
    model(|| {
        let world = World::new();
        let (mut consumer, _inbox) = world.consumer(usize::MAX);
        let stop = consumer.stop_handle();
        let other = thread::spawn(move || stop.stop());
        assert!(block_on(consumer.next()).is_none());
        other.join().unwrap();
    });
}

#[test]
fn a_consumer_whose_deliveries_became_stale_in_its_hands_wakes_for_the_next() {
    model(|| {
        let world = World::new();
        let (mut consumer, inbox) = world.consumer(usize::MAX);
        let driver = thread::spawn(move || {
            let [first, second] = deliveries().try_into().expect("two");
            inbox.fill(&mut [first.clone()].into());
            inbox.end_epoch();
            inbox.begin_epoch(Epoch::default().next().next(), name("q"), WIDE);
            inbox.fill(&mut [first, second].into());
            inbox
        });
        // The first delivery may be handed out twice: in either epoch.
        let mut settled = 0;
        while settled < 2 {
            let delivery = block_on(consumer.next()).expect("it has not ended");
            match delivery.ack() {
                Ok(Settled::Stale) => {}
                Ok(_) => settled += 1,
                Err(error) => panic!("{error}"),
            }
        }
        driver.join().unwrap();
    });
}

#[test]
fn a_settle_that_meets_the_end_of_its_epoch_is_sent_under_none_other() {
    model(|| {
        let world = World::new();
        let (mut consumer, inbox) = world.consumer(usize::MAX);
        inbox.fill(&mut deliveries().into());
        let delivery = block_on(consumer.next()).expect("there are two");
        let driver = {
            let inbox = Arc::clone(&inbox);
            thread::spawn(move || {
                inbox.begin_epoch(Epoch::default().next().next(), name("q"), WIDE);
                inbox.flush(|frame| panic!("{frame:?} belongs to a channel that is gone"));
            })
        };
        _ = delivery.ack();
        driver.join().unwrap();
        inbox.flush(|frame| panic!("{frame:?} belongs to a channel that is gone"));
        assert!(inbox.is_drained());
    });
}

#[test]
fn a_driver_whose_broker_sends_less_hears_when_most_of_it_was_taken() {
    model(|| {
        let world = World::new();
        let (mut consumer, inbox) = world.consumer(1);
        let user = thread::spawn(move || {
            for _ in 0..2 {
                // They are not settled: that would ring as well.
                drop(block_on(consumer.next()).expect("there are two"));
            }
            // What was handed out is told with the next look.
            assert!(consumer.try_next().is_none());
            consumer
        });
        inbox.fill(&mut deliveries().into());
        // Where both were taken before it looks, there is nothing to ask for.
        if inbox.take_wish().is_some() {
            inbox.flows(Flow::Narrow);
            if inbox.take_wish().is_none() {
                drive(&world.shared, |taken| {
                    let told = (taken.ready.iter()).any(|it| matches!(it, Ready::Consumer(_)));
                    told.then(|| inbox.take_wish()).flatten()
                });
            }
        }
        drop(user.join().unwrap());
    });
}

#[test]
fn a_driver_that_sleeps_hears_of_what_is_settled() {
    model(|| {
        let world = World::new();
        let (mut consumer, inbox) = world.consumer(usize::MAX);
        inbox.fill(&mut deliveries().into());
        let delivery = block_on(consumer.next()).expect("there are two");
        let user = thread::spawn(move || _ = delivery.ack().expect("its channel is there"));
        drive(&world.shared, |taken| {
            let told = taken
                .ready
                .iter()
                .any(|it| matches!(it, Ready::Consumer(_)));
            told.then(|| inbox.flush(|frame| assert_eq!((frame.tag, frame.multiple), (1, false))))
        });
        assert!(inbox.has_nothing_to_send());
        user.join().unwrap();
    });
}

#[test]
fn a_channel_by_hand_gets_every_event_and_then_the_end() {
    model(|| {
        let world = World::new();
        let mut open = pin!(world.client.channel());
        assert!(block_on(poll_once(&mut open)).is_none());
        let Some(Command::OpenChannel { inbox, answer }) = world.take().commands.pop_back() else {
            panic!("the driver was not told");
        };
        answer.send(Ok(())).expect("somebody waits for it");
        let mut channel = block_on(open).expect("it was opened");
        let driver = thread::spawn(move || {
            let (channel, active) = (ChannelId(1), true);
            inbox.push(CodecEvent::Flow { channel, active });
            inbox.close(Error::ConnectionLost);
        });
        assert!(block_on(channel.next_event()).is_some());
        assert!(block_on(channel.next_event()).is_none());
        driver.join().unwrap();
    });
}

#[test]
fn whoever_subscribes_hears_of_the_end_however_late() {
    model(|| {
        let World { shared, client } = World::new();
        let driver = thread::spawn(move || {
            let role = ConnectionRole::Main;
            shared.hub.emit_with(|| Event::Unblocked { role });
            shared.hub.close();
        });
        let mut events = client.events();
        driver.join().unwrap();
        while let Some(_event) =
            poll_asleep(pin!(events.next())).expect("there is no more to wait for")
        {}
    });
}
