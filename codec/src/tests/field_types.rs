//! RabbitMQ's parser as an oracle: which letters it takes, and what it makes of the edges.

use std::collections::HashMap;

use serde_json::Value;

use super::vectors::{field_type, from_hex, text};
use crate::table::{FieldTableRef, FieldValue, TableError};

fn oracle() -> String {
    // Two of the answers hold a byte that is not UTF-8.
    let bytes = include_bytes!("../../tests/vectors/field-type-oracle-rabbitmq-3.10.8.txt");
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn the_letters_are_those_that_rabbitmq_takes() {
    let oracle = oracle();
    let lines = oracle.lines().filter(|line| line.starts_with('{'));
    let accepted: HashMap<u8, Value> = lines
        .map(|line| {
            let entry: Value = serde_json::from_str(line).unwrap();
            (text(&entry["letter"]).as_bytes()[0], entry)
        })
        .collect();
    assert_eq!(accepted.len(), 18);

    for letter in 0..=u8::MAX {
        let Some(entry) = accepted.get(&letter) else {
            let encoded = [1, b'k', letter, 0, 0, 0, 0, 0, 0, 0, 0];
            assert_eq!(
                FieldTableRef::new(&encoded).get("k"),
                Err(TableError::UnknownType { letter })
            );
            continue;
        };
        let mut encoded = vec![1, b'k', letter];
        let len = entry["fixed_or_min_len"]
            .as_u64()
            .and_then(|len| usize::try_from(len).ok());
        encoded.resize(3 + len.unwrap(), 0);
        let value = FieldTableRef::new(&encoded).get("k").unwrap().unwrap();
        assert_eq!(field_type(value), entry["erl"]);

        if len != Some(0) {
            let cut_off = FieldTableRef::new(&encoded[..encoded.len() - 1]);
            assert_eq!(cut_off.get("k"), Err(TableError::Truncated));
        }
    }
}

#[test]
fn the_edges_are_read_as_rabbitmq_reads_them() {
    let oracle = oracle();
    let mut probes = 0;
    for line in oracle
        .lines()
        .filter_map(|line| line.strip_prefix("probe "))
    {
        probes += 1;
        let (probe, answer) = line.split_once(" -> ").unwrap();
        let (name, hex) = probe.rsplit_once(' ').unwrap();
        let encoded = from_hex(hex);
        let table = FieldTableRef::new(&encoded);

        if name.contains("NaN") || name.contains("Inf") {
            // LavinMQ forwards them, so they can be read. They are not sent.
            assert!(table.get("k").is_ok());
            assert_eq!(table.check(), Err(TableError::NotFinite));
        } else if answer.starts_with("{rejected") {
            assert!(table.check().is_err(), "{name}");
        } else {
            assert_eq!(table.check(), Ok(()), "{name}");
            assert_eq!(in_erlang(table), answer, "{name}");
        }
    }
    assert_eq!(probes, 25);
}

/// A table as Erlang prints what RabbitMQ's parser makes of it.
fn in_erlang(table: FieldTableRef<'_>) -> String {
    let entries = table.iter().map(|entry| {
        let (name, value) = entry.unwrap();
        format!(
            "{{{},{},{}}}",
            binary(name.as_bytes()),
            field_type(value),
            value_in_erlang(value)
        )
    });
    format!("[{}]", entries.collect::<Vec<_>>().join(","))
}

fn value_in_erlang(value: FieldValue<'_>) -> String {
    match value {
        FieldValue::Bool(value) => value.to_string(),
        FieldValue::Decimal { scale, value } => format!("{{{scale},{value}}}"),
        FieldValue::LongString(bytes) | FieldValue::ByteArray(bytes) => binary(bytes),
        FieldValue::Timestamp(seconds) => seconds.to_string(),
        FieldValue::Table(table) => in_erlang(table),
        FieldValue::Array(array) => {
            let values = array.iter().map(|value| {
                let value = value.unwrap();
                format!("{{{},{}}}", field_type(value), value_in_erlang(value))
            });
            format!("[{}]", values.collect::<Vec<_>>().join(","))
        }
        FieldValue::Void => "undefined".to_owned(),
        value => value
            .as_i64()
            .expect("no probe is a finite float")
            .to_string(),
    }
}

fn binary(bytes: &[u8]) -> String {
    match bytes {
        [] => "<<>>".to_owned(),
        bytes => format!("<<\"{}\">>", String::from_utf8_lossy(bytes)),
    }
}
