//! Channels, calls and consumers go by numbers and names that are used again. None of them is, before
//! the broker has let go of it.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_lite::future;
use snowshoe::codec::method::{basic, queue};
use snowshoe::{Client, Error, Event, Queue};
use support::broker::url;
use support::cable::Cable;
use support::client::connect;
use support::messages::numbered;
use support::proxy::{Frame, Proxy, To, Verdict};
use support::queues::declare_empty;
use support::waiting::{eventually, run, within};

/// Connects through a proxy, with so few channels that their numbers are soon used again.
async fn with_few_channels(proxy: &Proxy) -> Client {
    connect(&format!("{}?channel_max=3", proxy.url())).await
}

/// A new channel, as soon as one is free.
async fn channel(client: &Client) -> snowshoe::Channel {
    let free = async {
        loop {
            match client.channel().await {
                Ok(channel) => return channel,
                Err(error) => assert!(matches!(error, Error::NoFreeChannel), "{error}"),
            }
        }
    };
    within("a free channel", free).await
}

/// What both sides have said of the channels of one connection.
#[derive(Debug, Default)]
struct Channels {
    /// Closed by the client, and the broker has not agreed yet.
    closing: HashSet<u16>,
    /// Closed by the broker, and not opened again since.
    refused: HashSet<u16>,
    opened: usize,
    /// Opened while they were being closed.
    too_early: usize,
    /// Closed by both at once.
    crossings: usize,
}

/// Keeps account of the channels of the connections to come. The broker's close-oks, or its closes,
/// are held up while `hold` says so.
fn observe(
    proxy: &Proxy,
    mut hold: impl FnMut(&Frame) -> bool + Send + 'static,
) -> Arc<Mutex<Channels>> {
    let channels = Arc::new(Mutex::new(Channels::default()));
    proxy.on_frame(To::Server, {
        let channels = Arc::clone(&channels);
        move |_, frame| {
            let (mut seen, id) = (channels.lock().unwrap(), frame.channel());
            match frame.method() {
                Some(CHANNEL_OPEN) => {
                    seen.opened += 1;
                    seen.too_early += usize::from(seen.closing.contains(&id));
                    seen.refused.remove(&id);
                }
                Some(CHANNEL_CLOSE) => _ = seen.closing.insert(id),
                _ => {}
            }
            Verdict::Pass
        }
    });
    proxy.on_frame(To::Client, {
        let channels = Arc::clone(&channels);
        move |_, frame| {
            let (mut seen, id) = (channels.lock().unwrap(), frame.channel());
            match frame.method() {
                Some(CHANNEL_CLOSE) => _ = seen.refused.insert(id),
                Some(CHANNEL_CLOSE_OK) => {
                    seen.closing.remove(&id);
                    seen.crossings += usize::from(seen.refused.contains(&id));
                }
                _ => {}
            }
            if hold(frame) {
                Verdict::Hold
            } else {
                Verdict::Pass
            }
        }
    });
    channels
}

// fault 39
#[test]
fn a_channels_number_is_used_again_only_once_the_broker_has_agreed_to_its_end() {
    const ROUNDS: usize = 50;
    run(async {
        let proxy = Proxy::start(&url());
        let channels = observe(&proxy, |_| false);
        let client = with_few_channels(&proxy).await;
        let mut events = client.events();
        for _ in 0..ROUNDS {
            // Dropping one closes it; the next is asked for at once.
            drop(channel(&client).await);
        }
        let last = channel(&client).await;
        // Its opening has passed the proxy when something behind it is answered.
        last.call(basic::Qos::default()).await.unwrap();
        assert!(last.closed().is_none());
        assert_eq!(proxy.stats().links.len(), 1, "the connection lived");
        let channels = channels.lock().unwrap();
        assert!(channels.opened > ROUNDS, "{channels:?}");
        assert_eq!(channels.too_early, 0, "{channels:?}");
        assert!(events.try_next().is_none());
    });
}

