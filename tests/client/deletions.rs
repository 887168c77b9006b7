//! What was deleted stays deleted, however it was deleted, and whoever is declaring it at that moment.

use std::time::Duration;

use futures_lite::future::{poll_once, zip};
use snowshoe::codec::method::{exchange, queue};
use snowshoe::{Binding, Channel, Client, Error, Exchange, Queue, ReplyCode, ShortString};
use support::broker::url;
use support::cable::Cable;
use support::client::connect;
use support::proxy::To;
use support::queues::{fresh_queue, publish, unique};
use support::waiting::{run, within};

/// Whether a queue is there.
async fn is_there(others: &Client, queue: &ShortString) -> bool {
    match others.declare(Queue::new(queue).passive()).await {
        Ok(_) => true,
        Err(Error::Refused(close)) if close.code == ReplyCode::NOT_FOUND => false,
        Err(error) => panic!("{error}"),
    }
}

async fn is_exchange_there(others: &Client, exchange: &str) -> bool {
    let declared = others.declare(Exchange::direct(exchange).passive());
    declared.await.is_ok()
}

fn named(kind: &str) -> ShortString {
    unique(kind).try_into().unwrap()
}

fn is_unmet<T>(result: &Result<T, Error>) -> bool {
    matches!(result, Err(Error::Refused(close)) if close.code == ReplyCode::PRECONDITION_FAILED)
}

/// Both connections are there, of which the second is for publishing.
async fn lay() -> (Cable, Client) {
    let mut cable = Cable::lay().await;
    let builder = cable.client.exchange_producer("", "nobody").unwrap();
    cable.first_producer(builder).await;
    (cable, connect(&url()).await)
}

async fn cut_and_mend(cable: &mut Cable) {
    cable.cut().await;
    cable.mend().await;
}

// case D2
// fault 48
#[test]
fn a_queue_that_is_deleted_in_an_outage_stays_deleted_however_late_the_answers_are() {
    run(async {
        let (mut cable, others) = lay().await;
        // What is to be declared again takes some time.
        for _ in 0..10 {
            fresh_queue(&cable.client).await;
        }
        let mut queues = Vec::new();
        for _ in 0..20 {
            let queue = fresh_queue(&cable.client).await;
            cable.cut().await;
            let before = cable.proxy.stats().links.len();
            cable.proxy.accept();
            let client = cable.client.clone();
            let delete = client.delete_queue(&queue).into_future();
            let be_late = async {
                cable.proxy.wait_for_links(before + 2);
                for link in before..before + 2 {
                    let pause = Duration::from_micros(fastrand::u64(..3_000));
                    cable.proxy.link(link).drip(To::Both, 50, pause);
                }
                cable.both_recovered().await;
                cable.proxy.all().resume(To::Both);
            };
            let (deleted, ()) = within("the deletion", zip(delete, be_late)).await;
            deleted.unwrap();
            assert!(!is_there(&others, &queue).await);
            queues.push(queue);
        }
        cut_and_mend(&mut cable).await;
        for queue in queues {
            assert!(!is_there(&others, &queue).await);
        }
    });
}

/// A queue that is bound to an exchange, which goes with nothing.
async fn bound(client: &Client) -> (ShortString, ShortString, Binding) {
    let queue = fresh_queue(client).await;
    let exchange = named("deleted-exchange");
    client.declare(Exchange::direct(&exchange)).await.unwrap();
    let binding = Binding::queue(&queue).to_exchange(&exchange);
    client.declare(binding.clone()).await.unwrap();
    (queue, exchange, binding)
}

