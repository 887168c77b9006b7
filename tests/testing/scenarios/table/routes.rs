use crate::scenarios::step::*;

/// Two queues at an exchange, by what binds them.
fn headers(matching: &str, wanted: [(&'static str, &'static str); 2]) -> Step {
    let bind = bind("q", "x", "").with("x-match", matching);
    wanted
        .into_iter()
        .fold(bind, |bind, (name, value)| bind.with(name, value))
}

fn with_headers(body: &str, headers: &[(&str, &str)]) -> Step {
    publish("x", "", body).properties(|properties| {
        headers
            .iter()
            .fold(properties, |properties, (name, value)| {
                properties.header(name, *value)
            })
    })
}

/// Takes what is in a queue.
fn drain(queue: &str, times: usize) -> Vec<Step> {
    (0..times).map(|_| get(queue).no_ack()).collect()
}

fn steps(parts: impl IntoIterator<Item = Vec<Step>>) -> Vec<Step> {
    parts.into_iter().flatten().collect()
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let all_or_any = |matching| {
        steps([
            vec![
                exchange("x", "headers"),
                declare("q"),
                headers(matching, [("a", "1"), ("x-b", "2")]),
                with_headers("both", &[("a", "1"), ("x-b", "2")]),
                with_headers("only a", &[("a", "1")]),
                with_headers("only b", &[("x-b", "2")]),
                with_headers("none", &[("c", "3")]),
                with_headers("wrong", &[("a", "2"), ("x-b", "2")]),
            ],
            drain("q", 5),
        ])
    };
    vec![
        scenario(
            "direct",
            steps([
                vec![
                    exchange("x", "direct"),
                    declare("q"),
                    bind("q", "x", "k"),
                    bind("q", "x", "l"),
                    publish("x", "k", "1"),
                    publish("x", "l", "2"),
                    publish("x", "m", "3"),
                    publish("x", "", "4"),
                ],
                drain("q", 3),
            ]),
        ),
        scenario(
            "fanout",
            steps([
                vec![
                    exchange("x", "fanout"),
                    declare("q"),
                    declare("r"),
                    bind("q", "x", "k"),
                    bind("r", "x", ""),
                    publish("x", "whatever", "1"),
                ],
                drain("q", 2),
                drain("r", 2),
            ]),
        ),
        scenario(
            "topic",
            steps([
                vec![
                    exchange("x", "topic"),
                    declare("q"),
                    declare("r"),
                    bind("q", "x", "a.*.c"),
                    bind("q", "x", "a.#"),
                    bind("r", "x", "#.c"),
                    bind("r", "x", "*"),
                    publish("x", "a.b.c", "1"),
                    publish("x", "a", "2"),
                    publish("x", "c", "3"),
                    publish("x", "", "4"),
                    publish("x", "b.c", "5"),
                    publish("x", "a..c", "6"),
                    publish("x", "b..", "7"),
                ],
                drain("q", 4),
                drain("r", 6),
            ]),
        ),
        scenario("headers, all", all_or_any("all")),
        scenario("headers, any", all_or_any("any")),
        scenario("headers, all with x", all_or_any("all-with-x")),
        scenario("headers, any with x", all_or_any("any-with-x")),
        scenario(
            "headers without a word",
            steps([
                vec![
                    exchange("x", "headers"),
                    declare("q"),
                    bind("q", "x", "").with("a", "1"),
                    with_headers("fits", &[("a", "1")]),
                    with_headers("does not", &[("a", "2")]),
                    publish("x", "", "has none"),
                ],
                drain("q", 2),
            ]),
        ),
        scenario(
            "headers that only have to be there",
            steps([
                vec![
                    exchange("x", "headers"),
                    declare("q"),
                    bind("q", "x", "").with("a", snowshoe::FieldValue::Void),
                    with_headers("fits", &[("a", "1")]),
                    with_headers("does not", &[("b", "1")]),
                ],
                drain("q", 2),
            ]),
        ),
        scenario(
            "headers of other types",
            steps([
                vec![
                    exchange("x", "headers"),
                    declare("q"),
                    bind("q", "x", "").with("a", 1),
                    publish("x", "", "i32").properties(|p| p.header("a", 1)),
                    publish("x", "", "i64").properties(|p| p.header("a", 1_i64)),
                    publish("x", "", "text").properties(|p| p.header("a", "1")),
                    publish("x", "", "bool").properties(|p| p.header("a", true)),
                ],
                drain("q", 3),
            ]),
        ),
        scenario(
            "no arguments at a headers exchange, all",
            [
                exchange("x", "headers"),
                declare("q"),
                bind("q", "x", ""),
                publish("x", "", "m"),
                get("q"),
            ],
        ),
        scenario(
            "no arguments at a headers exchange, any",
            [
                exchange("x", "headers"),
                declare("q"),
                bind("q", "x", "").with("x-match", "any"),
                publish("x", "", "m"),
                get("q"),
            ],
        ),
        scenario(
            "headers match in an unknown way",
            [
                exchange("x", "headers"),
                declare("q"),
                bind("q", "x", "").with("x-match", "some"),
            ],
        ),
        scenario(
            "headers match in a way that is no text",
            [
                exchange("x", "headers"),
                declare("q"),
                bind("q", "x", "").with("x-match", 1),
            ],
        ),
        scenario(
            "from exchange to exchange",
            steps([
                vec![
                    exchange("x", "topic"),
                    exchange("y", "fanout"),
                    declare("q"),
                    declare("r"),
                    bind_exchange("y", "x", "a.#"),
                    bind("q", "y", ""),
                    bind("r", "x", "a.b"),
                    publish("x", "a.b", "1"),
                    publish("x", "b", "2"),
                    publish("y", "b", "3"),
                    unbind_exchange("y", "x", "a.#"),
                    publish("x", "a.b", "4"),
                ],
                drain("q", 3),
                drain("r", 3),
            ]),
        ),
        scenario(
            "in a circle",
            steps([
                vec![
                    exchange("x", "fanout"),
                    exchange("y", "fanout"),
                    declare("q"),
                    bind_exchange("y", "x", ""),
                    bind_exchange("x", "y", ""),
                    bind("q", "x", ""),
                    bind("q", "y", ""),
                    publish("x", "", "1"),
                ],
                drain("q", 2),
            ]),
        ),
        scenario(
            "an internal exchange gets only what others pass on",
            steps([
                vec![
                    exchange("x", "fanout").internal(),
                    declare("q"),
                    bind("q", "x", ""),
                    bind_exchange("x", "amq.direct", "k"),
                    publish("amq.direct", "k", "passed on"),
                    publish("x", "", "refused"),
                ],
                drain("q", 2),
            ]),
        ),
        scenario(
            "an alternate exchange gets what is not routed",
            steps([
                vec![
                    exchange("a", "fanout"),
                    exchange("x", "direct").with("alternate-exchange", "a"),
                    declare("q"),
                    declare("r"),
                    bind("q", "x", "k"),
                    bind("r", "a", ""),
                    publish("x", "k", "routed"),
                    publish("x", "l", "not routed").mandatory(),
                ],
                drain("q", 2),
                drain("r", 2),
            ]),
        ),
        scenario(
            "an alternate exchange that is not there",
            [
                exchange("x", "direct").with("alternate-exchange", "nowhere"),
                publish("x", "l", "not routed").mandatory(),
            ],
        ),
        scenario(
            "alternate exchanges in a circle",
            [
                exchange("x", "direct").with("alternate-exchange", "y"),
                exchange("y", "direct").with("alternate-exchange", "x"),
                publish("x", "l", "not routed").mandatory(),
            ],
        ),
        scenario(
            "an alternate exchange at the end of a binding",
            steps([
                vec![
                    exchange("a", "fanout"),
                    exchange("y", "direct").with("alternate-exchange", "a"),
                    exchange("x", "fanout"),
                    bind_exchange("y", "x", ""),
                    declare("q"),
                    bind("q", "a", ""),
                    publish("x", "l", "m").mandatory(),
                ],
                drain("q", 2),
            ]),
        ),
        scenario(
            "copies, open and blind",
            steps([
                vec![
                    declare("q"),
                    declare("r"),
                    declare("s"),
                    publish("", "q", "m").properties(|properties| {
                        let list =
                            |name| snowshoe::FieldArray::new().with(name).expect("it is short");
                        properties
                            .header("CC", &list("r"))
                            .header("BCC", &list("s"))
                    }),
                ],
                drain("q", 2),
                drain("r", 2),
                drain("s", 2),
            ]),
        ),
        scenario(
            "a queue that is bound twice gets one",
            steps([
                vec![
                    declare("q"),
                    bind("q", "amq.topic", "a.*"),
                    bind("q", "amq.topic", "*.b"),
                    publish("amq.topic", "a.b", "1"),
                ],
                drain("q", 2),
            ]),
        ),
    ]
}
