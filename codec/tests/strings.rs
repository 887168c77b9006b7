//! Short strings are bytes, with a text view that is fit for logs.

use std::collections::HashMap;

use snowshoe_codec::{ShortStr, ShortString, TooLong};

#[test]
fn a_short_string_holds_255_bytes_and_no_more() {
    let longest = "x".repeat(255);
    assert_eq!(ShortString::try_from(longest.as_str()).unwrap().len(), 255);
    assert_eq!(ShortStr::new(longest.as_bytes()).unwrap().len(), 255);

    let longer = "x".repeat(256);
    let error = TooLong { len: 256 };
    assert_eq!(ShortString::try_from(longer.as_str()), Err(error));
    assert_eq!(ShortString::try_from(longer.as_bytes()), Err(error));
    assert_eq!(
        ShortString::try_from(longer.clone().into_bytes()),
        Err(error)
    );
    assert_eq!(ShortString::try_from(longer.clone()), Err(error));
    assert_eq!(ShortStr::try_from(longer.as_str()), Err(error));
    assert_eq!(
        error.to_string(),
        "a short string holds at most 255 bytes, this one has 256"
    );
}

#[test]
fn what_is_not_text_is_kept_and_shown_lossily() {
    let name = ShortString::try_from(&b"caf\xe9"[..]).unwrap();
    assert_eq!(name.as_bytes(), b"caf\xe9");
    assert_eq!(name.as_str(), None);
    assert_eq!(name.to_string_lossy(), "caf\u{fffd}");
    assert_eq!(name.to_string(), "caf\u{fffd}");
    assert_eq!(format!("{name:?}"), r#""caf\xe9""#);
}

#[test]
fn text_of_a_peer_can_neither_split_nor_restyle_a_log_line() {
    let text = ShortString::try_from("a\nb\u{1b}[31m\u{202e}é\u{9b}").unwrap();
    assert_eq!(text.to_string(), r"a\nb\u{1b}[31m\u{202e}é\u{9b}");
    assert_eq!(format!("{text:?}"), r#""a\nb\u{1b}[31m\u{202e}é\u{9b}""#);
}

#[test]
fn a_map_with_owned_keys_is_asked_with_borrowed_bytes() {
    let queues = HashMap::from([(ShortString::from_static("orders"), 1)]);
    let borrowed = ShortStr::try_from("orders").unwrap();
    assert_eq!(queues.get(borrowed.as_bytes()), Some(&1));
}
