use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use snowshoe_codec::{Properties, PropertiesRef, ShortStr};

use super::{Decode, DecodeError, Encode, EncodeError};
use crate::message::Message;

/// JSON, by serde: `application/json`.
///
/// It reads what says that it is that (or `text/json`, or ends in `+json`), whatever parameters follow, and
/// what does not say what it is. A content encoding is for a codec around it; that text is UTF-8 is what some
/// say there, and is none.
///
/// ```
/// use snowshoe::PropertiesRef;
/// use snowshoe::typed::{Decode, Encode, Json};
///
/// let message = Json.encode(&["one bicycle", "one tandem"])?;
/// assert_eq!(message.body(), r#"["one bicycle","one tandem"]"#);
///
/// let items: Vec<String> = Json.decode(message.body(), &PropertiesRef::default())?;
/// assert_eq!(items.len(), 2);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Json;

/// Content type alone: all messages share these, and what is made of them.
const PROPERTIES: Properties =
    Properties::from_encoded(Bytes::from_static(b"\x80\x00\x10application/json"));

impl<T: Serialize + ?Sized> Encode<T> for Json {
    fn encode(&self, value: &T) -> Result<Message, EncodeError> {
        let body = serde_json::to_vec(value).map_err(EncodeError::new)?;
        Ok(Message::new(body).with_properties(PROPERTIES))
    }
}

impl<T: DeserializeOwned> Decode<T> for Json {
    fn decode(&self, body: &[u8], properties: &PropertiesRef<'_>) -> Result<T, DecodeError> {
        if let Some(found) = properties.content_type
            && !is_json(found)
        {
            return Err(DecodeError::ContentType {
                found: found.to_owned(),
                expected: "application/json",
            });
        }
        if let Some(encoding) = properties.content_encoding
            && !is_plain(encoding)
        {
            return Err(DecodeError::ContentEncoding(encoding.to_owned()));
        }
        serde_json::from_slice(body).map_err(DecodeError::malformed)
    }
}

fn is_json(content_type: ShortStr<'_>) -> bool {
    let media_type = content_type.as_str().unwrap_or("?").split(';').next();
    let media_type = media_type.unwrap_or_default().trim().to_ascii_lowercase();
    let usual = ["", "application/json", "text/json"];
    usual.contains(&&*media_type) || media_type.ends_with("+json")
}

/// Whether there is nothing to decode before the text. Kombu, of Celery, names the character set there.
fn is_plain(encoding: ShortStr<'_>) -> bool {
    let encoding = encoding.as_str().unwrap_or("?").trim().to_ascii_lowercase();
    ["", "identity", "utf-8", "utf8", "us-ascii"].contains(&&*encoding)
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    fn text(text: &str) -> Option<ShortStr<'_>> {
        ShortStr::try_from(text).ok()
    }

    fn read(properties: PropertiesRef<'_>) -> Result<u64, DecodeError> {
        Json.decode(b"42", &properties)
    }

    #[test]
    fn a_message_says_that_it_is_json() {
        let message = Json.encode("text").unwrap();
        assert_eq!(message.body(), r#""text""#);
        let built = Properties::builder().content_type("application/json");
        assert_eq!(message.properties(), Some(&built.build().unwrap()));
    }

    #[test]
    fn what_json_has_no_form_for_is_told() {
        let no_key = HashMap::from([(vec![1], 1)]);
        let error = Json.encode(&no_key).unwrap_err().to_string();
        assert!(
            error.starts_with("the value cannot be encoded: key"),
            "{error}"
        );
    }

    #[test]
    fn json_goes_by_many_names() {
        let names = [
            "application/json",
            "Application/JSON; charset=utf-8",
            "text/json",
            "application/cloudevents+json",
            "",
        ];
        for name in names {
            let content_type = text(name);
            let properties = PropertiesRef {
                content_type,
                ..Default::default()
            };
            assert_eq!(read(properties).unwrap(), 42, "{name}");
        }
        assert_eq!(read(PropertiesRef::default()).unwrap(), 42);
    }

    #[test]
    fn another_type_is_not_read_though_it_may_look_like_it() {
        for name in ["text/plain", "application/jsonl", "json"] {
            let content_type = text(name);
            let properties = PropertiesRef {
                content_type,
                ..Default::default()
            };
            let error = read(properties).unwrap_err();
            assert!(matches!(error, DecodeError::ContentType { .. }), "{error}");
        }
    }

    #[test]
    fn what_is_encoded_once_more_is_not_read() {
        let encoded = |encoding| PropertiesRef {
            content_encoding: text(encoding),
            ..Default::default()
        };
        assert_eq!(read(encoded("UTF-8")).unwrap(), 42);
        assert_eq!(read(encoded("identity")).unwrap(), 42);
        for encoding in ["gzip", "gzip, zstd"] {
            let error = read(encoded(encoding)).unwrap_err();
            assert!(matches!(error, DecodeError::ContentEncoding(_)), "{error}");
        }
    }

    #[test]
    fn hostile_bodies_are_errors() {
        let deep = "[".repeat(1 << 20);
        for body in ["", "{", "-1", "\"x\"", "\u{feff}42", &*deep] {
            let read: Result<u64, _> = Json.decode(body.as_bytes(), &PropertiesRef::default());
            assert!(matches!(read, Err(DecodeError::Malformed(_))));
        }
        let deep: Result<serde_json::Value, _> =
            Json.decode(deep.as_bytes(), &PropertiesRef::default());
        assert!(deep.is_err());
    }
}
