use std::fmt;

use bytes::BufMut;
use nom::{
    Parser,
    combinator::map,
    number::complete::{
        be_f32, be_f64, be_i8, be_i16, be_i32, be_i64, be_u8, be_u16, be_u32, be_u64,
    },
};

use super::{FieldArrayRef, FieldTableRef, MAX_DEPTH, TableError, check_len};
use crate::{
    encode::put_long_str,
    parse::{long_str, take},
    text::{Quoted, debug_bounded},
};

/// A value of a field table or array.
///
/// These are the types that brokers really use, which are not those of the specification
/// (RabbitMQ: `rabbit_binary_parser`). Integers convert into the variant of their own size:
///
/// ```
/// use snowshoe_codec::FieldValue;
///
/// assert_eq!(FieldValue::from(5), FieldValue::I32(5));
/// assert_eq!(FieldValue::from("five"), FieldValue::LongString(b"five"));
/// assert_eq!(FieldValue::U16(5).as_i64(), Some(5));
/// ```
#[derive(Clone, Copy, PartialEq)]
#[non_exhaustive]
pub enum FieldValue<'a> {
    /// `t`: anything but 0 is true.
    Bool(bool),
    /// `b`
    I8(i8),
    /// `B`
    U8(u8),
    /// `s`
    I16(i16),
    /// `u`
    U16(u16),
    /// `I`
    I32(i32),
    /// `i`
    U32(u32),
    /// `l`, and `L` when received.
    I64(i64),
    /// `f`: may be received as NaN or infinite, but not sent so.
    F32(f32),
    /// `d`: may be received as NaN or infinite, but not sent so.
    F64(f64),
    /// `D`: `value` divided by ten to the power of `scale`. Whether `value` has a sign is not agreed on.
    Decimal {
        /// How many digits of `value` stand after the point.
        scale: u8,
        /// All digits.
        value: u32,
    },
    /// `S`: text, usually, but nobody checks that it is UTF-8.
    LongString(&'a [u8]),
    /// `T`: seconds since 1970.
    Timestamp(u64),
    /// `F`
    Table(FieldTableRef<'a>),
    /// `A`
    Array(FieldArrayRef<'a>),
    /// `V`: nothing.
    Void,
    /// `x`
    ByteArray(&'a [u8]),
}

impl<'a> FieldValue<'a> {
    /// The text of a long string, if it is UTF-8.
    pub fn as_str(self) -> Option<&'a str> {
        match self {
            Self::LongString(bytes) => str::from_utf8(bytes).ok(),
            _ => None,
        }
    }

    /// The bytes of a long string or a byte array.
    pub fn as_bytes(self) -> Option<&'a [u8]> {
        match self {
            Self::LongString(bytes) | Self::ByteArray(bytes) => Some(bytes),
            _ => None,
        }
    }

    /// The value of an integer of any size.
    pub fn as_i64(self) -> Option<i64> {
        match self {
            Self::I8(value) => Some(value.into()),
            Self::U8(value) => Some(value.into()),
            Self::I16(value) => Some(value.into()),
            Self::U16(value) => Some(value.into()),
            Self::I32(value) => Some(value.into()),
            Self::U32(value) => Some(value.into()),
            Self::I64(value) => Some(value),
            _ => None,
        }
    }

    /// The value of a boolean.
    pub fn as_bool(self) -> Option<bool> {
        match self {
            Self::Bool(value) => Some(value),
            _ => None,
        }
    }

    /// A nested table.
    pub fn as_table(self) -> Option<FieldTableRef<'a>> {
        match self {
            Self::Table(table) => Some(table),
            _ => None,
        }
    }

    /// A nested array.
    pub fn as_array(self) -> Option<FieldArrayRef<'a>> {
        match self {
            Self::Array(array) => Some(array),
            _ => None,
        }
    }

    /// Whether the value and all that is nested in it could be sent.
    pub(super) fn check(self) -> Result<(), TableError> {
        match self {
            Self::F32(value) if !value.is_finite() => Err(TableError::NotFinite),
            Self::F64(value) if !value.is_finite() => Err(TableError::NotFinite),
            Self::LongString(bytes) | Self::ByteArray(bytes) => check_len(bytes),
            Self::Table(table) => table.check(),
            Self::Array(array) => array.check(),
            _ => Ok(()),
        }
    }

    /// The same value as one of a table or array that is nested in no other, whatever it was nested
    /// in before.
    pub(super) fn at_second_level(self) -> Self {
        match self {
            Self::Table(table) => Self::Table(table.at_depth(2)),
            Self::Array(array) => Self::Array(array.at_depth(2)),
            other => other,
        }
    }

    /// Reads a letter and its value from the front of the entries of a table or array at `depth`.
    pub(super) fn take(input: &mut &'a [u8], depth: u8) -> Result<Self, TableError> {
        let letter = take(input, be_u8).ok_or(TableError::Truncated)?;
        let value = match letter {
            b't' => take(input, map(be_u8, |octet| Self::Bool(octet != 0))),
            b'b' => take(input, map(be_i8, Self::I8)),
            b'B' => take(input, map(be_u8, Self::U8)),
            b's' => take(input, map(be_i16, Self::I16)),
            b'u' => take(input, map(be_u16, Self::U16)),
            b'I' => take(input, map(be_i32, Self::I32)),
            b'i' => take(input, map(be_u32, Self::U32)),
            b'l' | b'L' => take(input, map(be_i64, Self::I64)),
            b'f' => take(input, map(be_f32, Self::F32)),
            b'd' => take(input, map(be_f64, Self::F64)),
            b'D' => take(
                input,
                (be_u8, be_u32).map(|(scale, value)| Self::Decimal { scale, value }),
            ),
            b'S' => take(input, map(long_str, Self::LongString)),
            b'T' => take(input, map(be_u64, Self::Timestamp)),
            b'F' | b'A' if depth >= MAX_DEPTH => return Err(TableError::TooDeep),
            b'F' => take(
                input,
                map(long_str, |encoded| {
                    Self::Table(FieldTableRef::new(encoded).at_depth(depth + 1))
                }),
            ),
            b'A' => take(
                input,
                map(long_str, |encoded| {
                    Self::Array(FieldArrayRef::new(encoded).at_depth(depth + 1))
                }),
            ),
            b'V' => Some(Self::Void),
            b'x' => take(input, map(long_str, Self::ByteArray)),
            letter => return Err(TableError::UnknownType { letter }),
        };
        value.ok_or(TableError::Truncated)
    }

    /// Appends the letter and the value, which must have passed [`check`](Self::check).
    pub(super) fn put(self, out: &mut Vec<u8>) {
        out.put_u8(self.letter());
        match self {
            Self::Bool(value) => out.put_u8(value.into()),
            Self::I8(value) => out.put_i8(value),
            Self::U8(value) => out.put_u8(value),
            Self::I16(value) => out.put_i16(value),
            Self::U16(value) => out.put_u16(value),
            Self::I32(value) => out.put_i32(value),
            Self::U32(value) => out.put_u32(value),
            Self::I64(value) => out.put_i64(value),
            Self::F32(value) => out.put_f32(value),
            Self::F64(value) => out.put_f64(value),
            Self::Decimal { scale, value } => {
                out.put_u8(scale);
                out.put_u32(value);
            }
            Self::LongString(bytes) | Self::ByteArray(bytes) => put_long_str(out, bytes),
            Self::Timestamp(seconds) => out.put_u64(seconds),
            Self::Table(table) => put_long_str(out, table.as_bytes()),
            Self::Array(array) => put_long_str(out, array.as_bytes()),
            Self::Void => {}
        }
    }

    fn letter(self) -> u8 {
        match self {
            Self::Bool(_) => b't',
            Self::I8(_) => b'b',
            Self::U8(_) => b'B',
            Self::I16(_) => b's',
            Self::U16(_) => b'u',
            Self::I32(_) => b'I',
            Self::U32(_) => b'i',
            Self::I64(_) => b'l',
            Self::F32(_) => b'f',
            Self::F64(_) => b'd',
            Self::Decimal { .. } => b'D',
            Self::LongString(_) => b'S',
            Self::Timestamp(_) => b'T',
            Self::Table(_) => b'F',
            Self::Array(_) => b'A',
            Self::Void => b'V',
            Self::ByteArray(_) => b'x',
        }
    }
}

