//! Messages that say which they are, and of which every byte is known.

/// What a message begins with: its lane, its number, and which copy of it this is.
const HEAD: usize = COPY_AT + 1;

/// Where the number of the copy is.
const COPY_AT: usize = 4 + 8;

/// The body of a message. One in 64 takes several kilobytes, one in 4,096 several frames.
pub(crate) fn body(lane: u32, number: u64) -> Vec<u8> {
    let len = len(number);
    let mut body = Vec::with_capacity(len);
    body.extend(lane.to_be_bytes());
    body.extend(number.to_be_bytes());
    body.push(0);
    body.resize(len, filling(number));
    body
}

/// The lane and the number of the message that begins like this.
pub(crate) fn identity(body: &[u8]) -> Option<(u32, u64)> {
    let (lane, rest) = body.split_first_chunk()?;
    let (number, _) = rest.split_first_chunk()?;
    Some((u32::from_be_bytes(*lane), u64::from_be_bytes(*number)))
}

/// Says in a body that begins like this which copy of its message it is. Only who sees every copy
/// pass can know.
pub(crate) fn stamp(body: &mut [u8], copy: u8) {
    body[COPY_AT] = copy;
}

/// What [`stamp`] said, which counts from 1.
pub(crate) fn copy(body: &[u8]) -> u8 {
    body.get(COPY_AT).copied().unwrap_or_default()
}

/// Whether a body is that of the message of this number.
pub(crate) fn is_intact(number: u64, body: &[u8]) -> bool {
    body.len() == len(number) && body[HEAD..].iter().all(|&byte| byte == filling(number))
}

fn len(number: u64) -> usize {
    let scattered = number.wrapping_mul(0x9E37_79B9_7F4A_7C15) >> 32;
    let spread = usize::try_from(scattered % 200).expect("it is small");
    let filled = match scattered {
        n if n % 4096 == 1 => 200_000 + 1000 * spread,
        n if n % 64 == 1 => 4000 + 50 * spread,
        _ => spread,
    };
    HEAD + filled
}

fn filling(number: u64) -> u8 {
    number.to_le_bytes()[0]
}
