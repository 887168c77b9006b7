//! A consumer that is stopped while it works: what runs comes to its end, and nothing else begins.

use std::cell::RefCell;
use std::future::pending;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use async_channel::{Receiver, Sender};
use futures_lite::future::zip;
use snowshoe::{
    Client, Consumer, ConsumerEnd, Delivery, Disposition, Event, Handled, Queue, ShortString,
};
use support::broker::url;
use support::cable::Cable;
use support::client::connect;
use support::events::next_event;
use support::messages::text;
use support::proxy::End;
use support::queues::{
    declare, fresh_queue, publish, take_bodies, unique, until_ready, with_queue,
};
use support::waiting::{eventually, run, within};

const MESSAGES: u32 = 20;

/// How many handlers run at a time.
const HANDLERS: usize = 4;

/// A time that is over soon.
const SHORT: Duration = Duration::from_millis(100);

/// More time than any test takes.
const EVER: Duration = Duration::from_secs(300);

/// Handlers that tell that they have begun, and end when they are let.
struct Gate {
    begun: (Sender<String>, Receiver<String>),
    open: (Sender<()>, Receiver<()>),
}

impl Gate {
    fn new() -> Self {
        Self {
            begun: async_channel::unbounded(),
            open: async_channel::bounded(1),
        }
    }

    async fn pass(&self, delivery: &Delivery) {
        self.begun.0.try_send(text(delivery.body())).unwrap();
        // Closed, once they may pass.
        _ = self.open.1.recv().await;
    }

    /// Waits until as many have begun as may run.
    async fn all_begun(&self) -> Vec<String> {
        let mut begun = Vec::new();
        while begun.len() < HANDLERS {
            begun.push(within("a handler", self.begun.1.recv()).await.unwrap());
        }
        begun
    }

    fn open(&self) {
        self.open.0.close();
    }
}

async fn with_messages() -> (Client, ShortString, Consumer) {
    let (client, queue) = with_queue().await;
    let producer = client.producer(queue.clone()).unwrap().build();
    for number in 0..MESSAGES {
        let sent = producer.send(number.to_string());
        within("the confirm", sent).await.unwrap();
    }
    let consumer = client.consumer(queue.clone()).unwrap().start();
    let consumer = within("the consumer", consumer).await.unwrap();
    (client, queue, consumer)
}

fn handled(handled: Handled) -> (u64, u64, u64) {
    let Handled {
        finished,
        panicked,
        cut_off,
        ..
    } = handled;
    (finished, panicked, cut_off)
}

/// What is in a queue once its consumer has let it go: all but these.
async fn are_left_but(client: &Client, queue: &ShortString, done: &[String]) {
    let left = MESSAGES - u32::try_from(done.len()).unwrap();
    until_ready(client, queue, left).await;
    let left = take_bodies(client, queue).await;
    let all = (0..MESSAGES).map(|it| it.to_string());
    let expected: Vec<String> = all.filter(|it| !done.contains(it)).collect();
    assert_eq!(left, expected);
}

#[test]
fn handlers_of_a_consumer_that_is_stopped_end_and_nothing_else_begins() {
    run(async {
        for time in [None, Some(EVER)] {
            let (client, queue, mut consumer) = with_messages().await;
            let (gate, stop) = (Gate::new(), consumer.stop_handle());
            let working = consumer.process(HANDLERS, async |it: Delivery| gate.pass(&it).await);
            let stopping = async {
                let begun = gate.all_begun().await;
                match time {
                    None => stop.stop(),
                    Some(time) => stop.stop_within(time),
                }
                // The others go back while these still run.
                let left = MESSAGES - u32::try_from(HANDLERS).unwrap();
                until_ready(&client, &queue, left).await;
                gate.open();
                begun
            };
            let (how, begun) = within("the end", zip(working, stopping)).await;
            assert_eq!(handled(how), (4, 0, 0));
            assert!(stop.is_stopped());
            drop(consumer);
            are_left_but(&client, &queue, &begun).await;
        }
    });
}

