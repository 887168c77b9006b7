//! Messages that fail: how often they are tried again, and where they go after the last attempt.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use futures_lite::future::{or, zip};
use snowshoe::{
    Binding, Client, ConnectionRole, Consumer, ConsumerBuilder, Delivery, Event, Exchange,
    FieldArray, FieldValue, Message, Outcome, Properties, Queue, Retry, SettleError, Settled,
    ShortString, StreamOffset,
};
use support::broker::{url, version};
use support::cable::Cable;
use support::client::connect;
use support::events::{next_event, recovered};
use support::messages::text;
use support::proxy::End;
use support::queues::{
    declare, fresh_queue, new_queue, publish, take_bodies, unique, until_ready, with_queue,
};
use support::waiting::{eventually, run, within};

/// A delay that is over soon.
const SHORT: Duration = Duration::from_millis(50);

fn soon(attempts: u32) -> Retry {
    Retry::attempts(attempts).delay(SHORT, SHORT)
}

async fn start(builder: ConsumerBuilder) -> Consumer {
    within("the consumer", builder.start()).await.unwrap()
}

async fn consumer(client: &Client, queue: &ShortString, retry: Retry) -> Consumer {
    start(client.consumer(queue.clone()).unwrap().retry(retry)).await
}

fn named(queue: &ShortString, ending: &str) -> String {
    format!("{}.{ending}", queue.as_str().unwrap())
}

/// The only message of a queue, once it is there.
async fn only(client: &Client, queue: &str) -> Delivery {
    let queue = ShortString::try_from(queue.to_owned()).unwrap();
    until_ready(client, &queue, 1).await;
    let mut consumer = start(client.consumer(queue).unwrap()).await;
    within("the message", consumer.next()).await.unwrap()
}

fn header<'a>(delivery: &'a Delivery, name: &str) -> Option<FieldValue<'a>> {
    delivery.properties().unwrap().headers?.get(name).unwrap()
}

fn text_in(delivery: &Delivery, header_name: &str) -> Option<String> {
    Some(header(delivery, header_name)?.as_str()?.to_owned())
}

fn number_in(delivery: &Delivery, header_name: &str) -> Option<i64> {
    header(delivery, header_name)?.as_i64()
}

/// Whether this broker lets messages of quorum queues wait by itself.
fn waits_by_itself() -> bool {
    *version() >= (4, 3)
}

#[test]
fn a_message_that_always_fails_has_its_attempts_and_is_dead_lettered_with_the_reason() {
    run(async {
        for is_quorum in [false, true] {
            let client = connect(&url()).await;
            let retry = soon(3);
            let queue = match is_quorum {
                false => fresh_queue(&client).await,
                true => declare(&client, Queue::quorum(unique("failing")).retry(&retry)).await,
            };
            let mut consumer = consumer(&client, &queue, retry).await;
            publish(&client, &queue, &["good", "poison", "better"]).await;
            let attempts = RefCell::new(Vec::new());
            let handler = |delivery: Delivery| {
                let body = text(delivery.body());
                attempts
                    .borrow_mut()
                    .push((body.clone(), delivery.attempt()));
                async move {
                    match &*body {
                        "poison" => Err("it is poison"),
                        _ => Ok(()),
                    }
                }
            };
            let handling = consumer.process(2, handler);
            let dead = async { only(&client, &named(&queue, "dead")).await };
            let dead = within(
                "the end",
                or(async { Err(handling.await) }, async { Ok(dead.await) }),
            );
            let dead = dead.await.unwrap();
            assert_eq!(text(dead.body()), "poison");
            assert_eq!(text_in(&dead, "snowshoe-reason").unwrap(), "it is poison");
            assert_eq!(number_in(&dead, "snowshoe-attempts"), Some(3));
            assert_eq!(text_in(&dead, "snowshoe-queue").as_deref(), queue.as_str());
            assert_eq!(
                text_in(&dead, "snowshoe-routing-key").as_deref(),
                queue.as_str()
            );
            assert_eq!(text_in(&dead, "snowshoe-exchange").as_deref(), Some(""));
            dead.ack().unwrap();
            let mut attempts = attempts.take();
            attempts.sort();
            let expected = [
                ("better", 1),
                ("good", 1),
                ("poison", 1),
                ("poison", 2),
                ("poison", 3),
            ];
            assert_eq!(
                attempts,
                expected.map(|(body, attempt)| (body.to_owned(), attempt))
            );
            // Copies wait in queues of their own only where the broker cannot do it.
            let exchange = Exchange::headers(named(&queue, "retry")).passive();
            let found = within("the answer", client.declare(exchange)).await;
            assert_eq!(
                found.is_ok(),
                !(is_quorum && waits_by_itself()),
                "{found:?}"
            );
            drop(consumer);
            until_ready(&client, &queue, 0).await;
            client.close().await;
        }
    });
}

