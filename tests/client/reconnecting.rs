//! However a connection fails, and whatever fails on the way back, the client comes back by itself,
//! once; and when it is closed, it stays closed. Many that lose their node at once come back, but not
//! all at the same moment.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use snowshoe::{
    Client, Confirmation, ConnectionError, ConnectionErrorReason, ConnectionRole, Consumer,
    Delivery, Event, Events, Producer, Reconnect,
};
use support::broker::{Node, admin, url};
use support::cable::Cable;
use support::events::{next_event, recovered};
use support::messages::{number, numbered};
use support::proxy::{End, Proxy, Stats, To, Verdict};
use support::queues::declare_empty;
use support::waiting::{run, wait_until, within};

/// A producer to a queue and a consumer of it.
struct Ends {
    queue: &'static str,
    producer: Producer,
    consumer: Consumer,
}

impl Ends {
    async fn new(cable: &mut Cable, queue: &'static str) -> Self {
        declare_empty(&cable.client, queue).await;
        let producer = cable.client.producer(queue).unwrap();
        let producer = cable.first_producer(producer).await;
        let consumer = cable.client.consumer(queue).unwrap().start();
        Self {
            queue,
            producer,
            consumer: within("the consumer", consumer).await.unwrap(),
        }
    }

    fn publish(&self, number: u64) -> Confirmation {
        self.producer.try_publish(numbered(number, 100)).unwrap()
    }

    async fn receive(&mut self) -> Delivery {
        within("a delivery", self.consumer.next()).await.unwrap()
    }

    /// Receives and acknowledges this message as the next, and no other after it.
    async fn assert_receives(&mut self, last: u64) {
        let delivery = self.receive().await;
        assert_eq!(number(&delivery), last);
        delivery.ack().unwrap();
        wait_until("the broker has every ack", || {
            admin().messages_in(self.queue) == 0
        });
    }

    /// Shows that messages pass.
    async fn assert_works(&mut self, next: u64) {
        within("the confirm", self.publish(next)).await.unwrap();
        self.assert_receives(next).await;
    }
}

/// What was told of one connection, in order.
fn told(events: &[Event], wanted: ConnectionRole) -> Vec<&'static str> {
    let name = |event: &Event| match event {
        Event::Disconnected { role, .. } if *role == wanted => Some("disconnected"),
        Event::Reconnecting { role, .. } if *role == wanted => Some("reconnecting"),
        Event::Connected { role } if *role == wanted => Some("connected"),
        Event::Recovered { role } if *role == wanted => Some("recovered"),
        _ => None,
    };
    events.iter().filter_map(name).collect()
}

async fn events_until_both_recovered(cable: &mut Cable) -> Vec<Event> {
    let mut events = Vec::new();
    let mut missing = 2;
    while missing > 0 {
        let event = next_event(&mut cable.events, "both recoveries", |_| true).await;
        missing -= usize::from(matches!(event, Event::Recovered { .. }));
        events.push(event);
    }
    events
}

// fault 31
#[test]
fn every_end_of_a_connection_is_told_once_whatever_its_kind() {
    run(async {
        let mut cable = Cable::lay().await;
        let mut ends = Ends::new(&mut cable, "reconnecting: told once").await;
        for (next, end) in [(1, End::Close), (2, End::Reset)] {
            cable.proxy.all().end(end);
            let events = events_until_both_recovered(&mut cable).await;
            for role in [ConnectionRole::Main, ConnectionRole::Publishing] {
                let expected = ["disconnected", "reconnecting", "connected", "recovered"];
                assert_eq!(told(&events, role), expected, "{end:?}, {role}");
            }
            ends.assert_works(next).await;
        }
    });
}

#[test]
fn while_connections_are_refused_there_is_another_attempt_and_messages_wait() {
    run(async {
        let mut cable = Cable::lay().await;
        let mut ends = Ends::new(&mut cable, "reconnecting: refused").await;
        cable.cut().await;
        let waiting = ends.publish(1);
        for wanted in 2..=4 {
            let is_next = |event: &Event| {
                matches!(event, Event::Reconnecting { role: ConnectionRole::Publishing, attempt, .. }
                    if *attempt == wanted)
            };
            next_event(&mut cable.events, "the next attempt", is_next).await;
        }
        cable.mend().await;
        within("the confirm", waiting).await.unwrap();
        ends.assert_receives(1).await;
        ends.assert_works(2).await;
    });
}

