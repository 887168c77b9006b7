use std::{fmt, iter::FusedIterator};

use super::{FieldValue, TableError, append, check_len};
use crate::text::debug_bounded;

/// An owned field array: values without names, as a value of a [`FieldTable`](super::FieldTable).
///
/// ```
/// use snowshoe_codec::{FieldArray, FieldTable};
///
/// let hosts = FieldArray::new().with("a")?.with("b")?;
/// let headers = FieldTable::new().with("hosts", &hosts)?;
/// assert_eq!(headers.get("hosts")?.and_then(|value| value.as_array()), Some(hosts.as_array_ref()));
/// # Ok::<(), snowshoe_codec::TableError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldArray {
    /// The values as they stand on the wire, without the length in front of them.
    encoded: Vec<u8>,
}

impl FieldArray {
    /// An empty array.
    pub const fn new() -> Self {
        Self {
            encoded: Vec::new(),
        }
    }

    /// Appends a value, and gives the array back for the next.
    pub fn with<'v>(mut self, value: impl Into<FieldValue<'v>>) -> Result<Self, TableError> {
        self.push(value)?;
        Ok(self)
    }

    /// Appends a value.
    ///
    /// Refuses what a broker would close the connection over, and leaves the array as it was.
    pub fn push<'v>(&mut self, value: impl Into<FieldValue<'v>>) -> Result<&mut Self, TableError> {
        append(&mut self.encoded, value.into(), |_| ())?;
        Ok(self)
    }

    /// The borrowed twin of this array.
    pub fn as_array_ref(&self) -> FieldArrayRef<'_> {
        FieldArrayRef::new(&self.encoded)
    }

    /// All values, in order.
    pub fn iter(&self) -> Values<'_> {
        self.as_array_ref().iter()
    }

    /// The values as they stand on the wire, without the length in front of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// Whether there are no values.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }
}

/// A field array in the bytes it was received in; read as [`FieldTableRef`](super::FieldTableRef) is.
#[derive(Clone, Copy)]
pub struct FieldArrayRef<'a> {
    encoded: &'a [u8],
    /// How many tables and arrays there are around this one, itself included.
    depth: u8,
}

impl<'a> FieldArrayRef<'a> {
    /// Takes values as they stand on the wire, without the length in front of them.
    pub const fn new(encoded: &'a [u8]) -> Self {
        Self { encoded, depth: 1 }
    }

    /// Copies the array, so that it outlives the buffer it was read into.
    pub fn to_owned(self) -> FieldArray {
        FieldArray {
            encoded: self.encoded.to_vec(),
        }
    }

    /// All values, in order, up to the first malformed one.
    pub const fn iter(self) -> Values<'a> {
        Values {
            rest: self.encoded,
            depth: self.depth,
        }
    }

    /// Whether all of the array could be sent. See [`FieldTableRef::check`](super::FieldTableRef::check).
    pub fn check(self) -> Result<(), TableError> {
        check_len(self.encoded)?;
        self.iter().try_for_each(|value| value?.check())
    }

    /// The values as they stand on the wire, without the length in front of them.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.encoded
    }

    /// Whether there are no values.
    pub const fn is_empty(self) -> bool {
        self.encoded.is_empty()
    }

    pub(super) const fn at_depth(self, depth: u8) -> Self {
        Self { depth, ..self }
    }
}

/// The values of an array. The first malformed one is given as an error and is the last.
#[derive(Clone, Debug)]
pub struct Values<'a> {
    rest: &'a [u8],
    depth: u8,
}

impl<'a> Iterator for Values<'a> {
    type Item = Result<FieldValue<'a>, TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let value = FieldValue::take(&mut self.rest, self.depth);
        if value.is_err() {
            self.rest = &[];
        }
        Some(value)
    }
}

impl FusedIterator for Values<'_> {}

impl<'a> IntoIterator for FieldArrayRef<'a> {
    type Item = Result<FieldValue<'a>, TableError>;
    type IntoIter = Values<'a>;

    fn into_iter(self) -> Values<'a> {
        self.iter()
    }
}

impl<'a> IntoIterator for &'a FieldArray {
    type Item = Result<FieldValue<'a>, TableError>;
    type IntoIter = Values<'a>;

    fn into_iter(self) -> Values<'a> {
        self.iter()
    }
}

/// Compares bytes, and so the exact types of the values as well.
impl PartialEq for FieldArrayRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl Eq for FieldArrayRef<'_> {}

impl fmt::Debug for FieldArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_array_ref().fmt(f)
    }
}

impl fmt::Debug for FieldArrayRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_bounded(f, &DebugValues(*self))
    }
}

struct DebugValues<'a>(FieldArrayRef<'a>);

impl fmt::Debug for DebugValues<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut list = f.debug_list();
        for value in self.0 {
            match value {
                Ok(value) => list.entry(&value),
                Err(error) => list.entry(&error),
            };
        }
        list.finish()
    }
}
