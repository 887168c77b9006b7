use crate::scenarios::step::*;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(
            "a commit publishes",
            [
                declare("q"),
                tx_select(),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q").on(2),
                tx_commit(),
                get("q").on(2),
                get("q").on(2),
            ],
        ),
        scenario(
            "a rollback publishes nothing",
            [
                declare("q"),
                tx_select(),
                publish("", "q", "1"),
                tx_rollback(),
                tx_commit(),
                get("q"),
            ],
        ),
        scenario(
            "a commit acknowledges",
            [
                declare("q"),
                publish("", "q", "1"),
                tx_select(),
                get("q"),
                ack(1),
                tx_commit(),
                close_channel(),
                get("q"),
            ],
        ),
        scenario(
            "without a commit nothing is acknowledged",
            [
                declare("q"),
                publish("", "q", "1"),
                tx_select(),
                get("q"),
                ack(1),
                close_channel(),
                get("q"),
            ],
        ),
        scenario(
            "a rollback takes acknowledgements back",
            [
                declare("q"),
                publish("", "q", "1"),
                tx_select(),
                get("q"),
                ack(1),
                tx_rollback(),
                ack(1),
                tx_commit(),
                close_channel(),
                get("q"),
            ],
        ),
        scenario(
            "an acknowledgement in a transaction counts once",
            [
                declare("q"),
                publish("", "q", "1"),
                tx_select(),
                get("q"),
                ack(1),
                ack(1),
            ],
        ),
        scenario(
            "a commit returns what is mandatory",
            [
                tx_select(),
                publish("", "nothing", "1").mandatory(),
                tx_commit(),
            ],
        ),
        scenario(
            "a reject in a transaction",
            [
                declare("q"),
                publish("", "q", "1"),
                tx_select(),
                get("q"),
                reject(1, true),
                get("q").on(2),
                tx_commit(),
                get("q").on(2),
            ],
        ),
        scenario(
            "a publish in a transaction to nowhere",
            [tx_select(), publish("nowhere", "", "1")],
        ),
        scenario("a commit without a transaction", [tx_commit()]),
        scenario("a rollback without a transaction", [tx_rollback()]),
        scenario(
            "transactions twice",
            [tx_select(), tx_select(), tx_commit()],
        ),
        scenario("confirms after transactions", [tx_select(), confirms()]),
        scenario("transactions after confirms", [confirms(), tx_select()]),
    ]
}