macro_rules! from {
    ($($Type:ty => $Variant:ident,)*) => {
        $(impl From<$Type> for FieldValue<'_> {
            fn from(value: $Type) -> Self {
                Self::$Variant(value)
            }
        })*
    };
}

from! {
    bool => Bool,
    i8 => I8,
    u8 => U8,
    i16 => I16,
    u16 => U16,
    i32 => I32,
    u32 => U32,
    i64 => I64,
    f32 => F32,
    f64 => F64,
}

impl<'a> From<&'a str> for FieldValue<'a> {
    fn from(text: &'a str) -> Self {
        Self::LongString(text.as_bytes())
    }
}

impl<'a> From<&'a String> for FieldValue<'a> {
    fn from(text: &'a String) -> Self {
        text.as_str().into()
    }
}

impl<'a> From<FieldTableRef<'a>> for FieldValue<'a> {
    fn from(table: FieldTableRef<'a>) -> Self {
        Self::Table(table)
    }
}

impl<'a> From<FieldArrayRef<'a>> for FieldValue<'a> {
    fn from(array: FieldArrayRef<'a>) -> Self {
        Self::Array(array)
    }
}

impl fmt::Debug for FieldValue<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => write!(f, "{value}"),
            Self::I8(value) => write!(f, "I8({value})"),
            Self::U8(value) => write!(f, "U8({value})"),
            Self::I16(value) => write!(f, "I16({value})"),
            Self::U16(value) => write!(f, "U16({value})"),
            Self::I32(value) => write!(f, "I32({value})"),
            Self::U32(value) => write!(f, "U32({value})"),
            Self::I64(value) => write!(f, "I64({value})"),
            Self::F32(value) => write!(f, "F32({value})"),
            Self::F64(value) => write!(f, "F64({value})"),
            Self::Decimal { scale, value } => write!(f, "Decimal({value}e-{scale})"),
            Self::LongString(bytes) => debug_bounded(f, &Quoted(bytes)),
            Self::Timestamp(seconds) => write!(f, "Timestamp({seconds})"),
            Self::Table(table) => table.fmt(f),
            Self::Array(array) => array.fmt(f),
            Self::Void => f.write_str("Void"),
            Self::ByteArray(bytes) => write!(f, "ByteArray({} bytes)", bytes.len()),
        }
    }
}
