//! How often a client waits for its broker, in virtual time: round trips, not milliseconds.
//!
//! The way there takes no time, and the way back one round trip, so what has passed is how many of them
//! were waited for one after the other. TCP's own is not among them: on a network each connection
//! costs one more.

#[cfg(feature = "tls")]
mod tls;

use std::future::poll_fn;
use std::task::Poll;
use std::time::{Duration, Instant};

use snowshoe::codec::ConnectionLimits;
use snowshoe::codec::method::basic;
use snowshoe::testing::{BrokerOptions, Clock, Executor, Manner, Server};
use snowshoe::{Client, ClientBuilder, ConnectionRole, Event, Queue, Reconnect};

const ROUND_TRIP: Duration = Duration::from_millis(50);

/// A story, and what it counts.
struct World {
    clock: Clock,
    server: Server,
    client: Client,
    since: Instant,
}

impl World {
    /// How many round trips have passed since this was last asked.
    fn trips(&mut self) -> u32 {
        let passed = self.clock.now() - self.since;
        self.since = self.clock.now();
        let trips = passed.as_nanos() / ROUND_TRIP.as_nanos();
        let rest = passed.as_nanos() % ROUND_TRIP.as_nanos();
        assert_eq!(rest, 0, "{passed:?}: something else was waited for");
        u32::try_from(trips).expect("it is not for ever")
    }
}

/// All of them at once.
async fn all<F: Future>(futures: impl IntoIterator<Item = F>) -> Vec<F::Output> {
    let mut futures: Vec<_> = futures.into_iter().map(Box::pin).collect();
    let mut done: Vec<_> = futures.iter().map(|_| None).collect();
    poll_fn(|cx| {
        for (future, done) in futures.iter_mut().zip(&mut done) {
            if done.is_none()
                && let Poll::Ready(output) = future.as_mut().poll(cx)
            {
                *done = Some(output);
            }
        }
        match done.iter().all(Option::is_some) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    })
    .await;
    done.into_iter().flatten().collect()
}

/// Tells it with each broker's manner, at a distance.
fn at_a_distance<F: Future<Output = ()> + 'static>(story: impl Fn(World) -> F) {
    tell(true, story);
}

/// The same, with a client that waits for each answer in its handshakes.
fn step_by_step<F: Future<Output = ()> + 'static>(story: impl Fn(World) -> F) {
    tell(false, story);
}

fn tell<F: Future<Output = ()> + 'static>(is_pipelined: bool, story: impl Fn(World) -> F) {
    for manner in [
        Manner::RabbitMq310,
        Manner::RabbitMq40,
        Manner::RabbitMq43,
        Manner::LavinMq,
    ] {
        let clock = Clock::new();
        let options = BrokerOptions {
            manner,
            ..BrokerOptions::default()
        };
        let server = Server::in_virtual_time(options, clock.clone());
        server.set_delay(ROUND_TRIP);
        let mut executor = Executor::new(clock.clone(), 1);
        // Without the back-off, the way back is all that there is.
        let reconnect = Reconnect::default().initial_delay(Duration::ZERO);
        let builder = server.client().reconnect(reconnect);
        let (client, driver) = builder.pipelined_handshake(is_pipelined).build();
        executor.spawn(driver);
        let world = World {
            since: clock.now(),
            clock,
            server,
            client,
        };
        let told = executor.run(story(world));
        told.unwrap_or_else(|| panic!("{manner:?}: nobody waits for ever"));
    }
}

#[test]
fn to_the_first_confirm() {
    at_a_distance(async |mut world| {
        world.client.ready().await.unwrap();
        assert_eq!(world.trips(), 3, "greeting, login, opening");
        world.client.declare(Queue::new("orders")).await.unwrap();
        assert_eq!(world.trips(), 1, "a declaration");
        let producer = world.client.producer("orders").unwrap().build();
        producer.send("1").await.unwrap();
        assert_eq!(
            world.trips(),
            1,
            "the connection for publishing, to a broker that is known, and a confirm"
        );
        producer.send("2").await.unwrap();
        assert_eq!(world.trips(), 1, "a confirm");
    });
}

#[test]
fn to_the_first_confirm_step_by_step() {
    step_by_step(async |mut world| {
        world.client.declare(Queue::new("orders")).await.unwrap();
        world.trips();
        let producer = world.client.producer("orders").unwrap().build();
        producer.send("1").await.unwrap();
        assert_eq!(
            world.trips(),
            3,
            "the connection for publishing, and a confirm"
        );
    });
}

/// How many connections a client has and how many round trips have passed, from its beginning to the first confirm
/// of a message to a queue that it has declared.
fn first_confirm(builder: impl Fn(ClientBuilder) -> ClientBuilder) -> (usize, u32) {
    let clock = Clock::new();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    server.set_delay(ROUND_TRIP);
    let mut executor = Executor::new(clock.clone(), 1);
    let (client, driver) = builder(server.client()).build();
    executor.spawn(driver);
    let mut world = World {
        since: clock.now(),
        clock,
        server,
        client,
    };
    let told = executor.run(async move {
        world.client.declare(Queue::new("orders")).await.unwrap();
        let producer = world.client.producer("orders").unwrap().build();
        producer.send("1").await.unwrap();
        (world.server.connections().len(), world.trips())
    });
    told.expect("nobody waits for ever")
}