// fault 39
#[test]
fn while_the_broker_has_not_agreed_to_the_end_of_a_channel_its_number_is_taken() {
    run(async {
        let proxy = Proxy::start(&url());
        let mut held = false;
        let channels = observe(&proxy, move |frame| {
            frame.method() == Some(CHANNEL_CLOSE_OK) && !std::mem::replace(&mut held, true)
        });
        let client = with_few_channels(&proxy).await;
        let mut open = Vec::new();
        while let Ok(channel) = client.channel().await {
            open.push(channel);
        }
        open.pop();
        proxy.wait_until("the broker's answer is held up", |stats| {
            stats.links[0].held(To::Client) > 0
        });
        // One is about to be free, so it is waited for.
        let mut next = std::pin::pin!(client.channel());
        assert!(future::poll_once(&mut next).await.is_none());
        proxy.all().resume(To::Client);
        open.push(within("a channel", next).await.unwrap());
        assert_eq!(channels.lock().unwrap().too_early, 0);
        assert_eq!(proxy.stats().links.len(), 1, "the connection lived");
    });
}

// fault 40
#[test]
fn a_channel_that_both_sides_close_at_once_ends_without_harm() {
    const ROUNDS: usize = 10;
    run(async {
        let proxy = Proxy::start(&url());
        let channels = observe(&proxy, |frame| frame.method() == Some(CHANNEL_CLOSE));
        let client = with_few_channels(&proxy).await;
        let mut events = client.events();
        for _ in 0..ROUNDS {
            let doomed = channel(&client).await;
            let published = doomed.publish("identifier reuse: no such exchange", "", "lost");
            published.await.unwrap();
            proxy.wait_until("the broker's close is held up", |stats| {
                stats.links[0].held(To::Client) > 0
            });
            drop(doomed);
            let is_closing = || !channels.lock().unwrap().closing.is_empty();
            eventually("the client has closed it, too", is_closing).await;
            proxy.all().resume(To::Client);
            eventually("the broker has agreed", || !is_closing()).await;
        }
        // The last answers came before this one's.
        let last = channel(&client).await;
        // Its opening has passed the proxy when something behind it is answered.
        last.call(basic::Qos::default()).await.unwrap();
        assert!(last.closed().is_none());
        assert_eq!(proxy.stats().links.len(), 1, "the connection lived");
        let channels = channels.lock().unwrap();
        assert_eq!(channels.crossings, ROUNDS, "{channels:?}");
        assert_eq!(channels.too_early, 0, "{channels:?}");
        assert!(events.try_next().is_none());
    });
}

/// A client whose first call for the declaration of a queue is answered too late, if at all.
async fn with_a_late_answer(queues: [&'static str; 2]) -> Cable {
    let proxy = Proxy::start(&url());
    let mut held = false;
    proxy.on_frame(To::Client, move |_, frame| {
        if frame.method() == Some(QUEUE_DECLARE_OK) && !std::mem::replace(&mut held, true) {
            return Verdict::Hold;
        }
        Verdict::Pass
    });
    let patience = Duration::from_secs(1);
    let cable = Cable::lay_with(proxy, |builder| builder.call_timeout(patience)).await;
    let others = connect(&url()).await;
    for queue in queues {
        declare_empty(&others, queue).await;
    }
    cable
}

// fault 41
#[test]
fn an_answer_that_comes_too_late_is_not_taken_for_that_of_the_next_call() {
    const QUEUES: [&str; 2] = ["identifier reuse: answered late", "identifier reuse: next"];
    run(async {
        let cable = with_a_late_answer(QUEUES).await;
        let ask = |queue| cable.client.declare(Queue::new(queue).passive());
        let late = ask(QUEUES[0]).await;
        assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
        let resume = async { cable.proxy.all().resume(To::Client) };
        let (next, ()) = future::zip(ask(QUEUES[1]), resume).await;
        assert_eq!(next.unwrap().name, *QUEUES[1]);
        assert_eq!(ask(QUEUES[0]).await.unwrap().name, *QUEUES[0]);
        assert_eq!(cable.proxy.stats().links.len(), 1, "the connection lived");
    });
}

// fault 41
#[test]
fn a_channel_ends_with_the_first_call_that_is_not_answered_in_time() {
    const QUEUES: [&str; 2] = [
        "identifier reuse: not answered",
        "identifier reuse: asked too late",
    ];
    run(async {
        let cable = with_a_late_answer(QUEUES).await;
        let channel = cable.client.channel().await.unwrap();
        let ask = |name: &'static str| {
            channel.call(queue::Declare {
                queue: name.try_into().unwrap(),
                passive: true,
                ..Default::default()
            })
        };
        let late = ask(QUEUES[0]).await;
        assert!(matches!(late, Err(Error::Timeout(_))), "{late:?}");
        cable.proxy.all().resume(To::Client);
        let next = ask(QUEUES[1]).await;
        assert!(next.is_err(), "{next:?}");
        assert!(channel.closed().is_some());
    });
}

