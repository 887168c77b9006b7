//! The mirror of [`parse`](crate::parse): values appended to a `Vec`, integers by [`BufMut`].

use bytes::BufMut;

use crate::types::ShortStr;

/// A length of one octet and as many bytes.
pub(crate) fn put_short_str(out: &mut Vec<u8>, text: ShortStr<'_>) {
    let len = u8::try_from(text.len()).expect("a ShortStr has at most 255 bytes");
    out.put_u8(len);
    out.put_slice(text.as_bytes());
}

/// A length of four octets and as many bytes: a long string, the entries of a table or an array.
///
/// # Panics
///
/// Panics when there are more than 4 GiB. No frame holds them, so no caller gets here with them.
pub(crate) fn put_long_str(out: &mut Vec<u8>, bytes: &[u8]) {
    out.put_u32(len_u32(bytes.len()));
    out.put_slice(bytes);
}

/// Appends what `put` does, with its length in four octets before it, which is filled in afterwards.
pub(crate) fn put_with_length(out: &mut Vec<u8>, put: impl FnOnce(&mut Vec<u8>)) {
    let start = out.len();
    out.put_u32(0);
    put(out);
    let len = len_u32(out.len() - start - 4);
    out[start..start + 4].copy_from_slice(&len.to_be_bytes());
}

fn len_u32(len: usize) -> u32 {
    u32::try_from(len).expect("a value on the wire is smaller than 4 GiB")
}
