//! What the tests of a client on a real broker share: waiting with a deadline, numbered messages,
//! a client behind a
//! [cable](cable::Cable) to cut, and a [workload](workload::Workload) that keeps a ledger.

#![allow(
    dead_code,
    reason = "every test file takes in this module and uses its own part of it"
)]

pub(crate) mod cable;
#[path = "../executor/mod.rs"]
pub(crate) mod executor;
pub(crate) mod ledger;
pub(crate) mod workload;

use std::fs;
use std::future::Future;
use std::thread;
use std::time::{Duration, Instant};

use async_io::Timer;
use futures_lite::FutureExt as _;
use snowshoe::{
    Client, ClientBuilder, ConnectionRole, Delivery, Event, Events, Message, Queue, Reconnect,
};

use crate::broker::{Admin, url};

/// How long anything is waited for before the test fails. It is generous: it only matters where
/// something is wrong.
pub(crate) const PATIENCE: Duration = Duration::from_secs(120);

/// How often a condition is looked at that nobody reports.
const POLL: Duration = Duration::from_millis(5);

/// Runs an asynchronous test.
pub(crate) fn run<T>(test: impl Future<Output = T>) -> T {
    async_io::block_on(within("the end of the test", test))
}

/// Waits for a future; `what` names it should it never complete.
pub(crate) async fn within<T>(what: &str, future: impl Future<Output = T>) -> T {
    let in_vain = async {
        Timer::after(PATIENCE).await;
        panic!("waited in vain for {what}");
    };
    future.or(in_vain).await
}

/// Waits until a condition holds; `what` names it should it never do so.
pub(crate) fn wait_until(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !condition() {
        assert!(Instant::now() < deadline, "waited in vain until {what}");
        thread::sleep(POLL);
    }
}

/// [`wait_until`], for where this thread has other futures to run in the meantime.
pub(crate) async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let holds = async {
        while !condition() {
            Timer::after(POLL).await;
        }
    };
    within(what, holds).await;
}

/// A client that does not wait long between its attempts to come back.
pub(crate) fn builder(url: &str) -> ClientBuilder {
    let reconnect = Reconnect {
        initial_delay: Duration::from_millis(20),
        max_delay: Duration::from_millis(200),
        ..Reconnect::default()
    };
    Client::builder(url)
        .expect("the URI is right")
        .reconnect(reconnect)
}

/// [`builder`]'s client, connected.
pub(crate) async fn connect(url: &str) -> Client {
    within("the connection", executor::connect(builder(url)))
        .await
        .expect("the broker is there")
}

/// Declares a durable queue, and empties it should it be there from an earlier run.
pub(crate) async fn declare_empty(client: &Client, queue: &'static str) {
    client
        .delete_queue(queue)
        .await
        .expect("a queue that is not there is no error");
    client
        .declare(Queue::new(queue))
        .await
        .expect("nothing contradicts it");
}

/// Waits until the broker has so many messages in a queue that are ready.
pub(crate) async fn wait_until_queue_holds(queue: &'static str, messages: u32) {
    let client = connect(&url()).await;
    let full = async {
        loop {
            let declared = client.declare(Queue::new(queue).passive()).await;
            if declared.expect("the queue is there").message_count >= messages {
                break;
            }
        }
    };
    within("the messages in the queue", full).await;
}

/// How often the threads of this process, but for those of this name, have gone to sleep so far.
/// Whoever works in between makes system calls; whoever is idle ends each short run of them by this.
pub(crate) fn sleeps(but_for: Option<&str>) -> u64 {
    let threads = fs::read_dir("/proc/self/task").expect("this is Linux");
    let of_thread = |thread: fs::DirEntry| {
        // One that has ended since is none of the client's.
        let status = fs::read_to_string(thread.path().join("status")).unwrap_or_default();
        let figure = |key: &str| status.lines().find_map(|line| line.strip_prefix(key));
        if figure("Name:").map(str::trim) == but_for {
            return 0;
        }
        let count = figure("voluntary_ctxt_switches:").and_then(|count| count.trim().parse().ok());
        count.unwrap_or(0)
    };
    threads.flatten().map(of_thread).sum()
}

/// The next event that is wanted; those before it are skipped.
pub(crate) async fn next_event(
    events: &mut Events,
    what: &str,
    wanted: impl Fn(&Event) -> bool,
) -> Event {
    let next = async {
        loop {
            let event = events.next().await.expect("the client has not ended");
            if wanted(&event) {
                return event;
            }
        }
    };
    within(what, next).await
}

/// Waits until a connection is back, with everything on it.
pub(crate) async fn recovered(events: &mut Events, wanted: ConnectionRole) {
    let is_it = |event: &Event| matches!(event, Event::Recovered { role } if *role == wanted);
    next_event(events, &format!("the recovery of {wanted}"), is_it).await;
}

/// Waits until a connection is noticed to be gone.
pub(crate) async fn disconnected(events: &mut Events, wanted: ConnectionRole) {
    let is_it =
        |event: &Event| matches!(event, Event::Disconnected { role, .. } if *role == wanted);
    next_event(events, &format!("the loss of {wanted}"), is_it).await;
}

/// A message that carries its number, and is of this size.
pub(crate) fn numbered(number: u64, size: usize) -> Message {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(size.max(body.len()), b'.');
    body.into()
}

/// The number of a [`numbered`] message.
pub(crate) fn number(delivery: &Delivery) -> u64 {
    number_in(delivery.body())
}

/// The number in the body of a [`numbered`] message.
pub(crate) fn number_in(body: &[u8]) -> u64 {
    let (number, _) = body
        .split_first_chunk()
        .expect("numbered messages begin with their number");
    u64::from_be_bytes(*number)
}

/// The numbers of the messages in a queue, which is empty after that.
pub(crate) async fn take_numbers(queue: &str) -> Vec<u64> {
    let client = connect(&url()).await;
    let channel = client.channel().await.expect("channels are left");
    let mut numbers = Vec::new();
    while let Some(got) = (channel.get(queue, true).await).expect("the queue is there") {
        numbers.push(number_in(got.content.body()));
    }
    numbers
}

/// How many messages a queue holds, delivered and not acknowledged ones included.
pub(crate) fn messages_in(admin: &Admin, queue: &str) -> u64 {
    count_in(admin, queue, "messages")
}

/// How many messages of a queue are delivered and not acknowledged.
pub(crate) fn unacknowledged_in(admin: &Admin, queue: &str) -> u64 {
    count_in(admin, queue, "messages_unacknowledged")
}

fn count_in(admin: &Admin, queue: &str, what: &str) -> u64 {
    let lookup = format!(
        "{{ok, Q}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"/\">>, queue, <<{queue:?}>>))"
    );
    admin
        .eval(&format!(
            "{lookup}, [{{_, N}}] = rabbit_amqqueue:info(Q, [{what}]), N"
        ))
        .parse()
        .expect("a count is a number")
}

/// What the broker has logged about clients that broke the rules on a channel, such as acks of
/// delivery tags that it does not know.
pub(crate) fn channel_errors(admin: &Admin) -> Vec<String> {
    let logs = fs::read_dir(admin.dir().join("log")).expect("a node has logs");
    let read = |log: fs::DirEntry| {
        String::from_utf8_lossy(&fs::read(log.path()).expect("logs can be read")).into_owned()
    };
    let lines = |text: String| text.lines().map(str::to_owned).collect::<Vec<_>>();
    logs.map(|log| read(log.expect("a directory can be listed")))
        .flat_map(lines)
        .filter(|line| {
            line.contains("Channel error") || line.contains("caused a channel exception")
        })
        .collect()
}
