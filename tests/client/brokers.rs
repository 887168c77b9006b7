//! What releases of RabbitMQ treat differently, and what a client is told of it.

use snowshoe::codec::method::basic::Qos;
use snowshoe::{
    ConnectionRole, Error, Event, Queue, ReplyCode, SendMessageError, Unconfirmed,
    UnconfirmedReason,
};
use support::broker::{Node, is_since, url, version, version_of};
use support::cable::Cable;
use support::client::connect;
use support::events::recovered;
use support::proxy::End;
use support::queues::{
    declare, fresh_queue, publish, take_bodies, unique, until_ready, with_queue,
    without_delivery_limit,
};
use support::waiting::{run, within};

/// More than RabbitMQ 4 delivers a message of a quorum queue that was declared without a limit.
const CUTS: usize = 25;

/// Cuts a client off again and again while it holds three messages; what is in the queue after that.
async fn left_after_cuts(queue: Queue) -> Vec<String> {
    let mut cable = Cable::lay().await;
    let others = connect(&url()).await;
    let queue = declare(&cable.client, queue).await;
    publish(&others, &queue, &["one", "two", "three"]).await;
    let consumer = cable.client.consumer(queue.clone()).unwrap().start();
    let consumer = within("the consumer", consumer).await.unwrap();
    for _ in 0..CUTS {
        // What it was given is waiting, or already dropped by the broker.
        until_ready(&others, &queue, 0).await;
        cable.proxy.all().end(End::Reset);
        recovered(&mut cable.events, ConnectionRole::Main).await;
    }
    drop(consumer);
    within("the end", cable.client.close()).await;
    let left = async {
        loop {
            let left = take_bodies(&others, &queue).await;
            let settled = others.declare(Queue::new(queue.clone()).passive()).await;
            if settled.unwrap().message_count == 0 {
                return left;
            }
        }
    };
    within("what is left", left).await
}

#[test]
fn any_number_of_cuts_loses_nothing_of_a_quorum_queue_without_a_delivery_limit() {
    run(async {
        let queue = without_delivery_limit(Queue::quorum(unique("cuts")), version());
        let mut left = left_after_cuts(queue).await;
        left.sort_unstable();
        assert_eq!(left, ["one", "three", "two"]);
    });
}

/// So the guarantees warn of it.
#[test]
fn rabbitmq_4_drops_what_came_back_20_times_to_a_quorum_queue_where_no_limit_is_given() {
    if !is_since((4, 0), "delivery limit where none is given") {
        return;
    }
    run(async {
        let left = left_after_cuts(Queue::quorum(unique("cuts"))).await;
        assert_eq!(left, [""; 0]);
    });
}

/// 16 MiB is the most that RabbitMQ takes from 4.0 on; before, it was 128.
#[test]
fn a_message_that_is_too_large_for_the_broker_is_rejected_alone_with_both_sizes() {
    run(async {
        let (client, queue) = with_queue().await;
        let producer = client.producer(queue.clone()).unwrap().build();
        let before = producer.publish("before").await.unwrap();
        let large = producer.publish(vec![7; 17 << 20]).await.unwrap();
        let after = producer.publish("after").await.unwrap();
        assert_eq!(within("the one before", before).await, Ok(()));
        let outcome = within("the large one", large).await;
        assert_eq!(within("the one after", after).await, Ok(()));
        if *version() < (4, 0) {
            assert_eq!(outcome, Ok(()));
            return;
        }
        let Err(Unconfirmed {
            reason: UnconfirmedReason::Rejected(close),
            ..
        }) = &outcome
        else {
            panic!("{}: {outcome:?}", version());
        };
        assert_eq!(close.code, ReplyCode::PRECONDITION_FAILED);
        let text = outcome.unwrap_err().to_string();
        for part in ["message size 17825792", "max size 16777216"] {
            assert!(text.contains(part), "{text}");
        }
        let again = within("it again", producer.send(vec![7; 17 << 20])).await;
        assert!(
            matches!(again, Err(SendMessageError::Unconfirmed(_))),
            "{again:?}"
        );
        assert_eq!(take_bodies(&client, &queue).await, ["before", "after"]);
    });
}

/// RabbitMQ 4 has deprecated them, and refuses such a queue where it is configured to, as the release
/// after it is to do anyway. A mode of a queue, and a prefetch for a whole channel, it takes all the same.
#[test]
fn what_rabbitmq_4_has_deprecated_is_refused_by_its_name_or_taken() {
    let forbidden = "{permit_deprecated_features, \
                     #{transient_nonexcl_queues => false, global_qos => false}}";
    let node = Node::start_with(&[forbidden]);
    let version = version_of(&node.url());
    run(async {
        let client = connect(&node.url()).await;
        let mut events = client.events();
        let transient = Queue::new(unique("transient")).durable(false);
        let declared = within("an answer", client.declare(transient)).await;
        if version >= (4, 0) {
            let Err(Error::Refused(close)) = &declared else {
                panic!("{version}: {declared:?}");
            };
            assert_eq!(close.code, ReplyCode::INTERNAL_ERROR);
            let text = declared.unwrap_err().to_string();
            for part in ["transient_nonexcl_queues", "deprecated"] {
                assert!(text.contains(part), "{text}");
            }
            // It costs the connection, once.
            recovered(&mut events, ConnectionRole::Main).await;
        } else {
            declared.unwrap();
        }

        let lazy = Queue::new(unique("lazy")).argument("x-queue-mode", "lazy");
        within("an answer", client.declare(lazy)).await.unwrap();
        let channel = client.channel().await.unwrap();
        let global = Qos {
            prefetch_count: 3,
            global: true,
            ..Qos::default()
        };
        within("an answer", channel.call(global)).await.unwrap();
        fresh_queue(&client).await;
        let mut more = std::iter::from_fn(|| events.try_next());
        let lost = more.find(|event| matches!(event, Event::Disconnected { .. }));
        assert!(lost.is_none(), "{version}: {lost:?}");
    });
}
