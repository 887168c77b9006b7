//! What brokers do differently from one release to another.

use snowshoe::codec::ChannelId;
use snowshoe::codec::method::basic;
use snowshoe::testing::Manner;

use crate::scenarios::step::*;

fn quorum() -> Step {
    declare("q").durable().with("x-queue-type", "quorum")
}

/// A quorum queue with one message, which is fetched and given back so often, and then fetched.
fn returned(
    name: &'static str,
    declare: Step,
    times: u64,
    give_back: impl Fn(u64) -> Vec<Step>,
) -> Scenario {
    let first = vec![declare, confirms(), publish("", "q", "1")];
    let rounds = (1..=times).flat_map(|tag| [vec![get("q")], give_back(tag)].concat());
    let last = [get("q"), get("q")];
    scenario(
        name,
        first
            .into_iter()
            .chain(rounds)
            .chain(last)
            .collect::<Vec<_>>(),
    )
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    [returns(), active(), contents(), others()].concat()
}

fn returns() -> Vec<Scenario> {
    let limited = |limit: i32| quorum().with("x-delivery-limit", limit);
    vec![
        returned(
            "a quorum queue has a limit of its own",
            quorum(),
            21,
            |tag| vec![reject(tag, true)],
        ),
        returned("a quorum queue without limits", limited(-1), 22, |tag| {
            vec![reject(tag, true)]
        }),
        returned("a quorum queue of one delivery", limited(0), 1, |tag| {
            vec![reject(tag, true)]
        }),
        returned("a nack counts, or does not", limited(1), 3, |tag| {
            vec![nack(tag, false, true)]
        }),
        returned("a nack of many counts, or does not", limited(1), 3, |_| {
            let nack = basic::Nack {
                delivery_tag: 0,
                multiple: true,
                requeue: true,
            };
            vec![raw(ChannelId(1), nack)]
        }),
        returned("a recover counts, or does not", limited(1), 3, |_| {
            vec![recover(true)]
        }),
        returned("the end of a channel counts", limited(1), 2, |_| {
            vec![close_channel(), pass(50)]
        }),
        returned("the end of a connection counts", limited(1), 2, |_| {
            vec![close_connection(), pass(50)]
        }),
        returned("nack and reject together", limited(1), 4, |tag| {
            vec![match tag % 2 {
                1 => nack(tag, false, true),
                _ => reject(tag, true),
            }]
        }),
        scenario(
            "what a consumer is cancelled with",
            [
                limited(5),
                confirms(),
                qos(1),
                consume("q", "c"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                cancel("c"),
                nack(1, false, true),
                get("q"),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "what is given back by nack goes to its place, or to the end",
            [
                quorum(),
                confirms(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                publish("", "q", "3"),
                get("q"),
                get("q"),
                nack(2, true, true),
                get("q").no_ack(),
                get("q").no_ack(),
                get("q").no_ack(),
            ],
        ),
        scenario(
            "a count that a publisher makes up",
            [
                quorum(),
                confirms(),
                publish("", "q", "1").properties(|properties| {
                    properties
                        .header("x-delivery-count", 7)
                        .header("x-acquired-count", 8)
                }),
                get("q"),
                reject(1, true),
                get("q"),
            ],
        ),
        scenario(
            "a letter of what was returned too often",
            [
                declare("dead"),
                limited(1)
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "dead"),
                confirms(),
                publish("", "q", "1"),
                get("q"),
                reject(1, true),
                get("q"),
                reject(2, true),
                pass(100),
                get("dead"),
                reject(3, true),
                get("dead"),
            ],
        ),
        scenario(
            "a letter that came back before",
            [
                declare("dead"),
                declare("q")
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "dead")
                    .with("x-message-ttl", 100),
                publish("", "q", "1"),
                get("q"),
                reject(1, true),
                pass(300),
                get("dead"),
            ],
        ),
        scenario(
            "a letter of a quorum queue that was never delivered",
            [
                declare("dead"),
                quorum()
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "dead")
                    .with("x-message-ttl", 100),
                confirms(),
                publish("", "q", "1"),
                pass(600),
                get("dead"),
            ],
        ),
        scenario(
            "a letter of a quorum queue that is rejected, to a quorum queue",
            [
                declare("dead").durable().with("x-queue-type", "quorum"),
                quorum()
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "dead"),
                confirms(),
                publish("", "q", "1"),
                get("q"),
                reject(1, true),
                get("q"),
                reject(2, false),
                pass(100),
                get("dead"),
                reject(3, true),
                get("dead"),
            ],
        )
        .differs_from(
            &[Manner::RabbitMq40, Manner::RabbitMq43],
            "counts go along with a letter, from one quorum queue to another",
        ),
        scenario(
            "letters that came back, by nack and by the end of a channel",
            [
                declare("dead"),
                declare("q")
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "dead")
                    .with("x-message-ttl", 300),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q"),
                nack(1, false, true),
                get("q").no_ack(),
                get("q").on(2),
                close_channel().on(2),
                pass(600),
                get("dead"),
                get("dead"),
            ],
        ),
        scenario(
            "a letter that is refused by nack",
            [
                declare("dead"),
                quorum()
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "dead"),
                confirms(),
                publish("", "q", "1"),
                get("q"),
                nack(1, false, false),
                pass(100),
                get("dead"),
            ],
        ),
        scenario(
            "a quorum queue without limits puts back",
            [
                limited(-1),
                confirms(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                publish("", "q", "3"),
                get("q"),
                get("q"),
                reject(2, true),
                reject(1, true),
                get("q"),
                get("q"),
                get("q"),
            ],
        ),
    ]
}

