use snowshoe::PropertiesBuilder;

use crate::scenarios::step::*;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(
            "a restart leaves what is durable",
            [
                exchange("x", "fanout").durable(),
                exchange("y", "fanout"),
                declare("q").durable(),
                declare("r"),
                bind("q", "x", ""),
                bind("r", "x", ""),
                bind_exchange("y", "x", ""),
                confirms(),
                publish("", "q", "kept").properties(PropertiesBuilder::persistent),
                publish("", "q", "lost"),
                publish("", "q", "kept too").properties(PropertiesBuilder::persistent),
                restart(),
                exchange("x", "fanout").durable().passive().by(2),
                exchange("y", "fanout").passive().by(2),
                declare("r").passive().by(2),
                declare("q").passive().by(2),
                get("q").by(2),
                get("q").by(2),
                publish("x", "", "bound still").by(2),
                get("q").by(2),
            ],
        ),
        scenario(
            "a publisher is blocked, and others are not",
            [
                declare("q"),
                declare("q").passive().by(2),
                alarm(true),
                declare("q").passive(),
                publish("", "q", "late"),
                get("q").by(2),
                alarm(false),
                get("q").by(2),
            ],
        ),
    ]
}
