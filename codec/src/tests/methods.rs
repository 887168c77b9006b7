use serde_json::{Value, json};

use super::vectors::{ListArguments, elements, frames_of_kind, from_hex, specification, text};
use crate::{
    frame::{self, FrameKind, Limits},
    method::{
        Arguments, CALLS, Method, MethodError, MethodId, SentBy, basic, connection, exchange,
    },
    reply::ReplyCode,
};

const LIMITS: Limits = Limits {
    frame_max: u32::MAX,
    header_frame_max: u32::MAX,
};

#[test]
fn methods_decode_to_the_arguments_that_rabbitmq_encoded() {
    for vector in frames_of_kind("method") {
        let bytes = from_hex(text(&vector["hex"]));
        let frame = frame::find(&bytes, &LIMITS)
            .unwrap()
            .expect("a whole frame");
        let method = Method::decode(frame.payload).unwrap();

        assert_eq!(frame.encoded_len(), bytes.len());
        assert_eq!(frame.kind, FrameKind::Method);
        assert_eq!(json!(frame.channel.0), vector["channel"]);
        assert_eq!(method.name(), vector["name"]);
        assert_eq!(
            json!([method.id().class, method.id().method]),
            json!([vector["class"], vector["method"]])
        );
        assert_eq!(
            method.list(),
            vector["args"],
            "{} {}",
            vector["name"],
            vector["case"]
        );
    }
}

#[test]
fn methods_encode_to_the_bytes_of_rabbitmq() {
    for vector in frames_of_kind("method") {
        let bytes = from_hex(text(&vector["hex"]));
        let frame = frame::find(&bytes, &LIMITS)
            .unwrap()
            .expect("a whole frame");
        let method = Method::decode(frame.payload).unwrap();

        let mut out = Vec::new();
        frame::encode(&mut out, FrameKind::Method, frame.channel, |out| {
            method.encode(out);
        });
        assert_eq!(out, bytes, "{} {}", vector["name"], vector["case"]);
    }
}

#[test]
fn there_are_vectors_of_every_method() {
    let mut ids: Vec<_> = frames_of_kind("method")
        .map(|vector| {
            let payload = &from_hex(text(&vector["hex"]))[7..];
            MethodId::split_from(payload).unwrap().0
        })
        .collect();
    ids.dedup();
    assert_eq!(ids.len(), 66);
    ids.sort();
    assert_eq!(ids, MethodId::ALL);
}

fn specified_methods() -> Vec<(MethodId, Value)> {
    let specification = specification();
    let classes = elements(&specification["classes"]).iter();
    let methods = classes.flat_map(|class| {
        elements(&class["methods"]).iter().map(|method| {
            let id = |value: &Value| {
                value
                    .as_u64()
                    .and_then(|id| u16::try_from(id).ok())
                    .expect("an id")
            };
            (
                MethodId {
                    class: id(&class["id"]),
                    method: id(&method["id"]),
                },
                method.clone(),
            )
        })
    });
    methods.collect()
}

#[test]
fn the_table_of_methods_is_that_of_the_specification() {
    let methods = Method::defaults();
    let specified = specified_methods();
    assert_eq!(methods.len(), specified.len());
    for (method, (id, specified)) in methods.iter().zip(specified) {
        assert_eq!(method.id(), id);
        assert_eq!(id.name().unwrap(), specified["full"]);
        assert_eq!(id.has_content(), specified["content"], "{id}");
        let sent_by = match id.sent_by().unwrap() {
            SentBy::Client => "client",
            SentBy::Server => "server",
            SentBy::Both => "both",
        };
        assert_eq!(sent_by, specified["sent_by"], "{id}");
        let replies: Value = id.replies().iter().map(|id| id.name()).collect();
        assert_eq!(replies, specified["replies"], "{id}");

        let arguments: Vec<_> = elements(&method.list())
            .iter()
            .map(|a| json!([a[0], a[1]]))
            .collect();
        let expected: Vec<_> = elements(&specified["arguments"])
            .iter()
            .map(|a| json!([a["name"], a["type"]]))
            .collect();
        assert_eq!(arguments, expected, "{id}");
    }
}

