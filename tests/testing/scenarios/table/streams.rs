//! Streams.

use snowshoe::FieldValue;
use snowshoe::codec::method::{basic, queue};

use crate::scenarios::step::*;

fn stream() -> Step {
    declare("q").durable().with("x-queue-type", "stream")
}

/// A stream of four messages, and a channel that may read three at a time.
fn four() -> Vec<Step> {
    vec![
        stream(),
        confirms(),
        publish("", "q", "0"),
        publish("", "q", "1").properties(|properties| properties.header("mine", 1)),
        publish("", "q", "2"),
        publish("", "q", "3"),
        qos(3),
    ]
}

fn read(name: &'static str, steps: impl Into<Vec<Step>>) -> Scenario {
    scenario(name, [four(), steps.into()].concat())
}

fn from(offset: impl snowshoe::ToField) -> Step {
    consume("q", "c").with("x-stream-offset", offset)
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        read(
            "a stream is read from its beginning",
            [
                from("first"),
                ack(1),
                ack(3),
                ack(2),
                publish("", "q", "4"),
                publish("", "q", "5"),
            ],
        ),
        read(
            "a stream is read from what comes next",
            [from("next"), publish("", "q", "4")],
        ),
        read(
            "a stream is read without saying from where",
            [consume("q", "c"), publish("", "q", "4")],
        ),
        read("a stream is read from an offset", [from(2)]),
        read("a stream is read from a long offset", [from(2_i64)]),
        read(
            "a stream is read from an offset that is yet to come",
            [
                from(6),
                publish("", "q", "4"),
                publish("", "q", "5"),
                publish("", "q", "6"),
                publish("", "q", "7"),
            ],
        ),
        read(
            "a stream is read from the beginning of time",
            [from(FieldValue::Timestamp(1))],
        ),
        read(
            "a stream is read from the end of time",
            [
                from(FieldValue::Timestamp(4_000_000_000)),
                publish("", "q", "4"),
            ],
        ),
        read("a stream is read from an age", [from("1h")]),
        read("a stream is read from nonsense", [from("nonsense")]),
        read("a stream is read from a flag", [from(true)]),
        read("a stream is read from a negative offset", [from(-1)]),
        scenario(
            "an empty stream is read from its last",
            [
                stream(),
                confirms(),
                qos(3),
                from("last"),
                publish("", "q", "0"),
            ],
        ),
        scenario(
            "an empty stream is read from an offset",
            [stream(), confirms(), qos(3), from(3), publish("", "q", "0")],
        ),
        read("a stream is read without prefetch", [qos(0), from("first")]),
        read(
            "a stream is read without acknowledgements",
            [from("first").no_ack()],
        ),
        read(
            "a stream is read by one alone",
            [
                from("first").exclusive(),
                consume("q", "d").with("x-stream-offset", "first").on(2),
            ],
        ),
        read(
            "a stream is read twice",
            [
                from("first"),
                qos(1).on(2),
                from(1).on(2),
                ack(1).on(2),
                ack(2).on(2),
            ],
        ),
        read(
            "a stream is read with a priority",
            [from("first").with("x-priority", 3)],
        ),
        read(
            "a stream is read on, where its reader is cancelled",
            [
                from("first"),
                cancel("c"),
                ack(1),
                publish("", "q", "4"),
                from(1),
            ],
        ),
        read(
            "a reader of a stream gives back",
            [from("first"), nack(1, false, true)],
        ),
        read(
            "a reader of a stream rejects",
            [from("first"), reject(1, false)],
        ),
        read(
            "a reader of a stream rejects and gives back",
            [from("first"), reject(1, true)],
        ),
        read(
            "a reader of a stream acknowledges many",
            [from("first"), ack_all_to(2), ack_all_to(4)],
        ),
        read(
            "a reader of a stream recovers",
            [from("first"), recover(true)],
        ),
        read(
            "a reader of a stream closes its channel",
            [from("first"), close_channel(), qos(3), from("first")],
        ),
        read("a stream is fetched from", [get("q")]),
        read("a stream is purged", [purge("q")]),
        read(
            "a stream is looked at",
            [pass(100), declare("q").passive(), stream()],
        ),
        read(
            "a stream is deleted",
            [
                from("first"),
                send(queue::Delete {
                    queue: name("q"),
                    ..Default::default()
                })
                .by(2),
                declare("q").passive().by(2),
            ],
        ),
        scenario(
            "a stream that is not durable",
            [declare("q").with("x-queue-type", "stream")],
        ),
        scenario("a stream for one connection", [stream().exclusive()]),
        scenario(
            "a stream that goes with its consumers",
            [stream().auto_delete()],
        ),
        scenario("a stream with an age", [stream().with("x-max-age", "7D")]),
        scenario(
            "a stream with an age that is none",
            [stream().with("x-max-age", "soon")],
        ),
        scenario(
            "a stream with a number for an age",
            [stream().with("x-max-age", 5)],
        ),
        scenario(
            "a stream with a length",
            [stream().with("x-max-length-bytes", 1_000_000)],
        ),
        scenario(
            "a stream with a number of messages",
            [stream().with("x-max-length", 10)],
        ),
        scenario(
            "a stream with a time to live",
            [stream().with("x-message-ttl", 10)],
        ),
        scenario(
            "a stream with letters",
            [stream().with("x-dead-letter-exchange", "")],
        ),
        scenario(
            "a stream with priorities",
            [stream().with("x-max-priority", 5)],
        ),
        scenario(
            "a stream with a delivery limit",
            [stream().with("x-delivery-limit", 5)],
        ),
        scenario(
            "a stream that overflows",
            [stream().with("x-overflow", "drop-head")],
        ),
        scenario(
            "a stream with one active consumer",
            [stream().with("x-single-active-consumer", true)],
        ),
        scenario(
            "a stream that expires",
            [stream().with("x-expires", 10_000)],
        ),
        scenario(
            "a stream with an initial size",
            [stream()
                .with("x-initial-cluster-size", 1)
                .with("x-queue-leader-locator", "client-local")
                .with("x-stream-max-segment-size-bytes", 500_000)],
        ),
        scenario(
            "a stream that is a classic queue",
            [declare("q").durable(), stream()],
        ),
        scenario(
            "a classic queue with an age",
            [declare("q").with("x-max-age", "7D")],
        ),
        scenario(
            "a quorum queue with an age",
            [declare("q")
                .durable()
                .with("x-queue-type", "quorum")
                .with("x-max-age", "7D")],
        ),
        scenario(
            "a classic queue is read from an offset",
            [declare("q"), publish("", "q", "0"), from("first")],
        ),
        scenario(
            "a classic queue is read from nonsense",
            [declare("q"), publish("", "q", "0"), from("nonsense")],
        ),
        scenario(
            "a stream is bound",
            [
                stream(),
                bind("q", "amq.topic", "a.#"),
                confirms(),
                publish("amq.topic", "a.b", "0"),
                publish("amq.topic", "b", "1"),
                qos(3),
                from("first"),
            ],
        ),
        scenario(
            "a stream gets what is not persistent, and headers in no order",
            [
                stream(),
                confirms(),
                publish("", "q", "0").properties(|properties| {
                    properties
                        .header("b", 2)
                        .header("a", 1)
                        .content_type("t")
                        .expiration("1")
                        .kind("k")
                }),
                pass(50),
                qos(3),
                from("first"),
            ],
        ),
        scenario(
            "a stream gets an offset that somebody made up",
            [
                stream(),
                confirms(),
                publish("", "q", "0")
                    .properties(|properties| properties.header("x-stream-offset", 2)),
                qos(3),
                from("first"),
            ],
        ),
        scenario(
            "a stream is published to in a transaction",
            [stream(), tx_select(), publish("", "q", "0"), tx_commit()],
        ),
        scenario(
            "a stream is read in a transaction",
            [
                stream(),
                confirms(),
                publish("", "q", "0"),
                publish("", "q", "1"),
                tx_select().on(2),
                qos(1).on(2),
                from("first").on(2),
                ack(1).on(2),
                tx_rollback().on(2),
                ack(1).on(2),
                tx_commit().on(2),
            ],
        ),
        scenario(
            "a stream is read with a limit of the channel",
            [
                stream(),
                confirms(),
                publish("", "q", "0"),
                publish("", "q", "1"),
                qos_global(1).on(2),
                from("first").on(2),
            ],
        ),
        scenario(
            "a letter to a stream",
            [
                stream(),
                declare("r")
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "q"),
                publish("", "r", "0"),
                get("r"),
                reject(1, false),
                pass(100),
                qos(3),
                from("first"),
            ],
        ),
        scenario(
            "a stream refuses nothing that is empty",
            [
                stream(),
                send(basic::Consume {
                    queue: name("q"),
                    consumer_tag: name("c"),
                    ..Default::default()
                }),
            ],
        ),
    ]
}
