use std::io::Read;

use snowshoe_codec::{Properties, PropertiesRef, ShortStr};

use super::{Decode, DecodeError, Encode, EncodeError};
use crate::message::Message;

/// Compresses what another codec encodes, by Zstandard, and says so in the content encoding (`zstd`).
///
/// A body that does not get smaller goes out as it is. What comes without this encoding goes to the other
/// codec as it is, so consumers can learn it before producers do.
///
/// A body that grows beyond a [size](Self::max_size) when it is decompressed is refused
/// ([`DecodeError::TooLarge`]). What decompressing takes is bounded by that, too, whatever a body announces: a few
/// times as much at worst, and the 8 MiB that every Zstandard decoder may be asked for.
///
#[cfg_attr(feature = "json", doc = "```no_run")]
#[cfg_attr(not(feature = "json"), doc = "```ignore")]
/// use snowshoe::typed::{Json, Zstd};
///
/// # async fn run(client: snowshoe::Client) -> Result<(), snowshoe::Error> {
/// let codec = Zstd::new(Json).max_size(1 << 20);
/// let readings = client.producer("readings")?.build().typed_by::<Vec<f64>>(codec);
/// readings.send(&vec![1.0; 1000]).await?;
///
/// let consumer = client.consumer("readings")?.start().await?;
/// let mut readings = consumer.typed_by::<Vec<f64>>(codec);
/// # Ok(()) }
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct Zstd<C> {
    inner: C,
    level: i32,
    max_size: Option<usize>,
}

/// As much as RabbitMQ 4 takes in a message that is not compressed.
const MAX_SIZE: usize = 16 << 20;

/// Windows of 8 MiB are what every decoder is to take (RFC 8878, section 3.1.1.1.2).
const LEAST_WINDOW_LOG: u32 = 23;

/// The name that Zstandard has as a content encoding (RFC 8878, section 7.2).
const NAME: &str = "zstd";

impl<C> Zstd<C> {
    /// Compresses what this codec encodes, at Zstandard's own level, which is 3.
    pub fn new(inner: C) -> Self {
        Self {
            inner,
            level: 0,
            max_size: None,
        }
    }

    /// How hard it tries to make bodies smaller: 1 to 22, or less than 0 to be faster still. 0 is Zstandard's own
    /// level, and others are taken for the nearest that there is.
    #[must_use]
    pub fn level(mut self, level: i32) -> Self {
        self.level = level;
        self
    }

    /// How many bytes a body may have once it is decompressed; 16 MiB by default. What is not compressed is
    /// bounded by [`max_message_size`](crate::ClientBuilder::max_message_size) instead.
    #[must_use]
    pub fn max_size(mut self, bytes: usize) -> Self {
        self.max_size = Some(bytes);
        self
    }

    fn decompress(&self, body: &[u8]) -> Result<Vec<u8>, DecodeError> {
        let limit = self.max_size.unwrap_or(MAX_SIZE);
        let window_log = usize::BITS - limit.saturating_sub(1).leading_zeros();
        let window_log = window_log.clamp(LEAST_WINDOW_LOG, MOST_WINDOW_LOG);
        let mut decoder = zstd::Decoder::with_buffer(body).map_err(DecodeError::malformed)?;
        (decoder.window_log_max(window_log)).map_err(DecodeError::malformed)?;
        let mut decompressed = Vec::new();
        // It grows with what is there, and not with what is announced.
        let one_too_many = (limit as u64).saturating_add(1);
        (decoder.take(one_too_many).read_to_end(&mut decompressed))
            .map_err(DecodeError::malformed)?;
        if decompressed.len() > limit {
            return Err(DecodeError::TooLarge { limit });
        }
        Ok(decompressed)
    }
}

/// The most that every platform takes.
const MOST_WINDOW_LOG: u32 = 30;

impl<T: ?Sized, C: Encode<T>> Encode<T> for Zstd<C> {
    fn encode(&self, value: &T) -> Result<Message, EncodeError> {
        let message = self.inner.encode(value)?;
        let compressed =
            zstd::bulk::compress(message.body(), self.level).map_err(EncodeError::new)?;
        if compressed.len() >= message.body().len() {
            return Ok(message);
        }
        let before = match message.properties().map(Properties::decode) {
            Some(properties) => properties.map_err(EncodeError::new)?.content_encoding,
            None => None,
        };
        // Several are told in the order in which they were done, as in HTTP.
        let encoding = match before.map(|it| it.as_str().unwrap_or("?").trim()) {
            None | Some("" | "identity") => NAME.to_owned(),
            Some(before) => format!("{before}, {NAME}"),
        };
        Ok(message.with_body(compressed).content_encoding(encoding))
    }
}