#[test]
fn every_method_of_the_client_with_one_kind_of_reply_is_a_call() {
    let expected: Vec<_> = specified_methods()
        .into_iter()
        .filter(|(_, method)| {
            method["sent_by"] != "server" && elements(&method["replies"]).len() == 1
        })
        .map(|(id, method)| (id, id.replies()[0], method["nowait"] == true))
        .collect();
    assert_eq!(CALLS, expected);
}

#[test]
fn the_reply_codes_are_those_of_the_specification() {
    let specification = specification();
    let codes = elements(&specification["constants"])
        .iter()
        .filter(|constant| constant.get("class").is_some() || constant["name"] == "REPLY-SUCCESS");
    for constant in codes {
        let code = constant["value"]
            .as_u64()
            .and_then(|code| u16::try_from(code).ok())
            .unwrap();
        let name = text(&constant["name"])
            .trim_start_matches("REPLY-")
            .replace('-', "_");
        assert_eq!(ReplyCode(code).name(), Some(name.as_str()));
    }
    assert_eq!(ReplyCode(999).name(), None);
}

#[test]
fn an_unknown_method_is_named_by_its_ids() {
    let unknown = MethodId {
        class: 60,
        method: 99,
    };
    let error = Method::decode(&[0, 60, 0, 99, 1, 2, 3]).unwrap_err();
    assert_eq!(error, MethodError::Unknown(unknown));
    assert_eq!(error.to_string(), "unknown method: class 60, method 99");
    assert_eq!(
        (unknown.name(), unknown.sent_by(), unknown.replies()),
        (None, None, &[][..])
    );
}

#[test]
fn arguments_that_are_cut_off_or_too_many_are_refused() {
    for vector in frames_of_kind("method") {
        let bytes = from_hex(text(&vector["hex"]));
        let payload = &bytes[7..bytes.len() - 1];
        let (id, arguments) = MethodId::split_from(payload).unwrap();

        // Every length, but for the largest vectors, which have many that look alike.
        for len in (0..arguments.len()).step_by(1 + arguments.len() / 100) {
            assert_eq!(
                Method::decode(&payload[..4 + len]),
                Err(MethodError::Truncated(id))
            );
        }
        assert_eq!(
            Method::decode(&[payload, &[0, 0]].concat()),
            Err(MethodError::TrailingBytes {
                method: id,
                count: 2
            })
        );
    }
    assert_eq!(Method::decode(&[0, 10, 0]), Err(MethodError::MissingId));
}

#[test]
fn bits_are_packed_from_the_lowest_up() {
    let declare = exchange::Declare {
        durable: true,
        nowait: true,
        ..Default::default()
    };
    let mut out = Vec::new();
    declare.encode_arguments(&mut out);
    assert_eq!(out, [0, 0, 0, 0, 0b10010, 0, 0, 0, 0]);

    // Bits that nobody has defined are ignored.
    let nack = basic::Nack::decode_arguments(&[0, 0, 0, 0, 0, 0, 0, 1, 0b1111_1110]).unwrap();
    assert_eq!(
        nack,
        basic::Nack {
            delivery_tag: 1,
            multiple: false,
            requeue: true
        }
    );
}

#[test]
fn a_method_becomes_the_struct_it_is_and_no_other() {
    let ack = Method::from(basic::Ack {
        delivery_tag: 1,
        multiple: true,
    });
    assert_eq!(basic::Nack::try_from(ack.clone()), Err(ack.clone()));
    assert_eq!(basic::Ack::try_from(ack).unwrap().delivery_tag, 1);
}

#[test]
fn replies_are_known_by_the_call() {
    assert!(basic::GetEmpty::ID.is_reply_to(basic::Get::ID));
    assert!(basic::GetOk::ID.is_reply_to(basic::Get::ID));
    assert!(!basic::QosOk::ID.is_reply_to(basic::Get::ID));
}

#[test]
fn debug_shows_no_credentials() {
    let login = connection::StartOk {
        mechanism: "PLAIN".try_into().unwrap(),
        response: b"\0guest\0swordfish".to_vec().into(),
        ..Default::default()
    };
    let shown = format!("{:?}", Method::from(login));
    assert!(
        shown.contains("PLAIN") && !shown.contains("swordfish"),
        "{shown}"
    );
}
