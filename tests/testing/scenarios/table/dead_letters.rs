use crate::scenarios::step::*;

/// A queue `q` whose letters go to the queue `dead`.
fn office() -> Vec<Step> {
    vec![
        exchange("dlx", "fanout"),
        declare("dead"),
        bind("dead", "dlx", ""),
    ]
}

fn with_letters() -> Step {
    declare("q").with("x-dead-letter-exchange", "dlx")
}

fn letters(name: &'static str, steps: impl Into<Vec<Step>>) -> Scenario {
    let read = vec![
        get("dead").no_ack(),
        get("dead").no_ack(),
        get("dead").no_ack(),
    ];
    scenario(name, [office(), steps.into(), read].concat())
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        letters(
            "a letter that is rejected",
            [
                with_letters(),
                publish("", "q", "1")
                    .properties(|properties| properties.header("mine", "h").message_id("i")),
                get("q"),
                reject(1, false),
            ],
        ),
        letters(
            "letters that are rejected together",
            [
                with_letters(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q"),
                get("q"),
                nack(2, true, false),
            ],
        ),
        letters(
            "a letter that expires in its queue",
            [
                with_letters().with("x-message-ttl", 50),
                publish("", "q", "1"),
                pass(250),
            ],
        ),
        letters(
            "a letter that expires by itself",
            [
                with_letters(),
                publish("", "q", "1").properties(|properties| properties.expiration("50")),
                pass(250),
            ],
        ),
        letters(
            "a letter without time",
            [
                with_letters().with("x-message-ttl", 0),
                publish("", "q", "1"),
            ],
        ),
        letters(
            "a letter for which there is no room",
            [
                with_letters().with("x-max-length", 1),
                publish("", "q", "1"),
                publish("", "q", "2"),
            ],
        ),
        letters(
            "a letter that is refused",
            [
                confirms(),
                with_letters()
                    .with("x-max-length", 1)
                    .with("x-overflow", "reject-publish"),
                publish("", "q", "1"),
                publish("", "q", "2"),
            ],
        ),
        letters(
            "a letter that is refused, and passed on",
            [
                confirms(),
                with_letters()
                    .with("x-max-length", 1)
                    .with("x-overflow", "reject-publish-dlx"),
                publish("", "q", "1"),
                publish("", "q", "2"),
            ],
        ),
        letters(
            "a letter with a key of its own",
            [
                with_letters().with("x-dead-letter-routing-key", "k"),
                publish("amq.direct", "x", "not routed"),
                publish("", "q", "1"),
                get("q"),
                reject(1, false),
            ],
        ),
        scenario(
            "a letter to the default exchange",
            [
                declare("dead"),
                declare("q")
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "dead"),
                publish("", "q", "1"),
                get("q"),
                reject(1, false),
                get("dead"),
            ],
        ),
        scenario(
            "a letter to an exchange that is not there",
            [
                declare("q").with("x-dead-letter-exchange", "nowhere"),
                publish("", "q", "1"),
                get("q"),
                reject(1, false),
                get("q"),
            ],
        ),
        letters(
            "a letter that dies twice",
            [
                with_letters(),
                declare("again").with("x-dead-letter-exchange", "dlx"),
                publish("", "q", "1"),
                get("q"),
                reject(1, false),
                get("dead"),
                publish("", "again", "other"),
                get("again"),
                reject(3, false),
            ],
        ),
        scenario(
            "a letter that goes round by rejects",
            [
                declare("q")
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "q"),
                publish("", "q", "1"),
                get("q"),
                reject(1, false),
                get("q"),
                reject(2, false),
                get("q"),
            ],
        ),
        scenario(
            "a letter that would go round by itself",
            [
                declare("q")
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "q")
                    .with("x-message-ttl", 30),
                publish("", "q", "1"),
                pass(200),
                get("q"),
            ],
        ),
        scenario(
            "a letter that goes on and dies there too",
            [
                declare("last"),
                declare("next")
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "last"),
                declare("q")
                    .with("x-dead-letter-exchange", "")
                    .with("x-dead-letter-routing-key", "next"),
                publish("", "q", "1"),
                get("q"),
                reject(1, false),
                get("next"),
                reject(2, false),
                get("last"),
            ],
        ),
        letters(
            "a letter that was fetched without acknowledgement",
            [with_letters(), publish("", "q", "1"), get("q").no_ack()],
        ),
        letters(
            "letters of a queue that is deleted or purged",
            [
                with_letters(),
                publish("", "q", "1"),
                purge("q"),
                publish("", "q", "2"),
                delete("q"),
            ],
        ),
        letters(
            "a letter with copies",
            [
                with_letters(),
                publish("", "q", "1").properties(|properties| {
                    let list = snowshoe::FieldArray::new()
                        .with("other")
                        .expect("it is short");
                    properties.header("CC", &list)
                }),
                get("q"),
                reject(1, false),
            ],
        ),
        letters(
            "a letter from an exchange",
            [
                with_letters(),
                bind("q", "amq.topic", "a.*"),
                publish("amq.topic", "a.b", "1"),
                get("q"),
                reject(1, false),
            ],
        ),
    ]
}
