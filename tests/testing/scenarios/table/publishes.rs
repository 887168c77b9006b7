use snowshoe::codec::method::basic;

use crate::scenarios::step::*;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(
            "to an exchange that is not there",
            [publish("nowhere", "k", "m")],
        ),
        scenario(
            "to an exchange that is not there, with confirms",
            [
                confirms(),
                publish("", "nothing", "m"),
                publish("nowhere", "k", "m"),
            ],
        ),
        scenario("to nothing", [publish("", "nothing", "m")]),
        scenario(
            "mandatory, to nothing",
            [publish("", "nothing", "m").mandatory()],
        ),
        scenario(
            "mandatory, with everything",
            [publish("amq.topic", "a.b", "m")
                .mandatory()
                .properties(|properties| {
                    properties
                        .content_type("text/plain")
                        .content_encoding("none")
                        .header("h", 1)
                        .persistent()
                        .priority(3)
                        .correlation_id("c")
                        .reply_to("r")
                        .expiration("1000")
                        .message_id("i")
                        .timestamp(1)
                        .kind("t")
                        .user_id("guest")
                        .app_id("a")
                        .cluster_id("x")
                })],
        ),
        scenario(
            "mandatory, to a queue",
            [declare("q"), publish("", "q", "m").mandatory(), get("q")],
        ),
        scenario(
            "confirms",
            [
                confirms(),
                declare("q"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                publish("", "nothing", "3"),
                publish("", "nothing", "4").mandatory(),
                confirms(),
                publish("", "q", "5"),
            ],
        ),
        scenario(
            "confirms that are chosen without an answer",
            [confirms().nowait(), publish("", "nothing", "1")],
        ),
        scenario(
            "confirms of what is kept",
            [
                confirms(),
                declare("q").durable(),
                publish("", "q", "1").properties(snowshoe::PropertiesBuilder::persistent),
                get("q"),
            ],
        ),
        scenario(
            "confirms begin when they are chosen",
            [
                declare("q"),
                publish("", "q", "0"),
                confirms(),
                publish("", "q", "1"),
            ],
        ),
        scenario(
            "confirms of what is refused",
            [
                confirms(),
                declare("q")
                    .with("x-max-length", 1)
                    .with("x-overflow", "reject-publish"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q").no_ack(),
                publish("", "q", "3"),
            ],
        ),
        scenario(
            "confirms where one of two queues refuses",
            [
                confirms(),
                exchange("x", "fanout"),
                declare("q")
                    .with("x-max-length", 0)
                    .with("x-overflow", "reject-publish"),
                declare("r"),
                bind("q", "x", ""),
                bind("r", "x", ""),
                publish("x", "", "1"),
                get("q"),
                get("r"),
            ],
        ),
        scenario(
            "confirms of what is dropped at once",
            [
                confirms(),
                declare("q").with("x-max-length", 0),
                publish("", "q", "1"),
                get("q"),
            ],
        ),
        scenario(
            "confirms at a quorum queue",
            [
                confirms(),
                declare("q").durable().with("x-queue-type", "quorum"),
                publish("", "q", "1"),
                get("q"),
            ],
        ),
        scenario(
            "an empty body",
            [declare("q"), publish("", "q", ""), get("q")],
        ),
        scenario(
            "a body in many frames",
            [
                declare("q"),
                publish("", "q", &"0123456789".repeat(30_000)),
                get("q"),
            ],
        ),
        scenario(
            "somebody else's name",
            [
                declare("q"),
                publish("", "q", "m").properties(|properties| properties.user_id("bob")),
            ],
        ),
        scenario(
            "an expiration that is no number",
            [publish("", "q", "m").properties(|properties| properties.expiration("soon"))],
        ),
        scenario(
            "an expiration that is a number and more",
            [publish("", "q", "m").properties(|properties| properties.expiration("12 s"))],
        ),
        scenario(
            "an expiration that is empty",
            [publish("", "q", "m").properties(|properties| properties.expiration(""))],
        ),
        scenario(
            "a negative expiration",
            [publish("", "q", "m").properties(|properties| properties.expiration("-1"))],
        ),
        scenario(
            "an expiration beyond all bounds",
            [publish("", "q", "m").properties(|properties| properties.expiration("99999999999"))],
        ),
        scenario(
            "immediate",
            [
                declare("q"),
                raw_publish(
                    basic::Publish {
                        routing_key: name("q"),
                        immediate: true,
                        ..Default::default()
                    },
                    &[0, 0],
                    b"m",
                ),
            ],
        ),
        scenario(
            "headers that cannot be read",
            [
                declare("q"),
                raw_publish(
                    basic::Publish {
                        routing_key: name("q"),
                        ..Default::default()
                    },
                    // They hold an unknown type.
                    b"\x20\x00\x00\x00\x00\x04\x01a?x",
                    b"m",
                ),
                get("q"),
            ],
        ),
        scenario(
            "what is no text is passed on",
            [
                declare("q"),
                raw_publish(
                    basic::Publish {
                        routing_key: name("q"),
                        ..Default::default()
                    },
                    b"\x80\x00\x02\xff\xfe",
                    b"\xff",
                ),
                get("q"),
            ],
        ),
    ]
}
