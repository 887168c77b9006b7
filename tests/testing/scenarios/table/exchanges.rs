use crate::scenarios::step::*;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(
            "an exchange is declared again as it was",
            [
                exchange("x", "topic").durable(),
                exchange("x", "topic").durable(),
                exchange("x", "").passive(),
            ],
        ),
        scenario(
            "a declaration without an answer",
            [
                exchange("x", "fanout").nowait(),
                exchange("x", "fanout").passive(),
                delete_exchange("x").nowait(),
                exchange("x", "fanout").passive(),
            ],
        ),
        scenario(
            "an exchange that is not there",
            [exchange("x", "direct").passive()],
        ),
        scenario(
            "the default exchange cannot be declared",
            [exchange("", "direct")],
        ),
        scenario(
            "the default exchange cannot be looked for",
            [exchange("", "direct").passive()],
        ),
        scenario(
            "the default exchange cannot be deleted",
            [delete_exchange("")],
        ),
        scenario(
            "an exchange with a reserved name",
            [exchange("amq.mine", "direct")],
        ),
        scenario(
            "a predeclared exchange is declared as it is",
            [
                exchange("amq.topic", "topic").durable(),
                exchange("amq.fanout", "fanout").durable(),
                exchange("amq.headers", "headers").durable(),
                exchange("amq.match", "headers").durable(),
                exchange("amq.direct", "direct").durable(),
            ],
        ),
        scenario(
            "a predeclared exchange is declared as another type",
            [exchange("amq.topic", "direct").durable()],
        ),
        scenario(
            "a predeclared exchange is deleted",
            [delete_exchange("amq.direct")],
        ),
        scenario(
            "an exchange of another type",
            [exchange("x", "topic"), exchange("x", "direct")],
        ),
        scenario("an exchange of an unknown type", [exchange("x", "magic")]),
        scenario(
            "an exchange that was not durable",
            [exchange("x", "topic"), exchange("x", "topic").durable()],
        ),
        scenario(
            "an exchange that was durable",
            [exchange("x", "topic").durable(), exchange("x", "topic")],
        ),
        scenario(
            "an exchange that was not auto-delete",
            [exchange("x", "topic"), exchange("x", "topic").auto_delete()],
        ),
        scenario(
            "an exchange that was not internal",
            [exchange("x", "topic"), exchange("x", "topic").internal()],
        ),
        scenario(
            "an exchange with another alternate",
            [
                exchange("x", "topic").with("alternate-exchange", "a"),
                exchange("x", "topic").with("alternate-exchange", "b"),
            ],
        ),
        scenario(
            "an exchange that had an alternate",
            [
                exchange("x", "topic").with("alternate-exchange", "a"),
                exchange("x", "topic"),
            ],
        ),
        scenario(
            "an exchange that had no alternate",
            [
                exchange("x", "topic"),
                exchange("x", "topic").with("alternate-exchange", "a"),
            ],
        ),
        scenario(
            "an exchange with arguments that mean nothing",
            [
                exchange("x", "topic").with("whatever", 1),
                exchange("x", "topic"),
            ],
        ),
        scenario(
            "an exchange that is not there is deleted",
            [delete_exchange("x"), delete_exchange("x").if_unused()],
        ),
        scenario(
            "an exchange in use is not deleted",
            [
                exchange("x", "direct"),
                declare("q"),
                bind("q", "x", "k"),
                delete_exchange("x").if_unused(),
            ],
        ),
        scenario(
            "an exchange that is out of use is deleted",
            [
                exchange("x", "direct"),
                declare("q"),
                bind("q", "x", "k"),
                unbind("q", "x", "k"),
                delete_exchange("x").if_unused(),
                exchange("x", "direct").passive(),
            ],
        ),
        scenario(
            "an exchange that only gets messages is not in use",
            [
                exchange("x", "direct"),
                exchange("y", "direct"),
                bind_exchange("x", "y", "k"),
                delete_exchange("x").if_unused(),
            ],
        ),
        scenario(
            "an auto-delete exchange goes with its last binding",
            [
                exchange("x", "direct").auto_delete(),
                declare("q"),
                bind("q", "x", "1"),
                bind("q", "x", "2"),
                unbind("q", "x", "1"),
                exchange("x", "direct").passive(),
                unbind("q", "x", "2"),
                exchange("x", "direct").passive(),
            ],
        ),
        scenario(
            "auto-delete exchanges go one after the other",
            [
                exchange("x", "fanout").auto_delete(),
                exchange("y", "fanout").auto_delete(),
                exchange("z", "fanout").auto_delete(),
                declare("q"),
                bind_exchange("y", "x", ""),
                bind_exchange("z", "y", ""),
                bind("q", "z", ""),
                delete("q"),
                exchange("z", "fanout").passive(),
                exchange("x", "fanout").passive(),
            ],
        ),
        scenario(
            "bindings to the default exchange",
            [declare("q"), bind("q", "", "k")],
        ),
        scenario(
            "bindings from the default exchange are not undone",
            [declare("q"), unbind("q", "", "q")],
        ),
        scenario(
            "an exchange is bound to the default exchange",
            [exchange("x", "direct"), bind_exchange("x", "", "k")],
        ),
        scenario(
            "a binding to an exchange that is not there",
            [declare("q"), bind("q", "nowhere", "k")],
        ),
        scenario(
            "a binding of a queue that is not there",
            [bind("nothing", "amq.direct", "k")],
        ),
        scenario(
            "a binding from nothing to nowhere",
            [bind("nothing", "nowhere", "k")],
        ),
        scenario(
            "a binding from an exchange that is not there",
            [exchange("x", "direct"), bind_exchange("x", "nowhere", "k")],
        ),
        scenario(
            "a binding to an exchange that is not there, from one that is",
            [exchange("x", "direct"), bind_exchange("nowhere", "x", "k")],
        ),
        scenario(
            "a binding that is not there is undone",
            [declare("q"), unbind("q", "amq.direct", "k")],
        ),
        scenario(
            "a binding of a queue that is not there is undone",
            [unbind("nothing", "amq.direct", "k")],
        ),
        scenario(
            "a binding to an exchange that is not there is undone",
            [declare("q"), unbind("q", "nowhere", "k")],
        ),
        scenario(
            "a binding between exchanges that are not there is undone",
            [unbind_exchange("nothing", "nowhere", "k")],
        ),
        scenario(
            "a binding that is made twice is one",
            [
                declare("q"),
                bind("q", "amq.direct", "k"),
                bind("q", "amq.direct", "k"),
                publish("amq.direct", "k", "m"),
                get("q"),
                unbind("q", "amq.direct", "k"),
                publish("amq.direct", "k", "m"),
                get("q"),
            ],
        ),
        scenario(
            "a binding is undone by its arguments too",
            [
                declare("q"),
                bind("q", "amq.direct", "k").with("a", 1),
                unbind("q", "amq.direct", "k"),
                publish("amq.direct", "k", "m"),
                get("q"),
                unbind("q", "amq.direct", "k").with("a", 1),
                publish("amq.direct", "k", "n"),
                get("q"),
                get("q"),
            ],
        ),
    ]
}