#[test]
fn a_message_that_fails_twice_is_done_the_third_time_and_is_what_it_was() {
    run(async {
        let client = connect(&url()).await;
        let exchange = unique("topics");
        within(
            "the exchange",
            client.declare(Exchange::topic(&exchange).auto_delete()),
        )
        .await
        .unwrap();
        let [queue, elsewhere] = [fresh_queue(&client).await, fresh_queue(&client).await];
        let bound = Binding::queue(queue.clone())
            .to_exchange(&exchange)
            .routing_key("orders.*");
        within("the binding", client.declare(bound)).await.unwrap();
        let mut consumer = consumer(&client, &queue, soon(5)).await;
        let properties = Properties::builder()
            .header("mine", 7)
            .header("CC", &FieldArray::new().with(elsewhere.clone()).unwrap())
            .correlation_id("17")
            .content_type("text/plain")
            .expiration("60000")
            .user_id("guest")
            .persistent()
            .build()
            .unwrap();
        let producer = client.exchange_producer(&exchange, "orders.new").unwrap();
        let producer = producer.properties(properties).build();
        within("the confirm", producer.send("order")).await.unwrap();
        let stop = consumer.stop_handle();
        let mut seen = Vec::new();
        let handler = |delivery: Delivery| {
            let properties = delivery.properties().unwrap();
            seen.push((
                text(delivery.routing_key().as_bytes()),
                number_in(&delivery, "mine"),
                properties.correlation_id.map(|it| text(it.as_bytes())),
                properties.content_type.map(|it| text(it.as_bytes())),
                properties.delivery_mode,
                text(delivery.body()),
            ));
            let is_done = seen.len() == 3;
            if is_done {
                assert_eq!(properties.user_id, None);
                assert_eq!(text_in(&delivery, "snowshoe-user-id").unwrap(), "guest");
                assert_eq!(text_in(&delivery, "snowshoe-exchange").unwrap(), exchange);
                stop.stop();
            }
            std::future::ready(if is_done { Ok(()) } else { Err("not yet") })
        };
        let handled = within("the end", consumer.process(1, handler)).await;
        assert_eq!(handled.finished, 3);
        let expected = (
            "orders.new".to_owned(),
            Some(7),
            Some("17".to_owned()),
            Some("text/plain".to_owned()),
            Some(2),
            "order".to_owned(),
        );
        assert_eq!(seen, vec![expected; 3]);
        drop(consumer);
        until_ready(&client, &queue, 0).await;
        client.close().await;
    });
}

#[test]
fn a_wait_that_a_handler_asks_for_is_not_too_short() {
    run(async {
        for is_quorum in [false, true] {
            let client = connect(&url()).await;
            let retry =
                Retry::attempts(3).delay(Duration::from_millis(200), Duration::from_millis(400));
            let queue = match is_quorum {
                false => fresh_queue(&client).await,
                true => declare(&client, Queue::quorum(unique("waiting")).retry(&retry)).await,
            };
            let mut consumer = consumer(&client, &queue, retry).await;
            publish(&client, &queue, &["busy"]).await;
            let (stop, mut seen) = (consumer.stop_handle(), Vec::new());
            let handler = |delivery: Delivery| {
                seen.push((Instant::now(), delivery.attempt()));
                let is_done = seen.len() == 2;
                if is_done {
                    stop.stop();
                }
                std::future::ready(match is_done {
                    true => Outcome::done(),
                    false => Outcome::retry_after(Duration::from_millis(900)),
                })
            };
            within("the end", consumer.process(1, handler)).await;
            let [(first, 1), (second, 2)] = seen[..] else {
                panic!("{seen:?}");
            };
            assert!(second - first >= Duration::from_millis(900), "{seen:?}");
            client.close().await;
        }
    });
}

