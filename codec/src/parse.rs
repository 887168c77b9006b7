//! What values are made of, read by nom from slices that hold the whole of a frame.
//!
//! All that can go wrong here is that a slice ends too soon, so the parsers' error is `()`.

use nom::{
    IResult, Parser,
    combinator::map,
    multi::length_data,
    number::complete::{be_u8, be_u32},
};

use crate::types::ShortStr;

/// What a parser gives back: the rest of the input and a value.
pub(crate) type Parsed<'a, T> = IResult<&'a [u8], T, ()>;

/// Runs `parser` at the front of `input` and moves `input` past what was read; `None` if it ends too soon.
pub(crate) fn take<'a, T>(
    input: &mut &'a [u8],
    mut parser: impl Parser<&'a [u8], Output = T, Error = ()>,
) -> Option<T> {
    let (rest, value) = parser.parse(input).ok()?;
    *input = rest;
    Some(value)
}

/// A length of one octet and as many bytes.
pub(crate) fn short_str(input: &[u8]) -> Parsed<'_, ShortStr<'_>> {
    let as_short_str =
        |bytes| ShortStr::new(bytes).expect("one octet counts no more than 255 bytes");
    map(length_data(be_u8), as_short_str).parse(input)
}

/// A length of four octets and as many bytes: a long string, the entries of a table or an array.
pub(crate) fn long_str(input: &[u8]) -> Parsed<'_, &[u8]> {
    length_data(be_u32).parse(input)
}
