use crate::scenarios::step::*;

pub(crate) fn scenarios() -> Vec<Scenario> {
    vec![
        scenario(
            "a queue is declared again as it was",
            [
                declare("q").durable(),
                publish("", "q", "m"),
                declare("q").durable(),
                declare("q").passive(),
            ],
        ),
        scenario(
            "a queue is declared without an answer",
            [declare("q").nowait(), declare("q").passive()],
        ),
        scenario("a queue that is not there", [declare("nothing").passive()]),
        scenario(
            "a name from the server",
            [declare(""), publish("", "x", "m"), get(""), delete("")],
        ),
        scenario("an empty name without a queue", [get("")]),
        scenario(
            "an empty name without a queue, to consume from",
            [consume("", "c")],
        ),
        scenario(
            "an empty name without a queue, to bind",
            [bind("", "amq.direct", "k")],
        ),
        scenario(
            "an empty name without a queue, to look for",
            [declare("").passive()],
        ),
        scenario(
            "an empty name is the queue declared last",
            [
                declare("p"),
                declare("q"),
                bind("", "amq.direct", "key"),
                bind("", "amq.direct", ""),
                publish("amq.direct", "q", "m"),
                get(""),
                get("q"),
                purge(""),
                delete(""),
                declare("q").passive(),
            ],
        ),
        scenario("a queue with a reserved name", [declare("amq.mine")]),
        scenario(
            "a queue that was not durable",
            [declare("q"), declare("q").durable()],
        ),
        scenario(
            "a queue that was not auto-delete",
            [declare("q"), declare("q").auto_delete()],
        ),
        scenario(
            "a queue that was not exclusive",
            [declare("q"), declare("q").exclusive()],
        ),
        scenario(
            "a queue that was exclusive",
            [declare("q").exclusive(), declare("q")],
        ),
        scenario(
            "an exclusive queue is for its connection alone",
            [
                declare("q").exclusive(),
                declare("q").exclusive(),
                declare("q").exclusive().by(2),
                declare("q").passive().by(2),
                get("q").by(2),
                consume("q", "c").by(2),
                bind("q", "amq.direct", "k").by(2),
                purge("q").by(2),
                delete("q").by(2),
                unbind("q", "amq.direct", "k").by(2),
                publish("", "q", "anybody may publish").by(2),
                get("q"),
            ],
        ),
        scenario(
            "an exclusive queue goes with its connection",
            [
                declare("q").exclusive(),
                declare("other").by(2),
                close_connection(),
                declare("q").passive().by(2),
            ],
        ),
        scenario(
            "an auto-delete queue goes with its last consumer",
            [
                declare("q").auto_delete(),
                consume("q", "a"),
                consume("q", "b"),
                cancel("a"),
                declare("q").passive(),
                cancel("b"),
                declare("q").passive(),
            ],
        ),
        scenario(
            "an auto-delete queue that had no consumer stays",
            [
                declare("q").auto_delete(),
                get("q"),
                close_channel(),
                declare("q").passive(),
            ],
        ),
        scenario(
            "an auto-delete queue goes with the channel of its consumer",
            [
                declare("q").auto_delete(),
                consume("q", "a").on(2),
                close_channel().on(2),
                declare("q").passive(),
            ],
        ),
        scenario(
            "another time to live",
            [
                declare("q").with("x-message-ttl", 1000),
                declare("q").with("x-message-ttl", 2000),
            ],
        ),
        scenario(
            "a time to live in another type",
            [
                declare("q").with("x-message-ttl", 1000),
                declare("q").with("x-message-ttl", 1000_i64),
            ],
        ),
        scenario(
            "a time to live that was not there",
            [declare("q"), declare("q").with("x-message-ttl", 1000)],
        ),
        scenario(
            "a time to live that is there no more",
            [declare("q").with("x-message-ttl", 1000_i64), declare("q")],
        ),
        scenario(
            "a type that was not named",
            [declare("q"), declare("q").with("x-queue-type", "classic")],
        ),
        scenario(
            "another dead letter exchange",
            [
                declare("q").with("x-dead-letter-exchange", "a"),
                declare("q").with("x-dead-letter-exchange", "b"),
            ],
        ),
        scenario(
            "a single active consumer that was not there",
            [
                declare("q"),
                declare("q").with("x-single-active-consumer", true),
            ],
        ),
        scenario(
            "a single active consumer that is none",
            [
                declare("q").with("x-single-active-consumer", true),
                declare("q").with("x-single-active-consumer", false),
            ],
        ),
        scenario(
            "arguments that mean nothing do not matter",
            [
                declare("q").with("whatever", 1),
                declare("q").with("whatever", 2),
            ],
        ),
        scenario(
            "a negative time to live",
            [declare("q").with("x-message-ttl", -1)],
        ),
        scenario(
            "a time to live as text",
            [declare("q").with("x-message-ttl", "1000")],
        ),
        scenario(
            "a time to live beyond all bounds",
            [declare("q").with("x-message-ttl", 1_i64 << 40)],
        ),
        scenario("no time to be unused", [declare("q").with("x-expires", 0)]),
        scenario(
            "a time to be unused as text",
            [declare("q").with("x-expires", "1")],
        ),
        scenario("a negative length", [declare("q").with("x-max-length", -1)]),
        scenario("a length as text", [declare("q").with("x-max-length", "5")]),
        scenario(
            "a length in bytes that is negative",
            [declare("q").with("x-max-length-bytes", -5)],
        ),
        scenario(
            "an unknown overflow",
            [declare("q").with("x-overflow", "explode")],
        ),
        scenario(
            "an overflow that is no text",
            [declare("q").with("x-overflow", 5)],
        ),
        scenario(
            "an unknown type of queue",
            [declare("q").with("x-queue-type", "magic")],
        ),
        scenario(
            "a type of queue that is no text",
            [declare("q").with("x-queue-type", 1)],
        ),
        scenario(
            "a dead letter exchange that is no text",
            [declare("q").with("x-dead-letter-exchange", 1)],
        ),
        scenario(
            "a dead letter key that is no text",
            [declare("q")
                .with("x-dead-letter-exchange", "x")
                .with("x-dead-letter-routing-key", 1)],
        ),
        scenario(
            "a dead letter key without an exchange",
            [declare("q").with("x-dead-letter-routing-key", "k")],
        ),
        scenario(
            "too many priorities",
            [declare("q").with("x-max-priority", 256)],
        ),
        scenario(
            "negative priorities",
            [declare("q").with("x-max-priority", -1)],
        ),
        scenario(
            "priorities as text",
            [declare("q").with("x-max-priority", "5")],
        ),
        scenario(
            "a single active consumer as text",
            [declare("q").with("x-single-active-consumer", "yes")],
        ),
        scenario(
            "a quorum queue is to be durable",
            [declare("q").with("x-queue-type", "quorum")],
        ),
        scenario(
            "a quorum queue is nobody's own",
            [declare("q")
                .durable()
                .exclusive()
                .with("x-queue-type", "quorum")],
        ),
        scenario(
            "a quorum queue is not auto-delete",
            [declare("q")
                .durable()
                .auto_delete()
                .with("x-queue-type", "quorum")],
        ),
        scenario(
            "a quorum queue whose type is not named again",
            [
                declare("q").durable().with("x-queue-type", "quorum"),
                declare("q").durable(),
            ],
        ),
        scenario(
            "a classic queue that is to be a quorum queue",
            [
                declare("q").durable(),
                declare("q").durable().with("x-queue-type", "quorum"),
            ],
        ),
        scenario(
            "a bound exclusive queue is unbound by another",
            [
                declare("q").exclusive(),
                bind("q", "amq.direct", "k"),
                unbind("q", "amq.direct", "k").by(2),
            ],
        ),
        scenario(
            "a stream",
            [declare("q").durable().with("x-queue-type", "stream")],
        ),
        scenario(
            "a purge",
            [
                declare("q"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                purge("q"),
                get("q"),
                purge("q").nowait(),
                purge("nothing"),
            ],
        ),
        scenario(
            "a purge leaves what was delivered",
            [
                declare("q"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                get("q"),
                purge("q"),
                reject(1, true),
                get("q"),
            ],
        ),
        scenario(
            "a delete tells what was lost",
            [
                declare("q"),
                publish("", "q", "1"),
                publish("", "q", "2"),
                delete("q"),
                delete("q"),
            ],
        ),
        scenario(
            "a delete without an answer",
            [declare("q"), delete("q").nowait(), declare("q").passive()],
        ),
        scenario(
            "a queue in use is not deleted",
            [declare("q"), consume("q", "c"), delete("q").if_unused()],
        ),
        scenario(
            "a queue that is not empty is not deleted",
            [declare("q"), publish("", "q", "1"), delete("q").if_empty()],
        ),
        scenario(
            "a queue that is empty and unused is deleted",
            [declare("q"), delete("q").if_empty().if_unused()],
        ),
        scenario(
            "a queue that was deleted leaves nothing to acknowledge",
            [
                declare("q"),
                publish("", "q", "1"),
                get("q"),
                delete("q").on(2),
                ack(1),
                declare("q"),
                get("q"),
            ],
        ),
        scenario(
            "a queue that nobody uses goes away",
            [
                declare("q").with("x-expires", 150),
                pass(400),
                declare("q").passive(),
            ],
        ),
        scenario(
            "a queue with a consumer is used",
            [
                declare("q").with("x-expires", 150),
                consume("q", "c"),
                pass(400),
                declare("q").passive(),
            ],
        ),
    ]
}