#[test]
fn a_client_that_is_closed_lets_handlers_end_and_tells_the_broker() {
    run(async {
        let (client, queue, mut consumer) = with_messages().await;
        let gate = Gate::new();
        // It lets go of its message before it is through with it.
        let working = consumer.process(HANDLERS, async |it: Delivery| {
            gate.pass(&{ it }).await;
        });
        let closing = async {
            let begun = gate.all_begun().await;
            let opening = async {
                until_ready(&connect(&url()).await, &queue, 16).await;
                gate.open();
            };
            zip(client.close_within(EVER), opening).await;
            begun
        };
        let (how, begun) = within("the end", zip(working, closing)).await;
        assert_eq!(handled(how), (4, 0, 0));
        let other = connect(&url()).await;
        are_left_but(&other, &queue, &begun).await;
    });
}

#[test]
fn handlers_that_are_not_through_in_time_are_cut_off_and_their_messages_go_back() {
    run(async {
        for closes in [false, true] {
            let (client, queue, mut consumer) = with_messages().await;
            let (gate, stop) = (Gate::new(), consumer.stop_handle());
            let working = consumer.process(HANDLERS, async |it: Delivery| {
                gate.pass(&it).await;
                pending::<()>().await;
            });
            let stopping = async {
                gate.all_begun().await;
                if closes {
                    client.close_within(SHORT).await;
                } else {
                    stop.stop_within(SHORT);
                }
            };
            let (how, ()) = within("the end", zip(working, stopping)).await;
            assert_eq!(handled(how), (0, 0, 4));
            let other = connect(&url()).await;
            are_left_but(&other, &queue, &[]).await;
        }
    });
}

#[test]
fn a_handler_that_panics_has_failed_and_the_others_go_on() {
    run(async {
        let (client, queue, mut consumer) = with_messages().await;
        let mut events = client.events();
        let stop = consumer.stop_handle();
        let seen = RefCell::new(Vec::new());
        let handler = |delivery: Delivery| {
            let body = text(delivery.body());
            // Before there is a future, or in it.
            assert!(body != "3" || delivery.is_redelivered(), "not yet");
            let (seen, stop) = (&seen, &stop);
            async move {
                assert!(body != "7" || delivery.is_redelivered(), "{body}: not yet");
                seen.borrow_mut().push(body);
                if seen.borrow().len() == MESSAGES as usize {
                    stop.stop();
                }
            }
        };
        let how = within("the end", consumer.process(HANDLERS, handler)).await;
        assert_eq!(handled(how), (20, 2, 0));
        for said in ["not yet", "7: not yet"] {
            let is_it = |event: &Event| match event {
                Event::HandlerPanicked { message, .. } => message == said,
                _ => false,
            };
            next_event(&mut events, said, is_it).await;
        }
        let mut seen: Vec<u32> = seen.take().iter().map(|it| it.parse().unwrap()).collect();
        seen.sort_unstable();
        assert_eq!(seen, Vec::from_iter(0..MESSAGES));
        drop(consumer);
        until_ready(&client, &queue, 0).await;
    });
}

/// Runs a task on a thread of its own.
fn spawn(task: Pin<Box<dyn Future<Output = ()> + Send>>) {
    std::thread::spawn(|| async_io::block_on(task));
}

#[test]
fn handlers_in_tasks_of_their_own_can_hold_up_their_threads() {
    run(async {
        let (client, queue, mut consumer) = with_messages().await;
        // In one task the first would wait for ever.
        let meeting = Arc::new(Barrier::new(HANDLERS));
        let (stop, finished) = (consumer.stop_handle(), Arc::new(AtomicU32::new(0)));
        let handler = |delivery: Delivery| {
            let (meeting, finished, stop) =
                (Arc::clone(&meeting), Arc::clone(&finished), stop.clone());
            async move {
                meeting.wait();
                if finished.fetch_add(1, Ordering::Relaxed) + 1 == MESSAGES {
                    stop.stop();
                }
                // It lives as long as the handler.
                drop(delivery);
            }
        };
        let handling = consumer.process_spawned(HANDLERS, spawn, handler);
        let how = within("the end", handling).await;
        assert_eq!(handled(how), (20, 0, 0));
        drop(consumer);
        until_ready(&client, &queue, 0).await;
    });
}

