//! What a client tells of its state through cuts, refusals, blocks and its end, beside what its events say.

use std::time::Duration;

use futures_lite::future::poll_once;
use snowshoe::testing::{BrokerOptions, Clock, Dials, Executor, Server};
use snowshoe::{
    Client, ClientState, ConnectionRole, ConnectionStatus, Driver, Error, Event, Events, Queue,
    Reconnect, RecoveryStage, ReplyCode, ShortString, StateWatch,
};

const MAIN: ConnectionRole = ConnectionRole::Main;
const PUBLISHING: ConnectionRole = ConnectionRole::Publishing;

/// Plays a story in virtual time, in which no time passes but what somebody waits for.
fn play<F: Future<Output = ()> + 'static>(
    reconnect: Reconnect,
    story: impl FnOnce(Server, Clock, Client) -> F,
) {
    let clock = Clock::new();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let mut executor = Executor::new(clock.clone(), 1);
    let (client, driver) = client(&server, reconnect);
    executor.spawn(driver);
    let story = story(server, clock, client);
    executor.run(story).expect("nobody waits for ever");
}

fn client(server: &Server, reconnect: Reconnect) -> (Client, Driver) {
    let builder = server.client().name("orders").expect("it is printable");
    builder.reconnect(reconnect).seed(7).build()
}

fn patient() -> Reconnect {
    Reconnect::default()
        .initial_delay(Duration::from_secs(1))
        .max_delay(Duration::from_secs(60))
}

fn status(state: &ClientState, role: ConnectionRole) -> &ConnectionStatus {
    &state.connection(role).expect("it is there").status
}

async fn ready(watch: &mut StateWatch) -> ClientState {
    let state = watch.wait_for(ClientState::is_ready).await;
    state.expect("the client lives")
}

async fn heard(events: &mut Events, wanted: impl Fn(&Event) -> bool) -> Event {
    loop {
        let event = events.next().await.expect("the client lives");
        if wanted(&event) {
            return event;
        }
    }
}

#[test]
fn a_connection_is_told_from_its_first_attempt_on_to_its_end() {
    play(patient(), |server, clock, client| async move {
        let began = clock.now();
        let before = client.state();
        assert!(!before.is_ready() && before.is_alive(), "{before}");
        assert!(
            matches!(status(&before, MAIN), ConnectionStatus::Waiting { attempt: 1, until } if *until == began),
            "{before}"
        );
        assert!(before.connection(PUBLISHING).is_none());

        let mut watch = client.watch_state();
        let state = ready(&mut watch).await;
        let main = state.connection(MAIN).expect("there is one");
        let connected = main.connected().expect("it is ready");
        assert_eq!(connected.since, main.since);
        assert_eq!(main.opened, 1);
        assert!(main.last_failure.is_none() && connected.blocked.is_none());

        clock.sleep(Duration::from_secs(90)).await;
        let state = client.state();
        let since = state
            .connection(MAIN)
            .and_then(|it| it.connected())
            .expect("it is up")
            .since;
        assert_eq!(since, connected.since);
        assert_eq!(state.taken_at(), clock.now());
        let text = state.to_string();
        assert!(
            text.starts_with("orders: ready; main connection: connected to "),
            "{text}"
        );
        assert!(text.contains(" for 1 min 30 s"), "{text}");

        client.close().await;
        let state = client.state();
        assert!(!state.is_ready() && !state.is_alive() && !state.is_closing());
        assert_eq!(state.to_string(), "orders: ended; main connection: closed");
        assert_eq!(watch.changed().await.map(|it| it.is_alive()), Some(false));
        assert!(watch.changed().await.is_none());
        assert!(
            client
                .watch_state()
                .wait_for(ClientState::is_ready)
                .await
                .is_none()
        );
        drop(server);
    });
}

