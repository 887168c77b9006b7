//! Queues that go away by themselves, or in the middle of a recovery, and publishing that must not
//! run ahead of it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use snowshoe::codec::method::{basic, queue};
use snowshoe::{Binding, ConnectionRole, Error, Event, Exchange, Properties, Queue};
use support::broker::url;
use support::cable::Cable;
use support::client::connect;
use support::events::{next_event, recovered};
use support::messages::{number, numbered};
use support::proxy::{End, Proxy, Stats, To, Verdict};
use support::queues::declare_empty;
use support::waiting::{run, within};

/// Waits until the proxy keeps something from the client.
fn wait_until_held_up(proxy: &Proxy) {
    let held = |stats: &Stats| stats.links.iter().any(|link| link.held(To::Client) > 0);
    proxy.wait_until("the recovery is held up", held);
}

/// Holds up the recovery of a queue behind one of the broker's answers, takes the queue away, and
/// sees whether its consumer and its bindings are back in the end.
async fn vanish_behind(answer: (u16, u16), queue: &'static str, exchange: &'static str) {
    let proxy = Proxy::start(&url());
    let mut held = false;
    proxy.on_frame(To::Client, move |link, frame| {
        let is_it = link > 0 && frame.method() == Some(answer);
        if is_it && !std::mem::replace(&mut held, true) {
            return Verdict::Hold;
        }
        Verdict::Pass
    });
    let cable = Cable::lay_with(proxy, |builder| builder).await;
    let client = &cable.client;
    client.delete_queue(queue).await.unwrap();
    client.declare(Exchange::direct(exchange)).await.unwrap();
    client
        .declare(Queue::new(queue).auto_delete())
        .await
        .unwrap();
    let keys = ["one", "two"];
    for key in keys {
        let binding = Binding::queue(queue).to_exchange(exchange).routing_key(key);
        client.declare(binding).await.unwrap();
    }
    let consumer = client.consumer(queue).unwrap().start();
    let mut consumer = within("the consumer", consumer).await.unwrap();

    cable.proxy.all().end(End::Reset);
    wait_until_held_up(&cable.proxy);
    connect(&url()).await.delete_queue(queue).await.unwrap();
    cable.proxy.all().resume(To::Client);

    let producer = connect(&url()).await;
    for (expected, key) in (0..).zip(keys) {
        let producer = producer.exchange_producer(exchange, key).unwrap();
        let producer = producer.mandatory(true).build();
        let routed = async { while producer.send(numbered(expected, 100)).await.is_err() {} };
        within(&format!("the binding by {key}"), routed).await;
        let delivery = within("a delivery", consumer.next()).await.unwrap();
        assert_eq!(number(&delivery), expected);
        delivery.ack().unwrap();
    }
}

// fault 47
#[test]
fn a_queue_that_vanishes_behind_its_declaration_is_declared_and_bound_again() {
    run(vanish_behind(
        QUEUE_DECLARE_OK,
        "vanishing: declared",
        "vanishing: declared, exchange",
    ));
}

// fault 47
#[test]
fn a_queue_that_vanishes_between_its_bindings_and_its_consumer_is_there_again_with_all_of_them() {
    run(vanish_behind(
        BASIC_QOS_OK,
        "vanishing: bound",
        "vanishing: bound, exchange",
    ));
}

// fault 48
#[test]
fn a_queue_that_went_with_its_last_consumer_stays_gone() {
    const QUEUE: &str = "vanishing: last consumer";
    run(async {
        let mut cable = Cable::lay().await;
        let client = cable.client.clone();
        client
            .declare(Queue::new(QUEUE).auto_delete())
            .await
            .unwrap();
        for _ in 0..2 {
            let consumer = client.consumer(QUEUE).unwrap().start();
            let consumer = within("the consumer", consumer).await.unwrap();
            let declared = client
                .declare(Queue::new(QUEUE).auto_delete())
                .await
                .unwrap();
            assert_eq!(declared.consumer_count, 1);
            within("the cancel", consumer.cancel()).await;
            let gone = async { while client.declare(Queue::new(QUEUE).passive()).await.is_ok() {} };
            within("the end of the queue", gone).await;
            cable.proxy.all().end(End::Reset);
            recovered(&mut cable.events, ConnectionRole::Main).await;
            let gone = client.declare(Queue::new(QUEUE).passive()).await;
            assert!(matches!(gone, Err(Error::Refused(_))), "{gone:?}");
            client
                .declare(Queue::new(QUEUE).auto_delete())
                .await
                .unwrap();
        }
        client.delete_queue(QUEUE).await.unwrap();
    });
}

