use crate::scenario::step::*;

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
            "a message that expires behind one that does not",
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
    ]
}
