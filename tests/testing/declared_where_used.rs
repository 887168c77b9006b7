//! Producers of queues that cannot be declared yet, or are not needed any more.

use std::time::Duration;

use snowshoe::codec::method::{Arguments as _, queue};
use snowshoe::testing::{BrokerOptions, Clock, Dials, Executor, Fault, Server};
use snowshoe::{Client, Entity, Error, Event, Queue, ReplyCode, UnconfirmedReason};

/// Plays a story in virtual time, in which no time passes but what somebody waits for.
fn play<F: Future<Output = ()> + 'static>(story: impl FnOnce(Server, Clock, Client) -> F) {
    let clock = Clock::new();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let mut executor = Executor::new(clock.clone(), 1);
    let (client, driver) = server.client().seed(7).build();
    executor.spawn(driver);
    executor
        .run(story(server, clock, client))
        .expect("nobody waits for ever");
}

fn refuses(code: ReplyCode, text: &str) -> Fault {
    Fault {
        times: usize::MAX,
        ..Fault::new(queue::Declare::ID, code, text)
    }
}

#[test]
fn a_refusal_that_passes_is_told_and_holds_the_messages_until_the_queue_can_be_declared() {
    let passing = [
        (ReplyCode::PRECONDITION_FAILED, "Server low on disk space"),
        (
            ReplyCode::NOT_FOUND,
            "home node 'one' of durable queue 'orders' is down or inaccessible",
        ),
    ];
    for (code, text) in passing {
        play(|server, clock, client| async move {
            server.inject(refuses(code, text));
            let mut events = client.events();
            let producer = client.producer(Queue::new("orders")).unwrap();
            let producer = producer.build();
            let confirmation = producer.publish("one bicycle").await.unwrap();
            let this = Entity::Producer(producer.id());
            loop {
                match events.next().await.unwrap() {
                    Event::Delayed { entity, reason } => {
                        assert_eq!(entity, this);
                        assert!(matches!(&reason, Error::Refused(close) if close.code == code));
                        break;
                    }
                    Event::NotDeclared { error, .. } => panic!("given up: {error}"),
                    _ => {}
                }
            }
            clock.sleep(Duration::from_secs(60)).await;
            server.heal();
            confirmation.await.unwrap();
            let mut delays = 0;
            loop {
                match events.next().await.unwrap() {
                    Event::Delayed { .. } => delays += 1,
                    Event::Restored { entity } => {
                        assert_eq!((entity, delays), (this, 0), "told once");
                        break;
                    }
                    _ => {}
                }
            }
        });
    }
}

#[test]
fn a_refusal_that_stays_ends_the_producer() {
    play(|server, _clock, client| async move {
        server.inject(refuses(ReplyCode::ACCESS_REFUSED, "not this one"));
        let producer = client.producer(Queue::new("orders")).unwrap().build();
        let unconfirmed = producer.publish("one bicycle").await.unwrap().await;
        let reason = unconfirmed.unwrap_err().reason;
        assert!(
            matches!(reason, UnconfirmedReason::NotDeclared(_)),
            "{reason:?}"
        );
    });
}

#[test]
fn producers_that_came_and_went_during_an_outage_leave_no_declaration() {
    play(|server, clock, client| async move {
        client.declare(Queue::new("before")).await.unwrap();
        server.set_dials(Dials::Refused);
        server.reset_all();
        for number in 0..100 {
            let queue = Queue::new(format!("orders {number}"));
            let producer = client.producer(queue).unwrap().build();
            // The driver has seen half of them before they go.
            if number % 2 == 0 {
                clock.sleep(Duration::from_millis(1)).await;
            }
            drop(producer);
        }
        let kept = client.producer(Queue::new("kept")).unwrap().build();
        let confirmation = kept.publish("one bicycle").await.unwrap();
        server.set_dials(Dials::Succeed);
        confirmation.await.unwrap();
        client.declare(Queue::new("after")).await.unwrap();
        let mut names = server.queue_names();
        names.sort();
        assert_eq!(names, ["after", "before", "kept"]);
    });
}
