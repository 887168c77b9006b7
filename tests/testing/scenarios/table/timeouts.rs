//! Deliveries that nobody acknowledges in time: within a [second](TIMEOUT) here.

use std::time::Duration;

use crate::scenarios::step::*;

/// How long the brokers wait for an acknowledgement.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// RabbitMQ looks for what is overdue only now and then.
const LATER: u64 = 3_000;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let quorum = || declare("q").durable().with("x-queue-type", "quorum");
    let delayed = |kind: &str| {
        let queue = quorum().with("x-delayed-retry-type", kind);
        queue.with("x-delayed-retry-min", 60_000)
    };
    vec![
        scenario(
            "a delivery of a classic queue is overdue",
            [
                declare("q"),
                consume("q", "c").on(2),
                publish("", "q", "1"),
                pass(LATER),
                get("q"),
                ack(1),
            ],
        ),
        scenario(
            "what is fetched from a classic queue is overdue",
            [
                declare("q"),
                publish("", "q", "1"),
                get("q").on(2),
                pass(LATER),
                get("q"),
                ack(1),
            ],
        ),
        scenario(
            "a delivery of a quorum queue is overdue",
            [
                quorum(),
                confirms(),
                qos(1).on(2),
                consume("q", "c").on(2),
                publish("", "q", "1"),
                publish("", "q", "2"),
                pass(LATER),
                get("q"),
                get("q"),
                ack(1),
                ack(2),
                get("q").on(2),
            ],
        ),
        scenario(
            "an overdue delivery of a quorum queue in which what failed waits",
            [
                delayed("failed"),
                confirms(),
                consume("q", "c").on(2),
                publish("", "q", "1"),
                pass(LATER),
                get("q"),
            ],
        ),
        scenario(
            "an overdue delivery of a quorum queue in which waits what is given back",
            [
                delayed("returned"),
                confirms(),
                consume("q", "c").on(2),
                publish("", "q", "1"),
                pass(LATER),
                get("q"),
            ],
        ),
        scenario(
            "an overdue delivery of a quorum queue is acknowledged",
            [
                quorum(),
                confirms(),
                consume("q", "c").on(2),
                publish("", "q", "1"),
                pass(LATER),
                ack(1).on(2),
                get("q"),
                ack(1),
                get("q").on(2),
            ],
        ),
        scenario(
            "an overdue consumer of a quorum queue comes back",
            [
                quorum(),
                confirms(),
                qos(1).on(2),
                consume("q", "c").on(2),
                publish("", "q", "1"),
                publish("", "q", "2"),
                pass(LATER),
                consume("q", "c").on(2),
                ack(1).on(2),
                ack(2).on(2),
                ack(3).on(2),
            ],
        ),
        scenario(
            "an overdue consumer of a quorum queue comes back with another name",
            [
                quorum(),
                confirms(),
                qos(1).on(2),
                consume("q", "c").on(2),
                publish("", "q", "1"),
                publish("", "q", "2"),
                pass(LATER),
                consume("q", "d").on(2),
                ack(1).on(2),
                ack(2).on(2),
                publish("", "q", "3"),
            ],
        ),
        scenario(
            "an overdue consumer of a quorum queue, and another",
            [
                quorum(),
                confirms(),
                qos(1).on(2),
                consume("q", "c").on(2),
                publish("", "q", "1"),
                qos(1).on(3),
                consume("q", "d").on(3),
                pass(800),
                publish("", "q", "2"),
                ack(1).on(3),
                pass(800),
                ack(2).on(3),
                ack(1).on(2),
                publish("", "q", "3"),
            ],
        ),
        scenario(
            "an overdue consumer of a quorum queue is cancelled, and gives back",
            [
                quorum(),
                confirms(),
                qos(1).on(2),
                consume("q", "c").on(2),
                publish("", "q", "1"),
                pass(LATER),
                cancel("c").on(2),
                nack(1, false, true).on(2),
                get("q"),
            ],
        ),
        scenario(
            "what is fetched from a quorum queue is overdue",
            [
                quorum(),
                confirms(),
                publish("", "q", "1"),
                get("q").on(2),
                pass(LATER),
                get("q"),
                ack(1),
                get("q").on(2),
            ],
        ),
        scenario(
            "a delivery of a quorum queue that is overdue for a consumer which is gone",
            [
                quorum(),
                confirms(),
                consume("q", "c").on(2),
                publish("", "q", "1"),
                cancel("c").on(2),
                pass(LATER),
                get("q"),
                ack(1),
                get("q").on(2),
            ],
        ),
    ]
}
