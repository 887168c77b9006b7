use crate::{
    table::{
        FieldArray, FieldArrayRef, FieldTable, FieldTableRef, FieldValue, MAX_DEPTH, TableError,
    },
    types::TooLong,
};

/// So many tables or arrays, each the only value of the one around it, which has `head` in front.
fn nested(count: usize, head: &[u8]) -> Vec<u8> {
    let level_len = head.len() + 4;
    let levels = (0..count - 1).rev().flat_map(|levels_within| {
        let len = u32::try_from(levels_within * level_len).unwrap();
        [head, &len.to_be_bytes()].concat()
    });
    levels.collect()
}

fn nested_tables(count: usize) -> Vec<u8> {
    nested(count, b"\x01kF")
}

#[test]
fn a_table_nested_20000_deep_is_a_typed_error() {
    let encoded = nested_tables(20_000);
    let table = FieldTableRef::new(&encoded);
    assert_eq!(table.check(), Err(TableError::TooDeep));
    assert!(format!("{table:?}").len() < 2000);

    let mut level = table;
    for _ in 1..MAX_DEPTH {
        level = level
            .get("k")
            .unwrap()
            .and_then(FieldValue::as_table)
            .expect("a table");
    }
    assert_eq!(level.get("k"), Err(TableError::TooDeep));
    assert_eq!(FieldTable::new().with("k", table), Err(TableError::TooDeep));
}

#[test]
fn arrays_count_as_levels_too() {
    let deepest = nested(MAX_DEPTH.into(), b"A");
    assert_eq!(FieldArrayRef::new(&deepest).check(), Ok(()));
    let deeper = nested(20_000, b"A");
    assert_eq!(
        FieldArrayRef::new(&deeper).check(),
        Err(TableError::TooDeep)
    );
}

#[test]
fn the_deepest_table_can_be_built_and_no_deeper() {
    let mut table = FieldTable::new();
    for _ in 1..MAX_DEPTH {
        table = FieldTable::new().with("k", &table).unwrap();
    }
    assert_eq!(table.check(), Ok(()));
    assert_eq!(table.as_bytes(), nested_tables(MAX_DEPTH.into()));
    assert_eq!(
        FieldTable::new().with("k", &table),
        Err(TableError::TooDeep)
    );
}

#[test]
fn a_nested_table_can_be_put_into_another_from_any_depth() {
    let deepest = nested_tables(MAX_DEPTH.into());
    let mut level = FieldTableRef::new(&deepest);
    while let Some(FieldValue::Table(within)) = level.get("k").unwrap() {
        level = within;
    }
    let table = FieldTable::new().with("again", level).unwrap();
    assert_eq!(table.check(), Ok(()));
}

#[test]
fn order_and_duplicates_are_kept_and_the_first_is_found() {
    let table = FieldTable::new()
        .with("b", 1)
        .unwrap()
        .with("a", 2)
        .unwrap()
        .with("b", 3)
        .unwrap();
    let entries: Vec<_> = table.iter().map(|entry| entry.unwrap()).collect();
    assert_eq!(
        entries
            .iter()
            .map(|(name, _)| name.as_str().unwrap())
            .collect::<Vec<_>>(),
        ["b", "a", "b"]
    );
    assert_eq!(table.get("b"), Ok(Some(FieldValue::I32(1))));
    assert_eq!(table.get("c"), Ok(None));
}

#[test]
fn what_a_broker_would_refuse_is_refused_and_leaves_the_table_as_it_was() {
    let mut table = FieldTable::new().with("kept", true).unwrap();
    let before = table.clone();

    assert_eq!(table.insert("k", f32::NAN), Err(TableError::NotFinite));
    assert_eq!(table.insert("k", f64::INFINITY), Err(TableError::NotFinite));
    assert_eq!(
        table.insert("k".repeat(256), 1),
        Err(TableError::Name(TooLong { len: 256 }))
    );

    // A table off the wire is no better for being nested.
    let garbage = FieldTableRef::new(b"\x01k?");
    assert_eq!(
        table.insert("k", garbage),
        Err(TableError::UnknownType { letter: b'?' })
    );
    let nan = FieldArrayRef::new(b"f\x7f\xc0\0\0");
    assert_eq!(table.insert("k", nan), Err(TableError::NotFinite));
    assert_eq!(FieldArray::new().with(nan), Err(TableError::NotFinite));

    assert_eq!(table, before);
}

#[test]
fn nan_can_be_read_past() {
    let table = FieldTableRef::new(b"\x01nf\x7f\xc0\0\0\x01kV");
    assert!(matches!(table.get("n"), Ok(Some(FieldValue::F32(value))) if value.is_nan()));
    assert_eq!(table.get("k"), Ok(Some(FieldValue::Void)));
}

#[test]
fn a_malformed_entry_is_the_last_and_hides_nothing_before_it() {
    let table = FieldTableRef::new(b"\x01aV\x01b?\x01cV");
    assert_eq!(table.get("a"), Ok(Some(FieldValue::Void)));
    let unknown = TableError::UnknownType { letter: b'?' };
    assert_eq!(table.get("c"), Err(unknown));
    assert_eq!(table.iter().count(), 2);

    let array = FieldArrayRef::new(b"V?V");
    assert_eq!(
        array.iter().collect::<Vec<_>>(),
        [Ok(FieldValue::Void), Err(unknown)]
    );
}

#[test]
fn a_length_beyond_the_end_allocates_and_reads_nothing() {
    for letter in *b"SFAx" {
        let encoded = [1, b'k', letter, 0xFF, 0xFF, 0xFF, 0xFF, 0];
        assert_eq!(
            FieldTableRef::new(&encoded).get("k"),
            Err(TableError::Truncated)
        );
    }
}

#[test]
fn debug_is_escaped_and_bounded() {
    let table = FieldTable::new()
        .with("k\n", "\u{1b}[31m")
        .unwrap()
        .with("n", -2i64)
        .unwrap();
    assert_eq!(
        format!("{table:?}"),
        r#"{"k\n": "\u{1b}[31m", "n": I64(-2)}"#
    );

    let long = FieldTable::new().with("k", "x".repeat(1 << 20)).unwrap();
    let shown = format!("{long:#?}");
    assert!(shown.len() < 1100 && shown.ends_with('…'), "{shown}");
    assert_eq!(
        format!("{:?}", FieldTableRef::new(b"\x01k?")),
        r#"{"malformed": UnknownType { letter: 63 }}"#
    );
}

#[test]
fn integers_of_every_size_are_read_alike() {
    let values = [
        FieldValue::I8(5),
        FieldValue::U8(5),
        FieldValue::I16(5),
        FieldValue::U16(5),
        FieldValue::I32(5),
        FieldValue::U32(5),
        FieldValue::I64(5),
    ];
    for value in values {
        assert_eq!(value.as_i64(), Some(5));
    }
    assert_eq!(FieldValue::Timestamp(5).as_i64(), None);
}