#[test]
fn what_a_handler_says_is_done() {
    run(async {
        let client = connect(&url()).await;
        let dead_letters = fresh_queue(&client).await;
        let queue = new_queue()
            .dead_letter_exchange("")
            .dead_letter_routing_key(dead_letters.clone());
        let queue = declare(&client, queue).await;
        let aside = new_queue();
        let aside_name = declare(&client, aside.clone()).await;
        let policy = Retry::attempts(9)
            .delay(SHORT, SHORT)
            .dead_letter_queue(aside);
        let mut consumer = consumer(&client, &queue, policy).await;
        let bodies = ["done", "dead letter", "reject", "release", "settled"];
        publish(&client, &queue, &bodies).await;
        let (stop, mut released) = (consumer.stop_handle(), 0);
        let handler = |delivery: Delivery| {
            let outcome = match &*text(delivery.body()) {
                "dead letter" => Outcome::dead_letter().because("no amount"),
                "reject" => Outcome::reject(),
                "release" if released < 3 => {
                    assert_eq!(delivery.attempt(), 1);
                    released += 1;
                    Outcome::release()
                }
                "release" => {
                    stop.stop();
                    Outcome::done()
                }
                "settled" => {
                    // It goes by what was done first.
                    delivery.ack().unwrap();
                    Outcome::retry()
                }
                _ => Outcome::done(),
            };
            std::future::ready(outcome)
        };
        within("the end", consumer.process(1, handler)).await;
        let dead = only(&client, aside_name.as_str().unwrap()).await;
        assert_eq!(text(dead.body()), "dead letter");
        assert_eq!(text_in(&dead, "snowshoe-reason").unwrap(), "no amount");
        assert_eq!(number_in(&dead, "snowshoe-attempts"), Some(1));
        until_ready(&client, &dead_letters, 1).await;
        assert_eq!(take_bodies(&client, &dead_letters).await, ["reject"]);
        drop(consumer);
        until_ready(&client, &queue, 0).await;
        assert!(take_bodies(&client, &queue).await.is_empty());
        client.close().await;
    });
}

#[test]
fn a_handler_that_panics_has_failed_and_its_message_is_tried_again() {
    run(async {
        let client = connect(&url()).await;
        let queue = fresh_queue(&client).await;
        let mut consumer = consumer(&client, &queue, soon(2)).await;
        publish(&client, &queue, &["1"]).await;
        let handling = consumer.process(1, async |delivery: Delivery| {
            assert!(delivery.body() != b"1", "a number");
        });
        let dead = async { only(&client, &named(&queue, "dead")).await };
        let dead = or(async { Err(handling.await) }, async { Ok(dead.await) });
        let dead = within("the end", dead).await.unwrap();
        assert_eq!(
            text_in(&dead, "snowshoe-reason").unwrap(),
            "a panic: a number"
        );
        assert_eq!(number_in(&dead, "snowshoe-attempts"), Some(2));
        client.close().await;
    });
}

