//! Field tables and arrays: named or numbered values of many types (AMQP 0-9-1 §4.2.5.5).
//!
//! Tables stay in the form they have on the wire and are read when asked. Brokers forward the headers of a
//! message as its publisher wrote them, so one that came from outside may be anything: each read is checked,
//! nothing is allocated for it, and nesting is counted.

mod array;
mod to_field;
mod value;

use std::{fmt, iter::FusedIterator};

use thiserror::Error;

pub use self::{array::FieldArray, to_field::ToField, value::FieldValue};
use crate::{
    encode::put_short_str,
    parse::{short_str, take},
    text::debug_bounded,
    types::{ShortStr, TooLong},
};

/// How deep tables and arrays may be nested in each other, the outermost one counted.
pub const MAX_DEPTH: u8 = 32;

/// An owned field table: the arguments of a queue, the headers of a message.
///
/// It keeps the order of its entries, and all of them where a name is there twice.
///
/// ```
/// use snowshoe_codec::{FieldTable, FieldValue};
///
/// let arguments = FieldTable::new()
///     .with("x-queue-type", "quorum")?
///     .with("x-delivery-limit", 20)?;
/// assert_eq!(arguments.get("x-delivery-limit")?, Some(FieldValue::I32(20)));
///
/// assert!(FieldTable::new().with("score", f64::NAN).is_err());
/// # Ok::<(), snowshoe_codec::TableError>(())
/// ```
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct FieldTable {
    /// The entries as they stand on the wire, without the length in front of them.
    encoded: Vec<u8>,
}

impl FieldTable {
    /// An empty table.
    pub const fn new() -> Self {
        Self {
            encoded: Vec::new(),
        }
    }

    /// Appends an entry, and gives the table back for the next.
    pub fn with(mut self, name: impl AsRef<[u8]>, value: impl ToField) -> Result<Self, TableError> {
        self.insert(name, value)?;
        Ok(self)
    }

    /// Appends an entry. One that is there already under this name stays, and is the one that
    /// [`get`](Self::get) finds.
    ///
    /// Refuses what a broker would close the connection over, and leaves the table as it was.
    pub fn insert(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl ToField,
    ) -> Result<&mut Self, TableError> {
        let name = ShortStr::new(name.as_ref())?;
        value
            .with_field(|value| append(&mut self.encoded, value, |out| put_short_str(out, name)))?;
        Ok(self)
    }

    /// Puts an entry in the place of the one that is there under this name, or appends it.
    ///
    /// Refuses what a broker would close the connection over, and leaves the table as it was.
    ///
    /// ```
    /// use snowshoe_codec::{FieldTable, FieldValue};
    ///
    /// let mut table = FieldTable::new().with("a", 1)?.with("b", 2)?;
    /// table.set("a", 3)?.set("c", 4)?;
    /// assert_eq!(table, FieldTable::new().with("a", 3)?.with("b", 2)?.with("c", 4)?);
    /// # Ok::<(), snowshoe_codec::TableError>(())
    /// ```
    pub fn set(
        &mut self,
        name: impl AsRef<[u8]>,
        value: impl ToField,
    ) -> Result<&mut Self, TableError> {
        let name = name.as_ref();
        if self.get(name)?.is_none() {
            return self.insert(name, value);
        }
        *self = value.with_field(|value| self.replaced(name, Some(value)))?;
        Ok(self)
    }

    /// Takes away all entries of this name, if there are any.
    ///
    /// # Errors
    /// The table is malformed, and stays as it is.
    pub fn remove(&mut self, name: impl AsRef<[u8]>) -> Result<&mut Self, TableError> {
        *self = self.replaced(name.as_ref(), None)?;
        Ok(self)
    }

    /// The same with this value, if any, in the place of all of this name.
    fn replaced(&self, name: &[u8], mut value: Option<FieldValue<'_>>) -> Result<Self, TableError> {
        let mut replaced = Self::new();
        for entry in self {
            let (other, old) = entry?;
            if other.as_bytes() != name {
                replaced.insert(other.as_bytes(), old)?;
            } else if let Some(value) = value.take() {
                replaced.insert(name, value)?;
            }
        }
        Ok(replaced)
    }

    /// The borrowed twin of this table.
    pub fn as_table_ref(&self) -> FieldTableRef<'_> {
        FieldTableRef::new(&self.encoded)
    }

    /// The first value under `name`.
    pub fn get(&self, name: impl AsRef<[u8]>) -> Result<Option<FieldValue<'_>>, TableError> {
        self.as_table_ref().get(name)
    }

    /// All entries, in order.
    pub fn iter(&self) -> Entries<'_> {
        self.as_table_ref().iter()
    }

    /// Whether all of the table could be sent. See [`FieldTableRef::check`].
    pub fn check(&self) -> Result<(), TableError> {
        self.as_table_ref().check()
    }

    /// The entries as they stand on the wire, without the length in front of them.
    pub fn as_bytes(&self) -> &[u8] {
        &self.encoded
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.encoded.is_empty()
    }
}

impl<'a> From<&'a FieldTable> for FieldValue<'a> {
    fn from(table: &'a FieldTable) -> Self {
        table.as_table_ref().into()
    }
}

impl<'a> IntoIterator for &'a FieldTable {
    type Item = Result<(ShortStr<'a>, FieldValue<'a>), TableError>;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

impl fmt::Debug for FieldTable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.as_table_ref().fmt(f)
    }
}

/// A field table in the bytes it was received in.
///
/// Nothing is checked before it is read: a malformed entry is an error of the read that meets it.
#[derive(Clone, Copy)]
pub struct FieldTableRef<'a> {
    encoded: &'a [u8],
    /// How many tables and arrays there are around this one, itself included.
    depth: u8,
}