// fault 42
#[test]
fn no_consumer_tag_is_ever_used_twice() {
    const QUEUE: &str = "identifier reuse: tags";
    const CONSUMERS: usize = 20;
    run(async {
        let proxy = Proxy::start(&url());
        let tags = observe_tags(&proxy);
        let clients = [connect(&proxy.url()).await, connect(&proxy.url()).await];
        declare_empty(&clients[0], QUEUE).await;
        for _ in 0..CONSUMERS {
            for client in &clients {
                let consumer = client.consumer(QUEUE).unwrap().start();
                within("the consumer", consumer).await.unwrap();
            }
        }
        assert_eq!(proxy.stats().links.len(), 2, "the connections lived");
        let tags = tags.lock().unwrap();
        assert_eq!(tags.len(), CONSUMERS * clients.len());
        assert!(tags.values().all(|uses| *uses == 1), "{tags:?}");
    });
}

// fault 42
#[test]
fn a_tag_of_the_users_own_can_be_used_again_and_even_twice_at_once() {
    const QUEUE: &str = "identifier reuse: own tag";
    run(async {
        let proxy = Proxy::start(&url());
        let tags = observe_tags(&proxy);
        let mut cable = Cable::lay_with(proxy, |builder| builder).await;
        let client = &cable.client;
        declare_empty(client, QUEUE).await;
        let start = || client.consumer(QUEUE).unwrap().tag("mine").unwrap().start();
        for _ in 0..10 {
            let consumer = within("the consumer", start()).await.unwrap();
            within("the cancel", consumer.cancel()).await;
        }
        let mut consumers = Vec::new();
        for _ in 0..3 {
            consumers.push(within("the consumer", start()).await.unwrap());
        }
        let producer = client.producer(QUEUE).unwrap().build();
        for (number, consumer) in (0..).zip(&mut consumers) {
            // The broker serves them in turn.
            producer.send(numbered(number, 100)).await.unwrap();
            let delivery = within("a delivery", consumer.next()).await.unwrap();
            delivery.ack().unwrap();
        }
        assert_eq!(tags.lock().unwrap()["mine"], 13);
        let mut events = std::iter::from_fn(|| cable.events.try_next());
        let lost = events.find(|event| matches!(event, Event::Disconnected { .. }));
        assert!(lost.is_none(), "{lost:?}");
    });
}

/// Counts how often each consumer tag is used.
fn observe_tags(proxy: &Proxy) -> Arc<Mutex<HashMap<String, usize>>> {
    let tags = Arc::new(Mutex::new(HashMap::new()));
    proxy.on_frame(To::Server, {
        let tags = Arc::clone(&tags);
        move |_, frame| {
            if frame.method() == Some(BASIC_CONSUME) {
                // After the method's number and a ticket: queue and tag, each after its length.
                let names = &frame.payload()[6..];
                let (queue, names) = names.split_at(1 + usize::from(names[0]));
                assert!(!queue.is_empty());
                let tag = String::from_utf8_lossy(&names[1..1 + usize::from(names[0])]);
                *tags.lock().unwrap().entry(tag.into_owned()).or_default() += 1;
            }
            Verdict::Pass
        }
    });
    tags
}

const CHANNEL_OPEN: (u16, u16) = (20, 10);
const CHANNEL_CLOSE: (u16, u16) = (20, 40);
const CHANNEL_CLOSE_OK: (u16, u16) = (20, 41);
const QUEUE_DECLARE_OK: (u16, u16) = (50, 11);
const BASIC_CONSUME: (u16, u16) = (60, 20);
