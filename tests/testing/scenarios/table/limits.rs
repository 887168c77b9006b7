use crate::scenarios::step::*;

fn fill(queue: &str, bodies: &[&str]) -> Vec<Step> {
    let publishes = bodies.iter().map(|body| publish("", queue, body));
    let gets = (0..=bodies.len()).map(|_| get(queue).no_ack());
    publishes
        .chain([declare(queue).passive()])
        .chain(gets)
        .collect()
}

fn filled(name: &'static str, declare: Step, bodies: &[&str]) -> Scenario {
    scenario(
        name,
        [vec![confirms(), declare], fill("q", bodies)].concat(),
    )
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let short = || declare("q").with("x-max-length", 2);
    let small = || declare("q").with("x-max-length-bytes", 10);
    let five = &["1", "2", "3", "4", "5"][..];
    let sizes = &["12345", "1234", "123", "12345678", "12345678901"][..];
    vec![
        filled("a full queue drops its head", short(), five),
        filled(
            "a full queue drops its head, as it is told",
            short().with("x-overflow", "drop-head"),
            five,
        ),
        filled(
            "a full queue refuses",
            short().with("x-overflow", "reject-publish"),
            five,
        ),
        filled(
            "a full queue refuses, without letters",
            short().with("x-overflow", "reject-publish-dlx"),
            five,
        ),
        filled(
            "a queue that is full of bytes drops its head",
            small(),
            sizes,
        ),
        filled(
            "a queue that is full of bytes refuses",
            small().with("x-overflow", "reject-publish"),
            sizes,
        ),
        filled(
            "a queue for nothing",
            declare("q").with("x-max-length", 0),
            five,
        ),
        filled(
            "a queue with both limits",
            small().with("x-max-length", 2),
            &["1", "2", "3", "1234567890"],
        ),
        scenario(
            "what is delivered does not count",
            [
                confirms(),
                declare("q")
                    .with("x-max-length", 1)
                    .with("x-overflow", "reject-publish"),
                publish("", "q", "1"),
                get("q"),
                publish("", "q", "2"),
                reject(1, true),
                publish("", "q", "3"),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "what comes back to a full queue pushes out",
            [
                declare("q").with("x-max-length", 1),
                publish("", "q", "1"),
                get("q"),
                publish("", "q", "2"),
                reject(1, true),
                get("q"),
                get("q"),
            ],
        ),
        scenario(
            "a full queue with a consumer",
            [
                confirms(),
                declare("q")
                    .with("x-max-length", 1)
                    .with("x-overflow", "reject-publish"),
                qos(1),
                consume("q", "c"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                publish("", "q", "3"),
                ack(1),
                publish("", "q", "4"),
            ],
        ),
        scenario(
            "a queue for nothing, with a consumer",
            [
                confirms(),
                declare("q").with("x-max-length", 0),
                consume("q", "c"),
                publish("", "q", "1"),
            ],
        ),
        scenario(
            "a full queue with priorities",
            [
                declare("q")
                    .with("x-max-length", 2)
                    .with("x-max-priority", 5),
                publish("", "q", "low").properties(|properties| properties.priority(1)),
                publish("", "q", "high").properties(|properties| properties.priority(5)),
                publish("", "q", "middle").properties(|properties| properties.priority(3)),
                get("q"),
                get("q"),
                get("q"),
            ],
        ),
    ]
}
