use snowshoe::codec::ChannelId;
use snowshoe::codec::FrameKind;
use snowshoe::codec::method::{Arguments, access, basic, channel, queue};

use crate::scenarios::step::*;

const TEXTS: &str = "what breaks the protocol is refused by the codec, in its own words";

/// Bytes on a connection that has channel 1.
fn bytes(bytes: Vec<u8>) -> [Step; 2] {
    let step = raw(ChannelId(1), basic::RecoverOk);
    let act = Act::Raw(bytes);
    [declare("q"), Step { act, ..step }]
}

pub(crate) fn scenarios() -> Vec<Scenario> {
    let mut unknown = Vec::new();
    unknown.extend_from_slice(&[0, 60, 0, 99]);
    vec![
        scenario("a wrong password", [connect("guest", "wrong", "/")]),
        scenario("an unknown user", [connect("nobody", "guest", "/")]),
        scenario(
            "a virtual host that is not there",
            [connect("guest", "guest", "nowhere")],
        ),
        scenario(
            "the virtual host without a name",
            [connect("guest", "guest", "")],
        ),
        scenario(
            "a channel is closed and opened again",
            [
                declare("q"),
                close_channel(),
                declare("q").passive(),
                close_connection(),
                declare("q").passive(),
            ],
        ),
        scenario("flow", [send(channel::Flow { active: true })]),
        scenario(
            "flow is not stopped",
            [send(channel::Flow { active: false })],
        ),
        scenario("a ticket", [send(access::Request::default())]),
        scenario(
            "a method on a channel that is not open",
            [
                declare("q"),
                raw(
                    ChannelId(9),
                    queue::Declare {
                        queue: name("q"),
                        ..Default::default()
                    },
                ),
            ],
        )
        .differs(TEXTS),
        scenario(
            "a channel that is opened twice",
            [declare("q"), raw(ChannelId(1), channel::Open::default())],
        )
        .differs(TEXTS),
        scenario(
            "an unknown method",
            bytes(frame(FrameKind::Method, ChannelId(1), &unknown)),
        )
        .differs(TEXTS),
        scenario(
            "a body without a message",
            bytes(frame(FrameKind::Body, ChannelId(1), b"x")),
        )
        .differs(TEXTS),
        scenario(
            "a header without a message",
            bytes(frame(FrameKind::Header, ChannelId(1), &[0; 14])),
        )
        .differs(TEXTS),
        scenario(
            "a heartbeat on a channel",
            bytes(frame(FrameKind::Heartbeat, ChannelId(1), b"")),
        )
        .differs(TEXTS),
        scenario(
            "a frame that ends wrongly",
            bytes({
                let mut frame = frame(FrameKind::Body, ChannelId(1), b"x");
                frame.pop();
                frame.push(0);
                frame
            }),
        )
        .differs(TEXTS),
        scenario(
            "a method of a server",
            bytes({
                let mut payload = Vec::new();
                basic::QosOk.encode(&mut payload);
                frame(FrameKind::Method, ChannelId(1), &payload)
            }),
        )
        .differs(TEXTS),
        scenario(
            "an error on one channel leaves the others",
            [declare("q").on(2), get("nothing"), get("q").on(2)],
        ),
        scenario(
            "what comes after an error is not looked at",
            [declare("q"), ack(1), declare("q").passive().on(2)],
        ),
    ]
}
