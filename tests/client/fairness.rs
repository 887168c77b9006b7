//! A client and its users share one thread, and none keeps it from the others.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use snowshoe::testing::{BrokerOptions, Clock, Executor, Server};
use snowshoe::{Client, Producer, Queue};

const MESSAGES: usize = 5000;

/// Runs a test on the thread of the client's driver, with a queue `orders`.
fn on_one_thread(test: impl AsyncFnOnce(Client, Server) -> usize + 'static) -> usize {
    let clock = Clock::new();
    let mut executor = Executor::new(clock.clone(), 1);
    let server = Server::in_virtual_time(BrokerOptions::default(), clock);
    let (client, driver) = server.client().build();
    executor.spawn(driver);
    let tested = executor.run(async move {
        client.ready().await.unwrap();
        client.declare(Queue::new("orders")).await.unwrap();
        test(client, server).await
    });
    tested.expect("it comes to its end")
}

#[test]
fn messages_reach_the_broker_before_the_last_of_many_is_published() {
    let most = on_one_thread(async |client, server| {
        let producer = client.producer("orders").unwrap().build();
        producer.send("so that its channel is open").await.unwrap();
        // How many were published and not there at any time.
        let mut most = 0;
        for published in 2..=MESSAGES {
            _ = producer.publish("herring").await.unwrap();
            most = most.max(published - server.queue("orders").unwrap().ready.len());
        }
        most
    });
    assert!(most < MESSAGES / 2, "{most}");
}

#[test]
fn what_is_settled_reaches_the_broker_before_all_that_is_at_hand_was_looked_at() {
    let most = on_one_thread(async |client, server| {
        let producer = client.producer("orders").unwrap().build();
        for _ in 0..MESSAGES {
            _ = producer.publish("herring").await.unwrap();
        }
        producer.flushed().await;
        let consumer = client.consumer("orders").unwrap();
        let mut consumer = consumer.prefetch(MESSAGES as u16).start().await.unwrap();
        server
            .until(|server| server.queue("orders").unwrap().unacked == MESSAGES)
            .await;
        // How many were settled and not told at any time.
        let mut most = 0;
        for settled in 0..MESSAGES {
            let delivery = consumer.next().await.unwrap();
            let unacked = server.queue("orders").unwrap().unacked;
            most = most.max(settled + unacked - MESSAGES);
            delivery.ack().unwrap();
        }
        most
    });
    assert!(most < MESSAGES / 2, "{most}");
}

/// A task of many that are polled by one, each when it was woken.
struct Task {
    future: Pin<Box<dyn Future<Output = ()>>>,
    alarm: Arc<Alarm>,
}

struct Alarm {
    rung: AtomicBool,
    wakes: Arc<AtomicUsize>,
    all: Waker,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.rung.store(true, Ordering::Relaxed);
        self.wakes.fetch_add(1, Ordering::Relaxed);
        self.all.wake_by_ref();
    }
}

/// Runs futures, each of which is polled only when it was woken; how often they were in all.
async fn run_all(futures: Vec<Pin<Box<dyn Future<Output = ()>>>>) -> usize {
    let wakes = Arc::new(AtomicUsize::new(0));
    let mut futures = Some(futures);
    let mut tasks: VecDeque<Task> = VecDeque::new();
    poll_fn(|cx| {
        for future in futures.take().into_iter().flatten() {
            let alarm = Arc::new(Alarm {
                rung: AtomicBool::new(true),
                wakes: Arc::clone(&wakes),
                all: cx.waker().clone(),
            });
            tasks.push_back(Task { future, alarm });
        }
        tasks.retain_mut(|Task { future, alarm }| {
            if !alarm.rung.swap(false, Ordering::Relaxed) {
                return true;
            }
            let waker = Waker::from(Arc::clone(alarm));
            let polled = future.as_mut().poll(&mut Context::from_waker(&waker));
            polled.is_pending()
        });
        if tasks.is_empty() {
            Poll::Ready(())
        } else {
            Poll::Pending
        }
    })
    .await;
    wakes.load(Ordering::Relaxed)
}

async fn publish(producer: Producer, count: usize) {
    for _ in 0..count {
        drop(producer.publish("herring").await.unwrap());
    }
}

// case B4
#[test]
fn many_publishes_that_wait_for_little_room_are_woken_few_times_for_each_message() {
    const TASKS: usize = 200;
    const EACH: usize = 20;
    let wakes = on_one_thread(async |client, _server| {
        let producer = client.producer("orders").unwrap().capacity(4).build();
        let tasks = (0..TASKS).map(|_| Box::pin(publish(producer.clone(), EACH)) as _);
        run_all(tasks.collect()).await
    });
    let messages = TASKS * EACH;
    eprintln!("{wakes} wakes for {messages} messages");
    assert!(
        wakes < 4 * messages,
        "{wakes} wakes for {messages} messages"
    );
}

// case B4
#[test]
fn a_publish_that_waits_gets_its_room_however_many_try_without_waiting() {
    let tries = on_one_thread(async |client, _server| {
        let producer = client.producer("orders").unwrap().capacity(1).build();
        drop(producer.try_publish("herring").unwrap());
        let done = Arc::new(AtomicBool::new(false));
        let patient: Pin<Box<dyn Future<Output = ()>>> = {
            let (producer, done) = (producer.clone(), Arc::clone(&done));
            Box::pin(async move {
                publish(producer, 20).await;
                done.store(true, Ordering::Relaxed);
            })
        };
        let greedy: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
            let mut tries = 0;
            while !done.load(Ordering::Relaxed) {
                for _ in 0..10 {
                    drop(producer.try_publish("cod"));
                }
                tries += 1;
                assert!(tries < 100_000, "the other never has its turn");
                futures_lite::future::yield_now().await;
            }
        });
        run_all(vec![patient, greedy]).await
    });
    assert!(tries > 0);
}
