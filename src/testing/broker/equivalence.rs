//! Whether a declaration says the same as the one that made what exists
//! (RabbitMQ: `rabbit_misc:assert_args_equivalence`).

use std::fmt::Display;

use snowshoe_codec::{FieldTable, FieldValue};

use super::manner::Manner;
use super::queue::type_name;
use super::refusal::Refusal;

pub(super) fn check_field<T: PartialEq + Display>(
    what: &str,
    field: &str,
    received: T,
    current: T,
) -> Result<(), Refusal> {
    if received == current {
        return Ok(());
    }
    Err(inequivalent(
        what,
        field,
        &format!("'{received}'"),
        &format!("'{current}'"),
    ))
}

pub(super) fn check_argument(
    what: &str,
    name: &str,
    received: &FieldTable,
    current: &FieldTable,
    manner: Manner,
) -> Result<(), Refusal> {
    // A queue of which nothing is said is a classic one.
    let is_said =
        |value: &FieldValue<'_>| name != "x-queue-type" || value.as_str() != Some("classic");
    // RabbitMQ 4 says it for whoever does not.
    let unsaid = (name == "x-queue-type" && manner.is_rabbit_4())
        .then_some(FieldValue::LongString(b"classic"));
    let received = received.get(name).ok().flatten().filter(is_said).or(unsaid);
    let current = current.get(name).ok().flatten().filter(is_said).or(unsaid);
    let (received, current) = match (received, current) {
        (None, None) => return Ok(()),
        (Some(received), Some(current)) if same(received, current) => return Ok(()),
        (Some(received), Some(current)) => (
            format!("'{}'", plain(received)),
            format!("'{}'", plain(current)),
        ),
        (received, current) => (with_type(received), with_type(current)),
    };
    Err(inequivalent(what, name, &received, &current))
}

/// Integers are the same whatever their size.
pub(super) fn same(one: FieldValue<'_>, other: FieldValue<'_>) -> bool {
    match (one.as_i64(), other.as_i64()) {
        (Some(one), Some(other)) => one == other,
        _ => one == other,
    }
}

fn inequivalent(what: &str, name: &str, received: &str, current: &str) -> Refusal {
    Refusal::precondition(format_args!(
        "inequivalent arg '{name}' for {what}: received {received} but current is {current}"
    ))
}

fn with_type(value: Option<FieldValue<'_>>) -> String {
    match value {
        None => "none".to_owned(),
        Some(value) => format!(
            "the value '{}' of type '{}'",
            plain(value),
            type_name(value)
        ),
    }
}

/// A value without its type.
pub(super) fn plain(value: FieldValue<'_>) -> String {
    if let Some(integer) = value.as_i64() {
        return integer.to_string();
    }
    match value {
        FieldValue::Bool(flag) => flag.to_string(),
        FieldValue::LongString(text) => String::from_utf8_lossy(text).into_owned(),
        other => format!("{other:?}"),
    }
}
