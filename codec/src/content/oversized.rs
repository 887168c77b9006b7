use super::{Content, Delivery, Digest, Got, Published, Returned};

/// A message that is longer than is accepted, without its body, which is skipped as it comes.
///
/// It is told as soon as its length is known, and can be settled from then on; a returned one, of
/// which nothing is to be settled, once all of it has come. Its number and its names are there, and
/// its properties unless it was they that were too long. The `content` has no body: that is no empty
/// one.
#[derive(Clone, Debug)]
pub struct Oversized {
    /// What was too long.
    pub excess: Excess,
    /// What it came by.
    pub message: Incoming,
}

/// What a message came by.
#[derive(Clone, Debug)]
pub enum Incoming {
    /// basic.deliver.
    Delivery(Delivery),
    /// basic.get-ok.
    Got(Got),
    /// basic.return.
    Returned(Returned),
    /// basic.publish, as a server sees it.
    Published(Published),
}

impl Incoming {
    /// The message.
    pub fn content(&self) -> &Content {
        match self {
            Self::Delivery(delivery) => &delivery.content,
            Self::Got(got) => &got.content,
            Self::Returned(returned) => &returned.content,
            Self::Published(published) => &published.content,
        }
    }
}

/// What of a message was longer than is accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Excess {
    /// The body.
    #[error("a body of {size} bytes, over the limit of {limit}")]
    Body {
        /// The announced length of the body, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u32,
    },
    /// The content header, in which the properties are. Properties and body are skipped.
    #[error("a content header of {size} bytes, over the limit of {limit}")]
    Header {
        /// The length of the frame, in bytes.
        size: u64,
        /// The limit, in bytes.
        limit: u32,
        /// The announced length of the body, in bytes.
        body_size: u64,
    },
}

impl Excess {
    /// The announced length of the body, in bytes.
    pub fn body_size(self) -> u64 {
        match self {
            Self::Body { size, .. } => size,
            Self::Header { body_size, .. } => body_size,
        }
    }
}

/// What is noted of a message that is too long, at the end of its buffer, so that messages of the
/// usual length need no room for it.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Note {
    pub(crate) excess: Excess,
    /// What the body is known by, where all of it came before its message was told.
    pub(crate) digest: Option<Digest>,
}

impl Note {
    pub(crate) fn encode(self, out: &mut Vec<u8>) {
        let (is_header, size, limit) = match self.excess {
            Excess::Body { size, limit } => (0, size, limit),
            Excess::Header { size, limit, .. } => (1, size, limit),
        };
        out.push(is_header);
        out.extend_from_slice(&size.to_be_bytes());
        out.extend_from_slice(&limit.to_be_bytes());
        out.extend_from_slice(&self.excess.body_size().to_be_bytes());
        if let Some(Digest(digest)) = self.digest {
            out.extend_from_slice(&digest.to_be_bytes());
        }
    }

    pub(super) fn decode(note: &[u8]) -> Option<Self> {
        let (is_header, rest) = note.split_first()?;
        let (size, rest) = rest.split_first_chunk()?;
        let (limit, rest) = rest.split_first_chunk()?;
        let (body_size, digest) = rest.split_first_chunk()?;
        let (size, limit) = (u64::from_be_bytes(*size), u32::from_be_bytes(*limit));
        let excess = match is_header {
            0 => Excess::Body { size, limit },
            _ => Excess::Header {
                size,
                limit,
                body_size: u64::from_be_bytes(*body_size),
            },
        };
        let digest = digest.first_chunk();
        let digest = digest.map(|digest| Digest(u64::from_be_bytes(*digest)));
        Some(Self { excess, digest })
    }
}