// fault 53
#[test]
fn requests_wait_until_the_queue_for_their_replies_has_its_consumer_back() {
    const REQUESTS: &str = "vanishing: requests";
    run(async {
        let proxy = Proxy::start(&url());
        let mut held = false;
        proxy.on_frame(To::Client, move |link, frame| {
            let is_it = link > 1 && frame.method() == Some(BASIC_CONSUME_OK);
            if is_it && !std::mem::replace(&mut held, true) {
                return Verdict::Hold;
            }
            Verdict::Pass
        });
        let consumer_is_back = Arc::new(AtomicBool::new(false));
        let too_early = Arc::new(AtomicUsize::new(0));
        proxy.on_frame(To::Server, {
            let (is_back, too_early) = (Arc::clone(&consumer_is_back), Arc::clone(&too_early));
            move |link, frame| {
                let is_publish = link > 1 && frame.method() == Some(BASIC_PUBLISH);
                if is_publish && !is_back.load(Ordering::SeqCst) {
                    too_early.fetch_add(1, Ordering::SeqCst);
                }
                Verdict::Pass
            }
        });
        let mut cable = Cable::lay_with(proxy, |builder| builder).await;
        let client = cable.client.clone();
        declare_empty(&client, REQUESTS).await;
        let replies = client.declare(Queue::server_named()).await.unwrap().name;
        let consumer = client.consumer(replies.clone()).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        let requests = client.producer(REQUESTS).unwrap();
        let requests = cable.first_producer(requests).await;

        cable.proxy.all().end(End::Reset);
        let is_back = |event: &Event| matches!(event, Event::Recovered { role } if *role == ConnectionRole::Publishing);
        let waiting = requests.try_publish("are you there?").unwrap();
        next_event(&mut cable.events, "the publishing connection", is_back).await;
        wait_until_held_up(&cable.proxy);
        consumer_is_back.store(true, Ordering::SeqCst);
        cable.proxy.all().resume(To::Client);
        within("the confirm", waiting).await.unwrap();
        assert_eq!(too_early.load(Ordering::SeqCst), 0);

        // Whoever answers now, by the name that the queue has now, is heard.
        recovered_or_ready(&client).await;
        let answers = client.producer(consumer.queue()).unwrap().build();
        assert_ne!(consumer.queue(), replies);
        within("the confirm", answers.send("yes")).await.unwrap();
        let answer = within("the answer", consumer.next()).await.unwrap();
        assert_eq!(answer.body(), b"yes");
        answer.ack().unwrap();
    });
}

/// Calls are made once the main connection is ready.
async fn recovered_or_ready(client: &snowshoe::Client) {
    let ready = client.declare(Exchange::direct("amq.direct").passive());
    within("the main connection", ready).await.unwrap();
}

// fault 53
#[test]
fn a_direct_reply_that_a_lost_connection_took_along_fails_its_channel() {
    run(async {
        let mut cable = Cable::lay().await;
        let channel = cable.client.channel().await.unwrap();
        let consume = basic::Consume {
            queue: "amq.rabbitmq.reply-to".try_into().unwrap(),
            no_ack: true,
            ..Default::default()
        };
        channel.call(consume).await.unwrap();
        cable.proxy.link(0).silence(To::Client);
        let pending = channel.call(queue::Declare {
            exclusive: true,
            ..Default::default()
        });
        let cut = async { cable.proxy.all().end(End::Reset) };
        let (pending, ()) = futures_lite::future::zip(pending, cut).await;
        assert!(
            matches!(pending, Err(Error::ConnectionLost | Error::ChannelClosed)),
            "{pending:?}"
        );
        recovered(&mut cable.events, ConnectionRole::Main).await;
        let reply_to = Properties::builder().reply_to("amq.rabbitmq.reply-to");
        let request = snowshoe::Message::new("?").with_properties(reply_to.build().unwrap());
        let published = channel.publish("", "vanishing: nowhere", request).await;
        assert!(published.is_err(), "it would be answered to nobody");

        let channel = cable.client.channel().await.unwrap();
        channel
            .publish("", "vanishing: nowhere", "plain")
            .await
            .unwrap();
    });
}

const QUEUE_DECLARE_OK: (u16, u16) = (50, 11);
const BASIC_QOS_OK: (u16, u16) = (60, 11);
const BASIC_CONSUME_OK: (u16, u16) = (60, 21);
const BASIC_PUBLISH: (u16, u16) = (60, 40);
