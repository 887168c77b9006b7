use std::fmt;

use super::{FieldArrayRef, FieldValue, TableError, ToField, Values, append};

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
    pub(super) encoded: Vec<u8>,
}

impl FieldArray {
    /// An empty array.
    pub const fn new() -> Self {
        Self {
            encoded: Vec::new(),
        }
    }

    /// Appends a value, and gives the array back for the next.
    pub fn with(mut self, value: impl ToField) -> Result<Self, TableError> {
        self.push(value)?;
        Ok(self)
    }

    /// Appends a value.
    ///
    /// Refuses what a broker would close the connection over, and leaves the array as it was.
    pub fn push(&mut self, value: impl ToField) -> Result<&mut Self, TableError> {
        value.with_field(|value| append(&mut self.encoded, value, |_| ()))?;
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

impl<'a> From<&'a FieldArray> for FieldValue<'a> {
    fn from(array: &'a FieldArray) -> Self {
        array.as_array_ref().into()
    }
}

impl<'a> IntoIterator for &'a FieldArray {
    type Item = Result<FieldValue<'a>, TableError>;
    type IntoIter = Values<'a>;

    fn into_iter(self) -> Values<'a> {
        self.iter()
    }
}

impl fmt::Debug for FieldArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_array_ref().fmt(f)
    }
}
