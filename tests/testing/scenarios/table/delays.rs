//! What comes back to a quorum queue and waits before it is delivered again, where brokers can do that.

use crate::scenarios::step::*;

/// A queue in which messages wait for a second, two and so on, and two and a half at most.
fn delayed(kind: &str) -> Step {
    declare("q")
        .durable()
        .with("x-queue-type", "quorum")
        .with("x-delayed-retry-type", kind)
        .with("x-delayed-retry-min", 1000)
        .with("x-delayed-retry-max", 2500)
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(
            "what failed waits, longer every time",
            [
                delayed("failed"),
                confirms(),
                consume("q", "c"),
                publish("", "q", "1"),
                reject(1, true),
                pass(500),
                pass(1_000),
                reject(2, true),
                pass(1_500),
                pass(1_000),
                reject(3, true),
                pass(2_000),
                pass(1_000),
                ack(4),
            ],
        ),
        scenario(
            "what is given back does not wait where only what failed does",
            [
                delayed("failed"),
                confirms(),
                consume("q", "c"),
                publish("", "q", "1"),
                nack(1, false, true),
                reject(2, true),
                pass(500),
                pass(1_000),
                nack(3, false, true),
                ack(4),
            ],
        ),
        scenario(
            "what a channel held waits where what failed does",
            [
                delayed("failed"),
                confirms(),
                publish("", "q", "1"),
                consume("q", "c").on(2),
                close_channel().on(2),
                pass(200),
                get("q"),
                pass(1_300),
                get("q"),
            ],
        ),
        scenario(
            "what a connection held waits where what failed does",
            [
                delayed("failed"),
                confirms(),
                publish("", "q", "1"),
                consume("q", "c").by(2),
                hang_up().by(2),
                pass(200),
                get("q"),
                pass(1_300),
                get("q"),
            ],
        ),
        scenario(
            "what is given back waits where that is said",
            [
                delayed("returned"),
                confirms(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q"),
                get("q"),
                nack(1, false, true),
                reject(2, true),
                get("q"),
                get("q"),
                pass(1_500),
                get("q"),
                nack(4, false, true),
                pass(500),
                get("q"),
                pass(1_000),
                get("q"),
            ],
        ),
        scenario(
            "whatever comes back waits",
            [
                delayed("all"),
                confirms(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q"),
                get("q"),
                nack(1, false, true),
                reject(2, true),
                get("q"),
                pass(1_500),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "what waits is not given up before its limit",
            [
                declare("dead"),
                delayed("failed")
                    .with("x-delivery-limit", 1)
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "dead"),
                confirms(),
                publish("", "q", "1"),
                get("q"),
                reject(1, true),
                get("q"),
                pass(1_500),
                get("q"),
                reject(2, true),
                pass(100),
                get("dead"),
            ],
        ),
        scenario(
            "what waits is counted, purged and deleted",
            [
                delayed("failed"),
                confirms(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q"),
                reject(1, true),
                pass(200),
                declare("q").passive(),
                purge("q"),
                pass(1_500),
                get("q"),
                delete("q"),
            ],
        ),
        scenario(
            "what has waited comes before what was not delivered",
            [
                delayed("failed"),
                confirms(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                publish("", "q", "3"),
                get("q"),
                get("q"),
                reject(2, true),
                pass(100),
                reject(1, true),
                pass(1_500),
                get("q"),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "a delay without a type",
            [
                declare("q")
                    .durable()
                    .with("x-queue-type", "quorum")
                    .with("x-delayed-retry-min", 1000),
                confirms(),
                publish("", "q", "1"),
                get("q"),
                reject(1, true),
                get("q"),
            ],
        ),
        scenario(
            "a delay of a type that is none",
            [delayed("sometimes"), get("q")],
        ),
        scenario(
            "a delay of a classic queue",
            [
                declare("q")
                    .with("x-delayed-retry-type", "failed")
                    .with("x-delayed-retry-min", 1000)
                    .with("x-delayed-retry-max", 1000),
                get("q"),
            ],
        ),
        scenario(
            "a queue that is declared again with another delay",
            [
                delayed("failed"),
                declare("q")
                    .durable()
                    .with("x-queue-type", "quorum")
                    .with("x-delayed-retry-type", "failed")
                    .with("x-delayed-retry-min", 500)
                    .with("x-delayed-retry-max", 2500),
            ],
        ),
        scenario(
            "a queue that is declared again without its delay",
            [
                delayed("failed"),
                declare("q").durable().with("x-queue-type", "quorum"),
            ],
        ),
    ]
}
