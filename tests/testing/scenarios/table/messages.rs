use crate::scenarios::step::*;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(
            "get",
            [
                declare("q"),
                get("q"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q"),
                get("q").no_ack(),
                get("q"),
                ack(1),
                declare("q").passive(),
            ],
        ),
        scenario("get from a queue that is not there", [get("nothing")]),
        scenario(
            "all properties arrive as they were sent",
            [
                declare("q"),
                publish("", "q", "m").properties(|properties| {
                    properties
                        .content_type("text/plain")
                        .content_encoding("none")
                        .header("text", "t")
                        .header("small", 1_i8)
                        .header("large", i64::MAX)
                        .header("flag", true)
                        .header("table", &table("inner", 2))
                        .persistent()
                        .priority(3)
                        .correlation_id("c")
                        .reply_to("r")
                        .message_id("i")
                        .timestamp(u64::MAX)
                        .kind("t")
                        .user_id("guest")
                        .app_id("a")
                        .cluster_id("x")
                }),
                get("q"),
            ],
        ),
        scenario(
            "a message that expires",
            [
                declare("q"),
                publish("", "q", "1").properties(|properties| properties.expiration("80")),
                publish("", "q", "2"),
                pass(300),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "a message that expires after one that does not",
            [
                declare("q"),
                publish("", "q", "1"),
                publish("", "q", "2").properties(|properties| properties.expiration("80")),
                pass(300),
                declare("q").passive(),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "a queue in which messages expire",
            [
                declare("q").with("x-message-ttl", 80),
                publish("", "q", "1"),
                publish("", "q", "2").properties(|properties| properties.expiration("10000")),
                declare("q").passive(),
                pass(300),
                declare("q").passive(),
                get("q"),
            ],
        ),
        scenario(
            "no time to live, and nobody there",
            [
                declare("q").with("x-message-ttl", 0),
                publish("", "q", "1"),
                get("q"),
            ],
        ),
        scenario(
            "no time to live, and somebody there",
            [
                declare("q").with("x-message-ttl", 0),
                consume("q", "c"),
                publish("", "q", "1"),
            ],
        ),
        scenario(
            "priorities",
            [
                declare("q").with("x-max-priority", 5),
                publish("", "q", "none"),
                publish("", "q", "low").properties(|properties| properties.priority(1)),
                publish("", "q", "high").properties(|properties| properties.priority(5)),
                publish("", "q", "above all").properties(|properties| properties.priority(9)),
                publish("", "q", "low too").properties(|properties| properties.priority(1)),
                get("q"),
                get("q"),
                get("q"),
                reject(1, true),
                get("q"),
                get("q"),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "a quorum queue counts returns",
            [
                declare("q").durable().with("x-queue-type", "quorum"),
                confirms(),
                publish("", "q", "1").properties(|properties| properties.header("mine", 1)),
                get("q"),
                reject(1, true),
                get("q"),
                nack(2, false, true),
                get("q"),
            ],
        ),
        scenario(
            "a quorum queue gives up in the end",
            [
                declare("q")
                    .durable()
                    .with("x-queue-type", "quorum")
                    .with("x-delivery-limit", 1),
                confirms(),
                publish("", "q", "1"),
                get("q"),
                reject(1, true),
                get("q"),
                reject(2, true),
                get("q"),
            ],
        ),
        scenario(
            "a quorum queue puts back, the last first",
            [
                quorum(),
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
        scenario(
            "a quorum queue with a limit puts back, the last first",
            [
                quorum().with("x-delivery-limit", 5),
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
        scenario(
            "a quorum queue puts back what a channel held",
            [
                quorum(),
                confirms(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                publish("", "q", "3"),
                get("q").on(2),
                get("q").on(2),
                close_channel().on(2),
                pass(50),
                get("q"),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "a classic queue has no delivery limit",
            [declare("q").with("x-delivery-limit", 5)],
        ),
        scenario(
            "a quorum queue drops its head",
            [
                quorum().with("x-max-length", 1),
                confirms(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "a quorum queue drops what has expired",
            [
                quorum().with("x-message-ttl", 50),
                confirms(),
                publish("", "q", "1"),
                pass(400),
                get("q"),
            ],
        ),
        scenario(
            "a quorum queue passes on what is rejected",
            [
                declare("dead"),
                quorum()
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "dead"),
                confirms(),
                publish("", "q", "1"),
                get("q"),
                reject(1, false),
                pass(100),
                get("dead"),
            ],
        ),
        scenario(
            "a quorum queue passes on what it gives up",
            [
                declare("dead"),
                quorum()
                    .with("x-delivery-limit", 1)
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
            ],
        ),
        scenario(
            "a quorum queue is purged and deleted",
            [
                quorum(),
                confirms(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                purge("q"),
                publish("", "q", "3"),
                delete("q"),
            ],
        ),
        scenario(
            "a quorum queue has no priorities",
            [quorum().with("x-max-priority", 5)],
        ),
        scenario(
            "only one consumer of a quorum queue is active",
            [
                quorum().with("x-single-active-consumer", true),
                confirms(),
                consume("q", "a"),
                consume("q", "b").on(2),
                publish("", "q", "1"),
                ack(1),
                cancel("a"),
                publish("", "q", "2"),
            ],
        ),
        scenario(
            "what a consumer of a quorum queue held comes to another",
            [
                quorum(),
                confirms(),
                consume("q", "a").on(2),
                publish("", "q", "1"),
                publish("", "q", "2"),
                consume("q", "b").on(3),
                close_channel().on(2),
            ],
        ),
        scenario(
            "a message that expires in a priority queue",
            [
                declare("q").with("x-max-priority", 5),
                publish("", "q", "1")
                    .properties(|properties| properties.priority(1).expiration("50")),
                publish("", "q", "2").properties(|properties| properties.priority(5)),
                pass(250),
                declare("q").passive(),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "a message that comes back after its time",
            [
                declare("q"),
                publish("", "q", "1").properties(|properties| properties.expiration("100")),
                get("q"),
                pass(300),
                reject(1, true),
                get("q"),
            ],
        ),
        scenario(
            "more of a body than fits into one frame, to a consumer",
            [
                declare("q"),
                consume("q", "c"),
                publish("", "q", &"x".repeat(200_000)),
                ack(1),
            ],
        ),
    ]
}

fn quorum() -> Step {
    declare("q").durable().with("x-queue-type", "quorum")
}