#[test]
fn a_cut_is_told_with_its_cause_and_the_next_attempt_and_so_are_refusals() {
    play(patient(), |server, clock, client| async move {
        let mut watch = client.watch_state();
        ready(&mut watch).await;
        let mut events = client.events();
        server.set_dials(Dials::Refused);
        let cut_at = clock.now();
        server.close_all(ReplyCode::CONNECTION_FORCED, "maintenance");
        for number in 1..=5 {
            let Event::Reconnecting { attempt, delay, .. } =
                heard(&mut events, |it| matches!(it, Event::Reconnecting { .. })).await
            else {
                unreachable!("it was looked for")
            };
            let now = clock.now();
            let state = client.state();
            assert!(!state.is_ready() && state.is_alive(), "{state}");
            let main = state.connection(MAIN).expect("there is one");
            let ConnectionStatus::Waiting {
                attempt: told,
                until,
            } = main.status
            else {
                panic!("{state}");
            };
            assert_eq!((told, until, main.since), (attempt, now + delay, now));
            let failure = main.last_failure.as_ref().expect("it has failed");
            assert_eq!(failure.at, now);
            let cause = failure.cause.to_string();
            let expected = if number == 1 {
                "maintenance"
            } else {
                "refused"
            };
            assert!(
                cause.starts_with("orders: ") && cause.contains(expected),
                "{cause}"
            );
            let text = state.to_string();
            assert!(
                text.starts_with("orders: not ready; main connection: waiting, attempt "),
                "{text}"
            );
            assert!(
                text.contains(expected) && !text[1..].contains("orders: "),
                "{text}"
            );
        }
        server.set_dials(Dials::Succeed);
        let state = ready(&mut watch).await;
        assert!(clock.now() > cut_at + Duration::from_secs(5));
        let main = state.connection(MAIN).expect("there is one");
        assert_eq!(main.opened, 2);
        assert!(main.last_failure.is_some(), "why it was away stays");
        assert!(main.connected().expect("it is up").since > cut_at);
    });
}

#[test]
fn a_broker_that_does_not_answer_is_told_as_connecting() {
    play(patient(), |server, clock, client| async move {
        let mut watch = client.watch_state();
        ready(&mut watch).await;
        server.set_dials(Dials::Hang);
        server.reset_all();
        let connecting = |state: &ClientState| {
            matches!(status(state, MAIN), ConnectionStatus::Connecting { .. })
        };
        let state = watch.wait_for(connecting).await.expect("it tries");
        assert!(!state.is_ready());
        let since = state.connection(MAIN).expect("there is one").since;
        assert_eq!(since, clock.now());
        clock.sleep(Duration::from_secs(10)).await;
        let text = client.state().to_string();
        assert!(
            text.contains("connecting to 127.0.0.1:") && text.contains(" for 10.0 s"),
            "{text}"
        );
    });
}

#[test]
fn a_recovery_is_told_by_what_it_is_busy_with() {
    play(patient(), |server, _, client| async move {
        let builder = client.producer("orders").expect("a name");
        let producer = builder.mandatory(false).fire_and_forget().build();
        producer.publish("one").await.expect("there is room");
        producer.flushed().await;
        let mut watch = client.watch_state();
        ready(&mut watch).await;
        // The broker lets it in, and takes its time to open the producer's channel.
        server.set_delay(Duration::from_secs(1));
        server.reset_all();
        let recovering = |state: &ClientState| {
            let publishing = state.connection(PUBLISHING).and_then(|it| it.connected());
            publishing.is_some_and(|it| it.recovering == Some(RecoveryStage::Producers))
        };
        let state = watch.wait_for(recovering).await.expect("it comes back");
        assert!(!state.is_ready());
        let text = state.to_string();
        assert!(text.contains(", recovering producers; "), "{text}");
        ready(&mut watch).await;
    });
}

