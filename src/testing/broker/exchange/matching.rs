use snowshoe_codec::{FieldTable, FieldTableRef, FieldValue};

use crate::testing::broker::equivalence::same;

/// Whether a topic's pattern fits a routing key: words between dots, `*` for one of them, `#` for
/// any number.
pub(super) fn topic_matches(pattern: &[u8], routing_key: &[u8]) -> bool {
    let words: Vec<_> = words(routing_key).collect();
    // `reached[n]`: whether the pattern so far fits the first `n` words. Going through the pattern
    // once keeps the effort at the product of both lengths, however many `#` there are.
    let mut reached = vec![false; words.len() + 1];
    reached[0] = true;
    for part in self::words(pattern) {
        if part == b"#" {
            let first = reached.iter().position(|reached| *reached);
            let first = first.unwrap_or(reached.len());
            reached[first..].fill(true);
        } else {
            for n in (0..words.len()).rev() {
                reached[n + 1] = reached[n] && (part == b"*" || part == words[n]);
            }
            reached[0] = false;
        }
    }
    reached[words.len()]
}

/// The words between the dots. An empty key has none (RabbitMQ: `split_topic_key`).
fn words(key: &[u8]) -> impl Iterator<Item = &[u8]> {
    let all = key.split(|byte| *byte == b'.');
    all.filter(move |_| !key.is_empty())
}

/// Whether the arguments of a binding fit the headers of a message (RabbitMQ:
/// `rabbit_exchange_type_headers`).
pub(super) fn headers_match(arguments: &FieldTable, headers: FieldTableRef<'_>) -> bool {
    let manner = arguments.get("x-match").ok().flatten();
    let manner = manner.and_then(FieldValue::as_bytes).unwrap_or(b"all");
    let with_x = matches!(manner, b"all-with-x" | b"any-with-x");
    let any = matches!(manner, b"any" | b"any-with-x");
    let mut compared = arguments
        .iter()
        .map_while(Result::ok)
        .filter(|(name, _)| name.as_bytes() != b"x-match")
        .filter(|(name, _)| with_x || !name.as_bytes().starts_with(b"x-"))
        .map(|(name, wanted)| match headers.get(name) {
            Ok(Some(found)) => wanted == FieldValue::Void || same(wanted, found),
            _ => false,
        });
    if any {
        compared.any(|fits| fits)
    } else {
        compared.all(|fits| fits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_fits_word_by_word() {
        for (pattern, key, fits) in [
            ("a.b", "a.b", true),
            ("a.*", "a.b", true),
            ("a.*", "a", false),
            ("a.*", "a.b.c", false),
            ("#", "", true),
            ("#", "a.b", true),
            ("a.#", "a", true),
            ("a.#.z", "a.b.c.z", true),
            ("a.#.z", "a.z", true),
            ("a.#.z", "a.b", false),
            ("*", "", false),
            ("", "", true),
            ("#.#.#", "a", true),
            ("*.#", "", false),
            ("a..b", "a..b", true),
            ("a.*.b", "a..b", true),
        ] {
            let found = topic_matches(pattern.as_bytes(), key.as_bytes());
            assert_eq!(found, fits, "{pattern} for {key}");
        }
    }
}
