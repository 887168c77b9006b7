use serde_json::{Map, Value, json};

use super::vectors::{elements, frames_of_kind, from_hex, list_table, text};
use crate::{
    properties::{Properties, PropertiesBuilder, PropertiesError, PropertiesRef},
    table::{FieldTable, TableError},
    types::{ShortStr, TooLong},
};

/// The properties of a content header frame: after frame header, class, weight and body size.
fn encoded_properties(frame: &[u8]) -> &[u8] {
    &frame[7 + 12..frame.len() - 1]
}

/// All properties that are set, by the names of the vectors.
fn list(properties: &PropertiesRef<'_>) -> Map<String, Value> {
    let PropertiesRef {
        content_type,
        content_encoding,
        headers,
        delivery_mode,
        priority,
        correlation_id,
        reply_to,
        expiration,
        message_id,
        timestamp,
        kind,
        user_id,
        app_id,
        cluster_id,
    } = *properties;
    let text = |value: Option<ShortStr<'_>>| json!(value.map(ShortStr::to_string_lossy));
    let all = [
        ("content-type", text(content_type)),
        ("content-encoding", text(content_encoding)),
        ("headers", json!(headers.map(list_table))),
        ("delivery-mode", json!(delivery_mode)),
        ("priority", json!(priority)),
        ("correlation-id", text(correlation_id)),
        ("reply-to", text(reply_to)),
        ("expiration", text(expiration)),
        ("message-id", text(message_id)),
        ("timestamp", json!(timestamp)),
        ("type", text(kind)),
        ("user-id", text(user_id)),
        ("app-id", text(app_id)),
        ("cluster-id", text(cluster_id)),
    ];
    let set = all.into_iter().filter(|(_, value)| !value.is_null());
    set.map(|(name, value)| (name.to_owned(), value)).collect()
}

#[test]
fn properties_decode_to_what_rabbitmq_encoded_and_back_to_the_same_bytes() {
    let mut vectors = 0;
    for vector in frames_of_kind("header") {
        vectors += 1;
        let frame = from_hex(text(&vector["hex"]));
        let encoded = encoded_properties(&frame);
        let properties = PropertiesRef::decode(encoded).unwrap();

        let expected = elements(&vector["props"]).iter();
        let expected: Map<_, _> = expected
            .map(|p| (text(&p[0]).to_owned(), p[2].clone()))
            .collect();
        assert_eq!(list(&properties), expected);
        assert_eq!(properties.encode().unwrap().as_bytes(), encoded);
    }
    assert_eq!(vectors, 25);
}

#[test]
fn the_builder_encodes_what_the_struct_does() {
    let headers = FieldTable::new()
        .with("a", 1)
        .unwrap()
        .with("b", "two")
        .unwrap();
    let text = |text| ShortStr::try_from(text).ok();
    let expected = PropertiesRef {
        content_type: text("0"),
        content_encoding: text("1"),
        headers: Some(headers.as_table_ref()),
        delivery_mode: Some(2),
        priority: Some(4),
        correlation_id: text("5"),
        reply_to: text("6"),
        expiration: text("7"),
        message_id: text(""),
        timestamp: Some(9),
        kind: text("10"),
        user_id: text("11"),
        app_id: text("12"),
        cluster_id: text("13"),
    };
    // In any order, and the last value of each counts.
    let built = Properties::builder()
        .cluster_id("13")
        .app_id("12")
        .user_id("11")
        .kind("10")
        .timestamp(9)
        .message_id("")
        .expiration("7")
        .reply_to("6")
        .correlation_id("5")
        .priority(4)
        .transient()
        .header("a", 1)
        .header("b", "two")
        .content_encoding("overwritten")
        .content_encoding("1")
        .content_type("0")
        .persistent()
        .build()
        .unwrap();
    assert_eq!(built, expected.encode().unwrap());
    assert_eq!(built.decode().unwrap(), expected);
    assert_eq!(PropertiesBuilder::from(expected).build().unwrap(), built);
}

#[test]
fn properties_that_there_are_can_be_changed() {
    let before = Properties::builder().priority(1).header("attempt", 1);
    let before = before.message_id("4711").build().unwrap();
    let after = PropertiesBuilder::from(before.decode().unwrap());
    let after = after.header("attempt", 2).transient().build().unwrap();
    let expected = Properties::builder().priority(1).header("attempt", 2);
    let expected = expected.message_id("4711").transient().build().unwrap();
    assert_eq!(after, expected);
    let from_nothing = PropertiesBuilder::from(PropertiesRef::default());
    assert_eq!(from_nothing.build().unwrap(), Properties::EMPTY);
}

#[test]
fn no_properties_are_two_bytes() {
    assert_eq!(Properties::default().as_bytes(), [0, 0]);
    assert_eq!(Properties::builder().build().unwrap(), Properties::EMPTY);
    assert_eq!(
        PropertiesRef::default().encode().unwrap(),
        Properties::EMPTY
    );
    assert_eq!(
        Properties::EMPTY.decode().unwrap(),
        PropertiesRef::default()
    );
}

#[test]
fn the_first_error_of_the_builder_is_given() {
    let built = Properties::builder()
        .message_id("x".repeat(300))
        .header("nan", f32::NAN)
        .app_id("fine")
        .build();
    let source = TooLong { len: 300 };
    assert_eq!(
        built,
        Err(PropertiesError::TooLong {
            property: "message-id",
            source
        })
    );

    let built = Properties::builder().header("nan", f32::NAN).build();
    assert_eq!(built, Err(PropertiesError::Headers(TableError::NotFinite)));
}

#[test]
fn malformed_properties_are_typed_errors() {
    let cases: [(&[u8], PropertiesError); 6] = [
        (&[], PropertiesError::Truncated),
        (&[0x80], PropertiesError::Truncated),
        (&[0x80, 0, 5, b'a'], PropertiesError::Truncated),
        (&[0x20, 0, 0, 0, 0, 9, 1], PropertiesError::Truncated),
        (&[0, 0, 7], PropertiesError::TrailingBytes { count: 1 }),
        (
            &[0x80, 1, 1, b'a', 0, 0],
            PropertiesError::ReservedFlags { flags: 0x8001 },
        ),
    ];
    for (encoded, error) in cases {
        assert_eq!(PropertiesRef::decode(encoded), Err(error), "{encoded:?}");
    }
}

#[test]
fn malformed_headers_leave_the_other_properties_readable() {
    // Headers with a value of an unknown type, and a delivery mode.
    let encoded = [0x30, 0, 0, 0, 0, 3, 1, b'k', b'?', 2];
    let properties = PropertiesRef::decode(&encoded).unwrap();
    assert_eq!(properties.delivery_mode, Some(2));

    let unknown = TableError::UnknownType { letter: b'?' };
    assert_eq!(properties.headers.unwrap().get("k"), Err(unknown));
    assert_eq!(properties.encode(), Err(PropertiesError::Headers(unknown)));
}
