//! Requests and their replies: no request is published ahead of the recovery of the queue that is to
//! get the reply, and none whose reply can reach nobody.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use futures_lite::future::zip;
use snowshoe::codec::method::{basic, queue};
use snowshoe::{
    ChannelEvent, Client, ConnectionRole, Error, Event, Exchange, Message, Properties, Queue,
};
use support::broker::url;
use support::cable::Cable;
use support::events::{next_event, recovered};
use support::proxy::{End, Proxy, Stats, To, Verdict};
use support::queues::declare_empty;
use support::waiting::{run, within};

// fault 53
#[test]
fn requests_wait_until_the_queue_for_their_replies_has_its_consumer_back() {
    const REQUESTS: &str = "request, reply: requests";
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
        let is_held_up = |stats: &Stats| stats.links.iter().any(|link| link.held(To::Client) > 0);
        cable
            .proxy
            .wait_until("the recovery is held up", is_held_up);
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
async fn recovered_or_ready(client: &Client) {
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
        let (pending, ()) = zip(pending, cut).await;
        assert!(
            matches!(pending, Err(Error::ConnectionLost | Error::ChannelClosed)),
            "{pending:?}"
        );
        recovered(&mut cable.events, ConnectionRole::Main).await;
        let reply_to = Properties::builder().reply_to("amq.rabbitmq.reply-to");
        let request = Message::new("?").with_properties(reply_to.build().unwrap());
        let published = channel
            .publish("", "request, reply: nowhere", request)
            .await;
        assert!(published.is_err(), "it would be answered to nobody");

        let channel = cable.client.channel().await.unwrap();
        channel
            .publish("", "request, reply: nowhere", "plain")
            .await
            .unwrap();
    });
}

// case F2: RabbitMQ before 4.2 returns a mandatory one, although it delivers it.
#[test]
fn a_direct_reply_that_is_delivered_is_confirmed() {
    const REQUESTS: &str = "request, reply: direct";
    run(async {
        let cable = Cable::lay().await;
        let client = &cable.client;
        declare_empty(client, REQUESTS).await;
        let mut channel = client.channel().await.unwrap();
        let consume = basic::Consume {
            queue: "amq.rabbitmq.reply-to".try_into().unwrap(),
            no_ack: true,
            ..Default::default()
        };
        channel.call(consume).await.unwrap();
        let reply_to = Properties::builder().reply_to("amq.rabbitmq.reply-to");
        let request = Message::new("?").with_properties(reply_to.build().unwrap());
        channel.publish("", REQUESTS, request).await.unwrap();

        let requests = client.consumer(REQUESTS).unwrap().start();
        let mut requests = within("the consumer", requests).await.unwrap();
        let request = within("the request", requests.next()).await.unwrap();
        let address = request.properties().unwrap().reply_to.unwrap().to_owned();
        request.ack().unwrap();
        // By the address of a producer, and by that of a message.
        let to_it = client.producer(address.clone()).unwrap().mandatory(true);
        within("the confirm", to_it.build().send("one"))
            .await
            .unwrap();
        let elsewhere = client.producer(REQUESTS).unwrap().build();
        let reply = Message::from("two").with_routing_key(address).unwrap();
        within("the confirm", elsewhere.send(reply)).await.unwrap();
        let mut replies = Vec::new();
        while replies.len() < 2 {
            if let Some(ChannelEvent::Delivery(reply)) =
                within("a reply", channel.next_event()).await
            {
                replies.push(reply.content.body().to_vec());
            }
        }
        assert_eq!(replies, [b"one", b"two"]);
    });
}

const BASIC_CONSUME_OK: (u16, u16) = (60, 21);
const BASIC_PUBLISH: (u16, u16) = (60, 40);
