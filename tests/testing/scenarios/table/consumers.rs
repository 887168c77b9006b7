use crate::scenarios::step::*;

pub(crate) fn scenarios() -> Vec<Scenario> {
    let three = |queue: &str| {
        [
            publish("", queue, "1"),
            publish("", queue, "2"),
            publish("", queue, "3"),
        ]
    };
    let steps =
        |first: Vec<Step>, then: [Step; 3], last: Vec<Step>| [first, then.to_vec(), last].concat();
    vec![
        scenario(
            "a consumer gets what is there and what comes",
            [
                declare("q"),
                publish("", "q", "1"),
                consume("q", "c"),
                publish("", "q", "2"),
                ack(1),
                ack(2),
                declare("q").passive(),
            ],
        ),
        scenario(
            "a consumer without a name",
            [declare("q"), publish("", "q", "1"), consume("q", "")],
        ),
        scenario(
            "a consumer without an answer",
            [
                declare("q"),
                consume("q", "c").nowait(),
                publish("", "q", "1"),
            ],
        ),
        scenario(
            "a consumer of a queue that is not there",
            [consume("nothing", "c")],
        ),
        scenario(
            "a consumer that does not acknowledge",
            [
                declare("q"),
                consume("q", "c").no_ack(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                close_channel(),
                get("q"),
            ],
        ),
        scenario(
            "acknowledging what needs none",
            [
                declare("q"),
                consume("q", "c").no_ack(),
                publish("", "q", "1"),
                ack(1),
            ],
        ),
        scenario(
            "a consumer's name again",
            [declare("q"), consume("q", "c"), consume("q", "c")],
        ),
        scenario(
            "a consumer's name on another channel",
            [
                declare("q"),
                consume("q", "c"),
                consume("q", "c").on(2),
                declare("q").passive(),
            ],
        ),
        scenario(
            "a consumer ends",
            [
                declare("q"),
                consume("q", "c"),
                publish("", "q", "1"),
                cancel("c"),
                publish("", "q", "2"),
                ack(1),
                get("q"),
                cancel("c"),
                cancel("nobody"),
                cancel("nobody").nowait(),
            ],
        ),
        scenario(
            "what a consumer had stays with its channel",
            [
                declare("q"),
                publish("", "q", "1"),
                consume("q", "c"),
                cancel("c"),
                get("q"),
                close_channel(),
                get("q"),
            ],
        ),
        scenario(
            "consumers take turns",
            [
                declare("q"),
                consume("q", "a"),
                consume("q", "b"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                publish("", "q", "3"),
            ],
        ),
        scenario(
            "consumers on two connections take turns",
            [
                declare("q"),
                consume("q", "a").by(2),
                consume("q", "b").by(3),
                publish("", "q", "1"),
                publish("", "q", "2"),
                publish("", "q", "3"),
            ],
        ),
        scenario(
            "a consumer of higher priority comes first",
            [
                declare("q"),
                qos(1),
                consume("q", "low"),
                consume("q", "high").with("x-priority", 10),
                publish("", "q", "1"),
                publish("", "q", "2"),
                publish("", "q", "3"),
                ack(1),
                ack(2),
            ],
        ),
        scenario(
            "a priority that is no number",
            [declare("q"), consume("q", "c").with("x-priority", "high")],
        ),
        scenario(
            "an exclusive consumer is alone",
            [
                declare("q"),
                consume("q", "a").exclusive(),
                consume("q", "b").on(2),
                get("q"),
            ],
        ),
        scenario(
            "an exclusive consumer comes too late",
            [
                declare("q"),
                consume("q", "a"),
                consume("q", "b").exclusive().on(2),
            ],
        ),
        scenario(
            "an exclusive consumer leaves",
            [
                declare("q"),
                consume("q", "a").exclusive(),
                cancel("a"),
                consume("q", "b"),
            ],
        ),
        scenario(
            "only one consumer is active",
            [
                declare("q").with("x-single-active-consumer", true),
                consume("q", "a"),
                consume("q", "b"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                cancel("a"),
                publish("", "q", "3"),
            ],
        ),
        scenario(
            "an active consumer at its limit is waited for",
            [
                declare("q").with("x-single-active-consumer", true),
                qos(1),
                consume("q", "a"),
                consume("q", "b"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                ack(1),
            ],
        ),
        scenario(
            "an exclusive consumer of a queue for one",
            [
                declare("q").with("x-single-active-consumer", true),
                consume("q", "a").exclusive(),
            ],
        ),
        scenario(
            "a consumer is told that its queue is gone",
            [
                declare("q"),
                consume("q", "c"),
                delete("q").by(2),
                declare("q"),
                publish("", "q", "1"),
            ],
        ),
        scenario(
            "a consumer deletes its own queue",
            [declare("q"), consume("q", "c"), delete("q")],
        ),
        scenario(
            "a consumer's tag is free when its queue is gone",
            [
                declare("q"),
                declare("r"),
                consume("q", "c"),
                delete("q").on(2),
                consume("r", "c"),
            ],
        ),
        scenario(
            "prefetch",
            steps(
                vec![declare("q"), qos(2), consume("q", "c")],
                three("q"),
                vec![ack(1), ack(2), ack(3), publish("", "q", "4")],
            ),
        ),
        scenario(
            "prefetch is of consumers that come later",
            steps(
                vec![declare("q"), consume("q", "c"), qos(1)],
                three("q"),
                vec![],
            ),
        ),
        scenario(
            "prefetch is of each consumer",
            [
                declare("q"),
                qos(1),
                consume("q", "a"),
                consume("q", "b"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                publish("", "q", "3"),
                ack(2),
            ],
        ),
        scenario(
            "prefetch of the channel",
            steps(
                vec![declare("q"), qos_global(2), consume("q", "c")],
                three("q"),
                vec![ack(1)],
            ),
        ),
        scenario(
            "prefetch of the channel is of all consumers",
            [
                declare("q"),
                declare("r"),
                qos_global(2),
                consume("q", "a"),
                consume("r", "b"),
                publish("", "q", "1"),
                publish("", "r", "2"),
                publish("", "q", "3"),
                publish("", "r", "4"),
            ],
        ),
        scenario(
            "prefetch of the channel is raised",
            steps(
                vec![declare("q"), qos_global(1), consume("q", "c")],
                three("q"),
                vec![qos_global(3)],
            ),
        ),
        scenario(
            "prefetch of both kinds",
            steps(
                vec![declare("q"), qos_global(2), qos(1), consume("q", "c")],
                three("q"),
                vec![ack(1)],
            ),
        ),
        scenario(
            "prefetch without acknowledgements",
            steps(
                vec![declare("q"), qos(1), consume("q", "c").no_ack()],
                three("q"),
                vec![],
            ),
        ),
        scenario(
            "what is fetched does not count",
            steps(
                vec![
                    declare("q"),
                    publish("", "q", "0"),
                    get("q"),
                    qos_global(1),
                    consume("q", "c"),
                ],
                three("q"),
                vec![ack(2)],
            ),
        ),
        scenario(
            "prefetch in bytes",
            [send(snowshoe::codec::method::basic::Qos {
                prefetch_size: 10,
                ..Default::default()
            })],
        ),
        scenario(
            "no local is taken and does nothing",
            [
                declare("q"),
                send(snowshoe::codec::method::basic::Consume {
                    queue: name("q"),
                    consumer_tag: name("c"),
                    no_local: true,
                    ..Default::default()
                }),
                publish("", "q", "1"),
            ],
        ),
        scenario(
            "a consumer of a quorum queue",
            [
                declare("q").durable().with("x-queue-type", "quorum"),
                qos(1),
                confirms(),
                consume("q", "c"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                ack(1),
            ],
        ),
        scenario(
            "a consumer of a quorum queue gives back",
            [
                declare("q").durable().with("x-queue-type", "quorum"),
                qos(1),
                confirms(),
                consume("q", "c"),
                publish("", "q", "1"),
                reject(1, true),
                ack(2),
            ],
        ),
    ]
}