#[test]
fn a_handler_in_a_task_of_its_own_that_panics_or_is_cut_off_settles_its_message() {
    run(async {
        let (client, queue, mut consumer) = with_messages().await;
        let (begun, begins) = async_channel::unbounded();
        let dropped = Arc::new(AtomicU32::new(0));
        struct Counted(Arc<AtomicU32>);
        impl Drop for Counted {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::Relaxed);
            }
        }
        let handler = |delivery: Delivery| {
            let (begun, counted) = (begun.clone(), Counted(Arc::clone(&dropped)));
            async move {
                let _counted = counted;
                begun.send(()).await.unwrap();
                assert!(
                    delivery.body() != b"0" || delivery.is_redelivered(),
                    "not yet"
                );
                pending::<()>().await;
            }
        };
        let stop = consumer.stop_handle();
        let stopping = async {
            // One panics, and another has its place.
            for _ in 0..=HANDLERS {
                within("a handler", begins.recv()).await.unwrap();
            }
            stop.stop_within(SHORT);
        };
        let handling = consumer.process_spawned(HANDLERS, spawn, handler);
        let (how, ()) = within("the end", zip(handling, stopping)).await;
        assert_eq!(handled(how), (0, 1, 4));
        drop(consumer);
        are_left_but(&client, &queue, &[]).await;
        eventually("all are dropped", || dropped.load(Ordering::Relaxed) == 5).await;
    });
}

#[test]
fn a_prefetch_that_lets_too_few_handlers_run_is_raised() {
    run(async {
        let (client, _, consumer) = with_messages().await;
        let queue = consumer.queue();
        consumer.cancel().await;
        let builder = client.consumer(queue).unwrap().prefetch(1);
        let mut consumer = within("the consumer", builder.concurrency(HANDLERS).start())
            .await
            .unwrap();
        let (gate, stop) = (Gate::new(), consumer.stop_handle());
        let working = consumer.process(HANDLERS, async |it: Delivery| gate.pass(&it).await);
        let stopping = async {
            gate.all_begun().await;
            stop.stop();
            gate.open();
        };
        let (how, ()) = within("the end", zip(working, stopping)).await;
        assert_eq!(handled(how), (4, 0, 0));
    });
}

#[test]
fn a_loop_ends_when_its_consumer_is_stopped_and_settles_what_it_has() {
    run(async {
        let (client, queue, mut consumer) = with_messages().await;
        let stop = consumer.stop_handle();
        let first = within("a delivery", consumer.next()).await.unwrap();
        stop.stop();
        assert!(within("the end", consumer.next()).await.is_none());
        assert!(consumer.try_next().is_none());
        until_ready(&client, &queue, MESSAGES - 1).await;
        let body = text(first.body());
        first.ack().unwrap();
        are_left_but(&client, &queue, &[body]).await;
    });
}

#[test]
fn a_loop_that_waits_is_told_that_its_consumer_is_stopped() {
    run(async {
        let (client, queue) = with_queue().await;
        let consumer = client.consumer(queue).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        let stop = consumer.stop_handle();
        let waiting = std::thread::spawn(move || async_io::block_on(consumer.next()).is_none());
        stop.stop_within(SHORT);
        assert!(waiting.join().unwrap());
    });
}

#[test]
fn what_was_received_without_acknowledgements_is_handed_out_after_a_stop() {
    run(async {
        let (client, queue) = with_queue().await;
        publish(&client, &queue, &["1", "2", "3"]).await;
        let consumer = client.consumer(queue.clone()).unwrap().no_ack().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        let first = within("a delivery", consumer.next()).await.unwrap();
        assert_eq!(text(first.body()), "1");
        until_ready(&client, &queue, 0).await;
        consumer.stop_handle().stop();
        let mut bodies = Vec::new();
        while let Some(delivery) = within("the next", consumer.next()).await {
            bodies.push(text(delivery.body()));
        }
        assert_eq!(bodies, ["2", "3"]);
        assert!(matches!(consumer.end(), Some(ConsumerEnd::Cancelled)));
    });
}

