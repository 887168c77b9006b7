//! Requests and their answers, over direct reply-to and over a queue.

use std::time::{Duration, Instant};

use futures_lite::future::{or, zip};
use snowshoe::{
    Client, Consumer, Delivery, Event, Properties, Queue, Replied, RequestErrorReason, Requester,
    RequesterBuilder,
};
use support::broker::{Node, url};
use support::cable::Cable;
use support::client::connect;
use support::events::next_event;
use support::proxy::{End, Proxy};
use support::queues::{declare_empty, with_queue};
use support::waiting::{run, within};

async fn start(requester: RequesterBuilder) -> Requester {
    let started = within("the requester", requester.start()).await;
    started.expect("the broker knows direct reply-to")
}

/// Answers each request with what it says, as long as the other goes on.
async fn serving<T>(consumer: &mut Consumer, other: impl Future<Output = T>) -> T {
    let echo = async |request: Delivery| request.body().to_vec();
    let served = async {
        consumer.serve(64, echo).await;
        panic!("the consumer has ended");
    };
    or(other, served).await
}

async fn consumer(client: &Client, queue: &str) -> Consumer {
    let consumer = client.consumer(queue).unwrap().start();
    within("the consumer", consumer).await.unwrap()
}

#[test]
fn requests_get_their_own_answers_however_they_come_back() {
    run(async {
        let (client, queue) = with_queue().await;
        let serves = connect(&url()).await;
        let mut consumer = consumer(&serves, &queue.to_string_lossy()).await;
        for confirmed in [false, true] {
            for has_queue in [false, true] {
                let requester = client.requester().confirmed(confirmed).max_in_flight(100);
                let requester = match has_queue {
                    true => requester.reply_queue(),
                    false => requester,
                };
                let requester = start(requester).await;
                let ask = |number: u32| {
                    let request = requester.request(&queue, number.to_string());
                    async move {
                        let reply = request.await.unwrap();
                        assert_eq!(reply.body(), number.to_string().as_bytes());
                    }
                };
                let executor = async_executor::LocalExecutor::new();
                let asking: Vec<_> = (0..1000).map(|it| executor.spawn(ask(it))).collect();
                let all = async {
                    for asked in asking {
                        asked.await;
                    }
                };
                let all = serving(&mut consumer, executor.run(all));
                within("the answers", all).await;
                assert_eq!(requester.under_way(), 0);
            }
        }
    });
}

#[test]
fn what_cannot_be_done_is_told_at_once() {
    run(async {
        let (client, queue) = with_queue().await;
        let requester = start(client.requester()).await;
        let error = within(
            "the error",
            requester.request("nobody serves this", "?").into_future(),
        );
        let error = error.await.unwrap_err();
        assert!(
            matches!(error.reason, RequestErrorReason::Unroutable(_)),
            "{error}"
        );
        assert!(!error.possibly_done);

        let request = requester.request(&queue, "?").exchange("no such exchange");
        let error = within("the error", request.into_future())
            .await
            .unwrap_err();
        let RequestErrorReason::Rejected(close) = &error.reason else {
            panic!("{error}");
        };
        assert_eq!(close.code.0, 404);
        let expiration = Properties::builder().expiration("soon").build().unwrap();
        let message = snowshoe::Message::from("?").with_properties(expiration);
        let request = requester.request(&queue, message);
        let error = within("the error", request.into_future())
            .await
            .unwrap_err();
        assert!(
            matches!(error.reason, RequestErrorReason::Rejected(_)),
            "{error}"
        );

        let timeout = Duration::from_millis(300);
        let began = Instant::now();
        let error = requester.request(&queue, "?").timeout(timeout).await;
        let error = error.unwrap_err();
        assert!(matches!(error.reason, RequestErrorReason::Timeout(_)) && error.possibly_done);
        // By the driver's clock, which it read before it heard of the request.
        assert!(began.elapsed() >= timeout / 2);
    });
}

#[test]
fn a_queue_that_rejects_a_request_is_heard_of_with_confirms() {
    const FULL: &str = "requests: full";
    run(async {
        let client = connect(&url()).await;
        declare_empty(&client, FULL).await;
        client.delete_queue(FULL).await.unwrap();
        let full = Queue::new(FULL)
            .max_length(0)
            .argument("x-overflow", "reject-publish");
        client.declare(full).await.unwrap();
        let requester = start(client.requester().confirmed(true)).await;
        let request = requester.request(FULL, "?").into_future();
        let error = within("the error", request).await.unwrap_err();
        assert!(
            matches!(error.reason, RequestErrorReason::Nacked),
            "{error}"
        );
        // It might have dead-lettered it.
        assert!(error.possibly_done);
        client.delete_queue(FULL).await.unwrap();
    });
}