#[test]
fn a_block_is_told_with_its_reason_and_since_when_and_is_no_reason_not_to_be_ready() {
    play(patient(), |server, clock, client| async move {
        let producer = client
            .producer("orders")
            .expect("a name")
            .mandatory(false)
            .build();
        producer.send("one").await.expect("the broker takes it");
        let mut watch = client.watch_state();
        let mut events = client.events();
        ready(&mut watch).await;
        server.block(ShortString::from_static("low on memory"));
        let confirmation = producer.publish("two").await.expect("there is room");
        heard(&mut events, |it| {
            matches!(
                it,
                Event::Blocked {
                    role: PUBLISHING,
                    ..
                }
            )
        })
        .await;
        let at = clock.now();
        clock.sleep(Duration::from_secs(3)).await;
        let state = client.state();
        assert!(state.is_blocked() && state.is_ready(), "{state}");
        let connection = state.connection(PUBLISHING).expect("it publishes");
        let blocked = connection.connected().and_then(|it| it.blocked.as_ref());
        let blocked = blocked.expect("it is blocked");
        assert_eq!(
            (&*blocked.reason.to_string_lossy(), blocked.since),
            ("low on memory", at)
        );
        let text = state.to_string();
        assert!(
            text.contains("ready, blocked; ")
                && text.contains(", blocked for 3.0 s: low on memory"),
            "{text}"
        );

        server.unblock();
        heard(&mut events, |it| matches!(it, Event::Unblocked { .. })).await;
        assert!(!client.state().is_blocked());
        confirmation.await.expect("the broker takes it");

        // A block ends with its connection.
        server.block(ShortString::from_static("low on disk"));
        let confirmation = producer.publish("three").await.expect("there is room");
        watch
            .wait_for(ClientState::is_blocked)
            .await
            .expect("it is blocked");
        server.unblock();
        server.reset_all();
        watch
            .wait_for(|state| !state.is_blocked())
            .await
            .expect("it is cut");
        confirmation.await.expect("the broker takes it");
    });
}

#[test]
fn a_client_that_gives_up_says_so_and_why() {
    let reconnect = patient().max_attempts(3);
    play(reconnect, |server, _, client| async move {
        let mut watch = client.watch_state();
        ready(&mut watch).await;
        let mut events = client.events();
        server.set_dials(Dials::Refused);
        server.reset_all();
        heard(&mut events, |it| matches!(it, Event::GaveUp { .. })).await;
        let state = watch
            .wait_for(|state| !state.is_alive())
            .await
            .expect("it is told");
        assert!(
            matches!(status(&state, MAIN), ConnectionStatus::GaveUp),
            "{state}"
        );
        assert!(!state.is_ready());
        let text = state.to_string();
        assert!(
            text.starts_with("orders: ended; main connection: given up; 0.0 s ago: "),
            "{text}"
        );
        assert!(watch.changed().await.is_none());
    });
}

#[test]
fn a_dedicated_connection_is_told_while_its_consumer_lives() {
    play(patient(), |server, _, client| async move {
        client
            .declare(Queue::new("orders"))
            .await
            .expect("nothing contradicts it");
        let builder = client
            .consumer("orders")
            .expect("a name")
            .dedicated_connection();
        let consumer = builder.start().await.expect("the queue is there");
        assert!(
            client
                .state()
                .connection(ConnectionRole::Dedicated)
                .is_some()
        );
        consumer.cancel().await;
        let mut watch = client.watch_state();
        let is_gone = |state: &ClientState| state.connection(ConnectionRole::Dedicated).is_none();
        let state = watch.wait_for(is_gone).await.expect("the client lives");
        assert!(state.is_ready(), "{state}");
        drop(server);
    });
}

#[test]
fn a_close_is_told_from_its_beginning_on() {
    play(patient(), |server, clock, client| async move {
        let producer = client
            .producer("orders")
            .expect("a name")
            .mandatory(false)
            .build();
        producer.send("one").await.expect("the broker takes it");
        server.hold_answers();
        let _unsettled = producer.publish("two").await.expect("there is room");
        let mut watch = client.watch_state();
        let closing = client.clone();
        let close = async move { closing.close_within(Duration::from_secs(8)).await };
        let look = async {
            let state = watch
                .wait_for(ClientState::is_closing)
                .await
                .expect("it takes a while");
            assert!(!state.is_ready() && state.is_alive(), "{state}");
            // What waits is settled first, and the connections are up for it.
            assert!(
                state.connections().all(snowshoe::ConnectionState::is_ready),
                "{state}"
            );
            assert!(
                state.to_string().starts_with("orders: closing; "),
                "{state}"
            );
            let say_goodbye = |state: &ClientState| {
                state
                    .connections()
                    .all(|it| matches!(it.status, ConnectionStatus::Closing))
            };
            watch.wait_for(say_goodbye).await.expect("it takes a while");
        };
        let began = clock.now();
        futures_lite::future::zip(close, look).await;
        assert_eq!(clock.now(), began + Duration::from_secs(8));
        assert!(!client.state().is_alive());
    });
}

