//! What a broker that says the same thing without end does to a client.

use snowshoe::codec::{CloseReason, Method, Violation};
use snowshoe::{ConnectionErrorReason, Event, Queue};
use support::client::connect;
use support::events::find_event;
use support::scripted_broker::{Answer, Broker, Heard};
use support::waiting::{run, within};

/// Its answers fill what the sockets hold, and then our memory.
// case G5
#[test]
fn a_broker_that_wants_answers_and_reads_none_is_given_up() {
    run(async {
        let mut floods = vec![Answer::FlowFlood(10_000_000)];
        let broker = Broker::start(move |heard| match heard {
            Heard::Method(Method::QueueDeclare(_)) => floods.pop().unwrap_or(Answer::Usual),
            _ => Answer::Usual,
        });
        let client = connect(&broker.url()).await;
        let mut events = client.events();
        let declared = within("the queue", client.declare(Queue::new("q"))).await;
        assert_eq!(declared.unwrap().name, "q");
        let cause = find_event(&mut events, "the end", |event| match event {
            Event::Disconnected { cause, .. } => Some(cause),
            _ => None,
        });
        let ConnectionErrorReason::Closed(CloseReason::Violation(violation)) = cause.await.reason
        else {
            panic!("another end");
        };
        assert!(
            matches!(violation, Violation::UnreadReplies { .. }),
            "{violation}"
        );
    });
}
