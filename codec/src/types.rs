//! The strings of AMQP. They are bytes: neither brokers nor the specification promise UTF-8.

use std::{
    borrow::{Borrow, Cow},
    convert::Infallible,
    fmt,
};

use bytes::Bytes;
use thiserror::Error;

use crate::text::{Escaped, Quoted};

/// The number of a channel; 0 is the connection itself.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ChannelId(pub u16);

impl ChannelId {
    /// The number by which the connection speaks of itself.
    pub const CONNECTION: Self = Self(0);

    /// Whether it is no channel, but the connection itself.
    pub const fn is_connection(self) -> bool {
        self.0 == 0
    }

    /// The number as an index.
    pub const fn index(self) -> usize {
        self.0 as usize
    }
}

impl fmt::Display for ChannelId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// The most bytes that a short string can hold.
const MAX_LEN: usize = u8::MAX as usize;

/// An owned string of at most 255 bytes: the name of a queue, a routing key, a consumer tag.
///
/// Cloning is cheap. `Display` is safe to log: it is lossy, and escapes control characters.
///
/// ```
/// use snowshoe_codec::ShortString;
///
/// let queue = ShortString::try_from("orders")?;
/// assert_eq!(queue, "orders");
///
/// const EXCHANGE: ShortString = ShortString::from_static("amq.topic");
/// assert_eq!(EXCHANGE.as_bytes(), b"amq.topic");
///
/// assert!(ShortString::try_from("x".repeat(256)).is_err());
/// # Ok::<(), snowshoe_codec::TooLong>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortString(Bytes);

impl ShortString {
    /// The empty string.
    pub const EMPTY: Self = Self(Bytes::new());

    /// The empty string, which names the default exchange, or asks the server for a name.
    pub const fn new() -> Self {
        Self::EMPTY
    }

    /// Takes a literal without allocating.
    ///
    /// # Panics
    ///
    /// Panics when `text` is longer than 255 bytes; in a `const` that is a compile error.
    pub const fn from_static(text: &'static str) -> Self {
        assert!(
            text.len() <= MAX_LEN,
            "a short string holds at most 255 bytes"
        );
        Self(Bytes::from_static(text.as_bytes()))
    }

    /// The borrowed twin of this string.
    pub fn as_short_str(&self) -> ShortStr<'_> {
        ShortStr(&self.0)
    }

    /// The bytes as they were received or given.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The text, if it is UTF-8.
    pub fn as_str(&self) -> Option<&str> {
        self.as_short_str().as_str()
    }

    /// The text, with U+FFFD in the place of what is not UTF-8.
    pub fn to_string_lossy(&self) -> Cow<'_, str> {
        self.as_short_str().to_string_lossy()
    }

    /// How many bytes it has.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    /// Whether it has no bytes.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A borrowed string of at most 255 bytes, the twin of [`ShortString`].
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ShortStr<'a>(&'a [u8]);

impl<'a> ShortStr<'a> {
    /// Borrows `bytes`, unless they are more than 255.
    pub const fn new(bytes: &'a [u8]) -> Result<Self, TooLong> {
        if bytes.len() > MAX_LEN {
            return Err(TooLong { len: bytes.len() });
        }
        Ok(Self(bytes))
    }

    /// Copies the bytes, so that they outlive the buffer they were read into.
    pub fn to_owned(self) -> ShortString {
        ShortString(Bytes::copy_from_slice(self.0))
    }

    /// The bytes as they were received or given.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.0
    }

    /// The text, if it is UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        str::from_utf8(self.0).ok()
    }

    /// The text, with U+FFFD in the place of what is not UTF-8.
    pub fn to_string_lossy(self) -> Cow<'a, str> {
        String::from_utf8_lossy(self.0)
    }

    /// How many bytes it has.
    pub const fn len(self) -> usize {
        self.0.len()
    }

    /// Whether it has no bytes.
    pub const fn is_empty(self) -> bool {
        self.0.is_empty()
    }
}

/// A short string of more than 255 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[error("a short string holds at most 255 bytes, this one has {len}")]
pub struct TooLong {
    /// How many bytes it has.
    pub len: usize,
}

