//! Whatever arrives, it is a value or an error, and never a panic.

use std::sync::LazyLock;

use proptest::{collection::vec, prelude::*, sample::Index};

use super::vectors::{frames, from_hex, text};
use crate::{
    frame::{self, Limits},
    method::Method,
    properties::PropertiesRef,
    table::{FieldArrayRef, FieldTableRef, FieldValue},
    types::ShortStr,
};

static FRAMES: LazyLock<Vec<Vec<u8>>> = LazyLock::new(|| {
    frames()
        .iter()
        .map(|frame| from_hex(text(&frame["hex"])))
        .collect()
});

/// Reads `bytes` in every way there is, and shows what comes of it.
fn read_everything(bytes: &[u8]) {
    let limits = Limits {
        frame_max: 4096,
        header_frame_max: 8192,
    };
    let _ = format!("{:?}", frame::find(bytes, &limits));
    let _ = format!("{:?}", Method::decode(bytes));
    if let Ok(text) = ShortStr::new(bytes) {
        let _ = format!("{text} {text:?} {}", text.to_string_lossy());
    }
    if let Ok(properties) = PropertiesRef::decode(bytes) {
        let _ = format!("{properties:?} {:?}", properties.encode());
        properties.headers.map(walk_table);
    }
    walk_table(FieldTableRef::new(bytes));
    walk_array(FieldArrayRef::new(bytes));
}

fn walk_table(table: FieldTableRef<'_>) {
    let _ = format!("{table:?} {:?} {:?}", table.check(), table.get("k"));
    table
        .iter()
        .flatten()
        .for_each(|(_, value)| walk_value(value));
}

fn walk_array(array: FieldArrayRef<'_>) {
    let _ = format!("{array:?} {:?}", array.check());
    array.iter().flatten().for_each(walk_value);
}

fn walk_value(value: FieldValue<'_>) {
    match value {
        FieldValue::Table(table) => walk_table(table),
        FieldValue::Array(array) => walk_array(array),
        _ => {}
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in vec(any::<u8>(), 0..300)) {
        read_everything(&bytes);
    }

    #[test]
    fn damaged_frames_never_panic(
        which in any::<Index>(),
        damage in vec((any::<Index>(), any::<u8>()), 0..4),
        cut in any::<Index>(),
    ) {
        let mut bytes = which.get(&FRAMES).clone();
        for (place, octet) in damage {
            *place.get_mut(&mut bytes) = octet;
        }
        let len = bytes.len();
        // The whole frame, its payload, its properties or arguments, and a part of it.
        for part in [0..len, 7..len - 1, 11..len - 1, 19..len - 1, cut.index(len)..len] {
            bytes.get(part).map(read_everything);
        }
    }
}
