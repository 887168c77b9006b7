use snowshoe::codec::ChannelId;
use snowshoe::codec::method::basic;

use crate::scenarios::step::*;

/// A queue with three messages, which are delivered.
fn three() -> Vec<Step> {
    vec![
        declare("q"),
        publish("", "q", "1"),
        publish("", "q", "2"),
        publish("", "q", "3"),
        get("q"),
        get("q"),
        get("q"),
    ]
}

fn with_three(name: &'static str, steps: impl Into<Vec<Step>>) -> Scenario {
    let get_all = (0..4).map(|_| get("q").no_ack()).collect();
    scenario(name, [three(), steps.into(), get_all].concat())
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        with_three("ack", [ack(2), close_channel()]),
        with_three("ack of many", [ack_all_to(2), close_channel()]),
        with_three(
            "ack of all",
            [
                raw(
                    ChannelId(1),
                    basic::Ack {
                        delivery_tag: 0,
                        multiple: true,
                    },
                ),
                close_channel(),
            ],
        ),
        with_three(
            "ack of none that there is",
            [raw(
                ChannelId(1),
                basic::Ack {
                    delivery_tag: 0,
                    multiple: false,
                },
            )],
        ),
        with_three("ack twice", [ack(1), ack(1)]),
        with_three("ack of what is yet to come", [ack(4)]),
        with_three("ack of many up to what is yet to come", [ack_all_to(4)]),
        with_three("ack of many up to what is gone", [ack(1), ack_all_to(1)]),
        with_three(
            "ack of many up to what is gone in the middle",
            [ack(2), ack_all_to(2)],
        ),
        scenario(
            "ack of all where there is nothing",
            [
                declare("q"),
                raw(
                    ChannelId(1),
                    basic::Ack {
                        delivery_tag: 0,
                        multiple: true,
                    },
                ),
                get("q"),
            ],
        ),
        scenario(
            "ack of many where there is nothing",
            [declare("q"), ack_all_to(1)],
        ),
        with_three("ack on another channel", [declare("q").on(2), ack(1).on(2)]),
        with_three("reject and drop", [reject(2, false)]),
        with_three("reject and put back", [reject(2, true)]),
        with_three("reject twice", [reject(2, true), reject(2, true)]),
        with_three("nack one", [nack(2, false, false)]),
        with_three("nack many", [nack(2, true, false)]),
        with_three("nack and put back", [nack(2, false, true)]),
        with_three("nack many and put back", [nack(2, true, true)]),
        with_three(
            "nack all and put back",
            [raw(
                ChannelId(1),
                basic::Nack {
                    delivery_tag: 0,
                    multiple: true,
                    requeue: true,
                },
            )],
        ),
        with_three("nack of what is not there", [nack(9, false, true)]),
        with_three(
            "put back one by one, the last first",
            [reject(3, true), reject(1, true), reject(2, true)],
        ),
        with_three("recover", [recover(true)]),
        with_three(
            "recover without an answer",
            [send(basic::RecoverAsync { requeue: true })],
        ),
        with_three("recover for oneself", [recover(false)]),
        with_three("a channel is closed", [close_channel()]),
        with_three("a connection is closed", [close_connection()]),
        with_three(
            "a transport ends",
            [declare("q").by(2), hang_up(), pass(50)],
        ),
        with_three("a channel fails", [get("nothing")]),
        scenario(
            "put back to a consumer",
            [
                declare("q"),
                qos(1),
                consume("q", "c"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                reject(1, true),
                reject(2, true),
                ack(3),
            ],
        ),
        scenario(
            "put back to another consumer",
            [
                declare("q"),
                qos(1),
                consume("q", "a"),
                publish("", "q", "1"),
                qos(1).on(2),
                consume("q", "b").on(2),
                nack(1, false, true),
            ],
        ),
        scenario(
            "a consumer's channel closes and another gets it all",
            [
                declare("q"),
                consume("q", "a").on(2),
                publish("", "q", "1"),
                publish("", "q", "2"),
                consume("q", "b").on(3),
                close_channel().on(2),
            ],
        ),
        scenario(
            "put back while others wait",
            [
                declare("q"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q"),
                publish("", "q", "3"),
                reject(1, true),
                get("q"),
                get("q"),
                get("q"),
            ],
        ),
    ]
}