impl From<Infallible> for TooLong {
    fn from(never: Infallible) -> Self {
        match never {}
    }
}

impl TryFrom<Bytes> for ShortString {
    type Error = TooLong;

    /// Keeps `bytes` without copying them, and with them the whole of the buffer they are a part of.
    fn try_from(bytes: Bytes) -> Result<Self, TooLong> {
        ShortStr::new(&bytes)?;
        Ok(Self(bytes))
    }
}

impl TryFrom<Vec<u8>> for ShortString {
    type Error = TooLong;

    fn try_from(bytes: Vec<u8>) -> Result<Self, TooLong> {
        Bytes::from(bytes).try_into()
    }
}

impl TryFrom<String> for ShortString {
    type Error = TooLong;

    fn try_from(text: String) -> Result<Self, TooLong> {
        text.into_bytes().try_into()
    }
}

impl TryFrom<&[u8]> for ShortString {
    type Error = TooLong;

    fn try_from(bytes: &[u8]) -> Result<Self, TooLong> {
        ShortStr::new(bytes).map(ShortStr::to_owned)
    }
}

impl TryFrom<&str> for ShortString {
    type Error = TooLong;

    fn try_from(text: &str) -> Result<Self, TooLong> {
        text.as_bytes().try_into()
    }
}

impl From<ShortStr<'_>> for ShortString {
    fn from(text: ShortStr<'_>) -> Self {
        text.to_owned()
    }
}

impl<'a> TryFrom<&'a [u8]> for ShortStr<'a> {
    type Error = TooLong;

    fn try_from(bytes: &'a [u8]) -> Result<Self, TooLong> {
        Self::new(bytes)
    }
}

impl<'a> TryFrom<&'a str> for ShortStr<'a> {
    type Error = TooLong;

    fn try_from(text: &'a str) -> Result<Self, TooLong> {
        Self::new(text.as_bytes())
    }
}

impl<'a> From<&'a ShortString> for ShortStr<'a> {
    fn from(text: &'a ShortString) -> Self {
        text.as_short_str()
    }
}

impl AsRef<[u8]> for ShortString {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl AsRef<[u8]> for ShortStr<'_> {
    fn as_ref(&self) -> &[u8] {
        self.as_bytes()
    }
}

/// Lets a map with owned keys be asked with the bytes of a frame.
impl Borrow<[u8]> for ShortString {
    fn borrow(&self) -> &[u8] {
        self.as_bytes()
    }
}

impl PartialEq<str> for ShortString {
    fn eq(&self, other: &str) -> bool {
        self.as_bytes() == other.as_bytes()
    }
}

impl PartialEq<&str> for ShortString {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl PartialEq<ShortStr<'_>> for ShortString {
    fn eq(&self, other: &ShortStr<'_>) -> bool {
        self.as_short_str() == *other
    }
}

impl PartialEq<str> for ShortStr<'_> {
    fn eq(&self, other: &str) -> bool {
        self.0 == other.as_bytes()
    }
}

impl PartialEq<&str> for ShortStr<'_> {
    fn eq(&self, other: &&str) -> bool {
        *self == **other
    }
}

impl PartialEq<ShortString> for ShortStr<'_> {
    fn eq(&self, other: &ShortString) -> bool {
        *self == other.as_short_str()
    }
}

impl fmt::Display for ShortString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_short_str().fmt(f)
    }
}

impl fmt::Debug for ShortString {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.as_short_str(), f)
    }
}

impl fmt::Display for ShortStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Escaped(self.0).fmt(f)
    }
}

impl fmt::Debug for ShortStr<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Quoted(self.0).fmt(f)
    }
}

/// Credentials on their way to the server: bytes that `Debug` does not show.
#[derive(Clone, Default, PartialEq, Eq)]
pub struct Secret(Bytes);

impl Secret {
    /// The bytes themselves.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

impl<T: Into<Bytes>> From<T> for Secret {
    fn from(bytes: T) -> Self {
        Self(bytes.into())
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(…)")
    }
}
