//! Messages that are not delivered, on a real broker: given up for their age, taken back, and told.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use snowshoe::{DropReason, Mode, ProducerBuilder, UnconfirmedReason, Undelivered};
use support::cable::Cable;
use support::messages::{number_in, numbered};
use support::proxy::To;
use support::queues::{declare_empty, take_numbers, wait_until_queue_holds};
use support::waiting::{eventually, run, within};

/// The numbers of messages that were told, why, and whether the broker may have them.
#[derive(Clone, Default)]
struct Told(Arc<Mutex<Vec<Undelivered>>>);

impl Told {
    fn to<M: Mode>(&self, builder: ProducerBuilder<M>) -> ProducerBuilder<M> {
        let told = Arc::clone(&self.0);
        builder.on_undelivered(move |it| told.lock().unwrap().push(it))
    }

    fn all(&self) -> Vec<(u64, UnconfirmedReason, bool)> {
        let told = self.0.lock().unwrap();
        let told = told.iter();
        told.map(|it| {
            let number = number_in(it.message.body());
            (
                number,
                it.outcome.reason.clone(),
                it.outcome.possibly_stored,
            )
        })
        .collect()
    }
}

fn expired(number: u64, possibly_stored: bool) -> (u64, UnconfirmedReason, bool) {
    let reason = UnconfirmedReason::Dropped(DropReason::Expired);
    (number, reason, possibly_stored)
}

#[test]
fn what_is_too_old_is_told_during_the_outage_and_does_not_come_after_it() {
    const QUEUE: &str = "undelivered: too old";
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        let told = Told::default();
        let builder = cable.client.producer(QUEUE).unwrap();
        let builder = told.to(builder).max_age(Duration::from_millis(300));
        let producer = cable.first_producer(builder).await;
        // The broker has one of them, and its confirm does not come through.
        cable.proxy.link(1).silence(To::Client);
        let sent = producer.try_publish(numbered(0, 100)).unwrap();
        wait_until_queue_holds(QUEUE, 1).await;
        cable.cut().await;
        let unsent = producer.try_publish(numbered(1, 100)).unwrap();
        for (confirmation, possibly_stored) in [(sent, true), (unsent, false)] {
            let outcome = within("the outcome", confirmation).await.unwrap_err();
            let reason = UnconfirmedReason::Dropped(DropReason::Expired);
            assert_eq!(outcome.reason, reason);
            assert_eq!(outcome.possibly_stored, possibly_stored);
        }
        // Whoever waits is woken before the hook is asked.
        let both = [expired(0, true), expired(1, false)];
        eventually("both are told", || told.all() == both).await;
        cable.mend().await;
        within("the confirm", producer.send(numbered(2, 100)))
            .await
            .unwrap();
        within("the close", cable.client.close()).await;
        assert_eq!(take_numbers(QUEUE).await, [0, 2]);
    });
}

#[test]
fn without_confirms_what_is_too_old_is_told_with_the_message() {
    const QUEUE: &str = "undelivered: without confirms";
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        let told = Told::default();
        let builder = cable.client.producer(QUEUE).unwrap().fire_and_forget();
        let builder = told.to(builder).max_age(Duration::from_millis(300));
        let producer = cable.first_producer(builder).await;
        cable.cut().await;
        producer.try_publish(numbered(0, 100)).unwrap();
        eventually("it is told", || told.all() == [expired(0, false)]).await;
        assert_eq!(producer.buffered(), 0);
        cable.mend().await;
        producer.try_publish(numbered(1, 100)).unwrap();
        within("the flush", producer.flushed()).await;
        wait_until_queue_holds(QUEUE, 1).await;
        within("the close", cable.client.close()).await;
        assert_eq!(take_numbers(QUEUE).await, [1]);
    });
}

#[test]
fn what_is_taken_back_during_an_outage_does_not_come_and_the_others_come_in_order() {
    const QUEUE: &str = "undelivered: taken back";
    run(async {
        let mut cable = Cable::lay().await;
        declare_empty(&cable.client, QUEUE).await;
        let builder = cable.client.producer(QUEUE).unwrap();
        let producer = cable.first_producer(builder).await;
        cable.cut().await;
        let publish = |number| producer.try_publish(numbered(number, 100)).unwrap();
        let [first, second, third] = [0, 1, 2].map(publish);
        let message = second.withdraw().expect("there is no connection");
        assert_eq!(message, numbered(1, 100));
        assert_eq!(producer.buffered(), 2);
        cable.mend().await;
        for confirmation in [first, third] {
            within("the confirm", confirmation).await.unwrap();
        }
        within("the close", cable.client.close()).await;
        assert_eq!(take_numbers(QUEUE).await, [0, 2]);
    });
}
