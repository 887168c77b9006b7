//! Messages that say which they are.

use snowshoe::{Delivery, Message};

/// A message that carries its number, and is of this size.
pub fn numbered(number: u64, size: usize) -> Message {
    let mut body = number.to_be_bytes().to_vec();
    body.resize(size.max(body.len()), b'.');
    body.into()
}

/// The number of a [`numbered`] message.
pub fn number(delivery: &Delivery) -> u64 {
    number_in(delivery.body())
}

/// The number in the body of a [`numbered`] message.
pub fn number_in(body: &[u8]) -> u64 {
    let (number, _) = body
        .split_first_chunk()
        .expect("numbered messages begin with their number");
    u64::from_be_bytes(*number)
}

/// A body as text.
pub fn text(body: &[u8]) -> String {
    String::from_utf8_lossy(body).into_owned()
}
