//! Messages that are given up while they wait, taken back, or told as not delivered, in virtual time.

use std::sync::{Arc, Mutex, OnceLock};
use std::time::Duration;

use futures_lite::future::poll_once;
use snowshoe::testing::{BrokerOptions, Clock, Dials, Executor, Server};
use snowshoe::{
    BufferPolicy, Client, Confirmation, DropReason, Event, Events, Mode, Producer, ProducerBuilder,
    PublishErrorReason, Queue, Reconnect, ShortString, Unconfirmed, UnconfirmedReason, Undelivered,
};

const AGE: Duration = Duration::from_secs(10);

struct World {
    server: Server,
    clock: Clock,
    client: Client,
    events: Events,
}

/// Plays a story in virtual time, in which no time passes but what somebody waits for.
fn play<F: Future<Output = ()> + 'static>(story: impl FnOnce(World) -> F + 'static) {
    let clock = Clock::new();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let mut executor = Executor::new(clock.clone(), 1);
    let reconnect = Reconnect::default().max_delay(Duration::from_secs(1));
    let (client, driver) = server.client().reconnect(reconnect).seed(7).build();
    executor.spawn(driver);
    let story = async {
        let events = client.events();
        client.declare(Queue::new("orders")).await.unwrap();
        let world = World {
            server,
            clock,
            client,
            events,
        };
        story(world).await;
    };
    executor.run(story).expect("nobody waits for ever");
}

/// What was told as not delivered.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Undelivered>>>);

impl Told {
    fn to<M: Mode>(&self, builder: ProducerBuilder<M>) -> ProducerBuilder<M> {
        let told = Arc::clone(&self.0);
        builder.on_undelivered(move |it| told.lock().unwrap().push(it))
    }

    /// Bodies, why, and whether the broker may have them, since this was last asked.
    fn take(&self) -> Vec<(String, UnconfirmedReason, bool)> {
        let told = std::mem::take(&mut *self.0.lock().unwrap()).into_iter();
        told.map(|it| {
            let body = String::from_utf8(it.message.body().to_vec()).unwrap();
            (body, it.outcome.reason, it.outcome.possibly_stored)
        })
        .collect()
    }
}

fn dropped(body: &str, reason: DropReason) -> (String, UnconfirmedReason, bool) {
    (body.to_owned(), UnconfirmedReason::Dropped(reason), false)
}

impl World {
    fn producer(&self) -> ProducerBuilder {
        self.client.producer("orders").unwrap()
    }

    async fn heard(&mut self, wanted: impl Fn(&Event) -> bool) {
        while !wanted(&self.events.next().await.expect("the client lives")) {}
    }

    /// The publishing connection is lost, and not made again.
    async fn begin_outage(&mut self, producer: &Producer) {
        producer.send("before").await.unwrap();
        self.server.set_dials(Dials::Refused);
        self.server.reset_all();
        for _ in 0..2 {
            self.heard(|event| matches!(event, Event::Disconnected { .. }))
                .await;
        }
    }

    fn bodies(&self) -> Vec<String> {
        let ready = self.server.queue("orders").expect("it is there").ready;
        let bodies = ready.iter().map(|it| it.body.to_vec());
        bodies.map(|it| String::from_utf8(it).unwrap()).collect()
    }
}

fn expired(outcome: Result<(), Unconfirmed>) -> Option<bool> {
    let unconfirmed = outcome.err()?;
    let is_expired = unconfirmed.reason == UnconfirmedReason::Dropped(DropReason::Expired);
    is_expired.then_some(unconfirmed.possibly_stored)
}

#[test]
fn what_waits_for_too_long_in_an_outage_is_told_when_its_time_has_come() {
    play(async |mut world| {
        let told = Told::default();
        let producer = told.to(world.producer()).max_age(AGE).build();
        world.begin_outage(&producer).await;
        let began = world.clock.now();
        let old = producer.publish("old").await.unwrap();
        world.clock.sleep(AGE / 2).await;
        let young = producer.publish("young").await.unwrap();
        assert_eq!(expired(old.await), Some(false));
        assert_eq!(world.clock.now() - began, AGE);
        assert_eq!(told.take(), [dropped("old", DropReason::Expired)]);
        world
            .heard(|event| {
                matches!(
                    event,
                    Event::Dropped {
                        reason: DropReason::Expired,
                        count: 1,
                        ..
                    }
                )
            })
            .await;

        world.server.set_dials(Dials::Succeed);
        young.await.unwrap();
        assert_eq!(world.bodies(), ["before", "young"]);
        assert_eq!(told.take(), []);
    });
}

#[test]
fn without_confirms_what_is_too_old_while_publishers_are_blocked_is_told_with_the_message() {
    play(async |mut world| {
        let told = Told::default();
        let builder = world.producer().fire_and_forget().max_age(AGE);
        let producer = told.to(builder).build();
        producer.publish("before").await.unwrap();
        producer.flushed().await;
        world
            .server
            .block(ShortString::from_static("low on memory"));
        // The first that comes is not read, and the client is told.
        producer.publish("not read").await.unwrap();
        world
            .heard(|event| matches!(event, Event::Blocked { .. }))
            .await;
        producer.publish("old").await.unwrap();
        producer.flushed().await;
        assert_eq!(told.take(), [dropped("old", DropReason::Expired)]);
        world.server.unblock();
        producer.publish("after").await.unwrap();
        world
            .server
            .until(|it| it.queue("orders").is_some_and(|it| it.ready.len() == 3))
            .await;
        assert_eq!(world.bodies(), ["before", "not read", "after"]);
    });
}

