//! The vectors in `tests/vectors`, and our values in the notation that they use.

use bytes::Bytes;
use serde_json::{Value, json};

use crate::{
    reply::ReplyCode,
    table::{FieldArrayRef, FieldTable, FieldTableRef, FieldValue},
    types::{Secret, ShortString},
};

/// Frames that RabbitMQ's own codec made.
pub(crate) fn frames() -> Vec<Value> {
    let text = include_str!("../../tests/vectors/rabbitmq-3.10.8-frames.json");
    serde_json::from_str(text).expect("the vectors are JSON")
}

/// The frames of one kind: `method` or `header`.
pub(crate) fn frames_of_kind(kind: &str) -> impl Iterator<Item = Value> {
    frames()
        .into_iter()
        .filter(move |frame| frame["kind"] == kind)
}

/// Methods and constants of the specification.
pub(crate) fn specification() -> Value {
    let text = include_str!("../../tests/vectors/methods.json");
    serde_json::from_str(text).expect("the specification is JSON")
}

/// The text of a value that must be one.
pub(crate) fn text(value: &Value) -> &str {
    value.as_str().expect("a string")
}

/// The elements of a value that must be an array.
pub(crate) fn elements(value: &Value) -> &[Value] {
    value.as_array().expect("an array")
}

pub(crate) fn from_hex(hex: &str) -> Vec<u8> {
    let digits = hex
        .as_bytes()
        .chunks(2)
        .map(|pair| str::from_utf8(pair).expect("ASCII"));
    digits
        .map(|pair| u8::from_str_radix(pair, 16).expect("two hex digits"))
        .collect()
}

fn to_hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A method whose arguments can be listed as the vectors list them.
pub(crate) trait ListArguments {
    /// Name, type and value of each, as `["queue", "shortstr", "q"]`.
    fn list(&self) -> Value;
}

/// The type of an argument, which the vectors have a name for.
pub(crate) trait Listed {
    const TYPE: &'static str;

    fn value(&self) -> Value;
}

/// Name, type and value of a field of one of our structs.
pub(crate) fn list_argument<T: Listed>(field: &str, argument: &T) -> Value {
    let name = match field {
        "kind" => "type".to_owned(),
        field => field.replace('_', "-"),
    };
    json!([name, T::TYPE, argument.value()])
}

macro_rules! listed {
    ($($Type:ty: $name:literal = |$value:ident| $json:expr;)*) => {
        $(impl Listed for $Type {
            const TYPE: &'static str = $name;

            fn value(&self) -> Value {
                let $value = self;
                json!($json)
            }
        })*
    };
}

listed! {
    bool: "bit" = |value| value;
    u8: "octet" = |value| value;
    u16: "short" = |value| value;
    ReplyCode: "short" = |value| value.0;
    u32: "long" = |value| value;
    u64: "longlong" = |value| value;
    ShortString: "shortstr" = |value| value.as_str();
    Bytes: "longstr" = |value| str::from_utf8(value).ok();
    Secret: "longstr" = |value| str::from_utf8(value.as_bytes()).ok();
    FieldTable: "table" = |value| list_table(value.as_table_ref());
}

/// Name, type and value of each entry of a table.
pub(crate) fn list_table(table: FieldTableRef<'_>) -> Value {
    let entries = table.iter().map(|entry| {
        let (name, value) = entry.expect("a well-formed table");
        json!([name.as_str(), field_type(value), list_value(value)])
    });
    entries.collect()
}

fn list_array(array: FieldArrayRef<'_>) -> Value {
    let values = array.iter().map(|value| {
        let value = value.expect("a well-formed array");
        json!([field_type(value), list_value(value)])
    });
    values.collect()
}

fn list_value(value: FieldValue<'_>) -> Value {
    match value {
        FieldValue::Bool(value) => json!(value),
        FieldValue::I8(value) => json!(value),
        FieldValue::U8(value) => json!(value),
        FieldValue::I16(value) => json!(value),
        FieldValue::U16(value) => json!(value),
        FieldValue::I32(value) => json!(value),
        FieldValue::U32(value) => json!(value),
        FieldValue::I64(value) => json!(value),
        FieldValue::F32(value) => json!(value),
        FieldValue::F64(value) => json!(value),
        FieldValue::Decimal { scale, value } => json!([scale, value]),
        FieldValue::LongString(bytes) => json!(str::from_utf8(bytes).expect("UTF-8")),
        FieldValue::Timestamp(seconds) => json!(seconds),
        FieldValue::Table(table) => list_table(table),
        FieldValue::Array(array) => list_array(array),
        FieldValue::Void => Value::Null,
        FieldValue::ByteArray(bytes) => json!({ "hex": to_hex(bytes) }),
    }
}

/// RabbitMQ's name for the type of a value.
pub(crate) fn field_type(value: FieldValue<'_>) -> &'static str {
    match value {
        FieldValue::Bool(_) => "bool",
        FieldValue::I8(_) => "byte",
        FieldValue::U8(_) => "unsignedbyte",
        FieldValue::I16(_) => "short",
        FieldValue::U16(_) => "unsignedshort",
        FieldValue::I32(_) => "signedint",
        FieldValue::U32(_) => "unsignedint",
        FieldValue::I64(_) => "long",
        FieldValue::F32(_) => "float",
        FieldValue::F64(_) => "double",
        FieldValue::Decimal { .. } => "decimal",
        FieldValue::LongString(_) => "longstr",
        FieldValue::Timestamp(_) => "timestamp",
        FieldValue::Table(_) => "table",
        FieldValue::Array(_) => "array",
        FieldValue::Void => "void",
        FieldValue::ByteArray(_) => "binary",
    }
}