impl<T, C: Decode<T>> Decode<T> for Zstd<C> {
    fn decode(&self, body: &[u8], properties: &PropertiesRef<'_>) -> Result<T, DecodeError> {
        let encoding = properties.content_encoding.and_then(ShortStr::as_str);
        let encodings = encoding.unwrap_or_default();
        let (before, last) = encodings.rsplit_once(',').unwrap_or(("", encodings));
        if !last.trim().eq_ignore_ascii_case(NAME) {
            return self.inner.decode(body, properties);
        }
        let body = self.decompress(body)?;
        let mut properties = *properties;
        properties.content_encoding =
            (ShortStr::try_from(before.trim()).ok()).filter(|it| !it.is_empty());
        self.inner.decode(&body, &properties)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::Message;

    /// Bytes as they are, in an encoding that it names, and reads back alone.
    #[derive(Clone, Copy, Default)]
    struct Plain(Option<&'static str>);

    impl Encode<[u8]> for Plain {
        fn encode(&self, value: &[u8]) -> Result<Message, EncodeError> {
            let message = Message::from(value).content_type("bytes");
            Ok((self.0).map_or(message.clone(), |it| message.content_encoding(it)))
        }
    }

    impl Decode<Vec<u8>> for Plain {
        fn decode(&self, body: &[u8], all: &PropertiesRef<'_>) -> Result<Vec<u8>, DecodeError> {
            match all.content_encoding {
                found if found.and_then(ShortStr::as_str) == self.0 => Ok(body.to_vec()),
                found => Err(DecodeError::ContentEncoding(
                    found.unwrap_or_default().to_owned(),
                )),
            }
        }
    }

    fn encoding(message: &Message) -> Option<String> {
        let properties = message.properties().unwrap().decode().unwrap();
        assert_eq!(properties.content_type, ShortStr::try_from("bytes").ok());
        properties.content_encoding.map(|it| it.to_string())
    }

    fn read<C: Decode<Vec<u8>>>(codec: &C, message: &Message) -> Result<Vec<u8>, DecodeError> {
        let properties = message.properties().unwrap().decode().unwrap();
        codec.decode(message.body(), &properties)
    }

    fn compressed(bytes: usize) -> Message {
        let message = Zstd::new(Plain(None)).encode(&*vec![7; bytes]).unwrap();
        assert_eq!(encoding(&message).as_deref(), Some("zstd"));
        message
    }

    #[test]
    fn a_body_is_smaller_on_its_way_and_the_same_after_it() {
        let message = compressed(100_000);
        assert!(message.body().len() < 1000);
        let body = read(&Zstd::new(Plain(None)), &message).unwrap();
        assert_eq!(body, vec![7; 100_000]);
    }

    #[test]
    fn what_does_not_get_smaller_goes_out_as_it_is() {
        let codec = Zstd::new(Plain(None));
        let message = codec.encode(b"xyz".as_slice()).unwrap();
        assert_eq!(encoding(&message), None);
        assert_eq!(read(&codec, &message).unwrap(), b"xyz");
    }

    #[test]
    fn encodings_are_undone_in_turn() {
        let codec = Zstd::new(Plain(Some("rot13")));
        let message = codec.encode(&*vec![7; 1000]).unwrap();
        assert_eq!(encoding(&message).as_deref(), Some("rot13, zstd"));
        assert_eq!(read(&codec, &message).unwrap(), vec![7; 1000]);
        let twice = Zstd::new(Zstd::new(Plain(None)).level(-50));
        let message = twice.encode(&*vec![7; 1 << 20]).unwrap();
        assert_eq!(read(&twice, &message).unwrap(), vec![7; 1 << 20]);
        let other = Message::from("x").content_type("bytes");
        let other = other.content_encoding("zstd, gzip");
        let error = read(&Zstd::new(Plain(None)), &other).unwrap_err();
        assert!(matches!(error, DecodeError::ContentEncoding(_)), "{error}");
    }

    #[test]
    fn the_limit_is_exact() {
        let message = compressed(4096);
        let codec = Zstd::new(Plain(None));
        assert_eq!(read(&codec.max_size(4096), &message).unwrap().len(), 4096);
        let error = read(&codec.max_size(4095), &message).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { limit: 4095 }));
        assert!(read(&codec.max_size(0), &message).is_err());
        assert_eq!(
            read(&codec.max_size(usize::MAX), &message).unwrap().len(),
            4096
        );
    }

    #[test]
    fn a_bomb_is_refused_by_default() {
        let bomb = compressed(17 << 20);
        let error = read(&Zstd::new(Plain(None)), &bomb).unwrap_err();
        assert!(matches!(error, DecodeError::TooLarge { limit: MAX_SIZE }));
    }

    #[test]
    fn a_window_that_is_announced_is_not_made() {
        // Magic number; no single segment, no size; a window of 2 GiB; then a last, raw, empty block.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 21 << 3, 0x01, 0x00, 0x00];
        let message = compressed(1000).with_body(frame.to_vec());
        let error = read(&Zstd::new(Plain(None)), &message).unwrap_err();
        assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
        // 8 MiB are taken, and nothing is in there.
        let frame = [0x28, 0xb5, 0x2f, 0xfd, 0x00, 13 << 3, 0x01, 0x00, 0x00];
        let message = message.with_body(frame.to_vec());
        assert_eq!(
            read(&Zstd::new(Plain(None)).max_size(1), &message).unwrap(),
            b""
        );
    }

    #[test]
    fn what_is_cut_off_or_nonsense_is_an_error() {
        let whole = compressed(1000);
        for body in [
            b"nonsense".to_vec(),
            whole.body()[..whole.body().len() - 1].to_vec(),
        ] {
            let message = whole.clone().with_body(body);
            let error = read(&Zstd::new(Plain(None)), &message).unwrap_err();
            assert!(matches!(error, DecodeError::Malformed(_)), "{error}");
        }
    }
}