/// A client that knows after two seconds that its peer is silent.
async fn with_fast_heartbeats() -> Cable {
    let every_second = Duration::from_secs(1);
    Cable::lay_with(Proxy::start(&url()), |builder| {
        builder.heartbeat(every_second)
    })
    .await
}

// fault 29
#[test]
fn a_peer_that_falls_silent_is_given_up() {
    run(async {
        let mut cable = with_fast_heartbeats().await;
        let mut ends = Ends::new(&mut cable, "reconnecting: silence").await;
        let began = Instant::now();
        for link in 0..2 {
            cable.proxy.link(link).silence(To::Both);
        }
        let waiting = ends.publish(1);
        cable.both_recovered().await;
        assert!(
            began.elapsed() >= Duration::from_secs(1),
            "one missing heartbeat is nothing"
        );
        within("the confirm", waiting).await.unwrap();
        ends.assert_receives(1).await;
        ends.assert_works(2).await;
    });
}

// fault 29
#[test]
fn heartbeats_are_on_unless_told_otherwise() {
    run(async {
        let proxy = Proxy::start(&url());
        let tuned = Arc::new(Mutex::new(None));
        proxy.on_frame(To::Server, {
            let tuned = Arc::clone(&tuned);
            move |_, frame| {
                if frame.method() == Some(CONNECTION_TUNE_OK) {
                    let payload = frame.payload();
                    let interval = [payload[payload.len() - 2], payload[payload.len() - 1]];
                    *tuned.lock().unwrap() = Some(u16::from_be_bytes(interval));
                }
                Verdict::Pass
            }
        });
        let url = proxy.url();
        let client = within("the connection", Client::connect(&url))
            .await
            .unwrap();
        assert_eq!(*tuned.lock().unwrap(), Some(10));
        client.close().await;
    });
}

// fault 30
#[test]
fn a_slow_drip_of_bytes_is_a_sign_of_life() {
    run(async {
        let mut cable = with_fast_heartbeats().await;
        let mut ends = Ends::new(&mut cable, "reconnecting: drip").await;
        // A delivery of some 200 bytes takes longer than two heartbeats.
        cable
            .proxy
            .link(0)
            .drip(To::Client, 5, Duration::from_millis(100));
        ends.assert_works(1).await;
        let mut events = std::iter::from_fn(|| cable.events.try_next());
        let lost = events.find(|event| matches!(event, Event::Disconnected { .. }));
        assert!(lost.is_none(), "{lost:?}");
    });
}

// fault 18
#[test]
fn a_peer_that_takes_no_more_bytes_is_given_up_and_nothing_is_lost() {
    /// More than all the buffers on the way hold.
    const MESSAGES: u64 = 300;
    const SIZE: usize = 100_000;
    run(async {
        let patience = Duration::from_secs(1);
        let proxy = Proxy::start(&url());
        let mut cable = Cable::lay_with(proxy, |builder| builder.write_timeout(patience)).await;
        let mut ends = Ends::new(&mut cable, "reconnecting: full window").await;
        cable.proxy.link(1).stop_reading(To::Server);
        let waiting: Vec<_> = (0..MESSAGES)
            .map(|number| ends.producer.try_publish(numbered(number, SIZE)).unwrap())
            .collect();
        let is_stall = |event: &Event| {
            matches!(
                event,
                Event::Disconnected {
                    cause: ConnectionError {
                        reason: ConnectionErrorReason::WriteStalled,
                        ..
                    },
                    ..
                }
            )
        };
        next_event(&mut cable.events, "the stall", is_stall).await;
        for expected in 0..MESSAGES {
            let delivery = ends.receive().await;
            assert_eq!((number(&delivery), delivery.body().len()), (expected, SIZE));
            delivery.ack().unwrap();
        }
        for confirmation in waiting {
            within("the confirm", confirmation).await.unwrap();
        }
        ends.assert_works(MESSAGES).await;
    });
}