/// The only active consumer goes, and has a message.
fn active() -> Vec<Scenario> {
    let only = |queue: Step| {
        vec![
            queue.with("x-single-active-consumer", true),
            confirms(),
            qos(1).on(2),
            qos(1).on(3),
            consume("q", "a").on(2),
            consume("q", "b").on(3),
            publish("", "q", "3"),
            publish("", "q", "4"),
            publish("", "q", "5"),
        ]
    };
    let cancelled = vec![
        cancel("a").on(2),
        nack(1, false, true).on(2),
        ack(1).on(3),
        ack(2).on(3),
        ack(3).on(3),
    ];
    let kept = vec![
        cancel("a").on(2),
        publish("", "q", "6"),
        ack(1).on(3),
        ack(2).on(3),
        ack(1).on(2),
    ];
    let closed = vec![
        close_channel().on(2),
        ack(1).on(3),
        ack(2).on(3),
        ack(3).on(3),
    ];
    let all = |queue: Step, end: &Vec<Step>| [only(queue), end.clone()].concat();
    vec![
        scenario(
            "the active consumer is cancelled, and gives back what it had",
            all(declare("q"), &cancelled),
        ),
        scenario(
            "the active consumer is cancelled, and keeps what it had",
            all(declare("q"), &kept),
        )
        .differs_from(
            &[Manner::RabbitMq310],
            "the queue crashes there, and cancels the other consumer",
        ),
        scenario(
            "the channel of the active consumer closes",
            all(declare("q"), &closed),
        ),
        scenario(
            "the active consumer of a quorum queue is cancelled, and gives back what it had",
            all(quorum(), &cancelled),
        ),
        scenario(
            "the active consumer of a quorum queue is cancelled, and keeps what it had",
            all(quorum(), &kept),
        ),
        scenario(
            "the channel of the active consumer of a quorum queue closes",
            all(quorum(), &closed),
        ),
    ]
}

/// What becomes of contents.
fn contents() -> Vec<Scenario> {
    let inner = snowshoe::FieldTable::new()
        .with("z", 1)
        .and_then(|table| table.with("y", 2))
        .expect("it is short");
    let headers = || {
        let inner = inner.clone();
        move |properties: snowshoe::PropertiesBuilder| {
            properties
                .header("c", "last")
                .header("b", &inner)
                .header("a", 1_u8)
                .header("B", 1_i16)
        }
    };
    let twice = b"\x20\x00\x00\x00\x00\x10\x01bS\x00\x00\x00\x01x\x01bS\x00\x00\x00\x01y";
    vec![
        scenario(
            "headers in no order",
            [
                declare("q"),
                publish("", "q", "1").properties(headers()),
                get("q"),
            ],
        ),
        scenario(
            "headers in no order, to a quorum queue",
            [
                quorum(),
                confirms(),
                publish("", "q", "1").properties(headers()),
                get("q"),
            ],
        ),
        scenario(
            "headers in no order, mandatory",
            [publish("", "nothing", "1")
                .properties(headers())
                .mandatory()],
        ),
        scenario(
            "headers of one name",
            [
                declare("q"),
                raw_publish(
                    basic::Publish {
                        routing_key: name("q"),
                        ..Default::default()
                    },
                    twice,
                    b"m",
                ),
                get("q"),
            ],
        ),
        scenario(
            "no headers at all",
            [
                declare("q"),
                raw_publish(
                    basic::Publish {
                        routing_key: name("q"),
                        ..Default::default()
                    },
                    b"\x20\x00\x00\x00\x00\x00",
                    b"m",
                ),
                get("q"),
            ],
        ),
        scenario(
            "a message of more than 16 MiB",
            [
                declare("q"),
                publish("", "q", &"0123456789abcdef".repeat((1 << 20) + 1)),
                declare("q").passive(),
            ],
        ),
        scenario(
            "a message of 16 MiB",
            [
                declare("q"),
                publish("", "q", &"0123456789abcdef".repeat(1 << 20)),
                declare("q").passive(),
            ],
        ),
    ]
}

fn others() -> Vec<Scenario> {
    let three = [
        publish("", "q", "1"),
        publish("", "q", "2"),
        publish("", "q", "3"),
    ];
    let both = |first: [Step; 4], last: Vec<Step>| [first.to_vec(), three.to_vec(), last].concat();
    vec![
        scenario(
            "prefetch of the channel, for two consumers",
            both(
                [
                    declare("q"),
                    qos_global(1),
                    consume("q", "a"),
                    consume("q", "b"),
                ],
                vec![ack(1)],
            ),
        ),
        scenario(
            "prefetch of the channel after that of consumers",
            both(
                [declare("q"), qos(1), qos_global(2), consume("q", "a")],
                vec![ack(1)],
            ),
        ),
        scenario(
            "prefetch of the channel, and none of consumers",
            both(
                [declare("q"), qos_global(1), qos(0), consume("q", "a")],
                vec![ack(1)],
            ),
        ),
        scenario(
            "prefetch of the channel of a quorum queue",
            [
                quorum(),
                confirms(),
                qos_global(1),
                consume("q", "a"),
                publish("", "q", "1"),
                publish("", "q", "2"),
            ],
        ),
        scenario(
            "frames of 4,096 bytes",
            [connect_with_frames(4096), declare("q")],
        ),
        scenario(
            "frames of 8,192 bytes",
            [connect_with_frames(8192), declare("q")],
        ),
        scenario(
            "an exchange of an unknown type again",
            [exchange("x", "x-magic"), exchange("y", "direct")],
        ),
    ]
}
