//! LavinMQ refuses publishes and declares while its disk is nearly full, by closing the channel with
//! 406. That is back-pressure, and no fault of what it refuses.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use snowshoe::codec::Method;
use snowshoe::{Binding, ConnectionRole, Event, Events, Exchange, Queue, ReplyCode};
use support::cable::Cable;
use support::client::connect;
use support::events::{next_event, recovered};
use support::messages::{number_in, numbered};
use support::proxy::{End, Proxy};
use support::scripted_broker::{Answer, Broker, Heard};
use support::waiting::{eventually, run, within};

const LOW_DISK: Answer = Answer::Refuse(
    ReplyCode::PRECONDITION_FAILED,
    "PRECONDITION_FAILED - Server low on disk space",
);

fn low_disk_if(is_too_full: bool) -> Answer {
    if is_too_full { LOW_DISK } else { Answer::Usual }
}

/// The lower bound of the delays that the tests' client begins with, and of its longest.
const FIRST_DELAY: Duration = Duration::from_millis(10);
const LONGEST_DELAY: Duration = Duration::from_millis(100);

/// What became of the messages at the broker.
#[derive(Debug, Default)]
struct Disk {
    refused: Vec<(u64, Instant)>,
    stored: Vec<u64>,
}

fn so_far(events: &mut Events) -> Vec<Event> {
    std::iter::from_fn(|| events.try_next()).collect()
}

// fault 11
#[test]
fn messages_refused_for_low_disk_are_kept_and_tried_again_ever_more_slowly() {
    /// How often the disk is too full.
    const REFUSALS: usize = 5;
    const MESSAGES: u64 = 20;
    run(async {
        let disk = Arc::new(Mutex::new(Disk::default()));
        let broker = Broker::start({
            let disk = Arc::clone(&disk);
            move |heard| {
                let Heard::Published(body) = heard else {
                    return Answer::Usual;
                };
                let mut disk = disk.lock().unwrap();
                if disk.refused.len() < REFUSALS {
                    disk.refused.push((number_in(body), Instant::now()));
                    return LOW_DISK;
                }
                disk.stored.push(number_in(body));
                Answer::Usual
            }
        });
        let client = connect(&broker.url()).await;
        let mut events = client.events();
        let producer = client.producer("low disk").unwrap().build();
        let confirmations: Vec<_> = (0..MESSAGES)
            .map(|number| producer.try_publish(numbered(number, 100)).unwrap())
            .collect();
        for confirmation in confirmations {
            assert_eq!(within("the confirm", confirmation).await, Ok(()));
        }

        let disk = disk.lock().unwrap();
        assert_eq!(disk.stored, (0..MESSAGES).collect::<Vec<_>>());
        let mut least = FIRST_DELAY;
        for pair in disk.refused.windows(2) {
            let [(first, before), (second, after)] = pair else {
                unreachable!()
            };
            assert_eq!((first, second), (&0, &0), "nothing overtakes");
            assert!(*after - *before >= least, "{:?}", disk.refused);
            least = (least * 2).min(LONGEST_DELAY);
        }
        for event in so_far(&mut events) {
            let is_harmless = !matches!(
                event,
                Event::Rejected { .. } | Event::Dropped { .. } | Event::Disconnected { .. }
            );
            assert!(is_harmless, "{event:?}");
        }
    });
}

// fault 11
#[test]
fn what_low_disk_keeps_from_being_declared_again_is_tried_until_it_is_there() {
    const EXCHANGE: &str = "low disk: exchange";
    const QUEUE: &str = "low disk: queue";
    run(async {
        let heard = Arc::new(Mutex::new(Vec::new()));
        let broker = Broker::start({
            let heard = Arc::clone(&heard);
            // The first declares are the user's. The queue takes longer to be there than the exchange.
            let (mut exchanges, mut queues) = (0, 0);
            move |method| {
                let (name, answer) = match method {
                    Heard::Method(Method::ExchangeDeclare(_)) => {
                        exchanges += 1;
                        ("exchange", low_disk_if((2..4).contains(&exchanges)))
                    }
                    Heard::Method(Method::QueueDeclare(_)) => {
                        queues += 1;
                        ("queue", low_disk_if((2..5).contains(&queues)))
                    }
                    Heard::Method(Method::QueueBind(_)) if (2..5).contains(&queues) => {
                        let answer = Answer::Refuse(ReplyCode::NOT_FOUND, "no such queue");
                        ("binding", answer)
                    }
                    Heard::Method(Method::QueueBind(_)) => ("binding", Answer::Usual),
                    _ => return Answer::Usual,
                };
                heard.lock().unwrap().push((name, answer));
                answer
            }
        });
        let proxy = Proxy::start(&broker.url());
        let mut cable = Cable::lay_with(proxy, |builder| builder).await;
        let client = &cable.client;
        client.declare(Exchange::fanout(EXCHANGE)).await.unwrap();
        client.declare(Queue::new(QUEUE)).await.unwrap();
        let binding = Binding::queue(QUEUE).to_exchange(EXCHANGE);
        client.declare(binding).await.unwrap();

        cable.proxy.all().end(End::Reset);
        recovered(&mut cable.events, ConnectionRole::Main).await;
        let all_there = || {
            let heard = heard.lock().unwrap();
            let there = heard.iter().filter(|(_, answer)| *answer == Answer::Usual);
            // Whether the user's own, or the recovery's.
            there.count() >= 6 && heard.last() == Some(&("binding", Answer::Usual))
        };
        eventually("all is declared again", all_there).await;
        let refused = |heard: &&(_, Answer)| heard.1 != Answer::Usual;
        assert_eq!(heard.lock().unwrap().iter().filter(refused).count(), 5);
        // Of the recovery nothing was told as failed.
        client.declare(Queue::new("low disk: last")).await.unwrap();
        for event in so_far(&mut cable.events) {
            let is_harmless = !matches!(
                event,
                Event::NotRecovered { .. } | Event::Disconnected { .. }
            );
            assert!(is_harmless, "{event:?}");
        }
    });
}

// fault 11
#[test]
fn any_other_406_is_the_messages_own_fault() {
    run(async {
        let broker = Broker::start(|heard| match heard {
            Heard::Published(_) => Answer::Refuse(ReplyCode::PRECONDITION_FAILED, "no"),
            Heard::Method(_) => Answer::Usual,
        });
        let client = connect(&broker.url()).await;
        let mut events = client.events();
        let producer = client.producer("low disk: other").unwrap().build();
        let confirmation = producer.try_publish("something else").unwrap();
        let outcome = within("the outcome", confirmation).await;
        assert!(
            matches!(&outcome, Err(it) if matches!(it.reason, snowshoe::UnconfirmedReason::Rejected(_))),
            "{outcome:?}"
        );
        let is_rejected = |event: &Event| matches!(event, Event::Rejected { .. });
        next_event(&mut events, "the rejection", is_rejected).await;
    });
}