// fault 32
#[test]
fn a_second_death_at_any_step_of_a_recovery_only_begins_it_again() {
    /// What the broker says in a recovery: start, tune, open-ok; open-ok and declare-ok for the
    /// queue; open-ok and qos-ok or select-ok for the handle.
    const FRAMES: usize = 7;
    run(async {
        let proxy = Proxy::start(&url());
        // The first two connections live; after them, every second one lives a frame longer.
        let mut seen = HashMap::<usize, usize>::new();
        proxy.on_frame(To::Client, move |link, _| {
            let seen = seen.entry(link).or_default();
            *seen += 1;
            match link.checked_sub(2) {
                Some(death) if death < 2 * FRAMES && *seen > death / 2 => Verdict::End(End::Reset),
                _ => Verdict::Pass,
            }
        });
        let at_once = Reconnect::default()
            .initial_delay(Duration::from_millis(1))
            .max_delay(Duration::from_millis(10));
        let mut cable = Cable::lay_with(proxy, |builder| builder.reconnect(at_once)).await;
        let mut ends = Ends::new(&mut cable, "reconnecting: second death").await;
        cable.proxy.all().end(End::Reset);
        let waiting = ends.publish(1);
        within("the confirm", waiting).await.unwrap();
        within("the confirm", ends.publish(2)).await.unwrap();
        // What reached the broker before a death was sent again, and comes again.
        loop {
            let delivery = ends.receive().await;
            let number = number(&delivery);
            _ = delivery.ack();
            if number == 2 {
                break;
            }
        }
        let one_of_each = |stats: &Stats| stats.open() == 2 && stats.links.len() > 2 * FRAMES + 2;
        cable
            .proxy
            .wait_until("one connection of each kind is there", one_of_each);
    });
}

/// Where a client is on its way back when it is closed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Step {
    BackingOff,
    /// Before the first frame of the broker.
    Handshake,
    /// Before the first channel is open.
    Recovery,
}

/// How many connections have something that the proxy keeps from the client.
fn held_up(stats: &Stats) -> usize {
    let links = stats.links.iter();
    links.filter(|link| link.held(To::Client) > 0).count()
}

async fn close_on_the_way_back(step: Step) {
    let proxy = Proxy::start(&url());
    proxy.on_frame(To::Client, move |link, frame| {
        match (step, frame.method()) {
            (Step::Handshake, Some(CONNECTION_START)) if link >= 2 => Verdict::Hold,
            (Step::Recovery, Some(CHANNEL_OPEN_OK)) if link >= 2 => Verdict::Hold,
            _ => Verdict::Pass,
        }
    });
    let mut cable = Cable::lay_with(proxy, |builder| builder).await;
    let ends = Ends::new(&mut cable, "reconnecting: closed on the way").await;
    if step == Step::BackingOff {
        cable.cut().await;
    } else {
        cable.proxy.all().end(End::Reset);
        let both = |stats: &Stats| held_up(stats) == 2;
        cable.proxy.wait_until("both are on the way back", both);
    }
    let waiting = ends.publish(1);
    let began = Instant::now();
    let report = cable.client.close_within(Duration::from_millis(300)).await;
    let took = began.elapsed();
    assert!(took < Duration::from_secs(5), "{step:?}: {took:?}");
    assert_eq!(report.undelivered, [numbered(1, 100)], "{step:?}");
    assert!(within("its outcome", waiting).await.is_err(), "{step:?}");
    assert!(
        ends.producer.try_publish(numbered(2, 100)).is_err(),
        "{step:?}"
    );

    // What was held up is told now, and nobody is there to hear it.
    cable.proxy.all().resume(To::Client);
    cable.proxy.accept();
    let no_more_events = async { while cable.events.next().await.is_some() {} };
    within("the end of the events", no_more_events).await;
    cable
        .proxy
        .wait_until("no connection is left", |stats| stats.open() == 0);
}

// fault 33
#[test]
fn a_client_that_is_closed_on_the_way_back_stays_closed() {
    run(async {
        close_on_the_way_back(Step::BackingOff).await;
        close_on_the_way_back(Step::Handshake).await;
        close_on_the_way_back(Step::Recovery).await;
    });
}