/// A stop that leaves time leaves it to handlers that have not begun, too.
#[test]
fn what_was_received_without_acknowledgements_has_the_time_that_a_stop_leaves() {
    run(async {
        let (client, queue) = with_queue().await;
        publish(&client, &queue, &["1", "2", "3"]).await;
        let consumer = client.consumer(queue.clone()).unwrap().no_ack().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        until_ready(&client, &queue, 0).await;
        consumer.stop_handle().stop_within(EVER);
        // The driver knows of the stop when it answers.
        until_ready(&client, &queue, 0).await;
        let how = consumer.process(HANDLERS, async |_: Delivery| {});
        let how = within("the end", how).await;
        assert_eq!(handled(how), (3, 0, 0));
    });
}

#[test]
fn handlers_publish_and_declare_while_their_client_is_being_closed() {
    run(async {
        let (client, queue, mut consumer) = with_messages().await;
        let results = unique("results");
        let declared = || Queue::new(&*results).expires(EVER);
        let gate = Gate::new();
        let working = consumer.process(HANDLERS, async |it: Delivery| {
            gate.pass(&it).await;
            // A producer and a call that the client had not seen before it was to close.
            client.declare(declared()).await?;
            let producer = client.producer(&*results)?.build();
            producer.send("a result").await.unwrap();
            Ok::<_, snowshoe::Error>(())
        });
        let closing = async {
            let begun = gate.all_begun().await;
            let opening = async {
                // The close has begun: what was only prefetched is back.
                until_ready(&connect(&url()).await, &queue, 16).await;
                gate.open();
            };
            let (report, ()) = zip(client.close_within(EVER), opening).await;
            assert_eq!(report.undelivered.len(), 0);
            begun
        };
        let (how, begun) = within("the end", zip(working, closing)).await;
        assert_eq!(handled(how), (4, 0, 0));
        assert!(matches!(consumer.end(), Some(ConsumerEnd::ClientClosed)));
        let other = connect(&url()).await;
        let results = declare(&other, declared()).await;
        assert_eq!(take_bodies(&other, &results).await.len(), 4);
        are_left_but(&other, &queue, &begun).await;
    });
}

#[test]
fn a_consumer_that_was_stopped_has_ended_when_it_says_so() {
    run(async {
        let (_client, _, mut consumer) = with_messages().await;
        assert!(consumer.end().is_none());
        consumer.stop_handle().stop();
        assert!(within("the end", consumer.next()).await.is_none());
        assert!(matches!(consumer.end(), Some(ConsumerEnd::Cancelled)));
    });
}

#[test]
fn a_stop_of_a_client_that_has_ended_waits_for_nothing() {
    run(async {
        let (client, _, mut consumer) = with_messages().await;
        let stop = consumer.stop_handle();
        client.close().await;
        stop.stop_within(EVER);
        let handler = async |_: Delivery| Disposition::Ack;
        let how = within("the end", consumer.process(HANDLERS, handler)).await;
        assert_eq!(handled(how), (0, 0, 0));
    });
}

#[test]
fn handlers_of_a_consumer_that_was_stopped_without_a_connection_are_cut_off_by_a_close() {
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        let queue = fresh_queue(&client).await;
        let consumer = client.consumer(queue.clone()).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        publish(&connect(&url()).await, &queue, &["1", "2", "3", "4"]).await;
        let (gate, stop) = (Gate::new(), consumer.stop_handle());
        let working = consumer.process(HANDLERS, async |it: Delivery| {
            gate.pass(&it).await;
        });
        let stopping = async {
            gate.all_begun().await;
            cable.proxy.refuse();
            cable.proxy.all().end(End::Reset);
            let is_it = |event: &Event| matches!(event, Event::Disconnected { .. });
            next_event(&mut cable.events, "the cut", is_it).await;
            stop.stop();
            client.close_within(SHORT).await;
        };
        let (how, ()) = within("the end", zip(working, stopping)).await;
        assert_eq!(handled(how), (0, 0, 4));
    });
}
