//! What is encoded is decoded to the same.

use proptest::{collection::vec, option, prelude::*, sample::select};

use super::vectors::{ListArguments, elements, text};
use crate::{
    encode::{put_long_str, put_short_str},
    method::Method,
    properties::{Properties, PropertiesRef},
    table::{FieldArray, FieldTable, FieldValue},
    types::ShortString,
};

/// A field value that owns what it nests.
#[derive(Clone, Debug)]
enum OwnedValue {
    Scalar(FieldValue<'static>),
    LongString(Vec<u8>),
    ByteArray(Vec<u8>),
    Table(FieldTable),
    Array(FieldArray),
}

impl OwnedValue {
    fn as_value(&self) -> FieldValue<'_> {
        match self {
            Self::Scalar(value) => *value,
            Self::LongString(bytes) => FieldValue::LongString(bytes),
            Self::ByteArray(bytes) => FieldValue::ByteArray(bytes),
            Self::Table(table) => table.into(),
            Self::Array(array) => array.into(),
        }
    }
}

fn short_string() -> impl Strategy<Value = ShortString> {
    let bytes = prop_oneof![vec(any::<u8>(), 0..20), vec(any::<u8>(), 255)];
    bytes.prop_map(|bytes| ShortString::try_from(bytes).unwrap())
}

fn scalar() -> impl Strategy<Value = FieldValue<'static>> {
    let finite_f32 = any::<f32>().prop_filter("finite", |value| value.is_finite());
    let finite_f64 = any::<f64>().prop_filter("finite", |value| value.is_finite());
    prop_oneof![
        any::<bool>().prop_map(FieldValue::Bool),
        any::<i8>().prop_map(FieldValue::I8),
        any::<u8>().prop_map(FieldValue::U8),
        any::<i16>().prop_map(FieldValue::I16),
        any::<u16>().prop_map(FieldValue::U16),
        any::<i32>().prop_map(FieldValue::I32),
        any::<u32>().prop_map(FieldValue::U32),
        any::<i64>().prop_map(FieldValue::I64),
        finite_f32.prop_map(FieldValue::F32),
        finite_f64.prop_map(FieldValue::F64),
        any::<(u8, u32)>().prop_map(|(scale, value)| FieldValue::Decimal { scale, value }),
        any::<u64>().prop_map(FieldValue::Timestamp),
        Just(FieldValue::Void),
    ]
}

fn value() -> impl Strategy<Value = OwnedValue> {
    let leaf = prop_oneof![
        3 => scalar().prop_map(OwnedValue::Scalar),
        1 => vec(any::<u8>(), 0..40).prop_map(OwnedValue::LongString),
        1 => vec(any::<u8>(), 0..40).prop_map(OwnedValue::ByteArray),
    ];
    leaf.prop_recursive(4, 24, 4, |value| {
        let table = vec((short_string(), value.clone()), 0..4);
        let array = vec(value, 0..4);
        prop_oneof![
            table.prop_map(|entries| OwnedValue::Table(to_table(&entries))),
            array.prop_map(|values| OwnedValue::Array(to_array(&values))),
        ]
    })
}

fn to_table(entries: &[(ShortString, OwnedValue)]) -> FieldTable {
    entries
        .iter()
        .fold(FieldTable::new(), |table, (name, value)| {
            table.with(name, value.as_value()).unwrap()
        })
}

fn to_array(values: &[OwnedValue]) -> FieldArray {
    values.iter().fold(FieldArray::new(), |array, value| {
        array.with(value.as_value()).unwrap()
    })
}

fn table() -> impl Strategy<Value = FieldTable> {
    vec((short_string(), value()), 0..5).prop_map(|entries| to_table(&entries))
}

/// The encoded form of an argument of a type, made without the help of the method table.
fn argument(wire_type: &str) -> BoxedStrategy<Vec<u8>> {
    let octets = |count| vec(any::<u8>(), count).boxed();
    match wire_type {
        "octet" => octets(1),
        "short" => octets(2),
        "long" => octets(4),
        "longlong" => octets(8),
        "shortstr" => short_string()
            .prop_map(|text| {
                let mut out = Vec::new();
                put_short_str(&mut out, text.as_short_str());
                out
            })
            .boxed(),
        "longstr" => vec(any::<u8>(), 0..600)
            .prop_map(|bytes| {
                let mut out = Vec::new();
                put_long_str(&mut out, &bytes);
                out
            })
            .boxed(),
        "table" => table()
            .prop_map(|table| {
                let mut out = Vec::new();
                put_long_str(&mut out, table.as_bytes());
                out
            })
            .boxed(),
        other => panic!("no argument is of type {other}"),
    }
}

/// The payload of a frame with this method and arbitrary arguments.
fn payload(method: &Method) -> BoxedStrategy<Vec<u8>> {
    let id = method.id();
    let ids = [id.class.to_be_bytes(), id.method.to_be_bytes()].concat();
    let arguments = method.list();
    let types: Vec<_> = elements(&arguments)
        .iter()
        .map(|argument| text(&argument[1]))
        .collect();
    // A run of bits is one octet, of which only the lowest are used.
    let parts: Vec<_> = types
        .chunk_by(|a, b| a == b)
        .flat_map(|run| match run[0] {
            "bit" => vec![(0..1u8 << run.len()).prop_map(|octet| vec![octet]).boxed()],
            wire_type => vec![argument(wire_type); run.len()],
        })
        .collect();
    parts
        .prop_map(move |parts| [ids.clone(), parts.concat()].concat())
        .boxed()
}

/// What the properties of a message are, by their types.
type Values = (
    Vec<Option<ShortString>>,
    Option<FieldTable>,
    Vec<Option<u8>>,
    Option<u64>,
);

fn properties() -> impl Strategy<Value = Values> {
    (
        vec(option::of(short_string()), 10),
        option::of(table()),
        vec(option::of(any::<u8>()), 2),
        option::of(any::<u64>()),
    )
}

proptest! {
    #[test]
    fn tables(entries in vec((short_string(), value()), 0..5)) {
        let table = to_table(&entries);
        prop_assert_eq!(table.check(), Ok(()));
        let read: Vec<_> = table.iter().map(|entry| entry.unwrap()).collect();
        let expected: Vec<_> =
            entries.iter().map(|(name, value)| (name.as_short_str(), value.as_value())).collect();
        prop_assert_eq!(read, expected);
    }

    #[test]
    fn methods(payload in select(Method::defaults()).prop_flat_map(|method| payload(&method))) {
        let method = Method::decode(&payload).unwrap();
        let mut out = Vec::new();
        method.encode(&mut out);
        prop_assert_eq!(out, payload);
    }

    #[test]
    fn properties_of_messages((texts, headers, octets, timestamp) in properties()) {
        let text = |index: usize| texts[index].as_ref().map(ShortString::as_short_str);
        let properties = PropertiesRef {
            content_type: text(0),
            content_encoding: text(1),
            headers: headers.as_ref().map(FieldTable::as_table_ref),
            delivery_mode: octets[0],
            priority: octets[1],
            correlation_id: text(2),
            reply_to: text(3),
            expiration: text(4),
            message_id: text(5),
            timestamp,
            kind: text(6),
            user_id: text(7),
            app_id: text(8),
            cluster_id: text(9),
        };
        let encoded: Properties = properties.encode().unwrap();
        prop_assert_eq!(encoded.decode().unwrap(), properties);
    }
}