#[test]
fn to_the_first_confirm_where_both_connections_are_made_together() {
    // Both connections, the declaration, the confirm.
    let told = first_confirm(|builder| builder.connect_for_publishing(true));
    assert_eq!(told, (2, 3 + 1 + 1));
}

#[test]
fn to_the_first_confirm_on_a_single_connection() {
    let told = first_confirm(|builder| builder.single_connection(true));
    assert_eq!(told, (1, 3 + 1 + 1));
}

#[test]
fn to_the_first_delivery() {
    at_a_distance(async |mut world| {
        world.client.declare(Queue::new("orders")).await.unwrap();
        let producer = world.client.producer("orders").unwrap().build();
        producer.send("1").await.unwrap();
        world.trips();
        let orders = world.client.consumer("orders").unwrap();
        let mut orders = orders.start().await.unwrap();
        orders.next().await.unwrap().ack().unwrap();
        assert_eq!(world.trips(), 1);
    });
}

#[test]
fn to_the_first_answer_on_a_channel() {
    at_a_distance(async |mut world| {
        world.client.ready().await.unwrap();
        world.trips();
        let channel = world.client.channel().await.unwrap();
        channel.call(basic::Qos::default()).await.unwrap();
        assert_eq!(world.trips(), 1);
    });
}

#[test]
fn for_many_declarations_and_consumers_at_once() {
    for many in [100, 1_000] {
        at_a_distance(|mut world: World| async move {
            world.client.ready().await.unwrap();
            world.trips();
            let names: Vec<String> = (0..many).map(|number| format!("q{number}")).collect();
            let declarations = names
                .iter()
                .map(|name| world.client.declare(Queue::new(name.as_str())));
            for declared in all(declarations).await {
                declared.unwrap();
            }
            assert_eq!(world.trips(), 1, "{many} declarations");
            let consumers = names
                .iter()
                .map(|name| world.client.consumer(name.as_str()).unwrap().start());
            let consumers = all(consumers).await;
            assert!(consumers.iter().all(Result::is_ok));
            assert_eq!(world.trips(), 1, "{many} consumers");
            let mut events = world.client.events();
            world.server.reset_all();
            while !matches!(
                events.next().await,
                Some(Event::Recovered {
                    role: ConnectionRole::Main
                })
            ) {}
            assert_eq!(world.trips(), 2, "{many} of both, recovered");
        });
    }
}

/// Until the main connection is open again, and until all is back on it.
async fn recovery(world: &mut World) -> (u32, u32) {
    // Long enough that nothing is backed off from.
    world.clock.sleep(Duration::from_secs(10)).await;
    world.trips();
    let mut events = world.client.events();
    world.server.reset_all();
    let mut connected = None;
    loop {
        match events.next().await {
            Some(Event::Connected {
                role: ConnectionRole::Main,
            }) => connected = Some(world.trips()),
            Some(Event::Recovered {
                role: ConnectionRole::Main,
            }) => break,
            _ => {}
        }
    }
    let connected = connected.expect("it connects before it recovers");
    (connected, connected + world.trips())
}

#[test]
fn back_at_a_broker_that_is_known_or_not() {
    at_a_distance(async |mut world| {
        world.client.declare(Queue::new("orders")).await.unwrap();
        assert_eq!(recovery(&mut world).await, (1, 1));
    });
    step_by_step(async |mut world| {
        world.client.declare(Queue::new("orders")).await.unwrap();
        assert_eq!(recovery(&mut world).await, (3, 3));
    });
}

/// Perhaps it reads no further than to the end of what it has asked for.
#[test]
fn back_at_a_broker_that_says_nothing_to_all_of_it_at_once() {
    at_a_distance(async |world| {
        world.client.declare(Queue::new("orders")).await.unwrap();
        world.clock.sleep(Duration::from_secs(10)).await;
        let mut events = world.client.events();
        world.server.stop_reading();
        world.server.reset_all();
        // A third of the 30 s that a handshake has.
        world.clock.sleep(Duration::from_secs(11)).await;
        world.server.resume_reading();
        let mut told = Vec::new();
        loop {
            match events.next().await.expect("it goes on") {
                Event::Disconnected { cause, .. } => told.push(cause.to_string()),
                Event::Recovered { .. } => break,
                _ => {}
            }
        }
        assert_eq!(told.len(), 1, "{told:?}");
    });
}

#[test]
fn back_at_a_broker_that_is_another_by_now() {
    at_a_distance(async |mut world| {
        world.client.declare(Queue::new("orders")).await.unwrap();
        let limits = BrokerOptions::default().limits;
        // One that offers more is found out by what it says, and one that offers less by its refusal.
        for frame_max in [2 * limits.frame_max, limits.frame_max / 2] {
            world.server.set_limits(ConnectionLimits {
                frame_max,
                ..limits.clone()
            });
            let (connected, recovered) = recovery(&mut world).await;
            assert_eq!((connected, recovered), (1 + 3, 1 + 3), "{frame_max}");
            assert_eq!(recovery(&mut world).await, (1, 1), "it is known again");
        }
    });
}