// fault 34
#[test]
fn an_attempt_that_came_too_late_is_not_installed_beside_the_next() {
    run(async {
        let proxy = Proxy::start(&url());
        proxy.on_frame(To::Client, |link, frame| match frame.method() {
            Some(CONNECTION_OPEN_OK) if link == 2 || link == 3 => Verdict::Hold,
            _ => Verdict::Pass,
        });
        let patience = Duration::from_millis(500);
        let mut cable = Cable::lay_with(proxy, |builder| builder.handshake_timeout(patience)).await;
        let mut ends = Ends::new(&mut cable, "reconnecting: too late").await;
        cable.proxy.all().end(End::Reset);
        let both = |stats: &Stats| held_up(stats) == 2;
        cable.proxy.wait_until("both attempts are held up", both);
        cable.proxy.wait_for_links(6);
        cable.proxy.all().resume(To::Client);
        cable.both_recovered().await;
        ends.assert_works(1).await;
        let one_of_each = |stats: &Stats| stats.open() == 2 && stats.links.len() == 6;
        cable
            .proxy
            .wait_until("one connection of each kind is there", one_of_each);
    });
}

/// Connects so many clients, each with a seed of its own, whose drivers share a few threads.
async fn clients(count: u64, url: &str, reconnect: &Reconnect) -> Vec<(Client, Events)> {
    let mut clients = Vec::new();
    for seed in 0..count {
        let builder = Client::builder(url).unwrap().seed(seed);
        let (client, driver) = builder.reconnect(reconnect.clone()).build();
        smol::spawn(driver).detach();
        let events = client.events();
        clients.push((client, events));
    }
    for (client, _) in &clients {
        within("the connection", client.ready()).await.unwrap();
    }
    clients
}

// fault 36
#[test]
fn clients_that_lose_their_node_together_come_back_spread_out_and_never_give_up() {
    const CLIENTS: u64 = 50;
    const ATTEMPTS: u32 = 8;
    const SLOTS: usize = 5;
    let mut node = Node::start();
    run(async {
        let (initial_delay, max_delay) = (Duration::from_millis(100), Duration::from_secs(1));
        let reconnect = Reconnect::default()
            .initial_delay(initial_delay)
            .max_delay(max_delay);
        let mut clients = clients(CLIENTS, &node.url(), &reconnect).await;
        node.kill();
        // Where in its span each delay lies, by attempt: from half of 100 ms, doubled up to the
        // longest, to all of it.
        let mut histograms = HashMap::<u32, [u32; SLOTS]>::new();
        for (_, events) in &mut clients {
            for expected in 1..=ATTEMPTS {
                let is_next = |event: &Event| matches!(event, Event::Reconnecting { .. });
                let event = next_event(events, "the next attempt", is_next).await;
                let Event::Reconnecting { attempt, delay, .. } = event else {
                    unreachable!()
                };
                assert_eq!(attempt, expected);
                let longest = (initial_delay * 2u32.pow(attempt - 1)).min(max_delay);
                assert!(
                    (longest / 2..=longest).contains(&delay),
                    "{attempt}: {delay:?}"
                );
                let part = 2.0 * delay.as_secs_f64() / longest.as_secs_f64() - 1.0;
                let slot = (part * SLOTS as f64) as usize;
                histograms.entry(attempt).or_default()[slot.min(SLOTS - 1)] += 1;
            }
        }
        // Ten in each slot is the mean.
        for (attempt, histogram) in &histograms {
            let is_spread = histogram.iter().all(|slot| (1..=25).contains(slot));
            assert!(is_spread, "attempt {attempt}: {histogram:?}");
        }
        node.start_again();
        for (_, events) in &mut clients {
            recovered(events, ConnectionRole::Main).await;
        }
    });
}

const CONNECTION_START: (u16, u16) = (10, 10);
const CONNECTION_TUNE_OK: (u16, u16) = (10, 31);
const CONNECTION_OPEN_OK: (u16, u16) = (10, 41);
const CHANNEL_OPEN_OK: (u16, u16) = (20, 11);