#[test]
fn what_may_have_arrived_before_a_cut_is_given_up_as_that() {
    play(async |mut world| {
        let producer = world.producer().max_age(AGE).build();
        producer.send("before").await.unwrap();
        world.server.hold_answers();
        let sent = producer.publish("sent").await.unwrap();
        world
            .server
            .until(|it| it.queue("orders").is_some_and(|it| it.ready.len() == 2))
            .await;
        // It is too old now, and that is for the broker to tell as long as there is a connection.
        world.clock.sleep(AGE).await;
        assert_eq!(producer.buffered(), 1);
        world.server.set_dials(Dials::Refused);
        world.server.reset_all();
        assert_eq!(expired(sent.await), Some(true));
        world
            .heard(|event| matches!(event, Event::Disconnected { .. }))
            .await;
    });
}

#[test]
fn a_message_is_taken_back_while_there_is_no_connection_and_makes_room() {
    play(async |mut world| {
        let told = Told::default();
        let producer = told.to(world.producer()).capacity(2).build();
        world.begin_outage(&producer).await;
        let first = producer.publish("first").await.unwrap();
        let second = producer.publish("second").await.unwrap();
        let mut third = Box::pin(producer.publish("third"));
        assert!(poll_once(&mut third).await.is_none(), "it waits for room");
        let message = first.withdraw().expect("it was not written");
        assert_eq!(message.body(), "first");
        let third = third.await.unwrap();
        world.server.set_dials(Dials::Succeed);
        second.await.unwrap();
        third.await.unwrap();
        assert_eq!(world.bodies(), ["before", "second", "third"]);
        assert_eq!(told.take(), []);
    });
}

#[test]
fn what_is_on_its_way_is_not_taken_back_and_its_outcome_comes() {
    play(async |world| {
        let producer = world.producer().build();
        producer.send("before").await.unwrap();
        world.server.hold_answers();
        let sent = producer.publish("sent").await.unwrap();
        world
            .server
            .until(|it| it.queue("orders").is_some_and(|it| it.ready.len() == 2))
            .await;
        let sent = sent.withdraw().expect_err("the broker has it");
        world.server.release_answers();
        sent.await.unwrap();
    });
}

#[test]
fn a_close_does_not_wait_for_what_was_taken_back() {
    play(async |mut world| {
        let producer = world.producer().build();
        world.begin_outage(&producer).await;
        let confirmation: Confirmation = producer.publish("never mind").await.unwrap();
        let began = world.clock.now();
        let mut close = Box::pin(world.client.close());
        assert!(poll_once(&mut close).await.is_none());
        // The driver looks, and waits.
        world.clock.sleep(Duration::from_millis(1)).await;
        assert!(poll_once(&mut close).await.is_none());
        confirmation.withdraw().expect("it was not written");
        assert!(close.await.undelivered.is_empty());
        assert_eq!(world.clock.now() - began, Duration::from_millis(1));
    });
}

#[test]
fn what_a_close_gives_up_is_told_as_well() {
    play(async |mut world| {
        let told = Told::default();
        let producer = told.to(world.producer()).build();
        world.begin_outage(&producer).await;
        drop(producer.publish("left").await.unwrap());
        let report = world.client.close_within(AGE).await;
        let left: Vec<_> = report
            .undelivered
            .iter()
            .map(|it| it.body().clone())
            .collect();
        assert_eq!(left, ["left"]);
        assert_eq!(told.take(), [dropped("left", DropReason::Closed)]);
    });
}

#[test]
fn who_hears_may_publish_elsewhere_and_panic_and_ask_the_producer() {
    play(async |mut world| {
        let elsewhere = world.client.producer("elsewhere").unwrap().build();
        world.client.declare(Queue::new("elsewhere")).await.unwrap();
        let itself = Arc::<OnceLock<Producer>>::default();
        let asked = Arc::clone(&itself);
        let saved = elsewhere.clone();
        let hears = move |it: Undelivered| {
            assert_ne!(it.message.body(), "1", "a panic that a test wants");
            let producer = asked.get().expect("it is there");
            assert!(producer.buffered() <= 2);
            drop(saved.try_publish(it.message).unwrap());
        };
        let builder = world
            .producer()
            .policy(BufferPolicy::DropOldest)
            .capacity(2);
        let producer = builder.on_undelivered(hears).build();
        itself.set(producer.clone()).expect("it is set once");
        world.begin_outage(&producer).await;
        for number in 0..4 {
            drop(producer.publish(number.to_string()).await.unwrap());
        }
        assert_eq!(
            elsewhere.buffered(),
            1,
            "of the two that made room one panicked"
        );
        world.server.set_dials(Dials::Succeed);
        producer.flushed().await;
        elsewhere.flushed().await;
        assert_eq!(world.bodies(), ["before", "2", "3"]);
        let saved = world.server.queue("elsewhere").unwrap().ready;
        assert_eq!(saved[0].body, "0");
    });
}

#[test]
fn what_is_not_accepted_is_not_told() {
    play(async |mut world| {
        let told = Told::default();
        let builder = world.producer().policy(BufferPolicy::Error).capacity(1);
        let producer = told.to(builder).build();
        world.begin_outage(&producer).await;
        let accepted = producer.publish("accepted").await.unwrap();
        let error = producer.publish("refused").await.unwrap_err();
        assert_eq!(error.reason, PublishErrorReason::BufferFull);
        world.server.set_dials(Dials::Succeed);
        accepted.await.unwrap();
        assert_eq!(told.take(), []);
    });
}
