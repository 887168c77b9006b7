//! Messages that can be told apart wherever they turn up.

use std::fmt;

use bytes::Bytes;
use fastrand::Rng;

use crate::plan::Length;

/// Which message it is: its number among those of a producer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct MessageId {
    pub(crate) producer: u32,
    pub(crate) number: u32,
}

/// How much may follow the id.
pub(crate) const LONGEST: usize = 60_000;

impl MessageId {
    /// How many bytes of a body it takes.
    pub(crate) const LEN: usize = 8;

    /// A body of this message, with some bytes after the id.
    pub(crate) fn body(self, random: &mut Rng, length: Length) -> Bytes {
        let filling = match (length, random.u32(..8)) {
            (Length::SomeLong, 0) => random.usize(4_000..20_000),
            (Length::Long, 0..=3) => random.usize(20_000..LONGEST),
            (_, 0..=3) => 0,
            _ => random.usize(..100),
        };
        let mut body = Vec::with_capacity(Self::LEN + filling);
        body.extend_from_slice(&self.producer.to_be_bytes());
        body.extend_from_slice(&self.number.to_be_bytes());
        body.resize(Self::LEN + filling, 0);
        body.into()
    }

    /// Whose body this is.
    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        let (producer, rest) = body.split_first_chunk()?;
        let (number, _) = rest.split_first_chunk()?;
        Some(Self {
            producer: u32::from_be_bytes(*producer),
            number: u32::from_be_bytes(*number),
        })
    }
}

/// Which task it is, of those that may be [tried again](crate::retrying). Its body is too short for a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct TaskId(pub(crate) u8);

impl TaskId {
    pub(crate) fn body(self) -> Bytes {
        vec![b't', self.0].into()
    }

    pub(crate) fn read(body: &[u8]) -> Option<Self> {
        match body {
            [b't', number] => Some(Self(*number)),
            _ => None,
        }
    }
}

impl fmt::Display for TaskId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "task {}", self.0)
    }
}

impl fmt::Display for MessageId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "message {}/{}", self.producer, self.number)
    }
}