impl<'a> FieldTableRef<'a> {
    /// Takes entries as they stand on the wire, without the length in front of them.
    pub const fn new(encoded: &'a [u8]) -> Self {
        Self { encoded, depth: 1 }
    }

    /// Copies the table, so that it outlives the buffer it was read into.
    pub fn to_owned(self) -> FieldTable {
        FieldTable {
            encoded: self.encoded.to_vec(),
        }
    }

    /// The first value under `name`. Entries after it are not looked at.
    pub fn get(self, name: impl AsRef<[u8]>) -> Result<Option<FieldValue<'a>>, TableError> {
        for entry in self {
            let (found, value) = entry?;
            if found.as_bytes() == name.as_ref() {
                return Ok(Some(value));
            }
        }
        Ok(None)
    }

    /// All entries, in order, up to the first malformed one.
    pub const fn iter(self) -> Entries<'a> {
        Entries {
            rest: self.encoded,
            depth: self.depth,
        }
    }

    /// Whether all of the table could be sent: well-formed to the last entry of the innermost table,
    /// nested no deeper than [`MAX_DEPTH`], all numbers finite.
    pub fn check(self) -> Result<(), TableError> {
        check_len(self.encoded)?;
        self.iter().try_for_each(|entry| entry?.1.check())
    }

    /// The entries as they stand on the wire, without the length in front of them.
    pub const fn as_bytes(self) -> &'a [u8] {
        self.encoded
    }

    /// Whether there are no entries.
    pub const fn is_empty(self) -> bool {
        self.encoded.is_empty()
    }

    const fn at_depth(self, depth: u8) -> Self {
        Self { depth, ..self }
    }
}

impl<'a> IntoIterator for FieldTableRef<'a> {
    type Item = Result<(ShortStr<'a>, FieldValue<'a>), TableError>;
    type IntoIter = Entries<'a>;

    fn into_iter(self) -> Entries<'a> {
        self.iter()
    }
}

/// Compares bytes, and so the order of the entries and their exact types as well.
impl PartialEq for FieldTableRef<'_> {
    fn eq(&self, other: &Self) -> bool {
        self.encoded == other.encoded
    }
}

impl Eq for FieldTableRef<'_> {}

impl fmt::Debug for FieldTableRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_bounded(f, &DebugEntries(*self))
    }
}

/// The entries of a table. The first malformed one is given as an error and is the last.
#[derive(Clone, Debug)]
pub struct Entries<'a> {
    rest: &'a [u8],
    depth: u8,
}

impl<'a> Entries<'a> {
    fn entry(&mut self) -> Result<(ShortStr<'a>, FieldValue<'a>), TableError> {
        let name = take(&mut self.rest, short_str).ok_or(TableError::Truncated)?;
        let value = FieldValue::take(&mut self.rest, self.depth)?;
        Ok((name, value))
    }
}

impl<'a> Iterator for Entries<'a> {
    type Item = Result<(ShortStr<'a>, FieldValue<'a>), TableError>;

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        let entry = self.entry();
        if entry.is_err() {
            self.rest = &[];
        }
        Some(entry)
    }
}

impl FusedIterator for Entries<'_> {}

/// A field array in the bytes it was received in; read as [`FieldTableRef`] is.
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

    /// Whether all of the array could be sent. See [`FieldTableRef::check`].
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

    const fn at_depth(self, depth: u8) -> Self {
        Self { depth, ..self }
    }
}

impl<'a> IntoIterator for FieldArrayRef<'a> {
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

impl fmt::Debug for FieldArrayRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        debug_bounded(f, &DebugValues(*self))
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

/// A field table or array that cannot be read, or must not be sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Error)]
#[non_exhaustive]
pub enum TableError {
    /// An entry goes beyond the end of its table.
    #[error("an entry goes beyond the end of its field table")]
    Truncated,
    /// No type of value has this letter.
    #[error("unknown type of value {:?} in a field table", char::from(*letter))]
    UnknownType {
        /// The letter in front of the value.
        letter: u8,
    },
    /// Tables and arrays are nested deeper than [`MAX_DEPTH`].
    #[error("field tables are nested more than {} deep", MAX_DEPTH)]
    TooDeep,
    /// NaN and the infinities: RabbitMQ closes the whole connection over one.
    #[error("a number in a field table is not finite")]
    NotFinite,
    /// A whole number takes more than the 63 bits and the sign that brokers know.
    #[error("a number in a field table is beyond 64 bits")]
    OutOfRange,
    /// The name of an entry is longer than 255 bytes.
    #[error("the name of a field: {0}")]
    Name(#[from] TooLong),
    /// The length of a table or of a value in it has only 32 bits.
    #[error("a field table or a value in it is larger than 4 GiB")]
    TooLarge,
}

/// Appends `value` to the entries of a table or an array, after what `put_name` appends.
fn append(
    entries: &mut Vec<u8>,
    value: FieldValue<'_>,
    put_name: impl FnOnce(&mut Vec<u8>),
) -> Result<(), TableError> {
    let value = value.at_second_level();
    value.check()?;
    let start = entries.len();
    put_name(entries);
    value.put(entries);
    check_len(entries).inspect_err(|_| entries.truncate(start))
}

/// Whether the length of `bytes` can be written in front of them.
fn check_len(bytes: &[u8]) -> Result<(), TableError> {
    match u32::try_from(bytes.len()) {
        Ok(_) => Ok(()),
        Err(_) => Err(TableError::TooLarge),
    }
}

struct DebugEntries<'a>(FieldTableRef<'a>);

impl fmt::Debug for DebugEntries<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut map = f.debug_map();
        for entry in self.0 {
            match entry {
                Ok((name, value)) => map.entry(&name, &value),
                Err(error) => map.entry(&"malformed", &error),
            };
        }
        map.finish()
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