#[test]
fn all_who_watch_are_told_the_newest_state_and_nothing_is_lost_by_giving_up() {
    play(patient(), |server, clock, client| async move {
        let mut watches = [client.watch_state(), client.watch_state()];
        for watch in &mut watches {
            ready(watch).await;
        }
        for watch in &mut watches {
            let changed = poll_once(watch.changed()).await;
            assert!(changed.is_none(), "nothing has changed since");
        }
        for _ in 0..3 {
            server.reset_all();
            clock.sleep(Duration::from_secs(5)).await;
        }
        for watch in &mut watches {
            let state = watch.changed().await.expect("the client lives");
            let main = state.connection(MAIN).expect("there is one");
            assert_eq!((main.opened, main.is_ready()), (4, true), "{state}");
            let changed = poll_once(watch.changed()).await;
            assert!(changed.is_none(), "the newest was told");
        }
    });
}

#[test]
fn a_driver_that_is_dropped_leaves_a_client_that_is_not_alive() {
    let server = Server::in_memory(BrokerOptions::default());
    let (client, driver) = client(&server, patient());
    let mut watch = client.watch_state();
    drop(driver);
    let state = client.state();
    assert!(!state.is_alive() && !state.is_ready());
    let changed = futures_lite::future::block_on(watch.changed());
    assert_eq!(changed.map(|it| it.is_alive()), Some(false));
}

#[test]
fn names_that_nobody_could_read_are_refused_with_what_to_do() {
    let server = Server::in_memory(BrokerOptions::default());
    let (client, _driver) = client(&server, patient());
    let texts = [
        server.client().name("").map(drop),
        server.client().name("two\nlines").map(drop),
        server.client().name(b"\xff").map(drop),
        client.producer("q").expect("a name").name("a\tb").map(drop),
        client.consumer("q").expect("a name").name("").map(drop),
    ];
    for refused in texts {
        assert!(matches!(refused, Err(Error::UnfitName(_))), "{refused:?}");
        let text = refused.unwrap_err().to_string();
        assert!(text.contains("use UTF-8 text"), "{text}");
    }
    let long = "x".repeat(256);
    for refused in [
        server.client().name(&long).map(drop),
        client.producer("q").expect("a name").name(&long).map(drop),
        client
            .consumer("q")
            .expect("a name")
            .name(&long[..240])
            .map(drop),
    ] {
        assert!(matches!(refused, Err(Error::TooLong(_))), "{refused:?}");
    }
    let named = client.producer("q").expect("a name").name("checkout");
    let id = named.expect("it is short").build().id();
    assert_eq!(
        id.to_string(),
        format!("producer \"checkout\" ({})", id.number())
    );
}

#[test]
fn a_connection_that_stalled_during_a_block_has_time_to_go_on_after_it() {
    let clock = Clock::new();
    let server = Server::in_virtual_time(BrokerOptions::default(), clock.clone());
    let mut executor = Executor::new(clock.clone(), 1);
    // The broker here counts heartbeats also where it does not read.
    let builder = server.client().heartbeat(Duration::ZERO);
    let (client, driver) = builder.seed(7).build();
    executor.spawn(driver);
    let story = async move {
        let mut events = client.events();
        client.declare(Queue::new("orders")).await.unwrap();
        let producer = client.producer("orders").unwrap().build();
        producer.send("one").await.unwrap();
        server.block(ShortString::from_static("low on memory"));
        let large = producer.publish(vec![0; 8 << 20]).await.unwrap();
        // Longer than the transport may take nothing otherwise.
        clock.sleep(Duration::from_secs(300)).await;
        // It is no longer blocked, and has not come to read yet.
        server.stop_reading();
        server.unblock();
        clock.sleep(Duration::from_secs(1)).await;
        server.resume_reading();
        large.await.unwrap();
        while let Some(Some(event)) = poll_once(events.next()).await {
            let is_end = matches!(event, Event::Disconnected { .. });
            assert!(!is_end, "{event:?}");
        }
    };
    executor.run(story).expect("nobody waits for ever");
}