// case D3
// fault 48
#[test]
fn what_is_deleted_or_unbound_by_hand_does_not_rise_again() {
    run(async {
        let (mut cable, others) = lay().await;
        let client = cable.client.clone();
        let (deleted, exchange, _) = bound(&client).await;
        let (unbound, kept, binding) = bound(&client).await;
        let unanswered = fresh_queue(&client).await;
        let channel = client.channel().await.unwrap();
        // All at once: the answers come in the order of the calls.
        let delete = queue::Delete {
            queue: deleted.clone(),
            ..Default::default()
        };
        let delete_exchange = exchange::Delete {
            exchange: exchange.clone(),
            ..Default::default()
        };
        let unbind = queue::Unbind {
            queue: unbound.clone(),
            exchange: kept.clone(),
            ..Default::default()
        };
        let calls = zip(
            channel.call(delete),
            zip(channel.call(delete_exchange), channel.call(unbind)),
        );
        let (one, (two, three)) = within("the calls", calls).await;
        _ = (one.unwrap(), two.unwrap(), three.unwrap());
        let nowait = queue::Delete {
            queue: unanswered.clone(),
            nowait: true,
            ..Default::default()
        };
        channel.send(nowait).await.unwrap();
        while is_there(&others, &unanswered).await {}

        cut_and_mend(&mut cable).await;
        assert!(!is_there(&others, &deleted).await);
        assert!(!is_there(&others, &unanswered).await);
        assert!(!is_exchange_there(&others, exchange.as_str().unwrap()).await);
        // Nothing is bound to it any more.
        others.delete_exchange(&kept).if_unused().await.unwrap();
        assert!(is_there(&others, &unbound).await);
        // And by the client's word, which forgets the rest.
        client.unbind(binding).await.unwrap();
        client.delete_queue(unbound).await.unwrap();
    });
}

// case D3
#[test]
fn what_is_deleted_by_hand_and_never_answered_does_not_rise_again() {
    run(async {
        let (mut cable, others) = lay().await;
        let client = cable.client.clone();
        let queue = fresh_queue(&client).await;
        let channel: Channel = client.channel().await.unwrap();
        cable.proxy.link(0).silence(To::Client);
        let delete = queue::Delete {
            queue: queue.clone(),
            ..Default::default()
        };
        let lose_the_answer = async {
            while is_there(&others, &queue).await {}
            cable.cut().await;
        };
        let (lost, ()) = within("the end", zip(channel.call(delete), lose_the_answer)).await;
        assert!(matches!(lost, Err(Error::ConnectionLost)), "{lost:?}");
        cable.mend().await;
        assert!(!is_there(&others, &queue).await);
    });
}

// case D3
#[test]
fn a_condition_that_is_not_met_leaves_a_queue_as_it_is_and_in_the_recovery() {
    run(async {
        let (mut cable, others) = lay().await;
        let client = cable.client.clone();
        let queue = fresh_queue(&client).await;
        publish(&others, &queue, &["one"]).await;
        let deleted = client.delete_queue(&queue).if_empty().await;
        assert!(is_unmet(&deleted), "{deleted:?}");
        let consumer = others.consumer(&queue).unwrap().start().await.unwrap();
        let deleted = client.delete_queue(&queue).if_unused().await;
        assert!(is_unmet(&deleted), "{deleted:?}");
        consumer.cancel().await;

        cable.cut().await;
        others.delete_queue(&queue).await.unwrap();
        cable.mend().await;
        assert!(is_there(&others, &queue).await);
        let deleted = client.delete_queue(&queue).if_unused().if_empty().await;
        assert_eq!(deleted.unwrap(), 0);
        cut_and_mend(&mut cable).await;
        assert!(!is_there(&others, &queue).await);
    });
}

// case D3
#[test]
fn a_condition_that_is_not_met_leaves_an_exchange_as_it_is_and_in_the_recovery() {
    run(async {
        let (mut cable, others) = lay().await;
        let client = cable.client.clone();
        let (queue, exchange, binding) = bound(&client).await;
        let deleted = client.delete_exchange(&exchange).if_unused().await;
        assert!(is_unmet(&deleted), "{deleted:?}");
        cable.cut().await;
        others.delete_exchange(&exchange).await.unwrap();
        cable.mend().await;
        assert!(is_exchange_there(&others, exchange.as_str().unwrap()).await);
        client.unbind(binding).await.unwrap();
        client.delete_exchange(&exchange).if_unused().await.unwrap();
        cut_and_mend(&mut cable).await;
        assert!(!is_exchange_there(&others, exchange.as_str().unwrap()).await);
        client.delete_queue(queue).await.unwrap();
    });
}

// case D1
#[test]
fn a_deletion_that_was_given_up_in_an_outage_is_not_made_after_it() {
    run(async {
        let (mut cable, others) = lay().await;
        let client = cable.client.clone();
        let queue = fresh_queue(&client).await;
        cable.cut().await;
        let delete = client.delete_queue(&queue).into_future();
        assert!(poll_once(delete).await.is_none());
        cable.mend().await;
        cut_and_mend(&mut cable).await;
        assert!(is_there(&others, &queue).await);
    });
}