#[test]
fn without_a_policy_what_always_fails_is_no_hot_loop() {
    run(async {
        let (client, queue) = with_queue().await;
        publish(&client, &queue, &["1", "2", "3", "4", "5"]).await;
        let mut consumer = start(client.consumer(queue.clone()).unwrap()).await;
        let (stop, mut runs) = (consumer.stop_handle(), BTreeMap::<String, usize>::new());
        let begin = Instant::now();
        let handler = |delivery: Delivery| {
            let run = runs.entry(text(delivery.body())).or_default();
            *run += 1;
            if *run == 4 {
                stop.stop();
            }
            std::future::ready(Err::<(), _>("never"))
        };
        within("the end", consumer.process(5, handler)).await;
        // The first time they come again at once, and rest before the third and the fourth.
        assert!(begin.elapsed() >= Duration::from_secs(2));
        assert!(runs.values().all(|&it| (3..=4).contains(&it)), "{runs:?}");
        drop(consumer);
        until_ready(&client, &queue, 5).await;
        client.close().await;
    });
}

#[test]
fn what_is_deleted_of_a_policy_is_there_again_when_it_is_needed() {
    run(async {
        let client = connect(&url()).await;
        let queue = fresh_queue(&client).await;
        let mut consumer = consumer(&client, &queue, soon(3)).await;
        let other = connect(&url()).await;
        let waiting = named(&queue, "retry.50ms");
        within(
            "the deletion",
            other.delete_queue(waiting.as_str()).into_future(),
        )
        .await
        .unwrap();
        let exchange = named(&queue, "retry");
        within(
            "the deletion",
            other.delete_exchange(exchange.as_str()).into_future(),
        )
        .await
        .unwrap();
        publish(&client, &queue, &["again"]).await;
        let (stop, attempts) = (consumer.stop_handle(), RefCell::new(Vec::new()));
        let handler = |delivery: Delivery| {
            attempts.borrow_mut().push(delivery.attempt());
            let is_done = delivery.attempt() == 2;
            if is_done {
                stop.stop();
            }
            std::future::ready(if is_done { Ok(()) } else { Err("once more") })
        };
        within("the end", consumer.process(1, handler)).await;
        assert_eq!(attempts.take(), [1, 2]);
        client.close().await;
    });
}

#[test]
fn nothing_is_lost_where_connections_are_cut_while_messages_are_tried_again() {
    const MESSAGES: usize = 40;
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        let queue = fresh_queue(&client).await;
        let mut consumer = consumer(&client, &queue, soon(1_000)).await;
        let direct = connect(&url()).await;
        let producer = direct.producer(queue.clone()).unwrap().build();
        for number in 0..MESSAGES {
            within("the confirm", producer.send(number.to_string()))
                .await
                .unwrap();
        }
        let (stop, done) = (
            consumer.stop_handle(),
            RefCell::new(BTreeMap::<String, u32>::new()),
        );
        let failures = Cell::new(0);
        let handler = |delivery: Delivery| {
            let attempt = delivery.attempt();
            let body = text(delivery.body());
            let (done, failures, stop) = (&done, &failures, &stop);
            async move {
                if attempt < 4 {
                    failures.set(failures.get() + 1);
                    return Err("not yet");
                }
                *done.borrow_mut().entry(body).or_default() += 1;
                if done.borrow().len() == MESSAGES {
                    stop.stop();
                }
                Ok(())
            }
        };
        let cutting = async {
            for cut in 1..=6 {
                eventually("some have failed", || failures.get() > cut * 15).await;
                cable.proxy.all().end(End::Reset);
                let is_it = |event: &Event| matches!(event, Event::Disconnected { .. });
                next_event(&mut cable.events, "the cut", is_it).await;
            }
        };
        let (handled, ()) = within("the end", zip(consumer.process(8, handler), cutting)).await;
        assert!(handled.finished >= 4 * MESSAGES as u64);
        assert_eq!(done.borrow().len(), MESSAGES);
        client.close().await;
    });
}

