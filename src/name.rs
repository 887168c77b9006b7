use std::borrow::Cow;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use snowshoe_codec::{ShortStr, ShortString, TooLong};

use self::sealed::IntoShortString;

/// Anything that can name a queue, an exchange, a routing key or a consumer: text or bytes, owned or
/// not, and the names that this crate gives.
///
/// AMQP lets a name have 255 bytes. Longer ones are an error where they are given, before anything is
/// sent.
///
/// ```
/// use std::borrow::Cow;
/// use snowshoe::{Queue, ShortString};
///
/// let name = String::from("orders");
/// let queues = [
///     Queue::new("orders"),
///     Queue::new(&name),
///     Queue::new(Cow::from("orders")),
///     Queue::new(&ShortString::from_static("orders")),
///     Queue::new(name),
/// ];
/// assert!(queues.iter().all(|queue| *queue == queues[0]));
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` is no name of a queue, an exchange, a routing key or a consumer",
    note = "text is one (`&str`, `&String`, `String`, `Cow<str>`, …), and so are bytes and `ShortString`"
)]
pub trait Name: IntoShortString {}

impl<N: IntoShortString> Name for N {}

mod sealed {
    use super::{ShortString, TooLong};

    #[diagnostic::on_unimplemented(
        message = "`{Self}` is no name of a queue, an exchange, a routing key or a consumer",
        note = "text is one (`&str`, `&String`, `String`, `Cow<str>`, …), and so are bytes and `ShortString`"
    )]
    pub trait IntoShortString {
        fn into_short_string(self) -> Result<ShortString, TooLong>;
    }
}

impl IntoShortString for ShortString {
    fn into_short_string(self) -> Result<ShortString, TooLong> {
        Ok(self)
    }
}

impl IntoShortString for &ShortString {
    fn into_short_string(self) -> Result<ShortString, TooLong> {
        Ok(self.clone())
    }
}

impl IntoShortString for ShortStr<'_> {
    fn into_short_string(self) -> Result<ShortString, TooLong> {
        Ok(self.to_owned())
    }
}

/// Those that the codec converts as they are.
macro_rules! convertible {
    ($($name:ty),*) => {$(
        impl IntoShortString for $name {
            fn into_short_string(self) -> Result<ShortString, TooLong> {
                self.try_into()
            }
        }
    )*};
}

convertible!(&str, String, &[u8], Vec<u8>, Bytes);

/// Those that are text in some wrapping.
macro_rules! textual {
    ($($name:ty),*) => {$(
        impl IntoShortString for $name {
            fn into_short_string(self) -> Result<ShortString, TooLong> {
                let text: &str = self.as_ref();
                text.try_into()
            }
        }
    )*};
}

textual!(&String, &&String, &&str, Cow<'_, str>, &Cow<'_, str>);
textual!(Box<str>, &Box<str>, Rc<str>, &Rc<str>, Arc<str>, &Arc<str>);

/// Those that are bytes in some wrapping.
macro_rules! binary {
    ($($name:ty),*) => {$(
        impl IntoShortString for $name {
            fn into_short_string(self) -> Result<ShortString, TooLong> {
                let bytes: &[u8] = self.as_ref();
                bytes.try_into()
            }
        }
    )*};
}

binary!(&Vec<u8>, &Bytes);

impl<const N: usize> IntoShortString for &[u8; N] {
    fn into_short_string(self) -> Result<ShortString, TooLong> {
        self.as_slice().try_into()
    }
}

/// Whether this is where a direct reply goes: to a channel and not to a queue.
///
/// RabbitMQ before 4.2 delivers what is published there, counts the queues, which are none, and returns it as
/// well if it is mandatory (`rabbit_exchange:route`, for keys that begin like this; 312 seen on 3.10.8 and
/// 4.0).
pub(crate) fn is_direct_reply(exchange: &ShortString, routing_key: &ShortString) -> bool {
    exchange.is_empty() && routing_key.as_bytes().starts_with(DIRECT_REPLY)
}

/// What the name of the place begins with that takes a direct reply.
const DIRECT_REPLY: &[u8] = b"amq.rabbitmq.reply-to.";

#[cfg(test)]
mod tests {
    use super::*;

    fn taken(name: impl Name) -> Result<ShortString, TooLong> {
        name.into_short_string()
    }

    // case I2
    #[test]
    fn whatever_is_at_hand_is_a_name() {
        let (text, short) = (String::from("q"), ShortString::from_static("q"));
        let (cow, arc) = (Cow::from("q"), Arc::<str>::from("q"));
        let (bytes, vec) = (Bytes::from_static(b"q"), b"q".to_vec());
        let names = [
            taken("q"),
            taken(&text),
            taken(text.clone()),
            taken(&cow),
            taken(cow.clone()),
            taken(Box::<str>::from("q")),
            taken(&arc),
            taken(Arc::clone(&arc)),
            taken(&short),
            taken(short.as_short_str()),
            taken(b"q"),
            taken(b"q".as_slice()),
            taken(&vec),
            taken(&bytes),
            taken(Rc::<str>::from("q")),
            taken(vec),
            taken(bytes),
            taken(text),
        ];
        for name in names {
            assert_eq!(name.as_ref(), Ok(&short));
        }
    }

    #[test]
    fn a_name_of_256_bytes_is_none() {
        assert!(taken("x".repeat(255)).is_ok());
        assert_eq!(taken("x".repeat(256)), Err(TooLong { len: 256 }));
    }
}