#[test]
fn a_cut_fails_what_is_under_way_at_once_and_sends_what_is_idempotent_again() {
    run(async {
        let proxy = Proxy::start(&url());
        let cable = Cable::lay_with(proxy, |builder| builder).await;
        let (serves, queue) = with_queue().await;
        let requester = start(cable.client.requester()).await;
        let (idempotent, other) = (
            requester.request(&queue, "once or twice").idempotent(),
            requester.request(&queue, "once"),
        );
        let mut consumer = consumer(&serves, &queue.to_string_lossy()).await;
        let cutting = async {
            let (one, two) = (
                consumer.next().await.unwrap(),
                consumer.next().await.unwrap(),
            );
            cable.proxy.all().end(End::Reset);
            // These answers reach nobody.
            let replier = serves.replier();
            for request in [one, two] {
                replier.reply(&request, "late").await.unwrap();
                request.ack().unwrap();
            }
            let again = consumer.next().await.unwrap();
            assert_eq!(again.body(), b"once or twice");
            replier.reply(&again, "in time").await.unwrap();
            again.ack().unwrap();
        };
        let asked = zip(idempotent.into_future(), other.into_future());
        let ((idempotent, other), ()) = within("the answers", zip(asked, cutting)).await;
        assert_eq!(idempotent.unwrap().body(), b"in time");
        let error = other.unwrap_err();
        assert!(
            matches!(error.reason, RequestErrorReason::ConnectionLost(_)),
            "{error}"
        );
        assert!(error.possibly_done);
    });
}

#[test]
fn an_answer_to_who_has_gone_is_no_harm() {
    run(async {
        let (client, queue) = with_queue().await;
        let serves = connect(&url()).await;
        let replier = serves.replier();
        let mut consumer = consumer(&serves, &queue.to_string_lossy()).await;
        for has_queue in [false, true] {
            let requester = match has_queue {
                true => client.requester().reply_queue(),
                false => client.requester(),
            };
            let requester = start(requester).await;
            let timeout = Duration::from_secs(60);
            let request = requester.request(&queue, "?").timeout(timeout);
            let request = or(
                async {
                    _ = request.await;
                    None
                },
                async { consumer.next().await },
            );
            let request = within("the request", request).await.unwrap();
            drop(requester);
            // Its connection goes, and with that its queue.
            let gone = async {
                loop {
                    // While its queue is being deleted, RabbitMQ 4.3 refuses it.
                    let replied = replier.reply(&request, "too late").await;
                    if let Ok(replied) = replied
                        && (!has_queue || replied == Replied::NobodyThere)
                    {
                        return replied;
                    }
                }
            };
            let replied = within("the reply", gone).await;
            assert_eq!(replied == Replied::NobodyThere, has_queue);
            request.ack().unwrap();
        }
    });
}

#[test]
fn a_memory_alarm_holds_requests_up_and_no_acknowledgement() {
    const QUEUE: &str = "requests: blocked";
    run(async {
        let node = Node::start();
        let client = connect(&node.url()).await;
        let mut events = client.events();
        declare_empty(&client, QUEUE).await;
        let producer = client.producer(QUEUE).unwrap().build();
        for body in ["first", "second"] {
            within("the confirm", producer.send(body)).await.unwrap();
        }
        let requester = start(client.requester()).await;
        let consumer = client.consumer(QUEUE).unwrap().prefetch(1).start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        let first = within("a message", consumer.next()).await.unwrap();
        node.admin().set_memory_alarm(true);
        let request = requester.request(QUEUE, "during").into_future();
        let meanwhile = async {
            let is_blocked = |event: &Event| matches!(event, Event::Blocked { .. });
            next_event(&mut events, "the block", is_blocked).await;
            // There is room for the next once the broker has heard of this one.
            first.ack().unwrap();
            let second = within("the next", consumer.next()).await.unwrap();
            assert_eq!(second.body(), b"second");
            node.admin().set_memory_alarm(false);
            second.ack().unwrap();
            let request = within("the request", consumer.next()).await.unwrap();
            client.replier().reply(&request, "after").await.unwrap();
            request.ack().unwrap();
        };
        let (reply, ()) = within("the answer", zip(request, meanwhile)).await;
        assert_eq!(reply.unwrap().body(), b"after");
    });
}