#[test]
fn a_delivery_is_settled_apart_from_its_message() {
    run(async {
        let (client, queue) = with_queue().await;
        publish(&client, &queue, &["1", "2", "3", "4"]).await;
        let mut consumer = start(client.consumer(queue.clone()).unwrap()).await;
        let mut settlers = Vec::new();
        for expected in ["1", "2", "3", "4"] {
            let delivery = within("a delivery", consumer.next()).await.unwrap();
            let (message, settler) = delivery.split();
            assert_eq!(message.content.body(), expected.as_bytes());
            settlers.push(settler);
        }
        let last = settlers.pop().unwrap();
        let third = settlers.pop().unwrap();
        let settled = std::thread::spawn(move || {
            let settled = settlers.pop().unwrap().ack_all_up_to();
            (settled, settlers.pop().unwrap().ack())
        });
        let (second, first) = settled.join().unwrap();
        assert_eq!(second, Ok(Settled::Sent));
        assert_eq!(first, Err(SettleError::AlreadySettled));
        assert_eq!(third.release(), Ok(Settled::Sent));
        drop(last);
        drop(consumer);
        until_ready(&client, &queue, 2).await;
        assert_eq!(take_bodies(&client, &queue).await, ["3", "4"]);
        client.close().await;
    });
}

/// A queue that stays without consumers.
async fn lasting_queue(client: &Client) -> ShortString {
    declare(client, Queue::new(unique("retrying"))).await
}

#[test]
fn pauses_and_cuts_delete_nothing_of_a_queue_that_lets_messages_wait() {
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        let policy = soon(1);
        let queue = Queue::quorum(unique("retrying")).retry(&policy);
        let queue = declare(&client, queue).await;
        let direct = connect(&url()).await;
        publish(&direct, &queue, &["1", "2", "3"]).await;
        let mut consumer = consumer(&client, &queue, policy).await;
        let pause = consumer.pause_handle();
        for time in 0..6 {
            eventually("all are there", || consumer.waiting() == 3).await;
            if time % 2 == 0 {
                pause.pause();
                until_ready(&direct, &queue, 3).await;
                pause.resume();
            } else {
                cable.proxy.all().end(End::Reset);
                recovered(&mut cable.events, ConnectionRole::Main).await;
            }
        }
        let stop = consumer.stop_handle();
        let seen = Cell::new(0);
        let handler = |_: Delivery| {
            seen.set(seen.get() + 1);
            if seen.get() == 3 {
                stop.stop();
            }
            std::future::ready(())
        };
        within("the end", consumer.process(1, handler)).await;
        client.close().await;
    });
}

#[test]
fn a_policy_says_nothing_of_a_queue_that_lets_nothing_wait() {
    run(async {
        let client = connect(&url()).await;
        let name = unique("retrying");
        let declared = Queue::new(&name).retry(&soon(3));
        within("the queue", client.declare(declared)).await.unwrap();
        // Nor does another policy, or none.
        let other = connect(&url()).await;
        for queue in [Queue::new(&name).retry(&soon(4)), Queue::new(&name)] {
            within("the queue", other.declare(queue)).await.unwrap();
        }
        let quorum = unique("retrying");
        let declared = Queue::quorum(&quorum).retry(&soon(3));
        within("the queue", client.declare(declared)).await.unwrap();
        let declared = Queue::quorum(&quorum).retry(&soon(4));
        within("the queue", other.declare(declared)).await.unwrap();
    });
}

#[test]
fn dead_letters_that_nobody_takes_hold_up_neither_other_messages_nor_a_stop() {
    run(async {
        let client = connect(&url()).await;
        let queue = lasting_queue(&client).await;
        let nobody = unique("nobody");
        within("the exchange", client.declare(Exchange::topic(&nobody)))
            .await
            .unwrap();
        publish(&client, &queue, &["bad", "worse", "1", "2", "3"]).await;
        let policy = soon(1).dead_letter_exchange(nobody);
        let mut consumer = consumer(&client, &queue, policy).await;
        let (stop, good) = (consumer.stop_handle(), Cell::new(0));
        let handler = |delivery: Delivery| {
            let is_bad = delivery.body().len() > 1;
            if !is_bad {
                good.set(good.get() + 1);
            }
            std::future::ready(if is_bad { Err("bad") } else { Ok(()) })
        };
        let stopping = async {
            eventually("the good ones are handled", || good.get() == 3).await;
            stop.stop();
        };
        within("the end", zip(consumer.process(2, handler), stopping)).await;
        drop(consumer);
        until_ready(&client, &queue, 2).await;
        client.close().await;
    });
}

