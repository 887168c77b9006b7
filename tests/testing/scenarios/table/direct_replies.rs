use crate::scenarios::step::*;

const DIRECT: &str = "amq.rabbitmq.reply-to";

fn replies(tag: &str) -> Step {
    consume(DIRECT, tag).no_ack()
}

fn request(body: &str) -> Step {
    publish("", "q", body).properties(|it| it.reply_to(DIRECT).correlation_id("7"))
}

fn with(before: impl Into<Vec<Step>>, after: impl Into<Vec<Step>>) -> Vec<Step> {
    [before.into(), after.into()].concat()
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let asked = || [declare("q"), replies("c"), request("1"), get("q").by(2)];
    vec![
        scenario(
            "a direct reply",
            with(
                asked(),
                [
                    answer("2").by(2),
                    answer("3").properties(|it| it.correlation_id("7").reply_to("r")),
                    declare("q"),
                ],
            ),
        ),
        scenario(
            "a direct reply that is confirmed",
            with(
                asked(),
                [
                    confirms().by(2),
                    answer("2").by(2),
                    answer("3").by(2).mandatory(),
                ],
            ),
        ),
        scenario(
            "a direct reply to several",
            with(
                asked(),
                [
                    replies("d").on(2),
                    request("2").on(2),
                    get("q").by(2),
                    answer("3").by(2),
                    declare("q"),
                ],
            ),
        ),
        scenario(
            "a direct reply from the channel itself",
            with(asked(), [answer("2")]),
        ),
        scenario(
            "a direct reply to a channel that is gone",
            with(
                asked(),
                [
                    close_channel(),
                    pass(100),
                    confirms().by(2),
                    answer("2").by(2),
                    answer("3").by(2).mandatory(),
                ],
            ),
        ),
        scenario(
            "a direct reply to a connection that is gone",
            with(
                asked(),
                [
                    hang_up(),
                    pass(100),
                    confirms().by(2),
                    answer("2").by(2),
                    answer("3").by(2).mandatory(),
                ],
            ),
        ),
        scenario(
            "a direct reply to a consumer that was cancelled",
            with(
                asked(),
                [
                    cancel("c"),
                    confirms().by(2),
                    answer("2").by(2),
                    answer("3").by(2).mandatory(),
                    replies("d"),
                    request("4"),
                ],
            ),
        ),
        scenario(
            "an address for direct replies is declared",
            with(
                asked(),
                [
                    declare_address(true).by(2),
                    declare_address(false).by(2),
                    declare(DIRECT).passive(),
                    declare(DIRECT),
                ],
            ),
        ),
        scenario(
            "an address of a channel that is gone is declared",
            with(
                asked(),
                [
                    close_channel(),
                    pass(100),
                    declare_address(true).by(2),
                    declare_address(false).by(2),
                ],
            ),
        ),
        scenario(
            "a consumer of direct replies that acknowledges",
            [consume(DIRECT, "c")],
        ),
        scenario(
            "a second consumer of direct replies",
            [replies("c"), replies("d")],
        ),
        scenario(
            "a consumer of direct replies without a name",
            [replies(""), declare("q"), request("1"), get("q")],
        ),
        scenario(
            "a consumer of direct replies with the name of another",
            [declare("q"), consume("q", "c"), replies("c")],
        ),
        scenario(
            "a consumer with the name of that of direct replies",
            [declare("q"), replies("c"), consume("q", "c")],
        ),
        scenario(
            "a consumer of direct replies without an answer",
            [
                declare("q"),
                replies("c").nowait(),
                request("1"),
                get("q").by(2),
                answer("2").by(2),
            ],
        ),
        scenario(
            "a request without a consumer of direct replies",
            [declare("q"), request("1")],
        ),
        scenario(
            "a request that no queue takes, with a direct reply",
            [
                replies("c"),
                publish("", "nothing", "1")
                    .mandatory()
                    .properties(|it| it.reply_to(DIRECT)),
            ],
        ),
        scenario(
            "messages by get and direct replies are counted together",
            with(
                asked(),
                [
                    publish("", "q", "2"),
                    get("q").no_ack(),
                    answer("3").by(2),
                    get("q"),
                ],
            ),
        ),
    ]
}
