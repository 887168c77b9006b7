//! A broker closes the channel of a consumer that takes too long over a delivery.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use snowshoe::{Event, SettleError};
use support::broker::Node;
use support::cable::Cable;
use support::messages::{number, numbered};
use support::proxy::{Proxy, To, Verdict};
use support::queues::declare_empty;
use support::waiting::{eventually, run, wait_until, within};

// fault 4
#[test]
fn a_consumer_that_was_too_slow_comes_back_and_gets_its_message_again() {
    const QUEUE: &str = "consumer timeout";
    // It looks twice a second who is late, and says so each time until the client agrees.
    let node = Node::start_with(&["{consumer_timeout, 5000}", "{channel_tick_interval, 500}"]);
    run(async {
        let proxy = Proxy::start(&node.url());
        let closes = Arc::new(AtomicUsize::new(0));
        proxy.on_frame(To::Client, {
            let closes = Arc::clone(&closes);
            move |_, frame| {
                if frame.method() == Some(CHANNEL_CLOSE) {
                    let over = frame.payload();
                    assert_eq!(over[over.len() - 4..], [0; 4], "over no method");
                    closes.fetch_add(1, Ordering::Relaxed);
                }
                Verdict::Pass
            }
        });
        let mut cable = Cable::lay_with(proxy, |builder| builder).await;
        declare_empty(&cable.client, QUEUE).await;
        let producer = cable.client.producer(QUEUE).unwrap().build();
        within("the confirm", producer.send(numbered(7, 100)))
            .await
            .unwrap();
        let consumer = cable.client.consumer(QUEUE).unwrap().start();
        let mut consumer = within("the consumer", consumer).await.unwrap();
        let slow = within("the delivery", consumer.next()).await.unwrap();

        // The client's close-ok does not get through at first, so the broker says it again.
        cable.proxy.link(0).silence(To::Server);
        let is_told_again = || closes.load(Ordering::Relaxed) >= 2;
        eventually(
            "the broker closes the channel again and again",
            is_told_again,
        )
        .await;
        cable.proxy.link(0).resume(To::Server);

        let again = within("the delivery, again", consumer.next())
            .await
            .unwrap();
        assert_eq!(number(&again), 7);
        assert!(again.is_redelivered());
        assert_eq!(slow.ack(), Err(SettleError::Stale));
        again.ack().unwrap();
        wait_until("it is acknowledged", || {
            node.admin().messages_in(QUEUE) == 0
        });
        let mut events = std::iter::from_fn(|| cable.events.try_next());
        let lost = events.find(|event| matches!(event, Event::Disconnected { .. }));
        assert!(lost.is_none(), "{lost:?}");
        assert_eq!(cable.proxy.stats().links.len(), 2, "both connections lived");
    });
}

const CHANNEL_CLOSE: (u16, u16) = (20, 40);