#[test]
fn headers_that_others_have_written_hold_nothing_up() {
    run(async {
        let client = connect(&url()).await;
        let queue = lasting_queue(&client).await;
        let mut consumer = consumer(&client, &queue, soon(1)).await;
        for more in [1, i64::MAX] {
            let message = Message::new("left over").header("snowshoe-more", more);
            let producer = client.producer(queue.clone()).unwrap().build();
            within("the confirm", producer.send(message)).await.unwrap();
        }
        let stop = consumer.stop_handle();
        let mut seen = 0;
        let handler = |_: Delivery| {
            seen += 1;
            if seen == 2 {
                stop.stop();
            }
            std::future::ready(())
        };
        within("the end", consumer.process(1, handler)).await;
        client.close().await;
    });
}

#[test]
fn a_dead_letter_goes_nowhere_else_and_has_all_its_attempts_when_it_is_put_back() {
    run(async {
        let client = connect(&url()).await;
        let [queue, elsewhere] = [lasting_queue(&client).await, lasting_queue(&client).await];
        let mut consumer = consumer(&client, &queue, soon(2)).await;
        let copies = FieldArray::new().with(elsewhere.clone()).unwrap();
        let message = Message::new("again").header("CC", &copies);
        let producer = client.producer(queue.clone()).unwrap().build();
        within("the confirm", producer.send(message)).await.unwrap();
        let attempts = RefCell::new(Vec::new());
        let handling = consumer.process(1, |delivery: Delivery| {
            attempts.borrow_mut().push(delivery.attempt());
            std::future::ready(Err::<(), _>("no"))
        });
        let putting_back = async {
            let dead = only(&client, &named(&queue, "dead")).await;
            let properties = dead.properties().unwrap().encode().unwrap();
            let again = Message::new(dead.body_bytes()).with_properties(properties);
            producer.send(again).await.unwrap();
            dead.ack().unwrap();
            only(&client, &named(&queue, "dead")).await
        };
        let dead = or(async { Err(handling.await) }, async {
            Ok(putting_back.await)
        });
        let dead = within("the end", dead).await.unwrap();
        assert_eq!(attempts.take(), [1, 2, 1, 2]);
        assert_eq!(number_in(&dead, "snowshoe-attempts"), Some(2));
        assert_eq!(take_bodies(&client, &elsewhere).await, ["again"]);
        client.close().await;
    });
}

#[test]
fn a_policy_leaves_a_stream_as_it_is() {
    run(async {
        let client = connect(&url()).await;
        let queue = declare(&client, Queue::stream(unique("retrying"))).await;
        publish(&client, &queue, &["1", "2"]).await;
        let first = StreamOffset::First;
        let builder = client.consumer(queue.clone()).unwrap();
        let mut consumer = start(builder.stream_offset(first).retry(soon(3))).await;
        let (stop, mut seen) = (consumer.stop_handle(), Vec::new());
        let handler = |delivery: Delivery| {
            seen.push(text(delivery.body()));
            if seen.len() == 2 {
                stop.stop();
            }
            std::future::ready(Err::<(), _>("no"))
        };
        within("the end", consumer.process(1, handler)).await;
        assert_eq!(seen, ["1", "2"]);
        // Whoever publishes after that is the next.
        publish(&client, &queue, &["3"]).await;
        let mut other = start(client.consumer(queue).unwrap().stream_offset(first)).await;
        for expected in ["1", "2", "3"] {
            let delivery = within("a delivery", other.next()).await.unwrap();
            assert_eq!(text(delivery.body()), expected);
            delivery.ack().unwrap();
        }
        client.close().await;
    });
}

#[test]
fn a_queue_that_the_broker_has_named_can_have_a_policy() {
    run(async {
        let client = connect(&url()).await;
        let queue = declare(&client, Queue::server_named()).await;
        consumer(&client, &queue, soon(2)).await;
        client.close().await;
    });
}
